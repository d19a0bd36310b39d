"""Caps: inversion of the budget, and the rules of practice beside it."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll import caps, liquidation

WHOLE = caps.ForcedSale(cluster_share=1.0, cotriggered_share=0.0)
RANGE = {"smallest_usd": 1e4, "largest_usd": 1e11}


def impact(sigma: float = 0.04, adv: float = 1e8, exhausted: float = 0.5) -> Callable[[np.ndarray], np.ndarray]:
    """Square-root slippage; unknown from where it would take half the price."""

    def slippage(sizes: np.ndarray) -> np.ndarray:
        s = liquidation.square_root_impact(sigma_daily=sigma, notional_usd=sizes, adv_usd=adv, coefficient=1.0)
        return np.where(s < exhausted, s, np.nan)

    return slippage


def budget(
    *, sigma: float = 0.04, adv: float = 1e8, k: float = 7.0, hours: float = 1.0, side: str = "long"
) -> Callable[[np.ndarray], np.ndarray]:
    def total(sizes: np.ndarray) -> np.ndarray:
        horizon = liquidation.horizon_hours(
            base_hours=hours, notional_usd=sizes, adv_usd=adv, participation=0.05, floor_hours=0.5
        )
        move = liquidation.adverse_move(k=k, sigma_eff=sigma, horizon_hours=horizon, eta=0.25)
        return liquidation.loss_budget(
            move=move, oracle_deviation=0.005, slippage=impact(sigma, adv)(sizes), fee=0.001, side=side
        ).total

    return total


@pytest.mark.parametrize("side", ["long", "short"])
def test_the_cap_is_where_the_budget_meets_the_threshold(side: str) -> None:
    total = budget(side=side)
    find = caps.supply_cap if side == "long" else caps.borrow_cap
    cap = find(total, lt_current=0.75, **RANGE)
    assert cap.binding == "budget"
    at = np.exp(-total(np.asarray([cap.sale_usd])))[0]
    assert at == pytest.approx(0.75, abs=1e-9)
    assert at >= 0.75 - 1e-11
    beyond = np.asarray([cap.sale_usd * (1 + 1e-6)])
    assert np.exp(-total(beyond))[0] < 0.75
    assert cap.sale_usd == pytest.approx((0.25 + 0.11) * cap.cap_usd)
    assert "no longer carries the threshold 75.00%" in cap.note


def test_known_inverse() -> None:
    """A budget of a + b sqrt(N) inverts by hand."""
    cap = caps.supply_cap(lambda n: 0.1 + 1e-5 * np.sqrt(n), lt_current=np.exp(-0.2), sale=WHOLE, **RANGE)
    assert cap.cap_usd == pytest.approx(1e8, rel=1e-9)


def test_a_fixed_bonus_caps_where_it_no_longer_pays_the_liquidator() -> None:
    """Move constant: the threshold is carried at any size, the bonus of 5 % only up to its slippage."""
    knobs = {"bonus": 0.05, "oracle_deviation": 0.0, "fee": 0.0, "protocol_share": 0.0, "side": "long"}
    total = caps.budget_with_bonus(move=lambda n: np.full(n.shape, 0.1), slippage=impact(), **knobs)
    cap = caps.supply_cap(total, lt_current=0.8, sale=WHOLE, **RANGE)
    assert cap.binding == "not absorbable"
    assert cap.cap_usd == pytest.approx(1e8 * ((1 - 1 / 1.05) / 0.04) ** 2, rel=1e-9)
    assert float(np.exp(-total(np.asarray([1e6])))[0]) == pytest.approx(np.exp(-0.1) / 1.05)
    tight = caps.supply_cap(total, lt_current=0.87, sale=WHOLE, **RANGE)
    assert tight.binding == "none"


def test_what_cannot_be_absorbed_caps_below_it() -> None:
    cap = caps.supply_cap(lambda n: np.where(n <= 3e6, 0.1, np.nan), lt_current=0.8, sale=WHOLE, **RANGE)
    assert cap.binding == "not absorbable"
    assert cap.cap_usd == pytest.approx(3e6, rel=1e-12)
    assert cap.cap_usd <= 3e6
    reach = caps.largest_absorbable(lambda n: np.where(n <= 3e6, 0.1, np.nan), **RANGE)
    assert (reach.cap_usd, reach.binding) == (cap.cap_usd, "not absorbable")


def test_a_second_good_region_does_not_lift_the_cap() -> None:
    cap = caps.supply_cap(lambda n: np.where((n < 1e6) | (n > 1e9), 0.1, np.nan), lt_current=0.8, sale=WHOLE, **RANGE)
    assert cap.cap_usd < 1e6


def test_ends_of_the_search_are_said() -> None:
    flat = caps.supply_cap(lambda n: np.full(n.shape, 0.1), lt_current=0.8, sale=WHOLE, **RANGE)
    assert (flat.cap_usd, flat.binding) == (1e11, "search")
    assert "the largest searched" in flat.note
    none = caps.supply_cap(lambda n: np.full(n.shape, 0.5), lt_current=0.8, sale=WHOLE, **RANGE)
    assert (none.cap_usd, none.sale_usd, none.binding) == (0.0, 0.0, "none")
    assert none.rounded_usd() == 0.0
    deep = caps.largest_absorbable(lambda n: n / 1e6, **RANGE)
    assert deep.cap_usd == pytest.approx(np.log(10) * 1e6)
    assert caps.largest_absorbable(lambda n: n * np.nan, **RANGE).binding == "none"
    assert caps.largest_absorbable(lambda n: n * 0, **RANGE).binding == "search"


knob = st.sampled_from(["sigma", "hours", "k"])


@given(knob, st.floats(1.05, 2.0), st.floats(0.4, 0.9), st.sampled_from(["long", "short"]))
@settings(deadline=None, max_examples=60)
def test_caps_shrink_with_volatility_horizon_and_confidence(name: str, factor: float, lt: float, side: str) -> None:
    base = {"sigma": 0.03, "hours": 1.0, "k": 4.0}
    low = caps.supply_cap(budget(side=side, **base), lt_current=lt, **RANGE)
    high = caps.supply_cap(budget(side=side, **base | {name: base[name] * factor}), lt_current=lt, **RANGE)
    assert high.cap_usd <= low.cap_usd * (1 + 1e-9)
    lower = caps.supply_cap(budget(side=side, **base), lt_current=lt * 0.95, **RANGE)
    assert lower.cap_usd >= low.cap_usd * (1 - 1e-9), "a lower threshold admits no less"


@given(st.floats(1e6, 1e9), st.floats(2.0, 50.0))
@settings(deadline=None, max_examples=40)
def test_caps_scale_with_traded_value(adv: float, factor: float) -> None:
    wide = {"smallest_usd": 1.0, "largest_usd": 1e14}
    one = caps.supply_cap(budget(adv=adv), lt_current=0.7, **wide)
    other = caps.supply_cap(budget(adv=adv * factor), lt_current=0.7, **wide)
    assert other.cap_usd == pytest.approx(factor * one.cap_usd, rel=1e-8)


@given(st.floats(0.01, 0.99), st.floats(0.0, 1.0))
def test_more_concentration_admits_less(cluster: float, band: float) -> None:
    sale = caps.ForcedSale(cluster, band)
    assert float(sale.usd(1e6)) == pytest.approx(min(1.0, cluster + band) * 1e6)
    cap = caps.supply_cap(budget(), lt_current=0.75, sale=sale, **RANGE)
    alone = caps.supply_cap(budget(), lt_current=0.75, sale=caps.ForcedSale(cluster, 0.0), **RANGE)
    assert cap.cap_usd <= alone.cap_usd * (1 + 1e-9)


def test_saleable_follows_the_square_root() -> None:
    """Impact sigma sqrt(N / ADV) = b at N = ADV (b / sigma)^2."""
    found = caps.saleable(impact(), 0.05, **RANGE)
    assert found.cap_usd == pytest.approx(1e8 * (0.05 / 0.04) ** 2, rel=1e-9)
    practice = caps.practice_supply_cap(impact(), bonus=0.05, **RANGE)
    assert practice.cap_usd == pytest.approx(2 * found.cap_usd)
    assert caps.saleable(impact(), 1e-9, **RANGE).binding == "none"
    assert caps.saleable(lambda n: n * 0, 0.05, **RANGE).binding == "search"
    dry = caps.saleable(lambda n: np.where(n < 1e6, 0.01, np.nan), 0.05, **RANGE)
    assert dry.binding == "not absorbable"


def test_cap_by_bonus() -> None:
    limit = 0.05 / 1.05 - 0.001
    assert caps.slippage_limit(0.05, 0.001) == pytest.approx(limit)
    sale = caps.ForcedSale(0.2, 0.05)
    cap = caps.cap_by_bonus(impact(), bonus=0.05, fee=0.001, sale=sale, **RANGE)
    assert 0.25 * cap.cap_usd == pytest.approx(1e8 * (limit / 0.04) ** 2, rel=1e-9)
    assert cap.sale_usd == pytest.approx(0.25 * cap.cap_usd)
    # The rule keeps the liquidator whole: (1 + b)(1 - s)(1 - f) >= 1.
    s = float(impact()(np.asarray([cap.sale_usd]))[0])
    assert 1.05 * (1 - s) * 0.999 >= 1
    poor = caps.cap_by_bonus(impact(), bonus=0.001, fee=0.002, **RANGE)
    assert (poor.cap_usd, poor.binding) == (0.0, "none")


def test_interim_rule_of_practice() -> None:
    np.testing.assert_array_equal(caps.practice_drop([1e9, 2e9, 20e9, 21e9, np.nan]), [0.5, 0.35, 0.35, 0.15, np.nan])
    assert float(caps.practice_drop(1e9, is_stable=True)) == 0.15
    assert caps.practice_interim_cap(current_usd=100.0, liquidated_usd=10.0, saleable_usd=9.0) == pytest.approx(100.0)
    assert caps.practice_interim_cap(current_usd=100.0, liquidated_usd=10.0, saleable_usd=90.0) == 200.0
    assert caps.practice_interim_cap(current_usd=100.0, liquidated_usd=10.0, saleable_usd=4.5) == pytest.approx(50.0)
    assert caps.practice_interim_cap(current_usd=100.0, liquidated_usd=0.0, saleable_usd=0.0) == 200.0
    with pytest.raises(ValueError, match="must not be negative"):
        caps.practice_interim_cap(current_usd=-1.0, liquidated_usd=0.0, saleable_usd=0.0)


@given(st.floats(0, 1e15), st.integers(1, 4))
def test_rounding_down_to_digits(value: float, digits: int) -> None:
    down = caps.round_down_significant(value, digits)
    assert down <= value * (1 + 1e-11)
    assert down >= value * (1 - 10.0 ** (1 - digits)) * (1 - 1e-9)
    assert caps.round_down_significant(down, digits) == down


def test_examples_of_rounding() -> None:
    assert caps.round_down_significant(2_999_999.0) == 2_900_000.0
    assert caps.round_down_significant(3_000_000.0) == 3_000_000.0
    assert caps.round_down_significant(0.0) == 0.0
    with pytest.raises(ValueError, match="cannot round nan down"):
        caps.round_down_significant(float("nan"))


def test_hostile_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"threshold in force 83\.0"):
        caps.supply_cap(budget(), lt_current=83.0, **RANGE)
    with pytest.raises(ValueError, match="0 < smallest <= largest"):
        caps.supply_cap(budget(), lt_current=0.8, smallest_usd=0.0, largest_usd=1e9)
    with pytest.raises(ValueError, match="return one number for each"):
        caps.supply_cap(lambda n: 0.1, lt_current=0.8, **RANGE)
    with pytest.raises(ValueError, match=r"cluster_share 1\.5"):
        caps.ForcedSale(cluster_share=1.5)
    with pytest.raises(ValueError, match="both shares are 0"):
        caps.ForcedSale(0.0, 0.0)
