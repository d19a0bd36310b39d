"""Lending: how the parameters of single lending venues hang together, and what the budget makes of them.

What lives here: Morpho, Aave v3 and v4, Compound v3. What does not: bounds of a bonus at large (``bonus``), the budget
(``liquidation``), caps (``caps``), a venue's scale and cadence (``venues``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plimsoll import liquidation
from plimsoll.thresholds import BPS, round_down

Floats = NDArray[np.float64]


def _floats(value: ArrayLike) -> Floats:
    return np.asarray(value, dtype=np.float64)


MORPHO_LLTV_BPS = (3850, 6250, 7700, 8600, 9150, 9450, 9650, 9800)
"""Thresholds that may be chosen; bonus and threshold come as a pair."""
MORPHO_CURSOR = 0.3
MORPHO_LARGEST_FACTOR = 1.15


def morpho_incentive(lltv: ArrayLike) -> Floats:
    r"""Liquidation incentive factor, one plus the bonus: :math:`\min(1.15,\ 1/(0.3\,LLTV+0.7))`.

    Notes
    -----
    Source: Morpho Blue, its constants for the cursor (0.3) and the largest factor (1.15).
    """
    return np.minimum(MORPHO_LARGEST_FACTOR, 1 / (MORPHO_CURSOR * _floats(lltv) + 1 - MORPHO_CURSOR))


def morpho_bad_debt_ltv(lltv: ArrayLike) -> Floats:
    """Debt over collateral beyond which seizing everything leaves debt behind, one over the incentive factor."""
    return 1 / morpho_incentive(lltv)


def morpho_lltv_bps(
    *, move: float, oracle_deviation: float, slippage: float, fee: float, grid_bps: tuple[int, ...] = MORPHO_LLTV_BPS
) -> int:
    r"""Largest threshold on the grid that the budget carries with its own bonus, 0 where none does.

    .. math:: LLTV \cdot LIF \le (1-\delta)e^{-X}, \qquad LIF(1-\delta)(1-s)(1-f) \ge 1

    Both constraints tighten as the threshold rises: coverage because it rises, participation because the bonus falls.
    """
    lltv = np.sort(np.asarray(grid_bps, dtype=np.int64))
    factor = morpho_incentive(lltv / BPS)
    carried = liquidation.threshold_cap(move=move, oracle_deviation=oracle_deviation, bonus=factor - 1)
    least = float(
        liquidation.minimum_bonus(slippage=slippage, fee=fee, protocol_share=0.0, oracle_deviation=oracle_deviation)
    )
    is_carried = (lltv / BPS <= carried) & (factor - 1 >= least)
    return int(lltv[is_carried].max()) if np.any(is_carried) else 0


CLOSE_FACTOR = 0.5
CLOSE_FACTOR_HEALTH = 0.95
CLOSE_FACTOR_LEAST_USD = 2000.0
LEFTOVER_LEAST_USD = 1000.0


def aave_v3_close_factor(*, health: ArrayLike, debt_usd: ArrayLike, collateral_usd: ArrayLike) -> Floats:
    """Share of an account's whole debt that may be repaid at once: half if it is large and nearly sound, else all.

    Parameters
    ----------
    health
        Health factor, below 1.
    debt_usd, collateral_usd
        Debt and collateral of the pair of reserves in the liquidation. Half applies if each is at least 2,000 USD and
        the health factor exceeds 0.95.

    Notes
    -----
    Source: Aave v3.3, liquidation logic. Before v3.3 there was no least size.
    """
    is_large = np.minimum(_floats(debt_usd), _floats(collateral_usd)) >= CLOSE_FACTOR_LEAST_USD
    return np.where(is_large & (_floats(health) > CLOSE_FACTOR_HEALTH), CLOSE_FACTOR, 1.0)


def aave_v3_repayable(
    *, health: ArrayLike, debt_usd: ArrayLike, collateral_usd: ArrayLike, total_debt_usd: ArrayLike
) -> Floats:
    """Debt of one reserve that may be repaid at once: it, or half of the account's whole debt if that is less."""
    factor = aave_v3_close_factor(health=health, debt_usd=debt_usd, collateral_usd=collateral_usd)
    half = CLOSE_FACTOR * _floats(total_debt_usd)
    return np.where(factor < 1, np.minimum(_floats(debt_usd), half), _floats(debt_usd))


def aave_v3_leaves_dust(*, debt_left_usd: ArrayLike, collateral_left_usd: ArrayLike) -> NDArray[np.bool_]:
    """Say whether the venue refuses a liquidation: both sides remain and one is worth less than 1,000 USD."""
    debt, collateral = _floats(debt_left_usd), _floats(collateral_left_usd)
    return (debt > 0) & (collateral > 0) & (np.minimum(debt, collateral) < LEFTOVER_LEAST_USD)


