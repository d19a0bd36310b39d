"""Files of parameters in force: reading them, with every fault named by file, row and key.

What lives here: rows of a CSV or Parquet file, whole sets of a configuration's markets made of them, their age, and
reserves of a lending venue turned into such rows. What does not: values stated in the configuration (``settings``),
what a venue allows (``venue_files``), what is published (``plimsoll.publication``).
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from plimsoll.venues import VenueProfile, translated

COLUMNS = ("venue", "symbol", "product", "side", "parameter", "value_bps", "read_on")
OPTIONAL = ("changed_on",)
SIDES = {"long": ("long",), "short": ("short",), "both": ("long", "short")}
PRODUCTS = ("lending", "perpetual")
WHOLE = re.compile(r"^(0|[1-9][0-9]{0,14})$")
DAY = re.compile(r"^\d{4}-\d{2}-\d{2}$")
SIZE_CAP = 16 * 1024 * 1024
MAX_AGE_DAYS = 30
"""Age beyond which a value in force is reported as stale."""
FINDINGS = ("symbol", "product", "side", "parameter", "finding", "detail")
RESERVE_COLUMNS = ("symbol", "ltv", "liquidationThreshold", "liquidationBonus")

Key = tuple[str, str, str]
"""Market, product, side."""


class InForceError(ValueError):
    """Parameters in force cannot be used; the message names the file, the row and the key."""


class InForceTable(BaseModel):
    """The table ``[in_force]`` of a configuration: where the file lies and how old a value may be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path | None = None
    """None: every set in force is stated in the configuration."""
    max_age_days: Annotated[int, Field(ge=1, le=3650)] = MAX_AGE_DAYS


@dataclass(frozen=True)
class InForceRow:
    """One row of a file, its texts understood; ``value`` is in the parameter's own unit."""

    number: int
    venue: str
    symbol: str
    product: str
    side: str
    parameter: str
    value: int
    read_on: date
    changed_on: date | None


@dataclass(frozen=True)
class InForceSet:
    """A whole set in force.

    Attributes
    ----------
    venue, symbol, product, side
        Whose it is.
    values
        By key: basis points, whole times for leverage, whole tokens for caps.
    read_on
        Day on which each value was read.
    changed_on
        Day of each value's last change. A file that does not say gives the day on which the value was read, for no
        change is younger than that.
    """

    venue: str
    symbol: str
    product: str
    side: str
    values: Mapping[str, int]
    read_on: Mapping[str, date]
    changed_on: Mapping[str, date] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """Market, product, side."""
        return self.symbol, self.product, self.side


def read(path: Path) -> tuple[InForceRow, ...]:
    """Read rows from CSV or Parquet.

    Parameters
    ----------
    path
        File with `COLUMNS`, perhaps also `OPTIONAL`, and no others.

    Returns
    -------
    tuple of InForceRow
        In the order of the file.

    Raises
    ------
    InForceError
        Names the file, and the row and the column at fault.
    """
    header, rows = _table(path)
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise InForceError(f"{path}: column(s) {', '.join(doubled)} stand twice")
    missing = [name for name in COLUMNS if name not in header]
    strange = sorted(set(header) - set(COLUMNS) - set(OPTIONAL))
    if missing or strange:
        told = [f"column(s) {', '.join(missing)} missing"] if missing else []
        told += [f"unknown column(s) {', '.join(strange)}"] if strange else []
        raise InForceError(f"{path}: {' and '.join(told)}; it needs {', '.join(COLUMNS)}, perhaps changed_on")
    if not rows:
        raise InForceError(f"{path}: no rows")
    return tuple(_row(path, number, dict(zip(header, cells, strict=True))) for number, cells in rows)


def _table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    try:
        if not path.is_file():
            raise InForceError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}")
        if path.stat().st_size > SIZE_CAP:
            raise InForceError(f"{path}: larger than {SIZE_CAP // 2**20} MiB; these are no parameters in force")
        content = path.read_bytes()
    except OSError as error:
        raise InForceError(f"{path}: cannot be read: {error.strerror}") from error
    if path.name.endswith(".parquet"):
        return _parquet(path, content)
    if not path.name.endswith(".csv"):
        raise InForceError(f"{path}: not .csv or .parquet")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InForceError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from error
    rows, header = [], None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if header is None:
                header = stripped
            elif stripped and stripped != [""]:
                if len(cells) != len(header):
                    told = f"{len(cells)} cells where the header has {len(header)}"
                    raise InForceError(f"{path}: row {reader.line_num - 1}: {told}")
                rows.append((reader.line_num - 1, stripped))
    except csv.Error as error:
        raise InForceError(f"{path}: line {reader.line_num}: not comma-separated text ({error})") from error
    if header is None:
        raise InForceError(f"{path}: empty; it needs a header {', '.join(COLUMNS)}")
    return header, rows


