"""Mails that wait, were sent or refused.

What lives here: `outbox` and its orders. What does not: mailing (``dagster_project.outbox``).
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from dagster_project.cli.common import EMBEDDED, FAILED, OK, Config, UsageError, settings_of
from dagster_project.settings import Settings

app = typer.Typer(help="Mails waiting, sent or refused.", no_args_is_help=True)

Identity = Annotated[str, typer.Argument(metavar="ID", help="The beginning of the mail's id, as listed.")]
Confirm = Annotated[bool, typer.Option("--confirm", help="The recipient was asked; it may be sent again.")]


@app.command("list")
def outbox_list(
    config: Config = EMBEDDED,
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable rows.")] = False,
) -> None:
    """List mails, their states and what the server said."""
    from dagster_project import outcome as outcome_module

    rows = outcome_module.outbox(settings_of(config, None))
    if as_json:
        sys.stdout.write(json.dumps(rows, sort_keys=True, indent=1) + "\n")
        return
    sys.stdout.write(outcome_module.render_outbox(rows))


@app.command("send")
def outbox_send(
    config: Config = EMBEDDED,
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable counts.")] = False,
) -> None:
    """Hand every mail that is due to the server, and every alert that waits."""
    from dagster_project import alerts, logs, outbox
    from dagster_project.definitions import warehouse_of

    settings = settings_of(config, None)
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


@app.command("resend")
def outbox_resend(identity: Identity, config: Config = EMBEDDED, confirm: Confirm = False) -> None:
    """Send one mail again; one that may have arrived only with --confirm."""
    _order(config, identity, "resend", is_confirmed=confirm)


@app.command("cancel")
def outbox_cancel(identity: Identity, config: Config = EMBEDDED) -> None:
    """Cancel a mail that waits, or one whose fate is unknown."""
    _order(config, identity, "cancel", is_confirmed=False)


@app.command("arrived")
def outbox_arrived(identity: Identity, config: Config = EMBEDDED) -> None:
    """Note that a mail whose fate was unknown did arrive."""
    _order(config, identity, "arrived", is_confirmed=False)


def _order(config: Path, identity: str, what: str, *, is_confirmed: bool) -> None:
    from dagster_project import logs, outbox
    from dagster_project.definitions import warehouse_of

    settings = settings_of(config, None)
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
