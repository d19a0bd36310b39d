"""Ledger: our own record, beside the database, of how far it had come.

What lives here: the side file with the last commit and the rows of every table, and holding a store against it. What
does not: the ledger's table (``sql/tables/commit_ledger.sql``).

A log that lost its last bytes opens without a word, and so do some logs with a flipped bit: the database alone cannot
say that rows are missing.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from dagster_project import files
from dagster_project.warehouse.errors import WarehouseError, aside


def path_of(store: Path) -> Path:
    """Return where the ledger of a store lies."""
    return store.with_name(store.name + ".ledger")


def note(store: Path, commit: int, rows: Mapping[str, int]) -> None:
    """Write down the last commit and the rows of each table; a store without a commit needs no ledger."""
    if commit:
        content = {"commit": commit, "rows": dict(sorted(rows.items()))}
        files.write_atomic(path_of(store), (json.dumps(content) + "\n").encode())


def compare(store: Path, commit: int, rows: Mapping[str, int]) -> None:
    """Hold a store that was just opened against its ledger.

    Parameters
    ----------
    store
        The database.
    commit, rows
        Its newest commit, and its rows by table.

    Raises
    ------
    WarehouseError
        Where commits or rows that were written down are missing, or the ledger cannot be read; names the file and
        what to do.
    """
    known = _read(store)
    if known is None:
        note(store, commit, rows)
        return
    last, counts = known
    if commit < last:
        raise WarehouseError(
            f"{store} was rolled back or replaced: commits {commit + 1}..{last} are missing. Run plimsoll restore, or "
            f"{aside(store)}"
        )
    if commit == last:
        differing = [
            f"{table} has {rows.get(table, 0)} of {count}"
            for table, count in counts.items()
            if rows.get(table, 0) != count
        ]
        if differing:
            raise WarehouseError(
                f"{store} is damaged: at commit {commit} table {', '.join(differing)} rows. Run plimsoll restore, or "
                f"{aside(store)}"
            )
    if commit > last or not counts:
        # The process that committed last died before it could write it down.
        note(store, commit, rows)


def _read(store: Path) -> tuple[int, dict[str, int]] | None:
    side = path_of(store)
    text = side.read_text(errors="replace").strip() if side.is_file() else ""
    if not text:
        return None
    try:
        content = json.loads(text)
        if isinstance(content, int):
            # Earlier programs wrote the number alone.
            return content, {}
        return int(content["commit"]), {str(table): int(count) for table, count in content["rows"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise WarehouseError(
            f"{side}: {text[:20]!r} is no ledger; if {store.name} is known to be whole, delete it, else run "
            "plimsoll restore"
        ) from None
