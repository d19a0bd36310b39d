"""Uncertainty: resamples repeated by hand, the rule of the walk, whole dates, and an interval only where one exists."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from plimsoll import overshoot, uncertainty
from plimsoll.overshoot import QuantileSpec

SPEC = QuantileSpec(depths=(1.0,), minimum_triggers=100, shrinkage_tail_events=10.0, half_life_triggers=150.0)


def pool(seed: int = 1, days: int = 400, symbols: tuple[str, ...] = ("AAA", "BBB", "CCC")) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    dates = pd.date_range("2019-01-01", periods=days)
    shared = rng.exponential(size=days)
    frames = []
    for side in overshoot.SIDES:
        for symbol in symbols:
            hit = rng.random(days) < 0.7
            frames.append(
                pd.DataFrame(
                    {
                        "target_date": dates[hit],
                        "symbol": symbol,
                        "side": side,
                        "trigger_depth": 1.0,
                        "overshoot_sigma": (shared * rng.lognormal(0, 0.4, days))[hit],
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


@given(st.integers(1, 130), st.integers(1, 40), st.integers(0, 50))
@hypothesis_settings(deadline=None, max_examples=40)
def test_blocks_are_consecutive_and_wrap(dates: int, block: int, seed: int) -> None:
    counts = uncertainty.block_counts(dates, block_dates=block, draws=7, seed=[seed])
    length = min(block, dates)
    assert counts.shape == (7, dates)
    assert (counts.sum(axis=1) == -(-dates // length) * length).all()
    starts = np.random.default_rng([seed]).integers(0, dates, size=(7, -(-dates // length)))
    by_hand = np.zeros_like(counts)
    for row in range(7):
        for start in starts[row]:
            for step in range(length):
                by_hand[row, (start + step) % dates] += 1
    np.testing.assert_array_equal(counts, by_hand)


@given(st.integers(1, 60), st.integers(0, 200), st.sampled_from([5.0, 60.0, 1e9]))
@hypothesis_settings(deadline=None, max_examples=60)
def test_a_draw_is_the_sample_repeated(n: int, seed: int, half_life: float) -> None:
    rng = np.random.default_rng(seed)
    values = np.round(rng.exponential(size=n), 1)
    weights = 0.5 ** (np.arange(n - 1, -1, -1) / half_life)
    date_of = np.sort(rng.integers(0, max(1, n // 3), n))
    counts = rng.integers(0, 4, size=(12, date_of.max() + 3))
    levels = np.asarray([0.5, 0.95, 0.99])
    found = uncertainty.resampled_quantiles(values, weights, date_of, counts, levels)
    order = np.argsort(values, kind="stable")
    for row in range(12):
        times = counts[row, date_of][order]
        repeated = overshoot.weighted_quantile(
            np.repeat(values[order], times), np.repeat(weights[order], times), levels
        )
        np.testing.assert_allclose(found[row], repeated, rtol=1e-9, atol=1e-9)


def test_the_interval_of_one_draw_of_everything_is_the_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were each date drawn once, own, pooled and shrunk would be what the walk says, for every probability."""

    def once(dates: int, *, block_dates: int, draws: int, seed: object) -> np.ndarray:
        return np.ones((draws, dates), dtype=np.int64)

    monkeypatch.setattr(uncertainty, "block_counts", once)
    found = uncertainty.quantile_intervals(
        pool(), ["AAA", "CCC"], pd.Timestamp("2020-01-20"), SPEC, seed=3, draws=2, probabilities_bps=(500, 100, 50)
    )
    assert len(found) == 2 * 2 * 3
    for name in uncertainty.ESTIMATES:
        known = found[f"{name}_low"].notna()
        np.testing.assert_allclose(found.loc[known, f"{name}_low"], found.loc[known, name], rtol=1e-10)
        np.testing.assert_allclose(found.loc[known, f"{name}_high"], found.loc[known, name], rtol=1e-10)
    assert found["k_pooled_low"].notna().all()
    assert (found["note"] == "").any()
    own = found[(found["symbol"] == "AAA") & (found["side"] == "long")].set_index("tail_probability_bps")
    assert own.loc[500, "k_own_low"] == pytest.approx(own.loc[500, "k_own"], rel=1e-10)


