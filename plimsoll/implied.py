"""Implied: the confidence, latency and depth that a parameter in force implies, for any market with prices.

What lives here: inverting the budget at a parameter that somebody else chose, and the worth of a faster liquidation.
What does not: the closed forms that are inverted (``liquidation``), what is proposed instead (``recommendations``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plimsoll import caps, liquidation, tails
from plimsoll.attribution import BPS, form_of

Floats = NDArray[np.float64]
SQUARE_ROOT = 0.5
"""Exponent beyond a day, as in ``liquidation.adverse_move``."""


def implied_sigmas(absorbed_move: ArrayLike, *, sigma: ArrayLike, horizon_hours: ArrayLike, eta: ArrayLike) -> Floats:
    r"""Sigmas that a parameter in force absorbs over its horizon, :math:`k_{live} = x_{live}/(\sigma(\tau/24h)^\eta)`.

    Parameters
    ----------
    absorbed_move
        Log move from ``liquidation.absorbed_move_lending`` or ``absorbed_move_perpetual``; broadcast.
    sigma, horizon_hours, eta
        As in ``liquidation.adverse_move``.

    Returns
    -------
    ndarray
        Negative where costs alone exceed the parameter; NaN where an input is.

    Raises
    ------
    ValueError
        Where volatility or horizon is not positive.
    """
    unit = liquidation.adverse_move(k=1.0, sigma_eff=sigma, horizon_hours=horizon_hours, eta=eta)
    if (unit <= 0).any():
        raise ValueError("volatility and horizon must be positive: no number of sigmas is meant without them")
    return np.asarray(np.asarray(absorbed_move, dtype=np.float64) / unit, dtype=np.float64)


def implied_probability(overshoots: Floats, k_live: float) -> tuple[float | None, str]:
    """Chance that an overshoot exceeds what a value in force absorbs, from past triggers.

    Parameters
    ----------
    overshoots
        Pooled overshoots in sigmas at the depth used, shape (n,).
    k_live
        Sigmas that the value in force absorbs over its horizon.

    Returns
    -------
    tuple
        Probability and a note. Beyond the largest overshoot seen the probability is None and the note says
        ``below 1/n``: no sample reaches there. None also where the sigmas are unknown.
    """
    n = len(overshoots)
    if n == 0:
        return None, "no past triggers"
    if np.isnan(k_live):
        return None, "unknown: what is in force cannot be told in sigmas"
    beyond = int(np.count_nonzero(overshoots > k_live))
    if beyond == 0:
        return None, f"below 1/{n}"
    return beyond / n, ""


def extrapolated_probability(tail: tails.GpdFit | None, k_live: float) -> tuple[float | None, str]:
    """Chance beyond the sample by a generalised Pareto tail: a model's word, never a count.

    Parameters
    ----------
    tail
        Of the same overshoots, or None where there are too few.
    k_live
        Sigmas.

    Returns
    -------
    tuple
        Probability and a note that says what it is. None without a tail and below its threshold, where it says
        nothing.
    """
    if tail is None:
        return None, "not enough data for a tail"
    p = float(
        tails.gpd_survival(
            k_live, threshold=tail.threshold, xi=tail.xi, beta=tail.beta, tail_fraction=tail.tail_fraction
        )
    )
    if np.isnan(p):
        return None, "below the threshold of the tail: count instead"
    if p == 0:
        return None, "beyond the finite end of the fitted tail, which is no proof that nothing lies there"
    return p, f"extrapolated by a generalised Pareto tail over {tail.exceedances} exceedances"


def implied_latency(
    absorbed_move: float, *, k: float, sigma: float, eta: float, floor_hours: float
) -> tuple[float | None, str]:
    r"""Longest horizon that a parameter in force carries, solving :math:`x_{live} = k\,\sigma\,(\tau/24h)^\eta`.

    Parameters
    ----------
    absorbed_move
        x_live, log.
    k, sigma, eta
        Overshoot quantile at the tail probability meant (1 %), volatility, horizon exponent.
    floor_hours
        Shortest horizon that the budget is stated for.

    Returns
    -------
    tuple
        Hours and words. Beyond a day the exponent is at least one half. None with ``not even at the floor of ...``
        where the floor needs more than is absorbed; infinite with ``any latency`` where nothing moves.

    Raises
    ------
    ValueError
        Where an input is unknown, or k, volatility or exponent negative, or the floor not positive.
    """
    named = {"absorbed_move": absorbed_move, "k": k, "sigma": sigma, "eta": eta, "floor_hours": floor_hours}
    for name, value in named.items():
        if not np.isfinite(value) or (name != "absorbed_move" and value < 0) or (name == "floor_hours" and value == 0):
            raise ValueError(f"{name} {value}: a latency follows only from known values, none negative")
    day = k * sigma
    least = float(liquidation.adverse_move(k=k, sigma_eff=sigma, horizon_hours=floor_hours, eta=eta))
    if absorbed_move < least or (day == 0 and absorbed_move < 0):
        return None, f"not even at the floor of {_duration(floor_hours)}"
    if day == 0:
        return np.inf, "any latency: nothing moves"
    ratio = absorbed_move / day
    if ratio > 1:
        hours = liquidation.HOURS_A_DAY * ratio ** (1 / max(eta, SQUARE_ROOT))
        return hours, f"{_duration(hours)}, beyond a day by the square-root rule"
    # A flat exponent is carried for the whole day or not at all.
    hours = liquidation.HOURS_A_DAY * (ratio ** (1 / eta) if eta > 0 else 1.0)
    return max(hours, floor_hours), _duration(max(hours, floor_hours))


def _duration(hours: float) -> str:
    if hours < 1:
        return f"{60 * hours:.3g} minutes"
    return f"{hours:.3g} hours" if hours < 48 else f"{hours / 24:.3g} days"


def implied_depth(
    budget: caps.Function, carried: float, *, smallest_usd: float, largest_usd: float
) -> tuple[float | None, str]:
    r"""Largest notional whose liquidation a parameter in force still carries, inverting :math:`\Lambda(N)`.

    Parameters
    ----------
    budget
        Log budget of an array of notionals, not decreasing; NaN where a size cannot be absorbed.
    carried
        Log budget that the parameter carries on the same terms.
    smallest_usd, largest_usd
        Notionals between which to look.

    Returns
    -------
    tuple
        Notional and words. ``none`` where even the smallest is not carried; the largest with ``at least`` where that
        still is.

    Raises
    ------
    ValueError
        Where what is carried is unknown, the budget gives no number a size, or the bounds are not in order.
    """
    if np.isnan(carried):
        raise ValueError("carried is unknown; a depth follows only from a known parameter")
    # NaN compares false: what cannot be absorbed is not carried.
    low, high = caps.largest_carried(lambda sizes: caps.evaluate(budget, sizes) <= carried, smallest_usd, largest_usd)
    if low == 0:
        return None, f"none: not even {smallest_usd:,.0f} USD is carried"
    if np.isinf(high):
        return largest_usd, f"at least {largest_usd:,.0f} USD"
    return low, f"{low:,.0f} USD"


@dataclass(frozen=True)
class ImpliedConfidence:
    """What a parameter in force implies.

    Attributes
    ----------
    absorbed_move
        x_live, log.
    absorbed_drop
        The same as a fraction of the price: fall for longs, rise for shorts.
    k_live
        Sigmas over the horizon.
    probability, probability_note
        Share of past overshoots beyond it; None with ``below 1/n`` where no sample reaches.
    extrapolated_probability, extrapolated_note
        By the tail, only where the count says ``below 1/n`` and a tail was given; None otherwise.
    latency_hours, latency_note
        Longest horizon carried at the quantile given.
    """

    absorbed_move: float
    absorbed_drop: float
    k_live: float
    probability: float | None
    probability_note: str
    extrapolated_probability: float | None
    extrapolated_note: str
    latency_hours: float | None
    latency_note: str


def implied_confidence(
    absorbed_move: float,
    *,
    side: str,
    overshoots: ArrayLike,
    k: float,
    sigma: float,
    horizon_hours: float,
    eta: float,
    floor_hours: float,
    tail: tails.GpdFit | None = None,
) -> ImpliedConfidence:
    """Say what a parameter in force implies, in sigmas, as a probability and as a latency.

    Parameters
    ----------
    absorbed_move
        Log move that it absorbs, from ``liquidation.absorbed_move_lending`` or ``absorbed_move_perpetual``.
    side
        ``long`` or ``short``.
    overshoots
        Pooled overshoots of the side in sigmas at the depth used, known by the day, shape (n,).
    k
        Overshoot quantile at 1 %.
    sigma, horizon_hours, eta, floor_hours
        Volatility, horizon, exponent and shortest horizon.
    tail
        Tail of the same overshoots, where an extrapolation beyond the sample is asked for.

    Raises
    ------
    ValueError
        Where an overshoot is not finite, or as `implied_sigmas` and `implied_latency`.
    """
    pool = np.asarray(overshoots, dtype=np.float64)
    if not np.isfinite(pool).all():
        raise ValueError("overshoots hold a value that is not finite; leave it out with its reason before counting")
    k_live = float(implied_sigmas(absorbed_move, sigma=sigma, horizon_hours=horizon_hours, eta=eta))
    probability, note = implied_probability(pool, k_live)
    further: tuple[float | None, str] = (None, "")
    if probability is None and len(pool) and tail is not None:
        further = extrapolated_probability(tail, k_live)
    hours, words = implied_latency(absorbed_move, k=k, sigma=sigma, eta=eta, floor_hours=floor_hours)
    is_long = side == "long"
    if not is_long and side != "short":
        raise ValueError(f"side {side!r}: say 'long' or 'short'")
    drop = float(-np.expm1(-absorbed_move) if is_long else np.expm1(absorbed_move))
    return ImpliedConfidence(absorbed_move, drop, k_live, probability, note, *further, hours, words)


@dataclass(frozen=True)
class LatencyWorth:
    """What a faster liquidation is worth.

    Attributes
    ----------
    budget_log
        Log budget saved; also the rise of ln LT.
    parameter_bps
        Basis points that the leading parameter could move: LT up, a margin down, not negative.
    """

    budget_log: float
    parameter_bps: float


def latency_worth(
    *, move: float, horizon_hours: float, faster_horizon_hours: float, eta: float, total: float, product: str, side: str
) -> LatencyWorth:
    r"""Compute the worth of a shorter horizon, exactly and not to first order.

    .. math:: \Delta\Lambda = X\left(1 - \frac{(\tau'/24h)^{\eta}}{(\tau/24h)^{\eta}}\right), \qquad
        \frac{\partial\ln LT}{\partial\ln\tau} = -\eta X

    Parameters
    ----------
    move, total
        X and the budget at the present horizon, log.
    horizon_hours, faster_horizon_hours
        Present and shorter horizon.
    eta
        Exponent; at least one half beyond a day.
    product, side
        Which parameter moves.

    Raises
    ------
    ValueError
        Where the shorter horizon is not positive or not shorter, or the move exceeds its budget.
    """
    if not 0 < faster_horizon_hours <= horizon_hours:
        raise ValueError(f"faster_horizon_hours {faster_horizon_hours:g}: above 0 and at most {horizon_hours:g}")
    if not 0 <= move <= total:
        raise ValueError(f"move {move:g} of a budget of {total:g}: not negative and part of it")
    now, then = (
        float(liquidation.adverse_move(k=1.0, sigma_eff=1.0, horizon_hours=hours, eta=eta))
        for hours in (horizon_hours, faster_horizon_hours)
    )
    saved = move * (1 - then / now)
    form = form_of(product, side)
    return LatencyWorth(saved, BPS * abs(form.value(total - saved) - form.value(total)))
