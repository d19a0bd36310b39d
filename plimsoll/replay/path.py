"""Path: from what a rule wants each day to the threshold that governance publishes.

What lives here: grid, step, delay, confirmation and hysteresis, for any number of rules and markets at once. What does
not: rules, decisions on whole parameter sets (``recommendations``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BPS = 10_000
EXACT = 1e-7


@dataclass(frozen=True)
class GovernanceRules:
    """How fast a published threshold may follow its target.

    Attributes
    ----------
    grid_bps
        Thresholds are multiples of it, rounded down.
    step_bps, delay_days
        At most so much a change, and so many days from one change to the next.
    down_steps, up_steps
        Grid steps that the target must lie away before a tightening or a loosening begins.
    confirm_days
        Days in a row that a target must lie above before a loosening.

    Notes
    -----
    Defaults: 0.50 points in three days as the risk stewards of Aave are bound to, decreases in any cycle, increases
    after fourteen days.
    """

    grid_bps: int = 50
    step_bps: int = 50
    delay_days: int = 3
    down_steps: int = 1
    up_steps: int = 2
    confirm_days: int = 14


def published_path(targets: Floats, rules: GovernanceRules) -> Floats:
    r"""Walk targets through governance.

    Parameters
    ----------
    targets
        Thresholds wanted, as fractions, shape (T, ...): the value of a day is known before it begins. NaN: no wish on
        that day; what stands stays.
    rules
        Grid, step, delay, hysteresis.

    Returns
    -------
    ndarray
        Published thresholds of the same shape, fractions on the grid; NaN before the first wish. A day's value depends
        on targets up to that day only.
    """
    wanted = np.floor(targets * BPS / rules.grid_bps + EXACT) * rules.grid_bps
    out = np.empty_like(wanted)
    stands = np.full(wanted.shape[1:], np.nan)
    waited = np.full(wanted.shape[1:], rules.delay_days, dtype=np.int64)
    above = np.zeros(wanted.shape[1:], dtype=np.int64)
    for day, target in enumerate(wanted):
        stands = np.where(np.isnan(stands), target, stands)
        gap = np.where(np.isnan(target), 0.0, target - stands)
        above = np.where(gap >= rules.up_steps * rules.grid_bps, above + 1, 0)
        is_free = waited >= rules.delay_days
        falls = is_free & (gap <= -rules.down_steps * rules.grid_bps)
        rises = is_free & (above >= rules.confirm_days)
        moved = np.clip(gap, -rules.step_bps, rules.step_bps) * (falls | rises)
        stands = stands + np.where(np.isnan(moved), 0.0, moved)
        waited = np.where(falls | rises, 1, waited + 1)
        out[day] = stands
    return out / BPS
