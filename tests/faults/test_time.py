"""Time: ticks of three years, zones of the process, clocks that are wrong; the day of a run is its partition."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pandas as pd
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator
from faults_support import Commands, Night
from tests_support import dump, files_of, make_profile

from dagster_project import clock
from dagster_project import settings as settings_module
from dagster_project.definitions import ROOT, build_defs, warehouse_of
from dagster_project.nightly import run_nightly
from dagster_project.settings import Settings

FIRST, LAST = date(2026, 1, 1), date(2028, 12, 31)
DAYS = (LAST - FIRST).days + 1
LAST_BAR = "2022-05-31"
"""Of the simulated candles."""
DAGSTERS_OWN = pytest.mark.filterwarnings(
    "ignore:Function `JobDefinition.run_request_for_partition`:DeprecationWarning"
)
"""The schedule that Dagster builds from a partitioned job calls what Dagster deprecates."""


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Set the time zone of this process."""

    def put(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield put
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(scope="module")
def scheduled() -> tuple[dg.ScheduleDefinition, dg.RepositoryDefinition]:
    """The schedule of a profile whose days do not end."""
    settings = settings_module.load(ROOT / "config" / "crypto.toml")
    endless = settings.profile.model_copy(update={"first_partition": date(2020, 1, 1), "last_partition": None})
    repository = build_defs(settings.model_copy(update={"profile": endless})).get_repository_def()
    return repository.get_schedule_def("nightly_schedule"), repository


def ticks_of(schedule: dg.ScheduleDefinition) -> list[datetime]:
    begin = datetime(FIRST.year, 1, 1, tzinfo=UTC)
    end = datetime(LAST.year + 1, 1, 1, tzinfo=UTC)
    assert schedule.execution_timezone is not None
    every = schedule_execution_time_iterator(begin.timestamp(), schedule.cron_schedule, schedule.execution_timezone)
    return list(takewhile(lambda tick: tick < end, every))


@pytest.mark.parametrize("name", ["UTC", "America/New_York", "Europe/Berlin", "Pacific/Kiritimati"])
def test_one_tick_a_day_at_half_past_midnight_utc(
    scheduled: tuple[dg.ScheduleDefinition, dg.RepositoryDefinition], zone: Callable[[str], None], name: str
) -> None:
    zone(name)
    ticks = ticks_of(scheduled[0])
    expected = [datetime(2026, 1, 1, 0, 30, tzinfo=UTC) + timedelta(days=n) for n in range(DAYS)]
    assert [tick.astimezone(UTC) for tick in ticks] == expected


@DAGSTERS_OWN
@pytest.mark.parametrize("name", ["UTC", "America/New_York"])
def test_each_tick_asks_for_the_day_that_has_ended(
    scheduled: tuple[dg.ScheduleDefinition, dg.RepositoryDefinition], zone: Callable[[str], None], name: str
) -> None:
    """Every night on which a clock changes, leap days, ends of months and years, and each eleventh day between."""
    zone(name)
    schedule, repository = scheduled
    changes = {
        day
        for place in ("America/New_York", "Europe/Berlin")
        for n in range(DAYS)
        if offset(place, day := FIRST + timedelta(days=n)) != offset(place, day + timedelta(days=1))
    }
    assert len(changes) == 12
    ends = {date(2028, 2, 29), date(2028, 2, 28), *(FIRST + timedelta(days=n) for n in range(0, DAYS, 11))}
    ends |= {FIRST + timedelta(days=n) for n in range(DAYS) if (FIRST + timedelta(days=n + 1)).day == 1}
    asked = {day + timedelta(days=more) for day in changes | ends for more in (0, 1)}
    with dg.DagsterInstance.ephemeral() as instance:
        for day in sorted(asked):
            tick = datetime(day.year, day.month, day.day, 0, 30, tzinfo=UTC)
            context = dg.build_schedule_context(
                instance=instance, scheduled_execution_time=tick, repository_def=repository
            )
            requests = schedule.evaluate_tick(context).run_requests
            assert requests is not None
            assert [request.partition_key for request in requests] == [(day - timedelta(days=1)).isoformat()]


def offset(place: str, day: date) -> timedelta | None:
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(place)).utcoffset()


@DAGSTERS_OWN
def test_a_tick_that_comes_twice_or_late_asks_for_the_same_run(
    scheduled: tuple[dg.ScheduleDefinition, dg.RepositoryDefinition],
) -> None:
    """The partition hangs on the time that was planned, not on the time at which the daemon came to it."""
    schedule, repository = scheduled
    tick = datetime(2028, 3, 1, 0, 30, tzinfo=UTC)
    found = []
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(2):
            context = dg.build_schedule_context(
                instance=instance, scheduled_execution_time=tick, repository_def=repository
            )
            requests = schedule.evaluate_tick(context).run_requests or []
            found += [(request.partition_key, request.run_key) for request in requests]
    assert found == [("2028-02-29", found[0][1])] * 2


