"""Delivery: one mail file a recipient, recorded before anything could be sent.

What lives here: building mails from the report as committed, the outbox rows. What does not: sending, wording
(``reports.message``).
"""

from email import message_from_bytes, policy

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

AUDIENCE = "committee"


class StaleReportError(RuntimeError):
    """The report on disk is not the one that the store committed."""


def deliver(session: Session, settings: Settings, run: _run.Run) -> int:
    """Write the mails of every day of the run that has none yet; rows written.

    A day whose report was mailed once gets no second mail, whatever was rerun: corrections are mailed only when asked.
    """
    written = 0
    folder = settings_module.profile_folder(settings)
    for day in run.days:
        reports = session.query("reports", as_of=day)
        mails = session.query("outbox")
        done = set(mails.loc[mails["as_of"] == pd.Timestamp(day), "recipient"])
        missing = [one for one in settings.mail.committee if one not in done]
        if reports.empty or not missing:
            continue
        newest = reports.iloc[-1]
        pdf = folder / newest["report_path"] / "report.pdf"
        content = pdf.read_bytes() if pdf.is_file() else b""
        if files.sha256(content) != newest["pdf_sha256"]:
            raise StaleReportError(f"{pdf}: not the report that was committed; materialize risk_report for {day} again")
        built = view.build(gather(session, settings, day))
        rendered = render.Rendered(
            pdf=content,
            html="",
            json=(pdf.parent / "decision.json").read_bytes(),
            page_count=int(newest["page_count"]),
        )
        rows = []
        for recipient in missing:
            mail = message.build(built, rendered, sender=settings.mail.sender, recipient=recipient, audience=AUDIENCE)
            name = f"{day.isoformat()}-{AUDIENCE}-{files.sha256(recipient.encode())[:12]}-r{newest['revision']}.eml"
            path = f"outbox/{name}"
            files.write_atomic(folder / path, mail)
            headers = message_from_bytes(mail, policy=policy.default)
            rows.append(
                {
                    "as_of": pd.Timestamp(day),
                    "audience": AUDIENCE,
                    "recipient": recipient,
                    "revision": int(newest["revision"]),
                    "message_id": str(headers["Message-ID"]),
                    "subject": str(headers["Subject"]),
                    "state": "pending",
                    "eml_path": path,
                    "eml_sha256": files.sha256(mail),
                    "decision_id": str(newest["decision_id"]),
                }
            )
        crash_point("written mail")
        frame = pd.DataFrame(rows)
        with session.transaction():
            count = session.insert("outbox", frame)
            _run.commit(session, run, "delivery", count, frame)
        written += count
    return written


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
        description="Mail files for the committee, one a recipient, recorded in the outbox. A rerun makes "
        "no second mail.",
    )
    def delivery(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[None]:
        run = _run.of(context, settings)
        with step("mail"), warehouse.session() as session:
            written = deliver(session, settings, run)
        return dg.MaterializeResult(metadata=dict(table_metadata("outbox", written)))

    return [delivery]
