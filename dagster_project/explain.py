"""Explain: everything that stands behind one market's parameters on a day, part by part, as plain values.

What lives here: reading the store, laying parts beside their sums, refusing sums that do not hold. What does not: the
parts themselves (``plimsoll``), text for a terminal (``explain_text``).
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import plimsoll
from assets import sizes
from assets._budget import grids_of, product_specs, use_of
from assets.overshoot import quantile_spec
from assets.thresholds import SENSITIVITY_BPS, sensitivities
from dagster_project import in_force
from dagster_project.definitions import warehouse_of
from dagster_project.outcome import plain
from dagster_project.settings import Settings
from dagster_project.warehouse import Session
from plimsoll import attribution, consensus, overshoot, uncertainty
from plimsoll.budget import PARTS, ProductSpec
from plimsoll.disagreement import WIDEST_RATIO
from plimsoll.slippage import slippage_of
from reports.words import records

SCHEMA = "plimsoll.explain/1"
BPS = 10_000
CLOSES = 1e-9
"""How far a sum of parts may lie from its whole: rounding of floating point, nothing else."""
SEED = 20181231
FORMULAS = {
    "move": "M-10",
    "oracle": "M-13",
    "slippage": "M-14",
    "fee": "M-13",
    "model": "M-32",
    "smoothing": "M-29",
}
DAILY = ("recommendations_of", "publications_of", "size_tiers_of", "exposure_caps_of", "implied_of", "attributions_of")
ORDER = ("lt", "ltv", "bonus", "mm", "im", "max_leverage")
TIER_FIELDS = ("tier", "floor_usd", "ceiling_usd", "mm_bps", "im_bps", "max_leverage", "maintenance_amount_usd")
CAP_FIELDS = (
    *("lt_bps", "lt_basis", "cap_usd", "sale_usd", "binding", "bonus_cap_usd", "practice_cap_usd"),
    *("largest_sale_usd", "used_usd", "note"),
)
IMPLIED_FIELDS = (
    *("venue", "read_on", "parameter", "value_bps", "absorbed_log", "absorbed_drop", "k_live", "probability"),
    *("probability_note", "tail_probability", "latency_hours", "latency_note", "depth_usd", "depth_note"),
)
PATH_FIELDS = (
    *("venue", "outcome", "destination", "published", "status", "steps", "converges_on", "days_looser", "reason"),
)
Record = dict[str, Any]


class NothingStoredError(RuntimeError):
    """The day is not in the store; the message says which command puts it there."""


class BrokenSumError(RuntimeError):
    """Parts do not sum to their whole; the message says whose."""


@dataclass(frozen=True)
class Known:
    """What the store holds of a day."""

    stored: sizes.Stored
    events: pd.DataFrame
    daily: Mapping[str, pd.DataFrame]

    def of(self, name: str, symbol: str, side: str, product: str | None = None) -> pd.DataFrame:
        """Rows of one set."""
        rows = self.daily[name]
        kept = (rows["symbol"] == symbol) & (rows["side"] == side)
        return rows[kept if product is None else kept & (rows["product"] == product)]


def explain(
    settings: Settings, symbol: str, day: date | None, *, product: str | None = None, side: str | None = None
) -> Record:
    """Explain every set of a market on a day.

    Parameters
    ----------
    settings
        Configuration.
    symbol
        One of its markets.
    day
        Last day whose data may be used; None: the newest that is stored.
    product, side
        Only this one; None: all.

    Returns
    -------
    dict
        Plain values: parameters in whole basis points, everything else in fractions, logs, hours and dollars.

    Raises
    ------
    NothingStoredError
        Where the day has not been run under this method and configuration.
    BrokenSumError
        Where parts do not sum to their whole.
    """
    if not Path(warehouse_of(settings).path).exists():
        raise NothingStoredError(_fill(settings, day, "nothing is stored yet"))
    with warehouse_of(settings).session() as session:
        known, on = _read(session, settings, day)
    market = settings.markets[symbol]
    wanted = [one for one in product_specs(settings, symbol) if product in (None, one.product)]
    beside = sensitivities(
        settings,
        known.stored.prices,
        known.stored.forecasts[known.stored.forecasts["symbol"] == symbol],
        known.stored.quantiles,
        known.stored.thresholds,
        known.stored.outside,
    )
    sets = [
        _set(settings, symbol, one, each, known, beside)
        for one in wanted
        for each in overshoot.SIDES
        if side in (None, each)
    ]
    return {
        "schema": SCHEMA,
        "methodology": plimsoll.METHODOLOGY,
        "config_hash": settings.config_hash,
        "symbol": symbol,
        "name": market.name,
        "as_of": on.isoformat(),
        "sets": sets,
    }


def _fill(settings: Settings, day: date | None, what: str) -> str:
    asked = "" if day is None else f" --as-of {day}"
    return f"{what} of {settings.profile.name!r}; run: plimsoll report --config FILE{asked}"


def _read(session: Session, settings: Settings, day: date | None) -> tuple[Known, date]:
    identity = {"methodology": plimsoll.METHODOLOGY, "config_hash": settings.config_hash}
    on = day
    if on is None:
        newest = session.query("last_recommendation", day=date.max, **identity)["as_of"].iloc[0]
        if pd.isna(newest):
            raise NothingStoredError(_fill(settings, None, "nothing is stored under this method and configuration"))
        on = pd.Timestamp(newest).date()
    daily = {query: session.query(query, last=on, **identity) for query in DAILY}
    if daily["recommendations_of"].empty:
        raise NothingStoredError(_fill(settings, on, f"nothing is stored for {on} under this method and configuration"))
    events = session.query("overshoot_events", last=on, **identity)
    return Known(sizes.read(session, settings, on, on), events, daily), on


def _set(
    settings: Settings, symbol: str, product: ProductSpec, side: str, known: Known, beside: pd.DataFrame
) -> Record:
    name = f"{symbol} {product.product} {side}"
    rows = known.stored.thresholds
    mine = rows[(rows["symbol"] == symbol) & (rows["product"] == product.product) & (rows["side"] == side)]
    use = use_of(settings.markets[symbol], product.product)
    held = in_force.sets(settings).get((symbol, product.product, side))
    out: Record = {
        "product": product.product,
        "side": side,
        "contract": product.contract if product.product == "perpetual" else None,
        "venue": use.venue,
        "in_force_venue": in_force.venue_of(settings, held) if held is not None else None,
        "read_on": min(held.read_on.values()).isoformat() if held is not None else None,
        "parameters": _parameters(known, symbol, product.product, side),
    }
    if mine.empty:
        return out | {"status": "withheld", "note": "no budget has been made yet", "data_to": None, "target_date": None}
    row = mine.iloc[-1]
    out |= {"status": str(row["status"]), "note": str(row["note"])}
    out |= {"data_to": plain(row["as_of"]), "target_date": plain(row["target_date"])}
    if row["status"] == "withheld":
        return out
    parameter = "lt" if product.product == "lending" else "mm"
    three = _three(beside, product, side)
    _same_target(name, row, parameter, three, product)
    return out | {
        "horizon": _horizon(settings, name, row, product),
        "oracle": _oracle(settings, name, symbol, row, product, known),
        "slippage": _slippage(settings, name, symbol, row, product, known),
        "move": _move(settings, symbol, row, product, known),
        "budget": _budget(settings, name, row, product),
        "probabilities": three,
        "binding": _binding(settings, symbol, row, product),
        "user_buffer_log": plain(row["user_buffer_log"]),
        "tiers": _tiers(known, symbol, side) if product.product == "perpetual" else None,
        "open_interest": sizes.open_interest_row(settings, symbol, row["im_bps"]),
        "cap": _cap(known, symbol, side) if product.product == "lending" else None,
        "implied": _implied(known, symbol, product.product, side),
        "model": _model(settings, symbol, row, known),
        "attribution": _attribution(name, known, symbol, product.product, side),
    }


def _parameters(known: Known, symbol: str, product: str, side: str) -> list[Record]:
    asked = known.of("recommendations_of", symbol, side, product)
    walked = known.of("publications_of", symbol, side, product).set_index("parameter")
    out = []
    for row in sorted(asked.to_dict("records"), key=lambda one: ORDER.index(one["parameter"])):
        path = walked.loc[row["parameter"]] if row["parameter"] in walked.index else None
        one = _plainly(row, ("parameter", "in_force", "target", "proposed", "status", "reason"))
        one["unit"] = "times" if row["parameter"] == "max_leverage" else "bps"
        one["path"] = None if path is None else _walk(path)
        out.append(one)
    return out


def _walk(row: pd.Series) -> Record:
    return _plainly(row, PATH_FIELDS)


def _plainly(row: Mapping[Hashable, Any] | pd.Series, names: Sequence[str]) -> Record:
    return {name: None if pd.isna(row[name]) else plain(row[name]) for name in names}


def _closes(name: str, what: str, parts: Mapping[str, float], total: float, tolerance: float = CLOSES) -> None:
    gap = math.fsum(parts.values()) - total
    if not abs(gap) <= tolerance:
        raise BrokenSumError(f"{name}: {what}: parts miss their sum of {total:g} by {gap:g}; run the day again")


def _horizon(settings: Settings, name: str, row: pd.Series, product: ProductSpec) -> Record:
    split = {part: float(row[f"horizon_{part}_hours"]) for part in ("oracle", "keeper", "auction")}
    is_split = all(math.isfinite(hours) for hours in split.values())
    parts = split if is_split else {"trigger_to_execution": product.base_horizon_hours}
    parts = parts | {"sale": float(row["horizon_sale_hours"])}
    total, floor = float(row["horizon_hours"]), settings.budget.minimum_horizon_hours
    is_floored = math.fsum(parts.values()) < floor - CLOSES
    _closes(name, "horizon", parts, math.fsum(parts.values()) if is_floored and total == floor else total)
    return {"parts_hours": parts, "total_hours": total, "floor_hours": floor, "is_floored": is_floored}


def _oracle(settings: Settings, name: str, symbol: str, row: pd.Series, product: ProductSpec, known: Known) -> Record:
    prices = known.stored.prices
    bars = prices[(prices["symbol"] == symbol) & (prices["date"] <= row["as_of"])]
    deviation = max(product.oracle_deviation, settings.budget.minimum_oracle_deviation)
    apart = bars["dispersion_bp"].to_numpy(np.float64) / BPS
    venues = bars["venue_count"].to_numpy(np.float64)
    error = {
        "is_reference": settings.source.is_reference,
        "deviation": deviation,
        "dispersion": apart,
        "side": str(row["side"]),
    }
    many = float(consensus.oracle_error_days(venues=np.full(len(venues), np.inf), **error)[-1])
    real = float(consensus.oracle_error_days(venues=venues, **error)[-1])
    stale = float(consensus.staleness_term(row["sigma_eff_daily"], 3600 * product.oracle_age_hours))
    parts = {
        "deviation": deviation,
        "dispersion": many - deviation,
        "few_venues": real - many,
        "staleness": stale,
    }
    total = float(row["oracle_error"])
    _closes(name, "oracle error", parts, total)
    return {"parts": parts, "total": total, "venues": int(venues[-1]), "age_hours": product.oracle_age_hours}


def _slippage(settings: Settings, name: str, symbol: str, row: pd.Series, product: ProductSpec, known: Known) -> Record:
    values = {one: plain(row[f"slippage_{one}"]) for one in ("law", "book", "pool")}
    use = use_of(settings.markets[symbol], product.product)
    why = dict.fromkeys(values, "")
    if values["book"] is None:
        why["book"] = _no_book(settings, symbol, row, known)
    if values["pool"] is None:
        why["pool"] = "no pool is configured" if use.pool is None else f"read on {use.pool.read_on}, after this day"
    basis = str(row["slippage_basis"])
    counted = math.expm1(row["lambda_slippage"]) if row["side"] == "short" else -math.expm1(-row["lambda_slippage"])
    known_values = [value for value in values.values() if value is not None]
    if basis in values and not abs(counted - max(known_values)) <= CLOSES:
        raise BrokenSumError(f"{name}: slippage of {counted:g} is not the largest of {known_values}; run the day again")
    return {
        "estimates": values,
        "not_admissible": why,
        "basis": basis,
        "counted": counted,
        "notional_usd": plain(row["notional_usd"]),
        "adv_usd": plain(row["adv_usd"]),
    }


def _no_book(settings: Settings, symbol: str, row: pd.Series, known: Known) -> str:
    knobs = settings.order_books
    if knobs is None:
        return "no order books are configured"
    bars = known.stored.prices
    close = bars[(bars["symbol"] == symbol) & (bars["date"] == row["as_of"])]["close_usd"]
    found = slippage_of(
        [one for one in known.stored.outside.books if one.symbol == symbol],
        symbol,
        str(row["side"]),
        np.asarray([float(row["notional_usd"])]),
        pd.Timestamp(row["as_of"]).date(),
        max_age_days=knobs.max_age_days,
        haircut=knobs.depth_haircut,
        price_usd=float(close.iloc[0]) if len(close) else None,
    )
    return str(found.note[0]) or "no admissible snapshot"


def _move(settings: Settings, symbol: str, row: pd.Series, product: ProductSpec, known: Known) -> Record:
    spec = replace(quantile_spec(settings), depths=(float(row["trigger_depth"]),))
    found = uncertainty.quantile_intervals(
        known.events,
        [symbol],
        pd.Timestamp(row["as_of"]),
        spec,
        seed=SEED,
        probabilities_bps=(product.tail_probability_bps,),
    )
    one = found[found["side"] == row["side"]].iloc[0]
    quantile, shortfall = float(row["x_quantile"]), plain(row["x_es"])
    return {
        "quantile_log": quantile,
        "shortfall_log": shortfall,
        "larger": "expected_shortfall" if shortfall is not None and shortfall > quantile else "quantile",
        "k": float(row["k"]),
        "k_low": plain(one["k_low"]),
        "k_high": plain(one["k_high"]),
        "k_note": str(one["note"]),
        "trigger_dates": int(one["trigger_dates"]),
        "trigger_depth": float(row["trigger_depth"]),
        "tail_probability": product.tail_probability_bps / BPS,
        "sigma_daily": plain(row["sigma_daily"]),
        "sigma_eff_daily": plain(row["sigma_eff_daily"]),
        "eta": plain(row["eta"]),
    }


def _budget(settings: Settings, name: str, row: pd.Series, product: ProductSpec) -> Record:
    parts = {part: float(row[f"lambda_{part}"]) for part in PARTS}
    total = float(row["lambda_total"])
    _closes(name, "loss budget", parts, total)
    is_lending = product.product == "lending"
    form = attribution.form_of(product.product, str(row["side"]), is_inverse=product.contract == "inverse")
    bonus = 0.0
    if is_lending:
        bonus = math.log1p(row["bonus_bps"] / BPS) - parts["slippage"] - parts["fee"]
    slope = BPS * form.slope(0.0, total + bonus)
    start = BPS * form.value(0.0)
    carried = BPS * form.value(total + bonus)
    target = int(row["lt_bps" if is_lending else "mm_bps"])
    last = "cap" if row["binding"] == "cap" else "rounding"
    steps = {part: slope * value for part, value in parts.items()}
    steps |= ({"bonus": slope * bonus} if is_lending else {}) | {last: target - carried}
    _closes(name, "basis points of the parameter", steps | {"start": start}, target, tolerance=1e-6)
    raw = float(row["lambda_raw"])
    grids = grids_of(settings, use_of(settings.markets[str(row["symbol"])], product.product).venue, product.product)
    return {
        "parameter": "lt" if is_lending else "mm",
        "parts_log": parts,
        "total_log": total,
        "bonus_log": bonus if is_lending else None,
        "start_bps": round(start),
        "parts_bps": steps,
        "target_bps": target,
        "rule": str(row["smoothing"]),
        "raw_log": raw,
        "raw_closed_form": form.value(raw + bonus),
        "smoothed_closed_form": form.value(total + bonus),
        "expected_bad_debt": plain(row["expected_bad_debt"]),
        "grid_bps": grids.lt if is_lending else grids.margin,
    }


def _three(beside: pd.DataFrame, product: ProductSpec, side: str) -> list[Record]:
    mine = beside[(beside["product"] == product.product) & (beside["side"] == side)]
    return [
        {
            "horizon_factor": float(row.horizon_factor),
            "tail_probability": row.tail_probability_bps / BPS,
            "value_bps": None if pd.isna(row.value_bps) else int(row.value_bps),
        }
        for row in records(mine)
    ]


def _same_target(name: str, row: pd.Series, parameter: str, three: list[Record], product: ProductSpec) -> None:
    """Refuse to show other probabilities beside a target that they do not belong to."""
    target = int(row[f"{parameter}_bps"])
    if product.tail_probability_bps in SENSITIVITY_BPS:
        same = [one["value_bps"] for one in three if _is_base(one, product)]
        if same != [target]:
            raise BrokenSumError(f"{name}: the target is {target} bps, computed again {same}; run the day again")


def _is_base(one: Record, product: ProductSpec) -> bool:
    return bool(one["horizon_factor"] == 1.0 and round(one["tail_probability"] * BPS) == product.tail_probability_bps)


def _binding(settings: Settings, symbol: str, row: pd.Series, product: ProductSpec) -> Record:
    binding = str(row["binding"])
    quantile, shortfall = float(row["x_quantile"]), float(row["x_es"])
    p = product.tail_probability_bps / 100
    if binding == "cap":
        text = (
            f"the cap of its class, {settings.markets[symbol].market_class} at {product.cap_bps} bps: "
            "prices alone would carry more"
        )
    elif binding == "expected_shortfall":
        text = (
            f"expected shortfall: bad debt meets its budget of {settings.budget.es_budget * BPS:g} bp only at a "
            f"move of {shortfall:.4f}, beyond the {p:g} % quantile at {quantile:.4f}"
        )
    elif math.isfinite(shortfall):
        text = f"the {p:g} % quantile: at a move of {quantile:.4f} expected bad debt keeps to its budget already"
    else:
        text = f"the {p:g} % quantile; no tail is known yet, so expected shortfall is not available"
    return {"constraint": binding, "text": text}


def _tiers(known: Known, symbol: str, side: str) -> Record | None:
    rows = known.of("size_tiers_of", symbol, side)
    if rows.empty:
        return None
    real = rows[rows["tier"] > 0]
    return {
        "note": str(rows.iloc[0]["note"]),
        "rows": [_plainly(row, TIER_FIELDS) for row in real.to_dict("records")],
    }


def _cap(known: Known, symbol: str, side: str) -> Record | None:
    rows = known.of("exposure_caps_of", symbol, side)
    if rows.empty:
        return None
    row = rows.iloc[0]
    return _plainly(row, CAP_FIELDS)


def _implied(known: Known, symbol: str, product: str, side: str) -> Record | None:
    rows = known.of("implied_of", symbol, side, product)
    if rows.empty:
        return None
    row = rows.iloc[0]
    return _plainly(row, IMPLIED_FIELDS)


def _model(settings: Settings, symbol: str, row: pd.Series, known: Known) -> Record:
    ratios = known.stored.outside.ratios
    mine = ratios[(ratios["symbol"] == symbol) & (ratios["side"] == row["side"]) & (ratios["as_of"] == row["as_of"])][
        "challenger_ratio"
    ]
    ratio = plain(float(mine.iloc[0])) if len(mine) else None
    return {
        "challenger_ratio": ratio,
        "margin_log": plain(row["lambda_model"]),
        "widest_ratio": WIDEST_RATIO,
        "is_gated": settings.budget.model_gate,
    }


def _attribution(name: str, known: Known, symbol: str, product: str, side: str) -> Record | None:
    rows = known.of("attributions_of", symbol, side, product)
    if rows.empty:
        return None
    order = {driver: at for at, driver in enumerate(attribution.DRIVERS)}
    drivers = sorted(rows.to_dict("records"), key=lambda one: order.get(one["driver"], len(order)))
    first = drivers[0]
    before, after = int(first["before_bps"]), int(first["after_bps"])
    moved = {one["driver"]: float(one["contribution_bps"]) for one in drivers}
    _closes(name, "attribution", moved, after - before, tolerance=1e-6)
    return {
        "since": plain(first["since"]),
        "parameter": first["parameter"],
        "before_bps": before,
        "after_bps": after,
        "drivers": [
            {
                "driver": one["driver"],
                "contribution_bps": float(one["contribution_bps"]),
                "before": plain(one["driver_before"]),
                "after": plain(one["driver_after"]),
                "unit": one["unit"],
            }
            for one in drivers
        ],
    }
