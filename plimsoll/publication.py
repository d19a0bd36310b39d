"""Publication: the next parameter set that may be published on the way from what is in force to a target.

What lives here: hysteresis, confirmation, signature, freeze and hold; joint clipping of a whole set to a venue's steps
and delays, tested again after clipping. What does not: what a venue allows (``venues``), what the budget demands
(``constraints``), the dates of the whole way (``walks``).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import islice

from plimsoll.constraints import Constraint
from plimsoll.venues import Parameter, Values, VenueProfile, expressed

LEADS = ("lt", "mm", "max_leverage")
FOLLOWERS = ("ltv", "im")
MOST_TIGHTENINGS = 2_000
"""Grid steps that a target is tightened at most until it fits its venue."""


@dataclass(frozen=True)
class PublicationRules:
    """When a parameter may move: the policy's knobs, the same at every venue.

    Attributes
    ----------
    down_steps, up_steps
        Grid steps that a target must move away to be acted on, toward tighter and toward looser.
    confirmation_days
        Days in a row on which the target must have been looser before a loosening.
    signature_bps
        A larger loosening needs a signature.
    signature_share
        So does one of a margin or of leverage by more than this share of the value in force.
    """

    down_steps: int = 1
    up_steps: int = 2
    confirmation_days: int = 14
    signature_bps: int = 200
    signature_share: float = 0.25

    def unsigned(self, parameter: Parameter, value: int) -> int | None:
        """Return the largest loosening from ``value`` without a signature, or None where a venue's step is enough."""
        if parameter.unit == "units":
            return None
        share = int(self.signature_share * value)
        if parameter.unit == "times":
            return share
        return min(self.signature_bps, share) if parameter.key in ("mm", "im") else self.signature_bps


@dataclass(frozen=True)
class PublicationState:
    """What stands on the day of a publication.

    Attributes
    ----------
    as_of
        The day.
    changed_on
        Last day on which each parameter changed. Where it is missing or None a parameter with a delay does not move.
    days_looser
        Days in a row, up to and with ``as_of``, on which the target was looser than what was in force.
    walking_to
        Target that the walk under way goes to, or None: hysteresis is measured from there.
    signed
        Loosest value that a signature allows; nothing loosens beyond it, by however little.
    may_loosen, frozen_reason
        False on thin or single-source data, and why.
    hold_reason
        Why all publication is stopped, or None.
    implied
        Confidence that the value in force implies, a clause for holds; may be empty.
    """

    as_of: date
    changed_on: Mapping[str, date | None]
    days_looser: Mapping[str, int] = field(default_factory=dict)
    walking_to: Values | None = None
    signed: Values = field(default_factory=dict)
    may_loosen: bool = True
    frozen_reason: str = "thin or single-source data never loosen"
    hold_reason: str | None = None
    implied: str = ""


@dataclass(frozen=True)
class Move:
    """What becomes of one parameter.

    Attributes
    ----------
    key, name
        In this project and in the venue's words.
    in_force, target, destination, published
        Values; ``destination`` is where the walk goes after hysteresis, ``published`` what stands afterwards.
    status
        ``tighten``, ``loosen``, ``wait``, ``hold``, ``coupled`` or ``unchanged``.
    reason
        One clause with its numbers.
    possible_on
        First day on which a waiting parameter may move, as far as known.
    """

    key: str
    name: str
    in_force: int
    target: int
    destination: int
    published: int
    status: str
    reason: str
    possible_on: date | None = None


@dataclass(frozen=True)
class Outcome:
    """What is published on a day: one whole set or nothing.

    Attributes
    ----------
    status
        ``published``, ``unchanged``, ``wait``, ``hold``, ``block``, ``new`` (nothing is in force) or ``new_market``.
    as_of
        Day of the publication.
    values
        The whole set of what can be set, or None where nothing is published.
    moves
        Parameter by parameter; empty where no set could be judged.
    reasons
        One sentence a cause, with its numbers.
    destination
        Whole set that the walk goes to.
    """

    status: str
    as_of: date
    values: dict[str, int] | None
    moves: tuple[Move, ...]
    reasons: tuple[str, ...]
    destination: dict[str, int]

    @property
    def sentence(self) -> str:
        """Say the outcome as one clause."""
        words = {
            "published": f"published on {self.as_of}",
            "unchanged": "unchanged",
            "wait": "nothing may move yet",
            "hold": "held",
            "block": "blocked",
            "new": f"new on {self.as_of}",
            "new_market": "needs a new market",
        }
        return f"{words[self.status]}: {'; '.join(self.reasons)}"


