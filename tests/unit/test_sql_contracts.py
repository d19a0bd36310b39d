"""SQL files: contracts equal what the database makes of them, and every statement binds on an empty store."""

import re
from datetime import date
from pathlib import Path

import pytest

import sql
from dagster_project.warehouse import Session, Warehouse

DAYS = {"first", "last", "as_of"}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory):
    with Warehouse(path=str(tmp_path_factory.mktemp("store") / "empty.duckdb")).session() as session:
        yield session


def placeholders(kind: str, name: str) -> dict[str, object]:
    return {p: date(2020, 1, 1) if p in DAYS else "x" for p in re.findall(r"\$(\w+)", sql.text(kind, name))}


@pytest.mark.parametrize("name", sql.names("tables"))
def test_contract_equals_the_table_that_the_database_makes(empty: Session, name: str) -> None:
    contract = sql.table(name)
    made = empty._connection.execute(
        "select column_name, lower(data_type), not is_nullable, comment from duckdb_columns() "
        "where table_name = $name order by column_index",
        {"name": name},
    ).fetchall()
    assert made == [(c.name, c.type, c.is_required, c.meaning) for c in contract.columns]
    about = empty._connection.execute(
        "select comment from duckdb_tables() where table_name = $name", {"name": name}
    ).fetchall()
    assert about == [(contract.about,)]


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k in ("queries", "checks") for n in sql.names(k)])
def test_statement_runs_on_an_empty_store(empty: Session, kind: str, name: str) -> None:
    run = empty.query if kind == "queries" else empty.check
    rows = run(name, **placeholders(kind, name))
    assert rows.empty
    assert len(rows.columns) > 0
    assert list(rows.columns) == list(dict.fromkeys(rows.columns))


def test_every_table_can_be_judged_by_its_grain(empty: Session) -> None:
    for contract in sql.tables():
        assert empty.contract_failures(contract.name).empty
        assert list(empty.everything(contract.name).columns) == [c.name for c in contract.columns]


def test_tables_come_by_name_and_all() -> None:
    folder = Path(sql.__file__).parent / "tables"
    assert [c.name for c in sql.tables()] == sorted(p.stem for p in folder.glob("*.sql"))


SOUND = """-- @table sample
-- @grain day, symbol
-- @partition day
-- @about A sample.
create table if not exists sample (
    day date not null, -- UTC day
    symbol varchar not null, -- market (canonical)
    close_usd double -- last trade; null where unknown
)
"""


def parse(monkeypatch: pytest.MonkeyPatch, body: str) -> sql.TableContract:
    monkeypatch.setattr(sql, "text", lambda kind, name: body)
    return sql.table.__wrapped__("sample")


def test_a_sound_file_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    contract = parse(monkeypatch, SOUND)
    assert contract.grain == ("day", "symbol")
    assert contract.partition == "day"
    assert contract.about == "A sample."
    assert contract.columns == (
        sql.Column("day", "date", True, "UTC day"),
        sql.Column("symbol", "varchar", True, "market (canonical)"),
        sql.Column("close_usd", "double", False, "last trade; null where unknown"),
    )
    assert "@" not in contract.ddl
    assert parse(monkeypatch, SOUND.replace("partition day", "partition none")).partition is None


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        (" -- UTC day", "", "day date not null,"),
        ("-- @grain day, symbol\n", "", "@grain"),
        ("-- @about A sample.\n", "", "@about"),
        ("@table sample", "@table other", "'other'"),
        ("grain day, symbol", "grain day, market", "'market'"),
        ("@partition day", "@partition month", "'month'"),
        ("symbol varchar not null", "day varchar not null", "day stands twice"),
        ("if not exists sample (", "if not exists other (", "create table if not exists sample ("),
    ],
)
def test_a_broken_file_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, old: str, new: str, word: str) -> None:
    assert old in SOUND
    with pytest.raises(sql.ContractError, match=re.escape(word)) as caught:
        parse(monkeypatch, SOUND.replace(old, new))
    assert "sql/tables/sample.sql" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("queries", "../tables/price"), ("queries", "nothing"), ("secrets", "prices"), ("queries", "")],
)
def test_an_unknown_statement_is_refused(kind: str, name: str) -> None:
    with pytest.raises(KeyError, match=rf"sql/{kind}/"):
        sql.text(kind, name)


def test_an_unknown_statement_lists_those_there_are() -> None:
    with pytest.raises(KeyError, match="prices"):
        sql.text("queries", "price")
