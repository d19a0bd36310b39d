"""Monitoring: every model's limit under daily watch, and what stands of past recommendations.

What lives here: evidence by date over all markets, alarms and their acknowledgement, the scorecard of what was
recommended. What does not: e-processes themselves (``backtests.betting``), who may acknowledge (the configuration).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plimsoll.backtests import betting

Floats = NDArray[np.float64]

OUTLOOK_DAYS = 30
"""Days after a recommendation on which it is judged."""


@dataclass(frozen=True)
class Watch:
    """The wealth of betting against one limit, restarted after each acknowledged alarm.

    Attributes
    ----------
    dates
        Days with at least one judged market, in order.
    log_wealth
        ln M on each of them, from 0 again after an acknowledged alarm.
    alarms
        Dates of all alarms, the open one last.
    open_alarm
        Date of the alarm that nobody has acknowledged, or None.
    warned_on
        First day of the present stretch on which M reached the warning level, or None.
    """

    dates: NDArray[np.datetime64]
    log_wealth: Floats
    alarms: tuple[date, ...]
    open_alarm: date | None
    warned_on: date | None

    @property
    def state(self) -> str:
        """``alarm`` while one is open, else ``warning``, else ``quiet``."""
        if self.open_alarm is not None:
            return "alarm"
        return "warning" if self.warned_on is not None else "quiet"


def watch(facts: pd.DataFrame, p: float, acknowledged: Sequence[date] = ()) -> Watch:
    r"""Bet against a limit, day by day, with all markets of a date as one observation.

    The evidence of a date is the mean over its markets of :math:`1\{breach\}/p`: an average of e-values is an e-value
    under any dependence, so that a day on which every market fails counts once.

    Parameters
    ----------
    facts
        ``target_date, is_breach``, one row a judged market and day; any order.
    p
        Nominal rate.
    acknowledged
        Dates of alarms that were acknowledged: the day after each, betting begins anew. Others have no effect.

    Returns
    -------
    Watch
        A day's wealth depends on facts up to that day only. Betting stops at an alarm nobody acknowledged: later
        wealth would only repeat it.

    Notes
    -----
    Source: Wang, Wang and Ziegel 2022; stakes of 2.5 percent, warning at 5, alarm at 20.
    """
    by_date = facts.groupby("target_date")["is_breach"].mean().sort_index()
    dates = by_date.index.to_numpy().astype("datetime64[D]")
    evidence = by_date.to_numpy(np.float64) / p
    known = set(acknowledged)
    log_wealth = np.zeros(len(dates))
    alarms: list[date] = []
    start, warned = 0, None
    open_alarm: date | None = None
    while start < len(dates):
        stretch = evidence[start:]
        found = betting.wealth(stretch, betting.fixed_bets(stretch))
        warned = _day(dates, start, found.warned_at)
        if found.alarmed_at is None:
            log_wealth[start:] = found.log_wealth
            break
        at = start + found.alarmed_at
        log_wealth[start : at + 1] = found.log_wealth[: found.alarmed_at + 1]
        alarms.append(dates[at].item())
        if alarms[-1] not in known:
            open_alarm = alarms[-1]
            log_wealth[at:] = log_wealth[at]
            break
        start, warned = at + 1, None
    return Watch(dates, log_wealth, tuple(alarms), open_alarm, warned)


def _day(dates: NDArray[np.datetime64], start: int, at: int | None) -> date | None:
    return None if at is None else dates[start + at].item()


def scorecard(recommended: pd.DataFrame, events: pd.DataFrame, *, last: date, days: int = OUTLOOK_DAYS) -> pd.DataFrame:
    """Set each past recommendation against what happened on the days after it.

    Parameters
    ----------
    recommended
        One row a recommendation: ``as_of, symbol, product, side, status, trigger_depth`` and the log moves over 24
        hours that the target and the set in force carry, ``target_log, in_force_log`` (NaN where there is none).
    events
        Triggers: ``target_date, symbol, side, trigger_depth, overshoot_log``.
    last
        Last day that is known.
    days
        Days after the recommendation that count.

    Returns
    -------
    DataFrame
        The same rows with ``days_known, triggers, worst_log, breaches_target, breaches_in_force``; a count is null
        where there was nothing to breach, and never zero for want of data: a recommendation of today has no day yet.
    """
    keys = ["symbol", "side", "trigger_depth"]
    rows = recommended.reset_index(drop=True)
    rows["row"] = np.arange(len(rows))
    both = rows[["row", "as_of", "target_log", "in_force_log", *keys]].merge(events, on=keys, how="inner")
    after = (both["target_date"] - both["as_of"]).dt.days
    both = both[(after > 0) & (after <= days) & (both["target_date"] <= pd.Timestamp(last))]
    grouped = both.groupby("row")
    out = rows.assign(
        days_known=(pd.Timestamp(last) - rows["as_of"]).dt.days.clip(lower=0, upper=days),
        triggers=rows["row"].map(grouped.size()).fillna(0).astype("Int64"),
        worst_log=rows["row"].map(grouped["overshoot_log"].max()),
    )
    for name in ("target", "in_force"):
        beyond = both["overshoot_log"] > both[f"{name}_log"]
        count = rows["row"].map(beyond.groupby(both["row"]).sum()).fillna(0)
        out[f"breaches_{name}"] = count.where(rows[f"{name}_log"].notna() & (out["days_known"] > 0)).astype("Int64")
    out["triggers"] = out["triggers"].where(out["days_known"] > 0)
    return out.drop(columns="row")


def objection(watches: Mapping[tuple[str, str], Watch]) -> str | None:
    """Say which alarms are open, or None."""
    found = [
        f"{series} {side}: alarm of {one.open_alarm} (wealth {np.exp(one.log_wealth[-1]):.1f})"
        for (series, side), one in watches.items()
        if one.open_alarm is not None
    ]
    return "; ".join(found) or None
