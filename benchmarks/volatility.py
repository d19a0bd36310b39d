"""Volatility: how much faster the batch engine is than a loop over `arch`, and whether it finds the optima.

Three questions. Speed: the same windows, in one process, by a plain loop over `arch` with its forecast and by
the engine, in alternating blocks. Quality: windows of bundled, simulated and, where the environment variable
PLIMSOLL_BENCH_CANDLES names a Parquet file with columns date, symbol, source and close, crypto returns, against
the best of many random starts of general optimisers on a second likelihood, written apart. Load: fifty
simulated markets by six specifications, and how the time grows with the number of fits.
"""

import json as json_module
import os
import sys
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, signal, special

from benchmarks._measure import machine
from plimsoll.volatility.batch import BatchSpec, fit_windows

Floats = NDArray[np.float64]

WINDOW = 1000
THREADS = 2
SPECS = [BatchSpec(v, i) for v in ("garch", "gjr") for i in ("normal", "student_t", "skew_t")]
SPEED_BLOCKS = 3
SPEED_WINDOWS = 12  # of each block by the loop
SPEED_SPAN = 500  # consecutive windows of each block by the engine
PARITY_WINDOWS = 120  # in all, dealt over specifications and series; 5000 and more for the full study
PARITY_STARTS = 24
LOAD_MARKETS = 6  # 50 for the full load
LOAD_DAYS = 1500
CRYPTO = ("BTC", "ETH", "SOL", "LINK")
SHORT, TOO_SHORT = 1e-3, 0.05  # of log-likelihood
AGREE, SIGMA = 1e-4, 1e-3


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


# Quality: a second likelihood, in numpy, and general optimisers from random starts


