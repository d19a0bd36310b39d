"""Nightly: what a first night costs, what the identical night after it costs, and how much memory it takes.

A child process runs `plimsoll report` on the embedded profile in an empty folder, then the same once more.
In the first run it walks twenty years forward; in the second it finds everything stored. What lives here:
the two runs. What does not: the figures of the README; they are printed here and copied with the command.
"""

import json as json_module
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks._measure import ROOT, Usage, machine, measure

CONFIG = ROOT / "config" / "embedded.toml"


def night(home: Path) -> Usage:
    """Run the nightly job with ``home`` standing for ``var/``."""
    environment = {**os.environ, "PLIMSOLL_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
    command = [sys.executable, "-m", "dagster_project.cli", "report", "--config", str(CONFIG)]
    return measure(command, environment, home / "night.log")


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
        f"machine     {named}\nfirst run   {first}\nsecond run  {second}\nratio       {ratio:.2f} of the first\n"
    )
    return 0
