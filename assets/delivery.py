"""Delivery: one mail file a recipient, recorded before anything could be sent.

What lives here: building mails from the report as committed, the outbox rows, corrections. What does not: sending,
wording (``reports.message``).
"""

from pathlib import Path

import dagster as dg
import pandas as pd

import plimsoll
from assets import _run
from assets._table import table_metadata
from assets.risk_report import gather
from dagster_project import files
from dagster_project import settings as settings_module
from dagster_project.progress import crash_point, step
from dagster_project.settings import Settings
from dagster_project.warehouse import Session, Warehouse
from reports import message, render, view


class StaleReportError(RuntimeError):
    """The report on disk is not the one that the store committed."""


class DeliveryConfig(dg.Config):
    """What an operator may ask of the mail stage in the launchpad."""

    send_corrections: bool = False


def deliver(session: Session, settings: Settings, run: _run.Run, *, corrections: bool = False) -> int:
    """Write the mails of every day of the run that are due; rows written.

    A recipient whose mail about a day was written once gets no second one, whatever was rerun, unless ``corrections``
    are asked for and the report has a newer revision than that mail: then the correction refers to the first mail.
    """
    return sum(_deliver_day(session, settings, run, day, corrections) for day in run.days)


def _deliver_day(session: Session, settings: Settings, run: _run.Run, day: object, corrections: bool) -> int:
    reports = session.query("reports", as_of=day)
    if reports.empty:
        return 0
    newest = reports.iloc[-1]
    revision = int(newest["revision"])
    mails = session.query("outbox")
    mails = mails[mails["as_of"] == pd.Timestamp(day)]  # type: ignore[arg-type]
    due = _due(settings, mails, revision, corrections)
    if not due:
        return 0
    rendered = _committed(settings, newest)
    built = view.build(gather(session, settings, newest["as_of"].date()), draws_markets=False)
    folder = settings_module.profile_folder(settings)
    rows = []
    for envelope in due:
        content = message.build(built, rendered, envelope)
        recipient = files.sha256(envelope.recipient.encode())[:12]
        path = f"outbox/{built.as_of}-{envelope.audience}-{recipient}-r{revision}.eml"
        files.write_atomic(folder / path, content)
        rows.append(
            {
                "as_of": pd.Timestamp(built.as_of),
                "audience": envelope.audience,
                "recipient": envelope.recipient,
                "revision": revision,
                "message_id": message.message_id(built, envelope),
                "subject": message.subject(built, envelope.audience, revision if envelope.first_message_id else 1),
                "state": "pending",
                "eml_path": path,
                "eml_sha256": files.sha256(content),
                "decision_id": str(newest["decision_id"]),
            }
        )
    crash_point("written mail")
    frame = pd.DataFrame(rows)
    with session.transaction():
        count = session.insert("outbox", frame)
        _run.commit(session, run, "delivery", count, frame)
    return count


def _due(settings: Settings, mails: pd.DataFrame, revision: int, corrections: bool) -> list[message.Envelope]:
    """List the mails to write now; a first mail is no correction, whatever the revision of its report."""
    due = []
    for audience, recipients in settings.mail.audiences().items():
        for recipient in recipients:
            mine = mails[(mails["audience"] == audience) & (mails["recipient"] == recipient)].sort_values("revision")
            if mine.empty:
                due.append(message.Envelope(settings.mail.sender, recipient, audience))
            elif corrections and int(mine["revision"].iloc[-1]) < revision:
                first = str(mine["message_id"].iloc[0])
                due.append(message.Envelope(settings.mail.sender, recipient, audience, revision, first))
    return due


def _committed(settings: Settings, newest: pd.Series) -> render.Rendered:
    """Read the report that the store committed; refuse any other."""
    folder: Path = settings_module.profile_folder(settings) / str(newest["report_path"])
    pdf, machine = folder / "report.pdf", folder / "decision.json"
    found = {path: path.read_bytes() if path.is_file() else b"" for path in (pdf, machine)}
    for path, committed in ((pdf, newest["pdf_sha256"]), (machine, newest["json_sha256"])):
        if files.sha256(found[path]) != committed:
            day = newest["as_of"].date()
            raise StaleReportError(
                f"{path}: not the report that was committed; materialize risk_report for {day} again"
            )
    return render.Rendered(pdf=found[pdf], html="", json=found[machine], page_count=int(newest["page_count"]))


def build(settings: Settings, partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return the delivery asset of a configuration."""

    @dg.asset(
        name="delivery",
        deps=["risk_report"],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="report",
        kinds={"python", "email"},
        code_version=plimsoll.METHODOLOGY,
        description="Mail files for committee, forum and desk, one a recipient, recorded in the outbox. A rerun makes "
        "no second mail; a corrected report is mailed only where send_corrections is set.",
    )
    def delivery(
        context: dg.AssetExecutionContext, config: DeliveryConfig, warehouse: Warehouse
    ) -> dg.MaterializeResult[None]:
        run = _run.of(context, settings)
        with step("mail"), warehouse.session() as session:
            written = deliver(session, settings, run, corrections=config.send_corrections)
        return dg.MaterializeResult(metadata=dict(table_metadata("outbox", written)))

    return [delivery]
