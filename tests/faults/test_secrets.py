"""A canary in every slot that holds a secret: after whole nights, good and bad, it is nowhere but where it was put."""

import base64
import gzip
import json
import logging
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import pytest
from faults_support import Commands, Night
from operations_support import Place, copied
from pypdf import PdfReader

import sql
from benchmarks._mail_server import PASSWORD, Script, serve
from dagster_project import logs, redaction
from dagster_project.settings import SettingsError, load

CANARY = "canary-7f3a9c51-Tweet"
PG_CANARY = "canary-pg-52d0e8b7"


def spellings(secret: str) -> set[bytes]:
    login = f"\0plimsoll\0{secret}".encode()
    return {secret.encode(), base64.b64encode(secret.encode()), base64.b64encode(login)}


def everything(place: Place) -> Iterator[tuple[str, bytes]]:
    """All bytes below the profile's folder and Dagster's, unpacked where they are packed, and every row."""
    for folder in (place.folder / "var", place.folder / "dagster"):
        for path in folder.rglob("*"):
            if not path.is_file():
                continue
            content = path.read_bytes()
            yield str(path), content
            if path.suffix == ".gz":
                yield f"{path} unpacked", gzip.decompress(content)
            if path.suffix == ".eml":
                yield f"{path} decoded", b"".join(unpacked(content))
            if path.suffix == ".pdf":
                reader = PdfReader(path)
                text = "".join(page.extract_text() for page in reader.pages)
                attached = b"".join(one for many in reader.attachments.values() for one in many)
                yield f"{path} read", text.encode() + attached
    with place.warehouse.session() as session:
        for contract in sql.tables():
            yield f"table {contract.name}", session.everything(contract.name).to_csv().encode()


def unpacked(mail: bytes) -> Iterator[bytes]:
    for part in message_from_bytes(mail).walk():
        content = part.get_payload(decode=True)
        if isinstance(content, bytes):
            yield content


def is_nowhere(place: Place, *secrets: str) -> None:
    sought = {one for secret in secrets for one in spellings(secret)}
    found = [name for name, content in everything(place) if any(one in content for one in sought)]
    assert found == []


@pytest.fixture
def told() -> list[str]:
    """What was said on both streams."""
    return []


@pytest.mark.slow
@pytest.mark.parametrize("slot", ["variable", "file"])
def test_a_secret_is_nowhere_after_nights_that_go_wrong(
    tmp_path: Path, calm: Night, plimsoll: Commands, slot: str, told: list[str]
) -> None:
    """The server repeats the password that it refuses; the run's history lies beside it; operators are alerted."""
    with serve(tmp_path / "mail", Script()) as server:
        table = server.table()
        if slot == "file":
            (tmp_path / "secret").write_text(CANARY + "\n")
            table = table.replace('password_env = "PLIMSOLL_SMTP_PASSWORD"', f'password_file = "{tmp_path / "secret"}"')
        place = copied(calm, tmp_path / "desk", plimsoll, more=table)
        secret = CANARY if slot == "variable" else PASSWORD
        environment = {"PLIMSOLL_SMTP_PASSWORD": secret, "PLIMSOLL_PG_PASSWORD": PG_CANARY}
        hours = 0
        for words in (
            ("report", "--as-of", calm.day),
            ("report", "--as-of", calm.day, "--stage", "delivery"),
            ("outbox", "send"),
            ("outbox", "send"),
            ("outbox", "list"),
            ("outbox", "list", "--json"),
            ("doctor",),
            ("doctor", "--json"),
        ):
            hours += 2
            now = f"2022-07-01T{hours:02}:30:00"
            said = place(*words, environment=environment | {"PLIMSOLL_NOW": now})
            told += [said.out, said.err]
        assert server.box.logins, "the password was used"
        assert server.box.mails == []
    assert redaction.HIDDEN in "".join(told), "the server did repeat it"
    for secret in (CANARY, PG_CANARY):
        for spelled in spellings(secret):
            assert spelled.decode() not in "".join(told)
    is_nowhere(place, CANARY, PG_CANARY)
    assert place.alerts(), "operators are told, without it"


def test_the_search_finds_what_it_looks_for(tmp_path: Path, calm: Night, plimsoll: Commands) -> None:
    """Else the test above would pass whatever happened."""
    place = copied(calm, tmp_path / "desk", plimsoll)
    is_nowhere(place, CANARY)
    for name, content in (
        ("var/small/logs/x.jsonl", CANARY.encode()),
        ("dagster/x", base64.b64encode(CANARY.encode())),
        ("var/small/raw/x.gz", gzip.compress(CANARY.encode())),
        (
            "var/small/outbox/x.eml",
            b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(b"-" + CANARY.encode()),
        ),
    ):
        path = place.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        with pytest.raises(AssertionError, match=path.name):
            is_nowhere(place, CANARY)
        path.unlink()


@pytest.mark.parametrize(
    "table",
    [
        f'[smtp]\nhost = "localhost"\nport = 25\nusername = "u"\npassword = "{CANARY}"\n',
        f'[smtp]\nhost = "u:{CANARY}@localhost"\nport = 25\n',
        f'[compute]\nkind = "dask"\naddress = "tcp://u:{CANARY}@localhost:8786"\n',
        f'[smtp]\nhost = "localhost"\nport = 25\nusername = "u"\npassword_env = "{CANARY}"\n',
    ],
    ids=["password", "host", "address", "variable"],
)
def test_a_secret_in_the_configuration_is_refused_without_repeating_it(
    tmp_path: Path, calm: Night, plimsoll: Commands, table: str
) -> None:
    place = Place(tmp_path / "desk", plimsoll, calm.folder / "candles.parquet", more=table)
    with pytest.raises(SettingsError) as refused:
        load(place.config)
    assert CANARY not in str(refused.value)
    said = place("doctor")
    assert said.code == 2
    assert CANARY not in said.out + said.err


def test_words_from_outside_forge_no_line(place_of: Place) -> None:
    """Line ends, colours of terminals and marks that turn text round, in what a server says."""
    evil = 'no\r\n{"level": "info"}\x1b[2J\u202egnp.exe\u2028next\x00' + f" postgresql://u:{CANARY}@host/db"
    line = redaction.one_line(evil, place_of.settings)
    assert line.isprintable()
    assert CANARY not in line
    logs.configure(place_of.settings)
    logging.getLogger("plimsoll.test").warning("server: %s", evil)
    written = (place_of.profile / logs.NAME).read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in written]
    assert len(events) == 1
    assert CANARY not in written[-1]
    assert all(ord(c) >= 32 for c in written[-1]), "control characters stand as escapes"
    for handler in list(logging.getLogger("plimsoll").handlers):
        logging.getLogger("plimsoll").removeHandler(handler)
        handler.close()


@pytest.fixture
def place_of(tmp_path: Path, calm: Night, plimsoll: Commands, monkeypatch: pytest.MonkeyPatch) -> Place:
    place = Place(tmp_path / "desk", plimsoll, calm.folder / "candles.parquet")
    monkeypatch.setenv("PLIMSOLL_HOME", str(place.folder / "var"))
    return place
