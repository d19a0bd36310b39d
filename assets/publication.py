"""Publication: what a venue's own limits allow to be published today, one whole set or nothing.

What lives here: laying the target, the set in force and what stood before out for the walk, appending. What does not:
the walk (``plimsoll.publication``, ``plimsoll.walks``), what a venue allows (``config/venues.toml``), the proposal to
the committee (``recommendations``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

import plimsoll
from assets import _run, checks
from assets import prices as asset_prices
from assets._budget import product_specs
from assets._table import table_metadata
from assets.recommendations import data_objection, state_of
from dagster_project import hold, in_force
from dagster_project.in_force_files import InForceSet, Key
from dagster_project.progress import step
from dagster_project.settings import Settings
from dagster_project.warehouse import Session, Warehouse
from plimsoll import overshoot, thresholds
from plimsoll.budget import ProductSpec
from plimsoll.constraints import Constraint, lending_constraints, perpetual_constraints
from plimsoll.publication import Outcome, PublicationRules, PublicationState, publish, target_set
from plimsoll.venues import Parameter, VenueProfile
from plimsoll.walks import LONGEST_GAP_DAYS, Walk, days_looser, walk

KEY = ("as_of", "symbol", "product", "side", "parameter", "methodology", "config_hash")
NUMBERS = ("in_force", "target", "destination", "published", "steps", "days_looser")
COLUMNS = (
    "as_of",
    "symbol",
    "product",
    "side",
    "parameter",
    "venue",
    "venue_parameter",
    "outcome",
    "in_force",
    "target",
    "destination",
    "published",
    "status",
    "steps",
    "converges_on",
    "days_looser",
    "reason",
    "input_hash",
)


def rules_of(settings: Settings) -> PublicationRules:
    """Turn the knobs into the core's rules."""
    knobs = settings.budget
    return PublicationRules(
        down_steps=knobs.hysteresis_down_steps,
        up_steps=knobs.hysteresis_up_steps,
        confirmation_days=settings.publication.confirmation_days,
        signature_bps=knobs.loosening_hold_bps,
        signature_share=knobs.loosening_hold_margin_share,
    )


@dataclass(frozen=True)
class Going:
    """Where a set was going on an earlier day: what was in force then, what was published, and the destination."""

    in_force: Mapping[str, int | None]
    published: Mapping[str, int | None]
    destination: Mapping[str, int]

    def on_from(self, stands: Mapping[str, int]) -> Mapping[str, int] | None:
        """Return the destination where what stands now is what stood or what was published then, else None."""
        for before in (self.in_force, self.published):
            if {key: value for key, value in before.items() if value is not None} == dict(stands):
                return self.destination
        return None


@dataclass(frozen=True)
class Stored:
    """What the store knows up to the last day of a run; budgets by set, days ascending, as far back as they count."""

    prices: pd.DataFrame
    budgets: Mapping[Key, list[dict[str, Any]]]
    no_quote: pd.DataFrame
    feeds: Mapping[date, pd.DataFrame]
    implied: Mapping[date, pd.DataFrame]


def read(session: Session, settings: Settings, run: _run.Run) -> Stored:
    """Read it."""
    rows = session.query("thresholds", last=run.end, **run.identity)
    back = timedelta(days=settings.publication.confirmation_days + 2 * LONGEST_GAP_DAYS)
    budgets = {}
    for (symbol, product, side), mine in rows.groupby(["symbol", "product", "side"], sort=False):
        count = int((mine["as_of"] > pd.Timestamp(run.days[0] - back)).sum())
        budgets[str(symbol), str(product), str(side)] = mine.tail(count + 1).to_dict("records")
    return Stored(
        prices=session.query("prices", last=run.end),
        budgets=budgets,  # type: ignore[arg-type]
        no_quote=asset_prices.of_primary(session, settings, "no_quote_days"),
        feeds={day: session.query("feed_scores", last=day, **run.identity) for day in run.days},
        implied={day: session.query("implied_of", last=day, **run.identity) for day in run.days},
    )


