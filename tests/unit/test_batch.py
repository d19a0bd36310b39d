"""The batch engine: printed optima, gradients, constraints, agreement with ``arch``, and sameness to the bit."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arch.data import nasdaq, sp500, wti
from arch.univariate import GARCH, ConstantMean, Normal, SkewStudent, StudentsT
from numpy.typing import NDArray

from plimsoll.volatility import backcast, loglikelihood
from plimsoll.volatility.batch import (
    LIMITS,
    BatchFits,
    BatchSpec,
    fit_windows,
    fitting,
    jit,
    kernels,
    optimiser,
    quadratic,
    resumption,
)

Floats = NDArray[np.float64]

SPECS = [BatchSpec(v, i) for v in ("garch", "gjr") for i in ("normal", "student_t", "skew_t")]
NAMES = [f"{one.volatility}-{one.innovations}" for one in SPECS]
LAWS = {"normal": kernels.NORMAL, "student_t": kernels.STUDENT, "skew_t": kernels.SKEWED}


def simulate(n: int, seed: int, *, alpha: float = 0.08, beta: float = 0.9, nu: float = 6.0) -> Floats:
    """Percent returns of a GARCH(1,1) with Student t innovations."""
    rng = np.random.default_rng(seed)
    shocks = rng.standard_t(nu, n) * np.sqrt((nu - 2) / nu)
    h, out = 1.0, np.empty(n)
    for t in range(n):
        out[t] = shocks[t] * np.sqrt(h)
        h = 0.05 + alpha * out[t] ** 2 + beta * h
    return out


def model_of(r: Floats, spec: BatchSpec) -> Any:
    model = ConstantMean(r, rescale=False)
    model.volatility = GARCH(p=1, o=1 if spec.volatility == "gjr" else 0, q=1)
    model.distribution = {"normal": Normal, "student_t": StudentsT, "skew_t": SkewStudent}[spec.innovations]()
    return model


def vector_of(fits: BatchFits, row: int, spec: BatchSpec) -> Floats:
    """Parameters in the order of ``arch``."""
    out = [fits.mu[row], fits.omega[row], fits.alpha[row]]
    out += [fits.gamma[row]] if spec.volatility == "gjr" else []
    out += [fits.beta[row]]
    out += [fits.nu[row]] if spec.innovations != "normal" else []
    out += [fits.lam[row]] if spec.innovations == "skew_t" else []
    return np.asarray(out)


def arch_loglikelihood(r: Floats, spec: BatchSpec, vector: Floats) -> float:
    """Likelihood that ``arch`` gives to parameters, by its own recursion, start and bounds."""
    model = model_of(r, spec)
    residuals = r - r.mean()
    variance = np.empty(len(r))
    value = model._loglikelihood(
        vector, variance, model.volatility.backcast(residuals), model.volatility.variance_bounds(residuals)
    )
    return -float(value)


def one_window(r: Floats, spec: BatchSpec) -> BatchFits:
    return fit_windows([r], [np.array([len(r)])], len(r), spec)


def evaluated(r: Floats, law: int, th: Floats) -> tuple[float, Floats]:
    facts, gradient = np.empty(kernels.FACTS), np.empty(kernels.PARAMETERS)
    kernels.window_facts(r, facts)
    value, _ = kernels.evaluate(law, r, facts, th, gradient, optimiser.scratch(len(r)))
    return value, gradient


def same(one: BatchFits, other: BatchFits, rows: slice = slice(None)) -> None:
    for field in fields(one):
        left, right = getattr(one, field.name)[rows], getattr(other, field.name)[rows]
        assert left.tobytes() == right.tobytes(), field.name


@pytest.fixture(scope="module")
def index_returns() -> Floats:
    """Percent changes of the S&P 500 that the ``arch`` documentation fits."""
    return np.array(100 * sp500.load()["Adj Close"].pct_change().dropna())


@pytest.fixture(scope="module")
def bundled() -> list[Floats]:
    """Percent log returns of two indices and crude oil."""
    prices = (sp500.load()["Adj Close"], nasdaq.load()["Adj Close"], wti.load().iloc[:, 0])
    return [np.array(100 * np.log(one).diff().dropna()) for one in prices]


# Printed optima


@pytest.mark.parametrize(
    ("spec", "loglik", "printed"),
    [
        (SPECS[0], -6936.7185, {"mu": 0.056353, "omega": 0.017507, "alpha": 0.10215, "beta": 0.885206}),
        (SPECS[3], -6822.8828, {"alpha": 0.0, "gamma": 0.183069, "beta": 0.892236}),
        (SPECS[1], -6834.7356, {"nu": 6.607163}),
        (SPECS[5], -6726.0537, {"nu": 8.213084, "lam": -0.115612}),
    ],
    ids=["garch-normal", "gjr-normal", "garch-student_t", "gjr-skew_t"],
)
def test_fit_of_the_documentation(
    index_returns: Floats, spec: BatchSpec, loglik: float, printed: dict[str, float]
) -> None:
    fit = one_window(index_returns, spec)
    assert fit.loglikelihood[0] == pytest.approx(loglik, abs=6e-5)
    for name, value in printed.items():
        assert getattr(fit, name)[0] == pytest.approx(value, rel=1e-3, abs=1e-5), name
    assert fit.is_converged[0]
    assert fit.is_boundary[0] == (spec.volatility == "gjr")
    if spec == SPECS[0]:
        assert fit.sigma2_next[0] == pytest.approx(3.59647, abs=2e-4)


# Likelihood and gradient


@pytest.mark.parametrize("spec", SPECS, ids=NAMES)
def test_likelihood_is_that_of_arch(bundled: list[Floats], spec: BatchSpec) -> None:
    rng = np.random.default_rng(7)
    gjr = spec.volatility == "gjr"
    for length in (1000, 997, 40):
        r = bundled[2][2000 : 2000 + length].copy()
        for _ in range(6):
            gain = rng.uniform(0, 0.15)
            loss = rng.uniform(0, 0.3) if gjr else gain
            beta = rng.uniform(0, 1 - (gain + loss) / 2)
            th = np.array([rng.normal(0, 0.1), rng.uniform(0.01, 1), gain, loss, beta, rng.uniform(2.1, 30), 0.0])
            th[6] = rng.uniform(-0.5, 0.5)
            vector = [th[0], th[1], gain, *([loss - gain] if gjr else []), beta]
            vector += [th[5]] if spec.innovations != "normal" else []
            vector += [th[6]] if spec.innovations == "skew_t" else []
            value, _ = evaluated(r, LAWS[spec.innovations], th)
            assert value == pytest.approx(arch_loglikelihood(r, spec, np.asarray(vector)), rel=1e-11)


def test_likelihood_is_that_of_the_filter(bundled: list[Floats]) -> None:
    r = bundled[0][:700]
    mine, _ = evaluated(r, kernels.STUDENT, np.array([0.03, 0.02, 0.09, 0.09, 0.9, 6.0, 0.0]))
    filtered = loglikelihood(r, mu=0.03, omega=0.02, alpha=0.09, beta=0.9, nu=6.0, start=backcast(r - r.mean()))
    assert mine == pytest.approx(filtered, rel=1e-12)


def test_variances_at_their_bounds_are_those_of_arch() -> None:
    """Parameters so small that the bounds of ``arch`` carry the whole window, and an outlier that none keep."""
    r = simulate(300, 3)
    r[100] = 4000.0
    for omega, alpha, beta in ((1e-7, 0.0, 0.0), (1e-5, 1e-7, 0.5)):
        th = np.array([0.0, omega, alpha, alpha, beta, 8.0, 0.0])
        theirs = arch_loglikelihood(r, SPECS[0], np.array([0.0, omega, alpha, beta]))
        assert evaluated(r, kernels.NORMAL, th)[0] == pytest.approx(theirs, rel=1e-10)


@pytest.mark.parametrize("spec", SPECS, ids=NAMES)
def test_gradient_is_the_central_difference(bundled: list[Floats], spec: BatchSpec) -> None:
    law = LAWS[spec.innovations]
    r = bundled[1][500:1303].copy()
    th = np.array([0.05, 0.04, 0.03, 0.15 if spec.volatility == "gjr" else 0.03, 0.88, 5.5, -0.15])
    _, gradient = evaluated(r, law, th)
    for i in range(kernels.PARAMETERS):
        step = 1e-5 * max(abs(th[i]), 0.05)
        up, down = th.copy(), th.copy()
        up[i] += step
        down[i] -= step
        slope = (evaluated(r, law, up)[0] - evaluated(r, law, down)[0]) / (2 * step)
        assert gradient[i] == pytest.approx(slope, rel=2e-6, abs=2e-5), i


@pytest.mark.parametrize("spec", SPECS, ids=NAMES)
def test_gradient_of_the_search_is_the_central_difference(bundled: list[Floats], spec: BatchSpec) -> None:
    law, gjr = LAWS[spec.innovations], spec.volatility == "gjr"
    r = bundled[0][300:1000].copy()
    k = optimiser.dimension(gjr, law)
    facts, th, natural = np.empty(kernels.FACTS), np.empty(kernels.PARAMETERS), np.empty(kernels.PARAMETERS)
    kernels.window_facts(r, facts)
    buffers, gradient, unused = optimiser.scratch(len(r)), np.empty(k), np.empty(k)
    shape = {"normal": [], "student_t": [0.15], "skew_t": [0.15, -0.1]}[spec.innovations]
    x = np.array([0.02, -0.3, 0.04, *([0.12] if gjr else []), 0.89, *shape])

    def value(at: Floats, into: Floats) -> float:
        return optimiser._objective(gjr, law, r, facts, at, th, natural, into, buffers)[0]

    value(x, gradient)
    for i in range(k):
        up, down = x.copy(), x.copy()
        up[i] += 1e-6
        down[i] -= 1e-6
        assert gradient[i] == pytest.approx((value(up, unused) - value(down, unused)) / 2e-6, rel=1e-5, abs=1e-4)


def test_quadratic_step_meets_the_conditions_of_an_optimum() -> None:
    rng = np.random.default_rng(11)
    for _ in range(300):
        k = int(rng.integers(2, 7))
        root = rng.normal(size=(k, k))
        hessian, gradient = root @ root.T + 0.1 * np.eye(k), rng.normal(size=k) * 3
        lower, upper = -rng.uniform(0, 1, k), rng.uniform(0, 1, k)
        lower[rng.random(k) < 0.2] = 0.0
        row = np.where(rng.random(k) < 0.6, rng.uniform(0.5, 1, k), 0.0)
        room = 0.0 if rng.random() < 0.3 else rng.uniform(0, 0.5)
        d = np.empty(k)
        held, matrix, right = np.empty(k, dtype=np.int64), np.empty((k + 1, k + 1)), np.empty(k + 1)
        fall = quadratic.step(hessian, gradient, lower, upper, row, room, d, held, matrix, right)
        assert fall >= 0
        assert np.all(d >= lower - 1e-12)
        assert np.all(d <= upper + 1e-12)
        assert row @ d <= room + 1e-10
        trials = rng.uniform(lower, upper, size=(400, k))
        trials = np.concatenate([trials, d + (trials - d) * 0.01])
        trials = trials[trials @ row <= room]
        worth = trials @ gradient + 0.5 * np.einsum("ij,jk,ik->i", trials, hessian, trials)
        assert np.all(worth >= -fall - 1e-9)


# Windows


@pytest.mark.parametrize("spec", SPECS, ids=NAMES)
def test_no_fit_of_arch_is_better(bundled: list[Floats], spec: BatchSpec) -> None:
    ends = [np.arange(1000, len(one), 701) for one in bundled]
    fits = fit_windows(bundled, ends, 1000, spec)
    assert len(fits) >= 20
    close = 0
    for row in range(len(fits)):
        r = bundled[fits.series[row]][fits.end[row] - 1000 : fits.end[row]]
        theirs = model_of(r, spec).fit(disp="off", show_warning=False)
        gain = fits.loglikelihood[row] - theirs.loglikelihood
        assert gain > -1e-4
        own = arch_loglikelihood(r, spec, vector_of(fits, row, spec))
        assert fits.loglikelihood[row] == pytest.approx(own, abs=1e-7)
        if gain < 1e-4:
            close += 1
            after = float(theirs.forecast(horizon=1).variance.iloc[-1, 0])
            assert np.sqrt(fits.sigma2_next[row]) == pytest.approx(np.sqrt(after), rel=1e-3)
    assert close >= 0.7 * len(fits)
    assert fits.is_converged.all()


def test_threads_change_no_bit(bundled: list[Floats]) -> None:
    ends = [np.arange(600, 1000), np.arange(500, 800, 3), np.arange(20, 200, 7)]
    for spec in (SPECS[1], SPECS[5]):
        same(*(fit_windows(bundled, ends, 600, spec, threads=threads) for threads in (1, 2)))


def test_series_do_not_touch_each_other(bundled: list[Floats]) -> None:
    ends = np.arange(600, 900)
    together = fit_windows(bundled[:2], [ends, ends], 600, SPECS[4])
    alone = fit_windows([bundled[0]], [ends], 600, SPECS[4])
    same(alone, together, slice(0, 0))
    for field in fields(alone):
        assert getattr(alone, field.name).tobytes() == getattr(together, field.name)[: len(ends)].tobytes()


@pytest.mark.parametrize("spec", [SPECS[0], SPECS[4]], ids=[NAMES[0], NAMES[4]])
def test_later_returns_change_nothing(bundled: list[Floats], spec: BatchSpec) -> None:
    r = bundled[2][1500:2600]
    ends = np.arange(500, 1100)
    cut = 840
    changed = r.copy()
    changed[cut:] = 3.0 * simulate(len(r) - cut, 9)[::-1] + 1.0
    full, other = fit_windows([r], [ends], 500, spec), fit_windows([changed], [ends], 500, spec)
    same_rows = slice(0, int(np.sum(ends <= cut)))
    same(full, other, same_rows)
    short = fit_windows([r[:cut]], [ends[same_rows]], 500, spec)
    for field in fields(full):
        assert getattr(full, field.name)[same_rows].tobytes() == getattr(short, field.name).tobytes()
    assert full.loglikelihood[-1] != other.loglikelihood[-1]


@pytest.mark.parametrize("spec", SPECS, ids=NAMES)
def test_a_call_that_goes_on_gives_the_bits_of_one_from_the_beginning(bundled: list[Floats], spec: BatchSpec) -> None:
    r = bundled[2][:1700].copy()
    whole = fit_windows([r], [np.arange(510, 1701)], 500, spec)
    for end in (510, 700, 1249, 1250, 1700):
        first = max(510, resumption(end))
        assert first == 510 or (first % fitting.CHAIN == 0 and end - first < 2 * fitting.CHAIN)
        # Elsewhere in memory, too: where an array begins must not matter.
        moved = np.concatenate([[0.0], r])[1:]
        part = fit_windows([moved], [np.arange(first, 1701)], 500, spec, threads=1)
        for field in fields(part):
            left, right = getattr(part, field.name)[end - first :], getattr(whole, field.name)[end - 510 :]
            assert left.tobytes() == right.tobytes(), f"{field.name} from {end}"


def test_constraints_are_named() -> None:
    calm = one_window(np.random.default_rng(2).standard_normal(1000), SPECS[1])
    names = [name for bit, name in enumerate(LIMITS) if int(calm.limits[0]) >> bit & 1]
    assert "nu" in names or calm.nu[0] < 499
    assert calm.is_boundary[0] == bool(names)
    wild = one_window(np.random.default_rng(3).standard_t(2.05, 600), SPECS[1])
    assert int(wild.limits[0]) >> LIMITS.index("nu") & 1 == int(wild.nu[0] <= 2.0501)
    integrated = one_window(simulate(1500, 3, alpha=0.1, beta=0.9), SPECS[3])
    assert int(integrated.limits[0]) >> LIMITS.index("persistence 1") & 1 == int(integrated.persistence[0] >= 1 - 1e-9)


def test_the_next_best_optimum_is_told(bundled: list[Floats]) -> None:
    """Crude oil with normal innovations: the gap is the height that the other optimum really has."""
    fits = fit_windows([bundled[2]], [np.arange(1000, 6000)], 1000, SPECS[0])
    rows = np.flatnonzero(fits.optimum_gap < 0.3)
    assert len(rows) > 10
    assert (fits.optimum_gap[np.isfinite(fits.optimum_gap)] >= 0).all()
    assert (np.isnan(fits.optimum_gap) == np.isnan(fits.sigma2_other)).all()
    assert np.abs(np.sqrt(fits.sigma2_other[rows] / fits.sigma2_next[rows]) - 1).max() > 0.05


def test_scale_of_the_data_only_scales_the_fit() -> None:
    """The unscaled returns on which a general optimiser returns its starting values."""
    r = simulate(900, 4)
    ends = [np.arange(500, 900, 40)]
    for spec in (SPECS[0], SPECS[5]):
        percent, decimal = fit_windows([r], ends, 500, spec), fit_windows([r / 100], ends, 500, spec)
        assert decimal.loglikelihood == pytest.approx(percent.loglikelihood + 500 * np.log(100), abs=1e-4)
        assert decimal.omega * 1e4 == pytest.approx(percent.omega, rel=0.02, abs=1e-4)
        assert decimal.sigma2_next * 1e4 == pytest.approx(percent.sigma2_next, rel=2e-3)


def test_short_history_uses_what_there_is() -> None:
    r = simulate(400, 6)
    fits = fit_windows([r], [np.array([20, 150, 300, 400])], 300, SPECS[1])
    assert fits.observations.tolist() == [20, 150, 300, 300]
    alone = one_window(r[100:], SPECS[1])
    assert alone.loglikelihood[0] == pytest.approx(fits.loglikelihood[-1], abs=1e-5)


# Boundaries


def test_independent_returns_have_no_slope() -> None:
    hits = 0
    for seed in range(12):
        r = np.random.default_rng(seed).normal(size=400)
        fit = one_window(r, SPECS[0])
        hits += int(fit.alpha[0] == 0.0)
        assert fit.is_boundary[0] == (fit.alpha[0] == 0.0 or fit.beta[0] == 0.0 or fit.persistence[0] >= 1 - 1e-9)
    assert hits >= 2


def test_persistence_stops_at_one() -> None:
    rng = np.random.default_rng(2)
    h, r = 1.0, np.empty(1500)
    for t in range(1500):
        r[t] = np.sqrt(h) * rng.normal()
        h = 0.02 + 0.25 * r[t] ** 2 + 0.78 * h
    fit = one_window(r, SPECS[0])
    assert fit.persistence[0] == pytest.approx(1.0, abs=1e-12)
    assert fit.is_igarch[0]
    assert fit.is_boundary[0]


def test_degrees_of_freedom_stop_at_their_limits() -> None:
    heavy = np.random.default_rng(1).standard_t(1.2, 800)
    assert one_window(heavy, SPECS[1]).nu[0] == pytest.approx(2.05)
    light = np.random.default_rng(1).uniform(-1, 1, 800)
    assert one_window(light, SPECS[1]).nu[0] == pytest.approx(500.0)
    assert one_window(light, SPECS[2]).nu[0] == pytest.approx(300.0)


def test_leverage_holds_the_slope_after_gains_at_nothing(index_returns: Floats) -> None:
    fit = one_window(index_returns, SPECS[4])
    assert fit.alpha[0] == 0.0
    assert fit.gamma[0] > 0.15
    assert fit.is_boundary[0]


def test_window_that_does_not_move_has_no_fit() -> None:
    r = np.concatenate([np.zeros(150), simulate(200, 8)])
    fits = fit_windows([r], [np.array([100, 350])], 100, SPECS[1])
    assert np.isnan(fits.loglikelihood[0])
    assert np.isnan(fits.sigma2_next[0])
    assert not fits.is_converged[0]
    assert not fits.is_boundary[0]
    assert np.isfinite(fits.loglikelihood[1])


def test_stale_prices_do_not_break_a_fit() -> None:
    r = simulate(600, 10)
    r[np.random.default_rng(0).random(600) < 0.3] = 0.0
    fit = one_window(r, SPECS[1])
    theirs = model_of(r, SPECS[1]).fit(disp="off", show_warning=False)
    assert fit.loglikelihood[0] > theirs.loglikelihood - 1e-4


# What is refused


def refused(message: str, series: Sequence[Floats], ends: Sequence[Any], window: int = 100, **more: Any) -> None:
    with pytest.raises(ValueError, match=message):
        fit_windows(series, ends, window, more.pop("spec", SPECS[0]), **more)


def test_wrong_input_is_named() -> None:
    r = simulate(200, 1)
    for bad in (np.nan, np.inf, -np.inf):
        broken = r.copy()
        broken[17] = bad
        refused("series 1 is not finite at position 17", [r, broken], [np.array([150])] * 2)
    refused("2 series but ends of 1", [r, r], [np.array([150])])
    refused("ends of series 0 run from 150 to 201", [r], [np.array([150, 201])])
    refused("ends of series 0 run from 19 to 19", [r], [np.array([19])])
    refused("do not increase", [r], [np.array([150, 150])])
    refused("window is 19", [r], [np.array([150])], 19)
    refused("has 2 dimensions", [r.reshape(2, -1)], [np.array([50])])
    refused("threads is 0", [r], [np.array([150])], threads=0)
    refused("volatility is 'egarch'", [r], [np.array([150])], spec=BatchSpec("egarch", "normal"))  # type: ignore[arg-type]
    refused("innovations are 'ged'", [r], [np.array([150])], spec=BatchSpec("garch", "ged"))  # type: ignore[arg-type]


def test_nothing_asked_gives_nothing() -> None:
    assert len(fit_windows([], [], 100, SPECS[0])) == 0
    assert len(fit_windows([simulate(100, 1)], [np.empty(0, dtype=np.int64)], 100, SPECS[0])) == 0


def test_read_only_input_is_welcome() -> None:
    r = simulate(200, 1)
    r.flags.writeable = False
    assert np.isfinite(one_window(r, SPECS[0]).loglikelihood[0])


# Machine code


def test_second_process_finds_the_machine_code() -> None:
    """Compiling all kernels takes ten seconds or more, loading them does not."""
    code = (
        "import numpy as np\n"
        "from plimsoll.volatility.batch import BatchSpec, chains, fit_windows\n"
        "r = np.random.default_rng(0).normal(size=300)\n"
        "fit_windows([r], [np.arange(100, 300)], 100, BatchSpec('garch', 'normal'))\n"
        "for kernel in (chains.follow, chains.resume):\n"
        "    assert sum(kernel.stats.cache_hits.values()) == 1, kernel.stats\n"
    )
    one_window(simulate(100, 0), SPECS[0])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:  # the first run of all had to compile the second kernel itself
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_a_process_that_compiles_and_one_that_loads_give_the_same_bits(tmp_path: Path) -> None:
    """The stored code of a kernel has copies of those that it calls, which add in another order."""
    code = (
        "import hashlib\n"
        "import numpy as np\n"
        "from plimsoll.volatility.batch import BatchSpec, fit_windows\n"
        "r = np.random.default_rng(0).standard_t(5, 500)\n"
        "fits = fit_windows([r], [np.arange(300, 500)], 300, BatchSpec('garch', 'student_t'))\n"
        "parts = [fits.alpha, fits.beta, fits.nu, fits.loglikelihood, fits.sigma2_next]\n"
        "print(hashlib.sha256(np.concatenate(parts).tobytes()).hexdigest())\n"
    )
    fresh = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    said = [subprocess.run([sys.executable, "-c", code], env=fresh, capture_output=True, check=True) for _ in range(2)]
    assert said[0].stdout == said[1].stdout


def test_machine_code_is_tied_to_code_and_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel holds the kernels and the numbers that it uses; numba alone looks at its own file only."""
    stamps = [one._cache._cache_file._source_stamp for one in (kernels.evaluate, optimiser.ascend)]  # type: ignore[attr-defined]
    assert len(set(stamps)) == 2
    assert all(len(one) == 64 for one in stamps)
    plain = optimiser._leads_to.py_func  # type: ignore[attr-defined]
    before = jit.fingerprint(plain)
    assert jit.fingerprint(plain) == before
    monkeypatch.setattr(optimiser, "_SAME_PLACE", 0.5)
    assert jit.fingerprint(plain) != before
