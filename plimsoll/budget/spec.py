"""What a budget is asked for: what is common to all markets, and one use of one market.

What lives here: the two specifications. What does not: the budget itself (``walk``), how a configuration is read.
"""

from dataclasses import dataclass

from plimsoll.smoothing import SmoothingSpec

FLOOR = SmoothingSpec()


@dataclass(frozen=True)
class BudgetSpec:
    """What is common to all markets: budget, impact law, grids.

    ``smoothing`` is the rule against procyclicality; ``model_gate`` says whether a challenger that disagrees adds its
    margin.
    """

    es_budget: float
    participation: float
    impact_coefficient: float
    protocol_share: float
    minimum_oracle_deviation: float
    minimum_horizon_hours: float
    eta: float
    eta_deep: float
    lt_grid_bps: int
    bonus_grid_bps: int
    margin_grid_bps: int
    smoothing: SmoothingSpec = FLOOR
    model_gate: bool = True


@dataclass(frozen=True)
class ProductSpec:
    """One use of one market.

    Attributes
    ----------
    product
        ``lending`` or ``perpetual``.
    notional_usd
        Design size of one liquidation.
    base_horizon_hours
        Trigger to execution without the time to sell: oracle, keeper and auction together.
    tail_probability_bps
        p given a trigger: 500, 100, 50 or 10.
    oracle_deviation, fee
        Fractions.
    funding
        Adverse funding over the user's horizon, fraction of notional (perpetuals).
    cap_bps
        Structural cap of the liquidation threshold for the market's class (lending).
    bonus_floor_bps
        Bonus fixed by governance (lending): kept while it suffices for participation, 0 where none is in force.
    oracle_hours, keeper_hours, auction_hours
        What ``base_horizon_hours`` is made of, or None where one figure is all that is known.
    oracle_age_hours
        Age of the oracle's price that is exceeded one time in twenty; 0 where the deviation says all.
    bonus_notional_usd
        Size at which a liquidator must break even (95 % of liquidations are smaller); None: the design size.
    contract
        ``linear``, or ``inverse`` for coin-margined perpetuals.
    """

    product: str
    notional_usd: float
    base_horizon_hours: float
    tail_probability_bps: int
    oracle_deviation: float
    fee: float
    funding: float
    cap_bps: int
    bonus_floor_bps: int = 0
    oracle_hours: float | None = None
    keeper_hours: float | None = None
    auction_hours: float | None = None
    oracle_age_hours: float = 0.0
    bonus_notional_usd: float | None = None
    contract: str = "linear"
