"""Rendering: the view as tagged PDF and canonical JSON, the same bytes every time.

What lives here: templates, the fetcher that reaches nothing outside, options of the PDF. What does not: what is shown
(``view``), structure fixes after writing (``tagging``).
"""

import base64
import calendar
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from reports import fonts, tagging
from reports.view import ReportView, with_fewer_decisions

FEWEST_ROWS = 1
OPTIONS: dict[str, Any] = {"pdf_variant": "pdf/ua-1", "pdf_tags": True}
APART = re.compile(r"(?<=\d) (?=%|\d{3}(?!\d))|(?<=[▲▼●■✓✗]) ")

ENDLESS = re.compile(r"(\S{30})(?=\S)")


@dataclass(frozen=True)
class Rendered:
    """A report as files."""

    pdf: bytes
    html: str
    json: bytes
    page_count: int


class RenderError(RuntimeError):
    """A report could not be rendered; the message says what was refused."""


def _source(name: str) -> str:
    return resources.files("reports").joinpath("templates", name).read_text(encoding="utf-8")


def _image(svg: str) -> Markup:
    return Markup("data:image/svg+xml;base64,") + base64.b64encode(svg.encode()).decode()


def environment() -> Environment:
    """Return the template environment: everything is escaped, nothing may be missing."""
    made = Environment(
        loader=FunctionLoader(_source), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.globals["image"] = _image
    return made


def _bound(value: object) -> object:
    """Keep a number and its unit, and the groups of a number, on one line; let a word longer than any line break."""
    if type(value) is not str:
        return value
    return ENDLESS.sub("\\1\u200b", APART.sub("\u00a0", value))


def html(view: ReportView) -> str:
    """Return the report's HTML."""
    templates = environment().overlay(finalize=_bound)
    return templates.get_template("report.html.j2").render(v=view)


def decision_json(view: ReportView) -> bytes:
    """Return the machine-readable decision: sorted keys, no clock, no run."""
    return (json.dumps(view.json, sort_keys=True, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()


def _fetcher() -> Any:
    from weasyprint import URLFetcher
    from weasyprint.urls import URLFetcherResponse

    class Inside(URLFetcher):  # type: ignore[misc]
        """Serves our fonts and images carried in the page; every other address is refused."""

        def fetch(self, url: str, headers: dict[str, str] | None = None) -> Any:
            if url.startswith("data:"):
                return super().fetch(url, headers)
            if url.startswith("plimsoll:font/"):
                file = fonts.folder() / fonts.FILES[url.removeprefix("plimsoll:font/")]
                return URLFetcherResponse(url, file.read_bytes(), {"Content-Type": "font/ttf"})
            raise RenderError(f"{url[:80]!r}: a report reads nothing from outside itself")

    return Inside(allowed_protocols=["data", "plimsoll"], allow_redirects=False, fail_on_errors=True)


@contextmanager
def _writing_at(moment: datetime) -> Iterator[None]:
    """Let fontTools stamp the fonts that it writes with ``moment``: it would ask the clock."""
    before = os.environ.get("SOURCE_DATE_EPOCH")
    os.environ["SOURCE_DATE_EPOCH"] = str(calendar.timegm(moment.timetuple()))
    try:
        yield
    finally:
        if before is None:
            del os.environ["SOURCE_DATE_EPOCH"]
        else:
            os.environ["SOURCE_DATE_EPOCH"] = before


def _second_section(view: ReportView) -> str:
    """Anchor of what follows the first page."""
    if view.has_contents:
        return "contents"
    return view.markets[0].anchor if view.markets else "log"


def layout(view: ReportView) -> tuple[Any, ReportView, str]:
    """Lay a view out, its first page on one page.

    Returns
    -------
    tuple
        WeasyPrint's document, the view as shown (rows that did not fit the first page are counted there and told on
        the market pages) and its HTML.
    """
    fonts.use_private_fontconfig()
    from weasyprint import CSS, HTML
    from weasyprint.text.fonts import FontConfiguration

    style = resources.files("reports").joinpath("static", "report.css").read_text(encoding="utf-8")
    fetcher, configuration = _fetcher(), FontConfiguration()
    sheet = CSS(string=style, url_fetcher=fetcher, font_config=configuration)
    while True:
        text = html(view)
        page = HTML(string=text, url_fetcher=fetcher, base_url="plimsoll:page")
        document = page.render(stylesheets=[sheet], font_config=configuration, **OPTIONS)
        if _second_section(view) in document.pages[1].anchors or len(view.decisions_shown) <= FEWEST_ROWS:
            return document, view, text
        view = with_fewer_decisions(view)


def render(view: ReportView) -> Rendered:
    """Render a view.

    Returns
    -------
    Rendered
        The PDF is tagged (PDF/UA-1 structure, not certified), with ``decision.json`` as its only attachment. The same
        view gives the same bytes: identifiers and dates come from the view, fonts from a package.

    Raises
    ------
    RenderError
        Where a page asks for something outside, or a template for a number that is not there.
    """
    fonts.use_private_fontconfig()
    from weasyprint import Attachment

    machine = decision_json(view)
    moment = view.as_of_day.to_pydatetime()
    attachment = Attachment(
        string=machine.decode(),
        name="decision.json",
        description="The decision for machines",
        created=moment,
        modified=moment,
        relationship="Data",
    )
    identifier = hashlib.sha256(machine).digest()[:16]
    out = io.BytesIO()
    try:
        document, _, text = layout(view)
        with _writing_at(moment):
            document.write_pdf(out, attachments=[attachment], pdf_identifier=identifier, **OPTIONS)
    except Exception as error:
        raise RenderError(f"report of {view.as_of}: {error}") from error
    except BaseException as error:  # WeasyPrint's refusal to fetch is no Exception.
        if type(error).__name__ != "FatalURLFetchingError":
            raise
        raise RenderError(f"report of {view.as_of}: {error}; a report reads nothing from outside itself") from error
    return Rendered(tagging.finish(out.getvalue()), text, machine, len(document.pages))
