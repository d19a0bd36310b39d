"""Tables for spreadsheets: CSV in which no text can become a formula.

What lives here: writing rows as CSV. What does not: which rows (``view``).
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def cell(value: object) -> object:
    """Return a cell; text that a spreadsheet would run gets an apostrophe before it, numbers stay numbers."""
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith(FORMULA):
        return "'" + value
    return value


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Return rows as CSV (RFC 4180), one line a row, in the order of ``columns``.

    Parameters
    ----------
    columns
        Names, also the header.
    rows
        Values by column; None is an empty cell.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([cell(row[name]) for name in columns])
    return out.getvalue()
