"""Severity: how far beyond each limit losses went, and which of several forecasts was the better one.

What lives here: expected shortfalls laid beside breach facts, their tests, bets against every limit, scores. What does
not: tests and scores themselves (``plimsoll.backtests``), how often a limit failed (``assets.trial``).
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from plimsoll import breaches, tails
from plimsoll.backtests import battery, betting, scores
from plimsoll.backtests.outcomes import Floats
from plimsoll.backtests.shortfall import TailLaw

CLOSES = {"garch_t", "ewma"}
"""Models of closes that state an expected shortfall; historical simulation states a quantile alone."""
IN_USE = {"var_close": "garch_t", "overshoot_24h": "estimator", "overshoot_24h_deep": "estimator"}
KEYS = ["series", "model", "side", "tail_probability_bps"]
FIELDS = [*KEYS, "symbol", "target_date", "loss", "limit", "shortfall", "scale", "nu"]


def close_shortfalls(facts: pd.DataFrame, forecasts: pd.DataFrame) -> pd.DataFrame:
    r"""Lay the expected shortfall of closes beside their facts.

    .. math:: ES_t = VaR_t + (es_\nu(p) - z_\nu(p))\,\sigma_t

    Parameters
    ----------
    facts
        Breach facts, every series.
    forecasts
        ``symbol, target_date, mu_daily, nu``.

    Returns
    -------
    DataFrame
        ``FIELDS``: losses less the model's mean, positive when adverse; ``scale`` is the day's forecast volatility;
        ``nu`` is NaN under the normal law.
    """
    mine = facts[(facts["series"] == "var_close") & facts["model"].isin(CLOSES)]
    rows = mine.merge(
        forecasts[["symbol", "target_date", "mu_daily", "nu"]],
        on=["symbol", "target_date"],
        how="inner",
        validate="many_to_one",
    )
    p = rows["tail_probability_bps"].to_numpy(np.float64) / 1e4
    scale = (rows["limit_log"] / rows["limit_sigma"]).to_numpy(np.float64)
    is_garch = rows["model"].eq("garch_t").to_numpy(np.bool_)
    nu = np.where(is_garch, rows["nu"].to_numpy(np.float64), np.nan)
    adverse_mean = np.where(rows["side"].eq("long"), -1.0, 1.0) * rows["mu_daily"].to_numpy(np.float64)
    location = np.where(is_garch, adverse_mean, 0.0)
    safe = np.where(np.isnan(nu), 10.0, nu)
    z = np.where(np.isnan(nu), tails.normal_quantile(p), tails.student_t_quantile(p, safe))
    es = np.where(np.isnan(nu), tails.normal_es(p), tails.student_t_es(p, safe))
    limit = rows["limit_log"].to_numpy(np.float64) - location
    out = rows.assign(
        loss=rows["realised_log"].to_numpy(np.float64) - location,
        limit=limit,
        shortfall=limit * es / z,
        scale=scale,
        nu=nu,
    )
    return out[FIELDS].sort_values([*KEYS, "symbol", "target_date"], kind="stable", ignore_index=True)


def overshoot_shortfalls(facts: pd.DataFrame, quantiles: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    r"""Lay the expected shortfall of the overshoot estimate beside its facts.

    .. math:: ES = k_p + \frac{\beta r + \xi(k_p - u r)}{1-\xi}, \qquad r = k_{0.01} / k^{pooled}_{0.01}

    in sigmas: the pooled tail carried to the market by the ratio that the budget uses (M-8).

    Parameters
    ----------
    facts
        Breach facts, every series.
    quantiles
        ``symbol, target_date, side, trigger_depth, k_p*, k_pooled_p100, gpd_*``.
    events
        ``symbol, target_date, side, trigger_depth, sigma_daily, overshoot_log``: which depth a fact was judged at.

    Returns
    -------
    DataFrame
        ``FIELDS``; rows without a tail, or whose quantile lies below the tail's threshold, are left out.
    """
    mine = facts[facts["series"].isin(("overshoot_24h", "overshoot_24h_deep")) & (facts["model"] == "estimator")]
    both = events.merge(quantiles, on=["symbol", "target_date", "side", "trigger_depth"], suffixes=("", "_k"))
    rows = mine.merge(both, on=["symbol", "target_date", "side"], suffixes=("", "_event"))
    bps = rows["tail_probability_bps"].to_numpy(np.int64)
    levels = breaches.TRIGGER_PROBABILITIES_BPS
    columns = [rows[f"k_p{one}"].to_numpy(np.float64) for one in levels]
    k = np.select([bps == one for one in levels], columns, np.nan)
    # Two depths may be stored for a day; the fact was judged at the one whose quantile and overshoot made it.
    sigma = rows["sigma_daily"].to_numpy(np.float64)
    is_same = np.isclose(k * sigma, rows["limit_log"], rtol=1e-9) & np.isclose(
        rows["overshoot_log"], rows["realised_log"], rtol=1e-9, atol=1e-15
    )
    ratio = (rows["k_p100"] / rows["k_pooled_p100"]).to_numpy(np.float64)
    xi, u = rows["gpd_xi"].to_numpy(np.float64), rows["gpd_threshold_sigma"].to_numpy(np.float64) * ratio
    beyond = (rows["gpd_beta_sigma"].to_numpy(np.float64) * ratio + xi * (k - u)) / (1 - xi)
    kept = is_same & np.isfinite(beyond) & (k >= u) & (beyond > 0)
    out: pd.DataFrame = rows.assign(
        loss=rows["realised_log"], limit=rows["limit_log"], shortfall=(k + beyond) * sigma, scale=sigma, nu=np.nan
    ).loc[kept, FIELDS]
    return out.sort_values([*KEYS, "symbol", "target_date"], kind="stable", ignore_index=True)


def tests(shortfalls: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Test each market's expected shortfall: one row a market, series, model, side, probability and test.

    Parameters
    ----------
    shortfalls
        ``FIELDS``, from the two functions above.
    seed
        Of the simulated laws and the bootstraps.
    """
    rows: list[dict[str, Any]] = []
    for named, group in _by([*KEYS, "symbol"], shortfalls):
        p = int(str(named["tail_probability_bps"])) / 1e4
        loss, limit, shortfall = _columns(group)
        if named["series"] == "var_close":
            nu = group["nu"].to_numpy(np.float64)
            verdicts = battery.shortfall_battery(
                -loss, -limit, -shortfall, TailLaw(p, _typical(nu)), nu=nu, seed=seed, draws=999
            )
        else:
            verdicts = battery.excess_battery(-loss, -limit, -shortfall, p, seed=seed, draws=999)
        rows += [named | asdict(one) for one in verdicts]
    return pd.DataFrame(rows)


