"""The batch engine: maximum-likelihood fits of all windows of all markets at compiled speed.

What lives here: GARCH(1,1) and GJR-GARCH(1,1) with constant mean and normal, Student t or Hansen's skewed t
innovations, by the likelihood of ``arch``. ``kernels`` holds the likelihood and its gradient, ``quadratic`` and
``optimiser`` the climb, ``chains`` the starts, ``fitting`` the call. What does not: standard errors, and the
ladder for a window that no model fits (``volatility.fitting``).
"""

from plimsoll.volatility.batch.fitting import fit_windows, resumption
from plimsoll.volatility.batch.jit import stamp
from plimsoll.volatility.batch.types import LIMITS, BatchFits, BatchSpec

__all__ = ["LIMITS", "BatchFits", "BatchSpec", "fit_windows", "resumption", "stamp"]
