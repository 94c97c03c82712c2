"""Mending under the laws of kernels: minutes with holes and stragglers, outages, candles of all sorts."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lotus import bar
from lotus.bar import BarConfig, BarOutputs, BarState
from lotus.intake import Link, ReadCandles, ReadConnections
from lotus.kernel import Chunk, arrivals
from lotus.mending import MendConfig, Patches, step
from lotus.records import Ticks
from lotus.timeframe import MINUTE_MS
from tests.conformance.laws import Case

START_MS = 1_767_225_600_000  # 2026-01-01 00:00 UTC
CONFIG = MendConfig(reach_minutes=30)
MINUTES = 60
Arrivals = tuple[BarOutputs | Patches, ...]


def ticks(rows: Sequence[tuple[int, int]]) -> Ticks:
    """(time, seq) of trades; a seq of -1 is a heartbeat."""
    ts, seq = (np.array(values, np.int64) for values in (zip(*rows, strict=True) if rows else ((), ())))
    beats = seq < 0
    amount = np.where(beats, 0, 10**8).astype(np.int64)
    return Ticks(ts, beats, amount, amount, np.zeros(len(ts), np.int8), np.maximum(seq, 0), np.where(beats, 0, seq))


def candles(rows: Sequence[tuple[int, int, int, int]]) -> ReadCandles:
    """(minute, close in quote, W it was read at, offset)."""
    ts, close, read_ts, position = (
        np.array(values, np.int64) for values in (zip(*rows, strict=True) if rows else ((),) * 4)
    )
    price = close * 10**8
    return ReadCandles(ts, price, price + 10**8, price, price, price // 2, np.full(len(ts), 3), read_ts, position)


def links(rows: Sequence[tuple[int, str, Link, int, int]]) -> ReadConnections:
    """(time, source, state, W it was read at, offset)."""
    ts, source, state, read_ts, position = zip(*rows, strict=True) if rows else ((),) * 5
    return ReadConnections(
        np.array(ts, np.int64),
        np.array(source, np.object_),
        np.array(state, np.int8),
        np.array([""] * len(ts), np.object_),
        np.array(read_ts, np.int64),
        np.array(position, np.int64),
    )


@dataclass
class LogOfMinutes:
    """Writes what one series reads: trades through the real bar kernel, candles and connection records with their W."""

    config: BarConfig = BarConfig()
    watermark_ms: int = -1
    offset: int = 0
    state: BarState | None = None
    trades: list[tuple[int, int]] = field(default_factory=list)
    candles: list[tuple[int, int, int, int]] = field(default_factory=list)
    links: list[tuple[int, str, Link, int, int]] = field(default_factory=list)

    def trade(self, ts_ms: int) -> None:
        """A trade."""
        self.offset += 1
        self.trades.append((ts_ms, self.offset))

    def candle(self, minute_ms: int, close: int = 100) -> None:
        """A candle of a minute."""
        self.offset += 1
        self.candles.append((minute_ms, close, self.watermark_ms, self.offset))

    def link(self, ts_ms: int, state: Link, source: str = "ingest") -> None:
        """A connection record."""
        self.offset += 1
        self.links.append((ts_ms, source, state, self.watermark_ms, self.offset))

    def beat(self, clock_ms: int) -> tuple[Arrivals, Arrivals]:
        """A heartbeat: what was read since the last one, as the two streams have it."""
        self.watermark_ms = max(self.watermark_ms, clock_ms)
        self.state, minutes = bar.step(self.config, self.state, Chunk(ticks([*self.trades, (clock_ms, -1)]), clock_ms))
        closed_ms = max((self.watermark_ms - self.config.grace_ms) // MINUTE_MS * MINUTE_MS, -1)
        patches = Patches(candles(self.candles), links(self.links), closed_ms)
        self.trades, self.candles, self.links = [], [], []
        return (minutes,), (patches,)


def atoms(rng: np.random.Generator) -> Sequence[Arrivals]:
    """Both streams, each in its order, the second one late by chance."""
    log, first, second = LogOfMinutes(), [], []
    clock_ms = START_MS
    for _ in range(MINUTES * 4):
        now = clock_ms // MINUTE_MS * MINUTE_MS
        for _ in range(int(rng.integers(0, 3))):
            back = int(rng.integers(0, 90_000)) if rng.random() < 0.2 else 0
            if (now // MINUTE_MS) % 5:  # every fifth minute has stragglers only
                log.trade(clock_ms - back)
        if rng.random() < 0.1:
            state = Link(int(rng.integers(0, 3)))
            log.link(clock_ms - int(rng.integers(0, 100_000)), state, "ab"[int(rng.integers(0, 2))])
        for _ in range(int(rng.integers(0, 4))):
            log.candle(now + int(rng.integers(-40, 3)) * MINUTE_MS, int(rng.integers(100, 102)))
        clock_ms += int(rng.integers(1, 30_000))
        minutes, patches = log.beat(clock_ms)
        first.append(minutes)
        second.append(patches)
    return _interleaved(rng, first, second)


def _interleaved(rng: np.random.Generator, first: list[Arrivals], second: list[Arrivals]) -> list[Arrivals]:
    mixed: list[Arrivals] = []
    left, right = 0, 0
    while left < len(first) or right < len(second):
        if right == len(second) or (left < len(first) and rng.random() < 0.5):
            mixed.append(first[left])
            left += 1
        else:
            mixed.append(second[right])
            right += 1
    return mixed


CASE = Case("mending", step, CONFIG, atoms, arrivals)
