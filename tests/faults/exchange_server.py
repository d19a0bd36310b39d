"""An exchange on loopback that speaks the public dialects of Binance and Kraken and does what a test has written."""

import gzip
import json
import re
import socket
import ssl
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest

from benchmarks._small import CONFIG
from dagster_project.exchanges import history
from dagster_project.exchanges.client import Client, OutOfReachError
from dagster_project.exchanges.history import NUMBERS, History
from dagster_project.market_feed import FeedError
from dagster_project.settings import Settings

DAY = 86_400_000
FIRST, END = pd.Timestamp("2020-07-01"), pd.Timestamp("2020-10-09")
GRACE = pd.Timedelta(minutes=30)
STEPS = {"1d": DAY, "1h": DAY // 24, "1440": DAY, "60": DAY // 24}
QUOTES = {"binance": "USDT", "kraken": "USD"}


@dataclass
class Act:
    """What becomes of one answer about candles; by default it is the true one.

    Attributes
    ----------
    status, headers
        In place of 200 and the usual ones.
    change
        Gets the true answer and gives another, as data or as bytes.
    packed
        Whether the body is sent as gzip.
    pause
        Seconds between the bytes of what is sent; ``where`` says of which part.
    where
        ``body``, ``head`` or ``nothing``: the answer never begins.
    cut
        Bytes of the body that are not sent.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    change: Callable[[Any], Any] | None = None
    packed: bool = False
    pause: float = 0.0
    where: str = "body"
    cut: int = 0


class Exchange:
    """The candles there are, what is to go wrong, and what was asked."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, int], list[list[float]]] = {}
        self.acts: list[Act] = []
        self.always: Act | None = None
        self.page = 10_000
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.headers: list[dict[str, str]] = []
        self.is_closing = threading.Event()
        self.address = ""

    def put(self, candles: pd.DataFrame, step: int = DAY) -> None:
        """Have these candles, and no others of their markets."""
        for symbol, mine in candles.groupby("symbol"):
            times = mine["date"].to_numpy("datetime64[ms]").astype("int64")
            values = mine[["open", "high", "low", "close", "volume"]].to_numpy()
            self.rows[str(symbol), step] = [[int(t), *map(float, v)] for t, v in zip(times, values, strict=True)]

    def candle_requests(self) -> list[dict[str, str]]:
        return [query for path, query in self.asked if path.endswith(("/klines", "/OHLC"))]

    def answer(self, path: str, query: dict[str, str]) -> Any:
        """The true answer to a question."""
        symbols = sorted({symbol for symbol, _ in self.rows})
        if path.endswith("/exchangeInfo"):
            return {"symbols": [binance_market(one, is_spot=path.startswith("/api")) for one in symbols]}
        if path.endswith("/AssetPairs"):
            return {"error": [], "result": {f"X{one}ZUSD": kraken_market(one) for one in symbols}}
        if path.endswith("/klines"):
            rows = self._rows(query["symbol"].removesuffix("USDT"), query["interval"])
            rows = [row for row in rows if row[0] >= int(query.get("startTime", 0))]
            step = STEPS[query["interval"]]
            return [binance_row(row, step) for row in rows[: min(self.page, int(query["limit"]))]]
        if path.endswith("/OHLC"):
            rows = self._rows(query["pair"][1:].removesuffix("ZUSD"), query["interval"])
            rows = [row for row in rows if row[0] > int(query.get("since", 0)) * 1000][: min(self.page, 720)]
            last = rows[-1][0] // 1000 if rows else 0
            return {"error": [], "result": {query["pair"]: [kraken_row(row) for row in rows], "last": last}}
        return None

    def _rows(self, symbol: str, interval: str) -> list[list[float]]:
        return self.rows.get((symbol, STEPS[interval]), [])


def binance_market(symbol: str, *, is_spot: bool) -> dict[str, Any]:
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01"},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "100000", "stepSize": "0.001"},
    ]
    about = {"symbol": f"{symbol}USDT", "status": "TRADING", "baseAsset": symbol, "quoteAsset": "USDT"}
    about |= {"filters": filters, "quotePrecision": 8, "baseAssetPrecision": 8}
    if is_spot:
        return about | {"isSpotTradingAllowed": True, "permissions": ["SPOT"]}
    return about | {"contractType": "PERPETUAL", "marginAsset": "USDT", "deliveryDate": 4133404800000}


def kraken_market(symbol: str) -> dict[str, Any]:
    about = {"altname": f"{symbol}USD", "wsname": f"{symbol}/USD", "base": symbol, "quote": "ZUSD", "status": "online"}
    return about | {"pair_decimals": 2, "lot_decimals": 8, "fees": [[0, 0.26]], "fees_maker": [[0, 0.16]]}


def binance_row(row: list[float], step: int) -> list[Any]:
    time_ms, *numbers = row
    texts = [repr(one) for one in numbers]
    return [time_ms, *texts, int(time_ms) + step - 1, "1.0", 10, "0.5", "0.5", "0"]


