"""Publication: joint clipping, hysteresis, confirmation, signature, freeze and hold; walks; price caps."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project import venue_files
from plimsoll import liquidation, publication, thresholds, venues, walks
from plimsoll.constraints import Constraint, lending_constraints, perpetual_constraints
from plimsoll.inverse import inverse_parameters
from plimsoll.price_caps import CapOutcome, PriceCap, cap_fault, next_cap
from plimsoll.publication import Outcome, PublicationRules, PublicationState, publish
from plimsoll.venues import Parameter, VenueProfile

VENUES = venue_files.load()
AAVE = VENUES.profile("aave_v3", "lending")
OWN = VENUES.profile("own", "lending")
MARGINS = VENUES.profile("binance_usdm", "perpetual")
DAY = date(2026, 9, 1)
RULES = PublicationRules()
LIVE = {"lt": 8300, "ltv": 8050, "bonus": 500}


def state(profile: VenueProfile = AAVE, ago: int = 30, **more: object) -> PublicationState:
    changed = dict.fromkeys(profile.keys, DAY - timedelta(days=ago))
    return replace(PublicationState(DAY, changed), **more)  # type: ignore[arg-type]


def once(target: dict[str, int], live: dict[str, int] | None = None, **more: object) -> Outcome:
    return publish(AAVE, LIVE if live is None else live, target, state=state(**more), rules=RULES)  # type: ignore[arg-type]


# ---- one publication


def test_a_whole_set_is_clipped_together() -> None:
    found = once({"lt": 7800, "ltv": 7300, "bonus": 700})
    assert found.status == "published"
    assert found.values == {"lt": 8250, "ltv": 8000, "bonus": 550}
    assert found.sentence == (
        "published on 2026-09-01: liquidationThreshold 83 % to 82.5 %; LTV 80.5 % to 80 %; "
        "liquidationBonus 5 % to 5.5 %"
    )
    assert {move.status for move in found.moves} == {"tighten"}


def test_one_parameter_is_never_clipped_without_its_partner() -> None:
    """The LTV may not move yet: a threshold lowered by itself would meet it."""
    live = {"lt": 8100, "ltv": 8050, "bonus": 500}
    changed = {"lt": DAY - timedelta(days=9), "ltv": DAY - timedelta(days=1), "bonus": None}
    found = once({"lt": 7800, "ltv": 7300, "bonus": 500}, live, changed_on=changed)
    assert found.status == "wait"
    assert found.values is None
    by = {move.key: move for move in found.moves}
    assert by["lt"].status == "coupled"
    assert "LTV 80.5 % does not lie below liquidation threshold 80.5 %" in by["lt"].reason
    assert by["ltv"].possible_on == DAY + timedelta(days=2)
    # The same with room for one step: it is taken.
    roomy = once({"lt": 7800, "ltv": 7300, "bonus": 500}, live | {"ltv": 8000}, changed_on=changed)
    assert roomy.values == {"lt": 8050, "ltv": 8000, "bonus": 500}


def test_a_step_goes_as_far_as_the_rule_lets_it() -> None:
    wide = replace(OWN, parameters=tuple(replace(one, largest_step=300) for one in OWN.parameters))
    live = {"lt": 8300, "ltv": 8050, "bonus": 500}
    fixed = {"lt": DAY - timedelta(days=9), "ltv": DAY, "bonus": DAY}
    found = publish(
        wide, live, {"lt": 7800, "ltv": 7300, "bonus": 500}, state=state(OWN, changed_on=fixed), rules=RULES
    )
    assert found.values == {"lt": 8100, "ltv": 8050, "bonus": 500}
    assert "to 81 %, no farther: LTV 80.5 % does not lie below" in found.sentence


def test_a_target_that_breaks_a_rule_is_blocked_and_named() -> None:
    found = once({"lt": 8000, "ltv": 8000, "bonus": 500})
    assert (found.status, found.values) == ("block", None)
    assert found.sentence == "blocked: target: LTV 80 % does not lie below liquidation threshold 80 %"
    assert once({"lt": 9600, "ltv": 8000, "bonus": 500}).reasons == (
        "target: threshold 96 % with bonus 5 % hands out more than the collateral",
    )


def test_a_set_in_force_that_breaks_a_rule_is_repaired_in_one_step_or_blocked() -> None:
    broken = {"lt": 8000, "ltv": 8000, "bonus": 500}
    found = once({"lt": 8000, "ltv": 7500, "bonus": 500}, broken)
    assert found.values == {"lt": 8000, "ltv": 7950, "bonus": 500}
    far = {"lt": 8000, "ltv": 8200, "bonus": 500}
    found = once({"lt": 8000, "ltv": 7500, "bonus": 500}, far)
    assert (found.status, found.values) == ("block", None)
    assert "in force: LTV 82 % does not lie below liquidation threshold 80 %" in found.reasons
    assert publish(AAVE, broken, broken, state=state(), rules=RULES).status == "block"


def test_values_in_force_that_contradict_each_other_are_blocked() -> None:
    live = {"mm": 200, "im": 400, "max_leverage": 50}
    found = publish(MARGINS, live, {"mm": 250, "im": 500}, state=state(MARGINS), rules=RULES)
    assert found.reasons == ("in force: leverage 50x asks for less than initial margin 4 %",)
    assert (found.status, found.values) == ("block", None)
    found = publish(MARGINS, live | {"max_leverage": 25}, {"mm": 250, "im": 500}, state=state(MARGINS), rules=RULES)
    assert found.values == {"mm": 250, "im": 500}


def test_the_hold_switch_stops_everything() -> None:
    found = once({"lt": 7800, "ltv": 7300, "bonus": 500}, hold_reason="incident at the oracle")
    assert (found.status, found.values, found.moves) == ("hold", None, ())
    assert found.sentence == "held: all publication is stopped: incident at the oracle"


def test_frozen_data_tighten_and_never_loosen() -> None:
    target = {"lt": 8200, "ltv": 8150, "bonus": 500}
    found = once(target, may_loosen=False, days_looser={"ltv": 20})
    assert found.values == {"lt": 8250, "ltv": 8050, "bonus": 500}
    assert "LTV 80.5 % could loosen to 81.5 %; thin or single-source data never loosen" in found.reasons


def test_a_loosening_waits_for_fourteen_days_in_a_row() -> None:
    target = {"lt": 8400, "ltv": 8050, "bonus": 500}
    found = once(target, days_looser={"lt": 13})
    assert found.sentence == (
        "nothing may move yet: liquidationThreshold 83 % to 84 % from 2026-09-02: "
        "confirmed after 14 days in a row, on 2026-09-02"
    )
    assert once(target, days_looser={"lt": 14}).values == LIVE | {"lt": 8350}
    assert once(target).moves[0].possible_on == DAY + timedelta(days=14)


def test_days_in_a_row_are_counted_from_the_targets_of_the_past() -> None:
    def told(*levels: int | None, gap: int = 1) -> int:
        first = DAY - timedelta(days=gap * (len(levels) - 1))
        past = [
            (first + timedelta(days=gap * at), None if level is None else LIVE | {"lt": level})
            for at, level in enumerate(levels)
        ]
        return walks.days_looser(AAVE, LIVE, past, as_of=DAY)["lt"]

    assert told(8400, 8350, 8400) == 3
    assert told(8400, 8300, 8400) == 1
    assert told(8400, 8400, 8300) == 0
    assert told(8400, None, 8400, 8400) == 2
    assert told(8400, 8400, None) == 0
    assert told(8400, 8400, gap=4) == 5
    assert told(8400, 8400, gap=5) == 1
    assert told() == 0
    late = [(DAY - timedelta(days=5), LIVE | {"lt": 8400}), (DAY + timedelta(days=1), LIVE | {"lt": 8400})]
    assert walks.days_looser(AAVE, LIVE, late, as_of=DAY) == dict.fromkeys(LIVE, 0)
    margins = [(DAY, {"mm": 70, "im": 300})]
    assert walks.days_looser(MARGINS, {"mm": 76, "im": 200}, margins, as_of=DAY) == {"mm": 1, "im": 0}
    with pytest.raises(ValueError, match="aave_v3: the days of the targets must ascend"):
        walks.days_looser(AAVE, LIVE, [(DAY, LIVE), (DAY, LIVE)], as_of=DAY)


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(8200, 8400)), max_size=20), st.integers(8200, 8400))
def test_targets_of_the_future_confirm_nothing(levels: list[int | None], later: int) -> None:
    past = [
        (DAY - timedelta(days=at), None if level is None else LIVE | {"lt": level}) for at, level in enumerate(levels)
    ][::-1]
    known = walks.days_looser(AAVE, LIVE, past, as_of=DAY)
    future = [*past, (DAY + timedelta(days=1), LIVE | {"lt": later})]
    assert walks.days_looser(AAVE, LIVE, future, as_of=DAY) == known


def test_a_loosening_beyond_two_points_needs_a_signature() -> None:
    target = {"lt": 8550, "ltv": 8050, "bonus": 500}
    more = {"days_looser": {"lt": 20}}
    found = once(target, implied="an overshoot exceeds it with 0.2 %", **more)
    assert found.sentence == (
        "held: liquidationThreshold 83 % could loosen to 85.5 %; over 2 points looser needs a signature "
        "(an overshoot exceeds it with 0.2 %)"
    )
    assert once(target, signed={"lt": 8550}, **more).values == LIVE | {"lt": 8350}
    part = walks.walk(AAVE, LIVE, target, state=state(signed={"lt": 8400}, **more), rules=RULES)
    assert [step.values["lt"] for step in part.steps] == [8350, 8400]
    assert part.converged_on is None
    assert "liquidationThreshold 84 % could loosen to 85.5 %; signed as far as 84 %" in part.sentence
    # A signature binds a small loosening too.
    assert once(LIVE | {"lt": 8400}, signed={"lt": 8300}, **more).status == "hold"


def test_a_margin_needs_a_signature_by_its_share() -> None:
    live, target = {"mm": 400, "im": 1000}, {"mm": 295, "im": 1000}
    stood = state(MARGINS, days_looser={"mm": 20})
    assert publish(MARGINS, live, target, state=stood, rules=RULES).status == "hold"
    assert publish(MARGINS, live, target | {"mm": 300}, state=stood, rules=RULES).values == {"mm": 300, "im": 1000}
    perps = VENUES.profile("hyperliquid", "perpetual")
    leverage = state(perps, days_looser={"max_leverage": 20})
    assert publish(perps, {"max_leverage": 20}, {"max_leverage": 26}, state=leverage, rules=RULES).status == "hold"
    assert publish(perps, {"max_leverage": 20}, {"max_leverage": 25}, state=leverage, rules=RULES).values == {
        "max_leverage": 25
    }


def test_hysteresis_is_one_step_down_and_two_up() -> None:
    more = {"days_looser": {"lt": 20}}
    assert once(LIVE | {"lt": 8350}, **more).status == "unchanged"
    assert once(LIVE | {"lt": 8350}, **more).values == LIVE
    assert once(LIVE | {"lt": 8400}, **more).status == "published"
    assert once(LIVE | {"lt": 8250}).status == "published"


def test_hysteresis_does_not_stop_a_walk_under_way() -> None:
    live = LIVE | {"lt": 8350}
    more = {"days_looser": {"lt": 20}}
    assert once(LIVE | {"lt": 8400}, live, **more).status == "unchanged"
    assert once(LIVE | {"lt": 8400}, live, walking_to=LIVE | {"lt": 8400}, **more).values == LIVE | {"lt": 8400}


def test_a_walk_under_way_never_loosens_beyond_the_target_of_the_day() -> None:
    rules = replace(RULES, down_steps=4)
    more = {"days_looser": {"lt": 20}, "walking_to": LIVE | {"lt": 8450}}
    found = publish(AAVE, LIVE, LIVE | {"lt": 8350}, state=state(**more), rules=rules)
    assert found.values == LIVE | {"lt": 8350}
    assert found.destination["lt"] == 8350
    assert publish(AAVE, LIVE, LIVE, state=state(**more), rules=rules).status == "unchanged"


def test_hysteresis_gives_way_where_the_mixture_would_break_a_rule() -> None:
    rules = replace(RULES, down_steps=5)
    live = {"lt": 8300, "ltv": 8050, "bonus": 500}
    target = {"lt": 8000, "ltv": 7900, "bonus": 500}
    found = publish(AAVE, live, target, state=state(), rules=rules)
    assert found.destination == target
    assert found.values == {"lt": 8250, "ltv": 8000, "bonus": 500}


def test_an_unknown_last_change_never_moves() -> None:
    found = once({"lt": 7800, "ltv": 7300, "bonus": 500}, changed_on={})
    assert (found.status, found.values) == ("hold", None)
    assert "liquidationThreshold 83 %: its last change is not known, so no delay can be shown to be over" in (
        found.reasons
    )
    free = replace(MARGINS, parameters=tuple(replace(one, delay_days=0) for one in MARGINS.parameters))
    live, target = {"mm": 76, "im": 200}, {"mm": 100, "im": 200}
    for profile, status in ((MARGINS, "hold"), (free, "published")):
        assert publish(profile, live, target, state=state(changed_on={}), rules=RULES).status == status


def test_the_delay_counts_in_both_directions() -> None:
    target = {"lt": 7800, "ltv": 7300, "bonus": 500}
    for ago, status in ((2, "wait"), (3, "published")):
        assert publish(AAVE, LIVE, target, state=state(ago=ago), rules=RULES).status == status
    looser = state(ago=2, days_looser={"lt": 20})
    assert publish(AAVE, LIVE, LIVE | {"lt": 8400}, state=looser, rules=RULES).status == "wait"


def test_another_limit_at_morpho_is_another_market() -> None:
    morpho = VENUES.profile("morpho_blue", "lending")
    found = publish(morpho, {"lt": 8600}, {"lt": 7700}, state=state(morpho), rules=RULES)
    assert (found.status, found.values) == ("new_market", None)
    assert found.sentence == "needs a new market: LLTV 86 % cannot change; the budget asks for 77 %"
    assert publish(morpho, {"lt": 8600}, {"lt": 8600}, state=state(morpho), rules=RULES).status == "unchanged"


def test_where_nothing_is_in_force_the_target_is_new_or_blocked() -> None:
    found = publish(AAVE, None, {"lt": 7800, "ltv": 7300, "bonus": 500}, state=state(), rules=RULES)
    assert (found.status, found.values) == ("new", {"lt": 7800, "ltv": 7300, "bonus": 500})
    assert "nothing in force; liquidationThreshold 78 %; LTV 73 %; liquidationBonus 5 %" in found.sentence
    assert publish(AAVE, None, {"lt": 7800, "ltv": 7800, "bonus": 500}, state=state(), rules=RULES).status == "block"


def test_caps_double_at_most_and_never_reach_zero() -> None:
    live, target = LIVE | {"supply_cap": 1_000}, LIVE | {"supply_cap": 5_000}
    found = walks.walk(AAVE, live, target, state=state(days_looser={"supply_cap": 14}), rules=RULES)
    assert [step.values["supply_cap"] for step in found.steps] == [2_000, 4_000, 5_000]
    assert once(LIVE | {"supply_cap": 0}, live).reasons == ("target: supplyCap 0 cannot be set on the usual way",)
    with pytest.raises(ValueError, match="a target for supply_cap, of which no value in force is known"):
        once(target)


def test_a_set_that_lacks_a_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match="aave_v3: the set lacks ltv"):
        once({"lt": 7800, "bonus": 500})
    with pytest.raises(ValueError, match="aave_v3: the set lacks bonus"):
        once(LIVE, {"lt": 7800, "ltv": 500})


# ---- the budget's demands


COSTS = {"move": 0.10, "oracle_deviation": 0.005, "slippage": 0.01, "fee": 0.001, "protocol_share": 0.1}
DEMANDS = lending_constraints(**COSTS, buffer_log=0.12, cap_bps=8800)


def faults(values: dict[str, int], demands: Sequence[Constraint] = DEMANDS) -> list[str]:
    return [fault for one in demands if (fault := one.fault(values)) is not None]


def test_demands_are_those_of_the_threshold_rules() -> None:
    made = thresholds.lending_parameters(
        **COSTS, buffer_log=0.12, cap_bps=8800, lt_grid_bps=50, bonus_grid_bps=25, side="long"
    )
    exact = {"lt": int(made.lt_bps), "ltv": int(made.ltv_bps), "bonus": int(made.bonus_bps)}
    assert not faults(exact)
    assert faults(exact | {"lt": 8900}) == [
        "liquidation threshold within what the budget carries: 73.4 bps short",
        "liquidation threshold within the cap of its class: 100.0 bps short",
    ]
    assert faults(exact | {"bonus": 100}) == ["bonus at which a liquidator breaks even: 79.9 bps short"]
    assert [fault.split(":")[0] for fault in faults(exact | {"ltv": exact["ltv"] + 50})] == [
        "LTV below the threshold by the users' buffer"
    ]


def test_margin_demands_are_those_of_the_threshold_rules() -> None:
    """Margins of the worked example: 0.10958121 and 0.21026938."""
    demands = perpetual_constraints(total=0.11606338, buffer_log=0.12, funding=0.0, side="long")
    assert not faults({"mm": 1096, "im": 2103}, demands)
    assert faults({"mm": 1095, "im": 2103}, demands) == ["maintenance margin of the budget: 0.8 bps short"]
    assert faults({"mm": 1096, "im": 2102}, demands)[0].startswith("initial margin of the users' buffer")


@pytest.mark.parametrize(("side", "least"), [("long", 461), ("short", 441)])
def test_coin_margin_demands_are_those_of_the_inverse_rules(side: str, least: int) -> None:
    """A long owes coins without bound, e^0.045 - 1 = 0.04602786; a short at most all of them, 0.04400252."""
    budget = {"total": 0.045, "buffer_log": 0.05, "funding": 0.0006, "side": side}
    made = inverse_parameters(**budget, margin_grid_bps=1)  # type: ignore[arg-type]
    exact = {"mm": int(made.mm_bps), "im": int(made.im_bps)}
    demands = perpetual_constraints(**budget, is_inverse=True)  # type: ignore[arg-type]
    assert exact["mm"] == least
    assert not faults(exact, demands)
    for key in exact:
        assert faults(exact | {key: exact[key] - 1}, demands), key
    dollars = perpetual_constraints(**budget)  # type: ignore[arg-type]
    assert bool(faults(exact, dollars)) == (side == "short"), "the sides trade places where dollars are the money"


def test_a_step_never_adds_to_what_the_budget_lacks() -> None:
    """The LTV would follow its target up while the threshold is held: it fits the threshold that stays instead."""
    live = {"lt": 8000, "ltv": 7050, "bonus": 500}
    carried = lending_constraints(**COSTS | {"move": 0.05}, buffer_log=0.12, cap_bps=8800)
    target = {"lt": 8600, "ltv": 7600, "bonus": 500}
    assert not faults(target, carried)
    stood = state(days_looser={"lt": 20, "ltv": 20}, signed={"ltv": 7600})
    free = publish(AAVE, live, target, state=stood, rules=RULES)
    assert free.values == live | {"ltv": 7100}
    found = publish(AAVE, live, target, state=stood, rules=RULES, constraints=carried)
    assert (found.status, found.values) == ("hold", None)
    assert found.destination["ltv"] == 7050


def test_what_follows_a_held_threshold_fits_the_one_that_stays() -> None:
    """8600 needs a signature: the LTV goes to what 8000 carries under the users' buffer, not to what 8600 would."""
    live = {"lt": 8000, "ltv": 7800, "bonus": 500}
    carried = lending_constraints(**COSTS | {"move": 0.05}, buffer_log=0.12, cap_bps=8800)
    target = {"lt": 8600, "ltv": 7600, "bonus": 500}
    found = walks.walk(AAVE, live, target, state=state(days_looser={"lt": 20}), rules=RULES, constraints=carried)
    assert found.first.values == live | {"ltv": 7750}
    assert found.first.destination["ltv"] == 7050
    assert found.values == live | {"ltv": 7050}
    signed = state(days_looser={"lt": 20}, signed={"lt": 8600})
    free = walks.walk(AAVE, live, target, state=signed, rules=RULES, constraints=carried)
    assert (free.values["lt"], free.values["ltv"]) == (8600, 7600)


