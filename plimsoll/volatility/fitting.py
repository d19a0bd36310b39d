"""Fits of a market's windows: the engine's optimum, the gate that it must pass, and the ladder below it.

What lives here: from windows to accepted parameters. What does not: the optimum itself (``batch``), the second rung
(``targeted``), the comparison with ``arch`` (``reference``), forecasts through time (``walking``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import special

from plimsoll.volatility.batch import LIMITS, BatchFits, fit_windows, kernels, resumption
from plimsoll.volatility.batch.diagnostics import LAGS, WindowMeasures, measure_windows
from plimsoll.volatility.targeted import fit_targeted
from plimsoll.volatility.types import MODELS, VolatilityFit

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

IGARCH = 0.9995
NONZERO_SHARE = 0.60
NU_LOW, NU_HIGH = 2.1, 200.0
LONG_RUN_RATIO = (0.3, 3.0)
NEXT_VARIANCE_RATIO = (0.05, 20.0)
TARGETED, NORMAL, EWMA = "garch_t_targeted", "garch_normal", "ewma"
_LAWS = {"normal": kernels.NORMAL, "student_t": kernels.STUDENT, "skew_t": kernels.SKEWED}
_LOOSE_NU = 8.0  # a finite number where the law has none


@dataclass(frozen=True)
class Candidate:
    """One rung's parameters on percent returns; NaN for what its law does not have."""

    mu: float
    omega: float
    alpha: float
    gamma: float
    beta: float
    nu: float
    lam: float
    loglikelihood: float
    complaint: str = ""
    limits: str = ""
    optimum_gap: float = np.nan
    other_sigma_ratio: float = np.nan

    @property
    def persistence(self) -> float:
        """Sum of alpha, half of gamma, and beta."""
        return self.alpha + 0.5 * self.gamma + self.beta


@dataclass(frozen=True)
class Measured:
    """What the gate looks at beside the parameters: one window of `WindowMeasures`."""

    variance: float
    moving_share: float
    is_flat: bool
    constant_loglikelihood: float
    sigma2_next: float
    ljung_box: float


def fit_history(
    returns_percent: Floats,
    days: Sequence[date],
    ends: Integers,
    *,
    model: str,
    window: int,
    minimum: int,
    ewma_lambda: float,
    threads: int = 1,
) -> tuple[VolatilityFit, ...]:
    """Fit the windows of one market that end at given returns.

    A rung is taken when its fit passes the gate: an optimum was reached, parameters are finite, slopes and beta not
    negative, degrees of freedom within (2.1, 200), long-run volatility within [0.3, 3] of the sample's (unless
    integrated), the next variance within [0.05, 20] of the sample's, and the likelihood not below that of constant
    variance. The ladder: the model asked for, GARCH-t with its long-run variance at the sample's, GARCH-normal, EWMA.
    Windows in which less than 60 % of returns differ from zero, or all are equal, get EWMA at once.

    Parameters
    ----------
    returns_percent
        Percent log returns of the whole history, shape (n,).
    days
        Their days.
    ends
        Exclusive ends of the windows, increasing, each at least ``minimum``.
    model
        A key of ``MODELS``.
    window
        Returns in the rolling window.
    minimum
        Returns below which a market has no fit of its own. Part of what decides: windows are fitted in chains, and
        the first chain begins here.
    ewma_lambda
        Decay of the last rung.
    threads
        Threads of the engine; no result depends on them.

    Returns
    -------
    tuple of VolatilityFit
        One a window, each from returns before its end only, and the same to the bit whichever other ends are asked
        for. Refusals of earlier rungs stand in ``gate_note``. Persistence of 0.9995 or more is accepted and labelled:
        it is the normal case for bitcoin.

    Raises
    ------
    ValueError
        An unknown model, a return that is not finite (names its day), ends below ``minimum`` or out of order.
    """
    _refuse(returns_percent, days, ends, model, minimum)
    if len(ends) == 0:
        return ()
    spec = MODELS[model]
    first = max(minimum, resumption(int(ends[0])))
    fits = fit_windows([returns_percent], [np.arange(first, int(ends[-1]) + 1)], window, spec, threads=threads)
    rows = np.asarray(ends, dtype=np.int64) - first
    candidates = _candidates(fits, rows)
    starts = np.maximum(np.asarray(ends, dtype=np.int64) - window, 0)
    measures = measure_windows(returns_percent, starts, ends, _matrix(candidates), _LAWS[spec.innovations])
    out = []
    for i, candidate in enumerate(candidates):
        begin, end = int(starts[i]), int(ends[i])
        out.append(
            _climb(
                returns_percent[begin:end],
                candidate,
                _row(measures, i),
                model=model,
                ewma_lambda=ewma_lambda,
                window_start=days[begin],
                fit_end=days[end - 1],
            )
        )
    return tuple(out)


