"""Explained: what parameters in force assume, sizes, path and reasons as records of ``decision.json``.

What lives here: rows of the store as plain values. What does not: their shape (``schema``), tables for people
(``budget_parts``, ``sizes``, ``path``).
"""

from typing import Any

import pandas as pd

from plimsoll.attribution import DRIVERS
from reports import words
from reports.view.inputs import ReportInputs

DIGITS = 6


def records(inputs: ReportInputs) -> dict[str, list[dict[str, Any]]]:
    """Return the lists by their names in the decision."""
    return {
        "implied_confidence": [_implied(row) for row in words.records(inputs.implied)],
        "size_tiers": [_tier(row) for row in words.records(inputs.tiers) if row.tier > 0],
        "exposure_caps": [_cap(row) for row in words.records(inputs.caps)],
        "path": [_path(row) for row in words.records(inputs.publications)],
        "attribution": _attributions(inputs.attributions),
    }


def _implied(row: Any) -> dict[str, Any]:
    return _named(row, "symbol", "product", "side", "venue", "parameter", "probability_note") | {
        "value_bps": int(row.value_bps),
        "absorbed_drop": _rounded(row.absorbed_drop),
        "probability": _rounded(row.probability),
        "tail_probability": _rounded(row.tail_probability),
        "latency_hours": _rounded(row.latency_hours),
        "latency_note": str(row.latency_note),
        "depth_usd": _rounded(row.depth_usd, 2),
        "depth_note": str(row.depth_note),
    }


def _tier(row: Any) -> dict[str, Any]:
    return _named(row, "symbol", "side") | {
        "tier": int(row.tier),
        "floor_usd": _rounded(row.floor_usd, 2),
        "ceiling_usd": _rounded(row.ceiling_usd, 2),
        "mm_bps": int(row.mm_bps),
        "im_bps": int(row.im_bps),
        "max_leverage": int(row.max_leverage),
        "maintenance_amount_usd": _rounded(row.maintenance_amount_usd, 2),
    }


def _cap(row: Any) -> dict[str, Any]:
    return _named(row, "symbol", "side", "lt_basis", "binding", "note") | {
        "lt_bps": _integer(row.lt_bps),
        "cap_usd": _rounded(row.cap_usd, 2),
        "sale_usd": _rounded(row.sale_usd, 2),
        "bonus_cap_usd": _rounded(row.bonus_cap_usd, 2),
        "used_usd": _rounded(row.used_usd, 2),
    }


def _path(row: Any) -> dict[str, Any]:
    names = ("symbol", "product", "side", "parameter", "venue", "venue_parameter", "outcome", "status", "reason")
    return _named(row, *names) | {
        "in_force": _integer(row.in_force),
        "destination": _integer(row.destination),
        "published": _integer(row.published),
        "steps": _integer(row.steps),
        "converges_on": None if pd.isna(row.converges_on) else words.day(row.converges_on),
        "days_looser": _integer(row.days_looser),
    }


def _attributions(rows: pd.DataFrame) -> list[dict[str, Any]]:
    if rows.empty:
        return []
    out = []
    for _, mine in rows.groupby(["symbol", "product", "side"], sort=True, observed=True):
        order = mine["driver"].map({driver: at for at, driver in enumerate(DRIVERS)})
        first, *_ = found = words.records(mine.assign(at=order).sort_values("at", kind="stable"))
        out.append(
            _named(first, "symbol", "product", "side", "parameter")
            | {
                "since": words.day(first.since),
                "before_bps": int(first.before_bps),
                "after_bps": int(first.after_bps),
                "contributions_bps": {str(row.driver): _rounded(row.contribution_bps, 9) for row in found},
            }
        )
    return out


def _named(row: Any, *names: str) -> dict[str, Any]:
    values = row._asdict()
    return {name: str(values[name]) for name in names}


def _integer(value: Any) -> int | None:
    return None if words.is_missing(value) else int(value)


def _rounded(value: Any, digits: int = DIGITS) -> float | None:
    return None if words.is_missing(value) else round(float(value), digits)
