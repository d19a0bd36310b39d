"""Spans: days without bars, bars without trading, and series that ended.

What lives here: the rules for missing days, halts and delistings, as spans of days. What does not: verdicts on a bar.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from plimsoll.consensus.features import Own
from plimsoll.consensus.numerics import Bools, Floats, Ints, trailing_quantile
from plimsoll.consensus.panel import Codes, Panel

MISSING, FLAT, NO_VOLUME, DELISTED = "missing_days", "flat_bar", "zero_volume", "delisted"

SILENT_DAYS = 7
ALIVE_SHARE = 0.5
SATURDAY = 2
"""1970-01-01 was a Thursday: (day number - 2) % 7 is 0 on Saturdays and 1 on Sundays."""


@dataclass(frozen=True)
class Spans:
    """Spans as day numbers; ``known_on`` is the day of the newest bar that the statement uses."""

    kind: str
    symbol: list[str]
    source: list[str]
    start: Ints
    end: Ints
    known_on: Ints
    detail: list[str]


def bar_spans(panel: Panel, own: Own, seen: Bools) -> list[Spans]:
    """Find missing days and bars without trading.

    Parameters
    ----------
    seen
        Places where a row came and was set aside before, shape (rows, slots); such days are not missing.
    """
    return [_missing(panel, own, seen), *_still(panel, own)]


def _names(panel: Panel, row: Ints, slot: Ints) -> tuple[list[str], list[str]]:
    symbol = [panel.symbols[one] for one in panel.symbol[row]]
    return symbol, [panel.sources[one] for one in panel.source_of_rows[row, slot]]


def _missing(panel: Panel, own: Own, seen: Bools) -> Spans:
    weekday = (panel.day - SATURDAY) % 7
    is_weekend = np.broadcast_to((weekday <= 1)[:, None], panel.c.shape)
    traded = trailing_quantile(
        np.where(panel.is_bar, is_weekend.astype(np.float64), np.nan), panel.starts, window=20, q=1, fewest=1
    )
    # Between the first and the last bar of the series.
    inside = (panel.before >= 0) & (panel.after >= 0) & ~panel.is_bar & ~seen
    gone = inside & ~(is_weekend & (traded == 0))
    back = panel.days_at(panel.after)
    row, slot = np.nonzero(gone.T)[::-1]
    if not len(row):
        none = np.empty(0, dtype=np.int64)
        return Spans(MISSING, [], [], none, none, none, [])
    key = back[row, slot]
    is_new = np.ones(len(row), dtype=bool)
    is_new[1:] = (slot[1:] != slot[:-1]) | (key[1:] != key[:-1]) | (panel.symbol[row[1:]] != panel.symbol[row[:-1]])
    first = np.flatnonzero(is_new)
    last = np.append(first[1:], len(row)) - 1
    counts = last - first + 1
    symbol, source = _names(panel, row[first], slot[first])
    start, end = panel.day[row[first]], panel.day[row[last]]
    return Spans(
        MISSING, symbol, source, start, end, key[first].astype(np.int64), [f"{n} day(s) absent" for n in counts]
    )


def _still(panel: Panel, own: Own) -> list[Spans]:
    out = []
    for kind, where, words in (
        (FLAT, own.span == 0, "high and low are one price"),
        (NO_VOLUME, panel.volume == 0, "no volume"),
    ):
        row, slot = np.nonzero(where & panel.is_bar)
        symbol, source = _names(panel, row, slot)
        day = panel.day[row]
        out.append(Spans(kind, symbol, source, day, day, day, [words] * len(row)))
    return out


def delistings(codes: Codes) -> Spans:
    """Find series that ended while at least half of their source's other series went on for seven days and more.

    A series that comes back later was halted: it is a span of missing days then, and no delisting.
    """
    empty = np.empty(0, dtype=np.int64)
    if not len(codes.day):
        return Spans(DELISTED, [], [], empty, empty, empty, [])
    is_last = np.ones(len(codes.day), dtype=bool)
    is_last[:-1] = (codes.symbol[1:] != codes.symbol[:-1]) | (codes.source[1:] != codes.source[:-1])
    table = pd.DataFrame({"symbol": codes.symbol, "source": codes.source, "last": codes.day})[is_last]
    symbols, sources, ends, shares = [], [], [], []
    for source in sorted(set(table["source"].tolist())):
        own = table[table["source"] == source]
        last = np.sort(own["last"].to_numpy())
        for symbol, end in zip(own["symbol"], own["last"], strict=True):
            alive = len(last) - np.searchsorted(last, end, side="left") - 1
            later = len(last) - np.searchsorted(last, end + SILENT_DAYS, side="left")
            if later > 0 and later >= ALIVE_SHARE * alive and later >= ALIVE_SHARE * (len(last) - 1) * 0.2:
                symbols.append(codes.symbols[symbol])
                sources.append(codes.sources[source])
                ends.append(int(end))
                shares.append(f"the last bar; {later} of the source's other series go on")
    at = np.array(ends, dtype=np.int64)
    return Spans(DELISTED, symbols, sources, at, at, at + SILENT_DAYS, shares)


def frame_of(spans: list[Spans]) -> pd.DataFrame:
    """Put spans into a table of start, end, symbol, source, kind, detail, known_on."""

    def days(values: Ints | Floats) -> pd.Series:
        return pd.Series(np.asarray(values, dtype=np.int64).astype("datetime64[D]").astype("datetime64[us]"))

    parts = [
        pd.DataFrame(
            {
                "start": days(one.start),
                "end": days(one.end),
                "symbol": pd.Series(one.symbol, dtype=str),
                "source": pd.Series(one.source, dtype=str),
                "kind": pd.Series([one.kind] * len(one.symbol), dtype=str),
                "detail": pd.Series(one.detail, dtype=str),
                "known_on": days(one.known_on),
            }
        )
        for one in spans
    ]
    whole = pd.concat(parts, ignore_index=True)
    return whole.sort_values(["symbol", "source", "kind", "start"], kind="stable", ignore_index=True)
