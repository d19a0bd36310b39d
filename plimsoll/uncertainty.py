"""Uncertainty: how far the overshoot quantile could lie from its estimate, given how few market-wide days made it.

What lives here: resampling blocks of trigger dates, weighted quantiles of many resamples at once, intervals of k. What
does not: the estimate itself (``overshoot``); an interval is printed beside it and never used in its place.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plimsoll import breaches, overshoot
from plimsoll.overshoot import SIDES, QuantileSpec

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

BLOCK_DATES = 20
DRAWS = 400
LEVEL = 0.90
MINIMUM_DATES = 100
"""Trigger dates below which no interval is given: fewer than five blocks are no sample of blocks."""
ESTIMATES = ("k_own", "k_pooled", "k")


def block_counts(dates: int, *, block_dates: int, draws: int, seed: Sequence[int]) -> Counts:
    """Draw blocks of consecutive dates and count how often each date is in a draw.

    Parameters
    ----------
    dates
        How many distinct dates there are, at least one.
    block_dates
        Consecutive dates a block; blocks wrap around the end.
    draws, seed
        Of the bootstrap.

    Returns
    -------
    ndarray
        Shape (draws, dates). A draw has as many blocks as cover all dates once.

    Notes
    -----
    Source: circular block bootstrap, Politis and Romano 1992.
    """
    length = min(block_dates, dates)
    blocks = -(-dates // length)
    starts = np.random.default_rng(seed).integers(0, dates, size=(draws, blocks))
    edges = np.zeros((draws, dates + length + 1), dtype=np.int64)
    row = np.repeat(np.arange(draws), blocks)
    np.add.at(edges, (row, starts.ravel()), 1)
    np.add.at(edges, (row, starts.ravel() + length), -1)
    inside = np.cumsum(edges, axis=1)[:, :-1]
    counts = inside[:, :dates].copy()
    counts[:, :length] += inside[:, dates:]
    return counts


def resampled_quantiles(values: Floats, weights: Floats, date_of: Counts, counts: Counts, levels: Floats) -> Floats:
    r"""Weighted quantiles of every draw: the quantile of the sample in which a date stands as often as it was drawn.

    Parameters
    ----------
    values, weights
        Sample and its positive weights, shape (n,). An event keeps its weight wherever its date is drawn: age is a
        matter of the calendar.
    date_of
        Index of each value's date, shape (n,).
    counts
        As `block_counts` gives them, shape (draws, dates).
    levels
        Probabilities in (0, 1), shape (m,).

    Returns
    -------
    ndarray
        Shape (draws, m), as `overshoot.weighted_quantile` would give for the repeated sample; NaN for a draw in which
        no value has a date.

    Notes
    -----
    Only the upper part of the sorted sample is laid out; where a draw needs more, twice as much is.
    """
    out = np.full((len(counts), len(levels)), np.nan)
    n = len(values)
    if n == 0:
        return out
    dates = counts.shape[1]
    size = np.sum(counts * np.bincount(date_of, minlength=dates), axis=1).astype(np.float64)
    total = np.sum(counts * np.bincount(date_of, weights=weights, minlength=dates), axis=1)
    order = np.argsort(values, kind="stable")
    from_top = np.cumsum(weights[order][::-1]) / weights.sum()
    top = int(np.searchsorted(from_top, min(1.0, 2 * (1 - levels.min())))) + 2
    pending = np.flatnonzero(size > 0)
    while len(pending):
        top = min(top, n)
        kept = order[n - top :]
        found, is_settled = _upper(
            values[kept], weights[kept], counts[np.ix_(pending, date_of[kept])], size[pending], total[pending], levels
        )
        out[pending[is_settled]] = found[is_settled]
        pending = pending[~is_settled]
        top *= 2
    return out


def _upper(
    x: Floats, w: Floats, times: Counts, size: Floats, total: Floats, levels: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """Quantiles from the largest values alone, and for which draws these suffice."""
    n, weight = size[:, None], total[:, None]
    mass = times * w
    before = weight - np.cumsum(mass[:, ::-1], axis=1)[:, ::-1]
    ahead = n - np.cumsum(times[:, ::-1], axis=1)[:, ::-1]
    first = ahead * w + (n - 1) * before
    last = first + (times - 1) * n * w
    is_there = times > 0
    place = np.maximum.accumulate(np.where(is_there, np.arange(len(x)), -1), axis=1)
    rows = np.arange(len(times))
    out = np.full((len(times), len(levels)), np.nan)
    settled = np.ones(len(times), dtype=np.bool_)
    for column, level in enumerate(levels):
        target = level * (size - 1) * total
        reached = is_there & (last >= target[:, None] * (1 - 1e-15))
        at = np.argmax(reached, axis=1)
        previous = np.where(at > 0, place[rows, at - 1], -1)
        start = first[rows, at]
        is_exact = start <= target + 1e-12 * (1 + total * size)
        settled &= reached.any(axis=1) & (is_exact | (previous >= 0))
        left = np.where(previous >= 0, last[rows, previous], 0.0)
        is_between = ~is_exact & (previous >= 0)
        share = (target - left) / np.where(is_between, start - left, 1.0)
        out[:, column] = np.where(is_between, x[previous] + share * (x[at] - x[previous]), x[at])
    return out, settled


def quantile_intervals(
    events: pd.DataFrame,
    symbols: Sequence[str],
    as_of: pd.Timestamp,
    spec: QuantileSpec,
    *,
    seed: int,
    draws: int = DRAWS,
    block_dates: int = BLOCK_DATES,
    level: float = LEVEL,
    probabilities_bps: Sequence[int] = breaches.TRIGGER_PROBABILITIES_BPS,
) -> pd.DataFrame:
    r"""Intervals of the overshoot quantile of one day: own, pooled, and shrunk as it is used.

    Blocks of consecutive trigger dates are drawn, all markets of a date together; in each draw the own and the pooled
    weighted quantile are taken and shrunk by the rule of `overshoot.walk_quantiles`, whose weight counts the market's
    tail events in that draw.

    Parameters
    ----------
    events
        Rows of `overshoot.trigger_events` for all markets.
    symbols
        Markets to report; each one's rows do not depend on which others are asked for.
    as_of
        Last day whose triggers may be used.
    spec
        Knobs of the estimate.
    seed, draws, block_dates
        Of the bootstrap.
    level
        Coverage of the intervals.
    probabilities_bps
        Tail probabilities, of those the walk knows.

    Returns
    -------
    DataFrame
        One row a market, side, depth and probability: ``symbol, side, trigger_depth, tail_probability_bps,
        trigger_dates``, for each of ``k_own, k_pooled, k`` the estimate and its ``_low`` and ``_high``, and ``note``.
        An interval is NaN, with a note, below 100 trigger dates, and where the sample holds less than one tail event:
        resampling cannot show what lies beyond a sample.

    Raises
    ------
    ValueError
        Where a probability is none of the walk's.

    Notes
    -----
    Overshoots cluster on few market-wide days, so rows are no sample of their own. Source: Politis and Romano 1992.
    """
    unknown = set(probabilities_bps) - set(overshoot.TAIL_PROBABILITIES_BPS)
    if unknown:
        known = ", ".join(str(bps) for bps in overshoot.TAIL_PROBABILITIES_BPS)
        raise ValueError(f"tail probability of {min(unknown)} bps: the walk knows {known}")
    past = events[events["target_date"] <= as_of]
    targets = pd.DataFrame({"symbol": list(symbols), "as_of": as_of, "target_date": as_of + pd.Timedelta(days=1)})
    walked = overshoot.walk_quantiles(past, targets, spec)
    points = {(row["side"], row["trigger_depth"], row["symbol"]): row for _, row in walked.iterrows()}
    ordered = tuple(sorted(probabilities_bps, reverse=True))
    rows: list[dict[str, object]] = []
    for at_side, side in enumerate(SIDES):
        for depth in spec.depths:
            pool = past[(past["side"] == side) & (past["trigger_depth"] == float(depth))]
            one = _Pool(
                pool.sort_values(["target_date", "symbol"], kind="stable"),
                spec,
                np.asarray(ordered) / 10_000,
                block_dates,
                draws,
                [seed, at_side, round(1000 * depth)],
            )
            for symbol in symbols:
                point = points[side, float(depth), symbol]
                key = {"symbol": symbol, "side": side, "trigger_depth": float(depth)}
                rows += [key | row for row in one.rows(symbol, point, ordered, level)]
    columns = ["symbol", "side", "trigger_depth", "tail_probability_bps"]
    return pd.DataFrame(rows).sort_values(columns, kind="stable", ignore_index=True)


class _Pool:
    """Draws of one side and depth, shared by all its markets."""

    def __init__(
        self,
        pool: pd.DataFrame,
        spec: QuantileSpec,
        probabilities: Floats,
        block_dates: int,
        draws: int,
        seed: Sequence[int],
    ) -> None:
        self.spec, self.p = spec, probabilities
        self.values = pool["overshoot_sigma"].to_numpy(np.float64)
        self.symbols = pool["symbol"].to_numpy()
        distinct, self.date_of = np.unique(pool["target_date"].to_numpy("datetime64[D]"), return_inverse=True)
        self.dates = len(distinct)
        self.is_enough = self.dates >= MINIMUM_DATES and len(pool) >= spec.minimum_triggers
        if not self.is_enough:
            return
        self.counts = block_counts(self.dates, block_dates=block_dates, draws=draws, seed=seed)
        drawn = self._quantiles(np.ones(len(pool), dtype=np.bool_), len(np.unique(self.symbols.astype(str))))
        drawn[:, len(pool) * self.p < 1 - 1e-9] = np.nan
        self.pooled = np.maximum.accumulate(drawn, axis=1)

    def _quantiles(self, mine: NDArray[np.bool_], markets: int) -> Floats:
        n = int(mine.sum())
        weights = 0.5 ** (np.arange(n - 1, -1, -1) / (self.spec.half_life_triggers * markets))
        return resampled_quantiles(self.values[mine], weights, self.date_of[mine], self.counts, 1 - self.p)

    def rows(self, symbol: str, point: pd.Series, ordered: Sequence[int], level: float) -> list[dict[str, object]]:
        mine = (self.symbols == symbol).astype(np.bool_)
        drawn: dict[str, Floats] = {}
        if self.is_enough:
            own = self._quantiles(mine, 1)
            size = np.sum(self.counts * np.bincount(self.date_of[mine], minlength=self.dates), axis=1)
            tail_events = size[:, None] * self.p
            m0 = self.spec.shrinkage_tail_events
            weight = np.where(tail_events >= 1, tail_events / (tail_events + m0), 0.0)
            blend = np.maximum.accumulate(weight * np.nan_to_num(own) + (1 - weight) * self.pooled, axis=1)
            drawn = {"k_own": own, "k_pooled": self.pooled, "k": blend}
        out: list[dict[str, object]] = []
        for column, bps in enumerate(ordered):
            p = float(self.p[column])
            row: dict[str, object] = {"tail_probability_bps": bps, "trigger_dates": self.dates}
            lacking = {"k_own": mine.sum() * p < 1 - 1e-9, "k_pooled": len(mine) * p < 1 - 1e-9, "k": False}
            lacking["k"] = lacking["k_pooled"]
            for name in ESTIMATES:
                row[name] = float(point[f"{name}_p{bps}"])
                low, high = np.nan, np.nan
                if self.is_enough and not lacking[name]:
                    known = drawn[name][:, column]
                    known = known[np.isfinite(known)]
                    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
                row[f"{name}_low"], row[f"{name}_high"] = float(low), float(high)
            row["note"] = self._note(lacking)
            out.append(row)
        return out

    def _note(self, lacking: dict[str, bool]) -> str:
        if not self.is_enough:
            return f"not available: {self.dates} trigger dates, {MINIMUM_DATES} are needed"
        if lacking["k_pooled"]:
            return "not available: the pool holds less than one tail event"
        return "own: less than one tail event" if lacking["k_own"] else ""
