"""Taking candles into the store: bytes kept, rows screened, what is new appended, what is refused set aside.

What lives here: the one way from inputs to rows, alike for days and hours. What does not: which inputs there are
(``assets.market_data``), rules for rows (``plimsoll.candles``), formats of files (``dagster_project.market_feed``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pandas as pd

from assets import _run
from dagster_project import files, market_feed, raw_files
from dagster_project.progress import crash_point
from dagster_project.settings import Settings
from dagster_project.warehouse import Session
from plimsoll import candles

RENAMED = {"open": "open_usd", "high": "high_usd", "low": "low_usd", "close": "close_usd"}
VALUES = ("open_usd", "high_usd", "low_usd", "close_usd", "volume", "volume_unit")
RAW_KEYS = ("source_sha256", "source")


@dataclass(frozen=True)
class Bars:
    """Candles of one length: where they and their refused rows go, and what the store is asked about them.

    Attributes
    ----------
    table, quarantine
        Tables; the first is the stage's name, too.
    at
        Column of the day, or of the beginning of the hour.
    step
        Length of a bar.
    last, newest, aside
        Queries: last bars by series, newest values of a source from a day or hour on, what is set aside already.
    """

    table: str
    quarantine: str
    at: str
    step: pd.Timedelta
    last: str
    newest: str
    aside: str

    @property
    def key(self) -> tuple[str, ...]:
        """Columns that say which bar a row is."""
        return self.at, "symbol", "source"

    def grace(self, settings: Settings) -> pd.Timedelta:
        """From a bar's beginning until it is final."""
        return self.step + pd.Timedelta(minutes=settings.source.bar_close_grace_minutes)


DAILY = Bars(
    "candle", "candle_quarantine", "date", candles.DAY, "candle_last_days", "newest_candle_values", "quarantine_keys"
)
HOURLY = Bars(
    "candle_hour",
    "candle_hour_quarantine",
    "start_at",
    candles.HOUR,
    "candle_hour_last",
    "newest_candle_hour_values",
    "quarantine_hour_keys",
)


def of(timeframe: str) -> Bars:
    """Return the bars that a source calls ``1d`` or ``1h``."""
    return {"1d": DAILY, "1h": HOURLY}[timeframe]


