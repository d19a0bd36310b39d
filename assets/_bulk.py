"""Bulk: a first load of large Parquet files by columns, with the rules and the rows of the slow way.

What lives here: which series need no second look, their rows handed to the store in one statement a file, and the
others handed to the screen. What does not: triage (``plimsoll.triage``), reading columns (``column_files``), the slow
way (``assets._taking``), which a test holds this one to, row by row.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

import plimsoll
from assets import _run, _taking
from assets._taking import DAILY
from dagster_project import column_files, files, market_feed, raw_files
from dagster_project.column_files import ColumnFile
from dagster_project.progress import crash_point, note
from dagster_project.settings import Settings
from dagster_project.warehouse import Session
from plimsoll import triage

LEAST_ROWS = 200_000
"""Fewer rows are read as fast the slow way."""


@dataclass
class _Part:
    """One file: where its bytes come from, and what is found in it."""

    file: Path
    content: Callable[[], bytes]
    digest: str = ""
    byte_count: int = 0
    ids: dict[str, str] = field(default_factory=dict)
    findings: triage.Findings | None = None
    accepted: int = 0


def of_files(session: Session, settings: Settings, run: _run.Run, now: pd.Timestamp) -> dict[str, int] | None:
    """Load the configured files, or None where they take the slow way.

    They do where there are few rows, witnesses beside the source, other formats, or a store that has candles.

    Raises
    ------
    FeedError
        As the slow way does.
    """
    if settings.source.kind != "candles" or settings.source.path is None or settings.source.also:
        return None
    found = market_feed.files_of(settings.source.path)
    parts = [_Part(file, partial(market_feed.content_of, file)) for file in found]
    counts = [column_files.row_count(file.name, file) for file in found]
    return _load(session, settings, run, now, parts, counts, settings.source.path)


def of_arrivals(
    session: Session, settings: Settings, run: _run.Run, now: pd.Timestamp, arrivals: Sequence[raw_files.Arrival]
) -> dict[str, int] | None:
    """Load files that came together and were kept, or None where they take the slow way."""
    if settings.source.kind != "candles" or settings.source.also:
        return None
    parts, counts = [], []
    for one in arrivals:
        if one.timeframe != "1d" or one.suffix != ".parquet":
            return None
        parts.append(_Part(Path(one.origin), partial(raw_files.content, settings, one)))
        counts.append(column_files.row_count(one.suffix, io.BytesIO(raw_files.content(settings, one))))
    return _load(session, settings, run, now, parts, counts, Path("raw"))


def _load(
    session: Session,
    settings: Settings,
    run: _run.Run,
    now: pd.Timestamp,
    parts: Sequence[_Part],
    rows: Sequence[int | None],
    path: Path,
) -> dict[str, int] | None:
    if any(count is None for count in rows) or sum(count or 0 for count in rows) < LEAST_ROWS:
        return None
    stored = session.query("candle_last_days")
    if (stored["source"] == settings.source.name).any() or len(session.query("known_raw_files")):
        return None
    wanted = market_feed.wanted_of(settings)
    number = {symbol: n for n, symbol in enumerate(wanted.values())}
    if not _examined(settings, run, now, parts, wanted, number, path):
        return None
    mine = [part for part in parts if part.findings is not None and part.findings.count.sum()]
    second_look = triage.doubtful([part.findings for part in mine if part.findings is not None])
    second_look |= np.array([settings.markets[symbol].is_close_only for symbol in number])
    return _store(session, settings, run, now, mine, number, second_look)


def _examined(
    settings: Settings,
    run: _run.Run,
    now: pd.Timestamp,
    parts: Sequence[_Part],
    wanted: dict[str, str],
    number: dict[str, int],
    path: Path,
) -> bool:
    """Look at every file once; false where one must take the slow way."""
    sources: set[str] = set()
    symbols: set[str] = set()
    for n, part in enumerate(parts, 1):
        note("candles", f"looks at file {n} of {len(parts)}")
        read = _read(settings, part)
        if read is None:
            return False
        sources |= read.sources
        theirs = {text: market_feed.canonical(part.file, text) for text in read.theirs}
        symbols |= set(theirs.values())
        part.ids = {text: wanted[one] for text, one in theirs.items() if one in wanted}
        series, at = _looked_at(read, part, number, run, now)
        part.findings = triage.examine(
            read.columns(series, at), len(number), latest=np.datetime64(pd.Timestamp(run.end), "us")
        )
    market_feed.refuse_missing(settings, path, sources, symbols, wanted)
    return len({part.digest for part in parts}) == len(parts)


def _read(settings: Settings, part: _Part) -> ColumnFile | None:
    content = part.content()
    digest = files.sha256(content)
    if part.digest and digest != part.digest:
        raise market_feed.FeedError(f"{part.file}: changed while it was read; run again when it is whole")
    part.digest, part.byte_count = digest, len(content)
    return column_files.read(part.file, content, settings.source.name)


def _looked_at(
    read: ColumnFile, part: _Part, number: dict[str, int], run: _run.Run, now: pd.Timestamp
) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's series, and which rows are ours and of this run: those of a later day that is past wait."""
    series = read.series_of({text: number[symbol] for text, symbol in part.ids.items()})
    day = read.days().astype("datetime64[D]")
    waits = (day > np.datetime64(run.end)) & (day <= np.datetime64(now, "D"))
    return series, (series >= 0) & ~waits


