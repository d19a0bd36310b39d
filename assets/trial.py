"""Trial: every test of every limit, and each past recommendation against what happened.

What lives here: laying breach facts and recommendations out for the tests. What does not: the tests
(``plimsoll.backtests``), the scorecard (``plimsoll.monitoring``), the nightly coverage table (``assets.breaches``).
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

import plimsoll
from assets import _run
from assets._budget import product_specs
from assets.recommendations import absorbed_in_force
from dagster_project import in_force
from dagster_project.in_force_files import Key
from dagster_project.settings import Settings
from dagster_project.warehouse import Session
from plimsoll import monitoring
from plimsoll.backtests import battery, betting, clusters, multiplicity
from plimsoll.recommendations import LendingSet, PerpetualSet
from reports.words import records

SEQUENCES = ("var_close", "excursion")
"""Series that are judged on every day, so that their order means something."""
SCORED_DAYS = 365
CALIBRATION_SHARE = 0.5
"""Share of the history from which the joint law of all markets is drawn; the rest is judged by it."""
KEYS = ["series", "model", "side", "tail_probability_bps"]


def seed_of(settings: Settings, day: date) -> int:
    """Return the seed of everything drawn for a day."""
    return int(_run.digest(str(day), settings.config_hash, plimsoll.METHODOLOGY), 16) % 2**32


def batteries(facts: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Test every sequence of days: one row a market, series, model, side, probability and test.

    Parameters
    ----------
    facts
        Breach facts, every series.
    seed
        Of the simulated laws.
    """
    rows: list[dict[str, Any]] = []
    judged = facts[facts["series"].isin(SEQUENCES)].sort_values("target_date", kind="stable")
    for key, group in judged.groupby([*KEYS, "symbol"], sort=True):
        named = dict(zip([*KEYS, "symbol"], key, strict=True))
        verdicts = battery.sequence_battery(
            group["is_breach"].to_numpy(np.bool_),
            int(str(named["tail_probability_bps"])) / 1e4,
            quantile_return=-group["limit_log"].to_numpy(np.float64),
            seed=seed,
        )
        rows += [named | asdict(one) for one in verdicts]
    return pd.DataFrame(rows)


def discoveries(facts: pd.DataFrame, tests: pd.DataFrame) -> pd.DataFrame:
    """Name the markets whose limit fails when all are tested at once, by p-values and by e-values."""
    rows = []
    if tests.empty:
        return pd.DataFrame()
    ratio = tests[tests["test"] == "proportion of failures"]
    for key, group in ratio.groupby(KEYS, sort=True):
        named = dict(zip(KEYS, key, strict=True))
        p = int(str(named["tail_probability_bps"])) / 1e4
        p_values = {
            str(r.symbol): None if r.verdict == "not enough data" or pd.isna(r.p_value) else float(r.p_value)
            for r in records(group)
        }
        mine = facts[(facts[KEYS] == pd.Series(named)).all(axis=1)].sort_values("target_date", kind="stable")
        wealth = {}
        for symbol, own in mine.groupby("symbol", sort=True):
            evidence = betting.quantile_evidence(own["is_breach"].to_numpy(np.bool_), p)
            wealth[str(symbol)] = betting.wealth(evidence, betting.fixed_bets(evidence)).final
        plain = multiplicity.benjamini_hochberg(p_values)
        strict = multiplicity.benjamini_hochberg(p_values, is_dependent=True)
        by_wealth = multiplicity.e_benjamini_hochberg(wealth)
        rows.append(
            named
            | {
                "markets": len(p_values),
                "without_verdict": ", ".join(plain.left_out),
                "rejected_bh": ", ".join(plain.rejected),
                "rejected_by": ", ".join(strict.rejected),
                "rejected_e_bh": ", ".join(by_wealth.rejected),
            }
        )
    return pd.DataFrame(rows)


def market_level(facts: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Test all markets at once by date, and count exceptions by row, date and cluster."""
    rows = []
    for key, group in facts[facts["series"].isin(SEQUENCES)].groupby(KEYS, sort=True):
        named = dict(zip(KEYS, key, strict=True))
        p = int(str(named["tail_probability_bps"])) / 1e4
        found = clusters.count(group["target_date"].to_numpy("datetime64[D]"), group["is_breach"].to_numpy(np.bool_))
        row = named | asdict(found) | {"total_p": np.nan, "worst_date_p": np.nan, "note": ""}
        wide = group.assign(score=-group["realised_log"] / (group["limit_log"] / group["limit_sigma"]))
        scores = wide.pivot_table(index="target_date", columns="symbol", values="score").sort_index()
        hits = wide.assign(hit=wide["is_breach"].astype(float))
        hits = hits.pivot_table(index="target_date", columns="symbol", values="hit").reindex(scores.index)
        cut = int(len(scores) * CALIBRATION_SHARE)
        early, late = scores.iloc[:cut], hits.iloc[cut:]
        enough = [name for name in scores if early[name].notna().sum() >= 1 / p and late[name].notna().any()]
        if not enough:
            row["note"] = "too few days before the judged ones"
        else:
            simulated = clusters.simulate_joint(late[enough], early[enough], p, draws=499, seed=seed)
            total, worst = clusters.market_level(clusters.daily_counts(late[enough]), simulated)
            row |= {"total_p": total.p_value, "worst_date_p": worst.p_value}
        rows.append(row)
    return pd.DataFrame(rows)


def scorecard(session: Session, settings: Settings, day: date) -> pd.DataFrame:
    """Set the recommendations of the last year against what happened on the days after each."""
    identity = {"methodology": plimsoll.METHODOLOGY, "config_hash": settings.config_hash}
    first = day - timedelta(days=SCORED_DAYS)
    rows = session.query("recommendations_since", first=first, last=day, **identity)
    if rows.empty:
        return pd.DataFrame()
    events = session.query("overshoot_events", last=day, **identity)
    to_a_day = ((24.0 / rows["horizon_hours"]) ** rows["eta"]).to_numpy(np.float64)
    has_target = rows["target"].notna().to_numpy(np.bool_)
    stands = in_force.live(settings)
    moves = rows.assign(
        target_log=np.where(has_target, rows["absorbed_move"].to_numpy(np.float64) * to_a_day, np.nan),
        in_force_log=[
            _in_force(settings, stands, row) * factor for row, factor in zip(records(rows), to_a_day, strict=True)
        ],
    )
    return monitoring.scorecard(moves, events, last=day)


def _in_force(settings: Settings, stands: Mapping[Key, LendingSet | PerpetualSet], row: Any) -> float:
    """Log move that the value in force on that day carried, with the other parameters of the set as they are now."""
    symbol = str(row.symbol)
    specs = product_specs(settings, symbol) if symbol in settings.markets else []
    spec = next((one for one in specs if one.product == row.product), None)
    live = stands.get((symbol, str(row.product), str(row.side)))
    if spec is None or live is None or pd.isna(row.in_force):
        return float("nan")
    value = int(row.in_force)
    then = (
        LendingSet(value, live.ltv_bps, live.bonus_bps)
        if isinstance(live, LendingSet)
        else PerpetualSet(value, live.im_bps, live.max_leverage)
    )
    return float(absorbed_in_force(then, spec, str(row.side), row.lambda_slippage, row.oracle_error))
