"""The loss budget walked over days: from volatility and overshoot to rounded parameters, part by part.

What lives here: joining forecasts, overshoot quantiles and liquidity of one market into the budget of one product and
side, and the parameters that follow. What does not: the closed forms (``liquidation``), rounding and validity
(``thresholds``), estimates (``volatility``, ``overshoot``, ``tails``).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plimsoll import liquidation, tails, thresholds
from plimsoll.overshoot import TAIL_FRACTION

Floats = NDArray[np.float64]

DEEP_TRIGGER = 2.0
"""Trigger depth from which the smaller horizon exponent applies."""
TAIL_COLUMNS = ("k_p100", "k_pooled_p100", "gpd_threshold_sigma", "gpd_xi", "gpd_beta_sigma")
LARGEST_MOVE = float(np.log(10))
"""Budget and users' room together, log: beyond a tenfold price no margin or threshold is meant seriously."""
IMPLAUSIBLE_SIGMA = 1.0
"""Daily volatility beyond which a forecast is a fault of data or fit, or a market that no threshold serves."""


@dataclass(frozen=True)
class BudgetSpec:
    """What is common to all markets: budget, impact law, grids."""

    es_budget: float
    participation: float
    impact_coefficient: float
    protocol_share: float
    minimum_oracle_deviation: float
    minimum_horizon_hours: float
    eta: float
    eta_deep: float
    lt_grid_bps: int
    bonus_grid_bps: int
    margin_grid_bps: int


@dataclass(frozen=True)
class ProductSpec:
    """One use of one market.

    Attributes
    ----------
    product
        ``lending`` or ``perpetual``.
    notional_usd
        Design size of one liquidation.
    base_horizon_hours
        Trigger to execution without the time to sell.
    tail_probability_bps
        p given a trigger: 500, 100, 50 or 10.
    oracle_deviation, fee
        Fractions.
    funding
        Adverse funding over the user's horizon, fraction of notional (perpetuals).
    cap_bps
        Structural cap of the liquidation threshold for the market's class (lending).
    bonus_floor_bps
        Bonus fixed by governance (lending): kept while it suffices for participation, 0 where none is in force.
    """

    product: str
    notional_usd: float
    base_horizon_hours: float
    tail_probability_bps: int
    oracle_deviation: float
    fee: float
    funding: float
    cap_bps: int
    bonus_floor_bps: int = 0


