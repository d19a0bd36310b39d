"""Inject: faults of known kind and place put into candles, so that detection can be measured.

What lives here: how each kind of fault is made, seeded. What does not: detection and its measure.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from plimsoll.consensus.numerics import Floats

FIELDS = ["open", "high", "low", "close"]
KINDS = (
    "bad_tick",
    "part_day",
    "day_shift",
    "swapped_columns",
    "symbol_reuse",
    "duplicated_day",
    "missing_days",
    "scale_change",
)
LEAD_IN = 70
"""Bars at the start of a series that stay as they are: rules need to know what is usual."""
APART = 25
"""Days between two faults of a symbol."""
TRIES = 40

Series = dict[tuple[str, str], pd.DataFrame]
Made = tuple[pd.DataFrame, int, str] | None


@dataclass(frozen=True)
class Injected:
    """Candles with faults, and where they are.

    Attributes
    ----------
    candles
        The columns given; rows may be changed, dropped or doubled.
    truth
        ``symbol, source, freq, start, end, kind, detail, is_error``.
    """

    candles: pd.DataFrame
    truth: pd.DataFrame


def inject(
    candles: pd.DataFrame, kind: str, count: int, rng: np.random.Generator, *, avoid: pd.DataFrame | None = None
) -> Injected:
    """Put faults of one kind into candles.

    Parameters
    ----------
    candles
        ``date, symbol, source, open, high, low, close, volume, volume_unit``; clean rows.
    kind
        One of `KINDS`.
    count
        How many; fewer where the candles have no room for them.
    rng
        Decides where and how large.
    avoid
        ``symbol, start, end``: days to stay away from, because something is found there already.

    Notes
    -----
    Faults are as large as matters: a bad tick is 16 to 40 robust daily volatilities and at least 35 %, a part-day
    candle holds 3 to 60 % of the volume and misses its true close by at least half a volatility and 1 %, swapped bars
    have a body of at least 1 %, another asset's price differs by a factor of at least e, and a bar that is repeated
    has a range of at least half a per cent. Days are shifted where another source has the same days and the market
    moves by 1 % a day, and parts of days need a volume: without, nobody can tell. Smaller faults change no threshold
    and cannot be told from trading.

    Raises
    ------
    ValueError
        Where the kind is unknown.
    """
    makers: dict[str, Callable[[pd.DataFrame, int, np.random.Generator, Series], Made]] = {
        "bad_tick": _bad_tick,
        "part_day": _part_day,
        "day_shift": _day_shift,
        "swapped_columns": _swapped,
        "symbol_reuse": _reuse,
        "duplicated_day": _duplicated,
        "missing_days": _missing,
        "scale_change": _scale,
    }
    if kind not in makers:
        raise ValueError(f"kind {kind!r}: known are {', '.join(makers)}")
    whole = candles.sort_values(["symbol", "source", "date"], kind="stable", ignore_index=True)
    parts: Series = {
        (str(key[0]), str(key[1])): one.reset_index(drop=True)
        for key, one in whole.groupby(["symbol", "source"], sort=True)
    }
    # Frames by day, for faults that look at other series.
    by_day = {key: one.set_index("date") for key, one in parts.items()}
    roomy = [key for key, one in parts.items() if len(one) > LEAD_IN + 2 * APART]
    weights = np.array([len(parts[key]) for key in roomy], dtype=np.float64)
    taken: dict[str, list[tuple[pd.Timestamp, pd.Timestamp]]] = {}
    if avoid is not None:
        for one in avoid.itertuples():
            taken.setdefault(str(one.symbol), []).append((pd.Timestamp(str(one.start)), pd.Timestamp(str(one.end))))
    truth: list[tuple[object, ...]] = []
    left = count * TRIES if roomy else 0
    while len(truth) < count and left:
        left -= 1
        key = roomy[int(rng.choice(len(roomy), p=weights / weights.sum()))]
        series = parts[key]
        at = int(rng.integers(LEAD_IN, len(series) - APART))
        made = makers[kind](series, at, rng, by_day)
        if made is None:
            continue
        changed, length, words = made
        start, end = series["date"].iloc[at], series["date"].iloc[min(at + length - 1, len(series) - 1)]
        pad = pd.Timedelta(days=APART)
        if any(a - pad <= end and start <= b + pad for a, b in taken.get(key[0], [])):
            continue
        taken.setdefault(key[0], []).append((start, end))
        parts[key] = changed
        truth.append((*key, "1d", start, end, kind, words, True))
    names = ["symbol", "source", "freq", "start", "end", "kind", "detail", "is_error"]
    return Injected(
        pd.concat(parts.values(), ignore_index=True)[list(candles.columns)], pd.DataFrame(truth, columns=names)
    )


def _is_daily(series: pd.DataFrame, at: int, before: int, after: int) -> bool:
    """Whether the bars around stand on consecutive days."""
    if at - before < 0 or at + after >= len(series):
        return False
    return bool((series["date"].iloc[at + after] - series["date"].iloc[at - before]).days == before + after)


def _value(series: pd.DataFrame, at: int, name: str) -> float:
    return float(series[name].to_numpy(np.float64)[at])


def _prices(series: pd.DataFrame, at: int) -> Floats:
    return np.asarray(series[FIELDS].iloc[at].to_numpy(np.float64), dtype=np.float64)


def _sigma(series: pd.DataFrame, at: int) -> float:
    close = np.log(series["close"].to_numpy(np.float64)[max(at - 60, 0) : at])
    return float(1.4826 * np.median(np.abs(np.diff(close)))) if len(close) > 5 else float("nan")


def _bad_tick(series: pd.DataFrame, at: int, rng: np.random.Generator, others: Series) -> Made:
    sigma, (o, h, low, c) = _sigma(series, at), _prices(series, at)
    if not (_is_sound(o, h, low, c) and _is_daily(series, at, 1, 2)):
        return None
    size = float(np.clip(sigma * rng.uniform(16, 40), 0.35, 3.0)) + np.log(h / low)
    out = series.copy()
    how = int(rng.integers(3))
    if how == 0:
        out.loc[at, "low"] = min(o, c) * np.exp(-size)
        words = f"low down by {size:.2f} in logs"
    elif how == 1:
        out.loc[at, "high"] = max(o, c) * np.exp(size)
        words = f"high up by {size:.2f} in logs"
    else:
        sign = 1 if rng.random() < 0.5 else -1
        close = c * np.exp(sign * size)
        out.loc[at, ["high", "low", "close"]] = [max(h, close), min(low, close), close]
        words = f"close moved by {sign * size:.2f} in logs"
    return out, 1, words


def _part_day(series: pd.DataFrame, at: int, rng: np.random.Generator, others: Series) -> Made:
    sigma, (o, h, low, c) = _sigma(series, at), _prices(series, at)
    if not (_is_sound(o, h, low, c) and _is_daily(series, at, 1, 1)):
        return None
    share = float(rng.uniform(0.03, 0.6))
    close = float(rng.uniform(low, h))
    if str(series["volume_unit"].iloc[at]) == "none" or not _value(series, at, "volume") > 0:
        return None
    if abs(np.log(close / c)) < max(0.5 * sigma, 100e-4, 0.1 * np.log(h / low)):
        return None
    out = series.copy()
    # Of high and low the part has seen at most one where the day moved on.
    high, bottom = float(rng.uniform(max(o, close), h)), float(rng.uniform(low, min(o, close)))
    if rng.random() < 0.5:
        high = h
    else:
        bottom = low
    out.loc[at, ["high", "low", "close"]] = [high, bottom, close]
    out.loc[at, "volume"] = _value(series, at, "volume") * share
    return out, 1, f"{share:.0%} of the day; close {close:.6g} for {c:.6g}"


def _day_shift(series: pd.DataFrame, at: int, rng: np.random.Generator, others: Series) -> Made:
    length, by = int(rng.integers(8, 60)), 1 if rng.random() < 0.5 else -1
    if not _is_daily(series, at, 2, length + 2) or not _sigma(series, at) > 0.01:
        return None
    days, (symbol, source) = series["date"].iloc[at : at + length], (series["symbol"].iloc[0], series["source"].iloc[0])
    peers = [one.index for key, one in others.items() if key[0] == symbol and key[1] != source]
    ends = days.iloc[[0, -1]]
    if not any(ends.isin(index).all() and days.isin(index).all() for index in peers):
        return None
    out = series.copy()
    columns = [*FIELDS, "volume"]
    out.loc[at : at + length - 1, columns] = series.loc[at - by : at + length - 1 - by, columns].to_numpy()
    # The bar after an early segment repeats its last one.
    return out, length + (by < 0), f"bars of {abs(by)} day {'before' if by > 0 else 'after'}, {length} days long"


def _swapped(series: pd.DataFrame, at: int, rng: np.random.Generator, others: Series) -> Made:
    o, h, low, c = _prices(series, at)
    if not (_is_sound(o, h, low, c) and _is_daily(series, at, 1, 1)):
        return None
    out = series.copy()
    how = int(rng.integers(3))
    if how == 0:
        if abs(np.log(c / o)) < 0.01:
            return None
        out.loc[at, ["open", "close"]] = [c, o]
        return out, 1, "open and close"
    if how == 1:
        if np.log(min(o, c) / low) + np.log(h / max(o, c)) < 1e-6:
            return None
        out.loc[at, ["high", "low"]] = [low, h]
        return out, 1, "high and low"
    unit = str(series["volume_unit"].iloc[at])
    if unit == "none" or not _value(series, at, "volume") > 0 or abs(np.log(c)) < 4.5:
        return None
    out.loc[at, "volume"] = _value(series, at, "volume") * (c if unit == "base" else 1 / c)
    return out, 1, "base and quote volume"


def _reuse(series: pd.DataFrame, at: int, rng: np.random.Generator, others: Series) -> Made:
    length, gap = int(rng.integers(20, 90)), int(rng.integers(0, 15))
    if not _is_daily(series, at, 2, length + gap + 2):
        return None
    symbol, source = series["symbol"].iloc[0], series["source"].iloc[0]
    names = [key for key in others if key[0] != symbol and key[1] == source]
    if not names:
        return None
    donor = others[names[int(rng.integers(len(names)))]]
    days = series["date"].iloc[at + gap : at + gap + length]
    if not days.isin(donor.index).all():
        return None
    jump = float(np.log(float(donor["open"].loc[days.iloc[0]]) / _value(series, at - 1, "close")))
    back = float(np.log(_value(series, at + gap + length, "open") / float(donor["close"].loc[days.iloc[-1]])))
    sigma = _sigma(series, at)
    # A power of ten could as well be a change of scale.
    near_ten = min(abs(abs(one) / np.log(10) - round(abs(one) / np.log(10))) for one in (jump, back)) < 0.1
    if min(abs(jump), abs(back)) < max(1.0, 14 * sigma * np.sqrt(gap + 1)) or near_ten:
        return None
    out = series.copy()
    columns = [*FIELDS, "volume"]
    out.loc[at + gap : at + gap + length - 1, columns] = donor.loc[days, columns].to_numpy()
    out = out.drop(index=range(at, at + gap)).reset_index(drop=True)
    return out, gap + length + 1, f"{length} days of another asset after {gap} without bars"


def _duplicated(series: pd.DataFrame, at: int, rng: np.random.Generator, others: Series) -> Made:
    previous = _prices(series, at - 1)
    if not (_is_daily(series, at, 1, 1) and np.isfinite(previous).all() and previous[1] / previous[2] > 1.005):
        return None
    out = series.copy()
    columns = [*FIELDS, "volume"]
    how = int(rng.integers(3))
    if how == 0:
        out.loc[at, columns] = series.loc[at - 1, columns].to_numpy()
        return out, 1, "the bar before again"
    row = series.iloc[[at]].copy()
    if how == 1:
        row[FIELDS] = row[FIELDS] * float(np.exp(rng.normal(0, 0.01)))
    out = pd.concat([out.iloc[: at + 1], row, out.iloc[at + 1 :]], ignore_index=True)
    return out, 1, "two rows, other values" if how == 1 else "two rows, same values"


def _missing(series: pd.DataFrame, at: int, rng: np.random.Generator, others: Series) -> Made:
    length = int(rng.integers(1, 20))
    if not _is_daily(series, at, 1, length + 1):
        return None
    return series.drop(index=range(at, at + length)).reset_index(drop=True), length, f"{length} days"


def _scale(series: pd.DataFrame, at: int, rng: np.random.Generator, others: Series) -> Made:
    length = int(rng.integers(1, 60))
    if not _is_daily(series, at, 2, length + 2):
        return None
    part = series.loc[at : at + length - 1, FIELDS].to_numpy(np.float64)
    out = series.copy()
    factor = float(rng.choice([10.0, 1000.0, 0.1, 0.001, 0.0]))
    if factor:
        changed, words = part * factor, f"times {factor:g}"
    else:
        if np.abs(np.log(part)).min() < 1:
            return None
        changed, words = (1 / part)[:, [0, 2, 1, 3]], "one over the price"
    out.loc[at : at + length - 1, FIELDS] = changed
    return out, length, f"{words}, {length} days"


def _is_sound(o: float, h: float, low: float, c: float) -> bool:
    return bool(np.isfinite([o, h, low, c]).all() and low <= min(o, c) and h >= max(o, c))
