"""Volatility: printed reference fits, the gate, the filter against ``arch``, and a walk that cannot look ahead."""

import subprocess
import sys
import warnings
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from arch.data import sp500
from arch.univariate import GARCH, ConstantMean, Normal, StudentsT
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from plimsoll import volatility
from plimsoll.volatility import VolatilityFit, VolatilitySpec, WalkForward, fitting

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


def simulate(
    n: int, seed: int, *, omega: float = 0.05, alpha: float = 0.1, beta: float = 0.85, nu: float = 6.0
) -> Floats:
    """Percent returns of a GARCH(1,1) with Student t innovations."""
    rng = np.random.default_rng(seed)
    shocks = rng.standard_t(nu, n) * np.sqrt((nu - 2) / nu)
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


def fit_of(r: Floats, minimum: int = 250) -> VolatilityFit:
    return volatility.fit_window(
        r, window_start=date(2020, 1, 1), fit_end=date(2024, 1, 1), ewma_lambda=0.94, minimum=minimum
    )


def arch_result(r: Floats, distribution: Any) -> Any:
    model = ConstantMean(r, rescale=False)
    model.volatility = GARCH(p=1, q=1)
    model.distribution = distribution
    return model.fit(disp="off")


@pytest.fixture(scope="module")
def index_returns() -> Floats:
    """Percent changes of the S&P 500 that the ``arch`` documentation fits."""
    return np.array(100 * sp500.load()["Adj Close"].pct_change().dropna())


@pytest.fixture(scope="module")
def lcg_returns() -> Floats:
    """Self-contained series: a linear congruential generator through the normal quantile into a GARCH."""
    state, uniform = 12345, []
    for _ in range(2500):
        state = (1103515245 * state + 12345) % 2**31
        uniform.append((state + 0.5) / 2**31)
    assert uniform[:3] == pytest.approx([0.65515405, 0.30481432, 0.67496063], abs=5e-9)
    h, out = 1.0, []
    for z in stats.norm.ppf(uniform)[500:]:
        out.append(float(z) * np.sqrt(h))
        h = 0.05 + 0.10 * out[-1] ** 2 + 0.85 * h
    return np.asarray(out)


# Reference fits


def test_normal_fit_of_the_documentation(index_returns: Floats, monkeypatch: pytest.MonkeyPatch) -> None:
    only = [("garch_normal", lambda: fitting._arch_fit(index_returns, "normal", None))]
    monkeypatch.setattr(fitting, "_ladder", lambda r: iter(only))
    fit = fit_of(index_returns)
    assert (fit.rung, fit.return_count, fit.nu) == ("garch_normal", 5030, None)
    assert fit.loglikelihood == pytest.approx(-6936.7185, abs=5e-5)
    found = (fit.mu_percent, fit.omega_percent2, fit.alpha, fit.beta)
    assert found == pytest.approx((0.056353, 0.017507, 0.10215, 0.885206), abs=1e-6)
    h = volatility.filter_variance(
        index_returns,
        mu=fit.mu_percent,
        omega=fit.omega_percent2,
        alpha=fit.alpha,
        beta=fit.beta,
        start=volatility.backcast(index_returns - index_returns.mean()),
    )[-1]
    path = [h]
    for _ in range(4):
        path.append(fit.omega_percent2 + fit.persistence * path[-1])
    assert path == pytest.approx([3.59647, 3.568502, 3.540887, 3.513621, 3.486701], abs=2e-6)


def test_student_fit_of_the_index(index_returns: Floats) -> None:
    fit = fit_of(index_returns)
    assert (fit.rung, fit.gate_note) == ("garch_t", "")
    assert fit.loglikelihood == pytest.approx(-6834.7356, abs=5e-5)
    # The likelihood is flat in nu: its sixth digit depends on where the optimiser stops.
    assert fit.nu == pytest.approx(6.607163, abs=2e-4)


