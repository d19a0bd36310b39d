"""Conformal overlay: a stated tail probability that moves with the misses, so that the long-run rate is held.

What lives here: adaptive conformal inference over any model's quantiles, by market or pooled by date, and its log. What
does not: the models, the tests of coverage (``coverage``, ``backtests``).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from plimsoll.challengers.panel import FORECAST_COLUMNS

Floats = NDArray[np.float64]

GAMMA = 0.005
SUFFIX = "_aci"
REALISED_COLUMNS = ("symbol", "target_date", "side", "realised_log")
LOG_COLUMNS = (
    "target_date",
    "symbol",
    "side",
    "model",
    "tail_probability_bps",
    "alpha",
    "error",
    "judged",
    "next_alpha",
    "is_held",
)
POOLED = "all markets"
"""What stands for the market where all share one probability."""


@dataclass(frozen=True)
class Overlay:
    """Adjusted forecasts and the probabilities behind them.

    Attributes
    ----------
    forecasts
        As the forecasts given, the model's name with ``SUFFIX``, plus ``alpha`` (the probability at which the stated
        quantiles were read) and ``is_beyond_stated`` (it lies outside the stated ones: the nearest was taken).
    log
        One row a date, side and probability (and market): ``target_date, symbol, side, model, tail_probability_bps``,
        ``alpha`` before the date's outcome, ``error`` (share of the judged rows that were exceeded), ``judged``,
        ``next_alpha`` after it, and ``is_held`` where a bound held it.
    """

    forecasts: pd.DataFrame
    log: pd.DataFrame


def step(alpha: float, error: float, *, target: float, gamma: float = GAMMA) -> float:
    r"""Move the stated probability by one outcome, :math:`\alpha_{t+1} = \alpha_t + \gamma(\alpha - err_t)`.

    Parameters
    ----------
    alpha
        In force.
    error
        1 where the quantile was exceeded, 0 where not, or a share over markets.
    target, gamma
        Probability to be held, and step.

    Notes
    -----
    Source: Gibbs and Candes 2021.
    """
    return alpha + gamma * (target - error)


def alpha_path(errors: ArrayLike, *, target: float, gamma: float = GAMMA) -> Floats:
    r"""Walk the stated probability along errors, without bounds, from ``target`` on.

    Parameters
    ----------
    errors
        In date order, shape (n,), within [0, 1].

    Returns
    -------
    ndarray
        Shape (n + 1,): in force before the first error, ..., after the last. The identity
        :math:`\bar{err} = \alpha + (\alpha_1 - \alpha_{n+1})/(n\gamma)` is exact.

    Raises
    ------
    ValueError
        For an error outside [0, 1]; names the row.
    """
    misses = np.asarray(errors, dtype=np.float64)
    bad = np.flatnonzero(~((misses >= 0) & (misses <= 1)))
    if len(bad):
        raise ValueError(f"row {int(bad[0])}: error {misses[bad[0]]} is no share; hand over 0, 1 or a share of markets")
    return np.concatenate([[target], target + gamma * np.cumsum(target - misses)])


def bounds(probabilities: ArrayLike, gamma: float = GAMMA) -> tuple[float, float]:
    r"""Bounds within which the stated probability is held: one step beyond the stated ones on either side.

    .. math:: [\,p_{rarest} - \gamma,\ p_{most\ frequent} + \gamma\,]

    Beyond the rarest stated probability the overlay has no quantile to give. Were the state to run on, it would need as
    many quiet days to come back; one step outside is enough to say that the rarest is in force. While a bound holds,
    the identity of `alpha_path` does not, and neither does the long-run rate: the log says so.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    return float(p.min() - gamma), float(p.max() + gamma)


