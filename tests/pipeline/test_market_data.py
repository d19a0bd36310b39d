"""Market data: bytes kept, candles appended, prices built, and a rerun that writes nothing."""

import gzip
import hashlib
from datetime import date
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from tests_support import dump, files_of, make_profile, noted

from dagster_project import settings as settings_module
from dagster_project.definitions import ROOT, build_defs, warehouse_of
from dagster_project.settings import Settings

DAY = "2022-05-31"
MARKET_DATA = ("candle", "price")


def run(settings: Settings, day: str = DAY, *, is_raising: bool = True) -> dg.ExecuteInProcessResult:
    job = build_defs(settings).resolve_job_def("nightly")
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(
            instance=instance,
            partition_key=day,
            raise_on_error=is_raising,
            asset_selection=[dg.AssetKey(key) for key in MARKET_DATA],
        )


def tables(settings: Settings) -> dict[str, pd.DataFrame]:
    """Every table with all columns, run ids and arrival times included."""
    with warehouse_of(settings).session() as session:
        names = ("candle", "price", "candle_quarantine", "raw_file", "commit_ledger")
        return {name: session.everything(name) for name in names}


def in_folder(settings: Settings, folder: Path, frames: dict[str, pd.DataFrame]) -> Settings:
    folder.mkdir(exist_ok=True)
    for name, frame in frames.items():
        frame.to_csv(folder / name, index=False)
    return settings.with_candles(folder)


@pytest.fixture
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame) -> Settings:
    return make_profile(tmp_path, monkeypatch, candles[candles["date"] >= "2022-03-01"])


def test_a_first_load(short: Settings, candles: pd.DataFrame) -> None:
    result = run(short)
    found = tables(short)
    expected = candles[candles["date"] >= "2022-03-01"].sort_values(["date", "symbol"], ignore_index=True)
    candle = found["candle"]
    assert list(candle["close_usd"]) == list(expected["close"])
    assert candle["revision"].eq(1).all()
    assert candle["is_known_at_assumed"].all()
    assert (candle["known_at"] == candle["date"] + pd.Timedelta(days=1, minutes=30)).all()
    price = found["price"]
    assert len(price) == len(expected)
    assert list(price.groupby("symbol")["is_return_valid"].sum()) == [82, 82]
    (raw,) = found["raw_file"].to_dict("records")
    packed = (settings_module.profile_folder(short) / raw["raw_path"]).read_bytes()
    content = gzip.decompress(packed)
    assert hashlib.sha256(content).hexdigest() == raw["source_sha256"] == candle["source_sha256"].iloc[0]
    assert short.source.path is not None
    assert content == short.source.path.read_bytes()
    assert (raw["byte_count"], raw["row_count"], raw["accepted_count"]) == (len(content), 184, 184)
    assert list(found["commit_ledger"]["stage"]) == ["candle", "price"]
    assert list(found["commit_ledger"]["row_count"]) == [185, 184 + 2 * 30], "prices, and scores of thirty days"
    passed = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    on_prices = ("grain", "broken", "disputed")
    on_feeds = ("feed_stale", "feed_quarantined")
    assert passed == dict.fromkeys(
        ["candle_grain", "candle_revisions", "candle_revised", *(f"price_{name}" for name in on_prices), *on_feeds],
        True,
    )


def test_a_rerun_writes_nothing(short: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    run(short)
    before, files = tables(short), files_of(short)
    monkeypatch.setenv("PLIMSOLL_NOW", "2022-08-01T00:30:00")
    run(short)
    after = tables(short)
    for name, rows in before.items():
        pd.testing.assert_frame_equal(rows, after[name], obj=name)
    assert files_of(short) == files


def test_packed_bytes_do_not_depend_on_the_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame
) -> None:
    kept = []
    for name, now in (("one", "2022-07-01T00:30:00"), ("two", "2022-08-01T00:30:00")):
        made = make_profile(tmp_path / name, monkeypatch, candles.groupby("symbol").tail(5))
        monkeypatch.setenv("PLIMSOLL_NOW", now)
        run(made)
        kept.append(files_of(made))
    assert kept[0] == kept[1]
    assert len(kept[0]) == 1


def test_only_days_up_to_the_partition_enter(short: Settings) -> None:
    run(short, "2022-04-10")
    found = tables(short)
    assert found["candle"]["date"].max() == found["price"]["date"].max() == pd.Timestamp("2022-04-10")
    assert found["candle_quarantine"].empty, "a later bar is no fault"


def test_an_older_partition_leaves_later_prices(short: Settings) -> None:
    run(short)
    before = tables(short)
    run(short, "2022-04-10")
    after = tables(short)
    for name in ("candle", "price"):
        pd.testing.assert_frame_equal(before[name], after[name], obj=name)
    assert list(after["commit_ledger"]["stage"]) == ["candle", "price", "price"], "its feeds were not scored yet"