def target_set(profile: VenueProfile, values: Values, constraints: Sequence[Constraint] = ()) -> dict[str, int]:
    """Say a budget's set in a venue's terms, tightened along its grid until it keeps every rule and constraint.

    Parameters
    ----------
    profile
        Venue.
    values
        ``lt, ltv, bonus`` or ``mm, im``, basis points.
    constraints
        What the budget demands.

    Returns
    -------
    dict
        What can be set. Where not even the tightest values keep every rule, these are returned and `publish` blocks
        with the reasons.

    Notes
    -----
    Where the venue's grid is coarser than the budget's or a bonus follows from the threshold, rounding each parameter
    by itself may break what the budget carries; the threshold, then the LTV, or the margins, give way.
    """
    found = expressed(profile, values)
    lead = next((one for one in LEADS if one in found), None)
    follower = next((one for one in FOLLOWERS if one in found), None)
    if lead is None or not _faults(profile, found, constraints):
        return found
    for stop in _tighter_stops(profile.parameter(lead), found[lead]):
        trial = found | {lead: stop}
        if follower is None:
            if not _faults(profile, trial, constraints):
                return trial
            continue
        following = _tighter_stops(profile.parameter(follower), trial[follower])
        if _faults(profile, trial | {follower: following[-1]}, constraints):
            continue
        for one in following:
            if not _faults(profile, trial | {follower: one}, constraints):
                return trial | {follower: one}
    return found


def _tighter_stops(parameter: Parameter, value: int) -> list[int]:
    end = parameter.least if parameter.tightening_is_down else parameter.most
    return [*islice(parameter.stops(end, value), MOST_TIGHTENINGS), end]


def _faults(
    profile: VenueProfile, values: Values, constraints: Sequence[Constraint], before: Values | None = None
) -> tuple[str, ...]:
    whole = profile.whole(values)
    stood = None if before is None else profile.whole(before)
    demands = [fault for one in constraints if (fault := one.fault(whole, stood)) is not None]
    return (*profile.violations(values, before), *demands)


def publish(
    profile: VenueProfile,
    in_force: Values | None,
    target: Values,
    *,
    state: PublicationState,
    rules: PublicationRules,
    constraints: Sequence[Constraint] = (),
) -> Outcome:
    r"""Decide what may be published today: one whole set, valid after clipping, or nothing.

    Every parameter may move from its value :math:`v` toward its destination :math:`d` by at most its step :math:`s`,
    if its delay is over and, where that loosens, if nothing holds it. Among the sets in that box the published one has
    moved as far as the rules of the venue and the budget's demands allow.

    .. math:: v' \in [v, v + \mathrm{sgn}(d - v)\min(|d - v|, s)], \qquad v' \text{ on the grid}, \qquad
        \text{every rule holds for } v' \text{ as a whole}

    Parameters
    ----------
    profile
        Venue.
    in_force
        Whole set in force, or None.
    target
        Whole set that the budget gives, as from `target_set`.
    state, rules
        What stands today and the policy.
    constraints
        What the budget demands. A set on the way may fall short of them as far as the one in force does, never
        farther.

    Returns
    -------
    Outcome
        ``block`` where the target, or every set within reach, breaks a rule of the venue or adds to what the budget
        lacks; its reasons name the rule.

    Raises
    ------
    ValueError
        Where a set lacks a parameter or names an unknown one.

    Notes
    -----
    The rules of a venue say that progress of one parameter needs progress of another, never both ways. Sets that keep
    such rules have a largest member, which moving one parameter after the other reaches.
    """
    aim = profile.settable(target)
    if state.hold_reason is not None:
        held = f"all publication is stopped: {state.hold_reason}"
        return Outcome("hold", state.as_of, None, (), (held,), {} if in_force is None else profile.settable(in_force))
    if in_force is None:
        faults = _faults(profile, aim, constraints)
        if faults:
            return Outcome("block", state.as_of, None, (), faults, aim)
        listed = "; ".join(f"{one.name} {one.shown(aim[one.key])}" for one in profile.parameters if one.key in aim)
        return Outcome("new", state.as_of, aim, (), (f"nothing in force; {listed}",), aim)
    live = profile.settable(in_force)
    broken = profile.violations(live, live)
    contradictions = set(profile.violations(in_force, live)) - set(broken)
    if contradictions:
        said = tuple(f"in force: {fault}" for fault in sorted(contradictions))
        return Outcome("block", state.as_of, None, (), said, aim)
    aim = {key: aim.get(key, value) for key, value in live.items()} | {k: v for k, v in aim.items() if k not in live}
    strange = sorted(set(aim) - set(live))
    if strange:
        raise ValueError(f"{profile.id}: a target for {', '.join(strange)}, of which no value in force is known")
    faults = _faults(profile, aim, constraints, live)
    if faults:
        return Outcome("block", state.as_of, None, (), tuple(f"target: {fault}" for fault in faults), aim)
    destination = _destination(profile, live, aim, state, rules, constraints)
    fixed = [one for one in profile.parameters if one.is_immutable and destination.get(one.key) != live.get(one.key)]
    if fixed:
        asked = tuple(
            f"{one.name} {one.shown(live[one.key])} cannot change; the budget asks for {one.shown(aim[one.key])}"
            for one in fixed
        )
        return Outcome("new_market", state.as_of, None, (), asked, destination)
    permits = {
        one.key: _permit(one, live[one.key], destination[one.key], state, rules)
        for one in profile.parameters
        if one.key in live
    }
    follower = next((one for one in FOLLOWERS if one in permits), None)
    if follower is not None and any(permits[one].status == "hold" for one in LEADS if one in permits):
        # What follows a value that is held must fit the value that stays, not the one that nobody signed.
        destination = _following(profile, live, destination, permits, follower, constraints)
        permits[follower] = _permit(profile.parameter(follower), live[follower], destination[follower], state, rules)
    found, first = _farthest(profile, live, permits, constraints, is_sound=not broken)
    again = _faults(profile, found, constraints, live) if found != live else ()
    if again:
        return Outcome("block", state.as_of, None, (), again, destination)
    return _outcome(profile, live, aim, destination, permits, found, first, broken, state)


