"""Sensors: what the daemon watches between the nights.

What lives here: runs that failed, runs whose process is gone, mails that are due. What does not: what is done about
them (``endings``, ``runs``, ``outbox``).
"""

from typing import Any

import dagster as dg

from dagster_project import alerts, endings, jobs, outbox, runs
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse, WarehouseBusy

LOOK_SECONDS = 60
MAIL_SECONDS = 600


def build(settings: Settings, warehouse: Warehouse) -> list[Any]:
    """Return the sensors of a configuration."""
    on, off = dg.DefaultSensorStatus.RUNNING, dg.DefaultSensorStatus.STOPPED

    @dg.run_failure_sensor(
        name="failed_runs", default_status=on, description="Mails operators, and nobody else, what stopped a run."
    )
    def failed_runs(context: dg.RunFailureSensorContext) -> None:
        run = context.dagster_run
        if runs.DEAD in (context.failure_event.message or ""):
            return
        records = context.instance.all_logs(run.run_id)
        events = [record.dagster_event for record in records if record.dagster_event is not None]
        endings.tell(settings, runs.day_of(run), endings.of_events(events, is_success=False))

    @dg.sensor(
        name="orphan_runs",
        minimum_interval_seconds=LOOK_SECONDS,
        default_status=on,
        description="Marks runs failed whose process is gone, so that the queue moves on.",
    )
    def orphan_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        found = runs.mark(context.instance)
        for run in found:
            text = f"Run {run.run_id[:8]} of {runs.day_of(run)}: {runs.DEAD}"
            alerts.raise_alert(settings, alerts.Kind.orphan, runs.day_of(run), text)
        return dg.SkipReason(f"{len(found)} run(s) marked failed")

    @dg.sensor(
        name="due_mails",
        job_name=jobs.SEND_MAIL,
        minimum_interval_seconds=MAIL_SECONDS,
        default_status=on if settings.smtp is not None else off,
        description="Starts send_mail where a mail is due again.",
    )
    def due_mails() -> dg.SkipReason | dg.RunRequest:
        if settings.smtp is None:
            return dg.SkipReason(outbox.NO_SERVER)
        alerts.send_waiting(settings)
        try:
            with warehouse.model_copy(update={"lock_wait_seconds": 1.0}).session() as session:
                due = outbox.due(session)
        except WarehouseBusy:
            return dg.SkipReason("a run holds the store; it sends what is due itself")
        return dg.RunRequest() if due else dg.SkipReason("no mail is due")

    return [failed_runs, orphan_runs, due_mails]