def kraken_row(row: list[float]) -> list[Any]:
    time_ms, opened, high, low, close, volume = row
    return [int(time_ms) // 1000, repr(opened), repr(high), repr(low), repr(close), "1.0", repr(volume), 10]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A client that keeps its connection must not keep the tests from ending.
    timeout = 5
    exchange: Exchange

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        exchange = self.exchange
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        exchange.asked.append((address.path, query))
        exchange.headers.append({name.lower(): value for name, value in self.headers.items()})
        body = exchange.answer(address.path, query)
        act = Act()
        if address.path.endswith(("/klines", "/OHLC")):
            act = exchange.acts.pop(0) if exchange.acts else exchange.always or act
        if body is None:
            act, body = Act(status=404), {"msg": f"nothing at {address.path}"}
        body = act.change(body) if act.change else body
        self._send(act, body if isinstance(body, bytes) else json.dumps(body).encode())

    def _send(self, act: Act, body: bytes) -> None:
        body = gzip.compress(body) if act.packed else body
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        headers |= {"Content-Encoding": "gzip"} if act.packed else {}
        headers |= act.headers
        head = f"HTTP/1.1 {act.status} As written\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
        if act.where == "nothing":
            self.exchange.is_closing.wait(30)
            self.close_connection = True
            return
        try:
            self._write(head.encode(), act.pause if act.where == "head" else 0)
            self._write(body[: len(body) - act.cut], act.pause if act.where == "body" else 0)
        except OSError:
            self.close_connection = True
        if act.cut:
            self.close_connection = True

    def _write(self, content: bytes, pause: float) -> None:
        for n in range(0, len(content), 1 if pause else len(content) or 1):
            self.wfile.write(content[n : n + 1] if pause else content)
            self.wfile.flush()
            if pause and self.exchange.is_closing.wait(pause):
                raise OSError


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Those who hang up are what is tested."""


@contextmanager
def exchange(tls: ssl.SSLContext | None = None) -> Iterator[Exchange]:
    """Run an exchange on a free port of loopback."""
    made = Exchange()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"exchange": made}))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    made.address = f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        made.is_closing.set()
        server.shutdown()
        thread.join()
        server.socket.close()


@contextmanager
def deaf() -> Iterator[str]:
    """Give an address whose connections are never taken: its queue is full."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = []
        for _ in range(3):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
            waiting.append(one)
        time.sleep(0.05)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            for one in waiting:
                one.close()


def closed_port() -> str:
    """Give an address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


SOURCE = """
[source]
kind = "exchange"
name = "exchanges"
history_first_day = {first}
overlap_days = 150

[source.limits]
connect_seconds = 0.4
read_seconds = 0.4
answer_seconds = 0.6
venue_seconds = 20
total_seconds = 30
retries = {retries}
first_wait_seconds = 0.001
longest_wait_seconds = 0.01
longest_retry_after_seconds = 0.02
largest_answer_mib = 1
deepest_nesting = 16
most_pages = 60
"""
VENUE = """
[source.venues.{name}]
exchange = "{exchange}"
product = "{product}"
symbols = {{ {symbols} }}
address = "{address}"
rate_limit_ms = 1
"""


def venue(
    address: str, exchange: str = "binance", product: str = "spot", symbols: str = "AAA BBB", more: str = ""
) -> str:
    """The table of a venue at an address, with symbols as the exchange has them."""
    quote = QUOTES[exchange]
    settled = f":{quote}" if product == "perpetual" else ""
    pairs = ", ".join(f'{one} = "{one}/{quote}{settled}"' for one in symbols.split())
    name = f"{exchange}_{product}"
    return VENUE.format(name=name, exchange=exchange, product=product, symbols=pairs, address=address) + more


def source(*venues: str, first: str = "2020-07-01", retries: int = 2) -> str:
    """The tables of a source."""
    return SOURCE.format(first=first, retries=retries) + "".join(venues)


def config(*venues: str, first: str = "2020-07-01", retries: int = 2) -> str:
    """The small profile, fed by exchanges."""
    return re.sub(r"\[source\].*?(?=\[mail\])", source(*venues, first=first, retries=retries), CONFIG, flags=re.DOTALL)


def configured(*venues: str, **more: Any) -> Settings:
    """Settings of the small profile, fed by exchanges."""
    return Settings.model_validate(tomllib.loads(config(*venues, **more)))


def one(there: Exchange, dialect: str = "binance spot", **more: Any) -> Settings:
    return configured(venue(there.address, *dialect.split()), **more)


def fetch(chosen: Settings, timeframe: str = "1d", since: pd.Timestamp = FIRST, until: pd.Timestamp = END) -> History:
    (name,) = chosen.source.venues
    with Client(chosen, name, time.monotonic() + chosen.source.limits.total_seconds) as client:
        return history.fetch(client, "AAA", timeframe, since, until, GRACE)


def same(found: History, expected: pd.DataFrame) -> bool:
    mine = expected[expected["symbol"] == "AAA"].reset_index(drop=True)
    return list(found.candles["date"]) == list(mine["date"]) and found.candles[NUMBERS].equals(mine[NUMBERS])


def limited(chosen: Settings, **limits: Any) -> Settings:
    changed = chosen.source.limits.model_copy(update=limits)
    return chosen.model_copy(update={"source": chosen.source.model_copy(update={"limits": changed})})


def refused(there: Exchange, act: Act, message: str, dialect: str = "binance spot", requests: int = 1) -> str:
    there.always = act
    with pytest.raises(FeedError, match=message) as caught:
        fetch(one(there, dialect))
    assert len(there.candle_requests()) == requests
    assert not isinstance(caught.value, OutOfReachError)
    return str(caught.value)
