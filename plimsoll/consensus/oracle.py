"""Oracle: how far an on-chain price may stand from the market, and what a faster one is worth.

What lives here: the effective deviation, its parts, and the worth of latency. What does not: consensus of venues.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from plimsoll.consensus.numerics import Floats
from plimsoll.consensus.scores import FEWEST_SOURCES

DISPERSION_DAYS = 250
"""Days whose distances between venues count."""
SECONDS_A_DAY = 86_400.0


@dataclass(frozen=True)
class EffectiveDeviation:
    """How far the oracle's price may lie from the market's, as a fraction, and its parts.

    Attributes
    ----------
    total
        delta + dispersion + staleness.
    delta
        Deviation that triggers an update.
    dispersion
        95 % quantile of the distance between sources.
    staleness
        sigma sqrt(age), with the 95 % quantile of the price's age in days.
    """

    total: float
    delta: float
    dispersion: float
    staleness: float


def dispersion_q95(log_close: Floats) -> float:
    """Return the 95 % quantile over days of the largest distance of a source from the median of all.

    Parameters
    ----------
    log_close
        Natural logs, shape (days, venues); NaN where a venue is silent. Days with one venue say nothing.

    Returns
    -------
    float
        As a log distance; NaN where no day has two venues.
    """
    from plimsoll.consensus.vote import row_median

    x = np.asarray(log_close, dtype=np.float64)
    several = np.isfinite(x).sum(axis=1) >= 2
    if not several.any():
        return float("nan")
    far = np.nanmax(np.abs(x[several] - row_median(x[several])[:, None]), axis=1)
    return float(np.quantile(far, 0.95))


def effective_deviation(
    delta: float, dispersion: float, sigma_daily: float, age_p95_seconds: float
) -> EffectiveDeviation:
    """Compute delta_eff = delta + q95(dispersion) + sigma sqrt(age_p95).

    Raises
    ------
    ValueError
        Where a part is negative or not finite; names it.
    """
    parts = {"delta": delta, "dispersion": dispersion, "sigma_daily": sigma_daily, "age_p95_seconds": age_p95_seconds}
    for name, value in parts.items():
        if not np.isfinite(value) or value < 0:
            raise ValueError(f"{name} {value:g}: a finite number, not negative")
    staleness = float(staleness_term(sigma_daily, age_p95_seconds))
    return EffectiveDeviation(delta + dispersion + staleness, delta, dispersion, staleness)


def staleness_term(sigma_daily: ArrayLike, age_p95_seconds: ArrayLike) -> Floats:
    r"""Return how far the market moves while the oracle's price grows old, :math:`\sigma\sqrt{age_{.95}}`.

    Parameters
    ----------
    sigma_daily
        Daily volatility, fraction, any shape; NaN gives NaN.
    age_p95_seconds
        95 % quantile of the age of the price in use.

    Returns
    -------
    ndarray
        Fractions.

    Raises
    ------
    ValueError
        Where one of them is negative or infinite.
    """
    sigma, age = np.asarray(sigma_daily, dtype=np.float64), np.asarray(age_p95_seconds, dtype=np.float64)
    for name, value in (("sigma_daily", sigma), ("age_p95_seconds", age)):
        if ((value < 0) | np.isinf(value)).any():
            raise ValueError(f"{name}: finite numbers, not negative")
    return np.asarray(sigma * np.sqrt(age / SECONDS_A_DAY), dtype=np.float64)


def oracle_error_days(
    deviation: float,
    dispersion: Floats,
    venues: Floats,
    side: str,
    *,
    is_reference: bool = False,
    staleness: ArrayLike = 0.0,
) -> Floats:
    r"""Return the error that the budget counts for the oracle, day by day.

    .. math:: \delta_t = \delta + q_{.95}(d_{t-249..t}) + \sigma_t\sqrt{age_{.95}}, \qquad
              \lambda_\delta \to 2 \lambda_\delta \text{ with fewer than three venues}

    Parameters
    ----------
    deviation
        Deviation at which the oracle updates, fraction.
    dispersion
        Distance of the venues' closes from the one agreed on, fraction, by day; NaN with one venue, which says
        nothing.
    venues
        Independent venues behind each day's price, shape (days,).
    side
        ``long`` or ``short``: the doubling is one of the log cost, which differs by side.
    is_reference
        The one source is itself what positions are liquidated by; nothing is added then.
    staleness
        `staleness_term` of each day, or one for all; known at the day's close.

    Returns
    -------
    ndarray
        Fractions; never below ``deviation``. A day depends on days up to itself.
    """
    x = np.asarray(dispersion, dtype=np.float64)
    if is_reference:
        return np.full(len(x), float(deviation))
    spread = pd.Series(x).rolling(DISPERSION_DAYS, min_periods=1).quantile(0.95).fillna(0.0).to_numpy(np.float64)
    plain = deviation + spread + np.asarray(staleness, dtype=np.float64)
    doubled = np.expm1(2 * np.log1p(plain)) if side == "short" else -np.expm1(2 * np.log1p(-plain))
    return np.where(np.asarray(venues, dtype=np.float64) < FEWEST_SOURCES, doubled, plain)
