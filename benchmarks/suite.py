"""Suite: how long the tests take, beside one first night on the same machine in the same run.

What lives here: running the test command as `make test` does. What does not: what is tested.
"""

import json as json_module
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks._measure import machine, measure
from benchmarks.nightly import night


def run(*, json: bool) -> int:
    """Measure the tests and a first night, and print both.

    Parameters
    ----------
    json
        Print machine-readable figures instead of lines.

    Returns
    -------
    int
        Exit code: 0 measured, 1 a run failed.
    """
    with tempfile.TemporaryDirectory(prefix="plimsoll-bench-") as folder:
        home = Path(folder)
        try:
            first = night(home)
            tests = measure([sys.executable, "-m", "pytest", "-n", "2", "-q"], os.environ, home / "tests.log")
        except RuntimeError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    named = machine()
    ratio = tests.seconds / first.seconds
    if json:
        content = {
            "benchmark": "suite",
            "tests": asdict(tests),
            "first_night": asdict(first),
            "ratio": round(ratio, 3),
            "machine": asdict(named),
        }
        sys.stdout.write(json_module.dumps(content, sort_keys=True, indent=1) + "\n")
        return 0
    sys.stdout.write(f"machine      {named}\nfirst night  {first}\ntests        {tests}\nratio        {ratio:.1f}\n")
    return 0
