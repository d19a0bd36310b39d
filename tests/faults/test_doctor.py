"""The doctor and the outbox at the command line: each fault is found, named with its remedy, and ends with its code."""

import json
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from faults_support import Commands, Night
from operations_support import NOW, OPERATOR, Place, copied
from tests_support import noted

from benchmarks._mail_server import Server, serve
from dagster_project import heartbeat, outbox
from dagster_project.warehouse import WarehouseError

Lay = Callable[..., Place]
ONE, TWO = "one@example.org", "two@example.org"
HEADERS, BLOCK = 3 * 4096, 256 * 1024
"""Of a DuckDB file."""
SCHEDULED = ("is_schedule_on = false", "is_schedule_on = true")


@pytest.fixture
def lay(tmp_path: Path, plimsoll: Commands, calm: Night) -> Lay:
    """Lay down a copy of a sound profile."""

    def put(more: str = "") -> Place:
        return copied(calm, tmp_path / "place", plimsoll, more=more)

    return put


def faults(place: Place, *words: str, **ways: Any) -> dict[str, str]:
    """What the doctor objects to, by question; its exit code says whether there is anything."""
    told = place("doctor", "--json", *words, **ways)
    rows = json.loads(told.out)
    found = {row["what"]: row["detail"] for row in rows if not row["is_fine"]}
    assert told.code == (1 if found else 0), told
    return found


def test_a_sound_profile_in_words_and_for_machines(lay: Lay) -> None:
    place = lay()
    told, machine = place("doctor"), place("doctor", "--json")
    assert (told.code, machine.code) == (0, 0), told.out
    rows = json.loads(machine.out)
    assert [set(row) for row in rows] == [{"what", "is_fine", "detail"}] * len(rows)
    # Others write to the disk as well: how much is free may differ between two looks.
    free = re.compile(r"[0-9.]+ GiB free")
    in_words = [free.sub("… free", line) for line in told.out.splitlines()]
    assert in_words == [free.sub("… free", f"ok   {row['what']}: {row['detail']}") for row in rows]
    assert any("… free" in line for line in in_words)
    details = {row["what"]: row["detail"] for row in rows}
    assert details["backup"].endswith("reads back whole")
    assert details["outbox"] == "2 mail(s), none unsettled"
    assert OPERATOR in details["alerts"]


def test_an_orphan_is_found_and_fix_marks_it_and_tells(lay: Lay) -> None:
    place = lay()
    killed = place(
        "report", "--as-of", "2022-03-14", "--stage", "candle", environment={"PLIMSOLL_CRASH_AT": "before candles"}
    )
    assert killed.code == -9
    found = faults(place)
    assert set(found) == {"orphan runs"}
    assert found["orphan runs"].endswith("without a process; run: plimsoll doctor --fix")
    told = place("doctor")
    assert told.code == 1
    assert f"FAULT orphan runs: {found['orphan runs']}\n" in told.out
    assert place.alerts() == [], "to look is not to tell"
    assert faults(place, "--fix") == {}
    assert [name[:17] for name in place.alerts()] == ["2022-03-14-orphan"]
    assert faults(place) == {}


@pytest.mark.parametrize(
    ("now", "content", "said"),
    [
        ("2022-07-02T02:30:00", None, ""),
        ("2022-07-02T02:30:01", None, f"the last night ended at {NOW.replace('T', ' ')} UTC"),
        (NOW, "", "no night has ended yet"),
        (NOW, "{}", "cannot be read (KeyError"),
        (NOW, "\x00", "cannot be read (JSONDecodeError"),
        (NOW, '{"finished_at": 7}', "cannot be read (ValueError"),
        (NOW, "[]", "cannot be read (TypeError"),
    ],
    ids=["in time", "too late", "none", "no moment", "no json", "no time", "no table"],
)
def test_a_night_that_did_not_end(lay: Lay, now: str, content: str | None, said: str) -> None:
    place = lay()
    path = place.profile / heartbeat.NAME
    if content:
        path.write_text(content)
    elif content is not None:
        path.unlink()
    assert faults(place, environment={"PLIMSOLL_NOW": now}) == {}, "nobody waits for a profile without a schedule"
    place.configure(SCHEDULED)
    found = faults(place, environment={"PLIMSOLL_NOW": now})
    assert set(found) == ({"last night"} if said else set())
    if said:
        assert said in found["last night"]
        assert found["last night"].endswith("; run: plimsoll report --catch-up")


