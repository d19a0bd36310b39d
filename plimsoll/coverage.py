"""Coverage: tests of how often a limit was exceeded, with their power and their intervals.

What lives here: proportion of failures, first-order independence, Basel zones, exact power, date-block intervals. What
does not: what counts as a breach (``breaches``), the table (``backtest``), every further test (``backtests``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

YELLOW, RED = 0.95, 0.9999
"""Cumulative probabilities at which the Basel zones begin (Basel Committee 1996)."""

BASEL_ADD_ONS = (0.0, 0.40, 0.50, 0.65, 0.75, 0.85, 1.00)
"""Additions to the multiplier for up to 4, 5, ..., 9, and 10 or more exceptions in 250 days."""


@dataclass(frozen=True)
class TestResult:
    """A likelihood ratio and its p-value."""

    __test__ = False
    lr: float
    p_value: float


def _check(exceptions: int, observations: int, p: float) -> None:
    if not 0 <= exceptions <= observations or observations < 1:
        raise ValueError(f"{exceptions} exceptions of {observations} observations: not a count")
    if not 0 < p < 1:
        raise ValueError(f"nominal rate {p}: must lie between 0 and 1")


def kupiec(exceptions: int, observations: int, p: float) -> TestResult:
    r"""Test the proportion of failures.

    .. math:: LR = -2\left[(n-x)\ln(1-p)+x\ln p-(n-x)\ln(1-\tfrac{x}{n})-x\ln\tfrac{x}{n}\right]\sim\chi^2_1

    with 0 ln 0 = 0, so that no exception and nothing but exceptions have a value.

    Raises
    ------
    ValueError
        Where the counts or p make no sense.

    Notes
    -----
    Source: Kupiec 1995.
    """
    _check(exceptions, observations, p)
    x, n = exceptions, observations
    at_p = special.xlogy(n - x, 1 - p) + special.xlogy(x, p)
    at_rate = special.xlogy(n - x, 1 - x / n) + special.xlogy(x, x / n)
    lr = max(0.0, float(-2 * (at_p - at_rate)))
    return TestResult(lr, float(stats.chi2.sf(lr, 1)))


def binomial_p(exceptions: int, observations: int, p: float) -> float:
    """Exact two-sided p-value of the count under the binomial law."""
    _check(exceptions, observations, p)
    return float(stats.binomtest(exceptions, observations, p).pvalue)


def binomial_z(exceptions: int, observations: int, p: float) -> float:
    r"""Standardise the count, :math:`(x - np)/\sqrt{np(1-p)}`; normal only where np is large."""
    _check(exceptions, observations, p)
    return float((exceptions - observations * p) / np.sqrt(observations * p * (1 - p)))


def transitions(hits: ArrayLike) -> tuple[int, int, int, int]:
    """Count transitions between days without and with an exception: n00, n01, n10, n11."""
    flags = np.asarray(hits, dtype=np.bool_)
    before, after = flags[:-1], flags[1:]
    return (
        int(np.sum(~before & ~after)),
        int(np.sum(~before & after)),
        int(np.sum(before & ~after)),
        int(np.sum(before & after)),
    )


def independence_from_counts(n00: int, n01: int, n10: int, n11: int) -> TestResult:
    r"""Christoffersen's test of first-order independence from transition counts.

    .. math:: LR = -2\ln\frac{(1-\pi)^{n_{00}+n_{10}}\pi^{n_{01}+n_{11}}}
              {(1-\pi_{01})^{n_{00}}\pi_{01}^{n_{01}}(1-\pi_{11})^{n_{10}}\pi_{11}^{n_{11}}}\sim\chi^2_1

    Notes
    -----
    Source: Christoffersen 1998; transitions over n-1 pairs.
    """
    total = n00 + n01 + n10 + n11
    if total == 0:
        return TestResult(0.0, 1.0)
    pi = (n01 + n11) / total
    pi01 = n01 / (n00 + n01) if n00 + n01 else 0.0
    pi11 = n11 / (n10 + n11) if n10 + n11 else 0.0
    pooled = special.xlogy(n00 + n10, 1 - pi) + special.xlogy(n01 + n11, pi)
    split = (
        special.xlogy(n00, 1 - pi01)
        + special.xlogy(n01, pi01)
        + special.xlogy(n10, 1 - pi11)
        + special.xlogy(n11, pi11)
    )
    lr = max(0.0, float(-2 * (pooled - split)))
    return TestResult(lr, float(stats.chi2.sf(lr, 1)))


def christoffersen_independence(hits: ArrayLike) -> TestResult:
    """Test first-order independence of a sequence of days, True where the limit was exceeded."""
    return independence_from_counts(*transitions(hits))


def conditional_coverage(hits: ArrayLike, p: float) -> TestResult:
    """Test coverage and independence jointly: the two ratios summed, chi-squared with two degrees."""
    flags = np.asarray(hits, dtype=np.bool_)
    lr = kupiec(int(flags.sum()), len(flags), p).lr + christoffersen_independence(flags).lr
    return TestResult(lr, float(stats.chi2.sf(lr, 2)))


def tuff(first: int, p: float) -> TestResult:
    r"""Time until first failure: the first exception on day ``first``.

    .. math:: LR = -2\ln\frac{p(1-p)^{v-1}}{\tfrac1v(1-\tfrac1v)^{v-1}}\sim\chi^2_1
    """
    if first < 1:
        raise ValueError(f"first exception on day {first}: days count from 1")
    at_p = np.log(p) + (first - 1) * np.log1p(-p)
    at_rate = -np.log(first) + special.xlogy(first - 1, 1 - 1 / first)
    lr = float(-2 * (at_p - at_rate))
    return TestResult(lr, float(stats.chi2.sf(lr, 1)))


def basel_cdf(exceptions: int, observations: int, p: float = 0.01) -> float:
    """Chance of at most so many exceptions at the nominal rate."""
    _check(exceptions, observations, p)
    return float(stats.binom.cdf(exceptions, observations, p))


def basel_zone(exceptions: int, observations: int, p: float = 0.01) -> str:
    """Traffic light for any number of observations: ``green`` below 95 %, ``yellow`` below 99.99 %, else ``red``."""
    reached = basel_cdf(exceptions, observations, p)
    return "green" if reached < YELLOW else "yellow" if reached < RED else "red"


def basel_add_on(exceptions: int) -> float:
    """Give what the Basel Committee adds to the capital multiplier for exceptions of a 99 % limit in 250 days.

    Notes
    -----
    Source: Basel Committee 1996. Defined for 250 days alone; `basel_zone` serves any number.
    """
    if not 0 <= exceptions <= 250:
        raise ValueError(f"{exceptions} exceptions of 250 observations: not a count")
    return BASEL_ADD_ONS[max(0, min(exceptions, 10) - 4)]


def acceptance_region(observations: int, p: float, level: float = 0.05) -> tuple[int, int]:
    """Smallest and largest count that the proportion-of-failures test accepts."""
    accepted = [x for x in range(observations + 1) if kupiec(x, observations, p).p_value >= level]
    return accepted[0], accepted[-1]


def kupiec_power(observations: int, p: float, true_p: float, level: float = 0.05) -> float:
    """Chance that the proportion-of-failures test at ``level`` rejects ``p`` when the rate is ``true_p``; exact.

    Parameters
    ----------
    observations
        n.
    p, true_p
        Nominal and true rate; equal rates give the size of the test.
    level
        Nominal size.

    Returns
    -------
    float
        Probability.
    """
    n = observations
    x = np.arange(n + 1)
    at_p = special.xlogy(n - x, 1 - p) + special.xlogy(x, p)
    at_rate = special.xlogy(n - x, 1 - x / n) + special.xlogy(x, x / n)
    rejected = stats.chi2.sf(np.maximum(0.0, -2 * (at_p - at_rate)), 1) < level
    return float(stats.binom.pmf(x[rejected], n, min(true_p, 1.0)).sum())


def date_block_interval(
    dates: NDArray[np.datetime64],
    hits: ArrayLike,
    *,
    block_days: int,
    level: float,
    draws: int,
    seed: int,
) -> tuple[float, float]:
    """Interval of an exceedance rate by resampling blocks of consecutive dates.

    Exceptions cluster on few market-wide days, so rows are no sample of their own: all rows of a date stay together,
    and dates stay with their neighbours.

    Parameters
    ----------
    dates, hits
        One row an observation, shape (n,), any order.
    block_days
        Consecutive observed dates a block; blocks wrap around the end.
    level
        Coverage of the interval, e.g. 0.90.
    draws, seed
        Of the bootstrap.

    Returns
    -------
    tuple
        Lower and upper end. The rate of a draw is its exceptions over its observations.
    """
    distinct, back = np.unique(dates, return_inverse=True)
    counts = np.bincount(back).astype(np.float64)
    sums = np.bincount(back, weights=np.asarray(hits, dtype=np.float64))
    m = len(distinct)
    length = min(block_days, m)
    blocks = int(np.ceil(m / length))
    starts = np.random.default_rng(seed).integers(0, m, size=(draws, blocks))
    wrapped = np.concatenate([[0.0], np.cumsum(np.concatenate([sums, sums[:length]]))])
    wrapped_n = np.concatenate([[0.0], np.cumsum(np.concatenate([counts, counts[:length]]))])
    hits_drawn = (wrapped[starts + length] - wrapped[starts]).sum(axis=1)
    seen = (wrapped_n[starts + length] - wrapped_n[starts]).sum(axis=1)
    low, high = np.quantile(hits_drawn / seen, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def verdict(
    exceptions: int, observations: int, p: float, *, minimum_observations: int = 250, level: float = 0.05
) -> str:
    """Word a coverage test: ``consistent``, ``rejected: too many``, ``rejected: too few`` or ``not enough data``."""
    if observations < minimum_observations:
        return "not enough data"
    if kupiec(exceptions, observations, p).p_value >= level:
        return "consistent"
    return "rejected: too many" if exceptions / observations > p else "rejected: too few"
