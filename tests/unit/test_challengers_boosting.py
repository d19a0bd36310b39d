"""Boosted excursion quantiles: features, walk-forward, conformal overlay, and the guard against look-ahead."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from plimsoll.challengers import boosting, conformal, features, lookahead, trees
from plimsoll.challengers.panel import FORECAST_COLUMNS

TARGET = ["symbol", "as_of", "target_date", "sigma_daily"]
SPEC = trees.BoostingSpec(
    minimum_rows=300,
    minimum_dates=120,
    minimum_exceedances=1,
    candidates=(trees.Candidate(3, 40, 0.2),),
    iterations=(4, 12),
    reference="AAA",
)
ONE = replace(SPEC, probabilities_bps=(500,))


def panel_of(days: int = 420, markets: int = 3, *, seed: int = 1, weekend: float = 1.0, start: str = "2021-01-01"):
    """Independent sigma-scaled days; at weekends excursions are ``weekend`` times as long."""
    rng = np.random.default_rng(seed)
    date = pd.date_range(start, periods=days)
    rows = []
    for m in range(markets):
        sigma = 0.03 * np.exp(0.3 * np.sin(np.arange(days) / 40 + m))
        long = np.where(date.day_of_week >= 5, weekend, 1.0)
        close = sigma * rng.standard_t(5, days)
        rows.append(
            pd.DataFrame(
                {
                    "symbol": "ABCDEFGH"[m] * 3,
                    "as_of": date - pd.Timedelta(days=1),
                    "target_date": date,
                    "sigma_daily": sigma,
                    "close_log": close,
                    "low_log": long * (np.maximum(-close, 0) + sigma * rng.exponential(0.5, days) - 0.05 * sigma),
                    "high_log": long * (np.maximum(close, 0) + sigma * rng.exponential(0.5, days) - 0.05 * sigma),
                    "volume_usd": 1e6 * rng.lognormal(0, 0.5, days),
                }
            )
        )
    return pd.concat(rows).sort_values(["target_date", "symbol"], ignore_index=True)


PANEL = panel_of()
LAST_QUARTER = PANEL.loc[PANEL["target_date"] >= "2022-01-01", TARGET].reset_index(drop=True)
WALK = boosting.walk(PANEL, LAST_QUARTER, SPEC)


def bits(frame: pd.DataFrame) -> bytes:
    return frame[["quantile_log", "shortfall_log"]].to_numpy(np.float64).tobytes()


# --- features -----------------------------------------------------------------------------------------------------


def test_every_feature_has_a_name_of_its_own_and_a_meaning() -> None:
    names = [one.name for one in features.FEATURES]
    assert len(set(names)) == len(names)
    assert all(one.meaning and "\n" not in one.meaning for one in features.FEATURES)
    assert {one.needs for one in features.FEATURES} - {None} == set(features.OPTIONAL_COLUMNS)


def test_features_are_what_their_meaning_says() -> None:
    at = PANEL[(PANEL["symbol"] == "BBB")].iloc[200]
    got = features.build(PANEL, at.to_frame().T[TARGET].infer_objects(), reference="AAA").iloc[0]
    own = PANEL[(PANEL["symbol"] == "BBB") & (PANEL["target_date"] < at["target_date"])]
    r, low, high, v, s = (
        own[name].to_numpy() for name in ("close_log", "low_log", "high_log", "volume_usd", "sigma_daily")
    )
    sigma = at["sigma_daily"]
    yesterday = PANEL[PANEL["target_date"] == at["as_of"]]
    fall = np.maximum(yesterday["low_log"], 0) / yesterday["sigma_daily"]
    wanted = {
        "abs_return_1": abs(r[-1]) / sigma,
        "abs_return_7": np.abs(r[-7:]).mean() / sigma,
        "long_excursion_30": np.maximum(low[-30:], 0).mean() / sigma,
        "short_excursion_max_30": high[-30:].max() / sigma,
        "range_1": (low[-1] + high[-1]) / sigma,
        "range_to_return_7": (low + high)[-7:].sum() / np.abs(r[-7:]).sum(),
        "downside_deviation_30": np.sqrt(np.mean(np.minimum(r[-30:], 0) ** 2)) / sigma,
        "upside_deviation_7": np.sqrt(np.mean(np.maximum(r[-7:], 0) ** 2)) / sigma,
        "volatility_ratio_30_180": np.sqrt(np.mean(r[-30:] ** 2) / np.mean(r[-180:] ** 2)),
        "sigma_level": np.log(sigma),
        "sigma_change_1": np.log(sigma / s[-1]),
        "sigma_change_7": np.log(sigma / s[-7]),
        "amihud_30": np.log(np.mean(np.abs(r[-30:]) / v[-30:])),
        "volume_change_7": np.log(v[-7:].mean() / v[-30:].mean()),
        "reference_long_1": fall.iloc[0],
        "market_long_mean": fall.mean(),
        "market_long_max": fall.max(),
        "day_of_week": at["target_date"].day_of_week,
        "is_weekend": float(at["target_date"].day_of_week >= 5),
        "age_sessions": np.log(200),
    }
    for name, value in wanted.items():
        assert got[name] == pytest.approx(value, rel=1e-9), name


def test_optional_columns_give_their_features_and_absent_ones_are_named() -> None:
    bare = PANEL.drop(columns="volume_usd")
    assert not {"amihud_30", "venues"} & set(features.available(bare))
    assert features.absent(bare) == tuple(features.OPTIONAL_COLUMNS)
    rich = PANEL.assign(**{name: 2.0 + np.arange(len(PANEL)) for name in features.OPTIONAL_COLUMNS})
    built = features.build(rich, rich.tail(1)[TARGET]).iloc[0]
    assert list(built.index) == [one.name for one in features.FEATURES]
    assert features.absent(rich) == ()
    before = rich[rich["symbol"] == "CCC"].iloc[-2]
    assert built["venues"] == before["venue_count"]
    assert built["implied_to_sigma"] == pytest.approx(
        before["implied_volatility_annual"] / np.sqrt(365) / rich["sigma_daily"].iloc[-1]
    )
    assert built["open_interest_change_7"] == pytest.approx(
        np.log(before["open_interest_usd"] / (before["open_interest_usd"] - 21))
    )


def test_an_unknown_value_stays_unknown_and_a_stale_market_says_nothing() -> None:
    holed = PANEL.copy()
    hole = holed.index[holed["symbol"] == "AAA"][300]
    holed.loc[hole, "low_log"] = np.nan
    built = features.build(holed, holed)
    assert np.isnan(built["long_excursion_7"][hole + 3 * 7])
    assert np.isfinite(built["long_excursion_7"][hole + 3 * 8])
    late = pd.DataFrame({"symbol": ["AAA"], "sigma_daily": [0.03]})
    last = PANEL["target_date"].max()
    for days, is_known in ((features.STALE_DAYS, True), (features.STALE_DAYS + 1, False)):
        asked = late.assign(as_of=last + pd.Timedelta(days=days), target_date=last + pd.Timedelta(days=days + 1))
        assert features.build(PANEL, asked)["abs_return_1"].notna().all() == is_known


def test_the_mean_over_markets_stands_in_for_an_absent_reference() -> None:
    built = features.build(PANEL, LAST_QUARTER, reference="none of them")
    assert built["reference_long_1"].equals(built["market_long_mean"].rename("reference_long_1"))


@given(st.floats(0.1, 10.0))
@settings(max_examples=5, deadline=None)
def test_features_in_sigmas_do_not_depend_on_the_scale(factor: float) -> None:
    scaled = PANEL.assign(**{c: factor * PANEL[c] for c in ("sigma_daily", "close_log", "low_log", "high_log")})
    one, other = features.build(PANEL, LAST_QUARTER), features.build(scaled, scaled[TARGET].loc[PANEL.index[-200:]])
    for name in [*sorted(features.SCALED), "market_long_max", "volatility_ratio_7_30"]:
        assert other[name].to_numpy()[-50:] == pytest.approx(one[name].to_numpy()[-50:], rel=1e-9), name


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.drop(columns="low_log"), "lack the columns low_log"),
        (lambda p: p.iloc[::-1], "not in order of target date and symbol"),
        (lambda p: pd.concat([p.head(1), p]), "row 1, AAA on 2021-01-01: not in order"),
        (lambda p: p.assign(as_of=p["target_date"]), "as_of 2021-01-01 is not before target 2021-01-01"),
        (lambda p: p.head(0), "the panel has no row"),
    ],
)
def test_a_panel_that_cannot_be_is_refused(damage, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        features.build(damage(PANEL), LAST_QUARTER)


# --- boosting -----------------------------------------------------------------------------------------------------


def test_the_table_has_the_shared_shape_and_quantiles_in_order() -> None:
    table = WALK.forecasts
    assert list(table.columns) == list(FORECAST_COLUMNS)
    assert len(table) == len(LAST_QUARTER) * 6
    assert table["quantile_log"].notna().all()
    q = table["quantile_log"].to_numpy().reshape(-1, 3)
    assert (np.diff(q, axis=1) >= 0).all()
    assert table["shortfall_log"].notna().all()
    assert (table["shortfall_log"] > table["quantile_log"]).all()
    assert (np.diff(table["shortfall_log"].to_numpy().reshape(-1, 3), axis=1) >= 0).all()
    assert WALK.absent == tuple(name for name in features.OPTIONAL_COLUMNS if name != "volume_usd")


def test_one_day_alone_gives_the_bits_of_all_days() -> None:
    for at in (len(LAST_QUARTER) - 1, len(LAST_QUARTER) // 2):
        alone = LAST_QUARTER.iloc[[at]]
        known = PANEL[PANEL["target_date"] <= alone["as_of"].iloc[0]]
        of_all = WALK.forecasts.iloc[6 * at : 6 * at + 6]
        assert bits(boosting.forecasts(known, alone, SPEC)) == bits(of_all)


def test_targets_may_come_in_any_order() -> None:
    backwards = boosting.forecasts(PANEL, LAST_QUARTER.iloc[::-1], ONE)
    forwards = boosting.forecasts(PANEL, LAST_QUARTER, ONE)
    key = ["target_date", "symbol", "side"]
    assert bits(backwards.sort_values(key)) == bits(forwards.sort_values(key))


def test_the_number_of_threads_moves_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also without the limit to one thread: then three threads really share the work."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    alone = LAST_QUARTER.tail(3)
    wanted = bits(WALK.forecasts.tail(18))
    with threadpool_limits(3, user_api="openmp"):
        assert bits(boosting.forecasts(PANEL, alone, SPEC)) == wanted
        assert 3 in {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp"}
        monkeypatch.setattr(trees, "_one_thread", lambda: threadpool_limits(3, user_api="openmp"))
        assert bits(boosting.forecasts(PANEL, alone, SPEC)) == wanted


@pytest.mark.parametrize("floor", [1e-6, 0.1])
def test_the_floor_of_excursions_does_not_matter(floor: float) -> None:
    assert (PANEL["low_log"] <= 0).any(), "nothing to floor, nothing tested"
    assert bits(boosting.forecasts(PANEL, LAST_QUARTER, replace(SPEC, floor_sigma=floor))) == bits(WALK.forecasts)


def test_a_quantile_at_the_floor_is_no_quantile() -> None:
    calm = PANEL.assign(low_log=-0.001)
    got = boosting.forecasts(calm, LAST_QUARTER.tail(3), ONE)
    assert got.loc[got["side"] == "long", "quantile_log"].isna().all()
    assert got.loc[got["side"] == "short", "quantile_log"].notna().all()


def test_no_monotone_treatment_of_the_lower_part_matters() -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((900, 4))
    y = rng.gumbel(size=900) + x[:, 0]
    low = y < np.median(y)
    dates = np.repeat(np.arange("2021-01-01", "2021-10-28", dtype="datetime64[D]"), 3)
    other = np.where(low, np.median(y) - 3 * np.abs(np.median(y) - y) ** 1.5 - 0.5, y)
    assert not np.array_equal(y, other)
    plain, treated = (
        trees._grow(trees.Sample(x, z, dates), 500, trees.Candidate(3, 100, 0.1), 8, SPEC) for z in (y, other)
    )
    assert plain.predict(x).min() > np.median(y), "the fitted quantile must lie above what was treated"
    assert plain.trees is not None
    assert plain.predict(x).tobytes() == treated.predict(x).tobytes()


def test_training_ends_a_horizon_before_the_quarter() -> None:
    assert set(WALK.fits["refit_date"]) == {pd.Timestamp("2022-01-01")}
    assert set(WALK.fits["last_training_date"]) == {pd.Timestamp("2021-12-24")}
    assert set(
        boosting.walk(PANEL, LAST_QUARTER.tail(1), replace(ONE, horizon_sessions=0)).fits["last_training_date"]
    ) == {pd.Timestamp("2021-12-31")}


@given(st.integers(0, 12), st.integers(1, 4), st.integers(60, 200))
@settings(max_examples=30, deadline=None)
def test_nested_validation_goes_forward_by_dates_behind_a_gap(horizon: int, blocks: int, days: int) -> None:
    dates = np.repeat(np.arange(days).astype("datetime64[D]"), 2)
    spec = replace(SPEC, horizon_sessions=horizon, blocks=blocks)
    judged_all = []
    for train, judged in trees.cuts(dates, spec):
        first, last = dates[judged].min().astype(int), dates[train].max().astype(int)
        assert first - last == horizon + 1, "as many sessions lie between as an outcome may last"
        assert not (train & judged).any()
        judged_all.append(np.unique(dates[judged]).astype(int))
    assert np.array_equal(np.concatenate(judged_all), np.arange(days // 2, days)), "the later half, each date once"


def test_not_enough_data_is_no_forecast() -> None:
    for short in (replace(ONE, minimum_rows=1075), replace(ONE, minimum_dates=359)):
        walked = boosting.walk(PANEL, LAST_QUARTER.tail(2), short)
        assert walked.forecasts["quantile_log"].isna().all()
        assert set(walked.fits["rows"]) == {358 * 3}
    just = replace(ONE, minimum_rows=1074, minimum_dates=358)
    assert boosting.forecasts(PANEL, LAST_QUARTER.tail(2), just)["quantile_log"].notna().all()


def test_too_few_exceedances_are_no_shortfall() -> None:
    seen = int(boosting.walk(PANEL, LAST_QUARTER.tail(1), ONE).fits["exceedances"].iloc[0])
    for least, is_known in ((seen, True), (seen + 1, False)):
        got = boosting.forecasts(PANEL, LAST_QUARTER.tail(1), replace(ONE, minimum_exceedances=least))
        assert got["quantile_log"].notna().all()
        assert bool(got["shortfall_log"].notna().iloc[0]) == is_known


def test_a_target_without_sigma_or_with_an_as_of_before_the_training_has_no_forecast() -> None:
    targets = pd.concat([LAST_QUARTER.tail(1)] * 3, ignore_index=True)
    targets.loc[1, "sigma_daily"] = np.nan
    targets.loc[2, "as_of"] = pd.Timestamp("2021-12-23")
    known = boosting.forecasts(PANEL, targets, ONE)["quantile_log"].notna().to_numpy().reshape(3, 2)
    assert known.tolist() == [[True, True], [False, False], [False, False]]


def test_without_trees_the_forecast_is_the_pooled_empirical_quantile_times_sigma() -> None:
    flat = replace(SPEC, iterations=(0,), minimum_exceedances=1)
    walked = boosting.walk(PANEL, LAST_QUARTER.tail(1), flat)
    train = PANEL[PANEL["target_date"] <= "2021-12-24"]
    days = np.unique(train["target_date"])
    edges = [len(days) // 2, len(days) // 2 + (len(days) - len(days) // 2) // 2, len(days)]
    for side, column in (("long", "low_log"), ("short", "high_log")):
        y = np.log(np.maximum(train[column] / train["sigma_daily"], 0.02)).to_numpy()
        mine = walked.forecasts[walked.forecasts["side"] == side]
        for (_, row), bps in zip(mine.iterrows(), SPEC.probabilities_bps, strict=True):
            wanted = LAST_QUARTER["sigma_daily"].iloc[-1] * np.exp(np.quantile(y, 1 - bps / 10_000))
            assert row["quantile_log"] == pytest.approx(wanted, rel=1e-12)
        excess = []
        for start, stop in pairwise(edges):
            cut = np.quantile(y[train["target_date"] < days[start - 7]], 0.95)
            judged = y[(train["target_date"] >= days[start]) & (train["target_date"] <= days[stop - 1])]
            excess.append(np.exp(judged[judged > cut] - cut))
        fit = walked.fits[(walked.fits["side"] == side) & (walked.fits["tail_probability_bps"] == 500)].iloc[0]
        assert fit["exceedances"] == sum(map(len, excess))
        assert fit["excess_ratio"] == pytest.approx(np.concatenate(excess).mean(), rel=1e-12)


def test_trees_find_what_is_there_and_importance_says_where() -> None:
    """Weekends run twice as far; an honest measure names the calendar and nothing else."""
    strong = panel_of(700, 3, weekend=2.5, seed=3)
    table = boosting.importance(strong, "2022-12-01", replace(ONE, iterations=(0, 25)))
    table = table[table["side"] == "long"].set_index("group")
    assert (table["iterations"] == 25).all()
    assert table["increase_share"].drop(boosting.WITHOUT_FEATURES).idxmax() == "calendar"
    assert table.loc["calendar", "increase_share"] > 0.1
    assert table.loc["calendar", "p_value"] < 0.01
    assert table.loc[boosting.WITHOUT_FEATURES, "increase_share"] > 0.1
    assert table["increase_share"].drop(["calendar", boosting.WITHOUT_FEATURES]).abs().max() < 0.05
    q = boosting.forecasts(strong, strong[TARGET].tail(21), replace(ONE, iterations=(0, 25)))
    q = q.assign(sigmas=q["quantile_log"] / np.repeat(strong["sigma_daily"].tail(21).to_numpy(), 2))
    is_weekend = q["target_date"].dt.day_of_week >= 5
    assert q.loc[is_weekend, "sigmas"].min() > 1.2 * q.loc[~is_weekend, "sigmas"].max()


def test_importance_without_enough_data_is_empty() -> None:
    for day in ("2021-01-01", "2021-05-01"):
        empty = boosting.importance(PANEL, day, SPEC)
        assert list(empty.columns) == list(boosting.IMPORTANCE_COLUMNS)
        assert empty.empty


def test_a_feature_that_never_varies_is_left_to_the_others() -> None:
    assert boosting.forecasts(PANEL.assign(dispersion_bp=np.nan, venue_count=1.0), LAST_QUARTER.tail(1), ONE).equals(
        boosting.forecasts(PANEL, LAST_QUARTER.tail(1), ONE)
    )


def test_growing_on_does_not_change_the_trees_before() -> None:
    """The number of trees is chosen on one long growth; the chosen number is then grown by itself."""
    built = features.build(PANEL, PANEL).to_numpy()
    sample = trees.Sample(built, np.log(PANEL["high_log"].clip(0.001).to_numpy()), PANEL["target_date"].to_numpy())
    spec = replace(SPEC, iterations=(0, 3, 9))
    stages = trees._staged(sample, built, 500, SPEC.candidates[0], spec)
    alone = [trees._grow(sample, 500, SPEC.candidates[0], count, spec).predict(built) for count in (0, 3, 9)]
    assert [one.tobytes() for one in stages] == [one.tobytes() for one in alone]
    assert len({one.tobytes() for one in alone}) == 3


def test_rearrangement_sorts_and_refuses_what_it_would_mislabel() -> None:
    assert boosting.rearranged(np.array([[3.0, 1.0, 2.0], [np.nan] * 3]))[0].tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="NaN beside numbers"):
        boosting.rearranged(np.array([[3.0, np.nan, 2.0]]))


@pytest.mark.parametrize(
    ("knob", "message"),
    [
        ({"probabilities_bps": (50, 100)}, "most frequent first"),
        ({"probabilities_bps": (5000,)}, "within 1 to 1000"),
        ({"iterations": (10, 5)}, "ascending"),
        ({"candidates": ()}, "at least one candidate"),
        ({"horizon_sessions": -1}, "may not be negative"),
        ({"floor_sigma": 0.0}, "must be positive"),
        ({"minimum_dates": 10}, "too few for 2 blocks"),
    ],
)
def test_knobs_without_meaning_are_refused(knob: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trees.BoostingSpec(**knob)


# --- conformal ----------------------------------------------------------------------------------------------------


def stated(days: int, q: tuple[float, float, float], symbols: tuple[str, ...] = ("AAA",), sides=("long",)):
    date = pd.date_range("2021-01-01", periods=days)
    rows = [
        {
            "symbol": symbol,
            "as_of": day - pd.Timedelta(days=1),
            "target_date": day,
            "side": side,
            "model": "m",
            "tail_probability_bps": bps,
            "quantile_log": level,
            "shortfall_log": 1.5 * level,
        }
        for day in date
        for symbol in symbols
        for side in sides
        for bps, level in zip((500, 100, 50), q, strict=True)
    ]
    return pd.DataFrame(rows)


def outcomes_of(table: pd.DataFrame, values) -> pd.DataFrame:
    keys = table.drop_duplicates(["symbol", "target_date", "side"])[["symbol", "target_date", "side"]]
    return keys.assign(realised_log=values).reset_index(drop=True)


def test_the_stated_probability_after_one_miss_in_a_hundred() -> None:
    errors = np.r_[np.zeros(99), 1.0]
    path = conformal.alpha_path(errors, target=0.01, gamma=0.005)
    assert path[-1] == pytest.approx(0.0100000, abs=1e-12)
    assert path[99] == pytest.approx(0.01495, abs=1e-12)
    table = stated(101, (0.1, 0.2, 0.3))
    log = conformal.overlay(table, outcomes_of(table, np.r_[np.zeros(99), 9.0, np.nan])).log
    log = log[log["tail_probability_bps"] == 100]
    assert log["alpha"].to_numpy() == pytest.approx(path, abs=1e-12)
    assert log["next_alpha"].iloc[-1] == log["alpha"].iloc[-1], "what is not known yet moves nothing"


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=200), st.floats(0.001, 0.1))
@settings(max_examples=30, deadline=None)
def test_the_mean_error_is_what_the_path_says(errors: list[float], gamma: float) -> None:
    path = conformal.alpha_path(errors, target=0.01, gamma=gamma)
    assert np.mean(errors) == pytest.approx(0.01 + (path[0] - path[-1]) / (len(errors) * gamma), abs=1e-9)


def test_quantiles_are_read_in_the_logarithm_of_the_probability_and_never_made_up() -> None:
    p, q = (0.05, 0.01, 0.005), (1.0, 2.0, 3.0)
    assert conformal.quantile_at(0.01, p, q) == (2.0, False)
    assert conformal.quantile_at(np.sqrt(0.05 * 0.01), p, q)[0] == pytest.approx(1.5, abs=1e-12)
    assert conformal.quantile_at(np.sqrt(0.01 * 0.005), p, q)[0] == pytest.approx(2.5, abs=1e-12)
    for alpha in (0.0049, 0.0, -1.0):
        assert conformal.quantile_at(alpha, p, q) == (3.0, True)
    assert conformal.quantile_at(0.005, p, q) == (3.0, False)
    assert conformal.quantile_at(0.05, p, q) == (1.0, False)
    assert conformal.quantile_at(0.9, p, q) == (1.0, True)


@given(st.floats(-0.1, 1.0), st.floats(-0.1, 1.0))
@settings(max_examples=50, deadline=None)
def test_a_rarer_probability_never_gives_a_smaller_loss(one: float, other: float) -> None:
    rare, frequent = sorted([one, other])
    p, q = (0.05, 0.01, 0.005), (1.0, 2.0, 3.0)
    assert conformal.quantile_at(rare, p, q)[0] >= conformal.quantile_at(frequent, p, q)[0]


@pytest.mark.parametrize(("realised", "edge", "level"), [(9.0, 0.0, 0.3), (0.0, 0.055, 0.1)])
def test_the_probability_is_held_one_step_outside_the_stated_ones(realised: float, edge: float, level: float) -> None:
    table = stated(2100, (0.1, 0.2, 0.3))
    got = conformal.overlay(table, outcomes_of(table, realised))
    assert conformal.bounds((0.05, 0.01, 0.005)) == pytest.approx((0.0, 0.055))
    for bps in (500, 100, 50):
        last = got.log[got.log["tail_probability_bps"] == bps].iloc[-1]
        assert last["next_alpha"] == pytest.approx(edge)
        assert last["is_held"]
        row = got.forecasts[got.forecasts["tail_probability_bps"] == bps].iloc[-1]
        assert row["quantile_log"] == level, "the nearest stated quantile, nothing beyond it"
        assert row["is_beyond_stated"]
        assert row["shortfall_log"] == pytest.approx(1.5 * level)
        assert row["model"] == "m_aci"


def test_a_model_that_states_too_little_is_brought_to_the_nominal_rate() -> None:
    rng = np.random.default_rng(4)
    days = 6000
    # Exponential outcomes; what is said to be 5, 1 and 0.5 % is exceeded in 8, 2 and 0.2 % of days.
    table = stated(days, tuple(-np.log([0.08, 0.02, 0.002])))
    realised = outcomes_of(table, rng.exponential(1.0, days))
    got = conformal.overlay(table, realised).forecasts
    middle = got[got["tail_probability_bps"] == 100]
    hits = realised["realised_log"].to_numpy() > middle["quantile_log"].to_numpy()
    plain = (realised["realised_log"].to_numpy() > -np.log(0.02)).mean()
    assert plain == pytest.approx(0.02, abs=0.004)
    assert hits.mean() == pytest.approx(0.01, abs=0.002)


def test_pooled_by_date_the_error_is_the_mean_over_markets() -> None:
    table = stated(3, (0.1, 0.2, 0.3), ("AAA", "BBB", "CCC", "DDD"))
    values = np.r_[9.0, 0, 0, 0, 9.0, 0, 0, np.nan, 0, 0, 0, 0]
    log = conformal.overlay(table, outcomes_of(table, values), is_pooled=True).log
    log = log[log["tail_probability_bps"] == 100]
    assert set(log["symbol"]) == {conformal.POOLED}
    assert log["error"].to_numpy() == pytest.approx([0.25, 1 / 3, 0.0])
    assert log["judged"].tolist() == [4, 3, 4]
    assert log["alpha"].to_numpy() == pytest.approx([0.01, 0.01 - 0.005 * 0.24, 0.0088 + 0.005 * (0.01 - 1 / 3)])
    own = conformal.overlay(table, outcomes_of(table, values)).log
    assert set(own["symbol"]) == {"AAA", "BBB", "CCC", "DDD"}


def test_a_target_reads_the_probability_of_its_own_as_of() -> None:
    table = stated(3, (0.1, 0.2, 0.3))
    table.loc[table["target_date"] == "2021-01-03", "as_of"] = pd.Timestamp("2021-01-01")
    got = conformal.overlay(table, outcomes_of(table, [0.0, 9.0, 0.0])).forecasts
    third = got[(got["target_date"] == "2021-01-03") & (got["tail_probability_bps"] == 100)].iloc[0]
    assert third["alpha"] == pytest.approx(0.01005), "the miss of 2 January was not known on the first"


def test_an_unknown_quantile_stays_unknown_and_moves_nothing() -> None:
    table = stated(2, (0.1, 0.2, 0.3))
    table.loc[1, "quantile_log"] = np.nan
    got = conformal.overlay(table, outcomes_of(table, [9.0, 9.0]))
    assert got.forecasts["quantile_log"].isna().tolist() == [True] * 3 + [False] * 3
    assert got.log.loc[got.log["target_date"] == "2021-01-02", "alpha"].to_numpy() == pytest.approx([0.05, 0.01, 0.005])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: t.assign(model=["a"] + ["b"] * (len(t) - 1)), "one model at a time"),
        (lambda t: t.drop(index=1), "state all"),
        (lambda t: t.assign(quantile_log=t["quantile_log"].to_numpy()[::-1]), "AAA long on 2021-01-01: a rarer"),
        (lambda t: pd.concat([t, t.tail(1)]), "twice"),
        (lambda t: t.drop(columns="side"), "lack the columns side"),
    ],
)
def test_forecasts_that_cannot_be_overlaid_are_refused(damage, message: str) -> None:
    table = stated(2, (0.1, 0.2, 0.3))
    with pytest.raises(ValueError, match=message):
        conformal.overlay(damage(table), outcomes_of(table, 0.0))


def test_a_step_or_an_error_without_meaning_is_refused() -> None:
    table = stated(2, (0.1, 0.2, 0.3))
    with pytest.raises(ValueError, match="gamma 0"):
        conformal.overlay(table, outcomes_of(table, 0.0), gamma=0)
    with pytest.raises(ValueError, match="row 1: error nan"):
        conformal.alpha_path([0, np.nan], target=0.01)


# --- look-ahead ---------------------------------------------------------------------------------------------------

CUT = "2022-01-01"
"""A quarter's first day: the models of the quarter must not have seen it."""


