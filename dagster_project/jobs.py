"""Jobs: occasions on which stages run, named by the occasion.

What lives here: selections of assets. What does not: when they run (``schedules``), what they do (``assets``).
"""

from typing import Any

import dagster as dg

NIGHTLY = "nightly"


def nightly_job() -> Any:
    """Return the whole line for one day: candles to mail file, with every check on the way."""
    return dg.define_asset_job(
        NIGHTLY,
        selection=dg.AssetSelection.all(),
        description="One day from candles to the mail file: data, volatility, overshoot, thresholds, backtest, "
        "report, mail.",
    )
