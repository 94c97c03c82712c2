"""A whole deployment for a test: topics and a run of its own, every flow a process of its own.

    deployment = Deployment(kafka, dsn, folder, live)
    deployment.create()                        topics
    deployment.pour(log)                       the input log, at once; or `feeding(market, 600)`, at a speed
    deployment.start(Mode.HOT, 2)              processes; `flow(...)` starts a single one
    deployment.wait(end_ms)                    until everything is complete up to there
    assert set(deployment.stop().values()) == {0}

What a process has said is in `folder/logs`; what it needs to go on is in `folder/state`.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol

from confluent_kafka import Producer

from connectors.archive_files import HEARTBEAT, Message, noun_of
from connectors.avro.framing import SingleObject
from connectors.decisions_digest import Digest, digest_of_bodies
from connectors.feeder import Fed, Pace, feed
from connectors.kafka.cluster import KafkaAddress, ensure_topics
from connectors.kafka.intake import IntakeWriter
from connectors.kafka.topic_log import TopicLog
from connectors.live import LiveConfig, Share
from connectors.moments import Moments
from connectors.postgres.connection import connect
from connectors.postgres.read import counts, table_hashes
from connectors.postgres.units import Target
from connectors.routing import PROMISES, Routing
from connectors.settings import PREFIX, Settings, load_settings
from connectors.topics import specs
from connectors.universe import plan_of
from flows.wiring import INPUT_LOG
from lotus.kernel import NEVER_MS
from tests.kafka_reader import Place, Seen, read_all

DECISIONS = "pm.decisions.v1"
STAGES = ("bars", "trend", "posture", "decisions")
LOOK_SECONDS = 0.05
WAIT_SECONDS = 120.0
STOP_SECONDS = 60.0
TAIL_CHARACTERS = 3_000


class Mode(StrEnum):
    """How the flows are spread over processes."""

    FUSED = "fused"  # one process
    HOT = "hot"  # a process per share, and the drivers
    SEPARATE = "separate"  # a process per stage and share, and the drivers


class DiedError(AssertionError):
    """A process ended that nobody had told to."""


@dataclass
class Process:
    """A flow that runs, or has run."""

    name: str
    arguments: tuple[str, ...]
    log: Path
    popen: "subprocess.Popen[bytes]"

    @property
    def running(self) -> bool:
        """Whether it is alive."""
        return self.popen.poll() is None

    def kill(self) -> None:
        """End it without a word."""
        self.popen.kill()
        self.popen.wait()

    def terminate(self) -> None:
        """Ask it to end."""
        self.popen.send_signal(signal.SIGTERM)

    def pause(self) -> None:
        """Stop its clock."""
        self.popen.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.popen.send_signal(signal.SIGCONT)

    def ended(self, seconds: float = STOP_SECONDS) -> int:
        """Its exit code, once it has ended; a process that does not end is killed and counts as -9."""
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL

    def said(self) -> str:
        """What it has written."""
        return self.log.read_text(errors="replace")[-TAIL_CHARACTERS:]


class Pourable(Protocol):
    """Messages by partition."""

    @property
    def partitions(self) -> int:
        """Number of partitions."""
        ...

    def messages(self, partition: int, /) -> Iterator[Message]:
        """Messages of a partition in order."""
        ...


class Outcome(NamedTuple):
    """What a run has come to.

    rows       of each noun
    hashes     of each noun's table
    decisions  bodies on the topic
    """

    rows: Mapping[str, int]
    hashes: Mapping[str, str]
    decisions: Digest


@dataclass
class Deployment:
    """See above; `live` names the run and the prefix of the topics, `program` what is run in place of `lotus`."""

    address: KafkaAddress
    dsn: str
    folder: Path
    live: LiveConfig
    processes: dict[str, Process] = field(default_factory=dict)
    program: str = "flows.cli"

    @cached_property
    def environment(self) -> dict[str, str]:
        """What every process is told: the deployment as LOTUS__LIVE__..., where the servers are."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LOTUS")}
        return {
            **kept,
            **configured(self.live),
            "LOTUS_BROKERS": self.address.brokers,
            "LOTUS_DSN": self.dsn,
            "XDG_STATE_HOME": str(self.folder / "state"),
        }

    @cached_property
    def settings(self) -> Settings:
        """The configuration as its processes have it."""
        return load_settings(None, self.environment)

    @property
    def input_log(self) -> str:
        """Full name of the topic."""
        return self.live.topic_prefix + INPUT_LOG

    # topics and what is fed

    def create(self) -> None:
        """Make the topics."""
        live = self.live
        ensure_topics(self.address, specs(live.partitions, prefix=live.topic_prefix, recorded=live.recorded_time))

    def pour(self, log: Pourable, begin_ms: int = 0, end_ms: int = NEVER_MS) -> None:
        """Put the messages of a log into the input log as they are, those with times from `begin_ms` to `end_ms`."""
        producer = Producer(self.address.client(**{"enable.idempotence": True, "linger.ms": 20}))
        for partition in range(log.partitions):
            for message in part_of(log.messages(partition), begin_ms, end_ms):
                headers = list(dict(message.headers).items())
                put(producer, self.input_log, partition, message.value, message.key, message.ts, headers)
        assert producer.flush(30) == 0

    @contextlib.contextmanager
    def feeding(self, market: Moments, speed: float | None) -> Iterator["threading.Thread"]:
        """Feed a market in a thread meanwhile; it is stopped at the end, and what it raises is raised there."""
        stop, failed = threading.Event(), list[BaseException]()

        def run() -> None:
            try:
                self.feed(market, speed, stop.is_set)
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield thread
        finally:
            stop.set()
            thread.join()
        for error in failed:
            raise error

    def feed(self, market: Moments, speed: float | None, stopped: Callable[[], bool] = lambda: False) -> Fed:
        """Feed a market until its end."""
        with IntakeWriter(
            self.address, self.input_log, self.live.partitions, SingleObject(), self.live.sources[0]
        ) as intake:
            return feed(market, intake, Pace(speed), stopped=stopped)

    # processes

    def flow(self, name: str, share: str = "0/1", *options: str) -> Process:
        """Start one flow."""
        return self.run(f"{name}-{share.replace('/', 'of')}", "flow", name, "--share", share, *options)

    def twin(self, process: Process, *options: str) -> Process:
        """Start a process once more beside the first, on a machine of its own: with another recovery store."""
        elsewhere = {"XDG_STATE_HOME": str(self.folder / "state-elsewhere")}
        return self.run(f"{process.name}-twin", *process.arguments, *options, environment=elsewhere)

    def start(self, mode: Mode, of: int = 1, *options: str) -> list[Process]:
        """Start all flows of a mode; `of`: shares of each divided flow."""
        if mode is Mode.FUSED:
            assert of == 1, "a fused process has all partitions"
            return [self.flow("fused", "0/1", *options)]
        divided = ("hot",) if mode is Mode.HOT else STAGES
        names = [(name, str(Share(index, of))) for name in divided for index in range(of)]
        return [self.flow(name, share, *options) for name, share in [("drivers", "0/1"), *names]]

    def run(self, name: str, *arguments: str, environment: Mapping[str, str] = MappingProxyType({})) -> Process:
        """Start `lotus ARGUMENTS` under a name that no running process has."""
        earlier = self.processes.get(name)
        assert earlier is None or not earlier.running, f"{name} runs"
        log = self.folder / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            popen = subprocess.Popen(
                [sys.executable, "-m", self.program, *arguments],
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**self.environment, **environment},
            )
        process = self.processes[name] = Process(name, arguments, log, popen)
        return process

    def again(self, process: Process, *options: str) -> Process:
        """Start a process that has ended once more; a supervisor says `--takeover`."""
        return self.run(process.name, *process.arguments, *options)

    def stop(self) -> dict[str, int]:
        """Ask all to end; exit codes by name, of those that had ended before too."""
        for process in self.processes.values():
            if process.running:
                process.terminate()
        return {name: process.ended() for name, process in self.processes.items()}

    def __enter__(self) -> "Deployment":
        """Itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Leave no process behind."""
        for process in self.processes.values():
            if process.running:
                process.kill()

    # how far it is

    def promised(self) -> dict[Target, int]:
        """Watermark of every topic partition that promises something, -1 where it has not yet."""
        with connect(self.dsn) as connection:
            rows = connection.execute(
                "select topic, partition, watermark_ms from target where run_id = %s", [self.live.run]
            ).fetchall()
        found = {Target(str(topic), int(str(partition))): int(str(ms)) for topic, partition, ms in rows}
        return {target: found.get(target, -1) for target in self._promising}

    def reached_ms(self) -> int:
        """Up to where everything is complete."""
        return min(self.promised().values())

    def wait(self, until_ms: int, seconds: float = WAIT_SECONDS, dead: Iterable[str] = ()) -> None:
        """Return when everything is complete up to a time.

        dead    processes that may have ended
        raises  DiedError if another one has, with what it said; AssertionError when the time is up
        """
        give_up = time.monotonic() + seconds
        while (reached := self.reached_ms()) < until_ms:
            self.look(dead)
            assert time.monotonic() < give_up, f"{self.live.run} stands at {reached}, {until_ms} was expected"
            time.sleep(LOOK_SECONDS)

    def look(self, dead: Iterable[str] = ()) -> None:
        """Raise DiedError if a process has ended."""
        for process in self.processes.values():
            if not process.running and process.name not in dead:
                raise DiedError(f"{process.name} ended with {process.popen.returncode}: {process.said()}")

    @cached_property
    def _promising(self) -> tuple[Target, ...]:
        live = self.live
        routing = Routing(plan_of(self.settings.config, live, 0), "fused", Share(), live.partitions, live.topic_prefix)
        topics = {live.topic_prefix + topic for topic in PROMISES}
        return tuple(one for one in routing.targets if one.topic in topics and routing.feeders(one))

    # what came of it

    def outcome(self) -> Outcome:
        """Rows and hashes of the run; the decisions as a stranger reads them."""
        with connect(self.dsn) as connection:
            rows, hashes = counts(connection, self.live.run), table_hashes(connection, self.live.run)
        return Outcome(rows, hashes, digest_of_bodies(bodies(self.published(DECISIONS), "decision")))

    def published(self, topic: str) -> dict[Place, list[Seen]]:
        """Committed records of a topic."""
        name = self.live.topic_prefix + topic
        return read_all(self.address, [(name, partition) for partition in range(self.live.partitions)])

    def log(self) -> TopicLog:
        """The input log as it is now."""
        return TopicLog(self.address, self.input_log)


