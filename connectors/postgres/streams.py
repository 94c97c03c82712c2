"""Streams of rows on their way into the database, inside one transaction of their writer (exactly-once.md 8, 10).

    rows -> hash -> at or below the mark?  compare, drop
                 -> beyond it?             send
            marks -> journal

Rows of one stream (noun, lane) come in the order of their event time; whoever calls computes them deterministically
from the same inputs, from the beginning or from the point of a snapshot.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
from psycopg import Copy, sql

from connectors.failpoints import reached
from connectors.messages import MESSAGES
from connectors.nouns import LANE_COLUMNS, NOUNS, RUN_COLUMN
from connectors.postgres.blocks import Block
from connectors.postgres.connection import Connection
from connectors.postgres.copy_rows import HEADER, TRAILER, Lanes, RowEncoder, Send, constant_fields
from connectors.postgres.marks import START, WORD, Journal, Mark, MarkRows, Stream, encode_marks
from connectors.postgres.row_bytes import U8, U64
from lotus.columns import I64, Column, Columns

_UNKNOWN = object()
_ORDERS = ("known_ts", "ts")  # by which rows that have no table are ordered: the first of these that they have


class NondeterministicReplayError(RuntimeError):
    """The same run computed other rows than those that are written. Nothing was overwritten."""


class DatabaseBehindError(RuntimeError):
    """The database does not hold what the recovery store says it holds."""


@dataclass(frozen=True, slots=True)
class Count:
    """Rows of one noun: written now, and found with the same content."""

    inserted: int = 0
    verified: int = 0


class Commit:
    """What one commit changes; it counts only once Postgres has said so."""

    def __init__(self, moved: Mapping[Stream, Mark]) -> None:
        """`moved`: marks to enter again."""
        self.marks = dict(moved)
        self.inserted: Counter[str] = Counter()
        self.verified: Counter[str] = Counter()


class Streams:
    """How far one writer has come in each of its streams. Not for threads: one caller."""

    def __init__(
        self,
        connection: Connection,
        run_id: str,
        journal: Journal,
        *,
        writer: str = "",
        group: Callable[[Stream], Hashable] = lambda stream: None,
    ) -> None:
        """`group`: streams whose digests are summed together."""
        self._connection = connection
        self._run_id = run_id
        self._writer = writer
        self._group = group
        self._groups: dict[Stream, Hashable] = {}
        self.commit_number = journal.last_commit
        self.moved = journal.moved
        self.ahead = dict(journal.ahead)
        self.state = dict(journal.state)
        self.digests: dict[Hashable, int] = {}
        for stream, mark in self.state.items():
            self._add_digest(stream, mark.digest - START.digest)
        self._tables: dict[str, _Table] = {}
        self._counts: dict[str, Count] = {}

    @property
    def counts(self) -> Mapping[str, Count]:
        """Rows inserted and verified by all commits so far, by noun; of every noun that has a table."""
        return {noun: Count() for noun in NOUNS} | self._counts

    def begin(self) -> Commit:
        """What the next commit enters in any case: marks of streams whose newest entry is not their state."""
        return Commit({stream: self.state.get(stream, START) for stream in self.moved})

    def take(self, commit: Commit, noun: str, blocks: Iterable[Block]) -> list[I64]:
        """Hash rows of one noun; verify those that are written, send the others. They are encoded while they are sent:
        the server works on one block while the next one is made.

        returns  per block and stream, how many of its rows were written before
        raises   NondeterministicReplayError, RowRefusedError
        """
        table = self._tables.get(noun) or self._tables.setdefault(noun, _Table(noun))
        if table.copy is None:
            return [self._take(commit, table, block, len) for block in blocks]
        with self.copying(table.copy, "writer.inside_copy") as send:
            return [self._take(commit, table, block, send) for block in blocks]

    def enter(self, commit: Commit) -> None:
        """Write the commit's marks."""
        reached("writer.before_marks")
        if commit.marks:
            with self.copying(_MARK_COPY) as send:
                encode_marks(self._run_id, self._writer, self.commit_number + 1, commit.marks, send)

    def committed(self, commit: Commit) -> None:
        """Take over what Postgres has."""
        self.commit_number += bool(commit.marks)
        for stream, mark in commit.marks.items():
            before = self.state.get(stream, START)
            self._add_digest(stream, mark.digest - before.digest)
            self.state[stream] = mark
            left = tuple(entry for entry in self.ahead.pop(stream, ()) if entry.row_count > mark.row_count)
            if left:
                self.ahead[stream] = left
        self.moved = frozenset()
        for noun in commit.inserted.keys() | commit.verified.keys():
            count = self._counts.get(noun, Count())
            self._counts[noun] = Count(count.inserted + commit.inserted[noun], count.verified + commit.verified[noun])

    @contextmanager
    def copying(self, statement: sql.Composed, point: str | None = None) -> Iterator[Send]:
        """A COPY that begins with the first block sent; without one there is none.

        point  failpoint inside the COPY
        """
        with ExitStack() as stack:
            started: list[Copy] = []

            def send(block: memoryview) -> None:
                if not started:
                    cursor = stack.enter_context(self._connection.cursor())
                    started.append(stack.enter_context(cursor.copy(statement)))
                    started[0].write(HEADER)
                started[0].write(block)
                if point is not None:
                    reached(point)

            yield send
            for copy in started:
                copy.write(TRAILER)

    def _take(self, commit: Commit, table: "_Table", block: Block, send: Send) -> I64:
        """Rows of some streams; returns how many of each were written before."""
        befores = [commit.marks.get(stream) or self.state.get(stream, START) for stream in block.streams]
        skips = self._skips(block, befores)
        lanes = Lanes(
            [table.prefix(self._run_id, stream) for stream in block.streams],
            np.array([before.digest for before in befores], dtype=np.uint64),
            np.array([before.last for before in befores], dtype=np.int64),
            np.array(block.counts) if table.copy is None else skips,
        )
        chain = table.encoder.encode_lanes(block.rows, block.ends, lanes, send)
        if self.ahead:
            self._verify(block, befores, chain)
        for stream, before, count, digest, last in zip(
            block.streams, befores, block.counts, lanes.digests.tolist(), lanes.lasts.tolist(), strict=True
        ):
            commit.marks[stream] = Mark(before.row_count + count, digest, last)
        skipped = int(skips.sum()) if self.ahead else 0
        commit.inserted[table.encoder.noun] += len(block.rows) - skipped
        commit.verified[table.encoder.noun] += skipped
        return skips

    def _skips(self, block: Block, befores: Sequence[Mark]) -> I64:
        """How many of the next rows of each stream are written."""
        if not self.ahead:
            return np.zeros(len(befores), dtype=np.int64)
        written = [
            self.ahead[stream][-1].row_count - before.row_count if stream in self.ahead else 0
            for stream, before in zip(block.streams, befores, strict=True)
        ]
        return np.clip(written, 0, block.counts)

    def _verify(self, block: Block, befores: Sequence[Mark], chain: U64) -> None:
        """Compare the hash wherever the journal has an entry."""
        begin = 0
        for stream, before, end in zip(block.streams, befores, block.ends.tolist(), strict=True):
            for mark in self.ahead.get(stream, ()):
                row = begin + mark.row_count - before.row_count - 1
                if begin <= row < end and int(chain[row]) != mark.digest:
                    raise NondeterministicReplayError(
                        f"nondeterministic replay: {named(stream)} differs from what is written, at or before row "
                        f"{mark.row_count} ({_place(block.rows, row)}); nothing was overwritten"
                    )
            begin = end

    def _add_digest(self, stream: Stream, change: int) -> None:
        group = self._groups.get(stream, _UNKNOWN)
        if group is _UNKNOWN:
            group = self._groups[stream] = self._group(stream)
        self.digests[group] = (self.digests.get(group, 0) + change) & WORD


