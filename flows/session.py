"""A replay from request to report: feed, plan, run id, database, dataflow, recovery."""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from connectors.export import ExportWriter
from connectors.inputs import Inputs
from connectors.parquet import content_digest
from connectors.postgres.run import Run
from connectors.postgres.streams import Count
from connectors.revision import code_revision
from connectors.settings import Settings
from connectors.simulator import Market, Simulator
from connectors.tape import SLICE_ROWS, Tally, Tape
from flows.interrupt import Stopped, never
from flows.replay_job import EPOCH, Job, Progress, Tell, Watched, nobody, unwatched
from lotus.plan import Plan
from lotus.timeframe import Timeframe


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


def run(
    request: Request,
    progress: Progress = unwatched,
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
    row = run_row(request)
    export = ExportWriter(request.export, row.run_id) if request.export else None
    meaning = f"slices of {request.slice_rows} rows"
    job = Job(row, plan, feed, meaning, export, request.epoch, request.takeover, progress, tell)
    counts = job.without_database() if request.dsn is None else job.into_database(request.dsn)
    if export is not None and feed.complete:
        export.close()
    return Report(
        run_id=row.run_id,
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
        "span": [inputs.start_ms, inputs.end_ms, *(["open"] if inputs.open_ended else [])],
        "tokens": sorted(inputs.tokens),
        "timeframes": sorted(request.timeframes, key=lambda timeframe: timeframe.rank),
        "config": request.settings.digest(),
        "code": code_revision(),
    }


def identity_digest(identity: Mapping[str, Any]) -> str:
    """Run id of an identity: the same run again is the same run."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def run_row(request: Request) -> Run:
    """How the run is entered in a database."""
    parts = describe(request)
    return Run(
        run_id=request.run_id or identity_digest(parts),
        created_by="lotus replay",
        code_revision=parts["code"],
        config_hash=request.settings.digest(),
        config=json.loads(request.settings.as_json()),
        inputs={key: parts[key] for key in ("files", "market", "tokens", "timeframes")}
        | ({"open_ended": True} if request.inputs.open_ended else {}),
        span_from_ms=request.inputs.start_ms,
        span_to_ms=request.inputs.end_ms,
    )
