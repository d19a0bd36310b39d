"""Attribution: which driver moved a published parameter by how many basis points, summing exactly.

What lives here: the logarithmic mean, the split of a product and of a sum, and the drivers between two rows of the
threshold table. What does not: the rows themselves (``budget``), differences of two methods (``differences``).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from plimsoll import liquidation

Floats = NDArray[np.float64]
Row = Mapping[str, Any] | pd.Series

BPS = 10_000
CLOSES = 1e-9
"""Log budget, or basis points, up to which a sum of parts equals its whole."""
SAME = 1e-13
"""Relative distance of two factors that is rounding."""
ROUNDED = 1e-4
"""Basis points by which a value may lie beyond what the budget carries and still be on its grid."""

MARKET = ("volatility", "tail", "shortfall", "latency", "exponent", "oracle", "slippage", "fee", "model")
PARTS = ("move", "oracle", "slippage", "fee", "model")
POLICY = ("sigma_smoothing", "budget_smoothing", "bonus", "cap", "step_limit")
DRIVERS = (*MARKET, *POLICY, "rounding")
"""Every driver, in the order of the rows; `Attribution.grouped` sums ``POLICY`` to one, and tail and shortfall."""
UNITS = {
    "volatility": "fraction a day",
    "sigma_smoothing": "ratio",
    "tail": "sigmas",
    "shortfall": "ratio",
    "latency": "hours",
    "exponent": "power",
    "cap": "bps",
    "step_limit": "bps",
    "rounding": "bps",
}
"""Units of ``before`` and ``after``; all others are log budget."""


def log_mean(a: ArrayLike, b: ArrayLike) -> Floats:
    r"""Logarithmic mean, :math:`L(a,b) = (a-b)/\ln(a/b)`.

    Parameters
    ----------
    a, b
        Not negative; broadcast. NaN gives NaN.

    Returns
    -------
    ndarray
        Symmetric to the bit; a where a equals b, 0 where either is 0.

    Raises
    ------
    ValueError
        For a negative value.

    Notes
    -----
    Source: Ang and Liu 2001.
    """
    one, other = np.broadcast_arrays(np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64))
    if (one < 0).any() or (other < 0).any():
        raise ValueError(f"log mean of {np.nanmin([one.min(), other.min()]):g}: only of values that are not negative")
    low, high = np.minimum(one, other), np.maximum(one, other)
    is_open = low > 0
    ratio = np.log(np.where(is_open, high, 1.0) / np.where(is_open, low, 1.0))
    mean = low * np.asarray(special.exprel(ratio), dtype=np.float64)
    return np.where(is_open | np.isnan(low), mean, 0.0)


def split_product(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    r"""Split the change of a product among its factors.

    .. math:: \Delta X = \sum_f L(X_1, X_0)\,\ln\frac{f_1}{f_0}, \qquad X = \prod_f f

    Parameters
    ----------
    before, after
        Factors by name, not negative, the same names.

    Returns
    -------
    dict
        Contributions; they sum to the change of the product, are 0 for a factor that did not change, and change sign
        when the sides are swapped. Where a product is 0 on one side, the factors that are 0 there share the change
        evenly: the limit of factors that vanish at the same rate.

    Raises
    ------
    ValueError
        Where the names differ or a factor is negative or unknown.

    Notes
    -----
    The logarithmic mean Divisia index. Source: Ang 2004.
    """
    if before.keys() != after.keys():
        raise ValueError(f"factors {sorted(before)} before and {sorted(after)} after; give the same names")
    for side in (before, after):
        bad = [name for name, value in side.items() if not (np.isfinite(value) and value >= 0)]
        if bad:
            raise ValueError(f"factor {bad[0]} is {side[bad[0]]}: a product is split among known values, none negative")
    whole_before, whole_after = math.prod(before.values()), math.prod(after.values())
    if whole_before > 0 and whole_after > 0:
        mean = float(log_mean(whole_after, whole_before))
        return {f: mean * _log_ratio(after[f], before[f]) for f in before}
    vanished = before if whole_before == 0 else after
    zeros = [f for f in before if vanished[f] == 0]
    each = (whole_after - whole_before) / len(zeros) if zeros else 0.0
    return {f: each if f in zeros else 0.0 for f in before}


def _log_ratio(after: float, before: float) -> float:
    """Log of a ratio, odd in its arguments to the bit."""
    return math.log(after / before) if after >= before else -math.log(before / after)


@dataclass(frozen=True)
class Form:
    r"""How a parameter follows from the budget: :math:`a + s\,e^{q\Lambda}`."""

    offset: float
    sign: int
    power: int

    def value(self, total: float) -> float:
        """Parameter at a log budget, fraction."""
        return self.offset + self.sign * math.exp(self.power * total)

    def slope(self, total_before: float, total_after: float) -> float:
        r"""Parameter per unit of budget between two budgets: :math:`s\,q\,L(e^{q\Lambda_1}, e^{q\Lambda_0})`.

        Times the change of the budget it is exactly the change of the parameter, and it is defined without a change.
        """
        ends = math.exp(self.power * total_after), math.exp(self.power * total_before)
        return self.sign * self.power * float(log_mean(*ends))


def form_of(product: str, side: str, *, is_inverse: bool = False) -> Form:
    r"""Form of the leading parameter: LT or maintenance margin.

    Parameters
    ----------
    product
        ``lending`` (:math:`e^{-\Lambda}` on both sides) or ``perpetual``.
    side
        ``long`` or ``short``; a linear margin is :math:`1-e^{-\Lambda}` or :math:`e^{\Lambda}-1`.
    is_inverse
        A coin-margined perpetual, whose sides change places.

    Raises
    ------
    ValueError
        For another product or side.
    """
    if side not in ("long", "short"):
        raise ValueError(f"side {side!r}: say 'long' or 'short'")
    if product == "lending":
        return Form(0.0, 1, -1)
    if product != "perpetual":
        raise ValueError(f"product {product!r}: say 'lending' or 'perpetual'")
    return Form(1.0, -1, -1) if (side == "long") != is_inverse else Form(-1.0, 1, 1)


@dataclass(frozen=True)
class Driver:
    """One driver of a change.

    Attributes
    ----------
    driver
        One of ``DRIVERS``.
    contribution_bps
        Basis points of the parameter, signed as the parameter moves.
    before, after
        The driver's own value on the two days, in ``unit``; for stages of policy and rounding, the basis points that
        the stage adds to the one before.
    unit
        Of ``before`` and ``after``.
    """

    driver: str
    contribution_bps: float
    before: float
    after: float
    unit: str


@dataclass(frozen=True)
class Attribution:
    """A change of a published parameter, driver by driver.

    Attributes
    ----------
    parameter
        ``lt_bps`` or ``mm_bps``.
    before_bps, after_bps
        Published values, or those in force.
    drivers
        One a driver, in the order of ``DRIVERS``; the contributions sum to the change.
    """

    parameter: str
    before_bps: int
    after_bps: int
    drivers: tuple[Driver, ...]

    @property
    def change_bps(self) -> int:
        """Published change, basis points."""
        return self.after_bps - self.before_bps

    def grouped(self) -> dict[str, float]:
        """Contributions with every policy stage summed to ``policy`` and shortfall to ``tail``; basis points."""
        own = {d.driver: d.contribution_bps for d in self.drivers}
        policy = math.fsum(own[name] for name in POLICY)
        own["tail"] += own.pop("shortfall")
        return {name: own[name] for name in MARKET if name in own} | {"policy": policy, "rounding": own["rounding"]}

    def frame(self) -> pd.DataFrame:
        """Return one row a driver: ``driver, contribution_bps, before, after, unit``."""
        return pd.DataFrame([vars(driver) for driver in self.drivers])


def attribute(
    before: Row,
    after: Row,
    *,
    is_inverse: bool = False,
    grid_bps: int | None = None,
    in_force_bps: tuple[int, int] | None = None,
) -> Attribution:
    r"""Attribute the change of the leading parameter between two rows of the threshold table.

    .. math::

        \Delta\Lambda = \sum_f L(X_1,X_0)\ln\frac{f_1}{f_0} + \Delta\lambda_\delta + \Delta\lambda_s + \Delta\lambda_f
        + \Delta\lambda_m, \qquad X = k\,\frac{X}{X_p}\,\sigma\,(\tau/24h)^\eta

    Each part of the budget becomes basis points of the parameter by `Form.slope`. What lies between what the budget
    carries and what is published follows stage by stage, each as the change of what it adds: cap, rounding, step limit.

    Parameters
    ----------
    before, after
        Rows of one symbol, product and side: ``product, side, binding, k, sigma_eff_daily, horizon_hours, eta,
        lambda_move, lambda_oracle, lambda_slippage, lambda_fee, lambda_model, lambda_total`` and ``lt_bps, bonus_bps``
        or ``mm_bps``. Where both have them also ``sigma_daily`` (the raw forecast, which splits what smoothing does to
        volatility from volatility) and ``lambda_smoothing`` (what a buffer or blend adds to the budget, part of
        ``lambda_total``).
    is_inverse
        A coin-margined perpetual.
    grid_bps
        Grid of the parameter; checked against the rounding where given.
    in_force_bps
        What stood before and after, where the published target was clipped by step limits or held: the change of that
        is attributed, and ``step_limit`` is what lies between target and value in force.

    Returns
    -------
    Attribution
        Contributions sum to the published change within 1e-9 basis points. Identical rows give zeros.

    Raises
    ------
    ValueError
        Where the rows are of different sets, one is withheld, its parts do not sum to its budget, or it is published
        looser than its budget carries or further than the grid from it. Names the row.

    Notes
    -----
    ``tail`` is the quantile k and ``shortfall`` the ratio :math:`X/X_p`, 1 where the quantile binds; together they are
    the effective number of sigmas. Where the expected shortfall binds, the ratio moves with the shape of the tail, and
    with volatility too: a fixed budget of bad debt is stricter for a wider law. Exponent and horizon share what they do
    together evenly, also across a day, beyond which the exponent is at least one half.

    The threshold of a loan is :math:`e^{-(X+\lambda_\delta+\lambda_m)}/(1+b)`, so that ``bonus`` is the log part
    :math:`\ln(1+b) - \lambda_s - \lambda_f`: what the bonus takes beyond slippage and fee (protocol's share, grid, a
    bonus fixed by governance). A fixed bonus takes back what slippage and fee contribute. On a day on which the cap
    binds, the whole way from the budget's threshold to the published one is ``cap``.

    Sources: Ang 2004 for the split, Ang and Liu 2001 for the logarithmic mean.
    """
    name, parameter, form = _checked(before, after, is_inverse)
    slope = BPS * form.slope(_charged(before), _charged(after))
    parts, ends = _budget_parts(before, after)
    found = {driver: slope * part for driver, part in parts.items()}
    targets = int(before[parameter]), int(after[parameter])
    stages = [
        _stages(row, parameter, form, target, grid_bps, f"{name} {when}")
        for row, target, when in ((before, targets[0], "before"), (after, targets[1], "after"))
    ]
    published = targets if in_force_bps is None else in_force_bps
    for stage, target, value in zip(stages, targets, published, strict=True):
        stage["step_limit"] = float(value - target)
    for driver in ("cap", "step_limit"):
        found[driver] = stages[1][driver] - stages[0][driver]
    change = published[1] - published[0]
    rounding = change - math.fsum(found.values())
    if abs(rounding - (stages[1]["rounding"] - stages[0]["rounding"])) > CLOSES:
        raise ValueError(f"{name}: parts miss the change of {change} bps by more than {CLOSES:g}; report this row")
    found["rounding"] = rounding
    for driver in ("cap", "step_limit", "rounding"):
        ends[driver] = stages[0][driver], stages[1][driver]
    drivers = tuple(
        Driver(d, found[d], float(ends[d][0]), float(ends[d][1]), UNITS.get(d, "log budget")) for d in DRIVERS
    )
    return Attribution(parameter, int(published[0]), int(published[1]), drivers)


def _checked(before: Row, after: Row, is_inverse: bool) -> tuple[str, str, Form]:
    """Name of the set, its leading parameter and form; refuses rows that cannot be compared."""
    for key in ("symbol", "product", "side"):
        if key in before and key in after and before[key] != after[key]:
            raise ValueError(f"{key} {before[key]!r} before and {after[key]!r} after; attribute rows of one set")
    product, side = str(before["product"]), str(before["side"])
    name = f"{before.get('symbol', '')} {product} {side}".strip()
    form = form_of(product, side, is_inverse=is_inverse)
    parameter = "lt_bps" if product == "lending" else "mm_bps"
    for row, when in ((before, "before"), (after, "after")):
        if pd.isna(row[parameter]) or pd.isna(row["lambda_total"]):
            note = str(row["note"]) if row.get("note") else "no value"
            raise ValueError(f"{name} {when}: {parameter} is withheld ({note}); attribute between published rows")
        gap = _total(row) - float(row["lambda_total"])
        if not abs(gap) <= CLOSES:
            raise ValueError(f"{name} {when}: parts miss lambda_total by {gap:g}; rebuild the row")
        sigma, move = float(row["sigma_eff_daily"]), float(row["lambda_move"])
        if not (float(row["horizon_hours"]) > 0 and sigma >= 0 and move >= 0) or (sigma == 0 and move > 0):
            raise ValueError(
                f"{name} {when}: a move of {move:g} does not follow from volatility {sigma:g} and a horizon of "
                f"{row['horizon_hours']:g} h; rebuild the row"
            )
    return name, parameter, form


def _total(row: Row) -> float:
    """Log budget as the sum of its parts."""
    return math.fsum([*(float(row[f"lambda_{part}"]) for part in PARTS), _smoothing(row)])


def _bonus(row: Row) -> float:
    """Log budget that the bonus takes beyond slippage and fee; a perpetual has none."""
    if str(row["product"]) != "lending":
        return 0.0
    return math.log1p(float(row["bonus_bps"]) / BPS) - float(row["lambda_slippage"]) - float(row["lambda_fee"])


def _charged(row: Row) -> float:
    """Log budget from which the parameter follows: for lending with the bonus in place of slippage and fee."""
    return math.fsum([_total(row), _bonus(row)])


def _smoothing(row: Row) -> float:
    return float(row["lambda_smoothing"]) if "lambda_smoothing" in row else 0.0


def _unit(horizon_hours: float, eta: float) -> float:
    """Scale of a move over the horizon, by the rule of `liquidation.adverse_move`."""
    return float(liquidation.adverse_move(k=1.0, sigma_eff=1.0, horizon_hours=horizon_hours, eta=eta))


def _budget_parts(before: Row, after: Row) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Parts of the change of the budget, and the drivers' own values."""
    rows = (before, after)
    sigmas, horizons, etas = (
        tuple(float(row[column]) for row in rows) for column in ("sigma_eff_daily", "horizon_hours", "eta")
    )
    has_raw = all("sigma_daily" in row and row["sigma_daily"] > 0 for row in rows)
    raw = tuple(float(row["sigma_daily"]) for row in rows) if has_raw else sigmas
    ratios = tuple(s / r if has_raw else 1.0 for s, r in zip(sigmas, raw, strict=True))
    units = tuple(_unit(h, e) for h, e in zip(horizons, etas, strict=True))
    tails = tuple(_tail_factors(row, unit) for row, unit in zip(rows, units, strict=True))
    log_horizon, log_exponent = _log_scale(horizons, etas)
    # Horizon and exponent make one scale; after it, each carries its own share of the change.
    scales = {"latency": (units[0], units[0] * math.exp(log_horizon)), "exponent": (1.0, math.exp(log_exponent))}
    factors = [
        {"volatility": raw[i], "sigma_smoothing": ratios[i], "tail": tails[i][0], "shortfall": tails[i][1]}
        | {driver: scale[i] for driver, scale in scales.items()}
        for i in (0, 1)
    ]
    split = split_product(factors[0], factors[1])
    ends = {
        "volatility": raw,
        "sigma_smoothing": ratios,
        "tail": tuple(k for k, _ in tails),
        "shortfall": tuple(ratio for _, ratio in tails),
        "latency": horizons,
        "exponent": etas,
        "budget_smoothing": (_smoothing(before), _smoothing(after)),
        "bonus": (_bonus(before), _bonus(after)),
    }
    for driver in ("oracle", "slippage", "fee", "model"):
        ends[driver] = (float(before[f"lambda_{driver}"]), float(after[f"lambda_{driver}"]))
    for driver in ("oracle", "slippage", "fee", "model", "budget_smoothing", "bonus"):
        split[driver] = ends[driver][1] - ends[driver][0]
    return split, {driver: (values[0], values[1]) for driver, values in ends.items()}


