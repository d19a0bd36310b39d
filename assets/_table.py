"""Tables in Dagster's words: column schemas, row counts and the checks that every table has.

What lives here: turning a contract into metadata and into a grain check. What does not: rules of single tables
(``assets.checks``).
"""

from collections.abc import Mapping

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


def table_metadata(table: str, written: int) -> Mapping[str, object]:
    """Return what every materialization says about its table."""
    return {
        "dagster/table_name": table,
        "dagster/partition_row_count": written,
        "dagster/column_schema": column_schema(table),
    }
