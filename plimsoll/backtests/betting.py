"""Betting: e-processes that may be read every day without losing their error rate.

What lives here: e-values of a quantile and of an expected shortfall, the wealth of betting against them, warn and
alarm. What does not: tests on a fixed number of days (the other modules), many markets at once (``multiplicity``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from plimsoll.backtests.outcomes import Floats, as_flags, as_series, check_rate

WARN, ALARM = 5.0, 20.0
FIXED_BET = 0.025
LARGEST_BET = 0.5


def quantile_evidence(hits: ArrayLike, p: float) -> Floats:
    r"""Give the e-value of each day, :math:`1\{L>VaR\}/p`: its mean is at most 1 while the quantile holds."""
    return np.asarray(as_flags(hits) / check_rate(p), dtype=np.float64)


def shortfall_evidence(loss: ArrayLike, var_loss: ArrayLike, es_loss: ArrayLike, p: float) -> Floats:
    r"""Give the e-value of each day, :math:`(L-VaR)_+ / (p\,(ES-VaR))`.

    Parameters
    ----------
    loss, var_loss, es_loss
        Positive losses, shape (n,).

    Raises
    ------
    ValueError
        Where the shortfall does not exceed the quantile; names the row.
    """
    check_rate(p)
    x = as_series("loss", loss)
    v = as_series("var_loss", var_loss, len(x))
    e = as_series("es_loss", es_loss, len(x))
    if (e <= v).any():
        row = int(np.flatnonzero(e <= v)[0])
        raise ValueError(f"row {row}: shortfall {e[row]} does not exceed the quantile {v[row]}; there is no bet")
    return np.asarray(np.maximum(x - v, 0.0) / (p * (e - v)), dtype=np.float64)


def fixed_bets(evidence: ArrayLike, bet: float = FIXED_BET) -> Floats:
    """Stake the same share every day."""
    if not 0 <= bet <= LARGEST_BET:
        raise ValueError(f"bet {bet}: must lie between 0 and {LARGEST_BET}")
    return np.full(len(as_series("evidence", evidence)), bet)


def adaptive_bets(evidence: ArrayLike) -> Floats:
    r"""Stake what would have grown fastest so far; predictable: the bet of a day knows earlier days only.

    .. math:: \lambda_t = \left(\frac{\sum_{s<t}(e_s-1)}{\sum_{s<t}(e_s-1)^2}\right)\text{ held within } [0, \tfrac12]

    the maximum of the second-order expansion of the mean log growth (GREE); 0 on the first day.

    Notes
    -----
    Source: Wang, Wang and Ziegel 2022.
    """
    edge = as_series("evidence", evidence) - 1
    first = np.concatenate([[0.0], np.cumsum(edge)[:-1]])
    second = np.concatenate([[0.0], np.cumsum(edge**2)[:-1]])
    share = np.divide(first, second, out=np.zeros_like(first), where=second > 0)
    return np.asarray(np.clip(share, 0.0, LARGEST_BET), dtype=np.float64)


@dataclass(frozen=True)
class Wealth:
    """The wealth of betting against a model, day by day.

    Attributes
    ----------
    log_wealth
        ln M, shape (n,). Logs do not overflow after years of failures; `values` are plain.
    warned_at, alarmed_at
        Row of the first day at or above the level, or None.
    """

    log_wealth: Floats
    warn: float
    alarm: float
    warned_at: int | None
    alarmed_at: int | None

    @property
    def values(self) -> Floats:
        """M; held at the largest number there is where the logs exceed it."""
        return np.exp(np.minimum(self.log_wealth, np.log(np.finfo(np.float64).max)))

    @property
    def final(self) -> float:
        """Wealth after the last day."""
        return float(self.values[-1])

    @property
    def largest(self) -> float:
        """Largest wealth so far; 1 before the first day counts."""
        return max(1.0, float(self.values.max()))

    @property
    def p_value(self) -> float:
        """Bound that holds on every day at once: one over the largest wealth so far."""
        return 1.0 / self.largest

    @property
    def state(self) -> str:
        """``alarm`` once that level was reached, else ``warn``, else ``quiet``; it never recedes."""
        return "alarm" if self.alarmed_at is not None else "warn" if self.warned_at is not None else "quiet"


def wealth(evidence: ArrayLike, bets: ArrayLike, *, warn: float = WARN, alarm: float = ALARM) -> Wealth:
    r"""Multiply the stakes, :math:`M_t = \prod_{s\le t}(1-\lambda_s+\lambda_s e_s)`.

    Parameters
    ----------
    evidence
        E-values in date order, at least 0, shape (n,).
    bets
        Shares in [0, 1/2], each decided before its day.
    warn, alarm
        Levels, above 1 and in this order. The chance that M ever reaches a level c while the model holds is at most
        1/c, however often it is read (Ville).

    Raises
    ------
    ValueError
        For negative evidence, bets outside [0, 1/2], or levels out of order; names the row.
    """
    e = as_series("evidence", evidence)
    stakes = as_series("bets", bets, len(e))
    if (e < 0).any():
        raise ValueError(f"evidence, row {int(np.flatnonzero(e < 0)[0])}: negative")
    outside = (stakes < 0) | (stakes > LARGEST_BET)
    if outside.any():
        raise ValueError(f"bets, row {int(np.flatnonzero(outside)[0])}: must lie between 0 and {LARGEST_BET}")
    if not 1 < warn <= alarm:
        raise ValueError(f"levels {warn} and {alarm}: need 1 < warn <= alarm")
    grown = np.cumsum(np.log1p(stakes * (e - 1)))
    return Wealth(grown, warn, alarm, _first(grown, warn), _first(grown, alarm))


def _first(log_wealth: Floats, level: float) -> int | None:
    reached = np.flatnonzero(log_wealth >= np.log(level))
    return int(reached[0]) if len(reached) else None