def _parquet(path: Path, content: bytes) -> tuple[list[str], list[tuple[int, list[str]]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(io.BytesIO(content))
        columns = [column.to_pylist() for column in table.columns]
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InForceError(f"{path}: not a readable Parquet file; write it again") from error
    cells = list(zip(*columns, strict=True))
    return list(table.column_names), [(at + 1, [_plain(cell) for cell in row]) for at, row in enumerate(cells)]


def _plain(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    text = str(cell).strip()
    return text.removesuffix(" 00:00:00") if hasattr(cell, "year") else text


def _row(path: Path, number: int, cells: dict[str, str]) -> InForceRow:
    where = f"{path}: row {number}"
    for name in COLUMNS:
        if not cells[name]:
            raise InForceError(f"{where}: column {name} is empty")
    if cells["product"] not in PRODUCTS:
        raise InForceError(f"{where}: column product: {cells['product'][:40]!r} is neither lending nor perpetual")
    if cells["side"] not in SIDES:
        raise InForceError(f"{where}: column side: {cells['side'][:40]!r} is none of {', '.join(SIDES)}")
    if not WHOLE.match(cells["value_bps"]):
        told = f"{cells['value_bps'][:40]!r} is no whole number; write 8300 for 83 %, and leverage as whole times"
        raise InForceError(f"{where}: column value_bps: {told}")
    changed = cells.get("changed_on", "")
    read_on = _day(where, "read_on", cells["read_on"])
    changed_on = _day(where, "changed_on", changed) if changed else None
    if changed_on is not None and changed_on > read_on:
        raise InForceError(f"{where}: changed_on {changed_on} lies after read_on {read_on}")
    return InForceRow(
        number=number,
        venue=cells["venue"],
        symbol=cells["symbol"],
        product=cells["product"],
        side=cells["side"],
        parameter=cells["parameter"],
        value=int(cells["value_bps"]),
        read_on=read_on,
        changed_on=changed_on,
    )


def _day(where: str, column: str, text: str) -> date:
    try:
        if DAY.match(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise InForceError(f"{where}: column {column}: {text[:40]!r} is no day; write 2018-12-31")


def sets_of(
    path: Path, rows: Iterable[InForceRow], profiles: Mapping[tuple[str, str], VenueProfile]
) -> dict[Key, InForceSet]:
    """Make whole sets of rows.

    Parameters
    ----------
    path
        Where the rows come from, for messages.
    rows
        As from `read`.
    profiles
        Profile by market and product, for every use of the configuration.

    Returns
    -------
    dict
        By market, product and side.

    Raises
    ------
    InForceError
        Where a row names an unknown market, product, venue or parameter, two rows give one key two values, or a set
        lacks a parameter.
    """
    found: dict[Key, dict[str, InForceRow]] = {}
    for row in rows:
        where = f"{path}: row {row.number}"
        profile = profiles.get((row.symbol, row.product))
        if profile is None:
            known = sorted({symbol for symbol, product in profiles if product == row.product})
            told = f"{row.symbol[:40]!r} is no {row.product} market of this configuration"
            raise InForceError(f"{where}: {told}, which has {', '.join(known) or 'none'}")
        if row.venue != profile.id:
            told = f"{row.symbol} {row.product} is configured for venue {profile.id!r}, not {row.venue[:40]!r}"
            raise InForceError(f"{where}: {told}")
        key = _key_of(where, profile, row.parameter)
        for side in SIDES[row.side]:
            mine = found.setdefault((row.symbol, row.product, side), {})
            other = mine.get(key)
            if other is not None and other.value != row.value:
                told = f"{row.symbol} {row.product} {side} {key} is {row.value} here and {other.value} in row"
                raise InForceError(f"{where}: {told} {other.number}; one value is in force")
            if other is None or (row.read_on, row.changed_on or date.min) > (
                other.read_on,
                other.changed_on or date.min,
            ):
                mine[key] = row
    sets = {}
    for (symbol, product, side), mine in sorted(found.items()):
        profile = profiles[symbol, product]
        lacking = [one.name for one in profile.parameters if not one.is_optional and one.key not in mine]
        if lacking:
            told = f"{symbol} {product} {side} lacks {', '.join(lacking)}; a set is judged whole or not at all"
            raise InForceError(f"{path}: {told}")
        sets[symbol, product, side] = InForceSet(
            venue=profile.id,
            symbol=symbol,
            product=product,
            side=side,
            values={key: row.value for key, row in sorted(mine.items())},
            read_on={key: row.read_on for key, row in sorted(mine.items())},
            changed_on={key: row.changed_on or row.read_on for key, row in sorted(mine.items())},
        )
    return sets


def _key_of(where: str, profile: VenueProfile, name: str) -> str:
    if name in profile.derived:
        return name
    try:
        return profile.parameter(name).key
    except ValueError as error:
        raise InForceError(f"{where}: column parameter: {error}") from error


def inline_set(
    profile: VenueProfile, *, symbol: str, side: str, values: Mapping[str, int], read_on: date
) -> InForceSet:
    """Make a set of what the configuration states in this project's terms.

    Parameters
    ----------
    profile
        Venue and product.
    symbol, side
        Whose it is.
    values
        ``lt, ltv, bonus`` or ``mm, im``, basis points; said in the venue's parameters, not rounded.
    read_on
        Day on which the values were read; no change is younger.
    """
    found = translated(profile, values)
    days = dict.fromkeys(found, read_on)
    return InForceSet(profile.id, symbol, profile.product, side, found, days, dict(days))


def combined(
    path: Path, from_file: Mapping[Key, InForceSet], inline: Mapping[Key, InForceSet]
) -> dict[Key, InForceSet]:
    """Put the sets of a file beside those that the configuration states.

    Raises
    ------
    InForceError
        Where both state the same market, product and side.
    """
    both = sorted(set(from_file) & set(inline))
    if both:
        told = ", ".join(" ".join(key) for key in both)
        raise InForceError(f"{path}: {told}: stated in the file and in the configuration; remove one of them")
    return dict(sorted({**from_file, **inline}.items()))


def findings(
    sets: Iterable[InForceSet],
    profiles: Mapping[tuple[str, str], VenueProfile],
    *,
    as_of: date,
    max_age_days: int = MAX_AGE_DAYS,
) -> pd.DataFrame:
    """Return what is doubtful about sets in force: rows of a check that warns.

    Parameters
    ----------
    sets
        Sets of a configuration.
    profiles
        As in `sets_of`.
    as_of
        Day that is reported.
    max_age_days
        Largest age that is no finding.

    Returns
    -------
    DataFrame
        ``symbol, product, side, parameter, finding, detail``; a finding is ``stale``, ``future`` (read after the day)
        or ``rule`` (the set breaks a rule of its venue, so that nothing can be published from it).
    """
    rows: list[tuple[str, ...]] = []
    for one in sets:
        profile = profiles[one.symbol, one.product]
        for key, read_on in one.read_on.items():
            age = (as_of - read_on).days
            if age < 0:
                rows.append((*one.key, key, "future", f"read on {read_on}, after {as_of}; read it as it was then"))
            elif age > max_age_days:
                told = f"read on {read_on}, {age} days before {as_of}; at most {max_age_days}: read it again"
                rows.append((*one.key, key, "stale", told))
        rows += [(*one.key, "", "rule", fault) for fault in profile.violations(one.values, one.values)]
    return pd.DataFrame(rows, columns=list(FINDINGS)).astype(str)


def rows_of_reserves(
    path: Path,
    symbols: Mapping[str, str],
    *,
    profile: VenueProfile,
    read_on: date,
    only: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Turn a lending venue's list of reserves into rows of a file of parameters in force.

    Parameters
    ----------
    path
        CSV with at least ``symbol, ltv, liquidationThreshold, liquidationBonus``: fractions such as 0.805, 0.83 and
        1.05, the bonus counted from 1.
    symbols
        From the venue's symbol to the market of the configuration.
    profile
        Venue; it has a threshold, an LTV and a bonus.
    read_on
        Day on which the list was read.
    only
        Value by column that a row must have, e.g. ``{"chain": "ethereum"}``.

    Returns
    -------
    DataFrame
        `COLUMNS`, side ``long``: a reserve's parameters protect loans against it.

    Raises
    ------
    InForceError
        Where a symbol is missing, stands in several rows, is no collateral, or a fraction is no whole basis point.
    """
    header, rows = _table(path)
    wanted = {**dict.fromkeys(RESERVE_COLUMNS, ""), **(only or {})}
    missing = [name for name in wanted if name not in header]
    if missing:
        raise InForceError(f"{path}: column(s) {', '.join(missing)} missing; it needs {', '.join(wanted)}")
    tables = [(number, dict(zip(header, cells, strict=True))) for number, cells in rows]
    out = []
    for theirs, ours in symbols.items():
        mine = [
            (number, cells)
            for number, cells in tables
            if cells["symbol"] == theirs and all(cells[name] == value for name, value in (only or {}).items())
        ]
        if len(mine) != 1:
            told = f"symbol {theirs} stands in {len(mine)} rows" + (
                f" ({', '.join(str(number) for number, _ in mine[:5])})" if mine else ""
            )
            raise InForceError(f"{path}: {told}; exactly one must remain, narrow it by a column such as chain")
        number, cells = mine[0]
        where = f"{path}: row {number}: {theirs}"
        values = {
            "lt": _bps(where, "liquidationThreshold", cells),
            "ltv": _bps(where, "ltv", cells),
            "bonus": _bps(where, "liquidationBonus", cells) - 10_000,
        }
        if values["lt"] == 0 or values["bonus"] < 0:
            raise InForceError(f"{where}: no collateral there (threshold {values['lt']}, bonus {values['bonus']} bps)")
        out += [(profile.id, ours, "lending", "long", key, value, read_on) for key, value in values.items()]
    return pd.DataFrame(out, columns=list(COLUMNS))


def _bps(where: str, column: str, cells: Mapping[str, str]) -> int:
    try:
        scaled = Decimal(cells[column]) * 10_000
        whole = int(scaled) if scaled.is_finite() else None
    except (InvalidOperation, ValueError):
        whole = None
    if whole is None or scaled != whole or not 0 <= whole <= 100_000:
        raise InForceError(f"{where}: column {column}: {cells[column][:40]!r} is no fraction in whole basis points")
    return whole
