"""A live flow as a process: topics in, tables and topics out, exactly once in effect (exactly-once.md 1, 4, 5).

    file lock -> run -> plan --> source --> dataflow --> sink ------> Postgres: rows, outbox, marks
                                   ^                       | opened      |
                                   |                       v             v
                                 topics <-------------- relay <------- outbox

A signal ends the source, so the last epoch is kept; the relay sends what is committed; the units are given back.
"""

import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from connectors.avro.framing import Framing, SingleObject
from connectors.collector import collect_rarely
from connectors.inputs import HistoryFile
from connectors.kafka.beginning import first_minute_ms
from connectors.kafka.cluster import KafkaAddress
from connectors.kafka.gauges import SourceGauges
from connectors.kafka.relay import FencedError, PublishError, Relay
from connectors.kafka.source import KafkaSource, SourceConfig
from connectors.live import LiveConfig, Share
from connectors.logs import set_up_logs
from connectors.metrics import Build, FlowMetrics
from connectors.ops_address import ops_address
from connectors.ops_page import OpsPage
from connectors.parquet import content_digest
from connectors.postgres.connection import connect
from connectors.postgres.live_run import join
from connectors.postgres.live_sink import LiveSink
from connectors.postgres.live_writer import LiveWriter
from connectors.postgres.migrate import migrate
from connectors.postgres.run import Run
from connectors.postgres.streams import DatabaseBehindError
from connectors.postgres.units import Units, refuse_lost
from connectors.revision import code_revision
from connectors.routing import Routing
from connectors.settings import Settings
from connectors.topics import topics
from connectors.universe import plan_of, warm_up
from flows import recovery, swap
from flows.drain import refuse_partial
from flows.engine import run_flow
from flows.interrupt import Stopped, never
from flows.ledger import resumable
from flows.names import meaning_of, store_name, transactional_id, writer_of
from flows.watchdog import Watchdog
from flows.watching import Watching
from flows.wiring import FLOWS, INPUT_LOG, UNDIVIDED, Inlets
from lotus.plan import Plan, PlanError

CREATED_BY = "lotus flow"
DRAIN_SECONDS = 30.0
COUNTS = ("inserted", "verified")
FIRST_HEARTBEAT_SECONDS = 600.0


@dataclass(frozen=True)
class Servers:
    """Where a deployment lives, and how its messages are framed."""

    address: KafkaAddress
    dsn: str
    framing: Framing = field(default_factory=SingleObject)


@dataclass(frozen=True)
class Job:
    """One flow and share of a deployment.

    takeover  end whoever writes these partitions: a supervisor says so after its child has died
    rebuild   compute the run again from the beginning of the input log; rows that are written are verified
    source    how the topics are read
    """

    flow: str
    share: Share
    settings: Settings
    servers: Servers
    takeover: bool = False
    rebuild: bool = False
    source: SourceConfig | None = None

    def __post_init__(self) -> None:
        """Refuse a share of a flow that needs everything."""
        if self.flow not in FLOWS:
            raise PlanError(f"there is no flow '{self.flow}': the flows are {', '.join(FLOWS)}")
        if self.flow in UNDIVIDED and not self.share.whole:
            raise PlanError(f"the flow {self.flow} needs all partitions: give it the share 0/1")
        if not self.share.partitions(self.settings.live.partitions):
            raise PlanError(f"the share {self.share} has none of the {self.settings.live.partitions} partitions")

    @property
    def live(self) -> LiveConfig:
        """The deployment."""
        return self.settings.live

    @property
    def writer(self) -> str:
        """How the outbox calls this process."""
        return writer_of(self.flow, self.share)

    @property
    def transactional_id(self) -> str:
        """How the brokers call its relay."""
        return transactional_id(self.live, self.writer)


def described(settings: Settings) -> Run:
    """The run of a deployment; its start is found when the first process enters it."""
    live = settings.live
    return Run(
        run_id=live.run,
        created_by=CREATED_BY,
        code_revision=code_revision(),
        config_hash=settings.digest(),
        config=json.loads(settings.as_json()),
        inputs={
            "venue": live.venue,
            "tokens": sorted(live.tokens),
            "timeframes": sorted(live.timeframes, key=lambda timeframe: timeframe.rank),
            "partitions": live.partitions,
            "sources": list(live.sources),
            "dominance": [sorted(live.dominance), live.dominance_every_ms],
            "history": [content_digest(HistoryFile.parse(text).path) for text in live.history],
            "buckets": live.buckets and content_digest(Path(live.buckets)),
            "at_venue": live.at_venue,
        },
        environment=live.environment,
    )


def entered(settings: Settings, servers: Servers, stopped: Stopped) -> int:
    """Bring the tables up to date and join the run; returns the start of its first minute, ms UTC."""
    live = settings.live
    log = topics()[INPUT_LOG].full_name(live.topic_prefix)
    with connect(servers.dsn) as connection:
        migrate(connection)
        return join(
            connection,
            described(settings),
            lambda: first_minute_ms(servers.address, log, live.partitions, stopped, FIRST_HEARTBEAT_SECONDS),
        )


