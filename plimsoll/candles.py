"""Candles: which input rows are bars, and why the others are not.

What lives here: canonical market ids and the screen that accepts rows or quarantines them with a reason;
nothing is repaired and nothing vanishes. What does not: reading files, agreement between venues.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

SYMBOL = re.compile(r"^[A-Z0-9][A-Z0-9._-]{0,19}$")
FIELDS = ("open", "high", "low", "close")
VOLUME_UNITS = ("base", "quote_usd", "none")
EARLIEST = pd.Timestamp("1970-01-02")
SMALLEST, LARGEST = 1e-12, 1e15
DAY, HOUR = pd.Timedelta(days=1), pd.Timedelta(hours=1)

SPIKE_SCALE = 12.0
SPIKE_CLOSE = 0.5
SPIKE_WICK = 1.5
REVERSAL = 0.25
NEIGHBOURS = 120
MAD_TO_SIGMA = 1.4826

Words = str | Callable[[pd.DataFrame], Sequence[str]]


@dataclass(frozen=True)
class Screened:
    """Rows that became bars, and rows set aside.

    Attributes
    ----------
    accepted
        Input columns, in date order.
    quarantined
        Input columns with ``reason`` and ``detail``.
    """

    accepted: pd.DataFrame
    quarantined: pd.DataFrame


class _Verdicts:
    """The first reason that refuses each row, with the offending values in words."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self.rows = rows
        self.reason: NDArray[np.object_] = np.full(len(rows), "", dtype=object)
        self.detail: NDArray[np.object_] = np.full(len(rows), "", dtype=object)

    @property
    def is_fine(self) -> NDArray[np.bool_]:
        return np.asarray(self.reason == "", dtype=np.bool_)

    def refuse(self, at: NDArray[np.bool_], reason: str, words: Words) -> None:
        fresh = np.flatnonzero(at & self.is_fine)
        if len(fresh):
            self.reason[fresh] = reason
            self.detail[fresh] = words if isinstance(words, str) else list(words(self.rows.iloc[fresh]))


def canonical_symbol(text: str) -> str:
    """Return the canonical market id: NFKC, trimmed, upper case.

    Parameters
    ----------
    text
        Market id as written by a source.

    Returns
    -------
    str
        One to twenty of A-Z, 0-9, dot, underscore and hyphen; the first a letter or digit.

    Raises
    ------
    ValueError
        Where the result is anything else: control characters and look-alike letters of other scripts fail
        here.
    """
    symbol = unicodedata.normalize("NFKC", text).strip().upper()
    if not SYMBOL.fullmatch(symbol):
        raise ValueError(f"{text!r} is no market id (A-Z, 0-9, '.', '_', '-', at most 20 characters)")
    return symbol


def screen(frame: pd.DataFrame, *, is_close_only: bool, latest: pd.Timestamp, step: pd.Timedelta = DAY) -> Screened:
    """Accept or quarantine the rows of one market and source.

    Parameters
    ----------
    frame
        ``row_number, date, open, high, low, close, volume, volume_unit``; ``date`` NaT where unreadable,
        numbers NaN where unreadable or absent. Optional ``note``: what could not be read, in words, else
        empty.
    is_close_only
        The source gives closes only: open, high and low are not asked for.
    latest
        Last day, or beginning of the last hour, that can be final; a later bar lies in the future.
    step
        Length of a bar, `DAY` or `HOUR`; ``date`` is then the UTC day or the beginning of the hour.

    Returns
    -------
    Screened
        Each input row stands in exactly one of the two frames.

    Notes
    -----
    A single-bar spike is one that reverts: a close beyond twelve robust sigmas of its neighbours
    and 50 % that the next bar takes back to a quarter, or a wick beyond twelve times the usual wick and a
    factor of e^1.5 beyond both open and close. Falls that closes confirm are kept, however large: real
    crashes must move thresholds. Scales are medians over the last 120 bars (times 1.4826 for returns), so a
    bar is judged by what came before it and by the one next bar; the newest bar's close is judged when the
    next one has come.
    """
    rows = frame.reset_index(drop=True)
    if "note" not in rows:
        rows["note"] = ""
    verdicts = _Verdicts(rows)
    _refuse_unreadable(verdicts, is_close_only=is_close_only, latest=latest, step=step)
    _refuse_impossible(verdicts, ["close"] if is_close_only else list(FIELDS))
    _refuse_repeated(verdicts, step)
    _refuse_spikes(verdicts, is_close_only=is_close_only)
    kept = verdicts.is_fine
    given = list(frame.columns)
    accepted = rows.loc[kept, given].sort_values("date", kind="stable", ignore_index=True)
    quarantined = rows.loc[~kept, given].assign(reason=verdicts.reason[~kept], detail=verdicts.detail[~kept])
    return Screened(accepted, quarantined.reset_index(drop=True))


def _shown(rows: pd.DataFrame, fields: Sequence[str]) -> list[str]:
    """Put values into words, e.g. "open 1.2 close nan"."""
    values = rows[list(fields)].to_numpy(np.float64)
    return [" ".join(f"{f} {v:g}" for f, v in zip(fields, row, strict=True)) for row in values]


