"""The section on correlation: what is shown of many markets, its words, and the same numbers for machines."""

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pypdf import PdfReader

from plimsoll.correlation import correlations, long_rows
from reports import render, view, web
from reports.view import ReportInputs, correlation


def with_pairs(inputs: ReportInputs, seed: int = 1, days: int = 700) -> ReportInputs:
    """Correlations of simulated residuals under the names of the report's markets; the first one leads."""
    rng = np.random.default_rng(seed)
    symbols = sorted(m.symbol for m in inputs.markets)
    pull = np.linspace(0.1, 0.9, len(symbols))
    common = rng.standard_t(5, (days, 1))
    z = np.sqrt(pull) * common + np.sqrt(1 - pull) * rng.standard_normal((days, len(symbols)))
    frame = pd.DataFrame(z, index=pd.date_range(end=inputs.as_of, periods=days), columns=symbols)
    rows = long_rows(correlations(frame, symbols[0], -frame[symbols[0]]))
    return replace(inputs, correlations=rows, stress_lead=symbols[0])


def text_of(pdf: bytes) -> list[str]:
    return [
        re.sub(r"\s+", " ", page.extract_text().replace("\u00a0", " ")) for page in PdfReader(io.BytesIO(pdf)).pages
    ]


def stored(inputs: ReportInputs, measure: str) -> pd.Series:
    rows = inputs.correlations[inputs.correlations["measure"] == measure]
    return rows.set_index(["symbol", "other_symbol"])["value"]


def test_a_night_shows_both_matrices_and_the_warning(inputs: ReportInputs, rendered: render.Rendered) -> None:
    found = correlation.section(inputs)
    assert found is not None and found.left_out == ""
    for table, measure in zip(found.tables, ("dcc", "stress"), strict=True):
        value = stored(inputs, measure)["AAA", "BBB"]
        assert table.heads == ["Market", "AAA", "BBB"]
        assert table.rows[0][0] == "AAA" and table.rows[0][1][0][0] == "1"
        assert table.rows[0][1][1][0] == table.rows[1][1][0][0] == f"{value:.2f}".replace("-", "−")
    page = next(text for text in text_of(rendered.pdf) if "No diversification is credited" in text)
    assert "Dynamic conditional correlation (DCC)" in page and "On the worst days of AAA" in page
    assert "Tail dependence" in page
    assert "No diversification is credited" in web.page(view.build(inputs))


def test_the_json_has_every_pair(inputs: ReportInputs, with_markets: Callable[[int], ReportInputs]) -> None:
    many = with_pairs(with_markets(12))
    found = json.loads(render.decision_json(view.build(many)))["correlations"]
    assert len(found) == 66
    for one in found:
        pair = (one["symbol"], one["other_symbol"])
        for name, measure in correlation.FIELDS.items():
            assert one[name] == pytest.approx(stored(many, measure)[pair], abs=5.1e-7)
        assert one["shared_days"] == 700
    nothing = replace(inputs, correlations=inputs.correlations.assign(value=np.nan))
    assert json.loads(render.decision_json(view.build(nothing)))["correlations"][0]["dynamic"] is None


def test_of_many_markets_those_that_move_most_are_printed(with_markets: Callable[[int], ReportInputs]) -> None:
    many = with_pairs(with_markets(14))
    found = correlation.section(many)
    assert found is not None
    kept = [name.split(" ")[1] for name, _ in found.tables[0].rows]
    # Pulls grow with the number, so the last ones move most; the first one leads and stays.
    assert kept == ["M00", *(f"M{n:02d}" for n in range(5, 14))]
    assert found.tables[0].heads == ["Market", *(str(n) for n in range(1, 11))]
    assert found.left_out.startswith("The 10 markets") and "4 more are left out" in found.left_out
    assert len(found.whole[0].rows) == 14
    shown = web.page(view.build(many))
    assert shown.count('class="n shade') > 2 * 14 * 13 / 2


def test_where_dynamics_are_missing_the_legend_says_what_is_shown(inputs: ReportInputs) -> None:
    rows = inputs.correlations
    gone = rows["measure"].isin(["dcc", "dcc_a", "dcc_b", "dcc_gain"])
    found = correlation.section(replace(inputs, correlations=rows.assign(value=rows["value"].mask(gone))))
    assert found is not None
    assert "dynamic correlation is not available" in found.tables[0].legend
    assert found.tables[0].rows[0][1][1][0] == f"{stored(inputs, 'ledoit_wolf')['AAA', 'BBB']:.2f}".replace("-", "−")


def test_not_enough_data_is_said(inputs: ReportInputs) -> None:
    found = correlation.section(
        replace(inputs, correlations=inputs.correlations.assign(value=np.nan, observations=40), stress_lead="")
    )
    assert found is not None and found.sentences == []
    assert found.tables[0].rows[0][1][1] == ("–", "")
    assert found.tables[1].legend.startswith("Not enough data")
    assert correlation.section(replace(inputs, correlations=inputs.correlations[:0])) is None
    assert correlation.section(replace(inputs, markets=inputs.markets[:1])) is None


def test_an_adjusted_matrix_and_stale_pairs_are_told(inputs: ReportInputs) -> None:
    rows = inputs.correlations
    moved = rows.assign(
        adjustment=rows["adjustment"].mask(rows["measure"] == "dcc", -0.0123),
        last_on=pd.Timestamp(inputs.as_of) - pd.Timedelta(days=11),
    )
    notes = " ".join(correlation.section(replace(inputs, correlations=moved)).notes)  # type: ignore[union-attr]
    assert "in the first matrix: made positive semi-definite, by at most 0.012 a cell" in notes
    assert "AAA with BBB, 2022-05-20" in notes
    usual = " ".join(correlation.section(inputs).notes)  # type: ignore[union-attr]
    assert "positive semi-definite" not in usual and "days back" not in usual


@pytest.mark.parametrize("markets", [2, 6, 12])
def test_the_matrices_stand_on_one_page_and_in_their_cells(
    with_markets: Callable[[int], ReportInputs], markets: int
) -> None:
    from weasyprint.formatting_structure import boxes

    many = with_pairs(with_markets(markets), days=300)
    document, _, _ = render.layout(view.build(many))
    at = [n for n, page in enumerate(document.pages) if "correlation" in page.anchors]
    assert len(at) == 1
    cells: list[Any] = [
        box for box in document.pages[at[0]]._page_box.descendants() if isinstance(box, boxes.TableCellBox)
    ]
    side = min(markets, 10)
    assert len(cells) >= 2 * (side + 1) ** 2, "both matrices are on the page whole"
    for cell in cells:
        edge = cell.position_x + cell.border_width() + 0.75
        for text in (box for box in cell.descendants() if isinstance(box, boxes.TextBox)):
            assert text.position_x + text.width <= edge, text.text
