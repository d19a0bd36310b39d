"""Chains along consecutive windows: warm starts, fresh starts, and the optima followed meanwhile.

What lives here: which starting points each window gets, and which of its optima are kept. What does not: the
climb from one starting point (``optimiser``), how windows are dealt to threads (``fitting``).

A likelihood may have several optima, and from one day to the next another of them may become the highest.
Each window therefore carries up to ``KEPT`` optima on, not its best alone, and each adds one fresh start, in
rotation. Everything runs forward in time: a window's fit depends on no return after its end.
"""

from math import log

import numpy as np
from numpy.typing import NDArray

from plimsoll.volatility.batch.jit import compiled
from plimsoll.volatility.batch.kernels import (
    BETA,
    FACTS,
    GAIN,
    LOSS,
    MEAN,
    MU,
    NU,
    OMEGA,
    PARAMETERS,
    SKEW,
    VARIANCE,
    window_facts,
)
from plimsoll.volatility.batch.optimiser import (
    CONVERGED,
    KNOWN,
    ascend,
    dimension,
    guess_curvature,
    limits,
    scratch,
    to_coordinates,
)

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

KEPT = 4
# Columns of what is stored of an optimum beyond its parameters.
VALUE, AFTER, STATE = 0, 1, 2
MEASURES = 3

TIGHT = 1e-7  # log-likelihood that is not worth another step
ROUGH = 1e-3  # the same while it is open whether an optimum matters
CLOSE = 0.5  # optima this far below the best are followed precisely
LOST = 8.0  # optima further below are dropped
_NU_START = 6.0

# Fresh starts: mean slope, its share after losses under asymmetry (1 is even), persistence.
STARTS = np.array(
    [
        [0.06, 1.6, 0.970],
        [0.0, 1.0, 0.9998],
        [0.20, 1.5, 0.800],
        [0.005, 1.0, 0.998],
        [0.03, 1.9, 0.600],
        [0.0, 1.0, 0.500],
        [0.35, 0.7, 0.960],
        [0.002, 1.0, 0.990],
        [0.05, 0.4, 0.900],
        [0.0, 1.0, 0.900],
        [0.10, 1.9, 0.980],
        [0.02, 1.0, 0.998],
        [0.60, 1.0, 0.700],
        [0.01, 1.5, 0.970],
    ]
)
_JUMP = 9.0  # square of a return over the variance that may turn the order of optima round


@compiled
def _turned(y: Floats, first: int, last: int, mean: float, variance: float) -> bool:
    """Whether a large return lies in a range of days."""
    largest = 0.0
    for t in range(first, last):
        largest = max(largest, (y[t] - mean) ** 2)
    return largest > _JUMP * variance


@compiled
def same_basin(one: Floats, other: Floats, rise: float, spread: float) -> bool:
    """Whether two points with values ``rise`` apart are taken for one optimum.

    Parameters
    ----------
    one, other
        Parameters.
    rise
        Difference of log-likelihoods, absolute.
    spread
        Distance in slopes and beta that is within reach of the tolerance.
    """
    distance = abs(one[GAIN] - other[GAIN]) + abs(one[LOSS] - other[LOSS]) + abs(one[BETA] - other[BETA])
    distance += 0.02 * abs(log(one[OMEGA] / other[OMEGA])) + abs(1.0 / one[NU] - 1.0 / other[NU])
    if distance < spread:
        return True
    return rise < 0.01 * spread and distance < 5.0 * spread


@compiled
def _admit(
    th: Floats,
    found: Floats,
    state: int,
    hessian: Floats,
    spread: float,
    params: Floats,
    measures: Floats,
    curvatures: Floats,
    count: int,
) -> int:
    """Enter an optimum among those of a window and return their number; the better of two alike stays."""
    slot = -1
    for m in range(count):
        if same_basin(th, params[m], abs(found[0] - measures[m, VALUE]), spread):
            if found[0] <= measures[m, VALUE]:
                return count
            slot = m
            break
    if slot < 0:
        if count < KEPT:
            slot = count
            count += 1
        else:
            slot = 0
            for m in range(1, KEPT):
                if measures[m, VALUE] < measures[slot, VALUE]:
                    slot = m
            if found[0] <= measures[slot, VALUE]:
                return count
    params[slot, :] = th
    measures[slot, VALUE], measures[slot, AFTER], measures[slot, STATE] = found[0], found[1], state
    curvatures[slot] = hessian
    return count


