"""Shortfall: were losses beyond the quantile as large as the expected shortfall said.

What lives here: Acerbi and Szekely's two statistics with simulated laws, McNeil and Frey's excesses, the intercept
regression of Bayer and Dimitriadis. What does not: scores (``scores``), bets (``betting``), closed forms of the
shortfall (``plimsoll.tails``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from plimsoll import tails
from plimsoll.backtests.outcomes import Flags, Floats, Outcome, as_series, check_rate, not_applicable

Z1, Z2 = "Acerbi-Szekely Z1", "Acerbi-Szekely Z2"
MCNEIL_FREY = "McNeil-Frey excess"
INTERCEPT = "shortfall intercept"
LEAST_EXCESSES = 5


@dataclass(frozen=True)
class TailLaw:
    """Law of a return over its expected shortfall beyond the quantile, for a model of location zero and any scale.

    Attributes
    ----------
    p
        Probability beyond the quantile.
    nu
        Degrees of freedom of Student's law; None for the normal.
    """

    p: float
    nu: float | None = None

    @property
    def shortfall(self) -> float:
        """Expected shortfall in standard deviations, positive."""
        return float(tails.normal_es(self.p) if self.nu is None else tails.student_t_es(self.p, self.nu))

    @property
    def quantile(self) -> float:
        """Quantile over the expected shortfall, signed: between -1 and 0."""
        loss = tails.normal_quantile(self.p) if self.nu is None else tails.student_t_quantile(self.p, self.nu)
        return -float(loss) / self.shortfall

    def chance(self, scale: float = 1.0) -> float:
        """Chance of a return beyond the model's quantile when returns are ``scale`` times what the model says."""
        z = self.quantile * self.shortfall / scale
        return float(special.ndtr(z) if self.nu is None else special.stdtr(self.nu, z / self._unit))

    @property
    def _unit(self) -> float:
        return 1.0 if self.nu is None else float(np.sqrt((self.nu - 2) / self.nu))

    def signed(self, size: int, rng: np.random.Generator) -> Floats:
        """Draw whole returns over the expected shortfall, signed."""
        z = rng.standard_normal(size) if self.nu is None else rng.standard_t(self.nu, size) * self._unit
        return np.asarray(z / self.shortfall, dtype=np.float64)

    def ratios(self, size: int, rng: np.random.Generator, *, scale: float = 1.0) -> Floats:
        """Draw r/ES given r below the quantile, positive, when returns are ``scale`` times what the model says."""
        u = rng.random(size) * self.chance(scale)
        z = special.ndtri(u) if self.nu is None else special.stdtrit(self.nu, u) * self._unit
        return np.asarray(-scale * z / self.shortfall, dtype=np.float64)


@dataclass(frozen=True)
class Simulated:
    """Both statistics over many simulated histories; Z1 is NaN in those without an exception, which cannot reject."""

    z1: Floats
    z2: Floats


def _aligned(
    returns: ArrayLike, quantile_return: ArrayLike, es_return: ArrayLike
) -> tuple[Floats, Floats, Floats, Flags]:
    r = as_series("returns", returns)
    v = as_series("quantile_return", quantile_return, len(r))
    e = as_series("es_return", es_return, len(r))
    bad = np.flatnonzero((e >= 0) | (e > v))
    if len(bad):
        row = int(bad[0])
        raise ValueError(f"row {row}: quantile {v[row]}, shortfall {e[row]}; need shortfall <= quantile, negative")
    return r, v, e, r < v


def z1_statistic(returns: ArrayLike, quantile_return: ArrayLike, es_return: ArrayLike) -> float | None:
    r"""Judge size given exceptions, :math:`Z_1 = 1 - \frac1x\sum_t r_t I_t / e_t`; None without an exception.

    Parameters
    ----------
    returns, quantile_return, es_return
        Signed returns, shape (n,); the shortfall e is negative and does not exceed the quantile.
    """
    r, _, e, hit = _aligned(returns, quantile_return, es_return)
    return float(1 - (r[hit] / e[hit]).mean()) if hit.any() else None


def z2_statistic(returns: ArrayLike, quantile_return: ArrayLike, es_return: ArrayLike, p: float) -> float:
    r"""Judge number and size at once, :math:`Z_2 = 1 - \sum_t r_t I_t / (n\,p\,e_t)`; 1 without an exception."""
    check_rate(p)
    r, _, e, hit = _aligned(returns, quantile_return, es_return)
    return float(1 - (r[hit] / e[hit]).sum() / (len(r) * p))


