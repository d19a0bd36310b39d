"""The contest of a quarter: scores by hand, the set, intervals, who is left out, and what may not be known."""

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from plimsoll.backtests import scores
from plimsoll.challengers import boosting, classical, contest, lineup
from plimsoll.challengers.panel import FORECAST_COLUMNS, PROBABILITIES_BPS, SIDES

QUARTER = pd.Timestamp("2022-01-01")
DAYS = pd.date_range("2020-01-01", "2021-12-31", freq="D")
Z = dict(zip(PROBABILITIES_BPS, (1.959963985, 2.575829304, 2.807033768), strict=True))
"""Quantiles of the size of a normal number."""
ES = dict(zip(PROBABILITIES_BPS, (2.337802792, 2.891990540, 3.104417063), strict=True))
SIGMA = 0.03


def world(symbols: tuple[str, ...] = ("AAA", "BBB"), days: pd.DatetimeIndex = DAYS, seed: int = 1) -> pd.DataFrame:
    """Excursions that are sizes of normal numbers, of changing volatility."""
    rng = np.random.default_rng(seed)
    frames = []
    for symbol in symbols:
        sigma = SIGMA * np.exp(0.3 * rng.standard_normal(len(days)))
        sizes = np.abs(rng.standard_normal((2, len(days)))) * sigma
        frames.append(
            pd.DataFrame(
                {
                    "symbol": symbol,
                    "as_of": days - pd.Timedelta(days=1),
                    "target_date": days,
                    "sigma_daily": sigma,
                    "low_log": sizes[0],
                    "high_log": sizes[1],
                }
            )
        )
    panel = pd.concat(frames, ignore_index=True)
    return panel.sort_values(["target_date", "symbol"], kind="stable", ignore_index=True)


def said(panel: pd.DataFrame, model: str, scale: NDArray[np.float64] | float = 1.0) -> pd.DataFrame:
    """True quantiles and shortfalls times a factor, as a model's answers."""
    frames = [
        panel[["symbol", "as_of", "target_date"]].assign(
            side=side,
            model=model,
            tail_probability_bps=bps,
            quantile_log=Z[bps] * panel["sigma_daily"] * scale,
            shortfall_log=ES[bps] * panel["sigma_daily"] * scale,
        )
        for side in SIDES
        for bps in PROBABILITIES_BPS
    ]
    return pd.concat(frames, ignore_index=True)[list(FORECAST_COLUMNS)]


def noisy(panel: pd.DataFrame, seed: int = 5) -> NDArray[np.float64]:
    return np.asarray(np.exp(0.6 * np.random.default_rng(seed).standard_normal(len(panel))))


@pytest.fixture(scope="module")
def judged() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """A champion with noise, the truth, and one that is far too low, over two years."""
    panel = world()
    forecasts = pd.concat(
        [said(panel, "garch_fhs", noisy(panel)), said(panel, "truth"), said(panel, "low", 0.5)], ignore_index=True
    )
    return panel, forecasts, contest.contest(forecasts, panel, quarter_on=QUARTER, champion="garch_fhs")


def row(rows: pd.DataFrame, model: str, side: str = "long", bps: int = 100, score: str = "quantile") -> pd.Series:
    found = rows[
        (rows["model"] == model)
        & (rows["side"] == side)
        & (rows["tail_probability_bps"] == bps)
        & (rows["score"] == score)
    ]
    assert len(found) == 1, (model, side, bps, score)
    return found.iloc[0]


