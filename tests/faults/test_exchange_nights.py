"""Nights fed by exchanges: the whole job over loopback, and what the store has of each venue afterwards."""

import gzip
import json
import shutil
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from faults.exchange_server import Act, Exchange, closed_port, config, exchange, venue
from faults_support import Commands
from tests_support import dump

from assets import market_data
from assets import prices as asset_prices
from assets._run import Run
from benchmarks._small import simulated_candles
from dagster_project import raw_files
from dagster_project import settings as settings_module
from dagster_project.definitions import warehouse_of
from dagster_project.market_feed import FeedError
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse

Night = Callable[..., dict[str, int]]


@pytest.fixture(scope="module")
def days() -> pd.DataFrame:
    return pd.concat([simulated_candles("AAA", 1, days=130), simulated_candles("BBB", 2, days=130)], ignore_index=True)


@pytest.fixture
def fed(days: pd.DataFrame) -> Iterator[Exchange]:
    with exchange() as made:
        made.put(days)
        yield made


def written(folder: Path, monkeypatch: pytest.MonkeyPatch, *venues: str) -> Settings:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "small.toml").write_text(config(*venues))
    monkeypatch.setenv("PLIMSOLL_HOME", str(folder / "var"))
    monkeypatch.setenv("DAGSTER_HOME", str(folder / "dagster"))
    return settings_module.load(folder / "small.toml")


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Night:
    """Take a night's candles into the store, at 00:40 of the day after."""

    def take(chosen: Settings, day: str) -> dict[str, int]:
        monkeypatch.setenv("PLIMSOLL_NOW", f"{pd.Timestamp(day) + pd.Timedelta(days=1, minutes=40):%Y-%m-%dT%H:%M:%S}")
        with warehouse_of(chosen).session() as session:
            return market_data.ingest(session, chosen, Run(chosen, (date.fromisoformat(day),), "test"))

    return take


@pytest.mark.slow
def test_the_nightly_job_runs_on_exchanges_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame, plimsoll: Commands
) -> None:
    with exchange() as made:
        made.put(candles)
        made.page = 400
        chosen = written(tmp_path, monkeypatch, venue(made.address), venue(made.address, "kraken", symbols="AAA"))
        environment = {"PLIMSOLL_NOW": "2022-06-01T00:40:00"}
        command = ("report", "--config", str(tmp_path / "small.toml"), "--as-of", "2022-05-31")
        told = plimsoll(*command, environment=environment)
        assert told.code in (0, 3), told.err
        first, asked = dump(chosen), len(made.asked)
        assert dict(first["candle"].groupby(["source", "symbol"]).size()) == {
            ("binance_spot", "AAA"): 700,
            ("binance_spot", "BBB"): 700,
            ("kraken_spot", "AAA"): 700,
        }
        assert dict(first["price"].groupby("symbol")["source"].unique().map(list)) == {
            "AAA": ["consensus"],
            "BBB": ["binance_spot"],
        }
        assert len(first["price"]) == 1400
        assert first["price"]["gap_sessions"].eq(0).all()
        assert set(first["recommendation"]["symbol"]) == {"AAA", "BBB"}
        assert (tmp_path / "var" / "small" / "reports" / "2022-05-31" / "report.pdf").is_file()
        # A second run has nothing to ask for and nothing to write.
        again = plimsoll(*command, "--stage", "candle", "--stage", "price", environment=environment)
        assert again.code == 0, again.err
        assert len(made.asked) == asked
    for name, rows in dump(chosen).items():
        pd.testing.assert_frame_equal(rows, first[name])


def test_bytes_are_kept_as_received_and_named_by_their_rows(
    fed: Exchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, night: Night
) -> None:
    fed.page = 60
    chosen = written(tmp_path, monkeypatch, venue(fed.address))
    counts = night(chosen, "2020-11-07")
    found = dump(chosen)
    assert counts["candles"] == 260
    assert counts["quarantined"] == 0
    assert len(found["raw_file"]) == counts["raw_files"] == 6
    assert set(found["candle"]["source_sha256"]) == set(found["raw_file"]["source_sha256"])
    assert found["raw_file"]["accepted_count"].sum() == 260
    for row in found["raw_file"].itertuples():
        content = gzip.decompress((tmp_path / "var" / "small" / row.raw_path).read_bytes())
        assert len(content) == row.byte_count
        assert {line[0] for line in json.loads(content)}
        assert row.origin.startswith("binance_spot ")


def test_the_store_can_be_made_again_from_what_was_kept(
    fed: Exchange, days: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, night: Night
) -> None:
    fed.page = 60
    chosen = written(tmp_path, monkeypatch, venue(fed.address), venue(fed.address, "kraken"))
    fed.put(days[days["date"] <= "2020-11-06"])
    night(chosen, "2020-11-05")
    fed.put(days.assign(close=days["close"].where(days["date"] != "2020-10-20", days["low"])))
    night(chosen, "2020-11-07")
    with warehouse_of(chosen).session() as session:
        before = {name: session.everything(name) for name in ("candle", "raw_file")}
    fed.always = Act(status=503)
    with Warehouse(path=str(tmp_path / "again.duckdb")).session() as session:
        for as_of in (date(2020, 11, 5), date(2020, 11, 7)):
            together = [one for one in raw_files.arrivals(chosen) if one.as_of == as_of]
            assert market_data.replay(session, chosen, together, Run(chosen, (as_of,), "test"))["candles"]
            assert market_data.replay(session, chosen, together, Run(chosen, (as_of,), "test")) == {}
        stored = {name: session.everything(name) for name in ("candle", "raw_file")}
    for name, rows in stored.items():
        # What came second comes second again, and is known from when it came; only the first load is assumed.
        keys = list(rows.columns)
        pd.testing.assert_frame_equal(
            rows.sort_values(keys, kind="stable", ignore_index=True),
            before[name].sort_values(keys, kind="stable", ignore_index=True),
        )