def simulate(law: TailLaw, observations: int, *, draws: int, seed: int, scale: float = 1.0) -> Simulated:
    """Simulate both statistics under a model; only returns beyond the quantile need to be drawn.

    Parameters
    ----------
    law, observations
        Model and number of days.
    draws, seed
        Of the simulation.
    scale
        True volatility over the forecast one: 1 gives critical values, more gives power.
    """
    rng = np.random.default_rng(seed)
    x = rng.binomial(observations, law.chance(scale), draws)
    ratios = law.ratios(int(x.sum()), rng, scale=scale)
    sums = np.bincount(np.repeat(np.arange(draws), x), weights=ratios, minlength=draws)
    z1 = 1 - np.divide(sums, x, out=np.full(draws, np.nan), where=x > 0)
    return Simulated(z1, 1 - sums / (observations * law.p))


def simulate_days(p: float, nu: ArrayLike, *, draws: int, seed: int, scale: float = 1.0) -> Simulated:
    r"""Simulate both statistics where the model's tail differs from day to day, as it does when it is refitted daily.

    Parameters
    ----------
    p
        Probability beyond each day's quantile.
    nu
        Degrees of freedom of each day, shape (n,); NaN is the normal law.
    draws, seed, scale
        As in `simulate`.
    """
    degrees = np.asarray(nu, dtype=np.float64)
    is_normal = np.isnan(degrees)
    safe = np.where(is_normal, 10.0, degrees)
    unit = np.where(is_normal, 1.0, np.sqrt((safe - 2) / safe))
    es = np.where(is_normal, tails.normal_es(p), tails.student_t_es(p, safe))
    loss = np.where(is_normal, tails.normal_quantile(p), tails.student_t_quantile(p, safe))
    chance = np.where(
        is_normal, special.ndtr(-loss / scale), special.stdtr(safe, -loss / (scale * unit))
    )  # of a return beyond the model's quantile, were volatility `scale` times the forecast
    rng = np.random.default_rng(seed)
    rows, days = np.nonzero(rng.random((draws, len(degrees))) < chance)
    u = rng.random(len(days)) * chance[days]
    z = np.where(is_normal[days], special.ndtri(u), special.stdtrit(safe[days], u) * unit[days])
    sums = np.bincount(rows, weights=-scale * z / es[days], minlength=draws)
    x = np.bincount(rows, minlength=draws)
    z1 = 1 - np.divide(sums, x, out=np.full(draws, np.nan), where=x > 0)
    return Simulated(z1, 1 - sums / (len(degrees) * p))


def critical_values(law: TailLaw, observations: int, levels: Sequence[float], *, draws: int, seed: int) -> Floats:
    """Values of Z2 below which the model is rejected at each level; negative."""
    return np.asarray(
        np.quantile(simulate(law, observations, draws=draws, seed=seed).z2, list(levels)), dtype=np.float64
    )


def acerbi_szekely(
    returns: ArrayLike,
    quantile_return: ArrayLike,
    es_return: ArrayLike,
    law: TailLaw,
    *,
    nu: ArrayLike | None = None,
    draws: int,
    seed: int,
) -> tuple[Outcome, Outcome]:
    """Test the shortfall by Z1 and Z2 against their simulated laws; small values reject.

    Parameters
    ----------
    returns, quantile_return, es_return
        Signed returns, shape (n,).
    law
        The model's law on every day.
    nu
        Degrees of freedom of each day where they differ, NaN for the normal; they take the place of the law's.

    Returns
    -------
    tuple of Outcome
        Z1, not applicable without an exception, and Z2.

    Notes
    -----
    Source: Acerbi and Szekely 2014.
    """
    r = as_series("returns", returns)
    if nu is None:
        null = simulate(law, len(r), draws=draws, seed=seed)
    else:
        null = simulate_days(law.p, as_degrees(nu, len(r)), draws=draws, seed=seed)
    second = z2_statistic(r, quantile_return, es_return, law.p)
    outcome = Outcome(Z2, second, float((1 + (null.z2 <= second).sum()) / (draws + 1)))
    first = z1_statistic(r, quantile_return, es_return)
    if first is None:
        return not_applicable(Z1, "no exception"), outcome
    known = null.z1[np.isfinite(null.z1)]
    return Outcome(Z1, first, float((1 + (known <= first).sum()) / (len(known) + 1))), outcome


def as_degrees(nu: ArrayLike, n: int) -> Floats:
    """Degrees of freedom by day, shape (n,), above 2 or NaN for the normal law."""
    degrees = np.asarray(nu, dtype=np.float64)
    if degrees.shape != (n,) or (degrees <= 2).any():
        raise ValueError(f"nu: need {n} values above 2, or NaN for the normal law")
    return degrees


