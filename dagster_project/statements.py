"""Statements that every table needs, assembled from its contract.

What lives here: insert, append-a-revision, delete-a-market and describe, for any table of ``sql/tables``.
Only identifiers of the contracts reach these texts; values come by parameter or as a registered frame named
``incoming``. What does not: questions and checks (``sql``), connections (``warehouse``).
"""

# ruff: noqa: S608  (names come from the contracts in sql/tables, never from data)

from collections.abc import Iterable, Iterator

from sql import TableContract

NOT_COMPARED = ("revision", "vintage")
"""Columns that do not make a row another one: a reconstructed row equals the live one."""

SCHEMA = "select table_name, column_name, data_type, is_nullable from information_schema.columns order by all"


TABLES = "select distinct table_name from information_schema.tables order by all"


def read_all(table: str) -> str:
    """Return the number of rows, having read every value of them."""
    return f"select count(*) as row_count, bit_xor(hash({table})) as content from {table}"


def select_all(contract: TableContract) -> str:
    """Return every row in the order of the grain."""
    return f"select {_names(contract)} from {contract.name} order by {', '.join(contract.grain)}"


def select_symbol(contract: TableContract) -> str:
    """Return a market's rows (``$symbol``) in the order of the grain."""
    order = ", ".join(contract.grain)
    return f"select {_names(contract)} from {contract.name} where symbol = $symbol order by {order}"


def delete_symbol(contract: TableContract) -> str:
    """Delete a market's rows (``$symbol``)."""
    return f"delete from {contract.name} where symbol = $symbol"


def insert(contract: TableContract) -> str:
    """Insert ``incoming`` as it is."""
    return f"insert into {contract.name} by name select {_typed(contract)} from incoming"


def repeated_grain(contract: TableContract) -> str:
    """Return grains that stand more than once; nulls count as equal."""
    grain = ", ".join(contract.grain)
    return (
        f"select {grain}, count(*) as row_count from {contract.name} "
        f"group by {grain} having count(*) > 1 order by {grain}"
    )


def append(contract: TableContract, key: tuple[str, ...]) -> str:
    """Insert rows of ``incoming`` that differ from the newest revision of their key, as the next revision."""
    compared = [c.name for c in contract.columns if c.name not in (*NOT_COMPARED, *key)]
    on = " and ".join(f"i.{name} is not distinct from n.{name}" for name in key)
    differs = " or ".join(["false", *(f"i.{name} is distinct from n.{name}" for name in compared)])
    since = ""
    if contract.partition in key:
        # Rows before the first incoming day cannot match; this spares ranking the whole history each night.
        since = f"where {contract.partition} >= (select min({contract.partition}) from typed)"
    listed = ", ".join(f"i.{c.name}" for c in contract.columns if c.name != "revision")
    return (
        f"insert into {contract.name} by name "
        f"with typed as (select {_typed(contract, ('revision',))} from incoming), "
        f"newest as (select {_names(contract)} from {contract.name} {since} "
        f"qualify row_number() over (partition by {', '.join(key)} order by revision desc) = 1) "
        f"select {listed}, coalesce(n.revision, 0) + 1 as revision "
        f"from typed as i left join newest as n on {on} "
        f"where n.revision is null or {differs}"
    )


def row_counts(contracts: Iterable[TableContract]) -> str:
    """Return the number of rows of every table."""
    one = "select '{0}' as name, count(*) as row_count from {0}"
    return " union all ".join(one.format(contract.name) for contract in contracts)


def comments(contract: TableContract) -> Iterator[str]:
    """Yield the statements that carry meanings into the database."""
    yield f"comment on table {contract.name} is {_quoted(contract.about)}"
    for column in contract.columns:
        yield f"comment on column {contract.name}.{column.name} is {_quoted(column.meaning)}"


def setting(name: str, value: object) -> str:
    """Return a SET statement of a setting that the caller fixes in code."""
    return f"set {name} = {_quoted(value) if isinstance(value, str) else str(value).lower()}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _names(contract: TableContract) -> str:
    return ", ".join(column.name for column in contract.columns)


def _typed(contract: TableContract, absent: tuple[str, ...] = ()) -> str:
    return ", ".join(f"cast({c.name} as {c.type}) as {c.name}" for c in contract.columns if c.name not in absent)
