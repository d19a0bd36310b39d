"""Challengers through the line: forecasts, contests, states, the gate in the budget, and nothing known too early."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from tests_support import dump, make_profile

from benchmarks._small import simulated_candles
from dagster_project.challengers_config import IN_USE, Challengers
from dagster_project.definitions import build_defs
from dagster_project.settings import Settings

DAY = date(2022, 5, 31)
NEW_QUARTER = pd.Timestamp("2022-04-01")
CUT = pd.Timestamp("2022-05-10")
STAGES = ["candle", "price", "volatility_fit", "volatility_forecast", "fit_reference", "overshoot_quantile"]
STAGES += ["challenger_forecast", "threshold"]
TABLES = ("challenger_forecast", "model_contest", "model_state", "conformal_level", "feature_importance")
FIRST, DAYS = "2019-09-15", 990
MODELS = ("historical", "ewma_fhs")


def bars() -> pd.DataFrame:
    """Two simulated markets over thirty-two months, to 2022-05-31."""
    return pd.concat(
        [
            simulated_candles("AAA", 21, DAYS, start=FIRST),
            simulated_candles("BBB", 22, DAYS, start=FIRST, sigma=0.05),
        ],
        ignore_index=True,
    )


def with_challengers(settings: Settings, **knobs: Any) -> Settings:
    given = {"is_on": True, "models": MODELS, "history_years": 1, "contest_years": 1} | knobs
    weekly = settings.volatility.model_copy(update={"refit": "weekly"})
    return settings.model_copy(update={"challengers": Challengers.model_validate(given), "volatility": weekly})


def run(settings: Settings, day: date, select: list[str] | None = None) -> None:
    job = build_defs(settings).resolve_job_def("nightly")
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(
            instance=instance,
            partition_key=day.isoformat(),
            asset_selection=[dg.AssetKey(name) for name in select or STAGES],
        ).success


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, dict[str, pd.DataFrame]]:
    """One night over all days, and what it stored."""
    with pytest.MonkeyPatch.context() as patch:
        settings = with_challengers(make_profile(tmp_path_factory.mktemp("whole"), patch, bars()))
        run(settings, DAY)
        return settings, dump(settings)


@pytest.mark.slow
def test_a_night_forecasts_judges_and_states(whole: tuple[Settings, dict[str, pd.DataFrame]]) -> None:
    _, stored = whole
    said, scored, states = (stored[name] for name in TABLES[:3])
    assert set(said["model"]) == {IN_USE, *MODELS}
    assert said["target_date"].min() == pd.Timestamp("2021-04-01"), "whole quarters back"
    assert said["target_date"].max() == pd.Timestamp(DAY) + pd.Timedelta(days=1)
    assert not said.duplicated(["symbol", "side", "model", "target_date"]).any()
    known = said.dropna(subset=["quantile_p500_log", "quantile_p100_log", "quantile_p50_log"])
    assert (known["quantile_p500_log"] <= known["quantile_p100_log"]).all()
    assert (known["quantile_p100_log"] <= known["quantile_p50_log"]).all()
    assert said.loc[said["quantile_p100_log"].isna(), "note"].ne("").all()
    assert list(scored["quarter_on"].unique()) == [NEW_QUARTER]
    overall = scored[scored["side"] == "both"]
    assert set(overall["model"]) == {IN_USE, *MODELS}
    assert overall["dates"].ge(250).all()
    assert overall["is_in_confidence_set"].any()
    (state,) = states.to_dict("records")
    assert (state["champion"], state["stated_on"]) == (IN_USE, NEW_QUARTER)
    levels = stored["conformal_level"]
    assert set(levels["as_of"].dt.to_period("Q").astype(str)) == {"2022Q2"}
    assert levels["as_of"].max() == pd.Timestamp(DAY)
    assert stored["feature_importance"].empty, "no boosting among the models"


@pytest.mark.slow
def test_a_second_run_writes_nothing(whole: tuple[Settings, dict[str, pd.DataFrame]]) -> None:
    settings, stored = whole
    with pytest.MonkeyPatch.context() as patch:
        folder = warehouse_path(settings)
        patch.setenv("PLIMSOLL_HOME", str(folder.parent))
        patch.setenv("PLIMSOLL_NOW", "2022-07-01T00:30:00")
        run(settings, DAY)
        again = dump(settings)
    for table, rows in stored.items():
        pd.testing.assert_frame_equal(rows, again[table], obj=table)


def warehouse_path(settings: Settings) -> Path:
    return Path(str(settings.source.path)).parent / "var" / settings.profile.name


@pytest.mark.slow
def test_night_after_night_and_over_a_wilder_future(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: tuple[Settings, dict[str, pd.DataFrame]]
) -> None:
    """Nights before the cut see other data after it; what they store for days before it is the same, byte for byte."""
    _, expected = whole
    ours = bars()
    wild = []
    for symbol, seed in (("AAA", 71), ("BBB", 72)):
        more = simulated_candles(symbol, seed, DAYS, start=FIRST, sigma=0.12)
        mine = ours[(ours["symbol"] == symbol) & (ours["date"] < CUT)]
        factor = mine["close"].iloc[-1] / more.loc[more["date"] == CUT, "open"].iloc[0]
        more[["open", "high", "low", "close"]] *= factor
        wild.append(pd.concat([mine, more[more["date"] >= CUT]]))
    other = with_challengers(make_profile(tmp_path, monkeypatch, pd.concat(wild, ignore_index=True)))
    for back in (8, 1):
        run(other, CUT.date() - timedelta(days=back))
    run(other, DAY)
    found = dump(other)
    for table in (*TABLES, "threshold"):
        name = {"model_contest": "quarter_on", "model_state": "stated_on", "feature_importance": "quarter_on"}
        day = name.get(table, "as_of")
        one, two = (
            frame[frame[day] < CUT].drop(columns=["vintage", "config_hash"], errors="ignore").reset_index(drop=True)
            for frame in (expected[table], found[table])
        )
        assert len(one) > 0 or table == "feature_importance", table
        pd.testing.assert_frame_equal(one, two, obj=table)
    after = [frame["challenger_forecast"] for frame in (expected, found)]
    later = [frame.loc[frame["as_of"] >= CUT, "quantile_p100_log"].mean() for frame in after]
    assert abs(np.log(later[1] / later[0])) > 0.1, "the other future is another one"


@pytest.mark.slow
def test_a_disagreement_widens_the_budget_and_nothing_else_does(
    whole: tuple[Settings, dict[str, pd.DataFrame]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, stored = whole
    state = stored["model_state"].iloc[0]
    assert state["gate_model"], state["reason"]
    rows = stored["threshold"]
    early = rows[rows["as_of"] < NEW_QUARTER]
    assert (early["lambda_model"].dropna() == 0).all(), "no contest yet, no margin"
    wide = stored["challenger_forecast"].pivot_table(
        index=["as_of", "symbol", "side"], columns="model", values="quantile_p100_log"
    )
    ratio = (wide[state["gate_model"]] / wide[IN_USE]).rename("ratio").reset_index()
    late = rows[(rows["as_of"] >= NEW_QUARTER) & (rows["status"] != "withheld")].merge(
        ratio, on=["as_of", "symbol", "side"], validate="many_to_one"
    )
    is_wide = late["lambda_model"] > 0
    plain = late["lambda_move"] + late["lambda_oracle"] + late["lambda_slippage"] + late["lambda_fee"]
    theirs = plain + late["lambda_move"] * (late["ratio"] - 1)
    by_hand = np.where(np.abs(np.log(plain / theirs)) > np.log(1.25), 0.5 * np.abs(np.log(plain / theirs)) * plain, 0.0)
    np.testing.assert_allclose(late["lambda_model"], by_hand, rtol=1e-9, atol=1e-12)
    assert 0 < is_wide.sum() < len(late), "amber on some days, not on all"
    off = with_challengers(make_profile(tmp_path, monkeypatch, bars()), is_on=False)
    run(off, DAY)
    without = dump(off)
    assert all(without[table].empty for table in TABLES)
    assert (without["threshold"]["lambda_model"].dropna() == 0).all()
    keys = ["as_of", "symbol", "product", "side"]
    both = late.merge(without["threshold"], on=keys, suffixes=("", "_off"), validate="one_to_one")
    is_amber = both["lambda_model"] > 0
    assert (both.loc[is_amber, "lambda_total"] > both.loc[is_amber, "lambda_total_off"]).all()
    lending, perpetual = is_amber & (both["product"] == "lending"), is_amber & (both["product"] == "perpetual")
    assert (both.loc[lending, "lt_bps"] <= both.loc[lending, "lt_bps_off"]).all()
    assert (both.loc[lending, "lt_bps"] < both.loc[lending, "lt_bps_off"]).any()
    assert (both.loc[perpetual, "mm_bps"] > both.loc[perpetual, "mm_bps_off"]).any()
    np.testing.assert_array_equal(both.loc[~is_amber, "lambda_total"], both.loc[~is_amber, "lambda_total_off"])
