"""Where fits are made: threads, processes and a real cluster give the same bits; who might not is refused."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests_support import complain, die, dump, make_profile, shout

from assets.volatility import walk_markets
from benchmarks._small import CONFIG
from dagster_project import compute as compute_module
from dagster_project import doctor
from dagster_project import settings as settings_module
from dagster_project.compute import Compute, ComputeError
from dagster_project.definitions import warehouse_of
from dagster_project.nightly import run_nightly
from dagster_project.settings import Settings
from plimsoll import volatility

STAGES = [
    "candle",
    "price",
    "volatility_fit",
    "volatility_forecast",
    "fit_reference",
    "overshoot_quantile",
    "threshold",
]


def start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "distributed.cli." + command[0], *command[1:]],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in reversed(processes):
        process.terminate()
    for process in processes:
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def scheduler(folder: Path, processes: list[subprocess.Popen[bytes]]) -> tuple[str, Path]:
    """Start a scheduler on a free loopback port; its address and the file in which it stands."""
    file = folder / "scheduler.json"
    options = ["--host", "tcp://127.0.0.1", "--port", "0", "--no-dashboard", "--no-show", "--scheduler-file", str(file)]
    processes.append(start(["dask_scheduler", *options], {}))
    deadline = time.monotonic() + 60
    while not file.is_file() or not file.read_text():
        assert processes[-1].poll() is None, "the scheduler ended"
        assert time.monotonic() < deadline, "the scheduler did not start"
        time.sleep(0.1)
    return str(json.loads(file.read_text())["address"]), file


def worker(file: Path, processes: list[subprocess.Popen[bytes]], environment: dict[str, str] | None = None) -> None:
    options = ["--scheduler-file", str(file), "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    processes.append(start(["dask_worker", *options, "--host", "127.0.0.1"], environment or {}))


def wait_for_workers(address: str, count: int) -> None:
    distributed: Any = pytest.importorskip("distributed")
    with distributed.Client(address, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=60)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real scheduler with two worker processes."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        address, file = scheduler(tmp_path_factory.mktemp("dask"), processes)
        for _ in range(2):
            worker(file, processes)
        wait_for_workers(address, 2)
        yield address
    finally:
        stop(processes)


@pytest.fixture(scope="module")
def asked(
    tmp_path_factory: pytest.TempPathFactory, candles: pd.DataFrame
) -> tuple[Settings, pd.DataFrame, pd.DataFrame]:
    """Settings, prices and no stored forecasts of a small profile: what the volatility stage starts from."""
    with pytest.MonkeyPatch.context() as patch:
        settings = make_profile(tmp_path_factory.mktemp("asked"), patch, candles)
        day = settings.as_of_default(pd.Timestamp("2022-06-01").date())
        assert run_nightly(settings, day, select=["candle", "price"]).is_success
        with warehouse_of(settings).session() as session:
            prices = session.query("prices", last=day)
            stored = session.query("forecasts", last=day, methodology="none", config_hash="none")
    return settings, prices, stored


def same(one: tuple[pd.DataFrame, pd.DataFrame], other: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    for left, right in zip(one, other, strict=True):
        assert len(left) > 400
        pd.testing.assert_frame_equal(left, right, check_exact=True)


@pytest.fixture(scope="module")
def by_threads(asked: tuple[Settings, pd.DataFrame, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    settings, prices, stored = asked
    return walk_markets(settings, Compute(workers=1), prices, stored)


def test_number_of_threads_changes_no_bit(
    asked: tuple[Settings, pd.DataFrame, pd.DataFrame], by_threads: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    settings, prices, stored = asked
    same(by_threads, walk_markets(settings, Compute(workers=3), prices, stored))


@pytest.mark.slow
def test_processes_give_the_same_bits(
    asked: tuple[Settings, pd.DataFrame, pd.DataFrame], by_threads: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    settings, prices, stored = asked
    same(by_threads, walk_markets(settings, Compute(kind="processes", workers=2), prices, stored))


@pytest.mark.slow
def test_a_cluster_gives_the_same_bits(
    asked: tuple[Settings, pd.DataFrame, pd.DataFrame], by_threads: tuple[pd.DataFrame, pd.DataFrame], cluster: str
) -> None:
    settings, prices, stored = asked
    same(by_threads, walk_markets(settings, Compute(kind="dask", address=cluster), prices, stored))


@pytest.mark.slow
def test_a_night_on_a_cluster_is_the_night_of_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame, cluster: str
) -> None:
    day = pd.Timestamp("2022-05-31").date()
    plain = make_profile(tmp_path / "plain", monkeypatch, candles)
    assert run_nightly(plain, day, select=STAGES).is_success
    expected = dump(plain)
    make_profile(tmp_path / "spread", monkeypatch, candles)
    text = CONFIG.format(path=tmp_path / "spread" / "candles.parquet")
    (tmp_path / "spread" / "small.toml").write_text(text + f'\n[compute]\nkind = "dask"\naddress = "{cluster}"\n')
    spread = settings_module.load(tmp_path / "spread" / "small.toml")
    assert spread.config_hash == plain.config_hash
    assert run_nightly(spread, day, select=STAGES).is_success
    found = dump(spread)
    for table in ("volatility_fit", "volatility_forecast", "fit_reference", "threshold"):
        assert len(expected[table]) > 0
        pd.testing.assert_frame_equal(expected[table], found[table], check_exact=True, obj=table)


@pytest.mark.slow
def test_results_keep_their_order_and_really_come_from_elsewhere(cluster: str) -> None:
    words = [f"word {n}" for n in range(12)]
    for compute in (Compute(kind="processes", workers=2), Compute(kind="dask", address=cluster)):
        found = compute.map(shout, [{"word": word} for word in words])
        assert [word for word, _ in found] == [word.upper() for word in words]
        assert os.getpid() not in {pid for _, pid in found}
    assert {pid for _, pid in Compute().map(shout, [{"word": "here"}])} == {os.getpid()}
    assert Compute(kind="dask", address="tcp://127.0.0.1:1").map(shout, []) == []


@pytest.mark.slow
def test_an_error_of_the_work_arrives_as_it_is(cluster: str) -> None:
    for compute in (Compute(), Compute(kind="processes", workers=1), Compute(kind="dask", address=cluster)):
        with pytest.raises(ValueError, match="sigma_history of 2022-01-01 is no volatility"):
            compute.map(complain, [{}])


@pytest.mark.slow
def test_a_worker_process_that_dies_is_told() -> None:
    with pytest.raises(ComputeError, match=r"a worker process died, probably for want of memory; set workers lower"):
        Compute(kind="processes", workers=1).map(die, [{}])


@pytest.mark.slow
def test_workers_of_a_cluster_that_die_are_told(tmp_path: Path) -> None:
    processes: list[subprocess.Popen[bytes]] = []
    try:
        address, file = scheduler(tmp_path, processes)
        for _ in range(5):
            worker(file, processes)
        wait_for_workers(address, 5)
        with pytest.raises(ComputeError, match=rf"workers of the cluster at {address} died at their work"):
            Compute(kind="dask", address=address).map(die, [{}])
    finally:
        stop(processes)


@pytest.mark.slow
def test_a_worker_of_another_make_is_refused(tmp_path: Path) -> None:
    """Its processor type is another by its own word: its bits might be others."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        address, file = scheduler(tmp_path, processes)
        with pytest.raises(ComputeError, match=rf"the Dask scheduler at {address} has no worker; start one"):
            Compute(kind="dask", address=address).map(shout, [{"word": "x"}])
        worker(file, processes, {"NUMBA_CPU_NAME": "generic"})
        wait_for_workers(address, 1)
        with pytest.raises(ComputeError, match=r"a worker runs .*generic and this process .*: numbers could differ"):
            Compute(kind="dask", address=address).map(shout, [{"word": "x"}])
    finally:
        stop(processes)


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute_module, "CONNECT_SECONDS", 0.5)
    with pytest.raises(ComputeError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1 within 0\.5 s"):
        Compute(kind="dask", address="tcp://127.0.0.1:1").map(shout, [{"word": "x"}])


@pytest.mark.slow
def test_the_doctor_asks_the_workers(profile: Settings, cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute_module, "CONNECT_SECONDS", 0.5)
    for knobs, is_fine, words in (
        ({"kind": "threads"}, True, "threads: method "),
        ({"kind": "dask", "address": cluster}, True, f"dask at {cluster}: method "),
        ({"kind": "dask", "address": "tcp://127.0.0.1:1"}, False, "no Dask scheduler answers at tcp://127.0.0.1:1"),
    ):
        asked = profile.model_copy(update={"compute": settings_module.ComputeKnobs(**knobs)})
        (finding,) = [finding for finding in doctor.examine(asked) if finding.what == "compute"]
        assert finding.is_fine == is_fine and words in finding.detail


def test_only_plain_values_travel(asked: tuple[Settings, pd.DataFrame, pd.DataFrame]) -> None:
    """Workers get arrays, never connections: what is sent is frames, numbers and dates."""
    settings, prices, stored = asked
    sent: list[dict[str, Any]] = []

    class Spy(Compute):
        def map(self, function: Any, tasks: Any) -> Any:
            sent.extend(tasks)
            return super().map(function, tasks)

    walk_markets(settings, Spy(workers=1), prices, stored)
    values = [value for task in sent for value in task.values() if value is not None]
    flat = [one for value in values for one in (value if isinstance(value, tuple) else (value,))]
    assert {type(one).__module__.split(".")[0] for one in flat} <= {"pandas", "datetime", "plimsoll"}
    assert any(isinstance(one, volatility.VolatilityFit) for one in flat), "peers are added to fits that travel too"
    assert {np.dtype(kind).kind for task in sent for kind in task["prices"].dtypes} <= {"M", "f", "b"}
