"""Decisions on a topic against those of a replay: the first body that differs is named, what is gone is passed over."""

from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.avro.codec import codec_of
from connectors.avro.framing import SingleObject
from connectors.kafka.catch_up import Record
from connectors.kafka.cluster import KafkaAddress
from connectors.kafka.records import Origin
from connectors.messages import MESSAGES
from flows.verify_topic import Published, compared_bodies, published
from lotus.lane import Lane
from lotus.records import Decisions
from lotus.timeframe import Timeframe
from lotus.written import Written
from schemas.partition import partition_of
from tests.connectors.sample_rows import sample

FRAMING, PARTITIONS = SingleObject(), 4
NEVER_MS = int(np.iinfo(np.int64).max)
LANES = (Lane("BTC", "sim", Timeframe.M1), Lane("ETH", "sim", Timeframe.H1))


def decided() -> list[Written]:
    found = []
    for number, lane in enumerate(LANES):
        rows: Any = sample("decision", 12, number)
        assert isinstance(rows, Decisions)
        rows.ts[:] = 1_700_000_000_000 + np.arange(12) * lane.timeframe.ms
        found.append(Written("decision", lane, rows))
    return found


def sent(items: list[Written]) -> list[tuple[Origin, Record]]:
    records = []
    for item in items:
        codec, partition = codec_of("decision"), partition_of(item.lane.token, PARTITIONS)
        bodies = codec.encode((item.lane.token, item.lane.venue, str(item.lane.timeframe)), item.rows)
        times = MESSAGES["decision"].times(item.lane, item.rows).tolist()
        for number, ts in enumerate(times, 1):
            value = FRAMING.prefix(codec.contract) + bodies[number - 1]
            told = Origin("decision", "live", "decisions:0/1", number, number)
            records.append((told, Record(partition, number, ts, item.lane.token.encode(), value, told.headers())))
    return records


def apart(
    records: list[tuple[Origin, Record]], items: list[Written], reached_ms: int = NEVER_MS - 1, **known: Any
) -> str | None:
    found = Published(records, known.get("since", {}), known.get("unsent", {}))
    mine, theirs, told = compared_bodies(found, items, FRAMING, PARTITIONS, reached_ms)
    assert (mine == theirs) == (told is None)
    return told


def test_the_same_decisions_in_any_order_are_equal() -> None:
    assert apart(sent(decided())[::-1], decided()) is None


def test_a_changed_field_is_named_with_both_values() -> None:
    items = decided()
    rows: Any = items[1].rows
    price = float(rows.price[5])
    records = sent(items)
    rows.price[5] = np.nextafter(price, np.inf)
    told = apart(records, items)
    assert told is not None
    assert told.startswith("ETH sim 1h ")
    assert told.endswith(f"price is {price!r} on the topic, {float(rows.price[5])!r} in the replay")


@pytest.mark.parametrize("what", ["twice on the topic", "only in the replay", "only on the topic"])
def test_a_decision_too_many_or_too_few_is_named(what: str) -> None:
    records, items = sent(decided()), decided()
    match what:
        case "twice on the topic":
            records = [records[0], *records]
        case "only in the replay":
            records = records[1:]
        case _:
            items[0] = items[0]._replace(rows=items[0].rows.take(slice(1, None)))
    told = apart(records, items)
    assert told is not None
    assert told.startswith("BTC sim 1m 2023-11-14 22:13:20 ")
    assert told.endswith(f": {what}")


def test_what_waits_in_the_outbox_is_told_with_its_cure() -> None:
    told = apart(sent(decided())[:-1], decided(), unsent={partition_of("ETH", PARTITIONS): 12})
    assert told is not None
    assert "lotus drain" in told


def test_what_is_later_and_what_retention_has_dropped_is_not_compared() -> None:
    records, items = sent(decided()), decided()
    partition = partition_of("BTC", PARTITIONS)
    assert partition != partition_of("ETH", PARTITIONS)
    left = records[4:]
    assert apart(left, items, since={partition: left[0][1].ts}) is None
    assert apart(records[12:], items, since={partition: NEVER_MS}) is None
    assert apart(records[:11], items[:1], reached_ms=records[10][1].ts) is None


@pytest.mark.parametrize("value", [b"??", b""])
def test_a_value_that_nobody_can_read_is_a_difference(value: bytes) -> None:
    records = sent(decided())
    records[3] = (records[3][0], records[3][1]._replace(value=value))
    told = apart(records, decided())
    assert told is not None
    assert told.startswith("the topic cannot be read")


def test_a_topic_says_what_waits_and_what_it_has_dropped(kafka: KafkaAddress, prefix: str) -> None:
    topic, records = prefix + "decided", sent(decided()[:1])
    admin, producer = AdminClient(kafka.client()), Producer(kafka.client())
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result()
    for told, record in records:
        for run in ("another", "live"):
            headers: list[tuple[str, str | bytes | None]] = [*told._replace(run=run).headers()]
            producer.produce(topic, record.value, record.key, 0, timestamp=record.ts, headers=headers)
    assert producer.flush(30) == 0

    whole, waited = published(kafka, topic, "live", {0: 12}), list[float]()
    assert [told.number for told, _ in whole.records] == list(range(1, 13))
    assert (whole.since, whole.unsent) == ({}, {})
    behind = published(kafka, topic, "live", {0: 14}, seconds=1.0, sleep=waited.append)
    assert behind.unsent == {0: 13}
    assert sum(waited) == 1.0

    deleted = admin.delete_records([TopicPartition(topic, 0, 7)])
    assert [future.result() is not None for future in deleted.values()] == [True]
    cut = published(kafka, topic, "live", {0: 12})
    assert (cut.since, cut.unsent) == ({0: records[3][1].ts}, {})