def _refuse(returns_percent: Floats, days: Sequence[date], ends: Integers, model: str, minimum: int) -> None:
    if model not in MODELS:
        raise ValueError(f"model {model!r} is unknown; choose one of {', '.join(MODELS)}")
    bad = np.flatnonzero(~np.isfinite(returns_percent))
    if len(bad):
        raise ValueError(
            f"{len(bad)} return(s) are not finite, the first of {days[int(bad[0])]}; mark those days invalid"
        )
    if len(ends) and (np.any(np.diff(ends) <= 0) or ends[0] < minimum or ends[-1] > len(returns_percent)):
        raise ValueError(f"ends must increase between {minimum} and {len(returns_percent)}")


def _candidates(fits: BatchFits, rows: Integers) -> list[Candidate]:
    ratio = np.sqrt(fits.sigma2_other / fits.sigma2_next)
    return [
        Candidate(
            mu=float(fits.mu[i]),
            omega=float(fits.omega[i]),
            alpha=float(fits.alpha[i]),
            gamma=float(fits.gamma[i]),
            beta=float(fits.beta[i]),
            nu=float(fits.nu[i]),
            lam=float(fits.lam[i]),
            loglikelihood=float(fits.loglikelihood[i]),
            complaint="" if fits.is_converged[i] else "the climb to the optimum did not arrive",
            limits=", ".join(name for bit, name in enumerate(LIMITS) if int(fits.limits[i]) >> bit & 1),
            optimum_gap=float(fits.optimum_gap[i]),
            other_sigma_ratio=float(ratio[i]),
        )
        for i in rows
    ]


def _matrix(candidates: Sequence[Candidate]) -> Floats:
    """Parameters as the engine's kernels take them."""
    return np.asarray(
        [
            (
                c.mu,
                c.omega,
                c.alpha,
                c.alpha + c.gamma,
                c.beta,
                _LOOSE_NU if np.isnan(c.nu) else c.nu,
                0.0 if np.isnan(c.lam) else c.lam,
            )
            for c in candidates
        ],
        dtype=np.float64,
    ).reshape(-1, kernels.PARAMETERS)


def _row(measures: WindowMeasures, i: int) -> Measured:
    return Measured(
        variance=float(measures.variance[i]),
        moving_share=float(measures.moving_share[i]),
        is_flat=bool(measures.is_flat[i]),
        constant_loglikelihood=float(measures.constant_loglikelihood[i]),
        sigma2_next=float(measures.sigma2_next[i]),
        ljung_box=float(measures.ljung_box[i]),
    )


def measured(returns_percent: Floats, candidate: Candidate, law: int) -> Measured:
    """Measure one window under one candidate."""
    n = len(returns_percent)
    whole = measure_windows(returns_percent, np.asarray([0]), np.asarray([n]), _matrix([candidate]), law)
    return _row(whole, 0)


def _climb(
    r: Floats,
    first: Candidate,
    first_measured: Measured,
    *,
    model: str,
    ewma_lambda: float,
    window_start: date,
    fit_end: date,
) -> VolatilityFit:
    """Take the highest rung that passes the gate."""
    notes: list[str] = []
    objection = _sample_objection(first_measured)
    if objection is not None:
        return _ewma(len(r), ewma_lambda, window_start, fit_end, objection)
    attempts: list[tuple[str, Callable[[], tuple[Candidate, Measured]]]] = [
        (model, lambda: (first, first_measured)),
        (TARGETED, partial(_targeted, r)),
    ]
    if model != NORMAL:
        attempts.append((NORMAL, partial(_normal, r)))
    for rung, attempt in attempts:
        candidate, seen = attempt()
        complaint = candidate.complaint or gate(candidate, seen)
        if not complaint:
            return _accepted(len(r), candidate, seen, rung, window_start, fit_end, "; ".join(notes))
        notes.append(f"{rung}: {complaint}")
    return _ewma(len(r), ewma_lambda, window_start, fit_end, "; ".join(notes))


