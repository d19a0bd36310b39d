"""Budget: the log loss budget of a market, product, side and size, and the parameters that follow.

What lives here: what it is asked for (``spec``), the walk over days (``walk``), one day over many sizes (``sizes``).
What does not: closed forms (``liquidation``), rounding (``thresholds``), tiers and caps (``tiers``, ``caps``).
"""

from plimsoll.budget.sizes import Costs, SizeBudget
from plimsoll.budget.spec import BudgetSpec, ProductSpec
from plimsoll.budget.walk import IMPLAUSIBLE_SIGMA, LARGEST_MOVE, PARTS, budget_terms, walk_budget

__all__ = [
    "IMPLAUSIBLE_SIGMA",
    "LARGEST_MOVE",
    "PARTS",
    "BudgetSpec",
    "Costs",
    "ProductSpec",
    "SizeBudget",
    "budget_terms",
    "walk_budget",
]
