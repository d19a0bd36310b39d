r"""The optimum of one window: quasi-Newton steps inside the constraints.

What lives here: the coordinates of the search, their limits, and the ascent from one starting point. What does
not: the likelihood (``kernels``), the step (``quadratic``), which starting points are tried (``chains``).

Slopes and beta are searched as they are, because their limits matter: alpha = 0, alpha + gamma = 0 and
persistence = 1 are met and left exactly. Omega is searched through the level it gives to the variance,

.. math:: \omega = v\,(e^{x_1} - s)\,(1 - p + \epsilon),

with v the window's variance and p persistence: moving a slope at a given omega would move the whole level, and
the likelihood is a thousand times as steep that way. The two small numbers keep the limits p = 1 and omega = 0
within reach. The mean is searched in standard deviations of the window, degrees of freedom by their inverse,
in which the normal law is an ordinary point next to the limit. Iterates never leave the constraints, so a step
accepted anywhere is a valid fit.
"""

from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

from plimsoll.volatility.batch.jit import compiled
from plimsoll.volatility.batch.kernels import (
    BETA,
    BUFFERS,
    GAIN,
    LOSS,
    MEAN,
    MU,
    NU,
    OMEGA,
    PARAMETERS,
    SKEW,
    SKEWED,
    STUDENT,
    VARIANCE,
    evaluate,
)
from plimsoll.volatility.batch.quadratic import step

Floats = NDArray[np.float64]

OMEGA_LEAST, OMEGA_MOST = 1e-8, 10.0  # of the window's variance
LEVEL_SHIFT, LEVEL_FLOOR = 1e-2, 3e-2  # s and epsilon
LEVEL_LEAST, LEVEL_MOST = 1e-6, 2000.0
NU_LEAST, NU_MOST_STUDENT, NU_MOST_SKEWED = 2.05, 500.0, 300.0
SKEW_MOST = 1.0 - 1e-6
LOOSE_NU = 8.0  # where the law has no degrees of freedom, any finite number
_STEPS = 150
_TRIALS = 30
_ARMIJO = 1e-4
_DAMPING = 0.2
_DOUBT = 30.0
_SAME_PLACE, _SAME_HEIGHT = 0.03, 1e-3
_FLAT = 1e-6  # a line search that fails with less than this to gain has arrived

# What `ascend` reports.
CONVERGED, STALLED, EXHAUSTED, KNOWN = 0, 1, 2, 3


@compiled
def dimension(gjr: bool, law: int) -> int:
    """Count the coordinates of a specification: mean, omega, slopes, beta, degrees of freedom, asymmetry."""
    return (5 if gjr else 4) + law


@compiled
def limits(gjr: bool, law: int, lower: Floats, upper: Floats, row: Floats) -> None:
    """Fill bounds of the coordinates and the coefficients of persistence.

    Parameters
    ----------
    gjr, law
        The specification.
    lower, upper, row
        Filled, shape (k,); persistence is ``row @ x`` and at most 1.
    """
    row[:] = 0.0
    lower[0], upper[0] = -1e6, 1e6
    lower[1], upper[1] = log(LEVEL_LEAST + LEVEL_SHIFT), log(LEVEL_MOST)
    lower[2], upper[2], row[2] = 0.0, 1.0, 1.0
    k = 3
    if gjr:
        row[2] = 0.5
        lower[3], upper[3], row[3] = 0.0, 2.0, 0.5
        k = 4
    lower[k], upper[k], row[k] = 0.0, 1.0, 1.0
    if law >= STUDENT:
        lower[k + 1] = 1.0 / (NU_MOST_STUDENT if law == STUDENT else NU_MOST_SKEWED)
        upper[k + 1] = 1.0 / NU_LEAST
    if law == SKEWED:
        lower[k + 2], upper[k + 2] = -SKEW_MOST, SKEW_MOST


