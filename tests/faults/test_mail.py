"""Mail against a real server on loopback: every answer has its state, nothing is lost, nothing arrives twice."""

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import pandas as pd
import pytest
from tests_support import make_profile, noted

from benchmarks._mail_server import PASSWORD, Script, Server, serve, silent
from dagster_project import alerts, files, journal, outbox
from dagster_project import settings as settings_module
from dagster_project.definitions import warehouse_of
from dagster_project.settings import Settings
from reports import message

DAY = date(2022, 5, 31)
START = datetime(2022, 7, 1, 0, 30)
PDF = b"%PDF-1.7 " + b"x" * 150_000 + b"%%EOF"


class Post:
    """A profile with mails in its outbox, and a clock to turn."""

    def __init__(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings, self._patch = settings, monkeypatch
        self.warehouse = warehouse_of(settings)
        self.folder = settings_module.profile_folder(settings)
        self.wait(timedelta())

    def wait(self, time: timedelta) -> None:
        self.now = getattr(self, "now", START) + time
        self._patch.setenv("PLIMSOLL_NOW", self.now.isoformat())

    def write(self, *recipients: str, pdf: bytes = PDF, audience: str = "committee") -> list[str]:
        """Put mails into the outbox as the delivery stage does; their ids."""
        rows = []
        for recipient in recipients:
            content = mail_of(recipient, pdf)
            path = f"outbox/{DAY}-{audience}-{files.sha256(recipient.encode())[:12]}-r1.eml"
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(content)
            rows.append(
                {
                    "as_of": pd.Timestamp(DAY),
                    "audience": audience,
                    "recipient": recipient,
                    "revision": 1,
                    "message_id": f"<{recipient.replace('@', '.')}@example.org>",
                    "subject": "s",
                    "state": "pending",
                    "eml_path": path,
                    "eml_sha256": hashlib.sha256(content).hexdigest(),
                    "decision_id": "d",
                    "attempts": 0,
                    "next_attempt_at": pd.NaT,
                    "changed_at": pd.Timestamp(self.now),
                    "last_reply": "",
                }
            )
        with self.warehouse.session() as session, session.transaction():
            session.insert("outbox", pd.DataFrame(rows))
            noted(session, len(rows))
        return [str(row["message_id"]) for row in rows]

    def send(self) -> outbox.Dispatch:
        return outbox.dispatch(self.settings, self.warehouse)

    def rows(self) -> pd.DataFrame:
        with self.warehouse.session() as session:
            return session.query("outbox").set_index("recipient")

    def states(self) -> dict[str, str]:
        return dict(self.rows()["state"])


def mail_of(recipient: str, pdf: bytes) -> bytes:
    made = EmailMessage(policy=message.POLICY)
    made["From"], made["To"], made["Subject"] = "plimsoll@example.org", recipient, "s"
    made["Message-ID"] = f"<{recipient.replace('@', '.')}@example.org>"
    made.set_content("The decision.\n.\n..dots at the beginning\n")
    made.add_alternative("<html><body><p>The decision.</p></body></html>", subtype="html")
    made.add_attachment(pdf, maintype="application", subtype="pdf", filename=f"plimsoll-{DAY}.pdf")
    made.add_attachment(b"{}", maintype="application", subtype="json", filename="decision.json")
    return made.as_bytes()


ONE, TWO, THREE = "one@example.org", "two@example.org", "three@example.org"
Open = Callable[..., "contextmanager[tuple[Post, Server]]"]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candles: pd.DataFrame) -> Open:
    """Open a profile whose mails go to a scripted server."""
    monkeypatch.setenv("PLIMSOLL_SMTP_PASSWORD", PASSWORD)

    @contextmanager
    def opened(
        script: Script | None = None, *, table: dict[str, object] | None = None, **server: object
    ) -> Iterator[tuple[Post, Server]]:
        with serve(tmp_path / "server", script, **server) as running:  # type: ignore[arg-type]
            make_profile(tmp_path, monkeypatch, candles.head(0))
            config = tmp_path / "small.toml"
            text = config.read_text().replace(
                '"two@example.org"]', '"two@example.org", "three@example.org"]\noperators = ["night@example.org"]'
            )
            config.write_text(text + running.table(**(table or {})))  # type: ignore[arg-type]
            yield Post(settings_module.load(config), monkeypatch), running

    return opened


