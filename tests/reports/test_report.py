"""The report as people and machines get it: nothing clipped, nothing missing, the same bytes, tagged."""

import io
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pikepdf
import pytest
from fontTools.ttLib import TTFont
from pypdf import PdfReader

from reports import fonts, isolated, render, view
from reports.view import ReportInputs, ReportView
from reports.view.schema import Decision

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = '<script>alert("x")</script> $\\frac{ {{ 7*7 }} & ₿⚠漢字 \u202e\x00 ' + "long" * 40
SLACK = 0.75  # CSS pixels


def texts(pdf: bytes) -> list[str]:
    return [page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages]


def withheld(inputs: ReportInputs) -> ReportInputs:
    nothing = inputs.recommendations.assign(
        target=pd.array([pd.NA] * len(inputs.recommendations), dtype="Int64"),
        proposed=pd.array([pd.NA] * len(inputs.recommendations), dtype="Int64"),
        status="withheld",
        reason="stale data",
    )
    return replace(inputs, recommendations=nothing, status="withheld", withheld_reason="check price_broken failed")


def without_history(inputs: ReportInputs) -> ReportInputs:
    """Return a profile on its first day: prices, and not enough data for anything else."""
    frames = (
        "forecasts",
        "fits",
        "references",
        "fit_health",
        "refusals",
        "thresholds",
        "budgets",
        "quantiles",
        "coverage",
        "triggers",
        "breaches",
        "sensitivities",
    )
    return replace(
        withheld(inputs), status="proposed", withheld_reason="", **{name: getattr(inputs, name)[:0] for name in frames}
    )


def hostile(inputs: ReportInputs) -> ReportInputs:
    return replace(
        inputs,
        profile_title=HOSTILE,
        profile_about=HOSTILE,
        markets=tuple(replace(market, name=HOSTILE, note=HOSTILE) for market in inputs.markets),
        recommendations=inputs.recommendations.assign(reason=HOSTILE),
    )


VARIANTS: dict[str, Callable[[ReportInputs, Callable[[int], ReportInputs]], ReportInputs]] = {
    "as it is": lambda inputs, many: inputs,
    "one market": lambda inputs, many: many(1),
    "three markets": lambda inputs, many: many(3),
    "twenty markets": lambda inputs, many: many(20),
    "sixty markets": lambda inputs, many: many(60),
    "withheld": lambda inputs, many: withheld(inputs),
    "first day": lambda inputs, many: without_history(inputs),
    "hostile text": lambda inputs, many: hostile(inputs),
}


@pytest.fixture(scope="session", params=VARIANTS)
def variant(
    request: pytest.FixtureRequest, inputs: ReportInputs, with_markets: Callable[[int], ReportInputs]
) -> tuple[Any, ReportView, str]:
    """Return a variant laid out: WeasyPrint's document, the view as shown, the HTML."""
    return render.layout(view.build(VARIANTS[request.param](inputs, with_markets)))


def _text_boxes(box: Any) -> Iterator[Any]:
    from weasyprint.formatting_structure import boxes

    for child in box.descendants():
        if isinstance(child, boxes.TextBox):
            yield child


def _overflows(document: Any) -> list[str]:
    """Say which words leave their page's content area or their table cell."""
    from weasyprint.formatting_structure import boxes

    found = []
    for number, page in enumerate(document.pages, start=1):
        root = page._page_box
        left, top = root.content_box_x(), root.content_box_y()
        right, bottom = left + root.width, top + root.height
        for main in (child for child in root.children if not isinstance(child, boxes.MarginBox)):
            for text in _text_boxes(main):
                ends = text.position_x + text.width
                if text.position_x < left - SLACK or ends > right + SLACK:
                    found.append(f"page {number}: {text.text!r} leaves the page sideways")
                if text.position_y < top - SLACK or text.position_y + text.height > bottom + SLACK:
                    found.append(f"page {number}: {text.text!r} leaves the page upright")
            cells = [box for box in main.descendants() if isinstance(box, boxes.TableCellBox)]
            for cell in cells:
                edge = cell.position_x + cell.border_width()
                for text in _text_boxes(cell):
                    if text.position_x + text.width > edge + SLACK:
                        found.append(f"page {number}: {text.text!r} leaves its cell")
    return found