def test_scores_are_those_made_by_hand(judged: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    panel, _, rows = judged
    unit = panel["sigma_daily"]
    true = pd.Series(scores.quantile_score(-panel["low_log"] / unit, np.full(len(panel), -Z[100]), 0.01))
    by_hand = true.groupby(panel["target_date"]).mean().mean()
    assert row(rows, "truth")["mean_score"] == pytest.approx(by_hand, rel=1e-12)
    low = pd.Series(scores.quantile_score(-panel["low_log"] / unit, np.full(len(panel), -Z[100] / 2), 0.01))
    joint = scores.fz0(-panel["low_log"] / unit, np.full(len(panel), -Z[100]), np.full(len(panel), -ES[100]), 0.01)
    assert row(rows, "truth", score="joint")["mean_score"] == pytest.approx(
        pd.Series(joint).groupby(panel["target_date"]).mean().mean(), rel=1e-12
    )
    champion = row(rows, "garch_fhs")["mean_score"]
    mine = row(rows, "low")
    assert mine["ratio"] == pytest.approx(low.groupby(panel["target_date"]).mean().mean() / champion)
    assert mine["ratio_low"] < mine["ratio"] < mine["ratio_high"]
    assert mine["difference"] == pytest.approx(mine["mean_score"] - champion)
    assert row(rows, "garch_fhs")[["ratio", "ratio_low", "ratio_high"]].tolist() == [1.0, 1.0, 1.0]
    assert np.isnan(row(rows, "low", score="joint")["ratio"]), "its size depends on the unit"
    hits = (panel["low_log"] > Z[100] / 2 * unit).to_numpy()
    assert mine["exceedances"] == hits.sum()
    assert mine["exceedance_rate"] == pytest.approx(hits.mean())
    assert mine["too_many_p"] < 1e-6 < 0.05 < row(rows, "truth")["too_many_p"]
    assert mine["dates"] == 731
    assert mine["observations"] == 1462


def test_the_one_number_weighs_both_sides_and_all_tails_alike(
    judged: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame],
) -> None:
    _, _, rows = judged
    parts = [row(rows, "truth", side, bps)["mean_score"] / (bps / 1e4) for side in SIDES for bps in PROBABILITIES_BPS]
    whole = row(rows, "truth", contest.BOTH, contest.ALL_PROBABILITIES)
    assert whole["mean_score"] == pytest.approx(np.mean(parts), rel=1e-12)
    assert max(parts) / min(parts) < 2, "no tail drowns another"
    inside = rows[(rows["side"] == contest.BOTH) & rows["is_in_confidence_set"]]["model"]
    assert list(inside) == ["truth"]
    assert row(rows, "garch_fhs", contest.BOTH, 0)["is_in_confidence_set"] == False  # noqa: E712  (a nullable boolean)


