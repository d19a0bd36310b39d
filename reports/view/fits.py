"""Fits: how well the volatility models stand, as tables: those in use, all of them, and why some were refused.

What lives here: the health of fits. What does not: data and gates (``health``), what volatility costs (``pages``).
"""

from typing import Any

import numpy as np
import pandas as pd

from reports import words
from reports.view.inputs import ReportInputs

REFUSAL_ROWS = 20


def in_use(inputs: ReportInputs) -> list[dict[str, str]]:
    """List the fits in use with standard errors, whether arch agrees, and what is out of the ordinary."""
    out = []
    for r in words.records(inputs.fits):
        found = inputs.references[
            (inputs.references["symbol"] == r.symbol) & (inputs.references["fit_end"] == r.fit_end)
        ]
        errors = {} if found.empty else found.iloc[0].to_dict()

        def shown(name: str, value: float, digits: int, errors: dict[str, float] = errors) -> str:
            error = errors.get(f"{name}_std_error", np.nan)
            return words.number(value, digits) + (f" ({words.number(error, digits)})" if np.isfinite(error) else "")

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
                "persistence": words.number(r.persistence, 4),
                "half_life": words.MISSING if words.is_missing(r.half_life_days) else words.number(r.half_life_days, 0),
                "arch": "agrees" if _objection(found) == "" else (words.MISSING if found.empty else "objects"),
                "remark": _remark(r, found),
            }
        )
    return out


def _objection(found: pd.DataFrame) -> str | None:
    return None if found.empty else words.plain(found.iloc[0]["objection"])


def _remark(fit: Any, found: pd.DataFrame) -> str:
    """Say in a line what is out of the ordinary about a fit; empty where nothing is."""
    objection = _objection(found)
    parts = ["integrated, no long-run variance"] if fit.is_igarch else []
    if fit.limits:
        parts.append(f"on a limit: {words.plain(fit.limits)}")
    if not words.is_missing(fit.optimum_gap):
        parts.append(
            f"another optimum {words.number(fit.optimum_gap, 2)} below in log-likelihood with "
            f"{words.number(fit.other_sigma_ratio, 3)} times the volatility"
        )
    if fit.gate_note:
        parts.append(f"refused: {words.plain(fit.gate_note)}")
    if objection is None:
        parts.append("arch has no such rung")
    else:
        parts += [text for text in (objection, words.plain(found.iloc[0]["message"]), _errorless(fit, found)) if text]
    return "; ".join(parts)


def _errorless(fit: Any, found: pd.DataFrame) -> str:
    """Name the parameters without a standard error: at a limit there may be none."""
    names = ["mu", "omega", "alpha", "beta"] + ([] if words.is_missing(fit.nu) else ["nu"])
    row = found.iloc[0]
    bare = [name for name in names if words.is_missing(row[f"{name}_std_error"]) or np.isinf(row[f"{name}_std_error"])]
    return f"no standard error of {words.listing(bare)}" if bare else ""


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
