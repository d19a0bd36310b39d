"""Venue rules: published formulas to the digit, and parameters that keep each venue's couplings."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from plimsoll import liquidation, tiers
from plimsoll import venue_rules as rules

# Costs in tenths of basis points: smaller ones vanish in the tolerance of the grid.
small = st.integers(0, 5000).map(lambda tenths: tenths / 1e5)
moves = st.floats(0.001, 0.6)


# Bonus ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bonus", "ltv"), [(0.05, 0.95238), (0.075, 0.93023), (0.10, 0.90909), (0.01, 0.99010)])
def test_ltv_below_which_a_liquidation_improves(bonus: float, ltv: float) -> None:
    assert float(rules.improving_ltv(bonus)) == pytest.approx(ltv, abs=5e-6)


@given(st.floats(0.01, 0.2), st.floats(0.5, 1.2))
def test_a_liquidation_improves_below_the_bound_and_only_there(bonus: float, debt: float) -> None:
    assume(abs(debt * (1 + bonus) - 1) > 1e-6)
    repaid = 0.01
    after = (debt - repaid) / (1 - repaid * (1 + bonus))
    assert (after < debt) == (debt < float(rules.improving_ltv(bonus)))


def test_participation_bonus_is_rounded_up() -> None:
    knobs = {"slippage": 0.01, "fee": 0.001, "grid_bps": 25}
    assert int(rules.participation_bonus_bps(protocol_share=0.0, **knobs)) == 125
    assert int(rules.participation_bonus_bps(protocol_share=0.1, **knobs)) == 125
    assert int(rules.participation_bonus_bps(protocol_share=0.1, **(knobs | {"grid_bps": 1}))) == 124


@given(moves, small, small, small, st.sampled_from([1, 5, 25]), st.sampled_from(["long", "short"]))
def test_bonus_between_its_bounds(
    move: float, slippage: float, fee: float, deviation: float, grid: int, side: str
) -> None:
    knobs = {"slippage": slippage, "fee": fee, "protocol_share": 0.1, "oracle_deviation": deviation, "side": side}
    least = int(rules.participation_bonus_bps(grid_bps=grid, **knobs))
    carried = liquidation.threshold_cap(move=move, oracle_deviation=deviation, bonus=least / 1e4, side=side)
    lt_bps = int(float(carried) * 1e4 - 1e-6)
    assert not rules.bonus_violations(bonus_bps=least, lt_bps=lt_bps, move=move, **knobs)
    assert rules.bonus_violations(bonus_bps=least, lt_bps=lt_bps + 2, move=move, **knobs)
    raw = float(
        liquidation.minimum_bonus(slippage=slippage, fee=fee, protocol_share=0.1, oracle_deviation=deviation, side=side)
    )
    if raw * 1e4 > least - grid + 1e-4 and least >= grid:
        tight = rules.bonus_violations(bonus_bps=least - grid, lt_bps=lt_bps, move=move, **knobs)
        assert any("breaks even" in one for one in tight)
    most = int(
        rules.maximum_bonus_bps(lt=lt_bps / 1e4, move=move, grid_bps=grid, oracle_deviation=deviation, side=side)
    )
    assert most % grid == 0
    toxic = {"lt": lt_bps / 1e4, "move": move, "oracle_deviation": deviation, "side": side}
    assert float(rules.toxicity(bonus=most / 1e4, **toxic)) < 1
    assert float(rules.toxicity(bonus=(most + grid) / 1e4, **toxic)) >= 1 - 1e-9


def test_toxicity_by_hand() -> None:
    """LT e^X (1 + b): 83 % with 5 % after a fall by e^-0.15."""
    assert float(rules.toxicity(lt=0.83, bonus=0.05, move=0.15)) == pytest.approx(0.83 * 1.05 * np.exp(0.15))
    found = rules.bonus_violations(bonus_bps=500, lt_bps=8300, move=0.15, slippage=0.01, fee=0.001, protocol_share=0.1)
    assert len(found) == 1
    assert "is toxic" in found[0]
    assert int(rules.maximum_bonus_bps(lt=0.8, move=0.0, grid_bps=25)) == 2475, "a claim of exactly 1 is toxic"


# Morpho ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lltv", "factor"),
    [
        (0.385, 1.15),
        (0.625, 1.12676056),
        (0.77, 1.07411386),
        (0.86, 1.04384134),
        (0.915, 1.02616727),
        (0.945, 1.01677682),
        (0.965, 1.01061142),
        (0.98, 1.00603622),
    ],
)
def test_morpho_incentive(lltv: float, factor: float) -> None:
    assert float(rules.morpho_incentive(lltv)) == pytest.approx(factor, abs=5e-9)
    assert float(rules.morpho_bad_debt_ltv(lltv)) == pytest.approx(1 / factor, abs=5e-9)
    assert round(lltv * 1e4) in rules.MORPHO_LLTV_BPS


@given(st.floats(0.0, 1.2), small, small, small)
def test_morpho_threshold_is_the_largest_that_holds(move: float, deviation: float, slippage: float, fee: float) -> None:
    knobs = {"oracle_deviation": deviation, "slippage": slippage, "fee": fee}
    chosen = rules.morpho_lltv_bps(move=move, **knobs)

    def holds(bps: int) -> bool:
        factor = min(1.15, 1 / (0.3 * bps / 1e4 + 0.7))
        covers = bps / 1e4 * factor <= (1 - deviation) * np.exp(-move)
        return bool(covers and factor * (1 - deviation) * (1 - slippage) * (1 - fee) >= 1 - 1e-12)

    assert chosen in (0, *rules.MORPHO_LLTV_BPS)
    assert chosen == max((bps for bps in rules.MORPHO_LLTV_BPS if holds(bps)), default=0)
    assert rules.morpho_lltv_bps(move=move + 0.05, **knobs) <= chosen


def test_morpho_knows_when_nothing_holds() -> None:
    assert rules.morpho_lltv_bps(move=1.0, oracle_deviation=0.0, slippage=0.0, fee=0.0) == 0
    assert rules.morpho_lltv_bps(move=0.0, oracle_deviation=0.0, slippage=0.2, fee=0.0) == 0
    # At 2.5 % costs the bonus of 91.5 % still pays, that of 94.5 % does not.
    assert rules.morpho_lltv_bps(move=0.0, oracle_deviation=0.0, slippage=0.025, fee=0.0) == 9150


# Aave -----------------------------------------------------------------------------------------------------------------


def test_aave_v3_close_factor() -> None:
    factor = rules.aave_v3_close_factor(
        health=[0.94, 0.95, 0.951, 0.99, 0.99],
        debt_usd=[800e3, 8e3, 8e3, 1999, 8e3],
        collateral_usd=[940e3, 9e3, 9e3, 9e3, 1999],
    )
    np.testing.assert_array_equal(factor, [1.0, 1.0, 0.5, 1.0, 1.0])
    repayable = rules.aave_v3_repayable(
        health=0.97, debt_usd=[8e3, 8e3], collateral_usd=9e3, total_debt_usd=[8e3, 40e3]
    )
    np.testing.assert_array_equal(repayable, [4e3, 8e3])
    dust = rules.aave_v3_leaves_dust(debt_left_usd=[0, 999, 1000, 5e3], collateral_left_usd=[500, 5e3, 1000, 999])
    np.testing.assert_array_equal(dust, [False, True, False, True])


def test_aave_v4_repays_to_the_target() -> None:
    done = rules.aave_v4_repayment(
        debt_usd=800, collateral_usd=1000, collateral_factor=0.78, bonus=0.05, target_health=1.05
    )
    assert pytest.approx(0.975) == 0.78 * 1000 / 800
    assert done.repaid_usd == pytest.approx(259.74025974, abs=5e-9)
    assert done.seized_usd == pytest.approx(272.72727273, abs=5e-9)
    assert done.health_after == pytest.approx(1.05, abs=1e-12)
    assert not done.is_full


@given(st.floats(0.5, 0.95), st.floats(0.0, 0.15), st.floats(1.0, 1.5), st.floats(0.5, 0.999))
def test_aave_v4_never_takes_more_than_there_is(cf: float, bonus: float, target: float, health: float) -> None:
    debt = cf * 1000 / health
    done = rules.aave_v4_repayment(
        debt_usd=debt, collateral_usd=1000, collateral_factor=cf, bonus=bonus, target_health=target
    )
    assert 0 < done.repaid_usd <= debt
    assert done.seized_usd <= 1000
    if not done.is_full and done.seized_usd < 1000 * (1 - 1e-9):
        assert done.health_after == pytest.approx(target, rel=1e-9)
    if done.is_full:
        assert np.isinf(done.health_after)


def test_aave_v4_stops_where_the_collateral_is_gone() -> None:
    done = rules.aave_v4_repayment(
        debt_usd=1000, collateral_usd=1000, collateral_factor=0.9, bonus=0.15, target_health=1.05
    )
    assert done.repaid_usd == pytest.approx(1000 / 1.15)
    assert done.seized_usd == pytest.approx(1000)
    assert done.health_after == pytest.approx(0.0, abs=1e-9)
    assert not done.is_full


def test_aave_v4_bonus_grows_with_depth() -> None:
    knobs = {"maximum_bonus": 0.10, "minimum_factor": 0.5, "health_at_maximum": 0.8}
    found = rules.aave_v4_bonus([1.0, 1 - 1e-12, 0.9, 0.8, 0.5], **knobs)
    np.testing.assert_allclose(found, [np.nan, 0.05, 0.075, 0.10, 0.10], atol=1e-9)
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        rules.aave_v4_bonus(0.9, maximum_bonus=0.1, minimum_factor=0.5, health_at_maximum=1.0)
    cap = rules.aave_v4_threshold_cap(move=-np.log(0.9), oracle_deviation=0.0, **knobs)
    assert cap == pytest.approx(0.9 / 1.075)
    with pytest.raises(ValueError, match="is no adverse move"):
        rules.aave_v4_threshold_cap(move=0.0, oracle_deviation=0.0, **knobs)


def test_aave_v4_refuses_what_may_not_be_liquidated() -> None:
    with pytest.raises(ValueError, match="may not be liquidated"):
        rules.aave_v4_repayment(debt_usd=1, collateral_usd=9, collateral_factor=0.8, bonus=0.05, target_health=1.05)
    with pytest.raises(ValueError, match="lies below 1"):
        rules.aave_v4_repayment(debt_usd=8, collateral_usd=9, collateral_factor=0.8, bonus=0.05, target_health=0.99)


# Compound v3 ----------------------------------------------------------------------------------------------------------

COSTS = {"oracle_deviation": 0.005, "slippage": 0.01, "fee": 0.001}


def test_compound_discount_and_bonus() -> None:
    assert float(rules.compound_discount(0.93, 0.6)) == pytest.approx(0.042)
    assert float(rules.compound_bonus(0.93, 0.6)) == pytest.approx(1 / 0.958 - 1)
    assert float(rules.compound_resale_move(liquidation_factor=0.93, store_front_factor=0.6)) == pytest.approx(
        np.log(0.958 / 0.93)
    )
    assert float(rules.compound_resale_move(liquidation_factor=0.9, store_front_factor=1.0)) == pytest.approx(0.0)


@given(moves, st.floats(0.0, 0.05), small, small, small, st.floats(0.3, 0.95), st.sampled_from([1, 50, 100]))
def test_compound_factors_hold_together(
    move: float, resale: float, deviation: float, slippage: float, fee: float, pi: float, grid: int
) -> None:
    costs = {"oracle_deviation": deviation, "slippage": slippage, "fee": fee}
    knobs = {"buffer_log": 0.05, "cap_bps": 9500, "grid_bps": grid, "store_front_factor": pi}
    found = rules.compound_parameters(move=move, resale_move=resale, **costs, **knobs)
    broken = rules.compound_violations(found, move=move, resale_move=resale, store_front_factor=pi, **costs)
    assert not broken or found.liquidate_cf_bps == 0
    # No larger factor on the grid would hold: rounding loses less than one step.
    richer = rules.CompoundParameters(0, 0, found.liquidation_factor_bps + grid)
    assert rules.compound_violations(richer, move=move, resale_move=resale, store_front_factor=pi, **costs)[1:] or (
        found.liquidation_factor_bps + grid > 10_000
    )
    worse = rules.compound_parameters(move=move + 0.05, resale_move=resale, **costs, **knobs)
    assert worse.liquidate_cf_bps <= found.liquidate_cf_bps


def test_a_larger_penalty_pushes_the_threshold_down() -> None:
    knobs = {"move": 0.1, "buffer_log": 0.05, "cap_bps": 9500, "grid_bps": 50, "store_front_factor": 0.6}
    calm = rules.compound_parameters(resale_move=0.0, **COSTS, **knobs)
    slow = rules.compound_parameters(resale_move=0.05, **COSTS, **knobs)
    assert slow.liquidation_factor_bps < calm.liquidation_factor_bps
    assert slow.liquidate_cf_bps < calm.liquidate_cf_bps
    assert calm.liquidate_cf_bps <= 0.995 * np.exp(-0.1) * calm.liquidation_factor_bps


def test_compound_violations_are_sentences() -> None:
    found = rules.compound_violations(
        rules.CompoundParameters(9000, 9000, 9900), move=0.1, resale_move=0.05, store_front_factor=0.6, **COSTS
    )
    assert [one.split(" ")[0] for one in found] == ["borrow", "liquidate", "the", "the"]
    with pytest.raises(ValueError, match="do not list the asset"):
        rules.compound_parameters(
            move=0.1, resale_move=0.05, buffer_log=0.0, store_front_factor=1.0, cap_bps=9000, grid_bps=50, **COSTS
        )
    with pytest.raises(ValueError, match="store front factor 0 must lie above 0"):
        rules.compound_parameters(
            move=0.1, resale_move=0.05, buffer_log=0.0, store_front_factor=0, cap_bps=9000, grid_bps=50, **COSTS
        )


# Perpetuals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("floors", "leverages", "amounts"),
    [
        ((0, 150e6), (40, 20), (0, 1_875_000)),
        ((0, 100e6), (25, 15), (0, 1_333_333.33)),
        ((0, 20e3, 100e3), (10, 5, 3), (0, 1000, 7666.67)),
    ],
)
def test_hyperliquid_tables(floors: tuple[float, ...], leverages: tuple[int, ...], amounts: tuple[float, ...]) -> None:
    table = rules.hyperliquid_tiers(floors, leverages)
    np.testing.assert_allclose(table.amounts_usd, amounts, atol=0.005)
    np.testing.assert_allclose(np.asarray(table.initial_rates), 2 * np.asarray(table.rates))
    assert not table.violations()


@given(st.floats(0.002, 0.5), st.floats(0.002, 1.0))
def test_hyperliquid_leverage_carries_both_margins(maintenance: float, initial: float) -> None:
    leverage = int(rules.hyperliquid_leverage(maintenance=maintenance, initial=initial))
    assert 1 / (2 * leverage) >= maintenance * (1 - 1e-9)
    assert 1 / leverage >= initial * (1 - 1e-9)
    assert 1 / (2 * (leverage + 1)) < maintenance or 1 / (leverage + 1) < initial


def test_hyperliquid_table_covers_the_table_it_came_from() -> None:
    own = tiers.tier_table([0, 1e6, 1e7, 1e8], lambda n: 0.03 + 0.2 * np.sqrt(n / 1e9), rate_grid_bps=5)
    full = tiers.with_initial_margins(own, buffer_log=0.05, side="long", grid_bps=5)
    theirs = rules.hyperliquid_from(full)
    sizes = np.geomspace(1, 1e8, 2000)
    assert np.all(theirs.billed(sizes) >= own.billed(sizes) * (1 - 1e-9))
    assert np.all(theirs.initial_rate(sizes) >= full.initial_rate(sizes) - 1e-12)
    with pytest.raises(ValueError, match="has no initial margins"):
        rules.hyperliquid_from(own)
    deep = tiers.with_initial_margins(
        tiers.from_rates([0, 1e6], [0.1, 0.6], largest_usd=2e6), buffer_log=0.0, side="long", grid_bps=5
    )
    with pytest.raises(ValueError, match="from 1000000 USD on no whole leverage asks enough"):
        rules.hyperliquid_from(deep)


@given(st.floats(0.005, 0.4), st.floats(0.02, 0.5), st.sampled_from([5, 25]), st.sampled_from([1, 100]))
def test_dydx_fraction_reaches_the_maintenance_margin(
    maintenance: float, room: float, grid: int, fraction_grid: int
) -> None:
    initial = maintenance + room
    found = rules.dydx_parameters(
        maintenance=maintenance, initial=initial, grid_bps=grid, fraction_grid_bps=fraction_grid
    )
    assert float(rules.dydx_maintenance(found.initial_bps / 1e4, found.maintenance_fraction_bps / 1e4)) >= (
        maintenance - 1e-9
    )
    assert found.initial_bps >= initial * 1e4 - 1e-5
    assert found.maintenance_fraction_bps < 10_000


def test_dydx_by_hand() -> None:
    assert float(rules.dydx_maintenance(0.05, 0.6)) == pytest.approx(0.03)
    assert rules.dydx_parameters(maintenance=0.03, initial=0.05, grid_bps=5, fraction_grid_bps=100) == (
        rules.DydxParameters(500, 6000)
    )
    with pytest.raises(ValueError, match="raise the users' room"):
        rules.dydx_parameters(maintenance=0.05, initial=0.05, grid_bps=5, fraction_grid_bps=100)


def test_binance_tiers() -> None:
    table = rules.binance_tiers((0, 50e3, 250e3), (0.004, 0.005, 0.01), (125, 100, 50))
    np.testing.assert_allclose(table.amounts_usd, (0, 50, 1300))
    assert not table.violations()


# Portfolio margins ----------------------------------------------------------------------------------------------------


def test_volatility_shock() -> None:
    assert float(rules.volatility_shock(0.38, 15)) == pytest.approx(0.4678, abs=5e-5)
    assert float(rules.volatility_shock(0.40, 15, power=0.5)) == pytest.approx(0.5657, abs=5e-5)
    assert float(rules.volatility_shock(0.38, 30)) == 0.38
    with pytest.raises(ValueError, match="days to expiry"):
        rules.volatility_shock(0.38, 0)


def test_price_moves() -> None:
    np.testing.assert_allclose(rules.price_moves(), np.arange(-16, 17, 4) / 100)
    with pytest.raises(ValueError, match="odd number"):
        rules.price_moves(buckets=8)


def test_portfolio_margin_is_the_worst_scenario() -> None:
    knobs = {"moves": rules.price_moves(), "volatility_up": 0.4678, "volatility_down": 0.2}
    assert rules.portfolio_margin(lambda move, _: 100 * move, **knobs) == pytest.approx(16)
    assert rules.portfolio_margin(lambda move, _: -100 * move, **knobs) == pytest.approx(16)
    assert rules.portfolio_margin(lambda _, shock: -10 * shock, **knobs) == pytest.approx(4.678)
    assert rules.portfolio_margin(lambda _, shock: 10 * shock, **knobs) == pytest.approx(2.0)
    assert rules.portfolio_margin(lambda move, _: move**2, **knobs) == 0.0
    with pytest.raises(ValueError, match="no value in some scenario"):
        rules.portfolio_margin(lambda move, _: np.nan if move > 0.1 else 0.0, **knobs)


@given(st.floats(0.001, 1.0), st.floats(0.001, 1.0), st.sampled_from([25, 100]))
def test_price_range_covers_both_sides(long: float, short: float, grid: int) -> None:
    found = rules.price_range_bps(total_long=long, total_short=short, grid_bps=grid)
    assert found % grid == 0
    assert found >= max(1 - np.exp(-long), np.exp(short) - 1) * 1e4 - 1e-5
