"""Market pages: one market's decision, budget, parameters and proof.

What lives here: tables and charts of one market. What does not: the first page (``decision``), the end matter (``build``).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from reports import charts, words
from reports.charts import Chart
from reports.view import budget_parts, sizes
from reports.view.decision import SHORT, DecisionRow
from reports.view.inputs import MarketInput, ReportInputs, of_symbol

BUDGET = (
    ("lambda_move", "move after a trigger"),
    ("lambda_oracle", "oracle error"),
    ("lambda_slippage", "market impact"),
    ("lambda_fee", "fee"),
    ("lambda_model", "model risk"),
)
BINDING = {
    "quantile": "quantile",
    "expected_shortfall": "expected shortfall",
    "cap": "cap of its class",
    "none": words.MISSING,
}
MODELS = (
    ("estimator", "estimator"),
    ("budget", "budget"),
    ("published", "published"),
    ("textbook", "textbook GARCH-t"),
    ("historical_simulation", "historical simulation"),
    ("ewma", "EWMA normal"),
)
CLOSES_ONLY = (
    "Closes only: without lows and highs no trigger is known, so these tests are not available for this market; "
    "the test of daily closes stands with the other series."
)
CHART_YEARS = 3
ZONES = {"green": "● green", "yellow": "▲ yellow", "red": "■ red"}


@dataclass(frozen=True)
class MarketPage:
    """One market's page, ready for the template."""

    symbol: str
    name: str
    note: str
    anchor: str
    answer: list[str]
    facts: list[tuple[str, str]]
    parameters: list[dict[str, str]]
    budgets: list[dict[str, Any]]
    budget_notes: list[str]
    details: list[dict[str, str]]
    has_split: bool
    has_smoothing: bool
    implied: list[dict[str, str]]
    tiers: list[dict[str, Any]]
    caps: list[str]
    sensitivities: list[dict[str, Any]]
    sensitivity_heads: list[str]
    headline_tests: list[dict[str, Any]]
    headline_note: str
    backtest: list[dict[str, str]]
    depths: list[dict[str, str]]
    history: Chart | None
    path: Chart | None
    budget: Chart | None


def page(
    inputs: ReportInputs,
    market: MarketInput,
    decisions: list[DecisionRow],
    *,
    is_drawn: bool = True,
    has_annex: bool = True,
) -> MarketPage:
    """Build one market's page, with or without its charts; the budget is drawn for annexes only."""
    symbol = market.symbol
    prices = of_symbol(inputs.prices, symbol)
    forecasts = of_symbol(inputs.forecasts, symbol)
    thresholds, newest = of_symbol(inputs.thresholds, symbol), of_symbol(inputs.budgets, symbol)
    mine = [row for row in decisions if row.symbol == words.plain(symbol)]
    bars = _bars(newest)
    return MarketPage(
        symbol=words.plain(symbol),
        name=words.plain(market.name),
        note=words.plain(market.note),
        anchor=f"market-{symbol.lower()}",
        answer=[f"{row.product} {row.side}: {row.status}, {row.why}" for row in mine],
        facts=_facts(inputs, market, prices, forecasts),
        parameters=_parameters(of_symbol(inputs.recommendations, symbol)),
        budgets=_budgets(newest),
        budget_notes=_sentences(newest["note"]),
        details=budget_parts.details(newest),
        has_split=budget_parts.is_split(newest),
        has_smoothing=bool((newest["lambda_smoothing"].abs() > 0).any()),
        implied=budget_parts.implied(of_symbol(inputs.implied, symbol)),
        tiers=sizes.tiers(of_symbol(inputs.tiers, symbol)),
        caps=sizes.caps(of_symbol(inputs.caps, symbol)),
        sensitivities=_sensitivities(of_symbol(inputs.sensitivities, symbol)),
        sensitivity_heads=["p = 1 %", "p = 0.5 %", "p = 0.1 %", "half the horizon", "twice the horizon"],
        headline_tests=_headline_tests(inputs, market),
        headline_note=CLOSES_ONLY if market.is_close_only else "",
        backtest=_backtest(inputs, market),
        depths=_depths(of_symbol(inputs.quantiles, symbol)),
        history=_history(symbol, prices, of_symbol(inputs.triggers, symbol), of_symbol(inputs.breaches, symbol))
        if is_drawn
        else None,
        path=_path(symbol, thresholds, of_symbol(inputs.in_force, symbol)) if is_drawn else None,
        budget=charts.budget(symbol, bars) if bars and is_drawn and has_annex else None,
    )


