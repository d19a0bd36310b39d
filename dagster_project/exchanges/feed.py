"""Feed: every series that a configuration names, asked for or read again from what was kept.

What lives here: which candles are wanted given what the store has, which trouble is bearable, raw inputs. What does
not: asking (``client``), pages (``history``), storing (``assets.market_data``).
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import pandas as pd

from dagster_project.exchanges import history
from dagster_project.exchanges.client import Client, OutOfReachError, Reader
from dagster_project.market_feed import FeedError, RawInput
from dagster_project.progress import note
from dagster_project.settings import Settings

LOGGER = logging.getLogger("plimsoll.exchanges")
SUFFIX = ".json"
SHOWN = 12


@dataclass(frozen=True)
class Trouble:
    """A series without news, and why."""

    source: str
    symbol: str
    why: str


def read(settings: Settings, known: Mapping[tuple[str, str], date], last: date) -> tuple[list[RawInput], list[Trouble]]:
    """Ask every venue for the daily candles up to a day that the store does not have yet.

    Parameters
    ----------
    settings
        Configuration of kind ``exchange``.
    known
        Last stored day by source and market. What reaches ``last`` is not asked for; else the newest days are asked
        for once more, so that their revisions are seen and new bars are judged beside their neighbours.
    last
        Last day that is wanted.

    Returns
    -------
    tuple
        Answers as inputs, and the series that brought nothing.

    Raises
    ------
    FeedError
        Where no venue brought anything, or a market that has no candles yet got none from its first venue.
    """
    ends = time.monotonic() + settings.source.limits.total_seconds
    inputs: list[RawInput] = []
    troubles: list[Trouble] = []
    asked: set[tuple[str, str]] = set()
    for name, venue in settings.source.venues.items():
        due = [symbol for symbol in venue.symbols if known.get((name, symbol), date.min) < last]
        asked |= {(name, symbol) for symbol in due}
        if due:
            starts = {symbol: _since(settings, known.get((name, symbol))) for symbol in due}
            _of_venue(settings, name, starts, "1d", last, ends, inputs, troubles)
    _refuse_unbearable(settings, known, asked, troubles)
    for trouble in troubles:
        LOGGER.warning("%s of %s has nothing new: %s", trouble.symbol, trouble.source, trouble.why)
    return inputs, troubles


def read_hourly(
    settings: Settings, known: Mapping[tuple[str, str], pd.Timestamp], last: date
) -> tuple[list[RawInput], list[Trouble]]:
    """Ask every venue that says ``hourly`` for the closed hours up to the end of a day that the store does not have.

    Parameters
    ----------
    settings
        Configuration of kind ``exchange``.
    known
        Beginning of the last stored hour by source and market; the newest are asked for once more, as with days.
    last
        Day whose 24 hours are the last that are wanted: a night uses nothing from after its day.

    Returns
    -------
    tuple
        Answers as inputs, and the series that brought nothing: no night waits for hours.
    """
    ends = time.monotonic() + settings.source.limits.total_seconds
    final = pd.Timestamp(last) + pd.Timedelta(hours=23)
    inputs: list[RawInput] = []
    troubles: list[Trouble] = []
    for name, venue in settings.source.venues.items():
        starts = {symbol: _since_hour(settings, known.get((name, symbol))) for symbol in venue.symbols if venue.hourly}
        due = {one: since for one, since in starts.items() if known.get((name, one), pd.Timestamp.min) < final}
        if due:
            _of_venue(settings, name, due, "1h", last, ends, inputs, troubles)
    for trouble in troubles:
        LOGGER.warning("%s of %s has no new hours: %s", trouble.symbol, trouble.source, trouble.why)
    return inputs, troubles


def _of_venue(
    settings: Settings,
    name: str,
    starts: Mapping[str, pd.Timestamp],
    timeframe: str,
    last: date,
    ends: float,
    inputs: list[RawInput],
    troubles: list[Trouble],
) -> None:
    grace = pd.Timedelta(minutes=settings.source.bar_close_grace_minutes)
    until = pd.Timestamp(last) + pd.Timedelta(days=1)
    gone = ""
    with Client(settings, name, ends) as client:
        for symbol, since in starts.items():
            try:
                if gone:
                    raise OutOfReachError(gone)
                note("candles", f"{name}: {symbol} {timeframe} from {since:%Y-%m-%d}")
                found = history.fetch(client, symbol, timeframe, since, until, grace)
            except FeedError as error:
                # The whole venue is away: its other series would wait as long for the same.
                gone = str(error) if isinstance(error, OutOfReachError) else gone
                troubles.append(Trouble(name, symbol, str(error)))
                continue
            for page in found.pages:
                frame = page.frame.assign(symbol=symbol, note="")
                inputs.append(RawInput(page.origin, page.content, SUFFIX, frame, name, timeframe))


def _since(settings: Settings, known: date | None) -> pd.Timestamp:
    first = pd.Timestamp(settings.source.history_first_day or date.min)
    if known is None:
        return first
    return max(first, pd.Timestamp(known) - pd.Timedelta(days=settings.source.overlap_days))


def _since_hour(settings: Settings, known: pd.Timestamp | None) -> pd.Timestamp:
    first = pd.Timestamp(settings.source.hourly_first_day or settings.source.history_first_day or date.min)
    if known is None:
        return first
    return max(first, known - pd.Timedelta(hours=settings.source.hourly_overlap_hours))


def _refuse_unbearable(
    settings: Settings, known: Mapping[tuple[str, str], date], asked: set[tuple[str, str]], troubles: list[Trouble]
) -> None:
    """Let venues be away as long as one market has news; without any candles there is no night.

    A market begins with its first venue, which must be there the first time; later any other stands in for it.
    """
    of_price = [one for one in troubles if settings.source.id_of(one.symbol) == one.source]
    new = [one for one in of_price if (one.source, one.symbol) not in known]
    fatal = new or (of_price or troubles if asked and len(troubles) == len(asked) else [])
    if fatal:
        lines = [f"  {one.symbol}: {one.why}" for one in fatal[:SHOWN]]
        more = [f"  and {len(fatal) - SHOWN} more"] if len(fatal) > SHOWN else []
        raise FeedError("\n".join([f"{len(fatal)} market(s) without candles, nothing was stored", *lines, *more]))


def again(settings: Settings, origin: str, content: bytes) -> RawInput:
    """Read the candles of a kept answer that were taken from it when it came.

    Raises
    ------
    FeedError
        Where its venue or market is not configured any more.
    """
    try:
        name, symbol, timeframe, span, market_id = origin.split(" ", 4)
        first, last = (pd.Timestamp(one) for one in span.split("..", 1))
    except ValueError:
        raise FeedError(f"{origin!r}: not the origin of an exchange's answer") from None
    venue = settings.source.venues.get(name)
    if venue is None or symbol not in venue.symbols:
        raise FeedError(
            f"{origin!r}: source.venues.{name}.symbols.{symbol} is gone; name it again to read what was kept"
        )
    whole = history.read(Reader(venue), name, venue.symbols[symbol], timeframe, market_id, content)
    frame = whole[whole["date"].between(first, last)].reset_index(drop=True)
    return RawInput(origin, content, SUFFIX, frame.assign(symbol=symbol, note=""), name, timeframe)
