"""Types: the knobs, a matrix over markets, and the step that makes a matrix positive semi-definite.

What lives here: what every measure shares: which dates count, how many are enough, what a matrix must be. What does
not: measures.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

EIGENVALUE_SLACK = 1e-10
"""A least eigenvalue above minus this much is rounding, not a fault of the matrix."""


@dataclass(frozen=True)
class CorrelationSpec:
    """Knobs of the measures.

    Attributes
    ----------
    minimum_common
        Dates that two markets must share before a cell is filled.
    ewma_lambdas
        Decays of the exponentially weighted correlation.
    stress_fraction
        Share of the lead market's days that count as its worst.
    minimum_stress
        Of those days, so many must be shared before a cell of the stress matrix is filled.
    tail_fraction
        Share of the days at the lower end in which empirical tail dependence is counted.
    most_full
        So many markets at most have the full likelihood of dynamic correlations; more have that of pairs.
    most_all_pairs
        So many markets at most have all pairs in it; more have neighbours in alphabetical order.
    """

    minimum_common: int = 250
    ewma_lambdas: tuple[float, ...] = (0.94, 0.97)
    stress_fraction: float = 0.05
    minimum_stress: int = 30
    tail_fraction: float = 0.05
    most_full: int = 10
    most_all_pairs: int = 20


@dataclass(frozen=True)
class Panel:
    """Standardised residuals of several markets, markets in alphabetical order.

    Attributes
    ----------
    symbols
        Markets.
    dates
        Ascending, shape (days,).
    z
        Shape (days, markets); NaN where a market has no bar, or none with a one-day return and a forecast.
    """

    symbols: tuple[str, ...]
    dates: NDArray[np.datetime64]
    z: Floats

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Pairs of columns, the first below the second."""
        n = len(self.symbols)
        return [(i, j) for i in range(n) for j in range(i + 1, n)]

    def common(self, i: int, j: int) -> NDArray[np.bool_]:
        """Days on which both markets have a residual."""
        return np.asarray(np.isfinite(self.z[:, i]) & np.isfinite(self.z[:, j]), dtype=np.bool_)


def panel_of(residuals: pd.DataFrame) -> Panel:
    """Lay residuals out for the measures, each market scaled to a standard deviation of one.

    Parameters
    ----------
    residuals
        Dates (index) by markets (columns), NaN where a market has none.

    Returns
    -------
    Panel
        Columns in alphabetical order. Each is divided by its own standard deviation, so that a volatility that is off
        by a factor moves no correlation.

    Raises
    ------
    ValueError
        Where dates do not ascend, a market stands twice, a value is infinite or a market never moves; names it.
    """
    dates = residuals.index
    if not dates.is_monotonic_increasing or dates.has_duplicates:
        late = dates[1:][dates[1:] <= dates[:-1]][0]
        raise ValueError(f"residuals are not in date order at {late}; sort them and drop repeated days")
    if residuals.columns.has_duplicates:
        twice = residuals.columns[residuals.columns.duplicated()][0]
        raise ValueError(f"{twice} stands twice among the residuals; hand over one column a market")
    symbols = tuple(sorted(str(name) for name in residuals.columns))
    z = residuals[list(symbols)].to_numpy(np.float64, copy=True)
    for at, symbol in enumerate(symbols):
        if np.isinf(z[:, at]).any():
            day = dates[np.isinf(z[:, at])][0]
            raise ValueError(f"{symbol}: residual of {day} is infinite; its forecast volatility must be positive")
        known = z[np.isfinite(z[:, at]), at]
        spread = float(known.std()) if len(known) > 1 else 1.0
        if not spread > 0:
            raise ValueError(f"{symbol}: all residuals are equal; a market that never moves has no correlation")
        z[:, at] /= spread
    return Panel(symbols, dates.to_numpy(), z)