def _refuse_unreadable(verdicts: _Verdicts, *, is_close_only: bool, latest: pd.Timestamp, step: pd.Timedelta) -> None:
    rows = verdicts.rows
    day = rows["date"]
    has_note = (rows["note"] != "").to_numpy()
    verdicts.refuse(day.isna().to_numpy(), "unreadable_date", lambda at: [n or "no day" for n in at["note"]])
    verdicts.refuse(
        ((day < EARLIEST) | (day > latest)).to_numpy(),
        "out_of_range_date",
        lambda at: [f"{d:%Y-%m-%d} lies before 1970-01-02 or in the future" for d in at["date"]],
    )
    verdicts.refuse(
        (day != day.dt.floor(step)).to_numpy(),
        "not_a_utc_day" if step == DAY else "not_a_utc_hour",
        lambda at: [
            f"the bar begins {d:%Y-%m-%d %H:%M:%S} UTC, not {'at midnight' if step == DAY else 'with an hour'}"
            for d in at["date"]
        ],
    )
    verdicts.refuse(has_note, "unreadable_number", lambda at: list(at["note"]))
    if is_close_only:
        verdicts.refuse(rows["close"].isna().to_numpy(), "no_quote", "the source gives no quotation for this day")


def _refuse_impossible(verdicts: _Verdicts, fields: list[str]) -> None:
    rows = verdicts.rows
    values = rows[fields].to_numpy(np.float64)

    def shown(at: pd.DataFrame) -> list[str]:
        return _shown(at, fields)

    verdicts.refuse(~np.isfinite(values).all(axis=1), "not_finite", shown)
    with np.errstate(invalid="ignore"):
        verdicts.refuse(np.any(values <= 0, axis=1), "not_positive", shown)
        verdicts.refuse(np.any((values < SMALLEST) | (values > LARGEST), axis=1), "absurd_scale", shown)
    if len(fields) > 1:
        top, bottom = rows[["open", "close"]].max(axis=1), rows[["open", "close"]].min(axis=1)
        # Sources that average or convert leave the last digit wrong; that is no broken bar.
        broken = (rows["high"] < top * (1 - 1e-9)) | (rows["low"] > bottom * (1 + 1e-9))
        verdicts.refuse(broken.to_numpy(), "broken_ohlc_order", shown)
    volume = rows["volume"]
    verdicts.refuse(np.isinf(volume.to_numpy(np.float64)), "not_finite", lambda at: _shown(at, ["volume"]))
    verdicts.refuse((volume < 0).to_numpy(), "negative_volume", lambda at: _shown(at, ["volume"]))
    verdicts.refuse(
        ~rows["volume_unit"].isin(VOLUME_UNITS).to_numpy(),
        "unknown_volume_unit",
        lambda at: [f"volume_unit {unit!r} is not {', '.join(VOLUME_UNITS)}" for unit in at["volume_unit"]],
    )


def _refuse_repeated(verdicts: _Verdicts, step: pd.Timedelta) -> None:
    form = "%Y-%m-%d" if step == DAY else "%Y-%m-%d %H:%M"
    fine = verdicts.rows[verdicts.is_fine]
    repeated = fine[fine.duplicated("date", keep=False)]
    for day, same in repeated.groupby("date", sort=True):
        at = np.zeros(len(verdicts.rows), dtype=bool)
        numbers = ", ".join(str(n) for n in same["row_number"])
        if len(same[[*FIELDS, "volume", "volume_unit"]].drop_duplicates()) == 1:
            at[same.index[1:]] = True
            words = f"{day:{form}} stands in rows {numbers} with the same values; the first is kept"
            verdicts.refuse(at, "duplicate_same", words)
        else:
            at[same.index] = True
            closes = " and ".join(f"{close:.10g}" for close in same["close"])
            words = f"{day:{form}} stands in rows {numbers} with closes {closes}; keep one"
            verdicts.refuse(at, "duplicate_conflict", words)


def _refuse_spikes(verdicts: _Verdicts, *, is_close_only: bool) -> None:
    rows = verdicts.rows
    bars = rows[verdicts.is_fine].sort_values("date", kind="stable")
    if len(bars) < 3:
        return
    found = {"close": _close_spikes(np.log(bars["close"].to_numpy(np.float64)))}
    if not is_close_only:
        found |= _wicks(bars)
    for field, hit in found.items():
        at = np.zeros(len(rows), dtype=bool)
        at[bars.index[hit]] = True
        _refuse_alone(verdicts, at, field)


def _refuse_alone(verdicts: _Verdicts, at: NDArray[np.bool_], field: str) -> None:
    verdicts.refuse(
        at,
        "reverting_spike",
        lambda those: [f"{value} stands alone: neighbours do not confirm it" for value in _shown(those, [field])],
    )


def _close_spikes(close: NDArray[np.float64]) -> NDArray[np.bool_]:
    r = np.diff(close, prepend=np.nan)
    following = np.append(r[1:], np.nan)
    limit = np.maximum(SPIKE_SCALE * MAD_TO_SIGMA * _rolling_median(np.abs(r)), SPIKE_CLOSE)
    with np.errstate(invalid="ignore"):
        return np.asarray((np.abs(r) > limit) & (np.abs(r + following) < REVERSAL * np.abs(r)), dtype=np.bool_)


def _wicks(bars: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
    logs = np.log(bars[list(FIELDS)].to_numpy(np.float64))
    body = logs[:, [0, 3]]
    depths = {"low": body.min(axis=1) - logs[:, 2], "high": logs[:, 1] - body.max(axis=1)}
    # Markets without usual wicks have a median of zero; the floor e^1.5 then decides alone.
    return {field: d > np.maximum(SPIKE_SCALE * _rolling_median(d), SPIKE_WICK) for field, d in depths.items()}


def _rolling_median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    window = pd.Series(values).rolling(NEIGHBOURS, min_periods=1)
    return np.asarray(window.median(), dtype=np.float64)
