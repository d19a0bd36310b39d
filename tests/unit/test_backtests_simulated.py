"""Backtests on simulated markets whose truth is known: size within Monte Carlo error, power as it must be."""

from functools import cache

import numpy as np
import pytest

from plimsoll import coverage, tails
from plimsoll.backtests import battery, betting, clusters, nulls, quantiles, scores, shortfall
from plimsoll.backtests.battery import Verdict
from plimsoll.backtests.shortfall import TailLaw

LEVEL = 0.05
MARKETS = 400


def error(rate: float, draws: int) -> float:
    """Three and a half standard errors: one false alarm in two thousand."""
    return 3.5 * float(np.sqrt(rate * (1 - rate) / draws))


def shares(batteries: list[tuple[Verdict, ...]]) -> dict[str, float]:
    words: dict[str, list[bool]] = {}
    for verdicts in batteries:
        for one in verdicts:
            words.setdefault(one.test, []).append(one.verdict == "rejected")
    return {name: float(np.mean(flags)) for name, flags in words.items()}


@cache
def sequence_shares(kind: str) -> dict[str, float]:
    rng = np.random.default_rng(11)
    n, p = 500, 0.05
    hits = {
        "true": lambda: nulls.independent(n, p, MARKETS, rng),
        "double": lambda: nulls.independent(n, 2 * p, MARKETS, rng),
        "clustered": lambda: nulls.clustered(n, p, MARKETS, rng),
    }[kind]()
    return shares([battery.sequence_battery(row, p, seed=2, draws=399) for row in hits])


def test_size_of_the_tests_of_a_sequence() -> None:
    found = sequence_shares("true")
    assert found.pop("proportion of failures") == pytest.approx(
        coverage.kupiec_power(500, 0.05, 0.05), abs=error(LEVEL, MARKETS)
    )
    assert set(found) == {
        "independence",
        "conditional coverage",
        "time until first failure",
        "times between failures",
        "Weibull durations",
    }
    for test, share in found.items():
        assert share <= LEVEL + error(LEVEL, MARKETS), test
    for test in ("conditional coverage", "times between failures", "Weibull durations"):
        assert found[test] >= LEVEL - error(LEVEL, MARKETS), test


def test_power_of_the_tests_of_a_sequence_is_what_is_printed_beside_them() -> None:
    printed = {one.test: one for one in battery.sequence_battery(np.arange(500) % 20 == 0, 0.05, seed=2, draws=399)}
    for kind, against in (("double", nulls.DOUBLE), ("clustered", nulls.CLUSTERS)):
        found = sequence_shares(kind)
        told = {name: one.power for name, one in printed.items() if one.against == against}
        assert len(told) >= 2
        for test, power in told.items():
            assert power is not None
            # both sides are simulated, and durations are judged given the count but foretold over all counts
            assert found[test] == pytest.approx(power, abs=0.03 + 1.5 * error(max(0.02, min(power, 0.98)), MARKETS)), (
                test
            )


@pytest.mark.parametrize(
    ("n", "size", "power"),
    [(250, 0.0948, 0.2427), (500, 0.0709, 0.5438), (1000, 0.0551, 0.7815), (2000, 0.0422, 0.9583)],
)
def test_simulated_proportions_are_rejected_as_often_as_the_exact_power_says(n: int, size: float, power: float) -> None:
    rng = np.random.default_rng(n)
    for rate, expected in [(0.01, size), (0.02, power)]:
        hits = nulls.independent(n, rate, 4000, rng)
        ratios = nulls.proportion_ratios(hits, 0.01)
        assert ratios[0] == pytest.approx(coverage.kupiec(int(hits[0].sum()), n, 0.01).lr, abs=1e-9)
        assert (ratios > 3.841458820694124).mean() == pytest.approx(expected, abs=error(expected, 4000))


def test_ratios_in_bulk_are_those_one_by_one() -> None:
    hits = nulls.clustered(300, 0.06, 20, np.random.default_rng(3))
    one_by_one = [coverage.christoffersen_independence(row).lr for row in hits]
    np.testing.assert_allclose(nulls.independence_ratios(hits), one_by_one, atol=1e-9)
    sums = [battery.durations.tbfi(row, 0.06) for row in hits]
    np.testing.assert_allclose(nulls.gap_sums(hits, 0.06), [one.statistic - one.degrees for one in sums], atol=1e-9)
    ratios = [battery.durations.weibull(row).statistic for row in hits]
    np.testing.assert_allclose(battery.durations.weibull_ratios(hits), ratios, atol=1e-9)


def test_clustered_sequences_keep_their_rate_and_follow_each_other() -> None:
    hits = nulls.clustered(2000, 0.05, 300, np.random.default_rng(4))
    assert hits.mean() == pytest.approx(0.05, abs=0.002)
    follows = (hits[:, 1:] & hits[:, :-1]).sum() / hits[:, :-1].sum()
    assert follows == pytest.approx(nulls.AFTER_HIT, abs=0.01)


