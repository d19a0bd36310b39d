"""A disk that is full or forbidden: the run says where and what to do, keeps what was committed, and goes on later."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from faults_support import KIB, Commands, Disk, Night, Told, small_disk
from tests_support import dump, files_of, make_profile

from dagster_project import files
from dagster_project import settings as settings_module
from dagster_project.definitions import warehouse_of
from dagster_project.settings import Settings

ROOMY = 200 * KIB
NOBODY = 65534
PAGE = 4 * KIB
"""What a file takes on the disk is a multiple of it."""
NOT_BACKTESTED = (
    "commit_ledger",
    "correlation",
    "size_tier",
    "exposure_cap",
    "implied_confidence",
    "attribution",
    "recommendation",
    "publication",
    "report",
    "outbox",
)
"""Tables that only a whole night fills."""
SLACK = 200
"""KiB: more than the store needs beside a report, less than one mail."""
LIMITS = (60, 150, 300, 1000)
"""KiB a file may have where no disk can be mounted: below the log, the raw file, the database, its next blocks."""


def plain(told: Told, *words: str) -> None:
    """One message for people that names the place, exit code 1, and nothing of Python's own."""
    assert told.code == 1, told
    assert "Traceback" not in told.out + told.err, told.err
    assert told.last.startswith("plimsoll: "), told.err
    for word in words:
        assert word in told.last, told.err


def only_whole(settings: Settings, calm: Night, aside: Path) -> int:
    """Every stage is there as an undisturbed night leaves it or not at all; so is every file. Commits."""
    folder = settings_module.profile_folder(settings)
    if not folder.exists():
        return 0
    assert [path.name for path in folder.rglob("*") if path.name.endswith((".tmp", ".new"))] == []
    for name, content in files_of(settings).items():
        assert content == calm.files[name], name
    store = folder / "plimsoll.duckdb"
    if not store.exists():
        return 0
    # The store is looked at in a copy: looking writes a name into the lock and may fold the log into the database.
    copied = aside / "home" / folder.name
    shutil.rmtree(copied, ignore_errors=True)
    copied.mkdir(parents=True)
    for name in ("", ".wal", ".ledger"):
        if (found := store.with_name(store.name + name)).exists():
            shutil.copyfile(found, copied / found.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLIMSOLL_HOME", str(aside / "home"))
        rows = dump(settings)
    ledger = rows.pop("commit_ledger")
    whole = calm.tables["commit_ledger"].sort_values("commit_number", ignore_index=True).head(len(ledger))
    if len(ledger):
        pd.testing.assert_frame_equal(ledger.sort_values("commit_number", ignore_index=True), whole)
    for table, found_rows in rows.items():
        if len(found_rows):
            pd.testing.assert_frame_equal(found_rows, calm.tables[table], obj=table)
    return len(ledger)


def as_undisturbed(settings: Settings, calm: Night, but: tuple[str, ...] = ()) -> None:
    found = dump(settings)
    for table, rows in calm.tables.items():
        if table not in but:
            pd.testing.assert_frame_equal(rows, found[table], obj=table)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk | None]:
    """A disk of its own, or None where mounting is refused."""
    with small_disk(tmp_path / "disk", f"{ROOMY}k") as made:
        yield made


