"""Nulls: the laws of the tests of a sequence by simulation, and from them p-values that hold their size, and power.

What lives here: ratios of many simulated sequences at once, under the null and two alternatives. What does not: the
tests themselves (``plimsoll.coverage``, ``durations``, ``quantiles``), the shortfall tests (``shortfall``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from plimsoll.backtests import durations, quantiles
from plimsoll.backtests.outcomes import Flags, Floats, check_rate

AFTER_HIT = 0.25
"""Chance of an exception on the day after one, under the alternative of clusters."""


@dataclass(frozen=True)
class Law:
    """What simulation says of one test on so many days.

    Attributes
    ----------
    null
        Statistics while the model holds, sorted, shape (draws,).
    size, power
        Chance that the simulated p-value falls to ``level`` or below, while the model holds and under the alternative.
    against
        The alternative in words.
    """

    null: Floats
    size: float
    power: float
    against: str

    def p_value(self, statistic: float) -> float:
        """Share of the null at or beyond the statistic, itself counted in, so that no p-value is 0."""
        return float(_p_values(self.null, np.array([statistic]))[0])


def _p_values(null: Floats, statistics: Floats) -> Floats:
    # statistics of counts repeat; equal values must not differ by rounding
    beyond = len(null) - np.searchsorted(null, statistics * (1 - 1e-9) - 1e-12, side="left")
    return np.asarray((1 + beyond) / (len(null) + 1), dtype=np.float64)


def independent(observations: int, p: float, draws: int, rng: np.random.Generator) -> Flags:
    """Sequences of independent days with rate p, shape (draws, n)."""
    return rng.random((draws, observations)) < p


def shuffled(observations: int, exceptions: int, draws: int, rng: np.random.Generator) -> Flags:
    """Sequences with exactly so many exceptions in random places: independence with any rate at all."""
    out = np.zeros((draws, observations), dtype=np.bool_)
    out[:, :exceptions] = True
    return np.asarray(rng.permuted(out, axis=1))


def clustered(observations: int, p: float, draws: int, rng: np.random.Generator, after_hit: float = AFTER_HIT) -> Flags:
    """Sequences with rate p in which a hit follows a hit with chance ``after_hit``, shape (draws, n)."""
    after_none = min(1.0, p * (1 - after_hit) / (1 - p))
    uniform = rng.random((draws, observations))
    out = np.empty((draws, observations), dtype=np.bool_)
    out[:, 0] = uniform[:, 0] < p
    for day in range(1, observations):
        out[:, day] = uniform[:, day] < np.where(out[:, day - 1], after_hit, after_none)
    return out


def proportion_ratios(hits: Flags, p: float) -> Floats:
    """Ratios of the proportion of failures, one a row; `coverage.kupiec` in bulk."""
    n, x = hits.shape[1], hits.sum(axis=1)
    at_p = special.xlogy(n - x, 1 - p) + special.xlogy(x, p)
    at_rate = special.xlogy(n - x, 1 - x / n) + special.xlogy(x, x / n)
    return np.asarray(np.maximum(0.0, -2 * (at_p - at_rate)), dtype=np.float64)


def independence_ratios(hits: Flags) -> Floats:
    """Ratios of first-order independence, one a row; `coverage.christoffersen_independence` in bulk."""
    before, after = hits[:, :-1], hits[:, 1:]
    n11 = (before & after).sum(axis=1)
    n10, n01 = before.sum(axis=1) - n11, after.sum(axis=1) - n11
    n00 = before.shape[1] - n11 - n10 - n01
    total = before.shape[1]

    def binomial(failures: NDArray[np.int64], trials: NDArray[np.int64] | int) -> Floats:
        rate = failures / np.maximum(trials, 1)
        return np.asarray(special.xlogy(trials - failures, 1 - rate) + special.xlogy(failures, rate))

    ratio = 2 * (binomial(n01, n00 + n01) + binomial(n11, n10 + n11) - binomial(n01 + n11, total))
    return np.asarray(np.maximum(0.0, ratio), dtype=np.float64)


def gap_sums(hits: Flags, p: float) -> Floats:
    """Sum over the times between failures, one a row, less their number: `durations.tbfi` in bulk, centred.

    The chi-squared law of the sum has as many degrees as there are exceptions; the sum less that number can be
    compared between sequences, and rows without an exception give 0.
    """
    rows, days = np.nonzero(hits)
    first = np.concatenate([[True], np.diff(rows) > 0]) if len(rows) else np.zeros(0, dtype=np.bool_)
    gaps = np.where(first, days + 1, np.diff(days, prepend=0))
    ratios = durations.gap_ratios(gaps.astype(np.int64), p) - 1
    return np.asarray(np.bincount(rows, weights=ratios, minlength=len(hits)), dtype=np.float64)


def _law(
    statistic: Callable[[Flags], Floats], null: Flags, fresh: Flags, alternative: Flags, level: float, against: str
) -> Law:
    ordered = np.sort(statistic(null))
    size = float((_p_values(ordered, statistic(fresh)) <= level).mean())
    power = float((_p_values(ordered, statistic(alternative)) <= level).mean())
    return Law(ordered, size, power, against)


DOUBLE = "twice the rate"
CLUSTERS = f"a hit follows a hit with chance {AFTER_HIT:.0%}"


@lru_cache(maxsize=256)
def sequence_laws(observations: int, p: float, *, draws: int, seed: int, level: float = 0.05) -> dict[str, Law]:
    """Simulate the laws of the tests of a sequence.

    Parameters
    ----------
    observations, p
        Days and nominal rate.
    draws, seed
        Of the simulation; the same for equal arguments, so that results repeat.
    level
        Nominal size.

    Returns
    -------
    dict
        Law by test: ``proportion``, ``conditional``, ``times`` against twice the rate; ``independence``, ``weibull``
        against clusters. ``independence`` and ``weibull`` here mix over the number of exceptions: they serve power;
        p-values come from `shuffled_laws`.
    """
    check_rate(p)
    rng = np.random.default_rng(seed)
    null, fresh = independent(observations, p, draws, rng), independent(observations, p, draws, rng)
    double = independent(observations, min(1.0, 2 * p), draws, rng)
    bunched = clustered(observations, p, draws, rng)

    def joint(hits: Flags) -> Floats:
        return proportion_ratios(hits, p) + independence_ratios(hits)

    return {
        "proportion": _law(lambda h: proportion_ratios(h, p), null, fresh, double, level, DOUBLE),
        "conditional": _law(joint, null, fresh, double, level, DOUBLE),
        "times": _law(lambda h: gap_sums(h, p), null, fresh, double, level, DOUBLE),
        "independence": _law(independence_ratios, null, fresh, bunched, level, CLUSTERS),
        "weibull": _law(durations.weibull_ratios, null, fresh, bunched, level, CLUSTERS),
    }


@lru_cache(maxsize=256)
def shuffled_laws(observations: int, exceptions: int, *, draws: int, seed: int) -> dict[str, Floats]:
    """Statistics of independence and of durations given the number of exceptions, sorted; exact for any rate."""
    sequences = shuffled(observations, exceptions, draws, np.random.default_rng(seed))
    return {
        "independence": np.sort(independence_ratios(sequences)),
        "weibull": np.sort(durations.weibull_ratios(sequences)),
    }


def shuffled_p_value(null: Floats, statistic: float) -> float:
    """P-value of a statistic against `shuffled_laws`."""
    return float(_p_values(null, np.array([statistic]))[0])


@lru_cache(maxsize=256)
def first_failure_law(p: float, first: int) -> float:
    """Chance that the ratio of the time until first failure is at least that of ``first``; exact, by summation."""
    check_rate(p)
    far = int(np.ceil(40 / p)) + first
    days = np.arange(1, far + 1, dtype=np.int64)
    ratios = durations.gap_ratios(days, p)
    chance = p * np.exp((days - 1) * np.log1p(-p))
    return float(min(1.0, chance[ratios >= ratios[first - 1] * (1 - 1e-9) - 1e-12].sum()))


@lru_cache(maxsize=256)
def first_failure_power(p: float, *, level: float = 0.05) -> tuple[float, float]:
    """Size and power against twice the rate of the exact test of the time until first failure, by summation."""
    check_rate(p)
    days = np.arange(1, int(np.ceil(40 / p)) + 1, dtype=np.int64)
    ratios = durations.gap_ratios(days, p)
    chance = p * np.exp((days - 1) * np.log1p(-p))
    order = np.argsort(-ratios, kind="stable")
    p_values = np.empty(len(days))
    p_values[order] = np.cumsum(chance[order])
    rejected = p_values <= level
    twice = min(1.0, 2 * p)
    double = twice * np.exp(special.xlog1py(days - 1, -twice))
    return float(chance[rejected].sum()), float(double[rejected].sum())


def dynamic_quantile_law(quantile: Floats, p: float, *, draws: int, seed: int, level: float = 0.05) -> Law:
    """Simulate the law of the dynamic quantile test on the forecasts themselves, against twice the rate."""
    rng = np.random.default_rng(seed)
    n = len(quantile)

    def statistic(hits: Flags) -> Floats:
        return quantiles.statistics(hits, quantile, p)[0]

    null, fresh = independent(n, p, draws, rng), independent(n, p, draws, rng)
    return _law(statistic, null, fresh, independent(n, min(1.0, 2 * p), draws, rng), level, DOUBLE)
