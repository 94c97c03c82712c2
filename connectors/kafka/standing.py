"""Where a relay stands when it starts: its mark is the topics themselves (exactly-once.md 12).

    number   1 ................... tail | tail + 1 ........... target.number      of one topic partition
                 in the topic           | in the outbox, to be published

A row is published if the topic holds its number. Transactions are whole and in order, so of the writer's own rows
those up to some seq are published and none behind it. Whatever does not fit together - fewer records in a topic than
were published, more than the database knows, rows that nobody has - stops the relay: publishing on would leave a hole
or a double for ever.
"""

from collections.abc import Mapping
from typing import NamedTuple

from connectors.kafka.backlog import Backlog, Marked, Waiting
from connectors.kafka.records import TopicPartition
from connectors.kafka.retention import FOR_EVER
from connectors.kafka.tail import Held, Tail

_REPAIR = (
    "do not publish on: restore the topics; or give the deployment new ones (another prefix and a new database) and "
    "rebuild them from the input log"
)


class TopicLostError(RuntimeError):
    """The topics do not hold what was published, or hold what the database does not know; the message has the cure."""


class Topics(NamedTuple):
    """What the topics show.

    retention_ms  by topic; of those topics at least that keep none of a partition's records
    now_ms        what retention is measured by
    """

    run: str
    tails: Mapping[TopicPartition, Tail]
    retention_ms: Mapping[str, int]
    now_ms: int

    def expired(self, place: TopicPartition, ts: int) -> bool:
        """Whether a record of that time may have been deleted in the ordinary way."""
        keeps_ms = self.retention_ms.get(place[0], FOR_EVER)
        return keeps_ms != FOR_EVER and ts < self.now_ms - keeps_ms

    def absent(self, place: TopicPartition) -> bool:
        """Whether the partition had records and keeps none."""
        return self.tails[place].held is Held.ABSENT

    def number(self, place: TopicPartition) -> int:
        """Number of the last record of our run in a partition; 0: it shows none."""
        last = self.tails[place].last
        return last.number if last is not None and last.run == self.run else 0


class Standing(NamedTuple):
    """done: seq of the last row of ours in the topics. numbers: of the last record of each topic partition."""

    done: int
    numbers: dict[TopicPartition, int]


def standing(topics: Topics, backlog: Backlog, writer: str) -> Standing:
    """Find the mark.

    raises  TopicLostError if topics and database do not fit together
    """
    with backlog.snapshot():
        numbers = _numbers(topics, backlog.newest_marked())
        targets = backlog.targets()
        waiting = backlog.waiting(numbers)
        for place, number in numbers.items():
            _check_partition(topics, place, number, targets.get(place, 0), waiting.get(place))
        return Standing(_done(topics, backlog, numbers, writer), numbers)


def _numbers(topics: Topics, marked: Mapping[TopicPartition, Marked]) -> dict[TopicPartition, int]:
    """What the partitions show; of one that keeps nothing, what is marked, if that can have expired."""
    numbers = {}
    for place in topics.tails:
        numbers[place] = topics.number(place)
        if topics.absent(place) and place in marked:
            numbers[place], ts = marked[place]
            if not topics.expired(place, ts):
                raise TopicLostError(
                    f"{_named(place)} was truncated: it keeps nothing, and number {numbers[place]} of run "
                    f"{topics.run} was published there and is not older than its retention; {_REPAIR}"
                )
    return numbers


def _check_partition(topics: Topics, place: TopicPartition, number: int, given: int, waiting: Waiting | None) -> None:
    """The partition holds the numbers before the first waiting row, which go on to the last one given out."""
    if number > given:
        raise TopicLostError(
            f"{_named(place)} ends at number {number} of run {topics.run}, the database at {given}: the database is "
            "older than the topics, or another deployment writes there; restore the newer database, or give this one "
            "topics of its own (another prefix)"
        )
    if waiting is None:
        lacking = number < given and not topics.absent(place)
    else:
        lacking = waiting.first != number + 1 or waiting.last != given or waiting.rows != given - number
    if lacking:
        waits = "none" if waiting is None else f"{waiting.rows} ({waiting.first} to {waiting.last})"
        raise TopicLostError(
            f"{_named(place)} ends at number {number} of run {topics.run}. The database has given out {given}, and of "
            f"the missing ones {waits} wait in the outbox: the topic was truncated, made again or is another one, or "
            f"an earlier writer of the partition was not named; {_REPAIR}"
        )
    if waiting is not None and topics.absent(place) and topics.expired(place, waiting.ts):
        raise TopicLostError(
            f"{_named(place)} keeps no record, and number {waiting.first} of run {topics.run} is older than the "
            "topic's retention: it may have been published and deleted already. If a reader has it, set published.upto "
            "of its run and writer to its seq in the outbox; if not, raise retention.ms of the topic, which would "
            "delete it again"
        )


def _done(topics: Topics, backlog: Backlog, numbers: Mapping[TopicPartition, int], writer: str) -> int:
    """Seq before the first row of ours that is not in the topics."""
    span = backlog.span(numbers)
    if span.foreign is not None:
        raise TopicLostError(
            f"run {topics.run}, writer {writer}: seq {span.foreign} of the outbox goes to a partition that is not its: "
            "it was written with another number of partitions or another share; start it as it was"
        )
    if span.first is not None and span.last is not None and span.last > span.first:
        raise TopicLostError(
            f"run {topics.run}, writer {writer}: the topics {_listed(topics)} hold seq {span.last} and not seq "
            f"{span.first} before it: some of them were truncated or made again; {_REPAIR}"
        )
    return max(span.last or 0, backlog.upto()) if span.first is None else span.first - 1


def _named(place: TopicPartition) -> str:
    return f"topic {place[0]}, partition {place[1]}"


def _listed(topics: Topics) -> str:
    return ", ".join(sorted({topic for topic, _ in topics.tails}))
