"""What is in force assumes, sizes, path, reasons and report card: values are the store's, and nothing is made up."""

import io
import json
import re
from dataclasses import replace

import pandas as pd
import pytest
from pypdf import PdfReader

from reports import render, view, web, words
from reports.view import ReportInputs, ReportView, budget_parts, path, sizes
from reports.view.inputs import of_symbol

HOSTILE = "<script>alert(1)</script> {{ 7*7 }}"


def published(**changes: object) -> pd.DataFrame:
    """A lending set on its way: two rows, as the store keeps them."""
    common = {
        "as_of": pd.Timestamp("2022-05-31"),
        "symbol": "AAA",
        "product": "lending",
        "side": "long",
        "venue": "aave_v3",
        "venue_parameter": "liquidationThreshold",
        "outcome": "published",
        "in_force": 8300,
        "target": 8800,
        "destination": 8800,
        "published": 8325,
        "status": "loosen",
        "steps": 4,
        "converges_on": pd.Timestamp("2022-06-12"),
        "days_looser": 0,
        "reason": "at most 25 bps in 3 days",
    } | changes
    follow = {"in_force": 8000, "destination": 7050, "published": 7975, "steps": 38, "days_looser": 9}
    rows = pd.DataFrame([common | {"parameter": "lt"}, common | {"parameter": "ltv"} | follow])
    return rows.astype(dict.fromkeys(("in_force", "destination", "published", "steps", "days_looser"), "Int64"))


@pytest.mark.parametrize("unit", [1.0, 0.1, 1e-4])
def test_rounded_parts_sum_to_the_rounded_sum(unit: float) -> None:
    parts = [unit * value for value in (0.335, 0.335, 0.33, -1.4, 0.0)]
    found = words.apportioned(parts, unit)
    assert sum(found) == round(sum(parts) / unit) == 0
    assert all(abs(one - part / unit) < 1 for one, part in zip(found, parts, strict=True))
    assert words.apportioned([], unit) == []
    assert found[-1] == 0, "what is nothing stays nothing"


def test_details_are_those_of_the_budget(inputs: ReportInputs, built: ReportView) -> None:
    page = built.markets[0]
    stored = of_symbol(inputs.budgets, "AAA")
    assert len(page.details) == len(stored) == 4
    for shown, row in zip(page.details, words.records(stored), strict=True):
        assert shown["raw"] == words.percent(row.lambda_raw)
        assert shown["total_log"] == words.percent(row.lambda_total)
        assert shown["sale"] == words.number(row.horizon_sale_hours)
        assert float(shown["oracle"]) + float(shown["sale"]) == pytest.approx(row.horizon_hours, abs=0.011)
        assert shown["basis"] == "law"


def test_a_split_horizon_is_shown_part_by_part(inputs: ReportInputs) -> None:
    rows = of_symbol(inputs.budgets, "AAA")
    split = rows.assign(horizon_oracle_hours=0.1, horizon_keeper_hours=0.2, horizon_auction_hours=0.3)
    found = budget_parts.details(split)[0]
    assert [found[name] for name in ("oracle", "keeper", "auction")] == ["0.10", "0.20", "0.30"]
    assert budget_parts.is_split(split)
    assert not budget_parts.is_split(rows)
    assert budget_parts.details(rows.assign(lambda_total=float("nan"))) == [], "a withheld set has no parts"


def test_what_is_in_force_assumes_is_the_store(inputs: ReportInputs, built: ReportView) -> None:
    stored = of_symbol(inputs.implied, "AAA")
    assert len(stored) == 3, "margins of both sides, and loans against the market"
    for shown, row in zip(built.markets[0].implied, words.records(stored), strict=True):
        assert shown["absorbs"] == words.percent(row.absorbed_drop)
        assert shown["depth"] == words.money(row.depth_usd)
        assert shown["latency"] == f"{words.number(row.latency_hours)} h"
    assert built.markets[1].implied == [], "nothing is in force there"
    none = stored.assign(latency_hours=float("nan"), latency_note="not even at the floor of 5 minutes")
    assert {row["latency"] for row in budget_parts.implied(none)} == {"none"}
    anything = stored.assign(latency_hours=float("nan"), latency_note="any latency: nothing moves")
    assert {row["latency"] for row in budget_parts.implied(anything)} == {"any"}


