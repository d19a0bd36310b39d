"""The loss budget walked over days: from volatility and overshoot to rounded parameters, part by part.

What lives here: joining forecasts, overshoot quantiles and liquidity of one market into the budget of one product and
side, and the parameters that follow. What does not: the closed forms (``liquidation``), rounding and validity
(``thresholds``), estimates (``volatility``, ``overshoot``, ``tails``), one day over many sizes (``sizes``).
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plimsoll import consensus, inverse, liquidation, smoothing, tails, thresholds
from plimsoll.budget.spec import BudgetSpec, ProductSpec
from plimsoll.disagreement import disagreement
from plimsoll.overshoot import TAIL_FRACTION

Floats = NDArray[np.float64]

DEEP_TRIGGER = 2.0
"""Trigger depth from which the smaller horizon exponent applies."""
TAIL_COLUMNS = ("k_p100", "k_pooled_p100", "gpd_threshold_sigma", "gpd_xi", "gpd_beta_sigma")
LARGEST_MOVE = float(np.log(10))
"""Budget and users' room together, log: beyond a tenfold price no margin or threshold is meant seriously."""
IMPLAUSIBLE_SIGMA = 1.0
"""Daily volatility beyond which a forecast is a fault of data or fit, or a market that no threshold serves."""
SLIPPAGES = ("law", "book", "pool")
PARTS = ("move", "oracle", "slippage", "fee", "model", "smoothing")
"""Parts of the budget; the columns ``lambda_<part>`` sum to ``lambda_total``."""


def walk_budget(days: pd.DataFrame, product: ProductSpec, side: str, spec: BudgetSpec) -> pd.DataFrame:
    r"""Compute the budget and the parameters for every day of one market, product and side.

    .. math:: \Lambda = \max(X_p, X_{ES}) + \lambda_\delta + \lambda_s + \lambda_f + \lambda_m + \lambda_a, \qquad
              X_p = k_p\,\sigma_{eff}\,(\tau/24h)^{\eta}

    Parameters
    ----------
    days
        ``as_of, target_date, sigma_daily, sigma_eff_daily, trigger_depth, k, k_pooled_p100, k_p100,
        gpd_threshold_sigma, gpd_xi, gpd_beta_sigma, buffer_sigma, adv_usd, pooled_triggers``; NaN where unknown.
        Where known, also ``oracle_error`` (fraction, never below the product's deviation), ``notional_usd`` (size of
        the row, else the product's), ``slippage_book`` and ``slippage_pool`` (fractions; infinite where the pool ends
        before the size), ``slippage_book_least`` (what
        the largest size that a book takes costs, where it ends before this one), ``challenger_ratio`` (the challenger's
        move over that of the model in use), and ``sigma_stress_daily`` and ``buffer_factor`` for those two rules.
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
    tail's threshold lies below its budget already, the quantile binds. ``lambda_raw`` is the budget at the day's own
    volatility, before anything damps it. Source: ``docs/methodology.md``.
    """
    rows, parts, sums, notes = _judged(days, product, side, spec)
    carried = np.asarray([notes[at] == "" for at in parts["at"]], dtype=np.bool_)
    out = days[["as_of", "target_date"]].reset_index(drop=True)
    out["status"] = np.where([note == "" for note in notes], "ok", "withheld")
    out["note"] = notes
    for name, column in (
        ("sigma_daily", "sigma_daily"),
        ("sigma_eff_daily", "sigma"),
        ("trigger_depth", "depth"),
        ("k", "k"),
        ("notional_usd", "notional"),
        ("adv_usd", "adv"),
        ("oracle_error", "deviation"),
    ):
        out[name] = rows[column].to_numpy()
    out["tail_probability_bps"] = product.tail_probability_bps
    out["smoothing"] = spec.smoothing.rule
    parts, sums = parts[carried], sums[carried].copy()
    sums["lambda_raw"] = _sums(parts.assign(sigma=parts["sigma_daily"]), product, side, spec)["lambda_total"]
    values = _parameters(parts, sums, product, side, spec)
    out = out.join(values.set_axis(parts["at"].to_numpy()))
    for name in ("binding", "slippage_basis"):
        out[name] = out[name].where(out["status"] == "ok", "none")
    return out


