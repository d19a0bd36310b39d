"""Replay: twelve markets over five years under five policies, from candles to both tables.

A child process runs `plimsoll replay` on simulated candles in an empty folder (data, fits, thresholds, replay), then
once more on what is stored (the replay with little besides). What lives here: the two runs. What does not: the replay.
"""

import json as json_module
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from benchmarks._measure import Usage, machine, measure
from benchmarks._small import CONFIG, simulated_candles

MARKETS = 12
HISTORY_DAYS = 500
"""Before the first fit of a market's own; nothing is judged on them."""
JUDGED_DAYS = 5 * 365
MARKET = """
[markets.{symbol}]
name = "Market {symbol}"
calendar = "daily"
market_class = "other"
[markets.{symbol}.perpetual]
notional_usd = 1.0e6
[markets.{symbol}.perpetual.in_force]
venue = "test venue"
read_on = 2022-01-01
mm_bps = 500
im_bps = 1000
[markets.{symbol}.lending]
notional_usd = 1.0e6
[markets.{symbol}.lending.in_force]
venue = "test pool"
read_on = 2022-01-01
lt_bps = 7500
ltv_bps = 7000
bonus_bps = 500
"""


def profile(folder: Path) -> Path:
    """Write candles and configuration; the configuration's path."""
    symbols = [f"M{number:02d}" for number in range(MARKETS)]
    start = pd.Timestamp("2022-06-30") - pd.Timedelta(days=HISTORY_DAYS + JUDGED_DAYS - 1)
    candles = [
        simulated_candles(symbol, 100 + number, HISTORY_DAYS + JUDGED_DAYS, str(start.date()), 0.03 + 0.002 * number)
        for number, symbol in enumerate(symbols)
    ]
    pd.concat(candles, ignore_index=True).to_parquet(folder / "candles.parquet", index=False)
    common = CONFIG[: CONFIG.index("[markets.AAA]")].replace("2020-01-01", str(start.date()))
    common = common.replace("window = 300", "window = 1500").replace("minimum_own_fit = 250", "minimum_own_fit = 500")
    text = common.format(path=folder / "candles.parquet") + "".join(MARKET.format(symbol=one) for one in symbols)
    (folder / "replay.toml").write_text(text)
    return folder / "replay.toml"


def replayed(folder: Path, config: Path) -> Usage:
    """Run the command once."""
    environment = {**os.environ, "PLIMSOLL_HOME": str(folder / "var"), "DAGSTER_HOME": str(folder / "dagster")}
    command = [sys.executable, "-m", "dagster_project.cli", "replay", "--config", str(config), "--as-of", "2022-06-30"]
    return measure(command, environment | {"PLIMSOLL_NOW": "2022-07-01T00:30:00"}, folder / "replay.log")


def run(*, json: bool) -> int:
    """Measure both runs and print them.

    Parameters
    ----------
    json
        Print machine-readable figures instead of lines.

    Returns
    -------
    int
        Exit code: 0 measured, 1 a run failed.
    """
    with tempfile.TemporaryDirectory(prefix="plimsoll-bench-") as name:
        folder = Path(name)
        config = profile(folder)
        try:
            first, second = replayed(folder, config), replayed(folder, config)
        except RuntimeError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    named = machine()
    if json:
        content = {
            "benchmark": "replay",
            "markets": MARKETS,
            "judged_days": JUDGED_DAYS,
            "first": asdict(first),
            "second": asdict(second),
            "machine": asdict(named),
        }
        sys.stdout.write(json_module.dumps(content, sort_keys=True, indent=1) + "\n")
        return 0
    sys.stdout.write(
        f"machine      {named}\nmarkets      {MARKETS}, {JUDGED_DAYS} judged days, five policies and a variant, "
        f"two products, two sides\nfrom candles {first}\nfrom store   {second}\n"
    )
    return 0