@compiled
def to_parameters(gjr: bool, law: int, x: Floats, facts: Floats, th: Floats) -> None:
    """Fill the seven parameters of the likelihood from coordinates."""
    th[MU] = facts[MEAN] + sqrt(facts[VARIANCE]) * x[0]
    th[GAIN] = x[2]
    th[LOSS] = x[3] if gjr else x[2]
    k = 4 if gjr else 3
    th[BETA] = x[k]
    th[NU] = 1.0 / x[k + 1] if law >= STUDENT else LOOSE_NU
    th[SKEW] = x[k + 2] if law == SKEWED else 0.0
    rest = 1.0 - 0.5 * (th[GAIN] + th[LOSS]) - th[BETA] + LEVEL_FLOOR
    th[OMEGA] = facts[VARIANCE] * min(max((exp(x[1]) - LEVEL_SHIFT) * rest, OMEGA_LEAST), OMEGA_MOST)


@compiled
def to_coordinates(
    gjr: bool, law: int, th: Floats, facts: Floats, lower: Floats, upper: Floats, row: Floats, x: Floats
) -> None:
    """Fill coordinates from parameters, moved inside the constraints of this window."""
    x[0] = (th[MU] - facts[MEAN]) / sqrt(facts[VARIANCE])
    x[1] = 0.0
    x[2] = th[GAIN]
    k = 3
    if gjr:
        x[3] = th[LOSS]
        k = 4
    x[k] = th[BETA]
    if law >= STUDENT:
        x[k + 1] = 1.0 / th[NU]
    if law == SKEWED:
        x[k + 2] = th[SKEW]
    used = 0.0
    for i in range(len(x)):
        x[i] = min(max(x[i], lower[i]), upper[i])
        used += row[i] * x[i]
    if used > 1.0:
        for i in range(len(x)):
            if row[i] > 0.0:
                x[i] /= used
        used = 1.0
    level = log(th[OMEGA] / facts[VARIANCE] / (1.0 - used + LEVEL_FLOOR) + LEVEL_SHIFT)
    x[1] = min(max(level, lower[1]), upper[1])


@compiled
def _objective(
    gjr: bool,
    law: int,
    y: Floats,
    facts: Floats,
    x: Floats,
    th: Floats,
    natural: Floats,
    gradient: Floats,
    buffers: Floats,
) -> tuple[float, float]:
    """Negative log-likelihood and next variance at coordinates; fills its gradient by them."""
    to_parameters(gjr, law, x, facts, th)
    value, after = evaluate(law, y, facts, th, natural, buffers)
    gradient[0] = -natural[MU] * sqrt(facts[VARIANCE])
    rest = 1.0 - 0.5 * (th[GAIN] + th[LOSS]) - th[BETA] + LEVEL_FLOOR
    share = th[OMEGA] / facts[VARIANCE]
    by_level, by_rest = 0.0, 0.0
    if OMEGA_LEAST < share < OMEGA_MOST:
        by_level = natural[OMEGA] * facts[VARIANCE] * exp(x[1]) * rest
        by_rest = natural[OMEGA] * th[OMEGA] / rest
    gradient[1] = -by_level
    k = 3
    if gjr:
        gradient[2] = 0.5 * by_rest - natural[GAIN]
        gradient[3] = 0.5 * by_rest - natural[LOSS]
        k = 4
    else:
        gradient[2] = by_rest - natural[GAIN] - natural[LOSS]
    gradient[k] = by_rest - natural[BETA]
    if law >= STUDENT:
        gradient[k + 1] = natural[NU] * th[NU] * th[NU]
    if law == SKEWED:
        gradient[k + 2] = -natural[SKEW]
    total = 0.0
    for i in range(len(x)):
        total += gradient[i]
    if not (abs(value) < 1e300 and abs(total) < 1e300):
        return np.inf, after
    return -value, after


