"""Scaling: how the overshoot grows with the hours after a trigger, estimated where bars within the day exist.

What lives here: the horizon exponent and the forward stretch by side and depth class, walked forward with intervals,
and their test out of sample against the default. What does not: following prices (``horizons``), the estimate of k
(``overshoot``), what a budget uses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plimsoll import breaches, coverage, uncertainty
from plimsoll.backtest import BLOCK_DAYS, DRAWS, LEVEL, MINIMUM_OBSERVATIONS
from plimsoll.horizons import HOURS_A_DAY, UNTESTED
from plimsoll.overshoot import SIDES

Floats = NDArray[np.float64]

FOLLOWED_HOURS = (1, 2, 4, 8, 24)
"""Horizons of the regression."""
TESTED_HOURS = (1, 4, 8, 24)
"""Horizons of the test."""
DEEP = 2.0
"""Trigger depth from which the deep class begins."""
CLASSES = ("shallow", "deep")
ETA_CAP = 0.5
"""A move that grew faster than the square root of time would be no overshoot given a trigger any more."""
MINIMUM_DATES = 100
MINIMUM_TAIL_EVENTS = 10
"""Triggers beyond the quantile that a depth must have: fewer, and one wick draws the line."""
TAIL_PROBABILITIES = (0.01, 0.05)
"""Tail probabilities of the quantiles that are regressed. The first is that of the limits; the second is steadier."""
ESTIMATED = "estimated"
VARIANTS = ("default", "default, stretched", "estimated")
KEYS = ["symbol", "side", "target_date", "trigger_depth"]


@dataclass(frozen=True)
class Scaling:
    r"""Horizon exponent and forward stretch of one side and depth class.

    Attributes
    ----------
    side, depth_class
        ``shallow`` below two sigmas, ``deep`` from there on.
    turn
        First moment that may use it: only triggers whose windows had ended by then are in it.
    triggers, dates
        Followed over all horizons; a day counts once a depth in the first and once in the second.
    depths
        Trigger depths with enough dates, the deepest last.
    eta, eta_low, eta_high
        Exponent at most 0.5, and its 90 % interval; the default, and NaN, where untested.
    stretch, stretch_low, stretch_high
        Quantile of the 24 hours after the trigger over that of the rest of the day; 1, and NaN, where untested.
    state
        ``estimated``, ``estimated, capped at 0.5`` or "horizon scaling untested", with the reason.
    """

    side: str
    depth_class: str
    turn: pd.Timestamp
    triggers: int
    dates: int
    depths: tuple[float, ...]
    eta: float
    eta_low: float
    eta_high: float
    stretch: float
    stretch_low: float
    stretch_high: float
    state: str


def depth_class_of(depth: float) -> str:
    """Name the class of a trigger depth."""
    return CLASSES[1] if depth >= DEEP else CLASSES[0]


def followed(moves: pd.DataFrame, events: pd.DataFrame, count: str = "most") -> pd.DataFrame:
    """Lay moves out one row a trigger, in sigmas: only triggers that were followed over every horizon.

    Parameters
    ----------
    moves
        As `horizons.follow` gives them for the hours 1, 2, 4, 8 and 24.
    events
        Rows of `overshoot.trigger_events` of the same triggers.
    count
        ``most``: the hour in which a window ends is counted whole, so that an hour's window may span two. ``least``
        leaves it out. The exponent is smaller by the first.

    Returns
    -------
    DataFrame
        ``symbol, side, target_date, trigger_depth, touched_at, same_day_sigma, h1 .. h24``, ordered by date, market,
        side and depth.

    Raises
    ------
    ValueError
        Where a horizon is missing from the moves altogether.
    """
    if len(moves):
        absent = set(FOLLOWED_HOURS) - set(moves["horizon_hours"])
        if absent:
            raise ValueError(f"moves hold no horizon of {min(absent)} hours; follow {FOLLOWED_HOURS}")
    wide = moves[moves["horizon_hours"].isin(FOLLOWED_HOURS)].pivot_table(
        index=[*KEYS, "touched_at"], columns="horizon_hours", values=f"overshoot_{count}_log", observed=True
    )
    names = {hours: f"h{hours}" for hours in FOLLOWED_HOURS}
    whole = wide.reindex(columns=list(FOLLOWED_HOURS)).dropna().rename(columns=names).reset_index()
    both = whole.merge(events[[*KEYS, "sigma_daily", "overshoot_sigma"]], on=KEYS, how="inner", validate="one_to_one")
    for name in names.values():
        both[name] = both[name] / both["sigma_daily"]
    both = both.rename(columns={"overshoot_sigma": "same_day_sigma"}).drop(columns="sigma_daily")
    both.columns.name = None
    return both.sort_values(["target_date", "symbol", "side", "trigger_depth"], kind="stable", ignore_index=True)


def turns_of(days: pd.Series) -> NDArray[np.datetime64]:
    """First day of the quarter in which each day lies."""
    months = days.to_numpy("datetime64[M]").astype(np.int64)
    return np.asarray((months - months % 3).astype("datetime64[M]").astype("datetime64[D]"))


def estimate(
    paths: pd.DataFrame,
    *,
    side: str,
    depth_class: str,
    turn: pd.Timestamp,
    default_eta: float,
    seed: int,
    p: float,
    minimum_dates: int = MINIMUM_DATES,
    draws: int = uncertainty.DRAWS,
) -> Scaling:
    r"""Estimate exponent and stretch from triggers whose windows had ended by a moment.

    .. math:: \ln q_p(\tau, c) = a_c + \eta \ln \tau + \varepsilon, \qquad
              stretch = \exp\overline{\ln \frac{q_p(24h, c)}{q_p(\text{rest of the day}, c)}}

    over the horizons 1, 2, 4, 8 and 24 hours and the depths c of the class, each with its own level: the exponent is
    the mean of the depths' slopes, and the stretch the geometric mean of their ratios.

    Parameters
    ----------
    paths
        As `followed` gives them, of all markets.
    side, depth_class
        Which.
    turn
        The 24-hour window ends with the bar that begins 24 hours after the touch; it must have ended by here.
    default_eta
        What stands in where there are too few dates.
    seed, draws
        Of the date-block bootstrap.
    p
        Tail probability of the quantiles.
    minimum_dates
        Trigger dates that a depth must have to count, besides 10 triggers beyond its quantile.

    Returns
    -------
    Scaling

    Notes
    -----
    For horizons below a day a smaller exponent is the cautious one. Intervals resample blocks of 20 consecutive trigger
    dates, all markets and depths of a date together.
    """
    ended = paths["touched_at"] + pd.Timedelta(hours=HOURS_A_DAY + 1) <= turn
    deep = paths["trigger_depth"] >= DEEP
    mine = paths[ended & (paths["side"] == side) & (deep == (depth_class == CLASSES[1]))]
    known = mine.groupby("trigger_depth")["target_date"].agg(["nunique", "size"])
    is_enough = (known["nunique"] >= minimum_dates) & (known["size"] * p >= MINIMUM_TAIL_EVENTS - 1e-9)
    depths = tuple(float(depth) for depth in known.index[is_enough])
    kept = mine[mine["trigger_depth"].isin(depths)]
    if not depths:
        seen = int(mine["target_date"].nunique())
        lacks = (
            f"{seen} trigger dates with hourly bars, {minimum_dates} are needed"
            if seen < minimum_dates
            else f"no depth has {minimum_dates} trigger dates and {MINIMUM_TAIL_EVENTS} triggers beyond its quantile"
        )
        state = f"{UNTESTED}: {lacks}"
        nan = float("nan")
        return Scaling(side, depth_class, turn, len(mine), seen, (), default_eta, nan, nan, 1.0, nan, nan, state)
    distinct, date_of = np.unique(kept["target_date"].to_numpy("datetime64[D]"), return_inverse=True)
    counts = uncertainty.block_counts(
        len(distinct),
        block_dates=uncertainty.BLOCK_DATES,
        draws=draws,
        seed=[seed, SIDES.index(side), CLASSES.index(depth_class)],
    )
    counts = np.concatenate([np.ones((1, len(distinct)), dtype=np.int64), counts])
    slopes, ratios = [], []
    for depth in depths:
        at = (kept["trigger_depth"] == depth).to_numpy(np.bool_)
        q = {
            name: _quantiles(kept.loc[at, name].to_numpy(np.float64), date_of[at], counts, p)
            for name in ("same_day_sigma", *(f"h{hours}" for hours in FOLLOWED_HOURS))
        }
        slopes.append(_slope(np.stack([q[f"h{hours}"] for hours in FOLLOWED_HOURS], axis=1)))
        ratios.append(np.log(q[f"h{HOURS_A_DAY}"]) - np.log(q["same_day_sigma"]))
    eta, stretch = np.mean(slopes, axis=0), np.exp(np.mean(ratios, axis=0))
    limits = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    eta_low, eta_high = np.nanquantile(eta[1:], limits)
    stretch_low, stretch_high = np.nanquantile(stretch[1:], limits)
    is_capped = bool(eta[0] > ETA_CAP)
    return Scaling(
        side,
        depth_class,
        turn,
        len(kept),
        len(distinct),
        depths,
        ETA_CAP if is_capped else float(eta[0]),
        float(eta_low),
        float(eta_high),
        float(stretch[0]),
        float(stretch_low),
        float(stretch_high),
        f"{ESTIMATED}, capped at {ETA_CAP:g}" if is_capped else ESTIMATED,
    )


def _quantiles(values: Floats, date_of: NDArray[np.int64], counts: NDArray[np.int64], p: float) -> Floats:
    found = uncertainty.resampled_quantiles(values, np.ones(len(values)), date_of, counts, np.asarray([1 - p]))[:, 0]
    # A draw may leave out every date of a depth, or hold only touches without overshoot: it says nothing of a slope.
    return np.where(found > 0, found, np.nan)


def _slope(q: Floats) -> Floats:
    """Least-squares slope of ln q on ln tau, one a draw."""
    x = np.log(np.asarray(FOLLOWED_HOURS, dtype=np.float64))
    centred = x - x.mean()
    return np.asarray(np.sum(np.log(q) * centred, axis=1) / np.sum(centred**2), dtype=np.float64)


def walk(
    paths: pd.DataFrame,
    as_of: pd.Series,
    *,
    default_eta: Mapping[str, float],
    seed: int,
    p: float,
    minimum_dates: int = MINIMUM_DATES,
) -> pd.DataFrame:
    """Estimate again at the turn of each quarter: what a day may use was known at the turn before its ``as_of``.

    Parameters
    ----------
    paths
        As `followed` gives them.
    as_of
        Days for which an estimate is wanted.
    default_eta
        By depth class.
    seed, p, minimum_dates
        As in `estimate`.

    Returns
    -------
    DataFrame
        The fields of `Scaling`, one row a turn, side and class; any subset of days gives the same rows for its turns.
    """
    rows = [
        estimate(
            paths,
            side=side,
            depth_class=name,
            turn=pd.Timestamp(turn),
            default_eta=default_eta[name],
            seed=seed,
            p=p,
            minimum_dates=minimum_dates,
        )
        for turn in np.unique(turns_of(as_of))
        for side in SIDES
        for name in CLASSES
    ]
    return pd.DataFrame([vars(row) for row in rows], columns=list(Scaling.__dataclass_fields__))


def judged(
    moves: pd.DataFrame,
    events: pd.DataFrame,
    quantiles: pd.DataFrame,
    walked: pd.DataFrame,
    *,
    default_eta: Mapping[str, float],
    probabilities_bps: Sequence[int] = breaches.TRIGGER_PROBABILITIES_BPS,
) -> pd.DataFrame:
    r"""Judge the moves of each trigger by limits known before it, with the default scaling and the estimated one.

    .. math:: limit(\tau) = k_p\,\sigma_t \cdot stretch \cdot (\tau/24)^{\eta}

    Parameters
    ----------
    moves
        As `horizons.follow` gives them.
    events
        ``symbol, side, target_date, trigger_depth, sigma_daily``.
    quantiles
        Rows of `overshoot.walk_quantiles`.
    walked
        As `walk` gives it for the quantiles' ``as_of``.
    default_eta
        By depth class.
    probabilities_bps
        Tail probabilities.

    Returns
    -------
    DataFrame
        One row a trigger, tested horizon, probability and variant: ``symbol, side, target_date, trigger_depth,
        horizon_hours, variant, tail_probability_bps, limit_sigma, is_breach, is_breach_at_least``. Only triggers for
        which an estimate was known: both are judged on the same rows.
    """
    columns = [f"k_p{bps}" for bps in probabilities_bps]
    tested = moves[moves["horizon_hours"].isin(TESTED_HOURS)]
    rows = tested.merge(events[[*KEYS, "sigma_daily"]], on=KEYS, how="inner", validate="many_to_one")
    rows = rows.merge(quantiles[[*KEYS, "as_of", *columns]], on=KEYS, how="inner", validate="many_to_one")
    rows["turn"] = turns_of(rows["as_of"]).astype("datetime64[ns]")
    rows["depth_class"] = np.where(rows["trigger_depth"] >= DEEP, CLASSES[1], CLASSES[0])
    known = walked[walked["state"].str.startswith(ESTIMATED)]
    known = known[["side", "depth_class", "turn", "eta", "stretch"]]
    known = known.assign(turn=known["turn"].astype("datetime64[ns]"))
    rows = rows.merge(known, on=["side", "depth_class", "turn"], how="inner", validate="many_to_one")
    usual = rows["depth_class"].map(dict(default_eta)).astype(np.float64)
    share = rows["horizon_hours"] / HOURS_A_DAY
    factors = (share**usual, rows["stretch"] * share**usual, rows["stretch"] * share ** rows["eta"])
    found = []
    for variant, factor in zip(VARIANTS, factors, strict=True):
        for bps in probabilities_bps:
            limit = rows[f"k_p{bps}"] * factor
            one = rows[[*KEYS, "horizon_hours"]].assign(variant=variant, tail_probability_bps=bps, limit_sigma=limit)
            one["is_breach"] = rows["overshoot_most_log"] > limit * rows["sigma_daily"]
            one["is_breach_at_least"] = rows["overshoot_least_log"] > limit * rows["sigma_daily"]
            found.append(one[limit.notna()])
    return pd.concat(found, ignore_index=True)


def validation(facts: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Count breaches out of sample by side, depth, horizon, probability and variant, pooled over markets.

    Parameters
    ----------
    facts
        As `judged` gives them.
    seed
        Of the date-block bootstrap.

    Returns
    -------
    DataFrame
        ``side, trigger_depth, horizon_hours, tail_probability_bps, variant, triggers, dates, exceptions_at_least,
        exceptions, rate, rate_low, rate_high, mean_limit_sigma, verdict``. The verdict holds the nominal rate against
        the 90 % date-block interval: ``consistent``, ``too many``, ``too few``, or "not enough data" below 250
        triggers or 100 trigger dates.
    """
    names = ["side", "trigger_depth", "horizon_hours", "tail_probability_bps", "variant"]
    rows: list[dict[str, object]] = []
    for key, group in facts.sort_values(["target_date", "symbol"], kind="stable").groupby(names, sort=True):
        dates = group["target_date"].to_numpy("datetime64[D]")
        hits = group["is_breach"].to_numpy(np.bool_)
        low, high = coverage.date_block_interval(
            dates, hits, block_days=BLOCK_DAYS, level=LEVEL, draws=DRAWS, seed=seed
        )
        nominal = int(str(key[3])) / 10_000
        count = len(np.unique(dates))
        verdict = "too many" if nominal < low else "too few" if nominal > high else "consistent"
        rows.append(
            {
                **dict(zip(names, key, strict=True)),
                "triggers": len(group),
                "dates": count,
                "exceptions_at_least": int(group["is_breach_at_least"].sum()),
                "exceptions": int(hits.sum()),
                "rate": float(hits.mean()),
                "rate_low": low,
                "rate_high": high,
                "mean_limit_sigma": float(group["limit_sigma"].mean()),
                "verdict": verdict
                if len(group) >= MINIMUM_OBSERVATIONS and count >= MINIMUM_DATES
                else "not enough data",
            }
        )
    return pd.DataFrame(rows)
