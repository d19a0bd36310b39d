"""Correlation: how the markets move together, measured on the run's days and kept.

What lives here: reading prices and forecasts, calling the core, appending. What does not: the measures
(``plimsoll.correlation``); nothing downstream but the report reads them.
"""

from datetime import date

import dagster as dg
import pandas as pd

import plimsoll
from assets import _run
from assets._table import table_metadata
from dagster_project.progress import step
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse, frame_hash
from plimsoll import correlation

KEY = ("as_of", "symbol", "other_symbol", "measure", "methodology", "config_hash")


def measured(
    settings: Settings, day: date, prices: pd.DataFrame, forecasts: pd.DataFrame, stored: pd.DataFrame
) -> pd.DataFrame:
    """Rows of one day without identity columns, from data up to it; empty where they are stored already."""
    residuals = correlation.standardised_residuals(prices, forecasts).reindex(columns=sorted(settings.markets))
    lead = correlation.lead_market(prices, list(settings.markets))
    falls = None if lead is None else correlation.adverse_excursion(prices, lead)
    told = frame_hash(residuals.reset_index()) + (
        "" if falls is None else f"{lead} {frame_hash(falls.rename('fall').reset_index())}"
    )
    made_from = _run.digest(told)
    if len(stored) and (stored["input_hash"] == made_from).all():
        return pd.DataFrame()
    rows = correlation.long_rows(correlation.correlations(residuals, lead, falls))
    return rows.assign(as_of=pd.Timestamp(day), input_hash=made_from)


def with_vintage(rows: pd.DataFrame, run: _run.Run, prices: pd.DataFrame) -> pd.DataFrame:
    """Mark a pair ``live`` where both of its markets are, and parameters of all markets where every pair is."""
    one = _run.with_vintage(rows, run, prices)["vintage"] == "live"
    other = _run.with_vintage(rows.assign(symbol=rows["other_symbol"]), run, prices)["vintage"] == "live"
    is_pooled = rows["symbol"] == correlation.POOLED
    is_live = (one & other) | (is_pooled & bool((one & other)[~is_pooled].all()))
    return rows.assign(vintage=is_live.map({True: "live", False: "reconstructed"}))


def build(settings: Settings, partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return the correlation asset of a configuration."""

    @dg.asset(
        name="correlation",
        deps=["volatility_forecast"],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="correlation",
        kinds={"python", "duckdb"},
        code_version=plimsoll.METHODOLOGY,
        description="Dependence of markets on each other: constant, weighted, dynamic, shrunk and stress correlations "
        "of standardised residuals, and tail dependence. Of the run's days only; no threshold is made of it.",
    )
    def correlation_of_days(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[None]:
        run, written = _run.of(context, settings), 0
        with step("correlation"):
            for day in run.days:
                with warehouse.session() as session:
                    prices = session.query("prices", last=day)
                    forecasts = session.query("forecasts", last=day, **run.identity)
                    stored = session.query("correlations_of", last=day, **run.identity)
                rows = measured(settings, day, prices, forecasts, stored)
                if rows.empty:
                    continue
                rows = run.stamped(with_vintage(rows, run, prices))
                with warehouse.session() as session, session.transaction():
                    added = session.append("correlation", rows, key=KEY)
                    _run.commit(session, run, "correlation", added, rows)
                written += added
        return dg.MaterializeResult(metadata=dict(table_metadata("correlation", written)))

    return [correlation_of_days]
