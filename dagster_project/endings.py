"""Endings: how a run came to its end, and who must know.

What lives here: reading a run's events, and telling the operators of a failure or of a check that withheld publication.
What does not: running (``nightly``), watching the daemon's runs (``sensors``), words and sending (``alerts``).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import dagster as dg

from dagster_project import alerts
from dagster_project.settings import Settings

WRAPPERS = ("Dagster", dg.RetryRequested.__name__)
MODULE = re.compile(r"^[\w.]+\.(?=\w+: )")


@dataclass(frozen=True)
class Ending:
    """Whether all stages ran, which blocking checks failed, and the first error in words."""

    is_success: bool
    failed_checks: tuple[str, ...]
    error: str | None


def of_events(events: Iterable[dg.DagsterEvent], *, is_success: bool) -> Ending:
    """Read a run's events in their order."""
    failed, error = set(), None
    for event in events:
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            found = event.asset_check_evaluation_data
            if not found.passed and found.severity == dg.AssetCheckSeverity.ERROR:
                failed.add(found.check_name)
        elif event.is_step_failure and error is None:
            error = _innermost(event)
    return Ending(is_success, tuple(sorted(failed)), error)


def _innermost(event: dg.DagsterEvent) -> str:
    error = event.step_failure_data.error
    # Dagster wraps what a stage raised, and so does a stage that gave up trying again; a cause below that lacks the
    # file and the remedy.
    while error is not None and error.cause is not None and (error.cls_name or "").startswith(WRAPPERS):
        error = error.cause
    said = (error.message if error is not None else str(event.message)).strip()
    # The module of an error says nothing to those who read the message.
    return MODULE.sub("", said)


def tell(settings: Settings, day: str, ending: Ending) -> None:
    """Tell the operators of a run that failed or was stopped by a check."""
    if ending.failed_checks:
        names = ", ".join(ending.failed_checks)
        alerts.raise_alert(settings, alerts.Kind.withheld, day, f"Publication withheld by check: {names}")
    elif not ending.is_success:
        alerts.raise_alert(settings, alerts.Kind.failed, day, ending.error or "a stage failed without a message")
