"""Thresholds: rounding in the stated order, rounded sets tested again, and the rule for one parameter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll import liquidation, thresholds

EXAMPLE = {"move": 0.10, "oracle_deviation": 0.005, "slippage": 0.01, "fee": 0.001, "protocol_share": 0.1}
GRIDS = {"lt_grid_bps": 50, "bonus_grid_bps": 25}


def _test_of(lt_bps: int, ltv_bps: int, bonus_bps: int) -> tuple[str, ...]:
    return thresholds.lending_violations(
        lt_bps=lt_bps, ltv_bps=ltv_bps, bonus_bps=bonus_bps, **EXAMPLE, cap_bps=10_000, side="long"
    )


def test_rounding_each_parameter_by_itself_gives_an_invalid_set() -> None:
    """The example of the methodology: 0.890 and 1.25 % promise 0.901125, more than 0.900313."""
    found = [violation for violation in _test_of(8900, 8000, 125) if "budget carries" in violation]
    assert len(found) == 1
    assert (1 - 0.005) * np.exp(-0.10) == pytest.approx(0.900313, abs=5e-7)


def test_the_stated_order_gives_a_valid_set() -> None:
    made = thresholds.lending_parameters(**EXAMPLE, buffer_log=0.12, cap_bps=10_000, **GRIDS, side="long")
    assert (int(made.lt_bps), int(made.bonus_bps)) == (8800, 200)
    assert _test_of(int(made.lt_bps), int(made.ltv_bps), int(made.bonus_bps)) == ()


sets = {
    "move": st.floats(0.0, 2.0),
    "oracle_deviation": st.floats(0.0, 0.05),
    "slippage": st.floats(0.0, 0.3),
    "fee": st.floats(0.0, 0.02),
    "protocol_share": st.floats(0.0, 0.5),
}


@given(
    st.fixed_dictionaries(sets),
    st.floats(0.0, 1.0),
    st.sampled_from(["long", "short"]),
    st.sampled_from([1, 25, 50, 100]),
    st.sampled_from([0, 500, 1000]),
    st.integers(0, 10_000),
)
def test_rounded_lending_sets_always_hold(
    costs: dict[str, float], buffer: float, side: str, grid: int, bonus_floor: int, cap: int
) -> None:
    made = thresholds.lending_parameters(
        **costs,
        buffer_log=buffer,
        cap_bps=cap,
        lt_grid_bps=grid,
        bonus_grid_bps=25,
        side=side,
        bonus_floor_bps=bonus_floor,
    )
    lt, ltv, bonus = int(made.lt_bps), int(made.ltv_bps), int(made.bonus_bps)
    found = thresholds.lending_violations(lt_bps=lt, ltv_bps=ltv, bonus_bps=bonus, **costs, cap_bps=cap, side=side)
    if lt == 0:
        assert found == ("LTV 0 bps does not lie below the liquidation threshold 0 bps",)
    else:
        assert found == ()
        assert lt % grid == 0
        assert bonus >= bonus_floor


@given(st.floats(0.0, 1.0), st.floats(0.0, 0.8), st.floats(0.0, 0.05), st.sampled_from(["long", "short"]))
def test_rounded_margins_always_hold(total: float, buffer: float, funding: float, side: str) -> None:
    made = thresholds.perpetual_parameters(
        total=total, buffer_log=buffer, funding=funding, side=side, margin_grid_bps=5
    )
    mm, im, leverage = int(made.mm_bps), int(made.im_bps), int(made.max_leverage)
    found = thresholds.perpetual_violations(mm_bps=mm, im_bps=im, max_leverage=leverage, total=total, side=side)
    assert found == ()
    assert mm - float(liquidation.maintenance_margin(total, side)) * 1e4 < 5 + 1e-6


def test_a_short_may_need_more_than_its_notional() -> None:
    made = thresholds.perpetual_parameters(total=1.0, buffer_log=0.2, funding=0.0, side="short", margin_grid_bps=5)
    assert int(made.mm_bps) > 10_000
    assert int(made.max_leverage) == 1


@pytest.mark.parametrize(
    ("value", "down", "up"),
    [(8900.0, 8900, 8900), (8899.9999999, 8900, 8900), (8949.9, 8900, 8950), (8900.01, 8900, 8950), (0.0, 0, 0)],
)
def test_grids_forgive_rounding_error_only(value: float, down: int, up: int) -> None:
    assert int(thresholds.round_down(value, 50)) == down
    assert int(thresholds.round_up(value, 50)) == up


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ltv_bps": 8800}, "does not lie below"),
        ({"lt_bps": 9950}, "hands out more than the collateral"),
        ({"cap_bps": 8000}, "exceeds the cap"),
        ({"lt_bps": 8850}, "budget carries"),
        ({"bonus_bps": 175}, "breaks even"),
    ],
)
def test_each_constraint_objects_by_itself(change: dict[str, int], words: str) -> None:
    good = {"lt_bps": 8800, "ltv_bps": 7800, "bonus_bps": 200, "cap_bps": 10_000}
    assert thresholds.lending_violations(**good, **EXAMPLE, side="long") == ()
    found = thresholds.lending_violations(**(good | change), **EXAMPLE, side="long")
    assert any(words in violation for violation in found), found


def test_each_margin_constraint_objects_by_itself() -> None:
    good = {"mm_bps": 1100, "im_bps": 2100, "max_leverage": 4}
    total = 0.11606338
    assert thresholds.perpetual_violations(**good, total=total, side="long") == ()
    for change, words in (
        ({"mm_bps": 1095}, "of the budget"),
        ({"im_bps": 1100}, "does not lie above"),
        ({"max_leverage": 5}, "asks less"),
    ):
        found = thresholds.perpetual_violations(**(good | change), total=total, side="long")
        assert any(words in violation for violation in found), (change, found)


def _decide(in_force: int | None, target: int | None, **change: object) -> thresholds.Proposal:
    usual: dict[str, object] = {
        "parameter": "lt",
        "grid": 50,
        "tightening_is_down": True,
        "hold_bps": 200,
        "down_steps": 1,
        "up_steps": 3,
        "may_loosen": True,
        "withheld_reason": None,
    }
    return thresholds.propose(in_force=in_force, target=target, **(usual | change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("in_force", "target", "change", "status", "proposed"),
    [
        (8300, 8300, {}, "unchanged", 8300),
        (8300, 8250, {}, "tighten", 8250),
        (8300, 8200, {"down_steps": 3}, "unchanged", 8300),
        (8300, 8350, {}, "unchanged", 8300),
        (8300, 8450, {}, "loosen", 8450),
        (8300, 8500, {}, "loosen", 8500),
        (8300, 8550, {}, "hold", None),
        (8300, 8450, {"may_loosen": False}, "hold", None),
        (None, 8300, {}, "new", 8300),
        (8300, 8250, {"withheld_reason": "stale data"}, "withheld", None),
        (500, 600, {"parameter": "mm", "tightening_is_down": False}, "tighten", 600),
        (600, 450, {"parameter": "mm", "tightening_is_down": False}, "loosen", 450),
        (900, 650, {"parameter": "mm", "tightening_is_down": False}, "hold", None),
    ],
)
def test_the_rule_for_one_parameter(
    in_force: int | None, target: int, change: dict[str, object], status: str, proposed: int | None
) -> None:
    made = _decide(in_force, target, **change)
    assert (made.status, made.proposed) == (status, proposed)
    assert made.reason


def test_no_target_and_no_reason_is_an_error() -> None:
    with pytest.raises(ValueError, match="no target and no reason"):
        _decide(8300, None)
