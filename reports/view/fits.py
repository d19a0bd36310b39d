"""Fits: how well the volatility models stand, as tables: those in use, all of them, and why some were refused.

What lives here: the health of fits. What does not: data and gates (``health``), what volatility costs (``pages``).
"""

from typing import Any

import pandas as pd

from reports import words
from reports.view.inputs import ReportInputs

REFUSAL_ROWS = 20


def in_use(inputs: ReportInputs) -> list[dict[str, str]]:
    """List the fits in use with standard errors, constraints, the next best optimum, and the comparison with arch."""
    out = []
    for r in words.records(inputs.fits):
        found = inputs.references[
            (inputs.references["symbol"] == r.symbol) & (inputs.references["fit_end"] == r.fit_end)
        ]
        errors = {} if found.empty else found.iloc[0].to_dict()

        def shown(name: str, value: float, digits: int, errors: dict[str, float] = errors) -> str:
            error = errors.get(f"{name}_std_error")
            return words.number(value, digits) + (
                f" ({words.number(error, digits)})" if not words.is_missing(error) else ""
            )

        is_integrated = bool(r.is_igarch)
        out.append(
            {
                "symbol": words.plain(r.symbol),
                "rung": str(r.rung).replace("_", " "),
                "fit_end": words.day(r.fit_end),
                "mu": shown("mu", r.mu_percent, 4),
                "omega": shown("omega", r.omega_percent2, 4),
                "alpha": shown("alpha", r.alpha, 4),
                "beta": shown("beta", r.beta, 4),
                "nu": words.MISSING if words.is_missing(r.nu) else shown("nu", r.nu, 2),
                "persistence": words.number(r.persistence, 4) + (" IGARCH" if is_integrated else ""),
                "half_life": words.MISSING if words.is_missing(r.half_life_days) else words.number(r.half_life_days, 0),
                "limits": words.plain(r.limits) or "none",
                "other": _other(r.optimum_gap, r.other_sigma_ratio),
                "arch": _against_arch(found),
                "note": words.plain(r.gate_note),
            }
        )
    return out


def _other(gap: float, ratio: float) -> str:
    if words.is_missing(gap):
        return "none met"
    return f"{words.number(gap, 2)} below, vol × {words.number(ratio, 3)}"


def _against_arch(found: pd.DataFrame) -> str:
    if found.empty:
        return "no such rung"
    row = found.iloc[0]
    return "agrees" if row["objection"] == "" else words.plain(row["objection"])


def health(inputs: ReportInputs) -> list[dict[str, str]]:
    """Summarise all fits of each market: those of the last year, and all."""
    out = []
    for symbol, own in inputs.fit_health.groupby("symbol", sort=True):
        spans = {row["span"]: row for row in own.to_dict("records")}
        pair = [spans.get("year"), spans.get("all")]

        def both(column: str, digits: int | None = None, pair: list[Any] = pair) -> str:
            cells = []
            for row in pair:
                value = None if row is None else row[column]
                if words.is_missing(value):
                    cells.append(words.MISSING)
                else:
                    cells.append(words.percent(value, 1) if digits is None else words.number(value, digits))
            return " / ".join(cells)

        counts = [words.MISSING if row is None else words.count(int(row["fits"])) for row in pair]
        out.append(
            {
                "symbol": words.plain(symbol),
                "fits": " / ".join(counts),
                "first": both("first_rung_share"),
                "igarch": both("igarch_share"),
                "limit": both("limit_share"),
                "second": both("second_optimum_share"),
                "persistence": both("persistence_median", 4),
                "half_life": both("half_life_median", 0),
                "nu": both("nu_median", 1),
                "nu_least": both("nu_least", 1),
                "unexplained": both("unexplained_share"),
            }
        )
    return out


def refusals(inputs: ReportInputs) -> list[dict[str, str]]:
    """Count why fits of the last year did not stand on the rung that was asked for."""
    return [
        {
            "symbol": words.plain(r.symbol),
            "fits": words.count(int(r.fits)),
            "newest": words.day(r.newest),
            "rung": str(r.rung).replace("_", " "),
            "refusal": words.plain(r.refusal),
        }
        for r in words.records(inputs.refusals.head(REFUSAL_ROWS))
    ]
