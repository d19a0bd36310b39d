"""Candles: every input row is accepted or set aside with a reason; spikes go, crashes stay, nothing later matters."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.candles import FIELDS, SYMBOL, Screened, canonical_symbol, screen

LATEST = pd.Timestamp("2022-12-31")


def bars(closes: np.ndarray | list[float], start: str = "2020-01-01") -> pd.DataFrame:
    """Consistent bars around given closes, with wicks of one per cent."""
    close = np.asarray(closes, dtype=np.float64)
    opening = np.concatenate([close[:1], close[:-1]])
    return pd.DataFrame(
        {
            "row_number": range(1, len(close) + 1),
            "date": pd.date_range(start, periods=len(close)).astype("datetime64[us]"),
            "open": opening,
            "high": np.maximum(opening, close) * 1.01,
            "low": np.minimum(opening, close) * 0.99,
            "close": close,
            "volume": 10.0,
            "volume_unit": "base",
        }
    )


def walk(n: int, seed: int = 1, sigma: float = 0.03) -> np.ndarray:
    return 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, sigma, n)))


def judged(frame: pd.DataFrame, *, is_close_only: bool = False) -> Screened:
    found = screen(frame, is_close_only=is_close_only, latest=LATEST)
    assert sorted([*found.accepted["row_number"], *found.quarantined["row_number"]]) == sorted(frame["row_number"])
    assert (found.quarantined["detail"] != "").all()
    return found


def test_plain_bars_pass_in_date_order_untouched() -> None:
    frame = bars(walk(200))
    found = judged(frame.sample(frac=1, random_state=3))
    pd.testing.assert_frame_equal(found.accepted, frame)
    assert found.quarantined.empty


@pytest.mark.parametrize(
    ("field", "value", "reason", "detail"),
    [
        ("date", pd.NaT, "unreadable_date", "no day"),
        ("date", pd.Timestamp("1970-01-01"), "out_of_range_date", "1970-01-01 lies before"),
        ("date", pd.Timestamp("9999-12-31"), "out_of_range_date", "9999-12-31 lies before 1970-01-02 or in the future"),
        ("date", pd.Timestamp("2023-01-01"), "out_of_range_date", "2023-01-01"),
        ("date", pd.Timestamp("2020-01-06 08:00"), "not_a_utc_day", "2020-01-06 08:00:00 UTC"),
        ("close", np.nan, "not_finite", "close nan"),
        ("high", np.inf, "not_finite", "high inf"),
        ("low", -np.inf, "not_finite", "low -inf"),
        ("low", 0.0, "not_positive", "low 0"),
        ("open", -3.0, "not_positive", "open -3"),
        ("low", 1e-30, "absurd_scale", "low 1e-30"),
        ("high", 1e308, "absurd_scale", "high 1e+308"),
        ("high", 50.0, "broken_ohlc_order", "high 50"),
        ("low", 200.0, "broken_ohlc_order", "low 200"),
        ("volume", -1.0, "negative_volume", "volume -1"),
        ("volume", np.inf, "not_finite", "volume inf"),
        ("volume_unit", "coins", "unknown_volume_unit", "'coins'"),
        ("volume_unit", "", "unknown_volume_unit", "''"),
        ("note", "close '1,234.5' is no number", "unreadable_number", "'1,234.5'"),
    ],
)
def test_an_impossible_row_is_set_aside_with_its_reason(field: str, value: object, reason: str, detail: str) -> None:
    frame = bars([100.0] * 10).assign(note="")
    frame.loc[5, field] = value
    found = judged(frame)
    assert list(found.quarantined["row_number"]) == [6]
    assert list(found.quarantined["reason"]) == [reason]
    assert detail in found.quarantined["detail"].iloc[0]


def test_the_first_reason_that_applies_is_the_one_given() -> None:
    frame = bars([100.0] * 5).assign(note="")
    frame.loc[2, ["close", "volume", "volume_unit"]] = [np.nan, -1.0, "coins"]
    assert list(judged(frame).quarantined["reason"]) == ["not_finite"]


def test_unknown_volume_is_no_fault_and_the_last_digit_no_broken_order() -> None:
    frame = bars([100.0] * 5)
    frame.loc[2, "volume"] = np.nan
    frame.loc[3, "high"] = 100.0 * (1 - 1e-12)
    assert judged(frame).quarantined.empty


def test_close_only_sources_need_closes_only() -> None:
    frame = bars([50.0, 51.0, np.nan, 52.0, -37.63, np.inf]).assign(note="")
    frame[["open", "high", "low", "volume"]] = np.nan
    found = judged(frame, is_close_only=True)
    assert list(found.accepted["row_number"]) == [1, 2, 4]
    assert list(found.quarantined["reason"]) == ["no_quote", "not_positive", "not_finite"]
    assert set(judged(frame).quarantined["reason"]) == {"not_finite"}
    frame.loc[2, "note"] = "close 'n.q.' is no number"
    assert judged(frame, is_close_only=True).quarantined["reason"].iloc[0] == "unreadable_number"


def test_a_day_that_repeats_itself_counts_once() -> None:
    frame = bars([100.0, 101.0, 102.0])
    again = frame.iloc[[1]].assign(row_number=4)
    found = judged(pd.concat([frame, again]))
    assert list(found.accepted["row_number"]) == [1, 2, 3]
    assert list(found.quarantined["reason"]) == ["duplicate_same"]
    assert "rows 2, 4" in found.quarantined["detail"].iloc[0]


@pytest.mark.parametrize(("field", "value"), [("close", 101.5), ("volume", 11.0), ("volume_unit", "quote_usd")])
def test_a_day_that_contradicts_itself_is_set_aside_whole(field: str, value: object) -> None:
    frame = bars([100.0, 101.0, 102.0])
    found = judged(pd.concat([frame, frame.iloc[[1]].assign(row_number=4, **{field: value})]))
    assert list(found.accepted["row_number"]) == [1, 3]
    assert list(found.quarantined["reason"]) == ["duplicate_conflict"] * 2
    assert "rows 2, 4 with closes 101 and 101" in found.quarantined["detail"].iloc[0]


def test_a_constant_market_passes() -> None:
    assert judged(bars([1.0] * 100)).quarantined.empty


def test_an_empty_input_gives_empty_frames() -> None:
    found = judged(bars([]))
    assert len(found.accepted) == len(found.quarantined) == 0


@pytest.mark.parametrize(("factor", "field"), [(0.00005, "low"), (5.5, "high")])
def test_a_wick_that_nothing_confirms_goes(factor: float, field: str) -> None:
    frame = bars(walk(300))
    frame.loc[200, field] *= factor
    found = judged(frame)
    assert list(found.quarantined["row_number"]) == [201]
    assert found.quarantined["reason"].iloc[0] == "reverting_spike"
    assert found.quarantined["detail"].iloc[0].startswith(f"{field} ")


@pytest.mark.parametrize(("factor", "field"), [(0.25, "low"), (4.0, "high")])
def test_a_wick_of_a_real_crash_stays(factor: float, field: str) -> None:
    """Venues have traded at half and a third of the price for minutes; liquidations happened there."""
    frame = bars(walk(300))
    frame.loc[200, field] *= factor
    assert judged(frame).quarantined.empty


@pytest.mark.parametrize("factor", [0.2, 4.0])
def test_a_close_that_comes_straight_back_goes(factor: float) -> None:
    close = walk(300)
    close[200] *= factor
    found = judged(bars(close))
    assert list(found.quarantined["row_number"]) == [201]
    assert found.quarantined["detail"].iloc[0].startswith("close ")
    assert list(judged(bars(close), is_close_only=True).quarantined["row_number"]) == [201]


@pytest.mark.parametrize("fall", [0.6, 0.3, 0.001])
def test_a_crash_that_stays_down_stays(fall: float) -> None:
    close = walk(300)
    close[200:] *= fall
    assert judged(bars(close)).quarantined.empty


def test_a_crash_that_comes_half_way_back_stays() -> None:
    close = walk(300, sigma=0.02)
    close[200] *= 0.5
    close[201:] *= 0.75
    assert judged(bars(close)).quarantined.empty


def test_the_newest_close_is_judged_when_the_next_has_come() -> None:
    close = walk(200)
    close[198] *= 0.1
    assert judged(bars(close[:199])).quarantined.empty
    assert list(judged(bars(close)).quarantined["row_number"]) == [199]


@given(seed=st.integers(0, 10_000), cut=st.integers(3, 118), jump=st.sampled_from([0.05, 1.0, 20.0]))
@settings(max_examples=60, deadline=None)
def test_no_verdict_depends_on_bars_after_the_next(seed: int, cut: int, jump: float) -> None:
    close = walk(120, seed, sigma=0.1)
    close[cut - 2] *= jump
    other = close.copy()
    other[cut:] = walk(120 - cut, seed + 1, sigma=0.5)
    ours, theirs = judged(bars(close)), judged(bars(other))
    known = cut - 2
    assert set(ours.quarantined["row_number"][ours.quarantined["row_number"] <= known + 1]) == set(
        theirs.quarantined["row_number"][theirs.quarantined["row_number"] <= known + 1]
    )


numbers = st.one_of(st.floats(1, 200), st.sampled_from([0.0, -1.0, np.nan, np.inf, -np.inf, 1e308, 1e-30]))


@given(
    rows=st.lists(st.tuples(st.integers(0, 12), numbers, numbers, numbers, numbers, numbers), max_size=20),
    is_close_only=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_whatever_comes_is_accounted_for_and_what_passes_is_sound(
    rows: list[tuple[float, ...]], is_close_only: bool
) -> None:
    frame = bars([1.0] * len(rows))
    for column, values in zip((*FIELDS, "volume"), list(zip(*rows, strict=True))[1:], strict=False):
        frame[column] = np.asarray(values, dtype=np.float64)
    frame["date"] = pd.Timestamp("2020-01-01") + pd.to_timedelta([row[0] for row in rows], unit="D")
    frame["date"] = frame["date"].astype("datetime64[us]")
    before = frame.copy()
    found = judged(frame, is_close_only=is_close_only)
    pd.testing.assert_frame_equal(frame, before)
    kept = found.accepted
    assert kept["date"].is_monotonic_increasing
    assert kept["date"].is_unique
    assert ((kept["close"] > 0) & np.isfinite(kept["close"])).all()
    if not is_close_only:
        assert (kept["high"] >= kept[["open", "low", "close"]].max(axis=1) * (1 - 1e-8)).all()
        assert (kept["low"] > 0).all()
    as_read = frame.set_index("row_number").loc[kept["row_number"]].reset_index()
    pd.testing.assert_frame_equal(kept, as_read[kept.columns], check_index_type=False)


@pytest.mark.parametrize(
    ("text", "symbol"),
    [(" btc ", "BTC"), ("NA", "NA"), ("1e5", "1E5"), ("ＢＴＣ", "BTC"), ("A.b-C_9", "A.B-C_9")],
)
def test_ids_are_made_canonical(text: str, symbol: str) -> None:
    assert canonical_symbol(text) == symbol


@pytest.mark.parametrize(
    "text",
    ["", " ", "ВТС", "BTC\n<b>", "A" * 21, "../etc", "-BTC", "BTC/USD", "B\u202eTC", "B\x00TC", "BTC\nX"],
)
def test_ids_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no market id"):
        canonical_symbol(text)


@given(st.text(max_size=30))
def test_a_canonical_id_is_safe_and_stays_itself(text: str) -> None:
    try:
        symbol = canonical_symbol(text)
    except ValueError:
        return
    assert SYMBOL.fullmatch(symbol)
    assert symbol.isascii()
    assert canonical_symbol(symbol) == symbol