def configured(live: LiveConfig) -> dict[str, str]:
    """A deployment as environment variables: what differs from the defaults."""
    usual = LiveConfig()
    return {
        f"{PREFIX}LIVE__{item.name.upper()}": json.dumps(getattr(live, item.name))
        for item in fields(LiveConfig)
        if getattr(live, item.name) != getattr(usual, item.name)
    }


def bodies(found: Mapping[Place, Sequence[Seen]], noun: str) -> list[bytes]:
    """Bodies of a noun without their framing."""
    framing = SingleObject()
    return [framing.split(one.value)[1] for records in found.values() for one in records if one.noun == noun]


def part_of(messages: Iterable[Message], begin_ms: int, end_ms: int) -> Iterator[Message]:
    """Messages from the first heartbeat at a time to the first one at another."""
    inside = begin_ms == 0
    for message in messages:
        if noun_of(message) == HEARTBEAT:
            inside = inside or message.ts >= begin_ms
            if message.ts >= end_ms:
                return
        if inside:
            yield message


def put(
    producer: Producer,
    topic: str,
    partition: int,
    value: bytes | None,
    key: bytes | None,
    ts: int,
    headers: list[tuple[str, str | bytes | None]],
) -> None:
    """Hand a record over, waiting for room."""
    while True:
        try:
            producer.produce(topic, value, key, partition, timestamp=ts, headers=headers)
            return
        except BufferError:
            producer.poll(0.05)
