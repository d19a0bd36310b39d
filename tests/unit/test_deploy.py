"""What operators install: units, instance files and container files are sound, and their commands are real ones."""

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyOptions

from dagster_project.schedules import HOUR, MINUTE

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
SYSTEMD = DEPLOY / "systemd"
BIN = Path(sys.executable).parent
STATE = "/var/lib/plimsoll"
INSTALLED = "/opt/plimsoll"
SERVICES = sorted(SYSTEMD.glob("*.service"))
COMMANDS = {
    "plimsoll-nightly": ["plimsoll", "report"],
    "plimsoll-outbox": ["plimsoll", "outbox", "send"],
    "plimsoll-webserver": ["dagster-webserver"],
    "plimsoll-daemon": ["dagster-daemon", "run"],
}
WORST_EXPOSURE = 20
"""Tenths of systemd's own score, from 0 (locked in) to 100; a service without any of it has 96."""


def unit(path: Path) -> dict[str, dict[str, list[str]]]:
    """Sections of a unit, with every value of a key that may stand more than once."""
    found: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
            found[section] = {}
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found[section].setdefault(key, []).append(value)
    return found


def environment() -> dict[str, str]:
    parser = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read_string("[all]\n" + (SYSTEMD / "environment.example").read_text(encoding="utf-8"))
    return dict(parser["all"])


def command_of(path: Path) -> list[str]:
    """Command of a service behind with-secrets, with the example's environment put in."""
    [line] = unit(path)["Service"]["ExecStart"]
    words = shlex.split(re.sub(r"\$\{(\w+)\}", lambda found: environment()[found[1]], line))
    assert words[0] == f"{INSTALLED}/deploy/with-secrets"
    program = Path(words[1])
    assert program.parent == Path(INSTALLED) / ".venv" / "bin"
    return [program.name, *words[2:]]


