"""Writing the input log: every kind of input, in order per partition, each delivery checked (market-data.md 3).

    write(noun, lane, rows)  ->  the token's own partition
    beat, connection         ->  every partition
    flush                    ->  returns when the broker has everything

The client batches for up to 200 ms; with `linger_ms=0` it sends at once. It is idempotent: a retry never doubles or
reorders. A delivery that fails after all ends the writer, because what follows would leave a hole.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import numpy as np
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connectors.avro.codec import codec_of
from connectors.avro.framing import Framing
from connectors.kafka import cluster
from connectors.kafka.cluster import KafkaAddress, TopicMismatchError
from connectors.kafka.records import NOUN
from connectors.kafka.transactions import kafka_error
from lotus.columns import I64, Columns
from lotus.intake import Connections, Heartbeats, Link
from schemas.partition import partition_of

BATCH_MS = 200  # market-data.md 3
BATCH_RECORDS = 500
DELIVERY_TIMEOUT_MS = 30_000
FLUSH_SECONDS = 35.0  # longer than a delivery can take
COUNTER_BITS = 20  # of a seq; the rest is the millisecond of receipt
_FULL_QUEUE_POLL_SECONDS = 0.05
_BROADCAST = ("", "", "")

LaneText = tuple[str, str, str]


class IntakeError(RuntimeError):
    """A record did not get into the input log; the writer is of no use any more."""


class SeqClock:
    """Numbers for arrivals: receipt_ms * 2^20 + counter, strictly ascending (market-data.md 3).

    They ascend over restarts too, as long as the clock does; one that was set back needs `last`.
    """

    def __init__(self, now_ms: Callable[[], int], last: int = -1) -> None:
        """`last`: the largest number given so far, by whomever."""
        self._now_ms = now_ms
        self._last = last

    def take(self, count: int) -> I64:
        """The numbers of `count` records that have just arrived."""
        first = max(self._now_ms() << COUNTER_BITS, self._last + 1)
        self._last = max(self._last, first + count - 1)
        return np.arange(first, first + count, dtype=np.int64)


class IntakeWriter:
    """The only writer of its partitions of the input log, under the name of one source."""

    def __init__(
        self,
        address: KafkaAddress,
        topic: str,
        partitions: int,
        framing: Framing,
        source: str,
        *,
        linger_ms: int = BATCH_MS,
        delivered: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        """Connect.

        source     whose clock the heartbeats are
        linger_ms  how long a record may wait for others; 0: not at all
        delivered  hears of every heartbeat how many seconds it took to be acknowledged
        raises     TopicMismatchError if the topic is missing or has another number of partitions
        """
        there = cluster.partitions(address, topic)
        if there != partitions:
            raise TopicMismatchError(
                f"{topic} has {there} partitions, the deployment {partitions}: records would go astray; the number of "
                "partitions is fixed for the life of a deployment"
            )
        self._topic, self._partitions = topic, partitions
        self._framing, self._source, self._delivered = framing, source, delivered
        self._failed: KafkaError | None = None
        self._producer = Producer(
            address.client(
                **{
                    "enable.idempotence": True,
                    "enable.gapless.guarantee": True,
                    "acks": "all",
                    "max.in.flight.requests.per.connection": 5,
                    "linger.ms": linger_ms,
                    "batch.num.messages": BATCH_RECORDS,
                    "message.timeout.ms": DELIVERY_TIMEOUT_MS,
                    "partitioner": "consistent",  # never asked: every record names its partition
                    "on_delivery": self._report,
                    "log_level": 0,
                }
            )
        )

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Flush; after an error only give up what is left."""
        if kind is None:
            self.flush()
        self.close()

    def write(self, noun: str, lane: LaneText, rows: Columns) -> None:
        """Append rows of one lane to the token's partition, in their order.

        lane    token, venue, timeframe; "" where the noun's key has no such field
        raises  IntakeError if a record, of this call or an earlier one, is not delivered; RowRefusedError if a row
                must not be written: then none of them was
        """
        self._append(noun, lane, rows, [partition_of(lane[0], self._partitions)])

    def beat(self, ts: int) -> None:
        """The source's clock, ms UTC, into every partition."""
        self._append("heartbeat", _BROADCAST, Heartbeats(_times(ts), _texts(self._source)), range(self._partitions))

    def connection(self, ts: int, state: Link, tokens: Sequence[str] = ()) -> None:
        """The source's connection changed, for these tokens; into every partition."""
        row = Connections(_times(ts), _texts(self._source), np.array([state], np.int8), _texts(",".join(tokens)))
        self._append("connection", _BROADCAST, row, range(self._partitions))

    def flush(self, timeout_seconds: float = FLUSH_SECONDS) -> None:
        """Wait until the broker has every record.

        raises  IntakeError if it has not
        """
        left = self._call(lambda: self._producer.flush(timeout_seconds))
        if left:
            raise IntakeError(f"{self._topic}: {left} records were not delivered within {timeout_seconds:.0f} s")

    def close(self) -> None:
        """Give up whatever is not delivered yet: flush first."""
        self._producer.purge()
        with suppress(KafkaException):  # purged in flight, the log has no gap only because nothing follows
            self._producer.flush(0)

    def _append(self, noun: str, lane: LaneText, rows: Columns, partitions: Sequence[int]) -> None:
        codec = codec_of(noun)
        prefix = self._framing.prefix(codec.contract)
        bodies = codec.encode(lane, rows)
        key = lane[0].encode()
        times: list[int] = _ts(rows).tolist()
        headers: list[tuple[str, str | bytes | None]] = [(NOUN, noun.encode())]
        self._check()
        for row, ts in enumerate(times):
            value = prefix + bodies[row]
            for partition in partitions:
                self._produce(value, key, partition, ts, headers)
        self._call(lambda: self._producer.poll(0))

    def _produce(
        self, value: bytes, key: bytes, partition: int, ts: int, headers: list[tuple[str, str | bytes | None]]
    ) -> None:
        """Hand one record to the client; when its queue is full, wait for the broker."""
        give_up = time.monotonic() + FLUSH_SECONDS
        while True:
            try:
                self._producer.produce(self._topic, value, key, partition, timestamp=ts, headers=headers)
                return
            except BufferError as error:
                if time.monotonic() > give_up:
                    raise IntakeError(f"{self._topic}: the broker takes no records") from error
                self._call(lambda: self._producer.poll(_FULL_QUEUE_POLL_SECONDS))
            except KafkaException as error:
                self._failed = kafka_error(error)
                self._check()

    def _call(self, ask: Callable[[], int]) -> int:
        """Serve delivery reports; what they, or the client, say of a failure ends the writer."""
        try:
            left = ask()
        except (KafkaException, SystemError) as error:
            self._failed = kafka_error(error)
            left = 0
        self._check()
        return left

    def _report(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            if not message.key() and (seconds := message.latency()) is not None:
                self._delivered(seconds)
        elif self._failed is None:
            self._failed = error

    def _check(self) -> None:
        if self._failed is not None:
            self._producer.purge()
            raise IntakeError(
                f"{self._topic}: a record was not delivered ({self._failed.str()}): nothing more is written, so that "
                "the log has no hole; start the writer again"
            )


def _ts(rows: Columns) -> I64:
    """Event times: every input record has them."""
    times: Any = rows
    found: I64 = times.ts
    return found


def _times(ts: int) -> I64:
    return np.array([ts], dtype=np.int64)


def _texts(text: str) -> Any:
    return np.array([text], dtype=np.object_)
