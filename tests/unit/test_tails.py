"""Tails: published quantiles and shortfalls, the generalised Pareto estimator, expected bad debt."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from plimsoll import tails

LAW = {"threshold": 0.05, "xi": 0.2, "beta": 0.02, "tail_fraction": 0.05}


@pytest.mark.parametrize(
    ("p", "quantile", "shortfall"),
    [
        (0.01, 2.32634787, 2.66521422),
        (0.025, 1.95996398, 2.33780279),
        (0.05, 1.64485363, 2.06271281),
        (0.005, 2.57582930, 2.89194861),
        (0.001, 3.09023231, 3.36709008),
    ],
)
def test_normal_law(p: float, quantile: float, shortfall: float) -> None:
    assert float(tails.normal_quantile(p)) == pytest.approx(quantile, abs=5e-9)
    assert float(tails.normal_es(p)) == pytest.approx(shortfall, abs=5e-9)


@pytest.mark.parametrize(
    ("nu", "p", "quantile", "shortfall"),
    [
        (3, 0.01, 2.62157602, 4.04323130),
        (4, 0.01, 2.64949191, 3.69151049),
        (5, 0.01, 2.60646357, 3.44883676),
        (6, 0.01, 2.56597801, 3.29254506),
        (8, 0.01, 2.50840746, 3.10980202),
        (10, 0.01, 2.47199055, 3.00818357),
        (4, 0.025, 1.96324316, 2.82387125),
        (5, 0.025, 1.99116413, 2.72780207),
    ],
)
def test_student_law_of_unit_variance(nu: float, p: float, quantile: float, shortfall: float) -> None:
    assert float(tails.student_t_quantile(p, nu)) == pytest.approx(quantile, abs=5e-9)
    assert float(tails.student_t_es(p, nu)) == pytest.approx(shortfall, abs=5e-9)


def test_unknown_degrees_of_freedom_stay_unknown() -> None:
    assert np.isnan(tails.student_t_quantile(0.01, np.nan))


@pytest.mark.parametrize(
    ("p", "quantile", "shortfall"),
    [(0.01, 3.05355247, 3.89283608), (0.005, 3.59569709, 4.49521898), (0.001, 5.00935915, 6.06595462)],
)
def test_generalised_pareto_quantile_and_shortfall(p: float, quantile: float, shortfall: float) -> None:
    fit = tails.GpdFit(threshold=1.5, xi=0.1, beta=0.6, tail_fraction=0.1, exceedances=100, method="ml")
    assert float(tails.gpd_quantile(fit, p)) == pytest.approx(quantile, abs=5e-9)
    assert float(tails.gpd_es(fit, p)) == pytest.approx(shortfall, abs=5e-9)
    assert np.isnan(tails.gpd_quantile(fit, 0.2)), "the tail says nothing about the body"


def _deterministic() -> np.ndarray:
    i = np.arange(1, 201)
    return 5 * ((1 - (i - 0.5) / 200) ** -0.2 - 1)


def test_estimators_on_the_deterministic_sample() -> None:
    y = _deterministic()
    xi, beta = tails.pwm(y)
    assert xi == pytest.approx(0.19979786, abs=5e-9)
    assert beta == pytest.approx(0.99395408, abs=5e-9)
    found = tails._profile(y)
    assert found is not None
    assert found[0] == pytest.approx(0.19111818, abs=2e-7)
    assert found[1] == pytest.approx(1.00680000, abs=1e-6)
    assert tails.gpd_negative_loglikelihood(*found, y) == pytest.approx(239.57903013, abs=5e-9)


@given(st.floats(0.01, 100.0), st.integers(0, 20))
@settings(max_examples=25, deadline=None)
def test_the_fit_scales_with_its_sample(factor: float, seed: int) -> None:
    sample = np.random.default_rng(seed).pareto(4.0, 1200)
    one, other = tails.fit_gpd(sample), tails.fit_gpd(factor * sample)
    assert one is not None
    assert other is not None
    assert other.xi == pytest.approx(one.xi, abs=1e-5)
    assert other.beta == pytest.approx(factor * one.beta, rel=1e-5)


def test_too_few_exceedances_are_no_tail() -> None:
    sample = np.random.default_rng(1).exponential(size=499)
    assert tails.fit_gpd(sample) is None
    assert tails.fit_gpd(np.concatenate([sample, [0.5]])) is not None


def test_a_sample_with_a_hole_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        tails.fit_gpd([1.0, np.nan])


def test_guards_hold_the_shape_and_say_so() -> None:
    wild = np.random.default_rng(3).pareto(1.1, 3000)
    fit = tails.fit_gpd(wild)
    assert fit is not None
    assert (fit.xi, fit.method) == (tails.XI_HIGH, "ml_guarded")


@pytest.mark.parametrize(
    ("x0", "probability", "debt"),
    [
        (0.08, 0.01346645, 0.0004198047),
        (0.10, 0.00658436, 0.0002353904),
        (0.12, 0.00352148, 0.0001418139),
        (0.15, 0.00156250, 0.0000733644),
    ],
)
def test_expected_bad_debt(x0: float, probability: float, debt: float) -> None:
    assert float(tails.gpd_survival(x0, **LAW)) == pytest.approx(probability, abs=5e-9)
    assert float(tails.expected_bad_debt(x0, **LAW)) == pytest.approx(debt, abs=5e-11)


@pytest.mark.parametrize(
    ("xi", "beta", "value"),
    [(0.0, 0.03, 0.02912621), (0.1, 0.03, 0.03213438), (0.2, 0.03, 0.03574991), (0.3, 0.05, 0.06426914)],
)
def test_mean_loss_beyond_the_threshold(xi: float, beta: float, value: float) -> None:
    found = tails.expected_bad_debt(0.0, threshold=0.0, xi=xi, beta=beta, tail_fraction=1.0)
    assert float(found) == pytest.approx(value, abs=5e-9)


@given(st.floats(-0.3, 0.5), st.floats(0.002, 0.3), st.floats(0.0, 0.3))
@settings(max_examples=40, deadline=None)
def test_bad_debt_equals_its_integral(xi: float, beta: float, beyond: float) -> None:
    law = {"threshold": 0.05, "xi": xi, "beta": beta, "tail_fraction": 0.1}
    x0 = 0.05 + beyond
    end = 0.05 - beta / xi if xi < -1e-9 else np.inf
    if x0 >= end:
        assert float(tails.expected_bad_debt(x0, **law)) == 0
        return
    scale = max(beta + xi * beyond, 1e-9)
    steps = np.asarray([0, 1, 5, 20, 100, 1e3, 1e4, 1e5]) * scale
    edges = np.minimum(x0 + np.append(np.minimum(steps, 60), 60), end)
    truth = sum(
        integrate.quad(lambda x: np.exp(-(x - x0)) * float(tails.gpd_survival(x, **law)), low, high, limit=400)[0]
        for low, high in pairwise(edges)
        if high > low
    )
    assert float(tails.expected_bad_debt(x0, **law)) == pytest.approx(truth, rel=1e-5, abs=1e-10)


def test_move_that_meets_an_expected_loss() -> None:
    x = float(tails.es_limit(1e-4, **LAW))
    assert x == pytest.approx(0.1353012588, abs=5e-11)
    assert float(tails.expected_bad_debt(x, **LAW)) == pytest.approx(1e-4, rel=1e-9)


def test_a_budget_that_holds_at_the_threshold_asks_for_nothing_more() -> None:
    assert float(tails.es_limit(0.5, **LAW)) == LAW["threshold"]


def test_company_changes_no_bit() -> None:
    """A day's limit must not depend on how many other days are asked for at once: that would be a look ahead."""
    rng = np.random.default_rng(3)
    n = 257
    law = {
        "threshold": rng.uniform(0.01, 0.1, n),
        "xi": rng.uniform(-0.3, 0.5, n),
        "beta": rng.uniform(0.005, 0.05, n),
        "tail_fraction": rng.uniform(0.01, 0.1, n),
    }
    whole = tails.es_limit(2e-4, **law)
    for k in (1, 2, 3, 5, 8, 63, 200):
        part = tails.es_limit(2e-4, **{name: column[:k] for name, column in law.items()})
        np.testing.assert_array_equal(part, whole[:k])


@given(st.floats(1e-6, 5e-3), st.floats(1.01, 5.0), st.floats(-0.3, 0.5))
@settings(max_examples=40, deadline=None)
def test_a_larger_budget_never_asks_for_more_room(budget: float, factor: float, xi: float) -> None:
    law = LAW | {"xi": xi}
    assert float(tails.es_limit(budget * factor, **law)) <= float(tails.es_limit(budget, **law)) + 1e-12


def test_the_quantile_of_the_worked_tail() -> None:
    fit = tails.GpdFit(threshold=0.05, xi=0.2, beta=0.02, tail_fraction=0.05, exceedances=100, method="ml")
    assert float(tails.gpd_quantile(fit, 0.01)) == pytest.approx(0.08797297, abs=5e-9)
