"""Boosting: gradient-boosted quantiles of the day's adverse excursion in units of the volatility forecast.

What lives here: the quarterly walk-forward over a panel of markets, and what each group of features adds. What does
not: features (``features``), the fit of one quantile and its tuning (``trees``), coverage held by an overlay
(``conformal``), which model is in use.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plimsoll.challengers import features as lagged
from plimsoll.challengers.panel import FORECAST_COLUMNS, SIDES
from plimsoll.challengers.trees import BoostingSpec, Sample, Tuned, cuts, daily_scores, frozen, is_enough, tune

Floats = NDArray[np.float64]
Dates = NDArray[np.datetime64]

MODEL = "quantile_boosting"
EXCURSION_OF_SIDE = {"long": "low_log", "short": "high_log"}
IMPORTANCE_COLUMNS = (
    "side",
    "tail_probability_bps",
    "group",
    "feature_count",
    "iterations",
    "dates",
    "score_sigma",
    "frozen_score_sigma",
    "increase_share",
    "p_value",
)
WITHOUT_FEATURES = "all features"
"""Name of the group that holds every feature: what is left is the pooled empirical quantile."""


@dataclass(frozen=True)
class Walk:
    """Forecasts and what is behind them.

    Attributes
    ----------
    forecasts
        ``FORECAST_COLUMNS``: one row a target, side and probability, in the order of the targets; positive log losses.
    fits
        One row a refit, side and probability: the span, the chosen shape, its score on the forward blocks beside that
        of the pooled empirical quantile (in sigmas), and the mean excess ratio behind the shortfall.
    absent
        Optional panel columns that were not there, so that their features were left out.
    """

    forecasts: pd.DataFrame
    fits: pd.DataFrame
    absent: tuple[str, ...]


def forecasts(
    panel: pd.DataFrame,
    targets: pd.DataFrame,
    spec: BoostingSpec | None = None,
    *,
    outcomes: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Forecast the adverse excursion's quantiles: the table of `walk`, without what is behind it."""
    return walk(panel, targets, spec, outcomes=outcomes).forecasts


def walk(
    panel: pd.DataFrame,
    targets: pd.DataFrame,
    spec: BoostingSpec | None = None,
    *,
    outcomes: pd.DataFrame | None = None,
) -> Walk:
    r"""Walk boosted quantiles of the adverse excursion forward, refitted for each calendar quarter.

    The model learns the residual excursion, pooled over markets, one model a side and probability,

    .. math:: y_t = \ln\max(A_t/\sigma_t,\ f), \qquad \hat q_p = \sigma_t\,e^{\hat y_{1-p}(x_{t-1})},

    so that the volatility forecast stays the base. An excursion that is not positive (the low stayed above the last
    close) has no logarithm and counts as the floor f. Neither the pinball loss's gradient nor an upper quantile within
    a leaf asks how far below the quantile a value lies, so that any floor below the forecasts gives the same forecasts.

    A quarter's models are fitted on targets before it, less the last ``horizon_sessions`` sessions. Their shape is
    chosen on forward blocks of dates inside that span, each behind an equal gap, by the mean over dates of the mean
    over markets of the quantile score in sigmas; the simplest candidate wins a tie. Quantiles of one target are put in
    order by rearrangement. The shortfall is the quantile times the mean of realised over forecast at the exceedances
    of the forward blocks, which the fits that forecast them had not seen.

    Parameters
    ----------
    panel
        ``symbol, as_of, target_date, sigma_daily, close_log, low_log, high_log`` and any of
        ``features.OPTIONAL_COLUMNS``, ordered by target date and symbol.
    targets
        ``symbol, as_of, target_date, sigma_daily``; any subset gives the same rows as the whole, to the bit.
    spec
        Knobs; `BoostingSpec` by default.
    outcomes
        What to forecast if not the one-day excursion: ``symbol, target_date, low_log, high_log`` with a window that
        starts on the target date and lasts at most ``horizon_sessions`` sessions. By default those of the panel.

    Returns
    -------
    Walk
        NaN where fewer than ``minimum_rows`` rows or ``minimum_dates`` dates are known, where sigma is not positive,
        where a quantile does not lie above the floor, and where a target's ``as_of`` lies before the last training
        target; no shortfall below ``minimum_exceedances`` exceedances.

    Raises
    ------
    ValueError
        For a panel, targets or outcomes that cannot be what they say; names the row.

    Notes
    -----
    Trees are grown on one thread: the sums are then made in one order, and threads that wait for a busy core cost more
    than they give. Source: Friedman 2001 for boosting; Koenker and Bassett 1978 for the loss; Chernozhukov,
    Fernandez-Val and Galichon 2010 for the rearrangement; Bergmeir and Benitez 2012 for blocked validation.
    """
    knobs = spec or BoostingSpec()
    lagged.check_targets(targets)
    x_panel = lagged.build(panel, panel, reference=knobs.reference)
    x_targets = lagged.build(panel, targets, reference=knobs.reference).to_numpy(np.float64)
    samples = {side: _sample(panel, x_panel, outcomes, side, knobs) for side in SIDES}
    sessions = np.unique(panel["target_date"].to_numpy("datetime64[D]"))
    as_of = targets["as_of"].to_numpy("datetime64[D]")
    quarters = _quarter(targets["target_date"].to_numpy("datetime64[D]"))
    sigma = targets["sigma_daily"].to_numpy(np.float64)
    shape = (len(targets), len(SIDES), len(knobs.probabilities_bps))
    quantile, shortfall = np.full(shape, np.nan), np.full(shape, np.nan)
    fits: list[dict[str, object]] = []
    for refit in np.unique(quarters):
        last = _last_training(sessions, refit, knobs.horizon_sessions)
        at = np.flatnonzero((quarters == refit) & (sigma > 0) & np.isfinite(sigma))
        at = at[as_of[at] >= last] if last is not None else at[:0]
        for s, side in enumerate(SIDES):
            for j, bps in enumerate(knobs.probabilities_bps):
                known = samples[side].within(samples[side].dates <= last) if last is not None else None
                tuned = tune(known, bps, knobs) if known is not None and is_enough(known, knobs) else None
                fits.append(_fit_row(refit, side, bps, known, tuned))
                if tuned is not None:
                    quantile[at, s, j] = sigma[at] * np.exp(tuned.fit.predict(x_targets[at]))
                    shortfall[at, s, j] = tuned.excess_ratio
    # At the floor the forecast would be the floor's choice: most days of such a market have no adverse excursion.
    floored = (quantile <= knobs.floor_sigma * (1 + 1e-9) * sigma[:, None, None]).any(axis=2)
    quantile[floored] = np.nan
    quantile = rearranged(quantile)
    shortfall = quantile * shortfall
    whole = np.isfinite(shortfall).all(axis=2)
    shortfall[whole] = rearranged(shortfall[whole])
    return Walk(_as_frame(targets, knobs, quantile, shortfall), pd.DataFrame(fits), lagged.absent(panel))


