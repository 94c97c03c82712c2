"""One record per bucket: real, synthetic or gap (market-data.md 6, replay.md 2, 3).

    raw rows    R   R   f   .   .   R   .   W        R real, f filler, . nothing, W watermark
    records     R   R   S   G   G   R'  S            S synthetic, G gap, R' real with gap_return

Rules
- Before the first real row there is nothing. Afterwards every bucket gets exactly one record.
- A bucket without a real row is missing. The first missing one is flat at the previous close, further ones are gaps. A
  filler is a missing bucket; it only says that the series is alive there.
- A missing bucket is decided when a later row shows it or when the watermark reaches its end, but never beyond the end
  of the series.
- A missing bucket is history exactly if the latest row at or before it is: so the seam between history and the first
  live row is history, whichever of the two ways decided it.
- A real row after at least one gap record carries `gap_return`; the return is not spread.
"""

from dataclasses import dataclass, replace

import numpy as np

from lotus.columns import ABSENT, F64, I64, Flags
from lotus.kernel import Chunk
from lotus.records import BarKind, Bars
from lotus.rollup import fresh
from lotus.timeframe import Timeframe

REAL, GAP = int(BarKind.REAL), int(BarKind.GAP)


@dataclass(frozen=True, slots=True)
class GridState:
    """Where the records of a series stand.

    last_ts   start of the last bucket that has a record, ms UTC
    close     last real close
    missing   number of missing buckets since the last real row
    history   whether the latest row, filler or real, is history
    """

    last_ts: int
    close: float
    missing: int
    history: bool


@dataclass(frozen=True)
class GridConfig:
    """The length of a bucket."""

    timeframe: Timeframe


def step(config: GridConfig, state: GridState | None, chunk: Chunk[Bars]) -> tuple[GridState | None, Chunk[Bars]]:
    """Put rows on the grid of their timeframe.

    Rows: `kind` REAL is a traded bar, any other kind a filler; `ts` on the grid. The state stays None until the first
    real row. Watermark and end pass through.
    """
    state, rows = _begun(state, chunk.rows, config.timeframe.ms)
    if state is None:
        return None, Chunk(Bars.empty(), chunk.watermark_ms, chunk.last_ms)
    last_row_ts = int(rows.ts[-1]) if len(rows) else state.last_ts
    complete_ms = min(chunk.watermark_ms, chunk.last_ms)
    last_ts = max(last_row_ts, complete_ms // config.timeframe.ms * config.timeframe.ms - config.timeframe.ms)
    count = (last_ts - state.last_ts) // config.timeframe.ms
    if not count:
        return state, Chunk(Bars.empty(), chunk.watermark_ms, chunk.last_ms)
    if count == len(rows) and bool((rows.kind == REAL).all()):
        records = _unbroken(state, rows)
        following = GridState(last_ts, float(records.close[-1]), 0, bool(rows.history[-1]))
        return following, Chunk(records, chunk.watermark_ms, chunk.last_ms)
    records = _filled(config, state, rows, count)
    return _following(state, rows, records), Chunk(records, chunk.watermark_ms, chunk.last_ms)


def _begun(state: GridState | None, rows: Bars, span_ms: int) -> tuple[GridState | None, Bars]:
    """The fresh rows from the first real one on, and the state just before them."""
    if state is not None:
        return state, fresh(rows, state.last_ts)
    real = np.flatnonzero(rows.kind == REAL)
    if not len(real):
        return None, rows
    rows = fresh(rows.take(slice(int(real[0]), None)), int(rows.ts[real[0]]) - span_ms)
    return GridState(int(rows.ts[0]) - span_ms, float("nan"), 0, bool(rows.history[0])), rows


def _unbroken(state: GridState, rows: Bars) -> Bars:
    """Real rows in every bucket: only the first one can follow a gap."""
    if state.missing <= 1 and not rows.gap_return.any():
        return rows
    gap_return = np.zeros(len(rows), np.bool_)
    gap_return[:1] = state.missing > 1
    return replace(rows, gap_return=gap_return)


def _filled(config: GridConfig, state: GridState, rows: Bars, count: int) -> Bars:
    """All records of the next `count` buckets."""
    span_ms = config.timeframe.ms
    bucket = np.arange(count)
    place = (rows.ts - state.last_ts) // span_ms - 1
    assert bool(np.all(rows.ts % span_ms == 0)), "rows lie on the grid of their timeframe"
    is_real = rows.kind == REAL
    real_place = place[is_real]
    source = _latest(real_place, count)  # number of the latest real row, -1 if it lies before this batch
    since_real = bucket - np.where(source >= 0, real_place[source] if len(real_place) else 0, -1 - state.missing)
    kind = np.minimum(since_real, GAP)  # 0 real, 1 synthetic, 2 and more a gap
    return _records(state, rows.take(is_real), _history(state, rows, place, count), kind, source, bucket, span_ms)


def _latest(place: I64, count: int) -> I64:
    """For each of `count` buckets the number of the latest place at or before it, -1 if there is none."""
    latest = np.full(count, -1, np.int64)
    latest[place] = np.arange(len(place))
    return np.maximum.accumulate(latest)


def _history(state: GridState, rows: Bars, place: I64, count: int) -> Flags:
    """Whether the latest row of any kind is history, for each bucket."""
    if not state.history and not rows.history.any():
        return np.zeros(count, np.bool_)
    return np.concatenate(([state.history], rows.history))[_latest(place, count) + 1]


def _records(state: GridState, real: Bars, history: Flags, kind: I64, source: I64, bucket: I64, span_ms: int) -> Bars:
    is_real, is_gap = kind == REAL, kind == GAP
    at = np.flatnonzero(is_real)
    price = np.concatenate(([state.close], real.close))[source + 1]  # flat at the previous close
    price[is_gap] = np.nan
    nothing = np.where(is_gap, np.nan, 0.0)
    gap_return = np.zeros(len(kind), np.bool_)
    gap_return[1:] = is_real[1:] & is_gap[:-1]
    gap_return[:1] = is_real[:1] & (state.missing > 1)

    def column(background: F64, values: F64) -> F64:
        merged = background.copy()
        merged[at] = values
        return merged

    bars_used, trades = np.zeros(len(kind), np.int64), np.where(is_gap, ABSENT, 0)
    bars_used[at], trades[at] = real.bars_used, real.trades
    volume_est = np.zeros(len(kind), np.bool_)
    volume_est[at] = real.volume_est
    return Bars(
        ts=state.last_ts + (bucket + 1) * span_ms,
        kind=kind.astype(np.int8),
        open=column(price, real.open),
        high=column(price, real.high),
        low=column(price, real.low),
        close=price,
        volume=column(nothing, real.volume),
        volume_base=column(nothing, real.volume_base),
        volume_est=volume_est,
        trades=trades,
        buy_volume=column(nothing, real.buy_volume),
        bars_used=bars_used,
        coverage=column(np.zeros(len(kind)), real.coverage),
        gap_return=gap_return,
        history=history,
    )


def _following(state: GridState, rows: Bars, records: Bars) -> GridState:
    real = np.flatnonzero(records.kind == REAL)
    return GridState(
        last_ts=int(records.ts[-1]),
        close=float(records.close[real[-1]]) if len(real) else state.close,
        missing=len(records) - 1 - int(real[-1]) if len(real) else state.missing + len(records),
        history=bool(rows.history[-1]) if len(rows) else state.history,
    )