def test_synthetic_likelihood_under_both_presample_conventions(lcg_returns: Floats) -> None:
    assert lcg_returns.sum() == pytest.approx(21.6893606216, abs=5e-11)
    assert (lcg_returns**2).sum() == pytest.approx(1848.93331909, abs=5e-9)
    mu, omega, alpha, beta = -0.00714763, 0.02957145, 0.11273169, 0.85594112
    plain = float(np.mean((lcg_returns - mu) ** 2))
    found = volatility.loglikelihood(lcg_returns, mu=mu, omega=omega, alpha=alpha, beta=beta, start=plain)
    assert found == pytest.approx(-2626.181456, abs=5e-7)
    fit = fitting._arch_fit(lcg_returns, "normal", None)
    again = volatility.loglikelihood(lcg_returns, mu=fit.mu, omega=fit.omega, alpha=fit.alpha, beta=fit.beta)
    assert fit.loglikelihood == pytest.approx(-2626.12309183, abs=5e-7)
    assert again == pytest.approx(fit.loglikelihood, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    alpha=st.floats(0.0, 0.4),
    beta=st.floats(0.0, 0.599),
    omega=st.floats(0.01, 2.0),
    mu=st.floats(-0.2, 0.2),
    nu=st.one_of(st.none(), st.floats(2.2, 100.0)),
    n=st.integers(60, 400),
)
def test_filter_and_likelihood_equal_arch(
    seed: int, alpha: float, beta: float, omega: float, mu: float, nu: float | None, n: int
) -> None:
    r = simulate(n, seed)
    model = ConstantMean(r, rescale=False)
    model.volatility = GARCH(p=1, q=1)
    model.distribution = Normal() if nu is None else StudentsT()
    params = np.asarray([mu, omega, alpha, beta, *([] if nu is None else [nu])])
    fixed = model.fix(params)
    start = volatility.backcast(r - r.mean())
    backcast = model.volatility.backcast(r - r.mean())
    assert start == pytest.approx(backcast, rel=1e-12)
    h = volatility.filter_variance(r, mu=mu, omega=omega, alpha=alpha, beta=beta, start=start)
    bounds = np.tile([1e-300, 1e300], (n, 1))
    own = model.volatility.compute_variance(params[1:4], r - mu, np.empty(n), backcast, bounds)
    np.testing.assert_allclose(h[:-1], own, rtol=1e-10)
    np.testing.assert_allclose(np.sqrt(h[:-1]), fixed.conditional_volatility, rtol=1e-10)
    assert h[-1] == pytest.approx(fixed.forecast(horizon=1).variance.to_numpy()[-1, 0], rel=1e-10)
    found = volatility.loglikelihood(r, mu=mu, omega=omega, alpha=alpha, beta=beta, nu=nu, start=start)
    assert found == pytest.approx(fixed.loglikelihood, rel=1e-10)


def test_filter_continues_a_fit_of_arch() -> None:
    r = simulate(600, 5)
    result = arch_result(r, StudentsT())
    mu, omega, alpha, beta, _ = (float(v) for v in result.params)
    start = volatility.backcast(r - r.mean())
    h = volatility.filter_variance(r, mu=mu, omega=omega, alpha=alpha, beta=beta, start=start)
    np.testing.assert_allclose(np.sqrt(h[:-1]), result.conditional_volatility, rtol=1e-10)
    assert h[-1] == pytest.approx(result.forecast(horizon=1).variance.to_numpy()[-1, 0], rel=1e-10)


# Ladder and gate


def test_a_clean_series_stays_on_the_first_rung() -> None:
    r = simulate(1000, 1)
    fit = fit_of(r)
    assert (fit.rung, fit.gate_note, fit.is_igarch) == ("garch_t", "", False)
    assert fit.persistence == fit.alpha + fit.beta
    assert fit.half_life_days == pytest.approx(np.log(0.5) / np.log(fit.persistence))
    found = volatility.loglikelihood(
        r, mu=fit.mu_percent, omega=fit.omega_percent2, alpha=fit.alpha, beta=fit.beta, nu=fit.nu
    )
    assert found == pytest.approx(fit.loglikelihood, abs=1e-8)
    assert fit.ljung_box_p is not None and fit.ljung_box_p > 0.05


