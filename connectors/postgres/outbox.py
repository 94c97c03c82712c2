"""Messages on their way to their topics, written in the transaction of the rows that they tell of (exactly-once.md 8).

    rows -> Avro bodies -> framing | key | cells -> outbox(seq of the writer, number of the topic partition) -> relay

The single leased writer numbers densely inside the transaction; an aborted one leaves no hole.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from connectors.avro.codec import LONGEST_BODY_BYTES, Bodies, codec_of
from connectors.avro.framing import Framing
from connectors.failpoints import reached
from connectors.messages import MESSAGES
from connectors.postgres.connection import Connection
from connectors.postgres.copy_rows import Send, constant_fields
from connectors.postgres.row_bytes import U8, Ints, put_bytes, put_length, put_word
from connectors.postgres.streams import copy_statement
from connectors.postgres.units import Target
from lotus.columns import I64, Columns
from lotus.compiled import lean
from lotus.intake import Watermarks
from lotus.lane import Lane
from lotus.timeframe import Timeframe

MAX_VALUE_BYTES = 900_000  # a broker takes a megabyte unless it is told otherwise
WATERMARK = "watermark"
NO_LANE = Lane("", "", Timeframe.M1)

_COLUMNS = ("run_id", "writer", "topic", "partition", "noun", "key", "seq", "number", "ts", "value")
_CELLS = 4  # seq, number, ts and value differ from row to row, the fields before them do not
_CELLS_BYTES = 3 * (4 + 8) + 4
COPY = copy_statement("outbox", _COLUMNS)


class MessageTooLargeError(ValueError):
    """A row whose message no topic takes. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a partition of a topic is written: number of its last message, and its last watermark (-1: none)."""

    number: int = 0
    watermark_ms: int = -1


class Joined(NamedTuple):
    """Rows of one noun of many lanes, encoded together."""

    noun: str
    rows: Columns


class Post(NamedTuple):
    """Rows of one lane on their way to a topic.

    skip    so many of them are there already
    joined  has them from row `first` on
    """

    lane: Lane
    target: Target
    rows: Columns
    skip: int
    joined: Joined
    first: int


class Draft:
    """What one commit adds; it counts only once Postgres has said so."""

    def __init__(self, seq: int) -> None:
        """`seq` of the message before the first one."""
        self.seq = seq
        self.standings: dict[Target, Standing] = {}

    def numbered(self, target: Target, count: int, standing: Callable[[Target], Standing]) -> int:
        """Number so many messages more; returns the number before the first of them."""
        before = self.standings.get(target) or standing(target)
        self.standings[target] = Standing(before.number + count, before.watermark_ms)
        return before.number


class Outbox:
    """The outbox of one writer. Not for threads: one caller."""

    def __init__(
        self,
        connection: Connection,
        run_id: str,
        writer: str,
        framing: Framing,
        *,
        max_value_bytes: int = MAX_VALUE_BYTES,
    ) -> None:
        """Reads where the messages of this writer and the partitions of the run stand: the lease is held."""
        self._connection = connection
        self._run_id = run_id
        self._writer = writer
        self._framing = framing
        self._max_value_bytes = max_value_bytes
        self._seq = _last_seq(connection, run_id, writer)
        self._standings = _standings(connection, run_id)
        self._heads: dict[tuple[str, Lane, Target], tuple[bytes, bytes]] = {}
        self._out: U8 = np.empty(0, dtype=np.uint8)

    @property
    def seq(self) -> int:
        """Of the last message committed; 0: none."""
        return self._seq

    def standing(self, target: Target) -> Standing:
        """How far a partition is written."""
        return self._standings.get(target, Standing())

    def begin(self) -> Draft:
        """An empty addition."""
        return Draft(self._seq)

    def add(self, draft: Draft, posts: Sequence[Post], send: Send) -> None:
        """Send one message per row that is not skipped, in the order of the posts.

        raises  RowRefusedError; MessageTooLargeError naming the row
        """
        posts = [post for post in posts if len(post.rows) > post.skip]
        if not posts:
            return
        skips = np.array([post.skip for post in posts])
        counts = np.array([len(post.rows) for post in posts])
        firsts, blob, ends = _bodies(posts)
        heads, leads = zip(*[self._head(post) for post in posts], strict=True)
        head_sizes, lead_sizes = _sizes(heads), _sizes(leads)
        self._refuse_large(posts, firsts, lead_sizes, ends)
        times = [MESSAGES[post.joined.noun].times(post.lane, post.rows) for post in posts]
        space = int(((head_sizes + lead_sizes + _CELLS_BYTES) * (counts - skips)).sum()) + blob.size
        if self._out.size < space:
            self._out = np.empty(space, dtype=np.uint8)
        used = write_messages(
            np.frombuffer(b"".join(heads), dtype=np.uint8),
            head_sizes.cumsum(),
            np.frombuffer(b"".join(leads), dtype=np.uint8),
            lead_sizes.cumsum(),
            blob,
            ends,
            np.concatenate(times),
            firsts,
            counts,
            skips,
            draft.seq,
            np.array([draft.numbered(post.target, len(post.rows) - post.skip, self.standing) for post in posts]),
            self._out,
        )
        send(self._out[:used].data)
        draft.seq += int((counts - skips).sum())
        reached("writer.inside_outbox")

    def promise(self, draft: Draft, rises: Mapping[Target, int], send: Send) -> None:
        """Send new watermarks of partitions; whatever they cover was sent before."""
        posts = []
        for target, watermark_ms in rises.items():
            rows = Watermarks(np.array([watermark_ms], dtype=np.int64))
            posts.append(Post(NO_LANE, target, rows, 0, Joined(WATERMARK, rows), 0))
        self.add(draft, posts, send)
        for target, watermark_ms in rises.items():
            draft.standings[target] = Standing(draft.standings[target].number, watermark_ms)

    def enter(self, draft: Draft) -> None:
        """Write down how far the partitions come with this commit."""
        reached("writer.before_targets")
        if draft.standings:
            self._connection.execute(
                """
                insert into target (run_id, topic, partition, number, watermark_ms)
                select %s, * from unnest(%s::text[], %s::int4[], %s::int8[], %s::int8[])
                on conflict (run_id, topic, partition)
                do update set number = excluded.number, watermark_ms = excluded.watermark_ms
                """,
                [
                    self._run_id,
                    [target.topic for target in draft.standings],
                    [target.partition for target in draft.standings],
                    [standing.number for standing in draft.standings.values()],
                    [standing.watermark_ms for standing in draft.standings.values()],
                ],
            )

    def committed(self, draft: Draft) -> None:
        """Take over what Postgres has."""
        self._seq = draft.seq
        self._standings |= draft.standings

    def _head(self, post: Post) -> tuple[bytes, bytes]:
        """The constant fields of a lane's messages, and how their values begin: framing and key fields."""
        noun = post.joined.noun
        found = self._heads.get((noun, post.lane, post.target))
        if found is None:
            codec = codec_of(noun)
            topic, partition = post.target
            key = post.lane.token if codec.message.key else ""
            number = partition.to_bytes(4, "big")
            values: list[str | bytes] = [self._run_id, self._writer, topic, number, noun, key]
            lead = self._framing.prefix(codec.contract) + codec.key(post.lane)
            found = constant_fields(_CELLS, values).tobytes(), lead
            self._heads[noun, post.lane, post.target] = found
        return found

    def _refuse_large(self, posts: Sequence[Post], firsts: I64, lead_sizes: I64, ends: I64) -> None:
        """A value that no topic or no reader takes ends the run before anything of it is written."""
        sizes = np.diff(ends, prepend=0)
        most = min(self._max_value_bytes, LONGEST_BODY_BYTES)
        if int(sizes.max()) + int(lead_sizes.max()) <= most:
            return
        for post, first, lead_size in zip(posts, firsts.tolist(), lead_sizes.tolist(), strict=True):
            for row in range(post.skip, len(post.rows)):
                size = lead_size + int(sizes[first + row])
                if size > most:
                    raise MessageTooLargeError(_told(post, row, size, most))


