"""Feeds that change, dispute, leave gaps or lie, and a store that does: each is told, none is believed."""

from datetime import date
from pathlib import Path

import dagster as dg
import duckdb
import pandas as pd
import pytest
from tests_support import make_profile

from assets import checks
from assets.recommendations import data_objection
from dagster_project import settings as settings_module
from dagster_project.definitions import ROOT, build_defs, warehouse_of
from dagster_project.settings import Settings

DAY = "2022-05-31"
FIELDS = ["open", "high", "low", "close"]


@pytest.fixture(scope="module")
def recent(candles: pd.DataFrame) -> pd.DataFrame:
    return candles[candles["date"] >= "2022-03-01"].reset_index(drop=True)


def failed(settings: Settings, day: str = DAY) -> set[str]:
    """Take candles and make prices; names of the checks that fail."""
    job = build_defs(settings).resolve_job_def("nightly")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance, partition_key=day, asset_selection=[dg.AssetKey("candle"), dg.AssetKey("price")]
        )
    return {one.check_name for one in result.get_asset_check_evaluations() if not one.passed}


def at_night(monkeypatch: pytest.MonkeyPatch, day: str) -> None:
    monkeypatch.setenv("PLIMSOLL_NOW", f"{pd.Timestamp(day) + pd.Timedelta(days=1, hours=1)}")


@pytest.mark.parametrize(("factor", "told"), [(1.02, {"candle_revised"}), (1.005, set())])
def test_a_history_that_is_rewritten_much_is_told_with_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recent: pd.DataFrame, factor: float, told: set[str]
) -> None:
    chosen = make_profile(tmp_path, monkeypatch, recent)
    at_night(monkeypatch, "2022-05-30")
    assert failed(chosen, "2022-05-30") == set()
    changed = recent.copy()
    at = (changed["symbol"] == "AAA") & (changed["date"] == "2022-05-20")
    changed.loc[at, FIELDS] *= factor
    changed.to_parquet(tmp_path / "candles.parquet", index=False)
    at_night(monkeypatch, DAY)
    assert failed(chosen) == told
    with warehouse_of(chosen).session() as session:
        bad = checks.failures(session, "candle_revised", chosen, date.fromisoformat(DAY))
    assert list(bad["change_percent"]) == ([2.0] if told else [])


@pytest.mark.parametrize(("apart", "told"), [(1.03, {"price_disputed"}), (1.0001, set())])
def test_two_sources_that_dispute_a_price_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recent: pd.DataFrame, apart: float, told: set[str]
) -> None:
    second = recent.assign(source="second")
    at = (second["symbol"] == "AAA") & (second["date"] == DAY)
    second.loc[at, FIELDS] *= apart
    make_profile(tmp_path, monkeypatch, pd.concat([recent, second], ignore_index=True))
    path = tmp_path / "small.toml"
    path.write_text(path.read_text().replace('name = "simulated"\n', 'name = "simulated"\nalso = ["second"]\n'))
    assert failed(settings_module.load(path)) == told


@pytest.mark.parametrize(("missing", "words"), [(0, None), (2, None), (5, "gap of 5 sessions before 2022-05-25")])
def test_a_long_gap_withholds_a_market(missing: int, words: str | None) -> None:
    days = pd.date_range("2022-04-01", DAY, freq="D")
    gone = (days > pd.Timestamp("2022-05-24") - pd.Timedelta(days=missing)) & (days <= "2022-05-24")
    days = days[~gone] if missing else days
    gaps = days.to_series().diff().dt.days.fillna(1).astype(int) - 1
    bars = pd.DataFrame({"date": days, "gap_sessions": gaps.to_numpy()})
    market = settings_module.load(ROOT / "config" / "crypto.toml").markets["BTC"]
    assert data_objection(market, bars, date.fromisoformat(DAY)) == words


def test_a_bar_that_is_due_and_missing_withholds_a_market() -> None:
    market = settings_module.load(ROOT / "config" / "crypto.toml").markets["BTC"]
    bars = pd.DataFrame({"date": pd.date_range("2022-04-01", "2022-05-29", freq="D"), "gap_sessions": 0})
    told = data_objection(market, bars, date.fromisoformat(DAY))
    assert told == "stale data: the last bar is 2022-05-29, a bar of 2022-05-30 was due"


def test_gates_are_tried_on_the_store_and_not_on_what_was_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recent: pd.DataFrame
) -> None:
    chosen = make_profile(tmp_path, monkeypatch, recent)
    assert failed(chosen) == set()
    with duckdb.connect(warehouse_of(chosen).path) as connection:
        connection.execute("update price set low_usd = close_usd * 2 where symbol = 'AAA' and date = '2022-05-20'")
    with warehouse_of(chosen).session() as session:
        told = checks.objection(checks.verify(session, chosen, date.fromisoformat(DAY)))
    assert told is not None and told.startswith("check price_broken failed: 1 row(s), first: date 2022-05-20")


def test_no_stage_hands_over_an_object_that_would_be_pickled() -> None:
    defs = build_defs(settings_module.load(ROOT / "config" / "crypto_live.toml"))
    kinds = {
        output.name: output.dagster_type.kind.name
        for asset in defs.assets or []
        if isinstance(asset, dg.AssetsDefinition)
        for output in asset.op.output_defs
    }
    assert kinds
    assert set(kinds.values()) == {"NOTHING"}