def walk_budget(days: pd.DataFrame, product: ProductSpec, side: str, spec: BudgetSpec) -> pd.DataFrame:
    r"""Compute the budget and the parameters for every day of one market, product and side.

    .. math:: \Lambda = \max(X_p, X_{ES}) + \lambda_\delta + \lambda_s + \lambda_f + \lambda_m, \qquad
              X_p = k_p\,\sigma_{eff}\,(\tau/24h)^{\eta}

    Parameters
    ----------
    days
        ``as_of, target_date, sigma_daily, sigma_eff_daily, trigger_depth, k, k_pooled_p100, k_p100,
        gpd_threshold_sigma, gpd_xi, gpd_beta_sigma, buffer_sigma, adv_usd, pooled_triggers``; NaN where unknown.
        Where measured, also ``oracle_error`` (fraction, never below the product's deviation).
    product, side, spec
        What for, which side (``long`` or ``short``), and the common knobs.

    Returns
    -------
    DataFrame
        The value columns of the threshold table. ``status`` is ``withheld`` with a ``note`` and null parameters
        where k, volatility, the users' buffer or traded volume is unknown, volatility is zero or beyond belief, or the
        size or the move cannot be absorbed: not enough data is an answer.

    Notes
    -----
    The generalised Pareto tail of the pool is stretched by k over pooled k at one percent, so that the
    expected-shortfall form speaks about the same market as the quantile form. Where the expected bad debt at the
    tail's threshold lies below its budget already, the quantile binds. Source: ``docs/methodology.md``.
    """
    n = len(days)
    sigma = days["sigma_eff_daily"].to_numpy(np.float64)
    k = days["k"].to_numpy(np.float64)
    adv = days["adv_usd"].to_numpy(np.float64)
    depth = days["trigger_depth"].to_numpy(np.float64)
    buffer_log = days["buffer_sigma"].to_numpy(np.float64) * sigma
    deviation = np.fmax(_optional(days, "oracle_error"), max(product.oracle_deviation, spec.minimum_oracle_deviation))
    with np.errstate(invalid="ignore"):
        eta = np.where(depth >= DEEP_TRIGGER, spec.eta_deep, spec.eta)
        horizon = liquidation.horizon_hours(
            base_hours=product.base_horizon_hours,
            notional_usd=product.notional_usd,
            adv_usd=adv,
            participation=spec.participation,
            floor_hours=spec.minimum_horizon_hours,
        )
        slippage = liquidation.square_root_impact(
            sigma_daily=sigma,
            notional_usd=product.notional_usd,
            adv_usd=adv,
            coefficient=spec.impact_coefficient,
        )
    notes = _withheld_notes(days, k, adv, buffer_log, slippage)
    known = np.asarray([note == "" for note in notes])
    parts = pd.DataFrame({"sigma": sigma, "k": k, "eta": eta, "horizon": horizon, "slippage": slippage})
    parts = parts.assign(deviation=deviation, buffer=buffer_log, at=np.arange(n))
    parts = pd.concat([parts, days[list(TAIL_COLUMNS)].reset_index(drop=True)], axis=1)[known]
    sums = _sums(parts, product, side, spec)
    carried = sums["lambda_total"] + sums["user_buffer_log"] <= LARGEST_MOVE
    for at, total in zip(parts.loc[~carried, "at"], sums.loc[~carried, "lambda_total"], strict=True):
        notes[at] = (
            f"not absorbable: the budget is a move of {100 * np.expm1(total):.0f} %, with the users' room over tenfold"
        )
    out = days[["as_of", "target_date"]].reset_index(drop=True)
    out["status"] = np.where([note == "" for note in notes], "ok", "withheld")
    out["note"] = notes
    out["sigma_eff_daily"] = sigma
    out["trigger_depth"] = depth
    out["tail_probability_bps"] = product.tail_probability_bps
    out["k"] = k
    out["notional_usd"] = product.notional_usd
    out["adv_usd"] = adv
    values = _parameters(parts[carried], sums[carried], product, side, spec)
    out = out.join(values.set_axis(parts.loc[carried, "at"].to_numpy()))
    out["binding"] = out["binding"].where(out["status"] == "ok", "none")
    return out


def _optional(days: pd.DataFrame, name: str) -> Floats:
    return days[name].to_numpy(np.float64) if name in days else np.full(len(days), np.nan)


def _withheld_notes(days: pd.DataFrame, k: Floats, adv: Floats, buffer_log: Floats, slippage: Floats) -> list[str]:
    triggers = days["pooled_triggers"].fillna(0).to_numpy(np.int64)
    sigma = days["sigma_daily"].to_numpy(np.float64)
    notes = [""] * len(days)
    for i in range(len(days)):
        if not sigma[i] > 0:
            notes[i] = "the price did not move: a volatility of zero carries no threshold"
        elif sigma[i] > IMPLAUSIBLE_SIGMA:
            notes[i] = f"forecast volatility of {100 * sigma[i]:.0f} % a day is not plausible: look at the newest bars"
        elif not np.isfinite(k[i]):
            notes[i] = f"not enough data: {triggers[i]} pooled triggers known"
        elif not np.isfinite(buffer_log[i]):
            notes[i] = "not enough data: too few excursions for the users' buffer"
        elif not np.isfinite(adv[i]):
            notes[i] = "traded volume unknown and none assumed"
        elif not slippage[i] < 0.5:
            notes[i] = "not absorbable: the design size moves the price by half or more"
    return notes


def _tail(parts: pd.DataFrame) -> tuple[dict[str, Floats], NDArray[np.bool_]]:
    """Carry the pool's tail over the horizon, stretched to the market; the second item says where there is one."""
    unit = liquidation.adverse_move(
        k=1.0, sigma_eff=parts["sigma"], horizon_hours=parts["horizon"], eta=parts["eta"]
    ) * (parts["k_p100"].to_numpy(np.float64) / parts["k_pooled_p100"].to_numpy(np.float64))
    threshold = parts["gpd_threshold_sigma"].to_numpy(np.float64) * unit
    has_tail = np.isfinite(threshold)
    law = {
        "threshold": threshold,
        "xi": parts["gpd_xi"].to_numpy(np.float64),
        "beta": parts["gpd_beta_sigma"].to_numpy(np.float64) * unit,
    }
    return {name: column[has_tail] for name, column in law.items()}, has_tail


