"""Thresholds: the loss budget and the parameters that follow, for every day, product and side.

What lives here: calling the budget, appending thresholds, what other settings would give. What does not: formulas and
rounding (``plimsoll``), what the budget is asked for (``_budget``).
"""

from dataclasses import replace

import dagster as dg
import numpy as np
import pandas as pd

import plimsoll
from assets import _run
from assets._budget import (
    Outside,
    beside,
    budget_days,
    budget_spec,
    chosen_quantiles,
    newest_day,
    product_specs,
    with_books,
    with_buffer,
    with_hashes,
)
from assets._table import table_metadata
from dagster_project.markets import Market
from dagster_project.progress import step
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse
from plimsoll import budget, implied, liquidation, overshoot

SENSITIVITY_BPS = (100, 50, 10)
THRESHOLD_KEY = ("as_of", "target_date", "symbol", "product", "side", "methodology", "config_hash")


def threshold_rows(
    settings: Settings,
    symbol: str,
    prices: pd.DataFrame,
    forecasts: pd.DataFrame,
    quantiles: pd.DataFrame,
    first: pd.Timestamp,
    outside: Outside,
) -> pd.DataFrame:
    """Threshold rows of one market from a day on, for all its products and sides, without identity columns."""
    market, frames = settings.markets[symbol], []
    # Only a rule that remembers needs the days before.
    kept = quantiles if settings.budget.smoothing == "buffer" else quantiles[quantiles["as_of"] >= first]
    for product in product_specs(settings, symbol):
        spec = budget_spec(settings, symbol, product.product)
        chosen = chosen_quantiles(settings, kept, product.product)
        for side in overshoot.SIDES:
            days = budget_days(settings, symbol, product, side, prices, forecasts, chosen, outside)
            days = with_buffer(days, product, side, spec)
            days = days[days["as_of"] >= first].reset_index(drop=True)
            rows = budget.walk_budget(days, product, side, spec)
            thin = _thin(market, rows, days)
            is_thin = (rows["status"] == "ok") & (thin != "")
            rows["note"] = np.where(is_thin, thin, rows["note"])
            rows["status"] = np.where(is_thin, "degraded", rows["status"])
            frames.append(rows.assign(symbol=symbol, product=product.product, side=side))
    rows = pd.concat(frames, ignore_index=True)
    for name in ("lt_bps", "ltv_bps", "bonus_bps", "mm_bps", "im_bps", "max_leverage"):
        rows[name] = rows[name].astype("Int64")
    state = quantiles[["as_of", "target_date", "input_hash"]].drop_duplicates()
    return rows.merge(state, on=["as_of", "target_date"], how="left", validate="many_to_one")


def _thin(market: Market, rows: pd.DataFrame, days: pd.DataFrame) -> np.ndarray:
    """Why a row may not loosen, whatever it says."""
    told = np.full(len(rows), "", dtype=object)
    if "slippage_book_least" in days:
        ends = days["slippage_book_least"].notna().to_numpy()
        sizes = rows["notional_usd"].map("{:,.0f}".format)
        told[ends] = "not absorbable by the order book, which ends before " + sizes[ends] + " USD: the law stands in"
    if market.is_close_only:
        told[:] = "closes only: tails after a trigger come from other markets"
    told[(days["rung"] == "ewma_short").to_numpy()] = "short history: volatility from EWMA and peers"
    return told


