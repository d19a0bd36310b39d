"""Bad inputs: what cannot be read is an error with a remedy; what is no bar is set aside, never repaired."""

import gzip
import os
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import make_profile

from assets import market_data
from assets import prices as asset_prices
from assets._run import Run
from benchmarks._small import simulated_candles
from dagster_project import market_feed
from dagster_project import settings as settings_module
from dagster_project.market_feed import COLUMNS, FeedError, RawInput, read
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse

HEADER = ",".join(COLUMNS) + "\n"
ROW = "2020-07-01,{symbol},simulated,100,101,99,100.5,3,base\n"
BOTH = HEADER + ROW.format(symbol="AAA") + ROW.format(symbol="BBB")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame) -> Settings:
    return make_profile(tmp_path / "profile", monkeypatch, candles.groupby("symbol").head(40))


def feed(settings: Settings, path: Path, content: str | bytes) -> list[RawInput]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read(settings.with_candles(path))


def refused(settings: Settings, path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(FeedError, match=message) as caught:
        feed(settings, path, content)
    assert path.name in str(caught.value)


def test_a_sound_file_is_read(small: Settings, tmp_path: Path) -> None:
    (raw,) = feed(small, tmp_path / "a.csv", BOTH)
    assert raw.origin == "a.csv"
    assert raw.content == BOTH.encode()
    assert list(raw.frame["symbol"]) == ["AAA", "BBB"]
    assert list(raw.frame["row_number"]) == [1, 2]
    assert raw.frame["close"].dtype == np.float64
    assert raw.frame["note"].eq("").all()


def test_a_missing_file_is_named(small: Settings, tmp_path: Path) -> None:
    with pytest.raises(FeedError, match=r"none\.csv: no such file or folder"):
        read(small.with_candles(tmp_path / "none.csv"))


def test_a_source_without_a_path_says_how_to_give_one(small: Settings) -> None:
    bare = small.model_copy(update={"source": small.source.model_copy(update={"path": None})})
    with pytest.raises(FeedError, match=r"source\.path is not set.*--candles PATH"):
        read(bare)


def test_an_empty_folder_is_named(small: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    (folder / "notes.txt").write_text("no candles")
    (folder / ".hidden.csv").write_text(BOTH)
    with pytest.raises(FeedError, match=r"drop: no candle file in this folder; put \.csv"):
        read(small.with_candles(folder))


def test_an_unknown_symbol_is_named_with_those_there_are(small: Settings, tmp_path: Path) -> None:
    content = HEADER + "".join(ROW.format(symbol=one) for one in ("AAA", "CCC", "NA"))
    refused(
        small, tmp_path / "a.csv", content, r"unknown symbol\(s\) BBB in source 'simulated'; it holds AAA, CCC, NA\."
    )


def test_an_unknown_source_is_named_with_those_there_are(small: Settings, tmp_path: Path) -> None:
    refused(
        small,
        tmp_path / "a.csv",
        BOTH.replace("simulated", "elsewhere"),
        "no rows of source 'simulated'; it holds elsewhere",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty; a tidy candle file has date"),
        ("  \n\n", "empty"),
        (HEADER, "no rows of source 'simulated'; it holds nothing"),
        (
            BOTH.replace("close,", "last,", 1),
            r"column\(s\) close missing; found date, symbol, source, open, high, low, last",
        ),
        (BOTH.replace(",", ";"), r"column\(s\) date, symbol, .* missing; found date;symbol;source"),
        (BOTH.encode("utf-16"), "not UTF-8 at byte 0"),
        ("price of café\n".encode("latin-1"), "not UTF-8 at byte 12"),
        (BOTH.replace("\n", ",7\n").replace("unit,7", "unit"), "not a comma-separated file"),
        (BOTH + ROW.format(symbol="AAA").strip() + ",7,8\n", r"line 4, saw 11"),
        (BOTH + "2020-07-02,AAA\n", "column source is empty in row 3"),
        (BOTH + ROW.format(symbol=""), "column symbol is empty in row 3"),
        (BOTH + ROW.format(symbol="A\u0410A"), "column symbol: .* is no market id"),
        (BOTH + ROW.format(symbol="../../x"), r"column symbol: '\.\./\.\./x' is no market id"),
        (BOTH.replace("100", "1\x000"), "NUL characters"),
        (HEADER + "<<<<<<< Updated upstream\n" + BOTH, r"line 2 is a merge-conflict marker \('<<<<<<< Updated"),
        (BOTH + "=======\n", "line 4 is a merge-conflict marker"),
        (BOTH + ">>>>>>> Stashed\n", "line 4 is a merge-conflict marker"),
        ('"' + BOTH, "not a comma-separated file"),
    ],
)
def test_a_csv_that_cannot_be_trusted_is_refused(
    small: Settings, tmp_path: Path, content: str | bytes, message: str
) -> None:
    refused(small, tmp_path / "bad.csv", content, message)


def test_marks_of_a_byte_order_carriage_returns_and_more_columns_do_no_harm(
    small: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    more = BOTH.replace("\n", ",9\r\n").replace("unit,9", "unit,trades")
    (raw,) = feed(small, tmp_path / "a.csv", "\ufeff" + more)
    assert list(raw.frame["close"]) == [100.5, 100.5]
    assert "a.csv: column(s) trades are not read" in caplog.text


def test_gzip_is_unpacked_and_damage_or_a_bomb_is_refused(
    small: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = gzip.compress(BOTH.encode())
    (raw,) = feed(small, tmp_path / "a.csv.gz", packed)
    assert raw.suffix == ".csv.gz"
    assert len(raw.frame) == 2
    refused(small, tmp_path / "b.csv.gz", packed[:-9], "damaged gzip")
    refused(small, tmp_path / "c.csv.gz", b"not packed", "damaged gzip")
    monkeypatch.setattr(market_feed, "SIZE_CAP", 1 << 20)
    refused(
        small, tmp_path / "d.csv.gz", gzip.compress(BOTH.encode() + b"\n" * (2 << 20)), "unpacks to more than 1 MiB"
    )
    refused(small, tmp_path / "e.csv", BOTH.encode() + b"\n" * (2 << 20), "larger than 1 MiB")


def test_parquet_categories_dates_and_texts_are_read(small: Settings, tmp_path: Path, monkeypatch) -> None:
    frame = pd.DataFrame(
        {
            "date": [date(2020, 7, 1), date(2020, 7, 2)],
            "symbol": pd.Categorical(["AAA", "BBB"]),
            "source": pd.Categorical(["simulated"] * 2),
            "open": ["1", "x"],
            "high": pd.Categorical([2.0, 3.0]),
            "low": np.array([1, 2], dtype="int32"),
            "close": np.array([1.5, np.nan], dtype="float32"),
            "volume": [True, False],
            "volume_unit": [None, "base"],
        }
    )
    frame.to_parquet(tmp_path / "a.parquet")
    (raw,) = read(small.with_candles(tmp_path / "a.parquet"))
    assert list(raw.frame["date"]) == [pd.Timestamp("2020-07-01"), pd.Timestamp("2020-07-02")]
    assert list(raw.frame["symbol"]) == ["AAA", "BBB"]
    assert list(raw.frame["high"]) == [2.0, 3.0]
    assert list(raw.frame["volume_unit"]) == ["", "base"]
    assert list(raw.frame["note"]) == [
        "volume 'True' is no number",
        "open 'x' is no number; volume 'False' is no number",
    ]
    refused(small, tmp_path / "b.parquet", b"PAR1 no footer", "not a readable Parquet file")
    frame.loc[[0] * 20_000].to_parquet(tmp_path / "c.parquet")
    assert (tmp_path / "c.parquet").stat().st_size < 100_000
    monkeypatch.setattr(market_feed, "SIZE_CAP", 1 << 20)
    with pytest.raises(FeedError, match=r"c\.parquet: unpacks to more than 1 MiB"):
        read(small.with_candles(tmp_path / "c.parquet"))


def test_links_pipes_and_other_formats_are_refused(small: Settings, tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text(BOTH)
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "link.csv").symlink_to(tmp_path / "real.csv")
    (tmp_path / "linked").symlink_to(drop)
    for path in (tmp_path / "linked", drop, drop / "link.csv"):
        with pytest.raises(FeedError, match="symbolic link"):
            read(small.with_candles(path))
    (drop / "link.csv").unlink()
    os.mkfifo(drop / "pipe.csv")
    with pytest.raises(FeedError, match=r"pipe\.csv: no regular file"):
        read(small.with_candles(drop))
    refused(small, tmp_path / "candles.xlsx", BOTH, r"not \.csv, \.csv\.gz or \.parquet")


def test_two_markets_cannot_read_one_series(small: Settings) -> None:
    markets = {s: m.model_copy(update={"source_symbol": " aaa"}) for s, m in small.markets.items()}
    with pytest.raises(FeedError, match=r"markets\.BBB and markets\.AAA both read AAA"):
        read(small.model_copy(update={"markets": markets}))


def test_an_unknown_bundled_series_is_named(small: Settings) -> None:
    bundled = small.model_copy(update={"source": small.source.model_copy(update={"kind": "bundled"})})
    with pytest.raises(FeedError, match=r"markets\.AAA\.source_symbol 'aaa': bundled data sets are nasdaq, sp500, wti"):
        read(bundled)


@given(st.binary(max_size=300), st.sampled_from(["x.csv", "x.csv.gz", "x.parquet"]))
@settings(max_examples=80, deadline=None)
def test_no_bytes_get_past_the_reader_unexplained(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    path = tmp_path_factory.mktemp("any") / name
    with pytest.raises(FeedError, match="x"):
        market_feed._parse(path, content)


# What arrives is screened and stored


def ingest(settings: Settings, frame: pd.DataFrame, path: Path, last: str = "2022-06-30") -> dict[str, pd.DataFrame]:
    """Store what a file holds; tables by name, prices included."""
    frame.to_csv(path, index=False)
    chosen = settings.with_candles(path)
    run = Run(chosen, (date.fromisoformat(last),), "test")
    store = Warehouse(path=str(settings_module.profile_folder(settings) / "plimsoll.duckdb"))
    with store.session() as session:
        market_data.ingest(session, chosen, run)
        agreed = asset_prices.agree(chosen, asset_prices.newest_sources(session, chosen)).candles
        no_quote = session.query("no_quote_days", source="simulated")
        return {
            "candle": session.everything("candle"),
            "quarantine": session.everything("candle_quarantine"),
            "price": asset_prices.price_rows(chosen, next(iter(chosen.markets)), agreed, no_quote),
        }


@pytest.fixture
def frame(candles: pd.DataFrame) -> pd.DataFrame:
    return candles.groupby("symbol").head(40).reset_index(drop=True).astype({"close": object, "low": object})


@pytest.mark.parametrize(
    ("column", "value", "reason", "detail"),
    [
        ("close", "nan", "not_finite", "close nan"),
        ("close", "", "not_finite", "close nan"),
        ("close", "inf", "not_finite", "close inf"),
        ("close", "0", "not_positive", "close 0"),
        ("low", "-1", "not_positive", "low -1"),
        ("close", "1,234.5", "unreadable_number", "close '1,234.5' is no number"),
        ("low", "=HYPERLINK(1)", "unreadable_number", "low '=HYPERLINK(1)' is no number"),
        ("close", "1e308", "absurd_scale", "close 1e+308"),
        ("volume", "lots", "unreadable_number", "volume 'lots' is no number"),
        ("volume_unit", "BTC", "unknown_volume_unit", "volume_unit 'BTC'"),
        ("date", "the third of May", "unreadable_date", "date 'the third of May' is no day"),
        ("date", "03/05/2020", "unreadable_date", "date '03/05/2020' is no day"),
        ("date", "2020-07-21T08:00:00", "not_a_utc_day", "2020-07-21 08:00:00 UTC"),
        ("date", "2020-07-21T00:00:00+02:00", "not_a_utc_day", "2020-07-20 22:00:00 UTC"),
        ("date", "1969-12-31", "out_of_range_date", "1969-12-31"),
        ("date", "9999-12-31", "out_of_range_date", "9999-12-31"),
    ],
)
def test_a_row_that_is_no_bar_is_set_aside_and_leaves_a_gap(
    small: Settings, tmp_path: Path, frame: pd.DataFrame, column: str, value: str, reason: str, detail: str
) -> None:
    frame = frame.astype({"date": object, "volume": object, "volume_unit": object})
    frame["date"] = frame["date"].map(lambda day: str(day)[:10])
    frame.loc[20, column] = value
    found = ingest(small, frame, tmp_path / "a.csv")
    assert list(found["quarantine"]["reason"]) == [reason]
    assert list(found["quarantine"]["row_number"]) == [21]
    assert detail in found["quarantine"]["detail"].iloc[0]
    assert len(found["candle"]) == 79
    price = found["price"]
    assert len(price) == 39
    assert list(price.loc[20:21, "gap_sessions"]) == [1, 0]
    assert list(price.loc[20:21, "is_return_valid"]) == [False, True]


def test_a_day_with_two_values_is_set_aside_whole(small: Settings, tmp_path: Path, frame: pd.DataFrame) -> None:
    again = frame.iloc[[20]].assign(volume=1.0)
    found = ingest(small, pd.concat([frame, again]), tmp_path / "a.csv")
    assert list(found["quarantine"]["reason"]) == ["duplicate_conflict"] * 2
    assert set(found["quarantine"]["row_number"]) == {21, 81}
    assert found["price"]["gap_sessions"].sum() == 1


def test_a_day_with_one_value_twice_counts_once(small: Settings, tmp_path: Path, frame: pd.DataFrame) -> None:
    found = ingest(small, pd.concat([frame, frame.iloc[[20]]]), tmp_path / "a.csv")
    assert list(found["quarantine"]["reason"]) == ["duplicate_same"]
    assert len(found["price"]) == 40


@pytest.mark.parametrize("length", [1, 5, 30])
def test_a_gap_is_a_gap(small: Settings, tmp_path: Path, frame: pd.DataFrame, length: int) -> None:
    found = ingest(small, frame.drop(index=range(5, 5 + length)), tmp_path / "a.csv")
    assert found["quarantine"].empty
    assert list(found["price"]["gap_sessions"][found["price"]["gap_sessions"] > 0]) == [length]


def test_a_constant_market_passes_ingestion(small: Settings, tmp_path: Path, frame: pd.DataFrame) -> None:
    frame.loc[frame["symbol"] == "AAA", ["open", "high", "low", "close"]] = 1.0
    found = ingest(small, frame, tmp_path / "a.csv")
    assert found["quarantine"].empty
    assert found["price"]["close_usd"].eq(1.0).all()


@pytest.mark.parametrize("name", ["NA", "NULL", "TRUE", "1E5", "INF", "NAN"])
def test_a_symbol_that_looks_like_something_else_stays_text(
    small: Settings, tmp_path: Path, frame: pd.DataFrame, name: str
) -> None:
    renamed = small.model_copy(update={"markets": {name: small.markets["AAA"], "BBB": small.markets["BBB"]}})
    found = ingest(renamed, frame.replace({"symbol": {"AAA": name}}), tmp_path / "a.csv")
    assert set(found["candle"]["symbol"]) == {name, "BBB"}
    assert found["quarantine"].empty


def test_order_and_case_do_not_matter(small: Settings, tmp_path: Path, frame: pd.DataFrame) -> None:
    mixed = frame.sample(frac=1, random_state=1).replace({"symbol": {"AAA": " aaa "}})
    found = ingest(small, mixed, tmp_path / "a.csv")
    assert len(found["price"]) == 40
    assert found["price"]["gap_sessions"].sum() == 0


def test_a_bad_tick_goes_and_a_crash_stays(small: Settings, tmp_path: Path) -> None:
    frame = pd.concat([simulated_candles("AAA", 5, days=200), simulated_candles("BBB", 6, days=200)], ignore_index=True)
    frame.loc[120, "low"] = 0.0001
    crash = (frame["symbol"] == "BBB") & (frame["date"] >= frame["date"][150])
    frame.loc[crash, ["open", "high", "low", "close"]] *= 0.4
    frame.loc[crash.idxmax(), ["open", "high"]] /= 0.4
    found = ingest(small, frame, tmp_path / "a.csv")
    assert list(found["quarantine"]["reason"]) == ["reverting_spike"]
    assert list(found["quarantine"]["symbol"]) == ["AAA"]
    assert list(found["quarantine"]["row_number"]) == [121]
    assert (found["candle"]["symbol"] == "BBB").sum() == 200
