"""Procyclicality: how much a published margin or haircut swings, and how fast it rises.

What lives here: measures on one series through time, and the impulse response of an exponentially weighted volatility.
What does not: what damps the swings (``volatility``), what is published (``thresholds``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

RISES = (1, 5, 30)


@dataclass(frozen=True)
class Swings:
    """Measures of one series.

    Attributes
    ----------
    peak_to_trough
        Largest over smallest value; NaN where there are none.
    rises
        Largest relative rise over 1, 5 and 30 rows; NaN where the series is shorter.
    observations
        Finite values.
    """

    peak_to_trough: float
    rises: tuple[float, ...]
    observations: int


def swings(values: ArrayLike) -> Swings:
    r"""Measure a margin, or a haircut 1 - LT, through time.

    .. math:: \frac{\max H}{\min H}, \qquad \max_t \frac{H_{t+n}}{H_t} - 1, \quad n = 1, 5, 30

    Parameters
    ----------
    values
        One value a day, shape (n,), positive; NaN days are left out.

    Raises
    ------
    ValueError
        Where a value is not positive: a ratio to it means nothing.

    Notes
    -----
    Source: Murphy, Vasios and Vause 2014.
    """
    h = np.asarray(values, dtype=np.float64)
    h = h[np.isfinite(h)]
    if (h <= 0).any():
        raise ValueError(f"margin or haircut of {h.min()}: swings are ratios of positive values")
    if len(h) == 0:
        return Swings(np.nan, (np.nan,) * len(RISES), 0)
    rises = tuple(float((h[n:] / h[:-n]).max() - 1) if len(h) > n else np.nan for n in RISES)
    return Swings(float(h.max() / h.min()), rises, len(h))


def ewma_impulse(factor: float, days: ArrayLike, decay: float) -> Floats:
    r"""Volatility after a lasting step, over its level before, of an exponentially weighted estimate.

    .. math:: \sigma_h/\sigma_0 = \sqrt{k^2 - \lambda^h (k^2 - 1)}

    Parameters
    ----------
    factor
        k: volatility after the step over that before.
    days
        h, days since the step.
    decay
        Lambda, between 0 and 1.
    """
    h = np.asarray(days, dtype=np.float64)
    return np.asarray(np.sqrt(factor**2 - decay**h * (factor**2 - 1)), dtype=np.float64)