def _facts(
    inputs: ReportInputs, market: MarketInput, prices: pd.DataFrame, forecasts: pd.DataFrame
) -> list[tuple[str, str]]:
    if prices.empty:
        return [("Data", "no price up to this day")]
    facts = [("Last bar", f"{words.day(prices['date'].iloc[-1])}, close {words.number(prices['close_usd'].iloc[-1])}")]
    if len(forecasts):
        row = forecasts.iloc[-1]
        facts += [
            ("Volatility a day", f"{words.percent(row['sigma_daily'])} forecast for {words.day(row['target_date'])}"),
            (
                "Long-run level",
                f"{words.percent(row['sigma_long_run_daily'])}; the budget uses {words.percent(row['sigma_eff_daily'])}",
            ),
        ]
    fit = of_symbol(inputs.fits, market.symbol)
    if len(fit):
        row = fit.iloc[-1]
        life = (
            "integrated, no long-run variance"
            if row["is_igarch"]
            else f"half-life {words.number(row['half_life_days'], 0)} days"
        )
        facts.append(
            (
                "Fit",
                f"{row['rung']} to {words.day(row['fit_end'])}, persistence {words.number(row['persistence'], 4)}, {life}",
            )
        )
    gaps = int((prices["gap_sessions"] > 0).sum())
    facts.append(("Bars", f"{words.count(len(prices))} since {words.day(prices['date'].iloc[0])}, {gaps} gap(s)"))
    return facts


def _parameters(rows: pd.DataFrame) -> list[dict[str, str]]:
    order = {name: at for at, name in enumerate(SHORT)}
    ranked = rows.assign(at=rows["parameter"].map(order)).sort_values(["product", "side", "at"], kind="stable")
    out = []
    for row in words.records(ranked):
        shown = words.count if row.parameter == "max_leverage" else words.bps
        if words.is_missing(row.implied_probability):
            implied = str(row.implied_note) or words.MISSING
        else:
            implied = words.percent(row.implied_probability)
        out.append(
            {
                "what": f"{row.product} {row.side}",
                "parameter": SHORT[str(row.parameter)],
                "in_force": shown(row.in_force),
                "target": shown(row.target),
                "proposed": shown(row.proposed),
                "status": str(row.status),
                "implied": implied,
            }
        )
    return out


def _budgets(newest: pd.DataFrame) -> list[dict[str, Any]]:
    out = []
    for row in words.records(newest):
        values = row._asdict()
        out.append(
            {
                "what": f"{row.product} {row.side}",
                "parts": [words.percent(values[name]) for name, _ in BUDGET],
                "total": words.percent(row.lambda_total),
                "k": words.number(row.k),
                "depth": f"{row.trigger_depth:g}" if not words.is_missing(row.trigger_depth) else words.MISSING,
                "horizon": f"{row.horizon_hours:.2f} h" if not words.is_missing(row.horizon_hours) else words.MISSING,
                "binding": BINDING[str(row.binding)],
                "bad_debt": f"{1e4 * row.expected_bad_debt:.2f} bp"
                if not words.is_missing(row.expected_bad_debt)
                else words.MISSING,
            }
        )
    return out


def _sentences(notes: pd.Series) -> list[str]:
    """Each distinct note once, as a sentence."""
    texts = dict.fromkeys(words.plain(note) for note in notes if not words.is_missing(note))
    return [f"{text[0].upper()}{text[1:]}." for text in texts if text]


def _bars(newest: pd.DataFrame) -> list[tuple[str, list[tuple[str, float]]]]:
    known = newest[newest["lambda_total"].notna()]
    return [
        (f"{row.product} {row.side}", [(label, float(row._asdict()[name])) for name, label in BUDGET])
        for row in words.records(known)
    ]


