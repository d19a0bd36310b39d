"""Set-up of a machine: what it refuses, repeats and leaves alone. Python, apt-get and pip are stand-ins."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

FAKE_PYTHON = """#!/bin/bash
# Stands in for a Python: knows its version, makes "environments" that hold itself, notes what it was asked.
echo "$(basename "$0") $*" >> "$NOTES"
case "$*" in
    *version_info*) echo "${FAKE_VERSION:-3.11}" ;;
    "- lib"*) cat > /dev/null; [[ -n ${FAKE_NO_LIBRARIES:-} && ! -e $FAKE_NO_LIBRARIES ]] && exit 1 ;;
    "-m venv --clear "*) rm -rf "${@: -1}"; mkdir -p "${@: -1}/bin"; cp "$0" "${@: -1}/bin/python" ;;
    "-m pip install"*"-r requirements.lock")
        [[ -z ${FAKE_PIP_FAILS:-} ]] || { echo "no matching hash"; exit 1; } ;;
esac
exit 0
"""

FAKE_APT = """#!/bin/bash
echo "apt-get $*" >> "$NOTES"
[[ $1 == install ]] && touch "$FAKE_NO_LIBRARIES"
exit 0
"""

FAKE_ID = """#!/bin/bash
echo "${FAKE_UID:-0}"
"""


class Machine:
    """A copy of the project on a machine whose commands are stand-ins."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "a path with spaces"
        self.bin = folder / "bin"
        self.notes = folder / "notes"
        self.libraries = folder / "libraries-are-here"
        self.system = folder / "system"
        self.system.mkdir()
        (self.project / "tools").mkdir(parents=True)
        self.bin.mkdir()
        for name in ("pyproject.toml", "tools/setup.sh"):
            shutil.copy2(ROOT / name, self.project / name)
        (self.project / "requirements.lock").write_text("one==1\n")
        for name in (
            "bash",
            "cat",
            "cut",
            "sha256sum",
            "mktemp",
            "rm",
            "mv",
            "mkdir",
            "cp",
            "flock",
            "basename",
        ):
            found = shutil.which(name)
            assert found, name
            (self.bin / name).symlink_to(found)
        for name in ("dirname", "touch", "env"):
            (self.bin / name).symlink_to(str(shutil.which(name)))
        self.fake("python3", FAKE_PYTHON)
        self.fake("id", FAKE_ID)

    def fake(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def setup(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        self.notes.write_text("")
        return subprocess.run(
            [str(self.bin / "bash"), str(self.project / "tools" / "setup.sh"), *words],
            env={"PATH": str(self.bin), "HOME": "", "NOTES": str(self.notes), "PLIMSOLL_SETUP_SYSTEM": str(self.system)}
            | environment,
            cwd=os.sep,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def asked(self) -> str:
        return self.notes.read_text()

    @property
    def stamp(self) -> Path:
        return self.project / ".venv" / ".plimsoll-setup"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_installs_once_by_hash_and_then_nothing(machine: Machine) -> None:
    first = machine.setup()
    assert first.returncode == 0, first.stderr
    assert first.stdout == ""
    assert "--require-hashes -r requirements.lock" in machine.asked
    assert "--no-deps --no-build-isolation -e ." in machine.asked
    second = machine.setup()
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert "pip" not in machine.asked
    assert "venv" not in machine.asked


def test_changed_lock_makes_the_environment_again(machine: Machine) -> None:
    machine.setup()
    (machine.project / "requirements.lock").write_text("one==2\n")
    assert machine.setup().returncode == 0
    assert "-m venv --clear" in machine.asked


def test_changed_project_file_installs_the_project_only(machine: Machine) -> None:
    machine.setup()
    with (machine.project / "pyproject.toml").open("a") as stream:
        stream.write("\n")
    assert machine.setup().returncode == 0
    assert "-e ." in machine.asked
    assert "requirements.lock" not in machine.asked


def test_failed_install_is_shown_leaves_no_stamp_and_is_redone(machine: Machine) -> None:
    failed = machine.setup(FAKE_PIP_FAILS="yes")
    assert failed.returncode == 1
    assert "no matching hash" in failed.stderr
    assert "installing requirements.lock failed" in failed.stderr
    assert not machine.stamp.exists()
    again = machine.setup()
    assert again.returncode == 0
    assert "unfinished" in again.stderr
    assert "-m venv --clear" in machine.asked
    assert machine.stamp.exists()


def test_broken_environment_is_noticed_in_spite_of_its_stamp(machine: Machine) -> None:
    machine.setup()
    (machine.project / ".venv" / "bin" / "python").unlink()
    assert machine.setup().returncode == 0
    assert "-m venv --clear" in machine.asked


def test_moved_project_is_installed_again(machine: Machine) -> None:
    machine.setup()
    moved = machine.project.with_name("moved")
    machine.project.rename(moved)
    machine.project = moved
    assert machine.setup().returncode == 0
    assert "-e ." in machine.asked


@pytest.mark.parametrize("version", ["3.9", "3.13", "2.7"])
def test_wrong_python_is_named(machine: Machine, version: str) -> None:
    done = machine.setup(FAKE_VERSION=version)
    assert done.returncode == 1
    assert f"Python 3.11 or 3.12 is needed: python3 is {version}." in done.stderr
    assert not (machine.project / ".venv").exists()


def test_no_python_at_all(machine: Machine) -> None:
    (machine.bin / "python3").unlink()
    done = machine.setup()
    assert done.returncode == 1
    assert "no python3 was found" in done.stderr


def test_finds_python311_beside_another_python3(machine: Machine) -> None:
    machine.fake("python3", "#!/bin/bash\necho 3.13\n")
    machine.fake("python3.11", FAKE_PYTHON)
    assert machine.setup().returncode == 0
    assert "python3.11 -m venv" in machine.asked


def test_missing_libraries_are_installed_as_root_without_questions(machine: Machine) -> None:
    machine.fake("apt-get", FAKE_APT)
    done = machine.setup(FAKE_NO_LIBRARIES=str(machine.libraries))
    assert done.returncode == 0, done.stderr
    assert "installing Debian packages: libpango" in done.stderr
    assert machine.asked.index("apt-get update") < machine.asked.index("apt-get install -y")
    assert "--no-install-recommends libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0" in machine.asked


def test_missing_libraries_without_root_stop_with_the_command(machine: Machine) -> None:
    machine.fake("apt-get", FAKE_APT)
    done = machine.setup(FAKE_NO_LIBRARIES=str(machine.libraries), FAKE_UID="1000")
    assert done.returncode == 1
    command = "apt-get install -y --no-install-recommends libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
    assert f"Run: sudo {command}" in done.stderr
    assert "apt-get" not in machine.asked
    assert not (machine.project / ".venv").exists()


def test_missing_libraries_without_apt_name_them(machine: Machine) -> None:
    done = machine.setup(FAKE_NO_LIBRARIES=str(machine.libraries))
    assert done.returncode == 1
    assert "libharfbuzz-subset.so.0" in done.stderr
    assert "no apt-get here" in done.stderr


TEST_TOOLS = ("chromium", "systemd", "postgresql")


def _have(machine: Machine, *packages: str) -> None:
    """Put on the machine what a package would bring."""
    for package in packages:
        if package == "postgresql":
            programs = machine.system / "usr" / "lib" / "postgresql" / "15" / "bin"
            programs.mkdir(parents=True)
            (programs / "initdb").touch()
        else:
            machine.fake({"systemd": "systemd-analyze"}.get(package, package), "#!/bin/bash\n")


def test_programs_that_tests_start_are_installed_for_the_tests_only(machine: Machine) -> None:
    machine.fake("apt-get", FAKE_APT)
    assert machine.setup(FAKE_NO_LIBRARIES=os.devnull).returncode == 0
    assert "apt-get" not in machine.asked
    done = machine.setup("tests", FAKE_NO_LIBRARIES=os.devnull)
    assert done.returncode == 0, done.stderr
    assert "install -y -q --no-install-recommends chromium systemd postgresql\n" in machine.asked
    _have(machine, *TEST_TOOLS)
    again = machine.setup("tests", FAKE_NO_LIBRARIES=os.devnull)
    assert (again.returncode, again.stderr) == (0, "")
    assert "apt-get" not in machine.asked


@pytest.mark.parametrize("missing", TEST_TOOLS)
def test_only_the_missing_program_is_installed(machine: Machine, missing: str) -> None:
    machine.fake("apt-get", FAKE_APT)
    _have(machine, *(set(TEST_TOOLS) - {missing}))
    assert machine.setup("tests", FAKE_NO_LIBRARIES=os.devnull).returncode == 0
    assert f"install -y -q --no-install-recommends {missing}\n" in machine.asked


def test_no_database_is_made_for_the_tests(machine: Machine) -> None:
    settled = machine.system / "etc" / "postgresql-common" / "createcluster.conf"
    # What the package's installer will read must be there before it runs.
    machine.fake("apt-get", FAKE_APT.replace("[[ $1", 'cat "$SETTLED" >> "$NOTES"\n[[ $1'))
    done = machine.setup("tests", FAKE_NO_LIBRARIES=os.devnull, SETTLED=str(settled))
    assert done.returncode == 0, done.stderr
    assert machine.asked.index("create_main_cluster = false") < machine.asked.index("apt-get install")
    settled.write_text("create_main_cluster = true\n")
    assert machine.setup("tests", FAKE_NO_LIBRARIES=os.devnull, SETTLED=str(settled)).returncode == 0
    assert settled.read_text() == "create_main_cluster = true\n", "the machine's own choice was overwritten"


def test_missing_programs_of_the_tests_without_root_stop_with_the_command(machine: Machine) -> None:
    done = machine.setup("tests", FAKE_UID="1000")
    assert done.returncode == 1
    assert "Run: sudo apt-get install -y --no-install-recommends chromium systemd postgresql" in done.stderr
    assert not (machine.system / "etc").exists()


def test_an_unknown_word_is_refused(machine: Machine) -> None:
    done = machine.setup("browser")
    assert done.returncode == 1
    assert "unknown word browser" in done.stderr
    assert machine.asked == ""


def test_make_test_asks_for_what_the_tests_start() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "\ntest:" in makefile
    assert "@tools/setup.sh tests\n" in makefile
