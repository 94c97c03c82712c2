"""What both writers are as a Bytewax sink: one partition, because one process is one writer."""

from typing import Generic, Protocol, TypeVar

from bytewax.outputs import FixedPartitionedSink

Item = TypeVar("Item")
State = TypeVar("State")


class Closing(Protocol):
    """A writer, as far as its sink ends it."""

    def close(self) -> None:
        """Give back what it holds."""
        ...


Writer = TypeVar("Writer", bound=Closing)


class WriterSink(FixedPartitionedSink[Item, State], Generic[Item, State, Writer]):
    """A sink whose writer outlives the dataflow, so that the run can be finished, or the relay drained, after it."""

    def __init__(self, partition: str) -> None:
        """`partition` is the key of all items."""
        self._partition = partition
        self._writer: Writer | None = None

    @property
    def writer(self) -> Writer:
        """The writer of the running or ended dataflow."""
        assert self._writer is not None, "the dataflow has not started"
        return self._writer

    def close(self) -> None:
        """Give the run or its units back, however the dataflow ended; nothing happens if it never started."""
        if self._writer is not None:
            self._writer.close()

    def list_parts(self) -> list[str]:
        """One partition: one process is one writer."""
        return [self._partition]

    def part_fn(self, item_key: str) -> int:
        """All keys belong to it."""
        del item_key
        return 0

    def keep(self, writer: Writer) -> Writer:
        """Hold the writer of this start: what `build_part` begins with."""
        self._writer = writer
        return writer
