"""Triage: whatever the screen refuses a row of is doubtful, and what is sound is not."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll import triage
from plimsoll.candles import VOLUME_UNITS, screen

LATEST = pd.Timestamp("2020-12-31")
ODD = [np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-13, 1e16]


def columns_of(rows: pd.DataFrame, series: np.ndarray) -> triage.Columns:
    return triage.Columns(
        series=series,
        day=rows["date"].to_numpy("datetime64[us]"),
        is_unit_known=rows["volume_unit"].isin(VOLUME_UNITS).to_numpy(),
        **{name: rows[name].to_numpy(np.float64) for name in ("open", "high", "low", "close", "volume")},
    )


def walk(seed: int, days: int = 30, sigma: float = 0.05) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(sigma * rng.standard_normal(days)))
    opening = np.concatenate([[100.0], close[:-1]])
    rows = pd.DataFrame({"row_number": range(1, days + 1), "date": pd.date_range("2020-02-01", periods=days)})
    rows = rows.assign(open=opening, high=np.maximum(opening, close) * 1.01, low=np.minimum(opening, close) / 1.01)
    return rows.assign(close=close, volume=1.0, volume_unit="base").astype({"date": "datetime64[us]"})


def found(parts: list[pd.DataFrame], series: list[np.ndarray], count: int) -> np.ndarray:
    latest = np.datetime64(LATEST, "us")
    return triage.doubtful(
        [triage.examine(columns_of(a, b), count, latest=latest) for a, b in zip(parts, series, strict=True)]
    )


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    field=st.sampled_from(["open", "high", "low", "close", "volume"]),
    row=st.integers(0, 29),
    value=st.one_of(st.sampled_from(ODD), st.floats(1e-3, 1e4)),
    cut=st.integers(1, 29),
    day=st.sampled_from([None, "1969-01-01", "2021-06-01", "2020-02-05 07:00", "2020-02-10", "NaT"]),
)
def test_what_the_screen_refuses_is_doubtful(
    seed: int, field: str, row: int, value: float, cut: int, day: str | None
) -> None:
    rows = walk(seed)
    rows.loc[row, field] = value
    if day is not None:
        rows.loc[row, "date"] = pd.Timestamp(day)
    refused = len(screen(rows, is_close_only=False, latest=LATEST).quarantined)
    parts = [rows.iloc[:cut], rows.iloc[cut:]]
    doubts = found(parts, [np.zeros(len(one), dtype=np.int64) for one in parts], 1)
    assert doubts[0] or not refused


def test_sound_series_are_not_doubtful_and_others_do_not_touch_them() -> None:
    frames = [walk(n) for n in range(4)]
    frames[2].loc[7, "close"] = np.nan
    frames[3]["volume"] = np.nan
    rows = pd.concat(frames, ignore_index=True)
    series = np.repeat(np.arange(4), 30)
    for order in (np.arange(120), np.argsort(rows["date"], kind="stable"), np.random.default_rng(1).permutation(120)):
        mixed = rows.iloc[order].reset_index(drop=True)
        assert list(found([mixed], [series[order]], 5)) == [False, False, True, False, False]


@pytest.mark.parametrize(
    ("shift", "factor", "expected"),
    [(0, 1.0, False), (-1, 1.0, True), (0, 2.0, True), (0, 0.5, True), (3, 1.0, False)],
)
def test_files_must_meet_without_overlap_or_step(shift: int, factor: float, expected: bool) -> None:
    first, second = walk(1).iloc[:15], walk(1).iloc[15:].copy()
    second["date"] += pd.Timedelta(days=shift)
    for name in ("open", "high", "low", "close"):
        second[name] *= factor
    zeros = [np.zeros(15, dtype=np.int64)] * 2
    assert found([first, second], zeros, 1)[0] == expected
    assert found([second, first], zeros, 1)[0] == expected, "the order of files makes no difference"
