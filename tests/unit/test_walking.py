"""The walk-forward: one row a day, nothing that looks ahead, and the same bits wherever a walk begins."""

import subprocess
import sys
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from arch.univariate import GARCH, ConstantMean
from numpy.typing import NDArray

from plimsoll import volatility
from plimsoll.volatility import MODELS, VolatilitySpec, WalkForward

Floats = NDArray[np.float64]

NEXT = date(2030, 1, 7)
SPEC = VolatilitySpec(
    window=300,
    minimum_own_fit=250,
    minimum_any=90,
    ewma_lambda=0.94,
    long_run_years=1,
    sigma_floor_daily=0.0,
    shrinkage_observations=180,
    periods_per_year=252.0,
)


def simulate(n: int, seed: int, *, omega: float = 0.05, alpha: float = 0.1, beta: float = 0.85) -> Floats:
    """Percent returns of a GARCH(1,1) with Student t innovations."""
    rng = np.random.default_rng(seed)
    shocks = rng.standard_t(6.0, n) * np.sqrt(4.0 / 6.0)
    h = 1.0
    out = np.empty(n)
    for t in range(n):
        out[t] = shocks[t] * np.sqrt(h)
        h = omega + alpha * out[t] ** 2 + beta * h
    return out


def prices_of(returns_percent: Floats, start: str = "2020-01-01") -> pd.DataFrame:
    """Bars on business days whose returns are the given ones."""
    close = 100 * np.exp(np.concatenate([[0.0], np.cumsum(returns_percent / 100)]))
    return pd.DataFrame(
        {
            "date": pd.bdate_range(start, periods=len(close)),
            "close_usd": close,
            "is_return_valid": np.arange(len(close)) > 0,
        }
    )


def walk(prices: pd.DataFrame, spec: VolatilitySpec = SPEC, **more: Any) -> WalkForward:
    return volatility.walk_forward(prices, spec=spec, next_session=NEXT, **more)


@pytest.fixture(scope="module")
def prices() -> pd.DataFrame:
    return prices_of(simulate(360, 7))


@pytest.fixture(scope="module")
def full(prices: pd.DataFrame) -> WalkForward:
    return walk(prices)


