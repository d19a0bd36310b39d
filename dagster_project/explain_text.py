"""Explain as text: the parts of one market's parameters in tables of at most a hundred columns.

What lives here: order, headings and rounding of what ``explain`` found; printed parts sum to the printed total. What
does not: the values, and whether their sums hold (``explain``).
"""

import textwrap
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from dagster_project.explain import BPS, FORMULAS, Record
from dagster_project.outcome import text_of
from reports import words
from reports.view.decision import SHORT

WIDTH = 100
LOG_UNIT = 1e-6
LABELS = {
    "move": "move over the horizon",
    "oracle": "oracle error",
    "slippage": "slippage",
    "fee": "fee",
    "model": "model risk",
    "smoothing": "against procyclicality",
    "bonus": "bonus beyond slippage and fee",
    "cap": "cap of its class",
    "rounding": "rounding on the grid",
}
HOURS = {
    "oracle": "oracle",
    "keeper": "keeper",
    "auction": "auction or rounds",
    "trigger_to_execution": "trigger to execution, one figure",
    "sale": "a third of the time to sell",
}
ERRORS = {
    "deviation": "deviation",
    "dispersion": "what venues differ by",
    "few_venues": "fewer than three venues: counted twice",
    "staleness": "staleness",
}
RULES = {
    "floor": "floor on volatility",
    "blend": "blend with stressed volatility",
    "buffer": "exhaustible buffer",
    "none": "none",
}


def render(found: Record) -> str:
    """Return what ``explain.explain`` found as text."""
    head = f"{found['symbol']} · {found['name']} · as of {found['as_of']} · method {found['methodology']}\n"
    return head + "\n" + "\n".join(_set(found["symbol"], one) for one in found["sets"])


def _set(symbol: str, one: Record) -> str:
    what = f"{symbol} {one['product']} {one['side']}"
    blocks = [f"{what}\n{'=' * len(what)}\n" + _lines(_header(one))]
    if "budget" in one:
        blocks += [
            _horizon(one["horizon"]),
            _oracle(one["oracle"]),
            _slippage(one["slippage"]),
            _move(one["move"]),
            _budget(one["budget"], one["move"]["tail_probability"]),
            _three(one["probabilities"], one["budget"]["parameter"], one["move"]["tail_probability"]),
        ]
    blocks.append(_parameters(one["parameters"]))
    if "budget" in one:
        blocks += [
            _paragraph(f"binding constraint: {one['binding']['text']}"),
            *([_tiers(one["tiers"])] if one["tiers"] else []),
            *([_open_interest(one["open_interest"])] if one["open_interest"] else []),
            *([_cap(one["cap"], one["side"])] if one["cap"] else []),
            _implied(one["implied"]),
            _model(one["model"]),
            _attribution(one["attribution"]),
        ]
    return "\n".join(blocks)


def _header(one: Record) -> list[str]:
    out = [f"status {one['status']}" + (f": {one['note']}" if one["note"] else "")]
    session = f"for {one['target_date']}, from data to {one['data_to']}" if one["data_to"] else "no session yet"
    out.append(session + (f"; {one['contract']} contract" if one["contract"] else ""))
    rules = f"; published by the rules of {one['venue']}" if one["venue"] else ""
    held = "nothing is in force"
    if one["in_force_venue"]:
        held = f"in force at {one['in_force_venue']}, read on {one['read_on']}"
    out.append(held + rules)
    return [words.plain(line) for line in out]


def _paragraph(text: str) -> str:
    return _lines([words.plain(text)])


def _lines(texts: Sequence[str]) -> str:
    return "".join(textwrap.fill(text, WIDTH, subsequent_indent="  ") + "\n" for text in texts)


