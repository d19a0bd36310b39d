"""Dropped files that are not what they seem: wide, long, packed, doubled, misnamed, half a date."""

import gzip
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from tests_support import make_profile

from assets import market_data
from assets._run import Run
from dagster_project.definitions import warehouse_of
from dagster_project.market_feed import COLUMNS, FeedError, read
from dagster_project.settings import Settings

HEADER = ",".join(COLUMNS) + "\n"
ROW = "2020-07-01,{symbol},simulated,100,101,99,100.5,3,base\n"
BOTH = HEADER + ROW.format(symbol="AAA") + ROW.format(symbol="BBB")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame) -> Settings:
    return make_profile(tmp_path / "profile", monkeypatch, candles.groupby("symbol").head(40))


def refused(settings: Settings, path: Path, content: str | bytes, message: str) -> None:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(FeedError, match=message) as caught:
        read(settings.with_candles(path))
    assert path.name in str(caught.value)


def test_a_byte_changed_within_a_packed_file_is_damage(small: Settings, tmp_path: Path) -> None:
    whole = gzip.compress(BOTH.encode() * 50)
    for at in range(10, len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 0x55
        refused(small, tmp_path / "a.csv.gz", bytes(damaged), "a.csv.gz: damaged gzip")


def test_what_packs_too_well_is_not_unpacked_to_the_end(small: Settings, tmp_path: Path) -> None:
    bomb = gzip.compress(BOTH.encode() + b"\n" * (17 << 20))
    refused(small, tmp_path / "a.csv.gz", bomb, "unpacks to more than 200 times its size, as no candles do")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(BOTH.encode() + b"\n" * (1 << 19)))
    assert len(read(small.with_candles(tmp_path / "b.csv.gz"))) == 1


def test_a_table_is_not_wider_than_candles_are(small: Settings, tmp_path: Path) -> None:
    wide = HEADER.strip() + "".join(f",c{n}" for n in range(2000)) + "\n"
    refused(small, tmp_path / "a.csv", wide, "2009 columns, more than 64; a tidy candle file has date, symbol")
    frame = pd.DataFrame([dict.fromkeys([*COLUMNS, *(f"c{n}" for n in range(80))], "1")])
    frame.to_parquet(tmp_path / "b.parquet")
    with pytest.raises(FeedError, match=r"b\.parquet: 89 columns, more than 64"):
        read(small.with_candles(tmp_path / "b.parquet"))


@pytest.mark.parametrize("line", ["x" * 70_000, ROW.format(symbol="A" * 70_000), '"' + "y" * 70_000 + '"'])
def test_a_line_without_an_end_is_refused(small: Settings, tmp_path: Path, line: str) -> None:
    refused(small, tmp_path / "a.csv", BOTH + line, "line 4 is longer than 64 KiB")
    refused(small, tmp_path / "b.csv", line + "\n" + BOTH, "line 1 is longer than 64 KiB")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_quote_cannot_swallow_rows(small: Settings, tmp_path: Path, end: str) -> None:
    """The rows between would be one note, and gone."""
    note = BOTH.replace("unit\n", "unit,note\n").replace("base\n", "base,\n")
    swallowed = (
        note + '2020-07-02,AAA,simulated,100,101,99,100.5,3,base,"\n' + '2020-07-03,AAA,simulated,1,1,1,1,3,base,"\n'
    )
    refused(small, tmp_path / "a.csv", swallowed.replace("\n", end), "a quoted field spans lines; write one row a line")
    (tmp_path / "b.csv").write_text(note.replace("\n", end).replace("base,", 'base,"a, ""b"""'), newline="")
    assert len(read(small.with_candles(tmp_path / "b.csv"))[0].frame) == 2


