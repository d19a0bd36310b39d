"""The trial at the command line: replay, watch and scorecard; an alarm withholds until somebody answers for it."""

import json
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from faults_support import Commands, Night
from operations_support import Place, copied

from assets import policy_replay, trial

ANSWER = """
[[monitoring.acknowledged]]
series = "overshoot_24h"
side = "long"
alarm_on = {day}
by = "risk desk"
reason = "made for a test, and looked into"
"""


@pytest.fixture
def place(tmp_path: Path, calm: Night, plimsoll: Commands) -> Place:
    return copied(calm, tmp_path / "desk", plimsoll)


@pytest.mark.slow
def test_replay_in_words_and_for_machines(place: Place, calm: Night) -> None:
    told = place("replay", "--as-of", calm.day)
    assert told.code == 0, told.err
    for words in ("lending, long: each rule at its own size", "perpetual, short: scaled by one factor", "textbook"):
        assert words in told.out
    assert "chosen with the later ones in view" in told.out
    found = json.loads(place("replay", "--as-of", calm.day, "--json", "-").out)
    assert [(use["product"], use["side"]) for use in found["uses"]] == list(policy_replay.USES)
    for use in found["uses"]:
        assert [row["rule"] for row in use["rules"]] == list(policy_replay.RULES)
        assert {row["factor"] for row in use["curves"]} >= {1.0}
    with place.warehouse.session() as session:
        breaches = session.everything("breach")
    judged = breaches[
        (breaches["series"] == "overshoot_24h") & (breaches["model"] == "textbook") & (breaches["side"] == "long")
    ]
    mine = next(use for use in found["uses"] if (use["product"], use["side"]) == ("perpetual", "long"))
    textbook = next(row for row in mine["rules"] if row["rule"] == "textbook")
    # The same triggers as in the backtest of the night; only days without a threshold are no days of the replay.
    assert 0 < textbook["triggers"] <= len(judged[judged["tail_probability_bps"] == 100])


@pytest.mark.slow
def test_the_backtest_for_machines_carries_everything(place: Place, calm: Night) -> None:
    found = json.loads(place("backtest", "--as-of", calm.day, "--json", "-").out)
    assert found.keys() >= {"rows", "tests", "discoveries", "market_level", "monitoring", "scorecard"}
    names = {row["test"] for row in found["tests"]}
    assert names >= {"proportion of failures", "independence", "conditional coverage", "dynamic quantile"}
    for row in found["tests"]:
        assert row["verdict"] in ("consistent", "rejected", "not enough data", "not applicable")
        assert (row["p_value"] is None) == (row["verdict"] == "not applicable")
    assert {(row["series"], row["side"]) for row in found["monitoring"]} <= {
        (series, side) for series in ("overshoot_24h", "overshoot_24h_deep") for side in ("long", "short")
    }
    assert {row["test"] for row in found["shortfall_tests"]} >= {"Acerbi-Szekely Z2", "McNeil-Frey excess"}
    assert {row["statistic"] for row in found["bets"]} == {"quantile", "shortfall"}
    assert {row["score"] for row in found["scores"]} == {"quantile", "joint"}
    assert found["horizons"]["state"].startswith("horizon scaling untested")
    assert found["horizons"]["rows"] == found["horizons"]["scaling"] == found["horizons"]["scaling_tests"] == []
    assert {"mean_k", "mean_own_empirical_k", "ratio", "rate"} <= found["cost"][0].keys()
    tails = found["tails"]
    assert {row["series"] for row in tails["estimates"]} == {"close", "excursion", "overshoot"}
    assert {row["method"] for row in tails["estimates"]} == {"filtered_historical", "conditional_evt"}
    for row in tails["estimates"]:
        assert (row["quantile"] is None) == row["note"].startswith("not available")
        assert row["quantile"] is None or row["expected_shortfall"] >= row["quantile"]
    assert {row["threshold_level"] for row in tails["thresholds"]} == {0.85, 0.9, 0.925, 0.95}
    known = [row for row in tails["k_intervals"] if row["k"] is not None and row["k_low"] is not None]
    assert known
    assert all(row["k_low"] <= row["k_high"] for row in known)
    told = place("backtest", "--as-of", calm.day)
    assert "tails of the pooled overshoot at 1 %" in told.out
    assert "quantile score at 1 % against the model in use" in told.out
    assert "horizon scaling untested: no hourly bars" in told.out
    assert "daily watch over the overshoot estimate" in told.out
    assert "coverage and its cost at 1 %, pooled" in told.out
    assert "growth over hours" not in told.out, "nothing is said of hours that nobody brought"
    assert "no recommendation is older than a day" in told.out


