"""Market data: raw bytes kept, rows screened, candles appended, and one price a day for the models.

What lives here: reading the feed, keeping its bytes, calling the screen, appending. What does not: rules for rows
(``plimsoll.candles``), calendars, formats of files (``dagster_project.market_feed``).
"""

import gzip
from datetime import date

import dagster as dg
import pandas as pd

import plimsoll
from assets import _run
from assets._table import table_metadata
from dagster_project import calendars, clock, files, market_feed
from dagster_project import settings as settings_module
from dagster_project.progress import step
from dagster_project.settings import Settings
from dagster_project.warehouse import Session, Warehouse
from plimsoll import candles, prices

CANDLE_KEY = ("date", "symbol", "source")
RENAMED = {"open": "open_usd", "high": "high_usd", "low": "low_usd", "close": "close_usd"}
QUARANTINE_KEYS = ["date", "symbol", "source", "reason", "detail"]


def keep_raw(settings: Settings, raw: market_feed.RawInput) -> tuple[str, str]:
    """Keep an input's bytes by content, packed; hash and path below the profile's folder."""
    digest = files.sha256(raw.content)
    relative = f"raw/{settings.source.name}/{digest}{raw.suffix}.gz"
    files.write_atomic(settings_module.profile_folder(settings) / relative, gzip.compress(raw.content, mtime=0))
    return digest, relative


