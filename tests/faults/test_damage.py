"""Damaged and foreign files: a store opens with exactly what was committed, or says what it is and what to do."""

import os
import random
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from faults_support import Commands
from tests_support import noted

import sql
from dagster_project.warehouse import Warehouse, WarehouseBusy, WarehouseError

NAME = "plimsoll.duckdb"
WRITE = """
import os, signal
from datetime import date
import pandas as pd
from dagster_project.warehouse import Warehouse

def put(session, name, rows):
    with session.transaction():
        session.insert("raw_file", pd.DataFrame({{"source_sha256": [f"{{name}}-{{i}}" for i in range(rows)]}}).assign(
            source="test", origin="o", raw_path="p", byte_count=range(rows), row_count=1, accepted_count=1,
            quarantined_count=0, known_at=pd.Timestamp("2022-01-01")))
        session.record_commit(stage=name, as_of=date(2022, 1, 1), run_id="r", input_hash="i", output_hash="o",
                              code="1", config_hash="c", row_count=rows)

warehouse = Warehouse(path={path!r})
with warehouse.session() as session:
    put(session, "first", 300)
with warehouse.session() as session:
    for name in ("second", "third", "fourth"):
        put(session, name, 80)
    os.kill(os.getpid(), signal.SIGKILL)
"""
TOLD = r"plimsoll\.duckdb: DuckDB cannot use it .*plimsoll restore"
CORRUPT = "IO Error: Corrupt database file: computed checksum 1 does not match"
Contents = dict[str, bytes]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, plimsoll: Commands) -> Contents:
    """Files of a store whose process was killed with three commits in the log."""
    folder = tmp_path_factory.mktemp("killed")
    assert plimsoll(code=WRITE.format(path=str(folder / NAME))).code == -signal.SIGKILL
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(found[f"{NAME}.wal"]) > 10_000
    return found


@pytest.fixture
def lay(tmp_path: Path, killed: Contents) -> Callable[[Contents], Path]:
    """Put the files of the killed store down again, some of them changed."""

    def put(changed: Contents) -> Path:
        for name, content in {**killed, **changed}.items():
            (tmp_path / name).write_bytes(content)
        return tmp_path / NAME

    return put


def everything(path: Path) -> dict[str, pd.DataFrame]:
    with Warehouse(path=str(path)).session() as session:
        return {contract.name: session.everything(contract.name) for contract in sql.tables()}


def same(found: dict[str, pd.DataFrame], expected: dict[str, pd.DataFrame]) -> bool:
    return all(found[name].equals(rows) for name, rows in expected.items())


def refusal(path: Path) -> str:
    with pytest.raises(WarehouseError) as raised:
        everything(path)
    return str(raised.value)


