"""Gates: what every published number must pass, as asset checks and as what readers verify again.

What lives here: which check guards which table, whether it blocks, running it with the parameters it names, and the
watch over the model in use. What does not: the rules (``sql/checks``, ``plimsoll.monitoring``).
"""

import re
from datetime import date

import dagster as dg
import pandas as pd

import plimsoll
import sql
from dagster_project import hold, in_force, in_force_files
from dagster_project.settings import Settings
from dagster_project.warehouse import Session, Warehouse
from plimsoll import monitoring

BLOCKING: dict[str, tuple[str, ...]] = {
    "candle": ("candle_revisions",),
    "price": ("price_broken",),
    "volatility_forecast": ("forecast_out_of_range",),
    "fit_reference": ("reference_disagrees",),
    "overshoot_quantile": ("quantile_order",),
    "threshold": ("budget_parts", "threshold_invalid_set"),
    "publication": ("publication_invalid_set",),
}
WARNING: dict[str, tuple[str, ...]] = {
    "candle": ("candle_revised",),
    "order_book": ("order_book_set_aside",),
    "price": ("price_disputed", "feed_stale", "feed_quarantined"),
    "volatility_forecast": ("rung_share",),
}
HOURLY = "candle_hour"
"""Checked where hourly candles are taken; they move no number, so they withhold nothing."""
GRAIN_TABLES = (
    "candle",
    "order_book",
    "price",
    "volatility_fit",
    "volatility_forecast",
    "fit_reference",
    "correlation",
    "overshoot_quantile",
    "challenger_forecast",
    "threshold",
    "breach",
    "coverage",
    "recommendation",
    "size_tier",
    "exposure_cap",
    "implied_confidence",
    "attribution",
    "publication",
)
SAMPLE = 5
MODEL_ALARM = "model_alarm"
HOLD = "publication_hold"
STALE_IN_FORCE = "in_force_stale"
OF_PUBLICATION = (HOLD, "publication_invalid_set", "publication_grain")
"""Checks of what the stage of publications itself writes or obeys."""
WATCHED_RATE = 0.01


def parameters(name: str, settings: Settings, last: date) -> dict[str, object]:
    """Return those of the common parameters that the check's text names."""
    known = {"last": last, "methodology": plimsoll.METHODOLOGY, "config_hash": settings.config_hash}
    named = set(re.findall(r"\$(\w+)", sql.text("checks", name)))
    return {key: value for key, value in known.items() if key in named}


def failures(session: Session, name: str, settings: Settings, last: date) -> pd.DataFrame:
    """Rows that fail a check up to a day."""
    return session.check(name, **parameters(name, settings, last))


def verify(session: Session, settings: Settings, last: date) -> pd.DataFrame:
    """Run every check against the database as it is now, whatever an earlier run recorded about it.

    Returns
    -------
    DataFrame
        ``name, is_blocking, is_passed, detail``.
    """
    rows = []
    for blocking, table in ((True, BLOCKING), (False, WARNING)):
        for names in table.values():
            for name in names:
                bad = failures(session, name, settings, last)
                detail = "" if bad.empty else f"{len(bad)} row(s), first: {_first(bad)}"
                rows.append((name, blocking, bad.empty, detail))
    open_alarms = alarm(session, settings, last)
    rows.append((MODEL_ALARM, True, open_alarms is None, open_alarms or ""))
    held = held_by(settings)
    rows.append((HOLD, True, held is None, held or ""))
    doubtful = doubts(settings, last)
    rows.append((STALE_IN_FORCE, False, doubtful is None, doubtful or ""))
    for name in GRAIN_TABLES:
        bad = session.contract_failures(name)
        rows.append((f"{name}_grain", True, bad.empty, "" if bad.empty else f"{len(bad)} row(s), first: {_first(bad)}"))
    return pd.DataFrame(rows, columns=["name", "is_blocking", "is_passed", "detail"])


def watches(session: Session, settings: Settings, last: date) -> dict[tuple[str, str], monitoring.Watch]:
    """Watch the overshoot estimate in use at one percent, by series and side, up to a day."""
    facts = session.query("evidence", last=last, methodology=plimsoll.METHODOLOGY, config_hash=settings.config_hash)
    found = {}
    for (series, side), group in facts.groupby(["series", "side"], sort=True):
        answered = settings.monitoring.dates(str(series), str(side))
        found[str(series), str(side)] = monitoring.watch(group, WATCHED_RATE, answered)
    return found


def alarm(session: Session, settings: Settings, last: date) -> str | None:
    """Say which alarms nobody has answered for, and how to, or None."""
    told = monitoring.objection(watches(session, settings, last))
    if told is None:
        return None
    return f"{told}. Look into it, then answer for it in the configuration: [[monitoring.acknowledged]]"


def held_by(settings: Settings) -> str | None:
    """Say who stopped publication and how to release it, or None."""
    held = hold.current(settings)
    return None if held is None else f"{held.sentence}; {hold.RELEASE}"


