r"""Log-likelihood of one window and its gradient, fused.

What lives here: a forward pass over variances and densities and a backward pass that collects the gradient.
What does not: where the optimum lies (``optimiser``), which windows are fitted (``chains``).

The recursion runs in the slopes after gains and after losses,

.. math:: \sigma^2_t = \omega + (a\,1_{e_{t-1}\ge 0} + c\,1_{e_{t-1}<0})\,e^2_{t-1} + \beta\sigma^2_{t-1},

so that alpha is a and gamma is c - a; without asymmetry a equals c. With the multiplier
:math:`\lambda_t = \partial\ell_t/\partial\sigma^2_t + \beta\lambda_{t+1}` the gradient is a handful of sums:
one recursion forward, one backward, and everything between them vectorises.
"""

from math import exp, lgamma, log, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from plimsoll.volatility.batch.jit import compiled, compiled_loosely

Floats = NDArray[np.float64]

NORMAL, STUDENT, SKEWED = 0, 1, 2
PARAMETERS = 7  # mu, omega, slope after gains, slope after losses, beta, nu, lambda
MU, OMEGA, GAIN, LOSS, BETA, NU, SKEW = 0, 1, 2, 3, 4, 5, 6
BUFFERS = 7
# Of a window: mean, variance, backcast, largest lower and smallest upper bound of variances, largest square.
FACTS = 6
MEAN, VARIANCE, BACKCAST, LOW, HIGH, LARGEST = 0, 1, 2, 3, 4, 5
_DECAY = 0.94
_DECAY_LENGTH = 75


@compiled
def window_facts(y: Floats, facts: Floats) -> None:
    """Describe a window: mean, variance, backcast and the range of the variance bounds.

    Parameters
    ----------
    y
        Percent returns, shape (n,).
    facts
        Filled, shape (FACTS,).

    Notes
    -----
    Bounds as in ``arch``: an exponentially weighted variance over and times a million, kept within limits of
    the window. They only come into play when a trial variance leaves the range given here.
    """
    n = len(y)
    total = 0.0
    for t in range(n):
        total += y[t]
    mean = total / n
    squares = 0.0
    largest = 0.0
    for t in range(n):
        square = (y[t] - mean) * (y[t] - mean)
        squares += square
        largest = max(largest, square)
    weight, weights, first = 1.0, 0.0, 0.0
    for t in range(min(_DECAY_LENGTH, n)):
        first += weight * (y[t] - mean) ** 2
        weights += weight
        weight *= _DECAY
    first /= weights
    least, most, smooth = first, first, first
    for t in range(1, n):
        smooth = _DECAY * smooth + (1.0 - _DECAY) * (y[t - 1] - mean) ** 2
        least = min(least, smooth)
        most = max(most, smooth)
    facts[MEAN] = mean
    facts[VARIANCE] = squares / n
    facts[BACKCAST] = first
    facts[LOW] = max(most / 1e6, squares / n / 1e8)
    facts[HIGH] = min(max(least * 1e6, 1.0 + largest), 1e7 * (1.0 + largest))
    facts[LARGEST] = largest


@compiled
def digamma(x: float) -> float:
    """Give the derivative of the log of the gamma function, x positive."""
    shift = 0.0
    while x < 8.0:
        shift -= 1.0 / x
        x += 1.0
    f = 1.0 / (x * x)
    tail = f * (1 / 12.0 - f * (1 / 120.0 - f * (1 / 252.0 - f * (1 / 240.0 - f * (1 / 132.0)))))
    return shift + log(x) - 0.5 / x - tail


@compiled_loosely
def _drive(y: Floats, th: Floats, e: Floats, d: Floats) -> None:
    """Fill residuals and what each adds to the variance of the next day."""
    mu, omega, gain, loss = th[0], th[1], th[2], th[3]
    for t in range(len(y)):
        x = y[t] - mu
        e[t] = x
        d[t] = omega + (loss if x < 0.0 else gain) * x * x


@compiled_loosely
def _scan(d: Floats, beta: float, first: float, h: Floats) -> float:
    """Fill variances and return the one after the last day; four days a step keep the chain short."""
    n = len(d)
    b2 = beta * beta
    b4 = b2 * b2
    x = first
    whole = n - n % 4
    for t in range(0, whole, 4):
        d0, d1, d2, d3 = d[t], d[t + 1], d[t + 2], d[t + 3]
        u1 = d1 + beta * d0
        u3 = (d3 + beta * d2) + b2 * u1
        x2 = u1 + b2 * x
        h[t] = x
        h[t + 1] = d0 + beta * x
        h[t + 2] = x2
        h[t + 3] = d2 + beta * x2
        x = u3 + b4 * x
    for t in range(whole, n):
        h[t] = x
        x = d[t] + beta * x
    return x


