"""Measuring: a command in a child process, its time, its memory, and the machine that they hold for.

What lives here: running and naming. What does not: which command answers which question (the other modules).
"""

import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Usage:
    """One run: wall and processor seconds, and the largest resident set of the process or one of its children."""

    seconds: float
    processor_seconds: float
    peak_rss_mib: float

    def __str__(self) -> str:
        """Return a line for people."""
        return (
            f"{self.seconds:.1f} s (processor {self.processor_seconds:.1f} s), "
            f"largest process {self.peak_rss_mib:.0f} MiB"
        )


@dataclass(frozen=True)
class Machine:
    """What the figures hold for."""

    cpu: str
    cores: int
    memory_gib: float
    python: str

    def __str__(self) -> str:
        """Return a line for people."""
        return f"{self.cpu}, {self.cores} cores, {self.memory_gib:g} GiB, Python {self.python}"


def machine() -> Machine:
    """Name this machine."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(cpu, cores, round(memory, 1), platform.python_version())


def measure(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Usage:
    """Run a command in a child process and measure it.

    Parameters
    ----------
    command
        Program and arguments.
    environment
        Variables of the child, all of them.
    log
        Where its output goes.

    Returns
    -------
    Usage
        The child's own usage and that of its children, not of all children so far.

    Raises
    ------
    RuntimeError
        When the command fails, with the end of its output: a failed run has no time worth printing.
    """
    with log.open("wb") as output:
        started = time.perf_counter()
        child = os.posix_spawn(
            command[0],
            list(command),
            dict(environment),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, output.fileno(), 2),
            ],
        )
        _, status, usage = os.wait4(child, 0)
        seconds = time.perf_counter() - started
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        end = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise RuntimeError(f"{' '.join(command[:4])} ended with {code}:\n{end}")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return Usage(round(seconds, 2), round(usage.ru_utime + usage.ru_stime, 2), round(usage.ru_maxrss / unit))
