"""The bulk way into the store: row for row what the slow way leaves, whatever is wrong with the files."""

from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests_support import dump, files_of, make_profile

from assets import _bulk, market_data
from assets._run import Run
from benchmarks._small import simulated_candles
from dagster_project import raw_files
from dagster_project import settings as settings_module
from dagster_project.definitions import warehouse_of
from dagster_project.market_feed import FeedError
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse

DAY = date(2021, 12, 30)
SYMBOLS = [f"M{n:02d}" for n in range(14)]
FIELDS = ["open", "high", "low", "close"]


def settings_with(chosen: Settings, symbols: list[str], close_only: str = "") -> Settings:
    """The small profile with other markets."""
    market = chosen.markets["BBB"]
    made = {one: market.model_copy(update={"name": one, "is_close_only": one == close_only}) for one in symbols}
    return chosen.model_copy(update={"markets": made})


def history() -> pd.DataFrame:
    """Fourteen markets to 2021-12-30, all sound."""
    made = [simulated_candles(one, 40 + n, days=548, sigma=0.01) for n, one in enumerate(SYMBOLS)]
    return pd.concat(made, ignore_index=True)


def at(rows: pd.DataFrame, symbol: str, day: str) -> pd.Series:
    return (rows["symbol"] == symbol) & (rows["date"] == day)


def spoiled(rows: pd.DataFrame) -> pd.DataFrame:
    """One thing wrong with each of ten markets, and a fall of sixty percent that is none in another."""
    rows = rows.copy()
    rows.loc[at(rows, "M00", "2021-03-01"), "close"] = np.nan
    rows.loc[at(rows, "M01", "2021-03-01"), "low"] = -1.0
    rows.loc[at(rows, "M02", "2021-03-01"), "high"] = np.inf
    rows.loc[at(rows, "M03", "2021-03-01"), "volume"] = -5.0
    rows.loc[at(rows, "M04", "2021-03-01"), "volume_unit"] = "coins"
    rows.loc[at(rows, "M05", "2021-03-01"), ["low", "close"]] = rows.loc[at(rows, "M05", "2021-03-01"), "low"] * 0.1
    rows.loc[at(rows, "M06", "2021-03-01"), "low"] *= 0.05
    rows.loc[(rows["symbol"] == "M07") & (rows["date"] >= "2021-06-01"), FIELDS] *= 0.4
    rows.loc[at(rows, "M08", "2021-03-01"), "high"] = rows.loc[at(rows, "M08", "2021-03-01"), "low"] * 0.9
    rows.loc[at(rows, "M09", "2021-03-02"), "volume"] = np.nan
    twice = rows[at(rows, "M10", "2021-03-01")]
    other = rows[at(rows, "M11", "2021-03-01")].assign(close=lambda one: one["high"])
    strange = rows[at(rows, "M12", "2021-03-01")].assign(date=pd.Timestamp("1969-05-01"))
    foreign = rows.head(3).assign(source="another")
    stranger = rows.head(3).assign(symbol="ZZZ")
    return pd.concat([rows, twice, other, strange, foreign, stranger], ignore_index=True)


def ordered(rows: pd.DataFrame, how: str) -> pd.DataFrame:
    if how == "by day":
        return rows.sort_values(["date", "symbol"], kind="stable", ignore_index=True)
    return rows.sample(frac=1.0, random_state=4, ignore_index=True) if how == "shuffled" else rows


def in_files(folder: Path, rows: pd.DataFrame) -> None:
    """Lay rows into three files that meet in time; the second overlaps the third by a day of one market."""
    folder.mkdir()
    cuts = ["1900-01-01", "2021-02-01", "2021-09-01", "2100-01-01"]
    for n, (start, end) in enumerate(pairwise(cuts)):
        mine = rows[(rows["date"] >= start) & (rows["date"] < end)]
        if n == 1:
            mine = pd.concat([mine, rows[at(rows, "M13", "2021-09-02")]])
        mine.to_parquet(folder / f"part{n}.parquet", index=False)


def loaded(chosen: Settings, *, is_bulk: bool) -> dict[str, int]:
    run = Run(chosen, (DAY,), "test")
    with pytest.MonkeyPatch.context() as patch, warehouse_of(chosen).session() as session:
        patch.setattr(_bulk, "LEAST_ROWS", 1 if is_bulk else 10**12)
        return market_data.ingest(session, chosen, run)


@pytest.mark.parametrize("how", ["by market", "by day", "shuffled"])
def test_both_ways_leave_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    rows = ordered(spoiled(history()), how)
    left, counts, kept = {}, {}, {}
    for name in ("bulk", "slow"):
        made = make_profile(tmp_path / name, monkeypatch, rows)
        in_files(tmp_path / name / "drop", rows)
        chosen = settings_with(made, SYMBOLS).with_candles(tmp_path / name / "drop")
        monkeypatch.setenv("PLIMSOLL_NOW", "2021-12-31T00:40:00")
        counts[name] = loaded(chosen, is_bulk=name == "bulk")
        left[name], kept[name] = dump(chosen), files_of(chosen)
        with warehouse_of(chosen).session() as session:
            left[name]["known"] = session.everything("candle").sort_values(["symbol", "date"], ignore_index=True)
            assert session.contract_failures("candle").empty
        assert loaded(chosen, is_bulk=True)["candles"] == 0, "what is there is not written again"
    assert counts["bulk"] == counts["slow"]
    reasons = set(left["slow"]["candle_quarantine"]["reason"])
    assert reasons >= {
        "not_finite",
        "not_positive",
        "negative_volume",
        "unknown_volume_unit",
        "reverting_spike",
        "broken_ohlc_order",
        "duplicate_same",
        "duplicate_conflict",
        "out_of_range_date",
    }
    for table in ("candle", "candle_quarantine", "raw_file", "known"):
        pd.testing.assert_frame_equal(left["bulk"][table], left["slow"][table], obj=table)
    assert kept["bulk"] == kept["slow"]


