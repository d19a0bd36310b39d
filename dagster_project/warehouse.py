"""Warehouse: the only way to the DuckDB file, one process at a time.

What lives here: our own lock around connect and close, the locked-down connection, transactions, append-only
revisions, the commit ledger with its side file. What does not: meanings (``sql/tables``), questions
(``sql/queries``), statements of every table (``statements``), stages.
"""

import fcntl
import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import IO, Any

import dagster as dg
import duckdb
import numpy as np
import pandas as pd

import sql
from dagster_project import clock, files, progress, statements

LOGGER = logging.getLogger("plimsoll.warehouse")
SCHEMA_VERSION = 2
STORAGE_VERSION = "v1.5.0"
POLL_SECONDS = 0.1
LISTED = 5


class _Held(threading.local):
    """Stores that this thread has open."""

    def __init__(self) -> None:
        self.paths: set[Path] = set()


_held = _Held()


class WarehouseError(RuntimeError):
    """The store cannot be used; the message names the file and what to do."""


class WarehouseBusy(WarehouseError):  # noqa: N818  (busy is a state, not damage)
    """Another process holds the store."""


class Session:
    """An open store; made by `Warehouse.session` only."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._is_open = False

    def query(self, name: str, **parameters: Any) -> pd.DataFrame:
        """Run ``sql/queries/<name>.sql``."""
        return self._run("queries", name, parameters)

    def check(self, name: str, **parameters: Any) -> pd.DataFrame:
        """Run ``sql/checks/<name>.sql``; rows that come back are at fault."""
        return self._run("checks", name, parameters)

    def _run(self, kind: str, name: str, parameters: dict[str, Any]) -> pd.DataFrame:
        return self._connection.execute(sql.text(kind, name), parameters or None).df()

    def everything(self, table: str) -> pd.DataFrame:
        """Return a whole table, in the order of its grain."""
        return self._connection.execute(statements.select_all(sql.table(table))).df()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what happens inside as one, or nothing of it.

        Raises
        ------
        WarehouseError
            Where a transaction is open already, or the database refuses; the stored rows are as before.
        """
        if self._is_open:
            raise WarehouseError("a transaction is open already; stages commit once")
        self._connection.execute("begin transaction")
        self._is_open = True
        try:
            yield
            self._connection.execute("commit")
        except BaseException as error:
            # A commit that failed has rolled back by itself; what went wrong first is what people must read.
            with suppress(duckdb.Error):
                self._connection.execute("rollback")
            if isinstance(error, duckdb.Error):
                raise WarehouseError(
                    f"{self._path}: rolled back, nothing of this stage is stored ({_first_line(error)}); "
                    "see to the cause (disk space, memory_limit) and run again"
                ) from error
            raise
        finally:
            self._is_open = False
        _note_commit(self._path, self.last_commit())

    def last_commit(self) -> int:
        """Return the number of the newest commit in the store, 0 for none."""
        rows = self.query("last_commit")
        return int(rows["commit_number"].iloc[0]) if len(rows) else 0

    def append(self, table: str, frame: pd.DataFrame, *, key: Sequence[str]) -> int:
        """Append rows whose content is new; an equal row is not written again, another is the next revision.

        Parameters
        ----------
        table
            Table with a ``revision`` column.
        frame
            All columns of the table but ``revision``.
        key
            Columns that identify what a row speaks about.

        Returns
        -------
        int
            Rows written.

        Raises
        ------
        WarehouseError
            Where columns differ from the contract, a required value is null, or a key stands twice in
            ``frame``; names table, column and key.
        """
        contract = sql.table(table)
        incoming = self._checked(contract, frame, {"revision"})
        twice = incoming.loc[incoming.duplicated(list(key), keep=False), list(key)].drop_duplicates()
        if len(twice):
            listed = "; ".join(str(row) for row in twice.head(LISTED).to_dict("records"))
            raise WarehouseError(
                f"{table}: {len(twice)} key(s) stand more than once among the rows to append, e.g. {listed}; "
                "the stage made them twice"
            )
        return self._with_incoming(incoming, statements.append(contract, tuple(key)))

    def insert(self, table: str, frame: pd.DataFrame) -> int:
        """Insert rows as they are; the frame has every column of the table."""
        contract = sql.table(table)
        return self._with_incoming(self._checked(contract, frame, set()), statements.insert(contract))

    def replace(self, table: str, frame: pd.DataFrame, *, symbol: str) -> int:
        """Replace a market's rows if their content differs; rows written, 0 where nothing changed."""
        contract = sql.table(table)
        incoming = self._checked(contract, frame, set())
        others = sorted(set(incoming["symbol"].astype(str)) - {symbol})
        if others:
            raise WarehouseError(f"{table}: rows of {', '.join(others)} among those that replace {symbol}")
        stored = self._connection.execute(statements.select_symbol(contract), {"symbol": symbol}).df()
        order = list(contract.grain)
        ours = incoming.sort_values(order, ignore_index=True)
        if len(stored) == len(ours) and frame_hash(stored) == frame_hash(ours):
            return 0
        self._connection.execute(statements.delete_symbol(contract), {"symbol": symbol})
        return self._with_incoming(ours, statements.insert(contract))

    def contract_failures(self, table: str) -> pd.DataFrame:
        """Rows whose grain is not unique."""
        return self._connection.execute(statements.repeated_grain(sql.table(table))).df()

    def record_commit(
        self,
        *,
        stage: str,
        as_of: date,
        run_id: str,
        input_hash: str,
        output_hash: str,
        code: str,
        config_hash: str,
        row_count: int,
    ) -> None:
        """Add a row to the ledger; call it inside the transaction of the data."""
        if not self._is_open:
            raise WarehouseError(f"{stage}: the ledger's row belongs into the transaction of its data")
        row = {
            "commit_number": self.last_commit() + 1,
            "stage": stage,
            "as_of": pd.Timestamp(as_of),
            "run_id": run_id,
            "input_hash": input_hash,
            "output_hash": output_hash,
            "code": code,
            "config_hash": config_hash,
            "row_count": row_count,
        }
        self.insert("commit_ledger", pd.DataFrame([row]))

    def _checked(self, contract: sql.TableContract, frame: pd.DataFrame, absent: set[str]) -> pd.DataFrame:
        names = [column.name for column in contract.columns if column.name not in absent]
        missing, extra = sorted(set(names) - set(frame.columns)), sorted(set(frame.columns) - set(names))
        if missing or extra:
            raise WarehouseError(
                f"{contract.name}: columns missing {missing}, unknown {extra}; see sql/tables/{contract.name}.sql"
            )
        for column in contract.columns:
            if column.is_required and column.name not in absent and frame[column.name].isna().any():
                row = frame[frame[column.name].isna()].iloc[0]
                where = {name: row[name] for name in contract.grain if name in frame.columns}
                raise WarehouseError(
                    f"{contract.name}.{column.name} is null at {where}; a required value must be known"
                )
        return frame[names]

    def _with_incoming(self, frame: pd.DataFrame, statement: str) -> int:
        self._connection.register("incoming", frame)
        try:
            return int(self._connection.execute(statement).fetchall()[0][0])
        finally:
            self._connection.unregister("incoming")


