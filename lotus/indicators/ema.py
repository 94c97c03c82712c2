"""Exponential moving average, seeded with the first close (uptrend-engine.md 3.1).

EMA[0] = close[0]        EMA[i] = a * close[i] + (1 - a) * EMA[i-1]        a = 2 / (span + 1)
"""

import numpy as np

from lotus.columns import F64
from lotus.compiled import compiled, lean


def ema_alpha(span_bars: int) -> float:
    """Weight of the newest close in an EMA of this span."""
    return 2.0 / (span_bars + 1)


@lean
def ema_next(previous: float, close: float, alpha: float) -> float:
    """The EMA after one more close."""
    return alpha * close + (1.0 - alpha) * previous


@compiled
def ema(closes: F64, alpha: float) -> F64:
    """EMA of a whole series, seeded with its first close.

    closes   float64[n], quote, oldest first
    alpha    weight of the newest close, see `ema_alpha`
    returns  float64[n], quote
    source   uptrend-engine.md 3.1
    """
    averages = np.empty(len(closes))
    for i in range(len(closes)):
        averages[i] = closes[i] if i == 0 else ema_next(averages[i - 1], closes[i], alpha)
    return averages