def _store(
    session: Session,
    settings: Settings,
    run: _run.Run,
    now: pd.Timestamp,
    parts: Sequence[_Part],
    number: dict[str, int],
    second_look: np.ndarray,
) -> dict[str, int]:
    source = settings.source.name
    grace = DAILY.grace(settings) // pd.Timedelta(minutes=1)
    doubtful: list[pd.DataFrame] = []
    written = 0
    with session.transaction():
        for n, part in enumerate(parts, 1):
            note("candles", f"stores file {n} of {len(parts)}")
            read = _read(settings, part)
            assert read is not None
            # Bytes first: a row that names a raw file must find it.
            raw = market_feed.RawInput(part.file.name, part.content(), ".parquet", pd.DataFrame(), source)
            raw_files.keep(settings, part.digest, raw, now.to_pydatetime(), run.end)
            series, at = _looked_at(read, part, number, run, now)
            is_doubtful = at & second_look[series]
            part.accepted = session.load(
                "first_candles",
                read.incoming(part.ids, at & ~is_doubtful, source=source, source_sha256=part.digest),
                grace_minutes=int(grace),
            )
            written += part.accepted
            if is_doubtful.any():
                doubtful.append(read.rows(part.ids, is_doubtful).assign(source=source, source_sha256=part.digest))
        crash_point("kept raw files")
        counts, aside = _judged(session, settings, run, now, parts, doubtful)
        counts["candles"] += written
        total = sum(counts.values())
        session.record_commit(
            stage=DAILY.table,
            as_of=run.end,
            run_id=run.run_id,
            input_hash=_run.digest(*(str(day) for day in run.days)),
            output_hash=_run.digest(*(f"{part.digest} {part.accepted}" for part in parts), str(counts)),
            code=plimsoll.METHODOLOGY,
            config_hash=settings.config_hash,
            row_count=total,
        )
    by_reason = {f"quarantined_{reason}": int(n) for reason, n in aside["reason"].value_counts().sort_index().items()}
    return counts | by_reason


def _judged(
    session: Session,
    settings: Settings,
    run: _run.Run,
    now: pd.Timestamp,
    parts: Sequence[_Part],
    doubtful: Sequence[pd.DataFrame],
) -> tuple[dict[str, int], pd.DataFrame]:
    """Screen the rows that need a look, the slow way, and note what each file brought."""
    rows = pd.concat(doubtful, ignore_index=True) if doubtful else _nothing()
    accepted, quarantined = _taking.screened(settings, rows, run.end, now)
    bars = _taking.candle_rows(settings, accepted, session.query("candle_last_days").head(0), now, DAILY)
    aside = _taking.quarantine_rows(quarantined, DAILY)
    raw = pd.DataFrame({"source_sha256": [part.digest for part in parts], "source": settings.source.name})
    raw["origin"] = [part.file.name for part in parts]
    raw["raw_path"] = [raw_files.path_of(settings, settings.source.name, part.digest, ".parquet") for part in parts]
    raw["byte_count"] = [part.byte_count for part in parts]
    taken = accepted.groupby("source_sha256").size()
    refused = quarantined.groupby("source_sha256").size()
    raw["accepted_count"] = [part.accepted + int(taken.get(part.digest, 0)) for part in parts]
    raw["quarantined_count"] = [int(refused.get(part.digest, 0)) for part in parts]
    raw["row_count"] = raw["accepted_count"] + raw["quarantined_count"]
    raw["known_at"] = now
    counts = {
        "candles": session.append(DAILY.table, bars, key=DAILY.key) if len(bars) else 0,
        "quarantined": session.insert(DAILY.quarantine, aside) if len(aside) else 0,
        "raw_files": session.insert("raw_file", raw),
    }
    return counts, aside


def _nothing() -> pd.DataFrame:
    texts = dict.fromkeys(("symbol", "volume_unit", "note", "source", "source_sha256"), "object")
    numbers = dict.fromkeys(market_feed.NUMBERS, "float64")
    kinds = {"row_number": "int64", "date": "datetime64[us]"} | texts | numbers
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})
