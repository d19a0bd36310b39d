"""Column files: Parquet candle files of any size as columns, without a row of Python objects.

What lives here: whether a file can be read so, reading it, the columns that triage looks at and those that the store
takes, and single rows as the slow way reads them. What does not: the slow way (``market_feed``), what is stored.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from dagster_project import market_feed
from plimsoll.candles import VOLUME_UNITS
from plimsoll.triage import Columns

TEXTS = ("symbol", "source", "volume_unit")


def row_count(name: str, source: Path | BinaryIO) -> int | None:
    """Return the number of rows of a file that can be read as columns, or None where it takes the slow way.

    It can where it is Parquet with exactly the columns of a tidy file, days without a zone, texts and floating numbers.
    """
    import pyarrow
    import pyarrow.parquet
    from pyarrow import types

    if not name.endswith(".parquet") or (isinstance(source, Path) and source.is_symlink()):
        return None
    try:
        opened = pyarrow.parquet.ParquetFile(source)
        schema, count = opened.schema_arrow, int(opened.metadata.num_rows)
    except (pyarrow.ArrowException, OSError, ValueError):
        return None
    if sorted(schema.names) != sorted(market_feed.COLUMNS):
        return None

    def is_text(kind: Any) -> bool:
        inner = kind.value_type if types.is_dictionary(kind) else kind
        return bool(types.is_string(inner) or types.is_large_string(inner))

    day = schema.field("date").type
    fits = types.is_date32(day) or (types.is_timestamp(day) and day.tz is None)
    fits = fits and all(is_text(schema.field(name).type) for name in TEXTS)
    fits = fits and all(types.is_floating(schema.field(name).type) for name in market_feed.NUMBERS)
    return count if fits else None


@dataclass(frozen=True)
class ColumnFile:
    """One file, read.

    Attributes
    ----------
    file
        Where it lies, for messages.
    table
        Its rows; texts as dictionaries.
    sources
        Every source that it names.
    theirs
        Every symbol of our source in it, as written.
    is_ours
        Rows of our source.
    """

    file: Path
    table: Any
    sources: set[str]
    theirs: list[str]
    is_ours: np.ndarray[Any, np.dtype[np.bool_]]

    def series_of(self, numbers: dict[str, int]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the number of each row's series, -1 for rows of other sources and markets."""
        column = self.table["symbol"].combine_chunks()
        of_code = np.array([numbers.get(text, -1) for text in column.dictionary.to_pylist()] or [-1], dtype=np.int64)
        return np.where(self.is_ours, of_code[column.indices.to_numpy()], -1)

    def days(self) -> np.ndarray[Any, np.dtype[np.datetime64]]:
        """Return the beginning of each row's bar, UTC."""
        return np.asarray(self.table["date"].to_numpy(), dtype="datetime64[us]")

    def columns(self, series: np.ndarray[Any, Any], at: np.ndarray[Any, Any]) -> Columns:
        """Return the columns that triage looks at, of some rows."""
        unit = self.table["volume_unit"].combine_chunks()
        known = np.array([text in VOLUME_UNITS for text in unit.dictionary.to_pylist()] or [False])
        is_known = known[unit.indices.fill_null(0).to_numpy()] & ~unit.is_null().to_numpy(zero_copy_only=False)
        numbers = {name: self.numbers(name)[at] for name in market_feed.NUMBERS}
        return Columns(series=series[at], day=self.days()[at], is_unit_known=is_known[at], **numbers)

    def numbers(self, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return a column of numbers; what is absent is NaN."""
        return np.asarray(self.table[name].to_numpy(), dtype=np.float64)

    def incoming(self, ids: dict[str, str], at: np.ndarray[Any, Any], **same: str) -> Any:
        """Return some rows as the store's load takes them, under our market ids; ``same`` is said of each of them."""
        import pyarrow

        kept = self.table if at.all() else self.table.filter(pyarrow.array(at))
        symbol = kept["symbol"].combine_chunks()
        ours = pyarrow.array([ids.get(text, "") for text in symbol.dictionary.to_pylist()], pyarrow.string())
        named = pyarrow.DictionaryArray.from_arrays(symbol.indices, ours)
        # A zone or an hour would have sent the series the slow way.
        day = kept["date"].cast(pyarrow.timestamp("us")).cast(pyarrow.date32())
        zeros = pyarrow.array(np.zeros(kept.num_rows, dtype=np.int8))
        columns = {name: pyarrow.DictionaryArray.from_arrays(zeros, [text]) for name, text in same.items()}
        columns |= {"date": day, "symbol": named, "volume_unit": kept["volume_unit"].combine_chunks()}
        columns |= {name: kept[name].cast(pyarrow.float64()) for name in market_feed.NUMBERS}
        made = pyarrow.table(columns)
        # As a stream: the store holds on to what it was given until the transaction ends, and of a stream nothing is
        # left when it has been read.
        return pyarrow.RecordBatchReader.from_batches(made.schema, iter(made.to_batches(max_chunksize=1 << 16)))

    def rows(self, ids: dict[str, str], at: np.ndarray[Any, Any]) -> pd.DataFrame:
        """Return some rows as the slow way reads them, with their numbers in the file."""
        import pyarrow

        where = np.flatnonzero(at)
        frame = self.table.take(pyarrow.array(where)).to_pandas(ignore_metadata=True)
        for name in TEXTS:
            frame[name] = frame[name].astype("object")
        made = market_feed.typed(self.file, frame).drop(columns="source")
        made.insert(0, "row_number", where + 1)
        return made.assign(symbol=made["symbol"].map(ids))


def read(file: Path, content: bytes, source: str) -> ColumnFile | None:
    """Read a file, or None where a row names no market or source, which the slow way tells.

    Raises
    ------
    FeedError
        Where it cannot be read or unpacks to too much; names it.
    """
    import pyarrow
    import pyarrow.compute as compute

    table, _ = market_feed.table_of(file, content)
    for name in TEXTS:
        column = table[name]
        if not pyarrow.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        column = column.unify_dictionaries().combine_chunks() if column.num_chunks else column
        column = column.chunk(0) if isinstance(column, pyarrow.ChunkedArray) and column.num_chunks == 1 else column
        table = table.set_column(table.schema.get_field_index(name), name, column)
    names = {name: table[name].combine_chunks() for name in ("symbol", "source")}
    for column in names.values():
        if column.null_count or any(not (text or "").strip() for text in column.dictionary.to_pylist()):
            return None
    sources = names["source"].dictionary.to_pylist()
    is_source = np.array([text == source for text in sources] or [False])
    is_ours = is_source[names["source"].indices.to_numpy()]
    present = compute.unique(names["symbol"].indices.filter(pyarrow.array(is_ours))).to_pylist()
    spelled = names["symbol"].dictionary.to_pylist()
    used = set(compute.unique(names["source"].indices).to_pylist())
    return ColumnFile(
        file, table, {text for n, text in enumerate(sources) if n in used}, [spelled[n] for n in present], is_ours
    )
