"""A topic from its beginning to its present end: for archives and for replays of a topic.

low                        end when the reading began
 |--------- all of it ----------|  what comes later is not read
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Self

from confluent_kafka import Consumer, KafkaError, Message
from confluent_kafka import TopicPartition as Position

from connectors.kafka.cluster import KafkaAddress, partitions
from connectors.kafka.consumer import reading
from connectors.kafka.log_ends import log_spans
from connectors.kafka.outage import let_pass
from connectors.kafka.records import Headers, TopicPartition
from connectors.kafka.stops import OutageError

BATCH = 5_000
SILENT_SECONDS = 60.0
_POLL_SECONDS = 1.0


class Record(NamedTuple):
    """A record as the log holds it; times are ms UTC."""

    partition: int
    offset: int
    ts: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    @classmethod
    def of(cls, message: Message) -> Self:
        """What is kept of a message that is no error."""
        partition, offset = message.partition(), message.offset()
        assert partition is not None
        assert offset is not None
        ts = message.timestamp()[1]
        return cls(partition, offset, ts, message.key(), message.value(), message.headers() or [])


def catch_up(
    address: KafkaAddress, topic: str, *, only: Sequence[int] | None = None, start: Mapping[int, int] | None = None
) -> Iterator[Record]:
    """Committed records of a topic up to its present end, in order within each partition.

    only    partitions to read; default all
    start   offset to begin at, by partition; default the beginning of the log
    raises  UnreachableError, TopicMismatchError; OutageError if nothing comes for a minute; MissingOffsetError for an
            offset that is gone, LogError for everything else that waiting does not cure
    """
    chosen = range(partitions(address, topic)) if only is None else only
    spans = log_spans(address, [(topic, partition) for partition in chosen])
    first = {place: (start or {}).get(place[1], span.low) for place, span in spans.items()}
    ends = {place: span.high for place, span in spans.items() if first[place] < span.high}
    if not ends:
        return
    consumer = Consumer(reading(address, **{"enable.partition.eof": True}))
    try:
        consumer.assign([Position(name, partition, first[name, partition]) for name, partition in ends])
        yield from _to_the_end(consumer, ends)
    finally:
        consumer.close()


def _to_the_end(consumer: Consumer, ends: dict[TopicPartition, int]) -> Iterator[Record]:
    silent = 0.0
    while ends:
        first = consumer.poll(_POLL_SECONDS)
        if first is None:
            silent += _POLL_SECONDS
            if silent >= SILENT_SECONDS:
                raise OutageError(f"nothing came from {sorted(ends)} for {SILENT_SECONDS:.0f} s: start again")
            continue
        silent = 0.0
        for message in [first, *consumer.consume(BATCH, 0)]:
            place = _place(message)
            if place not in ends or _at_end(message, ends[place]):
                ends.pop(place, None)
                continue
            error = message.error()
            if error is None:
                yield Record.of(message)
            elif error.code() != KafkaError._PARTITION_EOF:
                let_pass(error, f"{place[0]}/{place[1]}")


def _place(message: Message) -> TopicPartition:
    topic, partition = message.topic(), message.partition()
    return topic or "", -1 if partition is None else partition


def _at_end(message: Message, end: int) -> bool:
    """Whether this is behind the end; the end of a log is told by an event, because control records are never seen."""
    offset, error = message.offset(), message.error()
    told = error is None or error.code() == KafkaError._PARTITION_EOF
    return told and offset is not None and offset >= end
