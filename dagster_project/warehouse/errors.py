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


def refusal(path: Path, error: BaseException) -> WarehouseError:
    """Put into words that DuckDB cannot use a file, and what to do; damage is not the only cause."""
    why = first_line(error)
    if "could not set lock" in why.lower():
        return WarehouseBusy(f"{path} is open in another program ({why}); close it there and run again")
    if "version number" in why:
        return WarehouseError(
            f"{path}: of another DuckDB ({why}); use the program that wrote it, or set PLIMSOLL_HOME to another folder"
        )
    return WarehouseError(
        f"{path}: DuckDB cannot use it ({why}). If it is damaged, run plimsoll restore, or {aside(path)}"
    )
