"""Tail trial: what the overshoot estimate costs, and how it should grow with the hours, on stored triggers.

What lives here: laying events, quantiles and hourly paths out for the measurements. What does not: the measurements
(``plimsoll.coverage_cost``, ``plimsoll.scaling``), their words (``dagster_project.trial_tails``).
"""

from dataclasses import dataclass

import pandas as pd

from plimsoll import coverage_cost, horizons, scaling


@dataclass(frozen=True)
class Scalings:
    """What hourly bars say of the growth over hours.

    Attributes
    ----------
    estimates
        One row a turn of a quarter, side, depth class and tail probability of the regression; empty where no trigger
        could be followed over every horizon.
    validation
        Breaches out of sample with the default and with the estimated scaling; empty where nothing could be judged.
    """

    estimates: pd.DataFrame
    validation: pd.DataFrame


def cost(quantiles: pd.DataFrame, events: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Give coverage and mean k of the estimate beside the market's own empirical quantile.

    Parameters
    ----------
    quantiles, events
        Newest revisions in the store.
    seed
        Of the intervals.
    """
    return coverage_cost.cost_table(coverage_cost.judged_triggers(quantiles, events), seed=seed)


def scalings(
    bars: pd.DataFrame, events: pd.DataFrame, quantiles: pd.DataFrame, default_eta: dict[str, float], seed: int
) -> Scalings:
    """Follow every trigger of every depth, estimate the scaling quarter by quarter, and judge it on what came after.

    Parameters
    ----------
    bars
        Hourly bars, as `dagster_project.intraday.read` gives them.
    events, quantiles
        Newest revisions in the store.
    default_eta
        Exponent in use, by depth class.
    seed
        Of the intervals.
    """
    moves = horizons.follow(events, bars, scaling.FOLLOWED_HOURS).moves
    if not set(scaling.FOLLOWED_HOURS) <= set(moves["horizon_hours"]):
        return Scalings(pd.DataFrame(), pd.DataFrame())
    paths = scaling.followed(moves, events)
    known = quantiles.merge(paths[scaling.KEYS], on=scaling.KEYS, how="inner", validate="one_to_one")
    estimates, tables = [], []
    for p in scaling.TAIL_PROBABILITIES:
        walked = scaling.walk(paths, known["as_of"], default_eta=default_eta, seed=seed, p=p)
        facts = scaling.judged(moves, events, quantiles, walked, default_eta=default_eta)
        bps = round(10_000 * p)
        estimates.append(walked.assign(regressed_bps=bps))
        if len(facts):
            tables.append(scaling.validation(facts, seed=seed).assign(regressed_bps=bps))
    return Scalings(
        pd.concat(estimates, ignore_index=True), pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    )
