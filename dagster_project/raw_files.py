"""Raw files: the bytes of every input as received, and a list of when they came; the store can be rebuilt from them.

What lives here: where an input's bytes lie, keeping them, the list beside them, reading them back. What does not: what
is in them (``market_feed``), which of them the store knows (``assets.market_data``).
"""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from dagster_project import files, market_feed
from dagster_project import settings as settings_module
from dagster_project.settings import Settings

LIST = "arrivals.jsonl"
PACKED = (".parquet", ".csv.gz")
TIMEFRAMES = {one: one for one in ("1d", "1h")}


@dataclass(frozen=True)
class Arrival:
    """One input as it came: hash, source, name, ending, when it was known, up to which day used, as what bars."""

    source_sha256: str
    source: str
    origin: str
    suffix: str
    known_at: datetime
    as_of: date
    timeframe: str = "1d"


class RawFileError(RuntimeError):
    """Bytes that were kept are missing or changed; the message names the file."""


def path_of(settings: Settings, source: str, digest: str, suffix: str) -> str:
    """Return where an input's bytes lie below the profile's folder; a file with several sources lies there once."""
    folder = source if settings.source.kind == "exchange" else settings.source.name
    return f"raw/{folder}/{digest}{suffix}.gz"


def keep(settings: Settings, digest: str, raw: market_feed.RawInput, known_at: datetime, as_of: date) -> None:
    """Keep an input's bytes by content, packed so that equal bytes give equal files, and note its arrival."""
    folder = settings_module.profile_folder(settings)
    # What is packed already is kept as it is: packing it again takes its time and saves nothing.
    level = 0 if raw.suffix in PACKED else 9
    packed = gzip.compress(raw.content, level, mtime=0)
    files.write_atomic(folder / path_of(settings, raw.source, digest, raw.suffix), packed)
    row = {
        "source_sha256": digest,
        "source": raw.source,
        "origin": raw.origin,
        "suffix": raw.suffix,
        "known_at": known_at.isoformat(),
        "as_of": as_of.isoformat(),
    }
    if raw.timeframe != "1d":
        row["timeframe"] = raw.timeframe
    path = _list(settings)
    before = path.read_bytes() if path.is_file() else b""
    line = json.dumps(row, sort_keys=True).encode() + b"\n"
    files.write_atomic(path, before + line)


def arrivals(settings: Settings) -> list[Arrival]:
    """List inputs in the order of their arrival, once for each day on which they gave something new.

    One that was noted twice for a day, by a run that died, counts once, the last time.

    Raises
    ------
    RawFileError
        Where the list cannot be read; names the line.
    """
    found: dict[tuple[str, str, date, str], Arrival] = {}
    for arrival in _lines(_list(settings), settings.source.name):
        key = arrival.source_sha256, arrival.source, arrival.as_of, arrival.timeframe
        found.pop(key, None)
        found[key] = arrival
    return list(found.values())


def load(settings: Settings, arrival: Arrival) -> market_feed.RawInput:
    """Read an input back as it was received.

    Raises
    ------
    RawFileError
        Where its bytes are missing or changed.
    """
    read = content(settings, arrival)
    return market_feed.again(settings, arrival.origin, read, arrival.suffix, arrival.timeframe, arrival.source)


def content(settings: Settings, arrival: Arrival) -> bytes:
    """Return an input's bytes as they were received.

    Raises
    ------
    RawFileError
        Where they are missing or changed.
    """
    folder = settings_module.profile_folder(settings)
    path = folder / path_of(settings, arrival.source, arrival.source_sha256, arrival.suffix)
    try:
        unpacked = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise RawFileError(f"{path}: cannot be read ({error}); bring it back from a copy of the folder") from error
    if files.sha256(unpacked) != arrival.source_sha256:
        raise RawFileError(f"{path}: not the bytes that were received; bring it back from a copy of the folder")
    return unpacked


def _lines(path: Path, source: str) -> Iterator[Arrival]:
    """Read the list; lines from before sources had several names belong to ``source``."""
    if not path.is_file():
        return
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            known_at, as_of = datetime.fromisoformat(row["known_at"]), date.fromisoformat(row["as_of"])
            mine, timeframe = row.get("source", source), TIMEFRAMES[row.get("timeframe", "1d")]
            yield Arrival(row["source_sha256"], mine, row["origin"], row["suffix"], known_at, as_of, timeframe)
        except (ValueError, KeyError, TypeError) as error:
            raise RawFileError(f"{path}, line {number}: no arrival ({error}); mend or remove that line") from error


def _list(settings: Settings) -> Path:
    return settings_module.profile_folder(settings) / "raw" / settings.source.name / LIST
