"""Returns: from closes to one-day log returns.

What lives here: differences of log prices and what counts as one day. What does not: screening of bars
(``candles``), calendars, excursions within a day (``overshoot``), volatility.
"""

import numpy as np
import pandas as pd


def valid_returns(prices: pd.DataFrame) -> pd.Series:
    r"""One-day log returns, :math:`r_t = \ln(C_t/C_{t-1})`, as fractions.

    Parameters
    ----------
    prices
        One market in date order: ``date, close_usd, is_return_valid``.

    Returns
    -------
    Series
        By date, only days marked valid: a return over a gap is no one-day return and is left out.

    Raises
    ------
    ValueError
        Where dates do not ascend, a close is not a positive number, or the first bar is marked valid; names
        the date.
    """
    dates = prices["date"]
    if not dates.is_monotonic_increasing or dates.duplicated().any():
        late = dates[dates.diff() <= pd.Timedelta(0)].iloc[0]
        raise ValueError(f"prices are not in date order at {late.date()}; sort them and drop repeated days")
    close = prices["close_usd"].to_numpy(np.float64)
    is_price = np.isfinite(close) & (close > 0)
    if not is_price.all():
        bad = dates[~is_price].iloc[0]
        raise ValueError(f"close of {bad.date()} is not positive; the screen of candles must quarantine it")
    keep = prices["is_return_valid"].to_numpy(np.bool_)
    if len(keep) and keep[0]:
        raise ValueError(
            f"{dates.iloc[0].date()} is the first bar and has no return; "
            "hand over the bars before it or mark it invalid"
        )
    r = np.full(len(close), np.nan)
    r[1:] = np.diff(np.log(close))
    return pd.Series(r[keep], index=pd.DatetimeIndex(dates[keep]), name="log_return")
