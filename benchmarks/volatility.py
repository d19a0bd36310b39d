"""Volatility: how much faster the batch engine is than a loop over `arch`, and whether it finds the optima.

Four questions. Speed: the same windows, in one process, by a plain loop over `arch` with its forecast and by
the engine, in alternating blocks. Quality: windows of bundled, simulated and, where the environment variable
PLIMSOLL_BENCH_CANDLES names a Parquet file with columns date, symbol, source and close, crypto returns, against
the best of many random starts of general optimisers on a second likelihood, written apart. Load: fifty
simulated markets by six specifications, and how the time grows with the numbers of markets and of days. Compilation:
how long the first process of a machine takes, and the next.
"""

import json as json_module
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks._measure import ROOT, machine
from benchmarks._optima import reference
from plimsoll.volatility.batch import BatchSpec, fit_windows

Floats = NDArray[np.float64]

WINDOW = 1000
THREADS = 2
SPECS = [BatchSpec(v, i) for v in ("garch", "gjr") for i in ("normal", "student_t", "skew_t")]
SPEED_BLOCKS = 3
SPEED_WINDOWS = 12  # of each block by the loop
SPEED_SPAN = 500  # consecutive windows of each block by the engine
PARITY_WINDOWS = {False: 300, True: 5040}  # in all, dealt over specifications and series; the second if full
PARITY_STARTS = 24
NEAR = 2.0  # log-likelihood within which a second optimum counts
LOAD_MARKETS = 50
LOAD_DAYS = 1500
CRYPTO = ("BTC", "ETH", "SOL", "LINK")
SHORT, TOO_SHORT = 1e-3, 0.05  # of log-likelihood
AGREE, SIGMA = 1e-4, 1e-3
LEAST_RATIO, MOST_SECONDS = 100.0, 90.0
DAILY = ("garch-student_t", "gjr-student_t")


@dataclass(frozen=True)
class Speed:
    """One specification against the loop: milliseconds a window and how the results compare."""

    spec: str
    loop_ms: float
    engine_ms: float
    ratio: float
    evaluations: float
    worst_gain: float
    worst_sigma: float


@dataclass(frozen=True)
class Parity:
    """One specification against the best known optima."""

    spec: str
    windows: int
    short: int
    worst: float
    reference_short: int
    agreeing: int
    sigma_apart: int
    boundary: int
    igarch: int
    multimodal: int


def name_of(spec: BatchSpec) -> str:
    return f"{spec.volatility}-{spec.innovations}"


def simulated(n: int, seed: int) -> Floats:
    """Percent returns of a GJR-GARCH with Student t innovations; parameters differ by seed."""
    rng = np.random.default_rng(seed)
    nu, alpha, gamma = rng.uniform(3.5, 8), rng.uniform(0.03, 0.1), rng.uniform(0, 0.1)
    beta = rng.uniform(0.93, 0.99) - alpha - gamma / 2
    shocks = rng.standard_t(nu, n + 500) * np.sqrt((nu - 2) / nu)
    h, out = 4.0, np.empty(n + 500)
    for t in range(n + 500):
        out[t] = np.sqrt(h) * shocks[t]
        h = 0.2 + (alpha + gamma * (out[t] < 0)) * out[t] ** 2 + beta * h
    return out[500:]


def markets() -> dict[str, Floats]:
    """Series of the study: bundled with `arch`, simulated, and closes of a file when there is one."""
    from arch.data import nasdaq, sp500, wti

    closes = {"sp500": sp500.load()["Adj Close"], "nasdaq": nasdaq.load()["Adj Close"], "wti": wti.load().iloc[:, 0]}
    out = {name: np.array(100 * np.log(one).diff().dropna()) for name, one in closes.items()}
    out |= {f"simulated-{seed}": simulated(3000, seed) for seed in (1, 2)}
    path = os.environ.get("PLIMSOLL_BENCH_CANDLES")
    if path:
        frame = pd.read_parquet(path, columns=["date", "symbol", "source", "close"])
        frame = frame[frame["source"] == "binance_spot"].sort_values("date")
        for symbol in CRYPTO:
            close = frame.loc[frame["symbol"] == symbol, "close"].to_numpy(float)
            returns = 100 * np.diff(np.log(close[np.isfinite(close) & (close > 0)]))
            if len(returns) > WINDOW:
                out[symbol] = returns
    return out


# Speed


def loop(returns: Floats, ends: Sequence[int], spec: BatchSpec) -> tuple[Floats, Floats]:
    """Fit windows one by one with `arch`; return log-likelihoods and next variances."""
    from arch import arch_model

    law: Any = {"normal": "normal", "student_t": "t", "skew_t": "skewt"}[spec.innovations]
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for end in ends:
            model = arch_model(
                returns[end - WINDOW : end], o=1 if spec.volatility == "gjr" else 0, dist=law, rescale=False
            )
            fit = model.fit(disp="off", show_warning=False)
            rows.append((fit.loglikelihood, float(fit.forecast(horizon=1, reindex=False).variance.to_numpy()[-1, 0])))
    values = np.asarray(rows)
    return values[:, 0], values[:, 1]


