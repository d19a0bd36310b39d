"""Votes, scores and lags: printed oracles, incidents of record, hysteresis, degraded modes, worth of latency."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.consensus import (
    consensus_prices,
    dispersion_q95,
    effective_deviation,
    feed_score,
    feed_state,
    judge,
    mirror_groups,
    pair_limit,
    quarantined,
    vote,
)
from plimsoll.consensus.numerics import trailing_quantile
from plimsoll.consensus.scores import capped_weights

ORACLE = np.array([[100, 100.2, 99.9, 100.1, 95, 100.05, 103]])
FAIR = {
    "bars": 100,
    "expected": 100,
    "days_stale": 0,
    "median_abs_z": 0.5,
    "revised_share": 0,
    "discovery_share": 1,
    "sources_in_group": 1,
}
PRICES = ["open_usd", "high_usd", "low_usd", "close_usd"]


def test_the_printed_vote() -> None:
    found = vote(ORACLE)
    assert found.median[0] == pytest.approx(100.05)
    assert found.scale[0] == pytest.approx(0.22239, abs=1e-8)
    assert found.z[0, 4] == pytest.approx(-22.7079, abs=1e-4)
    assert found.z[0, 6] == pytest.approx(13.265, abs=1e-3)
    assert list(np.flatnonzero(found.is_outvoted[0])) == [4, 6]


@pytest.mark.parametrize(
    ("values", "tick", "out"),
    [
        ([100, 100, 100.2], 0.0, []),
        ([100, 100, 100.3], 0.0, [2]),
        ([100, 100, 100.3], 0.1, []),
        ([100, 150], 0.0, []),
        ([100, np.nan, 150], 0.0, []),
        ([np.nan, np.nan, np.nan], 0.0, []),
    ],
    ids=["25 bp", "beyond", "three ticks", "two", "two of three", "none"],
)
def test_floors_of_the_vote(values: list[float], tick: float, out: list[int]) -> None:
    assert list(np.flatnonzero(vote(np.array([values]), tick=tick).is_outvoted[0])) == out


@given(
    st.lists(st.floats(min_value=1, max_value=1e6), min_size=3, max_size=9), st.floats(min_value=1e-3, max_value=1e3)
)
def test_a_vote_knows_neither_order_nor_currency(values: list[float], rate: float) -> None:
    there, back = vote(np.array([values])), vote(np.array([values[::-1]]) * rate)
    assert back.median[0] == pytest.approx(there.median[0] * rate)
    distance = np.abs(np.array(values) - there.median[0])
    limit = max(5 * there.scale[0], 25e-4 * there.median[0])
    if (np.abs(distance - limit) > 1e-6 * limit).all():
        assert list(back.is_outvoted[0][::-1]) == list(there.is_outvoted[0])
    assert 2 * there.is_outvoted.sum() <= len(values)


def test_the_limit_of_a_pair() -> None:
    np.testing.assert_allclose(pair_limit(np.array([np.nan, 1e-4, 2e-3])), [25e-4, 25e-4, 1e-2])


@given(st.integers(min_value=0, max_value=79), st.floats(min_value=-1e6, max_value=1e6))
def test_what_was_usual_depends_on_days_before_alone(day: int, value: float) -> None:
    x = np.sin(np.arange(160.0)).reshape(80, 2)
    starts = np.array([0, 30, 80])
    before = trailing_quantile(x, starts, window=7, q=0.3, fewest=2)
    changed = x.copy()
    changed[day] = value
    after = trailing_quantile(changed, starts, window=7, q=0.3, fewest=2)
    np.testing.assert_array_equal(after[: day + 1], before[: day + 1])
    block = 30 if day < 30 else 80
    np.testing.assert_array_equal(after[block:], before[block:])
    if day >= 32:
        part = x[max(day - 7, 30) : day, 0]
        assert before[day, 0] == pytest.approx(np.quantile(part, 0.3))


def venues_of_a_coin(closes: dict[str, float], *, sigma: float = 0.03, days: int = 120, n: int = 1) -> pd.DataFrame:
    """Coins ``C0``... on venues that agree within a basis point or so."""
    parts = []
    rng = np.random.default_rng(3)
    for number in range(n):
        close = np.cumsum(rng.normal(0, sigma, days))
        opening = np.concatenate([[0.0], close[:-1]])
        wick = np.abs(rng.normal(0, sigma / 3, (2, days)))
        for source, level in closes.items():
            c = close + np.log(level) + rng.normal(0, min(1e-4, sigma / 10), days)
            logs = [opening + np.log(level), 0 * c, 0 * c, c]
            logs[1], logs[2] = np.maximum(logs[0], c) + wick[0], np.minimum(logs[0], c) - wick[1]
            frame = pd.DataFrame(dict(zip(PRICES, map(np.exp, logs), strict=True)))
            frame.insert(0, "date", pd.date_range("2025-07-01", periods=days).astype("datetime64[us]"))
            parts.append(frame.assign(symbol=f"C{number}", source=source, volume=1e6, volume_unit="base"))
    return pd.concat(parts, ignore_index=True)


DAY = pd.Timestamp("2025-10-10")


def on(frame: pd.DataFrame, source: str, symbol: str = "C0") -> int:
    return int(frame.index[(frame["source"] == source) & (frame["symbol"] == symbol) & (frame["date"] == DAY)][0])


def row(prices: pd.DataFrame, symbol: str = "C0", day: pd.Timestamp = DAY) -> pd.Series:
    return prices[(prices["symbol"] == symbol) & (prices["date"] == day)].iloc[0]


def priced(frame: pd.DataFrame, venues: dict[str, str] | None = None) -> pd.DataFrame:
    return consensus_prices(frame, judge(frame, venues=venues), venues=venues)


@pytest.mark.parametrize("field", ["low", "close"])
def test_usde_on_one_venue_2025_10_10(field: str) -> None:
    """One venue prints 0.65 for a coin that stands at 0.994 everywhere else."""
    frame = venues_of_a_coin(dict.fromkeys(("a", "b", "c"), 1.0), sigma=5e-4)
    for source in ("a", "b", "c"):
        frame.loc[on(frame, source), PRICES] = [0.999, 1.0, 0.9935, 0.994]
    at = on(frame, "a")
    frame.loc[at, "low_usd"] = 0.65
    if field == "close":
        frame.loc[at, "close_usd"] = 0.65
    found = judge(frame)
    assert [(r.source, r.kind) for r in found.rejected.itertuples() if r.date == DAY] == [("a", "bad_tick")]
    price = row(consensus_prices(frame, found))
    assert price["close_usd"] == pytest.approx(0.994)
    assert price["low_usd"] == pytest.approx(0.9935)


def test_eth_wick_of_2017_08_22() -> None:
    """309.80 to 144.21 and back on one venue; the others' low was 293."""
    frame = venues_of_a_coin(dict.fromkeys(("a", "b"), 310.0))
    for source, low in (("a", 144.21), ("b", 293.09)):
        frame.loc[on(frame, source), PRICES] = [321.85, 329.39, low, 313.37]
    found = judge(frame)
    assert [(r.source, r.kind) for r in found.rejected.itertuples() if r.date == DAY] == [("a", "bad_tick")]
    assert row(consensus_prices(frame, found))["low_usd"] == pytest.approx(293.09)


