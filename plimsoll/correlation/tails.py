"""Tail dependence: how often two markets have their worst days together.

What lives here: the share counted among worst days, and the t copula's limit. What does not: correlations.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from plimsoll.correlation import kernels
from plimsoll.correlation.types import CorrelationSpec, Floats, Ints, Matrix, Panel, matrix_of

NUS = np.exp(np.linspace(np.log(1.5), np.log(100.0), 43))
"""Degrees of freedom that are tried; the optimum is found between them by a parabola in their logarithm."""


def tail_dependence_t(nu: ArrayLike, rho: ArrayLike) -> Floats:
    r"""Lower tail dependence of the t copula.

    .. math:: \lambda_L = 2\,t_{\nu+1}\left(-\sqrt{\frac{(\nu+1)(1-\rho)}{1+\rho}}\right)

    Parameters
    ----------
    nu
        Degrees of freedom, positive.
    rho
        Correlation in (-1, 1]; broadcast against ``nu``.

    Returns
    -------
    ndarray
        In [0, 1].

    Notes
    -----
    Source: McNeil, Frey and Embrechts 2015.
    """
    degrees, r = np.asarray(nu, dtype=np.float64), np.asarray(rho, dtype=np.float64)
    return np.asarray(2 * special.stdtr(degrees + 1, -np.sqrt((degrees + 1) * (1 - r) / (1 + r))), dtype=np.float64)


def tail_dependence_empirical(x: ArrayLike, y: ArrayLike, fraction: float) -> float:
    """Share of one sample's worst days that are among the other's worst as well.

    Parameters
    ----------
    x, y
        Paired samples, shape (n,), no NaN.
    fraction
        Share of days that count as worst, rounded down to whole days.

    Returns
    -------
    float
        In [0, 1]; independent samples give about ``fraction``, not zero. NaN where that is less than one day.
    """
    a, b = ranks(x), ranks(y)
    worst = int(np.floor(round(fraction * len(a), 9)))
    return float(((a < worst) & (b < worst)).sum() / worst) if worst else np.nan


def ranks(x: ArrayLike) -> Ints:
    """Return ranks from 0; of equal values the earlier one is the lower."""
    order = np.argsort(np.asarray(x, dtype=np.float64), kind="stable")
    out = np.empty(len(order), dtype=np.int64)
    out[order] = np.arange(len(order))
    return out


@dataclass(frozen=True)
class CopulaFit:
    """A bivariate t copula.

    Attributes
    ----------
    nu
        Degrees of freedom.
    rho
        Correlation.
    is_on_limit
        Whether ν is the largest or the smallest that is tried: beyond the largest, hardly any tail dependence is left.
    """

    nu: float
    rho: float
    is_on_limit: bool

    @property
    def tail_dependence(self) -> float:
        """Lower tail dependence."""
        return float(tail_dependence_t(self.nu, self.rho))


class TCopula:
    r"""Fits t copulas to ranks; keeps what does not depend on the pair.

    ρ is :math:`\sin(\pi\tau/2)` with Kendall's τ; ν maximises the likelihood of the copula on ranks over n + 1, given
    ρ.

    Notes
    -----
    Source: McNeil, Frey and Embrechts 2015, section 7.5; Demarta and McNeil 2005.
    """

    def __init__(self) -> None:
        self._quantiles: dict[int, Floats] = {}
        half = special.gammaln((NUS + 2) / 2) + special.gammaln(NUS / 2)
        self._constants = np.asarray(half - 2 * special.gammaln((NUS + 1) / 2), dtype=np.float64)

    def _table(self, n: int) -> Floats:
        if n not in self._quantiles:
            lower = np.arange(1, n // 2 + 1) / (n + 1)
            found = special.stdtrit(NUS[:, None], lower[None, :])
            middle = np.zeros((len(NUS), n % 2))
            self._quantiles[n] = np.ascontiguousarray(np.hstack([found, middle, -found[:, ::-1]]))
        return self._quantiles[n]

    def fit(self, x: ArrayLike, y: ArrayLike) -> CopulaFit | None:
        """Fit two paired samples, shape (n,), no NaN; None where one is a function of the other."""
        from scipy.stats import kendalltau

        a, b = ranks(x), ranks(y)
        rho = float(np.sin(np.pi / 2 * kendalltau(a, b, method="asymptotic").statistic))
        if not abs(rho) < 1 - 1e-9:
            return None
        values = kernels.copula_loglikelihoods(a, b, rho, NUS, self._table(len(a)), self._constants)
        best = int(np.argmax(values))
        if best in (0, len(NUS) - 1):
            return CopulaFit(float(NUS[best]), rho, True)
        below, at, above = values[best - 1 : best + 2]
        step = float(np.log(NUS[1] / NUS[0]))
        shift = 0.5 * (below - above) / (below - 2 * at + above)
        return CopulaFit(float(NUS[best] * np.exp(step * shift)), rho, False)


def tail_matrices(panel: Panel, spec: CorrelationSpec) -> tuple[Matrix, Matrix, Matrix]:
    """Return empirical tail dependence, that of the t copula, and its degrees of freedom, by pair.

    Returns
    -------
    tuple
        ``tail_dependence_empirical``, ``tail_dependence_t`` and ``t_copula_nu``; a cell with fewer than
        ``minimum_common`` dates is NaN.
    """
    copula = TCopula()
    counted, limit, degrees = {}, {}, {}
    for i, j in panel.pairs:
        both = panel.common(i, j)
        n = int(both.sum())
        counted[i, j] = limit[i, j] = degrees[i, j] = (np.nan, n)
        if n < spec.minimum_common:
            continue
        x, y = panel.z[both, i], panel.z[both, j]
        counted[i, j] = (tail_dependence_empirical(x, y, spec.tail_fraction), n)
        found = copula.fit(x, y)
        if found is not None:
            limit[i, j], degrees[i, j] = (found.tail_dependence, n), (found.nu, n)
    return (
        matrix_of(panel, "tail_dependence_empirical", counted, 1.0),
        matrix_of(panel, "tail_dependence_t", limit, 1.0),
        matrix_of(panel, "t_copula_nu", degrees, np.nan),
    )
