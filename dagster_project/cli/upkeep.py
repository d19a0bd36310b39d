"""Keeping a profile sound: doctor, restore, and the hold switch.

What lives here: words and options. What does not: the examination and the rebuilding themselves.
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from dagster_project.cli.common import EMBEDDED, FAILED, OK, Candles, Config, UsageError, settings_of, show_progress

app = typer.Typer()


@app.command()
def doctor(
    config: Config = EMBEDDED,
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable findings.")] = False,
    fix: Annotated[bool, typer.Option("--fix", help="Mark runs failed whose process is gone.")] = False,
) -> None:
    """Check the machine, the store, its copies, orphan runs, mail and the last night; say what to do about a fault."""
    from dagster_project import doctor as doctor_module

    settings = settings_of(config, None)
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

    settings = settings_of(config, candles)
    if not confirm and outcome_module.is_sound(settings):
        raise UsageError(
            "the store reads back whole and agrees with its ledger; add --confirm to replace it all the same"
        )
    show_progress()
    done = restore_module.restore(settings, copy=copy, is_from_raw=from_raw)
    sys.stdout.write(outcome_module.render_restored(done))


@app.command()
def hold(
    config: Config = EMBEDDED,
    reason: Annotated[str | None, typer.Option("--reason", help="Stop every publication; why, for the report.")] = None,
    release: Annotated[bool, typer.Option("--release", help="Let publications go on from the next run.")] = False,
) -> None:
    """Stop every publication until it is released, or say whether it is stopped; reports are withheld meanwhile."""
    from dagster_project import hold as hold_module

    settings = settings_of(config, None)
    if reason is not None and release:
        raise UsageError("--reason and --release: stop publication or let it go on, not both")
    name = settings.profile.name
    if reason is not None:
        try:
            sys.stdout.write(f"{name}: {hold_module.hold(settings, reason).sentence}; {hold_module.RELEASE}\n")
        except hold_module.HoldError as error:
            raise UsageError(f"--reason: {error}") from error
    elif release:
        ended = hold_module.release(settings)
        told = "nothing was held" if ended is None else f"released; it was {ended.sentence}; the next run publishes"
        sys.stdout.write(f"{name}: {told}\n")
    else:
        held = hold_module.current(settings)
        sys.stdout.write(f"{name}: {'not held' if held is None else f'{held.sentence}; {hold_module.RELEASE}'}\n")