def _write_holder(handle: IO[str], text: str) -> None:
    handle.seek(0)
    handle.truncate()
    handle.write(text)
    handle.flush()


class Warehouse(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The store of one profile.

    DuckDB's own lock is not enough: a reader blocks a writer, waiters see no holder, and one release lost
    committed rows when processes took turns. So a lock file of ours is held from before connect until after
    close, by readers as well.
    """

    path: str
    lock_wait_seconds: float = 600.0
    memory_limit: str = "4GB"
    threads: int = 2

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open the store for this process alone.

        Raises
        ------
        WarehouseBusy
            Where another process holds it longer than ``lock_wait_seconds``; names its pid.
        WarehouseError
            Where the file cannot be used; names it and what to do.
        """
        path = Path(self.path).resolve()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WarehouseError(
                f"{path.parent}: {error.strerror}; set PLIMSOLL_HOME to a folder you may write"
            ) from error
        with self._locked(path):
            connection = self._connect(path)
            try:
                session = Session(connection, path)
                _compare_ledger(session, path)
                yield session
            finally:
                connection.close()

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        if path in _held.paths:
            raise WarehouseError(f"{path} is open in this thread already; close the session before opening another")
        lock_path = path.with_name(path.name + ".lock")
        try:
            handle = lock_path.open("a+")
        except OSError as error:
            raise WarehouseError(f"{lock_path}: {error.strerror}; the folder must be writable") from error
        with handle:
            self._wait(handle, path)
            _write_holder(handle, f"{os.getpid()} since {clock.now():%Y-%m-%d %H:%M:%S} UTC\n")
            _held.paths.add(path)
            try:
                yield
            finally:
                _held.paths.discard(path)
                _write_holder(handle, "")
                fcntl.flock(handle, fcntl.LOCK_UN)

    def _wait(self, handle: IO[str], path: Path) -> None:
        deadline = time.monotonic() + self.lock_wait_seconds
        is_told = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.seek(0)
                holder = handle.read().strip() or "unknown"
                if not is_told:
                    LOGGER.warning("waiting for %s, held by process %s", path, holder)
                    is_told = True
                if time.monotonic() >= deadline:
                    raise WarehouseBusy(
                        f"{path} is held by process {holder}, waited {self.lock_wait_seconds:g} s; "
                        "wait for that run to end, or end it, and run again"
                    ) from None
                time.sleep(POLL_SECONDS)
            else:
                return

    def _connect(self, path: Path) -> duckdb.DuckDBPyConnection:
        try:
            connection = duckdb.connect(str(path), config={"storage_compatibility_version": STORAGE_VERSION})
        except duckdb.Error as error:
            raise WarehouseError(
                f"{path}: DuckDB cannot open it ({_first_line(error)}). If it is damaged, restore a copy, "
                f"or {_aside(path)}"
            ) from error
        try:
            self._lock_down(connection)
            _migrate(connection, path)
        except BaseException as error:
            connection.close()
            if isinstance(error, duckdb.Error):
                raise WarehouseError(
                    f"{path}: DuckDB cannot use it ({_first_line(error)}). If it is damaged, restore a copy, "
                    f"or {_aside(path)}"
                ) from error
            raise
        return connection

    def _lock_down(self, connection: duckdb.DuckDBPyConnection) -> None:
        # The configuration is locked last. No directory is allowed at all: frames come in by registration.
        connection.execute("set TimeZone = 'UTC'")
        for name, value in (
            ("autoinstall_known_extensions", False),
            ("autoload_known_extensions", False),
            ("allow_community_extensions", False),
            ("allow_persistent_secrets", False),
            ("python_enable_replacements", False),
            ("memory_limit", self.memory_limit),
            ("threads", self.threads),
            ("enable_external_access", False),
            ("lock_configuration", True),
        ):
            connection.execute(statements.setting(name, value))


def _migrate(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make the tables where there are none; refuse a store that this program does not know."""
    found: dict[str, dict[str, tuple[str, bool]]] = {}
    for table, column, kind, is_nullable in connection.execute(statements.SCHEMA).fetchall():
        found.setdefault(table, {})[column] = (kind.lower(), is_nullable == "NO")
    if "schema_version" in found:
        version = int(connection.execute("select max(version) from schema_version").fetchall()[0][0])
        if version < SCHEMA_VERSION and all(
            step in sql.migrations() for step in range(version + 1, SCHEMA_VERSION + 1)
        ):
            _upgrade(connection, version)
            _migrate(connection, path)
            return
        if version != SCHEMA_VERSION:
            raise WarehouseError(
                f"{path}: schema {version}, this program knows {SCHEMA_VERSION}; "
                "use the program that wrote it, or set PLIMSOLL_HOME to another folder"
            )
        for contract in sql.tables():
            promised = {column.name: (column.type, column.is_required) for column in contract.columns}
            if found.get(contract.name) != promised:
                raise WarehouseError(
                    f"{path}: table {contract.name} is not what sql/tables/{contract.name}.sql says, though "
                    f"both are schema {version}; use the program that wrote it, or set PLIMSOLL_HOME to "
                    "another folder"
                )
        return
    if found:
        raise WarehouseError(f"{path}: a DuckDB file of something else; set PLIMSOLL_HOME to another folder")
    connection.execute("begin transaction")
    for contract in sql.tables():
        connection.execute(contract.ddl)
        for statement in statements.comments(contract):
            connection.execute(statement)
    connection.execute("create table schema_version (version integer not null)")
    connection.execute("insert into schema_version values ($version)", {"version": SCHEMA_VERSION})
    connection.execute("commit")
    # Replaying definitions from the write-ahead log is what fails after a crash, so they do not stay there.
    connection.execute("checkpoint")


def _upgrade(connection: duckdb.DuckDBPyConnection, version: int) -> None:
    """Bring a store of an earlier version to this one, wholly or not at all."""
    LOGGER.warning("the store has schema %d; bringing it to %d", version, SCHEMA_VERSION)
    connection.execute("begin transaction")
    for step in range(version + 1, SCHEMA_VERSION + 1):
        connection.execute(sql.migrations()[step])
        progress.crash_point(f"migration {step}")
    for contract in sql.tables():
        for statement in statements.comments(contract):
            connection.execute(statement)
    connection.execute("update schema_version set version = $version", {"version": SCHEMA_VERSION})
    connection.execute("commit")
    connection.execute("checkpoint")


def _compare_ledger(session: Session, path: Path) -> None:
    side, stored = _ledger_path(path), session.last_commit()
    text = side.read_text().strip() if side.is_file() else ""
    if text and not text.isdecimal():
        raise WarehouseError(
            f"{side}: {text[:20]!r} is no commit number; if {path.name} is known to be whole, delete it"
        )
    if text and stored < int(text):
        raise WarehouseError(
            f"{path} was rolled back or replaced: commits {stored + 1}..{int(text)} are missing. Restore the "
            f"newest copy, or {_aside(path)}"
        )
    if text != str(stored):
        # The process that committed last died before it could write the number down.
        _note_commit(path, stored)


def _note_commit(path: Path, number: int) -> None:
    if number:
        files.write_atomic(_ledger_path(path), f"{number}\n".encode())


def _ledger_path(path: Path) -> Path:
    return path.with_name(path.name + ".ledger")


def _aside(path: Path) -> str:
    return (
        f"move {path.name}, {path.name}.wal and {path.name}.ledger aside and run again: the source is read "
        "anew, but revisions and arrival times stay behind in the old file"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def frame_hash(frame: pd.DataFrame) -> str:
    """Hash a frame's content, sixteen hexadecimal digits.

    Columns count by name, rows in order; index, column order, storage types and kinds of null do not.
    """
    digest = hashlib.sha256(str(len(frame)).encode())
    for name in sorted(frame.columns):
        digest.update(f"\x1e{name}\x1f".encode())
        digest.update(_bytes(frame[name]))
    return digest.hexdigest()[:16]


def _bytes(column: pd.Series) -> bytes:
    if pd.api.types.is_datetime64_any_dtype(column):
        return column.to_numpy("datetime64[us]").tobytes()
    if pd.api.types.is_numeric_dtype(column):
        # Booleans too; adding zero makes -0.0 and 0.0 one value.
        values = column.to_numpy("float64", na_value=np.nan) + 0.0
        values[np.isnan(values)] = np.nan
        return values.tobytes()
    missing = column.isna().to_numpy()
    texts = ("\x00" if no else str(value) for value, no in zip(column, missing, strict=True))
    return "\x1f".join(texts).encode()
