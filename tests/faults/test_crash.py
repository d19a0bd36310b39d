"""Kills: at each stage boundary the process dies, a rerun follows, and nothing tells the two histories apart."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from tests_support import dump, files_of, make_profile

DAY = "2022-05-31"
RUNNER = """
import sys
from datetime import date
from pathlib import Path
from dagster_project import settings
from dagster_project.nightly import run_nightly
outcome = run_nightly(settings.load(Path(sys.argv[1])), date.fromisoformat(sys.argv[2]))
sys.exit(0 if outcome.is_success else 1)
"""
STAGES = (
    "candles",
    "price",
    "volatility",
    "reference",
    "overshoot",
    "thresholds",
    "breaches",
    "coverage",
    "recommendations",
)
POINTS = (
    "before candles",
    *(f"after {name}" for name in STAGES),
    "before report",
    "committed report",
    "after report",
    "written mail",
    "after mail",
)
"""In the order in which a night passes them: a stage that is done already writes nothing when it is run again."""


def nightly(folder: Path, crash_at: str = "") -> int:
    return subprocess.run(
        [sys.executable, "-c", RUNNER, str(folder / "small.toml"), DAY],
        env={**__import__("os").environ, "PLIMSOLL_CRASH_AT": crash_at},
        capture_output=True,
    ).returncode


@pytest.mark.slow
def test_a_kill_at_each_stage_boundary_leaves_what_an_undisturbed_run_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame
) -> None:
    calm = make_profile(tmp_path / "calm", monkeypatch, candles)
    assert nightly(tmp_path / "calm") == 0
    expected, files = dump(calm), files_of(calm)
    shaken = make_profile(tmp_path / "shaken", monkeypatch, candles)
    for point in POINTS:
        assert nightly(tmp_path / "shaken", point) == -9, f"{point}: not reached"
    assert nightly(tmp_path / "shaken") == 0
    found = dump(shaken)
    for table, rows in expected.items():
        pd.testing.assert_frame_equal(rows, found[table], obj=table)
    assert files_of(shaken) == files
