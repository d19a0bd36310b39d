"""Words: numbers and days as people read them, and text from data made safe to show.

What lives here: one formatting rule a kind of number. What does not: which number is shown where (``view``).
"""

import math
import unicodedata
from collections.abc import Sequence
from datetime import date
from typing import Any

import pandas as pd

MISSING = "–"
ALLOWED = frozenset("–—−→▲▼●■✓✗·×°±≤≥≈…§Λλσδηξβτφ√₀")
LONGEST = 400


def is_missing(value: object) -> bool:
    """Whether a value is absent: None, NaN, NaT, NA or not finite."""
    if value is None:
        return True
    try:
        return not math.isfinite(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return not isinstance(value, str)


def percent(value: float | None, digits: int = 2) -> str:
    """Return a fraction as a percentage."""
    return MISSING if is_missing(value) else f"{100 * float(value):.{digits}f} %".replace("-", "−")  # type: ignore[arg-type]


def bps(value: int | None) -> str:
    """Return basis points as a percentage: 8300 as 83.0 %, 215 as 2.15 %."""
    if is_missing(value):
        return MISSING
    points = int(value)  # type: ignore[arg-type]
    return f"{points / 100:.1f} %" if points % 10 == 0 else f"{points / 100:.2f} %"


def change(before: int | None, after: int | None) -> str:
    """Return the move between two values in basis points, with arrow and sign."""
    if is_missing(before) or is_missing(after):
        return MISSING
    move = int(after) - int(before)  # type: ignore[arg-type]
    if move == 0:
        return "0"
    sign, arrow = ("−", "▼") if move < 0 else ("+", "▲")
    points = abs(move) / 100
    return f"{arrow} {sign}{points:.1f}" if abs(move) % 10 == 0 else f"{arrow} {sign}{points:.2f}"


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with fixed digits and thousands set apart."""
    return MISSING if is_missing(value) else f"{float(value):,.{digits}f}".replace(",", " ").replace("-", "−")  # type: ignore[arg-type]


def count(value: int | None) -> str:
    """Return a whole number with thousands set apart."""
    return MISSING if is_missing(value) else f"{int(value):,}".replace(",", " ")  # type: ignore[arg-type]


def power_of_ten(log_value: float) -> str:
    """Print a number given by its natural log: plain below a thousand, else the nearest power of ten."""
    exponent = log_value / math.log(10)
    return f"{math.exp(log_value):.3g}" if exponent < 3 else f"10^{exponent:.0f}"


def probability(value: float | None) -> str:
    """Return a p-value; small ones as a bound."""
    if is_missing(value):
        return MISSING
    return "< 0.001" if float(value) < 0.001 else f"{float(value):.3f}"  # type: ignore[arg-type]


def money(value: float | None) -> str:
    """Return US dollars in thousands, millions or billions."""
    if is_missing(value):
        return MISSING
    amount = float(value)  # type: ignore[arg-type]
    for size, unit in ((1e9, "bn"), (1e6, "m"), (1e3, "k")):
        if amount >= size:
            return f"${amount / size:.3g} {unit}"
    return f"${amount:.0f}"


def day(value: object) -> str:
    """Return a day as 2018-12-31."""
    if value is None or value != value:
        return MISSING
    return value.strftime("%Y-%m-%d") if hasattr(value, "strftime") else str(value)


def day_of(value: object) -> date:
    """Return the day of a timestamp."""
    return value.date() if hasattr(value, "date") else value  # type: ignore[return-value]


def plain(text: object) -> str:
    """Return text from data without control, format or unknown characters, and of bounded length.

    The fonts of the report know Latin, Greek and a few signs; anything else would be a box, so it becomes a middle dot.
    """
    kept = []
    for char in unicodedata.normalize("NFKC", str(text))[:LONGEST]:
        category = unicodedata.category(char)
        if category in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
            kept.append(" ")
        elif ord(char) < 0x250 or 0x370 <= ord(char) < 0x400 or char in ALLOWED:
            kept.append(char)
        else:
            kept.append("·")
    return " ".join("".join(kept).split())


def listing(items: list[str]) -> str:
    """Join words: a, b and c."""
    if len(items) <= 1:
        return "".join(items)
    return ", ".join(items[:-1]) + " and " + items[-1]


def apportioned(values: Sequence[float], unit: float) -> list[int]:
    """Round values to whole units so that they still sum to their rounded sum: largest remainder.

    Parameters
    ----------
    values
        Finite.
    unit
        What is counted, e.g. 1e-4.
    """
    scaled = [value / unit for value in values]
    out = [math.floor(value) for value in scaled]
    missing = round(math.fsum(scaled)) - sum(out)
    for at in sorted(range(len(out)), key=lambda at: (out[at] - scaled[at], at))[:missing]:
        out[at] += 1
    return out


def records(frame: pd.DataFrame) -> list[Any]:
    """Return a frame's rows as named tuples; their types are those of the table's contract, which no checker knows."""
    return list(frame.itertuples(index=False))
