"""Comparison: every rule on the same days, at its own size and at sizes at which rules can be compared.

What lives here: scaling a rule's wish by one factor, the curves that this draws, the factor at which two rules agree in
mean threshold or in breach rate, and intervals by blocks of dates. What does not: accounts and paths.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plimsoll import coverage
from plimsoll.procyclicality import swings
from plimsoll.replay.accounts import Judged, Situation, forced_share, judge, situation
from plimsoll.replay.panel import Panel
from plimsoll.replay.path import GovernanceRules, published_path

Floats = NDArray[np.float64]

FACTORS = np.geomspace(1 / 16, 16.0, 65)
"""Sizes of a rule's wish at which the curves are drawn."""
BLOCK_DAYS = 20
DRAWS = 1000
LEVEL = 0.90
LEVELS = (0.05, 0.01)
SAME_THRESHOLD = 1e-3
"""Difference of mean thresholds, as a fraction, that is none: a fifth of a grid step."""


@dataclass(frozen=True)
class Replay:
    """What came of it.

    Attributes
    ----------
    rules
        One row a rule at its own size.
    pairs
        One row a rule, level and way of comparing. The champion is scaled until it breaches as often as the level
        says, on the days that both judge; the rule is scaled to the same breach rate, or to the mean threshold that
        the champion then has.
    curves
        One row a rule and factor: mean threshold, breach rate, missed and unnecessary shares.
    """

    rules: pd.DataFrame
    pairs: pd.DataFrame
    curves: pd.DataFrame


@dataclass(frozen=True)
class _Run:
    """A rule at one size."""

    thresholds: Floats
    judged: Judged


@dataclass(frozen=True)
class _Way:
    """What all rules meet, which of them are parameters in force, and how all others are published."""

    met: Situation
    constant: tuple[str, ...]
    path: GovernanceRules


def replay(
    panel: Panel,
    *,
    champion: str,
    constant: tuple[str, ...] = (),
    levels: tuple[float, ...] = LEVELS,
    rules: GovernanceRules | None = None,
    seed: int,
) -> Replay:
    r"""Replay every rule of a panel.

    Each day a rule wants :math:`LT = e^{-(f x + \lambda)}`: its move x scaled by one factor f, and the costs.
    Governance publishes what it allows of that. A rule at its own size has f = 1.

    Parameters
    ----------
    panel
        Markets; its wishes are the rules.
    champion
        The rule that the others are compared with.
    constant
        Rules that are parameters in force: published as they are, every day, without a path. They were chosen with
        hindsight, as seen from the days before their date.
    levels
        Breach rates given a trigger at which rules are compared.
    rules
        The way through governance of all others; by default that of the risk stewards of Aave.
    seed
        Of the bootstrap.

    Returns
    -------
    Replay
        Shares are NaN where nothing happened that could be counted.

    Raises
    ------
    ValueError
        Where the panel has no such rule.
    """
    unknown = {champion, *constant} - panel.wishes.keys()
    if unknown:
        raise ValueError(f"no rule {', '.join(sorted(unknown))} in the panel; it has {', '.join(panel.wishes)}")
    way = _Way(situation(panel), constant, rules or GovernanceRules())
    at_factors = {name: _runs(panel, name, way, FACTORS) for name in panel.wishes}
    at_one = {name: _runs(panel, name, way, np.ones(1))[0] for name in panel.wishes}
    table = [_row(panel, name, run, way, seed) for name, run in at_one.items()]
    curves = [
        {"rule": name, "factor": factor, **_outcome(panel, run, None)}
        for name, runs in at_factors.items()
        for factor, run in zip(FACTORS, runs, strict=True)
    ]
    pairs = [
        row
        for name in panel.wishes
        if name != champion
        for level in levels
        for row in _pairs(panel, (champion, name), at_factors, way, level, seed)
    ]
    return Replay(pd.DataFrame(table), pd.DataFrame(pairs), pd.DataFrame(curves))


def wanted(panel: Panel, rule: str, factors: Floats) -> Floats:
    """Thresholds that a rule wants at each factor, shape (T, F, M)."""
    move = panel.wishes[rule][:, None, :] * np.asarray(factors, dtype=np.float64)[None, :, None]
    return np.asarray(np.exp(-(move + panel.costs[:, None, :])))


def _runs(panel: Panel, rule: str, way: _Way, factors: Floats) -> list[_Run]:
    targets = wanted(panel, rule, factors)
    published = targets if rule in way.constant else published_path(targets, way.path)
    # A rule answers for the days on which it had something to say.
    published = np.where(np.isfinite(targets), published, np.nan)
    return [_Run(published[:, n], judge(way.met, published[:, n])) for n in range(len(factors))]


