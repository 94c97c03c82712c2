"""The outbox becomes topics: each committed row once, in order, for `read_committed` readers (exactly-once.md 12).

    Postgres                        relay                                  topics
    outbox rows behind `done` --->  begin, produce, reports, commit  --->  records with seq and number
    published.upto  <-------------  now and then                           (the mark is their tail)

    start   fence -> read the tails -> done -> publish
    end     any error at all: nothing is retried, the process ends and the next one finds out where the topics are

One row follows the other: seq has no hole, and within a partition number has none. The relay holds nothing that a crash
could lose. A second thread looks at the topics now and then: that they are still the same and hold what was committed;
then it removes rows of the outbox that nobody needs any more.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from connectors.clock import wall_ms
from connectors.failpoints import reached
from connectors.kafka.backlog import Backlog, Pending
from connectors.kafka.cluster import ClusterIdentity, KafkaAddress, TopicMismatchError, UnreachableError, identity
from connectors.kafka.records import TopicPartition
from connectors.kafka.retention import retention_ms
from connectors.kafka.standing import Standing, TopicLostError, Topics, standing
from connectors.kafka.tail import Held, Tail, TailTimeoutError, read_tails
from connectors.kafka.transactions import FencedError, PublishError, TransactionalProducer, fence_all
from connectors.postgres.connection import connect

__all__ = ["FENCED_EXIT", "FencedError", "PublishError", "Relay", "RelayError", "RelaySettings", "TopicLostError"]

FENCED_EXIT = 77  # the exit code of a process that must not be started again
_JOIN_SECONDS = 15.0

Published = Callable[[Mapping[str, int], float], None]  # messages of a transaction by topic, its time in seconds


class RelayError(RuntimeError):
    """The relay cannot go on; the message says why."""


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """batch_rows     most rows in one transaction
    poll_seconds   how often the outbox is looked at when nobody wakes the relay
    mark_seconds   how often published.upto is written at most
    watch_seconds  how often the topics are looked at; 0: never
    keep_rows      newest rows of each topic partition that the outbox keeps although the topic has them, at least 1
    """

    batch_rows: int = 500
    poll_seconds: float = 0.1
    mark_seconds: float = 1.0
    watch_seconds: float = 30.0
    keep_rows: int = 1000


class Relay:
    """Publishes the rows of one writer of a run."""

    def __init__(
        self,
        dsn: str,
        address: KafkaAddress,
        run_id: str,
        writer: str,
        transactional_id: str,
        partitions: Iterable[TopicPartition],
        *,
        fence: Sequence[str] = (),
        earlier: Sequence[str] = (),
        settings: RelaySettings | None = None,
        published: Published | None = None,
    ) -> None:
        """Nothing happens before `start` or `run`.

        writer      the share, as outbox.writer has it
        partitions  every topic partition that this writer may write
        fence       transactional ids of those who wrote these partitions before
        earlier     their names: what they left in the outbox for these partitions is published before our own rows
        published   hears of every transaction, in the thread that publishes
        """
        self._dsn, self._address = dsn, address
        self._run_id, self._writer = run_id, writer
        self._transactional_id, self._fence, self._earlier = transactional_id, tuple(fence), tuple(earlier)
        self._partitions = frozenset(partitions)
        self._settings = settings or RelaySettings()
        self._published = published
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._calls = self._answered = self._drain = 0
        self._done, self._marked = -1, 0
        self._marked_at = 0.0
        self._numbers: dict[TopicPartition, int] = {}
        self._topics: ClusterIdentity | None = None
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, without publishing what is left."""
        self.stop()

    @property
    def done(self) -> int:
        """Seq of the last row of ours that is known to be in the topics; -1 before the start."""
        return self._done

    def start(self) -> None:
        """Fence, find the mark, publish what earlier writers left; then publish in a thread.

        After it `units.settled` may be called.
        raises  TopicLostError, RelayError, FencedError, PublishError, TailError, psycopg.Error
        """
        backlog, producer = self._open()
        self._spawn("relay", lambda: self._publish_all(backlog, producer))
        self._spawn_watch()

    def run(self) -> None:
        """The same in the calling thread, until `stop`; raises what ended it."""
        backlog, producer = self._open()
        self._spawn_watch()
        self._guarded(lambda: self._publish_all(backlog, producer))
        self.stop()
        self.check()

    def wake(self, upto: int) -> None:
        """Rows up to this seq are committed: publish them now instead of at the next look."""
        if upto > self._done:
            self._call()

    def check(self) -> None:
        """Raise what killed the relay, if something did. FencedError: end with FENCED_EXIT."""
        if self._failure is not None:
            raise self._failure

    def drain(self, timeout_seconds: float = 30.0) -> None:
        """Publish and mark everything that is committed by now.

        raises  RelayError if the time is up, or what killed the relay
        """
        mine = self._call(drain=True)
        with self._changed:
            self._changed.wait_for(lambda: self._answered >= mine or self._stop.is_set(), timeout_seconds)
            answered = self._answered >= mine
        self.check()
        if not answered:
            raise RelayError(
                f"writer {self._writer}: not everything was published within {timeout_seconds:.0f} s, only up to seq "
                f"{self._done}"
            )

    def stop(self) -> None:
        """End the threads after the transaction at hand.

        raises  RelayError if one does not end, unless `check` has something to tell
        """
        self._end()
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)
            if thread.is_alive() and self._failure is None:
                raise RelayError(f"the thread {thread.name} does not end")
        self._threads.clear()

    def _open(self) -> tuple[Backlog, TransactionalProducer]:
        """Fence, then find the mark: in this order, or a transaction could still come to its end in between."""
        fence_all(self._address, set(self._fence) - {self._transactional_id})
        producer = TransactionalProducer(self._address, self._transactional_id)
        with ExitStack() as undo:
            undo.callback(producer.close)
            producer.fence()
            # a mark that is lost is found again in the topics
            connection = connect(self._dsn, synchronous_commit="off")
            backlog = Backlog(connection, self._run_id, self._writer, self._earlier)
            undo.callback(backlog.close)
            done, self._numbers = self._find(backlog)
            self._topics = identity(self._address, sorted({topic for topic, _ in self._partitions}))
            left = backlog.left(self._numbers)
            for first in range(0, len(left), self._settings.batch_rows):
                self._publish(producer, left[first : first + self._settings.batch_rows])
            self._done = done
            undo.pop_all()
        return backlog, producer

    def _find(self, backlog: Backlog) -> Standing:
        tails = read_tails(self._address, self._partitions)
        absent = {place[0] for place, tail in tails.items() if tail.held is Held.ABSENT}
        topics = Topics(self._run_id, tails, retention_ms(self._address, absent), wall_ms())
        return standing(topics, backlog, self._writer)

    def _publish_all(self, backlog: Backlog, producer: TransactionalProducer) -> None:
        try:
            while not self._stop.is_set():
                calls = self._calls
                rows = backlog.after(self._done, self._settings.batch_rows)
                if rows:
                    self._check_order(rows)
                    self._publish(producer, rows)
                    self._done = rows[-1].seq
                self._mark(backlog, now=not rows and self._drain > self._answered)
                if not rows:
                    self._rest(calls)
            self._mark(backlog, now=True)
        finally:
            producer.close()
            backlog.close()

    def _publish(self, producer: TransactionalProducer, rows: Sequence[Pending]) -> None:
        """One transaction; within each partition the rows go on where it ends."""
        numbers = dict(self._numbers)
        for row in rows:
            last = numbers.get(row.place)
            if last is None:
                raise RelayError(
                    f"writer {self._writer}, seq {row.seq}: topic {row.place[0]}, partition {row.place[1]} is not its"
                )
            if row.number != last + 1:
                raise RelayError(
                    f"topic {row.place[0]}, partition {row.place[1]} ends at number {last}, the outbox of writer "
                    f"{self._writer} goes on with {row.number} (seq {row.seq}): another writer has the partition"
                )
            numbers[row.place] = row.number
        began = time.monotonic()
        producer.publish([row.record for row in rows])
        self._numbers = numbers
        if self._published is not None:
            self._published(Counter(topic for topic, _ in (row.place for row in rows)), time.monotonic() - began)

    def _check_order(self, rows: Sequence[Pending]) -> None:
        for seq, row in enumerate(rows, self._done + 1):
            if row.seq != seq:
                raise RelayError(f"writer {self._writer}: the outbox has seq {row.seq} where {seq} must follow")

    def _mark(self, backlog: Backlog, *, now: bool) -> None:
        """Write down how far the topics are, not more often than asked for."""
        due = now or time.monotonic() - self._marked_at >= self._settings.mark_seconds
        if self._done > self._marked and due:
            reached("relay.before_mark")
            backlog.mark(self._done)
            self._marked, self._marked_at = self._done, time.monotonic()

    def _call(self, *, drain: bool = False) -> int:
        """Ask the thread to look at the outbox; returns the number of this call."""
        with self._changed:
            self._calls += 1
            if drain:
                self._drain = self._calls
            self._changed.notify_all()
            return self._calls

    def _rest(self, calls: int) -> None:
        """Everything that was there at this call is out: tell it, then wait for the next one."""
        with self._changed:
            self._answered = calls
            self._changed.notify_all()
            if self._calls == calls and not self._stop.is_set():
                self._changed.wait(self._settings.poll_seconds)

    def _spawn_watch(self) -> None:
        if self._settings.watch_seconds:
            self._spawn("relay-watch", self._watch_all)

    def _watch_all(self) -> None:
        while not self._stop.wait(self._settings.watch_seconds):
            with suppress(UnreachableError, TailTimeoutError):  # an outage is noticed by who publishes
                self._look()

    def _look(self) -> None:
        """The topics are the same and hold what was committed; what they confirm need not be kept."""
        assert self._topics is not None, "it looks after the start"
        committed = self._numbers
        try:
            changed = self._topics.unlike(identity(self._address, list(self._topics.topics)))
        except TopicMismatchError as error:
            raise TopicLostError(f"writer {self._writer} stops publishing: {error}") from error
        if changed:
            raise TopicLostError(f"writer {self._writer} stops publishing: {'; '.join(changed)}")
        confirmed = _confirmed(self._run_id, read_tails(self._address, self._partitions), committed)
        with connect(self._dsn) as connection:
            Backlog(connection, self._run_id, self._writer).prune(confirmed, self._settings.keep_rows)

    def _spawn(self, name: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=self._guarded, args=(work,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _guarded(self, work: Callable[[], None]) -> None:
        """Whatever ends a thread ends the relay, and is told by `check`."""
        try:
            work()
        except BaseException as error:
            if self._failure is None:
                self._failure = error
        finally:
            self._end()

    def _end(self) -> None:
        self._stop.set()
        with self._changed:
            self._changed.notify_all()


def _confirmed(
    run_id: str, tails: Mapping[TopicPartition, Tail], committed: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int]:
    """The last number that each partition holds of the run; it holds at least what was committed to it."""
    held = {place: tail.last.number for place, tail in tails.items() if tail.last and tail.last.run == run_id}
    for place, number in committed.items():
        if number > held.get(place, 0) and tails[place].held is not Held.ABSENT:
            raise TopicLostError(
                f"topic {place[0]}, partition {place[1]} ends at number {held.get(place, 0)}, although {number} was "
                "committed: the broker lost acknowledged records; stop, and restore the topic"
            )
    return held
