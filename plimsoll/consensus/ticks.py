"""Ticks: closes and wicks that no one else saw, and bars that hold a part of their day.

What lives here: the rules for bad ticks and part-day candles. What does not: whole bars in the wrong place or scale
(``identity``), columns (``columns``).
"""

import numpy as np

from plimsoll.consensus.features import Found, Own, found
from plimsoll.consensus.numerics import Bools, Floats, trailing_quantile
from plimsoll.consensus.panel import Panel
from plimsoll.consensus.peers import TWIN_DISTANCE, TWIN_LIMIT, Peers

BAD_TICK, PART_DAY = "bad_tick", "part_day"

SPIKE_SIGMAS = 6.0
SPIKE_FLOOR = 0.02
REVERSAL = 0.25
OUTSIDE_SHARE = 0.25
OUTSIDE_SIGMAS = 10.0
OUTSIDE_FLOOR = 0.10
WICK_SIGMAS = 15.0
WICK_FLOOR = 0.30
WICK_CAP = 0.60
WICK_SPAN_SHARE = 0.65
WICK_USUAL = 5.0
LONE_WICK_USUAL = 6.0
LONE_WICK_CAP = 0.80
MARKET_SHARE = 0.20
MARKET_FLOOR = 0.04
VOLUME_TIMES = float(np.log(2.5))
GAP_TIMES = 5.0
PART_VOLUME_SHARE = float(np.log(0.75))
PART_VOLUME_SCALES = 2.0
STRONG_GAP_TIMES = 6.0
PART_SPAN_SHARE = 0.85
PART_OFF_SIGMAS = 0.4
PART_OFF_SPAN = 0.08
PART_ROOM = 0.35
KIN_DISTANCE = 15e-4
GAP_FLOOR = 20e-4
LONE_GAP_FLOOR = 120e-4
LONE_GAP_TIMES = 6.0
LONE_VOLUME_SHARE = float(np.log(0.8))
LONE_SIGMAS, LONE_RETURN = 10.0, 0.03
VETO_SHARE = 0.1
WIDE_GAP_FLOOR = 120e-4
WIDE_GAP_TIMES = 8.0
WIDE_VOLUME = float(np.log(1.5))


def tick_rules(panel: Panel, own: Own, peers: Peers) -> list[Found]:
    """Find bad ticks and part-day candles."""
    with np.errstate(invalid="ignore"):
        return [*_closes(panel, own, peers), *_wicks(panel, own, peers), *_part_days(panel, own, peers)]


def _is_volume_high(own: Own) -> Bools:
    return np.asarray(own.log_volume - own.usual_volume > VOLUME_TIMES, dtype=np.bool_)


def market_agrees(own: Own, move: Floats) -> Bools:
    """Whether the median market went the same way by a fifth of the move and at least four per cent."""
    low, high = own.market_low, own.market_high
    down = (move < 0) & (low < -np.fmax(MARKET_SHARE * np.abs(move), MARKET_FLOOR))
    up = (move > 0) & (high > np.fmax(MARKET_SHARE * np.abs(move), MARKET_FLOOR))
    return np.asarray(down | up, dtype=np.bool_)


