"""Order books: displayed depth, validated level by level, and the cost of walking it.

What lives here: one snapshot as cumulated depth, what makes a snapshot unusable, the walk. What does not: which
snapshot may speak for a day (``admission``), where snapshots come from.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

STRESS_HAIRCUT = 0.5
"""Share of displayed depth that is taken to be gone when positions are liquidated."""
SCENARIO_HAIRCUT = 0.9
"""The same in a scenario of a day on which market makers withdraw."""
BOOK_SIDES = ("bid", "ask")


class BookError(ValueError):
    """A snapshot is no order book; names venue, symbol, time and row.

    Attributes
    ----------
    reason
        Rule that refuses it, snake_case.
    row_number
        First row at fault, None where none is.
    """

    def __init__(self, reason: str, message: str, row_number: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.row_number = row_number


@dataclass(frozen=True, eq=False)
class OrderBook:
    """One snapshot as cumulated depth; made and validated by `book_of`.

    Attributes
    ----------
    venue, symbol, at
        Whose and when, UTC.
    mid_usd
        Middle of the best bid and the best ask.
    bid_usd, ask_usd
        Prices from the best outwards, shape (levels,).
    bid_depth, ask_depth
        Quantity of the base asset up to and including each level.
    bid_cost_usd, ask_cost_usd
        What taking all of it costs against the mid.
    """

    venue: str
    symbol: str
    at: pd.Timestamp
    mid_usd: float
    bid_usd: Floats
    ask_usd: Floats
    bid_depth: Floats
    ask_depth: Floats
    bid_cost_usd: Floats
    ask_cost_usd: Floats


@dataclass(frozen=True, eq=False)
class BookWalk:
    """Cost of closing sizes on one book; arrays of the sizes' shape.

    Attributes
    ----------
    average
        Fraction that is lost against the mid over the whole size; NaN where the book cannot take it.
    marginal
        The same of the last unit.
    is_absorbable
        Whether the depth left by the haircut takes the size.
    depth_usd
        Largest size that it takes, at the mid.
    average_at_depth
        Average cost of that size: what a larger one costs at least.
    """

    average: Floats
    marginal: Floats
    is_absorbable: NDArray[np.bool_]
    depth_usd: float
    average_at_depth: float


def book_of(levels: pd.DataFrame, *, venue: str, symbol: str, at: pd.Timestamp) -> OrderBook:
    """Validate the levels of one snapshot and cumulate them.

    Parameters
    ----------
    levels
        ``side`` (bid or ask), ``level`` (1 is the best), ``price_usd``, ``quantity`` (of the base asset) in any order;
        optionally ``row_number``, which errors then name.
    venue, symbol, at
        Whose and when.

    Returns
    -------
    OrderBook
        Prices from the best outwards.

    Raises
    ------
    BookError
        Where a side is unknown or empty, a level is missing or stands twice, a price or quantity is not a positive
        number, prices do not worsen from level to level, or the best bid is not below the best ask.
    """
    names = ["side", "level", "price_usd", "quantity"]
    rows = levels[names].reset_index(drop=True)
    numbers = levels["row_number"].to_numpy() if "row_number" in levels else np.arange(1, len(levels) + 1)
    whose = f"{venue} {symbol} {pd.Timestamp(at):%Y-%m-%d %H:%M:%S}"

    def refuse(reason: str, is_bad: NDArray[np.bool_], what: str) -> None:
        if is_bad.any():
            first = int(is_bad.argmax())
            found = {name: rows[name].iloc[first] for name in names}
            told = what.format(**found)
            raise BookError(reason, f"{whose}: row {numbers[first]}: {told}", int(numbers[first]))

    side = rows["side"].astype("object").to_numpy()
    refuse("unknown_side", ~np.isin(side, BOOK_SIDES), "side {side!r} is neither bid nor ask")
    value = {name: pd.to_numeric(rows[name], errors="coerce").to_numpy(np.float64) for name in names[1:]}
    level, price, quantity = value["level"], value["price_usd"], value["quantity"]
    with np.errstate(invalid="ignore"):
        refuse(
            "level", ~((level >= 1) & (level == np.floor(level)) & (level < 2**31)), "level {level} is not 1, 2, ..."
        )
        refuse("price", ~(np.isfinite(price) & (price > 0)), "price {price_usd} is not a positive number")
        refuse("quantity", ~(np.isfinite(quantity) & (quantity > 0)), "quantity {quantity} is not a positive number")
    refuse("level_twice", rows.duplicated(["side", "level"]).to_numpy(), "level {level} of side {side} stands twice")
    made: dict[str, tuple[Floats, Floats]] = {}
    for name in BOOK_SIDES:
        mine = np.flatnonzero(side == name)
        if not len(mine):
            raise BookError("one_sided", f"{whose}: no level of side {name}; a book has both sides")
        order = mine[np.argsort(level[mine], kind="stable")]
        is_hole = np.zeros(len(rows), dtype=bool)
        is_hole[order] = level[order] != np.arange(1, len(order) + 1)
        refuse("level_missing", is_hole, "level {level} of side {side} stands where a level before it is missing")
        is_unsorted = np.zeros(len(rows), dtype=bool)
        step = np.diff(price[order])
        is_unsorted[order[1:]] = step >= 0 if name == "bid" else step <= 0
        refuse(
            "unsorted", is_unsorted, "price {price_usd} of side {side} level {level} is not worse than the level before"
        )
        made[name] = price[order], quantity[order]
    (bid, bid_quantity), (ask, ask_quantity) = made["bid"], made["ask"]
    if bid[0] >= ask[0]:
        row = int(numbers[np.flatnonzero((side == "bid") & (level == 1))[0]])
        told = f"best bid {bid[0]:g} is not below best ask {ask[0]:g}; the book is crossed"
        raise BookError("crossed", f"{whose}: row {row}: {told}", row)
    mid = float(bid[0] + (ask[0] - bid[0]) / 2)
    return OrderBook(
        venue=venue,
        symbol=symbol,
        at=pd.Timestamp(at),
        mid_usd=mid,
        bid_usd=bid,
        ask_usd=ask,
        bid_depth=np.cumsum(bid_quantity),
        ask_depth=np.cumsum(ask_quantity),
        bid_cost_usd=np.cumsum(bid_quantity * (mid - bid)),
        ask_cost_usd=np.cumsum(ask_quantity * (ask - mid)),
    )


def books_of(rows: pd.DataFrame) -> tuple[OrderBook, ...]:
    """Make a book of each snapshot, in order of symbol, venue and time.

    Parameters
    ----------
    rows
        ``snapshot_at, symbol, venue, side, level, price_usd, quantity``.

    Raises
    ------
    BookError
        Where a snapshot is none.
    """
    return tuple(
        book_of(levels, venue=str(venue), symbol=str(symbol), at=levels["snapshot_at"].iloc[0])
        for (symbol, venue, _), levels in rows.groupby(["symbol", "venue", "snapshot_at"], sort=True, observed=True)
    )


def walk_book(book: OrderBook, notional_usd: ArrayLike, side: str, *, haircut: float = STRESS_HAIRCUT) -> BookWalk:
    r"""Cost of closing sizes on displayed depth of which a share is gone.

    .. math:: s = 1 - \frac{VWAP(Q)}{mid} \text{ (long, sold into bids)}, \qquad
              s = \frac{VWAP(Q)}{mid} - 1 \text{ (short, bought from asks)}, \qquad Q = N / mid

    Parameters
    ----------
    book
        Snapshot.
    notional_usd
        N, any shape: the position at the mid. Zero costs what its first unit does.
    side
        ``long`` or ``short``: of the position that is closed.
    haircut
        h in [0, 1): every level keeps 1 - h of its quantity.

    Returns
    -------
    BookWalk
        NaN where depth ends before the size does: the last price is not carried on.

    Raises
    ------
    ValueError
        For another side, a haircut outside [0, 1), or a size that is negative or not a number.

    Notes
    -----
    A level of which the size takes a part counts with that part, so that the average is continuous in N.
    """
    if side not in ("long", "short"):
        raise ValueError(f"side {side!r}: say 'long' or 'short'")
    if not 0 <= haircut < 1:
        raise ValueError(f"haircut {haircut:g}: at least 0 and below 1")
    size = sizes(notional_usd)
    is_long = side == "long"
    price, depth, cost = (
        (book.bid_usd, book.bid_depth, book.bid_cost_usd)
        if is_long
        else (book.ask_usd, book.ask_depth, book.ask_cost_usd)
    )
    distance = book.mid_usd - price if is_long else price - book.mid_usd
    depth, cost = depth * (1 - haircut), cost * (1 - haircut)
    quantity = size / book.mid_usd
    is_absorbable = quantity <= depth[-1]
    at = np.minimum(np.searchsorted(depth, quantity, side="left"), len(depth) - 1)
    taken, paid = np.append(0.0, depth)[at], np.append(0.0, cost)[at]
    total = paid + (quantity - taken) * distance[at]
    marginal = distance[at] / book.mid_usd
    with np.errstate(invalid="ignore", divide="ignore"):
        # Within the best level the average is that level's, however small the size.
        average = np.where(at > 0, total / (quantity * book.mid_usd), marginal)
    return BookWalk(
        average=np.where(is_absorbable, average, np.nan),
        marginal=np.where(is_absorbable, marginal, np.nan),
        is_absorbable=is_absorbable,
        depth_usd=float(depth[-1] * book.mid_usd),
        average_at_depth=float(cost[-1] / (depth[-1] * book.mid_usd)),
    )


def sizes(notional_usd: ArrayLike) -> Floats:
    """Return sizes as an array.

    Raises
    ------
    ValueError
        Where one is negative or not a finite number; names it.
    """
    size = np.asarray(notional_usd, dtype=np.float64)
    is_bad = ~(np.isfinite(size) & (size >= 0))
    if is_bad.any():
        raise ValueError(f"notional_usd {size[is_bad].flat[0]:g}: a finite size in USD, not negative")
    return size
