"""Policies: the replay of whole policies over what is stored, for people and scripts.

What lives here: reading the store, one replay a product and side, its tables as text and as plain values. What does
not: rules and accounts (``plimsoll.replay``), the panel (``assets.policy_replay``).
"""

from datetime import date
from typing import Any

import pandas as pd
from rich.table import Table

import plimsoll
from assets import policy_replay
from dagster_project.definitions import warehouse_of
from dagster_project.outcome import plain, text_of
from dagster_project.settings import Settings
from plimsoll.replay import Replay
from reports.words import records

STAGES = (
    "candle",
    "price",
    "volatility_fit",
    "volatility_forecast",
    "overshoot_quantile",
    "challenger_forecast",
    "threshold",
)
"""What must be there before policies can be replayed; the comparison of fits with ``arch`` moves no number."""
NOTES = """All figures speak about 24 hours; daily bars show no shorter move. Every rule but the parameters in force is
published through the same governance: 0.5 points in three days, loosening after fourteen days. Parameters in force
are held constant over all days, though they were chosen with the later ones in view. A factor that brings a rule to a
breach rate is known only afterwards, for every rule alike.
"""


def replays(settings: Settings, day: date) -> dict[tuple[str, str], Replay]:
    """Replay every product and side that has days to judge."""
    identity = {"methodology": plimsoll.METHODOLOGY, "config_hash": settings.config_hash}
    last = pd.Timestamp(day)
    with warehouse_of(settings).session() as session:
        prices = session.query("prices", last=last)
        stored = [session.query(name, last=last, **identity) for name in ("forecasts", "thresholds")]
    found = {}
    for product, side in policy_replay.USES:
        rows = policy_replay.panel_rows(settings, product, side, prices, *stored)
        if len(rows):
            found[(product, side)] = policy_replay.replay_of(settings, product, side, rows)
    return found


def replay_records(found: dict[tuple[str, str], Replay]) -> dict[str, Any]:
    """Return the replays as plain values: unknown numbers as null."""
    uses = []
    for (product, side), one in found.items():
        tables = {name: _plain_rows(getattr(one, name)) for name in ("rules", "pairs", "curves")}
        uses.append({"product": product, "side": side, "champion": policy_replay.CHAMPION, **tables})
    return {"schema": "plimsoll.replay/1", "methodology": plimsoll.METHODOLOGY, "uses": uses}


def _plain_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): plain(value) for key, value in row.items()} for row in table.to_dict("records")]


def render_replays(found: dict[tuple[str, str], Replay]) -> str:
    """Return both tables of every product and side as text."""
    if not found:
        return "not enough data: no threshold has been judged yet\n"
    parts = [
        f"{product}, {side}: each rule at its own size\n{_rules_text(one.rules)}\n"
        f"{product}, {side}: scaled by one factor to the champion's breach rate, and to its mean threshold\n"
        f"{_pairs_text(one.pairs)}"
        for (product, side), one in found.items()
    ]
    return "\n".join([*parts, NOTES])


def _table(left: tuple[str, ...], right: tuple[str, ...], last: tuple[str, ...] = ()) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False)
    for name in (*left, *right, *last):
        table.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    return table


def _rules_text(rows: pd.DataFrame) -> str:
    table = _table(
        ("rule",),
        (
            "days",
            "triggers",
            "dates",
            "breaches",
            "rate",
            "90 % interval",
            "bad debt",
            "unnecessary",
            "forced out",
            "mean threshold",
            "peak/trough",
            "5-day rise",
            "under-margined",
        ),
    )
    for row in records(rows):
        if not row.triggers:
            table.add_row(_name(row.rule), "0", *["–"] * 12)
            continue
        table.add_row(
            _name(row.rule),
            str(row.market_days),
            str(row.triggers),
            str(row.trigger_dates),
            str(row.breaches),
            _percent(row.breach_rate),
            f"{100 * row.interval_low:.2f}–{100 * row.interval_high:.2f} %",
            f"{1e4 * row.bad_debt:.1f} bp",
            _percent(row.unnecessary_share),
            f"{1000 * row.forced_share:.2f} ‰",
            _percent(row.mean_threshold),
            f"{row.peak_to_trough:.2f}",
            _percent(row.largest_rise_5d),
            _percent(row.under_margined_share),
        )
    return text_of(table)


def _pairs_text(rows: pd.DataFrame) -> str:
    table = _table(
        ("rule", "equal"),
        ("level", "factor", "its threshold", "champion's", "its rate", "champion's rate", "difference, 90 %"),
        ("verdict",),
    )
    equal = {"breach_rate": "breach rate", "mean_threshold": "mean threshold"}
    for row in records(rows):
        known = "factor" in rows and pd.notna(row.factor)
        cells = ["–"] * 6
        if known:
            cells = [
                f"{row.factor:.2f}",
                _percent(row.mean_threshold),
                _percent(row.champion_mean_threshold),
                _percent(row.breach_rate),
                _percent(row.champion_breach_rate),
                f"{100 * row.breach_difference_low:+.2f} to {100 * row.breach_difference_high:+.2f} points",
            ]
        table.add_row(_name(row.rule), equal[row.equal], f"{100 * row.level:g} %", *cells, str(row.verdict))
    return text_of(table)


def _name(rule: str) -> str:
    return rule.replace("_", " ")


def _percent(value: float) -> str:
    return "–" if pd.isna(value) else f"{100 * value:.2f} %"
