"""The nightly job without a daemon: the same job that the UI runs, in this process.

What lives here: executing a job for a day or a range, what came out of it, telling the operators. What does not:
command-line words (``cli``), stages (``assets``), who is alive (``runs``), opening Dagster's instance (``history``).
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg

from dagster_project import alerts, endings, history, logs, runs
from dagster_project.definitions import build_defs
from dagster_project.jobs import NIGHTLY
from dagster_project.settings import Settings

QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Mailing:
    """What a run may mail: at all, corrections of days mailed before, and days that are no longer the newest."""

    send: bool = True
    corrections: bool = False
    past: bool = False

    def config(self) -> dict[str, Any]:
        """Return it as the delivery stage takes it."""
        knobs = {"send": self.send, "send_corrections": self.corrections, "send_past": self.past}
        return {"delivery": {"config": knobs}}


def tidy(settings: Settings, opened: dg.DagsterInstance) -> list[str]:
    """Mark runs whose process is gone, tell the operators, and forget old history; ids of those that were marked."""
    marked = runs.mark(opened)
    for run in marked:
        day = runs.day_of(run)
        alerts.raise_alert(settings, alerts.Kind.orphan, day, f"Run {run.run_id[:8]} of {day}: {runs.DEAD}")
    runs.forget(opened, settings.operations.run_history_days)
    return [run.run_id for run in marked]


def run_nightly(
    settings: Settings,
    day: date,
    *,
    first: date | None = None,
    select: Sequence[str] | None = None,
    mailing: Mailing | None = None,
    is_known_now: bool = False,
    resources: Mapping[str, Any] | None = None,
    is_trial: bool = False,
) -> endings.Ending:
    """Run the nightly job for one day or a range of days in this process.

    Parameters
    ----------
    settings, day
        Configuration and partition, the last one of a range.
    first
        First day of a range, which runs as one.
    select
        Asset keys to run instead of all.
    mailing
        What may be mailed.
    is_known_now
        An old day uses the candles that are known now, to correct it, not those that were known then.
    resources
        Replacements, for tests.
    is_trial
        A question put by somebody who waits for the answer: the operators hear nothing of how it ends.

    Returns
    -------
    Ending
        Never raises for a failed stage; the error is in the ending, in the UI's history and, unless this was a trial,
        with the operators.
    """
    logs.configure(settings)
    defs = build_defs(settings, resources=resources)
    job = defs.resolve_job_def(NIGHTLY)
    is_range = first is not None and first != day
    tags = {"plimsoll/as_of": day.isoformat(), "plimsoll/config_hash": settings.config_hash}
    if is_range:
        tags |= dict(zip(runs.RANGE_TAGS, (str(first), day.isoformat()), strict=True))
    asked: dict[str, Any] = {}
    if select is None or "delivery" in select:
        asked |= (mailing or Mailing()).config()
    if is_known_now and (select is None or "price" in select):
        asked["price"] = {"config": {"as_known_now": True}}
    run_id = str(uuid.uuid4())
    with history.opened() as opened:
        tidy(settings, opened)
        with runs.claimed(run_id):
            result = job.execute_in_process(
                instance=opened,
                partition_key=None if is_range else day.isoformat(),
                raise_on_error=False,
                run_config=QUIET | ({"ops": asked} if asked else {}),
                asset_selection=[dg.AssetKey(key) for key in select] if select else None,
                tags=tags,
                run_id=run_id,
            )
    ending = endings.of_events(result.all_events, is_success=result.success)
    if not is_trial:
        endings.tell(settings, str(day), ending)
    return ending
