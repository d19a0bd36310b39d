"""Schema of a store: made where there is none, brought up where it is older, refused where it is unknown.

What lives here: versions and the steps between them. What does not: the tables (``sql/tables``, ``sql/migrations``).
"""

import logging
from pathlib import Path

import duckdb

import sql
from dagster_project import progress, statements
from dagster_project.warehouse.errors import WarehouseError

LOGGER = logging.getLogger("plimsoll.warehouse")
SCHEMA_VERSION = 6


def prepare(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
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
            prepare(connection, path)
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
