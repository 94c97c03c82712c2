"""Support and resistance levels word for word from uptrend-engine.md 4, with no thought for speed.

The judge of `lotus/levels.py`: it shares no code with it, repeats the spec's numbers on purpose, and sees the whole
list of closes every time.
"""

from collections.abc import Sequence
from typing import NamedTuple

Source = str


class PlainLevel(NamedTuple):
    """One level; `born` is the position of the extreme it was read from, None for the others."""

    price: float
    strength: int
    source: Source
    born: int | None = None


def swings(closes: Sequence[float]) -> tuple[list[int], list[int]]:
    """Positions of the swing highs and of the swing lows (4.1)."""
    highs, lows = [], []
    for i in range(2, len(closes) - 2):
        others = [closes[i - 2], closes[i - 1], closes[i + 1], closes[i + 2]]
        lowest, highest = min(*others, closes[i]), max(*others, closes[i])
        if all(closes[i] > other for other in others) and (closes[i] - lowest) / closes[i] >= 0.005:
            highs.append(i)
        if all(closes[i] < other for other in others) and (highest - closes[i]) / closes[i] >= 0.005:
            lows.append(i)
    return highs, lows


def clusters(prices: Sequence[float]) -> list[tuple[float, int]]:
    """Centre and count of all clusters in the order in which they were opened (4.2)."""
    found: list[tuple[float, int]] = []
    for price in sorted(prices):
        for at, (c, n) in enumerate(found):
            if abs(price - c) / c <= 0.06:
                found[at] = ((c * n + price) / (n + 1), n + 1)
                break
        else:
            found.append((price, 1))
    return found


def bonus(base: Sequence[PlainLevel], price: float) -> int:
    """What the nearest level of the base set adds to a Fibonacci level (4.4)."""
    if (
        price == 0.0
    ):  # only where the range swallows ATL (a price range beyond 2**53): no distance is a share of nothing
        return 0
    nearest = min(base, key=lambda level: abs(level.price - price))  # min keeps the first of equals
    share = abs(nearest.price - price) / price
    if share < 0.03:
        return nearest.strength
    if share < 0.07:
        return nearest.strength // 2
    return 0


def level_set(closes: Sequence[float]) -> list[PlainLevel] | None:
    """The level set of the given closes (at most the last 9,999 of a series), or None if there is no new one."""
    closes = [float(close) for close in closes]
    if len(closes) < 50:
        return None
    highs, lows = swings(closes)
    if len(highs) < 3 and len(lows) < 3:
        return None

    grouped = clusters([closes[i] for i in highs + lows])
    strongest = sorted(grouped, key=lambda cluster: (-cluster[1], cluster[0]))[:9]
    ath, atl = max(closes), min(closes)
    ath_at, atl_at = closes.index(ath), closes.index(atl)
    base = [PlainLevel(centre, count, "cluster") for centre, count in strongest]
    base += [PlainLevel(ath, 10, "ath", ath_at), PlainLevel(atl, 10, "atl", atl_at)]

    r = ath - atl
    fibs = []
    for f in (0, 0.236, 0.382, 0.5, 0.618, 0.786, 1):
        price = ath - f * r
        born = ath_at if f == 0 else atl_at if f == 1 else None
        fibs.append(PlainLevel(price, 15 + bonus(base, price), "retracement", born))
    for f in (1.272, 1.618, 2, 2.618, 3, 4.236):
        price = atl + f * r
        if price > closes[-1]:
            fibs.append(PlainLevel(price, 15 + bonus(base, price), "extension"))

    final = sorted(base + fibs, key=lambda level: (-level.strength, level.price))[:12]
    return sorted(final, key=lambda level: -level.price)
