"""Identity: bars of another day, another scale or another asset under the right name.

What lives here: the rules for day shifts, scale changes and reused symbols. What does not: the offset of a source's
whole calendar (``boundary``).
"""

import numpy as np

from plimsoll.consensus.features import Found, Own, found
from plimsoll.consensus.numerics import Bools, Floats, Ints
from plimsoll.consensus.panel import Panel
from plimsoll.consensus.peers import LN10, Peers, decades_from

SHIFT, SCALE, REUSE = "day_shift", "scale_change", "symbol_reuse"

JUMP = 1.0
JUMP_SIGMAS = 12.0
SCALE_JUMP = 1.5
SCALE_NEAR = 0.12
SCALE_SIGMAS = 2.0
MISFIT = 0.30
MISFIT_DAYS = 3
SHIFT_DAYS = 4
BREAK_DAYS = 4
REPEATED, LEFT_OUT = 1e6, 3.0


def identity_rules(panel: Panel, own: Own, peers: Peers) -> list[Found]:
    """Find shifted days, changed scales and reused symbols."""
    with np.errstate(invalid="ignore"):
        scaled, is_scaled = _scales(panel, own, peers)
        return [*scaled, *_reuse(panel, own, peers, is_scaled), *_shifts(panel, own, peers)]


def block_sum(panel: Panel, values: Floats) -> Floats:
    """Sum over the days of each symbol so far."""
    total = np.cumsum(values, axis=0)
    first = panel.starts[panel.symbol]
    before = np.where((first > 0)[:, None], total[np.maximum(first - 1, 0)], 0.0)
    return total - before


def _since(panel: Panel, values: Floats, anew: Bools) -> Floats:
    """Sum over the days of each symbol since the last row where it begins anew."""
    total = block_sum(panel, values)
    rows = np.arange(len(values), dtype=np.int64)[:, None]
    last = np.maximum.accumulate(np.where(anew, rows, -1), axis=0)
    inside = last >= panel.starts[panel.symbol][:, None]
    return total - np.where(inside, np.take_along_axis(total, np.maximum(last, 0), axis=0), 0.0)


def _jump(panel: Panel, own: Own) -> Floats:
    """Return the move that happened between two bars, not within one."""
    return np.where(np.isfinite(panel.o), own.gap, own.r)


def _since_open_before(panel: Panel, own: Own) -> Floats:
    """Open less the open before; closes where a source gives no open."""
    return np.where(np.isfinite(panel.o), panel.o, panel.c) - own.o_prev


def _scales(panel: Panel, own: Own, peers: Peers) -> tuple[list[Found], Bools]:
    jump = _jump(panel, own)
    near = np.fmax(SCALE_NEAR, np.fmin(SCALE_SIGMAS * own.sigma * np.sqrt(own.since), 0.25))
    power = np.round(jump / LN10)
    # After a bad close the next open jumps back; the open before tells that the level never changed.
    is_new_level = np.abs(_since_open_before(panel, own)) > 0.5 * np.abs(jump)
    is_step = (np.abs(jump) > SCALE_JUMP) & (power != 0) & (np.abs(jump - power * LN10) < near) & is_new_level
    is_step &= np.abs(panel.c - own.c_prev - jump) < 0.5 * np.abs(jump)
    o = np.where(np.isfinite(panel.o), panel.o, panel.c)
    is_flip = (np.abs(o + own.c_prev) < near) & (np.abs(jump) > JUMP) & panel.is_bar & is_new_level
    # One over 31.6 is also a thousandth of it: whichever fits better.
    fits_flip = np.abs(o + own.c_prev) < np.abs(jump - power * LN10)
    is_step, is_flip = is_step & ~(is_flip & fits_flip), is_flip & ~(is_step & ~fits_flip)
    # A jump to any other level ends what went before: the series begins anew.
    anew = (np.abs(jump) > JUMP) & is_new_level & ~is_step & ~is_flip & panel.is_bar
    # So does agreement with another source: both went over, or the series came back unseen.
    anew |= np.abs(panel.c - peers.best.c) < np.fmin(np.fmax(peers.best.limit, 0.05), 0.5)
    state = np.round(_since(panel, np.where(is_step & panel.is_bar, power, 0.0), anew))
    flips = np.round(_since(panel, is_flip.astype(np.float64), anew)) % 2
    best = peers.best
    has = np.isfinite(best.c)
    decades = decades_from(panel, best)
    is_inverse = has & (np.abs(panel.c - best.c) > JUMP) & (np.abs(panel.c + best.c) < np.fmax(0.05, best.limit))
    by_peer = has & ((decades != 0) | is_inverse) & (peers.is_outvoted | (state != 0) | (flips != 0))
    alone = ~has & ((state != 0) | (flips != 0))
    numbers = {"close": np.exp(panel.c), "close_before": np.exp(own.c_prev)}
    out = found(
        SCALE,
        "all prices differ from the other source's by a power of ten, or are one over them",
        panel,
        by_peer,
        None,
        **numbers,
        reference=np.exp(best.c),
        power_of_ten=decades,
    )
    out += found(
        SCALE,
        "between two bars the series went over to another power of ten, or to one over itself, and has not come back",
        panel,
        alone,
        None,
        **numbers,
        power_of_ten=state,
    )
    return out, by_peer | alone | is_step | is_flip