def test_ljung_box_is_that_of_statsmodels_and_only_a_label() -> None:
    from statsmodels.stats.diagnostic import acorr_ljungbox

    rng = np.random.default_rng(0)
    squares = rng.chisquare(1, 500)
    own = acorr_ljungbox(squares, lags=[10])["lb_pvalue"].iloc[0]
    assert fitting._ljung_box(squares) == pytest.approx(own, rel=1e-10)
    assert fitting._ljung_box(np.ones(100)) is None
    # Two bursts twenty days apart again and again: no GARCH(1,1) takes that out of the squares.
    r = rng.standard_normal(1000) * np.where(np.arange(1000) % 10 < 1, 4.0, 1.0)
    fit = fit_of(r)
    assert fit.rung == "garch_t" and fit.ljung_box_p is not None and fit.ljung_box_p < 1e-6


def test_integrated_variance_is_accepted_with_a_label_and_without_half_life() -> None:
    fit = fit_of(simulate(1500, 3, omega=0.02, alpha=0.1, beta=0.9, nu=4.0))
    assert (fit.rung, fit.gate_note) == ("garch_t", "")
    assert fit.is_igarch and fit.persistence >= 0.9995 and fit.half_life_days is None


@pytest.mark.parametrize("distribution", ["t", "normal"])
def test_unscaled_returns_are_refused(lcg_returns: Floats, distribution: str) -> None:
    candidate = fitting._arch_fit(lcg_returns / 100, distribution, None)
    assert candidate.complaint or fitting._gate(lcg_returns / 100, candidate)


def test_a_fit_that_never_left_its_start_is_refused(lcg_returns: Floats) -> None:
    """The optimiser reports success, and every other condition of the gate holds."""
    candidate = fitting._arch_fit(lcg_returns / 100, "normal", None)
    assert (candidate.alpha, candidate.beta) == pytest.approx((0.10, 0.88), abs=1e-5)
    assert fitting._gate(lcg_returns / 100, replace(candidate, complaint="")) is None
    assert candidate.complaint == "parameters did not move from their start"


def test_percent_and_fraction_end_at_the_same_process(lcg_returns: Floats) -> None:
    """By whatever rung: fractions never give other dynamics quietly."""
    percent, fraction = fit_of(lcg_returns), fit_of(lcg_returns / 100)
    assert percent.rung == "garch_t"
    assert fraction.rung != "garch_t" and "garch_t: " in fraction.gate_note
    assert fraction.persistence == pytest.approx(percent.persistence, abs=0.02)


def with_spike(r: Floats) -> Floats:
    out = r.copy()
    out[500] = 1e6
    return out


def with_zeros(r: Floats, share: float) -> Floats:
    out = r.copy()
    out[: round(share * len(r))] = 0.0
    return out


@pytest.mark.parametrize(
    ("change", "rung", "words"),
    [
        (lambda r: np.full(len(r), 0.1), "ewma", "all returns are equal"),
        (lambda r: np.zeros(len(r)), "ewma", "only 0 % of returns differ from zero"),
        (lambda r: with_zeros(r, 0.6), "ewma", "only 40 % of returns differ from zero"),
        (lambda r: r[:499], "ewma", "499 returns, an own fit needs 500"),
        (with_spike, "garch_normal", "garch_t: degrees of freedom 2.05 outside (2.1, 200.0)"),
    ],
    ids=["constant", "no-trade", "stale", "short", "spike"],
)
def test_bad_windows_leave_the_first_rung_in_words(change: Any, rung: str, words: str) -> None:
    fit = fit_of(change(simulate(1000, 1)), minimum=500)
    assert fit.rung == rung
    assert words in fit.gate_note
    assert fit.nu is None


