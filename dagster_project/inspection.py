"""Inspection: candles of the store as they are known now, as each was first known, or as a day's report saw them.

What lives here: choosing among the values that a source gave for a day, and the table that people read. What does not:
storing them (``assets.market_data``), words of the command line (``cli``).
"""

from datetime import date
from typing import Any

import pandas as pd

from dagster_project.definitions import warehouse_of
from dagster_project.settings import Settings

NOW, THEN = "now", "then"
SHOWN = {"open_usd": 14, "high_usd": 14, "low_usd": 14, "close_usd": 14, "volume": 16}
"""Columns that people read, and their widths."""


def candles(settings: Settings, market: str, first: date, last: date, as_known: str | date) -> pd.DataFrame:
    """Return a market's candles, one a day, in one state of knowledge.

    Parameters
    ----------
    settings
        Configuration; its source of the market's price is asked for.
    market
        One of its markets.
    first, last
        Days, both included.
    as_known
        ``now`` the newest value of each day; ``then`` the value that came first; a day: what a rerun of that day's
        report uses, which is what was known when the bar of that day came.

    Returns
    -------
    DataFrame
        ``date, symbol, source, open_usd, high_usd, low_usd, close_usd, volume, volume_unit, revision, known_at,
        is_known_at_assumed, revision_count``; the last says how many values there have been so far.
    """
    source = settings.source.id_of(market)
    with warehouse_of(settings).session() as session:
        every = session.query("candle_revisions_of", source=source, symbol=market, first=first, last=last)
        if isinstance(as_known, date):
            rows = session.query("candles_as_known", source=source, as_of=as_known)
            at = (rows["symbol"] == market) & rows["date"].between(pd.Timestamp(first), pd.Timestamp(last))
            rows = rows[at]
        else:
            rows = every.drop_duplicates("date", keep="last" if as_known == NOW else "first")
    counts = every.groupby("date").size().rename("revision_count")
    return rows.merge(counts, on="date", how="left").sort_values("date", ignore_index=True)


def as_records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows for machines: days and times as ISO texts, what is absent as null."""
    plain = rows.assign(
        date=rows["date"].dt.strftime("%Y-%m-%d"), known_at=rows["known_at"].dt.strftime("%Y-%m-%dT%H:%M:%S")
    )
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in plain.astype("object").to_dict("records")
    ]


def render(rows: pd.DataFrame) -> str:
    """Return the table that people read, one line a day, and how many days were revised."""
    head = " ".join(f"{name.removesuffix('_usd'):>{width}}" for name, width in SHOWN.items())
    lines = [f"{'date':10} {head}  value   known from (UTC)"]
    for row in rows.to_dict("records"):
        numbers = ["-" if pd.isna(row[name]) else f"{row[name]:.10g}" for name in SHOWN]
        widths = " ".join(f"{text:>{width}}" for width, text in zip(SHOWN.values(), numbers, strict=True))
        known = f"{row['known_at']:%Y-%m-%d %H:%M}" + (" assumed" if row["is_known_at_assumed"] else "")
        lines.append(f"{row['date']:%Y-%m-%d} {widths}  {row['revision']} of {row['revision_count']}  {known}")
    revised = int((rows["revision_count"] > 1).sum())
    lines.append(f"{len(rows)} day(s), {revised} revised by the source since they were first seen")
    return "\n".join(lines) + "\n"
