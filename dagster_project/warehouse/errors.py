"""Errors of the store, and how they are put into words.

What lives here: the two classes and the sentences that several modules share. What does not: when they are raised.
"""

from pathlib import Path


class WarehouseError(RuntimeError):
    """The store cannot be used; the message names the file and what to do."""


class WarehouseBusy(WarehouseError):  # noqa: N818  (busy is a state, not damage)
    """Another process holds the store."""


def first_line(error: BaseException) -> str:
    """Return what went wrong in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def aside(path: Path) -> str:
    """Say how to begin anew, and what that costs."""
    return (
        f"move {path.name}, {path.name}.wal and {path.name}.ledger aside and run again: the source is read "
        "anew, but revisions and arrival times stay behind in the old file"
    )


def damaged(path: Path, error: BaseException) -> str:
    """Say that a database cannot be read, and what to do."""
    return (
        f"{path}: DuckDB cannot use it ({first_line(error)}). If it is damaged, run plimsoll restore, or {aside(path)}"
    )
