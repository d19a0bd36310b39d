"""Overshoot: triggers, quantiles that never look ahead, users' buffers."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll import overshoot
from plimsoll.overshoot import QuantileSpec

SPEC = QuantileSpec(depths=(1.0, 2.0), minimum_triggers=30, shrinkage_tail_events=10.0, half_life_triggers=300.0)


def _bars(n: int = 4) -> tuple[pd.DataFrame, pd.DataFrame]:
    dates = pd.date_range("2021-01-01", periods=n)
    prices = pd.DataFrame(
        {
            "date": dates,
            "close_usd": 100.0,
            "previous_close_usd": 100.0,
            "high_usd": [101.0, 106.0, 100.5, 108.0][:n],
            "low_usd": [99.0, 90.0, 97.0, 80.0][:n],
            "is_return_valid": [True, True, True, False][:n],
        }
    )
    forecasts = pd.DataFrame(
        {
            "as_of": dates - pd.Timedelta(days=1),
            "target_date": dates,
            "symbol": "AAA",
            "sigma_daily": 0.04,
            "sigma_eff_daily": 0.05,
        }
    )
    return prices, forecasts


def test_trigger_events_by_hand() -> None:
    events = overshoot.trigger_events(*_bars(), depths=(1.0,))
    long = events[events["side"] == "long"]
    assert list(long["target_date"].dt.day) == [2]
    level = 100 * np.exp(-0.04)
    assert long["trigger_price_usd"].iloc[0] == pytest.approx(level, abs=1e-12)
    assert long["overshoot_sigma"].iloc[0] == pytest.approx(np.log(level / 90.0) / 0.04, abs=1e-12)
    short = events[events["side"] == "short"]
    assert list(short["target_date"].dt.day) == [2]
    assert short["overshoot_sigma"].iloc[0] == pytest.approx(np.log(106.0 / (100 * np.exp(0.04))) / 0.04, abs=1e-12)


def test_no_event_without_range_or_without_a_one_day_return() -> None:
    prices, forecasts = _bars()
    events = overshoot.trigger_events(prices, forecasts, depths=(1.0,))
    assert 4 not in set(events["target_date"].dt.day), "the day after a gap is no trigger day"
    closed = prices.assign(high_usd=np.nan, low_usd=np.nan)
    assert overshoot.trigger_events(closed, forecasts, depths=(1.0,)).empty


@given(st.lists(st.floats(0, 50), min_size=1, max_size=40), st.floats(0, 1))
def test_equal_weights_give_the_linear_quantile(values: list[float], level: float) -> None:
    ordered = np.sort(np.asarray(values))
    ours = overshoot.weighted_quantile(ordered, np.ones(len(ordered)), np.asarray([level]))
    assert ours[0] == pytest.approx(np.quantile(ordered, level), abs=1e-9)


def _pool(seed: int, days: int = 500) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    dates = pd.date_range("2019-01-01", periods=days)
    frames = []
    for symbol in ("AAA", "BBB"):
        for side in overshoot.SIDES:
            for depth in SPEC.depths:
                hit = rng.random(days) < 0.4
                frames.append(
                    pd.DataFrame(
                        {
                            "target_date": dates[hit],
                            "symbol": symbol,
                            "side": side,
                            "trigger_depth": depth,
                            "overshoot_sigma": rng.pareto(3, hit.sum()),
                        }
                    )
                )
    return pd.concat(frames, ignore_index=True)


def _targets(days: int = 500) -> pd.DataFrame:
    dates = pd.date_range("2019-01-01", periods=days)
    frames = [
        pd.DataFrame({"symbol": s, "as_of": dates, "target_date": dates + pd.Timedelta(days=1)}) for s in ("AAA", "BBB")
    ]
    return pd.concat(frames, ignore_index=True)


@settings(max_examples=8, deadline=None)
@given(st.integers(30, 480), st.integers(0, 2**16))
def test_quantiles_do_not_look_ahead(cut: int, seed: int) -> None:
    day = pd.Timestamp("2019-01-01") + pd.Timedelta(days=cut)
    pool, other = _pool(1), _pool(seed + 2)
    mixed = pd.concat(
        [pool[pool["target_date"] < day], other[other["target_date"] >= day].assign(overshoot_sigma=99.0)]
    )
    targets = _targets()
    before = targets[targets["target_date"] <= day].reset_index(drop=True)
    ours = overshoot.walk_quantiles(pool, before, SPEC)
    theirs = overshoot.walk_quantiles(mixed, before, SPEC)
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def test_a_planted_leak_is_caught() -> None:
    """The property above must be able to fail: with as_of moved one day ahead, the future does move the rows."""
    pool, day = _pool(1), pd.Timestamp("2019-10-01")
    late = pool.assign(overshoot_sigma=pool["overshoot_sigma"].where(pool["target_date"] < day, 99.0))
    targets = _targets()
    leaky = targets[targets["target_date"] == day].assign(as_of=day)
    ours, theirs = (overshoot.walk_quantiles(p, leaky, SPEC) for p in (pool, late))
    assert not ours["k_p50"].equals(theirs["k_p50"])


def test_any_subset_of_targets_gives_the_same_rows() -> None:
    pool, targets = _pool(3), _targets()
    whole = overshoot.walk_quantiles(pool, targets, SPEC)
    part = targets[targets["as_of"] >= "2020-03-01"].reset_index(drop=True)
    again = overshoot.walk_quantiles(pool, part, SPEC)
    tail = whole[whole["as_of"] >= "2020-03-01"].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, tail, check_exact=True)


def test_not_enough_triggers_is_no_number() -> None:
    rows = overshoot.walk_quantiles(_pool(3), _targets(10), SPEC)
    few = rows["pooled_triggers"] < SPEC.minimum_triggers
    assert few.any()
    assert rows.loc[few, ["k_p500", "k_p100", "k_p50", "k_p10"]].isna().all().all()


def test_shrinkage_weighs_tail_events() -> None:
    rows = overshoot.walk_quantiles(_pool(3, 900), _targets(900), SPEC)
    last = rows[rows["target_date"] == rows["target_date"].max()].iloc[0]
    events = 0.05 * last["own_triggers"]
    weight = events / (events + SPEC.shrinkage_tail_events)
    assert last["k_p500"] == pytest.approx(
        weight * last["k_own_p500"] + (1 - weight) * last["k_pooled_p500"], abs=1e-12
    )
    assert last["own_triggers"] * 0.001 < 1
    assert last["k_p10"] == last["k_pooled_p10"], "less than one own tail event carries no weight"


def test_a_rarer_overshoot_is_never_smaller() -> None:
    """Days after the month's tail was fitted grow threefold: the tail's quantile lags behind the sample's."""
    pool = _pool(3, 900)
    late = pool["target_date"] >= pool["target_date"].max() - pd.Timedelta(days=20)
    pool = pool.assign(overshoot_sigma=pool["overshoot_sigma"] * np.where(late, 5.0, 1.0))
    rows = overshoot.walk_quantiles(pool, _targets(900), SPEC)
    for family in ("k_pooled_p", "k_p"):
        known = rows[[f"{family}{bps}" for bps in (500, 100, 50, 10)]].dropna().to_numpy()
        assert len(known) > 0
        assert (np.diff(known, axis=1) >= 0).all(), family


