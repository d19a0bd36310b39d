"""Doctor: what may be wrong with this machine and this profile, and what to do about it.

What lives here: one finding a question, each with its remedy. What does not: repairing anything.
"""

import ctypes.util
import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from dagster_project import alerts, heartbeat, history, hold, in_force, mailer, redaction, runs
from dagster_project import settings as settings_module
from dagster_project.compute import Compute, identity, probe
from dagster_project.definitions import warehouse_of
from dagster_project.nightly import tidy
from dagster_project.settings import Settings
from dagster_project.warehouse import copies

LIBRARIES = ("pango-1.0", "pangoft2-1.0", "harfbuzz-subset")
REMEDY = "apt-get install -y --no-install-recommends libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
UNSETTLED = ("unknown", "refused", "deferred", "sending")


@dataclass(frozen=True)
class Finding:
    """One question, whether its answer is good, and the detail or the remedy."""

    what: str
    is_fine: bool
    detail: str


def examine(settings: Settings) -> list[Finding]:
    """Ask every question; a question that cannot be asked is a finding of its own."""
    questions: list[tuple[str, Callable[[Settings], Finding]]] = [
        ("system libraries", _libraries),
        ("fonts", _fonts),
        ("folder", _folder),
        ("store", _store),
        ("compute", _compute),
        ("disk space", _space),
        ("backup", _backup),
        ("orphan runs", _orphans),
        ("outbox", _outbox),
        ("mail server", _mail_server),
        ("alerts", _alerts),
        ("values in force", _in_force),
        ("publication", _hold),
        ("last night", _life),
    ]
    findings = []
    for name, ask in questions:
        try:
            findings.append(ask(settings))
        except Exception as error:
            findings.append(Finding(name, False, redaction.one_line(f"{type(error).__name__}: {error}", settings)))
    return findings


def _libraries(_: Settings) -> Finding:
    missing = [name for name in LIBRARIES if ctypes.util.find_library(name) is None]
    return Finding(
        "system libraries", not missing, f"missing {', '.join(missing)}; run: {REMEDY}" if missing else "found"
    )


def _fonts(_: Settings) -> Finding:
    found = importlib.util.find_spec("fontpkg_source_sans_3") or importlib.util.find_spec("fontpkg")
    return Finding(
        "fonts", found is not None, "found" if found else "font package missing; run: make report (it installs)"
    )


def _folder(settings: Settings) -> Finding:
    folder = settings_module.profile_folder(settings)
    parts = [_existing(folder), *(sorted(one for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else ())]
    shut = [str(one) for one in parts if not os.access(one, os.W_OK | os.X_OK)]
    remedy = "; set PLIMSOLL_HOME or its owner"
    return Finding("folder", not shut, f"{', '.join(shut)} is not writable{remedy}" if shut else str(folder))


def _store(settings: Settings) -> Finding:
    warehouse = warehouse_of(settings)
    if not Path(warehouse.path).exists():
        return Finding("store", True, "none yet; the first run makes it")
    with warehouse.session() as session:
        session.read_through()
        last = session.query("last_commit")
    said = f"last commit {last['commit_number'].iloc[0]}" if len(last) else "no commit yet"
    return Finding("store", True, f"{said}, every block reads back")


def _compute(settings: Settings) -> Finding:
    knobs = settings.compute
    count = len(Compute(**knobs.model_dump()).map(probe, [{}] * 4))
    where = f"{knobs.kind} at {knobs.address}" if knobs.address else knobs.kind
    return Finding("compute", count == 4, f"{where}: {identity()}")


def mark_orphans(settings: Settings) -> None:
    """Mark runs failed whose process is gone."""
    with history.opened() as opened:
        tidy(settings, opened)


def _orphans(_: Settings) -> Finding:
    with history.opened() as opened:
        found = runs.orphans(opened)
        unclear = opened.get_runs(filters=dg.RunsFilter(statuses=runs.UNFINISHED))
    if found:
        names = ", ".join(run.run_id[:8] for run in found)
        return Finding("orphan runs", False, f"{names} without a process; run: plimsoll doctor --fix")
    return Finding("orphan runs", True, f"none; {len(unclear)} run(s) under way" if unclear else "none")


def _outbox(settings: Settings) -> Finding:
    if not Path(warehouse_of(settings).path).exists():
        return Finding("outbox", True, "empty")
    with warehouse_of(settings).session() as session:
        rows = session.query("outbox")
    stuck = rows[rows["state"].isin(UNSETTLED)]
    if len(stuck):
        counts = ", ".join(f"{count} {state}" for state, count in stuck["state"].value_counts().sort_index().items())
        return Finding("outbox", False, f"{counts}; see: plimsoll outbox list")
    return Finding("outbox", True, f"{len(rows)} mail(s), none unsettled")


def _alerts(settings: Settings) -> Finding:
    if not settings.mail.operators:
        return Finding("alerts", settings.profile.is_demo, "nobody is told of a failure: name mail.operators")
    count = alerts.waiting(settings)
    if count and settings.smtp is not None:
        return Finding("alerts", False, f"{count} wait in alerts/; run: plimsoll outbox send")
    where = f"{count} as files in alerts/" if settings.smtp is None else "none waits"
    return Finding("alerts", True, f"to {', '.join(settings.mail.operators)}; {where}")


def _in_force(settings: Settings) -> Finding:
    # What is wrong with a file is raised with its row, and becomes this finding.
    count = len(in_force.sets(settings))
    path = None if settings.in_force is None else settings.in_force.path
    return Finding("values in force", True, f"{count} set(s){'' if path is None else f', file {path}'}")


def _hold(settings: Settings) -> Finding:
    held = hold.current(settings)
    return Finding("publication", held is None, "not held" if held is None else f"{held.sentence}; {hold.RELEASE}")


def _mail_server(settings: Settings) -> Finding:
    if settings.smtp is None:
        return Finding("mail server", True, "none configured; mails are files in outbox/")
    name = f"{settings.smtp.host}:{settings.smtp.port}"
    try:
        with mailer.connect(settings.smtp):
            pass
    except mailer.ServerTrouble as error:
        return Finding("mail server", False, redaction.one_line(str(error), settings))
    who = f", logged in as {settings.smtp.username}" if settings.smtp.username else ""
    return Finding("mail server", True, f"{name} answers with a certificate that holds{who}")


def _backup(settings: Settings) -> Finding:
    if not Path(warehouse_of(settings).path).exists():
        return Finding("backup", True, "no store yet")
    kept = copies.everyone(settings_module.profile_folder(settings) / "backup")
    if not kept:
        return Finding("backup", False, "no copy of the store; run: plimsoll report (its last stage makes one)")
    newest = copies.sound(kept[0])
    return Finding("backup", True, f"{len(kept)} copies, the newest of commit {newest.commit} reads back whole")


def _space(settings: Settings) -> Finding:
    folder = _existing(settings_module.profile_folder(settings))
    store = Path(warehouse_of(settings).path)
    # The copy of the night, the write-ahead log and the report besides.
    needed = 2 * (store.stat().st_size if store.exists() else 0) + 200 * 2**20
    free = shutil.disk_usage(folder).free
    detail = f"{free / 2**30:.1f} GiB free, a night needs {needed / 2**30:.1f}"
    return Finding("disk space", free >= needed, detail if free >= needed else f"{detail}: make room on {folder}")


def _life(settings: Settings) -> Finding:
    late = heartbeat.overdue(settings)
    if late is None:
        return Finding("last night", True, "none is due" if not settings.profile.is_schedule_on else "ended in time")
    return Finding("last night", False, f"{late}; run: plimsoll report --catch-up")


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
