"""Implied: published absorbed moves, and inverses that lead back to where they came from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll import caps, implied, liquidation, tails

TAIL = tails.GpdFit(threshold=2.0, xi=0.2, beta=1.0, tail_fraction=0.1, exceedances=60, method="ml")


def _move(size: np.ndarray) -> np.ndarray:
    hours = liquidation.horizon_hours(
        base_hours=1.0, notional_usd=size, adv_usd=4e8, participation=0.05, floor_hours=5 / 60
    )
    return liquidation.adverse_move(k=5.0, sigma_eff=0.04, horizon_hours=hours, eta=0.3)


def _slippage(size: np.ndarray) -> np.ndarray:
    found = liquidation.square_root_impact(sigma_daily=0.04, notional_usd=size, adv_usd=4e8, coefficient=1.0)
    return np.where(found < 0.5, found, np.nan)


def _perpetual(size: np.ndarray) -> np.ndarray:
    return liquidation.loss_budget(
        move=_move(size), oracle_deviation=0.005, slippage=_slippage(size), fee=0.001, side="long"
    ).total


def _lending(bonus: float) -> caps.Function:
    return caps.budget_with_bonus(
        move=_move,
        slippage=_slippage,
        bonus=bonus,
        oracle_deviation=0.005,
        fee=0.001,
        protocol_share=0.1,
        side="long",
    )


@pytest.mark.parametrize(
    ("lt", "bonus", "move", "drop"),
    [
        (0.83, 0.05, 0.137539, 0.1285),
        (0.78, 0.05, 0.199671, 0.181),
        (0.95, 0.01, 0.041343, 0.0405),
        (0.41, 0.083, 0.811863, None),
    ],
)
def test_published_absorbed_drops(lt: float, bonus: float, move: float, drop: float | None) -> None:
    absorbed = float(liquidation.absorbed_move_lending(lt=lt, bonus=bonus, oracle_deviation=0.0))
    assert absorbed == pytest.approx(move, abs=5e-7)
    found = implied.implied_confidence(
        absorbed, side="long", overshoots=[1.0], k=5.0, sigma=0.04, horizon_hours=1.0, eta=0.3, floor_hours=0.1
    )
    assert found.absorbed_drop == pytest.approx(1 - lt * (1 + bonus), abs=1e-12)
    if drop is not None:
        assert found.absorbed_drop == pytest.approx(drop, abs=5.1e-5)


def test_implied_probability_counts_and_says_where_no_sample_reaches() -> None:
    pool = np.asarray([0.5, 1.0, 2.0, 4.0])
    assert implied.implied_probability(pool, 1.5) == (0.5, "")
    assert implied.implied_probability(pool, 4.0) == (None, "below 1/4")
    assert implied.implied_probability(np.zeros(0), 1.0) == (None, "no past triggers")
    unknown, note = implied.implied_probability(pool, np.nan)
    assert unknown is None
    assert note.startswith("unknown"), "no overshoot exceeds what is unknown, which is no confidence"


def test_an_extrapolation_is_never_mixed_with_a_count() -> None:
    pool = np.linspace(0.01, 5.0, 600)
    common = {"side": "long", "overshoots": pool, "k": 5.0, "sigma": 0.04, "eta": 0.3, "floor_hours": 0.1}
    unit = float(liquidation.adverse_move(k=1.0, sigma_eff=0.04, horizon_hours=1.0, eta=0.3))
    seen = implied.implied_confidence(4.0 * unit, horizon_hours=1.0, tail=TAIL, **common)  # type: ignore[arg-type]
    assert seen.k_live == pytest.approx(4.0)
    assert seen.probability == pytest.approx(float((pool > 4.0).mean()))
    assert (seen.extrapolated_probability, seen.extrapolated_note) == (None, "")
    beyond = implied.implied_confidence(8.0 * unit, horizon_hours=1.0, tail=TAIL, **common)  # type: ignore[arg-type]
    assert (beyond.probability, beyond.probability_note) == (None, "below 1/600")
    assert beyond.extrapolated_probability == pytest.approx(0.1 * (1 + 0.2 * 6.0) ** -5)
    assert "extrapolated by a generalised Pareto tail over 60 exceedances" in beyond.extrapolated_note
    unasked = implied.implied_confidence(8.0 * unit, horizon_hours=1.0, **common)  # type: ignore[arg-type]
    assert unasked.extrapolated_probability is None
    assert implied.extrapolated_probability(TAIL, 1.0)[0] is None
    assert implied.extrapolated_probability(None, 9.0) == (None, "not enough data for a tail")
    ends = tails.GpdFit(threshold=2.0, xi=-0.3, beta=0.9, tail_fraction=0.1, exceedances=60, method="ml")
    assert implied.extrapolated_probability(ends, 6.0)[0] is None
    assert "no proof" in implied.extrapolated_probability(ends, 6.0)[1]


@given(st.floats(0.5, 10), st.floats(0.002, 0.2), st.floats(0.05, 0.7), st.floats(0.1, 240.0))
@settings(max_examples=100, deadline=None)
def test_implied_latency_is_the_inverse_of_the_move(k: float, sigma: float, eta: float, hours: float) -> None:
    move = float(liquidation.adverse_move(k=k, sigma_eff=sigma, horizon_hours=hours, eta=eta))
    found, words = implied.implied_latency(move * (1 + 1e-12), k=k, sigma=sigma, eta=eta, floor_hours=0.1)
    assert found == pytest.approx(hours, rel=1e-9)
    assert ("square-root rule" in words) == (hours > 24) or abs(hours - 24) < 1e-6
    more, _ = implied.implied_latency(2 * move, k=k, sigma=sigma, eta=eta, floor_hours=0.1)
    assert more is not None
    assert more > hours


def test_latencies_that_have_no_number_are_said_in_words() -> None:
    assert implied.implied_latency(0.001, k=5.0, sigma=0.04, eta=0.3, floor_hours=5 / 60) == (
        None,
        "not even at the floor of 5 minutes",
    )
    assert implied.implied_latency(-0.01, k=0.0, sigma=0.04, eta=0.3, floor_hours=1.0)[0] is None
    assert implied.implied_latency(0.01, k=0.0, sigma=0.04, eta=0.3, floor_hours=1.0) == (
        np.inf,
        "any latency: nothing moves",
    )
    assert implied.implied_latency(0.2, k=5.0, sigma=0.04, eta=0.0, floor_hours=1.0)[0] == 24.0
    assert implied.implied_latency(0.19, k=5.0, sigma=0.04, eta=0.0, floor_hours=1.0)[0] is None
    assert implied.implied_latency(0.4, k=5.0, sigma=0.04, eta=0.3, floor_hours=1.0) == (
        96.0,
        "4 days, beyond a day by the square-root rule",
    )
    for wrong in ({"k": np.nan}, {"sigma": -0.1}, {"floor_hours": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            implied.implied_latency(0.1, **({"k": 5.0, "sigma": 0.04, "eta": 0.3, "floor_hours": 1.0} | wrong))


@given(st.floats(1e4, 3e8))
@settings(max_examples=40, deadline=None)
def test_implied_depth_is_the_inverse_of_the_budget(notional: float) -> None:
    carried = float(_perpetual(np.asarray([notional]))[0])
    found, _ = implied.implied_depth(_perpetual, carried, smallest_usd=1e3, largest_usd=1e9)
    assert found is not None
    # Below the floor of the horizon and above it the budget rises strictly with size, by impact.
    assert found == pytest.approx(notional, rel=1e-6)
    assert _perpetual(np.asarray([found]))[0] <= carried


def test_a_bonus_bounds_the_depth_of_a_loan() -> None:
    found, words = implied.implied_depth(_lending(0.02), 5.0, smallest_usd=1e3, largest_usd=1e9)
    assert found is not None
    slippage = _slippage(np.asarray([found]))
    least = liquidation.minimum_bonus(slippage=slippage, fee=0.001, protocol_share=0.1, oracle_deviation=0.005)
    assert least[0] == pytest.approx(0.02, rel=1e-9)
    assert words == f"{found:,.0f} USD"


def test_depths_that_have_no_number_are_said_in_words() -> None:
    assert implied.implied_depth(_perpetual, 0.001, smallest_usd=1e4, largest_usd=1e9) == (
        None,
        "none: not even 10,000 USD is carried",
    )
    assert implied.implied_depth(_perpetual, 5.0, smallest_usd=1e4, largest_usd=1e6) == (1e6, "at least 1,000,000 USD")
    nothing = implied.implied_depth(lambda n: n + np.nan, 0.0, smallest_usd=1.0, largest_usd=2.0)
    assert nothing == (None, "none: not even 1 USD is carried")
    with pytest.raises(ValueError, match="smallest <= largest"):
        implied.implied_depth(_perpetual, 0.1, smallest_usd=2.0, largest_usd=1.0)
    with pytest.raises(ValueError, match="carried is unknown"):
        implied.implied_depth(_perpetual, np.nan, smallest_usd=1.0, largest_usd=2.0)


@given(st.floats(0.1, 10.0))
def test_sigmas_scale_with_their_unit(unit: float) -> None:
    one = implied.implied_sigmas(0.1, sigma=0.04, horizon_hours=2.0, eta=0.3)
    other = implied.implied_sigmas(0.1 * unit, sigma=0.04 * unit, horizon_hours=2.0, eta=0.3)
    assert float(other) == pytest.approx(float(one))


def test_sigmas_need_a_volatility() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        implied.implied_sigmas(0.1, sigma=0.0, horizon_hours=1.0, eta=0.3)
    assert np.isnan(implied.implied_sigmas(np.nan, sigma=0.1, horizon_hours=1.0, eta=0.3))
    with pytest.raises(ValueError, match="side 'both'"):
        implied.implied_confidence(
            0.1, side="both", overshoots=[1.0], k=5.0, sigma=0.04, horizon_hours=1.0, eta=0.3, floor_hours=0.1
        )
    with pytest.raises(ValueError, match="not finite"):
        implied.implied_confidence(
            0.1, side="long", overshoots=[np.nan], k=5.0, sigma=0.04, horizon_hours=1.0, eta=0.3, floor_hours=0.1
        )


def test_half_the_latency_is_worth_the_published_rise() -> None:
    found = implied.latency_worth(
        move=0.06, horizon_hours=1.0, faster_horizon_hours=0.5, eta=0.4, total=0.08, product="lending", side="long"
    )
    assert found.budget_log == pytest.approx(0.06 * (1 - 2**-0.4), rel=1e-12)
    assert found.budget_log == pytest.approx(0.0145, abs=5e-5)
    assert found.parameter_bps == pytest.approx(1e4 * (np.exp(-0.08 + found.budget_log) - np.exp(-0.08)))
    margin = implied.latency_worth(
        move=0.06, horizon_hours=1.0, faster_horizon_hours=0.5, eta=0.4, total=0.08, product="perpetual", side="long"
    )
    assert margin.parameter_bps == pytest.approx(found.parameter_bps), "a long margin is one less the threshold"
    small = implied.latency_worth(
        move=0.06,
        horizon_hours=1.0,
        faster_horizon_hours=1 - 1e-6,
        eta=0.4,
        total=0.08,
        product="lending",
        side="long",
    )
    assert small.budget_log == pytest.approx(0.4 * 0.06 * 1e-6, rel=1e-5), "d ln LT / d ln tau = -eta X"


def test_beyond_a_day_latency_is_worth_the_square_root() -> None:
    found = implied.latency_worth(
        move=0.2, horizon_hours=96.0, faster_horizon_hours=24.0, eta=0.3, total=0.25, product="lending", side="long"
    )
    assert found.budget_log == pytest.approx(0.1)
    with pytest.raises(ValueError, match="faster_horizon_hours"):
        implied.latency_worth(
            move=0.2, horizon_hours=1.0, faster_horizon_hours=2.0, eta=0.3, total=0.25, product="lending", side="long"
        )
    with pytest.raises(ValueError, match="part of it"):
        implied.latency_worth(
            move=0.3, horizon_hours=1.0, faster_horizon_hours=0.5, eta=0.3, total=0.25, product="lending", side="long"
        )
