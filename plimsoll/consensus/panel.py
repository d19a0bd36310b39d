"""Panel: candles of many sources laid side by side, one row for each symbol and day, one column for each source.

What lives here: the dense arrays on which all rules work, the bar before and after, and what the whole market did.
What does not: rules.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from plimsoll.consensus.numerics import Bools, Floats, Ints

COLUMNS = ("date", "symbol", "source", "open_usd", "high_usd", "low_usd", "close_usd", "volume", "volume_unit")
CELLS_A_CHUNK = 1_500_000
SYMBOLS_FOR_A_MARKET = 5
DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Market:
    """What the median market did on each day, in log moves from the close before; zero where fewer than five traded.

    Attributes
    ----------
    first_day
        Day number of entry 0.
    low, high, close
        Median over all series of ln(low / previous close), and so on; shape (days,).
    """

    first_day: int
    low: Floats
    high: Floats
    close: Floats


@dataclass(frozen=True)
class Panel:
    """Some symbols, side by side.

    Attributes
    ----------
    symbols, sources
        Names that the ids stand for.
    day
        Day number since 1970-01-01 of each row; rows of a symbol are consecutive days.
    symbol
        Symbol id of each row.
    starts
        First row of each symbol, then the number of rows.
    source, venue
        Ids by symbol and slot, shape (symbols here, slots); -1 where the slot is empty.
    o, h, low, c
        Natural logs of prices, shape (rows, slots); NaN where there is no bar or no such field.
    volume
        As given; NaN where unknown or without unit.
    before, after
        Row of the source's bar before and after; -1 where there is none.
    """

    symbols: list[str]
    sources: list[str]
    day: Ints
    symbol: Ints
    starts: Ints
    source: Ints
    venue: Ints
    o: Floats
    h: Floats
    low: Floats
    c: Floats
    volume: Floats
    before: Ints
    after: Ints

    @property
    def slots(self) -> int:
        """Number of sources side by side."""
        return int(self.c.shape[1])

    @property
    def is_bar(self) -> Bools:
        """Where there is a bar."""
        return np.isfinite(self.c)

    @property
    def venue_of_rows(self) -> Ints:
        """Venue id, shape (rows, slots)."""
        return self.venue[self.symbol]

    @property
    def source_of_rows(self) -> Ints:
        """Source id, shape (rows, slots)."""
        return self.source[self.symbol]

    def at(self, values: Floats, rows: Ints) -> Floats:
        """Values of other rows in the same slot; NaN where the row is -1."""
        found = np.take_along_axis(values, np.maximum(rows, 0), axis=0)
        return np.where(rows >= 0, found, np.nan)

    def days_at(self, rows: Ints) -> Floats:
        """Day numbers of other rows; NaN where the row is -1."""
        return np.where(rows >= 0, self.day[np.maximum(rows, 0)].astype(np.float64), np.nan)

    def moved(self, values: Floats, by: int) -> Floats:
        """Values ``by`` days earlier (positive) or later (negative) of the same symbol; NaN beyond its days."""
        out = np.full_like(values, np.nan)
        if by > 0:
            out[by:] = np.where((self.symbol[by:] == self.symbol[:-by])[:, None], values[:-by], np.nan)
        else:
            out[:by] = np.where((self.symbol[:by] == self.symbol[-by:])[:, None], values[-by:], np.nan)
        return out


@dataclass(frozen=True)
class Codes:
    """The rows of a frame as sorted codes: by symbol, source and day."""

    symbols: list[str]
    sources: list[str]
    symbol: Ints
    source: Ints
    day: Ints
    frame: pd.DataFrame


def encode(candles: pd.DataFrame) -> Codes:
    """Sort candles and number their symbols, sources and days.

    Raises
    ------
    ValueError
        Where a column is missing, a day is no day, a close is not positive and finite, or a day of a series stands
        twice; names the row.
    """
    missing = [name for name in COLUMNS if name not in candles]
    if missing:
        raise ValueError(f"candles: column(s) {', '.join(missing)} missing; hand over {', '.join(COLUMNS)}")
    date = candles["date"].to_numpy(dtype="datetime64[ns]")
    if np.isnat(date).any():
        raise ValueError(f"candles: row {int(np.isnat(date).argmax()) + 1} has no day; screen rows first")
    symbol = pd.Categorical(candles["symbol"])
    source = pd.Categorical(candles["source"])
    if (symbol.codes < 0).any() or (source.codes < 0).any():
        row = int(((symbol.codes < 0) | (source.codes < 0)).argmax())
        raise ValueError(f"candles: row {row + 1} has no symbol or source; every row names both")
    close = candles["close_usd"].to_numpy(np.float64)
    bad = ~(np.isfinite(close) & (close > 0))
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(f"candles: row {row + 1}: close_usd {close[row]:g} is not a price; screen rows first")
    day = (date.astype("datetime64[D]") - np.datetime64("1970-01-01")).astype(np.int64)
    order = np.lexsort((day, source.codes, symbol.codes))
    s, q, d = symbol.codes[order].astype(np.int64), source.codes[order].astype(np.int64), day[order]
    twice = (s[1:] == s[:-1]) & (q[1:] == q[:-1]) & (d[1:] == d[:-1])
    if twice.any():
        at = order[int(twice.argmax()) + 1]
        raise ValueError(
            f"candles: {symbol[at]} of {source[at]} stands twice on {str(date[at])[:10]}; hand over one revision a day"
        )
    names = [str(one) for one in symbol.categories], [str(one) for one in source.categories]
    return Codes(*names, s, q, d, candles.iloc[order])


def market_of(codes: Codes) -> Market:
    """Compute the moves of the median market; see `Market`."""
    if not len(codes.day):
        return Market(0, np.zeros(1), np.zeros(1), np.zeros(1))
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = [np.log(codes.frame[f"{name}_usd"].to_numpy(np.float64)) for name in ("low", "high", "close")]
    is_next = np.zeros(len(codes.day), dtype=bool)
    is_next[1:] = (codes.symbol[1:] == codes.symbol[:-1]) & (codes.source[1:] == codes.source[:-1])
    is_next[1:] &= np.diff(codes.day) == 1
    before = np.concatenate([[np.nan], logs[2][:-1]])
    first = int(codes.day.min())
    table = pd.DataFrame({"day": codes.day - first, "symbol": codes.symbol})
    for name, values in zip(("low", "high", "close"), logs, strict=True):
        table[name] = np.where(is_next, values - before, np.nan)
    table = table[is_next]
    # A symbol counts once, however many sources it has.
    by_symbol = table.groupby(["day", "symbol"], sort=False)[["low", "high", "close"]].mean()
    grouped = by_symbol.groupby("day")
    medians, counts = grouped.median(), grouped["close"].count()
    span = int(codes.day.max()) - first + 1
    out = {}
    for name in ("low", "high", "close"):
        whole = np.zeros(span)
        enough = (counts >= SYMBOLS_FOR_A_MARKET).to_numpy()
        whole[medians.index.to_numpy()[enough]] = medians[name].to_numpy()[enough]
        out[name] = np.nan_to_num(whole)
    return Market(first, out["low"], out["high"], out["close"])


def panels(codes: Codes, venues: Mapping[str, str]) -> Iterator[Panel]:
    """Lay the candles side by side, symbols with equally many sources together, in chunks that fit into memory.

    Parameters
    ----------
    codes
        Sorted candles.
    venues
        Venue of a source; a source that is not named is its own venue.
    """
    names = sorted({venues.get(name, name) for name in codes.sources})
    venue_of = np.array([names.index(venues.get(name, name)) for name in codes.sources], dtype=np.int64)
    series = np.unique(np.column_stack([codes.symbol, codes.source]), axis=0)
    n_sources = np.bincount(series[:, 0], minlength=len(codes.symbols))
    first = np.searchsorted(codes.symbol, np.arange(len(codes.symbols)))
    last = np.searchsorted(codes.symbol, np.arange(len(codes.symbols)), side="right")
    for k in sorted({int(one) for one in n_sources if one}):
        pending: list[int] = []
        cells = 0
        for symbol in np.flatnonzero(n_sources == k):
            days = codes.day[first[symbol] : last[symbol]]
            span = int(days.max() - days.min()) + 1
            if pending and cells + span * k > CELLS_A_CHUNK:
                yield _panel(codes, venue_of, series, pending, k, first, last)
                pending, cells = [], 0
            pending.append(int(symbol))
            cells += span * k
        if pending:
            yield _panel(codes, venue_of, series, pending, k, first, last)


def _panel(codes: Codes, venue_of: Ints, series: Ints, symbols: list[int], k: int, first: Ints, last: Ints) -> Panel:
    source = np.stack([series[series[:, 0] == one, 1] for one in symbols])
    spans = []
    for one in symbols:
        days = codes.day[first[one] : last[one]]
        spans.append((int(days.min()), int(days.max())))
    lengths = np.array([b - a + 1 for a, b in spans], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    symbol = np.repeat(np.arange(len(symbols), dtype=np.int64), lengths)
    day = np.arange(starts[-1], dtype=np.int64) - starts[symbol] + np.array([a for a, _ in spans])[symbol]
    at = np.concatenate([np.arange(first[one], last[one]) for one in symbols])
    local = np.repeat(np.arange(len(symbols)), [last[one] - first[one] for one in symbols])
    slot = (codes.source[at][:, None] > source[local]).sum(axis=1)
    row = starts[local] + codes.day[at] - day[starts[local]]
    logs = {}
    frame = codes.frame
    with np.errstate(divide="ignore", invalid="ignore"):
        for name in ("open", "high", "low", "close"):
            logs[name] = np.full((int(starts[-1]), k), np.nan)
            values = np.log(frame[f"{name}_usd"].to_numpy(np.float64)[at])
            logs[name][row, slot] = np.where(np.isfinite(values), values, np.nan)
    volume = np.full((int(starts[-1]), k), np.nan)
    is_known = frame["volume_unit"].to_numpy(dtype=object)[at] != "none"
    volume[row, slot] = np.where(is_known, frame["volume"].to_numpy(np.float64)[at], np.nan)
    is_bar = np.isfinite(logs["close"])
    return Panel(
        [codes.symbols[one] for one in symbols],
        codes.sources,
        day,
        symbol,
        starts,
        source,
        venue_of[source],
        logs["open"],
        logs["high"],
        logs["low"],
        logs["close"],
        volume,
        _before(is_bar, starts, symbol),
        _after(is_bar, starts, symbol),
    )


def _before(is_bar: Bools, starts: Ints, symbol: Ints) -> Ints:
    rows = np.arange(len(is_bar), dtype=np.int64)[:, None]
    newest = np.maximum.accumulate(np.where(is_bar, rows, -1), axis=0)
    out = np.full(is_bar.shape, -1, dtype=np.int64)
    out[1:] = newest[:-1]
    return np.where(out >= starts[symbol][:, None], out, -1)


def _after(is_bar: Bools, starts: Ints, symbol: Ints) -> Ints:
    size = len(is_bar)
    rows = np.arange(size, dtype=np.int64)[:, None]
    next_one = np.minimum.accumulate(np.where(is_bar, rows, size)[::-1], axis=0)[::-1]
    out = np.full(is_bar.shape, size, dtype=np.int64)
    out[:-1] = next_one[1:]
    return np.where(out < starts[symbol + 1][:, None], out, -1)