def answer(words: list[str], **changed: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of this environment behind the real with-secrets."""
    return subprocess.run(
        [str(DEPLOY / "with-secrets"), str(BIN / words[0]), *words[1:]],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **changed},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Path]:
    """Copies of the units on a machine where everything that they name exists."""
    for path in SYSTEMD.glob("plimsoll-*"):
        text = path.read_text(encoding="utf-8").replace(INSTALLED, str(tmp_path))
        (tmp_path / path.name).write_text(text)
    for name in ("docs", "deploy"):
        (tmp_path / name).mkdir()
    (tmp_path / "docs" / "deploy.md").touch()
    shutil.copy2(DEPLOY / "with-secrets", tmp_path / "deploy")
    yield tmp_path


def analyze(*words: str) -> "subprocess.CompletedProcess[str]":
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is missing; run: tools/setup.sh tests (or: apt-get install -y systemd)"
    return subprocess.run([program, *words], capture_output=True, text=True, timeout=120, check=False)


def test_systemd_accepts_the_units(installed: Path) -> None:
    units = sorted(map(str, installed.glob("plimsoll-*")))
    assert len(units) == 6
    done = analyze("verify", "--man=no", *units)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_would_refuse_a_misspelt_unit(installed: Path) -> None:
    path = installed / "plimsoll-daemon.service"
    path.write_text(path.read_text().replace("ProtectHome=", "ProtectHoem="))
    assert "ProtectHoem" in analyze("verify", "--man=no", str(path)).stderr


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_a_service_is_locked_in(path: Path, installed: Path) -> None:
    score = ("security", "--offline=true", "--no-pager", f"--threshold={WORST_EXPOSURE}")
    done = analyze(*score, str(installed / path.name))
    assert done.returncode == 0, done.stdout[-3000:]
    service = unit(path)["Service"]
    assert service["User"] == ["plimsoll"]
    assert service["ReadWritePaths"] == [STATE]
    assert service["ProtectSystem"] == ["strict"]
    assert "MemoryDenyWriteExecute" not in service, "the compiled engine needs memory that it writes and runs"
    # 3 is "withheld", which an operator must see as a failure.
    assert "SuccessExitStatus" not in service


def test_services_differ_in_what_they_run_only() -> None:
    own = {"Type", "ExecStart", "Restart", "RestartSec", "TimeoutStartSec", "TimeoutStopSec"}
    common = [{k: v for k, v in unit(path)["Service"].items() if k not in own} for path in SERVICES]
    assert len(common) == len(COMMANDS)
    assert all(one == common[0] for one in common)


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_a_command_is_one_that_exists_with_these_options(path: Path) -> None:
    """Options are parsed before --help answers: an unknown word or option ends with another code."""
    words = command_of(path)
    wanted = COMMANDS[path.stem]
    assert words[: len(wanted)] == wanted
    done = answer([*words, "--help"])
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout
    refused = answer([*words, "--no-such-option", "--help"])
    assert refused.returncode == 2, "unknown options pass: this test would see nothing"


def test_a_night_with_the_example_ends_at_the_missing_configuration() -> None:
    done = answer(command_of(SYSTEMD / "plimsoll-nightly.service"))
    assert done.returncode == 2
    assert f"{environment()['PLIMSOLL_CONFIG']}: no such configuration file" in done.stderr


def test_servers_answer_this_machine_only_and_load_the_project() -> None:
    webserver = command_of(SYSTEMD / "plimsoll-webserver.service")
    assert webserver[webserver.index("-h") + 1] == "127.0.0.1"
    for name in ("plimsoll-webserver", "plimsoll-daemon"):
        words = command_of(SYSTEMD / f"{name}.service")
        assert words[words.index("-m") + 1] == "dagster_project.definitions"


def test_timers_start_their_services_in_time() -> None:
    nightly = unit(SYSTEMD / "plimsoll-nightly.timer")
    assert nightly["Timer"]["OnCalendar"] == [f"*-*-* {HOUR:02}:{MINUTE:02}:00 UTC"], "the schedule says another time"
    assert nightly["Timer"]["Persistent"] == ["true"]
    outbox = unit(SYSTEMD / "plimsoll-outbox.timer")
    done = analyze("calendar", *outbox["Timer"]["OnCalendar"])
    assert "*-*-* *:00/10:00" in done.stdout, "not every ten minutes"
    for timer in (nightly, outbox):
        assert timer["Install"]["WantedBy"] == ["timers.target"]
    # What a timer starts must not start at boot as well.
    assert all("Install" not in unit(SYSTEMD / f"{name}.service") for name in ("plimsoll-nightly", "plimsoll-outbox"))


def test_whatever_is_written_lies_in_the_one_folder_that_may_be_written() -> None:
    values = environment()
    for name in ("PLIMSOLL_HOME", "DAGSTER_HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR", "XDG_CACHE_HOME"):
        assert Path(values[name]).is_relative_to(STATE), name


def test_the_environment_names_what_the_instance_file_asks_for_and_no_secret() -> None:
    asked = set(re.findall(r"env: (\w+)", (DEPLOY / "dagster.postgres.yaml").read_text(encoding="utf-8")))
    values = environment()
    assert asked - set(values) == {"PLIMSOLL_PG_PASSWORD"}
    assert not [name for name in values if "PASSWORD" in name]
    for path in SERVICES:
        service = unit(path)["Service"]
        assert "PLIMSOLL_PG_PASSWORD_FILE=%d/pg-password" in service["Environment"]
        assert "pg-password:/etc/plimsoll/pg-password" in service["LoadCredential"]
        # Without a fallback, a machine without PostgreSQL or mail could start nothing.
        assert {one.split(":")[0] for one in service["SetCredential"]} == {"pg-password", "smtp-password"}


def with_secrets(**variables: str) -> dict[str, str]:
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    done = subprocess.run(
        [str(DEPLOY / "with-secrets"), sys.executable, "-c", code],
        env={"PATH": os.defpath, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return dict(json.loads(done.stdout))


def test_secrets_of_files_become_variables(tmp_path: Path) -> None:
    nasty = tmp_path / "a file"
    nasty.write_text("p'a\"s$HOME `id` \\n%\n")
    got = with_secrets(PLIMSOLL_PG_PASSWORD_FILE=str(nasty), PLIMSOLL_SMTP_PASSWORD_FILE=str(nasty))
    assert got["PLIMSOLL_PG_PASSWORD"] == got["PLIMSOLL_SMTP_PASSWORD"] == "p'a\"s$HOME `id` \\n%"


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_absent_and_empty_secrets_set_nothing(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_text(content)
    assert "PLIMSOLL_PG_PASSWORD" not in with_secrets(PLIMSOLL_PG_PASSWORD_FILE=str(path))
    # A variable that is set already stays: by hand, it is the shorter way.
    kept = with_secrets(PLIMSOLL_PG_PASSWORD_FILE=str(path), PLIMSOLL_PG_PASSWORD="by hand")
    assert kept["PLIMSOLL_PG_PASSWORD"] == "by hand"


def test_a_secret_that_cannot_be_read_stops_the_command(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        with_secrets(PLIMSOLL_PG_PASSWORD_FILE=str(tmp_path))


@pytest.mark.parametrize("command", [["yamllint", "--strict", "."], ["hadolint", "Containerfile"]], ids=lambda c: c[0])
def test_container_files_pass_their_linter(command: list[str]) -> None:
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=DEPLOY, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def compose(**chosen: str) -> dict[str, Any]:
    """Return the compose file as the specification reads it, variables put in first as every implementation does."""
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    text = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: chosen.get(found[1], found[2]), text)
    assert "$" not in re.sub("(?m)^#.*", "", text)
    model = PyOptions(apply_merge=True).from_yaml(text)
    model.validate()
    return dict(model.to_dict())


def containerfile() -> list[list[str]]:
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    return [line.split(maxsplit=1) for line in lines.splitlines() if line]


def test_compose_runs_what_the_units_run() -> None:
    services = compose()["services"]
    daemon = command_of(SYSTEMD / "plimsoll-daemon.service")
    webserver = command_of(SYSTEMD / "plimsoll-webserver.service")
    assert services["daemon"]["command"] == daemon
    inside = services["webserver"]["command"]
    assert ["127.0.0.1" if word == "0.0.0.0" else word for word in inside] == webserver
    assert services["webserver"]["ports"] == ["127.0.0.1:3000:3000"], "the page has no login"
    assert not any("ports" in service for name, service in services.items() if name != "webserver")


def test_compose_locks_its_services_in() -> None:
    services = compose()["services"]
    for name in ("webserver", "daemon"):
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["security_opt"] == ["no-new-privileges:true"]
        assert "user" not in services[name], "the image names it"
    assert all("healthcheck" in service for service in services.values())


@pytest.mark.parametrize("instance", ["dagster.yaml", "dagster.postgres.yaml"])
def test_compose_mounts_an_instance_file_that_exists(instance: str) -> None:
    services = compose(PLIMSOLL_INSTANCE=instance)["services"]
    for name in ("webserver", "daemon"):
        [mount] = [one for one in services[name]["volumes"] if one["target"] == f"{STATE}/dagster/dagster.yaml"]
        assert (DEPLOY / mount["source"]).is_file()
        assert mount["source"] == f"./{instance}"


def test_postgresql_is_optional_and_its_password_a_file() -> None:
    whole = compose()
    postgres = whole["services"]["postgres"]
    assert postgres["profiles"] == ["postgres"]
    assert postgres["environment"]["POSTGRES_PASSWORD_FILE"] == "/run/secrets/pg-password"
    assert set(whole["secrets"]) == {"pg-password", "smtp-password"}
    assert all(set(secret) == {"file"} for secret in whole["secrets"].values())
    for name in ("webserver", "daemon"):
        service = whole["services"][name]
        assert service["depends_on"]["postgres"]["required"] is False
        asked = {key for key in environment() if key.startswith("PLIMSOLL_PG_")}
        assert asked <= set(service["environment"])
        assert service["environment"]["PLIMSOLL_PG_PASSWORD_FILE"] in {
            f"/run/secrets/{one}" for one in service["secrets"]
        }
        assert not [key for key in service["environment"] if key.endswith("PASSWORD")]
    assert "PASSWORD:" not in (DEPLOY / "compose.yaml").read_text(encoding="utf-8")


def test_the_image_is_made_like_the_machine() -> None:
    steps = containerfile()
    words = [word for word, _ in steps]
    assert steps[0][1].startswith("python:3.11.")
    assert steps[0][1].endswith("-slim-bookworm")
    runs = " ".join(rest for word, rest in steps if word == "RUN")
    setup = (ROOT / "tools" / "setup.sh").read_text(encoding="utf-8")
    packages = re.findall(r"(?m)^PACKAGES=\((.+)\)$", setup)[0]
    assert f"apt-get install -y --no-install-recommends {packages} " in runs
    assert "--require-hashes -r requirements.lock" in runs
    assert "--no-deps --no-build-isolation -e ." in runs
    [user] = [rest for word, rest in steps if word == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert words.index("USER") > max(n for n, word in enumerate(words) if word in ("RUN", "COPY"))
    [entry] = [json.loads(rest) for word, rest in steps if word == "ENTRYPOINT"]
    assert entry == [f"{INSTALLED}/deploy/with-secrets"]
    [command] = [json.loads(rest) for word, rest in steps if word == "CMD"]
    assert command == command_of(SYSTEMD / "plimsoll-nightly.service")
    [variables] = [rest for word, rest in steps if word == "ENV"]
    given = dict(pair.split("=", 1) for pair in variables.split())
    wanted = {name: value for name, value in environment().items() if not name.startswith("PLIMSOLL_PG_")}
    assert wanted.items() <= given.items()


def test_what_the_image_holds_is_enough_and_no_more(tmp_path: Path) -> None:
    copies = [rest.split() for word, rest in containerfile() if word == "COPY"]
    for *names, target in copies:
        for name in names:
            assert name not in {".", "deploy", "tests", "var"}, "a whole folder may hold secrets or data"
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, tmp_path / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                (tmp_path / target).mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, tmp_path / target)
    assert {"requirements.lock", "pyproject.toml", "README.md"} <= {path.name for path in tmp_path.iterdir()}
    wheel = tomllib.loads((tmp_path / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert all((tmp_path / package / "__init__.py").is_file() for package in wheel["packages"])
    code = "import dagster_project.cli as c, dagster_project.history as h\nwith h.opened(): print(c.__file__)"
    done = subprocess.run(
        [str(tmp_path / "deploy" / "with-secrets"), sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PATH": os.defpath, "PYTHONPATH": str(tmp_path), "DAGSTER_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path)), "another copy of the project was loaded"
    assert (tmp_path / "home" / "dagster.yaml").is_file()


def test_no_instance_file_or_container_file_holds_a_secret() -> None:
    for path in (DEPLOY / "dagster.postgres.yaml", DEPLOY / "compose.yaml"):
        flat = json.dumps(yaml.safe_load(path.read_text(encoding="utf-8")))
        assert not re.search(r'"(password|POSTGRES_PASSWORD)": "', flat), path.name


def test_the_page_for_operators_names_what_exists() -> None:
    text = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    paths = set(re.findall(rf"{INSTALLED}/([\w./*-]*\w)", text)) | set(re.findall(r"`(deploy/[\w./-]*\w)", text))
    assert len(paths) > 5
    assert not [path for path in paths if not path.startswith(".venv") and not list(ROOT.glob(path))]
    units = set(re.findall(r"plimsoll-\w+\.(?:timer|service)", text))
    assert units >= {"plimsoll-nightly.timer", "plimsoll-outbox.timer", "plimsoll-daemon.service"}
    assert not [name for name in units if not (SYSTEMD / name).is_file()]
    for name in set(re.findall(r"PLIMSOLL_\w*[A-Z]", text)) - {"PLIMSOLL_PG", "PLIMSOLL_SMTP_PASSWORD"}:
        places = [SYSTEMD / "environment.example", DEPLOY / "compose.yaml", DEPLOY / "with-secrets"]
        assert any(name in path.read_text(encoding="utf-8") for path in places), name