def test_blank_lines_are_no_rows(small: Settings, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n" + BOTH.replace("\n", "\n\n") + "\n\n")
    assert len(read(small.with_candles(tmp_path / "a.csv"))[0].frame) == 2


def test_a_column_that_stands_twice_is_refused(small: Settings, tmp_path: Path) -> None:
    twice = BOTH.replace("unit\n", "unit,close\n").replace("base\n", "base,7\n")
    refused(small, tmp_path / "a.csv", twice, r"column\(s\) close stand twice; keep one")
    one = pyarrow.array(["1"])
    table = pyarrow.Table.from_arrays([one] * 10, names=[*COLUMNS, "close"])
    pyarrow.parquet.write_table(table, tmp_path / "b.parquet")
    with pytest.raises(FeedError, match=r"column\(s\) close stand twice"):
        read(small.with_candles(tmp_path / "b.parquet"))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (pyarrow.array([[1.0], [2.0]]), "list"),
        (pyarrow.array([{"a": 1.0}, {"a": 2.0}]), "struct"),
        (pyarrow.array([1, 2], pyarrow.duration("s")), "duration"),
        (pyarrow.array([b"1", b"2"]), "binary"),
        (pyarrow.array([1, 2], pyarrow.time32("s")), "time32"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_column_of_another_kind_is_refused(small: Settings, tmp_path: Path, values: pyarrow.Array, told: str) -> None:
    texts = pyarrow.array(["1", "2"])
    columns = [values if name == "close" else texts for name in COLUMNS]
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays(columns, names=list(COLUMNS)), tmp_path / "a.parquet")
    with pytest.raises(FeedError, match=rf"a\.parquet: column close holds {told}.*write texts, numbers or days"):
        read(small.with_candles(tmp_path / "a.parquet"))


def test_decimals_days_and_an_index_are_read_as_what_they_are(small: Settings, tmp_path: Path) -> None:
    from decimal import Decimal

    row = {
        "symbol": "AAA",
        "source": "simulated",
        "open": Decimal("1.5"),
        "high": np.float32(2),
        "low": 1,
        "close": "1.25",
    }
    frame = pd.DataFrame(
        [{**row, "volume": None, "volume_unit": "none"}], index=pd.Index([date(2020, 7, 1)], name="date")
    )
    both = pd.concat([frame, frame.assign(symbol="BBB")])
    both.to_parquet(tmp_path / "a.parquet")
    (raw,) = read(small.with_candles(tmp_path / "a.parquet"))
    assert list(raw.frame["date"]) == [pd.Timestamp("2020-07-01")] * 2
    assert raw.frame.loc[0, ["open", "high", "low", "close"]].tolist() == [1.5, 2.0, 1.0, 1.25]
    assert list(raw.frame["note"]) == ["", ""]


@pytest.mark.parametrize("name", ["a\nb.csv", "a\u202eb.csv", "a\u2028.csv", "\x1b[31m.csv"])
def test_a_name_with_control_characters_is_refused(small: Settings, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    (folder / name).write_text(BOTH)
    with pytest.raises(FeedError, match="holds control characters; give the file another") as caught:
        read(small.with_candles(folder))
    assert name not in str(caught.value)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("date", "2020", "unreadable_date"),
        ("date", "2020-07", "unreadable_date"),
        ("date", "now", "unreadable_date"),
        ("date", "today", "unreadable_date"),
        ("date", "01.07.2020", "unreadable_date"),
        ("date", "2020-02-30", "unreadable_date"),
        ("date", "1970-01-01", "out_of_range_date"),
        ("date", "2022-07-02", "out_of_range_date"),
        ("close", "1e-30", "absurd_scale"),
        ("close", "-inf", "not_finite"),
        ("close", "100,5", "unreadable_number"),
        ("close", "0x64", "unreadable_number"),
        ("close", "1_00", "unreadable_number"),
        ("close", "１００", "unreadable_number"),
        ("open", "True", "unreadable_number"),
        ("volume", "-3", "negative_volume"),
        ("volume", "inf", "not_finite"),
        ("volume_unit", "=cmd|' /C calc'!A0", "unknown_volume_unit"),
    ],
)
def test_what_is_half_a_value_is_set_aside(
    small: Settings, tmp_path: Path, candles: pd.DataFrame, suffix: str, column: str, value: str, reason: str
) -> None:
    frame = candles.groupby("symbol").head(40).reset_index(drop=True)
    frame["date"] = frame["date"].dt.strftime("%Y-%m-%d")
    frame = frame.astype(str)
    frame.loc[20, column] = value
    path = tmp_path / f"a{suffix}"
    write: Callable[..., None] = frame.to_csv if suffix == ".csv" else frame.to_parquet
    write(path, index=False)
    chosen = small.with_candles(path)
    with warehouse_of(chosen).session() as session:
        market_data.ingest(session, chosen, Run(chosen, (date(2022, 6, 30),), "test"))
        assert list(session.everything("candle_quarantine")["reason"]) == [reason]
        assert len(session.everything("candle")) == 79
