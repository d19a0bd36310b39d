"""Liquidation: the log loss budget and the closed forms that turn it into parameters.

What lives here: every equation between a log move and a threshold, a bonus, a margin or a leverage, for both sides.
What does not: estimates of the move (``overshoot``, ``tails``), rounding and validity of sets (``thresholds``).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

HOURS_A_DAY = 24.0
SELLING_VARIANCE_SHARE = 3.0
"""A position sold linearly over T carries the variance of T/3 (Almgren and Chriss 2000)."""


def _floats(value: ArrayLike) -> Floats:
    return np.asarray(value, dtype=np.float64)


def _is_long(side: str) -> bool:
    if side not in ("long", "short"):
        raise ValueError(f"side {side!r}: say 'long' or 'short'")
    return side == "long"


def log_cost(fraction: ArrayLike, side: str) -> Floats:
    r"""Log cost of losing a fraction: :math:`-\ln(1-x)` for longs, :math:`\ln(1+x)` for shorts.

    Parameters
    ----------
    fraction
        x, at least 0 (and below 1 for longs).
    side
        ``long`` or ``short``.

    Raises
    ------
    ValueError
        For another side.
    """
    return -np.log1p(-_floats(fraction)) if _is_long(side) else np.log1p(_floats(fraction))


def horizon_hours(
    *,
    base_hours: ArrayLike,
    notional_usd: ArrayLike,
    adv_usd: ArrayLike,
    participation: float,
    floor_hours: float,
) -> Floats:
    r"""Time from trigger to execution, with the time to sell the size.

    .. math:: \tau = \max\left(\tau_{min},\ \tau_0 + \tfrac{24}{3}\,\frac{N}{\rho\,ADV}\right)

    Parameters
    ----------
    base_hours
        Oracle, keeper and auction.
    notional_usd, adv_usd
        Size of the liquidation and daily traded value.
    participation
        Share of traded value that may be taken.
    floor_hours
        Shortest horizon: below half an hour the scaling is unvalidated.

    Returns
    -------
    ndarray
        Hours; NaN where traded value is unknown.
    """
    sale = sale_hours(notional_usd=notional_usd, adv_usd=adv_usd, participation=participation)
    return np.maximum(floor_hours, _floats(base_hours) + sale)


def sale_hours(*, notional_usd: ArrayLike, adv_usd: ArrayLike, participation: float) -> Floats:
    r"""Time with the variance of selling a size linearly, :math:`\tfrac{24}{3}\,\frac{N}{\rho\,ADV}` hours.

    Parameters
    ----------
    notional_usd, adv_usd
        Size of the liquidation and daily traded value.
    participation
        Share of traded value that may be taken.

    Returns
    -------
    ndarray
        Hours; NaN where traded value is unknown.
    """
    days = _floats(notional_usd) / (participation * _floats(adv_usd))
    return HOURS_A_DAY * days / SELLING_VARIANCE_SHARE


def rounds(close_factor: float, target: float) -> int:
    r"""Count the liquidations until a share of the debt is left, :math:`n=\lceil\ln(target)/\ln(1-\kappa)\rceil`.

    Parameters
    ----------
    close_factor
        Kappa in (0, 1]: share of the debt that one liquidation may repay; 1 repays all at once.
    target
        Share of the debt that may be left, in (0, 1).

    Raises
    ------
    ValueError
        Where one lies outside its bounds; names it.
    """
    if not 0 < close_factor <= 1:
        raise ValueError(f"close_factor {close_factor:g}: above 0 and at most 1")
    if not 0 < target < 1:
        raise ValueError(f"target {target:g}: above 0 and below 1")
    if close_factor == 1:
        return 1
    needed = math.log(target) / math.log1p(-close_factor)
    # A quotient that is whole but for rounding needs no further round.
    whole = round(needed)
    return whole if whole >= 1 and math.isclose(needed, whole, rel_tol=1e-12) else math.ceil(needed)


@dataclass(frozen=True)
class HorizonParts:
    """The horizon part by part, hours; the parts sum to ``total``.

    Attributes
    ----------
    oracle, keeper, auction
        Until the price is on chain, until somebody acts, and all rounds of auctions or partial liquidations.
    sale
        Time with the variance of selling the size linearly.
    floor
        What the shortest horizon adds to the sum.
    total
        The horizon.
    """

    oracle: Floats
    keeper: Floats
    auction: Floats
    sale: Floats
    floor: Floats
    total: Floats


def horizon_parts(
    *,
    oracle_hours: ArrayLike,
    keeper_hours: ArrayLike,
    auction_hours: ArrayLike,
    round_count: int = 1,
    sale: ArrayLike = 0.0,
    floor_hours: float = 0.0,
) -> HorizonParts:
    r"""Sum the horizon from its parts.

    .. math:: \tau = \max\left(\tau_{min},\ \tau_{oracle} + \tau_{keeper} + n\,\tau_{auction} + T_{liq}/3\right)

    Parameters
    ----------
    oracle_hours, keeper_hours
        Inclusion delay of an update, and blocks until a liquidation is in, both under stress.
    auction_hours
        One auction until its discount reaches the least bonus, or one round of partial liquidation.
    round_count
        n, of `rounds`; rounds follow each other, so that their times add.
    sale
        `sale_hours` of the size.
    floor_hours
        Shortest horizon.

    Returns
    -------
    HorizonParts
        NaN where a part is unknown. ``total`` is `horizon_hours` whose base is oracle, keeper and auctions together.

    Raises
    ------
    ValueError
        Where a part is negative, or there is no round; names it.
    """
    named = {"oracle_hours": oracle_hours, "keeper_hours": keeper_hours, "auction_hours": auction_hours, "sale": sale}
    for name, value in named.items():
        if (_floats(value) < 0).any():
            raise ValueError(f"{name}: hours are not negative")
    if round_count < 1:
        raise ValueError(f"round_count {round_count}: at least one round")
    oracle, keeper, auction, sold = np.broadcast_arrays(
        _floats(oracle_hours), _floats(keeper_hours), round_count * _floats(auction_hours), _floats(sale)
    )
    needed = oracle + keeper + auction + sold
    total = np.maximum(floor_hours, needed)
    return HorizonParts(oracle, keeper, auction, sold, total - needed, total)


def square_root_impact(
    *, sigma_daily: ArrayLike, notional_usd: ArrayLike, adv_usd: ArrayLike, coefficient: float
) -> Floats:
    r"""Peak price impact of selling a size, :math:`Y\sigma\sqrt{Q/ADV}`.

    The marginal price, not the average of two thirds, decides solvency.

    Notes
    -----
    Source: Toth et al. 2011; Donier and Bonart 2015 for bitcoin.
    """
    return coefficient * _floats(sigma_daily) * np.sqrt(_floats(notional_usd) / _floats(adv_usd))


def adverse_move(*, k: ArrayLike, sigma_eff: ArrayLike, horizon_hours: ArrayLike, eta: ArrayLike) -> Floats:
    r"""Log move not exceeded over the horizon, :math:`X = k\,\sigma_{eff}\,(\tau/24h)^{\eta}`.

    Beyond 24 hours the exponent is one half: a small one is cautious below a day and careless above it.
    """
    days = _floats(horizon_hours) / HOURS_A_DAY
    exponent = np.where(days > 1, np.maximum(_floats(eta), 0.5), _floats(eta))
    return _floats(k) * _floats(sigma_eff) * days**exponent


@dataclass(frozen=True)
class LossBudget:
    """The log loss budget part by part; the parts sum to ``total``."""

    move: Floats
    oracle: Floats
    slippage: Floats
    fee: Floats
    model: Floats
    total: Floats


def loss_budget(
    *,
    move: ArrayLike,
    oracle_deviation: ArrayLike,
    slippage: ArrayLike,
    fee: ArrayLike,
    side: str,
    model: ArrayLike = 0.0,
) -> LossBudget:
    r"""Sum the budget, :math:`\Lambda = X + \lambda_\delta + \lambda_s + \lambda_f + \lambda_m`.

    Parameters
    ----------
    move, model
        Log terms.
    oracle_deviation, slippage, fee
        Fractions, carried to logs by `log_cost`.
    side
        ``long`` or ``short``.
    """
    parts = (
        _floats(move),
        log_cost(oracle_deviation, side),
        log_cost(slippage, side),
        log_cost(fee, side),
        _floats(model),
    )
    return LossBudget(*parts, total=parts[0] + parts[1] + parts[2] + parts[3] + parts[4])


def liquidation_threshold(total: ArrayLike) -> Floats:
    r"""Largest threshold that the budget carries with the cheapest bonus, :math:`LT^*=e^{-\Lambda}`."""
    return np.exp(-_floats(total))


def threshold_cap(*, move: ArrayLike, oracle_deviation: ArrayLike, bonus: ArrayLike, side: str = "long") -> Floats:
    r"""Largest threshold with a bonus fixed by governance.

    .. math:: LT_{cap} = \frac{(1-\delta)e^{-X}}{1+b} \text{ long}, \quad \frac{e^{-X}}{(1+\delta)(1+b)} \text{ (short)}
    """
    deviation = _floats(oracle_deviation)
    keeps = 1 - deviation if _is_long(side) else 1 / (1 + deviation)
    return keeps * np.exp(-_floats(move)) / (1 + _floats(bonus))


def minimum_bonus(
    *,
    slippage: ArrayLike,
    fee: ArrayLike,
    protocol_share: float,
    oracle_deviation: ArrayLike = 0.0,
    side: str = "long",
) -> Floats:
    r"""Smallest bonus at which a liquidator breaks even.

    .. math:: (1+b(1-\varphi))(1-s)(1-f)(1-\delta) \ge 1 \text{ (long)}, \qquad
              1+b(1-\varphi) \ge (1+s)(1+f)(1+\delta) \text{ (short)}
    """
    s, f, d = _floats(slippage), _floats(fee), _floats(oracle_deviation)
    cost = 1 / ((1 - s) * (1 - f) * (1 - d)) if _is_long(side) else (1 + s) * (1 + f) * (1 + d)
    return (cost - 1) / (1 - protocol_share)


def maintenance_margin(total: ArrayLike, side: str) -> Floats:
    r"""Maintenance margin of a linear perpetual: :math:`1-e^{-\Lambda}` long, :math:`e^{\Lambda}-1` short."""
    return -np.expm1(-_floats(total)) if _is_long(side) else np.expm1(_floats(total))


def inverse_maintenance_margin(total: ArrayLike, side: str) -> Floats:
    r"""Maintenance margin of a coin-margined perpetual: :math:`e^{\Lambda}-1` long, :math:`1-e^{-\Lambda}` short."""
    return np.expm1(_floats(total)) if _is_long(side) else -np.expm1(-_floats(total))


def maximum_ltv(*, lt: ArrayLike, buffer_log: ArrayLike) -> Floats:
    r"""Loan to value that survives the user's horizon, :math:`LT\,e^{-A_u}`."""
    return _floats(lt) * np.exp(-_floats(buffer_log))


