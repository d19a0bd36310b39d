"""Tiers: margins that grow with size, billed marginally as income taxes are.

What lives here: tables of marginal rates and maintenance amounts, how rates follow from a required average rate so that
no size is billed too little, rounding, initial margin and leverage by tier, and the choice of bounds.
What does not: the budget behind a required rate (``liquidation``), limits on size (``caps``), open interest and
concentration (``concentration``), names of venues (``venue_rules``).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from plimsoll import caps, liquidation
from plimsoll.budget import LARGEST_MOVE
from plimsoll.thresholds import BPS, round_up

Floats = NDArray[np.float64]
Function = Callable[[Floats], ArrayLike]

COVERED = 1e-9
"""Relative shortfall of a billed amount that counts as rounding error: a tenth of a cent on a million."""
POINTS_A_TIER = 64
FIRST_POINT = 1e-3
"""Smallest size looked at, as a share of the first bound; below it the rate of that size is billed."""


@dataclass(frozen=True)
class TierTable:
    r"""Marginal rates by size; the margin of size N is :math:`N r_n - MA_n` for N in tier n.

    Attributes
    ----------
    floors_usd
        Lower bounds, the first 0; tier n runs to the next one.
    rates
        Marginal maintenance rates, fractions.
    amounts_usd
        Maintenance amounts, :math:`MA_0=0`, :math:`MA_n=MA_{n-1}+N_n(r_n-r_{n-1})`: they keep the margin continuous.
    largest_usd
        Largest admitted size, infinity where the last tier has no end.
    initial_rates, leverages
        Initial margin of the whole position and whole times, tier by tier; empty where not set.
    note
        What the billing is known to cover.
    """

    floors_usd: tuple[float, ...]
    rates: tuple[float, ...]
    amounts_usd: tuple[float, ...]
    largest_usd: float = float("inf")
    initial_rates: tuple[float, ...] = ()
    leverages: tuple[int, ...] = ()
    note: str = ""

    def tier(self, notional_usd: ArrayLike) -> NDArray[np.int64]:
        """Return the tier of each size, from 0; a bound belongs to the tier above it, -1 for what is not admitted."""
        sizes = np.asarray(notional_usd, dtype=np.float64)
        tiers = np.searchsorted(np.asarray(self.floors_usd), sizes, side="right") - 1
        return np.where((sizes >= 0) & (sizes <= self.largest_usd), tiers, -1).astype(np.int64)

    def rate(self, notional_usd: ArrayLike) -> Floats:
        """Marginal maintenance rate at each size; NaN for a size that is not admitted."""
        return self._at(self.rates, notional_usd)

    def billed(self, notional_usd: ArrayLike) -> Floats:
        """Maintenance margin in USD of each size; NaN for a size that is not admitted."""
        sizes = np.asarray(notional_usd, dtype=np.float64)
        return sizes * self.rate(sizes) - self._at(self.amounts_usd, sizes)

    def average(self, notional_usd: ArrayLike) -> Floats:
        """Billed margin as a fraction of each size; the first rate at 0."""
        sizes = np.asarray(notional_usd, dtype=np.float64)
        rates, amounts = self.rate(sizes), self._at(self.amounts_usd, sizes)
        return rates - amounts / np.where(sizes > 0, sizes, 1.0)

    def initial_rate(self, notional_usd: ArrayLike) -> Floats:
        """Return the initial margin rate of each size, on the whole position; NaN where not admitted."""
        if not self.initial_rates:
            raise ValueError("this tier table has no initial margins; add them with with_initial_margins")
        return self._at(self.initial_rates, notional_usd)

    def _at(self, column: tuple[float, ...], notional_usd: ArrayLike) -> Floats:
        tiers = self.tier(notional_usd)
        return np.where(tiers >= 0, np.asarray(column, dtype=np.float64)[tiers], np.nan)

    def frame(self) -> pd.DataFrame:
        """One row a tier; columns that are not set hold nulls."""
        n = len(self.floors_usd)
        return pd.DataFrame(
            {
                "tier": np.arange(1, n + 1),
                "floor_usd": self.floors_usd,
                "ceiling_usd": [*self.floors_usd[1:], self.largest_usd],
                "mm_rate": self.rates,
                "mm_amount_usd": self.amounts_usd,
                "im_rate": self.initial_rates or [np.nan] * n,
                "max_leverage": pd.array(self.leverages or [pd.NA] * n, dtype="Int64"),
            }
        )

    def violations(self, sizes_usd: ArrayLike = (), required: ArrayLike = ()) -> tuple[str, ...]:
        """Test the table against itself and against required average rates; one sentence a violation.

        Parameters
        ----------
        sizes_usd, required
            Sizes and the average rates that their margins must reach.
        """
        found = list(_faults(self.floors_usd, self.rates, self.largest_usd))
        expected = _amounts(self.floors_usd, self.rates)
        for n, (amount, due) in enumerate(zip(self.amounts_usd, expected, strict=True), 1):
            if abs(amount - due) > COVERED * max(abs(due), 1.0):
                found.append(
                    f"tier {n}: maintenance amount {amount:.2f} USD should be {due:.2f} for a continuous margin"
                )
        for n, (initial, rate) in enumerate(zip(self.initial_rates, self.rates, strict=False), 1):
            if initial <= rate:
                found.append(
                    f"tier {n}: initial margin {initial:.4%} does not lie above the maintenance rate {rate:.4%}"
                )
        for n, (leverage, initial) in enumerate(zip(self.leverages, self.initial_rates, strict=False), 1):
            if leverage > 1 and leverage * initial > 1 + COVERED:
                found.append(f"tier {n}: leverage {leverage} asks less than the initial margin {initial:.4%}")
        sizes, rates = np.asarray(sizes_usd, dtype=np.float64), np.asarray(required, dtype=np.float64)
        billed = self.billed(sizes)
        for size, rate, have in zip(sizes, rates, billed, strict=True):
            if np.isnan(rate):
                found.append(f"size {size:.0f} USD: no margin absorbs it, yet the table admits sizes up to it")
            elif np.isnan(have):
                found.append(f"size {size:.0f} USD: beyond the largest admitted {self.largest_usd:.0f} USD")
            elif have < size * rate * (1 - COVERED):
                found.append(f"size {size:.0f} USD: billed {have:.2f} USD, the budget asks {size * rate:.2f}")
        return tuple(found)


def _amounts(floors: tuple[float, ...], rates: tuple[float, ...]) -> tuple[float, ...]:
    steps = np.asarray(floors[1:]) * np.diff(np.asarray(rates, dtype=np.float64))
    return (0.0, *np.cumsum(steps).tolist())


def _faults(floors: tuple[float, ...], rates: tuple[float, ...], largest: float) -> tuple[str, ...]:
    found = []
    if not floors or floors[0] != 0:
        found.append(f"the first tier starts at {floors[0] if floors else 'nowhere'}, not at 0")
    if len(floors) != len(rates):
        found.append(f"{len(floors)} floors but {len(rates)} rates")
    for n, (low, high) in enumerate(zip(floors, (*floors[1:], largest), strict=True), 1):
        if not high > low:
            found.append(f"tier {n} runs from {low:.0f} to {high:.0f} USD: bounds must increase")
    for n, rate in enumerate(rates, 1):
        if not (np.isfinite(rate) and rate > 0):
            found.append(f"tier {n}: the rate {rate} is not above 0, so the margin would not grow with size")
        elif n > 1 and rate < rates[n - 2]:
            found.append(f"tier {n}: the rate {rate:.4%} lies below the {rates[n - 2]:.4%} of the tier before it")
    return tuple(found)


def from_rates(
    floors_usd: ArrayLike,
    rates: ArrayLike,
    *,
    largest_usd: float = float("inf"),
    leverages: tuple[int, ...] = (),
    note: str = "",
) -> TierTable:
    """Make the table of given marginal rates; the maintenance amounts follow.

    Parameters
    ----------
    floors_usd, rates
        Lower bounds, the first 0, and marginal rates that never fall.
    largest_usd
        Largest admitted size.
    leverages
        Largest leverage by tier; initial margins are their reciprocals.
    note
        What the billing is known to cover.

    Raises
    ------
    ValueError
        Names every tier at fault.
    """
    floors = tuple(np.asarray(floors_usd, dtype=np.float64).tolist())
    marginal = tuple(np.asarray(rates, dtype=np.float64).tolist())
    faults = _faults(floors, marginal, largest_usd)
    if leverages and len(leverages) != len(floors):
        faults = (*faults, f"{len(floors)} floors but {len(leverages)} leverages")
    if faults:
        raise ValueError("not a tier table: " + "; ".join(faults))
    initial = tuple(1 / leverage for leverage in leverages)
    return TierTable(floors, marginal, _amounts(floors, marginal), largest_usd, initial, leverages, note)


def amount_deviation(table: TierTable) -> float:
    """Largest distance in USD between a table's maintenance amounts and those that its rates and floors imply."""
    expected = np.asarray(_amounts(table.floors_usd, table.rates))
    return float(np.max(np.abs(np.asarray(table.amounts_usd) - expected)))


