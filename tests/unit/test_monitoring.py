"""Monitoring: evidence by date, alarms that stand until somebody answers for them, and the scorecard by hand."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from plimsoll import monitoring
from plimsoll.backtests import betting

START = date(2020, 1, 1)


def facts(hits: list[float], markets: int = 4) -> pd.DataFrame:
    """Days on which a share of the markets breached."""
    rows = [
        (pd.Timestamp(START + timedelta(days=day)), market < round(share * markets))
        for day, share in enumerate(hits)
        for market in range(markets)
    ]
    return pd.DataFrame(rows, columns=["target_date", "is_breach"])


def test_the_published_path_of_wealth() -> None:
    """Six hits of 250 days at p = 1 %: the reference path of the method, reached with one market or with four."""
    hits = [1.0 if day in (20, 50, 51, 90, 120, 180) else 0.0 for day in range(250)]
    found = monitoring.watch(facts(hits), 0.01, [START + timedelta(days=120)])
    assert np.exp(found.log_wealth.max()) == pytest.approx(26.87258626, rel=1e-8)
    assert found.alarms == (START + timedelta(days=120),)
    assert found.open_alarm is None
    assert found.state == "quiet"
    assert found.log_wealth[-1] == pytest.approx(128 * np.log(0.975) + np.log(3.475)), (
        "after the acknowledgement betting began anew"
    )


def test_an_alarm_stands_until_it_is_acknowledged_and_the_next_one_too() -> None:
    hits = [1.0, 1.0, 1.0] + [0.0] * 10 + [1.0, 1.0, 1.0] + [0.0] * 5
    first, second = START + timedelta(days=2), START + timedelta(days=15)
    alone = monitoring.watch(facts(hits), 0.01)
    assert (alone.alarms, alone.open_alarm, alone.state) == ((first,), first, "alarm")
    assert (alone.log_wealth[3:] == alone.log_wealth[2]).all()
    one = monitoring.watch(facts(hits), 0.01, [first])
    assert (one.alarms, one.open_alarm, one.state) == ((first, second), second, "alarm")
    other = monitoring.watch(facts(hits), 0.01, [second])
    assert other.open_alarm == first, "an acknowledgement is of one alarm, not of those before it"
    both = monitoring.watch(facts(hits), 0.01, [first, second])
    assert (both.alarms, both.open_alarm, both.state) == ((first, second), None, "quiet")


def test_a_day_on_which_all_markets_fail_counts_once() -> None:
    one = monitoring.watch(facts([0.0, 1.0], markets=1), 0.01)
    many = monitoring.watch(facts([0.0, 1.0], markets=40), 0.01)
    np.testing.assert_allclose(one.log_wealth, many.log_wealth)
    part = monitoring.watch(facts([0.25], markets=4), 0.01)
    assert part.log_wealth[0] == pytest.approx(np.log(1 + betting.FIXED_BET * (25 - 1)))


def test_a_warning_comes_before_the_alarm() -> None:
    found = monitoring.watch(facts([1.0, 1.0, 0.0]), 0.01)
    assert (found.state, found.warned_on) == ("warning", START + timedelta(days=1))
    assert monitoring.watch(facts([]).astype({"target_date": "datetime64[ns]"}), 0.01).state == "quiet"


@given(st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.25, 1.0]), min_size=2, max_size=60), st.integers(1, 59))
@hypothesis_settings(deadline=None, max_examples=60)
def test_wealth_never_looks_ahead(hits: list[float], cut: int) -> None:
    whole = monitoring.watch(facts(hits), 0.05)
    part = monitoring.watch(facts(hits[:cut]), 0.05)
    np.testing.assert_array_equal(whole.log_wealth[: len(part.dates)], part.log_wealth)
    assert part.alarms == tuple(day for day in whole.alarms if day <= part.dates[-1].item())


def test_open_alarms_are_named() -> None:
    loud = monitoring.watch(facts([1.0, 1.0, 1.0]), 0.01)
    calm = monitoring.watch(facts([0.0]), 0.01)
    assert monitoring.objection({("overshoot_24h", "long"): calm}) is None
    told = monitoring.objection({("overshoot_24h", "long"): calm, ("overshoot_24h", "short"): loud})
    assert told == "overshoot_24h short: alarm of 2020-01-03 (wealth 42.0)"


def test_the_scorecard_by_hand() -> None:
    day = pd.Timestamp("2022-03-01")
    recommended = pd.DataFrame(
        {
            "as_of": [day, day, day, pd.Timestamp("2022-03-20")],
            "symbol": ["AAA", "AAA", "BBB", "AAA"],
            "product": "lending",
            "side": ["long", "short", "long", "long"],
            "status": "tighten",
            "trigger_depth": [2.0, 2.0, 2.0, 2.0],
            "target_log": [0.20, 0.20, 0.20, np.nan],
            "in_force_log": [0.10, np.nan, 0.10, 0.10],
        }
    )
    events = pd.DataFrame(
        {
            "target_date": pd.to_datetime(["2022-03-01", "2022-03-02", "2022-03-05", "2022-03-06", "2022-04-20"]),
            "symbol": "AAA",
            "side": "long",
            "trigger_depth": [2.0, 2.0, 2.0, 1.0, 2.0],
            "overshoot_log": [0.50, 0.15, 0.25, 0.90, 0.90],
        }
    )
    found = monitoring.scorecard(recommended, events, last=date(2022, 3, 20))
    assert found["days_known"].tolist() == [19, 19, 19, 0]
    assert found["triggers"].tolist() == [2, 0, 0, pd.NA]
    assert found["worst_log"].iloc[0] == 0.25
    assert found["breaches_target"].tolist() == [1, 0, 0, pd.NA]
    assert found["breaches_in_force"].tolist() == [2, pd.NA, 0, pd.NA]
    later = monitoring.scorecard(recommended, events, last=date(2022, 6, 1))
    assert later["days_known"].tolist() == [30, 30, 30, 30]
    assert later["triggers"].tolist() == [2, 0, 0, 0], "the days after the thirtieth are not its"
