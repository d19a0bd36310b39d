"""The budget walked over days: parts sum, moves are monotone, unknown inputs withhold."""

import numpy as np
import pandas as pd
import pytest
from budget_support import LENDING, PERPETUAL, SPEC, budget_days
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll import budget, tails, thresholds
from plimsoll.budget import BudgetSpec, ProductSpec
from plimsoll.overshoot import TAIL_FRACTION


def _one(product: ProductSpec, side: str = "long", **changes: float) -> pd.Series:
    return budget.walk_budget(budget_days(**changes), product, side, SPEC).iloc[0]


@pytest.mark.parametrize("side", ["long", "short"])
@pytest.mark.parametrize("product", [LENDING, PERPETUAL], ids=["lending", "perpetual"])
def test_parts_sum_and_rounded_sets_are_valid(product: ProductSpec, side: str) -> None:
    row = _one(product, side)
    parts = [row[f"lambda_{name}"] for name in ("move", "oracle", "slippage", "fee", "model")]
    assert sum(parts) == pytest.approx(row["lambda_total"], abs=1e-14)
    assert row["status"] == "ok"
    if product is LENDING:
        assert row["ltv_bps"] < row["lt_bps"] <= 8800
        assert row["lt_bps"] % 50 == 0
        assert row["bonus_bps"] % 25 == 0
        assert row["lt_bps"] / 1e4 * (1 + row["bonus_bps"] / 1e4) <= np.exp(-row["lambda_move"])
    else:
        assert row["mm_bps"] < row["im_bps"]
        assert row["mm_bps"] % 5 == 0
        assert row["max_leverage"] * row["im_bps"] <= 10_000


def test_horizon_counts_the_time_to_sell() -> None:
    row = _one(LENDING)
    assert row["horizon_hours"] == pytest.approx(1.0 + 24 * (1e7 / (0.05 * 4e8)) / 3)


def test_expected_shortfall_binds_when_the_budget_is_small() -> None:
    loose = _one(LENDING)
    strict = budget.walk_budget(
        budget_days(), LENDING, "long", BudgetSpec(**{**SPEC.__dict__, "es_budget": 1e-6})
    ).iloc[0]
    assert strict["binding"] == "expected_shortfall"
    assert strict["lambda_move"] > loose["lambda_move"]
    unit = 0.04 * (strict["horizon_hours"] / 24) ** 0.3 * 5.5 / 5.8
    left = tails.expected_bad_debt(
        strict["x_es"], threshold=2.0 * unit, xi=0.15, beta=1.2 * unit, tail_fraction=TAIL_FRACTION
    )
    assert float(left) == pytest.approx(1e-6, rel=1e-6)


def test_the_class_cap_binds_in_calm_markets() -> None:
    row = _one(LENDING, sigma_eff_daily=0.002, adv_usd=1e12)
    assert row["lt_bps"] == 8800
    assert row["binding"] == "cap"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sigma_daily": 0.0}, "did not move"),
        ({"sigma_daily": 1.2}, "120 % a day is not plausible"),
        ({"k": np.nan}, "not enough data"),
        ({"buffer_sigma": np.nan}, "not enough data"),
        ({"adv_usd": np.nan}, "traded volume unknown"),
        ({"adv_usd": 1e3}, "not absorbable"),
        ({"sigma_daily": 0.9, "sigma_eff_daily": 0.9, "adv_usd": 1e12}, "not absorbable: the budget is a move of"),
    ],
)
def test_unknown_inputs_withhold(change: dict[str, float], words: str) -> None:
    row = _one(LENDING, **change)
    assert row["status"] == "withheld"
    assert words in row["note"]
    assert pd.isna(row["lt_bps"])


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.005, 0.15),
    st.floats(1.0, 1.5),
    st.sampled_from(["sigma_eff_daily", "k", "adv_usd"]),
    st.sampled_from(["long", "short"]),
    st.sampled_from([LENDING, PERPETUAL]),
)
def test_more_risk_never_loosens(sigma: float, factor: float, name: str, side: str, product: ProductSpec) -> None:
    base: dict[str, float] = {"sigma_eff_daily": sigma, "adv_usd": 4e8, "k": 5.5}
    worse = base | {name: base[name] * factor if name != "adv_usd" else base[name] / factor}
    for row in (base, worse):
        row["k_p100"] = row["k"]
    one, two = _one(product, side, **base), _one(product, side, **worse)
    if "withheld" in (one["status"], two["status"]):
        return
    column = "lt_bps" if product is LENDING else "mm_bps"
    sign = 1 if product is LENDING else -1
    assert sign * two[column] <= sign * one[column]


def test_rounded_lending_sets_pass_the_validity_test_again() -> None:
    row = _one(LENDING)
    assert (
        thresholds.lending_violations(
            lt_bps=int(row["lt_bps"]),
            ltv_bps=int(row["ltv_bps"]),
            bonus_bps=int(row["bonus_bps"]),
            move=float(row["lambda_move"]),
            oracle_deviation=0.005,
            slippage=float(-np.expm1(-row["lambda_slippage"])),
            fee=0.001,
            protocol_share=0.1,
            cap_bps=8800,
            side="long",
        )
        == ()
    )
