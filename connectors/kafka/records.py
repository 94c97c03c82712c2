"""What a record of a derived topic is made of: who wrote it, where it stands in its writer's and its partition's order.

    seq      1, 2, 3 ... per run and writer, over all topics of that writer
    number   1, 2, 3 ... per run and topic partition; it goes on when the partition gets another writer

Offsets have holes (control records, aborted transactions), these two have none: a hole is a lost record, a step back a
doubled one (exactly-once.md 14).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

NOUN, RUN, WRITER, SEQ, NUMBER = "noun", "run", "writer", "seq", "number"

TopicPartition = tuple[str, int]
Headers = Sequence[tuple[str, str | bytes | None]] | Mapping[str, str | bytes | None]


class Outgoing(NamedTuple):
    """A record as a topic gets it, headers included.

    ts  event time, ms UTC: the record's timestamp
    """

    topic: str
    partition: int
    key: bytes
    value: bytes
    ts: int
    headers: list[tuple[str, bytes]]


class Origin(NamedTuple):
    """What the headers of a derived topic's record say."""

    noun: str
    run: str
    writer: str
    seq: int
    number: int

    def headers(self) -> list[tuple[str, bytes]]:
        """The headers, in the order in which they are written."""
        return [
            (NOUN, self.noun.encode()),
            (RUN, self.run.encode()),
            (WRITER, self.writer.encode()),
            (SEQ, b"%d" % self.seq),
            (NUMBER, b"%d" % self.number),
        ]


def origin(headers: Headers | None) -> Origin:
    """Read the headers of a record.

    raises  ValueError naming the header that is missing, doubled or no number
    """
    found: dict[str, str] = {}
    for name, value in headers.items() if isinstance(headers, Mapping) else headers or ():
        if name in found:
            raise ValueError(f"the header {name} is there twice")
        found[name] = value.decode() if isinstance(value, bytes) else value or ""
    missing = [name for name in (NOUN, RUN, WRITER, SEQ, NUMBER) if not found.get(name)]
    if missing:
        raise ValueError(f"the header {missing[0]} is missing")
    return Origin(found[NOUN], found[RUN], found[WRITER], _count(SEQ, found[SEQ]), _count(NUMBER, found[NUMBER]))


def _count(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"the header {name} is no number but {text!r}")
    return int(text)
