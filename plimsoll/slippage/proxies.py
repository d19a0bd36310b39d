"""Proxies: spreads and illiquidity from candles, for markets whose book nobody has seen.

What lives here: four estimators, each from one series. What does not: depth (``books``); a spread is what the first
unit costs, so that none of these may stand for the slippage of a size alone.
"""

import numpy as np
from numpy.typing import ArrayLike

from plimsoll.slippage.books import Floats

CORWIN_SCHULTZ = 3.0 - 2.0 * np.sqrt(2.0)


def _series(**named: ArrayLike) -> list[Floats]:
    found = [np.asarray(value, dtype=np.float64) for value in named.values()]
    if len({one.shape for one in found}) > 1 or found[0].ndim != 1:
        shapes = ", ".join(f"{name} {one.shape}" for name, one in zip(named, found, strict=True))
        raise ValueError(f"one series each, of equal length; not {shapes}")
    return found


def _logs(**named: ArrayLike) -> list[Floats]:
    found = _series(**named)
    for name, one in zip(named, found, strict=True):
        is_bad = ~np.isnan(one) & ~(np.isfinite(one) & (one > 0))
        if is_bad.any():
            raise ValueError(f"{name} {one[is_bad][0]:g} at row {int(is_bad.argmax()) + 1}: prices are positive")
    return [np.log(one) for one in found]


def amihud(returns: ArrayLike, volume_usd: ArrayLike) -> float:
    r"""Return the mean absolute return a dollar traded, :math:`\overline{|r_t|/V_t}`.

    Parameters
    ----------
    returns, volume_usd
        Shape (days,). Days on which either is NaN say nothing.

    Returns
    -------
    float
        Per USD; NaN where no day says anything.

    Raises
    ------
    ValueError
        Where a volume is not positive: an empty day has no such ratio.

    Notes
    -----
    Source: Amihud 2002.
    """
    r, volume = _series(returns=returns, volume_usd=volume_usd)
    is_bad = volume <= 0
    if is_bad.any():
        raise ValueError(f"volume_usd {volume[is_bad][0]:g} at row {int(is_bad.argmax()) + 1}: positive, or NaN")
    ratio = np.abs(r) / volume
    known = ~np.isnan(ratio)
    return float(ratio[known].mean()) if known.any() else float("nan")


def corwin_schultz(high: ArrayLike, low: ArrayLike) -> Floats:
    r"""Return the spread of each pair of neighbouring days from their highs and lows.

    .. math:: \beta = \sum_{j=0}^{1}\ln^2\frac{H_{t+j}}{L_{t+j}}, \quad
              \gamma = \ln^2\frac{\max(H_t,H_{t+1})}{\min(L_t,L_{t+1})}, \quad
              \alpha = \frac{\sqrt{2\beta}-\sqrt{\beta}}{3-2\sqrt{2}} - \sqrt{\frac{\gamma}{3-2\sqrt{2}}}, \quad
              S = \frac{2(e^{\alpha}-1)}{1+e^{\alpha}}

    Parameters
    ----------
    high, low
        Shape (days,); NaN where unknown.

    Returns
    -------
    ndarray
        Shape (days - 1,), as estimated: a negative one says that the range grew with time as a random walk's does,
        and counts as zero in a mean, ``np.maximum(S, 0)``. NaN where a day is unknown.

    Raises
    ------
    ValueError
        Where a price is not positive.

    Notes
    -----
    Markets that never close have no gap overnight to adjust for. Source: Corwin and Schultz 2012.
    """
    top, bottom = _logs(high=high, low=low)
    width = (top - bottom) ** 2
    beta = width[:-1] + width[1:]
    gamma = (np.maximum(top[:-1], top[1:]) - np.minimum(bottom[:-1], bottom[1:])) ** 2
    alpha = (np.sqrt(2 * beta) - np.sqrt(beta)) / CORWIN_SCHULTZ - np.sqrt(gamma / CORWIN_SCHULTZ)
    return np.asarray(2 * np.tanh(alpha / 2), dtype=np.float64)


def roll(close: ArrayLike) -> float:
    r"""Return the spread from the bounce of closes, :math:`2\sqrt{-cov(\Delta p_t,\Delta p_{t-1})}` of log prices.

    Parameters
    ----------
    close
        Shape (days,), without gaps; NaN where unknown.

    Returns
    -------
    float
        Fraction; NaN where the covariance is not negative, which this model cannot explain, or fewer than two pairs
        of returns are known.

    Raises
    ------
    ValueError
        Where a price is not positive.

    Notes
    -----
    Source: Roll 1984.
    """
    (p,) = _logs(close=close)
    r = np.diff(p)
    now, before = r[1:], r[:-1]
    known = ~np.isnan(now) & ~np.isnan(before)
    if known.sum() < 2:
        return float("nan")
    now, before = now[known], before[known]
    covariance = float(((now - now.mean()) * (before - before.mean())).sum() / (len(now) - 1))
    return 2 * float(np.sqrt(-covariance)) if covariance < 0 else float("nan")


def abdi_ranaldo(high: ArrayLike, low: ArrayLike, close: ArrayLike) -> float:
    r"""Return the spread from closes against the middles of the ranges around them.

    .. math:: S = 2\sqrt{\max\left(E[(c_t-\eta_t)(c_t-\eta_{t+1})],\ 0\right)}, \qquad \eta = \tfrac12(\ln H+\ln L)

    Parameters
    ----------
    high, low, close
        Shape (days,), without gaps; NaN where unknown.

    Returns
    -------
    float
        Fraction; NaN where no pair of days is known.

    Raises
    ------
    ValueError
        Where a price is not positive.

    Notes
    -----
    Source: Abdi and Ranaldo 2017.
    """
    top, bottom, c = _logs(high=high, low=low, close=close)
    middle = (top + bottom) / 2
    product = (c[:-1] - middle[:-1]) * (c[:-1] - middle[1:])
    known = ~np.isnan(product)
    return 2 * float(np.sqrt(max(product[known].mean(), 0.0))) if known.any() else float("nan")
