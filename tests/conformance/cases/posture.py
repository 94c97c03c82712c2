"""Posture under the laws of kernels: drivers come and go, the bucket changes, sources go stale."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

from lotus.columns import Flags
from lotus.kernel import Chunk
from lotus.posture import board, kernel
from lotus.posture.board import BoardConfig
from lotus.posture.config import Horizons, PostureConfig
from lotus.posture.kernel import BOARD, TREND, Posture
from lotus.records import Board
from lotus.timeframe import Timeframe
from tests.conformance.cases.asof import arrivals, interleaved
from tests.conformance.cases.board import SLOTS, driver_atoms
from tests.conformance.laws import Case
from tests.lotus.posture_vectors import HOUR

HORIZONS = Horizons(micro=Timeframe.M5, meso=Timeframe.M15, macro=Timeframe.H1)
CONFIG = Posture(
    Timeframe.M5, PostureConfig(horizons=HORIZONS), SLOTS, ((HOUR, "mid"), (2 * HOUR, "nano"), (4 * HOUR, None))
)
SPAN_MS = 5 * HOUR


def board_atoms(rng: np.random.Generator) -> list[tuple[str, Chunk[Board]]]:
    """The board cut between instants: rows of one time stay together."""
    streams = [driver_atoms(rng, slot.key, slot.timeframe, SPAN_MS) for slot in SLOTS]
    everything = tuple(arrival for stream in streams for arrival in stream)
    _, chunk = board.step(BoardConfig(SLOTS), None, everything)
    rows = chunk.rows
    found: list[tuple[str, Chunk[Board]]] = []
    for known_ms, _ in groupby(rows.known_ts.tolist()):
        same: Flags = rows.known_ts == known_ms
        found.append((BOARD, Chunk(rows.take(same), known_ms)))
    found.append((BOARD, Chunk(Board.empty(), SPAN_MS)))
    return found


def atoms(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """A traded series with warm-up rows and the board, in a random interleaving."""
    trend = driver_atoms(rng, TREND, Timeframe.M5, SPAN_MS, history_ms=HOUR // 2)
    return interleaved(rng, [trend, board_atoms(rng)])


CASE = Case("posture", kernel.step, CONFIG, atoms, arrivals)
