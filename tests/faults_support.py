"""Helpers of the fault tests: the command line in forked children of one warm process, and a small disk."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
KIB = 1024
SERVER = """
import ctypes, json, os, resource, sys, time

from dagster_project import cli, doctor, nightly, outcome


def drop_rights():
    # Without these root may write only what its owner's bits allow; another user might not reach the interpreter.
    header, rights = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capget(header, rights):
        raise OSError(ctypes.get_errno(), "capget")
    for n in range(2):
        rights[n] &= ~0b1110  # overriding permissions to write, to search, and of files of others
    if libc.capset(header, rights):
        raise OSError(ctypes.get_errno(), "capset")


def child(ask):
    for name in ("out", "err"):
        handle = os.open(ask[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, {"out": 1, "err": 2}[name])
    os.environ.update(ask["environment"])
    time.tzset()
    if ask["file_limit"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (ask["file_limit"], ask["file_limit"]))
    if ask["is_ordinary"]:
        drop_rights()
    if ask["code"]:
        exec(ask["code"], {"__name__": "child"})
        return 0
    sys.argv = ["plimsoll", *ask["words"]]
    cli.main()
    return 0


for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            code = child(json.loads(line))
        except SystemExit as done:
            code = done.code or 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Told:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """The last line for people."""
        return (self.err.strip().splitlines() or [""])[-1]


class Commands:
    """Runs command lines, each in a process of its own that has the imports behind it."""

    def __init__(self, folder: Path) -> None:
        self._out, self._err = folder / "out", folder / "err"
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )

    def __call__(
        self,
        *words: str,
        environment: dict[str, str] | None = None,
        file_limit: int = 0,
        is_ordinary: bool = False,
        code: str = "",
    ) -> Told:
        """Run a command line, or Python ``code``, under a limit on files or without root's rights."""
        ask: dict[str, Any] = {"words": words, "file_limit": file_limit, "is_ordinary": is_ordinary}
        ask |= {
            "code": code,
            "out": str(self._out),
            "err": str(self._err),
            "environment": {**os.environ, **(environment or {})},
        }
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(ask) + "\n")
        self._server.stdin.flush()
        returned = int(self._server.stdout.readline())
        return Told(returned, self._out.read_text(), self._err.read_text())

    def close(self) -> None:
        """End the warm process."""
        self._server.communicate()


@dataclass(frozen=True)
class Night:
    """What an undisturbed night left."""

    day: str
    folder: Path
    tables: dict[str, pd.DataFrame]
    files: dict[str, bytes]


class Disk:
    """A folder on a disk of its own, on which only so much room is left as a test says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def leave(self, kib: int) -> None:
        """Fill the disk but for ``kib``."""
        ballast = self.folder / "ballast"
        ballast.unlink(missing_ok=True)
        status = os.statvfs(self.folder)
        ballast.write_bytes(bytes(max(0, status.f_bavail * status.f_bsize - kib * KIB)))

    def remount(self, options: str) -> None:
        """Change the disk under way."""
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.folder)], check=True)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Disk | None]:
    """Mount a disk of some size at a folder, or give None where mounting is refused."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        yield None
        return
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
