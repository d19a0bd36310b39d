"""One window's fit: the ladder, the gate each rung must pass, and what is checked on the newest fit only.

What lives here: estimation by ``arch`` and the variance-targeted fall-back. What does not: forecasts through
time (``walking``).
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from plimsoll.volatility.likelihood import backcast, density_sum, filter_variance, loglikelihood
from plimsoll.volatility.types import VolatilityFit

Floats = NDArray[np.float64]

IGARCH = 0.9995
NONZERO_SHARE = 0.60
NU_LOW, NU_HIGH = 2.1, 200.0
LONG_RUN_RATIO = (0.3, 3.0)
NEXT_VARIANCE_RATIO = (0.05, 20.0)
UNMOVED = 2e-5
"""A fit this near its start never left it: on unscaled returns it moves by millionths and reports success."""
SECOND_START_TOLERANCE = 1e-3
LJUNG_BOX_LAGS = 10
STARTS = ((0.15, 0.75, 4.0), (0.03, 0.96, 9.0))
"""alpha, beta, nu of further starting values; omega follows from the sample variance."""


@dataclass(frozen=True)
class _Candidate:
    mu: float
    omega: float
    alpha: float
    beta: float
    nu: float | None
    loglikelihood: float
    complaint: str


def fit_window(
    returns_percent: Floats, *, window_start: date, fit_end: date, ewma_lambda: float, minimum: int
) -> VolatilityFit:
    """Fit one window by the ladder: Student t, variance-targeted Student t, normal, EWMA.

    A rung is taken when its fit passes the gate: converged and moved from its start, finite, alpha and beta
    not negative, degrees of freedom within (2.1, 200), long-run volatility within [0.3, 3] of the sample's
    (unless integrated), next variance within [0.05, 20] of the sample's, and a likelihood not below constant
    variance. A converged flag alone proves nothing: unscaled returns, thirty observations and one absurd
    spike all converge.

    Parameters
    ----------
    returns_percent
        Percent log returns, shape (n,).
    window_start, fit_end
        Days of the first and last return.
    ewma_lambda
        Decay of the last rung.
    minimum
        Returns below which only the last rung is used.

    Returns
    -------
    VolatilityFit
        With the refusals of earlier rungs in ``gate_note``. Persistence of 0.9995 or more is accepted and
        labelled: it is the normal case for bitcoin.

    Raises
    ------
    ValueError
        Where a return is not finite; names the count.
    """
    bad = int(np.sum(~np.isfinite(returns_percent)))
    if bad:
        raise ValueError(
            f"{bad} return(s) between {window_start} and {fit_end} are not finite; mark those days invalid"
        )
    notes: list[str] = []
    objection = _sample_objection(returns_percent, minimum)
    if objection is not None:
        notes.append(objection)
    for rung, attempt in _ladder(returns_percent) if objection is None else ():
        candidate = attempt()
        complaint = candidate.complaint or _gate(returns_percent, candidate)
        if not complaint:
            return _accepted(returns_percent, candidate, rung, window_start, fit_end, _joined(notes))
        notes.append(f"{rung}: {complaint}")
    return VolatilityFit(
        window_start=window_start,
        fit_end=fit_end,
        return_count=len(returns_percent),
        rung="ewma",
        mu_percent=0.0,
        omega_percent2=0.0,
        alpha=1 - ewma_lambda,
        beta=ewma_lambda,
        nu=None,
        persistence=1.0,
        is_igarch=True,
        half_life_days=None,
        loglikelihood=None,
        ljung_box_p=None,
        gate_note=_joined(notes),
    )


def _joined(notes: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(notes))


def _ladder(r: Floats) -> Iterator[tuple[str, Callable[[], _Candidate]]]:
    """Every attempt in order, by its rung; later starting values only count once earlier ones are refused."""
    yield "garch_t", partial(_arch_fit, r, "t", None)
    for start in STARTS:
        yield "garch_t", partial(_arch_fit, r, "t", start)
    yield "garch_t_targeted", partial(_targeted_fit, r)
    yield "garch_normal", partial(_arch_fit, r, "normal", None)


def _sample_objection(r: Floats, minimum: int) -> str | None:
    if len(r) < minimum:
        return f"{len(r)} returns, an own fit needs {minimum}"
    share = float(np.mean(r != 0))
    if share < NONZERO_SHARE:
        return f"only {100 * share:.0f} % of returns differ from zero"
    if np.ptp(r) == 0:
        return "all returns are equal"
    return None


def _model(r: Floats, distribution: str) -> Any:
    # The import costs seconds; whoever only reads forecasts should not pay for it.
    from arch.univariate import GARCH, ConstantMean, Normal, StudentsT

    model = ConstantMean(r, rescale=False)
    model.volatility = GARCH(p=1, q=1)
    model.distribution = StudentsT() if distribution == "t" else Normal()
    return model


def _arch_fit(r: Floats, distribution: str, start: tuple[float, float, float] | None) -> _Candidate:
    return _arch_result(r, distribution, start)[0]


def _arch_result(r: Floats, distribution: str, start: tuple[float, float, float] | None) -> tuple[_Candidate, Any]:
    """Fit by ``arch``: what came out, with a complaint where it failed, and the package's own result."""
    starting = None
    if start is not None:
        omega = float(np.var(r)) * (1 - start[0] - start[1])
        starting = np.asarray([float(r.mean()), omega, *start])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # show_warning puts a filter of its own in front of ours; the context takes it away again.
            result = _model(r, distribution).fit(disp="off", starting_values=starting, show_warning=False)
        except (ValueError, np.linalg.LinAlgError, ZeroDivisionError) as error:
            return _Candidate(0, 0, 0, 0, None, -np.inf, f"optimiser failed: {error}"), None
    params = np.asarray(result.params, dtype=np.float64)
    if starting is None:
        is_unmoved = _is_grid_point(params[2], params[3])
    else:
        is_unmoved = bool(np.allclose(params, starting, rtol=UNMOVED, atol=0))
    complaint = "parameters did not move from their start" if is_unmoved else ""
    if result.convergence_flag != 0:
        complaint = f"not converged, flag {result.convergence_flag}"
    mu, omega, alpha, beta = (float(v) for v in params[:4])
    nu = float(params[4]) if distribution == "t" else None
    return _Candidate(mu, omega, alpha, beta, nu, float(result.loglikelihood), complaint), result


