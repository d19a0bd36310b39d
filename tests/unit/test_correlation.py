"""Correlation: published digits, matrices that are correlation matrices, holes in the data, and no look-ahead."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import optimize, special, stats

from plimsoll import correlation
from plimsoll.correlation import CorrelationSpec, constant, dynamic, estimate, kernels, tails
from plimsoll.correlation.types import Matrix, Panel, panel_of, positive_semidefinite, whole_block

CORRELATIONS = ("ccc", "ewma_94", "ewma_97", "dcc", "ledoit_wolf", "stress")
SMALL = CorrelationSpec(minimum_common=60, minimum_stress=8, stress_fraction=0.2)


def frame(z: np.ndarray, names: str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ") -> pd.DataFrame:
    days = pd.date_range("2020-01-01", periods=len(z), freq="D")
    return pd.DataFrame(z, index=days, columns=[names[at] for at in range(z.shape[1])])


def simulated(seed: int, days: int = 400, markets: int = 3, rho: float = 0.6, nu: float = 5.0) -> pd.DataFrame:
    """Residuals of markets with one common factor, fat tails together."""
    rng = np.random.default_rng(seed)
    common, own = rng.standard_normal((days, 1)), rng.standard_normal((days, markets))
    shared = np.sqrt(nu / rng.chisquare(nu, (days, 1))) * np.sqrt((nu - 2) / nu)
    return frame((np.sqrt(rho) * common + np.sqrt(1 - rho) * own) * shared)


def falls(residuals: pd.DataFrame, column: str = "A") -> pd.Series:
    return -residuals[column]


@pytest.fixture(scope="module")
def indices() -> np.ndarray:
    """Residuals of GARCH(1,1) on the two indices that ship with arch."""
    import arch.data.nasdaq
    import arch.data.sp500
    from arch import arch_model

    columns = []
    for data in (arch.data.sp500, arch.data.nasdaq):
        r = 100 * data.load()["Adj Close"].pct_change().dropna()
        found = arch_model(r).fit(disp="off")
        columns.append((found.resid / found.conditional_volatility).to_numpy())
    return np.column_stack(columns)


def test_dynamic_correlation_of_two_indices(indices: np.ndarray) -> None:
    """The likelihood's last digits are those of the filters: arch's own stopping rule moves them by 3e-4."""
    assert len(indices) == 5030
    assert dynamic.correlation_targets(indices)[0, 1] == pytest.approx(0.92014914, abs=5e-9)
    found = correlation.fit_full(indices)
    assert (found.a, found.b) == (pytest.approx(0.0425055, abs=1e-7), pytest.approx(0.9501950, abs=3e-7))
    assert found.loglikelihood == pytest.approx(5032.3507, abs=4e-4)
    assert found.likelihood == "full" and found.observations == 5030 and not found.is_on_limit
    other = correlation.fit_full(indices, indices.T @ indices / len(indices))
    assert (other.a, other.b) == (pytest.approx(0.04250353, abs=1e-7), pytest.approx(0.95018123, abs=3e-7))
    assert other.loglikelihood == pytest.approx(5032.3566, abs=4e-4)


def test_a_pair_is_the_full_likelihood_of_two_markets(indices: np.ndarray) -> None:
    panel = Panel(("A", "B"), np.arange(len(indices)).astype("datetime64[D]"), indices)
    one, other = correlation.fit_full(indices), correlation.fit_pairs(panel, [(0, 1)], "all pairs")
    assert other.a == pytest.approx(one.a, abs=2e-7) and other.b == pytest.approx(one.b, abs=5e-7)
    assert other.loglikelihood == pytest.approx(one.loglikelihood, abs=1e-7)


def matrix_recursion(z: np.ndarray, s: np.ndarray, a: float, b: float) -> tuple[float, list[np.ndarray]]:
    """The textbook in matrices."""
    q, total, path = s.copy(), 0.0, []
    for row in z:
        scale = np.sqrt(np.diag(q))
        r = q / np.outer(scale, scale)
        path.append(r)
        total -= 0.5 * (np.linalg.slogdet(r)[1] + row @ np.linalg.solve(r, row) - row @ row)
        q = (1 - a - b) * s + a * np.outer(row, row) + b * q
    scale = np.sqrt(np.diag(q))
    return total, [*path, q / np.outer(scale, scale)]


@pytest.mark.parametrize("markets", [2, 3, 6])
def test_kernels_are_the_matrix_recursion(markets: int) -> None:
    panel = panel_of(simulated(3, 300, markets))
    s = dynamic.correlation_targets(panel.z)
    total, path = matrix_recursion(panel.z, s, 0.06, 0.9)
    assert kernels.full_loglikelihood(panel.z, s, 0.06, 0.9) == pytest.approx(total, rel=1e-12)
    fit = correlation.DccFit(0.06, 0.9, 0.0, 0.0, 0, "full", False)
    found = correlation.forecast(panel, fit, SMALL)
    assert found.values == pytest.approx(path[-1], abs=1e-12)
    assert not found.is_adjusted and found.least_eigenvalue > 0
    own = kernels.pair_path(panel.z[:, 0], panel.z[:, 1], np.array([1.0, s[0, 1], 1.0]), 0.06, 0.9)
    assert own == pytest.approx([r[0, 1] for r in path], abs=1e-12)


def test_the_maximum_is_one_and_beats_its_surroundings() -> None:
    z = panel_of(simulated(8, 600)).z
    s = dynamic.correlation_targets(z)
    found = correlation.fit_full(z)
    assert found.loglikelihood == pytest.approx(kernels.full_loglikelihood(z, s, found.a, found.b), abs=1e-9)
    assert found.gain == pytest.approx(found.loglikelihood - kernels.full_loglikelihood(z, s, 0.0, 0.0), abs=1e-9)
    grid = [(a, b) for a in np.linspace(0, 0.2, 21) for b in np.linspace(0, 0.99, 34) if a + b < 1]
    assert max(kernels.full_loglikelihood(z, s, a, b) for a, b in grid) <= found.loglikelihood + 1e-9


def test_dynamics_that_are_there_are_found() -> None:
    rng = np.random.default_rng(4)
    s, q, rows = np.array([[1.0, 0.5], [0.5, 1.0]]), np.array([[1.0, 0.5], [0.5, 1.0]]), []
    for _ in range(6000):
        scale = np.sqrt(np.diag(q))
        rows.append(np.linalg.cholesky(q / np.outer(scale, scale)) @ rng.standard_normal(2))
        q = 0.05 * s + 0.05 * np.outer(rows[-1], rows[-1]) + 0.90 * q
    found = correlation.fit_full(np.array(rows))
    assert found.a == pytest.approx(0.05, abs=0.015) and found.b == pytest.approx(0.90, abs=0.03)
    assert found.gain > 50


def test_where_dynamics_add_nothing_the_correlation_is_constant() -> None:
    found = correlation.fit_full(np.random.default_rng(2).standard_normal((400, 2)))
    assert (found.a, found.b, found.gain) == (0.0, 0.0, 0.0)
    panel = panel_of(simulated(5, 100, 2))
    constant_one = correlation.forecast(panel, found, SMALL).values[0, 1]
    assert constant_one == pytest.approx(constant.ccc(panel, SMALL).values[0, 1], abs=1e-15)


def test_which_likelihood_a_panel_gets() -> None:
    whole = simulated(5, 150, 4)
    assert dynamic.fit(panel_of(whole), SMALL).likelihood == "full"
    ragged = whole.copy()
    ragged.iloc[:80, 0] = np.nan
    assert dynamic.fit(panel_of(ragged), SMALL).likelihood == "all pairs"
    many = panel_of(simulated(5, 150, 12))
    assert dynamic.fit(many, SMALL).likelihood == "all pairs"
    assert dynamic.fit(many, SMALL).observations == 150 * 66
    beyond = dynamic.fit(many, replace(SMALL, most_all_pairs=11))
    assert beyond.likelihood == "neighbouring pairs" and beyond.observations == 150 * 11
    assert dynamic.fit(panel_of(whole.iloc[:50]), SMALL) is None


def test_ledoit_and_wolf() -> None:
    x = np.random.RandomState(0).multivariate_normal([0, 0], [[0.4, 0.2], [0.2, 0.8]], 50)
    sigma, shrinkage = correlation.ledoit_wolf_covariance(x)
    assert shrinkage == pytest.approx(0.2302540620, abs=5e-11)
    assert sigma == pytest.approx(np.array([[0.44067332, 0.16161585], [0.16161585, 0.80226294]]), abs=5e-9)
    centred = x - x.mean(axis=0)
    s, n, p = centred.T @ centred / len(x), len(x), 2
    mu = np.trace(s) / p
    d2 = ((s - mu * np.eye(p)) ** 2).sum() / p
    b2 = sum(((np.outer(row, row) - s) ** 2).sum() for row in centred) / n**2 / p
    assert shrinkage == pytest.approx(min(b2, d2) / d2, rel=1e-12)


@pytest.mark.parametrize(
    ("nu", "values"),
    [
        (2, (0.181690, 0.391002, 0.717686)),
        (4, (0.075587, 0.253170, 0.629812)),
        (10, (0.006872, 0.081864, 0.462724)),
    ],
)
def test_tail_dependence_of_the_t_copula(nu: int, values: tuple[float, float, float]) -> None:
    assert correlation.tail_dependence_t(nu, [0.0, 0.5, 0.9]) == pytest.approx(values, abs=5e-7)
    assert correlation.tail_dependence_t(nu, 1.0) == 1.0


def exact_nu(x: np.ndarray, y: np.ndarray, rho: float) -> float:
    """Degrees of freedom by densities of scipy and a search of its own."""
    u = np.column_stack([(stats.rankdata(v)) / (len(v) + 1) for v in (x, y)])

    def loss(log_nu: float) -> float:
        nu = float(np.exp(log_nu))
        q = special.stdtrit(nu, u)
        joint = stats.multivariate_t(shape=[[1, rho], [rho, 1]], df=nu).logpdf(q)
        return -float((joint - stats.t.logpdf(q, nu).sum(axis=1)).sum())

    return float(np.exp(optimize.minimize_scalar(loss, bounds=(np.log(1.5), np.log(100)), method="bounded").x))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_copula_finds_its_degrees_of_freedom(seed: int) -> None:
    z = simulated(seed, 1500, 2, nu=4.0).to_numpy()
    found = correlation.TCopula().fit(z[:, 0], z[:, 1])
    assert found is not None and not found.is_on_limit
    assert found.nu == pytest.approx(exact_nu(z[:, 0], z[:, 1], found.rho), rel=0.01)
    assert 2.5 < found.nu < 7 and found.rho == pytest.approx(0.6, abs=0.08)
    assert found.tail_dependence == pytest.approx(float(correlation.tail_dependence_t(found.nu, found.rho)))
    again = correlation.TCopula().fit(np.exp(z[:, 0]), z[:, 1] ** 3)
    assert again == found, "ranks alone count"


def test_independent_markets_have_hardly_any_tail_dependence() -> None:
    z = np.random.default_rng(3).standard_normal((3000, 2))
    found = correlation.TCopula().fit(z[:, 0], z[:, 1])
    assert found is not None and found.nu > 20 and found.tail_dependence < 0.01
    assert correlation.tail_dependence_empirical(z[:, 0], z[:, 1], 0.05) == pytest.approx(0.05, abs=0.04)


def test_a_market_and_itself() -> None:
    x = np.random.default_rng(3).standard_normal(100)
    assert correlation.TCopula().fit(x, 2 * x) is None
    assert correlation.tail_dependence_empirical(x, x, 0.05) == 1.0
    assert correlation.tail_dependence_empirical(x, -x, 0.05) == 0.0
    assert np.isnan(correlation.tail_dependence_empirical(x[:19], x[:19], 0.05))


def test_weights_of_the_ewma_fall_day_by_day() -> None:
    z = simulated(2, 100, 2).to_numpy()
    q = np.outer(z[0], z[0])
    for row in z[1:]:
        q = 0.94 * q + np.outer(row, row)
    weights = (1 - 0.94**100) / (1 - 0.94)
    assert correlation.ewma_covariance(z, 0.94) == pytest.approx(q / weights, rel=1e-12)


def test_worst_days_of_the_lead_market() -> None:
    days = pd.date_range("2020-01-01", periods=41, freq="D")
    adverse = pd.Series([*range(40), np.nan], index=days, dtype="float64")
    assert list(constant.worst_days(adverse, 0.05)) == list(days[38:40])
    assert list(constant.worst_days(adverse, 0.051)) == list(days[37:40])


@pytest.mark.parametrize(("one", "other", "both"), [(0.8, 0.8, 0.7), (1.0, 0.5, 0.5), (0.2, 0.9, 0.1)])
def test_what_the_choice_of_days_does_by_itself(one: float, other: float, both: float) -> None:
    """A million normal days, those of the lead's worst 5 % among them."""
    rng = np.random.default_rng(5)
    cov = np.array([[1, one, other], [one, 1, both], [other, both, 1]])
    x = rng.multivariate_normal(np.zeros(3), cov, 1_000_000, method="eigh")
    bad = x[:, 0] < np.quantile(x[:, 0], 0.05)
    ratio = float(x[bad, 0].var() / x[:, 0].var())
    assert constant.expected_under_selection(both, one, other, ratio) == pytest.approx(
        float(np.corrcoef(x[bad, 1], x[bad, 2])[0, 1]), abs=0.015
    )
    assert constant.expected_under_selection(both, one, other, 1.0) == pytest.approx(both)


