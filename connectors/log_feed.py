"""The input log as a feed: the same messages give the same rows, live, from the topic and from its archive.

    partition 0   hb t t hb t | hb t hb t t | hb ...        a slice holds of each partition what stands before the
    partition 1   hb hb t     | hb t t hb   | hb ...        first heartbeat behind its edge
    edges                     12:00         12:10

Archive and topic are one log: the archive as far as it goes, then what the topic still holds.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from connectors.archive import Archive, refuse_lost
from connectors.archive_files import HEARTBEAT, ArchiveError, HoleError, Message, noun_of
from connectors.kafka.inlet import Inlet, Mark, Part
from lotus.columns import I64
from lotus.feed import Manifest, Slice
from lotus.kernel import NEVER_MS
from lotus.timeframe import Timeframe

DAY_MS = Timeframe.D1.ms


class Log(Protocol):
    """The input log from its first to its last message, both fixed."""

    @property
    def partitions(self) -> int:
        """Number of partitions."""
        ...

    def messages(self, partition: int, begin: int = 0, end: int | None = None, /) -> Iterator[Message]:
        """Messages of a partition in order of offset, begin <= offset < end."""
        ...

    def beats(self, partition: int, /) -> tuple[I64, I64]:
        """Offsets and times of all heartbeats of a partition, of any source."""
        ...


class Topic(Log, Protocol):
    """What a topic still holds."""

    @property
    def low(self) -> Mapping[int, int]:
        """First offset of each partition that is still there."""
        ...


class JoinedLog:
    """Archive, then topic, without a hole.

    raises  HoleError if the topic has dropped what is not archived, ArchiveError if the two differ in partitions
    """

    def __init__(self, archive: Archive, topic: Topic) -> None:
        """Check that one begins where the other ends, or before."""
        if archive.partitions != topic.partitions:
            raise ArchiveError(
                f"the archive has {archive.partitions} partitions, the topic {topic.partitions}: they are two logs"
            )
        refuse_lost(archive.next, topic.low)
        self._archive, self._topic = archive, topic
        self.partitions = topic.partitions

    def messages(self, partition: int, begin: int = 0, end: int | None = None) -> Iterator[Message]:
        """See `Log`."""
        next_ = max(self._archive.next[partition], 0)
        yield from self._archive.messages(partition, begin, end)
        if end is None or end > next_:
            yield from self._topic.messages(partition, max(begin, next_), end)

    def beats(self, partition: int) -> tuple[I64, I64]:
        """See `Log`."""
        archived, times = self._archive.beats(partition)
        newer, newer_times = self._topic.beats(partition)
        fresh = newer >= max(self._archive.next[partition], 0)
        return np.concatenate([archived, newer[fresh]]), np.concatenate([times, newer_times[fresh]])


def beats_of(messages: Iterable[Message]) -> tuple[I64, I64]:
    """Offsets and times of the heartbeats among messages."""
    found = [(message.offset, message.ts) for message in messages if noun_of(message) == HEARTBEAT]
    table = np.array(found, dtype=np.int64).reshape(-1, 2)
    return table[:, 0].copy(), table[:, 1].copy()


@dataclass(frozen=True, slots=True)
class Cut:
    """Where slices end.

    edges  event time of each slice's end; the last slice takes all that follows
    ends   int64[partitions, slices], first offset of each partition that belongs to a later slice
    """

    edges: tuple[int, ...]
    ends: I64


def cut(log: Log, span_ms: int) -> Cut:
    """Cut a log at multiples of a span of event time; raises ArchiveError for a log without a heartbeat."""
    found = [log.beats(partition) for partition in range(log.partitions)]
    times = [clock for _, clock in found if len(clock)]
    if not times:
        raise ArchiveError("the log holds no heartbeat: nothing in it has a time")
    first_ms, last_ms = min(int(clock.min()) for clock in times), max(int(clock.max()) for clock in times)
    edges = tuple(range(first_ms // span_ms * span_ms + span_ms, last_ms + span_ms, span_ms))
    ends = np.full((len(found), len(edges)), NEVER_MS, dtype=np.int64)
    for partition, (offsets, clock) in enumerate(found):
        behind = np.searchsorted(np.maximum.accumulate(clock), edges[:-1], side="right")
        ends[partition, :-1] = np.append(offsets, NEVER_MS)[behind]
    return Cut(edges, ends)


class LogFeed:
    """A feed over a log; see `lotus.feed.Feed`.

    manifest  what the log holds: a log does not say which instruments it is about
    reader    makes a reader of the input log that has read nothing
    span_ms   event time of a slice; changes no row
    opening   what stands before the first message: the history of the series
    """

    def __init__(
        self,
        log: Log,
        reader: Callable[[], Inlet],
        manifest: Manifest,
        span_ms: int = DAY_MS,
        opening: Slice | None = None,
    ) -> None:
        """Find the cuts; raises ArchiveError for a log without a heartbeat."""
        self._log, self._reader, self._opening = log, reader, opening or Slice()
        self._cut = cut(log, span_ms)
        self._marks: dict[int, Mapping[int, Mark]] = {}
        self.manifest = replace(manifest, slices=len(self._cut.edges))

    def slices(self, position: int = 0) -> Iterator[Slice]:
        """The slices from number `position` on; what the reader has to know there is found by reading what is before.

        raises  HoleError where the log leaves an offset out
        """
        begin = max((known for known in self._marks if known <= position), default=0)
        reader = self._reader()
        reader.resume(self._marks.get(begin, {}))
        reels = [self._reel(partition, begin) for partition in range(self._log.partitions)]
        for number in range(begin, self.manifest.slices):
            piece = reader.read([part for part in self._parts(reels, number) if part.offsets])
            self._marks[number + 1] = dict(reader.marks())
            if number >= position:
                yield piece if number else _behind(self._opening, piece)

    def _reel(self, partition: int, number: int) -> "_Reel":
        if not number:
            return _Reel(partition, self._log.messages(partition), None)
        begin = int(self._cut.ends[partition, number - 1])
        return _Reel(partition, self._log.messages(partition, begin) if begin < NEVER_MS else iter(()), begin)

    def _parts(self, reels: Sequence["_Reel"], number: int) -> Iterator[Part]:
        for partition, reel in enumerate(reels):
            yield reel.until(int(self._cut.ends[partition, number]))


class _Reel:
    """A partition that is read on, slice by slice.

    next_  offset of the next message; None: wherever the log begins
    """

    def __init__(self, partition: int, messages: Iterator[Message], next_: int | None) -> None:
        self._partition, self._messages = partition, messages
        self._ahead = next(messages, None)
        self._next = next_

    def until(self, end: int) -> Part:
        """The messages before an offset."""
        offsets: list[int] = []
        values: list[bytes | None] = []
        while (message := self._ahead) is not None and message.offset < end:
            if self._next not in (None, message.offset):
                raise HoleError(
                    f"partition {self._partition}: offset {self._next} is missing in the log, "
                    f"{message.offset} came instead"
                )
            self._next = message.offset + 1
            offsets.append(message.offset)
            values.append(message.value)
            self._ahead = next(self._messages, None)
        return Part(self._partition, offsets, values)


def _behind(opening: Slice, piece: Slice) -> Slice:
    """The first slice, with what stands before it."""
    return replace(
        piece,
        raw=(*opening.raw, *piece.raw),
        samples=(*opening.samples, *piece.samples),
        dead=opening.dead if len(opening.dead) else piece.dead,
    )
