"""Slippage: worked examples, what no size or book may do, and which estimate speaks."""

import re
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll import liquidation, slippage
from plimsoll.consensus import effective_deviation, oracle_error_days, staleness_term

AT = pd.Timestamp("2024-08-08 23:54:14")
DAY = date(2024, 8, 8)


def levels(bids: list[tuple[float, float]], asks: list[tuple[float, float]]) -> pd.DataFrame:
    rows = [("bid", n, *one) for n, one in enumerate(bids, 1)] + [("ask", n, *one) for n, one in enumerate(asks, 1)]
    return pd.DataFrame(rows, columns=["side", "level", "price_usd", "quantity"])


def book(
    bids: list[tuple[float, float]] | None = None,
    asks: list[tuple[float, float]] | None = None,
    venue: str = "one",
    at: pd.Timestamp = AT,
) -> slippage.OrderBook:
    bids = bids or [(100.0, 20.0), (99.9, 30.0), (99.5, 40.0), (99.0, 80.0)]
    asks = asks or [(100.1, 20.0), (100.5, 60.0)]
    return slippage.book_of(levels(bids, asks), venue=venue, symbol="AAA", at=at)


def test_worked_example_of_a_book() -> None:
    made = book()
    assert made.mid_usd == pytest.approx(100.05, abs=1e-12)
    walked = slippage.walk_book(made, 150 * 100.05, "long", haircut=0.0)
    assert made.mid_usd * (1 - float(walked.average)) == pytest.approx(99.446667, abs=5e-7)
    assert float(walked.average) == pytest.approx(0.0060303182, abs=5e-11)
    assert float(walked.marginal) == pytest.approx(1.05 / 100.05, abs=1e-15)
    assert float(walked.marginal) == pytest.approx(0.0104947526, abs=5e-11)
    assert walked.depth_usd == pytest.approx(170 * 100.05)


def test_a_short_is_closed_by_buying_asks() -> None:
    walked = slippage.walk_book(book(), 40 * 100.05, "short", haircut=0.0)
    assert float(walked.average) == pytest.approx((20 * 100.1 + 20 * 100.5) / 40 / 100.05 - 1, abs=1e-12)
    assert float(walked.marginal) == pytest.approx(100.5 / 100.05 - 1, abs=1e-12)


@pytest.mark.parametrize(("base", "told"), [(10, 0.0128419656), (50, 0.0503405248), (100, 0.0933891061)])
def test_worked_example_of_a_pool(base: float, told: float) -> None:
    walked = slippage.walk_constant_product(
        base_reserve=1000, quote_reserve_usd=2e6, fee=0.003, notional_usd=base * 2000, side="long"
    )
    assert float(walked.average) == pytest.approx(told, abs=5e-11)
    # Liquidity over every price is a constant product.
    ticks = slippage.walk_ticks(
        lower_usd=[1e-9],
        upper_usd=[1e12],
        liquidity=[np.sqrt(1000 * 2e6)],
        price_usd=2000,
        fee=0.003,
        notional_usd=base * 2000,
        side="long",
    )
    assert float(ticks.average) == pytest.approx(told, abs=5e-11)
    assert float(ticks.marginal) == pytest.approx(float(walked.marginal), abs=1e-10)


def test_worked_example_of_the_square_root_law() -> None:
    peak = liquidation.square_root_impact(sigma_daily=0.04, notional_usd=[1e6, 1e7], adv_usd=1e8, coefficient=1.0)
    np.testing.assert_allclose(peak, [0.0040, 0.01264911], atol=5e-9)
    np.testing.assert_allclose(slippage.average_of_peak(peak)[0], 0.00266667, atol=5e-9)
    other = liquidation.square_root_impact(sigma_daily=0.035, notional_usd=2.5e6, adv_usd=1e8, coefficient=0.9)
    assert float(other) == pytest.approx(0.00498059, abs=5e-9)


@pytest.mark.parametrize(
    ("sigma", "turnover", "permanent", "temporary", "total"),
    [
        (0.0157, 263, 19.85, [22.29, 14.71, 8.49], [32.22, 24.63, 18.41]),
        (0.0226, 87, 21.67, [32.09, 21.17, 12.22], [42.93, 32.01, 23.05]),
    ],
)
def test_published_costs_of_scheduled_trades(
    sigma: float, turnover: float, permanent: float, temporary: list[float], total: list[float]
) -> None:
    found = slippage.almgren_cost(sigma_daily=sigma, volume_share=0.1, turnover=turnover, days=[0.1, 0.2, 0.5])
    np.testing.assert_allclose(1e4 * found.permanent, permanent, atol=0.005)
    np.testing.assert_allclose(1e4 * found.temporary, temporary, atol=0.005)
    np.testing.assert_allclose(1e4 * found.total, total, atol=0.0051)


