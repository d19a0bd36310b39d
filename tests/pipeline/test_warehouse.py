"""Warehouse: revisions are appended, commits are noted outside, damage is named, and nothing else gets in."""

import json
import shutil
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import noted

import sql
from dagster_project import files
from dagster_project.warehouse import Session, Warehouse, WarehouseError, frame_hash
from dagster_project.warehouse.schema import SCHEMA_VERSION

KEY = ("date", "symbol", "source")
FORECAST_KEY = ("as_of", "target_date", "symbol", "model", "methodology", "config_hash")


def candle_rows(days: list[str], closes: list[float], symbol: str = "AAA") -> pd.DataFrame:
    n = len(days)
    return pd.DataFrame(
        {
            "date": pd.to_datetime(days),
            "symbol": symbol,
            "source": "test",
            "open_usd": np.nan,
            "high_usd": np.nan,
            "low_usd": np.nan,
            "close_usd": closes,
            "volume": np.full(n, np.nan),
            "volume_unit": "none",
            "known_at": pd.Timestamp("2022-01-01"),
            "is_known_at_assumed": True,
            "source_sha256": "0" * 64,
        }
    )


def forecast_rows(vintage: str, sigma: float) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "as_of": [pd.Timestamp("2022-01-01")],
            "target_date": pd.Timestamp("2022-01-02"),
            "symbol": "AAA",
            "model": "garch_t",
            "methodology": "1",
            "config_hash": "c",
            "vintage": vintage,
            "mu_daily": 0.0,
            "sigma_daily": sigma,
            "sigma_long_run_daily": sigma,
            "sigma_eff_daily": sigma,
            "nu": np.nan,
            "rung": "garch_t",
            "fit_end": pd.NaT,
            "return_count": 500,
            "input_hash": "h",
        }
    )


@pytest.fixture
def store(tmp_path: Path) -> Warehouse:
    return Warehouse(path=str(tmp_path / "store" / "plimsoll.duckdb"), lock_wait_seconds=0.2)


def put(store: Warehouse, frame: pd.DataFrame) -> int:
    with store.session() as session, session.transaction():
        written = session.append("candle", frame, key=KEY)
        noted(session, written)
    return written


def test_equal_rows_are_not_written_again_and_others_become_revisions(store: Warehouse) -> None:
    days = ["2022-01-01", "2022-01-02"]
    assert put(store, candle_rows(days, [1.0, 2.0])) == 2
    assert put(store, candle_rows(days, [1.0, 2.0])) == 0
    assert put(store, candle_rows(days, [1.0, 2.5])) == 1
    assert put(store, candle_rows(days, [1.0, 2.5])) == 0
    assert put(store, candle_rows(days, [1.0, 2.0])) == 1, "a value that returns is news again"
    with store.session() as session:
        rows = session.everything("candle")
        assert session.check("candle_revisions", last=date(2022, 1, 9)).empty
    assert list(zip(rows["close_usd"], rows["revision"], strict=True)) == [
        (1.0, 1),
        (2.0, 1),
        (2.5, 2),
        (2.0, 3),
    ]


def test_a_reconstructed_row_equals_the_live_one_and_leaves_it_alone(store: Warehouse) -> None:
    with store.session() as session, session.transaction():
        noted(session)
        assert session.append("volatility_forecast", forecast_rows("live", 0.02), key=FORECAST_KEY) == 1
        assert session.append("volatility_forecast", forecast_rows("reconstructed", 0.02), key=FORECAST_KEY) == 0
        assert session.append("volatility_forecast", forecast_rows("reconstructed", 0.03), key=FORECAST_KEY) == 1
        rows = session.everything("volatility_forecast")
    assert list(rows["vintage"]) == ["live", "reconstructed"]
    assert list(rows["revision"]) == [1, 2]