def reproduces(table: TierTable, tolerance_usd: float = 1e-6) -> bool:
    """Say whether a published table's amounts follow from its rates and floors."""
    return amount_deviation(table) <= tolerance_usd


def tier_table(
    bounds_usd: ArrayLike,
    required: Function | ArrayLike,
    *,
    sizes_usd: ArrayLike | None = None,
    between: str = "convex",
    rate_grid_bps: int | None = None,
    points_a_tier: int = POINTS_A_TIER,
) -> TierTable:
    r"""Find the marginal rates whose billing reaches a required average rate at every size.

    .. math:: r_n = \frac{N_{n+1} m(N_{n+1}) - N_n m(N_n)}{N_{n+1}-N_n}

    A chord lies above a convex function, so these rates suffice where :math:`N m(N)` is convex. Where it is not, rates
    are raised: of all rates that never fall from tier to tier and cover every point, those with the smallest sum of
    average rates billed at the bounds.

    Parameters
    ----------
    bounds_usd
        :math:`0=N_0<N_1<\dots<N_n`; the last is the largest admitted size.
    required
        m, the average rate (fraction): a function of sizes in USD, or its values at ``sizes_usd``.
    sizes_usd
        Where the values of m are known; the bounds above 0 unless given, and always among them.
    between
        What holds between neighbouring points: ``convex`` (the chord, except next to points that contradict it, where
        the larger point's rate is asked of the smaller) or ``increasing`` (that everywhere: m never falls, no more).
    rate_grid_bps
        Rates are rounded up on it, and the amounts follow from the rounded rates; None leaves them as they are.
    points_a_tier
        Points at which a function is asked in each tier.

    Returns
    -------
    TierTable
        Its ``note`` says at how many points the cover was tested. Rates never fall.

    Raises
    ------
    ValueError
        For bounds that do not increase from 0, a rate that is unknown or falls with size, values without their sizes.

    Notes
    -----
    Cover is exact up to a relative ``COVERED``. A function's jump is caught wherever it stands between two points,
    because the slope after it is smaller than the slope across it.
    """
    bounds = np.asarray(bounds_usd, dtype=np.float64)
    if bounds.ndim != 1 or len(bounds) < 2 or bounds[0] != 0 or not np.all(np.diff(bounds) > 0):
        raise ValueError(f"bounds {bounds.tolist()}: give 0 and then increasing sizes in USD")
    if not np.isfinite(bounds[-1]):
        raise ValueError("the last bound is not finite: give the largest size that can be absorbed")
    if between not in ("convex", "increasing"):
        raise ValueError(f"between {between!r}: say 'convex' or 'increasing'")
    points, rates, known = _points(bounds, required, sizes_usd, points_a_tier)
    need = _need(points, rates, between)
    marginal = _marginal_rates(bounds, points, need)
    if rate_grid_bps is not None:
        marginal = round_up(marginal * BPS, rate_grid_bps) / BPS
    shape = "convex" if between == "convex" else "no smaller than at the next smaller point"
    where = "N m(N)" if between == "convex" else "m"
    note = f"covers the required rate at {known}; between them as far as {where} is {shape}"
    return from_rates(bounds[:-1], marginal, largest_usd=float(bounds[-1]), note=note)


