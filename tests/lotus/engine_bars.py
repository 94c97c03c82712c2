"""Bars for the trend engine and one call that runs it, for the tests of the engine."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lotus.columns import ABSENT, F64
from lotus.kernel import Chunk
from lotus.records import BarKind, Bars, Trend
from lotus.timeframe import Timeframe
from lotus.trend.config import TrendConfig
from lotus.trend.kernel import Engine, TrendState, step


def bars_of(columns: Mapping[str, Any]) -> Bars:
    """Real bars from ts, open, high, low, close, volume; the one volume serves as quote and as base volume."""
    size = len(columns["ts"])
    return Bars(
        ts=columns["ts"],
        kind=np.full(size, BarKind.REAL, dtype=np.int8),
        open=columns["open"],
        high=columns["high"],
        low=columns["low"],
        close=columns["close"],
        volume=columns["volume"],
        volume_base=columns.get("volume_base", columns["volume"]),
        volume_est=np.zeros(size, dtype=np.bool_),
        trades=np.full(size, ABSENT, dtype=np.int64),
        buy_volume=np.full(size, np.nan),
        bars_used=np.ones(size, dtype=np.int64),
        coverage=np.ones(size),
        gap_return=np.zeros(size, dtype=np.bool_),
        history=np.zeros(size, dtype=np.bool_),
    )


def run(
    bars: Bars, timeframe: Timeframe = Timeframe.H1, config: TrendConfig | None = None, size: int | None = None
) -> Trend:
    """The engine's records of these bars, fed in batches of `size` (default: one batch)."""
    return run_on(None, bars, timeframe, config, size)[1]


def run_on(
    state: TrendState | None,
    bars: Bars,
    timeframe: Timeframe = Timeframe.H1,
    config: TrendConfig | None = None,
    size: int | None = None,
) -> tuple[TrendState | None, Trend]:
    """The same, going on from a state."""
    engine = Engine(timeframe, config or TrendConfig())
    parts = [Trend.empty()]
    for start in range(0, len(bars), size or max(1, len(bars))):
        batch = bars.take(slice(start, start + (size or len(bars))))
        state, out = step(engine, state, Chunk(batch, 0))
        parts.append(out.rows)
    return state, Trend.concat(parts)


def wandering(rng: np.random.Generator, size: int, step_ms: int) -> dict[str, Any]:
    """A random series that falls, turns and rises long enough to reach S3, then falls again; lively volumes."""
    drift = np.repeat([-0.003, 0.0006, 0.006, 0.0, -0.006], size // 5 + 1)[:size]
    close = 100.0 * np.exp(np.cumsum(drift + 0.006 * rng.standard_normal(size)))
    opened = np.concatenate([close[:1], close[:-1]])
    noise: F64 = np.abs(rng.standard_normal((2, size)))
    return {
        "ts": 1_700_000_100_000 // step_ms * step_ms + step_ms * np.arange(size, dtype=np.int64),
        "open": opened,
        "high": np.maximum(opened, close) * (1.0 + 0.002 * noise[0]),
        "low": np.minimum(opened, close) * (1.0 - 0.002 * noise[1]),
        "close": close,
        "volume": np.exp(8.0 + rng.standard_normal(size)),
    }
