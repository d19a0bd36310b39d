"""Backups: a verified copy of each night's store, so many of them, and the sign of life that follows."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from faults_support import Commands, Night
from operations_support import copied
from tests_support import noted

from dagster_project import heartbeat
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse, WarehouseError, copies


@pytest.fixture
def store(tmp_path: Path) -> Warehouse:
    return Warehouse(path=str(tmp_path / "plimsoll.duckdb"), lock_wait_seconds=0.2)


def commit(store: Warehouse, name: str) -> None:
    row = {"source_sha256": name, "source": "s", "origin": "o", "raw_path": "p", "byte_count": 1, "row_count": 1}
    row |= {"accepted_count": 1, "quarantined_count": 0, "known_at": pd.Timestamp("2022-01-01")}
    with store.session() as session, session.transaction():
        session.insert("raw_file", pd.DataFrame([row]))
        noted(session)


def test_a_copy_is_the_store_and_an_unchanged_store_makes_no_other(store: Warehouse, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    commit(store, "a")
    first, is_new = store.back_up(folder, keep=3)
    assert is_new
    assert first.name == "plimsoll-00000001.duckdb"
    assert copies.sound(first).rows["raw_file"] == 1
    again, is_new = store.back_up(folder, keep=3)
    assert (again, is_new) == (first, False)
    with duckdb.connect(str(first), read_only=True) as opened:
        assert opened.execute("select source_sha256 from raw_file").fetchall() == [("a",)]


def test_so_many_copies_stay_and_the_oldest_go(store: Warehouse, tmp_path: Path) -> None:
    for name in "abcd":
        commit(store, name)
        store.back_up(tmp_path / "backup", keep=2)
    assert [path.name for path in copies.everyone(tmp_path / "backup")] == [
        "plimsoll-00000004.duckdb",
        "plimsoll-00000003.duckdb",
    ]
    assert sorted(path.suffix for path in (tmp_path / "backup").iterdir()) == [".duckdb", ".duckdb", ".json", ".json"]


def test_a_damaged_copy_of_this_very_store_is_made_anew(store: Warehouse, tmp_path: Path) -> None:
    commit(store, "a")
    made, _ = store.back_up(tmp_path / "backup", keep=2)
    made.write_bytes(made.read_bytes()[:-100])
    with pytest.raises(WarehouseError, match="its bytes are not those that were written"):
        copies.sound(made)
    assert store.back_up(tmp_path / "backup", keep=2) == (made, True)
    assert copies.sound(made).commit == 1


def test_a_copy_that_reads_back_wrong_gets_no_name(
    store: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(store, "a")
    real = shutil.copyfileobj

    def careless(source: object, target: object, length: int = 0) -> None:
        real(source, target, length)  # type: ignore[call-overload]
        for at in range(4096, target.tell(), 4096):  # type: ignore[attr-defined]
            target.seek(at)  # type: ignore[attr-defined]
            target.write(b"\xff" * 64)  # type: ignore[attr-defined]

    monkeypatch.setattr(shutil, "copyfileobj", careless)
    with pytest.raises(WarehouseError, match=r"cannot be read|has commit"):
        store.back_up(tmp_path / "backup", keep=2)
    assert list((tmp_path / "backup").iterdir()) == []


@pytest.mark.slow
def test_a_night_ends_with_its_copy_and_a_sign_of_life(tmp_path: Path, calm: Night, plimsoll: Commands) -> None:
    place = copied(calm, tmp_path / "desk", plimsoll)
    life = json.loads((place.profile / heartbeat.NAME).read_text())
    copy = place.profile / "backup" / life["backup"]
    assert copies.sound(copy).commit == life["commit"]
    assert (life["as_of"], life["profile"], life["status"]) == (calm.day, "small", "proposed")
    assert life["mails"] == {"filed": 2}
    assert life["finished_at"].endswith("Z")
    # A night that does not reach its end leaves the old sign of life.
    before = (place.profile / heartbeat.NAME).read_bytes()
    shutil.rmtree(place.profile / "backup")
    (place.profile / "backup").write_text("a file where the folder belongs")
    told = place("report", "--as-of", calm.day, "--stage", "backup", environment={"PLIMSOLL_NOW": "2022-07-09T00:30"})
    assert told.code == 1
    assert (place.profile / heartbeat.NAME).read_bytes() == before
    (place.profile / "backup").unlink()
    assert place("report", "--as-of", calm.day, "--stage", "backup").code == 0
    assert copies.sound(copy).commit == life["commit"]


def test_a_sign_of_life_grows_old(profile: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    on = profile.model_copy(update={"profile": profile.profile.model_copy(update={"is_schedule_on": True})})
    assert "no night has ended yet" in str(heartbeat.overdue(on))
    path = heartbeat.path_of(on)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"finished_at": "2022-06-30T00:40:00Z"}))
    end = pd.Timestamp("2022-06-30T00:40:00")
    for age, is_late in ((heartbeat.LATE - timedelta(minutes=1), False), (heartbeat.LATE + timedelta(minutes=1), True)):
        monkeypatch.setenv("PLIMSOLL_NOW", (end + age).isoformat())
        assert (heartbeat.overdue(on) is not None) == is_late
        assert heartbeat.overdue(profile) is None, "none is due where no night is scheduled"
    path.write_text("torn {")
    assert "cannot be read" in str(heartbeat.overdue(on))
