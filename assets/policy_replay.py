"""Policy replay: the recommended policy against parameters in force and simpler rules, on the days that are stored.

What lives here: laying prices, forecasts and thresholds out as a panel of rules. What does not: the replay itself
(``plimsoll.replay``), how it looks (``dagster_project.outcome``).
"""

import numpy as np
import pandas as pd

import plimsoll
from assets import _run
from assets._budget import product_specs
from assets.recommendations import absorbed_in_force
from dagster_project import in_force
from dagster_project.settings import Settings
from plimsoll import breaches
from plimsoll.budget import ProductSpec
from plimsoll.replay import Replay, mirrored, panel_of, replay

CHAMPION = "recommended"
IN_FORCE = "in_force"
BASELINES = ("historical_simulation", "ewma", "textbook")
QUANTILE_FORM = "quantile_form"
"""The recommended policy without its expected-shortfall form: what that form costs and gives."""
RULES = (CHAMPION, QUANTILE_FORM, *BASELINES, IN_FORCE)
USES = tuple((product, side) for product in ("lending", "perpetual") for side in ("long", "short"))
BARS = ["date", "symbol", "close_usd", "previous_close_usd", "low_usd", "high_usd"]


def panel_rows(
    settings: Settings,
    product: str,
    side: str,
    prices: pd.DataFrame,
    forecasts: pd.DataFrame,
    thresholds: pd.DataFrame,
) -> pd.DataFrame:
    """One row a day and market with the wish of every rule, each known at the close before.

    Parameters
    ----------
    settings
        Configuration.
    product, side
        ``lending`` or ``perpetual``; ``long`` or ``short``.
    prices, forecasts, thresholds
        Newest revisions in the store.

    Returns
    -------
    DataFrame
        As `plimsoll.replay.panel_of` takes it. Days without a bar, a valid one-day return, high and low, or a forecast
        are left out; a rule without enough history wants nothing (NaN), and so do parameters where none are in force.
    """
    frames = []
    for symbol in settings.markets:
        spec = next((one for one in product_specs(settings, symbol) if one.product == product), None)
        mine = forecasts[(forecasts["symbol"] == symbol) & (forecasts["sigma_daily"] > 0)].reset_index(drop=True)
        if spec is None or mine.empty:
            continue
        bars = prices[prices["symbol"] == symbol].reset_index(drop=True)
        wanted = _wishes(settings, spec, side, bars, mine)
        kept = thresholds["symbol"].eq(symbol) & thresholds["product"].eq(product) & thresholds["side"].eq(side)
        days = wanted.merge(_budget(settings, symbol, spec, side, thresholds[kept]), on="target_date", how="inner")
        judged = bars.loc[bars["is_return_valid"] & bars["low_usd"].notna() & bars["high_usd"].notna(), BARS]
        frames.append(judged.merge(days, left_on="date", right_on="target_date", how="inner", validate="one_to_one"))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _wishes(
    settings: Settings, spec: ProductSpec, side: str, bars: pd.DataFrame, forecasts: pd.DataFrame
) -> pd.DataFrame:
    base = breaches.baselines(bars, forecasts, settings.volatility.ewma_lambda)
    out = forecasts[["target_date", "sigma_daily"]].copy()
    for model in BASELINES:
        # A rule never wants less than nothing carried, whatever its quantile says.
        out[model] = np.maximum(base.limits[(model, side, spec.tail_probability_bps)], 0.0)
    return out


def _budget(settings: Settings, symbol: str, spec: ProductSpec, side: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Wishes that come from stored thresholds, carried to 24 hours, and the costs beside them."""
    known = rows[rows["lambda_total"].notna()]
    to_a_day = (24.0 / known["horizon_hours"]) ** known["eta"]
    live = in_force.live(settings).get((symbol, spec.product, side))
    stands = np.full(len(known), np.nan)
    if live is not None:
        absorbed = absorbed_in_force(live, spec, side, known["lambda_slippage"], known["oracle_error"])
        stands = np.maximum(absorbed * to_a_day.to_numpy(np.float64), 0.0)
    return pd.DataFrame(
        {
            "target_date": known["target_date"].to_numpy(),
            "depth": known["trigger_depth"].to_numpy(np.float64),
            "costs_log": (known["lambda_total"] - known["lambda_move"]).to_numpy(np.float64),
            CHAMPION: (known["lambda_move"] * to_a_day).to_numpy(np.float64),
            QUANTILE_FORM: (known["x_quantile"] * to_a_day).to_numpy(np.float64),
            IN_FORCE: stands,
        }
    )


def replay_of(settings: Settings, product: str, side: str, rows: pd.DataFrame) -> Replay:
    """Replay the rules over panel rows."""
    panel = panel_of(rows, RULES)
    if side == "short":
        panel = mirrored(panel)
    seed = int(_run.digest(str(rows["date"].max().date()), settings.config_hash, plimsoll.METHODOLOGY), 16) % 2**32
    return replay(panel, champion=CHAMPION, constant=(IN_FORCE,), seed=seed)
