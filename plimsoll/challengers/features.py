"""Features: what was known at a close that might tell how far the next day runs.

What lives here: the frozen list of features with a meaning each, and their computation from the panel. What does not:
the models that learn from them (``boosting``), volatility (``volatility``), the panel itself (``panel``).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plimsoll.challengers.panel import PANEL_COLUMNS

Floats = NDArray[np.float64]
Dates = NDArray[np.datetime64]

TARGET_COLUMNS = ("symbol", "as_of", "target_date", "sigma_daily")
OPTIONAL_COLUMNS = {
    "volume_usd": "traded value of the day",
    "dispersion_bp": "median distance of the venues' closes from the agreed one, basis points",
    "venue_count": "independent venues behind the close",
    "order_flow_imbalance": "taker buys less taker sells of the day, as a share of traded value",
    "funding_rate_8h": "mean funding rate of the day, fraction per eight hours",
    "basis": "perpetual close over spot close, less one, at the day's end",
    "open_interest_usd": "open interest at the day's end",
    "implied_volatility_annual": "implied volatility at the day's end, fraction a year of 365 days",
}
"""Columns a panel may carry, each the value of the row's target date, known at that day's close."""
STALE_DAYS = 7
"""Calendar days after which the newest known row no longer speaks for the market; its features are NaN."""
YEAR_DAYS = 365


@dataclass(frozen=True)
class Feature:
    """One lagged feature.

    Attributes
    ----------
    name, group
        Column of `build`, and the group that `boosting.importance` freezes together.
    meaning
        One line; "in sigmas" is in units of the target's own one-day forecast.
    needs
        Optional panel column without which the feature is left out; None for the rest.
    """

    name: str
    group: str
    meaning: str
    needs: str | None = None


FEATURES = (
    Feature("abs_return_1", "har", "size of the last return, in sigmas"),
    Feature("abs_return_7", "har", "mean size of the last 7 returns, in sigmas"),
    Feature("abs_return_30", "har", "mean size of the last 30 returns, in sigmas"),
    Feature("long_excursion_1", "har", "last fall from close to low, in sigmas"),
    Feature("long_excursion_7", "har", "mean fall from close to low over 7 sessions, in sigmas"),
    Feature("long_excursion_30", "har", "mean fall from close to low over 30 sessions, in sigmas"),
    Feature("long_excursion_max_30", "har", "largest fall from close to low over 30 sessions, in sigmas"),
    Feature("short_excursion_1", "har", "last rise from close to high, in sigmas"),
    Feature("short_excursion_7", "har", "mean rise from close to high over 7 sessions, in sigmas"),
    Feature("short_excursion_30", "har", "mean rise from close to high over 30 sessions, in sigmas"),
    Feature("short_excursion_max_30", "har", "largest rise from close to high over 30 sessions, in sigmas"),
    Feature("range_1", "range", "last log range, high over low, in sigmas"),
    Feature("range_to_return_7", "range", "log ranges over sizes of returns, 7 sessions: wicks against moves"),
    Feature("range_to_return_30", "range", "log ranges over sizes of returns, 30 sessions"),
    Feature("downside_deviation_7", "semivariance", "root mean squared negative part of 7 returns, in sigmas"),
    Feature("downside_deviation_30", "semivariance", "root mean squared negative part of 30 returns, in sigmas"),
    Feature("upside_deviation_7", "semivariance", "root mean squared positive part of 7 returns, in sigmas"),
    Feature("upside_deviation_30", "semivariance", "root mean squared positive part of 30 returns, in sigmas"),
    Feature("volatility_ratio_7_30", "volatility", "root mean squared return of 7 sessions over that of 30"),
    Feature("volatility_ratio_30_180", "volatility", "root mean squared return of 30 sessions over that of 180"),
    Feature("sigma_level", "volatility", "logarithm of the target's one-day volatility forecast"),
    Feature("sigma_change_1", "volatility", "log change of the forecast against that of the session before"),
    Feature("sigma_change_7", "volatility", "log change of the forecast against that of 7 sessions before"),
    Feature("amihud_30", "liquidity", "log of mean size of return per USD traded, 30 sessions", "volume_usd"),
    Feature("amihud_7_30", "liquidity", "log ratio of that mean over 7 sessions to that over 30", "volume_usd"),
    Feature("volume_change_1", "liquidity", "log of the last traded value over its 30-session mean", "volume_usd"),
    Feature("volume_change_7", "liquidity", "log of the 7-session mean of traded value over that of 30", "volume_usd"),
    Feature("reference_long_1", "cross_market", "last fall of the reference market (else the mean), in its sigmas"),
    Feature("reference_short_1", "cross_market", "last rise of the reference market (else the mean), in its sigmas"),
    Feature("market_long_mean", "cross_market", "mean over markets of the last day's fall, each in its sigmas"),
    Feature("market_long_max", "cross_market", "largest over markets of the last day's fall, each in its sigmas"),
    Feature("market_short_mean", "cross_market", "mean over markets of the last day's rise, each in its sigmas"),
    Feature("market_short_max", "cross_market", "largest over markets of the last day's rise, each in its sigmas"),
    Feature("is_weekend", "calendar", "1 where the target date is a Saturday or a Sunday"),
    Feature("day_of_week", "calendar", "day of the week of the target date, 0 for Monday"),
    Feature("age_sessions", "age", "logarithm of the sessions known of the market"),
    Feature("dispersion_1", "feeds", "last disagreement of the venues, basis points", "dispersion_bp"),
    Feature("dispersion_7", "feeds", "mean disagreement of the venues over 7 sessions, basis points", "dispersion_bp"),
    Feature("venues", "feeds", "venues behind the last close", "venue_count"),
    Feature("order_flow_1", "derivatives", "last order-flow imbalance", "order_flow_imbalance"),
    Feature("order_flow_7", "derivatives", "mean order-flow imbalance over 7 sessions", "order_flow_imbalance"),
    Feature("funding_1", "derivatives", "last funding rate", "funding_rate_8h"),
    Feature("funding_7", "derivatives", "mean funding rate over 7 sessions", "funding_rate_8h"),
    Feature("basis_1", "derivatives", "last basis of the perpetual", "basis"),
    Feature(
        "open_interest_change_7", "derivatives", "log change of open interest over 7 sessions", "open_interest_usd"
    ),
    Feature(
        "implied_to_sigma", "derivatives", "implied one-day volatility over the forecast", "implied_volatility_annual"
    ),
)
"""Every feature there is, in the order of the columns."""

SCALED = frozenset(one.name for one in FEATURES if one.meaning.endswith(", in sigmas"))


def available(panel: pd.DataFrame) -> tuple[str, ...]:
    """Name the features that this panel's columns allow, in the order of ``FEATURES``."""
    return tuple(one.name for one in FEATURES if one.needs is None or one.needs in panel.columns)


