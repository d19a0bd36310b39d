"""Hold: the switch that stops every publication until somebody releases it.

What lives here: one file in the profile's folder that says who stopped publication, when and why. What does not: what
stops (``assets.publication``, ``assets.checks``).
"""

import getpass
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from dagster_project import clock, files
from dagster_project import settings as settings_module
from dagster_project.settings import Settings

NAME = "hold.json"
LONGEST_REASON = 400
RELEASE = "release it with: plimsoll hold --release"


class HoldError(ValueError):
    """The switch cannot be set as asked; the message says what to do instead."""


@dataclass(frozen=True)
class Hold:
    """Who stopped publication, when (UTC) and why."""

    reason: str
    by: str
    since: str

    @property
    def sentence(self) -> str:
        """Say it as one clause."""
        return f"held since {self.since} by {self.by}: {self.reason}"


def path_of(settings: Settings) -> Path:
    """Return where the switch lies."""
    return settings_module.profile_folder(settings) / NAME


def current(settings: Settings) -> Hold | None:
    """Return the hold in force, or None; a file that cannot be read holds as well."""
    path = path_of(settings)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        return Hold(f"{path} cannot be read ({error.strerror})", "unknown", "unknown")
    try:
        told = json.loads(content.decode("utf-8"))
        return Hold(*(str(told[name]) for name in ("reason", "by", "since")))
    except (ValueError, KeyError, TypeError):
        return Hold(f"{path} is damaged and says no reason", "unknown", "unknown")


def hold(settings: Settings, reason: str, by: str = "") -> Hold:
    """Stop every publication of a profile.

    Parameters
    ----------
    settings
        Whose.
    reason
        Why, in words that the report prints.
    by
        Who; by default the user of this process.

    Raises
    ------
    HoldError
        Where no reason is given, or a long one.
    """
    told = " ".join(reason.split())
    if not told or len(told) > LONGEST_REASON:
        raise HoldError(f"a hold needs a reason of at most {LONGEST_REASON} letters; it stands in the report")
    found = Hold(told, " ".join(by.split()) or _user(), clock.now().isoformat(sep=" ", timespec="minutes") + " UTC")
    files.write_atomic(path_of(settings), (json.dumps(asdict(found), indent=1) + "\n").encode())
    return found


def release(settings: Settings) -> Hold | None:
    """Let publications go on from the next run; the hold that ended, or None where there was none."""
    found = current(settings)
    path_of(settings).unlink(missing_ok=True)
    return found


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown user"
