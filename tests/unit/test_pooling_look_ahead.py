"""Look-ahead of whatever pools markets: the future is replaced by a wilder one, and not one byte may move.

The check takes the pooling function as argument, and is itself checked against a function that leaks one day.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from plimsoll import overshoot, tail_models, uncertainty
from plimsoll.overshoot import QuantileSpec

SPEC = QuantileSpec(depths=(1.0, 2.0), minimum_triggers=60, shrinkage_tail_events=10.0, half_life_triggers=120.0)
DAYS = 900
FIRST = pd.Timestamp("2019-01-01")
SYMBOLS = ("AAA", "BBB", "CCC")
Pooling = Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]
"""Events of all markets and targets (``symbol, as_of, target_date``) to one row a target or more."""


def bars(seed: int, volatility: float, gap_every: int) -> dict[str, pd.DataFrame]:
    """Bars of markets that share a factor; each ``gap_every``-th day is no one-day return."""
    rng = np.random.default_rng(seed)
    factor = rng.standard_t(3, DAYS)
    out = {}
    for symbol in SYMBOLS:
        moves = volatility * (0.7 * factor + 0.7 * rng.standard_t(4, DAYS)) / 1.7
        close = 100 * np.exp(np.cumsum(moves))
        before = np.concatenate([[100.0], close[:-1]])
        wick = np.exp(np.abs(rng.normal(0, volatility, (2, DAYS))))
        out[symbol] = pd.DataFrame(
            {
                "date": pd.date_range(FIRST, periods=DAYS),
                "previous_close_usd": before,
                "high_usd": np.maximum(close, before) * wick[0],
                "low_usd": np.minimum(close, before) / wick[1],
                "is_return_valid": np.arange(DAYS) % gap_every > 0,
            }
        )
    return out


def events_of(markets: dict[str, pd.DataFrame], sigma: np.ndarray) -> pd.DataFrame:
    frames = []
    for symbol, prices in markets.items():
        made = pd.DataFrame(
            {"target_date": prices["date"], "symbol": symbol, "sigma_daily": sigma, "sigma_eff_daily": sigma}
        )
        frames.append(overshoot.trigger_events(prices, made, SPEC.depths))
    return pd.concat(frames, ignore_index=True)


def futures(target: pd.Timestamp, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Events of one history, and of the same one continued from the target on at three times the volatility."""
    day = (target - FIRST).days
    ours, other = bars(1, 0.03, 37), bars(seed, 0.09, 5)
    mixed = {
        symbol: pd.concat([ours[symbol].iloc[:day], other[symbol].iloc[day:]], ignore_index=True) for symbol in SYMBOLS
    }
    later = np.where(np.arange(DAYS) < day, 0.03, 0.05)
    return events_of(ours, np.full(DAYS, 0.03)), events_of(mixed, later)


def looks_ahead(pooling: Pooling, *, seed: int = 7) -> bool:
    """Whether any row of any target changes when all data from the target date on are others."""
    for day in (300, 455, 701):
        target = FIRST + pd.Timedelta(days=day)
        targets = pd.DataFrame({"symbol": SYMBOLS, "as_of": target - pd.Timedelta(days=1), "target_date": target})
        ours, theirs = (pooling(events, targets) for events in futures(target, seed))
        assert len(ours) >= len(targets), "a pooling that gives no rows would pass anything"
        assert ours.select_dtypes("number").notna().any().any()
        if bytes_of(ours) != bytes_of(theirs):
            return True
    return False


def bytes_of(rows: pd.DataFrame) -> bytes:
    return b"".join(
        rows[name].to_numpy().tobytes() if rows[name].dtype.kind in "fiMb" else repr(rows[name].tolist()).encode()
        for name in rows
    )


def walk(events: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
    return overshoot.walk_quantiles(events, targets, SPEC)


def intervals(events: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
    as_of = targets["as_of"].iloc[0]
    return uncertainty.quantile_intervals(events, targets["symbol"].tolist(), as_of, SPEC, seed=2, draws=40)


def pooled_tails(events: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for as_of in targets["as_of"]:
        for side in overshoot.SIDES:
            sample = tail_models.overshoot_sample(events, side=side, trigger_depth=1.0, as_of=as_of)
            weights = tail_models.decay_weights(len(sample), 300.0)
            rows += [vars(one) for one in tail_models.estimates(sample, (0.05, 0.01), weights)]
    return pd.DataFrame(rows)


def leaky(pooling: Pooling) -> Pooling:
    """Let the events of the target date itself in, and nothing later."""
    return lambda events, targets: pooling(events, targets.assign(as_of=targets["target_date"]))


POOLINGS = pytest.mark.parametrize("pooling", [walk, intervals, pooled_tails], ids=lambda one: one.__name__)


@POOLINGS
def test_pooling_does_not_look_ahead(pooling: Pooling) -> None:
    assert not looks_ahead(pooling)


@POOLINGS
def test_a_pooling_that_knows_the_target_date_is_caught(pooling: Pooling) -> None:
    assert looks_ahead(leaky(pooling))


def test_a_pooling_over_all_history_is_caught() -> None:
    assert looks_ahead(lambda events, targets: walk(events, targets.assign(as_of=FIRST + pd.Timedelta(days=DAYS))))
