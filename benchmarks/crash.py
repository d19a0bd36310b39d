"""Crash: what a nightly run leaves that is killed anywhere and run again, against an undisturbed one.

Two profiles with the same simulated markets and a mail server each: the nights of one are left in peace, those of the
other are killed, at every named point in the first night and at random instants in the others. Then rows, files and
mails are compared.
"""

import json as json_module
import random
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path

from benchmarks._crash import POINTS, Nights, Tally, compare, shake_anywhere, shake_at
from benchmarks._mail_server import serve
from benchmarks._measure import machine
from benchmarks._small import markets

FIRST = date(2022, 5, 1)
KILLS_A_NIGHT = 12
SEED = 20261123


def run(*, json: bool, kills: int = 60) -> int:
    """Kill so many nights and print what was lost or doubled.

    Parameters
    ----------
    json
        Print machine-readable figures instead of lines.
    kills
        At least so many, those at the named points among them.

    Returns
    -------
    int
        Exit code: 0 where nothing was lost, doubled or changed, 1 otherwise.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="plimsoll-bench-") as name:
        tally, days = measured(Path(name), kills)
    seconds = time.monotonic() - started
    named = machine()
    if json:
        content = {"benchmark": "crash", "days": days, "seconds": round(seconds), "machine": asdict(named)} | asdict(
            tally
        )
        sys.stdout.write(json_module.dumps(content, sort_keys=True, indent=1) + "\n")
        return 0 if tally.is_clean else 1
    lines = [
        ("machine", named),
        ("nights", f"{days}, in {seconds:.0f} s"),
        ("kills", f"{tally.kills}, {len(POINTS)} of them at named points"),
        ("reruns", tally.reruns),
        ("rows lost", tally.rows_lost),
        ("rows doubled", tally.rows_doubled),
        ("files differing", tally.files_differing),
        ("mails lost", tally.mails_lost),
        ("mails doubled", tally.mails_doubled),
        ("mails that a person had to settle", tally.mails_settled_by_hand),
    ]
    if tally.points_missed:
        lines.append(("points not reached", ", ".join(tally.points_missed)))
    sys.stdout.write("".join(f"{what:<34}{value}\n" for what, value in lines))
    return 0 if tally.is_clean else 1


def measured(folder: Path, kills: int) -> tuple[Tally, int]:
    """Run both histories; what differs, and how many nights each has."""
    candles, tally, rng, nights = markets(), Tally(), random.Random(SEED), 0
    with ExitStack() as stack:
        servers = [stack.enter_context(serve(folder / f"{name}-mail")) for name in ("calm", "shaken")]
        calm = stack.enter_context(closing(Nights(folder / "calm", candles, servers[0])))
        shaken = stack.enter_context(closing(Nights(folder / "shaken", candles, servers[1])))
        while tally.kills < kills:
            day = FIRST + timedelta(days=nights)
            started = time.monotonic()
            if calm.run(day) != 0:
                raise RuntimeError(f"{day}: the undisturbed night failed; see {calm.folder / 'nights.log'}")
            length = time.monotonic() - started
            if nights == 0:
                shake_at(shaken, day, POINTS, tally)
            else:
                shake_anywhere(shaken, day, min(KILLS_A_NIGHT, kills - tally.kills), length, rng, tally)
            sys.stderr.write(f"{day}: {tally.kills} of {kills} kills\n")
            nights += 1
        compare(calm, shaken, tally)
    return tally, nights
