"""Types of the batch engine: what is asked and what all windows give.

What lives here: frozen dataclasses. What does not: computation.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Volatility = Literal["garch", "gjr"]
Innovations = Literal["normal", "student_t", "skew_t"]

LIMITS = ("alpha 0", "alpha + gamma 0", "beta 0", "persistence 1", "omega", "nu", "lambda")
"""Constraints that an optimum may lie on, in the order of their bits."""


@dataclass(frozen=True)
class BatchSpec:
    """Which model is fitted.

    Attributes
    ----------
    volatility
        ``garch``, or ``gjr`` with another slope after losses (Glosten, Jagannathan and Runkle 1993).
    innovations
        ``normal``, ``student_t`` of unit variance, or ``skew_t`` (Hansen 1994).
    """

    volatility: Volatility
    innovations: Innovations


@dataclass(frozen=True)
class BatchFits:
    """Fits of all windows, one row a window, in the order of the series and their ends.

    Attributes
    ----------
    series, end
        Which series, and the exclusive end of the window in it.
    observations
        Returns in the window.
    mu, omega, alpha, gamma, beta
        Parameters on the returns as given. NaN, as everything below, where a window does not move at all.
    nu, lam
        Degrees of freedom and Hansen's asymmetry; NaN where the innovations have none.
    loglikelihood
        At the best optimum found.
    sigma2_next
        Variance of the day after the window.
    persistence
        alpha + gamma/2 + beta.
    limits
        Which constraints hold, as a sum of powers of two: bit i is ``LIMITS[i]``.
    is_igarch
        Whether persistence is 0.9995 or more, so that there is no long-run variance.
    is_converged
        Whether no step was left that would gain anything; False as well where a window does not move.
    evaluations
        Evaluations of the likelihood and its gradient, over all starting points.
    optimum_gap
        Log-likelihood of the best optimum less that of the next best; NaN where only one was met. Two that nearly
        tie may change places from one day to the next.
    sigma2_other
        Variance of the day after the window by that next best optimum; NaN where only one was met.
    """

    series: NDArray[np.int64]
    end: NDArray[np.int64]
    observations: NDArray[np.int64]
    mu: NDArray[np.float64]
    omega: NDArray[np.float64]
    alpha: NDArray[np.float64]
    gamma: NDArray[np.float64]
    beta: NDArray[np.float64]
    nu: NDArray[np.float64]
    lam: NDArray[np.float64]
    loglikelihood: NDArray[np.float64]
    sigma2_next: NDArray[np.float64]
    persistence: NDArray[np.float64]
    limits: NDArray[np.int64]
    is_igarch: NDArray[np.bool_]
    is_converged: NDArray[np.bool_]
    evaluations: NDArray[np.int64]
    optimum_gap: NDArray[np.float64]
    sigma2_other: NDArray[np.float64]

    @property
    def is_boundary(self) -> NDArray[np.bool_]:
        """Tell where any constraint holds."""
        return np.asarray(self.limits > 0)

    def __len__(self) -> int:
        """Count the windows."""
        return len(self.end)
