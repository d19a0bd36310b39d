"""Differences: what a change of method or configuration does to numbers, verdicts and decisions.

What lives here: laying two sides' rows beside each other by key, counting the days on which they differ, and by how
much. Every difference is the second side less the first. What does not: which sides there are and where their rows
come from, how differences look.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

PARAMETERS = {
    "lending": {"lt": "lt_bps", "ltv": "ltv_bps", "bonus": "bonus_bps"},
    "perpetual": {"mm": "mm_bps", "im": "im_bps", "max_leverage": "max_leverage"},
}
"""Parameters of a product and the columns that hold them: basis points, leverage as whole times."""
MEANS = ("k", "sigma_eff_daily")
MEDIANS = ("lambda_move", "lambda_oracle", "lambda_slippage", "lambda_fee", "lambda_model", "lambda_total")
POOLED = "POOLED"
COUNTS = ("days_different", "days_first_withholds", "days_second_withholds", "days_status_different")

USE = ["symbol", "product", "side"]
DAY = [*USE, "as_of", "target_date"]
VERDICT = ["scope", "series", "model", "side", "tail_probability_bps"]
DECISION = [*USE, "parameter"]


@dataclass(frozen=True)
class Matched:
    """Rows of two sides, matched by their key.

    Attributes
    ----------
    differing
        Key columns, then ``first_*`` and ``second_*`` of every compared column, one row a key on which the sides do
        not agree; in the order of the key.
    agreeing
        Keys on which they agree.
    moved
        Those among the agreeing whose accompanying figure moved all the same.
    first_only, second_only
        Keys that only one side has; they are in no other count.
    """

    differing: pd.DataFrame
    agreeing: int
    moved: int
    first_only: int
    second_only: int

    @property
    def is_different(self) -> bool:
        """Whether any key that both have differs in anything."""
        return len(self.differing) > 0 or self.moved > 0


def numbers(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Compare published parameters day by day.

    Parameters
    ----------
    first, second
        Threshold rows of the two sides: ``as_of, target_date, symbol, product, side, status`` and the columns of
        `PARAMETERS`. A null value is one that the side withholds.

    Returns
    -------
    DataFrame
        One row a market, product, side and parameter that either side has: ``days`` that both have,
        ``days_different`` on which both publish and not the same, their ``mean_difference`` over all days on which both
        publish and the ``largest_difference`` by size, with its sign and the first day it was seen on (basis points;
        leverage: times; NaN where no day has both), days that only one side withholds, ``days_status_different`` (ok,
        degraded, withheld), days that only one side has at all, and the values of the last day that both have.

    Raises
    ------
    ValueError
        Where a side has a key twice, or a product without known parameters; names it.
    """
    both = _beside(first, second, DAY)
    unknown = sorted(set(both["product"]) - PARAMETERS.keys())
    if unknown:
        raise ValueError(f"product {', '.join(unknown)}: parameters are known of {', '.join(PARAMETERS)}")
    rows = []
    for key, mine in both.groupby(USE, sort=True):
        use = dict(zip(USE, key, strict=True))
        for parameter, column in PARAMETERS[str(use["product"])].items():
            rows.append(use | {"parameter": parameter} | _parameter(mine, column))
    return pd.DataFrame(rows)


def _parameter(rows: pd.DataFrame, column: str) -> dict[str, object]:
    """Count one parameter of one use; ``rows`` in the order of days."""
    known = rows[rows["_merge"] == "both"]
    ours, theirs = (known[f"{side}_{column}"].astype("float64") for side in ("first", "second"))
    gap = (theirs - ours).to_numpy()
    published = np.isfinite(gap)
    at = int(np.argmax(np.abs(gap[published]))) if published.any() else -1
    day = known["as_of"].to_numpy()[published]
    return {
        "unit": "times" if column == "max_leverage" else "bps",
        "days": len(known),
        "days_different": int((gap[published] != 0).sum()),
        "mean_difference": float(gap[published].mean()) if at >= 0 else np.nan,
        "largest_difference": float(gap[published][at]) if at >= 0 else np.nan,
        "largest_on": pd.Timestamp(day[at]) if at >= 0 else pd.NaT,
        "days_first_withholds": int((ours.isna() & theirs.notna()).sum()),
        "days_second_withholds": int((ours.notna() & theirs.isna()).sum()),
        "days_status_different": int((known["first_status"] != known["second_status"]).sum()),
        "days_first_only": int((rows["_merge"] == "left_only").sum()),
        "days_second_only": int((rows["_merge"] == "right_only").sum()),
        "last_day": known["as_of"].max() if len(known) else pd.NaT,
        "first_value": float(ours.iloc[-1]) if len(known) else np.nan,
        "second_value": float(theirs.iloc[-1]) if len(known) else np.nan,
    }


