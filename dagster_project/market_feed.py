"""Market feed: candles as a source gives them, read but not yet judged.

What lives here: the data sets bundled with ``arch`` and tidy candle files; what cannot be read is an error
that names the file and what to do. What does not: screening (``plimsoll.candles``), storage.
"""

import csv
import gzip
import io
import logging
import os
import stat
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dagster_project.settings import Settings
from plimsoll.candles import canonical_symbol

LOGGER = logging.getLogger("plimsoll.market_feed")
COLUMNS = ("date", "symbol", "source", "open", "high", "low", "close", "volume", "volume_unit")
NUMBERS = ("open", "high", "low", "close", "volume")
SUFFIXES = (".csv", ".csv.gz", ".parquet")
SIZE_CAP = 512 * 1024 * 1024
RATIO_CAP, RATIO_FREE = 200, 16 * 1024 * 1024
"""How much larger than packed a file may be; candles pack to a tenth. Small files may do as they like."""
COLUMN_CAP = 64
LINE_CAP = 64 * 1024
LISTED = 12
ABSENT = frozenset({"", "nan", "na", "n/a", "null", "none"})
"""Texts that stand for a value that is not there, in lower case."""
WHOLE_DAY = r"\d{4}(?:-\d{1,2}-\d{1,2}|/\d{1,2}/\d{1,2}|\d{4})(?:[T ].+)?"
"""Year, month and day: a month alone, a year alone or a word such as "today" is no day."""


class FeedError(ValueError):
    """A source cannot be read; the message names the file, the column or the market and what to do."""


@dataclass(frozen=True)
class RawInput:
    """One input as received.

    Attributes
    ----------
    origin
        File name or data set, without folders.
    content
        Bytes as received.
    suffix
        Ending that tells the format.
    frame
        ``row_number, date, symbol, open, high, low, close, volume, volume_unit, note`` of the configured
        markets; ``date`` in UTC, NaT where unreadable; ``note`` says what could not be read, else empty.
    source
        Canonical source id under which its candles are stored.
    timeframe
        ``1d``, or ``1h`` where ``date`` is the beginning of an hour.
    """

    origin: str
    content: bytes
    suffix: str
    frame: pd.DataFrame
    source: str
    timeframe: str = "1d"


def read(settings: Settings) -> list[RawInput]:
    """Read the configured source, unless it is an exchange (``exchanges.feed``).

    Raises
    ------
    FeedError
        Where the source or a market in it is missing or cannot be read.
    """
    if settings.source.kind == "bundled":
        name = settings.source.name
        return [
            _bundled(name, symbol, market.source_symbol or symbol.lower())
            for symbol, market in settings.markets.items()
        ]
    if settings.source.path is None:
        raise FeedError("source.path is not set: name a candle file or folder there, or pass --candles PATH")
    return _candle_files(settings, settings.source.path)


def read_hourly(settings: Settings) -> list[RawInput]:
    """Read the hourly candle files of a configuration; a market without any is told in the log.

    Raises
    ------
    FeedError
        Where a file cannot be read, or holds daily candles.
    """
    if settings.source.hourly_path is None:
        raise FeedError("source.hourly_path is not set: name a file or folder of hourly candles there")
    return _candle_files(settings, settings.source.hourly_path, "1h")


def again(
    settings: Settings, origin: str, content: bytes, suffix: str, timeframe: str = "1d", source: str = ""
) -> RawInput:
    """Read bytes that were kept from an earlier run of the configured source, or of one of its witnesses."""
    if settings.source.kind == "bundled":
        frame = pd.read_csv(io.BytesIO(content), parse_dates=["date"])
        return RawInput(origin, content, suffix, frame.assign(note=""), settings.source.name)
    if settings.source.kind == "exchange":
        from dagster_project.exchanges import feed

        return feed.again(settings, origin, content)
    file = Path(origin if origin.endswith(suffix) else origin + suffix)
    source = source or settings.source.name
    return RawInput(origin, content, suffix, _read(settings, file, content).of(source), source, timeframe)


def _bundled(source: str, symbol: str, name: str) -> RawInput:
    import arch.data.nasdaq
    import arch.data.sp500
    import arch.data.wti

    known = {"sp500": arch.data.sp500, "nasdaq": arch.data.nasdaq, "wti": arch.data.wti}
    if name not in known:
        raise FeedError(f"markets.{symbol}.source_symbol {name!r}: bundled data sets are {', '.join(sorted(known))}")
    data = known[name].load()
    frame = pd.DataFrame({"date": pd.DatetimeIndex(data.index)})
    if name == "wti":
        frame["close"] = data.iloc[:, 0].to_numpy()
        for field in ("open", "high", "low", "volume"):
            frame[field] = float("nan")
    else:
        for field in ("open", "high", "low", "close", "volume"):
            frame[field] = data[field.capitalize()].to_numpy(dtype="float64")
    frame["volume_unit"] = "none"
    frame.insert(0, "row_number", range(1, len(frame) + 1))
    frame["symbol"] = symbol
    content = frame.to_csv(index=False, lineterminator="\n").encode()
    return RawInput(name, content, ".csv", frame.assign(note=""), source)


