"""The backtest table: counts, words and pooled scopes."""

import numpy as np
import pandas as pd

from plimsoll import backtest


def _facts(n: int, hits: int, symbol: str = "AAA", series: str = "var_close", bps: int = 100) -> pd.DataFrame:
    flags = np.zeros(n, dtype=bool)
    flags[np.linspace(0, n - 1, hits).astype(int)] = True
    return pd.DataFrame(
        {
            "target_date": pd.date_range("2019-01-01", periods=n),
            "symbol": symbol,
            "side": "long",
            "series": series,
            "model": "garch_t",
            "tail_probability_bps": bps,
            "limit_log": 0.05,
            "realised_log": np.where(flags, 0.08, 0.01),
            "limit_sigma": 2.5,
            "is_breach": flags,
        }
    )


def _only(table: pd.DataFrame, scope: str) -> pd.Series:
    return table[table["scope"] == scope].iloc[0]


def test_counts_and_exceptions() -> None:
    row = _only(backtest.coverage_table(_facts(1000, 10), seed=1), "AAA")
    assert (row["observations"], row["exceptions"], row["exception_rate"]) == (1000, 10, 0.01)
    assert abs(row["largest_exception_log"] - 0.03) < 1e-12
    assert abs(row["average_exception_log"] - 0.03) < 1e-12
    assert row["verdict"] == "consistent"
    assert row["interval_low"] <= 0.01 <= row["interval_high"]


def test_too_many_is_rejected_and_few_observations_say_nothing() -> None:
    assert _only(backtest.coverage_table(_facts(1000, 40), seed=1), "AAA")["verdict"] == "rejected: too many"
    few = _only(backtest.coverage_table(_facts(200, 2), seed=1), "AAA")
    assert few["verdict"] == "not enough data"
    assert few["zone"] == "not enough data"


def test_pooled_rows_and_conditional_series_have_no_independence_test() -> None:
    both = pd.concat([_facts(400, 4), _facts(400, 4, "BBB")])
    table = backtest.coverage_table(both, seed=1)
    pooled = _only(table, "POOLED")
    assert pooled["observations"] == 800
    assert pooled["distinct_dates"] == 400
    assert np.isnan(pooled["independence_p"])
    given_trigger = backtest.coverage_table(_facts(400, 4, series="overshoot_24h"), seed=1)
    assert given_trigger["independence_p"].isna().all()


def test_trigger_counts_have_no_nominal_rate() -> None:
    row = _only(backtest.coverage_table(_facts(400, 100, series="trigger", bps=0), seed=1), "AAA")
    assert row["verdict"] == "not applicable"
    assert np.isnan(row["kupiec_p"])