@pytest.mark.slow
def test_hourly_bars_test_the_horizon(place: Place, calm: Night, tmp_path: Path) -> None:
    """Every day is drawn as one straight way from its open to its low or high and on to its close."""
    with place.warehouse.session() as session:
        bars = session.query("prices", last=pd.Timestamp(calm.day))
    days = bars.dropna(subset=["low_usd", "high_usd"])
    hour = pd.DataFrame({"hour": range(24)})
    hours = days[["date", "symbol", "low_usd", "high_usd", "close_usd"]].merge(hour, how="cross")
    is_first = hours["hour"] == 0
    drawn = pd.DataFrame(
        {
            "ts": hours["date"] + pd.to_timedelta(hours["hour"], unit="h"),
            "symbol": hours["symbol"],
            "high": hours["high_usd"].where(is_first, hours["close_usd"]),
            "low": hours["low_usd"].where(is_first, hours["close_usd"]),
        }
    )
    file = tmp_path / "hours.csv.gz"
    drawn.to_csv(file, index=False)
    found = json.loads(place("backtest", "--as-of", calm.day, "--intraday", str(file), "--json", "-").out)["horizons"]
    assert found["state"] == "tested"
    assert {row["series"] for row in found["rows"]} >= {f"overshoot_{tau}h" for tau in (1, 4, 8, 24)}
    assert all(row["exceptions_at_least"] <= row["exceptions"] <= row["observations"] for row in found["rows"])
    told = place("backtest", "--as-of", calm.day, "--intraday", str(file))
    assert told.code == 0, told.err
    assert "hours after a trigger, given hourly bars, at 1 %" in told.out
    assert "overshoot_8h" in told.out
    assert {row["regressed_bps"] for row in found["scaling"]} == {100, 500}
    assert all(row["eta"] <= 0.5 for row in found["scaling"])
    assert "growth over hours, estimated at the last turn of a quarter (in no published number)" in told.out
    refused = place("backtest", "--as-of", calm.day, "--intraday", str(file), "--intraday-source", "venue")
    assert refused.code == 2
    assert "no column source to choose venue from" in refused.err


@pytest.mark.slow
def test_an_alarm_withholds_until_somebody_answers_for_it(place: Place, calm: Night) -> None:
    """The model in use is made to fail on three dates in a row, as the store tells it."""
    with duckdb.connect(str(place.profile / "plimsoll.duckdb")) as connection:
        dates = connection.execute(
            "select distinct target_date from breach where series = 'overshoot_24h' and model = 'estimator' "
            "and side = 'long' and tail_probability_bps = 100 order by target_date"
        ).fetchall()
        connection.execute(
            "update breach set is_breach = true where series = 'overshoot_24h' and model = 'estimator' "
            "and side = 'long' and tail_probability_bps = 100 and target_date <= $day",
            {"day": dates[2][0]},
        )
    words = ("report", "--as-of", calm.day, "--stage", "risk_report", "--stage", "delivery")
    told = place(*words)
    assert told.code == 3
    day = dates[2][0].isoformat()
    assert (
        f"overshoot_24h long: alarm of {day}" in str(place.reports(calm.day).iloc[-1].to_dict()) + told.out + told.err
    )
    assert place.reports(calm.day).iloc[-1]["status"] == "withheld"
    place.configure(more=ANSWER.format(day="2020-01-01"))
    assert place(*words).code == 3, "an answer to another alarm is none to this one"
    place.configure(more=ANSWER.format(day=day))
    told = place(*words)
    assert told.code == 0, told.err
    assert place.reports(calm.day).iloc[-1]["status"] == "proposed"


def test_facts_of_the_trial_are_counted_as_by_hand() -> None:
    rng = np.random.default_rng(3)
    days = pd.date_range("2020-01-01", periods=600, freq="D")
    frames = []
    for symbol, rate in (("AAA", 0.01), ("BBB", 0.08)):
        hit = rng.random(len(days)) < rate
        frames.append(
            pd.DataFrame(
                {
                    "target_date": days,
                    "symbol": symbol,
                    "side": "long",
                    "series": "var_close",
                    "model": "garch_t",
                    "tail_probability_bps": 100,
                    "limit_log": 0.05 + 0.001 * rng.random(len(days)),
                    "limit_sigma": 2.5,
                    "realised_log": np.where(hit, 0.06, rng.normal(0, 0.01, len(days))),
                    "is_breach": hit,
                }
            )
        )
    facts = pd.concat(frames, ignore_index=True)
    tests = trial.batteries(facts, seed=5)
    ratio = tests[tests["test"] == "proportion of failures"].set_index("symbol")
    assert ratio.loc["BBB", "exceptions"] == facts.loc[facts["symbol"] == "BBB", "is_breach"].sum()
    assert ratio["verdict"].to_dict() == {"AAA": "consistent", "BBB": "rejected"}
    (found,) = trial.discoveries(facts, tests).to_dict("records")
    assert (found["rejected_bh"], found["rejected_by"], found["rejected_e_bh"]) == ("BBB", "BBB", "BBB")
    (level,) = trial.market_level(facts, seed=5).to_dict("records")
    assert level["exceptions"] == facts["is_breach"].sum()
    assert level["total_p"] < 0.05
    short = trial.market_level(facts[facts["target_date"] < days[60]], seed=5)
    assert short["note"].tolist() == ["too few days before the judged ones"]
