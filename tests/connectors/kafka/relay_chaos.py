"""Relays that are killed again and again (C25), brokers that are killed as a commit returns (C21).

Functions with a count and a seed: tests and `make chaos` call them.
"""

import random
import signal
import time
from collections.abc import Sequence
from itertools import pairwise
from multiprocessing.process import BaseProcess

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from connectors.kafka.broker import EmbeddedKafka
from connectors.kafka.cluster import KafkaAddress, TopicSpec, ensure_topics
from connectors.kafka.records import Origin, Outgoing
from connectors.kafka.tail import read_tails
from connectors.kafka.transactions import TransactionalProducer
from tests.connectors.kafka.outbox_rows import FIRST_MS, RUN, WRITER, Outbox
from tests.connectors.kafka.relay_process import Job, forked, relay_of
from tests.kafka_reader import Place, faults, read_all

POINTS = ("before_begin", "after_produce", "before_commit", "after_commit", "before_mark")
RANDOM = ""
ROUND = (
    RANDOM,
    "before_commit",
    RANDOM,
    "after_produce",
    RANDOM,
    "before_commit",
    "after_commit",
    RANDOM,
    "before_commit",
    "before_mark",
    RANDOM,
    "before_begin",
)
LEAST_ABORTED = 0.3
CANARY_RECORDS = 40
CANARY_PARTITIONS = 8
START_SECONDS = 30.0
LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]
FOR_EVER = {"retention.ms": "-1"}  # the rows are of 2023


def chaos(kafka: KafkaAddress, outbox: Outbox, job: Job, *, kills: int, seed: int) -> dict[str, object]:
    """Kill a relay again and again, at random times and at the named points in turn; rows are added all the while.

    returns  what the harness tells: void counts kills that hit nothing, and all of them if too few left an aborted
             record; landed those that left one
    """
    chance = random.Random(seed)
    ends = [dict.fromkeys(job.places, 0)]
    missed = 0
    for attempt in range(kills):
        outbox.add(chance.randint(1000, 4000))
        point = ROUND[attempt % len(ROUND)]
        rows = chance.randint(1, 60)
        armed = f"relay.{point}:{chance.randint(1, 12)}" if point else ""
        process = started(job._replace(batch_rows=rows, fail=armed), waits=not point)
        if not point:
            time.sleep(chance.uniform(0.0, 0.15))
            process.kill()
        process.join(START_SECONDS)
        if process.exitcode != -signal.SIGKILL:
            missed += 1
            kill(process)
        ends.append(high(kafka, job.places))
    finish(outbox, job)
    landed = aborted_spans(kafka, job.places, ends)
    wrong = faults(read_all(kafka, job.places), outbox.expected)
    void = kills if landed < LEAST_ABORTED * kills else missed
    return {"id": "C25", "seed": seed, "n": kills, "void": void, "landed": landed, "faults": wrong}


def aborted_spans(kafka: KafkaAddress, places: Sequence[Place], ends: list[dict[Place, int]]) -> int:
    """How many of the processes between two ends left records that no `read_committed` reader gets."""
    everything, committed = (
        {place: {seen.offset for seen in records} for place, records in read_all(kafka, places, isolation=kind).items()}
        for kind in ("read_uncommitted", "read_committed")
    )
    left = [(place, offset) for place in places for offset in everything[place] - committed[place]]
    return sum(any(begin[place] <= offset < end[place] for place, offset in left) for begin, end in pairwise(ends))


def high(kafka: KafkaAddress, places: Sequence[Place]) -> dict[Place, int]:
    """Where the logs end, uncommitted records included."""
    admin = AdminClient(kafka.client(log_level=0))
    asked = {TopicPartition(*place): LATEST for place in places}
    told = admin.list_offsets(asked, isolation_level=IsolationLevel.READ_UNCOMMITTED)
    return {(at.topic, at.partition): answer.result(20).offset for at, answer in told.items()}


def started(job: Job, *, waits: bool = True) -> BaseProcess:
    """A relay that publishes, if it lives that long."""
    process = forked(job)
    give_up = time.monotonic() + START_SECONDS
    while waits and not job.ready.exists():
        assert process.is_alive(), f"the relay ended with {process.exitcode} before it began"
        assert time.monotonic() < give_up
        time.sleep(0.001)
    return process


def kill(process: BaseProcess) -> None:
    process.kill()
    process.join(START_SECONDS)


def finish(outbox: Outbox, job: Job) -> None:
    """Publish what is left, with a relay that nobody kills."""
    outbox.add(10)
    with relay_of(job._replace(batch_rows=500)) as relay:
        relay.drain(60.0)


def acknowledged_and_lost(broker: EmbeddedKafka, prefix: str, *, kills: int) -> tuple[int, int]:
    """The canary of C21: KAFKA-20734 lost the commit markers here. Returns the records acknowledged, and those lost."""
    kafka = KafkaAddress(broker.brokers)
    acknowledged = lost = 0
    for trial in range(kills):
        topic = f"{prefix}canary{trial}"
        ensure_topics(kafka, [TopicSpec(topic, CANARY_PARTITIONS, FOR_EVER)])
        places = [(topic, partition) for partition in range(CANARY_PARTITIONS)]
        producer = TransactionalProducer(kafka, topic)
        producer.fence()
        for number in range(1, CANARY_RECORDS // CANARY_PARTITIONS + 1):
            headers = Origin("bar", RUN, WRITER, number, number).headers()
            producer.publish([Outgoing(*place, b"key", b"value", FIRST_MS, headers) for place in places])
        broker.kill()
        producer.close()
        broker.start()
        read_tails(kafka, places)  # waits for markers that are still on their way
        acknowledged += CANARY_RECORDS
        lost += CANARY_RECORDS - sum(map(len, read_all(kafka, places).values()))
    return acknowledged, lost
