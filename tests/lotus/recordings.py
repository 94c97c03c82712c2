"""Recorded bars and trades as the records that kernels read: a source in a few lines (replay.md 2, 3)."""

from pathlib import Path

import numpy as np
import polars as pl

from lotus.columns import ABSENT, F64, I64
from lotus.records import BarKind, Bars, Side, Ticks

TICK_GRACE_MS = 5_000


def bars(table: pl.DataFrame) -> Bars:
    """The rows of a bar file, of one token."""
    high, low, close, volume_base = (table[name].to_numpy() for name in ("high", "low", "close", "volume"))
    count = len(table)
    no = np.zeros(count, np.bool_)
    return Bars(
        ts=table["ts"].to_numpy(),
        kind=np.where(volume_base > 0, BarKind.REAL, BarKind.SYNTHETIC).astype(np.int8),
        open=table["open"].to_numpy(),
        high=high,
        low=low,
        close=close,
        volume=volume_base * (high + low + close) / 3,
        volume_base=volume_base,
        volume_est=~no,
        trades=np.full(count, ABSENT, np.int64),
        buy_volume=np.full(count, np.nan),
        bars_used=np.ones(count, np.int64),
        coverage=np.ones(count),
        gap_return=no,
        history=no,
    )


def recorded_ticks(path: Path, until_ms: int) -> Ticks:
    """All trades of a file with one heartbeat per event second before its first tick, and a last one."""
    table = pl.read_parquet(path)
    ts = table["ts"].to_numpy()
    second = ts // 1000 * 1000
    first = np.flatnonzero(np.concatenate(([True], second[1:] > second[:-1])))
    at = np.append(first, len(ts))
    clock = np.append(second[first], until_ms + TICK_GRACE_MS)

    def e8(values: F64) -> I64:
        return np.rint(values * 1e8).astype(np.int64)

    return Ticks(
        ts=np.insert(ts, at, clock),
        heartbeat=np.insert(np.zeros(len(ts), np.bool_), at, True),
        price_e8=np.insert(e8(table["price"].to_numpy()), at, 0),
        size_e8=np.insert(e8(table["size"].to_numpy()), at, 0),
        side=np.insert(np.where(table["side"] == "buy", Side.BUY, Side.SELL).astype(np.int8), at, ABSENT),
        seq=np.insert(np.arange(len(ts)), at, 0),
        trade_id=np.insert(table["trade_id"].to_numpy(), at, 0),
    )
