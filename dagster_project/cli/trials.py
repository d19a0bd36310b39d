"""Looking into the numbers: backtest, replay, comparison, candles, benchmarks.

What lives here: words and options. What does not: what is computed
(``trial``, ``policies``, ``changes``, ``inspection``).
"""

import importlib
import inspect
import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from dagster_project.cli.common import (
    EMBEDDED,
    FAILED,
    AsKnown,
    AsOf,
    Candles,
    Config,
    UsageError,
    choice,
    complain,
    day_of,
    settings_of,
    show_progress,
    wrote_json,
)

app = typer.Typer()


@app.command()
def backtest(
    config: Config = EMBEDDED,
    as_of: AsOf = None,
    candles: Candles = None,
    json_out: Annotated[
        Path | None, typer.Option("--json", help="Write the whole table here; - for standard output.")
    ] = None,
    as_known: AsKnown = "then",
    intraday: Annotated[
        Path | None, typer.Option("--intraday", help="Hourly bars, to test the horizon: CSV or Parquet.")
    ] = None,
    intraday_source: Annotated[
        list[str] | None, typer.Option("--intraday-source", help="Source in that file; again for the next choice.")
    ] = None,
) -> None:
    """Print coverage and breaches: how often such thresholds would have failed."""
    settings = settings_of(config, candles)
    day = day_of(settings, as_of)
    show_progress()
    from dagster_project import outcome as outcome_module
    from dagster_project import trial, trial_models
    from dagster_project.market_feed import FeedError
    from dagster_project.nightly import run_nightly

    stages = ["candle", "price", "volatility_fit", "volatility_forecast", "fit_reference", "overshoot_quantile"]
    stages += ["challenger_forecast", "threshold", "breach", "coverage"]
    is_known_now = choice("--as-known", as_known, "now", "then") == "now"
    result = run_nightly(settings, day, select=stages, is_known_now=is_known_now)
    if not result.is_success:
        complain(result.error or f"failed checks: {', '.join(result.failed_checks)}", FAILED)
    table = outcome_module.coverage(settings, day)
    try:
        hourly = trial.hours(settings, day, intraday, intraday_source or ())
    except FeedError as error:
        raise UsageError(f"--intraday: {error}") from error
    compared = trial_models.read(settings, day)
    if json_out is not None:
        found = trial.everything(settings, day, table, hourly) | {"models": trial_models.as_records(compared)}
        if wrote_json(found, json_out):
            return
    parts = (outcome_module.render_coverage(table), trial.render(trial.read(settings, day, hourly)))
    sys.stdout.write("\n".join([*parts, trial_models.render(compared)]))


@app.command()
def replay(
    config: Config = EMBEDDED,
    as_of: AsOf = None,
    candles: Candles = None,
    json_out: Annotated[
        Path | None, typer.Option("--json", help="Write everything, curves too, here; - for standard output.")
    ] = None,
) -> None:
    """Replay whole policies: the recommended one against parameters in force and simpler rules, over all days."""
    settings = settings_of(config, candles)
    day = day_of(settings, as_of)
    show_progress()
    from dagster_project import policies
    from dagster_project.nightly import run_nightly

    result = run_nightly(settings, day, select=policies.STAGES)
    if not result.is_success:
        complain(result.error or f"failed checks: {', '.join(result.failed_checks)}", FAILED)
    found = policies.replays(settings, day)
    if json_out is not None and wrote_json(policies.replay_records(found), json_out):
        return
    sys.stdout.write(policies.render_replays(found))


@app.command()
def compare(
    methodology: Annotated[
        list[str] | None, typer.Option("--methodology", help="A stored version, or VERSION:HASH; give it twice.")
    ] = None,
    config: Annotated[
        list[Path] | None, typer.Option("--config", help="Configuration file; twice to compare two of one profile.")
    ] = None,
    as_of: AsOf = None,
    candles: Candles = None,
    json_out: Annotated[
        Path | None, typer.Option("--json", help="Write everything here; - for standard output.")
    ] = None,
) -> None:
    """Compare two methods, or two configurations, over the last year: numbers, verdicts, decisions."""
    versions, paths = methodology or [], config or []
    if (len(versions), len(paths)) not in {(2, 0), (2, 1), (0, 2)}:
        raise UsageError("name two sides: --methodology A --methodology B [--config F], or --config A --config B")
    chosen = [settings_of(path, candles) for path in paths or [EMBEDDED]]
    day = min(day_of(settings, as_of) for settings in chosen)
    show_progress()
    from dagster_project import changes

    found: changes.Changes | changes.Side
    try:
        if versions:
            found = changes.of_methods(chosen[0], (versions[0], versions[1]), day)
        else:
            found = changes.of_configurations((paths[0], chosen[0]), (paths[1], chosen[1]), day)
    except changes.ChangesError as error:
        raise UsageError(str(error)) from error
    except changes.RunError as error:
        complain(str(error), FAILED)
    if json_out is not None and wrote_json(changes.as_records(found), json_out):
        return
    sys.stdout.write(changes.render(found))


@app.command("candles")
def show_candles(
    market: Annotated[str, typer.Argument(help="One of the configuration's markets.")],
    config: Config = EMBEDDED,
    since: Annotated[str | None, typer.Option("--from", help="First day; thirty days before the last.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Last day; the newest the profile covers.")] = None,
    as_known: Annotated[
        str, typer.Option("--as-known", help="now, then (each as first seen), or a day: as its report sees them.")
    ] = "now",
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable rows.")] = False,
) -> None:
    """Print a market's stored candles as they are known now, or as they were known then."""
    from dagster_project import inspection

    settings = settings_of(config, None)
    if market not in settings.markets:
        raise UsageError(f"{market!r}: markets of this configuration are {', '.join(settings.markets)}")
    last = day_of(settings, until, "--to")
    first = max(last - timedelta(days=29), settings.profile.first_partition)
    first = first if since is None else day_of(settings, since, "--from")
    if first > last:
        raise UsageError(f"--from {first}: after --to {last}")
    known = as_known if as_known in (inspection.NOW, inspection.THEN) else day_of(settings, as_known, "--as-known")
    rows = inspection.candles(settings, market, first, last, known)
    if as_json:
        sys.stdout.write(json.dumps(inspection.as_records(rows), indent=1) + "\n")
    else:
        sys.stdout.write(inspection.render(rows))


@app.command()
def bench(
    name: Annotated[str, typer.Argument(help="Which question: see benchmarks/.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable figures.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Take the long study, where a question has one.")] = False,
    kills: Annotated[int | None, typer.Option("--kills", min=1, help="How often crash kills a run.")] = None,
) -> None:
    """Measure: the figures of README and docs come from here."""
    folder = Path(__file__).resolve().parents[2] / "benchmarks"
    known = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    if name not in known:
        raise UsageError(f"bench {name!r}: known are {', '.join(known)}")
    sys.path.insert(0, str(folder.parent))
    module = importlib.import_module(f"benchmarks.{name}")
    more = ({"full": True} if full else {}) | ({"kills": kills} if kills is not None else {})
    for option in more.keys() - inspect.signature(module.run).parameters.keys():
        raise UsageError(f"bench {name} takes no --{option}; leave it out")
    raise typer.Exit(module.run(json=as_json, **more))
