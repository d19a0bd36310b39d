"""Budget parts: horizon, slippage and smoothing behind each budget, and what the set in force assumes.

What lives here: two small tables of a market. What does not: the budget's own table (``pages``), sizes (``sizes``).
"""

import pandas as pd

from reports import words
from reports.view.decision import SHORT

HOURS = ("oracle", "keeper", "auction", "sale")
BASES = {"law": "law", "book": "order book", "book_end": "order book's end", "pool": "pool", "none": words.MISSING}
RULES = {"floor": "floor", "blend": "blend", "buffer": "buffer", "none": "none"}


def details(newest: pd.DataFrame) -> list[dict[str, str]]:
    """List what each budget of a market is made of beyond its parts; nothing for a set that is withheld."""
    out = []
    has_split = is_split(newest)
    for row in words.records(newest[newest["lambda_total"].notna()] if len(newest) else newest):
        values = row._asdict()
        known = [values[f"horizon_{part}_hours"] for part in HOURS]
        base = row.horizon_hours - row.horizon_sale_hours
        shown = [words.number(hours, 2) for hours in known]
        if all(words.is_missing(hours) for hours in known[:-1]):
            shown[0] = f"together {words.number(base, 2)}" if has_split else words.number(base, 2)
        out.append(
            {
                "what": f"{row.product} {row.side}",
                "oracle": shown[0],
                "keeper": shown[1],
                "auction": shown[2],
                "sale": shown[3],
                "total": words.number(row.horizon_hours, 2),
                "law": words.percent(row.slippage_law),
                "book": words.percent(row.slippage_book),
                "pool": words.percent(row.slippage_pool),
                "basis": BASES.get(str(row.slippage_basis), words.plain(row.slippage_basis)),
                "raw": words.percent(row.lambda_raw),
                "smoothing": words.percent(row.lambda_smoothing),
                "total_log": words.percent(row.lambda_total),
                "rule": RULES.get(str(row.smoothing), words.plain(row.smoothing)),
            }
        )
    return out


def is_split(newest: pd.DataFrame) -> bool:
    """Whether any horizon of a market is known by its parts."""
    return bool(newest[["horizon_oracle_hours", "horizon_keeper_hours"]].notna().any().any())


def implied(rows: pd.DataFrame) -> list[dict[str, str]]:
    """List what each set in force of a market assumes."""
    out = []
    for row in words.records(rows):
        chance = words.percent(row.probability) if not words.is_missing(row.probability) else str(row.probability_note)
        hours = "any" if str(row.latency_note).startswith("any") else "none"
        if not words.is_missing(row.latency_hours):
            hours = f"{words.number(row.latency_hours)} h"
        out.append(
            {
                "what": f"{row.product} {row.side} {SHORT[str(row.parameter)]} {words.bps(row.value_bps)}",
                "absorbs": words.percent(row.absorbed_drop),
                "sigmas": words.number(row.k_live),
                "probability": words.plain(chance) or words.MISSING,
                "latency": hours,
                "depth": "none" if words.is_missing(row.depth_usd) else words.money(row.depth_usd),
            }
        )
    return out
