"""Classical challengers by name: one door to histories, EGARCH and CAViaR.

What lives here: the names, and which module answers to each. What does not: any formula.
"""

from collections.abc import Sequence

import pandas as pd

from plimsoll.challengers import histories
from plimsoll.challengers.panel import PROBABILITIES_BPS, REFUSAL_COLUMNS, Walk

MODELS = (
    "garch_fhs",
    "garch_evt",
    "ewma_fhs",
    "historical",
    "egarch_fhs",
    "caviar_sav",
    "caviar_as",
    "caviar_ig",
    "caviar_adaptive",
)
"""The champion first."""
CHAMPION = MODELS[0]


def walk(
    name: str,
    panel: pd.DataFrame,
    targets: pd.DataFrame,
    *,
    seed: int,
    probabilities_bps: Sequence[int] = PROBABILITIES_BPS,
) -> Walk:
    """Forecast by one model and say which fits were refused.

    Parameters
    ----------
    name
        One of ``MODELS``.
    panel
        As `panel.excursion_panel` gives it.
    targets
        ``symbol, as_of, target_date`` and, for days that the panel does not hold, ``sigma_daily``; any order.
    seed
        Of random starts; only CAViaR draws any.
    probabilities_bps
        Tail probabilities in basis points.

    Returns
    -------
    Walk
        A target's rows are the same to the bit whichever other targets are asked for, and depend on no row of the
        panel after its ``as_of``.

    Raises
    ------
    ValueError
        An unknown name, a panel or targets that contradict themselves, a missing volatility; names the market and day.
    """
    if name not in MODELS:
        raise ValueError(f"model {name!r} is unknown; choose one of {', '.join(MODELS)}")
    if name in histories.MODELS:
        frame = histories.forecast(name, panel, targets, probabilities_bps=probabilities_bps)
        return Walk(frame, pd.DataFrame([], columns=list(REFUSAL_COLUMNS)))
    if name == "egarch_fhs":
        from plimsoll.challengers import egarch

        return egarch.walk(panel, targets, probabilities_bps=probabilities_bps)
    from plimsoll.challengers import caviar

    return caviar.walk(name.removeprefix("caviar_"), panel, targets, seed=seed, probabilities_bps=probabilities_bps)


def forecast(
    name: str,
    panel: pd.DataFrame,
    targets: pd.DataFrame,
    *,
    seed: int,
    probabilities_bps: Sequence[int] = PROBABILITIES_BPS,
) -> pd.DataFrame:
    """Forecast as `walk` does and give the forecasts alone: ``panel.FORECAST_COLUMNS``."""
    return walk(name, panel, targets, seed=seed, probabilities_bps=probabilities_bps).forecasts
