"""The table of faults in the operations page: each fault has tests, and each test that it names exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = (*range(1, 30), 35, *range(38, 78))
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]*) \|$", re.MULTILINE)
NAMED = re.compile(r"`([^`]+)`")


def rows(text: str) -> dict[int, tuple[str, ...]]:
    """Tests that the table names, by number of the fault."""
    return {int(found[1]): tuple(NAMED.findall(found[4])) for found in ROW.finditer(text)}


def faults(named: dict[int, tuple[str, ...]]) -> list[str]:
    """What is wrong with a table."""
    out = [f"{number}: no row" for number in NUMBERS if number not in named]
    for number, tests in named.items():
        out += [f"{number}: no test"] if not tests else []
        for test in tests:
            path, _, name = test.partition("::")
            if not (ROOT / path).is_file():
                out.append(f"{number}: no file {path}")
                continue
            tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            if name not in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
                out.append(f"{number}: no test {test}")
    return out


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_every_fault_has_tests_that_exist(page: str) -> None:
    assert faults(rows(page)) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("| 41 | ", "| 141 | ", "41: no row"),
        ("test_greylisting_defers_one", "test_greylisting_defers_two", "53: no test tests/faults/test_mail.py::"),
        ("tests/faults/test_crash.py", "tests/faults/test_crush.py", "40: no file tests/faults/test_crush.py"),
    ],
)
def test_a_table_with_a_hole_is_noticed(page: str, old: str, new: str, told: str) -> None:
    assert any(one.startswith(told) for one in faults(rows(page.replace(old, new))))


def test_a_row_without_a_test_is_noticed(page: str) -> None:
    line = next(line for line in page.splitlines() if line.startswith("| 57 | "))
    bare = line[: line.index("`tests")].rstrip() + "  |"
    assert faults(rows(page.replace(line, bare))) == ["57: no test"]
