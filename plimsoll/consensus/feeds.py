"""Feeds: how every source of every market did over the last days, its score day by day, and its quarantine.

What lives here: the measures behind a score (what came, what is stale, what disagrees, what was revised, what follows
late, what is a copy) over trailing windows. What does not: the score and quarantine themselves (``scores``), verdicts
on bars (``judge``), who copies whom (``mirrors``).
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from plimsoll.consensus.judge import Judgement
from plimsoll.consensus.mirrors import without
from plimsoll.consensus.numerics import Bools, Floats
from plimsoll.consensus.scores import feed_score, quarantined
from plimsoll.consensus.vote import FLOOR, MAD_TO_SIGMA, VOTE_SIGMAS, row_median

WINDOW_DAYS = 90
"""Days over which a feed is measured."""
SCORED_DAYS = 30
"""Days that are scored, the last of them the day asked for; quarantine needs the seven before it at the least."""
QUIET = 25e-4
"""Below this move of the market a day tells nothing about who was first."""

SCORES = ("score", "completeness", "staleness", "agreement", "revisions", "discovery", "independence")


def feed_days(
    candles: pd.DataFrame,
    judgement: Judgement,
    prices: pd.DataFrame,
    sessions: Mapping[str, pd.DatetimeIndex],
    revised: pd.DataFrame,
    mirrors: Mapping[str, str],
    last: pd.Timestamp,
    *,
    scored_days: int = SCORED_DAYS,
) -> pd.DataFrame:
    """Measure and score every feed on the days up to ``last``.

    Parameters
    ----------
    candles, judgement
        Candles of all sources, and what was found in them.
    prices
        Result of `plimsoll.consensus.consensus_prices`.
    sessions
        Days on which each market should have a bar, up to ``last``.
    revised
        ``date, symbol, source`` of bars whose value changed after it was first given.
    mirrors
        Sources that copy another one.
    last
        Day asked for.
    scored_days
        Days up to it that get a score; those before the first day that matters let its quarantine settle.

    Returns
    -------
    DataFrame
        ``date, symbol, source, score`` and its six penalties, ``bars, expected, rejected`` over the ninety days,
        ``days_stale`` (sessions without a bar since the newest), ``disagreement_bp`` (median distance of closes from
        those agreed on, NaN where nobody else is there), ``is_quarantined``; one row a feed and session of those days,
        from its first bar on. A feed without a bar for ninety days has ended and has no row. A day
        depends on nothing after it but verdicts that came to be known by ``last``.
    """
    rejected = judgement.rejected[judgement.rejected["known_on"] <= last]
    begin = last - pd.Timedelta(days=scored_days)
    distance = _distances(candles, prices, rejected, begin - pd.Timedelta(days=WINDOW_DAYS + 7), last)
    group = {name: mirrors.get(name, name) for name in candles["source"].unique()}
    sizes = pd.Series(group).value_counts().to_dict()
    frames = []
    for (symbol, source), mine in candles.groupby(["symbol", "source"], sort=True):
        due = sessions[str(symbol)]
        days = due[(due > begin) & (due <= last) & (due >= mine["date"].min())]
        if not len(days) or mine["date"].max() < last - pd.Timedelta(days=WINDOW_DAYS):
            continue
        refused = _of(rejected, symbol, source)["date"]
        changed = _of(revised, symbol, source)["date"]
        own = _of(distance, symbol, source)
        scored = [
            _scored(day, mine["date"], due, refused, changed, own, int(sizes[group[str(source)]])) for day in days
        ]
        table = pd.DataFrame(scored).assign(date=days, symbol=str(symbol), source=str(source))
        table["is_quarantined"] = quarantined(
            table["score"].to_numpy(np.float64), days.isin(pd.DatetimeIndex(refused)).astype(np.float64)
        )
        frames.append(table)
    columns = ["date", "symbol", "source", *SCORES, "bars", "expected", "rejected", "days_stale", "disagreement_bp"]
    if not frames:
        return pd.DataFrame(columns=[*columns, "is_quarantined"])
    return pd.concat(frames, ignore_index=True)[[*columns, "is_quarantined"]]


def _of(frame: pd.DataFrame, symbol: object, source: object) -> pd.DataFrame:
    return frame[((frame["symbol"] == symbol) & (frame["source"] == source)).to_numpy(dtype=bool)]


def _distances(
    candles: pd.DataFrame, prices: pd.DataFrame, rejected: pd.DataFrame, first: pd.Timestamp, last: pd.Timestamp
) -> pd.DataFrame:
    """Distance of every close from the one agreed on, in log and in robust deviations, over the days that count.

    The deviation of a day is a fifth of the limit beyond which the vote leaves a source out, so that a score of five
    is where a vote is lost; alone nobody disagrees.
    """
    rows = without(candles[(candles["date"] > first) & (candles["date"] <= last)], rejected)
    agreed = prices.loc[prices["date"] > first, ["date", "symbol", "close_usd", "venues"]]
    both = rows[["date", "symbol", "source", "close_usd"]].merge(
        agreed.rename(columns={"close_usd": "agreed_usd"}), on=["date", "symbol"], how="left"
    )
    both["log"] = np.abs(np.log(both["close_usd"] / both["agreed_usd"]))
    table = both.pivot_table(index=["date", "symbol"], columns="source", values="log", aggfunc="first", dropna=False)
    scale = np.fmax(MAD_TO_SIGMA * row_median(table.to_numpy(np.float64)), FLOOR / VOTE_SIGMAS)
    both = both.merge(pd.Series(scale, index=table.index, name="scale").reset_index(), on=["date", "symbol"])
    alone = ~(both["venues"] >= 2)
    both["log"] = both["log"].where(~alone)
    both["z"] = both["log"] / both["scale"]
    both = both.sort_values(["symbol", "source", "date"], kind="stable", ignore_index=True)
    both["is_first"] = _is_first(both, alone.to_numpy(dtype=bool))
    return both


def _is_first(both: pd.DataFrame, alone: Bools) -> Floats:
    """1 where a feed's return is nearer to the market's of that day than to that of the day before; NaN if quiet."""
    by = both.groupby(["symbol", "source"], sort=False)
    own = np.log(both["close_usd"]) - np.log(by["close_usd"].shift(1))
    market = np.log(both["agreed_usd"]) - np.log(by["agreed_usd"].shift(1))
    before = market.groupby([both["symbol"], both["source"]], sort=False).shift(1)
    tells = (np.abs(market - before) > QUIET) & own.notna() & ~alone
    return np.where(tells, (np.abs(own - market) <= np.abs(own - before)).astype(np.float64), np.nan)


def _scored(
    day: pd.Timestamp,
    dates: pd.Series,
    due: pd.DatetimeIndex,
    refused: pd.Series,
    changed: pd.Series,
    own: pd.DataFrame,
    group_size: int,
) -> dict[str, float]:
    first = max(day - pd.Timedelta(days=WINDOW_DAYS - 1), dates.min())
    came = dates[(dates >= first) & (dates <= day)]
    expected = int(((due >= first) & (due <= day)).sum())
    newest = dates[dates <= day].max()
    stale = float((due[(due > newest) & (due <= day)]).size)
    bad = int(((refused >= first) & (refused <= day)).sum())
    seen = own[((own["date"] >= first) & (own["date"] <= day)).to_numpy(dtype=bool)]
    z, log, is_first = (seen[name].dropna() for name in ("z", "log", "is_first"))
    revised = int(((changed >= first) & (changed <= day)).sum())
    score = feed_score(
        bars=len(came) - min(bad, len(came)),
        expected=expected,
        days_stale=stale,
        median_abs_z=float(z.median()) if len(z) else float("nan"),
        revised_share=min(revised / max(len(came), 1), 1.0),
        discovery_share=float(is_first.mean()) if len(is_first) else 1.0,
        sources_in_group=group_size,
    )
    return {name: getattr(score, name) for name in SCORES} | {
        "bars": len(came),
        "expected": expected,
        "rejected": bad,
        "days_stale": stale,
        "disagreement_bp": 1e4 * float(log.median()) if len(log) else float("nan"),
    }
