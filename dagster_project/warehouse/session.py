"""Session: what can be done with an open store.

What lives here: queries by name, transactions, append-only revisions, rows of the commit ledger. What does not: opening
and locking (``store``), the ledger's file (``ledger``), meanings (``sql/tables``).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

import sql
from dagster_project import statements
from dagster_project.warehouse import ledger
from dagster_project.warehouse.errors import WarehouseError, first_line, refusal
from dagster_project.warehouse.hashing import frame_hash

LISTED = 5


class Session:
    """An open store; made by `Warehouse.session` only."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._is_open = False
        self._has_written = False
        self._is_recorded = False

    def query(self, name: str, **parameters: Any) -> pd.DataFrame:
        """Run ``sql/queries/<name>.sql``."""
        return self._run("queries", name, parameters)

    def check(self, name: str, **parameters: Any) -> pd.DataFrame:
        """Run ``sql/checks/<name>.sql``; rows that come back are at fault."""
        return self._run("checks", name, parameters)

    def command(self, name: str, **parameters: Any) -> int:
        """Run ``sql/commands/<name>.sql`` inside a transaction; rows that it changed."""
        if not self._is_open:
            raise WarehouseError(f"{name}: commands change rows and belong into a transaction")
        return int(self._connection.execute(sql.text("commands", name), parameters).fetchall()[0][0])

    def load(self, name: str, incoming: Any, **parameters: Any) -> int:
        """Run ``sql/loads/<name>.sql`` over columns named ``incoming``, inside a transaction; rows that it wrote.

        For whole histories: the statement itself says what makes its rows fit the table, nothing is compared here.
        """
        if not self._is_open:
            raise WarehouseError(f"{name}: loads write rows and belong into a transaction")
        return self._with_incoming(incoming, sql.text("loads", name), parameters)

    def _run(self, kind: str, name: str, parameters: dict[str, Any]) -> pd.DataFrame:
        return self._connection.execute(sql.text(kind, name), parameters or None).df()

    def everything(self, table: str) -> pd.DataFrame:
        """Return a whole table, in the order of its grain."""
        return self._connection.execute(statements.select_all(sql.table(table))).df()

    def read_through(self) -> dict[str, int]:
        """Read every value of every table, so that every block's checksum is tested; rows by table.

        Raises
        ------
        WarehouseError
            Where a block is damaged: DuckDB opens such a file without a word, and fails where it comes upon it.
        """
        try:
            present = {str(name) for (name,) in self._connection.execute(statements.TABLES).fetchall()}
            return {
                contract.name: int(self._connection.execute(statements.read_all(contract.name)).fetchall()[0][0])
                for contract in sql.tables()
                if contract.name in present
            }
        except duckdb.Error as error:
            raise refusal(self._path, error) from error

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
        self._is_open, self._has_written, self._is_recorded = True, False, False
        try:
            yield
            self._require_record()
            self._connection.execute("commit")
        except BaseException as error:
            # A commit that failed has rolled back by itself; what went wrong first is what people must read.
            with suppress(duckdb.Error):
                self._connection.execute("rollback")
            if isinstance(error, duckdb.Error):
                if "corrupt" in str(error).lower():
                    raise refusal(self._path, error) from error
                raise WarehouseError(
                    f"{self._path}: rolled back, nothing of this stage is stored ({first_line(error)}); "
                    "see to the cause (disk space, memory_limit) and run again"
                ) from error
            raise
        finally:
            self._is_open = False
        ledger.note(self._path, self.last_commit(), self.row_counts())

    def _require_record(self) -> None:
        if self._has_written and not self._is_recorded:
            raise WarehouseError("rows were written without a row in the commit ledger; call record_commit")

    def last_commit(self) -> int:
        """Return the number of the newest commit in the store, 0 for none."""
        rows = self.query("last_commit")
        return int(rows["commit_number"].iloc[0]) if len(rows) else 0

    def row_counts(self) -> dict[str, int]:
        """Count the rows of every table."""
        rows = self._connection.execute(statements.row_counts(sql.tables())).fetchall()
        return {str(name): int(count) for name, count in rows}

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
        """Replace a market's rows if their content differs; rows written or only removed, 0 where nothing changed."""
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
        self._has_written = True
        return self._with_incoming(ours, statements.insert(contract)) if len(ours) else len(stored)

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
        self._is_recorded = True

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

    def _with_incoming(self, frame: Any, statement: str, parameters: dict[str, Any] | None = None) -> int:
        self._connection.register("incoming", frame)
        try:
            written = int(self._connection.execute(statement, parameters).fetchall()[0][0])
            self._has_written = self._has_written or written > 0
            return written
        finally:
            self._connection.unregister("incoming")
