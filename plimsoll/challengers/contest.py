r"""Contest: models of the excursion's quantile scored on the same days, quarter by quarter.

What lives here: the scores of a quarter with their intervals, the set that holds the best model, exceedance rates. What
does not: the models, single scores and their comparison (``backtests.scores``), who is promoted (``promotion``).
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plimsoll.backtests import scores
from plimsoll.challengers.panel import FORECAST_COLUMNS, PROBABILITIES_BPS, SIDES

Floats = NDArray[np.float64]

BOTH = "both"
ALL_PROBABILITIES = 0
"""Stands for the tail probability where one number speaks for all of them."""
JOINT_BPS = 100
"""Probability at which quantile and shortfall are scored together."""
LEAST_DATES = 250
LEAST_SHARE = 0.8
"""Share of the rows asked of all models that a model must have judged, or it is left out and keeps nobody else out."""
DRAWS, LEVEL = 999, 0.90
CONTEST_COLUMNS = (
    "quarter_on",
    "side",
    "tail_probability_bps",
    "score",
    "model",
    "champion",
    "dates",
    "observations",
    "mean_score",
    "ratio",
    "ratio_low",
    "ratio_high",
    "difference",
    "dm_statistic",
    "dm_p",
    "is_in_confidence_set",
    "exceedances",
    "exceedance_rate",
    "too_many_p",
    "note",
)


def quarter_starts(days: pd.Series | pd.DatetimeIndex) -> pd.DatetimeIndex:
    """First day of each day's calendar quarter."""
    return pd.DatetimeIndex(pd.DatetimeIndex(days).to_period("Q").to_timestamp())


def window_start(quarter_on: pd.Timestamp, years: int) -> pd.Timestamp:
    """First day that the contest of a quarter looks at."""
    return pd.Timestamp(quarter_on - pd.DateOffset(years=years))


def contest(
    forecasts: pd.DataFrame,
    panel: pd.DataFrame,
    *,
    quarter_on: pd.Timestamp,
    champion: str,
    years: int = 2,
    seed: int = 0,
) -> pd.DataFrame:
    r"""Score all models on the days before a quarter.

    .. math:: S = \frac{1}{D}\sum_d \frac{1}{|M_d|}\sum_{m \in M_d}
              (p - 1\{-x_{md} < -q_{md}\})\,\frac{q_{md} - x_{md}}{\sigma_{md}}, \qquad
              S_{both} = \tfrac16 \sum_{side}\sum_{p} S_{side,p}\,/\,p

    with x the adverse excursion and q the quantile as positive log losses. Divided by its p, a score has the size of an
    expected shortfall, so that the three tails weigh about alike whatever the data.

    Parameters
    ----------
    forecasts
        ``FORECAST_COLUMNS`` of several models.
    panel
        ``symbol, target_date, sigma_daily, low_log, high_log``: what happened.
    quarter_on
        First day of the quarter; only target dates before it count, as far back as ``years``.
    champion
        Model that the others are compared with.
    years
        Length of the window.
    seed
        Of the bootstraps.

    Returns
    -------
    DataFrame
        ``CONTEST_COLUMNS``. One row a model and side, probability and ``score``: ``quantile`` at each probability;
        ``joint`` (FZ0 of quantile and shortfall) at 1 %; and ``quantile`` of side ``both`` at probability 0, the one
        number that promotion goes by. ``ratio`` to the champion's mean score with its 90 % interval (NaN of the joint
        score, whose size depends on the unit; ``difference`` is stated instead), the test of Diebold and Mariano,
        membership of the 90 % model confidence set, and on quantile rows how often the quantile was exceeded, with the
        one-sided p-value of "not more often than stated". Below 250 dates ``note`` says so and the rest is NaN. A model
        that judged less than four fifths of what the champion judged is left out, with a ``note``. Empty where the
        champion judged nothing.

    Raises
    ------
    ValueError
        For a row that stands twice; names it.

    Notes
    -----
    All that count were judged by all: a model's missing days are no advantage to it. Intervals and exceedance tests
    keep the markets of a date together and dates with their neighbours: blocks, and lags, of the cube root of the
    number of dates. Source: Diebold and Mariano 1995; Hansen, Lunde and Nason 2011; Fissler and Ziegel 2016; Patton,
    Ziegel and Chen 2019.
    """
    key = ["symbol", "target_date", "side", "tail_probability_bps", "model"]
    twice = forecasts.duplicated(key)
    if twice.any():
        raise ValueError(f"forecasts hold {tuple(forecasts.loc[twice, key].iloc[0])} twice; keep one row of each")
    judged, left_out = _judged(forecasts, panel, quarter_on, champion, years)
    if judged.empty:
        return pd.DataFrame(columns=list(CONTEST_COLUMNS))
    frames = []
    together: list[pd.DataFrame] = []
    for side, bps, score, values in _parts(judged):
        shared = scores.shared_scores(values)
        rows = _compared(shared, champion, seed, is_ratio=score == "quantile")
        if score == "quantile":
            rows = rows.merge(_exceeded(values, bps), on="model", how="left", validate="one_to_one")
            together.append(shared.daily / (bps / 1e4))
        frames.append(rows.assign(side=side, tail_probability_bps=bps, score=score))
    common = sum(together[1:], start=together[0]).dropna() / len(together)
    whole = scores.Shared(common, len(judged[["symbol", "target_date"]].drop_duplicates()))
    rows = _compared(whole, champion, seed, is_ratio=True)
    frames.append(rows.assign(side=BOTH, tail_probability_bps=ALL_PROBABILITIES, score="quantile"))
    table = pd.concat([frame for frame in frames if len(frame)], ignore_index=True)
    table["note"] = np.where(table["dates"] < LEAST_DATES, "not enough data: fewer than 250 dates", "")
    if left_out:
        named = [(part["side"], part["tail_probability_bps"], part["score"]) for _, part in table.iterrows()]
        cells = list(dict.fromkeys(named))
        rows = pd.DataFrame(
            [
                {"side": side, "tail_probability_bps": bps, "score": score, "model": model, "note": note}
                | {"dates": 0, "observations": 0, "is_in_confidence_set": None}
                for side, bps, score in cells
                for model, note in left_out.items()
            ]
        )
        table = pd.concat([table, rows], ignore_index=True)
    table = table.assign(quarter_on=quarter_on, champion=champion)
    order = {side: at for at, side in enumerate((*SIDES, BOTH))}
    table["order"] = table["side"].map(order)
    keys = ["order", "score", "tail_probability_bps", "model"]
    table = table.sort_values(keys, ascending=[True, False, False, True], kind="stable", ignore_index=True)
    return table.reindex(columns=list(CONTEST_COLUMNS)).astype(
        {"exceedances": "Int64", "is_in_confidence_set": "boolean"}
    )


