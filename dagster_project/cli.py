"""Command line: the contract that others script against.

What lives here: words, options, exit codes and what a person or a pipe sees. What does not: stages, formulas, SQL.
Exit codes: 0 done, 1 failed, 2 bad usage or input, 3 done but publication withheld by a check.
"""

import importlib
import inspect
import json
import logging
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated

import typer

from dagster_project import clock
from dagster_project import settings as settings_module
from dagster_project.feeds_audit import feeds_app
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
app.add_typer(feeds_app, name="feeds")

Config = Annotated[Path, typer.Option("--config", help="Configuration file.")]
AsOf = Annotated[str | None, typer.Option("--as-of", help="Last day whose data may be used, YYYY-MM-DD.")]
Candles = Annotated[Path | None, typer.Option("--candles", help="Tidy candle file or folder instead of the source's.")]


class UsageError(ValueError):
    """What was asked cannot be done; the message says what to ask instead."""


def main() -> None:
    """Run the command line; errors become one plain message and an exit code, never a traceback."""
    try:
        # What a command raises as typer.Exit comes back as a value here.
        code = app(standalone_mode=False)
    except (SettingsError, UsageError) as error:
        _complain(str(error), USAGE)
    except typer.Abort:
        _complain("stopped", FAILED)
    except Exception as error:
        if hasattr(error, "format_message"):
            _complain(error.format_message(), USAGE)
        _complain(f"{type(error).__name__}: {error}", FAILED)
    else:
        sys.exit(code if isinstance(code, int) else OK)


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


def _day(settings: Settings, text: str | None, option: str = "--as-of") -> date:
    last = settings.as_of_default(clock.now().date())
    if text is None:
        return last
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text!r}: not a day; write it as 2018-12-31") from None
    first = settings.profile.first_partition
    if not first <= day <= last:
        raise UsageError(f"{option} {day}: profile {settings.profile.name!r} covers {first} to {last}")
    return day


def _first_day(settings: Settings, day: date, since: str | None, *, is_catch_up: bool) -> date:
    """Return the first day of the run: the day itself, the one named, or the one after the newest report."""
    if since is not None and is_catch_up:
        raise UsageError("--from and --catch-up: name the first day, or let it be found, not both")
    if since is not None:
        first = _day(settings, since, "--from")
        if first > day:
            raise UsageError(f"--from {first}: after --as-of {day}")
        return first
    if is_catch_up:
        from dagster_project import outcome as outcome_module

        newest = outcome_module.newest_day(settings)
        return min(newest + timedelta(days=1), day) if newest is not None else day
    return day


def _stages(names: list[str] | None) -> list[str] | None:
    if not names:
        return None
    from dagster_project.definitions import build_defs

    known = [spec.key.to_user_string() for spec in build_defs().resolve_all_asset_specs()]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"--stage {', '.join(unknown)}: stages are {', '.join(known)}")
    return names


