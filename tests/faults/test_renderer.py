"""A drawing process that dies in a night: one message, every stage before it kept, and a rerun as if nothing had been.

Limits of time and memory, and the words for them, are tested with the report (``tests/reports``).
"""

from pathlib import Path

import pandas as pd
import pytest
from faults_support import Commands, Night
from tests_support import dump, files_of, make_profile

DEATH = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
LATER = ("commit_ledger", "report", "outbox")


@pytest.mark.slow
def test_a_drawing_process_that_dies_costs_the_report_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame, plimsoll: Commands, calm: Night
) -> None:
    settings = make_profile(tmp_path, monkeypatch, candles)
    words = ("report", "--config", str(tmp_path / "small.toml"), "--as-of", calm.day)
    (tmp_path / "sitecustomize.py").write_text(DEATH)
    told = plimsoll(*words, environment={"PYTHONPATH": str(tmp_path)})
    assert told.code == 1
    assert "Traceback" not in told.err
    assert f"report of {calm.day}: the drawing process died of SIGKILL; run `plimsoll doctor`" in told.last
    found = dump(settings)
    for table, rows in calm.tables.items():
        if table not in LATER:
            pd.testing.assert_frame_equal(rows, found[table], obj=table)
    assert found["report"].empty
    assert found["outbox"].empty
    assert {Path(name).parts[0] for name in files_of(settings)} == {"raw"}
    told = plimsoll(*words)
    assert told.code == 0, told.err
    found = dump(settings)
    for table, rows in calm.tables.items():
        pd.testing.assert_frame_equal(rows, found[table], obj=table)
    assert files_of(settings) == calm.files
