"""One array type for what a compiled loop only reads.

Columns read from Arrow are read-only, those of a kernel are not, a slice may be strided; numba compiles a loop once per
combination, which costs seconds. As read-only, contiguous views they are all of one type.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

A = TypeVar("A", bound=NDArray[np.generic])


def readonly(column: A) -> A:
    """The column itself, or a read-only view of it; a copy only if it is strided."""
    flags = column.flags
    if flags.c_contiguous and not flags.writeable:
        return column
    view = column.view() if flags.c_contiguous else column.copy()
    view.flags.writeable = False
    return view
