"""When the promise of a minute is there: committed in Postgres, visible on the topic of decisions.

    target row of each partition --- trigger, NOTIFY on commit ---> Commits
    pm.decisions.v1 ---------------- read_committed consumer -----> Visible

A promise is a watermark at or after the minute's end, in every partition: then the rows of its last lane are there. The
trigger belongs to the bench: Postgres tells of it once the transaction is durable.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from psycopg import sql

from connectors.kafka.consumer import reading
from connectors.postgres.connection import connect
from tests.live.deployment import DECISIONS, Deployment

CHANNEL = "promised"
POLL_SECONDS = 0.05


class Promises(ABC):
    """Watermarks of the partitions and when they came, from a thread of its own."""

    def __init__(self, partitions: int) -> None:
        """Nothing is promised."""
        self._reached = [-1] * partitions
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._guarded, name=type(self).__name__, daemon=True)
        self.found: list[tuple[float, int]] = []  # perf_counter, what all partitions have promised from then on

    def start(self) -> None:
        """Listen."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no longer; raises what went wrong."""
        self._stop.set()
        self._thread.join()
        self.check()

    def check(self) -> None:
        """Raise what went wrong."""
        for error in self._failed:
            raise error

    @property
    def reached_ms(self) -> int:
        """What all partitions have promised."""
        return min(self._reached)

    def wait(self, until_ms: int, seconds: float) -> bool:
        """Whether a time is promised before the seconds are over."""
        with self._changed:
            return self._changed.wait_for(lambda: self.reached_ms >= until_ms or bool(self._failed), seconds)

    def came(self, minutes: Sequence[int]) -> dict[int, float]:
        """When each of these ascending minutes' ends was promised; those that were not are absent."""
        times: dict[int, float] = {}
        found = iter(self.found)
        at, reached = next(found, (0.0, -1))
        for minute in minutes:
            while reached < minute:
                following = next(found, None)
                if following is None:
                    return times
                at, reached = following
            times[minute] = at
        return times

    def _tell(self, partition: int, watermark_ms: int, at: float) -> None:
        with self._changed:
            before = self.reached_ms
            self._reached[partition] = max(self._reached[partition], watermark_ms)
            if self.reached_ms > before:
                self.found.append((at, self.reached_ms))
                self._changed.notify_all()

    def _guarded(self) -> None:
        try:
            self._listen()
        except BaseException as error:
            self._failed.append(error)
            with self._changed:
                self._changed.notify_all()

    @abstractmethod
    def _listen(self) -> None:
        """Note down what is promised until the end."""


class Commits(Promises):
    """What Postgres has committed."""

    def __init__(self, deployment: Deployment) -> None:
        """Install the trigger; `deployment` is migrated."""
        super().__init__(deployment.live.partitions)
        self._dsn = deployment.dsn
        topic = deployment.live.topic_prefix + DECISIONS
        with connect(self._dsn) as connection:
            connection.execute(
                f"""
                create or replace function tell_promise() returns trigger language plpgsql as $$
                begin perform pg_notify('{CHANNEL}', new.partition || ' ' || new.watermark_ms); return null; end $$
                """
            )
            connection.execute(
                sql.SQL(
                    "create trigger promised after insert or update on target "
                    "for each row when (new.topic = {}) execute function tell_promise()"
                ).format(sql.Literal(topic))
            )

    def _listen(self) -> None:
        with connect(self._dsn) as connection:
            connection.execute(f"listen {CHANNEL}")
            while not self._stop.is_set():
                for notice in connection.notifies(timeout=POLL_SECONDS):
                    partition, watermark_ms = map(int, notice.payload.split())
                    self._tell(partition, watermark_ms, time.perf_counter())


class Visible(Promises):
    """What a `read_committed` reader of the topic has seen."""

    def __init__(self, deployment: Deployment) -> None:
        """Read from the beginning."""
        super().__init__(deployment.live.partitions)
        self._address = deployment.address
        self._topic = deployment.live.topic_prefix + DECISIONS
        self.records = 0

    def _listen(self) -> None:
        consumer = Consumer(reading(self._address, log_level=0))
        try:
            consumer.assign(
                [TopicPartition(self._topic, partition, OFFSET_BEGINNING) for partition in range(len(self._reached))]
            )
            while not self._stop.is_set():
                message = consumer.poll(POLL_SECONDS)
                if message is None or message.error() is not None:
                    continue
                self.records += 1
                headers = dict(message.headers() or [])
                partition = message.partition()
                if headers.get("noun") == b"watermark" and partition is not None:
                    self._tell(partition, message.timestamp()[1], time.perf_counter())
        finally:
            consumer.close()
