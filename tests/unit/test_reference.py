"""The reference: printed fits of ``arch`` and of the literature, and objections where engine and reference differ."""

import os
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from arch.data import sp500, wti
from numpy.typing import NDArray
from scipy import optimize

from plimsoll import volatility
from plimsoll.volatility import MODELS, VolatilityFit, reference
from plimsoll.volatility.batch import fit_windows

Floats = NDArray[np.float64]

ORACLES = os.environ.get("PLIMSOLL_ORACLES")
needs_oracles = pytest.mark.skipif(ORACLES is None, reason="PLIMSOLL_ORACLES names no folder of published series")


def fit_of(r: Floats, model: str = "garch_t", window: int | None = None) -> VolatilityFit:
    days = [date(2000, 1, 1) + timedelta(days=i) for i in range(len(r))]
    return volatility.fit_history(
        r, days, np.asarray([len(r)]), model=model, window=window or len(r), minimum=250, ewma_lambda=0.94
    )[0]


@pytest.fixture(scope="module")
def index_returns() -> Floats:
    """Percent changes of the S&P 500 that the ``arch`` documentation fits."""
    return np.array(100 * sp500.load()["Adj Close"].pct_change().dropna())


@pytest.fixture(scope="module")
def window(index_returns: Floats) -> Floats:
    return index_returns[-1000:].copy()


# Printed fits


@pytest.mark.parametrize(
    ("process", "innovations", "loglik", "printed"),
    [
        ("garch", "normal", -6936.7185, {"mu": 0.056353, "omega": 0.017507, "alpha": 0.10215, "beta": 0.885206}),
        ("gjr", "normal", -6822.8828, {"gamma": 0.183069, "beta": 0.892236, "alpha": 0.0}),
        ("garch", "student_t", -6834.7356, {"nu": 6.607163}),
        ("gjr", "skew_t", -6726.0537, {"nu": 8.213084, "lam": -0.115612}),
        ("egarch", "normal", -6813.9527, {}),
        ("egarch", "student_t", -6729.2131, {}),
        ("figarch", "normal", -6925.6594, {"d": 0.541605}),
    ],
)
def test_fits_of_the_documentation(
    index_returns: Floats, process: Any, innovations: Any, loglik: float, printed: dict[str, float]
) -> None:
    fit = volatility.reference_fit(index_returns, process, innovations)
    assert fit.loglikelihood == pytest.approx(loglik, abs=6e-5)
    found = dict(zip(fit.names, fit.estimates, strict=True))
    for name, value in printed.items():
        assert found[name] == pytest.approx(value, rel=1e-3, abs=1e-5), name
    assert fit.message == "" and len(fit.std_errors) == len(fit.names)


def published(name: str) -> pd.DataFrame:
    return pd.read_csv(Path(str(ORACLES)) / name)


@needs_oracles
def test_benchmark_of_the_mark_against_the_pound() -> None:
    """Fiorentini, Calzolari and Panattoni 1996: presample at the mean squared residual, four digits at least."""
    r = published("dmbp.csv")["V1"].to_numpy()

    def negative(x: Floats) -> float:
        mu, omega, alpha, beta = x
        if omega <= 0 or alpha < 0 or beta < 0:
            return 1e10
        start = float(np.mean((r - mu) ** 2))
        return -volatility.loglikelihood(r, mu=mu, omega=omega, alpha=alpha, beta=beta, start=start)

    start = np.asarray([0.0, 0.01, 0.15, 0.8])
    rough = optimize.minimize(negative, start, method="Nelder-Mead", options={"maxiter": 4000, "xatol": 1e-9})
    fine = optimize.minimize(negative, rough.x, method="Nelder-Mead", options={"xatol": 1e-11, "fatol": 1e-11})
    assert -fine.fun == pytest.approx(-1106.6078810, abs=5e-7)
    np.testing.assert_allclose(fine.x, [-0.00619041, 0.0107613, 0.153134, 0.805974], rtol=1e-4)


@needs_oracles
def test_engine_and_arch_on_the_mark_against_the_pound() -> None:
    r = published("dmbp.csv")["V1"].to_numpy()
    fits = fit_windows([r], [np.asarray([len(r)])], len(r), MODELS["garch_normal"])
    found = (fits.mu[0], fits.omega[0], fits.alpha[0], fits.beta[0])
    np.testing.assert_allclose(found, (-0.0060766, 0.00991424, 0.14547797, 0.81684618), rtol=2e-4)
    assert fits.loglikelihood[0] == pytest.approx(-1104.521, abs=5e-4)
    student = fit_windows([r], [np.asarray([len(r)])], len(r), MODELS["garch_t"])
    # The -989.77 of the literature starts at the mean squared residual; here both start as arch does.
    assert student.loglikelihood[0] == pytest.approx(-987.944839, abs=5e-6)
    assert student.persistence[0] == 1.0 and student.is_igarch[0]


@needs_oracles
def test_asymmetric_fit_of_the_mark_against_the_pound() -> None:
    """The published numbers start at the mean squared residual, so the model is fitted with that presample."""
    r = published("dmbp.csv")["V1"].to_numpy()
    start = float(np.mean((r - r.mean()) ** 2))
    found = reference._model(r, "egarch", "normal").fit(disp="off", backcast=start).params
    expected = {"mu": -0.011593, "omega": -0.126894, "gamma[1]": -0.038462, "beta[1]": 0.912403, "alpha[1]": 0.332724}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=2e-4), name