def run(job: Job, stopped: Stopped = never, told: Callable[[str], None] = lambda _text: None) -> None:
    """Run until somebody stops it; raises what ended it otherwise.

    told  hears what is worth knowing
    """
    live = job.live
    set_up_logs(flow=job.flow, share=str(job.share), run=live.run)
    start_ms = entered(job.settings, job.servers, stopped)
    plan = plan_of(job.settings.config, live, start_ms, job.share)
    swap.finish(store_name(live, job.flow))
    work = f"flow {job.flow} {job.share} of run {live.run}"
    with recovery.held(store_name(live, job.writer), meaning_of(live, job.share), work) as store:
        if job.rebuild:
            store.discard()
        elif fault := store.fault():
            raise DatabaseBehindError(f"the recovery store cannot be used ({fault}): start with --rebuild")
        _Process(job, plan, stopped, told).run(store)


class _Process:
    """The pieces of a running flow and how they end together."""

    def __init__(self, job: Job, plan: Plan, stopped: Stopped, told: Callable[[str], None]) -> None:
        self._job, self._plan, self._stopped, self._told = job, plan, stopped, told
        self._relay: Relay | None = None
        self._units: Units | None = None
        self._watchdog = Watchdog(job.live.watchdog_ms / 1000)
        settings = job.settings
        self._metrics = FlowMetrics(
            Build(job.flow, str(job.share), job.live.run, code_revision(), settings.digest()[:16])
        )
        self._gauges = SourceGauges()
        self._watching = Watching(self._metrics, self._gauges)

    def run(self, store: recovery.Store) -> None:
        job, live, servers = self._job, self._job.live, self._job.servers
        routing = Routing(self._plan, job.flow, job.share, live.partitions, live.topic_prefix)
        source = KafkaSource(
            servers.address,
            Inlets(live, self._plan, job.share, servers.framing).of(job.flow),
            job.source or SourceConfig(max_ahead_ms=live.ahead_ms),
            first=warm_up(live, self._plan),
            stop=self._stopped,
            check=self._check,
            gauges=self._gauges,
        )
        sink = LiveSink(
            servers.dsn,
            live.run,
            routing.targets,
            routing,
            servers.framing,
            opened=self._open,
            committed=self._committed,
            wrote=self._watching.wrote,
            writer=job.writer,
            environment=live.environment,
            transactional_id=job.transactional_id,
            takeover=job.takeover,
            rebuild=job.rebuild,
        )
        flow = resumable(FLOWS[job.flow], self._plan, source, sink)
        with ExitStack() as ends:  # last in, first out, and each one whatever the others raise
            page = OpsPage(self._metrics.registry, self._metrics.health, ops_address(os.environ))
            self._told(f"metrics at {ends.enter_context(page).address.url('/metrics')}")
            ends.callback(self._watching.closed)
            ends.callback(sink.close)
            ends.callback(self._stop_relay)
            self._watchdog.start()
            ends.callback(self._watchdog.stop)
            collect_rarely()
            run_flow(flow, timedelta(milliseconds=live.epoch_ms), store.config())
            if self._relay is not None:
                self._relay.drain(DRAIN_SECONDS)
                written, found = (sum(getattr(count, name) for count in sink.writer.counts.values()) for name in COUNTS)
                self._told(f"{job.writer} ends: {written} rows written, {found} found written")

    def _stop_relay(self) -> None:
        if self._relay is not None:
            self._relay.stop()

    def _open(self, writer: LiveWriter) -> None:
        """The units are held: fence whoever sent for them before, send what they left, then what comes."""
        job, units = self._job, writer.units
        self._units = units
        with connect(job.servers.dsn) as connection:
            refuse_partial(connection, job.servers.address, units)
        self._relay = Relay(
            job.servers.dsn,
            job.servers.address,
            job.live.run,
            job.writer,
            job.transactional_id,
            units.targets,
            fence=units.predecessors,
            earlier=units.earlier_writers,
            published=self._watching.published,
        )
        self._relay.start()
        writer.settled()
        self._watching.opened(writer)
        self._told(f"{job.writer} holds {len(units.targets)} units with token {units.token}")

    def _committed(self, seq: int) -> None:
        assert self._relay is not None, "the relay starts before the first commit"
        self._relay.wake(seq)

    def _check(self) -> None:
        """Called for every batch: the main loop is alive, and the relay has to be."""
        self._watchdog.beat()
        if self._relay is not None:
            self._look_after(self._relay)
            self._watching.sent(self._relay.done)
        self._watching.batch()

    def _look_after(self, relay: Relay) -> None:
        """Raise what killed the relay; who slept through a takeover hears of it from the brokers first."""
        try:
            relay.check()
        except FencedError:
            raise
        except PublishError as error:
            assert self._units is not None, "the relay starts after the units are held"
            refuse_lost(self._job.servers.dsn, self._units, error)
            raise