def test_worked_examples_of_proxies() -> None:
    assert slippage.amihud([0.01, -0.02, 0.015], [1e8, 2e8, 1.5e8]) == pytest.approx(1e-10, rel=1e-12)
    found = slippage.corwin_schultz([101, 103, 102.5], [99, 100.5, 99.8])
    np.testing.assert_allclose(found, [-0.0191362907, 0.0113967125], atol=5e-11)


def test_proxies_find_a_spread_that_is_there() -> None:
    rng = np.random.default_rng(3)
    price = np.cumsum(0.001 * rng.standard_normal((4000, 50)).ravel()).reshape(4000, 50)
    traded = np.exp(price + 0.02 * rng.choice([-1.0, 1.0], price.shape))
    high, low, close = traded.max(axis=1), traded.min(axis=1), traded[:, -1]
    assert slippage.roll(close) == pytest.approx(0.04, abs=0.004)
    assert slippage.abdi_ranaldo(high, low, close) == pytest.approx(0.04, abs=0.004)
    assert np.maximum(slippage.corwin_schultz(high, low), 0).mean() == pytest.approx(0.04, abs=0.004)


def test_proxies_say_nothing_where_they_know_nothing() -> None:
    assert np.isnan(slippage.roll([1.0, 2.0, 4.0, 16.0, 300.0]))
    assert np.isnan(slippage.roll([1.0, 2.0]))
    assert np.isnan(slippage.amihud([np.nan], [1.0]))
    assert np.isnan(slippage.abdi_ranaldo([2.0, np.nan], [1.0, 1.0], [1.5, 1.5]))
    with pytest.raises(ValueError, match="volume_usd 0 at row 2"):
        slippage.amihud([0.1, 0.1], [1.0, 0.0])
    with pytest.raises(ValueError, match="low -1 at row 1: prices are positive"):
        slippage.corwin_schultz([2.0, 2.0], [-1.0, 1.0])


steps = st.lists(st.tuples(st.floats(1e-4, 0.05), st.floats(0.01, 100.0)), min_size=1, max_size=12)


@st.composite
def made_books(draw: st.DrawFn) -> slippage.OrderBook:
    mid = draw(st.floats(0.01, 1e5))
    sides = []
    for sign in (-1, 1):
        found, price = [], mid
        for step, quantity in draw(steps):
            price *= 1 + sign * step
            found.append((price, quantity))
        sides.append(found)
    return slippage.book_of(levels(*sides), venue="v", symbol="AAA", at=AT)


either = st.sampled_from(["long", "short"])


@given(made_books(), either, st.floats(0, 0.95))
def test_a_larger_size_never_costs_less(made: slippage.OrderBook, side: str, haircut: float) -> None:
    depth = slippage.walk_book(made, 0.0, side, haircut=haircut).depth_usd
    walked = slippage.walk_book(made, np.linspace(0, 0.999, 60) * depth, side, haircut=haircut)
    assert walked.is_absorbable.all()
    assert (np.diff(walked.average) >= -1e-12).all() and (np.diff(walked.marginal) >= 0).all()
    assert (walked.average <= walked.marginal + 1e-12).all() and (walked.average > 0).all()
    assert walked.average_at_depth >= walked.average[-1] - 1e-12


@given(made_books(), either, st.floats(0, 0.9), st.floats(0.01, 0.09), st.floats(0, 1.2))
def test_less_depth_costs_more(made: slippage.OrderBook, side: str, haircut: float, more: float, share: float) -> None:
    size = share * slippage.walk_book(made, 0.0, side, haircut=0.0).depth_usd
    calm = slippage.walk_book(made, size, side, haircut=haircut)
    stress = slippage.walk_book(made, size, side, haircut=haircut + more)
    assert not stress.is_absorbable or (calm.is_absorbable and stress.average >= calm.average - 1e-12)
    assert stress.depth_usd < calm.depth_usd