def test_stress_uses_the_worst_days_and_no_others() -> None:
    calm = simulated(6, 400, 3)
    adverse = falls(calm)
    bad = constant.worst_days(adverse, SMALL.stress_fraction)
    found = correlation.correlations(calm, "A", adverse, SMALL).matrices["stress"]
    assert found.values[1, 2] == pytest.approx(float(calm.loc[bad].corr().loc["B", "C"]))
    assert found.observations[1, 2] == len(bad) == 80
    other = calm.copy()
    other.loc[~other.index.isin(bad), ["B", "C"]] *= -0.3
    again = correlation.correlations(other, "A", adverse, SMALL).matrices["stress"]
    assert again.values[1, 2] == pytest.approx(found.values[1, 2])
    usual = correlation.correlations(calm, "A", adverse, SMALL).matrices
    r, ratio = usual["ccc"].values, float(calm.loc[bad, "A"].var(ddof=0) / calm["A"].var(ddof=0))
    assert usual["stress_expected"].values[1, 2] == pytest.approx(
        constant.expected_under_selection(r[1, 2], r[0, 1], r[0, 2], ratio)
    )
    late = calm.copy()
    late.iloc[:150, 1] = np.nan
    shared, holed = late.dropna(), correlation.correlations(late, "A", adverse, SMALL).matrices
    r, ratio = holed["ccc"].values, float(shared["A"][shared.index.isin(bad)].var(ddof=0) / shared["A"].var(ddof=0))
    assert holed["stress_expected"].values[1, 2] == pytest.approx(
        constant.expected_under_selection(r[1, 2], r[0, 1], r[0, 2], ratio)
    )
    few = correlation.correlations(calm, "A", adverse, replace(SMALL, minimum_stress=81)).matrices
    assert np.isnan(few["stress"].values[1, 2]) and np.isnan(few["stress_expected"].values[1, 2])