def _overlaps(document: Any) -> list[str]:
    """Say which words stand on one another: more than half a line's height and more than a pixel's width shared."""
    found = []
    for number, page in enumerate(document.pages, start=1):
        boxes = sorted((box for box in _text_boxes(page._page_box) if box.text.strip()), key=lambda b: b.position_y)
        for at, one in enumerate(boxes):
            for other in boxes[at + 1 :]:
                if other.position_y > one.position_y + one.height:
                    break
                height = min(one.position_y + one.height, other.position_y + other.height) - other.position_y
                left = max(one.position_x, other.position_x)
                width = min(one.position_x + one.width, other.position_x + other.width) - left
                if height > 0.5 * min(one.height, other.height) and width > SLACK:
                    found.append(f"page {number}: {one.text!r} and {other.text!r} stand on one another")
    return found


@pytest.mark.slow
def test_nothing_is_clipped_and_every_sign_has_a_glyph(variant: tuple[Any, ReportView, str]) -> None:
    document, shown, text = variant
    assert _overflows(document) == []
    assert _overlaps(document) == []
    charts = [chart.svg for m in shown.markets for chart in (m.history, m.path, m.budget) if chart is not None]
    known = set(TTFont(fonts.folder() / fonts.FILES["normal"]).getBestCmap())
    visible = re.sub(r"<[^>]*>", "", re.sub(r'src="data:[^"]*"', "", text + "".join(charts)))
    missing = {char for char in visible if ord(char) not in known and char not in "\n\t"}
    assert missing == set()


@pytest.mark.slow
def test_no_page_shows_a_hole_in_the_data(variant: tuple[Any, ReportView, str]) -> None:
    pages = texts(variant[0].write_pdf(**render.OPTIONS))
    for number, page in enumerate(pages, start=1):
        assert not re.search(r"\b(nan|NaN|None|NaT|inf|undefined|<NA>)\b", page), f"page {number}"
        assert len(page.split()) > 20, f"page {number} is nearly empty"


def test_the_scan_can_fail(built: ReportView) -> None:
    """A word without a break, wider than its cell, must be found."""
    row = replace(built.decisions_shown[0], following="W" * 120)
    document, _, _ = render.layout(replace(built, decisions_shown=[row]))
    assert any("leaves" in line for line in _overflows(document))


