"""Tail models: what lies beyond a tail probability of any standardised sample, estimated in two ways.

What lives here: filtered historical simulation, conditional extreme value theory with its threshold-stability table and
a shape shared between markets, and the standardised samples of one market. What does not: the generalised Pareto
estimator itself (``tails``), closed-form laws (``tail_laws``), the walk-forward of the overshoot quantile
(``overshoot``), intervals (``uncertainty``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from plimsoll import tails
from plimsoll.overshoot import SIDES, weighted_quantile
from plimsoll.tails import GpdFit

Floats = NDArray[np.float64]

HISTORICAL = "filtered_historical"
EXTREME = "conditional_evt"
NOT_AVAILABLE = "not available"
EXPONENTIAL_SHAPE = 0.01
"""Shapes closer to zero than this are taken as zero, and the scale estimated again as the mean excess."""
STABILITY_FRACTIONS = (0.15, 0.10, 0.075, 0.05)
"""Shares beyond the thresholds of the stability table: quantiles of 85, 90, 92.5 and 95 %."""
POOLED_EXCEEDANCES = 100.0
"""m: exceedances at which a market's own shape and the shared one weigh the same."""
POOLED_MINIMUM = 20
"""Own exceedances below which even a tail with a shared shape is not fitted."""
SAMPLE_COLUMNS = ("target_date", "symbol", "series", "side", "value_sigma")


@dataclass(frozen=True)
class TailEstimate:
    """Quantile and expected shortfall of one sample at one tail probability.

    Attributes
    ----------
    method
        ``filtered_historical`` or ``conditional_evt``.
    tail_probability
        p.
    quantile, expected_shortfall
        In the units of the sample, positive when adverse; NaN where not available.
    observations
        Size of the sample.
    tail_events
        What stands behind the number: p times the (effective) sample size, or exceedances of the threshold.
    note
        Empty, or why there is no number, or what its reader must know. Begins with "not available" where there is none.
    """

    method: str
    tail_probability: float
    quantile: float
    expected_shortfall: float
    observations: int
    tail_events: float
    note: str

    @property
    def is_available(self) -> bool:
        """Whether there is a number."""
        return not self.note.startswith(NOT_AVAILABLE)