def _sums(parts: pd.DataFrame, product: ProductSpec, side: str, spec: BudgetSpec) -> pd.DataFrame:
    """Sum the log loss budget, row by row."""
    law, has_tail = _tail(parts)
    x_quantile = liquidation.adverse_move(
        k=parts["k"], sigma_eff=parts["sigma"], horizon_hours=parts["horizon"], eta=parts["eta"]
    )
    x_es = np.full(len(parts), np.nan)
    x_es[has_tail] = tails.es_limit(spec.es_budget, **law, tail_fraction=TAIL_FRACTION)
    budget = liquidation.loss_budget(
        move=np.fmax(x_quantile, x_es),
        oracle_deviation=parts["deviation"],
        slippage=parts["slippage"],
        fee=np.full(len(parts), product.fee),
        side=side,
    )
    columns = {
        "horizon_hours": parts["horizon"].to_numpy(),
        "eta": parts["eta"].to_numpy(),
        "x_quantile": x_quantile,
        "x_es": x_es,
        "lambda_move": budget.move,
        "lambda_oracle": budget.oracle,
        "lambda_slippage": budget.slippage,
        "lambda_fee": budget.fee,
        "lambda_model": np.broadcast_to(budget.model, len(parts)),
        "lambda_total": budget.total,
        "user_buffer_log": parts["buffer"].to_numpy(),
        "lt_raw": liquidation.liquidation_threshold(budget.total),
    }
    return pd.DataFrame(columns, index=parts.index)


def _parameters(
    parts: pd.DataFrame, sums: pd.DataFrame, product: ProductSpec, side: str, spec: BudgetSpec
) -> pd.DataFrame:
    """Add the rounded parameters, what they absorb and the bad debt expected beyond it."""
    move, total, buffer_log = (sums[name].to_numpy() for name in ("lambda_move", "lambda_total", "user_buffer_log"))
    deviation, slippage = parts["deviation"].to_numpy(), parts["slippage"].to_numpy()
    out = sums.copy()
    binding = np.where(np.nan_to_num(sums["x_es"]) > sums["x_quantile"], "expected_shortfall", "quantile").astype(
        object
    )
    if product.product == "lending":
        lending = thresholds.lending_parameters(
            move=move,
            oracle_deviation=deviation,
            slippage=slippage,
            fee=product.fee,
            protocol_share=spec.protocol_share,
            buffer_log=buffer_log,
            cap_bps=product.cap_bps,
            bonus_floor_bps=product.bonus_floor_bps,
            lt_grid_bps=spec.lt_grid_bps,
            bonus_grid_bps=spec.bonus_grid_bps,
            side=side,
        )
        bonus = lending.bonus_bps / 1e4
        uncapped = liquidation.threshold_cap(move=move, oracle_deviation=deviation, bonus=bonus, side=side)
        binding[uncapped * 1e4 >= product.cap_bps + spec.lt_grid_bps] = "cap"
        absorbed = liquidation.absorbed_move_lending(
            lt=lending.lt_bps / 1e4, bonus=bonus, oracle_deviation=deviation, side=side
        )
        found = {"lt_bps": lending.lt_bps, "ltv_bps": lending.ltv_bps, "bonus_bps": lending.bonus_bps}
    else:
        perpetual = thresholds.perpetual_parameters(
            total=total,
            buffer_log=buffer_log,
            funding=product.funding,
            side=side,
            margin_grid_bps=spec.margin_grid_bps,
        )
        absorbed = liquidation.absorbed_move_perpetual(
            maintenance=perpetual.mm_bps / 1e4,
            oracle_deviation=deviation,
            slippage=slippage,
            fee=product.fee,
            side=side,
        )
        found = {"mm_bps": perpetual.mm_bps, "im_bps": perpetual.im_bps, "max_leverage": perpetual.max_leverage}
    for name in ("lt_bps", "ltv_bps", "bonus_bps", "mm_bps", "im_bps", "max_leverage"):
        out[name] = found[name].astype(np.float64) if name in found else np.nan
    out["absorbed_move"] = absorbed
    out["binding"] = binding
    law, has_tail = _tail(parts)
    expected = np.full(len(parts), np.nan)
    expected[has_tail] = tails.expected_bad_debt(
        np.maximum(absorbed[has_tail], law["threshold"]), **law, tail_fraction=TAIL_FRACTION
    )
    out["expected_bad_debt"] = expected
    return out
