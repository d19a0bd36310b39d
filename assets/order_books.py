"""Order books: snapshots that were dropped as files, appended once each; what is no book is set aside with its reason.

What lives here: which files a night reads, what of them is new, the asset. What does not: the format
(``dagster_project.order_book_files``), what makes a book (``plimsoll.slippage``), what it says of a size (the budget).
"""

import gzip
import logging
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

import plimsoll
from assets import _run
from assets._table import table_metadata
from dagster_project import clock, files, order_book_files
from dagster_project import settings as settings_module
from dagster_project.order_book_files import KEY, BookFile
from dagster_project.order_books import OrderBooks
from dagster_project.progress import step
from dagster_project.raw_files import PACKED, RawFileError
from dagster_project.settings import Settings
from dagster_project.warehouse import Session, Warehouse

LOGGER = logging.getLogger("plimsoll.order_books")
SOURCE = "order_books"
ASIDE_KEY = ["source_sha256", "origin", "snapshot_at", "venue", "symbol", "reason"]
DAY = pd.Timedelta(days=1)


def ingest(session: Session, settings: Settings, books: OrderBooks, run: _run.Run) -> dict[str, int]:
    """Read the dropped files and append the snapshots up to the end of the run's last day; counts of what happened.

    Later snapshots wait for the run of their own day. Bytes that gave something new are kept, and read again where the
    store does not know them, so that one made anew finds them.

    Raises
    ------
    FeedError
        Where the configured path is not there.
    RawFileError
        Where kept bytes are damaged.
    """
    now = pd.Timestamp(clock.now())
    found = order_book_files.read(books, now)
    found += _kept(session, settings, books, now, {one.digest for one in found})
    stored = session.query("order_book_snapshots")
    known = {(at, symbol, venue): digest for at, symbol, venue, digest in stored.itertuples(index=False)}
    future = session.query("order_book_aside")
    lied = {row[:5] for row in future[future["reason"] == "future"][ASIDE_KEY].itertuples(index=False, name=None)}
    new: dict[tuple[pd.Timestamp, str, str], tuple[BookFile, pd.DataFrame]] = {}
    aside = [one.refused for one in found]
    for one in found:
        for _, levels in one.levels.groupby(KEY, sort=True):
            at, symbol, venue = levels[KEY].iloc[0]
            theirs = books.venues[venue][symbol]
            if at >= pd.Timestamp(run.end) + DAY or (one.digest, one.origin, at, venue, theirs) in lied:
                continue
            key = (at, symbol, venue)
            if known.get(key) == one.digest:
                continue
            if key in new:
                earlier, whose = new[key][1], new[key][0].origin
            elif key in known:
                earlier = session.query("order_book_levels", symbol=symbol, venue=venue, first=at, last=at)
                whose = f"the file {known[key][:12]}, which is stored"
            else:
                new[key] = one, levels
                continue
            if not order_book_files.same(levels, earlier):
                told = f"{one.origin}: {venue} {theirs} {at:%Y-%m-%d %H:%M:%S}: other levels than in {whose}"
                row = (at, venue, theirs, None, "snapshot_differs", told, one.origin, one.digest)
                aside.append(order_book_files.refused_rows([row]))
    return _stored(session, settings, run, now, found, new, aside)


def _stored(
    session: Session,
    settings: Settings,
    run: _run.Run,
    now: pd.Timestamp,
    found: list[BookFile],
    new: dict[tuple[pd.Timestamp, str, str], tuple[BookFile, pd.DataFrame]],
    aside: list[pd.DataFrame],
) -> dict[str, int]:
    rows = order_book_files.levels_of(
        [levels.assign(source_sha256=one.digest) for _, (one, levels) in sorted(new.items())]
    ).assign(known_at=now)
    refused = _fresh(pd.concat([order_book_files.refused_rows([]), *aside], ignore_index=True), session)
    refused = refused.assign(set_aside_on=pd.Timestamp(run.end), known_at=now)
    for detail in refused["detail"]:
        LOGGER.warning("set aside: %s", detail)
    giving = {str(digest) for part in (rows, refused) for digest in part.get("source_sha256", pd.Series()).dropna()}
    arrived = _arrived(session, found, giving, rows, refused, now)
    for one in found:
        if one.digest in giving:
            level = 0 if one.suffix in PACKED else 9
            packed = gzip.compress(one.content, level, mtime=0)
            files.write_atomic(settings_module.profile_folder(settings) / _path(one), packed)
    with session.transaction():
        counts = {
            "levels": session.insert("order_book", rows) if len(rows) else 0,
            "set_aside": session.insert("order_book_quarantine", refused) if len(refused) else 0,
            "raw_files": session.insert("raw_file", arrived) if len(arrived) else 0,
        }
        _run.commit(
            session,
            run,
            "order_book",
            sum(counts.values()),
            rows.drop(columns="known_at"),
            refused.drop(columns="known_at"),
        )
    return counts | {"snapshots": len(new), "files": len(found)}


