"""One Kafka transaction after the other, each of them wholly delivered or the end of the process (exactly-once.md 13).

    publish:  pause -> begin -> produce ... -> every delivery report -> commit
                         any timeout, any error: the producer is of no use any more, nothing is retried here

A transaction that was cut off is aborted by the next `fence` of the same id, or by the broker after
TRANSACTION_TIMEOUT_MS. Until then it hides what comes after it, so it is opened only with records in hand.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connectors.failpoints import reached
from connectors.kafka.cluster import KafkaAddress
from connectors.kafka.records import Outgoing

TRANSACTION_TIMEOUT_MS = 5000
DELIVERY_TIMEOUT_MS = 4500  # shorter: a record that is late fails before its transaction does
INIT_SECONDS = 30.0
CALL_SECONDS = 10.0
PAUSE_SECONDS = 0.002  # back to back, the next transaction meets the end of the last one and waits for a back-off
_FENCERS = 8
_VAGUE = (KafkaError._FATAL, KafkaError._STATE, KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)
_FENCED = (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH)


class PublishError(RuntimeError):
    """A transaction did not come to its end; the process must end, its successor finds out what was committed."""


class FencedError(PublishError):
    """Another process has taken the transactional id over: this one must not be started again."""


class TransactionalProducer:
    """The only writer of its transactional id, until another one fences it."""

    def __init__(self, address: KafkaAddress, transactional_id: str) -> None:
        self.transactional_id = transactional_id
        self._failed: KafkaError | None = None
        self._delivered = 0
        self._free_at = 0.0
        self._producer: Producer | None = Producer(
            address.client(
                **{
                    "transactional.id": transactional_id,
                    "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
                    "message.timeout.ms": DELIVERY_TIMEOUT_MS,
                    "enable.idempotence": True,
                    "acks": "all",
                    "linger.ms": 0,
                    "retry.backoff.ms": 10,
                    "partitioner": "consistent",  # never asked: every record names its partition
                    "log_level": 0,
                }
            )
        )

    def fence(self) -> None:
        """End whoever has the id and abort what they left open. Once, before anything else.

        raises  PublishError if the broker does not answer or refuses the id
        """
        producer = self._alive()
        self._call("init_transactions", lambda: producer.init_transactions(INIT_SECONDS))

    def publish(self, records: Sequence[Outgoing]) -> None:
        """Write the records, in their order, in one transaction; when this returns it is committed.

        raises  FencedError, PublishError: it is not known whether the transaction was committed
        """
        assert records, "a transaction opens only with records in hand"
        time.sleep(max(0.0, self._free_at - time.monotonic()))
        reached("relay.before_begin")
        producer = self._alive()
        self._failed, self._delivered = None, 0
        self._call("begin_transaction", producer.begin_transaction)
        for record in records:
            self._call(f"produce to {record.topic}", partial(self._produce, producer, record))
        reached("relay.after_produce")
        left = self._delivered_within(producer)
        if self._failed is not None:
            raise self._error("delivery", self._failed)
        if left or self._delivered != len(records):
            raise PublishError(
                f"transactional id {self.transactional_id}: {self._delivered} of {len(records)} records were "
                f"delivered within {CALL_SECONDS:.0f} s; the process must be started again"
            )
        reached("relay.before_commit")
        self._call("commit_transaction", lambda: producer.commit_transaction(CALL_SECONDS))
        self._free_at = time.monotonic() + PAUSE_SECONDS
        reached("relay.after_commit")

    def close(self) -> None:
        """Give the client up. An open transaction is not aborted here: `fence` of the successor does it."""
        if self._producer is not None:
            self._producer.purge()
            self._producer = None

    def _alive(self) -> Producer:
        if self._producer is None:
            raise PublishError(f"transactional id {self.transactional_id}: the producer is closed")
        return self._producer

    def _produce(self, producer: Producer, record: Outgoing) -> None:
        producer.produce(
            record.topic,
            record.value,
            record.key,
            record.partition,
            on_delivery=self._report,
            timestamp=record.ts,
            headers=list(record.headers),
        )

    def _delivered_within(self, producer: Producer) -> int:
        """Wait for the delivery reports; returns how many are missing."""
        try:
            return producer.flush(CALL_SECONDS)
        except (KafkaException, SystemError) as error:
            raise self._error("delivery", kafka_error(error)) from error

    def _reason(self, error: KafkaError) -> KafkaError:
        """Why a transaction is lost. Its records only say that they were thrown away; the next call tells."""
        if self._producer is None or error.code() not in _VAGUE:
            return error
        try:
            self._producer.begin_transaction()  # it never begins: the lost one was not aborted
        except KafkaException as refusal:
            told: KafkaError = refusal.args[0]
            return told if told.code() not in _VAGUE else error
        return error

    def _report(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self._delivered += 1
        elif self._failed is None or error.code() in _FENCED:
            self._failed = error

    def _call(self, what: str, ask: Callable[[], object]) -> None:
        try:
            ask()
        except (KafkaException, SystemError) as error:
            raise self._error(what, kafka_error(error)) from error
        except BufferError as error:
            raise PublishError(
                f"transactional id {self.transactional_id}: {what}: the client's queue is full"
            ) from error

    def _error(self, what: str, said: KafkaError) -> PublishError:
        error = self._reason(said)
        told = f"transactional id {self.transactional_id}: {what} failed: {error.str()} ({error.name()})"
        if error.code() in _FENCED:
            return FencedError(
                f"{told}; another process has taken this share over, or this one was stopped for longer than "
                f"{TRANSACTION_TIMEOUT_MS} ms inside a transaction: it must not go on"
            )
        return PublishError(told)


def kafka_error(error: KafkaException | SystemError) -> KafkaError:
    """What the client says.

    A fatal error is raised by the client while it serves delivery reports. These then fail in its place, with the
    interpreter's own SystemError; sometimes what was fatal is lost on the way.
    """
    cause = error.__cause__ if isinstance(error, SystemError) else error
    if isinstance(cause, KafkaException):
        told: KafkaError = cause.args[0]
        return told
    return KafkaError(KafkaError._FATAL, "the client has failed", fatal=True)


def fence_all(address: KafkaAddress, transactional_ids: Iterable[str]) -> None:
    """End the producers that had these ids before, all at once; nothing of them is left open afterwards."""
    others = sorted(set(transactional_ids))
    if not others:
        return
    with ThreadPoolExecutor(min(len(others), _FENCERS)) as pool:
        for _ in pool.map(lambda name: _fence_one(address, name), others):
            pass


def _fence_one(address: KafkaAddress, transactional_id: str) -> None:
    producer = TransactionalProducer(address, transactional_id)
    try:
        producer.fence()
    finally:
        producer.close()
