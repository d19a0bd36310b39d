"""One store, many processes: no committed row is lost, waiters name the holder, a kill keeps the old rows."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dagster_project.warehouse import Warehouse, WarehouseBusy, WarehouseError

ROOT = Path(__file__).resolve().parents[2]
PROCESSES, BATCHES, ROWS = 3, 60, 100

COMMON = """
import os, signal, sys, time
from datetime import date
import pandas as pd
from dagster_project.warehouse import Warehouse

def put(session, name, rows):
    frame = pd.DataFrame({"source_sha256": [f"{name}-{i}" for i in range(rows)]}).assign(
        source="test", origin="o", raw_path="p", byte_count=1, row_count=1, accepted_count=1,
        quarantined_count=0, known_at=pd.Timestamp("2022-01-01"))
    session.insert("raw_file", frame)
    session.record_commit(stage=name, as_of=date(2022, 1, 1), run_id="r", input_hash="i", output_hash="o",
                          code="1", config_hash="c", row_count=rows)

def say(word):
    print(word, flush=True)

warehouse = Warehouse(path=sys.argv[1], lock_wait_seconds=300)
"""
HAND_ROUND = """
for batch in range(int(sys.argv[3])):
    with warehouse.session() as session, session.transaction():
        put(session, f"{sys.argv[2]}-{batch}", int(sys.argv[4]))
"""
HOLD = """
with warehouse.session():
    say("held")
    sys.stdin.readline()
"""
DIE_INSIDE = """
with warehouse.session() as session, session.transaction():
    put(session, "dead", 1000)
    say("inside")
    sys.stdin.readline()
"""
DIE_AFTER_COMMIT = """
with warehouse.session() as session:
    for name in ("second", "third"):
        with session.transaction():
            put(session, name, 50)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", COMMON + script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def finished(script: str, *arguments: object) -> int:
    process = start(script, *arguments)
    process.communicate(timeout=60)
    return process.returncode


@contextmanager
def running(script: str, path: Path, word: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has said ``word`` and waits; it ends when a line comes, or here."""
    process = start(script, path)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == word
        yield process
    finally:
        process.kill()
        process.communicate()


def rows_of(path: Path) -> tuple[int, int, list[int]]:
    with Warehouse(path=str(path)).session() as session:
        rows = session.everything("raw_file")
        return (
            len(rows),
            rows["source_sha256"].nunique(),
            list(session.everything("commit_ledger")["commit_number"]),
        )


@pytest.mark.slow
def test_three_processes_in_turn_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "round.duckdb"
    processes = [start(HAND_ROUND, path, name, BATCHES, ROWS) for name in range(PROCESSES)]
    assert [process.wait(timeout=300) for process in processes] == [0] * PROCESSES
    for process in processes:
        process.communicate()
    count, distinct, commits = rows_of(path)
    assert count == distinct == PROCESSES * BATCHES * ROWS
    assert commits == list(range(1, PROCESSES * BATCHES + 1))


def test_a_waiter_names_the_holder_and_gives_up_in_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "held.duckdb"
    with running(HOLD, path, "held") as holder:
        started = time.monotonic()
        with (
            caplog.at_level(logging.WARNING, "plimsoll.warehouse"),
            pytest.raises(WarehouseBusy, match=rf"held\.duckdb is held by process {holder.pid} since .*run again"),
            Warehouse(path=str(path), lock_wait_seconds=0.5).session(),
        ):
            pass
        assert 0.5 <= time.monotonic() - started < 5
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1, "said once, not at every look"
    assert f"waiting for {path}, held by process {holder.pid}" in told[0]


def test_a_waiter_goes_on_when_the_holder_ends(tmp_path: Path) -> None:
    path = tmp_path / "held.duckdb"
    with running(HOLD, path, "held") as holder:
        assert holder.stdin is not None
        holder.stdin.write("\n")
        holder.stdin.flush()
        with Warehouse(path=str(path), lock_wait_seconds=60).session() as session:
            assert session.last_commit() == 0
        assert holder.wait(timeout=60) == 0


def test_a_kill_inside_a_transaction_leaves_the_old_rows_and_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "killed.duckdb"
    assert finished(HAND_ROUND, path, "before", 1, 10) == 0
    with running(DIE_INSIDE, path, "inside") as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert rows_of(path) == (10, 10, [1])


def test_a_kill_after_a_commit_keeps_it_and_a_cut_log_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "killed.duckdb"
    assert finished(HAND_ROUND, path, "before", 1, 10) == 0
    assert finished(DIE_AFTER_COMMIT, path) == -signal.SIGKILL
    log = Path(f"{path}.wal")
    whole, data = log.read_bytes(), path.read_bytes()
    for kept in (0, len(whole) // 3, len(whole) - 5):
        path.write_bytes(data)
        log.write_bytes(whole[:kept])
        with pytest.raises(WarehouseError, match=r"commits [23]\.\.3 are missing"):
            rows_of(path)
    path.write_bytes(data)
    log.write_bytes(whole)
    assert rows_of(path) == (110, 110, [1, 2, 3])
