"""Prices: one bar a market and day, agreed on by all its sources, and what is to be thought of each of them.

What lives here: which candles a night's prices are made of, agreeing on them, scores of feeds, the asset. What does
not: candles (``assets.market_data``), the rules of agreeing (``plimsoll.consensus``), gaps (``plimsoll.prices``).
"""

from dataclasses import dataclass

import dagster as dg
import numpy as np
import pandas as pd

import plimsoll
from assets import _run
from assets._table import table_metadata
from dagster_project import calendars
from dagster_project.progress import step
from dagster_project.settings import Settings
from dagster_project.warehouse import Session, Warehouse
from plimsoll import consensus, prices

SHOWN_FEEDS = 60
SCORE_KEY = ("date", "symbol", "source", "methodology", "config_hash")
SPAN_COLUMNS = {"start": "start_on", "end": "end_on"}
VERDICTS = ["date", "symbol", "source", "kind", "detail", "evidence", "known_on"]


class PriceConfig(dg.Config):
    """What an operator may ask of the prices in the launchpad."""

    as_known_now: bool = False


@dataclass(frozen=True)
class Sources:
    """Candles of all sources in one state of knowledge, and rows that the screen had refused by then."""

    candles: pd.DataFrame
    set_aside: pd.DataFrame


@dataclass(frozen=True)
class Agreed:
    """What the sources agree on, over all markets.

    Attributes
    ----------
    candles
        One a market and day, as `plimsoll.prices.build_prices` takes them.
    judgement
        Verdicts on bars and spans of days.
    prices
        Result of the vote, days without a usable bar included.
    mirrors
        By year, sources that copy another one.
    """

    candles: pd.DataFrame
    judgement: consensus.Judgement
    prices: pd.DataFrame
    mirrors: dict[int, dict[str, str]]


def newest_sources(session: Session, settings: Settings) -> Sources:
    """Read what is known now."""
    return Sources(of_sources(session, settings, "newest_candles"), _of_markets(settings, session.query("set_aside")))


def sources_then(session: Session, settings: Settings, run: _run.Run) -> Sources:
    """Read what was known when the bars of the run's last day came."""
    rows = of_sources(session, settings, "candles_as_known", as_of=run.end)
    aside = _of_markets(settings, session.query("set_aside"))
    # Without a bar of that day, whatever had come by the end of the next.
    own = rows.loc[rows["date"] == pd.Timestamp(run.end), "known_at"]
    seen_by = own.max() if len(own) else pd.Timestamp(run.end) + pd.Timedelta(days=2)
    return Sources(rows, aside[(aside["known_at"] <= seen_by) & (aside["date"] <= pd.Timestamp(run.end))])


def of_sources(session: Session, settings: Settings, query: str, **more: object) -> pd.DataFrame:
    """Return what a query finds for each configured market in each source that may have it."""
    found = [session.query(query, source=source, **more) for source in settings.source.ids()]
    rows = _of_markets(settings, pd.concat(found, ignore_index=True))
    return rows.sort_values(["symbol", "date", "source"], kind="stable", ignore_index=True)


def of_primary(session: Session, settings: Settings, query: str, **more: object) -> pd.DataFrame:
    """Return what a query finds for each configured market in the first of its sources."""
    found = []
    for source in settings.source.ids():
        rows = session.query(query, source=source, **more)
        mine = [symbol for symbol in settings.markets if settings.source.id_of(symbol) == source]
        found.append(rows[rows["symbol"].isin(mine)])
    return pd.concat(found, ignore_index=True)


def agree(settings: Settings, sources: Sources, as_of: pd.Timestamp | None = None) -> Agreed:
    """Judge all candles, let venues vote and make one candle a market and day."""
    venues = settings.source.venues_by_id()
    aside = sources.set_aside.rename(columns={"open_usd": "open", "close_usd": "close"})
    judgement = consensus.judge(
        sources.candles, venues=venues, as_of=as_of, set_aside=aside if len(aside) else None
    ).of_bars()
    mirrors = consensus.mirrors_by_year(sources.candles, judgement)
    voted = consensus.prices_by_year(sources.candles, judgement, venues, mirrors, as_of=as_of)
    frames = [
        consensus.market_candles(
            sources.candles[sources.candles["symbol"] == symbol],
            voted[voted["symbol"] == symbol],
            settings.source.id_of(symbol),
        )
        for symbol in settings.markets
    ]
    return Agreed(pd.concat(frames, ignore_index=True), judgement, voted, mirrors)


