"""Trial of models: the newest contest of champion and challengers, in words and for machines.

What lives here: reading the stored tables, one table as text, plain values. What does not: scores and the rule
(``plimsoll.challengers``), the rest of the trial (``trial``).
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd
from rich.table import Table

import plimsoll
from dagster_project.definitions import warehouse_of
from dagster_project.outcome import plain, text_of
from dagster_project.settings import Settings
from plimsoll.challengers.contest import BOTH
from reports.words import records


@dataclass(frozen=True)
class Stored:
    """What is stored of models up to a day: contests, states, the overlay's log, what features add."""

    is_on: bool
    contests: pd.DataFrame
    states: pd.DataFrame
    levels: pd.DataFrame
    importances: pd.DataFrame


def read(settings: Settings, day: date) -> Stored:
    """Read it."""
    identity = {"methodology": plimsoll.METHODOLOGY, "config_hash": settings.config_hash}
    names = ("model_contests", "model_states", "conformal_levels", "feature_importances")
    with warehouse_of(settings).session() as session:
        return Stored(settings.challengers.is_on, *(session.query(name, last=day, **identity) for name in names))


def as_records(found: Stored) -> dict[str, Any]:
    """Return all of it as plain values: unknown numbers as null."""
    return {
        "is_on": found.is_on,
        "contests": _rows(found.contests),
        "states": _rows(found.states),
        "conformal_levels": _rows(found.levels),
        "feature_importance": _rows(found.importances),
    }


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    dropped = ("methodology", "config_hash", "revision")
    kept = table.drop(columns=[name for name in dropped if name in table])
    for name in kept.select_dtypes("datetime"):
        kept[name] = kept[name].dt.strftime("%Y-%m-%d").astype(object)
    return [{str(key): plain(value) for key, value in row.items()} for row in kept.to_dict("records")]


def render(found: Stored) -> str:
    """Return the newest contest as text."""
    head = "models of the daily excursion on the same days before the quarter: score against the champion's"
    if not found.is_on:
        return f"{head}\nno challenger runs: [challengers] is_on = false\n"
    if found.states.empty:
        return f"{head}\nnot enough data: no quarter has been judged yet\n"
    state = found.states.iloc[-1]
    newest = found.contests[found.contests["quarter_on"] == found.contests["quarter_on"].max()]
    table = Table(box=None, pad_edge=False, show_edge=False)
    names = ("all tails", "90 % interval", "in the set", "p", "long 1 %", "exceeded", "short 1 %", "exceeded ")
    for name in ("model", *names):
        table.add_column(name, justify="left" if name == "model" else "right", no_wrap=True)
    overall = newest[newest["side"] == BOTH].sort_values(["mean_score", "model"], kind="stable", na_position="last")
    for row in records(overall):
        table.add_row(row.model, *_overall(row), *_side(newest, row.model, "long"), *_side(newest, row.model, "short"))
    dates = int(overall["dates"].max())
    told = f"{state['stated_on']:%Y-%m-%d}: {state['reason']}"
    against = f"the budget is held against {state['gate_model'] or 'no model'}"
    return f"{head}\n{text_of(table)}{dates} dates; since {told}\n{against}\n"


def _overall(row: Any) -> tuple[str, str, str, str]:
    if pd.isna(row.ratio):
        return ("–", "–", "–", "–")
    return (
        f"{row.ratio:.3f}",
        "champion" if row.model == row.champion else f"{row.ratio_low:.3f} – {row.ratio_high:.3f}",
        "yes" if bool(row.is_in_confidence_set) else "no",
        "–" if pd.isna(row.dm_p) else f"{row.dm_p:.3f}",
    )


def _side(rows: pd.DataFrame, model: str, side: str) -> tuple[str, str]:
    mine = rows[
        (rows["model"] == model)
        & (rows["side"] == side)
        & (rows["tail_probability_bps"] == 100)
        & (rows["score"] == "quantile")
    ]
    if mine.empty or pd.isna(mine.iloc[0]["ratio"]):
        return "–", "–"
    one = mine.iloc[0]
    return f"{one['ratio']:.3f}", f"{100 * one['exceedance_rate']:.2f} %"
