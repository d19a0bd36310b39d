"""History: the candles of one series at one venue, page by page, each page with the bytes that brought it.

What lives here: asking on from the last candle, what closes a candle, gaps, overlaps and loops, the form of a row, and
reading kept bytes again. What does not: one question and its retries (``client``), which series are wanted (``feed``).
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from dagster_project import clock
from dagster_project.exchanges.client import Client, Reader
from dagster_project.market_feed import FeedError

LOGGER = logging.getLogger("plimsoll.exchanges")
STEPS = {"1d": pd.Timedelta(days=1), "1h": pd.Timedelta(hours=1)}
FIELDS = ("time", "open", "high", "low", "close", "volume")
NUMBERS = list(FIELDS[1:])
SHOWN = 120
GAPS_ASKED_TWICE = 20
EMPTY_STEPS = 100
"""Candles that are skipped after an empty answer before a listing; no page of an exchange is shorter."""


@dataclass(frozen=True)
class Page:
    """One answer of which candles were taken.

    Attributes
    ----------
    content
        Body as unpacked, otherwise as received.
    origin
        ``venue market timeframe first..last id``: all it takes to read the same candles from the bytes again.
    frame
        ``row_number, date, open, high, low, close, volume, volume_unit``; ``date`` is the candle's beginning in UTC.
    """

    content: bytes
    origin: str
    frame: pd.DataFrame


@dataclass(frozen=True)
class History:
    """Closed candles of one series.

    Attributes
    ----------
    pages
        Answers that candles were taken from, in order; no candle stands in two.
    gaps
        First and last beginning of candles that the venue does not have between others, asked for twice.
    known_at
        When the last answer came, UTC.
    candles
        ``date, venue, product, symbol, timeframe, open, high, low, close, volume, volume_unit, known_at``.
    """

    pages: tuple[Page, ...]
    gaps: tuple[tuple[pd.Timestamp, pd.Timestamp], ...]
    known_at: datetime
    candles: pd.DataFrame


def fetch(
    client: Client, market: str, timeframe: str, since: pd.Timestamp, until: pd.Timestamp, grace: pd.Timedelta
) -> History:
    """Ask for the closed candles of a market that begin from ``since`` on and before ``until``.

    Parameters
    ----------
    client
        Venue.
    market
        Our id of the market.
    timeframe
        ``1d`` or ``1h``.
    since, until
        UTC without a zone, on the grid of the timeframe.
    grace
        Wait after a candle's end until it is taken for final.

    Raises
    ------
    FeedError
        Where the venue has no candle where one is due, goes round in circles, contradicts itself, or answers in
        another form.
    """
    step = STEPS[timeframe]
    # The last beginning whose candle has ended, and been given time to settle.
    due = min(until - step, (pd.Timestamp(clock.now()) - grace - step).floor(step))
    taking = _Taking(client, market, timeframe, step, due)
    market_id = client.market_id(market)
    cursor, asked_twice = since, set[pd.Timestamp]()
    while cursor <= due:
        page = taking.ask(market_id, cursor)
        if page.empty:
            cursor = taking.past_nothing(cursor)
            continue
        # The first candle of all is a listing or as far back as the venue goes; later ones follow each other.
        start = cursor if taking.has_some else page["date"].iloc[0]
        if page["date"].iloc[0] > start:
            if start not in asked_twice and len(asked_twice) < GAPS_ASKED_TWICE:
                # What an exchange leaves out at the edge of a page it often has when asked from there.
                asked_twice.add(start)
                continue
            taking.gaps.append((start, page["date"].iloc[0] - step))
            start = page["date"].iloc[0]
        run = _without_hole(page, start, step)
        taking.take(market_id, start, run)
        cursor = run["date"].iloc[-1] + step
        if len(run) < len(page):
            asked_twice.add(cursor)
    return taking.done()


class _Taking:
    """What was taken so far of one series."""

    def __init__(self, client: Client, market: str, timeframe: str, step: pd.Timedelta, due: pd.Timestamp) -> None:
        self.client, self.market, self.timeframe, self.step, self.due = client, market, timeframe, step, due
        self.symbol = client.venue.symbols[market]
        self.pages: list[Page] = []
        self.gaps: list[tuple[pd.Timestamp, pd.Timestamp]] = []
        self._seen = pd.DataFrame()
        self._asked = 0
        self._content = b""
        self._width = 0

    @property
    def has_some(self) -> bool:
        return bool(self.pages)

    @property
    def _name(self) -> str:
        return f"{self.client.name}: {self.symbol} {self.timeframe}"

    def ask(self, market_id: str, cursor: pd.Timestamp) -> pd.DataFrame:
        """Return the closed candles of one answer that begin at ``cursor`` or after it."""
        self._asked += 1
        if self._asked > self.client.limits.most_pages:
            raise FeedError(
                f"{self._name}: more than {self.client.limits.most_pages} pages; see source.limits.most_pages"
            )
        # From the candle before: where pages meet, both must have the same.
        start = int((cursor - self.step).timestamp() * 1000) if self.has_some else int(cursor.timestamp() * 1000)
        what = f"{self.symbol} {self.timeframe} from {cursor:%Y-%m-%d %H:%M}"
        _, answers = self.client.ask(
            what, lambda: self.client.ccxt.fetch_ohlcv(self.symbol, self.timeframe, since=start)
        )
        if len(answers) != 1:
            raise FeedError(f"{self._name}: {len(answers)} answers to one question; this exchange is not served")
        self._content = answers[0].content
        rows = read(self.client.reader, self.client.name, self.symbol, self.timeframe, market_id, self._content)
        self._width = len(rows)
        self._agree(rows)
        fresh = rows[(rows["date"] >= cursor) & (rows["date"] <= self.due)].reset_index(drop=True)
        if len(rows) and rows["date"].max() < cursor and rows["date"].min() < cursor - self.step:
            raise FeedError(
                f"{self._name}: asked from {cursor:%Y-%m-%d %H:%M}, got {rows['date'].min():%Y-%m-%d %H:%M} to "
                f"{rows['date'].max():%Y-%m-%d %H:%M}: the venue goes round in circles or has nothing newer"
            )
        return fresh

    def _agree(self, rows: pd.DataFrame) -> None:
        """Refuse a page that has another value for a candle of an earlier page."""
        if not self.has_some or rows.empty:
            return
        both = rows.merge(self._seen, on="date", suffixes=("", "_before"))
        for field in NUMBERS:
            other = both[both[field] != both[f"{field}_before"]]
            if len(other):
                row = other.iloc[0]
                raise FeedError(
                    f"{self._name}: {field} of {row['date']:%Y-%m-%d %H:%M} is {row[f'{field}_before']:.10g} on one "
                    f"page and {row[field]:.10g} on the next; run again"
                )

    def take(self, market_id: str, first: pd.Timestamp, frame: pd.DataFrame) -> None:
        """Keep a page with the candles taken from it."""
        span = f"{first:%Y-%m-%dT%H:%M}..{frame['date'].iloc[-1]:%Y-%m-%dT%H:%M}"
        origin = f"{self.client.name} {self.market} {self.timeframe} {span} {market_id}"
        self.pages.append(Page(self._content, origin, frame))
        self._seen = frame[["date", *NUMBERS]].tail(1)

    def past_nothing(self, cursor: pd.Timestamp) -> pd.Timestamp:
        """Go on from an answer without a candle: before a listing there are such, after it none may be.

        Raises
        ------
        FeedError
            Where a candle is due. A day without trades is a candle without volume; no candle is no such day.
        """
        if self.has_some or self._width:
            start = self._content[:SHOWN].decode("utf-8", "replace")
            raise FeedError(
                f"{self._name}: no candle of {cursor:%Y-%m-%d %H:%M}, which is over; the market is halted or gone, or "
                f"the venue late. The answer begins {start!r}"
            )
        return cursor + self.step * EMPTY_STEPS

    def done(self) -> History:
        """Return what was taken.

        Raises
        ------
        FeedError
            Where it is nothing.
        """
        if not self.pages and self._asked:
            start = self._content[:SHOWN].decode("utf-8", "replace")
            raise FeedError(
                f"{self._name}: not one candle up to {self.due:%Y-%m-%d %H:%M}; no candles are not the same as no "
                f"trades. The answer begins {start!r}"
            )
        for first, last in self.gaps:
            LOGGER.warning("%s: no candles from %s to %s, asked twice", self._name, first, last)
        known_at = clock.now()
        about: dict[str, Any] = {
            "venue": self.client.venue.exchange,
            "product": self.client.venue.product,
            "symbol": self.market,
            "timeframe": self.timeframe,
            "known_at": pd.Timestamp(known_at),
        }
        columns = ["date", "venue", "product", "symbol", "timeframe", *NUMBERS, "volume_unit", "known_at"]
        frames = [page.frame for page in self.pages]
        candles = (
            pd.concat(frames, ignore_index=True).assign(**about)[columns] if frames else pd.DataFrame(columns=columns)
        )
        return History(tuple(self.pages), tuple(self.gaps), known_at, candles)


def _without_hole(page: pd.DataFrame, start: pd.Timestamp, step: pd.Timedelta) -> pd.DataFrame:
    """Return the candles that follow each other from ``start`` on."""
    expected = start + step * page.index.to_series()
    is_next = (page["date"] == expected).to_numpy()
    return page if is_next.all() else page.iloc[: int(is_next.argmin())]


def read(reader: Reader, name: str, symbol: str, timeframe: str, market_id: str, content: bytes) -> pd.DataFrame:
    """Read every candle of an answer, in the order of time.

    Returns
    -------
    pd.DataFrame
        ``row_number, date, open, high, low, close, volume, volume_unit``; a candle that stands twice with the same
        values is there once.

    Raises
    ------
    FeedError
        Names the candle and the field that is missing, no number, or twice with different values.
    """
    what = f"{name}: {symbol} {timeframe}"
    try:
        rows = reader.candles(symbol, timeframe, market_id, content)
    except Exception as error:
        start = content[:SHOWN].decode("utf-8", "replace")
        raise FeedError(f"{what}: not of the form of candles ({type(error).__name__}); begins {start!r}") from None
    for number, row in enumerate(rows, 1):
        if len(row) != len(FIELDS):
            raise FeedError(f"{what}: candle {number} has not the fields {', '.join(FIELDS)}")
        for field, value in zip(FIELDS, row, strict=True):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise FeedError(f"{what}: {field} of candle {number} is missing or no number")
    frame = pd.DataFrame(rows, columns=list(FIELDS)).astype(dict.fromkeys(NUMBERS, "float64"))
    frame.insert(0, "row_number", range(1, len(frame) + 1))
    frame.insert(1, "date", pd.to_datetime(frame.pop("time"), unit="ms", errors="coerce").astype("datetime64[us]"))
    _refuse_off_grid(what, frame, STEPS[timeframe])
    frame = frame.drop_duplicates(["date", *NUMBERS])
    twice = frame[frame.duplicated("date")]
    if len(twice):
        raise FeedError(f"{what}: {twice['date'].iloc[0]:%Y-%m-%d %H:%M} stands twice with different values")
    return frame.assign(volume_unit=reader.venue.volume_unit).reset_index(drop=True)


def _refuse_off_grid(what: str, frame: pd.DataFrame, step: pd.Timedelta) -> None:
    bad = frame[frame["date"].isna() | (frame["date"] != frame["date"].dt.floor(step))]
    if len(bad):
        raise FeedError(
            f"{what}: time of candle {bad['row_number'].iloc[0]} is {bad['date'].iloc[0]}, no beginning of such a "
            "candle in UTC"
        )