def _is_grid_point(alpha: float, beta: float) -> bool:
    """Whether alpha and beta are exactly one of the starting values that ``arch`` tries."""
    on_alpha = min(abs(alpha - a) for a in (0.01, 0.05, 0.1, 0.2)) < UNMOVED
    on_sum = min(abs(alpha + beta - s) for s in (0.5, 0.7, 0.9, 0.98)) < UNMOVED
    return on_alpha and on_sum


def _targeted_fit(r: Floats) -> _Candidate:
    """Fit Student t with omega tied to the sample variance: two parameters fewer to go wrong."""
    mu, variance = float(r.mean()), float(r.var())
    start = backcast(r - mu)

    def negative(x: Floats) -> float:
        alpha, persistence, nu = float(x[0]), float(x[1]), float(x[2])
        if alpha >= persistence:
            return 1e10
        h = filter_variance(
            r, mu=mu, omega=variance * (1 - persistence), alpha=alpha, beta=persistence - alpha, start=start
        )[:-1]
        return -density_sum(r - mu, h, nu)

    bounds = [(1e-6, 0.5), (0.05, 0.9994), (NU_LOW, 50.0)]
    tries = [(0.05, 0.95, 6.0), (0.10, 0.85, 4.0), (0.03, 0.99, 8.0)]
    found = min(
        (optimize.minimize(negative, np.asarray(t), method="L-BFGS-B", bounds=bounds) for t in tries),
        key=lambda result: float(result.fun),
    )
    alpha, persistence, nu = (float(v) for v in found.x)
    omega, beta = variance * (1 - persistence), persistence - alpha
    complaint = "" if found.success else f"not converged: {found.message}"
    return _Candidate(mu, omega, alpha, beta, nu, -float(found.fun), complaint)


def _gate(r: Floats, fit: _Candidate) -> str | None:
    values = (fit.mu, fit.omega, fit.alpha, fit.beta, fit.loglikelihood, 0.0 if fit.nu is None else fit.nu)
    if not np.isfinite(values).all():
        return "a parameter is not finite"
    if fit.alpha < -1e-12 or fit.beta < -1e-12 or fit.omega <= 0:
        return f"alpha {fit.alpha:.4g}, beta {fit.beta:.4g}, omega {fit.omega:.4g}: negative"
    if fit.nu is not None and not NU_LOW < fit.nu < NU_HIGH:
        return f"degrees of freedom {fit.nu:.2f} outside ({NU_LOW}, {NU_HIGH})"
    sample = float(np.var(r))
    persistence = fit.alpha + fit.beta
    if persistence < IGARCH:
        ratio = float(np.sqrt(fit.omega / (1 - persistence) / sample))
        if not LONG_RUN_RATIO[0] <= ratio <= LONG_RUN_RATIO[1]:
            return f"long-run volatility is {ratio:.2f} times the sample's"
    h = filter_variance(r, mu=fit.mu, omega=fit.omega, alpha=fit.alpha, beta=fit.beta, start=backcast(r - r.mean()))
    if not NEXT_VARIANCE_RATIO[0] <= h[-1] / sample <= NEXT_VARIANCE_RATIO[1]:
        return f"next variance is {h[-1] / sample:.2f} times the sample's"
    constant = density_sum(r - r.mean(), np.full(len(r), sample), fit.nu)
    if fit.loglikelihood < constant - 1e-6:
        return f"likelihood {constant - fit.loglikelihood:.2f} below constant variance"
    return None


