"""Promotion: who is champion, who comes near, and what it takes to change it, as states with dates.

What lives here: the rule by which a challenger is watched, due and promoted, and whom a budget is held against in
between. What does not: scores (``contest``), what a disagreement costs (``disagreement``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import pandas as pd

from plimsoll.challengers.contest import BOTH, LEAST_DATES

QUARTERS_NEEDED = 2
APPROVERS_NEEDED = 2
WORSE = 0.05
"""A challenger whose quantile is exceeded too often at this level, where the champion's is not, is worse."""


@dataclass(frozen=True)
class Approval:
    """A signature in the configuration.

    Attributes
    ----------
    model, on
        Who shall be champion, and from which day.
    approved_by
        Names of those who approve it.
    """

    model: str
    on: date
    approved_by: tuple[str, ...]


@dataclass(frozen=True)
class State:
    """Where the rule stands from a day on.

    Attributes
    ----------
    stated_on, quarter_on
        Day from which the state holds: the first of a quarter, or that of an approval; the quarter that it falls into.
    champion, champion_since
        Model in charge and since when; None where it always was.
    challenger
        Best-scoring model besides the champion that is in the confidence set; empty where there is none.
    candidate, quarters
        Model that comes nearest to promotion, and for how many quarters in a row; empty and 0 where there is none.
    state
        ``none``, ``watched``, ``due`` or ``promoted``.
    is_champion_in_set
        Whether the champion is in the confidence set; None without enough data.
    gate_model
        Model that a budget made from ``in_use`` is held against; empty where there is none.
    reason
        One or two sentences.
    """

    stated_on: date
    quarter_on: date
    champion: str
    champion_since: date | None
    challenger: str
    candidate: str
    quarters: int
    state: str
    is_champion_in_set: bool | None
    gate_model: str
    reason: str


def walk_states(contests: pd.DataFrame, *, in_use: str, approvals: Sequence[Approval] = ()) -> list[State]:
    """Walk the rule through the quarters.

    A challenger is watched when it is in the confidence set, the champion is not, and its exceedance tests are not
    worse; due when that was so in two consecutive quarters; promoted when it is due and two different people approved
    it, from the day of their approval on. Nothing promotes itself.

    Parameters
    ----------
    contests
        ``contest.CONTEST_COLUMNS`` of any quarters. A quarter that is missing, or has not enough data, ends every row
        of quarters.
    in_use
        Model that the budget is made from, champion until another is approved.
    approvals
        Signatures, any order. One that falls before the first contest, names a model that is not due on its day, or has
        fewer than two different names changes nothing, and the state of that day (or the first one) says why.

    Returns
    -------
    list of State
        In date order: one a quarter, and one for every other day with an approval. A state depends on contests of
        quarters that began on or before its day alone.
    """
    states: list[State] = []
    champion, since = in_use, None
    streaks: dict[str, int] = {}
    quarters = sorted({pd.Timestamp(one) for one in contests["quarter_on"]}) if len(contests) else []
    waiting = sorted(approvals, key=lambda one: (one.on, one.model, one.approved_by))
    for at, quarter in enumerate(quarters):
        rows = contests[contests["quarter_on"] == quarter]
        is_next = at > 0 and quarters[at - 1] + pd.DateOffset(months=3) == quarter
        streaks = _streaks(rows, champion, streaks if is_next else {})
        states.append(_state(rows, quarter.date(), quarter.date(), champion, since, streaks, in_use))
        if at == 0:
            states[-1] = _with_reason(states[-1], _too_early(waiting, quarter.date()))
        following = quarter + pd.DateOffset(months=3)
        last = quarters[at + 1] if at + 1 < len(quarters) else following
        for one in waiting:
            if not quarter <= pd.Timestamp(one.on) < max(last, following):
                continue
            objection = _objection(one, champion, streaks if pd.Timestamp(one.on) < following else {})
            if objection:
                before = states[-1]
                states.append(State(**(vars(before) | {"stated_on": one.on, "reason": f"{objection} {before.reason}"})))
                continue
            champion, since, streaks = one.model, one.on, {}
            stated = _state(rows, one.on, quarter.date(), champion, since, streaks, in_use)
            names = " and ".join(sorted(set(one.approved_by)))
            told = f"{champion} is champion from {one.on} on, approved by {names}."
            states.append(_with_reason(replace(stated, state="promoted"), told))
    return list({one.stated_on: one for one in states}.values())


def _with_reason(state: State, told: str) -> State:
    return replace(state, reason=f"{told} {state.reason}".strip())


def _too_early(approvals: Sequence[Approval], first: date) -> str:
    """Say that an approval before anything was compared counts for nothing."""
    return " ".join(
        f"The approval of {one.model} on {one.on} changes nothing: models are compared from {first} on."
        for one in approvals
        if one.on < first
    )


