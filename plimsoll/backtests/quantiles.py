"""Quantiles: the dynamic quantile test.

What lives here: the regression of hits on their past and on the forecast. What does not: coverage by counts
(``plimsoll.coverage``), scores of quantiles (``scores``).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from plimsoll.backtests.outcomes import Flags, Floats, Outcome, as_flags, as_series, check_rate, not_applicable

NAME = "dynamic quantile"
LAGS = 4
CHUNK = 50
"""Sequences regressed at once: bounds memory."""


def statistics(hits: Flags, quantile: Floats, p: float, lags: int = LAGS) -> tuple[Floats, NDArray[np.int64]]:
    """Statistics and ranks of the regressors for many sequences against one forecast.

    Parameters
    ----------
    hits, quantile
        Shapes (m, n) and (n,).

    Returns
    -------
    tuple
        Shape (m,) each. The rank falls where regressors repeat each other; the projection stays defined.
    """
    level = quantile[lags:]
    # projections do not change when the forecast is centred and scaled; the rank is then safe to read
    centred = level - level.mean()
    spread = float(np.abs(centred).max())
    has_level = spread > 1e-12 * float(np.abs(level).max())
    found, ranks = [], []
    for start in range(0, len(hits), CHUNK):
        h = hits[start : start + CHUNK].astype(np.float64) - p
        y = h[:, lags:]
        columns = [np.ones_like(y), *(h[:, lags - i : -i] for i in range(1, lags + 1))]
        if has_level:
            columns.append(np.broadcast_to(centred / spread, y.shape))
        X = np.stack(columns, axis=1)
        gram, moment = X @ X.transpose(0, 2, 1), X @ y[:, :, None]
        b = np.linalg.pinv(gram, hermitian=True) @ moment
        found.append((b * moment).sum(axis=(1, 2)) / (p * (1 - p)))
        ranks.append(np.linalg.matrix_rank(gram, hermitian=True))
    return np.maximum(0.0, np.concatenate(found)), np.concatenate(ranks).astype(np.int64)


def dynamic_quantile(hits: ArrayLike, quantile_return: ArrayLike, p: float, *, lags: int = LAGS) -> Outcome:
    r"""Regress hits on a constant, their own past and the forecast: nothing known beforehand may explain a hit.

    .. math:: DQ = \frac{\hat b'X'X\hat b}{p(1-p)} \sim \chi^2_{2+L}, \qquad H_t = I_t - p,\quad
              X_t = [1, H_{t-1}, \dots, H_{t-L}, q_t]

    Parameters
    ----------
    hits, quantile_return
        Shape (n,): days in order and the forecast of each, any sign.
    p
        Nominal rate.
    lags
        L.

    Returns
    -------
    Outcome
        Not applicable with no exception or nothing else, or with fewer than twice as many days as regressors. A
        forecast that never moves repeats the constant; the degrees of freedom are the rank.

    Notes
    -----
    Source: Engle and Manganelli 2004. The first L days only serve as regressors.
    """
    check_rate(p)
    flags = as_flags(hits)
    level = as_series("quantile_return", quantile_return, len(flags))
    if len(flags) - lags < 2 * (lags + 2):
        return not_applicable(NAME, f"{len(flags)} days for {lags} lags")
    if not 0 < flags[lags:].sum() < len(flags) - lags or not flags[:-1].any():
        return not_applicable(NAME, "no exception, or nothing but exceptions")
    found, ranks = statistics(flags[None, :], level, p, lags)
    statistic, rank = float(found[0]), int(ranks[0])
    return Outcome(NAME, statistic, float(stats.chi2.sf(statistic, rank)), degrees=rank)
