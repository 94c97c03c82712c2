"""Samples of a market share become bars (posture.md 6.4, replay.md 5, market-data.md 11).

    samples        *    *     *|  *    x  *|           |*            x refused
    bars               open    |   open    |  missing  |   open = close of the bar before; close = last sample
                   start < s <= end

Rules
- A sample at s belongs to the bar with start < s <= end: one stamped 00:00 closes the day before. The first bar opens
  at its own close. High and low are the extremes of open and samples. A bar with a sample is real although its volume
  is 0.
- A level outside (0, 100), or more than `max_jump` away from the last accepted one within `jump_within_ms`, is refused
  with a reason and never becomes the reference.
- A bar is emitted when the watermark reaches its end. `lotus/grid.py` runs behind it.
"""

from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from lotus.columns import ABSENT
from lotus.kernel import NEVER_MS, Chunk
from lotus.records import BarKind, Bars, Rejects, Samples
from lotus.timeframe import Timeframe

OUT_OF_RANGE = "dominance_range"
JUMP = "dominance_jump"
WHOLE_PERCENT = 100.0


@dataclass(frozen=True)
class DominanceConfig:
    """The timeframe of the bars and what a sample may be (market-data.md 11, replay.md 5).

    max_jump        largest change that is believed, percentage points
    jump_within_ms  between samples further apart any change is believed
    """

    timeframe: Timeframe
    max_jump: float
    jump_within_ms: int

    def __post_init__(self) -> None:
        """Check that the limits can hold."""
        if not self.max_jump > 0:
            raise ValueError(f"max_jump must be above 0, got {self.max_jump}")
        if self.jump_within_ms < 0:
            raise ValueError(f"jump_within_ms must not be negative, got {self.jump_within_ms}")


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bar under construction: extremes and last of its samples, in percent."""

    start_ms: int
    high: float
    low: float
    close: float


@dataclass(frozen=True, slots=True)
class DominanceState:
    """What lives between batches.

    last_ts          time of the latest sample, refused or not, ms UTC; -1 before the first
    read             number of samples so far
    reference_ts     time of the last accepted sample, -1 before the first
    reference        its level, percent
    close            close of the last bar sent, NaN before the first
    buckets          bars that the watermark has not reached, oldest first
    """

    last_ts: int
    read: int
    reference_ts: int
    reference: float
    close: float
    buckets: tuple[Bucket, ...]


@dataclass(frozen=True, slots=True)
class DominanceOutputs:
    """Finished bars and refused samples."""

    bars: Chunk[Bars]
    rejects: Rejects


def step(
    config: DominanceConfig, state: DominanceState | None, chunk: Chunk[Samples]
) -> tuple[DominanceState, DominanceOutputs]:
    """Advance by samples, oldest first; one that is not after the last was seen before.

    The position of a reject is the number of the sample in its series, from 0.
    """
    state = state or DominanceState(-1, 0, -1, np.nan, np.nan, ())
    span_ms = config.timeframe.ms
    refused: list[tuple[int, int, str]] = []
    buckets = list(state.buckets)
    last_ts, read = state.last_ts, state.read
    reference_ts, reference = state.reference_ts, state.reference
    for ts, level in zip(chunk.rows.ts.tolist(), chunk.rows.level.tolist(), strict=True):
        if ts <= last_ts:
            continue
        reason = _refusal(config, ts, level, reference_ts, reference)
        if reason:
            refused.append((read, ts, reason))
        else:
            reference_ts, reference = ts, level
            _add(buckets, (ts - 1) // span_ms * span_ms, level)
        last_ts, read = ts, read + 1
    done = list(takewhile(lambda bucket: bucket.start_ms + span_ms <= chunk.watermark_ms, buckets))
    bars = _bars(done, state.close)
    close = done[-1].close if done else state.close
    following = DominanceState(last_ts, read, reference_ts, reference, close, tuple(buckets[len(done) :]))
    end_ms = chunk.last_ms if chunk.last_ms >= NEVER_MS else -(-chunk.last_ms // span_ms) * span_ms
    return following, DominanceOutputs(Chunk(bars, chunk.watermark_ms, end_ms), _rejects(refused))


def _refusal(config: DominanceConfig, ts: int, level: float, reference_ts: int, reference: float) -> str:
    """Why a sample is refused, or nothing; a level that is not a number is out of range."""
    if not 0.0 < level < WHOLE_PERCENT:
        return OUT_OF_RANGE
    is_near = reference_ts >= 0 and ts - reference_ts <= config.jump_within_ms
    return JUMP if is_near and abs(level - reference) > config.max_jump else ""


def _add(buckets: list[Bucket], start_ms: int, level: float) -> None:
    if buckets and buckets[-1].start_ms == start_ms:
        before = buckets.pop()
        buckets.append(Bucket(start_ms, max(before.high, level), min(before.low, level), level))
    else:
        buckets.append(Bucket(start_ms, level, level, level))


def _bars(done: list[Bucket], close_before: float) -> Bars:
    """Finished buckets as bars, each opened at the close before it."""
    count = len(done)
    closes = [bucket.close for bucket in done]
    opens = [close_before, *closes[:-1]][:count]
    if done and np.isnan(close_before):
        opens[0] = closes[0]
    return Bars(
        ts=np.array([bucket.start_ms for bucket in done], np.int64),
        kind=np.full(count, BarKind.REAL, np.int8),
        open=np.array(opens, np.float64),
        high=np.array([max(o, bucket.high) for o, bucket in zip(opens, done, strict=True)], np.float64),
        low=np.array([min(o, bucket.low) for o, bucket in zip(opens, done, strict=True)], np.float64),
        close=np.array(closes, np.float64),
        volume=np.zeros(count),
        volume_base=np.zeros(count),
        volume_est=np.zeros(count, np.bool_),
        trades=np.full(count, ABSENT, np.int64),
        buy_volume=np.full(count, np.nan),
        bars_used=np.ones(count, np.int64),
        coverage=np.ones(count),
        gap_return=np.zeros(count, np.bool_),
        history=np.zeros(count, np.bool_),
    )


def _rejects(refused: list[tuple[int, int, str]]) -> Rejects:
    position, ts, reason = zip(*refused, strict=True) if refused else ((), (), ())
    return Rejects(np.array(position, np.int64), np.array(ts, np.int64), np.array(reason, np.object_))