def _sensitivities(rows: pd.DataFrame) -> list[dict[str, Any]]:
    out = []
    for (product, side), mine in rows.groupby(["product", "side"], sort=True):
        table = {(r.tail_probability_bps, r.horizon_factor): r.value_bps for r in words.records(mine)}
        base = 100
        cells = [table.get((p, 1.0)) for p in (100, 50, 10)] + [table.get((base, f)) for f in (0.5, 2.0)]
        name = SHORT[str(mine["parameter"].iloc[0])]
        out.append({"what": f"{product} {side} {name}", "cells": [words.bps(c) for c in cells]})
    return out


def _backtest(inputs: ReportInputs, market: MarketInput) -> list[dict[str, str]]:
    rows = inputs.coverage[
        (inputs.coverage["scope"] == market.symbol) & (inputs.coverage["tail_probability_bps"] == 100)
    ]
    out = []
    for side in ("long", "short"):
        for series, tests in (("overshoot_24h", MODELS), ("overshoot_24h_deep", MODELS[:3])):
            for model, label in tests:
                found = rows[(rows["series"] == series) & (rows["model"] == model) & (rows["side"] == side)]
                deep = ", deep trigger" if series.endswith("deep") else ""
                if len(found):
                    out.append(_backtest_row(side, label + deep, found.iloc[0]))
                elif market.is_close_only and model == "estimator" and not deep:
                    out.append(_unavailable(side, label))
        for series, model, label in (
            ("var_close", "garch_t", "daily close"),
            ("excursion", "filtered_historical", "daily excursion"),
        ):
            found = rows[(rows["series"] == series) & (rows["model"] == model) & (rows["side"] == side)]
            if len(found):
                out.append(_backtest_row(side, label, found.iloc[0]))
            elif market.is_close_only and series == "excursion":
                out.append(_unavailable(side, label))
    return out


def _headline_tests(inputs: ReportInputs, market: MarketInput) -> list[dict[str, Any]]:
    """Return the test given a trigger at 99 %, one row a limit and both sides in it."""
    rows = inputs.coverage[
        (inputs.coverage["scope"] == market.symbol)
        & (inputs.coverage["tail_probability_bps"] == 100)
        & (inputs.coverage["series"] == "overshoot_24h")
    ]
    out = []
    for model, label in MODELS:
        cells: list[str] = []
        for side in ("long", "short"):
            found = rows[(rows["model"] == model) & (rows["side"] == side)]
            if found.empty:
                cells += [words.MISSING, words.MISSING, words.MISSING, "not available"]
                continue
            shown = _backtest_row(side, label, found.iloc[0])
            cells += [f"{shown['exceptions']} of {shown['observations']}", shown["coverage"], shown["kupiec"]]
            cells.append(f"{shown['zone']}, {shown['verdict']}" if shown["zone"] != words.MISSING else shown["verdict"])
        if any(cell != words.MISSING for cell in cells[:3] + cells[4:7]):
            out.append({"model": label, "cells": cells})
    return out


def _unavailable(side: str, label: str) -> dict[str, str]:
    blank = dict.fromkeys(
        (
            "observations",
            "exceptions",
            "coverage",
            "largest",
            "average",
            "limit",
            "kupiec",
            "independence",
            "power",
            "zone",
        ),
        words.MISSING,
    )
    return {"side": side, "model": label, **blank, "verdict": "not available"}


def _backtest_row(side: str, label: str, row: pd.Series) -> dict[str, str]:
    return {
        "side": side,
        "model": label,
        "observations": words.count(row["observations"]),
        "exceptions": words.count(row["exceptions"]),
        "coverage": words.percent(1 - row["exception_rate"]),
        "largest": words.percent(row["largest_exception_log"]),
        "average": words.percent(row["average_exception_log"]),
        "limit": words.number(row["mean_limit_sigma"]),
        "kupiec": words.probability(row["kupiec_p"]),
        "independence": words.probability(row["independence_p"]),
        "power": words.number(row["power_double"]),
        "zone": ZONES.get(str(row["zone"]), words.MISSING),
        "verdict": str(row["verdict"]),
    }


