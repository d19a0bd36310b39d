"""What is measured on fitted windows: before a fit is trusted, and to tell how well it describes its window.

What lives here: quantities of all windows of a series in one pass. What does not: which of them refuse a fit
(``volatility.fitting``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plimsoll.volatility.batch import kernels
from plimsoll.volatility.batch.jit import compiled, settle

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LAGS = 10
_MEASURES = 6
_FLAT = 1e-14  # variance of squares over the square of their mean that is rounding alone


@dataclass(frozen=True)
class WindowMeasures:
    """Quantities of windows, shape (w,) each.

    Attributes
    ----------
    variance
        Of the returns, percent squared, divided by n.
    moving_share
        Share of returns that differ from zero.
    is_flat
        Whether all returns are equal.
    constant_loglikelihood
        Of constant variance and sample mean, under the shape of the fit; NaN where parameters are not finite.
    sigma2_next
        Variance of the day after the window by the fit, without bounds.
    ljung_box
        Statistic of squared standardised residuals over ten lags; NaN where they do not vary.
    """

    variance: Floats
    moving_share: Floats
    is_flat: NDArray[np.bool_]
    constant_loglikelihood: Floats
    sigma2_next: Floats
    ljung_box: Floats


@compiled
def _squares(y: Floats, th: Floats, before: float, x: Floats) -> float:
    """Fill squared standardised residuals; return the variance of the day after."""
    h: float = th[kernels.OMEGA] + (0.5 * (th[kernels.GAIN] + th[kernels.LOSS]) + th[kernels.BETA]) * before
    for t in range(len(y)):
        e = y[t] - th[kernels.MU]
        x[t] = e * e / h
        slope = th[kernels.GAIN] if e >= 0.0 else th[kernels.LOSS]
        h = th[kernels.OMEGA] + slope * e * e + th[kernels.BETA] * h
    return h


@compiled
def _ljung_box(x: Floats) -> float:
    """Statistic of a series over ten lags; NaN where it does not vary."""
    n = len(x)
    mean = 0.0
    for t in range(n):
        mean += x[t]
    mean /= n
    total = 0.0
    for t in range(n):
        x[t] -= mean
        total += x[t] * x[t]
    if not total > n * _FLAT * mean * mean:
        return np.nan
    out = 0.0
    for lag in range(1, min(LAGS, n - 1) + 1):
        product = 0.0
        for t in range(lag, n):
            product += x[t] * x[t - lag]
        out += (product / total) ** 2 / (n - lag)
    return n * (n + 2.0) * out


@compiled
def _measure(law: int, y: Floats, starts: Integers, ends: Integers, params: Floats, out: Floats) -> None:
    longest = 1
    for w in range(len(ends)):
        longest = max(longest, ends[w] - starts[w])
    buffers = np.empty((kernels.BUFFERS, longest))
    facts, th, grad = np.empty(kernels.FACTS), np.empty(kernels.PARAMETERS), np.empty(kernels.PARAMETERS)
    x = np.empty(longest)
    for w in range(len(ends)):
        window = y[starts[w] : ends[w]]
        n = len(window)
        kernels.window_facts(window, facts)
        moving, is_flat = 0, True
        for t in range(n):
            moving += window[t] != 0.0
            is_flat = is_flat and window[t] == window[0]
        out[w, 0], out[w, 1], out[w, 2] = facts[kernels.VARIANCE], moving / n, 1.0 if is_flat else 0.0
        out[w, 3:] = np.nan
        if is_flat or not abs(params[w, kernels.OMEGA]) < np.inf:
            continue
        th[:] = params[w]
        th[kernels.MU], th[kernels.OMEGA] = facts[kernels.MEAN], facts[kernels.VARIANCE]
        th[kernels.GAIN], th[kernels.LOSS], th[kernels.BETA] = 0.0, 0.0, 0.0
        out[w, 3], _ = kernels.evaluate(law, window, facts, th, grad, buffers)
        out[w, 4] = _squares(window, params[w], facts[kernels.BACKCAST], x)
        out[w, 5] = _ljung_box(x[:n])


def measure_windows(
    returns_percent: Floats, starts: Integers, ends: Integers, params: Floats, law: int
) -> WindowMeasures:
    """Measure fitted windows of one series.

    Parameters
    ----------
    returns_percent
        Percent log returns, shape (n,), finite.
    starts, ends
        Windows, ends exclusive, shape (w,), none empty.
    params
        mu, omega, slope after gains, slope after losses, beta, nu, lambda of each; shape (w, 7). ``nu`` and
        ``lambda`` must be finite even where the law has none.
    law
        ``kernels.NORMAL``, ``STUDENT`` or ``SKEWED``.

    Returns
    -------
    WindowMeasures
        NaN where a window's omega is not finite.

    Notes
    -----
    Sources: Ljung and Box 1978; likelihoods as in `kernels.evaluate`.
    """
    settle()
    out = np.empty((len(ends), _MEASURES))
    _measure(
        law,
        np.ascontiguousarray(returns_percent, dtype=np.float64),
        np.ascontiguousarray(starts, dtype=np.int64),
        np.ascontiguousarray(ends, dtype=np.int64),
        np.ascontiguousarray(params, dtype=np.float64),
        out,
    )
    variance, share, flat, constant, after, statistic = (np.ascontiguousarray(column) for column in out.T)
    return WindowMeasures(variance, share, flat > 0.0, constant, after, statistic)