def _reuse(panel: Panel, own: Own, peers: Peers, is_scaled: Bools) -> list[Found]:
    jump = _jump(panel, own)
    limit = np.fmax(JUMP, JUMP_SIGMAS * own.sigma * np.sqrt(np.fmax(own.since, 1.0)))
    best = peers.best
    has = np.isfinite(best.c)
    refuted = has & (np.abs(panel.c - best.c) > MISFIT)
    stays = np.abs(own.r_next) < 0.5 * np.abs(jump)
    is_new_level = np.abs(_since_open_before(panel, own)) > 0.5 * np.abs(jump)
    join = (np.abs(jump) > limit) & ~is_scaled & ((peers.venues == 0) | (peers.agree > 0)) & is_new_level
    join &= np.abs(panel.c - own.c_prev - jump) < 0.5 * np.abs(jump)
    # A whole bar that is off for one day is a bad tick; one that stays is another asset.
    numbers = {"close": np.exp(panel.c), "close_before": np.exp(own.c_prev), "days_without_bars": own.since - 1}
    out = found(
        REUSE,
        "between two bars the price went to another level and stays there, further than the days between allow",
        panel,
        join & stays,
        own.next_day,
        **numbers,
        limit_bp=1e4 * limit,
    )
    apart = refuted & ~is_scaled & ((panel.low > best.h) | (panel.h < best.low) | ~np.isfinite(panel.low))
    apart &= (peers.lagged == 0) & (peers.led == 0)
    run = _run_length(panel, apart)
    broke = _broke_in_run(panel, run, np.abs(jump) > MISFIT)
    is_run, known = _whole_runs(panel, run, MISFIT_DAYS)
    return out + found(
        REUSE,
        "for three days and more the series lies apart from the other sources: another asset under its name",
        panel,
        is_run & apart & (peers.is_outvoted | broke),
        known,
        **numbers,
        reference=np.exp(best.c),
    )


def _run_length(panel: Panel, holds: Bools) -> Ints:
    """How many bars in a row hold up to and with this one; days without a bar do not end a run."""
    out = np.zeros(holds.shape, dtype=np.int64)
    is_break = panel.is_bar & ~holds
    rows = np.arange(len(holds), dtype=np.int64)[:, None]
    last_break = np.maximum.accumulate(np.where(is_break, rows, -1), axis=0)
    last_break = np.maximum(last_break, panel.starts[panel.symbol][:, None] - 1)
    count = np.cumsum(holds & panel.is_bar, axis=0)
    before = np.where(last_break >= 0, np.take_along_axis(count, np.maximum(last_break, 0), axis=0), 0)
    out[:] = np.where(holds & panel.is_bar, count - before, 0)
    return out