@dataclass(frozen=True)
class Matrix:
    """One measure over all pairs of markets.

    Attributes
    ----------
    measure
        Its name.
    symbols
        Markets.
    values
        Shape (markets, markets), symmetric; NaN: not enough data.
    observations
        Days behind each cell.
    adjustments
        What the positive semi-definite step added to each cell; zeros where none was needed.
    least_eigenvalue
        Before that step, of the markets that have every cell; NaN where it does not apply.
    unchecked
        Markets outside that step, because cells of theirs are missing.
    """

    measure: str
    symbols: tuple[str, ...]
    values: Floats
    observations: Ints
    adjustments: Floats
    least_eigenvalue: float = np.nan
    unchecked: tuple[str, ...] = ()

    @property
    def is_adjusted(self) -> bool:
        """Whether any cell was moved to make the matrix positive semi-definite."""
        return bool(np.any(self.adjustments != 0))


def matrix_of(panel: Panel, measure: str, cells: dict[tuple[int, int], tuple[float, int]], diagonal: float) -> Matrix:
    """Lay cells of pairs out as a symmetric matrix; a pair that is missing is NaN of no days."""
    n = len(panel.symbols)
    values = np.full((n, n), np.nan)
    observations = np.zeros((n, n), dtype=np.int64)
    np.fill_diagonal(values, diagonal)
    np.fill_diagonal(observations, np.isfinite(panel.z).sum(axis=0))
    for (i, j), (value, count) in cells.items():
        values[i, j] = values[j, i] = value
        observations[i, j] = observations[j, i] = count
    return Matrix(measure, panel.symbols, values, observations, np.zeros((n, n)))


def whole_block(values: Floats) -> NDArray[np.int64]:
    """Columns that stay when those with most missing cells are left out, one by one, until none is missing."""
    kept = np.arange(len(values))
    while len(kept):
        missing = np.isnan(values[np.ix_(kept, kept)]).sum(axis=1)
        if not missing.any():
            break
        kept = np.delete(kept, len(kept) - 1 - int(np.argmax(missing[::-1])))
    return kept


def positive_semidefinite(matrix: Matrix) -> Matrix:
    r"""Make a correlation matrix positive semi-definite, and say by how much each cell moved.

    Cells from different dates need not fit together. Where the least eigenvalue is negative, negative eigenvalues are
    set to zero and the diagonal is scaled back to one,

    .. math:: C^* = D^{-1/2} U \max(\Lambda, 0) U' D^{-1/2}, \qquad D = \mathrm{diag}(U \max(\Lambda, 0) U').

    Parameters
    ----------
    matrix
        A correlation matrix with a unit diagonal. Markets with missing cells are left out of the step, those with most
        of them first, and named in ``unchecked``.

    Returns
    -------
    Matrix
        With ``adjustments``, ``least_eigenvalue`` and ``unchecked``; the same values where nothing was needed.

    Notes
    -----
    Source: Rebonato and Jäckel 1999, spectral decomposition.
    """
    kept = whole_block(matrix.values)
    unchecked = tuple(s for at, s in enumerate(matrix.symbols) if at not in set(kept.tolist()))
    if len(kept) < 2:
        return replace(matrix, unchecked=unchecked)
    block = matrix.values[np.ix_(kept, kept)]
    roots, vectors = np.linalg.eigh(block)
    least = float(roots[0])
    if least >= -EIGENVALUE_SLACK:
        return replace(matrix, least_eigenvalue=least, unchecked=unchecked)
    raised = (vectors * np.maximum(roots, 0.0)) @ vectors.T
    scale = np.sqrt(np.diag(raised))
    raised = raised / np.outer(scale, scale)
    raised = (raised + raised.T) / 2
    np.fill_diagonal(raised, 1.0)
    values, adjustments = matrix.values.copy(), matrix.adjustments.copy()
    values[np.ix_(kept, kept)] = raised
    adjustments[np.ix_(kept, kept)] = raised - block
    return replace(matrix, values=values, adjustments=adjustments, least_eigenvalue=least, unchecked=unchecked)