@given(
    history=st.lists(
        st.dictionaries(st.integers(1, 4), st.sampled_from([1.0, 2.0, None]), min_size=1),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=25, deadline=None)
def test_append_equals_a_model_of_it(
    appending: tuple[Session, list[int]], history: list[dict[int, float | None]]
) -> None:
    session, count = appending
    count[0] += 1
    symbol, model = f"H{count[0]}", {}
    for write in history:
        frame = candle_rows([f"2022-01-0{day}" for day in write], [5.0] * len(write), symbol)
        frame["volume"] = [np.nan if value is None else value for value in write.values()]
        expected = [d for d, value in write.items() if not model.get(d) or model[d][-1] != value]
        assert session.append("candle", frame, key=KEY) == len(expected)
        for day in expected:
            model.setdefault(day, []).append(write[day])
    rows = session.everything("candle").query("symbol == @symbol")
    stored: dict[int, list[float | None]] = {}
    for row in rows.sort_values(["date", "revision"]).itertuples():
        stored.setdefault(row.date.day, []).append(None if np.isnan(row.volume) else row.volume)
    assert stored == model


@pytest.fixture(scope="module")
def appending(tmp_path_factory: pytest.TempPathFactory):
    with Warehouse(path=str(tmp_path_factory.mktemp("model") / "x.duckdb")).session() as session:
        yield session, [0]


def test_a_key_that_stands_twice_is_refused_and_listed(store: Warehouse) -> None:
    frame = pd.concat([candle_rows(["2022-01-01", "2022-01-02"], [1.0, 2.0]), candle_rows(["2022-01-02"], [3.0])])
    with pytest.raises(WarehouseError, match=r"candle: 1 key\(s\) .*2022-01-02.*'AAA'"):
        put(store, frame)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="volume"), r"candle: columns missing \['volume'\], unknown \[\]"),
        (lambda f: f.assign(colour="red"), r"unknown \['colour'\]"),
        (lambda f: f.assign(revision=1), r"unknown \['revision'\]"),
        (lambda f: f.assign(close_usd=[1.0, np.nan]), r"candle.close_usd is null at .*2022-01-02.*'AAA'"),
        (lambda f: f.assign(symbol=["AAA", None]), r"candle.symbol is null"),
    ],
)
def test_a_frame_must_keep_the_contract(store: Warehouse, change, message: str) -> None:
    with pytest.raises(WarehouseError, match=message):
        put(store, change(candle_rows(["2022-01-01", "2022-01-02"], [1.0, 2.0])))
    with store.session() as session:
        assert session.everything("candle").empty
        assert session.last_commit() == 0


def price_rows(closes: list[float], symbol: str = "AAA") -> pd.DataFrame:
    n = len(closes)
    return pd.DataFrame(
        {
            "date": pd.date_range("2022-01-01", periods=n),
            "symbol": symbol,
            "source": "test",
            "open_usd": np.nan,
            "high_usd": np.nan,
            "low_usd": np.nan,
            "close_usd": closes,
            "previous_close_usd": [np.nan, *closes[:-1]],
            "volume_usd": np.nan,
            "adv_usd": np.nan,
            "bar_number": range(1, n + 1),
            "gap_sessions": 0,
            "is_return_valid": [False] + [True] * (n - 1),
            "is_known_at_assumed": True,
            "price_hash": [str(close) for close in closes],
        }
    )


def test_replace_touches_one_market_and_only_when_its_content_differs(store: Warehouse) -> None:
    with store.session() as session, session.transaction():
        noted(session)
        assert session.replace("price", price_rows([9.0], "BBB"), symbol="BBB") == 1
        assert session.replace("price", price_rows([1.0, 2.0]), symbol="AAA") == 2
    with store.session() as session, session.transaction():
        noted(session)
        assert session.replace("price", price_rows([1.0, 2.0]), symbol="AAA") == 0
        assert session.replace("price", price_rows([1.0, 2.0])[::-1], symbol="AAA") == 0
        assert session.replace("price", price_rows([1.0, 2.0, 3.0]), symbol="AAA") == 3
        assert session.replace("price", price_rows([1.0]), symbol="AAA") == 1
        rows = session.everything("price")
        with pytest.raises(WarehouseError, match="rows of BBB among those that replace AAA"):
            session.replace("price", price_rows([1.0], "BBB"), symbol="AAA")
    assert sorted(zip(rows["symbol"], rows["close_usd"], strict=True)) == [("AAA", 1.0), ("BBB", 9.0)]


