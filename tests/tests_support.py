"""Helpers of several test modules: simulated markets, small profiles, dumps of what a run left."""

import os
import signal
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sql
from dagster_project import settings as settings_module
from dagster_project.definitions import warehouse_of
from dagster_project.settings import Settings
from dagster_project.warehouse import Session

HOURS = 24

CONFIG = """
[profile]
name = "small"
title = "Small test profile"
about = "Simulated markets."
first_partition = 2020-01-01
last_partition = 2022-06-30
is_schedule_on = false
is_demo = true

[source]
kind = "candles"
name = "simulated"
path = "{path}"

[mail]
sender = "plimsoll@example.org"
committee = ["one@example.org", "two@example.org"]

[volatility]
window = 300
minimum_own_fit = 250
minimum_any = 90

[overshoot]
depths = [0.5, 1.0, 2.0]
minimum_triggers = 60
minimum_dates = 40

[markets.AAA]
name = "Alpha"
calendar = "daily"
market_class = "major"
[markets.AAA.perpetual]
notional_usd = 1.0e6
[markets.AAA.perpetual.in_force]
venue = "test venue"
read_on = 2022-01-01
mm_bps = 300
im_bps = 1000
[markets.AAA.lending]
notional_usd = 2.0e6
[markets.AAA.lending.in_force]
venue = "test pool"
read_on = 2022-01-01
lt_bps = 8300
ltv_bps = 8000
bonus_bps = 500

[markets.BBB]
name = "Beta"
calendar = "daily"
market_class = "other"
[markets.BBB.perpetual]
notional_usd = 1.0e6
[markets.BBB.lending]
notional_usd = 1.0e6
"""


def simulated_candles(
    symbol: str, seed: int, days: int = 700, start: str = "2020-07-01", sigma: float = 0.03
) -> pd.DataFrame:
    """Candles of a market with changing volatility and fat tails, from hourly steps."""
    rng = np.random.default_rng(seed)
    level = np.empty(days)
    level[0] = np.log(sigma)
    for t in range(1, days):
        level[t] = 0.03 * np.log(sigma) + 0.97 * level[t - 1] + 0.08 * rng.standard_normal()
    steps = rng.standard_t(4, (days, HOURS)) / np.sqrt(2) * np.exp(level)[:, None] / np.sqrt(HOURS)
    path = np.cumsum(steps.ravel()).reshape(days, HOURS) + np.log(100.0)
    opening = np.concatenate([[np.log(100.0)], path[:-1, -1]])
    whole = np.column_stack([opening, path])
    return pd.DataFrame(
        {
            "date": pd.date_range(start, periods=days, freq="D"),
            "symbol": symbol,
            "source": "simulated",
            "open": np.exp(opening),
            "high": np.exp(whole.max(axis=1)),
            "low": np.exp(whole.min(axis=1)),
            "close": np.exp(path[:, -1]),
            "volume": rng.uniform(0.5e8, 2e8, days),
            "volume_unit": "quote_usd",
        }
    )


def make_profile(folder: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame) -> Settings:
    """Write candles and a configuration below ``folder`` and point the process at it."""
    folder.mkdir(parents=True, exist_ok=True)
    candles.to_parquet(folder / "candles.parquet", index=False)
    (folder / "small.toml").write_text(CONFIG.format(path=folder / "candles.parquet"))
    monkeypatch.setenv("PLIMSOLL_HOME", str(folder / "var"))
    monkeypatch.setenv("DAGSTER_HOME", str(folder / "dagster"))
    monkeypatch.setenv("PLIMSOLL_NOW", "2022-07-01T00:30:00")
    return settings_module.load(folder / "small.toml")


def noted(session: Session, rows: int = 1) -> None:
    """A row in the commit ledger, as every writer adds one."""
    session.record_commit(
        stage="test",
        as_of=date(2022, 1, 1),
        run_id="r",
        input_hash="i",
        output_hash="o",
        code="1",
        config_hash="c",
        row_count=rows,
    )


def dump(settings: Settings) -> dict[str, pd.DataFrame]:
    """Every table of a profile in a canonical order, without what names a run."""
    out = {}
    with warehouse_of(settings).session() as session:
        for contract in sql.tables():
            rows = session.everything(contract.name)
            rows = rows.drop(columns=[c for c in ("run_id", "known_at", "changed_at") if c in rows])
            out[contract.name] = rows.sort_values(list(rows.columns), kind="stable", ignore_index=True)
    return out


def files_of(settings: Settings) -> dict[str, bytes]:
    """Every file that a run publishes: reports, mails, raw inputs; copies of the store and signs of life are none."""
    folder = settings_module.profile_folder(settings)
    parts = [folder / name for name in ("reports", "outbox", "raw", "alerts")]
    suffixes = (".pdf", ".json", ".html", ".md", ".csv", ".eml", ".gz")
    kept = [p for part in parts for p in part.rglob("*") if p.is_file() and p.suffix in suffixes]
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(kept)}


def shout(word: str, *, threads: int) -> tuple[str, int]:
    """Work that tells where it was done."""
    return word.upper(), os.getpid()


def die(*, threads: int) -> None:
    """Work that takes its process along."""
    os.kill(os.getpid(), signal.SIGKILL)


def complain(*, threads: int) -> None:
    """Work that finds its input wrong."""
    raise ValueError("sigma_history of 2022-01-01 is no volatility")
