"""Tails: quantiles and expected shortfall of fat-tailed laws, the generalised Pareto tail, and expected bad debt.

What lives here: closed forms and one estimator (generalised Pareto over a threshold). What does not: what is fitted to
(``overshoot``), what follows from a quantile (``liquidation``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

Floats = NDArray[np.float64]

XI_LOW, XI_HIGH = -0.3, 0.5
XI_ZERO = 1e-9
"""Shape below which the exponential branch is used; both branches agree to rounding there."""
MINIMUM_EXCEEDANCES = 50
NODES, WEIGHTS = np.polynomial.legendre.leggauss(160)


def normal_quantile(p: ArrayLike) -> Floats:
    r"""Loss quantile of the standard normal law, :math:`\Phi^{-1}(1-p)`.

    Parameters
    ----------
    p
        Tail probability in (0, 1), any shape.

    Returns
    -------
    ndarray
        Positive for p below a half.
    """
    return np.asarray(-special.ndtri(np.asarray(p, dtype=np.float64)), dtype=np.float64)


def normal_es(p: ArrayLike) -> Floats:
    r"""Return the expected shortfall of the standard normal law, :math:`\varphi(z_p)/p`."""
    tail = np.asarray(p, dtype=np.float64)
    z = special.ndtri(tail)
    return np.asarray(np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) / tail, dtype=np.float64)


def student_t_quantile(p: ArrayLike, nu: ArrayLike) -> Floats:
    r"""Loss quantile of the Student t law scaled to unit variance, :math:`-t_\nu^{-1}(p)\sqrt{(\nu-2)/\nu}`.

    Parameters
    ----------
    p
        Tail probability in (0, 1).
    nu
        Degrees of freedom above 2; broadcast against ``p``. NaN gives NaN.

    Returns
    -------
    ndarray
        Positive for p below a half.
    """
    degrees = np.asarray(nu, dtype=np.float64)
    raw = special.stdtrit(degrees, np.asarray(p, dtype=np.float64))
    return np.asarray(-raw * np.sqrt((degrees - 2) / degrees), dtype=np.float64)


def student_t_es(p: ArrayLike, nu: ArrayLike) -> Floats:
    r"""Return the expected shortfall of the unit-variance Student t law.

    .. math:: \sqrt{\tfrac{\nu-2}{\nu}}\,\frac{t_\nu(q)}{p}\,\frac{\nu+q^2}{\nu-1}, \qquad q = t_\nu^{-1}(p)
    """
    degrees = np.asarray(nu, dtype=np.float64)
    tail = np.asarray(p, dtype=np.float64)
    q = special.stdtrit(degrees, tail)
    density = stats.t.pdf(q, degrees)
    scale = np.sqrt((degrees - 2) / degrees)
    return np.asarray(scale * density / tail * (degrees + q**2) / (degrees - 1), dtype=np.float64)


@dataclass(frozen=True)
class GpdFit:
    """A generalised Pareto tail over a threshold.

    Attributes
    ----------
    threshold
        u, in the units of the sample.
    xi, beta
        Shape and scale of the excesses.
    tail_fraction
        Share of the sample beyond u.
    exceedances
        How many that is.
    method
        ``ml``, ``ml_guarded`` (shape held at a guard) or ``pwm`` (maximum likelihood failed).
    """

    threshold: float
    xi: float
    beta: float
    tail_fraction: float
    exceedances: int
    method: str


def pwm(excesses: ArrayLike) -> tuple[float, float]:
    r"""Probability-weighted moments of the generalised Pareto law.

    .. math:: \xi = 2 - \frac{a_0}{a_0 - 2a_1}, \qquad \beta = \frac{2a_0a_1}{a_0-2a_1}

    with :math:`a_0` the mean and :math:`a_1` the mean of :math:`y_{(i)}(n-i)/(n-1)`.

    Parameters
    ----------
    excesses
        Positive excesses, shape (n,), at least two.

    Returns
    -------
    tuple
        Shape and scale.

    Notes
    -----
    Source: Hosking and Wallis 1987.
    """
    y = np.sort(np.asarray(excesses, dtype=np.float64))
    n = len(y)
    a0 = float(y.mean())
    a1 = float(np.mean(y * (n - np.arange(1, n + 1)) / (n - 1)))
    return 2 - a0 / (a0 - 2 * a1), 2 * a0 * a1 / (a0 - 2 * a1)


def _negative_loglikelihood(xi: float, beta: float, y: Floats) -> float:
    if beta <= 0:
        return np.inf
    if abs(xi) < XI_ZERO:
        return float(len(y) * np.log(beta) + y.sum() / beta)
    inside = 1 + xi * y / beta
    if inside.min() <= 0:
        return np.inf
    return float(len(y) * np.log(beta) + (1 + 1 / xi) * np.log(inside).sum())


def gpd_negative_loglikelihood(xi: float, beta: float, excesses: ArrayLike) -> float:
    """Negative log-likelihood of the generalised Pareto law; infinite outside its support."""
    return _negative_loglikelihood(xi, beta, np.asarray(excesses, dtype=np.float64))


def _profile(y: Floats) -> tuple[float, float] | None:
    """Maximum likelihood by the profile in theta = xi/beta: one dimension, so no wandering along the ridge."""
    top, mean = float(y.max()), float(y.mean())

    def shape(theta: float) -> float:
        return float(np.mean(np.log1p(theta * y)))

    def objective(theta: float) -> float:
        xi = shape(theta)
        if abs(theta) < 1e-12 / mean:
            return float(np.log(mean)) + 1
        return float(np.log(xi / theta)) + xi + 1 if xi / theta > 0 else np.inf

    grid = np.concatenate([-np.geomspace(0.95, 1e-3, 12) / top, np.geomspace(1e-3, 20, 24) / mean])
    values = np.asarray([objective(theta) for theta in grid])
    best = int(np.argmin(values))
    if best in (0, len(grid) - 1):
        return None
    found = optimize.minimize_scalar(
        objective,
        bounds=(float(grid[best - 1]), float(grid[best + 1])),
        method="bounded",
        options={"xatol": 1e-12 / mean},
    )
    theta = float(found.x)
    xi = shape(theta)
    if not np.isfinite(found.fun) or abs(theta) < 1e-12 / mean:
        return None
    return xi, xi / theta


def fit_gpd(sample: ArrayLike, *, tail_fraction: float = 0.10, minimum: int = MINIMUM_EXCEEDANCES) -> GpdFit | None:
    """Fit a generalised Pareto tail to the excesses over an upper quantile.

    Parameters
    ----------
    sample
        Values, shape (n,), finite.
    tail_fraction
        Share of the sample beyond the threshold.
    minimum
        Exceedances below which no tail is fitted.

    Returns
    -------
    GpdFit or None
        None where there are fewer than ``minimum`` exceedances: not enough data. The shape is held within
        [-0.3, 0.5]; at a guard the scale is estimated again with the shape fixed.

    Raises
    ------
    ValueError
        Where the sample holds a value that is not finite.

    Notes
    -----
    Maximum likelihood by the one-dimensional profile likelihood (Grimshaw 1993), probability-weighted moments where it
    has no interior maximum. Source of the approach: McNeil and Frey 2000.
    """
    values = np.asarray(sample, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("sample holds a value that is not finite; drop it with its reason before fitting a tail")
    if int(len(values) * tail_fraction) < minimum:
        return None
    threshold = float(np.quantile(values, 1 - tail_fraction))
    y = values[values > threshold] - threshold
    if len(y) < minimum:
        return None
    found = _profile(y)
    xi, beta = found if found is not None else pwm(y)
    method = "ml" if found is not None else "pwm"
    if not XI_LOW <= xi <= XI_HIGH:
        xi = float(np.clip(xi, XI_LOW, XI_HIGH))
        beta = _scale_given_shape(xi, y)
        method = "ml_guarded"
    return GpdFit(threshold, float(xi), float(beta), len(y) / len(values), len(y), method)


def _scale_given_shape(xi: float, y: Floats) -> float:
    low = max(float(y.max()) * -xi, 0.0) * (1 + 1e-9) + 1e-12
    found = optimize.minimize_scalar(
        lambda log_beta: _negative_loglikelihood(xi, float(np.exp(log_beta)), y),
        bounds=(float(np.log(max(low, float(y.mean()) * 1e-3))), float(np.log(float(y.mean()) * 50))),
        method="bounded",
        options={"xatol": 1e-10},
    )
    return float(np.exp(found.x))


def gpd_quantile(fit: GpdFit, p: ArrayLike) -> Floats:
    r"""Quantile with tail probability p, :math:`u + \frac{\beta}{\xi}[(p/\zeta)^{-\xi} - 1]`.

    Parameters
    ----------
    fit
        Tail with exceedance share zeta.
    p
        Tail probability, at most the tail fraction; NaN beyond it, where the tail says nothing.
    """
    ratio = np.asarray(p, dtype=np.float64) / fit.tail_fraction
    growth = -np.log(ratio) if abs(fit.xi) < XI_ZERO else (ratio**-fit.xi - 1) / fit.xi
    return np.where(ratio <= 1 + 1e-12, fit.threshold + fit.beta * growth, np.nan)


def gpd_es(fit: GpdFit, p: ArrayLike) -> Floats:
    r"""Return the expected shortfall, :math:`z_p/(1-\xi) + (\beta - \xi u)/(1-\xi)`; finite for shapes below one."""
    return np.asarray((gpd_quantile(fit, p) + fit.beta - fit.xi * fit.threshold) / (1 - fit.xi), dtype=np.float64)


def gpd_survival(
    x: ArrayLike, *, threshold: ArrayLike, xi: ArrayLike, beta: ArrayLike, tail_fraction: ArrayLike
) -> Floats:
    r"""Chance to exceed x, :math:`\zeta(1+\xi(x-u)/\beta)^{-1/\xi}`; NaN below the threshold, 0 beyond a finite end."""
    value, u, shape, scale, share = np.broadcast_arrays(
        *(np.asarray(a, dtype=np.float64) for a in (x, threshold, xi, beta, tail_fraction))
    )
    z = (value - u) / scale
    tiny = np.abs(shape) < XI_ZERO
    safe = np.where(tiny, 1.0, shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        inside = np.maximum(1 + safe * z, 0)
        power = np.where(tiny, np.exp(-z), inside ** (-1 / safe))
    power = np.where((inside <= 0) & ~tiny & (shape < 0), 0.0, power)
    return np.where(z >= -1e-12, share * power, np.nan)


def expected_bad_debt(
    x0: ArrayLike, *, threshold: ArrayLike, xi: ArrayLike, beta: ArrayLike, tail_fraction: ArrayLike
) -> Floats:
    r"""Compute expected bad debt per unit of debt given a trigger, for a position that absorbs a log move of x0.

    .. math:: E[(1-e^{-(X-x_0)})^+] = \int_{x_0}^\infty e^{-(x-x_0)}\,\bar F_X(x)\,dx

    Parameters
    ----------
    x0
        Absorbed log move, at least the threshold; broadcast against the others. NaN below the threshold, where the tail
        says nothing.
    threshold, xi, beta, tail_fraction
        Generalised Pareto tail of the log move.

    Returns
    -------
    ndarray
        Fractions of the debt.

    Notes
    -----
    Beyond x0 the tail is again generalised Pareto with scale :math:`\beta_0=\beta+\xi(x_0-u)`. The integral is taken by
    Gauss-Legendre after :math:`x = x_0 + \beta_0 (s/(1-s))` on (0, 1); the relative error stays below 1e-6 over the
    guards of the shape. The exponential tail has the closed form :math:`\bar F(x_0)\beta/(1+\beta)`.
    """
    value, u, shape, scale, share = np.broadcast_arrays(
        *(np.asarray(a, dtype=np.float64) for a in (x0, threshold, xi, beta, tail_fraction))
    )
    survival = gpd_survival(value, threshold=u, xi=shape, beta=scale, tail_fraction=share)
    beyond = scale + shape * (value - u)
    result = np.empty(value.shape, dtype=np.float64)
    flat = [a.reshape(-1) for a in (survival, shape, beyond)]
    out = result.reshape(-1)
    for start in range(0, out.size, 4096):
        chunk = slice(start, start + 4096)
        out[chunk] = flat[0][chunk] * _unit_excess(flat[1][chunk], flat[2][chunk])
    return np.asarray(result if result.ndim else result[()], dtype=np.float64)


def _unit_excess(xi: Floats, beta: Floats) -> Floats:
    """E[1 - exp(-Y)] for Y generalised Pareto, row by row; 0 where the support has ended."""
    s = 0.5 * (NODES + 1)
    w = 0.5 * WEIGHTS
    y = s / (1 - s)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        tiny = np.abs(xi) < XI_ZERO
        safe = np.where(tiny, 1.0, xi)[:, None]
        inside = np.maximum(1 + safe * y[None, :], 0)
        law = np.where(tiny[:, None], np.exp(-y)[None, :], np.where(inside > 0, inside ** (-1 / safe), 0.0))
        kernel = np.exp(-beta[:, None] * y[None, :]) * law / (1 - s[None, :]) ** 2
        # Not a matrix product: that adds up in an order that depends on how many rows are asked for.
        total = beta * np.sum(kernel * w[None, :], axis=1)
    return np.where(beta > 0, total, 0.0)


def es_limit(
    budget: ArrayLike, *, threshold: ArrayLike, xi: ArrayLike, beta: ArrayLike, tail_fraction: ArrayLike
) -> Floats:
    r"""Smallest absorbed move, not below the threshold, whose expected bad debt meets a budget.

    Parameters
    ----------
    budget
        Expected bad debt per unit of debt given a trigger.
    threshold, xi, beta, tail_fraction
        As in `expected_bad_debt`.

    Returns
    -------
    ndarray
        Log moves; the threshold itself where the budget holds there already.

    Notes
    -----
    Newton steps on the logarithm, kept inside a bracket, with :math:`dE/dx_0 = E - \bar F(x_0)`.
    """
    target, u, shape, scale, share = np.broadcast_arrays(
        *(np.asarray(a, dtype=np.float64) for a in (budget, threshold, xi, beta, tail_fraction))
    )
    law = {"threshold": u, "xi": shape, "beta": scale, "tail_fraction": share}
    columns = {name: np.atleast_1d(column).reshape(-1) for name, column in law.items()}
    goal, start = np.atleast_1d(target).reshape(-1), columns["threshold"]
    x = start.astype(np.float64).copy()
    value = expected_bad_debt(x, **columns)
    low = x.copy()
    end = start - columns["beta"] / np.minimum(columns["xi"], -XI_ZERO)
    high = np.where(columns["xi"] < 0, end, np.inf)
    active = np.flatnonzero(value > goal)
    for _ in range(100):
        if not len(active):
            break
        mine = {name: column[active] for name, column in columns.items()}
        slope = value[active] - gpd_survival(x[active], **mine)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = x[active] - np.log(value[active] / goal[active]) * value[active] / slope
        middle = np.where(np.isfinite(high[active]), 0.5 * (low[active] + high[active]), 2 * x[active])
        inside = np.isfinite(step) & (step > low[active]) & (step < high[active])
        following = np.where(inside, step, middle)
        value[active] = expected_bad_debt(following, **mine)
        above = value[active] > goal[active]
        low[active] = np.where(above, following, low[active])
        high[active] = np.where(above, high[active], following)
        moved = np.abs(following - x[active]) > 1e-13 * np.maximum(1.0, np.abs(following))
        x[active] = following
        active = active[moved]
    return np.asarray(x.reshape(target.shape), dtype=np.float64)
