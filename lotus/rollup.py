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
- A coarser bar is known at the end of its bucket and at no other time. So up to just before the next end a timeframe
  is complete, and it is silent until then. The source is silent while it has neither rows nor a new promise.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lotus.columns import ABSENT, F64, I64
from lotus.compiled import compiled
from lotus.kernel import NEVER_MS, Chunk, first_fresh
from lotus.records import BarKind, Bars
from lotus.timeframe import Timeframe

REAL, GAP = int(BarKind.REAL), int(BarKind.GAP)

# Columns of a bucket under construction.
OPEN, HIGH, LOW, CLOSE, VOLUME, VOLUME_BASE, BUY_VOLUME = range(7)
START, TRADES, USED, ESTIMATED = range(4)
MEASURED, COUNTED = 7, 4

# Columns of the source rows that are counted.
TS, KIND, ROW_TRADES, ROW_ESTIMATED = range(4)


@dataclass(frozen=True, slots=True)
class Raw:
    """Rows of a series' source timeframe, and once, before the first of them, its history.

    history  per timeframe, cut to the buckets that begin before the series' first row
    """

    rows: Chunk[Bars]
    history: tuple[tuple[Timeframe, Bars], ...] = ()


class Buckets(NamedTuple):
    """Buckets that the watermark has not reached, by coarser timeframe, oldest first; beyond `held` there is nothing.

    measured  float64[timeframes, room, 7]
    counted   int64[timeframes, room, 4]
    held      int64[timeframes]
    """

    measured: F64
    counted: I64
    held: I64


@dataclass(frozen=True, slots=True)
class RollupState:
    """What lives between batches.

    first_ts           start of the series' first row, ms UTC; -1 before it
    last_ts            start of the latest row
    sent_ts            start of the latest bar sent, per timeframe from the source on, -1 before the first
    buckets            under construction
    told               up to where each timeframe, from the source on, was said to be complete, and its end
    """

    first_ts: int
    last_ts: int
    sent_ts: tuple[int, ...]
    buckets: Buckets
    told: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class RollupConfig:
    """The timeframe of the rows."""

    source: Timeframe


Outputs = tuple[tuple[Timeframe, Chunk[Bars]], ...]


