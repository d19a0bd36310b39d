"""Prices: one bar for each symbol and day from what the sources agree on, and how well it is supported.

What lives here: the consensus of fields under the rules for one, two and more venues. What does not: which bars are
wrong (``judge``), returns and calendars (``plimsoll.prices``).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from plimsoll.consensus.features import own_features
from plimsoll.consensus.judge import EPOCH, Judgement
from plimsoll.consensus.numerics import Bools, Floats, trailing_quantile
from plimsoll.consensus.panel import DAY, Market, Panel, encode, market_of, panels
from plimsoll.consensus.ticks import VOLUME_TIMES, market_agrees
from plimsoll.consensus.vote import pair_limit, row_median, row_second_lowest, vote

AGREED, DISPUTED, SINGLE, NOTHING = "agreed", "disputed", "single source", "no source"
FIVE = 5


@dataclass(frozen=True)
class Fields:
    """Votes of the venues for one panel, shape (rows, venues); logs, NaN where a venue is silent."""

    o: Floats
    h: Floats
    low: Floats
    c: Floats
    is_supported: Bools


def consensus_prices(
    candles: pd.DataFrame,
    judgement: Judgement,
    *,
    venues: Mapping[str, str] | None = None,
    as_of: pd.Timestamp | None = None,
) -> pd.DataFrame:
    """Make one price row for each symbol and day.

    With three venues and more each field is the median of theirs, after those are left out whose close is further
    from the median than max(5 * 1.4826 MAD, 25 bp). With two, closes are averaged while they lie within
    max(25 bp, 5 usual distances of the pair), else the day is disputed; the deeper low and higher high are taken where
    the day's volume there or the median market supports them, else the milder. With one, its own bar.

    Parameters
    ----------
    candles, venues, as_of
        As for `plimsoll.consensus.judge.judge`.
    judgement
        Its rejected bars are left out. A source whose days begin at another time has no vote while another has one.

    Returns
    -------
    DataFrame
        ``date, symbol, open_usd, high_usd, low_usd, close_usd, stress_low_usd, venue_low_usd, venues, outvoted,
        dispersion_bp, status, may_loosen``. ``stress_low_usd`` is the second-lowest low from five venues on, else
        ``low_usd``; ``venue_low_usd`` the lowest low of any bar not rejected; ``outvoted`` the sources left out of
        the median, with commas; ``dispersion_bp`` the median distance of closes from the consensus. A day of which
        every bar was rejected has NaN prices and the status ``no source``.
    """
    rows = candles if as_of is None else candles[(candles["date"] <= as_of).to_numpy()]
    codes = encode(rows)
    market = market_of(codes)
    parts = []
    for panel in panels(codes, dict(venues or {})):
        is_out, is_shifted = _left_out(panel, judgement)
        parts.append(_prices(panel, market, is_out, is_shifted))
    if not parts:
        raise ValueError("candles: no rows; hand over at least one bar")
    whole = pd.concat(parts, ignore_index=True)
    return whole.sort_values(["symbol", "date"], kind="stable", ignore_index=True)


def _left_out(panel: Panel, judgement: Judgement) -> tuple[Bools, Bools]:
    is_out = np.zeros(panel.c.shape, dtype=bool)
    rejected = judgement.rejected
    place = {name: n for n, name in enumerate(panel.symbols)}
    symbol = rejected["symbol"].map(place)
    mine = rejected[symbol.notna()]
    if len(mine):
        s = symbol[symbol.notna()].to_numpy(np.int64)
        day = ((mine["date"].to_numpy(dtype="datetime64[D]") - EPOCH) / DAY).astype(np.int64)
        ids = mine["source"].map({name: n for n, name in enumerate(panel.sources)}).fillna(-2).to_numpy(np.int64)
        row = panel.starts[s] + day - panel.day[panel.starts[s]]
        inside = (row >= panel.starts[s]) & (row < panel.starts[s + 1])
        hit = (panel.source[s] == ids[:, None]) & inside[:, None]
        at, slot = np.nonzero(hit)
        is_out[row[at], slot] = True
    is_shifted = np.zeros(panel.c.shape, dtype=bool)
    boundaries = judgement.spans[judgement.spans["kind"] == "day_boundary"]
    known_on, ends = (boundaries[name].to_numpy(dtype="datetime64[D]") for name in ("known_on", "end"))
    for source, since, until in zip(boundaries["source"].tolist(), known_on, ends, strict=True):
        # From the day on which it was known; what went before was consensus then.
        first, last = (since - EPOCH) / DAY, (until - EPOCH) / DAY
        days = (panel.day >= first) & (panel.day <= last)
        is_shifted |= days[:, None] & (panel.source_of_rows == panel.sources.index(source))
    return is_out, is_shifted & panel.is_bar


def _by_venue(panel: Panel, values: Floats) -> Floats:
    """One column for each venue of a symbol: the median of its products."""
    out = np.full(values.shape, np.nan)
    venue = panel.venue_of_rows
    for i in range(panel.slots):
        is_first = ~(venue[:, :i] == venue[:, [i]]).any(axis=1)
        out[:, i] = np.where(is_first, row_median(np.where(venue == venue[:, [i]], values, np.nan)), np.nan)
    return out


def _prices(panel: Panel, market: Market, is_out: Bools, is_shifted: Bools) -> pd.DataFrame:
    keep = panel.is_bar & ~is_out
    others: Bools = np.asarray((keep & ~is_shifted).any(axis=1))
    keep &= ~(is_shifted & others[:, None])
    o, h, low, c = (_by_venue(panel, np.where(keep, one, np.nan)) for one in (panel.o, panel.h, panel.low, panel.c))
    n = np.isfinite(c).sum(axis=1)
    ballot = vote(np.exp(c))
    stands = ~ballot.is_outvoted
    o, h, low = (np.where(stands, one, np.nan) for one in (o, h, low))
    closes = np.where(stands, c, np.nan)
    close = row_median(closes)
    with np.errstate(invalid="ignore"):
        distance = np.nanmax(np.where(np.isfinite(c), c, -np.inf), axis=1) - np.nanmin(
            np.where(np.isfinite(c), c, np.inf), axis=1
        )
        usual = trailing_quantile(np.where(n == 2, distance, np.nan)[:, None], panel.starts)[:, 0]
        is_disputed = (n == 2) & (distance > pair_limit(usual))
    final_low, final_high = row_median(low), row_median(h)
    own = own_features(panel, market)
    for side, values in (("low", low), ("high", h)):
        with np.errstate(invalid="ignore"):
            support = (own.log_volume - own.usual_volume > VOLUME_TIMES) | market_agrees(
                own, (panel.low if side == "low" else panel.h) - own.c_prev
            )
        both = (n == 2) & (np.isfinite(values).sum(axis=1) == 2)
        lower, upper = np.fmin.reduce(values, axis=1), np.fmax.reduce(values, axis=1)
        deep, mild = (lower, upper) if side == "low" else (upper, lower)
        has = (np.where(keep & support, panel.low if side == "low" else panel.h, np.nan) == deep[:, None]).any(axis=1)
        near = np.abs(deep - mild) <= pair_limit(usual)
        chosen = np.where(has | near, deep, mild)
        if side == "low":
            final_low = np.where(both, chosen, final_low)
        else:
            final_high = np.where(both, chosen, final_high)
    second = row_second_lowest(low)
    stress = np.where(np.isfinite(low).sum(axis=1) >= FIVE, second, final_low)
    # Medians of different fields can cross; a bar holds its own open and close.
    opening = row_median(o)
    final_low = np.where(np.isfinite(final_low), np.fmin(final_low, np.fmin(opening, close)), np.nan)
    final_high = np.where(np.isfinite(final_high), np.fmax(final_high, np.fmax(opening, close)), np.nan)
    spread = row_median(np.abs(c - close[:, None]))
    status = np.select([n == 0, n == 1, is_disputed], [NOTHING, SINGLE, DISPUTED], AGREED)
    shown: Bools = np.asarray(panel.is_bar.any(axis=1))
    names = _outvoted(panel, keep, ballot.is_outvoted)
    table = pd.DataFrame(
        {
            "date": (panel.day * DAY + EPOCH).astype("datetime64[us]"),
            "symbol": np.array(panel.symbols, dtype=object)[panel.symbol],
            "open_usd": np.exp(opening),
            "high_usd": np.exp(final_high),
            "low_usd": np.exp(final_low),
            "close_usd": np.exp(close),
            "stress_low_usd": np.exp(stress),
            "venue_low_usd": np.exp(np.fmin.reduce(np.where(keep, panel.low, np.nan), axis=1)),
            "venues": n,
            "outvoted": names,
            "dispersion_bp": 1e4 * spread,
            "status": status,
            "may_loosen": status == AGREED,
        }
    )
    kept: pd.DataFrame = table.loc[shown].reset_index(drop=True)
    return kept


def _outvoted(panel: Panel, keep: Bools, is_outvoted: Bools) -> list[str]:
    out = [""] * len(panel.day)
    venue = panel.venue_of_rows
    for row in np.flatnonzero(is_outvoted.any(axis=1)):
        gone = set(venue[row, is_outvoted[row]].tolist())
        ids = [
            int(s) for s, v, k in zip(panel.source_of_rows[row], venue[row], keep[row], strict=True) if k and v in gone
        ]
        out[row] = ",".join(panel.sources[one] for one in ids)
    return out