@pytest.mark.parametrize("name", ["UTC", "America/New_York", "Pacific/Kiritimati"])
def test_now_is_utc_wherever_the_process_runs(
    zone: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    zone(name)
    monkeypatch.delenv("PLIMSOLL_NOW", raising=False)
    assert abs(clock.now() - datetime.now(UTC).replace(tzinfo=None)) < timedelta(minutes=1)
    monkeypatch.setenv("PLIMSOLL_NOW", "2022-03-13T03:30:00-04:00")
    assert clock.now() == datetime(2022, 3, 13, 7, 30)
    monkeypatch.setenv("PLIMSOLL_NOW", "2022-03-13T07:30:00")
    assert clock.now() == datetime(2022, 3, 13, 7, 30)


@pytest.mark.slow
def test_the_zone_of_the_process_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame, plimsoll: Commands, calm: Night
) -> None:
    """On the day on which New York's clocks go forward: tables, raw files, report and mails, times of arrival too."""
    settings = make_profile(tmp_path, monkeypatch, candles)
    words = ("report", "--config", str(tmp_path / "small.toml"), "--as-of", calm.day)
    told = plimsoll(*words, environment={"TZ": "America/New_York"})
    assert told.code == 0, told.err
    found = dump(settings)
    for table, rows in calm.tables.items():
        pd.testing.assert_frame_equal(rows, found[table], obj=table)
    assert files_of(settings) == calm.files
    with warehouse_of(settings).session() as session:
        stored = session.everything("candle")
    assert (stored["known_at"] == stored["date"] + pd.Timedelta(days=1, minutes=30)).all()


def test_a_clock_one_day_behind_is_refused(profile: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the daemon would start it: the partition comes from the tick, the clock says that the day still runs."""
    monkeypatch.setenv("PLIMSOLL_NOW", f"{LAST_BAR}T00:30:00")
    outcome = run_nightly(profile, date.fromisoformat(LAST_BAR))
    assert not outcome.is_success
    assert outcome.error is not None
    assert f"bars of {LAST_BAR} are final from 2022-06-01 00:30 UTC; run again then" in outcome.error
    assert all(rows.empty for rows in dump(profile).values())
    assert files_of(profile) == {}


def test_the_command_line_asks_the_same_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame, plimsoll: Commands
) -> None:
    make_profile(tmp_path, monkeypatch, candles)
    words = ("report", "--config", str(tmp_path / "small.toml"))
    early = plimsoll(*words, "--as-of", LAST_BAR, environment={"PLIMSOLL_NOW": "2022-06-01T00:29:59"})
    assert early.code == 1
    assert "final from 2022-06-01 00:30 UTC" in early.last
    behind = plimsoll(*words, "--as-of", LAST_BAR, environment={"PLIMSOLL_NOW": f"{LAST_BAR}T00:30:00"})
    assert behind.code == 2
    assert "covers 2020-01-01 to 2022-05-30" in behind.last
    by_itself = plimsoll(*words, environment={"PLIMSOLL_NOW": "2021-11-07T00:10:00", "TZ": "America/New_York"})
    assert by_itself.code == 1
    assert "bars of 2021-11-06 are final from 2021-11-07 00:30 UTC" in by_itself.last
    assert not any("Traceback" in told.err for told in (early, behind, by_itself))


@pytest.mark.slow
def test_a_clock_one_day_ahead_invents_no_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame, plimsoll: Commands
) -> None:
    settings = make_profile(tmp_path, monkeypatch, candles)
    words = ("report", "--config", str(tmp_path / "small.toml"))
    told = plimsoll(*words, environment={"PLIMSOLL_NOW": "2022-06-02T00:30:00"})
    assert told.code == 0, told.err
    found = dump(settings)
    for table in ("candle", "price"):
        assert found[table]["date"].max() == pd.Timestamp(LAST_BAR), table
    rows = found["recommendation"]
    assert set(rows["as_of"]) == {pd.Timestamp("2022-06-01")}
    assert set(rows["symbol"]) == {"AAA", "BBB"}
    assert set(rows["status"]) == {"withheld"}
    assert rows["proposed"].isna().all()
    assert rows["reason"].str.contains(f"stale data: the last bar is {LAST_BAR}, a bar of 2022-06-01 was due").all()


def test_a_market_that_has_its_bar_is_not_held_up_by_one_that_lacks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame
) -> None:
    is_late = (candles["symbol"] == "BBB") & (candles["date"] == pd.Timestamp(LAST_BAR))
    settings = make_profile(tmp_path, monkeypatch, candles[~is_late])
    monkeypatch.setenv("PLIMSOLL_NOW", "2022-06-01T00:30:00")
    stages = ["candle", "price", "volatility_fit", "volatility_forecast", "fit_reference", "overshoot_quantile"]
    stages += ["threshold", "breach", "coverage", "recommendation"]
    assert run_nightly(settings, date.fromisoformat(LAST_BAR), select=stages).is_success
    rows = dump(settings)["recommendation"]
    stale = rows["reason"].str.contains("stale data: the last bar is 2022-05-30, a bar of 2022-05-31 was due")
    assert set(rows.loc[stale, "symbol"]) == {"BBB"}
    assert set(rows.loc[rows["symbol"] == "BBB", "status"]) == {"withheld"}
    assert "withheld" not in set(rows.loc[rows["symbol"] == "AAA", "status"])
