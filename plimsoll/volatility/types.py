"""Types of the volatility package: what is asked and what one fit gives.

What lives here: frozen dataclasses and the names of models. What does not: computation.
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal

from plimsoll.volatility.batch import BatchSpec

MODELS: dict[str, BatchSpec] = {
    "garch_normal": BatchSpec("garch", "normal"),
    "garch_t": BatchSpec("garch", "student_t"),
    "garch_skew_t": BatchSpec("garch", "skew_t"),
    "gjr_normal": BatchSpec("gjr", "normal"),
    "gjr_t": BatchSpec("gjr", "student_t"),
    "gjr_skew_t": BatchSpec("gjr", "skew_t"),
}
"""Models by the name of their rung."""

Refit = Literal["daily", "weekly"]


@dataclass(frozen=True)
class VolatilitySpec:
    """How a market's volatility is estimated.

    Attributes
    ----------
    window
        Returns in the rolling window.
    minimum_own_fit
        Returns below which the market gets no fit of its own.
    minimum_any
        Returns below which nothing is said.
    ewma_lambda
        Decay of the fall-back, RiskMetrics 1996.
    long_run_years
        Look-back of the long-run volatility.
    sigma_floor_daily
        Least volatility in the budget, fraction a day.
    shrinkage_observations
        n0: a short history weighs n/(n+n0) against its peers.
    periods_per_year
        Sessions of the market's calendar a year.
    model
        First rung of the ladder, a key of ``MODELS``.
    refit
        ``daily``: parameters of each day are fitted on the window that ends there. ``weekly``: on the window
        that ends with the first bar of its ISO week.
    """

    window: int
    minimum_own_fit: int
    minimum_any: int
    ewma_lambda: float
    long_run_years: int
    sigma_floor_daily: float
    shrinkage_observations: int
    periods_per_year: float
    model: str = "garch_t"
    refit: Refit = "daily"


@dataclass(frozen=True)
class VolatilityFit:
    """Parameters of one window on percent returns, and how they came about.

    Attributes
    ----------
    window_start, fit_end
        First and last day whose return entered.
    return_count
        Returns in the window.
    rung
        The model asked for, ``garch_t_targeted``, ``garch_normal`` or ``ewma``.
    mu_percent, omega_percent2, alpha, gamma, beta
        Parameters on percent returns; ``gamma`` is the extra slope after losses, 0 without asymmetry.
    nu, lam
        Degrees of freedom and Hansen's asymmetry; None where the innovations have none.
    persistence, is_igarch, half_life_days
        alpha + gamma/2 + beta; whether it is 0.9995 or more, so that there is no long-run variance; ln 0.5 / ln
        persistence, None where is_igarch.
    loglikelihood, ljung_box_p
        Of the fit, and of its squared standardised residuals (ten lags; a label, no refusal); None on the
        EWMA rung, and the second also where squares do not vary.
    limits
        Constraints that the optimum lies on, by name, joined by commas; empty where it lies inside.
    optimum_gap, other_sigma_ratio
        Log-likelihood above the next best optimum of the same window, and that one's volatility of the next day
        over the fit's; None where one optimum alone was met, and off the first rung.
    gate_note
        Why earlier rungs were refused, or empty.
    """

    window_start: date
    fit_end: date
    return_count: int
    rung: str
    mu_percent: float
    omega_percent2: float
    alpha: float
    gamma: float
    beta: float
    nu: float | None
    lam: float | None
    persistence: float
    is_igarch: bool
    half_life_days: float | None
    loglikelihood: float | None
    ljung_box_p: float | None
    limits: str
    optimum_gap: float | None
    other_sigma_ratio: float | None
    gate_note: str
