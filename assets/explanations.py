"""Explanations: what parameters in force assume, and why each target moved.

What lives here: laying stored rows beside what is in force and beside the last recommendation, calling the core,
appending. What does not: the inversion (``plimsoll.implied``), the split (``plimsoll.attribution``).
"""

from dataclasses import replace
from datetime import date
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
from numpy.typing import NDArray

import plimsoll
from assets import _run, sizes
from assets._budget import budget_spec, product_specs
from assets._table import table_metadata
from assets.recommendations import absorbed_in_force
from assets.sizes import Sized, Stored, sized
from dagster_project import in_force
from dagster_project.in_force_files import InForceSet
from dagster_project.progress import step
from dagster_project.settings import Settings
from dagster_project.warehouse import Session, Warehouse
from plimsoll import attribution, caps, implied, overshoot
from plimsoll.overshoot import TAIL_FRACTION
from plimsoll.recommendations import LendingSet, PerpetualSet
from plimsoll.tails import GpdFit
from plimsoll.thresholds import BPS

Floats = NDArray[np.float64]

IMPLIED_KEY = ("as_of", "symbol", "product", "side", "methodology", "config_hash")
ATTRIBUTION_KEY = ("as_of", "symbol", "product", "side", "driver", "methodology", "config_hash")
IMPLIED_BPS = 100
"""Probability at which latency and depth are stated."""
NO_SHORTFALL = 0.5
"""Budget of expected shortfall under which the quantile always binds: latency and depth are stated at one percent."""
SMALLEST_SHARE, LARGEST_SHARE = 1e-4, 1e3
"""Sizes between which a depth is looked for, in design sizes."""
IMPLIED_COLUMNS = (
    "as_of",
    "symbol",
    "product",
    "side",
    "venue",
    "read_on",
    "parameter",
    "value_bps",
    "absorbed_log",
    "absorbed_drop",
    "k_live",
    "probability",
    "probability_note",
    "tail_probability",
    "latency_hours",
    "latency_note",
    "depth_usd",
    "depth_note",
    "input_hash",
)
IMPLIED_NUMBERS = (
    "absorbed_log",
    "absorbed_drop",
    "k_live",
    "probability",
    "tail_probability",
    "latency_hours",
    "depth_usd",
)


def implied_rows(settings: Settings, stored: Stored, events: pd.DataFrame, day: date) -> pd.DataFrame:
    """Say what every set in force assumes on a day, without identity columns.

    Parameters
    ----------
    settings, stored
        Configuration, and the store as known by the day.
    events
        ``target_date, side, trigger_depth, overshoot_sigma`` of all markets.
    day
        The day.
    """
    known = events[events["target_date"] <= pd.Timestamp(day)]
    out: list[dict[str, Any]] = []
    held, stands = in_force.sets(settings), in_force.live(settings)
    for symbol in settings.markets:
        for product in product_specs(settings, symbol):
            for side in overshoot.SIDES:
                key = (symbol, product.product, side)
                live = stands.get(key)
                found = sized(settings, stored, symbol, product, side) if live is not None else None
                if live is not None and found is not None:
                    row = _implied(settings, held[key], live, found, known)
                    out.append(row | {"as_of": pd.Timestamp(day), "symbol": symbol})
    rows = pd.DataFrame(out, columns=[*IMPLIED_COLUMNS])
    return rows.astype(dict.fromkeys(IMPLIED_NUMBERS, "float64") | {"value_bps": "Int64"})


