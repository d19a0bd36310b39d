"""Sizes: margins by position size and caps of lending markets, as tables.

What lives here: what a market's page shows of them. What does not: how they are found (``plimsoll.tiers``,
``plimsoll.caps``).
"""

from typing import Any

import pandas as pd

from reports import words

TIER_ROWS = 8


def tiers(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return one table a side: its rows, how many more there are, and why there is none."""
    out = []
    for side, mine in rows.groupby("side", sort=True, observed=True):
        real = mine[mine["tier"] > 0]
        more = len(real) - TIER_ROWS
        note = words.plain(mine.iloc[0]["note"])
        out.append(
            {
                "side": str(side),
                "rows": [
                    {
                        "size": f"{words.money(r.floor_usd)} to {words.money(r.ceiling_usd)}",
                        "mm": words.bps(r.mm_bps),
                        "im": words.bps(r.im_bps),
                        "leverage": words.count(r.max_leverage),
                        "amount": words.money(r.maintenance_amount_usd),
                    }
                    for r in words.records(real.head(TIER_ROWS))
                ],
                "rest": f"{more} larger tier(s) are in decision.json." if more > 0 else "",
                "note": "" if len(real) else f"No table for {side}s: {note or 'not known'}.",
            }
        )
    return out


def caps(rows: pd.DataFrame) -> list[str]:
    """Say each cap of a lending market in a sentence."""
    out = []
    for r in words.records(rows):
        what = "Supply" if r.side == "long" else "Borrow"
        if words.is_missing(r.cap_usd):
            out.append(f"{what} cap: none, {words.plain(r.note) or 'not known'}.")
            continue
        used = "" if words.is_missing(r.used_usd) else f" {words.money(r.used_usd)} is in use."
        out.append(
            f"{what} cap {words.money(r.cap_usd)} at LT {words.bps(r.lt_bps)} ({r.lt_basis}), of it "
            f"{words.money(r.sale_usd)} sold at once; binds: {words.plain(r.binding)}. The bonus pays up to "
            f"{words.money(r.bonus_cap_usd)}, the rule of practice gives {words.money(r.practice_cap_usd)}.{used}"
        )
    return out
