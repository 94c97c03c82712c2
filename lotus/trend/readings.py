"""The indicators of one bar, from its prices and the board that the bars before left behind (uptrend-engine.md 3)."""

import numpy as np

from lotus.columns import F64
from lotus.compiled import lean
from lotus.indicators import adx, wilder
from lotus.indicators.adx import adx_next, directional_moves
from lotus.indicators.atr import atr_mean, atr_next, true_range
from lotus.indicators.board import now_at, recent_slope, remember
from lotus.indicators.ema import ema_next
from lotus.indicators.rsi import rsi_next
from lotus.trend.config import EMAS, TrendConfig
from lotus.trend.params import ReadingParams
from lotus.trend.row import (
    ADX,
    ADX_SLOPE,
    ATR,
    ATR_MEAN20,
    DSEP_FAST,
    DSEP_MID,
    DSLOPE_144,
    EMA_20,
    EMA_60,
    EMA_144,
    EMA_333,
    PRICE,
    RSI,
    RSI_SLOPE,
    SLOPE_20,
    SLOPE_60,
    SLOPE_144,
    SLOPE_250,
    SLOPE_333,
)

# rows of the board
HIGH, LOW, CLOSE, CHANGE, RSI_LINE, SLOPE_LINE, SEP_FAST, SEP_MID = range(8)
EMA_LINES = SEP_MID + 1
ATR_LINE = EMA_LINES + EMAS
ADX_LINE = ATR_LINE + wilder.ROWS
ROWS = ADX_LINE + adx.ROWS

assert tuple(range(SLOPE_20 + 1, SLOPE_20 + EMAS - 1)) == (SLOPE_60, SLOPE_144, SLOPE_250, SLOPE_333)
assert EMA_333 - EMA_20 == EMAS - 1


def fresh_board(config: TrendConfig) -> F64:
    """No bar seen yet: float64[ROWS, 2 * width], wide enough for the longest look back (`indicators.board`)."""
    width = max(
        config.slope_span_bars,
        config.slope_delta_lag_bars + 1,
        config.separation_lag_bars + 1,
        config.period_bars,
        config.atr_mean_bars,
    )
    return np.zeros((ROWS, 2 * width))


@lean
def read_bar(params: ReadingParams, board: F64, index: int, high: float, low: float, close: float, row: F64) -> None:
    """Take in engine bar `index` and write its indicators into its record.

    board              carried, see `fresh_board`
    high, low, close   quote, close > 0
    row                float64[len(FLOATS)], written: price, atr*, ema_*, slope_*, dslope_*, dsep_*, rsi*, adx*
    """
    now = now_at(board, index)
    row[PRICE] = close
    _read_averages(params, board, now, index, close, row)
    _read_ranges(params, board, now, index, high, low, close, row)
    remember(board, HIGH, now, high)
    remember(board, LOW, now, low)
    remember(board, CLOSE, now, close)


@lean
def _read_averages(params: ReadingParams, board: F64, now: int, index: int, close: float, row: F64) -> None:
    """EMAs, their slopes and their separations (3.1, 3.2, 3.7)."""
    span = params.slope_span
    for k in range(EMAS):
        line = EMA_LINES + k
        average = ema_next(board[line, now - 1], close, params.alphas[k]) if index > 0 else close
        remember(board, line, now, average)
        row[EMA_20 + k] = average
    row[SLOPE_20 : SLOPE_333 + 1] = 0.0
    if index + 1 >= span:
        row[SLOPE_20] = recent_slope(board, EMA_LINES, now, span) / row[EMA_20]
        for k in range(2, EMAS):
            row[SLOPE_20 + k - 1] = recent_slope(board, EMA_LINES + k, now, span) / row[EMA_20 + k]
    known = index + 1 >= span + params.delta_lag
    row[DSLOPE_144] = row[SLOPE_144] - board[SLOPE_LINE, now - params.delta_lag] if known else 0.0
    remember(board, SLOPE_LINE, now, row[SLOPE_144])
    fast = (row[EMA_20] - row[EMA_60]) / row[EMA_60]
    mid = (row[EMA_60] - row[EMA_144]) / row[EMA_144]
    known = index >= params.separation_lag
    row[DSEP_FAST] = fast - board[SEP_FAST, now - params.separation_lag] if known else 0.0
    row[DSEP_MID] = mid - board[SEP_MID, now - params.separation_lag] if known else 0.0
    remember(board, SEP_FAST, now, fast)
    remember(board, SEP_MID, now, mid)


@lean
def _read_ranges(
    params: ReadingParams, board: F64, now: int, index: int, high: float, low: float, close: float, row: F64
) -> None:
    """ATR, RSI and ADX with their means and slopes (3.3, 3.4, 3.5)."""
    period, span = params.period, params.slope_span
    before = board[CLOSE, now - 1] if index > 0 else close
    row[ATR] = atr_next(board, ATR_LINE, now, index, true_range(high, low, before), period)
    row[ATR_MEAN20] = atr_mean(board, ATR_LINE, now, index, params.atr_mean)
    row[RSI] = rsi_next(board, CHANGE, now, index, close - before, period)
    remember(board, RSI_LINE, now, row[RSI])
    adx_now = 0.0
    if index > 0:
        plus, minus = directional_moves(high, low, board[HIGH, now - 1], board[LOW, now - 1])
        adx_now = adx_next(board, ADX_LINE, now, index, plus, minus, row[ATR], period)
    # the RSI series begins one bar after the first RSI; ADX is published one bar after its first value
    row[RSI_SLOPE] = recent_slope(board, RSI_LINE, now, min(index - period, span))
    row[ADX] = adx_now if index > period else 0.0
    row[ADX_SLOPE] = recent_slope(board, ADX_LINE, now, span) if index > period else 0.0