def test_the_store_is_made_again_alike_from_what_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = spoiled(history())
    made = make_profile(tmp_path, monkeypatch, rows)
    in_files(tmp_path / "drop", rows)
    chosen = settings_with(made, SYMBOLS).with_candles(tmp_path / "drop")
    monkeypatch.setenv("PLIMSOLL_NOW", "2021-12-31T00:40:00")
    loaded(chosen, is_bulk=True)
    before = dump(chosen)
    monkeypatch.setattr(_bulk, "LEAST_ROWS", 1)
    monkeypatch.setattr(market_data._taking, "taken", None)
    again = Warehouse(path=str(tmp_path / "again.duckdb"))
    with again.session() as session:
        market_data.replay(session, chosen, raw_files.arrivals(chosen), Run(chosen, (DAY,), "test"))
    for table in ("candle", "candle_quarantine", "raw_file"):
        pd.testing.assert_frame_equal(dump(chosen, again)[table], before[table], obj=table)


def test_sound_series_go_by_columns_and_the_others_get_a_second_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = spoiled(history())
    made = make_profile(tmp_path, monkeypatch, rows)
    chosen = settings_with(made, SYMBOLS, close_only="M13")
    monkeypatch.setenv("PLIMSOLL_NOW", "2021-12-31T00:40:00")
    seen: list[str] = []
    true = _bulk._taking.screened

    def watched(settings: Settings, frame: pd.DataFrame, *more: object) -> tuple[pd.DataFrame, pd.DataFrame]:
        seen.extend(frame["symbol"].unique())
        return true(settings, frame, *more)

    monkeypatch.setattr(_bulk._taking, "screened", watched)
    loaded(chosen, is_bulk=True)
    assert sorted(seen) == [one for one in SYMBOLS if one != "M09"], "an absent volume is no fault"


def test_later_rows_wait_for_their_own_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = settings_with(make_profile(tmp_path, monkeypatch, history()), SYMBOLS)
    monkeypatch.setenv("PLIMSOLL_NOW", "2022-03-01T00:40:00")
    run = Run(made, (date(2021, 10, 1),), "test")
    with warehouse_of(made).session() as session:
        monkeypatch.setattr(_bulk, "LEAST_ROWS", 1)
        market_data.ingest(session, made, run)
        assert session.everything("candle")["date"].max() == pd.Timestamp("2021-10-01")
        assert session.everything("candle_quarantine").empty
        # The store has some now: the rest comes the slow way, known from when it came.
        market_data.ingest(session, made, Run(made, (DAY,), "test"))
        rows = session.everything("candle")
    assert rows["date"].max() == pd.Timestamp(DAY)
    assert set(rows.loc[rows["date"] > "2021-10-01", "known_at"]) == {pd.Timestamp("2022-03-01 00:40")}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: rows.assign(source="another"), "no rows of source 'simulated'; it holds another"),
        (lambda rows: rows[rows["symbol"] != "M03"], r"unknown symbol\(s\) M03 in source 'simulated'"),
        (
            lambda rows: rows.assign(symbol=rows["symbol"].replace("M03", "M\u0430 3")),
            "column symbol: 'M\u0430 3' is no",
        ),
        (lambda rows: rows.assign(symbol=rows["symbol"].replace("M03", " ")), "column symbol is empty in row"),
    ],
)
def test_files_that_lack_something_are_refused_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: object, told: str
) -> None:
    assert callable(change)
    made = settings_with(make_profile(tmp_path, monkeypatch, change(history())), SYMBOLS)
    monkeypatch.setenv("PLIMSOLL_NOW", "2021-12-31T00:40:00")
    for is_bulk in (True, False):
        with pytest.raises(FeedError, match=told):
            loaded(made, is_bulk=is_bulk)
    assert all(rows.empty for rows in dump(made).values())


def test_a_file_that_changes_meanwhile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = settings_with(make_profile(tmp_path, monkeypatch, history()), SYMBOLS)
    path = tmp_path / "candles.parquet"
    true = _bulk.triage.doubtful

    def meanwhile(findings: object) -> object:
        history().assign(volume=1.0).to_parquet(path, index=False)
        return true(findings)  # type: ignore[arg-type]

    monkeypatch.setattr(_bulk.triage, "doubtful", meanwhile)
    with pytest.raises(FeedError, match=r"candles.parquet: changed while it was read"):
        loaded(made, is_bulk=True)
    assert all(rows.empty for rows in dump(made).values())


def test_the_profile_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes the slow way: other formats, few rows, other columns."""
    make_profile(tmp_path, monkeypatch, history())
    chosen = settings_with(settings_module.load(tmp_path / "small.toml"), SYMBOLS)
    monkeypatch.setattr(_bulk, "LEAST_ROWS", 1)
    run, now = Run(chosen, (DAY,), "test"), pd.Timestamp("2021-12-31 00:40")
    for name, change in (
        ("rows.csv", lambda path: history().to_csv(path, index=False)),
        ("days.parquet", lambda path: history().assign(date=lambda r: r["date"].astype(str)).to_parquet(path)),
        ("more.parquet", lambda path: history().assign(more=1).to_parquet(path)),
        ("whole.parquet", lambda path: history().assign(volume=1).to_parquet(path)),
    ):
        change(tmp_path / name)
        other = chosen.with_candles(tmp_path / name)
        with warehouse_of(other).session() as session:
            assert _bulk.of_files(session, other, run, now) is None, name
