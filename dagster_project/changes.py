"""Changes: what another method or configuration would have done to the last year, for people and scripts.

What lives here: finding and filling the two sides in the store, reading them, their differences as text and as plain
values. What does not: counting differences (``plimsoll.differences``), stages and decision rules (``assets``).
"""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

import plimsoll
from assets import prices, recommendations
from dagster_project.definitions import warehouse_of
from dagster_project.nightly import run_nightly
from dagster_project.outcome import plain, text_of
from dagster_project.policies import STAGES as STAGES_OF_A_REPLAY
from dagster_project.settings import Settings
from plimsoll import differences
from plimsoll.differences import Matched
from reports import words
from reports.words import records

STAGES = (*STAGES_OF_A_REPLAY, "breach", "coverage")
"""Recommendations are not among them: the next report reads the newest, whoever asked for them."""
DAYS = 365


class ChangesError(ValueError):
    """The two sides cannot be compared; the message says which there are."""


class RunError(RuntimeError):
    """A side could not be computed; the message names it and the stage."""


@dataclass(frozen=True)
class Side:
    """Whose rows: a method, a configuration, and what people call it."""

    methodology: str
    config_hash: str
    label: str = ""

    @property
    def identity(self) -> dict[str, str]:
        """What its rows carry."""
        return {"methodology": self.methodology, "config_hash": self.config_hash}

    def __str__(self) -> str:
        """Name it in a line."""
        return f"methodology {self.methodology}, configuration {self.config_hash}{self.label and f' ({self.label})'}"


@dataclass(frozen=True)
class Changes:
    """The second side against the first over a span of days.

    Attributes
    ----------
    first, second
        The sides.
    since, day
        Days after ``since`` up to ``day``.
    numbers, budget
        As `plimsoll.differences` makes them.
    verdict_day, verdicts
        Last day of the span that was judged under both, and its verdicts; None where there is none.
    decisions
        What either side's thresholds would ask for on ``day``.
    """

    first: Side
    second: Side
    since: date
    day: date
    numbers: pd.DataFrame
    budget: pd.DataFrame
    verdict_day: date | None
    verdicts: Matched | None
    decisions: Matched

    @property
    def is_different(self) -> bool:
        """Whether anything differs that both sides have."""
        tables = any(len(differences.changed(table)) for table in (self.numbers, self.budget))
        return tables or self.decisions.is_different or (self.verdicts is not None and self.verdicts.is_different)


def of_configurations(one: tuple[Path, Settings], other: tuple[Path, Settings], day: date) -> Changes | Side:
    """Compute both configurations up to a day into their store and compare them; one side where they are the same.

    Raises
    ------
    ChangesError
        Where the profiles differ, or a side has no threshold up to the day.
    RunError
        Where a stage or a check of a side fails.
    """
    profiles = [settings.profile.name for _, settings in (one, other)]
    if profiles[0] != profiles[1]:
        raise ChangesError(
            f"{one[0]} is of profile {profiles[0]!r}, {other[0]} of {profiles[1]!r}: two configurations of the same "
            "profile can be compared"
        )
    first, second = (Side(plimsoll.METHODOLOGY, settings.config_hash, path.name) for path, settings in (one, other))
    if first.config_hash == second.config_hash:
        return first
    decided = []
    # Prices are stored once, as the calendar of the newest run has them. The first configuration, which is the one in
    # use, runs last and leaves its own; each side's decisions are made while its prices stand.
    for side, (path, settings) in ((second, other), (first, one)):
        ending = run_nightly(settings, day, select=STAGES, is_trial=True)
        if not ending.is_success or ending.failed_checks:
            why = ending.error or f"failed checks: {', '.join(ending.failed_checks)}"
            raise RunError(f"{path}: {why}")
        decided.append(_decisions(settings, side, day))
    return _compared(one[1], first, second, day, decided[::-1])


