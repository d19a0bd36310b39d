"""Command line: the contract that others script against.

What lives here: the program and how it ends; commands in modules of their own. What does not: stages, formulas, SQL.
Exit codes: 0 done, 1 failed, 2 bad usage or input, 3 done but publication withheld by a check.
"""

import sys

import typer

from dagster_project.cli import explanations, mails, reports, trials, upkeep
from dagster_project.cli.common import FAILED, OK, USAGE, UsageError, complain
from dagster_project.feeds_audit import feeds_app
from dagster_project.settings import SettingsError

app = typer.Typer(
    name="plimsoll",
    help="Calibrate liquidation thresholds and report on them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _part in (reports.app, explanations.app, trials.app, upkeep.app):
    app.add_typer(_part)
app.add_typer(mails.app, name="outbox")
app.add_typer(feeds_app, name="feeds")


def main() -> None:
    """Run the command line; errors become one plain message and an exit code, never a traceback."""
    try:
        # What a command raises as typer.Exit comes back as a value here.
        code = app(standalone_mode=False)
    except (SettingsError, UsageError) as error:
        complain(str(error), USAGE)
    except typer.Abort:
        complain("stopped", FAILED)
    except Exception as error:
        if hasattr(error, "format_message"):
            complain(error.format_message(), USAGE)
        complain(f"{type(error).__name__}: {error}", FAILED)
    else:
        sys.exit(code if isinstance(code, int) else OK)
