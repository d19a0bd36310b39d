"""The GARCH(1,1) recursion, its start and its likelihood.

What lives here: variance filtering with fixed parameters and log-likelihoods under normal and Student t
innovations. What does not: estimation (``fitting``).
"""

import numpy as np
from numpy.typing import NDArray
from scipy import signal, special

Floats = NDArray[np.float64]

BACKCAST_DECAY = 0.94
BACKCAST_LENGTH = 75


def backcast(residuals: Floats) -> float:
    r"""Give the variance before the first day, percent squared.

    .. math:: \sum_{t<m} 0.94^t e_t^2 \Big/ \sum_{t<m} 0.94^t, \qquad m = \min(75, n)

    Parameters
    ----------
    residuals
        Returns less their sample mean, percent, shape (n,), finite, n at least 1.

    Returns
    -------
    float
        By the convention of ``arch``; others take the plain mean of squares (Fiorentini, Calzolari and
        Panattoni 1996), and log-likelihoods differ by that alone.
    """
    tau = min(BACKCAST_LENGTH, len(residuals))
    weights = BACKCAST_DECAY ** np.arange(tau)
    return float(np.sum(weights * residuals[:tau] ** 2) / weights.sum())


def filter_variance(
    returns_percent: Floats, *, mu: float, omega: float, alpha: float, beta: float, start: float, gamma: float = 0.0
) -> Floats:
    r"""Filter variances with fixed parameters.

    .. math:: \sigma^2_t = \omega + (\alpha + \gamma 1_{e_{t-1}<0})\,e^2_{t-1} + \beta\sigma^2_{t-1},
        \qquad e_t = r_t - \mu

    Parameters
    ----------
    returns_percent
        Percent returns, shape (n,), finite.
    mu, omega, alpha, beta
        Parameters on percent returns.
    start
        Squared residual and variance before the first day, as `backcast` gives them; half of the former counts as
        a loss.
    gamma
        Extra slope after losses; 0 without asymmetry.

    Returns
    -------
    ndarray
        Shape (n+1,): variances of each day, and last the one-step forecast, percent squared.

    Notes
    -----
    The recursion is linear in the variance, so a linear filter computes it in one pass. Sources: Bollerslev 1986;
    Glosten, Jagannathan and Runkle 1993.
    """
    residuals = returns_percent - mu
    slopes = alpha + gamma * (residuals < 0)
    drive = omega + np.concatenate([[(alpha + 0.5 * gamma) * start], slopes * residuals**2])
    out, _ = signal.lfilter([1.0], [1.0, -beta], drive, zi=np.asarray([beta * start]))
    return np.asarray(out, dtype=np.float64)


def loglikelihood(
    returns_percent: Floats,
    *,
    mu: float,
    omega: float,
    alpha: float,
    beta: float,
    nu: float | None = None,
    start: float | None = None,
) -> float:
    """Log-likelihood of a GARCH(1,1) with constant mean.

    Parameters
    ----------
    returns_percent
        Percent returns, shape (n,).
    mu, omega, alpha, beta
        Parameters.
    nu
        Degrees of freedom of unit-variance Student t innovations; None for normal ones.
    start
        Variance before the first day; by default `backcast` of the residuals from the sample mean, as in
        ``arch``.

    Returns
    -------
    float
        Sum over days.
    """
    before = backcast(returns_percent - returns_percent.mean()) if start is None else start
    h = filter_variance(returns_percent, mu=mu, omega=omega, alpha=alpha, beta=beta, start=before)[:-1]
    return density_sum(returns_percent - mu, h, nu)


def density_sum(residuals: Floats, variance: Floats, nu: float | None) -> float:
    r"""Sum log densities of residuals with given variances.

    .. math:: \ln\Gamma(\tfrac{\nu+1}2) - \ln\Gamma(\tfrac\nu2) - \tfrac12\ln(\pi(\nu-2)h)
        - \tfrac{\nu+1}2\ln\Big(1+\frac{e^2}{h(\nu-2)}\Big)

    Parameters
    ----------
    residuals
        Percent, shape (n,), finite.
    variance
        Percent squared, shape (n,), positive.
    nu
        Degrees of freedom of a Student t scaled to unit variance, above 2; None for the normal density.

    Returns
    -------
    float
        Sum over days. Source: Bollerslev 1987.
    """
    z2 = residuals**2 / variance
    if nu is None:
        return float(-0.5 * np.sum(np.log(2 * np.pi) + np.log(variance) + z2))
    constant = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2) - 0.5 * np.log(np.pi * (nu - 2))
    return float(np.sum(constant - 0.5 * np.log(variance) - 0.5 * (nu + 1) * np.log1p(z2 / (nu - 2))))
