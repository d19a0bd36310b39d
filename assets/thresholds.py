"""Thresholds: the loss budget and the parameters that follow, for every day, product and side; and the recommendation.

What lives here: joining forecasts, quantiles and liquidity, calling the budget, appending thresholds; putting today's
target beside what is in force. What does not: formulas, rounding, decision rules (``plimsoll``).
"""

from dataclasses import replace

import dagster as dg
import numpy as np
import pandas as pd

import plimsoll
from assets import _run
from assets._table import table_metadata
from dagster_project.markets import Lending, Market, Perpetual
from dagster_project.progress import step
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse
from plimsoll import budget, consensus, liquidation, overshoot
from plimsoll.budget import BudgetSpec, ProductSpec

THRESHOLD_KEY = ("as_of", "target_date", "symbol", "product", "side", "methodology", "config_hash")
FUNDING_PERIOD_HOURS = 8.0


def budget_spec(settings: Settings) -> BudgetSpec:
    """Turn the knobs into the core's specification."""
    knobs = settings.budget
    return BudgetSpec(
        es_budget=knobs.es_budget,
        participation=knobs.participation,
        impact_coefficient=knobs.impact_coefficient,
        protocol_share=knobs.protocol_share,
        minimum_oracle_deviation=knobs.minimum_oracle_deviation,
        minimum_horizon_hours=knobs.minimum_horizon_hours,
        eta=settings.overshoot.eta,
        eta_deep=settings.overshoot.eta_deep,
        lt_grid_bps=knobs.lt_grid_bps,
        bonus_grid_bps=knobs.bonus_grid_bps,
        margin_grid_bps=knobs.margin_grid_bps,
    )


def product_specs(settings: Settings, market: Market) -> list[ProductSpec]:
    """List what a market is used for."""
    cap = settings.budget.cap_bps_by_class[market.market_class]
    specs = []
    if market.perpetual is not None:
        hours = 24.0 * settings.overshoot.buffer_days_perpetual
        specs.append(
            _spec(
                "perpetual",
                market.perpetual,
                cap,
                market.perpetual.funding_p95_per_8h * hours / FUNDING_PERIOD_HOURS,
                0,
            )
        )
    if market.lending is not None:
        bonus = market.lending.in_force.bonus_bps if market.lending.in_force else 0
        specs.append(_spec("lending", market.lending, cap, 0.0, bonus))
    return specs


def _spec(product: str, use: Lending | Perpetual, cap_bps: int, funding: float, bonus_floor_bps: int) -> ProductSpec:
    return ProductSpec(
        product=product,
        notional_usd=use.notional_usd,
        base_horizon_hours=use.horizon_hours,
        tail_probability_bps=use.tail_probability_bps,
        oracle_deviation=use.oracle_deviation,
        fee=use.fee,
        funding=funding,
        cap_bps=cap_bps,
        bonus_floor_bps=bonus_floor_bps,
    )


def chosen_quantiles(settings: Settings, quantiles: pd.DataFrame, product: str) -> pd.DataFrame:
    """One quantile row a target and side at the depth that the product uses."""
    if product == "lending":
        return overshoot.lending_depth(quantiles, settings.overshoot.minimum_dates)
    return quantiles[quantiles["trigger_depth"] == settings.overshoot.perpetual_depth]


def budget_days(
    settings: Settings,
    symbol: str,
    product: ProductSpec,
    side: str,
    prices: pd.DataFrame,
    forecasts: pd.DataFrame,
    quantiles: pd.DataFrame,
) -> pd.DataFrame:
    """Join what the budget of one market, product and side needs, one row a forecast."""
    market = settings.markets[symbol]
    days = forecasts[["as_of", "target_date", "sigma_daily", "sigma_eff_daily", "rung"]]
    chosen = quantiles[quantiles["side"] == side].drop(columns=["side", "symbol", "as_of"])
    days = days.merge(chosen, on="target_date", how="left", validate="one_to_one")
    buffer_name = "buffer_perp_sigma" if product.product == "perpetual" else "buffer_lending_sigma"
    adv = days[["as_of"]].merge(prices[["date", "adv_usd"]], left_on="as_of", right_on="date", how="left")["adv_usd"]
    measured = adv * (1 - market.adv_haircut)
    assumed = np.nan if market.assumed_adv_usd is None else market.assumed_adv_usd
    return days.assign(
        oracle_error=oracle_errors(settings, product, side, prices, days["as_of"]),
        k=days[f"k_p{product.tail_probability_bps}"].to_numpy(),
        buffer_sigma=days[buffer_name].to_numpy(),
        adv_usd=measured.fillna(assumed).to_numpy(),
    )


def oracle_errors(
    settings: Settings, product: ProductSpec, side: str, prices: pd.DataFrame, days: pd.Series
) -> np.ndarray:
    """Oracle error on days: the feed's deviation, what venues differ by, and twice its log cost where few stand."""
    floor = max(product.oracle_deviation, settings.budget.minimum_oracle_deviation)
    errors = consensus.oracle_error_days(
        floor,
        prices["dispersion_bp"].to_numpy(np.float64) / 1e4,
        prices["venue_count"].to_numpy(np.float64),
        side,
        is_reference=settings.source.is_reference,
    )
    by_day = pd.Series(errors, index=pd.DatetimeIndex(prices["date"]))
    return by_day.reindex(pd.DatetimeIndex(days)).to_numpy(np.float64)


