"""Forum post: the decision as Markdown in the format that risk stewards post.

What lives here: order, tables and escaping of the post. What does not: numbers and their format (``words``), which rows
are asked for (``decision``).
"""

import re
from typing import Any

import pandas as pd

from reports import words
from reports.view import path
from reports.view.decision import SHORT, DecisionRow
from reports.view.inputs import ReportInputs, of_symbol

SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$&])")
LINE_START = re.compile(r"^(\s*)([-+=]|\d+[.)])(?=\s|$)")


def escaped(text: object) -> str:
    """Return text from data so that Markdown shows it as it is: no markup, no link, no table break."""
    plain = words.plain(text)
    plain = SPECIAL.sub(r"\\\1", plain).replace("://", ":&#8203;//").replace("@", "&#64;")
    return LINE_START.sub(r"\1\\\2", plain)


def post(inputs: ReportInputs, rows: list[DecisionRow], headline: str, answer: list[str]) -> str:
    """Build the post.

    Parameters
    ----------
    inputs, rows, headline, answer
        The report's inputs, its decision rows, its headline and its three sentences.

    Returns
    -------
    str
        Markdown with headings, pipe tables and lists; every number stands as it does in the PDF.
    """
    parts = [
        f"# [Proposal] {escaped(inputs.profile_title)}: {escaped(headline)} ({inputs.as_of.isoformat()})",
        "Path: decision of the risk committee, then execution by the venue's steward within its step limits. "
        + ("Nothing here is in force." if inputs.status == "proposed" else "**Publication withheld.**"),
        "## Summary",
        "\n".join(f"- {escaped(line)}" for line in [*answer, *_bullets(rows), *_since(inputs)]),
    ]
    if inputs.is_demo:
        parts.append(f"> Demonstration: {escaped(inputs.profile_about)}")
    for market in inputs.markets:
        mine = [row for row in rows if row.symbol == words.plain(market.symbol) and row.status != "unchanged"]
        if mine:
            parts += [
                f"## {escaped(market.symbol)}: {escaped(market.name)}",
                _market(inputs, market.symbol),
                *_reasons(mine),
            ]
    parts += ["## Specification", _specification(inputs.recommendations)]
    backtest = _backtest(inputs.coverage)
    if backtest:
        parts += [
            "## Backtest",
            "Given a trigger, the day's overshoot against the 99 % estimate, in the terms of the quantitative "
            "disclosures of central counterparties.",
            backtest,
        ]
    parts += [
        "## Next steps",
        "Comments until the committee decides. What is approved is set by the steward; what is held needs a signed "
        "decision.",
        "## Disclosure",
        f"Computed by Plimsoll, method {escaped(inputs.methodology)}, configuration {escaped(inputs.config_hash)}, "
        f"decision {escaped(inputs.decision_id)}. The method, its limits and all figures are in the report and in "
        "decision.json of the same decision. Positions that a change would make liquidatable are not modelled: not "
        "available.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _bullets(rows: list[DecisionRow]) -> list[str]:
    return [
        f"{r.symbol} {r.product} {r.side}: {r.status}, {r.moved}" for r in rows if r.status in ("tighten", "loosen")
    ]


def _since(inputs: ReportInputs) -> list[str]:
    """Say what the venues' limits let stand today, and how many targets moved; nothing where nothing is known."""
    return [line for line in (path.path_line(inputs), path.reasons_line(inputs)) if line]


def _reasons(rows: list[DecisionRow]) -> list[str]:
    return ["\n".join(f"- {r.product} {r.side}: {r.status}; {escaped(r.why)}" for r in rows)]


def _market(inputs: ReportInputs, symbol: str) -> str:
    prices, forecasts = of_symbol(inputs.prices, symbol), of_symbol(inputs.forecasts, symbol)
    if prices.empty or forecasts.empty:
        return "Not enough data for a forecast."
    row = forecasts.iloc[-1]
    traded = of_symbol(inputs.budgets, symbol)
    volume = words.money(traded["adv_usd"].iloc[-1]) if len(traded) else words.MISSING
    return (
        f"Volatility {words.percent(row['sigma_daily'])} a day (long-run {words.percent(row['sigma_long_run_daily'])}; "
        f"the budget uses {words.percent(row['sigma_eff_daily'])}). Traded volume counted: {volume} a day."
    )


def _specification(rows: pd.DataFrame) -> str:
    order = {name: at for at, name in enumerate(SHORT)}
    ranked = rows.assign(at=rows["parameter"].map(order)).sort_values(
        ["symbol", "product", "side", "at"], kind="stable"
    )
    lines = ["| Market | Set | Parameter | Current | Recommended | Status |", "|---|---|---|---:|---:|---|"]
    for r in words.records(ranked):
        shown = words.count if r.parameter == "max_leverage" else words.bps
        asked = words.MISSING if r.status in ("unchanged", "hold", "withheld") else shown(r.proposed)
        lines.append(
            f"| {escaped(r.symbol)} | {r.product} {r.side} | {SHORT[str(r.parameter)]} | {shown(r.in_force)} | {asked} "
            f"| {r.status} |"
        )
    return "\n".join(lines)


def _backtest(coverage: pd.DataFrame) -> str:
    rows = coverage[
        (coverage["series"] == "overshoot_24h")
        & (coverage["model"] == "estimator")
        & (coverage["tail_probability_bps"] == 100)
    ]
    if rows.empty:
        return ""
    lines = [
        "| Market | Side | Observations | Exceptions | Achieved coverage | Largest exception | Average exception |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for r in words.records(rows.sort_values(["scope", "side"], kind="stable")):
        lines.append(_backtest_line(r))
    return "\n".join(lines)


def _backtest_line(r: Any) -> str:
    coverage = words.MISSING if words.is_missing(r.exception_rate) else words.percent(1 - r.exception_rate)
    cells = (
        "all markets" if r.scope == "POOLED" else escaped(r.scope),
        str(r.side),
        words.count(r.observations),
        words.count(r.exceptions),
        coverage,
        words.percent(r.largest_exception_log),
        words.percent(r.average_exception_log),
    )
    return "| " + " | ".join(cells) + " |"
