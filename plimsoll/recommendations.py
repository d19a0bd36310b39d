"""Recommendations: from the parameters in force and the budget's target to one jointly valid proposed set.

What lives here: deciding a whole parameter set at once (threshold, then origination limit, then bonus; maintenance
margin, then initial margin, then leverage). What does not: the rule for one parameter and rounding (``thresholds``),
the budget itself (``budget``), the confidence that values in force imply (``implied``).
"""

from dataclasses import dataclass, replace

import numpy as np

from plimsoll import liquidation, thresholds
from plimsoll.thresholds import Proposal


@dataclass(frozen=True)
class DecisionRules:
    """When a change is proposed and when it is held.

    Attributes
    ----------
    hold_bps
        A loosening larger than this is published as HOLD.
    hold_margin_share
        So is one of a margin by more than this share of the value in force: two points of a margin of four would halve
        it.
    down_steps, up_steps
        Grid steps a target must lie away before a tightening or a loosening is proposed.
    lt_grid_bps, margin_grid_bps, bonus_grid_bps
        Grids.
    """

    hold_bps: int
    down_steps: int
    up_steps: int
    lt_grid_bps: int
    margin_grid_bps: int
    bonus_grid_bps: int
    hold_margin_share: float = 0.25

    def margin_hold_bps(self, in_force_bps: int | None) -> int:
        """Largest loosening of a margin that needs no signature, basis points."""
        return self.hold_bps if in_force_bps is None else min(self.hold_bps, int(self.hold_margin_share * in_force_bps))


@dataclass(frozen=True)
class LendingSet:
    """A lending parameter set as basis points."""

    lt_bps: int
    ltv_bps: int
    bonus_bps: int


@dataclass(frozen=True)
class PerpetualSet:
    """A perpetual parameter set: margins as basis points, leverage as whole times."""

    mm_bps: int
    im_bps: int
    max_leverage: int


def propose_lending(
    in_force: LendingSet | None,
    target: LendingSet | None,
    *,
    buffer_log: float,
    may_loosen: bool,
    withheld_reason: str | None,
    rules: DecisionRules,
) -> tuple[Proposal, Proposal, Proposal]:
    """Propose liquidation threshold, LTV and bonus as one set.

    The threshold is decided first. The LTV target then follows from the threshold that would stand afterwards, in force
    or proposed, so that a held threshold never meets an LTV meant for another one. The bonus moves only with the target
    set.

    Parameters
    ----------
    in_force, target
        Sets; ``in_force`` None where nothing is in force, ``target`` None only together with ``withheld_reason``.
    buffer_log
        Users' adverse excursion, log.
    may_loosen
        False on thin or single-source data: a loosening becomes a hold.
    withheld_reason
        Why nothing may be proposed, or None.
    rules
        Hysteresis, hold and grids.

    Returns
    -------
    tuple of Proposal
        ``lt``, ``ltv``, ``bonus``. Values are basis points.

    Raises
    ------
    ValueError
        Where ``target`` is missing without a reason.
    """
    lt = thresholds.propose(
        parameter="lt",
        in_force=None if in_force is None else in_force.lt_bps,
        target=None if target is None else target.lt_bps,
        grid=rules.lt_grid_bps,
        tightening_is_down=True,
        hold_bps=rules.hold_bps,
        down_steps=rules.down_steps,
        up_steps=rules.up_steps,
        may_loosen=may_loosen,
        withheld_reason=withheld_reason,
    )
    if target is None or withheld_reason is not None:
        return (
            lt,
            _withheld("ltv", None if in_force is None else in_force.ltv_bps, lt),
            _withheld("bonus", None if in_force is None else in_force.bonus_bps, lt),
        )
    stands = _stands(lt)
    wanted = min(
        float(liquidation.maximum_ltv(lt=stands / 1e4, buffer_log=buffer_log)) * 1e4, stands - rules.lt_grid_bps
    )
    ltv_target = max(0, int(np.floor(wanted / rules.lt_grid_bps + 1e-9)) * rules.lt_grid_bps)
    ltv = thresholds.propose(
        parameter="ltv",
        in_force=None if in_force is None else in_force.ltv_bps,
        target=ltv_target,
        grid=rules.lt_grid_bps,
        tightening_is_down=True,
        hold_bps=rules.hold_bps,
        down_steps=rules.down_steps,
        up_steps=rules.up_steps,
        may_loosen=may_loosen,
        withheld_reason=None,
    )
    if _stands(ltv) >= stands:
        ltv = replace(ltv, proposed=ltv_target, status="tighten", reason="follows the liquidation threshold")
    bonus = thresholds.propose(
        parameter="bonus",
        in_force=None if in_force is None else in_force.bonus_bps,
        target=target.bonus_bps,
        grid=rules.bonus_grid_bps,
        tightening_is_down=False,
        hold_bps=rules.hold_bps,
        down_steps=1,
        up_steps=rules.up_steps,
        may_loosen=may_loosen,
        withheld_reason=None,
    )
    return lt, ltv, bonus


