"""House rules that a reviewer would otherwise have to look for: linters pass, charters stand, locks hold."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
PACKAGES = ("plimsoll", "dagster_project", "assets", "sql", "reports", "benchmarks", "tools")
LINE_CAP = 500
TEXT_SUFFIXES = {
    ".py",
    ".sql",
    ".toml",
    ".md",
    ".yaml",
    ".yml",
    ".sh",
    ".j2",
    ".html",
    ".css",
    ".json",
    ".lock",
    ".txt",
}
OUTSIDE = {".venv", "var", ".git", ".hypothesis", "dist"}


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def own_files() -> list[Path]:
    tops = [path for path in ROOT.iterdir() if path.name not in OUTSIDE and not path.name.endswith("_cache")]
    every = [path for top in tops for path in (top.rglob("*") if top.is_dir() else [top])]
    return sorted(
        path
        for path in every
        if path.is_file()
        and "__pycache__" not in path.parts
        and (path.suffix in TEXT_SUFFIXES or path.name in {"Makefile", "run"})
    )


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "--no-cache", "."],
        ["ruff", "format", "--no-cache", "--check", "."],
        ["mypy", "--no-error-summary"],
        ["sqlfluff", "lint", "sql", "--disable-progress-bar"],
        ["lint-imports", "--no-cache"],
    ],
    ids=["ruff check", "ruff format", "mypy", "sqlfluff", "import-linter"],
)
def test_linter_passes(command: list[str]) -> None:
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)} says:\n{done.stdout[-8000:]}{done.stderr[-4000:]}"


def lock_entries() -> dict[str, str]:
    """Requirement line to the whole entry with its hashes."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", " ")
    return {line.split(" ")[0]: line for line in text.splitlines() if line and not line.startswith("#")}


def test_lock_pins_every_requirement_with_a_hash() -> None:
    entries = lock_entries()
    assert len(entries) > 50
    for requirement, entry in entries.items():
        assert re.fullmatch(r"[A-Za-z0-9._-]+(\[[A-Za-z0-9,._-]+\])?==[^\s;]+", requirement), requirement
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), f"{requirement} has no hash"


def test_lock_names_no_index() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    for word in ("://", "--index-url", "--extra-index-url", "--find-links", "--trusted-host", " @ "):
        assert word not in text, f"requirements.lock names where packages came from ({word}); run: make lock"


def test_lock_satisfies_the_project() -> None:
    """A dependency added to pyproject.toml without `make lock` would not be installed."""
    import tomllib

    def plain(name: str) -> str:
        return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", name)[0]).lower()

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {plain(one) for one in [*project["dependencies"], *project["optional-dependencies"]["dev"]]}
    assert wanted <= {plain(one) for one in lock_entries()}
    assert any(one.startswith("duckdb==1.5.5") for one in lock_entries())


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_module_has_a_charter_and_stays_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LINE_CAP, f"{name_of(path)}: over {LINE_CAP} lines; make it a package"
    tree = ast.parse(text)
    if path.name == "__init__.py" and not tree.body:
        return
    docstring = ast.get_docstring(tree) or ""
    if path.parts[len(ROOT.parts)] == "benchmarks":
        assert docstring, f"{name_of(path)}: say which question it answers"
        return
    assert "What lives here" in docstring, f"{name_of(path)}: the docstring must say what lives here"
    assert re.search(r"What\s+does\s+not", docstring), f"{name_of(path)}: the docstring must say what does not"


EXECUTORS = {"execute", "executemany", "executescript", "sql", "query", "query_df"}


def built_strings(tree: ast.AST) -> list[int]:
    """Lines where a statement put together from parts reaches a database call, directly or through a name."""

    def is_built(node: ast.expr, built: set[str]) -> bool:
        if isinstance(node, ast.JoinedStr):
            return any(isinstance(part, ast.FormattedValue) for part in node.values)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
            return any(
                is_built(side, built) or (isinstance(side, ast.Constant) and isinstance(side.value, str))
                for side in (node.left, node.right)
            )
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            return node.func.attr in {"format", "format_map"}
        return isinstance(node, ast.Name) and node.id in built

    found = []
    for scope in [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))]:
        built: set[str] = set()
        for node in ast.walk(scope):
            if isinstance(node, ast.Assign) and is_built(node.value, built):
                built |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        for node in ast.walk(scope):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in EXECUTORS
                and node.args
                and is_built(node.args[0], built)
            ):
                found.append(node.lineno)
    return sorted(set(found))


