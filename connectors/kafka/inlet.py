"""What a source reads a topic through: parts of partitions in, slices out, marks to go on from.

A mark is the offset of the next message to read together with what the reader has to know there.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from connectors.kafka.records import Headers
from lotus.feed import Slice


class Part(NamedTuple):
    """Messages of one partition in the order of the log.

    values   None is a tombstone
    headers  of each message; empty where the reader asks for none
    """

    partition: int
    offsets: Sequence[int]
    values: Sequence[bytes | None]
    headers: Sequence[Headers | None] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """Where to go on in a partition.

    offset  of the next message
    state   what the reader has to know there; picklable
    """

    offset: int
    state: Any


class Inlet(Protocol):
    """A reader of one topic. A slice is a function of the messages, never of how they are cut into parts."""

    topic: str
    total: int  # partitions of the topic
    partitions: tuple[int, ...]  # those that are read
    with_headers: bool

    def read(self, parts: Iterable[Part]) -> Slice:
        """Take in messages; at most one part for a partition."""
        ...

    def marks(self) -> Mapping[int, Mark]:
        """Where to go on, by partition; partitions without a message yet may be missing."""
        ...

    def resume(self, marks: Mapping[int, Mark]) -> None:
        """Go on from marks; called before the first read."""
        ...

    def reached_ms(self, partition: int) -> int | None:
        """Event time up to which a partition was read; -1 before its first clock, None if it has none to wait for."""
        ...


def parts_of(messages: Iterable[tuple[int, int, bytes | None]], order: Collection[int] = ()) -> list[Part]:
    """(partition, offset, value) of any mix of partitions as one part each; `order` puts partitions first."""
    found: dict[int, tuple[list[int], list[bytes | None]]] = {partition: ([], []) for partition in order}
    for partition, offset, value in messages:
        offsets, values = found.setdefault(partition, ([], []))
        offsets.append(offset)
        values.append(value)
    return [Part(partition, offsets, values) for partition, (offsets, values) in found.items() if offsets]
