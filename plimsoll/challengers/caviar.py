r"""CAViaR: the quantile of the adverse excursion as a recursion of its own, without a volatility.

What lives here: fits of the four forms, the gate that each must pass, and the walk through time. What does not: the
compiled recursions (``caviar_kernels``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import floor, inf

import numpy as np
import pandas as pd

from plimsoll.challengers import caviar_kernels as kernels
from plimsoll.challengers.panel import (
    PROBABILITIES_BPS,
    REFUSAL_COLUMNS,
    SIDES,
    Asked,
    Floats,
    Integers,
    Market,
    Walk,
    answers,
    asked,
    gathered,
    markets,
    refit_ends,
)

FORMS = {"sav": kernels.SAV, "as": kernels.AS, "ig": kernels.IG, "adaptive": kernels.ADAPTIVE}
MODELS = tuple(f"caviar_{form}" for form in FORMS)
PARAMETERS = {"sav": 3, "as": 4, "ig": 3, "adaptive": 1}
WINDOW = 1500
MINIMUM = 500
START_LENGTH = 300
"""Observations behind the quantile of the first day."""
STARTS, POLISHED = 800, 8
TOLERANCE, STEPS, REPEATS = 1e-9, 400, 8
EXCEEDANCES = 10
"""Fewest exceedances behind a shortfall's ratio, of the market alone or else of all."""


@dataclass(frozen=True)
class CaviarFit:
    """One form's parameters for one window.

    Attributes
    ----------
    form, p
        Key of ``FORMS`` and tail probability.
    parameters
        Beta 1 and on, in the unit of y.
    start
        Quantile of the first day, a positive loss.
    objective
        RQ at the optimum; infinite where no start gave a finite one.
    observations, exceedances
        Of the window, and those beyond the fitted quantile.
    refusal
        What the gate holds against the fit; empty where it passed.
    """

    form: str
    p: float
    parameters: tuple[float, ...]
    start: float
    objective: float
    observations: int
    exceedances: int
    refusal: str


def first_quantile(y: Floats, p: float) -> float:
    """Give the loss quantile of the first 300 observations: order statistic p n, rounded half up, not below 1."""
    head = np.sort(y[:START_LENGTH])
    return -float(head[max(1, floor(p * len(head) + 0.5)) - 1])


def fit_caviar(
    y: Floats,
    p: float,
    form: str,
    seed: int,
    *,
    good: Floats | None = None,
    starts: int = STARTS,
    polished: int = POLISHED,
) -> CaviarFit:
    r"""Fit one form by least tick loss.

    .. math:: \min_\beta \sum_t (\theta - 1\{y_t < -v_t(\beta)\})(y_t + v_t(\beta))

    Parameters
    ----------
    y
        Returns, losses negative, shape (n,), finite. An adverse excursion enters with its sign changed.
    p
        Probability of a loss beyond v.
    form
        Key of ``FORMS``.
    seed
        Of the random starts.
    good
        Good news of the asymmetric form, shape (n,); the positive part of y by default.
    starts, polished
        Random starts that are evaluated, and the best of them that are followed down.

    Returns
    -------
    CaviarFit
        With ``refusal`` where the sample's quantile is no loss, no start has a finite objective, or the fitted
        quantile is not positive on every day of the window.

    Raises
    ------
    ValueError
        Unknown form, p outside (0, 1/2), values that are not finite, fewer than 300 observations.

    Notes
    -----
    Admissible are beta 2 within [0, 1) and no fall of the quantile after bad news (beta 3, of AS beta 4, not negative;
    of the adaptive form beta 1 positive). Starts share out the level: beta 2 is drawn near one, and of what it leaves a
    drawn part goes to the news, so that the long-run value is the sample's quantile. Values are divided by their mean
    size before the search, so SAV, AS and IG are scale-equivariant: c y gives c v. The adaptive form is not, as its
    steepness is a constant per unit of y; the paper's unit is percent, and its starts lie in (0, 1) as there. The
    objective has many local optima, that of the adaptive form more and lower ones at steps above 1, where each hit
    moves the quantile by more than days of quiet take back. Source: Engle and Manganelli 2004.
    """
    y, good = _checked(y, good, p, form)
    level = -float(np.quantile(y, p))
    if not level > 0:
        reason = f"the sample's own quantile is {level:.4g}, not positive"
        return CaviarFit(form, p, (), first_quantile(y, p), inf, len(y), 0, reason)
    unit = float(np.mean(np.abs(y))) if form != "adaptive" else 1.0
    scaled, fair = y / unit, good / unit
    code, size = FORMS[form], PARAMETERS[form]
    start = first_quantile(scaled, p)
    points = _starts(scaled, fair, p, form, np.random.default_rng(seed), starts)
    values = np.empty(len(points))
    kernels.screen(code, points, scaled, fair, p, start, values)
    reached, best = inf, np.full(4, np.nan)
    for row in np.argsort(values, kind="stable")[:polished]:
        point = points[row].copy()
        value = kernels.polish(code, size, point, scaled, fair, p, start, TOLERANCE, STEPS, REPEATS)
        if value < reached:
            reached, best = value, point
    unscale = {"sav": (unit, 1, 1), "as": (unit, 1, 1, 1), "ig": (unit**2, 1, 1), "adaptive": (1,)}[form]
    parameters = tuple(float(b) * by for b, by in zip(best, unscale, strict=False))
    fit = CaviarFit(form, p, parameters, start * unit, reached * unit, len(y), 0, "")
    return _gated(fit, y, good)