def _implied(
    settings: Settings, held: InForceSet, live: LendingSet | PerpetualSet, found: Sized, events: pd.DataFrame
) -> dict[str, Any]:
    row, product, side = found.row, found.product, found.side
    move = float(absorbed_in_force(live, product, side, row["lambda_slippage"], row["oracle_error"]))
    pool = events[(events["side"] == side) & (events["trigger_depth"] == row["trigger_depth"])]
    day = found.budget.day.iloc[0]
    confidence = implied.implied_confidence(
        move,
        side=side,
        overshoots=pool["overshoot_sigma"].to_numpy(np.float64),
        k=float(day[f"k_p{IMPLIED_BPS}"]),
        sigma=float(row["sigma_eff_daily"]),
        horizon_hours=float(row["horizon_hours"]),
        eta=float(row["eta"]),
        floor_hours=settings.budget.minimum_horizon_hours,
        tail=_tail(day, len(pool)),
    )
    depth, depth_note = _depth(found, live)
    value = live.lt_bps if isinstance(live, LendingSet) else live.mm_bps
    return {
        "product": product.product,
        "side": side,
        "venue": in_force.venue_of(settings, held),
        "read_on": pd.Timestamp(min(held.read_on.values())),
        "parameter": "lt" if isinstance(live, LendingSet) else "mm",
        "value_bps": value,
        "absorbed_log": confidence.absorbed_move,
        "absorbed_drop": confidence.absorbed_drop,
        "k_live": confidence.k_live,
        "probability": confidence.probability,
        "probability_note": confidence.probability_note,
        "tail_probability": confidence.extrapolated_probability,
        "latency_hours": confidence.latency_hours,
        "latency_note": confidence.latency_note,
        "depth_usd": depth,
        "depth_note": depth_note,
        "input_hash": _run.digest(str(row["input_hash"]), str(live)),
    }


def _tail(day: pd.Series, triggers: int) -> GpdFit | None:
    """Pooled tail of a day, where there is one."""
    values = [float(day[name]) for name in ("gpd_threshold_sigma", "gpd_xi", "gpd_beta_sigma")]
    if not np.isfinite(values).all():
        return None
    return GpdFit(
        values[0], values[1], values[2], TAIL_FRACTION, round(TAIL_FRACTION * triggers), str(day["gpd_method"])
    )


def _depth(found: Sized, live: LendingSet | PerpetualSet) -> tuple[float | None, str]:
    """Largest liquidation that a set in force carries at one percent."""
    product = replace(found.product, tail_probability_bps=IMPLIED_BPS)
    spec = replace(found.budget.spec, es_budget=NO_SHORTFALL)
    day = found.budget.day.assign(k=found.budget.day[f"k_p{IMPLIED_BPS}"])
    at_one = replace(found, product=product, budget=replace(found.budget, day=day, product=product, spec=spec))
    curve: caps.Function
    if isinstance(live, LendingSet):
        curve = sizes.with_bonus(at_one, live.bonus_bps / BPS)
        carried = -float(np.log(live.lt_bps / BPS))
    else:
        curve = at_one.budget
        carried = _margin_log(live.mm_bps / BPS, found)

    bounds = {
        "smallest_usd": SMALLEST_SHARE * product.notional_usd,
        "largest_usd": LARGEST_SHARE * product.notional_usd,
    }
    return implied.implied_depth(curve, carried, **bounds)


def _margin_log(margin: float, found: Sized) -> float:
    falls = (found.side == "long") != (found.product.contract == "inverse")
    return float(-np.log1p(-margin) if falls else np.log1p(margin))


ATTRIBUTION_COLUMNS = (
    "as_of",
    "since",
    "symbol",
    "product",
    "side",
    "driver",
    "parameter",
    "before_bps",
    "after_bps",
    "contribution_bps",
    "driver_before",
    "driver_after",
    "unit",
    "input_hash",
)


