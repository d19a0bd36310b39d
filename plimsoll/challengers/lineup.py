"""Lineup: all models asked about the same days, and their answers one row a market, day, side and model.

What lives here: sending each model its targets, order of quantiles, the wide table and its way back. What does not: the
models, scores (``contest``).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from plimsoll.challengers import boosting, classical
from plimsoll.challengers.contest import quarter_starts
from plimsoll.challengers.panel import FORECAST_COLUMNS, PROBABILITIES_BPS, REFUSAL_COLUMNS

MODELS = (*classical.MODELS, boosting.MODEL)
KEYS = ["symbol", "as_of", "target_date", "side", "model"]
QUANTILES = [f"quantile_p{bps}_log" for bps in PROBABILITIES_BPS]
SHORTFALLS = [f"shortfall_p{bps}_log" for bps in PROBABILITIES_BPS]
CROSSED = "quantiles had crossed and were put in order"
SILENT = "not enough data"
_BY_QUARTER = ("quantile_boosting", "caviar_as", "caviar_ig", "caviar_sav", "caviar_adaptive")
"""Models whose cost is the fits of a quarter, the dearest first."""


def answers(
    panel: pd.DataFrame, targets: pd.DataFrame, *, models: Sequence[str], seed: int, threads: int = 1
) -> pd.DataFrame:
    """Ask every model about every target.

    Parameters
    ----------
    panel
        As `panel.excursion_panel` gives it, with any of ``features.OPTIONAL_COLUMNS``.
    targets
        ``symbol, as_of, target_date, sigma_daily``.
    models
        Among ``MODELS``.
    seed
        Of random starts.
    threads
        Models and quarters worked on at once; no number depends on it.

    Returns
    -------
    DataFrame
        ``KEYS``, then quantiles and shortfalls by probability, ``sigma_daily`` and ``note``, ordered by target date,
        symbol, side and model. A target's rows are the same whichever others are asked about, and depend on nothing
        after its ``as_of``. Where a model's quantiles cross they are put in order, the shortfalls with them, and the
        note says so; where one of them is missing they stay as they are.

    Raises
    ------
    ValueError
        For an unknown model, and whatever the models refuse.

    Notes
    -----
    Source of the rearrangement: Chernozhukov, Fernandez-Val and Galichon 2010.
    """
    unknown = sorted(set(models) - set(MODELS))
    if unknown:
        raise ValueError(f"models {', '.join(unknown)} are unknown; choose among {', '.join(MODELS)}")
    quarters = quarter_starts(targets["target_date"])
    jobs = [
        (name, targets[quarters == quarter])
        for name in _BY_QUARTER
        if name in models
        for quarter in quarters.unique().sort_values()
    ]
    jobs += [(name, targets) for name in models if name not in _BY_QUARTER]
    with ThreadPoolExecutor(max(1, threads)) as pool:
        walked = list(pool.map(lambda job: _asked(*job, panel=panel, seed=seed), jobs))
    forecasts = pd.concat([one for one, _ in walked], ignore_index=True)
    refused = pd.concat([two for _, two in walked], ignore_index=True)
    return _wide(forecasts, refused, targets)


def _asked(name: str, targets: pd.DataFrame, *, panel: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    if name == boosting.MODEL:
        return boosting.forecasts(panel, targets), pd.DataFrame(columns=list(REFUSAL_COLUMNS))
    found = classical.walk(name, panel, targets, seed=seed)
    return found.forecasts, found.refusals


def _wide(forecasts: pd.DataFrame, refused: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
    names = [*KEYS, "tail_probability_bps"]
    ordered = forecasts.sort_values(names, ascending=[*[True] * len(KEYS), False], kind="stable")
    quantile, shortfall = (
        ordered[name].to_numpy(np.float64).reshape(-1, len(PROBABILITIES_BPS)).copy()
        for name in ("quantile_log", "shortfall_log")
    )
    whole = np.isfinite(quantile).all(axis=1)
    crossed = whole & (np.diff(quantile, axis=1) < 0).any(axis=1)
    quantile[crossed] = boosting.rearranged(quantile[crossed])
    stated = crossed & np.isfinite(shortfall).all(axis=1)
    shortfall[stated] = boosting.rearranged(shortfall[stated])
    shortfall[crossed & ~stated] = np.nan
    rows = ordered[KEYS].iloc[:: len(PROBABILITIES_BPS)].reset_index(drop=True)
    rows[QUANTILES], rows[SHORTFALLS] = quantile, shortfall
    rows["note"] = np.where(crossed, CROSSED, np.where(whole, "", SILENT))
    rows = _with_reasons(rows, refused, whole)
    sigma = targets[["symbol", "target_date", "sigma_daily"]]
    rows = rows.merge(sigma, on=["symbol", "target_date"], how="left", validate="many_to_one")
    order = ["target_date", "symbol", "side", "model"]
    return rows.sort_values(order, kind="stable", ignore_index=True)[
        [*KEYS, *QUANTILES, *SHORTFALLS, "sigma_daily", "note"]
    ]


def _with_reasons(rows: pd.DataFrame, refused: pd.DataFrame, whole: np.ndarray) -> pd.DataFrame:
    """Put the reason of a refused fit beside the days that it left without an answer."""
    if refused.empty or whole.all():
        return rows
    quarter = quarter_starts(rows["as_of"])
    told = refused.assign(quarter=quarter_starts(refused["fit_end"]))
    reasons = {
        (symbol, model, start, side): "; ".join(dict.fromkeys(group["reason"]))
        for (symbol, model, start, side), group in told.groupby(["symbol", "model", "quarter", "side"], sort=True)
    }
    notes = rows["note"].tolist()
    for at in np.flatnonzero(~whole):
        row = rows.iloc[at]
        keys = [(row["symbol"], row["model"], quarter[int(at)], side) for side in (row["side"], "")]
        found = [reasons[key] for key in keys if key in reasons]
        notes[at] = found[0] if found else SILENT
    return rows.assign(note=notes)


def long_form(rows: pd.DataFrame) -> pd.DataFrame:
    """Lay stored answers out as the models gave them: ``panel.FORECAST_COLUMNS``."""
    frames = [
        rows[KEYS].assign(tail_probability_bps=bps, quantile_log=rows[quantile], shortfall_log=rows[shortfall])
        for bps, quantile, shortfall in zip(PROBABILITIES_BPS, QUANTILES, SHORTFALLS, strict=True)
    ]
    return pd.concat(frames, ignore_index=True)[list(FORECAST_COLUMNS)]