def test_the_way_to_a_tighter_target_may_fall_short_as_far_as_what_is_in_force() -> None:
    target = {"lt": 8500, "ltv": 7500, "bonus": 500}
    assert not faults(target)
    live = {"lt": 8900, "ltv": 8500, "bonus": 500}
    assert faults(live)
    found = walks.walk(AAVE, live, target, state=state(), rules=RULES, constraints=DEMANDS)
    assert found.is_at_target
    assert (
        publish(AAVE, target, target | {"lt": 8600}, state=state(), rules=RULES, constraints=DEMANDS).status == "block"
    )


def test_a_target_gives_way_until_it_fits_its_venue() -> None:
    """At Morpho the bonus follows the limit: 86 % with its 4.39 % is more than the budget carries, 77 % is not."""
    morpho = VENUES.profile("morpho_blue", "lending")
    demands = lending_constraints(**COSTS, buffer_log=0.12, cap_bps=8800)
    budget = {"lt": 8800, "ltv": 7800, "bonus": 200}
    assert float(liquidation.threshold_cap(move=0.10, oracle_deviation=0.005, bonus=0.0439)) == pytest.approx(
        0.86245, abs=1e-5
    )
    assert publication.target_set(morpho, budget, demands) == {"lt": 8600}
    tighter = lending_constraints(**COSTS | {"move": 0.11}, buffer_log=0.12, cap_bps=8800)
    assert publication.target_set(morpho, budget, tighter) == {"lt": 7700}


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([one for one in VENUES.root if VENUES.root[one].lending]),
    st.floats(0.0, 0.6),
    st.floats(0.0, 0.05),
    st.floats(0.0, 0.4),
)
def test_a_target_keeps_every_demand_wherever_one_can(venue: str, move: float, slippage: float, buffer: float) -> None:
    profile = VENUES.profile(venue, "lending")
    costs = COSTS | {"move": move, "slippage": slippage}
    made = thresholds.lending_parameters(
        **costs, buffer_log=buffer, cap_bps=8800, lt_grid_bps=25, bonus_grid_bps=10, side="long"
    )
    budget = {"lt": int(made.lt_bps), "ltv": int(made.ltv_bps), "bonus": int(made.bonus_bps)}
    demands = lending_constraints(**costs, buffer_log=buffer, cap_bps=8800)
    found = publication.target_set(profile, budget, demands)
    assert not profile.violations(found)
    if venue != "morpho_blue":  # its bonus cannot be chosen, so participation may be out of reach
        assert not faults(profile.whole(found), demands)
    assert found["lt"] <= budget["lt"]


