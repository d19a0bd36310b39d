"""Alerts: what operators must know tonight, mailed to them alone and without secrets.

What lives here: the kinds of alerts, their words, keeping each as a file and sending it. What does not: what is wrong
(whoever raises), reports and their readers (``assets.delivery``).

An alert must work when nothing else does: it needs neither the store nor a rendered report, and where no server takes
it, it waits as a file. It may arrive twice; the same words about the same day are kept once.
"""

import fcntl
import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from enum import StrEnum
from pathlib import Path

from dagster_project import files, mailer, redaction
from dagster_project import settings as settings_module
from dagster_project.settings import Settings

LOGGER = logging.getLogger("plimsoll.alerts")
POLICY = SMTP.clone(cte_type="7bit")
LONGEST_SUBJECT = 160
LONGEST_TEXT = 4000


class Kind(StrEnum):
    """What an alert is about; the word stands in the subject."""

    failed = "FAILED"
    withheld = "WITHHELD"
    stale = "STALE"
    mail = "MAIL"
    orphan = "ORPHAN"


REMEDIES = {
    Kind.failed: "Read the message, mend the cause, then run the day again: plimsoll report --as-of {day}. Earlier "
    "days are as they were. plimsoll doctor says what is wrong with the machine.",
    Kind.withheld: "Nothing was published and no reader got a mail. The numbers are in the store; the checks stand in "
    "the user interface and on page one of the report, where there is one. Mend the cause, then: "
    "plimsoll report --as-of {day}.",
    Kind.stale: "The named markets have no bar where one was due; their thresholds are withheld, the others stand. See "
    "to the source, then: plimsoll report --as-of {day}.",
    Kind.mail: "plimsoll outbox list shows every mail. Deferred ones are tried again by themselves. For an unknown "
    "one, ask the recipient, then: plimsoll outbox arrived ID, or plimsoll outbox resend ID --confirm.",
    Kind.orphan: "The run was marked failed, so that the next one can start. What it had not committed is rolled back; "
    "run the day again: plimsoll report --as-of {day}.",
}


def raise_alert(settings: Settings, kind: Kind, day: date | str, text: str) -> bool:
    """Tell the operators; never raises, because it is called where something has gone wrong already.

    Parameters
    ----------
    settings
        Profile; its operators are told.
    kind, day
        What it is about, and the day concerned.
    text
        In words; secrets are struck out.

    Returns
    -------
    bool
        Whether this was news: the same words about the same day are told once.
    """
    words = redaction.redact(text, settings).strip()[:LONGEST_TEXT]
    LOGGER.warning("alert %s %s: %s", kind.value, day, redaction.one_line(words, settings))
    is_news, unkept = False, []
    for recipient in settings.mail.operators:
        content = _mail(settings, kind, str(day), words, recipient)
        name = f"{day}-{kind.value.lower()}-{hashlib.sha256(content).hexdigest()[:12]}.eml"
        folder = _folder(settings)
        if (folder / "sent" / name).exists() or (folder / name).exists():
            continue
        is_news = True
        try:
            files.write_atomic(folder / name, content)
        except OSError:
            # A full disk is just what an alert may be about: it goes out all the same.
            unkept.append(content)
    send_waiting(settings, unkept)
    return is_news


def send_waiting(settings: Settings, unkept: Sequence[bytes] = ()) -> int:
    """Send the alerts that wait as files, and those that could not be kept; how many were taken. Never raises."""
    if settings.smtp is None:
        return 0
    sent = 0
    try:
        with _alone(_folder(settings)):
            kept = sorted(_folder(settings).glob("*.eml"))
            if not kept and not unkept:
                return 0
            with mailer.connect(settings.smtp) as talk:
                for content in unkept:
                    sent += _send(settings, talk, content)
                for path in kept:
                    if _send(settings, talk, path.read_bytes()):
                        sent += 1
                        files.move(path, path.parent / "sent" / path.name)
    except (OSError, mailer.ServerTrouble) as error:
        LOGGER.warning("alerts wait: %s", redaction.one_line(str(error), settings))
    return sent


def waiting(settings: Settings) -> int:
    """Count the alerts that no server has taken."""
    return len(list(_folder(settings).glob("*.eml")))


def _send(settings: Settings, talk: mailer.Connection, content: bytes) -> bool:
    recipient = str(message_from_bytes(content, policy=POLICY)["To"])
    reply = talk.offer(settings.mail.sender, recipient, len(content)) or talk.hand_over(content)
    if reply.outcome != "accepted":
        LOGGER.warning("alert waits: %s", redaction.one_line(reply.text, settings))
    return reply.outcome == "accepted"


def _mail(settings: Settings, kind: Kind, day: str, words: str, recipient: str) -> bytes:
    """Build an alert; the same words give the same bytes, so that it is told once."""
    first = words.splitlines()[0] if words else kind.value
    found = EmailMessage(policy=POLICY)
    found["From"] = settings.mail.sender
    found["To"] = recipient
    subject = f"[plimsoll] {kind.value} {settings.profile.name}: {redaction.one_line(first, settings)}"
    found["Subject"] = f"{subject[:LONGEST_SUBJECT]} · {day}"
    identity = hashlib.sha256("\x1f".join((settings.profile.name, kind, day, words, recipient)).encode()).hexdigest()
    found["Message-ID"] = f"<alert-{identity[:32]}@{settings.mail.sender.rpartition('@')[2]}>"
    found["Auto-Submitted"] = "auto-generated"
    found["List-Id"] = f"Plimsoll operators <operators.plimsoll.{settings.mail.sender.rpartition('@')[2]}>"
    remedy = REMEDIES[kind].format(day=day)
    found.set_content(f"{words}\n\nProfile {settings.profile.name}, day {day}.\n\nWhat to do: {remedy}\n")
    return found.as_bytes()


def _folder(settings: Settings) -> Path:
    return settings_module.profile_folder(settings) / "alerts"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from sending the same files; where the disk takes no lock file, send without."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / ".sending.lock").open("a")
    except OSError:
        yield
        return
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
