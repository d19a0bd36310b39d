"""Classical challengers: the panel, histories, one door, and nothing known before its time."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll import breaches, tails
from plimsoll.challengers import classical, histories
from plimsoll.challengers.panel import FORECAST_COLUMNS, PANEL_COLUMNS, PROBABILITIES_BPS, excursion_panel

HISTORIES = histories.MODELS


def raw_panel(n: int, symbols: tuple[str, ...] = ("AAA", "BBB"), seed: int = 1, scale: float = 1.0) -> pd.DataFrame:
    """Markets with clustered volatility and adverse excursions beyond their closes."""
    days = pd.date_range("2020-01-01", periods=n + 1)
    frames = []
    for number, symbol in enumerate(symbols):
        rng = np.random.default_rng([seed, number])
        sigma = scale * 0.03 * np.exp(0.4 * np.sin(np.arange(n) / 40 + number) + 0.1 * rng.standard_normal(n))
        close = sigma * rng.standard_t(4, n) / np.sqrt(2)
        frames.append(
            pd.DataFrame(
                {
                    "symbol": symbol,
                    "as_of": days[:-1],
                    "target_date": days[1:],
                    "sigma_daily": sigma,
                    "close_log": close,
                    "low_log": np.maximum(-close, 0) + sigma * np.abs(rng.standard_normal(n)) * 0.5,
                    "high_log": np.maximum(close, 0) + sigma * np.abs(rng.standard_normal(n)) * 0.5,
                }
            )
        )
    return pd.concat(frames).sort_values(["target_date", "symbol"], ignore_index=True)


def questions(panel: pd.DataFrame, first: str) -> pd.DataFrame:
    return panel.loc[panel["target_date"] >= first, ["symbol", "as_of", "target_date", "sigma_daily"]]


def bytes_of(frame: pd.DataFrame) -> bytes:
    return frame[["quantile_log", "shortfall_log"]].to_numpy(np.float64).tobytes()


def same_rows(frame: pd.DataFrame, wanted: pd.DataFrame) -> pd.DataFrame:
    keys = pd.MultiIndex.from_frame(wanted[["symbol", "target_date"]])
    return frame[pd.MultiIndex.from_frame(frame[["symbol", "target_date"]]).isin(keys)]


def _prices() -> tuple[pd.DataFrame, pd.DataFrame]:
    days = pd.date_range("2024-01-01", periods=6)
    prices = pd.DataFrame(
        {
            "symbol": "AAA",
            "date": days,
            "close_usd": [100.0, 102.0, 99.0, 101.0, 100.0, 104.0],
            "previous_close_usd": [np.nan, 100.0, 102.0, 99.0, 101.0, 100.0],
            "high_usd": [101.0, 105.0, 103.0, np.nan, 102.0, 104.0],
            "low_usd": [99.0, 98.0, 96.0, 98.0, 99.0, 101.0],
            "is_return_valid": [False, True, True, True, False, True],
        }
    )
    after = days + pd.Timedelta(days=1)
    forecasts = pd.DataFrame({"symbol": "AAA", "as_of": days, "target_date": after, "sigma_daily": 0.02})
    return prices, forecasts


def test_panel_by_hand() -> None:
    prices, forecasts = _prices()
    panel = excursion_panel(prices, forecasts)
    assert tuple(panel.columns) == PANEL_COLUMNS
    # Absent: the first bar, the day without a high, the day whose return is not valid, and the bar not yet known.
    assert list(panel["target_date"].dt.day) == [2, 3, 6]
    np.testing.assert_allclose(panel["low_log"], np.log([100 / 98, 102 / 96, 100 / 101]), rtol=1e-13)
    np.testing.assert_allclose(panel["high_log"], np.log([105 / 100, 103 / 102, 104 / 100]), rtol=1e-13)
    np.testing.assert_allclose(panel["close_log"], np.log([102 / 100, 99 / 102, 104 / 100]), rtol=1e-13)
    assert panel["low_log"].iloc[-1] < 0, "a day that never fell below the close before it says so"


def test_panel_leaves_out_a_volatility_of_zero() -> None:
    prices, forecasts = _prices()
    forecasts.loc[forecasts["target_date"] == "2024-01-03", "sigma_daily"] = 0.0
    assert list(excursion_panel(prices, forecasts)["target_date"].dt.day) == [2, 6]


def test_panel_is_ordered_whatever_the_input_is() -> None:
    prices, forecasts = _prices()
    both = pd.concat([prices, prices.assign(symbol="ZZZ")]).sample(frac=1, random_state=2)
    asked = pd.concat([forecasts.assign(symbol="ZZZ"), forecasts]).sample(frac=1, random_state=3)
    panel = excursion_panel(both, asked)
    assert list(panel["symbol"]) == ["AAA", "ZZZ"] * 3
    assert panel["target_date"].is_monotonic_increasing


def test_panel_refuses_what_contradicts_itself() -> None:
    prices, forecasts = _prices()
    with pytest.raises(ValueError, match="prices: AAA 2024-01-06 stands twice"):
        excursion_panel(pd.concat([prices, prices.iloc[-1:]]), forecasts)
    with pytest.raises(ValueError, match="forecasts: AAA 2024-01-07 stands twice"):
        excursion_panel(prices, pd.concat([forecasts, forecasts.iloc[-1:]]))
    with pytest.raises(ValueError, match="does not precede target_date"):
        excursion_panel(prices, forecasts.assign(as_of=forecasts["target_date"]))
    prices.loc[2, "low_usd"] = 0.0
    with pytest.raises(ValueError, match=r"low_usd of AAA 2024-01-03 is 0\.0, no price"):
        excursion_panel(prices, forecasts)


def test_the_champion_is_the_limit_of_the_breach_facts() -> None:
    rng = np.random.default_rng(5)
    n = 1400
    days = pd.date_range("2019-01-01", periods=n)
    close = 100 * np.exp(np.cumsum(0.03 * rng.standard_t(4, n)))
    before = np.concatenate([[np.nan], close[:-1]])
    prices = pd.DataFrame(
        {
            "date": days,
            "symbol": "AAA",
            "close_usd": close,
            "previous_close_usd": before,
            "high_usd": np.fmax(close, before) * np.exp(0.01 * rng.random(n)),
            "low_usd": np.fmin(close, before) * np.exp(-0.01 * rng.random(n)),
            "is_return_valid": np.arange(n) > 0,
        }
    )
    prices.loc[[700, 900], "high_usd"] = np.nan
    forecasts = pd.DataFrame(
        {
            "as_of": days[99:-1],
            "target_date": days[100:],
            "symbol": "AAA",
            "mu_daily": 0.0,
            "sigma_daily": 0.03 * np.exp(0.2 * rng.standard_normal(n - 100)),
            "nu": 4.0,
        }
    )
    facts = breaches.daily_breaches(prices, forecasts, breaches.baselines(prices, forecasts, 0.94), 0.5)
    limits = facts[facts["model"] == "filtered_historical"]
    mine = classical.forecast("garch_fhs", excursion_panel(prices, forecasts), forecasts, seed=0)
    joined = limits.merge(mine, on=["symbol", "target_date", "side", "tail_probability_bps"], validate="one_to_one")
    assert len(joined) == len(limits) > 3000
    np.testing.assert_array_equal(joined["limit_log"], joined["quantile_log"])


@pytest.mark.parametrize(("p", "quantile", "shortfall"), [(0.5, 3.0, 4.0), (0.1, 4.6, 5.0), (0.25, 4.0, 4.5)])
def test_quantile_and_what_lies_beyond_by_hand(p: float, quantile: float, shortfall: float) -> None:
    assert histories.beyond(np.asarray([1.0, 2, 3, 4, 5]), p) == pytest.approx((quantile, shortfall), abs=1e-12)


def test_raw_history_by_hand() -> None:
    panel = raw_panel(520, ("AAA",))
    found = classical.forecast("historical", panel, questions(panel, "2020-01-02"), seed=0)
    long = found[(found["side"] == "long") & (found["tail_probability_bps"] == 500)].reset_index(drop=True)
    assert long["quantile_log"].isna().sum() == 500
    last = panel["low_log"].to_numpy()[19:519]
    assert long["quantile_log"].iloc[-1] == pytest.approx(np.quantile(last, 0.95), abs=1e-14)
    assert long["shortfall_log"].iloc[-1] == pytest.approx(np.sort(last)[475:].mean(), abs=1e-14)


def test_ewma_volatility_follows_its_recursion() -> None:
    r = np.random.default_rng(3).standard_normal(50) * 0.02
    variance = float(np.mean(r[:30] ** 2))
    expected = []
    for value in r:
        variance = 0.94 * variance + 0.06 * value**2
        expected.append(variance)
    sigma = histories.ewma_sigma(r)
    assert np.isnan(sigma[:29]).all()
    np.testing.assert_allclose(sigma[29:], np.sqrt(expected[29:]), rtol=1e-12)


def test_ewma_divides_by_the_volatility_known_before() -> None:
    panel = raw_panel(700, ("AAA",))
    found = classical.forecast("ewma_fhs", panel, questions(panel, "2021-11-01").iloc[-1:], seed=0)
    sigma = histories.ewma_sigma(panel["close_log"].to_numpy())
    z = panel["high_log"].to_numpy()[30:699] / sigma[29:698]
    mine = found[(found["side"] == "short") & (found["tail_probability_bps"] == 100)]
    assert float(mine["quantile_log"].iloc[0]) == pytest.approx(np.quantile(z, 0.99) * sigma[698], rel=1e-12)


def test_pareto_tail_is_of_the_months_first_session() -> None:
    panel = raw_panel(1300, ("AAA",))
    target = questions(panel, "2023-06-20").iloc[:1]
    z = (panel["low_log"] / panel["sigma_daily"])[panel["target_date"] <= "2023-06-01"].to_numpy()[-1000:]
    fit = tails.fit_gpd(z)
    assert fit is not None
    found = classical.forecast("garch_evt", panel, target, seed=0)
    long = found[found["side"] == "long"]
    p = np.asarray(PROBABILITIES_BPS) / 10_000
    sigma = float(target["sigma_daily"].iloc[0])
    np.testing.assert_array_equal(long["quantile_log"], sigma * tails.gpd_quantile(fit, p))
    np.testing.assert_array_equal(long["shortfall_log"], sigma * tails.gpd_es(fit, p))


def test_pareto_tail_needs_fifty_exceedances() -> None:
    panel = raw_panel(540, ("AAA",))
    found = classical.forecast("garch_evt", panel, questions(panel, "2021-05-01"), seed=0)
    # 488 rows are known on 2021-05-03, 518 on the first session of June.
    known = found.groupby("target_date")["quantile_log"].count() > 0
    assert not known[known.index <= "2021-06-01"].any()
    assert known[known.index > "2021-06-01"].all()


@pytest.mark.parametrize("model", HISTORIES)
def test_a_short_history_has_no_answer(model: str) -> None:
    panel = raw_panel(499)
    found = classical.forecast(model, panel, questions(panel, "2020-01-02"), seed=0)
    assert len(found) == 499 * 2 * 2 * 3
    assert found[["quantile_log", "shortfall_log"]].isna().all(axis=None)


@pytest.mark.parametrize("model", HISTORIES)
def test_answers_have_their_shape_and_order(model: str) -> None:
    panel = raw_panel(700)
    found = classical.forecast(model, panel, questions(panel, "2021-11-25").sample(frac=1, random_state=1), seed=0)
    assert tuple(found.columns) == FORECAST_COLUMNS
    assert set(found["model"]) == {model}
    assert found["target_date"].is_monotonic_increasing
    assert list(found["symbol"].iloc[:12]) == ["AAA"] * 6 + ["BBB"] * 6
    assert list(found["side"].iloc[:6]) == ["long"] * 3 + ["short"] * 3
    assert list(found["tail_probability_bps"].iloc[:6]) == [500, 100, 50] * 2
    assert (found["shortfall_log"] >= found["quantile_log"]).all()
    for _, one in found.groupby(["symbol", "target_date", "side"]):
        assert all(a < b for a, b in pairwise(one["quantile_log"]))


@pytest.mark.parametrize("model", HISTORIES)
def test_a_day_alone_has_the_bits_of_all_days(model: str) -> None:
    panel = raw_panel(1150)
    every = questions(panel, "2021-01-01")
    whole = classical.forecast(model, panel, every, seed=0)
    for row in (0, 501, len(every) - 1):
        one = every.iloc[row : row + 1]
        assert bytes_of(classical.forecast(model, panel, one, seed=0)) == bytes_of(same_rows(whole, one))


@pytest.mark.parametrize("model", HISTORIES)
@settings(max_examples=6, deadline=None)
@given(cut=st.integers(560, 690), seed=st.integers(2, 99))
def test_nothing_on_or_after_a_day_moves_its_forecast(model: str, cut: int, seed: int) -> None:
    panel = raw_panel(700)
    day = panel["target_date"].unique()[cut]
    every = questions(panel, "2021-05-01")
    asked = every[every["target_date"] <= day]
    other = raw_panel(700, seed=seed, scale=3.0)
    other = other[(other["target_date"] >= day) & (np.arange(len(other)) % 7 != 3)]
    replaced = pd.concat([panel[panel["target_date"] < day], other], ignore_index=True)
    before = classical.forecast(model, panel, asked, seed=0)
    assert before["quantile_log"].notna().any()
    assert bytes_of(classical.forecast(model, replaced, asked, seed=0)) == bytes_of(before)


@pytest.mark.parametrize("model", HISTORIES)
def test_the_newest_day_brings_its_own_volatility(model: str) -> None:
    panel = raw_panel(700)
    last = questions(panel, "2021-12-01").iloc[-2:]
    known = panel[panel["target_date"] < last["target_date"].iloc[0]]
    whole = classical.forecast(model, panel, last.drop(columns="sigma_daily"), seed=0)
    assert whole["quantile_log"].notna().all()
    assert bytes_of(classical.forecast(model, known, last, seed=0)) == bytes_of(whole)


@pytest.mark.parametrize("model", ["garch_fhs", "garch_evt"])
def test_a_target_without_volatility_is_named(model: str) -> None:
    panel = raw_panel(700)
    last = questions(panel, "2021-12-01").iloc[-2:].drop(columns="sigma_daily")
    known = panel[panel["target_date"] < last["target_date"].iloc[0]]
    with pytest.raises(ValueError, match=rf"{model}: AAA 2021-12-01 is not in the panel and brings no sigma_daily"):
        classical.forecast(model, known, last, seed=0)


def test_a_volatility_of_zero_says_nothing() -> None:
    panel = raw_panel(700, ("AAA",))
    target = questions(panel, "2021-12-01").iloc[-1:].assign(sigma_daily=0.0)
    assert classical.forecast("garch_fhs", panel, target, seed=0)["quantile_log"].isna().all()
    assert classical.forecast("ewma_fhs", panel, target, seed=0)["quantile_log"].notna().all()


def test_a_market_that_the_panel_does_not_hold_has_no_answer() -> None:
    panel = raw_panel(700, ("AAA",))
    target = questions(panel, "2021-12-01").assign(symbol="NEW")
    for model in classical.MODELS:
        assert classical.forecast(model, panel, target, seed=0)["quantile_log"].isna().all()


@pytest.mark.parametrize("model", HISTORIES)
@settings(max_examples=5, deadline=None)
@given(factor=st.floats(0.05, 4.0))
def test_quantiles_scale_with_the_market(model: str, factor: float) -> None:
    panel = raw_panel(620)
    numbers = ["sigma_daily", "close_log", "low_log", "high_log"]
    larger = panel.assign(**{name: factor * panel[name] for name in numbers})
    one = classical.forecast(model, panel, questions(panel, "2021-09-01"), seed=0)
    other = classical.forecast(model, larger, questions(larger, "2021-09-01"), seed=0)
    # The search for the Pareto shape ends within its tolerance, the others are exact to rounding.
    tolerance = 1e-6 if model == "garch_evt" else 1e-12
    for column in ("quantile_log", "shortfall_log"):
        np.testing.assert_allclose(other[column], factor * one[column], rtol=tolerance)


def test_door_refuses_what_it_does_not_know() -> None:
    panel = raw_panel(20)
    target = questions(panel, "2020-01-05")
    with pytest.raises(ValueError, match="model 'arima' is unknown; choose one of garch_fhs, garch_evt"):
        classical.forecast("arima", panel, target, seed=0)
    with pytest.raises(ValueError, match="targets: AAA 2020-01-05 stands twice"):
        classical.forecast("garch_fhs", panel, pd.concat([target, target]), seed=0)
    with pytest.raises(ValueError, match="panel: BBB 2020-01-05 stands twice or holds a number that is not finite"):
        spoiled = panel.assign(low_log=panel["low_log"].where(panel.index != 7))
        classical.forecast("garch_fhs", spoiled, target, seed=0)


@pytest.mark.parametrize("model", classical.MODELS)
def test_every_name_answers_to_its_own(model: str) -> None:
    panel = raw_panel(30)
    found = classical.walk(model, panel, questions(panel, "2020-01-25"), seed=0)
    assert set(found.forecasts["model"]) == {model}
    assert found.forecasts["quantile_log"].isna().all()
    assert found.refusals.empty
    assert classical.forecast(model, panel, questions(panel, "2030-01-01"), seed=0).empty
