"""Where the input log begins in event time: what fixes the first minute of a run."""

import time
from collections.abc import Callable

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from connectors.kafka.cluster import KafkaAddress
from connectors.kafka.records import NOUN
from lotus.timeframe import MINUTE_MS

_POLL_SECONDS = 0.2


class NothingYetError(RuntimeError):
    """The input log has no clock yet."""


def first_minute_ms(
    address: KafkaAddress, topic: str, partitions: int, stopped: Callable[[], bool], timeout_seconds: float
) -> int:
    """Start of the minute of the earliest heartbeat, ms UTC; waits for one in every partition.

    raises  NothingYetError when the time is up, or when somebody stops it
    """
    consumer = Consumer(
        address.client(
            **{
                "group.id": "lotus-beginning",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "allow.auto.create.topics": False,
                "log_level": 0,
            }
        )
    )
    first: dict[int, int] = {}
    give_up = time.monotonic() + timeout_seconds
    try:
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(partitions)])
        while len(first) < partitions:
            if stopped() or time.monotonic() >= give_up:
                raise NothingYetError(
                    f"{topic} has no heartbeat in {partitions - len(first)} of its {partitions} partitions: start an "
                    "ingester or a feeder (lotus ingest, lotus feed)"
                )
            message = consumer.poll(_POLL_SECONDS)
            if message is None or message.error() is not None:
                continue
            partition = message.partition()
            assert partition is not None, "a message has a partition"
            if partition not in first and (NOUN, b"heartbeat") in (message.headers() or ()):
                first[partition] = int(message.timestamp()[1])
                consumer.pause([TopicPartition(topic, partition)])
    finally:
        consumer.close()
    return min(first.values()) // MINUTE_MS * MINUTE_MS
