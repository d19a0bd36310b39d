"""Attribution: published digits, exact sums, symmetry, and every stage from the budget to what is in force."""

import math

import numpy as np
import pandas as pd
import pytest
from budget_support import LENDING, PERPETUAL, SPEC, budget_days
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll import attribution, budget, liquidation, thresholds
from plimsoll.attribution import DRIVERS, Attribution, attribute, form_of, log_mean, split_product
from plimsoll.budget import ProductSpec

USES = {
    "lending": LENDING,
    "fixed": ProductSpec("lending", 1e7, 1.0, 100, 0.005, 0.001, 0.0, 8800, bonus_floor_bps=500),
    "perpetual": PERPETUAL,
}
GRIDS = {"lending": 50, "fixed": 50, "perpetual": 5}
POSITIVE = st.floats(1e-6, 10.0)


def _row(use: str, side: str, **changes: float) -> pd.Series:
    """A row as the budget makes it."""
    unknown = {"gpd_threshold_sigma": np.nan, "gpd_xi": np.nan, "gpd_beta_sigma": np.nan}
    frame = budget_days(**(unknown | changes))
    row = budget.walk_budget(frame, USES[use], side, SPEC).iloc[0]
    return pd.concat([row, pd.Series({"symbol": "X", "product": USES[use].product, "side": side})])


def _tailed(use: str, side: str, **changes: float) -> pd.Series:
    tail = {"gpd_threshold_sigma": 2.0, "gpd_xi": 0.15, "gpd_beta_sigma": 1.2}
    return _row(use, side, **(tail | changes))


def _of(found: Attribution) -> dict[str, float]:
    return {d.driver: d.contribution_bps for d in found.drivers}


def test_published_digits_of_a_threshold() -> None:
    parts = [
        [liquidation.log_cost(x, "long") for x in costs] for costs in ((0.005, 0.001, 0.006), (0.005, 0.001, 0.012))
    ]
    total = [x + float(sum(costs)) for x, costs in zip((0.085, 0.112), parts, strict=True)]
    assert total[0] == pytest.approx(0.09703111, abs=5e-9)
    assert total[1] == pytest.approx(0.13008562, abs=5e-9)
    form = form_of("lending", "long")
    assert form.value(total[0]) == pytest.approx(0.90752777, abs=5e-9)
    assert form.value(total[1]) == pytest.approx(0.87802025, abs=5e-9)
    slope = 1e4 * form.slope(*total)
    assert slope * (total[1] - total[0]) == pytest.approx(-295.0752, abs=5e-5)
    assert slope * (0.112 - 0.085) == pytest.approx(-241.0270, abs=5e-5)
    assert slope * float(parts[1][2] - parts[0][2]) == pytest.approx(-54.0482, abs=5e-5)


def test_published_digits_of_a_product() -> None:
    one = {"k": 3.4, "sigma": 0.040, "tau": (1 / 24) ** 0.4}
    other = {"k": 3.6, "sigma": 0.047, "tau": (2 / 24) ** 0.4}
    assert math.prod(one.values()) == pytest.approx(0.03814647, abs=5e-9)
    assert math.prod(other.values()) == pytest.approx(0.06262213, abs=5e-9)
    found = split_product(one, other)
    assert found["k"] == pytest.approx(0.00282233, abs=5e-9)
    assert found["sigma"] == pytest.approx(0.00796300, abs=5e-9)
    assert found["tau"] == pytest.approx(0.01369032, abs=5e-9)


