"""SQL texts and the contracts that table files carry in their headers.

What lives here: finding a statement by name, and reading a table's grain, columns, units and meanings from
its file. What does not: connections, parameters, rules (those are the files themselves).
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

KINDS = ("tables", "queries", "checks", "commands", "loads")
_MIGRATION = re.compile(r"^(?P<version>\d{4})_[a-z_]+\.sql$")
_NAME = re.compile(r"^[a-z][a-z0-9_]*$")
_COLUMN = re.compile(r"^    (?P<name>[a-z_0-9]+) (?P<type>[a-z]+)(?P<required> not null)?,? -- (?P<meaning>.+)$")


class ContractError(ValueError):
    """A table file breaks the form of a contract; the message names file and line."""


@dataclass(frozen=True)
class Column:
    """One column: its type, whether it may be null, and what it means in which unit."""

    name: str
    type: str
    is_required: bool
    meaning: str


@dataclass(frozen=True)
class TableContract:
    """What a table file promises.

    Attributes
    ----------
    name, about
        Table and purpose.
    grain
        Columns that identify a row.
    partition
        Column of the day, or None.
    columns
        In file order.
    ddl
        The statement that makes the table.
    """

    name: str
    grain: tuple[str, ...]
    partition: str | None
    about: str
    columns: tuple[Column, ...]
    ddl: str


@cache
def text(kind: str, name: str) -> str:
    """Return a statement.

    Parameters
    ----------
    kind
        ``tables``, ``queries``, ``checks``, ``commands`` or ``loads``.
    name
        File name without its ending.

    Raises
    ------
    KeyError
        Where there is no such file; lists those there are.
    """
    if kind not in KINDS or not _NAME.match(name):
        raise KeyError(f"sql/{kind}/{name}.sql: not a name of a statement")
    path = resources.files("sql").joinpath(kind, f"{name}.sql")
    if not path.is_file():
        raise KeyError(f"sql/{kind}/{name}.sql: no such file; there are {', '.join(names(kind))}")
    return path.read_text(encoding="utf-8")


@cache
def names(kind: str) -> tuple[str, ...]:
    """List the statements of a kind, sorted."""
    folder = resources.files("sql").joinpath(kind)
    return tuple(sorted(p.name.removesuffix(".sql") for p in folder.iterdir() if p.name.endswith(".sql")))


@cache
def table(name: str) -> TableContract:
    """Read the contract of a table from its file.

    Raises
    ------
    ContractError
        Where a header line is missing, a column has no meaning, or the grain names no column.
    """
    body = text("tables", name)
    header = dict(re.findall(r"^-- @(\w+) (.+)$", body, re.M))
    for key in ("table", "grain", "partition", "about"):
        if key not in header:
            raise ContractError(f"sql/tables/{name}.sql: header line '-- @{key} ...' is missing")
    if header["table"] != name:
        raise ContractError(f"sql/tables/{name}.sql: says it is table {header['table']!r}")
    columns: list[Column] = []
    opened = re.search(rf"^create table if not exists {name} \($", body, re.M)
    closed = body.rfind("\n)")
    if opened is None or closed < opened.end():
        raise ContractError(f"sql/tables/{name}.sql: 'create table if not exists {name} (' and ')' must stand alone")
    for line in body[opened.end() + 1 : closed].splitlines():
        found = _COLUMN.match(line)
        if not found:
            raise ContractError(f"sql/tables/{name}.sql: {line.strip()!r} is not 'name type [not null], -- meaning'")
        if found["name"] in {column.name for column in columns}:
            raise ContractError(f"sql/tables/{name}.sql: column {found['name']} stands twice")
        columns.append(Column(found["name"], found["type"], found["required"] is not None, found["meaning"]))
    grain = tuple(part.strip() for part in header["grain"].split(","))
    known = {column.name for column in columns}
    for part in (*grain, *((header["partition"],) if header["partition"] != "none" else ())):
        if part not in known:
            raise ContractError(f"sql/tables/{name}.sql: {part!r} in the header is no column")
    partition = None if header["partition"] == "none" else header["partition"]
    ddl = "\n".join(line for line in body.splitlines() if not line.startswith("-- @"))
    return TableContract(name, grain, partition, header["about"], tuple(columns), ddl)


def tables() -> tuple[TableContract, ...]:
    """Every contract, by name."""
    return tuple(table(name) for name in names("tables"))


@cache
def migrations() -> dict[int, str]:
    """Statements that bring a store of the version before to each version, by that version, ascending."""
    folder = resources.files("sql").joinpath("migrations")
    found = {}
    for path in folder.iterdir():
        name = _MIGRATION.match(path.name)
        if name:
            found[int(name["version"])] = path.read_text(encoding="utf-8")
    return dict(sorted(found.items()))
