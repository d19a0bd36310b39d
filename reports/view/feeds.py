"""Feeds: how far the sources of prices can be trusted, which of their bars were refused, and what better ones are worth.

What lives here: tables of the data-quality page. What does not: scores and verdicts (market data), rows that the screen
set aside (``health``).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from reports import words
from reports.view.inputs import ReportInputs

FEED_ROWS = 40
BAR_ROWS = 16
SPAN_ROWS = 12
SPAN_DAYS = 365


@dataclass(frozen=True)
class FeedsView:
    """The data-quality page, in words.

    Attributes
    ----------
    line
        How many sources stand behind the newest prices.
    feeds, feeds_rest
        Scores, the worst first, and how many better ones are not shown.
    bars, bars_rest
        Newest refused bars beside what stands, and how many there are in all.
    spans
        What was the matter with feeds over days of the last year.
    worth
        What less latency and more venues would be worth, by set.
    """

    line: str
    feeds: list[dict[str, str]]
    feeds_rest: str
    bars: list[dict[str, str]]
    bars_rest: str
    spans: list[dict[str, str]]
    worth: list[dict[str, str]]


def section(inputs: ReportInputs) -> FeedsView:
    """Tell what is known of the feeds."""
    scored = inputs.feeds.sort_values(["score", "symbol", "source"], kind="stable")
    shown = scored.head(FEED_ROWS)
    rest = len(scored) - len(shown)
    return FeedsView(
        line=support(inputs),
        feeds=[_feed(r) for r in words.records(shown)],
        feeds_rest=f"{words.count(rest)} more feeds have better scores." if rest > 0 else "",
        bars=[_bar(r) for r in words.records(inputs.verdicts.head(BAR_ROWS))],
        bars_rest=_bars_rest(inputs.verdicts),
        spans=_spans(inputs),
        worth=[_worth(r) for r in words.records(inputs.worth)],
    )


def support(inputs: ReportInputs) -> str:
    """Say how many venues stand behind the newest price of each market."""
    newest = inputs.prices.groupby("symbol", observed=True, sort=False).tail(1)
    by_count: dict[str, list[str]] = {}
    for r in words.records(newest):
        n = int(r.venue_count)
        told = "one venue" if n == 1 else f"{n} venues"
        if r.feed_status == "disputed":
            told = "two venues that dispute it"
        by_count.setdefault(told, []).append(words.plain(r.symbol))
    return "Newest prices: " + "; ".join(f"{words.listing(who)} from {n}" for n, who in by_count.items()) + "."


def single(inputs: ReportInputs) -> list[str]:
    """List markets whose newest price nobody confirms."""
    newest = inputs.prices.groupby("symbol", observed=True, sort=False).tail(1)
    return [words.plain(r.symbol) for r in words.records(newest) if r.venue_count < 2]


def _feed(r: Any) -> dict[str, str]:
    row = r._asdict()
    return {
        "symbol": words.plain(row["symbol"]),
        "source": words.plain(row["source"]),
        "score": f"{row['score']:.0f}",
        "bars": f"{int(row['bars'])} of {int(row['expected'])}",
        "stale": words.count(int(row["days_stale"])),
        "apart": words.MISSING if pd.isna(row["disagreement_bp"]) else f"{row['disagreement_bp']:.1f}",
        "rejected": words.count(int(row["rejected"])),
        "penalties": ", ".join(
            f"{name} {row[name]:.2f}"
            for name in ("completeness", "staleness", "agreement", "revisions", "discovery", "independence")
            if row[name] < 0.995
        )
        or "none",
        "state": "quarantine" if row["is_quarantined"] else "",
    }


def _bar(r: Any) -> dict[str, str]:
    row = r._asdict()
    return {
        "date": words.day(row["date"]),
        "symbol": words.plain(row["symbol"]),
        "source": words.plain(row["source"]),
        "kind": words.plain(row["kind"]).replace("_", " "),
        "bar": _prices(row["low_usd"], row["high_usd"], row["close_usd"]),
        "agreed": _prices(row["agreed_low_usd"], row["agreed_high_usd"], row["agreed_close_usd"]),
        "why": words.plain(row["evidence"]),
    }


def _prices(low: float, high: float, close: float) -> str:
    if pd.isna(close):
        return words.MISSING
    span = "" if pd.isna(low) or pd.isna(high) else f"{low:.5g} to {high:.5g}, "
    return f"{span}{close:.5g}"


def _bars_rest(verdicts: pd.DataFrame) -> str:
    if verdicts.empty:
        return "No bar was refused."
    counts = verdicts["kind"].value_counts().sort_index()
    named = words.listing([f"{n} {words.plain(kind).replace('_', ' ')}" for kind, n in counts.items()])
    return f"{words.count(len(verdicts))} bars refused in the whole history: {named}."


def _spans(inputs: ReportInputs) -> list[dict[str, str]]:
    since = pd.Timestamp(inputs.as_of) - pd.Timedelta(days=SPAN_DAYS)
    recent = inputs.spans[inputs.spans["end_on"] >= since].head(SPAN_ROWS)
    return [
        {
            "symbol": words.plain(r.symbol),
            "source": words.plain(r.source),
            "kind": words.plain(r.kind).replace("_", " "),
            "days": f"{words.day(r.start_on)} to {words.day(r.end_on)}",
            "detail": words.plain(r.detail),
        }
        for r in words.records(recent)
    ]


def _worth(r: Any) -> dict[str, str]:
    row = r._asdict()
    return {
        "what": f"{words.plain(row['symbol'])} {row['product']} {row['side']}",
        "of": "threshold up" if row["product"] == "lending" else "margin down",
        "tau": f"{row['horizon_hours']:.1f}",
        **{name: _points(row[f"{name}_bp"]) for name in ("minute", "half", "venues")},
    }


def _points(value: float) -> str:
    return words.MISSING if not np.isfinite(value) else f"{value:.1f}"
