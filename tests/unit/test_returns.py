"""Returns: one day is one day, and what is no price is refused by its date."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.returns import valid_returns


def bars(closes: list[float], valid: list[bool] | None = None) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "date": pd.date_range("2020-01-01", periods=len(closes), freq="D"),
            "close_usd": closes,
            "is_return_valid": valid if valid is not None else [i > 0 for i in range(len(closes))],
        }
    )


def test_log_returns_by_hand() -> None:
    r = valid_returns(bars([100.0, 110.0, 99.0]))
    assert list(r.index) == [pd.Timestamp("2020-01-02"), pd.Timestamp("2020-01-03")]
    np.testing.assert_allclose(r, [0.09531017980432487, -0.10536051565782628], rtol=1e-14)


def test_a_return_over_a_gap_is_no_return_and_joins_nothing() -> None:
    r = valid_returns(bars([100.0, 110.0, 50.0, 55.0], [False, True, False, True]))
    assert list(r.index) == [pd.Timestamp("2020-01-02"), pd.Timestamp("2020-01-04")]
    np.testing.assert_allclose(r, [np.log(1.1), np.log(1.1)], rtol=1e-14)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_a_close_that_is_no_price_is_named_by_date(bad: float) -> None:
    with pytest.raises(ValueError, match="close of 2020-01-03 is not positive"):
        valid_returns(bars([100.0, 101.0, bad, 102.0]))


def test_a_first_bar_marked_valid_is_refused() -> None:
    with pytest.raises(ValueError, match="2020-01-01 is the first bar and has no return"):
        valid_returns(bars([100.0, 101.0], [True, True]))


@pytest.mark.parametrize(
    ("order", "late"), [([0, 2, 1], "2020-01-02"), ([0, 1, 1], "2020-01-02")], ids=["unsorted", "repeated"]
)
def test_dates_out_of_order_are_named(order: list[int], late: str) -> None:
    frame = bars([100.0, 101.0, 102.0]).iloc[order].reset_index(drop=True)
    with pytest.raises(ValueError, match=f"not in date order at {late}"):
        valid_returns(frame)


def test_no_bars_give_no_returns() -> None:
    assert valid_returns(bars([1.0]).iloc[:0]).empty
    assert valid_returns(bars([1.0])).empty


@settings(max_examples=50, deadline=None)
@given(
    closes=st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=30),
    factor=st.sampled_from([1e-3, 7.0, 1000.0]),
)
def test_returns_add_up_and_do_not_depend_on_the_unit_of_the_price(closes: list[float], factor: float) -> None:
    r = valid_returns(bars(closes))
    assert r.sum() == pytest.approx(np.log(closes[-1] / closes[0]), abs=1e-12)
    np.testing.assert_allclose(valid_returns(bars([factor * c for c in closes])), r, rtol=0, atol=2e-14)
