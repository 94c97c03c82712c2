"""Errors of a consumer: which end the reading at once, which may pass, and for how long they may."""

import time
from collections.abc import Callable

from confluent_kafka import KafkaError

from connectors.kafka.stops import LogError, MissingOffsetError, OutageError

LONGEST_SECONDS = 60.0
_GONE = frozenset((KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE))
_PASSING = frozenset(
    (
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._RESOLVE,
        KafkaError._WAIT_COORD,
        # a broker that has just started: whether a topic is really gone is what the topic watch finds out
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    )
)


def let_pass(error: KafkaError, where: str) -> None:
    """Return for an error that may pass.

    raises  MissingOffsetError for an offset that is gone, LogError for all else that waiting does not cure
    """
    code = error.code()
    if code in _GONE:
        raise MissingOffsetError(f"{where}: the offset to go on at is gone ({error.str()})")
    if error.fatal() or not (code in _PASSING or error.retriable()):
        raise LogError(f"{where}: {error.str()} ({error.name()})")


class Outage:
    """How long the brokers have been away."""

    def __init__(self, longest_seconds: float = LONGEST_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        """They are there."""
        self._longest, self._clock = longest_seconds, clock
        self._since: float | None = None
        self._last = ""

    @property
    def seconds(self) -> float:
        """How long by now; 0 when they are there."""
        return 0.0 if self._since is None else self._clock() - self._since

    def over(self) -> None:
        """Something came from the brokers."""
        self._since = None

    def meet(self, error: KafkaError, where: str) -> None:
        """Take in an error.

        raises  MissingOffsetError for an offset that is gone, LogError for all that waiting does not cure
        """
        let_pass(error, where)
        self._last = f"{where}: {error.str()}"
        if self._since is None:
            self._since = self._clock()

    def check(self) -> None:
        """Stop after too long.

        raises  OutageError
        """
        if self.seconds > self._longest:
            raise OutageError(
                f"no broker answered for {self._longest:.0f} s ({self._last}); the flow goes on where it was when it "
                "is started again"
            )
