"""What every asset needs to know of its run: the days it covers, whose configuration, and how its rows are stamped.

What lives here: reading a Dagster context into plain values, staleness of stored rows, vintages, commits. What does
not: formulas, SQL.
"""

import errno
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

import dagster as dg
import pandas as pd

import plimsoll
from dagster_project import logs, runs
from dagster_project.settings import Settings
from dagster_project.warehouse import Session, frame_hash


@dataclass(frozen=True)
class Run:
    """One materialization: its days (ascending), its configuration and the orchestrator's run id."""

    settings: Settings
    days: tuple[date, ...]
    run_id: str

    @property
    def end(self) -> date:
        """Last day of the run: no data after it is used."""
        return self.days[-1]

    @property
    def identity(self) -> dict[str, str]:
        """Columns that every derived row carries."""
        return {"methodology": plimsoll.METHODOLOGY, "config_hash": self.settings.config_hash}

    def stamped(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return ``frame`` with methodology and configuration hash."""
        return frame.assign(**self.identity)


MOST_RETRIES = 3
FIRST_WAIT_SECONDS = 30.0
PASSING = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.EIO,
        errno.ENETUNREACH,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)
"""Trouble outside that may pass by itself, e.g. a share that is away; all else would fail again."""


@contextmanager
def patiently(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Ask for the stage to be tried again, later and later, where trouble outside may pass; all else fails at once."""
    try:
        yield
    except Exception as error:
        if not _is_passing(error):
            raise
        wait = FIRST_WAIT_SECONDS * 2**context.retry_number
        raise dg.RetryRequested(max_retries=MOST_RETRIES, seconds_to_wait=wait) from error


def _is_passing(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in PASSING:
            return True
        error = error.__cause__
    return False


def of(context: dg.AssetExecutionContext, settings: Settings) -> Run:
    """Read the run's days from its partition key or range; this process holds the run from here on."""
    runs.claim(context.run.run_id)
    logs.configure(settings, run=context.run.run_id[:8])
    keys = sorted(context.partition_keys)
    return Run(settings, tuple(date.fromisoformat(key) for key in keys), context.run.run_id)


def with_vintage(frame: pd.DataFrame, run: Run, prices: pd.DataFrame) -> pd.DataFrame:
    """Mark rows ``live`` that were computed for their own day from data whose arrival was recorded, else not."""
    assumed = prices[prices["date"] == pd.Timestamp(run.end)].groupby("symbol")["is_known_at_assumed"].any()
    recorded = frame["symbol"].map(~assumed.astype(bool)).fillna(False).astype(bool) if len(assumed) else False
    is_live = (frame["as_of"] == pd.Timestamp(run.end)) & recorded
    return frame.assign(vintage=is_live.map({True: "live", False: "reconstructed"}))


def first_stale(expected: pd.DataFrame, stored: pd.DataFrame, keys: Sequence[str]) -> pd.Timestamp | None:
    """Return the first ``as_of`` whose rows are missing or were made from other inputs, or None.

    Parameters
    ----------
    expected
        ``keys`` and ``as_of, input_hash`` of every row that ought to be stored.
    stored
        The same columns of the newest stored revisions.
    keys
        Columns that identify a row.
    """
    columns = [*keys, "input_hash"]
    both = expected.merge(stored[columns].drop_duplicates(), on=columns, how="left", indicator=True)
    missing = both.loc[both["_merge"] == "left_only", "as_of"]
    return None if missing.empty else missing.min()


def commit(session: Session, run: Run, stage: str, written: int, *frames: pd.DataFrame) -> None:
    """Add the stage's row to the ledger, in the transaction of its data; a stage that wrote nothing leaves none."""
    if written:
        session.record_commit(
            stage=stage,
            as_of=run.end,
            run_id=run.run_id,
            input_hash=digest(*(str(day) for day in run.days)),
            output_hash=digest(*(frame_hash(frame) for frame in frames)),
            code=plimsoll.METHODOLOGY,
            config_hash=run.settings.config_hash,
            row_count=written,
        )


def digest(*parts: str) -> str:
    """Hash strings in order; sixteen hexadecimal digits."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]
