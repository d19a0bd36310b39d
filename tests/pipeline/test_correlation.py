"""Correlation of a night: what is stored, when it is stored anew, and that no later day is known."""

from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from tests_support import dump, make_profile

from assets import checks
from benchmarks._small import simulated_candles
from dagster_project.definitions import build_defs, warehouse_of
from dagster_project.nightly import run_nightly
from dagster_project.settings import Settings

DAY = date(2022, 5, 31)
EARLIER = DAY - timedelta(days=30)
STAGES = ["candle", "price", "volatility_fit", "volatility_forecast", "correlation"]
MEASURES = {
    "ccc",
    "ewma_94",
    "ewma_97",
    "dcc",
    "ledoit_wolf",
    "stress",
    "stress_expected",
    "tail_dependence_empirical",
    "tail_dependence_t",
    "t_copula_nu",
}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, candles: pd.DataFrame) -> Settings:
    """A profile after one night up to the correlations."""
    with pytest.MonkeyPatch.context() as patch:
        settings = make_profile(tmp_path_factory.mktemp("night"), patch, candles)
        assert run_nightly(settings, DAY, select=STAGES).is_success
    return settings


@pytest.fixture
def profile_of_night(night: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The same profile with the process pointed at it."""
    folder = Path(str(night.source.path)).parent
    monkeypatch.setenv("PLIMSOLL_HOME", str(folder / "var"))
    monkeypatch.setenv("DAGSTER_HOME", str(folder / "dagster"))
    monkeypatch.setenv("PLIMSOLL_NOW", "2022-07-01T00:30:00")
    return night


def rows_of(settings: Settings, day: date) -> pd.DataFrame:
    rows = dump(settings)["correlation"]
    return rows[rows["as_of"] == pd.Timestamp(day)].reset_index(drop=True)


def test_every_measure_of_the_pair_is_stored(profile_of_night: Settings) -> None:
    left = dump(profile_of_night)
    rows = left["correlation"]
    assert set(rows["as_of"]) == {pd.Timestamp(DAY)}, "the run's day alone"
    pairs = rows[rows["symbol"] != "POOLED"]
    assert set(pairs["measure"]) == MEASURES and len(pairs) == len(MEASURES)
    assert set(zip(pairs["symbol"], pairs["other_symbol"], strict=True)) == {("AAA", "BBB")}
    assert set(rows.loc[rows["symbol"] == "POOLED", "measure"]) == {"dcc_a", "dcc_b", "dcc_gain"}
    assert rows["value"].notna().all() and (rows["revision"] == 1).all()
    assert set(rows["vintage"]) == {"reconstructed"}, "the candles came long after the day"
    forecasts = left["volatility_forecast"].merge(
        left["price"], left_on=["symbol", "target_date"], right_on=["symbol", "date"]
    )
    forecasts = forecasts[forecasts["is_return_valid"]]
    r = np.log(forecasts["close_usd"] / forecasts["previous_close_usd"])
    z = forecasts.assign(z=(r - forecasts["mu_daily"]) / forecasts["sigma_daily"])
    wide = z.pivot_table(index="target_date", columns="symbol", values="z").dropna()
    ccc = rows[rows["measure"] == "ccc"].iloc[0]
    assert ccc["value"] == pytest.approx(wide.corr().iloc[0, 1], abs=1e-8)
    assert (ccc["observations"], ccc["last_on"]) == (len(wide), pd.Timestamp(DAY))
    own = left["price"][left["price"]["symbol"] == "AAA"].set_index("date")
    fall = np.log(own["previous_close_usd"] / own["low_usd"])[own["is_return_valid"]]
    bad = fall.nlargest(int(np.ceil(0.05 * len(fall)))).index
    worst = wide[wide.index.isin(bad)]
    stress = rows[rows["measure"] == "stress"].iloc[0]
    assert stress["value"] == pytest.approx(worst.corr().iloc[0, 1], abs=1e-8)
    assert stress["observations"] == len(worst)


def test_an_identical_rerun_writes_nothing(profile_of_night: Settings) -> None:
    before = dump(profile_of_night)
    assert run_nightly(profile_of_night, DAY, select=STAGES).is_success
    after = dump(profile_of_night)
    for name in ("correlation", "commit_ledger"):
        pd.testing.assert_frame_equal(after[name], before[name])


def test_other_inputs_are_a_new_revision(profile: Settings) -> None:
    assert run_nightly(profile, DAY, select=STAGES).is_success
    with warehouse_of(profile).session() as session:
        session._connection.execute("update correlation set input_hash = 'other', value = value / 2")
    assert run_nightly(profile, DAY, select=STAGES).is_success
    rows = rows_of(profile, DAY)
    assert len(rows) == 2 * (len(MEASURES) + 3) and set(rows["revision"]) == {1, 2}
    with warehouse_of(profile).session() as session:
        identity = {"methodology": rows["methodology"].iloc[0], "config_hash": profile.config_hash}
        newest = session.query("correlations_of", last=DAY, **identity)
        found = checks.verify(session, profile, DAY).set_index("name")
    assert len(newest) == len(MEASURES) + 3 and "other" not in set(newest["input_hash"])
    assert found.loc["correlation_grain", "is_passed"] and found.loc["correlation_grain", "is_blocking"]


def test_a_day_knows_no_later_day(
    profile_of_night: Settings, candles: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything after the day is another series with three times the volatility."""
    assert run_nightly(profile_of_night, EARLIER, select=STAGES).is_success
    expected = rows_of(profile_of_night, EARLIER).drop(columns="config_hash")
    assert len(expected) == len(MEASURES) + 3
    known = candles[candles["date"] <= pd.Timestamp(EARLIER)]
    others = pd.concat([simulated_candles("AAA", 71, sigma=0.09), simulated_candles("BBB", 72, sigma=0.15)])
    later = others[others["date"] > pd.Timestamp(EARLIER)]
    settings = make_profile(tmp_path, monkeypatch, pd.concat([known, later], ignore_index=True))
    assert run_nightly(settings, EARLIER, select=STAGES).is_success
    found = rows_of(settings, EARLIER).drop(columns="config_hash")
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_a_range_gives_each_of_its_days_what_it_would_get_alone(
    profile_of_night: Settings, candles: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = rows_of(profile_of_night, DAY)
    settings = make_profile(tmp_path, monkeypatch, candles)
    first = DAY - timedelta(days=2)
    tags = {
        "dagster/asset_partition_range_start": first.isoformat(),
        "dagster/asset_partition_range_end": DAY.isoformat(),
    }
    job = build_defs(settings).resolve_job_def("nightly")
    with dg.DagsterInstance.ephemeral() as instance:
        keys = [dg.AssetKey(name) for name in STAGES]
        assert job.execute_in_process(instance=instance, tags=tags, asset_selection=keys).success
    rows = dump(settings)["correlation"]
    assert set(rows["as_of"]) == {pd.Timestamp(first) + pd.Timedelta(days=n) for n in range(3)}
    same = rows[rows["as_of"] == pd.Timestamp(DAY)].reset_index(drop=True)
    pd.testing.assert_frame_equal(same.drop(columns="config_hash"), alone.drop(columns="config_hash"), check_exact=True)
