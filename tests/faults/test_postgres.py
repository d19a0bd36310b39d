"""The nightly job with its history in a real PostgreSQL: nothing is left in files, least of all the password."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import psycopg2
import pytest
import yaml
from tests_support import make_profile

ROOT = Path(__file__).resolve().parents[2]
DAY = "2022-05-31"
ADMIN, ADMIN_PASSWORD = "admin", "admin of one test"
USER, DATABASE = "plimsoll", "plimsoll_runs"
PASSWORD = "p@ss:w/ord% 7Qz#é"
"""Every character that has a meaning in an address, in a shell or in a template."""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Server:
    """A PostgreSQL of this test session."""

    port: int

    def connect(self, user: str, password: str, database: str) -> Any:
        return psycopg2.connect(
            host="127.0.0.1", port=self.port, user=user, password=password, dbname=database, connect_timeout=10
        )

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        connection = self.connect(USER, PASSWORD, DATABASE)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall())
        finally:
            connection.close()


def programs() -> Path:
    """Debian keeps the server's programs out of PATH, one folder a version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    assert found, "PostgreSQL's server is missing; run: tools/setup.sh tests (or: apt-get install -y postgresql)"
    return found[-1].parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server on the loopback interface that believes a password only; PostgreSQL refuses to run as root."""
    folder = Path(tempfile.mkdtemp(prefix="plimsoll-postgres-"))
    log = folder / "log"
    identity: dict[str, Any] = {}
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")
        os.chown(folder, account.pw_uid, account.pw_gid)
        identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
    secret = folder / "password"
    secret.write_text(ADMIN_PASSWORD)
    if identity:
        os.chown(secret, identity["user"], identity["group"])
    words = ["--auth=scram-sha-256", f"--username={ADMIN}", f"--pwfile={secret}", "--encoding=UTF8", "--no-sync"]
    made = subprocess.run(
        [str(programs() / "initdb"), "-D", str(folder / "data"), *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **identity,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    found = Server(free_port())
    options = {
        "listen_addresses": "127.0.0.1",
        "port": found.port,
        "unix_socket_directories": folder,
        "fsync": "off",
        "password_encryption": "scram-sha-256",
    }
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [
                str(programs() / "postgres"),
                "-D",
                str(folder / "data"),
                *(word for key, value in options.items() for word in ("-c", f"{key}={value}")),
            ],
            cwd=folder,
            env=environment,
            stdout=stream,
            stderr=stream,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            **identity,
        )
    try:
        _prepare(found, process, log)
        yield found
    finally:
        process.send_signal(signal.SIGINT)  # PostgreSQL's "fast" shutdown
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(60)
        shutil.rmtree(folder)


def _prepare(found: Server, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(300):
        assert process.poll() is None, f"PostgreSQL ended at once:\n{log.read_text()}"
        try:
            connection = found.connect(ADMIN, ADMIN_PASSWORD, "postgres")
            break
        except psycopg2.OperationalError:
            time.sleep(0.1)
    else:
        pytest.fail(f"PostgreSQL does not answer:\n{log.read_text()}")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"create role {USER} login password %s", (PASSWORD,))
        cursor.execute(f"create database {DATABASE} owner {USER}")
    connection.close()


class Desk:
    """A small profile whose Dagster instance is that of ``deploy/dagster.postgres.yaml``."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self.server = server
        shutil.rmtree(folder / "dagster", ignore_errors=True)
        (folder / "dagster").mkdir()
        shutil.copyfile(ROOT / "deploy" / "dagster.postgres.yaml", folder / "dagster" / "dagster.yaml")

    def report(self, password: str = PASSWORD, **changed: str) -> "subprocess.CompletedProcess[str]":
        secret = self.folder / "secret"
        secret.write_text(password + "\n")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PG")},
            "PLIMSOLL_PG_HOST": "127.0.0.1",
            "PLIMSOLL_PG_PORT": str(self.server.port),
            "PLIMSOLL_PG_DATABASE": DATABASE,
            "PLIMSOLL_PG_USER": USER,
            "PLIMSOLL_PG_PASSWORD_FILE": str(secret),
            "PLIMSOLL_HOME": str(self.folder / "var"),
            "DAGSTER_HOME": str(self.folder / "dagster"),
            "PLIMSOLL_NOW": "2022-07-01T00:30:00",
            **changed,
        }
        command = [str(ROOT / "deploy" / "with-secrets"), sys.executable, "-m", "dagster_project.cli", "report"]
        return subprocess.run(
            [*command, "--config", str(self.folder / "small.toml"), "--as-of", DAY],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame, server: Server) -> Desk:
    make_profile(tmp_path, monkeypatch, candles)
    return Desk(tmp_path, server)