def _sample_objection(seen: Measured) -> str | None:
    if seen.moving_share < NONZERO_SHARE:
        return f"only {100 * seen.moving_share:.0f} % of returns differ from zero"
    if seen.is_flat:
        return "all returns are equal"
    return None


def _targeted(r: Floats) -> tuple[Candidate, Measured]:
    found = fit_targeted(r)
    candidate = Candidate(
        found.mu, found.omega, found.alpha, 0.0, found.beta, found.nu, np.nan, found.loglikelihood, found.complaint
    )
    return candidate, measured(r, candidate, kernels.STUDENT)


def _normal(r: Floats) -> tuple[Candidate, Measured]:
    fits = fit_windows([r], [np.asarray([len(r)])], len(r), MODELS[NORMAL], threads=1)
    candidate = _candidates(fits, np.asarray([0]))[0]
    return candidate, measured(r, candidate, kernels.NORMAL)


def gate(fit: Candidate, seen: Measured) -> str | None:
    """Say what speaks against a fit, or None; the conditions are those of `fit_history`."""
    values = (fit.mu, fit.omega, fit.alpha, fit.gamma, fit.beta, fit.loglikelihood)
    if not np.isfinite(values).all():
        return "a parameter is not finite"
    if fit.alpha < 0 or fit.alpha + fit.gamma < -1e-12 or fit.beta < 0 or fit.omega <= 0:
        return f"alpha {fit.alpha:.4g}, gamma {fit.gamma:.4g}, beta {fit.beta:.4g}, omega {fit.omega:.4g}: negative"
    if not np.isnan(fit.nu) and not NU_LOW < fit.nu < NU_HIGH:
        return f"degrees of freedom {fit.nu:.2f} outside ({NU_LOW}, {NU_HIGH})"
    if fit.persistence < IGARCH:
        ratio = float(np.sqrt(fit.omega / (1 - fit.persistence) / seen.variance))
        if not LONG_RUN_RATIO[0] <= ratio <= LONG_RUN_RATIO[1]:
            return f"long-run volatility is {ratio:.2f} times the sample's"
    following = seen.sigma2_next / seen.variance
    if not NEXT_VARIANCE_RATIO[0] <= following <= NEXT_VARIANCE_RATIO[1]:
        return f"next variance is {following:.2f} times the sample's"
    if fit.loglikelihood < seen.constant_loglikelihood - 1e-6:
        return f"likelihood {seen.constant_loglikelihood - fit.loglikelihood:.2f} below constant variance"
    return None


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _accepted(
    count: int, fit: Candidate, seen: Measured, rung: str, window_start: date, fit_end: date, notes: str
) -> VolatilityFit:
    p = fit.persistence
    return VolatilityFit(
        window_start=window_start,
        fit_end=fit_end,
        return_count=count,
        rung=rung,
        mu_percent=fit.mu,
        omega_percent2=fit.omega,
        alpha=fit.alpha,
        gamma=fit.gamma,
        beta=fit.beta,
        nu=_known(fit.nu),
        lam=_known(fit.lam),
        persistence=p,
        is_igarch=p >= IGARCH,
        half_life_days=float(np.log(0.5) / np.log(p)) if 0 < p < IGARCH else None,
        loglikelihood=fit.loglikelihood,
        ljung_box_p=None if np.isnan(seen.ljung_box) else float(special.chdtrc(LAGS, seen.ljung_box)),
        limits=fit.limits,
        optimum_gap=_known(fit.optimum_gap),
        other_sigma_ratio=_known(fit.other_sigma_ratio),
        gate_note=notes,
    )


def _ewma(count: int, decay: float, window_start: date, fit_end: date, note: str) -> VolatilityFit:
    return VolatilityFit(
        window_start=window_start,
        fit_end=fit_end,
        return_count=count,
        rung=EWMA,
        mu_percent=0.0,
        omega_percent2=0.0,
        alpha=1 - decay,
        gamma=0.0,
        beta=decay,
        nu=None,
        lam=None,
        persistence=1.0,
        is_igarch=True,
        half_life_days=None,
        loglikelihood=None,
        ljung_box_p=None,
        limits="",
        optimum_gap=None,
        other_sigma_ratio=None,
        gate_note=note,
    )