def test_a_cell_needs_enough_common_dates_and_no_other_cell_suffers() -> None:
    z = simulated(7, 400)
    holed = z.copy()
    holed.iloc[: 400 - 59, 2] = np.nan
    whole, found = (correlation.correlations(one, "A", falls(z), SMALL).matrices for one in (z, holed))
    for name in CORRELATIONS:
        assert np.isnan(found[name].values[0, 2]) and np.isnan(found[name].values[2, 1]), name
    for name in ("ccc", "ewma_94", "ewma_97", "stress", "tail_dependence_t", "tail_dependence_empirical"):
        assert found[name].values[0, 1] == whole[name].values[0, 1], name
    assert found["ccc"].unchecked == ("C",)
    assert found["ccc"].observations[0, 2] == 59
    assert found["ledoit_wolf"].observations[0, 1] == 400, "the market with too few dates is left out"
    enough = z.copy()
    enough.iloc[: 400 - 60, 2] = np.nan
    assert np.isfinite(correlation.correlations(enough, spec=SMALL).matrices["dcc"].values).all()


def test_the_defaults_ask_for_a_year_of_common_days() -> None:
    z = simulated(7, 250, 2)
    assert np.isfinite(correlation.correlations(z).matrices["ccc"].values).all()
    assert np.isnan(correlation.correlations(z.iloc[1:]).matrices["ccc"].values[0, 1])


