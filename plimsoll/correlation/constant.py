"""Constant and weighted correlations: all days, recent days, shrunk ones, and the lead market's worst days.

What lives here: measures in closed form. What does not: dynamic correlations (``dynamic``), tails (``tails``).
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from plimsoll.correlation.types import CorrelationSpec, Floats, Matrix, Panel, matrix_of, positive_semidefinite

LEAD = "BTC"


def product_moment(x: Floats, y: Floats) -> float:
    """Correlation of two samples, means taken out; NaN where one of them does not move."""
    u, v = x - x.mean(), y - y.mean()
    # Plain sums: a linear-algebra library may sum in another order on another number of threads.
    scale = np.sqrt((u * u).sum() * (v * v).sum())
    return float((u * v).sum() / scale) if scale > 0 else np.nan


def ccc(panel: Panel, spec: CorrelationSpec) -> Matrix:
    r"""Constant conditional correlation, :math:`R = \mathrm{corr}(z)`, each cell from the dates of its two markets.

    Parameters
    ----------
    panel
        Standardised residuals.
    spec
        ``minimum_common``: below, a cell is NaN.

    Returns
    -------
    Matrix
        ``ccc``, positive semi-definite by a step that is reported.

    Notes
    -----
    Source: Bollerslev 1990.
    """
    cells = {}
    for i, j in panel.pairs:
        both = panel.common(i, j)
        count = int(both.sum())
        enough = count >= spec.minimum_common
        cells[i, j] = (product_moment(panel.z[both, i], panel.z[both, j]) if enough else np.nan, count)
    return positive_semidefinite(matrix_of(panel, "ccc", cells, 1.0))


def ewma_covariance(x: ArrayLike, decay: float) -> Floats:
    r"""Exponentially weighted covariance about zero, weights adding to one.

    .. math:: \Sigma = \frac{\sum_k \lambda^k x_{T-k} x_{T-k}'}{\sum_k \lambda^k}

    Parameters
    ----------
    x
        Shape (days, markets), oldest first, no NaN.
    decay
        λ in (0, 1).

    Returns
    -------
    ndarray
        Shape (markets, markets).

    Raises
    ------
    ValueError
        Where λ is outside (0, 1), or a value is missing.

    Notes
    -----
    Source: RiskMetrics 1996.
    """
    given = np.asarray(x, dtype=np.float64)
    if not 0 < decay < 1:
        raise ValueError(f"decay {decay} is not between 0 and 1")
    if not np.isfinite(given).all():
        raise ValueError("a value is missing or infinite; hand over the dates that all markets share")
    weights = decay ** np.arange(len(given) - 1, -1, -1, dtype=np.float64)
    n = given.shape[1]
    out = np.empty((n, n))
    for i in range(n):
        for j in range(i + 1):
            out[i, j] = out[j, i] = (weights * given[:, i] * given[:, j]).sum() / weights.sum()
    return out


def ewma(panel: Panel, decay: float, spec: CorrelationSpec) -> Matrix:
    """Exponentially weighted correlation of the residuals, each cell from the dates of its two markets.

    Returns
    -------
    Matrix
        ``ewma_94`` for a decay of 0.94; positive semi-definite by a step that is reported.
    """
    cells = {}
    for i, j in panel.pairs:
        both = panel.common(i, j)
        value = np.nan
        if both.sum() >= spec.minimum_common:
            found = ewma_covariance(panel.z[both][:, [i, j]], decay)
            value = float(found[0, 1] / np.sqrt(found[0, 0] * found[1, 1]))
        cells[i, j] = (value, int(both.sum()))
    return positive_semidefinite(matrix_of(panel, f"ewma_{100 * decay:.0f}", cells, 1.0))


def ledoit_wolf_covariance(x: ArrayLike) -> tuple[Floats, float]:
    r"""Covariance shrunk toward a multiple of the identity, and how far.

    .. math:: \Sigma^* = \rho\mu I + (1-\rho) S, \qquad \rho = \min(b^2, d^2)/d^2, \qquad \mu = \mathrm{tr} S / p

    with :math:`d^2 = \lVert S-\mu I\rVert^2/p` and :math:`b^2 = n^{-2}\sum_t \lVert x_t x_t' - S\rVert^2/p`.

    Parameters
    ----------
    x
        Shape (days, markets), no NaN; means are taken out.

    Returns
    -------
    tuple
        Σ* and ρ.

    Notes
    -----
    Source: Ledoit and Wolf 2004, by scikit-learn.
    """
    from sklearn.covariance import LedoitWolf

    found = LedoitWolf().fit(np.asarray(x, dtype=np.float64))
    return np.asarray(found.covariance_, dtype=np.float64), float(found.shrinkage_)


def complete_columns(panel: Panel, minimum: int) -> NDArray[np.int64]:
    """Columns that share enough dates: the market with the fewest is left out, one by one, until they do."""
    known = np.isfinite(panel.z)
    kept = np.flatnonzero(known.sum(axis=0) >= minimum)
    while len(kept) and known[:, kept].all(axis=1).sum() < minimum:
        counts = known[:, kept].sum(axis=0)
        kept = np.delete(kept, len(kept) - 1 - int(np.argmin(counts[::-1])))
    return kept


def ledoit_wolf(panel: Panel, spec: CorrelationSpec) -> Matrix:
    """Correlation from the shrunk covariance of residuals of one variance, on the dates that all markets share.

    Returns
    -------
    Matrix
        ``ledoit_wolf``. Markets with too few dates in common with the others are left out: their cells are NaN.
    """
    kept = complete_columns(panel, spec.minimum_common)
    cells: dict[tuple[int, int], tuple[float, int]] = {}
    if len(kept) >= 2:
        rows = np.isfinite(panel.z[:, kept]).all(axis=1)
        x = panel.z[np.ix_(rows, kept)]
        sigma, _ = ledoit_wolf_covariance(x / x.std(axis=0))
        scale = np.sqrt(np.diag(sigma))
        for a, i in enumerate(kept):
            for b, j in enumerate(kept[a + 1 :], start=a + 1):
                cells[int(i), int(j)] = (float(sigma[a, b] / (scale[a] * scale[b])), int(rows.sum()))
    return positive_semidefinite(matrix_of(panel, "ledoit_wolf", cells, 1.0))


def worst_days(adverse: pd.Series, fraction: float) -> pd.DatetimeIndex:
    """Dates of the largest adverse excursions, a share of all that are known, rounded up.

    Parameters
    ----------
    adverse
        Adverse excursion by date, positive for a fall; NaN where unknown.
    fraction
        Share in (0, 1).
    """
    known = adverse.dropna()
    count = int(np.ceil(round(fraction * len(known), 9)))
    return pd.DatetimeIndex(known.sort_values(ascending=False, kind="stable").index[:count].sort_values())


def expected_under_selection(rho_ij: float, rho_i: float, rho_j: float, ratio: float) -> float:
    r"""Correlation among days chosen by a lead market, if nothing but the choice of days had changed.

    .. math:: \frac{\rho_{ij} - \rho_i\rho_j(1-\delta)}{\sqrt{(1-\rho_i^2(1-\delta))(1-\rho_j^2(1-\delta))}}

    Parameters
    ----------
    rho_ij
        Correlation of the pair on all days.
    rho_i, rho_j
        Correlations of the two with the lead market on all days; 1 for the lead itself.
    ratio
        δ, variance of the lead's residual on the chosen days over that on all days.

    Notes
    -----
    Under a linear dependence on the lead. Days chosen by a fall are alike in the lead, δ is mostly below one, and the
    correlation comes out lower although nothing changed. Source: Boyer, Gibson and Loretan 1999; Forbes and Rigobon
    2002.
    """
    lost = 1 - ratio
    return float((rho_ij - rho_i * rho_j * lost) / np.sqrt((1 - rho_i**2 * lost) * (1 - rho_j**2 * lost)))


def stress(
    panel: Panel, lead: str, adverse: pd.Series, all_days: Matrix, spec: CorrelationSpec
) -> tuple[Matrix, Matrix]:
    """Correlation on the lead market's worst days, and what the all-days correlation gives on days so chosen.

    Parameters
    ----------
    panel
        Standardised residuals.
    lead
        The lead market, one of the panel's.
    adverse
        Its adverse excursion by date, ln(previous close / low); NaN where unknown.
    all_days
        Result of `ccc`.
    spec
        ``stress_fraction``, ``minimum_common`` dates that a pair shares, ``minimum_stress`` bad ones among them.

    Returns
    -------
    tuple
        ``stress``, positive semi-definite by a step that is reported, and ``stress_expected``.

    Raises
    ------
    ValueError
        Where the lead is not in the panel.
    """
    if lead not in panel.symbols:
        raise ValueError(f"lead market {lead} is not among {', '.join(panel.symbols)}; configure one that is")
    at = panel.symbols.index(lead)
    bad = np.isin(panel.dates, worst_days(adverse, spec.stress_fraction).to_numpy())
    own = np.isfinite(panel.z[:, at])
    found, expected = {}, {}
    for i, j in panel.pairs:
        both = panel.common(i, j)
        days = int((both & bad).sum())
        enough = both.sum() >= spec.minimum_common and days >= spec.minimum_stress
        value = product_moment(panel.z[both & bad, i], panel.z[both & bad, j]) if enough else np.nan
        found[i, j] = (value, days)
        r = all_days.values
        known = enough and bool(np.isfinite([r[i, j], r[i, at], r[j, at]]).all())
        lead_days = both & own
        ratio = panel.z[lead_days & bad, at].var() / panel.z[lead_days, at].var() if known else np.nan
        expected[i, j] = (
            expected_under_selection(r[i, j], r[i, at], r[j, at], float(ratio)) if known else np.nan,
            int(both.sum()),
        )
    return (
        positive_semidefinite(matrix_of(panel, "stress", found, 1.0)),
        matrix_of(panel, "stress_expected", expected, 1.0),
    )
