"""Tail laws: closed forms that estimates of tails are checked against.

What lives here: Hansen's skewed Student t and the extremes of Brownian motion watched all the time or at steps. What
does not: symmetric laws and the generalised Pareto tail (``tails``), estimates from samples (``tail_models``).
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from plimsoll import tails

Floats = NDArray[np.float64]

MONITORING_SHIFT = 0.5825971579
r"""-zeta(1/2) / sqrt(2 pi): how far a barrier moves, in sigmas of a step, when it is watched at steps only."""


def _skew_constants(nu: float, skew: float) -> tuple[float, float]:
    if not nu > 2:
        raise ValueError(f"degrees of freedom {nu}: must exceed 2, or there is no variance to scale to")
    if not -1 < skew < 1:
        raise ValueError(f"skew {skew}: must lie between -1 and 1")
    c = math.exp(float(special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2))) / math.sqrt(math.pi * (nu - 2))
    a = 4 * skew * c * (nu - 2) / (nu - 1)
    return a, math.sqrt(1 + 3 * skew**2 - a**2)


def _lower(p: ArrayLike, skew: float) -> Floats:
    tail = np.asarray(p, dtype=np.float64)
    if not ((tail > 0) & (tail <= (1 - skew) / 2)).all():
        raise ValueError(f"tail probability must lie in (0, {(1 - skew) / 2:g}], the part left of the mode")
    return np.asarray(tail / (1 - skew), dtype=np.float64)


def skew_t_quantile(p: ArrayLike, nu: float, skew: float) -> Floats:
    r"""Loss quantile of Hansen's skewed Student t law of zero mean and unit variance.

    .. math:: z_p = \frac{(1-\lambda)\,q_\nu(p/(1-\lambda)) + a}{b}, \qquad a = 4\lambda c\frac{\nu-2}{\nu-1},
              \quad b^2 = 1 + 3\lambda^2 - a^2

    with :math:`q_\nu` the loss quantile of the unit-variance Student t law.

    Parameters
    ----------
    p
        Tail probability in (0, (1 - skew)/2].
    nu
        Degrees of freedom above 2.
    skew
        Lambda in (-1, 1); negative: the loss side is the longer one.

    Returns
    -------
    ndarray
        Positive for losses.

    Raises
    ------
    ValueError
        Where p lies right of the mode, or a parameter outside its range.

    Notes
    -----
    Source: Hansen 1994.
    """
    a, b = _skew_constants(nu, skew)
    return np.asarray(((1 - skew) * tails.student_t_quantile(_lower(p, skew), nu) + a) / b, dtype=np.float64)


def skew_t_es(p: ArrayLike, nu: float, skew: float) -> Floats:
    r"""Return the expected shortfall of the same law, :math:`((1-\lambda)\,ES_\nu(p/(1-\lambda)) + a)/b`.

    Left of its mode the law is a Student t stretched by :math:`1-\lambda`, so that its partial mean is one too.
    """
    a, b = _skew_constants(nu, skew)
    return np.asarray(((1 - skew) * tails.student_t_es(_lower(p, skew), nu) + a) / b, dtype=np.float64)


def touch_probability(distance: ArrayLike, sigma: ArrayLike, *, step: float = 0.0) -> Floats:
    r"""Chance that driftless Brownian motion is seen beyond a distance within a horizon.

    .. math:: P = 2\,\Phi\left(-\frac{x}{\sigma}\right), \qquad
              x' = x + 0.5826\,\sigma\sqrt{\Delta}\ \text{where it is watched at steps}

    Parameters
    ----------
    distance
        Log distance x, positive.
    sigma
        Standard deviation over the horizon.
    step
        Time between looks as a share of the horizon; 0: watched all the time.

    Returns
    -------
    ndarray
        Probabilities.

    Notes
    -----
    Source: reflection principle; Broadie, Glasserman and Kou 1997 for the shift.
    """
    scale = np.asarray(sigma, dtype=np.float64)
    shifted = np.asarray(distance, dtype=np.float64) + MONITORING_SHIFT * scale * math.sqrt(step)
    return np.asarray(2 * special.ndtr(-shifted / scale), dtype=np.float64)


def excursion_quantile(p: ArrayLike, sigma: ArrayLike = 1.0) -> Floats:
    r"""Quantile of the largest adverse excursion of driftless Brownian motion, :math:`\sigma\,z_{1-p/2}`."""
    return np.asarray(np.asarray(sigma) * tails.normal_quantile(np.asarray(p) / 2), dtype=np.float64)