def speed(spec: BatchSpec, series: Sequence[Floats]) -> Speed:
    """Measure alternating blocks; the ratio is the median over blocks."""
    fit_windows([series[0]], [np.arange(WINDOW, WINDOW + 130)], WINDOW, spec, threads=THREADS)
    slow, fast, gains, sigmas, spent = [], [], [], [], []
    for block in range(SPEED_BLOCKS):
        returns = series[block % len(series)]
        ends = np.arange(WINDOW, WINDOW + SPEED_SPAN)
        picked = np.linspace(0, SPEED_SPAN - 1, SPEED_WINDOWS).astype(int)
        started = time.perf_counter()
        values, variances = loop(returns, ends[picked].tolist(), spec)
        slow.append((time.perf_counter() - started) / len(picked))
        started = time.perf_counter()
        fits = fit_windows([returns], [ends], WINDOW, spec, threads=THREADS)
        fast.append((time.perf_counter() - started) / len(fits))
        gain = fits.loglikelihood[picked] - values
        gains.append(gain)
        apart = np.abs(np.sqrt(fits.sigma2_next[picked] / variances) - 1)
        sigmas.append(apart[np.abs(gain) < AGREE])
        spent.append(fits.evaluations.mean())
    agreed = np.concatenate(sigmas)
    return Speed(
        name_of(spec),
        round(1e3 * float(np.median(slow)), 3),
        round(1e3 * float(np.median(fast)), 4),
        round(float(np.median(np.asarray(slow) / np.asarray(fast))), 1),
        round(float(np.mean(spent)), 1),
        float(np.concatenate(gains).min()),
        float(agreed.max()) if len(agreed) else float("nan"),
    )


# Quality


def parity(
    spec: BatchSpec, series: Mapping[str, Floats], windows: int, pool: ProcessPoolExecutor
) -> tuple[Parity, list[dict[str, Any]]]:
    """Compare windows spread over all series, fitted daily by the engine, with the best of random starts.

    Returns
    -------
    tuple
        The comparison, and every window on a limit, without long-run variance, or with a second optimum near.
    """
    names, returns = list(series), list(series.values())
    ends = [np.arange(WINDOW, len(one) + 1) for one in returns]
    fits = fit_windows(returns, ends, WINDOW, spec, threads=THREADS)
    picked = np.unique(np.linspace(0, len(fits) - 1, windows).astype(int))
    tasks = [
        (returns[fits.series[row]][fits.end[row] - WINDOW : fits.end[row]], spec, PARITY_STARTS, int(row))
        for row in picked
    ]
    values = np.asarray(list(pool.map(reference, tasks, chunksize=4)))
    gain = fits.loglikelihood[picked] - values[:, 0]
    apart = np.abs(np.sqrt(fits.sigma2_next[picked] / values[:, 1]) - 1)
    agree = np.abs(gain) < AGREE
    kinds = {
        "boundary": fits.is_boundary[picked],
        "igarch": fits.is_igarch[picked],
        "multimodal": fits.optimum_gap[picked] < NEAR,
    }
    listed = [
        {
            "spec": name_of(spec),
            "series": names[fits.series[row]],
            "end": int(fits.end[row]),
            "kinds": [kind for kind, holds in kinds.items() if holds[i]],
            "gain": round(float(gain[i]), 6),
            "optimum_gap": None if np.isnan(fits.optimum_gap[row]) else round(float(fits.optimum_gap[row]), 6),
        }
        for i, row in enumerate(picked)
        if any(holds[i] for holds in kinds.values()) or gain[i] < -SHORT
    ]
    found = Parity(
        name_of(spec),
        len(picked),
        int(np.sum(gain < -SHORT)),
        round(float(gain.min()), 6),
        int(np.sum(gain > SHORT)),
        int(agree.sum()),
        int(np.sum(agree & (apart > SIGMA))),
        *(int(holds.sum()) for holds in kinds.values()),
    )
    return found, listed


# Load