def initial_margin(*, maintenance: ArrayLike, buffer_log: ArrayLike, side: str) -> Floats:
    r"""Return the initial margin: :math:`1-(1-m)e^{-A_u}` long, :math:`(1+m)e^{A_u}-1` short."""
    m, buffer = _floats(maintenance), _floats(buffer_log)
    return 1 - (1 - m) * np.exp(-buffer) if _is_long(side) else (1 + m) * np.exp(buffer) - 1


def maximum_leverage(initial: ArrayLike) -> Floats:
    """Leverage at the initial margin, its reciprocal."""
    return 1 / _floats(initial)


def absorbed_move_lending(
    *, lt: ArrayLike, bonus: ArrayLike, oracle_deviation: ArrayLike, side: str = "long"
) -> Floats:
    r"""Log move that a threshold in force absorbs.

    .. math:: x_0 = -\ln\frac{LT(1+b)}{1-\delta} \text{ long}, \quad -\ln\left(LT(1+b)(1+\delta)\right) \text{ (short)}
    """
    used = _floats(lt) * (1 + _floats(bonus))
    deviation = _floats(oracle_deviation)
    return -np.log(used / (1 - deviation)) if _is_long(side) else -np.log(used * (1 + deviation))


def absorbed_move_perpetual(
    *, maintenance: ArrayLike, oracle_deviation: ArrayLike, slippage: ArrayLike, fee: ArrayLike, side: str
) -> Floats:
    r"""Log move that a maintenance margin absorbs: :math:`-\ln(1-m)` (long) or :math:`\ln(1+m)` less the costs."""
    m = _floats(maintenance)
    costs = log_cost(oracle_deviation, side) + log_cost(slippage, side) + log_cost(fee, side)
    return (-np.log1p(-m) if _is_long(side) else np.log1p(m)) - costs
