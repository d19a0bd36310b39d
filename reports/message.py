"""Mail: the decision as one message a recipient, the same bytes every time.

What lives here: headers, bodies and attachments. What does not: states and sending (``assets.delivery``), wording of
the decision (``view``).
"""

import hashlib
from datetime import UTC, datetime, time, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from reports import charts, words
from reports.render import Rendered, environment
from reports.view import ReportView

ROLES = {"committee": "risk committee"}
SENT_AT = time(0, 30, tzinfo=UTC)


def build(view: ReportView, rendered: Rendered, *, sender: str, recipient: str, audience: str = "committee") -> bytes:
    """Build one message.

    Parameters
    ----------
    view, rendered
        The report.
    sender, recipient
        Addresses.
    audience
        ``committee``.

    Returns
    -------
    bytes
        multipart/mixed of (alternative of text and (related of HTML and one PNG)), the PDF and the JSON. Message-ID,
        boundaries and date follow from the decision, the recipient and the day, so a rebuilt mail is the same mail.
    """
    identity = hashlib.sha256("\x1f".join((view.decision_id, view.as_of, audience, recipient)).encode()).hexdigest()[
        :32
    ]
    domain = sender.rpartition("@")[2]
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = recipient
    message["Reply-To"] = sender
    message["Subject"] = words.plain(view.subject)
    message["Date"] = format_datetime(datetime.combine(view.as_of_day.date() + timedelta(days=1), SENT_AT))
    message["Message-ID"] = f"<{identity}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["List-Id"] = f"Plimsoll {ROLES[audience]} <{audience}.plimsoll.{domain}>"
    message["X-Plimsoll-Decision"] = view.decision_id
    panels = view.overview_panels
    values = {
        "v": view,
        "pdf_sha256": hashlib.sha256(rendered.pdf).hexdigest(),
        "alt": view.overview.alt if view.overview is not None else "",
    }
    templates = environment()
    # Plain text is no markup: what is safe in HTML would show its escapes here.
    plain = templates.overlay(autoescape=False)
    message.set_content(plain.get_template("mail.txt.j2").render(values))
    message.add_alternative(templates.get_template("mail.html.j2").render(values), subtype="html")
    if panels:
        page = list(message.iter_parts())[1]
        assert isinstance(page, EmailMessage)
        page.add_related(charts.png(panels), "image", "png", cid="<overview>", filename="overview.png")
    message.add_attachment(rendered.pdf, maintype="application", subtype="pdf", filename=f"plimsoll-{view.as_of}.pdf")
    message.add_attachment(rendered.json, maintype="application", subtype="json", filename="decision.json")
    for at, part in enumerate(p for p in message.walk() if p.is_multipart()):
        part.set_boundary(f"=_plimsoll_{identity}_{at}")
    return message.as_bytes()
