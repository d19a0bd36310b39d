"""The walk-forward: for every day, a forecast of the next from data up to that day.

What lives here: which day uses which window's fit, filtering, short histories, long-run and budget volatility. What
does not: the fits (``fitting``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import signal

from plimsoll.returns import valid_returns
from plimsoll.volatility.fitting import EWMA, fit_history
from plimsoll.volatility.likelihood import backcast, filter_variance
from plimsoll.volatility.types import VolatilityFit, VolatilitySpec

Floats = NDArray[np.float64]

LOW_QUANTILE = 0.10
"""The budget's volatility is not below this quantile of the market's own past forecasts."""
EWMA_START = 30


@dataclass(frozen=True)
class WalkForward:
    """Fits, and one forecast a day.

    Attributes
    ----------
    fits
        Fits that the forecasts use, oldest first.
    forecasts
        ``as_of, target_date, mu_daily, sigma_daily, sigma_long_run_daily, sigma_eff_daily, nu, rung, fit_end,
        return_count``.
    """

    fits: tuple[VolatilityFit, ...]
    forecasts: pd.DataFrame


def walk_forward(
    prices: pd.DataFrame,
    *,
    spec: VolatilitySpec,
    next_session: date,
    peer_sigma: pd.Series | None = None,
    first_as_of: date | None = None,
    sigma_history: pd.Series | None = None,
    fits: Sequence[VolatilityFit] | None = None,
    threads: int = 1,
) -> WalkForward:
    r"""Forecast every day's volatility from data up to the day before.

    Parameters
    ----------
    prices
        One market in date order: ``date, close_usd, is_return_valid``.
    spec
        Window, minima, floors.
    next_session
        The day that the newest forecast speaks about.
    peer_sigma
        Other markets' volatility by date, for short histories.
    first_as_of
        First day to forecast from; rows are the same to the bit as those of a walk from the beginning.
    sigma_history
        Stored ``sigma_daily`` by ``as_of`` before ``first_as_of``; with it earlier rows are not computed
        again. It must be complete: the quantile of past forecasts counts every one.
    fits
        Those of an earlier walk over the same prices from the same day, so that peers can be added without fitting
        again; made here by default.
    threads
        Threads of the engine; no result depends on them.

    Returns
    -------
    WalkForward
        No row uses anything after its ``as_of``. Days with fewer than ``minimum_any`` returns have none.

    Raises
    ------
    ValueError
        Where ``next_session`` does not follow the last bar, ``sigma_history`` reaches into the days to
        forecast or holds something that is no volatility, ``fits`` are of other windows, or `valid_returns` refuses
        the prices.

    Notes
    -----
    Parameters used at ``as_of`` were fitted on the last ``window`` returns up to that day or, where fits are weekly,
    up to the first bar of its ISO week, so it does not matter on which day the walk is made. From there on the
    variance is filtered with fixed parameters. The budget's volatility is the largest of the forecast, the long-run
    root mean square (EMIR RTS 153/2013 Art. 28(1)(c)), the 10 % quantile of past forecasts and the floor.
    """
    r = valid_returns(prices)
    _refuse(prices, next_session, first_as_of, sigma_history)
    dates = prices["date"].to_numpy("datetime64[ns]")
    values = r.to_numpy(np.float64)
    counts = np.searchsorted(r.index.to_numpy("datetime64[ns]"), dates, side="right")
    is_after = np.ones(len(dates), dtype=bool) if first_as_of is None else dates >= np.datetime64(first_as_of)
    has_history = first_as_of is None or sigma_history is not None
    wanted = (counts >= spec.minimum_any) & (is_after | (not has_history))
    anchors = np.arange(len(dates)) if spec.refit == "daily" else _first_of_week(prices["date"])
    ends = counts[anchors]
    sigma, mu, nu = (np.full(len(dates), np.nan) for _ in range(3))
    rung = np.full(len(dates), "", dtype=object)
    fit_end = np.full(len(dates), np.datetime64("NaT"), dtype="datetime64[ns]")
    ewma = _ewma(values, spec.ewma_lambda)
    is_short = wanted & (ends < spec.minimum_own_fit)
    _short(np.flatnonzero(is_short), counts, ewma, dates, peer_sigma, spec, sigma, mu, rung)
    own = np.flatnonzero(wanted & ~is_short)
    days = [day.date() for day in pd.DatetimeIndex(r.index)]
    stops, first_rows = np.unique(ends[own], return_index=True)
    if fits is None:
        fits = fit_history(
            100 * values,
            days,
            stops,
            model=spec.model,
            window=spec.window,
            minimum=spec.minimum_own_fit,
            ewma_lambda=spec.ewma_lambda,
            threads=threads,
        )
    if [fit.fit_end for fit in fits] != [days[int(stop) - 1] for stop in stops]:
        raise ValueError(
            f"{len(fits)} fit(s) given are not those of the {len(stops)} window(s) of this walk; leave them out"
        )
    for fit, rows in zip(fits, np.split(own, first_rows[1:]), strict=True) if len(fits) else ():
        end = int(ends[rows[0]])
        _filtered(rows, counts, values, max(0, end - spec.window), end, fit, ewma, sigma, mu)
        nu[rows] = np.nan if fit.nu is None else fit.nu
        rung[rows] = fit.rung
        fit_end[rows] = np.datetime64(fit.fit_end) if fit.rung != EWMA else np.datetime64("NaT")
    long_run = _long_run(values, counts, round(spec.long_run_years * spec.periods_per_year))
    floor = _past_quantile(sigma, wanted, sigma_history)
    following = np.concatenate([dates[1:], [np.datetime64(next_session, "ns")]])[: len(dates)]
    forecasts = pd.DataFrame(
        {
            "as_of": dates,
            "target_date": following,
            "mu_daily": mu,
            "sigma_daily": sigma,
            "sigma_long_run_daily": long_run,
            "sigma_eff_daily": np.maximum(np.maximum(sigma, long_run), np.maximum(floor, spec.sigma_floor_daily)),
            "nu": nu,
            "rung": rung,
            "fit_end": fit_end,
            "return_count": counts,
        }
    )[wanted & is_after]
    return WalkForward(tuple(fits), forecasts.reset_index(drop=True))


def _refuse(
    prices: pd.DataFrame, next_session: date, first_as_of: date | None, sigma_history: pd.Series | None
) -> None:
    if len(prices) and pd.Timestamp(next_session) <= prices["date"].iloc[-1]:
        last = prices["date"].iloc[-1].date()
        raise ValueError(f"next_session {next_session} does not follow the last bar {last}; ask the calendar for it")
    if sigma_history is None:
        return
    if first_as_of is None:
        raise ValueError("sigma_history needs first_as_of: without it every day is computed and counts twice")
    late = sigma_history.index[sigma_history.index >= pd.Timestamp(first_as_of)]
    if len(late):
        raise ValueError(f"sigma_history reaches {late[0].date()}; keep only days before first_as_of {first_as_of}")
    bad = sigma_history.index[~(np.isfinite(sigma_history) & (sigma_history >= 0))]
    if len(bad):
        raise ValueError(f"sigma_history of {bad[0].date()} is no volatility; rerun the walk from that day")


def _first_of_week(days: pd.Series) -> NDArray[np.int64]:
    """Position of the first bar of each bar's ISO week."""
    monday = (days - pd.to_timedelta(days.dt.day_of_week, unit="D")).to_numpy()
    first = np.concatenate([[True], monday[1:] != monday[:-1]])
    return np.maximum.accumulate(np.where(first, np.arange(len(days)), 0))


