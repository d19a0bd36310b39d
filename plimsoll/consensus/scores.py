"""Scores: how far a feed can be trusted, when it is quarantined, and what a recommendation may still do.

What lives here: the score of 0 to 100, quarantine with hysteresis, and degraded modes. What does not: verdicts on bars
(``judge``), prices (``prices``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from plimsoll.consensus.numerics import Bools, Floats

QUARANTINE_BELOW = 60.0
QUARANTINE_REJECTS = 3
REJECT_DAYS = 3
CLEAN_DAYS = 7
STALE_DAYS = 7.0
Z_FREE, Z_WORST = 1.0, 5.0
REVISED_WORST = 0.10
FEWEST_SOURCES = 3
LAMBDA_DEGRADED = 2.0
LOW_LIQUIDITY_CAP = 0.40


@dataclass(frozen=True)
class FeedScore:
    """Score of a feed and the penalties whose product it is.

    Attributes
    ----------
    score
        100 times the product of the penalties.
    completeness, staleness, agreement, revisions, discovery, independence
        Penalties between 0 (worthless) and 1 (perfect).
    """

    score: float
    completeness: float
    staleness: float
    agreement: float
    revisions: float
    discovery: float
    independence: float


def feed_score(
    *,
    bars: int,
    expected: int,
    days_stale: float,
    median_abs_z: float,
    revised_share: float,
    discovery_share: float,
    sources_in_group: int,
) -> FeedScore:
    """Score a feed: 100 times the product of its penalties.

    Parameters
    ----------
    bars, expected
        Bars that came and days that should have one.
    days_stale
        Days since the newest bar was due.
    median_abs_z
        Median distance from the consensus in robust standard deviations; NaN where nobody else can tell.
    revised_share
        Share of bars that changed after they were first given.
    discovery_share
        Share of the feed's days on which it moved first or with the rest (not a copy of yesterday); 1 where unknown.
    sources_in_group
        Feeds whose errors move with this one's, itself included; two mirrors count as one.

    Returns
    -------
    FeedScore
        Completeness is the share that came; staleness falls to zero over seven days; agreement is 1 up to one robust
        deviation and falls to 0 at five; revisions fall to 0 at a tenth revised; discovery enters with its root, and
        independence is one over the root of the group's size.

    Raises
    ------
    ValueError
        Where a count or a share lies outside its range; names it.
    """
    if bars < 0 or expected < 0 or sources_in_group < 1:
        raise ValueError(
            f"bars {bars}, expected {expected}, sources_in_group {sources_in_group}: counts from 0, 0 and 1"
        )
    for name, value in (("revised_share", revised_share), ("discovery_share", discovery_share)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} {value:g}: a share lies between 0 and 1")
    completeness = min(bars / expected, 1.0) if expected else 0.0
    staleness = float(np.clip(1 - max(days_stale, 0.0) / STALE_DAYS, 0, 1))
    z = median_abs_z if np.isfinite(median_abs_z) else Z_FREE
    agreement = float(np.clip(1 - (z - Z_FREE) / (Z_WORST - Z_FREE), 0, 1))
    revisions = float(np.clip(1 - revised_share / REVISED_WORST, 0, 1))
    discovery, independence = float(np.sqrt(discovery_share)), 1 / float(np.sqrt(sources_in_group))
    product = completeness * staleness * agreement * revisions * discovery * independence
    return FeedScore(100 * product, completeness, staleness, agreement, revisions, discovery, independence)


def quarantined(scores: Floats, rejects: Floats) -> Bools:
    """Tell on which days a feed is in quarantine.

    It enters below a score of 60, or with three rejected bars within three days. The usual rule is three rejects in 24
    hours of a feed that ticks all day; of daily bars, one a day, that is three days in a row with a reject. It leaves
    after seven days in a row with neither.

    Parameters
    ----------
    scores
        Score by day, NaN where unknown, shape (days,).
    rejects
        Rejected bars by day, all symbols of the feed that are looked at together, shape (days,).

    Returns
    -------
    ndarray
        True from the day of the cause on; day t depends on days up to t.
    """
    score, count = np.asarray(scores, dtype=np.float64), np.asarray(rejects, dtype=np.float64)
    if score.shape != count.shape:
        raise ValueError(f"scores {score.shape} and rejects {count.shape}: one of each a day")
    total = np.concatenate([[0.0], np.cumsum(count)])
    days = np.arange(len(count))
    recent = total[1:] - total[np.maximum(days + 1 - REJECT_DAYS, 0)]
    with np.errstate(invalid="ignore"):
        is_cause = (score < QUARANTINE_BELOW) | (recent >= QUARANTINE_REJECTS)
        is_dirty = (score < QUARANTINE_BELOW) | (count > 0)
    out = np.zeros(len(score), dtype=bool)
    clean, is_in = CLEAN_DAYS, False
    for t in range(len(score)):
        clean = 0 if is_dirty[t] else clean + 1
        is_in = bool(is_cause[t]) or (is_in and clean < CLEAN_DAYS)
        out[t] = is_in
    return out


@dataclass(frozen=True)
class FeedState:
    """What a recommendation may do with an asset's feeds as they are.

    Attributes
    ----------
    may_loosen
        False freezes loosening; tightening is always allowed.
    lambda_delta_factor
        Factor on the oracle's jump intensity.
    reasons
        Why, in words; empty where all is well.
    """

    may_loosen: bool
    lambda_delta_factor: float
    reasons: tuple[str, ...]


def feed_state(
    *,
    venues: int,
    status: str,
    quarantined_sources: Sequence[str] = (),
    is_demo: bool = False,
    is_reference: bool = False,
) -> FeedState:
    """Decide what is allowed under degraded feeds.

    Parameters
    ----------
    venues
        Independent venues with an accepted bar.
    status
        Of the consensus price: ``agreed``, ``disputed``, ``single source`` or ``no source``.
    quarantined_sources
        Sources in quarantine.
    is_demo, is_reference
        The profile is a demonstration, or the one venue is itself the reference: a single source may loosen then.
    """
    reasons = []
    may_loosen = True
    if venues < 1 or status == "no source":
        may_loosen = False
        reasons.append("no source gives a price that can be used")
    elif venues == 1 and not (is_demo or is_reference):
        may_loosen = False
        reasons.append("single source: nobody confirms the price, so tightening only")
    elif venues < FEWEST_SOURCES:
        reasons.append(f"{venues} independent source(s), fewer than {FEWEST_SOURCES}")
    if status == "disputed":
        may_loosen = False
        reasons.append("two sources dispute the price; loosening is frozen")
    if quarantined_sources:
        may_loosen = False
        reasons.append(f"in quarantine: {', '.join(sorted(quarantined_sources))}; loosening is frozen")
    factor = LAMBDA_DEGRADED if venues < FEWEST_SOURCES else 1.0
    return FeedState(may_loosen, factor, tuple(reasons))


def capped_weights(liquidity: Floats) -> Floats:
    """Weigh venues by min(volume, depth), none above 40 % of the whole where at least three stand.

    Parameters
    ----------
    liquidity
        min(volume, depth) in USD of each venue, shape (venues,); not negative.

    Returns
    -------
    ndarray
        Weights that sum to 1. What is cut from one venue goes to the others in proportion.
    """
    x = np.asarray(liquidity, dtype=np.float64)
    if not len(x) or not np.isfinite(x).all() or (x < 0).any() or not x.sum() > 0:
        raise ValueError("liquidity: at least one venue, none negative, not all zero")
    weights: Floats = x / x.sum()
    if (x > 0).sum() * LOW_LIQUIDITY_CAP < 1:
        return weights
    for _ in range(len(x)):
        over = weights > LOW_LIQUIDITY_CAP + 1e-12
        if not over.any():
            break
        fixed = over | np.isclose(weights, LOW_LIQUIDITY_CAP)
        weights[fixed] = LOW_LIQUIDITY_CAP
        rest = ~fixed
        weights[rest] *= (1 - LOW_LIQUIDITY_CAP * fixed.sum()) / weights[rest].sum()
    return weights
