"""Venues: grids and bounds, rules over whole sets, what follows from what, and the bundled profiles."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dagster_project import venue_files
from dagster_project.venue_files import VenueError
from plimsoll import venues
from plimsoll.venues import RULES, Parameter, VenueProfile

VENUES = venue_files.load()
AAVE = VENUES.profile("aave_v3", "lending")
LT, LTV, BONUS = (AAVE.parameter(key) for key in ("lt", "ltv", "bonus"))
USES = [
    (name, product)
    for name, table in VENUES.root.items()
    for product in ("lending", "perpetual")
    if getattr(table, product) is not None
]


def test_every_named_venue_is_bundled() -> None:
    named = {"aave_v3", "aave_v4", "compound_v3", "morpho_blue", "hyperliquid", "binance_usdm", "deribit", "own"}
    assert named <= set(VENUES.root)


@pytest.mark.parametrize(("venue", "product"), USES)
def test_every_bundled_profile_admits_a_set(venue: str, product: str) -> None:
    profile = VENUES.profile(venue, product)
    budget = {"lt": 7000, "ltv": 6500, "bonus": 500} if product == "lending" else {"mm": 500, "im": 1000}
    made = venues.expressed(profile, budget)
    assert profile.violations(made) == ()
    assert set(profile.whole(made)) == set(made) | set(profile.derived)


def test_words_of_the_venues() -> None:
    words = {
        ("aave_v3", "lending"): ("lt", "liquidationThreshold"),
        ("compound_v3", "lending"): ("lt", "liquidateCollateralFactor"),
        ("morpho_blue", "lending"): ("lt", "LLTV"),
        ("hyperliquid", "perpetual"): ("max_leverage", "maxLeverage"),
        ("binance_usdm", "perpetual"): ("mm", "maintMarginRatio"),
        ("deribit", "perpetual"): ("im", "initial margin"),
    }
    for use, (key, name) in words.items():
        profile = VENUES.profile(*use)
        assert profile.parameter(key).name == name
        assert profile.parameter(name).key == key


def test_risk_steward_of_aave() -> None:
    for key in ("lt", "ltv", "bonus"):
        one = AAVE.parameter(key)
        assert (one.largest_step, one.delay_days, one.may_be_zero) == (50, 3, False)
    emode = VENUES.profile("aave_v3_emode", "lending").parameter("lt")
    assert (emode.largest_step, emode.delay_days) == (10, 3)
    assert AAVE.parameter("supply_cap").reach(1_200) == 1_200
    assert AAVE.expiry_hours == 6


@pytest.mark.parametrize(
    ("lltv", "bonus"),
    [(3850, 1500), (6250, 1268), (7700, 742), (8600, 439), (9150, 262), (9450, 168), (9650, 107), (9800, 61)],
)
def test_incentive_of_morpho(lltv: int, bonus: int) -> None:
    """1.15, 1.12676056, 1.07411386, 1.04384134, 1.02616727, 1.01677682, 1.01061142, 1.00603622, rounded up."""
    assert venues.morpho_bonus(lltv) == bonus
    assert VENUES.profile("morpho_blue", "lending").whole({"lt": lltv})["bonus"] == bonus


def test_margins_of_hyperliquid() -> None:
    """Maximum leverage 40, 20 and 3 ask for maintenance margins of 1.25 %, 2.5 % and 16.7 %."""
    profile = VENUES.profile("hyperliquid", "perpetual")
    for leverage, mm in ((40, 125), (20, 250), (3, 1667)):
        assert profile.whole({"max_leverage": leverage})["mm"] == mm
    assert venues.expressed(profile, {"mm": 125, "im": 200}) == {"max_leverage": 40}
    assert venues.expressed(profile, {"mm": 126, "im": 200}) == {"max_leverage": 39}
    assert venues.expressed(profile, {"mm": 10, "im": 1001}) == {"max_leverage": 9}


def test_bonus_at_compound_is_a_liquidation_factor() -> None:
    profile = VENUES.profile("compound_v3", "lending")
    assert venues.translated(profile, {"lt": 8025, "ltv": 7500, "bonus": 750}) == {
        "lt": 8025,
        "ltv": 7500,
        "liquidation_factor": 9302,
    }
    assert venues.expressed(profile, {"lt": 8025, "ltv": 7500, "bonus": 750})["liquidation_factor"] == 9300


@pytest.mark.parametrize(
    ("rule", "holds", "breaks", "words"),
    [
        ("ltv_below_lt", (8200, 8250), (8250, 8250), "LTV 82.5 % does not lie below liquidation threshold 82.5 %"),
        ("bonus_within_collateral", (8000, 2500), (8001, 2500), "hands out more than the collateral"),
        ("borrow_below_liquidate", (7999, 8000), (8000, 8000), "borrow factor 80 % does not lie below"),
        ("liquidate_below_factor", (9299, 9300), (9300, 9300), "liquidate factor 93 % does not lie below"),
        ("mm_below_im", (100, 105), (105, 105), "maintenance margin 1.05 % does not lie below initial margin"),
        ("leverage_within_margin", (400, 25), (400, 26), "leverage 26x asks for less than initial margin 4 %"),
        ("im_is_one_over_leverage", (334, 30), (333, 30), "is not one over leverage 30x"),
        ("mm_is_half_of_im", (167, 30), (166, 30), "is not half of one over leverage 30x"),
        ("bonus_follows_lltv", (8600, 439), (8600, 438), "bonus 4.38 % is not the 4.39 % of LLTV 86 %"),
    ],
)
def test_rules(rule: str, holds: tuple[int, int], breaks: tuple[int, int], words: str) -> None:
    one = RULES[rule]
    assert one.fault(dict(zip(one.reads, holds, strict=True))) is None
    assert words in str(one.fault(dict(zip(one.reads, breaks, strict=True))))


def test_every_rule_is_tested_here() -> None:
    marks = [mark for mark in test_rules.pytestmark if mark.name == "parametrize"]  # type: ignore[attr-defined]
    assert {case[0] for case in marks[0].args[1]} == set(RULES)


parameters = st.builds(
    Parameter,
    key=st.just("lt"),
    name=st.just("LT"),
    tightening_is_down=st.booleans(),
    grid=st.sampled_from([1, 5, 50]),
    lowest=st.sampled_from([0, 1, 120]),
    highest=st.sampled_from([9_870, 10_000]),
    largest_step=st.sampled_from([None, 50, 130]),
    may_be_zero=st.booleans(),
)


@settings(deadline=None)
@given(parameters, st.integers(0, 10_000))
def test_rounding_never_loosens_within_the_bounds(one: Parameter, value: int) -> None:
    found = one.nearest(value)
    assert one.is_settable(found)
    if one.least <= value <= one.most:
        assert not one.is_tighter(value, found)
        assert abs(found - value) < one.grid
    assert one.nearest(found) == found


@settings(deadline=None)
@given(parameters, st.integers(0, 10_000), st.integers(0, 10_000))
def test_a_clipped_value_is_within_one_step_and_between(one: Parameter, value: int, aim: int) -> None:
    toward = one.nearest(aim)
    found = one.clip(value, toward)
    assert found == value or one.is_settable(found)
    assert min(value, toward) <= found <= max(value, toward)
    if one.largest_step is not None:
        assert abs(found - value) <= one.largest_step
        farther = found + (one.grid if toward > value else -one.grid)
        if one.is_settable(farther) and min(value, toward) <= farther <= max(value, toward):
            assert abs(farther - value) > one.largest_step or found == value == toward


@settings(deadline=None)
@given(parameters, st.integers(0, 10_000), st.integers(0, 10_000))
def test_stops_lead_from_the_far_end_back(one: Parameter, value: int, aim: int) -> None:
    toward = one.nearest(aim)
    found = list(one.stops(value, toward))
    assert (found[0], found[-1]) == (toward, value)
    assert all(one.is_settable(stop) for stop in found[:-1] if one.least <= stop <= one.most)
    assert found in (sorted(set(found)), sorted(set(found), reverse=True))


def test_a_list_of_values_is_rounded_down() -> None:
    lltv = VENUES.profile("morpho_blue", "lending").parameter("lt")
    assert [lltv.nearest(value) for value in (9999, 8600, 8599, 3849)] == [9800, 8600, 7700, 0]
    assert list(lltv.stops(8600, 3850)) == [3850, 6250, 7700, 8600]


def test_zero_cannot_be_set_through_the_steward() -> None:
    assert LT.nearest(0) == 50
    fault = AAVE.violations({"lt": 8000, "ltv": 0, "bonus": 500})
    assert fault == ("LTV 0 % cannot be set on the usual way",)
    # A value that stays is not set.
    assert not AAVE.violations({"lt": 8000, "ltv": 0, "bonus": 500}, {"ltv": 0})


def test_a_set_is_judged_whole_or_not_at_all() -> None:
    with pytest.raises(ValueError, match="aave_v3: the set lacks ltv"):
        AAVE.violations({"lt": 8000, "bonus": 500})
    with pytest.raises(ValueError, match=r"aave_v3: unknown parameter\(s\) mm; it has lt, ltv, bonus"):
        AAVE.violations({"lt": 8000, "ltv": 7500, "bonus": 500, "mm": 5})
    with pytest.raises(ValueError, match=r"no parameter 'mm'; it has lt \(liquidationThreshold\)"):
        AAVE.parameter("mm")
    with pytest.raises(ValueError, match="aave_v3: LTV follows from none of lt"):
        venues.expressed(AAVE, {"lt": 8000})


def test_several_faults_are_all_named() -> None:
    found = AAVE.violations({"lt": 9975, "ltv": 9975, "bonus": 500})
    assert [sentence.split(" ")[0] for sentence in found] == ["LTV", "threshold", "liquidationThreshold", "LTV"]
    assert "liquidationThreshold 99.75 % lies outside 0.5 % to 99 %" in found
    assert AAVE.violations({"lt": 8025, "ltv": 7500, "bonus": 500}) == (
        "liquidationThreshold 80.25 % is none of the values that the venue allows",
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"unit": "percent"}, "unit 'percent' is not one of"),
        ({"grid": 0}, "grid 0 is not positive"),
        ({"delay_days": -1}, "delay_days -1 is negative"),
        ({"largest_step": 10}, "largest_step 10 is finer than the grid 50"),
        ({"largest_step_share_bps": 10}, "not both"),
        ({"allowed": (1, 2)}, "cannot be changed in steps"),
        ({"allowed": (2, 1), "is_immutable": True}, "must ascend"),
        ({"lowest": 9_950}, "no value lies between"),
    ],
)
def test_a_parameter_that_could_not_work_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=f"lt: .*{words}"):
        replace(LT, **change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rules": ("tallest",)}, "unknown rule tallest; known: bonus_follows_lltv"),
        ({"rules": ("mm_below_im",)}, "rule mm_below_im reads mm, im, which this venue has not"),
        ({"derivations": ("margin_of_leverage",)}, "makes im from max_leverage, which is not set"),
        ({"parameters": (LT, LT)}, "names a parameter twice"),
    ],
)
def test_a_profile_that_could_not_work_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(AAVE, **change)


@settings(deadline=None)
@given(st.sampled_from(USES), st.integers(100, 9_000), st.integers(1, 3_000), st.integers(0, 1_500))
def test_a_budget_is_never_loosened_by_a_venue(use: tuple[str, str], lead: int, gap: int, bonus: int) -> None:
    profile: VenueProfile = VENUES.profile(*use)
    if use[1] == "lending":
        assume(lead > gap)
        made = profile.whole(venues.expressed(profile, {"lt": lead, "ltv": lead - gap, "bonus": bonus}))
        assert made["lt"] <= max(lead, profile.parameter("lt").least)
        if "ltv" in profile.keys:
            assert made["ltv"] <= max(lead - gap, profile.parameter("ltv").least)
    else:
        mm, im = min(lead, 4_900), min(lead, 4_900) + gap
        made = profile.whole(venues.expressed(profile, {"mm": mm, "im": im}))
        assert made["mm"] >= mm
        assert made["im"] >= im
        assert made["max_leverage"] * im <= 10_000


def test_a_market_without_a_venue_takes_the_default_of_its_product() -> None:
    assert VENUES.profile(None, "lending").id == "aave_v3"
    assert VENUES.profile(None, "perpetual").id == "binance_usdm"
    with pytest.raises(VenueError, match="'aave_v3' does not offer perpetual: choose one of binance_usdm, deribit"):
        VENUES.profile("aave_v3", "perpetual")
    with pytest.raises(VenueError, match="'aave' is unknown; venues of lending: choose one of aave_v3"):
        VENUES.profile("aave", "lending")


def test_digest_moves_with_what_is_used_only() -> None:
    changed = VENUES.model_dump()
    changed["own"]["perpetual"]["parameters"]["mm"]["grid"] = 1
    other = venue_files.Venues.model_validate(changed)
    assert other.digest([(None, "lending")]) == VENUES.digest([("aave_v3", "lending")])
    assert other.digest([("own", "perpetual")]) != VENUES.digest([("own", "perpetual")])
    uses = [("own", "lending"), ("deribit", "perpetual")]
    assert VENUES.digest(uses) == VENUES.digest(reversed(uses))


MINIMAL = """
[x]
name = "X"
[x.lending]
[x.lending.parameters.lt]
name = "LT"
tightening = "down"
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MINIMAL + 'colour = "red"', r"x\.lending\.parameters\.lt\.colour: Extra inputs"),
        (MINIMAL + "largest_step = 0", r"x\.lending\.parameters\.lt\.largest_step"),
        (MINIMAL + "delay_days = 1.5", r"x\.lending\.parameters\.lt\.delay_days"),
        (MINIMAL + "grid = 50\nlargest_step = 10", r"x\.lending: lt: largest_step 10 is finer than the grid 50"),
        (MINIMAL.replace("[x.lending]", '[x.lending]\nrules = ["mm_below_im"]'), "reads mm, im"),
        (MINIMAL.replace("parameters.lt]", "parameters.LT]"), "'LT' is not lower case"),
        ('[x]\nname = "X"', r"needs a \[lending\] or a \[perpetual\] table"),
        (MINIMAL.replace("[x", "[X"), "'X' is not lower case"),
        ("[x", "not valid TOML"),
    ],
)
def test_a_file_of_venues_names_its_faults(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "venues.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(VenueError, match=words) as told:
        venue_files.load(path)
    assert str(path) in str(told.value)


def test_the_minimal_file_of_venues_is_read(tmp_path: Path) -> None:
    path = tmp_path / "venues.toml"
    path.write_text(MINIMAL, encoding="utf-8")
    assert venue_files.load(path).profile("x", "lending").keys == ("lt",)


def test_a_file_of_venues_must_be_there_and_text(tmp_path: Path) -> None:
    with pytest.raises(VenueError, match="no such file of venues"):
        venue_files.load(tmp_path / "none.toml")
    path = tmp_path / "venues.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(VenueError, match="not UTF-8 at byte 0"):
        venue_files.load(path)
    path.write_bytes(b"#" * 1_000_001)
    with pytest.raises(VenueError, match="larger than"):
        venue_files.load(path)
