"""Look-ahead: whether a forecast would have been another one had the future been another one.

What lives here: an independent future for a panel, and the comparison of a function's outputs before and after. What
does not: any model.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

KEYS = ("symbol", "as_of", "target_date", "side", "model", "tail_probability_bps")
CHANGE_COLUMNS = (*KEYS, "output", "before", "after")
VOLATILITY_FACTOR = 3.0
GAP_SHARE = 0.15
"""Share of the later rows that the other future lacks."""
UNIT_SIGMA_EXCURSION = 0.8
"""Mean distance of an extreme beyond the close in the other future, in its sigmas."""


def other_future(panel: pd.DataFrame, cut: str | np.datetime64 | pd.Timestamp, *, seed: int) -> pd.DataFrame:
    """Replace all a panel says on or after a date by an independent series of three times the volatility, other gaps.

    Parameters
    ----------
    panel
        ``symbol, as_of, target_date, sigma_daily, close_log, low_log, high_log`` and any further columns, ordered by
        target date and symbol.
    cut
        First date that is replaced.
    seed
        Of the draws.

    Returns
    -------
    DataFrame
        Rows before ``cut`` as they are. From then on returns and excursions are drawn anew, further numbers are
        multiplied by a lognormal draw, text changes, and some rows are missing. A row whose ``as_of`` lies before
        ``cut`` keeps its place and its sigma, which were known; a later sigma is drawn anew.

    Raises
    ------
    ValueError
        Where no row lies on or after ``cut``, or none before: nothing would be tested.
    """
    at = np.datetime64(pd.Timestamp(cut), "D")
    target = panel["target_date"].to_numpy("datetime64[D]")
    later = target >= at
    if later.all() or not later.any():
        raise ValueError(f"cut {at}: the panel runs from {target.min()} to {target.max()}; choose a day inside it")
    rng = np.random.default_rng(seed)
    past, rows = panel[~later], panel[later].copy()
    is_unknown = rows["as_of"].to_numpy("datetime64[D]") >= at
    n = len(rows)
    scale = VOLATILITY_FACTOR * float(np.nanstd(past["close_log"].to_numpy(np.float64)))
    close = scale * rng.standard_normal(n)
    drawn = {
        "close_log": close,
        "low_log": np.maximum(-close, 0) + scale * rng.exponential(UNIT_SIGMA_EXCURSION, n),
        "high_log": np.maximum(close, 0) + scale * rng.exponential(UNIT_SIGMA_EXCURSION, n),
    }
    for name in rows.columns:
        if name in drawn:
            rows[name] = drawn[name]
        elif name == "sigma_daily":
            other = VOLATILITY_FACTOR * rows[name].to_numpy(np.float64) * rng.lognormal(0.0, 0.5, n)
            rows[name] = np.where(is_unknown, other, rows[name].to_numpy(np.float64))
        elif name not in KEYS:
            rows[name] = _other(rows[name], rng)
    rows = rows[~(is_unknown & (rng.random(n) < GAP_SHARE))]
    return pd.concat([past, rows], ignore_index=True)


def _other(column: pd.Series, rng: np.random.Generator) -> NDArray[np.float64] | pd.Series:
    if pd.api.types.is_bool_dtype(column.dtype):
        return ~column
    if pd.api.types.is_numeric_dtype(column.dtype):
        values = column.to_numpy(np.float64)
        drawn = VOLATILITY_FACTOR * rng.lognormal(0.0, 1.0, len(values))
        # An absent number must be able to appear too.
        return np.where(np.isfinite(values) & (values != 0), values * drawn, drawn)
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return column + pd.Timedelta(days=1)
    return column.astype(str) + " (other)"


def changed(
    function: Callable[[pd.DataFrame], pd.DataFrame],
    panel: pd.DataFrame,
    cut: str | np.datetime64 | pd.Timestamp,
    *,
    seed: int = 0,
    keys: tuple[str, ...] = KEYS,
) -> pd.DataFrame:
    """List the outputs for target dates up to ``cut`` that know what happened on ``cut`` or later.

    A value for ``cut`` itself may use data before it only, so it is among those compared.

    Parameters
    ----------
    function
        From a panel to a frame with ``target_date``, and any of ``keys``; every other column is an output. It is called
        twice and must make its targets from the panel that it is given, or keep them fixed.
    panel, cut, seed
        As in `other_future`.
    keys
        Columns that name an output's row.

    Returns
    -------
    DataFrame
        ``CHANGE_COLUMNS``, one row an output whose bits differ (two NaN are the same; a row that is there only once
        differs). Empty: no look-ahead was found at this cut.

    Raises
    ------
    ValueError
        Where the function gives no row for a target date up to ``cut``, gives a row twice, or gives only NaN: a
        comparison of nothing proves nothing.
    """
    at = np.datetime64(pd.Timestamp(cut), "D")
    one = _indexed(function(panel.copy()), at, keys)
    other = _indexed(function(other_future(panel, cut, seed=seed)), at, keys)
    outputs = list(dict.fromkeys([*one.columns, *other.columns]))
    if one.empty or not one.notna().any(axis=None):
        raise ValueError(f"nothing known for target dates up to {at}: choose a later cut, so that there is something")
    every = one.index.union(other.index)
    before, after = one.reindex(index=every, columns=outputs), other.reindex(index=every, columns=outputs)
    is_once = np.asarray(~(every.isin(one.index) & every.isin(other.index)))
    found: list[pd.DataFrame] = []
    for name in outputs:
        differs = is_once | ~_same(before[name], after[name])
        if differs.any():
            rows = pd.DataFrame(
                {"output": name, "before": before[name][differs], "after": after[name][differs]}, index=every[differs]
            ).reset_index()
            found.append(rows.astype({"before": object, "after": object}))
    if not found:
        return pd.DataFrame({name: [] for name in CHANGE_COLUMNS})
    table = pd.concat(found, ignore_index=True)
    return table[[name for name in CHANGE_COLUMNS if name in table.columns]]


def _indexed(frame: pd.DataFrame, cut: np.datetime64, keys: tuple[str, ...]) -> pd.DataFrame:
    kept = frame[frame["target_date"].to_numpy("datetime64[D]") <= cut]
    names = [name for name in keys if name in frame.columns]
    table = kept.set_index(names)
    if table.index.has_duplicates:
        twice = table.index[table.index.duplicated()][0]
        raise ValueError(f"the function gives {twice} twice; name the columns that tell its rows apart in keys")
    return table


def _same(one: pd.Series, other: pd.Series) -> NDArray[np.bool_]:
    """Equal values, NaN equal to NaN; numbers bit by bit but for the two zeros and the kinds of NaN."""
    both_absent = (one.isna() & other.isna()).to_numpy(np.bool_)
    equal = one.astype(object).eq(other.astype(object)).to_numpy(np.bool_)
    return np.asarray(both_absent | equal, dtype=np.bool_)
