"""Mailer: one conversation with a mail server, encrypted or not at all.

What lives here: connecting, certificates, logging in, offering a mail, handing it over, and what the server's answers
mean for a mail. What does not: which mails are due and what became of them (``outbox``), how a mail looks
(``reports.message``).

The answer that matters is the one to the last dot. Before the dot nothing can have arrived, so any failure may be tried
again; after it a silence leaves the mail's fate unknown (RFC 1047), and nobody but a person may send it again.
"""

import re
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

from dagster_project.settings import SettingsError, Smtp

Outcome = Literal["accepted", "refused", "deferred", "unknown", "oversize"]
PATIENCE = 4.0
"""A mail may take this many timeouts in all, however slowly the server drips."""
FINAL = {552, 523, 534}
"""Codes of a mail that is too big; 552 is said of a full mailbox too, where a smaller mail is worth a try as well."""
ACCEPTED, FORWARDED, GO_ON, CLOSING = 250, 251, 354, 421


class ServerTrouble(RuntimeError):  # noqa: N818  (a state of the server, not of the program)
    """No mail can be handed over now; nothing was."""


@dataclass(frozen=True)
class Reply:
    """What became of one mail.

    Attributes
    ----------
    outcome
        ``accepted``: the server has taken responsibility. ``refused``: for good. ``deferred``: not now. ``oversize``:
        too big as it is. ``unknown``: handed over, never answered.
    text
        The server's words, or ours where it had none.
    is_last
        Whether the server will hear nothing more in this conversation.
    """

    outcome: Outcome
    text: str
    is_last: bool = False


class Connection:
    """An open, encrypted conversation; made by `connect` only."""

    def __init__(self, client: smtplib.SMTP, smtp: Smtp) -> None:
        self._client = client
        self._smtp = smtp
        offered = client.esmtp_features.get("size", "")
        announced = int(offered) if offered.isdecimal() else 0
        self._limit = min(smtp.maximum_bytes, announced) if announced else smtp.maximum_bytes

    def offer(self, sender: str, recipient: str, size: int) -> Reply | None:
        """Name sender and recipient; None where the server will take a mail for this recipient.

        Parameters
        ----------
        sender, recipient
            Addresses of the envelope.
        size
            Bytes of the mail.
        """
        if size > self._limit:
            return Reply("oversize", f"{size} bytes, over the limit of {self._limit}")
        try:
            with self._in_time():
                options = [f"SIZE={size}"] if self._client.has_extn("size") else []
                code, words = self._client.mail(sender, options)
                if code == ACCEPTED:
                    code, words = self._client.rcpt(recipient)
                if code not in (ACCEPTED, FORWARDED):
                    return self._dropped(code, words)
        except (OSError, smtplib.SMTPException, ValueError) as error:
            return Reply("deferred", _words(error), is_last=True)
        return None

    def hand_over(self, content: bytes) -> Reply:
        """Send the mail that was offered; what the server says to it."""
        is_dotted = False
        try:
            with self._in_time():
                code, words = self._client.docmd("DATA")
                if code != GO_ON:
                    return self._dropped(code, words)
                body = re.sub(rb"(?m)^\.", b"..", content)
                self._client.send(body if body.endswith(b"\r\n") else body + b"\r\n")
                is_dotted = True
                self._client.send(b".\r\n")
                code, words = self._client.getreply()
        except (OSError, smtplib.SMTPException, ValueError) as error:
            if is_dotted:
                return Reply("unknown", f"no answer after the mail was handed over: {_words(error)}", is_last=True)
            return Reply("deferred", _words(error), is_last=True)
        return _judged(code, words)

    def _dropped(self, code: int, words: bytes) -> Reply:
        """Judge a refusal before the mail itself, and clear the table for the next one."""
        reply = _judged(code, words)
        if not reply.is_last:
            self._client.rset()
        return reply

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        """Cut a conversation that drips along below every single timeout."""
        with _deadline(PATIENCE * self._smtp.timeout_seconds, lambda: self._client.sock):
            yield


@contextmanager
def connect(smtp: Smtp) -> Iterator[Connection]:
    """Open a conversation: TLS with a checked certificate before anything of ours is said, then the login.

    Raises
    ------
    ServerTrouble
        Where the server cannot be reached, does not speak TLS, has a certificate that does not hold, or refuses the
        login. Nothing was sent, and nothing is ever sent in clear text.
    """
    client = _opened(smtp)
    try:
        yield Connection(client, smtp)
    finally:
        with suppress(OSError, smtplib.SMTPException):
            client.quit()
        client.close()


def _opened(smtp: Smtp) -> smtplib.SMTP:
    where = f"{smtp.host}:{smtp.port}"
    try:
        password = smtp.password()
        context = ssl.create_default_context(cafile=str(smtp.ca_file) if smtp.ca_file else None)
    except (OSError, SettingsError) as error:
        raise ServerTrouble(f"{where}: {_words(error)}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    client = _client(smtp, context)
    try:
        with _deadline(PATIENCE * smtp.timeout_seconds, lambda: client.sock):
            code, words = client.connect(smtp.host, smtp.port)
            if code != 220:
                raise smtplib.SMTPConnectError(code, words)
            if smtp.tls == "starttls":
                _encrypt(client, context)
            client.ehlo()
            if smtp.username:
                client.login(smtp.username, password)
    except (OSError, smtplib.SMTPException, ValueError) as error:
        client.close()
        raise ServerTrouble(f"{where}: {_words(error)}") from error
    return client


def _client(smtp: Smtp, context: ssl.SSLContext) -> smtplib.SMTP:
    """Make a client that is not connected yet, so that the deadline covers the greeting as well."""
    name = socket.gethostname()
    ours = name if "." in name else "[127.0.0.1]"
    if smtp.tls == "implicit":
        client: smtplib.SMTP = smtplib.SMTP_SSL(local_hostname=ours, timeout=smtp.timeout_seconds, context=context)
    else:
        client = smtplib.SMTP(local_hostname=ours, timeout=smtp.timeout_seconds)
    # The name that the certificate must bear; smtplib takes it from its constructor only, which would connect at once.
    client._host = smtp.host  # type: ignore[attr-defined]
    return client


def _encrypt(client: smtplib.SMTP, context: ssl.SSLContext) -> None:
    client.ehlo()
    if not client.has_extn("starttls"):
        raise smtplib.SMTPNotSupportedError("the server offers no STARTTLS; nothing is sent in clear text")
    client.starttls(context=context)


def _judged(code: int, words: bytes) -> Reply:
    text = f"{code} {words.decode('utf-8', 'replace')}"
    if code == CLOSING:
        return Reply("deferred", text, is_last=True)
    if 200 <= code < 300:
        return Reply("accepted", text)
    if code in FINAL or (code >= 500 and re.search(rb"(^|\s)5\.(3\.4|2\.3)(\s|$)", words)):
        return Reply("oversize", text)
    if 500 <= code < 600:
        return Reply("refused", text)
    # -1 is smtplib's word for a line that is no reply.
    return Reply("deferred", text, is_last=code == -1)


def _words(error: BaseException) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error
        return f"{error.smtp_code} {said.decode('utf-8', 'replace') if isinstance(said, bytes) else said}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate does not hold: {error.verify_message}"
    return f"{type(error).__name__}: {error}" if not isinstance(error, SettingsError) else str(error)


@contextmanager
def _deadline(seconds: float, sock: Callable[[], socket.socket | None]) -> Iterator[None]:
    def cut() -> None:
        opened = sock()
        if opened is not None:
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
