"""Market data: raw bytes kept, rows screened, candles appended, and one price a day for the models.

What lives here: reading the feed, keeping its bytes, calling the screen, appending. What does not: rules for
rows (``plimsoll.candles``), calendars, formats of files (``dagster_project.market_feed``).
"""

from collections.abc import Sequence
from datetime import date

import dagster as dg
import pandas as pd

import plimsoll
from assets import _run
from assets._table import table_metadata
from dagster_project import calendars, clock, files, market_feed, raw_files
from dagster_project.exchanges import feed
from dagster_project.progress import crash_point, step
from dagster_project.settings import Settings
from dagster_project.warehouse import Session, Warehouse
from plimsoll import candles, prices

CANDLE_KEY = ("date", "symbol", "source")
RENAMED = {"open": "open_usd", "high": "high_usd", "low": "low_usd", "close": "close_usd"}
QUARANTINE_KEYS = ("date", "symbol", "source", "reason", "detail")
RAW_KEYS = ("source_sha256", "source")


def screened(
    settings: Settings, rows: pd.DataFrame, last: date, now: pd.Timestamp
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Screen every market of a source over all its inputs together, so that files may overlap or split a history.

    Parameters
    ----------
    settings
        Configuration.
    rows
        Frames of the inputs with ``source`` and ``source_sha256``.
    last
        Last day that may be used; bars after it wait for their own run and are in neither result.
    now
        Bars after today lie in the future and are set aside.
    """
    accepted, quarantined = [], []
    day = rows["date"].dt.normalize()
    looked_at = rows[~((day > pd.Timestamp(last)) & (day <= now.normalize()))]
    for (_, symbol), mine in looked_at.groupby(["source", "symbol"], sort=True):
        market = settings.markets[str(symbol)]
        found = candles.screen(mine, is_close_only=market.is_close_only, latest=pd.Timestamp(last))
        accepted.append(found.accepted)
        quarantined.append(found.quarantined)
    if not accepted:
        return looked_at, looked_at.assign(reason="", detail="")
    return pd.concat(accepted, ignore_index=True), pd.concat(quarantined, ignore_index=True)


def ingest(session: Session, settings: Settings, run: _run.Run) -> dict[str, int]:
    """Read, screen and append the source up to the run's last day; counts of what happened.

    Raises
    ------
    FeedError
        Where the source cannot be read or the last day's bars are not final yet, before anything is written.
    """
    now = pd.Timestamp(clock.now())
    final_at = pd.Timestamp(run.end) + _grace(settings)
    if now < final_at:
        raise market_feed.FeedError(f"bars of {run.end} are final from {final_at:%Y-%m-%d %H:%M} UTC; run again then")
    if settings.source.kind != "exchange":
        return _taken(session, settings, run, market_feed.read(settings), now)
    stored = session.query("candle_last_days")
    known = {(source, symbol): day.date() for source, symbol, day in stored.itertuples(index=False)}
    inputs, troubles = feed.read(settings, known, run.end)
    # Asking takes its time; what came was not known before it came.
    counts = _taken(session, settings, run, inputs, pd.Timestamp(clock.now())) if inputs else {"candles": 0}
    return counts | {"series_without_news": len(troubles)}


def unknown(session: Session, arrivals: Sequence[raw_files.Arrival]) -> list[raw_files.Arrival]:
    """Return the arrivals of which the store knows nothing: of their bytes, or of the day on which they gave more."""
    known = set(session.query("known_raw_files")[list(RAW_KEYS)].itertuples(index=False, name=None))
    taken = {day.date() for day in session.query("candle_commits")["as_of"]}
    return [one for one in arrivals if (one.source_sha256, one.source) not in known or one.as_of not in taken]


def replay(
    session: Session, settings: Settings, arrivals: Sequence[raw_files.Arrival], run: _run.Run
) -> dict[str, int]:
    """Append what came with inputs that arrived together and were kept, as of then; what the store knows is left out.

    One by one they would not be the same: the second page of a first load would count as news.
    """
    fresh = unknown(session, arrivals)
    if not fresh:
        return {}
    return _taken(
        session, settings, run, [raw_files.load(settings, one) for one in fresh], pd.Timestamp(fresh[0].known_at)
    )


def _taken(
    session: Session, settings: Settings, run: _run.Run, read: Sequence[market_feed.RawInput], now: pd.Timestamp
) -> dict[str, int]:
    inputs = {(files.sha256(raw.content), raw.source): raw for raw in read}
    rows = pd.concat(
        [raw.frame.assign(source=source, source_sha256=digest) for (digest, source), raw in inputs.items()],
        ignore_index=True,
    )
    accepted, quarantined = screened(settings, rows, run.end, now)
    bars = _candle_rows(settings, accepted, session.query("candle_last_days"), now)
    bars = _fresh_candles(session, settings, bars)
    aside = _fresh(_quarantine_rows(quarantined), of_every_source(session, settings, "quarantine_keys"))
    arrived = _raw_rows(settings, inputs, accepted, quarantined, now)
    arrived = _fresh(arrived, session.query("known_raw_files"), RAW_KEYS)
    # Bytes first: a row that names a raw file must find it. The same bytes may give more on a later day.
    giving = {key for rows in (arrived, bars, aside) for key in rows[list(RAW_KEYS)].itertuples(index=False, name=None)}
    for digest, source in sorted(giving):
        raw_files.keep(settings, digest, inputs[digest, source], now.to_pydatetime(), run.end)
    crash_point("kept raw files")
    with session.transaction():
        counts = {
            "candles": session.append("candle", bars, key=CANDLE_KEY) if len(bars) else 0,
            "quarantined": session.insert("candle_quarantine", aside) if len(aside) else 0,
            "raw_files": session.insert("raw_file", arrived) if len(arrived) else 0,
        }
        _run.commit(session, run, "candle", sum(counts.values()), bars.drop(columns="known_at"), aside)
    by_reason = {f"quarantined_{reason}": int(n) for reason, n in aside["reason"].value_counts().sort_index().items()}
    return counts | by_reason


def _grace(settings: Settings) -> pd.Timedelta:
    """From a bar's midnight until it is final."""
    return pd.Timedelta(days=1, minutes=settings.source.bar_close_grace_minutes)


def of_every_source(session: Session, settings: Settings, query: str) -> pd.DataFrame:
    """Return what a query finds for each id under which the configured source stores candles."""
    return pd.concat([session.query(query, source=source) for source in settings.source.ids()], ignore_index=True)


def of_prices(session: Session, settings: Settings, query: str) -> pd.DataFrame:
    """Return what a query finds for each market in the source of its price."""
    found = []
    for source in settings.source.ids():
        rows = session.query(query, source=source)
        mine = [symbol for symbol in settings.markets if settings.source.id_of(symbol) == source]
        found.append(rows[rows["symbol"].isin(mine)])
    return pd.concat(found, ignore_index=True)


def _candle_rows(settings: Settings, accepted: pd.DataFrame, known: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame:
    rows = accepted.rename(columns=RENAMED).drop(columns=["row_number", "note"])
    series = pd.MultiIndex.from_frame(rows[["source", "symbol"]])
    is_first_load = pd.Series(~series.isin(pd.MultiIndex.from_frame(known[["source", "symbol"]])), index=rows.index)
    rows["known_at"] = (rows["date"] + _grace(settings)).where(is_first_load, now).astype("datetime64[us]")
    rows["is_known_at_assumed"] = is_first_load
    return rows


def _fresh_candles(session: Session, settings: Settings, rows: pd.DataFrame) -> pd.DataFrame:
    """Values that differ from the newest stored ones; time and file of arrival make no difference."""
    if rows.empty:
        return rows
    stored = of_every_source(session, settings, "newest_candle_values")
    values = ["date", "symbol", "source", "open_usd", "high_usd", "low_usd", "close_usd", "volume", "volume_unit"]
    both = rows.merge(stored[values].assign(is_stored=True), on=values, how="left")
    return rows[both["is_stored"].isna().to_numpy()]


def _quarantine_rows(quarantined: pd.DataFrame) -> pd.DataFrame:
    return quarantined.rename(columns=RENAMED).drop(columns=["volume_unit", "note"])


def _fresh(rows: pd.DataFrame, known: pd.DataFrame, keys: Sequence[str] = QUARANTINE_KEYS) -> pd.DataFrame:
    """Rows whose keys are not known; a missing day equals a missing day."""
    both = rows.merge(known.assign(is_known=True), on=list(keys), how="left")
    return rows[both["is_known"].isna().to_numpy()]


def _raw_rows(
    settings: Settings,
    inputs: dict[tuple[str, str], market_feed.RawInput],
    accepted: pd.DataFrame,
    quarantined: pd.DataFrame,
    now: pd.Timestamp,
) -> pd.DataFrame:
    keys = list(RAW_KEYS)
    rows = pd.DataFrame(list(inputs), columns=keys)
    rows["origin"] = [raw.origin for raw in inputs.values()]
    rows["raw_path"] = [raw_files.path_of(source, digest, raw.suffix) for (digest, source), raw in inputs.items()]
    rows["byte_count"] = [len(raw.content) for raw in inputs.values()]
    for column, counted in (("accepted_count", accepted), ("quarantined_count", quarantined)):
        count = counted.groupby(keys).size().rename(column).reset_index()
        rows = rows.merge(count, on=keys, how="left").fillna({column: 0}).astype({column: "int64"})
    rows["row_count"] = rows["accepted_count"] + rows["quarantined_count"]
    rows["known_at"] = now
    return rows


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

    @dg.asset(
        name="candle",
        description="Daily candles as first seen, typed and screened; revisions are appended, rows that "
        "cannot be bars are quarantined, raw bytes are kept. Writes raw_file and candle_quarantine too.",
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="market_data",
        kinds={"python", "duckdb"},
        code_version=plimsoll.METHODOLOGY,
    )
    def candle(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[None]:
        run = _run.of(context, settings)
        with _run.patiently(context), step("candles"), warehouse.session() as session:
            counts = ingest(session, settings, run)
        return dg.MaterializeResult(metadata={**table_metadata("candle", counts["candles"]), **counts})

    @dg.asset(
        name="price",
        deps=["candle"],
        description="One bar a market and day with the close before, gaps against the market's calendar and "
        "traded value: what every model reads.",
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="market_data",
        kinds={"python", "duckdb"},
        code_version=plimsoll.METHODOLOGY,
    )
    def price(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[None]:
        run = _run.of(context, settings)
        written, gaps = 0, 0
        with step("price"), warehouse.session() as session:
            newest = of_prices(session, settings, "newest_candles")
            no_quote = of_prices(session, settings, "no_quote_days")
            with session.transaction():
                frames = [price_rows(settings, symbol, newest, no_quote) for symbol in settings.markets]
                for frame in frames:
                    if len(frame):
                        written += session.replace("price", frame, symbol=str(frame["symbol"].iloc[0]))
                        gaps += int((frame["gap_sessions"] > 0).sum())
                _run.commit(session, run, "price", written, *[frame for frame in frames if len(frame)])
        return dg.MaterializeResult(metadata={**table_metadata("price", written), "gaps": gaps})

    return [candle, price]
