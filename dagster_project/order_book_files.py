"""Order-book files: snapshots as dropped, read row by row; a file or snapshot at fault is set aside whole, by reason.

What lives here: the format of the files, and what of them is a book. What does not: rules for levels
(``plimsoll.slippage.books``), storing (``assets.order_books``), configuration (``order_books``).
"""

import csv
import gzip
import io
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dagster_project import files, market_feed
from dagster_project.market_feed import FeedError
from dagster_project.order_books import OrderBooks
from plimsoll.slippage import BookError, book_of

COLUMNS = ("ts", "venue", "symbol", "side", "level", "price", "quantity")
CONTRACT = "contract_usd"
NAMING = ("venue", "symbol", "side")
KEY = ["snapshot_at", "symbol", "venue"]
LEVEL_COLUMNS = [*KEY, "side", "level", "price_usd", "quantity"]
REFUSED_COLUMNS = ["snapshot_at", "venue", "symbol", "row_number", "reason", "detail", "origin", "source_sha256"]
MOMENT = r"\d{4}-\d{2}-\d{2}(?:[T ].+)?"
LISTED = 12


@dataclass(frozen=True)
class BookFile:
    """One file as received.

    Attributes
    ----------
    origin, suffix, content, digest
        Name without folders, ending, bytes and their SHA-256; of a file whose bytes cannot be had, empty.
    levels
        ``snapshot_at, symbol, venue, side, level, price_usd, quantity`` of the snapshots that are books; ``symbol`` is
        our market, quantities are of the base asset.
    refused
        One row a snapshot or file that is set aside: ``snapshot_at, venue, symbol, row_number, reason, detail, origin,
        source_sha256``; as written in the file, null where unknown.
    """

    origin: str
    suffix: str
    content: bytes
    digest: str
    levels: pd.DataFrame
    refused: pd.DataFrame


def read(books: OrderBooks, now: pd.Timestamp) -> list[BookFile]:
    """Read every file of the configured path, by name.

    Raises
    ------
    FeedError
        Where the path is not there or is no file or folder of such files. What is wrong with a file is in its
        ``refused``.
    """
    return [_file(books, path, now) for path in _files_of(books.path)]


def parse(books: OrderBooks, origin: str, suffix: str, content: bytes, now: pd.Timestamp) -> BookFile:
    """Read bytes of a file.

    Parameters
    ----------
    books
        Configuration.
    origin, suffix, content
        Name, ending and bytes.
    now
        Present, UTC: what is later cannot have been seen.
    """
    digest = files.sha256(content)
    try:
        table = _table(origin, suffix, content)
        rows = _typed(origin, table)
    except FeedError as error:
        refused = refused_rows([(pd.NaT, None, None, None, "unreadable_file", str(error), origin, digest)])
        return BookFile(origin, suffix, content, digest, levels_of([]), refused)
    kept, aside = [], []
    for (venue, symbol, _), mine in rows.groupby(["venue", "symbol", "snapshot_at"], sort=True):
        at = mine["snapshot_at"].iloc[0]
        try:
            kept.append(_snapshot(books, origin, str(venue), str(symbol), at, mine, now))
        except BookError as error:
            aside.append((at, venue, symbol, error.row_number, error.reason, f"{origin}: {error}", origin, digest))
    return BookFile(origin, suffix, content, digest, levels_of(kept), refused_rows(aside))