def test_all_markets_of_a_date_stay_together() -> None:
    """Three copies of one market are no three times the evidence: the pooled interval is that of one."""
    one = pool(symbols=("AAA",))
    three = pd.concat([one.assign(symbol=name) for name in ("AAA", "BBB", "CCC")], ignore_index=True)
    day = pd.Timestamp("2020-01-20")
    flat = QuantileSpec((1.0,), 100, 10.0, 1e12)
    width = []
    for events in (one, three):
        rows = uncertainty.quantile_intervals(events, ["AAA"], day, flat, seed=1, probabilities_bps=(500,))
        width.append((rows["k_pooled_high"] - rows["k_pooled_low"]).to_numpy())
    np.testing.assert_allclose(width[1], width[0], rtol=0.1)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    truth, held = -np.log(0.05), 0
    flat = QuantileSpec((1.0,), 100, 10.0, 1e12)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        events = pd.DataFrame(
            {
                "target_date": pd.date_range("2019-01-01", periods=400),
                "symbol": "AAA",
                "side": "long",
                "trigger_depth": 1.0,
                "overshoot_sigma": rng.exponential(size=400),
            }
        )
        rows = uncertainty.quantile_intervals(
            events, ["AAA"], pd.Timestamp("2021-01-01"), flat, seed=seed, draws=200, probabilities_bps=(500,)
        )
        row = rows[rows["side"] == "long"].iloc[0]
        held += row["k_pooled_low"] <= truth <= row["k_pooled_high"]
    assert 30 <= held <= 40


def test_seeded_and_the_same_in_any_company_or_order() -> None:
    events, day = pool(), pd.Timestamp("2020-01-20")
    whole = uncertainty.quantile_intervals(events, ["AAA", "BBB", "CCC"], day, SPEC, seed=5)
    mixed = events.sample(frac=1.0, random_state=2)
    alone = uncertainty.quantile_intervals(mixed, ["BBB"], day, SPEC, seed=5)
    mine = whole[whole["symbol"] == "BBB"].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, alone, check_exact=True)
    other = uncertainty.quantile_intervals(events, ["BBB"], day, SPEC, seed=6)
    assert not other["k_low"].equals(alone["k_low"])


def test_no_interval_where_none_can_be_drawn() -> None:
    day = pd.Timestamp("2020-12-31")
    few = uncertainty.quantile_intervals(pool(days=99), ["AAA"], day, SPEC, seed=1)
    assert few.loc[few["tail_probability_bps"] > 50, "k"].notna().all(), (
        "an estimate exists; what is lacking is a sample of blocks"
    )
    assert few[["k_low", "k_high", "k_own_low", "k_pooled_high"]].isna().all().all()
    longs = few[few["side"] == "long"]
    assert set(longs["note"]) == {"not available: 99 trigger dates, 100 are needed"}
    rows = uncertainty.quantile_intervals(pool(days=140), ["AAA"], day, SPEC, seed=1).set_index(
        ["side", "tail_probability_bps"]
    )
    assert rows.loc[("long", 50), "note"] == "own: less than one tail event"
    assert np.isnan(rows.loc[("long", 50), "k_own_low"])
    assert rows.loc[("long", 50), "k_low"] > 0
    rare = uncertainty.quantile_intervals(pool(days=140), ["AAA"], day, SPEC, seed=1, probabilities_bps=(10,))
    assert set(rare["note"]) == {"not available: the pool holds less than one tail event"}
    assert rare["k_low"].isna().all()
    with pytest.raises(ValueError, match="30 bps: the walk knows 500, 100, 50, 10"):
        uncertainty.quantile_intervals(pool(), ["AAA"], day, SPEC, seed=1, probabilities_bps=(30,))


def test_rarer_is_never_lower_and_sigmas_scale() -> None:
    events, day = pool(), pd.Timestamp("2020-01-20")
    one = uncertainty.quantile_intervals(events, ["AAA"], day, SPEC, seed=5)
    twice = uncertainty.quantile_intervals(
        events.assign(overshoot_sigma=2 * events["overshoot_sigma"]), ["AAA"], day, SPEC, seed=5
    )
    for name in ("k_low", "k_high", "k_pooled_low", "k_own_high"):
        np.testing.assert_allclose(twice[name], 2 * one[name], rtol=1e-9)
    for _, rows in one.groupby("side"):
        ordered = rows.sort_values("tail_probability_bps", ascending=False)
        assert ordered["k_low"].is_monotonic_increasing
        assert ordered["k_high"].is_monotonic_increasing
        assert (rows["k_low"] < rows["k_high"]).all()
