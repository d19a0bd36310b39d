"""Inverse: margins of coin-margined perpetuals, whose loss is counted in the coin that moves.

What lives here: initial margin of both sides with its derivation, rounded sets and their validity, the move that a
margin absorbs. What does not: the maintenance margin's closed form and everything linear (``liquidation``,
``thresholds``).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plimsoll import liquidation
from plimsoll.thresholds import BPS, PerpetualParameters, round_up

Floats = NDArray[np.float64]

OTHER = {"long": "short", "short": "long"}


def initial_margin_inverse(*, maintenance: ArrayLike, buffer_log: ArrayLike, side: str) -> Floats:
    r"""Return the initial margin: :math:`(1+m)e^{A_u}-1` long, :math:`1-(1-m)e^{-A_u}` short.

    Parameters
    ----------
    maintenance
        m, fraction of the coin notional at the trigger price.
    buffer_log
        :math:`A_u`, users' adverse excursion, log.
    side
        ``long`` or ``short``.

    Notes
    -----
    N contracts of one USD entered at P are worth N/P coins and gain :math:`N(1/P - 1/P')` coins (long) at P'. With a
    margin of :math:`IM\,N/P` coins:

    Long, after a fall to :math:`P'=Pe^{-A}`: the loss is :math:`(N/P)(e^{A}-1)`, the maintenance due is
    :math:`m\,N/P' = m\,e^{A}N/P`. Equity covers it if and only if :math:`IM - (e^{A}-1) \ge m\,e^{A}`, that is
    :math:`IM \ge (1+m)e^{A}-1`. With :math:`m=e^{\Lambda}-1` this is :math:`e^{\Lambda+A}-1`.

    Short, after a rise to :math:`P'=Pe^{A}`: the loss is :math:`(N/P)(1-e^{-A})`, the maintenance due is
    :math:`m\,e^{-A}N/P`, so :math:`IM \ge 1-(1-m)e^{-A}`; with :math:`m=1-e^{-\Lambda}` this is
    :math:`1-e^{-\Lambda-A}`. The sides trade places with those of a linear contract, for which the coin is the money.
    """
    if side not in OTHER:
        raise ValueError(f"side {side!r}: say 'long' or 'short'")
    return liquidation.initial_margin(maintenance=maintenance, buffer_log=buffer_log, side=OTHER[side])


def inverse_parameters(
    *, total: ArrayLike, buffer_log: ArrayLike, funding: ArrayLike, side: str, margin_grid_bps: int
) -> PerpetualParameters:
    r"""Round margins up and leverage down; initial margin follows from the rounded maintenance margin.

    Parameters
    ----------
    total
        Log loss budget of the side.
    buffer_log, funding
        Users' adverse excursion (log) and adverse funding (fraction of the coin notional) over their horizon.
    side
        ``long`` or ``short``. A long's margin may exceed the notional: the coins owed grow without bound.
    margin_grid_bps
        Grid.

    Notes
    -----
    A short's fee is paid in coins at the worse price: its exact log cost is :math:`-\ln(1-f)`, not
    :math:`\ln(1+f)`; the difference of :math:`f^2` is a hundredth of a basis point at a fee of 0.1 % and vanishes
    under the grid, unless the raw margin stands within it of a grid step.
    """
    mm = round_up(liquidation.inverse_maintenance_margin(total, side) * BPS, margin_grid_bps)
    initial = initial_margin_inverse(maintenance=mm / BPS, buffer_log=buffer_log, side=side)
    im = round_up((initial + np.asarray(funding, dtype=np.float64)) * BPS, margin_grid_bps)
    im = np.maximum(im, mm + margin_grid_bps)
    return PerpetualParameters(mm, im, np.maximum(BPS // im, 1))


def inverse_violations(
    *,
    mm_bps: int,
    im_bps: int,
    max_leverage: int,
    total: float,
    side: str,
    buffer_log: float = 0.0,
    funding: float = 0.0,
) -> tuple[str, ...]:
    """Test rounded coin margins against every constraint; one sentence a violation, empty where they hold."""
    found = []
    least = float(liquidation.inverse_maintenance_margin(total, side)) * BPS
    if mm_bps < least - 1e-5:
        found.append(f"maintenance margin {mm_bps} bps is below the {least:.1f} bps of the budget")
    if im_bps <= mm_bps:
        found.append(f"initial margin {im_bps} bps does not lie above maintenance margin {mm_bps} bps")
    room = float(initial_margin_inverse(maintenance=mm_bps / BPS, buffer_log=buffer_log, side=side)) + funding
    if im_bps < room * BPS - 1e-5:
        found.append(f"initial margin {im_bps} bps is below the {room * BPS:.1f} bps that the users' room asks")
    if max_leverage > 1 and max_leverage * im_bps > BPS:
        found.append(f"leverage {max_leverage} asks less than the initial margin {im_bps} bps")
    return tuple(found)


def absorbed_move_inverse(
    *, maintenance: ArrayLike, oracle_deviation: ArrayLike, slippage: ArrayLike, fee: ArrayLike, side: str
) -> Floats:
    r"""Log move that a coin margin absorbs: :math:`\ln(1+m)` (long) or :math:`-\ln(1-m)` (short) less the costs."""
    m = np.asarray(maintenance, dtype=np.float64)
    costs = (
        liquidation.log_cost(oracle_deviation, side)
        + liquidation.log_cost(slippage, side)
        + liquidation.log_cost(fee, side)
    )
    return (np.log1p(m) if side == "long" else -np.log1p(-m)) - costs
