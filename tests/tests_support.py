"""Helpers of several test modules: small profiles, dumps of what a run left, work for other processes."""

import os
import signal
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

import sql
from benchmarks._small import write
from dagster_project import settings as settings_module
from dagster_project.definitions import warehouse_of
from dagster_project.settings import Settings
from dagster_project.warehouse import Session, Warehouse


def make_profile(folder: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame) -> Settings:
    """Write candles and a configuration below ``folder`` and point the process at it."""
    config = write(folder, candles)
    monkeypatch.setenv("PLIMSOLL_HOME", str(folder / "var"))
    monkeypatch.setenv("DAGSTER_HOME", str(folder / "dagster"))
    monkeypatch.setenv("PLIMSOLL_NOW", "2022-07-01T00:30:00")
    return settings_module.load(config)


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


def dump(settings: Settings, warehouse: Warehouse | None = None) -> dict[str, pd.DataFrame]:
    """Every table of a profile in a canonical order, without what names a run."""
    out = {}
    with (warehouse or warehouse_of(settings)).session() as session:
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