@compiled
def guess_curvature(gjr: bool, law: int, n: int, hessian: Floats) -> None:
    """Fill a curvature of the order that windows of n returns have."""
    hessian[:, :] = 0.0
    hessian[0, 0] = n
    hessian[1, 1] = 0.2 * n
    hessian[2, 2] = (5.0 if gjr else 10.0) * n
    hessian[3, 3] = 5.0 * n
    k = 4 if gjr else 3
    hessian[k, k] = 10.0 * n
    if law >= STUDENT:
        hessian[k + 1, k + 1] = 2.0 * n
    if law == SKEWED:
        hessian[k + 2, k + 2] = 0.6 * n


@compiled
def _update(hessian: Floats, s: Floats, change: Floats, product: Floats) -> None:
    """Take a step's change of gradient into the curvature, damped so that it stays positive definite."""
    k = len(s)
    bend, turn = 0.0, 0.0
    for i in range(k):
        a = 0.0
        for j in range(k):
            a += hessian[i, j] * s[j]
        product[i] = a
        bend += a * s[i]
        turn += change[i] * s[i]
    if not bend > 0.0:
        return
    if turn < _DAMPING * bend:
        mix = (1.0 - _DAMPING) * bend / (bend - turn)
        for i in range(k):
            change[i] = mix * change[i] + (1.0 - mix) * product[i]
        turn = _DAMPING * bend
    for i in range(k):
        for j in range(k):
            hessian[i, j] += change[i] * change[j] / turn - product[i] * product[j] / bend


@compiled
def _longest(x: Floats, d: Floats, gjr: bool, law: int) -> float:
    """Share of a step that stays where the quadratic can be trusted."""
    share: float = min(1.0, 0.5 / max(abs(d[0]), 1e-12), 2.0 / max(abs(d[1]), 1e-12))
    k = 4 if gjr else 3
    for i in range(2, k + 1):
        share = min(share, 0.3 / max(abs(d[i]), 1e-12))
    if law >= STUDENT:
        # Not more than half of the way to two degrees of freedom, where the likelihood falls off.
        reach = 0.1 if d[k + 1] < 0.0 else max(0.5 * (0.5 - x[k + 1]), 1e-3)
        share = min(share, reach / max(abs(d[k + 1]), 1e-12))
    if law == SKEWED:
        share = min(share, 0.3 / max(abs(d[k + 2]), 1e-12))
    return share


@compiled
def _leads_to(x: Floats, d: Floats, known: Floats, heights: Floats, many: int, hoped: float) -> bool:
    """Whether a step ends at a known optimum, in place and in height."""
    for m in range(many):
        if hoped > heights[m] + _SAME_HEIGHT:
            continue
        distance = 0.0
        for i in range(len(x)):
            distance += abs(x[i] + d[i] - known[m, i]) * (0.1 if i < 2 else 1.0)
        if distance < _SAME_PLACE:
            return True
    return False