def absent(panel: pd.DataFrame) -> tuple[str, ...]:
    """Name the optional columns that this panel lacks; the features that need them are left out, never filled."""
    return tuple(name for name in OPTIONAL_COLUMNS if name not in panel.columns)


def check_panel(panel: pd.DataFrame) -> None:
    """Refuse a panel whose columns or order would make lags mean something else.

    Raises
    ------
    ValueError
        Where a column is missing, the order is not target date then symbol, a market's day is doubled, or a row's
        ``as_of`` is not before its target date; names the row.
    """
    _check_columns("panel", panel, PANEL_COLUMNS)
    if panel.empty:
        raise ValueError("the panel has no row; hand over at least the days before the first target")
    _check_dates("panel", panel)
    target = panel["target_date"].to_numpy("datetime64[D]")
    symbol = panel["symbol"].to_numpy()
    late = np.flatnonzero((target[1:] < target[:-1]) | ((target[1:] == target[:-1]) & (symbol[1:] <= symbol[:-1])))
    if len(late):
        row = int(late[0]) + 1
        raise ValueError(
            f"panel row {row}, {symbol[row]} on {target[row]}: not in order of target date and symbol, or doubled"
        )


def check_targets(targets: pd.DataFrame) -> None:
    """Refuse targets without the shared columns, or made with their own day's data.

    Raises
    ------
    ValueError
        Where a column is missing or a row's ``as_of`` is not before its target date; names the row.
    """
    _check_columns("targets", targets, TARGET_COLUMNS)
    _check_dates("targets", targets)


def _check_columns(what: str, frame: pd.DataFrame, columns: tuple[str, ...]) -> None:
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ValueError(f"{what} lack the columns {', '.join(missing)}; they need {', '.join(columns)}")


def _check_dates(what: str, frame: pd.DataFrame) -> None:
    as_of, target = frame["as_of"].to_numpy("datetime64[D]"), frame["target_date"].to_numpy("datetime64[D]")
    early = np.flatnonzero(~(as_of < target))
    if len(early):
        row = int(early[0])
        raise ValueError(
            f"{what} row {row}, {frame['symbol'].iloc[row]}: as_of {as_of[row]} is not before target {target[row]}"
        )