# ---- walks


def test_steps_and_days_of_one_parameter() -> None:
    lt = AAVE.parameter("lt")
    assert (walks.steps_to(lt, 8300, 7800), walks.days_to(lt, 8300, 7800)) == (10, 30)
    assert (walks.steps_to(lt, 8300, 8300), walks.days_to(lt, 8300, 8300)) == (0, 0)
    assert walks.steps_to(lt, 8320, 8200) == 3
    assert walks.steps_to(lt, 8300, 0) is None
    morpho = VENUES.profile("morpho_blue", "lending").parameter("lt")
    assert walks.steps_to(morpho, 8600, 7700) is None


def test_a_walk_is_dated() -> None:
    """Ten steps of half a point, one every three days: the tenth on day 27, or on day 30 after a change today."""
    target = {"lt": 7800, "ltv": 7550, "bonus": 500}
    found = walks.walk(AAVE, LIVE, target, state=state(), rules=RULES)
    assert (len(found.steps), found.days, found.converged_on) == (10, 27, DAY + timedelta(days=27))
    assert found.sentence == "10 steps in 27 days, complete on 2026-09-28"
    assert [step.values["lt"] for step in found.steps] == list(range(8250, 7750, -50))
    assert found.is_at_target
    late = walks.walk(AAVE, LIVE, target, state=state(ago=0), rules=RULES)
    assert late.days == walks.days_to(AAVE.parameter("lt"), 8300, 7800) == 30


