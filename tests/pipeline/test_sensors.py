"""Sensors and freshness: each tick does what is due, tells whom it concerns, once, and asks for nothing else."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from dagster._core.definitions.freshness import CronFreshnessPolicy
from dagster._core.definitions.sensor_definition import SensorExecutionData
from faults_support import Commands, Night
from operations_support import NOW, OPERATOR, Place, copied

from benchmarks._mail_server import Server, serve
from dagster_project import history, jobs, outbox, runs
from dagster_project import settings as settings_module
from dagster_project.definitions import ROOT, build_defs
from dagster_project.nightly import QUIET, run_nightly
from dagster_project.settings import Settings

DAY = date(2022, 3, 14)


class Desk:
    """A profile whose mail goes to a server, seen by the daemon of this process."""

    def __init__(self, place: Place, server: Server) -> None:
        self.place, self.server = place, server
        self._cursors: dict[str, str | None] = {}

    @property
    def settings(self) -> Settings:
        return self.place.settings

    def defs(self) -> dg.RepositoryDefinition:
        return build_defs(self.settings).get_repository_def()

    def tick(self, name: str) -> SensorExecutionData:
        """One tick, with the cursor of the one before."""
        repository = self.defs()
        with history.opened() as instance:
            context = dg.build_sensor_context(
                instance=instance, repository_def=repository, cursor=self._cursors.get(name)
            )
            found = repository.get_sensor_def(name).evaluate_tick(context)
        self._cursors[name] = found.cursor
        return found

    def fail(self, day: date = DAY) -> None:
        """A run of the daemon that fails: nothing but a sensor tells of it."""
        job = build_defs(self.settings).resolve_job_def(jobs.NIGHTLY)
        with history.opened() as instance:
            done = job.execute_in_process(
                instance=instance,
                partition_key=str(day),
                asset_selection=[dg.AssetKey("candle")],
                raise_on_error=False,
                run_config=QUIET,
            )
        assert not done.success


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plimsoll: Commands, calm: Night) -> Iterator[Desk]:
    with serve(tmp_path / "server") as server:
        place = copied(calm, tmp_path / "place", plimsoll, more=server.table())
        for name, value in place.environment.items():
            monkeypatch.setenv(name, value)
        yield Desk(place, server)


def break_candles(desk: Desk) -> Path:
    """Point the profile at candles without a close."""
    path = desk.place.folder / "broken.parquet"
    source = desk.place.settings.source.path
    assert source is not None
    pd.read_parquet(source).drop(columns="close").to_parquet(path)
    desk.place.configure((str(source), str(path)), more=desk.server.table())
    return path


def test_a_failed_run_of_the_daemon_is_told_to_the_operators_alone_and_once(desk: Desk) -> None:
    path = break_candles(desk)
    assert "Initiating" in (desk.tick("failed_runs").skip_message or "")
    desk.fail()
    assert desk.server.box.mails == []
    desk.tick("failed_runs")
    (told,) = desk.server.box.to(OPERATOR)
    assert len(desk.server.box.mails) == 1
    assert told["Subject"].startswith("[plimsoll] FAILED small: ")
    assert told["Subject"].endswith(f"· {DAY}")
    assert str(path) in told.get_content()
    assert "close" in told.get_content()
    assert not desk.tick("failed_runs").dagster_run_reactions
    assert len(desk.server.box.mails) == 1
    desk.fail()
    desk.tick("failed_runs")
    assert len(desk.server.box.mails) == 1, "the same words about the same day"


def test_a_failure_that_the_command_line_told_is_not_told_again_by_the_daemon(desk: Desk) -> None:
    break_candles(desk)
    desk.tick("failed_runs")
    assert not run_nightly(desk.settings, DAY, first=date(2022, 3, 13), select=["candle"]).is_success
    assert [to for to, _ in desk.server.box.mails] == [OPERATOR]
    tick = desk.tick("failed_runs")
    assert tick.dagster_run_reactions, "the daemon saw it"
    assert [to for to, _ in desk.server.box.mails] == [OPERATOR]


def test_a_run_without_a_process_is_told_as_such_alone(desk: Desk) -> None:
    desk.tick("failed_runs")
    words = ("report", "--as-of", str(DAY), "--stage", "candle")
    assert desk.place(*words, environment={"PLIMSOLL_CRASH_AT": "before candles"}).code == -9
    desk.tick("orphan_runs")
    assert desk.tick("failed_runs").dagster_run_reactions
    (told,) = desk.server.box.to(OPERATOR)
    assert len(desk.server.box.mails) == 1
    assert told["Subject"].startswith("[plimsoll] ORPHAN small: ")
    assert runs.DEAD in " ".join(told.get_content().split())


def test_a_successful_run_is_told_to_nobody(desk: Desk) -> None:
    desk.tick("failed_runs")
    assert run_nightly(desk.settings, DAY, select=["candle"]).is_success
    assert not desk.tick("failed_runs").dagster_run_reactions
    assert desk.server.box.mails == []


def asks(desk: Desk) -> bool:
    """Whether a tick asks for the job that sends; it asks for it once and for nothing else."""
    found = desk.tick("due_mails")
    assert len(found.run_requests or []) <= 1
    assert bool(found.run_requests) == (found.skip_message is None)
    return bool(found.run_requests)


def wait(monkeypatch: pytest.MonkeyPatch, time: timedelta) -> None:
    monkeypatch.setenv("PLIMSOLL_NOW", (datetime.fromisoformat(NOW) + time).isoformat())


def test_mails_are_asked_for_where_they_are_due_and_the_job_sends_them(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor = desk.defs().get_sensor_def("due_mails")
    assert [target.job_name for target in sensor.targets] == [jobs.SEND_MAIL]
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    desk.server.script.rcpt = {"one@example.org": ["451 4.7.1 come back"]}
    assert asks(desk), "two wait that were never tried"

    def send() -> None:
        job = build_defs(desk.settings).resolve_job_def(jobs.SEND_MAIL)
        with history.opened() as instance:
            assert job.execute_in_process(instance=instance).success

    send()
    assert [to for to, _ in desk.server.box.mails] == ["two@example.org"]
    assert not asks(desk), "one waits, but not yet"
    wait(monkeypatch, outbox.FIRST_WAIT - timedelta(seconds=1))
    assert not asks(desk)
    wait(monkeypatch, outbox.FIRST_WAIT)
    assert asks(desk)
    send()
    assert [to for to, _ in desk.server.box.mails] == ["two@example.org", "one@example.org"]
    assert not asks(desk)


def test_a_store_that_a_run_holds_is_no_trouble_and_no_request(desk: Desk) -> None:
    holder = desk.place.folder / "held"
    with desk.place.warehouse.session():
        # The lock knows sessions of this thread, so the tick is another process.
        told = desk.place(code=TICK.format(config=str(desk.place.config), out=str(holder)))
    assert told.code == 0, told.err
    assert holder.read_text() == "a run holds the store; it sends what is due itself"


TICK = """
from pathlib import Path
import dagster as dg
from dagster_project import settings
from dagster_project.definitions import build_defs
repository = build_defs(settings.load(Path({config!r}))).get_repository_def()
with dg.DagsterInstance.ephemeral() as instance:
    context = dg.build_sensor_context(instance=instance, repository_def=repository)
    found = repository.get_sensor_def("due_mails").evaluate_tick(context)
