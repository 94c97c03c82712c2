"""Reads topics as a stranger would, and says what is wrong with them: nothing of the code under test is trusted.

found = read_all(address, places)                    # committed records, by topic partition
assert not faults(found, expected)                   # [] or sentences
"""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError
from confluent_kafka import TopicPartition as Position

from connectors.kafka.cluster import KafkaAddress

Place = tuple[str, int]
TIMEOUT_SECONDS = 60.0
MOST_FAULTS = 10


class Seen(NamedTuple):
    """A record as a consumer got it; the numbers are those of its headers."""

    offset: int
    key: bytes
    value: bytes
    ts: int
    noun: str
    run: str
    writer: str
    seq: int
    number: int


class Expected(NamedTuple):
    """A record as its writer meant it."""

    key: bytes
    value: bytes
    ts: int
    noun: str
    writer: str
    seq: int


def read_all(
    address: KafkaAddress, places: Collection[Place], *, isolation: str = "read_committed"
) -> dict[Place, list[Seen]]:
    """Every record from the start to the end of each partition, in order of offset."""
    consumer = Consumer(
        address.client(
            **{
                "group.id": f"reader-{isolation}",
                "enable.auto.commit": False,
                "isolation.level": isolation,
                "enable.partition.eof": True,
                "log_level": 0,
                "auto.offset.reset": "earliest",
            }
        )
    )
    found: dict[Place, list[Seen]] = {place: [] for place in places}
    left = set(places)
    give_up = time.monotonic() + TIMEOUT_SECONDS
    consumer.assign([Position(topic, partition, 0) for topic, partition in places])
    while left:
        assert time.monotonic() < give_up, f"the ends of {sorted(left)} were not reached"
        message = consumer.poll(1.0)
        if message is None:
            continue
        topic, partition, error = message.topic(), message.partition(), message.error()
        assert topic is not None
        assert partition is not None
        if error is None:
            headers = _texts(message.headers())
            seq, number = int(headers.get("seq", 0)), int(headers.get("number", 0))
            told = (headers["noun"], headers.get("run", ""), headers.get("writer", ""), seq, number)
            offset, key, value = message.offset(), message.key() or b"", message.value() or b""
            assert offset is not None
            found[topic, partition].append(Seen(offset, key, value, message.timestamp()[1], *told))
        else:
            assert error.code() == KafkaError._PARTITION_EOF, error
            left.discard((topic, partition))
    consumer.close()
    return found


def _texts(headers: object) -> dict[str, str]:
    assert isinstance(headers, list), "a record without headers"
    return {name: value.decode() for name, value in headers}


def faults(found: Mapping[Place, Sequence[Seen]], expected: Mapping[Place, Sequence[Expected]]) -> list[str]:
    """What is wrong: nothing expected, a number doubled, missing or out of order, another record than was meant."""
    wrong = []
    if not any(expected.values()):
        wrong.append("nothing was expected: this would prove nothing")
    for place in sorted(set(found) | set(expected)):
        records, meant = found.get(place, ()), expected.get(place, ())
        numbers = [record.number for record in records]
        if numbers != list(range(1, len(numbers) + 1)):
            at = next(at for at, number in enumerate(numbers, 1) if number != at)
            wrong.append(f"{place}: the numbers are not 1, 2, 3 ...: {numbers[max(0, at - 3) : at + 3]} around {at}")
        if len(numbers) != len(set(numbers)):
            wrong.append(f"{place}: {len(numbers) - len(set(numbers))} numbers are doubled")
        if len(records) != len(meant):
            wrong.append(f"{place}: {len(records)} records, expected {len(meant)}")
        for record, one in zip(records, meant, strict=False):
            got = Expected(record.key, record.value, record.ts, record.noun, record.writer, record.seq)
            if got != one:
                wrong.append(f"{place}, offset {record.offset}: {got}, expected {one}")
                break
    return wrong[:MOST_FAULTS]
