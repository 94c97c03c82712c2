"""A replay from request to report: feed, plan, run id, database, dataflow, recovery."""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from bytewax.outputs import FixedPartitionedSink
from bytewax.recovery import RecoveryConfig

from connectors.export import ExportWriter
from connectors.inputs import Inputs
from connectors.memory import CallSink
from connectors.parquet import content_digest
from connectors.postgres.connection import connect
from connectors.postgres.migrate import migrate
from connectors.postgres.run import Run, begin, complete
from connectors.postgres.sink import ReplaySink
from connectors.postgres.writer import Count, DatabaseBehindError
from connectors.revision import code_revision
from connectors.settings import Settings
from connectors.simulator import Market, Simulator
from connectors.slices import FeedSource
from connectors.tape import SLICE_ROWS, Tally, Tape
from flows import recovery, replay
from flows.engine import run_flow
from flows.interrupt import Stopped, never
from lotus.feed import Feed, Slice
from lotus.plan import Plan
from lotus.timeframe import Timeframe
from lotus.written import Written

EPOCH = timedelta(seconds=1)  # bounds what a crash makes us compute again; never what is written
Progress = Callable[[int, int], None]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What to replay and where to put it.

    market      simulate instead of reading `inputs`
    dsn         database of the rows; None: no database
    export      folder for one Parquet file per noun; such a run starts from the beginning after a crash
    epoch       least time between two recovery points; 0: one after every slice
    slice_rows  buckets of the finest timeframe in a slice of recorded inputs; changes no row
    """

    inputs: Inputs
    settings: Settings
    timeframes: tuple[Timeframe, ...]
    market: Market | None = None
    run_id: str | None = None
    dsn: str | None = None
    export: Path | None = None
    takeover: bool = False
    epoch: timedelta = EPOCH
    slice_rows: int = SLICE_ROWS


@dataclass(frozen=True)
class Report:
    """What a replay did; counts by noun are rows inserted now and rows found written with the same content.

    tally        rows of the inputs: all that were read, accepted, dead-lettered
    bars         live bars and ticks that passed through the river in this process
    first_slice  where this process began: 0, or where the one before it was interrupted
    done_slices  slices that are done now; fewer than `slices` if the run was stopped
    """

    run_id: str
    tally: Tally
    slices: int
    seconds: float
    cpu_seconds: float
    counts: Mapping[str, Count]
    bars: int
    first_slice: int
    done_slices: int

    @property
    def complete(self) -> bool:
        """Whether the run reached its end."""
        return self.done_slices == self.slices


class Watched:
    """A feed whose slices are counted, and which ends early when the run is stopped."""

    def __init__(self, feed: Feed, stopped: Stopped) -> None:
        """Ask `stopped` before each slice."""
        self.manifest = feed.manifest
        self._feed, self._stopped = feed, stopped
        self.first = self.done = self.bars = 0

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


def run(
    request: Request,
    progress: Progress = lambda _done, _of: None,
    *,
    stopped: Stopped = never,
    tell: Tell = nobody,
) -> Report:
    """Replay; raises InputError, PlanError and what the database raises.

    stopped  asked between slices: a run that is stopped keeps its last epoch and goes on there
    tell     hears what is worth knowing and no error
    """
    began, began_cpu = time.perf_counter(), time.process_time()
    tape = None if request.market else Tape(request.inputs, request.slice_rows)
    feed = Watched(tape or Simulator(request.market or Market()), stopped)
    plan = Plan(request.settings.config, feed.manifest, request.timeframes)
    identity = describe(request)
    run_id = request.run_id or identity_digest(identity)
    export = ExportWriter(request.export, run_id) if request.export else None
    job = _Job(request, plan, feed, Identity(run_id, identity), export, progress, tell)
    counts = job.without_database() if request.dsn is None else job.into_database(request.dsn)
    if export is not None and feed.done == feed.manifest.slices:
        export.close()
    return Report(
        run_id=run_id,
        tally=tape.tally if tape else Tally(feed.bars, feed.bars, 0),
        slices=feed.manifest.slices,
        seconds=time.perf_counter() - began,
        cpu_seconds=time.process_time() - began_cpu,
        counts=counts,
        bars=feed.bars,
        first_slice=feed.first,
        done_slices=feed.done,
    )


def describe(request: Request) -> dict[str, Any]:
    """Everything that determines the rows of a run (replay.md 1)."""
    inputs = request.inputs
    files = [
        *(("bars", file.venue, file.timeframe, content_digest(file.path)) for file in inputs.bars),
        *(("ticks", file.venue, "", content_digest(file.path)) for file in inputs.ticks),
        *(("history", file.venue, file.timeframe, content_digest(file.path), file.tokens) for file in inputs.history),
        *(
            (name, content_digest(path))
            for name, path in (("dominance", inputs.dominance), ("buckets", inputs.buckets))
            if path
        ),
    ]
    return {
        "files": files,
        "market": asdict(request.market) if request.market else None,
        "span": [inputs.start_ms, inputs.end_ms],
        "tokens": sorted(inputs.tokens),
        "timeframes": sorted(request.timeframes, key=lambda timeframe: timeframe.rank),
        "config": request.settings.digest(),
        "code": code_revision(),
    }


def identity_digest(identity: Mapping[str, Any]) -> str:
    """Run id of an identity: the same run again is the same run."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Identity:
    """The id of a run and what it stands for."""

    run_id: str
    parts: Mapping[str, Any]


