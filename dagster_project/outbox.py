"""Outbox: what becomes of each mail, from waiting to settled, so that none is lost and none arrives twice.

What lives here: which mails are due, the states they pass, backing off, and what an operator may order. What does not:
the conversation with the server (``mailer``), writing the mails (``assets.delivery``), alerts (``alerts``).

States: ``pending`` (never tried, or ordered to be sent again), ``sending`` (being handed over), ``accepted``,
``refused`` (for good), ``deferred`` (tried again later), ``unknown`` (handed over, never answered: only a person may
decide), ``cancelled``.
"""

import fcntl
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from dagster_project import alerts, clock, files, journal, mailer, redaction
from dagster_project import settings as settings_module
from dagster_project.progress import crash_point
from dagster_project.settings import Settings, Smtp
from dagster_project.warehouse import Session, Warehouse
from reports import message
from reports.words import records

LOGGER = logging.getLogger("plimsoll.outbox")
FIRST_WAIT = timedelta(minutes=15)
LONGEST_WAIT = timedelta(hours=4)
GIVE_UP = timedelta(days=5)
"""RFC 5321, 4.5.4.1: a sender tries for four to five days at least."""
UNANSWERED = (
    "handed over and never answered; look whether it arrived, then: plimsoll outbox arrived or resend --confirm"
)
NO_SERVER = "no [smtp] table in the configuration: mails are files in outbox/, to be handed over by hand"
SHORTEST_ID = 4
PATIENT_ATTEMPTS = 3
"""A mail deferred so often is worth an alert."""
SILENT_CONVERSATIONS = 2
"""So many conversations in a row that end without an answer, and the rest waits."""
SUPERSEDED = "a newer revision of the report takes its place"
WAITING = ("pending", "deferred")
SETTLED = ("accepted", "refused", "cancelled")
FILED = "filed"
"""Written while no server was configured: a file for somebody's hands, which a server that comes later does not get."""


class OutboxError(ValueError):
    """What was asked cannot be done with this mail; the message says why."""


class OutboxBusy(OutboxError):  # noqa: N818  (busy is a state, not a fault)
    """Another process is sending."""


@dataclass
class Dispatch:
    """What one round did: mails by the state they reached, and why the server took nothing, if so."""

    counts: dict[str, int] = field(default_factory=dict)
    trouble: str = ""

    def note(self, state: str) -> None:
        """Count a mail."""
        self.counts[state] = self.counts.get(state, 0) + 1


def dispatch(settings: Settings, warehouse: Warehouse, *, only: str | None = None) -> Dispatch:
    """Send every mail that is due, one conversation for all of them.

    No conversation is held while the store is open, and no row is open while the server is asked.

    Parameters
    ----------
    settings, warehouse
        Profile and store.
    only
        Message-ID of the one mail to send; by default all that are due.

    Raises
    ------
    OutboxError
        Where no server is configured.
    OutboxBusy
        Where another process is sending.
    """
    if settings.smtp is None:
        raise OutboxError(NO_SERVER)
    with _alone(settings):
        with warehouse.session() as session:
            _heal(session, settings)
            with session.transaction():
                cancel_unwanted(session, settings)
                _cancel_superseded(session, settings)
            due = [row for row in _rows(session) if _is_due(row) and only in (None, row.message_id)]
        return _Round(settings, settings.smtp, warehouse).send(due)


def attempt(settings: Settings, warehouse: Warehouse) -> dict[str, Any]:
    """Send what is due, if a server is configured; mails by state and, where it took nothing, why.

    Trouble is an alert and no failure: the mails wait, and the next round takes them.
    """
    if settings.smtp is None:
        return {}
    try:
        done = dispatch(settings, warehouse)
    except OutboxBusy as error:
        return {"mail_server": str(error)}
    with warehouse.session() as session:
        told = trouble(_rows(session))
    for day, text in told.items():
        alerts.raise_alert(settings, alerts.Kind.mail, day, text)
    return {f"mails_{state}": count for state, count in sorted(done.counts.items())} | (
        {"mail_server": done.trouble} if done.trouble else {}
    )