def test_quantiles_scale_with_overshoots() -> None:
    pool, targets = _pool(5), _targets()
    one = overshoot.walk_quantiles(pool, targets, SPEC)
    two = overshoot.walk_quantiles(pool.assign(overshoot_sigma=2 * pool["overshoot_sigma"]), targets, SPEC)
    np.testing.assert_allclose(two["k_p100"], 2 * one["k_p100"], rtol=1e-9)


def test_adverse_excursion_by_hand_and_known_only_when_over() -> None:
    prices, forecasts = _bars(3)
    prices["is_return_valid"] = True
    moves = overshoot.adverse_excursions(prices, forecasts, days=2)
    long = moves[moves["side"] == "long"].reset_index(drop=True)
    assert list(pd.to_datetime(long["known_on"]).dt.day) == [2, 3]
    np.testing.assert_allclose(long["excursion_sigma"], np.log(100 / 90.0) / 0.04)
    gap = prices.assign(is_return_valid=[True, False, True])
    assert overshoot.adverse_excursions(gap, forecasts, days=2).empty


def test_lending_takes_the_deepest_trigger_with_enough_dates_and_a_tail() -> None:
    rows = overshoot.walk_quantiles(_pool(3), _targets(), SPEC)
    chosen = overshoot.lending_depth(rows, minimum_dates=100)
    assert set(chosen.loc[chosen["target_date"] == rows["target_date"].max(), "trigger_depth"]) == {2.0}
    assert (chosen["pooled_dates"] >= 100).all()
    tailless = rows.assign(gpd_xi=np.where(rows["trigger_depth"] < 2.0, 0.1, np.nan))
    shallow = overshoot.lending_depth(tailless, minimum_dates=100)
    assert set(shallow.loc[shallow["target_date"] == rows["target_date"].max(), "trigger_depth"]) == {1.0}
    without = overshoot.lending_depth(rows.assign(gpd_xi=np.nan), minimum_dates=100)
    assert without["trigger_depth"].max() == 2.0


def test_the_chosen_depth_is_a_row_as_it_stands() -> None:
    """What a depth does not know must not be filled in from another depth."""
    rows = overshoot.walk_quantiles(_pool(3), _targets(), SPEC)
    rows.loc[rows["trigger_depth"] == 2.0, "k_p10"] = np.nan
    chosen = overshoot.lending_depth(rows, minimum_dates=100)
    whole = chosen.merge(rows, how="left", indicator=True)
    assert (whole["_merge"] == "both").all()
    assert chosen.loc[chosen["trigger_depth"] == 2.0, "k_p10"].isna().all()