def _destination(
    profile: VenueProfile,
    live: dict[str, int],
    aim: dict[str, int],
    state: PublicationState,
    rules: PublicationRules,
    constraints: Sequence[Constraint],
) -> dict[str, int]:
    """Apply hysteresis to each parameter; where the mixture does not hold as a set, the whole target is taken."""
    mixed = {}
    for key, value in live.items():
        parameter = profile.parameter(key)
        base = (state.walking_to or {}).get(key, value)
        wanted = aim[key]
        steps = rules.down_steps if parameter.is_tighter(wanted, base) else rules.up_steps
        goal = base if abs(wanted - base) < steps * parameter.grid else wanted
        # No walk under way loosens beyond what the budget gives today.
        if parameter.is_tighter(wanted, goal) and parameter.is_tighter(value, goal):
            goal = wanted if parameter.is_tighter(value, wanted) else value
        mixed[key] = goal
    return aim if _faults(profile, mixed, constraints, live) else mixed


def _following(
    profile: VenueProfile,
    live: dict[str, int],
    destination: dict[str, int],
    permits: Mapping[str, "_Permit"],
    follower: str,
    constraints: Sequence[Constraint],
) -> dict[str, int]:
    """Tighten the goal of what follows a held value until the set that would stand keeps every rule and demand."""
    held = {key: live[key] for key, permit in permits.items() if permit.status == "hold" and key != follower}
    for stop in _tighter_stops(profile.parameter(follower), destination[follower]):
        if not _faults(profile, destination | held | {follower: stop}, constraints):
            return destination | {follower: stop}
    return destination


@dataclass(frozen=True)
class _Permit:
    """How far one parameter may go today, and why no farther."""

    limit: int
    status: str
    reason: str
    possible_on: date | None = None


