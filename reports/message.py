"""Mail: the decision as one message a recipient, the same bytes every time.

What lives here: headers, bodies and attachments of each audience. What does not: states and sending
(``assets.delivery``), wording of the decision (``view``).
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape

from reports import charts, words
from reports.render import Rendered, environment
from reports.view import ReportView

ROLES = {"committee": "risk committee", "forum": "governance forum", "desk": "trading desk"}
TEMPLATES = {"committee": "mail", "forum": "mail_forum", "desk": "mail_desk"}
SENT_AT = time(0, 30, tzinfo=UTC)
LONGEST_SUBJECT = 180
POLICY = SMTP.clone(cte_type="7bit")
"""Seven bits on the wire: no server needs to offer more."""


@dataclass(frozen=True)
class Envelope:
    """Who writes to whom, and as what.

    Attributes
    ----------
    sender, recipient
        Addresses.
    audience
        ``committee``, ``forum`` or ``desk``.
    revision
        Of the report.
    first_message_id
        Of the first mail to this recipient about this day, which a correction refers to; None for a first mail.
    """

    sender: str
    recipient: str
    audience: str = "committee"
    revision: int = 1
    first_message_id: str | None = None

    @property
    def correction(self) -> int:
        """Revision that the mail corrects to; 1 for a first mail, whatever the revision of its report."""
        return self.revision if self.first_message_id is not None else 1


def subject(view: ReportView, audience: str, revision: int = 1) -> str:
    """Return the subject: ``[plimsoll] KIND what · day``, with the revision where the mail is a correction."""
    kind = f"[plimsoll] CORRECTION {revision} ·" if revision > 1 else "[plimsoll]"
    if audience == "forum":
        text = f"[plimsoll] POST {view.headline} · {view.as_of}"
    elif audience == "desk":
        moved = [row for row in view.ladder if row["status"] in ("tighten", "loosen")]
        named = ", ".join(f"{row['symbol']} {row['side']} {row['mm'].replace(' ', '')}" for row in moved[:3])
        more = f", {len(moved) - 3} more" if len(moved) > 3 else ""
        text = f"[plimsoll] MARGINS {named}{more} · {view.as_of}" if moved else f"[plimsoll] no change · {view.as_of}"
    else:
        text = view.subject
    return words.plain(kind + text.removeprefix("[plimsoll]"))[:LONGEST_SUBJECT]


def message_id(view: ReportView, envelope: Envelope) -> str:
    """Return the Message-ID: the same for a rebuilt mail, another for any other."""
    return f"<{_identity(view, envelope)}@{envelope.sender.rpartition('@')[2]}>"


def _identity(view: ReportView, envelope: Envelope) -> str:
    parts = (view.decision_id, view.as_of, envelope.audience, envelope.recipient, str(envelope.revision))
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


def build(view: ReportView, rendered: Rendered, envelope: Envelope) -> bytes:
    """Build one message.

    Parameters
    ----------
    view, rendered
        The report.
    envelope
        Who writes to whom.

    Returns
    -------
    bytes
        multipart/mixed of (alternative of text and (related of HTML and one PNG)), and the attachments: PDF and JSON,
        for the forum the post as well. Message-ID, boundaries and date follow from the decision, the recipient and
        the day, so a rebuilt mail is the same mail.

    Raises
    ------
    ValueError
        Where the report is withheld: only operators hear of it, by an alert.
    """
    if view.status == "withheld":
        raise ValueError(f"the report of {view.as_of} is withheld; it is mailed to no reader")
    audience = envelope.audience
    domain = envelope.sender.rpartition("@")[2]
    message = EmailMessage(policy=POLICY)
    message["From"] = envelope.sender
    message["To"] = envelope.recipient
    message["Reply-To"] = envelope.sender
    message["Subject"] = subject(view, audience, envelope.correction)
    message["Date"] = format_datetime(datetime.combine(view.as_of_day.date() + timedelta(days=1), SENT_AT))
    message["Message-ID"] = message_id(view, envelope)
    if envelope.first_message_id is not None:
        message["In-Reply-To"] = envelope.first_message_id
        message["References"] = envelope.first_message_id
    message["Auto-Submitted"] = "auto-generated"
    message["List-Id"] = f"Plimsoll {ROLES[audience]} <{audience}.plimsoll.{domain}>"
    message["X-Plimsoll-Decision"] = view.decision_id
    panels = view.overview_panels if audience == "committee" else []
    values = {
        "v": view,
        "role": ROLES[audience],
        "revision": envelope.correction,
        "pdf_sha256": hashlib.sha256(rendered.pdf).hexdigest(),
        "alt": view.overview.alt if view.overview is not None and panels else "",
    }
    templates = environment()
    # Plain text is no markup: what is safe in HTML would show its escapes here.
    plain = templates.overlay(autoescape=False)
    name = TEMPLATES[audience]
    message.set_content(plain.get_template(f"{name}.txt.j2").render(values))
    message.add_alternative(templates.get_template(f"{name}.html.j2").render(values), subtype="html")
    if panels:
        page = list(message.iter_parts())[1]
        assert isinstance(page, EmailMessage)
        page.add_related(charts.png(panels), "image", "png", cid="<overview>", filename="overview.png")
    message.add_attachment(rendered.pdf, maintype="application", subtype="pdf", filename=f"plimsoll-{view.as_of}.pdf")
    message.add_attachment(rendered.json, maintype="application", subtype="json", filename="decision.json")
    if audience == "forum":
        message.add_attachment(
            view.forum.encode(),
            maintype="text",
            subtype="markdown",
            filename="forum.md",
            params={"charset": "utf-8"},
        )
    for at, part in enumerate(p for p in message.walk() if p.is_multipart()):
        part.set_boundary(f"=_plimsoll_{_identity(view, envelope)}_{at}")
    return message.as_bytes()


def without_pdf(content: bytes, link: str) -> bytes:
    """Return a mail without its PDF, saying where the report is and which hash it has.

    Parameters
    ----------
    content
        A mail of `build`.
    link
        Address below which the profile's folder is published, ending with a slash; empty where it is not.

    Returns
    -------
    bytes
        The same mail otherwise, Message-ID included: the recipient gets one of the two.
    """
    found = message_from_bytes(content, policy=POLICY)
    assert isinstance(found, EmailMessage)
    parts = list(found.iter_parts())
    (pdf,) = [part for part in parts if part.get_content_type() == "application/pdf"]
    payload = pdf.get_payload(decode=True)
    assert isinstance(payload, bytes)
    day = str(pdf.get_filename()).removeprefix("plimsoll-").removesuffix(".pdf")
    note = (
        f"The report is not attached: with its {len(payload)} bytes the mail was too big for the server. "
        f"It lies at {link}reports/{day}/report.pdf; its SHA-256 is {hashlib.sha256(payload).hexdigest()}."
    )
    found.set_payload([part for part in parts if part is not pdf])
    for kind in ("plain", "html"):
        body = found.get_body((kind,))
        assert isinstance(body, EmailMessage)
        text = body.get_content()
        if kind == "plain":
            body.set_content(f"{note}\n\n{text}")
        else:
            opened = re.search(r"<body[^>]*>", text)
            at = opened.end() if opened else 0
            body.set_content(f'{text[:at]}<p style="padding:12px">{escape(note)}</p>{text[at:]}', subtype="html")
    return found.as_bytes()
