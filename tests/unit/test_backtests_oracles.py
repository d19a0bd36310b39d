"""Backtests against reference values: every figure that needs no outside data, to the digits it was printed with."""

import numpy as np
import pytest

from plimsoll import tails
from plimsoll.backtests import betting, durations, multiplicity, quantiles, scores, shortfall
from plimsoll.backtests.shortfall import TailLaw

T = np.arange(1, 1001)
R = 0.02 * np.sin(0.7 * T**2) + 0.012 * np.cos(1.3 * T) * (1 + 0.6 * np.sin(T / 80))
V = -0.0275 - 0.004 * np.sin(T / 80)
E = V - 0.0035
HITS = R < V


def test_the_sequence_is_the_one_that_the_figures_belong_to() -> None:
    assert R.sum() == pytest.approx(-0.127752443396, abs=5e-13)
    assert V.sum() == pytest.approx(-27.500571897694, abs=5e-13)
    assert HITS.sum() == 48


def test_durations() -> None:
    first = durations.tuff(HITS, 0.05)
    assert durations.gaps(HITS)[0] == 46
    assert first.statistic == pytest.approx(0.97247664, abs=5e-9)
    times = durations.tbfi(HITS, 0.05)
    assert (times.statistic, times.p_value, times.degrees) == (
        pytest.approx(46.21405767, abs=5e-9),
        pytest.approx(0.54627965, abs=5e-9),
        48,
    )
    assert durations.weibull(HITS).p_value == pytest.approx(0.88465736, abs=5e-9)
    fit = durations.fit_weibull(HITS[None, :])
    assert fit.shape[0] == pytest.approx(1.014864, abs=5e-7)
    assert fit.free[0] == pytest.approx(-190.6970385, abs=5e-8)
    assert fit.restricted[0] == pytest.approx(-190.7075608, abs=5e-8)


def test_dynamic_quantile() -> None:
    found = quantiles.dynamic_quantile(HITS, V, 0.05)
    assert (found.statistic, found.p_value, found.degrees) == (
        pytest.approx(18.37649215, abs=5e-9),
        pytest.approx(0.0053570809, abs=5e-11),
        6,
    )


def test_shortfall_statistics() -> None:
    assert shortfall.z1_statistic(R, V, E) == pytest.approx(0.0359854502, abs=5e-11)
    assert shortfall.z2_statistic(R, V, E, 0.05) == pytest.approx(0.0745460322, abs=5e-11)
    # the reference figure is of plain excesses under the normal law; in units of the shortfall it is another
    assert shortfall.mcneil_frey(R, V, E).p_value == pytest.approx(0.99980737, abs=5e-9)
    assert shortfall.mcneil_frey(R, V, E, scale=-E).p_value == pytest.approx(0.9999295198, abs=5e-11)


def test_scores() -> None:
    assert scores.quantile_score(R, V, 0.05).mean() == pytest.approx(0.0014860530, abs=5e-11)
    assert scores.fz0(R, V, E, 0.05).mean() == pytest.approx(-3.5209401763, abs=5e-11)


@pytest.mark.parametrize(("p", "expected"), [(0.01, 0.0266521422), (0.025, 0.0584450698), (0.05, 0.1031356404)])
def test_expected_score_of_the_true_quantile_is_the_density_there(p: float, expected: float) -> None:
    q = -float(tails.normal_quantile(p))
    x, weight = np.polynomial.legendre.leggauss(200)
    mean = 0.0
    for low, high in [(-12.0, q), (q, 12.0)]:  # the score has a kink at q
        r = (low + high) / 2 + (high - low) / 2 * x
        density = np.exp(-(r**2) / 2) / np.sqrt(2 * np.pi)
        mean += float(scores.quantile_score(r, np.full(len(r), q), p) @ (density * weight)) * (high - low) / 2
    assert mean == pytest.approx(expected, abs=5e-11)


def test_diebold_mariano() -> None:
    d = [0.1, -0.2, 0.3, 0.05, 0, 0.12, -0.04, 0.2]
    assert scores.diebold_mariano(d, is_small_sample=False).statistic == pytest.approx(1.31119250, abs=5e-9)
    assert scores.diebold_mariano(d).statistic == pytest.approx(1.22650827, abs=5e-9)


def _wealth(rows: tuple[int, ...]) -> betting.Wealth:
    hits = np.zeros(250, dtype=bool)
    hits[list(rows)] = True
    evidence = betting.quantile_evidence(hits, 0.01)
    return betting.wealth(evidence, betting.fixed_bets(evidence))


def test_e_process() -> None:
    """The figures count rows from 0: hits on days 21, 51, ...; counted from 1 the maximum would be 27.56162694."""
    six = _wealth((20, 50, 51, 90, 120, 180))
    assert (six.final, six.largest) == (pytest.approx(3.65472820, abs=5e-9), pytest.approx(26.87258626, abs=5e-9))
    twelve = _wealth((20, 50, 51, 90, 95, 120, 130, 150, 180, 200, 210, 240))
    assert twelve.final == pytest.approx(7491.28368, abs=5e-6)
    assert twelve.alarmed_at == 95
    assert betting.shortfall_evidence([5.0], [3.0], [4.0], 0.025)[0] == pytest.approx(80)


def test_false_discovery_rate() -> None:
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.3240,
        0.4262,
        0.5719,
        0.6528,
        0.7590,
        1.0,
    ]
    names = [f"M{i:02}" for i in range(15)]
    found = multiplicity.benjamini_hochberg(dict(zip(names, p, strict=True)), rate=0.05)
    assert found.rejected == tuple(names[:4])
    expected = [0.0015, 0.003, 0.0095, 0.035625, 0.0603, 0.06385714]
    np.testing.assert_allclose([found.adjusted[name] for name in names[:6]], expected, atol=5e-9)
    assert sum(value <= 0.05 / 15 for value in p) == 3, "Bonferroni rejects one fewer"
    strict = multiplicity.benjamini_hochberg(dict(zip(names, p, strict=True)), rate=0.05, is_dependent=True)
    assert set(strict.rejected) < set(found.rejected)


@pytest.mark.parametrize(
    ("n", "nu", "five", "one"),
    [
        (250, None, -0.703, -1.037),
        (365, None, -0.574, -0.843),
        (500, None, -0.488, -0.714),
        (1000, None, -0.339, -0.492),
        (250, 3, -0.820, -1.333),
        (365, 3, -0.669, -1.075),
        (500, 3, -0.573, -0.909),
        (1000, 3, -0.399, -0.620),
        (250, 10, -0.709, -1.055),
    ],
)
def test_critical_values_of_z2(n: int, nu: float | None, five: float, one: float) -> None:
    """Within the noise of either simulation; a million draws of 250 days give -.7007, -1.0403 (normal), -.8149 (t3)."""
    found = shortfall.critical_values(TailLaw(0.025, nu), n, (0.05, 0.01), draws=40_000, seed=7)
    assert found[0] == pytest.approx(five, rel=0.025)
    assert found[1] == pytest.approx(one, rel=0.035)


def test_far_critical_values_of_z2() -> None:
    assert shortfall.critical_values(TailLaw(0.025), 250, (1e-4,), draws=150_000, seed=1)[0] == pytest.approx(
        -1.78, abs=0.12
    )
    for nu, published in [(None, -0.34639), (3, -0.42986)]:
        found = shortfall.critical_values(TailLaw(0.025, nu), 1966, (0.01,), draws=20_000, seed=3)[0]
        assert found == pytest.approx(published, abs=0.012)
