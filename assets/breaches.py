"""Breaches and coverage: every forecast judged by what happened, and the table that sums it up.

What lives here: reading prices, forecasts, quantiles and thresholds, calling the core, appending. What does not: the
series (``plimsoll.breaches``), the tests (``plimsoll.coverage``).
"""

from datetime import date

import dagster as dg
import numpy as np
import pandas as pd

import plimsoll
from assets import _run
from assets._budget import chosen_quantiles
from assets._table import table_metadata
from assets.overshoot import panel_hashes
from dagster_project.progress import step
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse
from plimsoll import backtest, breaches
from reports.words import records

BREACH_KEY = ("target_date", "symbol", "side", "series", "model", "tail_probability_bps", "methodology", "config_hash")
COVERAGE_KEY = ("as_of", "scope", "side", "series", "model", "tail_probability_bps", "methodology", "config_hash")


def market_breaches(
    settings: Settings,
    symbol: str,
    prices: pd.DataFrame,
    forecasts: pd.DataFrame,
    quantiles: pd.DataFrame,
    thresholds: pd.DataFrame,
    events: pd.DataFrame,
) -> pd.DataFrame:
    """All breach facts of one market, every series."""
    forecasts = forecasts[forecasts["target_date"].isin(prices["date"]) & (forecasts["sigma_daily"] > 0)]
    forecasts = forecasts.reset_index(drop=True)
    if forecasts.empty:
        return pd.DataFrame()
    base = breaches.baselines(prices, forecasts, settings.volatility.ewma_lambda)
    frames = [breaches.daily_breaches(prices, forecasts, base, settings.overshoot.perpetual_depth)]
    market = settings.markets[symbol]
    for product, is_deep in (("perpetual", False), ("lending", True)):
        use = market.perpetual if product == "perpetual" else market.lending
        if use is None and is_deep:
            continue
        chosen = chosen_quantiles(settings, quantiles, product)
        published = thresholds[thresholds["product"] == product]
        frames.append(breaches.overshoot_breaches(events, chosen, published, base, is_deep=is_deep))
    rows = pd.concat([frame for frame in frames if len(frame)], ignore_index=True)
    return rows.assign(symbol=symbol, tail_probability_bps=rows["tail_probability_bps"].astype(np.int64))


def build(settings: Settings, partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return the breach and coverage assets of a configuration."""

    @dg.asset(
        name="breach",
        deps=["threshold"],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="backtest",
        kinds={"python", "duckdb"},
        code_version=plimsoll.METHODOLOGY,
        description="What happened against what was forecast, one fact a row: closes, excursions, triggers, and the "
        "overshoot given a trigger against estimator, budget, published parameters and three baselines.",
    )
    def breach(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[None]:
        run = _run.of(context, settings)
        with step("breaches"):
            with warehouse.session() as session:
                prices = session.query("prices", last=run.end)
                names = ("forecasts", "overshoot_quantiles", "thresholds", "overshoot_events", "breaches")
                stored = {name: session.query(name, last=run.end, **run.identity) for name in names}
            state = panel_hashes(prices, stored["forecasts"])
            moving = stored["forecasts"]["sigma_daily"] > 0
            judged = (
                stored["forecasts"]
                .loc[moving, ["symbol", "target_date"]]
                .merge(
                    prices.loc[prices["is_return_valid"], ["symbol", "date"]].rename(columns={"date": "target_date"}),
                    on=["symbol", "target_date"],
                )
            )
            expected = judged.assign(as_of=judged["target_date"], input_hash=judged["target_date"].map(state))
            first = _run.first_stale(expected, stored["breaches"], ["symbol", "target_date"])
            frames = []
            for symbol in settings.markets if first is not None else ():
                mine = {n: f[f["symbol"] == symbol].reset_index(drop=True) for n, f in stored.items()}
                bars = prices[prices["symbol"] == symbol].reset_index(drop=True)
                frames.append(
                    market_breaches(
                        settings,
                        symbol,
                        bars,
                        mine["forecasts"],
                        mine["overshoot_quantiles"],
                        mine["thresholds"],
                        mine["overshoot_events"],
                    )
                )
            rows = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
            if len(rows):
                rows = rows[rows["target_date"] >= first].reset_index(drop=True)
                rows["input_hash"] = rows["target_date"].map(state)
            with warehouse.session() as session, session.transaction():
                written = session.append("breach", run.stamped(rows), key=BREACH_KEY) if len(rows) else 0
                _run.commit(session, run, "breach", written, rows)
        return dg.MaterializeResult(metadata=dict(table_metadata("breach", written)))

    @dg.asset(
        name="coverage",
        deps=["breach"],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="backtest",
        kinds={"python", "duckdb"},
        code_version=plimsoll.METHODOLOGY,
        description="Backtest table of the day: observations, exceptions, achieved coverage, tests, zones and power, "
        "by market and pooled, with date-block intervals.",
    )
    def coverage(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[None]:
        run = _run.of(context, settings)
        with step("coverage"):
            with warehouse.session() as session:
                facts = session.query("breaches", last=run.end, **run.identity)
            tables = [coverage_of(settings, facts, day) for day in run.days]
            rows = pd.concat(tables, ignore_index=True)
            with warehouse.session() as session, session.transaction():
                written = session.append("coverage", run.stamped(rows), key=COVERAGE_KEY) if len(rows) else 0
                _run.commit(session, run, "coverage", written, rows)
        headline = _headline(rows, run.end)
        return dg.MaterializeResult(metadata={**table_metadata("coverage", written), **headline})

    return [breach, coverage]


def coverage_of(settings: Settings, facts: pd.DataFrame, day: date) -> pd.DataFrame:
    """Return the backtest table of one day, from facts up to it; empty where there are none."""
    known = facts[facts["target_date"] <= pd.Timestamp(day)]
    if known.empty:
        return pd.DataFrame()
    seed = int(_run.digest(str(day), settings.config_hash, plimsoll.METHODOLOGY), 16) % 2**32
    return backtest.coverage_table(known, seed=seed).assign(as_of=pd.Timestamp(day))


def _headline(rows: pd.DataFrame, day: date) -> dict[str, dg.MetadataValue]:
    if rows.empty:
        return {}
    mine = rows[
        (rows["as_of"] == pd.Timestamp(day))
        & (rows["scope"] == backtest.POOLED)
        & (rows["series"] == "overshoot_24h")
        & (rows["model"] == "estimator")
        & (rows["tail_probability_bps"] == 100)
    ]
    return {f"coverage_99_{r.side}": dg.MetadataValue.float(1 - float(r.exception_rate)) for r in records(mine)}