def test_a_damaged_block_is_found_before_a_night_comes_upon_it(lay: Lay) -> None:
    """The file opens and agrees with its ledger; one block in the middle is not what was written."""
    place = lay()
    store = place.profile / "plimsoll.duckdb"
    whole = store.read_bytes()
    for at in range(HEADERS + BLOCK // 2, len(whole), BLOCK):
        store.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            with place.warehouse.session() as session, pytest.raises(WarehouseError, match="run plimsoll restore"):
                session.read_through()
        except (WarehouseError, pytest.fail.Exception):
            continue  # noticed when it was opened, or a block that holds nothing
        break
    else:
        pytest.fail("every block is read when the file is opened")
    found = faults(place)
    assert "run plimsoll restore" in found["store"]
    told = place("restore")
    assert told.code == 0, told.out + told.err
    assert "store" not in faults(place)


def test_copies_that_are_missing_or_damaged(lay: Lay) -> None:
    place = lay()
    copies = sorted((place.profile / "backup").rglob("*.duckdb*"))
    assert copies
    for path in copies:
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-5000])
    assert set(faults(place)) == {"backup"}
    shutil.rmtree(place.profile / "backup")
    assert faults(place) == {"backup": "no copy of the store; run: plimsoll report (its last stage makes one)"}


def test_folders_that_may_not_be_written(lay: Lay) -> None:
    place = lay()
    assert faults(place, is_ordinary=True) == {}
    inner = place.profile / "outbox"
    inner.chmod(0o555)
    try:
        assert faults(place, is_ordinary=True) == {"folder": f"{inner} is not writable; set PLIMSOLL_HOME or its owner"}
    finally:
        inner.chmod(0o755)
    place.profile.chmod(0o555)
    try:
        found = faults(place, is_ordinary=True)
        assert f"{place.profile} is not writable; set PLIMSOLL_HOME or its owner" == found["folder"]
    finally:
        place.profile.chmod(0o755)


def test_a_server_out_of_reach_and_a_secret_that_is_not_set(lay: Lay, tmp_path: Path) -> None:
    with serve(tmp_path / "server") as server:
        place = lay(server.table())
        told = place("doctor")
        assert f"ok   mail server: localhost:{server.port} answers with a certificate that holds, logged in" in told.out
        found = faults(place, environment={"PLIMSOLL_SMTP_PASSWORD": ""})
        assert set(found) == {"mail server"}
        assert "PLIMSOLL_SMTP_PASSWORD is not set" in found["mail server"]
        found = faults(place, environment={"PLIMSOLL_SMTP_PASSWORD": "wrong-canary"})
        assert "535" in found["mail server"]
        assert "canary" not in found["mail server"]
        with socket.create_server(("127.0.0.1", 0)) as free:
            closed = free.getsockname()[1]
        place.configure(more=server.table().replace(str(server.port), str(closed)))
        found = faults(place)
        assert set(found) == {"mail server"}
        assert f"localhost:{closed}" in found["mail server"]
        assert server.box.mails == []


def test_a_question_that_cannot_be_asked_is_a_fault_and_the_others_are_asked(lay: Lay) -> None:
    place = lay()
    before = place("doctor").out.splitlines()
    (place.profile / "plimsoll.duckdb").write_bytes(b"no database at all" * 1000)
    told = place("doctor")
    assert told.code == 1
    asked = [line.split(": ")[0].split(maxsplit=1)[1] for line in told.out.splitlines()]
    assert asked == [line.split(": ")[0].split(maxsplit=1)[1] for line in before]
    assert "FAULT store: WarehouseError: " in told.out


@pytest.fixture
def post(lay: Lay, tmp_path: Path) -> Iterator[tuple[Place, Server]]:
    """Two mails that wait, and a server whose words are scripted."""
    with serve(tmp_path / "server") as server:
        yield lay(server.table(timeout=0.5)), server


def identity(place: Place, recipient: str) -> str:
    rows = place.mails().set_index("recipient")
    return str(rows.loc[recipient, "message_id"]).strip("<>")[:8]


def states(place: Place) -> list[str]:
    return list(place.mails().sort_values("recipient")["state"])


def test_sending_in_words_and_for_machines(post: tuple[Place, Server]) -> None:
    place, server = post
    server.script.rcpt = {ONE: ["451 4.7.1 come back"]}
    told = place("outbox", "send")
    assert (told.code, told.out) == (0, "mails accepted: 1\nmails deferred: 1\nalerts sent: 0\n")
    told = place("outbox", "send", "--json")
    assert (told.code, json.loads(told.out)) == (0, {"alerts_sent": 0})
    told = place("outbox", "send", "--json", environment={"PLIMSOLL_NOW": "2022-07-01T00:45:00"})
    assert (told.code, json.loads(told.out)) == (0, {"mails_accepted": 1, "alerts_sent": 0})
    assert [to for to, _ in server.box.mails] == [TWO, ONE]


def test_sending_to_nobody_is_no_success(post: tuple[Place, Server]) -> None:
    place, _ = post
    told = place("outbox", "send", "--json", environment={"PLIMSOLL_SMTP_PASSWORD": ""})
    found = json.loads(told.out)
    assert told.code == 1
    assert found["mails_deferred"] == 2
    assert "PLIMSOLL_SMTP_PASSWORD is not set" in found["mail_server"]
    assert faults(place)["outbox"] == "2 deferred; see: plimsoll outbox list"
    place.configure()
    told = place("outbox", "send")
    assert told.code == 2
    assert told.err == f"plimsoll: {outbox.NO_SERVER}\n"


