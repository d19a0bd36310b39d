"""Overshoot: trigger events and the quantiles to provide for, walked forward and kept.

What lives here: reading prices and forecasts, calling the core, appending. What does not: the estimator
(``plimsoll.overshoot``).
"""

import dagster as dg
import numpy as np
import pandas as pd

import plimsoll
from assets import _run
from assets._table import table_metadata
from dagster_project.progress import step
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse
from plimsoll import overshoot

EVENT_KEY = ("target_date", "symbol", "side", "trigger_depth", "methodology", "config_hash")
QUANTILE_KEY = ("as_of", "target_date", "symbol", "side", "trigger_depth", "methodology", "config_hash")


def quantile_spec(settings: Settings) -> overshoot.QuantileSpec:
    """Turn the knobs into the core's specification."""
    knobs = settings.overshoot
    return overshoot.QuantileSpec(
        depths=knobs.depths,
        minimum_triggers=knobs.minimum_triggers,
        shrinkage_tail_events=knobs.shrinkage_tail_events,
        half_life_triggers=knobs.half_life_triggers,
    )


def panel_hashes(prices: pd.DataFrame, forecasts: pd.DataFrame) -> pd.Series:
    """Chained hash of every market's bar and forecast up to each date; the state of the panel on that date."""
    bars = prices.merge(
        forecasts[["symbol", "target_date", "sigma_daily", "sigma_eff_daily", "input_hash"]],
        left_on=["symbol", "date"],
        right_on=["symbol", "target_date"],
        how="left",
    ).sort_values(["date", "symbol"], kind="stable")
    text = (
        bars["symbol"]
        + "|"
        + bars["price_hash"]
        + "|"
        + bars["sigma_daily"].map(repr)
        + "|"
        + bars["sigma_eff_daily"].map(repr)
    )
    chain, out = "", {}
    for day, rows in text.groupby(bars["date"], sort=True):
        chain = _run.digest(chain, str(day), *rows)
        out[day] = chain
    return pd.Series(out, dtype="object")


def all_events(prices: pd.DataFrame, forecasts: pd.DataFrame, depths: tuple[float, ...]) -> pd.DataFrame:
    """Trigger events of all markets, ordered by date."""
    frames = [
        overshoot.trigger_events(bars, forecasts[forecasts["symbol"] == symbol], depths)
        for symbol, bars in prices.groupby("symbol", sort=True)
    ]
    order = ["target_date", "symbol", "side", "trigger_depth"]
    return pd.concat(frames, ignore_index=True).sort_values(order, kind="stable", ignore_index=True)


def all_excursions(prices: pd.DataFrame, forecasts: pd.DataFrame, days: int) -> pd.DataFrame:
    """Adverse excursions over a horizon, of all markets."""
    frames = [
        overshoot.adverse_excursions(bars, forecasts[forecasts["symbol"] == symbol], days)
        for symbol, bars in prices.groupby("symbol", sort=True)
    ]
    return pd.concat(frames, ignore_index=True)


def quantiles(
    settings: Settings, prices: pd.DataFrame, forecasts: pd.DataFrame, events: pd.DataFrame, stored: pd.DataFrame
) -> pd.DataFrame:
    """Quantile rows from the first stale day on, without identity columns; empty where all are stored."""
    state = panel_hashes(prices, forecasts)
    days, chain = state.index.to_numpy(), state.to_numpy()
    targets = forecasts[["symbol", "as_of", "target_date"]].copy()
    targets["input_hash"] = chain[np.searchsorted(days, targets["as_of"].to_numpy(), side="right") - 1]
    first = _run.first_stale(targets, stored, ["symbol", "as_of", "target_date"])
    if first is None:
        return pd.DataFrame()
    targets = targets[targets["as_of"] >= first].reset_index(drop=True)
    knobs = settings.overshoot
    rows = overshoot.walk_quantiles(events, targets, quantile_spec(settings))
    for name, length in (
        ("buffer_perp_sigma", knobs.buffer_days_perpetual),
        ("buffer_lending_sigma", knobs.buffer_days_lending),
    ):
        moves = all_excursions(prices, forecasts, length)
        both = overshoot.walk_buffers(moves, rows, knobs.buffer_probability)
        rows[name] = np.where(rows["side"] == "long", both["long"], both["short"])
    return rows.merge(targets, on=["symbol", "as_of", "target_date"], how="left", validate="many_to_one")


def build(settings: Settings, partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return the overshoot assets of a configuration."""

    @dg.asset(
        name="overshoot_quantile",
        deps=["volatility_forecast"],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="overshoot",
        kinds={"python", "duckdb"},
        code_version=plimsoll.METHODOLOGY,
        description="Quantiles of the same-day overshoot beyond a trigger, by side and depth: each market's own shrunk "
        "toward the pool, strictly from earlier trigger days. Writes overshoot_event as well.",
    )
    def overshoot_quantile(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[None]:
        run = _run.of(context, settings)
        with step("overshoot"):
            with warehouse.session() as session:
                prices = session.query("prices", last=run.end)
                forecasts = session.query("forecasts", last=run.end, **run.identity)
                stored = session.query("overshoot_quantiles", last=run.end, **run.identity)
            events = all_events(prices, forecasts, settings.overshoot.depths)
            rows = quantiles(settings, prices, forecasts, events, stored)
            hashes = prices[["symbol", "date", "price_hash"]].rename(
                columns={"date": "target_date", "price_hash": "input_hash"}
            )
            events = events.merge(hashes, on=["symbol", "target_date"], how="left", validate="many_to_one")
            with warehouse.session() as session, session.transaction():
                new_events = session.append("overshoot_event", run.stamped(events), key=EVENT_KEY) if len(events) else 0
                rows = _run.with_vintage(run.stamped(rows), run, prices) if len(rows) else rows
                written = session.append("overshoot_quantile", rows, key=QUANTILE_KEY) if len(rows) else 0
                _run.commit(session, run, "overshoot_quantile", written + new_events, rows)
        return dg.MaterializeResult(metadata={**table_metadata("overshoot_quantile", written), "events": new_events})

    return [overshoot_quantile]