@pytest.mark.slow
def test_a_full_disk_at_each_write_of_a_night(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    candles: pd.DataFrame,
    plimsoll: Commands,
    calm: Night,
    disk: Disk | None,
) -> None:
    """Database, raw file, log, report and mail each meet a full disk; with room again nothing tells of it."""
    settings = make_profile(tmp_path, monkeypatch, candles)
    monkeypatch.setenv("PLIMSOLL_HOME", str(tmp_path / "disk" / "var"))
    words = ("report", "--config", str(tmp_path / "small.toml"), "--as-of", calm.day)
    folder = settings_module.profile_folder(settings)
    if disk is None:
        for limit in LIMITS:
            plain(plimsoll(*words, file_limit=limit * KIB))
            only_whole(settings, calm, tmp_path)
    else:
        commits = 0
        for room, victim in (
            (0, "plimsoll.duckdb: cannot be made"),
            (40, "plimsoll.duckdb: cannot be made"),
            (16, "raw/simulated"),
            (150, "plimsoll.duckdb: rolled back"),
            (800, "plimsoll.duckdb: rolled back"),
        ):
            if room == 16:
                disk.leave(ROOMY)
                with warehouse_of(settings).session():
                    pass
            disk.leave(room)
            plain(plimsoll(*words), str(folder / victim), "No space left on device", "run again")
            commits = only_whole(settings, calm, tmp_path)
        assert 0 < commits < len(calm.tables["commit_ledger"])
        disk.leave(ROOMY)
        assert plimsoll(*words, environment={"PLIMSOLL_CRASH_AT": "before report"}).code == -signal.SIGKILL
        pages = sum(
            -(-len(content) // PAGE) * PAGE for name, content in calm.files.items() if name.startswith("reports/")
        )
        for room, victim in ((pages // KIB // 6, "reports/"), (pages // KIB + SLACK, "outbox/")):
            disk.leave(room)
            plain(plimsoll(*words), str(folder / victim), "No space left on device", "free space on that disk")
            only_whole(settings, calm, tmp_path)
        disk.leave(0)
        disk.remount(f"size={2 * ROOMY}k")
    told = plimsoll(*words)
    assert told.code == 0, told.err
    as_undisturbed(settings, calm)
    assert files_of(settings) == calm.files


@pytest.mark.slow
def test_a_full_disk_under_dagsters_history(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    candles: pd.DataFrame,
    plimsoll: Commands,
    calm: Night,
    disk: Disk | None,
) -> None:
    """Its SQLite fails while it is made and while stages run; the store beside it stays whole."""
    settings = make_profile(tmp_path, monkeypatch, candles)
    history = tmp_path / "disk" / "dagster"
    monkeypatch.setenv("DAGSTER_HOME", str(history))
    words = ("backtest", "--config", str(tmp_path / "small.toml"), "--as-of", calm.day)
    for room in (0, 20, 200, 450):
        if disk is not None:
            disk.leave(room)
        told = plimsoll(*words, file_limit=0 if disk else max(room, 1) * KIB)
        plain(told, str(history), "free space on that disk", "run again")
        only_whole(settings, calm, tmp_path)
        assert (history / "dagster.yaml").exists() <= (room > 0), "its configuration is whole or not there"
    if disk is not None:
        disk.leave(0)
        disk.remount(f"size={2 * ROOMY}k")
    told = plimsoll(*words)
    assert told.code == 0, told.err
    as_undisturbed(settings, calm, but=NOT_BACKTESTED)


@pytest.mark.slow
def test_one_disk_for_everything(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    candles: pd.DataFrame,
    plimsoll: Commands,
    calm: Night,
    disk: Disk | None,
) -> None:
    """As most desks have it: whichever writes next meets the full disk."""
    settings = make_profile(tmp_path, monkeypatch, candles)
    monkeypatch.setenv("PLIMSOLL_HOME", str(tmp_path / "disk" / "var"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "disk" / "dagster"))
    words = ("backtest", "--config", str(tmp_path / "small.toml"), "--as-of", calm.day)
    for room in (500, 800, 1200):
        if disk is not None:
            disk.leave(room)
        plain(plimsoll(*words, file_limit=0 if disk else room // 4 * KIB), str(tmp_path / "disk"), "run again")
        only_whole(settings, calm, tmp_path)
    if disk is not None:
        disk.remount(f"size={2 * ROOMY}k")
    told = plimsoll(*words)
    assert told.code == 0, told.err
    as_undisturbed(settings, calm, but=NOT_BACKTESTED)


def test_a_file_on_a_full_disk_is_the_old_one_or_none(tmp_path: Path, disk: Disk | None) -> None:
    path = tmp_path / "disk" / "report.pdf"
    assert files.write_atomic(path, b"old")
    if disk is None:
        pytest.skip("no disk can be mounted here")
    disk.leave(8)
    for target in (path, path.with_name("other.pdf")):
        with pytest.raises(OSError, match=rf"{target.name}: cannot be written \(No space left on device\).*free space"):
            files.write_atomic(target, bytes(64 * KIB))
    assert path.read_bytes() == b"old"
    assert sorted(found.name for found in path.parent.iterdir()) == ["ballast", "report.pdf"]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose parts may be forbidden."""
    yield tmp_path
    for path in (tmp_path, *tmp_path.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)


@pytest.mark.parametrize("variable", ["PLIMSOLL_HOME", "DAGSTER_HOME"])
@pytest.mark.parametrize("kind", ["of another", "read-only", "missing", "a file"])
def test_a_folder_that_cannot_be_used(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    candles: pd.DataFrame,
    plimsoll: Commands,
    variable: str,
    kind: str,
) -> None:
    """The message names the path and the remedy; root, who may write anywhere, lays its rights down first."""
    make_profile(folder, monkeypatch, candles)
    target = folder / {"PLIMSOLL_HOME": "var", "DAGSTER_HOME": "dagster"}[variable]
    remedy = f"make the folder writable for this user or set {variable}"
    if kind == "of another":
        target.mkdir(mode=0o755 if os.getuid() == 0 else 0o555)
        if os.getuid() == 0:
            os.chown(target, NOBODY, NOBODY)
    elif kind == "read-only":
        target.mkdir(mode=0o555)
    elif kind == "missing":
        (folder / "locked").mkdir(mode=0o555)
        target = folder / "locked" / "below"
        monkeypatch.setenv(variable, str(target))
    else:
        target.write_text("a file")
        remedy = f"a file stands where a folder belongs: move it away or set {variable}"
    told = plimsoll(
        "report", "--config", str(folder / "small.toml"), "--as-of", "2022-05-31", is_ordinary=os.getuid() == 0
    )
    plain(told, str(target), remedy)
    kept = {path.suffix for path in (folder / "var").rglob("*") if path.is_file()}
    assert kept <= {".jsonl"}, "only the log may tell of it"
