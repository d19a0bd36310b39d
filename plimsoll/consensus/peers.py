"""Peers: what other sources say about the same bar.

What lives here: usual distances of pairs, which venues agree and disagree, the best reference bar, and whether a bar
is another source's bar of another day or scale. What does not: verdicts.
"""

from dataclasses import dataclass, field

import numpy as np

from plimsoll.consensus.features import Own
from plimsoll.consensus.numerics import Bools, Floats, Ints, trailing_quantile
from plimsoll.consensus.panel import Panel
from plimsoll.consensus.vote import FLOOR, FLOOR_TICKS, PAIR_TIMES, row_median

UNKNOWN_DISTANCE = 0.01
"""Usual distance assumed of a pair with fewer than ten common days."""
TWIN_DISTANCE = 1e-4
TWIN_LIMIT = 5e-4
SPAN_SHARE = 0.10
"""Closes may lie apart by this share of the day's range: on wild days seconds matter."""
SHIFT_FIT = 0.35
SHIFT_VISIBLE = 30e-4
UNITED_SHARE = 0.25
LN10 = float(np.log(10.0))


@dataclass(frozen=True)
class Reference:
    """The other source's bar that a bar is compared with, chosen by the smallest usual distance; logs.

    Attributes
    ----------
    o, h, low, c
        Its prices; NaN where there is none.
    limit
        How far closes may lie apart: max(25 bp, 3 ticks, 5 usual distances, a tenth of the day's range).
    usual
        Usual distance of the closes.
    log_volume, usual_volume
        ln volume, and its median before.
    """

    o: Floats
    h: Floats
    low: Floats
    c: Floats
    limit: Floats
    usual: Floats
    log_volume: Floats
    usual_volume: Floats

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> "Reference":
        """Start with no reference anywhere."""
        return cls(*(np.full(shape, np.nan) for _ in range(8)))


@dataclass(frozen=True)
class Peers:
    """What other sources say, each array of shape (rows, slots).

    Attributes
    ----------
    venues
        Other venues with a bar on that day.
    disagree, agree
        Venues whose nearest product lies beyond, within the limit.
    other
        Best reference of another venue.
    twin
        Best reference of the same venue.
    best
        ``other`` where there is one, else ``twin``.
    c
        The bar's own close.
    middle
        Median close of other venues.
    lowest, highest
        Lowest low and highest high of other venues.
    lagged, led, in_step
        How many sources (of any venue) the bar fits one day late, one day early, and on the day.
    is_outvoted
        Two venues and more disagree, none agrees, and those others agree with each other.
    """

    venues: Ints
    disagree: Ints
    agree: Ints
    other: Reference
    twin: Reference
    lowest: Floats
    highest: Floats
    lagged: Ints
    led: Ints
    in_step: Ints
    middle: Floats
    c: Floats
    best: Reference = field(init=False)

    is_outvoted: Bools = field(init=False)

    def __post_init__(self) -> None:
        has = np.isfinite(self.other.c)
        names = ("o", "h", "low", "c", "limit", "usual", "log_volume", "usual_volume")
        chosen = [np.where(has, getattr(self.other, one), getattr(self.twin, one)) for one in names]
        object.__setattr__(self, "best", Reference(*chosen))
        # If the reference is the one that is wrong, it lies as far from the others as from this bar.
        with np.errstate(invalid="ignore"):
            is_united = np.abs(self.middle - self.other.c) <= UNITED_SHARE * np.abs(self.c - self.other.c)
        object.__setattr__(self, "is_outvoted", (self.disagree >= 2) & (self.agree == 0) & is_united)


def peer_views(panel: Panel, own: Own) -> Peers:
    """Compare every source with every other source of its symbol; see `Peers`."""
    shape = panel.c.shape
    slots = panel.slots
    counts = {name: np.zeros(shape, dtype=np.int64) for name in ("venues", "disagree", "agree", "lagged", "led", "in")}
    other, twin = Reference.none(shape), Reference.none(shape)
    lowest, highest = np.full(shape, np.nan), np.full(shape, np.nan)
    usual: dict[tuple[int, int], Floats] = {}
    venue = panel.venue_of_rows
    # Venue ids of a symbol counted from zero, so that a venue is one column.
    local = np.array([[list(dict.fromkeys(v)).index(one) for one in v] for v in panel.venue.tolist()])[panel.symbol]
    rows = np.arange(shape[0])
    for i in range(slots):
        score = np.full(shape, np.inf)
        for j in range(slots):
            if i == j:
                continue
            distance = np.abs(panel.c[:, i] - panel.c[:, j])
            pair = (min(i, j), max(i, j))
            if pair not in usual:
                usual[pair] = trailing_quantile(distance[:, None], panel.starts)[:, 0]
            _compare(panel, own, i, j, usual[pair], distance, venue, other, twin, lowest, highest)
            limit = _limit(panel, own, j, usual[pair])
            z = np.where(venue[:, i] == venue[:, j], np.inf, distance / limit)
            place = local[:, j]
            score[rows, place] = np.fmin(score[rows, place], np.where(np.isfinite(z), z, np.inf))
            _lags(panel, i, j, counts)
        stands = np.isfinite(score)
        counts["venues"][:, i] = stands.sum(axis=1)
        counts["agree"][:, i] = (stands & (score <= 1)).sum(axis=1)
        counts["disagree"][:, i] = (stands & (score > 1)).sum(axis=1)
    silent = ~panel.is_bar
    for one in counts.values():
        one[silent] = 0
    return Peers(
        counts["venues"],
        counts["disagree"],
        counts["agree"],
        other,
        twin,
        lowest,
        highest,
        counts["lagged"],
        counts["led"],
        counts["in"],
        np.column_stack([row_median(np.where(venue == venue[:, [i]], np.nan, panel.c)) for i in range(slots)]),
        panel.c,
    )