@app.command()
def report(
    config: Config = EMBEDDED,
    as_of: AsOf = None,
    candles: Candles = None,
    since: Annotated[str | None, typer.Option("--from", help="First day of a range that runs as one.")] = None,
    catch_up: Annotated[bool, typer.Option("--catch-up", help="Begin with the day after the newest report.")] = False,
    stage: Annotated[
        list[str] | None, typer.Option("--stage", help="Run this stage alone; give it again for several.")
    ] = None,
    send_corrections: Annotated[
        bool, typer.Option("--send-corrections", help="Mail a corrected report to those who got an earlier one.")
    ] = False,
    send_past: Annotated[
        bool, typer.Option("--send-past", help="Mail days after which a later one was reported, too.")
    ] = False,
    no_mail: Annotated[bool, typer.Option("--no-mail", help="Write mails, hand none to the server.")] = False,
) -> None:
    """Run the nightly job for one day or a range, without a daemon: data to PDF, mail and backup."""
    settings = _settings(config, candles)
    day = _day(settings, as_of)
    first = _first_day(settings, day, since, is_catch_up=catch_up)
    stages = _stages(stage)
    _show_progress()
    days = str(day) if first == day else f"{first} to {day}"
    sys.stderr.write(f"plimsoll {settings.profile.name}: nightly for {days}\n")
    from dagster_project.nightly import Mailing, run_nightly

    mailing = Mailing(send=not no_mail, corrections=send_corrections, past=send_past)
    ending = run_nightly(settings, day, first=first, select=stages, mailing=mailing)
    if ending.failed_checks:
        _complain(
            f"publication withheld by check: {', '.join(ending.failed_checks)} (details: make ui, Checks)", WITHHELD
        )
    if not ending.is_success:
        _complain(ending.error or "a stage failed; see the run in the UI (make ui)", FAILED)
    if stages and "risk_report" not in stages:
        return
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
    from dagster_project import trial
    from dagster_project.nightly import run_nightly

    stages = ["candle", "price", "volatility_fit", "volatility_forecast", "fit_reference", "overshoot_quantile"]
    stages += ["threshold", "breach", "coverage"]
    result = run_nightly(settings, day, select=stages)
    if not result.is_success:
        _complain(result.error or f"failed checks: {', '.join(result.failed_checks)}", FAILED)
    table = outcome_module.coverage(settings, day)
    if json_out is not None:
        text = json.dumps(trial.everything(settings, day, table), sort_keys=True, indent=1) + "\n"
        if str(json_out) == "-":
            sys.stdout.write(text)
            return
        json_out.write_text(text, encoding="utf-8")
    sys.stdout.write(outcome_module.render_coverage(table) + "\n" + trial.render(*trial.read(settings, day)))


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
    settings = _settings(config, candles)
    day = _day(settings, as_of)
    _show_progress()
    from dagster_project import policies
    from dagster_project.nightly import run_nightly

    result = run_nightly(settings, day, select=policies.STAGES)
    if not result.is_success:
        _complain(result.error or f"failed checks: {', '.join(result.failed_checks)}", FAILED)
    found = policies.replays(settings, day)
    if json_out is not None:
        text = json.dumps(policies.replay_records(found), sort_keys=True, indent=1) + "\n"
        if str(json_out) == "-":
            sys.stdout.write(text)
            return
        json_out.write_text(text, encoding="utf-8")
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
    chosen = [_settings(path, candles) for path in paths or [EMBEDDED]]
    day = min(_day(settings, as_of) for settings in chosen)
    _show_progress()
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
        _complain(str(error), FAILED)
    if json_out is not None:
        text = json.dumps(changes.as_records(found), sort_keys=True, indent=1) + "\n"
        if str(json_out) == "-":
            sys.stdout.write(text)
            return
        json_out.write_text(text, encoding="utf-8")
    sys.stdout.write(changes.render(found))


@app.command()
def bench(
    name: Annotated[str, typer.Argument(help="Which question: see benchmarks/.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable figures.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Take the long study, where a question has one.")] = False,
    kills: Annotated[int | None, typer.Option("--kills", min=1, help="How often crash kills a run.")] = None,
) -> None:
    """Measure: the figures of README and docs come from here."""
    folder = Path(__file__).resolve().parents[1] / "benchmarks"
    known = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    if name not in known:
        raise UsageError(f"bench {name!r}: known are {', '.join(known)}")
    sys.path.insert(0, str(folder.parent))
    module = importlib.import_module(f"benchmarks.{name}")
    more = ({"full": True} if full else {}) | ({"kills": kills} if kills is not None else {})
    for option in more.keys() - inspect.signature(module.run).parameters.keys():
        raise UsageError(f"bench {name} takes no --{option}; leave it out")
    raise typer.Exit(module.run(json=as_json, **more))


@app.command()
def doctor(
    config: Config = EMBEDDED,
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable findings.")] = False,
    fix: Annotated[bool, typer.Option("--fix", help="Mark runs failed whose process is gone.")] = False,
) -> None:
    """Check the machine, the store, its copies, orphan runs, mail and the last night; say what to do about a fault."""
    from dagster_project import doctor as doctor_module

    settings = _settings(config, None)
    if fix:
        doctor_module.mark_orphans(settings)
    findings = doctor_module.examine(settings)
    if as_json:
        rows = [{"what": one.what, "is_fine": one.is_fine, "detail": one.detail} for one in findings]
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
    else:
        for finding in findings:
            sys.stdout.write(f"{'ok  ' if finding.is_fine else 'FAULT'} {finding.what}: {finding.detail}\n")
    raise typer.Exit(OK if all(finding.is_fine for finding in findings) else FAILED)


