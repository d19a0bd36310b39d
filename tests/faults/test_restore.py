"""The drill: a store is lost in one way or another, and what a restore brings back is what was there."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import pandas as pd
import pytest

from benchmarks._crash import Nights, published, tables
from benchmarks._mail_server import Server, serve
from dagster_project import outbox, raw_files, restore
from dagster_project import settings as settings_module
from dagster_project.definitions import warehouse_of
from dagster_project.settings import Settings
from dagster_project.warehouse import WarehouseBusy, WarehouseError

FIRST, SECOND = date(2022, 5, 30), date(2022, 5, 31)


@dataclass
class Past:
    """Two undisturbed nights that were mailed, and what they left."""

    config: Path
    folder: Path
    environment: dict[str, str]
    server: Server
    tables: dict[str, pd.DataFrame]
    files: dict[str, bytes]
    arrivals: dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory, candles: pd.DataFrame) -> Iterator[Past]:
    folder = tmp_path_factory.mktemp("past")
    with serve(folder / "mail") as server, closing(Nights(folder / "desk", candles, server)) as nights:
        assert [nights.run(day) for day in (FIRST, SECOND)] == [0, 0]
        with nights.here() as settings:
            known = times_of_arrival(settings)
        yield Past(nights.config, nights.folder, nights.environment, server, nights.tables(), nights.files(), known)


class Desk:
    """A copy of that past that may be damaged."""

    def __init__(self, past: Past, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.past = past
        for name in ("var", "dagster"):
            shutil.copytree(past.folder / name, folder / name)
        for name, value in past.environment.items():
            patch.setenv(name, value)
        patch.setenv("PLIMSOLL_HOME", str(folder / "var"))
        patch.setenv("DAGSTER_HOME", str(folder / "dagster"))
        patch.setenv("PLIMSOLL_NOW", "2022-06-01T00:30:00")
        self.settings = settings_module.load(past.config)
        self.folder = settings_module.profile_folder(self.settings)
        self.store = self.folder / "plimsoll.duckdb"
        self.copies = sorted((self.folder / "backup").glob("*.duckdb"))
        self.before = len(past.server.box.mails)

    def flip(self, path: Path) -> None:
        """Change bytes all over a file."""
        content = bytearray(path.read_bytes())
        for at in range(4096, len(content), 8192):
            content[at] ^= 0xFF
        path.write_bytes(content)

    def is_as_it_was(self, *, but: tuple[str, ...] = ("commit_ledger",)) -> None:
        """Rows, times of arrival and files are those of the past, and no mail was sent again."""
        outbox.dispatch(self.settings, warehouse_of(self.settings))
        found = tables(self.settings)
        for name, rows in self.past.tables.items():
            if name not in but:
                assert sorted(map(repr, found[name].itertuples(index=False, name=None))) == sorted(
                    map(repr, rows.itertuples(index=False, name=None))
                ), name
        for name, rows in times_of_arrival(self.settings).items():
            pd.testing.assert_frame_equal(rows, self.past.arrivals[name], obj=name)
        assert published(self.settings) == self.past.files
        assert len(self.past.server.box.mails) == self.before
        assert self.past.server.box.twice() == []


def times_of_arrival(settings: Settings) -> dict[str, pd.DataFrame]:
    with warehouse_of(settings).session() as session:
        return {
            "candle": session.everything("candle")[["date", "symbol", "known_at"]].sort_values(
                ["date", "symbol"], ignore_index=True
            ),
            "raw_file": session.everything("raw_file")[["source_sha256", "known_at"]],
        }


@pytest.fixture
def desk(past: Past, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(past, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["flipped", "gone", "ledger gone", "of an earlier night"])
def test_the_newest_copy_takes_the_place_of_a_damaged_store(desk: Desk, harm: str) -> None:
    match harm:
        case "flipped":
            desk.flip(desk.store)
        case "gone":
            desk.store.unlink()
        case "ledger gone":
            desk.store.with_name("plimsoll.duckdb.ledger").write_text("no ledger")
        case "of an earlier night":
            shutil.copyfile(desk.copies[0], desk.store)
    with pytest.raises(WarehouseError, match="plimsoll restore"), warehouse_of(desk.settings).session():
        pass
    lost = desk.store.read_bytes() if desk.store.exists() else None
    done = restore.restore(desk.settings)
    assert (done.copy, done.days, done.inputs, done.mails) == (desk.copies[-1], (), 0, 0)
    kept = done.quarantine / desk.store.name
    assert (kept.read_bytes() if kept.exists() else None) == lost, "what was there is kept, as it was"
    desk.is_as_it_was(but=())


@pytest.mark.slow
def test_an_older_copy_is_brought_up_to_date_even_after_a_death_on_the_way(desk: Desk) -> None:
    """The newest copy is damaged as well: one night, its inputs and its mails come from files."""
    desk.flip(desk.store)
    desk.flip(desk.copies[-1])
    words = [sys.executable, "-m", "dagster_project.cli", "restore", "--config", str(desk.past.config)]
    died = subprocess.run(
        words, env={**os.environ, "PLIMSOLL_CRASH_AT": "restored store"}, capture_output=True, check=False
    )
    assert died.returncode == -9
    with pytest.raises(WarehouseError, match="plimsoll restore"), warehouse_of(desk.settings).session():
        pass
    done = restore.restore(desk.settings)
    assert (done.copy, done.days, done.differing, done.inputs) == (desk.copies[-2], (SECOND,), (), 1)
    assert done.mails == len(desk.past.server.box.mails) // 2
    desk.is_as_it_was()
    with warehouse_of(desk.settings).session() as session:
        assert set(session.query("outbox")["state"]) == {"accepted"}


@pytest.mark.slow
def test_without_a_copy_the_raw_files_are_enough(desk: Desk) -> None:
    desk.flip(desk.store)
    shutil.rmtree(desk.folder / "backup")
    with pytest.raises(restore.RestoreError, match=r"no sound copy: .*holds no copy.*--from-raw"):
        restore.restore(desk.settings)
    done = restore.restore(desk.settings, is_from_raw=True)
    assert (done.copy, done.days, done.differing) == (None, (FIRST, SECOND), ())
    desk.is_as_it_was()


def test_a_named_copy_is_used_or_refused(desk: Desk) -> None:
    desk.flip(desk.copies[0])
    with pytest.raises(restore.RestoreError, match=rf"{desk.copies[0].name}: its bytes are not those"):
        restore.restore(desk.settings, copy=desk.copies[0])
    desk.copies[0].with_suffix(".json").unlink()
    with pytest.raises(restore.RestoreError, match="no description beside it"):
        restore.restore(desk.settings, copy=desk.copies[0])
    desk.is_as_it_was(but=())
    done = restore.restore(desk.settings, copy=desk.copies[-1])
    assert done.copy == desk.copies[-1]
    desk.is_as_it_was(but=())


def test_a_store_in_use_is_left_alone(desk: Desk) -> None:
    hold = "import sys\nfrom dagster_project.warehouse import Warehouse\n"
    hold += f"with Warehouse(path={str(desk.store)!r}).session():\n print('held', flush=True)\n sys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    brief = warehouse_of(desk.settings).model_copy(update={"lock_wait_seconds": 0.2})
    with pytest.raises(WarehouseBusy, match=str(holder.pid)), brief.replaced(desk.folder / "quarantine"):
        pass
    holder.communicate("")
    desk.is_as_it_was(but=())


def test_a_sound_store_is_replaced_only_where_that_is_confirmed(desk: Desk) -> None:
    words = [sys.executable, "-m", "dagster_project.cli", "restore", "--config", str(desk.past.config)]
    told = subprocess.run(words, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert "add --confirm to replace it all the same" in told.stderr
    assert not list(desk.folder.glob("quarantine-*"))


def test_mails_without_a_journal_are_of_unknown_fate(desk: Desk) -> None:
    """Nobody can say which of them were sent, so none is sent."""
    desk.store.unlink()
    (desk.folder / "outbox" / "journal.jsonl").unlink()
    for copy in desk.copies:
        copy.unlink()
    with warehouse_of(desk.settings).replaced(desk.folder / "quarantine"):
        pass
    with warehouse_of(desk.settings).session() as session:
        adopted = restore._adopt_mails(session, desk.settings)
        states = set(session.query("outbox")["state"])
    assert adopted == len(desk.past.server.box.mails)
    assert states == {"unknown"}
    outbox.dispatch(desk.settings, warehouse_of(desk.settings))
    assert len(desk.past.server.box.mails) == desk.before


def test_bytes_that_were_kept_and_changed_are_refused(desk: Desk) -> None:
    (arrival, *_) = raw_files.arrivals(desk.settings)
    path = desk.folder / raw_files.path_of(desk.settings, arrival.source, arrival.source_sha256, arrival.suffix)
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    with pytest.raises(raw_files.RawFileError, match=rf"{path.name}: cannot be read .*copy of the folder"):
        raw_files.load(desk.settings, arrival)
    path.unlink()
    with pytest.raises(raw_files.RawFileError, match=path.name):
        raw_files.load(desk.settings, arrival)
    listed = path.with_name(raw_files.LIST)
    listed.write_text(listed.read_text() + "{}\n")
    with pytest.raises(raw_files.RawFileError, match=rf"{raw_files.LIST}, line 3: no arrival"):
        raw_files.arrivals(desk.settings)
    assert arrival.known_at == datetime(2022, 5, 31, 0, 30)
