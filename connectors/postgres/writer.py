"""The exactly-once writer of a replay: rows of all nouns and their marks in one transaction, under a lease.

    rows -> wait -> commit: lease check -> streams (streams.py) -> marks

The same class serves Bytewax (`sink.py`) and runs without an engine. `live_writer.py` is its sibling for live flows.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import psycopg

from connectors.postgres import units
from connectors.postgres.blocks import blocks_of
from connectors.postgres.connection import Connection, connect
from connectors.postgres.marks import NO_COMMIT, START, Journal, Stream, digest_sum, read_journal
from connectors.postgres.streams import Count, DatabaseBehindError, NondeterministicReplayError, Streams, named
from connectors.postgres.units import Units
from lotus.columns import Columns
from lotus.written import Written

Item = tuple[str, tuple[str, str, str], Columns] | Written  # noun; token, venue, timeframe; rows

COMMIT_ROWS = 50_000


class Snapshot(NamedTuple):
    """What a recovery store keeps of a writer: a commit, and a digest of all marks after it."""

    run_id: str
    commit_number: int
    digest_sum: int


class ReplayWriter:
    """Writes one run. Not for threads: one caller."""

    def __init__(
        self,
        dsn: str,
        run_id: str,
        *,
        environment: str = "replay",
        takeover: bool = False,
        resume: Snapshot | None = None,
        synchronous_commit: str = "on",
        commit_rows: int = COMMIT_ROWS,
    ) -> None:
        """Take the lease and read the marks. The database is migrated (`migrate`).

        resume       of `snapshot()`; None: from the beginning. Rows that are written already are then verified
        commit_rows  more waiting rows than that are committed before the epoch ends
        raises       UnreachableError, LeaseHeldError, DatabaseBehindError
        """
        self._dsn = dsn
        self._run_id = run_id
        self._commit_rows = commit_rows
        self._connection: Connection = connect(dsn, synchronous_commit=synchronous_commit)
        try:
            self._lease = units.acquire(self._connection, environment, run_id, takeover=takeover)
            self._streams = Streams(self._connection, run_id, self._journal(resume))
        except BaseException:
            self._connection.close()
            raise
        self._waiting: dict[str, list[tuple[Stream, Columns]]] = {}
        self._waiting_rows = 0

    @property
    def counts(self) -> Mapping[str, Count]:
        """Rows inserted and verified by all commits so far, by noun."""
        return self._streams.counts

    @property
    def lease(self) -> Units:
        """The lease this writer holds."""
        return self._lease

    def write(self, items: Iterable[Item]) -> None:
        """Take rows, which must not change afterwards; commits when many wait.

        raises  what `flush` raises
        """
        for noun, lane, rows, *_ in items:
            if len(rows):
                stream = Stream(noun, lane[0], lane[1], str(lane[2]))
                self._waiting.setdefault(noun, []).append((stream, rows))
                self._waiting_rows += len(rows)
        if self._waiting_rows > self._commit_rows:
            self.flush()

    def flush(self) -> None:
        """Commit everything taken so far: all of it, or after an error nothing.

        raises  NondeterministicReplayError, RowRefusedError; LeaseLostError if another writer took over; psycopg.Error
                if the database fails. Each of them ends the run; start again
        """
        if not self._waiting_rows and not self._streams.moved:
            return
        commit = self._streams.begin()
        with units.fenced(self._dsn, self._connection, self._lease), self._connection.transaction():
            units.check(self._connection, self._lease)
            for noun, items in self._waiting.items():
                self._streams.take(commit, noun, blocks_of(items))
            self._streams.enter(commit)
        self._streams.committed(commit)
        self._waiting = {}
        self._waiting_rows = 0

    def snapshot(self) -> Snapshot:
        """Commit; what to resume from later."""
        self.flush()
        return Snapshot(self._run_id, self._streams.commit_number, self._streams.digests.get(None, 0))

    def finish(self) -> Mapping[str, Count]:
        """Commit, and make sure that nothing is written which this run did not compute; the final counts.

        raises  NondeterministicReplayError if the tables hold more rows
        """
        self.flush()
        if self._streams.ahead:
            stream, marks = min(self._streams.ahead.items())
            had = self._streams.state.get(stream, START).row_count
            raise NondeterministicReplayError(
                f"nondeterministic replay: {named(stream)} has {marks[-1].row_count} rows in the database, "
                f"this run made only {had}"
            )
        return self.counts

    def close(self) -> None:
        """Give the run back and disconnect. Rows that wait are not committed: call `flush` or `finish` before."""
        if not self._connection.closed:
            if self._connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
                units.release(self._connection, self._lease)
            self._connection.close()

    def _journal(self, resume: Snapshot | None) -> Journal:
        """The marks to start from."""
        journal = read_journal(self._connection, self._run_id, resume.commit_number if resume else NO_COMMIT)
        if resume is None:
            return journal
        if resume.run_id != self._run_id:
            raise DatabaseBehindError(f"the recovery store belongs to run {resume.run_id}, not to {self._run_id}")
        if journal.last_commit < resume.commit_number or resume.digest_sum != digest_sum(journal.state.values()):
            raise DatabaseBehindError(
                f"database older than recovery store: run {self._run_id} has commit {journal.last_commit} there, "
                f"the store was made at {resume.commit_number}, or the marks differ: remove the recovery store to "
                "start again"
            )
        return journal