def _points(
    bounds: Floats, required: Function | ArrayLike, sizes: ArrayLike | None, points_a_tier: int
) -> tuple[Floats, Floats, str]:
    """Sizes above 0, the required rates there, and how they are known."""
    if callable(required):
        if sizes is not None:
            raise ValueError("sizes_usd belong to values of m; a function is asked at points of its own")
        starts = np.concatenate([[bounds[1] * FIRST_POINT], bounds[1:-1]])
        inner = [np.geomspace(low, high, points_a_tier + 1)[1:-1] for low, high in zip(starts, bounds[1:], strict=True)]
        # A jump just below the end has no slope after it: a last point close to the end leaves it no room.
        points = np.unique(np.concatenate([starts, *inner, bounds[1:], bounds[-1:] * (1 - 1e-6)]))
        rates = caps.evaluate(required, points)
        known = f"{len(points)} sizes"
    else:
        points = np.asarray(bounds[1:] if sizes is None else sizes, dtype=np.float64)
        rates = np.asarray(required, dtype=np.float64)
        if points.shape != rates.shape or points.ndim != 1:
            raise ValueError(f"{rates.size} required rates for {points.size} sizes: give one rate for each size")
        if not (np.all(np.diff(points) > 0) and points[0] > 0):
            raise ValueError("sizes of required rates must increase and lie above 0")
        missing = bounds[1:][~np.isin(bounds[1:], points)]
        if missing.size:
            raise ValueError(f"no required rate is given at the bound {missing[0]:.0f} USD: add it to sizes_usd")
        inside = points <= bounds[-1]
        points, rates = points[inside], rates[inside]
        known = f"the {len(points)} sizes given"
    if not np.all(np.isfinite(rates)):
        at = points[np.flatnonzero(~np.isfinite(rates))[0]]
        raise ValueError(f"no margin absorbs a size of {at:.0f} USD: end the table below it")
    falls = np.flatnonzero(np.diff(rates) < -COVERED * np.abs(rates[:-1]))
    if falls.size:
        i = falls[0]
        raise ValueError(
            f"the required rate falls from {rates[i]:.6%} at {points[i]:.0f} USD to {rates[i + 1]:.6%} at "
            f"{points[i + 1]:.0f} USD: a larger position cannot need less; look at the budget"
        )
    return points, rates, known