def _checked(y: Floats, good: Floats | None, p: float, form: str) -> tuple[Floats, Floats]:
    if form not in FORMS:
        raise ValueError(f"form {form!r} is unknown; choose one of {', '.join(FORMS)}")
    if not 0 < p < 0.5:
        raise ValueError(f"p is {p}; need a tail probability between 0 and 1/2")
    y = np.ascontiguousarray(y, dtype=np.float64)
    good = np.maximum(y, 0.0) if good is None else np.ascontiguousarray(good, dtype=np.float64)
    if len(y) < START_LENGTH or len(good) != len(y):
        raise ValueError(f"{len(y)} observations, {len(good)} of good news; need {START_LENGTH} and as many of both")
    bad = np.flatnonzero(~(np.isfinite(y) & np.isfinite(good)))
    if len(bad):
        raise ValueError(f"observation {int(bad[0])} is not finite; leave the day out of the panel")
    return y, good


def _starts(y: Floats, good: Floats, p: float, form: str, rng: np.random.Generator, count: int) -> Floats:
    """Draw starts whose long-run quantile is the sample's."""
    draw = rng.random((count, 4))
    level = -float(np.quantile(y, p))
    points = np.zeros((count, 4))
    if form == "adaptive":
        points[:, 0] = draw[:, 0]
        return points
    points[:, 1] = 1 - draw[:, 0] ** 2
    left, part = 1 - points[:, 1], 1.2 * draw[:, 1]
    if form == "ig":
        points[:, 0] = level**2 * left * (1 - part)
        points[:, 2] = level**2 * left * part / float(np.mean(y**2))
        return points
    points[:, 0] = level * left * (1 - part)
    if form == "sav":
        points[:, 2] = level * left * part / float(np.mean(np.abs(y)))
        return points
    share = 1.3 * draw[:, 2] - 0.3
    up, down = float(np.mean(good)), float(np.mean(np.maximum(-y, 0.0)))
    points[:, 2] = level * left * part * share / up if up > 0 else 0.0
    points[:, 3] = level * left * part * (1 - share) / down if down > 0 else 0.0
    return points