def test_mails_arrive_once_over_tls_with_the_right_envelope(desk: Open) -> None:
    with desk() as (post, server):
        ids = post.write(ONE, TWO)
        assert post.send().counts == {"accepted": 2}
        assert post.send().counts == {}
        assert sorted(server.box.message_ids()) == sorted(ids)
        assert [to for to, _ in server.box.mails] == [ONE, TWO], "one message a recipient, one conversation for both"
        assert server.box.conversations == 1
        assert server.box.clear_text == []
        (first,) = server.box.to(ONE)
        assert "..dots at the beginning" in first.get_body(("plain",)).get_content()
        assert next(first.iter_attachments()).get_payload(decode=True) == PDF
        steps = [json.loads(line) for line in (post.folder / journal.NAME).read_text().splitlines()]
        assert [(step["message_id"], step["state"]) for step in steps if step["message_id"] == ids[0]] == [
            (ids[0], "sending"),
            (ids[0], "accepted"),
        ]


def test_implicit_tls(desk: Open) -> None:
    with desk(tls="implicit", has_login=False, table={"tls": "implicit", "login": False}) as (post, server):
        post.write(ONE)
        assert post.send().counts == {"accepted": 1}
        assert len(server.box.mails) == 1


@pytest.mark.parametrize(
    ("server", "table", "said"),
    [
        ({"names": ("elsewhere.example.org",)}, {}, "the certificate does not hold: .*localhost"),
        ({"is_expired": True}, {}, "the certificate does not hold: certificate has expired"),
        ({"tls": "none"}, {"login": False}, "offers no STARTTLS; nothing is sent in clear text"),
        ({"tls": "none"}, {"tls": "implicit"}, "SSL"),
    ],
    ids=["wrong name", "expired", "no starttls", "no tls at all"],
)
def test_no_mail_without_tls_that_holds(
    desk: Open, server: dict[str, object], table: dict[str, object], said: str
) -> None:
    with desk(table=table, **server) as (post, running):
        post.write(ONE, TWO)
        done = post.send()
        assert done.counts == {"deferred": 2}
        assert pd.Series([done.trouble]).str.contains(said).all(), done.trouble
        assert running.box.mails == []
        assert running.box.clear_text == []
        assert running.box.logins == [], "a password never crosses such a line"


def test_a_certificate_of_an_unknown_authority(desk: Open, tmp_path: Path) -> None:
    with serve(tmp_path / "other") as stranger, desk() as (post, server):
        post.write(ONE)
        smtp = post.settings.smtp.model_copy(update={"port": stranger.port})
        post.settings = post.settings.model_copy(update={"smtp": smtp})
        assert "the certificate does not hold" in post.send().trouble
        assert stranger.box.mails == server.box.mails == []


