"""Scaling: an exponent put in is found again, from windows that had ended, and judged on days it had not seen."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from plimsoll import scaling

DEFAULT = {"shallow": 0.30, "deep": 0.25}
DAYS = 560
FIRST = pd.Timestamp("2019-01-01")


@cache
def history(
    seed: int = 1, *, eta: float = 0.4, stretch: float = 1.25, days: int = DAYS, depths: tuple[float, ...] = (1.0,)
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Events and moves in which every trigger's move grows like its same-day one, stretched, times a power of time."""
    rng = np.random.default_rng(seed)
    dates = pd.date_range(FIRST, periods=days)
    events, moves = [], []
    for symbol in ("AAA", "BBB"):
        for side in ("long", "short"):
            for depth in depths:
                same_day = (1 + depth) * rng.pareto(4.0, days) + 0.01
                key = {"symbol": symbol, "side": side, "target_date": dates, "trigger_depth": depth}
                one = pd.DataFrame({**key, "sigma_daily": 0.05, "overshoot_sigma": same_day})
                events.append(one)
                touched = (dates + pd.Timedelta(hours=6)).to_numpy("datetime64[h]")
                for hours in scaling.FOLLOWED_HOURS:
                    most = 0.05 * same_day * stretch * (hours / 24) ** eta
                    told = {"touched_at": touched, "overshoot_most_log": most, "overshoot_least_log": 0.9 * most}
                    moves.append(pd.DataFrame({**key, "horizon_hours": hours, **told}))
    return pd.concat(events, ignore_index=True), pd.concat(moves, ignore_index=True)


def estimate(paths: pd.DataFrame, turn: str = "2022-01-01", **other: object) -> scaling.Scaling:
    given_ = {"side": "long", "depth_class": "shallow", "default_eta": 0.3, "seed": 4, "p": 0.05, "draws": 60}
    return scaling.estimate(paths, turn=pd.Timestamp(turn), **(given_ | other))


@pytest.mark.parametrize(("eta", "stretch"), [(0.4, 1.25), (0.2, 1.0)])
def test_what_was_put_in_is_found_again(eta: float, stretch: float) -> None:
    events, moves = history(eta=eta, stretch=stretch, depths=(1.0, 1.5, 2.0))
    paths = scaling.followed(moves, events)
    found = estimate(paths)
    assert (found.eta, found.stretch) == pytest.approx((eta, stretch), rel=1e-9)
    assert (found.eta_low, found.stretch_high) == pytest.approx((eta, stretch), rel=1e-9), "no noise, no width"
    assert (found.depths, found.dates, found.triggers) == ((1.0, 1.5), DAYS, 4 * DAYS)
    assert found.state == "estimated"
    assert estimate(paths, depth_class="deep").depths == (2.0,)


def test_noise_gives_an_interval_around_the_truth() -> None:
    events, moves = history(eta=0.35)
    rng = np.random.default_rng(3)
    noisy = moves.assign(overshoot_most_log=moves["overshoot_most_log"] * rng.lognormal(0, 0.3, len(moves)))
    found = estimate(scaling.followed(noisy, events), draws=200)
    assert found.eta_low < 0.35 < found.eta_high
    assert 0.01 < found.eta_high - found.eta_low < 0.2
    assert found.stretch_low < found.stretch < found.stretch_high


def test_a_faster_growth_than_the_square_root_is_capped_and_says_so() -> None:
    events, moves = history(eta=0.7)
    found = estimate(scaling.followed(moves, events))
    assert (found.eta, found.state) == (0.5, "estimated, capped at 0.5")
    assert found.eta_low == pytest.approx(0.7), "the interval shows what was found"


def test_too_few_dates_are_the_default_in_words() -> None:
    events, moves = history(days=99)
    found = estimate(scaling.followed(moves, events))
    assert (found.eta, found.stretch, found.depths) == (0.3, 1.0, ())
    assert np.isnan([found.eta_low, found.stretch_high]).all()
    assert found.state == "horizon scaling untested: 99 trigger dates with hourly bars, 100 are needed"
    events, moves = history(days=150)
    lacking = estimate(scaling.followed(moves, events), p=0.01)
    assert lacking.state.startswith("horizon scaling untested: no depth has 100 trigger dates and 10 triggers beyond")
    none = estimate(scaling.followed(moves[:0], events))
    assert none.state == "horizon scaling untested: 0 trigger dates with hourly bars, 100 are needed"


def test_only_whole_paths_count_and_in_sigmas() -> None:
    events, moves = history(days=120)
    cut = moves[(moves["horizon_hours"] < 24) | (moves["target_date"] > "2019-01-10")]
    paths = scaling.followed(cut, events)
    assert paths["target_date"].min() == pd.Timestamp("2019-01-11")
    row = paths.iloc[0]
    assert row["h24"] == pytest.approx(1.25 * row["same_day_sigma"])
    least = scaling.followed(moves, events, "least")
    assert least["h24"].iloc[0] == pytest.approx(0.9 * 1.25 * least["same_day_sigma"].iloc[0])
    with pytest.raises(ValueError, match="no horizon of 2 hours"):
        scaling.followed(moves[moves["horizon_hours"] != 2], events)


