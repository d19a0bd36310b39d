"""Slippage: what closing a size costs, from displayed depth, pools, laws of impact and proxies.

What lives here: ``books`` walks the levels of an order book, ``pools`` those of a constant product or of concentrated
liquidity, ``laws`` are impact laws that need no depth, ``proxies`` spreads and illiquidity from candles, ``admission``
says which of several estimates may speak for a size and takes the largest. What does not: reading snapshots
(``dagster_project.order_books``), the budget that slippage enters (``plimsoll.budget``).
"""

from plimsoll.slippage.admission import Estimate, Slippage, largest_admissible, law_estimate, slippage_of
from plimsoll.slippage.books import (
    SCENARIO_HAIRCUT,
    STRESS_HAIRCUT,
    BookError,
    BookWalk,
    OrderBook,
    book_of,
    books_of,
    walk_book,
)
from plimsoll.slippage.laws import AlmgrenCost, almgren_cost, average_of_peak
from plimsoll.slippage.pools import PoolWalk, walk_constant_product, walk_ticks
from plimsoll.slippage.proxies import abdi_ranaldo, amihud, corwin_schultz, roll

__all__ = [
    "SCENARIO_HAIRCUT",
    "STRESS_HAIRCUT",
    "AlmgrenCost",
    "BookError",
    "BookWalk",
    "Estimate",
    "OrderBook",
    "PoolWalk",
    "Slippage",
    "abdi_ranaldo",
    "almgren_cost",
    "amihud",
    "average_of_peak",
    "book_of",
    "books_of",
    "corwin_schultz",
    "largest_admissible",
    "law_estimate",
    "roll",
    "slippage_of",
    "walk_book",
    "walk_constant_product",
    "walk_ticks",
]