def _columns(group: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
    loss, limit, shortfall = (group[name].to_numpy(np.float64) for name in ("loss", "limit", "shortfall"))
    return loss, limit, shortfall


def _typical(nu: Floats) -> float | None:
    """Median degrees of freedom in halves; None where the normal law is the usual one."""
    if np.isnan(nu).mean() > 0.5:
        return None
    return max(2.5, float(np.round(2 * np.nanmedian(nu)) / 2))


def bets(facts: pd.DataFrame, shortfalls: pd.DataFrame) -> pd.DataFrame:
    """Bet against every limit and every expected shortfall, all markets of a date as one observation.

    Returns
    -------
    DataFrame
        One row a series, model, side, probability and ``statistic`` (``quantile`` or ``shortfall``): ``dates``, the
        wealth at the end and its largest value (as logs), ``state``, the dates of warning and alarm.

    Notes
    -----
    Evidence of a date is the mean over its markets (M-25). Unlike the watch that can withhold a report, nothing here
    begins anew after an alarm: it is the whole record of each model.
    """
    rows: list[dict[str, Any]] = []
    judged = facts[facts["tail_probability_bps"] > 0]
    for named, group in _by(KEYS, judged):
        p = int(str(named["tail_probability_bps"])) / 1e4
        evidence = group.groupby("target_date")["is_breach"].mean().sort_index() / p
        rows.append(named | {"statistic": "quantile"} | _record(evidence))
    for named, group in _by(KEYS, shortfalls):
        p = int(str(named["tail_probability_bps"])) / 1e4
        value = pd.Series(betting.shortfall_evidence(*_columns(group), p), index=group.index)
        evidence = value.groupby(group["target_date"]).mean().sort_index()
        rows.append(named | {"statistic": "shortfall"} | _record(evidence))
    return pd.DataFrame(rows)


def paths(facts: pd.DataFrame, series: str, bps: int) -> pd.DataFrame:
    """Return the wealth of betting against every model of one series and probability, date by date.

    Returns
    -------
    DataFrame
        ``model, side, date, log_wealth``, as in `bets`: nothing begins anew after an alarm.
    """
    frames = []
    kept = facts[(facts["series"] == series) & (facts["tail_probability_bps"] == bps)]
    for named, group in _by(["model", "side"], kept):
        evidence = group.groupby("target_date")["is_breach"].mean().sort_index() / (bps / 1e4)
        values = evidence.to_numpy(np.float64)
        found = betting.wealth(values, betting.fixed_bets(values))
        frames.append(pd.DataFrame({"date": evidence.index, "log_wealth": found.log_wealth}).assign(**named))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _record(evidence: pd.Series) -> dict[str, Any]:
    values = evidence.to_numpy(np.float64)
    found = betting.wealth(values, betting.fixed_bets(values))

    def day(at: int | None) -> str | None:
        return None if at is None else str(pd.Timestamp(evidence.index[at]).date())

    return {
        "dates": len(values),
        "log_wealth": float(found.log_wealth[-1]),
        "largest_log_wealth": max(0.0, float(found.log_wealth.max())),
        "state": found.state,
        "warned_on": day(found.warned_at),
        "alarmed_on": day(found.alarmed_at),
    }


def scoreboard(facts: pd.DataFrame, shortfalls: pd.DataFrame) -> pd.DataFrame:
    """Score every model of a series on the rows that all of them judged, in units of the day's forecast volatility.

    Parameters
    ----------
    facts, shortfalls
        Breach facts; expected shortfalls of the models that state one.

    Returns
    -------
    DataFrame
        One row a series, side, probability, ``score`` (``quantile`` or ``joint``: quantile and shortfall together) and
        model: mean score, its ratio to that of the model in use, the Diebold-Mariano statistic against it (negative:
        the row's model is better), its p-value, and whether the model is in the set that holds the best one with 90 %
        confidence.

    Notes
    -----
    Scores of a date are averaged over its markets first: markets that fall together are one observation. Lags of the
    long-run variance and mean block of the bootstrap: the cube root of the number of dates.
    """
    rows: list[dict[str, Any]] = []
    groups = ["series", "side", "tail_probability_bps"]
    named_facts = facts[facts["series"].isin(IN_USE) & (facts["tail_probability_bps"] > 0)]
    named_facts = named_facts[~named_facts["model"].isin(("budget", "published"))]
    quantile = named_facts.assign(
        loss=named_facts["realised_log"],
        limit=named_facts["limit_log"],
        scale=named_facts["limit_log"] / named_facts["limit_sigma"],
    )
    for named, group in _by(groups, quantile):
        p = int(str(named["tail_probability_bps"])) / 1e4
        unit = group["scale"].to_numpy(np.float64)
        value = scores.quantile_score(-group["loss"].to_numpy() / unit, -group["limit"].to_numpy() / unit, p)
        rows += _compared(named | {"score": "quantile"}, group.assign(value=value))
    for named, group in _by(groups, shortfalls):
        p = int(str(named["tail_probability_bps"])) / 1e4
        unit = group["scale"].to_numpy(np.float64)
        loss, limit, shortfall = _columns(group)
        value = scores.fz0(-loss / unit, -limit / unit, -shortfall / unit, p)
        rows += _compared(named | {"score": "joint"}, group.assign(value=value))
    return pd.DataFrame(rows)


def _compared(named: dict[str, Any], group: pd.DataFrame) -> list[dict[str, Any]]:
    champion = IN_USE[str(named["series"])]
    shared = scores.shared_scores(group)
    if champion not in shared.daily or shared.observations == 0:
        return []
    found = scores.compare(shared.daily, champion, seed=0)
    mean = found.set_index("model")["mean_score"]
    is_ratio = named["score"] == "quantile"
    return [
        named
        | {
            "model": row["model"],
            "observations": shared.observations,
            "dates": len(shared.daily),
            "mean_score": row["mean_score"],
            "ratio_to_in_use": row["mean_score"] / mean[champion] if is_ratio else np.nan,
            "dm_statistic": row["dm_statistic"],
            "dm_p": row["dm_p"],
            "is_in_confidence_set": row["is_in_confidence_set"],
        }
        for row in found.to_dict("records")
    ]


def _by(keys: list[str], rows: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    if len(rows):
        for key, group in rows.groupby(keys, sort=True):
            yield dict(zip(keys, key, strict=True)), group.sort_values("target_date", kind="stable")
