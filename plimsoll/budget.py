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
    product, side, spec
        What for, which side (``long`` or ``short``), and the common knobs.

    Returns
    -------
    DataFrame
        The value columns of the threshold table. ``status`` is ``withheld`` with a ``note`` and null parameters
        where k, volatility, the users' buffer or traded volume is unknown, volatility is zero or beyond belief, or the
        size cannot be absorbed: not enough data is an answer.

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
    deviation = np.full(n, max(product.oracle_deviation, spec.minimum_oracle_deviation))
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
    ok = np.asarray([note == "" for note in notes])
    out = days[["as_of", "target_date"]].reset_index(drop=True)
    out["status"] = np.where(ok, "ok", "withheld")
    out["note"] = notes
    out["sigma_eff_daily"] = sigma
    out["trigger_depth"] = depth
    out["tail_probability_bps"] = product.tail_probability_bps
    out["k"] = k
    out["notional_usd"] = product.notional_usd
    out["adv_usd"] = adv
    values = _values(
        sigma[ok],
        k[ok],
        eta[ok],
        horizon[ok],
        slippage[ok],
        deviation[ok],
        buffer_log[ok],
        days[ok].reset_index(drop=True),
        product,
        side,
        spec,
    )
    for name, column in values.items():
        out[name] = _spread(column, ok)
    out["binding"] = out["binding"].fillna("none")
    return out


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


def _values(
    sigma: Floats,
    k: Floats,
    eta: Floats,
    horizon: Floats,
    slippage: Floats,
    deviation: Floats,
    buffer_log: Floats,
    days: pd.DataFrame,
    product: ProductSpec,
    side: str,
    spec: BudgetSpec,
) -> dict[str, NDArray[np.generic]]:
    x_quantile = liquidation.adverse_move(k=k, sigma_eff=sigma, horizon_hours=horizon, eta=eta)
    unit = liquidation.adverse_move(k=1.0, sigma_eff=sigma, horizon_hours=horizon, eta=eta)
    stretch = days["k_p100"].to_numpy(np.float64) / days["k_pooled_p100"].to_numpy(np.float64)
    tail_u = days["gpd_threshold_sigma"].to_numpy(np.float64) * unit * stretch
    tail_xi = days["gpd_xi"].to_numpy(np.float64)
    tail_beta = days["gpd_beta_sigma"].to_numpy(np.float64) * unit * stretch
    has_tail = np.isfinite(tail_u)
    x_es = np.full(len(sigma), np.nan)
    x_es[has_tail] = tails.es_limit(
        spec.es_budget,
        threshold=tail_u[has_tail],
        xi=tail_xi[has_tail],
        beta=tail_beta[has_tail],
        tail_fraction=TAIL_FRACTION,
    )
    move = np.fmax(x_quantile, x_es)
    budget = liquidation.loss_budget(
        move=move, oracle_deviation=deviation, slippage=slippage, fee=np.full(len(sigma), product.fee), side=side
    )
    columns: dict[str, NDArray[np.generic]] = {
        "horizon_hours": horizon,
        "eta": eta,
        "x_quantile": x_quantile,
        "x_es": x_es,
        "lambda_move": budget.move,
        "lambda_oracle": budget.oracle,
        "lambda_slippage": budget.slippage,
        "lambda_fee": budget.fee,
        "lambda_model": np.broadcast_to(budget.model, sigma.shape).astype(np.float64),
        "lambda_total": budget.total,
        "user_buffer_log": buffer_log,
        "lt_raw": liquidation.liquidation_threshold(budget.total),
    }
    binding = np.where(np.nan_to_num(x_es) > x_quantile, "expected_shortfall", "quantile").astype(object)
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
        columns |= {"lt_bps": lending.lt_bps, "ltv_bps": lending.ltv_bps, "bonus_bps": lending.bonus_bps}
        columns |= {name: np.full(len(sigma), np.nan) for name in ("mm_bps", "im_bps", "max_leverage")}
    else:
        perpetual = thresholds.perpetual_parameters(
            total=budget.total,
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
        columns |= {name: np.full(len(sigma), np.nan) for name in ("lt_bps", "ltv_bps", "bonus_bps")}
        columns |= {
            "mm_bps": perpetual.mm_bps,
            "im_bps": perpetual.im_bps,
            "max_leverage": perpetual.max_leverage,
        }
    columns["absorbed_move"] = absorbed
    columns["binding"] = binding
    expected = np.full(len(sigma), np.nan)
    expected[has_tail] = tails.expected_bad_debt(
        np.maximum(absorbed, tail_u)[has_tail],
        threshold=tail_u[has_tail],
        xi=tail_xi[has_tail],
        beta=tail_beta[has_tail],
        tail_fraction=TAIL_FRACTION,
    )
    columns["expected_bad_debt"] = expected
    return columns


def _spread(column: NDArray[np.generic], ok: NDArray[np.bool_]) -> pd.Series:
    if column.dtype == object:
        text = np.full(len(ok), None, dtype=object)
        text[ok] = column
        return pd.Series(text)
    full = np.full(len(ok), np.nan)
    full[ok] = column
    return pd.Series(full)
