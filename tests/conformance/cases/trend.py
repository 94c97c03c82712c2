"""The trend engine under the laws: 15m bars with fillers and gaps that live through all states."""

from collections.abc import Sequence

import numpy as np

from lotus.kernel import Chunk
from lotus.records import BarKind, Bars
from lotus.timeframe import Timeframe
from lotus.trend.kernel import Engine, step
from tests.conformance.laws import Case
from tests.lotus.engine_bars import bars_of, wandering

BARS = 1000


def atoms(rng: np.random.Generator) -> Sequence[Chunk[Bars]]:
    """One bar per batch; the first bars are history, about 3 % of all are not real."""
    bars = bars_of(wandering(rng, BARS, Timeframe.M15.ms))
    bars.kind[rng.random(BARS) < 0.02] = BarKind.SYNTHETIC
    gaps = rng.random(BARS) < 0.01
    bars.kind[gaps] = BarKind.GAP
    bars.close[gaps] = np.nan
    bars.history[:200] = True
    return [Chunk(bars.take(slice(i, i + 1)), int(bars.ts[i]) + Timeframe.M15.ms) for i in range(BARS)]


CASE = Case("trend", step, Engine(Timeframe.M15), atoms, state_bytes_max=600_000)
