"""Candles: which input rows are bars, and why the others are not.

What lives here: canonical market ids and the screen that accepts rows or quarantines them with a reason; nothing is
repaired and nothing vanishes. What does not: reading files, agreement between venues.
"""

import re
import unicodedata
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

SYMBOL = re.compile(r"^[A-Z0-9][A-Z0-9._-]{0,19}$")
FIELDS = ("open", "high", "low", "close")
VOLUME_UNITS = ("base", "quote_usd", "none")
EARLIEST = pd.Timestamp("1970-01-02")

SPIKE_SCALE = 12.0
SPIKE_CLOSE = 0.5
SPIKE_WICK = 1.5
REVERSAL = 0.25
NEIGHBOURS = 120
MAD_TO_SIGMA = 1.4826


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


def canonical_symbol(text: str) -> str:
    """Return the canonical market id: NFKC, trimmed, upper case.

    Raises
    ------
    ValueError
        Where the result is not 1 to 20 letters, digits, dots, underscores or hyphens; control characters and look-alike
        letters of other scripts fail here.
    """
    symbol = unicodedata.normalize("NFKC", text).strip().upper()
    if not SYMBOL.match(symbol):
        raise ValueError(f"{text!r} is no market id (A-Z, 0-9, '.', '_', '-', at most 20 characters)")
    return symbol


def screen(frame: pd.DataFrame, *, is_close_only: bool, latest: pd.Timestamp) -> Screened:
    """Accept or quarantine the rows of one market and source.

    Parameters
    ----------
    frame
        ``row_number, date, open, high, low, close, volume, volume_unit``; ``date`` NaT where unreadable, numbers NaN where
        unreadable or absent.
    is_close_only
        The source gives closes only: open, high and low are not asked for.
    latest
        Last day that can be final; later bars are still open.

    Returns
    -------
    Screened
        Each input row stands in exactly one of the two frames.

    Notes
    -----
    A single-bar spike is one that reverts: a close beyond twelve robust sigmas of its neighbours and 50 % that the next
    bar takes back to a quarter, or a wick beyond twelve times the usual wick and a factor of e^1.5 beyond both open
    and close. Falls that closes confirm are kept, however large: real crashes must move
    thresholds. Scales are trailing, so a bar is judged by what came before it and by the one next bar; the newest bar's
    close is judged when the next one has come.
    """
    rows = frame.reset_index(drop=True)
    reason = np.full(len(rows), "", dtype=object)
    detail = np.full(len(rows), "", dtype=object)
    _mark_unreadable(rows, reason, detail, is_close_only=is_close_only, latest=latest)
    _mark_duplicates(rows, reason, detail)
    _mark_spikes(rows, reason, detail, is_close_only=is_close_only)
    kept = reason == ""
    accepted = rows[kept].sort_values("date", kind="stable", ignore_index=True)
    quarantined = rows[~kept].assign(reason=reason[~kept], detail=detail[~kept]).reset_index(drop=True)
    return Screened(accepted, quarantined)


def _mark(
    reason: NDArray[np.object_], detail: NDArray[np.object_], at: NDArray[np.bool_], word: str, text: pd.Series | str
) -> None:
    fresh = at & (reason == "")
    reason[fresh] = word
    detail[fresh] = text if isinstance(text, str) else text.to_numpy()[fresh]


def _shown(rows: pd.DataFrame, fields: list[str]) -> pd.Series:
    """The values of a row in words, e.g. "open 1.2 close nan"."""
    text = [" ".join(f"{f} {v:g}" for f, v in zip(fields, row, strict=True)) for row in rows[fields].to_numpy(np.float64)]
    return pd.Series(text, index=rows.index, dtype="object")


