"""Ticks in disorder: late, early, repeated, impossible ones, and a clock that stops for a while."""

from collections.abc import Sequence

import numpy as np

from lotus.bar import BarConfig, step
from lotus.kernel import Chunk
from lotus.records import Ticks
from tests.conformance.laws import Case

BEGIN_MS = 1_700_000_040_000
SECONDS = 420
TICKS = 900


def atoms(rng: np.random.Generator) -> Sequence[Chunk[Ticks]]:
    """Single ticks and heartbeats in the order of arrival; the first heartbeat comes after some ticks."""
    arrival = np.sort(rng.integers(0, SECONDS * 1000, TICKS))
    lag = np.where(rng.random(TICKS) < 0.8, rng.integers(0, 300, TICKS), rng.integers(-7000, 150_000, TICKS))
    ts = np.maximum(BEGIN_MS + arrival - lag, 0)
    trade_id = np.arange(TICKS)
    again = np.flatnonzero(rng.random(TICKS) < 0.15)
    source = np.maximum(again - rng.integers(1, 60, len(again)), 0)
    ts[again], trade_id[again] = ts[source], trade_id[source]
    clock = BEGIN_MS + np.arange(3, SECONDS) * 1000
    clock = clock[(clock < BEGIN_MS + 100_000) | (clock > BEGIN_MS + 130_000)]
    at = np.searchsorted(BEGIN_MS + arrival, clock)
    seq = np.arange(TICKS)
    seq[3::50], seq[4::50] = seq[4::50].copy(), seq[3::50].copy()
    rows = Ticks(
        ts=np.insert(ts, at, clock),
        heartbeat=np.insert(np.zeros(TICKS, np.bool_), at, True),
        price_e8=np.insert(rng.integers(1, 10**13, TICKS), at, 0),
        size_e8=np.insert(np.maximum(rng.integers(-(10**10), 10**12, TICKS), 0), at, 0),
        side=np.insert(rng.integers(-1, 2, TICKS).astype(np.int8), at, -1),
        seq=np.insert(seq, at, 0),
        trade_id=np.insert(trade_id, at, 0),
    )
    return [Chunk(rows.take(slice(i, i + 1)), -1) for i in range(len(rows))]


CASE = Case(name="bar", step=step, config=BarConfig(), atoms=atoms)
