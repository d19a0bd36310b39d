"""Judge: candles of many sources in, every fault named, nothing averaged away.

What lives here: the order in which rules run, what was known when, and one name for a bar of which several rules
speak. What does not: the rules, and prices made of what is left (``prices``).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from plimsoll.consensus import calendars, columns, identity, spans, ticks
from plimsoll.consensus.features import Found, own_features
from plimsoll.consensus.numerics import Bools
from plimsoll.consensus.panel import DAY, Codes, Panel, encode, market_of, panels
from plimsoll.consensus.peers import LN10, peer_views

PRECEDENCE = (
    identity.SHIFT,
    columns.DUPLICATED,
    columns.SWAPPED,
    identity.SCALE,
    identity.REUSE,
    ticks.PART_DAY,
    ticks.BAD_TICK,
)
"""Where several rules speak of a bar, the first of these names it: the more exact one."""

SCREENED = {
    "duplicate_same": columns.DUPLICATED,
    "duplicate_conflict": columns.DUPLICATED,
    "reverting_spike": ticks.BAD_TICK,
    "broken_ohlc_order": "broken_bar",
}
"""Kinds of what the screen set aside; any other reason is ``unreadable_row``."""

EPOCH = np.datetime64("1970-01-01")


@dataclass(frozen=True)
class Judgement:
    """What is known of the bars.

    Attributes
    ----------
    rejected
        ``date, symbol, source, kind, detail, evidence, known_on``: one row for a bar that must not be used.
    findings
        The same columns, every rule that spoke; a bar may stand several times.
    spans
        ``start, end, symbol, source, kind, detail, known_on``: missing days, flat bars, days without volume,
        delistings, and sources whose days begin at another time (symbol ``*``).
    """

    rejected: pd.DataFrame
    findings: pd.DataFrame
    spans: pd.DataFrame


def judge(
    candles: pd.DataFrame,
    *,
    venues: Mapping[str, str] | None = None,
    as_of: pd.Timestamp | None = None,
    set_aside: pd.DataFrame | None = None,
) -> Judgement:
    """Judge every bar by its own series and by other sources.

    Parameters
    ----------
    candles
        ``date, symbol, source, open_usd, high_usd, low_usd, close_usd, volume, volume_unit``; one row for a series
        and day, as the screen lets pass; open, high and low NaN where a source gives closes only.
    venues
        Venue of a source; products of a venue have one vote. A source that is not named is its own venue.
    as_of
        Rows of later days are not looked at; None takes all.
    set_aside
        ``date, symbol, source, reason, detail`` of rows that the screen refused; they are named here, and their days
        are not missing.

    Returns
    -------
    Judgement
        A verdict depends on rows up to its ``known_on`` alone: judged on a later day it is the same.

    Raises
    ------
    ValueError
        Where the table is not as described; names the row.
    """
    rows = candles
    if as_of is not None:
        rows = candles[(candles["date"] <= as_of).to_numpy()]
        set_aside = None if set_aside is None else set_aside[(set_aside["date"] <= as_of).to_numpy()]
    codes = encode(rows)
    market = market_of(codes)
    table = dict(venues or {})
    found: list[pd.DataFrame] = []
    parts: list[spans.Spans] = [spans.delistings(codes)]
    first = int(codes.day.min()) if len(codes.day) else 0
    sums = calendars.PairSums.empty(first, int(codes.day.max()) - first + 1 if len(codes.day) else 1)
    for panel in panels(codes, table):
        own = own_features(panel, market)
        peers = peer_views(panel, own)
        for rule in (identity.identity_rules, columns.column_rules, ticks.tick_rules):
            found += [_table(panel, one) for one in rule(panel, own, peers)]
        parts += spans.bar_spans(panel, own, _seen(panel, set_aside))
        sums.add(panel, own)
    names = sorted({table.get(one, one) for one in codes.sources})
    venue = np.array([names.index(table.get(one, one)) for one in codes.sources], dtype=np.int64)
    parts.append(calendars.day_boundaries(sums, codes.sources, venue))
    if set_aside is not None and len(set_aside):
        found.append(_screened(set_aside, rows))
    findings = _sorted(pd.concat([_nothing(), *found], ignore_index=True) if found else _nothing())
    whole = spans.frame_of(parts)
    if as_of is not None:
        whole = whole[(whole["known_on"] <= as_of).to_numpy()].reset_index(drop=True)
    return Judgement(named(findings), findings, whole)


def named(findings: pd.DataFrame) -> pd.DataFrame:
    """Give each bar one name: that of the rule that stands first in `PRECEDENCE`."""
    rank = findings["kind"].map({kind: n for n, kind in enumerate(PRECEDENCE)}).fillna(-1)
    ordered = findings.assign(rank=rank).sort_values(["rank", "known_on"], kind="stable")
    best = ordered.drop_duplicates(["date", "symbol", "source"]).drop(columns="rank")
    return _sorted(best)


def _sorted(findings: pd.DataFrame) -> pd.DataFrame:
    keys = ["date", "symbol", "source", "kind", "known_on"]
    return findings.sort_values(keys, kind="stable", ignore_index=True)


def _nothing() -> pd.DataFrame:
    days = pd.Series([], dtype="datetime64[us]")
    text = pd.Series([], dtype=str)
    return pd.DataFrame(
        {"date": days, "symbol": text, "source": text, "kind": text, "detail": text, "evidence": text, "known_on": days}
    )


def _table(panel: Panel, one: Found) -> pd.DataFrame:
    values = np.column_stack(list(one.numbers.values()))
    texts = [
        ", ".join(f"{name} {value:.6g}" for name, value in zip(one.numbers, row, strict=True) if np.isfinite(value))
        for row in values
    ]
    return pd.DataFrame(
        {
            "date": (panel.day[one.row] * DAY + EPOCH).astype("datetime64[us]"),
            "symbol": pd.Series([panel.symbols[s] for s in panel.symbol[one.row]], dtype=str),
            "source": pd.Series([panel.sources[s] for s in panel.source_of_rows[one.row, one.slot]], dtype=str),
            "kind": one.kind,
            "detail": pd.Series(texts, dtype=str),
            "evidence": one.evidence,
            "known_on": (one.known_on * DAY + EPOCH).astype("datetime64[us]"),
        }
    )


def _seen(panel: Panel, set_aside: pd.DataFrame | None) -> Bools:
    seen = np.zeros(panel.c.shape, dtype=bool)
    if set_aside is None or not len(set_aside):
        return seen
    mine = set_aside[set_aside["symbol"].isin(panel.symbols) & set_aside["date"].notna()]
    place = {name: n for n, name in enumerate(panel.symbols)}
    known = {name: n for n, name in enumerate(panel.sources)}
    for symbol, source, date in zip(mine["symbol"], mine["source"], mine["date"], strict=True):
        s = place[symbol]
        row = (
            int(panel.starts[s])
            + (date.to_datetime64().astype("datetime64[D]") - EPOCH).astype(int)
            - panel.day[panel.starts[s]]
        )
        slot = np.flatnonzero(panel.source[s] == known.get(source, -2))
        if len(slot) and panel.starts[s] <= row < panel.starts[s + 1]:
            seen[row, slot[0]] = True
    return seen


def _screened(rows: pd.DataFrame, accepted: pd.DataFrame) -> pd.DataFrame:
    kind = rows["reason"].map(SCREENED).fillna("unreadable_row")
    is_broken = (rows["reason"] == "broken_ohlc_order").to_numpy()
    crossed = np.array([b and _is_crossed(d) for b, d in zip(is_broken, rows["detail"], strict=True)], dtype=bool)
    scaled = np.array(rows["reason"] == "reverting_spike", dtype=bool)
    if scaled.any():
        scaled[scaled] = _is_other_scale(rows[scaled], accepted)
    # A spike is judged when the next bar has come.
    late = pd.to_timedelta((rows["reason"] == "reverting_spike").astype(int), unit="D")
    out = pd.DataFrame(
        {
            "date": rows["date"],
            "symbol": rows["symbol"],
            "source": rows["source"],
            "kind": kind.where(~crossed, columns.SWAPPED).where(~scaled, identity.SCALE),
            "detail": rows["detail"],
            "evidence": "set aside by the screen: " + rows["reason"],
            "known_on": rows["date"] + late,
        }
    )
    return out.drop_duplicates(["date", "symbol", "source", "kind"])


def _is_other_scale(spikes: pd.DataFrame, accepted: pd.DataFrame) -> Bools:
    """Whether open and close of a spike are a power of ten times the close before, or one over it."""
    if not {"open", "close"} <= set(spikes.columns):
        return np.zeros(len(spikes), dtype=bool)
    left = spikes.assign(place=range(len(spikes))).sort_values("date", kind="stable")
    right = accepted[["date", "symbol", "source", "close_usd"]].sort_values("date", kind="stable")
    joined = pd.merge_asof(left, right, on="date", by=["symbol", "source"], allow_exact_matches=False)
    before = np.log(joined["close_usd"].to_numpy(np.float64))
    o, c = (np.log(joined[name].to_numpy(np.float64)) for name in ("open", "close"))
    o = np.where(np.isfinite(o), o, c)
    near = 3 * identity.SCALE_NEAR
    power = np.round((o - before) / LN10)
    is_power = (power != 0) & (np.abs(o - before - power * LN10) < near) & (np.abs(c - before - power * LN10) < near)
    is_inverse = (np.abs(before) > 1) & (np.abs(o + before) < near) & (np.abs(c + before) < near)
    out = np.zeros(len(spikes), dtype=bool)
    out[joined["place"].to_numpy()] = is_power | is_inverse
    return out


def _is_crossed(detail: str) -> bool:
    """Whether the printed prices are in order once high and low change places."""
    words = detail.split()
    prices = {name: float(value) for name, value in zip(words[::2], words[1::2], strict=False)}
    if set(prices) != {"open", "high", "low", "close"} or not prices["high"] < prices["low"]:
        return False
    body = (prices["open"], prices["close"])
    return prices["low"] >= max(body) and prices["high"] <= min(body)


__all__ = ["PRECEDENCE", "Codes", "Judgement", "judge", "named"]
