"""Backup: the store of the night, copied and read back, and the sign of life that an outside monitor watches.

What lives here: the last stage. What does not: copying (``dagster_project.warehouse``), putting a copy back
(``dagster_project.restore``).
"""

import dagster as dg

import plimsoll
from assets import _run
from dagster_project import heartbeat
from dagster_project import settings as settings_module
from dagster_project.progress import step
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse


def build(settings: Settings, partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return the backup asset of a configuration."""

    @dg.asset(
        name="backup",
        deps=["delivery"],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="operations",
        kinds={"duckdb"},
        code_version=plimsoll.METHODOLOGY,
        description="A copy of the store under backup/, read back value by value; then heartbeat.json, which an "
        "outside monitor watches. A night that does not reach this stage leaves no sign of life.",
    )
    def backup(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[None]:
        run = _run.of(context, settings)
        with step("backup"):
            folder = settings_module.profile_folder(settings) / "backup"
            copy, is_new = warehouse.back_up(folder, keep=settings.operations.backups)
            life = heartbeat.beat(settings, warehouse, run.end, copy)
        return dg.MaterializeResult(
            metadata={
                "copy": dg.MetadataValue.path(str(copy)),
                "is_new": is_new,
                "bytes": copy.stat().st_size,
                "mails": dg.MetadataValue.json(life["mails"]),
            }
        )

    return [backup]