def _rebuilt(use: str, move: tuple[float, ...], costs: tuple[float, ...], **changes: object) -> dict[str, object]:
    """A row with given factors, published by the package's own rounding."""
    k, sigma, hours, eta = move
    product, side = USES[use].product, "long"
    x = float(liquidation.adverse_move(k=k, sigma_eff=sigma, horizon_hours=hours, eta=eta))
    deviation, slippage, fee = costs
    parts = liquidation.loss_budget(move=x, oracle_deviation=deviation, slippage=slippage, fee=fee, side=side)
    row: dict[str, object] = {
        "product": product,
        "side": side,
        "binding": "quantile",
        "k": k,
        "sigma_eff_daily": sigma,
        "horizon_hours": hours,
        "eta": eta,
        "lambda_total": float(parts.total),
    } | {f"lambda_{name}": float(getattr(parts, name)) for name in attribution.PARTS}
    if product == "lending":
        found = thresholds.lending_parameters(
            move=x,
            oracle_deviation=deviation,
            slippage=slippage,
            fee=fee,
            protocol_share=0.1,
            buffer_log=0.05,
            cap_bps=10_000,
            lt_grid_bps=50,
            bonus_grid_bps=25,
            side=side,
        )
        row |= {"lt_bps": int(found.lt_bps), "bonus_bps": int(found.bonus_bps)}
    else:
        margins = thresholds.perpetual_parameters(
            total=parts.total, buffer_log=0.05, funding=0.0, side=side, margin_grid_bps=5
        )
        row["mm_bps"] = int(margins.mm_bps)
    return row | changes


def test_digits_of_both_examples_through_rows() -> None:
    before = _rebuilt("perpetual", (3.4, 0.040, 1.0, 0.4), (0.005, 0.006, 0.001))
    after = _rebuilt("perpetual", (3.6, 0.047, 2.0, 0.4), (0.005, 0.012, 0.001))
    found = _of(attribute(before, after, grid_bps=5))
    slope = 1e4 * form_of("perpetual", "long").slope(float(before["lambda_total"]), float(after["lambda_total"]))
    assert found["tail"] / slope == pytest.approx(0.00282233, abs=5e-9)
    assert found["volatility"] / slope == pytest.approx(0.00796300, abs=5e-9)
    assert found["latency"] / slope == pytest.approx(0.01369032, abs=5e-9)
    assert found["slippage"] / slope == pytest.approx(math.log(0.994 / 0.988), rel=1e-12)
    for unchanged in ("exponent", "oracle", "fee", "model", "sigma_smoothing", "budget_smoothing", "cap", "bonus"):
        assert found[unchanged] == 0.0


FACTORS = st.tuples(st.floats(0.5, 9.0), st.floats(0.005, 0.09), st.floats(0.1, 60.0), st.floats(0.1, 0.6))
COSTS = st.tuples(st.floats(0.0, 0.02), st.floats(0.0, 0.2), st.floats(0.0, 0.01))


@pytest.mark.parametrize("use", ["lending", "perpetual"])
@given(FACTORS, FACTORS, COSTS, COSTS)
@settings(max_examples=80, deadline=None)
def test_sums_are_exact_and_sides_can_be_swapped(
    use: str, one: tuple[float, ...], other: tuple[float, ...], first: tuple[float, ...], second: tuple[float, ...]
) -> None:
    before, after = _rebuilt(use, one, first), _rebuilt(use, other, second)
    there, back = attribute(before, after), attribute(after, before)
    parameter = "lt_bps" if use == "lending" else "mm_bps"
    assert there.change_bps == after[parameter] - before[parameter]
    assert abs(math.fsum(_of(there).values()) - there.change_bps) < 1e-9
    assert abs(sum(there.grouped().values()) - there.change_bps) < 1e-9
    for driver in DRIVERS:
        assert _of(back)[driver] == pytest.approx(-_of(there)[driver], abs=1e-8)
    assert tuple(d.driver for d in there.drivers) == DRIVERS
    same = _of(attribute(before, before))
    assert all(value == 0 for value in same.values())


@given(FACTORS, FACTORS, st.sets(st.integers(0, 3)))
@settings(max_examples=80, deadline=None)
def test_drivers_that_did_not_change_contribute_nothing(
    one: tuple[float, ...], other: tuple[float, ...], fixed: set[int]
) -> None:
    mixed = tuple(one[i] if i in fixed else other[i] for i in range(4))
    costs = (0.005, 0.01, 0.001)
    found = _of(attribute(_rebuilt("perpetual", one, costs), _rebuilt("perpetual", mixed, costs)))
    names = ("tail", "volatility", "latency", "exponent")
    for i in fixed:
        assert found[names[i]] == 0.0, names[i]
    for unchanged in ("oracle", "slippage", "fee", "model"):
        assert found[unchanged] == 0.0


