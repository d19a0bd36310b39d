"""Redaction: what is secret never leaves the process in words.

What lives here: finding the secrets of this process and striking them, and whatever looks like one, out of a text. What
does not: where texts go (``logs``, ``alerts``, ``outbox``).
"""

import base64
import os
import re
from contextlib import suppress
from functools import cache

from dagster_project.settings import Settings, SettingsError

HIDDEN = "[hidden]"
SHORTEST = 4
"""A shorter secret would strike out ordinary words."""
NAMES = re.compile(r"(PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_KEY|CREDENTIALS?)$")
IN_ADDRESS = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")
LONGEST = 400


def secrets(settings: Settings | None = None) -> tuple[str, ...]:
    """List what must not be shown: passwords and keys in use, every variable named like a secret; longest first."""
    found = {value for name, value in os.environ.items() if NAMES.search(name.upper())}
    if settings is not None and settings.smtp is not None:
        with suppress(SettingsError):
            found |= _spellings(settings.smtp.username, settings.smtp.password())
    if settings is not None:
        for venue in settings.source.venues.values():
            found |= set(venue.credentials().values())
    found |= {line for value in found for line in value.splitlines()}
    return tuple(sorted((one for one in found if len(one) >= SHORTEST), key=len, reverse=True))


def _spellings(user: str, password: str) -> set[str]:
    """Spell a password as it stands and as the two common ways of logging in carry it."""
    encoded = (password.encode(), f"\0{user}\0{password}".encode())
    return {password, *(base64.b64encode(one).decode() for one in encoded)} if password else set()


@cache
def _pattern(known: tuple[str, ...]) -> re.Pattern[str] | None:
    return re.compile("|".join(re.escape(one) for one in known)) if known else None


def redact(text: str, settings: Settings | None = None) -> str:
    """Return a text without secrets and without passwords in addresses."""
    pattern = _pattern(secrets(settings))
    return IN_ADDRESS.sub(HIDDEN, pattern.sub(HIDDEN, text) if pattern else text)


def one_line(text: str, settings: Settings | None = None) -> str:
    """Return a text from outside as one short line: redacted, without control characters."""
    printable = "".join(c if c.isprintable() else " " for c in redact(text, settings))
    line = " ".join(printable.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