def _depths(rows: pd.DataFrame) -> list[dict[str, str]]:
    out = []
    for row in words.records(rows.sort_values(["side", "trigger_depth"], kind="stable")):
        out.append(
            {
                "side": str(row.side),
                "depth": f"{row.trigger_depth:g}",
                "own": words.count(row.own_triggers),
                "pooled": f"{words.count(row.pooled_triggers)} on {words.count(row.pooled_dates)} dates",
                "k_own": words.number(row.k_own_p100),
                "k": " / ".join(words.number(k) for k in (row.k_p500, row.k_p100, row.k_p50, row.k_p10)),
                "weight": words.percent(row.own_weight_p100, 0),
            }
        )
    return out


def _history(symbol: str, prices: pd.DataFrame, triggers: pd.DataFrame, breaches: pd.DataFrame) -> Chart | None:
    if len(prices) < 2:
        return None
    marks = breaches[
        (breaches["series"] == "overshoot_24h")
        & (breaches["model"] == "estimator")
        & (breaches["tail_probability_bps"] == 100)
    ]
    ratio = marks["limit_sigma"] / marks["limit_log"]
    return charts.history(symbol, prices, triggers, marks, marks.assign(overshoot_sigma=marks["realised_log"] * ratio))


def _path(symbol: str, thresholds: pd.DataFrame, in_force: pd.DataFrame) -> Chart | None:
    lines = []
    for product, column, title in (
        ("perpetual", "mm_bps", "Maintenance margin, %"),
        ("lending", "lt_bps", "Liquidation threshold, %"),
    ):
        mine = thresholds[(thresholds["product"] == product) & thresholds[column].notna()]
        if mine.empty:
            continue
        series = [
            (
                side,
                rows["target_date"].to_numpy(),
                rows[column].to_numpy(np.float64) / 100,
                charts.SIDE_COLOURS[str(side)],
            )
            for side, rows in mine.groupby("side", sort=True)
        ]
        held = in_force[(in_force["product"] == product) & (in_force["parameter"] == column.removesuffix("_bps"))]
        lines.append(
            {
                "title": title,
                "series": series,
                "in_force": float(held["value_bps"].iloc[0]) / 100 if len(held) else None,
            }
        )
    return charts.path(symbol, lines) if lines else None


def panels(inputs: ReportInputs, decisions: list[DecisionRow], most: int = 4) -> list[dict[str, Any]]:
    """Small multiples of the first page: the most urgent markets, three years, one product for all."""
    order = list(dict.fromkeys(row.symbol for row in decisions))
    by_shown = {words.plain(m.symbol): m for m in inputs.markets}
    chosen = [by_shown[s] for s in order if len(of_symbol(inputs.forecasts, by_shown[s].symbol))][:most]
    product = "lending" if all("lending" in m.products for m in chosen) else "perpetual"
    column, label, axis = (
        ("lt_bps", "liquidation threshold", "Liquidation\nthreshold")
        if product == "lending"
        else ("mm_bps", "maintenance margin", "Maintenance\nmargin")
    )
    out = []
    for market in chosen:
        prices = of_symbol(inputs.prices, market.symbol)
        since = prices["date"].iloc[-1] - pd.DateOffset(years=CHART_YEARS)
        forecasts = of_symbol(inputs.forecasts, market.symbol)
        forecasts = forecasts[forecasts["target_date"] >= since]
        a_year = round(len(prices) / max((prices["date"].iloc[-1] - prices["date"].iloc[0]).days / 365.25, 0.1))
        rows = of_symbol(inputs.thresholds, market.symbol)
        rows = rows[(rows["product"] == product) & (rows["side"] == "long") & (rows["target_date"] >= since)]
        held = of_symbol(inputs.in_force, market.symbol)
        held = held[(held["product"] == product) & (held["parameter"] == column.removesuffix("_bps"))]
        out.append(
            {
                "symbol": words.plain(market.symbol),
                "price": prices[prices["date"] >= since],
                "forecasts": forecasts.assign(sigma_annual=forecasts["sigma_daily"] * np.sqrt(a_year)),
                "thresholds": rows.assign(value=rows[column].astype("float64") / 100),
                "in_force": float(held["value_bps"].iloc[0]) / 100 if len(held) else None,
                "label": label,
                "axis": axis,
            }
        )
    return out
