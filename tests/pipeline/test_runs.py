"""Runs: one whose process is gone is marked, a living one never; old history is forgotten; what is tried again."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.storage.runs.schema import RunsTable
from dagster._core.test_utils import create_run_for_test
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from faults_support import ROOT, Commands
from tests_support import make_profile

from assets import _run
from dagster_project import history, runs
from dagster_project import settings as settings_module
from dagster_project.definitions import build_defs, warehouse_of
from dagster_project.nightly import run_nightly
from dagster_project.settings import Settings
from dagster_project.warehouse import Session, Warehouse

DAY = date(2022, 5, 31)
STATUS = dg.DagsterRunStatus
KILLED = {"PLIMSOLL_CRASH_AT": "before candles"}
NIGHT = """
import sys
from datetime import date
from pathlib import Path
from dagster_project import settings
from dagster_project.nightly import run_nightly
run_nightly(settings.load(Path(sys.argv[1])), date(2022, 5, 30), select=["candle"])
"""


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame) -> Settings:
    """A profile that names an operator."""
    make_profile(tmp_path, monkeypatch, candles)
    config = tmp_path / "small.toml"
    config.write_text(config.read_text().replace("[mail]", '[mail]\noperators = ["night@example.org"]'))
    return settings_module.load(config)


@pytest.fixture
def kill(told: Settings, tmp_path: Path, plimsoll: Commands) -> Callable[[], str]:
    """Start a night that is killed in its first stage; its id."""

    def killed() -> str:
        words = ("report", "--config", str(tmp_path / "small.toml"), "--as-of", str(DAY), "--stage", "candle")
        assert plimsoll(*words, environment=KILLED).code == -signal.SIGKILL
        with history.opened() as instance:
            return instance.get_runs(limit=1)[0].run_id

    return killed


def alerts_of(settings: Settings) -> list[str]:
    return sorted(path.name for path in (settings_module.profile_folder(settings) / "alerts").glob("*.eml"))


def read(settings: Settings, name: str) -> EmailMessage:
    content = (settings_module.profile_folder(settings) / "alerts" / name).read_bytes()
    found = message_from_bytes(content, policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


def status(run_id: str) -> dg.DagsterRunStatus:
    with history.opened() as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        return run.status


def look(settings: Settings, name: str) -> str | None:
    """One tick of a sensor."""
    repository = build_defs(settings).get_repository_def()
    with history.opened() as instance:
        context = dg.build_sensor_context(
            instance=instance, repository_def=repository, repository_name="__repository__"
        )
        return repository.get_sensor_def(name).evaluate_tick(context).skip_message


def waiting_run(instance: dg.DagsterInstance) -> str:
    """Put a run into the queue, as the user interface does."""
    place = GrpcServerCodeLocationOrigin(host="localhost", port=1, location_name="plimsoll")
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(place, "__repository__"), "nightly")
    return create_run_for_test(
        instance, job_name="nightly", status=STATUS.QUEUED, remote_job_origin=origin, job_code_origin=None
    ).run_id


def startable(instance: dg.DagsterInstance) -> list[str]:
    """Runs that the daemon's queue would start now."""
    daemon = QueuedRunCoordinatorDaemon(interval_seconds=5)
    found = daemon._get_runs_to_dequeue(instance, instance.get_concurrency_config(), fixed_iteration_time=None)
    return [run.run_id for run in found]


def test_the_next_night_marks_a_killed_one_tells_the_operators_and_the_queue_goes_on(
    told: Settings, kill: Callable[[], str]
) -> None:
    orphan = kill()
    with history.opened() as instance:
        assert status(orphan) == STATUS.STARTED
        queued = waiting_run(instance)
        assert startable(instance) == []
        assert alerts_of(told) == []
        assert run_nightly(told, DAY, select=["candle"]).is_success
        assert status(orphan) == STATUS.FAILURE
        assert startable(instance) == [queued]
    (name,) = alerts_of(told)
    assert name.startswith(f"{DAY}-orphan-")
    alert = read(told, name)
    assert alert["To"] == "night@example.org"
    assert orphan[:8] in alert["Subject"]
    assert f"plimsoll report --as-of {DAY}" in alert.get_content()
    with history.opened() as instance:
        assert runs.mark(instance) == []


def test_the_sensor_marks_a_killed_run_and_tells_once(told: Settings, kill: Callable[[], str]) -> None:
    orphan = kill()
    with history.opened() as instance:
        queued = waiting_run(instance)
    assert look(told, "orphan_runs") == "1 run(s) marked failed"
    assert status(orphan) == STATUS.FAILURE
    with history.opened() as instance:
        assert startable(instance) == [queued]
    first = alerts_of(told)
    assert [name.rpartition("-")[0] for name in first] == [f"{DAY}-orphan"]
    assert look(told, "orphan_runs") == "0 run(s) marked failed"
    assert alerts_of(told) == first


def test_a_run_that_lives_in_another_process_is_never_marked(told: Settings, tmp_path: Path) -> None:
    """It waits for the store that is held here; then it is killed, and only then it is an orphan."""
    with warehouse_of(told).session():
        process = subprocess.Popen([sys.executable, "-c", NIGHT, str(tmp_path / "small.toml")], cwd=ROOT)
        try:
            alive = wait_for_start(process)
            assert look(told, "orphan_runs") == "0 run(s) marked failed"
            with history.opened() as instance:
                assert runs.mark(instance) == []
            assert status(alive) == STATUS.STARTED
        finally:
            process.kill()
            process.wait(60)
    with history.opened() as instance:
        assert [run.run_id for run in runs.mark(instance)] == [alive]
    assert status(alive) == STATUS.FAILURE


