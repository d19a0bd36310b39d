"""The backtest table: breach facts counted, tested and put in the regulators' words.

What lives here: grouping facts by scope, side, series, model and probability, and one row of figures each. What does
not: the tests themselves (``coverage``), the facts (``breaches``).
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from plimsoll import coverage

POOLED = "POOLED"
MINIMUM_OBSERVATIONS = 250
"""Observations below which a verdict on one scope would say nothing: power against twice the rate is a quarter."""
BLOCK_DAYS = 20
DRAWS = 1000
LEVEL = 0.90
CONDITIONAL = "overshoot_"
"""What the names of series begin with that are judged given a trigger: their rows are no sequence of days."""
KEYS = ["side", "series", "model", "tail_probability_bps"]


def coverage_table(facts: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Count and test breach facts by market and pooled over markets.

    Parameters
    ----------
    facts
        Breach rows: ``target_date, symbol, side, series, model, tail_probability_bps, limit_log, realised_log,
        limit_sigma, is_breach``.
    seed
        Of the date-block bootstrap.

    Returns
    -------
    DataFrame
        One row a scope, side, series, model and probability, with the value columns of the coverage table. Figures that
        do not apply are NaN: Christoffersen's test on series that are conditional on a trigger, or pooled, where
        rows are no sequence of days; every test on trigger counts, which have no nominal rate. ``verdict`` says "not
        enough data" below 250 observations, never "passed".

    Notes
    -----
    Observations, exceptions, achieved coverage, largest and average exception are the terms of the CPMI-IOSCO
    quantitative disclosures (6.5). Intervals: blocks of 20 days of trigger dates, all markets of a date together,
    because overshoots cluster on few market-wide days.
    """
    rows: list[dict[str, object]] = []
    ordered = facts.sort_values(["target_date", "symbol"], kind="stable")
    for scope, scoped in [(POOLED, ordered), *ordered.groupby("symbol", sort=True)]:
        for key, group in scoped.groupby(KEYS, sort=True):
            rows.append(_row(str(scope), dict(zip(KEYS, key, strict=True)), group, seed))
    return pd.DataFrame(rows)


def _row(scope: str, key: dict[str, object], group: pd.DataFrame, seed: int) -> dict[str, object]:
    hits = group["is_breach"].to_numpy(np.bool_)
    dates = group["target_date"].to_numpy("datetime64[D]")
    beyond = (group["realised_log"] - group["limit_log"]).to_numpy(np.float64)[hits]
    n, x = len(hits), int(hits.sum())
    p = int(str(key["tail_probability_bps"])) / 10_000
    row: dict[str, object] = {
        "scope": scope,
        **key,
        "first_date": group["target_date"].iloc[0],
        "observations": n,
        "distinct_dates": len(np.unique(dates)),
        "exceptions": x,
        "exception_dates": len(np.unique(dates[hits])),
        "exception_rate": x / n,
        "largest_exception_log": float(beyond.max()) if x else np.nan,
        "average_exception_log": float(beyond.mean()) if x else np.nan,
        "mean_limit_sigma": float(group["limit_sigma"].mean()),
    }
    low, high = coverage.date_block_interval(dates, hits, block_days=BLOCK_DAYS, level=LEVEL, draws=DRAWS, seed=seed)
    row |= {"interval_low": low, "interval_high": high}
    return row | _tests(hits, n, x, p, is_sequence=scope != POOLED and not str(key["series"]).startswith(CONDITIONAL))


def _tests(hits: NDArray[np.bool_], n: int, x: int, p: float, *, is_sequence: bool) -> dict[str, object]:
    out: dict[str, object] = dict.fromkeys(
        ("kupiec_lr", "kupiec_p", "independence_lr", "independence_p", "joint_p", "power_double"), np.nan
    )
    if p == 0:
        return out | {"zone": "not applicable", "verdict": "not applicable"}
    proportion = coverage.kupiec(x, n, p)
    out |= {"kupiec_lr": proportion.lr, "kupiec_p": proportion.p_value}
    if is_sequence and n > 1:
        independence = coverage.christoffersen_independence(hits)
        out |= {"independence_lr": independence.lr, "independence_p": independence.p_value}
        out["joint_p"] = float(stats.chi2.sf(proportion.lr + independence.lr, 2))
    out["power_double"] = float(coverage.kupiec_power(n, p, 2 * p))
    enough = n >= MINIMUM_OBSERVATIONS
    out["zone"] = coverage.basel_zone(x, n, p) if enough else "not enough data"
    out["verdict"] = coverage.verdict(x, n, p, minimum_observations=MINIMUM_OBSERVATIONS)
    return out
