"""Doctor: what may be wrong with this machine and this profile, and what to do about it.

What lives here: one finding a question, each with its remedy. What does not: repairing anything.
"""

import ctypes.util
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from dagster_project import settings as settings_module
from dagster_project.compute import Compute, identity, probe
from dagster_project.definitions import warehouse_of
from dagster_project.nightly import instance
from dagster_project.settings import Settings

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
        ("orphan runs", _orphans),
        ("outbox", _outbox),
    ]
    findings = []
    for name, ask in questions:
        try:
            findings.append(ask(settings))
        except Exception as error:
            findings.append(Finding(name, False, f"{type(error).__name__}: {error}"))
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
    probe = folder if folder.exists() else settings_module.home()
    while not probe.exists():
        probe = probe.parent
    fine = os.access(probe, os.W_OK)
    return Finding("folder", fine, str(folder) if fine else f"{probe} is not writable; set PLIMSOLL_HOME or its owner")


def _store(settings: Settings) -> Finding:
    warehouse = warehouse_of(settings)
    if not Path(warehouse.path).exists():
        return Finding("store", True, "none yet; the first run makes it")
    with warehouse.session() as session:
        last = session.query("last_commit")
    return Finding("store", True, f"last commit {last['commit_number'].iloc[0]}" if len(last) else "no commit yet")


def _compute(settings: Settings) -> Finding:
    knobs = settings.compute
    count = len(Compute(**knobs.model_dump()).map(probe, [{}] * 4))
    where = f"{knobs.kind} at {knobs.address}" if knobs.address else knobs.kind
    return Finding("compute", count == 4, f"{where}: {identity()}")


def _orphans(_: Settings) -> Finding:
    with instance() as opened:
        started = opened.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    if started:
        names = ", ".join(run.run_id[:8] for run in started)
        return Finding("orphan runs", False, f"{names} still STARTED; if nothing runs now, mark them failed in the UI")
    return Finding("orphan runs", True, "none")


def _outbox(settings: Settings) -> Finding:
    if not Path(warehouse_of(settings).path).exists():
        return Finding("outbox", True, "empty")
    with warehouse_of(settings).session() as session:
        rows = session.query("outbox")
    stuck = rows[rows["state"].isin(UNSETTLED)]
    return Finding(
        "outbox",
        stuck.empty,
        f"{len(stuck)} of {len(rows)} mail(s) unsettled" if len(stuck) else f"{len(rows)} mail(s), none unsettled",
    )