def budget_terms(days: pd.DataFrame, product: ProductSpec, side: str, spec: BudgetSpec) -> pd.DataFrame:
    """Compute the parts of the budget alone, row by row; NaN where `walk_budget` withholds.

    Parameters
    ----------
    days, product, side, spec
        As in `walk_budget`.

    Returns
    -------
    DataFrame
        ``lambda_<part>`` for every part, ``lambda_total``, ``slippage`` and ``oracle_error`` (fractions), one row a
        row of ``days``.
    """
    rows, parts, sums, notes = _judged(days, product, side, spec)
    names = [*(f"lambda_{part}" for part in PARTS), "lambda_total", "slippage"]
    kept = np.asarray([notes[at] == "" for at in parts["at"]], dtype=np.bool_)
    out = sums.loc[kept, names].set_axis(parts.loc[kept, "at"].to_numpy()).reindex(range(len(days)))
    return out.assign(oracle_error=rows["deviation"].to_numpy())


def budget_slippage(days: pd.DataFrame, product: ProductSpec, spec: BudgetSpec) -> Floats:
    """Return the slippage of the budget alone, fractions; NaN where data are missing or the size is not absorbable.

    The move does not enter, so that this is much quicker than `budget_terms`.
    """
    rows = _inputs(days, product, spec)
    found = _slippages(rows, spec)["slippage"].to_numpy(np.float64)
    return np.where([note == "" for note in _withheld_notes(days, rows)], found, np.nan)


def _judged(
    days: pd.DataFrame, product: ProductSpec, side: str, spec: BudgetSpec
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, list[str]]:
    """Lay out the inputs of all rows, those that can be summed, their sums, and why each other one is withheld."""
    rows = _inputs(days, product, spec)
    notes = _withheld_notes(days, rows)
    parts = rows.assign(at=np.arange(len(days)))[[note == "" for note in notes]]
    sums = _smoothed(parts, product, side, spec)
    carried = sums["lambda_total"] + sums["user_buffer_log"] <= LARGEST_MOVE
    for at, total in zip(parts.loc[~carried, "at"], sums.loc[~carried, "lambda_total"], strict=True):
        notes[at] = (
            f"not absorbable: the budget is a move of {100 * np.expm1(total):.0f} %, with the users' room over tenfold"
        )
    return rows, parts, sums, notes


def _optional(days: pd.DataFrame, name: str, default: float = np.nan) -> Floats:
    return days[name].to_numpy(np.float64) if name in days else np.full(len(days), default)


def _inputs(days: pd.DataFrame, product: ProductSpec, spec: BudgetSpec) -> pd.DataFrame:
    """Lay out what the sums need, row by row: the effective volatility, the horizon and its parts, the error."""
    daily = days["sigma_daily"].to_numpy(np.float64)
    sigma = daily if spec.smoothing.rule == "none" else days["sigma_eff_daily"].to_numpy(np.float64)
    adv = days["adv_usd"].to_numpy(np.float64)
    notional = _optional(days, "notional_usd", product.notional_usd)
    floor = max(product.oracle_deviation, spec.minimum_oracle_deviation)
    with np.errstate(invalid="ignore"):
        horizon = liquidation.horizon_hours(
            base_hours=product.base_horizon_hours,
            notional_usd=notional,
            adv_usd=adv,
            participation=spec.participation,
            floor_hours=spec.minimum_horizon_hours,
        )
        rows = pd.DataFrame(
            {
                "sigma": sigma,
                "sigma_daily": daily,
                "k": days["k"].to_numpy(np.float64),
                "depth": days["trigger_depth"].to_numpy(np.float64),
                "eta": _optional(days, "eta"),
                "horizon": horizon,
                "adv": adv,
                "notional": notional,
                "buffer": days["buffer_sigma"].to_numpy(np.float64) * sigma,
                "deviation": np.fmax(_optional(days, "oracle_error"), floor)
                + consensus.staleness_term(np.maximum(sigma, 0), 3600 * product.oracle_age_hours),
                "slippage_book": _optional(days, "slippage_book"),
                "book_least": _optional(days, "slippage_book_least"),
                "slippage_pool": _optional(days, "slippage_pool"),
                "challenger_ratio": _optional(days, "challenger_ratio"),
                "sigma_stress": _optional(days, "sigma_stress_daily", 0.0),
                "buffer_factor": _optional(days, "buffer_factor", 1.0),
            }
        )
    rows["eta"] = rows["eta"].fillna(
        pd.Series(np.where(rows["depth"] >= DEEP_TRIGGER, spec.eta_deep, spec.eta), index=rows.index)
    )
    return pd.concat([rows, days[list(TAIL_COLUMNS)].reset_index(drop=True)], axis=1)


