"""Tables in Dagster's words: column schemas and row counts.

What lives here: turning a contract into metadata. What does not: checks (``assets.checks``).
"""

from typing import Any

import dagster as dg

import sql


def column_schema(table: str) -> dg.TableSchema:
    """Return a table's columns with types, nullability and meanings."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                column.type,
                description=column.meaning,
                constraints=dg.TableColumnConstraints(nullable=not column.is_required),
            )
            for column in sql.table(table).columns
        ]
    )


def table_metadata(table: str, written: int) -> dict[str, Any]:
    """Return what every materialization says about its table."""
    return {
        "dagster/table_name": table,
        "dagster/partition_row_count": written,
        "dagster/column_schema": column_schema(table),
    }
