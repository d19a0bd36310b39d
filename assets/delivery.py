"""Delivery: one mail a recipient, recorded before anything can be sent, then handed to the server.

What lives here: building mails from the report as committed, the outbox rows, corrections, what is worth an alert. What
does not: states and sending (``dagster_project.outbox``), wording (``reports.message``).
"""

import json
from datetime import date
from pathlib import Path

import dagster as dg
import pandas as pd

import plimsoll
from assets import _run
from assets._table import table_metadata
from assets.risk_report import gather
from dagster_project import alerts, clock, files, journal, outbox
from dagster_project import settings as settings_module
from dagster_project.progress import crash_point, step
from dagster_project.settings import Settings
from dagster_project.warehouse import Session, Warehouse
from reports import message, render, view

STALE = "stale data"
"""How a recommendation begins that is withheld for want of a fresh bar."""
SHOWN_MARKETS = 20


class StaleReportError(RuntimeError):
    """The report on disk is not the one that the store committed."""


class DeliveryConfig(dg.Config):
    """What an operator may ask of the mail stage in the launchpad."""

    send: bool = True
    send_corrections: bool = False
    send_past: bool = False


def deliver(
    session: Session, settings: Settings, run: _run.Run, *, corrections: bool = False, past: bool = False
) -> int:
    """Write the mails that are due for the days of the run; rows written.

    A recipient whose mail about a day was written once gets no second one, whatever was rerun, unless ``corrections``
    are asked for and the report has a newer revision than that mail: then the correction refers to the first mail. A
    mail that no server has taken yet gives way to the newer revision. A day after which a later one was reported is
    mailed only where ``past`` is asked for, and a withheld report is mailed to nobody.
    """
    return sum(_deliver_day(session, settings, run, day, corrections, past) for day in run.days)


def _deliver_day(session: Session, settings: Settings, run: _run.Run, day: date, corrections: bool, past: bool) -> int:
    reports = session.query("reports", as_of=day)
    if reports.empty or reports.iloc[-1]["status"] == "withheld":
        return 0
    is_past = session.query("last_report")["as_of"].max() > pd.Timestamp(day)
    newest = reports.iloc[-1]
    revision = int(newest["revision"])
    mails = session.query("outbox")
    mails = mails[mails["as_of"] == pd.Timestamp(day)]
    due, outdated = _due(settings, mails, revision, corrections)
    if is_past and not past:
        # A day that was mailed already may be corrected, and a mail that waits replaced; one that never was is history.
        old = mails[mails["message_id"].isin(outdated)]
        replaced = set(zip(old["audience"], old["recipient"], strict=True))
        due = [one for one in due if one.first_message_id is not None or (one.audience, one.recipient) in replaced]
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
                "subject": message.subject(built, envelope.audience, envelope.correction),
                "state": "pending" if settings.smtp is not None else outbox.FILED,
                "eml_path": path,
                "eml_sha256": files.sha256(content),
                "decision_id": str(newest["decision_id"]),
                "attempts": 0,
                "next_attempt_at": pd.NaT,
                "changed_at": pd.Timestamp(clock.now()),
                "last_reply": "",
            }
        )
        if settings.smtp is None:
            # Without it a restore could not tell this mail from one that a server still has to get.
            journal.append(
                folder, str(rows[-1]["message_id"]), 0, outbox.FILED, "no server was configured", clock.now()
            )
    crash_point("written mail")
    frame = pd.DataFrame(rows)
    with session.transaction():
        outbox.cancel_outdated(session, settings, outdated)
        count = session.insert("outbox", frame)
        _run.commit(session, run, "delivery", count, frame.drop(columns="changed_at"))
    return count


def _due(
    settings: Settings, mails: pd.DataFrame, revision: int, corrections: bool
) -> tuple[list[message.Envelope], list[str]]:
    """List the mails to write now, and the ids of those that they replace.

    A first mail is no correction, whatever the revision of its report.
    """
    due, outdated = [], []
    # Without a server a written mail counts as handed over: somebody may have taken the file.
    is_waiting = mails["state"].isin(outbox.WAITING) & (settings.smtp is not None)
    for audience, recipients in settings.mail.audiences().items():
        for recipient in recipients:
            is_mine = (mails["audience"] == audience) & (mails["recipient"] == recipient)
            old = mails[is_mine & is_waiting & (mails["revision"] < revision)]
            gone = is_mine & ((mails["state"] == "cancelled") | mails["message_id"].isin(old["message_id"]))
            mine = mails[is_mine & ~gone].sort_values("revision")
            has_this = (mails.loc[is_mine, "revision"] == revision).any()
            outdated += list(old["message_id"])
            if has_this:
                continue
            if mine.empty:
                due.append(message.Envelope(settings.mail.sender, recipient, audience, revision))
            elif corrections or len(old):
                first = str(mine["message_id"].iloc[0])
                due.append(message.Envelope(settings.mail.sender, recipient, audience, revision, first))
    return due, outdated


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


def alarm(session: Session, settings: Settings, day: date) -> list[tuple[alerts.Kind, str]]:
    """List what operators must be told of a day that ran to its end."""
    found = []
    reports = session.query("reports", as_of=day)
    if len(reports) and reports.iloc[-1]["status"] == "withheld":
        newest = reports.iloc[-1]
        reason = json.loads(_committed(settings, newest).json)["withheld_reason"]
        found.append((alerts.Kind.withheld, f"{newest['headline']}\n{reason}"))
    identity = {"methodology": plimsoll.METHODOLOGY, "config_hash": settings.config_hash}
    rows = session.query("recommendations_of", last=day, **identity)
    stale = rows[rows["reason"].fillna("").str.startswith(STALE)].drop_duplicates("symbol")
    if len(stale):
        named = [f"{symbol}: {reason}" for symbol, reason in zip(stale["symbol"], stale["reason"], strict=True)]
        more = [f"and {len(named) - SHOWN_MARKETS} more"] if len(named) > SHOWN_MARKETS else []
        found.append((alerts.Kind.stale, "\n".join([f"{len(named)} market(s) stale", *named[:SHOWN_MARKETS], *more])))
    return found


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
        description="Mails for committee, forum and desk, one a recipient, recorded in the outbox and handed to the "
        "server of [smtp]. A rerun makes no second mail; a corrected report is mailed only where send_corrections is "
        "set, a day before the newest one only where send_past is set.",
    )
    def delivery(
        context: dg.AssetExecutionContext, config: DeliveryConfig, warehouse: Warehouse
    ) -> dg.MaterializeResult[None]:
        run = _run.of(context, settings)
        with _run.patiently(context), step("mail"):
            with warehouse.session() as session:
                written = deliver(session, settings, run, corrections=config.send_corrections, past=config.send_past)
                told = alarm(session, settings, run.end)
            sent = outbox.attempt(settings, warehouse) if config.send else {}
            for kind, text in told:
                alerts.raise_alert(settings, kind, run.end, text)
        return dg.MaterializeResult(metadata={**table_metadata("outbox", written), **sent})

    return [delivery]
