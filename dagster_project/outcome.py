"""Outcome: what a run left in the store, read back for people and scripts.

What lives here: the short decision table, the coverage table and the outbox as printed by the command line. What does
not: the numbers themselves, the PDF.
"""

import io
import json
import math
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console
from rich.table import Table

import plimsoll
from dagster_project import settings as settings_module
from dagster_project.definitions import warehouse_of
from dagster_project.settings import Settings
from dagster_project.warehouse import WarehouseBusy, WarehouseError
from reports import words
from reports.view import decision
from reports.words import records

if TYPE_CHECKING:
    from dagster_project.restore import Restored

WIDTH = 200
"""More than any table needs: a line in a pipe is never cut."""


@dataclass(frozen=True)
class Summary:
    """Where a day's report lies and what it asks."""

    as_of: date
    status: str
    headline: str
    reason: str
    """Why it is withheld; empty where it is not."""
    pdf: Path
    json: Path
    mails: tuple[Path, ...]
    decisions: pd.DataFrame


def _identity(settings: Settings) -> dict[str, str]:
    return {"methodology": plimsoll.METHODOLOGY, "config_hash": settings.config_hash}


def summary(settings: Settings, day: date) -> Summary:
    """Read the newest report of a day, its mails and its decisions."""
    folder = settings_module.profile_folder(settings)
    with warehouse_of(settings).session() as session:
        reports = session.query("reports", as_of=day)
        rows = session.query("recommendations_of", last=day, **_identity(settings))
        mails = session.query("outbox")
    newest = reports.iloc[-1]
    mine = mails[mails["as_of"] == pd.Timestamp(day)]
    decided = folder / str(newest["report_path"]) / "decision.json"
    return Summary(
        as_of=day,
        status=str(newest["status"]),
        headline=str(newest["headline"]),
        reason=str(json.loads(decided.read_bytes())["withheld_reason"] or ""),
        pdf=folder / str(newest["report_path"]) / "report.pdf",
        json=decided,
        mails=tuple(folder / path for path in mine["eml_path"]),
        decisions=rows,
    )


def _moves(row: Any) -> str:
    now, then = words.bps(row.in_force), words.bps(row.proposed)
    if row.status in ("hold", "withheld"):
        return f"{now}, {row.status}"
    return then if now in (then, words.MISSING) else f"{now} → {then}"


def text_of(table: Table) -> str:
    """Return a table as plain text, no line cut and none with blanks at its end."""
    console = Console(width=WIDTH, no_color=True, highlight=False, record=True, file=io.StringIO())
    console.print(table)
    return "\n".join(line.rstrip() for line in console.export_text().splitlines()) + "\n"


def render(found: Summary) -> str:
    """Return the short decision table and the paths, as printed at the end of a run."""
    table = Table(box=None, pad_edge=False, show_edge=False)
    for name, right in (
        ("market", False),
        ("product", False),
        ("side", False),
        ("parameter", False),
        ("in force", True),
        ("target", True),
        ("proposed", True),
        ("with it", False),
        ("decision", False),
    ):
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for key, mine in found.decisions.groupby(["symbol", "product", "side"], sort=True):
        symbol, product, side = (str(part) for part in key)
        rows = {str(row.parameter): row for row in records(mine)}
        lead, follow = rows[decision.LEADING[product]], rows[decision.FOLLOWING[product]]
        table.add_row(
            symbol,
            product,
            side,
            decision.SHORT[decision.LEADING[product]],
            words.bps(lead.in_force),
            words.bps(lead.target),
            words.bps(lead.proposed),
            f"{decision.SHORT[decision.FOLLOWING[product]]} {_moves(follow)}",
            decision.row_status(str(lead.status), str(follow.status)),
        )
    lines = [
        "",
        found.headline,
        *([found.reason] if found.reason else []),
        "",
        text_of(table),
        f"report  {_short(found.pdf)}",
        f"json    {_short(found.json)}",
        *(f"mail    {_short(path)}" for path in found.mails),
        "",
    ]
    return "\n".join(lines)


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def coverage(settings: Settings, day: date) -> pd.DataFrame:
    """Read the backtest table of a day."""
    with warehouse_of(settings).session() as session:
        return session.query("coverage_of", last=day, **_identity(settings))


def coverage_records(table: pd.DataFrame) -> dict[str, Any]:
    """Return the table as plain values: days as text, unknown numbers as null."""
    rows = [{str(key): plain(value) for key, value in record.items()} for record in table.to_dict("records")]
    return {"schema": "plimsoll.backtest/1", "methodology": plimsoll.METHODOLOGY, "rows": rows}


def plain(value: Any) -> Any:
    """Return a value as JSON knows it: days as text, what is unknown or not finite as null."""
    if value is pd.NaT:
        return None
    if isinstance(value, pd.Timestamp):
        return value.date().isoformat() if value == value.normalize() else value.isoformat(sep=" ", timespec="seconds")
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value.item() if hasattr(value, "item") else value


