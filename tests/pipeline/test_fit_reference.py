"""The nightly comparison with ``arch``: what is stored, and that a disagreement stops publication."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests_support import dump, files_of, make_profile

from assets import checks
from dagster_project.definitions import warehouse_of
from dagster_project.nightly import run_nightly
from dagster_project.settings import Settings
from plimsoll import volatility
from plimsoll.volatility import fitting

DAY = date(2022, 5, 31)
STAGES = ["candle", "price", "volatility_fit", "volatility_forecast", "fit_reference"]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, candles: pd.DataFrame) -> Settings:
    """A profile after one night up to the comparison; tests leave it as they found it."""
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


def references(settings: Settings) -> pd.DataFrame:
    return dump(settings)["fit_reference"]


def test_each_fit_in_use_is_compared_once(profile_of_night: Settings) -> None:
    rows = references(profile_of_night)
    rows = rows[rows["fit_end"] == pd.Timestamp(DAY)].reset_index(drop=True)
    assert list(rows["symbol"]) == ["AAA", "BBB"]
    assert (rows["objection"] == "").all() and (rows["rung"] == "garch_t").all()
    assert (rows["gap"].abs() < 1e-3).all() and (rows["same_point_gap"].abs() < 1e-8).all()
    errors = rows[["mu_std_error", "omega_std_error", "alpha_std_error", "beta_std_error", "nu_std_error"]]
    assert np.isfinite(errors).all(axis=None) and (errors > 0).all(axis=None)
    assert rows[["gamma_std_error", "lam_std_error"]].isna().all(axis=None)
    assert run_nightly(profile_of_night, DAY, select=STAGES).is_success
    again = references(profile_of_night)
    pd.testing.assert_frame_equal(again[again["fit_end"] == pd.Timestamp(DAY)].reset_index(drop=True), rows)


def test_either_table_can_be_asked_for_alone(profile: Settings) -> None:
    assert run_nightly(profile, DAY, select=["candle", "price", "volatility_forecast"]).is_success
    left = dump(profile)
    assert len(left["volatility_fit"]) > 500 and len(left["volatility_forecast"]) > 500


def test_an_earlier_day_gets_a_comparison_of_its_own(profile_of_night: Settings) -> None:
    earlier = DAY - timedelta(days=40)
    assert run_nightly(profile_of_night, earlier, select=STAGES).is_success
    rows = references(profile_of_night)
    assert set(rows["fit_end"]) == {pd.Timestamp(DAY), pd.Timestamp(earlier)} and len(rows) == 4


def test_fits_of_every_day_are_kept_with_their_health(profile_of_night: Settings) -> None:
    left = dump(profile_of_night)
    fits, forecasts = left["volatility_fit"], left["volatility_forecast"]
    own = forecasts[~forecasts["rung"].isin(["ewma", "ewma_short"])]
    both = own.merge(fits, left_on=["symbol", "as_of"], right_on=["symbol", "fit_end"], suffixes=("", "_of_fit"))
    assert len(both) == len(own) > 500
    assert (both["rung"] == both["rung_of_fit"]).all()
    with warehouse_of(profile_of_night).session() as session:
        identity = {"methodology": fits["methodology"].iloc[0], "config_hash": profile_of_night.config_hash}
        health = session.query("fit_health", last=DAY, **identity).set_index(["symbol", "span"])
        refusals = session.query("refusals", last=DAY, **identity)
    for symbol, mine in fits.groupby("symbol"):
        everything = health.loc[(symbol, "all")]
        assert everything["fits"] == len(mine)
        assert everything["first_rung_share"] == pytest.approx((mine["rung"] == "garch_t").mean())
        fitted = mine[mine["rung"] != "ewma"]
        assert everything["igarch_share"] == pytest.approx(fitted["is_igarch"].mean())
        assert everything["limit_share"] == pytest.approx((fitted["limits"] != "").mean())
        assert everything["second_optimum_share"] == pytest.approx((fitted["optimum_gap"] < 2).mean())
        assert everything["persistence_median"] == pytest.approx(fitted["persistence"].median())
        assert everything["nu_least"] == pytest.approx(fitted["nu"].min())
        year = mine[mine["fit_end"] > pd.Timestamp(DAY) - pd.Timedelta(days=365)]
        assert health.loc[(symbol, "year")]["fits"] == len(year)
        told = refusals[refusals["symbol"] == symbol]
        assert told["fits"].sum() == (year["rung"] != "garch_t").sum()
        assert not told["refusal"].str.contains(r"\d").any()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("poison", "words"),
    [
        (lambda fits: replace(fits, loglikelihood=fits.loglikelihood + 0.01), "away at the same parameters"),
        (lambda fits: replace(fits, beta=fits.beta - 0.01), "at the same parameters"),
    ],
    ids=["likelihood", "parameter"],
)
def test_an_engine_that_arch_contradicts_publishes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame, poison: Any, words: str
) -> None:
    profile = make_profile(tmp_path, monkeypatch, candles)
    real = fitting.fit_windows
    with monkeypatch.context() as patch:
        patch.setattr(fitting, "fit_windows", lambda *args, **more: poison(real(*args, **more)))
        outcome = run_nightly(profile, DAY)
    assert not outcome.is_success
    assert words in references(profile)["objection"].iloc[0]
    assert not [name for name in files_of(profile) if name.endswith(".eml")]
    with warehouse_of(profile).session() as session:
        found = checks.verify(session, profile, DAY)
    failed = found[found["is_blocking"] & ~found["is_passed"]]
    assert list(failed["name"]) == ["reference_disagrees"]
    assert words in checks.objection(found) if checks.objection(found) else False


def test_an_objection_is_asked_again_and_can_be_cleared(profile: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    real = volatility.compare
    with monkeypatch.context() as patch:
        patch.setattr(volatility, "compare", lambda r, fit: replace(real(r, fit), objection="arch changed"))
        assert not run_nightly(profile, DAY, select=STAGES).is_success
    assert run_nightly(profile, DAY, select=STAGES).is_success
    rows = references(profile).sort_values("revision")
    assert list(rows.groupby("symbol")["objection"].agg(list)) == [["arch changed", ""]] * 2


def test_a_fit_in_use_without_comparison_fails_the_check(profile_of_night: Settings) -> None:
    with warehouse_of(profile_of_night).session() as session:
        session._connection.execute("begin transaction")
        session._connection.execute("delete from fit_reference where symbol = 'BBB'")
        found = checks.failures(session, "reference_disagrees", profile_of_night, DAY)
        session._connection.execute("rollback")
    assert list(found["symbol"]) == ["BBB"]
    assert found["objection"].iloc[0] == "not compared with arch; run fit_reference of this day"