def changed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `numbers` or `budget` in which anything differs on a day that both sides have."""
    counts = [name for name in COUNTS if name in rows]
    return rows[(rows[counts] > 0).any(axis=1)] if len(rows) else rows


def budget(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Compare what the parameters come from: the quantile, volatility and the parts of the loss budget.

    Parameters
    ----------
    first, second
        Threshold rows as in `numbers`, with the columns of `MEANS` and `MEDIANS`.

    Returns
    -------
    DataFrame
        One row a scope (market, or POOLED over all), product, side and quantity: ``days`` (market-days) on which both
        sides know it, ``days_different``, and mean (of k in sigmas and of volatility as a fraction a day) or median (of
        the budget's parts, log) of either side over those days, with ``difference``, the second less the first. NaN
        where no day has both.

    Raises
    ------
    ValueError
        Where a side has a key twice; names it.
    """
    both = _beside(first, second, DAY)
    known = both[both["_merge"] == "both"]
    rows = []
    for scope, scoped in [(POOLED, known), *known.groupby("symbol", sort=True)]:
        for key, mine in scoped.groupby(["product", "side"], sort=True):
            for quantity in (*MEANS, *MEDIANS):
                use = {"scope": str(scope), "product": key[0], "side": key[1], "quantity": quantity}
                rows.append(use | _quantity(mine, quantity))
    return pd.DataFrame(rows)


def _quantity(rows: pd.DataFrame, quantity: str) -> dict[str, object]:
    ours, theirs = (rows[f"{side}_{quantity}"].to_numpy(np.float64, na_value=np.nan) for side in ("first", "second"))
    known = np.isfinite(ours) & np.isfinite(theirs)
    statistic = "mean" if quantity in MEANS else "median"
    before, after = np.nan, np.nan
    if known.any():
        of = np.mean if statistic == "mean" else np.median
        before, after = float(of(ours[known])), float(of(theirs[known]))
    return {
        "statistic": statistic,
        "days": int(known.sum()),
        "days_different": int((ours[known] != theirs[known]).sum()),
        "first": before,
        "second": after,
        "difference": after - before,
    }


def verdicts(first: pd.DataFrame, second: pd.DataFrame) -> Matched:
    """Compare coverage verdicts of one day.

    Parameters
    ----------
    first, second
        Coverage rows: ``scope, series, model, side, tail_probability_bps, exception_rate, verdict``.

    Returns
    -------
    Matched
        Sides agree where the verdict is the same; ``moved`` counts those of them that have another rate.

    Raises
    ------
    ValueError
        Where a side has a key twice; names it.
    """
    return _matched(first, second, VERDICT, ["verdict"], ["exception_rate"])


def decisions(first: pd.DataFrame, second: pd.DataFrame) -> Matched:
    """Compare what would be proposed on one day.

    Parameters
    ----------
    first, second
        Recommendation rows: ``symbol, product, side, parameter, in_force, target, proposed, status``.

    Returns
    -------
    Matched
        Sides agree where status, value in force and value proposed are the same; ``moved`` counts those of them whose
        target moved, which the status then hides (held, or within hysteresis).

    Raises
    ------
    ValueError
        Where a side has a key twice; names it.
    """
    return _matched(first, second, DECISION, ["status", "in_force", "proposed"], ["target"])


def _matched(
    first: pd.DataFrame, second: pd.DataFrame, key: list[str], judged: Sequence[str], beside: Sequence[str]
) -> Matched:
    both = _beside(first[[*key, *judged, *beside]], second[[*key, *judged, *beside]], key)
    known = both[both["_merge"] == "both"]
    is_other, is_moved = (_differ(known, names) for names in (judged, beside))
    columns = [f"{side}_{name}" for name in (*beside, *judged) for side in ("first", "second")]
    return Matched(
        differing=known.loc[is_other, [*key, *columns]].reset_index(drop=True),
        agreeing=int((~is_other).sum()),
        moved=int((is_moved & ~is_other).sum()),
        first_only=int((both["_merge"] == "left_only").sum()),
        second_only=int((both["_merge"] == "right_only").sum()),
    )


def _differ(rows: pd.DataFrame, names: Sequence[str]) -> pd.Series:
    """Whether any column differs; two unknown values do not."""
    out = pd.Series(data=False, index=rows.index)
    for name in names:
        ours, theirs = rows[f"first_{name}"], rows[f"second_{name}"]
        same = (ours == theirs).fillna(value=False).astype(bool)
        out |= ~(same | (ours.isna() & theirs.isna()))
    return out


def _beside(first: pd.DataFrame, second: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """Every key of either side in order, with ``first_*``, ``second_*`` and who has it in ``_merge``."""
    sides = []
    for name, frame in (("first", first), ("second", second)):
        twice = frame[frame.duplicated(key)]
        if len(twice):
            raise ValueError(f"{name} side: {twice.iloc[0][key].to_dict()} stands more than once")
        sides.append(frame.rename(columns={one: f"{name}_{one}" for one in frame.columns if one not in key}))
    both = sides[0].merge(sides[1], on=key, how="outer", indicator=True)
    return both.sort_values(key, kind="stable", ignore_index=True)