def test_the_list_in_words_and_for_machines(post: tuple[Place, Server]) -> None:
    place, server = post
    server.script.rcpt = {ONE: ["550 5.1.1 no such user"]}
    place("outbox", "send")
    machine, told = place("outbox", "list", "--json"), place("outbox", "list")
    assert (machine.code, told.code) == (0, 0)
    rows = {row["recipient"]: row for row in json.loads(machine.out)}
    assert (rows[ONE]["state"], rows[TWO]["state"]) == ("refused", "accepted")
    assert (rows[ONE]["attempts"], rows[ONE]["next_attempt_at"], rows[ONE]["as_of"]) == (1, None, "2022-03-13")
    heads, *lines = told.out.splitlines()
    assert heads.split("  ")[0] == "id"
    assert len(lines) == 2
    (line,) = [line for line in lines if ONE in line]
    for word in (identity(place, ONE), "2022-03-13", "refused", "committee", "550 5.1.1 no such user"):
        assert word in line


def test_an_unknown_mail_is_sent_again_only_with_confirm(post: tuple[Place, Server]) -> None:
    place, server = post
    server.script.data, server.script.takes_before_abort = {ONE: ["abort"]}, False
    assert place("outbox", "send").code == 0
    assert states(place) == ["unknown", "accepted"]
    assert faults(place)["outbox"] == "1 unknown; see: plimsoll outbox list"
    one = identity(place, ONE)
    told = place("outbox", "resend", one)
    assert told.code == 2
    assert told.err.startswith(f"plimsoll: mail {one} to {ONE} is unknown: it may arrive twice.")
    assert told.err.endswith("then add --confirm\n")
    assert states(place) == ["unknown", "accepted"]
    told = place("outbox", "resend", one, "--confirm")
    assert told.code == 0
    assert [line.split()[2] for line in told.out.splitlines()[1:]] == ["accepted"]
    assert [to for to, _ in server.box.mails if to != OPERATOR] == [TWO, ONE]
    assert "outbox" not in faults(place)


def test_orders_about_one_mail_and_what_may_not_be_ordered(post: tuple[Place, Server]) -> None:
    place, server = post
    server.script.data = {TWO: ["abort"]}
    told = place("outbox", "cancel", identity(place, ONE))
    assert told.code == 0
    assert "an operator cancelled it" in told.out
    assert place("outbox", "send").code == 0
    assert states(place) == ["cancelled", "unknown"]
    for words, said in (
        (("cancel", identity(place, ONE)), "only a waiting or unknown one can be cancelled"),
        (("arrived", identity(place, ONE)), "only of an unknown one"),
        (("arrived", "zzzz"), "no mail's id begins with 'zzzz'; see plimsoll outbox list"),
        (("resend", "z"), "give at least 4 characters"),
    ):
        told = place("outbox", *words)
        assert (told.code, told.out) == (2, "")
        assert told.err.startswith("plimsoll: ")
        assert said in told.err
        assert told.err.count("\n") == 1
    told = place("outbox", "arrived", identity(place, TWO))
    assert told.code == 0
    assert "an operator found that it arrived" in told.out
    assert states(place) == ["cancelled", "accepted"]
    assert place("outbox", "send").out == "alerts sent: 0\n"
    assert [to for to, _ in server.box.mails if to != OPERATOR] == [TWO]


def test_a_deferred_mail_is_tried_now_where_it_is_ordered(post: tuple[Place, Server]) -> None:
    place, server = post
    server.script.rcpt = {ONE: ["451 4.7.1 come back"]}
    place("outbox", "send")
    assert states(place) == ["deferred", "accepted"]
    told = place("outbox", "resend", identity(place, ONE))
    assert (told.code, states(place)) == (0, ["accepted", "accepted"])


def test_mail_of_a_superseded_report_is_not_sent_even_on_order(post: tuple[Place, Server]) -> None:
    """A newer revision was made without its mails, as by `--stage risk_report`, or was withheld."""
    place, server = post
    server.script.rcpt = {TWO: ["550 5.1.1 no such user"]}
    one = identity(place, ONE)
    server.script.data = {ONE: ["451 4.3.0 later"]}
    place("outbox", "send")
    assert states(place) == ["deferred", "refused"]
    with place.warehouse.session() as session, session.transaction():
        newer = session.query("reports", as_of=date(2022, 3, 13)).tail(1).assign(revision=2, status="withheld")
        session.insert("report", newer)
        noted(session)
    told = place("outbox", "resend", identity(place, TWO), "--confirm")
    assert told.code == 2
    assert "is about revision 1 of a report that has revision 2" in told.err
    assert place("outbox", "resend", one).code == 2
    told = place("outbox", "send", environment={"PLIMSOLL_NOW": "2022-07-01T00:45:00"})
    assert states(place) == ["cancelled", "refused"]
    assert place.mails().set_index("recipient").loc[ONE, "last_reply"] == outbox.SUPERSEDED
    assert {to for to, _ in server.box.mails} <= {OPERATOR}
