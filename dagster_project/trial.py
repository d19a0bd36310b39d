"""Trial: the whole backtest of a day, for people and scripts.

What lives here: reading the store, running what is tested on demand, text and plain values. What does not: laying facts
out (``assets.trial``), the nightly coverage table as text (``outcome``).
"""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

import plimsoll
from assets import checks
from assets import trial as trials
from dagster_project.definitions import warehouse_of
from dagster_project.outcome import coverage_records, plain, text_of
from dagster_project.settings import Settings
from plimsoll import monitoring

Watches = dict[tuple[str, str], monitoring.Watch]


def everything(settings: Settings, day: date, table: pd.DataFrame) -> dict[str, Any]:
    """Return the coverage table and all that is tested on demand, as plain values.

    Parameters
    ----------
    settings, day
        Profile and day.
    table
        Coverage table of the day.
    """
    identity = {"methodology": plimsoll.METHODOLOGY, "config_hash": settings.config_hash}
    with warehouse_of(settings).session() as session:
        facts = session.query("breaches", last=day, **identity)
        watches = checks.watches(session, settings, day)
        scored = trials.scorecard(session, settings, day)
    seed = trials.seed_of(settings, day)
    tests = trials.batteries(facts, seed)
    return coverage_records(table) | {
        "tests": _rows(tests),
        "discoveries": _rows(trials.discoveries(facts, tests)),
        "market_level": _rows(trials.market_level(facts, seed)),
        "monitoring": [_watch(series, side, one) for (series, side), one in watches.items()],
        "scorecard": _rows(scored),
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


def read(settings: Settings, day: date) -> tuple[Watches, pd.DataFrame]:
    """Return the watch over the model in use and the scorecard of a day."""
    with warehouse_of(settings).session() as session:
        return checks.watches(session, settings, day), trials.scorecard(session, settings, day)


def render(watches: Watches, scored: pd.DataFrame) -> str:
    """Return the watch and the scorecard as text."""
    return f"{_watches_text(watches)}\n{_scorecard_text(scored)}"


def _watches_text(watches: Watches) -> str:
    lines = ["daily watch over the overshoot estimate at 1 % (betting against it; warning at 5, alarm at 20)"]
    if not watches:
        return lines[0] + "\nnot enough data: no trigger has been judged yet\n"
    table = Table(box=None, pad_edge=False, show_edge=False)
    for name in ("series", "side", "trigger dates", "wealth now", "largest", "state", "alarms"):
        is_number = name in ("trigger dates", "wealth now", "largest")
        table.add_column(name, justify="right" if is_number else "left", no_wrap=True)
    for (series, side), one in watches.items():
        table.add_row(
            series,
            side,
            str(len(one.dates)),
            f"{np.exp(one.log_wealth[-1]):.2g}",
            f"{np.exp(one.log_wealth.max()):.3g}",
            one.state,
            ", ".join(day.isoformat() + ("" if day == one.open_alarm else " (answered)") for day in one.alarms)
            or "none",
        )
    return lines[0] + "\n" + text_of(table)


def _scorecard_text(scored: pd.DataFrame) -> str:
    head = f"scorecard: recommendations of the last year against the {monitoring.OUTLOOK_DAYS} days after each"
    known = scored[scored["days_known"] > 0] if len(scored) else scored
    if known.empty:
        return f"{head}\nnot enough data: no recommendation is older than a day\n"
    table = Table(box=None, pad_edge=False, show_edge=False)
    columns = ("market", "product", "side", "recommendations", "with triggers", "triggers", "target breached")
    for name in (*columns, "in force breached", "worst move"):
        table.add_column(name, justify="left" if name in columns[:3] else "right", no_wrap=True)
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