def _mark_unreadable(
    rows: pd.DataFrame,
    reason: NDArray[np.object_],
    detail: NDArray[np.object_],
    *,
    is_close_only: bool,
    latest: pd.Timestamp,
) -> None:
    day = rows["date"]
    _mark(reason, detail, day.isna().to_numpy(), "unreadable_date", "the day cannot be read")
    outside = ((day < EARLIEST) | (day > latest)).to_numpy()
    _mark(reason, detail, outside, "out_of_range_date", "day " + day.dt.strftime("%Y-%m-%d").fillna("?") + f" is not within 1970-01-02 and {latest.date()}")
    fields = ["close"] if is_close_only else list(FIELDS)
    values = rows[fields].to_numpy(np.float64)
    if is_close_only:
        _mark(reason, detail, rows["close"].isna().to_numpy(), "no_quote", "the source gives no quotation for this day")
    shown = _shown(rows, fields)
    _mark(reason, detail, ~np.isfinite(values).all(axis=1), "not_finite", shown)
    with np.errstate(invalid="ignore"):
        _mark(reason, detail, (values <= 0).any(axis=1), "not_positive", shown)
        _mark(reason, detail, ((values < 1e-12) | (values > 1e15)).any(axis=1), "absurd_scale", shown)
        if not is_close_only:
            high, low = rows["high"], rows["low"]
            top, bottom = rows[["open", "close"]].max(axis=1), rows[["open", "close"]].min(axis=1)
            broken = (high < top * (1 - 1e-9)) | (low > bottom * (1 + 1e-9))
            _mark(reason, detail, broken.to_numpy(), "broken_ohlc_order", shown)
    volume = rows["volume"]
    _mark(reason, detail, ((volume < 0) | np.isinf(volume)).to_numpy(), "negative_volume", _shown(rows, ["volume"]))
    unit = rows["volume_unit"].astype(str)
    _mark(reason, detail, ~unit.isin(VOLUME_UNITS).to_numpy(), "unknown_volume_unit", "volume_unit " + unit)


def _mark_duplicates(rows: pd.DataFrame, reason: NDArray[np.object_], detail: NDArray[np.object_]) -> None:
    fine = rows[reason == ""]
    repeated = fine[fine.duplicated("date", keep=False)]
    for day, same in repeated.groupby("date", sort=True):
        values = same[[*FIELDS, "volume"]].drop_duplicates()
        at = np.zeros(len(rows), dtype=bool)
        if len(values) == 1:
            at[same.index[1:]] = True
            _mark(reason, detail, at, "duplicate_same", f"{day.date()} stands {len(same)} times with the same values")
        else:
            at[same.index] = True
            numbers = ", ".join(str(n) for n in same["row_number"])
            closes = " and ".join(f"{c:g}" for c in same["close"])
            _mark(reason, detail, at, "duplicate_conflict", f"{day.date()} stands in rows {numbers} with closes {closes}; keep one")


def _mark_spikes(
    rows: pd.DataFrame, reason: NDArray[np.object_], detail: NDArray[np.object_], *, is_close_only: bool
) -> None:
    bars = rows[reason == ""].sort_values("date", kind="stable")
    if len(bars) < 3:
        return
    close = np.log(bars["close"].to_numpy(np.float64))
    r = np.diff(close, prepend=np.nan)
    following = np.append(r[1:], np.nan)
    scale = _robust_scale(r)
    with np.errstate(invalid="ignore"):
        spike = (np.abs(r) > np.maximum(SPIKE_SCALE * scale, SPIKE_CLOSE)) & (np.abs(r + following) < REVERSAL * np.abs(r))
    found = {"close": spike}
    if not is_close_only:
        found |= _wicks(bars)
    for field, hit in found.items():
        at = np.zeros(len(rows), dtype=bool)
        at[bars.index[hit]] = True
        alone = _shown(rows, [field]) + " stands alone: neighbours do not confirm it"
        _mark(reason, detail, at, "reverting_spike", alone)


def _wicks(bars: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
    body_low = np.log(bars[["open", "close"]].min(axis=1).to_numpy(np.float64))
    body_high = np.log(bars[["open", "close"]].max(axis=1).to_numpy(np.float64))
    out = {}
    for field, depth in (
        ("low", body_low - np.log(bars["low"].to_numpy(np.float64))),
        ("high", np.log(bars["high"].to_numpy(np.float64)) - body_high),
    ):
        usual = _rolling_median(depth) + 1e-6
        out[field] = depth > np.maximum(SPIKE_SCALE * usual, SPIKE_WICK)
    return out


def _rolling_median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    window = pd.Series(values).rolling(NEIGHBOURS, min_periods=1)
    return np.asarray(window.median(), dtype=np.float64)


def _robust_scale(r: NDArray[np.float64]) -> NDArray[np.float64]:
    return MAD_TO_SIGMA * _rolling_median(np.abs(r))
