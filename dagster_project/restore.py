"""Restore: a store in the place of a damaged one, from the newest sound copy and the raw files that came after it.

What lives here: choosing a copy, putting it in place, bringing back inputs, mails and days that it does not know. What
does not: making copies (``assets.backup``), deleting anything: what was there lies in a quarantine folder.
"""

import re
import shutil
from dataclasses import dataclass
from datetime import date
from email import message_from_bytes, policy
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

import plimsoll
from assets import _run, market_data
from dagster_project import clock, files, journal, outbox, raw_files
from dagster_project import settings as settings_module
from dagster_project.definitions import build_defs, warehouse_of
from dagster_project.nightly import Mailing, run_nightly
from dagster_project.progress import crash_point
from dagster_project.settings import Settings
from dagster_project.warehouse import Session, Warehouse, WarehouseError, copies, frame_hash

MAIL = re.compile(r"^(?P<day>\d{4}-\d{2}-\d{2})-(?P<audience>[a-z]+)-[0-9a-f]{12}-r(?P<revision>\d+)\.eml$")
RUN_ID = "restore"
NOT_REPLAYED = ("candle", "candle_hour", "backup")


class RestoreError(RuntimeError):
    """The store cannot be restored; the message says why and what is left to do."""


@dataclass(frozen=True)
class Restored:
    """What a restore did.

    Attributes
    ----------
    copy
        The copy that was put in place, or None where it began from the raw files alone.
    commit
        Last commit in it.
    quarantine
        Where everything lies that was there before.
    inputs, mails
        Inputs and mails that the copy did not know and that are in the store again.
    days
        Days that were reported after the copy and were computed again.
    differing
        Those of them whose report is not the one that was there; the old one lies in the quarantine.
    """

    copy: Path | None
    commit: int
    quarantine: Path
    inputs: int
    mails: int
    days: tuple[date, ...]
    differing: tuple[date, ...]


def restore(settings: Settings, *, copy: Path | None = None, is_from_raw: bool = False) -> Restored:
    """Put a store in the place of the present one and bring it up to date.

    Parameters
    ----------
    settings
        Profile.
    copy
        A copy to use; by default the newest one that is sound.
    is_from_raw
        Begin with an empty store and the raw files alone: revisions of everything computed stay behind.

    Raises
    ------
    RestoreError
        Where no copy is sound, or a day cannot be computed again; nothing was deleted.
    """
    folder = settings_module.profile_folder(settings)
    warehouse = warehouse_of(settings)
    chosen = None if is_from_raw else _chosen(folder / "backup", copy)
    quarantine = folder / f"quarantine-{clock.now():%Y%m%dT%H%M%S}"
    with warehouse.replaced(quarantine) as path:
        if chosen is not None:
            files.copy_atomic(chosen.path, path, lambda made: copies.read_back(made, chosen.commit, chosen.rows))
        crash_point("restored store")
    with warehouse.session() as session:
        mails = _adopt_mails(session, settings)
        missing = _missing_days(session, folder)
        arrivals = market_data.unknown(session, raw_files.arrivals(settings))
    for day in missing:
        shutil.copytree(folder / "reports" / str(day), quarantine / "reports" / str(day), dirs_exist_ok=True)
    _replay(settings, warehouse, arrivals, missing)
    differing = [day for day in missing if not _is_same(folder, quarantine, day)]
    commit = chosen.commit if chosen is not None else 0
    return Restored(
        chosen.path if chosen else None, commit, quarantine, len(arrivals), mails, tuple(missing), tuple(differing)
    )


def _chosen(folder: Path, wanted: Path | None) -> copies.Copy:
    faults = []
    for path in [wanted] if wanted is not None else copies.everyone(folder):
        try:
            return copies.sound(path)
        except (WarehouseError, OSError) as error:
            faults.append(str(error))
    told = "; ".join(faults) if faults else f"{folder} holds no copy"
    raise RestoreError(
        f"no sound copy: {told}. Bring one back from another machine, or rebuild from the raw files alone: "
        "plimsoll restore --from-raw"
    )


