"""Compilation of the numeric kernels.

What lives here: the one decorator of the package, typed, with the options that all kernels share. What does
not: kernels.
"""

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])

# Sums may be reordered and products contracted, by the compiler and therefore the same way each time;
# infinities and NaN keep their meaning.
_LOOSE = {"contract", "arcp", "nsz", "reassoc"}


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
    return cast("F", njit(cache=True, nogil=True, error_model="numpy")(function))


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
    return cast("F", njit(cache=True, nogil=True, error_model="numpy", fastmath=_LOOSE)(function))
