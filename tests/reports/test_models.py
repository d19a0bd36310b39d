"""The page of models: who is champion in words, tables as printed, and honest silence."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest

from reports.view import ModelInputs, ReportInputs, models

DAY = pd.Timestamp("2024-12-31")
QUARTER = pd.Timestamp("2024-10-01")
OURS, LEARNER = "garch_fhs", "quantile_boosting"


def contest(ratio: float, low: float, high: float) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for model, one, ends in ((OURS, 1.0, (1.0, 1.0)), (LEARNER, ratio, (low, high))):
        common = {
            "quarter_on": QUARTER,
            "model": model,
            "champion": OURS,
            "dates": 731,
            "mean_score": 3.0 * one,
            "ratio": one,
            "ratio_low": ends[0],
            "ratio_high": ends[1],
            "difference": 3.0 * (one - 1),
            "dm_p": float("nan") if model == OURS else 0.002,
            "is_in_confidence_set": model == LEARNER,
            "exceedance_rate": 0.0123,
            "too_many_p": 0.01 if model == OURS else 0.4,
            "note": "",
        }
        rows.append(common | {"side": "both", "tail_probability_bps": 0, "score": "quantile"})
        for side in ("long", "short"):
            rows += [
                common | {"side": side, "tail_probability_bps": bps, "score": "quantile"} for bps in (500, 100, 50)
            ]
            rows.append(common | {"side": side, "tail_probability_bps": 100, "score": "joint", "ratio": float("nan")})
    return pd.DataFrame(rows).astype({"is_in_confidence_set": "boolean"})


STATE = {
    "stated_on": QUARTER,
    "quarter_on": QUARTER,
    "champion": OURS,
    "champion_since": pd.NaT,
    "challenger": LEARNER,
    "candidate": LEARNER,
    "quarters": 2,
    "state": "due",
    "is_champion_in_set": False,
    "gate_model": LEARNER,
    "reason": "quantile_boosting is due: for 2 quarters in a row it is in the 90 % set and garch_fhs is not.",
}
GIVEN = ModelInputs(
    is_on=True,
    in_use=OURS,
    contest=contest(0.916, 0.880, 0.961),
    importances=pd.DataFrame(
        {
            "side": ["long"] * 4,
            "feature_group": ["all features", "semivariance", "calendar", "range"],
            "increase_share": [0.115, 0.02, 0.0001, -0.01],
        }
    ),
    states=pd.DataFrame([STATE]),
    levels=pd.DataFrame(
        {
            "as_of": [DAY, DAY],
            "side": ["long", "short"],
            "model": OURS,
            "alpha_p500": 0.0435,
            "alpha_p100": 0.0086,
            "alpha_p50": 0.0031,
            "is_held": False,
        }
    ),
    ratios=pd.DataFrame({"symbol": ["AAA", "AAA"], "side": ["long", "short"], "challenger_ratio": [0.70, 1.10]}),
    budgets=pd.DataFrame(
        {
            "symbol": "AAA",
            "product": "perpetual",
            "side": ["long", "short"],
            "lambda_total": [0.12, 0.10],
            "lambda_model": [0.02, 0.0],
        }
    ),
)


def section(given: ModelInputs) -> models.ModelsView:
    return models.section(cast("ReportInputs", SimpleNamespace(models=given)))


def test_champion_and_what_comes_near_in_words() -> None:
    found = section(GIVEN)
    assert found.headline == (
        "Champion since the beginning: GARCH-t with filtered history. Quantile boosting is due: for 2 quarters in a "
        "row it is in the 90 % set and GARCH-t with filtered history is not."
    )
    gate, learned, levels = found.lines
    assert "held against quantile boosting, whose 1 % quantile today is 0.70 to 1.10 times" in gate
    assert "1 set carries a model margin today" in gate
    assert learned.startswith("Quantile boosting adds something: its score is −8.4 % against the champion's")
    assert "(90 % interval −12.0 % to −3.9 %)" in learned
    assert learned.endswith("long: all features +11.5 % and one-sided moves +2.0 %."), "nothing that prints as nothing"
    assert "longs at 4.35, 0.86 and 0.31 %" in levels
    assert found.amber == [
        {"what": "AAA perpetual long", "ratio": "0.70", "without": "10.00 %", "margin": "2.00 %"},
    ]
    (best, ours) = found.overall
    assert (best["model"], best["ratio"], best["member"]) == ("quantile boosting", "0.916 (0.880–0.961)", "✓")
    assert (ours["ratio"], ours["member"], ours["note"], ours["dm"]) == ("1", "✗", "champion", "–")
    assert found.by_side[0]["joint"] == "−0.252"
    assert found.by_side[1]["rate_100"] == "1.23 %*", "too often"
    assert [row["state"] for row in found.states] == ["due"]


@pytest.mark.parametrize(
    ("ends", "told"),
    [((0.99, 0.95, 1.04), "adds nothing that can be told from chance"), ((1.2, 1.1, 1.3), "does harm")],
)
def test_what_does_not_help_is_said(ends: tuple[float, float, float], told: str) -> None:
    assert told in section(replace(GIVEN, contest=contest(*ends))).lines[1]


def test_silence_where_nothing_runs_or_is_known() -> None:
    off = section(replace(GIVEN, is_on=False))
    assert off.headline.startswith("No challenger runs")
    assert off.lines == off.overall == off.states == off.amber == []
    early = section(replace(GIVEN, states=GIVEN.states.head(0)))
    assert early.headline.startswith("Not enough data: no quarter has been judged yet.")
    alone = replace(GIVEN, states=pd.DataFrame([STATE | {"gate_model": ""}]))
    assert "held against none and carries no model margin" in section(alone).lines[0]


def test_machines_get_champion_and_state() -> None:
    found = models.record(cast("ReportInputs", SimpleNamespace(models=GIVEN)))
    assert found is not None
    assert (found["champion"], found["champion_since"], found["state"], found["held_against"]) == (
        OURS,
        None,
        "due",
        LEARNER,
    )
    off = cast("ReportInputs", SimpleNamespace(models=replace(GIVEN, is_on=False)))
    assert models.record(off) is None