def quantile_path(fit: CaviarFit, y: Floats, good: Floats | None = None) -> Floats:
    """Filter the quantile with fixed parameters from the first day of the window on.

    Parameters
    ----------
    fit
        Of the window that begins where y begins.
    y, good
        As in `fit_caviar`, and beyond the window, shape (n,).

    Returns
    -------
    ndarray
        Positive losses, shape (n + 1,): the last is the forecast of the day after.
    """
    fair = np.maximum(y, 0.0) if good is None else good
    b = np.zeros(4)
    b[: len(fit.parameters)] = fit.parameters
    out = np.empty(len(y) + 1)
    kernels.path(FORMS[fit.form], b, y, fair, fit.p, fit.start, out)
    return out


def _gated(fit: CaviarFit, y: Floats, good: Floats) -> CaviarFit:
    if not np.isfinite(fit.objective) or not np.isfinite(fit.parameters).all():
        return replace(fit, refusal="no start gave a finite objective")
    v = quantile_path(fit, y, good)[:-1]
    refusal = ""
    if not (np.isfinite(v).all() and v.min() > 0):
        refusal = f"the fitted quantile is {v.min():.4g} at observation {int(np.argmin(v))}, not positive"
    return replace(fit, exceedances=int(np.sum(y < -v)), refusal=refusal)


@dataclass(frozen=True)
class _Path:
    """One market, side and probability from the beginning of a window on: quantiles and what exceeded them."""

    begin: int
    v: Floats
    at: Integers
    ratio: Floats


class _Quarters:
    """Fits by market, side, probability and window, each made once and only when asked for."""

    def __init__(self, form: str, split: dict[str, Market], seed: int) -> None:
        self.form, self.split, self.seed = form, split, seed
        self.refusals: dict[tuple[str, str, int, int], tuple[np.datetime64, str]] = {}
        self._made: dict[tuple[str, str, int, int], _Path | None] = {}

    def path(self, symbol: str, side: str, bps: int, end: int) -> _Path | None:
        """Give the path of the window that ends before row ``end``; None where it is too short or refused."""
        key = (symbol, side, bps, end)
        if key not in self._made:
            self._made[key] = self._make(*key) if end >= MINIMUM else None
        return self._made[key]

    def note(self, symbol: str, side: str, bps: int, end: int, quantile: float) -> None:
        """State why a quarter's fit that passed the gate gives no quantile on a day."""
        if self._made[(symbol, side, bps, end)] is not None:
            reason = f"with fixed parameters the quantile came to {quantile:.4g}, not positive and finite"
            self.refusals[(symbol, side, bps, end)] = (self.split[symbol].days[end - 1], reason)

    def _make(self, symbol: str, side: str, bps: int, end: int) -> _Path | None:
        market = self.split[symbol]
        begin = max(0, end - WINDOW)
        excursion = market.adverse[side]
        opposite = market.adverse["short" if side == "long" else "long"]
        # In percent, the unit in which the adaptive form's steepness is stated.
        y, good = -100 * excursion, np.maximum(100 * opposite, 0.0)
        fit = fit_caviar(y[begin:end], bps / 10_000, self.form, self.seed, good=good[begin:end])
        if fit.refusal:
            self.refusals[(symbol, side, bps, end)] = (market.days[end - 1], fit.refusal)
            return None
        following = np.searchsorted(market.days, _quarter_end(market.days[end - 1]), side="left")
        last = max(end, int(following))
        v = quantile_path(fit, y[begin:last], good[begin:last]) / 100
        at = np.flatnonzero(excursion[begin:last] > v[:-1])
        return _Path(begin, v, at, excursion[begin:last][at] / v[at])


def _quarter_end(day: np.datetime64) -> np.datetime64:
    return np.datetime64((pd.Timestamp(day).to_period("Q") + 1).to_timestamp(), "ns")


