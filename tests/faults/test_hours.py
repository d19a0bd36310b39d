"""Hourly candles: beside the daily ones, from exchanges and files; closed ones only, revised, and made again alike."""

from collections.abc import Callable, Iterator
from datetime import date
from itertools import groupby
from pathlib import Path

import pandas as pd
import pytest
from faults.exchange_server import DAY as DAY_STEP
from faults.exchange_server import Act, Exchange, config, exchange, venue
from tests_support import dump, make_profile, noted

from assets import market_data
from assets._run import Run
from benchmarks._small import simulated_candles
from dagster_project import intraday, raw_files
from dagster_project import settings as settings_module
from dagster_project.definitions import build_defs, warehouse_of
from dagster_project.exchanges import feed
from dagster_project.market_feed import FeedError
from dagster_project.settings import Settings, SettingsError
from dagster_project.warehouse import Warehouse

HOUR_STEP = DAY_STEP // 24
FIRST = "2020-10-01"
Night = Callable[[Settings, str], tuple[dict[str, int], dict[str, int]]]


def hours_of(symbol: str, seed: int, days: int = 9) -> pd.DataFrame:
    """Hourly candles of some days, the first of October 2020 the first."""
    made = simulated_candles(symbol, seed, days=24 * days, start=FIRST, sigma=0.006)
    return made.assign(date=pd.date_range(FIRST, periods=24 * days, freq="h"))


@pytest.fixture(scope="module")
def hours() -> pd.DataFrame:
    return pd.concat([hours_of("AAA", 5), hours_of("BBB", 6)], ignore_index=True)


@pytest.fixture
def fed(hundred: pd.DataFrame, hours: pd.DataFrame) -> Iterator[Exchange]:
    """An exchange with days to 2020-10-08 and hours to the end of 2020-10-09."""
    with exchange() as made:
        made.put(hundred)
        made.put(hours, HOUR_STEP)
        yield made


def written(folder: Path, monkeypatch: pytest.MonkeyPatch, *venues: str, more: str = "") -> Settings:
    folder.mkdir(parents=True, exist_ok=True)
    text = config(*venues).replace("overlap_days = 150", f'overlap_days = 150\nhourly_first_day = "{FIRST}"\n{more}')
    (folder / "small.toml").write_text(text)
    monkeypatch.setenv("PLIMSOLL_HOME", str(folder / "var"))
    monkeypatch.setenv("DAGSTER_HOME", str(folder / "dagster"))
    return settings_module.load(folder / "small.toml")


def hourly(made: Exchange, exchange: str = "binance") -> str:
    return venue(made.address, exchange, more="hourly = true\n")


@pytest.fixture
def night(monkeypatch: pytest.MonkeyPatch) -> Night:
    """Take a night's days and hours into the store, at 00:40 of the day after; counts of each."""

    def take(chosen: Settings, day: str) -> tuple[dict[str, int], dict[str, int]]:
        monkeypatch.setenv("PLIMSOLL_NOW", f"{pd.Timestamp(day) + pd.Timedelta(days=1, minutes=40):%Y-%m-%dT%H:%M:%S}")
        run = Run(chosen, (date.fromisoformat(day),), "test")
        with warehouse_of(chosen).session() as session:
            days = market_data.ingest(session, chosen, run)
            return days, market_data.ingest_hours(session, chosen, run)

    return take


def hour_questions(made: Exchange) -> list[int]:
    return [int(one["startTime"]) for one in made.candle_requests() if one.get("interval") == "1h"]


def test_hours_come_incrementally_and_only_those_of_days_that_are_over(
    fed: Exchange, hours: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, night: Night
) -> None:
    chosen = written(tmp_path, monkeypatch, hourly(fed), more="hourly_overlap_hours = 24")
    assert night(chosen, "2020-10-06")[1] == {
        "candles": 2 * 6 * 24,
        "quarantined": 0,
        "raw_files": 2,
        "series_without_news": 0,
    }
    first = dump(chosen)["candle_hour"]
    assert first["start_at"].max() == pd.Timestamp("2020-10-06 23:00"), "the night uses nothing from after its day"
    assert first["is_known_at_assumed"].all()
    mine = hours[(hours["symbol"] == "AAA") & (hours["date"] < "2020-10-07")]
    assert list(first[first["symbol"] == "AAA"].sort_values("start_at")["close_usd"]) == list(mine["close"])
    fed.asked.clear()
    assert night(chosen, "2020-10-07")[1]["candles"] == 2 * 24
    assert min(hour_questions(fed)) == pd.Timestamp("2020-10-05 23:00").timestamp() * 1000
    with warehouse_of(chosen).session() as session:
        second = session.everything("candle_hour")
    new = second[second["start_at"] >= "2020-10-07"]
    assert set(new["known_at"]) == {pd.Timestamp("2020-10-08 00:40")}
    assert not new["is_known_at_assumed"].any()
    fed.asked.clear()
    assert night(chosen, "2020-10-07")[1]["candles"] == 0
    assert hour_questions(fed) == [], "what is there is not asked for again"


