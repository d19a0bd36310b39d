"""Dynamic conditional correlation: two parameters by maximum likelihood, and the matrix of the next day.

What lives here: the likelihoods that are maximised, over which days and pairs, and the forecast. What does not: the
recursion (``kernels``), volatility (``volatility``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from plimsoll.correlation import kernels
from plimsoll.correlation.constant import product_moment
from plimsoll.correlation.types import CorrelationSpec, Floats, Ints, Matrix, Panel, matrix_of, positive_semidefinite

STARTS = ((0.01, 0.98), (0.03, 0.95), (0.02, 0.90), (0.05, 0.90), (0.08, 0.80), (0.05, 0.60), (0.10, 0.40))
SEARCHES = 3
"""Searches, from the best of the starts: where there is little to find, the likelihood may have several optima."""
LARGEST_SUM = 0.9999
LEAST_GAIN = 1e-6
"""Log-likelihood that dynamics must add; below, the correlation is constant and a = b = 0."""
LEAST_SHARE = 0.5
"""Days that all markets share, of those with two markets or more, for the likelihood of all markets at once."""


@dataclass(frozen=True)
class DccFit:
    """Parameters of the recursion.

    Attributes
    ----------
    a, b
        Weight of the last day's product, and of the last matrix.
    loglikelihood
        Correlation part, ``-(ln|R| + z'R^{-1}z - z'z)/2`` summed over days, and over pairs where there are several.
    gain
        Above that of constant correlation with the same targets.
    observations
        Days, or days of pairs, in it.
    likelihood
        ``full``, ``all pairs`` or ``neighbouring pairs``.
    is_on_limit
        Whether a + b stands at its largest value, where no long-run matrix draws the correlation back.
    """

    a: float
    b: float
    loglikelihood: float
    gain: float
    observations: int
    likelihood: str
    is_on_limit: bool


def correlation_targets(z: ArrayLike) -> Floats:
    """Return the matrix of correlations of complete residuals, shape (days, markets): S of the recursion."""
    given = np.asarray(z, dtype=np.float64)
    n = given.shape[1]
    out = np.eye(n)
    for i in range(n):
        for j in range(i):
            out[i, j] = out[j, i] = product_moment(given[:, i], given[:, j])
    return out


def fit_full(z: ArrayLike, targets: ArrayLike | None = None) -> DccFit:
    r"""Fit dynamic correlations of complete residuals by maximum likelihood.

    .. math:: Q_t = (1-a-b)S + a z_{t-1}z_{t-1}' + b Q_{t-1}, \qquad R_t = \mathrm{diag}(Q_t)^{-1/2} Q_t
        \mathrm{diag}(Q_t)^{-1/2}, \qquad Q_1 = S

    Parameters
    ----------
    z
        Standardised residuals, shape (days, markets), no NaN, as the volatility model leaves them.
    targets
        S, shape (markets, markets); by default the correlation matrix of ``z``.

    Returns
    -------
    DccFit
        With ``likelihood`` full.

    Raises
    ------
    ValueError
        Where a value is missing, there are fewer than two markets, or S is not positive definite.

    Notes
    -----
    Source: Engle 2002.
    """
    given = np.ascontiguousarray(z, dtype=np.float64)
    if given.ndim != 2 or given.shape[1] < 2:
        raise ValueError(f"residuals have shape {given.shape}; a correlation needs two markets")
    if not np.isfinite(given).all():
        raise ValueError("a residual is missing or infinite; hand over the dates that all markets share")
    s = correlation_targets(given) if targets is None else np.ascontiguousarray(targets, dtype=np.float64)

    def loglikelihood(a: float, b: float) -> float:
        return kernels.full_loglikelihood(given, s, a, b)

    return _maximised(loglikelihood, len(given), "full")


def fit_pairs(panel: Panel, pairs: list[tuple[int, int]], likelihood: str) -> DccFit:
    """Fit common a and b by the sum of the likelihoods of pairs, each over the dates of its two markets.

    Parameters
    ----------
    panel
        Standardised residuals.
    pairs
        Pairs of columns.
    likelihood
        Name of the choice of pairs.

    Raises
    ------
    ValueError
        Where there is no pair.

    Notes
    -----
    Consistent, and free of the bias that the full likelihood has with many markets. Source: Engle 2002; Pakel,
    Shephard, Sheppard and Engle 2021.
    """
    if not pairs:
        raise ValueError("no pair of markets shares enough dates; dynamic correlation needs one")
    x, y, starts, targets = _laid_out(panel, pairs)

    def loglikelihood(a: float, b: float) -> float:
        return kernels.pairs_loglikelihood(x, y, starts, targets, a, b)

    return _maximised(loglikelihood, len(x), likelihood)


def _laid_out(panel: Panel, pairs: list[tuple[int, int]]) -> tuple[Floats, Floats, Ints, Floats]:
    masks = [panel.common(i, j) for i, j in pairs]
    x = np.concatenate([panel.z[both, i] for both, (i, _) in zip(masks, pairs, strict=True)])
    y = np.concatenate([panel.z[both, j] for both, (_, j) in zip(masks, pairs, strict=True)])
    starts = np.concatenate([[0], np.cumsum([both.sum() for both in masks])]).astype(np.int64)
    targets = np.array([[1.0, product_moment(x[s:e], y[s:e]), 1.0] for s, e in pairwise(starts)])
    return x, y, starts, targets


def _maximised(loglikelihood: Callable[[float, float], float], observations: int, likelihood: str) -> DccFit:
    def loss(point: Floats) -> float:
        a, b = float(point[0]), float(point[1])
        if a < 0 or b < 0 or a + b > LARGEST_SUM:
            return np.inf
        return -loglikelihood(a, b)

    constant = loglikelihood(0.0, 0.0)
    if not np.isfinite(constant):
        raise ValueError(
            "the matrix of constant correlations is not positive definite; leave out a market that repeats"
        )
    order = sorted(STARTS, key=lambda start: loss(np.array(start)))
    a, b, best = max((_searched(loss, np.array(start)) for start in order[:SEARCHES]), key=lambda one: one[2])
    if best - constant < LEAST_GAIN:
        a, b, best = 0.0, 0.0, constant
    return DccFit(a, b, best, best - constant, observations, likelihood, a + b > LARGEST_SUM - 1e-6)


def fit(panel: Panel, spec: CorrelationSpec) -> DccFit | None:
    """Fit a panel with holes by the likelihood that suits it; None where no pair shares enough dates.

    The full likelihood over the dates that all markets share, where there are at most ``most_full`` markets and those
    dates are at least half of the ones with two markets or more; else the sum over pairs: all of them up to
    ``most_all_pairs`` markets, beyond it neighbours in alphabetical order. Markets without a pair are left out.
    """
    usable = [(i, j) for i, j in panel.pairs if panel.common(i, j).sum() >= spec.minimum_common]
    if not usable:
        return None
    columns = np.array(sorted({at for pair in usable for at in pair}))
    known = np.isfinite(panel.z[:, columns])
    rows = known.all(axis=1)
    wide = (known.sum(axis=1) >= 2).sum()
    if len(columns) <= spec.most_full and rows.sum() >= max(spec.minimum_common, LEAST_SHARE * wide):
        return fit_full(panel.z[np.ix_(rows, columns)])
    if len(columns) <= spec.most_all_pairs:
        return fit_pairs(panel, usable, "all pairs")
    neighbours = [pair for pair in pairwise(columns.tolist()) if pair in set(usable)]
    return fit_pairs(panel, neighbours or usable, "neighbouring pairs" if neighbours else "all pairs")


def forecast(panel: Panel, found: DccFit | None, spec: CorrelationSpec) -> Matrix:
    """Return the correlation matrix of the next day, each cell by the recursion over the dates of its two markets.

    Parameters
    ----------
    panel
        Standardised residuals.
    found
        Parameters, or None: no cell is filled.
    spec
        ``minimum_common``: below, a cell is NaN.

    Returns
    -------
    Matrix
        ``dcc``. Where all markets have all dates, the matrix recursion, cell by cell; else positive semi-definite by a
        step that is reported.
    """
    cells: dict[tuple[int, int], tuple[float, int]] = {}
    for i, j in panel.pairs:
        both = panel.common(i, j)
        value = np.nan
        if found is not None and both.sum() >= spec.minimum_common:
            x, y = panel.z[both, i], panel.z[both, j]
            target = np.array([1.0, product_moment(x, y), 1.0])
            value = float(kernels.pair_path(x, y, target, found.a, found.b)[-1])
        cells[i, j] = (value, int(both.sum()))
    return positive_semidefinite(matrix_of(panel, "dcc", cells, 1.0))


def _searched(loss: Callable[[Floats], float], start: Floats) -> tuple[float, float, float]:
    """Return the optimum that a simplex finds from a start, and its log-likelihood."""
    from scipy.optimize import minimize

    point = start
    # The second search starts anew around the first optimum: a simplex can collapse before it has arrived.
    for size in (0.01, 0.001):
        inward = size if point.sum() + size < LARGEST_SUM else -size
        sideways = size if point[0] < size else -size
        simplex = np.maximum([point, point + np.array([sideways, 0.0]), point + np.array([0.0, inward])], 0.0)
        found = minimize(
            loss,
            point,
            method="Nelder-Mead",
            options={"initial_simplex": simplex, "xatol": 1e-9, "fatol": 1e-9, "maxiter": 2000},
        )
        point = found.x
    return float(point[0]), float(point[1]), -float(found.fun)