def _closes(panel: Panel, own: Own, peers: Peers) -> list[Found]:
    c, other = panel.c, peers.other
    excess = np.fmax(other.low - c, c - other.h)
    excess = np.where(np.isfinite(excess), excess, np.abs(c - other.c))
    limit = np.fmax(other.limit, OUTSIDE_SHARE * (other.h - other.low))
    limit = np.where(np.isfinite(limit), limit, other.limit)
    limit = np.fmax(limit, np.fmax(OUTSIDE_SIGMAS * own.sigma, OUTSIDE_FLOOR))
    is_voted = peers.is_outvoted & (excess > limit)
    out = found(
        BAD_TICK,
        "the close lies outside the range of the best reference and no venue agrees with it",
        panel,
        is_voted,
        None,
        close=np.exp(c),
        reference=np.exp(other.c),
        excess_bp=1e4 * excess,
        limit_bp=1e4 * limit,
    )
    their_move = other.c - own.c_prev
    size = np.fmax(SPIKE_SIGMAS * own.sigma, SPIKE_FLOOR)
    is_short = (own.since <= 3) & (own.until <= 3)
    reverts = (np.abs(own.r) > limit) & (np.abs(own.r + own.r_next) < REVERSAL * np.abs(own.r)) & is_short
    pair = (
        reverts
        & (peers.venues >= 1)
        & (peers.agree == 0)
        & (excess > limit)
        & (np.abs(their_move) < 0.5 * np.abs(own.r))
    )
    out += found(
        BAD_TICK,
        "the close lies outside the other venue's range, and the next close takes the move back",
        panel,
        pair & ~is_voted,
        own.next_day,
        close=np.exp(c),
        reference=np.exp(other.c),
        excess_bp=1e4 * excess,
        limit_bp=1e4 * limit,
    )
    jumps_back = np.abs(own.gap_next) > 0.5 * np.abs(own.r)
    jumps_back &= np.sign(own.gap_next) == -np.sign(own.r)
    is_spike = reverts & (np.abs(own.r) > size) & (peers.venues == 0) & ~market_agrees(own, own.r)
    is_wild = np.abs(own.r) > 2 * np.fmax(size, 0.10)
    lone = is_spike & (jumps_back | (is_wild & ~_is_volume_high(own)))
    return out + found(
        BAD_TICK,
        "the close stands alone: the next bar takes it back, and neither the market nor the volume supports it",
        panel,
        lone,
        own.next_day,
        close=np.exp(c),
        close_before=np.exp(own.c_prev),
        close_after=np.exp(own.c_next),
        limit_bp=1e4 * size,
    )


def _wicks(panel: Panel, own: Own, peers: Peers) -> list[Found]:
    out = []
    span = peers.other.h - peers.other.low
    for side, mine, theirs, depth, usual, move in (
        ("low", panel.low, peers.lowest, own.bottom - panel.low, own.usual_wick_low, panel.low - own.c_prev),
        ("high", panel.h, peers.highest, panel.h - own.top, own.usual_wick_high, panel.h - own.c_prev),
    ):
        excess = np.where(side == "low", theirs - mine, mine - theirs)
        # Nobody needs a history to doubt a print at half or double of what all others saw.
        by_history = np.fmin(np.fmax(WICK_SIGMAS * own.sigma, WICK_USUAL * usual), WICK_CAP)
        limit = np.fmax(np.fmax(by_history, WICK_FLOOR), np.fmax(WICK_SPAN_SHARE * span, peers.other.limit))
        hit = (peers.venues >= 1) & (excess > limit) & (depth > limit)
        out += found(
            BAD_TICK,
            f"the {side} lies beyond that of every other venue",
            panel,
            hit,
            None,
            price=np.exp(mine),
            furthest_of_others=np.exp(theirs),
            excess_bp=1e4 * excess,
            limit_bp=1e4 * limit,
        )
        alone = np.fmin(np.fmax(WICK_SIGMAS * own.sigma, LONE_WICK_USUAL * usual), LONE_WICK_CAP)
        alone = np.fmax(alone, WICK_FLOOR)
        lone = (peers.venues == 0) & (depth > alone) & ~_is_volume_high(own) & ~market_agrees(own, move)
        out += found(
            BAD_TICK,
            f"the {side} stands alone: neither the market nor the volume supports it",
            panel,
            lone,
            None,
            price=np.exp(mine),
            body=np.exp(np.where(side == "low", own.bottom, own.top)),
            depth_bp=1e4 * depth,
            limit_bp=1e4 * alone,
        )
    return out


