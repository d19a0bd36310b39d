"""Copies: the store of each night, verified, so that a damaged one can be replaced.

What lives here: making a copy, reading it back, which copies there are and which of them is sound. What does not: when
one is made (``assets.backup``), putting one in the place of the store (``dagster_project.restore``).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

import sql
from dagster_project import files, statements
from dagster_project.progress import crash_point
from dagster_project.warehouse.errors import WarehouseError, first_line

_NAME = re.compile(r"^plimsoll-(\d{8})\.duckdb$")


@dataclass(frozen=True)
class Copy:
    """One copy: its file, the last commit in it, rows of each table and the hash of the file."""

    path: Path
    commit: int
    rows: dict[str, int]
    sha256: str


def make(store: Path, folder: Path, commit: int, rows: Mapping[str, int], *, keep: int) -> tuple[Path, bool]:
    """Copy a closed store that nobody else can open meanwhile; the copy, and whether it had to be made."""
    target = folder / f"plimsoll-{commit:08d}.duckdb"
    digest = files.hash_of(store)
    known = _described(target)
    if known is not None and known.sha256 == digest and target.is_file() and files.hash_of(target) == digest:
        return target, False

    def check(made: Path) -> None:
        crash_point("copied backup")
        read_back(made, commit, rows)

    files.copy_atomic(store, target, check)
    content = {"commit": commit, "rows": dict(sorted(rows.items())), "sha256": digest}
    files.write_atomic(_side(target), (json.dumps(content) + "\n").encode())
    for old in everyone(folder)[keep:]:
        old.unlink(missing_ok=True)
        _side(old).unlink(missing_ok=True)
    return target, True


def everyone(folder: Path) -> list[Path]:
    """List the copies, the newest first."""
    return sorted((path for path in folder.glob("plimsoll-*.duckdb") if _NAME.match(path.name)), reverse=True)


def sound(path: Path) -> Copy:
    """Look at a copy before it is trusted.

    Raises
    ------
    WarehouseError
        Where its description is missing, its bytes have changed, or its rows cannot be read; names it.
    """
    known = _described(path)
    if known is None:
        raise WarehouseError(f"{path}: no description beside it ({_side(path).name}); it was not finished")
    if files.hash_of(path) != known.sha256:
        raise WarehouseError(f"{path}: its bytes are not those that were written")
    read_back(path, known.commit, known.rows)
    return known


def read_back(path: Path, commit: int, rows: Mapping[str, int]) -> None:
    """Open a copy read-only and read every value of every table, so that every block's checksum is tested.

    Raises
    ------
    WarehouseError
        Where it cannot be read, or is not what it should be.
    """
    try:
        with duckdb.connect(str(path), read_only=True) as opened:
            present = {str(name) for (name,) in opened.execute(statements.TABLES).fetchall()}
            found = {}
            for contract in sql.tables():
                if contract.name in present:
                    found[contract.name] = int(opened.execute(statements.read_all(contract.name)).fetchall()[0][0])
            last = opened.execute("select coalesce(max(commit_number), 0) from commit_ledger").fetchall()[0][0]
    except duckdb.Error as error:
        raise WarehouseError(f"{path}: the copy cannot be read ({first_line(error)})") from error
    if int(last) != commit or found != dict(rows):
        raise WarehouseError(f"{path}: the copy has commit {last} and other rows than the store's commit {commit}")


def _described(path: Path) -> Copy | None:
    try:
        content = json.loads(_side(path).read_text(encoding="utf-8"))
        return Copy(path, int(content["commit"]), dict(content["rows"]), str(content["sha256"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _side(path: Path) -> Path:
    return path.with_suffix(".json")