def _accepted(r: Floats, fit: _Candidate, rung: str, window_start: date, fit_end: date, notes: str) -> VolatilityFit:
    alpha, beta = max(fit.alpha, 0.0), max(fit.beta, 0.0)
    persistence = alpha + beta
    start = backcast(r - r.mean())
    h = filter_variance(r, mu=fit.mu, omega=fit.omega, alpha=alpha, beta=beta, start=start)[:-1]
    half_life = float(np.log(0.5) / np.log(persistence)) if 0 < persistence < IGARCH else None
    return VolatilityFit(
        window_start=window_start,
        fit_end=fit_end,
        return_count=len(r),
        rung=rung,
        mu_percent=fit.mu,
        omega_percent2=fit.omega,
        alpha=alpha,
        beta=beta,
        nu=fit.nu,
        persistence=persistence,
        is_igarch=persistence >= IGARCH,
        half_life_days=half_life,
        loglikelihood=fit.loglikelihood,
        ljung_box_p=_ljung_box((r - fit.mu) ** 2 / h),
        gate_note=notes,
    )


def _ljung_box(squares: Floats) -> float | None:
    """p-value of the Ljung-Box statistic of squared standardised residuals; None where they do not vary."""
    x = squares - squares.mean()
    n, total = len(x), float(x @ x)
    if total == 0:
        return None
    rho = np.asarray([float(x[lag:] @ x[:-lag]) / total for lag in range(1, LJUNG_BOX_LAGS + 1)])
    statistic = n * (n + 2) * float(np.sum(rho**2 / (n - np.arange(1, LJUNG_BOX_LAGS + 1))))
    return float(stats.chi2.sf(statistic, LJUNG_BOX_LAGS))


@dataclass(frozen=True)
class AsOfDiagnostics:
    """What is checked on the newest fit only, because it costs as much as the fit.

    Attributes
    ----------
    parameters
        Name, estimate and robust standard error of each parameter.
    second_start_gap
        Log-likelihood of a second start less the fit's; None on rungs other than ``garch_t``, which take no
        starting values, and where the second start fails.
    complaints
        In words; empty when standard errors are finite and both starts agree within 1e-3.
    """

    parameters: tuple[tuple[str, float, float], ...]
    second_start_gap: float | None
    complaints: tuple[str, ...]


def as_of_diagnostics(returns_percent: Floats, rung: str) -> AsOfDiagnostics:
    """Give standard errors and a second start for the fit in use.

    Parameters
    ----------
    returns_percent
        The window of the fit, percent log returns, shape (n,), finite.
    rung
        Its rung.

    Returns
    -------
    AsOfDiagnostics
        Robust (Bollerslev-Wooldridge) standard errors from ``arch``, of the attempt that the ladder accepted.
    """
    distribution = {"garch_t": "t", "garch_normal": "normal"}.get(rung)
    if distribution is None:
        return AsOfDiagnostics((), None, (f"no standard errors on rung {rung}",))
    starts = (None, *STARTS) if distribution == "t" else (None,)
    for used in starts:
        fit, result = _arch_result(returns_percent, distribution, used)
        if not (fit.complaint or _gate(returns_percent, fit)):
            break
    else:
        return AsOfDiagnostics((), None, (f"rung {rung} refuses this window: it is not the window of the fit",))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        errors = np.asarray(result.std_err, dtype=np.float64)
    other = STARTS[1] if used == STARTS[0] else STARTS[0]
    gap: float | None = None
    complaints = []
    if distribution == "t":
        second = _arch_fit(returns_percent, "t", other)
        gap = second.loglikelihood - fit.loglikelihood if np.isfinite(second.loglikelihood) else None
        if second.complaint:
            complaints.append(f"a second start fails: {second.complaint}")
    if not np.isfinite(errors).all():
        complaints.append("a standard error is not finite")
    if gap is not None and abs(gap) > SECOND_START_TOLERANCE:
        complaints.append(f"a second start ends {gap:+.4f} away in log-likelihood")
    names = ("mu", "omega", "alpha", "beta", "nu")
    rows = zip(names, np.asarray(result.params, dtype=np.float64), errors, strict=False)
    return AsOfDiagnostics(tuple((n, float(v), float(e)) for n, v, e in rows), gap, tuple(complaints))


__all__ = ["AsOfDiagnostics", "as_of_diagnostics", "fit_window", "loglikelihood"]
