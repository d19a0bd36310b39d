"""Audit of feeds: files replayed through the screen and the consensus, measured against labels or made-up faults.

What lives here: the command and the tables it prints. What does not: reading the files (``feeds_files``), rules
(``plimsoll.consensus``), storing anything.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from dagster_project.feeds_files import AuditError, read_candles, read_truth
from plimsoll.candles import screen
from plimsoll.consensus.audit import FAMILY, REAL, STATES, UNDECIDED, Audit, Score, audit, events_of
from plimsoll.consensus.inject import KINDS, inject
from plimsoll.consensus.judge import Judgement, judge

RECALL, PRECISION, FALSE_PER_2000 = 0.95, 0.90, 1.0
STRESS_DAYS = {
    "2020-03-12": "COVID",
    "2020-03-13": "COVID",
    "2021-05-19": "leverage unwound",
    "2021-12-04": "flash fall",
    "2022-05-09": "LUNA",
    "2022-05-11": "LUNA",
    "2022-05-12": "LUNA",
    "2022-06-13": "3AC",
    "2022-11-08": "FTX",
    "2022-11-09": "FTX",
    "2023-03-10": "USDC",
    "2023-03-11": "USDC",
    "2024-08-05": "yen carry",
    "2025-02-03": "tariffs",
    "2025-10-10": "one-venue lows",
    "2026-02-05": "winter 2026",
}
"""Days of real stress; the bars of BTC and ETH on them must all be kept."""
STRESSED = frozenset({"BTC", "ETH"})

feeds_app = typer.Typer(help="Agreement of price sources.", no_args_is_help=True)


@dataclass(frozen=True)
class Replayed:
    """Candles after the screen and the consensus."""

    bars: pd.DataFrame
    judgement: Judgement


@feeds_app.command("audit")
def audit_command(
    candles: Annotated[Path, typer.Option("--candles", help="Daily candles of all sources: CSV or Parquet.")],
    truth: Annotated[Path | None, typer.Option("--truth", help="Labels: CSV as in docs/feeds.md.")] = None,
    inject_count: Annotated[
        int | None, typer.Option("--inject", min=1, help="Put so many faults of each kind in, then measure.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the faults put in.")] = 1,
    venue: Annotated[
        list[str] | None, typer.Option("--venue", help="SOURCE=VENUE; sources of a venue have one vote. Repeat it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable figures.")] = False,
) -> None:
    """Measure how well faults in candles are found, and how many good bars are refused."""
    if (truth is None) == (inject_count is None):
        _stop("name one of --truth FILE (labels) and --inject N (faults put in)")
    try:
        rows = read_candles(candles)
        venues = venues_of(sorted(rows["source"].unique()), venue or [])
        if truth is not None:
            report = against_labels(rows, read_truth(truth), venues)
        else:
            report = against_faults(rows, int(inject_count or 0), seed, venues)
    except AuditError as error:
        _stop(str(error))
    sys.stdout.write(json.dumps(report, sort_keys=True, indent=1) + "\n" if as_json else render(report))


def _stop(message: str) -> None:
    sys.stderr.write(f"plimsoll: {message}\n")
    raise typer.Exit(2)


def venues_of(sources: list[str], said: list[str]) -> dict[str, str]:
    """Return the venue of each source: as said, else the part of its name before the first underscore.

    Raises
    ------
    AuditError
        Where a word is not SOURCE=VENUE or names no source of the file.
    """
    venues = {source: source.split("_")[0] for source in sources}
    for word in said:
        source, equals, venue = word.partition("=")
        if not (equals and venue) or source not in venues:
            raise AuditError(f"--venue {word}: write SOURCE=VENUE; sources in the file are {', '.join(sources)}")
        venues[source] = venue
    return venues


def replay(rows: pd.DataFrame, venues: Mapping[str, str]) -> Replayed:
    """Send candles through the screen, series by series, and judge what is left."""
    numbered = rows.assign(row_number=range(1, len(rows) + 1))
    newest = numbered["date"].max()
    latest = newest.normalize() if pd.notna(newest) else pd.Timestamp("1970-01-02")
    accepted, refused = [], []
    for key, one in numbered.groupby(["symbol", "source"], sort=True):
        symbol, source = key
        is_close_only = bool(one[["open", "high", "low"]].isna().all(axis=None))
        found = screen(one.drop(columns=["symbol", "source"]), is_close_only=is_close_only, latest=latest)
        accepted.append(found.accepted.assign(symbol=str(symbol), source=str(source)))
        refused.append(found.quarantined.assign(symbol=str(symbol), source=str(source)))
    kept = pd.concat(accepted, ignore_index=True).rename(
        columns={f: f"{f}_usd" for f in ("open", "high", "low", "close")}
    )
    set_aside = pd.concat(refused, ignore_index=True)
    dated = set_aside[set_aside["date"].notna()]
    judgement = judge(kept, venues=venues, set_aside=dated.assign(date=dated["date"].dt.normalize()))
    bars = rows[rows["date"].notna()][["date", "symbol", "source"]]
    return Replayed(bars.assign(date=bars["date"].dt.normalize()), judgement)


def against_labels(rows: pd.DataFrame, truth: pd.DataFrame, venues: Mapping[str, str]) -> dict[str, Any]:
    """Measure against labels."""
    done = replay(rows, venues)
    found = audit(done.judgement, done.bars, truth)
    report = _shared(found, done, venues)
    said = "is_error" in truth
    report["labels"] = "is_error says which are errors" if said else _judged_by_kind()
    report["not_judged"] = found.not_judged
    report["real_events"] = {"labels": found.real_labels, "kept": found.real_kept}
    report["missed"], report["unexplained"] = found.missed, found.unexplained
    return report


def _judged_by_kind() -> str:
    errors = sorted({kind for kind, family in FAMILY.items() if family not in STATES} - UNDECIDED)
    return (
        f"no column is_error; errors: {', '.join(errors)}; states to be found: {', '.join(sorted(STATES))}; real "
        f"events: {', '.join(sorted(REAL))}; not judged: {', '.join(sorted(UNDECIDED))} and unknown kinds"
    )


def against_faults(rows: pd.DataFrame, count: int, seed: int, venues: Mapping[str, str]) -> dict[str, Any]:
    """Put faults in, one kind at a time, and measure; what was found before they were put in counts neither way."""
    clean = replay(rows, venues)
    before = events_of(clean.judgement)
    known: set[Any] = {(e.symbol, e.source, e.kind, d) for e in before.itertuples() for d in (e.start, e.end)}
    rejected = clean.judgement.rejected
    known |= set(zip(rejected["symbol"], rejected["source"], ["bar"] * len(rejected), rejected["date"], strict=True))
    dated = rows[rows["date"].notna()]
    base = dated[~dated.duplicated(["symbol", "source", "date"], keep=False)].reset_index(drop=True)
    totals = {kind: [0, 0, 0, 0] for kind in KINDS}
    false, good, made = 0, 0, {}
    missed: list[str] = []
    unexplained: list[str] = []
    tables = []
    for number, kind in enumerate(KINDS):
        rng = np.random.default_rng([seed, number])
        put = inject(base, kind, count, rng, avoid=before[~before["kind"].isin(["day_boundary", "flat_bar"])])
        done = replay(put.candles, venues)
        judgement = _without(done.judgement, known, put.truth)
        found = audit(judgement, done.bars, put.truth)
        made[kind] = len(put.truth)
        false, good = false + found.false_rejections, good + found.good_bars
        missed, unexplained = missed + found.missed, unexplained + found.unexplained
        for score in found.scores:
            if score.kind in totals:
                tally = totals[score.kind]
                for place, value in enumerate((score.labels, score.found, score.events, score.right)):
                    tally[place] += value
        tables.append(found)
    scores = [Score(kind, *totals[kind]) for kind in KINDS]
    whole = Audit(scores, len(rows), good, false, 0, 0, {}, missed, unexplained)
    report = _shared(whole, clean, venues)
    report |= {"seed": seed, "put_in": made, "missed": missed, "unexplained": unexplained}
    report["rejected_before"] = len(clean.judgement.rejected)
    return report


def _without(judgement: Judgement, known: set[Any], truth: pd.DataFrame) -> Judgement:
    """Leave out what was found before faults were put in, and other names for days of a fault named right elsewhere."""
    rejected, spans = judgement.rejected, judgement.spans
    keys = zip(rejected["symbol"], rejected["source"], ["bar"] * len(rejected), rejected["date"], strict=True)
    fresh = np.array([key not in known for key in keys], dtype=bool)
    span_keys = zip(spans["symbol"], spans["source"], spans["kind"], spans["start"], spans["end"], strict=True)
    new_span = np.array([(*k[:3], k[3]) not in known and (*k[:3], k[4]) not in known for k in span_keys], dtype=bool)
    new_span &= spans["kind"].isin(list(KINDS)).to_numpy(dtype=bool)
    return Judgement(rejected[fresh], judgement.findings, spans[new_span])


def _shared(found: Audit, done: Replayed, venues: Mapping[str, str]) -> dict[str, Any]:
    rejected = done.judgement.rejected
    days = rejected["date"].dt.strftime("%Y-%m-%d")
    stressed = rejected[days.isin(STRESS_DAYS) & rejected["symbol"].isin(STRESSED)]
    seen = done.bars[done.bars["symbol"].isin(STRESSED)]["date"].dt.strftime("%Y-%m-%d").isin(STRESS_DAYS).sum()
    rows = [
        asdict(one) | {"recall": _share(one.found, one.labels), "precision": _share(one.right, one.events)}
        for one in found.scores
    ]
    checks = {
        "recall": all(one.recall >= RECALL for one in found.scores if one.labels),
        "precision": all(one.precision >= PRECISION for one in found.scores if one.events and one.labels),
        "false_rejections": not found.good_bars or found.false_per_2000 <= FALSE_PER_2000,
        "stress_days": not len(stressed),
    }
    return {
        "bars": found.bars,
        "good_bars": found.good_bars,
        "venues": dict(venues),
        "kinds": rows,
        "false_rejections": found.false_rejections,
        "false_per_2000": found.false_per_2000 if found.good_bars else None,
        "stress": {
            "bars": int(seen),
            "rejected": [f"{r.symbol} {r.source} {r.date:%Y-%m-%d}" for r in stressed.itertuples()],
        },
        "checks": checks,
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def render(report: dict[str, Any]) -> str:
    """Put a report into words and one table."""
    lines = [f"{report['bars']:,} bars, {report['good_bars']:,} good ones looked at"]
    if "labels" in report:
        lines.append(f"labels: {report['labels']}")
    if "put_in" in report:
        lines.append(f"seed {report['seed']}; put in: " + ", ".join(f"{k} {n}" for k, n in report["put_in"].items()))
        lines.append(f"{report['rejected_before']} bars rejected before anything was put in, left out of both counts")
    lines.append("")
    lines.append(f"{'kind':18} {'labels':>7} {'found':>7} {'recall':>8}   {'events':>7} {'right':>7} {'precision':>9}")
    for one in report["kinds"]:
        recall, precision = (_percent(one[name]) for name in ("recall", "precision"))
        lines.append(
            f"{one['kind']:18} {one['labels']:>7} {one['found']:>7} {recall:>8}   "
            f"{one['events']:>7} {one['right']:>7} {precision:>9}"
        )
    lines.append("")
    per = report["false_per_2000"]
    rate = "no good bars" if per is None else f"{per:.2f} per 2,000 good bars"
    lines.append(f"false rejections: {report['false_rejections']} ({rate})")
    if "real_events" in report:
        lines.append("real events kept: {kept} of {labels}".format(**report["real_events"]))
        lines += [f"not judged: {n} ({why})" for why, n in sorted(report["not_judged"].items())]
    stress = report["stress"]
    lines.append(f"bars of BTC and ETH on stress days: {stress['bars']}, rejected {len(stress['rejected'])}")
    lines += [f"  rejected: {one}" for one in stress["rejected"]]
    lines.append("")
    for name, words in (
        ("recall", f"recall of every kind at least {RECALL:.0%}"),
        ("precision", f"precision of every labelled kind at least {PRECISION:.0%}"),
        ("false_rejections", f"at most {FALSE_PER_2000:g} false rejection in 2,000 good bars"),
        ("stress_days", "no stress day rejected"),
    ):
        lines.append(f"{'ok   ' if report['checks'][name] else 'FAILS'} {words}")
    for title in ("missed", "unexplained"):
        shown = report[title][:20]
        if shown:
            lines += ["", f"{title}: {len(report[title])}", *(f"  {one}" for one in shown)]
            if len(shown) < len(report[title]):
                lines.append(f"  and {len(report[title]) - len(shown)} more; --json lists all")
    return "\n".join(lines) + "\n"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
