"""Clusters: exceptions counted by date, because markets fail together.

What lives here: rows, dates and clusters of exceptions, and the test of all markets at once against a simulated joint
law. What does not: intervals by date blocks (``plimsoll.coverage``), choosing failing markets (``multiplicity``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plimsoll.backtests.outcomes import Floats, Outcome, as_flags, check_rate, not_applicable

TOTAL, WORST_DATE = "market total", "market worst date"


@dataclass(frozen=True)
class Clusters:
    """How many exceptions there are, counted three ways.

    Attributes
    ----------
    exceptions
        Rows.
    exception_dates
        Distinct dates among them.
    clusters
        Runs of exception dates whose neighbours lie at most ``gap_days`` apart.
    largest_date, largest_cluster
        Rows on the worst date and in the worst cluster.
    """

    observations: int
    dates: int
    exceptions: int
    exception_dates: int
    clusters: int
    largest_date: int
    largest_cluster: int


def count(dates: NDArray[np.datetime64], hits: ArrayLike, *, gap_days: int = 5) -> Clusters:
    """Count exceptions by row, date and cluster; rows in any order.

    Raises
    ------
    ValueError
        Where dates and hits differ in length, a date is missing, or the gap is negative.
    """
    flags = as_flags(hits)
    days = np.asarray(dates, dtype="datetime64[D]")
    if days.shape != flags.shape:
        raise ValueError(f"{len(days)} dates for {len(flags)} hits; one date a row")
    if np.isnat(days).any():
        raise ValueError(f"dates, row {int(np.flatnonzero(np.isnat(days))[0])}: missing")
    if gap_days < 0:
        raise ValueError(f"gap of {gap_days} days: must not be negative")
    distinct, rows = np.unique(days[flags], return_counts=True)
    if len(distinct) == 0:
        return Clusters(len(flags), len(np.unique(days)), 0, 0, 0, 0, 0)
    cluster = np.concatenate([[0], np.cumsum(np.diff(distinct).astype(np.int64) > gap_days)])
    sizes = np.bincount(cluster, weights=rows)
    return Clusters(
        len(flags), len(np.unique(days)), int(flags.sum()), len(distinct), len(sizes), int(rows.max()), int(sizes.max())
    )


def daily_counts(hits: ArrayLike) -> NDArray[np.int64]:
    """Exceptions by date over a table of dates by markets, shape (n, m); NaN where a market was not judged."""
    table = np.asarray(hits, dtype=np.float64)
    if table.ndim != 2 or table.size == 0:
        raise ValueError(f"hits of shape {table.shape}: hand over dates by markets")
    known = np.isfinite(table)
    if not np.isin(table[known], (0.0, 1.0)).all():
        raise ValueError("hits hold something else than 0, 1 and NaN for a market that was not judged")
    return np.asarray(np.where(known, table, 0.0).sum(axis=1), dtype=np.int64)


def simulate_joint(
    hits: ArrayLike, scores: ArrayLike, p: float, *, draws: int, seed: int, block_days: int = 20
) -> NDArray[np.int64]:
    """Simulate exceptions by date while every market has its nominal rate and keeps its company.

    Each market's scores become ranks among its own, so that a rank below p is an exception at exactly the nominal rate;
    whole rows of ranks are then drawn in blocks of dates, which keeps what markets have in common and what follows on
    a bad day.

    Parameters
    ----------
    hits
        What will be judged, shape (n, m): only where it stands NaN matters; a market not judged cannot fail.
    scores
        Standardised returns of a calibration period that ends before the judged one, shape (k, m), NaN where unknown; a
        drawn row in which a market is unknown fails there by an independent draw.
    p, draws, seed, block_days
        Nominal rate and bootstrap.

    Returns
    -------
    ndarray
        Shape (draws, n).

    Raises
    ------
    ValueError
        Where shapes do not fit, or a market has fewer than 1/p scores.
    """
    check_rate(p)
    judged = np.isfinite(np.asarray(hits, dtype=np.float64))
    z = np.asarray(scores, dtype=np.float64)
    if z.ndim != 2 or judged.ndim != 2 or z.shape[1] != judged.shape[1]:
        raise ValueError(f"scores of shape {z.shape} for hits of shape {judged.shape}: markets must agree")
    seen = np.isfinite(z).sum(axis=0)
    if (seen < 1 / p).any():
        market = int(np.flatnonzero(seen < 1 / p)[0])
        raise ValueError(f"market {market}: {seen[market]} scores cannot tell a rate of {p}; leave it out")
    rng = np.random.default_rng(seed)
    n, m = judged.shape
    k = len(z)
    order = np.argsort(np.argsort(np.where(np.isfinite(z), z, np.inf), axis=0), axis=0)
    length = min(block_days, k)
    blocks = int(np.ceil(n / length))
    out = np.empty((draws, n), dtype=np.int64)
    for draw in range(draws):
        starts = rng.integers(0, k, size=blocks)
        rows = ((starts[:, None] + np.arange(length)) % k).ravel()[:n]
        # ranks are spread evenly within their step, so that the rate is p and no multiple of one over the history
        rank = (order[rows] + rng.random((n, m))) / seen
        fails = np.where(np.isfinite(z[rows]), rank < p, rng.random((n, m)) < p)
        out[draw] = (fails & judged).sum(axis=1)
    return out


def market_level(counts: ArrayLike, simulated: ArrayLike) -> tuple[Outcome, Outcome]:
    """Test all markets at once, by date, against a simulated joint law.

    Parameters
    ----------
    counts
        Exceptions by date, shape (n,).
    simulated
        The same under the null, shape (draws, n).

    Returns
    -------
    tuple of Outcome
        The total over all dates, two-sided, and the worst date, one-sided.

    Raises
    ------
    ValueError
        Where shapes do not fit.
    """
    seen = np.asarray(counts, dtype=np.float64)
    null = np.asarray(simulated, dtype=np.float64)
    if null.ndim != 2 or seen.shape != null.shape[1:]:
        raise ValueError(f"counts of shape {seen.shape} for simulations of shape {null.shape}")
    if len(null) == 0:
        return not_applicable(TOTAL, "nothing was simulated"), not_applicable(WORST_DATE, "nothing was simulated")
    total, worst = float(seen.sum()), float(seen.max())
    totals = null.sum(axis=1)
    both = 2 * min(_share(totals >= total), _share(totals <= total))
    return (
        Outcome(TOTAL, total, min(1.0, both)),
        Outcome(WORST_DATE, worst, _share(null.max(axis=1) >= worst)),
    )


def _share(beyond: NDArray[np.bool_] | Floats) -> float:
    return float((1 + np.count_nonzero(beyond)) / (len(beyond) + 1))
