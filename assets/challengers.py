"""Challengers: other models beside the one in use, forecast by forecast, and the contest of each quarter.

What lives here: which days and quarters are missing, calling the models and the rule, appending. What does not: models,
scores and the rule (``plimsoll.challengers``), what a disagreement costs (``plimsoll.budget``).
"""

from dataclasses import asdict, dataclass

import dagster as dg
import numpy as np
import pandas as pd

import plimsoll
from assets import _run, overshoot
from assets._table import table_metadata
from dagster_project.challengers_config import IN_USE
from dagster_project.compute import Compute
from dagster_project.progress import note, step
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse
from plimsoll.challengers import boosting, conformal, lineup, promotion
from plimsoll.challengers.contest import contest, quarter_starts, window_start
from plimsoll.challengers.panel import PROBABILITIES_BPS, SIDES, excursion_panel
from plimsoll.challengers.trees import BoostingSpec

IDENTITY = ("methodology", "config_hash")
KEYS = {
    "challenger_forecast": ("as_of", "target_date", "symbol", "side", "model", *IDENTITY),
    "model_contest": ("quarter_on", "side", "tail_probability_bps", "score", "model", *IDENTITY),
    "model_state": ("stated_on", *IDENTITY),
    "conformal_level": ("as_of", "symbol", "side", "model", *IDENTITY),
    "feature_importance": ("quarter_on", "side", "tail_probability_bps", "feature_group", *IDENTITY),
}
SHOWN_STATE = [
    "stated_on",
    "quarter_on",
    "champion",
    "champion_since",
    "challenger",
    "candidate",
    "quarters",
    "state",
    "is_champion_in_set",
    "gate_model",
    "reason",
]
OPTIONAL = ["volume_usd", "dispersion_bp", "venue_count"]
POOLED = "POOLED"
SEED = 1
"""Of random starts and bootstraps: one number for all days, so that a day never depends on the others."""
EARLIER = pd.Timedelta(days=40)
"""A target date lies so close behind its day."""


@dataclass(frozen=True)
class Known:
    """What the store knows up to a day.

    Attributes
    ----------
    panel
        Excursions of markets with highs and lows, with the optional columns of the features.
    targets
        Days to be spoken about, with the hash of all that was known.
    hashes
        Chained hash of every market's bar and forecast up to each date.
    """

    panel: pd.DataFrame
    targets: pd.DataFrame
    hashes: pd.Series

    def hash_before(self, day: pd.Timestamp) -> str:
        """Hash of all that was known before a day; empty where nothing was."""
        at = int(self.hashes.index.searchsorted(day, side="left"))
        return str(self.hashes.iloc[at - 1]) if at else ""


def first_day(settings: Settings, end: pd.Timestamp) -> pd.Timestamp:
    """First target date that is forecast: whole quarters, so that it moves four times a year."""
    return window_start(quarter_starts(pd.DatetimeIndex([end]))[0], settings.challengers.history_years)


def quarters_of(settings: Settings, end: pd.Timestamp) -> pd.DatetimeIndex:
    """Quarters up to a day whose contest has its whole window among the days that are forecast."""
    first = first_day(settings, end) + pd.DateOffset(years=settings.challengers.contest_years)
    return pd.date_range(first, end, freq="QS")


def known(settings: Settings, prices: pd.DataFrame, forecasts: pd.DataFrame, end: pd.Timestamp) -> Known:
    """Lay out what the models learn from and what they are asked."""
    ranged = [symbol for symbol, market in settings.markets.items() if not market.is_close_only]
    bars, mine = prices[prices["symbol"].isin(ranged)], forecasts[forecasts["symbol"].isin(ranged)]
    optional = bars[["symbol", "date", *OPTIONAL]].rename(columns={"date": "target_date"})
    panel = excursion_panel(bars, mine).merge(
        optional.astype(dict.fromkeys(OPTIONAL, "float64")), on=["symbol", "target_date"], how="left"
    )
    hashes = overshoot.panel_hashes(prices, forecasts)
    asked = mine[(mine["target_date"] >= first_day(settings, end)) & (mine["sigma_daily"] > 0)]
    targets = asked[["symbol", "as_of", "target_date", "sigma_daily"]].reset_index(drop=True)
    at = np.searchsorted(hashes.index.to_numpy(), targets["as_of"].to_numpy(), side="right") - 1
    targets["input_hash"] = hashes.to_numpy()[at]
    return Known(panel, targets, hashes)


