"""Procyclicality: the published toy example, responses to a step through whole chains, and the cost of lag."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll import procyclicality, smoothing, tails
from plimsoll.procyclicality import Impulse
from plimsoll.smoothing import SmoothingSpec
from plimsoll.volatility import filter_variance

LAW = {"threshold": 0.05, "xi": 0.2, "beta": 0.02, "tail_fraction": 0.05}
TOY = (10, 10.2, 10.5, 11, 15, 18, 17, 16, 14, 12)


def test_toy_example() -> None:
    found = procyclicality.swings(TOY)
    assert found.peak_to_trough == pytest.approx(1.8)
    assert found.rises[0] == pytest.approx(0.36363636, abs=5e-9)
    assert found.rises[1] == pytest.approx(0.80, abs=5e-9)
    assert np.isnan(found.rises[2])


@pytest.mark.parametrize(
    ("day", "ratio"), [(1, 1.086278), (5, 1.341003), (10, 1.544071), (20, 1.769091), (60, 1.981604)]
)
def test_impulse_response(day: int, ratio: float) -> None:
    assert float(procyclicality.ewma_impulse(2.0, day, 0.94)) == pytest.approx(ratio, abs=5e-7)


def test_most_of_a_step_takes_weeks() -> None:
    reached = (procyclicality.ewma_impulse(2.0, np.arange(100), 0.94) - 1) / 1.0
    assert int(np.argmax(reached >= 0.95)) == 44


@given(st.lists(st.floats(0.01, 5.0), min_size=2, max_size=60), st.floats(0.1, 10))
def test_ratios_do_not_depend_on_the_unit(values: list[float], unit: float) -> None:
    one, other = procyclicality.swings(values), procyclicality.swings(np.asarray(values) * unit)
    assert other.peak_to_trough == pytest.approx(one.peak_to_trough)
    assert other.rises[0] == pytest.approx(one.rises[0])


def test_unknown_days_are_left_out_and_nothing_is_nothing() -> None:
    assert procyclicality.swings([np.nan, 1.0, np.nan, 2.0]).peak_to_trough == 2.0
    assert np.isnan(procyclicality.swings([np.nan]).peak_to_trough)
    with pytest.raises(ValueError, match="positive"):
        procyclicality.swings([1.0, 0.0])


def _ewma(squared: np.ndarray) -> np.ndarray:
    out = np.empty_like(squared)
    now = squared[0]
    for i, value in enumerate(squared):
        now = 0.94 * now + 0.06 * value
        out[i] = now
    return np.sqrt(out)


def _garch(squared: np.ndarray, omega: float = 2e-6) -> np.ndarray:
    """The package's own filter, fed with returns of the size of their volatility."""
    h = filter_variance(
        100 * np.sqrt(squared), mu=0.0, omega=1e4 * omega, alpha=0.08, beta=0.90, start=1e4 * squared[0]
    )
    return np.sqrt(h[1:]) / 100


def _haircut(sigma: np.ndarray) -> np.ndarray:
    return -np.expm1(-(0.006 + 3.0 * sigma))


@pytest.mark.parametrize(
    ("day", "ratio"), [(1, 1.086278), (5, 1.341003), (10, 1.544071), (20, 1.769091), (60, 1.981604)]
)
def test_a_step_through_a_filter_meets_the_closed_form(day: int, ratio: float) -> None:
    for found in (
        procyclicality.step_response(_ewma, 2.0, sigma_daily=0.03),
        procyclicality.ewma_response(2.0, 0.94),
    ):
        assert found.response[day] == pytest.approx(ratio, abs=5e-7)
        assert found.response[0] == 1.0
        assert len(found.response) == 61
        assert found.days_to_most == 44
        assert found.limit == pytest.approx(2.0)
        assert found.overshoot == pytest.approx(1.0)


