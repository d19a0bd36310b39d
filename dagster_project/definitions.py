"""Definitions: everything Dagster needs, made by one function.

What lives here: putting assets, checks, jobs, schedules and resources of one configuration together. Add a new stage to
``GROUPS``. What does not: the stages themselves. Importing this module reads the configuration and opens no database.
"""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from assets import (
    backup,
    breaches,
    challengers,
    checks,
    correlation,
    delivery,
    explanations,
    market_data,
    order_books,
    overshoot,
    prices,
    publication,
    recommendations,
    risk_report,
    sizes,
    thresholds,
    volatility,
)
from dagster_project import jobs, partitions, sensors
from dagster_project import settings as settings_module
from dagster_project.compute import Compute
from dagster_project.schedules import nightly_schedule
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse

ROOT = Path(__file__).resolve().parents[1]
GROUPS = (
    market_data,
    order_books,
    prices,
    volatility,
    correlation,
    overshoot,
    challengers,
    thresholds,
    sizes,
    explanations,
    breaches,
    recommendations,
    publication,
    risk_report,
    delivery,
    backup,
)


def default_settings() -> Settings:
    """Read the configuration named by ``PLIMSOLL_CONFIG``, or the embedded one."""
    path = os.environ.get("PLIMSOLL_CONFIG")
    chosen = settings_module.load(Path(path) if path else ROOT / "config" / "embedded.toml")
    candles = os.environ.get("PLIMSOLL_CANDLES")
    return chosen.with_candles(Path(candles)) if candles else chosen


def warehouse_of(settings: Settings) -> Warehouse:
    """Return the profile's warehouse; nothing is opened."""
    path = str(settings_module.profile_folder(settings) / "plimsoll.duckdb")
    wait = os.environ.get("PLIMSOLL_LOCK_WAIT_SECONDS")
    return Warehouse(path=path, lock_wait_seconds=float(wait)) if wait else Warehouse(path=path)


def build_defs(settings: Settings | None = None, *, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Build the definitions of one configuration.

    Parameters
    ----------
    settings
        Configuration; by default that of the environment.
    resources
        Replacements by key, for tests.

    Returns
    -------
    Definitions
        Fresh each time.
    """
    chosen = settings or default_settings()
    with warnings.catch_warnings():
        # Exactly two known ones: single-run backfills are beta, partitioned checks a preview; both are pinned and
        # tested.
        warnings.filterwarnings("ignore", category=dg.BetaWarning, message=".*backfill_policy.*")
        warnings.filterwarnings("ignore", category=dg.PreviewWarning, message=".*partitions_def on an AssetCheckSpec.*")
        return _build(chosen, resources or {})


def _build(chosen: Settings, resources: Mapping[str, Any]) -> dg.Definitions:
    daily = partitions.daily(chosen)
    assets: list[dg.AssetsDefinition] = []
    asset_checks: list[dg.AssetChecksDefinition] = [*checks.build(chosen, daily)]
    for group in GROUPS:
        for made in group.build(chosen, daily):
            (asset_checks if isinstance(made, dg.AssetChecksDefinition) else assets).append(made)
    nightly = jobs.nightly_job()
    warehouse = warehouse_of(chosen)
    return dg.Definitions(
        assets=assets,
        asset_checks=asset_checks,
        jobs=[nightly, jobs.report_job(), *jobs.mail_jobs(chosen), *jobs.hold_jobs(chosen)],
        schedules=[nightly_schedule(nightly, is_on=chosen.profile.is_schedule_on)],
        sensors=sensors.build(chosen, warehouse),
        resources={
            "warehouse": warehouse,
            "compute": Compute(**chosen.compute.model_dump()),
            **resources,
        },
        executor=dg.in_process_executor,
    )


defs = build_defs()
