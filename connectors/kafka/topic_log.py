"""A topic of input read as a log: what it holds now, from first to last, and what is added to it from here on.

    low         begin                          high at the time of asking
     |  kept     |==== messages(p, begin) =====|  later
                 |==== batches(next) ==========|============== for ever

Every message is read once and in order per partition. An offset that is not there any more ends the reading: it is
never skipped. A topic that was deleted and made again has the old name and another id, so the id is looked at again.
"""

import time
from collections.abc import Iterator, Mapping

from confluent_kafka import Consumer, Message
from confluent_kafka import TopicPartition as Position

from connectors.archive_files import Description
from connectors.kafka.catch_up import Record, catch_up
from connectors.kafka.cluster import Cluster, KafkaAddress, TopicIdentity
from connectors.kafka.consumer import reading
from connectors.kafka.log_ends import Span, log_spans
from connectors.kafka.outage import let_pass
from connectors.kafka.stops import MissingOffsetError, OutageError
from connectors.kafka.topic_watch import TopicWatch, changed
from connectors.log_feed import beats_of
from lotus.columns import I64

BATCH = 2_000
POLL_SECONDS = 0.5
OUTAGE_SECONDS = 60.0


class TopicLog:
    """What a topic holds at the moment; see `connectors.log_feed.Topic`. Messages added later are not seen.

    raises  TopicMismatchError if there is no such topic, UnreachableError if nobody answers
    """

    def __init__(self, address: KafkaAddress, topic: str) -> None:
        """Ask where each partition begins and ends."""
        self._address, self._topic = address, topic
        self.partitions = Cluster(address).identity([topic]).topics[topic].partitions
        spans = _spans(address, topic, self.partitions)
        self.low: Mapping[int, int] = {partition: span.low for partition, span in spans.items()}
        self.high: Mapping[int, int] = {partition: span.high for partition, span in spans.items()}

    def messages(self, partition: int, begin: int = 0, end: int | None = None) -> Iterator[Record]:
        """Messages of a partition in order of offset; from what it still holds on where `begin` is 0.

        raises  what `catch_up` raises
        """
        end = self.high[partition] if end is None else min(end, self.high[partition])
        begin = begin or self.low[partition]
        if begin >= end:
            return
        for record in catch_up(self._address, self._topic, only=[partition], start={partition: begin}):
            if record.offset < end:
                yield record
            if record.offset >= end - 1:
                return

    def beats(self, partition: int) -> tuple[I64, I64]:
        """Offsets and times of all heartbeats; reads the partition."""
        return beats_of(self.messages(partition))


def description(address: KafkaAddress, topic: str, framing: str) -> Description:
    """What an archive of a topic says it is an archive of; raises TopicMismatchError, UnreachableError."""
    identity = Cluster(address).identity([topic])
    found = identity.topics[topic]
    return Description(topic, found.topic_id, identity.cluster_id, found.partitions, framing)


def low_offsets(address: KafkaAddress, described: Description) -> dict[int, int]:
    """First offset that the topic still has, by partition: what `connectors.archive.refuse_lost` asks for."""
    return {one: span.low for one, span in _spans(address, described.topic, described.partitions).items()}


def batches(address: KafkaAddress, described: Description, next_: Mapping[int, int]) -> Iterator[list[Record]]:
    """Messages of all partitions as they come, for ever; an empty batch where none came for a moment.

    next_   first offset of each partition that is wanted; -1: the first that is there
    raises  MissingOffsetError if such an offset is gone, TopicChangedError if the topic was made again, OutageError if
            the brokers are away for a minute, LogError for everything else that waiting does not cure
    """
    topic = described.topic
    was = TopicIdentity(described.topic_id, described.partitions)
    changed(topic, was, Cluster(address).identity([topic]).topics[topic])
    watch = TopicWatch(address, {topic: was}, _grown)
    low = low_offsets(address, described)
    consumer = Consumer(reading(address))
    try:
        begin = {partition: offset if offset >= 0 else low[partition] for partition, offset in next_.items()}
        consumer.assign([Position(topic, partition, offset) for partition, offset in begin.items()])
        heard = time.monotonic()
        while True:
            first = consumer.poll(POLL_SECONDS)
            found = [] if first is None else [first, *consumer.consume(BATCH, 0)]
            records = [record for message in found if (record := _record(message, topic)) is not None]
            if watch.look() or records:
                heard = time.monotonic()
            elif time.monotonic() - heard > OUTAGE_SECONDS:
                raise OutageError(f"{topic}: the brokers have been away for {OUTAGE_SECONDS:.0f} s: start again")
            yield records
    finally:
        consumer.close()


def _spans(address: KafkaAddress, topic: str, partitions: int) -> dict[int, Span]:
    spans = log_spans(address, [(topic, partition) for partition in range(partitions)])
    return {partition: span for (_, partition), span in spans.items()}


def _grown(topic: str, partitions: int) -> None:
    """Partitions that were added hold nothing of ours: the key of a record decides among the old ones."""


def _record(message: Message, topic: str) -> Record | None:
    """A message with what is kept of it; None for news that pass by themselves."""
    error = message.error()
    if error is None:
        return Record.of(message)
    try:
        let_pass(error, f"{topic}/{message.partition()}")
    except MissingOffsetError as gone:
        raise MissingOffsetError(
            f"{gone}: what was between is lost; raise the topic's retention and begin a new archive in an empty folder"
        ) from gone
    return None
