"""The writer as a Bytewax sink: one partition per process, one commit per epoch."""

from typing import Any

from bytewax.outputs import StatefulSinkPartition

from connectors.postgres.writer import Item, ReplayWriter, Snapshot
from connectors.postgres.writer_sink import WriterSink

PARTITION = "replay"


class ReplaySink(WriterSink[Item, Snapshot, ReplayWriter]):
    """Takes `(key, (noun, lane, rows))`. After the dataflow has run, ask `writer` for `finish()`."""

    def __init__(self, dsn: str, run_id: str, **options: Any) -> None:
        """Options are those of `ReplayWriter`, which connects when the dataflow starts: building one has no effect."""
        super().__init__(PARTITION)
        self._dsn = dsn
        self._run_id = run_id
        self._options = options

    def build_part(self, step_id: str, for_part: str, resume_state: Snapshot | None) -> "ReplayPartition":
        """Take the lease and read the marks."""
        del step_id, for_part
        return ReplayPartition(self.keep(ReplayWriter(self._dsn, self._run_id, resume=resume_state, **self._options)))


class ReplayPartition(StatefulSinkPartition[Item, Snapshot]):
    """Rows of an epoch are committed when it ends."""

    def __init__(self, writer: ReplayWriter) -> None:
        """The writer stays open after the dataflow, for `finish()`."""
        self._writer = writer
        self._failed = False

    def write_batch(self, values: list[Item]) -> None:
        """Take rows."""
        self._failed = True
        self._writer.write(values)
        self._failed = False

    def snapshot(self) -> Snapshot:
        """Commit."""
        self._failed = True
        snapshot = self._writer.snapshot()
        self._failed = False
        return snapshot

    def close(self) -> None:
        """Commit what the last epoch left; after an error nothing, because a second error would abort the process."""
        if not self._failed:
            self._writer.flush()
