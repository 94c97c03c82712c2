"""Minutes with holes, fillers and absent volumes, history before them, a watermark that leads or lags."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lotus.columns import ABSENT, I64
from lotus.kernel import NEVER_MS, Chunk
from lotus.records import BarKind, Bars
from lotus.rollup import Raw, RollupConfig, step
from lotus.timeframe import MINUTE_MS, Timeframe
from tests.conformance.laws import Case

BEGIN = 28_333_337  # a minute that begins no coarser bucket


def minutes(rng: np.random.Generator, at: I64, *, history: int = 0) -> Bars:
    """Random rows in minutes BEGIN + `at`, a tenth of them fillers; the first `history` minutes are warm-up."""
    count = len(at)
    prices = np.sort(rng.uniform(1, 2, (count, 4)), axis=1)
    no = np.zeros(count, np.bool_)
    return Bars(
        ts=(BEGIN + at) * MINUTE_MS,
        kind=np.where(rng.random(count) < 0.1, BarKind.SYNTHETIC, BarKind.REAL).astype(np.int8),
        open=prices[:, 1],
        high=prices[:, 3],
        low=prices[:, 0],
        close=prices[:, 2],
        volume=rng.lognormal(8, 3, count),
        volume_base=rng.lognormal(3, 3, count),
        volume_est=rng.random(count) < 0.1,
        trades=np.where(rng.random(count) < 0.05, ABSENT, rng.integers(1, 99, count)),
        buy_volume=np.where(rng.random(count) < 0.05, np.nan, rng.lognormal(7, 3, count)),
        bars_used=np.ones(count, np.int64),
        coverage=np.ones(count),
        gap_return=no,
        history=at < history,
    )


def atoms(rng: np.random.Generator) -> Sequence[Raw]:
    """History of three timeframes with the first watermark, then one minute each, then watermarks."""
    at = np.flatnonzero(rng.random(900) < np.repeat(rng.choice([1.0, 0.9, 0.2, 0.0], 18), 50))
    rows = minutes(rng, at)
    first, end_ms = int(rows.ts[0]), int(rows.ts[-1]) + MINUTE_MS
    history = []
    for timeframe in (Timeframe.M1, Timeframe.M15, Timeframe.D1):
        warm_up = minutes(rng, np.arange(7))
        latest = -(-first // timeframe.ms) * timeframe.ms
        history.append((timeframe, replace(warm_up, ts=latest - np.arange(7, 0, -1) * timeframe.ms)))
    lead = rng.integers(-30, 2, len(rows)) * MINUTE_MS
    watermark = np.maximum.accumulate(np.minimum(rows.ts + MINUTE_MS + lead, np.append(rows.ts[1:], end_ms)))
    last_ms = end_ms if rng.random() < 0.5 else NEVER_MS
    batches = [Raw(Chunk(Bars.empty(), -1, last_ms), tuple(history))]
    for i, mark in enumerate(watermark.tolist()):
        batches.append(Raw(Chunk(rows.take(slice(i, i + 1)), mark, last_ms)))
    for late in (0, 3, 60, 1500):
        batches.append(Raw(Chunk(Bars.empty(), end_ms + late * MINUTE_MS, last_ms)))
    return batches


def join(batches: Sequence[Raw]) -> Raw:
    """One batch with the rows and the history of all."""
    history: dict[Timeframe, list[Bars]] = {}
    for batch in batches:
        for timeframe, warm_up in batch.history:
            history.setdefault(timeframe, []).append(warm_up)
    joined = tuple((timeframe, Bars.concat(parts)) for timeframe, parts in history.items())
    return Raw(Chunk.join([batch.rows for batch in batches]), joined)


CASE = Case(name="rollup", step=step, config=RollupConfig(Timeframe.M1), atoms=atoms, join=join)
