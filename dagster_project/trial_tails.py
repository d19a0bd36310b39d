"""Trial of tails: what the estimate costs, both tails, and how the move scales with hours, in words.

What lives here: their tables as text. What does not: the figures (``assets.tail_trial``), the rest of the trial
(``trial``).
"""

from collections.abc import Sequence

import pandas as pd
from rich.table import Table

from assets.tail_trial import Scalings, Tails
from dagster_project.outcome import text_of
from plimsoll import backtest, coverage_cost, scaling
from plimsoll.horizons import UNTESTED
from plimsoll.tail_models import EXTREME, HISTORICAL
from reports.words import records

SHOWN_BPS = 100
SHOWN_HOURS = (1, 24)
METHODS = (HISTORICAL, EXTREME)
STEADY_BPS = round(10_000 * max(scaling.TAIL_PROBABILITIES))
"""Tail probability of the regression whose test is shown; the other is in the JSON."""


def _table(left: Sequence[str], right: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False)
    for name in (*left, *right):
        table.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    return table


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def _between(low: float, high: float) -> str:
    return f"{100 * low:.2f} – {100 * high:.2f} %"


def cost_text(rows: pd.DataFrame) -> str:
    """Return coverage and mean k at 1 % as text, pooled over markets."""
    head = (
        "coverage and its cost at 1 %, pooled: mean k beside the market's own empirical quantile of all its past "
        f"(a ratio of at most {coverage_cost.RATIO_LIMIT:.2f} is accepted)"
    )
    kept = rows[(rows["scope"] == backtest.POOLED) & (rows["tail_probability_bps"] == SHOWN_BPS)] if len(rows) else rows
    if kept.empty:
        return f"{head}\nnot enough data: no market has {coverage_cost.MINIMUM_OWN_TRIGGERS} earlier triggers\n"
    names = ("triggers", "dates", "rate", "90 % interval", "own rate", "mean k", "own mean k", "ratio")
    table = _table(("side", "depth"), names)
    for row in records(kept):
        table.add_row(
            row.side,
            f"{row.trigger_depth:g}",
            str(row.triggers),
            str(row.dates),
            _percent(row.rate),
            _between(row.rate_low, row.rate_high),
            _percent(row.rate_own_empirical),
            f"{row.mean_k:.2f}",
            f"{row.mean_own_empirical_k:.2f}",
            "–" if pd.isna(row.ratio) else f"{row.ratio:.3f}",
        )
    return f"{head}\n{text_of(table)}"


def tails_text(found: Tails) -> str:
    """Return both tails of the pooled overshoot at 1 % as text, with the spread over thresholds."""
    head = (
        "tails of the pooled overshoot at 1 %, sigmas: empirical and Pareto quantile (expected shortfall), then shape "
        "and quantile over thresholds of 85 to 95 %"
    )
    rows = found.estimates
    kept = rows[(rows["series"] == "overshoot") & (rows["tail_probability"] == SHOWN_BPS / 1e4)] if len(rows) else rows
    if kept.empty:
        return f"{head}\nnot enough data: no trigger is known\n"
    table = _table(("side", "depth"), ("triggers", "empirical", "Pareto", "shape", "quantile"))
    keys = ["side", "trigger_depth"]
    for key, group in kept.groupby(keys, sort=True):
        own = {str(one.method): one for one in records(group)}
        spread = found.thresholds[
            (found.thresholds["series"] == "overshoot") & (found.thresholds[keys] == list(key)).all(axis=1)
        ]
        table.add_row(
            str(key[0]),
            f"{float(str(key[1])):g}",
            str(int(group["observations"].max())),
            *(_pair(own[name].quantile, own[name].expected_shortfall) for name in METHODS),
            *(_span(spread[name]) for name in ("xi", "quantile")),
        )
    return f"{head}\n{text_of(table)}"


def _pair(quantile: float, shortfall: float) -> str:
    return "–" if pd.isna(quantile) else f"{quantile:.2f} ({shortfall:.2f})"


def _span(values: pd.Series) -> str:
    known = values.dropna()
    return "–" if known.empty else f"{known.min():.2f} to {known.max():.2f}"


def scaling_text(found: Scalings) -> str:
    """Return the newest exponents, and their test out of sample at 1 %, as text."""
    return f"{_estimates_text(found.estimates)}\n{_validation_text(found.validation)}"


def _estimates_text(rows: pd.DataFrame) -> str:
    head = "growth over hours, estimated at the last turn of a quarter (in no published number)"
    if rows.empty:
        return f"{head}\n{UNTESTED}: no trigger could be followed for 24 hours\n"
    table = _table(
        ("side", "depth", "quantile", "state"), ("dates", "exponent", "90 %", "24 h : rest of day", "90 %  ")
    )
    for row in records(rows[rows["turn"] == rows["turn"].max()]):
        is_known = row.state.startswith(scaling.ESTIMATED)
        table.add_row(
            row.side,
            row.depth_class,
            f"{100 - row.regressed_bps / 100:g} %",
            row.state if is_known else "default",
            str(row.dates),
            f"{row.eta:.2f}",
            f"{row.eta_low:.2f} – {row.eta_high:.2f}" if is_known else "–",
            f"{row.stretch:.2f}" if is_known else "–",
            f"{row.stretch_low:.2f} – {row.stretch_high:.2f}" if is_known else "–",
        )
    last = rows[rows["turn"] == rows["turn"].max()]
    untested = last[~last["state"].str.startswith(scaling.ESTIMATED)]
    told = "".join(
        f"{row.side}, {row.depth_class}, {100 - row.regressed_bps / 100:g} % quantile: {row.state}\n"
        for row in records(untested)
    )
    return f"{head}\n{text_of(table)}{told}"


def _validation_text(rows: pd.DataFrame) -> str:
    head = (
        "the same triggers judged by the scaling in use and by the estimated one, out of sample at 1 % "
        f"(regressed on the {100 - STEADY_BPS / 100:g} % quantile; 4 and 8 hours are in the JSON)"
    )
    shown = [scaling.VARIANTS[0], scaling.VARIANTS[-1]]
    kept = (
        rows[
            (rows["tail_probability_bps"] == SHOWN_BPS)
            & (rows["regressed_bps"] == STEADY_BPS)
            & rows["variant"].isin(shown)
            & rows["horizon_hours"].isin(SHOWN_HOURS)
        ]
        if len(rows)
        else rows
    )
    if kept.empty:
        return f"{head}\nnot enough data: no trigger had an estimate before it\n"
    names = ("triggers", "dates", "exceptions", "rate", "90 % interval", "mean limit")
    table = _table(("side", "depth", "hours", "scaling", "verdict"), names)
    is_thin = kept["verdict"] == "not enough data"
    for row in records(kept[~is_thin]):
        table.add_row(
            row.side,
            f"{row.trigger_depth:g}",
            str(row.horizon_hours),
            row.variant,
            row.verdict,
            str(row.triggers),
            str(row.dates),
            f"{row.exceptions_at_least} to {row.exceptions}",
            _percent(row.rate),
            _between(row.rate_low, row.rate_high),
            f"{row.mean_limit_sigma:.2f}",
        )
    thin = ", ".join(sorted({f"{row.side} at depth {row.trigger_depth:g}" for row in records(kept[is_thin])}))
    return f"{head}\n{text_of(table)}" + (f"not enough data: {thin}\n" if thin else "")
