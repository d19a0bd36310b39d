"""Tail trial: from hourly bars to words; where nothing can be followed it says so and gives no number."""

import numpy as np
import pandas as pd

from assets import tail_trial
from dagster_project import trial_tails

DEFAULT = {"shallow": 0.30, "deep": 0.25}
DAYS = 600


def stored() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Bars, events and quantiles of a market that falls below its trigger at six on each day, by the hour."""
    rng = np.random.default_rng(5)
    dates = pd.date_range("2020-01-01", periods=DAYS)
    same_day = 0.1 + rng.pareto(4.0, DAYS)
    ts = pd.date_range(dates[0], periods=24 * (DAYS + 2), freq="h").astype("datetime64[s]")
    low = np.full(len(ts), 100.0)
    for day in range(DAYS):
        fall = same_day[day] * ((np.arange(18) + 1) / 18) ** 0.35
        low[24 * day + 6 : 24 * day + 24] = 96.0 * np.exp(-0.04 * fall)
    bars = pd.DataFrame({"symbol": "AAA", "ts": ts, "low_usd": low, "high_usd": 101.0})
    key = {"symbol": "AAA", "side": "long", "target_date": dates, "trigger_depth": 1.0}
    events = pd.DataFrame({**key, "trigger_price_usd": 96.0, "sigma_daily": 0.04, "overshoot_sigma": same_day})
    quantiles = pd.DataFrame({**key, "as_of": dates - pd.Timedelta(days=1)})
    for bps in (500, 100, 50):
        quantiles[f"k_p{bps}"] = 0.1 + (bps / 10_000) ** -0.25 - 1
    return bars, events, quantiles


def test_from_bars_to_words() -> None:
    bars, events, quantiles = stored()
    found = tail_trial.scalings(bars, events, quantiles, DEFAULT, seed=1)
    assert set(found.estimates["regressed_bps"]) == {100, 500}
    last = found.estimates[found.estimates["turn"] == found.estimates["turn"].max()]
    steady = last[(last["regressed_bps"] == 500) & (last["side"] == "long")].set_index("depth_class")
    assert steady.loc["shallow", "state"] == "estimated"
    assert 0.1 < steady.loc["shallow", "eta"] < 0.5
    assert steady.loc["deep", "eta"] == 0.25
    told = trial_tails.scaling_text(found)
    assert "estimated at the last turn of a quarter (in no published number)" in told
    assert (
        "long, deep, 95 % quantile: horizon scaling untested: 0 trigger dates with hourly bars, 100 are needed" in told
    )
    row = found.validation.query(
        "side == 'long' and horizon_hours == 24 and tail_probability_bps == 100 and regressed_bps == 500"
    ).set_index("variant")
    assert f"{row.loc['default', 'mean_limit_sigma']:.2f}" in told
    assert "estimated" in told


def test_the_cost_in_words() -> None:
    _, events, quantiles = stored()
    rows = tail_trial.cost(quantiles, events, seed=1)
    told = trial_tails.cost_text(rows)
    pooled = rows[(rows["scope"] == "POOLED") & (rows["tail_probability_bps"] == 100)].iloc[0]
    assert f"{pooled['ratio']:.3f}" in told
    assert f"{pooled['mean_own_empirical_k']:.2f}" in told
    thin = tail_trial.cost(quantiles[:50], events[:50], seed=1)
    assert trial_tails.cost_text(thin).endswith("not enough data: no market has 100 earlier triggers\n")


def test_where_nothing_can_be_followed_nothing_is_estimated() -> None:
    bars, events, quantiles = stored()
    for few in (bars.head(24), bars[bars["symbol"] == "BBB"]):
        found = tail_trial.scalings(few, events, quantiles, DEFAULT, seed=1)
        assert found.estimates.empty
        told = trial_tails.scaling_text(found)
        assert "horizon scaling untested: no trigger could be followed for 24 hours" in told
        assert "not enough data: no trigger had an estimate before it" in told
    early = tail_trial.scalings(bars, events[:90], quantiles[:90], DEFAULT, seed=1)
    assert early.validation.empty
    assert early.estimates["state"].str.startswith("horizon scaling untested").all()