@pytest.mark.parametrize(
    "broken",
    [
        {"close_usd": [1.0, -2.0]},
        {"low_usd": [np.nan, 2.5]},
        {"high_usd": [np.nan, 1.5]},
        {"open_usd": [0.0, np.nan]},
        {"previous_close_usd": [np.nan, 1.5]},
        {"bar_number": [1, 3]},
    ],
)
def test_the_price_check_sees_what_it_must(store: Warehouse, broken: dict[str, list[float]]) -> None:
    with store.session() as session, session.transaction():
        noted(session)
        session.insert("price", price_rows([1.0, 2.0], "FINE"))
        assert session.check("price_broken", last=date(2022, 2, 1)).empty
        session.insert("price", price_rows([1.0, 2.0]).assign(**broken))
        bad = session.check("price_broken", last=date(2022, 2, 1))
    assert set(bad["symbol"]) == {"AAA"}


def test_the_grain_check_counts_nulls_as_equal(store: Warehouse) -> None:
    row = {
        "symbol": "AAA",
        "source": "t",
        "row_number": 1,
        "reason": "unreadable_date",
        "detail": "",
        "source_sha256": "0",
    }
    frame = pd.DataFrame([row]).assign(date=pd.NaT, open_usd=1.0, high_usd=1.0, low_usd=1.0, close_usd=1.0, volume=1.0)
    with store.session() as session, session.transaction():
        noted(session)
        session.insert("candle_quarantine", frame)
        assert session.contract_failures("candle_quarantine").empty
        session.insert("candle_quarantine", frame)
        assert list(session.contract_failures("candle_quarantine")["row_count"]) == [2]


def test_a_failing_stage_leaves_nothing(store: Warehouse) -> None:
    put(store, candle_rows(["2022-01-01"], [1.0]))
    with pytest.raises(ZeroDivisionError), store.session() as session, session.transaction():
        session.append("candle", candle_rows(["2022-01-02"], [1.0]), key=KEY)
        noted(session)
        _ = 1 / 0
    with store.session() as session:
        assert len(session.everything("candle")) == 1
        assert session.last_commit() == 1
        with session.transaction():
            noted(session)
            assert session.append("candle", candle_rows(["2022-01-02"], [1.0]), key=KEY) == 1


def test_what_the_database_refuses_is_said_and_rolled_back(store: Warehouse) -> None:
    text = candle_rows(["2022-01-02"], [1.0]).assign(volume="plenty")
    with pytest.raises(WarehouseError, match=r"plimsoll.duckdb: rolled back, nothing of this stage is stored .*plenty"):
        put(store, text)
    with store.session() as session:
        assert session.last_commit() == 0


def test_transactions_do_not_nest_and_the_ledger_wants_one(store: Warehouse) -> None:
    with store.session() as session:
        with pytest.raises(WarehouseError, match="belongs into the transaction"):
            noted(session)
        with (
            session.transaction(),
            pytest.raises(WarehouseError, match="open already"),
            session.transaction(),
        ):
            pass


def test_sessions_do_not_nest_in_a_thread_but_other_stores_are_free(store: Warehouse, tmp_path: Path) -> None:
    other = Warehouse(path=str(tmp_path / "other.duckdb"))
    with store.session():
        with other.session():
            pass
        with pytest.raises(WarehouseError, match="open in this thread already"), store.session():
            pass
    with store.session() as session:
        assert session.last_commit() == 0


def test_a_failure_inside_frees_the_lock(store: Warehouse) -> None:
    with pytest.raises(RuntimeError), store.session():
        raise RuntimeError
    with store.session() as session:
        assert session.last_commit() == 0
    assert Path(f"{store.path}.lock").read_text() == ""


def written_down(store: Warehouse) -> tuple[int, dict[str, int]]:
    content = json.loads(Path(f"{store.path}.ledger").read_text())
    return content["commit"], {table: count for table, count in content["rows"].items() if count}


def test_rows_of_an_earlier_program_s_ledger_are_taken_over(store: Warehouse) -> None:
    put(store, candle_rows(["2022-01-01"], [1.0]))
    Path(f"{store.path}.ledger").write_text("1\n")
    with store.session():
        pass
    assert written_down(store) == (1, {"candle": 1, "commit_ledger": 1})