def _need(points: Floats, rates: Floats, between: str) -> Floats:
    """Margin in USD that the billing must reach at each point so that nothing between points is missed."""
    margin = points * rates
    gaps = np.diff(points, prepend=0.0)
    slopes = np.diff(margin, prepend=0.0) / gaps
    slack = 16 * np.finfo(np.float64).eps * margin / gaps
    bends_up = np.diff(slopes) >= -(slack[1:] + slack[:-1])
    # Stretch j runs from point j to j + 1; bends_up[j] speaks about point j, where stretches j - 1 and j meet.
    is_convex = bends_up & np.concatenate([bends_up[1:], [True]])
    if between == "increasing":
        is_convex[:] = False
    need = margin.copy()
    need[:-1] = np.where(is_convex, need[:-1], np.maximum(need[:-1], points[:-1] * rates[1:]))
    return need


def _marginal_rates(bounds: Floats, points: Floats, need: Floats) -> Floats:
    widths = np.diff(bounds)
    # Row i: how much of point i lies in each tier; times the rates it gives the margin billed.
    shares = np.clip(points[:, None] - bounds[None, :-1], 0.0, widths[None, :])
    at_bounds = need[np.searchsorted(points, bounds[1:])]
    chords = np.diff(at_bounds, prepend=0.0) / widths
    never_falls = bool(np.all(np.diff(chords) >= -COVERED * chords[:-1])) and chords[0] > 0
    if never_falls and np.all(shares @ chords >= need * (1 - COVERED)):
        return np.maximum.accumulate(chords)
    return _raised_rates(bounds, shares / points[:, None], need / points)


def _raised_rates(bounds: Floats, shares: Floats, rates: Floats) -> Floats:
    """Least rates that never fall and cover every point: a linear programme in their increments."""
    from scipy.optimize import linprog

    n = len(bounds) - 1
    cumulate = np.tril(np.ones((n, n)))
    cover = shares @ cumulate
    ends = np.minimum(np.diff(bounds)[None, :], np.clip(bounds[1:, None] - bounds[None, :-1], 0.0, None))
    cost = (ends / bounds[1:, None]).sum(axis=0) @ cumulate
    scale = float(rates.max())
    if scale == 0:
        return np.zeros(n)
    found = linprog(cost, A_ub=-cover, b_ub=-rates / scale, bounds=(0, None), method="highs-ds")
    if found.status != 0:
        raise ValueError(f"no rates cover the required margins: {found.message}")
    marginal = np.cumsum(found.x) * scale
    # The solver keeps its constraints to a tolerance only; lift what is left of it.
    lift = float(np.max(rates / (shares @ marginal)))
    return np.maximum.accumulate(marginal * max(lift, 1.0))