def _bodies(posts: Sequence[Post]) -> tuple[I64, U8, I64]:
    """Everything that the posts share, encoded, back to back.

    returns  int64[posts], the body of each post's first row; the bodies without key fields; where each body ends
    """
    base: dict[int, int] = {}
    parts: list[Bodies] = []
    ends: list[I64] = []
    rows = size = 0
    for post in posts:
        if id(post.joined) not in base:
            base[id(post.joined)] = rows
            parts.append(codec_of(post.joined.noun).cells(post.joined.rows))
            ends.append(parts[-1].ends + size)
            rows, size = rows + len(parts[-1]), size + len(parts[-1].blob)
    firsts = np.array([base[id(post.joined)] + post.first for post in posts])
    return firsts, np.frombuffer(b"".join([part.blob for part in parts]), dtype=np.uint8), np.concatenate(ends)


def _sizes(texts: Sequence[bytes]) -> I64:
    return np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))


def _told(post: Post, row: int, size: int, most: int) -> str:
    lane, name = post.lane, next(iter(post.rows.layout()))
    return (
        f"{post.joined.noun} of {lane.token} {lane.venue} {lane.timeframe}, row {row} ({name} "
        f"{getattr(post.rows, name)[row]}) makes a message of {size} bytes, more than {most}, which no "
        "reader or no topic takes: make the row smaller; nothing was written"
    )