def aave_v4_bonus(
    health: ArrayLike, *, maximum_bonus: float, minimum_factor: float, health_at_maximum: float
) -> Floats:
    r"""Bonus that grows as health falls.

    .. math:: b(h) = b_{max}\left(\kappa + (1-\kappa)\,\frac{1-h}{1-h_{max}}\right), \quad h_{max} \le h < 1

    Parameters
    ----------
    health
        Health factor; NaN at 1 and above, where nothing may be liquidated.
    maximum_bonus
        :math:`b_{max}`, fraction, reached at ``health_at_maximum`` and below.
    minimum_factor
        :math:`\kappa`, share of it paid just below a health of 1.
    health_at_maximum
        :math:`h_{max}`, below 1.

    Notes
    -----
    Source: Aave v4, liquidation logic of a spoke.
    """
    if not 0 < health_at_maximum < 1:
        raise ValueError(f"health {health_at_maximum} at the largest bonus must lie between 0 and 1")
    h = _floats(health)
    depth = np.clip((1 - h) / (1 - health_at_maximum), 0.0, 1.0)
    return np.where(h < 1, maximum_bonus * (minimum_factor + (1 - minimum_factor) * depth), np.nan)


@dataclass(frozen=True)
class Repayment:
    """A liquidation in USD: debt repaid, collateral seized, health afterwards and whether all debt is gone."""

    repaid_usd: float
    seized_usd: float
    health_after: float
    is_full: bool


def aave_v4_repayment(
    *, debt_usd: float, collateral_usd: float, collateral_factor: float, bonus: float, target_health: float
) -> Repayment:
    r"""Repay just enough to reach the target health factor.

    .. math:: d = D\,\frac{HF_t - HF}{HF_t - CF(1+b)}, \qquad HF = \frac{CF\,C}{D}

    Parameters
    ----------
    debt_usd, collateral_usd
        D and C.
    collateral_factor, bonus, target_health
        CF, b and :math:`HF_t`, at least 1.

    Returns
    -------
    Repayment
        No more than all debt, and no more than the collateral pays for: then the target is missed. Health is infinite
        without debt and 0 where debt remains without collateral.

    Raises
    ------
    ValueError
        For an account that is sound, or a target below 1.

    Notes
    -----
    Source: Aave v4, liquidation logic of a spoke. Its rule against small remainders is not applied here.
    """
    if target_health < 1:
        raise ValueError(f"target health {target_health} lies below 1: the account would stay liquidatable")
    health = collateral_factor * collateral_usd / debt_usd
    if health >= 1:
        raise ValueError(f"health {health:.6f} is not below 1: the account may not be liquidated")
    gain = target_health - collateral_factor * (1 + bonus)
    wanted = debt_usd * (target_health - health) / gain if gain > 0 else debt_usd
    repaid = min(wanted, debt_usd, collateral_usd / (1 + bonus))
    seized = min(repaid * (1 + bonus), collateral_usd)
    is_full = repaid == debt_usd
    after = np.inf if is_full else collateral_factor * (collateral_usd - seized) / (debt_usd - repaid)
    return Repayment(repaid, seized, float(after), is_full)


def aave_v4_threshold_cap(
    *, move: float, oracle_deviation: float, maximum_bonus: float, minimum_factor: float, health_at_maximum: float
) -> float:
    r"""Largest collateral factor with the bonus paid after the design move, :math:`(1-\delta)e^{-X}/(1+b(h_X))`.

    The health then is :math:`h_X=(1-\delta)e^{-X}`: the deeper the move, the larger the bonus that is due.
    """
    kept = (1 - oracle_deviation) * float(np.exp(-move))
    if kept >= 1:
        raise ValueError(f"a move of {move} with deviation {oracle_deviation} is no adverse move")
    bonus = aave_v4_bonus(
        kept, maximum_bonus=maximum_bonus, minimum_factor=minimum_factor, health_at_maximum=health_at_maximum
    )
    return kept / (1 + float(bonus))


@dataclass(frozen=True)
class CompoundParameters:
    """Collateral parameters in basis points.

    Attributes
    ----------
    borrow_cf_bps, liquidate_cf_bps
        LTV and liquidation threshold.
    liquidation_factor_bps
        Share of the seized collateral's oracle value that is credited to the account; one minus it is the penalty.
    """

    borrow_cf_bps: int
    liquidate_cf_bps: int
    liquidation_factor_bps: int


def compound_discount(liquidation_factor: ArrayLike, store_front_factor: ArrayLike) -> Floats:
    r"""Discount at which seized collateral is sold, :math:`\pi(1-LF)`.

    Notes
    -----
    Source: Compound v3 (Comet), quoteCollateral.
    """
    return _floats(store_front_factor) * (1 - _floats(liquidation_factor))


def compound_bonus(liquidation_factor: ArrayLike, store_front_factor: ArrayLike) -> Floats:
    r"""Bonus that the discount amounts to for the buyer, :math:`1/(1-\pi(1-LF)) - 1`."""
    return 1 / (1 - compound_discount(liquidation_factor, store_front_factor)) - 1


