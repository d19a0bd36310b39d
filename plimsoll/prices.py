"""Prices: from accepted candles to one bar a day that models read.

What lives here: previous closes, gaps against a calendar, which returns count as one day, traded value, and
the chained hash that names a history. What does not: screening (``candles``), calendars themselves.
"""

import hashlib

import numpy as np
import pandas as pd

SUPPORT = ("venue_count", "feed_status", "dispersion_bp", "stress_low_usd", "venue_low_usd")
ADV_BARS = 30
ADV_MINIMUM = 10


def build_prices(candles: pd.DataFrame, sessions: pd.DatetimeIndex, *, listing_days_dropped: int) -> pd.DataFrame:
    """Build the price rows of one market.

    Parameters
    ----------
    candles
        ``date, symbol, source, open_usd, high_usd, low_usd, close_usd, volume, volume_unit,
        is_known_at_assumed``, one row a day; and what stands behind it: ``venue_count, feed_status, dispersion_bp,
        stress_low_usd, venue_low_usd``.
    sessions
        Days of the market's calendar over the span of the candles.
    listing_days_dropped
        Bars at the start whose returns do not count.

    Returns
    -------
    DataFrame
        Columns of the price table. ``is_return_valid`` is False on the first bar, after a gap and in the
        listing period. ``adv_usd`` is the median traded value of the last 30 bars, NaN with fewer than 10
        known. ``price_hash`` of a day depends on that day and all days before, on nothing later.

    Raises
    ------
    ValueError
        Where a day stands twice; names it.
    """
    bars = candles.sort_values("date", kind="stable", ignore_index=True)
    if bars["date"].duplicated().any():
        twice = bars.loc[bars["date"].duplicated(), "date"].iloc[0]
        raise ValueError(f"{bars['symbol'].iloc[0]}: {twice.date()} stands twice; hand over one revision a day")
    n = len(bars)
    position = np.searchsorted(sessions.to_numpy(), bars["date"].to_numpy(), side="left")
    out = bars[["date", "symbol", "source", "open_usd", "high_usd", "low_usd", "close_usd"]].copy()
    out["previous_close_usd"] = bars["close_usd"].shift(1)
    traded = np.where(bars["volume_unit"] == "base", bars["volume"] * bars["close_usd"], bars["volume"])
    out["volume_usd"] = np.where(bars["volume_unit"] == "none", np.nan, traded)
    out["adv_usd"] = out["volume_usd"].rolling(ADV_BARS, min_periods=ADV_MINIMUM).median()
    out["bar_number"] = np.arange(1, n + 1)
    # Sessions strictly between the bar before and this one; a bar outside the calendar leaves none behind it.
    after_previous = np.searchsorted(sessions.to_numpy(), bars["date"].to_numpy(), side="right")
    missing = np.diff(position, prepend=0) - (after_previous - position)[np.maximum(np.arange(n) - 1, 0)]
    missing[:1] = 0
    out["gap_sessions"] = missing
    out["is_return_valid"] = (
        (out["bar_number"] > 1) & (out["gap_sessions"] == 0) & (out["bar_number"] > listing_days_dropped)
    )
    out["is_known_at_assumed"] = bars["is_known_at_assumed"].astype(bool)
    for name in SUPPORT:
        out[name] = bars[name]
    out["price_hash"] = _chain(out)
    return out


def _chain(prices: pd.DataFrame) -> list[str]:
    columns = [
        "date",
        "open_usd",
        "high_usd",
        "low_usd",
        "close_usd",
        "volume_usd",
        "gap_sessions",
        "is_return_valid",
        "venue_count",
        "dispersion_bp",
    ]
    state, out = "", []
    for row in prices[columns].itertuples(index=False):
        text = "|".join([state, row[0].strftime("%Y-%m-%d"), *(repr(float(value)) for value in row[1:])])
        state = hashlib.sha256(text.encode()).hexdigest()[:16]
        out.append(state)
    return out
