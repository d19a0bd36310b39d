"""Killing the nightly run on purpose: at named points and at any instant, then comparing with a run left in peace.

What lives here: the process that runs nights and dies, the operator who settles mails of unknown fate, and the
comparison of rows, files and mails. What does not: how many kills (``crash``, and the tests).
"""

import contextlib
import os
import random
import select
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import pandas as pd

import sql
from benchmarks._mail_server import PASSWORD, Mailbox, Server
from benchmarks._measure import ROOT
from benchmarks._small import write
from dagster_project import outbox
from dagster_project import settings as settings_module
from dagster_project.definitions import warehouse_of
from dagster_project.settings import Settings

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
    "kept raw files",
    *(f"after {name}" for name in STAGES),
    "before report",
    "committed report",
    "after report",
    "written mail",
    "committed sending",
    "before DATA",
    "after DATA",
    "before outbox update",
    "after mail",
    "copied backup",
    "after backup",
)
"""In the order in which a night passes them: a stage that is done already writes nothing when it is run again."""
LAST_STAGES = ("delivery", "backup")
VOLATILE = {
    "": ("run_id", "known_at", "changed_at"),
    "outbox": ("attempts", "next_attempt_at", "last_reply"),
}
"""Columns that tell when, how often and by whom; no two histories share them."""
FOLDERS = ("reports", "outbox", "raw")
SUFFIXES = (".pdf", ".json", ".html", ".md", ".csv", ".eml", ".gz")

ZYGOTE = """
import os, sys, time
from datetime import date
from pathlib import Path
from dagster_project import settings
from dagster_project.nightly import run_nightly
import arch.univariate, numba, plimsoll.volatility.batch

chosen = settings.load(Path(sys.argv[1]))
print("ready", flush=True)
for line in sys.stdin:
    day, now, point, only = line.rstrip("\\n").split("|")
    child = os.fork()
    if child == 0:
        os.environ["PLIMSOLL_NOW"], os.environ["PLIMSOLL_CRASH_AT"] = now, point
        done = run_nightly(chosen, date.fromisoformat(day), select=only.split(",") if only else None)
        if not done.is_success:
            print(done.error, done.failed_checks, file=sys.stderr, flush=True)
        os._exit(0 if done.is_success else 1)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Imports everything once and forks for each night: what dies is a whole process, what it costs is only its work."""


