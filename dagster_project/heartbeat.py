"""Heartbeat: a file that is fresh only after a night that ran to its end.

What lives here: writing it and judging its age. What does not: telling anybody; an outside monitor watches the file,
because a machine that is off cannot say so.
"""

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from dagster_project import clock, files
from dagster_project import settings as settings_module
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse

NAME = "heartbeat.json"
LATE = timedelta(hours=26)
"""A night and two hours: the limit for an outside monitor as well."""


def path_of(settings: Settings) -> Path:
    """Return where the file lies."""
    return settings_module.profile_folder(settings) / NAME


def beat(settings: Settings, warehouse: Warehouse, day: date, copy: Path) -> dict[str, Any]:
    """Write the sign of life of a night that ran to its end, and return it."""
    with warehouse.session() as session:
        reports = session.query("reports", as_of=day)
        mails = session.query("outbox")
        commit = session.last_commit()
    states = mails.loc[mails["as_of"] == pd.Timestamp(day), "state"].value_counts()
    content = {
        "schema": "plimsoll.heartbeat/1",
        "profile": settings.profile.name,
        "as_of": day.isoformat(),
        "finished_at": clock.now().isoformat(timespec="seconds") + "Z",
        "status": str(reports.iloc[-1]["status"]) if len(reports) else "no report",
        "decision_id": str(reports.iloc[-1]["decision_id"]) if len(reports) else "",
        "commit": commit,
        "backup": copy.name,
        "mails": {str(state): int(count) for state, count in sorted(states.items())},
    }
    files.write_atomic(path_of(settings), (json.dumps(content, sort_keys=True, indent=1) + "\n").encode())
    return content


def overdue(settings: Settings) -> str | None:
    """Say since when no night has ended, or None where the last one is recent or none is due."""
    if not settings.profile.is_schedule_on:
        return None
    path = path_of(settings)
    try:
        finished = datetime.fromisoformat(str(json.loads(path.read_text())["finished_at"]).removesuffix("Z"))
    except FileNotFoundError:
        return f"{path}: no night has ended yet"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{path}: cannot be read ({type(error).__name__}: {error})"
    return f"the last night ended at {finished} UTC" if clock.now() - finished > LATE else None
