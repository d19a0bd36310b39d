"""Volatility: GARCH fits with a gate and a ladder, fixed-parameter filtering, and the walk-forward.

What lives here: the conditional standard deviation of one-day log returns. ``batch`` is the engine that finds the
optimum of every window, ``fitting`` the gate and the ladder below it (``targeted`` is its second rung), ``walking`` a
market's forecasts through time, ``reference`` the same windows by ``arch``, ``likelihood`` the recursion in plain
arrays. What does not: tails after a trigger (``overshoot``), what a volatility costs (``budget``).
"""

from plimsoll.volatility.fitting import fit_history
from plimsoll.volatility.likelihood import backcast, filter_variance, loglikelihood
from plimsoll.volatility.reference import Comparison, ReferenceFit, compare, reference_fit
from plimsoll.volatility.types import MODELS, VolatilityFit, VolatilitySpec
from plimsoll.volatility.walking import WalkForward, walk_forward

__all__ = [
    "MODELS",
    "Comparison",
    "ReferenceFit",
    "VolatilityFit",
    "VolatilitySpec",
    "WalkForward",
    "backcast",
    "compare",
    "filter_variance",
    "fit_history",
    "loglikelihood",
    "reference_fit",
    "walk_forward",
]
