"""Coverage and its cost: how often the overshoot estimate was exceeded, beside how much wider it is than need be.

What lives here: the market's own expanding empirical quantile and the mean of an estimate against it, on the same
triggers. What does not: tests of coverage (``coverage``), the estimate (``overshoot``).
"""

from bisect import insort
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plimsoll import breaches, coverage
from plimsoll.backtest import BLOCK_DAYS, DRAWS, LEVEL, POOLED

Floats = NDArray[np.float64]

RATIO_LIMIT = 1.10
"""Mean of the estimate over the mean of the market's own empirical quantile that is accepted at 1 %."""
MINIMUM_OWN_TRIGGERS = 100
KEYS = ["symbol", "target_date", "side", "trigger_depth"]
EXPLAINED = (
    "coverage can always be bought with a wider limit: read the rate beside the mean k, on triggers where both exist"
)


def expanding_quantiles(values: Floats, counts: NDArray[np.int64], levels: Floats) -> Floats:
    """Linear empirical quantiles of the first ``counts`` values, every value weighing the same.

    Parameters
    ----------
    values
        In order of time, shape (n,).
    counts
        How many are known, ascending, shape (m,).
    levels
        Probabilities in [0, 1], shape (l,).

    Returns
    -------
    ndarray
        Shape (m, l); NaN where none is known.
    """
    out = np.full((len(counts), len(levels)), np.nan)
    known: list[float] = []
    for row, count in enumerate(counts):
        while len(known) < count:
            insort(known, float(values[len(known)]))
        if known:
            at = levels * (len(known) - 1)
            low = np.floor(at).astype(np.int64)
            high = np.minimum(low + 1, len(known) - 1)
            for column in range(len(levels)):
                left, right = known[low[column]], known[high[column]]
                out[row, column] = left + (at[column] - low[column]) * (right - left)
    return out


def judged_triggers(
    quantiles: pd.DataFrame,
    events: pd.DataFrame,
    probabilities_bps: Sequence[int] = breaches.TRIGGER_PROBABILITIES_BPS,
    minimum_own_triggers: int = MINIMUM_OWN_TRIGGERS,
) -> pd.DataFrame:
    """Lay estimate, own expanding empirical quantile and what happened beside each other, one row a trigger and p.

    Parameters
    ----------
    quantiles
        Rows of `overshoot.walk_quantiles`: ``symbol, as_of, target_date, side, trigger_depth, k_p*``.
    events
        Rows of `overshoot.trigger_events`.
    probabilities_bps
        Tail probabilities.
    minimum_own_triggers
        Earlier triggers of the market below which its own quantile is no yardstick; nor is it one with less than one
        tail event.

    Returns
    -------
    DataFrame
        ``symbol, target_date, side, trigger_depth, tail_probability_bps, overshoot_sigma, k, k_own_empirical``; rows
        on which both exist. The own quantile uses triggers up to ``as_of``, which lies before ``target_date``.

    Raises
    ------
    ValueError
        Where a row's ``as_of`` does not lie before its ``target_date``; names it.

    Notes
    -----
    The columns ``k_own_p*`` of the walk weigh newer triggers more and are no yardstick for what pooling costs: where
    markets calm down they are lower, and where they heat up higher, than the plain quantile.
    """
    late = quantiles["as_of"] >= quantiles["target_date"]
    if late.any():
        row = quantiles[late].iloc[0]
        raise ValueError(f"{row['symbol']}: {row['target_date']} is judged by data up to {row['as_of']}; a look ahead")
    columns = [f"k_p{bps}" for bps in probabilities_bps]
    p = np.asarray(probabilities_bps) / 10_000
    rows = events[[*KEYS, "overshoot_sigma"]].merge(
        quantiles[[*KEYS, "as_of", *columns]], on=KEYS, how="inner", validate="one_to_one"
    )
    found: list[pd.DataFrame] = []
    past = events.sort_values("target_date", kind="stable")
    history = dict(list(past.groupby(["symbol", "side", "trigger_depth"], sort=True)))
    ordered = rows.sort_values("target_date", kind="stable")
    for key, mine in ordered.groupby(["symbol", "side", "trigger_depth"], sort=True):
        earlier = history[key]
        dates = earlier["target_date"].to_numpy("datetime64[D]")
        counts = np.searchsorted(dates, mine["as_of"].to_numpy("datetime64[D]"), side="right")
        values = earlier["overshoot_sigma"].to_numpy(np.float64)
        own = expanding_quantiles(values, counts, 1 - p)
        for column, bps in enumerate(probabilities_bps):
            one = mine[[*KEYS, "overshoot_sigma"]].assign(tail_probability_bps=bps, k=mine[f"k_p{bps}"])
            one["k_own_empirical"] = own[:, column]
            is_known = (counts >= minimum_own_triggers) & (counts * p[column] >= 1 - 1e-9) & one["k"].notna()
            found.append(one[is_known])
    if not found:
        return rows.assign(tail_probability_bps=0, k=np.nan, k_own_empirical=np.nan)[:0].drop(
            columns=["as_of", *columns]
        )
    return pd.concat(found, ignore_index=True)


def cost_table(judged: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Give coverage and mean k together, pooled over markets and by market.

    Parameters
    ----------
    judged
        As `judged_triggers` gives it; rows of the own quantile's yardstick alone are in it.
    seed
        Of the date-block bootstrap.

    Returns
    -------
    DataFrame
        One row a scope, side, depth and probability: ``scope, side, trigger_depth, tail_probability_bps, triggers,
        dates, rate, rate_low, rate_high`` (90 % interval), ``rate_own_empirical, mean_k, mean_own_empirical_k, ratio``.
        Pooled means weigh every trigger the same.

    Notes
    -----
    An estimate is judged by both: its rate at most the nominal one, and its ratio at most 1.10 at 1 %.
    """
    rows: list[dict[str, object]] = []
    names = ["side", "trigger_depth", "tail_probability_bps"]
    ordered = judged.sort_values(["target_date", "symbol"], kind="stable")
    for scope, scoped in [(POOLED, ordered), *ordered.groupby("symbol", sort=True)]:
        for key, group in scoped.groupby(names, sort=True):
            dates = group["target_date"].to_numpy("datetime64[D]")
            hits = (group["overshoot_sigma"] > group["k"]).to_numpy(np.bool_)
            own_hits = (group["overshoot_sigma"] > group["k_own_empirical"]).to_numpy(np.bool_)
            low, high = coverage.date_block_interval(
                dates, hits, block_days=BLOCK_DAYS, level=LEVEL, draws=DRAWS, seed=seed
            )
            mean, own = float(group["k"].mean()), float(group["k_own_empirical"].mean())
            rows.append(
                {
                    "scope": str(scope),
                    **dict(zip(names, key, strict=True)),
                    "triggers": len(group),
                    "dates": len(np.unique(dates)),
                    "rate": float(hits.mean()),
                    "rate_low": low,
                    "rate_high": high,
                    "rate_own_empirical": float(own_hits.mean()),
                    "mean_k": mean,
                    "mean_own_empirical_k": own,
                    "ratio": mean / own if own > 0 else np.nan,
                }
            )
    return pd.DataFrame(rows)
