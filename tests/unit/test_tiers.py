"""Tiers: published tables to the digit, and no size billed less than the budget asks."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll import liquidation, tiers
from plimsoll.concentration import OpenInterestRule, cluster_notional, concentrated_margin, open_interest_margin

M = 1_000_000.0
BINANCE_FLOORS = (0, 50e3, 250e3, 1 * M, 10 * M, 20 * M, 50 * M, 100 * M, 200 * M, 300 * M)
BINANCE_RATES = (0.004, 0.005, 0.01, 0.025, 0.05, 0.10, 0.125, 0.15, 0.25, 0.50)
BINANCE_AMOUNTS = (0, 50, 1300, 16300, 266300, 1266300, 2516300, 5016300, 25016300, 100016300)


def budget(
    *, adv: float = 2e8, sigma: float = 0.04, k: float = 4.0, hours: float = 0.25, side: str = "long"
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the loss budget by size, built as the pipeline builds it; not absorbable from a slippage of one half."""

    def total(sizes: np.ndarray) -> np.ndarray:
        horizon = liquidation.horizon_hours(
            base_hours=hours, notional_usd=sizes, adv_usd=adv, participation=0.05, floor_hours=1 / 12
        )
        slippage = liquidation.square_root_impact(sigma_daily=sigma, notional_usd=sizes, adv_usd=adv, coefficient=1.0)
        slippage = np.where(slippage < 0.5, slippage, np.nan)
        move = liquidation.adverse_move(k=k, sigma_eff=sigma, horizon_hours=horizon, eta=0.30)
        return liquidation.loss_budget(
            move=move, oracle_deviation=0.0025, slippage=slippage, fee=0.0005, side=side
        ).total

    return total


def margin(side: str = "long", **knobs: float) -> Callable[[np.ndarray], np.ndarray]:
    total = budget(side=side, **knobs)
    return lambda sizes: liquidation.maintenance_margin(total(sizes), side)


# Published tables -----------------------------------------------------------------------------------------------------


def test_binance_table_of_march_2021() -> None:
    table = tiers.from_rates(BINANCE_FLOORS, BINANCE_RATES)
    np.testing.assert_allclose(table.amounts_usd, BINANCE_AMOUNTS, atol=1e-6)
    np.testing.assert_allclose(table.billed([5 * M, 75 * M]), [108_700, 6_858_700], atol=1e-6)


@pytest.mark.parametrize(
    ("floors", "rates", "amounts"),
    [
        ((0, 150 * M), (0.0125, 0.025), (0, 1_875_000)),
        ((0, 100 * M), (1 / 50, 1 / 30), (0, 1_333_333.33)),
        ((0, 20e3, 100e3), (1 / 20, 1 / 10, 1 / 6), (0, 1000, 7666.67)),
    ],
    ids=["BTC", "ETH", "testnet DOGE"],
)
def test_hyperliquid_tables(floors: tuple[float, ...], rates: tuple[float, ...], amounts: tuple[float, ...]) -> None:
    table = tiers.from_rates(floors, rates)
    np.testing.assert_allclose(table.amounts_usd, amounts, atol=0.005)


def test_hyperliquid_bitcoin_margin_of_200_million() -> None:
    assert float(tiers.from_rates((0, 150 * M), (0.0125, 0.025)).billed(200 * M)) == pytest.approx(3_125_000, abs=1e-6)


def oracle_tables() -> list[tuple[str, tiers.TierTable]]:
    """Tables of a venue, if a folder of oracle data is named."""
    folder = os.environ.get("PLIMSOLL_ORACLES")
    path = Path(folder or ".") / "binance_leverage_tiers.parquet"
    if folder is None or not path.is_file():
        return []
    found = []
    for symbol, rows in pd.read_parquet(path).groupby("symbol"):
        rows = rows.sort_values("tier")
        columns = (tuple(rows[name]) for name in ("min_notional", "maintenance_margin_rate", "cum"))
        found.append((str(symbol), tiers.TierTable(*columns, largest_usd=float(rows["max_notional"].iloc[-1]))))
    return found


