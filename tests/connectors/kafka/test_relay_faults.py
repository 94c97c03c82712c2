"""Whatever the broker does, the relay marks nothing as published that is not (C21, C26)."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from connectors.kafka import transactions
from connectors.kafka.broker import EmbeddedKafka
from connectors.kafka.cluster import KafkaAddress, TopicSpec, ensure_topics
from connectors.kafka.relay import FencedError, PublishError, Relay, RelaySettings
from connectors.kafka.tail import TailError
from connectors.postgres.connection import Connection
from tests.connectors.kafka.outbox_rows import RUN, WRITER, Outbox
from tests.connectors.kafka.relay_chaos import CANARY_RECORDS, acknowledged_and_lost
from tests.kafka_reader import Place, faults, read_all

FOR_EVER = {"retention.ms": "-1"}  # the rows are of 2023
EAGER = RelaySettings(batch_rows=5, mark_seconds=0.0, watch_seconds=0)


def relay_to(database: str, kafka: KafkaAddress, places: list[Place]) -> Relay:
    return Relay(database, kafka, RUN, WRITER, f"{places[0][0]}-id", places, settings=EAGER)


def made(kafka: KafkaAddress, prefix: str, **config: str) -> list[Place]:
    """A topic of two partitions."""
    ensure_topics(kafka, [TopicSpec(prefix + "bars", 2, {**FOR_EVER, **config})])
    return [(prefix + "bars", partition) for partition in range(2)]


def death_of(relay: Relay, seconds: float = 30.0) -> RuntimeError:
    """What killed it."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        try:
            relay.check()
        except RuntimeError as error:
            return error
        time.sleep(0.01)
    raise AssertionError("it lives on")


def assert_marks_are_true(connection: Connection, kafka: KafkaAddress, outbox: Outbox) -> int:
    """Every row up to the mark can be read; returns the mark."""
    row = connection.execute("select coalesce(max(upto), 0) from published").fetchone()
    assert row is not None
    upto = int(str(row[0]))
    seen = {record.seq for records in read_all(kafka, outbox.expected.keys()).values() for record in records}
    assert set(range(1, upto + 1)) <= seen
    return upto


@pytest.mark.timeout(120)
@pytest.mark.parametrize("fault", ["kill", "pause"])
def test_a_broker_that_goes_away_ends_the_relay_and_the_next_one_loses_and_doubles_nothing(
    own_broker: EmbeddedKafka, database: str, connection: Connection, prefix: str, fault: str
) -> None:
    kafka = KafkaAddress(own_broker.brokers)
    places = made(kafka, prefix)
    outbox = Outbox(connection, places)
    outbox.add(3000)
    relay = relay_to(database, kafka, places)
    relay.start()
    while relay.done < 300:
        time.sleep(0.001)
    getattr(own_broker, fault)()
    died = death_of(relay)
    assert isinstance(died, PublishError)
    assert relay.done < 3000, "void: it had nothing left to publish"
    getattr(own_broker, {"kill": "start", "pause": "resume"}[fault])()
    assert assert_marks_are_true(connection, kafka, outbox) >= 300
    with relay_to(database, kafka, places) as successor:
        successor.drain(100.0)
    assert not faults(read_all(kafka, places), outbox.expected)


@pytest.mark.timeout(120)
def test_a_broker_killed_as_the_commit_returns_has_every_acknowledged_record(
    own_broker: EmbeddedKafka, prefix: str
) -> None:
    assert acknowledged_and_lost(own_broker, prefix, kills=2) == (2 * CANARY_RECORDS, 0)


def test_a_broker_that_is_not_there_ends_the_start(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "INIT_SECONDS", 1.0)
    places: list[Place] = [("bars", 0)]
    Outbox(connection, places).add(3)
    with pytest.raises(PublishError, match="init_transactions failed"):
        relay_to(database, KafkaAddress("127.0.0.1:1"), places).start()
    assert connection.execute("select from published").fetchall() == []


