"""Breaches: limits from the past only, facts by hand, rows that are not available are absent."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll import breaches, tails


def _market(n: int = 800, seed: int = 4) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    dates = pd.date_range("2019-01-01", periods=n)
    close = 100 * np.exp(np.cumsum(0.03 * rng.standard_t(4, n)))
    prices = pd.DataFrame(
        {
            "date": dates,
            "symbol": "AAA",
            "close_usd": close,
            "previous_close_usd": np.concatenate([[np.nan], close[:-1]]),
            "is_return_valid": np.arange(n) > 0,
        }
    )
    prices["high_usd"] = np.fmax(prices["close_usd"], prices["previous_close_usd"]) * 1.01
    prices["low_usd"] = np.fmin(prices["close_usd"], prices["previous_close_usd"]) * 0.99
    forecasts = pd.DataFrame(
        {
            "as_of": dates[99:-1],
            "target_date": dates[100:],
            "symbol": "AAA",
            "mu_daily": 0.001,
            "sigma_daily": 0.04,
            "sigma_eff_daily": 0.05,
            "nu": 4.0,
        }
    )
    return prices, forecasts


def test_textbook_limit_is_the_t_quantile() -> None:
    prices, forecasts = _market()
    base = breaches.baselines(prices, forecasts, 0.94)
    expected = -0.001 + float(tails.student_t_quantile(0.01, 4.0)) * 0.04
    np.testing.assert_allclose(base.limits[("textbook", "long", 100)], expected, rtol=1e-12)
    np.testing.assert_allclose(
        base.limits[("textbook", "short", 100)], 0.001 + float(tails.student_t_quantile(0.01, 4.0)) * 0.04
    )


def test_historical_simulation_uses_the_last_five_hundred_returns() -> None:
    prices, forecasts = _market()
    base = breaches.baselines(prices, forecasts, 0.94)
    r = np.log(prices["close_usd"] / prices["previous_close_usd"]).to_numpy()[1:]
    last = base.limits[("historical_simulation", "long", 500)][-1]
    assert last == pytest.approx(-np.quantile(r[-501:-1], 0.05), abs=1e-12)
    assert np.isnan(base.limits[("historical_simulation", "long", 500)][0])


def test_ewma_follows_its_recursion() -> None:
    prices, forecasts = _market()
    base = breaches.baselines(prices, forecasts, 0.94)
    r = np.log(prices["close_usd"] / prices["previous_close_usd"]).to_numpy()[1:]
    variance = np.mean(r[:30] ** 2)
    for value in r[:-1]:
        variance = 0.94 * variance + 0.06 * value**2
    assert base.limits[("ewma", "long", 100)][-1] == pytest.approx(
        float(tails.normal_quantile(0.01)) * np.sqrt(variance), rel=1e-12
    )


@settings(max_examples=10, deadline=None)
@given(st.integers(600, 790))
def test_limits_do_not_look_ahead(cut: int) -> None:
    prices, forecasts = _market()
    wild, _ = _market(seed=9)
    day = prices["date"].iloc[cut]
    changed = prices.copy()
    future = changed["date"] >= day
    for name in ("close_usd", "high_usd", "low_usd"):
        changed.loc[future, name] = 3 * wild.loc[future, name]
    changed["previous_close_usd"] = changed["close_usd"].shift(1)
    ours, theirs = (breaches.baselines(p, forecasts, 0.94) for p in (prices, changed))
    early = forecasts["target_date"].to_numpy() <= day
    for key, limit in ours.limits.items():
        np.testing.assert_array_equal(limit[early], theirs.limits[key][early], err_msg=str(key))
    facts, other = (breaches.daily_breaches(p, forecasts, ours, 1.0) for p in (prices, changed))
    pd.testing.assert_frame_equal(
        facts[facts["target_date"] < day].reset_index(drop=True),
        other[other["target_date"] < day].reset_index(drop=True),
        check_exact=True,
    )


def test_close_only_markets_have_no_excursion_and_no_trigger_rows() -> None:
    prices, forecasts = _market()
    prices["high_usd"] = prices["low_usd"] = np.nan
    base = breaches.baselines(prices, forecasts, 0.94)
    assert set(breaches.daily_breaches(prices, forecasts, base, 1.0)["series"]) == {"var_close"}


def test_three_coverages_are_three_limits() -> None:
    prices, forecasts = _market()
    base = breaches.baselines(prices, forecasts, 0.94)
    day = forecasts["target_date"].iloc[600]
    events = pd.DataFrame(
        {
            "target_date": [day],
            "symbol": "AAA",
            "side": "long",
            "trigger_depth": 1.0,
            "sigma_daily": 0.04,
            "sigma_eff_daily": 0.05,
            "overshoot_log": 0.22,
            "overshoot_sigma": 5.5,
        }
    )
    quantiles = pd.DataFrame(
        {"target_date": [day], "side": "long", "trigger_depth": 1.0, "k_p500": 3.0, "k_p100": 5.0, "k_p50": 6.0}
    )
    published = pd.DataFrame(
        {
            "target_date": [day],
            "side": "long",
            "tail_probability_bps": [100],
            "absorbed_move": [0.10],
            "horizon_hours": [1.5],
            "eta": [0.3],
        }
    )
    rows = breaches.overshoot_breaches(events, quantiles, published, base, is_deep=False)
    one = rows[rows["tail_probability_bps"] == 100].set_index("model")
    assert one.loc["estimator", "limit_log"] == pytest.approx(0.20)
    assert bool(one.loc["estimator", "is_breach"])
    assert one.loc["budget", "limit_log"] == pytest.approx(0.25)
    assert not one.loc["budget", "is_breach"]
    assert one.loc["published", "limit_log"] == pytest.approx(0.10 * 16**0.3)
    assert set(one.index) == {"estimator", "budget", "published", "historical_simulation", "ewma", "textbook"}
    unknown = quantiles.assign(k_p500=np.nan, k_p100=np.nan, k_p50=np.nan)
    judged = breaches.overshoot_breaches(events, unknown, published.iloc[:0], base, is_deep=False)
    assert judged.empty, "a trigger that no quantile was known for is not judged"
