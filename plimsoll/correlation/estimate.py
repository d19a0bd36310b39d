"""Estimate: every measure of one day, and their long form.

What lives here: which measures there are and in which order, and rows for the store. What does not: the measures.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from plimsoll.correlation import constant, dynamic, tails
from plimsoll.correlation.dynamic import DccFit
from plimsoll.correlation.types import CorrelationSpec, Matrix, Panel, matrix_of, panel_of

POOLED = "POOLED"
"""Stands for both markets where a number belongs to all of them."""
COLUMNS = ("symbol", "other_symbol", "measure", "value", "observations", "adjustment", "last_on")
PARAMETERS = ("a", "b", "gain")
DIGITS = 9
"""Kept of a value: beyond, linear algebra may differ by the number of its threads."""


@dataclass(frozen=True)
class Correlations:
    """Everything known of one day.

    Attributes
    ----------
    panel
        What it was made from.
    matrices
        By measure.
    dcc
        Parameters of the dynamic correlation, or None.
    """

    panel: Panel
    matrices: dict[str, Matrix]
    dcc: DccFit | None


def standardised_residuals(prices: pd.DataFrame, forecasts: pd.DataFrame) -> pd.DataFrame:
    r"""Residuals of one-day returns, :math:`z_t = (r_t - \mu_t)/\sigma_t`, by date and market.

    Parameters
    ----------
    prices
        ``symbol, date, close_usd, previous_close_usd, is_return_valid``.
    forecasts
        ``symbol, target_date, mu_daily, sigma_daily``, made at the close before ``target_date``.

    Returns
    -------
    DataFrame
        Dates by markets; NaN where a market has no bar, its return is not one day's, or it had no forecast above zero.
        Two markets of different calendars share fewer dates, and a residual after a weekend spans it.
    """
    bars = forecasts.merge(
        prices[["symbol", "date", "close_usd", "previous_close_usd", "is_return_valid"]],
        left_on=["symbol", "target_date"],
        right_on=["symbol", "date"],
        how="inner",
        validate="one_to_one",
    )
    bars = bars[bars["is_return_valid"].astype(bool) & (bars["sigma_daily"] > 0)]
    r = np.log(bars["close_usd"] / bars["previous_close_usd"])
    z = bars.assign(z=(r - bars["mu_daily"]) / bars["sigma_daily"])
    return z.set_index(["date", "symbol"])["z"].unstack("symbol").sort_index()  # noqa: PD010  (no key stands twice)


def adverse_excursion(prices: pd.DataFrame, symbol: str) -> pd.Series:
    r"""Return a market's fall within each day, :math:`\ln(C_{t-1}/Low_t)`, by date.

    NaN where the bar has no low or its return is not one day's.
    """
    own = prices[prices["symbol"] == symbol].set_index("date")
    fall = np.log((own["previous_close_usd"] / own["low_usd"]).to_numpy(np.float64))
    is_valid = own["is_return_valid"].to_numpy(np.bool_)
    return pd.Series(np.where(is_valid, fall, np.nan), index=pd.DatetimeIndex(own.index), name=symbol)


def lead_market(prices: pd.DataFrame, configured: list[str]) -> str | None:
    """Return BTC if it is configured and has lows, else the first configured market that has, else None."""
    with_lows = set(prices.loc[prices["low_usd"].notna(), "symbol"])
    order = [constant.LEAD, *configured] if constant.LEAD in configured else configured
    return next((symbol for symbol in order if symbol in with_lows), None)


def correlations(
    residuals: pd.DataFrame,
    lead: str | None = None,
    adverse: pd.Series | None = None,
    spec: CorrelationSpec | None = None,
) -> Correlations:
    """Measure the dependence of markets on each other, from residuals of one day and before.

    Parameters
    ----------
    residuals
        Standardised residuals, dates by markets, NaN where a market has none. A cell uses the dates that its two
        markets share; below ``minimum_common`` of them it is NaN: not enough data.
    lead, adverse
        Lead market and its adverse excursion by date, for the stress matrix; without them its cells are NaN.
    spec
        Knobs.

    Returns
    -------
    Correlations
        Measures ``ccc, ewma_94, ewma_97, dcc, ledoit_wolf, stress, stress_expected, tail_dependence_empirical,
        tail_dependence_t, t_copula_nu``.
    """
    knobs = spec or CorrelationSpec()
    panel = panel_of(residuals)
    all_days = constant.ccc(panel, knobs)
    fit = dynamic.fit(panel, knobs)
    made = [all_days, *(constant.ewma(panel, decay, knobs) for decay in knobs.ewma_lambdas)]
    made += [dynamic.forecast(panel, fit, knobs), constant.ledoit_wolf(panel, knobs)]
    if lead is not None and adverse is not None:
        made += constant.stress(panel, lead, adverse, all_days, knobs)
    else:
        made += [matrix_of(panel, name, {}, 1.0) for name in ("stress", "stress_expected")]
    made += tails.tail_matrices(panel, knobs)
    return Correlations(panel, {matrix.measure: matrix for matrix in made}, fit)


def long_rows(found: Correlations) -> pd.DataFrame:
    """Rows of every measure and pair, and of the parameters of the dynamic correlation.

    Returns
    -------
    DataFrame
        ``COLUMNS``: each pair once, the first symbol before the second in the alphabet; ``last_on`` is the last date
        that both have, NaT where there is none.
    """
    panel = found.panel
    rows: list[tuple[object, ...]] = []
    last = {}
    for i, j in panel.pairs:
        both = np.flatnonzero(panel.common(i, j))
        last[i, j] = pd.Timestamp(panel.dates[both[-1]]) if len(both) else pd.NaT
    for measure, matrix in found.matrices.items():
        rows += [
            (
                panel.symbols[i],
                panel.symbols[j],
                measure,
                round(float(matrix.values[i, j]), DIGITS),
                int(matrix.observations[i, j]),
                round(float(matrix.adjustments[i, j]), DIGITS),
                last[i, j],
            )
            for i, j in panel.pairs
        ]
    newest = pd.Timestamp(panel.dates[-1]) if len(panel.dates) else pd.NaT
    for name in PARAMETERS:
        value = np.nan if found.dcc is None else round(float(getattr(found.dcc, name)), DIGITS)
        observations = 0 if found.dcc is None else found.dcc.observations
        rows.append((POOLED, POOLED, f"dcc_{name}", value, observations, 0.0, newest))
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"value": "float64", "last_on": "datetime64[us]"})
