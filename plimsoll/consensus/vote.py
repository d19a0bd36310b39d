"""Vote: many quotations of one thing become one, and those far from the rest are outvoted.

What lives here: the rules for one, two and more independent sources, on plain arrays. What does not: naming what is
wrong with a bar (``own``, ``peers``), prices of whole histories (``prices``).
"""

from dataclasses import dataclass

import numpy as np

from plimsoll.consensus.numerics import Bools, Floats

MAD_TO_SIGMA = 1.4826
VOTE_SIGMAS = 5.0
FLOOR = 25e-4
FLOOR_TICKS = 3.0
PAIR_TIMES = 5.0


@dataclass(frozen=True)
class Vote:
    """Outcome of a vote of three or more.

    Attributes
    ----------
    median
        Median of all values, shape (rows,); NaN where no value stands.
    scale
        1.4826 times the median distance from it.
    z
        Robust scores, shape (rows, sources); NaN without value or where the scale is zero.
    is_outvoted
        Values further than the limit from the median.
    """

    median: Floats
    scale: Floats
    z: Floats
    is_outvoted: Bools


def row_median(values: Floats) -> Floats:
    """Median of each row over its finite values; NaN where there is none."""
    ordered = np.sort(values, axis=1)
    n = np.isfinite(ordered).sum(axis=1)
    low, high = np.maximum((n - 1) // 2, 0), np.maximum(n // 2, 0)
    rows = np.arange(len(values))
    high = np.minimum(high, values.shape[1] - 1)
    out = (ordered[rows, low] + ordered[rows, high]) / 2
    return np.where(n > 0, out, np.nan)


def row_second_lowest(values: Floats) -> Floats:
    """Second-lowest value of each row; NaN where fewer than two are finite."""
    if values.shape[1] < 2:
        return np.full(len(values), np.nan)
    return np.asarray(np.sort(values, axis=1)[:, 1], dtype=np.float64)


def vote(values: Floats, *, tick: Floats | float = 0.0) -> Vote:
    """Let the sources of each row vote.

    A source is outvoted where |x - med| > max(5 * 1.4826 MAD, 3 ticks, 25 bp of med) and at least three stand.

    Parameters
    ----------
    values
        Prices, shape (rows, sources); NaN where a source is silent.
    tick
        Price step of the coarsest source, a number or shape (rows,).

    Returns
    -------
    Vote
        Nobody is outvoted where fewer than three values stand.
    """
    x = np.atleast_2d(np.asarray(values, dtype=np.float64))
    median = row_median(x)
    distance = np.abs(x - median[:, None])
    scale = MAD_TO_SIGMA * row_median(distance)
    step = np.broadcast_to(np.asarray(tick, dtype=np.float64), median.shape)
    limit = np.fmax(np.fmax(VOTE_SIGMAS * scale, FLOOR_TICKS * step), FLOOR * np.abs(median))
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.where(scale[:, None] > 0, (x - median[:, None]) / scale[:, None], np.nan)
        is_outvoted = (distance > limit[:, None]) & (np.isfinite(x).sum(axis=1) >= 3)[:, None]
    return Vote(median, scale, z, is_outvoted)


def pair_limit(usual_distance: Floats | float) -> Floats:
    """Return how far two sources may lie apart before they dispute: max(25 bp, 5 times their usual distance).

    Parameters
    ----------
    usual_distance
        Median of |ln a - ln b| over the days before; NaN where unknown, which leaves 25 bp.
    """
    return np.fmax(PAIR_TIMES * np.asarray(usual_distance, dtype=np.float64), FLOOR)
