"""Accounts: what happens to borrowers at a published threshold.

What lives here: liquidations given a trigger (in time, too late, unnecessary), and liquidations that only governance
caused. What does not: how the threshold came about (``path``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from plimsoll.replay.panel import Panel

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

UNNECESSARY_DAYS = 7
"""Days after a liquidation within which it is asked whether it was needed."""
DISTANCES = (0.02, 0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.40)
"""Log distances from liquidation at which accounts are opened, one of each a day."""
HELD_DAYS = 30
"""Days that such an account stays open."""


@dataclass(frozen=True)
class Judged:
    """Triggers and what a threshold made of them, one row each.

    Attributes
    ----------
    day, market
        Indices into the panel, shape (n,).
    room
        Log move that the threshold carries after costs.
    overshoot
        Log distance from the trigger to the extreme of the day.
    is_late
        Solvency breach: the move went beyond the room.
    is_ruin
        Without a liquidation the account would have become insolvent within the following days.
    is_unnecessary
        Without one it would have stayed solvent and ended above its trigger.
    is_followed
        The days after it are known, so that the two can be judged.
    """

    day: NDArray[np.int64]
    market: NDArray[np.int64]
    room: Floats
    overshoot: Floats
    is_late: Flags
    is_ruin: Flags
    is_unnecessary: Flags
    is_followed: Flags

    @property
    def bad_debt(self) -> Floats:
        r"""Share of the debt that stays unpaid: :math:`1 - e^{-(O - x)}` beyond the room, else 0."""
        return np.asarray(-np.expm1(-np.maximum(self.overshoot - self.room, 0.0)))


def triggers(panel: Panel) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find days on which the low reached the level c sigmas below the close before; day and market indices."""
    level = panel.previous_close * np.exp(-panel.depth * panel.sigma)
    with np.errstate(invalid="ignore"):
        day, market = np.nonzero((panel.low <= level) & (panel.sigma > 0))
    return day, market


@dataclass(frozen=True)
class Situation:
    """What every rule meets alike on the triggers of a panel, one row each; `judge` adds a threshold to it."""

    day: NDArray[np.int64]
    market: NDArray[np.int64]
    costs: Floats
    overshoot: Floats
    deepest: Floats
    ends_well: Flags
    is_followed: Flags


def situation(panel: Panel) -> Situation:
    r"""Describe each trigger: the level :math:`L = C_{t-1} e^{-c\sigma_t}`, and how far the price fell and came back.

    Returns
    -------
    Situation
        ``overshoot`` and ``deepest`` are log distances from L to the low of the day, and of this day and the seven
        following ones; the latter is NaN, and ``ends_well`` false, where those days are not known yet.
    """
    day, market = triggers(panel)
    at = (day, market)
    level = panel.previous_close[at] * np.exp(-panel.depth[at] * panel.sigma[at])
    lowest, last, followed = _afterwards(panel)
    with np.errstate(invalid="ignore"):
        ends_well = last[at] >= level
    return Situation(
        day=day,
        market=market,
        costs=panel.costs[at],
        overshoot=np.log(level / panel.low[at]),
        deepest=np.log(level / lowest[at]),
        ends_well=ends_well,
        is_followed=followed[at],
    )


def judge(met: Situation, thresholds: Floats) -> Judged:
    r"""Liquidate an account at each trigger under a published threshold.

    An account whose liquidation price is L owes :math:`LT\cdot L` a unit of collateral. Its liquidation is late where
    the low of the day, less costs, does not pay that. It is unnecessary where the lows of this day and the seven
    following ones would have paid it and the last close lies above L again.

    Parameters
    ----------
    met
        Triggers of the panel.
    thresholds
        Published, as fractions, known before each day, shape (T, M); triggers without one are left out.
    """
    all_known = np.isfinite(thresholds[met.day, met.market]) & np.isfinite(met.costs)
    day, market = met.day[all_known], met.market[all_known]
    with np.errstate(divide="ignore"):
        # A threshold of zero lends nothing and carries everything.
        room = -np.log(thresholds[day, market]) - met.costs[all_known]
    overshoot, is_followed = met.overshoot[all_known], met.is_followed[all_known]
    with np.errstate(invalid="ignore"):
        is_ruin = met.deepest[all_known] > room
    return Judged(
        day=day,
        market=market,
        room=room,
        overshoot=overshoot,
        is_late=overshoot > room,
        is_ruin=is_ruin & is_followed,
        is_unnecessary=~is_ruin & met.ends_well[all_known] & is_followed,
        is_followed=is_followed,
    )


def _afterwards(panel: Panel) -> tuple[Floats, Floats, Flags]:
    """Lowest low of each day and the following ones, the last close, and whether all of them are known."""
    n = UNNECESSARY_DAYS + 1
    length = len(panel.dates)
    lowest = np.full_like(panel.low, np.nan)
    last = np.full_like(panel.low, np.nan)
    if length >= n:
        lowest[: length - n + 1] = sliding_window_view(panel.low, n, axis=0).min(axis=-1)
        last[: length - n + 1] = panel.close[n - 1 :]
    return lowest, last, np.isfinite(lowest) & np.isfinite(last)


def forced_share(panel: Panel, thresholds: Floats) -> float:
    """Share of accounts that were liquidated only because the threshold was lowered.

    Each day opens one account at every distance of ``DISTANCES`` from liquidation; it is held for ``HELD_DAYS`` or
    until the price liquidates it. It is forced out on a day whose threshold, at the close before, would liquidate it,
    while the one of the day before would not.

    Parameters
    ----------
    panel, thresholds
        As in `judge`.

    Returns
    -------
    float
        Forced out over opened; NaN where none was opened.

    Notes
    -----
    Distances and age are assumptions about users, not data about them: compare rules with it, do not add it up.
    """
    opened = np.isfinite(thresholds) & np.isfinite(panel.close)
    accounts = int(opened.sum()) * len(DISTANCES)
    if accounts == 0:
        return float("nan")
    with np.errstate(invalid="ignore"):
        day, market = np.nonzero(thresholds[1:] < thresholds[:-1])
    day = day + 1
    # Debt that a unit of collateral carried at worst on each day: beyond it an account is gone, for whatever reason.
    worst = panel.low * thresholds
    worst[1:] = np.fmin(worst[1:], panel.close[:-1] * thresholds[1:])
    before, after = (panel.close[day - 1, market] * thresholds[day - lag, market] for lag in (1, 0))
    weakest = np.full(len(day), np.inf)
    total = 0
    for age in range(1, HELD_DAYS + 1):
        is_there = day >= age
        start = np.maximum(day - age, 0)
        debt = np.where(is_there, panel.close[start, market] * thresholds[start, market], np.nan)
        for distance in DISTANCES:
            owed = debt * np.exp(-distance)
            with np.errstate(invalid="ignore"):
                total += int(np.count_nonzero((owed <= weakest) & (owed <= before) & (owed > after)))
        weakest = np.fmin(weakest, np.where(is_there, worst[start, market], np.nan))
    return total / accounts
