"""Files of the feed audit: candles of many sources, and labels.

What lives here: reading both, with errors that name file, row and column. What does not: the sources of the nightly
job (``market_feed``), measuring (``feeds_audit``).
"""

import gzip
import io
from pathlib import Path

import numpy as np
import pandas as pd

from plimsoll.candles import canonical_symbol

NEEDED = ("date", "symbol", "source", "open", "high", "low", "close")
NUMBERS = ("open", "high", "low", "close", "volume")
TRUTH_COLUMNS = ("symbol", "source", "freq", "start", "end", "kind", "detail")
SIZE_CAP = 512 * 1024 * 1024
YES, NO = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})
ABSENT = frozenset({"", "nan", "na", "n/a", "null", "none"})
LISTED = 12


class AuditError(ValueError):
    """A file cannot be audited; the message names the file, the row or the column, and what to do."""


def read_candles(path: Path) -> pd.DataFrame:
    """Read daily candles of all sources from CSV (also .gz) or Parquet.

    Returns
    -------
    DataFrame
        ``date, symbol, source, open, high, low, close, volume, volume_unit, note``. Volume and its unit are unknown
        where the file has no such columns. What cannot be read is NaT or NaN and said in ``note``; the screen refuses
        such rows.

    Raises
    ------
    AuditError
        Where the file, a column or every day in it cannot be read.
    """
    frame = _table(path)
    missing = [name for name in NEEDED if name not in frame]
    if missing:
        found = ", ".join(str(name) for name in list(frame.columns)[:LISTED])
        raise AuditError(f"{path}: column(s) {', '.join(missing)} missing; found {found}")
    if not len(frame):
        raise AuditError(f"{path}: no rows")
    notes = np.full(len(frame), "", dtype=object)
    out = pd.DataFrame({"date": _days(frame["date"], notes)})
    if out["date"].isna().all():
        raise AuditError(f"{path}: column date: no row holds a day; write days as 2018-12-31")
    for name in ("symbol", "source"):
        text = _text(frame[name]).str.strip()
        if (text == "").any():
            row = int((text == "").to_numpy().argmax()) + 1
            raise AuditError(f"{path}: row {row}: column {name} is empty; every row names its {name}")
        out[name] = text
    names = {}
    for text in out["symbol"].unique():
        try:
            names[text] = canonical_symbol(text)
        except ValueError as error:
            row = int((out["symbol"] == text).to_numpy().argmax()) + 1
            raise AuditError(f"{path}: row {row}: column symbol: {error}") from error
    out["symbol"] = out["symbol"].map(names)
    for name in NUMBERS:
        given = frame[name] if name in frame else pd.Series(np.nan, index=frame.index)
        out[name] = _numbers(given, name, notes)
    unit = _text(frame["volume_unit"]).str.strip() if "volume_unit" in frame else pd.Series("", index=frame.index)
    # An unknown unit says nothing, except that volumes of one series can be compared.
    fallback = "base" if "volume" in frame else "none"
    out["volume_unit"] = unit.where(unit != "", fallback).to_numpy()
    out["note"] = notes
    return out


