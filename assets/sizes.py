"""Sizes: margins by position size, and how much of a lending market can be carried at once.

What lives here: the budget of each market's newest day as a function of size, calling the core, appending. What does
not: tiers and caps themselves (``plimsoll.tiers``, ``plimsoll.caps``), the budget (``plimsoll.budget``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
from numpy.typing import NDArray

import plimsoll
from assets import _run
from assets._budget import (
    Outside,
    beside,
    budget_spec,
    chosen_quantiles,
    costs_of,
    newest_day,
    product_specs,
    use_of,
    with_books,
)
from assets._table import table_metadata
from dagster_project import in_force
from dagster_project.markets import Lending, Perpetual
from dagster_project.progress import step
from dagster_project.settings import Settings
from dagster_project.warehouse import Session, Warehouse
from plimsoll import caps, overshoot, tiers
from plimsoll.budget import ProductSpec, SizeBudget
from plimsoll.caps import Cap, ForcedSale
from plimsoll.concentration import OpenInterestRule
from plimsoll.inverse import OTHER
from plimsoll.recommendations import LendingSet
from plimsoll.thresholds import BPS

Floats = NDArray[np.float64]

TIER_KEY = ("as_of", "symbol", "side", "tier", "methodology", "config_hash")
CAP_KEY = ("as_of", "symbol", "side", "methodology", "config_hash")
LARGEST_SIZES = 100.0
"""Largest size of a tier table in design sizes, where the configuration names none."""
SMALLEST_SHARE = 0.02
"""First bound of a tier table, as a share of the design size."""
SMALLEST_USD, LARGEST_USD = 1e4, 1e12


@dataclass(frozen=True)
class Stored:
    """What the store knows up to a day."""

    prices: pd.DataFrame
    forecasts: pd.DataFrame
    quantiles: pd.DataFrame
    thresholds: pd.DataFrame
    outside: Outside

    def until(self, day: date) -> "Stored":
        """Return what was known by the close of a day."""
        last = pd.Timestamp(day)

        def known(frame: pd.DataFrame) -> pd.DataFrame:
            return frame[frame["as_of"] <= last]

        return Stored(
            self.prices[self.prices["date"] <= last],
            known(self.forecasts),
            known(self.quantiles),
            known(self.thresholds),
            self.outside,
        )


def read(session: Session, settings: Settings, first: date, last: date) -> Stored:
    """Read it, with the order books that days from ``first`` to ``last`` may use."""
    identity = {"methodology": plimsoll.METHODOLOGY, "config_hash": settings.config_hash}
    return Stored(
        session.query("prices", last=last),
        session.query("forecasts", last=last, **identity),
        session.query("overshoot_quantiles", last=last, **identity),
        session.query("thresholds", last=last, **identity),
        with_books(session, settings, beside(session, settings, last), first, last),
    )


@dataclass(frozen=True)
class Sized:
    """The newest budget of one set: its threshold row, and the same at any size."""

    row: pd.Series
    budget: SizeBudget
    product: ProductSpec
    side: str


def sized(settings: Settings, stored: Stored, symbol: str, product: ProductSpec, side: str) -> Sized | None:
    """Return the budget of a set's newest day over sizes; None where it is withheld or there is none."""
    rows = stored.thresholds[
        (stored.thresholds["symbol"] == symbol)
        & (stored.thresholds["product"] == product.product)
        & (stored.thresholds["side"] == side)
    ]
    if rows.empty or rows.iloc[-1]["status"] == "withheld":
        return None
    row = rows.iloc[-1]
    forecasts = stored.forecasts[(stored.forecasts["symbol"] == symbol) & (stored.forecasts["as_of"] <= row["as_of"])]
    own = stored.quantiles[(stored.quantiles["symbol"] == symbol) & (stored.quantiles["as_of"] == row["as_of"])]
    chosen = chosen_quantiles(settings, own, product.product)
    bars = stored.prices[stored.prices["symbol"] == symbol]
    day = newest_day(settings, symbol, product, side, bars, forecasts, chosen, stored.thresholds, stored.outside)
    costs = costs_of(settings, symbol, product, side, day.iloc[0].to_dict(), stored.outside)
    return Sized(
        row, SizeBudget(day, product, side, budget_spec(settings, symbol, product.product), costs), product, side
    )


