"""Definitions: the graph as Dagster sees it, pinned; loading it touches nothing."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
from syrupy.assertion import SnapshotAssertion

from dagster_project import settings as settings_module
from dagster_project.definitions import ROOT, build_defs

IMPORT = """
import duckdb
def refuse(*args, **kwargs):
    raise AssertionError("a database was opened while loading definitions")
duckdb.connect = refuse
import dagster_project.definitions
"""


def _graph(defs: dg.Definitions) -> dict[str, Any]:
    graph = defs.resolve_asset_graph()
    assets = {}
    for spec in defs.resolve_all_asset_specs():
        node = graph.get(spec.key)
        assets[spec.key.to_user_string()] = {
            "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            "group": spec.group_name,
            "kinds": sorted(spec.kinds),
            "code_version": spec.code_version,
            "partitioned": type(node.partitions_def).__name__ if node.partitions_def else None,
            "freshness": repr(spec.freshness_policy) if spec.freshness_policy else None,
            "backfill": str(node.backfill_policy.policy_type.value) if node.backfill_policy else None,
        }
    checks = {}
    for made in defs.asset_checks or []:
        for spec in made.check_specs:
            checks[f"{spec.asset_key.to_user_string()}.{spec.name}"] = "blocking" if spec.blocking else "warning"
    schedule = defs.get_repository_def().get_schedule_def("nightly_schedule")
    sensors = defs.get_repository_def().sensor_defs
    return {
        "assets": assets,
        "checks": checks,
        "jobs": {
            job.name: sorted(
                key.to_user_string() for key in defs.resolve_job_def(job.name).asset_layer.executable_asset_keys
            )
            for job in defs.jobs or []
        },
        "sensors": {
            sensor.name: {"status": sensor.default_status.value, "seconds": sensor.minimum_interval_seconds}
            for sensor in sensors
        },
        "schedule": {
            "name": schedule.name,
            "cron": schedule.cron_schedule,
            "timezone": schedule.execution_timezone,
            "status": schedule.default_status.value,
        },
    }


def test_graph_of_the_embedded_profile(snapshot: SnapshotAssertion) -> None:
    assert _graph(build_defs(settings_module.load(ROOT / "config" / "embedded.toml"))) == snapshot


def test_a_live_profile_turns_its_schedule_on() -> None:
    settings = settings_module.load(ROOT / "config" / "crypto.toml")
    for is_on, status in ((True, "RUNNING"), (False, "STOPPED")):
        profile = settings.profile.model_copy(update={"is_schedule_on": is_on})
        graph = _graph(build_defs(settings.model_copy(update={"profile": profile})))
        assert graph["schedule"]["status"] == status


def test_loading_definitions_opens_no_database_and_writes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", IMPORT],
        env={**os.environ, "PLIMSOLL_HOME": str(home), "DAGSTER_HOME": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not home.exists()
