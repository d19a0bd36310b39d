"""Coverage: published examples of the tests, zones, acceptance regions and power."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from plimsoll import coverage


def test_published_example_of_1043_days() -> None:
    pof = coverage.kupiec(57, 1043, 0.05)
    independence = coverage.independence_from_counts(932, 53, 53, 4)
    assert pof.lr == pytest.approx(0.4614663953, abs=5e-11)
    assert pof.p_value == pytest.approx(0.4969394477, abs=5e-11)
    assert independence.lr == pytest.approx(0.2586631526, abs=5e-11)
    assert independence.p_value == pytest.approx(0.6110400778, abs=5e-11)
    assert pof.lr + independence.lr == pytest.approx(0.7201295479, abs=1e-10)
    assert float(stats.chi2.sf(pof.lr + independence.lr, 2)) == pytest.approx(0.6976311363, abs=5e-11)
    assert coverage.basel_cdf(57, 1043, 0.05) == pytest.approx(0.7791272433, abs=5e-11)
    assert 1 - coverage.basel_cdf(56, 1043, 0.05) == pytest.approx(0.2639584660, abs=5e-11)
    assert coverage.binomial_z(57, 1043, 0.05) == pytest.approx(0.6890532407, abs=5e-11)


def _sequence() -> np.ndarray:
    t = np.arange(1, 1001)
    r = 0.02 * np.sin(0.7 * t**2) + 0.012 * np.cos(1.3 * t) * (1 + 0.6 * np.sin(t / 80))
    v = -0.0275 - 0.004 * np.sin(t / 80)
    assert r.sum() == pytest.approx(-0.127752443396, abs=1e-10)
    return r < v


@pytest.mark.parametrize(
    ("p", "pof", "joint"),
    [(0.05, 0.08529610, 4.93278139), (0.025, 17.17009932, 22.01758461), (0.01, 76.06474265, 80.91222793)],
)
def test_deterministic_sequence(p: float, pof: float, joint: float) -> None:
    hits = _sequence()
    assert (int(hits.sum()), coverage.transitions(hits)) == (48, (903, 48, 48, 0))
    assert coverage.kupiec(48, 1000, p).lr == pytest.approx(pof, abs=5e-9)
    assert coverage.conditional_coverage(hits, p).lr == pytest.approx(joint, abs=5e-9)


def test_joint_p_value_and_time_to_first_failure() -> None:
    assert coverage.conditional_coverage(_sequence(), 0.05).p_value == pytest.approx(0.08489070, abs=5e-9)
    assert coverage.kupiec(48, 1000, 0.05).p_value == pytest.approx(0.77024460, abs=5e-9)
    assert coverage.tuff(46, 0.05).lr == pytest.approx(0.97247664, abs=5e-9)


@pytest.mark.parametrize(
    ("n", "p", "low", "high"),
    [
        (250, 0.01, 1, 6),
        (500, 0.01, 2, 9),
        (1000, 0.01, 5, 16),
        (365, 0.01, 1, 7),
        (510, 0.01, 2, 10),
        (730, 0.01, 3, 13),
        (250, 0.05, 7, 19),
        (1000, 0.05, 38, 64),
    ],
)
def test_acceptance_regions(n: int, p: float, low: int, high: int) -> None:
    assert coverage.acceptance_region(n, p) == (low, high)


def test_basel_distribution_and_zones() -> None:
    expected = [
        8.105852,
        28.575174,
        54.316897,
        75.811670,
        89.218763,
        95.881682,
        98.629855,
        99.597466,
        99.894347,
        99.974981,
    ]
    found = [100 * coverage.basel_cdf(x, 250) for x in range(10)]
    np.testing.assert_allclose(found, expected, atol=5e-7)
    assert 100 * coverage.basel_cdf(10, 250) == pytest.approx(99.994610, abs=5e-7)
    assert [coverage.basel_zone(x, 250) for x in (4, 5, 9, 10)] == ["green", "yellow", "yellow", "red"]


def test_basel_additions_rise_from_the_fifth_exception_to_the_tenth() -> None:
    found = [coverage.basel_add_on(x) for x in range(12)]
    assert found == [0, 0, 0, 0, 0, 0.40, 0.50, 0.65, 0.75, 0.85, 1.00, 1.00]
    assert coverage.basel_add_on(250) == 1.00
    with pytest.raises(ValueError, match="251 exceptions of 250"):
        coverage.basel_add_on(251)


@pytest.mark.parametrize(("n", "yellow", "red"), [(365, 7, 13), (730, 12, 19), (1000, 15, 24)])
def test_zones_for_other_numbers_of_days(n: int, yellow: int, red: int) -> None:
    zones = [coverage.basel_zone(x, n) for x in range(red + 1)]
    assert zones.index("yellow") == yellow
    assert zones.index("red") == red


@pytest.mark.parametrize(
    ("n", "size", "power"),
    [
        (250, 0.0948, 0.2427),
        (500, 0.0709, 0.5438),
        (1000, 0.0551, 0.7815),
        (2000, 0.0422, 0.9583),
        (3000, 0.0429, 0.9943),
    ],
)
def test_size_and_power(n: int, size: float, power: float) -> None:
    assert coverage.kupiec_power(n, 0.01, 0.01) == pytest.approx(size, abs=5e-5)
    assert coverage.kupiec_power(n, 0.01, 0.02) == pytest.approx(power, abs=5e-5)


def test_no_exception_and_nothing_else_have_a_value() -> None:
    none, only = coverage.kupiec(0, 250, 0.01), coverage.kupiec(250, 250, 0.01)
    assert none.lr == pytest.approx(-2 * 250 * np.log(0.99))
    assert only.lr == pytest.approx(-2 * 250 * np.log(0.01))


@pytest.mark.parametrize(
    ("exceptions", "observations", "p"), [(3, 2, 0.01), (-1, 10, 0.01), (0, 0, 0.01), (1, 10, 0.0)]
)
def test_counts_that_make_no_sense_are_refused(exceptions: int, observations: int, p: float) -> None:
    with pytest.raises(ValueError, match=r"not a count|must lie between"):
        coverage.kupiec(exceptions, observations, p)


def test_few_observations_are_not_enough_data_and_never_a_pass() -> None:
    assert coverage.verdict(2, 249, 0.01) == "not enough data"
    assert coverage.verdict(2, 250, 0.01) == "consistent"
    assert coverage.verdict(30, 1000, 0.01) == "rejected: too many"
    assert coverage.verdict(1, 1000, 0.01) == "rejected: too few"


def test_blocks_of_dates_widen_the_interval_of_clustered_exceptions() -> None:
    """Twenty markets that fail together on one day in a hundred know as much as one market, not as twenty."""
    dates = np.repeat(np.arange("2015-01-01", "2020-06-23", dtype="datetime64[D]"), 20)
    together = np.repeat(np.arange(len(dates) // 20) % 100 == 0, 20)
    apart = np.arange(len(dates)) % 100 == 0
    kwargs = {"block_days": 5, "level": 0.90, "draws": 2000, "seed": 1}
    clustered = coverage.date_block_interval(dates, together, **kwargs)
    scattered = coverage.date_block_interval(dates, apart, **kwargs)
    assert clustered[0] < 0.01 < clustered[1]
    assert clustered[1] - clustered[0] > 3 * (scattered[1] - scattered[0])


@given(st.lists(st.booleans(), min_size=20, max_size=300), st.integers(0, 5))
def test_interval_repeats_with_its_seed_and_holds_the_rate_of_a_constant(flags: list[bool], seed: int) -> None:
    dates = np.datetime64("2020-01-01") + np.arange(len(flags))
    kwargs = {"block_days": 10, "level": 0.90, "draws": 200, "seed": seed}
    one = coverage.date_block_interval(dates, flags, **kwargs)
    assert one == coverage.date_block_interval(dates, flags, **kwargs)
    assert 0 <= one[0] <= one[1] <= 1
    order = np.random.default_rng(seed).permutation(len(flags))
    assert one == coverage.date_block_interval(dates[order], np.asarray(flags)[order], **kwargs), "rows have no order"
    assert coverage.date_block_interval(dates, np.ones(len(flags)), **kwargs) == (1.0, 1.0)