def mcneil_frey(
    returns: ArrayLike,
    quantile_return: ArrayLike,
    es_return: ArrayLike,
    *,
    scale: ArrayLike | None = None,
    draws: int = 0,
    seed: int = 0,
) -> Outcome:
    r"""Test that excesses beyond the shortfall have mean zero, against larger losses.

    .. math:: y_t = (e_t - r_t)/\sigma_t \text{ for } r_t < v_t, \qquad T = \sqrt{x}\,\bar y / s_y

    Parameters
    ----------
    scale
        Volatility, so that the excesses are alike; None takes plain excesses.
    draws
        Of the bootstrap of T over centred excesses; 0 takes the normal law.

    Returns
    -------
    Outcome
        Not applicable below five exceptions, or where the excesses do not vary.

    Notes
    -----
    Source: McNeil and Frey 2000. With few exceptions the normal law rejects too rarely, as excesses are skewed; the
    bootstrap repairs part of it.
    """
    r, _, e, hit = _aligned(returns, quantile_return, es_return)
    unit = np.ones(len(r)) if scale is None else as_series("scale", scale, len(r))
    if (unit <= 0).any():
        raise ValueError(f"scale, row {int(np.flatnonzero(unit <= 0)[0])}: must be positive")
    y = ((e - r) / unit)[hit]
    x = len(y)
    if x < LEAST_EXCESSES:
        return not_applicable(MCNEIL_FREY, f"{x} exceptions: fewer than {LEAST_EXCESSES}")
    if np.ptp(y) <= 1e-12 * np.abs(y).max():
        return not_applicable(MCNEIL_FREY, "the excesses do not vary")
    statistic = float(np.sqrt(x) * y.mean() / y.std(ddof=1))
    if draws == 0:
        return Outcome(MCNEIL_FREY, statistic, float(stats.norm.sf(statistic)))
    sample = (y - y.mean())[np.random.default_rng(seed).integers(0, x, size=(draws, x))]
    spread = sample.std(axis=1, ddof=1)
    # a resample of one value repeated has no t; its sign says which side of the observed value it falls
    drawn = np.sqrt(x) * sample.mean(axis=1) / np.maximum(spread, 1e-12 * np.abs(y).max())
    return Outcome(MCNEIL_FREY, statistic, float((1 + (drawn >= statistic).sum()) / (draws + 1)))


def intercept_regression(
    returns: ArrayLike, es_return: ArrayLike, p: float, *, is_two_sided: bool = False, draws: int = 0, seed: int = 0
) -> Outcome:
    r"""Regress returns less the forecast shortfall on a constant, jointly for quantile and shortfall.

    .. math:: u_t = r_t - e_t, \qquad \hat\beta = \overline{u \mid u \le \hat q}, \qquad
              n\,\mathrm{Var}(\hat\beta) = \frac{\mathrm{Var}(u\mid u\le\hat q) + (1-p)(\hat q-\hat\beta)^2}{p}

    With constants alone the joint regression has a closed form, the sample's quantile and the mean below it, whatever
    consistent score is minimised.

    Parameters
    ----------
    returns, es_return
        Signed returns, shape (n,).
    is_two_sided
        Also reject a shortfall that is too large; one-sided otherwise.
    draws
        Of the bootstrap of the studentised intercept; 0 takes the normal law.

    Returns
    -------
    Outcome
        A negative statistic says that losses were larger than the shortfall. Not applicable where fewer than five days
        lie below the quantile, or where these are all equal.

    Notes
    -----
    Source: Bayer and Dimitriadis 2022, intercept version. Needs no quantile forecast.
    """
    check_rate(p)
    r = as_series("returns", returns)
    u = r - as_series("es_return", es_return, len(r))
    below = int(np.floor(len(u) * p + 1e-9))
    if below < LEAST_EXCESSES:
        return not_applicable(INTERCEPT, f"{below} days below the quantile: fewer than {LEAST_EXCESSES}")
    beta, spread = intercepts(u[None, :], below, p)
    if spread[0] <= 1e-12 * np.abs(u).max():
        return not_applicable(INTERCEPT, "the days below the quantile are all equal")
    statistic = float(beta[0] / spread[0])
    if draws == 0:
        lower, upper = float(stats.norm.cdf(statistic)), float(stats.norm.sf(statistic))
    else:
        sample = u[np.random.default_rng(seed).integers(0, len(u), size=(draws, len(u)))]
        drawn, drawn_spread = intercepts(sample, below, p)
        t = (drawn - beta[0]) / np.maximum(drawn_spread, 1e-12 * np.abs(u).max())
        lower = float((1 + (t <= statistic).sum()) / (draws + 1))
        upper = float((1 + (t >= statistic).sum()) / (draws + 1))
    return Outcome(INTERCEPT, statistic, min(1.0, 2 * min(lower, upper)) if is_two_sided else lower)


def intercepts(u: Floats, below: int, p: float) -> tuple[Floats, Floats]:
    """Intercept of the shortfall and its standard error, one a row."""
    n = u.shape[1]
    lowest = np.partition(u, below - 1, axis=1)[:, :below]
    beta, q = lowest.mean(axis=1), lowest.max(axis=1)
    variance = lowest.var(axis=1, ddof=1) + (1 - p) * (q - beta) ** 2
    return beta, np.sqrt(variance / (n * p))