def tier_rows(settings: Settings, stored: Stored, day: date) -> pd.DataFrame:
    """Margins by size of every perpetual and side on a day, without identity columns."""
    out: list[dict[str, Any]] = []
    for symbol in settings.markets:
        for product in (one for one in product_specs(settings, symbol) if one.product == "perpetual"):
            for side in overshoot.SIDES:
                found = sized(settings, stored, symbol, product, side)
                named = {"as_of": pd.Timestamp(day), "symbol": symbol, "side": side}
                if found is None:
                    out.append(_no_table(named, "no budget is published", ""))
                    continue
                hashed = str(found.row["input_hash"])
                try:
                    table = _tiers(settings, symbol, found)
                except ValueError as error:
                    out.append(_no_table(named, str(error), hashed))
                    continue
                out += [named | {"input_hash": hashed, "note": table.note} | row for row in _tier_records(table)]
    rows = pd.DataFrame(out, columns=[*TIER_COLUMNS])
    return rows.astype(
        dict.fromkeys(("mm_bps", "im_bps", "max_leverage"), "Int64") | dict.fromkeys(TIER_USD, "float64")
    )


def _tier_records(table: tiers.TierTable) -> list[dict[str, Any]]:
    frame = table.frame()
    return [
        {
            "tier": int(row["tier"]),
            "floor_usd": float(row["floor_usd"]),
            "ceiling_usd": float(row["ceiling_usd"]),
            "mm_bps": round(row["mm_rate"] * BPS),
            "im_bps": round(row["im_rate"] * BPS),
            "max_leverage": int(row["max_leverage"]),
            "maintenance_amount_usd": float(row["mm_amount_usd"]),
        }
        for row in frame.to_dict("records")
    ]


def open_interest_row(settings: Settings, symbol: str, im_bps: Any) -> dict[str, Any] | None:
    """Scale a perpetual's initial margin with the configured open interest; None without one, or without a margin."""
    use = settings.markets[symbol].perpetual
    if use is None or use.open_interest is None or pd.isna(im_bps):
        return None
    base, interest = int(im_bps), use.open_interest
    rule = OpenInterestRule(base, interest.lower_usd, interest.upper_usd, settings.budget.margin_grid_bps)
    return interest.model_dump() | {"base_bps": base, "im_bps": int(rule.margin_bps(interest.usd))}


TIER_COLUMNS = (
    "as_of",
    "symbol",
    "side",
    "tier",
    "floor_usd",
    "ceiling_usd",
    "mm_bps",
    "im_bps",
    "max_leverage",
    "maintenance_amount_usd",
    "note",
    "input_hash",
)


TIER_USD = ("floor_usd", "ceiling_usd", "maintenance_amount_usd")


def _no_table(named: dict[str, Any], note: str, hashed: str) -> dict[str, Any]:
    return named | {"tier": 0, "note": note, "input_hash": hashed}


def _tiers(settings: Settings, symbol: str, found: Sized) -> tiers.TierTable:
    use, grid = use_of(settings.markets[symbol], "perpetual"), found.budget.spec.margin_grid_bps
    largest = use.largest_notional_usd if isinstance(use, Perpetual) else None
    # A coin-margined long loses like a short in the coin, and the other way round.
    side = OTHER[found.side] if found.product.contract == "inverse" else found.side
    table = tiers.size_tiers(
        found.budget,
        side=side,
        smallest_usd=SMALLEST_SHARE * found.product.notional_usd,
        largest_usd=largest or LARGEST_SIZES * found.product.notional_usd,
        rate_grid_bps=grid,
    )
    return tiers.with_initial_margins(
        table,
        buffer_log=float(found.row["user_buffer_log"]),
        side=side,
        grid_bps=grid,
        funding=found.product.funding,
    )


def cap_rows(settings: Settings, stored: Stored, day: date) -> pd.DataFrame:
    """Supply and borrow caps of every lending market on a day, without identity columns."""
    out: list[dict[str, Any]] = []
    for symbol, market in settings.markets.items():
        for product in (one for one in product_specs(settings, symbol) if one.product == "lending"):
            for side in overshoot.SIDES:
                found = sized(settings, stored, symbol, product, side)
                row = {"as_of": pd.Timestamp(day), "symbol": symbol, "side": side, "lt_basis": "none"}
                row |= {"binding": "none", "note": "no budget is published", "input_hash": ""}
                use = use_of(market, "lending")
                if isinstance(use, Lending):
                    row["used_usd"] = use.exposure.supplied_usd if side == "long" else use.exposure.borrowed_usd
                    if found is not None:
                        row |= _caps(settings, symbol, found, use)
                out.append(row)
    rows = pd.DataFrame(out, columns=[*CAP_COLUMNS])
    return rows.astype({"lt_bps": "Int64"} | {name: "float64" for name in CAP_COLUMNS if name.endswith("_usd")})


CAP_COLUMNS = (
    "as_of",
    "symbol",
    "side",
    "lt_bps",
    "lt_basis",
    "cap_usd",
    "sale_usd",
    "binding",
    "bonus_cap_usd",
    "practice_cap_usd",
    "largest_sale_usd",
    "used_usd",
    "note",
    "input_hash",
)


