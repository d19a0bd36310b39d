"""Market feed: candles as a source gives them, read but not yet judged.

What lives here: the data sets bundled with ``arch`` and tidy candle files; what cannot be read is an error that names the
file and what to do. What does not: screening (``plimsoll.candles``), storage.
"""

import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dagster_project.settings import Settings
from plimsoll.candles import canonical_symbol

COLUMNS = ("date", "symbol", "source", "open", "high", "low", "close", "volume", "volume_unit")
NUMBERS = ("open", "high", "low", "close", "volume")
SUFFIXES = (".csv", ".csv.gz", ".parquet")
SIZE_CAP = 512 * 1024 * 1024
LISTED = 12


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
        ``row_number, date, symbol, open, high, low, close, volume, volume_unit`` of the configured markets.
    """

    origin: str
    content: bytes
    suffix: str
    frame: pd.DataFrame


def read(settings: Settings) -> list[RawInput]:
    """Read the configured source.

    Raises
    ------
    FeedError
        Where the source or a market in it is missing or cannot be read.
    """
    if settings.source.kind == "bundled":
        return [_bundled(symbol, market.source_symbol or symbol.lower()) for symbol, market in settings.markets.items()]
    if settings.source.path is None:
        raise FeedError("source.path is not set: name a candle file or folder there, or pass --candles PATH")
    return _candle_files(settings, settings.source.path)


def _bundled(symbol: str, name: str) -> RawInput:
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
    return RawInput(name, content, ".csv", frame)


def _candle_files(settings: Settings, path: Path) -> list[RawInput]:
    wanted = {market.source_symbol or symbol: symbol for symbol, market in settings.markets.items()}
    inputs, sources, symbols = [], set(), set()
    for file in _files(path):
        content = file.read_bytes()
        whole = _parse(file, content)
        whole.insert(0, "row_number", range(1, len(whole) + 1))
        sources |= set(whole["source"])
        mine = whole[whole["source"] == settings.source.name].copy()
        mine["symbol"] = [_canonical(file, text) for text in mine["symbol"]]
        symbols |= set(mine["symbol"])
        kept = mine[mine["symbol"].isin(wanted)].copy()
        kept["symbol"] = kept["symbol"].map(wanted)
        if len(kept):
            inputs.append(RawInput(file.name, content, _suffix(file), kept.reset_index(drop=True)))
    if settings.source.name not in sources:
        raise FeedError(f"{path}: no rows of source {settings.source.name!r}; it holds {_some(sources)}. Set source.name")
    missing = sorted(set(wanted) - symbols)
    if missing:
        raise FeedError(
            f"{path}: unknown symbol(s) {', '.join(missing)} in source {settings.source.name!r}; it holds {_some(symbols)}. "
            "Take them out of [markets] or set source_symbol"
        )
    return inputs


def _some(values: set[str]) -> str:
    ordered = sorted(values)
    rest = f" and {len(ordered) - LISTED} more" if len(ordered) > LISTED else ""
    return ", ".join(ordered[:LISTED]) + rest if ordered else "nothing"


def _canonical(file: Path, text: str) -> str:
    try:
        return canonical_symbol(text)
    except ValueError as error:
        raise FeedError(f"{file}: column symbol: {error}") from error


def _suffix(file: Path) -> str:
    return next(s for s in (".csv.gz", ".csv", ".parquet") if file.name.endswith(s))


def _files(path: Path) -> list[Path]:
    if path.is_symlink():
        raise FeedError(f"{path}: a symbolic link; name the file or folder itself")
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.name.endswith(SUFFIXES) and not p.name.startswith("."))
        if not found:
            raise FeedError(f"{path}: no candle file in this folder; put .csv, .csv.gz or .parquet files there")
    elif path.is_file():
        found = [path]
        if not path.name.endswith(SUFFIXES):
            raise FeedError(f"{path}: not .csv, .csv.gz or .parquet")
    else:
        raise FeedError(f"{path}: no such file or folder")
    for file in found:
        if file.is_symlink() or not file.is_file():
            raise FeedError(f"{file}: a symbolic link or no regular file; put the file itself there")
        if file.stat().st_size > SIZE_CAP:
            raise FeedError(f"{file}: larger than {SIZE_CAP // 2**20} MiB; split it by year")
    return found


def _parse(file: Path, content: bytes) -> pd.DataFrame:
    frame = _parquet(file, content) if file.name.endswith(".parquet") else _csv(file, content)
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise FeedError(
            f"{file}: column(s) {', '.join(missing)} missing; found {', '.join(map(str, frame.columns[:LISTED]))}. "
            f"A tidy candle file has {', '.join(COLUMNS)}"
        )
    out = pd.DataFrame({name: frame[name] for name in COLUMNS})
    out["date"] = pd.to_datetime(out["date"], errors="coerce", format=None if out["date"].dtype.kind == "M" else "ISO8601")
    out["date"] = out["date"].astype("datetime64[us]").dt.normalize()
    for name in NUMBERS:
        out[name] = pd.to_numeric(out[name], errors="coerce").astype("float64")
    for name in ("symbol", "source", "volume_unit"):
        out[name] = out[name].astype(str)
    return out


def _parquet(file: Path, content: bytes) -> pd.DataFrame:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(io.BytesIO(content)).to_pandas()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise FeedError(f"{file}: not a readable Parquet file ({str(error).splitlines()[0]}); write it again") from error


def _csv(file: Path, content: bytes) -> pd.DataFrame:
    if file.name.endswith(".gz"):
        content = _unpacked(file, content)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FeedError(f"{file}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    for number, line in _marked(text):
        raise FeedError(f"{file}: line {number} is a merge-conflict marker ({line[:20]!r}); resolve the conflict first")
    if not text.strip():
        raise FeedError(f"{file}: empty; a tidy candle file has {', '.join(COLUMNS)}")
    try:
        return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise FeedError(f"{file}: not a comma-separated file with a header ({str(error).strip()}); write it again") from error


def _unpacked(file: Path, content: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            unpacked = stream.read(SIZE_CAP + 1)
    except (OSError, EOFError) as error:
        raise FeedError(f"{file}: damaged gzip ({error}); fetch it again") from error
    if len(unpacked) > SIZE_CAP:
        raise FeedError(f"{file}: unpacks to more than {SIZE_CAP // 2**20} MiB; split it by year")
    return unpacked


def _marked(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith(("<<<<<<<", ">>>>>>>", "=======")):
            yield number, line
