"""The nightly job without a daemon: the same job that the UI runs, in this process.

What lives here: the Dagster instance of this machine, executing a job for one day, and what came out of it. What does
not: command-line words (``cli``), stages (``assets``).
"""

import fcntl
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy.exc

from dagster_project import files
from dagster_project import settings as settings_module
from dagster_project.definitions import ROOT, build_defs
from dagster_project.jobs import NIGHTLY
from dagster_project.settings import Settings

QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
CORRECTIONS: dict[str, Any] = {"ops": {"delivery": {"config": {"send_corrections": True}}}}


class HistoryError(RuntimeError):
    """Dagster's own record of runs cannot be used; the message names its folder and what to do."""


@dataclass(frozen=True)
class Outcome:
    """What a run left: whether all stages ran, which blocking checks failed, and the first error in words."""

    is_success: bool
    failed_checks: tuple[str, ...]
    error: str | None


def dagster_home() -> Path:
    """Return ``DAGSTER_HOME``, or ``dagster`` below the profiles' folder, with the instance file in place."""
    home = Path(os.environ.get("DAGSTER_HOME") or settings_module.home() / "dagster")
    target = home / "dagster.yaml"
    if not target.exists():
        files.write_atomic(target, (ROOT / "deploy" / "dagster.yaml").read_bytes())
    return home


@contextmanager
def _history() -> Iterator[Path]:
    """Give the folder of Dagster's record, and put what its database raises into words."""
    home = Path(os.environ.get("DAGSTER_HOME") or settings_module.home() / "dagster")
    try:
        yield dagster_home()
    except OSError as error:
        raise HistoryError(
            f"Dagster's history in {home}: {os.strerror(error.errno) if error.errno else error}; "
            f"{files.remedy(error, 'DAGSTER_HOME')}, and run again"
        ) from error
    except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error) as error:
        cause = getattr(error, "orig", None) or error
        raise HistoryError(
            f"Dagster's history in {home} cannot be used ({cause}); free space on that disk, make the folder "
            "writable for this user or set DAGSTER_HOME to another, and run again"
        ) from error


@contextmanager
def instance() -> Iterator[dg.DagsterInstance]:
    """Open this machine's Dagster instance.

    Raises
    ------
    HistoryError
        Where its folder or its database refuses, here or while it is open.
    """
    with _history() as home, ExitStack() as stack:
        os.environ["DAGSTER_HOME"] = str(home)
        # Two first runs at once would both make the tables of the history, and one of them would fail.
        with (home / ".opening.lock").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            opened = stack.enter_context(dg.DagsterInstance.get())
            opened.get_runs(limit=1)
            opened.all_asset_keys()
            opened.all_instigator_state()
        yield opened


def run_nightly(
    settings: Settings,
    day: date,
    *,
    select: Sequence[str] | None = None,
    send_corrections: bool = False,
    resources: Mapping[str, Any] | None = None,
) -> Outcome:
    """Run the nightly job for one day in this process.

    Parameters
    ----------
    settings, day
        Configuration and partition.
    select
        Asset keys to run instead of all.
    send_corrections
        Mail a corrected report to those who got an earlier one.
    resources
        Replacements, for tests.

    Returns
    -------
    Outcome
        Never raises for a failed stage; the error is in the outcome and in the UI's history.
    """
    defs = build_defs(settings, resources=resources)
    job = defs.resolve_job_def(NIGHTLY)
    with instance() as opened:
        result = job.execute_in_process(
            instance=opened,
            partition_key=day.isoformat(),
            raise_on_error=False,
            run_config=QUIET | (CORRECTIONS if send_corrections else {}),
            asset_selection=[dg.AssetKey(key) for key in select] if select else None,
            tags={"plimsoll/as_of": day.isoformat(), "plimsoll/config_hash": settings.config_hash},
        )
    failed = tuple(
        sorted(
            evaluation.check_name
            for evaluation in result.get_asset_check_evaluations()
            if not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR
        )
    )
    return Outcome(result.success, failed, _first_error(result))


def _first_error(result: dg.ExecuteInProcessResult) -> str | None:
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            # Dagster wraps what a stage raised; the cause below that lacks the file and the remedy.
            while error is not None and error.cause is not None and (error.cls_name or "").startswith("Dagster"):
                error = error.cause
            # The module of an error says nothing to those who read the message.
            return re.sub(
                r"^[\w.]+\.(?=\w+: )", "", (error.message if error is not None else str(event.message)).strip()
            )
    return None
