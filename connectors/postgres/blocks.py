"""Rows of many lanes laid back to back: a live batch is one row each of hundreds of lanes.

One call over a block costs what one call over a lane costs, so small neighbours are joined; large batches stay what
they are, because copying them would cost more.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from connectors.postgres.copy_rows import BLOCK_ROWS
from connectors.postgres.marks import Stream
from lotus.columns import I64, Columns

LARGE_ROWS = 64  # copying them costs more than a call


class Block(NamedTuple):
    """Rows of one noun.

    streams  each once
    counts   rows of each
    ends     int64[streams], behind the last row of each
    """

    streams: Sequence[Stream]
    counts: Sequence[int]
    ends: I64
    rows: Columns


def block_of(items: Sequence[tuple[Stream, Columns]]) -> Block:
    """All items as one block."""
    streams, parts = zip(*items, strict=True)
    counts = list(map(len, parts))
    return Block(
        streams, counts, np.array(counts).cumsum(), parts[0] if len(parts) == 1 else type(parts[0]).concat(parts)
    )


def blocks_of(items: Iterable[tuple[Stream, Columns]]) -> Iterator[Block]:
    """Items of one noun as blocks in their order; a block of several streams has at most BLOCK_ROWS rows."""
    waiting: list[tuple[Stream, Columns]] = []
    streams: set[Stream] = set()
    rows = 0
    for stream, part in items:
        large = len(part) > LARGE_ROWS
        if waiting and (large or stream in streams or rows + len(part) > BLOCK_ROWS):
            yield block_of(waiting)
            waiting, rows = [], 0
            streams.clear()
        if large:
            yield block_of([(stream, part)])
        else:
            waiting.append((stream, part))
            streams.add(stream)
            rows += len(part)
    if waiting:
        yield block_of(waiting)
