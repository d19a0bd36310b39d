"""Quadratic steps under bounds and one linear inequality.

What lives here: the minimiser of a convex quadratic over a box cut by one half-space, by active sets. What does
not: what is being minimised (``optimiser``).
"""

import numpy as np
from numpy.typing import NDArray

from plimsoll.volatility.batch.jit import compiled

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_ROUNDS = 60
_SINGULAR = 1e-300


@compiled
def solve(matrix: Floats, right: Floats, size: int) -> bool:
    """Solve a small linear system in place by elimination with row exchanges.

    Parameters
    ----------
    matrix, right
        Leading block of ``size`` rows and columns, and right-hand side; the solution replaces the latter.
    size
        Number of unknowns.

    Returns
    -------
    bool
        False when the matrix is singular.
    """
    for k in range(size):
        pivot = k
        for i in range(k + 1, size):
            if abs(matrix[i, k]) > abs(matrix[pivot, k]):
                pivot = i
        if not abs(matrix[pivot, k]) > _SINGULAR:
            return False
        if pivot != k:
            for j in range(k, size):
                matrix[k, j], matrix[pivot, j] = matrix[pivot, j], matrix[k, j]
            right[k], right[pivot] = right[pivot], right[k]
        for i in range(k + 1, size):
            factor = matrix[i, k] / matrix[k, k]
            if factor != 0.0:
                for j in range(k + 1, size):
                    matrix[i, j] -= factor * matrix[k, j]
                right[i] -= factor * right[k]
    for k in range(size - 1, -1, -1):
        for j in range(k + 1, size):
            right[k] -= matrix[k, j] * right[j]
        right[k] /= matrix[k, k]
    return True


@compiled
def step(
    hessian: Floats,
    gradient: Floats,
    lower: Floats,
    upper: Floats,
    row: Floats,
    room: float,
    d: Floats,
    held: Integers,
    matrix: Floats,
    right: Floats,
) -> float:
    r"""Minimise a quadratic over a box cut by a half-space.

    .. math:: \min_d g'd + \tfrac12 d'Hd \quad\text{with}\quad l \le d \le u,\; w'd \le s

    Parameters
    ----------
    hessian, gradient
        Positive definite matrix, shape (k, k), and vector, shape (k,).
    lower, upper
        Bounds of the step; 0 lies between them.
    row, room
        Coefficients of the inequality and its slack at 0, which is not negative.
    d
        Filled with the step.
    held
        Scratch, shape (k,), int64.
    matrix, right
        Scratch, shape (k + 1, k + 1) and (k + 1,).

    Returns
    -------
    float
        How much the quadratic falls, at least 0; -1 when no step was found.
    """
    k = len(gradient)
    tight = room <= 0.0
    for i in range(k):
        d[i] = 0.0
        held[i] = -1 if lower[i] >= 0.0 else (1 if upper[i] <= 0.0 else 0)
    for _ in range(_ROUNDS):
        free = 0
        loose = False
        for i in range(k):
            if held[i] == 0:
                free += 1
                loose = loose or row[i] != 0.0
        bind = tight and loose
        size = free + (1 if bind else 0)
        r = 0
        for i in range(k):
            if held[i] != 0:
                continue
            slope = gradient[i]
            c = 0
            for j in range(k):
                if held[j] == 0:
                    matrix[r, c] = hessian[i, j]
                    c += 1
                slope += hessian[i, j] * d[j]
            right[r] = -slope
            if bind:
                matrix[r, free] = row[i]
                matrix[free, r] = row[i]
            r += 1
        if bind:
            matrix[free, free] = 0.0
            right[free] = 0.0
        if not solve(matrix, right, size):
            return -1.0
        # The largest share of the move that keeps every bound.
        share, blocker, side = 1.0, -1, 0
        r = 0
        moved = 0.0
        for i in range(k):
            if held[i] != 0:
                continue
            move = right[r]
            r += 1
            moved += row[i] * move
            if move < 0.0 and d[i] + share * move < lower[i]:
                share, blocker, side = max((lower[i] - d[i]) / move, 0.0), i, -1
            elif move > 0.0 and d[i] + share * move > upper[i]:
                share, blocker, side = max((upper[i] - d[i]) / move, 0.0), i, 1
        used = 0.0
        for i in range(k):
            used += row[i] * d[i]
        if not tight and moved > 0.0 and used + share * moved > room:
            share, blocker, side = max((room - used) / moved, 0.0), k, 1
        r = 0
        for i in range(k):
            if held[i] == 0:
                d[i] += share * right[r]
                r += 1
        if blocker == k:
            tight = True
            continue
        if blocker >= 0:
            held[blocker] = side
            d[blocker] = lower[blocker] if side < 0 else upper[blocker]
            continue
        # At the minimum of this face: leave the constraint that holds back most, or stop.
        price = right[free] if bind else 0.0
        worst, leave = -1e-12, -1
        if bind and price < worst:
            worst, leave = price, k
        for i in range(k):
            if held[i] == 0 or lower[i] >= upper[i]:
                continue
            slope = gradient[i] + price * row[i]
            for j in range(k):
                slope += hessian[i, j] * d[j]
            gain = -slope if held[i] > 0 else slope
            if gain < worst:
                worst, leave = gain, i
        if leave < 0:
            break
        if leave == k:
            tight = False
        else:
            held[leave] = 0
    fall = 0.0
    for i in range(k):
        half = 0.0
        for j in range(k):
            half += hessian[i, j] * d[j]
        fall -= d[i] * (gradient[i] + 0.5 * half)
    return max(fall, 0.0)
