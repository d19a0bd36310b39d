"""Features: what each bar looks like beside the bar before, the bar after, and what was usual for its source.

What lives here: moves, gaps, wicks and trailing scales of own series, and the type in which rules say what they found.
What does not: rules.
"""

from dataclasses import dataclass

import numpy as np

from plimsoll.consensus.numerics import Bools, Floats, Ints, trailing_quantile
from plimsoll.consensus.panel import Market, Panel
from plimsoll.consensus.vote import MAD_TO_SIGMA

UNKNOWN_SIGMA = 0.05
"""Daily log volatility assumed of a series with fewer than ten returns: high, so that young series are left alone."""
SMALLEST_STEP = 1e-10
"""Log differences below are rounding of the logarithm, not a price step."""


@dataclass(frozen=True)
class Found:
    """What one rule found.

    Attributes
    ----------
    kind
        Name of the fault.
    evidence
        Which observation decided, in words.
    row, slot
        Places in the panel.
    known_on
        Day number of the newest bar that the verdict uses.
    numbers
        Values that made the verdict, by name.
    """

    kind: str
    evidence: str
    row: Ints
    slot: Ints
    known_on: Ints
    numbers: dict[str, Floats]


@dataclass(frozen=True)
class Own:
    """Own-series features, each of shape (rows, slots), in logs; NaN where a bar or a neighbour is missing.

    Attributes
    ----------
    c_prev, o_prev, o_next, c_next
        Of the source's bars before and after.
    since, until
        Days to the bar before and after.
    r, r_next
        Close to close.
    gap, gap_next
        Open less close before; next open less close. Where a source gives no open, its close stands for it.
    top, bottom
        Higher and lower of open and close.
    span
        High less low.
    sigma
        1.4826 times the median |r| of the sixty bars before; 0.05 with fewer than ten.
    usual_gap
        90 % quantile of |gap| over the sixty bars before.
    usual_span
        Median of high less low.
    usual_wick_low, usual_wick_high
        90 % quantile of the wick beyond the body.
    log_volume, usual_volume, volume_scale
        ln volume, its median before and 1.4826 times the median distance from it.
    step
        Smallest price step seen in the thirty bars before, relative to price.
    next_day
        Day number of the bar after.
    """

    c_prev: Floats
    o_prev: Floats
    o_next: Floats
    c_next: Floats
    since: Floats
    until: Floats
    r: Floats
    r_next: Floats
    gap: Floats
    gap_next: Floats
    top: Floats
    bottom: Floats
    span: Floats
    sigma: Floats
    usual_gap: Floats
    usual_span: Floats
    usual_wick_low: Floats
    usual_wick_high: Floats
    log_volume: Floats
    usual_volume: Floats
    volume_scale: Floats
    step: Floats
    next_day: Floats
    market_low: Floats
    market_high: Floats
    market_close: Floats


def own_features(panel: Panel, market: Market) -> Own:
    """Compute the features of every bar from its own series; see `Own`."""
    starts, before, after = panel.starts, panel.before, panel.after
    o = np.where(np.isfinite(panel.o), panel.o, panel.c)
    c_prev, o_next = panel.at(panel.c, before), panel.at(panel.o, after)
    c_next = panel.at(panel.c, after)
    o_next = np.where(np.isfinite(o_next), o_next, c_next)
    day = panel.day[:, None].astype(np.float64)
    r = panel.c - c_prev
    gap = o - c_prev
    top, bottom = np.fmax(panel.o, panel.c), np.fmin(panel.o, panel.c)
    is_daily = (day - panel.days_at(before)) == 1
    sigma = MAD_TO_SIGMA * trailing_quantile(np.where(is_daily, np.abs(r), np.nan), starts)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_volume = np.where(panel.volume > 0, np.log(panel.volume), np.nan)
    usual_volume = trailing_quantile(log_volume, starts, window=30)
    steps = np.full_like(r, np.nan)
    for a, b in ((panel.h, panel.o), (panel.h, panel.c), (panel.o, panel.low), (panel.c, panel.low)):
        distance = a - b
        steps = np.fmin(steps, np.where(distance > SMALLEST_STEP, distance, np.nan))
    at = np.clip(panel.day - market.first_day, 0, len(market.low) - 1)
    return Own(
        c_prev,
        panel.at(o, before),
        o_next,
        c_next,
        day - panel.days_at(before),
        panel.days_at(after) - day,
        r,
        c_next - panel.c,
        gap,
        o_next - panel.c,
        top,
        bottom,
        panel.h - panel.low,
        np.where(np.isfinite(sigma), sigma, UNKNOWN_SIGMA),
        trailing_quantile(np.where(is_daily, np.abs(gap), np.nan), starts, q=0.9),
        trailing_quantile(panel.h - panel.low, starts),
        trailing_quantile(bottom - panel.low, starts, q=0.9),
        trailing_quantile(panel.h - top, starts, q=0.9),
        log_volume,
        usual_volume,
        MAD_TO_SIGMA * trailing_quantile(np.abs(log_volume - usual_volume), starts, window=30),
        trailing_quantile(steps, starts, window=30, q=0.0, fewest=1),
        panel.days_at(after),
        market.low[at][:, None],
        market.high[at][:, None],
        market.close[at][:, None],
    )


def found(
    kind: str,
    evidence: str,
    panel: Panel,
    where: Bools,
    known_on: Floats | None,
    **numbers: Floats,
) -> list[Found]:
    """Wrap the places where a rule holds; an empty list where it holds nowhere.

    Parameters
    ----------
    known_on
        Day numbers, shape (rows, slots); None for the day itself.
    """
    hit = where & panel.is_bar
    row, slot = np.nonzero(hit)
    if not len(row):
        return []
    days = panel.day[row] if known_on is None else known_on[row, slot].astype(np.int64)
    values = {name: np.broadcast_to(of, hit.shape)[row, slot] for name, of in numbers.items()}
    return [Found(kind, evidence, row.astype(np.int64), slot.astype(np.int64), days, values)]