def test_size_and_power_of_the_dynamic_quantile() -> None:
    """It sees hits that follow a high forecast, which no count of hits can see."""
    rng = np.random.default_rng(5)
    n, p = 750, 0.05
    sigma = np.exp(np.cumsum(rng.normal(0, 0.05, n)))
    law = nulls.dynamic_quantile_law(-sigma, p, draws=399, seed=1)
    fresh = quantiles.statistics(nulls.independent(n, p, 1000, rng), -sigma, p)[0]
    assert np.mean([law.p_value(x) <= LEVEL for x in fresh]) == pytest.approx(LEVEL, abs=0.02 + error(LEVEL, 1000))
    rank = np.argsort(np.argsort(sigma)) / n
    foreseen = rng.random((300, n)) < 2 * p * rank
    assert foreseen.mean() == pytest.approx(p, abs=0.003)
    seen = quantiles.statistics(foreseen, -sigma, p)[0]
    assert np.mean([law.p_value(x) <= LEVEL for x in seen]) > 0.6
    assert law.power > 0.9


@cache
def shortfall_shares(scale: float, nu: float | None) -> dict[str, float]:
    rng = np.random.default_rng(6)
    law = TailLaw(0.05, nu)
    sigma = np.full(600, 0.03)
    out = []
    for _ in range(MARKETS):
        r = law.signed(600, rng) * law.shortfall * scale * sigma
        v, e = law.quantile * law.shortfall * sigma, -law.shortfall * sigma
        out.append(battery.shortfall_battery(r, v, e, law, seed=8, draws=399))
    return shares(out)


def test_size_of_the_shortfall_tests() -> None:
    """Z1 and Z2 have the size they claim; bootstraps of thirty skewed excesses reject less or more by a known bit."""
    found = shortfall_shares(1.0, 5.0)
    for test in (shortfall.Z1, shortfall.Z2):
        assert found[test] == pytest.approx(LEVEL, abs=0.015 + error(LEVEL, MARKETS)), test
    for test in (shortfall.MCNEIL_FREY, shortfall.INTERCEPT):
        assert found[test] <= LEVEL + 0.03 + error(LEVEL, MARKETS), test


def test_power_of_the_shortfall_tests_when_volatility_is_a_quarter_higher() -> None:
    law = TailLaw(0.05, None)
    told = battery.shortfall_power(law, 600, draws=399, seed=8)
    found = shortfall_shares(battery.STRESS, None)
    for test in (shortfall.Z1, shortfall.Z2):
        assert found[test] == pytest.approx(told[test][1], abs=0.05), test
    assert found[shortfall.Z2] > 0.95
    assert found[shortfall.INTERCEPT] > 0.8


def test_e_processes_raise_no_more_false_alarms_than_they_may_however_often_read() -> None:
    rng = np.random.default_rng(9)
    p = 0.025
    for bets in (betting.fixed_bets, betting.adaptive_bets):
        alarms = warns = 0
        for row in nulls.independent(1000, p, 1000, rng):
            evidence = betting.quantile_evidence(row, p)
            run = betting.wealth(evidence, bets(evidence))
            alarms += run.alarmed_at is not None
            warns += run.warned_at is not None
        assert alarms / 1000 <= 1 / 20 + error(1 / 20, 1000)
        assert warns / 1000 <= 1 / 5 + error(1 / 5, 1000)
        assert warns > 20, "a bet that never wins would pass"


def test_e_processes_find_a_rate_that_doubled_and_a_shortfall_that_is_too_small() -> None:
    rng = np.random.default_rng(10)
    p, found = 0.025, {"quantile": 0, "shortfall": 0}
    v, e = float(tails.normal_quantile(p)), float(tails.normal_es(p))
    for _ in range(100):
        loss = rng.standard_normal(1500) * 1.3
        evidence = betting.quantile_evidence(loss > v, p)
        found["quantile"] += betting.wealth(evidence, betting.adaptive_bets(evidence)).state == "alarm"
        evidence = betting.shortfall_evidence(loss, np.full(1500, v), np.full(1500, e), p)
        found["shortfall"] += betting.wealth(evidence, betting.adaptive_bets(evidence)).state == "alarm"
    assert min(found.values()) >= 95


def test_mean_shortfall_evidence_is_one_while_the_model_holds() -> None:
    p = 0.025
    loss = np.random.default_rng(12).standard_normal(1_000_000)
    v, e = (np.full(len(loss), float(f(p))) for f in (tails.normal_quantile, tails.normal_es))
    assert betting.shortfall_evidence(loss, v, e, p).mean() == pytest.approx(1, abs=0.04)


def test_a_bet_knows_nothing_of_its_own_day() -> None:
    evidence = betting.quantile_evidence(np.arange(50) % 7 == 6, 0.05)
    other = evidence.copy()
    other[30:] = 20 - other[30:]
    one, two = betting.adaptive_bets(evidence), betting.adaptive_bets(other)
    np.testing.assert_array_equal(one[:31], two[:31])
    assert (one[31:] != two[31:]).any()


def _joint_market(days: int, rng: np.random.Generator, *, scale: float = 1.0) -> np.ndarray:
    common = rng.standard_normal((days, 1))
    return scale * (np.sqrt(0.7) * common + np.sqrt(0.3) * rng.standard_normal((days, 12)))


