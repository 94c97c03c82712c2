"""The trend engine: bars in, one engine record per real bar out.

    Bars --> real, close > 0 --> advance (compiled) --> Trend
                                  ^      |
                                  +------+  Memory: indicators, state, EDX, levels

Rules: it sees closed bars only and classifies whether or not anybody holds the instrument; synthetic bars, gaps and
bars without a price are passed over as if they had not been; "bars since" counts engine bars; at most one state
change per bar; levels built with bar j serve from bar j + 1. A record is valid from the end of its bar.

Source: uptrend-engine.md; the way to count fast: design/engine-speed.md.
"""

from dataclasses import dataclass

import numpy as np

from lotus.columns import I64, Flags
from lotus.kernel import Chunk, first_fresh, once
from lotus.records import BarKind, Bars, Trend
from lotus.timeframe import Timeframe
from lotus.trend.advance import VOLUME, Memory, advance, copy_memory, fresh_memory
from lotus.trend.config import TrendConfig
from lotus.trend.packing import Packed, packed, unpacked
from lotus.trend.params import TrendParams, trend_params
from lotus.trend.row import HISTORY, as_trend, fresh_record

NOTHING_SEEN_MS = -(2**63)


@dataclass(frozen=True)
class TrendState:
    """The engine between two batches: time of the last bar of any kind, ms UTC, and its memory.

    It is serialised without the places of its arrays that nothing has been written to yet, or that nobody will read.
    """

    last_ms: int
    memory: Memory

    def __getstate__(self) -> tuple[int, Packed]:
        """What is kept of it."""
        return self.last_ms, packed(self.memory)

    def __setstate__(self, kept: tuple[int, Packed]) -> None:
        """Back to arrays."""
        object.__setattr__(self, "last_ms", kept[0])
        object.__setattr__(self, "memory", unpacked(kept[1]))


@dataclass(frozen=True)
class Engine:
    """One engine: the timeframe of its bars and its constants."""

    timeframe: Timeframe
    config: TrendConfig = TrendConfig()


def step(config: Engine, state: TrendState | None, chunk: Chunk[Bars]) -> tuple[TrendState, Chunk[Trend]]:
    """Advance by a batch of bars of one (instrument, timeframe), oldest first.

    returns  one Trend row per real bar with close > 0 that was not seen before; watermark and end pass through
    source   uptrend-engine.md 1, 2, 9
    """
    if state is None:
        state = TrendState(NOTHING_SEEN_MS, fresh_memory(config.config))
    start = first_fresh(chunk.rows.ts, state.last_ms)
    bars = chunk.rows.take(slice(start, None)) if start else chunk.rows
    if not len(bars):
        return state, Chunk(Trend.empty(), chunk.watermark_ms, chunk.last_ms)
    last_ms = int(bars.ts[-1])
    bars = bars.take((bars.kind == BarKind.REAL) & (bars.close > 0.0))
    if not len(bars):
        return TrendState(last_ms, state.memory), Chunk(Trend.empty(), chunk.watermark_ms, chunk.last_ms)
    rebuild = closes_levels(config.timeframe, bars.ts)
    memory = copy_memory(state.memory, rebuild)
    trend = _run(config, memory, bars, rebuild)
    return TrendState(last_ms, memory), Chunk(trend, chunk.watermark_ms, chunk.last_ms)


def _run(config: Engine, memory: Memory, bars: Bars, rebuild: Flags) -> Trend:
    """Records of engine bars; `memory` moves on."""
    prices = np.array((bars.high, bars.low, bars.close, bars.volume, bars.volume_base))
    volumes = prices[VOLUME:]
    volumes[~(volumes > 0.0)] = 0.0  # a bar without traded volume weighs nothing
    record = fresh_record(len(bars))
    advance(_params(config), memory, prices, rebuild, record)
    record.signs[HISTORY, : len(bars)] = bars.history
    return as_trend(record, np.array(bars.ts))


@once
def _params(config: Engine) -> TrendParams:
    return trend_params(config.config)


def closes_levels(timeframe: Timeframe, ts_ms: I64) -> Flags:
    """At which bars the levels are built anew: all of 1h and longer, else those that end on a full hour UTC (4.6)."""
    hour_ms = Timeframe.H1.ms
    if timeframe.ms >= hour_ms:
        return np.ones(len(ts_ms), dtype=np.bool_)
    return np.asarray((ts_ms + timeframe.ms) % hour_ms == 0, dtype=np.bool_)