@compiled
def _best(measures: Floats, count: int) -> float:
    """Return the highest value among optima."""
    best = -np.inf
    for m in range(count):
        best = max(best, measures[m, VALUE])
    return best


@compiled
def _fresh(gjr: bool, start: Floats, facts: Floats, guide: Floats, th: Floats) -> None:
    """Fill a starting point: a way the variance might move, with mean and shape of the guide."""
    slope, share, persistence = start[0], start[1], start[2]
    th[MU], th[NU], th[SKEW] = guide[MU], guide[NU], guide[SKEW]
    share = share if gjr else 1.0
    th[GAIN], th[LOSS] = slope * (2.0 - share), slope * share
    th[BETA] = max(persistence - slope, 0.0)
    th[OMEGA] = facts[VARIANCE] * (1.0 - persistence)


@compiled
def _longest(starts: Integers, ends: Integers) -> int:
    """Return the length of the longest window."""
    longest = 0
    for w in range(len(ends)):
        longest = max(longest, ends[w] - starts[w])
    return longest


@compiled
def follow(
    gjr: bool,
    law: int,
    y: Floats,
    starts: Integers,
    ends: Integers,
    per_window: int,
    fresh: Floats,
    params: Floats,
    measures: Floats,
    counts: Integers,
    spent: Integers,
) -> None:
    """Fit consecutive windows of one series, each from the optima of the one before and from a fresh start.

    Parameters
    ----------
    gjr, law
        The specification.
    y
        Percent returns of the whole series.
    starts, ends
        Windows, ends exclusive and increasing, shape (w,).
    per_window
        Fresh starts of each window, in rotation.
    fresh
        Fresh starts, as `STARTS`; the first window tries them all, and so does one that a large return has
        just entered or left.
    params, measures, counts, spent
        Filled: optima of each window, shape (w, KEPT, PARAMETERS) and (w, KEPT, MEASURES), how many there are,
        and the evaluations spent. A window without variance gets none.
    """
    k = dimension(gjr, law)
    buffers = scratch(_longest(starts, ends))
    facts, th, found = np.empty(FACTS), np.empty(PARAMETERS), np.empty(2)
    x, lower, upper, row = np.empty(k), np.empty(k), np.empty(k), np.empty(k)
    hessian = np.empty((k, k))
    known, heights = np.empty((KEPT, k)), np.empty(KEPT)
    carried, live = np.zeros((KEPT, k, k)), np.zeros((KEPT, k, k))
    limits(gjr, law, lower, upper, row)
    turn = 0
    for w in range(len(ends)):
        window = y[starts[w] : ends[w]]
        window_facts(window, facts)
        count = 0
        spent[w] = 0
        counts[w] = 0
        if not facts[VARIANCE] > 1e-14 * (facts[MEAN] * facts[MEAN]):
            continue
        before = counts[w - 1] if w > 0 else 0
        leader = _best(measures[w - 1], before) if before > 0 else 0.0
        for m in range(before):
            # The best first and precisely; the others as precisely as they deserve.
            if measures[w - 1, m, VALUE] < leader - LOST:
                continue
            to_coordinates(gjr, law, params[w - 1, m], facts, lower, upper, row, x)
            hessian[:, :] = carried[m]
            near = measures[w - 1, m, VALUE] > leader - CLOSE
            state, used = ascend(
                gjr,
                law,
                window,
                facts,
                x,
                hessian,
                th,
                found,
                buffers,
                TIGHT if near else ROUGH,
                known,
                heights,
                0,
                False,
            )
            spent[w] += used
            count = _admit(th, found, state, hessian, 0.02, params[w], measures[w], live, count)
        tries = per_window
        if count == 0 or (
            w > 0
            and (
                _turned(y, starts[w - 1], starts[w], facts[MEAN], facts[VARIANCE])
                or _turned(y, ends[w - 1], ends[w], facts[MEAN], facts[VARIANCE])
            )
        ):
            tries = len(fresh)
        for _ in range(tries):
            guide = np.empty(PARAMETERS)
            guide[MU], guide[NU], guide[SKEW] = facts[MEAN], _NU_START, 0.0
            best = -np.inf
            for m in range(count):
                to_coordinates(gjr, law, params[w, m], facts, lower, upper, row, known[m])
                heights[m] = measures[w, m, VALUE]
                if measures[w, m, VALUE] > best:
                    best = measures[w, m, VALUE]
                    guide[:] = params[w, m]
            _fresh(gjr, fresh[turn % len(fresh)], facts, guide, th)
            turn += 1
            to_coordinates(gjr, law, th, facts, lower, upper, row, x)
            guess_curvature(gjr, law, len(window), hessian)
            state, used = ascend(
                gjr, law, window, facts, x, hessian, th, found, buffers, ROUGH, known, heights, count, count > 0
            )
            spent[w] += used
            if state != KNOWN and count > 0:
                state, used = ascend(
                    gjr, law, window, facts, x, hessian, th, found, buffers, ROUGH, known, heights, count, False
                )
                spent[w] += used
            if state == KNOWN or found[0] < best - LOST:
                continue
            if found[0] > best - CLOSE:
                state, used = ascend(
                    gjr, law, window, facts, x, hessian, th, found, buffers, TIGHT, known, heights, 0, False
                )
                spent[w] += used
            count = _admit(th, found, state, hessian, 0.02, params[w], measures[w], live, count)
        counts[w] = count
        # What was followed roughly and has come up is made precise.
        best = _best(measures[w], count)
        for m in range(count):
            if measures[w, m, VALUE] > best - CLOSE and measures[w, m, STATE] != CONVERGED:
                to_coordinates(gjr, law, params[w, m], facts, lower, upper, row, x)
                guess_curvature(gjr, law, len(window), hessian)
                state, used = ascend(
                    gjr, law, window, facts, x, hessian, th, found, buffers, TIGHT, known, heights, 0, False
                )
                spent[w] += used
                if found[0] >= measures[w, m, VALUE]:
                    params[w, m, :] = th
                    measures[w, m, VALUE], measures[w, m, AFTER] = found[0], found[1]
                    live[m] = hessian
                measures[w, m, STATE] = state
        carried[:count] = live[:count]