@given(made_books(), either, st.floats(1e-3, 1e3), st.floats(0, 0.999))
def test_the_unit_of_price_says_nothing(made: slippage.OrderBook, side: str, scale: float, share: float) -> None:
    def again(price: np.ndarray, depth: np.ndarray) -> list[tuple[float, float]]:
        return list(zip(price * scale, np.diff(depth, prepend=0.0), strict=True))

    other = book(again(made.bid_usd, made.bid_depth), again(made.ask_usd, made.ask_depth))
    size = share * slippage.walk_book(made, 0.0, side).depth_usd
    one, two = slippage.walk_book(made, size, side), slippage.walk_book(other, size * scale, side)
    assert float(two.average) == pytest.approx(float(one.average), rel=1e-6, abs=1e-9)


@given(made_books(), either, st.floats(0, 0.95), st.floats(1.0001, 1e6))
def test_an_exhausted_book_never_gives_a_number(
    made: slippage.OrderBook, side: str, haircut: float, beyond: float
) -> None:
    depth = slippage.walk_book(made, 0.0, side, haircut=haircut).depth_usd
    walked = slippage.walk_book(made, [depth * 0.99, depth * beyond], side, haircut=haircut)
    assert list(walked.is_absorbable) == [True, False]
    assert np.isnan(walked.average[1]) and np.isnan(walked.marginal[1])
    said = slippage.slippage_of([made], "AAA", side, [depth * beyond], DAY, haircut=haircut)
    assert np.isnan(said.value).all() and said.is_exhausted.all() and "exhausted" in said.note[0]
    # Alone it makes no slippage either.
    assert np.isnan(slippage.largest_admissible([said]).value).all()


@given(made_books(), either, st.integers(0, 2**32 - 1))
def test_the_order_of_rows_says_nothing(made: slippage.OrderBook, side: str, seed: int) -> None:
    rows = levels(
        list(zip(made.bid_usd, np.diff(made.bid_depth, prepend=0.0), strict=True)),
        list(zip(made.ask_usd, np.diff(made.ask_depth, prepend=0.0), strict=True)),
    )
    one, two = (
        slippage.book_of(frame, venue="v", symbol="AAA", at=AT)
        for frame in (rows, rows.sample(frac=1, random_state=seed))
    )
    size = 0.5 * made.mid_usd
    assert (
        slippage.walk_book(one, size, side).average.tobytes() == slippage.walk_book(two, size, side).average.tobytes()
    )


@pytest.mark.parametrize(
    ("change", "reason", "row", "words"),
    [
        (lambda f: f.assign(side=["bid", "buy", "ask", "ask"]), "unknown_side", 2, "side 'buy' is neither bid nor ask"),
        (lambda f: f.assign(level=[1, 1.5, 1, 2]), "level", 2, "level 1.5 is not 1, 2"),
        (lambda f: f.assign(level=[0, 1, 1, 2]), "level", 1, "level 0"),
        (lambda f: f.assign(level=[1, 1, 1, 2]), "level_twice", 2, "level 1 of side bid stands twice"),
        (lambda f: f.assign(level=[1, 2, 1, 3]), "level_missing", 4, "level 3 of side ask"),
        (lambda f: f.assign(price_usd=[100, 99, np.inf, 102]), "price", 3, "price inf is not a positive number"),
        (lambda f: f.assign(price_usd=[100, -99, 101, 102]), "price", 2, "price -99"),
        (lambda f: f.assign(quantity=[1, 1, 1, 0]), "quantity", 4, "quantity 0 is not a positive number"),
        (lambda f: f.assign(quantity=[1, np.nan, 1, 1]), "quantity", 2, "quantity nan"),
        (lambda f: f.assign(price_usd=[100, 100, 101, 102]), "unsorted", 2, "price 100"),
        (lambda f: f.assign(price_usd=[100, 99, 101, 100.5]), "unsorted", 4, "side ask level 2"),
        (lambda f: f.assign(price_usd=[101, 99, 101, 102]), "crossed", 1, "best bid 101 is not below best ask 101"),
    ],
)
def test_what_is_no_book_is_refused_by_venue_symbol_time_and_row(change, reason: str, row: int, words: str) -> None:
    sound = levels([(100.0, 1.0), (99.0, 1.0)], [(101.0, 1.0), (102.0, 1.0)])
    assert slippage.book_of(sound, venue="v", symbol="AAA", at=AT).mid_usd == 100.5
    with pytest.raises(slippage.BookError, match=re.escape(f"v AAA 2024-08-08 23:54:14: row {row}: ")) as caught:
        slippage.book_of(change(sound), venue="v", symbol="AAA", at=AT)
    assert (caught.value.reason, caught.value.row_number) == (reason, row)
    assert words in str(caught.value)
    with pytest.raises(slippage.BookError, match=re.escape(f"row {row + 100}: ")):
        slippage.book_of(change(sound).assign(row_number=range(101, 105)), venue="v", symbol="AAA", at=AT)