def same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Tell whether two snapshots have equal levels."""
    left, right = (x.sort_values(["side", "level"], ignore_index=True) for x in (one, other))
    values = ("side", "level", "price_usd", "quantity")
    return len(left) == len(right) and all(np.array_equal(left[name], right[name]) for name in values)


def _files_of(path: Path) -> list[Path]:
    if path.is_symlink():
        raise FeedError(f"order_books.path {path}: a symbolic link; name the file or folder itself")
    if path.is_dir():
        return sorted(p for p in path.iterdir() if p.name.endswith(market_feed.SUFFIXES) and not p.name.startswith("."))
    if not path.is_file():
        raise FeedError(f"order_books.path {path}: no such file or folder")
    if not path.name.endswith(market_feed.SUFFIXES):
        raise FeedError(f"order_books.path {path}: not .csv, .csv.gz or .parquet")
    return [path]


def _file(books: OrderBooks, path: Path, now: pd.Timestamp) -> BookFile:
    origin = path.name if path.name.isprintable() else repr(path.name)
    suffix = next(one for one in (".csv.gz", ".csv", ".parquet") if path.name.endswith(one))
    try:
        content = market_feed.content_of(path)
    except FeedError as error:
        told = str(error).replace(str(path), origin)
        refused = refused_rows([(pd.NaT, None, None, None, "unreadable_file", told, origin, None)])
        return BookFile(origin, suffix, b"", "", levels_of([]), refused)
    return parse(books, origin, suffix, content, now)


def _snapshot(
    books: OrderBooks, origin: str, venue: str, symbol: str, at: pd.Timestamp, rows: pd.DataFrame, now: pd.Timestamp
) -> pd.DataFrame:
    """Return the levels of one snapshot under our market's name."""
    first = int(rows["row_number"].iloc[0])
    whose = f"{venue} {symbol} {at:%Y-%m-%d %H:%M:%S}: row {first}"
    market = books.market_of(venue, symbol)
    if market is None:
        raise BookError(
            "unknown_symbol", f"{whose}: no market of ours; name it in order_books.venues or take it out", first
        )
    if at > now:
        raise BookError("future", f"{whose}: later than {now:%Y-%m-%d %H:%M:%S} UTC, when it was read", first)
    levels = rows.rename(columns={"price": "price_usd"}).drop(columns=["snapshot_at", "venue", "symbol"])
    levels = _in_base(whose, levels)
    # Raises for what is no book; what is stored are its rows.
    book_of(levels, venue=venue, symbol=symbol, at=at)
    numbers = {name: pd.to_numeric(levels[name]).astype("float64") for name in ("price_usd", "quantity")}
    level = pd.to_numeric(levels["level"]).astype("int64")
    return levels.assign(**numbers, level=level, snapshot_at=at, symbol=market, venue=venue)[LEVEL_COLUMNS]


