"""Data dictionary: the pages that say what every stored and published number means.

What lives here: laying the contracts of ``sql/tables`` out as Markdown, and the shape of ``decision.json`` as a JSON
Schema. What does not: the meanings; to change one, change the comment in the table's SQL file or the field in
``reports.view.schema``, and run ``make dictionary``.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import sql
from dagster_project import files
from reports.view.schema import SCHEMA, Decision

PAGE = Path(__file__).resolve().parents[1] / "docs" / "data_dictionary.md"
DECISION = PAGE.with_name("decision_schema.json")

HEAD = """# Data dictionary

Written from the headers of `sql/tables/*.sql` by `make dictionary`; do not edit it here.

Conventions: dates are UTC days and mark the day a value speaks of, `*_at` are UTC timestamps without zone,
`*_bps` are integer basis points, `*_log` are natural-log moves, `*_sigma` are multiples of `sigma_daily`,
`is_*` are booleans. A null means "not there", never zero.

Append-only tables keep every revision: the newest one of a key is in force, older ones stay readable.
"""


def page(contracts: Iterable[sql.TableContract]) -> str:
    """Lay contracts out as a Markdown page.

    Parameters
    ----------
    contracts
        One a table; the order of the page is by name.

    Returns
    -------
    str
        The whole page, ending with a line feed.
    """
    ordered = sorted(contracts, key=lambda contract: contract.name)
    index = [f"- [`{one.name}`](#{one.name}): {_cell(_first_sentence(one.about))}" for one in ordered]
    return "\n".join([HEAD, *index, "", *(_section(one) for one in ordered)]).rstrip("\n") + "\n"


def decision_schema() -> str:
    """Return the JSON Schema of ``decision.json``."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA, **Decision.model_json_schema()}
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _section(contract: sql.TableContract) -> str:
    grain = ", ".join(f"`{name}`" for name in contract.grain)
    partition = "none" if contract.partition is None else f"`{contract.partition}`"
    rows = [
        f"| `{one.name}` | {one.type} | {'yes' if one.is_required else 'no'} | {_cell(one.meaning)} |"
        for one in contract.columns
    ]
    lines = [
        f"## {contract.name}",
        "",
        contract.about,
        "",
        f"One row for each {grain}. Partition column: {partition}.",
        "",
        "| column | type | required | meaning, unit |",
        "|---|---|---|---|",
        *rows,
        "",
    ]
    return "\n".join(lines)


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].rstrip(".") + "."


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Write both; say whether they had to change."""
    for path, text in ((PAGE, page(sql.tables())), (DECISION, decision_schema())):
        is_new = files.write_atomic(path, text.encode())
        sys.stdout.write(f"docs/{path.name}: {'written' if is_new else 'already current'}\n")


if __name__ == "__main__":
    main()