def test_days_looser_than_required_are_listed() -> None:
    found = walks.walk(AAVE, LIVE, {"lt": 8200, "ltv": 8050, "bonus": 500}, state=state(ago=1), rules=RULES)
    # Changed yesterday: the first step on day 2, the second on day 5, the day that ends as required.
    assert found.converged_on == DAY + timedelta(days=5)
    assert found.under_margined == {"lt": tuple(DAY + timedelta(days=day) for day in range(5))}
    at_once = walks.walk(MARGINS, {"mm": 76, "im": 200}, {"mm": 150, "im": 400}, state=state(MARGINS), rules=RULES)
    assert at_once.under_margined == {}
    looser = walks.walk(AAVE, LIVE, LIVE | {"lt": 8400}, state=state(), rules=RULES)
    assert looser.under_margined == {}
    assert looser.days == 17
    begun = walks.walk(AAVE, LIVE, LIVE | {"lt": 8400}, state=state(days_looser={"lt": 10}), rules=RULES)
    assert [(step.day - DAY).days for step in begun.steps] == [4, 7]


def test_a_walk_that_waits_for_a_decision_does_not_converge() -> None:
    found = walks.walk(AAVE, LIVE, {"lt": 8700, "ltv": 8000, "bonus": 500}, state=state(), rules=RULES)
    assert found.converged_on is None
    assert found.days is None
    assert found.values == LIVE | {"ltv": 8000}
    assert found.sentence.startswith("1 step, then not finished; held: liquidationThreshold 83 % could loosen to 87 %")


