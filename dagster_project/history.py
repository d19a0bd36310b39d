"""Opening Dagster's history, and saying in one sentence why it cannot be opened.

What lives here: what the instance file, the environment or a database server object to, in words. What does not: where
the instance lies (``nightly``), what is written to it.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from dagster_project.settings import SettingsError

UNSET = re.compile(r'environment variable "(\w+)" which is not set')
UNFIT = re.compile(r'env variable "(\w+)" cannot be coerced into an? (\w+)')


class HistoryError(RuntimeError):
    """The history cannot be reached; the message says what the server or the file system answered."""


@contextmanager
def opened() -> Iterator[dg.DagsterInstance]:
    """Open the instance of ``DAGSTER_HOME``.

    Raises
    ------
    SettingsError
        Names every variable that the instance file asks for and the environment lacks.
    HistoryError
        Says what a database server answered.
    """
    root = logging.getLogger()
    root.addFilter(_is_no_retry)
    try:
        found = dg.DagsterInstance.get()
    except Exception as error:
        raise _explained(error) from error
    finally:
        root.removeFilter(_is_no_retry)
    with found:
        yield found


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