def test_the_market_level_test_forgives_markets_that_fall_together_and_sees_a_rate_that_rose() -> None:
    """Twelve alike markets exceed a binomial band three times out of ten; by dates, one time in twenty."""
    rng = np.random.default_rng(13)
    limit = -1.6448536269514722
    past = _joint_market(2000, rng)
    by_dates, by_rows, wide = [], [], []
    null = clusters.simulate_joint(np.zeros((250, 12)), past, 0.05, draws=300, seed=1, block_days=1)
    for _ in range(150):
        hits = _joint_market(250, rng) < limit
        counts = clusters.daily_counts(hits)
        by_dates.append(clusters.market_level(counts, null)[0].p_value <= LEVEL)
        by_rows.append(coverage.kupiec(int(hits.sum()), hits.size, 0.05).p_value <= LEVEL)
        risen = clusters.daily_counts(_joint_market(250, rng, scale=1.5) < limit)
        wide.append(clusters.market_level(risen, null)[0].p_value <= LEVEL)
    assert np.mean(by_dates) <= LEVEL + error(LEVEL, 150) + 0.02
    assert np.mean(by_rows) > 0.25
    assert np.mean(wide) > 0.9


def test_the_worst_date_tells_company_that_the_model_does_not_know() -> None:
    rng = np.random.default_rng(14)
    apart = rng.standard_normal((1000, 12))
    hits = np.zeros((250, 12))
    hits[100] = 1
    null = clusters.simulate_joint(hits, apart, 0.05, draws=200, seed=2)
    _, worst = clusters.market_level(clusters.daily_counts(hits), null)
    assert worst.p_value is not None
    assert worst.p_value < 0.01
    assert null.mean() == pytest.approx(12 * 0.05, abs=0.01), "every market fails at its nominal rate"


def test_bad_days_that_follow_each_other_stay_together_in_the_simulation() -> None:
    rng = np.random.default_rng(18)
    sigma = np.repeat(np.where(rng.random(100) < 0.1, 4.0, 1.0), 20)
    past = sigma[:, None] * rng.standard_normal((2000, 4))
    apart, together = (
        clusters.simulate_joint(np.zeros((250, 4)), past, 0.05, draws=300, seed=4, block_days=days).sum(axis=1)
        for days in (1, 20)
    )
    assert together.mean() == pytest.approx(apart.mean(), rel=0.1)
    assert together.std() > 1.8 * apart.std()


def test_the_standard_error_of_the_intercept_is_its_spread() -> None:
    """Fifty days below the quantile; without the noise of the quantile itself it would be a third less."""
    for n, p in ((1000, 0.05), (2000, 0.025)):
        beta, error_of_beta = shortfall.intercepts(np.random.default_rng(n).standard_normal((3000, n)), int(n * p), p)
        assert beta.mean() == pytest.approx(-float(tails.normal_es(p)), abs=0.03)
        assert error_of_beta.mean() == pytest.approx(beta.std(), rel=0.08)


def test_a_market_that_was_not_judged_cannot_fail() -> None:
    hits = np.zeros((60, 3))
    hits[:, 1] = np.nan
    scores_seen = np.random.default_rng(15).standard_normal((400, 3))
    null = clusters.simulate_joint(hits, scores_seen, 0.05, draws=200, seed=3)
    assert null.max() <= 2
    assert null.mean() == pytest.approx(2 * 0.05, abs=0.01)


def test_the_better_model_is_found_and_its_equal_is_kept() -> None:
    rng = np.random.default_rng(16)
    sigma = np.exp(np.cumsum(rng.normal(0, 0.08, 1500)) * 0.5)
    r = sigma * rng.standard_normal(1500)
    q = -1.6448536269514722
    losses = {
        "true": scores.quantile_score(r, q * sigma, 0.05),
        "nearly": scores.quantile_score(r, q * sigma * 1.02, 0.05),
        "flat": scores.quantile_score(r, np.full(1500, np.quantile(r, 0.05)), 0.05),
    }
    kept = scores.model_confidence_set(losses, seed=1, draws=300)
    assert "true" in kept
    assert "flat" not in kept
    assert kept == scores.model_confidence_set(losses, seed=1, draws=300)
    worse = scores.diebold_mariano(losses["true"] - losses["flat"], lags=5)
    assert worse.statistic is not None
    assert worse.statistic < 0
    assert worse.p_value is not None
    assert worse.p_value < 0.01


@pytest.mark.parametrize("lags", [0, 4])
def test_size_of_the_comparison_of_scores(lags: int) -> None:
    rng = np.random.default_rng(17 + lags)
    noise = rng.standard_normal((1000, 300 + lags))
    rejected = []
    for row in noise:
        d = np.convolve(row, np.ones(lags + 1) / (lags + 1), mode="valid")[:300]
        rejected.append(scores.diebold_mariano(d, lags=3 * lags).p_value <= LEVEL)
    # Bartlett weights leave part of the autocovariance out: some excess is known
    assert np.mean(rejected) == pytest.approx(LEVEL, abs=(0.04 if lags else 0.0) + error(LEVEL, 1000))
