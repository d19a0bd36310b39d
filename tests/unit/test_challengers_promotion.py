"""The rule of promotion: watched, due, approved by two, promoted; and all that is not enough."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from plimsoll.challengers.contest import ALL_PROBABILITIES, BOTH, CONTEST_COLUMNS
from plimsoll.challengers.panel import PROBABILITIES_BPS, SIDES
from plimsoll.challengers.promotion import Approval, State, champion_on, walk_states

OURS, THEIRS, OTHER = "garch_fhs", "egarch_fhs", "historical"
TWO = ("Ada", "Grace")


def quarter(
    day: str,
    inside: tuple[str, ...],
    *,
    worse: tuple[str, ...] = (),
    dates: int = 500,
    best: tuple[str, ...] = (THEIRS, OURS, OTHER),
) -> pd.DataFrame:
    """A contest in which ``inside`` are in the set, ``worse`` are exceeded too often, and ``best`` is the order."""
    rows = []
    for at, model in enumerate(best):
        is_in = model in inside if dates >= 250 else None
        common = {"quarter_on": pd.Timestamp(day), "model": model, "champion": OURS, "dates": dates, "note": ""}
        rows.append(
            common
            | {"side": BOTH, "tail_probability_bps": ALL_PROBABILITIES, "score": "quantile"}
            | {"mean_score": 1.0 + at / 10, "is_in_confidence_set": is_in}
        )
        rows += [
            common
            | {"side": side, "tail_probability_bps": bps, "score": "quantile", "mean_score": 1.0}
            | {"too_many_p": 0.01 if model in worse and (side, bps) == ("short", 50) else 0.5}
            for side in SIDES
            for bps in PROBABILITIES_BPS
        ]
    return pd.DataFrame(rows).reindex(columns=list(CONTEST_COLUMNS)).astype({"is_in_confidence_set": "boolean"})


def path(*quarters: pd.DataFrame, approvals: tuple[Approval, ...] = ()) -> list[State]:
    return walk_states(pd.concat(quarters, ignore_index=True), in_use=OURS, approvals=approvals)


ALL = (OURS, THEIRS, OTHER)
ALONE = (THEIRS,)
Q1, Q2, Q3, Q4 = "2023-01-01", "2023-04-01", "2023-07-01", "2023-10-01"
APPROVED = Approval(THEIRS, date(2023, 8, 15), TWO)


def test_the_whole_path_from_none_to_promoted() -> None:
    states = path(
        quarter(Q1, ALL), quarter(Q2, ALONE), quarter(Q3, ALONE), quarter(Q4, (THEIRS, OTHER)), approvals=(APPROVED,)
    )
    assert [(str(one.stated_on), one.state, one.quarters) for one in states] == [
        (Q1, "none", 0),
        (Q2, "watched", 1),
        (Q3, "due", 2),
        ("2023-08-15", "promoted", 0),
        (Q4, "none", 0),
    ]
    assert [one.champion for one in states] == [OURS, OURS, OURS, THEIRS, THEIRS]
    assert [one.champion_since for one in states] == [None, None, None, APPROVED.on, APPROVED.on]
    assert states[3].quarter_on == date(2023, 7, 1)
    assert states[3].reason.startswith("egarch_fhs is champion from 2023-08-15 on, approved by Ada and Grace.")
    assert "becomes champion when two people approve it" in states[2].reason
    assert champion_on(states, date(2023, 8, 14), in_use=OURS) == OURS
    assert champion_on(states, date(2023, 8, 15), in_use=OURS) == THEIRS
    assert champion_on(states, date(2022, 12, 31), in_use=OURS) == OURS


def test_the_budget_is_held_against_the_best_in_the_set_or_the_promoted_one() -> None:
    states = path(
        quarter(Q1, (OURS, OTHER)),
        quarter(Q2, ALONE),
        quarter(Q3, ALONE),
        quarter(Q4, (OURS, OTHER)),
        approvals=(APPROVED,),
    )
    assert [one.challenger for one in states] == [OTHER, THEIRS, THEIRS, "", OURS]
    assert [one.gate_model for one in states] == [OTHER, THEIRS, THEIRS, THEIRS, THEIRS]
    (alone,) = path(quarter(Q1, (OURS,)))
    assert (alone.challenger, alone.gate_model, alone.state) == ("", "", "none")


@pytest.mark.parametrize(
    ("approval", "told"),
    [
        (Approval(THEIRS, APPROVED.on, ("Ada",)), "1 of two different approvers"),
        (Approval(THEIRS, APPROVED.on, ("Ada", " Ada ")), "1 of two different approvers"),
        (Approval(OTHER, APPROVED.on, TWO), "0 of 2 quarters in a row"),
        (Approval(THEIRS, date(2023, 5, 1), TWO), "1 of 2 quarters in a row"),
        (Approval(OURS, APPROVED.on, TWO), "champion already"),
        (Approval(THEIRS, date(2022, 12, 1), TWO), "models are compared from 2023-01-01 on"),
    ],
)
def test_an_approval_that_counts_for_nothing_says_why(approval: Approval, told: str) -> None:
    states = path(quarter(Q1, ALL), quarter(Q2, ALONE), quarter(Q3, ALONE), approvals=(approval,))
    assert {one.champion for one in states} == {OURS}
    assert "promoted" not in {one.state for one in states}
    day = max(approval.on, date(2023, 1, 1))
    (stated,) = (one for one in states if one.stated_on == day)
    assert told in stated.reason
    assert states[-1].state == "due", "it stays due until two approve it"


def test_one_quarter_is_not_enough_and_rows_must_be_consecutive() -> None:
    for between in (quarter(Q2, ALL), quarter(Q2, ALONE, dates=249), None):
        parts = [quarter(Q1, ALONE), quarter(Q3, ALONE)]
        states = path(*parts[:1], *([] if between is None else [between]), *parts[1:])
        assert (states[-1].state, states[-1].quarters) == ("watched", 1)


def test_a_challenger_that_is_exceeded_too_often_is_not_watched() -> None:
    (state,) = path(quarter(Q1, ALONE, worse=ALONE))
    assert (state.state, state.candidate, state.challenger) == ("none", "", THEIRS)
    assert "egarch_fhs is exceeded too often where it is not (short at 0.5 %)" in state.reason
    (both,) = path(quarter(Q1, ALONE, worse=(THEIRS, OURS)))
    assert both.state == "watched", "no worse than the champion"


def test_the_one_that_is_due_goes_before_the_one_that_scores_better() -> None:
    states = path(quarter(Q1, (OTHER,)), quarter(Q2, (THEIRS, OTHER)))
    assert (states[-1].state, states[-1].candidate, states[-1].challenger) == ("due", OTHER, THEIRS)


def test_fewer_than_250_dates_are_not_enough_data() -> None:
    (state,) = path(quarter(Q1, ALONE, dates=249))
    assert (state.state, state.challenger, state.gate_model, state.is_champion_in_set) == ("none", "", "", None)
    assert state.reason == "Not enough data: 249 dates judged by all models, 250 are needed."
    assert walk_states(quarter(Q1, ALL).head(0), in_use=OURS) == []


def test_a_state_knows_nothing_of_later_quarters() -> None:
    quarters = [quarter(Q1, ALL), quarter(Q2, ALONE), quarter(Q3, ALONE), quarter(Q4, (OURS,))]
    later = Approval(THEIRS, date(2023, 11, 1), TWO)
    whole = path(*quarters, approvals=(APPROVED, later))
    for count in range(1, 5):
        part = path(*quarters[:count], approvals=(APPROVED, later))
        known = [one for one in whole if one.quarter_on <= quarters[count - 1]["quarter_on"].iloc[0].date()]
        assert part == known
    shuffled = pd.concat(quarters).sample(frac=1.0, random_state=1)
    assert walk_states(shuffled, in_use=OURS, approvals=(later, APPROVED)) == whole


def test_an_approval_on_the_first_day_of_a_quarter_is_one_state() -> None:
    states = path(quarter(Q1, ALONE), quarter(Q2, ALONE), approvals=(Approval(THEIRS, date(2023, 4, 1), TWO),))
    assert [str(one.stated_on) for one in states] == [Q1, Q2]
    assert states[-1].state == "promoted"
    assert np.all([one.champion for one in states] == np.array([OURS, THEIRS]))