def test_a_row_that_went_missing_is_noticed_though_the_commit_is_there(store: Warehouse) -> None:
    put(store, candle_rows(["2022-01-01", "2022-01-02"], [1.0, 1.0]))
    with duckdb.connect(store.path) as connection:
        connection.execute("delete from candle where date = date '2022-01-01'")
    with pytest.raises(WarehouseError, match="at commit 1 table candle has 1 of 2 rows"), store.session():
        pass


def test_rows_need_a_row_in_the_ledger(store: Warehouse) -> None:
    with (
        store.session() as session,
        pytest.raises(WarehouseError, match="without a row in the commit ledger"),
        session.transaction(),
    ):
        session.append("candle", candle_rows(["2022-01-01"], [1.0]), key=("date", "symbol", "source"))
    with store.session() as session:
        assert session.row_counts()["candle"] == 0


def test_commits_count_up_and_stand_outside_too(store: Warehouse) -> None:
    for day in (1, 2, 3):
        put(store, candle_rows([f"2022-01-0{day}"], [1.0]))
    with store.session() as session:
        assert list(session.everything("commit_ledger")["commit_number"]) == [1, 2, 3]
    assert written_down(store) == (3, {"candle": 3, "commit_ledger": 3})


def test_a_store_that_was_rolled_back_is_refused(store: Warehouse, tmp_path: Path) -> None:
    put(store, candle_rows(["2022-01-01"], [1.0]))
    shutil.copy(store.path, tmp_path / "old.duckdb")
    for day in (2, 3):
        put(store, candle_rows([f"2022-01-0{day}"], [1.0]))
    shutil.copy(store.path, tmp_path / "new.duckdb")
    shutil.copy(tmp_path / "old.duckdb", store.path)
    with (
        pytest.raises(WarehouseError, match=r"rolled back or replaced: commits 2\.\.3 are missing\. Run"),
        store.session(),
    ):
        pass
    Path(store.path).unlink()
    with pytest.raises(WarehouseError, match=r"commits 1\.\.3 are missing"), store.session():
        pass
    shutil.copy(tmp_path / "new.duckdb", store.path)
    with store.session() as session:
        assert session.last_commit() == 3


def test_a_death_between_commit_and_side_file_heals(store: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, candle_rows(["2022-01-01"], [1.0]))

    def fails(path: Path, content: bytes) -> bool:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_atomic", fails)
        with pytest.raises(OSError, match="No space left"):
            put(store, candle_rows(["2022-01-02"], [1.0]))
    assert written_down(store)[0] == 1
    with store.session() as session:
        assert session.last_commit() == 2
    assert written_down(store)[0] == 2


def test_a_side_file_of_nonsense_is_named(store: Warehouse) -> None:
    put(store, candle_rows(["2022-01-01"], [1.0]))
    Path(f"{store.path}.ledger").write_text("many")
    with (
        pytest.raises(WarehouseError, match=r"plimsoll\.duckdb\.ledger: 'many' is no ledger"),
        store.session(),
    ):
        pass


def test_damage_is_named_with_what_to_do(store: Warehouse) -> None:
    path = Path(store.path)
    path.parent.mkdir()
    path.write_bytes(b"this is a diary, not a database" * 500)
    with (
        pytest.raises(WarehouseError, match=r"plimsoll\.duckdb: DuckDB cannot use it .*move plimsoll\.duckdb, "),
        store.session(),
    ):
        pass
    assert path.read_bytes().startswith(b"this is a diary"), "what is there stays"


def test_a_stranger_and_another_schema_are_refused(store: Warehouse, tmp_path: Path) -> None:
    Path(store.path).parent.mkdir()
    with duckdb.connect(store.path) as connection:
        connection.execute("create table songs (title varchar)")
    with pytest.raises(WarehouseError, match="a DuckDB file of something else"), store.session():
        pass
    ours = Warehouse(path=str(tmp_path / "ours.duckdb"))
    with ours.session():
        pass
    with duckdb.connect(ours.path) as connection:
        connection.execute("update schema_version set version = 99")
    with pytest.raises(WarehouseError, match=f"schema 99, this program knows {SCHEMA_VERSION}"), ours.session():
        pass