def test_a_book_with_one_side_is_refused() -> None:
    sound = levels([(100.0, 1.0)], [(101.0, 1.0)])
    for missing in ("bid", "ask"):
        with pytest.raises(slippage.BookError, match=f"no level of side {missing}") as caught:
            slippage.book_of(sound[sound["side"] != missing], venue="v", symbol="AAA", at=AT)
        assert caught.value.reason == "one_sided"


@pytest.mark.parametrize("size", [0.0, 5e-324, 1e-300, 1.0])
def test_the_smallest_size_costs_half_the_spread(size: float) -> None:
    walked = slippage.walk_book(book(), size, "long")
    assert float(walked.average) == float(walked.marginal) == pytest.approx(0.05 / 100.05, abs=1e-15)


def test_sizes_and_haircuts_that_are_none_are_refused() -> None:
    for size in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="notional_usd"):
            slippage.walk_book(book(), size, "long")
    with pytest.raises(ValueError, match="haircut 1"):
        slippage.walk_book(book(), 1.0, "long", haircut=1.0)
    with pytest.raises(ValueError, match="say 'long' or 'short'"):
        slippage.walk_book(book(), 1.0, "both")


@given(st.floats(0, 0.99), st.floats(0, 0.05), either)
def test_ticks_equal_a_constant_product_and_cross_gaps(share: float, fee: float, side: str) -> None:
    root = np.sqrt(1000 * 2e6)
    pieces = [500, 1500, 1990, 2010, 2600, 9000]
    whole = {"base_reserve": 1000, "quote_reserve_usd": 2e6}
    wide = slippage.walk_ticks(
        lower_usd=pieces[:-1],
        upper_usd=pieces[1:],
        liquidity=[root] * 5,
        price_usd=2000,
        fee=fee,
        notional_usd=share * 4e5,
        side=side,
    )
    plain = slippage.walk_constant_product(**whole, fee=fee, notional_usd=share * 4e5, side=side)
    assert float(wide.average) == pytest.approx(float(plain.average), abs=1e-9)
    assert float(wide.marginal) == pytest.approx(float(plain.marginal), abs=1e-9)


def test_ticks_end_where_liquidity_does() -> None:
    made = {"lower_usd": [90.0, 99.0], "upper_usd": [95.0, 101.0], "liquidity": [1e4, 1e4], "price_usd": 100.0}
    sold = slippage.walk_ticks(**made, fee=0.0, notional_usd=[0.0, 400.0, 503.0, 1e5], side="long")
    assert list(sold.is_absorbable) == [True, True, True, False]
    assert float(sold.average[0]) == pytest.approx(0.0, abs=1e-12) and np.isnan(sold.average[3])
    # 99 USD are left behind after 503.8 USD; the next liquidity begins at 95.
    beyond = slippage.walk_ticks(**made, fee=0.0, notional_usd=[503.0, 506.0], side="long")
    assert 0.009 < beyond.marginal[0] < 0.011 and beyond.marginal[1] > 0.05
    bought = slippage.walk_ticks(**made, fee=0.0, notional_usd=[400.0, 1e5], side="short")
    assert list(bought.is_absorbable) == [True, False] and 0 < bought.average[0] < bought.marginal[0] < 0.01
    nothing = slippage.walk_ticks(**{**made, "price_usd": 80.0}, fee=0.0, notional_usd=[1.0], side="long")
    assert not nothing.is_absorbable.any() and np.isnan(nothing.average).all()
    with pytest.raises(ValueError, match="range 2: 94 to 101"):
        slippage.walk_ticks(**{**made, "lower_usd": [90.0, 94.0]}, fee=0.0, notional_usd=1.0, side="long")


def test_a_pool_cannot_sell_what_it_has_not() -> None:
    walked = slippage.walk_constant_product(
        base_reserve=10, quote_reserve_usd=1000, fee=0.0, notional_usd=[500, 1000, 2000], side="short"
    )
    assert list(walked.is_absorbable) == [True, False, False]
    assert walked.average[0] == pytest.approx(1.0) and np.isnan(walked.average[1:]).all()


