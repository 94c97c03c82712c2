"""Two streams meet by event time, never by arrival (replay.md 3, architecture law 7).

    left    --o-----o-----o-----o----->       a row waits until the right has passed its time
    right   -x---x--x-----------x---x->       a row at the left row's own time counts as known
               watermark ^

- A left row is released when the right's watermark has reached the time at which the row is known.
- Rows in force (the latest of each lane) and rows still ahead are kept, superseded ones are dropped.
- Without lanes there is nothing to wait for.
- Hundreds of pairs may have the same right. What one of them made of it is remembered, and the rows in force that they
  keep are the same objects, so the others find it.
- What comes out is complete as far as the left is, or up to just before the first row that waits: the right brings no
  rows of its own.

`merge` turns several streams of one row type into one, ordered by (known time, rank of the stream) and released up to
the smallest watermark. Rows of equal time cannot straddle a watermark: it promises that none of that time will follow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

import numpy as np

from lotus.columns import I64, Columns, Kind, column
from lotus.compiled import compiled
from lotus.kernel import NEVER_MS, Chunk, Rows, first_fresh

R = TypeVar("R", bound=Rows)
L = TypeVar("L", bound=Rows)
T = TypeVar("T")

NOTHING_MS = -1
SHARED = 16  # a timeframe has one or two at a time
FEW = 256  # rows in force, not a day of rows that are still ahead


@dataclass(frozen=True, slots=True)
class Origins(Columns):
    """Which stream each row of a merge came from."""

    stream: I64 = column(Kind.INT, "position of the stream in the merge's list, from 0")


@dataclass(frozen=True)
class Stream(Generic[R]):
    """One side: how to read its rows.

    name    how arrivals are addressed
    rows    the row type
    time    event time of each row, ms UTC, strictly ascending within a lane
    lag_ms  what has to pass after `time` until a row is known: the length of a bar that is named by its start
    """

    name: str
    rows: type[R]
    time: Callable[[R], I64]
    lag_ms: int = 0

    def known(self, rows: R) -> I64:
        """When each row is known, ms UTC."""
        times = self.time(rows)
        return times + self.lag_ms if self.lag_ms else times


@dataclass(frozen=True, slots=True)
class Inbox(Generic[R]):
    """Rows of one stream that are still needed (None: no rows), and how far it has come."""

    rows: R | None = None
    watermark_ms: int = NOTHING_MS
    seen_ms: int = NOTHING_MS
    last_ms: int = NEVER_MS


def received_parts(stream: Stream[R], inbox: Inbox[R] | None, chunks: Sequence[Chunk[R]]) -> tuple[list[R], Inbox[R]]:
    """All rows at hand after some arrivals, in parts, and the inbox without them.

    Rows not after the last one seen are dropped, the watermark never falls. Rows of a chunk ascend in time; rows of
    equal time stand in one chunk.
    """
    inbox = inbox or Inbox()
    parts = [inbox.rows] if inbox.rows is not None else []
    watermark_ms, seen_ms, last_ms = inbox.watermark_ms, inbox.seen_ms, inbox.last_ms
    for chunk in chunks:
        if len(chunk):
            known = stream.known(chunk.rows)
            start = first_fresh(known, seen_ms)
            if start < len(known):
                assert known[start] > watermark_ms, (
                    f"{stream.name}: a row known at {known[start]} came after the promise {watermark_ms}"
                )
                parts.append(chunk.rows.take(slice(start, None)) if start else chunk.rows)
                seen_ms = int(known[-1])
        watermark_ms = max(watermark_ms, chunk.watermark_ms)
        last_ms = chunk.last_ms
    return parts or [nothing(stream.rows)], Inbox(None, watermark_ms, seen_ms, last_ms)


def received(stream: Stream[R], inbox: Inbox[R] | None, chunks: Sequence[Chunk[R]]) -> tuple[R, Inbox[R]]:
    """Like `received_parts`, with the rows at hand joined."""
    parts, following = received_parts(stream, inbox, chunks)
    return stream.rows.concat(parts), following


@lru_cache(maxsize=64)
def nothing(rows: type[R]) -> R:
    """No rows of a type; one object for all, because rows are never written to."""
    return rows.empty()


# ---------------------------------------------------------------------------------------------------------------- as of


@dataclass(frozen=True)
class AsOf(Generic[L, R]):
    """Left rows meet the right rows in force.

    lane   number of the lane of each right row, 0 <= lane < lanes; the latest row of each lane is in force
    lanes  0: the right side does not exist, nothing waits
    """

    left: Stream[L]
    right: Stream[R]
    lane: Callable[[R], I64]
    lanes: int

    def __post_init__(self) -> None:
        """Check that the sides can be told apart."""
        if self.left.name == self.right.name or self.lanes < 0:
            raise ValueError("an as-of join needs two names and 0 or more lanes")


@dataclass(frozen=True, slots=True)
class Meeting(Generic[L, R]):
    """State: held left rows, right rows in force or ahead."""

    left: Inbox[L]
    right: Inbox[R]


@dataclass(frozen=True, slots=True)
class Met(Generic[L, R]):
    """Released left rows and what was in force at each.

    left   released rows with the watermark of the pair
    known  int64[n], when each left row is known, ms UTC
    right  parts that `row` counts through, one after the other: joining them costs more than looking into them
    row    int64[n, lanes], position in `right` of the lane's latest row known at the left row's time; -1: none yet
    """

    left: Chunk[L]
    known: I64
    right: tuple[R, ...]
    row: I64


def step(
    config: AsOf[L, R],
    state: Meeting[L, R] | None,
    arrivals: tuple[tuple[str, Chunk[Any]], ...],
) -> tuple[Meeting[L, R], Met[L, R]]:
    """Release the left rows that the right has passed, with the right rows in force.

    arrivals  (name of the side, chunk) in any interleaving
    source    replay.md 3
    """
    assert {name for name, _ in arrivals} <= {config.left.name, config.right.name}, "an arrival of no side"
    held, left = received_parts(config.left, state.left if state else None, _addressed(config.left, arrivals))
    parts, right = received_parts(config.right, state.right if state else None, _addressed(config.right, arrivals))
    if state is not None and len(held) == 1 and not len(held[0]):
        return _without_left(config, state, left, parts, right)
    rows = config.left.rows.concat(held)
    passed_ms = right.watermark_ms if config.lanes else NEVER_MS
    known = config.left.known(rows)
    count = first_fresh(known, passed_ms)
    released, waiting = _split(config.left.rows, rows, count)
    # no later left row can be known at or before this time
    clock_ms = max(left.watermark_ms, left.seen_ms) if waiting is None else int(known[count]) - 1
    complete_ms = left.watermark_ms if waiting is None else min(left.watermark_ms, clock_ms)
    chunk = Chunk(released, complete_ms, left.last_ms)
    seen, row, kept = _in_force(*_of_right(config, parts), known[:count].tobytes(), clock_ms)
    return Meeting(_with_rows(left, waiting), _with_rows(right, kept)), Met(chunk, known[:count], seen, row)


def _without_left(
    config: AsOf[L, R], state: Meeting[L, R], left: Inbox[L], parts: list[R], right: Inbox[R]
) -> tuple[Meeting[L, R], Met[L, R]]:
    """Nothing to release: the right moves on by itself."""
    kept = state.right.rows
    if len(parts) > 1 or parts[0] is not kept or len(kept) > config.lanes:
        clock_ms = max(left.watermark_ms, left.seen_ms)
        _, _, kept = _in_force(*_of_right(config, parts), _NO_TIMES.tobytes(), clock_ms)
    none = Chunk(nothing(config.left.rows), left.watermark_ms, left.last_ms)
    met = Met(none, _NO_TIMES, (nothing(config.right.rows),), _no_places(config.lanes))
    return Meeting(left, _with_rows(right, kept)), met


_NO_TIMES: I64 = np.empty(0, np.int64)
_NO_TIMES.flags.writeable = False


@lru_cache(maxsize=64)
def _no_places(lanes: int) -> I64:
    return np.empty((0, lanes), np.int64)


class _Same(Generic[T]):
    """Something that equals itself alone."""

    __slots__ = ("it",)

    def __init__(self, it: T) -> None:
        self.it = it

    def __hash__(self) -> int:
        return id(self.it)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.it is other.it


Right = tuple[Stream[R], Callable[[R], I64], int, tuple[_Same[R], ...]]


def _of_right(config: AsOf[L, R], parts: Sequence[R]) -> Right[R]:
    """All that `_in_force` has to know of a right side."""
    return config.right, config.lane, config.lanes, tuple([_Same(part) for part in parts])


@lru_cache(maxsize=SHARED)
def _in_force(
    stream: Stream[R],
    lane_of: Callable[[R], I64],
    lanes: int,
    same: tuple[_Same[R], ...],
    left_known: bytes,
    clock_ms: int,
) -> tuple[tuple[R, ...], I64, R | None]:
    """The parts of the right, the rows of them in force at each left row, and those that stay needed."""
    parts = tuple(part.it for part in same)
    known = np.concatenate([stream.known(part) for part in parts])
    lane = np.concatenate([lane_of(part) for part in parts])
    row = _rows_in_force(np.frombuffer(left_known, np.int64).copy(), known, lane, lanes)
    kept = _chosen(parts, _alive(known, lane, lanes, clock_ms))
    if isinstance(kept, Columns) and len(kept) <= FEW:
        kept = _first_like(_Like(kept))
    return parts, row, kept


class _Like:
    """Rows that equal others with the same content."""

    __slots__ = ("content", "rows")

    def __init__(self, rows: Columns) -> None:
        self.rows = rows
        self.content = tuple([getattr(rows, name).tobytes() for name in rows.layout()])

    def __hash__(self) -> int:
        return hash(self.content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Like) and type(self.rows) is type(other.rows) and self.content == other.content


@lru_cache(maxsize=SHARED)
def _first_like(like: _Like) -> Any:
    """The same object for all that are alike: pairs whose states were read from a store find each other again."""
    return like.rows


def _with_rows(inbox: Inbox[R], rows: R | None) -> Inbox[R]:
    return Inbox(rows, inbox.watermark_ms, inbox.seen_ms, inbox.last_ms)


def _chosen(parts: tuple[R, ...], rows: I64) -> R | None:
    """The rows at these ascending positions of the parts, or None."""
    chosen, start = [], 0
    for part in parts:
        first, last = np.searchsorted(rows, [start, start + len(part)])
        if first < last:
            chosen.append(part.take(rows[first:last] - start))
        start += len(part)
    return chosen[0].concat(chosen) if chosen else None


def _split(kind: type[R], rows: R, count: int) -> tuple[R, R | None]:
    """The first `count` rows, and the rest or None."""
    if count == len(rows):
        return rows, None
    if not count:
        return nothing(kind), rows
    return rows.take(slice(count)), rows.take(slice(count, None))


def _addressed(stream: Stream[R], arrivals: tuple[tuple[str, Chunk[Any]], ...]) -> list[Chunk[R]]:
    found = [chunk for name, chunk in arrivals if name == stream.name]
    assert all(isinstance(chunk.rows, stream.rows) for chunk in found), f"{stream.name} got other rows"
    return found


@compiled
def _rows_in_force(left_known: I64, right_known: I64, lane: I64, lanes: int) -> I64:
    row = np.empty((len(left_known), lanes), dtype=np.int64)
    latest = np.full(lanes, -1, dtype=np.int64)
    j = 0
    for i in range(len(left_known)):
        while j < len(right_known) and right_known[j] <= left_known[i]:
            assert 0 <= lane[j] < lanes, "a row of the right has no lane"
            latest[lane[j]] = j
            j += 1
        for k in range(lanes):
            row[i, k] = latest[k]
    return row


@compiled
def _alive(right_known: I64, lane: I64, lanes: int, clock_ms: int) -> I64:
    """Positions of the rows that are ahead of the clock or the latest of their lane, ascending."""
    alive = np.empty(len(right_known), dtype=np.int64)
    superseded = np.zeros(lanes, dtype=np.bool_)
    start = len(alive)
    for j in range(len(right_known) - 1, -1, -1):
        assert 0 <= lane[j] < lanes, "a row of the right has no lane"
        if right_known[j] > clock_ms or not superseded[lane[j]]:
            start -= 1
            alive[start] = j
            superseded[lane[j]] = right_known[j] <= clock_ms
    return alive[start:]


# ---------------------------------------------------------------------------------------------------------------- merge


@dataclass(frozen=True)
class Merge(Generic[R]):
    """Streams of one row type that become one; their order here is their rank at equal times."""

    streams: tuple[Stream[R], ...]

    def __post_init__(self) -> None:
        """Check that the streams can be told apart."""
        if not self.streams or len({stream.name for stream in self.streams}) < len(self.streams):
            raise ValueError("a merge needs at least one stream and different names")


@dataclass(frozen=True)
class Merging(Generic[R]):
    """State of a merge: one inbox per stream."""

    inboxes: tuple[Inbox[R], ...]


@dataclass(frozen=True)
class Merged(Generic[R]):
    """Rows of all streams by (known time, rank of the stream), and the stream of each row."""

    chunk: Chunk[R]
    origins: Origins


def merge(
    config: Merge[R], state: Merging[R] | None, arrivals: tuple[tuple[str, Chunk[R]], ...]
) -> tuple[Merging[R], Merged[R]]:
    """Release the rows of all streams up to the smallest watermark, in event time.

    arrivals  (name of the stream, chunk) in any interleaving
    source    replay.md 3, 6 (`block_scope = token`)
    """
    by_name: dict[str, list[Chunk[R]]] = {stream.name: [] for stream in config.streams}
    for name, chunk in arrivals:
        assert name in by_name, f"no stream {name} in this merge of {', '.join(by_name)}"
        by_name[name].append(chunk)
    before: Sequence[Inbox[R] | None] = state.inboxes if state else [None] * len(config.streams)
    streams = config.streams
    at_hand = [received(stream, inbox, by_name[stream.name]) for stream, inbox in zip(streams, before, strict=True)]
    passed_ms = min(inbox.watermark_ms for _, inbox in at_hand)
    known = [stream.known(rows) for stream, (rows, _) in zip(streams, at_hand, strict=True)]
    counts = [first_fresh(times, passed_ms) for times in known]
    parts = [_split(streams[0].rows, rows, count) for (rows, _), count in zip(at_hand, counts, strict=True)]
    following = Merging(
        tuple(_with_rows(inbox, waiting) for (_, inbox), (_, waiting) in zip(at_hand, parts, strict=True))
    )
    last_ms = max(inbox.last_ms for _, inbox in at_hand)
    released = [part for part, _ in parts if len(part)]
    if not released:
        return following, Merged(Chunk(nothing(streams[0].rows), passed_ms, last_ms), nothing(Origins))
    times = np.concatenate([times[:count] for times, count in zip(known, counts, strict=True)])
    # stable: rows of equal time keep the order of the streams
    order = np.argsort(times, kind="stable")
    origins = Origins(np.repeat(np.arange(len(streams), dtype=np.int64), counts)[order])
    return following, Merged(Chunk(streams[0].rows.concat(released).take(order), passed_ms, last_ms), origins)
