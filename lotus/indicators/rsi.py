"""Relative strength index in the simple-average (Cutler) form (uptrend-engine.md 3.4)."""

import numpy as np

from lotus.columns import F64
from lotus.compiled import compiled, lean
from lotus.indicators.board import now_at, remember

NEUTRAL = 50.0


@lean
def rsi_next(board: F64, changes: int, now: int, index: int, change: float, period: int) -> float:
    """RSI of bar `index` after a close-to-close `change`; 50 below `period` changes or on a flat stretch.

    changes  row of the board that remembers the changes
    returns  points, 0..100
    source   uptrend-engine.md 3.4
    """
    remember(board, changes, now, change)
    if index < period:
        return NEUTRAL
    rises = 0.0
    falls = 0.0
    for i in range(now + 1 - period, now + 1):
        change = board[changes, i]
        rises += change if change > 0.0 else 0.0
        falls -= change if change < 0.0 else 0.0
    rise, fall = rises / period, falls / period
    if fall > 0.0:
        return 100.0 - 100.0 / (1.0 + rise / fall)
    return 100.0 if rise > 0.0 else NEUTRAL


@compiled
def rsi(close: F64, period: int) -> F64:
    """RSI of a whole series.

    close    float64[n], quote, oldest first
    returns  float64[n], points; 50 for the first `period` bars
    source   uptrend-engine.md 3.4
    """
    board = np.zeros((1, 2 * period))
    values = np.empty(len(close))
    for i in range(len(close)):
        change = close[i] - close[i - 1] if i > 0 else 0.0
        values[i] = rsi_next(board, 0, now_at(board, i), i, change, period)
    return values
