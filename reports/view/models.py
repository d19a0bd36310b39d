"""Models: who is champion and why, how the others score on the same days, and what their disagreement costs.

What lives here: tables and sentences of one section, and the record in ``decision.json``. What does not: scores and the
rule (``plimsoll.challengers``), looks (``templates``).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from reports import words
from reports.view.inputs import ModelInputs, ReportInputs

NAMES = {
    "garch_fhs": "GARCH-t with filtered history",
    "garch_evt": "GARCH-t with a Pareto tail",
    "ewma_fhs": "EWMA with filtered history",
    "historical": "historical simulation",
    "egarch_fhs": "EGARCH-t with filtered history",
    "caviar_sav": "CAViaR symmetric",
    "caviar_as": "CAViaR asymmetric",
    "caviar_ig": "CAViaR indirect GARCH",
    "caviar_adaptive": "CAViaR adaptive",
    "quantile_boosting": "quantile boosting",
}
LEARNER = "quantile_boosting"
GROUPS = {
    "har": "past moves",
    "range": "ranges",
    "semivariance": "one-sided moves",
    "volatility": "level of volatility",
    "liquidity": "liquidity",
    "cross_market": "other markets",
    "calendar": "calendar",
    "age": "age of the market",
    "feeds": "feeds",
    "derivatives": "derivatives",
}
WITHOUT = "all features"
STATES_SHOWN = 5
GROUPS_NAMED = 3
LEAST_SHOWN = 0.0005
"""Share below which a group prints as nothing."""


@dataclass(frozen=True)
class ModelsView:
    """The section."""

    headline: str
    lines: list[str]
    overall: list[dict[str, str]]
    by_side: list[dict[str, str]]
    states: list[dict[str, str]]
    amber: list[dict[str, str]]
    note: str


def section(inputs: ReportInputs) -> ModelsView:
    """Build the section."""
    given = inputs.models
    if not given.is_on:
        told = f"No challenger runs: it is switched off in the configuration. {_name(given.in_use)} stands alone."
        return ModelsView(told, [], [], [], [], [], "")
    if given.states.empty:
        told = f"Not enough data: no quarter has been judged yet. {_name(given.in_use)} stands alone."
        return ModelsView(told, [], [], [], [], [], "")
    newest = given.states.iloc[-1]
    rows = given.contest
    lines = [_gate(given), _learned(given), _levels(given)]
    dates = rows.loc[rows["side"] == "both", "dates"].max() if len(rows) else 0
    return ModelsView(
        headline=_champion(newest),
        lines=[line for line in lines if line],
        overall=_overall(rows),
        by_side=[
            _row(rows, side, model) for side in ("long", "short") for model in _order(rows) if _has(rows, side, model)
        ],
        states=[_state(one) for one in words.records(given.states.tail(STATES_SHOWN).iloc[::-1])],
        amber=_amber(given),
        note=f"{words.count(dates)} dates before {words.day(newest['quarter_on'])} on which every model was judged, the "
        "markets of a date averaged first. Ratio: mean quantile score over the champion's, below one is better, with its "
        "90 % interval by blocks of dates; all tails: both sides and 5, 1 and 0.5 %, the number that the rule goes by. "
        "Set: among the models that hold the best one with 90 % confidence. Joint: score of quantile and expected "
        "shortfall less the champion's (it has no ratio: its size depends on the unit). Exceeded: share of days beyond "
        "the quantile that was stated at 5, 1 and 0.5 %; an asterisk where that is too often at a level of 5 %.",
    )


def record(inputs: ReportInputs) -> dict[str, Any] | None:
    """Return champion and state for machines, or None where nothing runs or has been judged."""
    states = inputs.models.states
    if not inputs.models.is_on or states.empty:
        return None
    one = states.iloc[-1]
    since = one["champion_since"]
    return {
        "champion": str(one["champion"]),
        "champion_since": None if pd.isna(since) else words.day(since),
        "state": str(one["state"]),
        "stated_on": words.day(one["stated_on"]),
        "candidate": str(one["candidate"]) or None,
        "quarters": int(one["quarters"]),
        "held_against": str(one["gate_model"]) or None,
        "reason": str(one["reason"]),
    }


def _name(model: object) -> str:
    return NAMES.get(str(model), words.plain(model))


def _named(text: str) -> str:
    """Put the names that people read into a sentence of the rule."""
    for model in sorted(NAMES, key=len, reverse=True):
        text = text.replace(model, NAMES[model])
    return words.plain(text[:1].upper() + text[1:])


def _champion(state: pd.Series) -> str:
    since = state["champion_since"]
    when = "since the beginning" if pd.isna(since) else f"since {words.day(since)}"
    return f"Champion {when}: {_name(state['champion'])}. {_named(str(state['reason']))}"


def _gate(given: ModelInputs) -> str:
    if not str(given.states.iloc[-1]["gate_model"]):
        return (
            "No other model is in the confidence set, so the budget is held against none and carries no model margin."
        )
    name = _name(given.states.iloc[-1]["gate_model"])
    amber = given.budgets[given.budgets["lambda_model"] > 0]
    if given.ratios.empty:
        return f"The budget would be held against {name}, which says nothing today: no model margin."
    low, high = given.ratios["challenger_ratio"].min(), given.ratios["challenger_ratio"].max()
    told = (
        f"The budget is held against {name}, whose 1 % quantile today is {low:.2f} to {high:.2f} times that of the "
        "model in use. "
    )
    if amber.empty:
        return told + "No budget differs by more than a factor of 1.25, so none carries a model margin today."
    sets = "set carries" if len(amber) == 1 else "sets carry"
    return told + f"{len(amber)} {sets} a model margin today, because the budgets differ by more than a factor of 1.25."


def _learned(given: ModelInputs) -> str:
    """Say what the learner adds or does not."""
    mine = given.contest[(given.contest["model"] == LEARNER) & (given.contest["side"] == "both")]
    if mine.empty:
        return ""
    row = mine.iloc[0]
    if pd.isna(row["ratio"]):
        return f"Quantile boosting: {words.plain(row['note']) or 'not judged'}."
    low, high = row["ratio_low"] - 1, row["ratio_high"] - 1
    between = f"90 % interval {_signed(low)} to {_signed(high)}"
    if high < 0:
        told = f"Quantile boosting adds something: its score is {_signed(row['ratio'] - 1)} against the champion's"
    elif low > 0:
        told = f"Quantile boosting does harm: its score is {_signed(row['ratio'] - 1)} against the champion's"
    else:
        told = (
            "Quantile boosting adds nothing that can be told from chance: its score is "
            f"{_signed(row['ratio'] - 1)} against the champion's"
        )
    return f"{told} ({between}), less being better.{_features(given.importances)}"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f} %".replace("-", "−")


def _features(rows: pd.DataFrame) -> str:
    if rows.empty:
        return ""
    parts = []
    for side, mine in rows.groupby("side", sort=True):
        whole = mine[mine["feature_group"] == WITHOUT]["increase_share"]
        groups = mine[mine["feature_group"] != WITHOUT].sort_values("increase_share", ascending=False, kind="stable")
        top = groups[groups["increase_share"] >= LEAST_SHOWN].head(GROUPS_NAMED)
        named = [
            f"{GROUPS.get(str(one.feature_group), words.plain(one.feature_group))} {_signed(one.increase_share)}"
            for one in words.records(top)
        ]
        all_of_them = f"all features {_signed(float(whole.iloc[0]))}" if len(whole) else ""
        parts.append(f"{side}: {words.listing([one for one in (all_of_them, *named) if one])}")
    return " What its 1 % score loses on the last block when features are frozen: " + "; ".join(parts) + "."


def _levels(given: ModelInputs) -> str:
    rows = given.levels
    rows = rows[rows["model"] == given.in_use] if len(rows) else rows
    if rows.empty:
        return ""
    newest = rows[rows["as_of"] == rows["as_of"].max()].sort_values("side", kind="stable")
    parts = [
        f"{row.side}s at {100 * row.alpha_p500:.2f}, {100 * row.alpha_p100:.2f} and {100 * row.alpha_p50:.2f} %"
        for row in words.records(newest)
    ]
    held = " A bound holds one of them, so that the rate is not assured." if newest["is_held"].any() else ""
    return (
        f"Conformal overlay, logged and in no number: to be exceeded at 5, 1 and 0.5 % in the long run, {_name(given.in_use)} "
        f"would today be read for {words.listing(parts)}.{held}"
    )


def _order(rows: pd.DataFrame) -> list[str]:
    mine = rows[rows["side"] == "both"].sort_values(["mean_score", "model"], kind="stable", na_position="last")
    return [str(one) for one in mine["model"]]


def _has(rows: pd.DataFrame, side: str, model: str) -> bool:
    return bool(((rows["side"] == side) & (rows["model"] == model)).any())


def _cell(rows: pd.DataFrame, side: str, model: str, bps: int, score: str) -> pd.Series | None:
    mine = rows[
        (rows["side"] == side)
        & (rows["model"] == model)
        & (rows["tail_probability_bps"] == bps)
        & (rows["score"] == score)
    ]
    return None if mine.empty else mine.iloc[0]


def _ratio(one: pd.Series | None) -> str:
    if one is None or pd.isna(one["ratio"]):
        return words.MISSING
    if one["model"] == one["champion"]:
        return "1"
    return f"{one['ratio']:.3f} ({one['ratio_low']:.3f}–{one['ratio_high']:.3f})"


def _member(one: pd.Series | None) -> str:
    if one is None or pd.isna(one["is_in_confidence_set"]):
        return words.MISSING
    return "✓" if one["is_in_confidence_set"] else "✗"


def _overall(rows: pd.DataFrame) -> list[dict[str, str]]:
    out = []
    for model in _order(rows):
        one = _cell(rows, "both", model, 0, "quantile")
        assert one is not None
        out.append(
            {
                "model": _name(model),
                "ratio": _ratio(one),
                "dm": words.probability(one["dm_p"]),
                "member": _member(one),
                "note": "champion" if model == one["champion"] else words.plain(one["note"]),
            }
        )
    return out


def _row(rows: pd.DataFrame, side: str, model: str) -> dict[str, str]:
    quantile, joint = _cell(rows, side, model, 100, "quantile"), _cell(rows, side, model, 100, "joint")
    rates = {}
    for bps in (500, 100, 50):
        one = _cell(rows, side, model, bps, "quantile")
        rates[f"rate_{bps}"] = words.MISSING if one is None or pd.isna(one["exceedance_rate"]) else _rate(one)
    difference = np.nan if joint is None else joint["difference"]
    return {
        "side": side,
        "model": _name(model),
        "ratio": _ratio(quantile),
        "dm": words.MISSING if quantile is None else words.probability(quantile["dm_p"]),
        "member": _member(quantile),
        "joint": words.MISSING if pd.isna(difference) else f"{difference:+.3f}".replace("-", "−"),
        **rates,
    }


def _rate(one: pd.Series) -> str:
    mark = "*" if one["too_many_p"] < 0.05 else ""
    return f"{words.percent(one['exceedance_rate'])}{mark}"


def _state(one: Any) -> dict[str, str]:
    return {
        "on": words.day(one.stated_on),
        "champion": _name(one.champion),
        "state": str(one.state),
        "candidate": _name(one.candidate) if one.candidate else words.MISSING,
        "quarters": words.count(one.quarters) if one.candidate else words.MISSING,
        "against": _name(one.gate_model) if one.gate_model else words.MISSING,
        "why": _named(str(one.reason)),
    }


def _amber(given: ModelInputs) -> list[dict[str, str]]:
    rows = given.budgets[given.budgets["lambda_model"] > 0].merge(given.ratios, on=["symbol", "side"], how="left")
    return [
        {
            "what": f"{words.plain(row.symbol)} {row.product} {row.side}",
            "ratio": words.number(row.challenger_ratio),
            "without": words.percent(row.lambda_total - row.lambda_model),
            "margin": words.percent(row.lambda_model),
        }
        for row in words.records(rows.sort_values("lambda_model", ascending=False, kind="stable"))
    ]