def test_the_last_rung_is_riskmetrics() -> None:
    fit = fit_of(np.zeros(600))
    assert (fit.alpha, fit.beta, fit.omega_percent2, fit.mu_percent) == pytest.approx((0.06, 0.94, 0, 0))
    assert fit.persistence == 1.0 and fit.is_igarch
    assert (fit.loglikelihood, fit.ljung_box_p, fit.half_life_days, fit.nu) == (None, None, None, None)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_return_that_is_no_number_is_an_error_that_names_the_window(bad: float) -> None:
    r = simulate(600, 1)
    r[10] = bad
    with pytest.raises(ValueError, match=r"1 return\(s\) between 2020-01-01 and 2024-01-01 are not finite"):
        fit_of(r)


GOOD = {
    "mu": 0.0,
    "omega": 0.05,
    "alpha": 0.10,
    "beta": 0.85,
    "nu": 6.0,
    "loglikelihood": 0.0,
    "complaint": "",
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"omega": float("nan")}, "not finite"),
        ({"loglikelihood": float("-inf")}, "not finite"),
        ({"alpha": -0.01}, "negative"),
        ({"beta": -0.01}, "negative"),
        ({"omega": 0.0}, "negative"),
        ({"nu": 2.1}, "degrees of freedom"),
        ({"nu": 200.0}, "degrees of freedom"),
        ({"omega": 0.05 * 12}, "long-run volatility"),
        ({"omega": 0.05 / 15}, "long-run volatility"),
        ({"omega": 25.0, "alpha": 0.0, "beta": 0.9996}, "next variance"),
        ({"omega": 0.02, "alpha": 0.0, "beta": 0.9996}, "likelihood"),
    ],
)
def test_each_condition_of_the_gate_refuses_by_itself(change: dict[str, float], words: str) -> None:
    r = simulate(1000, 1)
    values = {**GOOD, **change}
    if "loglikelihood" not in change:
        known = {k: values[k] for k in ("mu", "omega", "alpha", "beta", "nu")}
        with np.errstate(all="ignore"):
            value = volatility.loglikelihood(r, **known)
        values["loglikelihood"] = value if np.isfinite(value) else 0.0
    assert words in str(fitting._gate(r, fitting._Candidate(**values)))


def test_the_gate_lets_the_truth_pass() -> None:
    r = simulate(1000, 1)
    value = volatility.loglikelihood(r, mu=0.0, omega=0.05, alpha=0.1, beta=0.85, nu=6.0)
    assert fitting._gate(r, fitting._Candidate(**{**GOOD, "loglikelihood": value})) is None


def test_the_ladder_is_walked_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    r = simulate(1000, 1)
    real, asked = fitting._arch_fit, []

    def refused(r: Floats, distribution: str, start: Any) -> Any:
        asked.append((distribution, start))
        return replace(real(r, distribution, start), complaint=f"refused {len(asked)}")

    monkeypatch.setattr(fitting, "_arch_fit", refused)
    targeted = fit_of(r)
    assert asked == [("t", None), *(("t", start) for start in fitting.STARTS)]
    assert targeted.rung == "garch_t_targeted"
    assert targeted.gate_note == "garch_t: refused 1; garch_t: refused 2; garch_t: refused 3"
    # Targeting pins the long-run variance on the sample's.
    assert targeted.omega_percent2 / (1 - targeted.persistence) == pytest.approx(r.var(), rel=1e-9)
    assert targeted.loglikelihood == pytest.approx(real(r, "t", None).loglikelihood, abs=3.0)
    assert targeted.loglikelihood <= real(r, "t", None).loglikelihood + 1e-3
    failing = fitting._Candidate(0, 0, 0, 0, None, -np.inf, "not converged: test")
    monkeypatch.setattr(fitting, "_targeted_fit", lambda r: failing)
    asked.clear()
    last = fit_of(r)
    assert last.rung == "ewma" and [a[0] for a in asked] == ["t", "t", "t", "normal"]
    assert "garch_t_targeted: not converged: test; garch_normal: refused 4" in last.gate_note


