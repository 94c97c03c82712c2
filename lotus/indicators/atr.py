"""True range and the average true range, Wilder (uptrend-engine.md 3.3).

The list of ATR values is front-filled: every bar before `period` counts with the first full value.
"""

import numpy as np

from lotus.columns import F64
from lotus.compiled import compiled, lean
from lotus.indicators import wilder
from lotus.indicators.board import now_at, recent_mean
from lotus.indicators.wilder import wilder_next


@lean
def true_range(high: float, low: float, close_before: float) -> float:
    """Largest of the bar's range and its distances from the close before."""
    return max(high - low, abs(high - close_before), abs(close_before - low))


@lean
def atr_next(board: F64, series: int, now: int, index: int, tr: float, period: int) -> float:
    """ATR of bar `index` with true range `tr`; 0 on bar 0, which has none. It takes two rows of the board.

    Up to bar `period` it is the mean of the true ranges so far; on that bar it fills its row to the front.
    """
    if index == 0:
        return 0.0
    value = wilder_next(board, series, now, index, tr, period)
    if index == period:
        board[series, :] = value
    return value


@lean
def atr_mean(board: F64, series: int, now: int, index: int, count: int) -> float:
    """Mean of the last `count` values of the front-filled list; the ATR itself while the list is shorter."""
    return recent_mean(board, series, now, count if index + 1 >= count else 1)


@compiled
def atr(high: F64, low: F64, close: F64, period: int) -> F64:
    """ATR of a whole series as it stood at each bar (no front fill).

    high, low, close   float64[n], quote, oldest first
    returns            float64[n], quote; 0 on bar 0, a running mean before bar `period`
    source             uptrend-engine.md 3.3
    """
    board = np.zeros((wilder.ROWS, 4))
    averages = np.zeros(len(close))
    for i in range(1, len(close)):
        tr = true_range(high[i], low[i], close[i - 1])
        averages[i] = wilder_next(board, 0, now_at(board, i), i, tr, period)
    return averages
