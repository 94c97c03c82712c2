"""The small formulas that several scores share (uptrend-engine.md 0 and 3.2).

Scalar, strict IEEE doubles, no absolute tolerance: scaling every price by a power of two leaves ratios bit-equal.
"""

import math

from lotus.columns import F64
from lotus.compiled import lean


@lean
def logistic(x: float) -> float:
    """1 / (1 + exp(-x)), without overflow for any finite x (uptrend-engine.md 0)."""
    if x >= 0.0:
        return 1.0 / (1.0 + math.exp(-x))
    grown = math.exp(x)
    return grown / (1.0 + grown)


@lean
def clip(x: float, low: float, high: float) -> float:
    """`x` limited to [low, high] (uptrend-engine.md 0); NaN stays NaN."""
    if x < low:
        return low
    if x > high:
        return high
    return x


@lean
def ls_spread(count: int) -> float:
    """Sum of (x - mean x)^2 over x = 0..count-1: the divisor of a least-squares slope."""
    return count * (count * count - 1.0) / 12.0


@lean
def ls_slope(values: F64, n: int) -> float:
    """Least-squares slope of the last min(n, len) values, in their units per bar; 0 if fewer than three.

    values   float64[m], oldest first
    source   uptrend-engine.md 3.2. The weights sum to zero, so opposite values are paired instead of
             subtracting the mean: fewer roundings and exactly 0 on a flat series
    """
    count = min(n, values.shape[0])
    if count < 3:
        return 0.0
    first = values.shape[0] - count
    last = values.shape[0] - 1
    half = 0.5 * (count - 1)
    total = 0.0
    for i in range(count // 2):
        total += (half - i) * (values[last - i] - values[first + i])
    return total / ls_spread(count)