def wait_for_start(process: "subprocess.Popen[bytes]") -> str:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert process.poll() is None
        with history.opened() as instance:
            for run in instance.get_runs(filters=dg.RunsFilter(statuses=[STATUS.STARTED])):
                return run.run_id
        time.sleep(0.2)
    raise AssertionError("the night did not start")


def test_runs_of_this_process_and_of_other_machines_are_left_alone(told: Settings) -> None:
    with history.opened() as instance:
        mine = create_run_for_test(instance, status=STATUS.STARTED).run_id
        elsewhere = create_run_for_test(instance, status=STATUS.STARTED).run_id
        with runs.claimed(mine):
            runs.claim(mine)
            assert runs.mark(instance) == []
        assert runs.mark(instance) == [], "a run that ended properly leaves no claim"
        assert {status(mine), status(elsewhere)} == {STATUS.STARTED}


def test_history_is_forgotten_after_its_days_and_no_sooner(told: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finished runs only: one that waits or runs is none of the past."""
    days = told.operations.run_history_days
    with history.opened() as instance:
        ended = (STATUS.SUCCESS, STATUS.FAILURE, STATUS.CANCELED)
        old = [create_run_for_test(instance, status=one).run_id for one in ended]
        (runs.home() / runs.FOLDER).mkdir()
        claim = runs.home() / runs.FOLDER / old[1]
        claim.touch()
        open_ = [waiting_run(instance), create_run_for_test(instance, status=STATUS.STARTED).run_id]

        def left() -> set[str]:
            return {run.run_id for run in instance.get_runs()}

        def night_after(time: timedelta) -> None:
            moment = datetime.now(UTC).replace(tzinfo=None) + time
            monkeypatch.setenv("PLIMSOLL_NOW", moment.isoformat())
            assert run_nightly(told, DAY, select=["candle"]).is_success

        night_after(timedelta(days=days, hours=-1))
        (first_night,) = left() - {*old, *open_}
        assert left() == {*old, *open_, first_night}
        assert claim.exists()
        backdate(first_night, instance)
        night_after(timedelta(days=days, hours=-2))
        assert not left() & {first_night}
        assert {*old, *open_} <= left(), "the newer ones stay when an older one goes"
        night_after(timedelta(days=days, hours=1))
        (kept,) = left() - set(open_)
        assert set(open_) <= left()
        assert not claim.exists()
        assert kept not in (first_night, *old), "the night itself, for it is under way"


def backdate(run_id: str, instance: dg.DagsterInstance) -> None:
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        at = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=7)
        connection.execute(RunsTable.update().where(RunsTable.c.run_id == run_id).values(create_timestamp=at))


class Away(Warehouse):
    """A store whose share is away so many times."""

    times: int
    number: int
    log: str

    @contextmanager
    def session(self) -> Iterator[Session]:
        with Path(self.log).open("a+") as stream:
            stream.write("x")
            stream.seek(0)
            tried = len(stream.read())
        if tried <= self.times:
            raise wrapped(OSError(self.number, os.strerror(self.number), self.path))
        with super().session() as found:
            yield found


def wrapped(error: OSError) -> Exception:
    """As most modules do it: words of our own, the system's word below."""
    found = RuntimeError(f"the share of the store: {error.strerror}")
    found.__cause__ = error
    return found


def tries(settings: Settings, folder: Path, number: int, times: int) -> tuple[int, bool, str]:
    log = folder / "tries"
    away = Away(path=warehouse_of(settings).path, times=times, number=number, log=str(log))
    ending = run_nightly(settings, DAY, select=["candle"], resources={"warehouse": away})
    return len(log.read_text()), ending.is_success, ending.error or ""


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_run, "FIRST_WAIT_SECONDS", 0.01)


@pytest.mark.usefixtures("hurried")
def test_trouble_that_passes_is_waited_for(told: Settings, tmp_path: Path) -> None:
    count, is_success, _ = tries(told, tmp_path, errno.ESTALE, 2)
    assert is_success
    assert count > 2
    assert alerts_of(told) == []
    with history.opened() as instance:
        (run,) = instance.get_runs()
        kinds = [one.dagster_event.event_type for one in instance.all_logs(run.run_id) if one.dagster_event]
    assert kinds.count(dg.DagsterEventType.STEP_UP_FOR_RETRY) == 2


@pytest.mark.usefixtures("hurried")
def test_trouble_that_does_not_pass_ends_in_its_own_words(told: Settings, tmp_path: Path) -> None:
    assert tries(told, tmp_path, errno.ETIMEDOUT, 99) == (
        1 + _run.MOST_RETRIES,
        False,
        f"RuntimeError: the share of the store: {os.strerror(errno.ETIMEDOUT)}",
    )
    (name,) = alerts_of(told)
    assert name.startswith(f"{DAY}-failed-")
    assert "the share of the store" in read(told, name).get_content()


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC, errno.ENOENT])
def test_what_would_fail_again_is_not_tried_again(told: Settings, tmp_path: Path, number: int) -> None:
    assert tries(told, tmp_path, number, 99) == (
        1,
        False,
        f"RuntimeError: the share of the store: {os.strerror(number)}",
    )


def test_the_waits_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []
    for number in range(_run.MOST_RETRIES):
        context = dg.build_asset_context()
        monkeypatch.setattr(type(context), "retry_number", number, raising=False)
        with pytest.raises(dg.RetryRequested) as asked, _run.patiently(context):  # type: ignore[arg-type]
            raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")
        waits.append(asked.value.seconds_to_wait)
        assert asked.value.max_retries == _run.MOST_RETRIES
    assert waits == [30.0, 60.0, 120.0]
