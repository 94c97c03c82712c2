"""The writer as a Bytewax sink: one partition per process, one commit per epoch."""

from typing import Any

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from connectors.postgres.writer import Item, ReplayWriter, Snapshot

PARTITION = "replay"


class ReplaySink(FixedPartitionedSink[Item, Snapshot]):
    """Takes `(key, (noun, lane, rows))`. After the dataflow has run, ask `writer` for `finish()`."""

    def __init__(self, dsn: str, run_id: str, **options: Any) -> None:
        """Options are those of `ReplayWriter`, which connects when the dataflow starts: building one has no effect."""
        self._dsn = dsn
        self._run_id = run_id
        self._options = options
        self._writer: ReplayWriter | None = None

    @property
    def writer(self) -> ReplayWriter:
        """The writer of the running or ended dataflow."""
        assert self._writer is not None, "the dataflow has not started"
        return self._writer

    def close(self) -> None:
        """Give the run back, however the dataflow ended; nothing happens if it never started."""
        if self._writer is not None:
            self._writer.close()

    def list_parts(self) -> list[str]:
        """One partition: one process is one writer."""
        return [PARTITION]

    def part_fn(self, item_key: str) -> int:
        """All keys belong to it."""
        del item_key
        return 0

    def build_part(self, step_id: str, for_part: str, resume_state: Snapshot | None) -> "ReplayPartition":
        """Take the lease and read the marks."""
        del step_id, for_part
        self._writer = ReplayWriter(self._dsn, self._run_id, resume=resume_state, **self._options)
        return ReplayPartition(self._writer)


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