def _tail_factors(row: Row, unit: float) -> tuple[float, float]:
    """Quantile in sigmas, and the move over the quantile's; exactly the quantile and 1 where it binds."""
    move, scale = float(row["lambda_move"]), float(row["sigma_eff_daily"]) * unit
    k = float(row["k"]) if "k" in row and not pd.isna(row["k"]) else 0.0
    if scale == 0:
        return k, 1.0
    implied = move / scale
    if k <= 0 or move == 0:
        return implied, 1.0
    return k, 1.0 if abs(implied - k) <= SAME * k else implied / k


def _log_scale(horizons: tuple[float, ...], etas: tuple[float, ...]) -> tuple[float, float]:
    """Change of the log scale by the horizon and by the exponent, each the mean over both orders."""
    scale = [[math.log(_unit(h, e)) for e in etas] for h in horizons]
    by_horizon = 0.5 * ((scale[1][0] - scale[0][0]) + (scale[1][1] - scale[0][1]))
    by_exponent = 0.5 * ((scale[0][1] - scale[0][0]) + (scale[1][1] - scale[1][0]))
    return by_horizon, by_exponent


def _stages(row: Row, parameter: str, form: Form, target: int, grid_bps: int | None, name: str) -> dict[str, float]:
    """Basis points that each stage between what the budget carries and the published target adds."""
    carried = BPS * form.value(_charged(row))
    gap = target - carried
    is_capped = str(row["binding"]) == "cap"
    looser = gap if parameter == "lt_bps" else -gap
    if looser > ROUNDED:
        raise ValueError(f"{name}: {parameter} {target} is looser than the {carried:.2f} bps that its budget carries")
    if grid_bps is not None and not is_capped and abs(gap) > grid_bps + ROUNDED:
        raise ValueError(f"{name}: {parameter} {target} lies {abs(gap):.2f} bps from its budget, grid {grid_bps}")
    return {"cap": gap if is_capped else 0.0, "rounding": 0.0 if is_capped else gap}
