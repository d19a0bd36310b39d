"""Durations: do exceptions come too soon, too late or in clusters.

What lives here: time until the first failure and between failures against the geometric law, and the Weibull test of
memory. What does not: first-order independence (``plimsoll.coverage``), laws by simulation (``nulls``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from plimsoll import coverage
from plimsoll.backtests.outcomes import Flags, Floats, Outcome, as_flags, check_rate, not_applicable

TUFF = "time until first failure"
TBFI = "times between failures"
WEIBULL = "Weibull durations"
LEAST_EXCEPTIONS = 3
"""Two complete durations: a shape has no estimate from one."""
BISECTIONS = 60
LOG_SHAPE = 6.0
"""Bound of the search for ln b; e^6 = 403 says that durations are all but equal."""


def gaps(hits: ArrayLike) -> NDArray[np.int64]:
    """Day of the first exception, counted from 1, then the days from each exception to the next; shape (x,)."""
    return np.diff(np.flatnonzero(as_flags(hits)) + 1, prepend=0).astype(np.int64)


def tuff(hits: ArrayLike, p: float) -> Outcome:
    """Test the day of the first exception; see `coverage.tuff` for the ratio, chi-squared with one degree.

    Notes
    -----
    Source: Kupiec 1995. Not applicable without an exception.
    """
    check_rate(p)
    d = gaps(hits)
    if len(d) == 0:
        return not_applicable(TUFF, "no exception")
    ratio = coverage.tuff(int(d[0]), p)
    return Outcome(TUFF, max(0.0, ratio.lr), ratio.p_value, degrees=1)


def gap_ratios(d: NDArray[np.int64], p: float) -> Floats:
    r"""Likelihood ratio of each duration against the geometric law.

    .. math:: -2\ln\left(p(1-p)^{d-1}\right) + 2\ln\left(\tfrac1d(1-\tfrac1d)^{d-1}\right)
    """
    days = np.asarray(d, dtype=np.float64)
    at_p = np.log(p) + (days - 1) * np.log1p(-p)
    at_rate = -np.log(days) + special.xlogy(days - 1, 1 - 1 / days)
    return np.asarray(np.maximum(0.0, -2 * (at_p - at_rate)), dtype=np.float64)


def tbfi(hits: ArrayLike, p: float) -> Outcome:
    r"""Test all times between failures: the ratios of the durations summed, :math:`\sim\chi^2_x`.

    Notes
    -----
    Source: Haas 2001. The time until the first exception is the first duration. Under a geometric law with
    a small rate each ratio has mean 1.154 (twice Euler's constant), not 1, so that the chi-squared p-value rejects too
    often with many exceptions; ``nulls`` has the law of the statistic itself.
    """
    check_rate(p)
    d = gaps(hits)
    if len(d) == 0:
        return not_applicable(TBFI, "no exception")
    lr = float(gap_ratios(d, p).sum())
    return Outcome(TBFI, lr, float(stats.chi2.sf(lr, len(d))), degrees=len(d))


@dataclass(frozen=True)
class WeibullFit:
    """Shapes and likelihoods of the duration test, one an entry of the sample; shape (m,) each.

    Attributes
    ----------
    shape
        b; below 1 exceptions cluster.
    free, restricted
        Log-likelihoods with b free and with b = 1.
    is_bounded
        False where the likelihood has no maximum: all complete durations are equal and none is longer.
    """

    shape: Floats
    free: Floats
    restricted: Floats
    is_bounded: Flags

    @property
    def ratio(self) -> Floats:
        """Likelihood ratio; 0 where there is no maximum."""
        return np.where(self.is_bounded, np.maximum(0.0, 2 * (self.free - self.restricted)), 0.0)


def fit_weibull(hits: Flags) -> WeibullFit:
    r"""Fit Weibull durations to sequences that have the same number of exceptions.

    .. math:: f(D) = a^b b D^{b-1} e^{-(aD)^b}, \qquad a^b = \frac{N - C_1 - C_N}{\sum D^b}

    The time before the first exception and after the last are censored and enter by their survival. The score in b is
    strictly decreasing, so that bisection finds the one maximum.

    Parameters
    ----------
    hits
        Shape (m, n): m sequences with x exceptions each, x at least 3.

    Raises
    ------
    ValueError
        Where rows differ in the number of exceptions or have fewer than three.
    """
    m, n = hits.shape
    counts = hits.sum(axis=1)
    x = int(counts[0])
    if x < LEAST_EXCEPTIONS or (counts != x).any():
        raise ValueError(f"{counts.min()} to {counts.max()} exceptions a sequence: need one count of at least 3")
    where = np.nonzero(hits)[1].reshape(m, x)
    complete = np.diff(where, axis=1)
    before, after = where[:, :1] + 1, n - 1 - where[:, -1:]
    # a sequence that opens or ends with an exception has no censored duration there
    weight = np.concatenate([np.ones((m, x - 1)), where[:, :1] > 0, after > 0], axis=1)
    log_d = np.log(np.concatenate([complete, before, np.maximum(after, 1)], axis=1))
    log_complete = log_d[:, : x - 1]
    k, sum_log = x - 1, log_complete.sum(axis=1)
    log_weight = np.where(weight > 0, 0.0, -np.inf)
    longest = np.where(weight > 0, log_d, -np.inf).max(axis=1)

    def score(b: Floats) -> Floats:
        powers = special.softmax(b[:, None] * log_d + log_weight, axis=1)
        return np.asarray(k / b + sum_log - k * (powers * log_d).sum(axis=1), dtype=np.float64)

    def loglikelihood(b: Floats) -> Floats:
        log_sum = special.logsumexp(b[:, None] * log_d + log_weight, axis=1)
        return np.asarray(k * (np.log(k) - log_sum) + k * np.log(b) + (b - 1) * sum_log - k, dtype=np.float64)

    low, high = np.full(m, -LOG_SHAPE), np.full(m, LOG_SHAPE)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        rising = score(np.exp(middle)) > 0
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    b = np.exp((low + high) / 2)
    is_bounded = log_complete.min(axis=1) < longest
    return WeibullFit(b, loglikelihood(b), loglikelihood(np.ones(m)), is_bounded)


def weibull(hits: ArrayLike) -> Outcome:
    """Test that durations have no memory, b = 1; the likelihood ratio is chi-squared with one degree.

    Notes
    -----
    Source: Christoffersen and Pelletier 2004. Not applicable with fewer than three exceptions, or where all complete
    durations are equal and none is longer: the likelihood then grows without bound.
    """
    flags = as_flags(hits)
    if flags.sum() < LEAST_EXCEPTIONS:
        return not_applicable(WEIBULL, f"{int(flags.sum())} exceptions: fewer than {LEAST_EXCEPTIONS}")
    fit = fit_weibull(flags[None, :])
    if not fit.is_bounded[0]:
        return not_applicable(WEIBULL, "complete durations are all equal: no maximum")
    lr = float(fit.ratio[0])
    return Outcome(WEIBULL, lr, float(stats.chi2.sf(lr, 1)), degrees=1)


def weibull_ratios(hits: Flags) -> Floats:
    """Ratios of many sequences, shape (m, n) to (m,); 0 where the test has no value, so that it cannot reject."""
    counts = hits.sum(axis=1)
    out = np.zeros(len(hits))
    for x in np.unique(counts[counts >= LEAST_EXCEPTIONS]):
        rows = counts == x
        out[rows] = fit_weibull(hits[rows]).ratio
    return out
