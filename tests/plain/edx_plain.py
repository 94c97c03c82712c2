"""EDX, the decay of a trend, in plain lists, word for word from uptrend-engine.md 5.4 and 5.5. Slow on purpose."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.plain.indicators import adx, anchored_vwap, atr, clip, ema, ls, mean, rsi, sg, slope

Numbers = Sequence[float]
WEIGHTS = {"slow": 0.30, "struct": 0.25, "part": 0.20, "comp": 0.10}


@dataclass(frozen=True)
class Window:
    """The bars of one window and their slice of the segment's ATR."""

    high: Numbers
    low: Numbers
    close: Numbers
    volume_base: Numbers
    atr: Numbers


@dataclass(frozen=True)
class Decay:
    """EDX with its components as combined and per window (one to three)."""

    value: float
    combined: dict[str, float]
    windows: dict[str, list[float]]


def edx(high: Numbers, low: Numbers, close: Numbers, volume_base: Numbers, k: int) -> Decay | None:
    """EDX of the last bar, k bars after S3 began; None below 10 bars, where it is 0.5 (5.4)."""
    if k < 10:
        return None
    k = min(k, 500)
    cut = slice(len(close) - (k + 1), None)
    ranges = atr(high[cut], low[cut], close[cut])
    windows = []
    for length, least in ((k, 10), (2 * k // 3, 10), (k // 3, 10)):
        if length >= least:
            tail = slice(len(close) - length, None)
            windows.append(Window(high[tail], low[tail], close[tail], volume_base[tail], ranges[k + 1 - length :]))
    parts = {"slow": slow, "struct": struct, "part": part, "comp": comp}
    values = {name: [part(window) for window in windows] for name, part in parts.items()}
    combined = {name: combine(*each) for name, each in values.items()}
    total = 0.0
    for name, weight in WEIGHTS.items():
        total += weight * combined[name]
    return Decay(clip(total, 0.0, 1.0), combined, values)


def combine(s1: float, s2: float | None = None, s3: float | None = None) -> float:
    """One number for the windows of a component (5.4)."""
    if s2 is None:
        return s1
    if s3 is not None and s3 > s2 > s1:
        return 0.2 * s1 + 0.3 * s2 + 0.5 * s3
    if s2 > s1:
        return 0.3 * s1 + 0.7 * s2
    return (s1 + s2) / 2


def slow(window: Window) -> float:
    """Decay of slow slopes and of the slopes of RSI and ADX."""
    close = window.close
    e = sg(1000 * mean([slope(ema(close, 250)), slope(ema(close, 333))]))
    bars = range(14, len(close))
    r = sg(ls([rsi(close, k) for k in bars[-10:]], 10) / 5) if len(bars) >= 10 else 0.5
    trend = adx(window.high, window.low, close)
    a = sg(ls(trend, 10) / 2) if trend else 0.5
    return 1 - (e + r + a) / 3


def struct(window: Window) -> float:
    """Share of zigzag pivots that did not rise above the pivot of their kind before."""
    pivots = zigzag(window.high, window.low, window.close, window.atr)
    if len(pivots) < 4:
        return 0.5
    rose = compared = 0
    for kind in ("high", "low"):
        prices = [window.close[i] for i, which in pivots if which == kind]
        for i in range(1, len(prices)):
            compared += 1
            rose += prices[i] > prices[i - 1]
    return 1 - rose / compared if compared else 0.5


def part(window: Window) -> float:
    """Falling anchored VWAP."""
    vwap = anchored_vwap(window.close, window.volume_base)
    x = ls(vwap[-10:], 10) / vwap[-1]
    return sg(-1000 * x)


def comp(window: Window) -> float:
    """Compression of the slow EMAs; 0.5 below 144 bars."""
    close = window.close
    if len(close) < 144:
        return 0.5
    e144, e250, e333 = (ema(close, span)[-10:] for span in (144, 250, 333))
    near = [(a - b) / b for a, b in zip(e144, e333, strict=True)]
    far = [(a - b) / b for a, b in zip(e250, e333, strict=True)]
    return sg(-100 * mean([ls(near, 10), ls(far, 10)]))


def zigzag(high: Numbers, low: Numbers, close: Numbers, ranges: Numbers) -> list[tuple[int, str]]:
    """Pivots (index, "high" or "low") of the closes, with the provisional last one (5.5)."""
    legs = 1.2
    if mean([a / c for a, c in zip(ranges, close, strict=True)]) < 0.003:
        legs += 0.2
    pivots: list[tuple[int, str]] = []
    direction = ""
    hi = lo = close[0]
    hi_i = lo_i = 0
    for i, price in enumerate(close):
        if price > hi:
            hi, hi_i = price, i
        if price < lo:
            lo, lo_i = price, i
        if not direction:
            if price - close[0] >= legs * ranges[0]:
                direction, pivots = "up", [(0, "low")]
            elif close[0] - price >= legs * ranges[0]:
                direction, pivots = "down", [(0, "high")]
        elif direction == "up":
            turned = hi - price >= legs * ranges[hi_i] or hi - low[i] >= (legs - 0.25) * ranges[hi_i]
            if turned and i - hi_i >= 3 and hi_i - pivots[-1][0] >= 4:
                pivots.append((hi_i, "high"))
                direction, lo, lo_i = "down", price, i
        else:
            turned = price - lo >= legs * ranges[lo_i] or high[i] - lo >= (legs - 0.25) * ranges[lo_i]
            if turned and i - lo_i >= 3 and lo_i - pivots[-1][0] >= 4:
                pivots.append((lo_i, "low"))
                direction, hi, hi_i = "up", price, i
    return pivots + _provisional(pivots, direction, hi_i if direction == "up" else lo_i, len(close) - 1)


def _provisional(pivots: list[tuple[int, str]], direction: str, extreme: int, last: int) -> list[tuple[int, str]]:
    if not direction:
        return []
    kind = "high" if direction == "up" else "low"
    old_enough = last - extreme >= 3 and extreme - pivots[-1][0] >= 4
    return [(extreme, kind)] if pivots[-1][1] != kind and old_enough else []
