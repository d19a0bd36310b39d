"""Compilation of the numeric kernels.

What lives here: the decorators of the package, typed, with the options that all kernels share, and the stamp
that tells stored machine code of another version. What does not: kernels.
"""

from collections.abc import Callable
from hashlib import sha256
from threading import Lock
from typing import Any, TypeVar, cast

import llvmlite.binding
import numba
import numpy as np
import scipy
from numba import njit
from numba.core import config

F = TypeVar("F", bound=Callable[..., object])

# Sums may be reordered and products contracted, by the compiler and therefore the same way each time;
# infinities and NaN keep their meaning.
_LOOSE = ("arcp", "contract", "nsz", "reassoc")

_so_far = sha256()
_kernels: list[Any] = []  # as defined, which is before those that call them
_unsettled = Lock()
_settled: set[int] = set()


def fingerprint(function: Callable[..., object]) -> bytes:
    """Describe what a function does: its code, and the numbers of its module that become part of it.

    Parameters
    ----------
    function
        Without functions inside.

    Returns
    -------
    bytes
        The same in each process.
    """
    code = function.__code__
    numbers = [(name, function.__globals__.get(name)) for name in code.co_names]
    frozen = [(name, value) for name, value in numbers if isinstance(value, int | float)]
    return repr((code.co_name, code.co_code.hex(), code.co_consts, code.co_names, frozen)).encode()


def _compile(function: F, **options: Any) -> F:
    """Compile a function and tie its stored machine code to that of all kernels defined before it.

    Notes
    -----
    numba ties it to the file of the function alone, but the code of a kernel contains the kernels that it calls,
    and those come first.
    """
    dispatcher = njit(cache=True, nogil=True, error_model="numpy", **options)(function)
    _so_far.update(fingerprint(function) + repr(sorted(options)).encode())
    if hasattr(dispatcher, "_cache"):  # a plain function where compilation is switched off
        dispatcher._cache._cache_file._source_stamp = _so_far.hexdigest()
        _kernels.append(dispatcher)
    return cast("F", dispatcher)


def compiled(function: F) -> F:
    """Compile a module-level function once for all processes; it runs without the interpreter's lock.

    Parameters
    ----------
    function
        Without closures, so that the compiled form is found again by the next process.

    Returns
    -------
    callable
        The same signature.
    """
    return _compile(function)


def compiled_loosely(function: F) -> F:
    """Compile as `compiled`, with sums and products in the order that suits the vector unit.

    Parameters
    ----------
    function
        Without closures.

    Returns
    -------
    callable
        The same signature.
    """
    return _compile(function, fastmath=set(_LOOSE))


def settle() -> None:
    """Load the stored machine code of every kernel, each before those that call it; call it before the first kernel.

    Notes
    -----
    The stored code of a kernel has a copy of each kernel that it calls, optimised in its place, with sums in another
    order. The linker takes the first definition that it meets. A process that compiles meets the kernel itself first;
    one that loads only what is called from outside would meet the copy, and its last digits would differ.
    """
    with _unsettled:
        for number in range(len(_kernels)):
            if number not in _settled:
                for signature, *_ in _kernels[number]._cache._cache_file._load_index():
                    _kernels[number].compile(signature)
                _settled.add(number)


def stamp() -> str:
    """Name what the bits of all results depend on: the kernels, the libraries they use, and the processor.

    Returns
    -------
    str
        Equal in two processes that give equal bits.
    """
    processor = getattr(config, "CPU_NAME", None) or llvmlite.binding.get_host_cpu_name()
    versions = f"numba {numba.__version__}, numpy {np.__version__}, scipy {scipy.__version__}"
    return f"{_so_far.hexdigest()[:12]}, {versions}, {processor}"
