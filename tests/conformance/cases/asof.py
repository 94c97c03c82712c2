"""The as-of join and the merge under the laws of kernels."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from lotus import asof
from lotus.asof import AsOf, Meeting, Merge, Stream
from lotus.columns import I64, Columns, Kind, column
from lotus.kernel import Chunk
from tests.conformance.laws import Case

LANES = 3


@dataclass(frozen=True, slots=True)
class Marks(Columns):
    """Rows that can be told apart."""

    ts: I64 = column(Kind.TIME, "event time")
    lane: I64 = column(Kind.INT, "lane")
    number: I64 = column(Kind.INT, "identity")


def times(rows: Marks) -> I64:
    """Event time."""
    return rows.ts


def lanes(rows: Marks) -> I64:
    """Lane."""
    return rows.lane


JOIN = AsOf(Stream("left", Marks, times, 60), Stream("right", Marks, times), lanes, LANES)
MERGE = Merge((Stream("slow", Marks, times, 60), Stream("fast", Marks, times), Stream("odd", Marks, times, 7)))


def joined(
    config: AsOf[Marks, Marks], state: Meeting[Marks, Marks] | None, arrivals: tuple[tuple[str, Chunk[Any]], ...]
) -> tuple[Meeting[Marks, Marks], dict[str, Any]]:
    """The join with the rows in force written out, lane by lane."""
    state, met = asof.step(config, state, arrivals)
    nobody = Marks(*(np.array([-1], dtype=np.int64) for _ in range(3)))
    rows = Marks.concat([*met.right, nobody])
    return state, {"left": met.left, **{f"lane {k}": rows.take(met.row[:, k]) for k in range(LANES)}}


def stream_atoms(rng: np.random.Generator, name: str, span: int, n_lanes: int) -> list[tuple[str, Chunk[Marks]]]:
    """Rows of equal time in one chunk, and promises between them."""
    atoms: list[tuple[str, Chunk[Marks]]] = []
    clock = 0
    while clock < span:
        clock += int(rng.integers(1, 40))
        width = int(rng.integers(1, n_lanes + 1))
        some = np.sort(rng.permutation(n_lanes)[:width]).astype(np.int64)
        rows = Marks(np.full(width, clock), some, rng.integers(0, 2**40, width))
        watermark = clock if rng.random() < 0.5 else clock - 1
        atoms.append((name, Chunk(rows, watermark)))
    atoms.append((name, Chunk(Marks.empty(), 10 * span)))
    return atoms


def interleaved(rng: np.random.Generator, streams: Sequence[list[Any]]) -> list[tuple[Any, ...]]:
    """One arrival per batch; each stream keeps its order."""
    waiting = [list(stream) for stream in streams]
    batches: list[tuple[Any, ...]] = []
    while any(waiting):
        ready = [stream for stream in waiting if stream]
        batches.append((ready[int(rng.integers(len(ready)))].pop(0),))
    return batches


def join_atoms(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Two streams in a random interleaving."""
    return interleaved(rng, [stream_atoms(rng, "left", 600, 1), stream_atoms(rng, "right", 600, LANES)])


def merge_atoms(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Three streams in a random interleaving."""
    return interleaved(rng, [stream_atoms(rng, stream.name, 500, 1) for stream in MERGE.streams])


def arrivals(batches: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Several batches of arrivals as one."""
    return tuple(chain.from_iterable(batches))


CASES = (
    Case("asof", joined, JOIN, join_atoms, arrivals),
    Case("merge", asof.merge, MERGE, merge_atoms, arrivals),
)
