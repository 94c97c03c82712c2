"""Where logs begin and end."""

import time
from collections.abc import Collection
from typing import Any, NamedTuple

from confluent_kafka import IsolationLevel, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Position
from confluent_kafka.admin import AdminClient, OffsetSpec

from connectors.kafka.cluster import KafkaAddress, UnreachableError
from connectors.kafka.records import TopicPartition

TIMEOUT_SECONDS = 10.0
_EARLIEST = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_UNLED = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)  # a new topic, or a new broker
_PAUSE_SECONDS = 0.05


class Span(NamedTuple):
    """A log: `low` is its first record, `high` lies behind the last one that a `read_committed` reader sees."""

    low: int
    high: int


def log_spans(address: KafkaAddress, places: Collection[TopicPartition]) -> dict[TopicPartition, Span]:
    """Begin and end of each log.

    raises  UnreachableError if no broker says so
    """
    if not places:
        return {}
    admin = AdminClient(address.client(log_level=0))
    low = _offsets(admin, address, places, _EARLIEST, IsolationLevel.READ_UNCOMMITTED)
    high = _offsets(admin, address, places, _LATEST, IsolationLevel.READ_COMMITTED)
    return {place: Span(low[place], high[place]) for place in places}


def _offsets(
    admin: AdminClient,
    address: KafkaAddress,
    places: Collection[TopicPartition],
    spec: OffsetSpec,
    isolation: IsolationLevel,
) -> dict[TopicPartition, int]:
    asked: dict[Any, OffsetSpec] = {Position(topic, partition): spec for topic, partition in places}
    give_up = time.monotonic() + TIMEOUT_SECONDS
    while True:
        try:
            told = admin.list_offsets(asked, isolation_level=isolation, request_timeout=TIMEOUT_SECONDS)
            return {(at.topic, at.partition): int(future.result().offset) for at, future in told.items()}
        except KafkaException as error:
            if error.args[0].code() not in _UNLED or time.monotonic() >= give_up:
                raise UnreachableError(
                    f"Kafka at {address.brokers} does not say where its logs begin and end: {error.args[0].str()}"
                ) from error
        time.sleep(_PAUSE_SECONDS)
