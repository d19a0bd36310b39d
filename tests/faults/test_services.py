"""The servers of the units and containers: they come up, pass their health checks, stay on this machine and stop."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml
from tests_support import make_profile

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
PATIENCE_SECONDS = 120

pytestmark = pytest.mark.slow


def unit_command(name: str) -> list[str]:
    text = (ROOT / "deploy" / "systemd" / f"{name}.service").read_text(encoding="utf-8")
    [line] = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    _, program, *words = line.removeprefix("ExecStart=").split()
    return [str(BIN / Path(program).name), *words]


def health_command(service: str) -> list[str]:
    found = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
    kind, *words = found["services"][service]["healthcheck"]["test"]
    assert kind == "CMD"
    return [word.replace("/opt/plimsoll", str(ROOT)) for word in words]


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


class Servers:
    """Processes of one test, in groups of their own, on an instance of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.started: list[subprocess.Popen[bytes]] = []
        (folder / "dagster").mkdir()
        shutil.copy2(ROOT / "deploy" / "dagster.yaml", folder / "dagster")
        self.environment = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore::FutureWarning",
            "PLIMSOLL_CONFIG": str(folder / "small.toml"),
            "PLIMSOLL_HOME": str(folder / "var"),
            "DAGSTER_HOME": str(folder / "dagster"),
        }

    def start(self, command: list[str]) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as stream:
            process = subprocess.Popen(
                [str(ROOT / "deploy" / "with-secrets"), *command],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def is_healthy(self, command: list[str]) -> bool:
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, check=False)
        return done.returncode == 0

    def wait_healthy(self, process: "subprocess.Popen[bytes]", command: list[str]) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while not self.is_healthy(command):
            assert process.poll() is None, f"ended by itself:\n{self.log.read_text()}"
            assert time.monotonic() < end, f"not healthy:\n{self.log.read_text()}"
            time.sleep(0.5)

    def stop(self, process: "subprocess.Popen[bytes]") -> None:
        """Stop like systemd: a signal to every process of the unit."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)
            raise


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame) -> Iterator[Servers]:
    make_profile(tmp_path, monkeypatch, candles)
    found = Servers(tmp_path)
    yield found
    for process in found.started:
        found.stop(process)


def test_the_web_server_is_healthy_on_the_loopback_only(servers: Servers) -> None:
    port = free_port()
    command = unit_command("plimsoll-webserver")
    check = [word.replace("3000", port) for word in health_command("webserver")]
    assert not servers.is_healthy(check)
    process = servers.start([port if word == "3000" else word for word in command])
    servers.wait_healthy(process, check)
    # A server on every address would answer here, too.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", int(port)), timeout=5)
    assert "Traceback" not in servers.log.read_text()
    servers.stop(process)
    assert not servers.is_healthy(check)


def test_the_daemon_is_healthy_and_stops(servers: Servers) -> None:
    check = health_command("daemon")
    assert not servers.is_healthy(check)
    process = servers.start(unit_command("plimsoll-daemon"))
    servers.wait_healthy(process, check)
    assert "Traceback" not in servers.log.read_text()
    servers.stop(process)
