"""A live batch as it is encoded: its items in their order, and the same rows noun by noun.

items    bar A | trend A | bar B | trend B | ...      messages keep this order within their partition
blocks   bar: A B ...   trend: A B ...                one call encodes what hundreds of calls would
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from connectors.postgres.blocks import block_of
from connectors.postgres.copy_rows import BLOCK_ROWS
from connectors.postgres.marks import Stream
from connectors.postgres.outbox import Joined, Post
from connectors.postgres.units import Target
from lotus.columns import I64, Columns
from lotus.lane import Lane


@dataclass(frozen=True, slots=True)
class Path:
    """What is known of one noun and lane."""

    stream: Stream
    lane: Lane
    target: Target | None
    promise: Target | None


class Window:
    """Some items of a batch in their order, and the same rows noun by noun. No stream is there twice."""

    def __init__(self, items: list[tuple[Path, Columns]]) -> None:
        """Join the rows of each noun."""
        self._items = items
        self._places: list[int] = []  # of each item in the block of its noun
        nouns: dict[str, list[tuple[Stream, Columns]]] = {}
        for path, rows in items:
            joined = nouns.setdefault(path.stream.noun, [])
            self._places.append(len(joined))
            joined.append((path.stream, rows))
        self.blocks = {noun: block_of(joined) for noun, joined in nouns.items()}
        self.skips: dict[str, I64] = {}  # per noun and stream, rows that are written; known after the tables

    def posts(self) -> list[Post]:
        """What is to be published of it, in the order of the items."""
        joined = {noun: Joined(noun, block.rows) for noun, block in self.blocks.items()}
        firsts = {noun: [0, *block.ends.tolist()] for noun, block in self.blocks.items()}
        skips = {noun: skip.tolist() for noun, skip in self.skips.items()}
        return [
            Post(path.lane, path.target, rows, skips[noun][place], joined[noun], firsts[noun][place])
            for (path, rows), place in zip(self._items, self._places, strict=True)
            if path.target is not None and (noun := path.stream.noun)
        ]


def windows(items: Iterable[tuple[Path, Columns]]) -> Iterator[Window]:
    """Cut a batch so that the rows of a window can be encoded together."""
    waiting: list[tuple[Path, Columns]] = []
    streams: set[Stream] = set()
    count = 0
    for path, rows in items:
        for begin in range(0, len(rows), BLOCK_ROWS):
            part = rows.take(slice(begin, begin + BLOCK_ROWS)) if len(rows) > BLOCK_ROWS else rows
            if path.stream in streams or count + len(part) > BLOCK_ROWS:
                yield Window(waiting)
                waiting, count = [], 0
                streams.clear()
            waiting.append((path, part))
            streams.add(path.stream)
            count += len(part)
    if waiting:
        yield Window(waiting)
