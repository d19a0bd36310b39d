"""Tail trial: what the overshoot estimate costs, and how it should grow with the hours, on stored triggers.

What lives here: laying samples, events, quantiles and hourly paths out for the measurements. What does not: the
measurements (``plimsoll.tail_models``, ``uncertainty``, ``coverage_cost``, ``scaling``), their words
(``dagster_project.trial_tails``).
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plimsoll import coverage_cost, horizons, overshoot, scaling, tail_models, uncertainty
from plimsoll.backtest import POOLED
from plimsoll.overshoot import QuantileSpec

TAIL_PROBABILITIES = (0.05, 0.01, 0.005)
STABILITY_PROBABILITY = 0.01


@dataclass(frozen=True)
class Tails:
    """Tails of everything that is standardised, on one day.

    Attributes
    ----------
    estimates
        One row a scope, series, side, depth, method and probability: quantile and expected shortfall in sigmas.
    thresholds
        The Pareto tail of each sample at one percent, over several thresholds.
    intervals
        The overshoot quantile k with its 90 % interval by blocks of dates.
    """

    estimates: pd.DataFrame
    thresholds: pd.DataFrame
    intervals: pd.DataFrame


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


def tails(
    prices: pd.DataFrame, forecasts: pd.DataFrame, events: pd.DataFrame, spec: QuantileSpec, day: date, seed: int
) -> Tails:
    """Estimate both tails of closes, excursions and overshoots from what a day knew.

    Parameters
    ----------
    prices, forecasts, events
        Newest revisions in the store.
    spec
        Knobs of the overshoot quantile.
    day
        Last day whose data may be used.
    seed
        Of the intervals.
    """
    rows: list[dict[str, Any]] = []
    thresholds: list[pd.DataFrame] = []
    for named, values in _samples(prices, forecasts, events, spec.depths, pd.Timestamp(day)):
        rows += [named | asdict(one) for one in tail_models.estimates(values, TAIL_PROBABILITIES)]
        table = tail_models.threshold_stability(values, STABILITY_PROBABILITY)
        for name, value in named.items():
            table[name] = value
        thresholds.append(table)
    symbols = sorted(events["symbol"].unique())
    intervals = uncertainty.quantile_intervals(events, symbols, pd.Timestamp(day), spec, seed=seed)
    tables = pd.concat(thresholds, ignore_index=True) if thresholds else pd.DataFrame()
    return Tails(pd.DataFrame(rows), tables, intervals)


def _samples(
    prices: pd.DataFrame, forecasts: pd.DataFrame, events: pd.DataFrame, depths: Sequence[float], day: pd.Timestamp
) -> Iterator[tuple[dict[str, Any], NDArray[np.float64]]]:
    for symbol, bars in prices.groupby("symbol", sort=True):
        made = tail_models.standardised_samples(bars, forecasts[forecasts["symbol"] == symbol], day)
        for (series, side), group in made.groupby(["series", "side"], sort=True):
            named = {"scope": symbol, "series": series, "side": side, "trigger_depth": np.nan}
            yield named, group["value_sigma"].to_numpy(np.float64)
    for side in overshoot.SIDES:
        for depth in depths:
            values = tail_models.overshoot_sample(events, side=side, trigger_depth=depth, as_of=day)
            if len(values):
                yield {"scope": POOLED, "series": "overshoot", "side": side, "trigger_depth": depth}, values


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