@pytest.mark.parametrize(
    "path",
    [path for path in modules() if path.parts[len(ROOT.parts)] in {"dagster_project", "assets", "reports", "sql"}],
    ids=name_of,
)
def test_no_statement_is_put_together_from_data(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    bad = [f"{name_of(path)}:{n}: {text.splitlines()[n - 1].strip()}" for n in built_strings(ast.parse(text))]
    assert not bad, "SQL belongs in sql/*.sql with named $params:\n" + "\n".join(bad)


@pytest.mark.parametrize(
    "source",
    [
        "c.execute(f'select {x}')",
        "c.execute('select ' + x)",
        "c.execute('select %s' % x)",
        "c.execute('select {}'.format(x))",
        "def f(x):\n    text = f'select {x}'\n    c.execute(text)",
    ],
)
def test_the_statement_rule_sees_what_it_must(source: str) -> None:
    assert built_strings(ast.parse(source))


def test_the_statement_rule_lets_parameters_pass() -> None:
    assert not built_strings(ast.parse("c.execute('select $a', {'a': x})\nc.execute(sql.text('queries', name), p)"))


def test_no_file_names_a_machine() -> None:
    places = ("work", "root", "home/[a-z]", "Users/[A-Za-z]", "mnt/")
    pattern = re.compile("(?<![A-Za-z0-9_.$}])/(?:" + "|".join(places) + r")[/\w]")
    bad = []
    for path in own_files():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if pattern.search(line):
                bad.append(f"{name_of(path)}:{number}: {line.strip()[:120]}")
    assert not bad, "paths of one machine:\n" + "\n".join(bad)


def test_core_reads_no_clock_file_or_randomness() -> None:
    """Import-linter guards whole packages; these are single names of the standard library and numpy."""
    forbidden = {"open", "print", "input"}
    dotted = {"datetime.now", "datetime.utcnow", "date.today", "time.time", "os.environ", "np.random.seed"}
    bad = []
    for path in sorted((ROOT / "plimsoll").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in forbidden:
                bad.append(f"{name_of(path)}:{node.lineno}: {node.func.id}()")
            if isinstance(node, ast.Attribute) and any(ast.unparse(node).endswith(one) for one in dotted):
                bad.append(f"{name_of(path)}:{node.lineno}: {ast.unparse(node)}")
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
                bad += [
                    f"{name_of(path)}:{node.lineno}: import {name}"
                    for name in names
                    if name.split(".")[0] in {"os", "pathlib", "time", "socket", "urllib", "subprocess", "random", "io"}
                ]
    assert not bad, "the core takes arrays and gives results, nothing else:\n" + "\n".join(bad)


def test_sql_files_are_lower_case_with_a_header() -> None:
    kinds = {"tables": "table", "queries": "query", "checks": "check", "commands": "command", "loads": "load"}
    bad = []
    for path in sorted((ROOT / "sql").rglob("*.sql")):
        text = path.read_text(encoding="utf-8")
        if path.parent.name == "migrations":
            number = int(path.stem.split("_")[0])
            if not text.startswith(f"-- @migration {number}\n-- @about "):
                bad.append(f"{name_of(path)}: must open with '-- @migration {number}' and an '-- @about' line")
            continue
        kind = kinds[path.parent.name]
        if not text.startswith(f"-- @{kind} {path.stem}\n") or "\n-- @about " not in text:
            bad.append(f"{name_of(path)}: must open with '-- @{kind} {path.stem}' and an '-- @about' line")
        statement = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
        if re.search(r"\bselect\s+\*", statement):
            bad.append(f"{name_of(path)}: names its columns, never *")
    assert not bad, "\n".join(bad)


def test_workflow_calls_what_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    assert {"help", "report", "test", "ui", "check", "lock", "clean"} <= targets
    for path in re.findall(r"tools/[a-z_]+\.(?:sh|py)", makefile + (ROOT / ".ci" / "run").read_text(encoding="utf-8")):
        assert (ROOT / path).is_file(), path
        assert path.endswith(".py") or (ROOT / path).stat().st_mode & 0o111, f"{path} is not executable"
