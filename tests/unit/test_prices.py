"""Prices: gaps against the calendar, returns that count, traded value, and a hash that knows the past only."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.prices import build_prices

DAILY = pd.date_range("2022-01-01", periods=60)


def candles(days: pd.DatetimeIndex, *, unit: str = "base", volume: object = 10.0) -> pd.DataFrame:
    close = 100 + np.arange(len(days), dtype=np.float64)
    return pd.DataFrame(
        {
            "date": days.astype("datetime64[us]"),
            "symbol": "AAA",
            "source": "test",
            "open_usd": close - 1,
            "high_usd": close + 1,
            "low_usd": close - 2,
            "close_usd": close,
            "volume": volume,
            "volume_unit": unit,
            "is_known_at_assumed": True,
            "venue_count": 1,
            "feed_status": "single source",
            "dispersion_bp": np.nan,
            "stress_low_usd": close - 2,
            "venue_low_usd": close - 2,
        }
    )


def test_plain_bars() -> None:
    out = build_prices(candles(DAILY[:4]), DAILY[:4], listing_days_dropped=0)
    assert list(out["previous_close_usd"].fillna(0)) == [0, 100, 101, 102]
    assert list(out["bar_number"]) == [1, 2, 3, 4]
    assert list(out["gap_sessions"]) == [0] * 4
    assert list(out["is_return_valid"]) == [False, True, True, True]
    assert list(out["volume_usd"]) == [1000, 1010, 1020, 1030]
    assert out["adv_usd"].isna().all()
    assert out["price_hash"].is_unique


def test_a_gap_is_counted_and_the_return_over_it_is_not_one_day() -> None:
    out = build_prices(candles(DAILY[[0, 1, 4, 5, 9]]), DAILY[:10], listing_days_dropped=0)
    assert list(out["gap_sessions"]) == [0, 0, 2, 0, 3]
    assert list(out["is_return_valid"]) == [False, True, False, True, False]


def test_closed_days_are_no_gap_and_a_bar_outside_the_calendar_hides_none() -> None:
    weekdays = pd.bdate_range("2022-01-03", "2022-01-14")
    out = build_prices(candles(weekdays), weekdays, listing_days_dropped=0)
    assert out["gap_sessions"].eq(0).all()
    odd = pd.DatetimeIndex(["2022-01-06", "2022-01-08", "2022-01-10", "2022-01-11"])
    assert list(build_prices(candles(odd), weekdays, listing_days_dropped=0)["gap_sessions"]) == [0, 1, 0, 0]


@given(st.sets(st.integers(0, 29), min_size=1), st.sets(st.integers(0, 29)))
@settings(max_examples=150, deadline=None)
def test_gaps_equal_a_count_by_hand(present: set[int], closed: set[int]) -> None:
    days = DAILY[sorted(present)]
    calendar = DAILY[[i for i in range(30) if i not in closed]]
    out = build_prices(candles(days), calendar, listing_days_dropped=0)
    for earlier, row in zip([None, *days[:-1]], out.itertuples(), strict=True):
        by_hand = 0 if earlier is None else int(((calendar > earlier) & (calendar < row.date)).sum())
        assert row.gap_sessions == by_hand


def test_the_listing_period_does_not_count() -> None:
    out = build_prices(candles(DAILY[:20]), DAILY, listing_days_dropped=10)
    assert out["is_return_valid"].sum() == 10
    assert not out["is_return_valid"].iloc[:10].any()


@pytest.mark.parametrize(("unit", "first"), [("base", 1000.0), ("quote_usd", 10.0), ("none", np.nan)])
def test_traded_value_by_unit(unit: str, first: float) -> None:
    out = build_prices(candles(DAILY[:40], unit=unit), DAILY, listing_days_dropped=0)
    np.testing.assert_equal(out["volume_usd"].iloc[0], first)
    assert out["adv_usd"].isna().all() == (unit == "none")


def test_the_median_takes_thirty_bars_and_needs_ten() -> None:
    volume = np.arange(1.0, 61.0)
    volume[5] = np.nan
    out = build_prices(candles(DAILY, unit="quote_usd", volume=volume), DAILY, listing_days_dropped=0)
    assert out["adv_usd"].iloc[:10].isna().all()
    assert out["adv_usd"].iloc[10] == np.median([1, 2, 3, 4, 5, 7, 8, 9, 10, 11])
    assert out["adv_usd"].iloc[-1] == np.median(volume[-30:])


@given(day=st.integers(0, 39), field=st.sampled_from(["open_usd", "high_usd", "low_usd", "close_usd", "volume"]))
@settings(max_examples=40, deadline=None)
def test_the_hash_names_the_past_and_only_the_past(day: int, field: str) -> None:
    frame = candles(DAILY[:40])
    changed = frame.copy()
    changed.loc[day, field] *= 1 + 1e-12
    before, after = (build_prices(one, DAILY, listing_days_dropped=0)["price_hash"] for one in (frame, changed))
    assert (before[:day] == after[:day]).all()
    assert (before[day:] != after[day:]).all()


def test_a_missing_bar_changes_the_hash_from_there_on() -> None:
    whole = build_prices(candles(DAILY[:10]), DAILY, listing_days_dropped=0)
    less = build_prices(candles(DAILY[:10]).drop(index=4), DAILY, listing_days_dropped=0)
    assert list(whole["price_hash"][:4]) == list(less["price_hash"][:4])
    assert not set(whole["price_hash"][5:]) & set(less["price_hash"][4:])


def test_close_only_bars_and_a_repeated_day() -> None:
    frame = candles(DAILY[:5], unit="none")
    frame[["open_usd", "high_usd", "low_usd", "volume"]] = np.nan
    assert build_prices(frame, DAILY, listing_days_dropped=0)["is_return_valid"].sum() == 4
    with pytest.raises(ValueError, match="AAA: 2022-01-03 stands twice"):
        build_prices(pd.concat([frame, frame.iloc[[2]]]), DAILY, listing_days_dropped=0)
