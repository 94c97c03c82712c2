"""One hash for what was decided: equal for the live topic, the tables and a replay, or something differs.

It covers Avro bodies without their framing, ordered by key, as-of time and kind (exactly-once.md 3): not who wrote a
record, in which partition it stands or what surrounds it.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple, Protocol

import numpy as np

from connectors.avro.codec import Codec, codec_of
from connectors.avro.framing import Framing
from connectors.kafka.records import Headers
from lotus.columns import Columns
from lotus.lane import Lane
from lotus.written import Written

DECISION = "decision"
NOUN_HEADER = "noun"
_ORDER = ("kind", "sequence", "rev")  # what tells apart rows of one lane and time, where a noun has it
Place = tuple[str, str, str, int, tuple[int, ...]]
Body = tuple[Place, bytes]


class DigestError(ValueError):
    """A message that cannot be part of a digest; the message says which and why."""


class Stored(Protocol):
    """What is needed of a message of a topic."""

    @property
    def value(self) -> bytes | None:
        """Framing and body."""
        ...

    @property
    def headers(self) -> Headers:
        """Headers; `noun` names the kind of the record."""
        ...


class Digest(NamedTuple):
    """How many bodies, and the hash over them; n = 0 proves nothing."""

    n: int
    sha256: str


def digest_of_messages(messages: Iterable[Stored], framing: Framing, noun: str = DECISION) -> Digest:
    """Of the messages of one noun; others are passed over.

    raises  FrameError, DigestError
    """
    bodies = [
        framing.split(message.value)[1]
        for message in messages
        if dict(message.headers).get(NOUN_HEADER) == noun.encode()
    ]
    return digest_of_bodies(bodies, noun)


def digest_of_written(items: Iterable[Written], noun: str = DECISION) -> Digest:
    """Of rows in memory: what a replay, or the rows of a run's table, would put on the topic."""
    return digest_of(bodies_of(items, noun))


def digest_of_bodies(bodies: list[bytes], noun: str = DECISION) -> Digest:
    """Of bodies in any order; raises DigestError for one that is no such record."""
    return digest_of(placed(bodies, noun))


def bodies_of(items: Iterable[Written], noun: str = DECISION) -> list[Body]:
    """Rows as the topic would hold them, in the order of the digest."""
    codec = codec_of(noun)
    return sorted(pair for item in items if item.noun == noun for pair in _encoded(codec, item.lane, item.rows))


def placed(bodies: Sequence[bytes], noun: str = DECISION) -> list[Body]:
    """Bodies in the order of the digest; raises DigestError for one that is no such record."""
    decoded = codec_of(noun).decode(bodies)
    if decoded.faults:
        number, reason = decoded.faults[0]
        raise DigestError(f"body {number} is no {noun}: {reason}")
    places = _places([decoded.lanes[code] for code in decoded.lane.tolist()], decoded.rows)
    return sorted(zip(places, bodies, strict=True))


def digest_of(found: Sequence[Body]) -> Digest:
    """Each body with its length before it, so that no two lists of bodies read the same."""
    hasher = hashlib.sha256()
    for _, body in found:
        hasher.update(len(body).to_bytes(4, "big"))
        hasher.update(body)
    return Digest(len(found), hasher.hexdigest())


def first_apart(left: Sequence[Body], right: Sequence[Body]) -> tuple[Body | None, Body | None] | None:
    """Where two lists in the order of the digest part: the two bodies of one place, or the one that stands alone."""
    for one, other in zip_longest(left, right):
        if one != other:
            if one is None or other is None or one[0] == other[0]:
                return one, other
            return (one, None) if one < other else (None, other)
    return None


def _encoded(codec: Codec, lane: Lane, rows: Columns) -> Iterator[Body]:
    text = (lane.token, lane.venue, str(lane.timeframe))
    bodies = codec.encode(text, rows)
    yield from zip(_places([text] * len(rows), rows), (bodies[i] for i in range(len(bodies))), strict=True)


def _places(lanes: list[tuple[str, str, str]], rows: Columns) -> list[Place]:
    """Where each row stands in the order."""
    layout = rows.layout()
    time = np.asarray(getattr(rows, "ts" if "ts" in layout else "known_ts")).tolist()
    further = [np.asarray(getattr(rows, name)).tolist() for name in _ORDER if name in layout]
    ranks = list(zip(*further, strict=True)) if further else [()] * len(rows)
    return [(*lane, at, rank) for lane, at, rank in zip(lanes, time, ranks, strict=True)]
