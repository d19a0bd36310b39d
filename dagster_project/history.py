"""Opening Dagster's history, and saying in one sentence why it cannot be opened.

What lives here: what the instance file, the environment, a folder or a database server object to, in words. What does
not: where the instance lies (``runs``), what is written to it.
"""

import fcntl
import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dagster as dg
import sqlalchemy.exc

from dagster_project import files, runs
from dagster_project.settings import SettingsError

UNSET = re.compile(r'environment variable "(\w+)" which is not set')
UNFIT = re.compile(r'env variable "(\w+)" cannot be coerced into an? (\w+)')


class HistoryError(RuntimeError):
    """The history cannot be reached; the message says what the server or the file system answered."""


@contextmanager
def opened() -> Iterator[dg.DagsterInstance]:
    """Open the instance of this machine, with its tables in place.

    Raises
    ------
    SettingsError
        Names every variable that the instance file asks for and the environment lacks.
    HistoryError
        Where its folder, its files or its database server refuse, now or while it is open.
    """
    home = runs.home()
    with _worded(home), ExitStack() as stack:
        os.environ["DAGSTER_HOME"] = str(runs.prepared_home())
        # Two first runs at once would both make the tables of the history, and one of them would fail.
        with (home / ".opening.lock").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            found = stack.enter_context(_instance())
            found.get_runs(limit=1)
            found.all_asset_keys()
            found.all_instigator_state()
        yield found


@contextmanager
def _worded(home: Path) -> Iterator[None]:
    """Put into words what the history's folder or database raises; errors of anything else pass."""
    try:
        yield
    except OSError as told:
        # A file that cannot be written says so in words; below them is what the folder answered.
        error = told.__cause__ if isinstance(told.__cause__, OSError) else told
        if not str(error.filename).startswith(str(home)):
            raise
        raise HistoryError(
            f"Dagster's history in {home}: {os.strerror(error.errno) if error.errno else error}; "
            f"{files.remedy(error, 'DAGSTER_HOME')}, and run again"
        ) from error
    except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error) as error:
        cause = getattr(error, "orig", None) or error
        on_disk = "free space on that disk, make the folder writable for this user or set DAGSTER_HOME to another"
        what = on_disk if isinstance(cause, sqlite3.Error) else "see to the database server"
        raise HistoryError(
            f"Dagster's history in {home} cannot be used ({' '.join(str(cause).split())}); {what}, and run again"
        ) from error


def _instance() -> dg.DagsterInstance:
    root = logging.getLogger()
    root.addFilter(_is_no_retry)
    try:
        return dg.DagsterInstance.get()
    except Exception as error:
        if isinstance(error, OSError) or isinstance(getattr(error, "orig", error), sqlite3.Error):
            raise
        raise _explained(error) from error
    finally:
        root.removeFilter(_is_no_retry)


def _is_no_retry(record: logging.LogRecord) -> bool:
    """Tell whether a record is no notice of another try; the last error says the same, once."""
    return not str(record.msg).startswith("Retrying failed database")


def _explained(error: Exception) -> Exception:
    """Look through the wrappers of Dagster and SQLAlchemy for the words of whoever objected first."""
    where = f"{os.environ.get('DAGSTER_HOME', '')}/dagster.yaml"
    unset, unfit = UNSET.findall(str(error)), UNFIT.findall(str(error))
    if unset or unfit:
        faults = [f"{name} is not set" for name in sorted(set(unset))]
        faults += [f"{name} is no {kind}" for name, kind in sorted(set(unfit))]
        return SettingsError(f"{where} needs variables of the environment: {'; '.join(faults)}")
    first: BaseException = error
    while (cause := first.__cause__ or first.__context__) is not None:
        first = cause
    said = " ".join(str(first).split())
    return HistoryError(f"the history of {where} cannot be opened: {said or type(first).__name__}")
