"""Store: the DuckDB file of a profile behind our own lock.

What lives here: the lock around connect and close, readers included, and the locked-down connection. What does not:
what is done with an open store (``session``), its tables (``schema``), the ledger's file (``ledger``).
"""

import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import dagster as dg
import duckdb

from dagster_project import clock, files, statements
from dagster_project.warehouse import copies, ledger, schema
from dagster_project.warehouse.errors import WarehouseBusy, WarehouseError, first_line, refusal
from dagster_project.warehouse.session import Session

LOGGER = logging.getLogger("plimsoll.warehouse")
STORAGE_VERSION = "v1.5.0"
POLL_SECONDS = 0.1


class _Held(threading.local):
    """Stores that this thread has open."""

    def __init__(self) -> None:
        self.paths: set[Path] = set()


_held = _Held()


def _write_holder(handle: IO[str], text: str) -> None:
    """Tell waiters who holds the store; on a full disk they learn less, and the lock holds all the same."""
    with suppress(OSError):
        os.ftruncate(handle.fileno(), 0)
        os.write(handle.fileno(), text.encode())


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
            raise WarehouseError(f"{path.parent}: {error.strerror}; {files.remedy(error)}") from error
        with self._locked(path):
            connection = self._connect(path)
            try:
                session = Session(connection, path)
                # A store that is refused or fails stays as it was found: closing would fold a torn log into it.
                connection.execute("pragma disable_checkpoint_on_shutdown")
                ledger.compare(path, session.last_commit(), session.row_counts())
                yield session
                connection.execute("pragma enable_checkpoint_on_shutdown")
            except (duckdb.IOException, duckdb.FatalException, duckdb.InternalException) as error:
                # Blocks are checked when they are read, which may be long after the file was opened.
                raise refusal(path, error) from error
            finally:
                connection.close()

    def back_up(self, folder: Path, *, keep: int) -> tuple[Path, bool]:
        """Copy the store to ``folder``, named by its last commit, and verify the copy.

        Parameters
        ----------
        folder
            Where copies lie.
        keep
            So many of the newest stay.

        Returns
        -------
        tuple
            The copy, and whether it had to be made: an identical one is left alone.

        Raises
        ------
        WarehouseError
            Where the store or the copy cannot be read back as it was.
        """
        path = Path(self.path).resolve()
        with self._locked(path):
            connection = self._connect(path)
            try:
                session = Session(connection, path)
                commit, rows = session.last_commit(), session.row_counts()
                ledger.compare(path, commit, rows)
                connection.execute("checkpoint")
            finally:
                connection.close()
            return copies.make(path, folder, commit, rows, keep=keep)

    @contextmanager
    def replaced(self, quarantine: Path) -> Iterator[Path]:
        """Hold the store while another takes its place; what was there goes to ``quarantine``, nothing is deleted.

        Yields the path to put the other store at. Until the ledger is written anew, a death in between leaves a store
        that refuses to open and says what to do.
        """
        path = Path(self.path).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked(path):
            for name in (f"{path.name}.wal", path.name):
                if path.with_name(name).exists():
                    files.move(path.with_name(name), quarantine / name)
            yield path
            side = ledger.path_of(path)
            if side.exists():
                files.move(side, quarantine / side.name)

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        if path in _held.paths:
            raise WarehouseError(f"{path} is open in this thread already; close the session before opening another")
        lock_path = path.with_name(path.name + ".lock")
        try:
            handle = lock_path.open("a+")
        except OSError as error:
            raise WarehouseError(f"{lock_path}: {error.strerror}; {files.remedy(error)}") from error
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
        if not path.exists():
            self._make(path)
        return self._opened(path)

    def _make(self, path: Path) -> None:
        """Make an empty store under another name first: half a database would be refused for ever after."""
        made = path.with_name(path.name + ".new")
        try:
            made.unlink(missing_ok=True)
            self._opened(made).close()
            made.replace(path)
        except (OSError, WarehouseError) as error:
            raise WarehouseError(
                f"{path}: cannot be made ({first_line(error.__cause__ or error)}); free space on that disk or set "
                "PLIMSOLL_HOME to a folder you may write, and run again"
            ) from error
        finally:
            for left in (made, made.with_name(made.name + ".wal")):
                left.unlink(missing_ok=True)

    def _opened(self, path: Path) -> duckdb.DuckDBPyConnection:
        try:
            connection = duckdb.connect(str(path), config={"storage_compatibility_version": STORAGE_VERSION})
        except duckdb.Error as error:
            raise refusal(path, error) from error
        try:
            self._lock_down(connection)
            schema.prepare(connection, path)
        except BaseException as error:
            connection.close()
            if isinstance(error, duckdb.Error):
                raise refusal(path, error) from error
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