@compiled
def resume(
    gjr: bool,
    law: int,
    y: Floats,
    starts: Integers,
    ends: Integers,
    before_params: Floats,
    before_measures: Floats,
    before_count: int,
    params: Floats,
    measures: Floats,
    counts: Integers,
    spent: Integers,
) -> None:
    """Carry the optima of an earlier chain on into this one until this one knows them all.

    Parameters
    ----------
    gjr, law, y, starts, ends
        As in `follow`.
    before_params, before_measures, before_count
        Optima of the last window before the first of these.
    params, measures, counts, spent
        As `follow` filled them; improved.
    """
    k = dimension(gjr, law)
    buffers = scratch(_longest(starts, ends))
    facts, th, found = np.empty(FACTS), np.empty(PARAMETERS), np.empty(2)
    x, lower, upper, row = np.empty(k), np.empty(k), np.empty(k), np.empty(k)
    hessian = np.empty((k, k))
    unused = np.zeros((KEPT, k, k))
    known, heights = np.empty((KEPT, k)), np.empty(KEPT)
    limits(gjr, law, lower, upper, row)
    leader = _best(before_measures, before_count)
    for m in range(before_count):
        if before_measures[m, VALUE] < leader - LOST:
            continue
        th[:] = before_params[m]
        for w in range(len(ends)):
            if counts[w] == 0:
                break
            window = y[starts[w] : ends[w]]
            window_facts(window, facts)
            to_coordinates(gjr, law, th, facts, lower, upper, row, x)
            if w == 0:
                guess_curvature(gjr, law, len(window), hessian)
            state, used = ascend(
                gjr, law, window, facts, x, hessian, th, found, buffers, TIGHT, known, heights, 0, False
            )
            spent[w] += used
            met = False
            for j in range(counts[w]):
                met = met or (
                    same_basin(th, params[w, j], abs(found[0] - measures[w, j, VALUE]), 0.02)
                    and found[0] < measures[w, j, VALUE] + 1e-5
                )
            if met or found[0] < _best(measures[w], counts[w]) - LOST:
                break
            counts[w] = _admit(th, found, state, hessian, 0.02, params[w], measures[w], unused, counts[w])
