"""Runs: which of them are alive, and what to do with those that are not.

What lives here: a claim that a process holds as long as it lives, runs whose claim nobody holds any more, marking and
forgetting them. What does not: starting runs (``nightly``, schedules).

A run whose process was killed stays "started" in the history for ever and blocks the queue. The claim is a lock on a
file: the kernel lets go of it however the process ends, and a process number that was used again cannot deceive.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import dagster as dg

from dagster_project import clock, files
from dagster_project import settings as settings_module

FOLDER = "plimsoll_runs"
UNFINISHED = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
DEAD = "its process ended without a word (killed, out of memory or power); what it had not committed is rolled back"
RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
ROOT = Path(__file__).resolve().parents[1]
_claims: dict[str, int] = {}


def home() -> Path:
    """Return ``DAGSTER_HOME``, or ``dagster`` below the profiles' folder."""
    return Path(os.environ.get("DAGSTER_HOME") or settings_module.home() / "dagster")


def prepared_home() -> Path:
    """Return `home` with the instance file in place."""
    folder = home()
    target = folder / "dagster.yaml"
    if not target.exists():
        files.write_atomic(target, (ROOT / "deploy" / "dagster.yaml").read_bytes())
    return folder


def day_of(run: dg.DagsterRun) -> str:
    """Return the day that a run is about, the last one of a range."""
    return run.tags.get("dagster/partition") or run.tags.get(RANGE_TAGS[1]) or run.tags.get("plimsoll/as_of") or "-"


def claim(run_id: str) -> None:
    """Hold a run for this process until it ends; again and again for the same run."""
    if run_id in _claims:
        return
    path = _path(run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # Another process of the same run holds it; one is enough.
        os.close(handle)
        return
    _claims[run_id] = handle


@contextmanager
def claimed(run_id: str) -> Iterator[None]:
    """Hold a run for the time of a block; it ends properly with it."""
    claim(run_id)
    try:
        yield
    finally:
        handle = _claims.pop(run_id, None)
        if handle is not None:
            _path(run_id).unlink(missing_ok=True)
            os.close(handle)


def orphans(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """List unfinished runs of this machine whose process is gone; runs of other machines have no claim here."""
    unfinished = instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED))
    return [run for run in unfinished if _is_abandoned(run.run_id)]


def mark(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Mark orphans failed, so that the history tells the truth and the queue moves on."""
    found = orphans(instance)
    for run in found:
        instance.report_run_failed(run, message=f"Run {run.run_id[:8]}: {DEAD}.")
        _path(run.run_id).unlink(missing_ok=True)
    return found


def forget(instance: dg.DagsterInstance, days: int) -> int:
    """Delete finished runs older than so many days from the history; the results are not in it."""
    before = clock.now() - timedelta(days=days)
    old = instance.get_run_records(
        filters=dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED],
            created_before=before,
        ),
        limit=500,
    )
    for record in old:
        instance.delete_run(record.dagster_run.run_id)
        with suppress(OSError):
            _path(record.dagster_run.run_id).unlink(missing_ok=True)
    return len(old)


def _is_abandoned(run_id: str) -> bool:
    path = _path(run_id)
    if run_id in _claims or not path.is_file():
        return False
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _path(run_id: str) -> Path:
    return home() / FOLDER / run_id
