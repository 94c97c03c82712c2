"""Samples every few minutes with impossible levels, jumps and silences."""

from collections.abc import Sequence

import numpy as np

from lotus.dominance import DominanceConfig, step
from lotus.kernel import Chunk
from lotus.records import Samples
from lotus.timeframe import MINUTE_MS, Timeframe
from tests.conformance.laws import Case

BEGIN = 28_333_337


def atoms(rng: np.random.Generator) -> Sequence[Chunk[Samples]]:
    """One sample each, then a watermark."""
    count = 300
    pause = np.where(rng.random(count) < 0.05, rng.integers(60, 300, count), rng.integers(1, 20, count))
    ts = (BEGIN + np.cumsum(pause)) * MINUTE_MS
    level = 50 + np.cumsum(rng.normal(0, 0.3, count))
    level[rng.random(count) < 0.05] += 10
    level[rng.random(count) < 0.02] = np.nan
    rows = Samples(ts, level)
    watermark = np.maximum.accumulate(ts - rng.integers(0, 90, count) * MINUTE_MS)
    chunks = [Chunk(rows.take(slice(i, i + 1)), int(watermark[i])) for i in range(count)]
    return [*chunks, Chunk(Samples.empty(), int(ts[-1]) + Timeframe.D1.ms)]


CASE = Case(name="dominance", step=step, config=DominanceConfig(Timeframe.H1, 2.0, Timeframe.H1.ms), atoms=atoms)
