r"""GARCH(1,1)-t with mean and long-run variance at the sample's: two parameters fewer to go wrong.

What lives here: the second rung of the ladder. What does not: the ladder (``fitting``), the likelihood
(``batch.kernels``).

.. math:: \omega = v\,(1 - p), \qquad \alpha = s\,p, \qquad \beta = (1 - s)\,p

with v the variance of the window, persistence p and the share s of it that answers to the last shock.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from plimsoll.volatility.batch import kernels
from plimsoll.volatility.batch.jit import settle

Floats = NDArray[np.float64]

BOUNDS = ((1e-6, 0.999), (0.05, 0.9994), (2.1, 50.0))
"""Of share, persistence and degrees of freedom."""
ARRIVED = 1e-6
"""Slope of the mean log-likelihood that is none."""
STARTS = ((0.05, 0.95, 6.0), (0.12, 0.85, 4.0), (0.03, 0.99, 8.0))


@dataclass(frozen=True)
class TargetedFit:
    """Parameters on percent returns; ``complaint`` is empty where the optimiser arrived."""

    mu: float
    omega: float
    alpha: float
    beta: float
    nu: float
    loglikelihood: float
    complaint: str


def fit_targeted(returns_percent: Floats) -> TargetedFit:
    """Fit one window by maximum likelihood over share, persistence and degrees of freedom.

    Parameters
    ----------
    returns_percent
        Percent log returns, shape (n,), finite, not all equal.

    Returns
    -------
    TargetedFit
        The best of three starts. Source: Engle and Mezrich 1996.
    """
    y = np.ascontiguousarray(returns_percent, dtype=np.float64)
    settle()
    facts, gradient = np.empty(kernels.FACTS), np.empty(kernels.PARAMETERS)
    kernels.window_facts(y, facts)
    variance, buffers = float(facts[kernels.VARIANCE]), np.empty((kernels.BUFFERS, len(y)))

    def parameters(x: Floats) -> Floats:
        share, persistence, nu = x
        alpha = share * persistence
        return np.asarray(
            [facts[kernels.MEAN], variance * (1 - persistence), alpha, alpha, persistence - alpha, nu, 0.0]
        )

    def negative(x: Floats) -> tuple[float, Floats]:
        """Negative mean log-likelihood and its gradient: scaled, so that tolerances do not depend on n."""
        share, persistence, _ = x
        value, _ = kernels.evaluate(kernels.STUDENT, y, facts, parameters(x), gradient, buffers)
        by_alpha = gradient[kernels.GAIN] + gradient[kernels.LOSS]
        by_share = persistence * (by_alpha - gradient[kernels.BETA])
        by_persistence = share * by_alpha + (1 - share) * gradient[kernels.BETA] - variance * gradient[kernels.OMEGA]
        slopes = np.asarray([by_share, by_persistence, gradient[kernels.NU]])
        return -float(value) / len(y), -slopes / len(y)

    options = {"ftol": 1e-13, "gtol": 1e-8, "maxiter": 500}
    tries = [
        optimize.minimize(negative, np.asarray(start), jac=True, method="L-BFGS-B", bounds=BOUNDS, options=options)
        for start in STARTS
    ]
    found = min(tries, key=lambda result: float(result.fun))
    low, high = np.transpose(BOUNDS)
    # Rounding can end a line search at the optimum itself; the slope that is left tells that from a real failure.
    slope = float(np.abs(np.clip(found.x - found.jac, low, high) - found.x).max())
    th = parameters(found.x)
    return TargetedFit(
        mu=float(th[kernels.MU]),
        omega=float(th[kernels.OMEGA]),
        alpha=float(th[kernels.GAIN]),
        beta=float(th[kernels.BETA]),
        nu=float(th[kernels.NU]),
        loglikelihood=-float(found.fun) * len(y),
        complaint="" if found.success or slope < ARRIVED else f"not converged: {found.message}",
    )
