"""Durations and the dynamic quantile against other ways to compute the same."""

import numpy as np
import pytest
from scipy import optimize, stats
from statsmodels.regression.linear_model import OLS

from plimsoll.backtests import durations, nulls, quantiles

SEQUENCES = {
    "opens with an exception": "1001010000100",
    "ends with an exception": "0001000100101",
    "both": "1000100101",
    "neither": "0010011100010000",
    "in clusters": "0000011101100000000000011110000000",
}


def _hits(text: str) -> np.ndarray:
    return np.array([mark == "1" for mark in text])


def _negative_loglikelihood(log_parameters: np.ndarray, hits: np.ndarray) -> float:
    """Directly from the densities: complete durations by f, censored ones by their survival."""
    a, b = np.exp(log_parameters)
    where = np.flatnonzero(hits) + 1
    law = stats.weibull_min(b, scale=1 / a)
    total = law.logpdf(np.diff(where)).sum()
    if where[0] > 1:
        total += law.logsf(where[0])
    if where[-1] < len(hits):
        total += law.logsf(len(hits) - where[-1])
    return -float(total)


@pytest.mark.parametrize("text", SEQUENCES.values(), ids=SEQUENCES.keys())
def test_weibull_fit_is_the_one_of_a_general_optimiser(text: str) -> None:
    hits = _hits(text)
    fit = durations.fit_weibull(hits[None, :])
    options = {"xatol": 1e-10, "fatol": 1e-12, "maxiter": 4000, "maxfev": 4000}
    free = optimize.minimize(
        _negative_loglikelihood, np.array([-1.0, 0.0]), args=(hits,), method="Nelder-Mead", options=options
    )
    assert fit.free[0] == pytest.approx(-free.fun, abs=1e-8)
    assert fit.shape[0] == pytest.approx(np.exp(free.x[1]), rel=1e-4)
    flat = optimize.minimize_scalar(lambda log_a: _negative_loglikelihood(np.array([log_a, 0.0]), hits))
    assert fit.restricted[0] == pytest.approx(-flat.fun, abs=1e-8)


def test_clusters_give_a_shape_below_one_and_regular_days_one_above() -> None:
    rng = np.random.default_rng(1)
    bunched = nulls.clustered(3000, 0.05, 1, rng)
    assert durations.fit_weibull(bunched).shape[0] < 0.9
    regular = np.zeros((1, 3000), dtype=bool)
    regular[0, np.arange(20, 3000, 20) + rng.integers(-3, 4, 149)] = True
    assert durations.fit_weibull(regular).shape[0] > 2


def test_sequences_of_different_counts_are_not_fitted_together() -> None:
    with pytest.raises(ValueError, match="2 to 3 exceptions"):
        durations.fit_weibull(np.array([_hits("1010010"), _hits("1010000")]))


def test_the_ratio_of_a_duration_has_mean_twice_eulers_constant() -> None:
    p = 1e-4
    days = np.arange(1, 400_001)
    mean = float(durations.gap_ratios(days, p) @ (p * np.exp((days - 1) * np.log1p(-p))))
    assert mean == pytest.approx(2 * np.euler_gamma, abs=2e-3)
    hits = nulls.independent(3000, 0.05, 1000, np.random.default_rng(2))
    sums = nulls.gap_sums(hits, 0.05) + hits.sum(axis=1)
    assert (stats.chi2.sf(sums, hits.sum(axis=1)) < 0.05).mean() > 0.2, "the chi-squared law rejects far too often"


@pytest.mark.parametrize("p", [0.05, 0.3])
def test_exact_law_of_the_first_failure(p: float) -> None:
    """Against a plain sum over all first days, and a size that never exceeds the level."""
    days = np.arange(1, 4000)
    ratios = durations.gap_ratios(days, p)
    chance = stats.geom.pmf(days, p)
    for first in (1, 2, 14, 60):
        expected = chance[ratios >= ratios[first - 1] - 1e-9].sum()
        assert nulls.first_failure_law(p, first) == pytest.approx(expected, abs=1e-9)
    size, power = nulls.first_failure_power(p, level=0.05)
    p_values = np.array([nulls.first_failure_law(p, int(d)) for d in days[:200]])
    late = ratios[199] > ratios[:199].max()
    assert late, "beyond this day the ratio only grows"
    rejected = np.concatenate([p_values <= 0.05, np.full(len(days) - 200, p_values[-1] <= 0.05)])
    assert size == pytest.approx(chance[rejected].sum(), abs=1e-9)
    assert size <= 0.05
    assert power == pytest.approx(stats.geom.pmf(days, 2 * p)[rejected].sum(), abs=1e-9)


def test_dynamic_quantile_is_the_projection_that_a_regression_gives() -> None:
    rng = np.random.default_rng(3)
    n, p = 400, 0.1
    q = -0.02 * np.exp(rng.standard_normal(n))
    hits = rng.random((3, n)) < p
    found, ranks = quantiles.statistics(hits, q, p)
    for row, value in zip(hits, found, strict=True):
        h = row - p
        X = np.column_stack([np.ones(n - 4), *(h[4 - i : n - i] for i in range(1, 5)), q[4:]])
        fitted = OLS(h[4:], X).fit().fittedvalues
        assert value == pytest.approx(fitted @ fitted / (p * (1 - p)), rel=1e-9)
    assert (ranks == 6).all()


def test_no_simulated_p_value_is_nil_and_the_statistic_counts_itself() -> None:
    law = nulls.sequence_laws(300, 0.05, draws=99, seed=1)["conditional"]
    assert law.p_value(1e6) == pytest.approx(1 / 100)
    assert law.p_value(0.0) == 1
    assert law.p_value(float(law.null[-1])) == pytest.approx(2 / 100)
