"""Concentration: what open interest and large holders add to a margin.

What lives here: initial margin scaled by open interest, and margins at the size of the largest clusters. What does not:
how a margin follows from a size (``liquidation``), tiers (``tiers``), caps (``caps``).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plimsoll import liquidation
from plimsoll.caps import evaluate
from plimsoll.thresholds import BPS, round_up

Floats = NDArray[np.float64]

TOP_CLUSTERS = 3


def open_interest_margin(
    *, base: ArrayLike, open_interest_usd: ArrayLike, lower_usd: float, upper_usd: float
) -> Floats:
    r"""Scale an initial margin with open interest.

    .. math:: \min\left(m_0 + \max\left(\tfrac{OI-lo}{hi-lo}(1-m_0),\,0\right),\ 1\right)

    Parameters
    ----------
    base
        :math:`m_0`, initial margin below the lower bound, fraction.
    open_interest_usd
        Open interest at the oracle price; NaN gives NaN.
    lower_usd, upper_usd
        Where scaling begins, and where positions must be fully paid.

    Raises
    ------
    ValueError
        For bounds that do not increase.

    Notes
    -----
    Source: liquidity tiers of the dYdX v4 chain.
    """
    if not 0 <= lower_usd < upper_usd:
        raise ValueError(f"open interest from {lower_usd} to {upper_usd} USD: the upper bound must lie above the lower")
    start = np.asarray(base, dtype=np.float64)
    scale = (np.asarray(open_interest_usd, dtype=np.float64) - lower_usd) / (upper_usd - lower_usd)
    return np.minimum(start + np.maximum(scale * (1 - start), 0.0), 1.0)


@dataclass(frozen=True)
class OpenInterestRule:
    """Initial margin scaled by open interest, on a grid.

    Attributes
    ----------
    base_bps
        Initial margin below ``lower_usd``.
    lower_usd, upper_usd
        As in `open_interest_margin`; an upper bound of 0 switches the rule off, as the venue does.
    grid_bps
        The scaled margin is rounded up on it.
    """

    base_bps: int
    lower_usd: float
    upper_usd: float
    grid_bps: int = 1

    def margin_bps(self, open_interest_usd: ArrayLike) -> NDArray[np.int64]:
        """Return the initial margin at each open interest.

        Raises
        ------
        ValueError
            For an open interest that is not known.
        """
        interest = np.asarray(open_interest_usd, dtype=np.float64)
        if not np.all(np.isfinite(interest)):
            raise ValueError("open interest is not known: withhold the margin instead of rounding it")
        if self.upper_usd == 0:
            return round_up(np.full(interest.shape, float(self.base_bps)), self.grid_bps)
        scaled = open_interest_margin(
            base=self.base_bps / BPS,
            open_interest_usd=interest,
            lower_usd=self.lower_usd,
            upper_usd=self.upper_usd,
        )
        return round_up(scaled * BPS, self.grid_bps)

    def violations(self, *, maintenance_bps: int, initial_bps: int) -> tuple[str, ...]:
        """Test the rule against the margins that the budget asks; one sentence a violation."""
        found = []
        if self.upper_usd != 0 and not 0 <= self.lower_usd < self.upper_usd:
            found.append(f"open interest scales from {self.lower_usd:.0f} to {self.upper_usd:.0f} USD: not increasing")
        if not 0 < self.base_bps <= BPS:
            found.append(f"base initial margin {self.base_bps} bps does not lie between 0 and {BPS} bps")
        if self.base_bps < initial_bps:
            found.append(f"base initial margin {self.base_bps} bps is below the {initial_bps} bps of the budget")
        if self.base_bps <= maintenance_bps:
            found.append(
                f"base initial margin {self.base_bps} bps does not lie above maintenance margin {maintenance_bps} bps"
            )
        return tuple(found)


def cluster_notional(clusters_usd: ArrayLike, top: int = TOP_CLUSTERS) -> float:
    """Notional of the largest clusters together.

    Parameters
    ----------
    clusters_usd
        Notional of each cluster of wallets that act as one; wallets alone where no clusters are known.
    top
        How many of the largest.

    Raises
    ------
    ValueError
        For no clusters, or notionals that are negative or not known.
    """
    sizes = np.asarray(clusters_usd, dtype=np.float64).ravel()
    if not sizes.size or not np.all(np.isfinite(sizes)) or np.any(sizes < 0):
        raise ValueError("cluster notionals must be known and not negative, and there must be at least one")
    if top < 1:
        raise ValueError(f"top {top}: count at least one cluster")
    return float(np.sum(np.sort(sizes)[::-1][:top]))


def concentrated_margin(
    budget: Callable[[Floats], ArrayLike], clusters_usd: ArrayLike, *, side: str, top: int = TOP_CLUSTERS
) -> float:
    r"""Maintenance margin at the size of the largest clusters, not at that of an average account.

    Parameters
    ----------
    budget
        :math:`\Lambda(N)`, log, for an array of sizes in USD; NaN where a size is not absorbable.
    clusters_usd, top
        As in `cluster_notional`.
    side
        ``long`` or ``short``.

    Returns
    -------
    float
        Fraction of notional; NaN where the market cannot absorb the clusters: then a cap is due, not a margin.
    """
    size = np.asarray([cluster_notional(clusters_usd, top)])
    return float(liquidation.maintenance_margin(evaluate(budget, size), side)[0])