def test_the_scan_for_overlaps_can_fail(built: ReportView, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line pulled up onto the headline must be found."""
    real = render.html
    shifted = '</h1><p style="margin-top:-6mm">A line that stands on another</p>'
    monkeypatch.setattr(render, "html", lambda v: real(v).replace("</h1>", shifted, 1))
    document, _, _ = render.layout(built)
    assert any("stand on one another" in line for line in _overlaps(document))


@pytest.mark.slow
def test_first_page_is_one_page(variant: tuple[Any, ReportView, str]) -> None:
    document, shown, _ = variant
    second = "contents" if shown.has_contents else shown.markets[0].anchor
    assert second in document.pages[1].anchors
    assert len(shown.decisions_shown) >= min(2, len(shown.decisions)), "the first page must show decisions"
    told = re.match(r"(\d+) more", shown.decisions_rest)
    assert len(shown.decisions_shown) + (int(told[1]) if told else 0) == len(shown.decisions)


def test_one_page_a_market(rendered: render.Rendered, built: ReportView) -> None:
    pages = texts(rendered.pdf)
    for at, market in enumerate(built.markets, start=1):
        assert market.name in pages[at]
    assert "Breach log" in pages[len(built.markets) + 1]


def test_markets_without_a_change_share_a_table(with_markets: Callable[[int], ReportInputs]) -> None:
    many = with_markets(12)
    calm = many.recommendations["symbol"] != "M02"
    rows = many.recommendations.assign(status=many.recommendations["status"].where(~calm, "unchanged"))
    made = view.build(replace(many, recommendations=rows))
    assert [market.symbol for market in made.markets] == ["M02"]
    assert {row["symbol"] for row in made.quiet} == {f"M{at:02d}" for at in range(12)} - {"M02"}


def test_hostile_text_is_shown_and_never_run(inputs: ReportInputs) -> None:
    made = render.render(view.build(hostile(inputs)))
    assert "<script>" not in made.html
    assert "49" not in made.html.split("<h1>")[0]
    first = texts(made.pdf)[0]
    assert "<script>alert(" in first
    assert "{{ 7*7 }}" in first


@pytest.mark.parametrize("reference", ["file:///etc/hostname", "http://127.0.0.1:9/x.png", "/etc/hostname"])
def test_a_report_reads_nothing_from_outside(
    built: ReportView, monkeypatch: pytest.MonkeyPatch, reference: str
) -> None:
    real = render.html
    monkeypatch.setattr(render, "html", lambda v: real(v).replace("<body>", f'<body><img src="{reference}" alt="x">'))
    with pytest.raises(render.RenderError, match="reads nothing from outside"):
        render.render(built)


@pytest.mark.parametrize(
    "link",
    ['<link rel="attachment" href="file:///etc/hostname">', '<a rel="attachment" href="file:///etc/hostname">x</a>'],
)
def test_no_link_attaches_a_file(built: ReportView, monkeypatch: pytest.MonkeyPatch, link: str) -> None:
    real = render.html
    monkeypatch.setattr(render, "html", lambda v: real(v).replace("<body>", f"<body>{link}"))
    with pytest.raises(render.RenderError, match="reads nothing from outside"):
        render.render(built)


RENDER = """
import hashlib, pathlib, pickle, sys
sys.path.insert(0, sys.argv[2])
from reports import message, render, view, web
made = view.build(pickle.loads(pathlib.Path(sys.argv[1]).read_bytes()))
out = render.render(made)
mail = message.build(made, out, message.Envelope("a@example.org", "b@example.org"))
page = web.page(made).encode()
print(*(hashlib.sha256(x).hexdigest() for x in (out.pdf, out.json, mail, page, made.forum.encode())))
print(hashlib.sha256(made.breaches_csv.encode()).hexdigest())
"""


@pytest.mark.slow
def test_same_bytes_in_another_process_place_and_hour(inputs: ReportInputs, tmp_path: Path) -> None:
    (tmp_path / "inputs.pickle").write_bytes(pickle.dumps(inputs))
    found = []
    for zone, seed in (("UTC", "1"), ("Asia/Kathmandu", "77")):
        home = tmp_path / zone.replace("/", "-")
        home.mkdir()
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", RENDER, str(tmp_path / "inputs.pickle"), str(ROOT)],
            env={**os.environ, "TZ": zone, "PYTHONHASHSEED": seed, "HOME": str(home), "MPLCONFIGDIR": str(home)},
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == "", "rendering must not complain"
        found.append(done.stdout)
    assert found[0] == found[1]


def test_the_child_process_gives_the_same_bytes(inputs: ReportInputs, rendered: render.Rendered) -> None:
    made, found = isolated.make(inputs)
    assert (found.pdf, found.json) == (rendered.pdf, rendered.json)
    assert made.headline


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (isolated.Limits(memory_mib=300), "needs more than 300 MiB"),
        (isolated.Limits(seconds=0.5), "not drawn within 0.5 s"),
    ],
)
def test_a_drawing_beyond_its_limits_is_ended_and_named(
    inputs: ReportInputs, limits: isolated.Limits, words: str
) -> None:
    with pytest.raises(render.RenderError, match=f"2022-05-31: .*{re.escape(words)}"):
        isolated.make(inputs, limits)


def test_a_child_that_dies_is_named(inputs: ReportInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(render.RenderError, match="died of SIGSEGV"):
        isolated.make(inputs)


def test_a_fault_inside_the_child_comes_back_in_words(inputs: ReportInputs) -> None:
    broken = replace(inputs, markets=(replace(inputs.markets[0], symbol="Z"),))
    with pytest.raises(render.RenderError, match="report of 2022-05-31"):
        isolated.make(replace(broken, prices=pd.DataFrame({"symbol": ["Z"]})))


def test_fonts_are_ours_embedded_and_readable(rendered: render.Rendered) -> None:
    with pikepdf.open(io.BytesIO(rendered.pdf)) as pdf:
        seen = 0
        for page in pdf.pages:
            for font in page.get("/Resources", {}).get("/Font", {}).values():
                assert "Source-Sans-3" in str(font.BaseFont).replace("Sans3", "Sans-3").replace("SourceS", "Source-S")
                assert "/ToUnicode" in font
                inner = font.DescendantFonts[0].FontDescriptor
                assert "/FontFile2" in inner or "/FontFile3" in inner
                seen += 1
        assert seen > 0


def _elements(node: Any, kind: str) -> Iterator[Any]:
    kids = node.get("/K", [])
    for kid in kids if isinstance(kids, pikepdf.Array) else [kids]:
        if isinstance(kid, pikepdf.Dictionary):
            if kid.get("/S") == pikepdf.Name(kind):
                yield kid
            yield from _elements(kid, kind)


def test_the_document_is_tagged(rendered: render.Rendered, built: ReportView) -> None:
    with pikepdf.open(io.BytesIO(rendered.pdf)) as pdf:
        root = pdf.Root
        assert bool(root.MarkInfo.Marked)
        assert str(root.Lang) == "en"
        assert bool(root.ViewerPreferences.DisplayDocTitle)
        assert str(pdf.docinfo["/Title"]).startswith("Liquidation threshold review")
        tree = root.StructTreeRoot
        figures = list(_elements(tree, "/Figure"))
        assert len(figures) > len(built.markets)
        assert all(len(str(figure.Alt)) > 10 for figure in figures)
        heads = list(_elements(tree, "/TH"))
        assert len(heads) > 20
        assert all("/Scope" in head.A for head in heads)
        assert len(list(_elements(tree, "/H1"))) == 1
        assert "/Outlines" in root
        names = [str(one) for one in root.Names.EmbeddedFiles.Names if not isinstance(one, pikepdf.Dictionary)]
        assert names == ["decision.json"] or len(names) == 1
        (attached,) = pdf.attachments.values()
        assert attached.get_file().read_bytes() == rendered.json
        assert "/JavaScript" not in root.Names
        for page in pdf.pages:
            for annotation in page.get("/Annots", []):
                action = annotation.get("/A")
                assert action is None or action.get("/S") != pikepdf.Name.URI, "no link leads outside"


def _unmarked(page: Any, kept: set[int]) -> list[str]:
    depth, stray = 0, []
    for instruction in pikepdf.parse_content_stream(page):
        operator = str(instruction.operator)
        if operator in ("BDC", "BMC"):
            depth += 1
            if operator == "BDC":
                properties = instruction.operands[1]
                if isinstance(properties, pikepdf.Dictionary) and "/MCID" in properties:
                    assert int(properties.MCID) in kept, "marked content that no structure element names"
        elif operator == "EMC":
            depth -= 1
        elif operator in ("Tj", "TJ") and depth == 0:
            stray.append(operator)
    return stray


def test_all_text_belongs_to_the_structure_or_is_an_artifact(rendered: render.Rendered) -> None:
    from reports.tagging import _children, _Walk

    with pikepdf.open(io.BytesIO(rendered.pdf)) as pdf:
        walk = _Walk()
        for kid in _children(pdf.Root.StructTreeRoot):
            walk.visit(kid, None)
        for page in pdf.pages:
            assert _unmarked(page, walk.referenced.get(page.obj.objgen, set())) == []


def test_decision_json_says_what_the_page_says(rendered: render.Rendered, built: ReportView) -> None:
    found = json.loads(rendered.json)
    Decision.model_validate(found)
    assert found["headline"] == built.headline
    assert re.sub(r"\s+", " ", built.headline) in re.sub(r"\s+", " ", texts(rendered.pdf)[0])
    page = re.sub(r"\s+", " ", " ".join(texts(rendered.pdf)))
    for row in found["recommendations"]:
        if row["parameter"] in ("lt", "mm") and row["proposed"] is not None:
            assert f"{row['proposed'] / 100:.1f}" in page or f"{row['proposed'] / 100:.2f}" in page
    assert json.dumps(found, sort_keys=True, ensure_ascii=False, indent=1) + "\n" == rendered.json.decode()


def test_what_moved_since_the_last_report_is_listed(inputs: ReportInputs) -> None:
    before = inputs.recommendations.assign(as_of=pd.Timestamp("2022-05-30"))
    is_moved = (before["symbol"] == "AAA") & (before["product"] == "lending") & (before["parameter"] == "lt")
    before["target"] = before["target"].where(~is_moved, before["target"] + 150)
    made = view.build(replace(inputs, previous=before))
    assert {row["symbol"] for row in made.moved} == {"AAA"}
    assert {row["change"] for row in made.moved} == {"▼ −1.5"}
    assert re.match(r"2 set\(s\) differ from 2022-05-30; most: AAA lending (long|short) LT target", made.since_last[0])
    pages = " ".join(texts(render.render(made).pdf))
    assert "Against the last report" in pages
    assert "▼ −1.5" in re.sub(r"\s", " ", pages)
    still = view.build(replace(inputs, previous=inputs.recommendations.assign(as_of=pd.Timestamp("2022-05-30"))))
    assert still.since_last == ["No target and no status moved since 2022-05-30."]
    assert still.moved == []


def test_withheld_report_proposes_nothing(inputs: ReportInputs) -> None:
    made = view.build(withheld(inputs))
    first = texts(render.render(made).pdf)[0]
    assert "Publication withheld" in first
    assert "price_broken" in first
    assert all(row["proposed"] is None for row in made.json["recommendations"])
    assert made.subject.startswith("[plimsoll] WITHHELD")
