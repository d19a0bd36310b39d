"""The budget's parts: each is counted once, the larger estimate speaks, rules against swings add and sizes agree."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from budget_support import LENDING, PERPETUAL, SPEC, budget_days
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll import budget, liquidation, smoothing
from plimsoll.budget import PARTS, BudgetSpec, ProductSpec, SizeBudget
from plimsoll.smoothing import SmoothingSpec

BOTH = pytest.mark.parametrize("product", [LENDING, PERPETUAL], ids=["lending", "perpetual"])
SIDES = pytest.mark.parametrize("side", ["long", "short"])


def _days(**changes: float) -> pd.DataFrame:
    """Days on which the effective volatility lies above the day's own."""
    return budget_days(**({"sigma_daily": 0.03} | changes))


def _one(product: ProductSpec, side: str = "long", spec: BudgetSpec = SPEC, **changes: float) -> pd.Series:
    return budget.walk_budget(_days(**changes), product, side, spec).iloc[0]


def _sum(row: pd.Series) -> float:
    return float(sum(row[f"lambda_{part}"] for part in PARTS))


@SIDES
@BOTH
def test_parts_sum_whatever_is_known(product: ProductSpec, side: str) -> None:
    known = {"slippage_book": 0.03, "slippage_pool": 0.01, "challenger_ratio": 2.5, "sigma_stress_daily": 0.09}
    for rule in smoothing.RULES:
        spec = replace(SPEC, smoothing=SmoothingSpec(rule=rule))
        row = _one(product, side, spec, buffer_factor=1.2, **known)
        assert row["status"] == "ok"
        assert _sum(row) == pytest.approx(row["lambda_total"], abs=1e-14)
        assert row["smoothing"] == rule


def test_the_larger_estimate_of_slippage_speaks_and_is_named() -> None:
    law = _one(LENDING)
    assert law["slippage_basis"] == "law"
    assert law["slippage_law"] == pytest.approx(0.04 * np.sqrt(1e7 / 4e8))
    for column, name in (("slippage_book", "book"), ("slippage_pool", "pool")):
        small, large = _one(LENDING, **{column: 1e-4}), _one(LENDING, **{column: 0.05})
        assert small["slippage_basis"] == "law"
        assert small["lambda_slippage"] == law["lambda_slippage"]
        assert large["slippage_basis"] == name
        assert large["lambda_slippage"] == pytest.approx(-np.log1p(-0.05))
        assert large[column] == 0.05


def test_a_size_beyond_the_book_costs_no_less_than_its_last_size() -> None:
    row = _one(LENDING, slippage_book=np.nan, slippage_book_least=0.08)
    assert row["slippage_basis"] == "book_end"
    assert row["lambda_slippage"] == pytest.approx(-np.log1p(-0.08))
    assert pd.isna(row["slippage_book"])
    below = _one(LENDING, slippage_book=np.nan, slippage_book_least=1e-5)
    assert below["slippage_basis"] == "law"


def test_a_pool_that_ends_withholds() -> None:
    row = _one(LENDING, slippage_pool=np.inf)
    assert row["status"] == "withheld"
    assert row["note"] == "not absorbable: the pool ends before 10,000,000 USD"
    assert pd.isna(row["lt_bps"])


@SIDES
@BOTH
def test_a_challenger_that_disagrees_tightens_whichever_way_it_errs(product: ProductSpec, side: str) -> None:
    plain = _one(product, side)
    column, sign = ("lt_bps", 1) if product is LENDING else ("mm_bps", -1)
    for ratio in (0.3, 2.5):
        other = plain["lambda_total"] + plain["lambda_move"] * (ratio - 1)
        expected = 0.5 * abs(np.log(plain["lambda_total"] / other)) * plain["lambda_total"]
        row = _one(product, side, challenger_ratio=ratio)
        assert row["lambda_model"] == pytest.approx(expected, rel=1e-12)
        assert sign * row[column] < sign * plain[column]
        off = _one(product, side, replace(SPEC, model_gate=False), challenger_ratio=ratio)
        assert off["lambda_model"] == 0
        assert off[column] == plain[column]
    assert _one(product, side, challenger_ratio=1.1)["lambda_model"] == 0
    assert _one(product, side, challenger_ratio=np.nan)["lambda_model"] == 0