def test_a_garch_filter_settles_below_the_step_because_of_its_constant() -> None:
    found = procyclicality.step_response(_garch, 2.0, sigma_daily=0.03)
    limit = np.sqrt((2e-6 + 0.08 * 4 * 0.0009) / (2e-6 + 0.08 * 0.0009))
    assert found.limit == pytest.approx(limit, rel=1e-9)
    expected = np.sqrt(limit**2 - 0.90 ** np.arange(61) * (limit**2 - 1))
    np.testing.assert_allclose(found.response, expected, rtol=1e-9)
    assert found.days_to_most == int(np.argmax(expected - 1 >= 0.95 * (limit - 1)))


@pytest.mark.parametrize("factor", [0.5, 2.0, 3.0])
def test_rules_and_parameters_are_part_of_the_chain(factor: float) -> None:
    def chain(rule: str):
        def of(squared: np.ndarray) -> np.ndarray:
            spec = SmoothingSpec(rule, minimum_history=250)  # type: ignore[arg-type]
            long_run = np.sqrt(np.cumsum(squared) / np.arange(1, len(squared) + 1))
            total = smoothing.smooth(_garch(squared), lambda s: 0.006 + 3.0 * s, spec, long_run=long_run).smoothed
            return -np.expm1(-total)

        return of

    raw, floor, buffer = (
        procyclicality.step_response(chain(rule), factor, sigma_daily=0.03) for rule in ("none", "floor", "buffer")
    )
    alone = procyclicality.step_response(lambda v: _haircut(_garch(v)), factor, sigma_daily=0.03)
    np.testing.assert_allclose(raw.response, alone.response, rtol=1e-12)
    if factor > 1:
        assert (buffer.response[1:30] < raw.response[1:30]).all(), "a buffer absorbs the first rise"
        budget = 0.006 + 3.0 * _garch(np.full(2000, 0.03**2))[-1]
        risen = -np.log1p(-raw.response[1] * -np.expm1(-budget))
        held = -np.expm1(-max(risen, 1.25 * budget)) / -np.expm1(-1.25 * budget)
        assert buffer.response[1] == pytest.approx(held, abs=1e-6), "it stands still until the buffer is used up"
    else:
        assert (floor.response[1:] > raw.response[1:]).all(), "a floor does not follow volatility down"


def test_overshoot_is_measured_against_where_the_response_settles() -> None:
    def spike(squared: np.ndarray) -> np.ndarray:
        level = np.where(squared > squared[0], 2.0, 1.0)
        level[np.argmax(level > 1)] = 3.0
        return level

    found = procyclicality.step_response(spike, 2.0, sigma_daily=0.03, days=5, warm_up_days=5, settle_days=10)
    assert found.response.tolist() == [1, 3, 2, 2, 2, 2]
    assert (found.limit, found.overshoot, found.days_to_most) == (2.0, 1.5, 1)
    flat = procyclicality.step_response(np.ones_like, 2.0, sigma_daily=0.03, days=5, warm_up_days=5, settle_days=10)
    assert (flat.limit, flat.overshoot, flat.days_to_most) == (1.0, 1.0, None)


def test_a_fall_is_measured_downwards() -> None:
    found = procyclicality.step_response(_ewma, 0.5, sigma_daily=0.03)
    assert found.limit == pytest.approx(0.5)
    assert found.overshoot == pytest.approx(1.0)
    reached = (found.response - 1) / (0.5 - 1)
    assert found.days_to_most is None or reached[found.days_to_most] >= 0.95 > reached[found.days_to_most - 1]


def test_chains_that_say_too_little_are_refused() -> None:
    with pytest.raises(ValueError, match="one value a close"):
        procyclicality.step_response(lambda v: v[:-1], 2.0, sigma_daily=0.03)
    with pytest.raises(ValueError, match="lengthen warm_up_days"):
        procyclicality.step_response(
            lambda v: np.where(np.arange(len(v)) < 40, np.nan, v), 2.0, sigma_daily=0.03, warm_up_days=20
        )
    with pytest.raises(ValueError, match="both positive"):
        procyclicality.step_response(_ewma, 0.0, sigma_daily=0.03)
    with pytest.raises(ValueError, match="settle_days"):
        procyclicality.step_response(_ewma, 2.0, sigma_daily=0.03, settle_days=10)


