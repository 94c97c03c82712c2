"""Slices and rows in memory: flows are tested and embedded without files and servers."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from lotus.feed import Manifest, Slice
from lotus.written import Written

PARTITION = "memory"


class ListFeed:
    """A feed over a list of slices."""

    def __init__(self, manifest: Manifest, slices: Sequence[Slice]) -> None:
        """The manifest says what the slices hold."""
        self.manifest = manifest
        self._slices = slices

    def slices(self, position: int = 0) -> Iterator[Slice]:
        """The slices from number `position` on."""
        yield from self._slices[position:]


class CallSink(FixedPartitionedSink[Written, None]):
    """Hands every batch of rows to a function: a list's `extend`, an export's `write`."""

    def __init__(self, take: Callable[[list[Written]], Any]) -> None:
        """`take` is called in the order in which rows come about."""
        self._take = take

    def list_parts(self) -> list[str]:
        """One partition."""
        return [PARTITION]

    def part_fn(self, item_key: str) -> int:
        """All rows belong to it."""
        del item_key
        return 0

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> "CallPartition":
        """Open it."""
        del step_id, for_part, resume_state
        return CallPartition(self._take)


class CallPartition(StatefulSinkPartition[Written, None]):
    """The partition of a `CallSink`."""

    def __init__(self, take: Callable[[list[Written]], Any]) -> None:
        """See `CallSink`."""
        self._take = take

    def write_batch(self, values: list[Written]) -> None:
        """Hand them on."""
        self._take(values)

    def snapshot(self) -> None:
        """Nothing is kept here."""