@app.command()
def restore(
    config: Config = EMBEDDED,
    candles: Candles = None,
    copy: Annotated[Path | None, typer.Option("--copy", help="This copy instead of the newest sound one.")] = None,
    from_raw: Annotated[
        bool, typer.Option("--from-raw", help="From the raw files alone; revisions of results stay behind.")
    ] = False,
    confirm: Annotated[bool, typer.Option("--confirm", help="Replace a store that can be opened, too.")] = False,
) -> None:
    """Put the newest sound copy in the place of a damaged store and bring it up to date; nothing is deleted."""
    from dagster_project import outcome as outcome_module
    from dagster_project import restore as restore_module

    settings = _settings(config, candles)
    if not confirm and outcome_module.is_sound(settings):
        raise UsageError("the store opens and agrees with its ledger; add --confirm to replace it all the same")
    _show_progress()
    done = restore_module.restore(settings, copy=copy, is_from_raw=from_raw)
    sys.stdout.write(outcome_module.render_restored(done))


@outbox_app.command("list")
def outbox_list(
    config: Config = EMBEDDED,
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable rows.")] = False,
) -> None:
    """List mails, their states and what the server said."""
    from dagster_project import outcome as outcome_module

    rows = outcome_module.outbox(_settings(config, None))
    if as_json:
        sys.stdout.write(json.dumps(rows, sort_keys=True, indent=1) + "\n")
        return
    sys.stdout.write(outcome_module.render_outbox(rows))


@outbox_app.command("send")
def outbox_send(
    config: Config = EMBEDDED,
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable counts.")] = False,
) -> None:
    """Hand every mail that is due to the server, and every alert that waits."""
    from dagster_project import alerts, logs, outbox
    from dagster_project.definitions import warehouse_of

    settings = _settings(config, None)
    logs.configure(settings)
    if settings.smtp is None:
        raise UsageError(outbox.NO_SERVER)
    told = alerts.send_waiting(settings)
    done = outbox.attempt(settings, warehouse_of(settings)) | {"alerts_sent": told}
    if as_json:
        sys.stdout.write(json.dumps(done, sort_keys=True, indent=1) + "\n")
    else:
        sys.stdout.write("".join(f"{name.replace('_', ' ')}: {value}\n" for name, value in done.items()))
    raise typer.Exit(FAILED if "mail_server" in done else OK)


Identity = Annotated[str, typer.Argument(metavar="ID", help="The beginning of the mail's id, as listed.")]
Confirm = Annotated[bool, typer.Option("--confirm", help="The recipient was asked; it may be sent again.")]


@outbox_app.command("resend")
def outbox_resend(identity: Identity, config: Config = EMBEDDED, confirm: Confirm = False) -> None:
    """Send one mail again; one that may have arrived only with --confirm."""
    _order(config, identity, "resend", is_confirmed=confirm)


@outbox_app.command("cancel")
def outbox_cancel(identity: Identity, config: Config = EMBEDDED) -> None:
    """Cancel a mail that waits, or one whose fate is unknown."""
    _order(config, identity, "cancel", is_confirmed=False)


@outbox_app.command("arrived")
def outbox_arrived(identity: Identity, config: Config = EMBEDDED) -> None:
    """Note that a mail whose fate was unknown did arrive."""
    _order(config, identity, "arrived", is_confirmed=False)


def _order(config: Path, identity: str, what: str, *, is_confirmed: bool) -> None:
    from dagster_project import logs, outbox
    from dagster_project.definitions import warehouse_of

    settings = _settings(config, None)
    logs.configure(settings)
    warehouse = warehouse_of(settings)
    try:
        row = outbox.order(settings, warehouse, identity, what, is_confirmed=is_confirmed)
        if what == "resend" and settings.smtp is not None:
            outbox.dispatch(settings, warehouse, only=str(row.message_id))
    except outbox.OutboxError as error:
        raise UsageError(str(error)) from error
    _print_one(settings, str(row.message_id))


def _print_one(settings: Settings, message_id: str) -> None:
    from dagster_project import outcome as outcome_module

    rows = [row for row in outcome_module.outbox(settings) if row["message_id"] == message_id]
    sys.stdout.write(outcome_module.render_outbox(rows))


if __name__ == "__main__":
    main()