assert not found.run_requests
Path({out!r}).write_text(found.skip_message)
"""


def test_alerts_that_wait_go_out_with_the_tick(desk: Desk) -> None:
    desk.server.script.rcpt = {OPERATOR: ["451 4.7.1 come back"]}
    break_candles(desk)
    assert not run_nightly(desk.settings, DAY, select=["candle"]).is_success
    assert desk.server.box.to(OPERATOR) == []
    desk.tick("due_mails")
    assert len(desk.server.box.to(OPERATOR)) == 1
    desk.tick("due_mails")
    assert len(desk.server.box.to(OPERATOR)) == 1


def test_without_a_server_nothing_is_asked_for(desk: Desk) -> None:
    """Mails that are files are no reason to start a job every ten minutes, even where somebody turned the sensor on."""
    desk.place.configure()
    assert desk.defs().get_sensor_def("due_mails").default_status == dg.DefaultSensorStatus.STOPPED
    assert set(desk.place.mails()["state"]) == {"pending"}
    assert not asks(desk)


@pytest.mark.parametrize("hour", [2, 5])
def test_a_report_is_due_where_nights_are_scheduled_and_nowhere_else(hour: int) -> None:
    settings = settings_module.load(ROOT / "config" / "crypto.toml")
    knobs = settings.operations.model_copy(update={"report_due_hour_utc": hour})
    found = {}
    for is_on in (True, False):
        profile = settings.profile.model_copy(update={"is_schedule_on": is_on})
        defs = build_defs(settings.model_copy(update={"profile": profile, "operations": knobs}))
        found[is_on] = {
            spec.key.to_user_string(): spec.freshness_policy
            for spec in defs.resolve_all_asset_specs()
            if spec.freshness_policy is not None
        }
    assert found[False] == {}
    assert list(found[True]) == ["risk_report"]
    due = found[True]["risk_report"]
    assert isinstance(due, CronFreshnessPolicy)
    assert (due.deadline_cron, due.timezone) == (f"0 {hour} * * *", "UTC")
    assert due.lower_bound_delta == timedelta(hours=hour), "a report of the night before is none of this one"