def step(config: RollupConfig, state: RollupState | None, batch: Raw) -> tuple[RollupState, Outputs]:
    """Advance by rows of the source; returns one chunk per timeframe that has something to say, source first.

    The end of a chunk (`last_ms`) is the end of the bucket that holds the series' last row.
    """
    coarser, spans = _coarser(config)
    state = state or _nothing(len(coarser))
    chunk = batch.rows
    rows = fresh(chunk.rows, state.last_ts)
    history = dict(batch.history)
    first_ts = state.first_ts if state.first_ts >= 0 or not len(rows) else int(rows.ts[0])
    first = _joined(history.get(config.source), state.sent_ts[0], rows)
    sent, told = [_last(first, state.sent_ts[0])], [(chunk.watermark_ms, chunk.last_ms)]
    if not len(rows) and not history and told[0] == state.told[0]:
        return state, ()
    outputs = [(config.source, Chunk(first, *told[0]))]
    done, buckets = _folded(state.buckets, rows, spans, first_ts, chunk, begins=state.first_ts < 0)
    for place, timeframe in enumerate(coarser):
        before = state.sent_ts[1 + place]
        bars = _bars(done, place, timeframe.ms // config.source.ms) if done.held[place] else _no_bars()
        part = _joined(history.get(timeframe), before, bars)
        promise = _complete(chunk.watermark_ms, timeframe.ms), _end(chunk.last_ms, timeframe.ms)
        if len(part) or promise != state.told[1 + place]:
            outputs.append((timeframe, Chunk(part, *promise)))
        sent.append(_last(part, before))
        told.append(promise)
    following = RollupState(first_ts, _last(rows, state.last_ts), tuple(sent), buckets, tuple(told))
    return following, tuple(outputs)


@lru_cache
def _coarser(config: RollupConfig) -> tuple[tuple[Timeframe, ...], I64]:
    coarser = config.source.coarser()
    return coarser, np.array([timeframe.ms for timeframe in coarser], np.int64)


@lru_cache
def _nothing(count: int) -> RollupState:
    none = Buckets(np.empty((count, 0, MEASURED)), np.empty((count, 0, COUNTED), np.int64), np.zeros(count, np.int64))
    return RollupState(-1, -1, (-1,) * (1 + count), none, ((-2, -2),) * (1 + count))


def _complete(watermark_ms: int, span_ms: int) -> int:
    """The last time before the next bar can become known."""
    return (watermark_ms // span_ms + 1) * span_ms - 1


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


def _end(last_ms: int, span_ms: int) -> int:
    """End of the bucket that holds the series' last row."""
    return last_ms if last_ms >= NEVER_MS else -(-last_ms // span_ms) * span_ms


def _folded(
    before: Buckets, rows: Bars, spans: I64, first_ts: int, chunk: Chunk[Bars], *, begins: bool
) -> tuple[Buckets, Buckets]:
    """The buckets that are finished now, and those under construction."""
    ends = before.counted[:, :1, START] + spans[:, None] if before.counted.shape[1] else before.counted[:, :0, START]
    if not len(rows) and not bool(((before.held[:, None] > 0) & (ends <= chunk.watermark_ms)).any()):
        return _nothing(len(spans)).buckets, before
    measured = np.array((rows.open, rows.high, rows.low, rows.close, rows.volume, rows.volume_base, rows.buy_volume))
    counted = np.array((rows.ts, rows.kind, rows.trades, rows.volume_est), np.int64)
    found = _fold(*before, measured, counted, spans, first_ts, begins and len(rows) > 0)
    done, pending = _part(*found, spans, chunk.watermark_ms, chunk.last_ms)
    return Buckets(*done), Buckets(*pending)


@compiled
def _fold(
    measured_before: F64, counted_before: I64, held_before: I64, measured_rows: F64, counted_rows: I64, spans: I64,
    first_ts: int, begins: bool,
) -> tuple[F64, I64, I64]:  # fmt: skip
    """The buckets with the real rows in them, added in order; a series that begins gets first ones, still empty."""
    count, room = counted_rows.shape[1], measured_before.shape[1] + 1
    if count:
        crossed = counted_rows[TS, count - 1] // spans[0] - counted_rows[TS, 0] // spans[0] + 1
        room += min(crossed, count)
    measured, counted = np.zeros((len(spans), room, MEASURED)), np.zeros((len(spans), room, COUNTED), np.int64)
    measured[:, : measured_before.shape[1]], counted[:, : measured_before.shape[1]] = measured_before, counted_before
    held = held_before.copy()
    for place in range(len(spans)):
        span, k = spans[place], held[place] - 1
        if begins:
            k += 1
            measured[place, k] = np.nan
            counted[place, k, START], counted[place, k, TRADES] = -(-first_ts // span) * span, ABSENT
        for i in range(count):
            start = counted_rows[TS, i] // span * span
            if counted_rows[KIND, i] != REAL or start < first_ts:
                continue
            if k < 0 or counted[place, k, START] != start:
                k += 1
                counted[place, k, START] = start
            _add(measured[place, k], counted[place, k], measured_rows, counted_rows, i)
        held[place] = k + 1
    return measured, counted, held


@compiled
def _add(measured: F64, counted: I64, measured_rows: F64, counted_rows: I64, i: int) -> None:
    """Add a row to its bucket, in place."""
    if counted[USED] == 0:
        measured[OPEN], measured[HIGH] = measured_rows[OPEN, i], measured_rows[HIGH, i]
        measured[LOW] = measured_rows[LOW, i]
        measured[VOLUME], measured[VOLUME_BASE], measured[BUY_VOLUME] = 0.0, 0.0, 0.0
        counted[TRADES], counted[ESTIMATED] = 0, 0
    measured[HIGH] = max(measured[HIGH], measured_rows[HIGH, i])
    measured[LOW] = min(measured[LOW], measured_rows[LOW, i])
    measured[CLOSE] = measured_rows[CLOSE, i]
    measured[VOLUME] += measured_rows[VOLUME, i]
    measured[VOLUME_BASE] += measured_rows[VOLUME_BASE, i]
    measured[BUY_VOLUME] += measured_rows[BUY_VOLUME, i]
    unknown = counted[TRADES] == ABSENT or counted_rows[ROW_TRADES, i] == ABSENT
    counted[TRADES] = ABSENT if unknown else counted[TRADES] + counted_rows[ROW_TRADES, i]
    counted[ESTIMATED] |= counted_rows[ROW_ESTIMATED, i]
    counted[USED] += 1


@compiled
def _part(
    measured: F64, counted: I64, held: I64, spans: I64, watermark_ms: int, last_ms: int
) -> tuple[tuple[F64, I64, I64], tuple[F64, I64, I64]]:
    """The buckets whose end the watermark has reached, and the rest; an empty one beyond the series' end is neither."""
    done, finished = np.zeros_like(held), np.zeros_like(held)
    for place in range(len(spans)):
        while done[place] < held[place] and counted[place, done[place], START] + spans[place] <= watermark_ms:
            done[place] += 1
    left = held - done
    pending_measured = np.zeros((len(spans), left.max(), MEASURED))
    pending_counted = np.zeros((len(spans), left.max(), COUNTED), np.int64)
    for place in range(len(spans)):
        for k in range(left[place]):
            pending_measured[place, k] = measured[place, done[place] + k]
            pending_counted[place, k] = counted[place, done[place] + k]
        for k in range(done[place]):
            if counted[place, k, USED] > 0 or counted[place, k, START] < last_ms:
                measured[place, finished[place]] = measured[place, k]
                counted[place, finished[place]] = counted[place, k]
                finished[place] += 1
    return (measured, counted, finished), (pending_measured, pending_counted, left)


@lru_cache
def _no_bars() -> Bars:
    return Bars.empty()


def _bars(done: Buckets, place: int, expected: int) -> Bars:
    """Finished buckets of a timeframe as bars; `expected` is the full number of source bars."""
    count = int(done.held[place])
    measured, counted = done.measured[place, :count], done.counted[place, :count]
    used, no = counted[:, USED].copy(), np.zeros(count, np.bool_)
    return Bars(
        ts=counted[:, START].copy(),
        kind=np.where(used > 0, REAL, GAP).astype(np.int8),
        open=measured[:, OPEN].copy(),
        high=measured[:, HIGH].copy(),
        low=measured[:, LOW].copy(),
        close=measured[:, CLOSE].copy(),
        volume=measured[:, VOLUME].copy(),
        volume_base=measured[:, VOLUME_BASE].copy(),
        volume_est=counted[:, ESTIMATED] > 0,
        trades=counted[:, TRADES].copy(),
        buy_volume=measured[:, BUY_VOLUME].copy(),
        bars_used=used,
        coverage=used / expected,
        gap_return=no,
        history=no,
    )
