"""The live writer as a Bytewax sink: one partition per process, one transaction per batch."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from bytewax.outputs import StatefulSinkPartition

from connectors.avro.framing import Framing
from connectors.postgres.live_writer import LiveSnapshot, LiveWriter, Routing
from connectors.postgres.units import Target
from connectors.postgres.writer_sink import WriterSink
from lotus.written import Written

PARTITION = "live"


class LiveSink(WriterSink[Written, LiveSnapshot, LiveWriter]):
    """Takes `(key, Written)`."""

    def __init__(
        self,
        dsn: str,
        run_id: str,
        targets: Iterable[Target],
        routing: Routing,
        framing: Framing,
        *,
        opened: Callable[[LiveWriter], object] = lambda writer: None,
        committed: Callable[[int], object] = lambda seq: None,
        wrote: Callable[[list[Written], float], object] = lambda items, seconds: None,
        **options: Any,
    ) -> None:
        """Options are those of `LiveWriter`, which connects when the dataflow starts: building one has no effect.

        opened     called once the units are held and the marks are read: now the relay may start
        committed  called with the seq of the last message after each commit that added messages
        wrote      called with what was committed and the seconds it took
        """
        super().__init__(PARTITION)
        self._arguments = (dsn, run_id, tuple(targets), routing, framing)
        self._opened = opened
        self._committed, self._wrote = committed, wrote
        self._options = options

    def build_part(self, step_id: str, for_part: str, resume_state: LiveSnapshot | None) -> "LivePartition":
        """Take the units and read the marks."""
        del step_id, for_part
        writer = self.keep(LiveWriter(*self._arguments, resume=resume_state, **self._options))
        self._opened(writer)
        return LivePartition(writer, self._committed, self._wrote)


class LivePartition(StatefulSinkPartition[Written, LiveSnapshot]):
    """Every batch is committed when it comes. Nothing waits, so closing has nothing to do, whatever happened before."""

    def __init__(
        self,
        writer: LiveWriter,
        committed: Callable[[int], object],
        wrote: Callable[[list[Written], float], object],
    ) -> None:
        """The writer stays open after the dataflow, so that the relay can be drained while the units are held."""
        self._writer = writer
        self._told = writer.seq
        self._committed, self._wrote = committed, wrote

    def write_batch(self, values: list[Written]) -> None:
        """One transaction."""
        began = time.perf_counter()
        self._writer.write(values)
        self._wrote(values, time.perf_counter() - began)
        if self._writer.seq > self._told:
            self._told = self._writer.seq
            self._committed(self._told)

    def snapshot(self) -> LiveSnapshot:
        """What to resume from."""
        return self._writer.snapshot()