def threshold_rows(
    settings: Settings, symbol: str, prices: pd.DataFrame, forecasts: pd.DataFrame, quantiles: pd.DataFrame
) -> pd.DataFrame:
    """Threshold rows of one market for all its products and sides, without identity columns."""
    market = settings.markets[symbol]
    frames = []
    for product in product_specs(settings, market):
        chosen = chosen_quantiles(settings, quantiles, product.product)
        for side in overshoot.SIDES:
            days = budget_days(settings, symbol, product, side, prices, forecasts, chosen)
            rows = budget.walk_budget(days, product, side, budget_spec(settings))
            thin = _thin(market, days)
            is_thin = (rows["status"] == "ok") & (thin != "")
            rows["note"] = np.where(is_thin, thin, rows["note"])
            rows["status"] = np.where(is_thin, "degraded", rows["status"])
            frames.append(rows.assign(symbol=symbol, product=product.product, side=side))
    rows = pd.concat(frames, ignore_index=True)
    for name in ("lt_bps", "ltv_bps", "bonus_bps", "mm_bps", "im_bps", "max_leverage"):
        rows[name] = rows[name].astype("Int64")
    state = quantiles[["as_of", "target_date", "input_hash"]].drop_duplicates()
    return rows.merge(state, on=["as_of", "target_date"], how="left", validate="many_to_one")


def _thin(market: Market, days: pd.DataFrame) -> np.ndarray:
    short = np.where(days["rung"] == "ewma_short", "short history: volatility from EWMA and peers", "")
    closes = "closes only: tails after a trigger come from other markets" if market.is_close_only else ""
    return np.where(short != "", short, closes)


def build(settings: Settings, partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return the threshold assets of a configuration."""

    @dg.asset(
        name="threshold",
        deps=["overshoot_quantile", "fit_reference"],
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
            expected = quantiles[["symbol", "as_of", "target_date", "input_hash"]].drop_duplicates()
            first = _run.first_stale(expected, stored, ["symbol", "as_of", "target_date"])
            frames = []
            for symbol in settings.markets if first is not None else ():
                mine = forecasts[(forecasts["symbol"] == symbol) & (forecasts["as_of"] >= first)]
                own = quantiles[(quantiles["symbol"] == symbol) & (quantiles["as_of"] >= first)]
                if len(mine):
                    frames.append(threshold_rows(settings, symbol, prices[prices["symbol"] == symbol], mine, own))
            rows = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
            with warehouse.session() as session, session.transaction():
                rows = _run.with_vintage(run.stamped(rows), run, prices) if len(rows) else rows
                written = session.append("threshold", rows, key=THRESHOLD_KEY) if len(rows) else 0
                _run.commit(session, run, "threshold", written, rows)
        return dg.MaterializeResult(metadata=dict(table_metadata("threshold", written)))

    return [threshold]


def sensitivities(
    settings: Settings, prices: pd.DataFrame, forecasts: pd.DataFrame, quantiles: pd.DataFrame
) -> pd.DataFrame:
    """Threshold or maintenance margin of the newest day at other probabilities and at half and twice the horizon."""
    rows = []
    for symbol, market in settings.markets.items():
        mine = forecasts[forecasts["symbol"] == symbol].tail(1)
        own = quantiles[(quantiles["symbol"] == symbol) & quantiles["as_of"].isin(mine["as_of"])]
        bars = prices[prices["symbol"] == symbol]
        for product in product_specs(settings, market) if len(mine) else ():
            chosen = chosen_quantiles(settings, own, product.product)
            parameter = "lt_bps" if product.product == "lending" else "mm_bps"
            for side in overshoot.SIDES:
                for bps in (100, 50, 10):
                    for factor in (0.5, 1.0, 2.0):
                        variant = replace(
                            product,
                            tail_probability_bps=bps,
                            base_horizon_hours=product.base_horizon_hours * factor,
                        )
                        days = budget_days(settings, symbol, variant, side, bars, mine, chosen)
                        value = budget.walk_budget(days, variant, side, budget_spec(settings))[parameter].iloc[0]
                        rows.append((symbol, product.product, side, bps, factor, parameter.removesuffix("_bps"), value))
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
    products = {
        (s, one.product): one for s, market in settings.markets.items() for one in product_specs(settings, market)
    }
    for row in newest[newest["status"] != "withheld"].to_dict("records"):
        product = products.get((row["symbol"], row["product"]))
        if product is None:
            continue
        # A margin of shorts is exp(budget) - 1, all else moves with exp(-budget).
        is_convex = row["product"] == "perpetual" and row["side"] == "short"
        unit = np.exp(row["lambda_total"] if is_convex else -row["lambda_total"])
        seconds = 3600.0 * row["horizon_hours"]
        faster = {"minute_bp": min(60.0, seconds), "half_bp": seconds / 2}
        floor = max(product.oracle_deviation, settings.budget.minimum_oracle_deviation)
        plain = float(liquidation.log_cost(floor, row["side"]))
        rows.append(
            {name: row[name] for name in ("symbol", "product", "side", "horizon_hours")}
            | {
                name: unit * consensus.latency_worth_bp(row["lambda_move"], row["eta"], seconds, saved)
                for name, saved in faster.items()
            }
            | {"venues_bp": 1e4 * unit * float(np.expm1(max(row["lambda_oracle"] - plain, 0.0)))}
        )
    columns = ["symbol", "product", "side", "horizon_hours", "minute_bp", "half_bp", "venues_bp"]
    return pd.DataFrame(rows, columns=columns)
