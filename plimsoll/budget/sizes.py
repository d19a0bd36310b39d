"""One day's budget over many sizes: what tiers, caps and depth are made from.

What lives here: the budget of one row at any notional. What does not: tiers (``tiers``), caps (``caps``), the walk over
days (``walk``).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from plimsoll.budget.spec import BudgetSpec, ProductSpec
from plimsoll.budget.walk import budget_slippage, budget_terms

Floats = NDArray[np.float64]
Costs = Callable[[Floats], dict[str, Floats]]
"""Sizes in USD to the columns ``slippage_book`` and ``slippage_pool`` of the budget."""


@dataclass(frozen=True)
class SizeBudget:
    r"""The log loss budget of one market, product, side and day as a function of size, :math:`\Lambda(N)`.

    Attributes
    ----------
    day
        One row of what ``walk_budget`` takes.
    product, side, spec
        As there.
    costs
        Slippage of books and pools by size, or None where the law is all there is.
    """

    day: pd.DataFrame
    product: ProductSpec
    side: str
    spec: BudgetSpec
    costs: Costs | None = None

    def terms(self, notional_usd: ArrayLike) -> pd.DataFrame:
        """Return the parts of the budget of each size, as `walk.budget_terms`, in the order asked for.

        Raises
        ------
        ValueError
            Where the budget is not that of one day, or a size is not positive.
        """
        return budget_terms(self._rows(notional_usd), self.product, self.side, self.spec)

    def slippage(self, notional_usd: ArrayLike) -> Floats:
        """Return the slippage of each size, fraction; NaN where it cannot be absorbed by itself."""
        return budget_slippage(self._rows(notional_usd), self.product, self.spec)

    def _rows(self, notional_usd: ArrayLike) -> pd.DataFrame:
        sizes = np.atleast_1d(np.asarray(notional_usd, dtype=np.float64))
        if len(self.day) != 1:
            raise ValueError(f"{len(self.day)} days: the budget over sizes is that of one day")
        if not (np.isfinite(sizes) & (sizes > 0)).all():
            raise ValueError(f"sizes {sizes.tolist()}: must be positive and finite")
        many = self.day.loc[self.day.index.repeat(len(sizes))].reset_index(drop=True)
        return many.assign(notional_usd=sizes, **(self.costs(sizes) if self.costs is not None else {}))

    def __call__(self, notional_usd: ArrayLike) -> Floats:
        """Return the budget of each size, log; NaN where the size cannot be absorbed or data are missing."""
        return self.terms(notional_usd)["lambda_total"].to_numpy(np.float64)