def _candle_files(settings: Settings, path: Path, timeframe: str = "1d") -> list[RawInput]:
    """Read the files of a path: one input for each file and source that has rows in it."""
    wanted = wanted_of(settings)
    inputs: list[RawInput] = []
    sources: set[str] = set()
    symbols: set[str] = set()
    for file in files_of(path):
        content = content_of(file)
        found = _read(settings, file, content)
        sources |= found.sources
        symbols |= found.symbols
        for source in settings.source.ids():
            kept = found.of(source)
            if len(kept):
                if timeframe == "1h":
                    _refuse_days(file, kept)
                inputs.append(RawInput(file.name, content, _suffix(file), kept, source, timeframe))
    refuse_missing(settings, path, sources, symbols, wanted, timeframe)
    return inputs


def refuse_missing(
    settings: Settings, path: Path, sources: set[str], symbols: set[str], wanted: dict[str, str], timeframe: str = "1d"
) -> None:
    """Refuse files that lack the source, or a configured market.

    Raises
    ------
    FeedError
        Names them, and what the files hold instead.
    """
    if settings.source.name not in sources:
        raise FeedError(
            f"{path}: no rows of source {settings.source.name!r}; it holds {_some(sources)}. Set source.name"
        )
    for witness in settings.source.also:
        if witness not in sources and timeframe == "1d":
            LOGGER.warning("%s: no rows of witness %s (source.also)", path, witness)
    missing = sorted(set(wanted) - symbols)
    if missing and timeframe == "1h":
        LOGGER.warning("%s: no hourly candles of %s", path, ", ".join(missing[:LISTED]))
    elif missing:
        raise FeedError(
            f"{path}: unknown symbol(s) {', '.join(missing)} in source {settings.source.name!r}; it holds "
            f"{_some(symbols)}. Take them out of [markets] or set source_symbol"
        )


def _refuse_days(file: Path, rows: pd.DataFrame) -> None:
    """Refuse a file of daily candles among hourly ones: each would pass for the first hour of its day."""
    begins = rows["date"].dropna()
    if len(begins) > 1 and (begins == begins.dt.normalize()).all():
        raise FeedError(f"{file}: every candle begins at midnight; these are daily ones, they belong into source.path")


@dataclass(frozen=True)
class _Found:
    """Rows of the configured markets and sources in one file, every source in it, and what its first source has."""

    rows: pd.DataFrame
    sources: set[str]
    symbols: set[str]

    def of(self, source: str) -> pd.DataFrame:
        """Rows of one source."""
        return self.rows[self.rows["source"] == source].drop(columns="source").reset_index(drop=True)


def _read(settings: Settings, file: Path, content: bytes) -> _Found:
    wanted = wanted_of(settings)
    whole = _parse(file, content)
    whole.insert(0, "row_number", range(1, len(whole) + 1))
    ours = whole[whole["source"].isin(settings.source.ids())].copy()
    ids = {text: canonical(file, text) for text in ours["symbol"].unique()}
    ours["symbol"] = ours["symbol"].map(ids)
    kept = ours[ours["symbol"].isin(wanted)].copy()
    kept["symbol"] = kept["symbol"].map(wanted)
    first = set(ours.loc[ours["source"] == settings.source.name, "symbol"])
    return _Found(kept.reset_index(drop=True), set(whole["source"]), first)


def wanted_of(settings: Settings) -> dict[str, str]:
    """Map the source's market ids to ours."""
    wanted: dict[str, str] = {}
    for symbol, market in settings.markets.items():
        try:
            theirs = canonical_symbol(market.source_symbol or symbol)
        except ValueError as error:
            raise FeedError(f"markets.{symbol}.source_symbol: {error}") from error
        if theirs in wanted:
            raise FeedError(
                f"markets.{symbol} and markets.{wanted[theirs]} both read {theirs}; a series feeds one market"
            )
        wanted[theirs] = symbol
    return wanted


def _some(values: set[str]) -> str:
    ordered = sorted(values)
    rest = f" and {len(ordered) - LISTED} more" if len(ordered) > LISTED else ""
    return ", ".join(ordered[:LISTED]) + rest if ordered else "nothing"


