"""Nightly: what a first night costs, what the identical night after it costs, and how much memory it takes.

A child process runs `plimsoll report` on the embedded profile in an empty folder, then the same once more.
In the first run it walks twenty years forward; in the second it finds everything stored. What lives here:
timing, and naming the machine. What does not: the figures of the README; they are printed here and copied
with the command.
"""

import json as json_module
import os
import platform
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "config" / "embedded.toml"


@dataclass(frozen=True)
class Night:
    """One run: wall and processor seconds, and the largest resident set of the process and its children."""

    seconds: float
    processor_seconds: float
    peak_rss_mib: float
    exit_code: int


@dataclass(frozen=True)
class Machine:
    """What the figures hold for."""

    cpu: str
    cores: int
    memory_gib: float
    python: str


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


def night(home: Path) -> Night:
    """Run the nightly job in a child process and measure it.

    Parameters
    ----------
    home
        Folder that stands for ``var/``.

    Returns
    -------
    Night
        The child's own usage, not that of all children so far.

    Raises
    ------
    RuntimeError
        When the run fails, with the end of its output: a failed night has no time worth printing.
    """
    environment = {**os.environ, "PLIMSOLL_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
    command = [sys.executable, "-m", "dagster_project.cli", "report", "--config", str(CONFIG)]
    log = home / "night.log"
    with log.open("wb") as output:
        started = time.perf_counter()
        child = os.posix_spawn(
            command[0],
            command,
            environment,
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
        raise RuntimeError(f"plimsoll report ended with {code}:\n{end}")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return Night(round(seconds, 2), round(usage.ru_utime + usage.ru_stime, 2), round(usage.ru_maxrss / unit), code)


def run(*, json: bool) -> int:
    """Measure two nights and print them.

    Parameters
    ----------
    json
        Print machine-readable figures instead of lines.

    Returns
    -------
    int
        Exit code: 0 measured, 1 a night failed.
    """
    with tempfile.TemporaryDirectory(prefix="plimsoll-bench-") as folder:
        try:
            first = night(Path(folder))
            second = night(Path(folder))
        except RuntimeError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    named = machine()
    ratio = second.seconds / first.seconds
    if json:
        content = {
            "benchmark": "nightly",
            "profile": CONFIG.stem,
            "first": asdict(first),
            "second": asdict(second),
            "ratio": round(ratio, 3),
            "machine": asdict(named),
        }
        sys.stdout.write(json_module.dumps(content, sort_keys=True, indent=1) + "\n")
        return 0
    sys.stdout.write(
        f"machine     {named.cpu}, {named.cores} cores, {named.memory_gib:g} GiB, Python {named.python}\n"
        f"first run   {_line(first)}\n"
        f"second run  {_line(second)}\n"
        f"ratio       {ratio:.2f}\n"
    )
    return 0


def _line(one: Night) -> str:
    return f"{one.seconds:.1f} s (processor {one.processor_seconds:.1f} s), peak {one.peak_rss_mib:.0f} MiB"
