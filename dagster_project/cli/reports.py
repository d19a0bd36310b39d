"""The nightly job from the command line.

What lives here: `report`. What does not: the job (``dagster_project.nightly``).
"""

import sys
from datetime import date, timedelta
from typing import Annotated

import typer

from dagster_project.cli.common import (
    EMBEDDED,
    FAILED,
    OK,
    WITHHELD,
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
)
from dagster_project.settings import Settings

app = typer.Typer()


def _first_day(settings: Settings, day: date, since: str | None, *, is_catch_up: bool) -> date:
    """Return the first day of the run: the day itself, the one named, or the one after the newest report."""
    if since is not None and is_catch_up:
        raise UsageError("--from and --catch-up: name the first day, or let it be found, not both")
    if since is not None:
        first = day_of(settings, since, "--from")
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
    as_known: AsKnown = "then",
) -> None:
    """Run the nightly job for one day or a range, without a daemon: data to PDF, mail and backup."""
    settings = settings_of(config, candles)
    day = day_of(settings, as_of)
    first = _first_day(settings, day, since, is_catch_up=catch_up)
    stages = _stages(stage)
    show_progress()
    days = str(day) if first == day else f"{first} to {day}"
    sys.stderr.write(f"plimsoll {settings.profile.name}: nightly for {days}\n")
    from dagster_project.nightly import Mailing, run_nightly

    mailing = Mailing(send=not no_mail, corrections=send_corrections, past=send_past)
    is_known_now = choice("--as-known", as_known, "now", "then") == "now"
    ending = run_nightly(settings, day, first=first, select=stages, mailing=mailing, is_known_now=is_known_now)
    if ending.failed_checks:
        from dagster_project import hold as hold_module

        held = hold_module.current(settings)
        more = "details: make ui, Checks" if held is None else f"{held.sentence}; {hold_module.RELEASE}"
        complain(f"publication withheld by check: {', '.join(ending.failed_checks)} ({more})", WITHHELD)
    if not ending.is_success:
        complain(ending.error or "a stage failed; see the run in the UI (make ui)", FAILED)
    if stages and "risk_report" not in stages:
        return
    from dagster_project import outcome as outcome_module

    summary = outcome_module.summary(settings, day)
    sys.stdout.write(outcome_module.render(summary))
    raise typer.Exit(WITHHELD if summary.status == "withheld" else OK)
