"""Wire: the one way in which bytes come from an exchange; mounted on the HTTP session of its client.

What lives here: deadlines of an answer and of the whole, caps on its size and nesting, the hosts that may be asked, the
refusal of redirects, and the last answer as it was received. What does not: what is asked and how often (``client``),
what an answer means (``history``).
"""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import urllib3
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectionError as NoConnection
from requests.exceptions import ReadTimeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from dagster_project.market_feed import FeedError
from dagster_project.sources import Limits

BLOCK = 1 << 16
TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
DEPTH = np.zeros(256, dtype=np.int8)
DEPTH[[ord("["), ord("{")]] = 1
DEPTH[[ord("]"), ord("}")]] = -1
SHOWN = 120


@dataclass(frozen=True)
class Answer:
    """What an exchange sent: status, headers with lower-case names, and the body as unpacked."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class _Watch:
    """Ends a wire's sockets when a request's time is up: a read that waits, or is fed by drops, returns."""

    def __init__(self, seconds: float, sockets: list[socket.socket]) -> None:
        self.is_up = False
        self._sockets = sockets
        self._lock = threading.Lock()
        self._timer = threading.Timer(max(seconds, 0.001), self._end)
        self._timer.daemon = True

    def add(self, opened: socket.socket) -> None:
        with self._lock:
            # Closed ones leave; those kept open for the next request stay.
            self._sockets[:] = [one for one in self._sockets if one.fileno() != -1]
            self._sockets.append(opened)
            if self.is_up:
                self._shut(opened)

    def _end(self) -> None:
        with self._lock:
            self.is_up = True
            for opened in self._sockets:
                self._shut(opened)

    @staticmethod
    def _shut(opened: socket.socket) -> None:
        # Below TLS, whose own farewell would wait for the other side.
        with suppress(OSError, ValueError):
            socket.socket.shutdown(opened, socket.SHUT_RDWR)

    def __enter__(self) -> "_Watch":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        # The timer's own thread may be about to shut what the next request will use.
        self._timer.join()


class Wire(HTTPAdapter):
    """Answers of a few named hosts, whole and within limits, or an error that says why not.

    Parameters
    ----------
    name
        Venue, for messages.
    limits
        Time and size of an answer.
    hosts
        Hosts with ports that may be asked.
    ends
        Moment on the monotonic clock after which nothing is asked or read any more.
    """

    def __init__(self, name: str, limits: Limits, hosts: frozenset[str], ends: float) -> None:
        self.name, self.limits, self.hosts, self.ends = name, limits, hosts, ends
        self.answers: list[Answer] = []
        self._watch: _Watch | None = None
        self._sockets: list[socket.socket] = []
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Use connections that show their sockets to the watch."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pools(self)

    def watched(self, opened: socket.socket) -> None:
        """Put a socket under the present request's watch."""
        if self._watch is not None:
            self._watch.add(opened)

    def left(self) -> float:
        """Return the seconds until nothing may be asked any more.

        Raises
        ------
        FeedError
            Where none are left.
        """
        seconds = self.ends - time.monotonic()
        if seconds <= 0:
            raise FeedError(f"{self.name}: the time for this venue is over; raise source.limits or run again")
        return seconds

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """Send one request and receive its answer whole.

        Raises
        ------
        FeedError
            Where asking again is of no use: another host, a redirect, a refusal, an answer that is too large, nested
            too deep or no JSON.
        RequestException
            Where it may be: no connection, too slow, cut off.
        """
        address = urlsplit(request.url or "")
        where = f"{self.name}: {address.hostname}{address.path}"
        if address.netloc not in self.hosts:
            raise FeedError(f"{where}: not a host of this exchange, not asked")
        seconds = min(self.left(), self.limits.answer_seconds)
        patience = (min(self.limits.connect_seconds, seconds), min(self.limits.read_seconds, seconds))
        response: Response | None = None
        with self._watching(seconds) as watch:
            try:
                response = super().send(request, stream=True, timeout=patience, verify=kwargs.get("verify", True))
                self._refuse_redirect(where, response)
                content = self._body(where, response)
                _refuse_headless(response, content, is_up=watch.is_up)
            except Exception as error:
                if response is not None:
                    response.raw.close()
                if isinstance(error, FeedError):
                    raise
                if watch.is_up:
                    self.left()
                    raise ReadTimeout(f"no whole answer within {seconds:g} s") from None
                if isinstance(error, OSError):
                    raise
                raise NoConnection(f"the answer broke off ({type(error).__name__})") from error
        headers = {name.lower(): value for name, value in response.headers.items()}
        self.answers.append(Answer(response.status_code, headers, content))
        self._refuse_unfit(where, response.status_code, headers.get("content-type", ""), content)
        return _filled(response, content)

    @contextmanager
    def _watching(self, seconds: float) -> Iterator[_Watch]:
        with _Watch(seconds, self._sockets) as watch:
            self._watch = watch
            try:
                yield watch
            finally:
                self._watch = None

    def _refuse_redirect(self, where: str, response: Response) -> None:
        if 300 <= response.status_code < 400:
            target = urlsplit(response.headers.get("location", "")).hostname or "elsewhere"
            raise FeedError(f"{where}: redirects to {target[:SHOWN]} ({response.status_code}), not followed")

    def _body(self, where: str, response: Response) -> bytes:
        cap = self.limits.largest_answer_mib * 2**20
        parts, size = [], 0
        try:
            while part := response.raw.read1(BLOCK, decode_content=True):
                parts.append(part)
                size += len(part)
                if size > cap:
                    raise FeedError(
                        f"{where}: unpacks to more than {cap // 2**20} MiB, refused; see "
                        "source.limits.largest_answer_mib"
                    )
        except urllib3.exceptions.HTTPError as error:
            raise NoConnection(f"the answer broke off after {size} bytes ({type(error).__name__})") from error
        return b"".join(parts)

    def _refuse_unfit(self, where: str, status: int, kind: str, content: bytes) -> None:
        if status in (401, 403, 407, 451):
            raise FeedError(
                f"{where}: refused with {status}, not asked again; see whether this venue serves your place, and its "
                "credentials if any are set"
            )
        if (depth := depth_of(content)) > self.limits.deepest_nesting:
            raise FeedError(f"{where}: nested {depth} deep, refused; see source.limits.deepest_nesting")
        if status < 300:
            try:
                json.loads(content)
            except (ValueError, RecursionError):
                start = content[:SHOWN].decode("utf-8", "replace")
                raise FeedError(
                    f"{where}: answered {status} with {kind or 'no type'} that is no JSON: {start!r}"
                ) from None