@dataclass(frozen=True)
class _Job:
    """A run that is planned, and where its rows go."""

    request: Request
    plan: Plan
    feed: Watched
    identity: Identity
    export: ExportWriter | None
    progress: Progress
    tell: Tell

    def without_database(self) -> dict[str, Count]:
        """Count the rows, and export them if that was asked for."""
        rows: Counter[str] = Counter()

        def take(items: list[Written]) -> None:
            for item in items:
                rows[item.noun] += len(item.rows)
            if self.export is not None:
                self.export.write(items)

        self._run(CallSink(take))
        return {noun: Count(inserted=count) for noun, count in rows.items()}

    def into_database(self, dsn: str) -> Mapping[str, Count]:
        """Replay into Postgres; a run that was interrupted goes on where its last epoch ended."""
        with recovery.held(self.identity.run_id, self.request.slice_rows) as store:
            with connect(dsn) as connection:
                migrate(connection)
                begin(connection, self._row())
            if self.export is not None:
                store.discard()  # files cannot resume
            elif fault := store.fault():
                self._start_anew(store, f"the recovery store cannot be used ({fault})")
            try:
                counts = self._written(dsn, store)
            except (DatabaseBehindError, UnpicklingError, EOFError) as error:
                self._start_anew(store, str(error))
                counts = self._written(dsn, store)
            if self.feed.done == self.feed.manifest.slices:
                with connect(dsn) as connection:
                    complete(connection, self.identity.run_id)
                store.remove()
        return counts

    def _start_anew(self, store: recovery.Store, why: str) -> None:
        store.discard()
        self.tell(f"{why}: starting from the beginning; rows that are written already are verified")

    def _written(self, dsn: str, store: recovery.Store) -> Mapping[str, Count]:
        sink = ReplaySink(dsn, self.identity.run_id, takeover=self.request.takeover)
        sinks = (sink,) if self.export is None else (sink, CallSink(self.export.write))
        recovery_config = store.config() if self.export is None else None
        try:
            self._run(*sinks, recovery_config=recovery_config)
            if self.feed.done == self.feed.manifest.slices:
                return dict(sink.writer.finish())
            return dict(sink.writer.counts)
        finally:
            sink.close()

    def _run(self, *sinks: FixedPartitionedSink[Any, Any], recovery_config: RecoveryConfig | None = None) -> None:
        flow = replay.build(self.plan, FeedSource(self.feed, self.progress), *sinks)
        run_flow(flow, self.request.epoch, recovery_config)

    def _row(self) -> Run:
        request, parts = self.request, self.identity.parts
        return Run(
            run_id=self.identity.run_id,
            created_by="lotus replay",
            code_revision=parts["code"],
            config_hash=request.settings.digest(),
            config=json.loads(request.settings.as_json()),
            inputs={key: parts[key] for key in ("files", "market", "tokens", "timeframes")},
            span_from_ms=request.inputs.start_ms,
            span_to_ms=request.inputs.end_ms,
        )