def _judged(
    forecasts: pd.DataFrame, panel: pd.DataFrame, quarter_on: pd.Timestamp, champion: str, years: int
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Rows of the window that every model which is in judged at all probabilities, and why others are out."""
    day = forecasts["target_date"]
    kept = forecasts[(day < quarter_on) & (day >= window_start(quarter_on, years))][list(FORECAST_COLUMNS)]
    row = ["symbol", "target_date", "side"]
    happened = pd.concat(
        [
            panel[["symbol", "target_date", "sigma_daily"]].assign(side=side, loss=panel[column])
            for side, column in zip(SIDES, ("low_log", "high_log"), strict=True)
        ]
    )
    kept = kept.merge(happened, on=row, how="inner", validate="many_to_one")
    # A market's row counts for a model when it states a positive quantile at every probability.
    is_stated = kept["quantile_log"] > 0
    known = is_stated.groupby([kept[name] for name in ("model", *row)]).sum()
    whole = known[known == len(PROBABILITIES_BPS)].reset_index()[["model", *row]]
    counts = whole.groupby("model").size()
    if not counts.get(champion, 0):
        return kept.head(0), {}
    out: dict[str, str] = {}
    for model in sorted(set(kept["model"]) - {champion}):
        share = counts.get(model, 0) / counts[champion]
        if share < LEAST_SHARE:
            out[str(model)] = f"left out: forecasts on {100 * share:.0f} % of the champion's days"
    whole = whole[~whole["model"].isin(list(out))]
    by_row = whole.groupby(row).size()
    common = by_row[by_row == whole["model"].nunique()].reset_index()[row]
    return kept[~kept["model"].isin(list(out))].merge(common, on=row, how="inner", validate="many_to_one"), out


def _parts(judged: pd.DataFrame) -> Iterator[tuple[str, int, str, pd.DataFrame]]:
    for side in SIDES:
        for bps in PROBABILITIES_BPS:
            mine = judged[(judged["side"] == side) & (judged["tail_probability_bps"] == bps)]
            if mine.empty:
                continue
            p, unit = bps / 1e4, mine["sigma_daily"].to_numpy(np.float64)
            loss, limit, shortfall = (
                mine[name].to_numpy(np.float64) / unit for name in ("loss", "quantile_log", "shortfall_log")
            )
            value = scores.quantile_score(-loss, -limit, p)
            yield side, bps, "quantile", mine.assign(value=value, is_hit=loss > limit)
            if bps != JOINT_BPS:
                continue
            stated = np.isfinite(shortfall) & (shortfall >= limit)
            share = pd.Series(stated).groupby(mine["model"].to_numpy()).mean()
            silent = share.index[share < LEAST_SHARE]
            use = stated & ~mine["model"].isin(silent).to_numpy(np.bool_)
            value = scores.fz0(-loss[use], -limit[use], -shortfall[use], p)
            yield side, bps, "joint", mine[use].assign(value=value)


def _compared(shared: scores.Shared, champion: str, seed: int, *, is_ratio: bool) -> pd.DataFrame:
    daily = shared.daily
    if champion not in daily or len(daily) == 0:
        return pd.DataFrame()
    named = {"dates": len(daily), "observations": shared.observations}
    if len(daily) < LEAST_DATES:
        return pd.DataFrame({"model": [str(one) for one in daily], **named})
    rows = scores.compare(daily, champion, seed=seed).assign(**named)
    mean = rows.set_index("model")["mean_score"]
    rows["difference"] = rows["mean_score"] - mean[champion]
    if is_ratio:
        rows["ratio"] = rows["mean_score"] / mean[champion]
        low, high = ratio_intervals(daily, champion, seed=seed)
        rows["ratio_low"], rows["ratio_high"] = low, high
    return rows


def ratio_intervals(daily: pd.DataFrame, champion: str, *, seed: int) -> tuple[Floats, Floats]:
    """Interval of each model's mean score over the champion's, by resampling blocks of consecutive dates.

    Parameters
    ----------
    daily
        Positive daily scores, one column a model.
    champion
        Column of the denominator.
    seed
        Of the blocks; all models are drawn on the same days.

    Returns
    -------
    tuple
        Lower and upper ends at 90 %, one a column. Exactly one of the champion itself.
    """
    n = len(daily)
    length = max(1, round(n ** (1 / 3)))
    starts = np.random.default_rng(seed).integers(0, n, size=(DRAWS, int(np.ceil(n / length))))
    values = daily.to_numpy(np.float64)
    wrapped = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(np.vstack([values, values[:length]]), axis=0)])
    drawn = np.empty((DRAWS, values.shape[1]))
    for at in range(values.shape[1]):
        drawn[:, at] = (wrapped[starts + length, at] - wrapped[starts, at]).sum(axis=1)
    ratio = drawn / drawn[:, [list(daily.columns).index(champion)]]
    low, high = np.quantile(ratio, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)


def _exceeded(values: pd.DataFrame, bps: int) -> pd.DataFrame:
    rows = []
    for model, mine in values.groupby("model", sort=True):
        hits = mine["is_hit"].to_numpy(np.bool_)
        by_date = mine.groupby("target_date")["is_hit"].mean().sort_index().to_numpy(np.float64)
        rows.append(
            {
                "model": str(model),
                "exceedances": int(hits.sum()),
                "exceedance_rate": float(hits.mean()),
                "too_many_p": too_many(by_date, bps / 1e4),
            }
        )
    return pd.DataFrame(rows)


def too_many(daily_share: Floats, p: float) -> float:
    r"""Test that a quantile is not exceeded more often than stated, all markets of a date as one observation.

    Parameters
    ----------
    daily_share
        Share of the markets that were beyond their quantile, in date order, shape (n,).
    p
        Stated probability.

    Returns
    -------
    float
        One-sided p-value of :math:`E[share] \le p` with a long-run variance; 1 where nothing was exceeded, NaN below
        250 dates.
    """
    if len(daily_share) < LEAST_DATES:
        return float("nan")
    excess = np.asarray(daily_share, dtype=np.float64) - p
    found = scores.diebold_mariano(excess, lags=round(len(excess) ** (1 / 3)))
    if found.p_value is None:
        return 1.0 if excess.mean() <= 0 else 0.0
    return found.p_value / 2 if excess.mean() > 0 else 1 - found.p_value / 2
