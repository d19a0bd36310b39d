"""Command line: the contract that others script against.

What lives here: words, options, exit codes and what a person or a pipe sees. What does not: stages, formulas, SQL.
Exit codes: 0 done, 1 failed, 2 bad usage or input, 3 done but publication withheld by a check.
"""

import importlib
import inspect
import json
import logging
import sys
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from dagster_project import clock
from dagster_project import settings as settings_module
from dagster_project.settings import Settings, SettingsError

OK, FAILED, USAGE, WITHHELD = 0, 1, 2, 3
EMBEDDED = Path(__file__).resolve().parents[1] / "config" / "embedded.toml"

app = typer.Typer(
    name="plimsoll",
    help="Calibrate liquidation thresholds and report on them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
outbox_app = typer.Typer(help="Mails waiting, sent or refused.", no_args_is_help=True)
app.add_typer(outbox_app, name="outbox")

Config = Annotated[Path, typer.Option("--config", help="Configuration file.")]
AsOf = Annotated[str | None, typer.Option("--as-of", help="Last day whose data may be used, YYYY-MM-DD.")]
Candles = Annotated[Path | None, typer.Option("--candles", help="Tidy candle file or folder instead of the source's.")]


class UsageError(ValueError):
    """What was asked cannot be done; the message says what to ask instead."""


def main() -> None:
    """Run the command line; errors become one plain message and an exit code, never a traceback."""
    try:
        app(standalone_mode=False)
    except (SettingsError, UsageError) as error:
        _complain(str(error), USAGE)
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except typer.Abort:
        _complain("stopped", FAILED)
    except Exception as error:
        if hasattr(error, "format_message"):
            _complain(error.format_message(), USAGE)
        _complain(f"{type(error).__name__}: {error}", FAILED)


def _complain(message: str, code: int) -> None:
    sys.stderr.write(f"plimsoll: {message}\n")
    sys.exit(code)


class _Progress(logging.Handler):
    """One line a stage: rewritten in place on a terminal, appended in a pipe."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.is_terminal = sys.stderr.isatty()

    def emit(self, record: logging.LogRecord) -> None:
        stage, detail = record.__dict__.get("stage", ""), record.__dict__.get("detail", "")
        seconds = record.__dict__.get("seconds")
        if seconds is None:
            if self.is_terminal:
                sys.stderr.write(f"\r\x1b[2K  … {stage} {detail}")
        else:
            word = "failed" if record.levelno >= logging.ERROR else "done"
            mark = {"done": "✓", "failed": "✗"}[word] if self.is_terminal else word
            lead = "\r\x1b[2K  " if self.is_terminal else ""
            sys.stderr.write(f"{lead}{mark} {stage} {seconds:.1f} s\n")
        sys.stderr.flush()


def _show_progress() -> None:
    logger = logging.getLogger("plimsoll")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [_Progress()]


def _settings(config: Path, candles: Path | None) -> Settings:
    loaded = settings_module.load(config)
    if candles is not None:
        if not candles.exists():
            raise UsageError(f"--candles {candles}: no such file or folder")
        loaded = loaded.with_candles(candles)
    return loaded


def _day(settings: Settings, text: str | None) -> date:
    if text is None:
        return settings.as_of_default(clock.now().date())
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--as-of {text!r}: not a day; write it as 2018-12-31") from None
    first, last = settings.profile.first_partition, settings.as_of_default(clock.now().date())
    if not first <= day <= last:
        raise UsageError(f"--as-of {day}: profile {settings.profile.name!r} covers {first} to {last}")
    return day


@app.command()
def report(
    config: Config = EMBEDDED,
    as_of: AsOf = None,
    candles: Candles = None,
    send_corrections: Annotated[
        bool, typer.Option("--send-corrections", help="Mail a corrected report to those who got an earlier one.")
    ] = False,
) -> None:
    """Run the nightly job for one day, without a daemon: data to PDF and mail file."""
    settings = _settings(config, candles)
    day = _day(settings, as_of)
    _show_progress()
    sys.stderr.write(f"plimsoll {settings.profile.name}: nightly for {day}\n")
    from dagster_project.nightly import run_nightly

    outcome = run_nightly(settings, day, send_corrections=send_corrections)
    if outcome.failed_checks:
        _complain(
            f"publication withheld by check: {', '.join(outcome.failed_checks)} (details: make ui, Checks)", WITHHELD
        )
    if not outcome.is_success:
        _complain(outcome.error or "a stage failed; see the run in the UI (make ui)", FAILED)
    from dagster_project import outcome as outcome_module

    summary = outcome_module.summary(settings, day)
    sys.stdout.write(outcome_module.render(summary))
    raise typer.Exit(WITHHELD if summary.status == "withheld" else OK)


@app.command()
def backtest(
    config: Config = EMBEDDED,
    as_of: AsOf = None,
    candles: Candles = None,
    json_out: Annotated[
        Path | None, typer.Option("--json", help="Write the whole table here; - for standard output.")
    ] = None,
) -> None:
    """Print coverage and breaches: how often such thresholds would have failed."""
    settings = _settings(config, candles)
    day = _day(settings, as_of)
    _show_progress()
    from dagster_project import outcome as outcome_module
    from dagster_project.nightly import run_nightly

    stages = ["candle", "price", "volatility_fit", "volatility_forecast", "fit_reference", "overshoot_quantile"]
    stages += ["threshold", "breach", "coverage"]
    result = run_nightly(settings, day, select=stages)
    if not result.is_success:
        _complain(result.error or f"failed checks: {', '.join(result.failed_checks)}", FAILED)
    table = outcome_module.coverage(settings, day)
    if json_out is not None:
        text = json.dumps(outcome_module.coverage_records(table), sort_keys=True, indent=1) + "\n"
        if str(json_out) == "-":
            sys.stdout.write(text)
            return
        json_out.write_text(text, encoding="utf-8")
    sys.stdout.write(outcome_module.render_coverage(table))


@app.command()
def bench(
    name: Annotated[str, typer.Argument(help="Which question: see benchmarks/.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable figures.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Take the long study, where a question has one.")] = False,
) -> None:
    """Measure: the figures of README and docs come from here."""
    folder = Path(__file__).resolve().parents[1] / "benchmarks"
    known = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    if name not in known:
        raise UsageError(f"bench {name!r}: known are {', '.join(known)}")
    sys.path.insert(0, str(folder.parent))
    module = importlib.import_module(f"benchmarks.{name}")
    if full and "full" not in inspect.signature(module.run).parameters:
        raise UsageError(f"bench {name} has no long study; leave --full out")
    raise typer.Exit(module.run(json=as_json, **({"full": True} if full else {})))


@app.command()
def doctor(config: Config = EMBEDDED) -> None:
    """Check libraries, fonts, the store, orphan runs and the outbox; say what to do about each fault."""
    from dagster_project import doctor as doctor_module

    findings = doctor_module.examine(_settings(config, None))
    for finding in findings:
        sys.stdout.write(f"{'ok  ' if finding.is_fine else 'FAULT'} {finding.what}: {finding.detail}\n")
    raise typer.Exit(OK if all(finding.is_fine for finding in findings) else FAILED)


@outbox_app.command("list")
def outbox_list(
    config: Config = EMBEDDED,
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable rows.")] = False,
) -> None:
    """List mails and their states."""
    from dagster_project import outcome as outcome_module

    rows = outcome_module.outbox(_settings(config, None))
    if as_json:
        sys.stdout.write(json.dumps(rows, sort_keys=True, indent=1) + "\n")
        return
    if not rows:
        sys.stdout.write("no mail yet\n")
    for row in rows:
        sys.stdout.write(f"{row['as_of']}  {row['state']:<9} {row['recipient']}  {row['subject']}\n")


if __name__ == "__main__":
    main()
