"""The exactly-once writer: rows of all nouns and their marks in one transaction, under a lease (exactly-once.md 8, 10).

    rows -> wait -> commit: lease check -> hash -> at or below the mark?  compare, drop
                                                -> beyond it?             COPY
                            marks

The same class serves Bytewax (`sink.py`) and runs without an engine. Rows of one stream (noun, lane) come in the
order of their event time; whoever calls computes them deterministically from the same inputs, from the beginning or
from the point of the snapshot.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import psycopg
from psycopg import Copy, sql

from connectors.nouns import LANE_COLUMNS, NOUNS, RUN_COLUMN
from connectors.postgres import lease as leases
from connectors.postgres.connection import Connection, UnreachableError, connect
from connectors.postgres.copy_rows import HEADER, TRAILER, RowEncoder, Send, constant_fields
from connectors.postgres.lease import Lease
from connectors.postgres.marks import (
    NO_COMMIT,
    START,
    WORD,
    Journal,
    Mark,
    MarkRows,
    Stream,
    digest_sum,
    encode_marks,
    read_journal,
)
from connectors.postgres.row_bytes import U8
from lotus.columns import Columns

Item = tuple[str, tuple[str, str, str], Columns]  # noun; token, venue, timeframe; rows

COMMIT_ROWS = 50_000


class NondeterministicReplayError(RuntimeError):
    """The same run computed other rows than those that are written. Nothing was overwritten."""


class DatabaseBehindError(RuntimeError):
    """The database does not hold what the recovery store says it holds."""


class Snapshot(NamedTuple):
    """What a recovery store keeps of a writer: a commit, and a digest of all marks after it."""

    run_id: str
    commit_number: int
    digest_sum: int


@dataclass(frozen=True, slots=True)
class Count:
    """Rows of one noun: written now, and found in the table with the same content."""

    inserted: int = 0
    verified: int = 0


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
            self._lease: Lease = leases.acquire(self._connection, environment, run_id, takeover=takeover)
            journal = self._journal(resume)
        except BaseException:
            self._connection.close()
            raise
        self._commit_number = journal.last_commit
        self._state = dict(journal.state)
        self._digest_sum = digest_sum(self._state.values())
        self._ahead = dict(journal.ahead)
        self._moved = journal.moved
        self._tables = {noun: _Table(noun) for noun in NOUNS}
        self._waiting_rows = 0

    @property
    def counts(self) -> Mapping[str, Count]:
        """Rows inserted and verified by all commits so far, by noun."""
        return {noun: table.count for noun, table in self._tables.items()}

    @property
    def lease(self) -> Lease:
        """The lease this writer holds."""
        return self._lease

    def write(self, items: Iterable[Item]) -> None:
        """Take rows, which must not change afterwards; commits when many wait.

        raises  what `flush` raises
        """
        for noun, lane, rows in items:
            if len(rows):
                self._tables[noun].waiting.append((Stream(noun, lane[0], lane[1], str(lane[2])), rows))
                self._waiting_rows += len(rows)
        if self._waiting_rows > self._commit_rows:
            self.flush()

    def flush(self) -> None:
        """Commit everything taken so far: all of it, or after an error nothing.

        Rows are encoded while they are sent: the server works on one block while the next one is made.

        raises  NondeterministicReplayError, RowRefusedError; LeaseLostError if another writer took over; psycopg.Error
                if the database fails. Each of them ends the run; start again
        """
        if not self._waiting_rows and not self._moved:
            return
        commit = _Commit({stream: self._state.get(stream, START) for stream in self._moved})
        with self._fenced(), self._connection.transaction():
            leases.check(self._connection, self._lease)
            for table in self._tables.values():
                with self._copying(table.copy) as send:
                    for stream, rows in table.waiting:
                        self._take(commit, table, stream, rows, send)
            with self._copying(_MARK_COPY) as send:
                encode_marks(self._run_id, self._commit_number + 1, commit.marks, send)
        self._committed(commit)

    def snapshot(self) -> Snapshot:
        """Commit; what to resume from later."""
        self.flush()
        return Snapshot(self._run_id, self._commit_number, self._digest_sum)

    def finish(self) -> Mapping[str, Count]:
        """Commit, and make sure that nothing is written which this run did not compute; the final counts.

        raises  NondeterministicReplayError if the tables hold more rows
        """
        self.flush()
        if self._ahead:
            stream, marks = min(self._ahead.items())
            had = self._state.get(stream, START).row_count
            raise NondeterministicReplayError(
                f"nondeterministic replay: {_named(stream)} has {marks[-1].row_count} rows in the database, "
                f"this run made only {had}"
            )
        return self.counts

    def close(self) -> None:
        """Give the run back and disconnect. Rows that wait are not committed: call `flush` or `finish` before."""
        if not self._connection.closed:
            if self._connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
                leases.release(self._connection, self._lease)
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

    def _take(self, commit: "_Commit", table: "_Table", stream: Stream, rows: Columns, send: Send) -> None:
        """Hash rows; verify those that the table has, send the others."""
        before = commit.marks.get(stream) or self._state.get(stream, START)
        ahead = self._ahead.get(stream, ())
        skip = max(0, min(len(rows), ahead[-1].row_count - before.row_count)) if ahead else 0
        prefix = table.prefix(self._run_id, stream)
        chain, last = table.encoder.encode(prefix, rows, before.digest, send, last=before.last, skip=skip)
        for mark in ahead:
            row = mark.row_count - before.row_count - 1
            if 0 <= row < len(rows) and int(chain[row]) != mark.digest:
                raise NondeterministicReplayError(
                    f"nondeterministic replay: {_named(stream)} differs from what is written, at or before row "
                    f"{mark.row_count} ({_place(rows, row)}); nothing was overwritten"
                )
        commit.marks[stream] = Mark(before.row_count + len(rows), int(chain[-1]), last)
        commit.inserted[stream.noun] += len(rows) - skip
        commit.verified[stream.noun] += skip

    def _committed(self, commit: "_Commit") -> None:
        """Take over what Postgres has."""
        self._commit_number += 1
        for stream, mark in commit.marks.items():
            before = self._state.get(stream, START)
            self._digest_sum = (self._digest_sum + mark.digest - before.digest) & WORD
            self._state[stream] = mark
            left = tuple(entry for entry in self._ahead.pop(stream, ()) if entry.row_count > mark.row_count)
            if left:
                self._ahead[stream] = left
        self._moved = frozenset()
        self._waiting_rows = 0
        for noun, table in self._tables.items():
            table.waiting = []
            table.count = Count(
                table.count.inserted + commit.inserted[noun], table.count.verified + commit.verified[noun]
            )

    @contextmanager
    def _copying(self, statement: sql.Composed) -> Iterator[Send]:
        """A COPY that begins with the first block sent; without one there is none."""
        with ExitStack() as stack:
            started: list[Copy] = []

            def send(block: memoryview) -> None:
                if not started:
                    cursor = stack.enter_context(self._connection.cursor())
                    started.append(stack.enter_context(cursor.copy(statement)))
                    started[0].write(HEADER)
                started[0].write(block)

            yield send
            for copy in started:
                copy.write(TRAILER)

    @contextmanager
    def _fenced(self) -> Iterator[None]:
        """A takeover ends this writer's backend: then say so instead of "connection closed"."""
        try:
            yield
        except psycopg.OperationalError as error:
            if self._connection.closed:
                self._raise_if_lost(error)
            raise

    def _raise_if_lost(self, error: psycopg.Error) -> None:
        """Ask on a new connection who has the lease."""
        try:
            with connect(self._dsn) as connection:
                token = leases.current_token(connection, self._lease)
        except UnreachableError:
            return
        if token != self._lease.token:
            raise leases.lost(self._lease, token) from error