def build(panel: pd.DataFrame, targets: pd.DataFrame, *, reference: str = "BTC") -> pd.DataFrame:
    r"""Compute the features of each target from the market's rows with a target date up to its ``as_of``.

    A window counts the market's own rows; one unknown value in a window leaves the feature NaN, for nothing is filled.
    With :math:`\sigma_t` the target's forecast and :math:`s = t-1` the newest row, for example

    .. math:: \text{abs\_return}_n = \frac{1}{n\,\sigma_t}\sum_{j<n} |r_{s-j}|, \qquad
              \text{long\_excursion}_n = \frac{1}{n\,\sigma_t}\sum_{j<n} \max(\ln(C_{s-j-1}/Low_{s-j}), 0)

    Parameters
    ----------
    panel
        ``symbol, as_of, target_date, sigma_daily, close_log, low_log, high_log`` and any of ``OPTIONAL_COLUMNS``,
        ordered by target date and symbol.
    targets
        ``symbol, as_of, target_date, sigma_daily``, any rows in any order.
    reference
        Market whose last excursion every market sees; on a date without it the mean over the markets stands in.

    Returns
    -------
    DataFrame
        ``available(panel)`` as columns, one row a target in the order of ``targets``, float64. NaN where the window is
        not full, a value is unknown, or the newest row is more than ``STALE_DAYS`` older than ``as_of``.

    Raises
    ------
    ValueError
        See `check_panel` and `check_targets`.

    Notes
    -----
    Sums run over lags in a fixed order, so that a row's bits do not depend on how many rows are computed with it.
    Source: Corsi 2009 for the terms of 1, 7 and 30 sessions; Amihud 2002; Barndorff-Nielsen, Kinnebrock and Shephard
    2010 for semivariances.
    """
    check_panel(panel)
    check_targets(targets)
    names = available(panel)
    out = {name: np.full(len(targets), np.nan) for name in names}
    as_of = targets["as_of"].to_numpy("datetime64[D]")
    sigma = _positive(targets["sigma_daily"].to_numpy(np.float64))
    symbols = targets["symbol"].to_numpy()
    of_panel = panel["symbol"].to_numpy()
    for symbol in pd.unique(symbols):
        history = panel[of_panel == symbol]
        if history.empty:
            continue
        at = np.flatnonzero(symbols == symbol)
        rows, is_fresh = _newest(history["target_date"].to_numpy("datetime64[D]"), as_of[at])
        at, rows = at[is_fresh], rows[is_fresh]
        table = _own(history)
        for name in names:
            if name in table:
                out[name][at] = table[name][rows] / (sigma[at] if name in SCALED else 1.0)
        before = _positive(history["sigma_daily"].to_numpy(np.float64))
        out["sigma_change_1"][at] = np.log(sigma[at] / before[rows])
        week = rows >= 6
        out["sigma_change_7"][at[week]] = np.log(sigma[at[week]] / before[rows[week] - 6])
        if "implied_to_sigma" in out:
            implied = _positive(history["implied_volatility_annual"].to_numpy(np.float64)) / np.sqrt(YEAR_DAYS)
            out["implied_to_sigma"][at] = implied[rows] / sigma[at]
    days, across = _across(panel, reference)
    rows, is_fresh = _newest(days, as_of)
    for name, values in across.items():
        out[name][is_fresh] = values[rows[is_fresh]]
    # 1970-01-01, day 0 of the calendar, was a Thursday.
    weekday = (targets["target_date"].to_numpy("datetime64[D]").astype(np.int64) + 3) % 7
    out["day_of_week"] = weekday.astype(np.float64)
    out["is_weekend"] = (weekday >= 5).astype(np.float64)
    out["sigma_level"] = np.log(sigma)
    return pd.DataFrame({name: out[name] for name in names})