@compiled
def ascend(
    gjr: bool,
    law: int,
    y: Floats,
    facts: Floats,
    x: Floats,
    hessian: Floats,
    th: Floats,
    found: Floats,
    buffers: Floats,
    tolerance: float,
    known: Floats,
    heights: Floats,
    many: int,
    shaped: bool,
) -> tuple[int, int]:
    """Climb from a starting point to the optimum of its basin.

    Parameters
    ----------
    gjr, law
        The specification.
    y
        Percent returns of the window.
    facts
        Of the window.
    x
        Starting point, inside the constraints; moved to the optimum.
    hessian
        Curvature of the negative log-likelihood, positive definite; improved on the way.
    th
        Filled: parameters at the optimum.
    found
        Filled: log-likelihood and variance of the next day.
    buffers
        Scratch of `evaluate`.
    tolerance
        Gain of log-likelihood that is not worth another step.
    known, heights, many
        Coordinates and log-likelihoods of the first ``many`` optima that are already known; a climb that is
        about to end at one of them stops.
    shaped
        Whether mean, degrees of freedom and asymmetry stay where they are.

    Returns
    -------
    tuple
        CONVERGED, STALLED, EXHAUSTED or KNOWN, and the evaluations spent.
    """
    k = len(x)
    gradient, trial_gradient, trial = np.empty(k), np.empty(k), np.empty(k)
    d, s, change, product = np.empty(k), np.empty(k), np.empty(k), np.empty(k)
    lower, upper, row = np.empty(k), np.empty(k), np.empty(k)
    low, high = np.empty(k), np.empty(k)
    held = np.empty(k, dtype=np.int64)
    matrix, right = np.empty((k + 1, k + 1)), np.empty(k + 1)
    natural, trial_th = np.empty(PARAMETERS), np.empty(PARAMETERS)
    limits(gjr, law, lower, upper, row)
    value, after = _objective(gjr, law, y, facts, x, th, natural, gradient, buffers)
    found[0], found[1] = -value, after
    spent, resets = 1, 0
    state, asked, plain = EXHAUSTED, False, np.empty((k, k))
    if not value < np.inf:
        return STALLED, spent
    for _ in range(_STEPS):
        room = 1.0
        for i in range(k):
            low[i], high[i] = lower[i] - x[i], upper[i] - x[i]
            if shaped and i != 1 and row[i] == 0.0:
                low[i], high[i] = 0.0, 0.0
            room -= row[i] * x[i]
        room = room if room > 1e-13 else 0.0
        fall = step(hessian, gradient, low, high, row, room, d, held, matrix, right)
        if fall < 0.0:
            resets += 1
            if resets > 3:
                state = STALLED
                break
            guess_curvature(gjr, law, len(y), hessian)
            continue
        if fall < tolerance:
            # A curvature learnt elsewhere may be too stiff: ask a plain one before believing that this is the top.
            if not asked:
                asked = True
                guess_curvature(gjr, law, len(y), plain)
                if step(plain, gradient, low, high, row, room, d, held, matrix, right) > _DOUBT * tolerance:
                    hessian[:, :] = plain
                    continue
            state = CONVERGED
            break
        if spent > 1 and many > 0 and _leads_to(x, d, known, heights, many, fall - value):
            state = KNOWN
            break
        share = _longest(x, d, gjr, law)
        slope = 0.0
        for i in range(k):
            slope += gradient[i] * d[i]
        better = False
        for _ in range(_TRIALS):
            used = 0.0
            for i in range(k):
                trial[i] = min(max(x[i] + share * d[i], lower[i]), upper[i])
                used += row[i] * trial[i]
            if used > 1.0:
                for i in range(k):
                    if row[i] > 0.0:
                        trial[i] /= used
            trial_value, after = _objective(gjr, law, y, facts, trial, trial_th, natural, trial_gradient, buffers)
            spent += 1
            if trial_value <= value + _ARMIJO * share * slope:
                better = True
                break
            if trial_value < np.inf:
                bend = 2.0 * (trial_value - value - share * slope)
                share = max(0.1 * share, min(0.5 * share, -slope * share * share / bend)) if bend > 0 else 0.5 * share
            else:
                share *= 0.2
        if not better:
            if fall < _FLAT or resets > 3:
                state = CONVERGED if fall < _FLAT else STALLED
                break
            resets += 1
            guess_curvature(gjr, law, len(y), hessian)
            continue
        for i in range(k):
            s[i] = trial[i] - x[i]
            change[i] = trial_gradient[i] - gradient[i]
            x[i] = trial[i]
            gradient[i] = trial_gradient[i]
        for i in range(PARAMETERS):
            th[i] = trial_th[i]
        value = trial_value
        found[0], found[1] = -value, after
        _update(hessian, s, change, product)
    return state, spent


@compiled
def scratch(longest: int) -> Floats:
    """Allocate the buffers of windows of up to ``longest`` returns."""
    return np.empty((BUFFERS, longest))
