"""Posture: the engine records of a traded series meet the driver board and get their A and E (posture.md).

    trend --held until the board has passed--> active flags of the own five drivers --> A, E, terms, sentence --> scene
    board --latest record of each slot-------^

- A row is weighed at its bar's close; a driver record known at that very time counts.
- The bucket of that time decides whose bucket flags count; flags older than `staleness_bars` do not.
- Posture has no memory: only the sentence looks back, at the bar before.
- Warm-up rows get a scene with a neutral posture and no texts (replay.md 4).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lotus import asof
from lotus.asof import AsOf, Meeting, Stream
from lotus.columns import I64
from lotus.kernel import Chunk, once
from lotus.posture.board import Slot, known_times, slots
from lotus.posture.change import Inactive, Silence
from lotus.posture.config import PostureConfig
from lotus.posture.drivers import CELLS
from lotus.posture.rendering import NEUTRAL_SITUATION, Situation, written
from lotus.posture.watch import NO_SLOT, Buckets, Cells, cells_of, view
from lotus.records import Board, Trend
from lotus.scene import Scenes
from lotus.timeframe import Timeframe

TREND = "trend"
BOARD = "board"


@dataclass(frozen=True)
class Posture:
    """Posture of one (token, venue, timeframe).

    slots    places on the board, in the board's order; none: nothing waits and everything is neutral
    buckets  (since, ms UTC ascending; bucket or None) of the token; before the first it has none
    """

    timeframe: Timeframe
    config: PostureConfig = PostureConfig()
    slots: tuple[Slot, ...] = ()
    buckets: Buckets = ()

    def __post_init__(self) -> None:
        """Check the schedule."""
        times = [since_ms for since_ms, _ in self.buckets]
        if times != sorted({*times}):
            raise ValueError("a bucket schedule has ascending times, each once")

    @property
    def cells(self) -> Cells:
        """Where the token finds its drivers."""
        return cells_of(self.slots, self.buckets, self.config.horizons, self.config.staleness_bars)


@dataclass(frozen=True)
class PostureState:
    """Rows that wait, driver records in force, and what the bar before was made of."""

    meeting: Meeting[Trend, Board]
    before: Situation


def step(
    config: Posture, state: PostureState | None, arrivals: tuple[tuple[str, Chunk[Any]], ...]
) -> tuple[PostureState, Chunk[Scenes]]:
    """One scene for each engine record that the board has passed.

    arrivals  ("trend", Chunk[Trend]) of the series and ("board", Chunk[Board]), in any interleaving
    source    posture.md 5-11, replay.md 3, 4, 5
    """
    meeting, met = asof.step(_join(config), state.meeting if state else None, arrivals)
    before = state.before if state else NEUTRAL_SITUATION
    trend = met.left.rows
    scenes = asof.nothing(Scenes)
    if len(trend):
        neutral = np.zeros(len(trend))
        seen = view(_cells(config), met.known, trend.history, met.right, met.row, (neutral, neutral))
        before, posture = written(
            config.config, config.timeframe, before, trend.ts, met.right, seen, (neutral, neutral)
        )
        scenes = Scenes(trend, posture)
    return PostureState(meeting, before), Chunk(scenes, met.left.watermark_ms, met.left.last_ms)


@once
def _cells(config: Posture) -> Cells:
    return config.cells


@once
def _join(config: Posture) -> AsOf[Trend, Board]:
    return AsOf(
        Stream(TREND, Trend, open_times, config.timeframe.ms),
        Stream(BOARD, Board, known_times),
        slots,
        len(config.slots),
    )


def open_times(rows: Trend) -> I64:
    """Start of each bar, ms UTC."""
    return rows.ts


def inactive(config: Posture, close_ms: int, latest: Mapping[str, tuple[int, bool]]) -> tuple[Inactive, ...]:
    """Drivers and horizons that could not signal at the close of a position's bar.

    close_ms  close of that bar, ms UTC
    latest    by `Slot.key`: (close of its latest record known then, ms UTC; whether the engine had a state)
    source    posture.md 6.2, 11
    """
    cells = config.cells
    bucket_row = int(cells.bucket_rows(np.array([close_ms], dtype=np.int64))[0])
    bucket = config.buckets[bucket_row - 1][1] if bucket_row else None
    found = []
    for (driver, horizon), place, limit_ms in zip(CELLS, cells.slot[bucket_row], cells.limit_ms, strict=True):
        if place == NO_SLOT:
            why = Silence.NO_BUCKET if driver.series(bucket) is None else Silence.NO_SERIES
            found.append(Inactive(driver, horizon, why))
        elif silence := _silence(latest.get(config.slots[place].key), close_ms - int(limit_ms)):
            found.append(Inactive(driver, horizon, silence))
    return tuple(found)


def _silence(record: tuple[int, bool] | None, oldest_ms: int) -> Silence | None:
    if record is None:
        return Silence.NO_RECORD
    known_ms, has_state = record
    if known_ms < oldest_ms:
        return Silence.STALE
    return None if has_state else Silence.NO_STATE
