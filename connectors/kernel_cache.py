"""Where compiled kernels are kept between runs.

A cached loop does not notice that a loop it calls in another file has changed, so the folder is named by a digest
of all sources that hold loops: another source, another folder. An image brings its kernels in a folder that nobody
can write; numba insists on writing, so a process there works on a copy of its own, gone when it ends.
"""

import atexit
import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numba

from connectors.revision import code_revision


def use_kernel_cache() -> Path:
    """Point numba at the folder for today's sources; call it before the first kernel is imported."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = _writable(Path(cache) / "lotus" / "kernels" / code_revision(("lotus", "connectors"))[:16])
    settings: Any = numba.config
    settings.CACHE_DIR = str(folder)
    return folder


@lru_cache(maxsize=1)
def _writable(folder: Path) -> Path:
    """The folder itself where it can be written, else a copy that is private: what lies in a cache is executed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        pass
    else:
        if os.access(folder, os.W_OK):
            return folder
    copy = Path(tempfile.mkdtemp(prefix="lotus-kernels-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    if folder.is_dir():
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        copy.chmod(0o700)
    return copy