def _table(title: str, left: Sequence[str], right: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    table = Table(box=None, pad_edge=False, show_edge=False)
    for name in (*left, *right):
        table.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return _paragraph(title) + textwrap.indent(text_of(table), "  ")


def _shown(parts: dict[str, float], unit: float) -> tuple[dict[str, int], int]:
    """Whole units of each part, and their sum."""
    counted = words.apportioned(list(parts.values()), unit)
    return dict(zip(parts, counted, strict=True)), sum(counted)


def _fixed(units: int, digits: int) -> str:
    return f"{units / 10**digits:,.{digits}f}".replace("-", "−")


def _horizon(one: Record) -> str:
    cells, total = _shown(one["parts_hours"], 1e-4)
    rows = [[HOURS[name], _fixed(value, 4), f"{value * 0.006:.2f}"] for name, value in cells.items()]
    rows.append(["sum", _fixed(total, 4), f"{total * 0.006:.2f}"])
    if one["is_floored"]:
        floor = round(one["floor_hours"] * 1e4)
        rows.append(["the floor stands in", _fixed(floor, 4), f"{floor * 0.006:.2f}"])
    return _table("horizon, trigger to sale (M-11)", ["part"], ["hours", "minutes"], rows)


def _oracle(one: Record) -> str:
    cells, total = _shown(one["parts"], 1e-6)
    rows = [[ERRORS[name], _fixed(value, 4) + " %"] for name, value in cells.items()]
    rows.append([f"sum, with {_venues(one['venues'])}", _fixed(total, 4) + " %"])
    return _table("oracle error (M-13)", ["part"], ["of the price"], rows)


def _venues(count: int) -> str:
    return "one venue" if count == 1 else f"{count} venues"


def _slippage(one: Record) -> str:
    names = {"law": "square-root law", "book": "order book", "pool": "constant-product pool"}
    rows = []
    for key, name in names.items():
        value = one["estimates"][key]
        shown = "–" if value is None else words.percent(value, 4)
        rows.append([name, shown, "binds" if one["basis"] == key else words.plain(one["not_admissible"][key])[:60]])
    if one["basis"] == "book_end":
        rows.append(["last size that a book takes", words.percent(one["counted"], 4), "binds: it ends before the size"])
    size = f"{words.money(one['notional_usd'])} against {words.money(one['adv_usd'])} traded a day"
    table = Table(box=None, pad_edge=False, show_edge=False, show_header=False)
    for name in ("estimate", "value", "why"):
        table.add_column(name, justify="right" if name == "value" else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return _paragraph(f"slippage of {size}: the largest admissible counts (M-14)") + textwrap.indent(
        text_of(table), "  "
    )


def _move(one: Record) -> str:
    p = 100 * one["tail_probability"]
    larger = {"quantile": "the quantile is larger", "expected_shortfall": "the expected shortfall is larger"}
    es = "not available" if one["shortfall_log"] is None else f"{one['shortfall_log']:.5f}"
    if one["k_low"] is None:
        span = f"no interval: {one['k_note']}"
    else:
        span = (
            f"90 % interval {one['k_low']:.3f} to {one['k_high']:.3f}, {one['trigger_dates']} trigger dates in blocks"
        )
    return _lines(
        [
            "move given a trigger (M-7 to M-12, interval M-34)",
            f"  by the {p:g} % quantile {one['quantile_log']:.5f}, by expected shortfall {es} (log): "
            f"{larger[one['larger']]}",
            f"  k {one['k']:.3f} sigmas at depth {one['trigger_depth']:g}; {span}",
            f"  volatility {words.percent(one['sigma_eff_daily'])} a day in the budget, "
            f"{words.percent(one['sigma_daily'])} forecast; horizon exponent {one['eta']:g}",
        ]
    )


def _budget(one: Record, p: float) -> str:
    logs, total = _shown(one["parts_log"], LOG_UNIT)
    shares, whole = _shown({name: value / one["total_log"] for name, value in one["parts_log"].items()}, 1e-3)
    bps, last = _shown({"start": float(one["start_bps"])} | one["parts_bps"], 1.0)
    sign = 1 if one["parameter"] == "mm" else -1
    name = SHORT[one["parameter"]]
    start = f"where nothing is lost ({name} {one['start_bps']} bp)"
    rows = [[start, "", "", "", _fixed(bps["start"], 0)]]
    rows += [
        [LABELS[part], FORMULAS[part], _fixed(logs[part], 6), f"{shares[part] / 10:.1f} %", _moved(bps[part])]
        for part in one["parts_log"]
    ]
    rows.append(
        ["sum: loss budget", "M-13", _fixed(total, 6), f"{whole / 10:.1f} %", _moved(sum(bps[part] for part in logs))]
    )
    for part, formula in (("bonus", "M-15"), ("cap", "M-15"), ("rounding", "M-15" if sign < 0 else "M-16")):
        if part in bps:
            log = _fixed(round(one["bonus_log"] / LOG_UNIT), 6) if part == "bonus" else ""
            rows.append([LABELS[part], formula, log, "", _moved(bps[part])])
    rows.append([f"target {name}", "", "", "", _fixed(last, 0)])
    debt = one["expected_bad_debt"]
    told = "not available" if debt is None else f"{debt * BPS:.3f} bp of debt given a trigger"
    closed = f"{name} before cap and rounding {one['raw_closed_form'] * BPS:.1f} bp raw, "
    closed += f"{one['smoothed_closed_form'] * BPS:.1f} bp smoothed"
    title = f"loss budget at {100 * p:g} % given a trigger; rounded so that the parts sum"
    return _table(title, ["part", "formula"], ["log", "share", f"{name}, bp"], rows) + _lines(
        [
            f"  raw beside smoothed (M-29, rule: {RULES.get(one['rule'], one['rule'])}): {one['raw_log']:.6f} raw, "
            f"{one['total_log']:.6f} smoothed; {closed}",
            f"  expected bad debt at the rounded set (M-12): {told}",
        ]
    )


def _moved(bps: int) -> str:
    return f"{bps:+,}".replace("-", "−") if bps else "0"


def _three(rows: Sequence[Record], parameter: str, p: float) -> str:
    cells = {(one["horizon_factor"], one["tail_probability"]): one["value_bps"] for one in rows}
    chances = sorted({chance for _, chance in cells}, reverse=True)
    names = {0.5: "half the horizon", 1.0: "the horizon", 2.0: "twice the horizon"}
    lines = [
        [
            label,
            *(words.MISSING if cells[factor, chance] is None else f"{cells[factor, chance]:,}" for chance in chances),
        ]
        for factor, label in names.items()
    ]
    heads = [f"{100 * chance:g} %" + (" *" if chance == p else "") for chance in chances]
    return _table(f"{SHORT[parameter]} in bp at other probabilities (* in use) and horizons", [""], heads, lines)


def _parameters(rows: Sequence[Record]) -> str:
    cells = []
    for one in rows:
        path = one["path"] or {}
        unit = "×" if one["unit"] == "times" else "bp"
        cells.append(
            [
                f"{SHORT[one['parameter']]}, {unit}",
                *(_integer(one[name]) for name in ("in_force", "target", "proposed")),
                _integer(path.get("published")),
                _integer(path.get("steps")),
                str(path.get("converges_on") or words.MISSING),
                str(one["status"]) + (f", {path['outcome']}" if path else ""),
            ]
        )
    right = ["in force", "target", "proposed", "today", "steps", "complete on"]
    table = Table(box=None, pad_edge=False, show_edge=False)
    for name in ("parameter", *right, "decision"):
        table.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    for row in cells:
        table.add_row(*row)
    reasons = dict.fromkeys(
        words.plain((one["path"] or {}).get("reason") or one["reason"]) for one in rows if one["reason"] or one["path"]
    )
    title = "parameters (proposal M-19; what may stand today on the venue's path M-30)"
    return _paragraph(title) + textwrap.indent(text_of(table), "  ") + _lines([f"  {text}" for text in reasons if text])


def _integer(value: Any) -> str:
    return words.MISSING if value is None else f"{int(value):,}"


def _open_interest(one: Record) -> str:
    return _paragraph(
        f"initial margin at open interest of {words.money(one['usd'])} (M-27): {_integer(one['im_bps'])} bp, from "
        f"{_integer(one['base_bps'])} bp, scaled between {words.money(one['lower_usd'])} and "
        f"{words.money(one['upper_usd'])}"
    )


def _tiers(one: Record) -> str:
    rows = [
        [
            str(row["tier"]),
            words.money(row["floor_usd"]),
            words.money(row["ceiling_usd"]),
            _integer(row["mm_bps"]),
            _integer(row["im_bps"]),
            _integer(row["max_leverage"]),
            f"{row['maintenance_amount_usd']:,.0f}",
        ]
        for row in one["rows"]
    ]
    note = words.plain(one["note"])
    if not rows:
        return _paragraph(f"size tiers (M-27): none, {note or 'no table is stored'}")
    heads = ["tier", "from", "to", "MM, bp", "IM, bp", "leverage", "amount, USD"]
    return _table("size tiers, billed marginally (M-27)", [], heads, rows) + (_paragraph(f"  {note}") if note else "")


def _cap(one: Record, side: str) -> str:
    what = "supply" if side == "long" else "borrow"
    if one["cap_usd"] is None:
        return _paragraph(f"{what} cap (M-28): none, {one['note']}")
    text = (
        f"{what} cap (M-28): {words.money(one['cap_usd'])} at LT {one['lt_bps']} bp ({one['lt_basis']}), of it "
        f"{words.money(one['sale_usd'])} sold at once; binds: {one['binding']}. The bonus pays up to "
        f"{words.money(one['bonus_cap_usd'])}, rule of practice {words.money(one['practice_cap_usd'])}, largest single "
        f"liquidation {words.money(one['largest_sale_usd'])}, in use {words.money(one['used_usd'])}. {one['note']}"
    )
    return _paragraph(text)


def _implied(one: Record | None) -> str:
    if one is None:
        return _paragraph("implied confidence (M-18): nothing is in force")
    chance = words.percent(one["probability"]) if one["probability"] is not None else one["probability_note"]
    tail = "" if one["tail_probability"] is None else f" (fitted tail {100 * one['tail_probability']:.3g} %)"
    hours = words.MISSING if one["latency_hours"] is None else f"{one['latency_hours']:.3g} h"
    depth = words.money(one["depth_usd"])
    return _lines(
        [
            words.plain(line) if at == 0 else "  " + words.plain(line)
            for at, line in enumerate(
                [
                    f"implied confidence of {SHORT[one['parameter']]} {one['value_bps']} bp in force (M-18): absorbs a "
                    f"move of {one['absorbed_log']:.6f} log, k {one['k_live']:.3f}",
                    f"probability given a trigger: {chance}{tail}",
                    f"latency carried at 1 %: {one['latency_note'] or hours}",
                    f"liquidation carried at 1 %: {one['depth_note'] or depth}",
                ]
            )
        ]
    )


def _model(one: Record) -> str:
    if one["challenger_ratio"] is None:
        return _paragraph("model risk (M-32): no challenger has been judged yet")
    low, high = 1 / one["widest_ratio"], one["widest_ratio"]
    gate = "" if one["is_gated"] else "; the gate is off"
    return _paragraph(
        f"model risk (M-32): the challenger's move is {one['challenger_ratio']:.3f} times that of the model in use; "
        f"margin {one['margin_log']:.6f} log (none while the budgets' ratio is within {low:g} to {high:g}){gate}"
    )


def _attribution(one: Record | None) -> str:
    if one is None:
        return _paragraph("attribution (M-31): there is no earlier budget to compare with")
    name = SHORT[one["parameter"]]
    span = f"{name} {one['before_bps']} to {one['after_bps']} bp since {one['since']}"
    moved = {row["driver"]: row["contribution_bps"] for row in one["drivers"]}
    cells, total = _shown(moved, 0.01)
    rows = [
        [
            row["driver"].replace("_", " "),
            _number(row["before"]),
            _number(row["after"]),
            row["unit"],
            _signed(cells[row["driver"]]),
        ]
        for row in one["drivers"]
        if cells[row["driver"]] or row["before"] != row["after"]
    ]
    if not rows:
        return _paragraph(f"attribution (M-31): {span}; no driver moved")
    rows.append(["sum", "", "", "", _signed(total)])
    table = Table(box=None, pad_edge=False, show_edge=False)
    for head in ("driver", "before", "now", "unit", f"{name}, bp"):
        table.add_column(head, justify="left" if head in ("driver", "unit") else "right", no_wrap=True)
    for cells_of in rows:
        table.add_row(*cells_of)
    return _paragraph(f"attribution (M-31): {span}") + textwrap.indent(text_of(table), "  ")


def _signed(hundredths: int) -> str:
    return f"{hundredths / 100:+,.2f}".replace("-", "−") if hundredths else "0.00"


def _number(value: float | None) -> str:
    return words.MISSING if value is None else f"{value:.6g}".replace("-", "−")
