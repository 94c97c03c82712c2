"""One number for all snapshots of an epoch, kept in the last of them: so a store says whether it is whole.

    source --- kernels --- sink         the order in which an epoch is closed
      |           |          |
     word        word      total = sum of the words of every other snapshot that holds by now

The engine keeps snapshots in many files, each with a log of its own. A file that is damaged can lose its last entries
without a trace: then some kernels stand where they stood an epoch ago, and nothing else would ever notice. The sink is
snapshotted only if something reaches it, so every epoch brings one beat, an empty slice that passes through to it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from connectors.snapshots import WORD, closing_total, opened, seal, word
from lotus.feed import Slice


class Ledger:
    """The sum of the words of all snapshots of one running flow."""

    def __init__(self) -> None:
        """Nothing is kept yet."""
        self.total = 0

    def enter(self, before: int, after: int) -> None:
        """A snapshot takes the place of another one; 0: of none."""
        self.total = (self.total + after - before) & WORD

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Kernels that are wired meanwhile enter their snapshots here."""
        token = _COLLECTING.set(self)
        try:
            yield
        finally:
            _COLLECTING.reset(token)

    @staticmethod
    def current() -> "Ledger":
        """The one that collects; one of its own for a flow that nobody resumes."""
        return _COLLECTING.get(None) or Ledger()


_COLLECTING: ContextVar[Ledger] = ContextVar("collecting")


class Beat(Slice):
    """A slice without anything, once in every epoch."""

    __slots__ = ()


class SealedSource(FixedPartitionedSource[Slice, bytes]):
    """A source with one partition whose snapshots are sealed and entered."""

    def __init__(self, source: FixedPartitionedSource[Slice, Any], ledger: Ledger) -> None:
        """Everything else is the source's."""
        self._source, self._ledger = source, ledger

    def list_parts(self) -> list[str]:
        """Those of the source."""
        return self._source.list_parts()

    def build_part(self, step_id: str, for_part: str, resume_state: bytes | None) -> "SealedSourcePartition":
        """Open the snapshot."""
        state = None if resume_state is None else opened(resume_state)
        part = self._source.build_part(step_id, for_part, state)
        return SealedSourcePartition(part, self._ledger, (step_id, for_part), resume_state)


class SealedSourcePartition(StatefulSourcePartition[Slice, bytes]):
    """See `SealedSource`."""

    def __init__(
        self,
        part: StatefulSourcePartition[Slice, Any],
        ledger: Ledger,
        place: tuple[str, str],
        stored: bytes | None,
    ) -> None:
        """`place`: step and key of the snapshots; `stored`: the one that the source goes on from."""
        self._part, self._ledger, self._place, self._sealed = part, ledger, place, stored
        self._word = 0 if stored is None else word(*place, stored)
        self._silent, self._over = True, False

    def next_batch(self) -> list[Slice]:
        """What the source has; behind it the beat, if this epoch has none yet."""
        if self._over:
            raise StopIteration
        try:
            batch = [*self._part.next_batch()]
        except StopIteration:
            if not self._silent:
                raise
            batch, self._over = [], True
        if self._silent:
            self._silent = False
            batch.append(Beat())
        return batch

    def next_awake(self) -> datetime | None:
        """When the source says."""
        return self._part.next_awake()

    def snapshot(self) -> bytes:
        """Sealed; the same one as before, if the source was not asked since: such an epoch has no beat."""
        state = self._part.snapshot()
        if self._silent and self._sealed is not None:
            return self._sealed
        self._silent = True
        self._sealed = seal(state)
        before, self._word = self._word, word(*self._place, self._sealed)
        self._ledger.enter(before, self._word)
        return self._sealed

    def close(self) -> None:
        """Close the source."""
        self._part.close()


class SealedSink(FixedPartitionedSink[Any, bytes]):
    """A sink with one partition whose snapshots close the ledger of each epoch."""

    def __init__(self, sink: FixedPartitionedSink[Any, Any], ledger: Ledger) -> None:
        """Everything else is the sink's."""
        self._sink, self._ledger = sink, ledger

    def list_parts(self) -> list[str]:
        """Those of the sink."""
        return self._sink.list_parts()

    def part_fn(self, item_key: str) -> int:
        """As the sink says."""
        return self._sink.part_fn(item_key)

    def build_part(self, step_id: str, for_part: str, resume_state: bytes | None) -> "SealedSinkPartition":
        """Open the snapshot; the ledger goes on from its total."""
        state = None
        if resume_state is not None:
            state = opened(resume_state)
            self._ledger.total = closing_total(resume_state) or 0
        return SealedSinkPartition(self._sink.build_part(step_id, for_part, state), self._ledger)


class SealedSinkPartition(StatefulSinkPartition[Any, bytes]):
    """See `SealedSink`."""

    def __init__(self, part: StatefulSinkPartition[Any, Any], ledger: Ledger) -> None:
        """`part`: the sink's."""
        self._part, self._ledger = part, ledger

    def write_batch(self, values: list[Any]) -> None:
        """Everything but beats."""
        rows = [value for value in values if type(value) is not Beat]
        if rows:
            self._part.write_batch(rows)

    def snapshot(self) -> bytes:
        """The sink is the last one of an epoch."""
        return seal(self._part.snapshot(), total=self._ledger.total)

    def close(self) -> None:
        """Close the sink."""
        self._part.close()


def resumable(
    build: Callable[..., Dataflow],
    plan: object,
    source: FixedPartitionedSource[Slice, Any],
    sink: FixedPartitionedSink[Any, Any],
) -> Dataflow:
    """A flow whose snapshots are sealed and entered: what a recovery store keeps."""
    ledger = Ledger()
    with ledger.collecting():
        return build(plan, SealedSource(source, ledger), SealedSink(sink, ledger))