def rearranged(quantiles: Floats) -> Floats:
    """Put quantiles in order: the last axis runs from frequent to rare, so losses ascend along it.

    Parameters
    ----------
    quantiles
        Positive losses, the last axis over probabilities; NaN stays only where a row has nothing else.

    Raises
    ------
    ValueError
        Where a row holds NaN beside numbers: sorting would move a number to another probability.

    Notes
    -----
    Source: Chernozhukov, Fernandez-Val and Galichon 2010: the sorted curve is nowhere further from the true one.
    """
    unknown = np.isnan(quantiles)
    if (unknown.any(axis=-1) != unknown.all(axis=-1)).any():
        raise ValueError(
            "a row of quantiles holds NaN beside numbers; leave the whole row NaN or fit every probability"
        )
    return np.asarray(np.sort(quantiles, axis=-1), dtype=np.float64)


def importance(
    panel: pd.DataFrame,
    refit_date: str | np.datetime64 | pd.Timestamp,
    spec: BoostingSpec | None = None,
    *,
    outcomes: pd.DataFrame | None = None,
) -> pd.DataFrame:
    r"""Measure what each group of features adds: the score lost on the last forward block when it is frozen.

    The training span of the refit is cut once more: shape and trees come from the dates before its last block, the
    block is only judged. Freezing sets a group's features to their training medians. Nothing is shuffled, so that no
    row is asked about a market state that never was in one order and another in the next.

    Parameters
    ----------
    panel, spec, outcomes
        As in `walk`.
    refit_date
        Any day of the quarter whose training span is used.

    Returns
    -------
    DataFrame
        ``IMPORTANCE_COLUMNS``: mean quantile score in sigmas on the block with all features and with the group frozen,
        the increase as a share of the first, and the two-sided p-value of Diebold and Mariano over dates with
        ``horizon_sessions`` lags, NaN where the two do not differ. A tiny shift that is the same every day has a small
        p-value too: read the share first. The group ``all features`` is the pooled empirical quantile: a negative
        increase there says that the trees lost to no features at all. Empty where there is not enough data.

    Notes
    -----
    A group that others can stand in for shows little; the shares do not add up. Source: Fisher, Rudin and Dominici 2019
    for loss-based reliance; Diebold and Mariano 1995.
    """
    from plimsoll.backtests.scores import diebold_mariano

    knobs = spec or BoostingSpec()
    built = lagged.build(panel, panel, reference=knobs.reference)
    sessions = np.unique(panel["target_date"].to_numpy("datetime64[D]"))
    refit = _quarter(np.array([refit_date], dtype="datetime64[D]"))[0]
    last = _last_training(sessions, refit, knobs.horizon_sessions)
    group_of = {one.name: one.group for one in lagged.FEATURES}
    groups = np.array([group_of[name] for name in built.columns])
    rows: list[dict[str, object]] = []
    if last is None:
        return pd.DataFrame(rows, columns=list(IMPORTANCE_COLUMNS))
    for side in SIDES:
        whole = _sample(panel, built, outcomes, side, knobs)
        whole = whole.within(whole.dates <= last)
        if not is_enough(whole, knobs):
            continue
        before, block = cuts(whole.dates, knobs)[-1]
        train, judged = whole.within(before), whole.within(block)
        if not is_enough(train, knobs):
            continue
        for bps in knobs.probabilities_bps:
            tuned = tune(train, bps, knobs)
            score = daily_scores(judged, tuned.fit.predict(judged.x), bps)
            for group in (WITHOUT_FEATURES, *dict.fromkeys(groups)):
                if group == WITHOUT_FEATURES:
                    prediction = np.full(len(judged.y), tuned.fit.constant)
                else:
                    prediction = tuned.fit.predict(frozen(judged.x, train.x, groups == group))
                without = daily_scores(judged, prediction, bps)
                test = diebold_mariano(score - without, lags=knobs.horizon_sessions)
                rows.append(
                    {
                        "side": side,
                        "tail_probability_bps": bps,
                        "group": str(group),
                        "feature_count": len(groups) if group == WITHOUT_FEATURES else int((groups == group).sum()),
                        "iterations": tuned.iterations,
                        "dates": len(score),
                        "score_sigma": float(score.mean()),
                        "frozen_score_sigma": float(without.mean()),
                        "increase_share": float(without.mean() / score.mean() - 1),
                        "p_value": np.nan if test.p_value is None else test.p_value,
                    }
                )
    return pd.DataFrame(rows, columns=list(IMPORTANCE_COLUMNS))


