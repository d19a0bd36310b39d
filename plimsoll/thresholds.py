"""Thresholds: rounded parameter sets, whether they hold together, and the rule for proposing one parameter.

What lives here: grids, the order of rounding, validity of rounded sets, hysteresis and the loosening rule. What does
not: closed forms (``liquidation``), decisions on whole sets (``recommendations``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plimsoll import liquidation

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

BPS = 10_000
EXACT = 1e-7
"""Grid steps within which a value counts as lying on the grid: far above rounding error, far below a basis point."""


def round_down(value_bps: ArrayLike, grid_bps: int) -> Integers:
    """Largest multiple of the grid that does not exceed the value."""
    steps = np.asarray(value_bps, dtype=np.float64) / grid_bps
    return np.asarray(np.floor(steps + EXACT), dtype=np.int64) * grid_bps


def round_up(value_bps: ArrayLike, grid_bps: int) -> Integers:
    """Smallest multiple of the grid that is not below the value."""
    steps = np.asarray(value_bps, dtype=np.float64) / grid_bps
    return np.asarray(np.ceil(steps - EXACT), dtype=np.int64) * grid_bps


FROZEN = "thin or single-source data never loosen"
"""Why a loosening is held where the caller gives no better reason."""


@dataclass(frozen=True)
class LendingParameters:
    """Rounded lending parameters as basis points."""

    lt_bps: Integers
    ltv_bps: Integers
    bonus_bps: Integers


@dataclass(frozen=True)
class PerpetualParameters:
    """Rounded margins as basis points and leverage as whole times."""

    mm_bps: Integers
    im_bps: Integers
    max_leverage: Integers


def lending_parameters(
    *,
    move: ArrayLike,
    oracle_deviation: ArrayLike,
    slippage: ArrayLike,
    fee: ArrayLike,
    protocol_share: float,
    buffer_log: ArrayLike,
    cap_bps: int,
    lt_grid_bps: int,
    bonus_grid_bps: int,
    side: str,
    bonus_floor_bps: int = 0,
) -> LendingParameters:
    """Round a lending set in the order that keeps it valid: bonus up, threshold down, LTV down.

    Rounding each parameter by itself yields sets whose threshold and bonus together promise more than the budget holds.

    Parameters
    ----------
    move, oracle_deviation, slippage, fee, buffer_log
        As in ``liquidation``; arrays broadcast.
    protocol_share
        Protocol's share of the bonus.
    cap_bps
        Structural cap of the threshold.
    lt_grid_bps, bonus_grid_bps
        Grids.
    side
        ``long`` or ``short``.
    bonus_floor_bps
        Bonus fixed by governance; kept where it suffices for participation.

    Returns
    -------
    LendingParameters
        The threshold is 0 where not even one grid step is carried; the LTV lies at least one step below the threshold.
    """
    least = liquidation.minimum_bonus(
        slippage=slippage, fee=fee, protocol_share=protocol_share, oracle_deviation=oracle_deviation, side=side
    )
    bonus = np.maximum(round_up(least * BPS, bonus_grid_bps), bonus_floor_bps)
    carried = liquidation.threshold_cap(move=move, oracle_deviation=oracle_deviation, bonus=bonus / BPS, side=side)
    lt = np.maximum(round_down(np.minimum(carried * BPS, cap_bps), lt_grid_bps), 0)
    buffered = round_down(liquidation.maximum_ltv(lt=lt / BPS, buffer_log=buffer_log) * BPS, lt_grid_bps)
    ltv = np.maximum(np.minimum(buffered, lt - lt_grid_bps), 0)
    return LendingParameters(lt, ltv, np.asarray(bonus, dtype=np.int64))


def perpetual_parameters(
    *, total: ArrayLike, buffer_log: ArrayLike, funding: ArrayLike, side: str, margin_grid_bps: int
) -> PerpetualParameters:
    """Round margins up and leverage down; initial margin follows from the rounded maintenance margin.

    Parameters
    ----------
    total
        Log loss budget.
    buffer_log, funding
        Users' adverse excursion (log) and adverse funding (fraction) over their horizon.
    side
        ``long`` or ``short``. A short's margin may exceed the notional: a price can more than double.
    margin_grid_bps
        Grid.
    """
    mm = round_up(liquidation.maintenance_margin(total, side) * BPS, margin_grid_bps)
    initial = liquidation.initial_margin(maintenance=mm / BPS, buffer_log=buffer_log, side=side)
    im = round_up((initial + np.asarray(funding, dtype=np.float64)) * BPS, margin_grid_bps)
    im = np.maximum(im, mm + margin_grid_bps)
    return PerpetualParameters(mm, im, np.maximum(BPS // im, 1))


def lending_violations(
    *,
    lt_bps: int,
    ltv_bps: int,
    bonus_bps: int,
    move: float,
    oracle_deviation: float,
    slippage: float,
    fee: float,
    protocol_share: float,
    cap_bps: int,
    side: str,
) -> tuple[str, ...]:
    """Test a rounded lending set against every constraint; one sentence a violation, empty where it holds.

    Parameters
    ----------
    lt_bps, ltv_bps, bonus_bps
        The set.
    move, oracle_deviation, slippage, fee, protocol_share, cap_bps, side
        What it must carry, as in `lending_parameters`.
    """
    lt, bonus = lt_bps / BPS, bonus_bps / BPS
    found = []
    if ltv_bps >= lt_bps:
        found.append(f"LTV {ltv_bps} bps does not lie below the liquidation threshold {lt_bps} bps")
    if lt * (1 + bonus) > 1:
        found.append(f"threshold {lt_bps} bps with bonus {bonus_bps} bps hands out more than the collateral")
    if lt_bps > cap_bps:
        found.append(f"threshold {lt_bps} bps exceeds the cap of its class, {cap_bps} bps")
    carried = float(liquidation.threshold_cap(move=move, oracle_deviation=oracle_deviation, bonus=bonus, side=side))
    if lt > carried + 1e-9:
        found.append(f"threshold {lt_bps} bps exceeds the {carried * BPS:.1f} bps that the budget carries")
    least = float(
        liquidation.minimum_bonus(
            slippage=slippage, fee=fee, protocol_share=protocol_share, oracle_deviation=oracle_deviation, side=side
        )
    )
    if bonus < least - 1e-9:
        found.append(f"bonus {bonus_bps} bps is below the {least * BPS:.1f} bps at which a liquidator breaks even")
    return tuple(found)


def perpetual_violations(*, mm_bps: int, im_bps: int, max_leverage: int, total: float, side: str) -> tuple[str, ...]:
    """Test rounded margins against every constraint; one sentence a violation, empty where they hold."""
    found = []
    least = float(liquidation.maintenance_margin(total, side)) * BPS
    if mm_bps < least - 1e-5:
        found.append(f"maintenance margin {mm_bps} bps is below the {least:.1f} bps of the budget")
    if im_bps <= mm_bps:
        found.append(f"initial margin {im_bps} bps does not lie above maintenance margin {mm_bps} bps")
    if max_leverage > 1 and max_leverage * im_bps > BPS:
        found.append(f"leverage {max_leverage} asks less than the initial margin {im_bps} bps")
    return tuple(found)


@dataclass(frozen=True)
class Proposal:
    """What is proposed for one parameter: basis points, or times for leverage.

    Attributes
    ----------
    parameter
        ``lt``, ``ltv``, ``bonus``, ``mm``, ``im`` or ``max_leverage``.
    in_force, target, proposed
        Values; None where nothing is in force, no target is known, or nothing is proposed.
    status
        ``tighten``, ``loosen``, ``unchanged``, ``hold``, ``new`` or ``withheld``.
    reason
        One clause with its numbers.
    """

    parameter: str
    in_force: int | None
    target: int | None
    proposed: int | None
    status: str
    reason: str


def propose(
    *,
    parameter: str,
    in_force: int | None,
    target: int | None,
    grid: int,
    tightening_is_down: bool,
    hold_bps: int,
    down_steps: int,
    up_steps: int,
    may_loosen: bool,
    withheld_reason: str | None,
) -> Proposal:
    """Decide one parameter.

    Parameters
    ----------
    parameter
        Name.
    in_force, target
        Basis points.
    grid
        Grid step.
    tightening_is_down
        True for thresholds and LTV, False for margins and bonuses.
    hold_bps
        A loosening larger than this is held: present values are lowered on evidence, raised only by decision.
    down_steps, up_steps
        Grid steps that a target must lie away before a tightening or a loosening is proposed.
    may_loosen
        False on thin or single-source data.
    withheld_reason
        Why nothing may be proposed, or None.

    Returns
    -------
    Proposal
        With a reason.

    Raises
    ------
    ValueError
        Where there is neither a target nor a reason to withhold.
    """
    if withheld_reason is not None:
        return Proposal(parameter, in_force, None, None, "withheld", withheld_reason)
    if target is None:
        raise ValueError(f"{parameter}: no target and no reason to withhold it; give one of them")
    if in_force is None:
        return Proposal(parameter, None, target, target, "new", f"none in force; the budget carries {_percent(target)}")
    change = target - in_force
    points = f"{_points(abs(change))} {'less' if change < 0 else 'more'} than the {_percent(in_force)} in force"
    is_tighter = change < 0 if tightening_is_down else change > 0
    needed = (down_steps if is_tighter else up_steps) * grid
    if change == 0:
        return Proposal(
            parameter, in_force, target, in_force, "unchanged", f"the budget gives the {_percent(in_force)} in force"
        )
    if abs(change) < needed:
        return Proposal(parameter, in_force, target, in_force, "unchanged", f"{points}: within {_points(needed)}")
    if is_tighter:
        return Proposal(parameter, in_force, target, target, "tighten", f"the budget gives {points}")
    if abs(change) > hold_bps:
        held = f"the budget gives {points}; over {_points(hold_bps)} looser needs a signature"
        return Proposal(parameter, in_force, target, None, "hold", held)
    if not may_loosen:
        held = f"the budget gives {points}; {FROZEN}"
        return Proposal(parameter, in_force, target, None, "hold", held)
    return Proposal(parameter, in_force, target, target, "loosen", f"the budget gives {points}")


def _points(bps: int) -> str:
    return f"{bps / 100:g} point{'' if bps == 100 else 's'}"


def _percent(value_bps: int) -> str:
    return f"{value_bps / 100:g} %"
