"""The method's document: its table of defaults is what the code does, and each formula number it uses exists."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from dagster_project import challengers_config, markets, order_books
from dagster_project import settings as settings_module

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "methodology.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| `(?P<table>[a-z_]+)\.(?P<key>[a-z_0-9]+)` \| (?P<default>[^|]+) \| [^|]+ \| (?P<enters>M-\d+) \| [^|]+ \|$"
)
TABLES: dict[str, type[BaseModel]] = {
    "volatility": settings_module.VolatilityKnobs,
    "overshoot": settings_module.OvershootKnobs,
    "budget": settings_module.BudgetKnobs,
    "lending": markets.Lending,
    "perpetual": markets.Perpetual,
    "latency": markets.Latency,
    "pool": markets.Pool,
    "exposure": markets.Exposure,
    "order_books": order_books.OrderBooks,
    "challengers": challengers_config.Challengers,
}
PLAIN = (int, float, bool)
NO_NUMBER = {("overshoot", "depths"), ("budget", "cap_bps_by_class"), ("volatility", "model"), ("volatility", "refit")}


def _rows() -> dict[tuple[str, str], tuple[str, str]]:
    found = {}
    for line in TEXT.splitlines():
        one = ROW.match(line)
        if one is not None:
            found[one["table"], one["key"]] = (one["default"].strip(), one["enters"])
    return found


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_the_table_of_defaults_is_what_the_code_does() -> None:
    rows = _rows()
    assert len(rows) > 50
    for (table, key), (default, _) in rows.items():
        field = TABLES[table].model_fields.get(key)
        assert field is not None, f"{table}.{key} is no key of the configuration"
        assert default == _written(field.default), f"{table}.{key}"


@pytest.mark.parametrize("table", TABLES)
def test_every_knob_that_moves_a_number_has_its_row(table: str) -> None:
    rows = _rows()
    for key, field in TABLES[table].model_fields.items():
        is_knob = isinstance(field.default, PLAIN) or (table, key) == ("budget", "smoothing")
        if is_knob and (table, key) not in NO_NUMBER:
            assert (table, key) in rows, f"{table}.{key} stands in no row of docs/methodology"


def test_class_caps_are_those_of_the_code() -> None:
    caps = settings_module.BudgetKnobs().cap_bps_by_class
    told = dict(re.findall(r"`(\w+)` (\d{4})\b", TEXT[TEXT.index("Class caps, in basis points") :].splitlines()[0]))
    assert {name: int(value) for name, value in told.items()} == caps


def test_formula_numbers_that_are_used_exist() -> None:
    defined = set(re.findall(r"\*\*(M-\d+) ", TEXT))
    assert [f"M-{number}" for number in range(1, len(defined) + 1)] == sorted(defined, key=lambda one: int(one[2:]))
    for folder in ("plimsoll", "assets", "dagster_project", "reports", "config", "docs"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".toml", ".md", ".j2"):
                used = set(re.findall(r"\bM-\d+\b", path.read_text(encoding="utf-8")))
                assert used <= defined, f"{path.relative_to(ROOT)}: {sorted(used - defined)}"


def test_the_version_is_that_of_the_code() -> None:
    import plimsoll

    assert TEXT.startswith(f"# Methodology, version {plimsoll.METHODOLOGY}\n")
