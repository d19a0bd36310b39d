"""The panel of excursions that challengers learn from, and the form in which all of them answer.

What lives here: one row a market and day, what is asked of a model, what was known at a day, and the table of
answers. What does not: any model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Days = NDArray[np.datetime64]

SIDES = ("long", "short")
PROBABILITIES_BPS = (500, 100, 50)
PANEL_COLUMNS = ("symbol", "as_of", "target_date", "sigma_daily", "close_log", "low_log", "high_log")
FORECAST_COLUMNS = (
    "symbol",
    "as_of",
    "target_date",
    "side",
    "model",
    "tail_probability_bps",
    "quantile_log",
    "shortfall_log",
)
REFUSAL_COLUMNS = ("symbol", "model", "fit_end", "side", "tail_probability_bps", "reason")


@dataclass(frozen=True)
class Market:
    """What one market did, in date order.

    Attributes
    ----------
    symbol
        The market.
    days
        Target dates, increasing, shape (n,).
    sigma, close_log
        Forecast volatility of each day and its one-day log return.
    adverse
        Excursion by side, as a positive log loss.
    """

    symbol: str
    days: Days
    sigma: Floats
    close_log: Floats
    adverse: dict[str, Floats]


@dataclass(frozen=True)
class Asked:
    """What is asked about one market, ordered by target date.

    Attributes
    ----------
    symbol
        The market.
    as_of, target_date
        Last day that may be used, and the day spoken about, shape (m,).
    sigma
        Volatility forecast for the target date; NaN where nobody brought one.
    known
        How many of the market's rows of the panel have a target date up to ``as_of``.
    """

    symbol: str
    as_of: Days
    target_date: Days
    sigma: Floats
    known: Integers


@dataclass(frozen=True)
class Walk:
    """Forecasts of one model, and which fits were refused.

    Attributes
    ----------
    forecasts
        ``FORECAST_COLUMNS``; NaN where there is not enough data or the fit was refused.
    refusals
        ``REFUSAL_COLUMNS``, one row a refused fit among those the targets needed; ``side`` is empty and
        ``tail_probability_bps`` 0 where a fit serves all of them.
    """

    forecasts: pd.DataFrame
    refusals: pd.DataFrame


def excursion_panel(prices: pd.DataFrame, forecasts: pd.DataFrame) -> pd.DataFrame:
    r"""Join what a day did to what had been forecast for it.

    .. math:: low = \ln(C_{t-1}/Low_t), \qquad high = \ln(High_t/C_{t-1}), \qquad close = \ln(C_t/C_{t-1})

    Parameters
    ----------
    prices
        ``symbol, date, close_usd, previous_close_usd, high_usd, low_usd, is_return_valid``, any order.
    forecasts
        ``symbol, as_of, target_date, sigma_daily``, any order.

    Returns
    -------
    DataFrame
        ``PANEL_COLUMNS`` ordered by target date, then symbol. ``low_log`` is positive where the day went against
        longs, ``high_log`` where it went against shorts; both may be negative after a gap. Days without a valid
        one-day return, without high or low, or whose forecast is zero or unknown are absent, as is the day whose bar
        is not known yet.

    Raises
    ------
    ValueError
        A market's day that stands twice in either frame, a forecast that does not precede its target, a price of a
        valid day that is not positive.
    """
    for name, frame, day in (("prices", prices, "date"), ("forecasts", forecasts, "target_date")):
        twice = frame.duplicated(["symbol", day]).to_numpy(np.bool_)
        if twice.any():
            row = frame.loc[twice].iloc[0]
            raise ValueError(f"{name}: {row['symbol']} {row[day]:%Y-%m-%d} stands twice; keep one row a market and day")
    _refuse_order(forecasts)
    bars = forecasts[["symbol", "as_of", "target_date", "sigma_daily"]].merge(
        prices.rename(columns={"date": "target_date"}), on=["symbol", "target_date"], how="inner"
    )
    sigma = bars["sigma_daily"].to_numpy(np.float64)
    kept = bars["is_return_valid"].to_numpy(np.bool_) & np.isfinite(sigma) & (sigma > 0)
    kept &= bars["high_usd"].notna().to_numpy(np.bool_) & bars["low_usd"].notna().to_numpy(np.bool_)
    bars = bars.loc[kept].sort_values(["target_date", "symbol"], kind="stable", ignore_index=True)
    for column in ("close_usd", "previous_close_usd", "high_usd", "low_usd"):
        price = bars[column].to_numpy(np.float64)
        bad = np.flatnonzero(~(np.isfinite(price) & (price > 0)))
        if len(bad):
            row = bars.iloc[int(bad[0])]
            raise ValueError(
                f"{column} of {row['symbol']} {row['target_date']:%Y-%m-%d} is {row[column]}, no price; "
                "mark the day invalid"
            )
    before = bars["previous_close_usd"].to_numpy(np.float64)
    panel: pd.DataFrame = bars.assign(
        close_log=np.log(bars["close_usd"].to_numpy(np.float64) / before),
        low_log=-np.log(bars["low_usd"].to_numpy(np.float64) / before),
        high_log=np.log(bars["high_usd"].to_numpy(np.float64) / before),
    )[list(PANEL_COLUMNS)]
    return panel


def _refuse_order(frame: pd.DataFrame) -> None:
    late = ~(frame["as_of"] < frame["target_date"]).to_numpy(np.bool_)
    if late.any():
        row = frame.loc[late].iloc[0]
        raise ValueError(
            f"{row['symbol']}: as_of {row['as_of']} does not precede target_date {row['target_date']}; "
            "a forecast may use the session before its target at the latest"
        )


def markets(panel: pd.DataFrame) -> dict[str, Market]:
    """Split a panel by market, in the order of their symbols.

    Parameters
    ----------
    panel
        ``PANEL_COLUMNS``, any order.

    Raises
    ------
    ValueError
        A market's day that stands twice, or a number that is not finite; a volatility that is not positive.
    """
    found = {}
    for symbol, rows in panel.groupby("symbol", sort=True):
        mine = rows.sort_values("target_date", kind="stable")
        days = mine["target_date"].to_numpy("datetime64[ns]")
        numbers = mine[["sigma_daily", "close_log", "low_log", "high_log"]].to_numpy(np.float64)
        bad = ~np.isfinite(numbers).all(axis=1) | ~(numbers[:, 0] > 0)
        bad[1:] |= days[1:] == days[:-1]
        if bad.any():
            day = np.datetime_as_string(days[int(np.argmax(bad))], unit="D")
            raise ValueError(
                f"panel: {symbol} {day} stands twice or holds a number that is not finite or a volatility that is not "
                "positive; build the panel with excursion_panel"
            )
        sigma, close, low, high = (np.ascontiguousarray(column) for column in numbers.T)
        found[str(symbol)] = Market(str(symbol), days, sigma, close, {"long": low, "short": high})
    return found


def asked(panel: dict[str, Market], targets: pd.DataFrame) -> Iterator[Asked]:
    """Split targets by market and say what was known at each.

    Parameters
    ----------
    panel
        Of `markets`.
    targets
        ``symbol, as_of, target_date`` and, for days that the panel does not hold, ``sigma_daily``.

    Yields
    ------
    Asked
        In the order of symbols. A volatility that comes with the target takes precedence over the panel's of that
        day; nothing else of a target's own row is read, for it holds the outcome.

    Raises
    ------
    ValueError
        A target that stands twice, or whose ``as_of`` does not precede it.
    """
    twice = targets.duplicated(["symbol", "target_date"]).to_numpy(np.bool_)
    if twice.any():
        row = targets.loc[twice].iloc[0]
        raise ValueError(f"targets: {row['symbol']} {row['target_date']:%Y-%m-%d} stands twice; ask once")
    _refuse_order(targets)
    for symbol, rows in targets.groupby("symbol", sort=True):
        mine = rows.sort_values("target_date", kind="stable")
        as_of = mine["as_of"].to_numpy("datetime64[ns]")
        day = mine["target_date"].to_numpy("datetime64[ns]")
        brought = mine["sigma_daily"].to_numpy(np.float64) if "sigma_daily" in mine else np.full(len(mine), np.nan)
        market = panel.get(str(symbol))
        if market is None:
            yield Asked(str(symbol), as_of, day, brought, np.zeros(len(mine), dtype=np.int64))
            continue
        at = np.minimum(np.searchsorted(market.days, day), len(market.days) - 1)
        held = np.where(market.days[at] == day, market.sigma[at], np.nan)
        sigma = np.where(np.isfinite(brought), brought, held)
        known = np.searchsorted(market.days, as_of, side="right").astype(np.int64)
        yield Asked(str(symbol), as_of, day, sigma, known)


def needed_sigma(question: Asked, model: str) -> Floats:
    """Volatility of each target for a model that multiplies by it; NaN where it is zero, which says nothing.

    Raises
    ------
    ValueError
        Names the first target without one.
    """
    missing = ~np.isfinite(question.sigma)
    if missing.any():
        day = np.datetime_as_string(question.target_date[int(np.argmax(missing))], unit="D")
        raise ValueError(
            f"{model}: {question.symbol} {day} is not in the panel and brings no sigma_daily; add the forecast's"
        )
    return np.where(question.sigma > 0, question.sigma, np.nan)


def refit_ends(market: Market, question: Asked, unit: str) -> Integers:
    """Exclusive end of the window whose fit each target uses: it closes with the period's first session.

    Parameters
    ----------
    market, question
        Of one symbol.
    unit
        ``M`` or ``Q``: calendar month or quarter of ``as_of``.

    Returns
    -------
    ndarray
        Rows of the market up to and including the first day of the period that the panel holds, if that day is not
        after ``as_of``; else the rows before the period. It depends on nothing after ``as_of``.
    """
    period = pd.DatetimeIndex(question.as_of).to_period(unit).to_timestamp().to_numpy("datetime64[ns]")
    before = np.searchsorted(market.days, period, side="left")
    return np.minimum(before + 1, question.known).astype(np.int64)


def answers(
    question: Asked, model: str, probabilities_bps: Sequence[int], quantile: Floats, shortfall: Floats
) -> pd.DataFrame:
    """Lay out one market's answers.

    Parameters
    ----------
    question
        m targets.
    model, probabilities_bps
        Name, and the k probabilities answered.
    quantile, shortfall
        Positive log losses, shape (m, 2, k): sides in the order of ``SIDES``.
    """
    m, k = len(question.as_of), len(probabilities_bps)
    each = 2 * k
    return pd.DataFrame(
        {
            "symbol": question.symbol,
            "as_of": np.repeat(question.as_of, each),
            "target_date": np.repeat(question.target_date, each),
            "side": np.tile(np.repeat(np.asarray(SIDES, dtype=object), k), m),
            "model": model,
            "tail_probability_bps": np.tile(np.asarray(probabilities_bps, dtype=np.int64), 2 * m),
            "quantile_log": quantile.reshape(-1),
            "shortfall_log": shortfall.reshape(-1),
        }
    )


def gathered(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put the answers of all markets together, ordered by target date, symbol, then as `answers` laid them out."""
    if not frames:
        return pd.DataFrame({name: [] for name in FORECAST_COLUMNS})
    return pd.concat(frames, ignore_index=True).sort_values(
        ["target_date", "symbol"], kind="stable", ignore_index=True
    )[list(FORECAST_COLUMNS)]
