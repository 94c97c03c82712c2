"""Rows with holes and fillers, history and a live part, a watermark that leads or lags."""

from collections.abc import Sequence

import numpy as np

from lotus.grid import GridConfig, step
from lotus.kernel import NEVER_MS, Chunk
from lotus.records import Bars
from lotus.timeframe import MINUTE_MS, Timeframe
from tests.conformance.cases.rollup import minutes
from tests.conformance.laws import Case


def atoms(rng: np.random.Generator) -> Sequence[Chunk[Bars]]:
    """One row or a watermark each; the series ends before the run does."""
    at = np.flatnonzero(rng.random(400) < np.repeat(rng.choice([1.0, 0.9, 0.3], 20), 20))
    rows = minutes(rng, at, history=60)
    end_ms = int(rows.ts[-1]) + MINUTE_MS
    lead = rng.integers(-3, 2, len(rows)) * MINUTE_MS
    watermark = np.maximum.accumulate(np.minimum(rows.ts + MINUTE_MS + lead, np.append(rows.ts[1:], end_ms)))
    last_ms = end_ms if rng.random() < 0.5 else NEVER_MS
    chunks = [Chunk(rows.take(slice(i, i + 1)), int(mark), last_ms) for i, mark in enumerate(watermark.tolist())]
    for late in (0, 1, 1, 4):
        chunks.append(Chunk(Bars.empty(), end_ms + late * MINUTE_MS, last_ms))
    return chunks


CASE = Case(name="grid", step=step, config=GridConfig(Timeframe.M1), atoms=atoms)
