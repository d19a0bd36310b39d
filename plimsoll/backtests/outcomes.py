"""Outcomes: the value of one test, or why there is none, and the checks of what is handed to a test.

What lives here: the result that every module of the package gives and the refusal of series that are no series. What
does not: any test.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Outcome:
    """A statistic and its p-value, or neither and the reason.

    Attributes
    ----------
    test
        Name, as the tables print it.
    statistic, p_value
        Finite numbers, or both None where the test has no value on this sample; never NaN.
    note
        Why there is no value; empty where there is one.
    degrees
        Degrees of freedom of the reference law, 0 where it has none.
    """

    __test__ = False
    test: str
    statistic: float | None
    p_value: float | None
    note: str = ""
    degrees: int = 0

    @property
    def is_applicable(self) -> bool:
        """Whether the test has a value."""
        return self.p_value is not None


def not_applicable(test: str, note: str) -> Outcome:
    """Say that a test has no value on this sample, and why."""
    return Outcome(test, None, None, note)


def as_flags(hits: ArrayLike) -> Flags:
    """Check a sequence of days, true where the limit was exceeded.

    Parameters
    ----------
    hits
        Shape (n,), booleans or zeros and ones.

    Raises
    ------
    ValueError
        Where the sequence is empty, has another shape, or holds anything else, NaN included: a day without a verdict
        must be left out by the caller, who knows why it has none.
    """
    raw = np.asarray(hits)
    if raw.ndim != 1 or len(raw) == 0:
        raise ValueError(f"hits of shape {raw.shape}: hand over one flag a day, at least one")
    if raw.dtype != np.bool_ and not np.isin(raw, (0, 1)).all():
        row = int(np.flatnonzero(~np.isin(raw, (0, 1)))[0])
        raise ValueError(f"hits, row {row}: {raw[row]} is no flag; leave days without a verdict out")
    return raw.astype(np.bool_)


def as_series(name: str, values: ArrayLike, n: int | None = None) -> Floats:
    """Check a series of finite numbers, of length ``n`` where given.

    Raises
    ------
    ValueError
        Names the series and the first row at fault.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or len(x) == 0:
        raise ValueError(f"{name} of shape {x.shape}: hand over one number a day, at least one")
    if n is not None and len(x) != n:
        raise ValueError(f"{name} has {len(x)} rows where {n} are judged; align the series by date first")
    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x))[0])
        raise ValueError(f"{name}, row {row}: {x[row]} is no number; leave days without a forecast out")
    return x


def check_rate(p: float) -> float:
    """Check a nominal rate, strictly between 0 and 1."""
    if not 0 < p < 1:
        raise ValueError(f"nominal rate {p}: must lie between 0 and 1")
    return p
