"""Warehouse: the only way to the DuckDB file, one process at a time.

What lives here: our own lock around connect and close, the locked-down connection, transactions, append-only revisions,
the commit ledger with its side file. What does not: meanings (``sql/tables``), questions (``sql/queries``), stages.
"""

import fcntl
import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import IO, Any

import dagster as dg
import duckdb
import pandas as pd

import sql
from dagster_project import files

LOGGER = logging.getLogger("plimsoll.warehouse")
SCHEMA_VERSION = 1
STORAGE_VERSION = "v1.5.0"
POLL_SECONDS = 0.1
NOT_COMPARED = ("revision", "vintage")
"""Columns that do not make a row another one: a reconstructed row equals the live one."""

_held = threading.local()


class WarehouseError(RuntimeError):
    """The store cannot be used; the message names the file and what to do."""


class WarehouseBusy(WarehouseError):
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
        contract = sql.table(table)
        return self._connection.execute(_select_all(contract)).df()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what happens inside as one, or nothing of it."""
        if self._is_open:
            raise WarehouseError("a transaction is open already; stages commit once")
        self._connection.execute("begin transaction")
        self._is_open = True
        try:
            yield
        except BaseException:
            self._connection.execute("rollback")
            self._is_open = False
            raise
        self._connection.execute("commit")
        self._is_open = False
        files.write_atomic(_ledger_path(self._path), f"{self.last_commit()}\n".encode())

    def last_commit(self) -> int:
        """Number of the newest commit in the store, 0 for none."""
        rows = self.query("last_commit")
        return int(rows["commit_number"].iloc[0]) if len(rows) else 0

    def append(self, table: str, frame: pd.DataFrame, *, key: Sequence[str]) -> int:
        """Append rows whose content is new; an equal row is not written again, another one becomes the next revision.

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
            Where columns differ from the contract, a required value is null, or a key stands twice in ``frame``; names
            table, column and key.
        """
        contract = sql.table(table)
        incoming = self._checked(contract, frame, {"revision"})
        twice = incoming[incoming.duplicated(list(key), keep=False)]
        if len(twice):
            first = twice.iloc[0][list(key)].to_dict()
            raise WarehouseError(f"{table}: {len(twice)} rows share keys with others, first {first}; a stage made them twice")
        return self._with_incoming(incoming, _append_sql(contract, tuple(key)))

    def insert(self, table: str, frame: pd.DataFrame) -> int:
        """Insert rows as they are; the frame has every column of the table."""
        contract = sql.table(table)
        return self._with_incoming(self._checked(contract, frame, set()), _insert_sql(contract))

    def replace(self, table: str, frame: pd.DataFrame, *, symbol: str) -> int:
        """Replace a market's rows if their content differs; rows written, 0 where nothing changed."""
        contract = sql.table(table)
        incoming = self._checked(contract, frame, set())
        stored = self._connection.execute(_select_symbol(contract), {"symbol": symbol}).df()
        order = list(contract.grain)
        ours = incoming.sort_values(order, ignore_index=True)
        if len(stored) == len(ours) and frame_hash(_typed(stored)) == frame_hash(_typed(ours)):
            return 0
        self._connection.execute(_delete_symbol(contract), {"symbol": symbol})
        return self._with_incoming(ours, _insert_sql(contract))

    def contract_failures(self, table: str) -> pd.DataFrame:
        """Rows whose grain is not unique."""
        return self._connection.execute(_grain_sql(sql.table(table))).df()

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
            raise WarehouseError(f"{contract.name}: columns missing {missing}, unknown {extra}; see sql/tables/{contract.name}.sql")
        for column in contract.columns:
            if column.is_required and column.name not in absent and frame[column.name].isna().any():
                row = frame[frame[column.name].isna()].iloc[0]
                where = {name: row[name] for name in contract.grain if name in frame.columns}
                raise WarehouseError(f"{contract.name}.{column.name} is null at {where}; the stage must say why it is unknown")
        return frame[names]

    def _with_incoming(self, frame: pd.DataFrame, statement: str) -> int:
        self._connection.register("incoming", frame)
        try:
            return int(self._connection.execute(statement).fetchall()[0][0])
        finally:
            self._connection.unregister("incoming")


