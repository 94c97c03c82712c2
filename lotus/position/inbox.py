"""Rows that wait until every stream of an account has passed their time (replay.md 3, 6).

arrivals --> unseen rows --+--> known at or before the smallest watermark: work
                ^          |
                +-- rest <-+
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

from lotus.columns import I64
from lotus.kernel import Chunk, Rows, first_fresh

R = TypeVar("R", bound=Rows)

NOTHING_MS = -1


@dataclass(frozen=True, slots=True)
class Inbox(Generic[R]):
    """One stream: rows that wait (None: none do), how far it is complete, time of the last row seen."""

    waiting: R | None = None
    watermark_ms: int = NOTHING_MS
    seen_ms: int = NOTHING_MS


@dataclass(frozen=True, slots=True)
class Received(Generic[R]):
    """All rows at hand, when each of them is known, and the inbox without them."""

    rows: R
    known_ms: I64
    inbox: Inbox[R]

    def until(self, passed_ms: int) -> "tuple[R, Inbox[R]]":
        """The rows known at or before `passed_ms`, and the inbox that keeps the others."""
        if not len(self.known_ms):
            return self.rows, self.inbox
        count = first_fresh(self.known_ms, passed_ms)
        if count == len(self.rows):
            return self.rows, self.inbox
        rest = self.rows.take(slice(count, None))
        return self.rows.take(slice(count)), Inbox(rest, self.inbox.watermark_ms, self.inbox.seen_ms)


def receive(inbox: Inbox[R], rows: type[R], chunks: Iterable[Chunk[R]], known: Callable[[R], I64]) -> Received[R]:
    """Take in chunks, oldest first: rows not after the last one seen are dropped, the watermark never falls.

    known  when each row is known, ms UTC; rows of equal time come in one chunk
    """
    parts = [] if inbox.waiting is None else [inbox.waiting]
    watermark_ms, seen_ms = inbox.watermark_ms, inbox.seen_ms
    for chunk in chunks:
        if len(chunk):
            times = known(chunk.rows)
            start = first_fresh(times, seen_ms)
            if start < len(times):
                parts.append(chunk.rows.take(slice(start, None)) if start else chunk.rows)
                seen_ms = int(times[-1])
        watermark_ms = max(watermark_ms, chunk.watermark_ms)
    together = _together(rows, parts)
    return Received(together, known(together), Inbox(None, watermark_ms, seen_ms))


def _together(rows: type[R], parts: list[R]) -> R:
    if len(parts) > 1:
        return rows.concat(parts)
    if parts:
        return parts[0]
    none: R = _no_rows(rows)
    return none


@lru_cache(maxsize=8)
def _no_rows(rows: Any) -> Any:
    return rows.empty()