def propose_perpetual(
    in_force: PerpetualSet | None,
    target: PerpetualSet | None,
    *,
    buffer_log: float,
    funding: float,
    side: str,
    may_loosen: bool,
    withheld_reason: str | None,
    rules: DecisionRules,
) -> tuple[Proposal, Proposal, Proposal]:
    """Propose maintenance margin, initial margin and leverage as one set.

    Parameters
    ----------
    in_force, target, may_loosen, withheld_reason, rules
        As in `propose_lending`.
    buffer_log, funding
        Users' adverse excursion (log) and adverse funding (fraction) over their horizon.
    side
        ``long`` or ``short``.

    Returns
    -------
    tuple of Proposal
        ``mm``, ``im`` (basis points), ``max_leverage`` (times).
    """
    common = {"down_steps": rules.down_steps, "up_steps": rules.up_steps}
    mm = thresholds.propose(
        parameter="mm",
        in_force=None if in_force is None else in_force.mm_bps,
        target=None if target is None else target.mm_bps,
        grid=rules.margin_grid_bps,
        tightening_is_down=False,
        may_loosen=may_loosen,
        withheld_reason=withheld_reason,
        hold_bps=rules.margin_hold_bps(None if in_force is None else in_force.mm_bps),
        **common,
    )
    if target is None or withheld_reason is not None:
        return (
            mm,
            _withheld("im", None if in_force is None else in_force.im_bps, mm),
            _withheld("max_leverage", None if in_force is None else in_force.max_leverage, mm),
        )
    stands = _stands(mm)
    margin = liquidation.initial_margin(maintenance=stands / 1e4, buffer_log=buffer_log, side=side)
    wanted = max((float(margin) + funding) * 1e4, stands + rules.margin_grid_bps)
    im_target = int(np.ceil(wanted / rules.margin_grid_bps - 1e-9)) * rules.margin_grid_bps
    im = thresholds.propose(
        parameter="im",
        in_force=None if in_force is None else in_force.im_bps,
        target=im_target,
        grid=rules.margin_grid_bps,
        tightening_is_down=False,
        may_loosen=may_loosen,
        withheld_reason=None,
        hold_bps=rules.margin_hold_bps(None if in_force is None else in_force.im_bps),
        **common,
    )
    if _stands(im) <= stands:
        im = replace(im, proposed=im_target, status="tighten", reason="follows the maintenance margin")
    leverage = max(1, 10_000 // _stands(im))
    before = None if in_force is None else in_force.max_leverage
    moved = before is not None and leverage != before
    status = im.status if moved or before is None or im.status == "hold" else "unchanged"
    return (
        mm,
        im,
        Proposal(
            "max_leverage",
            before,
            leverage,
            leverage if status != "hold" else None,
            status,
            "one over initial margin, rounded down",
        ),
    )


def _stands(proposal: Proposal) -> int:
    value = proposal.proposed if proposal.proposed is not None else proposal.in_force
    if value is None:
        raise ValueError(f"{proposal.parameter}: neither in force nor proposed; withhold the set instead")
    return value


def _withheld(parameter: str, in_force: int | None, lead: Proposal) -> Proposal:
    return Proposal(parameter, in_force, None, None, "withheld", lead.reason)
