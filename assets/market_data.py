"""Market data: candles of days and hours appended.

What lives here: which source is read for which night, what was kept read again, the assets. What does not: screening
and storing what was read (``assets._taking``), the price that is made of candles (``assets.prices``), rules for rows
(``plimsoll.candles``), formats of files (``dagster_project.market_feed``).
"""

from collections.abc import Sequence

import dagster as dg
import pandas as pd

import plimsoll
from assets import _bulk, _run, _taking
from assets._table import table_metadata
from assets._taking import DAILY, HOURLY
from dagster_project import clock, market_feed, raw_files
from dagster_project.exchanges import feed
from dagster_project.progress import step
from dagster_project.settings import Settings
from dagster_project.warehouse import Session, Warehouse

screened = _taking.screened


def ingest(session: Session, settings: Settings, run: _run.Run) -> dict[str, int]:
    """Read, screen and append the source up to the run's last day; counts of what happened.

    Raises
    ------
    FeedError
        Where the source cannot be read or the last day's bars are not final yet, before anything is written.
    """
    now = _final(settings, run)
    if (counts := _bulk.of_files(session, settings, run, now)) is not None:
        return counts
    if settings.source.kind != "exchange":
        return _taking.taken(session, settings, run, market_feed.read(settings), now, DAILY)
    stored = session.query("candle_last_days")
    known = {(source, symbol): day.date() for source, symbol, day in stored.itertuples(index=False)}
    inputs, troubles = feed.read(settings, known, run.end)
    # Asking takes its time; what came was not known before it came.
    now = pd.Timestamp(clock.now())
    counts = _taking.taken(session, settings, run, inputs, now, DAILY) if inputs else {"candles": 0}
    return counts | {"series_without_news": len(troubles)}


def ingest_hours(session: Session, settings: Settings, run: _run.Run) -> dict[str, int]:
    """Read, screen and append hourly candles up to the end of the run's last day; counts of what happened.

    Raises
    ------
    FeedError
        Where a file cannot be read. A venue that brings nothing is counted: no night waits for hours.
    """
    now = _final(settings, run)
    if settings.source.kind != "exchange":
        return _taking.taken(session, settings, run, market_feed.read_hourly(settings), now, HOURLY)
    stored = session.query("candle_hour_last")
    known = {(source, symbol): at for source, symbol, at in stored.itertuples(index=False)}
    inputs, troubles = feed.read_hourly(settings, known, run.end)
    now = pd.Timestamp(clock.now())
    counts = _taking.taken(session, settings, run, inputs, now, HOURLY) if inputs else {"candles": 0}
    return counts | {"series_without_news": len(troubles)}


def _final(settings: Settings, run: _run.Run) -> pd.Timestamp:
    """Return the present, at which the run's last bars are final."""
    now = pd.Timestamp(clock.now())
    final_at = pd.Timestamp(run.end) + DAILY.grace(settings)
    if now < final_at:
        raise market_feed.FeedError(f"bars of {run.end} are final from {final_at:%Y-%m-%d %H:%M} UTC; run again then")
    return now


def unknown(session: Session, arrivals: Sequence[raw_files.Arrival]) -> list[raw_files.Arrival]:
    """Return the arrivals of which the store knows nothing: of their bytes, or of the day on which they gave more."""
    known = set(session.query("known_raw_files")[list(_taking.RAW_KEYS)].itertuples(index=False, name=None))
    commits = session.query("candle_commits")
    taken = {(stage, day.date()) for stage, day in commits[["stage", "as_of"]].itertuples(index=False)}
    return [
        one
        for one in arrivals
        if (one.source_sha256, one.source) not in known or (_taking.of(one.timeframe).table, one.as_of) not in taken
    ]


def replay(
    session: Session, settings: Settings, arrivals: Sequence[raw_files.Arrival], run: _run.Run
) -> dict[str, int]:
    """Append what came with inputs that arrived together and were kept, as of then; what the store knows is left out.

    One by one they would not be the same: the second page of a first load would count as news.
    """
    fresh = unknown(session, arrivals)
    if not fresh:
        return {}
    (timeframe,) = {one.timeframe for one in fresh}
    known_at = pd.Timestamp(fresh[0].known_at)
    if (counts := _bulk.of_arrivals(session, settings, run, known_at, fresh)) is not None:
        return counts
    inputs = [raw_files.load(settings, one) for one in fresh]
    return _taking.taken(session, settings, run, inputs, known_at, _taking.of(timeframe))


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
        name="candle_hour",
        description="Hourly candles as first seen, beside the daily ones, for the backtest at the horizon; revisions "
        "are appended, rows that cannot be bars are set aside in candle_hour_quarantine, raw bytes are kept.",
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="market_data",
        kinds={"python", "duckdb"},
        code_version=plimsoll.METHODOLOGY,
    )
    def candle_hour(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[None]:
        run = _run.of(context, settings)
        with _run.patiently(context), step("hourly candles"), warehouse.session() as session:
            counts = ingest_hours(session, settings, run)
        return dg.MaterializeResult(metadata={**table_metadata("candle_hour", counts["candles"]), **counts})

    return [candle, candle_hour] if settings.source.has_hourly else [candle]
