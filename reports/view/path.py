"""Path: what may be published today on the way to each target, and why targets moved.

What lives here: two tables of the whole report. What does not: the walk (``plimsoll.publication``), the split
(``plimsoll.attribution``), what the committee is asked (``decision``).
"""

from typing import Any

import pandas as pd

from reports import words
from reports.view.decision import FOLLOWING, LEADING, SHORT
from reports.view.inputs import ReportInputs

ROWS = 24
TENTH = 0.1
OUTCOMES = {
    "published": "moving today",
    "unchanged": "unchanged",
    "wait": "waiting",
    "hold": "held",
    "block": "blocked",
    "new": "new today",
    "new_market": "needing a new market",
    "withheld": "withheld",
}
STOPPED = ("block", "withheld", "hold", "new_market", "wait", "coupled")
"""Outcomes and statuses that need a reason: what moves says so by its values."""
URGENCY = ("block", "withheld", "hold", "new_market", "published", "new", "wait", "unchanged")
GROUPS = {
    "volatility": ("volatility",),
    "tail": ("tail", "shortfall"),
    "latency": ("latency", "exponent"),
    "oracle": ("oracle",),
    "slippage": ("slippage",),
    "fee": ("fee",),
    "model": ("model",),
    "smoothing": ("sigma_smoothing", "budget_smoothing"),
    "policy": ("bonus", "cap", "step_limit"),
    "rounding": ("rounding",),
}
"""Columns of the table of reasons, and the drivers that each sums."""


def path(inputs: ReportInputs) -> list[dict[str, str]]:
    """List what may stand today, the sets that need somebody first; unchanged ones are counted by `path_line`."""
    ranked = []
    for key, mine in _by_set(inputs.publications):
        row = _row(key, mine)
        if row["outcome"] != "unchanged":
            ranked.append((_rank(row["outcome"]), row))
    return [row for _, row in sorted(ranked, key=lambda pair: pair[0])][:ROWS]


def path_line(inputs: ReportInputs) -> str:
    """Count the sets by what becomes of them today; empty where no path is known."""
    outcomes = [str(mine.iloc[0]["outcome"]) for _, mine in _by_set(inputs.publications)]
    if not outcomes:
        return ""
    named = sorted(dict.fromkeys(outcomes), key=_rank)
    counts = words.listing([f"{outcomes.count(one)} {OUTCOMES.get(one, one)}" for one in named])
    return f"Of {len(outcomes)} parameter set(s) under their venues' own limits: {counts}."


def _by_set(rows: pd.DataFrame) -> list[tuple[tuple[str, str, str], pd.DataFrame]]:
    if rows.empty:
        return []
    found = rows.groupby(["symbol", "product", "side"], sort=True, observed=True)
    return [((str(key[0]), str(key[1]), str(key[2])), mine) for key, mine in found]


def _rank(outcome: str) -> int:
    return URGENCY.index(outcome) if outcome in URGENCY else len(URGENCY)


def _row(key: tuple[str, str, str], mine: pd.DataFrame) -> dict[str, str]:
    symbol, product, side = key
    by = {str(row.parameter): row for row in words.records(mine)}
    lead = by.get(LEADING[product])
    first = lead or next(iter(by.values()))
    follow = by.get(FOLLOWING[product])
    told = [row for row in by.values() if row.outcome in STOPPED or row.status in STOPPED]
    reasons = dict.fromkeys(words.plain(row.reason) for row in told if row.reason)
    return {
        "symbol": words.plain(symbol),
        "what": f"{product} {side}",
        "venue": words.plain(first.venue).replace("_", " "),
        "outcome": str(first.outcome),
        "word": OUTCOMES.get(str(first.outcome), words.plain(first.outcome)),
        "lead": words.MISSING if lead is None else f"{SHORT[LEADING[product]]} {_step(lead)}",
        "follow": words.MISSING if follow is None else f"{SHORT[FOLLOWING[product]]} {_step(follow)}",
        "steps": words.count(_most(mine["steps"])),
        "complete": words.day(mine["converges_on"].max()) if mine["converges_on"].notna().all() else words.MISSING,
        "looser": words.count(_most(mine["days_looser"])),
        "reason": "; ".join(list(reasons)[:2]),
    }


def _step(row: Any) -> str:
    """From the value in force over today's to where the walk goes, without repetition."""
    values = [words.bps(value) for value in (row.in_force, row.published, row.destination)]
    known = [value for value in values if value != words.MISSING]
    return " → ".join(dict.fromkeys(known)) or words.MISSING


def _most(values: pd.Series) -> int | None:
    """Largest of a set's parameters; None where one of them is open."""
    return int(values.max()) if len(values) and values.notna().all() else None


def reasons(inputs: ReportInputs) -> list[dict[str, Any]]:
    """List why targets moved, the largest move first: tenths of a basis point by group, which sum to the change."""
    ranked = []
    for key, mine in _by_set(inputs.attributions):
        first = mine.iloc[0]
        change = int(first["after_bps"]) - int(first["before_bps"])
        if change == 0:
            continue
        own = mine.groupby("driver", observed=True)["contribution_bps"].sum()
        parts = [float(sum(own.get(driver, 0.0) for driver in drivers)) for drivers in GROUPS.values()]
        other = change - sum(parts)
        if abs(other) > TENTH / 2:
            raise ValueError(f"{' '.join(key)}: drivers sum to {sum(parts):g} of {change} bps; attribute the day again")
        cells = words.apportioned(parts, TENTH)
        ranked.append(
            (
                -abs(change),
                {
                    "what": f"{words.plain(key[0])} {key[1]} {key[2]}",
                    "parameter": SHORT[str(first["parameter"])],
                    "before": words.bps(first["before_bps"]),
                    "now": words.bps(first["after_bps"]),
                    "cells": [_signed(cell) for cell in cells],
                    "sum": _signed(sum(cells)),
                },
            )
        )
    return [row for _, row in sorted(ranked, key=lambda pair: pair[0])][:ROWS]


def reasons_line(inputs: ReportInputs) -> str:
    """Say since when, and of how many targets; empty where there is nothing to compare with."""
    found = _by_set(inputs.attributions)
    if not found:
        return ""
    since = words.day(inputs.attributions["since"].min())
    moved = sum(int(mine.iloc[0]["after_bps"]) != int(mine.iloc[0]["before_bps"]) for _, mine in found)
    return f"{moved} of {len(found)} target(s) moved since {since}." if moved else f"No target moved since {since}."


def _signed(tenths: int) -> str:
    return "0" if tenths == 0 else f"{tenths / 10:+.1f}".replace("-", "−")