def _missing_days(session: Session, folder: Path) -> list[date]:
    """Days whose report lies in its folder in more revisions than the store knows."""
    found = []
    for path in sorted((folder / "reports").glob("????-??-??")):
        written = len(list(path.glob("revision-*")))
        if written > len(session.query("reports", as_of=date.fromisoformat(path.name))):
            found.append(date.fromisoformat(path.name))
    return found


def _replay(settings: Settings, warehouse: Warehouse, arrivals: list[raw_files.Arrival], missing: list[date]) -> None:
    """Bring inputs back in the order in which they came, and compute each day from those that were there then."""
    left = list(missing)
    for (_, as_of, _), together in groupby(arrivals, key=lambda one: (one.known_at, one.as_of, one.timeframe)):
        while left and left[0] < as_of:
            _compute(settings, left.pop(0))
        with warehouse.session() as session:
            market_data.replay(session, settings, list(together), _run.Run(settings, (as_of,), RUN_ID))
    for day in left:
        _compute(settings, day)


def _compute(settings: Settings, day: date) -> None:
    keys = [spec.key.to_user_string() for spec in build_defs(settings).resolve_all_asset_specs()]
    stages = [key for key in keys if key not in NOT_REPLAYED]
    ending = run_nightly(settings, day, select=stages, mailing=Mailing(send=False))
    if not ending.is_success and not ending.failed_checks:
        raise RestoreError(
            f"the store is in place, but {day} could not be computed again: {ending.error}. Mend that, then: "
            f"plimsoll report --as-of {day}"
        )


def _adopt_mails(session: Session, settings: Settings) -> int:
    """Write rows of mails that lie in the outbox without one; the journal says how far each had come.

    Where there is a server but no journal, nobody can say which were sent: they are unknown. Without a server they are
    files for somebody's hands.
    """
    folder = settings_module.profile_folder(settings)
    known = set(session.query("outbox")["eml_path"])
    steps = journal.latest(folder)
    otherwise = "pending" if (folder / journal.NAME).is_file() else "unknown"
    otherwise = outbox.FILED if settings.smtp is None else otherwise
    rows = []
    for path in sorted((folder / "outbox").glob("*.eml")):
        name = MAIL.match(path.name)
        if name is None or f"outbox/{path.name}" in known:
            continue
        rows.append(_row(path, name, steps, otherwise))
    if rows:
        frame = pd.DataFrame(rows)
        with session.transaction():
            count = session.insert("outbox", frame)
            session.record_commit(
                stage=RUN_ID,
                as_of=frame["as_of"].max().date(),
                run_id=RUN_ID,
                input_hash="",
                output_hash=frame_hash(frame.drop(columns="changed_at")),
                code=plimsoll.METHODOLOGY,
                config_hash=settings.config_hash,
                row_count=count,
            )
    return len(rows)


def _row(path: Path, name: re.Match[str], steps: dict[str, journal.Entry], otherwise: str) -> dict[str, Any]:
    content = path.read_bytes()
    mail = message_from_bytes(content, policy=policy.SMTP)
    step = steps.get(str(mail["Message-ID"]))
    # Handed over without an answer is not for a restore to decide; the next round finds it and asks.
    state = otherwise if step is None else ("unknown" if step.state == "sending" else step.state)
    return {
        "as_of": pd.Timestamp(name["day"]),
        "audience": name["audience"],
        "recipient": str(mail["To"]),
        "revision": int(name["revision"]),
        "message_id": str(mail["Message-ID"]),
        "subject": str(mail["Subject"]),
        "state": state,
        "eml_path": f"outbox/{path.name}",
        "eml_sha256": files.sha256(content),
        "decision_id": str(mail["X-Plimsoll-Decision"]),
        "attempts": 0 if step is None else step.attempt,
        "next_attempt_at": pd.NaT,
        "changed_at": pd.Timestamp(clock.now()),
        "last_reply": "" if step is None else step.reply,
    }


def _is_same(folder: Path, quarantine: Path, day: date) -> bool:
    pair = [place / "reports" / str(day) / "report.pdf" for place in (folder, quarantine)]
    return all(path.is_file() for path in pair) and files.hash_of(pair[0]) == files.hash_of(pair[1])