def test_night_by_night_gives_the_same_values_and_says_when_they_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame
) -> None:
    recent = candles[candles["date"] >= "2022-03-01"]
    whole = make_profile(tmp_path / "whole", monkeypatch, recent)
    run(whole)
    expected = dump(whole)
    nightly = make_profile(tmp_path / "nightly", monkeypatch, recent)
    for day in ("2022-05-29", "2022-05-30", "2022-05-31"):
        monkeypatch.setenv("PLIMSOLL_NOW", f"{pd.Timestamp(day) + pd.Timedelta(days=1, hours=1)}")
        run(nightly, day)
    found = dump(nightly)
    for name in ("candle", "price"):
        pd.testing.assert_frame_equal(
            *(tables_[name].drop(columns="is_known_at_assumed") for tables_ in (expected, found)), obj=name
        )
    candle = tables(nightly)["candle"].set_index("date")
    assert candle.loc[:"2022-05-29", "is_known_at_assumed"].all()
    late = candle.loc["2022-05-30":]
    assert not late["is_known_at_assumed"].any()
    assert list(late["known_at"].unique()) == [pd.Timestamp("2022-05-31 01:00"), pd.Timestamp("2022-06-01 01:00")]


def test_a_revised_bar_is_a_new_revision_and_a_new_price(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame, short: Settings
) -> None:
    run(short)
    before = tables(short)
    revised = candles[candles["date"] >= "2022-03-01"].copy()
    at = (revised["date"] == "2022-04-20") & (revised["symbol"] == "AAA")
    revised.loc[at, "close"] = revised.loc[at, ["low", "high"]].mean(axis=1)
    short = make_profile(tmp_path, monkeypatch, revised)
    monkeypatch.setenv("PLIMSOLL_NOW", "2022-07-02T09:00:00")
    run(short)
    after = tables(short)
    fresh = after["candle"][after["candle"]["revision"] == 2]
    assert list(zip(fresh["symbol"], fresh["date"], strict=True)) == [("AAA", pd.Timestamp("2022-04-20"))]
    assert fresh["known_at"].iloc[0] == pd.Timestamp("2022-07-02 09:00:00")
    assert not fresh["is_known_at_assumed"].any()
    first = after["candle"][after["candle"]["revision"] == 1].reset_index(drop=True)
    pd.testing.assert_frame_equal(first, before["candle"])
    changed = after["price"]["price_hash"] != before["price"]["price_hash"]
    touched = after["price"][changed]
    assert set(touched["symbol"]) == {"AAA"}
    assert touched["date"].min() == pd.Timestamp("2022-04-20")
    assert list(after["commit_ledger"]["stage"]) == ["candle", "price"] * 2


def test_bars_that_are_not_final_stop_the_run(short: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLIMSOLL_NOW", "2022-06-01T00:29:59")
    result = run(short, is_raising=False)
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "bars of 2022-05-31 are final from 2022-06-01 00:30 UTC" in str(failure.step_failure_data.error)
    assert all(rows.empty for rows in tables(short).values())
    monkeypatch.setenv("PLIMSOLL_NOW", "2022-06-01T02:30:00+02:00")
    assert run(short).success


def test_a_source_that_cannot_be_read_leaves_the_store_as_it_was(short: Settings) -> None:
    run(short)
    before, files = tables(short), files_of(short)
    assert short.source.path is not None
    short.source.path.write_bytes(b"PAR1 cut off")
    result = run(short, is_raising=False)
    assert not result.success
    for name, rows in tables(short).items():
        pd.testing.assert_frame_equal(rows, before[name], obj=name)
    assert files_of(short) == files


def test_files_that_split_or_overlap_a_history_are_one_history(
    short: Settings, tmp_path: Path, candles: pd.DataFrame
) -> None:
    recent = candles[candles["date"] >= "2022-03-01"]
    parts = {
        "a.csv": recent[recent["date"] < "2022-04-15"],
        "b.csv": recent[recent["date"] >= "2022-04-10"],
        "copy_of_b.csv": recent[recent["date"] >= "2022-04-10"],
    }
    split = in_folder(short, tmp_path / "drop", parts)
    run(split)
    before = tables(split)
    assert len(before["candle"]) == len(before["price"]) == len(recent)
    assert len(before["raw_file"]) == 2, "equal bytes are one input"
    assert list(before["candle_quarantine"]["reason"].unique()) == ["duplicate_same"]
    assert len(before["candle_quarantine"]) == 10
    run(split)
    for name, rows in tables(split).items():
        pd.testing.assert_frame_equal(rows, before[name], obj=name)


def test_files_that_contradict_each_other_settle_nothing_and_do_not_flap(
    short: Settings, tmp_path: Path, candles: pd.DataFrame
) -> None:
    recent = candles[candles["date"] >= "2022-03-01"]
    other = recent[(recent["date"] == "2022-04-15") & (recent["symbol"] == "AAA")].assign(volume=1.0)
    split = in_folder(short, tmp_path / "drop", {"a.csv": recent, "b.csv": other})
    run(split)
    before = tables(split)
    assert list(before["candle_quarantine"]["reason"]) == ["duplicate_conflict"] * 2
    assert before["candle_quarantine"]["source_sha256"].nunique() == 2
    assert before["price"]["gap_sessions"].sum() == 1
    run(split)
    for name, rows in tables(split).items():
        pd.testing.assert_frame_equal(rows, before[name], obj=name)


def test_a_spike_that_the_next_night_reveals_leaves_the_prices_but_not_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame
) -> None:
    recent = candles[candles["date"] >= "2022-03-01"].reset_index(drop=True)
    at = recent.index[(recent["date"] == "2022-05-30") & (recent["symbol"] == "AAA")]
    recent.loc[at, ["low", "close"]] = recent.loc[at, "low"].iloc[0] * 0.05
    spiky = make_profile(tmp_path, monkeypatch, recent)
    run(spiky, "2022-05-30")
    first = tables(spiky)
    assert first["candle_quarantine"].empty
    assert (first["price"]["date"] == "2022-05-30").sum() == 2
    run(spiky)
    second = tables(spiky)
    assert list(second["candle_quarantine"]["reason"]) == ["reverting_spike"]
    assert list(second["price"].loc[second["price"]["date"] == "2022-05-30", "symbol"]) == ["BBB"]
    assert (second["candle"]["date"] == "2022-05-30").sum() == 2
    run(spiky)
    for name, rows in tables(spiky).items():
        pd.testing.assert_frame_equal(rows, second[name], obj=name)


