"""Health: what stands behind the numbers, as tables: data, swings, and what moved since the last report.

What lives here: tables of the end matter and of the annexes. What does not: decisions (``decision``), markets
(``pages``), volatility models (``fits``).
"""

from typing import Any

import numpy as np
import pandas as pd

from reports import words
from reports.view.decision import LEADING, SHORT
from reports.view.inputs import ReportInputs, of_symbol

QUARANTINE_ROWS = 20
MOVED_ROWS = 24


def since_last(inputs: ReportInputs) -> list[str]:
    """Say what moved since the last report, in one line."""
    if inputs.previous.empty:
        return ["This is the first report of this profile."]
    day = words.day(inputs.previous["as_of"].iloc[0])
    rows = moved(inputs)
    if not rows:
        return [f"No target and no status moved since {day}."]
    count = len(_beside_previous(inputs))
    first = rows[0]
    return [
        f"{words.count(count)} set(s) differ from {day}; most: {first['symbol']} {first['what']} target "
        f"{first['before']} to {first['now']}."
    ]


def quarantine(inputs: ReportInputs) -> list[dict[str, str]]:
    """List the first rows set aside."""
    return [
        {
            "date": words.day(r.date),
            "symbol": words.plain(r.symbol),
            "reason": words.plain(r.reason).replace("_", " "),
            "detail": words.plain(r.detail),
        }
        for r in words.records(inputs.quarantine.head(QUARANTINE_ROWS))
    ]


def quarantine_line(inputs: ReportInputs) -> str:
    """Count accepted bars and rows set aside, by reason."""
    counts = inputs.quarantine["reason"].value_counts().sort_index()
    bars = len(inputs.prices)
    if counts.empty:
        return f"{words.count(bars)} bars accepted, none set aside."
    named = words.listing([f"{n} {words.plain(reason).replace('_', ' ')}" for reason, n in counts.items()])
    return f"{words.count(bars)} bars accepted; set aside: {named}."


def moved(inputs: ReportInputs) -> list[dict[str, str]]:
    """List leading targets that moved since the last report, largest move first."""
    both = _beside_previous(inputs)
    rows = []
    for r in words.records(both):
        step = None if words.is_missing(r.target) or words.is_missing(r.target_before) else r.target - r.target_before
        rows.append(
            (
                abs(step) if step is not None else np.inf,
                {
                    "symbol": words.plain(r.symbol),
                    "what": f"{r.product} {r.side} {SHORT[str(r.parameter)]}",
                    "before": words.bps(r.target_before),
                    "now": words.bps(r.target),
                    "change": words.change(r.target_before, r.target),
                    "status_before": str(r.status_before),
                    "status": str(r.status),
                },
            )
        )
    return [row for _, row in sorted(rows, key=lambda pair: -pair[0])][:MOVED_ROWS]


def _beside_previous(inputs: ReportInputs) -> pd.DataFrame:
    """Leading parameters whose target or status differs from the last report's."""
    keys = ["symbol", "product", "side", "parameter"]
    now = inputs.recommendations[inputs.recommendations["parameter"].isin(set(LEADING.values()))]
    both = now.merge(inputs.previous, on=keys, how="inner", suffixes=("", "_before"))
    differs = (both["target"].fillna(-1) != both["target_before"].fillna(-1)) | (
        both["status"] != both["status_before"]
    )
    return both[differs]


def data_quality(inputs: ReportInputs) -> list[dict[str, str]]:
    """Bars of each market: how many, from when to when, gaps, what was set aside, and which have highs and lows."""
    rows = []
    for market in inputs.markets:
        prices = of_symbol(inputs.prices, market.symbol)
        aside = inputs.quarantine[inputs.quarantine["symbol"] == market.symbol]
        if prices.empty:
            rows.append(
                {"symbol": words.plain(market.symbol), "bars": "0", "span": words.MISSING, "gaps": words.MISSING}
                | {"longest": words.MISSING, "aside": words.count(len(aside)), "ranges": words.MISSING}
            )
            continue
        ranged = float((prices["high_usd"].notna() & prices["low_usd"].notna()).mean())
        rows.append(
            {
                "symbol": words.plain(market.symbol),
                "bars": words.count(len(prices)),
                "span": f"{words.day(prices['date'].iloc[0])} to {words.day(prices['date'].iloc[-1])}",
                "gaps": words.count(int((prices["gap_sessions"] > 0).sum())),
                "longest": words.count(int(prices["gap_sessions"].max())),
                "aside": words.count(len(aside)),
                "ranges": words.percent(ranged, 1),
            }
        )
    return rows


def swings(inputs: ReportInputs) -> list[dict[str, str]]:
    """Report card against procyclicality: each measure raw and smoothed, and what the set in force lagged by."""
    rows = []
    for r in words.records(inputs.cards[inputs.cards["days"] > 0]):
        one = r._asdict()

        def both(name: str, kind: str, one: dict[str, Any] = one) -> str:
            shown = words.number if kind == "ratio" else lambda value: words.percent(value, 0)
            return f"{shown(one[f'raw_{name}'])} / {shown(one[name])}"

        is_held = not words.is_missing(r.lag_days)
        cost = words.MISSING
        if is_held and not words.is_missing(r.cost_sum):
            cost = f"{'≥ ' if r.bounded_days else ''}{words.number(1e4 * r.cost_sum, 1)} bp"
        rows.append(
            {
                "what": f"{words.plain(r.symbol)} {r.product} {r.side}",
                "ratio": both("swing", "ratio"),
                "one": both("rise_1", "share"),
                "five": both("rise_5", "share"),
                "thirty": both("rise_30", "share"),
                "step_one": both("step_1", "share"),
                "step_five": both("step_5", "share"),
                "step_twenty": both("step_20", "share"),
                "under": f"{words.count(r.under_days)} of {words.count(r.lag_days)}" if is_held else words.MISSING,
                "cost": cost,
            }
        )
    return rows