def test_a_window_counts_when_it_has_ended() -> None:
    """Touched at six, a day's window ends with the bar that begins at six the day after: known at seven."""
    events, moves = history(days=130)
    paths = scaling.followed(moves, events)
    assert estimate(paths, "2019-05-01 06:59").dates == 119
    assert estimate(paths, "2019-05-01 07:00").dates == 120


@given(st.integers(150, DAYS - 10), st.integers(2, 2**16))
@hypothesis_settings(deadline=None, max_examples=4)
def test_estimates_do_not_look_ahead(cut: int, seed: int) -> None:
    day = FIRST + pd.Timedelta(days=cut)
    ours, theirs = [], []
    for bucket, (events, moves) in (
        (ours, history()),
        (theirs, tuple(_mixed(a, b, day) for a, b in zip(history(), history(seed, eta=0.1, stretch=3.0), strict=True))),
    ):
        paths = scaling.followed(moves, events)
        as_of = pd.Series(pd.date_range(FIRST + pd.Timedelta(days=140), day - pd.Timedelta(days=1)))
        bucket.append(scaling.walk(paths, as_of, default_eta=DEFAULT, seed=2, p=0.05))
    pd.testing.assert_frame_equal(ours[0], theirs[0], check_exact=True)


def _mixed(one: pd.DataFrame, other: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
    return pd.concat([one[one["target_date"] < day], other[other["target_date"] >= day]], ignore_index=True)


def test_a_leak_of_the_following_quarter_moves_the_estimate() -> None:
    """The property above can fail: with the next turn in place of its own, the future is in the estimate."""
    day = FIRST + pd.Timedelta(days=500)
    events, moves = (_mixed(a, b, day) for a, b in zip(history(), history(9, eta=0.1), strict=True))
    later = str(day + pd.Timedelta(days=100))
    honest, leaky = (estimate(scaling.followed(m, e), later) for e, m in (history(), (events, moves)))
    assert honest.eta != leaky.eta


def test_any_subset_of_days_gives_the_same_turns() -> None:
    events, moves = history()
    paths = scaling.followed(moves, events)
    days = pd.Series(pd.date_range("2019-06-01", "2020-07-05"))
    whole = scaling.walk(paths, days, default_eta=DEFAULT, seed=2, p=0.05)
    part = scaling.walk(paths, days[days >= "2020-05-20"], default_eta=DEFAULT, seed=2, p=0.05)
    again = whole[whole["turn"] >= "2020-04-01"].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, part, check_exact=True)
    assert list(whole["turn"].unique()[:2]) == [pd.Timestamp("2019-04-01"), pd.Timestamp("2019-07-01")]


def test_out_of_sample_the_estimated_scaling_holds_where_the_default_fails() -> None:
    events, moves = history(eta=0.15, stretch=1.4)
    dates = events["target_date"]
    k = {f"k_p{bps}": (1 + 1.0) * ((bps / 1e4) ** -0.25 - 1) + 0.01 for bps in (500, 100, 50)}
    keys = events[scaling.KEYS]
    quantiles = keys.assign(as_of=dates - pd.Timedelta(days=1), **k)
    walked = scaling.walk(scaling.followed(moves, events), quantiles["as_of"], default_eta=DEFAULT, seed=2, p=0.05)
    facts = scaling.judged(moves, events, quantiles, walked, default_eta=DEFAULT)
    assert facts["target_date"].min() == pd.Timestamp("2019-07-02"), "the first turn with a hundred ended dates"
    table = scaling.validation(facts, seed=1).set_index(["side", "horizon_hours", "tail_probability_bps", "variant"])
    for hours in scaling.TESTED_HOURS:
        assert table.loc[("long", hours, 500, "estimated"), "verdict"] == "consistent"
        assert table.loc[("long", hours, 500, "default"), "verdict"] == "too many"
    default = table.loc[("long", 1, 500, "default")]
    kept = facts[(facts["variant"] == "default") & (facts["horizon_hours"] == 1) & (facts["side"] == "long")]
    kept = kept[kept["tail_probability_bps"] == 500]
    assert default["mean_limit_sigma"] == pytest.approx(k["k_p500"] * (1 / 24) ** 0.30)
    assert (default["triggers"], default["exceptions"]) == (len(kept), kept["is_breach"].sum())
    assert default["exceptions_at_least"] <= default["exceptions"]
    stretched = table.loc[("long", 24, 500, "default, stretched"), "mean_limit_sigma"]
    assert stretched == pytest.approx(1.4 * k["k_p500"], rel=1e-6)
    few = scaling.validation(facts[facts["target_date"] < "2019-09-30"], seed=1)
    assert set(few["verdict"]) == {"not enough data"}
