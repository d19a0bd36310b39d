"""Consensus: candles of many sources become one price a day, and every fault has a name.

What lives here: ``judge`` names what is wrong with bars (rules in ``ticks``, ``columns``, ``identity``, ``spans`` and
``calendars``, over the arrays of ``panel``, ``features`` and ``peers``), ``prices`` makes one bar a day of the rest by
``vote`` with one for ``mirrors``, ``daily`` hands them to the models, ``feeds`` and ``scores`` tell how far a feed can
be trusted, ``oracle`` what its lag costs, ``inject`` and ``audit`` measure all of it. What does not: reading files,
storing, the screen of single rows (``plimsoll.candles``).
"""

from plimsoll.consensus.calendars import mirror_groups
from plimsoll.consensus.daily import market_candles
from plimsoll.consensus.feeds import SCORED_DAYS, WINDOW_DAYS, feed_days
from plimsoll.consensus.judge import Judgement, judge
from plimsoll.consensus.mirrors import mirrors_by_year, prices_by_year
from plimsoll.consensus.oracle import (
    EffectiveDeviation,
    dispersion_q95,
    effective_deviation,
    oracle_error_days,
    staleness_term,
)
from plimsoll.consensus.prices import consensus_prices
from plimsoll.consensus.scores import FeedScore, FeedState, feed_score, feed_state, quarantined
from plimsoll.consensus.vote import Vote, pair_limit, vote

__all__ = [
    "SCORED_DAYS",
    "WINDOW_DAYS",
    "EffectiveDeviation",
    "FeedScore",
    "FeedState",
    "Judgement",
    "Vote",
    "consensus_prices",
    "dispersion_q95",
    "effective_deviation",
    "feed_days",
    "feed_score",
    "feed_state",
    "judge",
    "market_candles",
    "mirror_groups",
    "mirrors_by_year",
    "oracle_error_days",
    "pair_limit",
    "prices_by_year",
    "quarantined",
    "staleness_term",
    "vote",
]