def constraints_of(
    settings: Settings, product: ProductSpec, side: str, row: Mapping[str, Any]
) -> tuple[Constraint, ...]:
    """Return what a day's budget demands of a set."""
    if product.product == "perpetual":
        return perpetual_constraints(
            total=float(row["lambda_total"]),
            buffer_log=float(row["user_buffer_log"]),
            funding=product.funding,
            side=side,
            is_inverse=product.contract == "inverse",
        )
    return lending_constraints(
        move=float(row["lambda_move"] + row["lambda_model"] + row["lambda_smoothing"]),
        oracle_deviation=float(row["oracle_error"]),
        slippage=_slippage(product, side, row),
        fee=product.fee,
        protocol_share=settings.budget.protocol_share,
        buffer_log=float(row["user_buffer_log"]),
        cap_bps=product.cap_bps,
        side=side,
    )


def _slippage(product: ProductSpec, side: str, row: Mapping[str, Any]) -> float:
    """Slippage that the bonus must pay for: of the design size, or of a typical liquidation by the law."""
    cost = float(row["lambda_slippage"])
    slippage = float(np.expm1(cost) if side == "short" else -np.expm1(-cost))
    if product.bonus_notional_usd is None:
        return slippage
    share = product.bonus_notional_usd / product.notional_usd
    return min(slippage, float(row["slippage_law"]) * float(np.sqrt(share)))


def target_of(
    settings: Settings, profile: VenueProfile, product: ProductSpec, side: str, row: Mapping[str, Any]
) -> dict[str, int] | None:
    """Say a day's target in the venue's terms, or None where it is withheld."""
    if row["status"] == "withheld":
        return None
    names = ("lt", "ltv", "bonus") if product.product == "lending" else ("mm", "im")
    values = {name: int(row[f"{name}_bps"]) for name in names}
    return target_set(profile, values, constraints_of(settings, product, side, row))


