"""Risk report: the decision as PDF and JSON, rebuilt from the store and kept by content.

What lives here: gathering what the report shows, verifying the gates again, writing files and the report row. What does
not: wording, looks and rendering (``reports``), numbers (every stage before).
"""

from datetime import date, timedelta
from importlib.metadata import version

import dagster as dg
import pandas as pd

import plimsoll
from assets import _run, checks, policy_replay, report_card, report_models, severity, sizes, trial
from assets._budget import beside, with_books
from assets._table import table_metadata
from assets.thresholds import sensitivities, worth_rows
from dagster_project import files, in_force
from dagster_project import settings as settings_module
from dagster_project.progress import crash_point, step
from dagster_project.settings import Settings
from dagster_project.warehouse import Session, Warehouse, frame_hash
from plimsoll.correlation import lead_market
from reports import isolated, web
from reports.view import MarketInput, ReportInputs

SHOWN: dict[str, list[str]] = {
    "prices": ["date", "symbol", "close_usd", "high_usd", "low_usd", "gap_sessions", "venue_count", "feed_status"],
    "forecasts": [
        "symbol",
        "as_of",
        "target_date",
        "sigma_daily",
        "sigma_long_run_daily",
        "sigma_eff_daily",
        "rung",
        "vintage",
    ],
    "thresholds": ["symbol", "product", "side", "target_date", "lt_bps", "mm_bps"],
    "triggers": ["symbol", "side", "target_date"],
}
LOGGED_SERIES = ("overshoot_24h", "overshoot_24h_deep", "var_close")


def gather(session: Session, settings: Settings, day: date) -> ReportInputs:
    """Read everything that the report of a day shows, and verify every gate against the store as it is now."""
    identity = {"methodology": plimsoll.METHODOLOGY, "config_hash": settings.config_hash}
    frames = {
        name: session.query(name, last=day, **identity)
        for name in (
            "forecasts",
            "fits_in_use",
            "fit_references",
            "fit_health",
            "refusals",
            "thresholds",
            "overshoot_quantiles",
            "breaches",
        )
    }
    prices = session.query("prices", last=day)
    coverage = session.query("coverage_of", last=day, **identity)
    correlations = session.query("correlations_of", last=day, **identity)
    recommendations = session.query("recommendations_of", last=day, **identity)
    gates = checks.verify(session, settings, day)
    reason = checks.objection(gates) or _reconciliation(settings, recommendations)
    newest = frames["forecasts"].groupby("symbol").tail(1)
    facts = frames["breaches"]
    budgets = frames["thresholds"].groupby(["symbol", "product", "side"]).tail(1).reset_index(drop=True)
    return ReportInputs(
        profile_title=settings.profile.title,
        profile_about=settings.profile.about,
        is_demo=settings.profile.is_demo,
        as_of=day,
        methodology=plimsoll.METHODOLOGY,
        config_hash=settings.config_hash,
        decision_id=_run.digest(
            settings.config_hash,
            plimsoll.METHODOLOGY,
            str(day),
            *(frame_hash(frame) for frame in (prices, recommendations, coverage)),
        ),
        data_source=", ".join(dict.fromkeys(s for symbol in settings.markets for s in settings.source.ids_of(symbol))),
        markets=tuple(_market(settings, symbol) for symbol in settings.markets),
        prices=_slim(prices, SHOWN["prices"]),
        forecasts=_slim(frames["forecasts"], SHOWN["forecasts"]),
        fits=frames["fits_in_use"],
        references=frames["fit_references"],
        fit_health=frames["fit_health"],
        refusals=frames["refusals"],
        thresholds=_slim(frames["thresholds"], SHOWN["thresholds"]),
        budgets=budgets,
        quantiles=frames["overshoot_quantiles"].merge(newest[["symbol", "target_date"]], on=["symbol", "target_date"]),
        coverage=coverage,
        correlations=correlations,
        stress_lead=lead_market(prices, list(settings.markets)) or "",
        triggers=_slim(facts[_is_trigger(facts)], SHOWN["triggers"]).reset_index(drop=True),
        breaches=facts[facts["is_breach"] & facts["series"].isin(LOGGED_SERIES)].reset_index(drop=True),
        recommendations=recommendations,
        sensitivities=sensitivities(
            settings,
            prices,
            frames["forecasts"],
            frames["overshoot_quantiles"],
            frames["thresholds"],
            with_books(session, settings, beside(session, settings, day), day, day),
        ),
        quarantine=session.query("quarantine", last=day),
        checks=gates,
        in_force=in_force.rows(settings),
        previous=session.query("previous_recommendations", as_of=day),
        feeds=session.query("feed_scores", last=day, **identity),
        verdicts=session.query("bar_verdicts", last=day),
        spans=session.query("feed_spans", last=day),
        worth=worth_rows(settings, frames["thresholds"]),
        tiers=session.query("size_tiers_of", last=day, **identity),
        caps=session.query("exposure_caps_of", last=day, **identity),
        implied=session.query("implied_of", last=day, **identity),
        attributions=session.query("attributions_of", last=day, **identity),
        publications=session.query("publications_of", last=day, **identity),
        models=report_models.model_inputs(session, settings, day, budgets),
        cards=report_card.card_rows(settings, sizes.read(session, settings, day, day), frames["fits_in_use"]),
        **_trial(session, settings, day, (prices, frames["forecasts"], frames["thresholds"]), facts),
        status="proposed" if reason is None else "withheld",
        withheld_reason=reason or "",
    )