def render_coverage(table: pd.DataFrame) -> str:
    """Return the pooled calibration given a trigger, then each market's, as text."""
    if table.empty:
        return "not enough data: no forecast has been judged yet\n"
    parts = []
    for series, title in (
        ("overshoot_24h", "24-hour calibration given a trigger at the perpetual depth"),
        ("overshoot_24h_deep", "24-hour calibration given a trigger at the lending depth"),
        ("var_close", "daily close against its quantile"),
        ("excursion", "daily excursion against its quantile"),
    ):
        for scope in ("POOLED", *sorted(set(table["scope"]) - {"POOLED"})):
            rows = table[(table["series"] == series) & (table["scope"] == scope)]
            if len(rows) and (scope == "POOLED" or series == "overshoot_24h"):
                parts.append(f"{title}: {'all markets' if scope == 'POOLED' else scope}\n{_coverage_text(rows)}")
    return "\n".join(parts)


def _coverage_text(rows: pd.DataFrame) -> str:
    table = Table(box=None, pad_edge=False, show_edge=False)
    heads = (
        "model",
        "side",
        "nominal",
        "observations",
        "dates",
        "exceptions",
        "rate",
        "90 % interval",
        "mean k",
        "power",
        "verdict",
    )
    for name in heads:
        table.add_column(name, justify="left" if name in ("model", "side", "verdict") else "right", no_wrap=True)
    order = {"estimator": 0, "budget": 1, "published": 2}
    ranked = rows.assign(rank=rows["model"].map(order).fillna(3)).sort_values(
        ["rank", "model", "side", "tail_probability_bps"], ascending=[True, True, True, False], kind="stable"
    )
    for row in records(ranked):
        table.add_row(
            str(row.model),
            str(row.side),
            f"{row.tail_probability_bps / 100:g} %",
            str(row.observations),
            str(row.distinct_dates),
            str(row.exceptions),
            f"{100 * row.exception_rate:.2f} %",
            f"{100 * row.interval_low:.2f}–{100 * row.interval_high:.2f} %",
            f"{row.mean_limit_sigma:.2f}",
            "–" if pd.isna(row.power_double) else f"{row.power_double:.2f}",
            str(row.verdict),
        )
    return text_of(table)


def outbox(settings: Settings) -> list[dict[str, Any]]:
    """Read the outbox as plain values."""
    with warehouse_of(settings).session() as session:
        rows = session.query("outbox")
    return [{str(key): plain(value) for key, value in record.items()} for record in rows.to_dict("records")]


def render_outbox(rows: list[dict[str, Any]]) -> str:
    """Return the outbox as people read it."""
    if not rows:
        return "no mail yet\n"
    table = Table(box=None, pad_edge=False, show_edge=False)
    for name in ("id", "day", "state", "tries", "next try (UTC)", "audience", "recipient", "what the server said"):
        table.add_column(name, justify="right" if name == "tries" else "left", no_wrap=True)
    for row in rows:
        table.add_row(
            str(row["message_id"]).strip("<>")[:8],
            str(row["as_of"]),
            str(row["state"]),
            str(row["attempts"]),
            str(row["next_attempt_at"] or "")[:16],
            str(row["audience"]),
            str(row["recipient"]),
            str(row["last_reply"]),
        )
    return text_of(table)


def newest_day(settings: Settings) -> date | None:
    """Return the newest day that has a report."""
    if not Path(warehouse_of(settings).path).exists():
        return None
    with warehouse_of(settings).session() as session:
        newest = session.query("last_report")["as_of"].max()
    return None if pd.isna(newest) else newest.date()


def is_sound(settings: Settings) -> bool:
    """Whether the store is there, opens, agrees with its ledger and reads back whole."""
    if not Path(warehouse_of(settings).path).exists():
        return False
    try:
        with warehouse_of(settings).session() as session:
            session.read_through()
            return True
    except WarehouseBusy:
        raise
    except WarehouseError:
        return False


def render_restored(done: "Restored") -> str:
    """Return what a restore did, as people read it."""
    source = f"{_short(done.copy)}, commit {done.commit}" if done.copy is not None else "the raw files alone"
    days = ", ".join(str(day) for day in done.days) or "none"
    lines = [
        f"restored from  {source}",
        f"inputs         {done.inputs} that came after it",
        f"mails          {done.mails} that it did not know",
        f"days again     {days}",
        f"put aside      {_short(done.quarantine)}",
    ]
    if done.differing:
        named = ", ".join(str(day) for day in done.differing)
        lines.append(f"DIFFERENT      the report of {named} is not the one that was made before: compare it there")
    lines.append("next           plimsoll outbox list; then the next night, or plimsoll report")
    return "\n".join(lines) + "\n"