def test_a_second_start_saves_the_first_rung(monkeypatch: pytest.MonkeyPatch) -> None:
    r = simulate(1000, 1)
    real = fitting._arch_result

    def first_fails(r: Floats, distribution: str, start: Any) -> Any:
        candidate, result = real(r, distribution, start)
        return (replace(candidate, complaint="not converged, flag 8") if start is None else candidate), result

    plain = fit_of(r)
    monkeypatch.setattr(fitting, "_arch_result", first_fails)
    fit = fit_of(r)
    assert (fit.rung, fit.gate_note) == ("garch_t", "garch_t: not converged, flag 8")
    assert fit.loglikelihood == pytest.approx(plain.loglikelihood, abs=1e-3)
    found = volatility.as_of_diagnostics(r, "garch_t")
    estimates = [estimate for _, estimate, _ in found.parameters]
    assert estimates == [fit.mu_percent, fit.omega_percent2, fit.alpha, fit.beta, fit.nu]


def test_no_warning_filter_of_the_process_changes() -> None:
    volatility.fit_window(
        simulate(600, 1),
        window_start=date(2020, 1, 1),
        fit_end=date(2024, 1, 1),
        ewma_lambda=0.94,
        minimum=500,
    )
    before = list(warnings.filters)
    fit_of(with_spike(simulate(1000, 1)))
    fit_of(simulate(1000, 1) / 100)
    volatility.as_of_diagnostics(simulate(600, 1), "garch_t")
    assert list(warnings.filters) == before


# The newest fit


def test_diagnostics_of_the_newest_fit(lcg_returns: Floats) -> None:
    found = volatility.as_of_diagnostics(lcg_returns, "garch_normal")
    assert [name for name, _, _ in found.parameters] == ["mu", "omega", "alpha", "beta"]
    own = arch_result(lcg_returns, Normal())
    np.testing.assert_allclose([e for _, _, e in found.parameters], own.std_err, rtol=1e-8)
    assert (found.second_start_gap, found.complaints) == (None, ())
    student = volatility.as_of_diagnostics(simulate(1000, 1), "garch_t")
    assert [name for name, _, _ in student.parameters] == ["mu", "omega", "alpha", "beta", "nu"]
    assert student.second_start_gap == pytest.approx(0, abs=1e-3)
    assert student.complaints == ()


def test_diagnostics_complain_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    r = simulate(1000, 1)
    assert volatility.as_of_diagnostics(r, "ewma").complaints == ("no standard errors on rung ewma",)
    refused = volatility.as_of_diagnostics(with_spike(r), "garch_t")
    assert refused.parameters == () and "refuses this window" in refused.complaints[0]
    real = fitting._arch_fit

    def elsewhere(r: Floats, distribution: str, start: Any) -> Any:
        candidate = real(r, distribution, start)
        return replace(candidate, loglikelihood=candidate.loglikelihood - 0.5)

    monkeypatch.setattr(fitting, "_arch_fit", elsewhere)
    apart = volatility.as_of_diagnostics(r, "garch_t")
    assert apart.second_start_gap == pytest.approx(-0.5, abs=1e-3)
    assert "a second start ends -0.5000 away" in apart.complaints[0]


# The walk


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


def test_parameters_are_those_of_the_first_bar_of_the_week(prices: pd.DataFrame, full: WalkForward) -> None:
    own = full.forecasts[full.forecasts["rung"] == "garch_t"]
    assert len(own) > 80
    first = prices["date"].groupby(prices["date"].dt.to_period("W-SUN")).transform("min")
    expected = own["as_of"].map(dict(zip(prices["date"], first, strict=True)))
    assert (own["fit_end"] == expected).all()
    assert [pd.Timestamp(fit.fit_end) for fit in full.fits] == list(own["fit_end"].unique())


