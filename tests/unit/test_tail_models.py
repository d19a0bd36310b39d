"""Tail models: both by hand and by oracle, honest about what a sample cannot say, blind to what comes after a day."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from plimsoll import overshoot, tail_models, tails

DAYS = 700


def market(seed: int, volatility: float = 0.03, gap: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Bars that open at the close before, and forecasts made at that close."""
    rng = np.random.default_rng(seed)
    moves = volatility * rng.standard_t(4, DAYS) / np.sqrt(2)
    close = 100 * np.exp(np.cumsum(moves))
    before = np.concatenate([[100.0], close[:-1]])
    dates = pd.date_range("2020-01-01", periods=DAYS)
    wick = np.exp(np.abs(rng.normal(0, volatility / 2, (2, DAYS))))
    prices = pd.DataFrame(
        {
            "date": dates,
            "close_usd": close,
            "previous_close_usd": before,
            "high_usd": np.maximum(close, before) * wick[0],
            "low_usd": np.minimum(close, before) / wick[1],
            "is_return_valid": np.arange(DAYS) > 0,
        }
    )
    if gap:
        prices.loc[::7, "is_return_valid"] = False
    forecasts = pd.DataFrame(
        {"target_date": dates, "symbol": "AAA", "mu_daily": 0.001, "sigma_daily": 0.03, "sigma_eff_daily": 0.03}
    )
    return prices, forecasts


def test_historical_by_hand() -> None:
    found = tail_models.historical(np.arange(1.0, 101.0), 0.025)
    assert found.quantile == pytest.approx(97.525), "linear, as everywhere"
    assert found.expected_shortfall == pytest.approx((100 + 99 + 0.5 * 98) / 2.5)
    assert (found.observations, found.tail_events, found.note) == (100, 2.5, "")


def test_less_than_one_tail_event_is_not_the_maximum() -> None:
    sample = np.arange(1.0, 100.0)
    found = tail_models.historical(sample, 0.01)
    assert not found.is_available
    assert np.isnan([found.quantile, found.expected_shortfall]).all()
    assert found.note == "not available: 0.99 tail events, one is needed"
    assert tail_models.historical(np.append(sample, 100.0), 0.01).is_available
    decayed = tail_models.historical(np.arange(1000.0), 0.01, tail_models.decay_weights(1000, 20.0))
    assert not decayed.is_available, "a thousand values of which some sixty count"
    assert not tail_models.historical([], 0.05).is_available


def test_weights_repeat_observations() -> None:
    rng = np.random.default_rng(4)
    x = rng.exponential(size=300)
    times = np.full(300, 2)
    twice = tail_models.historical(np.repeat(x, times), 0.05)
    weighed = tail_models.historical(x, 0.05, times.astype(float))
    assert weighed.expected_shortfall == pytest.approx(twice.expected_shortfall, rel=1e-12)
    np.testing.assert_array_equal(tail_models.decay_weights(3, 1.0), [0.25, 0.5, 1.0])


@given(st.integers(0, 500), st.floats(0.01, 50), st.sampled_from([20.0, 150.0, 1e6]))
@hypothesis_settings(deadline=None, max_examples=40)
def test_both_models_scale_and_fall_in_p(seed: int, factor: float, half_life: float) -> None:
    sample = np.random.default_rng(seed).pareto(3.0, 1200)
    weights = tail_models.decay_weights(1200, half_life)
    levels = (0.05, 0.02, 0.01, 0.005, 0.001)
    ones, others = (tail_models.estimates(k * sample, levels, weights) for k in (1.0, factor))
    for one, other in zip(ones, others, strict=True):
        assert one.is_available == other.is_available
        np.testing.assert_allclose(other.quantile, factor * one.quantile, rtol=1e-5)
        np.testing.assert_allclose(other.expected_shortfall, factor * one.expected_shortfall, rtol=1e-5)
    for method in (tail_models.HISTORICAL, tail_models.EXTREME):
        mine = [one for one in ones if one.method == method and one.is_available]
        q, es = [one.quantile for one in mine], [one.expected_shortfall for one in mine]
        assert q == sorted(q)
        assert es == sorted(es)
        assert all(b >= a for a, b in zip(q, es, strict=True))


def test_the_tail_reproduces_its_law() -> None:
    """A sample that is its own law: the upper tenth is generalised Pareto, the quantiles known in closed form."""
    body = np.linspace(0, 1.4999, 18_000)
    share = (np.arange(1, 2001) - 0.5) / 2000
    sample = np.concatenate([body, 1.5 + 0.6 / 0.1 * ((1 - share) ** -0.1 - 1)])
    one = tail_models.extreme(sample, 0.01)
    assert one.quantile == pytest.approx(3.05355247, rel=3e-3)
    assert one.expected_shortfall == pytest.approx(3.89283608, rel=6e-3)
    assert (one.observations, one.tail_events, one.note) == (20_000, 2000.0, "")
    stable = tail_models.threshold_stability(sample, 0.01)
    np.testing.assert_allclose(stable["threshold_level"], [0.85, 0.90, 0.925, 0.95])
    np.testing.assert_array_equal(stable["exceedances"], [3000, 2000, 1500, 1000])
    np.testing.assert_allclose(stable["quantile"][1:], 3.05355247, rtol=3e-3)
    np.testing.assert_allclose(stable["expected_shortfall"][1:], 3.89283608, rtol=1e-2)


