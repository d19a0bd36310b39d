"""Perpetuals: how margins of single perpetual venues hang together, and portfolio margins by scenario.

What lives here: Hyperliquid, dYdX, Binance, price range and volatility shock of a portfolio margin. What does not:
tiers and maintenance amounts (``tiers``), margins scaled by open interest (``concentration``), coin-margined contracts
(``inverse``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plimsoll import liquidation
from plimsoll.thresholds import BPS, round_up
from plimsoll.tiers import TierTable, from_rates

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def _floats(value: ArrayLike) -> Floats:
    return np.asarray(value, dtype=np.float64)


def hyperliquid_tiers(
    floors_usd: ArrayLike, leverages: tuple[int, ...], largest_usd: float = float("inf")
) -> TierTable:
    r"""Tiers of a venue whose maintenance rate is half the initial margin at largest leverage, :math:`r_n = 1/(2L_n)`.

    Notes
    -----
    Source: Hyperliquid, margin tiers.
    """
    rates = 1 / (2 * np.asarray(leverages, dtype=np.float64))
    return from_rates(floors_usd, rates, largest_usd=largest_usd, leverages=leverages)


def hyperliquid_leverage(*, maintenance: ArrayLike, initial: ArrayLike) -> Integers:
    r"""Largest whole leverage whose two margins suffice, :math:`\lfloor\min(1/(2m),\ 1/i)\rfloor`.

    0 where not even a fully paid position suffices.
    """
    bound = np.minimum(1 / (2 * _floats(maintenance)), 1 / _floats(initial))
    return np.asarray(np.floor(bound * (1 + 1e-12)), dtype=np.int64)


def hyperliquid_from(table: TierTable) -> TierTable:
    """Turn a table with initial margins into the venue's: one leverage a tier carries both of its margins.

    Raises
    ------
    ValueError
        Where a tier asks more than half of the notional or an initial margin beyond it: the venue cannot express it.
    """
    if not table.initial_rates:
        raise ValueError("this tier table has no initial margins; add them with with_initial_margins")
    leverages = hyperliquid_leverage(maintenance=table.rates, initial=table.initial_rates)
    if np.any(leverages < 1):
        at = table.floors_usd[int(np.flatnonzero(leverages < 1)[0])]
        raise ValueError(f"from {at:.0f} USD on no whole leverage asks enough: end the table there")
    keep = [0, *(np.flatnonzero(np.diff(leverages) < 0) + 1).tolist()]
    floors = np.asarray(table.floors_usd)[keep]
    chosen = tuple(leverages[keep].tolist())
    rates = 1 / (2 * np.asarray(chosen, dtype=np.float64))
    return from_rates(floors, rates, largest_usd=table.largest_usd, leverages=chosen, note=table.note)


def dydx_maintenance(initial: ArrayLike, fraction: ArrayLike) -> Floats:
    """Maintenance margin as a fraction of the base initial margin; open interest does not scale it.

    Notes
    -----
    Source: liquidity tiers of the dYdX v4 chain.
    """
    return _floats(initial) * _floats(fraction)


@dataclass(frozen=True)
class DydxParameters:
    """Base initial margin and maintenance fraction of it, basis points."""

    initial_bps: int
    maintenance_fraction_bps: int


def dydx_parameters(*, maintenance: float, initial: float, grid_bps: int, fraction_grid_bps: int) -> DydxParameters:
    """Round the initial margin up, then the fraction up so that their product reaches the maintenance margin.

    Raises
    ------
    ValueError
        Where the maintenance margin reaches the initial margin on the grid.
    """
    base = int(round_up(initial * BPS, grid_bps))
    fraction = int(round_up(maintenance * BPS / base * BPS, fraction_grid_bps))
    if fraction >= BPS:
        raise ValueError(
            f"maintenance margin {maintenance:.4%} does not lie below the initial margin of {base} bps on the grid: "
            "raise the users' room"
        )
    return DydxParameters(base, fraction)


def binance_tiers(
    floors_usd: ArrayLike, rates: ArrayLike, leverages: tuple[int, ...] = (), largest_usd: float = float("inf")
) -> TierTable:
    """Tiers of a venue that publishes rates and maintenance amounts; the amounts follow from the rates."""
    return from_rates(floors_usd, rates, largest_usd=largest_usd, leverages=leverages)


PRICE_RANGE = 0.16
PRICE_BUCKETS = 9


def volatility_shock(range_fraction: ArrayLike, days_to_expiry: ArrayLike, power: float = 0.30) -> Floats:
    r"""Relative shock of implied volatility, :math:`v\,(30/DTE)^{0.30}`.

    Parameters
    ----------
    range_fraction
        v, shock at thirty days.
    days_to_expiry
        Days, above 0.
    power
        0.30; 0.5 for the square-root rule.
    """
    days = _floats(days_to_expiry)
    if np.any(days <= 0):
        raise ValueError("days to expiry must lie above 0: an expired option has no volatility")
    return _floats(range_fraction) * (30 / days) ** power


def price_moves(price_range: float = PRICE_RANGE, buckets: int = PRICE_BUCKETS) -> Floats:
    """Relative price moves of the scenarios, evenly spaced from minus to plus the range, with 0 among them."""
    if buckets < 3 or buckets % 2 == 0:
        raise ValueError(f"{buckets} price buckets: give an odd number of at least 3, so that no move is among them")
    half = buckets // 2
    return np.arange(-half, half + 1) / half * price_range


def portfolio_margin(
    gain: Callable[[float, float], float],
    *,
    moves: ArrayLike,
    volatility_up: float,
    volatility_down: float,
) -> float:
    """Largest loss of a portfolio over all price moves with volatility up, same and down; 0 where it cannot lose.

    Parameters
    ----------
    gain
        Gain of the portfolio for a relative price move and a relative shock of implied volatility.
    moves
        Relative price moves (`price_moves`).
    volatility_up, volatility_down
        Relative shocks, both positive.
    """
    gains = [
        gain(float(move), shock) for move, shock in product(_floats(moves), (volatility_up, 0.0, -volatility_down))
    ]
    if not np.all(np.isfinite(gains)):
        raise ValueError("the portfolio has no value in some scenario: withhold the margin and look at its inputs")
    return max(0.0, -min(gains))


def price_range_bps(*, total_long: float, total_short: float, grid_bps: int) -> int:
    r"""Smallest symmetric price range on the grid that covers both budgets.

    .. math:: \max\left(1-e^{-\Lambda_L},\ e^{\Lambda_S}-1\right)
    """
    long = float(liquidation.maintenance_margin(total_long, "long"))
    short = float(liquidation.maintenance_margin(total_short, "short"))
    return int(round_up(max(long, short) * BPS, grid_bps))