def _permit(parameter: Parameter, value: int, goal: int, state: PublicationState, rules: PublicationRules) -> _Permit:
    name, shown = parameter.name, parameter.shown
    if goal == value:
        return _Permit(value, "unchanged", f"{name} {shown(value)} stays")
    is_tighter = parameter.is_tighter(goal, value)
    if not is_tighter:
        could = f"{name} {shown(value)} could loosen to {shown(goal)}"
        free, signed = rules.unsigned(parameter, value), state.signed.get(parameter.key)
        if not state.may_loosen:
            return _Permit(value, "hold", f"{could}; {state.frozen_reason}")
        if signed is not None:
            if not parameter.is_tighter(value, signed):
                return _Permit(value, "hold", f"{could}; signed as far as {shown(signed)}")
            goal = signed if parameter.is_tighter(signed, goal) else goal
        elif free is not None and abs(goal - value) > free:
            most = f"{free / 100:g} points" if parameter.unit == "bps" else shown(free)
            implied = f" ({state.implied})" if state.implied else ""
            return _Permit(value, "hold", f"{could}; over {most} looser needs a signature{implied}")
    changed = state.changed_on.get(parameter.key)
    if changed is None and parameter.delay_days > 0:
        told = f"{name} {shown(value)}: its last change is not known, so no delay can be shown to be over"
        return _Permit(value, "hold", told)
    days = 0 if is_tighter else rules.confirmation_days - state.days_looser.get(parameter.key, 0)
    confirmed = state.as_of + timedelta(days=max(days, 0))
    possible = confirmed if changed is None else max(changed + timedelta(days=parameter.delay_days), confirmed)
    if possible > state.as_of:
        why = (
            f"confirmed after {rules.confirmation_days} days in a row, on {confirmed}"
            if possible == confirmed
            else f"last changed {changed}, {parameter.delay_days} days between changes"
        )
        return _Permit(value, "wait", f"{name} {shown(value)} to {shown(goal)} from {possible}: {why}", possible)
    limit = parameter.clip(value, goal)
    if limit == value:
        told = f"{name} {shown(value)}: no settable value toward {shown(goal)} lies within one step"
        return _Permit(value, "hold", told)
    return _Permit(limit, "tighten" if is_tighter else "loosen", f"{name} {shown(value)} to {shown(limit)}")


def _farthest(
    profile: VenueProfile,
    live: dict[str, int],
    permits: Mapping[str, _Permit],
    constraints: Sequence[Constraint],
    *,
    is_sound: bool,
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the set within the permits that has moved farthest and holds, and what is wrong with the clipped one."""
    clipped = {key: permit.limit for key, permit in permits.items()}

    def faults(values: dict[str, int]) -> tuple[str, ...]:
        return _faults(profile, values, constraints, live)

    first = faults(clipped)
    movers = [key for key, value in clipped.items() if value != live[key]]
    if not first or not movers:
        return (clipped, ()) if not first else (live, first)
    if not is_sound:
        # What is in force keeps no rule: only a set that does is a way out, whichever of the moves it needs.
        trials = [
            live | {key: clipped[key] for at, key in enumerate(movers) if bits >> at & 1}
            for bits in sorted(range(1, 2 ** len(movers)), key=lambda bits: (-bits.bit_count(), bits))
        ]
        return next(((trial, first) for trial in trials if not faults(trial)), (live, first))
    found = dict(live)
    movers.sort(key=lambda key: permits[key].status != "tighten")
    is_moving = True
    while is_moving:
        is_moving = False
        for key in movers:
            best = _farthest_of(profile.parameter(key), found, clipped[key], faults)
            is_moving = is_moving or best != found[key]
            found[key] = best
    return found, first


def _farthest_of(
    parameter: Parameter, found: dict[str, int], limit: int, faults: Callable[[dict[str, int]], tuple[str, ...]]
) -> int:
    stops = parameter.stops(found[parameter.key], limit)
    return next(one for one in stops if not faults(found | {parameter.key: one}))


def _outcome(
    profile: VenueProfile,
    live: dict[str, int],
    aim: dict[str, int],
    destination: dict[str, int],
    permits: Mapping[str, _Permit],
    found: dict[str, int],
    first: tuple[str, ...],
    broken: tuple[str, ...],
    state: PublicationState,
) -> Outcome:
    moves = []
    for key, permit in permits.items():
        one, value, stands = profile.parameter(key), live[key], found[key]
        status, reason = permit.status, permit.reason
        if permit.limit != value and stands == value:
            status, reason = "coupled", f"{one.name} {one.shown(value)} waits for others: {'; '.join(first)}"
        elif stands != permit.limit:
            reason = f"{one.name} {one.shown(value)} to {one.shown(stands)}, no farther: {'; '.join(first)}"
        goal = destination[key]
        moves.append(Move(key, one.name, value, aim[key], goal, stands, status, reason, permit.possible_on))
    told = tuple(dict.fromkeys(move.reason for move in moves if move.status != "unchanged"))
    statuses = {move.status for move in moves}
    if found != live:
        return Outcome("published", state.as_of, found, tuple(moves), told, destination)
    if broken:
        faults = tuple(f"in force: {fault}" for fault in broken)
        return Outcome("block", state.as_of, None, tuple(moves), (*faults, *told), destination)
    for status, named in (("wait", "wait"), ("hold", "hold"), ("coupled", "block")):
        if status in statuses:
            return Outcome(named, state.as_of, None, tuple(moves), told, destination)
    stays = "; ".join(move.reason for move in moves)
    return Outcome("unchanged", state.as_of, dict(live), tuple(moves), (stays,), destination)
