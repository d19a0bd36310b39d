"""Intraday bars: hourly candles of a file or of the store, for the backtest at the horizon of a liquidation.

What lives here: reading and screening one file, or taking what the store has. What does not: following prices
(``plimsoll.horizons``), daily candles (``market_feed``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from dagster_project.market_feed import FeedError
from dagster_project.settings import Settings
from dagster_project.warehouse import Session
from plimsoll.candles import canonical_symbol

NEEDED = ("symbol", "high", "low")
STAMPS = ("ts", "date")
HOURLY = ("1h", "60m", "h")


@dataclass(frozen=True)
class Intraday:
    """Hourly bars of the configured markets.

    Attributes
    ----------
    bars
        ``symbol, ts, high_usd, low_usd``, one row a market and hour; ``ts`` in UTC is the start of the hour.
    left_out
        How many rows were left out, by reason. A missing hour ends the path of a trigger, it is never bridged.
    """

    bars: pd.DataFrame
    left_out: dict[str, int]


def read(settings: Settings, path: Path, sources: Sequence[str], last: date) -> Intraday:
    """Read hourly bars up to the end of a day.

    Parameters
    ----------
    settings
        Which markets are wanted.
    path
        CSV, CSV.gz or Parquet: ``ts`` or ``date`` (start of the bar, UTC), ``symbol, high, low``, and ``source`` and
        ``freq`` where the file has several.
    sources
        Sources in order of preference: an hour is taken from the first that has it. Empty where the file has one.
    last
        Bars that begin after this day are not known yet.

    Raises
    ------
    FeedError
        Where the file cannot be read, lacks a column or a source, or leaves open which source to take.
    """
    rows = _table(path)
    missing = [name for name in NEEDED if name not in rows]
    stamp = next((name for name in STAMPS if name in rows), None)
    if missing or stamp is None:
        absent = ", ".join([*missing, *([] if stamp else ["ts"])])
        raise FeedError(f"{path.name}: no column {absent}; hourly bars need ts, symbol, high, low")
    rows = rows.assign(symbol=[canonical_symbol(str(name)) for name in rows["symbol"]])
    rows = rows[rows["symbol"].isin(list(settings.markets))]
    try:
        ts = pd.to_datetime(rows[stamp], utc=True, format="ISO8601").dt.tz_localize(None).astype("datetime64[s]")
    except (ValueError, TypeError) as error:
        raise FeedError(f"{path.name}, column {stamp}: {error}; write the start of each hour in UTC") from error
    left_out: dict[str, int] = {}
    rows = rows.assign(ts=ts, high_usd=_number(path, rows, "high"), low_usd=_number(path, rows, "low"))
    if "freq" in rows:
        rows = _without(rows, ~rows["freq"].astype(str).isin(HOURLY), "not hourly", left_out)
    rows = _without(rows, rows["ts"] != rows["ts"].dt.floor("h"), "not on the hour", left_out)
    rows = _without(rows, rows["ts"] >= pd.Timestamp(last) + pd.Timedelta(days=1), "after the day", left_out)
    broken = ~(np.isfinite(rows["high_usd"]) & (rows["low_usd"] > 0) & (rows["high_usd"] >= rows["low_usd"]))
    rows = _chosen(path, _without(rows, broken, "no range", left_out), sources)
    repeated = rows.duplicated(["symbol", "ts"], keep=False)
    rows = _without(rows, repeated, "two bars of one hour", left_out)
    bars = rows[["symbol", "ts", "high_usd", "low_usd"]]
    return Intraday(bars.sort_values(["symbol", "ts"], ignore_index=True), left_out)


def stored(session: Session, settings: Settings, last: date) -> Intraday:
    """Take the hourly candles that the store has up to a day: an hour from the market's first source that has it."""
    rows = session.query("candle_hour_ranges", last=last)
    order = pd.DataFrame(
        [
            (symbol, source, at)
            for symbol in settings.markets
            for at, source in enumerate(settings.source.ids_of(symbol))
        ],
        columns=["symbol", "source", "rank"],
    )
    rows = rows.merge(order, on=["symbol", "source"], how="inner")
    rows = rows.sort_values(["symbol", "start_at", "rank"], kind="stable")
    bars = rows.drop_duplicates(["symbol", "start_at"]).rename(columns={"start_at": "ts"})
    return Intraday(bars[["symbol", "ts", "high_usd", "low_usd"]].reset_index(drop=True), {})


def _table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path) if path.name.endswith(".parquet") else pd.read_csv(path)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise FeedError(f"{path.name}: cannot be read as hourly bars: {error}") from error


def _number(path: Path, rows: pd.DataFrame, name: str) -> pd.Series:
    try:
        return pd.to_numeric(rows[name]).astype(np.float64)
    except (ValueError, TypeError) as error:
        raise FeedError(f"{path.name}, column {name}: {error}") from error


def _without(rows: pd.DataFrame, bad: pd.Series, reason: str, left_out: dict[str, int]) -> pd.DataFrame:
    if bad.any():
        left_out[reason] = int(bad.sum())
    return rows[~bad]


def _chosen(path: Path, rows: pd.DataFrame, sources: Sequence[str]) -> pd.DataFrame:
    if "source" not in rows:
        if sources:
            raise FeedError(f"{path.name}: has no column source to choose {', '.join(sources)} from")
        return rows
    name = rows["source"].astype(str)
    unknown = [one for one in sources if not (name == one).any()]
    if unknown:
        raise FeedError(f"{path.name}: no bars of {', '.join(unknown)}; sources are {', '.join(sorted(set(name)))}")
    if not sources:
        several = rows.assign(name=name).groupby("symbol")["name"].nunique()
        if (several > 1).any():
            symbol = str(several.index[several > 1][0])
            have = ", ".join(sorted(set(name[rows["symbol"] == symbol])))
            raise FeedError(f"{path.name}: {symbol} has bars of {have}; name the order with --intraday-source")
        return rows
    rank = name.map({one: at for at, one in enumerate(sources)})
    wanted = rows.assign(rank=rank)[rank.notna()]
    best = wanted.groupby(["symbol", "ts"])["rank"].transform("min")
    return wanted[wanted["rank"] == best]
