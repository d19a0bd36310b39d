"""Types of the volatility package: what is asked and what one fit gives.

What lives here: frozen dataclasses. What does not: computation.
"""

from dataclasses import dataclass
from datetime import date


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
    """

    window: int
    minimum_own_fit: int
    minimum_any: int
    ewma_lambda: float
    long_run_years: int
    sigma_floor_daily: float
    shrinkage_observations: int
    periods_per_year: float


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
        ``garch_t``, ``garch_t_targeted``, ``garch_normal`` or ``ewma``.
    mu_percent, omega_percent2, alpha, beta, nu
        Parameters on percent returns; ``nu`` None under normal innovations.
    persistence, is_igarch, half_life_days
        alpha + beta; whether it is 0.9995 or more, so that there is no long-run variance; ln 0.5 / ln
        persistence, None where is_igarch.
    loglikelihood, ljung_box_p
        Of the fit, and of its squared standardised residuals (ten lags; a label, no refusal); None on the
        EWMA rung, and the second also where squares do not vary.
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
    beta: float
    nu: float | None
    persistence: float
    is_igarch: bool
    half_life_days: float | None
    loglikelihood: float | None
    ljung_box_p: float | None
    gate_note: str
