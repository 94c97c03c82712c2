"""Wilder's smoothing of a series that starts at bar 1 (uptrend-engine.md 3.3).

    W[i] = mean(x[1..i])                     for i <= period
    W[i] = ((period-1) * W[i-1] + x[i]) / period    afterwards

On a board it takes two rows: the smoothed value, and below it the sum from which the mean is seeded.
"""

from lotus.columns import F64
from lotus.compiled import lean
from lotus.indicators.board import remember

ROWS = 2


@lean
def wilder_next(board: F64, series: int, now: int, index: int, value: float, period: int) -> float:
    """Smooth value number `index` >= 1 of a series that takes the rows `series` and `series + 1`."""
    if index > period:
        smoothed: float = ((period - 1.0) * board[series, now - 1] + value) / period
    else:
        total = board[series + 1, now - 1] + value
        remember(board, series + 1, now, total)
        smoothed = total / index
    remember(board, series, now, smoothed)
    return smoothed