def compound_resale_move(
    *, liquidation_factor: ArrayLike, store_front_factor: ArrayLike, oracle_deviation: ArrayLike = 0.0
) -> Floats:
    r"""Log move between absorption and resale that the protocol's share of the penalty bears.

    .. math:: \ln\frac{(1-\delta)(1-\pi(1-LF))}{LF}
    """
    kept = (1 - _floats(oracle_deviation)) * (1 - compound_discount(liquidation_factor, store_front_factor))
    return np.log(kept / _floats(liquidation_factor))


def compound_parameters(
    *,
    move: float,
    resale_move: float,
    oracle_deviation: float,
    slippage: float,
    fee: float,
    buffer_log: float,
    store_front_factor: float,
    cap_bps: int,
    grid_bps: int,
) -> CompoundParameters:
    r"""Map threshold and penalty to the venue's three factors in the order that keeps them valid.

    .. math:: \pi(1-LF) \ge 1-(1-s)(1-f)(1-\delta), \quad \frac{1-\pi(1-LF)}{LF} \ge \frac{e^{X_r}}{1-\delta}, \quad
              LCF \le (1-\delta)e^{-X}LF, \quad BCF \le LCF\,e^{-A_u}

    The protocol takes the whole account at the oracle price, credits LF of it, and sells at a discount later. So the
    discount must pay the buyer, what is left of the penalty must bear the move until resale, and the credit must cover
    the debt after the move until absorption: a penalty that grows pushes the threshold down.

    Parameters
    ----------
    move, resale_move
        Log moves from trigger to absorption and from absorption to sale.
    oracle_deviation, slippage, fee
        Fractions.
    buffer_log
        Users' adverse excursion, log.
    store_front_factor
        :math:`\pi`, share of the penalty given to buyers; above 0 and below 1 where the resale move is above 0.
    cap_bps
        Structural cap of the threshold.
    grid_bps
        Grid; all factors are rounded down on it.

    Raises
    ------
    ValueError
        Where no penalty bears the costs.
    """
    pi = store_front_factor
    if not 0 < pi <= 1:
        raise ValueError(f"store front factor {pi} must lie above 0 and not above 1")
    keeps = 1 - oracle_deviation
    for_buyers = 1 - (1 - (1 - slippage) * (1 - fee) * keeps) / pi
    # (1 - pi (1 - LF)) / LF >= growth is linear in LF.
    growth = float(np.exp(resale_move)) / keeps
    for_resale = (1 - pi) / (growth - pi) if growth > 1 else 1.0
    factor = int(round_down(min(for_buyers, for_resale) * BPS, grid_bps))
    if factor <= 0:
        raise ValueError(
            f"no liquidation factor pays buyers with {pi:.0%} of the penalty and bears a move of {resale_move:.4f}: "
            "raise the store front factor for costs, lower it for the resale move, or do not list the asset"
        )
    carried = min(keeps * float(np.exp(-move)) * factor, float(cap_bps))
    liquidate = int(round_down(carried, grid_bps))
    buffered = int(round_down(liquidate * float(np.exp(-buffer_log)), grid_bps))
    return CompoundParameters(max(min(buffered, liquidate - grid_bps), 0), liquidate, factor)


def compound_violations(
    parameters: CompoundParameters,
    *,
    move: float,
    resale_move: float,
    oracle_deviation: float,
    slippage: float,
    fee: float,
    store_front_factor: float,
) -> tuple[str, ...]:
    """Test the three factors against each other and the budget; one sentence a violation."""
    found = []
    borrow, liquidate, factor = (
        parameters.borrow_cf_bps,
        parameters.liquidate_cf_bps,
        parameters.liquidation_factor_bps,
    )
    if borrow >= liquidate:
        found.append(f"borrow factor {borrow} bps does not lie below the liquidate factor {liquidate} bps")
    credit = (1 - oracle_deviation) * float(np.exp(-move)) * factor
    if liquidate > credit + 1e-5:
        found.append(
            f"liquidate factor {liquidate} bps exceeds the {credit:.1f} bps that the credit of {factor} bps covers "
            f"after a log move of {move:.4f}"
        )
    bonus = float(compound_bonus(factor / BPS, store_front_factor))
    least = float(
        liquidation.minimum_bonus(slippage=slippage, fee=fee, protocol_share=0.0, oracle_deviation=oracle_deviation)
    )
    if bonus < least - 1e-9:
        found.append(f"the discount is a bonus of {bonus:.4%}, below the {least:.4%} at which a buyer breaks even")
    borne = float(
        compound_resale_move(
            liquidation_factor=factor / BPS, store_front_factor=store_front_factor, oracle_deviation=oracle_deviation
        )
    )
    if borne < resale_move - 1e-9:
        found.append(f"the penalty kept bears a log move of {borne:.4f} until resale, not {resale_move:.4f}")
    return tuple(found)