def test_a_published_table_reproduces_and_a_forged_one_does_not() -> None:
    published = tiers.TierTable(BINANCE_FLOORS, BINANCE_RATES, BINANCE_AMOUNTS)
    assert tiers.reproduces(published)
    forged = tiers.TierTable(BINANCE_FLOORS, BINANCE_RATES, (*BINANCE_AMOUNTS[:-1], BINANCE_AMOUNTS[-1] + 1))
    assert not tiers.reproduces(forged)
    assert tiers.amount_deviation(forged) == pytest.approx(1.0)
    assert any("tier 10: maintenance amount" in one for one in forged.violations())


# The function of size -------------------------------------------------------------------------------------------------


def test_margin_is_continuous_and_a_bound_belongs_to_the_tier_above() -> None:
    table = tiers.from_rates(BINANCE_FLOORS, BINANCE_RATES, largest_usd=500 * M)
    bounds = np.asarray(BINANCE_FLOORS[1:])
    np.testing.assert_allclose(table.billed(bounds * (1 - 1e-12)), table.billed(bounds), rtol=1e-9)
    np.testing.assert_array_equal(table.rate(bounds), BINANCE_RATES[1:])
    np.testing.assert_array_equal(table.tier([0, 49_999, 50_000, 500 * M, 500 * M + 1, -1]), [0, 0, 1, 9, -1, -1])
    sizes = np.geomspace(1, 500 * M, 2000)
    assert np.all(np.diff(table.billed(sizes)) > 0)
    assert np.all(np.diff(table.average(sizes)) > -1e-15)
    assert float(table.average(0.0)) == BINANCE_RATES[0]


def test_what_is_not_admitted_is_not_billed() -> None:
    table = tiers.from_rates((0, 1e6), (0.01, 0.02), largest_usd=2e6)
    assert np.isnan(table.billed(2e6 + 1))
    assert np.isnan(table.rate(-1.0))
    assert np.isnan(table.billed(np.nan))
    assert float(table.billed(2e6)) == pytest.approx(30_000)


def test_chords_of_a_required_rate() -> None:
    """r_n = (N_{n+1} m(N_{n+1}) - N_n m(N_n)) / (N_{n+1} - N_n), by hand for m(N) = 1 % + 1 % N / 1m."""
    bounds = [0.0, 1e6, 2e6, 5e6]
    table = tiers.tier_table(bounds, lambda sizes: 0.01 + 0.01 * sizes / 1e6)
    np.testing.assert_allclose(table.rates, [0.02, (2 * 0.03 - 0.02), (5 * 0.06 - 2 * 0.03) / 3], rtol=1e-12)
    np.testing.assert_allclose(table.billed(bounds[1:]), [20_000, 60_000, 300_000], rtol=1e-12)
    assert table.largest_usd == 5e6


def test_known_only_at_its_bounds() -> None:
    table = tiers.tier_table([0.0, 1e6, 2e6, 5e6], [0.02, 0.03, 0.06])
    np.testing.assert_allclose(table.rates, [0.02, 0.04, 0.08], rtol=1e-12)
    assert "the 3 sizes given" in table.note
    wary = tiers.tier_table([0.0, 1e6, 2e6, 5e6], [0.02, 0.03, 0.06], between="increasing")
    # Just above a bound the rate may already be that of the next one.
    assert float(wary.billed(1e6)) >= 30_000 * (1 - 1e-9)
    assert float(wary.billed(2e6)) >= 120_000 * (1 - 1e-9)


shapes = st.one_of(
    # A power of size: convex margins for every exponent above 0.
    st.tuples(st.just("power"), st.floats(0.1, 2.0), st.floats(0.001, 0.2)),
    # Saturating: N m(N) is concave beyond the knee.
    st.tuples(st.just("saturating"), st.floats(0.01, 30.0), st.floats(0.01, 0.5)),
    # A jump anywhere: a book level that is used up.
    st.tuples(st.just("jump"), st.floats(0.0005, 24.9), st.floats(0.01, 0.5)),
    # Arctangent: convex, then concave, around any size.
    st.tuples(st.just("bend"), st.floats(0.05, 20.0), st.floats(0.01, 0.5)),
)


