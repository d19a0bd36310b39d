"""The same windows by ``arch``: an independent likelihood and optimiser that the engine is held against.

What lives here: reference fits with standard errors, also of models that the engine does not have (EGARCH, FIGARCH),
and the comparison of a fit with them. What does not: fits that make a forecast (``fitting``), whether a disagreement
stops publication (the check of the table).
"""

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from plimsoll.volatility.likelihood import backcast, filter_variance
from plimsoll.volatility.types import MODELS, VolatilityFit

Floats = NDArray[np.float64]

SAME_POINT = 1e-6
"""Log-likelihood by which the two may differ at the same parameters, and the same for volatility, relative."""
BELOW = 1e-3
"""Log-likelihood by which an optimum may lie below the best of ``arch``."""
SAME_OPTIMUM = 1e-4
"""Log-likelihoods nearer than this are one optimum; volatility must then agree within ``SIGMA``."""
SIGMA = 1e-3
STARTS = ((0.15, 0.75), (0.03, 0.96))
"""alpha and beta of further starting values; omega follows from the sample variance."""

_NAMES = {"alpha[1]": "alpha", "gamma[1]": "gamma", "beta[1]": "beta", "eta": "nu", "lambda": "lam"}

Process = Literal["garch", "gjr", "egarch", "figarch"]
Innovations = Literal["normal", "student_t", "skew_t"]


@dataclass(frozen=True)
class ReferenceFit:
    """A fit by ``arch`` on percent returns.

    Attributes
    ----------
    names, estimates, std_errors
        Parameters by the names of this package; robust errors (Bollerslev and Wooldridge 1992), NaN where the optimum
        allows none.
    loglikelihood
        At the optimum found.
    sigma_next_percent
        Volatility of the day after.
    message
        What the optimiser said where it did not arrive, else empty.
    """

    names: tuple[str, ...]
    estimates: tuple[float, ...]
    std_errors: tuple[float, ...]
    loglikelihood: float
    sigma_next_percent: float
    message: str


@dataclass(frozen=True)
class Comparison:
    """A fit beside the best that ``arch`` finds on the same window.

    Attributes
    ----------
    reference
        The best of several starts, the fit's own optimum among them.
    own_start_gap
        Log-likelihood of ``arch`` from its own start less the fit's: well below 0 where it ends in a lesser optimum.
    gap
        Log-likelihood of the best reference less the fit's: above ``BELOW`` where the fit is not the best known.
    same_point_gap
        Log-likelihood by ``arch`` at the fit's parameters less the fit's.
    sigma_ratio
        Volatility of the day after by the best reference over the fit's.
    same_point_sigma_ratio
        The same by ``arch`` at the fit's parameters.
    objection
        Why the two disagree, in words; empty where they agree.
    """

    reference: ReferenceFit
    own_start_gap: float
    gap: float
    same_point_gap: float
    sigma_ratio: float
    same_point_sigma_ratio: float
    objection: str


