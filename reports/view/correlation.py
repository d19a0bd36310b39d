"""Correlation: one matrix of today, one of the lead market's worst days, and the extremes of tail dependence.

What lives here: which markets are shown, shades, legends and the sentences around them. What does not: the measures
(``plimsoll.correlation``), looks (``templates``).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from reports import words
from reports.view.inputs import ReportInputs

SHOWN = 10
"""Markets in the printed matrices."""
NAMED = 6
"""So many short names fit above the columns; beyond, columns are numbered."""
SHORT = 6
STALE_DAYS = 10
STEPS = (0.2, 0.4, 0.6, 0.8)
WARNING = (
    "No diversification is credited. Every threshold in this report stands as if its market stood alone: in a crash, "
    "correlations rise toward one, and collateral that was spread falls together. These numbers only describe."
)
FIELDS = {
    "dynamic": "dcc",
    "all_days": "ccc",
    "shrunk": "ledoit_wolf",
    "stress": "stress",
    "stress_if_unchanged": "stress_expected",
    "tail_dependence": "tail_dependence_t",
    "tail_dependence_counted": "tail_dependence_empirical",
}
"""Names in ``decision.json`` and the measures behind them."""


@dataclass(frozen=True)
class MatrixTable:
    """A matrix as a table: heads of the columns, and rows of a name and cells of text and shade."""

    title: str
    legend: str
    heads: list[str]
    rows: list[tuple[str, list[tuple[str, str]]]]


@dataclass(frozen=True)
class CorrelationView:
    """The section: a warning, two matrices as printed and whole, and sentences."""

    warning: str
    tables: list[MatrixTable]
    whole: list[MatrixTable]
    left_out: str
    sentences: list[str]
    notes: list[str]


def section(inputs: ReportInputs) -> CorrelationView | None:
    """Build the section; None where there are fewer than two markets or nothing is stored of the day."""
    symbols = [m.symbol for m in inputs.markets]
    rows = _of(inputs, symbols)
    if len(symbols) < 2 or rows.empty:
        return None
    name = "dcc" if _matrix(rows, "dcc", symbols).notna().to_numpy().any() else "ledoit_wolf"
    kept = _kept(_matrix(rows, name, symbols), symbols, inputs.stress_lead)
    left = len(symbols) - len(kept)
    return CorrelationView(
        warning=WARNING,
        tables=_tables(inputs, rows, name, kept),
        whole=_tables(inputs, rows, name, symbols),
        left_out=f"The {len(kept)} markets that move most with the others are shown; {left} more are left out. Every pair is in report.html and in decision.json."
        if left
        else "",
        sentences=[s for s in (_means(inputs, rows, name), _tails(rows)) if s],
        notes=_notes(inputs, rows, name),
    )


def records(inputs: ReportInputs) -> list[dict[str, Any]]:
    """List the pairs of the day for machines, every measure rounded to six decimals, null where data are too few."""
    rows = _of(inputs, [m.symbol for m in inputs.markets])
    out = []
    for (one, other), own in rows.groupby(["symbol", "other_symbol"], sort=True, observed=True):
        values = dict(zip(own["measure"], own["value"], strict=True))
        days = dict(zip(own["measure"], own["observations"], strict=True))
        found = {name: values.get(measure) for name, measure in FIELDS.items()}
        out.append(
            {
                "symbol": str(one),
                "other_symbol": str(other),
                "shared_days": int(days["ccc"]),
                **{name: None if words.is_missing(x) else round(float(x or 0), 6) for name, x in found.items()},
            }
        )
    return out


def _of(inputs: ReportInputs, symbols: list[str]) -> pd.DataFrame:
    """Rows of pairs of configured markets."""
    rows = inputs.correlations
    return rows[rows["symbol"].isin(symbols) & rows["other_symbol"].isin(symbols)]


def _matrix(rows: pd.DataFrame, measure: str, symbols: list[str], column: str = "value") -> pd.DataFrame:
    """Lay one measure out as a symmetric frame with an empty diagonal, markets in the given order."""
    own = rows[rows["measure"] == measure]
    at = {symbol: n for n, symbol in enumerate(symbols)}
    values = np.full((len(symbols), len(symbols)), np.nan)
    for r in words.records(own[["symbol", "other_symbol", column]]):
        if r[0] in at and r[1] in at:
            values[at[r[0]], at[r[1]]] = values[at[r[1]], at[r[0]]] = np.nan if words.is_missing(r[2]) else r[2]
    return pd.DataFrame(values, index=symbols, columns=symbols)


def _kept(matrix: pd.DataFrame, symbols: list[str], lead: str) -> list[str]:
    """Choose what is printed: the lead market and those with the highest mean correlation, in their usual order."""
    mean = matrix.mean(axis=1).fillna(-np.inf)
    order = sorted(symbols, key=lambda s: (s != lead, -mean[s], symbols.index(s)))
    return sorted(order[:SHOWN], key=symbols.index)


def _tables(inputs: ReportInputs, rows: pd.DataFrame, name: str, symbols: list[str]) -> list[MatrixTable]:
    day = inputs.as_of.isoformat()
    parameters = inputs.correlations.set_index("measure")["value"]
    if name == "dcc":
        title = f"For the session after {day}"
        legend = f"Dynamic conditional correlation (DCC), a = {words.number(parameters['dcc_a'], 4)}, b = {words.number(parameters['dcc_b'], 4)} by maximum likelihood."
    else:
        title = f"Over all shared days to {day}"
        legend = "Correlation shrunk toward none (Ledoit and Wolf): dynamic correlation is not available."
    lead = words.plain(inputs.stress_lead)
    counts = rows.loc[(rows["measure"] == "stress") & rows["value"].notna(), "observations"]
    worst = f"On the worst days of {lead}" if lead else "On a lead market's worst days"
    days = _span(counts)
    bad = (
        f"The 5 % of days on which {lead} fell furthest from its last close to its low: {days} of them for each pair."
        if days
        else "Not enough data: no market has lows, or too few of its worst days are shared."
    )
    return [
        _table(_matrix(rows, name, symbols), title, legend, symbols),
        _table(_matrix(rows, "stress", symbols), worst, bad, symbols),
    ]


def _span(counts: pd.Series) -> str:
    if counts.empty:
        return ""
    low, high = int(counts.min()), int(counts.max())
    return words.count(low) if low == high else f"{words.count(low)} to {words.count(high)}"


def _table(matrix: pd.DataFrame, title: str, legend: str, symbols: list[str]) -> MatrixTable:
    names = [words.plain(symbol) for symbol in symbols]
    is_numbered = len(names) > NAMED or max(len(name) for name in names) > SHORT
    heads = [str(n) for n in range(1, len(names) + 1)] if is_numbered else names
    values = matrix.to_numpy(np.float64)
    out = []
    for i, name in enumerate(names):
        cells = [("1" if i == j else words.number(values[i, j], 2), _shade(values[i, j])) for j in range(len(names))]
        out.append((f"{i + 1} {name}" if is_numbered else name, cells))
    return MatrixTable(title, legend, ["Market", *heads], out)


def _shade(value: float) -> str:
    """Return the class of a cell: darker with the correlation; the number says the same."""
    return "" if words.is_missing(value) else f"shade{sum(value >= step for step in STEPS)}"


def _means(inputs: ReportInputs, rows: pd.DataFrame, name: str) -> str:
    """Compare means over the pairs that have every number: a mean over other pairs is no comparison."""
    names = [name, "ccc", "stress", "stress_expected"]
    wide = rows.pivot_table(index=["symbol", "other_symbol"], columns="measure", values="value", aggfunc="first")
    if not set(names) <= set(wide.columns):
        return ""
    both = wide[names].dropna()
    if both.empty:
        return ""
    now, usual, bad, expected = (words.number(x, 2) for x in both.mean())
    lead = words.plain(inputs.stress_lead)
    pairs = f"the mean of {words.count(len(both))} pairs" if len(both) > 1 else "the one pair"
    first = f"For {pairs}: {usual} over all days" + (f", {now} now" if name == "dcc" else "")
    return f"{first}, {bad} on the worst days of {lead}. Days chosen by one market's fall move a correlation by themselves: had nothing else changed, it would be {expected} on them."


def _tails(rows: pd.DataFrame) -> str:
    """Name the pairs with most and with least tail dependence."""
    wide = rows.pivot_table(index=["symbol", "other_symbol"], columns="measure", values="value", aggfunc="first")
    if not {"tail_dependence_t", "tail_dependence_empirical"} <= set(wide.columns):
        return ""
    both = wide[["tail_dependence_t", "tail_dependence_empirical"]].dropna().sort_index()
    if both.empty:
        return ""
    ordered = both.sort_values("tail_dependence_t", ascending=False, kind="stable")

    def told(at: int) -> str:
        one, other = ordered.index[at]
        limit, counted = ordered.iloc[at]
        return f"{words.plain(one)} with {words.plain(other)} {words.number(limit, 2)} (counted {words.percent(counted, 0)})"

    most = f"Tail dependence, the chance that one market is in its extreme losses when the other is, in the limit of a t copula: most {told(0)}"
    least = f", least {told(-1)}" if len(ordered) > 1 else ""
    return f"{most}{least}. Counted: of one market's worst 5 % of days, the share that were the other's as well; 5 % if they had nothing in common."


def _notes(inputs: ReportInputs, rows: pd.DataFrame, name: str) -> list[str]:
    out = [
        "Correlations of standardised residuals (return less mean over forecast volatility), from the days that both markets have. –: fewer than 250 shared days, or fewer than 30 worst ones. Shading from 0.2, 0.4, 0.6 and 0.8 on repeats what the numbers say."
    ]
    if len({m.calendar for m in inputs.markets}) > 1:
        out.append(
            "These markets keep different calendars and hours: days on which one is closed are left out, and closes at different hours understate how they move together."
        )
    for measure, which in ((name, "first"), ("stress", "second")):
        moved = rows.loc[rows["measure"] == measure, "adjustment"].abs().max()
        if not words.is_missing(moved) and moved > 0:
            out.append(
                f"Cells from different days did not fit together in the {which} matrix: made positive semi-definite, by at most {words.number(moved, 3)} a cell."
            )
    filled = rows[(rows["measure"] == name) & rows["value"].notna()]
    late = filled[filled["last_on"] < pd.Timestamp(inputs.as_of) - pd.Timedelta(days=STALE_DAYS)]
    if len(late):
        oldest = late.sort_values(["last_on", "symbol", "other_symbol"], kind="stable").iloc[0]
        out.append(
            f"Pairs whose last shared day is more than {STALE_DAYS} days back: {len(late)}; the oldest is {words.plain(oldest['symbol'])} with {words.plain(oldest['other_symbol'])}, {words.day(oldest['last_on'])}."
        )
    return out
