"""Caps: how much may be supplied or borrowed before the forced sale outgrows what the market absorbs.

What lives here: the largest absorbable size, supply and borrow caps by inverting the loss budget, the forced sale that
a cap implies, and the rules of practice beside them. What does not: the budget itself (``liquidation``), impact curves
(``slippage``), tiers (``tiers``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_DOWN, Context

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plimsoll import liquidation
from plimsoll.budget import LARGEST_MOVE

Floats = NDArray[np.float64]
Function = Callable[[Floats], ArrayLike]

CLUSTER_SHARE = 0.25
"""Largest cluster of wallets as a share of supply: the three largest of 502 stETH accounts of June 2023 held 24 %."""
COTRIGGERED_SHARE = 0.11
"""Share of supply that a further one percent of price makes liquidatable: no band of the same accounts held more."""
SCAN_A_DECADE = 12
SECTIONS = 64


def evaluate(function: Function, sizes: Floats) -> Floats:
    """Values of a function of sizes, one for each size.

    Raises
    ------
    ValueError
        Where the function does not return one number a size.
    """
    values = np.asarray(function(sizes), dtype=np.float64)
    if values.shape != sizes.shape:
        raise ValueError(
            f"the function of size returned shape {values.shape} for {sizes.shape} sizes: it must take an array of "
            "sizes in USD and return one number for each"
        )
    return values


@dataclass(frozen=True)
class Cap:
    """A limit on size.

    Attributes
    ----------
    cap_usd
        The largest size found, 0 where not even the smallest is carried.
    sale_usd
        The forced sale at the cap.
    binding
        ``budget`` (the threshold in force is the limit), ``not absorbable`` (beyond it no value is known), ``search``
        (carried up to the largest size searched: the true limit lies above) or ``none`` (no size is carried).
    note
        One sentence.
    """

    cap_usd: float
    sale_usd: float
    binding: str
    note: str

    def rounded_usd(self, digits: int = 2) -> float:
        """Cap rounded down to significant digits; 0 stays 0."""
        return round_down_significant(self.cap_usd, digits)


@dataclass(frozen=True)
class ForcedSale:
    r"""What is sold at once when a price triggers: :math:`N(Q) = \min(1,\ c + s)\,Q`.

    Attributes
    ----------
    cluster_share
        c, share of supply of the largest cluster of wallets that act as one.
    cotriggered_share
        s, share of supply that becomes liquidatable within the same one percent of price.
    """

    cluster_share: float = CLUSTER_SHARE
    cotriggered_share: float = COTRIGGERED_SHARE

    def __post_init__(self) -> None:
        """Refuse shares outside 0 to 1 and a sale of nothing."""
        for name, share in (("cluster_share", self.cluster_share), ("cotriggered_share", self.cotriggered_share)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} {share}: give a share of the supply between 0 and 1")
        if self.cluster_share + self.cotriggered_share == 0:
            raise ValueError("both shares are 0: no position would ever be sold; give the largest cluster's share")

    def share(self) -> float:
        """Share of the supply sold at once."""
        return min(1.0, self.cluster_share + self.cotriggered_share)

    def usd(self, quantity_usd: ArrayLike) -> Floats:
        """Return the forced sale in USD at each quantity supplied or borrowed."""
        return self.share() * np.asarray(quantity_usd, dtype=np.float64)


def round_down_significant(value: float, digits: int = 2) -> float:
    """Largest number of so many significant digits that does not exceed the value; 0 for 0."""
    if not (np.isfinite(value) and value >= 0):
        raise ValueError(f"cannot round {value} down: give a finite value that is not negative")
    # By the digits that the number shows: 0.29 is two digits although its binary neighbour lies below them.
    return float(Context(prec=digits, rounding=ROUND_DOWN).create_decimal(repr(float(value))))


def largest_carried(
    is_carried: Callable[[Floats], NDArray[np.bool_]], smallest: float, largest: float
) -> tuple[float, float]:
    """Find the largest carried size and the smallest size known not to be; the first failure met ends the search.

    A scan first, so that a test which holds again beyond a failure cannot lift the cap over the failure.
    """
    if not (0 < smallest <= largest < np.inf):
        raise ValueError(f"sizes from {smallest} to {largest} USD: give 0 < smallest <= largest, both finite")
    n = 2 + int(np.ceil(SCAN_A_DECADE * np.log10(largest / smallest)))
    scan = np.geomspace(smallest, largest, n)
    scan[0], scan[-1] = smallest, largest
    fails = np.flatnonzero(~is_carried(scan))
    if not fails.size:
        return largest, np.inf
    if fails[0] == 0:
        return 0.0, smallest
    low, high = float(scan[fails[0] - 1]), float(scan[fails[0]])
    # Many sizes at once: a budget of one costs as much as of a hundred.
    while True:
        between = np.geomspace(low, high, SECTIONS + 1)[1:-1]
        between = np.unique(between[(between > low) & (between < high)])
        if not between.size:
            return low, high
        fails = np.flatnonzero(~is_carried(between))
        first = int(fails[0]) if fails.size else len(between)
        low, high = (
            float(between[first - 1]) if first else low,
            float(between[first]) if first < len(between) else high,
        )


def largest_absorbable(
    budget: Function, *, smallest_usd: float, largest_usd: float, largest_log: float = LARGEST_MOVE
) -> Cap:
    r"""Find the largest single liquidation with a finite budget of at most a given log move.

    Parameters
    ----------
    budget
        :math:`\Lambda(N)`, log, for an array of sizes in USD; NaN where a size is not absorbable.
    smallest_usd, largest_usd
        Sizes between which to search.
    largest_log
        Budget beyond which a size counts as not absorbable.

    Returns
    -------
    Cap
        ``binding`` is ``not absorbable``, ``search`` or ``none``.
    """

    def is_carried(sizes: Floats) -> NDArray[np.bool_]:
        return evaluate(budget, sizes) <= largest_log

    low, high = largest_carried(is_carried, smallest_usd, largest_usd)
    if low == 0:
        return Cap(0.0, 0.0, "none", f"not even {smallest_usd:.0f} USD can be absorbed")
    if np.isinf(high):
        return Cap(low, low, "search", f"absorbable up to {largest_usd:.0f} USD, the largest size searched")
    return Cap(low, low, "not absorbable", f"sizes beyond {low:.0f} USD cannot be absorbed")


def _cap(budget: Function, lt_current: float, sale: ForcedSale, smallest: float, largest: float, what: str) -> Cap:
    if not 0 < lt_current < 1:
        raise ValueError(f"threshold in force {lt_current}: give a fraction between 0 and 1")
    carried_log = -float(np.log(lt_current))

    def is_carried(quantities: Floats) -> NDArray[np.bool_]:
        # NaN compares false: what cannot be absorbed is not carried.
        return evaluate(budget, sale.usd(quantities)) <= carried_log + 1e-12

    low, high = largest_carried(is_carried, smallest, largest)
    sold = float(sale.usd(low))
    if low == 0:
        return Cap(
            0.0, 0.0, "none", f"the threshold {lt_current:.2%} is not carried at a {what} of {smallest:.0f} USD already"
        )
    if np.isinf(high):
        note = f"the threshold {lt_current:.2%} is carried up to {largest:.0f} USD {what}, the largest searched"
        return Cap(low, sold, "search", note)
    if np.isnan(evaluate(budget, sale.usd(np.asarray([high])))[0]):
        return Cap(low, sold, "not absorbable", f"beyond {low:.0f} USD {what} the forced sale cannot be absorbed")
    note = f"beyond {low:.0f} USD {what} a sale of {sold:.0f} USD no longer carries the threshold {lt_current:.2%}"
    return Cap(low, sold, "budget", note)


def supply_cap(
    budget: Function,
    *,
    lt_current: float,
    smallest_usd: float,
    largest_usd: float,
    sale: ForcedSale | None = None,
) -> Cap:
    r"""Find the largest supply at which the threshold in force is still carried.

    .. math:: Q^* = \max\{Q : e^{-\Lambda_L(N(Q))} \ge LT\}

    Parameters
    ----------
    budget
        :math:`\Lambda_L(N)` of longs, log, for an array of sizes in USD; NaN where a size is not absorbable. With a
        bonus fixed by governance give :math:`-\ln LT_{cap}(N)`, NaN where the bonus does not pay the liquidator.
    lt_current
        Liquidation threshold in force, fraction.
    smallest_usd, largest_usd
        Supplies between which to search.
    sale
        Which part of the supply is sold at once; the documented shares unless given.

    Notes
    -----
    The budget must not fall with size. The first supply that is not carried ends the search, whatever comes after it.
    """
    return _cap(budget, lt_current, sale or ForcedSale(), smallest_usd, largest_usd, "supply")


def borrow_cap(
    budget: Function,
    *,
    lt_current: float,
    smallest_usd: float,
    largest_usd: float,
    sale: ForcedSale | None = None,
) -> Cap:
    r"""Find the largest debt of a volatile asset at which the threshold in force is still carried.

    .. math:: Q^* = \max\{Q : e^{-\Lambda_S(N(Q))} \ge LT\}

    Liquidators buy the debt back: the budget is the short side's, :math:`\Lambda_S(N)`. Parameters as in `supply_cap`.
    """
    return _cap(budget, lt_current, sale or ForcedSale(), smallest_usd, largest_usd, "debt")


def budget_with_bonus(
    *,
    move: Function,
    slippage: Function,
    bonus: float,
    oracle_deviation: float,
    fee: float,
    protocol_share: float,
    side: str,
) -> Function:
    r"""Budget by size under a bonus fixed by governance, for `supply_cap` and `borrow_cap`.

    .. math:: \Lambda(N) = -\ln LT_{cap}(N), \quad \text{NaN where } b < b_{min}(s(N))

    Parameters
    ----------
    move, slippage
        X(N), log, and s(N), fraction, for an array of sizes in USD; NaN where unknown.
    bonus, oracle_deviation, fee, protocol_share, side
        As in ``liquidation``.
    """

    def total(sizes: Floats) -> Floats:
        least = liquidation.minimum_bonus(
            slippage=evaluate(slippage, sizes),
            fee=fee,
            protocol_share=protocol_share,
            oracle_deviation=oracle_deviation,
            side=side,
        )
        carried = liquidation.threshold_cap(
            move=evaluate(move, sizes), oracle_deviation=oracle_deviation, bonus=bonus, side=side
        )
        return np.where(least <= bonus, -np.log(carried), np.nan)

    return total


def saleable(slippage: Function, limit: float, *, smallest_usd: float, largest_usd: float) -> Cap:
    """Find the largest sale whose slippage does not exceed a limit.

    Parameters
    ----------
    slippage
        s(N), fraction, for an array of sizes in USD; NaN where the book is exhausted.
    limit
        Largest slippage, fraction.
    smallest_usd, largest_usd
        Sizes between which to search.
    """

    def is_carried(sizes: Floats) -> NDArray[np.bool_]:
        return evaluate(slippage, sizes) <= limit * (1 + 1e-12)

    low, high = largest_carried(is_carried, smallest_usd, largest_usd)
    if low == 0:
        return Cap(0.0, 0.0, "none", f"selling {smallest_usd:.0f} USD costs more than {limit:.2%} already")
    if np.isinf(high):
        return Cap(low, low, "search", f"{largest_usd:.0f} USD, the largest searched, costs at most {limit:.2%}")
    binding = "not absorbable" if np.isnan(evaluate(slippage, np.asarray([high]))[0]) else "budget"
    return Cap(low, low, binding, f"selling more than {low:.0f} USD costs more than {limit:.2%}")


def slippage_limit(bonus: float, fee: float) -> float:
    r"""Largest slippage at which a liquidator with no share of the protocol still gains, :math:`b/(1+b) - f`.

    The exact bound is :math:`1-1/((1+b)(1-f))`; this one is smaller by about :math:`bf/(1+b)` while b exceeds f. Where
    the protocol keeps a share :math:`\varphi` of the bonus, give :math:`b(1-\varphi)`.
    """
    return bonus / (1 + bonus) - fee


def cap_by_bonus(
    slippage: Function,
    *,
    bonus: float,
    fee: float,
    sale: ForcedSale | None = None,
    smallest_usd: float,
    largest_usd: float,
) -> Cap:
    r"""Find the largest supply whose forced sale F(Q) keeps :math:`s(F) \le b/(1+b) - f`.

    Parameters
    ----------
    slippage
        s(N), fraction, for an array of sizes in USD; NaN where the book is exhausted.
    bonus, fee
        Fractions.
    sale
        Which part of the supply is sold at once in the design shock.
    smallest_usd, largest_usd
        Supplies between which to search.
    """
    limit = slippage_limit(bonus, fee)
    if limit <= 0:
        return Cap(0.0, 0.0, "none", f"the bonus {bonus:.2%} does not pay the fee {fee:.2%}: no sale is absorbed")
    share = (sale or ForcedSale()).share()
    found = saleable(slippage, limit, smallest_usd=share * smallest_usd, largest_usd=share * largest_usd)
    return Cap(found.cap_usd / share, found.sale_usd, found.binding, f"forced sale: {found.note}")


PRACTICE_MULTIPLE = 2.0
PRACTICE_AT_ONCE = 0.9
PRACTICE_GROWTH = 2.0


def practice_supply_cap(slippage: Function, *, bonus: float, smallest_usd: float, largest_usd: float) -> Cap:
    """Rule of practice to beat: twice the amount saleable at a price impact equal to the liquidation bonus.

    Notes
    -----
    Source: Chaos Labs 2022, supply caps of Aave v3.
    """
    found = saleable(slippage, bonus, smallest_usd=smallest_usd, largest_usd=largest_usd)
    return Cap(PRACTICE_MULTIPLE * found.cap_usd, found.sale_usd, found.binding, f"twice the saleable: {found.note}")


def practice_drop(market_cap_usd: ArrayLike, is_stable: ArrayLike = False) -> Floats:
    """Design drop of the interim rule: 50 % below 2 billion USD of market value, 35 % to 20 billion, 15 % above.

    Stable assets take 15 %. NaN for an unknown market value.

    Notes
    -----
    Source: Chaos Labs 2023, updated supply and borrow caps.
    """
    value = np.asarray(market_cap_usd, dtype=np.float64)
    drop = np.where(value < 2e9, 0.50, np.where(value <= 20e9, 0.35, 0.15))
    drop = np.where(np.asarray(is_stable, dtype=bool), 0.15, drop)
    return np.where(np.isnan(value), np.nan, drop)


def practice_interim_cap(*, current_usd: float, liquidated_usd: float, saleable_usd: float) -> float:
    r"""Interim rule of practice, :math:`Q\min\left(\frac{S}{0.9\,E},\ 2\right)`.

    Parameters
    ----------
    current_usd
        Q, cap in force.
    liquidated_usd
        E, amount eligible for liquidation in the design drop (`practice_drop`).
    saleable_usd
        S, amount saleable with slippage below the liquidation bonus.

    Notes
    -----
    Nine tenths of E are taken to be liquidated at once. Where nothing is liquidated the bound of two applies.
    Source: Chaos Labs 2023, updated supply and borrow caps.
    """
    if min(current_usd, liquidated_usd, saleable_usd) < 0:
        raise ValueError("amounts of the interim rule must not be negative")
    if liquidated_usd == 0:
        return PRACTICE_GROWTH * current_usd
    return current_usd * min(saleable_usd / (PRACTICE_AT_ONCE * liquidated_usd), PRACTICE_GROWTH)
