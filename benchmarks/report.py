"""Report: seconds, peak memory and bytes of a report for 3, 20 and 60 markets.

The embedded profile's newest day is computed once; its three markets are copied under other names. Each size is drawn
in a child process of its own, as every night. What lives here: copying and drawing. What does not: what a report shows.
"""

import json as json_module
import os
import pickle
import sys
import tempfile
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks._measure import ROOT, Usage, machine, measure
from benchmarks.nightly import CONFIG, night
from reports.view import ReportInputs

SIZES = (3, 20, 60)
DAY = date(2018, 12, 31)
BY_SYMBOL = (
    "prices",
    "forecasts",
    "fits",
    "references",
    "fit_health",
    "refusals",
    "thresholds",
    "budgets",
    "quantiles",
    "triggers",
    "breaches",
    "recommendations",
    "sensitivities",
    "in_force",
)
DRAW = """
import sys
from pathlib import Path
from reports import isolated
folder = Path(sys.argv[1])
_, made = isolated.drawn((folder / f"inputs-{sys.argv[2]}.pickle").read_bytes(), 8192)
(folder / "report.pdf").write_bytes(made.pdf)
(folder / "pages").write_text(str(made.page_count))
"""


PREPARE = """
import sys
from pathlib import Path
from benchmarks import report
report.prepare(Path(sys.argv[1]))
"""


def gathered(home: Path) -> ReportInputs:
    """Read what the report of the embedded profile's last day is made from."""
    from assets.risk_report import gather
    from dagster_project import settings as settings_module
    from dagster_project.definitions import warehouse_of

    os.environ["PLIMSOLL_HOME"] = str(home)
    settings = settings_module.load(CONFIG)
    with warehouse_of(settings).session() as session:
        return gather(session, settings, DAY)


def copied(inputs: ReportInputs, markets: int) -> ReportInputs:
    """Return a report of so many markets, copies of those that there are."""
    pairs = [(f"M{at:02d}", inputs.markets[at % len(inputs.markets)]) for at in range(markets)]

    def spread(frame: pd.DataFrame, column: str) -> pd.DataFrame:
        parts = [frame[frame[column] == old.symbol].assign(**{column: new}) for new, old in pairs]
        made = pd.concat([*parts, frame[frame[column] == "POOLED"]], ignore_index=True)
        return made.astype({column: "category"}) if frame[column].dtype.name == "category" else made

    frames: dict[str, Any] = {name: spread(getattr(inputs, name), "symbol") for name in BY_SYMBOL}
    return replace(
        inputs,
        markets=tuple(replace(old, symbol=new, name=f"Market {new}") for new, old in pairs),
        coverage=spread(inputs.coverage, "scope"),
        **frames,
    )


def prepare(home: Path) -> None:
    """Write the inputs of every size below ``home``; run in a child, whose memory the drawings do not inherit."""
    inputs = gathered(home)
    for size in SIZES:
        (home / f"inputs-{size}.pickle").write_bytes(pickle.dumps(copied(inputs, size)))


def draw(folder: Path, size: int) -> tuple[Usage, int, int]:
    """Draw a report in a child process: its usage, pages and bytes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    used = measure([sys.executable, "-c", DRAW, str(folder), str(size)], environment, folder / "draw.log")
    return used, int((folder / "pages").read_text()), (folder / "report.pdf").stat().st_size


def run(*, json: bool) -> int:
    """Measure and print.

    Parameters
    ----------
    json
        Print machine-readable figures instead of lines.

    Returns
    -------
    int
        Exit code: 0 measured, 1 a run failed.
    """
    rows = []
    with tempfile.TemporaryDirectory(prefix="plimsoll-bench-") as place:
        folder = Path(place)
        try:
            night(folder)
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            measure([sys.executable, "-c", PREPARE, str(folder)], environment, folder / "prepare.log")
            for size in SIZES:
                used, pages, size_bytes = draw(folder, size)
                rows.append((size, used, pages, size_bytes))
        except RuntimeError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    named = machine()
    if json:
        content = {
            "benchmark": "report",
            "machine": vars(named),
            "sizes": [
                {"markets": n, **vars(used), "pages": pages, "bytes": size, "seconds_a_page": used.seconds / pages}
                for n, used, pages, size in rows
            ],
        }
        sys.stdout.write(json_module.dumps(content, sort_keys=True, indent=1) + "\n")
        return 0
    sys.stdout.write(f"machine     {named}\n")
    for n, used, pages, size in rows:
        sys.stdout.write(
            f"{n:3d} markets  {used}, {pages} pages, {used.seconds / pages:.2f} s a page, {size / 2**20:.2f} MiB\n"
        )
    return 0