def _trial(
    session: Session,
    settings: Settings,
    day: date,
    stored: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame],
    facts: pd.DataFrame,
) -> dict[str, pd.DataFrame]:
    """Replay the policies, and read the watch, the bets against every model and the scorecard."""
    tables: dict[str, list[pd.DataFrame]] = {"rules": [], "pairs": [], "curves": []}
    for product, side in policy_replay.USES:
        rows = policy_replay.panel_rows(settings, product, side, *stored)
        if len(rows):
            found = policy_replay.replay_of(settings, product, side, rows)
            for name, frames in tables.items():
                frames.append(getattr(found, name).assign(product=product, side=side))
    watched = [
        pd.DataFrame({"date": one.dates, "log_wealth": one.log_wealth}).assign(
            series=series,
            side=side,
            state=one.state,
            alarms=", ".join(str(when) for when in one.alarms),
            open_alarm=str(one.open_alarm or ""),
        )
        for (series, side), one in checks.watches(session, settings, day).items()
    ]
    return {f"replay_{name}": pd.concat(frames) if frames else pd.DataFrame() for name, frames in tables.items()} | {
        "watch": pd.concat(watched) if watched else pd.DataFrame(),
        "bets": severity.paths(facts, "overshoot_24h", 100),
        "scorecard": trial.scorecard(session, settings, day),
    }


def _is_trigger(facts: pd.DataFrame) -> pd.Series:
    """Mark one fact a trigger at the perpetual depth, whether the limit held or not."""
    is_estimator = (facts["series"] == "overshoot_24h") & (facts["model"] == "estimator")
    return is_estimator & (facts["tail_probability_bps"] == 100)