def canonical(file: Path, text: str) -> str:
    """Return the canonical form of a symbol in a file, or an error that names both."""
    try:
        return canonical_symbol(text)
    except ValueError as error:
        raise FeedError(f"{file}: column symbol: {error}") from error


def _suffix(file: Path) -> str:
    return next(s for s in (".csv.gz", ".csv", ".parquet") if file.name.endswith(s))


def files_of(path: Path) -> list[Path]:
    """List the candle files of a path, in the order of their names; what is none is refused by name."""
    if path.is_symlink():
        raise FeedError(f"{path}: a symbolic link; name the file or folder itself")
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.name.endswith(SUFFIXES) and not p.name.startswith("."))
        if not found:
            raise FeedError(f"{path}: no candle file in this folder; put .csv, .csv.gz or .parquet files there")
        for file in found:
            if not file.name.isprintable():
                raise FeedError(f"{path}: the name {file.name!r} holds control characters; give the file another")
    elif path.is_file():
        found = [path]
        if not path.name.endswith(SUFFIXES):
            raise FeedError(f"{path}: not .csv, .csv.gz or .parquet")
    else:
        raise FeedError(f"{path}: no such file or folder")
    return found


def content_of(file: Path) -> bytes:
    """Read a regular file; a link is refused by the kernel, whatever stood there a moment ago."""
    try:
        # Without waiting: a named pipe would hang here until someone writes to it.
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        what = "a symbolic link; put the file itself there" if file.is_symlink() else error.strerror
        raise FeedError(f"{file}: cannot be read: {what}") from error
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise FeedError(f"{file}: no regular file; put the file itself there")
        if status.st_size > SIZE_CAP:
            raise FeedError(f"{file}: larger than {SIZE_CAP // 2**20} MiB; split it by year")
        return stream.read()


def _parse(file: Path, content: bytes) -> pd.DataFrame:
    return typed(file, _parquet(file, content) if file.name.endswith(".parquet") else _csv(file, content))


