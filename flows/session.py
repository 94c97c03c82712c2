"""A replay from request to report: feed, plan, run id, database, dataflow, recovery."""

import fcntl
import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main

from connectors.export import ExportWriter
from connectors.folders import recovery_folder
from connectors.inputs import Inputs
from connectors.memory import CallSink
from connectors.parquet import content_digest
from connectors.postgres.connection import connect
from connectors.postgres.migrate import migrate
from connectors.postgres.run import Run, begin, complete
from connectors.postgres.sink import ReplaySink
from connectors.postgres.writer import Count
from connectors.revision import code_revision
from connectors.settings import Settings
from connectors.simulator import Market, Simulator
from connectors.slices import FeedSource
from connectors.tape import Tape, Tally
from flows import replay
from lotus.plan import Plan
from lotus.timeframe import Timeframe
from lotus.feed import Feed
from lotus.written import Written

RECOVERY_PARTITIONS = 16  # resume time is quadratic in keys per partition
EPOCH = timedelta(seconds=1)  # bounds what a crash makes us compute again; never what is written
Progress = Callable[[int, int], None]


class RunBusyError(RuntimeError):
    """Another process replays the same run on this machine."""


@dataclass(frozen=True)
class Request:
    """What to replay and where to put it.

    market  simulate instead of reading `inputs`
    dsn     database of the rows; None: no database
    export  folder for one Parquet file per noun; such a run starts from the beginning after a crash
    epoch   least time between two recovery points; 0: one after every slice
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


@dataclass(frozen=True)
class Report:
    """What a replay did; counts by noun are rows inserted now and rows found written with the same content."""

    run_id: str
    tally: Tally
    slices: int
    seconds: float
    cpu_seconds: float
    counts: Mapping[str, Count]


def run(request: Request, progress: Progress = lambda _done, _of: None) -> Report:
    """Replay; raises InputError, PlanError and what the database raises."""
    began, began_cpu = time.perf_counter(), time.process_time()
    feed: Tape | Simulator = Simulator(request.market) if request.market else Tape(request.inputs)
    plan = Plan(request.settings.config, feed.manifest, request.timeframes)
    identity = describe(request)
    run_id = request.run_id or identity_digest(identity)
    export = ExportWriter(request.export, run_id) if request.export else None
    if request.dsn is not None:
        counts = _into_database(request.dsn, request, plan, feed, Identity(run_id, identity), export, progress)
    else:
        counts = _without_database(plan, feed, export, progress)
    if export is not None:
        export.close()
    tally = feed.tally if isinstance(feed, Tape) else Tally(0, 0, 0)
    spent, spent_cpu = time.perf_counter() - began, time.process_time() - began_cpu
    return Report(run_id, tally, feed.manifest.slices, spent, spent_cpu, counts)


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


def _without_database(plan: Plan, feed: Feed, export: ExportWriter | None, progress: Progress) -> dict[str, Count]:
    rows: Counter[str] = Counter()

    def take(items: list[Written]) -> None:
        for item in items:
            rows[item.noun] += len(item.rows)
        if export is not None:
            export.write(items)

    run_main(replay.build(plan, FeedSource(feed, progress), CallSink(take)), epoch_interval=EPOCH)
    return {noun: Count(inserted=count) for noun, count in rows.items()}


def _into_database(
    dsn: str,
    request: Request,
    plan: Plan,
    feed: Feed,
    identity: Identity,
    export: ExportWriter | None,
    progress: Progress,
) -> Mapping[str, Count]:
    """Replay into Postgres; a run that was killed goes on where its last epoch ended."""
    run_id = identity.run_id
    with connect(dsn) as connection:
        migrate(connection)
        begin(connection, _run_of(request, identity))
    sink = ReplaySink(dsn, run_id, takeover=request.takeover)
    sinks = (sink, CallSink(export.write)) if export else (sink,)
    flow = replay.build(plan, FeedSource(feed, progress), *sinks)
    with _recovery(run_id, usable=export is None) as recovery:
        run_main(flow, epoch_interval=request.epoch, recovery_config=recovery)
        counts = dict(sink.writer.finish())
        sink.writer.close()
        with connect(dsn) as connection:
            complete(connection, run_id)
    shutil.rmtree(recovery_folder(run_id))
    return counts


def _run_of(request: Request, identity: Identity) -> Run:
    return Run(
        run_id=identity.run_id,
        created_by="lotus replay",
        code_revision=identity.parts["code"],
        config_hash=request.settings.digest(),
        config=json.loads(request.settings.as_json()),
        inputs={key: identity.parts[key] for key in ("files", "market", "tokens", "timeframes")},
        span_from_ms=request.inputs.start_ms,
        span_to_ms=request.inputs.end_ms,
    )


@contextmanager
def _recovery(run_id: str, *, usable: bool) -> Iterator[RecoveryConfig | None]:
    """The recovery store of a run, held by this process alone; an export starts anew, because files cannot resume."""
    folder = recovery_folder(run_id)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunBusyError(
                f"run {run_id} is being replayed by another process on this machine: wait for it"
            ) from None
        store = folder / "store"
        if store.exists() and (not usable or not (folder / "made").exists()):
            shutil.rmtree(store)
        if usable and not store.exists():
            store.mkdir(mode=0o700)
            init_db_dir(store, RECOVERY_PARTITIONS)
            (folder / "made").touch()
        yield RecoveryConfig(store) if usable else None
