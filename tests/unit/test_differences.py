"""Differences between two sides: counted by hand, and the same seen from either side."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll import differences

NAN = float("nan")
VALUES = ("lt_bps", "ltv_bps", "bonus_bps", "mm_bps", "im_bps", "max_leverage")
SIGNED = ("mean_difference", "largest_difference")
MIRRORED = (("first_value", "second_value"), ("days_first_withholds", "days_second_withholds"))


def thresholds(lt: list[float], *, product: str = "lending", symbol: str = "AAA", first: int = 0) -> pd.DataFrame:
    """Rows of one use on consecutive days; all parameters of the product have the value given."""
    n = len(lt)
    days = pd.date_range("2022-01-01", periods=first + n)[first:]
    column = {name: lt if name in differences.PARAMETERS[product].values() else [NAN] * n for name in VALUES}
    parts = {name: np.arange(1.0, n + 1) for name in (*differences.MEANS, *differences.MEDIANS)}
    return pd.DataFrame(
        {
            "as_of": days,
            "target_date": days + pd.Timedelta(days=1),
            "symbol": symbol,
            "product": product,
            "side": "long",
            "status": ["withheld" if np.isnan(value) else "ok" for value in lt],
            **column,
            **parts,
        }
    )


def one(rows: pd.DataFrame, **key: str) -> pd.Series:
    for name, value in key.items():
        rows = rows[rows[name] == value]
    assert len(rows) == 1
    return rows.iloc[0]


def test_numbers_are_counted_by_hand() -> None:
    first = thresholds([8000, 8050, NAN, 8100, NAN, 8000])
    second = thresholds([8000, 8000, 7900, 8200, NAN, NAN])
    found = one(differences.numbers(first, second), parameter="lt")
    assert found["unit"] == "bps"
    assert found["days"] == 6
    assert found["days_different"] == 2
    assert found["mean_difference"] == pytest.approx((0 - 50 + 100) / 3)
    assert found["largest_difference"] == 100
    assert found["largest_on"] == pd.Timestamp("2022-01-04")
    assert (found["days_first_withholds"], found["days_second_withholds"]) == (1, 1)
    assert found["days_status_different"] == 2
    assert found["last_day"] == pd.Timestamp("2022-01-06")
    assert found["first_value"] == 8000
    assert np.isnan(found["second_value"])


def test_the_largest_is_by_size_and_the_first_of_equals() -> None:
    found = one(differences.numbers(thresholds([100, 100, 100]), thresholds([130, 60, 140])), parameter="lt")
    assert found["largest_difference"] == -40
    assert found["largest_on"] == pd.Timestamp("2022-01-02")


def test_days_and_markets_of_one_side_are_counted_apart() -> None:
    first = pd.concat([thresholds([1.0, 2.0, 3.0]), thresholds([7.0], product="perpetual", symbol="BBB")])
    second = thresholds([9.0, 3.0], first=1)
    found = differences.numbers(first, second)
    assert list(found["parameter"]) == ["lt", "ltv", "bonus", "mm", "im", "max_leverage"]
    aaa, bbb = one(found, parameter="lt"), one(found, parameter="max_leverage")
    assert (aaa["days"], aaa["days_first_only"], aaa["days_second_only"]) == (2, 1, 0)
    assert aaa["mean_difference"] == 3.5
    assert (bbb["days"], bbb["days_first_only"], bbb["unit"]) == (0, 1, "times")
    assert np.isnan(bbb["mean_difference"])
    assert pd.isna(bbb["last_day"])
    assert set(differences.changed(found)["symbol"]) == {"AAA"}


def test_another_status_is_a_difference_though_values_agree() -> None:
    first = thresholds([8000, 8000])
    second = first.assign(status=["ok", "degraded"])
    found = differences.numbers(first, second)
    assert list(found["days_different"]) == [0, 0, 0]
    assert len(differences.changed(found)) == 3


def test_budget_parts_are_means_and_medians_of_shared_days() -> None:
    first = pd.concat([thresholds([1.0] * 3), thresholds([1.0] * 3, symbol="BBB")], ignore_index=True)
    second = first.copy()
    second["k"] = [2.0, 2.0, NAN, 1.0, 2.0, 6.0]
    second["lambda_fee"] = [1.0, 2.0, 3.0, 1.0, 2.0, 10.0]
    found = differences.budget(first, second)
    pooled = found[found["scope"] == differences.POOLED]
    k = one(pooled, quantity="k")
    assert (k["statistic"], k["days"], k["days_different"]) == ("mean", 5, 2)
    assert k["first"] == pytest.approx((1 + 2 + 1 + 2 + 3) / 5)
    assert k["difference"] == pytest.approx((1 + 0 + 0 + 0 + 3) / 5)
    fee = one(found, scope="BBB", quantity="lambda_fee")
    assert (fee["statistic"], fee["first"], fee["second"], fee["difference"]) == ("median", 2, 2, 0)
    assert fee["days_different"] == 1
    assert set(differences.changed(found)["quantity"]) == {"k", "lambda_fee"}


def coverage(rates: list[float], verdicts: list[str], scopes: tuple[str, ...] = ("AAA", "BBB", "CCC")) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "scope": scopes[: len(rates)],
            "series": "overshoot_24h",
            "model": "published",
            "side": "long",
            "tail_probability_bps": 100,
            "exception_rate": rates,
            "verdict": verdicts,
        }
    )


def test_verdicts_are_counted_by_hand() -> None:
    first = coverage([0.01, 0.02, 0.03], ["consistent", "consistent", "rejected: too many"])
    second = coverage([0.01, 0.015, 0.01], ["consistent", "consistent", "consistent"])
    found = differences.verdicts(first, second)
    assert (found.agreeing, found.moved, found.first_only, found.second_only) == (2, 1, 0, 0)
    row = found.differing.iloc[0]
    assert (row["scope"], row["first_exception_rate"], row["second_exception_rate"]) == ("CCC", 0.03, 0.01)
    assert (row["first_verdict"], row["second_verdict"]) == ("rejected: too many", "consistent")
    assert found.is_different
    fewer = differences.verdicts(first, second.iloc[:1])
    assert (len(fewer.differing), fewer.agreeing, fewer.first_only) == (0, 1, 2)
    assert not fewer.is_different
    moved = differences.verdicts(first, first.assign(exception_rate=[0.01, 0.02, 0.04]))
    assert (len(moved.differing), moved.moved) == (0, 1)
    assert moved.is_different


def test_decisions_agree_where_nothing_else_is_asked() -> None:
    columns = ["symbol", "product", "side", "parameter", "in_force", "target", "proposed", "status"]
    rows = [
        ("AAA", "lending", "long", "lt", 8300, 8000, 8000, "tighten"),
        ("AAA", "lending", "long", "ltv", 8000, 7900, None, "hold"),
        ("AAA", "lending", "short", "lt", None, None, None, "withheld"),
    ]
    first = pd.DataFrame(rows, columns=columns)
    assert not differences.decisions(first, first).is_different
    second = first.assign(target=[8000, 7950, None])
    found = differences.decisions(first, second)
    assert (len(found.differing), found.agreeing, found.moved) == (0, 3, 1)
    second = first.assign(proposed=[7950, None, None])
    found = differences.decisions(first, second)
    assert (len(found.differing), found.agreeing) == (1, 2)
    assert tuple(found.differing.loc[0, ["first_proposed", "second_proposed"]]) == (8000, 7950)


@pytest.mark.parametrize("compare", [differences.numbers, differences.budget])
def test_a_row_twice_is_refused_by_its_key(
    compare: Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame],
) -> None:
    rows = thresholds([8000, 8050])
    with pytest.raises(ValueError, match=r"second side.*AAA.*2022-01-02.*more than once"):
        compare(rows, pd.concat([rows, rows.tail(1)]))


def test_an_unknown_product_is_refused() -> None:
    rows = thresholds([8000]).assign(product="option")
    with pytest.raises(ValueError, match="option"):
        differences.numbers(rows, rows)


Sides = st.lists(st.one_of(st.none(), st.integers(1, 9999)), min_size=1, max_size=12)


def side_of(values: list[int | None]) -> pd.DataFrame:
    return thresholds([NAN if value is None else float(value) for value in values])


@settings(deadline=None, max_examples=40)
@given(Sides, Sides)
def test_swapped_sides_negate_every_difference(ours: list[int | None], theirs: list[int | None]) -> None:
    there = differences.numbers(side_of(ours), side_of(theirs))
    back = differences.numbers(side_of(theirs), side_of(ours))
    for name in SIGNED:
        np.testing.assert_array_equal(there[name], -back[name])
    for one_way, other_way in (*MIRRORED, ("days_first_only", "days_second_only")):
        np.testing.assert_array_equal(there[one_way], back[other_way])
        np.testing.assert_array_equal(there[other_way], back[one_way])
    for name in ("days", "days_different", "days_status_different", "largest_on", "last_day"):
        pd.testing.assert_series_equal(there[name], back[name])
    parts = [side_of(values).assign(k=[NAN if v is None else v / 7 for v in values]) for values in (ours, theirs)]
    np.testing.assert_array_equal(
        differences.budget(parts[0], parts[1])["difference"], -differences.budget(parts[1], parts[0])["difference"]
    )


@settings(deadline=None, max_examples=40)
@given(Sides)
def test_equal_sides_do_not_differ(values: list[int | None]) -> None:
    rows = side_of(values)
    found, parts = differences.numbers(rows, rows.copy()), differences.budget(rows, rows.copy())
    assert differences.changed(found).empty
    assert differences.changed(parts).empty
    assert (found["days"] == len(values)).all()
    assert (found["mean_difference"].dropna() == 0).all()
    assert (parts["difference"] == 0).all()