def test_a_revised_hour_is_a_second_value_beside_the_first(
    fed: Exchange, hours: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, night: Night
) -> None:
    chosen = written(tmp_path, monkeypatch, hourly(fed))
    night(chosen, "2020-10-06")
    at = (hours["symbol"] == "AAA") & (hours["date"] == "2020-10-06 05:00")
    fed.put(hours.assign(close=hours["close"].where(~at, hours["open"])), HOUR_STEP)
    assert night(chosen, "2020-10-07")[1]["candles"] == 2 * 24 + 1
    with warehouse_of(chosen).session() as session:
        rows = session.everything("candle_hour")
        assert session.check("candle_hour_revisions", last=date(2020, 10, 7)).empty
    both = rows[(rows["symbol"] == "AAA") & (rows["start_at"] == "2020-10-06 05:00")]
    assert list(both["revision"]) == [1, 2]
    assert list(both["close_usd"]) == [hours.loc[at, "close"].item(), hours.loc[at, "open"].item()]
    assert list(both["known_at"]) == [pd.Timestamp("2020-10-06 06:30"), pd.Timestamp("2020-10-08 00:40")]


def test_no_night_waits_for_hours(fed: Exchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, night: Night) -> None:
    chosen = written(tmp_path, monkeypatch, hourly(fed))
    for symbol in ("AAA", "BBB"):
        fed.rows[symbol, HOUR_STEP] = []
    days, found = night(chosen, "2020-10-06")
    assert days["candles"] == 2 * 98
    assert found == {"candles": 0, "series_without_news": 2}


def test_only_venues_that_say_so_are_asked(
    fed: Exchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, night: Night
) -> None:
    chosen = written(tmp_path, monkeypatch, hourly(fed), venue(fed.address, "kraken"))
    night(chosen, "2020-10-06")
    assert set(dump(chosen)["candle_hour"]["source"]) == {"binance_spot"}
    plain = written(tmp_path / "plain", monkeypatch, venue(fed.address))
    assert not plain.source.has_hourly
    for settings, is_there in ((chosen, True), (plain, False)):
        keys = {spec.key.to_user_string() for spec in build_defs(settings).resolve_all_asset_specs()}
        assert ("candle_hour" in keys) is is_there
    assert (
        chosen.config_hash
        == written(tmp_path, monkeypatch, venue(fed.address), venue(fed.address, "kraken")).config_hash
    )


def test_an_hour_that_stands_alone_is_set_aside_and_touches_no_day(
    fed: Exchange, hours: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, night: Night
) -> None:
    at = (hours["symbol"] == "AAA") & (hours["date"] == "2020-10-05 07:00")
    fed.put(hours.assign(low=hours["low"].where(~at, 0.001)), HOUR_STEP)
    chosen = written(tmp_path, monkeypatch, hourly(fed))
    assert night(chosen, "2020-10-06")[1]["quarantined_reverting_spike"] == 1
    found = dump(chosen)
    assert list(found["candle_hour_quarantine"]["start_at"]) == [pd.Timestamp("2020-10-05 07:00")]
    assert found["candle_quarantine"].empty
    assert len(found["candle_hour"]) == 2 * 6 * 24 - 1
    assert night(chosen, "2020-10-07")[1]["quarantined"] == 0, "the same row is not set aside twice"


def test_the_store_is_made_again_with_its_hours_from_what_was_kept(
    fed: Exchange, hours: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, night: Night
) -> None:
    fed.page = 60
    chosen = written(tmp_path, monkeypatch, hourly(fed))
    night(chosen, "2020-10-05")
    at = hours["date"] == "2020-10-05 07:00"
    fed.put(hours.assign(close=hours["close"].where(~at, hours["low"])), HOUR_STEP)
    night(chosen, "2020-10-07")
    names = ("candle", "candle_hour", "raw_file", "candle_hour_quarantine")
    with warehouse_of(chosen).session() as session:
        before = {name: session.everything(name) for name in names}
    fed.always = Act(status=503)
    arrivals = raw_files.arrivals(chosen)
    with Warehouse(path=str(tmp_path / "again.duckdb")).session() as session:
        for (_, as_of, _), together in groupby(arrivals, key=lambda one: (one.known_at, one.as_of, one.timeframe)):
            market_data.replay(session, chosen, list(together), Run(chosen, (as_of,), "test"))
        assert market_data.unknown(session, arrivals) == []
        stored = {name: session.everything(name) for name in names}
    assert before["candle_hour"]["revision"].max() == 2
    for name in names:
        keys = list(before[name].columns)
        pd.testing.assert_frame_equal(
            stored[name].sort_values(keys, kind="stable", ignore_index=True),
            before[name].sort_values(keys, kind="stable", ignore_index=True),
        )


@pytest.fixture
def filed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hundred: pd.DataFrame, hours: pd.DataFrame) -> Settings:
    """A profile that reads days from one file and hours from another."""
    make_profile(tmp_path, monkeypatch, hundred)
    hours.assign(source="simulated").to_csv(tmp_path / "hours.csv", index=False)
    path = tmp_path / "small.toml"
    more = f'[source]\nhourly = true\nhourly_path = "{tmp_path / "hours.csv"}"'
    path.write_text(path.read_text().replace("[source]", more, 1))
    return settings_module.load(path)


