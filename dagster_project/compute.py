"""Compute: where the heavy pure functions run. Threads of this process, processes of this machine, or a Dask cluster.

What lives here: sending arrays out and results back, and refusing workers that could give other numbers. What does not:
the functions (``plimsoll``), connections: no worker ever gets one.
"""

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, Literal, TypeVar

import dagster as dg

import plimsoll
from plimsoll.volatility.batch import stamp

T = TypeVar("T")

CONNECT_SECONDS = 20.0


class ComputeError(RuntimeError):
    """The work could not be done where it was sent; the message says where and what to do."""


class Compute(dg.ConfigurableResource[Any]):
    """Runs one function over independent tasks, with results in their order.

    Attributes
    ----------
    kind
        ``threads`` of this process, one task after another; ``processes``; ``dask``.
    workers
        Threads or processes; 0 takes one a core.
    address
        Of the scheduler of a Dask cluster, e.g. ``tcp://10.0.0.5:8786``.
    """

    kind: Literal["threads", "processes", "dask"] = "threads"
    workers: int = 0
    address: str = ""

    @property
    def size(self) -> int:
        """Threads or processes on this machine."""
        return self.workers or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)

    def map(self, function: Callable[..., T], tasks: Sequence[Mapping[str, Any]]) -> list[T]:
        """Call a function once a task.

        Parameters
        ----------
        function
            Of a module, pure, with a keyword ``threads`` on which no result depends.
        tasks
            Keyword arguments; arrays, frames and plain values only.

        Returns
        -------
        list
            In the order of the tasks; identical wherever it was computed.

        Raises
        ------
        ComputeError
            A cluster that does not answer, a worker that died, or one whose program, versions or processor type differ
            from this process's, because its numbers might.
        """
        if not tasks:
            return []
        if self.kind == "threads":
            return [function(**task, threads=self.size) for task in tasks]
        arguments = [(function, dict(task)) for task in tasks]
        pairs = self._processes(arguments) if self.kind == "processes" else self._dask(arguments)
        own = identity()
        for theirs, _ in pairs:
            if theirs != own:
                raise ComputeError(
                    f"a worker runs {theirs} and this process {own}: numbers could differ; install one version "
                    "everywhere, and set NUMBA_CPU_NAME alike where processors differ"
                )
        return [result for _, result in pairs]

    def _processes(self, arguments: list[tuple[Callable[..., T], dict[str, Any]]]) -> list[tuple[str, T]]:
        # Spawned, because a fork would take locks of threads along.
        with ProcessPoolExecutor(min(self.size, len(arguments)), mp_context=get_context("spawn")) as pool:
            try:
                return list(pool.map(_call, arguments))
            except BrokenProcessPool as error:
                raise ComputeError(
                    "a worker process died, probably for want of memory; set workers lower under [compute]"
                ) from error

    def _dask(self, arguments: list[tuple[Callable[..., T], dict[str, Any]]]) -> list[tuple[str, T]]:
        try:
            distributed: Any = importlib.import_module("distributed")
        except ModuleNotFoundError as error:
            raise ComputeError(
                "kind is dask, but distributed is not installed: pip install 'plimsoll[cluster]'"
            ) from error
        try:
            client = distributed.Client(self.address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, TimeoutError) as error:
            raise ComputeError(
                f"no Dask scheduler answers at {self.address} within {CONNECT_SECONDS:g} s; start it, correct address "
                "under [compute], or set kind to threads"
            ) from error
        try:
            if not client.scheduler_info()["workers"]:
                raise ComputeError(f"the Dask scheduler at {self.address} has no worker; start one")
            return list(client.gather([client.submit(_call, one, pure=False) for one in arguments]))
        except distributed.KilledWorker as error:
            raise ComputeError(
                f"workers of the cluster at {self.address} died at their work; see their logs, or set kind to threads"
            ) from error
        except RuntimeError as error:
            if "deserialization" not in str(error):
                raise
            raise ComputeError(
                f"the scheduler or a worker at {self.address} does not know this program; install one version on all"
            ) from error
        finally:
            client.close()


def identity() -> str:
    """Name what numbers depend on: versions, kernels and the processor they are compiled for."""
    return f"method {plimsoll.METHODOLOGY}, kernels {stamp()}"


def probe(*, threads: int) -> int:
    """Do nothing; what comes back is the process that did."""
    return os.getpid()


def _call(one: tuple[Callable[..., T], dict[str, Any]]) -> tuple[str, T]:
    function, task = one
    return identity(), function(**task, threads=1)
