"""Files: writing a result so that it is either there whole or not at all.

What lives here: temp, fsync, rename, fsync of the folder; hashes of files. What does not: what is written.
"""

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
        The message names the path; the old file, if any, is still there.
    """
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