def same_bytes(a: pd.DataFrame, b: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(a.reset_index(drop=True), b.reset_index(drop=True), check_exact=True)


def test_one_row_a_day_with_the_next_bar_as_target(prices: pd.DataFrame, full: WalkForward) -> None:
    rows = full.forecasts
    assert list(rows["as_of"]) == list(prices["date"].iloc[SPEC.minimum_any :])
    assert list(rows["target_date"]) == [*prices["date"].iloc[SPEC.minimum_any + 1 :], pd.Timestamp(NEXT)]
    assert list(rows["return_count"]) == list(range(SPEC.minimum_any, len(prices)))
    assert (rows["target_date"] > rows["as_of"]).all()
    assert np.isfinite(rows[["mu_daily", "sigma_daily", "sigma_long_run_daily", "sigma_eff_daily"]]).all(axis=None)
    assert rows["fit_end"].isna().eq(rows["rung"].isin(["ewma", "ewma_short"])).all()


def test_parameters_are_those_of_the_day(prices: pd.DataFrame, full: WalkForward) -> None:
    own = full.forecasts[full.forecasts["rung"] == "garch_t"]
    assert len(own) > 80
    assert (own["fit_end"] == own["as_of"]).all()
    assert [pd.Timestamp(fit.fit_end) for fit in full.fits] == list(own["as_of"])
    assert own["sigma_daily"].to_numpy() == pytest.approx(
        [np.sqrt(fit_forecast(prices, fit)) / 100 for fit in full.fits], rel=1e-9
    )


def fit_forecast(prices: pd.DataFrame, fit: volatility.VolatilityFit) -> float:
    """Variance of the day after a fit's window, by the recursion of ``arch``."""
    r = 100 * np.diff(np.log(prices["close_usd"]))
    end = int(np.flatnonzero(prices["date"] == pd.Timestamp(fit.fit_end))[0])
    window = r[max(0, end - SPEC.window) : end]
    model = ConstantMean(window, rescale=False)
    model.volatility = GARCH(p=1, q=1)
    h = np.empty(len(window))
    start = model.volatility.backcast(window - window.mean())
    residuals = window - fit.mu_percent
    params = np.asarray([fit.omega_percent2, fit.alpha, fit.beta])
    model.volatility.compute_variance(params, residuals, h, start, np.tile([1e-300, 1e300], (len(h), 1)))
    return float(fit.omega_percent2 + fit.alpha * residuals[-1] ** 2 + fit.beta * h[-1])


WEEKLY = replace(SPEC, refit="weekly")


@pytest.fixture(scope="module")
def weekly(prices: pd.DataFrame) -> WalkForward:
    return walk(prices, WEEKLY)


def test_weekly_parameters_are_those_of_the_first_bar_of_the_week(prices: pd.DataFrame, weekly: WalkForward) -> None:
    own = weekly.forecasts[weekly.forecasts["rung"] == "garch_t"]
    assert len(own) > 80
    first = prices["date"].groupby(prices["date"].dt.to_period("W-SUN")).transform("min")
    expected = own["as_of"].map(dict(zip(prices["date"], first, strict=True)))
    assert (own["fit_end"] == expected).all()
    assert [pd.Timestamp(fit.fit_end) for fit in weekly.fits] == list(own["fit_end"].unique())


def test_daily_and_weekly_are_one_where_a_week_begins(full: WalkForward, weekly: WalkForward) -> None:
    daily, rare = full.forecasts.set_index("as_of"), weekly.forecasts.set_index("as_of")
    same = rare["fit_end"].eq(rare.index)
    assert 15 < same.sum() < len(rare) / 3
    pd.testing.assert_series_equal(daily["sigma_daily"][same], rare["sigma_daily"][same], check_exact=True)
    between = rare["rung"].eq("garch_t") & ~same
    assert (daily["sigma_daily"] != rare["sigma_daily"])[between].mean() > 0.9


def test_a_weekly_forecast_is_the_filter_with_the_weeks_parameters(prices: pd.DataFrame, weekly: WalkForward) -> None:
    row = weekly.forecasts.iloc[-1]
    fit = weekly.fits[-1]
    r = 100 * np.diff(np.log(prices["close_usd"]))
    end = int(np.flatnonzero(prices["date"] == pd.Timestamp(fit.fit_end))[0])
    assert end < len(r), "the last bar is no refit day, or nothing is filtered"
    window = r[end - SPEC.window : end]
    assert (fit.return_count, pd.Timestamp(fit.window_start)) == (300, prices["date"].iloc[end - 299])
    model = ConstantMean(r[end - SPEC.window :], rescale=False)
    model.volatility = GARCH(p=1, q=1)
    h = np.empty(len(model.y))
    bounds = np.tile([1e-300, 1e300], (len(h), 1))
    start = model.volatility.backcast(window - window.mean())
    params = np.asarray([fit.omega_percent2, fit.alpha, fit.beta])
    residuals = np.asarray(model.y) - fit.mu_percent
    model.volatility.compute_variance(params, residuals, h, start, bounds)
    following = fit.omega_percent2 + fit.alpha * residuals[-1] ** 2 + fit.beta * h[-1]
    assert row["sigma_daily"] == pytest.approx(np.sqrt(following) / 100, rel=1e-10)
    assert (row["mu_daily"], row["nu"]) == (fit.mu_percent / 100, fit.nu)


MODES = [(model, "daily") for model in MODELS] + [("garch_t", "weekly")]


@pytest.fixture(scope="module", params=MODES, ids=lambda mode: "-".join(mode))
def whole(request: pytest.FixtureRequest, prices: pd.DataFrame) -> tuple[VolatilitySpec, WalkForward]:
    model, refit = request.param
    spec = replace(SPEC, model=model, refit=refit)
    return spec, walk(prices, spec)


def test_no_forecast_knows_its_target(prices: pd.DataFrame, whole: tuple[VolatilitySpec, WalkForward]) -> None:
    """Everything from a target on is replaced by another market three times as wild; nothing earlier moves."""
    spec, full = whole
    wild = prices_of(3 * simulate(360, 99))["close_usd"].to_numpy()
    for cut in (150, 262, 301, 303, 359):
        other = prices.copy()
        other.loc[cut:, "close_usd"] = wild[cut:] * (prices["close_usd"][cut - 1] / wild[cut - 1])
        found = walk(other, spec)
        rows, target = found.forecasts, prices["date"][cut]
        same_bytes(rows[rows["target_date"] <= target], full.forecasts[full.forecasts["target_date"] <= target])
        before = tuple(fit for fit in full.fits if pd.Timestamp(fit.fit_end) < target)
        assert found.fits[: len(before)] == before
        later = rows["target_date"] > target
        assert later.any()
        assert (rows["sigma_daily"] != full.forecasts["sigma_daily"])[later].all()


def test_a_shorter_history_gives_the_same_rows(prices: pd.DataFrame, whole: tuple[VolatilitySpec, WalkForward]) -> None:
    spec, full = whole
    for length in (200, 300, 304):
        rows = walk(prices.iloc[:length], spec).forecasts
        expected = full.forecasts.iloc[: len(rows)].copy()
        expected.loc[expected.index[-1], "target_date"] = pd.Timestamp(NEXT)
        same_bytes(rows, expected)


@pytest.mark.parametrize("first", [100, 255, 300, 303, 360])
def test_an_incremental_walk_is_the_whole_walk(
    prices: pd.DataFrame, whole: tuple[VolatilitySpec, WalkForward], first: int
) -> None:
    spec, full = whole
    day = prices["date"][first].date()
    rows = full.forecasts
    expected = rows[rows["as_of"] >= pd.Timestamp(day)]
    history = rows[rows["as_of"] < pd.Timestamp(day)].set_index("as_of")["sigma_daily"]
    stored = walk(prices, spec, first_as_of=day, sigma_history=history, threads=2)
    same_bytes(stored.forecasts, expected)
    used = set(expected["fit_end"].dropna().dt.date)
    assert stored.fits == tuple(fit for fit in full.fits if fit.fit_end in used)
    same_bytes(walk(prices, spec, first_as_of=day).forecasts, expected)


def test_only_the_days_asked_for_are_fitted(prices: pd.DataFrame, full: WalkForward) -> None:
    history = full.forecasts.iloc[:-1].set_index("as_of")["sigma_daily"]
    last = full.forecasts["as_of"].iloc[-1].date()
    assert walk(prices, first_as_of=last, sigma_history=history).fits == full.fits[-1:]


def test_fits_of_an_earlier_walk_are_used_and_others_refused(
    prices: pd.DataFrame, full: WalkForward, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **more: object) -> None:
        pytest.fail("a fit was made again")

    peers = pd.Series(0.05, index=prices["date"])
    expected = walk(prices, peer_sigma=peers)
    monkeypatch.setattr("plimsoll.volatility.walking.fit_history", fail)
    again = walk(prices, peer_sigma=peers, fits=full.fits)
    same_bytes(again.forecasts, expected.forecasts)
    assert again.fits == expected.fits
    for wrong in (full.fits[:-1], (*full.fits[:-1], full.fits[0]), ()):
        with pytest.raises(ValueError, match=r"fit\(s\) given are not those of the \d+ window\(s\) of this walk"):
            walk(prices, fits=wrong)


def test_a_day_without_a_return_keeps_the_fit(prices: pd.DataFrame) -> None:
    hole = prices.assign(is_return_valid=prices["is_return_valid"] & (prices.index != 320))
    walked = walk(hole)
    rows = walked.forecasts.set_index("as_of")
    day, before = prices["date"][320], prices["date"][319]
    assert rows.loc[day, "fit_end"] == before and rows.loc[day, "sigma_daily"] == rows.loc[before, "sigma_daily"]
    assert [fit.fit_end for fit in walked.fits].count(before.date()) == 1
    assert day.date() not in [fit.fit_end for fit in walked.fits]


def test_budget_volatility_is_the_largest_of_its_parts(prices: pd.DataFrame, full: WalkForward) -> None:
    rows = full.forecasts
    r2 = np.diff(np.log(prices["close_usd"])) ** 2
    long_run = [np.sqrt(r2[max(0, n - 252) : n].mean()) for n in rows["return_count"]]
    np.testing.assert_allclose(rows["sigma_long_run_daily"], long_run, rtol=1e-12)
    quantile = [np.quantile(rows["sigma_daily"][: i + 1], 0.10) for i in range(len(rows))]
    parts = np.column_stack([rows["sigma_daily"], long_run, quantile])
    np.testing.assert_allclose(rows["sigma_eff_daily"], parts.max(axis=1), rtol=1e-12)
    high = walk(prices.iloc[:200], replace(SPEC, sigma_floor_daily=0.15)).forecasts
    assert (high["sigma_eff_daily"] == 0.15).all()


def test_the_own_history_holds_the_budget_volatility_up() -> None:
    """After a long calm that the look-back has forgotten, the 10 % quantile is what remains."""
    rng = np.random.default_rng(4)
    r = np.concatenate([2 * rng.standard_normal(500), 0.2 * rng.standard_normal(40)])
    spec = replace(SPEC, minimum_own_fit=2000, window=2000, periods_per_year=20.0)
    rows = walk(prices_of(r), spec).forecasts
    quantile = np.quantile(rows["sigma_daily"], 0.10)
    last = rows.iloc[-1]
    assert last["sigma_eff_daily"] == pytest.approx(quantile, rel=1e-12)
    assert quantile > max(last["sigma_daily"], last["sigma_long_run_daily"])


def test_a_short_history_is_an_ewma_by_hand(prices: pd.DataFrame) -> None:
    rows = walk(prices.iloc[:121]).forecasts
    assert set(rows["rung"]) == {"ewma_short"} and rows["nu"].isna().all() and (rows["mu_daily"] == 0).all()
    r = np.diff(np.log(prices["close_usd"][:121]))
    variance = float(np.mean(r[:30] ** 2))
    for value in r:
        variance = 0.94 * variance + 0.06 * value**2
    assert rows["sigma_daily"].iloc[-1] == pytest.approx(np.sqrt(variance), rel=1e-12)


def test_a_short_history_leans_on_peers_known_by_then(prices: pd.DataFrame) -> None:
    short = prices.iloc[:121]
    alone = walk(short).forecasts
    day = short["date"].iloc[110]
    peers = pd.Series([0.08, 0.02], index=[day, short["date"].iloc[-1] + pd.Timedelta(days=1)])
    rows = walk(short, peer_sigma=peers).forecasts
    before = rows["as_of"] < day
    assert before.any() and (rows["sigma_daily"] == alone["sigma_daily"])[before].all()
    n = rows["return_count"][~before]
    weight = n / (n + 180)
    expected = np.exp(weight * np.log(alone["sigma_daily"][~before]) + (1 - weight) * np.log(0.08))
    np.testing.assert_allclose(rows["sigma_daily"][~before], expected, rtol=1e-12)
    missing = walk(short, peer_sigma=peers * np.nan).forecasts
    same_bytes(missing, alone)


def test_peers_do_not_touch_a_market_with_its_own_fit(prices: pd.DataFrame, full: WalkForward) -> None:
    peers = pd.Series(0.5, index=prices["date"])
    rows = walk(prices, peer_sigma=peers).forecasts
    own = rows["rung"] != "ewma_short"
    assert own.any() and (rows["sigma_daily"] == full.forecasts["sigma_daily"])[own].all()


def test_a_gap_is_no_return_of_one_day(prices: pd.DataFrame) -> None:
    hole = prices.drop(index=range(200, 210)).reset_index(drop=True)
    hole.loc[200:, "close_usd"] *= 5.0
    hole.loc[200, "is_return_valid"] = False
    rows = walk(hole.iloc[:230]).forecasts.set_index("as_of")
    before, after = rows.loc[hole["date"][199]], rows.loc[hole["date"][200]]
    assert after["sigma_daily"] == before["sigma_daily"]
    assert after["return_count"] == before["return_count"]
    assert rows["sigma_daily"].max() < 0.1


def test_a_market_that_does_not_move_gives_zero_and_the_floor() -> None:
    flat = prices_of(np.zeros(280))
    spec = replace(SPEC, sigma_floor_daily=0.01)
    peers = pd.Series(0.05, index=flat["date"])
    walked = walk(flat, spec, peer_sigma=peers)
    assert set(walked.forecasts["rung"]) == {"ewma_short", "ewma"}
    assert (walked.forecasts["sigma_daily"] == 0).all()
    assert (walked.forecasts["sigma_eff_daily"] == 0.01).all()
    assert "differ from zero" in walked.fits[-1].gate_note


def test_too_few_returns_give_no_row(prices: pd.DataFrame) -> None:
    for length in (0, 1, 90):
        walked = walk(prices.iloc[:length])
        assert walked.forecasts.empty and walked.fits == ()
    assert len(walk(prices.iloc[:91]).forecasts) == 1


def test_the_unit_of_the_price_does_not_matter(prices: pd.DataFrame, full: WalkForward) -> None:
    rows = walk(prices.assign(close_usd=1000 * prices["close_usd"])).forecasts
    assert list(rows["rung"]) == list(full.forecasts["rung"])
    np.testing.assert_allclose(rows["sigma_long_run_daily"], full.forecasts["sigma_long_run_daily"], rtol=1e-12)
    short = rows["rung"] == "ewma_short"
    np.testing.assert_allclose(rows["sigma_daily"][short], full.forecasts["sigma_daily"][short], rtol=1e-12)
    # Rounding in the sixteenth digit of a return shifts where the optimiser stops, by far less than matters.
    np.testing.assert_allclose(rows["sigma_daily"], full.forecasts["sigma_daily"], rtol=1e-3)


def test_what_the_caller_got_wrong_is_said(prices: pd.DataFrame, full: WalkForward) -> None:
    history = full.forecasts.set_index("as_of")["sigma_daily"]
    last = prices["date"].iloc[-1].date()
    with pytest.raises(ValueError, match="does not follow the last bar"):
        volatility.walk_forward(prices, spec=SPEC, next_session=last)
    with pytest.raises(ValueError, match=f"sigma_history reaches {last}"):
        walk(prices, first_as_of=last, sigma_history=history)
    with pytest.raises(ValueError, match="needs first_as_of"):
        walk(prices, sigma_history=history)
    broken = history.iloc[:-1].copy()
    broken.iloc[3] = np.nan
    with pytest.raises(ValueError, match=f"sigma_history of {broken.index[3].date()} is no volatility"):
        walk(prices, first_as_of=last, sigma_history=broken)


def test_importing_the_package_does_not_import_arch() -> None:
    code = "import sys, plimsoll.volatility; sys.exit('arch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