def test_exponent_and_horizon_may_cancel_and_cross_a_day() -> None:
    costs = (0.005, 0.01, 0.001)
    one = _rebuilt("perpetual", (3.0, 0.03, 6.0, 0.3), costs)
    # (6/24)^0.3 = (1.5/24)^0.15: horizon and exponent move the scale by as much, in opposite directions.
    other = _rebuilt("perpetual", (3.0, 0.03, 1.5, 0.15), costs)
    found = _of(attribute(one, other))
    assert found["latency"] < -10
    assert found["exponent"] == pytest.approx(-found["latency"], abs=1e-6)
    beyond = _of(attribute(one, _rebuilt("perpetual", (3.0, 0.03, 48.0, 0.3), costs)))
    assert beyond["exponent"] == 0.0
    slope = 1e4 * form_of("perpetual", "long").slope(
        float(one["lambda_total"]),
        float(_rebuilt("perpetual", (3.0, 0.03, 48.0, 0.3), costs)["lambda_total"]),
    )
    assert beyond["latency"] == pytest.approx(slope * 0.09 * (2**0.5 - 0.25**0.3), rel=1e-9)


def test_a_move_of_nothing_is_attributed_to_what_vanished() -> None:
    costs = (0.005, 0.01, 0.001)
    some, none = (
        _rebuilt("perpetual", (3.0, 0.03, 6.0, 0.3), costs),
        _rebuilt("perpetual", (0.0, 0.03, 6.0, 0.3), costs),
    )
    found = _of(attribute(some, none))
    slope = 1e4 * form_of("perpetual", "long").slope(float(some["lambda_total"]), float(none["lambda_total"]))
    assert found["tail"] == pytest.approx(-slope * float(some["lambda_move"]))
    assert found["volatility"] == found["latency"] == found["exponent"] == 0.0
    assert all(value == 0 for value in _of(attribute(none, none)).values())
    assert split_product({"a": 0.0, "b": 0.0, "c": 1.0}, {"a": 2.0, "b": 3.0, "c": 1.0}) == {"a": 3, "b": 3, "c": 0}
    assert split_product({"a": 0.0, "b": 1.0}, {"a": 0.0, "b": 2.0}) == {"a": 0.0, "b": 0.0}


def test_without_a_change_of_the_budget_parts_still_move() -> None:
    one = _rebuilt("perpetual", (3.0, 0.03, 24.0, 0.3), (0.005, 0.01, 0.001))
    shift = 0.001
    other = one | {"lambda_oracle": one["lambda_oracle"] + shift, "lambda_fee": one["lambda_fee"] - shift}  # type: ignore[operator]
    found = _of(attribute(one, other))
    level = 1e4 * math.exp(-float(one["lambda_total"]))  # type: ignore[arg-type]
    assert found["oracle"] == pytest.approx(level * shift)
    assert found["fee"] == pytest.approx(-level * shift)
    assert attribute(one, other).change_bps == 0


@pytest.mark.parametrize("side", ["long", "short"])
@pytest.mark.parametrize("use", ["lending", "fixed", "perpetual"])
def test_rows_of_the_budget(use: str, side: str) -> None:
    before = _tailed(use, side)
    after = _tailed(use, side, sigma_eff_daily=0.055, sigma_daily=0.05, k=6.1, k_p100=6.1, adv_usd=2e8)
    found = attribute(before, after, grid_bps=GRIDS[use])
    parameter = "mm_bps" if use == "perpetual" else "lt_bps"
    assert found.parameter == parameter
    assert found.change_bps == int(after[parameter]) - int(before[parameter]) != 0
    frame = found.frame()
    assert list(frame.columns) == ["driver", "contribution_bps", "before", "after", "unit"]
    assert abs(math.fsum(frame["contribution_bps"]) - found.change_bps) < 1e-9
    tighter = -1 if parameter == "lt_bps" else 1
    for driver in ("volatility", "tail", "shortfall", "latency", "slippage"):
        assert tighter * _of(found)[driver] > 0, driver
    assert abs(_of(found)["rounding"]) <= GRIDS[use]
    units = frame.set_index("driver")["unit"]
    assert (units["volatility"], units["oracle"], units["cap"]) == ("fraction a day", "log budget", "bps")
    sigma = frame.set_index("driver").loc["volatility"]
    assert (sigma["before"], sigma["after"]) == (0.04, 0.05), "the forecast itself, before the floor"


