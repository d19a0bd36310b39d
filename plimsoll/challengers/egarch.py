"""EGARCH: another volatility under the same filtered history of excursions.

What lives here: quarterly fits of EGARCH(1,1) with Student t innovations, the gate that each must pass, filtering with
fixed parameters in between, and the quantiles that follow. What does not: the volatility in use (``volatility``).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from plimsoll.challengers.histories import HISTORY, beyond
from plimsoll.challengers.panel import (
    PROBABILITIES_BPS,
    REFUSAL_COLUMNS,
    SIDES,
    Asked,
    Floats,
    Market,
    Walk,
    answers,
    asked,
    gathered,
    markets,
    refit_ends,
)
from plimsoll.volatility.likelihood import backcast

MODEL = "egarch_fhs"
WINDOW = 1500
MINIMUM = 500
NU_LOW, NU_HIGH = 2.1, 200.0
LONG_RUN_RATIO = (0.3, 3.0)
FILTER_TOLERANCE = 1e-9
_SQRT_2_OVER_PI = float(np.sqrt(2 / np.pi))


@dataclass(frozen=True)
class EgarchFit:
    """Parameters of one window on percent returns.

    Attributes
    ----------
    mu, omega, alpha, gamma, beta, nu
        Constant mean; level, size and sign effect (arch's names), persistence; degrees of freedom.
    start
        Logarithm of the variance before the first day.
    loglikelihood
        Of the window.
    refusal
        What the gate holds against the fit; empty where it passed.
    """

    mu: float
    omega: float
    alpha: float
    gamma: float
    beta: float
    nu: float
    start: float
    loglikelihood: float
    refusal: str


def filter_volatility(returns_percent: Floats, fit: EgarchFit) -> Floats:
    r"""Filter volatilities with fixed parameters.

    .. math:: \ln\sigma^2_t = \omega + \alpha(|z_{t-1}| - \sqrt{2/\pi}) + \gamma z_{t-1} + \beta\ln\sigma^2_{t-1},
              \qquad z_t = (r_t - \mu)/\sigma_t

    Parameters
    ----------
    returns_percent
        From the first day of the window on, shape (n,).
    fit
        Its parameters; the first day has no shock before it.

    Returns
    -------
    ndarray
        Percent a day, shape (n + 1,): the last is the forecast of the day after. Infinite or zero where the recursion
        leaves the range of numbers.

    Notes
    -----
    Source: Nelson 1991, in the naming and centring of arch.
    """
    sigma = np.empty(len(returns_percent) + 1)
    level = fit.omega + fit.beta * fit.start
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        sigma[0] = np.exp(0.5 * level)
        for t, r in enumerate(returns_percent):
            z = (r - fit.mu) / sigma[t]
            level = fit.omega + fit.alpha * (abs(z) - _SQRT_2_OVER_PI) + fit.gamma * z + fit.beta * level
            sigma[t + 1] = np.exp(0.5 * level)
    return sigma


def long_run_volatility(fit: EgarchFit) -> float:
    r"""Level that the volatility returns to, percent a day.

    .. math:: \exp\Big(\frac{\omega + \alpha(E|z| - \sqrt{2/\pi})}{2(1-\beta)}\Big), \qquad
              E|z| = \frac{2\sqrt{\nu-2}}{\nu-1}\,\frac{\Gamma(\frac{\nu+1}{2})}{\sqrt\pi\,\Gamma(\frac{\nu}{2})}

    Notes
    -----
    arch centres by the normal law's mean of \|z\| whatever the innovations, so the t law's mean does not drop out.
    """
    nu = fit.nu
    ratio = np.exp(special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2)) / np.sqrt(np.pi)
    mean = 2 * np.sqrt(nu - 2) / (nu - 1) * ratio
    with np.errstate(over="ignore"):
        return float(np.exp((fit.omega + fit.alpha * (mean - _SQRT_2_OVER_PI)) / (2 * (1 - fit.beta))))


def fit_egarch(returns_percent: Floats) -> EgarchFit:
    """Fit EGARCH(1,1) with Student t innovations to one window by maximum likelihood.

    Parameters
    ----------
    returns_percent
        Percent log returns, shape (n,), finite.

    Returns
    -------
    EgarchFit
        With ``refusal`` where the optimiser did not arrive, a parameter is not finite, beta is not within (-1, 1),
        degrees of freedom are not within (2.1, 200), the long-run volatility is not within [0.3, 3] of the sample's,
        or the filter of this module does not reproduce the fitted volatilities to 1e-9.

    Notes
    -----
    From two starts, arch's own and one of a fat-tailed, persistent market; the higher likelihood is kept.
    """
    from arch import arch_model

    sample = float(np.std(returns_percent))
    start = float(np.log(backcast(returns_percent - returns_percent.mean()))) if sample > 0 else 0.0
    if sample == 0:
        nothing = np.nan
        return EgarchFit(nothing, nothing, nothing, nothing, nothing, nothing, start, nothing, "all returns are equal")
    model = arch_model(returns_percent, mean="Constant", vol="EGARCH", p=1, o=1, q=1, dist="t", rescale=False)
    persistent = np.asarray([np.median(returns_percent), 0.05 * 2 * np.log(sample), 0.2, 0.0, 0.95, 4.0])
    best = None
    for values in (None, persistent):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = model.fit(disp="off", show_warning=False, starting_values=values, options={"maxiter": 500})
        if best is None or (
            (found.convergence_flag == 0, found.loglikelihood) > (best.convergence_flag == 0, best.loglikelihood)
        ):
            best = found
    assert best is not None
    mu, omega, alpha, gamma, beta, nu = (float(value) for value in best.params)
    fit = EgarchFit(mu, omega, alpha, gamma, beta, nu, start, float(best.loglikelihood), "")
    return replace(fit, refusal=_refusal(fit, returns_percent, sample, best))


def _refusal(fit: EgarchFit, returns_percent: Floats, sample: float, found: Any) -> str:
    if found.convergence_flag != 0:
        return f"the optimiser did not arrive: {found.optimization_result.message}"
    if not np.isfinite([fit.mu, fit.omega, fit.alpha, fit.gamma, fit.beta, fit.nu, fit.loglikelihood]).all():
        return "a parameter is not finite"
    if not abs(fit.beta) < 1:
        return f"beta {fit.beta:.4f} outside (-1, 1)"
    if not NU_LOW < fit.nu < NU_HIGH:
        return f"degrees of freedom {fit.nu:.2f} outside ({NU_LOW}, {NU_HIGH})"
    ratio = long_run_volatility(fit) / sample
    if not LONG_RUN_RATIO[0] <= ratio <= LONG_RUN_RATIO[1]:
        return f"long-run volatility is {ratio:.2f} times the sample's"
    own = filter_volatility(returns_percent, fit)[:-1]
    theirs = np.asarray(found.conditional_volatility, dtype=np.float64)
    apart = float(np.max(np.abs(own / theirs - 1)))
    if not apart < FILTER_TOLERANCE:
        return f"the filter departs from the fitted volatilities by {apart:.1e}: they lie on a bound of the fit"
    return ""


def walk(panel: pd.DataFrame, targets: pd.DataFrame, *, probabilities_bps: Sequence[int] = PROBABILITIES_BPS) -> Walk:
    r"""Forecast excursion quantiles from history filtered by EGARCH.

    .. math:: q_{p,t} = \sigma_t\,\hat Q_{1-p}(x_s/\sigma_s : s \le as\_of)

    Parameters
    ----------
    panel
        As `panel.excursion_panel` gives it; its ``sigma_daily`` is not used.
    targets
        ``symbol, as_of, target_date``.
    probabilities_bps
        Tail probabilities in basis points.

    Returns
    -------
    Walk
        NaN where fewer than 500 returns are known at the quarter's first session, or the gate refused the fit of the
        quarter: the reason stands in ``refusals`` and no other model steps in.

    Notes
    -----
    Parameters are those of the window of at most 1500 returns that closes with the first session of the calendar
    quarter of ``as_of``. Volatilities of all days of the window, and from there on, come from these parameters; the
    last 1000 excursions over them (at least 500) make the quantile.
    """
    split = markets(panel)
    frames, refusals = [], []
    for question in asked(split, targets):
        shape = (len(question.as_of), len(SIDES), len(probabilities_bps))
        quantile, shortfall = np.full(shape, np.nan), np.full(shape, np.nan)
        market = split.get(question.symbol)
        if market is not None:
            ends = refit_ends(market, question, "Q")
            for end in np.unique(ends[ends >= MINIMUM]):
                begin = max(0, int(end) - WINDOW)
                fit = fit_egarch(100 * market.close_log[begin : int(end)])
                if fit.refusal:
                    refusals.append((question.symbol, MODEL, market.days[int(end) - 1], "", 0, fit.refusal))
                    continue
                rows = np.flatnonzero(ends == end)
                _fill(market, question, rows, begin, fit, probabilities_bps, quantile, shortfall)
        frames.append(answers(question, MODEL, probabilities_bps, quantile, shortfall))
    return Walk(gathered(frames), pd.DataFrame(refusals, columns=list(REFUSAL_COLUMNS)))


def _fill(
    market: Market,
    question: Asked,
    rows: np.ndarray,
    begin: int,
    fit: EgarchFit,
    probabilities_bps: Sequence[int],
    quantile: Floats,
    shortfall: Floats,
) -> None:
    last = int(question.known[rows].max())
    sigma = filter_volatility(100 * market.close_log[begin:last], fit) / 100
    for s, side in enumerate(SIDES):
        with np.errstate(divide="ignore", invalid="ignore"):
            z = market.adverse[side][begin:last] / sigma[:-1]
        for row in rows:
            count = int(question.known[row]) - begin
            window = np.sort(z[max(0, count - HISTORY) : count])
            if not (np.isfinite(window).all() and np.isfinite(sigma[count]) and sigma[count] > 0):
                continue
            for k, bps in enumerate(probabilities_bps):
                q, mean = beyond(window, bps / 10_000)
                quantile[row, s, k], shortfall[row, s, k] = q * sigma[count], mean * sigma[count]