def targets_of(panel: pd.DataFrame, since: str = CUT, until: str = "2022-01-03") -> pd.DataFrame:
    return panel.loc[panel["target_date"].between(since, until), TARGET].reset_index(drop=True)


def named(built: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([targets[["symbol", "target_date"]].reset_index(drop=True), built], axis=1)


def test_the_other_future_is_another_one() -> None:
    other = lookahead.other_future(PANEL, CUT, seed=0)
    before, after = PANEL["target_date"] < CUT, other["target_date"] >= CUT
    assert other[~after].equals(PANEL[before])
    old, new = PANEL[~before], other[after]
    assert new["close_log"].std() == pytest.approx(3 * PANEL.loc[before, "close_log"].std(), rel=0.25)
    assert 0 < len(new) < len(old)
    assert set(new.loc[new["target_date"] == CUT, "symbol"]) == {"AAA", "BBB", "CCC"}
    both = old.merge(new, on=["symbol", "target_date"])
    for name in ("close_log", "low_log", "high_log", "volume_usd"):
        assert (both[f"{name}_x"] != both[f"{name}_y"]).all(), name
    known = both["as_of_x"] < CUT
    assert ((both["sigma_daily_x"] == both["sigma_daily_y"]) == known).all()
    assert other.equals(lookahead.other_future(PANEL, CUT, seed=0))
    features.check_panel(other)


@pytest.mark.parametrize("cut", ["2021-10-01", "2021-12-05", CUT])
def test_features_know_nothing_of_the_future(cut: str) -> None:
    assert lookahead.changed(lambda p: named(features.build(p, p), p), PANEL, cut).empty


def test_boosting_knows_nothing_of_the_future() -> None:
    for cut, spec in ((CUT, SPEC), ("2022-01-03", ONE)):
        assert lookahead.changed(lambda p, spec=spec: boosting.forecasts(p, targets_of(p), spec), PANEL, cut).empty


def test_the_overlay_knows_nothing_of_the_future() -> None:
    def overlaid(panel: pd.DataFrame) -> pd.DataFrame:
        flat = panel[TARGET[:3]].merge(
            pd.DataFrame({"tail_probability_bps": [500, 100, 50], "level": [1.6, 2.2, 2.6]}), how="cross"
        )
        table = flat.assign(side="long", model="m", shortfall_log=np.nan)
        table["quantile_log"] = table["level"] * 0.03
        realised = panel[["symbol", "target_date"]].assign(side="long", realised_log=panel["low_log"])
        return conformal.overlay(table, realised, is_pooled=True).forecasts.drop(columns="model")

    assert lookahead.changed(overlaid, PANEL, "2021-06-15").empty
    later = lookahead.changed(
        lambda p: overlaid(p).assign(target_date=pd.Timestamp(CUT), row=range(len(p) * 3)),
        PANEL,
        CUT,
        keys=("target_date", "row"),
    )
    assert not later.empty, "after the cut it does move"


def test_a_planted_own_day_is_caught() -> None:
    def leaky(panel: pd.DataFrame) -> pd.DataFrame:
        return named(features.build(panel, panel).assign(own=panel["low_log"] / panel["sigma_daily"]), panel)

    found = lookahead.changed(leaky, PANEL, CUT)
    assert set(found["output"]) == {"own"}
    assert set(found["target_date"]) == {pd.Timestamp(CUT)}, "the day before knew its own day, which was the same"
    assert len(found) == 3


def test_a_planted_whole_sample_mean_is_caught() -> None:
    def leaky(panel: pd.DataFrame) -> pd.DataFrame:
        built = features.build(panel, panel)
        return named(built[["abs_return_7"]] / built["abs_return_7"].mean(), panel)

    found = lookahead.changed(leaky, PANEL, CUT)
    assert set(found["output"]) == {"abs_return_7"}
    assert len(found) > 1000


def week_ahead(panel: pd.DataFrame) -> pd.DataFrame:
    """Adverse excursion over seven sessions from each target date on: known six sessions later."""
    made = []
    for _, rows in panel.groupby("symbol"):
        n = len(rows)
        gone = np.r_[0.0, np.cumsum(rows["close_log"])][:n]
        low, high = np.full(n, np.nan), np.full(n, np.nan)
        for out, sign, column in ((low, -1, "low_log"), (high, 1, "high_log")):
            reach = rows[column].to_numpy() + sign * gone
            out[: n - 6] = np.lib.stride_tricks.sliding_window_view(reach, 7).max(axis=1) - sign * gone[: n - 6]
        made.append(rows[["symbol", "target_date"]].assign(low_log=low, high_log=high))
    return pd.concat(made, ignore_index=True)


def test_a_planted_embargo_of_zero_under_overlapping_targets_is_caught() -> None:
    def weekly(horizon: int):
        spec = replace(ONE, horizon_sessions=horizon)
        return lambda p: boosting.forecasts(p, targets_of(p, until=CUT), spec, outcomes=week_ahead(p))

    found = lookahead.changed(weekly(0), PANEL, CUT)
    assert set(found["target_date"]) == {pd.Timestamp(CUT)}
    assert "quantile_log" in set(found["output"])
    assert not lookahead.changed(weekly(3), PANEL, CUT).empty, "half an embargo is none"
    assert lookahead.changed(weekly(7), PANEL, CUT).empty


def test_a_planted_row_that_appears_is_caught_even_where_it_says_nothing() -> None:
    def leaky(panel: pd.DataFrame) -> pd.DataFrame:
        rows = targets_of(panel, "2021-06-01", CUT).head(len(panel) // 10)
        rows.loc[rows.index >= 60, "sigma_daily"] = np.nan
        return rows

    found = lookahead.changed(leaky, PANEL, CUT)
    assert len(found) > 0
    assert found["before"].isna().all()


def test_the_guard_refuses_to_compare_nothing() -> None:
    with pytest.raises(ValueError, match="nothing known"):
        lookahead.changed(lambda p: targets_of(p, "2022-02-01", "2022-02-02"), PANEL, CUT)
    with pytest.raises(ValueError, match="nothing known"):
        lookahead.changed(lambda p: targets_of(p)[["symbol", "target_date"]].assign(q=np.nan), PANEL, CUT)
    with pytest.raises(ValueError, match="choose a day inside it"):
        lookahead.other_future(PANEL, "2030-01-01", seed=0)
    with pytest.raises(ValueError, match="twice"):
        lookahead.changed(lambda p: pd.concat([targets_of(p)] * 2), PANEL, CUT)