def _in_base(whose: str, levels: pd.DataFrame) -> pd.DataFrame:
    """Turn contracts of a fixed value in USD into units of the base asset."""
    given = levels[CONTRACT]
    is_given = ~given.map(_is_absent).to_numpy(dtype=bool)
    if not is_given.any():
        return levels
    worth = pd.to_numeric(given, errors="coerce").to_numpy(np.float64)
    is_bad = ~(np.isfinite(worth) & (worth > 0)) | (worth != worth[0])
    if is_bad.any():
        at = int(is_bad.argmax())
        row = int(levels["row_number"].iloc[at])
        told = f"{whose.rpartition(': row ')[0]}: row {row}: contract_usd {given.iloc[at]!r}"
        raise BookError("contract_usd", f"{told} is not one positive number for the whole snapshot", row)
    price = pd.to_numeric(levels["price_usd"], errors="coerce").to_numpy(np.float64)
    quantity = pd.to_numeric(levels["quantity"], errors="coerce").to_numpy(np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        base = quantity * worth / price
    # What is no number or no price is told as it was written.
    is_fine = np.isfinite(base) & (base > 0) & (price > 0)
    return levels.assign(quantity=np.where(is_fine, base, levels["quantity"].astype("object")))


def _typed(origin: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return rows with time and names; numbers stay as written until their snapshot is looked at."""
    found = [str(name) for name in table.columns]
    missing = [name for name in COLUMNS if name not in found]
    if missing:
        raise FeedError(
            f"{origin}: column(s) {', '.join(missing)} missing; found {', '.join(found[:LISTED])}. A file of "
            f"order books has {', '.join(COLUMNS)}, and {CONTRACT} where quantities are contracts"
        )
    if not len(table):
        raise FeedError(f"{origin}: no rows")
    out = pd.DataFrame({"row_number": np.arange(1, len(table) + 1)})
    out["snapshot_at"] = _moments(origin, table["ts"])
    for name in NAMING:
        text = _plain(table[name]).where(table[name].notna(), "").map(str).str.strip()
        is_empty = (text == "").to_numpy()
        if is_empty.any():
            row = int(is_empty.argmax()) + 1
            raise FeedError(f"{origin}: row {row}: column {name} is empty; every row names its {name}")
        out[name] = text
    for name in ("level", "price", "quantity"):
        out[name] = _plain(table[name])
    out[CONTRACT] = _plain(table[CONTRACT]) if CONTRACT in table else None
    return out


def _plain(column: pd.Series) -> pd.Series:
    """Return a column's values as they are; true and false and days are no numbers, so they become texts."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return column.astype("object").map(str)
    return column if pd.api.types.is_numeric_dtype(column) else column.astype("object")


def _moments(origin: str, column: pd.Series) -> pd.Series:
    """Read times; one with an offset is brought to UTC, one without is taken as UTC."""
    if pd.api.types.is_datetime64_any_dtype(column):
        moments, text = pd.to_datetime(column, utc=True), column.map(str)
    else:
        text = _plain(column).where(column.notna(), "").map(str).str.strip()
        moments = pd.to_datetime(
            text.where(text.str.fullmatch(MOMENT), ""), errors="coerce", format="ISO8601", utc=True
        )
    is_bad = moments.isna().to_numpy()
    if is_bad.any():
        row = int(is_bad.argmax())
        raise FeedError(
            f"{origin}: row {row + 1}: ts {text.iloc[row][:40]!r} is no time; write it as 2024-08-08T23:54:14Z. "
            "Whose level this is cannot be told, so no snapshot of the file is used"
        )
    return moments.dt.tz_localize(None).astype("datetime64[us]")


def _is_absent(value: object) -> bool:
    return str(value).strip().lower() in market_feed.ABSENT or value is pd.NaT or value is pd.NA


def _table(origin: str, suffix: str, content: bytes) -> pd.DataFrame:
    return _parquet(origin, content) if suffix == ".parquet" else _csv(origin, suffix, content)


def _parquet(origin: str, content: bytes) -> pd.DataFrame:
    import pyarrow
    import pyarrow.parquet

    try:
        opened = pyarrow.parquet.ParquetFile(io.BytesIO(content))
        about, names = opened.metadata, opened.schema_arrow.names
        _refuse_columns(origin, names)
        stated = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
        is_small = max(stated, 8 * about.num_rows * about.num_columns) <= market_feed.SIZE_CAP
        wanted = [name for name in (*COLUMNS, CONTRACT) if name in names]
        if is_small:
            frame: pd.DataFrame = opened.read(columns=wanted).to_pandas(ignore_metadata=True)
            return frame
    except FeedError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        words = (str(error).splitlines() or ["?"])[0]
        raise FeedError(f"{origin}: not a readable Parquet file ({words}); write it again") from error
    raise FeedError(f"{origin}: unpacks to more than {market_feed.SIZE_CAP // 2**20} MiB; split it by day")


def _csv(origin: str, suffix: str, content: bytes) -> pd.DataFrame:
    if suffix == ".csv.gz":
        content = _unpacked(origin, content)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FeedError(f"{origin}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    if "\0" in text or not text.strip():
        raise FeedError(f"{origin}: {'holds NUL characters; this is no text file' if text.strip() else 'empty'}")
    _refuse_columns(origin, next(csv.reader([text.lstrip("\r\n").splitlines()[0]])))
    try:
        with warnings.catch_warnings():
            # Rows longer than the header would otherwise be cut with a warning.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, index_col=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, pd.errors.ParserWarning) as error:
        raise FeedError(
            f"{origin}: not a comma-separated file with a header ({str(error).strip()}); write it again"
        ) from error


def _unpacked(origin: str, content: bytes) -> bytes:
    cap = min(market_feed.SIZE_CAP, max(market_feed.RATIO_FREE, market_feed.RATIO_CAP * len(content)))
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            unpacked = stream.read(cap + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise FeedError(f"{origin}: damaged gzip ({error}); fetch it again") from error
    if len(unpacked) > cap:
        raise FeedError(f"{origin}: unpacks to more than {cap // 2**20} MiB; look at what it is, or split it by day")
    return unpacked


def _refuse_columns(origin: str, names: list[str]) -> None:
    if len(names) > market_feed.COLUMN_CAP:
        raise FeedError(f"{origin}: {len(names)} columns, more than {market_feed.COLUMN_CAP}")
    twice = [name for name in (*COLUMNS, CONTRACT) if names.count(name) > 1]
    if twice:
        raise FeedError(f"{origin}: column(s) {', '.join(twice)} stand twice; keep one")


def levels_of(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Return snapshots one after the other, with their columns where there is none."""
    if frames:
        return pd.concat(frames, ignore_index=True)
    kinds = {"snapshot_at": "datetime64[us]", "level": "int64", "price_usd": "float64", "quantity": "float64"}
    return pd.DataFrame({name: pd.Series(dtype=kinds.get(name, "object")) for name in LEVEL_COLUMNS})


def refused_rows(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """Return rows of ``REFUSED_COLUMNS``, typed."""
    frame = pd.DataFrame(rows, columns=REFUSED_COLUMNS, dtype="object")
    frame["snapshot_at"] = pd.to_datetime(frame["snapshot_at"]).astype("datetime64[us]")
    frame["row_number"] = frame["row_number"].astype("Int64")
    return frame