def _last_seq(connection: Connection, run_id: str, writer: str) -> int:
    """What was sent may have been removed: then `published` knows."""
    row = connection.execute(
        """
        select greatest(
            (select max(seq) from outbox where run_id = %(run)s and writer = %(writer)s),
            (select upto from published where run_id = %(run)s and writer = %(writer)s),
            0
        )
        """,
        {"run": run_id, "writer": writer},
    ).fetchone()
    assert row is not None
    return int(str(row[0]))


def _standings(connection: Connection, run_id: str) -> dict[Target, Standing]:
    rows = connection.execute("select topic, partition, number, watermark_ms from target where run_id = %s", [run_id])
    return {
        Target(str(topic), int(str(partition))): Standing(int(str(number)), int(str(watermark_ms)))
        for topic, partition, number, watermark_ms in rows
    }


@lean
def write_messages(
    heads: U8,
    head_ends: Ints,
    leads: U8,
    lead_ends: Ints,
    blob: U8,
    ends: Ints,
    times: Ints,
    firsts: Ints,
    counts: Ints,
    skips: Ints,
    seq: int,
    numbers: Ints,
    out: U8,
) -> int:
    """Rows of a binary COPY for the messages of all posts; returns the number of bytes.

    heads, leads  per post, its constant fields and the begin of its values
    ends          where each body ends in the blob
    times         of all rows of all posts
    firsts        per post, the body of its first row; `counts` its rows, `skips` those of them that are left out
    seq, numbers  of the messages before: of the first post, of each post
    """
    at = begin = 0
    for post in range(firsts.size):
        head = head_ends[post - 1] if post else 0
        lead = lead_ends[post - 1] if post else 0
        for row in range(skips[post], counts[post]):
            put_bytes(out, at, heads, head, head_ends[post] - head)
            at += head_ends[post] - head
            seq += 1
            put_length(out, at, 8)
            put_word(out, at + 4, np.uint64(seq))
            put_length(out, at + 12, 8)
            put_word(out, at + 16, np.uint64(numbers[post] + row - skips[post] + 1))
            put_length(out, at + 24, 8)
            put_word(out, at + 28, np.uint64(times[begin + row]))
            body = firsts[post] + row
            first = ends[body - 1] if body else 0
            put_length(out, at + 36, lead_ends[post] - lead + ends[body] - first)
            at += 40
            put_bytes(out, at, leads, lead, lead_ends[post] - lead)
            at += lead_ends[post] - lead
            put_bytes(out, at, blob, first, ends[body] - first)
            at += ends[body] - first
        begin += counts[post]
    return at
