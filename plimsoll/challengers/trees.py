"""Trees: one boosted upper quantile, its shape chosen on forward blocks of dates.

What lives here: the knobs, the training sample, the cuts between training and judged dates, the choice and the fit.
What does not: features, outcomes and quarters (``boosting``), the order of quantiles (``boosting.rearranged``).
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import cast

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Dates = NDArray[np.datetime64]


@dataclass(frozen=True)
class Candidate:
    """A shape of the trees.

    Attributes
    ----------
    leaves, minimum_leaf
        Most leaves of a tree, and fewest rows in a leaf: a leaf must be able to see its own tail.
    learning_rate
        Share of a tree's step that is taken.
    """

    leaves: int
    minimum_leaf: int
    learning_rate: float


@dataclass(frozen=True)
class BoostingSpec:
    """Knobs of the boosted quantile.

    Attributes
    ----------
    probabilities_bps
        Tail probabilities, most frequent first, at most 1,000 basis points.
    horizon_sessions
        Purge and embargo: sessions left out between the last training target and the refit, and between the two sides
        of every cut of the nested validation. No outcome may run longer.
    minimum_rows, minimum_dates
        Training rows and dates below which there is no forecast.
    minimum_exceedances
        Exceedances on forward blocks below which there is no shortfall.
    candidates, iterations
        The grid: each candidate is grown once and judged after each number of trees; 0 trees is the pooled empirical
        quantile, so that the trees must earn their place.
    blocks
        Forward blocks of the nested validation, in the later half of the training dates.
    floor_sigma
        Floor of the excursion, in sigmas, before its logarithm is taken.
    bins
        Most histogram bins of a feature.
    reference
        Market whose last excursion every market sees.
    """

    probabilities_bps: tuple[int, ...] = (500, 100, 50)
    horizon_sessions: int = 7
    minimum_rows: int = 1000
    minimum_dates: int = 250
    minimum_exceedances: int = 20
    candidates: tuple[Candidate, ...] = (Candidate(3, 1000, 0.10), Candidate(4, 500, 0.10), Candidate(8, 250, 0.05))
    iterations: tuple[int, ...] = (0, 10, 20, 40, 80)
    blocks: int = 2
    floor_sigma: float = 0.02
    bins: int = 64
    reference: str = "BTC"

    def __post_init__(self) -> None:
        """Refuse knobs without meaning; names the knob."""
        p = self.probabilities_bps
        if not p or list(p) != sorted(set(p), reverse=True) or p[0] > 1000 or p[-1] < 1:
            raise ValueError(f"probabilities_bps {p}: name each once, most frequent first, within 1 to 1000")
        if not self.candidates or list(self.iterations) != sorted(set(self.iterations)) or self.iterations[0] < 0:
            raise ValueError(f"iterations {self.iterations}: an ascending list from 0 up, and at least one candidate")
        if self.horizon_sessions < 0 or self.blocks < 1 or not self.floor_sigma > 0:
            raise ValueError("horizon_sessions may not be negative, blocks and floor_sigma must be positive")
        if self.minimum_dates < 2 * (self.blocks + self.horizon_sessions + 1):
            raise ValueError(f"minimum_dates {self.minimum_dates}: too few for {self.blocks} blocks and their purge")


@dataclass(frozen=True)
class Sample:
    """Rows of all markets in the order of date and symbol.

    Attributes
    ----------
    x
        Features, shape (n, k); NaN where unknown.
    y
        Residual log excursions, shape (n,).
    dates
        Target dates, shape (n,).
    """

    x: Floats
    y: Floats
    dates: Dates

    def within(self, keep: NDArray[np.bool_]) -> "Sample":
        """Take the rows where ``keep`` is true."""
        return Sample(self.x[keep], self.y[keep], self.dates[keep])


@dataclass(frozen=True)
class Fit:
    """One fitted quantile.

    Attributes
    ----------
    constant
        Pooled empirical quantile of the sample, which is the forecast where ``trees`` is None.
    trees
        The grown model, or None.
    columns
        Features it was grown on: those that vary in the sample.
    """

    constant: float
    trees: object | None
    columns: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def predict(self, x: Floats) -> Floats:
        """Quantile of the residual log excursion, one a row, each row by itself."""
        if self.trees is None or not len(x):
            return np.full(len(x), self.constant)
        with _one_thread():
            return np.asarray(self.trees.predict(x[:, self.columns]), dtype=np.float64)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Tuned:
    """A fit, the shape that was chosen for it, and what the forward blocks said.

    Attributes
    ----------
    fit, candidate, iterations
        The fit on the whole sample, its shape and its number of trees.
    score, constant_score
        Mean quantile score on the forward blocks, of the choice and of the pooled empirical quantile, in sigmas.
    exceedances, excess_ratio
        Exceedances on the forward blocks and their mean of realised over forecast; NaN where they are too few.
    """

    fit: Fit
    candidate: Candidate
    iterations: int
    score: float
    constant_score: float
    exceedances: int
    excess_ratio: float


def is_enough(sample: Sample, spec: BoostingSpec) -> bool:
    """Say whether a sample has the rows and dates that a fit needs."""
    return len(sample.y) >= spec.minimum_rows and len(np.unique(sample.dates)) >= spec.minimum_dates


def cuts(dates: Dates, spec: BoostingSpec) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Cut dates for an expanding validation in the later half: rows to train on, rows to judge behind a gap."""
    days = np.unique(dates)
    half = len(days) // 2
    edges = [half + (len(days) - half) * i // spec.blocks for i in range(spec.blocks + 1)]
    found = []
    for start, stop in pairwise(edges):
        train = dates <= days[start - 1 - spec.horizon_sessions]
        found.append((train, (dates >= days[start]) & (dates <= days[stop - 1])))
    return found


def daily_scores(judged: Sample, prediction: Floats, bps: int) -> Floats:
    """Quantile score in sigmas, mean over the markets of each date, in date order."""
    p = bps / 10_000
    beyond = np.exp(judged.y) - np.exp(prediction)
    score = np.where(beyond > 0, (1 - p) * beyond, -p * beyond)
    days, of_row = np.unique(judged.dates, return_inverse=True)
    total = np.bincount(of_row, weights=score, minlength=len(days))
    return np.asarray(total / np.bincount(of_row, minlength=len(days)), dtype=np.float64)


def tune(sample: Sample, bps: int, spec: BoostingSpec) -> Tuned:
    """Choose shape and number of trees on forward blocks, then fit them on the whole sample.

    Parameters
    ----------
    sample
        What may be learned from: enough of it, see `is_enough`.
    bps
        Tail probability.
    spec
        Grid, blocks and gap.
    """
    folds = [(sample.within(train), sample.within(judged)) for train, judged in cuts(sample.dates, spec)]
    best: tuple[float, Candidate, int, list[Floats]] | None = None
    for candidate in spec.candidates:
        staged = [_staged(train, judged.x, bps, candidate, spec) for train, judged in folds]
        for position, count in enumerate(spec.iterations):
            made = [stages[position] for stages in staged]
            daily = [daily_scores(judged, one, bps) for (_, judged), one in zip(folds, made, strict=True)]
            score = float(np.concatenate(daily).mean())
            if best is None or score < best[0]:
                best = (score, candidate, count, made)
    if best is None:
        raise ValueError("no candidate was judged; name at least one candidate and one number of iterations")
    score, candidate, count, made = best
    constants = [daily_scores(judged, np.full(len(judged.y), _constant(train.y, bps)), bps) for train, judged in folds]
    realised = np.concatenate([judged.y for _, judged in folds])
    forecast = np.concatenate(made)
    excess = np.exp((realised - forecast)[realised > forecast])
    ratio = float(excess.mean()) if len(excess) >= spec.minimum_exceedances else np.nan
    fit = _grow(sample, bps, candidate, count, spec)
    return Tuned(fit, candidate, count, score, float(np.concatenate(constants).mean()), len(excess), ratio)


def _constant(y: Floats, bps: int) -> float:
    return float(np.quantile(y, 1 - bps / 10_000))


def _grow(sample: Sample, bps: int, candidate: Candidate, count: int, spec: BoostingSpec) -> Fit:
    from sklearn.ensemble import HistGradientBoostingRegressor

    constant = _constant(sample.y, bps)
    columns = _varying(sample.x)
    if count == 0 or not len(columns):
        return Fit(constant, None)
    model = HistGradientBoostingRegressor(
        loss="quantile",
        quantile=1 - bps / 10_000,
        learning_rate=candidate.learning_rate,
        max_iter=count,
        max_leaf_nodes=candidate.leaves,
        min_samples_leaf=candidate.minimum_leaf,
        max_bins=spec.bins,
        early_stopping=False,
        random_state=0,
    )
    with _one_thread():
        model.fit(sample.x[:, columns], sample.y)
    return Fit(constant, model, columns)


def _staged(train: Sample, x: Floats, bps: int, candidate: Candidate, spec: BoostingSpec) -> list[Floats]:
    """Predictions after each number of trees of the grid; growing further does not change the trees before."""
    fit = _grow(train, bps, candidate, spec.iterations[-1], spec)
    constant = np.full(len(x), fit.constant)
    if fit.trees is None:
        return [constant for _ in spec.iterations]
    stages = [constant] if spec.iterations[0] == 0 else []
    with _one_thread():
        steps = fit.trees.staged_predict(x[:, fit.columns])  # type: ignore[attr-defined]
        for count, prediction in enumerate(steps, start=1):
            if count in spec.iterations:
                stages.append(np.array(prediction, dtype=np.float64))
    return stages


def _varying(x: Floats) -> NDArray[np.int64]:
    """Columns with at least two distinct known values; the library cannot cut the others into bins."""
    known = np.isfinite(x)
    low = np.where(known, x, np.inf).min(axis=0, initial=np.inf)
    high = np.where(known, x, -np.inf).max(axis=0, initial=-np.inf)
    return np.flatnonzero(low < high)


def frozen(x: Floats, train: Floats, group: NDArray[np.bool_]) -> Floats:
    """Set the features of a group to their medians over ``train``; NaN where nothing is known."""
    out = x.copy()
    for column in np.flatnonzero(group):
        known = train[np.isfinite(train[:, column]), column]
        out[:, column] = np.median(known) if len(known) else np.nan
    return out


def _one_thread() -> AbstractContextManager[object]:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    return cast("AbstractContextManager[object]", threadpool_limits(limits=1, user_api="openmp"))
