"""Breach facts: what happened against what had been forecast, one fact a row.

What lives here: the series of the breach backtest (close, excursion, trigger, overshoot given a trigger), the limits of
the models in use and of the baselines they must beat. What does not: tests of coverage (``coverage``), estimates.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import lfilter

from plimsoll import tails
from plimsoll.returns import valid_returns

Floats = NDArray[np.float64]

DAILY_PROBABILITIES_BPS = (500, 100)
TRIGGER_PROBABILITIES_BPS = (500, 100, 50)
HISTORY = 500
"""Returns behind a historical-simulation quantile."""
EXCURSION_HISTORY = 1000
"""Standardised excursions behind a filtered-historical-simulation quantile; half of it is the least."""

COLUMNS = (
    "target_date",
    "symbol",
    "side",
    "series",
    "model",
    "tail_probability_bps",
    "limit_log",
    "realised_log",
    "limit_sigma",
    "is_breach",
)


@dataclass(frozen=True)
class Baselines:
    """Limits of the baselines by date, as positive log losses: one array a model and probability.

    Attributes
    ----------
    date
        Target dates.
    limits
        ``(model, side, probability_bps)`` to limits; NaN where history is too short.
    """

    date: NDArray[np.datetime64]
    limits: dict[tuple[str, str, int], Floats]


def baselines(prices: pd.DataFrame, forecasts: pd.DataFrame, ewma_lambda: float) -> Baselines:
    r"""Compute one-day limits of three baselines and of the model in use, for each forecast's target date.

    * ``historical_simulation``: empirical quantile of the last 500 one-day returns.
    * ``ewma``: :math:`z_p\,\sigma^{EWMA}_t`, RiskMetrics 1996.
    * ``textbook``: :math:`-\mu + t_\nu^{-1}(p)\,\sigma_t`, the GARCH-t quantile of close-to-close returns.

    Parameters
    ----------
    prices
        One market: ``date, close_usd, is_return_valid``.
    forecasts
        ``as_of, target_date, mu_daily, sigma_daily, nu`` of the same market, ordered by target date.
    ewma_lambda
        Decay.

    Returns
    -------
    Baselines
        Each limit for a target date uses returns up to ``as_of`` only.
    """
    r = valid_returns(prices)
    position = np.searchsorted(r.index.to_numpy(), forecasts["as_of"].to_numpy(), side="right") - 1
    known = position >= 0
    limits: dict[tuple[str, str, int], Floats] = {}
    sigma_ewma = _at(_ewma_sigma(r.to_numpy(np.float64), ewma_lambda), position, known)
    mu = forecasts["mu_daily"].to_numpy(np.float64)
    sigma = forecasts["sigma_daily"].to_numpy(np.float64)
    nu = forecasts["nu"].to_numpy(np.float64)
    for bps in TRIGGER_PROBABILITIES_BPS:
        p = bps / 10_000
        low = _at(r.rolling(HISTORY).quantile(p).to_numpy(np.float64), position, known)
        high = _at(r.rolling(HISTORY).quantile(1 - p).to_numpy(np.float64), position, known)
        z = np.where(np.isfinite(nu), tails.student_t_quantile(p, np.where(np.isfinite(nu), nu, 10.0)), 0.0)
        z = np.where(np.isfinite(nu), z, tails.normal_quantile(p))
        limits[("historical_simulation", "long", bps)] = -low
        limits[("historical_simulation", "short", bps)] = high
        for side, sign in (("long", -1.0), ("short", 1.0)):
            limits[("ewma", side, bps)] = tails.normal_quantile(p) * sigma_ewma
            limits[("textbook", side, bps)] = sign * mu + z * sigma
    return Baselines(date=forecasts["target_date"].to_numpy(), limits=limits)


def _ewma_sigma(r: Floats, decay: float) -> Floats:
    if len(r) == 0:
        return r
    start = float(np.mean(r[:30] ** 2))
    smooth, _ = lfilter([1 - decay], [1, -decay], r**2, zi=[decay * start])
    out = np.sqrt(smooth)
    out[:30] = np.nan
    return np.asarray(out, dtype=np.float64)


def _at(values: Floats, position: NDArray[np.int64], known: NDArray[np.bool_]) -> Floats:
    out = np.full(len(position), np.nan)
    out[known] = values[position[known]]
    return out


def daily_breaches(prices: pd.DataFrame, forecasts: pd.DataFrame, base: Baselines, depth: float) -> pd.DataFrame:
    """Judge each day: close against the quantile, excursion against its quantile, and whether the trigger was touched.

    Parameters
    ----------
    prices
        One market: ``date, symbol, close_usd, previous_close_usd, high_usd, low_usd, is_return_valid``.
    forecasts
        ``target_date, sigma_daily`` ordered by target date.
    base
        Limits for the same forecasts.
    depth
        Trigger depth c of the trigger series.

    Returns
    -------
    DataFrame
        ``COLUMNS``. The model in use is called ``garch_t`` in the close series. Days without a one-day return are not
        judged; without high and low there is no excursion and no trigger row: not available, never zero.
    """
    judged = _judged(prices, forecasts)
    symbol = str(prices["symbol"].iloc[0])
    frames: list[pd.DataFrame] = []
    for side, sign in (("long", -1.0), ("short", 1.0)):
        realised = sign * np.log((judged["close_usd"] / judged["previous_close_usd"]).to_numpy(np.float64))
        for bps in DAILY_PROBABILITIES_BPS:
            for model, name in (
                ("garch_t", "textbook"),
                ("historical_simulation", "historical_simulation"),
                ("ewma", "ewma"),
            ):
                limit = base.limits[(name, side, bps)][judged["row"].to_numpy()]
                frames.append(_facts(judged, symbol, side, "var_close", model, bps, limit, realised))
        ranged = judged[judged["high_usd"].notna() & judged["low_usd"].notna()]
        extreme = ranged["low_usd"] if side == "long" else ranged["high_usd"]
        excursion = sign * np.log((extreme / ranged["previous_close_usd"]).to_numpy(np.float64))
        standard = pd.Series(excursion / ranged["sigma_daily"].to_numpy(np.float64))
        for bps in DAILY_PROBABILITIES_BPS:
            past = standard.rolling(EXCURSION_HISTORY, min_periods=EXCURSION_HISTORY // 2)
            limit = past.quantile(1 - bps / 10_000).shift(1).to_numpy(np.float64) * ranged["sigma_daily"]
            frames.append(
                _facts(ranged, symbol, side, "excursion", "filtered_historical", bps, limit.to_numpy(), excursion)
            )
        level = depth * ranged["sigma_daily"].to_numpy(np.float64)
        touched = _facts(ranged, symbol, side, "trigger", f"c={depth:g}", 0, level, excursion)
        frames.append(touched.assign(is_breach=touched["realised_log"] >= touched["limit_log"]))
    return pd.concat(frames, ignore_index=True)[list(COLUMNS)]


def _judged(prices: pd.DataFrame, forecasts: pd.DataFrame) -> pd.DataFrame:
    rows = forecasts[["target_date", "sigma_daily"]].reset_index(drop=True)
    rows["row"] = np.arange(len(rows))
    bars = rows.merge(prices, left_on="target_date", right_on="date", how="inner", validate="one_to_one")
    judged: pd.DataFrame = bars[bars["is_return_valid"].to_numpy(np.bool_)].reset_index(drop=True)
    return judged


def _facts(
    days: pd.DataFrame,
    symbol: str,
    side: str,
    series: str,
    model: str,
    bps: int,
    limit: Floats,
    realised: Floats,
) -> pd.DataFrame:
    facts = pd.DataFrame(
        {
            "target_date": days["target_date"].to_numpy(),
            "symbol": symbol,
            "side": side,
            "series": series,
            "model": model,
            "tail_probability_bps": bps,
            "limit_log": limit,
            "realised_log": realised,
            "limit_sigma": limit / days["sigma_daily"].to_numpy(np.float64),
        }
    )
    known = facts[np.isfinite(facts["limit_log"].to_numpy(np.float64))]
    judged: pd.DataFrame = known.assign(is_breach=known["realised_log"] > known["limit_log"])
    return judged


def overshoot_breaches(
    events: pd.DataFrame, quantiles: pd.DataFrame, published: pd.DataFrame, base: Baselines, *, is_deep: bool
) -> pd.DataFrame:
    r"""Judge the same-day overshoot of each trigger day: the 24-hour calibration test given a trigger.

    Three coverages that are never mixed: ``estimator`` compares O with k on the volatility it was measured with;
    ``budget`` compares with :math:`k\,\sigma_{eff}`; ``published`` with the move that the rounded, capped parameters
    absorb, carried to 24 hours by the horizon exponent. Baselines are judged on the same triggers.

    Parameters
    ----------
    events
        Triggers of one market at the depths used, as `overshoot.trigger_events` gives them.
    quantiles
        ``target_date, side, trigger_depth, k_p*`` in force on the target date: one depth a date and side.
    published
        ``target_date, side, tail_probability_bps, absorbed_move, horizon_hours, eta`` of the same product.
    base
        Baselines of the market; judged only where ``is_deep`` is false.
    is_deep
        Name the series ``overshoot_24h_deep`` (lending's depth) instead of ``overshoot_24h``.

    Returns
    -------
    DataFrame
        ``COLUMNS``; triggers for which no quantile was known yet are not judged.
    """
    series = "overshoot_24h_deep" if is_deep else "overshoot_24h"
    rows = events.merge(quantiles, on=["target_date", "side", "trigger_depth"], how="inner", suffixes=("", "_k"))
    frames: list[pd.DataFrame] = []
    for side in ("long", "short"):
        mine = rows[rows["side"] == side].reset_index(drop=True)
        if mine.empty:
            continue
        symbol = str(mine["symbol"].iloc[0])
        realised = mine["overshoot_log"].to_numpy(np.float64)
        for bps in TRIGGER_PROBABILITIES_BPS:
            k = mine[f"k_p{bps}"].to_numpy(np.float64)
            estimator = k * mine["sigma_daily"].to_numpy(np.float64)
            budget = k * mine["sigma_eff_daily"].to_numpy(np.float64)
            frames.append(_facts(mine, symbol, side, series, "estimator", bps, estimator, realised))
            frames.append(_facts(mine, symbol, side, series, "budget", bps, budget, realised))
            if not is_deep:
                known = np.isfinite(k)
                at = np.searchsorted(base.date, mine["target_date"].to_numpy())
                for model in ("historical_simulation", "ewma", "textbook"):
                    limit = np.where(known, base.limits[(model, side, bps)][at], np.nan)
                    frames.append(_facts(mine, symbol, side, series, model, bps, limit, realised))
        frames.append(_published(mine, published[published["side"] == side], symbol, side, series))
    if not frames:
        return pd.DataFrame({name: [] for name in COLUMNS})
    return pd.concat(frames, ignore_index=True)[list(COLUMNS)]


def _published(mine: pd.DataFrame, published: pd.DataFrame, symbol: str, side: str, series: str) -> pd.DataFrame:
    columns = ["target_date", "tail_probability_bps", "absorbed_move", "horizon_hours", "eta"]
    rows = mine.merge(published[columns], on="target_date", how="inner", suffixes=("", "_pub"))
    carried = rows["absorbed_move"] * (24.0 / rows["horizon_hours"]) ** rows["eta"]
    realised = rows["overshoot_log"].to_numpy(np.float64)
    facts = _facts(rows, symbol, side, series, "published", 0, carried.to_numpy(np.float64), realised)
    kept = np.isfinite(carried.to_numpy(np.float64))
    return facts.assign(tail_probability_bps=rows["tail_probability_bps"].to_numpy()[kept])
