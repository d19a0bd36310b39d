"""Web page: the same view as one self-contained page, for a phone, a desktop, light and dark.

What lives here: rendering ``page.html.j2``. What does not: what is shown (``view``), the PDF (``render``).
"""

import base64

from markupsafe import Markup

from reports import fonts
from reports.render import environment
from reports.view import ReportView


def _image(svg: str) -> Markup:
    """Return a chart for a browser: what it lacks of our fonts it takes from its own sans serif."""
    text = svg.replace(f"'{fonts.FAMILY}'", f"'{fonts.FAMILY}', 'Helvetica Neue', Arial, system-ui, sans-serif")
    # Other fonts are wider; scaled to our x-height their labels keep to the room that they have.
    text = text.replace("</defs>", "<style>text{font-size-adjust:0.47}</style></defs>", 1)
    return Markup("data:image/svg+xml;base64,") + base64.b64encode(text.encode()).decode()


def page(view: ReportView) -> str:
    """Return the report as one HTML page that needs no script, no network and no second file.

    Parameters
    ----------
    view
        The report.

    Returns
    -------
    str
        HTML with its styles and charts inside. Its content security policy forbids every request.
    """
    templates = environment()
    templates.globals["image"] = _image
    return templates.get_template("page.html.j2").render(v=view)
