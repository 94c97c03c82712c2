"""Plain producing and reading, to see what a broker has."""

import time

from confluent_kafka import Consumer, Producer, TopicPartition

from connectors.kafka.cluster import KafkaAddress, TopicSpec, ensure_topics, partitions

SECONDS = 30.0


def make_topic(address: KafkaAddress, name: str, count: int = 1) -> str:
    ensure_topics(address, [TopicSpec(name, count)])
    return name


def produce(address: KafkaAddress, topic: str, values: list[bytes], *, partition: int = 0) -> None:
    """Every record acknowledged, or an assertion."""
    producer = Producer(address.client(**{"enable.idempotence": True, "log_level": 0}))
    delivered: list[object] = []
    for value in values:
        producer.produce(topic, value, partition=partition, on_delivery=lambda error, _: delivered.append(error))
    assert producer.flush(SECONDS) == 0
    assert delivered == [None] * len(values)


def transactional(address: KafkaAddress, name: str) -> Producer:
    producer = Producer(
        address.client(**{"transactional.id": name, "linger.ms": 0, "retry.backoff.ms": 10, "log_level": 0})
    )
    producer.init_transactions(SECONDS)
    return producer


def read(address: KafkaAddress, topic: str, *, isolation: str = "read_committed") -> list[tuple[int, bytes]]:
    """All records that are visible now, as (partition, value), partition by partition.

    Up to the last stable offset: what an open transaction holds back is not waited for.
    """
    consumer = Consumer(
        address.client(
            **{
                "group.id": "reader",
                "enable.auto.commit": False,
                "isolation.level": isolation,
                "enable.partition.eof": True,
                "log_level": 0,
            }
        )
    )
    seen: list[tuple[int, bytes]] = []
    open_partitions = set(range(partitions(address, topic)))
    consumer.assign([TopicPartition(topic, partition, 0) for partition in sorted(open_partitions)])
    give_up = time.monotonic() + SECONDS
    while open_partitions:
        message = consumer.poll(1)
        assert time.monotonic() < give_up, f"{topic}: no end of {open_partitions}"
        if message is None:
            continue
        partition = message.partition()
        assert partition is not None
        if message.error() is None:
            seen.append((partition, message.value() or b""))
        else:
            open_partitions.discard(partition)
    consumer.close()
    return sorted(seen, key=lambda record: record[0])
