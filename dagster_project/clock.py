"""Clock: the one place that asks what time it is.

What lives here: the moment at which ingested data became known. What does not: the day of a run, which is
its partition; no other stage may ask the time.
"""

import os
from datetime import UTC, datetime


def now() -> datetime:
    """Return the present in UTC without a zone, or ``PLIMSOLL_NOW`` where tests set it."""
    fixed = os.environ.get("PLIMSOLL_NOW")
    moment = datetime.fromisoformat(fixed) if fixed else datetime.now(UTC)
    return (moment.astimezone(UTC) if moment.tzinfo else moment).replace(tzinfo=None)
