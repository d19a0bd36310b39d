"""Volatility: GARCH fits with a gate and a ladder, fixed-parameter filtering, and the walk-forward.

What lives here: the conditional standard deviation of one-day log returns. ``likelihood`` holds the recursion
and the densities, ``fitting`` one window's fit, ``walking`` a market's forecasts through time. What does not:
tails after a trigger (``overshoot``), what a volatility costs (``budget``).
"""

from plimsoll.volatility.fitting import AsOfDiagnostics, as_of_diagnostics, fit_window
from plimsoll.volatility.likelihood import backcast, filter_variance, loglikelihood
from plimsoll.volatility.types import VolatilityFit, VolatilitySpec
from plimsoll.volatility.walking import WalkForward, walk_forward

__all__ = [
    "AsOfDiagnostics",
    "VolatilityFit",
    "VolatilitySpec",
    "WalkForward",
    "as_of_diagnostics",
    "backcast",
    "filter_variance",
    "fit_window",
    "loglikelihood",
    "walk_forward",
]
