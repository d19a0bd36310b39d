"""Panel: the days and markets on which every rule is judged alike.

What lives here: bars, forecasts, costs and wishes of all rules on one calendar. What does not: what follows from them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BARS = ("close_usd", "previous_close_usd", "low_usd", "high_usd")


@dataclass(frozen=True)
class Panel:
    """Days by markets; NaN where a market has no bar, no forecast or a rule no wish.

    Attributes
    ----------
    dates
        Calendar, shape (T,).
    symbols
        Markets, length M.
    close, previous_close, low, high
        Prices of the day, shape (T, M).
    sigma
        Daily volatility forecast at the close before, shape (T, M).
    depth
        Trigger depth c in sigmas, shape (T, M).
    costs
        Log costs beside the move: oracle error, slippage, fee, shape (T, M).
    wishes
        Rule to the log move over 24 hours that it wants a threshold to carry on the day, known at the close before,
        shape (T, M).
    """

    dates: NDArray[np.datetime64]
    symbols: tuple[str, ...]
    close: Floats
    previous_close: Floats
    low: Floats
    high: Floats
    sigma: Floats
    depth: Floats
    costs: Floats
    wishes: Mapping[str, Floats]


def panel_of(rows: pd.DataFrame, rules: tuple[str, ...]) -> Panel:
    """Lay rows out by day and market.

    Parameters
    ----------
    rows
        One row a day and market: ``date, symbol, close_usd, previous_close_usd, low_usd, high_usd, sigma_daily, depth,
        costs_log`` and one column a rule. Days on which a bar does not follow the one before it directly are left out
        by the caller.
    rules
        Columns that are rules.

    Raises
    ------
    ValueError
        Where a day and market stand twice, a price is not positive or a wish is negative.
    """
    twice = rows[rows.duplicated(["date", "symbol"])]
    if len(twice):
        first = twice.iloc[0]
        raise ValueError(f"{first['symbol']} {pd.Timestamp(first['date']).date()}: stands twice; give each day once")
    prices = rows[list(BARS)].to_numpy(np.float64)
    if (prices <= 0).any():
        raise ValueError("a price is not positive; candles are validated before they are replayed")
    symbols = tuple(sorted(rows["symbol"].unique()))
    dates = np.unique(rows["date"].to_numpy("datetime64[D]"))
    at = (
        np.searchsorted(dates, rows["date"].to_numpy("datetime64[D]")),
        np.searchsorted(symbols, rows["symbol"].to_numpy(str)),
    )

    def of(name: str) -> Floats:
        wide = np.full((len(dates), len(symbols)), np.nan)
        wide[at] = rows[name].to_numpy(np.float64)
        return wide

    wishes = {rule: of(rule) for rule in rules}
    for rule, wish in wishes.items():
        if (wish < 0).any():
            raise ValueError(f"{rule}: wants a negative move carried; a rule states losses as positive logs")
    return Panel(
        dates=dates,
        symbols=symbols,
        close=of("close_usd"),
        previous_close=of("previous_close_usd"),
        low=of("low_usd"),
        high=of("high_usd"),
        sigma=of("sigma_daily"),
        depth=of("depth"),
        costs=of("costs_log"),
        wishes=wishes,
    )


def mirrored(panel: Panel) -> Panel:
    """Return the panel of the other side: a debt that rises is a collateral that falls, at inverted prices."""
    return replace(
        panel,
        close=1 / panel.close,
        previous_close=1 / panel.previous_close,
        low=1 / panel.high,
        high=1 / panel.low,
    )