def test_a_hole_in_the_revisions_stops_the_run_before_prices(short: Settings) -> None:
    run(short)
    with warehouse_of(short).session() as session, session.transaction():
        torn = session.everything("candle").iloc[[0]].assign(revision=3)
        session.insert("candle", torn)
        noted(session)
    result = run(short, is_raising=False)
    assert not result.success
    failed = [check.check_name for check in result.get_asset_check_evaluations() if not check.passed]
    assert failed == ["candle_revisions"]
    assert not [event for event in result.get_asset_materialization_events() if event.asset_key == dg.AssetKey("price")]


def test_a_doubled_row_fails_the_grain_check(short: Settings) -> None:
    run(short)
    with warehouse_of(short).session() as session, session.transaction():
        session.insert("candle", session.everything("candle").iloc[[0]])
        noted(session)
    result = run(short, is_raising=False)
    failed = {check.check_name for check in result.get_asset_check_evaluations() if not check.passed}
    assert "candle_grain" in failed


def test_materializations_say_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame
) -> None:
    recent = candles[candles["date"] >= "2022-03-01"].reset_index(drop=True)
    recent.loc[3, "close"] = -1.0
    recent.loc[4, "close"] = float("nan")
    made = make_profile(tmp_path, monkeypatch, recent)
    said = {
        event.asset_key.to_user_string(): {key: entry.value for key, entry in event.materialization.metadata.items()}
        for event in run(made).get_asset_materialization_events()
    }
    assert said["candle"]["dagster/partition_row_count"] == 182
    assert said["candle"]["quarantined"] == 2
    assert said["candle"]["quarantined_not_positive"] == 1
    assert said["candle"]["quarantined_not_finite"] == 1
    assert said["price"]["gaps"] == 1
    columns = {column.name: column for column in said["price"]["dagster/column_schema"].columns}
    assert columns["close_usd"].description == "last trade"
    assert not columns["close_usd"].constraints.nullable
    assert columns["open_usd"].constraints.nullable


def test_the_bundled_data_have_no_gaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLIMSOLL_HOME", str(tmp_path))
    monkeypatch.delenv("PLIMSOLL_NOW", raising=False)
    embedded = settings_module.load(ROOT / "config" / "embedded.toml")
    run(embedded, "2018-12-31")
    found = tables(embedded)
    price = found["price"]
    assert dict(price["symbol"].value_counts()) == {"WTI": 8319, "SPX": 5031, "NDX": 5031}
    assert price["gap_sessions"].eq(0).all()
    assert price["is_return_valid"].sum() == len(price) - 3
    quarantine = found["candle_quarantine"]
    assert set(zip(quarantine["symbol"], quarantine["reason"], strict=True)) == {("WTI", "no_quote")}
    assert set(found["raw_file"]["origin"]) == {"sp500", "nasdaq", "wti"}
    spx = price[(price["symbol"] == "SPX") & (price["date"].between("2001-09-10", "2001-09-17"))]
    assert list(spx["date"].dt.date) == [date(2001, 9, 10), date(2001, 9, 17)]
    assert price.loc[price["symbol"] == "WTI", "open_usd"].isna().all()
