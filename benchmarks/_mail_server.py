"""A mail server on loopback that does what a test has written for it, with TLS and certificates of its own."""

import asyncio
import logging
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "plimsoll", "correct-horse-battery"


@dataclass
class Script:
    """What the server does; by default it takes everything.

    Attributes
    ----------
    rcpt, data
        Answers by recipient, used up in order: to RCPT, and to the mail itself. ``abort`` ends the conversation,
        ``hang`` says nothing.
    size
        Bytes of a mail that it announces and takes.
    takes_before_abort
        Whether a mail that is answered by ``abort`` or ``hang`` has arrived all the same.
    """

    rcpt: dict[str, list[str]] = field(default_factory=dict)
    data: dict[str, list[str]] = field(default_factory=dict)
    size: int = 30_000_000
    takes_before_abort: bool = True


class Mailbox:
    """What arrived, in order."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, bytes]] = []
        self.conversations = 0
        self.logins: list[str] = []
        self.clear_text: list[str] = []

    def message_ids(self) -> list[str]:
        return [str(self.parsed(n)["Message-ID"]) for n in range(len(self.mails))]

    def to(self, recipient: str) -> list[EmailMessage]:
        return [self.parsed(n) for n, (address, _) in enumerate(self.mails) if address == recipient]

    def parsed(self, number: int) -> EmailMessage:
        found = message_from_bytes(self.mails[number][1], policy=policy.default)
        assert isinstance(found, EmailMessage)
        return found

    def twice(self) -> list[str]:
        return [identity for identity, count in Counter(self.message_ids()).items() if count > 1]


def _hang_up(server: SMTP) -> None:
    assert isinstance(server.transport, asyncio.WriteTransport)
    server.transport.abort()


class _Handler:
    def __init__(self, script: Script, box: Mailbox) -> None:
        self.script, self.box = script, box

    async def handle_EHLO(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, lines: list[str]
    ) -> list[str]:
        session.host_name = hostname
        self.box.conversations += session.ssl is None
        return lines

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if session.ssl is None:
            self.box.clear_text.append(address)
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answers = self.script.rcpt.get(address) or self.script.rcpt.get("*") or []
        answer = answers.pop(0) if answers else "250 OK"
        if answer == "abort":
            _hang_up(server)
        elif answer == "hang":
            await asyncio.sleep(60)
        elif answer.startswith("2"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        (address,) = envelope.rcpt_tos
        answers = self.script.data.get(address) or self.script.data.get("*") or []
        answer = answers.pop(0) if answers else "250 2.0.0 taken"
        content = envelope.content
        assert isinstance(content, bytes)
        if answer.startswith("2") or (answer in ("abort", "hang") and self.script.takes_before_abort):
            self.box.mails.append((address, content))
        if answer == "abort":
            _hang_up(server)
        elif answer == "hang":
            await asyncio.sleep(60)
        return answer


def _authenticate(box: Mailbox) -> Callable[..., AuthResult]:
    def check(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        box.logins.append(data.login.decode())
        if (data.login.decode(), data.password.decode()) == (USER, PASSWORD):
            return AuthResult(success=True)
        # A careless server that repeats what it was told.
        return AuthResult(success=False, handled=False, message=f"535 5.7.8 not {data.password.decode()}")

    return check


@dataclass
class Server:
    """A running server: where it is, what arrived, whose certificates it has."""

    port: int
    box: Mailbox
    script: Script
    ca_file: Path

    def table(self, *, tls: str = "starttls", host: str = "localhost", login: bool = True, timeout: float = 5.0) -> str:
        """Return the ``[smtp]`` table of a configuration for this server."""
        lines = [
            "",
            "[smtp]",
            f'host = "{host}"',
            f"port = {self.port}",
            f'tls = "{tls}"',
            f'ca_file = "{self.ca_file}"',
        ]
        lines += [f"timeout_seconds = {timeout}"]
        if login:
            lines += [f'username = "{USER}"', 'password_env = "PLIMSOLL_SMTP_PASSWORD"']
        return "\n".join(lines) + "\n"


@contextmanager
def serve(
    folder: Path,
    script: Script | None = None,
    *,
    tls: str = "starttls",
    names: tuple[str, ...] = ("localhost",),
    is_expired: bool = False,
    has_login: bool = True,
) -> Iterator[Server]:
    """Run a server until the block ends."""
    # It repeats with each login that its own library will change.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    script, box = script or Script(), Mailbox()
    authority = trustme.CA()
    folder.mkdir(parents=True, exist_ok=True)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    leaf = authority.issue_cert(*names, not_after=datetime(2020, 1, 1) if is_expired else None)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf.configure_cert(context)
    options: dict[str, Any] = {"data_size_limit": script.size, "enable_SMTPUTF8": False, "timeout": 120}
    if tls == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    if has_login:
        options |= {
            "authenticator": _authenticate(box),
            "auth_required": tls != "none",
            "auth_require_tls": tls == "starttls",
        }
    handler = _Handler(script, box)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def open_door() -> asyncio.Server:
        return await loop.create_server(
            lambda: SMTP(handler, loop=loop, hostname="test", **options),
            "127.0.0.1",
            0,
            ssl=context if tls == "implicit" else None,
        )

    async def shut_door(server: asyncio.Server) -> None:
        server.close()
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    server = asyncio.run_coroutine_threadsafe(open_door(), loop).result(10)
    try:
        yield Server(server.sockets[0].getsockname()[1], box, script, folder / "ca.pem")
    finally:
        asyncio.run_coroutine_threadsafe(shut_door(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextmanager
def silent(banner: bytes = b"", drip_seconds: float = 0.0) -> Iterator[int]:
    """Open a port that takes connections and says little: nothing, or a byte now and then."""
    listener = socket.create_server(("127.0.0.1", 0))
    is_over = threading.Event()

    def talk(connection: socket.socket) -> None:
        with connection:
            for byte in banner:
                if is_over.is_set():
                    return
                try:
                    connection.sendall(bytes([byte]))
                except OSError:
                    return
                time.sleep(drip_seconds)
            is_over.wait(60)

    def accept() -> None:
        while not is_over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        is_over.set()
        listener.close()
