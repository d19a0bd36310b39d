"""Constraints: what the budget demands of a parameter set, as amounts by which a set falls short.

What lives here: the budget's demands on lending sets and on margins, each as an excess in basis points that is 0 or
less where it is met. What does not: what a venue allows (``venues``), rounding a target (``thresholds``).
"""

from collections.abc import Callable
from dataclasses import dataclass

from plimsoll import inverse, liquidation
from plimsoll.venues import BPS, Values

EXACT_BPS = 1e-5
"""Excess that is rounding error."""


@dataclass(frozen=True)
class Constraint:
    """One demand.

    Attributes
    ----------
    name
        What is demanded, as a clause.
    excess_bps
        From a whole set to the basis points by which it falls short; 0 or less where it does not.
    """

    name: str
    excess_bps: Callable[[Values], float]

    def fault(self, values: Values, before: Values | None = None) -> str | None:
        """Return what is wrong with a set, or None.

        Parameters
        ----------
        values
            Whole set.
        before
            Set in force: where it falls short already, the set may fall short as far, never farther. On the way to a
            tighter target every step does.
        """
        found = self.excess_bps(values)
        allowed = 0.0 if before is None else max(0.0, self.excess_bps(before))
        return None if found <= allowed + EXACT_BPS else f"{self.name}: {found:.1f} bps short"


def bonus_of(values: Values) -> float:
    """Bonus of a set as a fraction; a liquidation factor f stands for 1/f - 1."""
    if "bonus" in values:
        return values["bonus"] / BPS
    return BPS / values["liquidation_factor"] - 1.0


def lending_constraints(
    *,
    move: float,
    oracle_deviation: float,
    slippage: float,
    fee: float,
    protocol_share: float,
    buffer_log: float,
    cap_bps: int,
    side: str = "long",
) -> tuple[Constraint, ...]:
    r"""Demands on a lending set.

    .. math:: LT(1+b) \le (1-\delta)e^{-X}, \quad b \ge b_{min}, \quad LTV \le LT\,e^{-A_u}, \quad LT \le cap

    Parameters
    ----------
    move, oracle_deviation, slippage, fee, protocol_share, buffer_log, cap_bps, side
        As in `thresholds.lending_parameters`.

    Returns
    -------
    tuple of Constraint
        Coverage, participation, users' buffer, structural cap.
    """
    least = float(
        liquidation.minimum_bonus(
            slippage=slippage, fee=fee, protocol_share=protocol_share, oracle_deviation=oracle_deviation, side=side
        )
    )

    def coverage(values: Values) -> float:
        carried = liquidation.threshold_cap(
            move=move, oracle_deviation=oracle_deviation, bonus=bonus_of(values), side=side
        )
        return values["lt"] - float(carried) * BPS

    def buffer(values: Values) -> float:
        if "ltv" not in values:
            return 0.0
        return values["ltv"] - float(liquidation.maximum_ltv(lt=values["lt"] / BPS, buffer_log=buffer_log)) * BPS

    return (
        Constraint("liquidation threshold within what the budget carries", coverage),
        Constraint("bonus at which a liquidator breaks even", lambda values: (least - bonus_of(values)) * BPS),
        Constraint("LTV below the threshold by the users' buffer", buffer),
        Constraint("liquidation threshold within the cap of its class", lambda values: float(values["lt"] - cap_bps)),
    )


def perpetual_constraints(
    *, total: float, buffer_log: float, funding: float, side: str, is_inverse: bool = False
) -> tuple[Constraint, ...]:
    r"""Demands on margins.

    .. math:: m \ge 1 - e^{-\Lambda}, \qquad IM \ge 1 - (1-m)e^{-A_u} + F \quad \text{(long; short alike)}

    Parameters
    ----------
    total, buffer_log, funding, side
        As in `thresholds.perpetual_parameters`.
    is_inverse
        Whether the coin is the money: :math:`m \ge e^{\Lambda} - 1` long, and the sides trade places.
    """
    maintenance = liquidation.inverse_maintenance_margin if is_inverse else liquidation.maintenance_margin
    room = inverse.initial_margin_inverse if is_inverse else liquidation.initial_margin
    least = float(maintenance(total, side)) * BPS

    def initial(values: Values) -> float:
        margin = room(maintenance=values["mm"] / BPS, buffer_log=buffer_log, side=side)
        return (float(margin) + funding) * BPS - values["im"]

    return (
        Constraint("maintenance margin of the budget", lambda values: least - values["mm"]),
        Constraint("initial margin of the users' buffer", initial),
    )