def _of_markets(settings: Settings, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of configured markets from sources that may have them."""
    pairs = {(symbol, source) for symbol in settings.markets for source in settings.source.ids_of(symbol)}
    mine = np.array([pair in pairs for pair in zip(rows["symbol"], rows["source"], strict=True)], dtype=bool)
    # A source without rows has texts of another kind, which two tables cannot be joined by.
    return rows[mine].astype({"symbol": "str", "source": "str"}).reset_index(drop=True)


def agreed_of(
    session: Session, settings: Settings, run: _run.Run, *, as_known_now: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, Agreed, Sources]:
    """Agree on the candles that the prices of a run are made of.

    The newest day uses what is known now. A day after which candles of a later one came is a rerun: up to it, candles
    are those that were known when its own bar came, judged by what had come by then, so that a source which rewrites
    its history moves no old report unasked; ``as_known_now`` asks for today's values, to correct one.

    Returns
    -------
    tuple
        Candles, verdicts and spans of all days; and what stood on the run's last day, with its sources.
    """
    newest = newest_sources(session, settings)
    end = pd.Timestamp(run.end)
    if newest.candles.empty:
        raise dg.Failure(f"no candles of {', '.join(settings.markets)} in the store; run the stage candle first")
    now = agree(settings, newest)
    rejected, spans = now.judgement.rejected, now.judgement.spans
    is_rerun = newest.candles["date"].max() > end
    if not is_rerun:
        return now.candles, rejected, spans, now, newest
    if as_known_now:
        upto = Sources(_upto(newest.candles, "date", end), _upto(newest.set_aside, "date", end))
        return now.candles, rejected, spans, agree(settings, upto, end), upto
    known = sources_then(session, settings, run)
    then = agree(settings, known, end)
    judged = then.judgement
    return (
        _spliced(then.candles, now.candles, "date", end).sort_values(["symbol", "date"], ignore_index=True),
        _spliced(judged.rejected, rejected, "date", end),
        _spliced(judged.spans, spans, "known_on", end),
        then,
        known,
    )


def _upto(rows: pd.DataFrame, name: str, end: pd.Timestamp) -> pd.DataFrame:
    return rows[rows[name] <= end].reset_index(drop=True)


def _spliced(then: pd.DataFrame, now: pd.DataFrame, name: str, end: pd.Timestamp) -> pd.DataFrame:
    return pd.concat([then, now[now[name] > end]], ignore_index=True)


def price_rows(settings: Settings, symbol: str, candles: pd.DataFrame, no_quote: pd.DataFrame) -> pd.DataFrame:
    """Price rows of one market from its agreed candles."""
    market = settings.markets[symbol]
    mine = candles[candles["symbol"] == symbol].reset_index(drop=True)
    if mine.empty:
        return mine
    days = _sessions(settings, symbol, mine["date"].iloc[0], mine["date"].iloc[-1], no_quote)
    return prices.build_prices(mine, days, listing_days_dropped=market.listing_days_dropped)


def _sessions(
    settings: Settings, symbol: str, first: pd.Timestamp, last: pd.Timestamp, no_quote: pd.DataFrame
) -> pd.DatetimeIndex:
    silent = frozenset(day.date() for day in no_quote.loc[no_quote["symbol"] == symbol, "date"])
    return calendars.sessions(settings.markets[symbol].calendar, first.date(), last.date(), no_quote=silent)


def feed_rows(
    session: Session, settings: Settings, run: _run.Run, agreed: Agreed, sources: Sources, no_quote: pd.DataFrame
) -> pd.DataFrame:
    """Score every feed on the days up to the run's last one."""
    end = pd.Timestamp(run.end)
    scored = consensus.SCORED_DAYS + (run.days[-1] - run.days[0]).days
    first = end - pd.Timedelta(days=scored + consensus.WINDOW_DAYS)
    revised = session.query("revised_bars", first=first)
    rows = _upto(sources.candles, "date", end)
    return consensus.feed_days(
        rows,
        agreed.judgement,
        agreed.prices,
        {symbol: _sessions(settings, symbol, first, end, no_quote) for symbol in rows["symbol"].unique()},
        # What was revised later than the days that are scored is no fault of theirs.
        revised[revised["known_at"] <= end + pd.Timedelta(days=2)],
        agreed.mirrors.get(end.year, {}),
        end,
        scored_days=scored,
    )


def _store(session: Session, settings: Settings, frames: dict[str, pd.DataFrame]) -> int:
    """Replace each market's rows of tables that hold the present state; rows written."""
    written = 0
    for table, rows in frames.items():
        for symbol in settings.markets:
            mine = rows[rows["symbol"] == symbol]
            written += session.replace(table, mine, symbol=symbol)
    return written


def _spans_of(settings: Settings, spans: pd.DataFrame) -> pd.DataFrame:
    """Spans of all markets of a source as spans of each of its markets."""
    rows = []
    for one in spans.to_dict("records"):
        of = [s for s in settings.markets if one["source"] in settings.source.ids_of(s)]
        rows += [one | {"symbol": symbol} for symbol in (of if one["symbol"] == "*" else [one["symbol"]])]
    table = pd.DataFrame(rows, columns=spans.columns).rename(columns=SPAN_COLUMNS)
    return table.drop_duplicates(["symbol", "source", "kind", "start_on"], keep="last", ignore_index=True)


def build(settings: Settings, partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return the price asset of a configuration."""

    @dg.asset(
        name="price",
        deps=["candle"],
        description="One bar a market and day, agreed on by its sources, with the close before, gaps against the "
        "market's calendar and traded value: what every model reads. Writes bar_verdict, feed_span and feed_score too: "
        "which bars were refused and why, and how far each feed can be trusted.",
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="market_data",
        kinds={"python", "duckdb"},
        code_version=plimsoll.METHODOLOGY,
    )
    def price(
        context: dg.AssetExecutionContext, config: PriceConfig, warehouse: Warehouse
    ) -> dg.MaterializeResult[None]:
        run = _run.of(context, settings)
        with step("price"), warehouse.session() as session:
            candles, rejected, spans, agreed, sources = agreed_of(
                session, settings, run, as_known_now=config.as_known_now
            )
            no_quote = of_primary(session, settings, "no_quote_days")
            rows = [price_rows(settings, symbol, candles, no_quote) for symbol in settings.markets]
            frames = {
                "price": pd.concat([frame for frame in rows if len(frame)], ignore_index=True),
                "bar_verdict": rejected[VERDICTS],
                "feed_span": _spans_of(settings, spans),
            }
            feeds = run.stamped(feed_rows(session, settings, run, agreed, sources, no_quote))
            with session.transaction():
                written = _store(session, settings, frames)
                written += session.append("feed_score", feeds, key=SCORE_KEY) if len(feeds) else 0
                _run.commit(session, run, "price", written, *frames.values(), feeds)
        refused = frames["bar_verdict"]
        return dg.MaterializeResult(
            metadata={
                **table_metadata("price", written),
                "gaps": int((frames["price"]["gap_sessions"] > 0).sum()),
                "rejected_bars": len(refused),
                "feeds": dg.MetadataValue.md(_feeds_table(feeds)),
                "newest_rejected_bars": dg.MetadataValue.md(_verdicts_table(refused)),
            }
        )

    return [price]


def _feeds_table(feeds: pd.DataFrame) -> str:
    if feeds.empty:
        return "No feed has a bar in the last ninety days."
    newest = feeds[feeds["date"] == feeds.groupby("symbol")["date"].transform("max")].sort_values("score")
    lines = ["| market | source | score | complete | stale | disagreement, bp | rejected | quarantine |"]
    lines.append("|---|---|---:|---:|---:|---:|---:|---|")
    for row in newest.head(SHOWN_FEEDS).to_dict("records"):
        apart = "-" if pd.isna(row["disagreement_bp"]) else f"{row['disagreement_bp']:.1f}"
        lines.append(
            f"| {row['symbol']} | {row['source']} | {row['score']:.0f} | {row['bars']} of {row['expected']} "
            f"| {row['days_stale']:.0f} | {apart} | {row['rejected']} | {'yes' if row['is_quarantined'] else ''} |"
        )
    if len(newest) > SHOWN_FEEDS:
        lines.append(f"\n{len(newest) - SHOWN_FEEDS} more, all with better scores.")
    return "\n".join(lines)


def _verdicts_table(rejected: pd.DataFrame) -> str:
    if rejected.empty:
        return "None."
    lines = ["| day | market | source | fault | numbers |", "|---|---|---|---|---|"]
    for row in rejected.sort_values("date", ascending=False, kind="stable").head(20).to_dict("records"):
        numbers = str(row["detail"]).replace("|", "/")
        lines.append(f"| {row['date']:%Y-%m-%d} | {row['symbol']} | {row['source']} | {row['kind']} | {numbers} |")
    return "\n".join(lines)