def _holds_no_password(done: "subprocess.CompletedProcess[str]", folder: Path) -> None:
    spellings = {PASSWORD, quote(PASSWORD), quote(PASSWORD, safe="")}
    for spelling in spellings:
        assert spelling not in done.stdout + done.stderr
    files = [path for top in ("var", "dagster") for path in (folder / top).rglob("*") if path.is_file()]
    assert files
    for path in files:
        content = path.read_bytes()
        for spelling in spellings:
            assert spelling.encode() not in content, path


def test_two_nights_leave_their_history_in_postgresql_only(desk: Desk) -> None:
    for count in (1, 2):
        done = desk.report()
        assert done.returncode == 0, done.stderr
        assert desk.server.rows("select status, count(*) from runs group by status") == [("SUCCESS", count)]
        _holds_no_password(done, desk.folder)
    materialized = {
        key.strip('[]"')
        for (key,) in desk.server.rows(
            "select distinct asset_key from event_logs where dagster_event_type = 'ASSET_MATERIALIZATION'"
        )
    }
    assert {"candle", "volatility_fit", "threshold", "risk_report"} <= materialized
    [(keys,)] = desk.server.rows("select count(*) from asset_keys where last_materialization is not null")
    assert keys == len(materialized)
    assert not list((desk.folder / "dagster").rglob("*.db")), "part of the history went to SQLite"
    assert list((desk.folder / "var" / "small" / "reports" / DAY).glob("report.pdf"))


def _refused(done: "subprocess.CompletedProcess[str]", code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    *progress, last = done.stderr.splitlines()
    assert last.startswith("plimsoll: "), done.stderr
    before = "\n".join(progress)
    assert not [word for word in ("Retrying", "Traceback", "sqlalche", "Error") if word in before], done.stderr
    for word in words:
        assert word in last, last


def test_a_wrong_password_is_one_plain_message(desk: Desk) -> None:
    wrong = "another / 4Xy%"
    done = desk.report(wrong)
    _refused(done, 1, "dagster.yaml", f'password authentication failed for user "{USER}"')
    assert wrong not in done.stdout + done.stderr
    assert quote(wrong) not in done.stdout + done.stderr
    assert not list((desk.folder / "var").rglob("report.pdf")), "it ran without its history"


def test_an_absent_server_is_named(desk: Desk) -> None:
    port = str(free_port())
    _refused(desk.report(PLIMSOLL_PG_PORT=port), 1, "dagster.yaml", f"port {port} failed: Connection refused")


def test_what_the_environment_lacks_is_named(desk: Desk) -> None:
    done = desk.report("", PLIMSOLL_PG_PORT="many")
    _refused(done, 2, "dagster.yaml", "PLIMSOLL_PG_PASSWORD is not set", "PLIMSOLL_PG_PORT is no int")


def test_only_the_storage_differs_from_the_instance_of_one_machine() -> None:
    plain = yaml.safe_load((ROOT / "deploy" / "dagster.yaml").read_text())
    shared = yaml.safe_load((ROOT / "deploy" / "dagster.postgres.yaml").read_text())
    database = shared.pop("storage")["postgres"]["postgres_db"]
    assert shared == plain
    assert set(database) == {"hostname", "port", "db_name", "username", "password"}
    assert all(list(value) == ["env"] for value in database.values()), "a value that is not from the environment"
