"""Walks: every publication between a set in force and its target, with dates.

What lives here: for how long targets of the past have been looser, repeating a publication under the assumption that
the target stays, the date of full convergence, and the days on which a value is looser than required. What does not:
one publication (``publication``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise

from plimsoll.constraints import Constraint
from plimsoll.publication import Outcome, PublicationRules, PublicationState, publish
from plimsoll.venues import Parameter, Values, VenueProfile

MOST_STEPS = 5_000
"""Publications after which a walk is given up; the longest way on the finest grid is shorter."""
LONGEST_GAP_DAYS = 4
"""Days from one target to the next over a weekend with a holiday; a longer silence confirms nothing."""


def days_looser(
    profile: VenueProfile, in_force: Values, targets: Sequence[tuple[date, Values | None]], *, as_of: date
) -> dict[str, int]:
    """Count the days in a row, up to and with ``as_of``, on which each target was looser than what is in force.

    Parameters
    ----------
    profile, in_force
        Venue and whole set in force.
    targets
        Day and target, ascending; None where the day's target was withheld. Days after ``as_of`` are not looked at.
    as_of
        Day of the publication.

    Returns
    -------
    dict
        Calendar days by key, 0 where the newest target is not looser. A withheld target ends the run, and so do more
        than `LONGEST_GAP_DAYS` without one, at its end too.

    Raises
    ------
    ValueError
        Where the days do not ascend.
    """
    days = [day for day, _ in targets]
    if any(after <= before for before, after in pairwise(days)):
        raise ValueError(f"{profile.id}: the days of the targets must ascend")
    live = profile.settable(in_force)
    found = dict.fromkeys(live, 0)
    for key, value in live.items():
        parameter, later = profile.parameter(key), as_of
        for day, target in reversed(targets):
            if day > as_of:
                continue
            is_looser = target is not None and parameter.is_tighter(value, target.get(key, value))
            if not is_looser or (later - day).days > LONGEST_GAP_DAYS:
                break
            found[key], later = (as_of - day).days + 1, day
    return found


@dataclass(frozen=True)
class Step:
    """One publication: its day and the whole set that stands afterwards."""

    day: date
    values: dict[str, int]


@dataclass(frozen=True)
class Walk:
    """The way to a target.

    Attributes
    ----------
    first
        What may be published on the first day.
    steps
        Publications in order.
    values
        Set at the end.
    target
        Set that the budget gives.
    converged_on
        Day on which the walk's destination stands; None where it cannot be reached without a decision.
    ended
        Outcome of the last day: ``unchanged`` where the walk is complete, else what stops it.
    under_margined
        By parameter, the days that end with a value looser than required. Without convergence they end with the last
        day of the walk.
    """

    first: Outcome
    steps: tuple[Step, ...]
    values: dict[str, int]
    target: dict[str, int]
    converged_on: date | None
    ended: Outcome
    under_margined: Mapping[str, tuple[date, ...]]

    @property
    def days(self) -> int | None:
        """Days from the first day to convergence, or None."""
        return None if self.converged_on is None else (self.converged_on - self.first.as_of).days

    @property
    def is_at_target(self) -> bool:
        """Whether the walk ends at the target itself; hysteresis may leave it a grid step short."""
        return self.values == self.target

    @property
    def sentence(self) -> str:
        """Say the walk as one clause."""
        count = len(self.steps)
        if self.converged_on is None:
            done = f"{_counted(count, 'step')}, then not finished" if count else "not begun"
            return f"{done}; {self.ended.sentence}"
        if not count:
            return self.ended.sentence
        short = "" if self.is_at_target else ", within hysteresis of the target"
        return f"{_counted(count, 'step')} in {_counted(self.days or 0, 'day')}, complete on {self.converged_on}{short}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def steps_to(parameter: Parameter, value: int, target: int) -> int | None:
    r"""Count the steps of one parameter by itself.

    .. math:: n = \lceil |\Delta| / s \rceil

    Parameters
    ----------
    parameter
        With its largest step; a share of the value in force compounds.
    value, target
        From and to.

    Returns
    -------
    int or None
        None where no step reaches it: the value cannot be set, or is immutable.
    """
    count = 0
    while value != target:
        following = parameter.clip(value, target)
        if following == value or parameter.is_immutable or count >= MOST_STEPS:
            return None
        value, count = following, count + 1
    return count


def days_to(parameter: Parameter, value: int, target: int) -> int | None:
    r"""Count the days of one parameter by itself, each step followed by its delay.

    .. math:: \lceil |\Delta| / s \rceil \cdot delay

    Returns
    -------
    int or None
        As in `steps_to`. The way is one delay shorter where the first step may be taken at once.
    """
    steps = steps_to(parameter, value, target)
    return None if steps is None else steps * parameter.delay_days


def walk(
    profile: VenueProfile,
    in_force: Values,
    target: Values,
    *,
    state: PublicationState,
    rules: PublicationRules,
    constraints: Sequence[Constraint] = (),
) -> Walk:
    """Publish again and again until nothing moves, as if the target and the state of the data stayed as they are.

    Parameters
    ----------
    profile, in_force, target, state, rules, constraints
        As in `publication.publish`.

    Returns
    -------
    Walk
        At most one publication a day.

    Notes
    -----
    A target that stays looser is confirmed day by day, so ``days_looser`` grows with the walk.
    """
    values = profile.settable(in_force)
    required = values | profile.settable(target)
    first = publish(profile, in_force, target, state=state, rules=rules, constraints=constraints)
    steps: list[Step] = []
    outcome, now = first, state
    while len(steps) < MOST_STEPS:
        if outcome.status == "published" and outcome.values is not None:
            moved = {key: now.as_of for key, value in outcome.values.items() if value != values[key]}
            values = outcome.values
            steps.append(Step(now.as_of, dict(values)))
            now = replace(now, changed_on={**now.changed_on, **moved}, walking_to=outcome.destination)
            following = now.as_of + timedelta(days=1)
        else:
            possible = [move.possible_on for move in outcome.moves if move.possible_on is not None]
            if not possible:
                break
            following = min(possible)
        passed = (following - now.as_of).days
        looser = {key: days + passed for key, days in now.days_looser.items()}
        unseen = {key: passed for key in profile.keys if key not in looser}
        now = replace(now, as_of=following, days_looser=looser | unseen)
        outcome = publish(profile, values, target, state=now, rules=rules, constraints=constraints)
    is_complete = outcome.status == "unchanged"
    converged = (steps[-1].day if steps else state.as_of) if is_complete else None
    return Walk(
        first=first,
        steps=tuple(steps),
        values=values,
        target=required,
        converged_on=converged,
        ended=outcome,
        under_margined=_under_margined(profile, profile.settable(in_force), required, steps, state.as_of, now.as_of),
    )


def _under_margined(
    profile: VenueProfile,
    live: dict[str, int],
    required: dict[str, int],
    steps: Sequence[Step],
    first: date,
    last: date,
) -> dict[str, tuple[date, ...]]:
    found = {}
    for key, value in live.items():
        parameter = profile.parameter(key)
        days, stands, at = [], value, 0
        for number in range((last - first).days + 1):
            day = first + timedelta(days=number)
            while at < len(steps) and steps[at].day <= day:
                stands, at = steps[at].values[key], at + 1
            if parameter.is_tighter(required[key], stands):
                days.append(day)
        if days:
            found[key] = tuple(days)
    return found
