"""Coverage and its cost: the yardstick is the market's plain past, on the same triggers, by hand."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from plimsoll import coverage_cost, overshoot
from plimsoll.overshoot import QuantileSpec

SPEC = QuantileSpec(depths=(1.0,), minimum_triggers=30, shrinkage_tail_events=10.0, half_life_triggers=100.0)


@cache
def panel(seed: int = 1, days: int = 500) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    dates = pd.date_range("2019-01-01", periods=days)
    frames = []
    for symbol, scale in (("AAA", 1.0), ("BBB", 3.0)):
        hit = rng.random(days) < 0.6
        frames.append(
            pd.DataFrame(
                {
                    "target_date": dates[hit],
                    "symbol": symbol,
                    "side": "long",
                    "trigger_depth": 1.0,
                    "overshoot_sigma": scale * rng.exponential(size=int(hit.sum())),
                }
            )
        )
    events = pd.concat(frames, ignore_index=True)
    targets = events[["symbol", "target_date"]].assign(as_of=events["target_date"] - pd.Timedelta(days=1))
    rows = overshoot.walk_quantiles(events, targets, SPEC)
    return events, rows[rows["side"] == "long"]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60), st.integers(1, 20))
@hypothesis_settings(deadline=None, max_examples=60)
def test_expanding_quantiles_are_those_of_each_past(values: list[float], step: int) -> None:
    x, levels = np.asarray(values), np.asarray([0.5, 0.95, 0.99])
    counts = np.arange(0, len(x) + 1, step)
    found = coverage_cost.expanding_quantiles(x, counts, levels)
    for row, n in enumerate(counts):
        if n == 0:
            assert np.isnan(found[row]).all()
        else:
            np.testing.assert_allclose(found[row], np.quantile(x[:n], levels), rtol=1e-12, atol=1e-12)


def test_the_yardstick_is_unweighted_strictly_past_and_the_market_alone() -> None:
    events, quantiles = panel()
    found = coverage_cost.judged_triggers(quantiles, events, minimum_own_triggers=100)
    for key in [("AAA", 500), ("BBB", 100)]:
        mine = found[(found["symbol"] == key[0]) & (found["tail_probability_bps"] == key[1])]
        row = mine.iloc[len(mine) // 2]
        past = events[(events["symbol"] == key[0]) & (events["target_date"] < row["target_date"])]
        assert len(past) >= 100
        level = 1 - key[1] / 10_000
        assert row["k_own_empirical"] == pytest.approx(np.quantile(past["overshoot_sigma"], level), rel=1e-12)
        known = quantiles[(quantiles["symbol"] == key[0]) & (quantiles["target_date"] == row["target_date"])]
        assert row["k"] == known[f"k_p{key[1]}"].iloc[0]
        assert row["k_own_empirical"] != known[f"k_own_p{key[1]}"].iloc[0], "the walk's own weighs newer ones more"
    least = found.groupby(["symbol", "tail_probability_bps"])["target_date"].min()
    for (symbol, bps), first in least.items():
        n = int(((events["symbol"] == symbol) & (events["target_date"] < first)).sum())
        assert n == max(100, 10_000 // bps)


@given(st.integers(150, 480), st.integers(2, 4))
@hypothesis_settings(deadline=None, max_examples=10)
def test_the_yardstick_does_not_look_ahead(cut: int, seed: int) -> None:
    events, quantiles = panel()
    other, _ = panel(seed)
    day = pd.Timestamp("2019-01-01") + pd.Timedelta(days=cut)
    late = other[other["target_date"] > day].assign(overshoot_sigma=3 * other["overshoot_sigma"])
    mixed = pd.concat([events[events["target_date"] <= day], late], ignore_index=True)
    before = quantiles[quantiles["target_date"] <= day]
    ours, theirs = (coverage_cost.judged_triggers(before, one, minimum_own_triggers=20) for one in (events, mixed))
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def test_mean_k_rate_and_ratio_by_hand() -> None:
    events, quantiles = panel()
    judged = coverage_cost.judged_triggers(quantiles, events)
    table = coverage_cost.cost_table(judged, seed=1).set_index(["scope", "tail_probability_bps"])
    mine = judged[(judged["symbol"] == "BBB") & (judged["tail_probability_bps"] == 500)]
    row = table.loc[("BBB", 500)]
    assert row["triggers"] == len(mine)
    assert row["mean_k"] == pytest.approx(mine["k"].mean())
    assert row["mean_own_empirical_k"] == pytest.approx(mine["k_own_empirical"].mean())
    assert row["ratio"] == pytest.approx(mine["k"].mean() / mine["k_own_empirical"].mean())
    assert row["rate"] == pytest.approx((mine["overshoot_sigma"] > mine["k"]).mean())
    assert row["rate_own_empirical"] == pytest.approx((mine["overshoot_sigma"] > mine["k_own_empirical"]).mean())
    assert row["rate_low"] <= row["rate"] <= row["rate_high"]
    assert table.loc[("AAA", 500), "ratio"] > 1.1 > 0.95 > row["ratio"], "pooling widens the calm, narrows the wild"
    both = judged[judged["tail_probability_bps"] == 500]
    assert table.loc[("POOLED", 500), "mean_k"] == pytest.approx(both["k"].mean())


def test_own_quantiles_put_in_place_of_the_estimate_cost_nothing() -> None:
    events, quantiles = panel()
    judged = coverage_cost.judged_triggers(quantiles, events)
    table = coverage_cost.cost_table(judged.assign(k=judged["k_own_empirical"]), seed=1)
    np.testing.assert_allclose(table["ratio"], 1.0)
    np.testing.assert_array_equal(table["rate"], table["rate_own_empirical"])


def test_a_row_judged_by_its_own_day_is_refused_and_too_little_is_no_row() -> None:
    events, quantiles = panel()
    with pytest.raises(ValueError, match="a look ahead"):
        coverage_cost.judged_triggers(quantiles.assign(as_of=quantiles["target_date"]), events)
    none = coverage_cost.judged_triggers(quantiles, events, minimum_own_triggers=10_000)
    assert none.empty
    assert coverage_cost.cost_table(none, seed=1).empty
