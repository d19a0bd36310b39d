"""Files: writing a result so that it is either there whole or not at all.

What lives here: temp, fsync, rename, fsync of the folder; copying and moving alike; hashes; what to do where a disk
refuses. What does not: contents.
"""

import errno
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
        The message names the path and what to do; the old file, if any, is still there.
    """
    if path.is_file() and path.read_bytes() == content:
        return False
    _write(path, lambda stream: stream.write(content))
    return True


def remedy(error: OSError, variable: str = "PLIMSOLL_HOME") -> str:
    """Say what to do about a disk or folder that refused; ``variable`` names another folder."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "free space on that disk"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"make the folder writable for this user or set {variable} to one that is"
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"a file stands where a folder belongs: move it away or set {variable} to another folder"
    return f"see to that disk or set {variable} to another folder"


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
    try:
        _fill(path, fill, check)
    except OSError as error:
        # A write that finds the disk full names no file.
        cause = error.strerror or error
        told = OSError(f"{path}: cannot be written ({cause}), what was there is kept; {remedy(error)}, and run again")
        told.errno = error.errno
        raise told from error


def _fill(path: Path, fill: Callable[[BinaryIO], object], check: Callable[[Path], None] | None) -> None:
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