def at(text: str) -> pd.Timestamp:
    return pd.Timestamp(text)


def test_a_day_uses_the_newest_book_before_its_end() -> None:
    cheap, dear = [(100.0, 1e6)], [(99.0, 1e6)]
    books = [
        book(cheap, at=at("2024-08-09 00:00:00")),
        book(dear, at=at("2024-08-08 12:00:00")),
        book(cheap, at=at("2024-08-08 11:00:00")),
    ]
    said = slippage.slippage_of(books, "AAA", "long", [1.0, 5.0], DAY)
    alone = slippage.slippage_of(books[1:2], "AAA", "long", [1.0, 5.0], DAY)
    assert list(said.source) == ["one 2024-08-08 12:00:00"] * 2
    assert said.value.tobytes() == alone.value.tobytes(), "what comes after the day's end moves nothing"
    later = slippage.slippage_of(books, "AAA", "long", 1.0, date(2024, 8, 9))
    assert str(later.source) == "one 2024-08-09 00:00:00"


@pytest.mark.parametrize(
    ("symbol", "day", "price", "words"),
    [
        ("BBB", DAY, None, "no book"),
        ("AAA", date(2024, 8, 7), None, "no book"),
        ("AAA", date(2024, 8, 12), None, "too old: one 4.0 days, more than 3"),
        ("AAA", DAY, 140_000.0, "mid 100.05 lies far from the price 140000"),
    ],
)
def test_why_there_is_no_book(symbol: str, day: date, price: float | None, words: str) -> None:
    said = slippage.slippage_of([book()], symbol, "long", [1.0], day, price_usd=price)
    assert np.isnan(said.value[0]) and words in said.note[0] and not said.is_exhausted[0]
    assert np.isnan(said.at_least[0])


def test_a_book_that_is_three_days_old_speaks_and_one_second_more_is_too_much() -> None:
    for text, is_known in (("2024-08-06 00:00:00", True), ("2024-08-05 23:59:59", False)):
        said = slippage.slippage_of([book(at=at(text))], "AAA", "long", 1.0, DAY)
        assert np.isfinite(said.value) == is_known


def test_each_size_goes_to_the_cheapest_venue_that_takes_it_whole() -> None:
    shallow = book([(100.0, 10.0)], [(100.1, 10.0)], venue="shallow")
    deep = book([(99.0, 1000.0)], [(101.0, 1000.0)], venue="deep")
    for books in ([shallow, deep], [deep, shallow]):
        said = slippage.slippage_of(books, "AAA", "long", [100.0, 5000.0, 1e6], DAY)
        assert [text.split(" ")[0] for text in said.source] == ["shallow", "deep", ""]
        assert list(said.is_exhausted) == [False, False, True]
        assert said.value[1] == pytest.approx(0.01) and said.at_least[2] == pytest.approx(0.01)
        assert "50,000 USD" in said.note[2]


def law(sizes: list[float], adv: float = 1e8) -> slippage.Estimate:
    return slippage.law_estimate(sigma_daily=0.04, notional_usd=sizes, adv_usd=adv, coefficient=1.0)


def test_the_largest_estimate_binds_and_the_others_are_explained() -> None:
    sizes = [1000.0, 8000.0, 1e6]
    said = slippage.slippage_of([book()], "AAA", "long", sizes, DAY)
    found = slippage.largest_admissible([law(sizes), said])
    assert list(found.binding) == ["order_book", "order_book", "order_book (at least)"]
    assert found.value[1] == said.value[1] > law(sizes).value[1]
    assert found.value[2] == said.at_least[2] > law(sizes).value[2]
    assert list(found.note[:2]) == ["", ""] and found.note[2].startswith("order_book: exhausted: 8,504 USD")
    thin = slippage.largest_admissible([law(sizes, adv=1e3), said])
    assert list(thin.binding) == ["square_root"] * 3
    unknown = slippage.largest_admissible([law(sizes, adv=np.nan), said])
    assert np.isnan(unknown.value[2]) and unknown.binding[2] == "none" and np.isfinite(unknown.value[:2]).all()
    assert unknown.note[2].startswith("square_root: traded volume unknown; order_book: exhausted")
    none = slippage.largest_admissible([slippage.slippage_of([], "AAA", "long", sizes, DAY), law(sizes)])
    assert none.value.tobytes() == law(sizes).value.tobytes() and list(none.note) == ["order_book: no book"] * 3
    with pytest.raises(ValueError, match="no estimate"):
        slippage.largest_admissible([])