# ---- property: whatever is in force and wanted


@st.composite
def profiles(draw: st.DrawFn) -> VenueProfile:
    base = VENUES.profile(*draw(st.sampled_from(
        [("own", "lending"), ("aave_v3", "lending"), ("compound_v3", "lending"), ("own", "perpetual"),
         ("hyperliquid", "perpetual"), ("aave_v4", "lending")]
    )))  # fmt: skip

    def changed(one: Parameter) -> Parameter:
        grid = 1 if one.unit == "times" else draw(st.sampled_from([5, 50]))
        step = draw(st.sampled_from([None, 50, 120])) if one.unit == "bps" else draw(st.sampled_from([None, 3]))
        return replace(
            one, grid=grid, largest_step=step, delay_days=draw(st.integers(0, 4)), may_be_zero=draw(st.booleans())
        )

    kept = tuple(changed(one) for one in base.parameters if not one.is_optional)
    return replace(base, parameters=kept)


@st.composite
def sets(draw: st.DrawFn, profile: VenueProfile, near: dict[str, int] | None = None) -> dict[str, int]:
    found = {}
    for one in profile.parameters:
        centre = (near or {}).get(one.key, {"times": 20}.get(one.unit, 7_000 if one.tightening_is_down else 700))
        room = 4 if one.unit == "times" else 450
        found[one.key] = max(draw(st.integers(centre - room, centre + room)), 1)
    return found


