"""The one typed door to numba: untyped decorators stop here.

Every compiled loop keeps the chunk law, so `fastmath` and `parallel` are off everywhere, and results are cached
on disk so that compiling belongs to the set-up. A cached loop does not notice that a loop it calls in another file
has changed; `connectors/kernel_cache.py` therefore names the cache folder by a digest of all sources.
"""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")
_STRICT: dict[str, Any] = {"cache": True, "fastmath": False, "error_model": "numpy"}
_UNCOUNTED: dict[str, Any] = {**_STRICT, "_nrt": False}


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a loop over columns to machine code, cached on disk, with strict IEEE arithmetic."""
    wrapped: Callable[P, R] = numba.njit(**_STRICT)(function)
    return wrapped


def lean(function: Callable[P, R]) -> Callable[P, R]:
    """Like `compiled`, for loops that allocate nothing and return no array: without reference counts.

    numba counts references to every array it passes on, which costs more than a short formula; where nothing is
    allocated nothing can be freed, so nothing needs counting.
    """
    wrapped: Callable[P, R] = numba.njit(**_UNCOUNTED)(function)
    return wrapped