def _caps(settings: Settings, symbol: str, found: Sized, use: Lending) -> dict[str, Any]:
    live = in_force.live(settings).get((symbol, found.product.product, found.side))
    held = live if isinstance(live, LendingSet) else None
    lt_bps = held.lt_bps if held is not None else int(found.row["lt_bps"])
    bonus = (held.bonus_bps if held is not None else int(found.row["bonus_bps"])) / 1e4
    named = {
        "lt_bps": lt_bps,
        "lt_basis": "in force" if held is not None else "target",
        "input_hash": _run.digest(str(found.row["input_hash"]), str(lt_bps), str(bonus), str(use.exposure)),
    }
    if lt_bps == 0:
        return named | {"note": "no threshold is carried at any size"}
    sale = ForcedSale(use.exposure.largest_wallets_share, use.exposure.co_triggered_share)
    bounds = {"smallest_usd": SMALLEST_USD, "largest_usd": LARGEST_USD}
    budget = with_bonus(found, bonus)
    search = caps.supply_cap if found.side == "long" else caps.borrow_cap
    cap = search(budget, lt_current=lt_bps / 1e4, sale=sale, **bounds)
    slippage = found.budget.slippage
    paying = bonus * (1 - settings.budget.protocol_share)
    by_bonus = caps.cap_by_bonus(slippage, bonus=paying, fee=found.product.fee, sale=sale, **bounds)
    practice = caps.practice_supply_cap(slippage, bonus=bonus, **bounds)
    reach = caps.largest_absorbable(found.budget, **bounds)
    return named | {
        "cap_usd": cap.rounded_usd(),
        "sale_usd": cap.sale_usd,
        "binding": cap.binding,
        "bonus_cap_usd": by_bonus.rounded_usd(),
        "practice_cap_usd": practice.rounded_usd(),
        "largest_sale_usd": _reached(reach),
        "note": cap.note,
    }


def _reached(cap: Cap) -> float:
    return caps.round_down_significant(cap.cap_usd)


def with_bonus(found: Sized, bonus: float) -> caps.Function:
    """Minus the log of the threshold that each size carries at a bonus that stays; NaN where nobody would liquidate."""

    def carried_like_a_move(sizes: Floats) -> Floats:
        terms = found.budget.terms(sizes)
        return np.asarray(terms["lambda_move"] + terms["lambda_model"] + terms["lambda_smoothing"], dtype=np.float64)

    return caps.budget_with_bonus(
        move=carried_like_a_move,
        slippage=found.budget.slippage,
        bonus=bonus,
        oracle_deviation=float(found.row["oracle_error"]),
        fee=found.product.fee,
        protocol_share=found.budget.spec.protocol_share,
        side=found.side,
    )


def build(settings: Settings, partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return the assets of sizes of a configuration."""

    @dg.asset(
        name="size_tier",
        deps=["threshold"],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="threshold",
        kinds={"python", "duckdb"},
        code_version=plimsoll.METHODOLOGY,
        description="Margins of each perpetual by position size, billed marginally, so that what is billed never falls "
        "below what the budget asks on average.",
    )
    def size_tier(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[None]:
        return _written(context, settings, warehouse, "size_tier", TIER_KEY, tier_rows)

    @dg.asset(
        name="exposure_cap",
        deps=["threshold"],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="threshold",
        kinds={"python", "duckdb"},
        code_version=plimsoll.METHODOLOGY,
        description="Supply and borrow caps of each lending market: the largest total at which the threshold is still "
        "carried when its largest holders are sold at once.",
    )
    def exposure_cap(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[None]:
        return _written(context, settings, warehouse, "exposure_cap", CAP_KEY, cap_rows)

    return [size_tier, exposure_cap]


def _written(
    context: dg.AssetExecutionContext,
    settings: Settings,
    warehouse: Warehouse,
    table: str,
    key: tuple[str, ...],
    made: Callable[[Settings, Stored, date], pd.DataFrame],
) -> dg.MaterializeResult[None]:
    run = _run.of(context, settings)
    with step(table.replace("_", " ")):
        with warehouse.session() as session:
            stored = read(session, settings, run.days[0], run.end)
        frames = [made(settings, stored.until(day), day) for day in run.days]
        rows = pd.concat([frame for frame in frames if len(frame)], ignore_index=True) if frames else pd.DataFrame()
        with warehouse.session() as session, session.transaction():
            rows = _run.with_vintage(run.stamped(rows), run, stored.prices) if len(rows) else rows
            written = session.append(table, rows, key=key) if len(rows) else 0
            _run.commit(session, run, table, written, rows)
    return dg.MaterializeResult(metadata=dict(table_metadata(table, written)))
