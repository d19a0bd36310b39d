"""Audit: what was found against what is known to be wrong, by kind.

What lives here: how labels are read, how findings become events, precision, recall and false rejections. What does
not: reading files, detection, made-up faults (``inject``).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from plimsoll.consensus.judge import Judgement

FAMILY = {
    "bad_tick": "bad_tick",
    "close_spike_reverts": "bad_tick",
    "extreme_low_wick": "bad_tick",
    "extreme_high_wick": "bad_tick",
    "partial_candle": "part_day",
    "part_day": "part_day",
    "part_day_candle": "part_day",
    "stale_candle": "part_day",
    "day_shift": "day_shift",
    "day_boundary": "day_boundary",
    "columns_swapped": "swapped_columns",
    "swapped_columns": "swapped_columns",
    "symbol_reuse": "symbol_reuse",
    "index_methodology": "symbol_reuse",
    "duplicated_day": "duplicated_day",
    "duplicated_days": "duplicated_day",
    "duplicate_day": "duplicated_day",
    "duplicate_days": "duplicated_day",
    "missing_bars": "missing_days",
    "missing_days": "missing_days",
    "trading_halt": "missing_days",
    "scale_change": "scale_change",
    "redenomination": "scale_change",
    "flat_bar": "flat_bar",
    "zero_volume": "zero_volume",
    "delisted": "delisted",
    "ohlc_inconsistent": "broken_bar",
    "broken_bar": "broken_bar",
}
"""Kind of a label to the kind under which it is found."""

UNDECIDED = frozenset({"close_spike_reverts", "extreme_low_wick", "extreme_high_wick"})
"""Descriptions that fit errors and real events alike: not judged unless the label says which."""
REAL = frozenset({"perp_spot_basis", "venue_dislocation"})
"""Kinds that name real events: a rejection there is a false one."""
STATES = frozenset({"missing_days", "flat_bar", "zero_volume", "delisted", "day_boundary"})
"""Kinds found as spans; they reject no bar."""
SET_ASIDE = frozenset({"broken_bar", "unreadable_row"})
"""Names given by the screen."""
JOIN_DAYS = 3
"""Findings of one kind and series so many days apart are one event."""


@dataclass(frozen=True)
class Score:
    """Precision and recall of one kind.

    Attributes
    ----------
    labels, found
        Labels that should be found, and of those how many were.
    events, right
        Events found, and of those how many a label of the kind explains.
    """

    kind: str
    labels: int
    found: int
    events: int
    right: int

    @property
    def recall(self) -> float:
        """Found over labels; NaN without labels."""
        return self.found / self.labels if self.labels else float("nan")

    @property
    def precision(self) -> float:
        """Right over events; NaN without events."""
        return self.right / self.events if self.events else float("nan")


@dataclass(frozen=True)
class Audit:
    """Outcome of an audit.

    Attributes
    ----------
    scores
        One for each kind that has labels or events.
    bars, good_bars
        Bars looked at; those that no error label covers.
    false_rejections
        Good bars that were rejected.
    real_kept, real_labels
        Labels of real events of which no bar was rejected.
    not_judged
        Labels left out, by reason.
    missed, unexplained
        Labels not found, and events that no label explains, in words.
    """

    scores: list[Score]
    bars: int
    good_bars: int
    false_rejections: int
    real_kept: int
    real_labels: int
    not_judged: dict[str, int]
    missed: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)

    @property
    def false_per_2000(self) -> float:
        """False rejections per 2,000 good bars."""
        return 2000 * self.false_rejections / self.good_bars if self.good_bars else float("nan")


def events_of(judgement: Judgement) -> pd.DataFrame:
    """Join findings of one kind and series that follow each other; ``symbol, source, kind, start, end, detail``."""
    rejected = judgement.rejected
    days = rejected.sort_values(["symbol", "source", "kind", "date"], kind="stable")
    keys = ["symbol", "source", "kind"]
    spans = judgement.spans[[*keys, "start", "end", "detail"]]
    singles = days.assign(start=days["date"], end=days["date"])[[*keys, "start", "end", "detail"]]
    whole = pd.concat([singles, spans], ignore_index=True).sort_values(
        [*keys, "start"], kind="stable", ignore_index=True
    )
    if not len(whole):
        return whole
    is_same = (whole[keys] == whole[keys].shift(1)).all(axis=1)
    near = (whole["start"] - whole["end"].shift(1)).dt.days <= JOIN_DAYS
    # Missing days and delistings are events already.
    near &= ~whole["kind"].isin(["missing_days", "delisted", "day_boundary"])
    group = (~(is_same & near)).cumsum()
    grouped = whole.groupby(group)
    first = grouped[[*keys, "start", "detail"]].first()
    return first.assign(end=grouped["end"].max()).reset_index(drop=True)


def audit(judgement: Judgement, bars: pd.DataFrame, truth: pd.DataFrame) -> Audit:
    """Compare findings with labels.

    Parameters
    ----------
    judgement
        What was found.
    bars
        ``date, symbol, source`` of every row that came in.
    truth
        ``symbol`` (one, several with commas, or *), ``source`` (one or *), ``freq``, ``start``, ``end``, ``kind``,
        ``detail``; optional ``is_error``: True for an error, False for a real event, None where nobody said.

    Returns
    -------
    Audit
        A label is found where an event of its kind overlaps it in its series; an event is right where a label of its
        kind that is not a real event overlaps it. An event of another kind on the days of a fault that was named
        rightly counts neither way.
    """
    labels, left_out = _labels(truth, bars)
    events = events_of(judgement)
    kinds = sorted({*labels.loc[labels["should"], "family"], *events["kind"]} - {""})
    hits = _overlaps(events, labels)
    same = hits[hits["kind"] == hits["family"]]
    # What the screen set aside cannot be looked at again, whatever else was wrong with it.
    earlier = hits["kind"].isin(SET_ASIDE) & ~hits["family"].isin(STATES)
    found_ids = {*same["label"], *hits.loc[earlier, "label"]}
    right_ids = set(same.loc[same["meaning"] != "real", "event"])
    unclear_ids = set(hits.loc[hits["meaning"] == "unknown", "event"])
    # The edges of a fault show themselves in other rules, too; that is no mistake once the fault has its name.
    named = hits[(hits["meaning"] == "error") & hits["label"].isin(found_ids)]
    side_ids = set(named["event"]) - right_ids
    scores, missed, unexplained = [], [], []
    for kind in kinds:
        wanted = labels[(labels["family"] == kind) & labels["should"]]
        mine = events[events["kind"] == kind]
        counted = mine[mine.index.isin(right_ids) | ~mine.index.isin(unclear_ids | side_ids)]
        got = wanted.index.isin(found_ids)
        right = counted.index.isin(right_ids)
        scores.append(Score(kind, len(wanted), int(got.sum()), len(counted), int(right.sum())))
        missed += [_words(one) for one in wanted[~got].itertuples()]
        unexplained += [_words(one) for one in counted[~right].itertuples()]
    covered, real = _cover(labels, bars, judgement)
    rejected = pd.MultiIndex.from_frame(judgement.rejected[["symbol", "source", "date"]])
    good = pd.MultiIndex.from_frame(bars.loc[~covered, ["symbol", "source", "date"]]).unique()
    false = int(good.isin(rejected).sum())
    return Audit(scores, len(bars), len(good), false, real[0], real[1], left_out, missed, unexplained)


def _labels(truth: pd.DataFrame, bars: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """One row for each label and series that it names, with what it means: error, real, state or unknown."""
    series = bars.groupby(["symbol", "source"])["date"].agg(["min", "max"])
    left_out: dict[str, int] = {}
    rows = []
    said = truth["is_error"] if "is_error" in truth else pd.Series([None] * len(truth))
    label: Any
    for number, (label, flag) in enumerate(zip(truth.itertuples(), said, strict=True)):
        if str(label.freq) not in {"1d", "", "nan", "None"}:
            left_out["another frequency than 1d"] = left_out.get("another frequency than 1d", 0) + 1
            continue
        family = FAMILY.get(str(label.kind), "")
        meaning = _meaning(str(label.kind), family, flag)
        if meaning == "unknown":
            why = f"{label.kind}: error or real event, the label does not say"
            left_out[why] = left_out.get(why, 0) + 1
        names = [one.strip() for one in str(label.symbol).split(",")]
        end = label.start if pd.isna(label.end) else label.end
        hit = [
            key
            for key, span in zip(series.index, series.to_numpy(), strict=True)
            if (names == ["*"] or key[0] in names)
            and label.source in ("*", key[1])
            and span[0] <= end
            and span[1] >= label.start
        ]
        if not hit:
            left_out["no such series in the candles"] = left_out.get("no such series in the candles", 0) + 1
        # A statement about a source is one label, however many symbols it covers.
        keys = [("*", str(label.source))] if hit and family == "day_boundary" else hit
        rows += [(number, a, b, label.start, end, str(label.kind), family, meaning, str(label.detail)) for a, b in keys]
    names = ["number", "symbol", "source", "start", "end", "label_kind", "family", "meaning", "detail"]
    out = pd.DataFrame(rows, columns=names)
    for name in ("start", "end"):
        out[name] = pd.to_datetime(out[name]).astype("datetime64[us]")
    out["should"] = out["meaning"].isin(["error", "state"]) & (out["family"] != "")
    return out, left_out


def _meaning(kind: str, family: str, flag: object) -> str:
    if isinstance(flag, bool | np.bool_):
        if family in STATES:
            return "state" if flag else "quiet"
        return "error" if flag else "real"
    if kind in REAL:
        return "real"
    if kind in UNDECIDED or not family:
        return "unknown"
    return "state" if family in STATES else "error"


def _overlaps(events: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    left = events[["symbol", "source", "kind", "start", "end"]].reset_index(names="event")
    right = labels[["symbol", "source", "family", "meaning", "start", "end"]].reset_index(names="label")
    joined = left.merge(right, on=["symbol", "source"], suffixes=("", "_label"))
    # A join lies between two bars, and a label may name either.
    slack = pd.to_timedelta(joined["family"].eq("symbol_reuse").astype(int), unit="D")
    after = joined["start"] <= joined["end_label"] + slack
    return joined[after & (joined["end"] >= joined["start_label"] - slack)]


def _cover(labels: pd.DataFrame, bars: pd.DataFrame, judgement: Judgement) -> tuple[np.ndarray, tuple[int, int]]:
    """Mark bars that an error or unclear label covers; count real events of which every bar was kept."""
    covered = np.zeros(len(bars), dtype=bool)
    place = bars.groupby(["symbol", "source"]).indices
    date = bars["date"].to_numpy()
    rejected = judgement.rejected.groupby(["symbol", "source"])["date"].apply(lambda one: one.to_numpy()).to_dict()
    kept: dict[int, bool] = {}
    label: Any
    for label in labels.itertuples():
        key = (label.symbol, label.source)
        start, end = np.datetime64(label.start), np.datetime64(label.end)
        if label.meaning in ("error", "unknown") and key in place:
            at = place[key]
            covered[at[(date[at] >= start) & (date[at] <= end)]] = True
        if label.meaning == "real":
            days = rejected.get(key, np.empty(0, dtype="datetime64[us]"))
            kept[label.number] = kept.get(label.number, True) and not ((days >= start) & (days <= end)).any()
    return covered, (sum(kept.values()), len(kept))


def _words(one: object) -> str:
    start, end = (f"{getattr(one, name):%Y-%m-%d}" for name in ("start", "end"))
    days = start if start == end else f"{start} to {end}"
    kind = getattr(one, "label_kind", None) or getattr(one, "kind", "")
    return f"{getattr(one, 'symbol', '')} {getattr(one, 'source', '')} {days} {kind}: {getattr(one, 'detail', '')}"
