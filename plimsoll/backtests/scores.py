"""Scores: how good forecasts of a quantile and of an expected shortfall were, and which of two was better.

What lives here: consistent scoring functions, the comparison of two, and the set of models that none beats. What does
not: tests of one forecast by itself (``shortfall``, ``quantiles``).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from arch.bootstrap import MCS
from numpy.typing import ArrayLike
from scipy import stats

from plimsoll.backtests.outcomes import Floats, Outcome, as_series, check_rate, not_applicable

DIEBOLD_MARIANO = "Diebold-Mariano"
LEAST_DAYS = 100
"""Days of scores below which blocks say nothing."""


def quantile_score(returns: ArrayLike, quantile_return: ArrayLike, p: float) -> Floats:
    r"""Score a quantile, :math:`(p - 1\{r<q\})(r-q) \ge 0`; smaller is better.

    Parameters
    ----------
    returns, quantile_return
        Signed, same unit, shape (n,).
    p
        Probability of a return below q.
    """
    check_rate(p)
    r = as_series("returns", returns)
    q = as_series("quantile_return", quantile_return, len(r))
    return np.asarray((p - (r < q)) * (r - q), dtype=np.float64)


def fz0(returns: ArrayLike, quantile_return: ArrayLike, es_return: ArrayLike, p: float) -> Floats:
    r"""Score quantile and expected shortfall jointly; smaller is better.

    .. math:: -\frac{1\{r\le v\}(v-r)}{p\,e} + \frac{v}{e} + \ln(-e) - 1, \qquad e \le v < 0

    Parameters
    ----------
    returns, quantile_return, es_return
        Signed: both forecasts are negative.

    Raises
    ------
    ValueError
        Where a forecast is not negative, or the shortfall lies above the quantile; names the row.

    Notes
    -----
    Source: Fissler and Ziegel 2016; Patton, Ziegel and Chen 2019.
    """
    check_rate(p)
    r = as_series("returns", returns)
    v = as_series("quantile_return", quantile_return, len(r))
    e = as_series("es_return", es_return, len(r))
    bad = np.flatnonzero((v >= 0) | (e > v))
    if len(bad):
        row = int(bad[0])
        raise ValueError(f"row {row}: quantile {v[row]}, shortfall {e[row]}; need shortfall <= quantile < 0")
    return np.asarray(-np.where(r <= v, v - r, 0.0) / (p * e) + v / e + np.log(-e) - 1, dtype=np.float64)


def diebold_mariano(differences: ArrayLike, *, lags: int = 0, is_small_sample: bool = True) -> Outcome:
    r"""Test that two models score alike on average; two-sided.

    .. math:: DM = \frac{\bar d}{\sqrt{\hat\omega/n}}, \qquad
              HLN = DM\sqrt{\frac{n+1-2h+h(h-1)/n}{n}}, \quad h = L + 1

    Parameters
    ----------
    differences
        Score of the first model less that of the second, in date order, shape (n,).
    lags
        L: autocovariances in the long-run variance, with Bartlett weights so that it cannot be negative.
    is_small_sample
        Apply the correction of Harvey, Leybourne and Newbold and Student's law with n - 1 degrees.

    Returns
    -------
    Outcome
        A negative statistic speaks for the first model. Not applicable below ten differences with ``lags``, below two
        without, or where all are equal.

    Notes
    -----
    Source: Diebold and Mariano 1995; Harvey, Leybourne and Newbold 1997.
    """
    d = as_series("differences", differences)
    n = len(d)
    if n < max(2, 10 * min(lags, 1), 2 * lags + 2):
        return not_applicable(DIEBOLD_MARIANO, f"{n} differences")
    centred = d - d.mean()
    variance = float(centred @ centred) / n
    if variance <= (1e-14 * float(np.abs(d).max())) ** 2:
        return not_applicable(DIEBOLD_MARIANO, "the differences do not vary")
    long_run = variance
    for lag in range(1, lags + 1):
        long_run += 2 * (1 - lag / (lags + 1)) * float(centred[lag:] @ centred[:-lag]) / n
    if long_run <= 1e-12 * variance:
        return not_applicable(DIEBOLD_MARIANO, "the long-run variance is nil at these lags")
    statistic = float(d.mean() / np.sqrt(long_run / n))
    if not is_small_sample:
        return Outcome(DIEBOLD_MARIANO, statistic, float(2 * stats.norm.sf(abs(statistic))))
    h = lags + 1
    statistic *= float(np.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n))
    return Outcome(DIEBOLD_MARIANO, statistic, float(2 * stats.t.sf(abs(statistic), n - 1)), degrees=n - 1)


def model_confidence_set(
    losses: Mapping[str, ArrayLike], *, seed: int, level: float = 0.90, draws: int = 1000
) -> tuple[str, ...]:
    r"""Name the models among which the best one is, with confidence ``level``.

    Parameters
    ----------
    losses
        Scores by model, in date order, shape (n,) each.
    seed, draws
        Of the stationary bootstrap; its mean block is :math:`n^{1/3}`.

    Raises
    ------
    ValueError
        Below two models or a hundred days.

    Notes
    -----
    Source: Hansen, Lunde and Nason 2011; statistic R.
    """
    if len(losses) < 2:
        raise ValueError(f"models {sorted(losses)}: a set needs at least two to choose from")
    names = list(losses)
    n = len(as_series(names[0], losses[names[0]]))
    frame = pd.DataFrame({name: as_series(name, losses[name], n) for name in names})
    if n < LEAST_DAYS:
        raise ValueError(f"{n} days of scores: the bootstrap of blocks needs at least {LEAST_DAYS}")
    chosen = MCS(frame, size=1 - level, reps=draws, block_size=round(n ** (1 / 3)), bootstrap="stationary", seed=seed)
    chosen.compute()
    return tuple(name for name in names if name in set(chosen.included))


@dataclass(frozen=True)
class Shared:
    """Scores on the rows that all models judged.

    Attributes
    ----------
    daily
        One row a date, ascending, one column a model: the mean over the markets of the date.
    observations
        Rows behind it, dates and markets.
    """

    daily: pd.DataFrame
    observations: int


def shared_scores(values: pd.DataFrame) -> Shared:
    """Keep the rows that every model judged, and average the markets of a date: they fall together, so they count once.

    Parameters
    ----------
    values
        ``target_date, symbol, model, value``; a row that is absent or NaN was not judged.
    """
    wide = values.pivot_table(index=["target_date", "symbol"], columns="model", values="value").dropna()
    return Shared(wide.groupby(level="target_date").mean().sort_index(), len(wide))


def compare(daily: pd.DataFrame, reference: str, *, seed: int) -> pd.DataFrame:
    r"""Compare the models of a table of daily scores with one of them.

    Parameters
    ----------
    daily
        As in `Shared`.
    reference
        Column that the others are compared with.
    seed
        Of the bootstrap behind the confidence set.

    Returns
    -------
    DataFrame
        One row a model: ``model, mean_score, dm_statistic, dm_p`` (negative: the row's model is better than the
        reference; NaN of the reference itself) and ``is_in_confidence_set``, None where there are fewer than two models
        or fewer than a hundred dates.

    Notes
    -----
    Lags of the long-run variance and mean block of the bootstrap: the cube root of the number of dates.
    """
    lags = round(len(daily) ** (1 / 3))
    best: set[str] = set()
    if daily.shape[1] > 1 and len(daily) >= LEAST_DAYS:
        best = set(model_confidence_set({str(name): daily[name].to_numpy(np.float64) for name in daily}, seed=seed))
    rows = []
    for model in daily:
        statistic, p_value = np.nan, np.nan
        if model != reference:
            found = diebold_mariano((daily[model] - daily[reference]).to_numpy(np.float64), lags=lags)
            if found.statistic is not None and found.p_value is not None:
                statistic, p_value = found.statistic, found.p_value
        rows.append(
            {
                "model": str(model),
                "mean_score": float(daily[model].mean()),
                "dm_statistic": statistic,
                "dm_p": p_value,
                "is_in_confidence_set": model in best if best else None,
            }
        )
    return pd.DataFrame(rows)
