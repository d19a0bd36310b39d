"""Keeping a profile sound: doctor and restore.

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