def of_methods(settings: Settings, names: tuple[str, str], day: date) -> Changes | Side:
    """Compare what two versions of the method left in the store; one side where both names mean the same.

    Parameters
    ----------
    settings
        Configuration; it names the store, and its rows are meant where a version has rows of several configurations.
    names
        Versions, or ``VERSION:HASH`` with the beginning of a configuration's hash.
    day
        Last day; where a side ends before it, the last that both have.

    Raises
    ------
    ChangesError
        Where a version is not stored, is stored under several configurations none of which is the one given, or where
        the two share no day of the year; lists what is stored.
    """
    path = Path(warehouse_of(settings).path)
    if not path.exists():
        raise ChangesError(f"{path}: no store yet; run plimsoll report first, with this configuration")
    stored = _stored(settings)
    first, second = (_named(settings, name, stored) for name in names)
    if first == second:
        return first
    chosen = min(day, *(_last_day(stored, side) for side in (first, second)))
    decided = [_decisions(settings, side, chosen) for side in (first, second)]
    return _compared(settings, first, second, chosen, decided)


def _stored(settings: Settings) -> pd.DataFrame:
    with warehouse_of(settings).session() as session:
        return session.query("identities")


def _list(stored: pd.DataFrame) -> str:
    if stored.empty:
        return "nothing"
    return "; ".join(
        f"{row.methodology}:{row.config_hash} ({row.day_count} days, {row.first_day.date()} to {row.last_day.date()})"
        for row in records(stored)
    )


def _named(settings: Settings, name: str, stored: pd.DataFrame) -> Side:
    version, _, start = name.partition(":")
    mine = stored[stored["methodology"] == version]
    if start:
        mine = mine[mine["config_hash"].str.startswith(start)]
    elif settings.config_hash in set(mine["config_hash"]):
        # A new version may bring knobs of its own, so that the same file has another hash under it.
        mine = mine[mine["config_hash"] == settings.config_hash]
    if len(mine) == 1:
        return Side(version, str(mine["config_hash"].iloc[0]))
    if mine.empty:
        raise ChangesError(f"--methodology {name}: not in the store; stored are {_list(stored)}")
    raise ChangesError(
        f"--methodology {name}: stored under several configurations, none of them the one given; name one as "
        f"VERSION:HASH. Stored are {_list(mine)}"
    )


def _last_day(stored: pd.DataFrame, side: Side) -> date:
    mine = stored[(stored["methodology"] == side.methodology) & (stored["config_hash"] == side.config_hash)]
    last: date = mine["last_day"].iloc[0].date()
    return last


def _decisions(settings: Settings, side: Side, day: date) -> pd.DataFrame:
    """Decide on the side's newest thresholds by the decision rules of ``settings``; nothing is stored."""
    last = pd.Timestamp(day)
    with warehouse_of(settings).session() as session:
        bars = session.query("prices", last=last)
        thresholds = session.query("thresholds_between", **_span(day), **side.identity)
        events = session.query("overshoot_events", last=last, **side.identity)
        feeds = session.query("feed_scores", last=last, **side.identity)
        no_quote = prices.of_primary(session, settings, "no_quote_days")
    return recommendations.recommend(settings, day, bars, thresholds, events, no_quote, feeds, None)


def _span(day: date) -> dict[str, pd.Timestamp]:
    return {"first": pd.Timestamp(day - timedelta(days=DAYS - 1)), "last": pd.Timestamp(day)}


def _compared(settings: Settings, first: Side, second: Side, day: date, decided: list[pd.DataFrame]) -> Changes:
    span = _span(day)
    with warehouse_of(settings).session() as session:
        rows = [session.query("thresholds_between", **span, **side.identity) for side in (first, second)]
        judged = [session.query("coverage_days", **span, **side.identity)["as_of"] for side in (first, second)]
        shared = sorted(set(judged[0]) & set(judged[1]))
        coverage = [
            session.query("coverage_of", last=shared[-1], **side.identity) for side in (first, second) if shared
        ]
    if not set(rows[0]["as_of"]) & set(rows[1]["as_of"]):
        raise ChangesError(
            f"no day from {span['first'].date()} to {day} has thresholds of both sides; stored are "
            f"{_list(_stored(settings))}"
        )
    return Changes(
        first=first,
        second=second,
        since=span["first"].date(),
        day=day,
        numbers=differences.numbers(*rows),
        budget=differences.budget(*rows),
        verdict_day=shared[-1].date() if shared else None,
        verdicts=differences.verdicts(*coverage) if shared else None,
        decisions=differences.decisions(*decided),
    )