def _withheld_notes(days: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    triggers = days["pooled_triggers"].fillna(0).to_numpy(np.int64)
    sigma, adv, size = (rows[name].to_numpy(np.float64) for name in ("sigma_daily", "adv", "notional"))
    notes = [""] * len(days)
    with np.errstate(invalid="ignore", divide="ignore"):
        law = liquidation.square_root_impact(sigma_daily=rows["sigma"], notional_usd=size, adv_usd=adv, coefficient=1.0)
    for i in range(len(days)):
        if not sigma[i] > 0:
            notes[i] = "the price did not move: a volatility of zero carries no threshold"
        elif sigma[i] > IMPLAUSIBLE_SIGMA:
            notes[i] = f"forecast volatility of {100 * sigma[i]:.0f} % a day is not plausible: look at the newest bars"
        elif not np.isfinite(rows["k"].iloc[i]):
            notes[i] = f"not enough data: {triggers[i]} pooled triggers known"
        elif not np.isfinite(rows["buffer"].iloc[i]):
            notes[i] = "not enough data: too few excursions for the users' buffer"
        elif not np.isfinite(adv[i]):
            notes[i] = "traded volume unknown and none assumed"
        elif np.isposinf(rows["slippage_pool"].iloc[i]):
            notes[i] = f"not absorbable: the pool ends before {size[i]:,.0f} USD"
        elif not law[i] < 0.5:
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


def _slippages(parts: pd.DataFrame, spec: BudgetSpec) -> pd.DataFrame:
    """Lay out the estimates of impact and the largest admissible one: books and pools know no volatility.

    A book that ends before the size gives no estimate, but the size costs no less than the last one that it takes.
    """
    law = liquidation.square_root_impact(
        sigma_daily=parts["sigma"],
        notional_usd=parts["notional"],
        adv_usd=parts["adv"],
        coefficient=spec.impact_coefficient,
    )
    found = {"law": law, "book": parts["slippage_book"].to_numpy(), "pool": parts["slippage_pool"].to_numpy()}
    out = pd.DataFrame({f"slippage_{name}": found[name] for name in SLIPPAGES}, index=parts.index)
    least = parts["book_least"].to_numpy()
    names = np.full(len(parts), SLIPPAGES[0], dtype=object)
    largest = law.copy()
    for name, value in (("book", found["book"]), ("pool", found["pool"]), ("book_end", least)):
        is_larger = value > largest
        largest, names = np.where(is_larger, value, largest), np.where(is_larger, name, names)
    return out.assign(slippage=largest, slippage_basis=names)


def _sums(parts: pd.DataFrame, product: ProductSpec, side: str, spec: BudgetSpec) -> pd.DataFrame:
    """Sum the log loss budget at the volatility of ``parts``, row by row."""
    law, has_tail = _tail(parts)
    x_quantile = liquidation.adverse_move(
        k=parts["k"], sigma_eff=parts["sigma"], horizon_hours=parts["horizon"], eta=parts["eta"]
    )
    x_es = np.full(len(parts), np.nan)
    x_es[has_tail] = tails.es_limit(spec.es_budget, **law, tail_fraction=TAIL_FRACTION)
    slippages = _slippages(parts, spec)
    move = np.fmax(x_quantile, x_es)
    plain = liquidation.loss_budget(
        move=move,
        oracle_deviation=parts["deviation"],
        slippage=slippages["slippage"],
        fee=np.full(len(parts), product.fee),
        side=side,
    )
    ratio = parts["challenger_ratio"].to_numpy(np.float64)
    challenger = plain.total + move * (np.where(np.isfinite(ratio), ratio, 1.0) - 1)
    model = disagreement(plain.total, challenger).margin_log if spec.model_gate else np.zeros(len(parts))
    columns = {
        "x_quantile": x_quantile,
        "x_es": x_es,
        "lambda_move": plain.move,
        "lambda_oracle": plain.oracle,
        "lambda_slippage": plain.slippage,
        "lambda_fee": plain.fee,
        "lambda_model": model,
        "lambda_smoothing": np.zeros(len(parts)),
        "lambda_total": plain.total + model,
    }
    return pd.concat([pd.DataFrame(columns, index=parts.index), slippages], axis=1)


def _smoothed(parts: pd.DataFrame, product: ProductSpec, side: str, spec: BudgetSpec) -> pd.DataFrame:
    """Sum the budget under the rule against procyclicality."""
    sums = _sums(parts, product, side, spec)
    total = sums["lambda_total"]
    if spec.smoothing.rule == "blend":
        stressed = parts.assign(sigma=np.fmax(parts["sigma"], parts["sigma_stress"]))
        other = _sums(stressed, product, side, spec)["lambda_total"]
        sums["lambda_smoothing"] = smoothing.blend(total, other, spec.smoothing.stress_weight) - total
    elif spec.smoothing.rule == "buffer":
        sums["lambda_smoothing"] = (parts["buffer_factor"] - 1) * total
    sums["lambda_total"] = total + sums["lambda_smoothing"]
    sums["horizon_hours"], sums["eta"] = parts["horizon"], parts["eta"]
    sums["horizon_sale_hours"] = liquidation.sale_hours(
        notional_usd=parts["notional"], adv_usd=parts["adv"], participation=spec.participation
    )
    for name in ("oracle", "keeper", "auction"):
        hours = getattr(product, f"{name}_hours")
        sums[f"horizon_{name}_hours"] = np.nan if hours is None else hours
    sums["user_buffer_log"] = parts["buffer"]
    sums["lt_raw"] = liquidation.liquidation_threshold(sums["lambda_total"])
    return sums


def _parameters(
    parts: pd.DataFrame, sums: pd.DataFrame, product: ProductSpec, side: str, spec: BudgetSpec
) -> pd.DataFrame:
    """Add the rounded parameters, what they absorb and the bad debt expected beyond it."""
    out = sums.drop(columns="slippage")
    slippage, deviation = sums["slippage"].to_numpy(), parts["deviation"].to_numpy()
    total, buffer_log = sums["lambda_total"].to_numpy(), sums["user_buffer_log"].to_numpy()
    # What a model may be wrong by, and what damps swings, is carried like the move itself.
    move = (sums["lambda_move"] + sums["lambda_model"] + sums["lambda_smoothing"]).to_numpy()
    is_es = np.nan_to_num(sums["x_es"]) > sums["x_quantile"]
    binding = np.where(is_es, "expected_shortfall", "quantile").astype(object)
    found: dict[str, NDArray[np.int64]]
    if product.product == "lending":
        typical = product.bonus_notional_usd
        for_bonus = slippage if typical is None else _typical_slippage(parts, slippage, typical, spec)
        lending = thresholds.lending_parameters(
            move=move,
            oracle_deviation=deviation,
            slippage=for_bonus,
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
        is_inverse = product.contract == "inverse"
        rounded = inverse.inverse_parameters if is_inverse else thresholds.perpetual_parameters
        perpetual = rounded(
            total=total,
            buffer_log=buffer_log,
            funding=product.funding,
            side=side,
            margin_grid_bps=spec.margin_grid_bps,
        )
        carried = inverse.absorbed_move_inverse if is_inverse else liquidation.absorbed_move_perpetual
        absorbed = carried(
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


def _typical_slippage(parts: pd.DataFrame, slippage: Floats, typical_usd: float, spec: BudgetSpec) -> Floats:
    """Impact of a typical liquidation: the law at its size, never beyond the impact of the design size."""
    law = liquidation.square_root_impact(
        sigma_daily=parts["sigma"], notional_usd=typical_usd, adv_usd=parts["adv"], coefficient=spec.impact_coefficient
    )
    return np.minimum(law, slippage)
