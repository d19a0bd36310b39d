"""Report card: how much each set's target swings before and after smoothing, how fast it follows, what lag costs.

What lives here: laying the stored history, a step of volatility and the set in force out for the measures. What does
not: the measures (``plimsoll.procyclicality``), the rules themselves (``plimsoll.smoothing``), wording (``reports``).
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets._budget import budget_spec, product_specs, with_buffer
from assets.recommendations import absorbed_in_force
from assets.sizes import Sized, Stored, sized
from dagster_project import in_force
from dagster_project.settings import Settings
from plimsoll import attribution, budget, liquidation, overshoot, procyclicality
from plimsoll.attribution import Form
from plimsoll.budget import ProductSpec
from plimsoll.overshoot import TAIL_FRACTION
from plimsoll.procyclicality import Impulse, UnderMargined
from plimsoll.recommendations import LendingSet, PerpetualSet

Floats = NDArray[np.float64]

FACTOR = 2.0
"""Volatility after the step over that before."""
STEP_DAYS = (1, 5, 20)
FOLLOWED_DAYS = 300
WARM_UP_DAYS = 300
"""Days before the step, for the one rule that remembers: it needs a history of calm."""
LAG_DAYS = 365
"""Calendar days over which the set in force is held against what was required."""
LAW = {"threshold": "gpd_threshold_sigma", "xi": "gpd_xi", "beta": "gpd_beta_sigma"}
COLUMNS = (
    *("symbol", "product", "side", "rule", "days", "raw_swing", "swing"),
    *(f"{kind}_{days}" for days in procyclicality.RISES for kind in ("raw_rise", "rise")),
    *(f"{kind}_{days}" for days in STEP_DAYS for kind in ("raw_step", "step")),
    *("lag_days", "under_days", "longest_lag_days", "cost_sum", "costed_days", "bounded_days"),
)


def card_rows(settings: Settings, stored: Stored, fits: pd.DataFrame) -> pd.DataFrame:
    """Measure every set whose newest budget is not withheld.

    Parameters
    ----------
    settings, stored
        Configuration, and the store as known by the day.
    fits
        Newest fit of each market: its parameters filter the step.

    Returns
    -------
    DataFrame
        ``raw_swing, swing`` peak over trough; ``raw_rise_n, rise_n`` largest relative rise over n rows; ``raw_step_n,
        step_n`` share of the response to a doubled volatility that n returns have brought; of the last year the days on
        which the set in force was looser than required and the expected bad debt summed over them. Haircuts of lending
        and margins of perpetuals before caps, bonus and rounding; NaN where not known.
    """
    out: list[dict[str, Any]] = []
    lives = in_force.live(settings)
    for symbol in settings.markets:
        for product in product_specs(settings, symbol):
            for side in overshoot.SIDES:
                found = sized(settings, stored, symbol, product, side)
                if found is not None:
                    rows = _rows(stored.thresholds, symbol, product, side)
                    lag = _lag(stored, rows, found, lives.get((symbol, product.product, side)))
                    out.append(_card(settings, symbol, found, rows, fits, lag))
    return pd.DataFrame(out, columns=[*COLUMNS])


def _rows(thresholds: pd.DataFrame, symbol: str, product: ProductSpec, side: str) -> pd.DataFrame:
    mine = (thresholds["symbol"] == symbol) & (thresholds["product"] == product.product) & (thresholds["side"] == side)
    return thresholds[mine & (thresholds["status"] != "withheld")]


def _card(
    settings: Settings, symbol: str, found: Sized, rows: pd.DataFrame, fits: pd.DataFrame, lag: UnderMargined | None
) -> dict[str, Any]:
    product, side = found.product, found.side
    form = attribution.form_of(product.product, side, is_inverse=product.contract == "inverse")
    raw, smoothed = _steps(settings, symbol, found, form, fits)
    none = Impulse(FACTOR, np.full(FOLLOWED_DAYS, np.nan), np.nan, np.nan, None)
    card = procyclicality.report_card(
        _size(form, rows["lambda_raw"].to_numpy(np.float64)),
        _size(form, rows["lambda_total"].to_numpy(np.float64)),
        raw_impulse=raw or none,
        smoothed_impulse=smoothed or none,
        lag=lag,
    )
    row: dict[str, Any] = {
        "symbol": symbol,
        "product": product.product,
        "side": side,
        "rule": settings.budget.smoothing,
    }
    row |= {"days": card.raw.observations, "raw_swing": card.raw.peak_to_trough, "swing": card.smoothed.peak_to_trough}
    for at, days in enumerate(procyclicality.RISES):
        row |= {f"raw_rise_{days}": card.raw.rises[at], f"rise_{days}": card.smoothed.rises[at]}
    for days in STEP_DAYS:
        row |= {f"raw_step_{days}": _share(card.raw_impulse, days), f"step_{days}": _share(card.smoothed_impulse, days)}
    if lag is None:
        return row
    return row | {
        "lag_days": lag.days,
        "under_days": lag.under_days,
        "longest_lag_days": lag.longest_lag_days,
        "cost_sum": lag.cost_sum,
        "costed_days": lag.costed_days,
        "bounded_days": lag.bounded_days,
    }


def _size(form: Form, total: Floats) -> Floats:
    """Haircut of lending or margin of a perpetual at a log budget, whatever its direction; not positive: unknown."""
    value = form.offset + form.sign * np.exp(form.power * total)
    size = 1.0 - value if form.offset == 0.0 else value
    return np.where(size > 0, size, np.nan)


def _share(impulse: Impulse, days: int) -> float:
    if not np.isfinite(impulse.limit) or abs(impulse.limit - 1.0) < 1e-9:
        return np.nan
    return float((impulse.response[days] - 1.0) / (impulse.limit - 1.0))


def _steps(
    settings: Settings, symbol: str, found: Sized, form: Form, fits: pd.DataFrame
) -> tuple[Impulse | None, Impulse | None]:
    """Follow a doubled volatility through the market's own filter, the floor of today, the rule and the budget."""
    row, product = found.row, found.product
    sigma = float(row["sigma_daily"])
    mine = fits[fits["symbol"] == symbol]
    alpha, beta = _filter(settings, mine.iloc[-1] if len(mine) else None)
    floor = float(row["sigma_eff_daily"]) if row["sigma_eff_daily"] > sigma else 0.0
    spec = budget_spec(settings, symbol, product.product)

    walks: list[pd.DataFrame] = []

    def chain(name: str, squares: Floats) -> Floats:
        # Both chains see the same step, and one walk gives the raw budget beside the smoothed one.
        if not walks:
            walks.append(walk(squares))
        return _size(form, walks[0][name].where(walks[0]["status"] == "ok").to_numpy(np.float64))

    def walk(squares: Floats) -> pd.DataFrame:
        forecast = np.sqrt(_filtered(squares, alpha, beta))
        days = found.budget.day.loc[found.budget.day.index.repeat(len(squares))].reset_index(drop=True)
        days = days.assign(sigma_daily=forecast, sigma_eff_daily=np.maximum(forecast, floor), buffer_factor=1.0)
        days = with_buffer(days, product, found.side, spec)
        return budget.walk_budget(days, product, found.side, spec)

    out: list[Impulse | None] = []
    for name in ("lambda_raw", "lambda_total"):
        try:
            out.append(
                procyclicality.step_response(
                    lambda squares, name=name: chain(name, squares),  # type: ignore[misc]
                    FACTOR,
                    sigma_daily=sigma,
                    days=max(STEP_DAYS),
                    warm_up_days=WARM_UP_DAYS if spec.smoothing.rule == "buffer" else 1,
                    settle_days=FOLLOWED_DAYS,
                )
            )
        except ValueError:
            # Twice the volatility cannot be carried at all: there is no response to speak of.
            out.append(None)
    return out[0], out[1]


