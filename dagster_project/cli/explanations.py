"""Explaining: what stands behind a market's parameters.

What lives here: `explain`, its words and options. What does not: what is explained (``dagster_project.explain``).
"""

import json
import sys
from typing import Annotated

import typer

from dagster_project.cli.common import EMBEDDED, FAILED, AsOf, Config, UsageError, choice, complain, day_of, settings_of

app = typer.Typer()


@app.command("explain")
def explain_market(
    market: Annotated[str, typer.Argument(help="One of the configuration's markets.")],
    product: Annotated[str | None, typer.Option("--product", help="lending or perpetual; both.")] = None,
    side: Annotated[str | None, typer.Option("--side", help="long or short; both.")] = None,
    config: Config = EMBEDDED,
    as_of: AsOf = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the same as plain values.")] = False,
) -> None:
    """Explain a market's parameters: the budget part by part, what binds, and why the target moved. Reads the store."""
    settings = settings_of(config, None)
    if market not in settings.markets:
        raise UsageError(f"{market!r}: markets of this configuration are {', '.join(settings.markets)}")
    if side is not None:
        choice("--side", side, "long", "short")
    if product is not None:
        found_market = settings.markets[market]
        uses = {"lending": found_market.lending, "perpetual": found_market.perpetual}
        choice("--product", product, *(name for name, use in uses.items() if use is not None))
    day = None if as_of is None else day_of(settings, as_of)
    from dagster_project import explain, explain_text

    try:
        found = explain.explain(settings, market, day, product=product, side=side)
    except (explain.NothingStoredError, explain.BrokenSumError) as error:
        complain(str(error).replace("FILE", str(config)), FAILED)
    if as_json:
        sys.stdout.write(json.dumps(found, indent=1, allow_nan=False) + "\n")
    else:
        sys.stdout.write(explain_text.render(found))
