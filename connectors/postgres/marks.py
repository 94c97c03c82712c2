"""How far each stream is written: a journal of (rows, chain hash) per stream and commit (replay.md 8).

    stream = (noun, token, venue, timeframe)
    table rows of a stream  = its first max(row_count) rows over the journal
    state after commit k    = its newest entry with commit_number <= k

So a snapshot is one commit number. A writer that resumes at an older commit goes on from that state, hashes the rows
that the table already has, compares the hash wherever the journal has an entry, and writes what lies beyond. Several
writers of one run share the journal: each numbers its commits for itself and enters its own streams.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import psycopg

from connectors.postgres.connection import Connection
from connectors.postgres.copy_rows import RowEncoder, Send, constant_fields
from connectors.postgres.row_bytes import CHAIN_START
from lotus.columns import ABSENT, I64, Columns, Kind, Objects, column

NO_COMMIT = 0
WORD = 0xFFFF_FFFF_FFFF_FFFF  # hashes are unsigned here, signed in the table


class Stream(NamedTuple):
    """Rows of one noun and lane, in the order in which they are written."""

    noun: str
    token: str
    venue: str
    timeframe: str


class Mark(NamedTuple):
    """A position in a stream: number of rows before it, their chain hash, event time of the last one (ms)."""

    row_count: int
    digest: int
    last: int


START = Mark(0, int(CHAIN_START), ABSENT)

# the commit after which a writer resumes a stream, given who entered it last; None: it is another writer's
Resumes = Callable[[Stream, str], int | None]


@dataclass(frozen=True, slots=True)
class Journal:
    """What the database knows when a writer starts.

    last_commit  number of the newest commit, NO_COMMIT if there is none
    state        marks after the commit at which the writer resumes
    ahead        per stream whose table is ahead of that: the journal's marks beyond it, ascending
    moved        streams whose newest entry is not their state: the next commit has to enter them again
    """

    last_commit: int
    state: Mapping[Stream, Mark]
    ahead: Mapping[Stream, tuple[Mark, ...]]
    moved: frozenset[Stream]


@dataclass(frozen=True, slots=True)
class MarkRows(Columns):
    """Entries of one commit, as the table has them beside run and writer."""

    commit_number: I64 = column(Kind.INT, "the commit")
    noun: Objects = column(Kind.TEXT, "table")
    token: Objects = column(Kind.TEXT, "token")
    venue: Objects = column(Kind.TEXT, "venue")
    timeframe: Objects = column(Kind.TEXT, "timeframe")
    row_count: I64 = column(Kind.INT, "rows of the stream so far")
    digest: I64 = column(Kind.INT, "their chain hash, as a signed word")
    last: I64 = column(Kind.INT, "event time of the last row, -1 for none", "ms")


_ENCODER = RowEncoder("mark", MarkRows.layout())


def encode_marks(run_id: str, writer: str, commit_number: int, marks: Mapping[Stream, Mark], send: Send) -> None:
    """One commit's entries as rows of a binary COPY."""
    noun, token, venue, timeframe = (np.array(names, dtype=np.object_) for names in zip(*marks, strict=True))
    rows = MarkRows(
        np.full(len(marks), commit_number, dtype=np.int64),
        noun,
        token,
        venue,
        timeframe,
        np.array([mark.row_count for mark in marks.values()], dtype=np.int64),
        np.array([mark.digest for mark in marks.values()], dtype=np.uint64).view(np.int64),
        np.array([mark.last for mark in marks.values()], dtype=np.int64),
    )
    prefix = constant_fields(len(MarkRows.layout()), [run_id, writer])
    _ENCODER.encode(prefix, rows, int(CHAIN_START), send)


def read_journal(connection: Connection, run_id: str, at_commit: int | Resumes) -> Journal:
    """The journal as a writer needs it that resumes after `at_commit` (NO_COMMIT: from the beginning).

    Entries come in the order of their commits, so that the newest one of a stream is the last one seen.
    """
    found = connection.execute(
        """
        select noun, token, venue, timeframe, writer, commit_number, row_count, digest, last from mark
        where run_id = %s order by commit_number
        """,
        [run_id],
    )
    last_commit = NO_COMMIT
    state: dict[Stream, Mark] = {}
    newest: dict[Stream, Mark] = {}
    for row in found:
        stream, writer, commit_number, mark = _entry(row)
        resumes = at_commit if isinstance(at_commit, int) else at_commit(stream, writer)
        if resumes is not None:
            last_commit, newest[stream] = commit_number, mark
            if commit_number <= resumes:
                state[stream] = mark
    return Journal(
        last_commit=last_commit,
        state=state,
        ahead=_ahead(found, state, newest),
        moved=frozenset(stream for stream, mark in newest.items() if mark != state.get(stream, START)),
    )


def prune_superseded(connection: Connection, run_id: str, writer: str, after: int, upto: int) -> None:
    """Delete what nobody can resume from: entries that a later one, itself not after `upto`, has overtaken.

    after, upto  commits of this writer: entries that those beyond `after` overtook are looked for
    """
    connection.execute(
        """
        delete from mark old using mark later
        where later.run_id = %(run)s and later.writer = %(writer)s
          and later.commit_number > %(after)s and later.commit_number <= %(upto)s
          and (old.run_id, old.noun, old.token, old.venue, old.timeframe)
            = (later.run_id, later.noun, later.token, later.venue, later.timeframe)
          and old.commit_number < later.commit_number and old.row_count <= later.row_count
        """,
        {"run": run_id, "writer": writer, "after": after, "upto": upto},
    )


def prune(connection: Connection, run_id: str) -> None:
    """Keep of a complete run each stream's first entry with rows and its last: enough to verify it again."""
    connection.execute(
        """
        delete from mark where run_id = %(run)s and (noun, token, venue, timeframe, commit_number) not in (
            select distinct on (noun, token, venue, timeframe) noun, token, venue, timeframe, commit_number
            from mark where run_id = %(run)s and row_count > 0
            order by noun, token, venue, timeframe, row_count, commit_number
        ) and (noun, token, venue, timeframe, commit_number) not in (
            select distinct on (noun, token, venue, timeframe) noun, token, venue, timeframe, commit_number
            from mark where run_id = %(run)s
            order by noun, token, venue, timeframe, commit_number desc
        )
        """,
        {"run": run_id},
    )


def digest_sum(marks: Iterable[Mark]) -> int:
    """One number for the marks of all streams, in any order; a stream without rows adds nothing."""
    return sum(mark.digest - START.digest for mark in marks) & WORD


def _ahead(
    found: psycopg.Cursor[tuple[object, ...]], state: Mapping[Stream, Mark], own: Collection[Stream]
) -> dict[Stream, tuple[Mark, ...]]:
    """Entries of our streams beyond their state, by number of rows."""
    ahead: dict[Stream, set[Mark]] = {}
    if found.rownumber:
        found.scroll(0, mode="absolute")
    for row in found:
        stream, _, _, mark = _entry(row)
        if stream in own and mark.row_count > state.get(stream, START).row_count:
            ahead.setdefault(stream, set()).add(mark)
    return {stream: tuple(sorted(marks)) for stream, marks in ahead.items()}


def _entry(row: tuple[object, ...]) -> tuple[Stream, str, int, Mark]:
    noun, token, venue, timeframe, writer, commit_number, row_count, digest, last = row
    assert isinstance(commit_number, int)
    assert isinstance(row_count, int)
    assert isinstance(digest, int)
    assert isinstance(last, int)
    stream = Stream(str(noun), str(token), str(venue), str(timeframe))
    return stream, str(writer), commit_number, Mark(row_count, digest & WORD, last)
