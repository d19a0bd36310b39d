"""Tail laws: published quantiles, shortfalls and first-passage chances."""

import numpy as np
import pytest
from scipy import integrate, special

from plimsoll import tail_laws, tails


@pytest.mark.parametrize(
    ("nu", "skew", "p", "quantile", "shortfall"),
    [
        (5, -0.1, 0.01, 2.78335318, 3.72011883),
        (5, -0.1, 0.025, 2.10169713, 2.91907608),
        (5, 0.1, 0.01, 2.41588053, 3.15853735),
        (8, -0.2, 0.01, 2.79148452, 3.51210643),
        (4, -0.05, 0.01, 2.74974636, 3.85422859),
    ],
)
def test_skewed_student_law(nu: float, skew: float, p: float, quantile: float, shortfall: float) -> None:
    assert float(tail_laws.skew_t_quantile(p, nu, skew)) == pytest.approx(quantile, abs=5e-9)
    assert float(tail_laws.skew_t_es(p, nu, skew)) == pytest.approx(shortfall, abs=5e-9)


def test_the_skewed_shortfall_is_the_mean_of_its_quantiles() -> None:
    total, _ = integrate.quad(lambda s: float(tail_laws.skew_t_quantile(s, 6, -0.15)), 0, 0.02, limit=200)
    assert float(tail_laws.skew_t_es(0.02, 6, -0.15)) == pytest.approx(total / 0.02, rel=1e-7)
    np.testing.assert_allclose(tail_laws.skew_t_quantile(0.01, 5, 0.0), tails.student_t_quantile(0.01, 5), rtol=1e-14)


def test_what_the_skewed_law_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="left of the mode"):
        tail_laws.skew_t_quantile(0.6, 5, 0.1)
    with pytest.raises(ValueError, match="degrees of freedom 2"):
        tail_laws.skew_t_quantile(0.01, 2, 0.1)
    with pytest.raises(ValueError, match="skew 1"):
        tail_laws.skew_t_es(0.01, 5, 1)


@pytest.mark.parametrize(
    ("drop", "watched", "hourly"),
    [(0.05, 0.21129955, 0.17102361), (0.10, 0.01241933, 0.00882081), (0.15, 0.00017683, 0.00010932)],
)
def test_first_passage(drop: float, watched: float, hourly: float) -> None:
    assert float(tail_laws.touch_probability(drop, 0.04)) == pytest.approx(watched, abs=5e-9)
    assert float(tail_laws.touch_probability(drop, 0.04, step=1 / 24)) == pytest.approx(hourly, abs=5e-9)


def test_the_monitoring_shift_is_the_one_of_the_zeta_function() -> None:
    zeta_half = -1.4603545088095868
    assert pytest.approx(-zeta_half / np.sqrt(2 * np.pi), abs=5e-11) == tail_laws.MONITORING_SHIFT
    # zeta(1/2) itself, by the alternating series of eta(1/2) = (1 - sqrt 2) zeta(1/2), accelerated by Euler's means.
    partial = np.cumsum((-1.0) ** np.arange(60) / np.sqrt(np.arange(1, 61)))
    for _ in range(40):
        partial = 0.5 * (partial[1:] + partial[:-1])
    assert partial[-1] / (1 - np.sqrt(2)) == pytest.approx(zeta_half, abs=1e-12)


@pytest.mark.parametrize(("p", "ratio"), [(0.01, 1.107242), (0.025, 1.143594), (0.05, 1.191573), (0.001, 1.064815)])
def test_excursions_of_brownian_motion_beat_its_closes(p: float, ratio: float) -> None:
    assert float(tail_laws.excursion_quantile(p) / tails.normal_quantile(p)) == pytest.approx(ratio, abs=5e-7)
    inverse = tail_laws.touch_probability(tail_laws.excursion_quantile(p, 0.03), 0.03)
    assert float(inverse) == pytest.approx(p, rel=1e-12)


def test_watching_at_steps_misses_touches_as_simulated() -> None:
    rng = np.random.default_rng(11)
    paths = np.cumsum(rng.normal(0, 0.04 / np.sqrt(24), (40_000, 24)), axis=1)
    seen = float(np.mean(paths.min(axis=1) < -0.05))
    expected = float(tail_laws.touch_probability(0.05, 0.04, step=1 / 24))
    assert abs(seen - expected) < 4 * np.sqrt(expected * (1 - expected) / 40_000) + 0.002
    assert expected < 2 * float(special.ndtr(-0.05 / 0.04))