def test_what_a_tail_cannot_say_is_said() -> None:
    sample = np.random.default_rng(1).exponential(size=499)
    few = tail_models.extreme(sample, 0.01)
    assert few.note == "not available: 49 exceedances, 50 are needed"
    enough = np.random.default_rng(1).exponential(size=800)
    body = tail_models.extreme(enough, 0.2)
    assert body.note == "not available: p lies in the body; the tail begins at 0.1"
    assert tail_models.extreme(enough, 0.001).note == "beyond the sample of 800"
    held = tail_models.extreme(np.random.default_rng(3).pareto(1.1, 3000), 0.01)
    assert held.note == "shape held at 0.5"
    table = tail_models.threshold_stability(enough, 0.01)
    assert table["method"].tolist()[-1] == "not available"
    assert table[["xi", "beta", "quantile"]].iloc[-1].isna().all()
    assert table["exceedances"].tolist() == [120, 80, 60, 40]
    with pytest.raises(ValueError, match="row 1: nan is no number"):
        tail_models.extreme([1.0, np.nan], 0.01)
    with pytest.raises(ValueError, match="tail probability 1"):
        tail_models.historical([1.0], 1.0)
    with pytest.raises(ValueError, match="2 weights for 1 values"):
        tail_models.historical([1.0], 0.5, [1.0, 2.0])
    with pytest.raises(ValueError, match="weights, row 1"):
        tail_models.historical([1.0, 2.0], 0.5, [1.0, 0.0])


def test_a_shape_near_zero_is_exponential_with_the_mean_excess() -> None:
    share = (np.arange(1, 10_001) - 0.5) / 10_000
    sample = -np.log1p(-share)
    fit = tail_models.fit_tail(sample)
    assert fit is not None
    assert (fit.method, fit.xi) == ("exponential", 0.0)
    assert fit.beta == pytest.approx(float(np.mean(sample[sample > fit.threshold])) - fit.threshold, rel=1e-12)
    assert tail_models.extreme(sample, 0.001).quantile == pytest.approx(-np.log(0.001), rel=5e-3)


@given(st.integers(0, 100), st.sampled_from([-0.3, -0.1, 0.05, 0.2, 0.5]))
@hypothesis_settings(deadline=None, max_examples=30)
def test_the_scale_of_a_given_shape_is_most_likely(seed: int, xi: float) -> None:
    y = np.random.default_rng(seed).pareto(5.0, 80)
    beta = tail_models.scale_given_shape(xi, y)
    best = tails.gpd_negative_loglikelihood(xi, beta, y)
    for near in (0.98, 1.02):
        assert tails.gpd_negative_loglikelihood(xi, near * beta, y) >= best
    assert tail_models.scale_given_shape(xi, 7 * y) == pytest.approx(7 * beta, rel=1e-9)


def test_a_short_history_borrows_its_shape() -> None:
    rng = np.random.default_rng(8)
    long_ones = [tails.fit_gpd(rng.pareto(4.0, n)) for n in (3000, 1000)]
    fits = [fit for fit in long_ones if fit is not None]
    shared = tail_models.shared_shape_of(fits)
    assert shared == pytest.approx((300 * fits[0].xi + 100 * fits[1].xi) / 400)
    short = rng.pareto(4.0, 300)
    assert tail_models.fit_tail(short) is None
    fit = tail_models.fit_tail(short, shared_shape=shared)
    alone = tails.fit_gpd(short, minimum=20)
    assert fit is not None
    assert alone is not None
    assert fit.xi == pytest.approx((30 * alone.xi + 100 * shared) / 130, abs=1e-12)
    assert fit.method == "ml_shared"
    assert tail_models.extreme(short, 0.01, shared_shape=shared).is_available
    lacking = tail_models.extreme(short[:150], 0.01, shared_shape=shared)
    assert lacking.note == "not available: 15 exceedances, 20 are needed"
    with pytest.raises(ValueError, match="no tail to share"):
        tail_models.shared_shape_of([])
    with pytest.raises(ValueError, match=r"shared shape 0\.9"):
        tail_models.fit_tail(short, shared_shape=0.9)


