"""Horizons: paths by hand, both counts of the hour of the touch, and nothing that is bridged or looked ahead at."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from assets import horizons as laid_out
from plimsoll import backtest, horizons

DAY = pd.Timestamp("2022-03-01")


def bars(lows: list[float], highs: list[float] | None = None, symbol: str = "AAA") -> pd.DataFrame:
    """Hours from the start of the day."""
    ts = pd.date_range(DAY, periods=len(lows), freq="h").astype("datetime64[s]")
    return pd.DataFrame({"symbol": symbol, "ts": ts, "low_usd": lows, "high_usd": highs or [200.0] * len(lows)})


def event(side: str = "long", level: float = 90.0, depth: float = 1.0, symbol: str = "AAA") -> pd.DataFrame:
    return pd.DataFrame(
        [(symbol, side, DAY, depth, level, 0.05)],
        columns=["symbol", "side", "target_date", "trigger_depth", "trigger_price_usd", "sigma_daily"],
    )


def path(*dips: tuple[int, float], hours: int = 60) -> list[float]:
    lows = [100.0] * hours
    for hour, low in dips:
        lows[hour] = low
    return lows


def test_the_hour_of_the_touch_is_counted_in_and_both_ends_are_told() -> None:
    found = horizons.follow(event(), bars(path((5, 90.0), (6, 88.0), (9, 80.0), (29, 50.0))))
    told = found.moves.set_index("horizon_hours")
    assert (told["touched_at"] == np.datetime64("2022-03-01T05")).all()
    most, least = told["overshoot_most_log"], told["overshoot_least_log"]
    np.testing.assert_allclose(most.loc[[1, 4, 8, 24]], np.log([90 / 88, 90 / 80, 90 / 80, 90 / 50]))
    np.testing.assert_allclose(least.loc[[1, 4, 8, 24]], np.log([1.0, 90 / 88, 90 / 80, 90 / 80]))
    assert (found.without_bars, found.untouched, found.cut_short) == (0, 0, 0)


def test_shorts_are_judged_by_highs() -> None:
    highs = [100.0] * 60
    highs[3], highs[4] = 121.0, 132.0
    found = horizons.follow(event("short", 120.0), bars([100.0] * 60, highs)).moves.set_index("horizon_hours")
    assert found.loc[1, "overshoot_most_log"] == pytest.approx(np.log(132 / 120))
    assert found.loc[1, "overshoot_least_log"] == pytest.approx(np.log(121 / 120))


def test_what_cannot_be_followed_is_counted_and_never_judged() -> None:
    whole = bars(path((20, 85.0), hours=60))
    other_market = event(symbol="BBB")
    not_reached = event(level=80.0)
    found = horizons.follow(pd.concat([event(), other_market, not_reached]), whole)
    assert (found.without_bars, found.untouched, found.cut_short) == (1, 1, 0)
    assert set(found.moves["symbol"]) == {"AAA"}
    gap = whole.drop(index=24)
    held = horizons.follow(event(), gap)
    assert held.moves["horizon_hours"].tolist() == [1], "a missing hour ends the path"
    assert held.cut_short == 3
    part_day = horizons.follow(event(), whole.drop(index=2))
    assert (part_day.without_bars, len(part_day.moves)) == (1, 0), "a day with a hole may hide the first touch"
    with pytest.raises(ValueError, match="AAA: two bars of 2022-03-01 00:00:00"):
        horizons.follow(event(), pd.concat([whole, whole.head(1)]))


@given(st.lists(st.floats(50, 110), min_size=30, max_size=70), st.integers(24, 60))
@hypothesis_settings(deadline=None, max_examples=60)
def test_longer_is_never_less_and_later_bars_change_nothing(lows: list[float], cut: int) -> None:
    whole = horizons.follow(event(), bars(lows)).moves
    assert (whole["overshoot_most_log"] >= whole["overshoot_least_log"]).all()
    assert whole["overshoot_most_log"].is_monotonic_increasing
    part = horizons.follow(event(), bars(lows[:cut])).moves
    kept = whole[whole["horizon_hours"].isin(part["horizon_hours"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(part.reset_index(drop=True), kept)


def limits(**other: object) -> pd.DataFrame:
    row = {"symbol": "AAA", "side": "long", "target_date": DAY, "trigger_depth": 1.0, "product": "perpetual"}
    row |= {"eta": 0.5, "tail_probability_bps": 100, "absorbed_move": 0.10, "horizon_hours": 3.5}
    row |= {"k_p500": 2.0, "k_p100": 4.0, "k_p50": np.nan}
    return pd.DataFrame([row | other])


def test_limits_are_carried_to_the_horizon_and_published_ones_judged_at_their_own() -> None:
    moves = horizons.follow(event(), bars(path((5, 90.0), (9, 80.0)))).moves
    found = horizons.facts(moves, event(), limits())
    estimate = found[found["model"] == "estimator"].set_index(["series", "tail_probability_bps"])["limit_log"]
    assert estimate["overshoot_1h", 100] == pytest.approx(4 * 0.05 * np.sqrt(1 / 24))
    assert estimate["overshoot_24h", 500] == pytest.approx(2 * 0.05)
    assert (estimate.index.get_level_values(1) != 50).all(), "no quantile, no verdict"
    (published,) = found[found["model"] == "published"].to_dict("records")
    assert (published["series"], published["limit_log"]) == ("overshoot_4h", 0.10)
    assert (published["is_breach"], published["is_breach_at_least"]) == (True, False)
    deep = horizons.facts(moves, event(), limits(product="lending", horizon_hours=np.nan))
    assert set(deep["series"]) == {f"overshoot_{tau}h_deep" for tau in horizons.HORIZON_HOURS}
    table = laid_out.table(found, seed=1).set_index(["scope", "series", "model", "tail_probability_bps"])
    row = table.loc[backtest.POOLED, "overshoot_4h", "published", 100]
    assert (row["exceptions_at_least"], row["exceptions"], row["verdict"]) == (0, 1, "not enough data")
    assert np.isnan(row["independence_p"]), "triggers are no sequence of days"