@compiled_loosely
def _scan_back(g: Floats, beta: float) -> None:
    """Turn derivatives by each day's variance into multipliers, in place."""
    n = len(g)
    b2 = beta * beta
    b4 = b2 * b2
    x = 0.0
    rest = n % 4
    for k in range(n // 4):
        t = n - 4 - 4 * k
        g0, g1, g2, g3 = g[t], g[t + 1], g[t + 2], g[t + 3]
        u2 = g2 + beta * g3
        u0 = (g0 + beta * g1) + b2 * u2
        x2 = u2 + b2 * x
        g[t + 3] = g3 + beta * x
        g[t + 2] = x2
        g[t + 1] = g1 + beta * x2
        x = u0 + b4 * x
        g[t] = x
    for k in range(rest):
        t = rest - 1 - k
        x = g[t] + beta * x
        g[t] = x


@compiled
def _bounded(y: Floats, d: Floats, beta: float, first: float, h: Floats, facts: Floats, slope: Floats) -> float:
    """Fill variances kept within their bounds, and the slope of each in the unbounded value."""
    n = len(y)
    mean, largest = facts[MEAN], facts[LARGEST]
    smooth = facts[BACKCAST]
    x = first
    for t in range(n):
        low = max(smooth / 1e6, facts[VARIANCE] / 1e8)
        high = min(max(smooth * 1e6, 1.0 + largest), 1e7 * (1.0 + largest))
        slope[t] = 1.0
        if x < low:
            x = low
            slope[t] = 0.0
        elif x > high:
            slope[t] = 1.0 / x
            x = high + log(x / high)
        h[t] = x
        smooth = _DECAY * smooth + (1.0 - _DECAY) * (y[t] - mean) ** 2
        x = d[t] + beta * x
    return x


@compiled_loosely
def _outside(h: Floats, low: float, high: float) -> float:
    """Count variances that a bound might change."""
    count = 0.0
    for t in range(len(h)):
        count += 1.0 if h[t] < low or h[t] > high else 0.0
    return count


@compiled_loosely
def _log_sum(x: Floats, scratch: Floats) -> float:
    """Sum of logs of positive numbers, one log for sixteen of them."""
    n = len(x)
    m = n // 16
    x0, x1, x2, x3 = x[:m], x[m : 2 * m], x[2 * m : 3 * m], x[3 * m : 4 * m]
    x4, x5, x6, x7 = x[4 * m : 5 * m], x[5 * m : 6 * m], x[6 * m : 7 * m], x[7 * m : 8 * m]
    y0, y1, y2, y3 = x[8 * m : 9 * m], x[9 * m : 10 * m], x[10 * m : 11 * m], x[11 * m : 12 * m]
    y4, y5, y6, y7 = x[12 * m : 13 * m], x[13 * m : 14 * m], x[14 * m : 15 * m], x[15 * m : 16 * m]
    for i in range(m):
        left = (x0[i] * x1[i]) * (x2[i] * x3[i]) * ((x4[i] * x5[i]) * (x6[i] * x7[i]))
        right = (y0[i] * y1[i]) * (y2[i] * y3[i]) * ((y4[i] * y5[i]) * (y6[i] * y7[i]))
        scratch[i] = left * right
    total = 0.0
    for i in range(m):
        total += log(scratch[i])
    for t in range(16 * m, n):
        total += log(x[t])
    return total


@compiled_loosely
def _normal(e: Floats, h: Floats, g: Floats, r: Floats) -> float:
    """Fill derivatives of the log density by variance and residual; return the sum of squares over variances."""
    total = 0.0
    for t in range(len(e)):
        inverse = 1.0 / h[t]
        z2 = e[t] * e[t] * inverse
        total += z2
        g[t] = 0.5 * inverse * (z2 - 1.0)
        r[t] = -e[t] * inverse
    return total


@compiled_loosely
def _student(e: Floats, h: Floats, c2: float, weight: float, g: Floats, r: Floats, q: Floats) -> float:
    """Fill derivatives and the kernels q; return the sum of squares over variances over q."""
    total = 0.0
    for t in range(len(e)):
        e2 = e[t] * e[t]
        near = h[t] + e2 * c2
        both = 1.0 / (h[t] * near)
        inverse = both * near
        share = both * h[t]
        q[t] = near * inverse
        z2q = e2 * share
        total += z2q
        g[t] = 0.5 * inverse * (weight * z2q - 1.0)
        r[t] = -weight * e[t] * share
    return total


@compiled_loosely
def _skewed(
    e: Floats,
    h: Floats,
    shape: tuple[float, float, float, float, float],
    g: Floats,
    r: Floats,
    q: Floats,
    sums: Floats,
) -> None:
    """Fill derivatives and the kernels q; fill the four sums that the shape parameters need."""
    a, b, c2, weight, lam = shape
    edge = -a / b
    below, above = 1.0 / (1.0 - lam), 1.0 / (1.0 + lam)
    s2, s3, s4, s5 = 0.0, 0.0, 0.0, 0.0
    for t in range(len(e)):
        inverse = 1.0 / h[t]
        root = sqrt(inverse)
        z = e[t] * root
        left = z < edge
        k = below if left else above
        v = b * z + a
        u = v * k
        near = 1.0 + u * u * c2
        share = 1.0 / near
        q[t] = near
        du = -weight * u * share
        dk = du * k
        dz = dk * b
        g[t] = -0.5 * inverse * (1.0 + dz * z)
        r[t] = dz * root
        s2 += u * u * share
        s3 += dk * z
        s4 += dk
        s5 += (-1.0 if left else 1.0) * dk * u
    sums[0], sums[1], sums[2], sums[3] = s2, s3, s4, s5


@compiled_loosely
def _collect(e: Floats, h: Floats, m: Floats, r: Floats, th: Floats, before: float, grad: Floats) -> None:
    """Sum multipliers into the gradient by mu, omega, slopes and beta."""
    n = len(e)
    gain, loss = th[2], th[3]
    by_mu, by_omega, by_loss, by_both, by_beta = 0.0, 0.0, 0.0, 0.0, 0.0
    shock, kept, later, direct = e[: n - 1], h[: n - 1], m[1:n], r[: n - 1]
    for t in range(n - 1):
        x = shock[t]
        me = later[t] * x
        by_mu += direct[t] + 2.0 * me * (loss if x < 0.0 else gain)
        by_omega += later[t]
        by_loss += me * x if x < 0.0 else 0.0
        by_both += me * x
        by_beta += later[t] * kept[t]
    grad[0] = -by_mu - r[n - 1]
    grad[1] = by_omega + m[0]
    grad[2] = by_both - by_loss + 0.5 * before * m[0]
    grad[3] = by_loss + 0.5 * before * m[0]
    grad[4] = by_beta + before * m[0]


@compiled
def evaluate(law: int, y: Floats, facts: Floats, th: Floats, grad: Floats, buffers: Floats) -> tuple[float, float]:
    """Log-likelihood of one window, its gradient and the variance of the next day.

    Parameters
    ----------
    law
        NORMAL, STUDENT or SKEWED.
    y
        Percent returns, shape (n,).
    facts
        Of the window, as `window_facts` gives them.
    th
        mu, omega, slope after gains, slope after losses, beta, nu, lambda.
    grad
        Filled: derivatives by the seven entries of ``th``; those that the law does not have are 0.
    buffers
        Scratch, shape (BUFFERS, n or more).

    Returns
    -------
    tuple
        Log-likelihood, and variance of the day after the window.

    Notes
    -----
    Sources: Glosten, Jagannathan and Runkle 1993; Bollerslev 1987; Hansen 1994.
    """
    n = len(y)
    e, d, h = buffers[0, :n], buffers[1, :n], buffers[2, :n]
    g, r, q, scratch = buffers[3, :n], buffers[4, :n], buffers[5, :n], buffers[6, :n]
    beta, nu, lam = th[4], th[5], th[6]
    before = facts[BACKCAST]
    _drive(y, th, e, d)
    first = th[1] + (0.5 * (th[2] + th[3]) + beta) * before
    last = _scan(d, beta, first, h)
    clipped = _outside(h, facts[LOW], facts[HIGH]) > 0.0
    if clipped:
        last = _bounded(y, d, beta, first, h, facts, scratch)
    grad[5] = 0.0
    grad[6] = 0.0
    value = 0.0
    if law == NORMAL:
        value = -0.5 * _normal(e, h, g, r) - 0.5 * n * log(2.0 * pi)
    else:
        c2 = 1.0 / (nu - 2.0)
        half = 0.5 * (nu + 1.0)
        constant = lgamma(half) - lgamma(0.5 * nu) - 0.5 * log(pi * (nu - 2.0))
        slope = 0.5 * (digamma(half) - digamma(0.5 * nu) - c2)
        if law == STUDENT:
            total = _student(e, h, c2, 2.0 * half * c2, g, r, q)
            logs = _log_sum(q, d)
            value = n * constant - half * logs
            grad[5] = n * slope - 0.5 * logs + half * c2 * c2 * total
        else:
            scale = exp(constant)
            a = 4.0 * lam * scale * (nu - 2.0) / (nu - 1.0)
            b = sqrt(1.0 + 3.0 * lam * lam - a * a)
            sums = np.zeros(4)
            _skewed(e, h, (a, b, c2, 2.0 * half * c2, lam), g, r, q, sums)
            logs = _log_sum(q, d)
            value = n * (constant + log(b)) - half * logs
            a_nu = a * (slope + c2 - 1.0 / (nu - 1.0))
            b_nu = -a * a_nu / b
            a_lam = 4.0 * scale * (nu - 2.0) / (nu - 1.0)
            b_lam = (3.0 * lam - a * a_lam) / b
            grad[5] = n * (slope + b_nu / b) - 0.5 * logs + half * c2 * c2 * sums[0] + b_nu * sums[1] + a_nu * sums[2]
            grad[6] = n * b_lam / b + b_lam * sums[1] + a_lam * sums[2] - sums[3]
    value -= 0.5 * _log_sum(h, d)
    if clipped:
        x = 0.0
        for k in range(n):
            t = n - 1 - k
            x = scratch[t] * (g[t] + beta * x)
            g[t] = x
    else:
        _scan_back(g, beta)
    _collect(e, h, g, r, th, before, grad)
    return value, last