def doubts(settings: Settings, last: date) -> str | None:
    """Say which values in force are stale, were read after the day or break a rule of their venue, or None."""
    rows = in_force_files.findings(
        in_force.sets(settings).values(),
        in_force.profiles(settings),
        as_of=last,
        max_age_days=in_force.max_age_days(settings),
    )
    if rows.empty:
        return None
    same = ["symbol", "product", "detail"]
    told = []
    for (symbol, product, detail), mine in rows.groupby(same, sort=False):
        keys, sides = (list(dict.fromkeys(mine[name])) for name in ("parameter", "side"))
        told.append(
            " ".join(str(one) for one in (symbol, product, "/".join(sides), ", ".join(keys)) if one) + f": {detail}"
        )
    more = f"; and {len(told) - SAMPLE} more" if len(told) > SAMPLE else ""
    return f"{len(rows)} finding(s): {'; '.join(told[:SAMPLE])}{more}"


def objection(results: pd.DataFrame) -> str | None:
    """One sentence naming the blocking checks that failed, or None."""
    failed = results[results["is_blocking"] & ~results["is_passed"]]
    if failed.empty:
        return None
    return "; ".join(
        f"check {row.name_} failed: {row.detail}" for row in failed.rename(columns={"name": "name_"}).itertuples()
    )


def _first(bad: pd.DataFrame) -> str:
    return ", ".join(f"{key} {value}" for key, value in bad.iloc[0].to_dict().items())


def build(settings: Settings, partitions: dg.PartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    """Return the asset checks of the derived tables."""
    made = [
        _check(settings, partitions, table, name, is_blocking=True) for table, ns in BLOCKING.items() for name in ns
    ]
    made += [
        _check(settings, partitions, table, name, is_blocking=False) for table, ns in WARNING.items() for name in ns
    ]
    made += [_grain_check(partitions, table) for table in GRAIN_TABLES]
    if settings.source.has_hourly:
        made.append(_check(settings, partitions, HOURLY, "candle_hour_revisions", is_blocking=False))
        made.append(_grain_check(partitions, HOURLY, is_blocking=False))
    return [
        *made,
        _alarm_check(settings, partitions),
        _told_check(
            settings,
            partitions,
            HOLD,
            "Nobody stopped publication. It blocks no stage: the report is made and says that it is withheld.",
            dg.AssetCheckSeverity.ERROR,
        ),
        _told_check(
            settings,
            partitions,
            STALE_IN_FORCE,
            "Every value in force was read before the day, is fresh, and keeps the rules of its venue.",
            dg.AssetCheckSeverity.WARN,
        ),
    ]


def _told_check(
    settings: Settings,
    partitions: dg.PartitionsDefinition,
    name: str,
    about: str,
    severity: dg.AssetCheckSeverity,
) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset="publication", name=name, blocking=False, partitions_def=partitions, description=about)
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        last = date.fromisoformat(max(context.partition_keys))
        told = held_by(settings) if name == HOLD else doubts(settings, last)
        return dg.AssetCheckResult(passed=told is None, severity=severity, metadata={"found": told or "none"})

    return check


def _alarm_check(settings: Settings, partitions: dg.PartitionsDefinition) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset="coverage",
        name=MODEL_ALARM,
        blocking=True,
        partitions_def=partitions,
        description="Betting against the overshoot estimate in use has not won twentyfold, or somebody answers for it.",
    )
    def check(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> dg.AssetCheckResult:
        last = date.fromisoformat(max(context.partition_keys))
        with warehouse.session() as session:
            found = watches(session, settings, last)
            told = alarm(session, settings, last)
        wealth = {f"{series} {side}": dg.MetadataValue.text(one.state) for (series, side), one in found.items()}
        return dg.AssetCheckResult(
            passed=told is None,
            severity=dg.AssetCheckSeverity.ERROR,
            metadata={**wealth, "open_alarms": told or "none"},
        )

    return check


def _grain_check(
    partitions: dg.PartitionsDefinition, table: str, *, is_blocking: bool = True
) -> dg.AssetChecksDefinition:
    grain = ", ".join(sql.table(table).grain)

    @dg.asset_check(
        asset=table,
        name=f"{table}_grain",
        blocking=is_blocking,
        partitions_def=partitions,
        description=f"No two rows share {grain}.",
    )
    def check(warehouse: Warehouse) -> dg.AssetCheckResult:
        with warehouse.session() as session:
            return _result(session.contract_failures(table), is_blocking=is_blocking)

    return check


def _result(bad: pd.DataFrame, *, is_blocking: bool) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=bad.empty,
        severity=dg.AssetCheckSeverity.ERROR if is_blocking else dg.AssetCheckSeverity.WARN,
        metadata={
            "failing_rows": len(bad),
            "sample": dg.MetadataValue.text(bad.head(SAMPLE).to_string(index=False) if len(bad) else "none"),
        },
    )


def _check(
    settings: Settings, partitions: dg.PartitionsDefinition, table: str, name: str, *, is_blocking: bool
) -> dg.AssetChecksDefinition:
    about = re.search(r"@about (.+)", sql.text("checks", name))

    @dg.asset_check(
        asset=table,
        name=name,
        blocking=is_blocking,
        partitions_def=partitions,
        description=about.group(1) if about else name,
    )
    def check(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> dg.AssetCheckResult:
        last = date.fromisoformat(max(context.partition_keys))
        with warehouse.session() as session:
            bad = failures(session, name, settings, last)
        return _result(bad, is_blocking=is_blocking)

    return check