def shaped(kind: str, at: float, height: float) -> Callable[[np.ndarray], np.ndarray]:
    def m(sizes: np.ndarray) -> np.ndarray:
        x = np.asarray(sizes) / 1e6
        if kind == "power":
            return 0.005 + height * (x / 25) ** at
        if kind == "saturating":
            return 0.005 + height * np.minimum(x / at, 1.0)
        if kind == "jump":
            return 0.005 + height * (x > at)
        return 0.005 + height * (np.arctan(8 * (x / at - 1)) / np.pi + 0.5)

    return m


@given(
    shapes,
    st.sampled_from([[1.0], [0.1, 1, 25], [0.5, 1, 2, 5, 10, 20, 25], [3, 25]]),
    st.sampled_from([None, 5, 25]),
    st.sampled_from(["convex", "increasing"]),
)
@settings(deadline=None, max_examples=60)
def test_every_size_is_billed_what_it_requires(
    shape: tuple[str, float, float], ends: list[float], grid: int | None, between: str
) -> None:
    m = shaped(*shape)
    bounds = np.concatenate([[0.0], np.asarray(ends) * 1e6])
    table = tiers.tier_table(bounds, m, rate_grid_bps=grid, between=between)
    off = np.concatenate([np.geomspace(1.0, bounds[-1], 5003), np.linspace(0, bounds[-1], 4999)])
    if shape[0] == "jump":
        off = np.append(off, np.minimum(shape[1] * 1e6 * (1 + np.geomspace(1e-12, 1e-2, 40)), bounds[-1]))
    assert np.all(table.billed(off) >= off * m(off) * (1 - 1e-8) - 1e-9)
    assert np.all(np.diff(table.rates) >= 0)
    assert not table.violations(off[off > 0], m(off[off > 0]) * (1 - 1e-8))
    if grid is not None:
        steps = np.asarray(table.rates) * 1e4 / grid
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)


@pytest.mark.parametrize("at", [4.9999, 4.99, 4.95])
def test_a_jump_just_below_the_largest_size_is_seen(at: float) -> None:
    m = shaped("jump", at, 0.01)
    table = tiers.tier_table([0.0, 1e6, 5e6], m)
    sizes = at * 1e6 * (1 + np.geomspace(1e-12, 1e-6, 20))
    assert np.all(table.billed(sizes) >= sizes * m(sizes) * (1 - 1e-6))


def test_chords_alone_would_bill_a_concave_shape_too_little() -> None:
    m = shaped("saturating", 0.5, 0.1)
    bounds = np.asarray([0.0, 1e5, 5e6])
    chords = tiers.from_rates(bounds[:-1], np.diff(bounds * m(bounds)) / np.diff(bounds), largest_usd=5e6)
    sizes = np.geomspace(1e4, 5e6, 500)
    assert np.any(chords.billed(sizes) < sizes * m(sizes) * (1 - 1e-6)), "the shape must need raising"
    raised = tiers.tier_table(bounds, m)
    assert np.all(raised.billed(sizes) >= sizes * m(sizes) * (1 - 1e-8))
    # By hand: the first rate stays at 2.5 %, the second passes through the knee, (52,500 - 2,500) / 400,000.
    np.testing.assert_allclose(raised.rates, [0.025, 0.125], rtol=0.01)


@given(st.floats(0.01, 0.09), st.floats(1e7, 1e9), st.floats(1.0, 8.0), st.sampled_from(["long", "short"]))
@settings(deadline=None, max_examples=40)
def test_rounding_never_bills_less(sigma: float, adv: float, k: float, side: str) -> None:
    m = margin(side, sigma=sigma, adv=adv, k=k)
    bounds = np.asarray([0, 1e4, 1e5, 1e6, 2e6])
    raw = tiers.tier_table(bounds, m, points_a_tier=24)
    rounded = tiers.tier_table(bounds, m, points_a_tier=24, rate_grid_bps=5)
    sizes = np.geomspace(10, 2e6, 777)
    assert np.all(rounded.billed(sizes) >= raw.billed(sizes) * (1 - 1e-9))
    assert np.all(np.asarray(rounded.rates) - np.asarray(raw.rates) < 5e-4)
    assert tiers.amount_deviation(rounded) == 0.0
    assert np.all(rounded.billed(sizes) >= sizes * m(sizes) * (1 - 1e-8))