@given(made_books(), either, st.floats(1e3, 1e9))
def test_the_budgets_slippage_never_falls_as_sizes_grow(made: slippage.OrderBook, side: str, adv: float) -> None:
    depth = slippage.walk_book(made, 0.0, side).depth_usd
    sizes = list(np.linspace(0, 3, 90) * depth)
    said = slippage.slippage_of([made], "AAA", side, sizes, DAY)
    found = slippage.largest_admissible([law(sizes, adv=adv), said]).value
    assert np.isfinite(found).all() and (np.diff(found) >= -1e-12).all()


def test_worked_example_of_the_time_to_sell() -> None:
    sale = liquidation.sale_hours(notional_usd=2e7, adv_usd=4e8, participation=0.05)
    found = liquidation.horizon_parts(oracle_hours=0.1, keeper_hours=0.5, auction_hours=0.5, sale=sale)
    assert float(found.sale) == pytest.approx(8.0, abs=1e-12)
    assert float(found.total) / 24 == pytest.approx(0.379167, abs=5e-7)


hours = st.floats(0, 24)


@given(hours, hours, hours, st.integers(1, 9), st.floats(0, 1e9), st.floats(1e5, 1e11), st.floats(0.01, 30))
def test_parts_sum_to_the_horizon(
    oracle: float, keeper: float, auction: float, count: int, size: float, adv: float, floor: float
) -> None:
    sale = liquidation.sale_hours(notional_usd=size, adv_usd=adv, participation=0.05)
    parts = liquidation.horizon_parts(
        oracle_hours=oracle,
        keeper_hours=keeper,
        auction_hours=auction,
        round_count=count,
        sale=sale,
        floor_hours=floor,
    )
    added = parts.oracle + parts.keeper + parts.auction + parts.sale + parts.floor
    assert float(added) == pytest.approx(float(parts.total), rel=1e-12)
    whole = liquidation.horizon_hours(
        base_hours=oracle + keeper + count * auction,
        notional_usd=size,
        adv_usd=adv,
        participation=0.05,
        floor_hours=floor,
    )
    assert float(whole) == float(parts.total)


@pytest.mark.parametrize(
    ("close_factor", "target", "count"),
    [(0.5, 0.05, 5), (0.5, 0.25, 2), (0.5, 0.125, 3), (0.9, 0.1, 1), (0.9, 0.01, 2), (1.0, 0.05, 1), (0.1, 0.9, 1)],
)
def test_rounds_until_the_target(close_factor: float, target: float, count: int) -> None:
    assert liquidation.rounds(close_factor, target) == count
    assert (1 - close_factor) ** count <= target * (1 + 1e-12)


def test_parts_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="keeper_hours"):
        liquidation.horizon_parts(oracle_hours=0, keeper_hours=-1, auction_hours=0)
    with pytest.raises(ValueError, match="round_count 0"):
        liquidation.horizon_parts(oracle_hours=0, keeper_hours=0, auction_hours=0, round_count=0)
    with pytest.raises(ValueError, match="close_factor 0"):
        liquidation.rounds(0, 0.1)
    with pytest.raises(ValueError, match="target 1"):
        liquidation.rounds(0.5, 1.0)


def test_an_old_price_adds_to_the_oracles_error() -> None:
    assert float(staleness_term(0.04, 86400 / 4)) == pytest.approx(0.02)
    assert effective_deviation(0.005, 0.001, 0.04, 86400 / 4).total == pytest.approx(0.026)
    spread, venues = np.array([0.001, 0.001]), np.array([3.0, 3.0])
    plain = oracle_error_days(0.005, spread, venues, "long")
    old = oracle_error_days(0.005, spread, venues, "long", staleness=staleness_term([0.04, 0.08], 86400 / 4))
    np.testing.assert_allclose(old - plain, [0.02, 0.04])
    few = oracle_error_days(0.005, spread, np.array([2.0, 3.0]), "long", staleness=0.02)
    assert few[0] == pytest.approx(1 - (1 - 0.026) ** 2)
    with pytest.raises(ValueError, match="age_p95_seconds"):
        staleness_term(0.04, -1.0)