def screened(settings: Settings, raw: market_feed.RawInput, last: date) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Screen every market of an input; bars after ``last`` are not looked at."""
    accepted, quarantined = [], []
    for symbol, rows in raw.frame.groupby("symbol", sort=True):
        market = settings.markets[str(symbol)]
        upto = rows[~(rows["date"] > pd.Timestamp(last))]
        found = candles.screen(upto, is_close_only=market.is_close_only, latest=pd.Timestamp(last))
        accepted.append(found.accepted)
        quarantined.append(found.quarantined)
    return pd.concat(accepted, ignore_index=True), pd.concat(quarantined, ignore_index=True)


def ingest(session: Session, settings: Settings, run: _run.Run) -> dict[str, int]:
    """Read, screen and append one source up to the run's last day; counts of what happened.

    Raises
    ------
    FeedError
        Where the source cannot be read, before anything is written.
    """
    inputs = market_feed.read(settings)
    now = clock.now()
    known_symbols = set(session.query("candle_symbols", source=settings.source.name)["symbol"])
    known_raw = session.query("known_raw_files")
    seen = set(zip(known_raw["source_sha256"], known_raw["source"], strict=True))
    set_aside = session.query("quarantine_keys", source=settings.source.name)
    prepared = []
    for raw in inputs:
        digest, relative = keep_raw(settings, raw)
        prepared.append((raw, digest, relative, *screened(settings, raw, run.end)))
    counts = {"candles": 0, "quarantined": 0, "raw_files": 0}
    with session.transaction():
        frames = []
        for raw, digest, relative, accepted, quarantined in prepared:
            rows = _candle_rows(settings, accepted, digest, known_symbols, pd.Timestamp(now))
            counts["candles"] += _append_candles(session, rows)
            aside = _fresh(_quarantine_rows(settings, quarantined, digest), set_aside)
            counts["quarantined"] += session.insert("candle_quarantine", aside) if len(aside) else 0
            if (digest, settings.source.name) not in seen:
                counts["raw_files"] += session.insert(
                    "raw_file", _raw_row(settings, raw, digest, relative, accepted, quarantined, pd.Timestamp(now))
                )
            frames += [rows.drop(columns="known_at"), aside]
        _run.commit(session, run, "candle", sum(counts.values()), *frames)
    return counts


def _candle_rows(
    settings: Settings, accepted: pd.DataFrame, digest: str, known_symbols: set[str], now: pd.Timestamp
) -> pd.DataFrame:
    rows = accepted.rename(columns=RENAMED).drop(columns=["row_number"])
    grace = pd.Timedelta(days=1, minutes=settings.source.bar_close_grace_minutes)
    is_first_load = ~rows["symbol"].isin(known_symbols)
    rows["known_at"] = (rows["date"] + grace).where(is_first_load, now).astype("datetime64[us]")
    rows["is_known_at_assumed"] = is_first_load
    rows["source"] = settings.source.name
    rows["source_sha256"] = digest
    return rows


def _append_candles(session: Session, rows: pd.DataFrame) -> int:
    """Append values that differ from the newest stored ones; when and by which file they came does not make them differ."""
    if rows.empty:
        return 0
    stored = session.query("newest_candle_values", source=rows["source"].iloc[0])
    values = ["date", "symbol", "open_usd", "high_usd", "low_usd", "close_usd", "volume", "volume_unit"]
    both = rows.merge(stored[values].assign(is_stored=True), on=values, how="left")
    fresh = rows[both["is_stored"].isna().to_numpy()]
    return session.append("candle", fresh, key=CANDLE_KEY) if len(fresh) else 0


def _quarantine_rows(settings: Settings, quarantined: pd.DataFrame, digest: str) -> pd.DataFrame:
    rows = quarantined.rename(columns=RENAMED).drop(columns=["volume_unit"])
    rows["source"] = settings.source.name
    rows["source_sha256"] = digest
    return rows.drop_duplicates([*QUARANTINE_KEYS, "row_number"])


def _fresh(rows: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    both = rows.merge(known.assign(is_known=True), on=QUARANTINE_KEYS, how="left")
    return rows[both["is_known"].isna().to_numpy()]


def _raw_row(
    settings: Settings,
    raw: market_feed.RawInput,
    digest: str,
    relative: str,
    accepted: pd.DataFrame,
    quarantined: pd.DataFrame,
    now: pd.Timestamp,
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "source_sha256": [digest],
            "source": [settings.source.name],
            "origin": [raw.origin],
            "raw_path": [relative],
            "byte_count": [len(raw.content)],
            "row_count": [len(accepted) + len(quarantined)],
            "accepted_count": [len(accepted)],
            "quarantined_count": [len(quarantined)],
            "known_at": [now],
        }
    )


def price_rows(settings: Settings, symbol: str, newest: pd.DataFrame, no_quote: pd.DataFrame) -> pd.DataFrame:
    """Price rows of one market from its newest candles."""
    market = settings.markets[symbol]
    mine = newest[newest["symbol"] == symbol].reset_index(drop=True)
    if mine.empty:
        return mine
    silent = frozenset(day.date() for day in no_quote.loc[no_quote["symbol"] == symbol, "date"])
    first, last = mine["date"].iloc[0].date(), mine["date"].iloc[-1].date()
    days = calendars.sessions(market.calendar, first, last, no_quote=silent)
    return prices.build_prices(mine, days, listing_days_dropped=market.listing_days_dropped)


def build(settings: Settings, partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return the market data assets of a configuration."""
    common = {
        "partitions_def": partitions,
        "backfill_policy": dg.BackfillPolicy.single_run(),
        "group_name": "market_data",
        "kinds": {"python", "duckdb"},
        "code_version": plimsoll.METHODOLOGY,
    }

    @dg.asset(
        name="candle",
        description="Daily candles as first seen, typed and screened; revisions are appended, rows that cannot be bars are "
        "quarantined with a reason, raw bytes are kept. Writes raw_file and candle_quarantine as well.",
        **common,
    )
    def candle(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult:
        run = _run.of(context, settings)
        with step("candles"), warehouse.session() as session:
            counts = ingest(session, settings, run)
        return dg.MaterializeResult(metadata={**table_metadata("candle", counts["candles"]), **counts})

    @dg.asset(
        name="price",
        deps=["candle"],
        description="One bar a market and day with the close before, gaps against the market's calendar and traded value: "
        "what every model reads.",
        **common,
    )
    def price(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult:
        run = _run.of(context, settings)
        written, gaps = 0, 0
        with step("price"), warehouse.session() as session:
            newest = session.query("newest_candles", source=settings.source.name)
            no_quote = session.query("no_quote_days", source=settings.source.name)
            with session.transaction():
                frames = [price_rows(settings, symbol, newest, no_quote) for symbol in settings.markets]
                for frame in frames:
                    if len(frame):
                        written += session.replace("price", frame, symbol=str(frame["symbol"].iloc[0]))
                        gaps += int((frame["gap_sessions"] > 0).sum())
                _run.commit(session, run, "price", written, *[frame for frame in frames if len(frame)])
        return dg.MaterializeResult(metadata={**table_metadata("price", written), "gaps": gaps})

    return [candle, price]