def test_nothing_on_or_after_the_first_day_counts(judged: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    panel, forecasts, rows = judged
    later = world(days=pd.date_range(QUARTER, periods=60), seed=9)
    earlier = world(days=pd.date_range("2019-06-01", "2019-12-31"), seed=8)
    whole = pd.concat([earlier, panel, later], ignore_index=True)
    more = [said(part, name, 3.0) for part in (earlier, later) for name in ("garch_fhs", "truth", "low")]
    again = contest.contest(
        pd.concat([forecasts, *more], ignore_index=True), whole, quarter_on=QUARTER, champion="garch_fhs"
    )
    pd.testing.assert_frame_equal(again, rows)
    shuffled = forecasts.sample(frac=1.0, random_state=3)
    pd.testing.assert_frame_equal(
        contest.contest(shuffled, panel.sample(frac=1.0, random_state=4), quarter_on=QUARTER, champion="garch_fhs"),
        rows,
    )


def test_all_are_judged_on_the_same_rows(judged: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    panel, forecasts, _ = judged
    is_gap = (forecasts["model"] == "low") & (forecasts["target_date"] >= "2021-10-01") & (forecasts["symbol"] == "AAA")
    gappy = forecasts.assign(quantile_log=forecasts["quantile_log"].mask(is_gap & (forecasts["side"] == "long")))
    rows = contest.contest(gappy, panel, quarter_on=QUARTER, champion="garch_fhs")
    assert row(rows, "truth")["observations"] == 1462 - 92
    assert row(rows, "truth", "short")["observations"] == 1462
    assert row(rows, "truth")["dates"] == 731


def test_a_model_that_says_little_keeps_nobody_out(judged: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    panel, forecasts, before = judged
    mute = said(panel[panel["target_date"] >= "2021-06-01"], "mute")
    rows = contest.contest(pd.concat([forecasts, mute]), panel, quarter_on=QUARTER, champion="garch_fhs")
    mine = rows[rows["model"] == "mute"]
    assert mine["note"].str.startswith("left out: forecasts on 29 %").all()
    assert mine["mean_score"].isna().all()
    assert mine["is_in_confidence_set"].isna().all()
    pd.testing.assert_frame_equal(rows[rows["model"] != "mute"].reset_index(drop=True), before)


def test_fewer_than_250_dates_are_not_enough() -> None:
    panel = world(days=pd.date_range("2021-06-01", "2021-12-31"))
    forecasts = pd.concat([said(panel, "garch_fhs", 0.5), said(panel, "truth")])
    rows = contest.contest(forecasts, panel, quarter_on=QUARTER, champion="garch_fhs")
    assert rows["note"].eq("not enough data: fewer than 250 dates").all()
    assert rows["mean_score"].isna().all()
    assert rows["is_in_confidence_set"].isna().all()
    assert contest.contest(forecasts, panel, quarter_on=QUARTER, champion="other").empty


def test_a_row_that_stands_twice_is_refused() -> None:
    panel = world(days=DAYS[:3])
    forecasts = said(panel, "garch_fhs")
    with pytest.raises(ValueError, match=r"'AAA'.*'long'.*twice"):
        contest.contest(pd.concat([forecasts, forecasts]), panel, quarter_on=QUARTER, champion="garch_fhs")


def test_exceedances_are_counted_by_date() -> None:
    rng = np.random.default_rng(2)
    hits = (rng.random(1000) < 0.05).astype(np.float64)
    assert contest.too_many(hits, 0.05) > 0.05
    assert contest.too_many(hits, 0.01) < 0.001
    assert contest.too_many(np.zeros(1000), 0.01) == 1.0
    assert np.isnan(contest.too_many(hits[:249], 0.05))
    clustered = np.repeat((rng.random(100) < 0.05).astype(np.float64), 10)
    alone = np.sort(clustered)
    rng.shuffle(alone)
    rate = float(clustered.mean()) * 0.7
    assert contest.too_many(clustered, rate) > contest.too_many(alone, rate), "clusters are fewer observations"


def test_names_of_models_are_one_list() -> None:
    from dagster_project import challengers_config

    assert challengers_config.MODELS == lineup.MODELS == (*classical.MODELS, boosting.MODEL)
    assert challengers_config.IN_USE == classical.CHAMPION


def test_the_wide_table_comes_back_as_it_was_but_for_the_order() -> None:
    panel = world(days=DAYS[:2])
    forecasts = said(panel, "garch_fhs")
    crossing = forecasts["tail_probability_bps"].map({500: 1.0, 100: 1.0, 50: 0.9}) * (forecasts["side"] == "short")
    forecasts["quantile_log"] *= crossing.where(crossing > 0, 1.0)
    wide = lineup._wide(forecasts, pd.DataFrame(), panel)
    assert list(wide["side"].unique()) == ["long", "short"]
    crossed = wide[wide["side"] == "short"]
    assert crossed["note"].eq(lineup.CROSSED).all()
    assert (np.diff(wide[lineup.QUANTILES].to_numpy(), axis=1) > 0).all()
    back = lineup.long_form(wide).merge(forecasts, on=[*lineup.KEYS, "tail_probability_bps"], suffixes=("", "_before"))
    is_long = back["side"] == "long"
    np.testing.assert_array_equal(back.loc[is_long, "quantile_log"], back.loc[is_long, "quantile_log_before"])
    total = back.groupby(lineup.KEYS)[["quantile_log", "quantile_log_before"]].sum()
    np.testing.assert_allclose(total["quantile_log"], total["quantile_log_before"])


def test_a_refused_fit_is_named_on_its_days() -> None:
    panel = world(("AAA",), DAYS[85:95])
    forecasts = said(panel, "caviar_as")
    is_refused = (forecasts["side"] == "long") & (forecasts["as_of"] >= "2020-04-01")
    forecasts["quantile_log"] = forecasts["quantile_log"].mask(is_refused & (forecasts["tail_probability_bps"] == 50))
    refused = pd.DataFrame(
        [("AAA", "caviar_as", pd.Timestamp("2020-04-01"), "long", 50, "not positive")],
        columns=["symbol", "model", "fit_end", "side", "tail_probability_bps", "reason"],
    )
    wide = lineup._wide(forecasts, refused, panel)
    is_mine = (wide["side"] == "long") & (wide["as_of"] >= "2020-04-01")
    assert wide.loc[is_mine, "note"].eq("not positive").all()
    assert wide.loc[~is_mine, "note"].eq("").all()
    assert 0 < is_mine.sum() < len(wide)


def test_an_unknown_model_is_refused() -> None:
    panel = world(days=DAYS[:3])
    with pytest.raises(ValueError, match="models crystal_ball are unknown"):
        lineup.answers(panel, panel, models=("crystal_ball",), seed=1)
