"""A budget to try: common knobs, one use of each kind and the days of one market."""

import pandas as pd

from plimsoll.budget import BudgetSpec, ProductSpec

SPEC = BudgetSpec(
    es_budget=0.0002,
    participation=0.05,
    impact_coefficient=1.0,
    protocol_share=0.1,
    minimum_oracle_deviation=0.0025,
    minimum_horizon_hours=5 / 60,
    eta=0.30,
    eta_deep=0.25,
    lt_grid_bps=50,
    bonus_grid_bps=25,
    margin_grid_bps=5,
)
LENDING = ProductSpec("lending", 1e7, 1.0, 100, 0.005, 0.001, 0.0, 8800)
PERPETUAL = ProductSpec("perpetual", 5e6, 0.25, 100, 0.0025, 0.0005, 0.001, 0)


def budget_days(**changes: float) -> pd.DataFrame:
    row: dict[str, object] = {
        "as_of": pd.Timestamp("2021-01-01"),
        "target_date": pd.Timestamp("2021-01-02"),
        "sigma_daily": 0.04,
        "sigma_eff_daily": 0.04,
        "trigger_depth": 1.0,
        "k": 5.5,
        "k_p100": 5.5,
        "k_pooled_p100": 5.8,
        "gpd_threshold_sigma": 2.0,
        "gpd_xi": 0.15,
        "gpd_beta_sigma": 1.2,
        "buffer_sigma": 1.8,
        "adv_usd": 4e8,
        "pooled_triggers": 900,
    }
    return pd.DataFrame([row | changes])