@pytest.mark.parametrize("factor", [2.5, 6.0])
def test_wicks_of_several_times_the_price(factor: float) -> None:
    frame = venues_of_a_coin(dict.fromkeys(("a", "b", "c"), 60000.0))
    frame.loc[on(frame, "b"), "high_usd"] *= factor
    found = judge(frame)
    assert [(r.source, r.kind) for r in found.rejected.itertuples()] == [("b", "bad_tick")]


@pytest.mark.parametrize(
    ("one", "other"), [(-74.9, -29.1), (-77.0, -29.6), (-85.1, -26.8), (-80.1, -28.6), (-83.6, -23.6), (-62.0, -17.0)]
)
def test_lows_of_one_venue_on_2025_10_10(one: float, other: float) -> None:
    """The whole market fell, and one venue fell further by far: the fall is kept, that venue's low is not."""
    frame = venues_of_a_coin({"a": 1.0, "b": 1.0}, sigma=0.05, n=6)
    for number in range(6):
        for source, fall in (("a", one), ("b", other)):
            at = on(frame, source, f"C{number}")
            frame.loc[at, "low_usd"] = frame.loc[at - 1, "close_usd"] * (1 + fall / 100)
            frame.loc[at, "close_usd"] = frame.loc[at - 1, "close_usd"] * 0.83
    found = judge(frame)
    rejected = found.rejected[found.rejected["date"] == DAY]
    assert set(rejected["source"]) == {"a"}
    assert len(rejected) == 6
    prices = consensus_prices(frame, found)
    before = row(prices, day=DAY - pd.Timedelta(days=1))["close_usd"]
    assert row(prices)["low_usd"] / before - 1 == pytest.approx(other / 100, abs=1e-3)