@dataclass
class Publisher:
    """Publishes one day after the other; it remembers where each set was going, and targets that it has made."""

    settings: Settings
    stored: Stored
    sets: Mapping[Key, InForceSet]
    going: dict[Key, Going]
    held: hold.Hold | None
    objection: str | None
    targets: dict[tuple[Key, pd.Timestamp], dict[str, int] | None] = field(default_factory=dict)
    bars: dict[str, pd.DataFrame] = field(init=False)

    def __post_init__(self) -> None:
        self.bars = {str(symbol): mine for symbol, mine in self.stored.prices.groupby("symbol", sort=False)}

    def day(self, day: date) -> pd.DataFrame:
        """Rows of one day, without identity columns."""
        out: list[dict[str, Any]] = []
        last, profiles = pd.Timestamp(day), in_force.profiles(self.settings)
        for symbol, market in self.settings.markets.items():
            bars = self.bars.get(symbol, self.stored.prices.iloc[:0])
            bars = bars.iloc[: int(bars["date"].searchsorted(last, side="right"))]
            quiet = self.stored.no_quote
            silent = frozenset(when.date() for when in quiet.loc[quiet["symbol"] == symbol, "date"])
            feeds = self.stored.feeds[day]
            state = state_of(self.settings, bars, feeds[feeds["symbol"] == symbol])
            why = self.objection or data_objection(market, bars, day, silent)
            frozen = "" if state.may_loosen else "; ".join(state.reasons) or thresholds.FROZEN
            for product in product_specs(self.settings, symbol):
                for side in overshoot.SIDES:
                    profile = profiles[symbol, product.product]
                    key = (symbol, product.product, side)
                    budgets = [row for row in self.stored.budgets.get(key, ()) if row["as_of"] <= last]
                    out += self._set(key, profile, product, budgets, day, why, frozen)
        return pd.DataFrame(out, columns=[*COLUMNS])

    def _set(
        self,
        key: Key,
        profile: VenueProfile,
        product: ProductSpec,
        budgets: list[dict[str, Any]],
        day: date,
        why: str | None,
        frozen: str,
    ) -> list[dict[str, Any]]:
        one, rules = self.sets.get(key), rules_of(self.settings)
        live = None if one is None else profile.settable(one.values)
        newest: Mapping[str, Any] = budgets[-1] if budgets else {"status": "withheld", "note": "", "input_hash": ""}
        if why is None and newest["status"] == "withheld":
            why = str(newest["note"]) or "not enough data: no budget of this set is stored"
        if newest["status"] != "ok":
            frozen = frozen or str(newest["note"]) or thresholds.FROZEN
        target = self._target(key, profile, product, newest) if why is None else None
        going = self.going.get(key)
        walking = going.on_from(live) if going is not None and live is not None else None
        state = PublicationState(
            as_of=day,
            changed_on={} if one is None else one.changed_on,
            days_looser=self._looser(key, profile, product, budgets, live, day) if live and target else {},
            # One form, whether it was made in this run or read from the store: the row's hash names it.
            walking_to=None if walking is None else {name: int(value) for name, value in sorted(walking.items())},
            signed=self.settings.publication.of(profile, key[0], key[2], day),
            may_loosen=not frozen,
            frozen_reason=frozen,
            hold_reason=None if self.held is None else self.held.sentence,
            implied=self._implied(key, day),
        )
        told = (str(newest["input_hash"]), repr(one), repr(state), repr(rules), str(why))
        named = dict(zip(("symbol", "product", "side"), key, strict=True)) | {
            "as_of": pd.Timestamp(day),
            "venue": profile.id,
            "input_hash": _run.digest(*told),
        }
        if self.held is not None:
            reason = f"all publication is stopped: {self.held.sentence}"
            return _plain_rows(named, profile, live, target, "hold", reason)
        if target is None:
            return _plain_rows(named, profile, live, None, "withheld", str(why))
        demands = constraints_of(self.settings, product, key[2], newest)
        if one is None or live is None:
            outcome, way = publish(profile, None, target, state=state, rules=rules, constraints=demands), None
        else:
            way = walk(profile, one.values, target, state=state, rules=rules, constraints=demands)
            outcome = way.first
        found = _rows(named, profile, live, target, outcome, way)
        destination = {row["parameter"]: row["destination"] for row in found if row["destination"] is not None}
        if destination:
            stood, published = ({row["parameter"]: row[name] for row in found} for name in ("in_force", "published"))
            self.going[key] = Going(stood, published, destination)
        return found

    def _target(
        self, key: Key, profile: VenueProfile, product: ProductSpec, row: Mapping[str, Any]
    ) -> dict[str, int] | None:
        named = (key, row["as_of"])
        if named not in self.targets:
            self.targets[named] = target_of(self.settings, profile, product, key[2], row)
        return self.targets[named]

    def _looser(
        self,
        key: Key,
        profile: VenueProfile,
        product: ProductSpec,
        budgets: list[dict[str, Any]],
        live: Mapping[str, int],
        day: date,
    ) -> dict[str, int]:
        """Days in a row with a looser target; older ones than a confirmation needs are not counted."""
        back = self.settings.publication.confirmation_days + 2 * LONGEST_GAP_DAYS
        first = pd.Timestamp(day - timedelta(days=back))
        near = [row for row in budgets if row["as_of"] > first]
        targets = [(row["as_of"].date(), self._target(key, profile, product, row)) for row in near]
        return days_looser(profile, live, targets, as_of=day)

    def _implied(self, key: Key, day: date) -> str:
        rows = self.stored.implied[day]
        mine = rows[(rows["symbol"] == key[0]) & (rows["product"] == key[1]) & (rows["side"] == key[2])]
        if mine.empty:
            return ""
        row = mine.iloc[0]
        said = [] if pd.isna(row["probability"]) else [f"{100 * row['probability']:.2g} %"]
        said += [str(row["probability_note"])] if row["probability_note"] else []
        return f"in force it fails, given a trigger, with probability {', '.join(said)}" if said else ""


def _plain_rows(
    named: dict[str, Any],
    profile: VenueProfile,
    live: Mapping[str, int] | None,
    target: Mapping[str, int] | None,
    outcome: str,
    reason: str,
) -> list[dict[str, Any]]:
    """Rows of a set of which nothing is said but why."""
    return [
        _row(named, one, outcome, outcome, reason)
        | {"in_force": (live or {}).get(one.key), "target": (target or {}).get(one.key)}
        for one in _shown(profile, live, target)
    ]