def quantile_at(alpha: float, probabilities: ArrayLike, quantiles: ArrayLike) -> tuple[float, bool]:
    r"""Read stated quantiles at a probability, linearly in the logarithm of the probability.

    Parameters
    ----------
    alpha
        Any real number.
    probabilities
        Descending, in (0, 1), shape (m,).
    quantiles
        Losses at them, ascending, shape (m,).

    Returns
    -------
    tuple
        The loss, and whether alpha lies outside the stated probabilities: the quantile of the nearest is given then,
        for a rarer one than the rarest would be made up.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    q = np.asarray(quantiles, dtype=np.float64)
    if alpha <= p[-1]:
        return float(q[-1]), bool(alpha < p[-1])
    if alpha >= p[0]:
        return float(q[0]), bool(alpha > p[0])
    return float(np.interp(-np.log(alpha), -np.log(p), q)), False


def overlay(
    forecasts: pd.DataFrame, realised: pd.DataFrame, *, is_pooled: bool = False, gamma: float = GAMMA
) -> Overlay:
    r"""Adjust a model's quantiles so that each is exceeded at its nominal rate in the long run.

    .. math:: \hat q_t = Q_t(\alpha_t), \qquad \alpha_{t+1} = \alpha_t + \gamma(\alpha - err_t), \qquad
              err_t = 1\{A_t > \hat q_t\}

    with :math:`Q_t` the model's stated quantiles. A target reads the probability after the last date up to its
    ``as_of``. Pooled, all markets share one probability and :math:`err_t` is the mean over the markets of a date.

    Parameters
    ----------
    forecasts
        ``FORECAST_COLUMNS`` of one model: each target and side with the same probabilities. A target with a NaN among
        its quantiles stays NaN and moves nothing.
    realised
        ``REALISED_COLUMNS``: positive log losses, known at the end of the target date; NaN or absent where not yet.
    is_pooled
        One probability for all markets instead of one for each.
    gamma
        Step.

    Returns
    -------
    Overlay
        The shortfall moves in proportion to the quantile, NaN where the model states none.

    Raises
    ------
    ValueError
        For more than one model, probabilities that differ between targets, a rarer quantile below a more frequent one,
        a doubled row, or a step outside (0, 1); names the row.

    Notes
    -----
    Probabilities are held within `bounds`. A nominal probability at the edge of the stated ones can only move one way:
    state a rarer and a more frequent one beside each that shall be held. Source: Gibbs and Candes 2021.
    """
    if not 0 < gamma < 1:
        raise ValueError(f"gamma {gamma}: a step lies between 0 and 1, by default {GAMMA}")
    wide = _wide(forecasts, realised)
    probabilities = np.array(sorted({int(bps) for bps in forecasts["tail_probability_bps"]}, reverse=True))
    p = probabilities / 10_000
    q = wide[[f"q{bps}" for bps in probabilities]].to_numpy(np.float64)
    _check_order(wide, q)
    groups = wide["side"].astype(str) if is_pooled else wide["side"].astype(str) + "\n" + wide["symbol"].astype(str)
    shape = (len(wide), len(p))
    alphas, adjusted, beyond = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, dtype=np.bool_)
    log: list[dict[str, object]] = []
    for group in pd.unique(groups):
        at = np.flatnonzero((groups == group).to_numpy())
        for j in range(len(p)):
            log += _walk(wide, at, q, p, j, gamma, is_pooled, (alphas, adjusted, beyond))
    model = str(forecasts["model"].iloc[0])
    table = pd.DataFrame(log).assign(model=model)[list(LOG_COLUMNS)]
    table = table.sort_values(
        ["target_date", "symbol", "side", "tail_probability_bps"],
        ascending=[True, True, True, False],
        kind="stable",
        ignore_index=True,
    )
    return Overlay(_long(forecasts, wide, probabilities, (alphas, adjusted, beyond)), table)


def _wide(forecasts: pd.DataFrame, realised: pd.DataFrame) -> pd.DataFrame:
    """One row a target and side, in date order: stated quantiles by probability, and what was realised."""
    for what, frame, columns in (("forecasts", forecasts, FORECAST_COLUMNS), ("realised", realised, REALISED_COLUMNS)):
        missing = [name for name in columns if name not in frame.columns]
        if missing:
            raise ValueError(f"{what} lack the columns {', '.join(missing)}; they need {', '.join(columns)}")
    models = list(pd.unique(forecasts["model"]))
    if len(models) != 1:
        raise ValueError(f"forecasts of {models}: an overlay is made over one model at a time")
    key = ["symbol", "as_of", "target_date", "side"]
    for what, frame, names in (
        ("forecasts", forecasts, ["symbol", "target_date", "side", "tail_probability_bps"]),
        ("realised", realised, ["symbol", "target_date", "side"]),
    ):
        twice = frame.duplicated(names)
        if twice.any():
            raise ValueError(f"{what} hold {tuple(frame.loc[twice, names].iloc[0])} twice; an outcome counts once")
    listed = sorted({int(bps) for bps in forecasts["tail_probability_bps"]}, reverse=True)
    counts = forecasts.groupby(key, sort=False).size()
    short = counts[counts != len(listed)]
    if len(short):
        raise ValueError(
            f"{tuple(short.index[0])} states {int(short.iloc[0])} of the probabilities {listed}; state all"
        )
    ordered = forecasts.sort_values([*key, "tail_probability_bps"], ascending=[True] * 4 + [False], kind="stable")
    table = ordered[key].iloc[:: len(listed)].reset_index(drop=True)
    stated = ordered["quantile_log"].to_numpy(np.float64).reshape(-1, len(listed))
    for j, bps in enumerate(listed):
        table[f"q{bps}"] = stated[:, j]
    joined = table.merge(realised[list(REALISED_COLUMNS)], on=["symbol", "target_date", "side"], how="left")
    return joined.sort_values(["target_date", "symbol", "side"], kind="stable", ignore_index=True)


def _check_order(wide: pd.DataFrame, q: Floats) -> None:
    crossed = np.flatnonzero((np.diff(q, axis=1) < 0).any(axis=1))
    if len(crossed):
        row = wide.iloc[int(crossed[0])]
        raise ValueError(
            f"{row['symbol']} {row['side']} on {pd.Timestamp(row['target_date']).date()}: a rarer quantile lies below "
            "a more frequent one; put the model's quantiles in order first"
        )


def _walk(
    wide: pd.DataFrame,
    at: NDArray[np.int64],
    q: Floats,
    p: Floats,
    j: int,
    gamma: float,
    is_pooled: bool,
    out: tuple[Floats, Floats, NDArray[np.bool_]],
) -> list[dict[str, object]]:
    """Walk one probability of one side (and market) through its dates; fills the arrays, gives the log."""
    alphas, adjusted, beyond = out
    low, high = bounds(p, gamma)
    dates = wide["target_date"].to_numpy("datetime64[D]")[at]
    as_of = wide["as_of"].to_numpy("datetime64[D]")[at]
    outcome = wide["realised_log"].to_numpy(np.float64)[at]
    symbol = POOLED if is_pooled else str(wide["symbol"].iloc[at[0]])
    side = str(wide["side"].iloc[at[0]])
    states = [float(p[j])]
    log: list[dict[str, object]] = []
    days, starts = np.unique(dates, return_index=True)
    # What a target may read: the state after the last date up to its own as_of, not after yesterday's.
    readable = np.searchsorted(days, as_of, side="right")
    for day, start, stop in zip(days, starts, [*starts[1:], len(at)], strict=True):
        errors: list[float] = []
        for i in range(start, stop):
            row = at[i]
            if np.isnan(q[row]).any():
                continue
            alpha = states[int(readable[i])]
            alphas[row, j] = alpha
            adjusted[row, j], beyond[row, j] = quantile_at(alpha, p, q[row])
            if np.isfinite(outcome[i]):
                errors.append(float(outcome[i] > adjusted[row, j]))
        error = sum(errors) / len(errors) if errors else np.nan
        free = step(states[-1], error, target=float(p[j]), gamma=gamma) if errors else states[-1]
        held = min(max(free, low), high)
        log.append(
            {
                "target_date": day,
                "symbol": symbol,
                "side": side,
                "tail_probability_bps": round(float(p[j]) * 10_000),
                "alpha": states[-1],
                "error": error,
                "judged": len(errors),
                "next_alpha": held,
                "is_held": held != free,
            }
        )
        states.append(held)
    return log


def _long(
    forecasts: pd.DataFrame,
    wide: pd.DataFrame,
    probabilities: NDArray[np.int64],
    out: tuple[Floats, Floats, NDArray[np.bool_]],
) -> pd.DataFrame:
    """Put the adjusted quantiles where the stated ones were, row for row."""
    alphas, adjusted, beyond = out
    key = ["symbol", "as_of", "target_date", "side"]
    found = wide[key].loc[wide.index.repeat(len(probabilities))].reset_index(drop=True)
    found["tail_probability_bps"] = np.tile(probabilities, len(wide))
    found["adjusted_log"] = adjusted.reshape(-1)
    found["alpha"] = alphas.reshape(-1)
    found["is_beyond_stated"] = beyond.reshape(-1)
    table = forecasts[list(FORECAST_COLUMNS)].merge(
        found, on=[*key, "tail_probability_bps"], how="left", validate="one_to_one"
    )
    stated = table["quantile_log"].to_numpy(np.float64)
    ratio = table["adjusted_log"].to_numpy(np.float64) / np.where(stated > 0, stated, np.nan)
    table["shortfall_log"] = table["shortfall_log"].to_numpy(np.float64) * ratio
    table["quantile_log"] = table["adjusted_log"]
    table["model"] = table["model"] + SUFFIX
    return table.drop(columns="adjusted_log")