def walk(
    form: str,
    panel: pd.DataFrame,
    targets: pd.DataFrame,
    *,
    seed: int,
    probabilities_bps: Sequence[int] = PROBABILITIES_BPS,
) -> Walk:
    r"""Forecast excursion quantiles by one form, fitted at the first session of each calendar quarter.

    .. math:: ES_{p,t} = q_{p,t}\;\overline{x_s / q_{p,s}} \quad \text{over past days with } x_s > q_{p,s}

    Parameters
    ----------
    form
        Key of ``FORMS``.
    panel
        As `panel.excursion_panel` gives it; its ``sigma_daily`` and ``close_log`` are not used.
    targets
        ``symbol, as_of, target_date``.
    seed
        Of the random starts of every fit.
    probabilities_bps
        Tail probabilities in basis points.

    Returns
    -------
    Walk
        The quantile is NaN where fewer than 500 excursions are known at the quarter's first session, the gate refused
        the quarter's fit, or the filtered quantile is not positive. The shortfall is NaN with it, and where fewer than
        ten exceedances are known, pooled over markets.

    Notes
    -----
    One fit a market, side and probability on at most 1500 excursions, :math:`y = -100x`, that close with the first
    session of the quarter of ``as_of``; the quantile is filtered with its parameters from the window's beginning to
    ``as_of``. The ratio's exceedances are those of that path before the target; where a market has fewer than ten,
    those of all markets of the panel for the same side and probability, each from its own window's beginning.
    Good news of the asymmetric form is the excursion to the other side: the adverse one is hardly ever negative, so
    the positive part of y is nothing but zeros. Quantiles of different probabilities are fitted apart and may cross.
    """
    if form not in FORMS:
        raise ValueError(f"form {form!r} is unknown; choose one of {', '.join(FORMS)}")
    model = f"caviar_{form}"
    split = markets(panel)
    quarters = _Quarters(form, split, seed)
    frames = []
    for question in asked(split, targets):
        shape = (len(question.as_of), len(SIDES), len(probabilities_bps))
        quantile, shortfall = np.full(shape, np.nan), np.full(shape, np.nan)
        if question.symbol in split:
            everyone = {symbol: _known(market, question) for symbol, market in split.items()}
            for s, side in enumerate(SIDES):
                for k, bps in enumerate(probabilities_bps):
                    for row in range(len(question.as_of)):
                        q, mean = _one(quarters, question.symbol, everyone, row, side, bps)
                        quantile[row, s, k], shortfall[row, s, k] = q, q * mean
        frames.append(answers(question, model, probabilities_bps, quantile, shortfall))
    refusals = [
        (symbol, model, day, side, bps, reason)
        for (symbol, side, bps, _), (day, reason) in sorted(quarters.refusals.items())
    ]
    return Walk(gathered(frames), pd.DataFrame(refusals, columns=list(REFUSAL_COLUMNS)))


def _known(market: Market, question: Asked) -> tuple[Integers, Integers]:
    """Rows of a market known at each target, and the end of the window whose fit is in force."""
    known = np.searchsorted(market.days, question.as_of, side="right").astype(np.int64)
    mine = Asked(market.symbol, question.as_of, question.target_date, question.sigma, known)
    return known, refit_ends(market, mine, "Q")


def _one(
    quarters: _Quarters,
    symbol: str,
    everyone: dict[str, tuple[Integers, Integers]],
    row: int,
    side: str,
    bps: int,
) -> tuple[float, float]:
    """Quantile of one target, and the mean ratio by which exceedances exceeded it."""

    def past(name: str) -> tuple[float, Floats]:
        known, ends = everyone[name]
        path = quarters.path(name, side, bps, int(ends[row]))
        if path is None:
            return np.nan, np.empty(0)
        count = int(known[row]) - path.begin
        return float(path.v[count]), path.ratio[: int(np.searchsorted(path.at, count, side="left"))]

    q, ratio = past(symbol)
    if not (np.isfinite(q) and q > 0):
        quarters.note(symbol, side, bps, int(everyone[symbol][1][row]), q)
        return np.nan, np.nan
    if len(ratio) < EXCEEDANCES:
        ratio = np.concatenate([past(name)[1] for name in everyone])
    return q, float(np.mean(ratio)) if len(ratio) >= EXCEEDANCES else np.nan
