"""Procyclicality: how much a published margin or haircut swings, how fast it rises, and what its lag costs.

What lives here: measures on one series through time, the response of a whole chain to a step of volatility, and days on
which a parameter in force was looser than the one required. What does not: what damps the swings (``smoothing``), what
is published (``thresholds``).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plimsoll import tails

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Chain = Callable[[Floats], Floats]
"""From squared returns of every day, oldest first, to the haircut or margin known at each close; (n,) to (n,)."""

RISES = (1, 5, 30)
IMPULSE_DAYS = 60
MOST_OF_A_STEP = 0.95
LAW = ("threshold", "xi", "beta", "tail_fraction")


@dataclass(frozen=True)
class Swings:
    """Measures of one series.

    Attributes
    ----------
    peak_to_trough
        Largest over smallest value; NaN where there are none.
    rises
        Largest relative rise over 1, 5 and 30 rows; NaN where the series is shorter.
    observations
        Finite values.
    """

    peak_to_trough: float
    rises: tuple[float, ...]
    observations: int


def swings(values: ArrayLike) -> Swings:
    r"""Measure a margin, or a haircut 1 - LT, through time.

    .. math:: \frac{\max H}{\min H}, \qquad \max_t \frac{H_{t+n}}{H_t} - 1, \quad n = 1, 5, 30

    Parameters
    ----------
    values
        One value a day, shape (n,), positive; NaN days are left out.

    Raises
    ------
    ValueError
        Where a value is not positive: a ratio to it means nothing.

    Notes
    -----
    Source: Murphy, Vasios and Vause 2014.
    """
    h = np.asarray(values, dtype=np.float64)
    h = h[np.isfinite(h)]
    if (h <= 0).any():
        raise ValueError(f"margin or haircut of {h.min()}: swings are ratios of positive values")
    if len(h) == 0:
        return Swings(np.nan, (np.nan,) * len(RISES), 0)
    rises = tuple(float((h[n:] / h[:-n]).max() - 1) if len(h) > n else np.nan for n in RISES)
    return Swings(float(h.max() / h.min()), rises, len(h))


def ewma_impulse(factor: float, days: ArrayLike, decay: float) -> Floats:
    r"""Volatility after a lasting step, over its level before, of an exponentially weighted estimate.

    .. math:: \sigma_h/\sigma_0 = \sqrt{k^2 - \lambda^h (k^2 - 1)}

    Parameters
    ----------
    factor
        k: volatility after the step over that before.
    days
        h, days since the step.
    decay
        Lambda, between 0 and 1.
    """
    h = np.asarray(days, dtype=np.float64)
    return np.asarray(np.sqrt(factor**2 - decay**h * (factor**2 - 1)), dtype=np.float64)


@dataclass(frozen=True)
class Impulse:
    """Response of a haircut or margin to a lasting step of volatility.

    Attributes
    ----------
    factor
        k: volatility after the step over that before.
    response
        H(h)/H(0) for h = 0, 1, ... returns seen since the step, shape (days + 1,).
    limit
        Where the response settles, over H(0).
    overshoot
        Largest response over ``limit``, or ``limit`` over the smallest where it falls; 1 where it never goes beyond.
    days_to_most
        First h at which 95 % of the way to ``limit`` is covered; None where that is beyond what was followed, or there
        is no way to cover.
    """

    factor: float
    response: Floats
    limit: float
    overshoot: float
    days_to_most: int | None


def ewma_response(factor: float, decay: float, *, days: int = IMPULSE_DAYS) -> Impulse:
    """Response of an exponentially weighted volatility, by `ewma_impulse`; the limit is ``factor``.

    Parameters
    ----------
    factor, decay
        As in `ewma_impulse`.
    days
        Last h.
    """
    return _impulse(factor, ewma_impulse(factor, np.arange(days + 1), decay), float(factor), np.empty(0))


def step_response(
    chain: Chain,
    factor: float,
    *,
    sigma_daily: float,
    days: int = IMPULSE_DAYS,
    warm_up_days: int = 1500,
    settle_days: int = 3000,
) -> Impulse:
    r"""Feed a step of volatility through a whole chain: filter, smoothing rule, budget and parameter.

    .. math:: r_t^2 = \sigma^2 \text{ up to day 0}, \qquad r_t^2 = k^2\sigma^2 \text{ afterwards}; \qquad H(h)/H(0)

    Parameters
    ----------
    chain
        From squared returns, fraction squared, to the haircut or margin known at the close of each of the same days.
    factor
        k, positive.
    sigma_daily
        Volatility before the step, fraction a day, positive.
    days
        Last h that is reported.
    warm_up_days
        Days before the step, so that the chain forgets how it was started.
    settle_days
        Days after the step; ``limit`` is the value at the last of them.

    Returns
    -------
    Impulse
        ``overshoot`` and ``days_to_most`` look at all of ``settle_days``. A chain with memory longer than that, a
        ten-year mean for one, has not settled: its limit is the level reached by then.

    Raises
    ------
    ValueError
        Where the chain gives another shape, or nothing positive at the step or at the end.

    Notes
    -----
    The path has the size of returns equal to their volatility, so that the response is the filter's own and no draw.
    Source: Murphy, Vasios and Vause 2014.
    """
    if not (factor > 0 and sigma_daily > 0):
        raise ValueError(f"factor {factor:g}, sigma_daily {sigma_daily:g}: both positive")
    if warm_up_days < 1 or settle_days < days:
        raise ValueError(
            f"warm_up_days {warm_up_days}, settle_days {settle_days}: at least 1, and no fewer than days {days}"
        )
    variance = np.full(warm_up_days + settle_days, sigma_daily**2)
    variance[warm_up_days:] *= factor**2
    level = np.asarray(chain(variance), dtype=np.float64)
    if level.shape != variance.shape:
        raise ValueError(f"the chain gave shape {level.shape} for {variance.shape} days; it must say one value a close")
    after = level[warm_up_days - 1 :]
    if not (np.isfinite(after).all() and after.min() > 0):
        raise ValueError("the chain is not positive and known on every day from the step on; lengthen warm_up_days")
    response = after / after[0]
    return _impulse(factor, response[: days + 1], float(response[-1]), response[days + 1 :])


def _impulse(factor: float, response: Floats, limit: float, later: Floats) -> Impulse:
    every = np.concatenate([response, later])
    covered = (every - 1) * np.sign(limit - 1) >= MOST_OF_A_STEP * abs(limit - 1)
    first = int(np.argmax(covered)) if limit != 1 and covered.any() else None
    overshoot = max(every.max(), limit) / limit if limit >= 1 else limit / min(every.min(), limit)
    return Impulse(float(factor), response, limit, float(overshoot), first)


@dataclass(frozen=True)
class UnderMargined:
    """Days on which the parameter in force was looser than the one required.

    Attributes
    ----------
    days, under_days
        Rows on which both are known, and those of them on which the one in force was looser.
    share
        ``under_days`` over ``days``; NaN without days.
    mean_gap, largest_gap
        By how much it was looser on those days, in the unit given; 0 without such days.
    cost_sum, cost_mean
        Expected bad debt per unit of debt and trigger at the parameter in force, over those under-margined days whose
        tail is known; NaN where no such day has one, 0 without under-margined days.
    costed_days, bounded_days
        Days behind ``cost_sum``, and those of them whose absorbed move lies below the tail's threshold: there the tail
        says nothing, the value at the threshold is taken, and the cost is a lower bound.
    spells, mean_lag_days, longest_lag_days
        Unbroken runs of under-margined rows and their length: how long governance lags behind. Unknown rows neither
        end nor lengthen a spell; NaN mean and 0 without spells.
    is_open
        Whether the newest known row is under-margined: its lag is not over.
    """

    days: int
    under_days: int
    share: float
    mean_gap: float
    largest_gap: float
    cost_sum: float
    cost_mean: float
    costed_days: int
    bounded_days: int
    spells: int
    mean_lag_days: float
    longest_lag_days: int
    is_open: bool


def under_margined(
    in_force: ArrayLike,
    required: ArrayLike,
    *,
    tightening_is_down: bool,
    absorbed_move: ArrayLike | None = None,
    law: dict[str, ArrayLike] | None = None,
) -> UnderMargined:
    r"""Count days on which the parameter in force was looser than required, what they cost and how long they lasted.

    .. math:: \frac1n\sum_t 1\{LT_t > LT^*_t\}, \qquad
        \sum_{t:\, LT_t > LT^*_t} E[(1-e^{-(X_t-x_{0,t})})^+]

    Parameters
    ----------
    in_force, required
        Parameters of each day in the order of days, shape (n,), one unit; NaN where unknown.
    tightening_is_down
        True for thresholds and loan to value, False for margins.
    absorbed_move
        Log move that the parameter in force absorbs on each day; with ``law``.
    law
        ``threshold, xi, beta, tail_fraction``: generalised Pareto tail of each day's log move, arrays or numbers; NaN
        where there is none.

    Raises
    ------
    ValueError
        Where one of ``absorbed_move`` and ``law`` is given without the other, a part of the law is missing, or shapes
        differ.

    Notes
    -----
    The cost is by ``tails.expected_bad_debt``, given a trigger; times triggers a year and debt it is money.
    """
    if (absorbed_move is None) != (law is None):
        raise ValueError("absorbed_move and law belong together: give both for a cost, or neither")
    live, wanted = np.asarray(in_force, dtype=np.float64), np.asarray(required, dtype=np.float64)
    if live.shape != wanted.shape or live.ndim != 1:
        raise ValueError(f"in_force {live.shape} and required {wanted.shape}: one value a day of each")
    gap = live - wanted if tightening_is_down else wanted - live
    known = np.isfinite(gap)
    is_under = known & (gap > 0)
    lengths = _runs(is_under[known])
    n, under = int(known.sum()), int(is_under.sum())
    cost_sum, costed, bounded = _cost(is_under, absorbed_move, law)
    gaps = gap[is_under]
    return UnderMargined(
        days=n,
        under_days=under,
        share=under / n if n else np.nan,
        mean_gap=float(gaps.mean()) if under else 0.0,
        largest_gap=float(gaps.max()) if under else 0.0,
        cost_sum=cost_sum,
        cost_mean=cost_sum / costed if costed else cost_sum,
        costed_days=costed,
        bounded_days=bounded,
        spells=len(lengths),
        mean_lag_days=float(lengths.mean()) if len(lengths) else np.nan,
        longest_lag_days=int(lengths.max()) if len(lengths) else 0,
        is_open=bool(n and is_under[known][-1]),
    )


def _runs(flags: NDArray[np.bool_]) -> Integers:
    """Lengths of the unbroken runs of True."""
    edges = np.diff(np.concatenate([[0], flags.astype(np.int64), [0]]))
    return np.asarray(np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1), dtype=np.int64)


def _cost(
    is_under: NDArray[np.bool_], absorbed_move: ArrayLike | None, law: dict[str, ArrayLike] | None
) -> tuple[float, int, int]:
    """Sum of expected bad debt, days behind it, and those of them that are lower bounds."""
    if not is_under.any():
        return 0.0, 0, 0
    if absorbed_move is None or law is None:
        return np.nan, 0, 0
    missing = [name for name in LAW if name not in law]
    if missing:
        raise ValueError(f"law without {', '.join(missing)}; it needs {', '.join(LAW)}")
    columns = {name: np.broadcast_to(np.asarray(law[name], dtype=np.float64), is_under.shape) for name in LAW}
    absorbed = np.broadcast_to(np.asarray(absorbed_move, dtype=np.float64), is_under.shape)
    at = is_under & np.isfinite(absorbed) & np.logical_and.reduce([np.isfinite(c) for c in columns.values()])
    if not at.any():
        return np.nan, 0, 0
    mine = {name: column[at] for name, column in columns.items()}
    debt = tails.expected_bad_debt(np.maximum(absorbed[at], mine["threshold"]), **mine)
    return float(debt.sum()), int(at.sum()), int((absorbed[at] < mine["threshold"]).sum())


@dataclass(frozen=True)
class ReportCard:
    """Procyclicality of one parameter before and after smoothing.

    Attributes
    ----------
    raw, smoothed
        Swings of the two series over the days that both know.
    raw_impulse, smoothed_impulse
        Response of the two chains to the same step.
    under_margined
        Governance lag of what is in force against what is required, or None where nothing is in force.
    """

    raw: Swings
    smoothed: Swings
    raw_impulse: Impulse
    smoothed_impulse: Impulse
    under_margined: UnderMargined | None


def report_card(
    raw: ArrayLike,
    smoothed: ArrayLike,
    *,
    raw_impulse: Impulse,
    smoothed_impulse: Impulse,
    lag: UnderMargined | None = None,
) -> ReportCard:
    """Put the measures of a parameter beside each other, before and after smoothing.

    Parameters
    ----------
    raw, smoothed
        Haircuts or margins of the same days, shape (n,), positive; a day that one of them does not know is left out of
        both, so that the two are comparable.
    raw_impulse, smoothed_impulse
        From `step_response` or `ewma_response`, of one factor.
    lag
        From `under_margined`.

    Raises
    ------
    ValueError
        Where shapes or factors differ.
    """
    one, other = np.asarray(raw, dtype=np.float64), np.asarray(smoothed, dtype=np.float64)
    if one.shape != other.shape:
        raise ValueError(f"raw {one.shape} and smoothed {other.shape}: one value a day of each")
    if raw_impulse.factor != smoothed_impulse.factor:
        raise ValueError(f"steps of {raw_impulse.factor:g} and {smoothed_impulse.factor:g}: give both of one factor")
    both = np.isfinite(one) & np.isfinite(other)
    return ReportCard(swings(one[both]), swings(other[both]), raw_impulse, smoothed_impulse, lag)