def test_three_venues_have_the_median_of_lows_and_five_the_second_lowest_for_stress() -> None:
    lows = {"a": 0.90, "b": 0.92, "c": 0.93, "d": 0.94, "e": 0.95}
    for names, low, stress in ((["a", "b", "c"], 0.92, 0.92), (list(lows), 0.93, 0.92)):
        frame = venues_of_a_coin(dict.fromkeys(names, 1.0))
        base = row(priced(frame))["close_usd"]
        for source in names:
            frame.loc[on(frame, source), PRICES] = [base, base, base * lows[source], base]
        price = row(priced(frame))
        assert price["low_usd"] == pytest.approx(base * low)
        assert price["stress_low_usd"] == pytest.approx(base * stress)
        assert price["venue_low_usd"] == pytest.approx(base * 0.90)
        assert (price["status"], price["may_loosen"]) == ("agreed", True)


def test_the_outvoted_venue_is_named_and_does_not_move_the_median() -> None:
    frame = venues_of_a_coin(dict.fromkeys(("a", "b", "c"), 1.0))
    clean = row(priced(frame))["close_usd"]
    frame.loc[on(frame, "c"), "close_usd"] *= 1.006
    frame.loc[on(frame, "c"), "high_usd"] *= 1.006
    price = row(priced(frame))
    assert price["outvoted"] == "c"
    assert price["close_usd"] == pytest.approx(clean, rel=3e-4)


def test_two_venues_have_the_mean_until_they_dispute() -> None:
    frame = venues_of_a_coin({"a": 1.0, "b": 1.0})
    a, b = frame.loc[on(frame, "a"), "close_usd"], frame.loc[on(frame, "b"), "close_usd"]
    price = row(priced(frame))
    assert price["close_usd"] == pytest.approx(np.sqrt(a * b))
    assert (price["status"], price["may_loosen"]) == ("agreed", True)
    frame.loc[on(frame, "b"), ["close_usd", "high_usd"]] *= 1.004
    price = row(priced(frame))
    assert (price["status"], price["may_loosen"]) == ("disputed", False)


def test_the_deeper_of_two_lows_needs_support() -> None:
    frame = venues_of_a_coin({"a": 1.0, "b": 1.0}, n=6)
    mild = row(priced(frame))["low_usd"]
    frame.loc[on(frame, "a"), "low_usd"] *= 0.88
    assert row(priced(frame))["low_usd"] == pytest.approx(mild, rel=1e-3)
    frame.loc[on(frame, "a"), "volume"] *= 4
    assert row(priced(frame))["low_usd"] == pytest.approx(mild * 0.88, rel=1e-3)


def test_one_venue_is_a_single_source() -> None:
    frame = venues_of_a_coin({"a": 1.0})
    price = row(priced(frame))
    assert (price["status"], price["may_loosen"], price["venues"]) == ("single source", False, 1)
    two = venues_of_a_coin({"a_spot": 1.0, "a_perp": 1.0})
    assert row(priced(two, {"a_spot": "a", "a_perp": "a"}))["status"] == "single source"


def test_mirrors_count_as_one() -> None:
    rng = np.random.default_rng(2)
    true = np.cumsum(rng.normal(0, 0.03, 400))
    a, b, c, d = (true + rng.normal(0, 1e-3, 400) for _ in range(4))
    copy = b + rng.normal(0, 1e-5, 400)
    assert list(mirror_groups(np.column_stack([a, b, c, copy, d]))) == [0, 1, 2, 1, 4]
    bad, worse = (true + rng.normal(0, 1e-2, 400) for _ in range(2))
    assert list(mirror_groups(np.column_stack([a, b, bad, worse]))) == [0, 1, 2, 3], "good ones are no copies"
    assert list(mirror_groups(np.column_stack([b, copy, bad]))) == [0, 1, 2], "one other cannot tell"
    assert list(mirror_groups(np.column_stack([a, b]))) == [0, 1], "two alone cannot tell who copies"
    assert list(mirror_groups(np.column_stack([a, b, c, copy, d])[:100])) == [0, 1, 2, 3, 4], "too few days"


