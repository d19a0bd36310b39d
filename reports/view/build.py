"""Putting the view together: first page, market pages, end matter, and the machine-readable decision.

What lives here: order and selection. What does not: single pages (``decision``, ``pages``).
"""

from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import pandas as pd

from reports import charts, tables, words
from reports.charts import Chart
from reports.view import correlation, decision, explained, feeds, fits, forum, health, models, pages, path, trial
from reports.view.correlation import CorrelationView
from reports.view.decision import DecisionRow
from reports.view.feeds import FeedsView
from reports.view.inputs import ReportInputs, of_symbol
from reports.view.models import ModelsView
from reports.view.pages import MarketPage
from reports.view.schema import SCHEMA, Decision

MANY = 8
LOG_ROWS, LEAST_LOG_ROWS = 55, 20
SPARK_BARS = 252


@dataclass(frozen=True)
class ReportView:
    """A report ready to be laid out."""

    title: str
    as_of: str
    as_of_day: pd.Timestamp
    status: str
    badge: str
    decision_id: str
    profile_title: str
    profile_about: str
    is_demo: bool
    headline: str
    answer: list[str]
    checks_line: str
    decisions: list[DecisionRow]
    decisions_shown: list[DecisionRow]
    decisions_rest: str
    sparks: dict[str, Chart]
    overview: Chart | None
    overview_panels: list[dict[str, Any]]
    actions: list[tuple[str, str, str]]
    triggers: list[str]
    since_last: list[str]
    has_contents: bool
    markets: list[MarketPage]
    quiet: list[dict[str, str]]
    breach_log: list[dict[str, str]]
    breach_rest: str
    moved: list[dict[str, str]]
    data_quality: list[dict[str, str]]
    feeds: FeedsView
    swings: list[dict[str, str]]
    path: list[dict[str, str]]
    path_line: str
    reasons: list[dict[str, Any]]
    reasons_line: str
    reason_heads: list[str]
    trial: trial.Trial | None
    correlation: CorrelationView | None
    models: ModelsView
    quarantine: list[dict[str, str]]
    quarantine_line: str
    fits: list[dict[str, str]]
    fit_health: list[dict[str, str]]
    refusals: list[dict[str, str]]
    checks: list[dict[str, str]]
    method: list[tuple[str, str]]
    limits: list[str]
    provenance: list[tuple[str, str]]
    subject: str
    forum: str
    breaches_csv: str
    ladder: list[dict[str, str]]
    json: dict[str, Any]


def build(inputs: ReportInputs, *, draws_markets: bool = True) -> ReportView:
    """Build the view of one report; nothing is drawn or formatted anywhere else.

    Parameters
    ----------
    inputs
        What it is made from.
    draws_markets
        False leaves the charts of single markets out: a mail shows none of them.
    """
    is_withheld = inputs.status == "withheld"
    rows = decision.rows(inputs)
    shown = [r for r in rows if r.status != "unchanged"][: decision.PAGE_ROWS]
    shown = shown or rows[: decision.PAGE_ROWS]
    quiet_symbols = _quiet(inputs, rows)
    told = [m for m in inputs.markets if m.symbol not in quiet_symbols]
    order = {s: at for at, s in enumerate(dict.fromkeys(r.symbol for r in rows))}
    told = sorted(told, key=lambda m: order.get(words.plain(m.symbol), len(order)))
    title = decision.headline(rows, is_withheld=is_withheld)
    passed = int(inputs.checks["is_passed"].sum()) if len(inputs.checks) else 0
    panels = pages.panels(inputs, rows)
    answer = decision.answer(inputs, rows)
    return ReportView(
        title=f"Liquidation threshold review · {words.plain(inputs.profile_title)}",
        as_of=inputs.as_of.isoformat(),
        as_of_day=pd.Timestamp(inputs.as_of),
        status=inputs.status,
        badge="WITHHELD" if is_withheld else "PROPOSED, NOT IN FORCE",
        decision_id=inputs.decision_id,
        profile_title=words.plain(inputs.profile_title),
        profile_about=words.plain(inputs.profile_about),
        is_demo=inputs.is_demo,
        headline=title,
        answer=answer,
        checks_line=f"{passed} of {len(inputs.checks)} checks passed",
        decisions=rows,
        decisions_shown=shown,
        decisions_rest=_rest([r for r in rows if r not in shown]),
        sparks=_sparks(inputs, shown) if draws_markets else {},
        overview=charts.overview(panels) if panels else None,
        overview_panels=panels,
        actions=decision.actions(inputs, rows),
        triggers=decision.triggers(inputs),
        since_last=health.since_last(inputs),
        moved=health.moved(inputs) if len(inputs.previous) else [],
        has_contents=len(inputs.markets) >= MANY,
        markets=[
            pages.page(inputs, market, rows, is_drawn=draws_markets, has_annex=len(inputs.markets) < MANY)
            for market in told
        ],
        quiet=[_quiet_row(inputs, r) for r in rows if r.symbol in {words.plain(s) for s in quiet_symbols}],
        breach_log=_breach_log(inputs),
        breach_rest=_breach_rest(inputs),
        data_quality=health.data_quality(inputs),
        feeds=feeds.section(inputs),
        swings=health.swings(inputs),
        path=path.path(inputs),
        path_line=path.path_line(inputs),
        reasons=path.reasons(inputs),
        reasons_line=path.reasons_line(inputs),
        reason_heads=[name.capitalize() for name in path.GROUPS],
        trial=trial.section(inputs) if draws_markets else None,
        correlation=correlation.section(inputs),
        models=models.section(inputs),
        quarantine=health.quarantine(inputs),
        quarantine_line=health.quarantine_line(inputs),
        fits=fits.in_use(inputs),
        fit_health=fits.health(inputs),
        refusals=fits.refusals(inputs),
        checks=[
            {
                "name": words.plain(r.name_).replace("_", " "),
                "result": "✓ passed" if r.is_passed else ("✗ failed" if r.is_blocking else "▲ warning"),
                "detail": words.plain(r.detail) or words.MISSING,
            }
            for r in words.records(inputs.checks.rename(columns={"name": "name_"}))
        ],
        method=_method(inputs),
        limits=_limits(inputs),
        provenance=_provenance(inputs),
        subject=_subject(inputs, rows),
        breaches_csv=_breaches_csv(inputs),
        ladder=decision.ladder(inputs),
        forum=forum.post(inputs, rows, title, answer),
        json=_json(inputs, rows, title),
    )


