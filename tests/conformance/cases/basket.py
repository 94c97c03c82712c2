"""Five tokens with gaps that arrive one after the other, at different speed, under changing rosters."""

from collections.abc import Sequence

import numpy as np

from lotus.basket import BasketConfig, Roster, step
from lotus.grid import GridConfig
from lotus.grid import step as grid_step
from lotus.kernel import Chunk
from lotus.records import Bars
from lotus.timeframe import MINUTE_MS, Timeframe
from tests.conformance.cases.rollup import BEGIN, minutes
from tests.conformance.laws import Case

TOKENS = ("A", "B", "C", "D", "E")
CONFIG = BasketConfig(
    name="idx:test",
    timeframe=Timeframe.M1,
    minimum=2,
    roster=(
        Roster(0, ("A", "B", "C")),
        Roster((BEGIN + 60) * MINUTE_MS, TOKENS),
        Roster((BEGIN + 90) * MINUTE_MS, ("B", "D", "E")),
    ),
)
Arrivals = tuple[tuple[str, Chunk[Bars]], ...]


def atoms(rng: np.random.Generator) -> Sequence[Arrivals]:
    """One grid record of one token each; every token keeps its own order, the tokens overtake each other."""
    queues: list[list[tuple[str, Chunk[Bars]]]] = []
    for token in TOKENS:
        at = np.flatnonzero(rng.random(150) < np.repeat(rng.choice([1.0, 0.9, 0.5], 10), 15))
        rows = minutes(rng, at, history=20)
        end_ms = (BEGIN + 150) * MINUTE_MS
        _, grid = grid_step(GridConfig(Timeframe.M1), None, Chunk(rows, end_ms))
        singles = [grid.rows.take(slice(i, i + 1)) for i in range(len(grid.rows))]
        queues.append([(token, Chunk(row, int(row.ts[0]) + MINUTE_MS)) for row in singles])
        queues[-1].append((token, Chunk(Bars.empty(), end_ms)))
    arrivals: list[Arrivals] = []
    while any(queues):
        queue = queues[int(rng.choice(np.flatnonzero([len(queue) for queue in queues])))]
        arrivals.append((queue.pop(0),))
    return arrivals


def join(batches: Sequence[Arrivals]) -> Arrivals:
    """One batch with the chunks of each token joined."""
    chunks: dict[str, list[Chunk[Bars]]] = {}
    for batch in batches:
        for token, chunk in batch:
            chunks.setdefault(token, []).append(chunk)
    return tuple((token, Chunk.join(parts)) for token, parts in chunks.items())


CASE = Case(name="basket", step=step, config=CONFIG, atoms=atoms, join=join)