def typed(file: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """Give the columns of a candle file their types; what cannot be read is noted, not raised, but for its names.

    Raises
    ------
    FeedError
        Where a column is missing, or a row names no market or source.
    """
    found = [str(name) for name in frame.columns]
    missing = [name for name in COLUMNS if name not in found]
    if missing:
        raise FeedError(
            f"{file}: column(s) {', '.join(missing)} missing; found {', '.join(found[:LISTED])}. "
            f"A tidy candle file has {', '.join(COLUMNS)}"
        )
    extra = [name for name in found if name not in COLUMNS]
    if extra:
        LOGGER.warning("%s: column(s) %s are not read", file.name, ", ".join(extra[:LISTED]))
    notes: list[pd.Series] = []
    out = pd.DataFrame({"date": _days(frame["date"], notes)})
    for name in ("symbol", "source"):
        text = frame[name].astype("object").where(frame[name].notna(), "").map(str)
        is_empty = (text.str.strip() == "").to_numpy()
        if is_empty.any():
            row = int(is_empty.argmax()) + 1
            raise FeedError(f"{file}: column {name} is empty in row {row}; every row names its {name}")
        out[name] = text
    for name in NUMBERS:
        out[name] = _numbers(frame[name], notes)
    out["volume_unit"] = frame["volume_unit"].astype("object").where(frame["volume_unit"].notna(), "").map(str)
    out["note"] = ""
    for note in notes:
        out.loc[note.index, "note"] = [
            f"{a}; {b}" if a else b for a, b in zip(out["note"][note.index], note, strict=True)
        ]
    return out


def _days(column: pd.Series, notes: list[pd.Series]) -> pd.Series:
    """Read days; a time with an offset is brought to UTC, one without is taken as UTC."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if pd.api.types.is_datetime64_any_dtype(column):
        days = pd.to_datetime(column, utc=True)
    else:
        text = column.astype("object").where(column.notna(), "").map(str).str.strip()
        days = pd.to_datetime(
            text.where(text.str.fullmatch(WHOLE_DAY), ""), errors="coerce", format="ISO8601", utc=True
        )
        unread = text[days.isna()]
        notes.append("date " + unread.map(repr) + " is no day; write it as 2018-12-31")
    return days.dt.tz_localize(None).astype("datetime64[us]")


def _numbers(column: pd.Series, notes: list[pd.Series]) -> pd.Series:
    """Read numbers; a text that is none becomes NaN and a note, an absent value NaN alone."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        column = column.astype("object").map(str)
    values = pd.to_numeric(column, errors="coerce").astype("float64")
    if not pd.api.types.is_numeric_dtype(column):
        text = column.astype("object").where(column.notna(), "").map(str).str.strip()
        unread = text[values.isna() & ~text.str.lower().isin(ABSENT)]
        notes.append(f"{column.name} " + unread.map(lambda one: repr(one[:40])) + " is no number")
    return values


def _parquet(file: Path, content: bytes) -> pd.DataFrame:
    table, names = table_of(file, content)
    frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    # Columns that are not read are there by name, so that they can be told.
    return frame.reindex(columns=names)


def table_of(file: Path, content: bytes) -> tuple[Any, list[str]]:
    """Read a Parquet file as columns, within the cap on what it unpacks to; those of candles, and the names of all.

    Raises
    ------
    FeedError
        Where it cannot be read or is too large; names it.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        opened = pyarrow.parquet.ParquetFile(io.BytesIO(content))
        about = opened.metadata
        _refuse_columns(file, opened.schema_arrow.names, about.num_columns)
        _refuse_types(file, opened.schema_arrow)
        stated = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
        # Repeated values take no room in the file, but eight bytes each in memory.
        if max(stated, 8 * about.num_rows * about.num_columns) <= SIZE_CAP:
            return opened.read(columns=list(COLUMNS)), opened.schema_arrow.names
    except FeedError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise FeedError(
            f"{file}: not a readable Parquet file ({(str(error).splitlines() or ['?'])[0]}); write it again"
        ) from error
    raise FeedError(f"{file}: unpacks to more than {SIZE_CAP // 2**20} MiB; split it by year")


def _csv(file: Path, content: bytes) -> pd.DataFrame:
    if file.name.endswith(".gz"):
        content = _unpacked(file, content)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FeedError(f"{file}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    if "\0" in text:
        raise FeedError(f"{file}: holds NUL characters; this is no text file")
    if not text.strip():
        raise FeedError(f"{file}: empty; a tidy candle file has {', '.join(COLUMNS)}")
    line_count = _refuse_lines(file, text)
    header = next(csv.reader([text.lstrip("\r\n").splitlines()[0]]))
    _refuse_columns(file, header, len(header))
    try:
        with warnings.catch_warnings():
            # Rows longer than the header would otherwise be cut with a warning.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, index_col=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, pd.errors.ParserWarning) as error:
        raise FeedError(
            f"{file}: not a comma-separated file with a header ({str(error).strip()}); write it again"
        ) from error
    if len(frame) < line_count - 1:
        raise FeedError(f"{file}: a quoted field spans lines; write one row a line")
    return frame


def _unpacked(file: Path, content: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            cap = min(SIZE_CAP, max(RATIO_FREE, RATIO_CAP * len(content)))
            unpacked = stream.read(cap + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise FeedError(f"{file}: damaged gzip ({error}); fetch it again") from error
    if len(unpacked) > SIZE_CAP:
        raise FeedError(f"{file}: unpacks to more than {SIZE_CAP // 2**20} MiB; split it by year")
    if len(unpacked) > cap:
        raise FeedError(
            f"{file}: unpacks to more than {RATIO_CAP} times its size, as no candles do; look at what it is"
        )
    return unpacked


def _refuse_lines(file: Path, text: str) -> int:
    """Refuse lines that are no rows; the number of those that are not blank."""
    count = 0
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        count += bool(line.strip())
        if line.startswith(("<<<<<<<", ">>>>>>>", "=======")):
            raise FeedError(
                f"{file}: line {number} is a merge-conflict marker ({line[:20]!r}); resolve the conflict first"
            )
        if len(line) > LINE_CAP:
            raise FeedError(f"{file}: line {number} is longer than {LINE_CAP // 1024} KiB; write one row a line")
    return count


def _refuse_columns(file: Path, names: list[str], count: int) -> None:
    """Refuse tables that are too wide, and those with two columns of one name."""
    if count > COLUMN_CAP:
        raise FeedError(f"{file}: {count} columns, more than {COLUMN_CAP}; a tidy candle file has {', '.join(COLUMNS)}")
    twice = [name for name in COLUMNS if names.count(name) > 1]
    if twice:
        raise FeedError(f"{file}: column(s) {', '.join(twice)} stand twice; keep one")


def _refuse_types(file: Path, schema: Any) -> None:
    """Refuse columns whose values are neither texts, numbers, days nor true or false."""
    from pyarrow import types

    for field in schema:
        if field.name not in COLUMNS:
            continue
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        is_fine = (
            types.is_integer(kind)
            or types.is_floating(kind)
            or types.is_decimal(kind)
            or types.is_string(kind)
            or types.is_large_string(kind)
            or types.is_string_view(kind)
            or types.is_boolean(kind)
            or types.is_timestamp(kind)
            or types.is_date(kind)
            or types.is_null(kind)
        )
        if not is_fine:
            raise FeedError(f"{file}: column {field.name} holds {field.type}; write texts, numbers or days")