def test_a_shortfall_is_the_part_of_the_tail_beyond_the_quantile() -> None:
    before, after = _tailed("perpetual", "long"), _tailed("perpetual", "long", sigma_eff_daily=0.06)
    assert before["binding"] == after["binding"] == "expected_shortfall"
    found = attribute(before, after)
    own = {d.driver: d for d in found.drivers}
    assert own["tail"].contribution_bps == 0.0, "the quantile did not move"
    assert own["shortfall"].before == pytest.approx(before["x_es"] / before["x_quantile"])
    assert own["shortfall"].contribution_bps > 0
    assert found.grouped()["tail"] == own["shortfall"].contribution_bps
    assert "shortfall" not in found.grouped()
    crossing = _of(attribute(_row("perpetual", "long"), before))
    assert crossing["shortfall"] > 0 == crossing["tail"] == crossing["volatility"]


def test_a_fixed_bonus_takes_back_what_slippage_contributes() -> None:
    before, after = _row("fixed", "long"), _row("fixed", "long", adv_usd=3.5e8)
    assert before["bonus_bps"] == after["bonus_bps"] == 500
    found = _of(attribute(before, after, grid_bps=50))
    assert found["slippage"] < 0 < found["bonus"]
    assert found["bonus"] == pytest.approx(-found["slippage"], rel=1e-12)
    carried = [1e4 * np.exp(-float(row["lambda_move"] + row["lambda_oracle"])) / 1.05 for row in (before, after)]
    assert found["latency"] == pytest.approx(carried[1] - carried[0], rel=1e-9), "only the time to sell has an effect"


def test_a_cap_absorbs_what_the_budget_would_allow() -> None:
    before, after = (_row("lending", "long", sigma_daily=s, sigma_eff_daily=s) for s in (0.012, 0.010))
    assert before["binding"] == after["binding"] == "cap"
    found = attribute(before, after, grid_bps=50)
    assert found.change_bps == 0
    own = _of(found)
    assert own["volatility"] > 0 > own["cap"]
    assert own["rounding"] == pytest.approx(0.0, abs=1e-9)
    assert found.grouped()["policy"] == pytest.approx(own["cap"] + own["bonus"])
    uncapped = attribute(_row("lending", "long"), after, grid_bps=50)
    assert abs(math.fsum(_of(uncapped).values()) - uncapped.change_bps) < 1e-9


def test_step_limits_and_holds_are_a_stage() -> None:
    before, after = _row("perpetual", "long"), _row("perpetual", "long", sigma_eff_daily=0.06)
    target = int(after["mm_bps"]) - int(before["mm_bps"])
    found = attribute(before, after, in_force_bps=(int(before["mm_bps"]), int(before["mm_bps"]) + 50))
    assert found.change_bps == 50
    assert _of(found)["step_limit"] == 50 - target
    assert abs(math.fsum(_of(found).values()) - 50) < 1e-9
    plain = _of(attribute(before, after))
    assert {k: v for k, v in plain.items() if k != "step_limit"} == pytest.approx(
        {k: v for k, v in _of(found).items() if k != "step_limit"}, abs=1e-9
    )


