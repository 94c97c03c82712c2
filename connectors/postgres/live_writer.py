"""The exactly-once writer of a live flow: one transaction per `write`, with the messages it gives rise to.

    items -> units check -> tables -> outbox -> watermarks -> targets -> marks -> commit -> relay

What `writer.py` is for a replay. Rows at or below their mark are verified: neither written nor published again. A
watermark follows the rows that it covers in the same transaction, once every lane that feeds its target has promised.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple, Protocol

import psycopg

from connectors.avro.framing import Framing
from connectors.failpoints import reached
from connectors.postgres import outbox, units
from connectors.postgres.connection import Connection, connect
from connectors.postgres.marks import NO_COMMIT, Stream, prune_superseded, read_journal
from connectors.postgres.outbox import MAX_VALUE_BYTES, Outbox
from connectors.postgres.streams import Count, DatabaseBehindError, Streams
from connectors.postgres.units import Target, Units
from connectors.postgres.windows import Path, Window, windows
from lotus.columns import Columns
from lotus.lane import Lane
from lotus.timeframe import Timeframe
from lotus.written import Written

KEPT_SNAPSHOTS = 600  # ten minutes at an epoch of a second: nobody resumes from an older one
STORED_SNAPSHOTS = 5  # after so many a recovery store surely holds the first
UNPUBLISHED = Target("", -1)  # of streams that have no target: whoever entered their marks goes on with them

_SESSION = {
    "idle_in_transaction_session_timeout": "10s",  # a paused writer lets go of its locks
    "client_connection_check_interval": "1s",  # a backend notices that its client is gone, also while it waits
}
_DURABLE = ("on", "remote_apply")

Feeder = tuple[str, str, str, str]  # noun, token, venue, timeframe; plain, because stores pickle thousands of them


class StoreEmptyError(RuntimeError):
    """The run is written, and the recovery store knows nothing of it."""


class ForeignTargetError(RuntimeError):
    """A row belongs to a topic partition that this writer has no lease on."""


class WeakDurabilityError(RuntimeError):
    """Postgres would confirm commits that it can lose."""


class Routing(Protocol):
    """Where rows go."""

    def target(self, noun: str, lane: Lane) -> Target | None:
        """Where they are published; None: nowhere."""
        ...

    def promise(self, noun: str, lane: Lane) -> Target | None:
        """Whose watermark this lane's watermark feeds."""
        ...

    def feeders(self, target: Target) -> int:
        """How many of them must have spoken before the target has a watermark."""
        ...


class Position(NamedTuple):
    """Where the streams of one target stood: a commit, a digest of their marks after it, the token of that time."""

    commit_number: int
    digest_sum: int
    token: int


class LiveSnapshot(NamedTuple):
    """What a recovery store keeps of a live writer. Stores are merged and split by target (exactly-once.md 15).

    positions   (topic, partition) -> position; every unit of the writer is there
    watermarks  feeder -> how far it has promised, ms
    """

    run_id: str
    positions: Mapping[tuple[str, int], tuple[int, int, int]]
    watermarks: Mapping[Feeder, int]


