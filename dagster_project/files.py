"""Files: writing a result so that it is either there whole or not at all.

What lives here: temp, fsync, rename, fsync of the folder; hashes of files, and what to do where a disk refuses. What
does not: what is written.
"""

import errno
import hashlib
import os
import tempfile
from pathlib import Path


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
    try:
        return _write(path, content)
    except OSError as error:
        # A write that finds the disk full names no file.
        cause = error.strerror or error
        told = OSError(f"{path}: cannot be written ({cause}), what was there is kept; {remedy(error)}, and run again")
        told.errno = error.errno
        raise told from error


def remedy(error: OSError, variable: str = "PLIMSOLL_HOME") -> str:
    """Say what to do about a disk or folder that refused; ``variable`` names another folder."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "free space on that disk"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"make the folder writable for this user or set {variable} to one that is"
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"a file stands where a folder belongs: move it away or set {variable} to another folder"
    return f"see to that disk or set {variable} to another folder"


def _write(path: Path, content: bytes) -> bool:
    if path.is_file() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True