def test_smoothing_of_volatility_and_of_the_budget_are_policy() -> None:
    before, after = (_row("perpetual", "long", sigma_daily=s) for s in (0.03, 0.02))
    found = _of(attribute(before, after))
    assert found["volatility"] < 0
    assert found["sigma_smoothing"] == pytest.approx(-found["volatility"])
    buffered = _rebuilt("perpetual", (3.0, 0.03, 24.0, 0.3), (0.005, 0.01, 0.001))
    more = buffered | {"lambda_smoothing": 0.01, "lambda_total": float(buffered["lambda_total"]) + 0.01}  # type: ignore[arg-type]
    margin = thresholds.perpetual_parameters(
        total=more["lambda_total"], buffer_log=0.0, funding=0.0, side="long", margin_grid_bps=5
    )
    own = attribute(buffered, more | {"mm_bps": int(margin.mm_bps)}, grid_bps=5)
    assert own.grouped()["policy"] == _of(own)["budget_smoothing"] > 80


@pytest.mark.parametrize("total", [0.05, 0.3, 1.2])
def test_forms_are_those_of_the_closed_forms(total: float) -> None:
    for side in ("long", "short"):
        assert form_of("lending", side).value(total) == pytest.approx(
            float(liquidation.liquidation_threshold(total)), rel=1e-14
        )
        linear, inverse = form_of("perpetual", side), form_of("perpetual", side, is_inverse=True)
        assert linear.value(total) == pytest.approx(float(liquidation.maintenance_margin(total, side)), rel=1e-14)
        assert inverse.value(total) == pytest.approx(
            float(liquidation.inverse_maintenance_margin(total, side)), rel=1e-14
        )
        for form in (linear, inverse):
            change = form.value(total * 1.3) - form.value(total)
            assert form.slope(total, total * 1.3) * 0.3 * total == pytest.approx(change, rel=1e-12)
            assert form.slope(total, total) == pytest.approx(float(form.sign * form.power * np.exp(form.power * total)))


@given(POSITIVE, POSITIVE)
def test_log_mean(a: float, b: float) -> None:
    found = float(log_mean(a, b))
    assert found == float(log_mean(b, a))
    assert min(a, b) * (1 - 1e-12) <= found <= max(a, b) * (1 + 1e-12)
    assert found * abs(math.log(a / b)) == pytest.approx(abs(a - b), rel=1e-9, abs=1e-15)
    assert float(log_mean(a, a)) == a
    assert float(log_mean(a, 0.0)) == 0.0


def test_log_mean_of_what_is_unknown_or_negative() -> None:
    assert np.isnan(log_mean([1.0, np.nan], [np.nan, 0.0])).all()
    assert float(log_mean(0.0, 0.0)) == 0.0
    with pytest.raises(ValueError, match="log mean of -1"):
        log_mean(-1.0, 2.0)


def test_rows_that_cannot_be_compared_are_refused() -> None:
    row = _row("lending", "long")

    def changed(**changes: object) -> pd.Series:
        out = row.copy()
        for name, value in changes.items():
            out[name] = value
        return out

    for changes, message in (
        ({"side": "short"}, "side 'long' before and 'short' after"),
        ({"symbol": "Y"}, "symbol"),
        ({"lt_bps": np.nan, "note": "thin"}, "X lending long after: lt_bps is withheld \\(thin\\)"),
        ({"lambda_total": 0.5}, "parts miss lambda_total"),
        ({"horizon_hours": 0.0}, "horizon of 0 h"),
        ({"sigma_eff_daily": 0.0}, "does not follow"),
        ({"lt_bps": row["lt_bps"] + 50}, "is looser than"),
    ):
        with pytest.raises(ValueError, match=message):
            attribute(row, changed(**changes))
    with pytest.raises(ValueError, match="grid 50"):
        attribute(row, changed(lt_bps=row["lt_bps"] - 100), grid_bps=50)
    with pytest.raises(ValueError, match="product 'option'"):
        form_of("option", "long")
    with pytest.raises(ValueError, match="side 'both'"):
        form_of("lending", "both")
    with pytest.raises(ValueError, match="same names"):
        split_product({"a": 1.0}, {"b": 1.0})
    with pytest.raises(ValueError, match="factor a is -1"):
        split_product({"a": 1.0}, {"a": -1.0})