def _part_days(panel: Panel, own: Own, peers: Peers) -> list[Found]:
    twin, best, c = peers.twin, peers.best, panel.c
    numbers = {"close": np.exp(c), "reference": np.exp(best.c), "next_open": np.exp(own.o_next)}
    slack = TWIN_DISTANCE
    is_inside = (panel.h <= twin.h + slack) & (panel.low >= twin.low - slack)
    by_twin = (
        (twin.usual <= TWIN_DISTANCE)
        & (np.abs(c - twin.c) > TWIN_LIMIT)
        & (np.abs(panel.o - twin.o) <= TWIN_LIMIT)
        & is_inside
        & ~(own.log_volume >= twin.log_volume)
    )
    out = found(
        PART_DAY,
        "the same venue's other series, equal to it otherwise, has a longer bar that holds this one",
        panel,
        by_twin,
        None,
        close=np.exp(c),
        reference=np.exp(twin.c),
        distance_bp=1e4 * np.abs(c - twin.c),
        limit_bp=np.full_like(c, 1e4 * TWIN_LIMIT),
    )
    gap_limit = np.fmax(GAP_FLOOR, GAP_TIMES * own.usual_gap)
    room = np.fmax(best.limit, PART_ROOM * (best.h - best.low))
    inside = (panel.h <= best.h + room) & (panel.low >= best.low - room) & (c <= best.h + room) & (c >= best.low - room)
    thin = own.log_volume - own.usual_volume < LONE_VOLUME_SHARE
    # A part of the day has a part of its trades: less volume than the reference tells, or else a narrower range.
    surplus = own.log_volume - own.usual_volume - (best.log_volume - best.usual_volume)
    is_narrow = panel.h - panel.low < PART_SPAN_SHARE * (best.h - best.low)
    usual_surplus = trailing_quantile(np.abs(surplus), panel.starts, window=30)
    gap = np.abs(own.gap_next)
    # A plain break needs less support from the volume than a small one.
    is_plain = (gap > STRONG_GAP_TIMES * own.usual_gap) & (gap > PART_OFF_SIGMAS * own.sigma)
    by_noise = np.where(is_plain, 1.0, PART_VOLUME_SCALES) * usual_surplus
    deficit = np.fmin(PART_VOLUME_SHARE, -np.where(np.isfinite(by_noise), by_noise, 0.0))
    off = np.abs(c - best.c)
    inside &= off > np.fmax(PART_OFF_SIGMAS * own.sigma, PART_OFF_SPAN * (best.h - best.low))
    misses = np.abs(own.o_next - best.c)
    inside &= np.where(np.isfinite(surplus), surplus < deficit, is_narrow | thin)
    tight = np.fmax(GAP_FLOOR, np.fmin(best.limit, GAP_TIMES * best.usual))
    by_gap = (gap > gap_limit) & inside & (misses < 0.5 * off) & (off > tight)
    by_gap &= (best.usual < KIN_DISTANCE) | (is_plain & np.isfinite(surplus))
    by_gap &= own.until == 1
    out += found(
        PART_DAY,
        "the next open meets the other source's close and not this one, which lies within the day",
        panel,
        by_gap & ~by_twin,
        own.next_day,
        **numbers,
        gap_bp=1e4 * np.abs(own.gap_next),
        limit_bp=1e4 * gap_limit,
    )
    alone = np.fmax(LONE_GAP_FLOOR, LONE_GAP_TIMES * own.usual_gap)
    # Where opens meet closes to the tick every day, a wide break needs no thin volume beside it.
    is_wide = (gap > np.fmax(WIDE_GAP_FLOOR, WIDE_GAP_TIMES * own.usual_gap)) & (gap > PART_OFF_SIGMAS * own.sigma)
    is_wide &= own.log_volume - own.usual_volume < WIDE_VOLUME
    has_kin = best.usual < KIN_DISTANCE
    lone = (own.until == 1) & ~has_kin & (gap > alone) & (thin | is_wide)
    # A reference that usually lies further away than a part of this gap cannot say that the close was right.
    lone &= ~((misses >= off) & (best.usual < VETO_SHARE * gap))
    # A part of a day misses no more than a day's move; and the next bar must not be the one that is wrong.
    most = np.fmax(SPIKE_SIGMAS, LONE_SIGMAS) * own.sigma
    lone &= (np.abs(own.r) < most) & (gap < most)
    lone &= (np.abs(own.r_next) > LONE_RETURN * gap) & (own.o_next != panel.o)
    return out + found(
        PART_DAY,
        "the next open does not meet the close, and the volume is a part of the usual",
        panel,
        lone,
        own.next_day,
        close=np.exp(c),
        next_open=np.exp(own.o_next),
        gap_bp=1e4 * np.abs(own.gap_next),
        limit_bp=1e4 * alone,
    )