def due(session: Session) -> int:
    """Count the mails that a round would send now, or find half done."""
    return sum(_is_due(row) or row.state == "sending" for row in _rows(session))


def trouble(rows: list[Any]) -> dict[str, str]:
    """Say what is wrong with mails, by day: refused, unknown, and deferred again and again."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.state in ("refused", "unknown") or (row.state == "deferred" and row.attempts >= PATIENT_ATTEMPTS):
            line = f"{row.state}: {_short(row)} to {row.recipient} ({row.audience}): {row.last_reply}"
            found.setdefault(str(row.as_of.date()), []).append(line)
    return {day: "\n".join([f"{len(lines)} mail(s) need a look", *lines]) for day, lines in found.items()}


class _Round:
    """One round of sending; holds the conversation while there is one."""

    def __init__(self, settings: Settings, smtp: Smtp, warehouse: Warehouse) -> None:
        self._settings, self._smtp, self._warehouse = settings, smtp, warehouse
        self._folder = settings_module.profile_folder(settings)
        self._first_tried = journal.first_tried(self._folder)
        self._stack = ExitStack()
        self._talk: mailer.Connection | None = None
        self._silent = 0
        self.done = Dispatch()

    def send(self, due: list[Any]) -> Dispatch:
        with self._stack:
            for row in due:
                if not self.done.trouble:
                    self._connect()
                if self.done.trouble:
                    self._settle(row, int(row.attempts) + 1, mailer.Reply("deferred", self.done.trouble))
                else:
                    self._one(row)
        return self.done

    def _connect(self) -> None:
        if self._talk is None:
            try:
                self._talk = self._stack.enter_context(mailer.connect(self._smtp))
            except mailer.ServerTrouble as error:
                self.done.trouble = redaction.one_line(str(error), self._settings)
                LOGGER.warning("mail server: %s", self.done.trouble)

    def _one(self, row: Any) -> None:
        path = self._folder / row.eml_path
        content = path.read_bytes() if path.is_file() else b""
        if files.sha256(content) != row.eml_sha256:
            self._settle(
                row, int(row.attempts), mailer.Reply("deferred", f"{row.eml_path} is not the mail that was committed")
            )
            return
        attempts, reply = self._try(row, int(row.attempts), content)
        if reply.outcome == "oversize":
            light = message.without_pdf(content, self._settings.mail.report_link)
            files.write_atomic(path.with_suffix(".light.eml"), light)
            if self._talk is None:
                self._connect()
            if not self.done.trouble:
                attempts, reply = self._try(row, attempts, light)
            if reply.outcome == "oversize":
                reply = mailer.Reply("refused", f"too big without the report as well: {reply.text}", reply.is_last)
        self._settle(row, attempts, reply)

    def _try(self, row: Any, attempts: int, content: bytes) -> tuple[int, mailer.Reply]:
        """Offer a mail and hand it over; attempts so far, and the answer."""
        assert self._talk is not None
        reply = self._talk.offer(self._settings.mail.sender, row.recipient, len(content))
        attempts += 1
        if reply is None:
            self._move(row, "sending", attempts, "", None)
            crash_point("committed sending")
            journal.append(self._folder, row.message_id, attempts, "sending", "", clock.now())
            crash_point("before DATA")
            reply = self._talk.hand_over(content)
            crash_point("after DATA")
        self._silent = self._silent + 1 if reply.is_last else 0
        if reply.is_last:
            self._stack.close()
            self._talk = None
        if self._silent >= SILENT_CONVERSATIONS:
            self.done.trouble = redaction.one_line(f"{self._smtp.host}: {reply.text}", self._settings)
        return attempts, reply

    def _settle(self, row: Any, attempts: int, reply: mailer.Reply) -> None:
        words = redaction.one_line(reply.text, self._settings)
        state, planned = reply.outcome, None
        if state == "deferred":
            planned = clock.now() + min(FIRST_WAIT * 2 ** max(attempts - 1, 0), LONGEST_WAIT)
            if planned > self._first_tried.get(row.message_id, clock.now()) + GIVE_UP:
                state, planned, words = "refused", None, f"given up after {GIVE_UP.days} days: {words}"
        journal.append(self._folder, row.message_id, attempts, state, words, clock.now())
        crash_point("before outbox update")
        self._move(row, state, attempts, words, planned)
        self.done.note(state)
        level = logging.INFO if state == "accepted" else logging.WARNING
        LOGGER.log(level, "mail %s to %s: %s (%s)", _short(row), row.audience, state, words)

    def _move(self, row: Any, state: str, attempts: int, reply: str, planned: datetime | None) -> None:
        with self._warehouse.session() as session, session.transaction():
            before = next(one.state for one in _rows(session) if one.message_id == row.message_id)
            _move(session, row.message_id, before, state, attempts, reply, planned)


def cancel_unwanted(session: Session, settings: Settings) -> int:
    """Cancel waiting mails to addresses that are no longer configured; call it inside a transaction."""
    wanted = {(audience, one) for audience, ones in settings.mail.audiences().items() for one in ones}
    gone = [row for row in _rows(session) if row.state in WAITING and (row.audience, row.recipient) not in wanted]
    for row in gone:
        _cancel(session, settings, row, "no longer a recipient")
    return len(gone)


def cancel_outdated(session: Session, settings: Settings, message_ids: list[str]) -> None:
    """Cancel the mails that are named because newer ones replace them; call it inside a transaction."""
    for row in _rows(session):
        if row.message_id in message_ids:
            _cancel(session, settings, row, SUPERSEDED)


def _cancel_superseded(session: Session, settings: Settings) -> None:
    """Cancel what waits although its report has a newer revision, which may be withheld or not mailed yet."""
    waiting = [row for row in _rows(session) if row.state in WAITING]
    newest = {row.as_of: _newest_revision(session, row) for row in waiting}
    for row in waiting:
        if row.revision < newest[row.as_of]:
            _cancel(session, settings, row, SUPERSEDED)


def _newest_revision(session: Session, row: Any) -> int:
    reports = session.query("reports", as_of=row.as_of.date())
    return int(reports["revision"].max()) if len(reports) else int(row.revision)


def order(settings: Settings, warehouse: Warehouse, identity: str, what: str, *, is_confirmed: bool) -> Any:
    """Do to one mail what an operator orders.

    Parameters
    ----------
    settings, warehouse
        Profile and store.
    identity
        The beginning of its id as listed.
    what
        ``resend``: it waits for the next round again, whatever happened to it. ``cancel``: it will not be sent.
        ``arrived``: an unknown one did arrive.
    is_confirmed
        Whether the operator confirmed; a mail that may have arrived is not sent again without.

    Returns
    -------
    row
        The mail as it is now.

    Raises
    ------
    OutboxError
        Where no mail or several begin so, or its state does not allow it.
    """
    with _alone(settings), warehouse.session() as session:
        _heal(session, settings)
        row = _named(session, identity)
        state, words = _ordered(row, what, is_confirmed=is_confirmed)
        newest = _newest_revision(session, row)
        if what == "resend" and row.revision < newest:
            raise OutboxError(
                f"mail {_short(row)} is about revision {row.revision} of a report that has revision {newest}; mail "
                f"that one: plimsoll report --as-of {row.as_of.date()} --stage delivery --send-corrections"
            )
        folder = settings_module.profile_folder(settings)
        journal.append(folder, row.message_id, int(row.attempts), state, words, clock.now())
        with session.transaction():
            _move(session, row.message_id, row.state, state, row.attempts, words, None)
        return _named(session, row.message_id)


def _ordered(row: Any, what: str, *, is_confirmed: bool) -> tuple[str, str]:
    if what == "resend":
        if row.state in WAITING:
            return "pending", "an operator ordered the next attempt now"
        if not is_confirmed:
            raise OutboxError(
                f"mail {_short(row)} to {row.recipient} is {row.state}: it may arrive twice. Ask the recipient first, "
                "then add --confirm"
            )
        return "pending", f"an operator ordered it again though it was {row.state}"
    if what == "cancel":
        if row.state not in (*WAITING, "unknown"):
            raise OutboxError(f"mail {_short(row)} is {row.state}; only a waiting or unknown one can be cancelled")
        return "cancelled", "an operator cancelled it"
    if row.state != "unknown":
        raise OutboxError(f"mail {_short(row)} is {row.state}; only of an unknown one it is asked whether it arrived")
    return "accepted", "an operator found that it arrived"


def _named(session: Session, identity: str) -> Any:
    wanted = identity.strip().strip("<>").lower()
    if len(wanted) < SHORTEST_ID:
        raise OutboxError(f"{identity!r}: give at least {SHORTEST_ID} characters of the id")
    found = [row for row in _rows(session) if row.message_id.strip("<>").lower().startswith(wanted)]
    if len(found) != 1:
        what = "no mail's id begins" if not found else f"the ids of {len(found)} mails begin"
        raise OutboxError(f"{what} with {identity!r}; see plimsoll outbox list")
    return found[0]


def _heal(session: Session, settings: Settings) -> None:
    """Settle what a process that died left half done; nobody else is sending now."""
    known = journal.latest(settings_module.profile_folder(settings))
    for row in _rows(session):
        healed = _healed(row, known.get(row.message_id))
        if healed is None:
            continue
        state, attempts, words = healed
        if state == "unknown":
            folder = settings_module.profile_folder(settings)
            journal.append(folder, row.message_id, attempts, state, words, clock.now())
        planned = clock.now() + FIRST_WAIT if state == "deferred" else None
        with session.transaction():
            _move(session, row.message_id, row.state, state, attempts, words, planned)
        LOGGER.warning("mail %s was %s when its process ended; now %s", _short(row), row.state, state)


def _healed(row: Any, entry: journal.Entry | None) -> tuple[str, int, str] | None:
    """State, attempts and words that a mail must have after what the journal says of it; None where it has them."""
    if row.state in SETTLED:
        return None
    if entry is None or entry.attempt < row.attempts:
        # The store knows of an attempt that the journal does not: it died before anything was handed over.
        if row.state == "sending":
            return "pending", int(row.attempts), "interrupted before anything was handed over"
        return None
    if entry.state == "sending":
        return "unknown", entry.attempt, UNANSWERED
    if (entry.state in (*SETTLED, "unknown") or row.state == "sending") and entry.state != row.state:
        return entry.state, entry.attempt, entry.reply
    return None


def _rows(session: Session) -> list[Any]:
    return list(records(session.query("outbox")))


def _is_due(row: Any) -> bool:
    if row.state == "pending":
        return True
    return row.state == "deferred" and bool(pd.isna(row.next_attempt_at) or row.next_attempt_at <= clock.now())


def _cancel(session: Session, settings: Settings, row: Any, why: str) -> None:
    journal.append(
        settings_module.profile_folder(settings), row.message_id, int(row.attempts), "cancelled", why, clock.now()
    )
    _move(session, row.message_id, row.state, "cancelled", row.attempts, why, None)


def _move(
    session: Session, message_id: str, before: str, state: str, attempts: int, reply: str, planned: datetime | None
) -> None:
    moved = session.command(
        "move_mail",
        message_id=message_id,
        from_state=before,
        state=state,
        attempts=int(attempts),
        last_reply=reply,
        next_attempt_at=planned,
        changed_at=clock.now(),
    )
    if moved != 1:
        raise OutboxError(f"mail {message_id}: {moved} rows moved instead of one")


def _short(row: Any) -> str:
    return str(row.message_id).strip("<>")[:8]


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    path: Path = settings_module.profile_folder(settings) / "outbox" / ".sending.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutboxBusy("another process is sending mail just now; it takes what is due") from None
        yield