def forecast_rows(settings: Settings, compute: Compute, given: Known, stored: pd.DataFrame) -> pd.DataFrame:
    """Forecasts from the first day on that is missing, without identity columns; empty where all are stored."""
    first = _run.first_stale(given.targets, stored, ["symbol", "as_of", "target_date"])
    if first is None or given.panel.empty:
        return pd.DataFrame()
    due = given.targets[given.targets["as_of"] >= first].reset_index(drop=True)
    models = (IN_USE, *settings.challengers.models)
    asked = due.drop(columns="input_hash")
    quarters = quarter_starts(asked["target_date"])
    parts = [asked] if compute.kind == "threads" else [asked[quarters == one] for one in quarters.unique()]
    note("challengers", f"{len(models)} models, {len(quarters.unique())} quarter(s)")
    tasks = [{"panel": given.panel, "targets": part, "models": models, "seed": SEED} for part in parts]
    rows = pd.concat(compute.map(lineup.answers, tasks), ignore_index=True)
    hashed = due[["symbol", "as_of", "target_date", "input_hash"]]
    return rows.merge(hashed, on=["symbol", "as_of", "target_date"], how="left", validate="many_to_one")


def contest_rows(
    settings: Settings, given: Known, forecasts: pd.DataFrame, stored: pd.DataFrame, end: pd.Timestamp
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Contests of quarters that are not stored, and all states up to a day, without identity columns."""
    knobs = settings.challengers
    have = dict(zip(stored["quarter_on"], stored["input_hash"], strict=True))
    every, made = stored, []
    for quarter in quarters_of(settings, end):
        hashed = given.hash_before(quarter)
        if have.get(quarter) == hashed:
            continue
        states = promotion.walk_states(every[every["quarter_on"] < quarter], in_use=IN_USE, approvals=knobs.approvals)
        champion = promotion.champion_on(states, quarter.date(), in_use=IN_USE)
        rows = contest(
            forecasts, given.panel, quarter_on=quarter, champion=champion, years=knobs.contest_years, seed=SEED
        )
        if len(rows):
            made.append(rows.assign(input_hash=hashed))
            every = pd.concat([every[every["quarter_on"] != quarter], made[-1]], ignore_index=True)
    states = promotion.walk_states(every, in_use=IN_USE, approvals=knobs.approvals)
    told = pd.DataFrame([asdict(one) for one in states if pd.Timestamp(one.stated_on) <= end])
    if len(told):
        for name in ("stated_on", "quarter_on", "champion_since"):
            told[name] = pd.to_datetime(told[name])
        told["is_champion_in_set"] = told["is_champion_in_set"].astype("boolean")
        told["input_hash"] = [given.hash_before(quarter) for quarter in told["quarter_on"]]
    return (pd.concat(made, ignore_index=True) if made else pd.DataFrame()), told


def level_rows(
    settings: Settings, given: Known, forecasts: pd.DataFrame, stored: pd.DataFrame, end: pd.Timestamp
) -> pd.DataFrame:
    """Log of the conformal overlay on days that are not stored, without identity columns.

    Each quarter walks from the beginning of its contest's window, so that a day's level does not depend on when the
    store began.
    """
    realised = pd.concat(
        [
            given.panel[["symbol", "target_date"]].assign(side=side, realised_log=given.panel[name])
            for side, name in zip(SIDES, ("low_log", "high_log"), strict=True)
        ],
        ignore_index=True,
    )
    have = set(zip(stored["as_of"], stored["model"], stored["input_hash"], strict=True))
    days = pd.DatetimeIndex(given.panel["target_date"].unique())
    hashes = pd.Series({day: given.hash_before(day + pd.Timedelta(days=1)) for day in days}, dtype="object")
    frames = []
    for quarter in quarters_of(settings, end):
        last = min(end, quarter + pd.DateOffset(months=3) - pd.Timedelta(days=1))
        for model in (IN_USE, *(name for name in settings.challengers.models if name == boosting.MODEL)):
            begun = window_start(quarter, settings.challengers.contest_years)
            mine = forecasts[
                (forecasts["model"] == model) & (forecasts["target_date"] >= begun) & (forecasts["target_date"] <= last)
            ]
            due = {(day, model, hashes.get(day)) for day in mine["target_date"].unique() if day >= quarter}
            due = {one for one in due if one[2] is not None}
            if not due - have:
                continue
            log = conformal.overlay(mine, realised, is_pooled=True).log
            log = log[(log["target_date"] >= quarter) & (log["judged"] > 0)]
            if len(log):
                frames.append(_levels(log, model))
    if not frames:
        return pd.DataFrame()
    rows = pd.concat(frames, ignore_index=True)
    return rows.assign(input_hash=rows["as_of"].map(hashes))


def _levels(log: pd.DataFrame, model: str) -> pd.DataFrame:
    names = ["target_date", "side", "tail_probability_bps"]
    ordered = log.sort_values(names, ascending=[True, True, False], kind="stable")
    each = len(PROBABILITIES_BPS)
    rows = ordered[["target_date", "side"]].iloc[::each].reset_index(drop=True)
    alpha, is_held, judged = (
        ordered[name].to_numpy().reshape(-1, each) for name in ("next_alpha", "is_held", "judged")
    )
    for at, bps in enumerate(PROBABILITIES_BPS):
        rows[f"alpha_p{bps}"] = alpha[:, at]
    rows["is_held"] = np.asarray(is_held.any(axis=1), dtype=np.bool_)
    rows["judged"] = np.asarray(judged.min(axis=1), dtype=np.int64)
    rows["as_of"] = pd.to_datetime(rows["target_date"])
    return rows.drop(columns="target_date").assign(symbol=POOLED, model=model)


def importance_rows(settings: Settings, given: Known, stored: pd.DataFrame, end: pd.Timestamp) -> pd.DataFrame:
    """Tell what groups of features add, once for the quarter of the day, without identity columns."""
    quarter = quarter_starts(pd.DatetimeIndex([end]))[0]
    hashed = given.hash_before(quarter)
    is_stored = ((stored["quarter_on"] == quarter) & (stored["input_hash"] == hashed)).any()
    if boosting.MODEL not in settings.challengers.models or given.panel.empty or is_stored:
        return pd.DataFrame()
    found = boosting.importance(given.panel, quarter, BoostingSpec(probabilities_bps=(100,)))
    rows = found.drop(columns="iterations").rename(columns={"group": "feature_group"})
    return rows.assign(quarter_on=quarter, input_hash=hashed) if len(rows) else pd.DataFrame()


def build(settings: Settings, partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return the challenger assets of a configuration."""

    @dg.asset(
        name="challenger_forecast",
        deps=["volatility_forecast"],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="challengers",
        kinds={"python", "duckdb"},
        code_version=plimsoll.METHODOLOGY,
        description="What other models say of the next day's adverse excursion, strictly from earlier days; each "
        "quarter's contest, who is champion, and whom the budget is held against. Writes model_contest, model_state, "
        "conformal_level and feature_importance as well.",
    )
    def challenger_forecast(
        context: dg.AssetExecutionContext, warehouse: Warehouse, compute: Compute
    ) -> dg.MaterializeResult[None]:
        run = _run.of(context, settings)
        written = dict.fromkeys(KEYS, 0)
        if settings.challengers.is_on:
            with step("challengers"):
                written = _write(settings, run, warehouse, compute)
        named = {name: count for name, count in written.items() if name != "challenger_forecast"}
        return dg.MaterializeResult(
            metadata={**table_metadata("challenger_forecast", written["challenger_forecast"]), **named}
        )

    return [challenger_forecast]


def _write(settings: Settings, run: _run.Run, warehouse: Warehouse, compute: Compute) -> dict[str, int]:
    end = pd.Timestamp(run.end)
    first = first_day(settings, end)
    with warehouse.session() as session:
        prices = session.query("prices", last=run.end)
        forecasts = session.query("forecasts", last=run.end, **run.identity)
        stored = session.query("challenger_forecasts", first=first - EARLIER, last=run.end, **run.identity)
        names = ("model_contests", "conformal_levels", "feature_importances")
        contests, levels, importances = (session.query(name, last=run.end, **run.identity) for name in names)
    given = known(settings, prices, forecasts, end)
    made = {"challenger_forecast": forecast_rows(settings, compute, given, stored)}
    new = made["challenger_forecast"]
    begun = stored[stored["target_date"] >= first]
    if len(new):
        begun = pd.concat([begun[begun["as_of"] < new["as_of"].min()], new], ignore_index=True)
    said = lineup.long_form(begun)
    made["model_contest"], made["model_state"] = contest_rows(settings, given, said, contests, end)
    made["conformal_level"] = level_rows(settings, given, said, levels, end)
    made["feature_importance"] = importance_rows(settings, given, importances, end)
    stamped = {name: run.stamped(rows) for name, rows in made.items() if len(rows)}
    if len(new):
        stamped["challenger_forecast"] = _run.with_vintage(stamped["challenger_forecast"], run, prices)
    with warehouse.session() as session, session.transaction():
        written = dict.fromkeys(KEYS, 0) | {
            name: session.append(name, rows, key=KEYS[name]) for name, rows in stamped.items()
        }
        _run.commit(session, run, "challenger_forecast", sum(written.values()), *stamped.values())
    return written