@st.composite
def cases(draw: st.DrawFn) -> tuple[VenueProfile, dict[str, int], dict[str, int], PublicationState, PublicationRules]:
    profile = draw(profiles())
    live = draw(sets(profile))
    target = {key: profile.parameter(key).nearest(value) for key, value in draw(sets(profile, live)).items()}
    ago = st.one_of(st.none(), st.integers(0, 6))
    changed = {key: None if (days := draw(ago)) is None else DAY - timedelta(days=days) for key in profile.keys}
    stood = PublicationState(
        as_of=DAY,
        changed_on=changed,
        days_looser={key: draw(st.integers(0, 20)) for key in profile.keys},
        walking_to=draw(st.one_of(st.none(), st.just(target), st.just(live))),
        signed={key: draw(st.sampled_from([live[key], target[key]])) for key in profile.keys},
        may_loosen=draw(st.booleans()),
        hold_reason=draw(st.sampled_from([None, None, None, "a test"])),
    )
    rules = PublicationRules(
        down_steps=draw(st.integers(0, 2)),
        up_steps=draw(st.integers(0, 3)),
        confirmation_days=draw(st.sampled_from([0, 14])),
        signature_bps=draw(st.sampled_from([50, 200])),
    )
    return profile, live, target, stood, rules


def check_set(
    profile: VenueProfile,
    live: dict[str, int],
    values: dict[str, int],
    target: dict[str, int],
    stood: PublicationState,
) -> None:
    """Test what no published set may do, in terms that do not go through the module under test."""
    whole = profile.whole(values)
    assert [name for name in profile.rules if venues.RULES[name].fault(whole) is not None] == []
    if "ltv" in whole:
        assert whole["ltv"] < whole["lt"]
    if "bonus" in whole:
        assert whole["lt"] * (10_000 + whole["bonus"]) <= 10_000**2
    if "mm" in whole:
        assert whole["mm"] < whole["im"]
        assert whole["max_leverage"] * whole["im"] <= 10_000 + whole["max_leverage"]
    for key, value in values.items():
        one, before = profile.parameter(key), live[key]
        if value == before:
            continue
        assert one.is_settable(value)
        assert one.largest_step is None or abs(value - before) <= one.largest_step
        changed = stood.changed_on[key]
        assert one.delay_days == 0 or (changed is not None and (stood.as_of - changed).days >= one.delay_days)
        if not one.is_tighter(value, before):
            assert stood.may_loosen
            assert not one.is_tighter(target[key], value), "never looser than the budget of the day"
        else:
            bound = [target[key], (stood.walking_to or target)[key]]
            assert any(not one.is_tighter(value, far) for far in bound), "never tighter than any destination"


