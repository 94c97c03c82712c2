"""Fixture F: 1,101 hourly bars that live a whole life, from downtrend to downtrend (uptrend-engine.md 13.7)."""

import math
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

START_MS = 1_704_067_200_000  # 2024-01-01 00:00 UTC; the spec leaves the calendar open
HOUR_MS = 3_600_000
LAST_BAR = 1100
KNOTS = (
    (0, 200.0),
    (450, 100.0),
    (520, 100.0),
    (535, 105.0),
    (545, 102.5),
    (590, 124.0),
    (620, 117.5),
    (660, 128.0),
    (760, 190.0),
    (800, 260.0),
    (860, 205.0),
    (880, 165.0),
    (900, 210.0),
    (960, 215.0),
    (1040, 120.0),
    (1100, 110.0),
)


def fixture_f() -> dict[str, NDArray[Any]]:
    """Columns ts (int64 ms UTC), open, high, low, close, volume (float64), 1,101 rows each, fresh copies.

    The one volume serves as quote and as base volume (replay.md 2).
    """
    close, opened, high, low, volume = _columns()
    return {
        "ts": START_MS + HOUR_MS * np.arange(len(close), dtype=np.int64),
        "open": np.array(opened, dtype=np.float64),
        "high": np.array(high, dtype=np.float64),
        "low": np.array(low, dtype=np.float64),
        "close": np.array(close, dtype=np.float64),
        "volume": np.array(volume, dtype=np.float64),
    }


@lru_cache(maxsize=1)
def _columns() -> tuple[list[float], ...]:
    close = [_trend_price(i) * math.exp(0.012 * math.sin(2 * math.pi * i / 9)) for i in range(LAST_BAR + 1)]
    opened = [close[0], *close[:-1]]
    high = [1.003 * max(a, b) for a, b in zip(opened, close, strict=True)]
    low = [0.997 * min(a, b) for a, b in zip(opened, close, strict=True)]
    volume = [1000 * (1 + 0.5 * math.sin(2 * math.pi * i / 29)) for i in range(LAST_BAR + 1)]
    return close, opened, high, low, volume


def _trend_price(bar: int) -> float:
    for (left, left_price), (right, right_price) in pairwise(KNOTS):
        if left <= bar <= right:
            share = (bar - left) / (right - left)
            return math.exp(math.log(left_price) + share * (math.log(right_price) - math.log(left_price)))
    raise ValueError(f"bar {bar} lies outside the knots")