def with_initial_margins(
    table: TierTable, *, buffer_log: float, side: str, grid_bps: int, funding: float = 0.0
) -> TierTable:
    r"""Add initial margin and leverage to each tier, each valid for the largest position in it.

    .. math:: i_n = \max\left(IM\left(\tfrac{MM(N_{n+1})}{N_{n+1}}\right)+F,\ r_n\right), \qquad
              L_n=\lfloor 1/i_n\rfloor

    Parameters
    ----------
    table
        Maintenance rates; the average billed grows with size, so the end of a tier is its worst case.
    buffer_log, funding
        Users' adverse excursion (log) and adverse funding (fraction) over their horizon.
    side
        ``long`` or ``short``.
    grid_bps
        Initial margins are rounded up on it and lie at least one step above the tier's rate.
    """
    ends = np.asarray([*table.floors_usd[1:], table.largest_usd])
    rates = np.asarray(table.rates)
    finite = np.isfinite(ends)
    average = np.where(finite, table.average(np.where(finite, ends, 0.0)), rates)
    # A bound belongs to the tier above it; the margin is continuous, so its average is that of this tier's end.
    initial = liquidation.initial_margin(maintenance=average, buffer_log=buffer_log, side=side) + funding
    steps = np.maximum(round_up(initial * BPS, grid_bps), round_up(rates * BPS, grid_bps) + grid_bps)
    steps = np.maximum.accumulate(steps)
    return replace(
        table,
        initial_rates=tuple((steps / BPS).tolist()),
        leverages=tuple(np.maximum(BPS // steps, 1).tolist()),
    )


def merged(table: TierTable) -> TierTable:
    """Drop bounds at which the rate does not change; the billing stays the same."""
    if table.initial_rates or table.leverages:
        raise ValueError("merge tiers before initial margins are added: they differ by tier even at equal rates")
    keep = [0, *(np.flatnonzero(np.diff(table.rates) > 0) + 1).tolist()]
    floors, rates = np.asarray(table.floors_usd)[keep], np.asarray(table.rates)[keep]
    return from_rates(floors, rates, largest_usd=table.largest_usd, note=table.note)


def one_two_five(smallest_usd: float, largest_usd: float) -> Floats:
    """Sizes 1, 2 and 5 times powers of ten from the smallest to the largest, both included; empty if there is none."""
    if not 0 < smallest_usd < np.inf or not largest_usd < np.inf:
        raise ValueError(f"sizes from {smallest_usd} to {largest_usd} USD: give finite sizes above 0")
    if largest_usd < smallest_usd:
        return np.empty(0)
    powers = range(int(np.floor(np.log10(smallest_usd))) - 1, int(np.ceil(np.log10(largest_usd))) + 1)
    steps = np.asarray([float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)])
    return steps[(steps >= smallest_usd * (1 - COVERED)) & (steps <= largest_usd * (1 + COVERED))]


def size_tiers(
    budget: Function,
    *,
    side: str,
    smallest_usd: float,
    largest_usd: float,
    rate_grid_bps: int,
    largest_log: float = LARGEST_MOVE,
    points_a_tier: int = POINTS_A_TIER,
) -> TierTable:
    r"""Choose bounds and rates for a budget that grows with size, up to the largest size that can be absorbed.

    Bounds lie on the grid 1, 2, 5 times powers of ten; those at which the rounded rate does not change are dropped.

    Parameters
    ----------
    budget
        :math:`\Lambda(N)`, log, for sizes in USD; NaN where a size is not absorbable.
    side
        ``long`` or ``short``.
    smallest_usd, largest_usd
        First bound, and the largest size asked for.
    rate_grid_bps
        Grid of the rates.
    largest_log
        Budget beyond which a size counts as not absorbable.
    points_a_tier
        As in `tier_table`.

    Raises
    ------
    ValueError
        Where not even the smallest size is absorbable.
    """
    reach = caps.largest_absorbable(budget, smallest_usd=smallest_usd, largest_usd=largest_usd, largest_log=largest_log)
    steps = one_two_five(smallest_usd, reach.cap_usd)
    if not steps.size:
        raise ValueError(f"no tier table: {reach.note}")

    def required(sizes: Floats) -> Floats:
        return liquidation.maintenance_margin(caps.evaluate(budget, sizes), side)

    bounds = np.concatenate([[0.0], steps])
    return merged(tier_table(bounds, required, rate_grid_bps=rate_grid_bps, points_a_tier=points_a_tier))
