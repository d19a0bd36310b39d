"""Disagreement: what is added to a budget when champion and challenger see different risk.

What lives here: the gate, the model-risk margin and the sentence about it. What does not: the challengers, and when one
is promoted.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

WIDEST_RATIO = 1.25
"""Budgets within this factor of each other, 0.8 to 1.25, agree."""
EXACT = 1e-12
"""Distance of log ratios that is rounding."""


@dataclass(frozen=True)
class Disagreement:
    """Champion against challenger, row by row.

    Attributes
    ----------
    ratio
        Champion's budget over the challenger's; NaN where either is unknown.
    margin_log
        Model-risk margin to add to the champion's budget; 0 where they agree, NaN where there is no ratio.
    is_amber
        Whether they disagree; False where there is no ratio, which is not the same as agreement.
    """

    ratio: Floats
    margin_log: Floats
    is_amber: Booleans


def disagreement(champion: ArrayLike, challenger: ArrayLike) -> Disagreement:
    r"""Judge two budgets.

    .. math:: \lambda_m = \tfrac12\left|\ln\frac{\Lambda_{champion}}{\Lambda_{challenger}}\right|\Lambda_{champion}
        \text{ where the ratio lies outside } [0.8, 1.25], \text{ else } 0

    Parameters
    ----------
    champion, challenger
        Log loss budgets without a model margin, positive; broadcast. NaN where a model says nothing.

    Returns
    -------
    Disagreement
        Arrays of the common shape.

    Raises
    ------
    ValueError
        Where a budget is not positive: there is no ratio to it.

    Notes
    -----
    The margin is added whichever model asks for more: not to know is a risk by itself. It begins with a step of 11 % of
    the budget at the edge of the gate, half of ln 1.25.
    """
    ours, theirs = np.broadcast_arrays(np.asarray(champion, dtype=np.float64), np.asarray(challenger, dtype=np.float64))
    for name, values in (("champion", ours), ("challenger", theirs)):
        flat = values.reshape(-1)
        bad = np.flatnonzero(flat <= 0)
        if len(bad):
            at = bad[0]
            raise ValueError(f"{name}: budget {flat[at]:g} at position {at} is not positive; withhold that row first")
    ratio = np.asarray(ours / theirs, dtype=np.float64)
    distance = np.abs(np.log(ratio))
    is_amber = np.asarray(distance > np.log(WIDEST_RATIO) + EXACT, dtype=np.bool_)
    margin = np.where(np.isnan(ratio), np.nan, np.where(is_amber, 0.5 * distance * ours, 0.0))
    return Disagreement(ratio, np.asarray(margin, dtype=np.float64), is_amber)


def sentence(champion: float, challenger: float) -> str:
    """Say in one sentence whether two budgets agree and what follows.

    Parameters
    ----------
    champion, challenger
        Log loss budgets; NaN where a model says nothing.
    """
    if np.isnan(champion) or np.isnan(challenger):
        silent = "champion" if np.isnan(champion) else "challenger"
        return f"No comparison: the {silent} gives no budget."
    found = disagreement(champion, challenger)
    ratio, margin = float(found.ratio), float(found.margin_log)
    both = f"champion {champion:.4f}, challenger {challenger:.4f}, ratio {ratio:.2f}"
    if not bool(found.is_amber):
        return f"Champion and challenger agree: {both}."
    return f"Amber: the models disagree ({both}); a model margin of {margin:.4f} is added to the budget."