def _fresh(refused: pd.DataFrame, session: Session) -> pd.DataFrame:
    """Rows that are not set aside yet; what is missing equals what is missing."""
    stored = session.query("order_book_aside")
    known = {_key(row) for row in stored[ASIDE_KEY].itertuples(index=False, name=None)}
    keys = [_key(row) for row in refused[ASIDE_KEY].itertuples(index=False, name=None)]
    is_fresh = [key not in known and key not in keys[:n] for n, key in enumerate(keys)]
    return refused[np.asarray(is_fresh, dtype=bool)].reset_index(drop=True)


def _key(row: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple("" if pd.isna(value) else str(value) for value in row)


def _arrived(
    session: Session,
    found: list[BookFile],
    giving: set[str],
    rows: pd.DataFrame,
    refused: pd.DataFrame,
    now: pd.Timestamp,
) -> pd.DataFrame:
    """Return what is noted of each file that is new and gave something."""
    seen = session.query("known_raw_files")
    known = set(seen.loc[seen["source"] == SOURCE, "source_sha256"])
    noted = {}
    for one in found:
        if one.digest in giving - known and one.digest not in noted:
            taken = int((rows["source_sha256"] == one.digest).sum()) if len(rows) else 0
            left = int((refused["source_sha256"] == one.digest).sum())
            noted[one.digest] = {
                "source_sha256": one.digest,
                "source": SOURCE,
                "origin": one.origin,
                "raw_path": _path(one),
                "byte_count": len(one.content),
                "row_count": taken + left,
                "accepted_count": taken,
                "quarantined_count": left,
                "known_at": now,
            }
    return pd.DataFrame(list(noted.values()))


def _path(one: BookFile) -> str:
    return f"raw/{SOURCE}/{one.digest}{one.suffix}.gz"


def _kept(
    session: Session, settings: Settings, books: OrderBooks, now: pd.Timestamp, present: set[str]
) -> list[BookFile]:
    """Read kept files of which the store knows nothing and that do not lie in the configured path."""
    seen = session.query("known_raw_files")
    known = present | set(seen.loc[seen["source"] == SOURCE, "source_sha256"])
    found = []
    for path in sorted((settings_module.profile_folder(settings) / "raw" / SOURCE).glob("*.gz")):
        digest, _, suffix = path.name.removesuffix(".gz").partition(".")
        if digest in known:
            continue
        try:
            content = gzip.decompress(path.read_bytes())
        except (OSError, EOFError) as error:
            raise RawFileError(f"{path}: cannot be read ({error}); bring it back from a copy of the folder") from error
        if files.sha256(content) != digest:
            raise RawFileError(f"{path}: not the bytes that were received; bring it back from a copy of the folder")
        found.append(order_book_files.parse(books, path.name.removesuffix(".gz"), f".{suffix}", content, now))
    return found


def build(settings: Settings, partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return the asset; without ``[order_books]`` it is there and does nothing."""

    @dg.asset(
        name="order_book",
        description="Snapshots of order books from dropped files, each stored once; those that are none are set aside "
        "in order_book_quarantine, raw bytes are kept. Does nothing where [order_books] is not configured.",
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="market_data",
        kinds={"python", "duckdb"},
        code_version=plimsoll.METHODOLOGY,
    )
    def order_book(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[None]:
        if settings.order_books is None:
            return dg.MaterializeResult(metadata=table_metadata("order_book", 0))
        run = _run.of(context, settings)
        with _run.patiently(context), step("order books"), warehouse.session() as session:
            counts = ingest(session, settings, settings.order_books, run)
        return dg.MaterializeResult(metadata={**table_metadata("order_book", counts["levels"]), **counts})

    return [order_book]
