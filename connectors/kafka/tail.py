"""The last committed record of topic partitions: what a relay's mark is (exactly-once.md 12).

    low                                       stable      high
     |  committed   aborted   committed  c  a c  |  open    |        c: control record, a: aborted record
                                  ^ the tail

The end of a log holds what a `read_committed` reader never sees. So each partition is read from some way before its
end, and from further back (four times as far each time) until a record shows up or the log's start was read.

    EMPTY    never had a committed record
    HELD     its last record is known
    ABSENT   had records once, and keeps none of them: retention, or somebody's deletion. The caller decides
"""

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as Position
from confluent_kafka.admin import AdminClient, OffsetSpec

from connectors.kafka.cluster import KafkaAddress
from connectors.kafka.consumer import reading
from connectors.kafka.log_ends import Span
from connectors.kafka.records import Origin, TopicPartition, origin

TIMEOUT_SECONDS = 30.0
_FIRST_STEP_RECORDS = 64
_STEP_FACTOR = 4
_POLL_SECONDS = 0.2
_STABLE_POLL_SECONDS = 0.05
_BATCH = 1000
_REQUEST_SECONDS = 10.0
_EARLIEST = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_FOR_GOOD = (  # everything else passes: leaders move, brokers come back
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,
)


class TailError(RuntimeError):
    """The end of a partition cannot be read; the message names the partition."""


class TailTimeoutError(TailError):
    """No answer in time: it may be there later."""