def _newest(dates: Dates, as_of: Dates) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Position of the newest date up to each ``as_of``, and whether there is one that is not stale."""
    rows = np.searchsorted(dates, as_of, side="right") - 1
    age = as_of - dates[np.maximum(rows, 0)]
    return rows, (rows >= 0) & (age <= np.timedelta64(STALE_DAYS, "D"))


def _positive(x: Floats) -> Floats:
    return np.where(x > 0, x, np.nan)


def _mean(x: Floats, window: int) -> Floats:
    total = np.full(len(x), np.nan)
    if len(x) >= window:
        total[window - 1 :] = 0.0
        for lag in range(window):
            total[window - 1 :] += x[window - 1 - lag : len(x) - lag]
    return total / window


def _largest(x: Floats, window: int) -> Floats:
    out = np.full(len(x), np.nan)
    if len(x) >= window:
        out[window - 1 :] = -np.inf
        for lag in range(window):
            out[window - 1 :] = np.maximum(out[window - 1 :], x[window - 1 - lag : len(x) - lag])
    return out


def _own(history: pd.DataFrame) -> dict[str, Floats]:
    """Features of one market's rows before division by the target's sigma; row i uses rows up to i."""
    r = history["close_log"].to_numpy(np.float64)
    long = np.maximum(history["low_log"].to_numpy(np.float64), 0)
    short = np.maximum(history["high_log"].to_numpy(np.float64), 0)
    reach = history["low_log"].to_numpy(np.float64) + history["high_log"].to_numpy(np.float64)
    size = np.abs(r)
    table: dict[str, Floats] = {"age_sessions": np.log(np.arange(1.0, len(r) + 1))}
    for n in (1, 7, 30):
        table[f"abs_return_{n}"] = _mean(size, n)
        table[f"long_excursion_{n}"] = _mean(long, n)
        table[f"short_excursion_{n}"] = _mean(short, n)
    for side, excursion in (("long", long), ("short", short)):
        table[f"{side}_excursion_max_30"] = _largest(excursion, 30)
    table["range_1"] = reach
    for n in (7, 30):
        table[f"range_to_return_{n}"] = _mean(reach, n) / _positive(_mean(size, n))
        table[f"downside_deviation_{n}"] = np.sqrt(_mean(np.minimum(r, 0) ** 2, n))
        table[f"upside_deviation_{n}"] = np.sqrt(_mean(np.maximum(r, 0) ** 2, n))
    rms = {n: _positive(np.sqrt(_mean(r**2, n))) for n in (7, 30, 180)}
    table["volatility_ratio_7_30"] = rms[7] / rms[30]
    table["volatility_ratio_30_180"] = rms[30] / rms[180]
    table.update(_optional(history, size))
    return table


def _optional(history: pd.DataFrame, size: Floats) -> dict[str, Floats]:
    given = {name: history[name].to_numpy(np.float64) for name in OPTIONAL_COLUMNS if name in history.columns}
    table: dict[str, Floats] = {}
    if "volume_usd" in given:
        volume = _positive(given["volume_usd"])
        impact = {n: _positive(_mean(size / volume, n)) for n in (7, 30)}
        traded = {n: _mean(volume, n) for n in (1, 7, 30)}
        table["amihud_30"] = np.log(impact[30])
        table["amihud_7_30"] = np.log(impact[7] / impact[30])
        table["volume_change_1"] = np.log(traded[1] / traded[30])
        table["volume_change_7"] = np.log(traded[7] / traded[30])
    for column, name, windows in (
        ("dispersion_bp", "dispersion", (1, 7)),
        ("order_flow_imbalance", "order_flow", (1, 7)),
        ("funding_rate_8h", "funding", (1, 7)),
        ("basis", "basis", (1,)),
    ):
        if column in given:
            table.update({f"{name}_{n}": _mean(given[column], n) for n in windows})
    if "venue_count" in given:
        table["venues"] = given["venue_count"]
    if "open_interest_usd" in given:
        open_interest = _positive(given["open_interest_usd"])
        change = np.full(len(size), np.nan)
        change[7:] = np.log(open_interest[7:] / open_interest[:-7])
        table["open_interest_change_7"] = change
    return table


def _across(panel: pd.DataFrame, reference: str) -> tuple[Dates, dict[str, Floats]]:
    """By date: mean and largest excursion over the markets in their sigmas, and that of the reference."""
    days, of_row = np.unique(panel["target_date"].to_numpy("datetime64[D]"), return_inverse=True)
    sigma = _positive(panel["sigma_daily"].to_numpy(np.float64))
    is_reference = (panel["symbol"] == reference).to_numpy(np.bool_)
    table: dict[str, Floats] = {}
    for side, column in (("long", "low_log"), ("short", "high_log")):
        value = np.maximum(panel[column].to_numpy(np.float64), 0) / sigma
        known = np.isfinite(value)
        count = np.bincount(of_row[known], minlength=len(days))
        total = np.bincount(of_row[known], weights=value[known], minlength=len(days))
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        largest = np.full(len(days), -np.inf)
        np.maximum.at(largest, of_row[known], value[known])
        own = mean.copy()
        chosen = known & is_reference
        own[of_row[chosen]] = value[chosen]
        table[f"market_{side}_mean"] = mean
        table[f"market_{side}_max"] = np.where(count > 0, largest, np.nan)
        table[f"reference_{side}_1"] = own
    return days, table
