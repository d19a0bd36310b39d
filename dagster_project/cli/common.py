"""What all commands share: options, exit codes, errors in words, progress, and the day and configuration asked for.

What lives here: nothing that does work. What does not: the commands.
"""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from dagster_project import clock
from dagster_project import settings as settings_module
from dagster_project.settings import Settings

OK, FAILED, USAGE, WITHHELD = 0, 1, 2, 3
EMBEDDED = Path(__file__).resolve().parents[2] / "config" / "embedded.toml"

Config = Annotated[Path, typer.Option("--config", help="Configuration file.")]
AsOf = Annotated[str | None, typer.Option("--as-of", help="Last day whose data may be used, YYYY-MM-DD.")]
Candles = Annotated[Path | None, typer.Option("--candles", help="Tidy candle file or folder instead of the source's.")]
AsKnown = Annotated[
    str, typer.Option("--as-known", help="An old day uses the candles known then, or, to correct it, those known now.")
]


class UsageError(ValueError):
    """What was asked cannot be done; the message says what to ask instead."""


def complain(message: str, code: int) -> None:
    """Say what is wrong in one line and end with a code."""
    sys.stderr.write(f"plimsoll: {message}\n")
    sys.exit(code)


class Progress(logging.Handler):
    """One line a stage: rewritten in place on a terminal, appended in a pipe."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.is_terminal = sys.stderr.isatty()

    def emit(self, record: logging.LogRecord) -> None:
        """Print what the record says of a stage."""
        stage, detail = record.__dict__.get("stage", ""), record.__dict__.get("detail", "")
        seconds = record.__dict__.get("seconds")
        if seconds is None:
            if self.is_terminal:
                sys.stderr.write(f"\r\x1b[2K  … {stage} {detail}")
        else:
            word = "failed" if record.levelno >= logging.ERROR else "done"
            mark = {"done": "✓", "failed": "✗"}[word] if self.is_terminal else word
            lead = "\r\x1b[2K  " if self.is_terminal else ""
            sys.stderr.write(f"{lead}{mark} {stage} {seconds:.1f} s\n")
        sys.stderr.flush()


def show_progress() -> None:
    """Print one line a stage from now on."""
    logger = logging.getLogger("plimsoll")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [Progress()]


def settings_of(config: Path, candles: Path | None) -> Settings:
    """Load a configuration, with other candles where some are named."""
    loaded = settings_module.load(config)
    if candles is not None:
        if not candles.exists():
            raise UsageError(f"--candles {candles}: no such file or folder")
        loaded = loaded.with_candles(candles)
    return loaded


def day_of(settings: Settings, text: str | None, option: str = "--as-of") -> date:
    """Read a day that the profile covers; the newest it can have where none is named."""
    last = settings.as_of_default(clock.now().date())
    if text is None:
        return last
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text!r}: not a day; write it as 2018-12-31") from None
    first = settings.profile.first_partition
    if not first <= day <= last:
        raise UsageError(f"{option} {day}: profile {settings.profile.name!r} covers {first} to {last}")
    return day


def choice(option: str, text: str, *known: str) -> str:
    """Return a word that is one of those known."""
    if text not in known:
        raise UsageError(f"{option} {text!r}: known are {', '.join(known)}")
    return text


def wrote_json(records: Mapping[str, Any], path: Path) -> bool:
    """Write records to a file or, for ``-``, to standard output; true where nothing else may be printed there."""
    text = json.dumps(records, sort_keys=True, indent=1) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
        return True
    path.write_text(text, encoding="utf-8")
    return False
