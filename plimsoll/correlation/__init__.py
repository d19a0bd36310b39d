"""Correlation: how markets move together on all days, now, on bad days and in the tails.

What lives here: measures on standardised residuals: constant, exponentially weighted, dynamic and shrunk correlations
(``constant``, ``dynamic``), the lead market's worst days, tail dependence (``tails``), all of them for one day
(``estimate``). What does not: volatility (``volatility``), thresholds: no diversification is credited in any of them.
"""

from plimsoll.correlation.constant import ccc, ewma, ewma_covariance, ledoit_wolf, ledoit_wolf_covariance, stress
from plimsoll.correlation.dynamic import DccFit, fit_full, fit_pairs, forecast
from plimsoll.correlation.estimate import (
    POOLED,
    Correlations,
    adverse_excursion,
    correlations,
    lead_market,
    long_rows,
    standardised_residuals,
)
from plimsoll.correlation.tails import TCopula, tail_dependence_empirical, tail_dependence_t
from plimsoll.correlation.types import CorrelationSpec, Matrix, Panel, panel_of, positive_semidefinite

__all__ = [
    "POOLED",
    "CorrelationSpec",
    "Correlations",
    "DccFit",
    "Matrix",
    "Panel",
    "TCopula",
    "adverse_excursion",
    "ccc",
    "correlations",
    "ewma",
    "ewma_covariance",
    "fit_full",
    "fit_pairs",
    "forecast",
    "lead_market",
    "ledoit_wolf",
    "ledoit_wolf_covariance",
    "long_rows",
    "panel_of",
    "positive_semidefinite",
    "standardised_residuals",
    "stress",
    "tail_dependence_empirical",
    "tail_dependence_t",
]