@needs_oracles
def test_synthetic_series_of_the_folder_is_the_one_made_here() -> None:
    r = published("syn_r.csv")["r"].to_numpy()
    fits = fit_windows([r], [np.asarray([len(r)])], len(r), MODELS["garch_normal"])
    assert fits.loglikelihood[0] == pytest.approx(-2626.12309183, abs=5e-7)


# Comparison


@pytest.mark.parametrize("model", list(MODELS))
def test_engine_and_arch_agree_on_every_model(window: Floats, model: str) -> None:
    fit = fit_of(window, model)
    assert fit.rung == model
    found = volatility.compare(window, fit)
    assert found.objection == ""
    assert abs(found.same_point_gap) < 1e-9 and found.same_point_sigma_ratio == pytest.approx(1, abs=1e-9)
    assert -1e-3 < found.gap < 1e-3 and found.sigma_ratio == pytest.approx(1, abs=1e-3)
    named = dict(zip(found.reference.names, found.reference.estimates, strict=True))
    assert named["beta"] == pytest.approx(fit.beta, abs=2e-3)
    assert ("gamma" in named, "nu" in named, "lam" in named) == (
        model.startswith("gjr"),
        not model.endswith("normal"),
        model.endswith("skew_t"),
    )


def test_a_lesser_optimum_is_an_objection(window: Floats) -> None:
    """A fit that stopped early: its likelihood is right for its parameters, and there is a better point."""
    fit = fit_of(window, "garch_normal")
    alpha, beta = 0.5 * fit.alpha, fit.beta
    value = volatility.loglikelihood(window, mu=fit.mu_percent, omega=fit.omega_percent2, alpha=alpha, beta=beta)
    assert value < float(fit.loglikelihood or 0) - 0.01
    found = volatility.compare(window, replace(fit, alpha=alpha, loglikelihood=value))
    assert "finds an optimum" in found.objection and found.gap > 0.01


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"loglikelihood": 0.01}, "away at the same parameters"),
        ({"beta": 1e-4}, "away at the same parameters"),
    ],
)
def test_a_wrong_likelihood_is_an_objection(window: Floats, change: dict[str, float], words: str) -> None:
    fit = fit_of(window)
    moved = replace(fit, **{name: getattr(fit, name) + step for name, step in change.items()})
    assert words in volatility.compare(window, moved).objection


def test_a_wrong_filter_is_an_objection(window: Floats, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = fit_of(window)
    real = reference._filtered_sigma
    monkeypatch.setattr(reference, "_filtered_sigma", lambda r, fit: 1.01 * real(r, fit))
    found = volatility.compare(window, fit)
    assert "times the volatility at the same parameters" in found.objection
    assert found.same_point_sigma_ratio == pytest.approx(1 / 1.01, rel=1e-6)


@pytest.mark.parametrize(
    ("gap", "same_point", "ratio", "same_ratio", "is_fine"),
    [
        (0.0, 0.0, 1.0, 1.0, True),
        (-5.0, 0.0, 1.4, 1.0, True),  # arch ended in a lesser optimum: nothing against the fit
        (9e-4, 0.0, 1.02, 1.0, True),
        (1.1e-3, 0.0, 1.0, 1.0, False),
        (5e-5, 0.0, 1.0011, 1.0, False),
        (0.0, 2e-6, 1.0, 1.0, False),
        (0.0, 0.0, 1.0, 1 + 2e-6, False),
        (float("nan"), 0.0, 1.0, 1.0, False),
        (0.0, float("nan"), 1.0, 1.0, False),
        (0.0, 0.0, float("nan"), 1.0, False),
        (0.0, 0.0, 1.0, float("nan"), False),
    ],
)
def test_limits_of_agreement(gap: float, same_point: float, ratio: float, same_ratio: float, is_fine: bool) -> None:
    assert (reference._objection(gap, same_point, ratio, same_ratio) == "") == is_fine


def test_arch_in_a_lesser_optimum_is_told_and_no_objection() -> None:
    """Crude oil with normal innovations: from its own start ``arch`` ends in the lower one of two optima."""
    r = np.array(100 * np.log(wti.load().iloc[:, 0]).diff().dropna())
    for end in (5378, 5450, 5552):
        window = r[end - 1000 : end].copy()
        fit = fit_of(window, "garch_normal")
        found = volatility.compare(window, fit)
        assert (fit.rung, found.objection) == ("garch_normal", "")
        assert found.own_start_gap < -0.1 and abs(found.gap) < 1e-4
        assert fit.optimum_gap == pytest.approx(-found.own_start_gap, abs=1e-3)
        assert fit.other_sigma_ratio is not None and abs(fit.other_sigma_ratio - 1) > 1e-3


def test_rungs_without_counterpart_are_named(window: Floats) -> None:
    fit = fit_of(window)
    for rung in ("garch_t_targeted", "ewma"):
        with pytest.raises(ValueError, match=f"rung {rung} has no counterpart in arch"):
            volatility.compare(window, replace(fit, rung=rung))


def test_what_arch_refuses_is_said(window: Floats, monkeypatch: pytest.MonkeyPatch) -> None:
    from arch.univariate import ConstantMean

    def broken(*args: object, **more: object) -> None:
        raise ValueError("singular")

    fit = fit_of(window)
    monkeypatch.setattr(ConstantMean, "fit", broken)
    with pytest.raises(ValueError, match="arch cannot fit this window of 1000 returns: singular"):
        volatility.compare(window, fit)