class _Table:
    """What is known of one noun, and its rows that wait for the commit."""

    def __init__(self, noun: str) -> None:
        entry = NOUNS[noun]
        self.encoder = RowEncoder(noun, entry.layout(), entry.order)
        self.copy = copy_statement(noun, (RUN_COLUMN, *LANE_COLUMNS, *entry.layout()))
        self.count = Count()
        self.waiting: list[tuple[Stream, Columns]] = []
        self._prefixes: dict[Stream, U8] = {}

    def prefix(self, run_id: str, stream: Stream) -> U8:
        """The constant fields of a stream's rows."""
        found = self._prefixes.get(stream)
        if found is None:
            found = constant_fields(len(self.encoder.columns), [run_id, *stream[1:]])
            self._prefixes[stream] = found
        return found


class _Commit:
    """What one commit changes; it counts only once Postgres has said so."""

    def __init__(self, moved: Mapping[Stream, Mark]) -> None:
        self.marks = dict(moved)
        self.inserted: Counter[str] = Counter()
        self.verified: Counter[str] = Counter()


def copy_statement(table: str, columns: Iterable[str]) -> sql.Composed:
    """Binary COPY into the named columns."""
    names = sql.SQL(", ").join(sql.Identifier(name) for name in columns)
    return sql.SQL("copy {} ({}) from stdin (format binary)").format(sql.Identifier(table), names)


_MARK_COPY = copy_statement("mark", (RUN_COLUMN, *MarkRows.layout()))


def _place(rows: Columns, row: int) -> str:
    name = next(iter(rows.layout()))
    return f"{name} {getattr(rows, name)[row]}"


def _named(stream: Stream) -> str:
    return f"{stream.noun} of {stream.token} {stream.venue} {stream.timeframe}"
