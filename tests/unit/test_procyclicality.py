"""Procyclicality: the published toy example and the closed form of the impulse response."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll import procyclicality

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