def _slim(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Keep what is shown; repeated words as categories, so that sixty markets fit into little memory."""
    kept = frame[columns].copy()
    for name in ("symbol", "product", "side", "rung", "vintage"):
        if name in kept:
            kept[name] = kept[name].astype("category")
    return kept


def _market(settings: Settings, symbol: str) -> MarketInput:
    market = settings.markets[symbol]
    uses = (("perpetual", market.perpetual), ("lending", market.lending))
    return MarketInput(
        symbol=symbol,
        name=market.name,
        market_class=market.market_class,
        calendar=market.calendar,
        note=market.note,
        is_close_only=market.is_close_only,
        products=tuple(name for name, use in uses if use is not None),
    )


def _reconciliation(settings: Settings, recommendations: pd.DataFrame) -> str | None:
    """Say which configured markets have no recommendation: what goes in must come out."""
    due = {
        (symbol, product)
        for symbol, market in settings.markets.items()
        for product, use in (("perpetual", market.perpetual), ("lending", market.lending))
        if use is not None
    }
    have = set(zip(recommendations["symbol"], recommendations["product"], strict=True))
    missing = sorted(due - have)
    if missing:
        return "no recommendation stored for " + ", ".join(f"{s} {p}" for s, p in missing) + "; run the whole day again"
    return None


def write(session: Session, settings: Settings, run: _run.Run, inputs: ReportInputs) -> int:
    """Render a day's report and keep it by content; rows written.

    Files go into the revision's own folder before its row is committed and are copied to the day's folder after, so a
    kill in between leaves nothing that a rerun does not mend.
    """
    day = inputs.as_of
    built, rendered = isolated.make(inputs)
    known = session.query("reports", as_of=day)
    hashes = (files.sha256(rendered.pdf), files.sha256(rendered.json))
    is_known = len(known) > 0 and hashes == (known.iloc[-1]["pdf_sha256"], known.iloc[-1]["json_sha256"])
    revision = len(known) if is_known else len(known) + 1
    folder = settings_module.profile_folder(settings)
    relative = f"reports/{day.isoformat()}"
    outputs = {
        "report.pdf": rendered.pdf,
        "decision.json": rendered.json,
        "report.html": web.page(built).encode(),
        "forum.md": built.forum.encode(),
        "breaches.csv": built.breaches_csv.encode(),
    }
    for name, content in outputs.items():
        files.write_atomic(folder / relative / f"revision-{revision}" / name, content)
    written = 0
    if not is_known:
        row = pd.DataFrame(
            {
                "as_of": [pd.Timestamp(day)],
                "revision": [revision],
                "decision_id": [inputs.decision_id],
                "status": [inputs.status],
                "headline": [built.headline],
                "pdf_sha256": [hashes[0]],
                "json_sha256": [hashes[1]],
                "page_count": [rendered.page_count],
                "report_path": [relative],
                "methodology": [plimsoll.METHODOLOGY],
                "config_hash": [settings.config_hash],
            }
        )
        with session.transaction():
            written = session.insert("report", row)
            _run.commit(session, run, "risk_report", written, row)
    crash_point("committed report")
    for name, content in outputs.items():
        files.write_atomic(folder / relative / name, content)
    for older in range(1, revision):
        note = f"Superseded by revision {revision}, decision {inputs.decision_id}.\n"
        files.write_atomic(folder / relative / f"revision-{older}" / "SUPERSEDED.txt", note.encode())
    return written


def _due(settings: Settings) -> dg.FreshnessPolicy | None:
    """Until when a night's report must be there, where nights are scheduled."""
    if not settings.profile.is_schedule_on:
        return None
    hour = settings.operations.report_due_hour_utc
    return dg.FreshnessPolicy.cron(
        deadline_cron=f"0 {hour} * * *", lower_bound_delta=timedelta(hours=hour), timezone="UTC"
    )


def build(settings: Settings, partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return the report asset of a configuration."""

    @dg.asset(
        name="risk_report",
        deps=[
            "recommendation",
            "publication",
            "correlation",
            "size_tier",
            "exposure_cap",
            "implied_confidence",
            "attribution",
        ],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="report",
        kinds={"python", "pdf"},
        code_version=plimsoll.METHODOLOGY,
        freshness_policy=_due(settings),
        description="The risk report as PDF, web page, forum post, decision.json and breaches.csv. Verifies every gate "
        "against the store before it proposes anything; byte-identical when nothing changed.",
    )
    def risk_report(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[None]:
        run = _run.of(context, settings)
        written = 0
        with step("report"):
            for day in run.days:
                with warehouse.session() as session:
                    inputs = gather(session, settings, day)
                    written += write(session, settings, run, inputs)
        path = settings_module.profile_folder(settings) / "reports" / run.end.isoformat() / "report.pdf"
        return dg.MaterializeResult(
            metadata={
                **table_metadata("report", written),
                "status": inputs.status,
                "pdf": dg.MetadataValue.path(str(path)),
                "weasyprint": version("weasyprint"),
            }
        )

    return [risk_report]