def test_a_score_is_the_product_of_its_penalties() -> None:
    assert feed_score(**FAIR).score == 100
    half = feed_score(**(FAIR | {"bars": 50, "sources_in_group": 4}))
    assert half.score == pytest.approx(25)
    assert feed_score(**(FAIR | {"days_stale": 3.5})).score == pytest.approx(50)
    assert feed_score(**(FAIR | {"median_abs_z": 3})).score == pytest.approx(50)
    assert feed_score(**(FAIR | {"median_abs_z": float("nan")})).score == 100
    assert feed_score(**(FAIR | {"revised_share": 0.05})).score == pytest.approx(50)
    assert feed_score(**(FAIR | {"discovery_share": 0.25})).score == pytest.approx(50)
    assert feed_score(**(FAIR | {"expected": 0})).score == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [({"revised_share": 2}, "revised_share 2"), ({"bars": -1}, "bars -1"), ({"sources_in_group": 0}, "group 0")],
)
def test_an_impossible_share_is_refused(change: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        feed_score(**(FAIR | change))


def test_quarantine_needs_seven_clean_days_to_end() -> None:
    fine, none = np.full(30, 90.0), np.zeros(30)
    low = fine.copy()
    low[5] = 59.9
    assert list(np.flatnonzero(quarantined(low, none))) == list(range(5, 12))
    low[10] = 59.9
    assert list(np.flatnonzero(quarantined(low, none))) == list(range(5, 17))
    rejects = none.copy()
    rejects[[3, 4]] = 1
    assert not quarantined(fine, rejects).any()
    rejects[5] = 1
    assert list(np.flatnonzero(quarantined(fine, rejects))) == list(range(5, 12))
    rejects[9] = 1
    assert list(np.flatnonzero(quarantined(fine, rejects))) == list(range(5, 16)), "one reject starts the count again"


@given(st.lists(st.sampled_from([50.0, 90.0]), min_size=2, max_size=30), st.integers(min_value=1, max_value=29))
def test_quarantine_looks_at_nothing_later(scores: list[float], day: int) -> None:
    whole = quarantined(np.array(scores), np.zeros(len(scores)))
    part = quarantined(np.array(scores[:day]), np.zeros(len(scores[:day])))
    np.testing.assert_array_equal(part, whole[:day])


@pytest.mark.parametrize(
    ("state", "may_loosen", "factor", "words"),
    [
        ({"venues": 3, "status": "agreed"}, True, 1.0, ""),
        ({"venues": 2, "status": "agreed"}, True, 2.0, "fewer than 3"),
        ({"venues": 2, "status": "disputed"}, False, 2.0, "dispute"),
        ({"venues": 1, "status": "single source"}, False, 2.0, "tightening only"),
        ({"venues": 1, "status": "single source", "is_demo": True}, True, 2.0, "fewer than 3"),
        ({"venues": 1, "status": "single source", "is_reference": True}, True, 1.0, "fewer than 3"),
        ({"venues": 0, "status": "no source", "is_demo": True}, False, 2.0, "no source"),
        ({"venues": 3, "status": "agreed", "quarantined_sources": ("b",)}, False, 1.0, "in quarantine: b"),
        (
            {"venues": 4, "status": "agreed", "quarantined_sources": ("b",), "clean_venues": 3},
            True,
            1.0,
            "3 venues stand without",
        ),
    ],
)
def test_degraded_modes(state: dict[str, object], may_loosen: bool, factor: float, words: str) -> None:
    found = feed_state(**state)  # type: ignore[arg-type]
    assert (found.may_loosen, found.lambda_delta_factor) == (may_loosen, factor)
    assert words in " ".join(found.reasons)
    assert bool(found.reasons) == bool(words)


def test_a_thin_venue_weighs_at_most_forty_per_cent() -> None:
    np.testing.assert_allclose(capped_weights(np.array([8.0, 1.0, 1.0])), [0.4, 0.3, 0.3])
    np.testing.assert_allclose(capped_weights(np.array([1.0, 1.0, 1.0, 1.0])), 0.25)
    np.testing.assert_allclose(capped_weights(np.array([9.0, 1.0])), [0.9, 0.1])
    with pytest.raises(ValueError, match="liquidity"):
        capped_weights(np.array([0.0, 0.0]))


@given(st.lists(st.floats(min_value=0.01, max_value=1e9), min_size=3, max_size=8))
def test_weights_sum_to_one_below_the_cap(liquidity: list[float]) -> None:
    weights = capped_weights(np.array(liquidity))
    assert weights.sum() == pytest.approx(1)
    assert weights.max() <= 0.4 + 1e-9


def test_the_effective_deviation() -> None:
    found = effective_deviation(0.005, 0.001, 0.04, 1350)
    assert found.staleness == pytest.approx(0.005)  # sigma sqrt(delta²/sigma²) is delta: 22.5 minutes at 4 % a day
    assert found.total == pytest.approx(0.011)
    with pytest.raises(ValueError, match="sigma_daily -1"):
        effective_deviation(0.005, 0.001, -1, 1350)


def test_dispersion_is_the_quantile_of_the_furthest_source() -> None:
    far = np.linspace(0, 0.1, 101)
    x = np.column_stack([np.zeros(101), np.zeros(101), far])
    assert dispersion_q95(x) == pytest.approx(0.095)
    x[:, 1:] = np.nan
    assert np.isnan(dispersion_q95(x))
