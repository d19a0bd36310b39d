"""A second likelihood, written apart from the engine's, and general optimisers from random starts.

What lives here: what the engine is compared with. What does not: the comparison (``volatility``).
"""

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, signal, special

from plimsoll.volatility.batch import BatchSpec

Floats = NDArray[np.float64]


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