def _whole_runs(panel: Panel, run: Ints, fewest: int) -> tuple[Bools, Floats]:
    """Mark all bars of runs of at least ``fewest``, and the day on which a run had become so long."""
    size = len(run)
    rows = np.arange(size, dtype=np.int64)[:, None]
    ripe = np.where(run == fewest, rows, size)
    coming = np.minimum.accumulate(ripe[::-1], axis=0)[::-1]
    started = np.maximum.accumulate(np.where(run == 1, rows, -1), axis=0)
    at = np.minimum(coming, size - 1)
    same = (coming < size) & (np.take_along_axis(started, at, axis=0) == started)
    is_early = (run > 0) & (run < fewest) & same
    known = np.where(is_early, panel.day[at].astype(np.float64), panel.day[:, None].astype(np.float64))
    return is_early | (run >= fewest), known


def _broke_in_run(panel: Panel, run: Ints, is_jump: Bools) -> Bools:
    """Whether the run began with a jump of the series itself."""
    rows = np.arange(len(run), dtype=np.int64)[:, None]
    started = np.maximum.accumulate(np.where(run == 1, rows, -1), axis=0)
    return np.take_along_axis(is_jump, np.maximum(started, 0), axis=0) & (run > 0) & (started >= 0)


def _at_start(run: Ints, values: Floats) -> Floats:
    """Return the value on the first bar of the run that a bar belongs to; 0 outside of runs."""
    rows = np.arange(len(run), dtype=np.int64)[:, None]
    started = np.maximum.accumulate(np.where(run == 1, rows, -1), axis=0)
    at = np.take_along_axis(values, np.maximum(started, 0), axis=0)
    return np.where((run > 0) & (started >= 0), at, 0.0)


def _shifts(panel: Panel, own: Own, peers: Peers) -> list[Found]:
    out: list[Found] = []
    gap_limit = np.fmax(25e-4, 5 * own.usual_gap)
    same = (panel.c == own.c_prev) & (own.span == panel.at(own.span, panel.before))
    # How much each series broke with its own bar before: repeated it, left days out, or opened elsewhere.
    strength = np.nan_to_num(np.abs(own.gap) / gap_limit)
    strength = np.where(same, REPEATED, np.where(own.since > 1, np.fmax(strength, LEFT_OUT), strength))
    # The first bars of a shift may look like any other; the break stands a few days before the run then.
    recent = np.fmax.reduce([strength, *(np.nan_to_num(panel.moved(strength, by)) for by in range(1, BREAK_DAYS + 1))])
    for words, count, ahead in (
        ("one day late", peers.lagged, 0),
        ("one day early", peers.led, 1),
    ):
        is_evidence = (count > 0) & panel.is_bar
        neutral = panel.is_bar & ~is_evidence & (peers.in_step == 0)
        run = _run_through(panel, is_evidence, neutral)
        is_run, known = _whole_runs(panel, run, SHIFT_DAYS)
        at_start = _at_start(run, recent)
        others = np.column_stack([np.delete(at_start, k, axis=1).max(axis=1, initial=0.0) for k in range(panel.slots)])
        broke = (at_start > 1) & (at_start > 1.5 * others)
        majority = (count >= 2) & (count > peers.in_step)
        hit = is_run & is_evidence & (majority | (broke & (peers.in_step == 0)))
        out += found(
            SHIFT,
            f"the bar is another source's, {words}",
            panel,
            hit,
            known + ahead,
            close=np.exp(panel.c),
            reference=np.exp(peers.best.c),
            fitting_sources=count.astype(np.float64),
        )
    return out


def _run_through(panel: Panel, holds: Bools, neutral: Bools) -> Ints:
    """Run length where bars that say nothing neither count nor end a run."""
    is_break = panel.is_bar & ~holds & ~neutral
    rows = np.arange(len(holds), dtype=np.int64)[:, None]
    last_break = np.maximum.accumulate(np.where(is_break, rows, -1), axis=0)
    last_break = np.maximum(last_break, panel.starts[panel.symbol][:, None] - 1)
    count = np.cumsum(holds, axis=0)
    before = np.where(last_break >= 0, np.take_along_axis(count, np.maximum(last_break, 0), axis=0), 0)
    return np.where(holds, count - before, 0).astype(np.int64)
