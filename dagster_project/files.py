"""Files: writing a result so that it is either there whole or not at all.

What lives here: temp, fsync, rename, fsync of the folder; copying and moving alike; hashes. What does not: contents.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def sha256(content: bytes) -> str:
    """Return the SHA-256 of bytes, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def write_atomic(path: Path, content: bytes) -> bool:
    """Write a file whole or not at all; a file with the same content is left alone.

    Parameters
    ----------
    path
        Target; its folder is made where missing.
    content
        Bytes.

    Returns
    -------
    bool
        Whether the file had to be written.

    Raises
    ------
    OSError
        The message names the path; the old file, if any, is still there.
    """
    if path.is_file() and path.read_bytes() == content:
        return False
    _write(path, lambda stream: stream.write(content))
    return True


def copy_atomic(source: Path, path: Path, check: Callable[[Path], None]) -> None:
    """Copy a file of any size; under its name it is there only after ``check`` has looked at the copy.

    Parameters
    ----------
    source, path
        From and to.
    check
        Gets the copy under its temporary name; what it raises removes the copy.
    """

    def copy(stream: BinaryIO) -> None:
        with source.open("rb") as opened:
            shutil.copyfileobj(opened, stream, 1 << 20)

    _write(path, copy, check)


def move(path: Path, target: Path) -> None:
    """Rename a file, for good: both folders are on the disk afterwards."""
    target.parent.mkdir(parents=True, exist_ok=True)
    path.replace(target)
    for folder in {path.parent, target.parent}:
        _sync(folder)


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file of any size."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write(path: Path, fill: Callable[[BinaryIO], object], check: Callable[[Path], None] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            fill(stream)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        if check is not None:
            check(Path(temporary))
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
