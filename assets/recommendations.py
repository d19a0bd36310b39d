"""Recommendations: what the committee is asked to decide, parameter by parameter.

What lives here: putting the newest target beside what is in force, with the reasons that withhold or hold it. What does
not: decision rules (``plimsoll.recommendations``), the budget (``assets.thresholds``).
"""

from dataclasses import asdict
from datetime import date, timedelta

import dagster as dg
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

import plimsoll
from assets import _run, checks
from assets import prices as asset_prices
from assets._budget import grids_of, product_specs, use_of
from assets._table import table_metadata
from dagster_project import calendars, in_force
from dagster_project.markets import Market
from dagster_project.progress import step
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse
from plimsoll import consensus, implied, inverse, liquidation, overshoot, recommendations, thresholds
from plimsoll.budget import ProductSpec
from plimsoll.consensus import FeedState
from plimsoll.recommendations import DecisionRules, LendingSet, PerpetualSet

KEY = ("as_of", "symbol", "product", "side", "parameter", "methodology", "config_hash")
GAP_WATCH_SESSIONS = 30
"""A gap of more than two sessions within this many last bars withholds the market."""
LONG_GAP_SESSIONS = 2


def rules_of(settings: Settings, symbol: str, product: str) -> DecisionRules:
    """Turn the knobs into the core's rules, on the grid of the venue that a market is used at."""
    knobs, grids = settings.budget, grids_of(settings, use_of(settings.markets[symbol], product).venue, product)
    return DecisionRules(
        hold_bps=knobs.loosening_hold_bps,
        hold_margin_share=knobs.loosening_hold_margin_share,
        down_steps=knobs.hysteresis_down_steps,
        up_steps=knobs.hysteresis_up_steps,
        lt_grid_bps=grids.lt,
        margin_grid_bps=grids.margin,
        bonus_grid_bps=grids.bonus,
    )


def data_objection(
    market: Market, prices: pd.DataFrame, day: date, no_quote: frozenset[date] = frozenset()
) -> str | None:
    """Say why a market's data do not carry a proposal on ``day``, or None.

    Days that the source itself marks as without a quotation were not due.
    """
    if prices.empty:
        return "no price up to this day"
    last = prices["date"].iloc[-1].date()
    due = calendars.sessions(market.calendar, last + timedelta(days=1), day, no_quote=no_quote)
    if len(due):
        return f"stale data: the last bar is {last}, a bar of {due[0].date()} was due"
    recent = prices.tail(GAP_WATCH_SESSIONS)
    gaps = recent[recent["gap_sessions"] > LONG_GAP_SESSIONS]
    if len(gaps):
        worst = gaps.sort_values("gap_sessions").iloc[-1]
        return f"gap of {worst['gap_sessions']} sessions before {worst['date'].date()}"
    return None


