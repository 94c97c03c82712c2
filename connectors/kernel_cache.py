"""Where compiled kernels are kept between runs.

A cached loop does not notice that a loop it calls in another file has changed, so the folder is named by a digest
of all kernel sources: another source, another folder.
"""

import os
from pathlib import Path
from typing import Any

import numba

from connectors.revision import code_revision


def use_kernel_cache() -> Path:
    """Point numba at the folder for today's sources; call it before the first kernel is imported."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(cache) / "lotus" / "kernels" / code_revision(("lotus",))[:16]
    folder.mkdir(parents=True, exist_ok=True)
    settings: Any = numba.config
    settings.CACHE_DIR = str(folder)
    return folder