def build(settings: Settings, partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return the threshold assets of a configuration."""

    @dg.asset(
        name="threshold",
        deps=["overshoot_quantile", "fit_reference", "order_book", "challenger_forecast"],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="threshold",
        kinds={"python", "duckdb"},
        code_version=plimsoll.METHODOLOGY,
        description="The log loss budget part by part, and the liquidation threshold, LTV, bonus, margins and leverage "
        "that follow from it, rounded on the venue's grid and tested again.",
    )
    def threshold(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[None]:
        run = _run.of(context, settings)
        with step("thresholds"):
            with warehouse.session() as session:
                prices = session.query("prices", last=run.end)
                forecasts = session.query("forecasts", last=run.end, **run.identity)
                quantiles = session.query("overshoot_quantiles", last=run.end, **run.identity)
                stored = session.query("thresholds", last=run.end, **run.identity)
                outside = beside(session, settings, run.end)
            quantiles = with_hashes(settings, quantiles, outside)
            expected = quantiles[["symbol", "as_of", "target_date", "input_hash"]].drop_duplicates()
            first = _run.first_stale(expected, stored, ["symbol", "as_of", "target_date"])
            frames = []
            if first is not None:
                with warehouse.session() as session:
                    outside = with_books(session, settings, outside, first.date(), run.end)
                for symbol in settings.markets:
                    mine, own = (frame[frame["symbol"] == symbol] for frame in (forecasts, quantiles))
                    if (own["as_of"] >= first).any():
                        bars = prices[prices["symbol"] == symbol]
                        frames.append(threshold_rows(settings, symbol, bars, mine, own, first, outside))
            rows = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
            with warehouse.session() as session, session.transaction():
                rows = _run.with_vintage(run.stamped(rows), run, prices) if len(rows) else rows
                written = session.append("threshold", rows, key=THRESHOLD_KEY) if len(rows) else 0
                _run.commit(session, run, "threshold", written, rows)
        return dg.MaterializeResult(metadata=dict(table_metadata("threshold", written)))

    return [threshold]


def sensitivities(
    settings: Settings,
    prices: pd.DataFrame,
    forecasts: pd.DataFrame,
    quantiles: pd.DataFrame,
    budgets: pd.DataFrame,
    outside: Outside,
) -> pd.DataFrame:
    """Threshold or maintenance margin of the newest day at other probabilities and at half and twice the horizon."""
    rows = []
    for symbol in settings.markets:
        mine = forecasts[forecasts["symbol"] == symbol]
        own = quantiles[(quantiles["symbol"] == symbol) & quantiles["as_of"].isin(mine["as_of"].tail(1))]
        bars = prices[prices["symbol"] == symbol]
        for product in product_specs(settings, symbol) if len(mine) else ():
            spec = budget_spec(settings, symbol, product.product)
            chosen = chosen_quantiles(settings, own, product.product)
            parameter = "lt_bps" if product.product == "lending" else "mm_bps"
            for side in overshoot.SIDES:
                newest = newest_day(settings, symbol, product, side, bars, mine, chosen, budgets, outside)
                days = pd.concat([newest.assign(k=newest[f"k_p{bps}"]) for bps in SENSITIVITY_BPS], ignore_index=True)
                for factor in (0.5, 1.0, 2.0):
                    variant = replace(product, base_horizon_hours=product.base_horizon_hours * factor)
                    values = budget.walk_budget(days, variant, side, spec)[parameter]
                    named = (symbol, product.product, side)
                    rows += [
                        (*named, bps, factor, parameter.removesuffix("_bps"), value)
                        for bps, value in zip(SENSITIVITY_BPS, values, strict=True)
                    ]
    columns = ["symbol", "product", "side", "tail_probability_bps", "horizon_factor", "parameter", "value_bps"]
    return pd.DataFrame(rows, columns=columns)


def worth_rows(settings: Settings, budgets: pd.DataFrame) -> pd.DataFrame:
    """Tell what less latency and more venues would be worth on the newest budget of each set, in basis points.

    Returns
    -------
    DataFrame
        ``symbol, product, side, horizon_hours, minute_bp, half_bp, venues_bp``: by how much the threshold could rise
        (lending) or the margin fall (perpetuals) if sale came a minute sooner, in half the time, or if three venues
        agreed on the price to the tick.
    """
    rows = []
    newest = budgets.groupby(["symbol", "product", "side"]).tail(1)
    products = {(s, one.product): one for s in settings.markets for one in product_specs(settings, s)}
    for row in newest[newest["status"] != "withheld"].to_dict("records"):
        product = products.get((row["symbol"], row["product"]))
        if product is None:
            continue
        # A margin of shorts is exp(budget) - 1, all else moves with exp(-budget).
        is_convex = row["product"] == "perpetual" and row["side"] == "short"
        unit = np.exp(row["lambda_total"] if is_convex else -row["lambda_total"])
        hours = float(row["horizon_hours"])
        faster = {
            name: implied.latency_worth(
                move=row["lambda_move"],
                horizon_hours=hours,
                faster_horizon_hours=sooner,
                eta=row["eta"],
                total=row["lambda_total"],
                product=row["product"],
                side=row["side"],
            ).parameter_bps
            for name, sooner in (("minute_bp", hours - min(1 / 60, hours / 2)), ("half_bp", hours / 2))
        }
        floor = max(product.oracle_deviation, settings.budget.minimum_oracle_deviation)
        plain = float(liquidation.log_cost(floor, row["side"]))
        rows.append(
            {name: row[name] for name in ("symbol", "product", "side", "horizon_hours")}
            | faster
            | {"venues_bp": 1e4 * unit * float(np.expm1(max(row["lambda_oracle"] - plain, 0.0)))}
        )
    columns = ["symbol", "product", "side", "horizon_hours", "minute_bp", "half_bp", "venues_bp"]
    return pd.DataFrame(rows, columns=columns)