class Reference:
    """Negative log-likelihood of one window in numpy: another recursion, other coordinates, no gradient."""

    def __init__(self, returns: Floats, spec: BatchSpec) -> None:
        self.y, self.spec = returns, spec
        residuals = returns - returns.mean()
        weights = 0.94 ** np.arange(min(75, len(returns)))
        self.before = float(weights @ residuals[: len(weights)] ** 2 / weights.sum())
        self.scale = float(residuals.var())

    def bounds(self) -> list[tuple[float, float]]:
        """Give bounds of the parameters, in the order of `arch`."""
        out = [(-1e3, 1e3), (1e-8 * self.scale, 10 * self.scale), (0.0, 1.0)]
        out += [(-1.0, 2.0)] if self.spec.volatility == "gjr" else []
        out += [(0.0, 1.0)]
        out += {"normal": [], "student_t": [(2.05, 500.0)], "skew_t": [(2.05, 300.0), (-0.999, 0.999)]}[
            self.spec.innovations
        ]
        return out

    def variances(self, p: Floats) -> Floats:
        """Give variances of all days and of the next."""
        gjr = self.spec.volatility == "gjr"
        gamma, beta = (p[3], p[4]) if gjr else (0.0, p[3])
        e = self.y - p[0]
        drive = np.concatenate([[(p[2] + gamma / 2) * self.before], (p[2] + gamma * (e < 0)) * e * e]) + p[1]
        return np.asarray(signal.lfilter([1.0], [1.0, -beta], drive, zi=[beta * self.before])[0])

    def __call__(self, p: Floats) -> float:
        """Give the negative log-likelihood."""
        h = self.variances(p)[:-1]
        if not np.all(h > 0):
            return 1e10
        e = self.y - p[0]
        if self.spec.innovations == "normal":
            return float(0.5 * np.sum(np.log(2 * np.pi * h) + e * e / h))
        nu, lam = (p[-1], 0.0) if self.spec.innovations == "student_t" else (p[-2], p[-1])
        log_c = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2) - 0.5 * np.log(np.pi * (nu - 2))
        a = 4 * lam * np.exp(log_c) * (nu - 2) / (nu - 1)
        b = np.sqrt(1 + 3 * lam**2 - a**2)
        z = b * e / np.sqrt(h) + a
        q = 1 + (z / (1 + np.where(z < 0, -lam, lam))) ** 2 / (nu - 2)
        return -float(len(e) * (np.log(b) + log_c) - 0.5 * np.sum(np.log(h)) - (nu + 1) / 2 * np.sum(np.log(q)))

    def start(self, rng: np.random.Generator) -> Floats:
        """Draw a starting point."""
        gjr = self.spec.volatility == "gjr"
        persistence = 1 - 0.9 * rng.random() ** 2
        shares = rng.dirichlet([1.0, 1.0, rng.choice([0.3, 3.0])]) * persistence
        omega = self.scale * (1 - persistence + 1e-3) * rng.uniform(0.2, 2)
        out = [self.y.mean(), omega]
        if gjr:
            gain, loss = 2 * shares[0], 2 * shares[1]
            out += [min(gain, 1.0), loss - min(gain, 1.0), shares[2]]
        else:
            out += [shares[0] + shares[1], shares[2]]
        out += [rng.uniform(2.5, 12)] if self.spec.innovations != "normal" else []
        out += [rng.uniform(-0.2, 0.2)] if self.spec.innovations == "skew_t" else []
        return np.asarray(out)

    def rows(self) -> tuple[Floats, Floats]:
        """Give A and b of A p >= b."""
        gjr = self.spec.volatility == "gjr"
        k = len(self.bounds())
        room, loss = np.zeros(k), np.zeros(k)
        room[2], loss[2] = -1, 1
        if gjr:
            room[3], room[4], loss[3] = -0.5, -1, 1
            return np.stack([room, loss]), np.array([-1.0, 0.0])
        room[3] = -1
        return room[None, :], np.array([-1.0])

    def best(self, starts: int, seed: int) -> tuple[float, float]:
        """Return the highest log-likelihood over random starts, and its next variance."""
        rng = np.random.default_rng(seed)
        matrix, right = self.rows()
        limit = {"type": "ineq", "fun": lambda p: matrix @ p - right, "jac": lambda p: matrix}
        found, point = np.inf, np.empty(0)
        bounds = self.bounds()
        for _ in range(starts):
            done = optimize.minimize(
                self, self.start(rng), method="SLSQP", bounds=bounds, constraints=[limit], options={"maxiter": 200}
            )
            inside = np.clip(done.x, *np.transpose(bounds))
            value = self(inside) if np.all(matrix @ inside >= right - 1e-10) else np.inf
            if value < found:
                found, point = value, inside
        for ftol in (1e-9, 1e-11):
            done = optimize.minimize(
                self, point, method="SLSQP", bounds=bounds, constraints=[limit], options={"maxiter": 300, "ftol": ftol}
            )
            inside = np.clip(done.x, *np.transpose(bounds))
            if np.all(matrix @ inside >= right - 1e-10) and self(inside) < found:
                found, point = self(inside), inside
        return -found, float(self.variances(point)[-1])


def reference(task: tuple[Floats, BatchSpec, int, int]) -> tuple[float, float]:
    returns, spec, starts, seed = task
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return Reference(returns, spec).best(starts, seed)


def parity(spec: BatchSpec, series: Sequence[Floats], windows: int, pool: ProcessPoolExecutor) -> Parity:
    """Compare windows spread over all series, fitted daily by the engine, with the best of random starts."""
    ends = [np.arange(WINDOW, len(one) + 1) for one in series]
    fits = fit_windows(series, ends, WINDOW, spec, threads=THREADS)
    picked = np.unique(np.linspace(0, len(fits) - 1, windows).astype(int))
    tasks = [
        (series[fits.series[row]][fits.end[row] - WINDOW : fits.end[row]], spec, PARITY_STARTS, int(row))
        for row in picked
    ]
    values = np.asarray(list(pool.map(reference, tasks, chunksize=4)))
    gain = fits.loglikelihood[picked] - values[:, 0]
    apart = np.abs(np.sqrt(fits.sigma2_next[picked] / values[:, 1]) - 1)
    agree = np.abs(gain) < AGREE
    return Parity(
        name_of(spec),
        len(picked),
        int(np.sum(gain < -SHORT)),
        round(float(gain.min()), 6),
        int(np.sum(gain > SHORT)),
        int(agree.sum()),
        int(np.sum(agree & (apart > SIGMA))),
    )