def attribution_rows(settings: Settings, thresholds: pd.DataFrame, since: date | None, day: date) -> pd.DataFrame:
    """Attribute the change of every target between two days, without identity columns.

    Parameters
    ----------
    settings
        Configuration.
    thresholds
        Stored rows.
    since
        Day of the last recommendation; None: the day before in the store.
    day
        The day.

    Notes
    -----
    A set that is withheld on either day has no rows: there is nothing to attribute.
    """
    out: list[dict[str, Any]] = []
    contracts = {
        (symbol, one.product): one.contract for symbol in settings.markets for one in product_specs(settings, symbol)
    }
    known = thresholds[thresholds["as_of"] <= pd.Timestamp(day)]
    for key, rows in known.groupby(["symbol", "product", "side"], sort=True):
        symbol, product, side = (str(part) for part in key)
        earlier = rows.iloc[:-1] if since is None else rows[rows["as_of"] <= pd.Timestamp(since)]
        if earlier.empty or (symbol, product) not in contracts:
            continue
        before, after = earlier.iloc[-1], rows.iloc[-1]
        if "withheld" in (before["status"], after["status"]):
            continue
        spec = budget_spec(settings, symbol, product)
        grid = spec.lt_grid_bps if product == "lending" else spec.margin_grid_bps
        found = attribution.attribute(before, after, is_inverse=contracts[symbol, product] == "inverse", grid_bps=grid)
        out += [
            {
                "as_of": pd.Timestamp(day),
                "since": before["as_of"],
                "symbol": symbol,
                "product": product,
                "side": side,
                "driver": one.driver,
                "parameter": found.parameter.removesuffix("_bps"),
                "before_bps": found.before_bps,
                "after_bps": found.after_bps,
                "contribution_bps": one.contribution_bps,
                "driver_before": one.before,
                "driver_after": one.after,
                "unit": one.unit,
                "input_hash": _run.digest(str(before["input_hash"]), str(after["input_hash"])),
            }
            for one in found.drivers
        ]
    return pd.DataFrame(out, columns=[*ATTRIBUTION_COLUMNS])


def last_recommendation(session: Session, run: _run.Run, day: date) -> date | None:
    """Day of the last recommendation before a day, or None."""
    found = session.query("last_recommendation", day=day, **run.identity)["as_of"]
    return None if found.empty else pd.Timestamp(found.iloc[0]).date()


def build(settings: Settings, partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return the explaining assets of a configuration."""

    @dg.asset(
        name="implied_confidence",
        deps=["threshold"],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="decision",
        kinds={"python", "duckdb"},
        code_version=plimsoll.METHODOLOGY,
        description="What parameters in force assume: the move that they absorb, and the probability, the latency and "
        "the depth that go with it.",
    )
    def implied_confidence(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[None]:
        run = _run.of(context, settings)
        with step("implied confidence"):
            with warehouse.session() as session:
                stored = sizes.read(session, settings, run.days[0], run.end)
                events = session.query("overshoot_events", last=run.end, **run.identity)
            rows = pd.concat([implied_rows(settings, stored.until(day), events, day) for day in run.days])
            written = _append(warehouse, run, "implied_confidence", rows, IMPLIED_KEY, stored.prices)
        return dg.MaterializeResult(metadata=dict(table_metadata("implied_confidence", written)))

    @dg.asset(
        name="attribution",
        deps=["threshold"],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="decision",
        kinds={"python", "duckdb"},
        code_version=plimsoll.METHODOLOGY,
        description="Why each target moved since the last recommendation, driver by driver; the contributions sum to "
        "the change of the rounded parameter.",
    )
    def attributed(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[None]:
        run = _run.of(context, settings)
        with step("attribution"):
            with warehouse.session() as session:
                thresholds = session.query("thresholds", last=run.end, **run.identity)
                prices = session.query("prices", last=run.end)
                since = {day: last_recommendation(session, run, day) for day in run.days}
            # Within one run the day before has not been recommended yet; it is the one to compare with all the same.
            before = dict(zip(run.days[1:], run.days, strict=False))
            rows = pd.concat(
                [attribution_rows(settings, thresholds, before.get(day, since[day]), day) for day in run.days]
            )
            written = _append(warehouse, run, "attribution", rows, ATTRIBUTION_KEY, prices)
        return dg.MaterializeResult(metadata=dict(table_metadata("attribution", written)))

    return [implied_confidence, attributed]


def _append(
    warehouse: Warehouse,
    run: _run.Run,
    table: str,
    rows: pd.DataFrame,
    key: tuple[str, ...],
    prices: pd.DataFrame,
) -> int:
    with warehouse.session() as session, session.transaction():
        kept = _run.with_vintage(run.stamped(rows.reset_index(drop=True)), run, prices) if len(rows) else rows
        written = session.append(table, kept, key=key) if len(rows) else 0
        _run.commit(session, run, table, written, kept)
    return written
