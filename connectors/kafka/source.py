"""Kafka as a flow's source: one partition of the engine, one consumer, every topic and partition of a share.

    start     cluster, topic ids, partition counts, offsets: all as the snapshot says, or the flow does not start
    batch     poll, consume what has arrived -> lookahead -> inlets -> one slice
    snapshot  behind the last message that a slice was made of; the topics are looked at again

Nothing is ever skipped: an offset that is gone, a topic that is another one and a log that does not begin at 0 stop the
flow and say what to do. An outage of the brokers is waited for, up to a bound.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from typing import Any, cast

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message
from confluent_kafka import TopicPartition as Position

from connectors.kafka.cluster import KafkaAddress, TopicIdentity, identity
from connectors.kafka.consumer import reading
from connectors.kafka.gauges import SourceGauges, Standing
from connectors.kafka.inlet import Inlet, Mark, Part
from connectors.kafka.log_ends import log_spans
from connectors.kafka.lookahead import Lookahead
from connectors.kafka.outage import LONGEST_SECONDS, Outage
from connectors.kafka.records import TopicPartition
from connectors.kafka.resuming import (
    SourceState,
    TopicState,
    begun,
    check_counts,
    check_offsets,
    refuse_missing,
    resumed,
)
from connectors.kafka.stops import ForeignPartitionError, LogError, MissingOffsetError
from connectors.kafka.topic_watch import EVERY_SECONDS, TopicWatch, changed
from lotus.feed import Slice
from lotus.records import DeadLetters

PARTITION = "share"


@dataclass(frozen=True)
class SourceConfig:
    """How a source reads.

    batch_messages      at most about so many make a slice
    epoch_messages, epoch_bytes  budget of an epoch: back-pressure exists only at its end
    max_ahead_ms        partitions further ahead of the slowest, in event time, wait
    poll_seconds        how long a batch waits for its first message
    outage_seconds      how long brokers may be away
    watch_seconds       how often the topics' ids are asked for
    from_earliest       begin a log where it begins now, although its beginning is gone
    """

    batch_messages: int = 10_000
    epoch_messages: int = 100_000
    epoch_bytes: int = 64 * 2**20
    max_ahead_ms: int = 120_000
    poll_seconds: float = 0.02
    outage_seconds: float = LONGEST_SECONDS
    watch_seconds: float = EVERY_SECONDS
    from_earliest: bool = False

    def __post_init__(self) -> None:
        """Refuse what would never read anything."""
        for name in ("batch_messages", "epoch_messages", "epoch_bytes", "max_ahead_ms"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1, got {getattr(self, name)}")


class SharePartition(StatefulSourcePartition[Slice, SourceState]):
    """The messages of a share, as slices."""

    def __init__(
        self,
        address: KafkaAddress,
        inlets: Sequence[Inlet],
        config: SourceConfig,
        resume: SourceState | None,
        first: Slice | None,
        stop: Callable[[], bool],
        check: Callable[[], None],
        gauges: SourceGauges,
    ) -> None:
        """Find out where to begin and begin; raises LogError, UnreachableError, TopicMismatchError."""
        self._address, self._config, self._stop, self._check, self.gauges = address, config, stop, check, gauges
        self._inlets = {inlet.topic: inlet for inlet in inlets}
        assert len(self._inlets) == len(inlets), "a topic is read through one inlet"
        self._found = identity(address, list(self._inlets))
        self._marks = self._opening(resume)
        self._next = {place: mark.offset for place, mark in self._marks.items()}
        self._pending = first if resume is None else None
        self._lookahead = Lookahead(config.max_ahead_ms)
        self._outage = Outage(config.outage_seconds)
        self._errors: list[KafkaError] = []
        self._messages, self._bytes = 0, 0
        gauges.partitions = {place: Standing(offset=offset) for place, offset in self._next.items()}
        self._consumer = Consumer(reading(address, error_cb=self._errors.append, log_level=0))
        self._consumer.assign([Position(*place, offset) for place, offset in self._next.items()])
        expected = {
            name: TopicIdentity(self._found.topics[name].topic_id, inlet.total) for name, inlet in self._inlets.items()
        }
        self._watch = TopicWatch(address, expected, self._grown, config.watch_seconds)

    def next_batch(self) -> list[Slice]:
        """What has arrived, as one slice or none.

        raises  StopIteration once the flow is to stop; what `check` raises; LogError and its kinds
        """
        self._check()
        if self._stop():
            raise StopIteration
        if self._pending is not None:
            first, self._pending = self._pending, None
            return [first]
        if self._spent():
            return []
        self._fetch()
        taken = self._lookahead.take(self._config.batch_messages, self._reached())
        pieces = [self._read(inlet, taken) for inlet in self._inlets.values()]
        self._balance()
        return [piece for piece in (merged([piece for piece in pieces if piece is not None]),) if piece is not None]

    def snapshot(self) -> SourceState:
        """Behind the last message that was read; begins an epoch."""
        self._watch.look(now=True)
        self._tell()
        self._messages, self._bytes = 0, 0  # a new budget
        marks: dict[str, dict[int, Mark]] = {name: {} for name in self._inlets}
        for (name, partition), mark in self._marks.items():
            marks[name][partition] = mark
        for name, inlet in self._inlets.items():
            marks[name] |= inlet.marks()
        return SourceState(
            self._found.cluster_id,
            {
                name: TopicState(self._found.topics[name].topic_id, inlet.total, marks[name])
                for name, inlet in self._inlets.items()
            },
        )

    def close(self) -> None:
        """Leave the brokers."""
        self._consumer.close()

    def _opening(self, resume: SourceState | None) -> dict[TopicPartition, Mark]:
        """Marks to begin at; the inlets have taken in theirs."""
        inlets = list(self._inlets.values())
        marks = resumed(resume, inlets, self._found) if resume is not None else {}
        check_counts(inlets, self._found)
        spans = log_spans(self._address, [(inlet.topic, at) for inlet in inlets for at in inlet.partitions])
        if resume is None:
            marks = begun(inlets, spans, from_earliest=self._config.from_earliest)
        check_offsets(marks, spans)
        for name, inlet in self._inlets.items():
            known = {at: mark for (topic, at), mark in marks.items() if topic == name and mark.state is not None}
            inlet.resume(known)
        return marks

    def _fetch(self) -> None:
        """Take what the client has; wait for the first message only if nothing is at hand."""
        if self._watch.look():
            self._outage.over()
        at_hand = self._lookahead.may_read(self._reached())
        first = self._consumer.poll(0 if at_hand else self._config.poll_seconds)
        while self._errors:
            self._outage.meet(self._errors.pop(0), self._address.brokers)
        if first is None:
            self._outage.check()
            return
        messages = [first, *self._consumer.consume(self._config.batch_messages - 1, 0)]
        faults = [(error, _place(message)) for message in messages if (error := message.error()) is not None]
        for error, place in faults:
            self._meet(error, place)
        if faults:
            messages = [message for message in messages if message.error() is None]
        for place, mine in by_place(messages).items():
            self._outage.over()
            self._put(place, mine)

    def _put(self, place: TopicPartition, messages: list[Message]) -> None:
        if place not in self._next:
            raise ForeignPartitionError(
                f"{place[0]}/{place[1]} holds messages, but keys are spread over "
                f"{self._inlets[place[0]].total} partitions: whoever writes there counts other partitions than we do. "
                "Stop that writer; then start this deployment on new topics (another prefix), fed from the archive"
            )
        self._lookahead.put(place, messages)

    def _read(self, inlet: Inlet, taken: Mapping[TopicPartition, list[Message]]) -> Slice | None:
        """A slice of what was taken of a topic."""
        parts = []
        for partition in inlet.partitions:
            messages = taken.get((inlet.topic, partition))
            if messages:
                part = part_of(partition, messages, with_headers=inlet.with_headers)
                self._move((inlet.topic, partition), part, sum(map(len, messages)))
                parts.append(part)
        return inlet.read(parts) if parts else None

    def _move(self, place: TopicPartition, part: Part, size: int) -> None:
        """Offsets ascend; the client never gives a message twice."""
        if part.offsets[0] < self._next[place]:
            raise LogError(f"{place[0]}/{place[1]}: offset {part.offsets[0]} came after {self._next[place] - 1}")
        self._next[place] = part.offsets[-1] + 1
        self._messages += len(part.offsets)
        self._bytes += size
        standing = self.gauges.partitions[place]
        standing.messages += len(part.offsets)
        standing.offset = self._next[place]

    def _spent(self) -> bool:
        """Whether the budget of the epoch is used up."""
        return self._messages >= self._config.epoch_messages or self._bytes >= self._config.epoch_bytes

    def _reached(self) -> dict[TopicPartition, int]:
        """How far each partition is that has a clock to wait for."""
        found: dict[TopicPartition, int] = {}
        for place in self._next:
            reached_ms = self._inlets[place[0]].reached_ms(place[1])
            if reached_ms is not None:
                found[place] = reached_ms
        return found

    def _balance(self) -> None:
        """Let the client fetch neither too much nor too little."""
        pause = self._lookahead.to_pause(self._next)
        if pause:
            self._consumer.pause([Position(*place) for place in pause])
        resume = self._lookahead.to_resume(self._next)
        if resume:
            self._consumer.resume([Position(*place) for place in resume])

    def _meet(self, error: KafkaError, place: TopicPartition) -> None:
        where = f"{place[0]}/{place[1]}" if place[0] else self._address.brokers
        try:
            self._outage.meet(error, where)
        except MissingOffsetError as gone:
            for name, topic in identity(self._address, list(self._inlets)).topics.items():
                changed(name, self._found.topics[name], topic)  # a new topic is shorter, too
            span = log_spans(self._address, [place])[place]
            refuse_missing(*place, self._next[place], span)
            raise MissingOffsetError(f"{where}: {error.str()} at offset {self._next[place]}") from gone

    def _grown(self, name: str, partitions: int) -> None:
        """Somebody added partitions: no key of ours lives there, so whatever comes from there is foreign."""
        total = self._inlets[name].total
        self.gauges.alarms.append(
            f"topic {name} has {partitions} partitions by now, the deployment uses {total}: keys stay where they are; "
            "make sure that no writer counts the others"
        )
        self._consumer.incremental_assign(
            [Position(name, extra, OFFSET_BEGINNING) for extra in range(total, partitions)]
        )

    def _tell(self) -> None:
        """Bring the gauges up to date."""
        self.gauges.epochs += 1
        self.gauges.budget_spent += self._spent()
        self.gauges.outage_seconds = self._outage.seconds
        for place, standing in self.gauges.partitions.items():
            _, high = self._consumer.get_watermark_offsets(Position(*place), cached=True) or (0, 0)
            reached_ms = self._inlets[place[0]].reached_ms(place[1])
            standing.reached_ms = -1 if reached_ms is None else reached_ms
            standing.lag = max(0, high - self._next[place])
            standing.waiting = self._lookahead.waiting(place)
            standing.paused = place in self._lookahead.paused


class KafkaSource(FixedPartitionedSource[Slice, SourceState]):
    """The source of a live flow. The inlets are new ones for every start."""

    def __init__(
        self,
        address: KafkaAddress,
        inlets: Sequence[Inlet],
        config: SourceConfig | None = None,
        *,
        first: Slice | None = None,
        stop: Callable[[], bool] = lambda: False,
        check: Callable[[], None] = lambda: None,
        gauges: SourceGauges | None = None,
    ) -> None:
        """Read nothing yet.

        first   slice before all others of a run that begins: warm-up history
        stop    whether to end the flow; what was read by then is snapshotted
        check   called for every batch; what it raises ends the flow
        gauges  kept up to date
        """
        self.gauges = gauges or SourceGauges()
        self._given = (address, inlets, config or SourceConfig())
        self._first, self._stop, self._check = first, stop, check

    def list_parts(self) -> list[str]:
        """One partition, whatever the share."""
        return [PARTITION]

    def build_part(self, step_id: str, for_part: str, resume_state: SourceState | None) -> SharePartition:
        """Begin where the snapshot ends, or at the beginning."""
        return SharePartition(*self._given, resume_state, self._first, self._stop, self._check, self.gauges)


def merged(pieces: Sequence[Slice]) -> Slice | None:
    """One slice of what several inlets read; None if that is nothing."""
    filled = [piece for piece in pieces if _holds_anything(piece)]
    if len(filled) < 2:
        return filled[0] if filled else None
    together: dict[str, Any] = {}
    for item in fields(Slice):
        parts = [getattr(piece, item.name) for piece in filled]
        if item.name == "dead":
            together[item.name] = DeadLetters.concat(parts)
        elif item.name == "watermark_ms":
            together[item.name] = min(parts)
        else:
            together[item.name] = tuple(one for part in parts for one in part)
    return Slice(**together)


def _holds_anything(piece: Slice) -> bool:
    return any(item.name != "watermark_ms" and len(getattr(piece, item.name)) for item in fields(piece))


def by_place(messages: Iterable[Message]) -> dict[TopicPartition, list[Message]]:
    """The messages of each partition; the client hands them out in runs of one partition."""
    found: dict[TopicPartition, list[Message]] = {}
    for _, of_topic in groupby(messages, Message.topic):
        for _, run in groupby(of_topic, Message.partition):
            mine = list(run)
            found.setdefault(_place(mine[0]), []).extend(mine)
    return found


def part_of(partition: int, messages: Sequence[Message], *, with_headers: bool) -> Part:
    """What a reader reads of messages of one partition."""
    offsets = cast(list[int], [*map(Message.offset, messages)])  # a message that was read has one
    values = [*map(Message.value, messages)]
    headers = [*map(Message.headers, messages)] if with_headers else ()
    return Part(partition, offsets, values, headers)


def _place(message: Message) -> TopicPartition:
    topic, partition = message.topic(), message.partition()
    return topic or "", -1 if partition is None else partition
