"""Policy replay: accounts counted by hand, the way through governance, and comparisons with a known answer."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from plimsoll import replay as policy
from plimsoll.replay import GovernanceRules, Panel, accounts, comparison

Floats = NDArray[np.float64]
FREE = GovernanceRules(grid_bps=1, step_bps=10_000, delay_days=1, down_steps=1, up_steps=1, confirm_days=1)


def panel(close: Floats, low: Floats, *, sigma: float = 0.05, costs: float = 0.0, **wishes: Floats) -> Panel:
    """One market; the high is the larger of both closes."""
    before = np.concatenate([[np.nan], close[:-1]])

    def column(values: Floats) -> Floats:
        return np.asarray(values, dtype=np.float64)[:, None]

    return Panel(
        dates=np.datetime64("2020-01-01") + np.arange(len(close)),
        symbols=("AAA",),
        close=column(close),
        previous_close=column(before),
        low=column(low),
        high=column(np.fmax(close, before)),
        sigma=np.full((len(close), 1), sigma),
        depth=np.ones((len(close), 1)),
        costs=np.full((len(close), 1), costs),
        wishes={name: column(values) for name, values in wishes.items()},
    )


def walk(days: int, seed: int, *, markets: int = 3) -> Panel:
    """Markets with volatility that changes and is known, and rules of different worth."""
    rng = np.random.default_rng(seed)
    sigma = np.exp(np.log(0.03) + np.cumsum(0.03 * rng.standard_normal((days, markets)), axis=0).clip(-1.2, 1.2))
    steps = rng.standard_t(4, (days, 24, markets)) / np.sqrt(2 * 24) * sigma[:, None, :]
    path = np.cumsum(steps, axis=1)
    opening = np.cumsum(np.concatenate([np.zeros((1, markets)), path[:-1, -1]]), axis=0)
    log = opening[:, None, :] + path
    known = {"sharp": 5.0 * sigma, "flat": np.full_like(sigma, 0.15), "same": 10.0 * sigma}
    return Panel(
        dates=np.datetime64("2019-01-01") + np.arange(days),
        symbols=tuple(f"M{n}" for n in range(markets)),
        close=np.exp(log[:, -1]),
        previous_close=np.exp(opening),
        low=np.exp(np.minimum(log.min(axis=1), opening)),
        high=np.exp(np.maximum(log.max(axis=1), opening)),
        sigma=sigma,
        depth=np.ones_like(sigma),
        costs=np.full_like(sigma, 0.005),
        wishes=known,
    )


def test_accounts_counted_by_hand() -> None:
    close = np.array([100.0, 100.0, 80.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 70.0, 60.0])
    low = np.array([100.0, 94.0, 78.0, 80.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 70.0, 60.0])
    one = panel(close, low, rule=np.full(12, 0.10))
    thresholds = np.full((12, 1), 0.85)
    found = accounts.judge(accounts.situation(one), thresholds)
    level = 100 * np.exp(-0.05)
    assert found.day.tolist() == [1, 2, 10, 11]
    np.testing.assert_allclose(found.overshoot[:3], np.log(level / np.array([94.0, 78.0, 70.0])))
    np.testing.assert_allclose(found.room, -np.log(0.85))
    # 80.85 is owed a unit: the low of 78 on day 2 does not pay it, 94 does; but an account of day 1 would not have
    # lived through day 2.
    assert found.is_late.tolist() == [False, True, True, False]
    assert found.is_ruin.tolist() == [True, True, False, False]
    assert found.is_unnecessary.tolist() == [False, False, False, False]
    assert found.is_followed.tolist() == [True, True, False, False]
    np.testing.assert_allclose(found.bad_debt[1], 1 - 78.0 / (0.85 * level))
    calmer = accounts.judge(accounts.situation(one), np.full((12, 1), 0.75))
    assert calmer.is_unnecessary.tolist() == [True, True, False, False], "71.3 was owed, and the price came back"


def test_days_that_are_not_known_yet_are_not_called_unnecessary() -> None:
    close = np.full(9, 100.0)
    low = np.where(np.arange(9) == 5, 90.0, 100.0)
    found = accounts.judge(accounts.situation(panel(close, low)), np.full((9, 1), 0.5))
    assert found.day.tolist() == [5]
    assert not found.is_followed.any()
    assert not found.is_unnecessary.any()


def test_costs_are_paid_from_the_room() -> None:
    close, low = np.array([100.0, 95.0]), np.array([100.0, 80.0])
    thresholds = np.full((2, 1), 0.84)
    free, dear = (
        accounts.judge(accounts.situation(panel(close, low, costs=costs)), thresholds) for costs in (0.0, 0.06)
    )
    assert not free.is_late.any()
    assert dear.is_late.all()
    np.testing.assert_allclose(free.room - dear.room, 0.06)


def test_forced_out_counted_by_hand() -> None:
    thresholds = np.array([0.80, 0.80, 0.80, 0.75, 0.75])[:, None]
    flat = panel(np.full(5, 100.0), np.full(5, 100.0))
    # Opened at 2 or 5 % from liquidation on the three days before, all six owe more than 75; at 10 % none does.
    assert accounts.forced_share(flat, thresholds) == pytest.approx(6 / (5 * len(accounts.DISTANCES)))
    dipped = panel(np.full(5, 100.0), np.array([100.0, 100.0, 96.0, 100.0, 100.0]))
    # The dip on day 2 took the ones at 2 % that were open by then; the one of that evening is left.
    assert accounts.forced_share(dipped, thresholds) == pytest.approx(4 / (5 * len(accounts.DISTANCES)))
    twice = np.array([0.80, 0.80, 0.75, 0.80, 0.75])[:, None]
    # Whoever was forced out cannot be forced out again.
    first, second = 4, 2
    assert accounts.forced_share(flat, twice) == pytest.approx((first + second) / (5 * len(accounts.DISTANCES)))
    assert accounts.forced_share(flat, np.full((5, 1), 0.8)) == 0.0
    assert np.isnan(accounts.forced_share(flat, np.full((5, 1), np.nan)))


def test_the_way_through_governance_by_hand() -> None:
    rules = GovernanceRules()
    falls = np.array([0.80] * 2 + [0.783] * 8)
    np.testing.assert_allclose(
        policy.published_path(falls, rules), [0.80, 0.80, 0.795, 0.795, 0.795, 0.79, 0.79, 0.79, 0.785, 0.785]
    )
    rises = np.array([0.80] + [0.811] * 20)
    path = policy.published_path(rises, rules)
    np.testing.assert_allclose(path[:14], 0.80)
    np.testing.assert_allclose(path[14:17], 0.805)
    assert path.max() == pytest.approx(0.805), "one step is left, and a loosening asks for two"
    wobble = np.array([0.80] + [0.82] * 13 + [0.80] + [0.82] * 13)
    np.testing.assert_allclose(policy.published_path(wobble, rules), 0.80)
    silent = np.array([np.nan, 0.8, np.nan, 0.7])
    np.testing.assert_allclose(policy.published_path(silent, rules), [np.nan, 0.8, 0.8, 0.795])


@given(st.lists(st.floats(0.3, 0.95), min_size=3, max_size=60), st.integers(1, 40))
@hypothesis_settings(deadline=None, max_examples=60)
def test_a_path_keeps_its_rules_and_never_looks_ahead(wishes: list[float], cut: int) -> None:
    rules = GovernanceRules()
    path = policy.published_path(np.asarray(wishes), rules)
    steps = np.round(np.diff(path) * 1e4)
    assert np.abs(steps).max() <= rules.step_bps
    assert (np.round(path * 1e4) % rules.grid_bps == 0).all()
    moved = np.flatnonzero(steps)
    assert (np.diff(moved) >= rules.delay_days).all()
    changed = [*wishes[:cut], *(0.31 for _ in wishes[cut:])]
    np.testing.assert_array_equal(policy.published_path(np.asarray(changed), rules)[:cut], path[:cut])


def test_no_rule_sees_a_day_that_comes_later() -> None:
    whole = walk(260, 3)
    shorter = replace(
        whole,
        **{
            name: getattr(whole, name)[:200]
            for name in ("dates", "close", "previous_close", "low", "high", "sigma", "depth", "costs")
        },
        wishes={name: wish[:200] for name, wish in whole.wishes.items()},
    )
    for rule in whole.wishes:
        thresholds = [
            policy.published_path(comparison.wanted(one, rule, np.ones(1))[:, 0], GovernanceRules())
            for one in (whole, shorter)
        ]
        np.testing.assert_array_equal(thresholds[0][:200], thresholds[1])
        late = [
            accounts.judge(accounts.situation(one), path)
            for one, path in zip((whole, shorter), thresholds, strict=True)
        ]
        early = late[0].day < 200
        np.testing.assert_array_equal(late[0].is_late[early], late[1].is_late)


def test_a_larger_wish_breaches_less_and_costs_threshold() -> None:
    found = policy.replay(walk(600, 5), champion="sharp", rules=FREE, seed=1)
    for _, curve in found.curves.groupby("rule"):
        assert (np.diff(curve["mean_threshold"]) < 0).all()
        assert (np.diff(curve["breach_rate"]) <= 0).all()
        assert (np.diff(curve["bad_debt"]) <= 0).all()
        assert (np.diff(curve["unnecessary_share"]) >= 0).all()


def test_a_rule_that_knows_volatility_beats_one_that_does_not() -> None:
    found = policy.replay(walk(3000, 7), champion="sharp", rules=FREE, seed=1)
    flat = found.pairs[found.pairs["rule"] == "flat"].set_index(["level", "equal"])
    assert flat.loc[(0.05, "mean_threshold"), "verdict"] == "champion breaches less"
    assert flat.loc[(0.05, "breach_rate"), "verdict"] == "champion's threshold is higher"
    twin = found.pairs[found.pairs["rule"] == "same"].set_index(["level", "equal"])
    assert twin["factor"].to_numpy() == pytest.approx(twin["champion_factor"].to_numpy() / 2, rel=0.02)
    assert twin.loc[(0.05, "mean_threshold"), "verdict"] == "no difference beyond chance"
    assert twin.loc[(0.05, "breach_rate"), "verdict"] == "same mean threshold"
    worse = policy.replay(walk(3000, 7), champion="flat", rules=FREE, seed=1).pairs
    mine = worse[worse["rule"] == "sharp"].set_index(["level", "equal"])
    assert mine.loc[(0.05, "mean_threshold"), "verdict"] == "champion breaches more"


def test_parameters_in_force_stand_still_and_answer_for_their_days_only() -> None:
    one = walk(400, 9)
    wish = np.full_like(one.sigma, 0.2)
    wish[:100] = np.nan
    wish[:, 2] = np.nan
    made = replace(one, wishes={"sharp": one.wishes["sharp"], "in_force": wish})
    found = policy.replay(made, champion="sharp", constant=("in_force",), seed=1)
    row = found.rules.set_index("rule").loc["in_force"]
    assert row["market_days"] == 300 * 2
    assert row["mean_threshold"] == pytest.approx(np.exp(-0.205))
    assert row["forced_share"] == 0
    assert row["peak_to_trough"] == pytest.approx(1)
    assert found.rules.set_index("rule").loc["sharp", "market_days"] == 1200


def test_a_short_is_the_long_of_inverted_prices() -> None:
    one = walk(300, 11)
    other = policy.mirrored(one)
    np.testing.assert_allclose(other.low, 1 / one.high)
    np.testing.assert_allclose(policy.mirrored(other).low, one.low)
    day, market = accounts.triggers(other)
    rise = np.log(one.high[day, market] / one.previous_close[day, market])
    assert (rise >= one.sigma[day, market] - 1e-12).all()


def test_what_cannot_be_compared_is_said() -> None:
    one = walk(60, 13)
    none = replace(one, wishes={"sharp": one.wishes["sharp"], "in_force": np.full_like(one.sigma, np.nan)})
    found = policy.replay(none, champion="sharp", constant=("in_force",), seed=1)
    assert found.pairs["verdict"].str.startswith("not comparable").all()
    assert found.rules.set_index("rule").loc["in_force", "triggers"] == 0
    with pytest.raises(ValueError, match="no rule best in the panel"):
        policy.replay(one, champion="best", seed=1)


def rows(**changes: object) -> pd.DataFrame:
    base = {
        "date": pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-02"]),
        "symbol": ["BBB", "BBB", "AAA"],
        "close_usd": [1.0, 2.0, 3.0],
        "previous_close_usd": [1.0, 1.0, 3.0],
        "low_usd": [1.0, 1.0, 3.0],
        "high_usd": [1.0, 2.0, 3.0],
        "sigma_daily": [0.1, 0.2, 0.3],
        "depth": [1.0, 1.0, 2.0],
        "costs_log": [0.0, 0.0, 0.01],
        "rule": [0.5, np.nan, 0.7],
    }
    return pd.DataFrame({**base, **changes})


def test_rows_are_laid_out_by_day_and_market() -> None:
    found = policy.panel_of(rows(), ("rule",))
    assert found.symbols == ("AAA", "BBB")
    np.testing.assert_array_equal(found.close, [[np.nan, 1.0], [3.0, 2.0]])
    np.testing.assert_array_equal(found.wishes["rule"], [[np.nan, 0.5], [0.7, np.nan]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"symbol": ["BBB", "AAA", "AAA"]}, "AAA 2020-01-02: stands twice"),
        ({"low_usd": [1.0, 0.0, 3.0]}, "a price is not positive"),
        ({"rule": [0.5, -0.1, 0.7]}, "rule: wants a negative move"),
    ],
)
def test_rows_that_make_no_panel(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        policy.panel_of(rows(**changes), ("rule",))
