"""Volatility: printed fits, the filter against ``arch``, the gate, and the ladder below it."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from arch.data import sp500
from arch.univariate import GARCH, ConstantMean, Normal, StudentsT
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from plimsoll import volatility
from plimsoll.volatility import MODELS, VolatilityFit, fitting, targeted
from plimsoll.volatility.batch import kernels
from plimsoll.volatility.fitting import Candidate

Floats = NDArray[np.float64]


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


def days_of(n: int) -> list[date]:
    return [date(2020, 1, 1) + timedelta(days=i) for i in range(n)]


def fits_of(r: Floats, ends: list[int], **more: Any) -> tuple[VolatilityFit, ...]:
    asked: dict[str, Any] = {"model": "garch_t", "window": len(r), "minimum": 250, "ewma_lambda": 0.94} | more
    return volatility.fit_history(r, days_of(len(r)), np.asarray(ends, dtype=np.int64), **asked)


def fit_of(r: Floats, **more: Any) -> VolatilityFit:
    """Fit of one window that is the whole history."""
    return fits_of(r, [len(r)], **more)[0]


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


def test_normal_fit_of_the_documentation(index_returns: Floats) -> None:
    fit = fit_of(index_returns, model="garch_normal")
    assert (fit.rung, fit.return_count, fit.nu) == ("garch_normal", 5030, None)
    assert fit.loglikelihood == pytest.approx(-6936.7185, abs=5e-5)
    found = (fit.mu_percent, fit.omega_percent2, fit.alpha, fit.beta)
    assert found == pytest.approx((0.056353, 0.017507, 0.10215, 0.885206), abs=2e-5)
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
    assert path == pytest.approx([3.59647, 3.568502, 3.540887, 3.513621, 3.486701], abs=2e-4)


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
    fit = fit_of(lcg_returns, model="garch_normal")
    again = volatility.loglikelihood(
        lcg_returns, mu=fit.mu_percent, omega=fit.omega_percent2, alpha=fit.alpha, beta=fit.beta
    )
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


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    alpha=st.floats(0.0, 0.3),
    gamma=st.floats(-0.3, 0.4),
    beta=st.floats(0.0, 0.599),
    n=st.integers(60, 400),
)
def test_asymmetric_filter_equals_arch(seed: int, alpha: float, gamma: float, beta: float, n: int) -> None:
    gamma = max(gamma, -alpha)
    r = simulate(n, seed)
    model = ConstantMean(r, rescale=False)
    model.volatility = GARCH(p=1, o=1, q=1)
    start = volatility.backcast(r - r.mean())
    bounds = np.tile([1e-300, 1e300], (n, 1))
    own = model.volatility.compute_variance(np.asarray([0.1, alpha, gamma, beta]), r - 0.02, np.empty(n), start, bounds)
    h = volatility.filter_variance(r, mu=0.02, omega=0.1, alpha=alpha, gamma=gamma, beta=beta, start=start)
    np.testing.assert_allclose(h[:-1], own, rtol=1e-10)


# Ladder and gate


def test_a_clean_series_stays_on_the_first_rung() -> None:
    r = simulate(1000, 1)
    fit = fit_of(r)
    assert (fit.rung, fit.gate_note, fit.is_igarch, fit.limits) == ("garch_t", "", False, "")
    assert (fit.window_start, fit.fit_end, fit.return_count) == (days_of(1)[0], days_of(1000)[-1], 1000)
    assert fit.persistence == fit.alpha + fit.beta and fit.gamma == 0.0 and fit.lam is None
    assert fit.half_life_days == pytest.approx(np.log(0.5) / np.log(fit.persistence))
    found = volatility.loglikelihood(
        r, mu=fit.mu_percent, omega=fit.omega_percent2, alpha=fit.alpha, beta=fit.beta, nu=fit.nu
    )
    assert found == pytest.approx(fit.loglikelihood, abs=1e-8)
    assert fit.ljung_box_p is not None and fit.ljung_box_p > 0.05


@pytest.mark.parametrize("model", list(MODELS))
def test_every_model_is_its_own_first_rung(model: str) -> None:
    fit = fit_of(simulate(1000, 1), model=model)
    assert (fit.rung, fit.gate_note) == (model, "")
    assert (fit.nu is None, fit.lam is None) == (model.endswith("normal"), not model.endswith("skew_t"))
    assert fit.persistence == pytest.approx(fit.alpha + fit.gamma / 2 + fit.beta, abs=1e-15)


@pytest.mark.parametrize("model", ["garch_t", "gjr_skew_t"])
def test_ljung_box_is_that_of_statsmodels(model: str) -> None:
    from statsmodels.stats.diagnostic import acorr_ljungbox

    r = simulate(700, 4)
    fit = fit_of(r, model=model)
    h = volatility.filter_variance(
        r,
        mu=fit.mu_percent,
        omega=fit.omega_percent2,
        alpha=fit.alpha,
        gamma=fit.gamma,
        beta=fit.beta,
        start=volatility.backcast(r - r.mean()),
    )[:-1]
    squares = (r - fit.mu_percent) ** 2 / h
    own = acorr_ljungbox(squares, lags=[10])["lb_pvalue"].iloc[0]
    assert fit.ljung_box_p == pytest.approx(own, rel=1e-9)


def test_clusters_left_over_are_a_label_and_no_refusal() -> None:
    """Two bursts ten days apart again and again: no GARCH(1,1) takes that out of the squares."""
    r = np.random.default_rng(0).standard_normal(1000) * np.where(np.arange(1000) % 10 < 1, 4.0, 1.0)
    fit = fit_of(r)
    assert fit.rung == "garch_t" and fit.ljung_box_p is not None and fit.ljung_box_p < 1e-6


def test_integrated_variance_is_accepted_with_a_label_and_without_half_life() -> None:
    fit = fit_of(simulate(1500, 3, omega=0.02, alpha=0.1, beta=0.9, nu=4.0))
    assert (fit.rung, fit.gate_note, fit.limits) == ("garch_t", "", "persistence 1")
    assert fit.is_igarch and fit.persistence >= 0.9995 and fit.half_life_days is None


@pytest.mark.parametrize("model", list(MODELS))
def test_percent_and_fraction_give_the_same_process(model: str) -> None:
    """An optimiser may stop at its start on unscaled returns and report success; this one must not feel the unit."""
    r = simulate(1500, 1)
    percent, fraction = fit_of(r, model=model), fit_of(r / 100, model=model)
    assert percent.rung == fraction.rung == model
    assert fraction.omega_percent2 == pytest.approx(percent.omega_percent2 / 1e4, rel=1e-3)
    for name in ("alpha", "gamma", "beta"):
        assert getattr(fraction, name) == pytest.approx(getattr(percent, name), abs=1e-4)


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
        (with_spike, "garch_normal", "garch_t: degrees of freedom 2.05 outside (2.1, 200.0)"),
    ],
    ids=["constant", "no-trade", "stale", "spike"],
)
def test_bad_windows_leave_the_first_rung_in_words(change: Any, rung: str, words: str) -> None:
    fit = fit_of(change(simulate(1000, 1)))
    assert fit.rung == rung
    assert words in fit.gate_note
    assert fit.nu is None


def test_the_last_rung_is_riskmetrics() -> None:
    fit = fit_of(np.zeros(600))
    assert (fit.alpha, fit.beta, fit.omega_percent2, fit.mu_percent) == pytest.approx((0.06, 0.94, 0, 0))
    assert fit.persistence == 1.0 and fit.is_igarch
    assert (fit.loglikelihood, fit.ljung_box_p, fit.half_life_days, fit.nu) == (None, None, None, None)


GOOD = {"mu": 0.0, "omega": 0.05, "alpha": 0.10, "gamma": 0.0, "beta": 0.85, "nu": 6.0, "lam": float("nan")}


def judged(**change: float) -> str | None:
    r = simulate(1000, 1)
    values = {**GOOD, **change}
    if "loglikelihood" not in values:
        known = {name: values[name] for name in ("mu", "omega", "alpha", "beta", "nu")}
        with np.errstate(all="ignore"):
            value = volatility.loglikelihood(r, **known)
        values["loglikelihood"] = value if np.isfinite(value) else 0.0
    candidate = Candidate(**values)
    return fitting.gate(candidate, fitting.measured(r, candidate, kernels.STUDENT))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"omega": float("nan")}, "not finite"),
        ({"loglikelihood": float("-inf")}, "not finite"),
        ({"alpha": -0.01}, "negative"),
        ({"gamma": -0.2}, "negative"),
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
    assert words in str(judged(**change))


def test_the_gate_lets_the_truth_pass() -> None:
    assert judged() is None


@pytest.mark.parametrize("nu", [4.0, 30.0])
def test_the_gate_measures_what_it_says(nu: float) -> None:
    r = simulate(800, 6)
    candidate = Candidate(0.01, 0.06, 0.08, 0.06, 0.80, nu, float("nan"), 0.0)
    seen = fitting.measured(r, candidate, kernels.STUDENT)
    assert seen.variance == pytest.approx(r.var(), rel=1e-12)
    assert (seen.moving_share, seen.is_flat) == (1.0, False)
    own = np.sum(stats.t.logpdf((r - r.mean()) * np.sqrt(nu / (nu - 2) / r.var()), nu))
    own += len(r) * 0.5 * np.log(nu / (nu - 2) / r.var())
    assert seen.constant_loglikelihood == pytest.approx(own, rel=1e-10)
    start = volatility.backcast(r - r.mean())
    h = volatility.filter_variance(r, mu=0.01, omega=0.06, alpha=0.08, gamma=0.06, beta=0.8, start=start)
    assert seen.sigma2_next == pytest.approx(h[-1], rel=1e-10)


def test_the_ladder_is_walked_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    r = simulate(1000, 1)
    free = fit_of(r)
    real, asked = fitting.gate, []

    def refused(candidate: Candidate, seen: fitting.Measured) -> str | None:
        asked.append(candidate)
        return f"refused {len(asked)}" if len(asked) <= most else real(candidate, seen)

    monkeypatch.setattr(fitting, "gate", refused)
    most = 1
    second = fit_of(r)
    assert (second.rung, second.gate_note) == ("garch_t_targeted", "garch_t: refused 1")
    # Targeting pins the long-run variance on the sample's and gives up likelihood for it.
    assert second.omega_percent2 / (1 - second.persistence) == pytest.approx(r.var(), rel=1e-9)
    assert -3.0 < float(second.loglikelihood or 0) - float(free.loglikelihood or 0) <= 1e-3
    assert (second.limits, second.optimum_gap) == ("", None)
    most, asked = 2, []
    third = fit_of(r)
    assert third.rung == "garch_normal"
    assert third.loglikelihood == pytest.approx(float(arch_result(r, Normal()).loglikelihood), abs=1e-4)
    most, asked = 3, []
    last = fit_of(r)
    assert last.rung == "ewma"
    assert last.gate_note == "garch_t: refused 1; garch_t_targeted: refused 2; garch_normal: refused 3"
    most, asked = 2, []
    assert fit_of(r, model="garch_normal").gate_note == "garch_normal: refused 1; garch_t_targeted: refused 2"
    assert fit_of(r, model="garch_normal").rung == "garch_normal", "the gate is itself again"


def test_a_climb_that_did_not_arrive_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    r = simulate(1000, 1)
    real = fitting.fit_windows

    def stalled(*args: Any, **more: Any) -> Any:
        found = real(*args, **more)
        return replace(found, is_converged=np.zeros(len(found), dtype=np.bool_))

    monkeypatch.setattr(fitting, "fit_windows", stalled)
    fit = fit_of(r)
    assert fit.rung == "garch_t_targeted"
    assert fit.gate_note == "garch_t: the climb to the optimum did not arrive"


def test_the_targeted_fit_is_the_best_of_a_general_optimiser() -> None:
    from scipy import optimize

    r = simulate(1200, 9, nu=4.0)
    found = targeted.fit_targeted(r)
    assert found.complaint == "" and found.mu == pytest.approx(r.mean())

    def negative(x: Floats) -> float:
        share, p, nu = x
        if not (0 < share < 1 and 0.05 < p < 0.9994 and 2.1 < nu < 50):
            return 1e10
        omega = float(r.var()) * (1 - p)
        return -volatility.loglikelihood(r, mu=r.mean(), omega=omega, alpha=share * p, beta=(1 - share) * p, nu=nu)

    best = optimize.minimize(negative, [0.1, 0.9, 5.0], method="Nelder-Mead", options={"maxiter": 3000, "fatol": 1e-9})
    assert found.loglikelihood == pytest.approx(-best.fun, abs=1e-5)
    assert found.nu == pytest.approx(best.x[2], rel=1e-3)


def test_a_line_search_that_ends_at_the_optimum_has_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding makes the optimiser say ABNORMAL there; far from it the same word is a failure."""
    real = targeted.optimize.minimize

    def abnormal(*args: Any, **more: Any) -> Any:
        found = real(*args, **more | {"options": more["options"] | {"maxiter": limit}})
        found.success, found.message = False, "ABNORMAL: "
        return found

    monkeypatch.setattr(targeted.optimize, "minimize", abnormal)
    limit = 500
    assert targeted.fit_targeted(simulate(1000, 1)).complaint == ""
    limit = 1
    assert "not converged: ABNORMAL" in targeted.fit_targeted(simulate(1000, 1)).complaint


