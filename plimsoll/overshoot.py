"""Overshoot: how far a price runs beyond a trigger, and the quantile to provide for.

What lives here: triggers and same-day overshoots from daily bars, the walk-forward of the overshoot quantile k by
side and trigger depth (own, pooled and shrunk), and the users' adverse excursion over a horizon.
What does not: volatility (``volatility``), generalised Pareto fits (``tails``), the loss budget (``liquidation``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plimsoll import tails

SIDES = ("long", "short")
TAIL_PROBABILITIES_BPS = (500, 100, 50, 10)
TAIL_FRACTION = 0.10
EVENT_COLUMNS = (
    "target_date",
    "symbol",
    "side",
    "trigger_depth",
    "trigger_price_usd",
    "extreme_price_usd",
    "sigma_daily",
    "sigma_eff_daily",
    "overshoot_log",
    "overshoot_sigma",
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class QuantileSpec:
    """Knobs of the overshoot quantile.

    Attributes
    ----------
    depths
        Trigger depths c in one-day sigmas.
    minimum_triggers
        Pooled triggers below which no quantile is given.
    shrinkage_tail_events
        Tail events at which a market's own quantile and the pooled one weigh the same.
    half_life_triggers
        Half-life of a trigger's weight, in the market's own triggers; the pool's is this times its markets.
    """

    depths: tuple[float, ...]
    minimum_triggers: int
    shrinkage_tail_events: float
    half_life_triggers: float


def trigger_events(prices: pd.DataFrame, forecasts: pd.DataFrame, depths: Sequence[float]) -> pd.DataFrame:
    r"""Find the days on which a trigger c sigmas from the last close was reached, and the overshoot beyond it.

    .. math:: L_t = C_{t-1} e^{-c\sigma_t}, \quad O_t = \ln(L_t / Low_t) / \sigma_t \ge 0 \text{ on } Low_t \le L_t

    and for the short side with :math:`U_t = C_{t-1} e^{+c\sigma_t}` and the high.

    Parameters
    ----------
    prices
        One market: ``date, previous_close_usd, high_usd, low_usd, is_return_valid``.
    forecasts
        The same market: ``target_date, symbol, sigma_daily, sigma_eff_daily``, one row a target date; the forecast was
        made at the close before.
    depths
        Trigger depths c.

    Returns
    -------
    DataFrame
        ``EVENT_COLUMNS``, ordered by date, side and depth. Days without a high and a low, days whose return is not a
        one-day return, and days with a forecast of zero give no event: a close-only market has none.

    Notes
    -----
    On a daily bar the order of high and low is unknown, so longs are judged by the low and shorts by the high, never
    both on one account. Source: trigger-conditioned overshoot calibration, ``docs/methodology.md``.
    """
    needed = prices[["date", "previous_close_usd", "high_usd", "low_usd", "is_return_valid"]]
    bars = forecasts.merge(needed, left_on="target_date", right_on="date", how="inner", validate="one_to_one")
    bars = bars[
        bars["is_return_valid"] & bars["high_usd"].notna() & bars["low_usd"].notna() & (bars["sigma_daily"] > 0)
    ]
    found: list[pd.DataFrame] = []
    for side in SIDES:
        sign, extreme = (-1.0, bars["low_usd"]) if side == "long" else (1.0, bars["high_usd"])
        for depth in depths:
            level = bars["previous_close_usd"] * np.exp(sign * depth * bars["sigma_daily"])
            beyond = sign * np.log(extreme / level)
            hit = beyond >= 0
            found.append(
                pd.DataFrame(
                    {
                        "target_date": bars["target_date"],
                        "symbol": bars["symbol"],
                        "side": side,
                        "trigger_depth": float(depth),
                        "trigger_price_usd": level,
                        "extreme_price_usd": extreme,
                        "sigma_daily": bars["sigma_daily"],
                        "sigma_eff_daily": bars["sigma_eff_daily"],
                        "overshoot_log": beyond,
                        "overshoot_sigma": beyond / bars["sigma_daily"],
                    }
                )[hit]
            )
    events = pd.concat(found, ignore_index=True)
    return events.sort_values(["target_date", "side", "trigger_depth"], kind="stable", ignore_index=True)


def walk_quantiles(events: pd.DataFrame, targets: pd.DataFrame, spec: QuantileSpec) -> pd.DataFrame:
    r"""Walk the overshoot quantile forward: for each target, from trigger days up to its ``as_of`` only.

    The market's own empirical quantile is shrunk toward the one pooled over all markets,

    .. math:: k_p = w\,k_p^{own} + (1-w)\,k_p^{pooled}, \qquad w = \frac{p\,n}{p\,n + m_0},

    with n the market's own triggers and weights that decay with age (markets change: an expanding sample of an index of
    the 1990s lags behind), so that the weight counts tail events and not days. With less than one tail event
    the own quantile is the sample maximum and gets no weight; where the pool has less than one, the pooled quantile is
    that of the generalised Pareto tail. Two estimators and weights that differ by p could cross: a rarer quantile is
    never below a more frequent one (running maximum, the cautious way to put quantiles in order).

    Parameters
    ----------
    events
        Rows of `trigger_events` for all markets.
    targets
        ``symbol, as_of, target_date``: what to compute; any subset gives the same rows as the whole.
    spec
        Knobs.

    Returns
    -------
    DataFrame
        One row a target, side and depth with the columns ``own_triggers, pooled_triggers, pooled_dates, k_own_p*,
        k_pooled_p*, k_p*, own_weight_p100, gpd_*``. k is NaN where fewer than ``minimum_triggers`` pooled triggers are
        known: not enough data.

    Notes
    -----
    The generalised Pareto tail is refitted at the turn of each month from events before it, so that a rerun of one day
    and a walk over all days give the same numbers. Source: ``docs/methodology.md``; McNeil and Frey 2000 for the tail.
    """
    rows: list[pd.DataFrame] = []
    for side in SIDES:
        for depth in spec.depths:
            pool = events[(events["side"] == side) & (events["trigger_depth"] == float(depth))]
            rows.append(_walk_one(pool, targets, spec).assign(side=side, trigger_depth=float(depth)))
    out = pd.concat(rows, ignore_index=True)
    return out.sort_values(["target_date", "symbol", "side", "trigger_depth"], kind="stable", ignore_index=True)


def _walk_one(pool: pd.DataFrame, targets: pd.DataFrame, spec: QuantileSpec) -> pd.DataFrame:
    pool = pool.sort_values(["target_date", "symbol"], kind="stable")
    pool_dates = pool["target_date"].to_numpy("datetime64[D]")
    pool_values = pool["overshoot_sigma"].to_numpy(np.float64)
    as_of = targets["as_of"].to_numpy("datetime64[D]")
    known = np.searchsorted(pool_dates, as_of, side="right")
    markets = _markets_known(pool["symbol"].to_numpy())
    pooled = _decayed_quantiles(pool_values, known, spec.half_life_triggers * np.maximum(markets[known], 1))
    tail = _monthly_tails(pool_values, pool_dates, as_of)
    own = np.full((len(targets), len(TAIL_PROBABILITIES_BPS)), np.nan)
    own_count = np.zeros(len(targets), dtype=np.int64)
    symbols = targets["symbol"].to_numpy()
    for symbol in pd.unique(symbols):
        at = np.flatnonzero(symbols == symbol)
        mine = (pool["symbol"] == symbol).to_numpy()
        count = np.searchsorted(pool_dates[mine], as_of[at], side="right")
        own_count[at] = count
        own[at] = _decayed_quantiles(pool_values[mine], count, np.full(len(at), spec.half_life_triggers))
    out = targets[["symbol", "as_of", "target_date"]].reset_index(drop=True)
    out["own_triggers"] = own_count
    out["pooled_triggers"] = known
    out["pooled_dates"] = np.searchsorted(np.unique(pool_dates), as_of, side="right")
    enough = known >= spec.minimum_triggers
    floor_pooled, floor_blend = np.zeros(len(targets)), np.zeros(len(targets))
    for column, bps in enumerate(TAIL_PROBABILITIES_BPS):
        p = bps / 10_000
        k_pooled = np.maximum(np.where(known * p >= 1, pooled[:, column], _tail_quantile(tail, p)), floor_pooled)
        events_own = own_count * p
        weight = np.where(events_own >= 1, events_own / (events_own + spec.shrinkage_tail_events), 0.0)
        blend = np.maximum(weight * np.nan_to_num(own[:, column]) + (1 - weight) * k_pooled, floor_blend)
        floor_pooled, floor_blend = k_pooled, blend
        out[f"k_own_p{bps}"] = own[:, column]
        out[f"k_pooled_p{bps}"] = np.where(enough, k_pooled, np.nan)
        out[f"k_p{bps}"] = np.where(enough, blend, np.nan)
        if bps == 100:
            out["own_weight_p100"] = np.where(enough, weight, np.nan)
    for name in ("gpd_threshold_sigma", "gpd_xi", "gpd_beta_sigma", "gpd_method"):
        out[name] = tail[name].to_numpy()
    return out


def _markets_known(symbols: NDArray[np.object_]) -> NDArray[np.int64]:
    """Distinct symbols among the first n events, for n = 0 .. len."""
    first_seen = np.zeros(len(symbols), dtype=np.int64)
    if len(symbols):
        first_seen[np.unique(symbols.astype(str), return_index=True)[1]] = 1
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(first_seen)])


def _decayed_quantiles(values: Floats, counts: NDArray[np.int64], half_life: Floats) -> Floats:
    """Weighted upper quantiles of the first ``counts`` values, newest weighing most; one row a count, NaN for none."""
    levels = 1 - np.asarray(TAIL_PROBABILITIES_BPS) / 10_000
    distinct, first, back = np.unique(counts, return_index=True, return_inverse=True)
    table = np.full((len(distinct), len(levels)), np.nan)
    order = np.argsort(values, kind="stable")
    for row, n in enumerate(distinct):
        if n:
            kept = order[order < n]
            weights = 0.5 ** ((n - 1 - kept) / half_life[first[row]])
            table[row] = weighted_quantile(values[kept], weights, levels)
    return table[back]


def weighted_quantile(ordered: Floats, weights: Floats, levels: Floats) -> Floats:
    r"""Quantiles of a weighted sample by linear interpolation; equal weights give the usual linear quantile.

    With weights in the order of the values, the i-th value stands at :math:`S_i/S_n`,
    :math:`S_i = (i-1) w_i + (n-1) \sum_{j<i} w_j`.

    Parameters
    ----------
    ordered
        Values in ascending order, shape (n,), finite.
    weights
        Positive weights of the same shape.
    levels
        Probabilities in [0, 1].

    Returns
    -------
    ndarray
        One quantile a level; NaN for an empty sample.
    """
    n = len(ordered)
    if n == 0:
        return np.full(len(levels), np.nan)
    if n == 1:
        return np.full(len(levels), ordered[0])
    before = np.cumsum(weights) - weights
    position = np.arange(n) * weights + (n - 1) * before
    return np.asarray(np.interp(levels, position / position[-1], ordered), dtype=np.float64)


def _monthly_tails(values: Floats, dates: NDArray[np.datetime64], as_of: NDArray[np.datetime64]) -> pd.DataFrame:
    months, back = np.unique(as_of.astype("datetime64[M]"), return_inverse=True)
    fits: list[tuple[float, float, float, str | None]] = []
    for month in months:
        known = values[: np.searchsorted(dates, month.astype("datetime64[D]"), side="left")]
        fit = tails.fit_gpd(known, tail_fraction=TAIL_FRACTION)
        fits.append((np.nan, np.nan, np.nan, None) if fit is None else (fit.threshold, fit.xi, fit.beta, fit.method))
    table = pd.DataFrame(fits, columns=["gpd_threshold_sigma", "gpd_xi", "gpd_beta_sigma", "gpd_method"])
    return table.iloc[back].reset_index(drop=True)


def _tail_quantile(tail: pd.DataFrame, p: float) -> Floats:
    u = tail["gpd_threshold_sigma"].to_numpy(np.float64)
    xi = tail["gpd_xi"].to_numpy(np.float64)
    beta = tail["gpd_beta_sigma"].to_numpy(np.float64)
    ratio = p / TAIL_FRACTION
    safe = np.where(np.abs(xi) < 1e-6, 1.0, xi)
    growth = np.where(np.abs(xi) < 1e-6, -np.log(ratio), (ratio**-safe - 1) / safe)
    return np.asarray(u + beta * growth, dtype=np.float64)


def adverse_excursions(prices: pd.DataFrame, forecasts: pd.DataFrame, days: int) -> pd.DataFrame:
    r"""Largest adverse move from a close over the next ``days`` bars, in sigmas of the forecast made at that close.

    .. math:: A_t = \max_{0 \le j < h} \ln(C_{t-1}/Low_{t+j}) / \sigma_t

    (short side with highs; closes stand in where a market has no lows). Bars after a gap end the window: a window that
    is not made of consecutive valid bars is left out.

    Parameters
    ----------
    prices
        One market: ``date, close_usd, previous_close_usd, high_usd, low_usd, is_return_valid``.
    forecasts
        ``target_date, sigma_daily`` of the same market.
    days
        Bars in the window, at least one.

    Returns
    -------
    DataFrame
        ``known_on`` (last day of the window: only from then on may the value be used), ``side``, ``excursion_sigma``.
    """
    bars = prices.merge(forecasts[["target_date", "sigma_daily"]], left_on="date", right_on="target_date", how="left")
    valid = bars["is_return_valid"].to_numpy()
    low = bars["low_usd"].fillna(bars["close_usd"]).to_numpy(np.float64)
    high = bars["high_usd"].fillna(bars["close_usd"]).to_numpy(np.float64)
    last = len(bars) - days + 1
    if last <= 0:
        return pd.DataFrame({"known_on": bars["date"][:0], "side": "", "excursion_sigma": np.zeros(0)})
    windows_low = np.lib.stride_tricks.sliding_window_view(low, days).min(axis=1)
    windows_high = np.lib.stride_tricks.sliding_window_view(high, days).max(axis=1)
    whole = np.lib.stride_tricks.sliding_window_view(valid, days).all(axis=1)
    start = bars["previous_close_usd"].to_numpy(np.float64)[:last]
    sigma = bars["sigma_daily"].to_numpy(np.float64)[:last]
    keep = whole & (sigma > 0) & np.isfinite(start)
    known_on = bars["date"].to_numpy()[days - 1 :]
    down = np.maximum(np.log(start[keep] / windows_low[keep]), 0) / sigma[keep]
    up = np.maximum(np.log(windows_high[keep] / start[keep]), 0) / sigma[keep]
    return pd.concat(
        [
            pd.DataFrame({"known_on": known_on[keep], "side": "long", "excursion_sigma": down}),
            pd.DataFrame({"known_on": known_on[keep], "side": "short", "excursion_sigma": up}),
        ],
        ignore_index=True,
    )


def walk_buffers(
    excursions: pd.DataFrame, targets: pd.DataFrame, probability: float, minimum: int = 250
) -> pd.DataFrame:
    """Quantile 1 - ``probability`` of pooled adverse excursions known at each month's turn, by side.

    Parameters
    ----------
    excursions
        ``known_on, side, excursion_sigma`` of all markets.
    targets
        ``as_of``, one row a target.
    probability
        u: chance that a user at the limit is liquidated within the horizon.
    minimum
        Observations below which the buffer is NaN.

    Returns
    -------
    DataFrame
        ``long`` and ``short`` aligned with ``targets``, in sigmas.
    """
    months, back = np.unique(targets["as_of"].to_numpy("datetime64[M]"), return_inverse=True)
    out = {}
    for side in SIDES:
        mine = excursions[excursions["side"] == side].sort_values("known_on", kind="stable")
        dates = mine["known_on"].to_numpy("datetime64[D]")
        values = mine["excursion_sigma"].to_numpy(np.float64)
        counts = np.searchsorted(dates, months.astype("datetime64[D]"), side="left")
        table = [float(np.quantile(values[:n], 1 - probability)) if n >= minimum else np.nan for n in counts]
        out[side] = np.asarray(table, dtype=np.float64)[back]
    return pd.DataFrame(out, index=targets.index)


def lending_depth(quantiles: pd.DataFrame, minimum_dates: int) -> pd.DataFrame:
    """Choose the trigger depth for lending: the largest with enough pooled trigger dates and a tail known at ``as_of``.

    Where no such depth has a tail yet, the largest with enough dates is taken and expected shortfall is not available.

    Parameters
    ----------
    quantiles
        Rows of `walk_quantiles`.
    minimum_dates
        Distinct pooled trigger dates a depth must have.

    Returns
    -------
    DataFrame
        The chosen row a target and side, ordered by them; targets for which no depth qualifies are absent.
    """
    key = ["symbol", "target_date", "side"]
    able = quantiles[quantiles["pooled_dates"] >= minimum_dates]
    ranked = able.assign(has_tail=able["gpd_xi"].notna()).sort_values(
        [*key, "has_tail", "trigger_depth"], kind="stable"
    )
    # Whole rows: a "last" by group would fill what a depth does not know from a shallower one.
    return ranked.drop_duplicates(key, keep="last").drop(columns="has_tail").reset_index(drop=True)