def screened(
    settings: Settings, rows: pd.DataFrame, last: date, now: pd.Timestamp, bars: Bars = DAILY
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Screen every market of a source over all its inputs together, so that files may overlap or split a history.

    Parameters
    ----------
    settings
        Configuration.
    rows
        Frames of the inputs with ``source`` and ``source_sha256``.
    last
        Last day that may be used; bars after it wait for their own run and are in neither result.
    now
        Bars after today lie in the future and are set aside.
    bars
        Their length.
    """
    accepted, quarantined = [], []
    day = rows["date"].dt.normalize()
    looked_at = rows[~((day > pd.Timestamp(last)) & (day <= now.normalize()))]
    latest = pd.Timestamp(last) + candles.DAY - bars.step
    for (_, symbol), mine in looked_at.groupby(["source", "symbol"], sort=True):
        market = settings.markets[str(symbol)]
        found = candles.screen(mine, is_close_only=market.is_close_only, latest=latest, step=bars.step)
        accepted.append(found.accepted)
        quarantined.append(found.quarantined)
    if not accepted:
        return looked_at, looked_at.assign(reason="", detail="")
    return pd.concat(accepted, ignore_index=True), pd.concat(quarantined, ignore_index=True)


def taken(
    session: Session,
    settings: Settings,
    run: _run.Run,
    read: Sequence[market_feed.RawInput],
    now: pd.Timestamp,
    bars: Bars,
) -> dict[str, int]:
    """Keep bytes, screen rows, append what is new; counts of what happened.

    Parameters
    ----------
    session, settings, run
        Store, configuration and the days of the run.
    read
        Inputs that came together.
    now
        When they came.
    bars
        Their length.
    """
    inputs = {(files.sha256(raw.content), raw.source): raw for raw in read}
    rows = pd.concat(
        [raw.frame.assign(source=source, source_sha256=digest) for (digest, source), raw in inputs.items()],
        ignore_index=True,
    )
    accepted, quarantined = screened(settings, rows, run.end, now, bars)
    new = candle_rows(settings, accepted, session.query(bars.last), now, bars)
    new = _fresh_candles(session, settings, new, bars)
    aside = quarantine_rows(quarantined, bars)
    known_aside = of_every_source(session, settings, bars.aside)
    aside = _fresh(aside, known_aside, (*bars.key, "reason", "detail"))
    arrived = raw_rows(settings, inputs, accepted, quarantined, now)
    arrived = _fresh(arrived, session.query("known_raw_files"), RAW_KEYS)
    # Bytes first: a row that names a raw file must find it. The same bytes may give more on a later day.
    giving = {key for rows in (arrived, new, aside) for key in rows[list(RAW_KEYS)].itertuples(index=False, name=None)}
    for digest, source in sorted(giving):
        raw_files.keep(settings, digest, inputs[digest, source], now.to_pydatetime(), run.end)
    crash_point("kept raw files")
    with session.transaction():
        counts = {
            "candles": session.append(bars.table, new, key=bars.key) if len(new) else 0,
            "quarantined": session.insert(bars.quarantine, aside) if len(aside) else 0,
            "raw_files": session.insert("raw_file", arrived) if len(arrived) else 0,
        }
        _run.commit(session, run, bars.table, sum(counts.values()), new.drop(columns="known_at"), aside)
    by_reason = {f"quarantined_{reason}": int(n) for reason, n in aside["reason"].value_counts().sort_index().items()}
    return counts | by_reason


def of_every_source(session: Session, settings: Settings, query: str, **more: object) -> pd.DataFrame:
    """Return what a query finds for each id under which the configured source stores candles."""
    found = [session.query(query, source=source, **more) for source in settings.source.ids()]
    return pd.concat(found, ignore_index=True)


def candle_rows(
    settings: Settings, accepted: pd.DataFrame, known: pd.DataFrame, now: pd.Timestamp, bars: Bars
) -> pd.DataFrame:
    """Return accepted rows as the table has them; of a series that is not known yet, the times are assumed."""
    rows = accepted.rename(columns={**RENAMED, "date": bars.at}).drop(columns=["row_number", "note"])
    series = pd.MultiIndex.from_frame(rows[["source", "symbol"]])
    is_first_load = pd.Series(~series.isin(pd.MultiIndex.from_frame(known[["source", "symbol"]])), index=rows.index)
    rows["known_at"] = (rows[bars.at] + bars.grace(settings)).where(is_first_load, now).astype("datetime64[us]")
    rows["is_known_at_assumed"] = is_first_load
    return rows


def _fresh_candles(session: Session, settings: Settings, rows: pd.DataFrame, bars: Bars) -> pd.DataFrame:
    """Values that differ from the newest stored ones; time and file of arrival make no difference."""
    if rows.empty:
        return rows
    # Nothing before the first of them can be the same bar; this spares reading the whole history each night.
    stored = of_every_source(session, settings, bars.newest, first=rows[bars.at].min())
    values = [*bars.key, *VALUES]
    both = rows.merge(stored[values].assign(is_stored=True), on=values, how="left")
    return rows[both["is_stored"].isna().to_numpy()]


def quarantine_rows(quarantined: pd.DataFrame, bars: Bars) -> pd.DataFrame:
    """Return refused rows as the quarantine has them."""
    return quarantined.rename(columns={**RENAMED, "date": bars.at}).drop(columns=["volume_unit", "note"])


def _fresh(rows: pd.DataFrame, known: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Rows whose keys are not known; a missing day equals a missing day."""
    both = rows.merge(known.assign(is_known=True), on=list(keys), how="left")
    return rows[both["is_known"].isna().to_numpy()]


def raw_rows(
    settings: Settings,
    inputs: dict[tuple[str, str], market_feed.RawInput],
    accepted: pd.DataFrame,
    quarantined: pd.DataFrame,
    now: pd.Timestamp,
) -> pd.DataFrame:
    """Return what is noted of each input: where its bytes lie and what became of its rows."""
    keys = list(RAW_KEYS)
    rows = pd.DataFrame(list(inputs), columns=keys)
    rows["origin"] = [raw.origin for raw in inputs.values()]
    rows["raw_path"] = [
        raw_files.path_of(settings, source, digest, raw.suffix) for (digest, source), raw in inputs.items()
    ]
    rows["byte_count"] = [len(raw.content) for raw in inputs.values()]
    for column, counted in (("accepted_count", accepted), ("quarantined_count", quarantined)):
        count = counted.groupby(keys).size().rename(column).reset_index()
        rows = rows.merge(count, on=keys, how="left").fillna({column: 0}).astype({column: "int64"})
    rows["row_count"] = rows["accepted_count"] + rows["quarantined_count"]
    rows["known_at"] = now
    return rows