def test_rules_against_swings_stand_above_the_raw_budget() -> None:
    floor = _one(LENDING)
    none = _one(LENDING, spec=replace(SPEC, smoothing=SmoothingSpec(rule="none")))
    assert none["lambda_total"] == none["lambda_raw"] == floor["lambda_raw"] < floor["lambda_total"]
    assert none["sigma_eff_daily"] == 0.03
    blended = _one(LENDING, spec=replace(SPEC, smoothing=SmoothingSpec(rule="blend")), sigma_stress_daily=0.1)
    stressed = _one(LENDING, sigma_eff_daily=0.1)
    # The users' room follows the effective volatility, not the blend.
    assert blended["lambda_total"] == pytest.approx(
        0.75 * floor["lambda_total"] + 0.25 * stressed["lambda_total"], rel=1e-12
    )
    calm = _one(LENDING, spec=replace(SPEC, smoothing=SmoothingSpec(rule="blend")), sigma_stress_daily=0.01)
    assert calm["lambda_smoothing"] == 0
    buffered = _one(LENDING, spec=replace(SPEC, smoothing=SmoothingSpec(rule="buffer")), buffer_factor=1.25)
    assert buffered["lambda_smoothing"] == pytest.approx(0.25 * floor["lambda_total"])
    assert buffered["lt_bps"] < floor["lt_bps"]


def test_the_horizon_and_the_oracle_are_told_part_by_part() -> None:
    product = replace(LENDING, base_horizon_hours=1.0, oracle_hours=0.1, keeper_hours=0.2, auction_hours=0.7)
    row = _one(product)
    parts = [row[f"horizon_{name}_hours"] for name in ("oracle", "keeper", "auction", "sale")]
    assert sum(parts) == pytest.approx(row["horizon_hours"])
    assert row["horizon_sale_hours"] == pytest.approx(8 * 1e7 / (0.05 * 4e8))
    stale = _one(replace(LENDING, oracle_age_hours=6.0))
    assert stale["oracle_error"] == pytest.approx(0.005 + 0.04 * np.sqrt(0.25))
    assert stale["lambda_oracle"] == pytest.approx(-np.log1p(-stale["oracle_error"]))
    assert _one(LENDING, oracle_error=0.02)["oracle_error"] == 0.02
    assert _one(LENDING, oracle_error=0.001)["oracle_error"] == 0.005


def test_a_typical_liquidation_sets_the_bonus() -> None:
    whole, typical = _one(LENDING), _one(replace(LENDING, bonus_notional_usd=1e5))
    assert typical["bonus_bps"] < whole["bonus_bps"]
    assert typical["lambda_total"] == whole["lambda_total"]
    larger = _one(replace(LENDING, bonus_notional_usd=1e9))
    assert larger["bonus_bps"] == whole["bonus_bps"]


@SIDES
def test_coin_margined_sides_trade_places(side: str) -> None:
    inverse = _one(replace(PERPETUAL, contract="inverse"), side)
    linear = _one(PERPETUAL, side)
    assert inverse["lambda_total"] == linear["lambda_total"]
    exact = liquidation.inverse_maintenance_margin(linear["lambda_total"], side) * 1e4
    assert exact <= inverse["mm_bps"] < exact + 5
    assert inverse["absorbed_move"] >= inverse["lambda_move"] - 1e-12
    assert (inverse["mm_bps"] > linear["mm_bps"]) == (side == "long")