def test_a_forecast_is_the_filter_with_the_weeks_parameters(prices: pd.DataFrame, full: WalkForward) -> None:
    row = full.forecasts.iloc[-1]
    fit = full.fits[-1]
    r = 100 * np.diff(np.log(prices["close_usd"]))
    end = int(np.flatnonzero(prices["date"] == pd.Timestamp(fit.fit_end))[0])
    assert end < len(r), "the last bar is no refit day, or nothing is filtered"
    window = r[end - SPEC.window : end]
    assert (fit.return_count, pd.Timestamp(fit.window_start)) == (300, prices["date"].iloc[end - 299])
    assert fit_of(window).loglikelihood == pytest.approx(fit.loglikelihood, rel=1e-9)
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


def test_no_forecast_knows_its_target(prices: pd.DataFrame, full: WalkForward) -> None:
    """Everything from a target on is replaced by another market three times as wild; nothing earlier moves."""
    wild = prices_of(3 * simulate(360, 99))["close_usd"].to_numpy()
    for cut in (150, 262, 301, 303, 359):
        other = prices.copy()
        other.loc[cut:, "close_usd"] = wild[cut:] * (prices["close_usd"][cut - 1] / wild[cut - 1])
        rows = walk(other).forecasts
        target = prices["date"][cut]
        same_bytes(rows[rows["target_date"] <= target], full.forecasts[full.forecasts["target_date"] <= target])
        later = rows["target_date"] > target
        assert later.any()
        assert (rows["sigma_daily"] != full.forecasts["sigma_daily"])[later].all()


def test_a_shorter_history_gives_the_same_rows(prices: pd.DataFrame, full: WalkForward) -> None:
    for length in (200, 300, 304):
        rows = walk(prices.iloc[:length]).forecasts
        expected = full.forecasts.iloc[: len(rows)].copy()
        expected.loc[expected.index[-1], "target_date"] = pd.Timestamp(NEXT)
        same_bytes(rows, expected)


@pytest.mark.parametrize("first", [100, 255, 300, 303, 360])
def test_an_incremental_walk_is_the_whole_walk(prices: pd.DataFrame, full: WalkForward, first: int) -> None:
    day = prices["date"][first].date()
    rows = full.forecasts
    expected = rows[rows["as_of"] >= pd.Timestamp(day)]
    known = {fit.fit_end: fit for fit in full.fits if fit.fit_end < day}
    history = rows[rows["as_of"] < pd.Timestamp(day)].set_index("as_of")["sigma_daily"]
    stored = walk(prices, first_as_of=day, known_fits=known, sigma_history=history)
    same_bytes(stored.forecasts, expected)
    assert stored.fits == tuple(fit for fit in full.fits if fit.fit_end >= day)
    same_bytes(walk(prices, first_as_of=day, known_fits=known).forecasts, expected)


def test_known_fits_are_not_made_again(
    prices: pd.DataFrame, full: WalkForward, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **more: object) -> None:
        pytest.fail("a stored fit was made again")

    monkeypatch.setattr("plimsoll.volatility.walking.fit_window", fail)
    again = walk(prices, known_fits={fit.fit_end: fit for fit in full.fits})
    assert again.fits == ()
    same_bytes(again.forecasts, full.forecasts)


def test_only_the_weeks_asked_for_are_fitted(prices: pd.DataFrame, full: WalkForward) -> None:
    history = full.forecasts.iloc[:-1].set_index("as_of")["sigma_daily"]
    last = full.forecasts["as_of"].iloc[-1].date()
    assert walk(prices, first_as_of=last, sigma_history=history).fits == full.fits[-1:]


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
    rows = walk(prices, peer_sigma=peers, known_fits={fit.fit_end: fit for fit in full.fits}).forecasts
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
