"""Isolation: the report is drawn in a child process, with a limit on its time and its memory.

What lives here: starting the child, its limits, what it hands back. What does not: drawing (``view``, ``render``). The
layout engine is C code fed with text from data: if it hangs, eats the memory or dies, the run says so and lives on.
"""

import gc
import os
import pickle
import resource
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from reports.render import Rendered, RenderError
from reports.view import ReportInputs, ReportView

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Limits:
    """What a rendering may take: wall seconds, and address space in MiB."""

    seconds: float = 300.0
    memory_mib: int = 4096


def make(inputs: ReportInputs, limits: Limits | None = None) -> tuple[ReportView, Rendered]:
    """Build and render a report in a child process.

    Parameters
    ----------
    inputs
        What the report is made from.
    limits
        Time and memory; defaults are ample for sixty markets.

    Returns
    -------
    tuple
        The view, and the report as files; the same bytes as without a child.

    Raises
    ------
    RenderError
        Where the child fails, is ended by its limits, or dies; says which, and what to do.
    """
    limit = limits or Limits()
    command = [sys.executable, "-c", "from reports import isolated; isolated.main()", str(limit.memory_mib)]
    path = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH", "")) if part)
    try:
        done = subprocess.run(  # noqa: S603  (our own interpreter and our own words)
            command,
            input=pickle.dumps(inputs),
            capture_output=True,
            timeout=limit.seconds,
            check=False,
            env={**os.environ, "PYTHONPATH": path},
        )
    except subprocess.TimeoutExpired as error:
        raise RenderError(
            f"report of {inputs.as_of}: not drawn within {limit.seconds:g} s; is a market's name or note huge?"
        ) from error
    if done.returncode == 0:
        view, rendered = pickle.loads(done.stdout)  # noqa: S301  (written by our own child)
        return view, rendered
    raise RenderError(f"report of {inputs.as_of}: {_cause(done, limit)}")


def _cause(done: "subprocess.CompletedProcess[bytes]", limit: Limits) -> str:
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    last = lines[-1] if lines else "no message"
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        return f"the drawing process died of {name}; run `plimsoll doctor` (system libraries), then run the day again"
    if "MemoryError" in last or "Unable to allocate" in last:
        return f"drawing needs more than {limit.memory_mib} MiB; split the profile or raise the limit"
    return last.removeprefix("reports.render.RenderError: ")


def drawn(content: bytes, memory_mib: int) -> tuple[ReportView, Rendered]:
    """Draw pickled inputs in this process, which is a child, under a limit on its memory."""
    memory = memory_mib * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Layout makes millions of small objects and frees them in bulk; looking for circles meanwhile costs a quarter.
    gc.set_threshold(200_000, 20, 20)
    from reports import render, view

    built = view.build(pickle.loads(content))  # noqa: S301  (written by our own parent)
    return built, render.render(built)


def main() -> None:
    """Read inputs from standard input, draw, write view and files to standard output. Run by `make` only."""
    sys.stdout.buffer.write(pickle.dumps(drawn(sys.stdin.buffer.read(), int(sys.argv[1]))))