def as_records(found: Changes | Side) -> dict[str, Any]:
    """Return everything as plain values: days as text, unknown numbers as null."""
    if isinstance(found, Side):
        # Nothing was compared, because there are no two sides.
        nothing: dict[str, Any] = {"first_day": None, "last_day": None, "numbers": [], "budget": []}
        nothing |= {"verdict_day": None, "verdicts": None, "decisions": None}
        same = {"first": _who(found), "second": _who(found)}
        return {"schema": "plimsoll.compare/1", "is_different": False, **same, **nothing}
    return {
        "schema": "plimsoll.compare/1",
        "is_different": found.is_different,
        "first": _who(found.first),
        "second": _who(found.second),
        "first_day": found.since.isoformat(),
        "last_day": found.day.isoformat(),
        "numbers": _plain_rows(found.numbers),
        "budget": _plain_rows(found.budget),
        "verdict_day": found.verdict_day.isoformat() if found.verdict_day else None,
        "verdicts": _plain_matched(found.verdicts) if found.verdicts is not None else None,
        "decisions": _plain_matched(found.decisions),
    }


def _who(side: Side) -> dict[str, str]:
    return side.identity | {"label": side.label}


def _plain_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): plain(value) for key, value in row.items()} for row in table.to_dict("records")]


def _plain_matched(found: Matched) -> dict[str, Any]:
    counts = {name: getattr(found, name) for name in ("agreeing", "moved", "first_only", "second_only")}
    return {"differing": _plain_rows(found.differing), **counts}


def render(found: Changes | Side) -> str:
    """Return what differs as text; in one line each what does not."""
    if isinstance(found, Side):
        return f"nothing differs: both sides are {found}\n"
    parts = [f"first   {found.first}", f"second  {found.second}", f"days    {found.since} to {found.day}", ""]
    if found.is_different:
        parts += [_numbers_text(found), _budget_text(found), _verdicts_text(found), _decisions_text(found)]
    else:
        parts += [f"nothing differs: {_all(found)}\n"]
    return "\n".join([*parts, *_notes(found)])


def _all(found: Changes) -> str:
    judged = "no verdict to compare" if found.verdicts is None else f"{found.verdicts.agreeing} verdicts"
    days = int(found.numbers["days"].max())
    return f"{len(found.numbers)} parameters on up to {days} days, {judged} and {found.decisions.agreeing} decisions"


def _notes(found: Changes) -> list[str]:
    """Say what was not compared, each in a line."""
    notes = []
    lone = found.numbers.drop_duplicates(["symbol", "product", "side"])
    for name, other in (("first", "second"), ("second", "first")):
        mine = lone[lone[f"days_{name}_only"] > 0]
        if len(mine):
            days, markets = int(mine[f"days_{name}_only"].max()), ", ".join(sorted(set(mine["symbol"])))
            notes.append(f"not compared: up to {days} days of {markets} that only the {name} side has")
        count = getattr(found.verdicts, f"{name}_only", 0)
        if count:
            notes.append(f"not compared: {count} verdicts without one of the {other} side")
        count = getattr(found.decisions, f"{name}_only")
        if count:
            notes.append(f"not compared: {count} decisions without one of the {other} side")
    if found.verdicts is None:
        notes.append(
            f"no verdicts: no day was judged under both; run plimsoll backtest --as-of {found.day} and compare again"
        )
    if found.first.methodology != found.second.methodology and found.first.config_hash != found.second.config_hash:
        notes.append(
            "the sides differ in the hash of their configuration, too: what differs is the work of both, unless the "
            "newer method only brought knobs of its own"
        )
    return [f"{note}\n" for note in notes]


def _table(left: tuple[str, ...], right: tuple[str, ...], last: tuple[str, ...] = ()) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False)
    for name in (*left, *right, *last):
        table.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    return table