def _clean(sample: ArrayLike, p: float) -> Floats:
    if not 0 < p < 1:
        raise ValueError(f"tail probability {p}: must lie between 0 and 1")
    values = np.asarray(sample, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ValueError(f"sample, row {bad[0]}: {values[bad[0]]} is no number; drop the row with its reason first")
    return values


def _missing(method: str, p: float, observations: int, tail_events: float, reason: str) -> TailEstimate:
    return TailEstimate(method, p, np.nan, np.nan, observations, tail_events, f"{NOT_AVAILABLE}: {reason}")


def historical(sample: ArrayLike, p: float, weights: ArrayLike | None = None) -> TailEstimate:
    r"""Estimate by filtered historical simulation: empirical quantile and shortfall of a standardised sample.

    .. math:: ES_p = \frac{1}{p}\left[\sum_{j<i} w_{(j)}x_{(j)} + \left(p - \sum_{j<i} w_{(j)}\right)x_{(i)}\right]

    over the largest values in descending order until their weights reach p; the value at which they do counts with the
    part that is still needed.

    Parameters
    ----------
    sample
        Standardised losses, shape (n,), finite.
    p
        Tail probability.
    weights
        Positive, same shape; None: equal.

    Returns
    -------
    TailEstimate
        Not available where the sample holds less than one tail event, :math:`p\,n_{eff} < 1`: its quantile would be
        the sample's maximum, which says what has happened and not what may. :math:`n_{eff} = (\sum w)^2 / \sum w^2`.

    Raises
    ------
    ValueError
        Where a value is not finite, a weight is not positive, or shapes differ.

    Notes
    -----
    Source: Barone-Adesi, Giannopoulos and Vosper 1999; Acerbi and Tasche 2002 for the shortfall of a sample; Kish 1965
    for the effective size. The quantile interpolates as `overshoot.weighted_quantile` does.
    """
    values = _clean(sample, p)
    w = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != values.shape:
        raise ValueError(f"{len(w)} weights for {len(values)} values: hand over one a value")
    if not (np.isfinite(w) & (w > 0)).all():
        raise ValueError(f"weights, row {int(np.argmin(np.isfinite(w) & (w > 0)))}: must be positive")
    effective = float(w.sum() ** 2 / np.sum(w**2)) if len(w) else 0.0
    if p * effective < 1 - 1e-9:
        return _missing(HISTORICAL, p, len(values), p * effective, f"{p * effective:.2g} tail events, one is needed")
    order = np.argsort(values, kind="stable")
    quantile = float(weighted_quantile(values[order], w[order], np.asarray([1 - p]))[0])
    falling, share = values[order][::-1], w[order][::-1] / w.sum()
    used = np.clip(p - (np.cumsum(share) - share), 0.0, share)
    shortfall = float(np.sum(used * falling) / np.sum(used))
    return TailEstimate(HISTORICAL, p, quantile, shortfall, len(values), p * effective, "")


def decay_weights(observations: int, half_life: float) -> Floats:
    """Weights of a sample in order of time, the newest 1, halved for each ``half_life`` observations of age."""
    if not half_life > 0:
        raise ValueError(f"half-life {half_life}: must be positive")
    return np.asarray(0.5 ** (np.arange(observations - 1, -1, -1) / half_life), dtype=np.float64)


def scale_given_shape(xi: float, excesses: ArrayLike) -> float:
    r"""Maximum-likelihood scale of a generalised Pareto law of known shape.

    .. math:: \frac{1}{n}\sum_i \frac{(1+\xi)\,y_i}{\beta + \xi y_i} = 1

    whose left side falls in :math:`\beta`, so that there is one root.

    Parameters
    ----------
    xi
        Shape within the guards [-0.3, 0.5].
    excesses
        Positive, at least one.
    """
    y = np.asarray(excesses, dtype=np.float64)
    mean, top = float(y.mean()), float(y.max())
    if xi == 0:
        return mean

    def score(beta: float) -> float:
        return float(np.mean((1 + xi) * y / (beta + xi * y))) - 1

    low = max(-xi * top, 0.0) + 1e-9 * mean
    return float(optimize.brentq(score, low, 10 * (mean + top), xtol=1e-14 * mean, rtol=1e-13))


def fit_tail(
    sample: ArrayLike,
    *,
    tail_fraction: float = 0.10,
    minimum: int = tails.MINIMUM_EXCEEDANCES,
    shared_shape: float | None = None,
) -> GpdFit | None:
    r"""Fit the tail of a standardised sample, its shape the sample's own or drawn toward a shared one.

    .. math:: \xi = \frac{n\,\hat\xi + m\,\bar\xi}{n + m}, \qquad m = 100

    Parameters
    ----------
    sample
        Standardised losses, shape (n,), finite.
    tail_fraction
        Share beyond the threshold.
    minimum
        Exceedances below which there is no tail of its own; with a shared shape 20 are enough.
    shared_shape
        Shape that markets share, as `shared_shape_of` gives it; None: the sample stands alone.

    Returns
    -------
    GpdFit or None
        None: not enough data. Methods beside those of `tails.fit_gpd`: ``exponential`` (shape within 0.01 of zero,
        scale the mean excess) and ``ml_shared``.

    Notes
    -----
    A shared shape is meant for closes and excursions of a market with a short history. It is not to be laid upon the
    overshoot quantile k, which is shrunk toward the pooled k already: there the pooled tail enters as a whole, carried
    to the market by the ratio of its k to the pooled one, and drawing its shape to the pool again would count the pool
    twice. Source: McNeil and Frey 2000.
    """
    least = minimum if shared_shape is None else min(minimum, POOLED_MINIMUM)
    fit = tails.fit_gpd(sample, tail_fraction=tail_fraction, minimum=least)
    if fit is None:
        return None
    values = np.asarray(sample, dtype=np.float64)
    excesses = values[values > fit.threshold] - fit.threshold
    xi, method = fit.xi, fit.method
    if shared_shape is not None:
        if not tails.XI_LOW <= shared_shape <= tails.XI_HIGH:
            raise ValueError(f"shared shape {shared_shape}: lies outside [{tails.XI_LOW}, {tails.XI_HIGH}]")
        n = fit.exceedances
        xi, method = (n * fit.xi + POOLED_EXCEEDANCES * shared_shape) / (n + POOLED_EXCEEDANCES), "ml_shared"
    if abs(xi) < EXPONENTIAL_SHAPE:
        xi, method = 0.0, "exponential" if shared_shape is None else method
    beta = fit.beta if method == fit.method else scale_given_shape(xi, excesses)
    return GpdFit(fit.threshold, float(xi), float(beta), fit.tail_fraction, fit.exceedances, method)


def shared_shape_of(fits: Sequence[GpdFit]) -> float:
    """Mean shape of several markets' own tails, each weighed by its exceedances.

    Raises
    ------
    ValueError
        Where there is none: not enough data to share.
    """
    if not fits:
        raise ValueError("no tail to share a shape of; give a market with enough exceedances of its own")
    count = np.asarray([fit.exceedances for fit in fits], dtype=np.float64)
    return float(np.sum(count * np.asarray([fit.xi for fit in fits])) / count.sum())


def extreme(
    sample: ArrayLike,
    p: float,
    *,
    tail_fraction: float = 0.10,
    minimum: int = tails.MINIMUM_EXCEEDANCES,
    shared_shape: float | None = None,
) -> TailEstimate:
    r"""Estimate by conditional extreme value theory: quantile and shortfall of the fitted generalised Pareto tail.

    .. math:: z_p = u + \frac{\beta}{\xi}\left[\left(\frac{p}{k/n}\right)^{-\xi} - 1\right], \qquad
              ES_p = \frac{z_p}{1-\xi} + \frac{\beta - \xi u}{1-\xi}

    Parameters
    ----------
    sample, tail_fraction, minimum, shared_shape
        As in `fit_tail`.
    p
        Tail probability, at most the share beyond the threshold.

    Returns
    -------
    TailEstimate
        Not available with too few exceedances, and where p lies in the body of the sample. Its note says where the
        shape was held at a guard, and where the sample holds less than one such event, so that the tail extrapolates.

    Raises
    ------
    ValueError
        Where a value is not finite; names the row.

    Notes
    -----
    Source: McNeil and Frey 2000.
    """
    values = _clean(sample, p)
    fit = fit_tail(values, tail_fraction=tail_fraction, minimum=minimum, shared_shape=shared_shape)
    n = len(values)
    if fit is None:
        beyond = min(int(np.sum(values > np.quantile(values, 1 - tail_fraction))), int(n * tail_fraction)) if n else 0
        least = minimum if shared_shape is None else min(minimum, POOLED_MINIMUM)
        return _missing(EXTREME, p, n, beyond, f"{beyond} exceedances, {least} are needed")
    quantile = float(tails.gpd_quantile(fit, p))
    if np.isnan(quantile):
        reason = f"p lies in the body; the tail begins at {fit.tail_fraction:.3g}"
        return _missing(EXTREME, p, n, fit.exceedances, reason)
    notes = []
    if fit.method == "ml_guarded":
        notes.append(f"shape held at {fit.xi:g}")
    if n * p < 1 - 1e-9:
        notes.append(f"beyond the sample of {n}")
    return TailEstimate(EXTREME, p, quantile, float(tails.gpd_es(fit, p)), n, float(fit.exceedances), "; ".join(notes))


def estimates(
    sample: ArrayLike, probabilities: Sequence[float], weights: ArrayLike | None = None
) -> list[TailEstimate]:
    """Estimate by both models at several tail probabilities: filtered historical simulation, then extreme value theory.

    ``weights`` are those of the historical one; the generalised Pareto tail takes the sample as it is.
    """
    return [
        *(historical(sample, p, weights) for p in probabilities),
        *(extreme(sample, p) for p in probabilities),
    ]


def threshold_stability(sample: ArrayLike, p: float, fractions: Sequence[float] = STABILITY_FRACTIONS) -> pd.DataFrame:
    """Refit the tail over several thresholds: a tail that can be trusted tells the same at each.

    Parameters
    ----------
    sample
        Standardised losses, shape (n,), finite.
    p
        Tail probability of the last columns.
    fractions
        Shares beyond the thresholds.

    Returns
    -------
    DataFrame
        One row a threshold: ``threshold_level`` (quantile of the sample), ``threshold``, ``exceedances``, ``xi``,
        ``beta``, ``quantile``, ``expected_shortfall``, ``method``; figures are NaN and the method is
        "not available" where exceedances are fewer than 50. The quantile alone is NaN where p lies in the body.
    """
    values = _clean(sample, p)
    rows = []
    for fraction in fractions:
        fit = fit_tail(values, tail_fraction=fraction)
        row: dict[str, object] = {"threshold_level": 1 - fraction}
        if fit is None:
            at = float(np.quantile(values, 1 - fraction)) if len(values) else np.nan
            row |= {"threshold": at, "exceedances": int(np.sum(values > at))}
            row |= dict.fromkeys(("xi", "beta", "quantile", "expected_shortfall"), np.nan)
            row |= {"method": NOT_AVAILABLE}
        else:
            row |= {"threshold": fit.threshold, "exceedances": fit.exceedances, "xi": fit.xi, "beta": fit.beta}
            row |= {"quantile": float(tails.gpd_quantile(fit, p)), "expected_shortfall": float(tails.gpd_es(fit, p))}
            row |= {"method": fit.method}
        rows.append(row)
    return pd.DataFrame(rows)


def standardised_samples(
    prices: pd.DataFrame, forecasts: pd.DataFrame, as_of: pd.Timestamp, *, is_mean_removed: bool = False
) -> pd.DataFrame:
    r"""Standardise the closes and the excursions of one market by the forecast made at the close before.

    .. math:: z = \frac{\ln(C_t/C_{t-1}) - \mu_t}{\sigma_t}, \quad z^L = \frac{\ln(C_{t-1}/Low_t)}{\sigma_t},
              \quad z^S = \frac{\ln(High_t/C_{t-1})}{\sigma_t}

    Parameters
    ----------
    prices
        One market: ``date, close_usd, previous_close_usd, high_usd, low_usd, is_return_valid``.
    forecasts
        The same market: ``target_date, symbol, sigma_daily``, one row a target date; ``mu_daily`` where it is removed.
    as_of
        Last day whose bar may be used.
    is_mean_removed
        Whether closes are taken less the forecast mean; quantiles of returns then add it again. Excursions never are.

    Returns
    -------
    DataFrame
        ``target_date, symbol, series, side, value_sigma``; series ``close`` (-z for longs, +z for shorts) and
        ``excursion``, positive when adverse, ordered by series, side and date. Days whose return is not a one-day
        return and days with a forecast of zero are absent; a day without high and low has no excursion. An excursion
        is negative where a market opened away from its close and never came back.

    Notes
    -----
    Overshoots are a third such sample: `overshoot.trigger_events` makes them, `overshoot_sample` takes them out.
    """
    columns = ["date", "close_usd", "previous_close_usd", "high_usd", "low_usd", "is_return_valid"]
    mean = ["mu_daily"] if is_mean_removed else []
    made = forecasts.loc[forecasts["target_date"] <= as_of, ["target_date", "symbol", "sigma_daily", *mean]]
    bars = made.merge(prices[columns], left_on="target_date", right_on="date", how="inner", validate="one_to_one")
    bars = bars[bars["is_return_valid"] & (bars["sigma_daily"] > 0)].sort_values("target_date", kind="stable")
    before = bars["previous_close_usd"]
    drift = bars["mu_daily"] if is_mean_removed else 0.0
    ranged = bars["high_usd"].notna() & bars["low_usd"].notna()
    frames = []
    for series in ("close", "excursion"):
        for side in SIDES:
            sign = -1.0 if side == "long" else 1.0
            extreme_usd = bars["low_usd"] if side == "long" else bars["high_usd"]
            moved = np.log(bars["close_usd"] / before) - drift if series == "close" else np.log(extreme_usd / before)
            one = bars[["target_date", "symbol"]].assign(series=series, side=side)
            one["value_sigma"] = sign * moved / bars["sigma_daily"]
            frames.append(one if series == "close" else one[ranged])
    return pd.concat(frames, ignore_index=True)[list(SAMPLE_COLUMNS)]


def overshoot_sample(
    events: pd.DataFrame, *, side: str, trigger_depth: float, as_of: pd.Timestamp, symbol: str | None = None
) -> Floats:
    """Overshoots in sigmas of one side and depth up to a day, in order of date and market; of one market or of all.

    Parameters
    ----------
    events
        Rows of `overshoot.trigger_events`.
    side, trigger_depth
        Which.
    as_of
        Last day whose trigger may be used.
    symbol
        One market; None: pooled.
    """
    mine = events[
        (events["side"] == side) & (events["trigger_depth"] == trigger_depth) & (events["target_date"] <= as_of)
    ]
    if symbol is not None:
        mine = mine[mine["symbol"] == symbol]
    ordered = mine.sort_values(["target_date", "symbol"], kind="stable")
    return ordered["overshoot_sigma"].to_numpy(np.float64)
