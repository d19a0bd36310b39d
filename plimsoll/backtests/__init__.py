"""Backtests: the tests of published limits beyond coverage, their power, and monitoring that may be read every day.

What lives here: one noun a module - ``durations``, ``quantiles`` (dynamic quantile), ``shortfall``, ``scores``,
``betting`` (e-processes), ``multiplicity``, ``clusters``, ``nulls`` (simulated laws of the tests), ``battery`` (all
of them with power beside each verdict). What does not: proportion of failures, first-order independence and zones
(``plimsoll.coverage``), breach facts (``plimsoll.breaches``), their table (``plimsoll.backtest``).
"""
