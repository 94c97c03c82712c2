"""Whether the topics are still the ones that a flow began to read, asked in the background while it reads.

A topic that is deleted and made again is read on silently from the old offset (exactly-once.md 3): only its id tells.
The question costs about a millisecond, so it is asked about once a second and never waited for.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from connectors.kafka.cluster import KafkaAddress, TopicIdentity
from connectors.kafka.stops import TopicChangedError

EVERY_SECONDS = 1.0
_MISSES = 2  # a broker that has just started may not know its topics yet


class TopicWatch:
    """Asks for the identity of topics; `look` tells what has come of it."""

    def __init__(
        self,
        address: KafkaAddress,
        expected: Mapping[str, TopicIdentity],
        grown: Callable[[str, int], None],
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        """`grown(topic, partitions)` is told once per count when a topic has more partitions than expected."""
        self._admin = AdminClient(address.client(log_level=0))
        self._expected = dict(expected)
        self._known = {name: topic.partitions for name, topic in expected.items()}
        self._grown = grown
        self._every = every_seconds
        self._asked: dict[str, Future[Any]] = {}
        self._next = 0.0
        self._missing: dict[str, int] = {}

    def look(self, *, now: bool = False) -> bool:
        """Evaluate an answer if there is one, ask again if it is time; whether the brokers have answered.

        now     ask without waiting for the time
        raises  TopicChangedError for a topic that was made again, was deleted or lost partitions
        """
        answered = False
        if self._asked and all(future.done() for future in self._asked.values()):
            asked, self._asked = self._asked, {}
            verdicts = [self._evaluate(name, future) for name, future in asked.items()]
            answered = all(verdicts)
        if not self._asked and (now or time.monotonic() >= self._next):
            self._next = time.monotonic() + self._every
            self._asked = self._admin.describe_topics(TopicCollection(list(self._expected)))
        return answered

    def _evaluate(self, name: str, future: "Future[Any]") -> bool:
        try:
            described = future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                return False
            self._missing[name] = self._missing.get(name, 0) + 1
            if self._missing[name] >= _MISSES:
                raise TopicChangedError(f"topic {name} was deleted while it was read; {CURE}") from error
            return True
        self._missing.pop(name, None)
        self._compare(name, TopicIdentity(str(described.topic_id), len(described.partitions)))
        return True

    def _compare(self, name: str, found: TopicIdentity) -> None:
        changed(name, self._expected[name], found)
        if found.partitions > self._known[name]:
            self._known[name] = found.partitions
            self._grown(name, found.partitions)


CURE = (
    "its offsets mean other records now. Restore the topic, or start with an empty recovery store and an empty "
    "database (or another environment), from the archive if the log does not begin at 0"
)


def changed(name: str, was: TopicIdentity, found: TopicIdentity) -> None:
    """Refuse a topic that is another one, or that lost partitions; one that has more is still the same."""
    if found.topic_id != was.topic_id:
        raise TopicChangedError(
            f"topic {name} was made again: its id is {found.topic_id}, it was {was.topic_id}; {CURE}"
        )
    if found.partitions < was.partitions:
        raise TopicChangedError(f"topic {name} has {found.partitions} partitions, it had {was.partitions}; {CURE}")
