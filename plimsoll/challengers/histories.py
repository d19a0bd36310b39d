"""Histories: quantiles of past excursions, raw or filtered by a volatility, and a Pareto tail over them.

What lives here: the champion ``garch_fhs`` and its nearest relatives ``garch_evt``, ``ewma_fhs`` and ``historical``.
What does not: how GARCH volatility comes about (``volatility``), EGARCH (``egarch``).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from plimsoll import tails
from plimsoll.challengers.panel import (
    PROBABILITIES_BPS,
    SIDES,
    Asked,
    Floats,
    Integers,
    Market,
    answers,
    asked,
    gathered,
    markets,
    needed_sigma,
    refit_ends,
)

MODELS = ("garch_fhs", "garch_evt", "ewma_fhs", "historical")
HISTORY = 1000
"""Standardised excursions behind a filtered quantile; half of it is the least."""
RAW_HISTORY = 500
"""Raw excursions behind ``historical``, none fewer."""
DECAY = 0.94
"""RiskMetrics 1996."""
EWMA_START = 30


def forecast(
    name: str, panel: pd.DataFrame, targets: pd.DataFrame, *, probabilities_bps: Sequence[int] = PROBABILITIES_BPS
) -> pd.DataFrame:
    r"""Forecast excursion quantiles and shortfalls from past excursions.

    .. math:: q_{p,t} = \sigma_t\,\hat Q_{1-p}(z_s : s \le as\_of), \qquad z_s = x_s/\sigma_s

    with x the adverse excursion. ``garch_fhs`` takes the last 1000 z of the panel's volatility (at least 500),
    ``ewma_fhs`` the same of a volatility smoothed from ``close_log`` with 0.94, ``historical`` the last 500 x
    themselves. ``garch_evt`` replaces the empirical quantile by a generalised Pareto tail over the 90 % quantile of
    the last 1000 z, fitted at the first session of each calendar month.

    Parameters
    ----------
    name
        One of ``MODELS``.
    panel
        As `panel.excursion_panel` gives it.
    targets
        ``symbol, as_of, target_date`` and, for days that the panel does not hold, ``sigma_daily``.
    probabilities_bps
        Tail probabilities in basis points.

    Returns
    -------
    DataFrame
        ``FORECAST_COLUMNS``. The shortfall is the mean of the excursions beyond the quantile (of the Pareto tail: its
        formula). NaN where history is too short, or the Pareto tail has fewer than 50 exceedances.

    Raises
    ------
    ValueError
        An unknown name, or what `panel.markets` and `panel.asked` refuse; a target without volatility where the model
        multiplies by it.

    Notes
    -----
    ``garch_fhs`` is the limit that ``breaches`` calls ``filtered_historical``, with the same interpolation. The EWMA
    starts at the mean square of the market's first 30 returns in the panel and says nothing before; days that the
    panel leaves out do not enter it. Source: Barone-Adesi, Giannopoulos and Vosper 1999; Hull and White 1998; McNeil
    and Frey 2000.
    """
    if name not in MODELS:
        raise ValueError(f"model {name!r} is unknown here; choose one of {', '.join(MODELS)}")
    split = markets(panel)
    frames = []
    for question in asked(split, targets):
        shape = (len(question.as_of), len(SIDES), len(probabilities_bps))
        quantile, shortfall = np.full(shape, np.nan), np.full(shape, np.nan)
        market = split.get(question.symbol)
        if market is not None:
            past, scale = _standard(name, market, question)
            for s, side in enumerate(SIDES):
                z = market.adverse[side] / past
                if name == "garch_evt":
                    ends = refit_ends(market, question, "M")
                    _pareto(z, ends, scale, probabilities_bps, quantile[:, s], shortfall[:, s])
                else:
                    length, least = (RAW_HISTORY, RAW_HISTORY) if name == "historical" else (HISTORY, HISTORY // 2)
                    _empirical(
                        z, question.known, scale, length, least, probabilities_bps, quantile[:, s], shortfall[:, s]
                    )
        frames.append(answers(question, name, probabilities_bps, quantile, shortfall))
    return gathered(frames)


def _standard(name: str, market: Market, question: Asked) -> tuple[Floats, Floats]:
    """Give what each past excursion is divided by, and what each target's quantile is multiplied with."""
    if name == "historical":
        return np.ones(len(market.days)), np.ones(len(question.as_of))
    if name != "ewma_fhs":
        return market.sigma, needed_sigma(question, name)
    after = ewma_sigma(market.close_log)
    before = np.concatenate([[np.nan], after])
    return before[:-1], before[question.known]


def ewma_sigma(r: Floats) -> Floats:
    r"""Volatility after each return, :math:`\sigma^2_{t+1} = 0.94\,\sigma^2_t + 0.06\,r_t^2`; NaN for the first 30.

    A volatility of zero says nothing and is NaN.
    """
    if len(r) == 0:
        return r
    start = float(np.mean(r[:EWMA_START] ** 2))
    smooth, _ = lfilter([1 - DECAY], [1, -DECAY], r**2, zi=[DECAY * start])
    sigma = np.sqrt(smooth)
    sigma[: EWMA_START - 1] = np.nan
    return np.asarray(np.where(sigma > 0, sigma, np.nan), dtype=np.float64)


def beyond(sample: Floats, p: float) -> tuple[float, float]:
    """Upper quantile of a sample by linear interpolation, and the mean of the order statistics from there on.

    Parameters
    ----------
    sample
        Sorted, finite, shape (n,), n at least 1.
    p
        Tail probability.

    Returns
    -------
    tuple
        Quantile and shortfall.
    """
    position = (1 - p) * (len(sample) - 1)
    low = int(position)
    quantile = float(sample[low])
    if position > low:
        quantile += (float(sample[low + 1]) - quantile) * (position - low)
        low += 1
    return quantile, float(np.mean(sample[low:]))


def _empirical(
    z: Floats,
    known: Integers,
    scale: Floats,
    length: int,
    least: int,
    probabilities_bps: Sequence[int],
    quantile: Floats,
    shortfall: Floats,
) -> None:
    for row, count in enumerate(known):
        window = z[max(0, int(count) - length) : int(count)]
        sample = np.sort(window[np.isfinite(window)])
        if len(sample) < least:
            continue
        for k, bps in enumerate(probabilities_bps):
            q, mean = beyond(sample, bps / 10_000)
            quantile[row, k], shortfall[row, k] = q * scale[row], mean * scale[row]


def _pareto(
    z: Floats,
    ends: Integers,
    scale: Floats,
    probabilities_bps: Sequence[int],
    quantile: Floats,
    shortfall: Floats,
) -> None:
    p = np.asarray(probabilities_bps, dtype=np.float64) / 10_000
    for end in np.unique(ends):
        fit = tails.fit_gpd(z[max(0, int(end) - HISTORY) : int(end)])
        if fit is None:
            continue
        rows = np.flatnonzero(ends == end)
        quantile[rows] = scale[rows, None] * tails.gpd_quantile(fit, p)[None, :]
        shortfall[rows] = scale[rows, None] * tails.gpd_es(fit, p)[None, :]