def with_fewer_decisions(view: ReportView) -> ReportView:
    """Return the view with one row less on its first page; the row is counted among those on the market pages."""
    shown = view.decisions_shown[:-1]
    return replace(view, decisions_shown=shown, decisions_rest=_rest([r for r in view.decisions if r not in shown]))


def _quiet(inputs: ReportInputs, rows: list[DecisionRow]) -> set[str]:
    """Markets that need no page of their own: many markets, and nothing asked of this one."""
    if len(inputs.markets) <= MANY:
        return set()
    busy = {r.symbol for r in rows if r.status in ("tighten", "loosen", "hold", "withheld")}
    return {m.symbol for m in inputs.markets if words.plain(m.symbol) not in busy}


def _quiet_row(inputs: ReportInputs, row: DecisionRow) -> dict[str, str]:
    return {
        "symbol": row.symbol,
        "what": f"{row.product} {row.side}",
        "parameter": row.parameter,
        "in_force": row.in_force,
        "target": row.target,
        "status": row.status,
        "coverage": row.coverage,
    }


def _rest(rest: list[DecisionRow]) -> str:
    if not rest:
        return ""
    counts = {s: sum(r.status == s for r in rest) for s in decision.URGENCY}
    parts = [f"{n} {status}" for status, n in counts.items() if n]
    return f"{len(rest)} more on the market pages: {words.listing(parts)}."


def _sparks(inputs: ReportInputs, shown: list[DecisionRow]) -> dict[str, Chart]:
    """Draw a year of closes for each market of the first page."""
    wanted = {row.symbol for row in shown}
    return {
        words.plain(m.symbol): charts.sparkline(
            of_symbol(inputs.prices, m.symbol)["close_usd"].to_numpy(float)[-SPARK_BARS:]
        )
        for m in inputs.markets
        if words.plain(m.symbol) in wanted
    }


def _log_rows(inputs: ReportInputs) -> pd.DataFrame:
    rows = inputs.breaches
    kept = rows[
        rows["series"].isin(["overshoot_24h", "overshoot_24h_deep"])
        & rows["model"].isin(["estimator", "published"])
        & (rows["tail_probability_bps"] == 100)
    ]
    return kept.sort_values(
        ["target_date", "symbol", "side", "model"], ascending=[False, True, True, True], kind="stable"
    )


def _log_room(inputs: ReportInputs) -> int:
    """Rows of the breach log that fill its page; path and reasons stand above it."""
    above = 2 * len(path.path(inputs)) + len(path.reasons(inputs))
    headings = 8 if path.path_line(inputs) or path.reasons_line(inputs) else 0
    return max(LOG_ROWS - above - headings, LEAST_LOG_ROWS)


