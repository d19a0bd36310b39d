"""Recommendations: a parameter set is decided as one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll import recommendations
from plimsoll.recommendations import DecisionRules, LendingSet, PerpetualSet

RULES = DecisionRules(hold_bps=200, down_steps=1, up_steps=2, lt_grid_bps=50, margin_grid_bps=5, bonus_grid_bps=25)


def _lending(live: LendingSet | None, target: LendingSet | None, **changes: object):
    arguments: dict[str, object] = {"buffer_log": 0.05, "may_loosen": True, "withheld_reason": None, "rules": RULES}
    return recommendations.propose_lending(live, target, **(arguments | changes))  # type: ignore[arg-type]


def _perpetual(live: PerpetualSet | None, target: PerpetualSet | None, **changes: object):
    arguments: dict[str, object] = {
        "buffer_log": 0.05,
        "funding": 0.001,
        "side": "long",
        "may_loosen": True,
        "withheld_reason": None,
        "rules": RULES,
    }
    return recommendations.propose_perpetual(live, target, **(arguments | changes))  # type: ignore[arg-type]


def test_tightening_moves_threshold_and_ltv_together() -> None:
    lt, ltv, bonus = _lending(LendingSet(8300, 8050, 500), LendingSet(8000, 7600, 500))
    assert (lt.status, lt.proposed) == ("tighten", 8000)
    assert (ltv.status, ltv.proposed) == ("tighten", 7600)
    assert bonus.status == "unchanged"


def test_a_large_loosening_is_held_and_ltv_stays_with_the_threshold_in_force() -> None:
    lt, ltv, _ = _lending(LendingSet(7500, 7100, 500), LendingSet(8000, 7800, 500))
    assert lt.status == "hold"
    assert lt.proposed is None
    assert ltv.status == "unchanged", "an LTV of 78 % never stands beside a held threshold of 75 %"


def test_thin_data_never_loosens() -> None:
    lt, _, _ = _lending(LendingSet(7500, 7000, 500), LendingSet(7600, 7200, 500), may_loosen=False)
    assert lt.status == "hold"
    mm, _, _ = _perpetual(PerpetualSet(300, 900, 11), PerpetualSet(250, 800, 12), may_loosen=False)
    assert mm.status == "hold"


def test_a_margin_is_not_halved_without_a_signature() -> None:
    mm, im, leverage = _perpetual(PerpetualSet(400, 800, 12), PerpetualSet(205, 565, 17))
    assert (mm.status, mm.proposed) == ("hold", None)
    assert "over 1 point looser needs a signature" in mm.reason
    assert im.target is not None
    assert im.target > 400, "the initial margin belongs to the maintenance margin that stands"
    assert _perpetual(PerpetualSet(400, 2000, 5), PerpetualSet(310, 1800, 5))[0].status == "loosen"
    assert leverage.proposed is None or leverage.proposed <= 12


def test_withheld_sets_propose_nothing() -> None:
    for proposal in _lending(LendingSet(8300, 8050, 500), None, withheld_reason="stale data"):
        assert (proposal.status, proposal.proposed, proposal.reason) == ("withheld", None, "stale data")
    for proposal in _perpetual(None, None, withheld_reason="stale data"):
        assert (proposal.status, proposal.proposed) == ("withheld", None)


def test_nothing_in_force_is_new() -> None:
    assert [p.status for p in _lending(None, LendingSet(8000, 7600, 125))] == ["new"] * 3
    assert [p.status for p in _perpetual(None, PerpetualSet(250, 800, 12))] == ["new"] * 3


@given(
    st.integers(50, 190),
    st.integers(1, 20),
    st.integers(50, 190),
    st.floats(0, 0.5),
    st.booleans(),
)
def test_what_stands_afterwards_is_always_a_valid_set(
    lt_steps: int, gap: int, target_steps: int, buffer: float, may_loosen: bool
) -> None:
    live = LendingSet(lt_steps * 50, max(50, (lt_steps - gap) * 50), 200)
    target = LendingSet(target_steps * 50, target_steps * 50 - 50, 200)
    lt, ltv, _ = _lending(live, target, buffer_log=buffer, may_loosen=may_loosen)
    stands = [p.proposed if p.proposed is not None else p.in_force for p in (lt, ltv)]
    assert stands[1] < stands[0]
    assert stands[0] <= max(live.lt_bps, target.lt_bps)


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 400), st.floats(0, 0.5), st.booleans())
def test_initial_margin_stays_above_maintenance(
    mm_steps: int, above: int, target_steps: int, buffer: float, may_loosen: bool
) -> None:
    live = PerpetualSet(mm_steps * 5, (mm_steps + above) * 5, 10)
    mm, im, leverage = _perpetual(
        live, PerpetualSet(target_steps * 5, 9000, 1), buffer_log=buffer, may_loosen=may_loosen
    )
    stands = [p.proposed if p.proposed is not None else p.in_force for p in (mm, im)]
    assert stands[1] > stands[0]
    if leverage.proposed is not None and leverage.proposed > 1:
        assert leverage.proposed * stands[1] <= 10_000


def test_a_missing_target_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="lt"):
        _lending(None, None)
