"""Ingest: a first load of very many series from Parquet, the night after it, and the agreement of venues timed apart.

Files of one year each are made in an empty folder; a child process takes them into a new store, then a file with the
newest thirty days and one day more, as a vendor delivers it. What lives here: making the files, the children, the
figures. What does not: loading (``assets.market_data``), agreeing (``plimsoll.consensus``).
"""

import functools
import json as json_module
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks._measure import Usage, machine, measure
from benchmarks._small import CONFIG

SMALL, FULL = (500, 3), (5000, 10)
"""Assets and years."""
LAST_YEAR = 2021
OVERLAP_DAYS = 30
VENUES, VENUE_ASSETS, VENUE_YEARS = 3, 200, 3
VENUE_NAMES = ("simulated", "second", "third")


def run(*, json: bool, full: bool = False) -> int:
    """Measure and print.

    Parameters
    ----------
    json
        Print machine-readable figures instead of lines.
    full
        Five thousand assets over ten years instead of five hundred over three.

    Returns
    -------
    int
        Exit code: 0 measured, 1 a run failed.
    """
    assets, years = FULL if full else SMALL
    with tempfile.TemporaryDirectory(prefix="plimsoll-bench-") as name:
        folder = Path(name)
        rows = made(folder, assets, years)
        try:
            first, load = child(folder, "load")
            renew(folder, assets)
            second, night = child(folder, "night")
            third, agree = child(folder, "agree")
        except RuntimeError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    named = machine()
    figures = {
        "assets": assets,
        "years": years,
        "rows": rows,
        "rows_per_second": rows / load["seconds"],
        "load": load | {"process": asdict(first)},
        "night": night | {"process": asdict(second)},
        "agree": agree | {"process": asdict(third)},
    }
    if json:
        content = {"benchmark": "ingest", "machine": asdict(named), **figures}
        sys.stdout.write(json_module.dumps(content, sort_keys=True, indent=1) + "\n")
        return 0
    sys.stdout.write(
        f"machine      {named}\n"
        f"first load   {rows:,} rows of {assets:,} assets over {years} years: {load['seconds']:.1f} s, "
        f"{rows / load['seconds'] / 1e6:.2f} million rows a second; {first}\n"
        f"night after  {night['rows']:,} rows read, {night['candles']:,} new: {night['database_seconds']:.2f} s of "
        f"database time in {night['seconds']:.1f} s; {second}\n"
        f"agreement    {agree['rows']:,} bars of {VENUE_ASSETS} assets at {VENUES} venues: judged in "
        f"{agree['judged_seconds']:.1f} s, voted in {agree['voted_seconds']:.1f} s, "
        f"{agree['rows'] / (agree['judged_seconds'] + agree['voted_seconds']):,.0f} bars a second; {third}\n"
    )
    return 0


def made(folder: Path, assets: int, years: int) -> int:
    """Write a file of candles for each year, and the configuration; rows written."""
    (folder / "candles").mkdir()
    rng = np.random.default_rng(1)
    symbols = [f"M{n:04d}" for n in range(assets)]
    level = np.log(rng.uniform(1, 1000, assets))
    rows = 0
    for year in range(LAST_YEAR - years + 1, LAST_YEAR + 1):
        days = pd.date_range(f"{year}-01-01", f"{year}-12-31", freq="D")
        frame, level = walked(rng, symbols, level, days)
        frame.to_parquet(folder / "candles" / f"{year}.parquet", index=False)
        rows += len(frame)
    text = CONFIG[: CONFIG.index("[markets.AAA]")].format(path=folder / "candles")
    text = text.replace("2020-01-01", f"{LAST_YEAR - years + 1}-01-01")
    for symbol in symbols:
        text += f'[markets.{symbol}]\nname = "{symbol}"\ncalendar = "daily"\nmarket_class = "other"\n'
        text += f"[markets.{symbol}.perpetual]\nnotional_usd = 1.0e6\n"
    (folder / "ingest.toml").write_text(text)
    np.save(folder / "level.npy", level)
    return rows


def walked(
    rng: np.random.Generator, symbols: list[str], level: np.ndarray, days: pd.DatetimeIndex, source: str = "simulated"
) -> tuple[pd.DataFrame, np.ndarray]:
    """Walk every series over some days; the candles in the order of days, and where the series end."""
    n, m = len(days), len(symbols)
    step = rng.standard_normal((n, m)) * 0.03
    close = level + np.cumsum(step, axis=0)
    opening = np.vstack([level, close[:-1]])
    wick = np.abs(rng.standard_normal((2, n, m))) * 0.01
    high, low = np.maximum(opening, close) + wick[0], np.minimum(opening, close) - wick[1]
    frame = pd.DataFrame(
        {
            "date": np.repeat(days.to_numpy(dtype="datetime64[us]"), m),
            "symbol": pd.Categorical.from_codes(np.tile(np.arange(m), n), pd.Index(symbols)),
            "source": pd.Categorical.from_codes(np.zeros(n * m, dtype=np.int8), pd.Index([source])),
            **{
                name: np.exp(values).ravel()
                for name, values in (("open", opening), ("high", high), ("low", low), ("close", close))
            },
            "volume": rng.uniform(1e6, 2e6, n * m),
            "volume_unit": pd.Categorical.from_codes(np.zeros(n * m, dtype=np.int8), pd.Index(["quote_usd"])),
        }
    )
    return frame, close[-1]


