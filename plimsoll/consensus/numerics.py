"""Trailing quantiles: what was usual before a day, for many columns at once.

What lives here: one compiled kernel and its typed front. What does not: rules that use it.
"""

from typing import Any, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def _trailing(values: Floats, starts: Ints, window: int, q: float, fewest: int) -> Floats:
    rows, columns = values.shape
    out = np.full((rows, columns), np.nan)
    ring = np.empty(window)
    ordered = np.empty(window)
    for k in range(columns):
        for s in range(len(starts) - 1):
            held, at = 0, 0
            for t in range(starts[s], starts[s + 1]):
                if held >= fewest:
                    place = q * (held - 1)
                    below = int(place)
                    above = min(below + 1, held - 1)
                    out[t, k] = ordered[below] + (place - below) * (ordered[above] - ordered[below])
                x = values[t, k]
                if np.isnan(x):
                    continue
                if held == window:
                    gone = ring[at]
                    i = np.searchsorted(ordered[:held], gone)
                    for m in range(i, held - 1):
                        ordered[m] = ordered[m + 1]
                    held -= 1
                i = np.searchsorted(ordered[:held], x)
                for m in range(held, i, -1):
                    ordered[m] = ordered[m - 1]
                ordered[i] = x
                held += 1
                ring[at] = x
                at = (at + 1) % window
    return out


_kernel = cast("Any", njit(cache=True, nogil=True)(_trailing))


def trailing_quantile(values: Floats, starts: Ints, *, window: int = 60, q: float = 0.5, fewest: int = 10) -> Floats:
    """Return the quantile of the observed values strictly before each row.

    Parameters
    ----------
    values
        Shape (rows, columns); NaN where nothing was observed, which is passed over.
    starts
        First row of each block, and the number of rows as the last entry; a window never leaves its block.
    window
        Observed values looked back upon.
    q
        Quantile between 0 and 1, linearly interpolated.
    fewest
        Below so many observations the result is NaN.

    Returns
    -------
    ndarray
        Shape of ``values``; row t depends on rows before t alone.
    """
    given = np.ascontiguousarray(values, dtype=np.float64)
    return cast("Floats", _kernel(given, np.asarray(starts, dtype=np.int64), window, q, fewest))