def _shown(profile: VenueProfile, live: Mapping[str, int] | None, target: Mapping[str, int] | None) -> list[Parameter]:
    known = {**(target or {}), **(live or {})}
    return [one for one in profile.parameters if one.key in known or not one.is_optional]


def _row(named: dict[str, Any], one: Parameter, outcome: str, status: str, reason: str) -> dict[str, Any]:
    nothing = dict.fromkeys((*NUMBERS, "converges_on"))
    return (
        named
        | nothing
        | {
            "parameter": one.key,
            "venue_parameter": one.name,
            "outcome": outcome,
            "status": status,
            "reason": reason,
        }
    )


def _rows(
    named: dict[str, Any],
    profile: VenueProfile,
    live: Mapping[str, int] | None,
    target: Mapping[str, int],
    outcome: Outcome,
    way: Walk | None,
) -> list[dict[str, Any]]:
    moves = {move.key: move for move in outcome.moves}
    said = "; ".join(outcome.reasons)
    has_way = bool(moves) or outcome.status == "new"
    found = []
    for one in _shown(profile, live, target):
        move = moves.get(one.key)
        row = _row(named, one, outcome.status, move.status if move else outcome.status, move.reason if move else said)
        row |= {
            "in_force": (live or {}).get(one.key),
            "target": move.target if move else target.get(one.key),
            "destination": outcome.destination.get(one.key) if has_way else None,
            "published": (outcome.values or {}).get(one.key),
        }
        if way is not None and way.converged_on is not None:
            row |= {
                "steps": len(way.steps),
                "converges_on": pd.Timestamp(way.converged_on),
                "days_looser": len(way.under_margined.get(one.key, ())),
            }
        elif outcome.status == "new":
            row |= {"steps": 1, "converges_on": pd.Timestamp(outcome.as_of), "days_looser": 0}
        found.append(row)
    return found


def going_before(session: Session, run: _run.Run, day: date) -> dict[Key, Going]:
    """Read where each set was going before a day."""
    found = {}
    rows = session.query("publications_before", day=day, **run.identity)
    for (symbol, product, side), mine in rows.groupby(["symbol", "product", "side"], sort=True):
        values = {
            name: {
                str(key): None if pd.isna(value) else int(value)
                for key, value in zip(mine["parameter"], mine[name], strict=True)
            }
            for name in ("in_force", "published", "destination")
        }
        destination = {key: value for key, value in values["destination"].items() if value is not None}
        found[str(symbol), str(product), str(side)] = Going(values["in_force"], values["published"], destination)
    return found


def build(settings: Settings, partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return the publication asset of a configuration."""

    @dg.asset(
        name="publication",
        deps=["recommendation", "implied_confidence"],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="decision",
        kinds={"python", "duckdb"},
        code_version=plimsoll.METHODOLOGY,
        description="What may be published today on the way from the set in force to the target: clipped to the "
        "venue's steps and delays as one object and tested again, or nothing; with the day on which the way ends.",
    )
    def publication(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[None]:
        run = _run.of(context, settings)
        with step("publication"):
            with warehouse.session() as session:
                gates = checks.verify(session, settings, run.end)
                publisher = Publisher(
                    settings=settings,
                    stored=read(session, settings, run),
                    sets=in_force.sets(settings),
                    going=going_before(session, run, run.days[0]),
                    held=hold.current(settings),
                    # Its own checks judge what this stage wrote before; they must not keep it from writing better.
                    objection=checks.objection(gates[~gates["name"].isin(checks.OF_PUBLICATION)]),
                )
            rows = pd.concat([publisher.day(day) for day in run.days], ignore_index=True)
            rows = rows.astype(dict.fromkeys(NUMBERS, "Int64") | {"converges_on": "datetime64[us]"})
            with warehouse.session() as session, session.transaction():
                rows = _run.with_vintage(run.stamped(rows), run, publisher.stored.prices)
                written = session.append("publication", rows, key=KEY)
                _run.commit(session, run, "publication", written, rows)
        sets = rows.drop_duplicates(["as_of", "symbol", "product", "side"])["outcome"].value_counts().to_dict()
        return dg.MaterializeResult(
            metadata={**table_metadata("publication", written), **{f"sets_{k}": int(v) for k, v in sets.items()}}
        )

    return [publication]