def flipped(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


@pytest.mark.parametrize(
    ("victim", "harm", "times"),
    [(f"{NAME}.wal", cut, 40), (f"{NAME}.wal", flipped, 40), (NAME, flipped, 40), (NAME, cut, 10)],
    ids=["log cut", "log flipped", "database flipped", "database cut"],
)
def test_harm_is_told_or_does_no_harm(
    killed: Contents,
    lay: Callable[[Contents], Path],
    victim: str,
    harm: Callable[[bytes, random.Random], bytes],
    times: int,
) -> None:
    """Never fewer rows without a word; and what is refused stays as it was found."""
    expected = everything(lay({}))
    assert (len(expected["raw_file"]), len(expected["commit_ledger"])) == (540, 4)
    rng = random.Random(20)
    refused = 0
    for _ in range(times):
        content = harm(killed[victim], rng)
        path = lay({victim: content})
        try:
            found = everything(path)
        except WarehouseError as error:
            refused += 1
            assert str(path) in str(error)
            assert "plimsoll restore" in str(error)
            for name in (NAME, f"{NAME}.wal"):
                assert (path.parent / name).read_bytes() == (content if name == victim else killed[name]), name
        else:
            assert same(found, expected), "opened without a word, with other rows"
    assert refused > times / 2


def test_a_whole_commit_lost_from_the_log_is_seen_against_the_ledger(
    killed: Contents, lay: Callable[[Contents], Path]
) -> None:
    """DuckDB opens a log cut between two commits as if nothing had been: only our ledger knows."""
    log = f"{NAME}.wal"
    path = lay({log: killed[log][: len(killed[log]) * 2 // 3]})
    with duckdb.connect(str(path)) as connection:
        (count,) = connection.execute("select count(*) from raw_file").fetchall()[0]
    assert 300 <= count < 540
    assert "commits" in refusal(path)


def test_damage_that_shows_only_when_a_block_is_read(killed: Contents, lay: Callable[[Contents], Path]) -> None:
    with Warehouse(path=str(lay({}))).session() as session:
        assert len(session.everything("raw_file")) == 540
        with pytest.raises(WarehouseError, match=TOLD), session.transaction():
            noted(session)
            raise duckdb.IOException(CORRUPT)
    with (
        pytest.raises(WarehouseError, match=TOLD),
        Warehouse(path=str(lay({}))).session(),
    ):
        raise duckdb.IOException(CORRUPT)


def of_version(content: bytes, number: int) -> bytes:
    """Return a database whose header states another storage version, under a checksum that holds."""
    changed = bytearray(content)
    (checksum,) = struct.unpack_from("<Q", changed)
    struct.pack_into("<Q", changed, 12, number)
    for words in (struct.unpack_from("<2Q", content, 8), struct.unpack_from("<2Q", changed, 8)):
        for word in words:
            checksum ^= word * 0xBF58476D1CE4E5B9 % 2**64
    struct.pack_into("<Q", changed, 0, checksum)
    return bytes(changed)


def test_a_newer_duckdb_is_named_and_no_damage_alleged(killed: Contents, lay: Callable[[Contents], Path]) -> None:
    said = refusal(lay({NAME: of_version(killed[NAME], 1068)}))
    assert "plimsoll.duckdb: of another DuckDB" in said
    assert "version number 1068" in said
    assert "use the program that wrote it" in said
    assert "restore" not in said


def test_a_store_in_an_older_storage_version_goes_on(tmp_path: Path) -> None:
    path = tmp_path / NAME
    with Warehouse(path=str(path)).session() as session, session.transaction():
        noted(session)
    with duckdb.connect(str(tmp_path / "old"), config={"storage_compatibility_version": "v1.0.0"}) as connection:
        connection.execute(f"attach '{path}' as new (read_only)")
        connection.execute("copy from database new to old")
    (tmp_path / "old").replace(path)
    assert len(everything(path)["commit_ledger"]) == 1


@pytest.mark.parametrize("content", [b"", b"date,symbol\n2022-01-01,AAA\n" * 400, bytes(20_000)])
def test_a_file_that_is_no_database(killed: Contents, lay: Callable[[Contents], Path], content: bytes) -> None:
    path = lay({NAME: content})
    said = refusal(path)
    assert str(path) in said
    assert "plimsoll restore" in said
    assert path.read_bytes() == content


def test_an_empty_file_beside_an_empty_log_is_not_a_store_of_no_rows(
    killed: Contents, lay: Callable[[Contents], Path]
) -> None:
    said = refusal(lay({NAME: b"", f"{NAME}.wal": b""}))
    assert "plimsoll restore" in said


def test_a_viewer_that_has_the_file_open_is_named(tmp_path: Path) -> None:
    path = tmp_path / NAME
    with Warehouse(path=str(path)).session():
        pass
    look = "import duckdb, sys\nwith duckdb.connect(sys.argv[1], read_only=True): print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", look, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as viewer:
        assert viewer.stdout is not None
        assert viewer.stdout.readline() == "1\n"
        with pytest.raises(WarehouseBusy) as raised:
            everything(path)
        viewer.communicate("\n")
    said = str(raised.value)
    assert f"{path} is open in another program" in said
    assert f"PID {viewer.pid}" in said
    assert "restore" not in said
    assert len(everything(path)["commit_ledger"]) == 0


def test_a_lock_file_with_a_dead_holder_stops_nobody(tmp_path: Path) -> None:
    lock = tmp_path / f"{NAME}.lock"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    lock.write_text(f"{dead.pid} since 2022-01-01 00:00:00 UTC\n")
    with Warehouse(path=str(tmp_path / NAME), lock_wait_seconds=0).session() as session:
        assert session.last_commit() == 0
        assert lock.read_text().startswith(f"{os.getpid()} since ")
    assert lock.read_text() == ""


def test_half_a_database_from_a_kill_while_it_was_made_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.new").write_bytes(b"DUCK, begun")
    (tmp_path / f"{NAME}.new.wal").write_bytes(b"x")
    assert len(everything(tmp_path / NAME)["commit_ledger"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME, f"{NAME}.lock"]