knob = st.sampled_from(["sigma", "hours", "k"])


@given(knob, st.floats(1.0, 3.0), st.sampled_from(["long", "short"]))
@settings(deadline=None, max_examples=40)
def test_billing_grows_with_volatility_horizon_confidence_and_size(name: str, factor: float, side: str) -> None:
    base = {"sigma": 0.03, "hours": 0.25, "k": 3.0}
    bounds = np.asarray([0, 1e5, 1e6, 1e7])
    sizes = np.geomspace(1e3, 1e7, 300)
    low = tiers.tier_table(bounds, margin(side, **base), points_a_tier=16, rate_grid_bps=5)
    high = tiers.tier_table(
        bounds, margin(side, **base | {name: base[name] * factor}), points_a_tier=16, rate_grid_bps=5
    )
    assert np.all(high.billed(sizes) >= low.billed(sizes) * (1 - 1e-9))
    assert np.all(np.diff(low.average(sizes)) >= -1e-12)


def test_unit_of_account_does_not_matter() -> None:
    one = tiers.tier_table([0, 1e5, 1e6], margin())
    other = tiers.tier_table([0, 1e2, 1e3], lambda sizes: margin()(sizes * 1e3))
    np.testing.assert_allclose(one.rates, other.rates, rtol=1e-9)