class LiveWriter:
    """Writes some units of one run. Not for threads: one caller."""

    def __init__(
        self,
        dsn: str,
        run_id: str,
        targets: Iterable[Target],
        routing: Routing,
        framing: Framing,
        *,
        writer: str,
        resume: LiveSnapshot | None,
        environment: str = "live",
        transactional_id: str | None = None,
        takeover: bool = False,
        rebuild: bool = False,
        max_value_bytes: int = MAX_VALUE_BYTES,
        kept_snapshots: int = KEPT_SNAPSHOTS,
    ) -> None:
        """Take the lease, then read marks, outbox and watermarks. The database is migrated (`migrate`).

        targets         the units: every topic partition that this writer may write
        writer          name of the share, unique in its run: it numbers its messages
        resume          of `snapshot()`; None: from the beginning of the input
        takeover        end living holders of the units, whoever they are
        rebuild         start without a store although the run is written: compute it again, verify all of it
        kept_snapshots  marks are kept that a snapshot so many snapshots ago needs
        raises          UnreachableError, WeakDurabilityError, LeaseHeldError, StoreEmptyError, DatabaseBehindError
        """
        self._dsn = dsn
        self._run_id = run_id
        self._writer = writer
        self._routing = routing
        self._kept_snapshots = kept_snapshots
        self._paths: dict[tuple[str, Lane], Path] = {}
        self._connection: Connection = connect(dsn, **_SESSION)
        try:
            _refuse_weak(self._connection)
            positions = {Target(*key): Position(*value) for key, value in (resume.positions if resume else {}).items()}
            self._units = units.acquire(
                self._connection,
                environment,
                run_id,
                targets,
                writer=writer,
                transactional_id=transactional_id,
                takeover=takeover,
                replaces={target: position.token for target, position in positions.items()},
            )
            reached("writer.lease_taken")
            self._own = frozenset((*self._units.targets, UNPUBLISHED))
            if not rebuild:
                self._refuse_empty(positions)
            self._streams = self._resumed(resume.run_id if resume else run_id, positions)
            self._outbox = Outbox(self._connection, run_id, writer, framing, max_value_bytes=max_value_bytes)
        except BaseException:
            self._connection.close()
            raise
        self._spoken = self._known_feeders(resume.watermarks if resume else {})
        self._snapshots: deque[int] = deque()  # commit numbers of those still kept
        self._snapshot_count = 0
        self._pruned = NO_COMMIT

    @property
    def units(self) -> Units:
        """What this writer holds."""
        return self._units

    @property
    def counts(self) -> Mapping[str, Count]:
        """Rows inserted (or published, where the noun has no table) and verified so far, by noun."""
        return self._streams.counts

    @property
    def seq(self) -> int:
        """Of the last message committed by this writer; 0: none."""
        return self._outbox.seq

    def write(self, items: Iterable[Written]) -> None:
        """Commit all items or none; rows must not change afterwards.

        raises  NondeterministicReplayError, RowRefusedError, MessageTooLargeError, ForeignTargetError; LeaseLostError
                if another writer took over; psycopg.Error if the database fails. Each of them ends the process; the
                next start finds out whether a commit in doubt came through
        """
        taken: list[tuple[Path, Columns]] = []
        spoken: dict[Target, dict[Feeder, int]] = {}
        for noun, lane, rows, watermark_ms in items:
            path = self._paths.get((noun, lane)) or self._path(noun, lane)
            if len(rows):
                taken.append((path, rows))
            if watermark_ms >= 0 and path.promise is not None:
                feeders = spoken.get(path.promise) or dict(self._spoken.get(path.promise, {}))
                feeders[path.stream] = max(feeders.get(path.stream, -1), watermark_ms)
                spoken[path.promise] = feeders
        rises = {target: ms for target, feeders in spoken.items() if (ms := self._risen(target, feeders)) is not None}
        if taken or rises or self._streams.moved:
            self._commit(list(windows(taken)), rises)
        self._spoken |= spoken

    def snapshot(self) -> LiveSnapshot:
        """What to resume from later. Marks that nobody can resume from any more are removed."""
        reached("writer.before_snapshot")
        if self._streams.moved:
            self._commit([], {})
        with units.fenced(self._dsn, self._connection, self._units):
            self._forget()
        commit_number, digests = self._streams.commit_number, self._streams.digests
        return LiveSnapshot(
            self._run_id,
            {
                (topic, partition): (commit_number, digests.get(Target(topic, partition), 0), self._units.token)
                for topic, partition in sorted(self._own)
            },
            {(*feeder,): ms for feeders in self._spoken.values() for feeder, ms in feeders.items()},
        )

    def settled(self) -> None:
        """The relay has fenced the predecessors, and what earlier writers left is sent: forget them."""
        units.settled(self._connection, self._units)

    def close(self) -> None:
        """Give the units back and disconnect. Who was ended by a successor has nothing left to give back."""
        if not self._connection.closed:
            if self._connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
                with suppress(psycopg.OperationalError):
                    units.release(self._connection, self._units)
            self._connection.close()

    def _commit(self, batch: list[Window], rises: Mapping[Target, int]) -> None:
        """One transaction."""
        commit, draft = self._streams.begin(), self._outbox.begin()
        reached("writer.before_begin")
        with units.fenced(self._dsn, self._connection, self._units), self._connection.transaction():
            units.check(self._connection, self._units)
            reached("writer.after_lease_check")
            for noun in dict.fromkeys(noun for window in batch for noun in window.blocks):
                having = [window for window in batch if noun in window.blocks]
                skips = self._streams.take(commit, noun, [window.blocks[noun] for window in having])
                for window, skip in zip(having, skips, strict=True):
                    window.skips[noun] = skip
            reached("writer.before_outbox")
            with self._streams.copying(outbox.COPY) as send:
                for window in batch:
                    self._outbox.add(draft, window.posts(), send)
                self._outbox.promise(draft, rises, send)
            self._outbox.enter(draft)
            self._streams.enter(commit)
            reached("writer.before_commit")
        reached("writer.after_commit")
        self._streams.committed(commit)
        self._outbox.committed(draft)

    def _risen(self, target: Target, feeders: Mapping[Feeder, int]) -> int | None:
        """The target's watermark, if it rises."""
        if len(feeders) < self._routing.feeders(target):
            return None
        lowest = min(feeders.values())
        return lowest if lowest > self._outbox.standing(target).watermark_ms else None

    def _path(self, noun: str, lane: Lane) -> Path:
        """Look a noun and lane up for the first time."""
        target, promise = self._routing.target(noun, lane), self._routing.promise(noun, lane)
        for wanted in (target, promise):
            if wanted is not None and wanted not in self._own:
                raise ForeignTargetError(
                    f"{noun} of {lane.token} {lane.venue} {lane.timeframe} belongs to {wanted.topic} "
                    f"[{wanted.partition}], and this writer ({self._writer}) has no lease on it: a message reached the "
                    "wrong partition, or the share is not what it was"
                )
        stream = Stream(noun, lane.token, lane.venue, str(lane.timeframe))
        path = self._paths[noun, lane] = Path(stream, lane, target, promise)
        return path

    def _owner(self, stream: Stream) -> Target:
        """The unit that a stream belongs to."""
        lane = Lane(stream.token, stream.venue, Timeframe(stream.timeframe))
        return self._routing.target(stream.noun, lane) or UNPUBLISHED

    def _resumed(self, run_id: str, positions: Mapping[Target, Position]) -> Streams:
        """The streams as the snapshot has them, verified against the database."""
        if run_id != self._run_id:
            raise DatabaseBehindError(f"the recovery store belongs to run {run_id}, not to {self._run_id}")

        def resumes(stream: Stream, entered_by: str) -> int | None:
            owner = self._owner(stream)
            if owner not in self._own or (owner == UNPUBLISHED and entered_by != self._writer):
                return None
            return positions[owner].commit_number if owner in positions else NO_COMMIT

        journal = read_journal(self._connection, self._run_id, resumes)
        # a unit that came from another writer may have had its last entry long before that writer's last commit
        last_commit = max([journal.last_commit, *(position.commit_number for position in positions.values())])
        journal = replace(journal, last_commit=last_commit)
        streams = Streams(self._connection, self._run_id, journal, writer=self._writer, group=self._owner)
        for target in sorted(self._own & positions.keys()):
            stored = positions[target]
            if streams.digests.get(target, 0) != stored.digest_sum:
                raise DatabaseBehindError(
                    f"database older than recovery store: {self._units.named(target)} does not have the marks that the "
                    f"store has seen at commit {stored.commit_number}: restore the newer database, or remove the "
                    "recovery store and start with --rebuild"
                )
        return streams

    def _refuse_empty(self, positions: Mapping[Target, Position]) -> None:
        """A store that knows nothing of a unit of which one knew before would compute it from another beginning."""
        missing = sorted(self._units.stored - positions.keys())
        if missing:
            raise StoreEmptyError(
                f"the recovery store has no state of {self._units.named(missing[0])}, which is written: give this "
                "process the store it had, or start with --rebuild to compute the run again from the beginning of its "
                "input and to verify it"
            )

    def _known_feeders(self, watermarks: Mapping[Feeder, int]) -> dict[Target, dict[Feeder, int]]:
        """Promises of the snapshot, by the target that they feed."""
        found: dict[Target, dict[Feeder, int]] = {}
        for feeder, watermark_ms in watermarks.items():
            stream = Stream(*feeder)
            lane = Lane(stream.token, stream.venue, Timeframe(stream.timeframe))
            target = self._routing.promise(stream.noun, lane)
            if target is not None and target in self._own:
                found.setdefault(target, {})[stream] = watermark_ms
        return found

    def _forget(self) -> None:
        """Let go of what only snapshots need that are out of reach."""
        self._snapshot_count += self._streams.commit_number > NO_COMMIT
        if self._snapshot_count == STORED_SNAPSHOTS and len(self._units.stored) < len(self._units.targets):
            units.stored(self._connection, self._units)
        self._snapshots.append(self._streams.commit_number)
        if len(self._snapshots) > self._kept_snapshots:
            oldest = self._snapshots.popleft()
            if oldest > self._pruned:
                prune_superseded(self._connection, self._run_id, self._writer, self._pruned, oldest)
                self._pruned = oldest
                reached("writer.after_prune")


def _refuse_weak(connection: Connection) -> None:
    """Only what is on disk counts as committed."""
    row = connection.execute("show synchronous_commit").fetchone()
    if row is None or row[0] not in _DURABLE:
        raise WeakDurabilityError(
            f"synchronous_commit is {row[0] if row else None}: a live writer needs {' or '.join(_DURABLE)}; remove the "
            "setting from the role, the database or the connection pooler"
        )
