"""Where real market data lies, when it is there: tests may use it, nothing may need it."""

import os
from pathlib import Path


def shared(name: str) -> Path | None:
    """Path of a real data file, or None in a clone that stands alone."""
    folder = Path(os.environ.get("LOTUS_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    path = folder / name
    return path if path.exists() else None
