"""Hourly bars from a file: what is taken, what is left out and counted, what is refused by name."""

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from dagster_project import intraday
from dagster_project import settings as settings_module
from dagster_project.market_feed import FeedError
from dagster_project.settings import Settings

DAY = date(2018, 12, 30)


@pytest.fixture(scope="module")
def embedded() -> Settings:
    return settings_module.load(Path(__file__).resolve().parents[2] / "config" / "embedded.toml")


def rows(symbol: str, hours: int = 4, source: str = "one") -> pd.DataFrame:
    ts = pd.date_range("2018-12-30 21:00", periods=hours, freq="h")
    return pd.DataFrame(
        {"ts": ts, "symbol": symbol, "source": source, "freq": "1h", "high": 10.0, "low": range(1, hours + 1)}
    )


def read(
    settings: Settings, tmp_path: Path, frame: pd.DataFrame, *sources: str, name: str = "h.csv"
) -> intraday.Intraday:
    path = tmp_path / name
    if name.endswith("parquet"):
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return intraday.read(settings, path, sources, DAY)


@pytest.mark.parametrize("name", ["h.csv", "h.csv.gz", "h.parquet"])
def test_hours_of_configured_markets_up_to_the_end_of_the_day(embedded: Settings, tmp_path: Path, name: str) -> None:
    symbol = next(iter(embedded.markets))
    frame = pd.concat([rows(symbol), rows("UNKNOWN")])
    found = read(embedded, tmp_path, frame, name=name)
    assert found.bars["ts"].astype(str).tolist() == [f"2018-12-30 {hour}:00:00" for hour in (21, 22, 23)]
    assert found.bars["low_usd"].tolist() == [1.0, 2.0, 3.0]
    assert found.left_out == {"after the day": 1}


def test_rows_that_are_no_hours_are_left_out_and_counted(embedded: Settings, tmp_path: Path) -> None:
    symbol = next(iter(embedded.markets))
    frame = rows(symbol, 3)
    bad = [
        frame.head(1).assign(freq="4h"),
        frame.head(1).assign(ts=pd.Timestamp("2018-12-30 20:30")),
        frame.head(1).assign(ts=pd.Timestamp("2018-12-30 20:00"), low=11.0),
        frame.head(1).assign(ts=pd.Timestamp("2018-12-30 19:00"), low=-1.0),
        frame.tail(1).assign(low=2.5),
    ]
    found = read(embedded, tmp_path, pd.concat([frame, *bad]))
    assert found.left_out == {"not hourly": 1, "not on the hour": 1, "no range": 2, "two bars of one hour": 2}
    assert len(found.bars) == 2


def test_the_first_source_that_has_an_hour_gives_it(embedded: Settings, tmp_path: Path) -> None:
    symbol = next(iter(embedded.markets))
    frame = pd.concat([rows(symbol, 2), rows(symbol, 3, "two").assign(low=5.0), rows(symbol, 3, "three")])
    assert read(embedded, tmp_path, frame, "one", "two").bars["low_usd"].tolist() == [1.0, 2.0, 5.0]
    with pytest.raises(FeedError, match=rf"{symbol} has bars of one, three, two; name the order"):
        read(embedded, tmp_path, frame)
    with pytest.raises(FeedError, match="no bars of four; sources are one, three, two"):
        read(embedded, tmp_path, frame, "four")


def test_a_file_that_is_no_candle_file_is_refused_by_name(embedded: Settings, tmp_path: Path) -> None:
    symbol = next(iter(embedded.markets))
    with pytest.raises(FeedError, match=r"h.csv: no column low"):
        read(embedded, tmp_path, rows(symbol).drop(columns="low"))
    with pytest.raises(FeedError, match=r"h.csv: no column ts"):
        read(embedded, tmp_path, rows(symbol).drop(columns="ts"))
    with pytest.raises(FeedError, match=r"h.csv, column high"):
        read(embedded, tmp_path, rows(symbol).assign(high="ten"))
    with pytest.raises(FeedError, match=r"h.csv, column ts"):
        read(embedded, tmp_path, rows(symbol).assign(ts="yesterday"))
    with pytest.raises(FeedError, match=r"no column source to choose one from"):
        read(embedded, tmp_path, rows(symbol).drop(columns="source"), "one")
    with pytest.raises(FeedError, match=r"absent.csv: cannot be read"):
        intraday.read(embedded, tmp_path / "absent.csv", (), DAY)
    (tmp_path / "h.parquet").write_bytes(b"PAR1 no parquet")
    with pytest.raises(FeedError, match=r"h.parquet: cannot be read"):
        intraday.read(embedded, tmp_path / "h.parquet", (), DAY)
