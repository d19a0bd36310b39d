"""Logs: one line of JSON an event in the profile's folder, without secrets.

What lives here: the file handler, its size, and striking out secrets and control characters. What does not: what is
logged, the lines at a terminal (``cli``), Dagster's own event log.
"""

import json
import logging
import logging.handlers
from pathlib import Path
from typing import Any

import structlog

from dagster_project import redaction
from dagster_project import settings as settings_module
from dagster_project.settings import Settings

NAME = "logs/plimsoll.jsonl"
LARGEST_BYTES = 5_000_000
KEPT = 5
FIELDS = ("stage", "detail", "seconds")


class _Quiet(logging.handlers.RotatingFileHandler):
    """A log that cannot be written must not stop a night or spill a traceback."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (the base class names it)
        """Drop the line."""


def configure(settings: Settings, **bound: str) -> None:
    """Log the program's events to the profile's file; call it again for another profile or run.

    Parameters
    ----------
    settings
        Profile.
    bound
        Values that every line carries, e.g. the run.
    """
    logger = logging.getLogger("plimsoll")
    for handler in [one for one in logger.handlers if isinstance(one, _Quiet)]:
        logger.removeHandler(handler)
        handler.close()
    path = settings_module.profile_folder(settings) / NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        # Whoever needs the folder next says so, and what to do.
        return
    logger.addHandler(_handler(path, settings, bound))
    logger.setLevel(min(logger.getEffectiveLevel(), logging.INFO) or logging.INFO)


def _handler(path: Path, settings: Settings, bound: dict[str, str]) -> logging.Handler:
    handler = _Quiet(path, maxBytes=LARGEST_BYTES, backupCount=KEPT, encoding="utf-8", delay=True)

    def add(_: Any, __: str, event: Any) -> Any:
        record: logging.LogRecord = event["_record"]
        extra = {key: record.__dict__[key] for key in FIELDS if record.__dict__.get(key) not in (None, "")}
        return event | bound | extra

    def strike(_: Any, __: str, event: Any) -> Any:
        return {
            key: redaction.redact(value, settings) if isinstance(value, str) else value for key, value in event.items()
        }

    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name],
            processors=[
                add,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                strike,
                structlog.processors.JSONRenderer(sort_keys=True, serializer=json.dumps),
            ],
        )
    )
    return handler