def absorbed_in_force(
    live: LendingSet | PerpetualSet,
    product: ProductSpec,
    side: str,
    lambda_slippage: ArrayLike,
    oracle_error: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Log move that a set in force carries over the product's horizon, at the slippage of a day.

    ``oracle_error`` is the day's, all parts together; None, and NaN in rows of a method that did not keep it: the
    feed's deviation alone.
    """
    told = np.asarray(np.nan if oracle_error is None else oracle_error, dtype=np.float64)
    deviation = np.where(np.isnan(told), product.oracle_deviation, told)
    slippage = np.asarray(lambda_slippage, dtype=np.float64)
    if isinstance(live, LendingSet):
        return liquidation.absorbed_move_lending(
            lt=live.lt_bps / 1e4, bonus=live.bonus_bps / 1e4, oracle_deviation=deviation, side=side
        )
    carried = inverse.absorbed_move_inverse if product.contract == "inverse" else liquidation.absorbed_move_perpetual
    return carried(
        maintenance=live.mm_bps / 1e4,
        oracle_deviation=deviation,
        slippage=np.expm1(slippage) if side == "short" else -np.expm1(-slippage),
        fee=product.fee,
        side=side,
    )


def _implied(
    product: ProductSpec, side: str, live: LendingSet | PerpetualSet | None, row: pd.Series, events: pd.DataFrame
) -> tuple[float | None, str]:
    if live is None or not np.isfinite(row["horizon_hours"]):
        return None, ""
    move = absorbed_in_force(live, product, side, row["lambda_slippage"], row["oracle_error"])
    unit = row["sigma_eff_daily"] * (row["horizon_hours"] / 24.0) ** row["eta"]
    pool = events[(events["side"] == side) & (events["trigger_depth"] == row["trigger_depth"])]
    return implied.implied_probability(pool["overshoot_sigma"].to_numpy(np.float64), float(move) / unit)


def _target(product: ProductSpec, row: pd.Series) -> LendingSet | PerpetualSet | None:
    if row["status"] == "withheld":
        return None
    if product.product == "lending":
        return LendingSet(int(row["lt_bps"]), int(row["ltv_bps"]), int(row["bonus_bps"]))
    return PerpetualSet(int(row["mm_bps"]), int(row["im_bps"]), int(row["max_leverage"]))


def state_of(settings: Settings, bars: pd.DataFrame, feeds: pd.DataFrame) -> FeedState:
    """Say what a market's feeds allow on the day of its newest bar."""
    newest = bars.iloc[-1] if len(bars) else pd.Series({"venue_count": 0, "feed_status": "no source"})
    is_out = feeds["is_quarantined"].astype(bool)
    stands = feeds.loc[~is_out & (feeds["days_stale"] == 0), "source"].map(settings.source.venues_by_id())
    return consensus.feed_state(
        venues=int(newest["venue_count"]),
        status=str(newest["feed_status"]),
        quarantined_sources=tuple(feeds.loc[is_out, "source"]),
        clean_venues=min(stands.nunique(), int(newest["venue_count"])),
        is_demo=settings.profile.is_demo,
        is_reference=settings.source.is_reference,
    )


def recommend(
    settings: Settings,
    day: date,
    prices: pd.DataFrame,
    budgets: pd.DataFrame,
    events: pd.DataFrame,
    no_quote: pd.DataFrame,
    feeds: pd.DataFrame,
    objection: str | None,
) -> pd.DataFrame:
    """Recommendation rows of one day, without identity columns.

    Parameters
    ----------
    settings, day
        Configuration and last day whose data may be used.
    prices, budgets, events
        Newest revisions up to ``day``.
    no_quote
        Days that the source marks as without a quotation: ``symbol, date``.
    feeds
        Newest scores of feeds: ``symbol, source, is_quarantined``.
    objection
        Why nothing at all may be proposed (a failed check), or None.
    """
    out: list[dict[str, object]] = []
    stands = in_force.live(settings)
    known_events = events[events["target_date"] <= pd.Timestamp(day)]
    for symbol, market in settings.markets.items():
        bars = prices[(prices["symbol"] == symbol) & (prices["date"] <= pd.Timestamp(day))]
        silent = frozenset(when.date() for when in no_quote.loc[no_quote["symbol"] == symbol, "date"])
        reason = objection or data_objection(market, bars, day, silent)
        mine = budgets[(budgets["symbol"] == symbol) & (budgets["as_of"] <= pd.Timestamp(day))]
        state = state_of(settings, bars, feeds[feeds["symbol"] == symbol])
        for product in product_specs(settings, symbol):
            for side in overshoot.SIDES:
                rows = mine[(mine["product"] == product.product) & (mine["side"] == side)]
                newest = rows.tail(1)
                live = stands.get((symbol, product.product, side))
                out += _propose(settings, symbol, product, side, live, newest, known_events, reason, state)
    return pd.DataFrame(out).assign(as_of=pd.Timestamp(day)) if out else pd.DataFrame()


def _propose(
    settings: Settings,
    symbol: str,
    product: ProductSpec,
    side: str,
    live: LendingSet | PerpetualSet | None,
    newest: pd.DataFrame,
    events: pd.DataFrame,
    reason: str | None,
    state: FeedState,
) -> list[dict[str, object]]:
    if newest.empty:
        row, target = pd.Series({"status": "withheld", "horizon_hours": np.nan, "input_hash": ""}), None
        reason = reason or f"not enough data: fewer than {settings.volatility.minimum_any} returns"
        buffer_log = np.nan
    else:
        row = newest.iloc[0]
        target = _target(product, row)
        reason = reason or (str(row["note"]) if target is None else None)
        buffer_log = float(row["user_buffer_log"]) if target is not None else np.nan
    may_loosen = state.may_loosen and row["status"] == "ok"
    if product.product == "lending":
        proposals = recommendations.propose_lending(
            live if isinstance(live, LendingSet) else None,
            target if isinstance(target, LendingSet) else None,
            buffer_log=buffer_log,
            may_loosen=may_loosen,
            withheld_reason=reason,
            rules=rules_of(settings, symbol, product.product),
        )
    else:
        proposals = recommendations.propose_perpetual(
            live if isinstance(live, PerpetualSet) else None,
            target if isinstance(target, PerpetualSet) else None,
            buffer_log=buffer_log,
            funding=product.funding,
            side=side,
            may_loosen=may_loosen,
            withheld_reason=reason,
            rules=rules_of(settings, symbol, product.product),
        )
    probability, note = _implied(product, side, live, row, events)
    rows = []
    for proposal in proposals:
        fields = asdict(proposal)
        if state.reasons and not state.may_loosen:
            fields["reason"] = fields["reason"].replace(thresholds.FROZEN, "; ".join(state.reasons))
        leads = proposal.parameter in ("lt", "mm")
        fields |= {
            "symbol": symbol,
            "product": product.product,
            "side": side,
            "implied_probability": probability if leads else None,
            "implied_note": note if leads else "",
            "input_hash": _run.digest(str(row["input_hash"]), str(fields["in_force"]), str(reason)),
        }
        rows.append(fields)
    return rows


def build(settings: Settings, partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return the recommendation asset of a configuration."""

    @dg.asset(
        name="recommendation",
        deps=["threshold", "coverage"],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="decision",
        kinds={"python", "duckdb"},
        code_version=plimsoll.METHODOLOGY,
        description="The parameter in force, the target and what is proposed, with hold, hysteresis and withholding "
        "applied to each set as a whole.",
    )
    def recommendation(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[None]:
        run = _run.of(context, settings)
        with step("recommendations"):
            with warehouse.session() as session:
                prices = session.query("prices", last=run.end)
                budgets = session.query("thresholds", last=run.end, **run.identity)
                events = session.query("overshoot_events", last=run.end, **run.identity)
                feeds = {day: session.query("feed_scores", last=day, **run.identity) for day in run.days}
                no_quote = asset_prices.of_primary(session, settings, "no_quote_days")
                objection = checks.objection(checks.verify(session, settings, run.end))
            frames = [
                recommend(settings, day, prices, budgets, events, no_quote, feeds[day], objection) for day in run.days
            ]
            rows = pd.concat(frames, ignore_index=True)
            for name in ("in_force", "target", "proposed"):
                rows[name] = rows[name].astype("Int64")
            rows["implied_probability"] = rows["implied_probability"].astype("float64")
            with warehouse.session() as session, session.transaction():
                rows = _run.with_vintage(run.stamped(rows), run, prices)
                written = session.append("recommendation", rows, key=KEY)
                _run.commit(session, run, "recommendation", written, rows)
        counts = rows["status"].value_counts().to_dict()
        return dg.MaterializeResult(
            metadata={**table_metadata("recommendation", written), **{f"status_{k}": int(v) for k, v in counts.items()}}
        )

    return [recommendation]