@SIDES
@BOTH
def test_a_size_has_the_same_budget_alone_and_among_others(product: ProductSpec, side: str) -> None:
    at = SizeBudget(_days(), product, side, SPEC)
    sizes = np.geomspace(1e4, 1e9, 40)
    together = at(sizes)
    alone = np.asarray([at(size)[0] for size in sizes])
    np.testing.assert_array_equal(together, alone)
    row = budget.walk_budget(_days(notional_usd=sizes[7]), product, side, SPEC).iloc[0]
    assert together[7] == row["lambda_total"]
    assert at(product.notional_usd)[0] == _one(product, side)["lambda_total"]
    known = together[np.isfinite(together)]
    assert (np.diff(known) > -1e-12).all()
    assert np.isfinite(together)[: len(known)].all()


def test_sizes_ask_books_for_each_size() -> None:
    asked: list[np.ndarray] = []

    def costs(sizes: np.ndarray) -> dict[str, np.ndarray]:
        asked.append(sizes)
        return {"slippage_book": sizes / 1e9}

    at = SizeBudget(_days(), LENDING, "long", SPEC, costs)
    terms = at.terms([1e6, 3e8])
    np.testing.assert_array_equal(asked[0], [1e6, 3e8])
    assert at.slippage([1e6, 3e8]).tolist() == terms["slippage"].tolist()
    assert np.isnan(at.slippage(1e12)[0])
    assert terms["slippage"].tolist() == [pytest.approx(0.04 * np.sqrt(1e6 / 4e8)), pytest.approx(0.3)]


@pytest.mark.parametrize(("sizes", "words"), [([0.0], "positive"), ([np.nan], "positive"), ([-1e6], "positive")])
def test_sizes_must_be_sizes(sizes: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SizeBudget(_days(), LENDING, "long", SPEC)(sizes)
    with pytest.raises(ValueError, match="one day"):
        SizeBudget(pd.concat([_days(), _days()]), LENDING, "long", SPEC)(1e6)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["sigma_daily", "notional_usd", "k", "horizon", "oracle_error", "slippage_book", "age"]),
    st.floats(1.0, 3.0),
    st.sampled_from(["long", "short"]),
    st.sampled_from([LENDING, PERPETUAL]),
    st.sampled_from(["none", "floor", "blend"]),
)
def test_more_of_anything_never_loosens(name: str, factor: float, side: str, product: ProductSpec, rule: str) -> None:
    """Volatility, size, confidence, horizon and costs: no rounded parameter moves to the loose side."""
    spec = replace(SPEC, smoothing=SmoothingSpec(rule=rule))
    base = {"sigma_daily": 0.04, "sigma_eff_daily": 0.04, "sigma_stress_daily": 0.08, "slippage_book": 0.004}
    base |= {"notional_usd": 5e6, "k": 5.5, "oracle_error": 0.006}
    worse, other = dict(base), product
    if name == "horizon":
        other = replace(product, base_horizon_hours=product.base_horizon_hours * factor)
    elif name == "age":
        other = replace(product, oracle_age_hours=factor - 1)
    else:
        worse[name] = base[name] * factor
    if name == "sigma_daily":
        worse["sigma_eff_daily"] = worse[name]
    for row in (base, worse):
        row["k_p100"] = row["k"]
    one = budget.walk_budget(_days(**base), product, side, spec).iloc[0]
    two = budget.walk_budget(_days(**worse), other, side, spec).iloc[0]
    if two["status"] == "withheld":
        return
    assert one["status"] == "ok"
    assert two["lambda_total"] >= one["lambda_total"] - 1e-12
    if product is LENDING:
        assert two["lt_bps"] <= one["lt_bps"]
        assert two["ltv_bps"] <= one["ltv_bps"]
    else:
        assert two["mm_bps"] >= one["mm_bps"]
        assert two["im_bps"] >= one["im_bps"]
        assert two["max_leverage"] <= one["max_leverage"]
