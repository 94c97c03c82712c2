"""Where a source begins: what its snapshot says, checked against the cluster, or the beginning of every log.

kept      cluster id; per topic its id, its partition count, the partitions of the share, and a mark for each
refused   another cluster, topic or share; an offset that the log no longer holds or does not hold yet
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from connectors.kafka.cluster import ClusterIdentity, TopicIdentity
from connectors.kafka.inlet import Inlet, Mark
from connectors.kafka.log_ends import Span
from connectors.kafka.records import TopicPartition
from connectors.kafka.stops import MissingOffsetError, StaleStoreError, TopicChangedError
from connectors.kafka.topic_watch import changed


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic in a snapshot.

    topic_id  Kafka's id of it
    total     partitions that its keys are spread over
    marks     by partition of the share; the state of a mark is None where nothing was read yet
    """

    topic_id: str
    total: int
    marks: Mapping[int, Mark]


@dataclass(frozen=True, slots=True)
class SourceState:
    """A snapshot of a source. Shares are split and merged by their marks (exactly-once.md 15)."""

    cluster_id: str
    topics: Mapping[str, TopicState]


def resumed(state: SourceState, inlets: Sequence[Inlet], found: ClusterIdentity) -> dict[TopicPartition, Mark]:
    """The marks of a snapshot that belongs to this cluster and this share.

    raises  StaleStoreError, TopicChangedError
    """
    if state.cluster_id != found.cluster_id:
        raise StaleStoreError(
            f"the recovery store was written on cluster {state.cluster_id}, the brokers are cluster "
            f"{found.cluster_id}; {_STALE}"
        )
    wanted = {inlet.topic: inlet for inlet in inlets}
    if set(wanted) != set(state.topics):
        raise StaleStoreError(
            f"the recovery store reads {sorted(state.topics)}, this flow reads {sorted(wanted)}; {_STALE}"
        )
    marks: dict[TopicPartition, Mark] = {}
    for name, inlet in wanted.items():
        kept = state.topics[name]
        changed(name, TopicIdentity(kept.topic_id, kept.total), found.topics[name])
        if inlet.total != kept.total:
            raise StaleStoreError(
                f"{name}: the recovery store was made for {kept.total} partitions, the configuration says "
                f"{inlet.total}; {_STALE}"
            )
        if set(inlet.partitions) != set(kept.marks):
            raise StaleStoreError(
                f"{name}: the recovery store has partitions {sorted(kept.marks)}, this share has "
                f"{sorted(inlet.partitions)}; rescale the stores, or start the share that this one belongs to"
            )
        marks |= {(name, partition): mark for partition, mark in kept.marks.items()}
    return marks


def check_counts(inlets: Sequence[Inlet], found: ClusterIdentity) -> None:
    """Refuse a topic that has fewer partitions than its keys are spread over; raises TopicChangedError."""
    for inlet in inlets:
        partitions = found.topics[inlet.topic].partitions
        if partitions < inlet.total:
            raise TopicChangedError(
                f"topic {inlet.topic} has {partitions} partitions, the configuration says {inlet.total}: say how many "
                "the deployment was made with"
            )


def begun(
    inlets: Sequence[Inlet], spans: Mapping[TopicPartition, Span], *, from_earliest: bool
) -> dict[TopicPartition, Mark]:
    """Marks at the beginning of every log.

    raises  MissingOffsetError if one does not begin at 0, unless `from_earliest`
    """
    marks: dict[TopicPartition, Mark] = {}
    for inlet in inlets:
        for partition in inlet.partitions:
            low = spans[inlet.topic, partition].low
            if low > 0 and not from_earliest:
                raise MissingOffsetError(
                    f"{inlet.topic}/{partition} begins at offset {low}: offsets 0 to {low - 1} are gone, and without "
                    "them the rows would be others. Begin with the archive, or with the recovery store that has read "
                    "them; or allow a start at the earliest offset, which is another run"
                )
            marks[inlet.topic, partition] = Mark(low, None)
    return marks


def check_offsets(marks: Mapping[TopicPartition, Mark], spans: Mapping[TopicPartition, Span]) -> None:
    """Refuse offsets that their logs do not hold; raises MissingOffsetError naming the gap."""
    for (topic, partition), mark in marks.items():
        refuse_missing(topic, partition, mark.offset, spans[topic, partition])


def refuse_missing(topic: str, partition: int, offset: int, span: Span) -> None:
    """Refuse an offset that is gone or not there yet."""
    where = f"{topic}/{partition}"
    if offset < span.low:
        raise MissingOffsetError(
            f"{where}: the next offset to read is {offset}, the log begins at {span.low}: offsets {offset} to "
            f"{span.low - 1} are gone. {_GAP}"
        )
    if offset > span.high:
        raise MissingOffsetError(
            f"{where}: the next offset to read is {offset}, the log ends at {span.high}: offsets {span.high} to "
            f"{offset - 1} were read before and are lost. {_GAP}"
        )


_STALE = "name the brokers and the configuration that it belongs to, or begin with an empty recovery store (--rebuild)"
_GAP = "Nothing was read. Rebuild from the archive and the log together, with an empty recovery store (--rebuild)"