def read_truth(path: Path) -> pd.DataFrame:
    """Read labels; see docs/feeds.md.

    Raises
    ------
    AuditError
        Where the file, a column, a day or a truth value cannot be read; names the row.
    """
    frame = _table(path)
    missing = [name for name in TRUTH_COLUMNS if name not in frame]
    if missing:
        raise AuditError(f"{path}: column(s) {', '.join(missing)} missing; labels have {', '.join(TRUTH_COLUMNS)}")
    out = pd.DataFrame({name: _text(frame[name]).str.strip() for name in TRUTH_COLUMNS})
    for name in ("start", "end"):
        text = out[name].where((name != "end") | (out[name] != ""), out["start"].astype(str))
        days = pd.to_datetime(text, errors="coerce", format="ISO8601", utc=True).dt.tz_localize(None)
        if days.isna().any():
            row = int(days.isna().to_numpy().argmax())
            raise AuditError(f"{path}: row {row + 1}: column {name}: {text.iloc[row]!r} is no day; write 2018-12-31")
        out[name] = days.astype("datetime64[us]")
    backwards = out["end"] < out["start"]
    if backwards.any():
        raise AuditError(f"{path}: row {int(backwards.to_numpy().argmax()) + 1}: end lies before start")
    for name in ("symbol", "source", "kind"):
        if (out[name] == "").any():
            row = int((out[name] == "").to_numpy().argmax()) + 1
            raise AuditError(f"{path}: row {row}: column {name} is empty")
    if "is_error" in frame:
        said = _text(frame["is_error"]).str.strip().str.lower()
        unknown = ~said.isin(YES | NO | ABSENT)
        if unknown.any():
            row = int(unknown.to_numpy().argmax())
            raise AuditError(f"{path}: row {row + 1}: column is_error: {said.iloc[row]!r}; write true or false")
        values = [True if one in YES else False if one in NO else None for one in said]
        out["is_error"] = pd.Series(values, index=out.index, dtype=object)
    return out


def _table(path: Path) -> pd.DataFrame:
    try:
        if not path.is_file():
            raise AuditError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}")
        if path.stat().st_size > SIZE_CAP:
            raise AuditError(f"{path}: larger than {SIZE_CAP // 2**20} MiB; split it by year")
        content = path.read_bytes()
    except OSError as error:
        raise AuditError(f"{path}: cannot be read: {error.strerror}") from error
    if path.name.endswith(".parquet"):
        import pyarrow

        try:
            return pd.read_parquet(io.BytesIO(content))
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise AuditError(f"{path}: not a readable Parquet file; write it again") from error
    if not path.name.endswith((".csv", ".csv.gz")):
        raise AuditError(f"{path}: not .csv, .csv.gz or .parquet")
    if path.name.endswith(".gz"):
        content = _unpacked(path, content)
    table: pd.DataFrame
    try:
        table = pd.read_csv(io.StringIO(content.decode("utf-8-sig")), dtype=str, keep_default_na=False, index_col=False)
    except ValueError as error:
        words = (str(error).strip().splitlines() or ["?"])[0]
        raise AuditError(f"{path}: not a comma-separated UTF-8 file with a header ({words}); write it again") from error
    return table


def _unpacked(path: Path, content: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            unpacked = stream.read(SIZE_CAP + 1)
    except (OSError, EOFError) as error:
        raise AuditError(f"{path}: damaged gzip ({error}); fetch it again") from error
    if len(unpacked) > SIZE_CAP:
        raise AuditError(f"{path}: unpacks to more than {SIZE_CAP // 2**20} MiB; split it by year")
    return unpacked


def _text(column: pd.Series) -> pd.Series:
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    return column.astype("object").where(column.notna(), "").map(str)


def _days(column: pd.Series, notes: np.ndarray) -> pd.Series:
    if pd.api.types.is_datetime64_any_dtype(column):
        days = pd.to_datetime(column, utc=True)
    else:
        text = _text(column).str.strip()
        days = pd.to_datetime(text, errors="coerce", format="ISO8601", utc=True)
        for at in np.flatnonzero(days.isna().to_numpy()):
            notes[at] = f"date {text.iloc[at][:40]!r} is no day"
    return days.dt.tz_localize(None).astype("datetime64[us]")


def _numbers(column: pd.Series, name: str, notes: np.ndarray) -> pd.Series:
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return column.astype("float64")
    text = _text(column).str.strip()
    values = pd.to_numeric(text.where(~text.str.lower().isin(ABSENT), "nan"), errors="coerce").astype("float64")
    unread = values.isna() & ~text.str.lower().isin(ABSENT)
    for at in np.flatnonzero(unread.to_numpy()):
        words = f"{name} {text.iloc[at][:40]!r} is no number"
        notes[at] = f"{notes[at]}; {words}" if notes[at] else words
    return values
