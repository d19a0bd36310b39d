"""Oracle: how far an on-chain price may stand from the market, and what a faster one is worth.

What lives here: the effective deviation, its parts, and the worth of latency. What does not: consensus of venues.
"""

from dataclasses import dataclass

import numpy as np

from plimsoll.consensus.numerics import Floats


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
    staleness = sigma_daily * float(np.sqrt(age_p95_seconds / 86400))
    return EffectiveDeviation(delta + dispersion + staleness, delta, dispersion, staleness)


def latency_worth_bp(
    overshoot: float, eta: float, tau_seconds: float, faster_by_seconds: float, threshold: float = 1.0
) -> float:
    """Return by how many basis points the threshold could rise if the way from trigger to sale were faster.

    X grows with tau to the power eta, so that d ln LT / d ln tau = -eta X and for a finite step
    ln LT rises by X (1 - (1 - faster/tau)^eta).

    Parameters
    ----------
    overshoot
        X, the tail overshoot over tau, as a fraction.
    eta
        Exponent of X in tau.
    tau_seconds, faster_by_seconds
        Time now, and what is saved of it.
    threshold
        LT as a fraction; 1 gives the relative change.
    """
    if not 0 < faster_by_seconds <= tau_seconds:
        raise ValueError(f"faster_by_seconds {faster_by_seconds:g}: above 0 and at most tau_seconds {tau_seconds:g}")
    if not (overshoot >= 0 and eta >= 0 and 0 < threshold <= 1):
        raise ValueError(f"overshoot {overshoot:g}, eta {eta:g}, threshold {threshold:g}: not negative, LT in (0, 1]")
    return float(1e4 * threshold * overshoot * (1 - (1 - faster_by_seconds / tau_seconds) ** eta))
