"""Data dictionary: the page in docs/ says what sql/tables say."""

import sql
from dagster_project import dictionary


def test_page_is_current() -> None:
    written = dictionary.PAGE.read_text(encoding="utf-8")
    assert written == dictionary.page(sql.tables()), "docs/data_dictionary.md is out of date; run: make dictionary"


def test_schema_of_the_decision_is_current() -> None:
    written = dictionary.DECISION.read_text(encoding="utf-8")
    assert written == dictionary.decision_schema(), "docs/decision_schema.json is out of date; run: make dictionary"


def test_page_names_every_column_with_its_meaning() -> None:
    page = dictionary.page(sql.tables())
    contracts = list(sql.tables())
    assert len(contracts) >= 15
    for contract in contracts:
        section = page.split(f"\n## {contract.name}\n")[1].split("\n## ")[0]
        for column in contract.columns:
            assert f"| `{column.name}` | {column.type} |" in section
            assert column.meaning.replace("|", "\\|") in section
            assert column.meaning.strip(), f"{contract.name}.{column.name} has no meaning"


def test_page_does_not_depend_on_order() -> None:
    contracts = list(sql.tables())
    assert dictionary.page(contracts) == dictionary.page(reversed(contracts))
