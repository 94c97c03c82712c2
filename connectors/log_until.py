"""A log up to the moment at which a clock has been reached in each of its partitions.

partition 0   hb t t hb t | hb t hb        the message that lifts the clock is the last one
partition 1   hb hb t   hb | hb t
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from connectors.archive_files import HEARTBEAT, Message, noun_of
from connectors.kafka.inlet import Inlet, Part
from connectors.log_feed import Log
from lotus.columns import I64

BLOCK = 5_000
CLOCK = frozenset((HEARTBEAT, "connection"))


@dataclass(frozen=True)
class Until:
    """A log that ends early; see `connectors.log_feed.Log`.

    ends  first offset of each partition that does not belong to it
    """

    log: Log
    ends: Mapping[int, int]

    @property
    def partitions(self) -> int:
        """Number of partitions."""
        return self.log.partitions

    def messages(self, partition: int, begin: int = 0, end: int | None = None) -> Iterator[Message]:
        """Messages of a partition in order of offset, begin <= offset < end."""
        last = self.ends[partition]
        return self.log.messages(partition, begin, last if end is None else min(end, last))

    def beats(self, partition: int) -> tuple[I64, I64]:
        """Offsets and times of all heartbeats."""
        offsets, times = self.log.beats(partition)
        kept = np.asarray(offsets < self.ends[partition], dtype=np.bool_)
        return offsets[kept], times[kept]

    def beyond(self, partition: int) -> bool:
        """Whether anything but clocks comes later."""
        later = self.log.messages(partition, self.ends[partition])
        return any(noun_of(message) not in CLOCK for message in later)


def until(log: Log, reader: Callable[[], Inlet], clock_ms: int) -> Until:
    """The log up to a clock; a partition that does not reach it is there as a whole.

    reader  makes a reader of the log that has read nothing
    """
    return Until(log, {partition: _end(log, reader, partition, clock_ms) for partition in range(log.partitions)})


def _end(log: Log, reader: Callable[[], Inlet], partition: int, clock_ms: int) -> int:
    """The offset behind the message that lifts the clock: the block is found first, then the message in it."""
    messages, inlet, next_ = iter(log.messages(partition)), reader(), 0
    while block := list(islice(messages, BLOCK)):
        before = inlet.marks()
        clocks = [message for message in block if noun_of(message) in CLOCK]
        if _reached(inlet, partition, clocks) >= clock_ms:
            inlet = reader()
            inlet.resume(before)
            for message in clocks:
                if _reached(inlet, partition, [message]) >= clock_ms:
                    return message.offset + 1
        next_ = block[-1].offset + 1
    return next_


def _reached(inlet: Inlet, partition: int, messages: list[Message]) -> int:
    if messages:
        inlet.read([Part(partition, [one.offset for one in messages], [one.value for one in messages])])
    reached_ms = inlet.reached_ms(partition)
    return -1 if reached_ms is None else reached_ms