class _Table:
    """What is known of one noun. Without a table of its own its rows are hashed and marked all the same."""

    def __init__(self, noun: str) -> None:
        entry = NOUNS.get(noun)
        layout = MESSAGES[noun].layout() if entry is None else entry.layout()
        self.encoder = RowEncoder(noun, layout, _order(layout) if entry is None else entry.order)
        self.copy = None if entry is None else copy_statement(noun, (RUN_COLUMN, *LANE_COLUMNS, *layout))
        self._prefixes: dict[Stream, U8] = {}

    def prefix(self, run_id: str, stream: Stream) -> U8:
        """The constant fields of a stream's rows."""
        found = self._prefixes.get(stream)
        if found is None:
            found = constant_fields(len(self.encoder.columns), [run_id, *stream[1:]])
            self._prefixes[stream] = found
        return found


def copy_statement(table: str, columns: Iterable[str]) -> sql.Composed:
    """Binary COPY into the named columns."""
    names = sql.SQL(", ").join(sql.Identifier(name) for name in columns)
    return sql.SQL("copy {} ({}) from stdin (format binary)").format(sql.Identifier(table), names)


def named(stream: Stream) -> str:
    """How people call a stream."""
    return f"{stream.noun} of {stream.token} {stream.venue} {stream.timeframe}"


_MARK_COPY = copy_statement("mark", (RUN_COLUMN, "writer", *MarkRows.layout()))


def _order(layout: Mapping[str, Column]) -> str | None:
    return next((name for name in _ORDERS if name in layout), None)


def _place(rows: Columns, row: int) -> str:
    name = next(iter(rows.layout()))
    return f"{name} {getattr(rows, name)[row]}"