def _quarter(dates: Dates) -> Dates:
    """First day of each date's calendar quarter."""
    months = dates.astype("datetime64[M]").astype(np.int64)
    return np.asarray((months // 3 * 3).astype("datetime64[M]").astype("datetime64[D]"))


def _last_training(sessions: Dates, refit: np.datetime64, horizon: int) -> np.datetime64 | None:
    """Last training target: ``horizon`` sessions lie between it and the refit; None where there is none."""
    before = int(np.searchsorted(sessions, refit, side="left"))
    return sessions[before - 1 - horizon] if before > horizon else None


def _sample(
    panel: pd.DataFrame, built: pd.DataFrame, outcomes: pd.DataFrame | None, side: str, spec: BoostingSpec
) -> Sample:
    column = EXCURSION_OF_SIDE[side]
    if outcomes is None:
        excursion = panel[column].to_numpy(np.float64)
    else:
        wanted = outcomes[["symbol", "target_date", column]].rename(columns={column: "outcome"})
        joined = panel[["symbol", "target_date"]].merge(
            wanted, on=["symbol", "target_date"], how="left", validate="one_to_one"
        )
        excursion = joined["outcome"].to_numpy(np.float64)
    sigma = panel["sigma_daily"].to_numpy(np.float64)
    known = np.isfinite(excursion) & (sigma > 0) & np.isfinite(sigma)
    y = np.log(np.maximum(excursion[known] / sigma[known], spec.floor_sigma))
    dates = panel["target_date"].to_numpy("datetime64[D]")
    return Sample(built.to_numpy(np.float64)[known], y, dates[known])


def _fit_row(
    refit: np.datetime64, side: str, bps: int, sample: Sample | None, tuned: Tuned | None
) -> dict[str, object]:
    is_known = sample is not None and len(sample.y) > 0
    return {
        "refit_date": refit,
        "side": side,
        "tail_probability_bps": bps,
        "last_training_date": sample.dates[-1] if sample is not None and is_known else np.datetime64("NaT"),
        "rows": len(sample.y) if sample is not None else 0,
        "dates": len(np.unique(sample.dates)) if sample is not None else 0,
        "leaves": tuned.candidate.leaves if tuned else pd.NA,
        "minimum_leaf": tuned.candidate.minimum_leaf if tuned else pd.NA,
        "learning_rate": tuned.candidate.learning_rate if tuned else np.nan,
        "iterations": tuned.iterations if tuned else pd.NA,
        "score_sigma": tuned.score if tuned else np.nan,
        "constant_score_sigma": tuned.constant_score if tuned else np.nan,
        "exceedances": tuned.exceedances if tuned else pd.NA,
        "excess_ratio": tuned.excess_ratio if tuned else np.nan,
    }


def _as_frame(targets: pd.DataFrame, spec: BoostingSpec, quantile: Floats, shortfall: Floats) -> pd.DataFrame:
    n, each = len(targets), len(SIDES) * len(spec.probabilities_bps)

    def spread(values: Sequence[object] | pd.Series) -> NDArray[np.object_]:
        return np.repeat(np.asarray(values), each)

    out = pd.DataFrame({name: spread(targets[name]) for name in ("symbol", "as_of", "target_date")})
    out["side"] = np.tile(np.repeat(np.asarray(SIDES), len(spec.probabilities_bps)), n)
    out["model"] = MODEL
    out["tail_probability_bps"] = np.tile(np.asarray(spec.probabilities_bps, dtype=np.int64), n * len(SIDES))
    out["quantile_log"] = quantile.reshape(-1)
    out["shortfall_log"] = shortfall.reshape(-1)
    return out[list(FORECAST_COLUMNS)]
