"""Progress: what stage is running, for people at a terminal and lines in a pipe.

What lives here: one context manager around a stage, logged by name with its seconds, and the crash points at its ends
that tests use. What does not: Dagster's event log (one log line there costs milliseconds), colours.
"""

import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

LOGGER = logging.getLogger("plimsoll.progress")


@contextmanager
def step(name: str, detail: str = "") -> Iterator[None]:
    """Log the start and the end of a stage.

    Parameters
    ----------
    name
        Stage, in words.
    detail
        What is special about this time, e.g. the first day.
    """
    started = time.perf_counter()
    LOGGER.info("start", extra={"stage": name, "detail": detail})
    crash_point(f"before {name}")
    try:
        yield
    except BaseException:
        LOGGER.log(logging.ERROR, "failed", extra={"stage": name, "seconds": time.perf_counter() - started})
        raise
    crash_point(f"after {name}")
    LOGGER.info("done", extra={"stage": name, "seconds": time.perf_counter() - started})


def note(name: str, detail: str) -> None:
    """Log how far a stage that takes its time has come."""
    LOGGER.info("under way", extra={"stage": name, "detail": detail})


def crash_point(name: str) -> None:
    """Kill this process here if ``PLIMSOLL_CRASH_AT`` names the point: no handler runs, as in a power loss."""
    if os.environ.get("PLIMSOLL_CRASH_AT") == name:
        os.kill(os.getpid(), signal.SIGKILL)
