"""Daily: the one candle of a market and day that models read, out of all its sources.

What lives here: the agreed prices of a market as candles, with what is known of their support. What does not: agreeing
(``prices``), returns, gaps and calendars (``plimsoll.prices``).
"""

import numpy as np
import pandas as pd

from plimsoll.prices import SUPPORT

PRICES = ("open_usd", "high_usd", "low_usd", "close_usd")
AGREED = "consensus"
EXACT = 1e-12


def market_candles(candles: pd.DataFrame, agreed: pd.DataFrame, primary: str) -> pd.DataFrame:
    """Return one candle a day for one market.

    Parameters
    ----------
    candles
        Candles of the market from all sources: ``date, symbol, source, open_usd, high_usd, low_usd, close_usd,
        volume, volume_unit, is_known_at_assumed``.
    agreed
        Rows of the market out of `plimsoll.consensus.consensus_prices`.
    primary
        Source whose first bar is the market's first day, and whose volume counts: traded value is that of the venue
        where positions are closed, not the sum over venues.

    Returns
    -------
    DataFrame
        Columns as ``candles`` and ``venue_count, feed_status, dispersion_bp, stress_low_usd, venue_low_usd``; a day
        of which every bar was rejected is not there. ``source`` is ``consensus`` where several venues stand, else the
        one that does. A price that equals the primary's to 1e-12 is the primary's, to the last bit. Volume is NaN,
        of unit ``none``, on a day without a bar of the primary.
    """
    own = candles[candles["source"] == primary]
    if own.empty:
        return own.assign(**{name: pd.Series(dtype="float64") for name in SUPPORT})
    rows = agreed[(agreed["status"] != "no source") & (agreed["date"] >= own["date"].min())]
    rows = rows.merge(own, on=["date", "symbol"], how="left", suffixes=("", "_own"))
    has_own = rows["source"].notna().to_numpy()
    for name in PRICES:
        mine, value = rows[f"{name}_own"].to_numpy(np.float64), rows[name].to_numpy(np.float64)
        with np.errstate(invalid="ignore"):
            is_same = np.abs(value / mine - 1) < EXACT
        rows[name] = np.where(is_same, mine, value)
    assumed = candles.groupby("date")["is_known_at_assumed"].all()
    sources = candles.groupby("date")["source"].first()
    rows["is_known_at_assumed"] = np.where(
        has_own, rows["is_known_at_assumed"].eq(True), rows["date"].map(assumed).eq(True)
    )
    alone = rows["source"].where(has_own, rows["date"].map(sources))
    rows["source"] = np.where(rows["venues"] >= 2, AGREED, alone)
    rows["volume_unit"] = rows["volume_unit"].where(has_own, "none")
    rows = rows.rename(columns={"venues": "venue_count", "status": "feed_status"})
    rows["dispersion_bp"] = rows["dispersion_bp"].where(rows["venue_count"] >= 2)
    kept: pd.DataFrame = rows[[*own.columns, *SUPPORT]]
    return kept.sort_values("date", kind="stable", ignore_index=True)