def _outcome(panel: Panel, run: _Run, shared: NDArray[np.bool_] | None) -> dict[str, float]:
    """Mean threshold and shares, on all days of the rule or on those that it shares with another."""
    thresholds = run.thresholds if shared is None else run.thresholds[shared]
    judged = run.judged
    kept = np.ones(len(judged.day), dtype=np.bool_) if shared is None else shared[judged.day, judged.market]
    late, ruin = judged.is_late[kept], judged.is_ruin[kept]
    followed = judged.is_followed[kept]
    return {
        "mean_threshold": float(np.nanmean(thresholds)) if np.isfinite(thresholds).any() else np.nan,
        "breach_rate": _share(late.sum(), kept.sum()),
        "missed_share": _share((late & followed).sum(), ruin.sum()),
        "unnecessary_share": _share(judged.is_unnecessary[kept].sum(), followed.sum()),
        "bad_debt": float(judged.bad_debt[kept].mean()) if kept.any() else np.nan,
    }


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def _row(panel: Panel, name: str, run: _Run, way: _Way, seed: int) -> dict[str, object]:
    judged, targets = run.judged, wanted(panel, name, np.ones(1))[:, 0]
    n = len(judged.day)
    low, high = (np.nan, np.nan)
    if n:
        low, high = coverage.date_block_interval(
            panel.dates[judged.day], judged.is_late, block_days=BLOCK_DAYS, level=LEVEL, draws=DRAWS, seed=seed
        )
    both = np.isfinite(run.thresholds) & np.isfinite(targets)
    swing = [swings(1 - run.thresholds[:, m]) for m in range(len(panel.symbols))]
    required = -np.expm1(-(judged.overshoot + panel.costs[judged.day, judged.market]))
    margin = 1 - run.thresholds[judged.day, judged.market]
    return {
        "rule": name,
        "is_constant": name in way.constant,
        "market_days": int(both.sum()),
        "triggers": n,
        "trigger_dates": len(np.unique(judged.day)),
        "breaches": int(judged.is_late.sum()),
        "breach_dates": len(np.unique(judged.day[judged.is_late])),
        **_outcome(panel, run, None),
        "interval_low": low,
        "interval_high": high,
        "forced_share": forced_share(panel, run.thresholds),
        "under_margined_share": _share(
            (run.thresholds[both] > targets[both] + way.path.grid_bps / 1e4).sum(), both.sum()
        ),
        "peak_to_trough": _median([one.peak_to_trough for one in swing]),
        "largest_rise_5d": _median([one.rises[1] for one in swing]),
        "opportunity_cost": float(np.mean((margin - required) / margin)) if n else np.nan,
    }


def _median(values: list[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.median(known)) if known else np.nan


def _pairs(
    panel: Panel, names: tuple[str, str], runs: Mapping[str, list[_Run]], way: _Way, level: float, seed: int
) -> list[dict[str, object]]:
    """Compare the second rule with the first at one level, in both ways."""
    champion, rule = names
    shared = np.isfinite(runs[rule][0].thresholds) & np.isfinite(runs[champion][0].thresholds)
    outcomes = {name: [_outcome(panel, run, shared) for run in runs[name]] for name in names}
    ours_factor = _factor([one["breach_rate"] for one in outcomes[champion]], level)
    rows: list[dict[str, object]] = []
    ours_run = _at(panel, champion, way, ours_factor)
    for equal in ("breach_rate", "mean_threshold"):
        row: dict[str, object] = {"rule": rule, "level": level, "equal": equal, "champion_factor": ours_factor}
        if ours_run is None:
            rows.append(row | {"verdict": f"not comparable: no factor lets {champion} breach so often"})
            continue
        ours = _outcome(panel, ours_run, shared)
        row |= {f"champion_{key}": value for key, value in ours.items()}
        goal = level if equal == "breach_rate" else ours["mean_threshold"]
        factor = _factor([one[equal] for one in outcomes[rule]], goal)
        run = _at(panel, rule, way, factor)
        if run is None:
            rows.append(row | {"verdict": "not comparable: out of reach of any factor"})
            continue
        theirs = _outcome(panel, run, shared)
        low, high = _difference(panel, run.judged, ours_run.judged, shared, seed)
        row |= {"factor": factor, **theirs, "breach_difference_low": low, "breach_difference_high": high}
        rows.append(row | {"verdict": _verdict(equal, ours, theirs, low, high)})
    return rows


def _at(panel: Panel, rule: str, way: _Way, factor: float) -> _Run | None:
    return _runs(panel, rule, way, np.asarray([factor]))[0] if np.isfinite(factor) else None


def _factor(curve: list[float], wanted_value: float) -> float:
    """Factor at which a falling curve meets a value; NaN where no factor does."""
    values = np.asarray(curve)
    with np.errstate(invalid="ignore"):
        at = np.flatnonzero(values <= wanted_value)
    if len(at) == 0 or at[0] == 0:
        return float("nan")
    right = int(at[0])
    share = (values[right - 1] - wanted_value) / (values[right - 1] - values[right])
    return float(np.exp(np.log(FACTORS[right - 1]) + share * np.log(FACTORS[right] / FACTORS[right - 1])))


def _difference(
    panel: Panel, theirs: Judged, ours: Judged, shared: NDArray[np.bool_], seed: int
) -> tuple[float, float]:
    """Interval of their breach rate less ours on the triggers of both, by blocks of dates."""
    sums: list[Mapping[tuple[int, int], bool]] = []
    for judged in (theirs, ours):
        kept = shared[judged.day, judged.market]
        keys = zip(judged.day[kept].tolist(), judged.market[kept].tolist(), strict=True)
        sums.append(dict(zip(keys, judged.is_late[kept].tolist(), strict=True)))
    both = sorted(sums[0].keys() & sums[1].keys())
    if not both:
        return (np.nan, np.nan)
    dates = panel.dates[np.asarray([day for day, _ in both])]
    differences = [float(sums[0][key]) - float(sums[1][key]) for key in both]
    return coverage.date_block_interval(dates, differences, block_days=BLOCK_DAYS, level=LEVEL, draws=DRAWS, seed=seed)


def _verdict(equal: str, ours: dict[str, float], theirs: dict[str, float], low: float, high: float) -> str:
    if equal == "mean_threshold":
        if low > 0:
            return "champion breaches less"
        return "champion breaches more" if high < 0 else "no difference beyond chance"
    gap = ours["mean_threshold"] - theirs["mean_threshold"]
    if abs(gap) < SAME_THRESHOLD:
        return "same mean threshold"
    return "champion's threshold is higher" if gap > 0 else "champion's threshold is lower"