def test_nothing_at_all_is_an_answer() -> None:
    empty = pd.DataFrame(index=pd.DatetimeIndex([]), columns=["A", "B"], dtype="float64")
    rows = correlation.long_rows(correlation.correlations(empty))
    assert rows["value"].isna().all() and (rows["observations"] == 0).all() and rows["last_on"].isna().all()
    assert len(rows) == 10 + 3


def impossible() -> Matrix:
    values = np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]])
    return Matrix("ccc", ("A", "B", "C"), values, np.full((3, 3), 9), np.zeros((3, 3)))


def test_cells_that_do_not_fit_together_are_moved_and_it_is_said() -> None:
    before = impossible()
    found = positive_semidefinite(before)
    assert np.linalg.eigvalsh(found.values).min() > -1e-12
    assert (np.diag(found.values) == 1).all() and (found.values == found.values.T).all()
    assert found.is_adjusted and found.least_eigenvalue == pytest.approx(-0.8)
    assert found.values - found.adjustments == pytest.approx(before.values, abs=1e-15)
    assert not before.is_adjusted
    again = positive_semidefinite(found)
    assert again.values is found.values, "what fits is left alone"


def test_missing_cells_leave_the_rest_to_the_step() -> None:
    wide = np.full((4, 4), np.nan)
    wide[:3, :3] = impossible().values
    wide[3, 3] = 1.0
    wide[0, 3] = wide[3, 0] = 0.4
    found = positive_semidefinite(Matrix("ccc", tuple("ABCD"), wide, np.zeros((4, 4), int), np.zeros((4, 4))))
    assert found.unchecked == ("D",) and found.values[0, 3] == 0.4 and np.isnan(found.values[1, 3])
    assert np.linalg.eigvalsh(found.values[:3, :3]).min() > -1e-12
    assert list(whole_block(wide)) == [0, 1, 2]


