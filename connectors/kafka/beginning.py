"""Where the input log begins in event time: what fixes the first minute of a run."""

import time
from collections.abc import Callable

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from connectors.kafka.cluster import KafkaAddress
from connectors.kafka.consumer import reading
from connectors.kafka.outage import let_pass
from connectors.kafka.records import NOUN
from lotus.timeframe import MINUTE_MS

_POLL_SECONDS = 0.2


class NothingYetError(RuntimeError):
    """The input log has no clock yet."""


def first_minute_ms(
    address: KafkaAddress, topic: str, partitions: int, stopped: Callable[[], bool], timeout_seconds: float
) -> int:
    """Start of the minute of the earliest heartbeat, ms UTC; waits for one in every partition.

    raises  NothingYetError when the time is up, or when somebody stops it; LogError for what waiting does not cure
    """
    consumer = Consumer(reading(address, **{"auto.offset.reset": "earliest", "log_level": 0}))
    first: dict[int, int] = {}
    trouble = ""
    give_up = time.monotonic() + timeout_seconds
    try:
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(partitions)])
        while len(first) < partitions:
            if stopped() or time.monotonic() >= give_up:
                raise NothingYetError(
                    f"{topic} has no heartbeat in {partitions - len(first)} of its {partitions} partitions: start an "
                    f"ingester or a feeder (lotus ingest, lotus feed){trouble}"
                )
            message = consumer.poll(_POLL_SECONDS)
            if message is None:
                continue
            if (error := message.error()) is not None:
                let_pass(error, topic)
                trouble = f"; the brokers said: {error.str()}"
                continue
            partition = message.partition()
            assert partition is not None, "a message has a partition"
            if partition not in first and (NOUN, b"heartbeat") in (message.headers() or ()):
                first[partition] = int(message.timestamp()[1])
                consumer.pause([TopicPartition(topic, partition)])
    finally:
        consumer.close()
    return min(first.values()) // MINUTE_MS * MINUTE_MS
