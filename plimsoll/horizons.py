"""Horizons: how far a price went in the hours after a trigger, where bars within the day show it.

What lives here: breach facts at the horizon of a liquidation from intraday bars. What does not: the overshoot of daily
bars (``overshoot``), tests of the facts (``backtest``), reading bars.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plimsoll import breaches

Floats = NDArray[np.float64]

HORIZON_HOURS = (1, 4, 8, 24)
"""Horizons at which the scaling of the estimate is tested."""
UNTESTED = "horizon scaling untested"
"""What is said where no intraday bars exist."""


@dataclass(frozen=True)
class Paths:
    """What intraday bars show of trigger days.

    Attributes
    ----------
    moves
        One row a trigger and horizon: ``symbol, side, target_date, trigger_depth, horizon_hours, touched_at,
        overshoot_most_log, overshoot_least_log``.
    without_bars, untouched, cut_short
        Triggers on days without bars; triggers that the bars do not show (another venue's wick); horizons for which a
        bar is missing or not yet known. None of them is judged, and none is counted as no breach.
    """

    moves: pd.DataFrame
    without_bars: int
    untouched: int
    cut_short: int


HOURS_A_DAY = 24
NEVER = -1
"""No bar of the day reaches the level."""
MOVE_COLUMNS = [
    "symbol",
    "side",
    "target_date",
    "trigger_depth",
    "horizon_hours",
    "touched_at",
    "overshoot_most_log",
    "overshoot_least_log",
]


def follow(events: pd.DataFrame, bars: pd.DataFrame, horizons: tuple[int, ...] = HORIZON_HOURS) -> Paths:
    r"""Follow the price from the bar that first touched each trigger.

    .. math:: O_\tau = \ln\frac{L}{\min_{t_0 \le t \le t_0 + \tau} Low_t}

    and for shorts :math:`\ln(\max High / L)`. The trigger was touched somewhere within its hour, so that :math:`\tau`
    hours end somewhere within the hour :math:`\tau` later: *most* counts that last bar whole, *least* leaves it out.
    Truth lies between; limits are judged by *most*.

    Parameters
    ----------
    events
        ``symbol, side, target_date, trigger_depth, trigger_price_usd``.
    bars
        Hourly, one row a market and hour, in UTC: ``symbol, ts, high_usd, low_usd``; ``ts`` marks the start.
    horizons
        Hours.

    Returns
    -------
    Paths

    Raises
    ------
    ValueError
        Where a market has two bars of one hour.
    """
    doubled = bars.duplicated(["symbol", "ts"])
    if doubled.any():
        row = bars.loc[doubled.to_numpy()].iloc[0]
        raise ValueError(f"{row['symbol']}: two bars of {row['ts']}; hand over one source a market and hour")
    found: list[tuple[object, ...]] = []
    without, untouched, cut = 0, 0, 0
    markets = {
        str(symbol): _Hours(
            own["ts"].to_numpy("datetime64[h]"),
            own["low_usd"].to_numpy(np.float64),
            own["high_usd"].to_numpy(np.float64),
        )
        for symbol, own in bars.sort_values("ts", kind="stable").groupby("symbol", sort=True)
    }
    columns = ["symbol", "side", "target_date", "trigger_depth", "trigger_price_usd"]
    for symbol, side, day, depth, level in events[columns].itertuples(index=False, name=None):
        known = markets.get(symbol)
        at = None if known is None else known.touch(day, side, level)
        if known is None or at is None:
            without += 1
        elif at == NEVER:
            untouched += 1
        else:
            worst = known.worst(at, side, level, max(horizons))
            cut += sum(tau >= len(worst) for tau in horizons)
            key = (symbol, side, day, depth)
            found += [(*key, tau, known.hours[at], worst[tau], worst[tau - 1]) for tau in horizons if tau < len(worst)]
    return Paths(pd.DataFrame(found, columns=MOVE_COLUMNS), without, untouched, cut)


@dataclass(frozen=True)
class _Hours:
    """Bars of one market in order."""

    hours: NDArray[np.datetime64]
    low: Floats
    high: Floats

    def touch(self, day: pd.Timestamp, side: str, level: float) -> int | None:
        """Row of the first bar of a day that reaches a level, ``NEVER``, or None where the day has not all its bars."""
        start = np.datetime64(day.date(), "h")
        first, last = np.searchsorted(self.hours, [start, start + 24])
        if last - first < HOURS_A_DAY:
            return None
        reached = self.low[first:last] <= level if side == "long" else self.high[first:last] >= level
        return int(first) + int(np.argmax(reached)) if reached.any() else NEVER

    def worst(self, at: int, side: str, level: float, hours: int) -> Floats:
        """Largest move beyond a level so far, bar by bar from ``at``; ends before the first missing bar."""
        span = slice(at, at + hours + 1)
        beyond = np.log(level / self.low[span]) if side == "long" else np.log(self.high[span] / level)
        ahead = (self.hours[span] - self.hours[at]).astype(np.int64)
        whole = int((ahead == np.arange(len(ahead))).sum())
        return np.asarray(np.maximum.accumulate(beyond[:whole]), dtype=np.float64)


def facts(moves: pd.DataFrame, events: pd.DataFrame, limits: pd.DataFrame) -> pd.DataFrame:
    r"""Judge the moves: the estimate carried to each horizon, and published parameters at their own.

    .. math:: limit(\tau) = k_p\,\sigma_t\,(\tau/24)^{\eta}

    Parameters
    ----------
    moves
        As `follow` gives them.
    events
        ``symbol, side, target_date, trigger_depth, sigma_daily``.
    limits
        One row a product: ``symbol, side, target_date, trigger_depth, product, eta, k_p*`` for the estimate, and
        ``tail_probability_bps, absorbed_move, horizon_hours`` for what its rounded parameters absorb; these are judged
        at the next whole hour, within which their own horizon ends. NaN: not judged.

    Returns
    -------
    DataFrame
        As `breaches` gives facts, with the series ``overshoot_<hours>h`` (lending: ``overshoot_<hours>h_deep``) and
        ``is_breach_at_least``: whether even the shorter count of the move is a breach. ``is_breach`` judges the longer
        count.
    """
    keys = ["symbol", "side", "target_date", "trigger_depth"]
    known = moves.merge(events[[*keys, "sigma_daily"]], on=keys, how="inner", validate="many_to_one")
    both = known.merge(limits, on=keys, how="inner", suffixes=("", "_own"))
    deep = np.where(both["product"] == "lending", "_deep", "")
    both["series"] = "overshoot_" + both["horizon_hours"].astype(str) + "h" + deep
    factor = both["sigma_daily"] * (both["horizon_hours"] / HOURS_A_DAY) ** both["eta"]
    frames = [
        _judged(both.assign(model="estimator", tail_probability_bps=bps, limit_log=both[f"k_p{bps}"] * factor))
        for bps in breaches.TRIGGER_PROBABILITIES_BPS
    ]
    own = np.ceil(both["horizon_hours_own"]) == both["horizon_hours"]
    frames.append(_judged(both[own].assign(model="published", limit_log=both.loc[own, "absorbed_move"])))
    return pd.concat(frames, ignore_index=True)


def _judged(rows: pd.DataFrame) -> pd.DataFrame:
    judged = rows[np.isfinite(rows["limit_log"].to_numpy(np.float64))]
    out: pd.DataFrame = judged.assign(
        realised_log=judged["overshoot_most_log"],
        limit_sigma=judged["limit_log"] / judged["sigma_daily"],
        is_breach=judged["overshoot_most_log"] > judged["limit_log"],
        is_breach_at_least=judged["overshoot_least_log"] > judged["limit_log"],
    )
    return out[[*breaches.COLUMNS, "is_breach_at_least"]]
