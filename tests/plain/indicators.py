"""Indicators in plain lists and floats, word for word from uptrend-engine.md 3. Slow on purpose."""

import math
from collections.abc import Sequence

Numbers = Sequence[float]


def clip(x: float, low: float, high: float) -> float:
    """x limited to [low, high]."""
    return low if x < low else high if x > high else x


def sg(x: float) -> float:
    """The logistic function 1 / (1 + exp(-x)), without overflow for any x."""
    if x >= 0.0:
        return 1.0 / (1.0 + math.exp(-x))
    grown = math.exp(x)
    return grown / (1.0 + grown)


def mean(values: Numbers) -> float:
    """Arithmetic mean, summed from left to right."""
    total = 0.0
    for value in values:
        total += value
    return total / len(values)


def ema(close: Numbers, span: int) -> list[float]:
    """Exponential moving average seeded by the first close (3.1)."""
    a = 2.0 / (span + 1)
    out = [close[0]]
    for price in close[1:]:
        out.append(a * price + (1 - a) * out[-1])
    return out


def ls(values: Numbers, window: int) -> float:
    """Least-squares slope over the last min(window, len) values, 0 below three values (3.2)."""
    y = values[-window:]
    m = len(y)
    if m < 3:
        return 0.0
    x_mean = (m - 1) / 2
    y_mean = mean(y)
    above = below = 0.0
    for x in range(m):
        above += (x - x_mean) * (y[x] - y_mean)
        below += (x - x_mean) ** 2
    return above / below


def slope(averages: Numbers) -> float:
    """Normalised slope of the last 10 EMA values, as a fraction per bar; 0 if there are fewer (3.2)."""
    if len(averages) < 10 or averages[-1] <= 0:
        return 0.0
    return ls(averages[-10:], 10) / averages[-1]


def slope_delta(averages: Numbers) -> float:
    """Normalised slope now minus the one ten bars ago; 0 below 20 EMA values (3.2)."""
    if len(averages) < 20 or averages[-1] <= 0:
        return 0.0
    return ls(averages[-10:], 10) / averages[-1] - ls(averages[-20:-10], 10) / averages[-11]


def true_ranges(high: Numbers, low: Numbers, close: Numbers) -> list[float]:
    """TR of bars 1..n-1 (3.3)."""
    return [
        max(high[i] - low[i], abs(high[i] - close[i - 1]), abs(close[i - 1] - low[i])) for i in range(1, len(close))
    ]


def wilder(moves: Numbers, length: int) -> list[float]:
    """Wilder smoothing over 14 of moves of bars 1..length-1, front-filled to `length` values (3.3).

    With no move at all (one bar) the value is 0.
    """
    seed = mean(moves[:14]) if moves else 0.0
    out = [seed] * min(length, 15)
    for i in range(15, length):
        out.append((13 * out[-1] + moves[i - 1]) / 14)
    return out


def atr(high: Numbers, low: Numbers, close: Numbers) -> list[float]:
    """ATR(14) of every bar (3.3)."""
    return wilder(true_ranges(high, low, close), len(close))


def rsi(close: Numbers, k: int) -> float:
    """RSI(14) of bar k in the simple-average form; 50 on a flat series and below 15 closes (3.4)."""
    if k < 14:
        return 50.0
    gains = losses = 0.0
    for i in range(k - 13, k + 1):
        change = close[i] - close[i - 1]
        if change > 0:
            gains += change
        elif change < 0:
            losses += -change
    g, q = gains / 14, losses / 14
    if q == 0:
        return 100.0 if g > 0 else 50.0
    return 100.0 - 100.0 / (1.0 + g / q)


def rsi_slope(values: Numbers, n: int) -> float:
    """Slope of the RSI series of bars max(15, n-60)..n-1; `values` holds the RSI of every bar (3.4)."""
    return ls(values[max(15, n - 60) : n], 10)


def adx(high: Numbers, low: Numbers, close: Numbers) -> list[float]:
    """ADX(14) of every bar, front-filled; empty below 16 bars (3.5)."""
    n = len(close)
    if n < 16:
        return []
    plus, minus = [], []
    for i in range(1, n):
        up, down = high[i] - high[i - 1], low[i - 1] - low[i]
        plus.append(up if up > down and up > 0 else 0.0)
        minus.append(down if down > up and down > 0 else 0.0)
    ranges = wilder(true_ranges(high, low, close), n)
    rising, falling = wilder(plus, n), wilder(minus, n)
    out: list[float] = []
    for i in range(n):
        if i <= 14:
            out = [_direction(ranges[14], rising[14], falling[14])] * (i + 1)
        else:
            out.append((13 * out[-1] + _direction(ranges[i], rising[i], falling[i])) / 14)
    return out


def _direction(true_range: float, rising: float, falling: float) -> float:
    if true_range == 0 or (rising == 0 and falling == 0):
        return 0.0
    return 100 * abs(rising - falling) / (rising + falling)


def volume_z(volume: Numbers) -> float:
    """VO_z of the last bar over at most the last 1,000 quote volumes (3.6)."""
    u = [math.log(1 + max(0.0, value)) for value in volume[-1000:]]
    n = len(u)
    if n >= 10:
        ordered = sorted(u)
        low = ordered[max(0, math.floor(0.02 * n) - 1)]
        high = ordered[min(n - 1, math.floor(0.98 * n))]
        u = [clip(value, low, high) for value in u]
    a = 2.0 / 65
    m, s = u[0], 0.0
    for value in u[1:]:
        before = m
        m = a * value + (1 - a) * before
        s = (1 - a) * (s + a * (value - before) * (value - m))
    return clip((u[-1] - m) / math.sqrt(max(s, 1e-12)), -4.0, 6.0)


def separation(shorter: Numbers, longer: Numbers) -> float:
    """5-bar change of (shorter - longer) / longer; 0 before it exists (3.7)."""
    if len(shorter) < 6:
        return 0.0
    return (shorter[-1] - longer[-1]) / longer[-1] - (shorter[-6] - longer[-6]) / longer[-6]


def anchored_vwap(close: Numbers, volume_base: Numbers) -> list[float]:
    """Running VWAP from the first bar of the window; a bar without volume keeps the value before (3.8)."""
    out: list[float] = []
    value = volume = 0.0
    for price, amount in zip(close, volume_base, strict=True):
        if amount > 0:
            value += price * amount
            volume += amount
            out.append(value / volume)
        else:
            out.append(out[-1] if out else price)
    return out
