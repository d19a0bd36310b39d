"""Bonus: the smallest that brings a liquidator and the largest that does not poison the account.

What lives here: both bounds, on a grid, and their test. What does not: the bonus that a single venue's formula gives
(``lending``), the budget (``liquidation``).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plimsoll import liquidation
from plimsoll.thresholds import BPS, round_up

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def _floats(value: ArrayLike) -> Floats:
    return np.asarray(value, dtype=np.float64)


def participation_bonus_bps(
    *,
    slippage: ArrayLike,
    fee: ArrayLike,
    protocol_share: float,
    grid_bps: int,
    oracle_deviation: ArrayLike = 0.0,
    side: str = "long",
) -> Integers:
    """Smallest bonus on the grid at which a liquidator of the typical large size breaks even, rounded up.

    Parameters
    ----------
    slippage
        At the 95th percentile of liquidation sizes, fraction.
    fee, protocol_share, oracle_deviation, side
        As in `liquidation.minimum_bonus`.
    grid_bps
        Grid.
    """
    least = liquidation.minimum_bonus(
        slippage=slippage, fee=fee, protocol_share=protocol_share, oracle_deviation=oracle_deviation, side=side
    )
    return round_up(least * BPS, grid_bps)


def improving_ltv(bonus: ArrayLike) -> Floats:
    r"""Debt over collateral below which a liquidation improves the account, :math:`1/(1+b)`.

    Notes
    -----
    The loan to value after repaying d, :math:`(D-d)/(C-(1+b)d)`, falls with d if and only if :math:`D(1+b) < C`.
    Source: Warmuz, Chaudhary and Pinna 2022.
    """
    return 1 / (1 + _floats(bonus))


def toxicity(
    *, lt: ArrayLike, bonus: ArrayLike, move: ArrayLike, oracle_deviation: ArrayLike = 0.0, side: str = "long"
) -> Floats:
    r"""Claim of the liquidator over the collateral at the design move.

    .. math:: \frac{LT\,e^{X}(1+b)}{1-\delta} \text{ long}, \qquad LT\,e^{X}(1+b)(1+\delta) \text{ (short)}

    At 1 and beyond a liquidation leaves the account worse than it was.
    """
    carried = liquidation.threshold_cap(move=move, oracle_deviation=oracle_deviation, bonus=bonus, side=side)
    return _floats(lt) / carried


def maximum_bonus_bps(
    *, lt: ArrayLike, move: ArrayLike, grid_bps: int, oracle_deviation: ArrayLike = 0.0, side: str = "long"
) -> Integers:
    r"""Largest bonus on the grid that is not toxic: the largest b with a claim below 1 (`toxicity`).

    Negative where not even a bonus of 0 is harmless.
    """
    bound = 1 / toxicity(lt=lt, bonus=0.0, move=move, oracle_deviation=oracle_deviation, side=side) - 1
    steps = np.ceil(bound * BPS / grid_bps - 1e-7) - 1
    return np.asarray(steps, dtype=np.int64) * grid_bps


def bonus_violations(
    *,
    bonus_bps: int,
    lt_bps: int,
    move: float,
    slippage: float,
    fee: float,
    protocol_share: float,
    oracle_deviation: float = 0.0,
    side: str = "long",
) -> tuple[str, ...]:
    """Test a bonus against participation and toxicity; one sentence a violation."""
    found = []
    least = BPS * float(
        liquidation.minimum_bonus(
            slippage=slippage, fee=fee, protocol_share=protocol_share, oracle_deviation=oracle_deviation, side=side
        )
    )
    if bonus_bps < least - 1e-5:
        found.append(f"bonus {bonus_bps} bps is below the {least:.1f} bps at which a liquidator breaks even")
    claim = float(
        toxicity(lt=lt_bps / BPS, bonus=bonus_bps / BPS, move=move, oracle_deviation=oracle_deviation, side=side)
    )
    if claim >= 1:
        found.append(
            f"threshold {lt_bps} bps with bonus {bonus_bps} bps is toxic: after a log move of {move:.4f} a liquidator "
            f"claims {claim:.2%} of the collateral and every liquidation worsens the account"
        )
    return tuple(found)