def test_tiers_are_the_store_and_those_left_out_are_counted(inputs: ReportInputs, built: ReportView) -> None:
    for table in built.markets[0].tiers:
        stored = inputs.tiers[(inputs.tiers["symbol"] == "AAA") & (inputs.tiers["side"] == table["side"])]
        assert [row["mm"] for row in table["rows"]] == [words.bps(v) for v in stored["mm_bps"].head(sizes.TIER_ROWS)]
        more = len(stored) - sizes.TIER_ROWS
        assert (f"{more} larger" in table["rest"]) == (more > 0)
    blank = inputs.tiers.head(1).assign(tier=0, note=HOSTILE)
    (table,) = sizes.tiers(blank)
    assert table["rows"] == []
    assert words.plain(HOSTILE) in table["note"]


def test_caps_are_sentences_or_say_why_there_is_none(inputs: ReportInputs, built: ReportView) -> None:
    (supply, borrow) = words.records(of_symbol(inputs.caps, "AAA"))
    told = " ".join(built.markets[0].caps)
    for row in (supply, borrow):
        assert words.money(row.cap_usd) in told
    none = of_symbol(inputs.caps, "AAA").assign(cap_usd=float("nan"), note="no budget is published")
    assert sizes.caps(none)[0] == "Supply cap: none, no budget is published."


def test_reasons_sum_to_the_change(inputs: ReportInputs, built: ReportView) -> None:
    assert built.reasons, "targets moved between the two nights"
    for row in built.reasons:
        cells = [float(cell.replace("−", "-")) for cell in row["cells"]]
        total = float(row["sum"].replace("−", "-"))
        assert sum(cells) == pytest.approx(total, abs=1e-9)
        symbol, product, side = row["what"].split()
        mine = inputs.attributions[
            (inputs.attributions["symbol"] == symbol)
            & (inputs.attributions["product"] == product)
            & (inputs.attributions["side"] == side)
        ]
        assert total == mine["after_bps"].iloc[0] - mine["before_bps"].iloc[0]
        assert mine["contribution_bps"].sum() == pytest.approx(total, abs=1e-6)


def test_reasons_that_do_not_sum_are_not_shown(inputs: ReportInputs) -> None:
    moved = inputs.attributions[inputs.attributions["before_bps"] != inputs.attributions["after_bps"]]
    broken = moved.assign(contribution_bps=moved["contribution_bps"] + 1.0)
    with pytest.raises(ValueError, match=r"AAA .* drivers sum to"):
        path.reasons(replace(inputs, attributions=broken))


def test_nothing_moved_is_one_sentence(inputs: ReportInputs) -> None:
    still = inputs.attributions.assign(after_bps=inputs.attributions["before_bps"], contribution_bps=0.0)
    quiet = replace(inputs, attributions=still)
    assert path.reasons(quiet) == []
    assert path.reasons_line(quiet) == "No target moved since 2022-05-30."


def test_nothing_known_is_nothing_shown(inputs: ReportInputs) -> None:
    names = ("tiers", "caps", "implied", "attributions", "publications", "cards")
    bare = view.build(replace(inputs, **{name: getattr(inputs, name)[:0] for name in names}))
    assert (bare.path, bare.path_line, bare.reasons, bare.reasons_line, bare.swings) == ([], "", [], "", [])
    html = web.page(bare)
    for heading in ("Path and reasons", "What is in force assumes", "Margins by position", "Report card", "Caps of"):
        assert heading not in html
        assert heading in web.page(view.build(inputs)) or heading == "Path and reasons"
    assert json.loads(render.render(bare).json)["attribution"] == []


