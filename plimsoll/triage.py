"""Triage: which of many series the screen could have anything against, told by arithmetic on whole columns.

What lives here: a test that is stricter than the screen, so that a series which passes it would be accepted row by row,
and putting the findings of several files together. What does not: the rules themselves (``plimsoll.candles``), which
judge every series that does not pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plimsoll.candles import EARLIEST, LARGEST, SMALLEST, SPIKE_CLOSE, SPIKE_WICK

Floats = NDArray[np.float64]
Days = NDArray[np.datetime64]
MARGIN = 0.99
"""Bounds are drawn this much tighter than the screen's, for rounding."""
STEP = float(np.exp(SPIKE_CLOSE)) * MARGIN
WICK = float(np.exp(SPIKE_WICK)) * MARGIN


@dataclass(frozen=True)
class Columns:
    """Rows of one file, column by column, all of one length.

    Attributes
    ----------
    series
        Number of the series, from 0.
    day
        Beginning of the bar, UTC; NaT where unreadable.
    open, high, low, close, volume
        As read; NaN where absent.
    is_unit_known
        Whether the unit of volume is one of those that are known.
    """

    series: NDArray[np.int64]
    day: Days
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    is_unit_known: NDArray[np.bool_]


@dataclass(frozen=True)
class Findings:
    """What a file has of each series.

    Attributes
    ----------
    count
        Rows.
    is_doubtful
        Whether the screen might refuse one of them.
    first_day, last_day, first_close, last_close
        Ends of the series in this file; NaT and NaN where it has no rows.
    """

    count: NDArray[np.int64]
    is_doubtful: NDArray[np.bool_]
    first_day: Days
    last_day: Days
    first_close: Floats
    last_close: Floats


def examine(rows: Columns, series_count: int, *, latest: np.datetime64) -> Findings:
    """Look at every series of a file at once.

    Parameters
    ----------
    rows
        Columns of the file; in any order.
    series_count
        Number of series that there are.
    latest
        Last day that can be final; a later one is doubtful.

    Returns
    -------
    Findings
        One entry a series.
    """
    order = _by_series_and_day(rows)
    bad = _is_bad(rows, latest)[order]
    series, day, close = rows.series[order], rows.day[order], rows.close[order]
    is_same = series[1:] == series[:-1]
    bad[1:] |= is_same & ((day[1:] == day[:-1]) | ~_is_gentle(close[:-1], close[1:]))
    count = np.bincount(series, minlength=series_count)
    doubtful = np.bincount(series, weights=bad, minlength=series_count) > 0
    ends = np.cumsum(count)
    some = count > 0
    first_day = np.full(series_count, np.datetime64("NaT"), dtype="datetime64[us]")
    last_day, first_close = first_day.copy(), np.full(series_count, np.nan)
    last_close = first_close.copy()
    begins, finishes = (ends - count)[some], ends[some] - 1
    first_day[some], last_day[some] = day[begins], day[finishes]
    first_close[some], last_close[some] = close[begins], close[finishes]
    return Findings(count, doubtful, first_day, last_day, first_close, last_close)


def doubtful(files: Sequence[Findings]) -> NDArray[np.bool_]:
    """Return which series need a look in any file, or where two files meet: an overlap or a steep step between them."""
    found = np.logical_or.reduce([one.is_doubtful for one in files])
    first = np.stack([one.first_day for one in files])
    # Files without the series come last and are compared with nothing.
    rank = np.argsort(first, axis=0, kind="stable")
    first_day, last_day, first_close, last_close = (
        np.take_along_axis(np.stack([getattr(one, name) for one in files]), rank, axis=0)
        for name in ("first_day", "last_day", "first_close", "last_close")
    )
    is_next = ~np.isnat(first_day[1:])
    is_apart = first_day[1:] > last_day[:-1]
    meets_badly = is_next & ~(is_apart & _is_gentle(last_close[:-1], first_close[1:]))
    return np.asarray(found | meets_badly.any(axis=0), dtype=np.bool_)


def _by_series_and_day(rows: Columns) -> NDArray[np.intp]:
    day = rows.day.astype("int64")
    if len(day) < 2 or (day[1:] >= day[:-1]).all():
        # Files are mostly in the order of days: then sorting by series alone will do, and that is quick.
        small = rows.series.astype(np.int16) if rows.series.max(initial=0) < 2**15 else rows.series
        return np.argsort(small, kind="stable")
    return np.lexsort((day, rows.series))


def _is_gentle(before: Floats, after: Floats) -> NDArray[np.bool_]:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = after / before
        return np.asarray((ratio <= STEP) & (ratio * STEP >= 1), dtype=np.bool_)


def _is_bad(rows: Columns, latest: np.datetime64) -> NDArray[np.bool_]:
    day = rows.day
    whole = day.astype("datetime64[D]")
    fine = (day == whole) & (day >= np.datetime64(EARLIEST, "us")) & (day <= latest)
    fine &= rows.is_unit_known
    with np.errstate(invalid="ignore", over="ignore"):
        for values in (rows.open, rows.high, rows.low, rows.close):
            fine &= (values >= SMALLEST) & (values <= LARGEST)
        top, bottom = np.maximum(rows.open, rows.close), np.minimum(rows.open, rows.close)
        fine &= (rows.high >= top) & (rows.low <= bottom)
        fine &= (rows.high <= WICK * top) & (rows.low * WICK >= bottom)
        fine &= np.isnan(rows.volume) | ((rows.volume >= 0) & np.isfinite(rows.volume))
    return np.asarray(~fine, dtype=np.bool_)