def _limit(panel: Panel, own: Own, j: int, usual: Floats) -> Floats:
    known = np.where(np.isfinite(usual), usual, UNKNOWN_DISTANCE)
    limit = np.fmax(np.fmax(PAIR_TIMES * known, FLOOR), FLOOR_TICKS * own.step[:, j])
    return np.fmax(limit, SPAN_SHARE * own.span[:, j])


def _compare(
    panel: Panel,
    own: Own,
    i: int,
    j: int,
    usual: Floats,
    distance: Floats,
    venue: Ints,
    other: Reference,
    twin: Reference,
    lowest: Floats,
    highest: Floats,
) -> None:
    known = np.where(np.isfinite(usual), usual, UNKNOWN_DISTANCE)
    is_twin = venue[:, i] == venue[:, j]
    limit = _limit(panel, own, j, usual)
    limit = np.where(is_twin & (known <= TWIN_DISTANCE), TWIN_LIMIT, limit)
    stands = np.isfinite(distance)
    for target, where in ((other, stands & ~is_twin), (twin, stands & is_twin)):
        better = where & ~(known >= target.usual[:, i])
        for name, values in (
            ("o", panel.o[:, j]),
            ("h", panel.h[:, j]),
            ("low", panel.low[:, j]),
            ("c", panel.c[:, j]),
            ("limit", limit),
            ("log_volume", own.log_volume[:, j]),
            ("usual_volume", own.usual_volume[:, j]),
            ("usual", known),
        ):
            getattr(target, name)[better, i] = values[better]
    apart = stands & ~is_twin
    lowest[:, i] = np.where(apart, np.fmin(lowest[:, i], panel.low[:, j]), lowest[:, i])
    highest[:, i] = np.where(apart, np.fmax(highest[:, i], panel.h[:, j]), highest[:, i])


def _lags(panel: Panel, i: int, j: int, counts: dict[str, Ints]) -> None:
    """Count where the whole bar fits the other source's bar of the day before or after and not of the day."""
    fit = {}
    for by in (0, 1, -1):
        parts = []
        for one in (panel.o, panel.h, panel.low, panel.c):
            theirs = one[:, [j]] if by == 0 else panel.moved(one[:, [j]], by)
            parts.append(np.abs(one[:, i] - theirs[:, 0]))
        # The close alone decides where a source gives nothing else.
        whole = np.stack(parts)
        fit[by] = np.where(np.isfinite(whole[:3]).all(axis=0), whole.mean(axis=0), whole[3])
    visible = fit[0] > SHIFT_VISIBLE
    counts["lagged"][:, i] += visible & (fit[1] < SHIFT_FIT * fit[0])
    counts["led"][:, i] += visible & (fit[-1] < SHIFT_FIT * fit[0])
    nearest = np.fmin(fit[1], fit[-1])
    counts["in"][:, i] += fit[0] < np.fmax(SHIFT_VISIBLE, SHIFT_FIT * nearest)


def decades_from(panel: Panel, reference: Reference) -> Floats:
    """Power of ten by which all prices of a bar differ from its reference; 0 where they do not."""
    power = np.round((panel.c - reference.c) / LN10)
    allowed = np.fmax(0.05, np.fmax(reference.limit, 0.3 * (reference.h - reference.low)))
    is_near = np.ones(panel.c.shape, dtype=bool)
    for mine, theirs in (
        (panel.o, reference.o),
        (panel.h, reference.h),
        (panel.low, reference.low),
        (panel.c, reference.c),
    ):
        off = np.abs(mine - theirs - power * LN10)
        is_near &= ~(off > allowed)
    return np.where(is_near & np.isfinite(power), power, 0.0)
