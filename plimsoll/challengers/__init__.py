"""Challengers: other models of the daily adverse excursion's quantile, to be judged against the one in use.

What lives here: the panel of excursions, histories and filtered histories, EGARCH, CAViaR, and learners over features,
each giving a quantile and a shortfall a market, side and probability from data up to the session before. What does
not: the volatility in use (``volatility``), scores and the comparison of models (``backtests``), who is promoted.
"""