def _ewma(values: Floats, decay: float) -> Floats:
    if len(values) == 0:
        return values
    start = float(np.mean(values[:EWMA_START] ** 2))
    smooth, _ = signal.lfilter([1 - decay], [1, -decay], values**2, zi=np.asarray([decay * start]))
    return np.asarray(np.sqrt(smooth), dtype=np.float64)


def _filtered(
    week: NDArray[np.int64],
    counts: NDArray[np.int64],
    values: Floats,
    begin: int,
    end: int,
    fit: VolatilityFit,
    ewma: Floats,
    sigma: Floats,
    mu: Floats,
) -> None:
    if fit.rung == EWMA:
        sigma[week] = ewma[counts[week] - 1]
        mu[week] = 0.0
        return
    percent = 100 * values[begin : int(counts[week].max())]
    window = percent[: end - begin]
    h = filter_variance(
        percent,
        mu=fit.mu_percent,
        omega=fit.omega_percent2,
        alpha=fit.alpha,
        gamma=fit.gamma,
        beta=fit.beta,
        start=backcast(window - window.mean()),
    )
    sigma[week] = np.sqrt(h[counts[week] - begin]) / 100
    mu[week] = fit.mu_percent / 100


def _short(
    week: NDArray[np.int64],
    counts: NDArray[np.int64],
    ewma: Floats,
    dates: NDArray[np.datetime64],
    peer_sigma: pd.Series | None,
    spec: VolatilitySpec,
    sigma: Floats,
    mu: Floats,
    rung: NDArray[np.object_],
) -> None:
    """EWMA shrunk in logs toward the peers' volatility known at the day; alone where no peer is known."""
    own = ewma[counts[week] - 1]
    mu[week] = 0.0
    rung[week] = "ewma_short"
    sigma[week] = own
    if peer_sigma is None or peer_sigma.empty:
        return
    at = np.searchsorted(peer_sigma.index.to_numpy("datetime64[ns]"), dates[week], side="right") - 1
    peers = np.where(at >= 0, peer_sigma.to_numpy(np.float64)[np.maximum(at, 0)], np.nan)
    weight = counts[week] / (counts[week] + spec.shrinkage_observations)
    # The logarithm of no movement at all says nothing: such a market keeps its own volatility.
    is_known = np.isfinite(peers) & (peers > 0) & (own > 0)
    safe_own, safe_peers = np.where(is_known, own, 1.0), np.where(is_known, peers, 1.0)
    blended = np.exp(weight * np.log(safe_own) + (1 - weight) * np.log(safe_peers))
    sigma[week] = np.where(is_known, blended, own)


def _long_run(values: Floats, counts: NDArray[np.int64], length: int) -> Floats:
    sums = np.concatenate([[0.0], np.cumsum(values**2)])
    low = np.maximum(counts - length, 0)
    n = np.maximum(counts - low, 1)
    return np.asarray(np.sqrt(np.maximum(sums[counts] - sums[low], 0) / n), dtype=np.float64)


def _past_quantile(sigma: Floats, wanted: NDArray[np.bool_], history: pd.Series | None) -> Floats:
    """Low quantile of forecasts up to and including each day; earlier ones from the store if it has them."""
    past = [] if history is None else history.to_numpy(np.float64).tolist()
    known = np.sort(np.asarray(past, dtype=np.float64))
    out = np.full(len(sigma), np.nan)
    for i in np.flatnonzero(wanted):
        known = np.insert(known, np.searchsorted(known, sigma[i]), sigma[i])
        position = LOW_QUANTILE * (len(known) - 1)
        low = int(position)
        high = min(low + 1, len(known) - 1)
        out[i] = known[low] + (position - low) * (known[high] - known[low])
    return out
