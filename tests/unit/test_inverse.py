"""Inverse: margins in the coin that moves, checked by the ledger of an account."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll import inverse, liquidation

sides = st.sampled_from(["long", "short"])
WORSE = {"long": -1, "short": 1}


def gain_in_coins(entry: float, price: float, side: str) -> float:
    """Gain of contracts worth one USD."""
    return (1 / entry - 1 / price) if side == "long" else (1 / price - 1 / entry)


@given(st.floats(0.001, 1.0), st.floats(0.0, 1.0), st.floats(1.0, 1e5), sides)
def test_the_ledger_of_an_account(total: float, buffer: float, entry: float, side: str) -> None:
    """Opened at the initial margin, at maintenance after the users' move, at zero after the budget."""
    m = float(liquidation.inverse_maintenance_margin(total, side))
    im = float(inverse.initial_margin_inverse(maintenance=m, buffer_log=buffer, side=side))
    trigger = entry * np.exp(WORSE[side] * buffer)
    executed = trigger * np.exp(WORSE[side] * total)
    equity = im / entry
    assert equity + gain_in_coins(entry, trigger, side) == pytest.approx(m / trigger, rel=1e-9, abs=1e-12 / entry)
    assert equity + gain_in_coins(entry, executed, side) == pytest.approx(0.0, abs=1e-9 / min(entry, executed))


def test_digits() -> None:
    """METHODS' worked budget of longs: the coin margin of a long is the linear one of a short for equal budgets."""
    assert float(liquidation.inverse_maintenance_margin(0.11606338, "long")) == pytest.approx(0.12306705, abs=1e-8)
    assert float(liquidation.inverse_maintenance_margin(0.11593737, "short")) == pytest.approx(0.10946900, abs=1e-8)
    long = inverse.initial_margin_inverse(maintenance=0.12306705, buffer_log=0.12, side="long")
    assert float(long) == pytest.approx(0.26625456, abs=1e-8)
    short = inverse.initial_margin_inverse(maintenance=0.10946900, buffer_log=0.12, side="short")
    assert float(short) == pytest.approx(1 - np.exp(-0.11593737 - 0.12), abs=1e-8)


small = st.floats(0.0, 0.1)


@given(st.floats(0.001, 1.0), small, small, small, sides)
def test_absorbed_move_undoes_the_margin(move: float, deviation: float, slippage: float, fee: float, side: str) -> None:
    costs = {"oracle_deviation": deviation, "slippage": slippage, "fee": fee, "side": side}
    total = liquidation.loss_budget(move=move, **costs).total
    m = liquidation.inverse_maintenance_margin(total, side)
    assert float(inverse.absorbed_move_inverse(maintenance=m, **costs)) == pytest.approx(move, abs=1e-9)


@given(st.floats(0.001, 1.0), st.floats(0.0, 0.5), st.floats(0.0, 0.02), st.sampled_from([1, 5, 25]), sides)
def test_rounded_sets_hold_and_never_loosen(total: float, buffer: float, funding: float, grid: int, side: str) -> None:
    found = inverse.inverse_parameters(total=total, buffer_log=buffer, funding=funding, side=side, margin_grid_bps=grid)
    mm, im, leverage = int(found.mm_bps), int(found.im_bps), int(found.max_leverage)
    assert not inverse.inverse_violations(
        mm_bps=mm, im_bps=im, max_leverage=leverage, total=total, side=side, buffer_log=buffer, funding=funding
    )
    raw = float(liquidation.inverse_maintenance_margin(total, side))
    assert mm >= raw * 1e4 - 1e-5
    assert mm % grid == 0
    assert im % grid == 0
    assert mm < raw * 1e4 + grid
    more = inverse.inverse_parameters(
        total=total * 1.1, buffer_log=buffer, funding=funding, side=side, margin_grid_bps=grid
    )
    assert int(more.mm_bps) >= mm
    assert int(more.im_bps) >= im


def test_violations_are_sentences() -> None:
    found = inverse.inverse_violations(mm_bps=500, im_bps=500, max_leverage=30, total=0.1, side="long", buffer_log=0.1)
    assert [one.split(" bps")[0] for one in found[:3]] == [
        "maintenance margin 500",
        "initial margin 500",
        "initial margin 500",
    ]
    assert found[3] == "leverage 30 asks less than the initial margin 500 bps"
    with pytest.raises(ValueError, match="say 'long' or 'short'"):
        inverse.initial_margin_inverse(maintenance=0.1, buffer_log=0.1, side="both")
