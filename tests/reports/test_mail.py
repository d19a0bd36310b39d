"""The mail file: headers that programs trust, bodies that people read, attachments that are the report."""

import email
import re
from dataclasses import replace
from email import policy
from email.message import EmailMessage

import pytest

from reports import message, render, view
from reports.message import Envelope
from reports.view import ReportInputs, ReportView, decision

ONE = Envelope("plimsoll@example.org", "one@example.org")


def parsed(raw: bytes) -> EmailMessage:
    found = email.message_from_bytes(raw, policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


@pytest.fixture(scope="module")
def mail(built: ReportView, rendered: render.Rendered) -> bytes:
    return message.build(built, rendered, ONE)


def test_headers(mail: bytes, built: ReportView) -> None:
    found = parsed(mail)
    assert found["To"] == "one@example.org"
    assert found["Subject"] == built.subject
    assert found["Auto-Submitted"] == "auto-generated"
    assert found["Message-ID"].endswith("@example.org>")
    assert found["Date"] == "Wed, 01 Jun 2022 00:30:00 +0000"
    assert found["X-Plimsoll-Decision"] == built.decision_id
    for line in mail.split(b"\r\n"):
        assert len(line) <= 998
    assert b"\n" not in mail.replace(b"\r\n", b"")


def test_bodies_and_attachments(mail: bytes, built: ReportView, rendered: render.Rendered) -> None:
    found = parsed(mail)
    plain, html = found.get_body(("plain",)), found.get_body(("html",))
    assert plain is not None
    assert html is not None
    for body in (plain.get_content(), html.get_content()):
        assert built.headline in body
        assert "None" not in body
        assert "nan" not in body
    assert "&amp;" not in plain.get_content()
    assert "http" not in html.get_content(), "no remote content"
    attached = {part.get_filename(): part.get_payload(decode=True) for part in found.iter_attachments()}
    assert attached[f"plimsoll-{built.as_of}.pdf"] == rendered.pdf
    assert attached["decision.json"] == rendered.json
    images = [part for part in found.walk() if part.get_content_type() == "image/png"]
    assert [part["Content-ID"] for part in images] == ["<overview>"]
    assert "cid:overview" in html.get_content()


def test_the_same_mail_again_and_another_for_another(mail: bytes, built: ReportView, rendered: render.Rendered) -> None:
    assert message.build(built, rendered, ONE) == mail
    other = message.build(built, rendered, replace(ONE, recipient="two@example.org"))
    assert parsed(other)["Message-ID"] != parsed(mail)["Message-ID"]
    corrected = message.build(replace(built, decision_id="other"), rendered, ONE)
    assert parsed(corrected)["Message-ID"] != parsed(mail)["Message-ID"]


def test_text_from_data_cannot_add_a_header(built: ReportView, rendered: render.Rendered) -> None:
    evil = "[plimsoll] x\r\nBcc: victim@example.org"
    found = parsed(message.build(replace(built, subject=evil, headline=evil), rendered, ONE))
    assert found["Bcc"] is None
    assert "x" in found["Subject"]
    assert "\n" not in found["Subject"]


@pytest.mark.parametrize("audience", ["committee", "forum", "desk"])
@pytest.mark.parametrize("revision", [1, 3])
def test_every_audience_gets_what_it_reads(
    built: ReportView, rendered: render.Rendered, audience: str, revision: int
) -> None:
    envelope = replace(ONE, audience=audience, revision=revision, first_message_id="<a@b>" if revision > 1 else None)
    found = parsed(message.build(built, rendered, envelope))
    plain, html = found.get_body(("plain",)), found.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert re.match(
        r"^\[plimsoll\] (CORRECTION 3 · )?(DECISION|POST|MARGINS|no change)\b.* · 2022-05-31$", found["Subject"]
    )
    assert ("CORRECTION 3" in found["Subject"]) == (revision == 3)
    assert found["References"] == found["In-Reply-To"] == ("<a@b>" if revision > 1 else None)
    assert ("orrection 3" in plain.get_content()) == (revision == 3)
    names = [part.get_filename() for part in found.iter_attachments()]
    assert names[:2] == [f"plimsoll-{built.as_of}.pdf", "decision.json"]
    assert ("forum.md" in names) == (audience == "forum")
    assert f"{audience}.plimsoll.example.org" in found["List-Id"]
    if audience == "forum":
        (post,) = [part.get_content() for part in found.iter_attachments() if part.get_filename() == "forum.md"]
        assert post.replace("\r\n", "\n") == built.forum
        assert built.forum.strip() in plain.get_content().replace("\r\n", "\n")
    if audience == "desk":
        for row in built.ladder:
            assert row["mm"] in plain.get_content()
            assert row["mm"] in html.get_content()
        assert [row["status"] for row in built.ladder] == sorted(
            (row["status"] for row in built.ladder), key=decision.URGENCY.index
        )


@pytest.mark.parametrize("audience", ["committee", "forum", "desk"])
def test_no_reader_gets_a_withheld_report(inputs: ReportInputs, rendered: render.Rendered, audience: str) -> None:
    made = view.build(replace(inputs, status="withheld", withheld_reason="check price_broken failed"))
    with pytest.raises(ValueError, match="withheld; it is mailed to no reader"):
        message.build(made, rendered, replace(ONE, audience=audience))
