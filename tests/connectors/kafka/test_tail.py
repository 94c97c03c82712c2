"""The end of a partition, whatever hides it: control records, aborted transactions, deletion."""

from collections.abc import Iterator, Sequence

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from connectors.kafka.cluster import KafkaAddress, TopicSpec, ensure_topics
from connectors.kafka.records import Origin, origin
from connectors.kafka.tail import Held, Tail, TailError, TailTimeoutError, read_tails

PARTITIONS = 3


@pytest.fixture
def topic(kafka: KafkaAddress, prefix: str) -> str:
    """A topic of three partitions."""
    name = prefix + "derived"
    ensure_topics(kafka, [TopicSpec(name, PARTITIONS)])
    return name


@pytest.fixture
def writer(kafka: KafkaAddress, prefix: str) -> Iterator[Producer]:
    """A transactional producer."""
    producer = Producer(kafka.client(**{"transactional.id": prefix + "writer", "linger.ms": 0}))
    producer.init_transactions(30)
    yield producer
    producer.purge()


def produce(producer: Producer, topic: str, partition: int, seqs: Sequence[int], *, commit: bool = True) -> None:
    """One transaction."""
    producer.begin_transaction()
    for seq in seqs:
        headers: list[tuple[str, str | bytes | None]] = [*Origin("bar", "run", "0/1", seq, seq).headers()]
        producer.produce(topic, b"value", b"key", partition, headers=headers)
    producer.flush(10)  # else an abort drops what the broker has not got yet, and the test proves nothing
    if commit:
        producer.commit_transaction(10)
    else:
        producer.abort_transaction(10)


def tail_of(kafka: KafkaAddress, topic: str, partition: int = 0) -> Tail:
    return read_tails(kafka, [(topic, partition)])[topic, partition]


def test_a_partition_that_never_had_a_record_is_empty(kafka: KafkaAddress, topic: str) -> None:
    assert tail_of(kafka, topic) == Tail(Held.EMPTY, None, -1, 0)


def test_the_tail_is_the_last_committed_record_before_its_control_record(
    kafka: KafkaAddress, topic: str, writer: Producer
) -> None:
    produce(writer, topic, 0, [1, 2, 3])
    produce(writer, topic, 0, [4])
    tail = tail_of(kafka, topic)
    assert tail.last == Origin("bar", "run", "0/1", 4, 4)
    assert tail.offset == 4  # three records, a control record, the record


@pytest.mark.parametrize("aborted", [1, 63, 64, 65, 1000])
def test_aborted_records_behind_the_last_committed_one_are_not_the_tail(
    kafka: KafkaAddress, topic: str, writer: Producer, aborted: int
) -> None:
    produce(writer, topic, 1, [1, 2])
    produce(writer, topic, 1, range(3, 3 + aborted), commit=False)
    tail = tail_of(kafka, topic, 1)
    assert tail.high >= aborted + 3, "void: the aborted records never reached the broker"
    assert tail.last is not None
    assert tail.last.seq == 2


def test_a_partition_with_nothing_but_aborted_records_is_empty(
    kafka: KafkaAddress, topic: str, writer: Producer
) -> None:
    produce(writer, topic, 0, range(1, 300), commit=False)
    tail = tail_of(kafka, topic)
    assert tail.high >= 299, "void: the aborted records never reached the broker"
    assert tail.held is Held.EMPTY


@pytest.mark.parametrize("aborted_after", [0, 100])
def test_a_partition_whose_records_were_deleted_is_absent(
    kafka: KafkaAddress, topic: str, writer: Producer, aborted_after: int
) -> None:
    produce(writer, topic, 0, range(1, 11))
    admin = AdminClient(kafka.client())
    admin.delete_records([TopicPartition(topic, 0, 11)])[TopicPartition(topic, 0)].result(10)
    if aborted_after:
        produce(writer, topic, 0, range(11, 11 + aborted_after), commit=False)
    tail = tail_of(kafka, topic)
    assert (tail.held, tail.last) == (Held.ABSENT, None)
    assert tail.high >= 11


def test_all_partitions_are_read_together(kafka: KafkaAddress, topic: str, writer: Producer) -> None:
    produce(writer, topic, 0, range(1, 201))
    produce(writer, topic, 2, range(1, 11))
    produce(writer, topic, 2, range(11, 400), commit=False)
    tails = read_tails(kafka, [(topic, partition) for partition in range(PARTITIONS)])
    assert {place[1]: tail.last.seq if tail.last else None for place, tail in tails.items()} == {0: 200, 1: None, 2: 10}


def test_no_partitions_have_no_tails(kafka: KafkaAddress) -> None:
    assert read_tails(kafka, []) == {}


def test_a_transaction_that_stays_open_is_not_read_past(kafka: KafkaAddress, topic: str, writer: Producer) -> None:
    produce(writer, topic, 1, [1])
    writer.begin_transaction()
    writer.produce(topic, b"value", b"key", 1)
    writer.flush(10)
    with pytest.raises(TailTimeoutError, match=rf"topic {topic}, partition 1: a transaction .* stays open"):
        read_tails(kafka, [(topic, 0), (topic, 1)], timeout_seconds=1.0)
    writer.abort_transaction(10)
    assert tail_of(kafka, topic, 1).last == Origin("bar", "run", "0/1", 1, 1)


def test_a_record_of_a_stranger_is_told(kafka: KafkaAddress, topic: str) -> None:
    stranger = Producer(kafka.client())
    stranger.produce(topic, b"value", partition=2)
    assert stranger.flush(10) == 0
    with pytest.raises(TailError, match=rf"topic {topic}, partition 2, offset 0 was not written by Lotus .*noun"):
        tail_of(kafka, topic, 2)


def test_a_partition_that_does_not_exist_is_named(kafka: KafkaAddress, topic: str, prefix: str) -> None:
    with pytest.raises(TailError, match=rf"topic {topic}, partition 7: there is none"):
        tail_of(kafka, topic, 7)
    with pytest.raises(TailError, match=rf"topic {prefix}none, partition 0: there is none"):
        tail_of(kafka, prefix + "none")


def test_a_broker_that_does_not_answer_costs_no_more_than_the_time_allowed() -> None:
    with pytest.raises(TailTimeoutError, match="topic t, partition 0: "):
        read_tails(KafkaAddress("127.0.0.1:1"), [("t", 0)], timeout_seconds=1.0)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (None, "noun is missing"),
        ([("noun", b"bar"), ("run", b"r"), ("writer", b"w"), ("seq", b"1")], "number is missing"),
        ([("noun", b"bar"), ("noun", b"bar")], "noun is there twice"),
        ([("noun", b"bar"), ("run", b"r"), ("writer", b"w"), ("seq", b"-1"), ("number", b"1")], "seq is no number"),
        ([("noun", b"bar"), ("run", b"r"), ("writer", b"w"), ("seq", b"1"), ("number", "²")], "number is no number"),
    ],
)
def test_headers_that_are_not_ours_are_refused(headers: list[tuple[str, str | bytes | None]], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        origin(headers)


def test_headers_are_read_as_they_are_written() -> None:
    written = Origin("bar", "run 東京", "0/2", 17, 4)
    assert origin([*written.headers()]) == written
