"""Trial: whole policies replayed, the daily watch over the model in use, and what became of past recommendations.

What lives here: charts and tables of one section. What does not: the replay and the watch (``plimsoll``), drawing
(``charts``).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from reports import charts, words
from reports.charts import Chart
from reports.view.inputs import ReportInputs

NAMES = {
    "recommended": "recommended",
    "quantile_form": "its quantile form",
    "historical_simulation": "hist. simulation",
    "ewma": "EWMA",
    "textbook": "textbook",
    "in_force": "in force",
}
SERIES = {"overshoot_24h": "perpetual depth", "overshoot_24h_deep": "lending depth"}
AGAINST = {
    "estimator": ("recommended", "overshoot estimate"),
    "published": ("in_force", "rounded parameters"),
    "historical_simulation": ("historical_simulation", NAMES["historical_simulation"]),
    "ewma": ("ewma", NAMES["ewma"]),
    "textbook": ("textbook", NAMES["textbook"]),
}
"""Models of the breach table: whose colour, and the name that is printed."""
SCORED_ROWS = 12
SHOWN_LEVEL = 0.01
"""Breach rate at which rules are set side by side; the command line has others."""


@dataclass(frozen=True)
class Trial:
    """The section, or nothing of it where nothing has been judged yet."""

    curves: Chart | None
    trade: Chart | None
    watch: Chart | None
    bets: Chart | None
    rules: list[dict[str, str]]
    pairs: list[dict[str, str]]
    watches: list[dict[str, str]]
    against: list[dict[str, str]]
    scorecard: list[dict[str, str]]
    notes: list[str]


def section(inputs: ReportInputs) -> Trial:
    """Build the section."""
    uses = _uses(inputs.replay_curves)
    return Trial(
        curves=charts.policies(_lines(inputs.replay_curves, uses, "breach_rate", "mean_threshold")) if uses else None,
        trade=charts.trade_off(_lines(inputs.replay_curves, uses, "missed_share", "unnecessary_share"))
        if uses
        else None,
        watch=charts.watch(_wealth(inputs.watch)) if len(inputs.watch) else None,
        bets=charts.bets(_against(inputs.bets)) if len(inputs.bets) else None,
        rules=[_rule(r) for r in words.records(inputs.replay_rules)] if uses else [],
        pairs=_pairs(inputs.replay_pairs) if uses else [],
        watches=_watches(inputs.watch),
        against=_outcomes(inputs.bets),
        scorecard=_scored(inputs.scorecard),
        notes=_notes(),
    )


def _uses(curves: pd.DataFrame) -> list[tuple[str, str]]:
    return [] if curves.empty else list(dict.fromkeys(zip(curves["product"], curves["side"], strict=True)))


def _lines(curves: pd.DataFrame, uses: list[tuple[str, str]], x: str, y: str) -> list[dict[str, Any]]:
    panels = []
    for product, side in uses:
        mine = curves[(curves["product"] == product) & (curves["side"] == side)]
        lines = []
        for rule, line in mine.groupby("rule", sort=False):
            known = line[[x, y, "factor"]].dropna()
            lines.append(
                (
                    str(rule),
                    NAMES.get(str(rule), words.plain(rule)),
                    100 * known[x].to_numpy(np.float64),
                    100 * known[y].to_numpy(np.float64),
                    np.isclose(known["factor"].to_numpy(np.float64), 1.0),
                )
            )
        panels.append({"title": f"{product} {side}", "lines": lines})
    return panels


def _wealth(watch: pd.DataFrame) -> list[tuple[str, np.ndarray, np.ndarray]]:
    return [
        (f"{SERIES[str(series)]}, {side}", one["date"].to_numpy(), one["log_wealth"].to_numpy(np.float64))
        for (series, side), one in watch.groupby(["series", "side"], sort=True)
    ]


def _against(bets: pd.DataFrame) -> list[dict[str, Any]]:
    panels = []
    for side, mine in bets.groupby("side", sort=True):
        by_model = {str(model): one for model, one in mine.groupby("model", sort=True)}
        lines = [
            (rule, name, by_model[model]["date"].to_numpy(), by_model[model]["log_wealth"].to_numpy(np.float64))
            for model, (rule, name) in AGAINST.items()
            if model in by_model
        ]
        panels.append({"title": f"{side} at perpetual depth", "lines": lines})
    return panels


def _outcomes(bets: pd.DataFrame) -> list[dict[str, str]]:
    rows = []
    for model, (_, name) in AGAINST.items():
        row = {"what": name}
        for side in ("long", "short"):
            one = bets[(bets["model"] == model) & (bets["side"] == side)] if len(bets) else bets
            reached = one.loc[one["log_wealth"] >= np.log(20.0), "date"] if len(one) else one
            row[f"{side}_dates"] = words.count(len(one)) if len(one) else words.MISSING
            row[f"{side}_largest"] = (
                words.power_of_ten(max(0.0, float(one["log_wealth"].max()))) if len(one) else words.MISSING
            )
            row[f"{side}_alarm"] = (
                words.day(reached.iloc[0]) if len(reached) else "never" if len(one) else words.MISSING
            )
        rows.append(row)
    return rows if len(bets) else []


def _rule(r: Any) -> dict[str, str]:
    row = {"use": f"{r.product} {r.side}", "rule": NAMES.get(str(r.rule), words.plain(r.rule))}
    if not r.triggers:
        return row | dict.fromkeys(
            ("triggers", "breaches", "rate", "debt", "unnecessary", "forced", "mean", "ratio", "behind"), words.MISSING
        )
    return row | {
        "triggers": words.count(r.triggers),
        "breaches": words.count(r.breaches),
        "rate": f"{words.percent(r.breach_rate, 2)} ({100 * r.interval_low:.2f}–{100 * r.interval_high:.2f})",
        "debt": f"{1e4 * r.bad_debt:.1f}",
        "unnecessary": words.percent(r.unnecessary_share, 0),
        "forced": words.MISSING if words.is_missing(r.forced_share) else f"{1000 * r.forced_share:.2f}",
        "mean": words.percent(r.mean_threshold, 1),
        "ratio": words.number(r.peak_to_trough),
        "behind": words.percent(r.under_margined_share, 0),
    }


def _pairs(pairs: pd.DataFrame) -> list[dict[str, str]]:
    rows = []
    mine = pairs[pairs["level"] == SHOWN_LEVEL]
    for (product, side, rule), both in mine.groupby(["product", "side", "rule"], sort=False):
        by_way = {str(r.equal): r for r in words.records(both)}
        at_rate, at_mean = by_way["breach_rate"], by_way["mean_threshold"]
        row = {"use": f"{product} {side}", "rule": NAMES.get(str(rule), words.plain(rule))}
        row["mean"] = row["rate"] = row["difference"] = words.MISSING
        if not words.is_missing(getattr(at_rate, "factor", None)):
            row["mean"] = (
                f"{words.percent(at_rate.mean_threshold, 1)} / {words.percent(at_rate.champion_mean_threshold, 1)}"
            )
        if not words.is_missing(getattr(at_mean, "factor", None)):
            row["rate"] = f"{words.percent(at_mean.breach_rate, 2)} / {words.percent(at_mean.champion_breach_rate, 2)}"
            low, high = at_mean.breach_difference_low, at_mean.breach_difference_high
            row["difference"] = f"{100 * low:+.2f} to {100 * high:+.2f}"
        said = words.plain(at_mean.verdict).partition(":")[0]
        row["verdict"] = said.replace("champion", "recommended")
        rows.append(row)
    return rows


def _watches(watch: pd.DataFrame) -> list[dict[str, str]]:
    rows = []
    for (series, side), one in watch.groupby(["series", "side"], sort=True) if len(watch) else ():
        last = one.iloc[-1]
        rows.append(
            {
                "what": f"{SERIES[str(series)]}, {side}",
                "dates": words.count(len(one)),
                "now": f"{np.exp(last['log_wealth']):.2g}",
                "largest": f"{np.exp(max(0.0, one['log_wealth'].max())):.3g}",
                "state": str(last["state"]),
                "alarms": str(last["alarms"]) or "none",
            }
        )
    return rows


def _scored(scorecard: pd.DataFrame) -> list[dict[str, str]]:
    known = scorecard[scorecard["days_known"] > 0] if len(scorecard) else scorecard
    rows: list[tuple[int, dict[str, str]]] = []
    for key, group in known.groupby(["symbol", "product", "side"], sort=True) if len(known) else ():
        worst = group["worst_log"].max()
        row = {
            "what": " ".join(words.plain(part) for part in key),
            "count": words.count(len(group)),
            "triggers": words.count(int(group["triggers"].sum())),
            "target": _sum(group["breaches_target"]),
            "in_force": _sum(group["breaches_in_force"]),
            "worst": words.MISSING if pd.isna(worst) else words.percent(float(np.expm1(worst)), 1),
        }
        rows.append((int(group["breaches_target"].fillna(0).sum()), row))
    return [row for _, row in sorted(rows, key=lambda pair: -pair[0])[:SCORED_ROWS]]


def _sum(values: pd.Series) -> str:
    return words.MISSING if values.isna().all() else words.count(int(values.sum()))


def _notes() -> list[str]:
    return [
        "Everything here speaks about 24 hours: daily bars show no shorter move. Every rule but the parameters in force "
        "is published through the same governance, half a point in three days, a loosening after fourteen days.",
        "Parameters in force are held constant over all days, though they were chosen with the later ones in view. A "
        "factor that brings a rule to a breach rate is known only afterwards, for every rule alike.",
    ]
