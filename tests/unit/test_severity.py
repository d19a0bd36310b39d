"""Severity: expected shortfalls laid beside facts, their tests, bets and scores, on markets whose truth is known."""

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats

from assets import severity
from plimsoll import tails
from plimsoll.backtests import betting, scores, shortfall
from plimsoll.backtests.shortfall import TailLaw

DAYS = pd.date_range("2018-01-01", periods=1500, freq="D")
NU = 5.0


def truth(rng: np.random.Generator, sigma: NDArray[np.float64]) -> NDArray[np.float64]:
    return rng.standard_t(NU, len(sigma)) * np.sqrt((NU - 2) / NU) * sigma


def market(symbol: str, seed: int, stress: float = 1.0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Facts of closes of the true model (its volatility understated where stressed) and of a normal one; forecasts."""
    rng = np.random.default_rng(seed)
    sigma = 0.03 * np.exp(0.3 * rng.standard_normal(len(DAYS)))
    mu = 0.001
    r = mu + stress * truth(rng, sigma)
    frames = []
    for bps in (500, 100):
        p = bps / 1e4
        for model, limit in (
            ("garch_t", -mu + tails.student_t_quantile(p, NU) * sigma),
            ("ewma", tails.normal_quantile(p) * sigma),
        ):
            frames.append(
                pd.DataFrame(
                    {
                        "target_date": DAYS,
                        "symbol": symbol,
                        "side": "long",
                        "series": "var_close",
                        "model": model,
                        "tail_probability_bps": bps,
                        "limit_log": limit,
                        "realised_log": -r,
                        "limit_sigma": limit / sigma,
                        "is_breach": -r > limit,
                    }
                )
            )
    forecasts = pd.DataFrame({"symbol": symbol, "target_date": DAYS, "mu_daily": mu, "nu": NU})
    return pd.concat(frames, ignore_index=True), forecasts


@pytest.fixture(scope="module")
def both() -> tuple[pd.DataFrame, pd.DataFrame]:
    """A market whose model is true, and one whose volatility is half as large again as forecast."""
    good, bad = market("GOOD", 1), market("BAD", 2, stress=1.5)
    return pd.concat([good[0], bad[0]], ignore_index=True), pd.concat([good[1], bad[1]], ignore_index=True)


def test_the_shortfall_of_a_close_is_that_of_its_law(both: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    found = severity.close_shortfalls(*both)
    row = found[(found["model"] == "garch_t") & (found["tail_probability_bps"] == 100)].iloc[7]
    unit = np.sqrt((NU - 2) / NU)
    beyond = np.linspace(stats.t.ppf(0.01, NU), -400, 4_000_001)
    mean = -np.trapezoid(-beyond * stats.t.pdf(beyond, NU), beyond) / 0.01 * unit
    assert row["shortfall"] == pytest.approx(mean * row["scale"], rel=1e-4)
    normal = found[(found["model"] == "ewma") & (found["tail_probability_bps"] == 100)]
    np.testing.assert_allclose(normal["shortfall"] / normal["limit"], 2.665214220 / 2.326347874)
    assert normal["nu"].isna().all()


def test_a_true_model_stands_and_one_that_is_too_calm_falls(both: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    closes = severity.close_shortfalls(*both)
    rows = severity.tests(closes[closes["model"] == "garch_t"], seed=3)
    told = rows.set_index(["symbol", "tail_probability_bps", "test"])["verdict"]
    names = {shortfall.Z1, shortfall.Z2, shortfall.MCNEIL_FREY, shortfall.INTERCEPT}
    assert set(told.index.get_level_values("test")) == names
    assert (rows.loc[rows["symbol"] == "GOOD", "p_value"] > 0.005).all(), "eight tests, each rejects one in twenty"
    assert told["BAD", 500, shortfall.Z2] == "rejected"
    assert told["BAD", 500, shortfall.INTERCEPT] == "rejected"


def test_bets_win_against_the_false_model_alone(both: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    facts, forecasts = both
    closes = severity.close_shortfalls(facts, forecasts)
    for symbol, state in (("GOOD", {"quiet", "warn"}), ("BAD", {"alarm"})):
        mine = severity.bets(facts[facts["symbol"] == symbol], closes[closes["symbol"] == symbol])
        one = mine[(mine["model"] == "garch_t") & (mine["tail_probability_bps"] == 500)]
        assert set(one["statistic"]) == {"quantile", "shortfall"}
        assert set(one["state"]) <= state, symbol
    (row,) = (
        severity.bets(facts[facts["symbol"] == "BAD"], closes.head(0))
        .query("model == 'garch_t' and tail_probability_bps == 500")
        .to_dict("records")
    )
    hits = facts[(facts["symbol"] == "BAD") & (facts["model"] == "garch_t") & (facts["tail_probability_bps"] == 500)]
    evidence = betting.quantile_evidence(hits["is_breach"].to_numpy(np.bool_), 0.05)
    by_hand = betting.wealth(evidence, betting.fixed_bets(evidence))
    assert row["log_wealth"] == pytest.approx(by_hand.log_wealth[-1])
    assert by_hand.alarmed_at is not None
    assert row["alarmed_on"] == str(DAYS[by_hand.alarmed_at].date())


def test_scores_prefer_the_model_that_is_true(both: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    facts, forecasts = both
    good = facts[facts["symbol"] == "GOOD"]
    closes = severity.close_shortfalls(good, forecasts)
    found = severity.scoreboard(good, closes).set_index(["score", "tail_probability_bps", "model"])
    assert found.loc[("quantile", 100, "ewma"), "ratio_to_in_use"] > 1
    assert found.loc[("joint", 100, "ewma"), "dm_statistic"] > 0
    assert found.loc[("quantile", 100, "garch_t"), "is_in_confidence_set"]
    row = good[(good["model"] == "ewma") & (good["tail_probability_bps"] == 100)]
    sigma = row["limit_log"] / row["limit_sigma"]
    by_hand = scores.quantile_score(-row["realised_log"] / sigma, -row["limit_log"] / sigma, 0.01).mean()
    assert found.loc[("quantile", 100, "ewma"), "mean_score"] == pytest.approx(by_hand)
    doubled = severity.scoreboard(pd.concat([good, good.assign(symbol="TWIN")]), closes.head(0))
    twin = doubled.set_index(["score", "tail_probability_bps", "model"]).loc[("quantile", 100, "ewma")]
    assert twin["dm_p"] == pytest.approx(found.loc[("quantile", 100, "ewma"), "dm_p"]), "a twin adds no evidence"


def test_the_overshoot_shortfall_is_the_tail_of_the_budget() -> None:
    """Against the mean beyond the quantile of draws from the same tail."""
    day = pd.Timestamp("2022-01-05")
    xi, beta, u, sigma = 0.2, 0.9, 1.5, 0.04
    k_pooled = u + beta / xi * ((0.01 / 0.1) ** -xi - 1)
    own = 1.3
    quantiles = pd.DataFrame(
        [("AAA", day, "long", 1.0, np.nan, own * k_pooled, np.nan, k_pooled, u, xi, beta)],
        columns=[
            *("symbol", "target_date", "side", "trigger_depth", "k_p500", "k_p100", "k_p50", "k_pooled_p100"),
            *("gpd_threshold_sigma", "gpd_xi", "gpd_beta_sigma"),
        ],
    )
    events = pd.DataFrame(
        [("AAA", day, "long", 1.0, sigma, 0.02), ("AAA", day, "long", 2.0, sigma, 0.01)],
        columns=["symbol", "target_date", "side", "trigger_depth", "sigma_daily", "overshoot_log"],
    )
    fact = {"target_date": day, "symbol": "AAA", "side": "long", "series": "overshoot_24h", "model": "estimator"}
    fact |= {"tail_probability_bps": 100, "limit_log": own * k_pooled * sigma, "realised_log": 0.02, "is_breach": False}
    found = severity.overshoot_shortfalls(pd.DataFrame([fact]), quantiles, events)
    draws = stats.genpareto.rvs(xi, loc=u, scale=beta, size=4_000_000, random_state=1) * own
    beyond = draws[draws > own * k_pooled].mean()
    assert len(found) == 1
    assert found["shortfall"].iloc[0] == pytest.approx(beyond * sigma, rel=5e-3)
    below = severity.overshoot_shortfalls(pd.DataFrame([fact]), quantiles.assign(gpd_threshold_sigma=99.0), events)
    assert below.empty, "below its threshold the tail says nothing"


def test_laws_that_differ_by_day_are_simulated_by_day() -> None:
    nu = np.where(np.arange(500) < 250, 4.0, np.nan)
    mixed = shortfall.simulate_days(0.05, nu, draws=6000, seed=1)
    alike = shortfall.simulate_days(0.05, np.full(500, 4.0), draws=6000, seed=2)
    plain = shortfall.simulate(TailLaw(0.05, 4.0), 500, draws=6000, seed=3)
    assert np.quantile(alike.z2, 0.05) == pytest.approx(np.quantile(plain.z2, 0.05), abs=0.03)
    assert np.nanquantile(alike.z1, 0.05) == pytest.approx(np.nanquantile(plain.z1, 0.05), abs=0.03)
    assert np.nanquantile(mixed.z1, 0.01) > np.nanquantile(alike.z1, 0.01), "half of the days have thinner tails"
    with pytest.raises(ValueError, match="need 3 values above 2"):
        shortfall.as_degrees([5.0, 2.0, 5.0], 3)