@dataclass
class Tally:
    """What a comparison found; all but kills and reruns ought to be zero."""

    kills: int = 0
    reruns: int = 0
    points_missed: list[str] = field(default_factory=list)
    rows_lost: int = 0
    rows_doubled: int = 0
    files_differing: int = 0
    mails_lost: int = 0
    mails_doubled: int = 0
    mails_settled_by_hand: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled or changed."""
        faults = (self.rows_lost, self.rows_doubled, self.files_differing, self.mails_lost, self.mails_doubled)
        return not any(faults) and not self.points_missed


class Nights:
    """A profile in a folder of its own, and the process that runs its nights."""

    def __init__(self, folder: Path, candles: pd.DataFrame, server: Server) -> None:
        self.folder, self.server = folder, server
        self.config = write(folder, candles, server.table())
        # One mail for each of the three deaths that leave its fate open, and one that is never touched.
        text = self.config.read_text().replace(
            '"two@example.org"]', '"two@example.org", "three@example.org", "four@example.org"]'
        )
        self.config.write_text(text)
        self.environment = {
            **os.environ,
            "PLIMSOLL_HOME": str(folder / "var"),
            "DAGSTER_HOME": str(folder / "dagster"),
            "PLIMSOLL_SMTP_PASSWORD": PASSWORD,
        }
        self._log = (folder / "nights.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-c", ZYGOTE, str(self.config)],
            env=self.environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._line()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()
        self._log.close()

    def run(self, day: date, *, crash_at: str = "", kill_after: float | None = None, only: tuple[str, ...] = ()) -> int:
        """Run one night, or only some stages, in a process of its own; its exit code, -9 where it was killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{day}|{day + timedelta(days=1)}T00:30:00|{crash_at}|{','.join(only)}\n")
        self._process.stdin.flush()
        child = int(self._line())
        if kill_after is not None:
            # Whoever has ended is not waited for, and may have ended just before.
            select.select([self._process.stdout], [], [], kill_after)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, 9)
        return int(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"the nights ended by themselves; see {self.folder / 'nights.log'}")
        return line

    @contextlib.contextmanager
    def here(self) -> Iterator[Settings]:
        """Look at the profile from this process."""
        before = dict(os.environ)
        os.environ.update(self.environment)
        try:
            yield settings_module.load(self.config)
        finally:
            os.environ.clear()
            os.environ.update(before)

    def settle(self) -> int:
        """Do as an operator does: ask whether mails of unknown fate arrived; how many there were."""
        with self.here() as settings:
            warehouse = warehouse_of(settings)
            with contextlib.suppress(outbox.OutboxBusy):
                outbox.dispatch(settings, warehouse)
            with warehouse.session() as session:
                rows = session.query("outbox")
            unknown = rows[rows["state"] == "unknown"]
            for identity in unknown["message_id"]:
                has_arrived = identity in self.server.box.message_ids()
                order = "arrived" if has_arrived else "resend"
                outbox.order(settings, warehouse, identity, order, is_confirmed=True)
            if len(unknown):
                outbox.dispatch(settings, warehouse)
        return len(unknown)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Every table without what is volatile."""
        with self.here() as settings:
            return tables(settings)

    def files(self) -> dict[str, bytes]:
        """Every file that a run publishes."""
        with self.here() as settings:
            return published(settings)


def tables(settings: Settings) -> dict[str, pd.DataFrame]:
    """Every table of a profile without what is volatile."""
    out = {}
    with warehouse_of(settings).session() as session:
        for contract in sql.tables():
            rows = session.everything(contract.name)
            gone = [name for name in (*VOLATILE[""], *VOLATILE.get(contract.name, ())) if name in rows]
            out[contract.name] = rows.drop(columns=gone)
    return out


def published(settings: Settings) -> dict[str, bytes]:
    """Every file of a profile that a run publishes."""
    folder = settings_module.profile_folder(settings)
    every = [path for name in FOLDERS for path in (folder / name).rglob("*")]
    return {str(p.relative_to(folder)): p.read_bytes() for p in every if p.is_file() and p.suffix in SUFFIXES}


def shake_at(nights: Nights, day: date, points: Sequence[str], tally: Tally, *, is_quick: bool = False) -> None:
    """Kill a day at each named point, run again after each, and once more to its end.

    Quick: once the report is there, only the stages after it are run again.
    """
    for number, point in enumerate(points):
        only = LAST_STAGES if is_quick and "after report" in points[:number] else ()
        if nights.run(day, crash_at=point, only=only) == -9:
            tally.kills += 1
        else:
            tally.points_missed.append(point)
        tally.reruns += 1
    _to_its_end(nights, day, tally)


def shake_anywhere(nights: Nights, day: date, kills: int, length: float, rng: random.Random, tally: Tally) -> None:
    """Kill a day at instants drawn at random until one run outlives its instant, then run it once more to its end.

    Parameters
    ----------
    nights, day
        What is shaken.
    kills
        No more than this many.
    length
        Seconds that the same night takes undisturbed; instants fall within them.
    rng, tally
        Where instants come from, and what is counted.
    """
    for _ in range(kills):
        if nights.run(day, kill_after=rng.uniform(0.0, length)) != -9:
            break
        tally.kills += 1
        tally.reruns += 1
    tally.reruns += 1
    _to_its_end(nights, day, tally)


def _to_its_end(nights: Nights, day: date, tally: Tally) -> None:
    if nights.run(day) != 0:
        raise RuntimeError(f"{day}: the run after the kills failed; see {nights.folder / 'nights.log'}")
    tally.mails_settled_by_hand += nights.settle()


def compare(calm: Nights, shaken: Nights, tally: Tally) -> None:
    """Count what differs between the two histories."""
    expected, found = calm.tables(), shaken.tables()
    for name, rows in expected.items():
        ours, theirs = (Counter(map(repr, frame.itertuples(index=False, name=None))) for frame in (rows, found[name]))
        tally.rows_lost += sum((ours - theirs).values())
        tally.rows_doubled += sum((theirs - ours).values())
    before, after = calm.files(), shaken.files()
    tally.files_differing += sum(before.get(name) != after.get(name) for name in before.keys() | after.keys())
    tally.mails_lost += _lost(calm.server.box, shaken.server.box)
    tally.mails_doubled += len(shaken.server.box.twice())


def _lost(calm: Mailbox, shaken: Mailbox) -> int:
    return sum((Counter(calm.message_ids()) - Counter(shaken.message_ids())).values())