@st.composite
def panels(draw: st.DrawFn) -> pd.DataFrame:
    """Panels with holes, of several markets."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    markets = draw(st.integers(2, 5))
    z = simulated(int(rng.integers(2**31)), draw(st.integers(100, 220)), markets, rho=draw(st.floats(0.0, 0.95)))
    holes = rng.random(z.shape) < draw(st.sampled_from([0.0, 0.02, 0.25]))
    return z.mask(holes)


@hypothesis_settings(max_examples=10, deadline=None)
@given(panels(), st.data())
def test_matrices_are_correlation_matrices_whatever_the_scale(z: pd.DataFrame, data: st.DataObject) -> None:
    adverse = falls(z)
    found = correlation.correlations(z, "A", adverse, SMALL)
    assert set(found.matrices) >= set(CORRELATIONS)
    for name in CORRELATIONS:
        one = found.matrices[name]
        assert np.array_equal(one.values, one.values.T, equal_nan=True), name
        assert (np.diag(one.values) == 1).all(), name
        kept = whole_block(one.values)
        assert np.linalg.eigvalsh(one.values[np.ix_(kept, kept)]).min() > -1e-9, name
        assert not (np.abs(one.values) > 1 + 1e-12).any(), name
    for name in ("tail_dependence_t", "tail_dependence_empirical"):
        values = found.matrices[name].values
        assert not ((values < 0) | (values > 1)).any()
    column = data.draw(st.sampled_from(list(z.columns)))
    for factor in (data.draw(st.floats(0.01, 100)), 2.0 ** data.draw(st.integers(-9, 9))):
        again = correlation.correlations(z.assign(**{column: z[column] * factor}), "A", adverse, SMALL)
        for name, one in found.matrices.items():
            # Rounding may send a search another way where dynamics hardly pay; powers of two round nothing.
            if name != "dcc" or np.log2(factor).is_integer():
                assert again.matrices[name].values == pytest.approx(one.values, abs=1e-9, nan_ok=True), name
    backwards = correlation.correlations(z[z.columns[::-1]], "A", adverse, SMALL)
    pd.testing.assert_frame_equal(correlation.long_rows(backwards), correlation.long_rows(found), check_exact=True)


@hypothesis_settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 99))
def test_a_days_correlation_knows_no_later_day(seed: int, day: int) -> None:
    """The path of a whole series, and of the series with everything from a day on replaced."""
    z = simulated(seed, 100, 2).to_numpy()
    other = z.copy()
    other[day:] = 3 * simulated(seed + 1, 100 - day, 2).to_numpy()
    target = np.array([1.0, 0.6, 1.0])
    one, two = (kernels.pair_path(x[:, 0].copy(), x[:, 1].copy(), target, 0.05, 0.9) for x in (z, other))
    assert (one[: day + 1] == two[: day + 1]).all()
    assert one[day + 1] != two[day + 1]


def bars() -> tuple[pd.DataFrame, pd.DataFrame]:
    days = pd.date_range("2020-01-01", periods=4, freq="D")
    prices = pd.DataFrame(
        {
            "symbol": ["A"] * 4 + ["B"] * 3,
            "date": [*days, *days[:3]],
            "close_usd": [100.0, 110.0, 99.0, 99.0, 10.0, 10.0, 20.0],
            "previous_close_usd": [np.nan, 100.0, 110.0, 99.0, np.nan, 10.0, 10.0],
            "low_usd": [99.0, 90.0, 98.0, np.nan, np.nan, np.nan, np.nan],
            "is_return_valid": [False, True, True, True, False, True, False],
        }
    )
    forecasts = prices[["symbol", "date"]].rename(columns={"date": "target_date"})
    return prices, forecasts.assign(mu_daily=0.001, sigma_daily=[0.02, 0.02, 0.05, 0.0, 0.1, 0.1, 0.1])


def test_residuals_by_hand() -> None:
    prices, forecasts = bars()
    z = correlation.standardised_residuals(prices, forecasts)
    assert list(z.columns) == ["A", "B"] and len(z) == 2
    assert z.loc["2020-01-02", "A"] == pytest.approx((np.log(1.1) - 0.001) / 0.02)
    assert z.loc["2020-01-03", "A"] == pytest.approx((np.log(0.9) - 0.001) / 0.05)
    assert z.loc["2020-01-02", "B"] == pytest.approx(-0.01) and np.isnan(z.loc["2020-01-03", "B"])


def test_the_lead_is_the_first_market_with_lows() -> None:
    prices, _ = bars()
    assert correlation.lead_market(prices, ["B", "A"]) == "A"
    assert correlation.lead_market(prices[prices["symbol"] == "B"], ["B", "A"]) is None
    both = pd.concat([prices, prices[prices["symbol"] == "A"].assign(symbol="BTC")])
    assert correlation.lead_market(both, ["A", "BTC"]) == "BTC"
    fall = correlation.adverse_excursion(prices, "A")
    assert fall.iloc[1] == pytest.approx(np.log(100 / 90)) and fall.isna().tolist() == [True, False, False, True]


def test_rows_for_the_store() -> None:
    z = simulated(9, 200)
    z.iloc[-3:, 1] = np.nan
    rows = correlation.long_rows(correlation.correlations(z, "A", falls(z), SMALL))
    assert list(rows.columns) == list(estimate.COLUMNS)
    assert (rows["symbol"] < rows["other_symbol"]).sum() == 3 * 10
    pooled = rows[rows["symbol"] == correlation.POOLED].set_index("measure")["value"]
    assert list(pooled.index) == ["dcc_a", "dcc_b", "dcc_gain"] and (pooled >= 0).all()
    assert not rows.duplicated(["symbol", "other_symbol", "measure"]).any()
    last = rows.drop_duplicates(["symbol", "other_symbol"]).set_index(["symbol", "other_symbol"])["last_on"]
    assert last["A", "C"] == z.index[-1] and last["A", "B"] == z.index[-4]
    assert (rows["value"] == rows["value"].round(9)).all()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda z: z.iloc[::-1], "not in date order at 2020-02-"),
        (lambda z: pd.concat([z, z[["B"]]], axis=1), "B stands twice"),
        (lambda z: z.assign(B=z["B"].where(z.index != z.index[3], np.inf)), "B: residual of 2020-01-04"),
        (lambda z: z.assign(B=0.5), "B: all residuals are equal"),
    ],
)
def test_what_is_wrong_is_named(spoil: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        correlation.correlations(spoil(simulated(1, 60, 3)))  # type: ignore[operator]


def test_wrong_arguments_are_named() -> None:
    z = simulated(1, 60, 2)
    with pytest.raises(ValueError, match="two markets"):
        correlation.fit_full(z.to_numpy()[:, :1])
    with pytest.raises(ValueError, match="missing or infinite"):
        correlation.fit_full(z.mask(z > 1).to_numpy())
    with pytest.raises(ValueError, match="not positive definite"):
        correlation.fit_full(z.assign(B=z["A"]).to_numpy())
    with pytest.raises(ValueError, match="no pair"):
        correlation.fit_pairs(panel_of(z), [], "all pairs")
    with pytest.raises(ValueError, match="decay 1"):
        correlation.ewma_covariance(z.to_numpy(), 1.0)
    with pytest.raises(ValueError, match="missing or infinite"):
        correlation.ewma_covariance(z.mask(z > 1).to_numpy(), 0.9)
    with pytest.raises(ValueError, match="lead market X"):
        correlation.correlations(z, "X", falls(z), SMALL)


def test_ranks_of_equal_values_keep_their_order() -> None:
    assert list(tails.ranks([3.0, 1.0, 3.0, 2.0])) == [2, 0, 3, 1]
