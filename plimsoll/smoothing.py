"""Smoothing: rules that keep a budget from following volatility down in calm and up in a crash.

What lives here: the long-run floor, the blend with stressed volatility and the exhaustible buffer, each on a daily
series of one market, product and side, always beside the raw series. What does not: measures of the swings that are
left (``procyclicality``), the long-run volatility itself (``volatility``), steps that governance allows (``replay``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]
Budget = Callable[[Floats], Floats]
"""Log loss budget of every day at a volatility of every day, row by row, shape (n,) to (n,)."""

Rule = Literal["none", "floor", "blend", "buffer"]
RULES: tuple[Rule, ...] = ("none", "floor", "blend", "buffer")


@dataclass(frozen=True)
class SmoothingSpec:
    """Which rule, and its knobs.

    Attributes
    ----------
    rule
        ``none``, ``floor``, ``blend`` or ``buffer``.
    stress_weight
        Weight of the stressed budget (blend).
    stress_quantile
        Quantile of the market's own volatilities that counts as stress (blend).
    buffer_share
        Buffer in calm, as a share of the budget (buffer).
    replenish_days
        Rows over which an empty buffer fills again (buffer).
    minimum_history
        Volatilities known before a quantile of them is stated.
    """

    rule: Rule = "floor"
    stress_weight: float = 0.25
    stress_quantile: float = 0.99
    buffer_share: float = 0.25
    replenish_days: int = 60
    minimum_history: int = 250

    def __post_init__(self) -> None:
        """Refuse what is no rule.

        Raises
        ------
        ValueError
            Names the knob.
        """
        if self.rule not in RULES:
            raise ValueError(f"rule {self.rule!r}: say one of {', '.join(RULES)}")
        for name in ("stress_weight", "stress_quantile"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name):g}: between 0 and 1")
        if not self.buffer_share >= 0:
            raise ValueError(f"buffer_share {self.buffer_share:g}: not negative")
        for name in ("replenish_days", "minimum_history"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: at least 1")


@dataclass(frozen=True)
class Smoothed:
    """A budget before and after a rule.

    Attributes
    ----------
    rule
        The rule.
    raw, smoothed
        Log loss budgets, shape (n,); ``smoothed`` is NaN where ``raw`` or the rule's reference is.
    reference_sigma
        What the rule compared volatility with: the floor, the stressed volatility or the median; NaN without a rule or
        where not enough history is known.
    """

    rule: Rule
    raw: Floats
    smoothed: Floats
    reference_sigma: Floats

    @property
    def is_below_raw(self) -> Booleans:
        """Days on which the rule asks for less than the raw budget; only a blend can, see `smooth`."""
        return np.asarray(self.smoothed < self.raw, dtype=np.bool_)


def past_quantile(sigma: ArrayLike, level: float, *, minimum: int) -> Floats:
    """Quantile of the volatilities known on each day, that day's own forecast included.

    A forecast is made at the close of its ``as_of``, so its own row knows it; no later row enters.

    Parameters
    ----------
    sigma
        Daily volatilities in the order of days, shape (n,); NaN rows are left out.
    level
        Between 0 and 1; linear between order statistics.
    minimum
        Known values below which it is NaN.
    """
    values = pd.Series(np.asarray(sigma, dtype=np.float64))
    return values.expanding(min_periods=minimum).quantile(level).to_numpy(np.float64)


def floored(sigma: ArrayLike, *floors: ArrayLike) -> Floats:
    r"""Volatility not below its floors, :math:`\max(\sigma_t, \sigma_{LR}, \ldots)`; NaN where one is unknown."""
    out = np.asarray(sigma, dtype=np.float64)
    for floor in floors:
        out = np.maximum(out, np.asarray(floor, dtype=np.float64))
    return out


def blend(raw: ArrayLike, stressed: ArrayLike, weight: float) -> Floats:
    r"""Weigh the present and the stressed budget, :math:`(1-w)\,\Lambda(\sigma_t) + w\,\Lambda(\sigma_{stress})`."""
    return np.asarray((1 - weight) * np.asarray(raw, float) + weight * np.asarray(stressed, float), dtype=np.float64)


def exhaustible_buffer(total: ArrayLike, is_calm: ArrayLike, *, share: float, replenish_days: int) -> Floats:
    r"""Budget with a buffer that is built in calm, drawn as the budget rises and filled again slowly.

    .. math::

        \Lambda^{pub}_t = (1+s_t)\,\Lambda_t, \qquad
        s_t = \min\Big(s_{t-1} + \frac{B}{R},\ B,\ \bar s_t\Big)^+, \qquad
        \bar s_t = \begin{cases} B & \text{in calm}\\ (1+B)\Lambda_{calm}/\Lambda_t - 1 & \text{otherwise}\end{cases}

    with :math:`\Lambda_{calm}` the raw budget of the last calm day. A full buffer meets a rise with
    :math:`\max(\Lambda_t, (1+B)\Lambda_{calm})`; what was drawn comes back at :math:`B/R` a day at most.

    Parameters
    ----------
    total
        Raw log loss budgets from the market's first day on, shape (n,), positive; NaN days give NaN and leave the
        buffer as it is.
    is_calm
        True on calm days, shape (n,).
    share
        B.
    replenish_days
        R.

    Returns
    -------
    ndarray
        At least ``total`` and at most (1 + B) times it. Before the first calm day nothing has been built and it is
        ``total``; on that day the buffer is full.

    Raises
    ------
    ValueError
        Where a budget is not positive, or the shapes differ.

    Notes
    -----
    The state runs through the whole series: a day depends on every earlier one and on no later one, so that it must be
    fed from the beginning. Source: Regulation (EU) 153/2013, Art. 28(1)(a).
    """
    budget, calm = np.asarray(total, dtype=np.float64), np.asarray(is_calm, dtype=np.bool_)
    if budget.shape != calm.shape:
        raise ValueError(f"{budget.shape} budgets but {calm.shape} calm flags; give one of each a day")
    _positive(budget)
    out = np.full(len(budget), np.nan)
    held, last_calm = 0.0, np.nan
    for t in np.flatnonzero(np.isfinite(budget)):
        now = budget[t]
        if calm[t]:
            held = min(held + share / replenish_days, share) if np.isfinite(last_calm) else share
            last_calm = now
        elif np.isfinite(last_calm):
            held = max(0.0, min(held + share / replenish_days, share, (1 + share) * (last_calm / now) - 1))
        out[t] = (1 + held) * now
    return out


def smooth(sigma: ArrayLike, budget: Budget, spec: SmoothingSpec, *, long_run: ArrayLike | None = None) -> Smoothed:
    r"""Apply one rule to the budget of one market, product and side.

    .. math::

        \text{floor: } \Lambda(\max(\sigma_t, \sigma_{LR})), \qquad
        \text{blend: } (1-w)\,\Lambda(\sigma_t) + w\,\Lambda(\sigma_{stress}), \qquad
        \text{buffer: see } \texttt{exhaustible\_buffer}

    Parameters
    ----------
    sigma
        Raw volatility forecasts from the market's first day on, fraction a day, shape (n,); NaN where there is none.
    budget
        Log loss budget of each day at a given volatility, everything else of that day fixed. It must not decrease in
        volatility, row by row.
    spec
        Rule and knobs.
    long_run
        Long-run volatility as known on each day; needed by ``floor``, unused otherwise.

    Returns
    -------
    Smoothed
        Both series. ``floor`` and ``buffer`` never ask for less than the raw budget. ``blend`` does on the days whose
        volatility lies above its own stress quantile (about one in a hundred): a weighted mean cannot exceed the larger
        of its two sides. Until ``minimum_history`` volatilities are known, blend and buffer are NaN.

    Raises
    ------
    ValueError
        Where a volatility is negative, the floor has no long-run volatility, or a budget is not positive under a
        buffer.

    Notes
    -----
    Calm is a volatility not above its median so far. Source: Regulation (EU) 153/2013, Art. 28(1)(a) to (c);
    Murphy, Vasios and Vause 2014.
    """
    values = np.asarray(sigma, dtype=np.float64)
    if (values < 0).any():
        raise ValueError(f"row {int(np.argmax(values < 0))}: volatility {np.nanmin(values):g} is negative")
    raw = _evaluated(budget, values)
    if spec.rule == "none":
        return Smoothed(spec.rule, raw, raw.copy(), np.full(len(values), np.nan))
    if spec.rule == "floor":
        if long_run is None:
            raise ValueError("rule 'floor' needs long_run: the long-run volatility as known on each day")
        floor = np.broadcast_to(np.asarray(long_run, dtype=np.float64), values.shape)
        return Smoothed(spec.rule, raw, _evaluated(budget, floored(values, floor)), floor.copy())
    if spec.rule == "blend":
        stress = past_quantile(values, spec.stress_quantile, minimum=spec.minimum_history)
        return Smoothed(spec.rule, raw, blend(raw, _evaluated(budget, stress), spec.stress_weight), stress)
    median = past_quantile(values, 0.5, minimum=spec.minimum_history)
    known = np.where(np.isfinite(median) & np.isfinite(values), raw, np.nan)
    out = exhaustible_buffer(known, values <= median, share=spec.buffer_share, replenish_days=spec.replenish_days)
    return Smoothed(spec.rule, raw, out, median)


def _evaluated(budget: Budget, sigma: Floats) -> Floats:
    out = np.asarray(budget(sigma), dtype=np.float64)
    if out.shape != sigma.shape:
        raise ValueError(f"the budget gave shape {out.shape} for {sigma.shape} volatilities; it must work row by row")
    return out


def _positive(budget: Floats) -> None:
    bad = budget <= 0
    if bad.any():
        at = int(np.argmax(bad))
        raise ValueError(f"row {at}: budget {budget[at]:g} is not positive; a buffer is a share of it")
