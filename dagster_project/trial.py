"""Trial: the whole backtest of a day, for people and scripts.

What lives here: reading the store, running what is tested on demand, text and plain values. What does not: laying facts
out (``assets.trial``), the nightly coverage table as text (``outcome``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

import plimsoll
from assets import checks, horizons, severity, tail_trial
from assets import trial as trials
from assets.overshoot import quantile_spec
from dagster_project import intraday, trial_tails
from dagster_project.definitions import warehouse_of
from dagster_project.outcome import coverage_records, plain, text_of
from dagster_project.settings import Settings
from plimsoll import backtest, monitoring
from plimsoll.horizons import UNTESTED
from reports.words import records

SHOWN_BPS = 100
"""Probability shown in text; all are in the JSON."""
Watches = dict[tuple[str, str], monitoring.Watch]


@dataclass(frozen=True)
class Hours:
    """What hourly bars say of the horizons.

    Attributes
    ----------
    state
        ``tested``, or why not: "horizon scaling untested", and what would test it.
    table
        Backtest table of the horizons; empty where untested.
    counts
        Triggers followed and not followed, and rows of the file left out, by reason.
    scalings
        How the overshoot grows with the hours, estimated and tested; None without a file.
    """

    state: str
    table: pd.DataFrame
    counts: dict[str, int]
    scalings: tail_trial.Scalings | None = None


def hours(settings: Settings, day: date, file: Path | None, sources: Sequence[str]) -> Hours:
    """Follow every trigger through the hourly bars of a file, or through those that the store has.

    Raises
    ------
    FeedError
        Where the file cannot be read as hourly bars.
    """
    identity = {"methodology": plimsoll.METHODOLOGY, "config_hash": settings.config_hash}
    with warehouse_of(settings).session() as session:
        found = intraday.stored(session, settings, day) if file is None else intraday.read(settings, file, sources, day)
        if found.bars.empty and file is None:
            return Hours(f"{UNTESTED}: no hourly bars, neither stored nor given (--intraday FILE)", pd.DataFrame(), {})
        names = ("overshoot_events", "overshoot_quantiles", "thresholds")
        events, quantiles, thresholds = (session.query(name, last=day, **identity) for name in names)
    paths, facts = horizons.judged(found.bars, events, quantiles, thresholds)
    counts = {
        "triggers on days without hourly bars": paths.without_bars,
        "triggers that the hourly bars do not reach": paths.untouched,
        "horizons that end in a missing hour": paths.cut_short,
    } | {f"rows left out: {reason}": count for reason, count in found.left_out.items()}
    seed = trials.seed_of(settings, day)
    table = horizons.table(facts, seed)
    default_eta = {"shallow": settings.overshoot.eta, "deep": settings.overshoot.eta_deep}
    state = (
        "tested"
        if len(table)
        else f"{UNTESTED}: {'the store' if file is None else file.name} has no bars of a day with a trigger"
    )
    return Hours(state, table, counts, tail_trial.scalings(found.bars, events, quantiles, default_eta, seed))


def everything(settings: Settings, day: date, table: pd.DataFrame, hourly: Hours) -> dict[str, Any]:
    """Return the coverage table and all that is tested on demand, as plain values.

    Parameters
    ----------
    settings, day
        Profile and day.
    table
        Coverage table of the day.
    hourly
        What hourly bars say of the horizons.
    """
    identity = {"methodology": plimsoll.METHODOLOGY, "config_hash": settings.config_hash}
    with warehouse_of(settings).session() as session:
        names = ("breaches", "forecasts", "overshoot_quantiles", "overshoot_events")
        facts, forecasts, quantiles, events = (session.query(name, last=day, **identity) for name in names)
        prices = session.query("prices", last=day)
        watches = checks.watches(session, settings, day)
        scored = trials.scorecard(session, settings, day)
    seed = trials.seed_of(settings, day)
    found = tail_trial.tails(prices, forecasts, events, quantile_spec(settings), day, seed)
    tests = trials.batteries(facts, seed)
    closes = severity.close_shortfalls(facts, forecasts)
    shortfalls = pd.concat([closes, severity.overshoot_shortfalls(facts, quantiles, events)], ignore_index=True)
    return coverage_records(table) | {
        "tests": _rows(tests),
        "shortfall_tests": _rows(severity.tests(shortfalls, seed)),
        "bets": _rows(severity.bets(facts, shortfalls)),
        "scores": _rows(severity.scoreboard(facts, shortfalls)),
        "discoveries": _rows(trials.discoveries(facts, tests)),
        "market_level": _rows(trials.market_level(facts, seed)),
        "monitoring": [_watch(series, side, one) for (series, side), one in watches.items()],
        "scorecard": _rows(scored),
        "cost": _rows(tail_trial.cost(quantiles, events, seed)),
        "tails": {
            "estimates": _rows(found.estimates),
            "thresholds": _rows(found.thresholds),
            "k_intervals": _rows(found.intervals),
        },
        "horizons": {
            "state": hourly.state,
            "counts": hourly.counts,
            "rows": _rows(hourly.table),
            "scaling": _rows(hourly.scalings.estimates) if hourly.scalings else [],
            "scaling_tests": _rows(hourly.scalings.validation) if hourly.scalings else [],
        },
    }


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): plain(value) for key, value in row.items()} for row in table.to_dict("records")]


def _watch(series: str, side: str, one: monitoring.Watch) -> dict[str, Any]:
    return {
        "series": series,
        "side": side,
        "state": one.state,
        "alarms": [day.isoformat() for day in one.alarms],
        "open_alarm": one.open_alarm.isoformat() if one.open_alarm else None,
        "warned_on": one.warned_on.isoformat() if one.warned_on else None,
        "dates": [str(day) for day in one.dates],
        "log_wealth": [round(float(value), 6) for value in one.log_wealth],
    }


@dataclass(frozen=True)
class Trial:
    """What is printed beside the coverage table: watch, scores of the models, cost, tails, scorecard, horizons."""

    watches: Watches
    scores: pd.DataFrame
    cost: pd.DataFrame
    tails: tail_trial.Tails
    scored: pd.DataFrame
    hourly: Hours


def read(settings: Settings, day: date, hourly: Hours) -> Trial:
    """Return the watch over the model in use, scores of all models, cost and scorecard of a day."""
    identity = {"methodology": plimsoll.METHODOLOGY, "config_hash": settings.config_hash}
    with warehouse_of(settings).session() as session:
        names = ("breaches", "forecasts", "overshoot_quantiles", "overshoot_events")
        facts, forecasts, quantiles, events = (session.query(name, last=day, **identity) for name in names)
        seed = trials.seed_of(settings, day)
        return Trial(
            checks.watches(session, settings, day),
            severity.scoreboard(facts, pd.DataFrame()),
            tail_trial.cost(quantiles, events, seed),
            tail_trial.tails(session.query("prices", last=day), forecasts, events, quantile_spec(settings), day, seed),
            trials.scorecard(session, settings, day),
            hourly,
        )


def render(one: Trial) -> str:
    """Return it as text."""
    parts = [_watches_text(one.watches), _scores_text(one.scores), trial_tails.cost_text(one.cost)]
    parts.append(trial_tails.tails_text(one.tails))
    parts += [_scorecard_text(one.scored), _hours_text(one.hourly)]
    if one.hourly.scalings is not None:
        parts.append(trial_tails.scaling_text(one.hourly.scalings))
    return "\n".join(parts)


def _table(left: Sequence[str], right: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False)
    for name in (*left, *right):
        table.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    return table


def _scores_text(rows: pd.DataFrame) -> str:
    head = "quantile score at 1 % against the model in use (below 1: better), on the rows that every model judged"
    if rows.empty:
        return f"{head}\nnot enough data\n"
    table = _table(("series", "side", "model"), ("dates", "ratio", "p of no difference", "among the best at 90 %"))
    several = rows.groupby(["series", "side", "tail_probability_bps", "score"])["model"].transform("size") > 1
    for row in records(rows[several & (rows["tail_probability_bps"] == SHOWN_BPS)]):
        among = "–" if row.is_in_confidence_set is None else "yes" if row.is_in_confidence_set else "no"
        p = "in use" if pd.isna(row.dm_p) else f"{row.dm_p:.2g}"
        table.add_row(row.series, row.side, row.model, str(row.dates), f"{row.ratio_to_in_use:.3f}", p, among)
    return f"{head}\n{text_of(table)}"


def _hours_text(hourly: Hours) -> str:
    head = "hours after a trigger, given hourly bars, at 1 %"
    told = "".join(f"{count:,} {reason}\n" for reason, count in hourly.counts.items() if count)
    if hourly.table.empty:
        return f"{head}\n{hourly.state}\n{told}"
    names = ("triggers", "dates", "exceptions", "rate", "90 % interval")
    table = _table(("series", "model", "side", "verdict"), names)
    kept = (hourly.table["scope"] == backtest.POOLED) & (hourly.table["tail_probability_bps"] == SHOWN_BPS)
    for row in records(hourly.table[kept]):
        table.add_row(
            row.series,
            row.model,
            row.side,
            row.verdict,
            str(row.observations),
            str(row.distinct_dates),
            f"{row.exceptions_at_least} to {row.exceptions}",
            f"{100 * row.exception_rate:.2f} %",
            f"{100 * row.interval_low:.2f} – {100 * row.interval_high:.2f} %",
        )
    return f"{head}\n{text_of(table)}{told}"


def _watches_text(watches: Watches) -> str:
    lines = ["daily watch over the overshoot estimate at 1 % (betting against it; warning at 5, alarm at 20)"]
    if not watches:
        return lines[0] + "\nnot enough data: no trigger has been judged yet\n"
    table = _table(("series", "side", "state", "alarms"), ("trigger dates", "wealth now", "largest"))
    for (series, side), one in watches.items():
        table.add_row(
            series,
            side,
            one.state,
            ", ".join(day.isoformat() + ("" if day == one.open_alarm else " (answered)") for day in one.alarms)
            or "none",
            str(len(one.dates)),
            f"{np.exp(one.log_wealth[-1]):.2g}",
            f"{np.exp(one.log_wealth.max()):.3g}",
        )
    return lines[0] + "\n" + text_of(table)


def _scorecard_text(scored: pd.DataFrame) -> str:
    head = f"scorecard: recommendations of the last year against the {monitoring.OUTLOOK_DAYS} days after each"
    known = scored[scored["days_known"] > 0] if len(scored) else scored
    if known.empty:
        return f"{head}\nnot enough data: no recommendation is older than a day\n"
    columns = ("recommendations", "with triggers", "triggers", "target breached", "in force breached", "worst move")
    table = _table(("market", "product", "side"), columns)
    for key, group in known.groupby(["symbol", "product", "side"], sort=True):
        worst = group["worst_log"].max()
        table.add_row(
            *(str(part) for part in key),
            str(len(group)),
            str(int((group["triggers"] > 0).sum())),
            str(int(group["triggers"].sum())),
            _count(group["breaches_target"]),
            _count(group["breaches_in_force"]),
            "–" if pd.isna(worst) else f"{100 * np.expm1(worst):.1f} %",
        )
    return f"{head}\n{text_of(table)}"


def _count(values: pd.Series) -> str:
    return "–" if values.isna().all() else str(int(values.sum()))
