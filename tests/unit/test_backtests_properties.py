"""Backtests on any input: a value or the reason why there is none, never NaN, and moving the way they must."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plimsoll import coverage
from plimsoll.backtests import battery, betting, clusters, durations, multiplicity, nulls, quantiles, scores, shortfall
from plimsoll.backtests.shortfall import TailLaw

WORDS = {"consistent", "rejected", "not enough data", "not applicable"}
RATES = st.sampled_from([0.01, 0.05, 0.3])
FLAGS = st.lists(st.booleans(), min_size=1, max_size=60)


def check(verdicts: tuple[battery.Verdict, ...], n: int) -> None:
    for one in verdicts:
        assert one.verdict in WORDS
        assert (one.verdict == "not applicable") == (one.p_value is None) == (one.statistic is None) == bool(one.note)
        numbers = (one.p_value, one.reference_p_value, one.size, one.power)
        assert all(value is None or 0 <= value <= 1 for value in numbers), one
        assert one.statistic is None or np.isfinite(one.statistic), one
        assert (one.observations, one.verdict in {"consistent", "rejected"}) == (n, False)


@settings(max_examples=60, deadline=None)
@given(FLAGS, RATES)
@example([False] * 60, 0.01)
@example([True] * 60, 0.01)
@example([True], 0.3)
@example([False] * 9, 0.05)
@example([True, False] * 30, 0.05)
def test_a_sequence_has_a_value_or_a_reason(flags: list[bool], p: float) -> None:
    level = -1 - np.arange(len(flags)) % 3
    check(battery.sequence_battery(flags, p, quantile_return=level, seed=1, draws=19), len(flags))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-9, 9), min_size=1, max_size=60), RATES, st.sampled_from([None, 4.0]))
@example([0.0] * 60, 0.05, None)
@example([-9.0] * 60, 0.05, None)
@example([-9.0] * 9, 0.3, 4.0)
def test_a_shortfall_has_a_value_or_a_reason(returns: list[float], p: float, nu: float | None) -> None:
    law = TailLaw(p, nu)
    n = len(returns)
    e, v = np.full(n, -law.shortfall), np.full(n, law.quantile * law.shortfall)
    check(battery.shortfall_battery(returns, v, e, law, seed=1, draws=19), n)


def test_enough_days_without_an_exception_are_judged_where_that_says_something() -> None:
    found = {one.test: one.verdict for one in battery.sequence_battery(np.zeros(1000), 0.01, seed=1, draws=99)}
    assert found.pop("proportion of failures") == "rejected"
    assert set(found.values()) == {"not applicable"}
    law = TailLaw(0.05)
    flat = np.zeros(1000)
    shorts = battery.shortfall_battery(flat, flat - 1, flat - 2, law, seed=1, draws=99)
    assert [one.verdict for one in shorts] == ["not applicable", "consistent", "not applicable", "not applicable"]


def test_power_grows_with_days_and_stands_beside_the_verdict() -> None:
    few, many = (
        {one.test: one for one in battery.sequence_battery(np.arange(n) % 20 == 9, 0.05, seed=1, draws=199)}
        for n in (100, 800)
    )
    for test in ("proportion of failures", "conditional coverage", "times between failures", "independence"):
        assert few[test].power is not None
        assert many[test].power is not None
        assert few[test].power < many[test].power, test
    assert few["conditional coverage"].verdict == "not enough data"


@given(st.integers(20, 400), RATES, st.data())
def test_proportion_is_monotone_away_from_the_rate(n: int, p: float, data: st.DataObject) -> None:
    x = data.draw(st.integers(0, n - 1))
    near, far = coverage.kupiec(x, n, p), coverage.kupiec(x + 1, n, p)
    if x >= n * p:
        assert far.p_value <= near.p_value + 1e-12
    if x + 1 <= n * p:
        assert far.p_value >= near.p_value - 1e-12
    assert coverage.basel_cdf(x + 1, n, p) >= coverage.basel_cdf(x, n, p)


@given(st.lists(st.floats(-5, 5), min_size=8, max_size=60), st.floats(1, 3))
def test_larger_losses_never_speak_for_the_shortfall(returns: list[float], factor: float) -> None:
    r = np.array(returns)
    n = len(r)
    v, e = np.full(n, -1.0), np.full(n, -1.5)
    larger = np.where(r < v, factor * r, r)
    assert shortfall.z2_statistic(larger, v, e, 0.05) <= shortfall.z2_statistic(r, v, e, 0.05) + 1e-12
    one, two = shortfall.z1_statistic(r, v, e), shortfall.z1_statistic(larger, v, e)
    assert (one is None) == (two is None)
    assert one is None or two is None or two <= one + 1e-12


@given(st.lists(st.floats(-5, 5), min_size=40, max_size=80, unique=True), st.floats(0.1, 10))
def test_unit_does_not_matter_and_a_deeper_shortfall_is_never_judged_worse(returns: list[float], unit: float) -> None:
    r = np.array(returns)
    e = np.full(len(r), -1.5)
    one = shortfall.intercept_regression(r, e, 0.2, draws=19, seed=1)
    two = shortfall.intercept_regression(r * unit, e * unit, 0.2, draws=19, seed=1)
    deeper = shortfall.intercept_regression(r, e - 1, 0.2)
    if one.statistic is not None:
        assert two.statistic == pytest.approx(one.statistic, rel=1e-6, abs=1e-6)
        assert deeper.statistic is not None
        assert deeper.statistic >= one.statistic


@given(FLAGS, RATES, st.integers(0, 59))
def test_one_more_exception_never_lowers_the_wealth_of_a_fixed_bet(flags: list[bool], p: float, at: int) -> None:
    more = np.array(flags)
    more[at % len(more)] = True
    low, high = (betting.quantile_evidence(one, p) for one in (flags, more))
    one, two = (betting.wealth(e, betting.fixed_bets(e)) for e in (low, high))
    assert (two.log_wealth >= one.log_wealth - 1e-12).all()
    order = ["quiet", "warn", "alarm"]
    assert order.index(two.state) >= order.index(one.state)
    assert 0 < two.p_value <= one.p_value <= 1


@given(st.lists(st.floats(0, 200), min_size=1, max_size=60), st.integers(1, 60))
def test_the_state_never_recedes_and_knows_no_future(evidence: list[float], cut: int) -> None:
    whole = betting.wealth(evidence, betting.adaptive_bets(evidence))
    part = betting.wealth(evidence[:cut], betting.adaptive_bets(evidence[:cut]))
    np.testing.assert_array_equal(part.log_wealth, whole.log_wealth[:cut])
    assert part.alarmed_at in (None, whole.alarmed_at)
    assert part.warned_at in (None, whole.warned_at)
    assert np.isfinite(whole.values).all()


def test_wealth_of_endless_failures_overflows_nowhere() -> None:
    evidence = betting.quantile_evidence(np.ones(5000), 0.01)
    run = betting.wealth(evidence, betting.adaptive_bets(evidence))
    assert np.isfinite(run.final)
    assert run.state == "alarm"


@given(st.dictionaries(st.text("ABC", min_size=1, max_size=3), st.none() | st.floats(0, 1)), st.floats(0.01, 0.5))
def test_a_smaller_p_value_never_loses_a_discovery(p: dict[str, float | None], rate: float) -> None:
    found = multiplicity.benjamini_hochberg(p, rate=rate)
    assert set(found.left_out) == {name for name, value in p.items() if value is None}
    assert set(found.rejected) <= set(found.adjusted)
    assert all(p[name] <= found.adjusted[name] <= 1 for name in found.adjusted)
    for name in p:
        smaller = multiplicity.benjamini_hochberg({**p, name: None if p[name] is None else 0.0}, rate=rate)
        assert set(found.rejected) <= set(smaller.rejected)


@given(st.dictionaries(st.text("ABC", min_size=1, max_size=3), st.none() | st.floats(0, 300)))
def test_e_values_reject_by_their_definition(e: dict[str, float | None]) -> None:
    found = multiplicity.e_benjamini_hochberg(e, rate=0.10)
    known = sorted((value for value in e.values() if value is not None), reverse=True)
    k = max((i for i, value in enumerate(known, 1) if i * value / len(known) >= 10), default=0)
    assert len(found.rejected) == k
    assert sorted((e[name] for name in found.rejected), reverse=True) == known[:k]
    # the number of markets that may be named grows with the evidence of any
    doubled = {name: None if value is None else 2 * value for name, value in e.items()}
    assert set(found.rejected) <= set(multiplicity.e_benjamini_hochberg(doubled, rate=0.10).rejected)


@given(st.lists(st.tuples(st.integers(0, 200), st.booleans()), min_size=1, max_size=80), st.integers(0, 30))
def test_clusters_are_fewer_than_dates_and_dates_than_rows(rows: list[tuple[int, bool]], gap: int) -> None:
    days = np.datetime64("2020-01-01") + np.array([day for day, _ in rows])
    hits = [hit for _, hit in rows]
    one, wide = clusters.count(days, hits, gap_days=gap), clusters.count(days, hits, gap_days=gap + 5)
    assert one.observations >= one.exceptions >= one.exception_dates >= one.clusters >= wide.clusters
    assert one.exceptions >= one.largest_cluster >= one.largest_date
    assert (one.exceptions == 0) == (one.clusters == 0) == (one.largest_date == 0)
    order = np.random.default_rng(gap).permutation(len(rows))
    assert one == clusters.count(days[order], np.array(hits)[order], gap_days=gap), "rows have no order"


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=50), st.floats(-4, -0.5), RATES)
def test_scores_are_proper_numbers_and_scale_free_differences_keep_their_sign(
    r: list[float], q: float, p: float
) -> None:
    v = np.full(len(r), q)
    assert (scores.quantile_score(r, v, p) >= 0).all()
    assert np.isfinite(scores.fz0(r, v, 1.5 * v, p)).all()
    found = scores.diebold_mariano(r)
    mirrored = scores.diebold_mariano([-x for x in r])
    if found.statistic is not None:
        assert mirrored.statistic == pytest.approx(-found.statistic)
        assert mirrored.p_value == pytest.approx(found.p_value)


@given(st.integers(3, 40), st.integers(0, 9))
def test_given_the_count_only_the_places_move(x: int, seed: int) -> None:
    drawn = nulls.shuffled(50, x, 20, np.random.default_rng(seed))
    assert (drawn.sum(axis=1) == x).all()


def test_evenly_spaced_exceptions_have_no_shape() -> None:
    found = durations.weibull(np.arange(100) % 10 == 9)
    assert not found.is_applicable
    assert "no maximum" in found.note


def test_a_forecast_that_never_moves_loses_one_degree_of_the_dynamic_quantile() -> None:
    hits = np.random.default_rng(2).random(300) < 0.1
    assert quantiles.dynamic_quantile(hits, np.full(300, -0.02), 0.1).degrees == 5
    assert quantiles.dynamic_quantile(hits, -0.02 - 0.01 * np.arange(300), 0.1).degrees == 6


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: durations.tbfi([0, np.nan], 0.05), r"hits, row 1: nan is no flag"),
        (lambda: durations.tbfi([], 0.05), r"at least one"),
        (lambda: durations.tbfi([0, 1], 1.0), r"between 0 and 1"),
        (lambda: quantiles.dynamic_quantile([0, 1], [1.0], 0.05), r"has 1 rows where 2"),
        (lambda: quantiles.dynamic_quantile([0, 1], [1.0, np.inf], 0.05), r"quantile_return, row 1"),
        (lambda: shortfall.z1_statistic([0.0], [-1.0], [-0.5]), r"row 0: quantile -1.0, shortfall -0.5"),
        (lambda: scores.fz0([0.0], [1.0], [0.5], 0.05), r"row 0"),
        (lambda: betting.shortfall_evidence([1.0], [2.0], [2.0], 0.05), r"row 0: shortfall 2.0 does not exceed"),
        (lambda: betting.wealth([1.0], [0.6]), r"bets, row 0"),
        (lambda: betting.wealth([-1.0], [0.1]), r"evidence, row 0"),
        (lambda: betting.wealth([1.0], [0.1], warn=30), r"1 < warn <= alarm"),
        (lambda: betting.fixed_bets([1.0], 0.7), r"between 0 and 0.5"),
        (lambda: multiplicity.benjamini_hochberg({"BTC": float("nan")}), r"BTC: nan is no p-value"),
        (lambda: multiplicity.e_benjamini_hochberg({"BTC": float("nan")}), r"BTC: nan is no e-value"),
        (lambda: clusters.count(np.array(["NaT"], dtype="datetime64[D]"), [1]), r"dates, row 0: missing"),
        (lambda: clusters.simulate_joint(np.zeros((5, 1)), np.ones((9, 1)), 0.05, draws=1, seed=1), r"market 0"),
        (lambda: clusters.daily_counts([[0.5]]), r"something else than 0, 1"),
        (lambda: scores.model_confidence_set({"a": [1.0]}, seed=1), r"at least two"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(call: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()  # type: ignore[operator]
