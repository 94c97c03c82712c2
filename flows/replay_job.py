"""A planned replay and where its rows go: a database, files, or nowhere; it goes on where its last epoch ended."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from bytewax.outputs import FixedPartitionedSink
from bytewax.recovery import RecoveryConfig

from connectors.export import ExportWriter
from connectors.memory import CallSink
from connectors.postgres.connection import connect
from connectors.postgres.migrate import migrate
from connectors.postgres.run import Run, begin, complete
from connectors.postgres.sink import ReplaySink
from connectors.postgres.streams import Count, DatabaseBehindError
from connectors.slices import FeedSource
from connectors.snapshots import DamagedSnapshotError
from flows import recovery, replay
from flows.engine import run_flow
from flows.interrupt import Stopped
from flows.ledger import resumable
from lotus.feed import Feed, Slice
from lotus.plan import Plan
from lotus.written import Written

EPOCH = timedelta(seconds=1)  # bounds what a crash makes us compute again; never what is written
Progress = Callable[[int, int], None]
Tell = Callable[[str], None]
Take = Callable[[list[Written]], None]


class Watched:
    """A feed whose slices are counted, and which ends early when the run is stopped."""

    def __init__(self, feed: Feed, stopped: Stopped) -> None:
        """Ask `stopped` before each slice."""
        self.manifest = feed.manifest
        self._feed, self._stopped = feed, stopped
        self.first = self.done = self.bars = 0

    @property
    def complete(self) -> bool:
        """Whether all slices have been asked for."""
        return self.done == self.manifest.slices

    def slices(self, position: int = 0) -> Iterator[Slice]:
        """The slices from number `position` on."""
        self.first = self.done = position
        pieces = self._feed.slices(position)
        while not self._stopped():
            piece = next(pieces, None)
            if piece is None:
                return
            self.done += 1
            self.bars += sum(len(raw.rows.rows) for _, raw in piece.raw)
            self.bars += sum(int((~chunk.rows.heartbeat).sum()) for _, chunk in piece.ticks)
            yield piece


def nobody(_text: str) -> None:
    """Nobody listens."""


def unwatched(_done: int, _of: int) -> None:
    """Nobody looks."""


@dataclass(frozen=True)
class Job:
    """A replay.

    row       how the run is entered in a database
    meaning   what a slice is: a recovery store that counts others is of no use
    export    files of the rows; such a run starts from the beginning after a crash, because files cannot resume
    epoch     least time between two recovery points; 0: one after every slice
    progress  told after each slice how many are done, of how many
    tell      hears what is worth knowing and no error
    """

    row: Run
    plan: Plan
    feed: Watched
    meaning: str
    export: ExportWriter | None = None
    epoch: timedelta = EPOCH
    takeover: bool = False
    progress: Progress = unwatched
    tell: Tell = nobody

    def without_database(self, also: Take = lambda _items: None) -> Mapping[str, Count]:
        """Count the rows, and export them if that was asked for; `also` is shown all of them."""
        rows: Counter[str] = Counter()

        def take(items: list[Written]) -> None:
            for item in items:
                rows[item.noun] += len(item.rows)
            if self.export is not None:
                self.export.write(items)
            also(items)

        self._run(CallSink(take))
        return {noun: Count(inserted=count) for noun, count in rows.items()}

    def into_database(self, dsn: str) -> Mapping[str, Count]:
        """Replay into Postgres; a run that was interrupted goes on where its last epoch ended."""
        with recovery.held(self.row.run_id, self.meaning, f"the replay of run {self.row.run_id}") as store:
            with connect(dsn) as connection:
                migrate(connection)
                begin(connection, self.row)
            if self.export is not None:
                store.discard()
            elif fault := store.fault():
                self._start_anew(store, f"the recovery store cannot be used ({fault})")
            try:
                counts = self._written(dsn, store)
            except (DatabaseBehindError, DamagedSnapshotError) as error:
                self._start_anew(store, str(error))
                counts = self._written(dsn, store)
            if self.feed.complete:
                with connect(dsn) as connection:
                    complete(connection, self.row.run_id)
                store.remove()
        return counts

    def _start_anew(self, store: recovery.Store, why: str) -> None:
        store.discard()
        self.tell(f"{why}: starting from the beginning; rows that are written already are verified")

    def _written(self, dsn: str, store: recovery.Store) -> Mapping[str, Count]:
        sink = ReplaySink(dsn, self.row.run_id, takeover=self.takeover)
        sinks = (sink,) if self.export is None else (sink, CallSink(self.export.write))
        recovery_config = store.config() if self.export is None else None
        try:
            self._run(*sinks, recovery_config=recovery_config)
            return dict(sink.writer.finish()) if self.feed.complete else dict(sink.writer.counts)
        finally:
            sink.close()

    def _run(self, *sinks: FixedPartitionedSink[Any, Any], recovery_config: RecoveryConfig | None = None) -> None:
        source = FeedSource(self.feed, self.progress)
        if recovery_config is None:
            flow = replay.build(self.plan, source, *sinks)
        else:
            flow = resumable(replay.build, self.plan, source, *sinks)
        run_flow(flow, self.epoch, recovery_config)