def _breach_log(inputs: ReportInputs) -> list[dict[str, str]]:
    return [
        {
            "date": words.day(r.target_date),
            "symbol": words.plain(r.symbol),
            "side": str(r.side),
            "what": ("estimator" if r.model == "estimator" else "published")
            + (", deep trigger" if r.series.endswith("deep") else ""),
            "limit": words.percent(r.limit_log),
            "realised": words.percent(r.realised_log),
            "beyond": words.percent(r.realised_log - r.limit_log),
        }
        for r in words.records(_log_rows(inputs).head(_log_room(inputs)))
    ]


def _breaches_csv(inputs: ReportInputs) -> str:
    columns = ("target_date", "symbol", "side", "series", "model", "limit_log", "realised_log", "beyond_log")
    rows = (
        {
            "target_date": words.day(r.target_date),
            "symbol": str(r.symbol),
            "side": str(r.side),
            "series": str(r.series),
            "model": str(r.model),
            "limit_log": round(float(r.limit_log), 8),
            "realised_log": round(float(r.realised_log), 8),
            "beyond_log": round(float(r.realised_log - r.limit_log), 8),
        }
        for r in words.records(_log_rows(inputs))
    )
    return tables.csv_text(columns, rows)


def _breach_rest(inputs: ReportInputs) -> str:
    rows = _log_rows(inputs)
    if rows.empty:
        return "No trigger day went beyond its 99 % limit, or none has been judged."
    dates = rows["target_date"].nunique()
    room = _log_room(inputs)
    more = len(rows) - room
    tail = f" The newest {room} are shown; all are in breaches.csv beside this report." if more > 0 else ""
    return f"{len(rows)} breaches of 99 % limits on {dates} distinct dates: breaches cluster, so count dates as well as rows.{tail}"


def _method(inputs: ReportInputs) -> list[tuple[str, str]]:
    return [
        (
            "Loss budget",
            "Λ = X + λδ + λs + λf + λm, in logs: the move after a trigger, oracle error, market impact, fees, model risk. Lending threshold at a fixed bonus b: (1 − δ) exp(−X) / (1 + b); maintenance margin: 1 − exp(−Λ) for longs, exp(Λ) − 1 for shorts.",
        ),
        (
            "Move after a trigger",
            "X = k σ (τ / 24 h)^η. k is the quantile of the same-day overshoot beyond a trigger c sigmas from the last close, from earlier trigger days only: the market's own quantile shrunk toward the pool of all markets. σ is the larger of the forecast and the ten-year level.",
        ),
        (
            "Volatility",
            "GARCH(1,1) with Student-t innovations on percent returns, rolling window, refitted on every day at the best of several optima, each forecast from data up to the day before. A gate refuses fits that only look sound; the rung in use is printed. The newest fit is held against the package arch on the same window, and a disagreement withholds the report.",
        ),
        (
            "Expected shortfall",
            "A generalised Pareto tail of the pooled overshoot gives expected bad debt per unit of debt given a trigger; the move is raised until that meets its budget.",
        ),
        (
            "Rounding",
            "Bonus up, then threshold down, then LTV down; margins up, leverage down; the rounded set is tested against every constraint again.",
        ),
        (
            "Backtest",
            "Given a trigger, did the day's overshoot exceed the limit? Estimator (k on the forecast), budget (k on the budget's volatility) and published (what the rounded parameters absorb, carried to 24 hours) are three facts and never mixed. Intervals resample blocks of dates.",
        ),
    ]


def _limits(inputs: ReportInputs) -> list[str]:
    out = [
        "Daily bars: horizons below 24 hours are scaled by (τ / 24 h)^η. Horizon scaling untested.",
        "The order of high and low within a day is unknown: longs are judged by lows, shorts by highs.",
        "Positions made liquidatable and user harm are not modelled: not available in this report. Venues change their own limits: those in the path are as configured.",
        "Price history says nothing about code, bridges, governance or oracle design; class caps stand for that.",
    ]
    closes = [words.plain(m.symbol) for m in inputs.markets if m.is_close_only]
    if closes:
        out.append(
            f"{words.listing(closes)}: closes only. Lows and highs are not available, overshoots come from the other markets, and nothing is loosened."
        )
    alone = feeds.single(inputs)
    if alone:
        who = "" if len(alone) == len(inputs.markets) else f" for {words.listing(alone)}"
        out.append(
            f"One price source{who}: no second venue confirms a low or a high."
            + (
                " A live profile would therefore never loosen; this demonstration may."
                if inputs.is_demo
                else " Thresholds may tighten, never loosen."
            )
        )
    rejected = inputs.coverage
    if len(rejected):
        bad = rejected[
            (rejected["scope"] == "POOLED")
            & (rejected["model"] == "estimator")
            & (rejected["verdict"] == "rejected: too many")
        ]
        for r in words.records(bad):
            out.append(
                f"The estimator failed too often on {r.side}s at {r.tail_probability_bps / 100:g} % "
                f"({'deep trigger' if str(r.series).endswith('deep') else 'near trigger'}): {words.percent(r.exception_rate)}. These markets changed over the sample, and a panel of few markets cannot repair that by pooling."
            )
    return out