def test_a_law_that_is_normal_after_all_leaves_the_first_rung(lcg_returns: Floats) -> None:
    fit = fit_of(lcg_returns)
    assert fit.gate_note == "garch_t: degrees of freedom 500.00 outside (2.1, 200.0)"
    assert (fit.rung, fit.nu) == ("garch_t_targeted", 50.0)


# Many windows


@pytest.mark.parametrize("model", list(MODELS))
def test_which_other_ends_are_asked_for_changes_no_bit(model: str) -> None:
    r = simulate(900, 12)
    every = list(range(260, 901))
    whole = fits_of(r, every, model=model, window=400, minimum=260)
    for ends in ([900], [260, 261], [373, 374, 375, 376], [500, 749, 750, 900]):
        expected = tuple(whole[end - 260] for end in ends)
        assert fits_of(r, ends, model=model, window=400, minimum=260, threads=2) == expected


def test_a_window_is_fitted_like_its_neighbours_would_be_alone() -> None:
    """The optimum does not depend on the chain that led to it, beyond where a climb stops."""
    r = simulate(700, 2)
    for fit in fits_of(r, [400, 555, 700], window=400):
        end = days_of(700).index(fit.fit_end) + 1
        alone = fit_of(r[end - 400 : end])
        assert fit.loglikelihood == pytest.approx(alone.loglikelihood, abs=1e-5)
        assert fit.return_count == 400


def test_wrong_questions_are_answered_in_words() -> None:
    r = simulate(600, 1)
    with pytest.raises(ValueError, match=r"model 'garch' is unknown; choose one of garch_normal"):
        fit_of(r, model="garch")
    with pytest.raises(ValueError, match="ends must increase between 250 and 600"):
        fits_of(r, [249])
    with pytest.raises(ValueError, match="ends must increase"):
        fits_of(r, [400, 400])
    assert fits_of(r, []) == ()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_return_that_is_no_number_is_an_error_that_names_the_day(bad: float) -> None:
    r = simulate(600, 1)
    r[10] = bad
    with pytest.raises(ValueError, match=r"1 return\(s\) are not finite, the first of 2020-01-11"):
        fit_of(r)
