"""Admission: which estimates of slippage may speak for a size on a day, and the largest of them.

What lives here: the newest snapshot that a day may use, why an estimate may not speak, the binding one. What does not:
the estimates (``books``, ``liquidation.square_root_impact``), the budget.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from plimsoll import liquidation
from plimsoll.slippage.books import STRESS_HAIRCUT, Floats, OrderBook, sizes, walk_book

Texts = NDArray[np.object_]

BOOK, LAW = "order_book", "square_root"
MAXIMUM_AGE_DAYS = 3.0
MID_TOLERANCE = 0.2
"""Distance of a book's mid from the market's close beyond which it is another asset's, or another currency's."""
DAY = pd.Timedelta(days=1)


@dataclass(frozen=True, eq=False)
class Estimate:
    """One estimate of what closing sizes costs; arrays of the sizes' shape.

    Attributes
    ----------
    name
        ``order_book``, ``square_root`` or what a caller calls its own.
    value
        Fraction; NaN where it may not speak.
    at_least
        Fraction below which no larger size may fall, where this one ends before the size does; else NaN.
    source
        What it was read from, e.g. venue and time; empty for laws.
    note
        Why it may not speak, empty where it does.
    """

    name: str
    value: Floats
    at_least: Floats
    source: Texts
    note: Texts


@dataclass(frozen=True, eq=False)
class BookEstimate(Estimate):
    """What order books say of sizes.

    Attributes
    ----------
    average, marginal
        Over the whole size, and of its last unit; NaN where no venue takes the size.
    is_exhausted
        There are books for the day, and none of them takes the size.
    """

    average: Floats
    marginal: Floats
    is_exhausted: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Slippage:
    """The slippage of sizes and where it comes from.

    Attributes
    ----------
    value
        Fraction; NaN where no estimate may speak.
    binding
        Name of the estimate that it is, ``... (at least)`` where depth ended and kept it from falling, ``none`` where
        there is none.
    note
        Which estimates may not speak and why, empty where all do.
    """

    value: Floats
    binding: Texts
    note: Texts


def law_estimate(
    *, sigma_daily: ArrayLike, notional_usd: ArrayLike, adv_usd: ArrayLike, coefficient: float
) -> Estimate:
    """Return the peak of the square-root law as an estimate, see `liquidation.square_root_impact`.

    It may not speak where volatility or traded volume is unknown or not positive.
    """
    sigma, size, adv = np.broadcast_arrays(
        np.asarray(sigma_daily, dtype=np.float64), sizes(notional_usd), np.asarray(adv_usd, dtype=np.float64)
    )
    note = _same("", sigma.shape)
    note[~(sigma > 0)] = "volatility unknown"
    note[~(adv > 0)] = "traded volume unknown"
    with np.errstate(divide="ignore", invalid="ignore"):
        peak = liquidation.square_root_impact(
            sigma_daily=sigma, notional_usd=size, adv_usd=adv, coefficient=coefficient
        )
    value = np.where(note == "", peak, np.nan)
    return Estimate(LAW, value, np.full(value.shape, np.nan), _same("", value.shape), note)


def slippage_of(
    books: Sequence[OrderBook],
    symbol: str,
    side: str,
    notional_usd: ArrayLike,
    as_of: date,
    *,
    max_age_days: float = MAXIMUM_AGE_DAYS,
    haircut: float = STRESS_HAIRCUT,
    price_usd: float | None = None,
) -> BookEstimate:
    r"""Return what the books that a day may use say of closing sizes.

    Parameters
    ----------
    books
        Any number, of any market, venue and time; the order says nothing.
    symbol
        Market.
    side
        ``long`` (sold into bids) or ``short`` (bought from asks).
    notional_usd
        N, any shape.
    as_of
        Day at whose end, 24:00 UTC, the estimate is made. Of each venue its newest snapshot before then counts, if it
        is at most ``max_age_days`` old.
    max_age_days, haircut
        Oldest age, and the share of depth that is taken to be gone.
    price_usd
        The market's close of the day; where known, a book whose mid lies more than `MID_TOLERANCE` from it may not
        speak.

    Returns
    -------
    BookEstimate
        ``value`` is the average cost, :math:`1 - VWAP(N)/mid`. A size goes to one venue: the cheapest of those that
        take it whole, since nobody knows whether depth shown on two venues is there twice. Where none takes it,
        ``value`` is NaN and ``at_least`` the cost of the largest size that one takes.

    Raises
    ------
    ValueError
        For another side, a haircut outside [0, 1) or a size that is negative.
    """
    size = sizes(notional_usd)
    chosen, refused = _admissible(books, symbol, pd.Timestamp(as_of) + DAY, max_age_days, price_usd)
    shape = size.shape
    average, marginal = np.full(shape, np.nan), np.full(shape, np.nan)
    source = _same("", shape)
    deepest, at_depth = 0.0, float("nan")
    for book in chosen:
        walked = walk_book(book, size, side, haircut=haircut)
        is_cheaper = walked.is_absorbable & ~(average <= walked.average)
        average, marginal = (
            np.where(is_cheaper, new, old) for new, old in ((walked.average, average), (walked.marginal, marginal))
        )
        source[is_cheaper] = f"{book.venue} {book.at:%Y-%m-%d %H:%M:%S}"
        if walked.depth_usd > deepest:
            deepest, at_depth = walked.depth_usd, walked.average_at_depth
    is_known = np.isfinite(average)
    is_exhausted = ~is_known & bool(chosen)
    words = f"exhausted: {deepest:,.0f} USD are there after a haircut of {haircut:g}" if chosen else refused
    note = np.where(is_known, _same("", shape), _same(words, shape))
    at_least = np.where(is_exhausted, at_depth, np.nan)
    return BookEstimate(BOOK, average.copy(), at_least, source, note, average, marginal, is_exhausted)


def largest_admissible(estimates: Sequence[Estimate]) -> Slippage:
    r"""Take the largest of the estimates that may speak, :math:`s = \max_i s_i`.

    Parameters
    ----------
    estimates
        At least one; shapes broadcast. Of equal ones the first is named.

    Returns
    -------
    Slippage
        A book that ended before the size is no estimate, but keeps the others from falling below what its last size
        cost: else a size just beyond the depth would be cheaper than one just within.

    Raises
    ------
    ValueError
        Without an estimate.
    """
    if not estimates:
        raise ValueError("no estimate of slippage: give at least one")
    shape = np.broadcast_shapes(*(one.value.shape for one in estimates))
    value = np.full(shape, np.nan)
    binding, note = _same("none", shape), _same("", shape)
    for one in estimates:
        new = np.broadcast_to(one.value, shape)
        is_larger = np.isfinite(new) & ~(new <= value)
        value, binding = np.where(is_larger, new, value), np.where(is_larger, _same(one.name, shape), binding)
        note = _joined(note, np.broadcast_to(one.note, shape), one.name)
    for one in estimates:
        bound = np.broadcast_to(one.at_least, shape)
        is_larger = bound > value
        value = np.where(is_larger, bound, value)
        binding = np.where(is_larger, _same(f"{one.name} (at least)", shape), binding)
    return Slippage(value, binding, note)


def _admissible(
    books: Sequence[OrderBook], symbol: str, close: pd.Timestamp, max_age_days: float, price_usd: float | None
) -> tuple[list[OrderBook], str]:
    """Return each venue's newest book that may speak, by venue; and why there is none."""
    newest: dict[str, OrderBook] = {}
    for book in books:
        if book.symbol == symbol and book.at < close:
            kept = newest.get(book.venue)
            if kept is None or book.at > kept.at:
                newest[book.venue] = book
    chosen, refused = [], []
    for _, book in sorted(newest.items()):
        age = (close - book.at) / DAY
        is_far = price_usd is not None and price_usd > 0 and abs(book.mid_usd / price_usd - 1) > MID_TOLERANCE
        if age > max_age_days:
            refused.append(f"too old: {book.venue} {age:.1f} days, more than {max_age_days:g}")
        elif is_far:
            refused.append(
                f"{book.venue}: mid {book.mid_usd:g} lies far from the price {price_usd:g}; same asset and USD?"
            )
        else:
            chosen.append(book)
    return chosen, "; ".join(refused) or "no book"


def _same(text: str, shape: tuple[int, ...]) -> Texts:
    found = np.empty(shape, dtype=object)
    found[...] = text
    return found


def _joined(notes: Texts, more: Texts, name: str) -> Texts:
    found = _same("", notes.shape)
    for at in np.ndindex(notes.shape):
        told = [str(notes[at])] if notes[at] else []
        found[at] = "; ".join([*told, f"{name}: {more[at]}"] if more[at] else told)
    return found
