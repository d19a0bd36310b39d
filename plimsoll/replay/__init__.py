"""Policy replay: what rules for setting thresholds would have done to a protocol and its users, day by day.

What lives here: the panel that all rules are judged on, the way from a rule's daily wish to the threshold that
governance publishes, accounts that are liquidated at it, and the comparison at equal mean threshold and at equal breach
rate. What does not: the rules' estimates (``overshoot``, ``breaches``), reading and writing (``assets``).

Everything speaks about 24 hours: daily bars show no shorter move. Debt is one unit of account against collateral, and a
short is the same loan seen from the other side, with every price inverted.
"""

from plimsoll.replay.accounts import Judged, forced_share, judge
from plimsoll.replay.comparison import Replay, replay
from plimsoll.replay.panel import Panel, mirrored, panel_of
from plimsoll.replay.path import GovernanceRules, published_path

__all__ = [
    "GovernanceRules",
    "Judged",
    "Panel",
    "Replay",
    "forced_share",
    "judge",
    "mirrored",
    "panel_of",
    "published_path",
    "replay",
]
