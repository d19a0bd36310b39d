"""Horizons: breaches in the hours after a trigger, where hourly bars show them.

What lives here: laying triggers, quantiles and thresholds out for the paths. What does not: paths and facts
(``plimsoll.horizons``), reading bars (``dagster_project.intraday``).
"""

import pandas as pd

from plimsoll import backtest, breaches, horizons
from plimsoll.horizons import Paths

KEYS = ["symbol", "side", "target_date", "trigger_depth"]
OF_PRODUCT = ["product", "eta", "tail_probability_bps", "absorbed_move", "horizon_hours"]
QUANTILES = [f"k_p{bps}" for bps in breaches.TRIGGER_PROBABILITIES_BPS]


def judged(
    bars: pd.DataFrame,
    events: pd.DataFrame,
    quantiles: pd.DataFrame,
    thresholds: pd.DataFrame,
) -> tuple[Paths, pd.DataFrame]:
    """Follow every trigger for which a quantile was in use, and judge what came after it.

    Parameters
    ----------
    bars
        Hourly bars, as `dagster_project.intraday.read` gives them.
    events, quantiles, thresholds
        Newest revisions in the store.

    Returns
    -------
    tuple
        The paths, and their facts; empty where no trigger can be followed.
    """
    used = thresholds.dropna(subset=["trigger_depth"])[[*KEYS, *OF_PRODUCT]]
    triggers = events.merge(used[KEYS].drop_duplicates(), on=KEYS, how="inner")
    limits = used.merge(quantiles[[*KEYS, *QUANTILES]], on=KEYS, how="inner", validate="many_to_one")
    paths = horizons.follow(triggers, bars)
    return paths, horizons.facts(paths.moves, triggers, limits) if len(paths.moves) else pd.DataFrame()


def table(facts: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the backtest table of the facts, with ``exceptions_at_least`` beside ``exceptions``."""
    if facts.empty:
        return pd.DataFrame()
    rows = backtest.coverage_table(facts, seed=seed)
    keys = ["side", "series", "model", "tail_probability_bps"]
    own = facts.groupby([*keys, "symbol"])["is_breach_at_least"].sum().rename("exceptions_at_least").reset_index()
    own = own.rename(columns={"symbol": "scope"})
    pooled = own.groupby(keys)["exceptions_at_least"].sum().reset_index().assign(scope=backtest.POOLED)
    return rows.merge(pd.concat([own, pooled]), on=["scope", *keys], how="left", validate="one_to_one")