class Held(Enum):
    """What a partition holds for a `read_committed` reader."""

    EMPTY = "empty"
    HELD = "held"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of one partition.

    last    headers of the last committed record, if it is held
    offset  of that record; -1: there is none
    high    where the next record goes
    """

    held: Held
    last: Origin | None
    offset: int
    high: int


def read_tails(
    address: KafkaAddress, partitions: Iterable[TopicPartition], *, timeout_seconds: float = TIMEOUT_SECONDS
) -> dict[TopicPartition, Tail]:
    """The tail of each partition, all of them at once.

    A transaction still open in a partition is waited for: what it holds may be committed yet.

    raises  TailError if the time is up, a partition does not exist or may not be read, or its last record is not one
            of ours
    """
    wanted = sorted(set(partitions))
    if not wanted:
        return {}
    deadline = time.monotonic() + timeout_seconds
    spans = _stable_spans(address, wanted, deadline)
    found = _last_records(address, {place: span for place, span in spans.items() if span.high > span.low}, deadline)
    return {place: _tail(place, span, found.get(place)) for place, span in spans.items()}


def _tail(place: TopicPartition, span: Span, message: Message | None) -> Tail:
    if message is None:
        return Tail(Held.ABSENT if span.low > 0 else Held.EMPTY, None, -1, span.high)
    offset = message.offset()
    assert offset is not None
    try:
        return Tail(Held.HELD, origin(message.headers()), offset, span.high)
    except ValueError as error:
        raise TailError(
            f"topic {place[0]}, partition {place[1]}, offset {offset} was not written by Lotus ({error}): "
            "nobody else may write there; give the deployment topics of its own (another prefix)"
        ) from error


def _stable_spans(
    address: KafkaAddress, places: Collection[TopicPartition], deadline: float
) -> dict[TopicPartition, Span]:
    """Start and end of each log, once no transaction is open in it."""
    admin = AdminClient(address.client(log_level=0))
    _refuse_missing(admin, places, deadline)
    low = _offsets(admin, places, _EARLIEST, IsolationLevel.READ_UNCOMMITTED, deadline)
    high = _offsets(admin, places, _LATEST, IsolationLevel.READ_UNCOMMITTED, deadline)
    while True:
        stable = _offsets(admin, places, _LATEST, IsolationLevel.READ_COMMITTED, deadline)
        held_up = [place for place in places if stable[place] < high[place]]
        if not held_up:
            return {place: Span(low[place], high[place]) for place in places}
        if time.monotonic() > deadline:
            raise TailTimeoutError(
                f"{_named(held_up)}: a transaction of another writer stays open there; stop that process, or wait "
                "until the broker has ended its transaction"
            )
        time.sleep(_STABLE_POLL_SECONDS)


def _refuse_missing(admin: AdminClient, places: Collection[TopicPartition], deadline: float) -> None:
    """A partition that is not there is told at once, not after having been asked for its offsets for long."""
    while True:
        try:
            topics = admin.list_topics(timeout=min(max(0.1, deadline - time.monotonic()), _REQUEST_SECONDS)).topics
        except KafkaException as error:
            told = error.args[0]
            if told.code() in _FOR_GOOD or time.monotonic() > deadline:
                kind = TailError if told.code() in _FOR_GOOD else TailTimeoutError
                raise kind(f"{_named(places)}: the broker does not tell its topics ({told.str()})") from error
            time.sleep(_STABLE_POLL_SECONDS)
            continue
        missing = [place for place in places if place[0] not in topics or place[1] not in topics[place[0]].partitions]
        if missing:
            raise TailError(f"{_named(missing)}: there is none, or it may not be seen; create it first")
        return


def _offsets(
    admin: AdminClient,
    places: Collection[TopicPartition],
    spec: OffsetSpec,
    isolation: IsolationLevel,
    deadline: float,
) -> dict[TopicPartition, int]:
    """One offset of each partition. Leaders that move and brokers that are away are asked again, until time is up."""
    asked: dict[Any, OffsetSpec] = {Position(topic, partition): spec for topic, partition in places}
    found: dict[TopicPartition, int] = {}
    while True:
        seconds = min(max(0.1, deadline - time.monotonic()), _REQUEST_SECONDS)
        answers = admin.list_offsets(asked, isolation_level=isolation, request_timeout=seconds)
        reasons: dict[TopicPartition, str] = {}
        for position, answer in answers.items():
            place = (position.topic, position.partition)
            try:
                found[place] = int(answer.result(2 * _REQUEST_SECONDS).offset)
            except KafkaException as error:
                reasons[place] = error.args[0].str()
                if error.args[0].code() in _FOR_GOOD:
                    raise TailError(f"{_named([place])}: the log cannot be looked at ({reasons[place]})") from error
        if not reasons:
            return found
        if time.monotonic() > deadline:
            told = ", ".join(sorted(set(reasons.values())))
            raise TailTimeoutError(f"{_named(reasons)}: the broker does not say where the log ends ({told})")
        time.sleep(_STABLE_POLL_SECONDS)


def _last_records(
    address: KafkaAddress, spans: Mapping[TopicPartition, Span], deadline: float
) -> dict[TopicPartition, Message]:
    """The last committed record of each partition that has one: one consumer, all partitions together."""
    if not spans:
        return {}
    consumer = Consumer(
        reading(
            address,
            **{
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",  # the log's start may move on while it is read
                "log_level": 0,
            },
        )
    )
    try:
        found: dict[TopicPartition, Message] = {}
        left, step = dict(spans), _FIRST_STEP_RECORDS
        while left:
            starts = {place: max(span.low, span.high - step) for place, span in left.items()}
            found |= _read_to_end(consumer, starts, deadline)
            left = {place: span for place, span in left.items() if place not in found and starts[place] > span.low}
            step *= _STEP_FACTOR
        return found
    finally:
        consumer.close()


def _read_to_end(
    consumer: Consumer, starts: Mapping[TopicPartition, int], deadline: float
) -> dict[TopicPartition, Message]:
    """Read each partition from its start to its end; the last record of those that showed one."""
    consumer.assign([Position(topic, partition, offset) for (topic, partition), offset in starts.items()])
    found: dict[TopicPartition, Message] = {}
    open_ends = set(starts)
    while open_ends:
        if time.monotonic() > deadline:
            raise TailTimeoutError(f"{_named(open_ends)}: the end of the log did not come within the time allowed")
        for message in _at_hand(consumer):
            topic, partition, error = message.topic(), message.partition(), message.error()
            if topic is None or partition is None:
                _retriable(error, open_ends)
            elif error is None:
                found[topic, partition] = message
            elif error.code() == KafkaError._PARTITION_EOF:
                open_ends.discard((topic, partition))
            else:
                _retriable(error, [(topic, partition)])
    return found


def _at_hand(consumer: Consumer) -> list[Message]:
    """The next record and whatever else has arrived: `consume` alone waits its time out."""
    first = consumer.poll(_POLL_SECONDS)
    return [] if first is None else [first, *consumer.consume(_BATCH, 0)]


def _retriable(error: KafkaError | None, places: Collection[TopicPartition]) -> None:
    """Let an outage pass, within the deadline; what waiting does not cure is told at once."""
    if error is not None and (error.fatal() or error.code() in _FOR_GOOD):
        raise TailError(f"{_named(places)}: the log cannot be read ({error.str()})")


def _named(places: Iterable[TopicPartition]) -> str:
    return ", ".join(f"topic {topic}, partition {partition}" for topic, partition in sorted(places))
