"""Battery: every test of one market's limit, with size and power beside each verdict.

What lives here: which p-value each test is judged by, its power on so many days, the words of the verdict. What does
not: the tests (their own modules), several markets (``multiplicity``, ``clusters``), daily monitoring (``betting``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from plimsoll import coverage
from plimsoll.backtests import durations, nulls, quantiles, shortfall
from plimsoll.backtests.outcomes import Flags, Floats, Outcome, as_flags, as_series, check_rate, not_applicable
from plimsoll.backtests.shortfall import TailLaw

MINIMUM_OBSERVATIONS = 250
STRESS = 1.25
"""True over forecast volatility under the alternative of the shortfall tests."""
WIDER = f"volatility {STRESS - 1:.0%} above the forecast"


@dataclass(frozen=True)
class Verdict:
    """One test of one limit.

    Attributes
    ----------
    test
        Name.
    observations, exceptions
        n and x.
    statistic, p_value, reference_p_value
        Value, the p-value that is judged, and that of the textbook law (chi-squared, normal) where there is one. None
        where the test has no value; never NaN.
    size, power
        Chance of rejecting at the level while the model holds, and under ``against``; None where not known.
    against
        The alternative that the power speaks of.
    verdict
        ``consistent``, ``rejected``, ``not enough data`` (fewer observations than asked for: never "passed") or
        ``not applicable``.
    note
        Why not applicable.
    """

    test: str
    observations: int
    exceptions: int
    statistic: float | None
    p_value: float | None
    reference_p_value: float | None
    size: float | None
    power: float | None
    against: str
    verdict: str
    note: str = ""


@dataclass(frozen=True)
class _Judge:
    """What all verdicts of one limit share."""

    observations: int
    exceptions: int
    level: float
    minimum: int

    def say(
        self, outcome: Outcome, p_value: float | None, size: float | None, power: float | None, against: str
    ) -> Verdict:
        judged = p_value if outcome.is_applicable else None
        if judged is None:
            word = "not applicable"
        elif self.observations < self.minimum:
            word = "not enough data"
        else:
            word = "rejected" if judged <= self.level else "consistent"
        return Verdict(
            outcome.test,
            self.observations,
            self.exceptions,
            outcome.statistic,
            judged,
            outcome.p_value,
            size,
            power,
            against,
            word,
            outcome.note,
        )


def sequence_battery(
    hits: ArrayLike,
    p: float,
    *,
    quantile_return: ArrayLike | None = None,
    seed: int,
    draws: int = 999,
    level: float = 0.05,
    minimum_observations: int = MINIMUM_OBSERVATIONS,
) -> tuple[Verdict, ...]:
    """Test a sequence of days: how many exceptions, when, and whether they could have been foreseen.

    Parameters
    ----------
    hits, p
        Days in order, true where the limit was exceeded, and the nominal rate.
    quantile_return
        Forecast of each day, for the dynamic quantile test; None leaves it out.
    seed, draws
        Of the simulated laws.
    level
        Nominal size of each test.
    minimum_observations
        Days below which no verdict is given.

    Returns
    -------
    tuple of Verdict
        Proportion, independence, conditional coverage, time until first failure, times between failures, Weibull
        durations, dynamic quantile.

    Notes
    -----
    The proportion is judged by its chi-squared p-value, as published tables are; its size is exact. The others are
    judged by simulated p-values, whose size never exceeds the level (Dufour 2006): independence and durations given the
    number of exceptions, the rest under independent days of rate p. The time until first failure is exact by summation.
    """
    check_rate(p)
    flags = as_flags(hits)
    n, x = len(flags), int(flags.sum())
    judge = _Judge(n, x, level, minimum_observations)
    laws = nulls.sequence_laws(n, p, draws=draws, seed=seed, level=level)
    ratio = coverage.kupiec(x, n, p)
    verdicts = [
        judge.say(
            Outcome("proportion of failures", ratio.lr, ratio.p_value, degrees=1),
            ratio.p_value,
            coverage.kupiec_power(n, p, p, level),
            coverage.kupiec_power(n, p, 2 * p, level),
            nulls.DOUBLE,
        )
    ]
    given = nulls.shuffled_laws(n, x, draws=draws, seed=seed)
    split, law = _independence(flags), laws["independence"]
    verdicts.append(judge.say(split, _shuffled(given["independence"], split), law.size, law.power, law.against))
    joint, law = _joint(flags, p, split), laws["conditional"]
    verdicts.append(judge.say(joint, _simulated(law, joint), law.size, law.power, law.against))
    first = durations.tuff(flags, p)
    exact = nulls.first_failure_law(p, int(durations.gaps(flags)[0])) if first.is_applicable else None
    size, power = nulls.first_failure_power(p, level=level)
    verdicts.append(judge.say(first, exact, size, power, nulls.DOUBLE))
    times, law = durations.tbfi(flags, p), laws["times"]
    centred = law.p_value(times.statistic - x) if times.statistic is not None else None
    verdicts.append(judge.say(times, centred, law.size, law.power, law.against))
    memory, law = durations.weibull(flags), laws["weibull"]
    verdicts.append(judge.say(memory, _shuffled(given["weibull"], memory), law.size, law.power, law.against))
    if quantile_return is not None:
        forecast = as_series("quantile_return", quantile_return, n)
        dynamic = quantiles.dynamic_quantile(flags, forecast, p)
        if dynamic.is_applicable:
            law = nulls.dynamic_quantile_law(forecast, p, draws=draws, seed=seed, level=level)
            verdicts.append(judge.say(dynamic, _simulated(law, dynamic), law.size, law.power, law.against))
        else:
            verdicts.append(judge.say(dynamic, None, None, None, nulls.DOUBLE))
    return tuple(verdicts)


def _independence(flags: Flags) -> Outcome:
    name = "independence"
    x = int(flags.sum())
    if len(flags) < 2 or x < 2 or x == len(flags):
        return not_applicable(name, f"{x} exceptions of {len(flags)}: nothing can follow anything")
    result = coverage.christoffersen_independence(flags)
    return Outcome(name, result.lr, result.p_value, degrees=1)


def _joint(flags: Flags, p: float, split: Outcome) -> Outcome:
    name = "conditional coverage"
    if not split.is_applicable:
        return not_applicable(name, split.note)
    result = coverage.conditional_coverage(flags, p)
    return Outcome(name, result.lr, result.p_value, degrees=2)


def _shuffled(null: Floats, outcome: Outcome) -> float | None:
    return None if outcome.statistic is None else nulls.shuffled_p_value(null, outcome.statistic)


def _simulated(law: nulls.Law, outcome: Outcome) -> float | None:
    return None if outcome.statistic is None else law.p_value(outcome.statistic)


def shortfall_battery(
    returns: ArrayLike,
    quantile_return: ArrayLike,
    es_return: ArrayLike,
    law: TailLaw,
    *,
    nu: ArrayLike | None = None,
    seed: int,
    draws: int = 1999,
    level: float = 0.05,
    minimum_observations: int = MINIMUM_OBSERVATIONS,
) -> tuple[Verdict, ...]:
    """Test the expected shortfall: Z1, Z2, standardised excesses and the intercept, all against larger losses.

    Parameters
    ----------
    returns, quantile_return, es_return
        Signed returns, shape (n,), less the model's mean.
    law
        The model's law beyond the quantile; also that of the power.
    nu
        Degrees of freedom of each day where they differ, NaN for the normal law: Z1 and Z2 are then judged by these.

    Returns
    -------
    tuple of Verdict
        Z1 and Z2 are judged by the law simulated from the model; the excesses, in units of the shortfall, and the
        intercept by their bootstrap, which needs no model.

    Notes
    -----
    Power is that of the test with a simulated critical value, when volatility is a quarter higher than forecast.
    The critical value itself is simulated: with few draws its noise moves size by a point and power by five.
    """
    r = as_series("returns", returns)
    v, e = as_series("quantile_return", quantile_return, len(r)), as_series("es_return", es_return, len(r))
    judge = _Judge(len(r), int((r < v).sum()), level, minimum_observations)
    first, second = shortfall.acerbi_szekely(r, v, e, law, nu=nu, draws=draws, seed=seed)
    excess, intercept = _without_a_law(r, v, e, law.p, draws, seed)
    chances = shortfall_power(law, len(r), draws=draws, seed=seed, level=level)
    return tuple(
        judge.say(outcome, outcome.p_value, *chances[outcome.test], WIDER)
        for outcome in (first, second, excess, intercept)
    )


def excess_battery(
    returns: ArrayLike,
    quantile_return: ArrayLike,
    es_return: ArrayLike,
    p: float,
    *,
    seed: int,
    draws: int = 1999,
    level: float = 0.05,
    minimum_observations: int = MINIMUM_OBSERVATIONS,
) -> tuple[Verdict, ...]:
    """Test an expected shortfall whose model has no closed law: excesses and intercept, by their bootstrap.

    Parameters
    ----------
    returns, quantile_return, es_return
        Signed returns, shape (n,).
    p
        Probability beyond the quantile.

    Returns
    -------
    tuple of Verdict
        Size and power are None: without a law there is nothing to simulate them from.
    """
    r = as_series("returns", returns)
    v, e = as_series("quantile_return", quantile_return, len(r)), as_series("es_return", es_return, len(r))
    judge = _Judge(len(r), int((r < v).sum()), level, minimum_observations)
    return tuple(
        judge.say(outcome, outcome.p_value, None, None, "") for outcome in _without_a_law(r, v, e, p, draws, seed)
    )


def _without_a_law(r: Floats, v: Floats, e: Floats, p: float, draws: int, seed: int) -> tuple[Outcome, Outcome]:
    return (
        shortfall.mcneil_frey(r, v, e, scale=-e, draws=draws, seed=seed),
        shortfall.intercept_regression(r, e, p, draws=draws, seed=seed),
    )


@lru_cache(maxsize=256)
def shortfall_power(
    law: TailLaw, observations: int, *, draws: int, seed: int, level: float = 0.05
) -> dict[str, tuple[float, float]]:
    """Size and power of the shortfall tests by simulation from the model; by test."""
    null, fresh, wide = (
        shortfall.simulate(law, observations, draws=draws, seed=seed + i, scale=scale)
        for i, scale in enumerate((1.0, 1.0, STRESS))
    )
    t_null, t_fresh, t_wide = (
        _studentised(law, observations, draws, np.random.default_rng((seed, i)), scale)
        for i, scale in enumerate((1.0, 1.0, STRESS))
    )

    def share(pick: Callable[[shortfall.Simulated], Floats]) -> tuple[float, float]:
        return _rejected(pick(null), pick(fresh), level), _rejected(pick(null), pick(wide), level)

    return {
        shortfall.Z1: share(lambda s: s.z1),
        shortfall.Z2: share(lambda s: s.z2),
        shortfall.MCNEIL_FREY: (_rejected(t_null[0], t_fresh[0], level), _rejected(t_null[0], t_wide[0], level)),
        shortfall.INTERCEPT: (_rejected(t_null[1], t_fresh[1], level), _rejected(t_null[1], t_wide[1], level)),
    }


def _rejected(null: Floats, drawn: Floats, level: float) -> float:
    """Share of draws at or below the null's quantile; draws without a value cannot reject."""
    known = null[np.isfinite(null)]
    if len(known) == 0:
        return 0.0
    return float((drawn <= np.quantile(known, level)).mean())


def _studentised(
    law: TailLaw, observations: int, draws: int, rng: np.random.Generator, scale: float
) -> tuple[Floats, Floats]:
    """Minus the t of the excesses and the t of the intercept, one a simulated history; NaN with too few days."""
    below = int(np.floor(observations * law.p + 1e-9))
    excess, intercept = np.full(draws, np.nan), np.full(draws, np.nan)
    for draw in range(draws):
        u = law.signed(observations, rng) * scale
        hit = u < law.quantile
        y = -1 - u[hit]
        if len(y) >= shortfall.LEAST_EXCESSES:
            excess[draw] = -np.sqrt(len(y)) * y.mean() / y.std(ddof=1)
        if below >= shortfall.LEAST_EXCESSES:
            beta, spread = shortfall.intercepts(u[None, :] + 1, below, law.p)
            intercept[draw] = beta[0] / spread[0]
    return excess, intercept