class Warehouse(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The store of one profile.

    DuckDB's own lock is not enough: a reader blocks a writer, waiters see no holder, and one release lost committed rows
    when processes took turns. So a lock file of ours is held from before connect until after close, by readers as well.
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
        path = Path(self.path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WarehouseError(f"{path.parent}: {error.strerror}; set PLIMSOLL_HOME to a folder you may write") from error
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
        if getattr(_held, "path", None) == str(path):
            raise WarehouseError(f"{path} is open in this thread already; close the session before opening another")
        lock_path = path.with_suffix(path.suffix + ".lock")
        try:
            handle = lock_path.open("a+")
        except OSError as error:
            raise WarehouseError(f"{lock_path}: {error.strerror}; the folder must be writable") from error
        with handle:
            self._wait(handle, path)
            handle.seek(0)
            handle.truncate()
            handle.write(f"{os.getpid()}\n")
            handle.flush()
            _held.path = str(path)
            try:
                yield
            finally:
                _held.path = None
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
                        f"{path} is held by process {holder} for more than {self.lock_wait_seconds:g} s; "
                        "wait for that run to end, or end it, and run again"
                    ) from None
                time.sleep(POLL_SECONDS)
            else:
                return

    def _connect(self, path: Path) -> duckdb.DuckDBPyConnection:
        is_new = not path.exists()
        try:
            connection = duckdb.connect(str(path), config={"storage_compatibility_version": STORAGE_VERSION})
        except duckdb.Error as error:
            raise WarehouseError(
                f"{path}: DuckDB cannot open it ({str(error).splitlines()[0]}); move it aside and run again, "
                "the raw files rebuild it"
            ) from error
        try:
            self._lock_down(connection)
            _migrate(connection, path, is_new=is_new)
        except BaseException:
            connection.close()
            raise
        return connection

    def _lock_down(self, connection: duckdb.DuckDBPyConnection) -> None:
        # The order matters: the configuration is locked last. No directory is allowed: frames come in by registration.
        connection.execute("set TimeZone = 'UTC'")
        for name, value in (
            ("autoinstall_known_extensions", False),
            ("autoload_known_extensions", False),
            ("allow_community_extensions", False),
            ("python_enable_replacements", False),
            ("memory_limit", self.memory_limit),
            ("threads", self.threads),
            ("enable_external_access", False),
            ("lock_configuration", True),
        ):
            connection.execute(_set_sql(name, value))


def _set_sql(name: str, value: object) -> str:
    """Return a SET statement of a fixed setting: names and values come from this module, never from data."""
    literal = f"'{value}'" if isinstance(value, str) else str(value).lower()
    return f"set {name} = {literal}"


def _migrate(connection: duckdb.DuckDBPyConnection, path: Path, *, is_new: bool) -> None:
    known = connection.execute("select count(*) from information_schema.tables where table_name = 'schema_version'")
    if known.fetchall()[0][0]:
        version = connection.execute("select max(version) from schema_version").fetchall()[0][0]
        if version != SCHEMA_VERSION:
            raise WarehouseError(f"{path}: schema {version}, this program knows {SCHEMA_VERSION}; use the program that wrote it")
        return
    foreign = connection.execute("select count(*) from information_schema.tables").fetchall()[0][0]
    if foreign and not is_new:
        raise WarehouseError(f"{path}: a DuckDB file of something else; set PLIMSOLL_HOME to another folder")
    connection.execute("begin transaction")
    for contract in sql.tables():
        connection.execute(contract.ddl)
        for statement in _comments(contract):
            connection.execute(statement)
    connection.execute("create table schema_version (version integer not null)")
    connection.execute("insert into schema_version values ($version)", {"version": SCHEMA_VERSION})
    connection.execute("commit")
    connection.execute("checkpoint")


def _compare_ledger(session: Session, path: Path) -> None:
    side = _ledger_path(path)
    if not side.is_file():
        return
    noted, stored = int(side.read_text() or 0), session.last_commit()
    if stored < noted:
        raise WarehouseError(
            f"{path}: commits {stored + 1} to {noted} are missing; the file was rolled back, cut or replaced. "
            f"Restore it, or move {path.name} and {side.name} aside and run again: the raw files rebuild it"
        )


def _ledger_path(path: Path) -> Path:
    return path.with_suffix(path.suffix + ".ledger")


# The statements below are assembled from identifiers of the contracts in sql/tables only; no data ever reaches their text.


def _names(contract: sql.TableContract) -> str:
    return ", ".join(column.name for column in contract.columns)


def _typed_names(contract: sql.TableContract, absent: tuple[str, ...] = ()) -> str:
    return ", ".join(f"cast({c.name} as {c.type}) as {c.name}" for c in contract.columns if c.name not in absent)


def _select_all(contract: sql.TableContract) -> str:
    return f"select {_names(contract)} from {contract.name} order by {', '.join(contract.grain)}"  # noqa: S608


def _select_symbol(contract: sql.TableContract) -> str:
    return f"select {_names(contract)} from {contract.name} where symbol = $symbol order by {', '.join(contract.grain)}"  # noqa: S608


def _delete_symbol(contract: sql.TableContract) -> str:
    return f"delete from {contract.name} where symbol = $symbol"  # noqa: S608


def _insert_sql(contract: sql.TableContract) -> str:
    return f"insert into {contract.name} by name select {_typed_names(contract)} from incoming"  # noqa: S608


def _grain_sql(contract: sql.TableContract) -> str:
    grain = ", ".join(contract.grain)
    return f"select {grain}, count(*) as row_count from {contract.name} group by {grain} having count(*) > 1 order by {grain}"  # noqa: S608


def _append_sql(contract: sql.TableContract, key: tuple[str, ...]) -> str:
    compared = [c.name for c in contract.columns if c.name not in (*NOT_COMPARED, *key)]
    on = " and ".join(f"i.{name} is not distinct from n.{name}" for name in key)
    differs = " or ".join(f"i.{name} is distinct from n.{name}" for name in compared)
    since = ""
    if contract.partition in key:
        since = f"where {contract.partition} >= (select min({contract.partition}) from typed)"
    listed = ", ".join(f"i.{c.name}" for c in contract.columns if c.name != "revision")
    return (
        f"insert into {contract.name} by name "  # noqa: S608
        f"with typed as (select {_typed_names(contract, ('revision',))} from incoming), "
        f"newest as (select {_names(contract)} from {contract.name} {since} "
        f"qualify row_number() over (partition by {', '.join(key)} order by revision desc) = 1) "
        f"select {listed}, coalesce(n.revision, 0) + 1 as revision from typed as i left join newest as n on {on} "
        f"where n.revision is null or {differs}"
    )


def _comments(contract: sql.TableContract) -> Iterator[str]:
    yield f"comment on table {contract.name} is '{contract.about.replace(chr(39), chr(39) * 2)}'"
    for column in contract.columns:
        meaning = column.meaning.replace("'", "''")
        yield f"comment on column {contract.name}.{column.name} is '{meaning}'"


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Bring columns to common types, so that equal content has equal bytes whatever produced it."""
    out = {}
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_datetime64_any_dtype(column):
            out[name] = column.astype("datetime64[us]")
        elif pd.api.types.is_bool_dtype(column):
            out[name] = column.astype("bool")
        elif pd.api.types.is_numeric_dtype(column):
            out[name] = column.astype("float64")
        else:
            out[name] = column.astype("object").where(column.notna(), None)
    return pd.DataFrame(out)


def frame_hash(frame: pd.DataFrame) -> str:
    """Hash a frame's content: columns by name, rows in order, missing values alike; sixteen hexadecimal digits."""
    typed = _typed(frame[sorted(frame.columns)])
    digest = hashlib.sha256("|".join(typed.columns).encode())
    if len(typed):
        digest.update(pd.util.hash_pandas_object(typed, index=False).to_numpy().tobytes())
    return digest.hexdigest()[:16]
