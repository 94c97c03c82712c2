"""Average directional index, Wilder (uptrend-engine.md 3.5).

The first value is a single directional index, not a mean, and fills the list to the front.
"""

import numpy as np

from lotus.columns import F64
from lotus.compiled import compiled, lean
from lotus.indicators import wilder
from lotus.indicators.atr import true_range
from lotus.indicators.board import now_at, remember
from lotus.indicators.wilder import wilder_next

PLUS = 1  # rows of the board behind the row of ADX itself
MINUS = PLUS + wilder.ROWS
ROWS = MINUS + wilder.ROWS


@lean
def directional_moves(high: float, low: float, high_before: float, low_before: float) -> tuple[float, float]:
    """+DM and -DM of a bar: the larger of the two outward moves, if it is outward at all."""
    rise = high - high_before
    drop = low_before - low
    plus = rise if rise > drop and rise > 0.0 else 0.0
    minus = drop if drop > rise and drop > 0.0 else 0.0
    return plus, minus


@lean
def adx_next(
    board: F64, series: int, now: int, index: int, plus: float, minus: float, smooth_range: float, period: int
) -> float:
    """ADX of bar `index` >= 1, which takes `ROWS` rows of the board; 0 before bar `period`.

    plus, minus    +DM and -DM of the bar, quote
    smooth_range   Wilder's mean of the true ranges, quote; that is the ATR
    returns        points, 0..100
    source         uptrend-engine.md 3.5
    """
    rising = wilder_next(board, series + PLUS, now, index, plus, period)
    falling = wilder_next(board, series + MINUS, now, index, minus, period)
    if index < period:
        return 0.0
    both = rising + falling
    value: float = 100.0 * abs(rising - falling) / both if smooth_range != 0.0 and both != 0.0 else 0.0
    if index == period:
        board[series, :] = value
    else:
        value = ((period - 1.0) * board[series, now - 1] + value) / period
        remember(board, series, now, value)
    return value


@compiled
def adx(high: F64, low: F64, close: F64, period: int) -> F64:
    """ADX of a whole series, front-filled.

    high, low, close   float64[n], quote, oldest first
    returns            float64[n], points; all 0 if n < period + 2
    source             uptrend-engine.md 3.5
    """
    values = np.zeros(len(close))
    if len(close) < period + 2:
        return values
    board = np.zeros((ROWS + wilder.ROWS, 4))
    for i in range(1, len(close)):
        now = now_at(board, i)
        plus, minus = directional_moves(high[i], low[i], high[i - 1], low[i - 1])
        tr = true_range(high[i], low[i], close[i - 1])
        smooth_range = wilder_next(board, ROWS, now, i, tr, period)
        values[i] = adx_next(board, 0, now, i, plus, minus, smooth_range, period)
    values[:period] = values[period]
    return values