def test_a_refused_login_waits_and_shows_no_password(desk: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    with desk() as (post, server):
        monkeypatch.setenv("PLIMSOLL_SMTP_PASSWORD", "wrong-canary-word")
        post.write(ONE)
        done = post.send()
        assert done.counts == {"deferred": 1}
        assert "535" in done.trouble
        assert server.box.mails == []
        assert "canary" not in done.trouble + post.rows()["last_reply"].iloc[0]
        assert "[hidden]" in done.trouble
        monkeypatch.setenv("PLIMSOLL_SMTP_PASSWORD", PASSWORD)
        post.wait(outbox.FIRST_WAIT)
        assert post.send().counts == {"accepted": 1}


def test_a_password_that_is_not_set_is_named(desk: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    with desk() as (post, _):
        monkeypatch.delenv("PLIMSOLL_SMTP_PASSWORD")
        post.write(ONE)
        assert "PLIMSOLL_SMTP_PASSWORD is not set" in post.send().trouble


@pytest.mark.parametrize("kind", ["closed", "silent", "drip", "unknown host"])
def test_a_server_that_is_not_there_defers_all_and_backs_off(desk: Open, kind: str) -> None:
    with desk() as (post, _), silent(b"2" * 1000 if kind == "drip" else b"", 0.05) as port:
        change: dict[str, object] = {"port": port, "timeout_seconds": 0.3}
        if kind == "closed":
            with socket.create_server(("127.0.0.1", 0)) as free:
                change["port"] = free.getsockname()[1]
        if kind == "unknown host":
            change["host"] = "no-such-host.invalid"
        smtp = post.settings.smtp.model_copy(update=change)
        post.settings = post.settings.model_copy(update={"smtp": smtp})
        post.write(ONE, TWO)
        waits = []
        for _ in range(6):
            done = post.send()
            assert done.counts == {"deferred": 2}
            planned = post.rows()["next_attempt_at"].iloc[0] - pd.Timestamp(post.now)
            waits.append(planned.total_seconds() / 60)
            assert post.send().counts == {}, "not before its time"
            post.wait(planned.to_pytimedelta())
        assert waits == [15, 30, 60, 120, 240, 240]


def test_a_mail_is_given_up_after_five_days(desk: Open) -> None:
    with desk(Script(rcpt={ONE: ["451 4.7.1 later"] * 99})) as (post, server):
        post.write(ONE)
        for _ in range(60):
            post.send()
            row = post.rows().loc[ONE]
            if row["state"] == "refused":
                break
            post.wait((row["next_attempt_at"] - pd.Timestamp(post.now)).to_pytimedelta())
        assert row["state"] == "refused"
        assert "given up after 5 days: 451 4.7.1 later" in row["last_reply"]
        assert timedelta(days=4) < post.now - START <= timedelta(days=5)
        assert server.box.mails == []


def test_greylisting_defers_one_and_a_later_round_sends_it(desk: Open) -> None:
    with desk(Script(rcpt={ONE: ["451 4.7.1 greylisted, come back"]})) as (post, server):
        post.write(ONE, TWO)
        assert post.send().counts == {"deferred": 1, "accepted": 1}
        assert post.rows().loc[ONE, "last_reply"] == "451 4.7.1 greylisted, come back"
        post.wait(outbox.FIRST_WAIT)
        assert post.send().counts == {"accepted": 1}
        assert server.box.twice() == []
        assert len(server.box.mails) == 2


def test_one_refused_recipient_does_not_keep_the_others(desk: Open) -> None:
    with desk(Script(rcpt={TWO: ["550 5.1.1 no such user"]})) as (post, server):
        post.write(ONE, TWO, THREE)
        assert post.send().counts == {"accepted": 2, "refused": 1}
        assert post.states() == {ONE: "accepted", TWO: "refused", THREE: "accepted"}
        assert "no such user" in post.rows().loc[TWO, "last_reply"]
        assert server.box.conversations == 1, "the conversation goes on after a refusal"


@pytest.mark.parametrize("end", ["abort", "hang"])
@pytest.mark.parametrize("is_taken", [True, False])
def test_silence_after_the_mail_is_unknown_and_needs_a_person(desk: Open, end: str, is_taken: bool) -> None:
    script = Script(data={ONE: [end]}, takes_before_abort=is_taken)
    with desk(script, table={"timeout": 0.5}) as (post, server):
        (identity, _) = post.write(ONE, TWO)
        done = post.send()
        assert done.counts == {"unknown": 1, "accepted": 1}
        for _ in range(3):
            post.wait(timedelta(days=1))
            assert post.send().counts == {}, "never sent again by itself"
        short = identity.strip("<>")[:8]
        with pytest.raises(outbox.OutboxError, match="may arrive twice"):
            outbox.order(post.settings, post.warehouse, short, "resend", is_confirmed=False)
        if is_taken:
            row = outbox.order(post.settings, post.warehouse, short, "arrived", is_confirmed=False)
            assert row.state == "accepted"
            assert post.send().counts == {}
        else:
            outbox.order(post.settings, post.warehouse, short, "resend", is_confirmed=True)
            assert post.send().counts == {"accepted": 1}
        assert server.box.twice() == []
        assert server.box.message_ids().count(identity) == 1


def test_a_mail_sent_again_bears_the_same_message_id(desk: Open) -> None:
    with desk(Script(data={ONE: ["abort"]})) as (post, server):
        (identity,) = post.write(ONE)
        post.send()
        outbox.order(post.settings, post.warehouse, identity, "resend", is_confirmed=True)
        post.send()
        assert server.box.message_ids() == [identity, identity], "so that the reader's program can see that it is one"


@pytest.mark.parametrize("answer", ["451 4.3.0 not now", "554 5.6.0 content refused", "421 4.3.2 closing"])
def test_an_answer_to_the_mail_itself(desk: Open, answer: str) -> None:
    with desk(Script(data={ONE: [answer]})) as (post, server):
        post.write(ONE, TWO)
        state = "refused" if answer.startswith("5") else "deferred"
        assert post.send().counts == {state: 1, "accepted": 1}
        assert post.states()[ONE] == state
        assert [to for to, _ in server.box.mails] == [TWO]


@pytest.mark.parametrize("way", ["announced", "answered"])
def test_too_big_a_mail_goes_without_the_report_with_its_hash(desk: Open, way: str) -> None:
    script = Script(size=100_000) if way == "announced" else Script(data={ONE: ["552 5.3.4 too big"]})
    with desk(script) as (post, server):
        post.write(ONE)
        assert post.send().counts == {"accepted": 1}
        (found,) = server.box.to(ONE)
        names = [part.get_filename() for part in found.iter_attachments()]
        assert names == ["decision.json"]
        digest = hashlib.sha256(PDF).hexdigest()
        for kind in ("plain", "html"):
            text = found.get_body((kind,)).get_content()
            assert digest in text
            assert f"reports/{DAY}/report.pdf" in text
        assert found["Message-ID"] == "<one.example.org@example.org>"


def test_a_mail_too_big_even_without_the_report_is_refused(desk: Open) -> None:
    with desk(Script(data={ONE: ["552 5.3.4 too big", "552 5.3.4 too big"]})) as (post, server):
        post.write(ONE)
        assert post.send().counts == {"refused": 1}
        assert "without the report as well" in post.rows().loc[ONE, "last_reply"]
        assert server.box.mails == []


def test_a_server_that_takes_two_recipients_a_conversation_loses_none(desk: Open) -> None:
    script = Script(rcpt={"*": ["250 OK", "250 OK", "452 4.5.3 too many recipients", "250 OK", "250 OK"]})
    with desk(script) as (post, server):
        post.write(ONE, TWO, THREE)
        assert post.send().counts == {"accepted": 2, "deferred": 1}
        post.wait(outbox.FIRST_WAIT)
        assert post.send().counts == {"accepted": 1}
        assert sorted(to for to, _ in server.box.mails) == sorted([ONE, TWO, THREE])


def test_a_server_that_drops_every_conversation_is_left_alone_after_two(desk: Open) -> None:
    with desk(Script(rcpt={"*": ["abort"] * 9})) as (post, server):
        post.write(ONE, TWO, THREE)
        assert post.send().counts == {"deferred": 3}
        assert server.box.conversations == 2


def test_a_removed_recipient_gets_nothing_more(desk: Open) -> None:
    with desk() as (post, server):
        post.write(ONE, "gone@example.org")
        assert post.send().counts == {"accepted": 1}
        assert post.states() == {ONE: "accepted", "gone@example.org": "cancelled"}
        assert [to for to, _ in server.box.mails] == [ONE]


def test_a_file_that_is_not_what_was_committed_is_not_sent(desk: Open) -> None:
    with desk() as (post, server):
        post.write(ONE)
        path = post.folder / post.rows().loc[ONE, "eml_path"]
        path.write_bytes(path.read_bytes() + b"forged")
        assert post.send().counts == {"deferred": 1}
        assert "is not the mail that was committed" in post.rows().loc[ONE, "last_reply"]
        assert server.box.mails == []


SEND = """
import sys
from pathlib import Path
from dagster_project import outbox, settings
from dagster_project.definitions import warehouse_of
chosen = settings.load(Path(sys.argv[1]))
outbox.dispatch(chosen, warehouse_of(chosen))
"""


@pytest.mark.parametrize(
    ("point", "after"),
    [
        ("committed sending", "accepted"),
        ("before DATA", "unknown"),
        ("after DATA", "unknown"),
        ("before outbox update", "accepted"),
    ],
)
def test_a_kill_while_sending_sends_nothing_twice(desk: Open, tmp_path: Path, point: str, after: str) -> None:
    """Where nothing was handed over it is sent; where something was, only an answer or a person settles it."""
    with desk() as (post, server):
        (identity,) = post.write(ONE)
        environment = {**os.environ, "PLIMSOLL_CRASH_AT": point}
        command = [sys.executable, "-c", SEND, str(tmp_path / "small.toml")]
        assert subprocess.run(command, env=environment, check=False).returncode == -9
        assert post.states()[ONE] == "sending"
        post.send()
        assert post.states()[ONE] == after
        assert server.box.twice() == []
        assert server.box.message_ids() == ([] if point == "before DATA" else [identity])


def test_two_senders_at_once_are_one(desk: Open) -> None:
    with desk() as (post, _), outbox._alone(post.settings):
        post.write(ONE)
        with pytest.raises(outbox.OutboxBusy, match="another process is sending"):
            post.send()


def test_a_store_from_before_does_not_send_again_what_the_journal_knows(desk: Open) -> None:
    with desk() as (post, server):
        (identity,) = post.write(ONE)
        post.send()
        with post.warehouse.session() as session, session.transaction():
            session.command(
                "move_mail",
                message_id=identity,
                from_state="accepted",
                state="pending",
                attempts=0,
                last_reply="",
                next_attempt_at=None,
                changed_at=post.now,
            )
        assert post.send().counts == {}
        assert post.states()[ONE] == "accepted"
        assert len(server.box.mails) == 1


def test_a_torn_line_of_the_journal_is_passed_over_and_another_is_named(desk: Open) -> None:
    with desk() as (post, _):
        post.write(ONE)
        post.send()
        path = post.folder / journal.NAME
        whole = path.read_bytes()
        path.write_bytes(whole + b'{"at": "2022-')
        assert len(journal.latest(post.folder)) == 1
        journal.append(post.folder, "<x>", 1, "accepted", "", START)
        assert journal.latest(post.folder)["<x>"].state == "accepted"
        path.write_bytes(b'{"nonsense": 1}\n' + whole)
        with pytest.raises(journal.JournalError, match=r"journal\.jsonl, line 1"):
            journal.latest(post.folder)


def test_what_an_operator_may_not_order(desk: Open) -> None:
    with desk() as (post, _):
        post.write(ONE, TWO)
        post.send()
        for words, said in (
            (("one.", "cancel"), "only a waiting or unknown one"),
            (("one.", "arrived"), "only of an unknown one"),
            (("none", "resend"), "no mail's id begins"),
            (("o", "resend"), "at least 4"),
        ):
            with pytest.raises(outbox.OutboxError, match=said):
                outbox.order(post.settings, post.warehouse, *words, is_confirmed=True)


def test_trouble_with_mail_goes_to_the_operators_alone_and_once(desk: Open) -> None:
    with desk(Script(rcpt={TWO: ["550 5.1.1 no such user"]})) as (post, server):
        post.write(ONE, TWO)
        for _ in range(2):
            outbox.attempt(post.settings, post.warehouse)
        told = server.box.to("night@example.org")
        assert len(told) == 1
        assert str(told[0]["Subject"]).startswith("[plimsoll] MAIL small: 1 mail(s) need a look")
        assert "no such user" in told[0].get_content()
        assert {to for to, _ in server.box.mails} == {ONE, "night@example.org"}


def test_an_alert_waits_as_a_file_until_a_server_takes_it(desk: Open) -> None:
    with desk(Script(rcpt={"night@example.org": ["451 later"]})) as (post, server):
        assert alerts.raise_alert(post.settings, alerts.Kind.failed, DAY, f"it broke at ftp://u:{PASSWORD}@host/x")
        assert alerts.waiting(post.settings) == 1
        assert not alerts.raise_alert(post.settings, alerts.Kind.failed, DAY, f"it broke at ftp://u:{PASSWORD}@host/x")
        assert alerts.waiting(post.settings) == 0
        (told,) = server.box.to("night@example.org")
        assert PASSWORD not in told.as_string()
        assert "plimsoll report --as-of 2022-05-31" in told.get_content()
        assert not alerts.raise_alert(post.settings, alerts.Kind.failed, DAY, f"it broke at ftp://u:{PASSWORD}@host/x")
        assert len(server.box.mails) == 1
