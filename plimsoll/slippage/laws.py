"""Laws of impact: what a size costs when only volatility and traded volume are known.

What lives here: the average of a metaorder under the square-root law, and the law of scheduled equity trades as an
alternative. What does not: the square-root law's peak, which the budget uses (``liquidation.square_root_impact``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from plimsoll.slippage.books import Floats

AVERAGE_SHARE = 2.0 / 3.0
"""Average cost of a metaorder whose impact grows with the root of what is done, as a share of the peak."""
ALMGREN_GAMMA, ALMGREN_ETA = 0.314, 0.142


@dataclass(frozen=True, eq=False)
class AlmgrenCost:
    """Impact of a scheduled trade, fractions.

    Attributes
    ----------
    permanent
        I, by which the price stays moved.
    temporary
        K, paid while trading.
    total
        J = I/2 + K.
    """

    permanent: Floats
    temporary: Floats
    total: Floats


def average_of_peak(peak: ArrayLike) -> Floats:
    r"""Return the expected cost of a metaorder whose peak impact is known, :math:`\tfrac23 I`.

    The peak decides solvency, the average is what is paid.

    Notes
    -----
    Source: Bouchaud, Bonart, Donier and Gould 2018.
    """
    return np.asarray(AVERAGE_SHARE * np.asarray(peak, dtype=np.float64), dtype=np.float64)


def almgren_cost(
    *, sigma_daily: ArrayLike, volume_share: ArrayLike, turnover: ArrayLike, days: ArrayLike
) -> AlmgrenCost:
    r"""Impact of a trade that is spread over a time.

    .. math:: I = \gamma\,\sigma\,\frac{X}{V}\left(\frac{\Theta}{V}\right)^{1/4}, \qquad
              K = \eta\,\sigma\left|\frac{X}{V T}\right|^{3/5}, \qquad J = \tfrac{I}{2} + K

    Parameters
    ----------
    sigma_daily
        Daily volatility, fraction.
    volume_share
        X/V, size over daily volume.
    turnover
        Theta/V, units outstanding over daily volume: the reciprocal of daily turnover.
    days
        T, positive, in days of trading.

    Raises
    ------
    ValueError
        Where a size is negative, or time or turnover is not positive.

    Notes
    -----
    Calibrated to scheduled trades of an equity desk. A forced liquidation is fast: a time of
    more than an hour makes a small cost out of patience that nobody has. Source: Almgren, Thum, Hauptmann and Li 2005.
    """
    sigma, share, outstanding, time = (
        np.asarray(one, dtype=np.float64) for one in (sigma_daily, volume_share, turnover, days)
    )
    for name, bad in (("volume_share", share < 0), ("turnover", outstanding <= 0), ("days", time <= 0)):
        if bad.any():
            raise ValueError(f"{name}: {'not negative' if name == 'volume_share' else 'a positive number'}")
    permanent = ALMGREN_GAMMA * sigma * share * outstanding**0.25
    temporary = ALMGREN_ETA * sigma * (share / time) ** 0.6
    return AlmgrenCost(permanent, temporary, permanent / 2 + temporary)
