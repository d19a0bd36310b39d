"""Calendars of sources: whether a source's days begin and end when those of the others do, and which sources copy.

What lives here: the offset of a source's day, found from closes over many symbols, and mirrors, found from errors.
What does not: single bars on a wrong day (``identity``).
"""

from dataclasses import dataclass

import numpy as np

from plimsoll.consensus.features import Own
from plimsoll.consensus.numerics import Bools, Floats, Ints
from plimsoll.consensus.panel import Panel
from plimsoll.consensus.spans import Spans
from plimsoll.consensus.vote import FLOOR, row_median

DAY_BOUNDARY = "day_boundary"

WINDOW = 365
FEWEST_DAYS = 120
SCORE_ON, SCORE_OFF = 6.0, 2.0
CLIP = 5.0
EXTREME_SIGMAS = 0.1
SMALLEST_SIGMA = 1e-4
MIRROR_CORRELATION = 0.95


@dataclass
class PairSums:
    """Sums by day for each ordered pair of sources, pooled over symbols; arrays of shape (days,).

    ``cross`` sums d r / sigma², ``square`` sums r² / sigma², where d is the distance of the closes and r the second
    source's return of the day. ``early`` counts extremes of the second source that the first has on the day after,
    less those that it has on the day before.
    """

    first_day: int
    days: int
    cross: dict[tuple[int, int], Floats]
    square: dict[tuple[int, int], Floats]
    early: dict[tuple[int, int], Floats]

    @classmethod
    def empty(cls, first_day: int, days: int) -> "PairSums":
        """Start with no pair."""
        return cls(first_day, days, {}, {}, {})

    def add(self, panel: Panel, own: Own) -> None:
        """Add the symbols of a panel."""
        source = panel.source_of_rows
        at = panel.day - self.first_day
        with np.errstate(invalid="ignore"):
            for i in range(panel.slots):
                for j in range(panel.slots):
                    if i == j:
                        continue
                    sigma = np.fmax(own.sigma[:, j], SMALLEST_SIGMA)
                    y = (panel.c[:, i] - panel.c[:, j]) / sigma
                    x = np.clip(own.r[:, j] / sigma, -CLIP, CLIP)
                    use = np.isfinite(x) & (np.abs(y) < CLIP / 2) & (own.since[:, j] == 1)
                    moved = _moved_extremes(panel, own, i, j)
                    for a, b in {*zip(source[use, i].tolist(), source[use, j].tolist(), strict=True)}:
                        rows = use & (source[:, i] == a) & (source[:, j] == b)
                        for table, values in ((self.cross, x * y), (self.square, x * x), (self.early, moved)):
                            sums = np.bincount(at[rows], values[rows], minlength=self.days)
                            table[a, b] = table.get((a, b), np.zeros(self.days)) + sums


def _moved_extremes(panel: Panel, own: Own, i: int, j: int) -> Floats:
    """+1 where an extreme of source j stands on i's next day, -1 where on i's day before, 0 else; by i's day."""
    room = np.fmax(FLOOR, EXTREME_SIGMAS * own.sigma[:, j])
    out = np.zeros(len(panel.day))
    for mine, theirs, sign in ((panel.h, panel.h, 1.0), (panel.low, panel.low, -1.0)):
        x, y = mine[:, i], theirs[:, j]
        beyond = sign * (x - y) > room
        before, after = (panel.moved(theirs[:, [j]], by)[:, 0] for by in (1, -1))
        # The neighbour day of j holds what i has too much: i's day began early, or ended late.
        out += beyond & (sign * (before - x) > -room / 4)
        out -= beyond & (sign * (after - x) > -room / 4)
    return out


def _rolling(values: Floats) -> Floats:
    total = np.cumsum(values)
    return total - np.concatenate([np.zeros(WINDOW), total[:-WINDOW]]) if len(values) > WINDOW else total


