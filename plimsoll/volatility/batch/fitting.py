"""All windows of all markets in one call.

What lives here: the checks of what is asked, the division of windows into chains, the threads, and the choice
among the optima of a window. What does not: the chains themselves (``chains``).

Chains begin at fixed ends whatever is asked and however many threads there are, and none reads what another
writes. Results are therefore the same to the bit for any number of threads, and for a walk that goes on where an
earlier one stopped (`resumption`).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from plimsoll.volatility.batch import chains, kernels, optimiser
from plimsoll.volatility.batch.jit import settle
from plimsoll.volatility.batch.types import BatchFits, BatchSpec

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
T = TypeVar("T")

LEAST_OBSERVATIONS = 20
CHAIN = 125  # ends
FRESH = {kernels.NORMAL: 3, kernels.STUDENT: 2, kernels.SKEWED: 2}  # starts a window; normal optima are the more
IGARCH = 0.9995
_LAWS = {"normal": kernels.NORMAL, "student_t": kernels.STUDENT, "skew_t": kernels.SKEWED}
_AT = 1e-9  # of a limit
_NEAR = 1e-6  # the same for omega, whose limits follow the variance of the window


@dataclass(frozen=True)
class _Store:
    """Optima of all windows: what the chains fill."""

    starts: Integers
    ends: Integers
    params: Floats
    measures: Floats
    counts: Integers
    spent: Integers


@dataclass(frozen=True)
class _Chain:
    """Rows [first, last) of the store, all of one series; whether they go on from the rows before."""

    series: int
    first: int
    last: int
    goes_on: bool


def fit_windows(
    series: Sequence[Floats], ends: Sequence[Integers], window: int, spec: BatchSpec, *, threads: int = 2
) -> BatchFits:
    """Fit a model to every window of every series by maximum likelihood.

    Parameters
    ----------
    series
        Percent log returns, each of shape (n,), finite.
    ends
        Exclusive ends of the windows of each series, increasing. A window holds the last ``window`` returns
        before its end, and what there is where the history is shorter.
    window
        Rolling length.
    spec
        The model.
    threads
        Threads; no result depends on them.

    Returns
    -------
    BatchFits
        One row a window. The fit of a window depends on no return after its end.

    Raises
    ------
    ValueError
        A return that is not finite, by series and position; ends outside their series, not increasing, or with
        fewer than 20 returns before them.

    Notes
    -----
    Likelihood, start of the recursion, variance bounds and constraints are those of ``arch``.
    """
    law, gjr = _law_of(spec), spec.volatility == "gjr"
    if threads < 1:
        raise ValueError(f"threads is {threads}; give 1 or more")
    returns, stops = _checked(series, ends, window)
    settle()
    owner = np.repeat(np.arange(len(stops)), [len(one) for one in stops]).astype(np.int64)
    all_ends = np.concatenate([*stops, np.empty(0, dtype=np.int64)])
    rows = len(all_ends)
    store = _Store(
        starts=np.maximum(all_ends - window, 0),
        ends=all_ends,
        params=np.full((rows, chains.KEPT, kernels.PARAMETERS), np.nan),
        measures=np.full((rows, chains.KEPT, chains.MEASURES), np.nan),
        counts=np.zeros(rows, dtype=np.int64),
        spent=np.zeros(rows, dtype=np.int64),
    )
    _run(store, _chains_of(stops), returns, gjr=gjr, law=law, threads=threads)
    return _result(store, owner, _variances(store, owner, returns), gjr=gjr, law=law)


def resumption(end: int) -> int:
    """Give the first end to ask for, so that windows from ``end`` on come out as in a call from the beginning.

    Parameters
    ----------
    end
        Exclusive end of the first window that matters.

    Returns
    -------
    int
        Ends from there on must be those of the call from the beginning; where that call began later, its first.

    Notes
    -----
    A chain begins at each multiple of ``CHAIN`` and is afterwards joined to the one before: two chains decide.
    """
    return max((end // CHAIN - 1) * CHAIN, LEAST_OBSERVATIONS)


def _law_of(spec: BatchSpec) -> int:
    """Give the code of the innovations, or say what is wrong with the specification."""
    if spec.volatility not in ("garch", "gjr"):
        raise ValueError(f"volatility is {spec.volatility!r}; give garch or gjr")
    if spec.innovations not in _LAWS:
        raise ValueError(f"innovations are {spec.innovations!r}; give one of {', '.join(_LAWS)}")
    return _LAWS[spec.innovations]


def _checked(series: Sequence[Floats], ends: Sequence[Integers], window: int) -> tuple[list[Floats], list[Integers]]:
    """Copy what is asked into plain arrays, or say what is wrong with it."""
    if len(series) != len(ends):
        raise ValueError(f"{len(series)} series but ends of {len(ends)}; give ends for each series")
    if window < LEAST_OBSERVATIONS:
        raise ValueError(f"window is {window}; a fit needs {LEAST_OBSERVATIONS} returns or more")
    returns, stops = [], []
    for number, (one, its_ends) in enumerate(zip(series, ends, strict=True)):
        values = np.array(one, dtype=np.float64, order="C")
        if values.ndim != 1:
            raise ValueError(f"series {number} has {values.ndim} dimensions; give one")
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise ValueError(f"series {number} is not finite at position {bad[0]} ({values[bad[0]]})")
        wanted = np.array(its_ends, dtype=np.int64, order="C")
        if wanted.ndim != 1 or np.any(np.diff(wanted) <= 0):
            raise ValueError(f"ends of series {number} do not increase")
        if len(wanted) and (wanted[0] < LEAST_OBSERVATIONS or wanted[-1] > len(values)):
            raise ValueError(
                f"ends of series {number} run from {wanted[0]} to {wanted[-1]}; "
                f"they must lie between {LEAST_OBSERVATIONS} and {len(values)}"
            )
        returns.append(values)
        stops.append(wanted)
    return returns, stops


def _chains_of(ends: Sequence[Integers]) -> list[_Chain]:
    """Cut the rows of each series into chains at fixed ends, whatever the first of them is."""
    out, base = [], 0
    for number, one in enumerate(ends):
        cuts = np.flatnonzero(np.diff(one // CHAIN)) + 1
        edges = [0, *cuts.tolist(), len(one)] if len(one) else []
        out += [_Chain(number, base + first, base + last, first > 0) for first, last in pairwise(edges)]
        base += len(one)
    return out


def _run(
    store: _Store, parts: Sequence[_Chain], returns: Sequence[Floats], *, gjr: bool, law: int, threads: int
) -> None:
    """Follow all chains, then carry the last optima of each into the next."""

    def follow(part: _Chain) -> None:
        rows = slice(part.first, part.last)
        chains.follow(
            gjr,
            law,
            returns[part.series],
            store.starts[rows],
            store.ends[rows],
            FRESH[law],
            chains.STARTS,
            store.params[rows],
            store.measures[rows],
            store.counts[rows],
            store.spent[rows],
        )

    def resume(joint: tuple[_Chain, Floats, Floats, int]) -> None:
        part, params, measures, count = joint
        rows = slice(part.first, part.last)
        chains.resume(
            gjr,
            law,
            returns[part.series],
            store.starts[rows],
            store.ends[rows],
            params,
            measures,
            count,
            store.params[rows],
            store.measures[rows],
            store.counts[rows],
            store.spent[rows],
        )

    with ThreadPoolExecutor(threads) as pool:
        _each(pool, follow, parts)
        # Copies, because a chain writes its last row while the next one reads it.
        joints = [
            (
                part,
                store.params[part.first - 1].copy(),
                store.measures[part.first - 1].copy(),
                int(store.counts[part.first - 1]),
            )
            for part in parts
            if part.goes_on
        ]
        _each(pool, resume, joints)


def _each(pool: ThreadPoolExecutor, work: Callable[[T], None], parts: Sequence[T]) -> None:
    """Do all parts and raise what any of them raised."""
    for _ in pool.map(work, parts):
        pass


def _result(store: _Store, owner: Integers, variance: Floats, *, gjr: bool, law: int) -> BatchFits:
    """Choose the best optimum of each window and name its parameters."""
    rows = np.arange(len(owner))
    known = np.arange(chains.KEPT)[None, :] < store.counts[:, None]
    value = np.where(known, store.measures[:, :, chains.VALUE], -np.inf)
    best = np.argmax(value, axis=1)
    moves = store.counts > 0
    th = np.where(moves[:, None], store.params[rows, best], np.nan)
    measure = np.where(moves[:, None], store.measures[rows, best], np.nan)
    mu, omega, gain, loss, beta, nu, lam = (np.ascontiguousarray(column) for column in th.T)
    persistence = 0.5 * (gain + loss) + beta
    nothing = np.full(len(rows), np.nan)
    value[rows, best] = -np.inf
    other = np.argmax(value, axis=1)
    is_other = store.counts > 1
    return BatchFits(
        series=owner,
        end=store.ends,
        observations=store.ends - store.starts,
        mu=mu,
        omega=omega,
        alpha=gain,
        gamma=loss - gain if gjr else np.where(moves, 0.0, np.nan),
        beta=beta,
        nu=nu if law >= kernels.STUDENT else nothing,
        lam=lam if law == kernels.SKEWED else nothing.copy(),
        loglikelihood=measure[:, chains.VALUE].copy(),
        sigma2_next=measure[:, chains.AFTER].copy(),
        persistence=persistence,
        limits=np.where(moves, _limits(th, variance, gjr=gjr, law=law), 0),
        is_igarch=(persistence >= IGARCH) & moves,
        is_converged=moves & (measure[:, chains.STATE] == optimiser.CONVERGED),
        evaluations=store.spent,
        optimum_gap=np.where(is_other, measure[:, chains.VALUE] - value[rows, other], np.nan),
        sigma2_other=np.where(is_other, store.measures[rows, other, chains.AFTER], np.nan),
    )


def _variances(store: _Store, owner: Integers, returns: Sequence[Floats]) -> Floats:
    """Give the variance of each window."""
    out = np.full(len(owner), np.nan)
    for number, one in enumerate(returns):
        rows = owner == number
        first, last = store.starts[rows], store.ends[rows]
        centred = one - one.mean() if len(one) else one
        sums = np.concatenate([[0.0], np.cumsum(centred)])
        squares = np.concatenate([[0.0], np.cumsum(centred**2)])
        n = last - first
        out[rows] = (squares[last] - squares[first]) / n - ((sums[last] - sums[first]) / n) ** 2
    return out


def _limits(th: Floats, variance: Floats, *, gjr: bool, law: int) -> Integers:
    """Say which constraints hold, one bit each, in the order of ``LIMITS``."""
    _, omega, gain, loss, beta, nu, lam = th.T
    most = optimiser.NU_MOST_STUDENT if law == kernels.STUDENT else optimiser.NU_MOST_SKEWED
    never = np.zeros(len(th), dtype=bool)
    holds = (
        gain <= _AT,
        (loss <= _AT) if gjr else never,
        beta <= _AT,
        0.5 * (gain + loss) + beta >= 1.0 - _AT,
        (omega <= optimiser.OMEGA_LEAST * variance * (1 + _NEAR))
        | (omega >= optimiser.OMEGA_MOST * variance * (1 - _NEAR)),
        ((nu <= optimiser.NU_LEAST * (1 + _AT)) | (nu >= most * (1 - _AT))) if law >= kernels.STUDENT else never,
        (np.abs(lam) >= optimiser.SKEW_MOST - _AT) if law == kernels.SKEWED else never,
    )
    out = np.zeros(len(th), dtype=np.int64)
    for bit, at in enumerate(holds):
        out |= at.astype(np.int64) << bit
    return out
