"""Support and resistance levels in plain lists, word for word from uptrend-engine.md 4. Slow on purpose."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

RETRACEMENTS = (0.0, 0.236, 0.382, 0.5, 0.618, 0.786, 1.0)
EXTENSIONS = (1.272, 1.618, 2.0, 2.618, 3.0, 4.236)
INPUT_BARS = 9_999
REFRESH_MS = 3_600_000


@dataclass(frozen=True)
class Level:
    """A price with its strength."""

    price: float
    strength: int
    source: str


def is_swing_high(close: Sequence[float], i: int) -> bool:
    """Whether bar i is a swing high: strictly above two bars on both sides and 0.5 % prominent (4.1)."""
    five = close[i - 2 : i + 3]
    higher = all(close[i] > close[j] for j in (i - 2, i - 1, i + 1, i + 2))
    return higher and (close[i] - min(five)) / close[i] >= 0.005


def is_swing_low(close: Sequence[float], i: int) -> bool:
    """Whether bar i is a swing low (4.1)."""
    five = close[i - 2 : i + 3]
    lower = all(close[i] < close[j] for j in (i - 2, i - 1, i + 1, i + 2))
    return lower and (max(five) - close[i]) / close[i] >= 0.005


def swings(close: Sequence[float]) -> tuple[list[int], list[int]]:
    """Indexes of swing highs and swing lows (4.1)."""
    inner = range(2, len(close) - 2)
    return [i for i in inner if is_swing_high(close, i)], [i for i in inner if is_swing_low(close, i)]


def clusters(prices: Sequence[float]) -> list[Level]:
    """The nine strongest clusters of the swing closes, in base-set order (4.2)."""
    centres: list[float] = []
    counts: list[int] = []
    for price in sorted(prices):
        for at, c in enumerate(centres):
            if abs(price - c) / c <= 0.06:
                centres[at] = (c * counts[at] + price) / (counts[at] + 1)
                counts[at] += 1
                break
        else:
            centres.append(price)
            counts.append(1)
    found = [Level(c, n, "cluster") for c, n in zip(centres, counts, strict=True)]
    return sorted(found, key=lambda level: (-level.strength, level.price))[:9]


def fibonacci(base: Sequence[Level], ath: float, atl: float, latest: float) -> list[Level]:
    """Retracements, and extensions above the latest close, with the bonus of the nearest base level (4.4)."""
    r = ath - atl
    prices = [("retracement", ath - f * r) for f in RETRACEMENTS]
    prices += [("extension", atl + f * r) for f in EXTENSIONS if atl + f * r > latest]
    out = []
    for source, price in prices:
        nearest = min(base, key=lambda level: abs(level.price - price))
        distance = abs(nearest.price - price) / price * 100
        if distance < 3:
            bonus = nearest.strength
        elif distance < 7:
            bonus = math.floor(nearest.strength / 2)
        else:
            bonus = 0
        out.append(Level(price, 15 + bonus, source))
    return out


def merge(swing_clusters: Sequence[Level], ath: float, atl: float, latest: float) -> list[Level]:
    """Final set of at most twelve levels by descending price (4.3-4.5)."""
    base = [*swing_clusters, Level(ath, 10, "ath"), Level(atl, 10, "atl")]
    merged = base + fibonacci(base, ath, atl, latest)
    kept = sorted(merged, key=lambda level: (-level.strength, level.price))[:12]
    return sorted(kept, key=lambda level: -level.price)


def level_set(close: Sequence[float]) -> list[Level] | None:
    """The level set of these closes, or None where none is produced (4)."""
    close = close[-INPUT_BARS:]
    if len(close) < 50:
        return None
    highs, lows = swings(close)
    if len(highs) < 3 and len(lows) < 3:
        return None
    prices = [close[i] for i in highs + lows]
    return merge(clusters(prices), max(close), min(close), close[-1])


class LevelBook:
    """The level set in force, fed one real bar after the other (4.6).

    What is remembered between bars never changes once known: a bar is a swing or not as soon as two bars
    followed it, and clusters change only when the list of swings does.
    """

    def __init__(self, bar_ms: int) -> None:
        """Start empty; bar_ms is the length of a bar."""
        self.bar_ms = bar_ms
        self.close: list[float] = []
        self.highs: list[int] = []
        self.lows: list[int] = []
        self.levels: list[Level] = []
        self.version: int | None = None
        self._clustered: tuple[tuple[float, ...], list[Level]] | None = None

    def add(self, ts: int, close: float) -> None:
        """Take in the bar that begins at ts; the set in force afterwards is for the next bar."""
        self.close.append(close)
        i = len(self.close) - 3
        if i >= 2:
            self.highs += [i] * is_swing_high(self.close, i)
            self.lows += [i] * is_swing_low(self.close, i)
        if self.bar_ms >= REFRESH_MS or (ts + self.bar_ms) % REFRESH_MS == 0:
            self._rebuild()

    def _rebuild(self) -> None:
        close = self.close[-INPUT_BARS:]
        if len(close) < 50:
            return
        first = len(self.close) - len(close) + 2
        highs = [i for i in self.highs if i >= first]
        lows = [i for i in self.lows if i >= first]
        if len(highs) < 3 and len(lows) < 3:
            return
        prices = tuple(self.close[i] for i in highs + lows)
        if self._clustered is None or self._clustered[0] != prices:
            self._clustered = prices, clusters(prices)
        self.levels = merge(self._clustered[1], max(close), min(close), close[-1])
        self.version = len(self.close) - 1


def nearest(levels: Sequence[Level], price: float) -> float | None:
    """Price of the level closest to `price`, the lower one on ties (8)."""
    if not levels:
        return None
    return min((abs(level.price - price), level.price) for level in levels)[1]