def test_a_revised_history_is_a_second_value_beside_the_first(
    fed: Exchange, days: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, night: Night
) -> None:
    chosen = written(tmp_path, monkeypatch, venue(fed.address))
    night(chosen, "2020-11-05")
    revised = days.copy()
    at = (revised["symbol"] == "AAA") & (revised["date"] == "2020-10-20")
    revised.loc[at, "close"] = revised.loc[at, "low"]
    fed.put(revised)
    assert night(chosen, "2020-11-06")["candles"] == 3
    with warehouse_of(chosen).session() as session:
        candle = session.everything("candle")
        newest = session.query("newest_candles", source="binance_spot")
    both = candle[(candle["symbol"] == "AAA") & (candle["date"] == "2020-10-20")].sort_values("revision")
    assert list(both["revision"]) == [1, 2]
    assert list(both["close_usd"]) == [days.loc[at, "close"].item(), days.loc[at, "low"].item()]
    assert list(both["known_at"]) == [pd.Timestamp("2020-10-21 00:30"), pd.Timestamp("2020-11-07 00:40")]
    assert list(both["is_known_at_assumed"]) == [True, False]
    new = candle[candle["date"] == "2020-11-06"]
    assert set(new["known_at"]) == {pd.Timestamp("2020-11-07 00:40")}
    assert not new["is_known_at_assumed"].any()
    mine = newest[(newest["symbol"] == "AAA") & (newest["date"] == "2020-10-20")]
    assert mine["close_usd"].item() == days.loc[at, "low"].item()


def test_the_first_venue_is_the_price_and_another_may_be_away(
    fed: Exchange, days: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, night: Night
) -> None:
    with exchange() as second:
        second.put(days.assign(**{name: days[name] * 1.01 for name in ("open", "high", "low", "close")}))
        chosen = written(tmp_path, monkeypatch, venue(second.address, "kraken", symbols="AAA"), venue(fed.address))
        assert night(chosen, "2020-11-05")["series_without_news"] == 0
    assert chosen.source.id_of("AAA") == "kraken_spot"
    assert chosen.source.id_of("BBB") == "binance_spot"
    counts = night(chosen, "2020-11-06")
    assert (counts["candles"], counts["series_without_news"]) == (2, 1)
    with warehouse_of(chosen).session() as session:
        prices = asset_prices.of_primary(session, chosen, "newest_candles")
        stored = session.query("candle_last_days")
    assert dict(prices.groupby("symbol")["source"].unique().map(list)) == {
        "AAA": ["kraken_spot"],
        "BBB": ["binance_spot"],
    }
    last = {(row.source, row.symbol): row.last_date.date() for row in stored.itertuples()}
    assert last == {
        ("kraken_spot", "AAA"): date(2020, 11, 5),
        ("binance_spot", "AAA"): date(2020, 11, 6),
        ("binance_spot", "BBB"): date(2020, 11, 6),
    }


@pytest.mark.parametrize(
    "act", [Act(cut=200), Act(status=503), Act(change=lambda _: b"<html>")], ids=["cut short", "503", "no JSON"]
)
def test_a_page_that_fails_leaves_nothing_of_its_night(
    fed: Exchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, night: Night, act: Act
) -> None:
    fed.page = 60
    chosen = written(tmp_path, monkeypatch, venue(fed.address))
    fed.acts = [Act()]
    fed.always = act
    with pytest.raises(FeedError, match=r"2 market\(s\) without candles, nothing was stored"):
        night(chosen, "2020-11-05")
    assert all(rows.empty for rows in dump(chosen).values())
    assert not (tmp_path / "var" / "small" / "raw").exists()
    fed.always = None
    assert night(chosen, "2020-11-05")["candles"] == 256


def test_a_bar_that_stands_alone_is_found_beside_its_neighbours(
    fed: Exchange, days: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, night: Night
) -> None:
    """One night brings one bar; what it is judged by are the days that are asked for again."""
    tick = days.copy()
    at = (tick["symbol"] == "AAA") & (tick["date"] == "2020-11-05")
    tick.loc[at, "low"] = 0.0001
    fed.put(tick)
    chosen = written(tmp_path, monkeypatch, venue(fed.address))
    night(chosen, "2020-11-04")
    assert night(chosen, "2020-11-05")["quarantined_reverting_spike"] == 1


def test_nobody_there_is_one_plain_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plimsoll: Commands) -> None:
    written(tmp_path, monkeypatch, venue(closed_port()))
    told = plimsoll(
        "report",
        "--config",
        str(tmp_path / "small.toml"),
        "--as-of",
        "2020-11-05",
        "--stage",
        "candle",
        environment={"PLIMSOLL_NOW": "2020-11-06T00:40:00"},
    )
    assert told.code == 1
    assert "done candles" not in told.err
    assert "2 market(s) without candles, nothing was stored" in told.err
    assert "Traceback" not in told.err
    shutil.rmtree(tmp_path / "var")