def reference_fit(
    returns_percent: Floats,
    process: Process,
    innovations: Innovations,
    *,
    start: Floats | None = None,
) -> ReferenceFit:
    """Fit one window by ``arch``.

    Parameters
    ----------
    returns_percent
        Percent log returns, shape (n,), finite.
    process
        ``garch``, ``gjr``, ``egarch`` with an asymmetric term, or ``figarch``; one lag each.
    innovations
        Law of unit variance.
    start
        Starting values in the order of ``arch``; its own grid by default.

    Returns
    -------
    ReferenceFit
        Constant mean, no rescaling, backcast by ``arch``.

    Raises
    ------
    ValueError
        Where ``arch`` refuses the window; names what it said.
    """
    model = _model(returns_percent, process, innovations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # show_warning puts a filter of its own in front of ours; the context takes it away again.
            result = model.fit(disp="off", starting_values=start, show_warning=False)
            errors = np.asarray(result.std_err, dtype=np.float64)
        except (ValueError, np.linalg.LinAlgError, ZeroDivisionError) as error:
            raise ValueError(f"arch cannot fit this window of {len(returns_percent)} returns: {error}") from error
    message = "" if result.convergence_flag == 0 else f"arch did not arrive, flag {result.convergence_flag}"
    return ReferenceFit(
        names=tuple(_NAMES.get(name, name) for name in result.params.index),
        estimates=tuple(float(value) for value in result.params),
        std_errors=tuple(float(value) for value in errors),
        loglikelihood=float(result.loglikelihood),
        sigma_next_percent=_sigma_next(result, process),
        message=message,
    )


def compare(returns_percent: Floats, fit: VolatilityFit) -> Comparison:
    """Hold a fit against ``arch`` on its own window.

    Parameters
    ----------
    returns_percent
        Percent log returns of the window, shape (n,).
    fit
        On a rung that is a model of ``MODELS``.

    Returns
    -------
    Comparison
        An objection where ``arch`` gives another likelihood or volatility at the same parameters, where it finds a
        better optimum, and where both found one optimum but not one volatility.

    Raises
    ------
    ValueError
        On other rungs, and where ``arch`` refuses the window from every start.
    """
    if fit.rung not in MODELS or fit.loglikelihood is None:
        raise ValueError(f"rung {fit.rung} has no counterpart in arch; compare fits of {', '.join(MODELS)}")
    spec = MODELS[fit.rung]
    own = _parameters(fit)
    fixed = _model(returns_percent, spec.volatility, spec.innovations).fix(own)
    sigma = _filtered_sigma(returns_percent, fit)
    starts: list[Floats | None] = [None, own]
    starts += [_starting_values(returns_percent, own, fit, a, b) for a, b in STARTS]
    found, refusals = [], []
    for start in starts:
        try:
            found.append((start, reference_fit(returns_percent, spec.volatility, spec.innovations, start=start)))
        except ValueError as error:
            refusals.append(str(error))
    if not found:
        raise ValueError(refusals[0])
    best = max((one for _, one in found), key=lambda one: one.loglikelihood)
    plain = next((one for start, one in found if start is None), None)
    gap = best.loglikelihood - fit.loglikelihood
    same_point = float(fixed.loglikelihood) - fit.loglikelihood
    ratio, same_ratio = best.sigma_next_percent / sigma, _sigma_next(fixed, spec.volatility) / sigma
    return Comparison(
        reference=best,
        own_start_gap=float("nan") if plain is None else plain.loglikelihood - fit.loglikelihood,
        gap=gap,
        same_point_gap=same_point,
        sigma_ratio=ratio,
        same_point_sigma_ratio=same_ratio,
        objection=_objection(gap, same_point, ratio, same_ratio),
    )


def _objection(gap: float, same_point: float, ratio: float, same_ratio: float) -> str:
    # Written so that a value that is no number objects.
    if not abs(same_point) <= SAME_POINT:
        return f"arch gives a log-likelihood {same_point:+.2e} away at the same parameters"
    if not abs(same_ratio - 1) <= SAME_POINT:
        return f"arch gives {same_ratio:.6f} times the volatility at the same parameters"
    if not gap <= BELOW:
        return f"arch finds an optimum {gap:.4f} higher in log-likelihood"
    if abs(gap) <= SAME_OPTIMUM and not abs(ratio - 1) <= SIGMA:
        return f"arch gives {ratio:.6f} times the volatility at the same optimum"
    return ""


def _model(returns_percent: Floats, process: Process, innovations: Innovations) -> Any:
    # The import costs seconds; whoever only reads forecasts should not pay for it.
    from arch.univariate import EGARCH, FIGARCH, GARCH, ConstantMean, Normal, SkewStudent, StudentsT

    processes: dict[str, Any] = {
        "garch": GARCH(p=1, q=1),
        "gjr": GARCH(p=1, o=1, q=1),
        "egarch": EGARCH(p=1, o=1, q=1),
        "figarch": FIGARCH(p=1, q=1),
    }
    laws: dict[str, Any] = {"normal": Normal, "student_t": StudentsT, "skew_t": SkewStudent}
    model = ConstantMean(returns_percent, rescale=False)
    model.volatility = processes[process]
    model.distribution = laws[innovations]()
    return model


def _sigma_next(result: Any, process: Process) -> float:
    """Volatility of the day after, from the path that the likelihood used.

    ``forecast`` starts its path anew at the mean of the parameters, not of the sample; where alpha is 0 and beta near 1
    that start is still felt at the end of the window.
    """
    if process in ("egarch", "figarch"):
        return float(np.sqrt(result.forecast(horizon=1, reindex=False).variance.to_numpy()[-1, 0]))
    named = {_NAMES.get(name, name): float(value) for name, value in result.params.items()}
    e, h = float(np.asarray(result.resid)[-1]), float(np.asarray(result.conditional_volatility)[-1]) ** 2
    slope = named["alpha"] + named.get("gamma", 0.0) * (e < 0)
    return float(np.sqrt(named["omega"] + slope * e * e + named["beta"] * h))


def _parameters(fit: VolatilityFit) -> Floats:
    """Parameters in the order of ``arch``."""
    spec = MODELS[fit.rung]
    values = [fit.mu_percent, fit.omega_percent2, fit.alpha]
    values += [fit.gamma] if spec.volatility == "gjr" else []
    values += [fit.beta, *(value for value in (fit.nu, fit.lam) if value is not None)]
    return np.asarray(values, dtype=np.float64)


def _starting_values(returns_percent: Floats, own: Floats, fit: VolatilityFit, alpha: float, beta: float) -> Floats:
    out = own.copy()
    out[0], out[1], out[2] = returns_percent.mean(), np.var(returns_percent) * (1 - alpha - beta), alpha
    is_gjr = MODELS[fit.rung].volatility == "gjr"
    if is_gjr:
        out[3] = 0.0
    out[4 if is_gjr else 3] = beta
    return out


def _filtered_sigma(returns_percent: Floats, fit: VolatilityFit) -> float:
    """Volatility of the next day as the forecast has it."""
    h = filter_variance(
        returns_percent,
        mu=fit.mu_percent,
        omega=fit.omega_percent2,
        alpha=fit.alpha,
        gamma=fit.gamma,
        beta=fit.beta,
        start=backcast(returns_percent - returns_percent.mean()),
    )
    return float(np.sqrt(h[-1]))