@pytest.mark.parametrize(
    ("bounds", "required", "knobs", "says"),
    [
        ([1.0, 2.0], lambda n: n * 0 + 0.1, {}, "give 0 and then increasing sizes"),
        ([0.0, 2.0, 2.0], lambda n: n * 0 + 0.1, {}, "give 0 and then increasing sizes"),
        ([0.0, np.inf], lambda n: n * 0 + 0.1, {}, "the last bound is not finite"),
        ([0.0, 1e6], lambda n: 0.2 - n * 1e-7, {}, "the required rate falls from"),
        ([0.0, 1e6], lambda n: np.where(n > 5e5, np.nan, 0.1), {}, "no margin absorbs a size of"),
        ([0.0, 1e6], lambda n: 0.1, {}, "return one number for each"),
        ([0.0, 1e6], [0.1, 0.2], {}, "2 required rates for 1 sizes"),
        ([0.0, 1e6], [0.1, 0.2], {"sizes_usd": [1e5, 2e6]}, "no required rate is given at the bound 1000000"),
        ([0.0, 1e6], [0.1, 0.2], {"sizes_usd": [1e6, 1e5]}, "must increase and lie above 0"),
        ([0.0, 1e6], lambda n: n * 0 + 0.1, {"sizes_usd": [1e6]}, "a function is asked at points of its own"),
        ([0.0, 1e6], [0.1], {"between": "linear"}, "say 'convex' or 'increasing'"),
        ([0.0, 1e6], [0.0], {}, "tier 1: the rate 0.0 is not above 0"),
    ],
)
def test_what_cannot_be_billed_is_refused(bounds: list[float], required: object, knobs: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        tiers.tier_table(bounds, required, **knobs)


def test_faulty_tables_name_each_tier() -> None:
    with pytest.raises(ValueError, match=r"tier 2: the rate 1\.0000% lies below the 2\.0000%.*"):
        tiers.from_rates([0, 1e6], [0.02, 0.01])
    with pytest.raises(ValueError, match=r"the first tier starts at 5\.0, not at 0"):
        tiers.from_rates([5.0], [0.02])
    with pytest.raises(ValueError, match="tier 1 runs from 0 to 0 USD"):
        tiers.from_rates([0, 0], [0.02, 0.03])
    with pytest.raises(ValueError, match="2 floors but 1 leverages"):
        tiers.from_rates([0, 1e6], [0.02, 0.03], leverages=(10,))


def test_violations_speak_of_sizes() -> None:
    table = tiers.from_rates([0, 1e6], [0.02, 0.04], largest_usd=2e6)
    found = table.violations([1e6, 2e6, 3e6, 1.5e6], [0.02, 0.031, 0.01, np.nan])
    assert len(found) == 3
    assert found[0].startswith("size 2000000 USD: billed 60000.00 USD, the budget asks 62000.00")
    assert "beyond the largest admitted" in found[1]
    assert "no margin absorbs it" in found[2]


# Initial margins and choice of bounds ---------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["long", "short"])
def test_initial_margins_hold_for_every_position_of_their_tier(side: str) -> None:
    table = tiers.tier_table([0, 1e5, 1e6, 1e7], margin(side), rate_grid_bps=5)
    full = tiers.with_initial_margins(table, buffer_log=0.1, side=side, grid_bps=5, funding=0.001)
    assert not full.violations()
    sizes = np.geomspace(1, 1e7, 3000)
    needed = liquidation.initial_margin(maintenance=full.average(sizes), buffer_log=0.1, side=side) + 0.001
    assert np.all(full.initial_rate(sizes) >= needed - 1e-9)
    assert all(im > r for im, r in zip(full.initial_rates, full.rates, strict=True))
    assert all(leverage == int(1 / im) for leverage, im in zip(full.leverages, full.initial_rates, strict=True))
    assert list(full.leverages) == sorted(full.leverages, reverse=True)
    frame = full.frame()
    assert frame["ceiling_usd"].tolist() == [1e5, 1e6, 1e7]
    assert frame["max_leverage"].tolist() == list(full.leverages)


def test_initial_margin_lies_above_the_marginal_rate_too() -> None:
    """Without room for users the average is far below the marginal rate of a steep tier."""
    steep = tiers.from_rates([0, 1e6], [0.01, 0.20], largest_usd=1.1e6)
    full = tiers.with_initial_margins(steep, buffer_log=0.0, side="long", grid_bps=5)
    assert full.initial_rates == (0.0105, 0.2005)
    assert full.leverages == (95, 4)
    assert not full.violations()


def test_the_last_tier_without_end_is_judged_by_its_rate() -> None:
    full = tiers.with_initial_margins(
        tiers.from_rates([0, 1e6], [0.01, 0.02]), buffer_log=0.05, side="long", grid_bps=5
    )
    due = float(liquidation.initial_margin(maintenance=0.02, buffer_log=0.05, side="long"))
    assert due <= full.initial_rates[1] < due + 5e-4
    with pytest.raises(ValueError, match="has no initial margins"):
        tiers.from_rates([0], [0.01]).initial_rate(1.0)


def test_grid_of_sizes() -> None:
    np.testing.assert_allclose(tiers.one_two_five(1e4, 1e6), [1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6])
    np.testing.assert_allclose(tiers.one_two_five(3e4, 4.9e5), [5e4, 1e5, 2e5])
    assert tiers.one_two_five(1e6, 9e5).size == 0


@pytest.mark.parametrize("side", ["long", "short"])
def test_bounds_are_chosen_up_to_what_can_be_absorbed(side: str) -> None:
    total = budget(side=side, adv=1e7)
    table = tiers.size_tiers(total, side=side, smallest_usd=1e4, largest_usd=1e12, rate_grid_bps=5, points_a_tier=24)
    largest = table.largest_usd
    assert np.isfinite(total(np.asarray([largest]))[0])
    bigger = tiers.one_two_five(largest * 1.5, largest * 3)[0]
    beyond = float(total(np.asarray([bigger]))[0])
    assert np.isnan(beyond) or beyond > np.log(10)
    assert np.all(np.diff(table.rates) > 0), "bounds without a change of rate are dropped"
    sizes = np.geomspace(1, largest, 4001)
    required = liquidation.maintenance_margin(total(sizes), side)
    assert np.all(table.billed(sizes) >= sizes * required * (1 - 1e-8))


def test_a_market_that_absorbs_nothing_has_no_table() -> None:
    with pytest.raises(ValueError, match="not even 10000 USD can be absorbed"):
        tiers.size_tiers(
            lambda sizes: np.full(sizes.shape, np.nan), side="long", smallest_usd=1e4, largest_usd=1e9, rate_grid_bps=5
        )


def test_equal_rates_are_one_tier() -> None:
    flat = tiers.size_tiers(
        lambda n: 0.1 + 0.1 * (n > 1e6), side="long", smallest_usd=1e4, largest_usd=1e7, rate_grid_bps=5
    )
    assert 1 <= len(flat.floors_usd) < len(tiers.one_two_five(1e4, 1e7))
    assert len(set(flat.rates)) == len(flat.rates)


def test_merging_keeps_the_billing() -> None:
    table = tiers.from_rates([0, 1e4, 1e5, 1e6], [0.01, 0.01, 0.02, 0.02], largest_usd=5e6)
    one = tiers.merged(table)
    assert one.floors_usd == (0, 1e5)
    sizes = np.geomspace(1, 5e6, 100)
    np.testing.assert_allclose(one.billed(sizes), table.billed(sizes), rtol=1e-12)


# Open interest and concentration --------------------------------------------------------------------------------------


def test_open_interest_scales_the_initial_margin() -> None:
    interest = [0, 25 * M, 35 * M, 50 * M, 80 * M]
    scaled = open_interest_margin(base=0.05, open_interest_usd=interest, lower_usd=25 * M, upper_usd=50 * M)
    np.testing.assert_allclose(scaled, [0.05, 0.05, 0.43, 1.0, 1.0], atol=1e-12)
    rule = OpenInterestRule(base_bps=500, lower_usd=25 * M, upper_usd=50 * M, grid_bps=5)
    assert rule.margin_bps([25 * M, 35 * M, 50 * M]).tolist() == [500, 4300, 10_000]
    assert OpenInterestRule(base_bps=500, lower_usd=0, upper_usd=0).margin_bps(1e12) == 500
    with pytest.raises(ValueError, match="the upper bound must lie above the lower"):
        open_interest_margin(base=0.05, open_interest_usd=1.0, lower_usd=2.0, upper_usd=2.0)
    with pytest.raises(ValueError, match="open interest is not known"):
        rule.margin_bps([np.nan])


@given(st.integers(1, 9999), st.floats(0, 1e8), st.floats(0, 1e8), st.sampled_from([1, 5, 25]))
def test_open_interest_never_loosens(base: int, one: float, other: float, grid: int) -> None:
    rule = OpenInterestRule(base_bps=base, lower_usd=25 * M, upper_usd=50 * M, grid_bps=grid)
    low, high = sorted((one, other))
    margins = rule.margin_bps([low, high])
    assert base <= margins[0] <= margins[1]
    raw = open_interest_margin(base=base / 1e4, open_interest_usd=high, lower_usd=25 * M, upper_usd=50 * M)
    assert margins[1] >= float(raw) * 1e4 - 1e-5


def test_open_interest_rule_violations() -> None:
    rule = OpenInterestRule(base_bps=500, lower_usd=5.0, upper_usd=2.0)
    found = rule.violations(maintenance_bps=500, initial_bps=600)
    assert [one.split(" ")[0] for one in found] == ["open", "base", "base"]
    assert not OpenInterestRule(500, 2.0, 5.0).violations(maintenance_bps=300, initial_bps=500)


def test_margin_at_the_three_largest_clusters() -> None:
    clusters = [1e5, 4e6, 2e5, 3e6, 2e6]
    assert cluster_notional(clusters) == 9e6
    assert cluster_notional(clusters, top=1) == 4e6
    total = budget()
    at = float(liquidation.maintenance_margin(total(np.asarray([9e6])), "long")[0])
    assert concentrated_margin(total, clusters, side="long") == at
    assert at > float(liquidation.maintenance_margin(total(np.asarray([np.mean(clusters)])), "long")[0])
    assert np.isnan(concentrated_margin(total, [1e13], side="long"))
    with pytest.raises(ValueError, match="at least one"):
        cluster_notional([])


ORACLES = oracle_tables()

if ORACLES:

    @pytest.mark.parametrize(("symbol", "table"), ORACLES)
    def test_published_tables_reproduce(symbol: str, table: tiers.TierTable) -> None:
        assert not table.violations(), symbol
        assert tiers.reproduces(table), f"{symbol}: off by {tiers.amount_deviation(table)} USD"
