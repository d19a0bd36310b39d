r"""Kernels of CAViaR: the recursions of the quantile, their objective, and the search for its least value.

What lives here: compiled loops over plain arrays. What does not: where a search starts and what is believed of its
result (``caviar``).

With returns y and the quantile as a positive loss v, :math:`P(y_t < -v_t) = \theta`:

.. math::
    \text{SAV} \quad & v_t = \beta_1 + \beta_2 v_{t-1} + \beta_3 |y_{t-1}| \\
    \text{AS} \quad & v_t = \beta_1 + \beta_2 v_{t-1} + \beta_3 g_{t-1} + \beta_4 y^-_{t-1} \\
    \text{IG} \quad & v_t = \sqrt{\beta_1 + \beta_2 v_{t-1}^2 + \beta_3 y_{t-1}^2} \\
    \text{Adaptive} \quad & v_t = v_{t-1} + \beta_1\{[1 + \exp(10(y_{t-1} + v_{t-1}))]^{-1} - \theta\}

where g is the good news, :math:`y^+` for returns. The machine code of this file does not enter the stamp of the
volatility's kernels: no forecast in use depends on it. Nothing here may be reordered by the compiler, so stored and
fresh code give the same bits.
"""

from collections.abc import Callable
from math import exp, inf, sqrt
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
F = TypeVar("F", bound=Callable[..., object])

SAV, AS, IG, ADAPTIVE = 0, 1, 2, 3
STEEPNESS = 10.0
"""G of the adaptive form, per unit of y: the form depends on the unit, which is percent in the paper."""
_LARGEST_EXPONENT = 700.0


def compiled(function: F) -> F:
    """Compile a module-level function once for all processes, in strict floating point."""
    return cast("F", njit(cache=True, nogil=True, error_model="numpy")(function))


@compiled
def _step(form: int, b: Floats, v: float, y: float, good: float, p: float) -> Any:
    """Step to the quantile of the next day; infinite where the square of the IG form would be negative."""
    if form == SAV:
        return b[0] + b[1] * v + b[2] * abs(y)
    if form == AS:
        return b[0] + b[1] * v + b[2] * good + b[3] * max(-y, 0.0)
    if form == IG:
        square = b[0] + b[1] * v * v + b[2] * y * y
        return sqrt(square) if square >= 0.0 else inf
    exponent = STEEPNESS * (y + v)
    hit = 0.0 if exponent > _LARGEST_EXPONENT else 1.0 / (1.0 + exp(exponent))
    return v + b[0] * (hit - p)


@compiled
def is_admissible(form: int, b: Floats) -> bool:
    """Tell whether the quantile returns to a level and does not fall after bad news; good news may do either."""
    if form == ADAPTIVE:
        return bool(b[0] > 0.0)
    return bool(0.0 <= b[1] < 1.0 and b[3 if form == AS else 2] >= 0.0)


@compiled
def path(form: int, b: Floats, y: Floats, good: Floats, p: float, start: float, out: Floats) -> None:
    """Filter the quantile with fixed parameters.

    Parameters
    ----------
    form
        Code of the form.
    b
        Parameters, shape (4,); those beyond the form's own are not read.
    y, good
        Returns and good news, shape (n,).
    p, start
        Probability, and the quantile of the first day.
    out
        Quantiles of the n days and of the one after, shape (n + 1,), overwritten.
    """
    v = start
    out[0] = v
    for t in range(len(y)):
        v = _step(form, b, v, y[t], good[t], p)
        out[t + 1] = v


@compiled
def objective(form: int, b: Floats, y: Floats, good: Floats, p: float, start: float) -> float:
    r"""Sum of the tick losses, :math:`RQ = \sum_t (\theta - 1\{y_t < -v_t\})(y_t + v_t)`; infinite off the domain."""
    if not is_admissible(form, b):
        return inf
    total = 0.0
    v = start
    for t in range(len(y)):
        gap = y[t] + v
        total += (p - 1.0) * gap if gap < 0.0 else p * gap
        v = _step(form, b, v, y[t], good[t], p)
    return total if abs(total) < inf else inf


@compiled
def screen(form: int, starts: Floats, y: Floats, good: Floats, p: float, start: float, out: Floats) -> None:
    """Evaluate the objective at each row of ``starts``, shape (m, 4), into ``out``, shape (m,)."""
    for i in range(len(starts)):
        out[i] = objective(form, starts[i], y, good, p, start)


@compiled
def _sort(vertex: Floats, value: Floats, spare: Floats) -> None:
    """Order the vertices by their value, equal ones as they stood."""
    for i in range(1, len(value)):
        v, j = value[i], i
        spare[:] = vertex[i]
        while j > 0 and value[j - 1] > v:
            value[j] = value[j - 1]
            vertex[j, :] = vertex[j - 1]
            j -= 1
        value[j] = v
        vertex[j, :] = spare


@compiled
def _descend(
    form: int, size: int, b: Floats, y: Floats, good: Floats, p: float, start: float, tolerance: float, most: int
) -> float:
    """Nelder and Mead 1965 from ``b``, which is overwritten by the best vertex; gives its objective."""
    vertex = np.zeros((size + 1, 4))
    value = np.empty(size + 1)
    for i in range(size + 1):
        vertex[i, :] = b
        if i > 0:
            at = b[i - 1]
            vertex[i, i - 1] = at * 1.05 if at != 0.0 else 0.00025
        value[i] = objective(form, vertex[i], y, good, p, start)
    middle, tried, further = np.zeros(4), np.zeros(4), np.zeros(4)
    for _ in range(most):
        _sort(vertex, value, middle)
        if value[size] - value[0] <= tolerance * abs(value[0]):
            break
        middle[:] = 0.0
        for i in range(size):
            middle += vertex[i]
        middle /= size
        tried[:] = 2.0 * middle - vertex[size]
        reached = objective(form, tried, y, good, p, start)
        if reached < value[0]:
            further[:] = 3.0 * middle - 2.0 * vertex[size]
            beyond = objective(form, further, y, good, p, start)
            if beyond < reached:
                vertex[size, :], value[size] = further, beyond
            else:
                vertex[size, :], value[size] = tried, reached
        elif reached < value[size - 1]:
            vertex[size, :], value[size] = tried, reached
        else:
            if reached < value[size]:
                further[:] = 1.5 * middle - 0.5 * vertex[size]
            else:
                further[:] = 0.5 * middle + 0.5 * vertex[size]
            beyond = objective(form, further, y, good, p, start)
            if beyond < min(reached, value[size]):
                vertex[size, :], value[size] = further, beyond
            else:
                for i in range(1, size + 1):
                    vertex[i] = 0.5 * (vertex[0] + vertex[i])
                    value[i] = objective(form, vertex[i], y, good, p, start)
    best = np.argmin(value)
    b[:] = vertex[best]
    return float(value[best])


@compiled
def polish(
    form: int,
    size: int,
    b: Floats,
    y: Floats,
    good: Floats,
    p: float,
    start: float,
    tolerance: float,
    most: int,
    repeats: int,
) -> float:
    """Repeat the descent from where the last one ended until it gains nothing; ``b`` is overwritten.

    Parameters
    ----------
    form, size
        Code of the form and how many parameters it has.
    b, y, good, p, start
        As in `path`.
    tolerance, most, repeats
        Relative spread of the simplex that ends a descent, its most steps, and the most descents.

    Returns
    -------
    float
        The objective at ``b``.
    """
    reached = inf
    for _ in range(repeats):
        value = _descend(form, size, b, y, good, p, start, tolerance, most)
        if not value < reached - tolerance * abs(value):
            return min(value, reached)
        reached = value
    return reached