@pytest.mark.parametrize(("limit", "value_bytes"), [("10000000", 2_000_000), ("1000", 5_000)])
def test_a_record_that_is_too_large_is_named_and_never_marked(
    kafka: KafkaAddress, database: str, connection: Connection, prefix: str, limit: str, value_bytes: int
) -> None:
    """Refused by the client, or by the broker alone."""
    places = made(kafka, prefix, **{"max.message.bytes": limit})
    outbox = Outbox(connection, places)
    outbox.add(10)
    with relay_to(database, kafka, places) as relay:
        relay.drain()
        outbox.add(1, value_bytes=value_bytes)
        outbox.add(10)
        relay.wake(21)
        died = death_of(relay)
    assert isinstance(died, PublishError)
    assert "too large" in str(died) or "larger" in str(died)
    assert assert_marks_are_true(connection, kafka, outbox) == 10


def test_a_topic_that_does_not_exist_ends_the_start(
    kafka: KafkaAddress, database: str, connection: Connection, prefix: str
) -> None:
    places: list[Place] = [(prefix + "none", 0)]
    Outbox(connection, places).add(3)
    with pytest.raises(TailError, match=f"topic {prefix}none, partition 0"):
        relay_to(database, kafka, places).start()
    assert connection.execute("select from published").fetchall() == []


@pytest.mark.timeout(120)
def test_a_topic_that_vanishes_ends_the_relay(
    kafka: KafkaAddress, database: str, connection: Connection, prefix: str
) -> None:
    places = made(kafka, prefix)
    outbox = Outbox(connection, places)
    outbox.add(10)
    with relay_to(database, kafka, places) as relay:
        relay.drain()
        admin = AdminClient(kafka.client(log_level=0))
        admin.delete_topics([places[0][0]])[places[0][0]].result(10)
        relay.wake(outbox.add(10))
        died = death_of(relay)
    assert isinstance(died, PublishError)
    assert not isinstance(died, FencedError)
    assert connection.execute("select upto from published").fetchall() == [(10,)]


@pytest.fixture
def guarded() -> Iterator[EmbeddedKafka]:
    """A broker that asks who may."""
    directory = Path(tempfile.mkdtemp(prefix="lotus-kafka-"))
    settings = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }
    try:
        with EmbeddedKafka(directory, settings) as broker:
            yield broker
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.timeout(120)
def test_a_topic_that_we_may_not_write_ends_the_relay(
    guarded: EmbeddedKafka, database: str, connection: Connection, prefix: str
) -> None:
    kafka = KafkaAddress(guarded.brokers)
    places = made(kafka, prefix)
    outbox = Outbox(connection, places)
    outbox.add(10)
    with relay_to(database, kafka, places) as relay:
        relay.drain()
        deny(kafka, places[0][0], AclOperation.WRITE)
        relay.wake(outbox.add(10))
        died = death_of(relay)
    assert isinstance(died, PublishError)
    assert "authoriz" in str(died).lower()
    assert assert_marks_are_true(connection, kafka, outbox) == 10


@pytest.mark.timeout(120)
def test_a_topic_that_we_may_not_read_ends_the_start(
    guarded: EmbeddedKafka, database: str, connection: Connection, prefix: str
) -> None:
    kafka = KafkaAddress(guarded.brokers)
    places = made(kafka, prefix)
    outbox = Outbox(connection, places)
    outbox.add(10)
    with relay_to(database, kafka, places) as relay:
        relay.drain()
    deny(kafka, places[0][0], AclOperation.READ)
    with pytest.raises(TailError, match=rf"topic {places[0][0]}, partition .*authoriz"):
        relay_to(database, kafka, places).start()


def deny(kafka: KafkaAddress, topic: str, operation: AclOperation) -> None:
    """Nobody may do this to the topic; everything else stays allowed."""
    rules = [
        AclBinding(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*", asked, permission)
        for asked, permission in ((AclOperation.ALL, AclPermissionType.ALLOW), (operation, AclPermissionType.DENY))
    ]
    admin = AdminClient(kafka.client(log_level=0))
    for answer in admin.create_acls(rules, request_timeout=10).values():
        answer.result(10)
