"""Bars of the finest timeframe become bars of all coarser ones (market-data.md 8, replay.md 3, 4).

    source rows   |R R R f R|R R . R R|f f . . .|R ...        R real, f filler, . nothing
    roll-up       |    R    |    R    |         |             emitted when the watermark reaches the end

Rules
- The source timeframe gets its own rows, fillers included. A coarser bar is the fold of the real rows: open first,
  high and low extrema, close last, volumes and trades summed in order; what is absent in one row is absent in the sum.
- Every timeframe is built from the source, never from a coarser one. `coverage` is bars_used over the full number.
- A bucket that begins before the series' first row, filler or real, is never rolled up: history supplies it. A
  bucket without a real row is left to `lotus/grid.py`; only the first one after the seam, if it is empty, is sent as a
  filler, so that the grid knows where history ends.
- History rows come first, once, as they are.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from lotus.columns import ABSENT, F64, I8, I64, Flags
from lotus.compiled import compiled
from lotus.kernel import NEVER_MS, Chunk, first_fresh
from lotus.readonly import readonly
from lotus.records import BarKind, Bars
from lotus.timeframe import Timeframe

REAL = int(BarKind.REAL)

# Columns of a bucket under construction.
OPEN, HIGH, LOW, CLOSE, VOLUME, VOLUME_BASE, BUY_VOLUME = range(7)
START, TRADES, USED, ESTIMATED = range(4)


@dataclass(frozen=True, slots=True)
class Raw:
    """Rows of a series' source timeframe, and once, before the first of them, its history.

    history  per timeframe, cut to the buckets that begin before the series' first row
    """

    rows: Chunk[Bars]
    history: tuple[tuple[Timeframe, Bars], ...] = ()


@dataclass(frozen=True, slots=True)
class Buckets:
    """Buckets of one timeframe that the watermark has not reached, oldest first: float64[k, 7] and int64[k, 4]."""

    measured: F64
    counted: I64


@dataclass(frozen=True, slots=True)
class RollupState:
    """What lives between batches.

    first_ts    start of the series' first row, ms UTC; -1 before it
    last_ts     start of the latest row
    sent_ts     start of the latest bar sent, per timeframe from the source on, -1 before the first
    buckets     per coarser timeframe
    """

    first_ts: int
    last_ts: int
    sent_ts: tuple[int, ...]
    buckets: tuple[Buckets, ...]


@dataclass(frozen=True)
class RollupConfig:
    """The timeframe of the rows."""

    source: Timeframe


Outputs = tuple[tuple[Timeframe, Chunk[Bars]], ...]


def step(config: RollupConfig, state: RollupState | None, batch: Raw) -> tuple[RollupState, Outputs]:
    """Advance by rows of the source; returns one chunk per timeframe, source first.

    The end of a chunk (`last_ms`) is the end of the bucket that holds the series' last row.
    """
    coarser = config.source.coarser()
    state = state or RollupState(-1, -1, (-1,) * (1 + len(coarser)), (_none(),) * len(coarser))
    chunk = batch.rows
    rows = fresh(chunk.rows, state.last_ts)
    history = dict(batch.history)
    first_ts = state.first_ts if state.first_ts >= 0 or not len(rows) else int(rows.ts[0])
    parts = [_joined(history.get(config.source), state.sent_ts[0], rows)]
    buckets = []
    for timeframe, sent_ts, before in zip(coarser, state.sent_ts[1:], state.buckets, strict=True):
        pending = _folded(before, rows, timeframe.ms, first_ts, begins=state.first_ts < 0)
        done, pending = _parted(pending, timeframe.ms, chunk)
        parts.append(_joined(history.get(timeframe), sent_ts, _bars(done, timeframe.ms // config.source.ms)))
        buckets.append(pending)
    outputs = tuple(
        (timeframe, Chunk(part, chunk.watermark_ms, _end(chunk.last_ms, timeframe)))
        for timeframe, part in zip((config.source, *coarser), parts, strict=True)
    )
    sent = tuple(_last(part, before) for part, before in zip(parts, state.sent_ts, strict=True))
    return RollupState(first_ts, _last(rows, state.last_ts), sent, tuple(buckets)), outputs


def fresh(rows: Bars, last_ts: int) -> Bars:
    """The rows after `last_ts` whose time is after those before them (replay law)."""
    begin = first_fresh(rows.ts, last_ts)
    rows = rows.take(slice(begin, None)) if begin else rows
    if len(rows) < 2 or bool(np.all(rows.ts[1:] > rows.ts[:-1])):
        return rows
    latest = np.maximum.accumulate(rows.ts)
    return rows.take(np.concatenate((rows.ts[:1] > last_ts, rows.ts[1:] > np.maximum(latest[:-1], last_ts))))


def _joined(history: Bars | None, sent_ts: int, rows: Bars) -> Bars:
    """History that was not sent yet, then the rows."""
    if history is None:
        return rows
    warm_up = fresh(history, sent_ts)
    return Bars.concat([replace(warm_up, history=np.ones(len(warm_up), np.bool_)), rows])


def _last(rows: Bars, before: int) -> int:
    return int(rows.ts[-1]) if len(rows) else before


def _end(last_ms: int, timeframe: Timeframe) -> int:
    """End of the bucket that holds the series' last row."""
    return last_ms if last_ms >= NEVER_MS else -(-last_ms // timeframe.ms) * timeframe.ms


@lru_cache
def _none() -> Buckets:
    return Buckets(np.empty((0, 7)), np.empty((0, 4), np.int64))


def _folded(before: Buckets, rows: Bars, span_ms: int, first_ts: int, *, begins: bool) -> Buckets:
    """The buckets with the rows in them; a series that begins gets its first bucket, still empty."""
    if not len(rows):
        return before
    crossed = int(rows.ts[-1]) // span_ms - int(rows.ts[0]) // span_ms + 1
    measured = np.empty((len(before.measured) + min(crossed, len(rows)) + begins, 7))
    counted = np.empty((len(measured), 4), np.int64)
    held = len(before.measured)
    measured[:held], counted[:held] = before.measured, before.counted
    if begins:
        measured[held], counted[held] = np.nan, (-(-first_ts // span_ms) * span_ms, ABSENT, 0, 0)
        held += 1
    held = _fold(
        measured, counted, held, span_ms, first_ts, readonly(rows.ts), readonly(rows.kind), readonly(rows.open),
        readonly(rows.high), readonly(rows.low), readonly(rows.close), readonly(rows.volume),
        readonly(rows.volume_base), readonly(rows.buy_volume), readonly(rows.trades), readonly(rows.volume_est),
    )  # fmt: skip
    return Buckets(measured[:held], counted[:held])


@compiled
def _fold(
    measured: F64, counted: I64, held: int, span_ms: int, first_ts: int, ts: I64, kind: I8, open_: F64, high: F64,
    low: F64, close: F64, volume: F64, volume_base: F64, buy_volume: F64, trades: I64, estimated: Flags,
) -> int:  # fmt: skip
    """Add the real rows in order, in place; returns the number of buckets."""
    for i in range(len(ts)):
        start = ts[i] // span_ms * span_ms
        if kind[i] != REAL or start < first_ts:
            continue
        if held == 0 or counted[held - 1, START] != start:
            counted[held, START], counted[held, USED] = start, 0
            held += 1
        k = held - 1
        if counted[k, USED] == 0:
            measured[k, OPEN], measured[k, HIGH], measured[k, LOW] = open_[i], high[i], low[i]
            measured[k, VOLUME], measured[k, VOLUME_BASE], measured[k, BUY_VOLUME] = 0.0, 0.0, 0.0
            counted[k, TRADES], counted[k, ESTIMATED] = 0, 0
        measured[k, HIGH] = max(measured[k, HIGH], high[i])
        measured[k, LOW] = min(measured[k, LOW], low[i])
        measured[k, CLOSE] = close[i]
        measured[k, VOLUME] += volume[i]
        measured[k, VOLUME_BASE] += volume_base[i]
        measured[k, BUY_VOLUME] += buy_volume[i]
        unknown = counted[k, TRADES] == ABSENT or trades[i] == ABSENT
        counted[k, TRADES] = ABSENT if unknown else counted[k, TRADES] + trades[i]
        counted[k, ESTIMATED] |= estimated[i]
        counted[k, USED] += 1
    return held


def _parted(buckets: Buckets, span_ms: int, chunk: Chunk[Bars]) -> tuple[Buckets, Buckets]:
    """The buckets whose end the watermark has reached, and the rest; an empty one beyond the series' end is neither."""
    starts = buckets.counted[:, START]
    done = int(np.searchsorted(starts, chunk.watermark_ms - span_ms, side="right"))
    if not done:
        return _none(), buckets
    kept = (buckets.counted[:done, USED] > 0) | (starts[:done] < chunk.last_ms)
    return (
        Buckets(buckets.measured[:done][kept], buckets.counted[:done][kept]),
        Buckets(buckets.measured[done:].copy(), buckets.counted[done:].copy()),
    )


@lru_cache
def _no_bars() -> Bars:
    return Bars.empty()


def _bars(done: Buckets, expected: int) -> Bars:
    """Finished buckets as bars; `expected` is the full number of source bars."""
    if not len(done.measured):
        return _no_bars()
    measured, used = done.measured, done.counted[:, USED]
    no = np.zeros(len(measured), np.bool_)
    return Bars(
        ts=done.counted[:, START].copy(),
        kind=np.where(used > 0, BarKind.REAL, BarKind.GAP).astype(np.int8),
        open=measured[:, OPEN].copy(),
        high=measured[:, HIGH].copy(),
        low=measured[:, LOW].copy(),
        close=measured[:, CLOSE].copy(),
        volume=measured[:, VOLUME].copy(),
        volume_base=measured[:, VOLUME_BASE].copy(),
        volume_est=done.counted[:, ESTIMATED] > 0,
        trades=done.counted[:, TRADES].copy(),
        buy_volume=measured[:, BUY_VOLUME].copy(),
        bars_used=used.copy(),
        coverage=used / expected,
        gap_return=no,
        history=no,
    )