def test_the_path_says_what_stands_today(inputs: ReportInputs) -> None:
    found = replace(inputs, publications=published())
    (row,) = path.path(found)
    assert row["lead"] == "LT 83.0 % → 83.25 % → 88.0 %"
    assert row["follow"] == "LTV 80.0 % → 79.75 % → 70.5 %"
    assert (row["steps"], row["complete"], row["looser"]) == ("38", "2022-06-12", "9")
    assert path.path_line(found) == "Of 1 parameter set(s) under their venues' own limits: 1 moving today."
    assert path.path_line(found) in view.build(found).forum
    assert row["reason"] == "", "values say what moves"
    never = replace(inputs, publications=published(steps=pd.NA, converges_on=pd.NaT, outcome="hold"))
    (held,) = path.path(never)
    assert (held["word"], held["complete"]) == ("held", words.MISSING)
    assert held["reason"] == "at most 25 bps in 3 days"
    unchanged = replace(inputs, publications=published(outcome="unchanged"))
    assert path.path(unchanged) == []
    assert "1 unchanged" in path.path_line(unchanged)


def test_a_set_that_could_not_be_judged_says_why(inputs: ReportInputs) -> None:
    rows = published(outcome="block", reason="the bonus in force is not known", published=pd.NA).head(1)
    (row,) = path.path(replace(inputs, publications=rows.assign(parameter="all")))
    assert (row["word"], row["lead"], row["reason"]) == ("blocked", words.MISSING, "the bonus in force is not known")


def test_hostile_text_is_shown_and_never_run(inputs: ReportInputs) -> None:
    changed = replace(
        inputs,
        publications=published(reason=HOSTILE, venue=HOSTILE, outcome="block"),
        caps=inputs.caps.assign(note=HOSTILE, binding=HOSTILE),
        tiers=inputs.tiers.assign(note=HOSTILE, tier=0),
    )
    built = view.build(changed)
    html = web.page(built)
    assert "<script>" not in html
    assert "{{ 7*7 }}" in html
    text = " ".join(page.extract_text() for page in PdfReader(io.BytesIO(render.render(built).pdf)).pages)
    assert "alert(1)" in re.sub(r"\s+", "", text)


def test_the_report_card_is_what_was_measured(inputs: ReportInputs, built: ReportView) -> None:
    cards = inputs.cards.reset_index(drop=True)
    assert len(built.swings) == len(cards) == 8
    for shown, row in zip(built.swings, words.records(cards), strict=True):
        assert shown["ratio"] == f"{words.number(row.raw_swing)} / {words.number(row.swing)}"
        assert shown["step_one"] == f"{words.percent(row.raw_step_1, 0)} / {words.percent(row.step_1, 0)}"
        if row.symbol == "BBB":
            assert (shown["under"], shown["cost"]) == (words.MISSING, words.MISSING), "nothing is in force there"
    for name in ("raw_step", "step"):
        assert (cards[f"{name}_1"] <= cards[f"{name}_5"] + 1e-12).all()
        assert cards[f"{name}_20"].between(0, 1.0 + 1e-9).all()
    margins = cards[(cards["symbol"] == "AAA") & (cards["product"] == "perpetual")]
    required = inputs.thresholds[(inputs.thresholds["symbol"] == "AAA") & (inputs.thresholds["product"] == "perpetual")]
    since = required["target_date"] > pd.Timestamp("2021-06-01")
    for row in words.records(margins):
        mine = required[since & (required["side"] == row.side)]["mm_bps"].dropna()
        assert row.under_days == (mine.tail(int(row.lag_days)) > 300).sum()


def test_the_decision_carries_them_for_machines(inputs: ReportInputs) -> None:
    found = json.loads(render.render(view.build(replace(inputs, publications=published()))).json)
    assert len(found["size_tiers"]) == int((inputs.tiers["tier"] > 0).sum())
    assert [row["value_bps"] for row in found["implied_confidence"]] == inputs.implied["value_bps"].tolist()
    assert [row["published"] for row in found["path"]] == [8325, 7975]
    for row in found["attribution"]:
        assert sum(row["contributions_bps"].values()) == pytest.approx(row["after_bps"] - row["before_bps"], abs=1e-6)
    assert len(found["exposure_caps"]) == len(inputs.caps)
