"""Compilation of the numeric kernels.

What lives here: the decorators of the package, typed, with the options that all kernels share, and the stamp
that tells stored machine code of another version. What does not: kernels.
"""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])

# Sums may be reordered and products contracted, by the compiler and therefore the same way each time;
# infinities and NaN keep their meaning.
_LOOSE = {"contract", "arcp", "nsz", "reassoc"}


def _stamp() -> str:
    """Digest of all sources of the package."""
    digest = sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


_STAMP = _stamp()


def _compile(function: F, **options: Any) -> F:
    """Compile a function and tie its stored machine code to the sources of the whole package.

    Notes
    -----
    numba ties it to the file of the function alone, but the code of a kernel contains the kernels that it calls.
    """
    dispatcher = njit(cache=True, nogil=True, error_model="numpy", **options)(function)
    if hasattr(dispatcher, "_cache"):  # a plain function where compilation is switched off
        dispatcher._cache._cache_file._source_stamp = _STAMP
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
    return _compile(function, fastmath=_LOOSE)
