"""Client: one venue asked through ``ccxt``, politely and not for ever.

What lives here: making the client of a venue, asking again after trouble that may pass, what its errors mean, and
finding a configured symbol among its markets. What does not: bytes and deadlines of one answer (``wire``), pages of a
history (``history``).
"""

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from requests.adapters import BaseAdapter

from dagster_project import clock, redaction
from dagster_project.exchanges.wire import Answer, Kept, Wire
from dagster_project.market_feed import FeedError
from dagster_project.settings import Settings
from dagster_project.sources import Venue

LOGGER = logging.getLogger("plimsoll.exchanges")
PASSING_REFUSALS = frozenset({408, 418, 425, 429})
"""Refusals of 400 to 499 that ask for patience; the others would be the same again."""
NARROWED = {
    "binance": {"spot": ["spot"], "perpetual": ["linear"]},
    "bybit": {"spot": ["spot"], "perpetual": ["linear"]},
    "okx": {"spot": ["spot"], "perpetual": ["swap"]},
}
"""Exchanges that list every product at great length unless told which."""
NEAR = 5
T = TypeVar("T")


class OutOfReachError(FeedError):
    """A venue did not answer after every try; asking it for other series is of no use for now."""


def make(venue: Venue, adapter: BaseAdapter, **more: Any) -> Any:
    """Make a ccxt client whose bytes all come through one adapter.

    Raises
    ------
    FeedError
        Where ccxt knows no such exchange or it gives no candles.
    """
    import ccxt

    if venue.exchange not in ccxt.exchanges:
        raise FeedError(f"exchange {venue.exchange!r}: ccxt {ccxt.__version__} has none of that name")
    # Its own messages for debugging carry headers, so that they go nowhere.
    quiet = logging.Logger("ccxt")
    quiet.disabled = True
    options: dict[str, Any] = {"defaultType": "spot" if venue.product == "spot" else "swap", "maxRetriesOnFailure": 0}
    if venue.exchange in NARROWED:
        options["fetchMarkets"] = {"types": NARROWED[venue.exchange][venue.product]}
    client = getattr(ccxt, venue.exchange)({"logger": quiet, "options": options, **more})
    if not client.has["fetchOHLCV"]:
        raise FeedError(f"exchange {venue.exchange!r}: gives no candles")
    client.has["fetchCurrencies"] = False
    for scheme in ("https://", "http://"):
        client.session.mount(scheme, adapter)
    return client


