"""Journal: every step of every mail, one line each, beside the database.

What lives here: appending so that a line is on the disk before anything else happens, and the last line of each mail.
What does not: what the steps mean (``outbox``).

The database may be restored from a copy or lose its last commit; a mail that went out cannot be called back. So the
steps that the world has seen are kept in a file of their own, which no restore touches.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

NAME = "outbox/journal.jsonl"


@dataclass(frozen=True)
class Entry:
    """One step of one mail."""

    at: str
    message_id: str
    attempt: int
    state: str
    reply: str


class JournalError(RuntimeError):
    """The journal cannot be read; the message names file and line."""


def append(folder: Path, message_id: str, attempt: int, state: str, reply: str, at: datetime) -> None:
    """Append a step; on return it is on the disk.

    Parameters
    ----------
    folder
        The profile's.
    message_id, attempt, state, reply
        The mail, how often it was tried with this attempt, where it stands now and in whose words.
    at
        Now, UTC.
    """
    path = folder / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = Entry(at.isoformat(timespec="seconds"), message_id, attempt, state, reply)
    with path.open("ab+") as stream:
        # A line that was cut by a crash must not swallow the next one.
        stream.seek(0, os.SEEK_END)
        is_torn = stream.tell() > 0 and _last_byte(path) != b"\n"
        line = json.dumps(asdict(entry), ensure_ascii=True, sort_keys=True)
        stream.write((b"\n" if is_torn else b"") + line.encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1)


def latest(folder: Path) -> dict[str, Entry]:
    """Return the last step of each mail.

    Raises
    ------
    JournalError
        Where a line other than a torn one cannot be read.
    """
    return {entry.message_id: entry for entry in _entries(folder / NAME)}


def first_tried(folder: Path) -> dict[str, datetime]:
    """Return when each mail was tried first, or first again after an operator ordered it once more."""
    times: dict[str, datetime] = {}
    for entry in _entries(folder / NAME):
        if entry.state == "pending":
            times.pop(entry.message_id, None)
        else:
            times.setdefault(entry.message_id, datetime.fromisoformat(entry.at))
    return times


def _entries(path: Path) -> Iterator[Entry]:
    if not path.is_file():
        return
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield Entry(**json.loads(line))
        except (ValueError, TypeError) as error:
            if line.endswith("}"):
                raise JournalError(f"{path}, line {number}: no entry ({error}); mend or remove that line") from error
            # A crash cut it: the step was never on the disk as a whole, so nothing was done on its strength.
