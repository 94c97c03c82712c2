"""Diagonals: straight lines through the swings of a series, for charts and for the learning layer.

    price |        x.......
          |   x....      x     resistance: through the swing highs
          | ..
          +----------------- time

Rules:
- never an input of the trend engine: no state and no flag may depend on a diagonal;
- Theil-Sen: the slope is the median of all pairwise slopes, the intercept the median of price - slope * time, so that
  a few odd swings do not turn the line.

Source: uptrend-engine.md 4.7; the swings are those of 4.1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lotus.columns import F64, I64
from lotus.levels_state import LevelsConfig

MIN_POINTS = 3


@dataclass(frozen=True, slots=True)
class Diagonal:
    """A line over time.

    slope      quote currency per unit of the times it was fitted to
    intercept  quote currency, the line's price at time 0
    """

    slope: float
    intercept: float

    def price(self, time: float) -> float:
        """The line's price at a time."""
        return self.intercept + self.slope * time


def swing_positions(closes: F64, config: LevelsConfig) -> tuple[I64, I64]:
    """Where the swing highs and the swing lows stand.

    closes   float64[n], quote currency, > 0, oldest first
    returns  int64[highs], int64[lows], positions in `closes`, ascending; empty for fewer than 2 * swing_reach + 1
    source   uptrend-engine.md 4.1
    """
    reach = config.swing_reach
    if len(closes) < 2 * reach + 1:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    windows = sliding_window_view(closes, 2 * reach + 1)
    middle = windows[:, reach]
    others = np.delete(windows, reach, axis=1)
    floor, ceiling = others.min(axis=1), others.max(axis=1)
    highs = (middle > ceiling) & ((middle - floor) / middle >= config.prominence)
    lows = (middle < floor) & ((ceiling - middle) / middle >= config.prominence)
    return np.flatnonzero(highs) + reach, np.flatnonzero(lows) + reach


def theil_sen(times: F64, prices: F64) -> Diagonal | None:
    """The line through points that a few outliers do not turn.

    times, prices  float64[n], times all different
    returns        None for fewer than 3 points
    raises         ValueError if two points have the same time
    source         uptrend-engine.md 4.7
    """
    if len(times) < MIN_POINTS:
        return None
    first, second = np.triu_indices(len(times), k=1)
    spans = times[second] - times[first]
    if not spans.all():
        raise ValueError("a line over time needs points at different times")
    slope = float(np.median((prices[second] - prices[first]) / spans))
    return Diagonal(slope, float(np.median(prices - slope * times)))


def diagonals(times: F64, closes: F64, config: LevelsConfig) -> tuple[Diagonal | None, Diagonal | None]:
    """Resistance through the swing highs and support through the swing lows; None where there are fewer than 3.

    times, closes  float64[n], any unit of time, oldest first; n is meant to be some hundreds: pairs are n**2
    source         uptrend-engine.md 4.7
    """
    highs, lows = swing_positions(closes, config)
    return theil_sen(times[highs], closes[highs]), theil_sen(times[lows], closes[lows])