def test_hours_from_files(filed: Settings, night: Night, hours: pd.DataFrame) -> None:
    _, found = night(filed, "2020-10-08")
    assert found["candles"] == 2 * 8 * 24
    with warehouse_of(filed).session() as session:
        rows = session.everything("candle_hour")
    assert set(rows["known_at"] - rows["start_at"]) == {pd.Timedelta(minutes=90)}
    mine = hours[(hours["symbol"] == "BBB") & (hours["date"] < "2020-10-09")]
    assert list(rows.loc[rows["symbol"] == "BBB", "high_usd"]) == list(mine["high"])
    assert night(filed, "2020-10-08")[1]["candles"] == 0


def test_rows_that_are_no_hours_are_set_aside_each_with_its_reason(
    filed: Settings, night: Night, hours: pd.DataFrame
) -> None:
    assert filed.source.hourly_path is not None
    mine = hours[(hours["symbol"] == "AAA") & (hours["date"] < "2020-10-03")].assign(source="simulated")
    bad = mine.astype({"date": "object"}).reset_index(drop=True)
    bad.loc[3, "date"] = "2020-10-01 03:30"
    bad.loc[4, "close"] = -1.0
    bad.loc[5, "date"] = bad.loc[6, "date"]
    bad.to_csv(filed.source.hourly_path, index=False)
    assert night(filed, "2020-10-08")[1]["quarantined"] == 4
    aside = dump(filed)["candle_hour_quarantine"].sort_values("row_number")
    assert list(aside["reason"]) == ["not_a_utc_hour", "not_positive", "duplicate_conflict", "duplicate_conflict"]
    assert aside["detail"].iloc[0] == "the bar begins 2020-10-01 03:30:00 UTC, not with an hour"
    assert aside["detail"].iloc[2].startswith("2020-10-01 06:00 stands in rows 6, 7 with closes")


def test_days_among_hours_are_refused(filed: Settings, night: Night, hundred: pd.DataFrame) -> None:
    assert filed.source.hourly_path is not None
    hundred.assign(source="simulated").to_csv(filed.source.hourly_path, index=False)
    with pytest.raises(FeedError, match=r"hours.csv: every candle begins at midnight; these are daily ones"):
        night(filed, "2020-10-08")
    assert dump(filed)["candle_hour"].empty


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("hourly = true", "hourly = false", "hourly = true and hourly_path go together"),
        ("hours.csv", "candles.parquet", "hourly_path is path, too"),
        ("hourly = true", 'hourly = true\nhourly_first_day = "2020-01-01"', "only for kind exchange"),
        ('kind = "candles"', 'kind = "bundled"', "hourly needs kind candles or exchange, not bundled"),
    ],
)
def test_what_makes_no_sense_is_refused_by_key(filed: Settings, tmp_path: Path, old: str, new: str, told: str) -> None:
    path = tmp_path / "small.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(SettingsError, match=told):
        settings_module.load(path)


def test_hours_of_an_exchange_are_said_by_its_venues(
    fed: Exchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match="hourly is said by each"):
        written(tmp_path, monkeypatch, venue(fed.address), more="hourly = true")
    assert feed.read_hourly(written(tmp_path, monkeypatch, venue(fed.address)), {}, date(2020, 10, 6)) == ([], [])


def test_the_backtest_takes_an_hour_from_the_first_source_that_has_it(
    fed: Exchange, hours: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, night: Night
) -> None:
    chosen = written(tmp_path, monkeypatch, hourly(fed))
    with warehouse_of(chosen).session() as session:
        assert intraday.stored(session, chosen, date(2020, 10, 7)).bars.empty
    night(chosen, "2020-10-06")
    at = (hours["symbol"] == "AAA") & (hours["date"] == "2020-10-06 05:00")
    fed.put(hours.assign(low=hours["low"].where(~at, hours["low"] / 2)), HOUR_STEP)
    night(chosen, "2020-10-07")
    with warehouse_of(chosen).session() as session:
        bars = intraday.stored(session, chosen, date(2020, 10, 6)).bars
        later = intraday.stored(session, chosen, date(2020, 10, 7)).bars
        other = session.everything("candle_hour").assign(source="nobody", low_usd=1.0, revision=9)
        with session.transaction():
            session.insert("candle_hour", other)
            noted(session)
        same = intraday.stored(session, chosen, date(2020, 10, 6)).bars
    assert not bars.duplicated(["symbol", "ts"]).any()
    assert len(bars) == 2 * 6 * 24
    assert len(later) == 2 * 7 * 24
    newest = bars[(bars["symbol"] == "AAA") & (bars["ts"] == "2020-10-06 05:00")]["low_usd"].item()
    assert newest == pytest.approx(hours.loc[at, "low"].item() / 2)
    pd.testing.assert_frame_equal(same, bars)
