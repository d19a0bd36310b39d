"""Consensus: candles of many sources become one price a day, and every fault has a name.

What lives here: ``judge`` names what is wrong with bars (rules in ``ticks``, ``columns``, ``identity``, ``spans`` and
``calendars``, over the arrays of ``panel``, ``features`` and ``peers``), ``prices`` makes one bar a day of the rest by
``vote``, ``scores`` tells how far a feed can be trusted, ``oracle`` what its lag costs, ``inject`` and ``audit``
measure all of it. What does not: reading files, storing, the screen of single rows (``plimsoll.candles``).
"""

from plimsoll.consensus.calendars import mirror_groups
from plimsoll.consensus.judge import Judgement, judge
from plimsoll.consensus.oracle import EffectiveDeviation, dispersion_q95, effective_deviation, latency_worth_bp
from plimsoll.consensus.prices import consensus_prices
from plimsoll.consensus.scores import FeedScore, FeedState, feed_score, feed_state, quarantined
from plimsoll.consensus.vote import Vote, pair_limit, vote

__all__ = [
    "EffectiveDeviation",
    "FeedScore",
    "FeedState",
    "Judgement",
    "Vote",
    "consensus_prices",
    "dispersion_q95",
    "effective_deviation",
    "feed_score",
    "feed_state",
    "judge",
    "latency_worth_bp",
    "mirror_groups",
    "pair_limit",
    "quarantined",
    "vote",
]
