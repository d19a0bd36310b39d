"""What a report is made from: frames with the columns of the store, and who is who.

What lives here: frozen dataclasses and small selections on them. What does not: formatting.
"""

from dataclasses import dataclass
from datetime import date

import pandas as pd


@dataclass(frozen=True)
class MarketInput:
    """A configured market."""

    symbol: str
    name: str
    market_class: str
    calendar: str
    note: str
    is_close_only: bool
    products: tuple[str, ...]


@dataclass(frozen=True)
class ModelInputs:
    """What is known of the models beside the one in use.

    Attributes
    ----------
    is_on, in_use
        Whether challengers run, and the model that the budget is made from.
    contest, importances
        Contest of the newest quarter, and what features add before it.
    states, levels
        All states up to the day, and the log of the conformal overlay.
    ratios
        ``symbol, side, challenger_ratio`` on the newest day.
    budgets
        ``symbol, product, side, lambda_total, lambda_model`` of the newest target of each set.
    """

    is_on: bool
    in_use: str
    contest: pd.DataFrame
    importances: pd.DataFrame
    states: pd.DataFrame
    levels: pd.DataFrame
    ratios: pd.DataFrame
    budgets: pd.DataFrame


@dataclass(frozen=True)
class ReportInputs:
    """Everything that one report shows.

    Attributes
    ----------
    profile_title, profile_about, is_demo, data_source
        Whose report, of what.
    as_of, methodology, config_hash, decision_id
        What identifies it.
    markets
        Configured markets, in configuration order.
    prices, forecasts, thresholds
        Whole histories up to ``as_of``, of the columns that are shown.
    budgets
        Threshold rows of the newest target of each set, all columns.
    fits, references
        Newest fit of each market, and its comparison with ``arch``.
    fit_health, refusals
        Summary of all fits and of the last year's by market, and why fits left their rung in the last year.
    quantiles
        Overshoot quantiles of the newest target, all depths.
    coverage, triggers, breaches
        Backtest table of the day, trigger days at the perpetual depth, and breach facts that are breaches.
    recommendations, sensitivities, in_force, previous
        What is proposed, what other settings would give, what is in force, and what the last report proposed.
    replay_rules, replay_pairs, replay_curves
        The replay of whole policies: rules as they are, scaled, and over all factors, by ``product, side``.
    watch, scorecard
        Wealth of betting against the model in use by ``series, side, date``, with its state and alarms; past
        recommendations against what followed.
    correlations, stress_lead
        Dependence of markets on each other on the day, one row a pair and measure, and the market whose worst days are
        the stress.
    feeds, verdicts, spans
        Newest score of every feed, refused bars beside the prices that stand, and spans of days on which something was
        the matter with a feed.
    worth
        What a minute, half the latency and three agreeing venues would add, by set, in basis points.
    tiers, caps, implied
        Margins by size, supply and borrow caps, and what sets in force assume: rows of the day's tables.
    attributions, publications, cards
        Why targets moved since the last recommendation, what may be published today, and how much targets swing.
    models
        The model in use and its challengers.
    quarantine, checks
        Rows set aside, and the gates with their results.
    status, withheld_reason
        ``proposed`` or ``withheld``, and why.
    """

    profile_title: str
    profile_about: str
    is_demo: bool
    as_of: date
    methodology: str
    config_hash: str
    decision_id: str
    data_source: str
    markets: tuple[MarketInput, ...]
    prices: pd.DataFrame
    forecasts: pd.DataFrame
    fits: pd.DataFrame
    references: pd.DataFrame
    fit_health: pd.DataFrame
    refusals: pd.DataFrame
    thresholds: pd.DataFrame
    budgets: pd.DataFrame
    quantiles: pd.DataFrame
    coverage: pd.DataFrame
    correlations: pd.DataFrame
    stress_lead: str
    triggers: pd.DataFrame
    breaches: pd.DataFrame
    recommendations: pd.DataFrame
    sensitivities: pd.DataFrame
    quarantine: pd.DataFrame
    checks: pd.DataFrame
    in_force: pd.DataFrame
    previous: pd.DataFrame
    replay_rules: pd.DataFrame
    replay_pairs: pd.DataFrame
    replay_curves: pd.DataFrame
    watch: pd.DataFrame
    bets: pd.DataFrame
    scorecard: pd.DataFrame
    feeds: pd.DataFrame
    verdicts: pd.DataFrame
    spans: pd.DataFrame
    worth: pd.DataFrame
    tiers: pd.DataFrame
    caps: pd.DataFrame
    implied: pd.DataFrame
    attributions: pd.DataFrame
    publications: pd.DataFrame
    cards: pd.DataFrame
    models: ModelInputs
    status: str
    withheld_reason: str


def of_symbol(frame: pd.DataFrame, symbol: str) -> pd.DataFrame:
    """Rows of one market, indexed anew."""
    return frame[frame["symbol"] == symbol].reset_index(drop=True)
