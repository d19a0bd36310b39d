"""One number, many places: PDF, web page, forum post, JSON, mail and store are read back and compared."""

import csv
import email
import io
import json
import re
from email import policy
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from pypdf import PdfReader

from reports import message, render, tables, view, web, words
from reports.view import ReportInputs, ReportView, forum


class _Text(HTMLParser):
    """Collects what a reader sees, and the tags."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.tags: list[str] = []
        self.cells: list[list[str]] = []
        self.is_inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th") and self.cells:
            self.cells[-1].append("")
            self.is_inside = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.is_inside = False

    def handle_data(self, data: str) -> None:
        self.parts.append(data)
        if self.is_inside:
            self.cells[-1][-1] += data

    @property
    def text(self) -> str:
        return flat(" ".join(self.parts))


def flat(text: str) -> str:
    return re.sub(r"[\s\u00a0\u200b]+", " ", text)


def seen(html: str) -> _Text:
    parser = _Text()
    parser.feed(html)
    return parser


def expected(inputs: ReportInputs) -> list[tuple[str, str, str, str, str]]:
    """Market, set, parameter, in force and proposed of every row of the store, as people read them."""
    rows = []
    for r in words.records(inputs.recommendations):
        shown = words.count if r.parameter == "max_leverage" else words.bps
        rows.append((r.symbol, f"{r.product} {r.side}", str(r.parameter), shown(r.in_force), shown(r.proposed)))
    return rows


NAMES = {"lt": "LT", "ltv": "LTV", "bonus": "bonus", "mm": "MM", "im": "IM", "max_leverage": "leverage"}


def test_the_json_is_the_store(inputs: ReportInputs, rendered: render.Rendered) -> None:
    found = json.loads(rendered.json)["recommendations"]
    stored = inputs.recommendations.to_dict("records")
    assert len(found) == len(stored)
    for one, other in zip(found, stored, strict=True):
        for name in ("symbol", "product", "side", "parameter", "status", "reason"):
            assert one[name] == other[name]
        for name in ("in_force", "target", "proposed"):
            assert one[name] == (None if words.is_missing(other[name]) else int(other[name]))


def test_pdf_and_page_show_every_parameter_of_the_store(
    inputs: ReportInputs, built: ReportView, rendered: render.Rendered
) -> None:
    pages = [flat(page.extract_text()) for page in PdfReader(io.BytesIO(rendered.pdf)).pages]
    table = [[flat(cell) for cell in row] for row in seen(web.page(built)).cells]
    for symbol, what, parameter, now, then in expected(inputs):
        own = next(page for page in pages[1:] if page.count(f"{symbol} ·"))
        assert re.search(rf"{what} {NAMES[parameter]} {re.escape(now)} \S+( %)? {re.escape(then)} ", own), (
            symbol,
            what,
        )
        assert any(row[:2] == [what, NAMES[parameter]] and (row[2], row[4]) == (now, then) for row in table)


def test_forum_post_shows_every_parameter_of_the_store(inputs: ReportInputs, built: ReportView) -> None:
    cells = seen(MarkdownIt("commonmark").enable("table").render(built.forum)).cells
    for symbol, what, parameter, now, then in expected(inputs):
        (row,) = [cell for cell in cells if cell[:3] == [symbol, what, NAMES[parameter]]]
        assert row[3] == now
        assert row[4] == (words.MISSING if row[5] in ("unchanged", "hold", "withheld") else then)


def test_mail_shows_the_first_page(built: ReportView, rendered: render.Rendered) -> None:
    raw = message.build(built, rendered, message.Envelope("a@example.org", "b@example.org"))
    found = email.message_from_bytes(raw, policy=policy.default)
    plain, html = found.get_body(("plain",)), found.get_body(("html",))
    assert plain is not None
    assert html is not None
    table = seen(html.get_content()).cells
    first = flat(PdfReader(io.BytesIO(rendered.pdf)).pages[0].extract_text())
    for sentence in built.answer:
        for text in (plain.get_content(), html.get_content(), first):
            assert flat(sentence) in flat(text)
    for row in built.decisions_shown:
        assert row.moved in plain.get_content()
        assert any(cell[1:3] == [row.in_force, row.proposed] for cell in table)


def test_backtest_figures_agree(inputs: ReportInputs, built: ReportView, rendered: render.Rendered) -> None:
    rows = inputs.coverage[
        (inputs.coverage["series"] == "overshoot_24h")
        & (inputs.coverage["model"] == "estimator")
        & (inputs.coverage["tail_probability_bps"] == 100)
        & (inputs.coverage["scope"] != "POOLED")
    ]
    text = flat(" ".join(page.extract_text() for page in PdfReader(io.BytesIO(rendered.pdf)).pages))
    machine = json.loads(rendered.json)["backtest"]
    assert len(rows) > 0
    for r in words.records(rows):
        shown = f"{words.count(r.exceptions)} of {words.count(r.observations)} {words.percent(1 - r.exception_rate)}"
        assert shown in text
        assert shown.split(" of ")[1].split(" ")[0] in built.forum
        (found,) = [
            m
            for m in machine
            if (m["scope"], m["side"], m["series"], m["model"], m["tail_probability_bps"])
            == (r.scope, r.side, r.series, r.model, 100)
        ]
        assert (found["exceptions"], found["observations"]) == (r.exceptions, r.observations)


def test_breaches_csv_is_the_log(built: ReportView) -> None:
    rows = list(csv.DictReader(io.StringIO(built.breaches_csv)))
    assert len(rows) >= len(built.breach_log)
    for shown, row in zip(built.breach_log, rows, strict=False):
        assert (shown["date"], shown["symbol"], shown["side"]) == (row["target_date"], row["symbol"], row["side"])
        assert shown["limit"] == words.percent(float(row["limit_log"]))
        assert float(row["beyond_log"]) == pytest.approx(float(row["realised_log"]) - float(row["limit_log"]), abs=2e-8)


any_text = st.text(st.characters(), max_size=60) | st.sampled_from(
    [
        "=1+1",
        "+cmd",
        "-2",
        "@SUM(A1)",
        "\tx",
        "\rx",
        "a\r\nBcc: x@y",
        "a\u2028b",
        "a|b",
        "[x](javascript:1)",
        "<b>",
        "# h",
    ]
)


@given(any_text)
def test_no_cell_becomes_a_formula(text: str) -> None:
    ((found,),) = list(csv.reader(io.StringIO(tables.csv_text(["x"], [{"x": text}])), strict=False))[1:] or [("",)]
    assert not found.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert tables.cell(-2.5) == -2.5


@given(any_text)
def test_markdown_shows_text_as_it_is(text: str) -> None:
    """Whatever a name holds, the post has one row with the text in its cell, and no other element."""
    source = f"| Market | Value |\n|---|---|\n| {forum.escaped(text)} | 1 |\n"
    parsed = seen(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(source))
    assert set(parsed.tags) <= {"table", "thead", "tbody", "tr", "th", "td"}
    assert parsed.cells[1][1] == "1"
    assert flat(parsed.cells[1][0]).strip() == flat(words.plain(text)).strip()


@given(any_text)
@settings(max_examples=300)
def test_plain_text_is_one_line_without_controls(text: str) -> None:
    found = words.plain(text)
    assert words.plain(found) == found
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]", found)


@pytest.mark.slow
@given(any_text, any_text, any_text)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_hostile_names_leave_no_markup_and_no_header(
    inputs: ReportInputs, built: ReportView, rendered: render.Rendered, name: str, note: str, reason: str
) -> None:
    from dataclasses import replace

    named = replace(
        inputs,
        profile_title=name,
        profile_about=note,
        markets=tuple(replace(market, name=name, note=note) for market in inputs.markets),
        recommendations=inputs.recommendations.assign(reason=reason),
    )
    made = view.build(replace(named, status="withheld", withheld_reason=reason), draws_markets=False)
    mailed = view.build(named, draws_markets=False)
    assert set(seen(web.page(made)).tags) <= set(seen(web.page(built)).tags)
    assert set(seen(render.html(replace(made, sparks=built.sparks))).tags) <= set(seen(render.html(built)).tags)
    for audience in ("committee", "forum", "desk"):
        raw = message.build(mailed, rendered, message.Envelope("a@example.org", "b@example.org", audience))
        found = email.message_from_bytes(raw, policy=policy.default)
        assert set(found.keys()) <= {
            "From", "To", "Reply-To", "Subject", "Date", "Message-ID", "Auto-Submitted", "List-Id",
            "X-Plimsoll-Decision", "MIME-Version", "Content-Type",
        }  # fmt: skip
        assert "\n" not in found["Subject"]