@settings(max_examples=150, deadline=None)
@given(cases())
def test_what_is_published_is_always_a_valid_whole_set(
    case: tuple[VenueProfile, dict[str, int], dict[str, int], PublicationState, PublicationRules],
) -> None:
    profile, live, target, stood, rules = case
    found = publish(profile, live, target, state=stood, rules=rules)
    assert found.reasons
    if found.values is None:
        assert found.status in {"block", "hold", "wait", "new_market"}
        return
    assert found.status in {"published", "unchanged"}
    assert stood.hold_reason is None
    check_set(profile, live, found.values, target, stood)
    assert (found.status == "published") == (found.values != live)


@settings(max_examples=100, deadline=None)
@given(cases())
def test_repeated_publication_converges_within_the_stated_time_and_stays(
    case: tuple[VenueProfile, dict[str, int], dict[str, int], PublicationState, PublicationRules],
) -> None:
    """Day by day, as a nightly job would, against the walk that was stated on the first day."""
    profile, live, target, stood, rules = case
    stated = walks.walk(profile, live, target, state=stood, rules=rules)
    values, now, published = dict(live), stood, []
    last = stated.converged_on or (stated.steps[-1].day if stated.steps else DAY)
    for number in range((last - DAY).days + 25):
        day = DAY + timedelta(days=number)
        looser = {key: days + number for key, days in stood.days_looser.items()}
        now = replace(now, as_of=day, days_looser=looser)
        found = publish(profile, values, target, state=now, rules=rules)
        if found.status != "published":
            continue
        assert found.values is not None
        check_set(profile, values, found.values, target, now)
        moved = {key: day for key, value in found.values.items() if value != values[key]}
        assert moved
        values = found.values
        published.append((day, dict(values)))
        now = replace(now, changed_on={**now.changed_on, **moved}, walking_to=found.destination)
    assert published == [(step.day, step.values) for step in stated.steps]
    assert values == stated.values
    if stated.converged_on is not None:
        assert values == stated.ended.destination
        assert not profile.violations(values, live)
        for key, value in values.items():
            # Hysteresis may leave a value fewer steps away than it takes to act; nothing else may.
            steps = max(rules.down_steps, rules.up_steps)
            assert (
                value == target[key]
                or abs(value - target[key]) < steps * profile.parameter(key).grid
                or (stood.walking_to is not None)
            )


@settings(max_examples=100, deadline=None)
@given(cases())
def test_a_tighter_target_is_always_reached(
    case: tuple[VenueProfile, dict[str, int], dict[str, int], PublicationState, PublicationRules],
) -> None:
    """No freeze, no missing signature and no missing confirmation stands in the way of tightening."""
    profile, live, target, stood, rules = case
    tighter = {
        key: value if profile.parameter(key).is_tighter(value, live[key]) else live[key]
        for key, value in target.items()
    }
    stood = replace(
        stood, hold_reason=None, changed_on=dict.fromkeys(profile.keys, DAY), may_loosen=False, walking_to=None
    )
    rules = replace(rules, down_steps=1)
    if profile.violations(live, live) or profile.violations(tighter, live):
        return
    found = walks.walk(profile, live, tighter, state=stood, rules=rules)
    near = {
        key: live[key] if abs(tighter[key] - live[key]) < profile.parameter(key).grid else tighter[key] for key in live
    }
    assert found.values in (near, tighter)
    needed = [walks.days_to(profile.parameter(key), live[key], found.values[key]) for key in live]
    assert None not in needed
    assert found.days is not None
    # Parameters that need each other go side by side or one after the other; at most one publication a day.
    delays = [max(one.delay_days, 1) for one in profile.parameters]
    one_by_one = [
        (walks.steps_to(profile.parameter(key), live[key], found.values[key]) or 0) * max(delays) for key in live
    ]
    assert max(one or 0 for one in needed) <= found.days + max(delays)
    assert found.days <= sum(one_by_one) + max(delays)


@settings(max_examples=100, deadline=None)
@given(cases(), st.floats(0.0, 0.5), st.floats(0.0, 0.3), st.integers(6_000, 9_000))
def test_no_step_adds_to_what_the_budget_lacks(
    case: tuple[VenueProfile, dict[str, int], dict[str, int], PublicationState, PublicationRules],
    move: float,
    buffer: float,
    cap_bps: int,
) -> None:
    profile, live, target, stood, rules = case
    if profile.product == "lending":
        demands = lending_constraints(**COSTS | {"move": move}, buffer_log=buffer, cap_bps=cap_bps)
    else:
        demands = perpetual_constraints(total=move, buffer_log=buffer, funding=0.0, side="short")
    found = walks.walk(profile, live, target, state=stood, rules=rules, constraints=demands)
    stands = profile.whole(live)
    for step in found.steps:
        following = profile.whole(step.values)
        for one in demands:
            assert one.excess_bps(following) <= max(one.excess_bps(stands), 0.0) + 1e-4, one.name
        stands = following


