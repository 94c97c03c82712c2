"""Pairing under the laws of kernels: warm-up rows first, both sides in a random interleaving."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lotus import pairing
from lotus.kernel import Chunk
from lotus.posture import kernel as posture
from lotus.posture.kernel import Posture
from lotus.records import Postures
from lotus.timeframe import Timeframe
from tests.conformance.cases.asof import arrivals, interleaved
from tests.conformance.cases.board import driver_atoms
from tests.conformance.laws import Case
from tests.lotus.posture_vectors import HOUR

CONFIG = Posture(Timeframe.M5)
SPAN_MS = 4 * HOUR


def atoms(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """A traded series and the postures of its bars that are no warm-up."""
    trend = driver_atoms(rng, pairing.TREND, Timeframe.M5, SPAN_MS, history_ms=HOUR // 2)
    return interleaved(rng, [trend, [_postures(chunk) for _, chunk in trend]])


def _postures(chunk: Chunk[Any]) -> tuple[str, Chunk[Postures]]:
    _, scenes = posture.step(CONFIG, None, ((posture.TREND, chunk),))
    return pairing.POSTURE, Chunk(scenes.rows.posture.take(~chunk.rows.history), chunk.watermark_ms)


CASE = Case("pairing", pairing.step, CONFIG, atoms, arrivals)