# Load


def load() -> dict[str, Any]:
    """Fit many simulated markets by all specifications; fit the exponent of time in the number of fits."""
    series = [simulated(WINDOW + LOAD_DAYS - 1, 100 + seed) for seed in range(LOAD_MARKETS)]
    ends = np.arange(WINDOW, WINDOW + LOAD_DAYS)
    counts, seconds = [], []
    for share in (4, 2, 1):
        part = series[: max(1, LOAD_MARKETS // share)]
        used, started = time.process_time(), time.perf_counter()
        fits = sum(len(fit_windows(part, [ends] * len(part), WINDOW, spec, threads=THREADS)) for spec in SPECS)
        seconds.append((time.perf_counter() - started, time.process_time() - used))
        counts.append(fits)
    exponent = float(np.polyfit(np.log(counts), np.log([one[1] for one in seconds]), 1)[0])
    return {
        "fits": counts[-1],
        "seconds": round(seconds[-1][0], 2),
        "processor_seconds": round(seconds[-1][1], 2),
        "exponent": round(exponent, 3),
    }


def run(*, json: bool) -> int:
    """Answer the three questions and print them.

    Parameters
    ----------
    json
        Print machine-readable figures instead of lines.

    Returns
    -------
    int
        Exit code: 0 measured, 1 a window is further below the best known optimum than may be.
    """
    series = list(markets().values())
    speeds = [speed(spec, series) for spec in SPECS]
    loaded = load()
    share = -(-PARITY_WINDOWS // len(SPECS))
    with ProcessPoolExecutor(THREADS, mp_context=get_context("spawn")) as pool:
        parities = [parity(spec, series, share, pool) for spec in SPECS]
    windows, short = sum(one.windows for one in parities), sum(one.short for one in parities)
    worst = min(one.worst for one in parities)
    met = short <= windows / 1000 and worst >= -TOO_SHORT
    if json:
        content = {
            "benchmark": "volatility",
            "machine": asdict(machine()),
            "window": WINDOW,
            "threads": THREADS,
            "speed": [asdict(one) for one in speeds],
            "load": loaded,
            "starts": PARITY_STARTS,
            "parity": [asdict(one) for one in parities],
            "met": met,
        }
        sys.stdout.write(json_module.dumps(content, sort_keys=True, indent=1) + "\n")
        return 0 if met else 1
    sys.stdout.write(f"machine   {machine()}\n")
    for one in speeds:
        sys.stdout.write(
            f"{one.spec:<16}  loop {one.loop_ms:.1f} ms  engine {one.engine_ms:.3f} ms  ratio {one.ratio:.0f}  "
            f"{one.evaluations:.0f} evaluations  worst gain {one.worst_gain:+.1e}, sigma {one.worst_sigma:.1e}\n"
        )
    sys.stdout.write(
        f"load      {loaded['fits']} fits in {loaded['seconds']} s (processor {loaded['processor_seconds']} s), "
        f"exponent {loaded['exponent']:.2f}\n"
    )
    for two in parities:
        sys.stdout.write(
            f"{two.spec:<16}  {two.windows} windows, {two.short} short by {SHORT:g}, worst {two.worst:+.4f}; reference "
            f"short in {two.reference_short}; sigma apart in {two.sigma_apart} of {two.agreeing} that agree\n"
        )
    sys.stdout.write(f"bars      {'met' if met else 'missed'}: {short} of {windows} windows, worst {worst:+.4f}\n")
    return 0 if met else 1