def test_under_margined_days_and_their_lag() -> None:
    live = np.asarray([80, 80, 80, np.nan, 80, 80, 75, 75, 75, 75.0])
    wanted = np.asarray([81, 80, 78, 70, 76, 80, 75, 74, np.nan, 73.0])
    found = procyclicality.under_margined(live, wanted, tightening_is_down=True)
    assert (found.days, found.under_days, found.share) == (8, 4, 0.5)
    assert (found.mean_gap, found.largest_gap) == (pytest.approx(2.25), 4.0)
    assert (found.spells, found.mean_lag_days, found.longest_lag_days, found.is_open) == (2, 2.0, 2, True)
    assert np.isnan(found.cost_sum), "without a tail there is no cost, and none is not zero"
    margins = procyclicality.under_margined(-live, -wanted, tightening_is_down=False)
    assert margins.under_days == found.under_days
    swapped = procyclicality.under_margined(live, wanted, tightening_is_down=False)
    assert swapped.under_days == 1


def test_cost_is_the_expected_bad_debt_at_what_is_in_force() -> None:
    live, wanted = np.full(5, 85.0), np.asarray([80, 80, 90, 80, 80.0])
    absorbed = np.asarray([0.08, 0.10, 0.15, 0.03, np.nan])
    found = procyclicality.under_margined(live, wanted, tightening_is_down=True, absorbed_move=absorbed, law=LAW)
    at_threshold = float(tails.expected_bad_debt(0.05, **LAW))
    assert found.cost_sum == pytest.approx(0.0004198047 + 0.0002353904 + at_threshold, abs=2e-10)
    assert (found.under_days, found.costed_days, found.bounded_days) == (4, 3, 1)
    assert found.cost_mean == pytest.approx(found.cost_sum / 3)
    never = procyclicality.under_margined(live, live, tightening_is_down=True, absorbed_move=absorbed, law=LAW)
    assert (never.under_days, never.cost_sum, never.cost_mean, never.spells) == (0, 0.0, 0.0, 0)
    nothing = procyclicality.under_margined([np.nan], [1.0], tightening_is_down=True)
    assert (nothing.days, nothing.is_open) == (0, False)
    assert np.isnan(nothing.share)


def test_a_cost_needs_move_and_law() -> None:
    with pytest.raises(ValueError, match="belong together"):
        procyclicality.under_margined([1.0], [0.0], tightening_is_down=True, absorbed_move=[0.1])
    with pytest.raises(ValueError, match="law without xi"):
        procyclicality.under_margined(
            [1.0],
            [0.0],
            tightening_is_down=True,
            absorbed_move=[0.1],
            law={k: v for k, v in LAW.items() if k != "xi"},
        )
    with pytest.raises(ValueError, match="one value a day"):
        procyclicality.under_margined([1.0, 2.0], [0.0], tightening_is_down=True)


def test_the_report_card_compares_the_days_that_both_know() -> None:
    impulse = procyclicality.ewma_response(2.0, 0.94)
    raw = np.asarray(TOY)
    smoothed = np.where(raw < 12, np.nan, 12.0)
    card = procyclicality.report_card(raw, smoothed, raw_impulse=impulse, smoothed_impulse=impulse)
    assert card.raw.peak_to_trough == pytest.approx(18 / 12)
    assert card.smoothed.peak_to_trough == 1.0
    assert card.raw.observations == card.smoothed.observations == 6
    assert card.under_margined is None
    with pytest.raises(ValueError, match="one factor"):
        procyclicality.report_card(
            raw, raw, raw_impulse=impulse, smoothed_impulse=Impulse(3.0, np.ones(2), 1.0, 1.0, None)
        )
    with pytest.raises(ValueError, match="one value a day"):
        procyclicality.report_card(raw, raw[1:], raw_impulse=impulse, smoothed_impulse=impulse)