def offsets(sums: PairSums, pair: tuple[int, int]) -> tuple[Floats, Floats]:
    """Estimate by how much of a day the first source's day ends before the second's, and the score of it.

    If it ends a share f earlier, the closes differ by what the price did in that time, d = -f r + noise, so that
    f = -Σ d r / Σ r². Whether it does is told by highs and lows: those of the second source's last hours stand on the
    first's next day. The score is their sum over the last 365 days, less those that stand on the day before, over
    the root of the sum of squares by day, because all coins move together within a day.

    Returns
    -------
    tuple of ndarray
        f and the score, shape (days,); NaN with fewer than 120 common days.
    """
    cross, square, early = sums.cross[pair], sums.square[pair], sums.early[pair]
    n = _rolling((square > 0).astype(np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        f = -_rolling(cross) / _rolling(square)
        score = _rolling(early) / np.sqrt(_rolling(early**2))
    enough = n >= FEWEST_DAYS
    return np.where(enough, f, np.nan), np.where(enough, np.nan_to_num(score), np.nan)


def _held(score: Floats) -> Bools:
    """From the day the score passes `SCORE_ON` until it falls below `SCORE_OFF`."""
    rows = np.arange(len(score))
    with np.errstate(invalid="ignore"):
        on = np.maximum.accumulate(np.where(score > SCORE_ON, rows, -1))
        off = np.maximum.accumulate(np.where(~(score >= SCORE_OFF), rows, -1))
    return np.asarray(on > off, dtype=np.bool_)


def day_boundaries(sums: PairSums, sources: list[str], venue: Ints) -> Spans:
    """Find sources whose days end earlier or later than those of most other venues."""
    ids = sorted({a for a, _ in sums.cross})
    found = {pair: offsets(sums, pair) for pair in sums.cross}
    apart = {pair: (_held(score), _held(-score)) for pair, (_, score) in found.items()}
    out: list[tuple[str, int, int, int, str]] = []
    settled: dict[int, Bools] = {}
    weight = {a: sum(int((x | y).sum()) for (i, _), (x, y) in apart.items() if i == a) for a in ids}
    # The worst source first: one whose days are known to be its own says nothing about the days of the others.
    for a in sorted(ids, key=lambda one: -weight[one]):
        off, fits = np.zeros(sums.days, dtype=np.int64), np.zeros(sums.days, dtype=np.int64)
        size = np.full(sums.days, np.nan)
        for v in sorted({int(venue[b]) for b in ids} - {int(venue[a])}):
            is_off, has = np.zeros(sums.days, dtype=bool), np.zeros(sums.days, dtype=bool)
            for b in ids:
                if venue[b] != v or (a, b) not in found or (b, a) not in found:
                    continue
                counts = np.isfinite(found[a, b][1]) & ~settled.get(b, np.zeros(sums.days, dtype=bool))
                early, late = apart[a, b]
                has |= counts
                is_off |= (early | late) & counts
                size = np.where(early & counts, np.fmax(size, found[a, b][0]), size)
                size = np.where(late & counts, np.fmin(size, -found[b, a][0]), size)
            off += is_off
            fits += has & ~is_off
        flagged = (off > fits) & (off >= 2)
        settled[a] = flagged
        edges = np.flatnonzero(np.diff(np.concatenate([[0], flagged.astype(np.int64), [0]])))
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            hours = 24 * float(size[begin])
            words = f"days end about {abs(hours):.1f} h {'before' if hours > 0 else 'after'} those of other venues"
            first = max(sums.first_day + int(begin) - WINDOW + 1, sums.first_day)
            out.append((sources[a], first, sums.first_day + int(end) - 1, sums.first_day + int(begin), words))
    start, end, known = (np.array([one[k] for one in out], dtype=np.int64) for k in (1, 2, 3))
    names = [one[0] for one in out]
    return Spans(DAY_BOUNDARY, ["*"] * len(out), names, start, end, known, [one[4] for one in out])


def error_correlation(log_close: Floats) -> Floats:
    """Correlate the errors of sources: each source's distance from the median of those not in the pair.

    Parameters
    ----------
    log_close
        Shape (days, sources); NaN where a source is silent.

    Returns
    -------
    ndarray
        Shape (sources, sources); NaN on fewer than 120 common days, where a pair has no third source, and on the
        diagonal.
    """
    n = log_close.shape[1]
    out = np.full((n, n), np.nan)
    for i in range(n):
        for j in range(i + 1, n):
            rest = np.delete(log_close, [i, j], axis=1)
            if not rest.shape[1]:
                continue
            middle = row_median(rest)
            a, b = log_close[:, i] - middle, log_close[:, j] - middle
            both = np.isfinite(a) & np.isfinite(b)
            if both.sum() < FEWEST_DAYS:
                continue
            # Ranks, so that one wild day does not make two sources alike.
            x, y = (np.argsort(np.argsort(one[both])).astype(np.float64) for one in (a, b))
            if x.std() > 0 and y.std() > 0 and np.ptp(a[both]) > 0 and np.ptp(b[both]) > 0:
                out[i, j] = out[j, i] = float(np.corrcoef(x, y)[0, 1])
    return out


def mirror_groups(log_close: Floats, *, limit: float = MIRROR_CORRELATION) -> Ints:
    """Group sources whose errors move together, of which each group has one vote.

    Parameters
    ----------
    log_close
        Shape (days, sources).
    limit
        Rank correlation of errors from which two sources are mirrors.

    Returns
    -------
    ndarray
        Group number of each source, the smallest index in its group.
    """
    correlation = error_correlation(log_close)
    group = np.arange(log_close.shape[1], dtype=np.int64)
    for i, j in np.argwhere(correlation > limit):
        a, b = group[i], group[j]
        group[group == max(a, b)] = min(a, b)
    return group
