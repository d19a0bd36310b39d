"""Mirrors: sources that copy each other have one vote, year by year, by what was known when the year began.

What lives here: groups of mirrors for every year, and prices that count them. What does not: how alike two sources are
(``calendars``), the vote (``prices``).
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from plimsoll.consensus.calendars import mirror_groups
from plimsoll.consensus.judge import Judgement
from plimsoll.consensus.prices import consensus_prices

KEYS = ["date", "symbol", "source"]
MIRROR_DAYS = 730
"""Days before a year begins by which mirrors of that year are told."""


def without(rows: pd.DataFrame, rejected: pd.DataFrame) -> pd.DataFrame:
    """Return the bars that are not among the rejected ones."""
    gone = pd.MultiIndex.from_frame(rejected[KEYS])
    return rows[~pd.MultiIndex.from_frame(rows[KEYS]).isin(gone)]


def mirrors_by_year(candles: pd.DataFrame, judgement: Judgement) -> dict[int, dict[str, str]]:
    """Tell for every year which sources copy each other, from the two years before it.

    Parameters
    ----------
    candles
        As for `plimsoll.consensus.judge.judge`.
    judgement
        Bars whose verdict was known when the year began say nothing.

    Returns
    -------
    dict
        For each year with candles the sources that copy another one, and which (the first of their group by name);
        empty where nobody does. What a later year shows does not change it.
    """
    days = candles["date"]
    sources = sorted(candles["source"].unique())
    out: dict[int, dict[str, str]] = {}
    for year in range(int(days.min().year), int(days.max().year) + 1):
        begin = pd.Timestamp(year, 1, 1)
        known = judgement.rejected[judgement.rejected["known_on"] < begin]
        rows = without(candles[(days < begin) & (days >= begin - pd.Timedelta(days=MIRROR_DAYS))], known)
        out[year] = {}
        if rows["source"].nunique() < 3:
            # A copy shows itself only against somebody else.
            continue
        table = rows.pivot_table(index=["symbol", "date"], columns="source", values="close_usd", aggfunc="first")
        group = mirror_groups(np.log(table.reindex(columns=sources).to_numpy(np.float64)))
        out[year] = {name: sources[int(g)] for name, g in zip(sources, group, strict=True) if sources[int(g)] != name}
    return out


def prices_by_year(
    candles: pd.DataFrame,
    judgement: Judgement,
    venues: Mapping[str, str],
    mirrors: Mapping[int, Mapping[str, str]],
    *,
    as_of: pd.Timestamp | None = None,
) -> pd.DataFrame:
    """Make prices as `plimsoll.consensus.consensus_prices` does, with the mirrors of each day's year as one venue."""
    by_copies: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for year, copies in mirrors.items():
        by_copies.setdefault(tuple(sorted(copies.items())), []).append(year)
    parts = []
    for pairs, years in by_copies.items():
        one_vote = {**venues, **{name: venues.get(of, of) for name, of in pairs}}
        table = consensus_prices(candles, judgement, venues=one_vote, as_of=as_of)
        parts.append(table[table["date"].dt.year.isin(years)])
    whole = pd.concat(parts, ignore_index=True)
    ordered: pd.DataFrame = whole.sort_values(["symbol", "date"], kind="stable", ignore_index=True)
    return ordered
