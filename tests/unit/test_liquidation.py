"""Liquidation: the worked example of the methodology, its identities, and a simulated closure."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll import liquidation as liq

MOVE, DEVIATION, FEE, SLIPPAGE = 0.10, 0.005, 0.001, 0.01
TO_PRINT = 5e-9


def _budget(side: str) -> float:
    parts = liq.loss_budget(move=MOVE, oracle_deviation=DEVIATION, slippage=SLIPPAGE, fee=FEE, side=side)
    return float(parts.total)


def test_worked_example_budget_and_thresholds() -> None:
    long, short = _budget("long"), _budget("short")
    assert long == pytest.approx(0.11606338, abs=TO_PRINT)
    assert short == pytest.approx(0.11593737, abs=TO_PRINT)
    assert float(liq.liquidation_threshold(long)) == pytest.approx(0.89041879, abs=TO_PRINT)
    assert float(liq.maintenance_margin(long, "long")) == pytest.approx(0.10958121, abs=TO_PRINT)
    assert float(liq.maintenance_margin(short, "short")) == pytest.approx(0.12292554, abs=TO_PRINT)
    assert float(liq.maintenance_margin(long, "short")) == pytest.approx(0.12306705, abs=TO_PRINT)


@pytest.mark.parametrize(("share", "bonus"), [(0.0, 0.01111212), (0.1, 0.01234680)])
def test_worked_example_bonus(share: float, bonus: float) -> None:
    assert float(liq.minimum_bonus(slippage=SLIPPAGE, fee=FEE, protocol_share=share)) == pytest.approx(
        bonus, abs=TO_PRINT
    )


@pytest.mark.parametrize(
    ("bonus", "cap"), [(0.045, 0.86154376), (0.05, 0.85744117), (0.075, 0.83750068), (0.10, 0.81846657)]
)
def test_worked_example_threshold_with_a_fixed_bonus(bonus: float, cap: float) -> None:
    assert float(liq.threshold_cap(move=MOVE, oracle_deviation=DEVIATION, bonus=bonus)) == pytest.approx(
        cap, abs=TO_PRINT
    )


def test_worked_example_user_buffer() -> None:
    long, short = _budget("long"), _budget("short")
    assert float(liq.maximum_ltv(lt=liq.liquidation_threshold(long), buffer_log=0.12)) == pytest.approx(
        0.78973062, abs=TO_PRINT
    )
    im_long = liq.initial_margin(maintenance=liq.maintenance_margin(long, "long"), buffer_log=0.12, side="long")
    im_short = liq.initial_margin(maintenance=liq.maintenance_margin(short, "short"), buffer_log=0.12, side="short")
    crossed = liq.initial_margin(maintenance=liq.maintenance_margin(long, "short"), buffer_log=0.12, side="short")
    assert float(im_long) == pytest.approx(0.21026938, abs=TO_PRINT)
    assert float(im_short) == pytest.approx(0.26609502, abs=TO_PRINT)
    assert float(crossed) == pytest.approx(0.26625456, abs=TO_PRINT)
    assert float(liq.maximum_leverage(im_long)) == pytest.approx(4.755804, abs=5e-7)
    assert float(liq.maximum_leverage(im_short)) == pytest.approx(3.758056, abs=5e-7)


def test_horizon_scaling() -> None:
    scale = liq.adverse_move(k=1.0, sigma_eff=1.0, horizon_hours=[0.25, 0.5, 1, 2, 4], eta=0.30)
    np.testing.assert_allclose(scale, [0.25428376, 0.31306003, 0.38542211, 0.47451028, 0.58419068], atol=TO_PRINT)


def test_beyond_a_day_variance_grows_with_time() -> None:
    scale = liq.adverse_move(k=1.0, sigma_eff=1.0, horizon_hours=[23.999, 24.0, 24.001, 96.0], eta=0.25)
    np.testing.assert_allclose(scale, [1.0, 1.0, 1.0, 2.0], rtol=1e-4)


small = st.floats(0.0, 0.2)


@given(st.floats(0.0, 1.5), small, small, small)
def test_identities_of_the_budget(move: float, deviation: float, slippage: float, fee: float) -> None:
    parts = {"move": move, "oracle_deviation": deviation, "slippage": slippage, "fee": fee}
    total = float(liq.loss_budget(**parts, side="long").total)
    lt = float(liq.liquidation_threshold(total))
    m_long, m_short = (float(liq.maintenance_margin(total, side)) for side in ("long", "short"))
    assert m_long == pytest.approx(1 - lt, abs=1e-12)
    assert (1 + m_short) * (1 - m_long) == pytest.approx(1, abs=1e-12)
    assert m_short >= m_long, "a short's loss is convex"
    assert float(liq.inverse_maintenance_margin(total, "long")) == pytest.approx(m_short, abs=1e-12)
    assert float(liq.inverse_maintenance_margin(total, "short")) == pytest.approx(m_long, abs=1e-12)
    # With the cheapest admissible bonus the fixed-bonus cap is exp(-Lambda); deviation is counted once.
    bonus = float(liq.minimum_bonus(slippage=slippage, fee=fee, protocol_share=0.0))
    assert float(liq.threshold_cap(move=move, oracle_deviation=deviation, bonus=bonus)) == pytest.approx(lt, rel=1e-12)


@given(st.floats(0.01, 1.5), small, small, small, st.sampled_from(["long", "short"]))
def test_absorbed_move_undoes_the_parameters(
    move: float, deviation: float, slippage: float, fee: float, side: str
) -> None:
    total = liq.loss_budget(move=move, oracle_deviation=deviation, slippage=slippage, fee=fee, side=side).total
    absorbed = liq.absorbed_move_perpetual(
        maintenance=liq.maintenance_margin(total, side),
        oracle_deviation=deviation,
        slippage=slippage,
        fee=fee,
        side=side,
    )
    assert float(absorbed) == pytest.approx(move, abs=1e-9)
    cap = liq.threshold_cap(move=move, oracle_deviation=deviation, bonus=0.05, side=side)
    back = liq.absorbed_move_lending(lt=cap, bonus=0.05, oracle_deviation=deviation, side=side)
    assert float(back) == pytest.approx(move, abs=1e-9)


@given(st.floats(0.0, 1.0), st.floats(0.0, 0.5))
def test_user_buffer_is_room_to_the_trigger(total: float, buffer: float) -> None:
    """A position opened at the limit reaches its trigger exactly after the adverse move it was to survive."""
    lt = float(liq.liquidation_threshold(total))
    assert float(liq.maximum_ltv(lt=lt, buffer_log=buffer)) == pytest.approx(lt * np.exp(-buffer))
    m = float(liq.maintenance_margin(total, "long"))
    im = float(liq.initial_margin(maintenance=m, buffer_log=buffer, side="long"))
    # Long: equity im - (1 - e^-A) equals maintenance m e^-A of the fallen notional.
    assert im - (1 - np.exp(-buffer)) == pytest.approx(m * np.exp(-buffer), abs=1e-12)


def test_simulated_closure() -> None:
    """Bad debt happens as often as promised when moves follow the tail that the threshold was made from."""
    rng = np.random.default_rng(2019)
    n = 4_000_000
    moves = np.where(rng.random(n) < 0.05, 0.05 + 0.1 * (rng.random(n) ** -0.2 - 1), 0.0)
    x99 = 0.05 + 0.1 * (0.2**-0.2 - 1)
    lt = float(liq.threshold_cap(move=x99, oracle_deviation=DEVIATION, bonus=0.05))
    covers = lt * 1.05 <= (1 - DEVIATION) * np.exp(-moves)
    assert 1 - covers.mean() == pytest.approx(0.01, abs=2e-4)


def test_time_to_sell_and_floor() -> None:
    hours = liq.horizon_hours(
        base_hours=1.0, notional_usd=[0.0, 1e6, 1e6], adv_usd=[1e8, 1e8, np.nan], participation=0.1, floor_hours=0.5
    )
    np.testing.assert_allclose(hours, [1.0, 1.0 + 24 * 0.1 / 3, np.nan])
    assert float(
        liq.horizon_hours(base_hours=0.01, notional_usd=0, adv_usd=1, participation=0.1, floor_hours=0.5)
    ) == pytest.approx(0.5)


def test_impact_follows_the_square_root() -> None:
    one = liq.square_root_impact(sigma_daily=0.04, notional_usd=1e6, adv_usd=1e8, coefficient=1.0)
    four = liq.square_root_impact(sigma_daily=0.04, notional_usd=4e6, adv_usd=1e8, coefficient=1.0)
    assert float(one) == pytest.approx(0.004)
    assert float(four) == pytest.approx(2 * float(one))


def test_an_unknown_side_is_refused() -> None:
    with pytest.raises(ValueError, match="say 'long' or 'short'"):
        liq.log_cost(0.1, "both")
