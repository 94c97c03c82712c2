"""The driver board under the laws of kernels."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lotus.kernel import Chunk
from lotus.posture import board
from lotus.posture.board import BoardConfig, Slot
from lotus.timeframe import Timeframe
from tests.conformance.cases.asof import arrivals, interleaved
from tests.conformance.laws import Case
from tests.lotus.posture_vectors import HOUR, records

SLOTS = (
    Slot("dom:USDT", Timeframe.H1),
    Slot("idx:bucket:mid", Timeframe.M5),
    Slot("idx:bucket:nano", Timeframe.M5),
    Slot("BTC", Timeframe.M15),
    Slot("BTC", Timeframe.H1),
)


def driver_atoms(
    rng: np.random.Generator, name: str, timeframe: Timeframe, span_ms: int, history_ms: int = 0
) -> list[tuple[str, Chunk[Any]]]:
    """Records of one series with gaps, bar by bar; some promises come late."""
    atoms: list[tuple[str, Chunk[Any]]] = []
    for close_ms in range(timeframe.ms, span_ms + 1, timeframe.ms):
        if rng.random() < 0.1:
            continue
        letter = str(rng.choice(list("....bteB?")))
        rows = records(timeframe, close_ms, letter, history=close_ms <= history_ms)
        watermark_ms = close_ms if rng.random() < 0.8 else close_ms - 1
        atoms.append((name, Chunk(rows, watermark_ms)))
    atoms.append((name, Chunk(atoms[0][1].rows.take(slice(0)), span_ms)))
    return atoms


def atoms(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Every slot's records in a random interleaving."""
    return interleaved(rng, [driver_atoms(rng, slot.key, slot.timeframe, 6 * HOUR) for slot in SLOTS])


CASE = Case("board", board.step, BoardConfig(SLOTS), atoms, arrivals)
