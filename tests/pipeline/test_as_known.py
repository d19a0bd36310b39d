"""What was known then: first values stay, revisions say when they came, and an old day is made from what it knew."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from faults_support import Commands
from tests_support import dump, make_profile

from assets import market_data
from assets import prices as asset_prices
from assets._run import Run
from dagster_project import inspection
from dagster_project.definitions import warehouse_of
from dagster_project.nightly import Mailing, run_nightly
from dagster_project.settings import Settings

B, C = date(2022, 5, 30), date(2022, 5, 31)
REVISED = "2022-05-20"
LEVEL = 1.004
FIELDS = ["open", "high", "low", "close"]


def at_night(monkeypatch: pytest.MonkeyPatch, day: date) -> None:
    monkeypatch.setenv("PLIMSOLL_NOW", f"{pd.Timestamp(day) + pd.Timedelta(days=1, hours=1):%Y-%m-%dT%H:%M:%S}")


def revised(candles: pd.DataFrame) -> pd.DataFrame:
    """The source gives a day of one market at another level."""
    at = (candles["symbol"] == "AAA") & (candles["date"] == REVISED)
    changed = candles.copy()
    changed.loc[at, FIELDS] = candles.loc[at, FIELDS] * LEVEL
    return changed


def take(chosen: Settings, day: date) -> None:
    with warehouse_of(chosen).session() as session:
        market_data.ingest(session, chosen, Run(chosen, (day,), "test"))


def prices_of(chosen: Settings, day: date, *, as_known_now: bool = False) -> pd.DataFrame:
    with warehouse_of(chosen).session() as session:
        run = Run(chosen, (day,), "test")
        return asset_prices.agreed_of(session, chosen, run, as_known_now=as_known_now)[0]


def close_of(rows: pd.DataFrame, day: str = REVISED) -> float:
    return float(rows.loc[(rows["symbol"] == "AAA") & (rows["date"] == day), "close_usd"].item())


@pytest.fixture
def recent(candles: pd.DataFrame) -> pd.DataFrame:
    return candles[candles["date"] >= "2022-03-01"].reset_index(drop=True)


@pytest.fixture
def two_nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recent: pd.DataFrame) -> Settings:
    """Candles of two nights; with the second the source rewrites a day that the first had."""
    chosen = make_profile(tmp_path, monkeypatch, recent)
    at_night(monkeypatch, B)
    take(chosen, B)
    revised(recent).to_parquet(tmp_path / "candles.parquet", index=False)
    at_night(monkeypatch, C)
    take(chosen, C)
    return chosen


def test_an_old_day_uses_what_was_known_then_and_the_newest_what_is_known_now(
    two_nights: Settings, recent: pd.DataFrame
) -> None:
    first = close_of(recent.rename(columns={"close": "close_usd"}))
    assert close_of(prices_of(two_nights, B)) == first
    assert close_of(prices_of(two_nights, C)) == first * LEVEL
    assert close_of(prices_of(two_nights, B, as_known_now=True)) == first * LEVEL
    both = prices_of(two_nights, B)
    assert len(both) == len(recent), "days after it are there all the same"
    assert not both.duplicated(["symbol", "date"]).any()


def test_a_spike_that_was_found_later_was_not_known_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recent: pd.DataFrame
) -> None:
    spiky = recent.copy()
    at = (spiky["symbol"] == "AAA") & (spiky["date"] == str(B))
    spiky.loc[at, ["low", "close"]] = spiky.loc[at, "low"].item() * 0.05
    chosen = make_profile(tmp_path, monkeypatch, spiky[spiky["date"] <= str(B)])
    at_night(monkeypatch, B)
    take(chosen, B)
    spiky.to_parquet(tmp_path / "candles.parquet", index=False)
    at_night(monkeypatch, C)
    take(chosen, C)
    assert str(B) not in set(prices_of(chosen, C).query("symbol == 'AAA'")["date"].astype(str))
    assert close_of(prices_of(chosen, B), str(B)) == spiky.loc[at, "close"].item()


def test_a_bar_that_came_late_was_not_known_to_the_day_before_it_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recent: pd.DataFrame
) -> None:
    late = (recent["symbol"] == "AAA") & (recent["date"] == "2022-05-29")
    chosen = make_profile(tmp_path, monkeypatch, recent[~late])
    at_night(monkeypatch, B)
    take(chosen, B)
    recent.to_parquet(tmp_path / "candles.parquet", index=False)
    at_night(monkeypatch, C)
    take(chosen, C)
    days = set(prices_of(chosen, B).query("symbol == 'AAA'")["date"].astype(str))
    assert "2022-05-29" not in days
    assert "2022-05-29" in set(prices_of(chosen, C).query("symbol == 'AAA'")["date"].astype(str))


def test_both_values_can_be_looked_at(two_nights: Settings, recent: pd.DataFrame) -> None:
    first, last = date(2022, 5, 19), date(2022, 5, 21)
    then = inspection.candles(two_nights, "AAA", first, last, "then")
    now = inspection.candles(two_nights, "AAA", first, last, "now")
    seen = inspection.candles(two_nights, "AAA", first, last, B)
    mine = recent[(recent["symbol"] == "AAA") & recent["date"].between("2022-05-19", "2022-05-21")]
    assert list(then["close_usd"]) == list(seen["close_usd"]) == list(mine["close"])
    np.testing.assert_allclose(now["close_usd"] / then["close_usd"], [1.0, LEVEL, 1.0], rtol=1e-15)
    assert list(now["revision"]) == [1, 2, 1]
    assert list(then["revision_count"]) == list(now["revision_count"]) == [1, 2, 1]
    assert now["known_at"].iloc[1] == pd.Timestamp("2022-06-01 01:00")
    assert then["known_at"].iloc[1] == pd.Timestamp("2022-05-21 00:30")


def test_the_command_shows_both_values(two_nights: Settings, tmp_path: Path, plimsoll: Commands) -> None:
    command = ("candles", "AAA", "--config", str(tmp_path / "small.toml"), "--from", REVISED, "--to", "2022-05-21")
    environment = {"PLIMSOLL_HOME": str(tmp_path / "var"), "PLIMSOLL_NOW": "2022-06-01T01:00:00"}
    told = {one: plimsoll(*command, "--as-known", one, environment=environment) for one in ("now", "then", str(B))}
    assert all(one.code == 0 for one in told.values()), told["now"].err
    assert "2 of 2  2022-06-01 01:00\n" in told["now"].out
    assert "1 of 2  2022-05-21 00:30 assumed\n" in told["then"].out
    assert told["then"].out == told[str(B)].out
    assert told["now"].out.endswith("2 day(s), 1 revised by the source since they were first seen\n")
    rows = json.loads(plimsoll(*command, "--json", environment=environment).out)
    assert [row["date"] for row in rows] == [REVISED, "2022-05-21"]
    assert rows[0]["known_at"] == "2022-06-01T01:00:00"
    for wrong, words in (
        (("candles", "ZZZ"), "'ZZZ': markets of this configuration are AAA, BBB"),
        (("candles", "AAA", "--as-known", "soon"), "--as-known 'soon': not a day"),
        (("report", "--as-known", "soon"), "--as-known 'soon': known are now, then"),
    ):
        refused = plimsoll(*wrong, "--config", str(tmp_path / "small.toml"), environment=environment)
        assert (refused.code, words in refused.err) == (2, True), refused.err


@pytest.mark.slow
def test_a_rerun_of_an_old_day_is_the_same_report_until_a_correction_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame
) -> None:
    chosen = make_profile(tmp_path, monkeypatch, candles)
    at_night(monkeypatch, B)
    assert run_nightly(chosen, B, mailing=Mailing(send=False)).error is None
    before = dump(chosen)["report"]
    revised(candles).to_parquet(tmp_path / "candles.parquet", index=False)
    at_night(monkeypatch, C)
    assert run_nightly(chosen, C, select=["candle"]).is_success
    assert run_nightly(chosen, B, mailing=Mailing(send=False)).error is None
    pd.testing.assert_frame_equal(dump(chosen)["report"], before)
    assert run_nightly(chosen, B, mailing=Mailing(send=False), is_known_now=True).error is None
    corrected = dump(chosen)["report"].sort_values("revision", ignore_index=True)
    assert list(corrected["revision"]) == [1, 2]
    pd.testing.assert_frame_equal(corrected.head(1), before)
    assert corrected["decision_id"].nunique() == 2