def _provenance(inputs: ReportInputs) -> list[tuple[str, str]]:
    vintages: dict[str, int] = dict(inputs.forecasts["vintage"].value_counts())
    return [
        ("Decision id", inputs.decision_id),
        ("Method", inputs.methodology),
        ("Configuration", inputs.config_hash),
        ("Source", f"{inputs.data_source}: {words.plain(inputs.profile_about)}"),
        (
            "Forecast rows",
            f"{words.count(int(vintages.get('live', 0)))} live, {words.count(int(vintages.get('reconstructed', 0)))} reconstructed",
        ),
        (
            "Software",
            ", ".join(
                f"{name} {version(name)}"
                for name in ("arch", "duckdb", "numba", "numpy", "pandas", "scipy", "weasyprint")
            ),
        ),
        (
            "Rerun",
            f"plimsoll report --as-of {inputs.as_of.isoformat()} (byte-identical while data, configuration and code stay)",
        ),
    ]


def _subject(inputs: ReportInputs, rows: list[DecisionRow]) -> str:
    day = inputs.as_of.isoformat()
    if inputs.status == "withheld":
        return f"[plimsoll] WITHHELD · {words.plain(inputs.withheld_reason)[:80]} · {day}"
    asked = [r for r in rows if r.status in ("tighten", "loosen")]
    if not asked:
        return f"[plimsoll] no change · {day}"
    moves = [f"{r.symbol} {r.side} {r.moved.replace(' % to ', '→').removesuffix(' %')}" for r in asked]
    more = f", {len(moves) - 3} more" if len(moves) > 3 else ""
    named = f" · {', '.join(moves[:3])}{more}" if moves else ""
    return f"[plimsoll] DECISION {len(asked)} change{'s' if len(asked) > 1 else ''}{named} · {day}"


def _json(inputs: ReportInputs, rows: list[DecisionRow], title: str) -> dict[str, Any]:
    found = {
        "schema": SCHEMA,
        "as_of": inputs.as_of.isoformat(),
        "profile": inputs.profile_title,
        "status": inputs.status,
        "withheld_reason": inputs.withheld_reason,
        "headline": title,
        "decision_id": inputs.decision_id,
        "methodology": inputs.methodology,
        "config_hash": inputs.config_hash,
        "recommendations": [_record(r) for r in words.records(inputs.recommendations)],
        "backtest": [_coverage_record(r) for r in words.records(inputs.coverage)],
        "correlations": correlation.records(inputs),
        "models": models.record(inputs),
        **explained.records(inputs),
        "checks": [
            {"name": str(r[0]), "is_blocking": bool(r[1]), "is_passed": bool(r[2]), "detail": str(r[3])}
            for r in words.records(inputs.checks[["name", "is_blocking", "is_passed", "detail"]])
        ],
    }
    return Decision.model_validate(found).model_dump(by_alias=True)


def _record(r: Any) -> dict[str, Any]:
    return {
        "symbol": r.symbol,
        "product": r.product,
        "side": r.side,
        "parameter": r.parameter,
        "unit": "times" if r.parameter == "max_leverage" else "bps",
        "in_force": _integer(r.in_force),
        "target": _integer(r.target),
        "proposed": _integer(r.proposed),
        "status": r.status,
        "reason": r.reason,
        "implied_probability": _rounded(r.implied_probability),
        "implied_note": r.implied_note,
    }


def _coverage_record(r: Any) -> dict[str, Any]:
    return {
        "scope": r.scope,
        "side": r.side,
        "series": r.series,
        "model": r.model,
        "tail_probability_bps": int(r.tail_probability_bps),
        "observations": int(r.observations),
        "exceptions": int(r.exceptions),
        "coverage": _rounded(None if words.is_missing(r.exception_rate) else 1 - r.exception_rate),
        "largest_exception": _rounded(r.largest_exception_log),
        "average_exception": _rounded(r.average_exception_log),
        "kupiec_p": _rounded(r.kupiec_p),
        "independence_p": _rounded(r.independence_p),
        "power_double": _rounded(r.power_double),
        "zone": r.zone,
        "verdict": r.verdict,
    }


def _integer(value: Any) -> int | None:
    return None if words.is_missing(value) else int(value)


def _rounded(value: Any) -> float | None:
    return None if words.is_missing(value) else round(float(value), 6)
