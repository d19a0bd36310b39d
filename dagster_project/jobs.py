"""Jobs: occasions on which stages run, named by the occasion.

What lives here: selections of assets, and what operators do from the user interface besides. What does not: when they
run (``schedules``, ``sensors``), what stages do (``assets``), what happens to mails (``outbox``).
"""

from typing import Any, Literal

import dagster as dg

from dagster_project import alerts, hold, outbox
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse

NIGHTLY = "nightly"
SEND_MAIL = "send_mail"


class OrderConfig(dg.Config):
    """What an operator orders about one mail."""

    message: str
    """The beginning of its id, as in `plimsoll outbox list`."""
    order: Literal["resend", "cancel", "arrived"] = "resend"
    confirm: bool = False
    """A mail that may have arrived is sent again only where this is set."""


class HoldConfig(dg.Config):
    """What an operator says who stops every publication, or lets them go on."""

    reason: str = ""
    """Why; it stands in the report. Needed unless `release` is set."""
    by: str = ""
    """Who; by default the user that the service runs as."""
    release: bool = False


def nightly_job() -> Any:
    """Return the whole line for one day: candles to backup, with every check on the way."""
    return dg.define_asset_job(
        NIGHTLY,
        selection=dg.AssetSelection.all(),
        description="One day from candles to mail and backup: data, volatility, overshoot, thresholds, backtest, "
        "report, mail, backup. Over a range it is one run, and only the newest day is mailed.",
    )


def report_job() -> Any:
    """Return the end of the line: the report from what is stored, its mails, the backup."""
    return dg.define_asset_job(
        "report_only",
        selection=dg.AssetSelection.assets("risk_report", "delivery", "backup"),
        description="The report of a day from what the store holds. Every gate is verified against the store again.",
    )


def mail_jobs(settings: Settings) -> list[Any]:
    """Return the jobs about mails of a configuration."""

    @dg.op(description="Hand every mail that is due to the server, and every alert that waits.")
    def send_due(context: dg.OpExecutionContext, warehouse: Warehouse) -> None:
        alerts.send_waiting(settings)
        context.add_output_metadata(dict(outbox.attempt(settings, warehouse)) or {"mails_due": 0})

    @dg.op(description="Send one mail again, cancel it, or note that it arrived.")
    def settle(context: dg.OpExecutionContext, config: OrderConfig, warehouse: Warehouse) -> None:
        row = outbox.order(settings, warehouse, config.message, config.order, is_confirmed=config.confirm)
        sent = outbox.attempt(settings, warehouse) if config.order == "resend" else {}
        context.add_output_metadata({"mail": str(row.message_id), "state": str(row.state), **sent})

    @dg.job(name=SEND_MAIL, description="Hand every mail that is due to the server now.")
    def send_mail() -> None:
        send_due()

    @dg.job(description="What an operator orders about one mail: resend (needs confirm), cancel, or arrived.")
    def order_mail() -> None:
        settle()

    return [send_mail, order_mail]


def hold_jobs(settings: Settings) -> list[Any]:
    """Return the job about the hold switch of a configuration."""

    @dg.op(description="Stop every publication, or release the hold.")
    def switch(context: dg.OpExecutionContext, config: HoldConfig) -> None:
        if config.release:
            ended = hold.release(settings)
            context.add_output_metadata({"released": "nothing was held" if ended is None else ended.sentence})
        else:
            context.add_output_metadata({"held": hold.hold(settings, config.reason, config.by).sentence})

    @dg.job(description="Stop every publication until it is released: the report is withheld, no reader is mailed.")
    def hold_publication() -> None:
        switch()

    return [hold_publication]
