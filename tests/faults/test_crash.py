"""Kills: wherever the process dies, a rerun leaves what an undisturbed run leaves, and no mail arrives twice."""

import random
import time
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from benchmarks._crash import POINTS, Nights, Tally, compare, shake_anywhere, shake_at
from benchmarks._mail_server import serve

FIRST, SECOND = date(2022, 5, 30), date(2022, 5, 31)


@pytest.mark.slow
def test_kills_at_every_point_and_at_any_instant_leave_what_an_undisturbed_run_leaves(
    tmp_path: Path, candles: pd.DataFrame
) -> None:
    tally = Tally()
    with serve(tmp_path / "calm-mail") as one, serve(tmp_path / "shaken-mail") as two:
        calm, shaken = Nights(tmp_path / "calm", candles, one), Nights(tmp_path / "shaken", candles, two)
        try:
            shake_at(shaken, FIRST, POINTS, tally, is_quick=True)
            assert calm.run(FIRST) == 0
            started = time.monotonic()
            assert calm.run(SECOND) == 0
            length = time.monotonic() - started
            shake_anywhere(shaken, SECOND, 3, length / 2, random.Random(7), tally)
            compare(calm, shaken, tally)
            assert tally.points_missed == []
            assert tally.is_clean, tally
            assert len(POINTS) < tally.kills <= len(POINTS) + 3
            assert tally.mails_settled_by_hand == 2, "one before the server had it, one after"
            assert len(one.box.mails) == 8
            log = (tmp_path / "shaken" / "nights.log").read_text()
            assert "Traceback" not in log, log[-2000:]
        finally:
            calm.close()
            shaken.close()