@pytest.mark.parametrize(
    "change",
    [
        "alter table breach drop column limit_log",
        "drop table outbox",
        "alter table price alter bar_number type varchar",
    ],
)
def test_a_table_that_is_not_what_its_file_says_is_refused(store: Warehouse, change: str) -> None:
    with store.session():
        pass
    with duckdb.connect(store.path) as connection:
        connection.execute(change)
    with (
        pytest.raises(WarehouseError, match=r"is not what sql/tables/(breach|outbox|price)\.sql says"),
        store.session(),
    ):
        pass


def test_tables_are_made_once_and_not_left_in_the_log(store: Warehouse) -> None:
    with store.session() as session:
        made = {row[0] for row in session._connection.execute("select table_name from duckdb_tables()").fetchall()}
        assert made == {*sql.names("tables"), "schema_version"}
        wal = Path(f"{store.path}.wal")
        assert not wal.exists() or wal.stat().st_size == 0
    written = Path(store.path).read_bytes()
    with store.session():
        pass
    assert Path(store.path).read_bytes() == written


@pytest.mark.parametrize(
    "statement",
    [
        "select content from read_text('/etc/passwd')",
        "select * from read_csv('/etc/passwd')",
        "select content from read_text('{folder}/x.duckdb.lock')",
        "copy (select 1) to '{folder}/out.csv'",
        "attach '{folder}/other.duckdb'",
        "export database '{folder}/dump'",
        "install httpfs",
        "load httpfs",
        "create persistent secret s (type s3)",
        "set enable_external_access = true",
        "set threads = 1",
        "set TimeZone = 'Europe/Brussels'",
        "reset lock_configuration",
        "select * from somewhere",
    ],
)
def test_the_connection_is_locked_down(locked: tuple[Session, Path], statement: str) -> None:
    session, folder = locked
    somewhere = pd.DataFrame({"a": [1]})
    assert len(somewhere) == 1
    with pytest.raises(duckdb.Error):
        session._connection.execute(statement.format(folder=folder)).fetchall()


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("locked")
    with Warehouse(path=str(folder / "x.duckdb")).session() as session:
        yield session, folder


def test_time_is_utc_and_resources_are_bounded(locked: tuple[Session, Path]) -> None:
    found = locked[0]._connection.execute("select current_setting('TimeZone'), current_setting('threads')").fetchall()
    assert found == [("UTC", 2)]


def test_a_symbol_that_is_sql_stays_a_symbol(store: Warehouse) -> None:
    evil = "x'; drop table candle; --"
    put(store, candle_rows(["2022-01-01"], [1.0], evil))
    with store.session() as session:
        assert list(session.everything("candle")["symbol"]) == [evil]
        assert session.query("newest_candles", source=evil).empty


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(WarehouseError, match="set PLIMSOLL_HOME"),
        Warehouse(path=str(tmp_path / "file" / "x.duckdb")).session(),
    ):
        pass


def test_frame_hash_knows_content_and_nothing_else() -> None:
    frame = pd.DataFrame({"b": [1.0, np.nan], "a": ["x", None], "d": pd.to_datetime(["2020-01-01", None])})
    same = pd.DataFrame(
        {
            "d": pd.Series(pd.to_datetime(["2020-01-01", None])).astype("datetime64[s]"),
            "a": pd.Series(["x", np.nan], dtype="str"),
            "b": pd.array([1, None], dtype="Int64"),
        }
    ).set_axis([7, 9])
    assert frame_hash(frame) == frame_hash(same)
    assert frame_hash(pd.DataFrame({"a": [0.0]})) == frame_hash(pd.DataFrame({"a": [-0.0]}))
    others = [
        frame.assign(b=[1.0, 2.0]),
        frame.assign(a=["x", "None"]),
        frame.rename(columns={"a": "c"}),
        frame[::-1],
        frame.iloc[:1],
        frame.assign(b=[np.nextafter(1.0, 2), np.nan]),
    ]
    assert len({frame_hash(one) for one in [frame, *others]}) == 7