def _refuse_headless(response: Response, content: bytes, *, is_up: bool) -> None:
    """Refuse what looks whole only because the sender, or our watch, hung up within the head."""
    if is_up or (response.status_code < 300 and not content):
        raise NoConnection("the answer broke off before its body")


def depth_of(content: bytes) -> int:
    """Return how deep lists and tables of a JSON text are nested; brackets in texts do not count."""
    marks = DEPTH[np.frombuffer(TEXTS.sub(b"", content), dtype=np.uint8)]
    levels = np.cumsum(marks[marks != 0], dtype=np.int64)
    return int(levels.max(initial=0))


class Kept(HTTPAdapter):
    """Answers any request with bytes that were kept, so that they are read as they were when they came."""

    def __init__(self) -> None:
        self.content = b""
        super().__init__()

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """Answer with the bytes."""
        response = Response()
        response.status_code, response.reason, response.url = 200, "OK", request.url or ""
        response.request = request
        response.headers["Content-Type"] = "application/json"
        return _filled(response, self.content)


def _filled(response: Response, content: bytes) -> Response:
    response._content = content
    response._content_consumed = True
    return response


def _pools(wire: Wire) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            opened = super()._new_conn()
            wire.watched(opened)
            return opened

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            opened = super()._new_conn()
            wire.watched(opened)
            return opened

        def connect(self) -> None:
            super().connect()
            # The socket below TLS is another object from here on.
            wire.watched(self.sock)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