def load() -> dict[str, Any]:
    """Fit many simulated markets by all specifications; fit the exponents of time in markets and in days."""
    series = [simulated(WINDOW + LOAD_DAYS - 1, 100 + seed) for seed in range(LOAD_MARKETS)]

    def timed(markets: int, days: int) -> tuple[int, float, float]:
        ends = np.arange(WINDOW, WINDOW + days)
        used, started = time.process_time(), time.perf_counter()
        fits = sum(
            len(fit_windows(series[:markets], [ends] * markets, WINDOW, spec, threads=THREADS)) for spec in SPECS
        )
        return fits, time.perf_counter() - started, time.process_time() - used

    by_markets = [(n, timed(n, LOAD_DAYS)) for n in (LOAD_MARKETS // 10, LOAD_MARKETS // 4, LOAD_MARKETS)]
    by_days = [(days, timed(LOAD_MARKETS // 10, days)) for days in (LOAD_DAYS // 4, LOAD_DAYS // 2)]
    by_days.append((LOAD_DAYS, by_markets[0][1]))

    def exponent(rows: Sequence[tuple[int, tuple[int, float, float]]]) -> float:
        sizes, spent = zip(*((size, one[2]) for size, one in rows), strict=True)
        return round(float(np.polyfit(np.log(sizes), np.log(spent), 1)[0]), 3)

    fits, seconds, processor = by_markets[-1][1]
    return {
        "fits": fits,
        "seconds": round(seconds, 2),
        "processor_seconds": round(processor, 2),
        "exponent_markets": exponent(by_markets),
        "exponent_days": exponent(by_days),
    }


# Compilation

_FIRST_FITS = """
import time
import numpy as np
from benchmarks.volatility import SPECS, fit_windows, simulated
started = time.perf_counter()
for spec in SPECS:
    fit_windows([simulated(300, 1)], [np.array([300])], 300, spec, threads=1)
print(time.perf_counter() - started)
"""


def compilation() -> tuple[float, float]:
    """Measure the first fits of all specifications in a process without stored code, and in the next process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", _FIRST_FITS]
        environment = os.environ | {"NUMBA_CACHE_DIR": folder, "PYTHONPATH": str(ROOT)}
        first, second = (
            float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
            for _ in range(2)
        )
    return round(first, 1), round(second, 2)


def run(*, json: bool, full: bool = False) -> int:
    """Answer the questions and print the answers.

    Parameters
    ----------
    json
        Print machine-readable figures instead of lines, every window on a limit among them.
    full
        Compare 5,040 windows with the best known optima, not 300. That takes most of an hour.

    Returns
    -------
    int
        Exit code: 0 every bar is met, 1 one is missed.
    """
    series = markets()
    speeds = [speed(spec, list(series.values())) for spec in SPECS]
    loaded = load()
    compiled = compilation()
    share = -(-PARITY_WINDOWS[full] // len(SPECS))
    with ProcessPoolExecutor(THREADS, mp_context=get_context("spawn")) as pool:
        compared = [parity(spec, series, share, pool) for spec in SPECS]
    parities = [one for one, _ in compared]
    windows, short = sum(one.windows for one in parities), sum(one.short for one in parities)
    worst = min(one.worst for one in parities)
    bars = {
        "parity": short <= windows / 1000 and worst >= -TOO_SHORT and not any(one.sigma_apart for one in parities),
        "speed": all(one.ratio >= LEAST_RATIO for one in speeds if one.spec in DAILY),
        "load": loaded["seconds"] <= MOST_SECONDS,
    }
    if json:
        content = {
            "benchmark": "volatility",
            "machine": asdict(machine()),
            "window": WINDOW,
            "threads": THREADS,
            "series": {name: len(one) for name, one in series.items()},
            "speed": [asdict(one) for one in speeds],
            "load": loaded,
            "compilation": {"first_process_seconds": compiled[0], "next_process_seconds": compiled[1]},
            "starts": PARITY_STARTS,
            "parity": [asdict(one) for one in parities],
            "listed": [row for _, rows in compared for row in rows],
            "bars": bars,
        }
        sys.stdout.write(json_module.dumps(content, sort_keys=True, indent=1) + "\n")
        return 0 if all(bars.values()) else 1
    out = [f"machine   {machine()}", f"series    {', '.join(f'{name} {len(one)}' for name, one in series.items())}"]
    out += [
        f"{one.spec:<16}  loop {one.loop_ms:.1f} ms  engine {one.engine_ms:.3f} ms  ratio {one.ratio:.0f}  "
        f"{one.evaluations:.0f} evaluations  worst gain {one.worst_gain:+.1e}, sigma {one.worst_sigma:.1e}"
        for one in speeds
    ]
    out.append(
        f"load      {loaded['fits']} fits in {loaded['seconds']} s (processor {loaded['processor_seconds']} s); "
        f"exponent {loaded['exponent_markets']:.2f} in markets, {loaded['exponent_days']:.2f} in days"
    )
    out.append(f"compiled  {compiled[0]:.1f} s in the first process of a machine, {compiled[1]:.2f} s in the next")
    out += [
        f"{one.spec:<16}  {one.windows} windows, {one.short} short by {SHORT:g}, worst {one.worst:+.4f}; reference "
        f"short in {one.reference_short}; sigma apart in {one.sigma_apart} of {one.agreeing} that agree; "
        f"boundary {one.boundary}, igarch {one.igarch}, second optimum within {NEAR:g} {one.multimodal}"
        for one in parities
    ]
    out.append(f"short     {short} of {windows} windows, worst {worst:+.4f}; --json lists each, and those on a limit")
    out.append("bars      " + ", ".join(f"{name} {'met' if met else 'missed'}" for name, met in bars.items()))
    sys.stdout.write("\n".join(out) + "\n")
    return 0 if all(bars.values()) else 1
