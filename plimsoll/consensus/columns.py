"""Columns: values of a bar that stand in the wrong column, and bars that stand twice.

What lives here: the rules for swapped columns and duplicated days. What does not: prices that are wrong (``ticks``).
"""

import numpy as np

from plimsoll.consensus.features import Found, Own, found
from plimsoll.consensus.numerics import Bools, Floats
from plimsoll.consensus.panel import Panel
from plimsoll.consensus.peers import Peers

SWAPPED, DUPLICATED = "swapped_columns", "duplicated_day"

BODY_VISIBLE = 50e-4
SWAP_SHARE = 0.25
SWAP_GAPS = 4.0
VOLUME_LOG_PRICE = 4.0
VOLUME_NEAR = 1.0
VOLUME_SPAN = 2.5
VOLUME_SCALES = 5.0
TICKS_OF_CHANCE = 20.0
SPAN_VISIBLE = 20e-4


def column_rules(panel: Panel, own: Own, peers: Peers) -> list[Found]:
    """Find swapped columns and duplicated days."""
    with np.errstate(invalid="ignore"):
        return [*_open_close(panel, own, peers), *_volume(panel, own), *_duplicates(panel, own, peers)]


def _open_close(panel: Panel, own: Own, peers: Peers) -> list[Found]:
    o, c, best = panel.o, panel.c, peers.best
    body = np.abs(c - o)
    numbers = {"open": np.exp(o), "close": np.exp(c)}
    crossed = np.abs(o - best.c) + np.abs(c - best.o)
    straight = np.abs(o - best.o) + np.abs(c - best.c)
    # Which of the two sources is crossed: the one whose close meets the bar before.
    meets = (np.fmin(np.abs(c - own.c_prev), np.abs(c - own.o_prev)) < 0.4 * body) & (
        np.abs(o - own.c_prev) > 0.4 * body
    )
    by_peer = (body > np.fmax(BODY_VISIBLE, best.limit)) & (crossed < SWAP_SHARE * straight) & meets
    out = found(
        SWAPPED,
        "open and close fit the other source's crosswise",
        panel,
        by_peer,
        None,
        **numbers,
        reference_open=np.exp(best.o),
        reference_close=np.exp(best.c),
    )
    # Neighbours may be swapped too: then their true close stands in the open.
    tie = (own.since == 1) & (own.until == 1)
    before_as_is = np.fmin(np.abs(o - own.c_prev), np.abs(o - own.o_prev))
    after_as_is = np.abs(own.o_next - c)
    before_swapped, after_swapped = np.abs(c - own.c_prev), np.fmin(np.abs(own.o_next - o), np.abs(own.c_next - o))
    limit = np.fmax(BODY_VISIBLE, SWAP_GAPS * own.usual_gap)
    lone = (
        tie
        & ~(straight < crossed)
        & (body > limit)
        & (before_swapped + after_swapped < SWAP_SHARE * (before_as_is + after_as_is))
        & (np.fmax(before_swapped, after_swapped) < 0.5 * body)
        & (np.fmin(np.abs(o - own.c_prev), after_as_is) > 0.5 * body)
    )
    return out + found(
        SWAPPED,
        "the close meets the close before and the open meets the next open: they stand crosswise",
        panel,
        lone & ~by_peer,
        own.next_day,
        **numbers,
        close_before=np.exp(own.c_prev),
        next_open=np.exp(own.o_next),
    )


def _volume(panel: Panel, own: Own) -> list[Found]:
    jump = own.log_volume - own.usual_volume
    size = np.abs(panel.c)
    hit = (
        (size > VOLUME_LOG_PRICE)
        & (np.abs(np.abs(jump) - size) < np.fmin(np.fmax(VOLUME_NEAR, 3 * own.volume_scale), 0.4 * size))
        & (np.abs(jump) > VOLUME_SCALES * own.volume_scale)
        & (own.span < VOLUME_SPAN * own.usual_span)
    )
    return found(
        SWAPPED,
        "the volume differs from the usual by the price: base and quote are exchanged",
        panel,
        hit,
        None,
        volume=np.exp(own.log_volume),
        usual_volume=np.exp(own.usual_volume),
        price=np.exp(panel.c),
    )


def _duplicates(panel: Panel, own: Own, peers: Peers) -> list[Found]:
    same = np.ones(panel.c.shape, dtype=bool)
    for one in (panel.o, panel.h, panel.low, panel.c):
        same &= one == panel.at(one, panel.before)
    same &= own.span > SPAN_VISIBLE
    same &= own.since <= 3
    ticks = _steps(panel, same)
    volume_before = panel.at(panel.volume, panel.before)
    both = np.isfinite(panel.volume) & np.isfinite(volume_before)
    is_same_volume = both & (panel.volume == volume_before) & (panel.volume > 0)
    hit = same & (is_same_volume | (ticks >= TICKS_OF_CHANCE))
    return found(
        DUPLICATED,
        "the bar before stands again",
        panel,
        hit,
        None,
        close=np.exp(panel.c),
        volume=panel.volume,
        steps_in_range=ticks,
    )


def _steps(panel: Panel, where: Bools) -> Floats:
    """Count the price steps between low and high, by the digits that the bar's prices are printed with."""
    out = np.full(where.shape, np.nan)
    prices = np.stack([np.exp(one[where]) for one in (panel.o, panel.h, panel.low, panel.c)])
    digits = np.full(prices.shape, 13.0)
    for n in range(12, -4, -1):
        scaled = prices * 10.0**n
        digits[np.abs(scaled - np.round(scaled)) < 1e-9 * np.maximum(scaled, 1.0)] = n
    # Prices that end in zeros look coarser than they are, and a single fine one among coarse ones finer.
    out[where] = np.round((prices[1] - prices[2]) * 10.0 ** np.sort(digits, axis=0)[1])
    return out
