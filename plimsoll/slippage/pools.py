"""Pools: the cost of closing a size against a constant product or against concentrated liquidity.

What lives here: both walks. What does not: where reserves and ticks come from, gas.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plimsoll.slippage.books import Floats, sizes


@dataclass(frozen=True, eq=False)
class PoolWalk:
    """Cost of closing sizes on one pool; arrays of the sizes' shape.

    Attributes
    ----------
    average
        Fraction lost against the pool's price over the whole size, its fee included; NaN where the pool cannot take
        the size.
    marginal
        The same of the last unit.
    is_absorbable
        Whether liquidity takes the size.
    depth_usd
        Largest size, at the pool's price, that it takes; infinite where only the price ends.
    """

    average: Floats
    marginal: Floats
    is_absorbable: NDArray[np.bool_]
    depth_usd: float


def walk_constant_product(
    *, base_reserve: float, quote_reserve_usd: float, fee: float, notional_usd: ArrayLike, side: str
) -> PoolWalk:
    r"""Cost of closing sizes against a constant product.

    .. math:: \Delta y = \frac{y\,\Delta x\,(1-f)}{x+\Delta x\,(1-f)}, \qquad
              s = 1 - \frac{\Delta y}{\Delta x}\frac{x}{y} \text{ (long)}, \qquad
              s = \frac{x}{(x-\Delta x)(1-f)} - 1 \text{ (short)}

    Parameters
    ----------
    base_reserve, quote_reserve_usd
        x in units of the base asset and y in USD; their ratio is the pool's price.
    fee
        f in [0, 1). It is part of the result: a budget that counts it elsewhere counts it twice.
    notional_usd
        Position at the pool's price, any shape.
    side
        ``long`` sells the base asset to the pool, ``short`` buys it there.

    Raises
    ------
    ValueError
        For another side, a reserve that is not positive, a fee outside [0, 1) or a size that is negative.
    """
    _check(fee, side)
    for name, value in (("base_reserve", base_reserve), ("quote_reserve_usd", quote_reserve_usd)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name} {value:g}: a positive number")
    size = sizes(notional_usd)
    x, keeps = base_reserve, 1 - fee
    quantity = size / (quote_reserve_usd / x)
    if side == "long":
        after = x + quantity * keeps
        average, marginal = (x * fee + quantity * keeps) / after, 1 - keeps * (x / after) ** 2
        return PoolWalk(average, marginal, np.ones(size.shape, dtype=bool), float("inf"))
    left = x - quantity
    is_absorbable = left > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        average, marginal = (x * fee + quantity * keeps) / (left * keeps), (x / left) ** 2 / keeps - 1
    return PoolWalk(
        np.where(is_absorbable, average, np.nan),
        np.where(is_absorbable, marginal, np.nan),
        is_absorbable,
        quote_reserve_usd,
    )


def walk_ticks(
    *,
    lower_usd: ArrayLike,
    upper_usd: ArrayLike,
    liquidity: ArrayLike,
    price_usd: float,
    fee: float,
    notional_usd: ArrayLike,
    side: str,
) -> PoolWalk:
    r"""Cost of closing sizes against concentrated liquidity, range by range.

    .. math:: \Delta x = L\left(\tfrac{1}{\sqrt{P_1}} - \tfrac{1}{\sqrt{P_0}}\right), \qquad
              \Delta y = L\left(\sqrt{P_0} - \sqrt{P_1}\right)

    Parameters
    ----------
    lower_usd, upper_usd
        Price bounds of ranges in ascending order that do not overlap, shape (ranges,). A gap has no liquidity: the
        price jumps over it.
    liquidity
        L of each range, positive, in units in which base reserves times quote reserves are its square.
    price_usd
        Price of the pool now; within a range or between two.
    fee
        f in [0, 1), on what is paid in. It is part of the result.
    notional_usd
        Position at ``price_usd``, any shape.
    side
        ``long`` sells the base asset to the pool, ``short`` buys it there.

    Raises
    ------
    ValueError
        For another side, a fee outside [0, 1), a range that is empty, overlaps the one before it or has no
        liquidity, a price that is not positive, or a size that is negative; names the range.

    Notes
    -----
    Source: Adams et al. 2021.
    """
    _check(fee, side)
    low, high, depth = (np.atleast_1d(np.asarray(one, dtype=np.float64)) for one in (lower_usd, upper_usd, liquidity))
    if not (np.isfinite(price_usd) and price_usd > 0):
        raise ValueError(f"price_usd {price_usd:g}: a positive number")
    is_bad = ~((low > 0) & (high > low) & np.isfinite(high) & (depth > 0) & np.isfinite(depth))
    is_bad[1:] |= low[1:] < high[:-1]
    if is_bad.any():
        n = int(is_bad.argmax())
        raise ValueError(
            f"range {n + 1}: {low[n]:g} to {high[n]:g} USD with liquidity {depth[n]:g}; ranges ascend, do not overlap "
            "and have liquidity"
        )
    size = sizes(notional_usd)
    is_long = side == "long"
    # Ranges on the side that the price moves to, nearest first; the one around the price counts in part.
    near, far = (np.minimum(high, price_usd), low) if is_long else (np.maximum(low, price_usd), high)
    lies_ahead = near > far if is_long else near < far
    order = np.flatnonzero(lies_ahead)[:: -1 if is_long else 1]
    keeps = 1 - fee
    quantity = size / price_usd
    into = quantity * keeps if is_long else quantity
    if not len(order):
        nothing = np.full(size.shape, np.nan)
        return PoolWalk(nothing, nothing.copy(), np.zeros(size.shape, dtype=bool), 0.0)
    ends = {"near": np.sqrt(near[order]), "far": np.sqrt(far[order])}
    depth = depth[order]
    per_range = depth * np.abs(1 / ends["far"] - 1 / ends["near"])
    # A range is crossed at the geometric mean of its ends.
    base = np.cumsum(per_range)
    cost = np.cumsum(per_range * np.abs(price_usd - ends["near"] * ends["far"]))
    is_absorbable = into <= base[-1]
    at = np.minimum(np.searchsorted(base, into, side="left"), len(base) - 1)
    rest = into - np.append(0.0, base)[at]
    with np.errstate(divide="ignore", invalid="ignore"):
        root = 1 / (1 / ends["near"][at] + (rest if is_long else -rest) / depth[at])
        paid = np.append(0.0, cost)[at] + rest * np.abs(price_usd - ends["near"][at] * root)
        lost = np.where(into * price_usd > 0, paid / (into * price_usd), np.abs(1 - root**2 / price_usd))
        if is_long:
            average, marginal = fee + keeps * lost, 1 - keeps * root**2 / price_usd
        else:
            average, marginal = (lost + fee) / keeps, root**2 / (keeps * price_usd) - 1
    return PoolWalk(
        np.where(is_absorbable, average, np.nan),
        np.where(is_absorbable, marginal, np.nan),
        is_absorbable,
        float(base[-1] * price_usd / (keeps if is_long else 1.0)),
    )


def _check(fee: float, side: str) -> None:
    if side not in ("long", "short"):
        raise ValueError(f"side {side!r}: say 'long' or 'short'")
    if not 0 <= fee < 1:
        raise ValueError(f"fee {fee:g}: at least 0 and below 1")
