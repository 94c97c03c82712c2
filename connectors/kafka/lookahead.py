"""Which of the messages at hand are read next: partitions keep together in event time (exactly-once.md 6).

    partition 0   read ......|          at hand .....
    partition 1   read ..|              at hand ..........
                         ^ slowest          ^ horizon = slowest + max_ahead: nobody reads behind it

Whoever stands before the horizon may read one message behind it: where no time was for a while, the slowest may be
waiting for the very rows that this message brings about.

What is at hand waits here, not in the client: pausing the client throws away what it has fetched, so it is paused
only when much waits, and resumed when half of it is gone. Event times of messages steer this and nothing else: what is
read does not depend on when.
"""

from bisect import bisect_right
from collections.abc import Collection, Mapping

from confluent_kafka import Message

from connectors.kafka.records import TopicPartition

HOLD_MESSAGES = 20_000
HOLD_BYTES = 64 * 2**20  # of all partitions together
_LEAST = 100  # messages that the slowest may read, whatever their times say
_NEVER_MS = 2**62


class Lookahead:
    """Messages at hand, by partition."""

    def __init__(self, max_ahead_ms: int, *, hold_messages: int = HOLD_MESSAGES, hold_bytes: int = HOLD_BYTES) -> None:
        """Nothing is at hand."""
        self._max_ahead_ms = max_ahead_ms
        self._hold_messages, self._hold_bytes = hold_messages, hold_bytes
        self._waiting: dict[TopicPartition, list[Message]] = {}
        self._bytes: dict[TopicPartition, int] = {}
        self._origin_ms = _NEVER_MS
        self.paused: set[TopicPartition] = set()

    def put(self, place: TopicPartition, messages: list[Message]) -> None:
        """Add what was fetched, in the order of the log."""
        self._bytes[place] = self._bytes.get(place, 0) + sum(map(len, messages))
        if place in self._waiting:
            self._waiting[place] += messages
        else:
            self._waiting[place] = messages

    def waiting(self, place: TopicPartition) -> int:
        """How many messages of a partition are at hand."""
        return len(self._waiting.get(place, ()))

    def take(self, count: int, reached_ms: Mapping[TopicPartition, int]) -> dict[TopicPartition, list[Message]]:
        """About `count` messages that may be read now.

        reached_ms  how far each partition is that has a clock to wait for; -1: not begun. Others are never waited for
        """
        if not self._waiting:
            return {}
        slowest_ms = self._slowest_ms(reached_ms)
        horizon_ms = slowest_ms + self._max_ahead_ms
        share = max(_LEAST, count // len(self._waiting))
        taken: dict[TopicPartition, list[Message]] = {}
        for place in list(self._waiting):
            mine_ms = reached_ms.get(place, -1)
            if mine_ms <= horizon_ms:
                least = min(_LEAST, share) if mine_ms <= slowest_ms else 1
                taken[place] = self._pop(place, max(least, self._until(self._waiting[place], horizon_ms, share)))
        return taken

    def may_read(self, reached_ms: Mapping[TopicPartition, int]) -> bool:
        """Whether `take` would give anything."""
        horizon_ms = self._slowest_ms(reached_ms) + self._max_ahead_ms
        return any(reached_ms.get(place, -1) <= horizon_ms for place in self._waiting)

    def to_pause(self, places: Collection[TopicPartition]) -> list[TopicPartition]:
        """Partitions of which too much waits by now; they count as paused."""
        most_bytes = self._hold_bytes // max(1, len(places))
        found = [
            place
            for place, messages in self._waiting.items()
            if place not in self.paused and (len(messages) > self._hold_messages or self._bytes[place] > most_bytes)
        ]
        self.paused.update(found)
        return found

    def to_resume(self, places: Collection[TopicPartition]) -> list[TopicPartition]:
        """Paused partitions of which little waits; they no longer count as paused."""
        few_bytes = self._hold_bytes // max(1, len(places)) // 2
        found = [
            place
            for place in self.paused
            if self.waiting(place) <= self._hold_messages // 2 and self._bytes.get(place, 0) <= few_bytes
        ]
        self.paused.difference_update(found)
        return found

    def _slowest_ms(self, reached_ms: Mapping[TopicPartition, int]) -> int:
        """A partition that has not begun stands where the first one began: a flow may have to run to bring it about."""
        begun = [ms for ms in reached_ms.values() if ms >= 0]
        if not begun:
            return _NEVER_MS
        self._origin_ms = min(self._origin_ms, *begun)
        return min(begun) if len(begun) == len(reached_ms) else self._origin_ms

    @staticmethod
    def _until(messages: list[Message], horizon_ms: int, most: int) -> int:
        """How many messages lie before the horizon; their times are nearly in order."""
        size = min(most, len(messages))
        if size and _event_ms(messages[size - 1]) <= horizon_ms:
            return size
        return bisect_right(messages, horizon_ms, 0, size, key=_event_ms)

    def _pop(self, place: TopicPartition, size: int) -> list[Message]:
        messages = self._waiting[place]
        if size >= len(messages):
            self._bytes[place] = 0
            return self._waiting.pop(place)
        taken, self._waiting[place] = messages[:size], messages[size:]
        self._bytes[place] -= sum(map(len, taken))
        return taken


def _event_ms(message: Message) -> int:
    return message.timestamp()[1]