def _filter(settings: Settings, fit: pd.Series | None) -> tuple[float, float]:
    """Weights of the newest square and of the last variance; those of EWMA where there is no fit."""
    decay = settings.volatility.ewma_lambda
    if fit is None or not np.isfinite([fit["alpha"], fit["beta"]]).all():
        return 1.0 - decay, decay
    gamma = float(fit["gamma"]) if np.isfinite(fit["gamma"]) else 0.0
    return float(fit["alpha"]) + gamma / 2, float(fit["beta"])


def _filtered(squares: Floats, alpha: float, beta: float) -> Floats:
    """Variance forecast at each close, in balance before the first day."""
    out = np.empty(len(squares))
    level = squares[0]
    rest = max(1.0 - alpha - beta, 0.0) * level
    for at, square in enumerate(squares):
        level = rest + alpha * square + beta * level
        out[at] = level
    return out


def _lag(
    stored: Stored, rows: pd.DataFrame, found: Sized, live: LendingSet | PerpetualSet | None
) -> UnderMargined | None:
    """Hold the set in force against what was required in the last year."""
    if live is None:
        return None
    since = found.row["as_of"] - pd.Timedelta(days=LAG_DAYS)
    mine = rows[rows["as_of"] > since]
    tails = stored.quantiles[
        (stored.quantiles["symbol"] == found.row["symbol"]) & (stored.quantiles["side"] == found.side)
    ]
    columns = ["as_of", "trigger_depth", "k_p100", "k_pooled_p100", *LAW.values()]
    mine = mine.merge(tails[columns], on=["as_of", "trigger_depth"], how="left", validate="one_to_one")
    unit = liquidation.adverse_move(
        k=1.0, sigma_eff=mine["sigma_eff_daily"], horizon_hours=mine["horizon_hours"], eta=mine["eta"]
    ) * (mine["k_p100"].to_numpy(np.float64) / mine["k_pooled_p100"].to_numpy(np.float64))
    law = {
        "threshold": mine["gpd_threshold_sigma"].to_numpy(np.float64) * unit,
        "xi": mine["gpd_xi"].to_numpy(np.float64),
        "beta": mine["gpd_beta_sigma"].to_numpy(np.float64) * unit,
        "tail_fraction": TAIL_FRACTION,
    }
    is_lending = isinstance(live, LendingSet)
    required = mine["lt_bps" if is_lending else "mm_bps"].to_numpy(np.float64, na_value=np.nan)
    value = live.lt_bps if isinstance(live, LendingSet) else live.mm_bps
    return procyclicality.under_margined(
        np.full(len(mine), float(value)),
        required,
        tightening_is_down=is_lending,
        absorbed_move=absorbed_in_force(
            live, found.product, found.side, mine["lambda_slippage"], mine["oracle_error"].to_numpy(np.float64)
        ),
        law=law,
    )