def _numbers_text(found: Changes) -> str:
    rows = differences.changed(found.numbers)
    same = len(found.numbers) - len(rows)
    if rows.empty:
        return f"parameters: none of {same} differs on any day\n"
    table = _table(
        ("market", "product", "side", "parameter"),
        (
            "days",
            "different",
            "mean",
            "largest",
            "on",
            "first withholds",
            "second withholds",
            "other status",
            "last day",
            "first",
            "second",
        ),
    )
    for row in records(rows):
        table.add_row(
            row.symbol,
            row.product,
            row.side,
            row.parameter,
            str(row.days),
            str(row.days_different),
            _gap(row.mean_difference, row.unit, 1),
            _gap(row.largest_difference, row.unit, 0),
            words.day(row.largest_on) if row.days_different else words.MISSING,
            str(row.days_first_withholds),
            str(row.days_second_withholds),
            str(row.days_status_different),
            words.day(row.last_day),
            _value(row.first_value, row.unit),
            _value(row.second_value, row.unit),
        )
    rest = f"{same} others do not differ\n" if same else ""
    return f"parameters that differ, second less first\n{text_of(table)}{rest}"


def _gap(value: float, unit: str, digits: int) -> str:
    if words.is_missing(value):
        return words.MISSING
    return f"{value:+.{digits}f} {'bp' if unit == 'bps' else 'x'}"


def _value(value: float, unit: str) -> str:
    if words.is_missing(value):
        return words.MISSING
    return words.bps(int(value)) if unit == "bps" else f"{value:.0f} x"


def _budget_text(found: Changes) -> str:
    pooled = found.budget[found.budget["scope"] == differences.POOLED]
    rows = differences.changed(pooled)
    if rows.empty:
        return "quantile, volatility and budget: none differs on any day\n"
    table = _table(("product", "side", "all markets"), ("days", "different", "first", "second", "difference"))
    for row in records(rows):
        is_k = row.quantity == "k"
        cells = [f"{v:.3f}" if is_k else words.percent(v, 3) for v in (row.first, row.second)]
        gap = f"{row.difference:+.3f}" if is_k else f"{1e4 * row.difference:+.1f} bp"
        name = f"{row.statistic} {row.quantity.removesuffix('_daily')}"
        table.add_row(row.product, row.side, name, str(row.days), str(row.days_different), *cells, gap)
    return f"where it comes from\n{text_of(table)}"


def _verdicts_text(found: Changes) -> str:
    if found.verdicts is None:
        return ""
    one = found.verdicts
    tail = f"{one.agreeing} verdicts of {found.verdict_day} agree, {one.moved} of them at another rate\n"
    if one.differing.empty:
        return f"verdicts: none differs; {tail}"
    table = _table(("scope", "series", "model", "side"), ("nominal", "first", "second"), ("first says", "second says"))
    for row in records(one.differing):
        table.add_row(
            row.scope,
            row.series,
            row.model,
            row.side,
            f"{row.tail_probability_bps / 100:g} %",
            words.percent(row.first_exception_rate),
            words.percent(row.second_exception_rate),
            row.first_verdict,
            row.second_verdict,
        )
    return f"verdicts of {found.verdict_day} that differ\n{text_of(table)}{tail}"


def _decisions_text(found: Changes) -> str:
    one = found.decisions
    tail = f"{one.agreeing} decisions agree, {one.moved} of them with another target\n"
    if one.differing.empty:
        return f"decisions of {found.day}: none differs; {tail}"
    table = _table(
        ("market", "product", "side", "parameter"), ("in force", "first", "second"), ("first says", "second says")
    )
    for row in records(one.differing):
        unit = "times" if row.parameter == "max_leverage" else "bps"
        held = [_value(value, unit) for value in (row.first_in_force, row.second_in_force)]
        table.add_row(
            row.symbol,
            row.product,
            row.side,
            row.parameter,
            held[0] if held[0] == held[1] else f"{held[0]} / {held[1]}",
            _value(row.first_proposed, unit),
            _value(row.second_proposed, unit),
            row.first_status,
            row.second_status,
        )
    return f"decisions of {found.day} that differ, by the decision rules of this program\n{text_of(table)}{tail}"
