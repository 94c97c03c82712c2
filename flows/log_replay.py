"""The input log of a deployment replayed: from its topic, from its archive, or from the archive and then the topic.

    live run ------ start of its first minute, configuration, market ------+
                                                                           v
    archive, topic -- LogFeed -- the dataflow of every replay -- Postgres, under a run id of its own; or memory

The rows are those of the live run, as far as it has come: `flows/verify.py` compares the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from connectors.archive import Archive
from connectors.archive_files import HoleError
from connectors.avro.framing import Framing, SingleObject
from connectors.kafka.inlet import Inlet
from connectors.kafka.topic_log import TopicLog, description
from connectors.live import LiveConfig, Share
from connectors.log_feed import JoinedLog, Log, LogFeed
from connectors.log_until import Until, until
from connectors.postgres.connection import connect
from connectors.postgres.migrate import migrate
from connectors.postgres.read import run_row
from connectors.postgres.run import Run
from connectors.settings import Settings
from connectors.topics import topics
from connectors.universe import plan_of, warm_up
from flows.interrupt import Stopped, never
from flows.live import Servers, described
from flows.replay_job import EPOCH, Job, Progress, Tell, Watched, nobody, unwatched
from flows.session import identity_digest
from flows.wiring import INPUT_LOG, Inlets
from lotus.plan import Plan
from lotus.timeframe import MINUTE_MS, Timeframe

CREATED_BY = "lotus replay-log"
SLICE_MS = Timeframe.H1.ms


@dataclass(frozen=True)
class LogRequest:
    """Which log to replay, and how.

    archive   folder of the log's archive; None: the topic alone
    topic     read on in the topic where the archive ends; False: the archive alone
    slice_ms  event time of a slice; changes no row
    """

    settings: Settings
    servers: Servers
    archive: Path | None = None
    topic: bool = True
    run_id: str | None = None
    slice_ms: int = SLICE_MS
    takeover: bool = False
    epoch: timedelta = EPOCH


@dataclass(frozen=True)
class LogReplay:
    """A replay that is planned; what is added to the log from here on is not in it."""

    request: LogRequest
    row: Run
    plan: Plan
    log: Until
    feed: LogFeed

    def job(self, progress: Progress = unwatched, *, stopped: Stopped = never, tell: Tell = nobody) -> Job:
        """The replay itself: `into_database`, or `without_database`."""
        request, watched = self.request, Watched(self.feed, stopped)
        return Job(
            self.row,
            self.plan,
            watched,
            f"slices of {request.slice_ms} ms",
            epoch=request.epoch,
            takeover=request.takeover,
            progress=progress,
            tell=tell,
        )


def planned(request: LogRequest, until_ms: int | None = None) -> LogReplay:
    """Find the log and plan its replay.

    until_ms  end with the message that lifts the clock there, in each partition; None: with the log
    raises    HoleError if the log does not begin at its beginning, ArchiveError if the archive is none or another log's
    """
    settings, servers, live = request.settings, request.servers, request.settings.live
    whole, ends = found_log(request)
    start_ms = _start_ms(live, servers.dsn, whole)
    plan = plan_of(settings.config, live, start_ms)

    def reader() -> Inlet:
        return Inlets(live, plan, Share(), servers.framing).of("fused")[0]

    log = Until(whole, ends) if until_ms is None else until(whole, reader, until_ms)
    feed = LogFeed(log, reader, plan.manifest, request.slice_ms, warm_up(live, plan))
    return LogReplay(request, _row(request, start_ms, log.ends), plan, log, feed)


def found_log(request: LogRequest) -> tuple[Log, Mapping[int, int]]:
    """The log, and the first offset of each partition that is not in it; raises HoleError, ArchiveError."""
    servers, name = request.servers, log_name(request.settings.live)
    archive = None if request.archive is None else Archive(request.archive)
    if archive is None:
        topic = TopicLog(servers.address, name)
        _refuse_beheaded(name, topic.low)
        return topic, topic.high
    _refuse_beheaded(str(request.archive), archive.first)
    if not request.topic:
        return archive, archive.next
    assert request.archive is not None, "there is an archive"
    archive.description.refuse_other(description(servers.address, name, framing_name(servers.framing)), request.archive)
    topic = TopicLog(servers.address, name)
    return JoinedLog(archive, topic), topic.high


def log_name(live: LiveConfig) -> str:
    """Full name of the input log's topic."""
    return topics()[INPUT_LOG].full_name(live.topic_prefix)


def framing_name(framing: Framing) -> str:
    """How an archive says what its values begin with."""
    return "single-object" if isinstance(framing, SingleObject) else "confluent"


def _refuse_beheaded(where: str, first: Mapping[int, int]) -> None:
    """What is computed from the middle of a log has other rows."""
    for partition, offset in sorted(first.items()):
        if offset > 0:
            raise HoleError(
                f"{where}, partition {partition}: the messages before offset {offset} are not there any more: name "
                "the archive that has them (--archive)"
            )


def _start_ms(live: LiveConfig, dsn: str, log: Log) -> int:
    """Start of the first minute: as the live run has it, else as one that started now would find it."""
    with connect(dsn) as connection:
        migrate(connection)
        row = run_row(connection, live.run)
    if row is not None and row["span_from"] is not None:
        return int(row["span_from"].timestamp() * 1000)
    firsts = [int(times[0]) for _, times in map(log.beats, range(log.partitions)) if len(times)]
    if not firsts:
        raise HoleError(f"{log_name(live)} holds no heartbeat: nothing in it has a time")
    return min(firsts) // MINUTE_MS * MINUTE_MS


def _row(request: LogRequest, start_ms: int, ends: Mapping[int, int]) -> Run:
    """The run of the replay: another end of the log is another run."""
    live, meant = request.settings.live, described(request.settings)
    inputs: dict[str, Any] = {
        **meant.inputs,
        "log": [live.environment, log_name(live), [end for _, end in sorted(ends.items())]],
    }
    identity = {**inputs, "config": meant.config_hash, "code": meant.code_revision, "start": start_ms}
    return replace(
        meant,
        run_id=request.run_id or identity_digest(identity),
        created_by=CREATED_BY,
        inputs=inputs,
        span_from_ms=start_ms,
        environment="replay",
    )