def test_standardised_samples_by_hand() -> None:
    prices, forecasts = market(1)
    prices.loc[5, ["high_usd", "low_usd"]] = np.nan
    prices.loc[6, "is_return_valid"] = False
    forecasts.loc[7, "sigma_daily"] = 0.0
    found = tail_models.standardised_samples(prices, forecasts, pd.Timestamp("2020-01-10"))
    days = found.groupby(["series", "side"])["target_date"].apply(lambda d: d.dt.day.tolist())
    assert days["close", "long"] == [2, 3, 4, 5, 6, 9, 10]
    assert days["excursion", "short"] == [2, 3, 4, 5, 9, 10]
    day = prices.loc[3]
    at = found[found["target_date"] == "2020-01-04"].set_index(["series", "side"])["value_sigma"]
    assert at["close", "long"] == pytest.approx(-np.log(day["close_usd"] / day["previous_close_usd"]) / 0.03)
    assert at["close", "short"] == -at["close", "long"]
    assert at["excursion", "long"] == pytest.approx(np.log(day["previous_close_usd"] / day["low_usd"]) / 0.03)
    assert at["excursion", "short"] == pytest.approx(np.log(day["high_usd"] / day["previous_close_usd"]) / 0.03)
    removed = tail_models.standardised_samples(
        prices, forecasts, pd.Timestamp("2020-01-10"), is_mean_removed=True
    ).set_index(["target_date", "series", "side"])["value_sigma"]
    key = pd.Timestamp("2020-01-04")
    assert removed[key, "close", "long"] == pytest.approx(at["close", "long"] + 0.001 / 0.03)
    assert removed[key, "excursion", "long"] == at["excursion", "long"]


@given(st.integers(2, DAYS - 2), st.integers(0, 2**16))
@hypothesis_settings(deadline=None, max_examples=20)
def test_samples_do_not_look_ahead(cut: int, seed: int) -> None:
    prices, forecasts = market(1)
    other, _ = market(seed + 2, volatility=0.09, gap=True)
    as_of = prices["date"].iloc[cut - 1]
    mixed = pd.concat([prices.iloc[:cut], other.iloc[cut:]], ignore_index=True)
    changed = forecasts.assign(sigma_daily=np.where(forecasts["target_date"] <= as_of, 0.03, 0.11))
    ours = tail_models.standardised_samples(prices, forecasts, as_of)
    theirs = tail_models.standardised_samples(mixed, changed, as_of)
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    samples = []
    for bars, made in ((prices, forecasts), (mixed, changed)):
        events = overshoot.trigger_events(bars, made, (1.0,))
        samples.append(tail_models.overshoot_sample(events, side="long", trigger_depth=1.0, as_of=as_of))
    np.testing.assert_array_equal(*samples)


def test_an_overshoot_sample_is_one_market_or_the_pool() -> None:
    prices, forecasts = market(1)
    events = overshoot.trigger_events(prices, forecasts, (1.0, 2.0))
    both = pd.concat([events, events.assign(symbol="BBB")])
    last = prices["date"].iloc[-1]
    one = tail_models.overshoot_sample(both, side="short", trigger_depth=2.0, as_of=last, symbol="BBB")
    pool = tail_models.overshoot_sample(both, side="short", trigger_depth=2.0, as_of=last)
    assert len(one) > 5
    np.testing.assert_array_equal(pool, np.repeat(one, 2))


FOLDER = os.environ.get("PLIMSOLL_ORACLES")
DANISH = [(10.0, 109, 0.4968062, 6.9745523), (20.0, 36, 0.6840, 9.6317)]
PUBLISHED = [(0.01, 27.28488, 58.21091), (0.005, 40.16161, 83.80091), (0.001, 94.28956, 191.36972)]


@pytest.mark.parametrize(("u", "n", "xi", "beta"), DANISH if FOLDER else [])
def test_danish_fire_losses(u: float, n: int, xi: float, beta: float) -> None:
    """The reference stops short of the maximum; ours is at least as likely, and prints the same likelihood."""
    losses = pd.read_csv(Path(str(FOLDER)) / "danish.csv").iloc[:, -1].to_numpy(np.float64)
    y = losses[losses > u] - u
    assert len(y) == n
    found = tails._profile(y)
    assert found is not None
    assert found == pytest.approx((xi, beta), rel=4e-4)
    mine, theirs = (tails.gpd_negative_loglikelihood(*pair, y) for pair in (found, (xi, beta)))
    assert theirs - 1e-4 < mine <= theirs
    if u == 10:
        assert mine == pytest.approx(374.893, abs=5e-4)
        for p, quantile, shortfall in PUBLISHED:
            fit = tails.GpdFit(u, xi, beta, n / len(losses), n, "ml")
            assert float(tails.gpd_quantile(fit, p)) == pytest.approx(quantile, abs=6e-6 * quantile)
            assert float(tails.gpd_es(fit, p)) == pytest.approx(shortfall, abs=6e-6 * shortfall)
