"""Multiplicity: which markets fail when many are tested at once.

What lives here: control of the false discovery rate by p-values and by e-values. What does not: the tests, and what
markets have in common on a date (``clusters``).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Discoveries:
    """Markets whose model is rejected.

    Attributes
    ----------
    rejected
        Names in the order of the strength of their evidence.
    adjusted
        Adjusted p-value by market (p-values), or e-value as given (e-values).
    left_out
        Markets without a value; they are counted in neither way.
    """

    rejected: tuple[str, ...]
    adjusted: Mapping[str, float]
    left_out: tuple[str, ...]


def benjamini_hochberg(
    p_values: Mapping[str, float | None], *, rate: float = 0.10, is_dependent: bool = False
) -> Discoveries:
    """Hold the share of false rejections below ``rate``.

    Parameters
    ----------
    p_values
        By market; None where the test was not applicable.
    is_dependent
        Use Benjamini and Yekutieli's version, valid under any dependence.

    Raises
    ------
    ValueError
        For a p-value outside [0, 1], NaN included; names the market.

    Notes
    -----
    Source: Benjamini and Hochberg 1995; Benjamini and Yekutieli 2001.
    """
    known = {name: value for name, value in p_values.items() if value is not None}
    for name, value in known.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name}: {value} is no p-value; say None where the test is not applicable")
    left_out = tuple(name for name in p_values if name not in known)
    if not known:
        return Discoveries((), {}, left_out)
    adjusted = stats.false_discovery_control(list(known.values()), method="by" if is_dependent else "bh")
    by_name = {name: float(value) for name, value in zip(known, adjusted, strict=True)}
    ordered = sorted(known, key=lambda name: (by_name[name], known[name], name))
    return Discoveries(tuple(name for name in ordered if by_name[name] <= rate), by_name, left_out)


def e_benjamini_hochberg(e_values: Mapping[str, float | None], *, rate: float = 0.10) -> Discoveries:
    r"""Hold the share of false rejections below ``rate`` under any dependence, by e-values.

    Rejects the k largest, for the largest k with :math:`k\,e_{(k)}/K \ge 1/\text{rate}`.

    Parameters
    ----------
    e_values
        By market: final wealth at a time chosen beforehand or not, never its maximum, which is no e-value.

    Raises
    ------
    ValueError
        For a negative e-value or NaN; names the market.

    Notes
    -----
    Source: Wang and Ramdas 2022.
    """
    known = {name: value for name, value in e_values.items() if value is not None}
    for name, value in known.items():
        if not value >= 0:
            raise ValueError(f"{name}: {value} is no e-value; say None where there is none")
    left_out = tuple(name for name in e_values if name not in known)
    ordered = sorted(known, key=lambda name: (-known[name], name))
    ranks = np.arange(1, len(ordered) + 1)
    enough = ranks * np.array([known[name] for name in ordered]) >= len(ordered) / rate
    last = int(ranks[enough].max()) if enough.any() else 0
    return Discoveries(tuple(ordered[:last]), dict(known), left_out)