def renew(folder: Path, assets: int) -> None:
    """Put the vendor's next delivery in place of the files: the newest thirty days, and the day after them."""
    last = folder / "candles" / f"{LAST_YEAR}.parquet"
    frame = pd.read_parquet(last)
    newest = frame[frame["date"] > pd.Timestamp(LAST_YEAR, 12, 31) - pd.Timedelta(days=OVERLAP_DAYS)]
    symbols = [f"M{n:04d}" for n in range(assets)]
    more, _ = walked(
        np.random.default_rng(2),
        symbols,
        np.load(folder / "level.npy"),
        pd.date_range(f"{LAST_YEAR + 1}-01-01", periods=1),
    )
    for path in (folder / "candles").iterdir():
        path.unlink()
    pd.concat([newest, more], ignore_index=True).to_parquet(folder / "candles" / "newest.parquet", index=False)


def child(folder: Path, what: str) -> tuple[Usage, dict[str, Any]]:
    """Run one part in a process of its own; its usage, and what it measured inside."""
    environment = {
        **os.environ,
        "PLIMSOLL_HOME": str(folder / "var"),
        "DAGSTER_HOME": str(folder / "dagster"),
        "PLIMSOLL_NOW": f"{LAST_YEAR + 1}-01-{'02' if what == 'night' else '01'}T01:00:00",
    }
    log = folder / f"{what}.log"
    usage = measure([sys.executable, "-m", "benchmarks.ingest", what, str(folder)], environment, log)
    return usage, json_module.loads(log.read_text().splitlines()[-1])


def _taken(folder: Path, day: date) -> dict[str, Any]:
    from assets import market_data
    from assets._run import Run
    from dagster_project import settings as settings_module
    from dagster_project.definitions import warehouse_of

    chosen = settings_module.load(folder / "ingest.toml")
    with warehouse_of(chosen).session() as session, database_time() as spent:
        started = time.perf_counter()
        counts = market_data.ingest(session, chosen, Run(chosen, (day,), "bench"))
        seconds = time.perf_counter() - started
    rows = sum(len(pd.read_parquet(path, columns=["date"])) for path in (folder / "candles").iterdir())
    return {"seconds": seconds, "database_seconds": spent[0], "rows": rows, "candles": counts["candles"]}


@contextmanager
def database_time() -> Iterator[list[float]]:
    """Add up the time that calls of the store take, each once."""
    from dagster_project.warehouse import Session

    spent, depth = [0.0], [0]
    names = ("query", "append", "insert", "load", "record_commit", "last_commit")

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def inner(*args: Any, **kwargs: Any) -> Any:
            depth[0] += 1
            started = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                depth[0] -= 1
                if not depth[0]:
                    spent[0] += time.perf_counter() - started

        return inner

    kept = {name: getattr(Session, name) for name in names}
    for name, call in kept.items():
        setattr(Session, name, timed(call))
    try:
        yield spent
    finally:
        for name, call in kept.items():
            setattr(Session, name, call)


def _agreed() -> dict[str, Any]:
    from plimsoll import consensus

    symbols = [f"M{n:04d}" for n in range(VENUE_ASSETS)]
    days = pd.date_range(f"{LAST_YEAR - VENUE_YEARS + 1}-01-01", f"{LAST_YEAR}-12-31", freq="D")
    frames = []
    for n, venue in enumerate(VENUE_NAMES):
        frame, _ = walked(np.random.default_rng(3), symbols, np.zeros(VENUE_ASSETS), days, venue)
        noise = np.exp(np.random.default_rng(10 + n).normal(0, 1e-4, len(frame)))
        for name in ("open", "high", "low", "close"):
            frame[f"{name}_usd"] = frame.pop(name) * noise
        frames.append(frame.astype({"symbol": "str", "source": "str", "volume_unit": "str"}))
    candles = pd.concat(frames, ignore_index=True)
    started = time.perf_counter()
    judgement = consensus.judge(candles)
    judged = time.perf_counter()
    consensus.consensus_prices(candles, judgement)
    return {
        "rows": len(candles),
        "judged_seconds": judged - started,
        "voted_seconds": time.perf_counter() - judged,
        "rejected": len(judgement.rejected),
    }


def _part(what: str, folder: Path) -> dict[str, Any]:
    if what == "agree":
        return _agreed()
    return _taken(folder, date(LAST_YEAR, 12, 31) if what == "load" else date(LAST_YEAR + 1, 1, 1))


if __name__ == "__main__":
    sys.stdout.write(json_module.dumps(_part(sys.argv[1], Path(sys.argv[2]))) + "\n")