class Client:
    """One venue, asked within its limits.

    Parameters
    ----------
    settings
        Configuration.
    name
        Id of the venue in it.
    ends
        Moment on the monotonic clock after which nothing is asked any more.
    """

    def __init__(self, settings: Settings, name: str, ends: float) -> None:
        self.settings, self.name, self.venue = settings, name, settings.source.venues[name]
        self.limits = settings.source.limits
        ends = min(ends, time.monotonic() + self.limits.venue_seconds)
        self.wire = Wire(name, self.limits, frozenset(), ends)
        pace = {} if self.venue.rate_limit_ms is None else {"rateLimit": self.venue.rate_limit_ms}
        self.ccxt = make(self.venue, self.wire, **pace)
        if self.venue.address:
            self.ccxt.urls["api"] = _moved(self.ccxt.urls["api"], self.venue.address)
        self.wire.hosts = frozenset(_hosts(self.ccxt))
        self.reader = Reader(self.venue)
        self._markets: Any = None

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ccxt.close()

    def market_id(self, market: str) -> str:
        """Return the venue's own id of one of our markets.

        Raises
        ------
        FeedError
            Where the venue has no such symbol, or as another product.
        """
        if self._markets is None:
            self._markets, _ = self.ask("its markets", self.ccxt.load_markets)
            # Only now: with a key at hand some clients would ask for what belongs to its owner along with the markets.
            for name, value in self.venue.credentials().items():
                setattr(self.ccxt, name, value)
        markets = self._markets
        symbol = self.venue.symbols[market]
        key = f"source.venues.{self.name}.symbols.{market}"
        found = markets.get(symbol)
        if found is None:
            base = symbol.partition("/")[0]
            near = sorted(one for one in markets if one.partition("/")[0] == base)[:NEAR]
            raise FeedError(
                f"{key}: no {symbol!r} at {self.venue.exchange}; it has {', '.join(near) or 'nothing alike'}"
            )
        if not (found["spot"] if self.venue.product == "spot" else found["swap"] and found["linear"]):
            raise FeedError(f"{key}: {symbol!r} is no {self.venue.product} market at {self.venue.exchange}")
        if found["active"] is False:
            LOGGER.warning("%s: %s is not traded any more or halted", self.name, symbol)
        return str(found["id"])

    def ask(self, what: str, call: Callable[[], T]) -> tuple[T, list[Answer]]:
        """Ask until there is an answer, within tries and time; the result and the answers as received.

        Raises
        ------
        OutOfReachError
            Where the last try met trouble that may pass.
        FeedError
            Where the answer will not do, or asking again is of no use.
        """
        for attempt in range(self.limits.retries + 1):
            self.wire.left()
            self.wire.answers = []
            with self._explained(what):
                try:
                    return call(), self.wire.answers
                except self._passing() as error:
                    self._refuse_final(what, error)
                    trouble = error
            if attempt < self.limits.retries:
                self._wait(what, attempt, trouble)
        tries = f"{self.limits.retries + 1} tries" if self.limits.retries else "one try"
        raise OutOfReachError(self._said(f"{what}: no answer after {tries}", trouble)) from None

    def _passing(self) -> type[Exception]:
        import ccxt

        passing: type[Exception] = ccxt.OperationFailed
        return passing

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn whatever else a client raises into an error of ours, without what it was asked with."""
        import ccxt

        try:
            yield
        except FeedError as error:
            # Cut from its cause: what passes below is asked again here, not by whoever runs this stage.
            raise type(error)(redaction.one_line(str(error), self.settings)) from None
        except ccxt.BaseError as error:
            raise FeedError(self._said(f"{what}: refused", error)) from None
        except Exception as error:
            start = self.wire.answers[-1].content[:120].decode("utf-8", "replace") if self.wire.answers else ""
            fault = f"{what}: the answer is not of the form that ccxt {ccxt.__version__} knows; it begins {start!r}"
            raise FeedError(self._said(fault, error)) from None

    def _refuse_final(self, what: str, error: Exception) -> None:
        status = self.wire.answers[-1].status if self.wire.answers else 0
        if 400 <= status < 500 and status not in PASSING_REFUSALS:
            raise FeedError(self._said(f"{what}: refused with {status}", error))

    def _wait(self, what: str, attempt: int, error: Exception) -> None:
        asked = retry_after(self.wire.answers[-1]) if self.wire.answers else None
        if asked is not None:
            seconds = min(asked, self.limits.longest_retry_after_seconds)
        else:
            longest = min(self.limits.longest_wait_seconds, self.limits.first_wait_seconds * 2**attempt)
            seconds = longest * random.uniform(0.5, 1.0)
        if seconds >= self.wire.left():
            raise OutOfReachError(self._said(f"{what}: no time left to try again", error)) from None
        LOGGER.warning(
            "%s; waits %.3g s%s, then tries again (%d of %d)",
            self._said(what, error),
            seconds,
            "" if asked is None else f" (asked for {asked:.4g} s)",
            attempt + 1,
            self.limits.retries,
            extra={"stage": "candles", "detail": f"{self.name}: waits, try {attempt + 2} of {self.limits.retries + 1}"},
        )
        time.sleep(seconds)

    def _said(self, what: str, error: Exception) -> str:
        cause = error.__cause__ or error
        status = f"status {self.wire.answers[-1].status}, " if self.wire.answers else ""
        return redaction.one_line(f"{self.name}: {what} ({status}{type(error).__name__}: {cause})", self.settings)


def retry_after(answer: Answer) -> float | None:
    """Return the seconds that an answer asks to wait, given as a number or a date; None where it does not."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - clock.now().replace(tzinfo=UTC)).total_seconds())


def _moved(urls: Any, address: str) -> Any:
    """Point every address of a client elsewhere and keep the paths."""
    if isinstance(urls, dict):
        return {name: _moved(one, address) for name, one in urls.items()}
    if not isinstance(urls, str):
        return urls
    target = urlsplit(address)
    return urlunsplit((target.scheme, target.netloc, urlsplit(urls).path, "", ""))


def _hosts(client: Any) -> Iterator[str]:
    left = [client.urls["api"]]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += one.values()
        elif isinstance(one, str):
            yield urlsplit(client.implode_hostname(one)).netloc


class Reader:
    """Reads kept bytes of a venue as its client would, without a network."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self._kept = Kept()
        self._ccxt = make(venue, self._kept, enableRateLimit=False)

    def candles(self, symbol: str, timeframe: str, market_id: str, content: bytes) -> list[list[Any]]:
        """Return what ccxt makes of an answer: time in milliseconds, open, high, low, close, volume."""
        quote, _, settled = symbol.partition("/")[2].partition(":")
        is_spot = self.venue.product == "spot"
        about = {
            "id": market_id,
            "symbol": symbol,
            "base": symbol.partition("/")[0],
            "quote": quote,
            "settle": settled or None,
            "type": "spot" if is_spot else "swap",
            "spot": is_spot,
            "swap": not is_spot,
            "contract": not is_spot,
            "linear": None if is_spot else True,
            "inverse": None if is_spot else False,
            "option": False,
            "future": False,
            "contractSize": None if is_spot else 1.0,
        }
        self._ccxt.set_markets([self._ccxt.safe_market_structure(about)])
        self._kept.content = content
        found: list[list[Any]] = self._ccxt.fetch_ohlcv(symbol, timeframe)
        return found