@given(cases())
@settings(max_examples=60, deadline=None)
def test_publication_is_deterministic(
    case: tuple[VenueProfile, dict[str, int], dict[str, int], PublicationState, PublicationRules],
) -> None:
    profile, live, target, stood, rules = case
    turned = {key: live[key] for key in reversed(live)}
    again = {key: target[key] for key in reversed(target)}
    first = publish(profile, live, target, state=stood, rules=rules)
    assert first == publish(profile, turned, again, state=stood, rules=rules)
    assert list(first.values or live) == list(profile.keys)


# ---- price caps


IN_FORCE = PriceCap(1.15, 730.0, 0.0968)
WANTED = PriceCap(1.2265, 7.0, 0.0968)


def cap(**more: object) -> CapOutcome:
    knobs = {"live_ratio": 1.2285, "margin": 0.0, "largest_step": 0.03, "days_since_change": 30.0} | more
    return next_cap(IN_FORCE, WANTED, **knobs)  # type: ignore[arg-type]


def test_a_ratio_limited_without_its_moment_is_blocked() -> None:
    """The numbers of 2026-03-10: a ratio held back by 3 %, a moment that jumped to a week ago."""
    assert IN_FORCE.value == pytest.approx(1.37264, abs=5e-6)
    separate = PriceCap(1.15 * 1.03, 7.0, 0.0968)
    assert separate.value == pytest.approx(1.18669895, abs=5e-9)
    found = cap()
    assert (found.status, found.cap) == ("block", None)
    assert found.sentence == (
        "blocked: ratio limited to 3.00%: cap 1.186699 (ratio 1.184500, snapshot 7 d old) lies 3.40% below the live "
        "rate 1.228500"
    )
    assert cap_fault(separate, live_ratio=1.2285, margin=0.0) is not None
    assert cap_fault(IN_FORCE, live_ratio=1.2285, margin=0.1) is None


def test_ratio_and_moment_are_clipped_together() -> None:
    snapshots = (PriceCap(1.2, 250.0, 0.0968), PriceCap(1.18, 420.0, 0.0968), PriceCap(1.165, 560.0, 0.0968))
    found = cap(snapshots=snapshots)
    assert (found.status, found.cap) == ("published", snapshots[1])
    assert found.cap is not None
    assert found.cap.value >= 1.2285
    # A snapshot older than the one in force is no progress.
    assert cap(snapshots=(PriceCap(1.14, 800.0, 0.0968),)).status == "block"
    # The newest that carries the live rate, not merely the newest.
    low = PriceCap(1.18, 100.0, 0.0968)
    assert cap(snapshots=(low, *snapshots)).cap == snapshots[1]


def test_a_whole_target_within_the_step_is_taken_or_blocked() -> None:
    assert cap(largest_step=0.07).cap == WANTED
    assert cap(largest_step=0.07, margin=0.01).status == "block"
    assert "and must lie 1.00% above" in cap(largest_step=0.07, margin=0.01).sentence


def test_caps_wait_and_hold() -> None:
    assert cap(days_since_change=2.0).sentence == "held: last changed 2 days ago, 3 days between changes"
    assert cap(days_since_change=None).status == "hold"
    assert cap(hold_reason="oracle under review").status == "hold"
    same = next_cap(IN_FORCE, IN_FORCE, live_ratio=1.2, margin=0.0, largest_step=0.03, days_since_change=9.0)
    assert (same.status, same.cap) == ("unchanged", IN_FORCE)
    low = next_cap(IN_FORCE, IN_FORCE, live_ratio=1.4, margin=0.0, largest_step=0.03, days_since_change=9.0)
    assert (low.status, low.cap) == ("block", None)
    with pytest.raises(ValueError, match="a cap needs a positive ratio"):
        PriceCap(0.0, 1.0, 0.1)
    with pytest.raises(ValueError, match="live_ratio 0 must be positive"):
        cap(live_ratio=0.0)


caps = st.builds(PriceCap, st.floats(0.5, 3.0), st.floats(0.0, 900.0), st.floats(0.0, 0.3))


@settings(deadline=None)
@given(caps, caps, st.lists(caps, max_size=4), st.floats(0.5, 3.0), st.floats(0.0, 0.05), st.floats(0.0, 0.1))
def test_no_published_cap_cuts_the_live_rate(
    old: PriceCap, new: PriceCap, seen: list[PriceCap], live: float, margin: float, step: float
) -> None:
    found = next_cap(old, new, live_ratio=live, margin=margin, largest_step=step, days_since_change=9.0, snapshots=seen)
    assert (found.cap is None) == (found.status == "block")
    if found.cap is not None:
        value = found.cap.ratio * (1 + found.cap.growth * found.cap.age_days / 365)
        assert value >= live * (1 + margin) * (1 - 1e-12)
        assert abs(found.cap.ratio - old.ratio) <= step * old.ratio + 1e-12 or found.status == "unchanged"
