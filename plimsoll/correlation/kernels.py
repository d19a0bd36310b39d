"""Kernels: the recursion of dynamic correlations and the likelihood of the t copula, compiled.

What lives here: loops over days, summed in their order, so that every machine thread count gives the same bits. What
does not: which days, which start, which optimum (``dynamic``, ``tails``).
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
F = TypeVar("F", bound=Callable[..., Any])


def _compiled(function: F) -> F:
    return cast("F", njit(cache=True, nogil=True, error_model="numpy")(function))


@_compiled
def pairs_loglikelihood(x: Floats, y: Floats, starts: Ints, targets: Floats, a: float, b: float) -> float:
    """Sum the correlation log-likelihoods of pairs laid end to end.

    Parameters
    ----------
    x, y
        Standardised residuals, pair after pair.
    starts
        First row of each pair, and the number of rows as the last entry.
    targets
        Shape (pairs, 3): S of each pair, xx, xy, yy.
    a, b
        Parameters of the recursion.

    Returns
    -------
    float
        Minus infinity where a correlation leaves (-1, 1).
    """
    total = 0.0
    rest = 1.0 - a - b
    for p in range(len(starts) - 1):
        sxx, sxy, syy = targets[p, 0], targets[p, 1], targets[p, 2]
        qxx, qxy, qyy = sxx, sxy, syy
        for t in range(starts[p], starts[p + 1]):
            rho = qxy / np.sqrt(qxx * qyy)
            free = 1.0 - rho * rho
            if not free > 0.0:
                return -np.inf
            square = x[t] * x[t] + y[t] * y[t]
            total -= 0.5 * (np.log(free) + (square - 2.0 * rho * x[t] * y[t]) / free - square)
            qxx = rest * sxx + a * x[t] * x[t] + b * qxx
            qxy = rest * sxy + a * x[t] * y[t] + b * qxy
            qyy = rest * syy + a * y[t] * y[t] + b * qyy
    return total


@_compiled
def pair_path(x: Floats, y: Floats, target: Floats, a: float, b: float) -> Floats:
    """Return the correlation of a pair on each day and, as the last of n + 1 entries, on the day after."""
    out = np.empty(len(x) + 1)
    rest = 1.0 - a - b
    qxx, qxy, qyy = target[0], target[1], target[2]
    for t in range(len(x)):
        out[t] = qxy / np.sqrt(qxx * qyy)
        qxx = rest * target[0] + a * x[t] * x[t] + b * qxx
        qxy = rest * target[1] + a * x[t] * y[t] + b * qxy
        qyy = rest * target[2] + a * y[t] * y[t] + b * qyy
    out[len(x)] = qxy / np.sqrt(qxx * qyy)
    return out


@_compiled
def full_loglikelihood(z: Floats, target: Floats, a: float, b: float) -> float:
    """Return the correlation log-likelihood of all markets at once, by a Cholesky factor a day.

    Parameters
    ----------
    z
        Shape (days, markets), no NaN.
    target
        S, shape (markets, markets).
    a, b
        Parameters of the recursion.

    Returns
    -------
    float
        Minus infinity where a matrix is not positive definite.
    """
    days, n = z.shape
    rest = 1.0 - a - b
    q = target.copy()
    low = np.zeros((n, n))
    w = np.empty(n)
    total = 0.0
    for t in range(days):
        determinant, form, square = 0.0, 0.0, 0.0
        for i in range(n):
            for j in range(i + 1):
                s = q[i, j] / np.sqrt(q[i, i] * q[j, j])
                for k in range(j):
                    s -= low[i, k] * low[j, k]
                if i == j:
                    if not s > 0.0:
                        return -np.inf
                    low[i, i] = np.sqrt(s)
                else:
                    low[i, j] = s / low[j, j]
            s = z[t, i]
            for k in range(i):
                s -= low[i, k] * w[k]
            w[i] = s / low[i, i]
            determinant += 2.0 * np.log(low[i, i])
            form += w[i] * w[i]
            square += z[t, i] * z[t, i]
        total -= 0.5 * (determinant + form - square)
        for i in range(n):
            for j in range(i + 1):
                q[i, j] = rest * target[i, j] + a * z[t, i] * z[t, j] + b * q[i, j]
    return total


@_compiled
def copula_loglikelihoods(x: Ints, y: Ints, rho: float, nus: Floats, quantiles: Floats, constants: Floats) -> Floats:
    """Return the log-likelihood of the bivariate t copula for each of several degrees of freedom.

    Parameters
    ----------
    x, y
        Ranks from 0, shape (n,).
    rho
        Correlation of the copula.
    nus
        Degrees of freedom.
    quantiles
        Shape (degrees, n): the raw t quantile of each rank.
    constants
        Log of the ratio of the densities' constants, one a degree.

    Returns
    -------
    ndarray
        One a degree.
    """
    out = np.empty(len(nus))
    free = 1.0 - rho * rho
    for g in range(len(nus)):
        nu = nus[g]
        total = 0.0
        for t in range(len(x)):
            u, v = quantiles[g, x[t]], quantiles[g, y[t]]
            form = (u * u - 2.0 * rho * u * v + v * v) / (nu * free)
            single = (1.0 + u * u / nu) * (1.0 + v * v / nu)
            total += 0.5 * (nu + 1.0) * np.log(single) - 0.5 * (nu + 2.0) * np.log(1.0 + form)
        out[g] = total + len(x) * (constants[g] - 0.5 * np.log(free))
    return out