def champion_on(states: Sequence[State], day: date, *, in_use: str) -> str:
    """Name the champion of a day."""
    held = [one.champion for one in states if one.stated_on <= day]
    return held[-1] if held else in_use


def _overall(rows: pd.DataFrame) -> pd.DataFrame:
    mine = rows[(rows["side"] == BOTH) & (rows["score"] == "quantile")]
    return mine[mine["dates"] >= LEAST_DATES]


def _members(rows: pd.DataFrame) -> pd.DataFrame:
    """Models in the confidence set, the best first."""
    mine = _overall(rows)
    inside = mine[mine["is_in_confidence_set"].fillna(False).astype(bool)]
    return inside.sort_values(["mean_score", "model"], kind="stable")


def worse_where(rows: pd.DataFrame, model: str, champion: str) -> list[str]:
    """Name the sides and probabilities at which a model is exceeded too often and the champion is not."""
    mine = rows[(rows["score"] == "quantile") & (rows["side"] != BOTH)]
    wide = mine.pivot_table(index=["side", "tail_probability_bps"], columns="model", values="too_many_p", sort=True)
    if model not in wide or champion not in wide:
        return ["every side"]
    bad = wide[(wide[model] < WORSE) & ~(wide[champion] < WORSE)]
    return [f"{side} at {bps / 100:g} %" for side, bps in bad.index]


def _streaks(rows: pd.DataFrame, champion: str, before: dict[str, int]) -> dict[str, int]:
    inside = [str(one) for one in _members(rows)["model"]]
    if not inside or champion in inside or champion not in set(_overall(rows)["model"]):
        return {}
    return {model: before.get(model, 0) + 1 for model in inside if not worse_where(rows, model, champion)}


def _state(
    rows: pd.DataFrame,
    stated_on: date,
    quarter_on: date,
    champion: str,
    since: date | None,
    streaks: dict[str, int],
    in_use: str,
) -> State:
    inside = [str(one) for one in _members(rows)["model"]]
    challenger = next((model for model in inside if model != champion), "")
    due = [model for model in inside if streaks.get(model, 0) >= QUARTERS_NEEDED]
    watched = [model for model in inside if model in streaks]
    candidate = (due or watched or [""])[0]
    state = "due" if due else "watched" if watched else "none"
    is_in = champion in inside if inside else None
    return State(
        stated_on,
        quarter_on,
        champion,
        since,
        challenger,
        candidate,
        streaks.get(candidate, 0),
        state,
        is_in,
        challenger if champion == in_use else champion,
        _reason(rows, champion, inside, candidate, streaks.get(candidate, 0), state),
    )


def _reason(rows: pd.DataFrame, champion: str, inside: list[str], candidate: str, quarters: int, state: str) -> str:
    if not inside:
        dates = int(rows.loc[rows["side"] == BOTH, "dates"].max()) if (rows["side"] == BOTH).any() else 0
        return f"Not enough data: {dates} dates judged by all models, {LEAST_DATES} are needed."
    if state == "due":
        return (
            f"{candidate} is due: for {quarters} quarters in a row it is in the 90 % confidence set and {champion} is "
            "not, and it is not exceeded too often where the champion is not. It becomes champion when two people "
            "approve it."
        )
    if state == "watched":
        return (
            f"{candidate} is watched: it is in the 90 % confidence set and {champion} is not, for one quarter; "
            f"{QUARTERS_NEEDED} in a row are needed."
        )
    if champion in inside:
        others = len(inside) - 1
        return f"{champion} stays: it is in the 90 % confidence set, with {others} other model{'s' * (others != 1)}."
    if champion not in set(_overall(rows)["model"]):
        return f"{champion} was not judged."
    return (
        f"{champion} is outside the 90 % confidence set, but "
        + "; ".join(
            f"{model} is exceeded too often where it is not ({', '.join(worse_where(rows, model, champion))})"
            for model in inside
        )
        + "."
    )


def _objection(one: Approval, champion: str, streaks: dict[str, int]) -> str:
    names = sorted({name.strip() for name in one.approved_by if name.strip()})
    if one.model == champion:
        return f"The approval of {one.model} changes nothing: it is champion already."
    if len(names) < APPROVERS_NEEDED:
        return f"The approval of {one.model} on {one.on} changes nothing: {len(names)} of two different approvers."
    held = streaks.get(one.model, 0)
    if held < QUARTERS_NEEDED:
        return (
            f"The approval of {one.model} on {one.on} changes nothing: {held} of {QUARTERS_NEEDED} quarters in a row."
        )
    return ""
