"""The decisions of a live run on their topic against those of its replay, body by body.

    partition 0   | dropped by retention |=====================| W |  not looked at: it goes on
    partition 1   |============================================| W |
                                         ^ the first that is there: what came earlier is compared in the tables only

What is committed by W stands on the topic a moment later: the relay is waited for.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from connectors.avro.codec import codec_of
from connectors.avro.framing import FrameError, Framing
from connectors.decisions_digest import (
    DECISION,
    Body,
    Digest,
    DigestError,
    bodies_of,
    digest_of,
    first_apart,
    placed,
)
from connectors.kafka.catch_up import Record, catch_up
from connectors.kafka.cluster import KafkaAddress
from connectors.kafka.log_ends import log_spans
from connectors.kafka.records import Origin, origin
from connectors.messages import MESSAGES
from connectors.postgres.connection import Connection
from lotus.records import OrderKind
from lotus.written import Written
from schemas.partition import partition_of

SENT_SECONDS = 15.0  # how long a relay is waited for
LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Published:
    """Records of a run on a topic.

    records  all of them, with their headers
    since    partition -> event time of the first record that retention has left; none where nothing was dropped
    unsent   partition -> first number that was committed and is not on the topic
    """

    records: list[tuple[Origin, Record]]
    since: Mapping[int, int]
    unsent: Mapping[int, int]


def committed(connection: Connection, run_id: str, topic: str) -> dict[int, int]:
    """Number of the last record of each partition that a run has committed."""
    rows = connection.execute(
        "select partition, number from target where run_id = %s and topic = %s", [run_id, topic]
    ).fetchall()
    return {int(str(partition)): int(str(number)) for partition, number in rows}


def published(
    address: KafkaAddress,
    topic: str,
    run_id: str,
    numbers: Mapping[int, int],
    *,
    seconds: float = SENT_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> Published:
    """What a topic holds of a run, once the relay has sent all up to some numbers, or when the time is up.

    raises  UnreachableError, TopicMismatchError, OutageError
    """
    left = seconds
    while True:
        found = _published(address, topic, run_id, numbers)
        if not found.unsent or left <= 0:
            return found
        sleep(LOOK_SECONDS)
        left -= LOOK_SECONDS


def _published(address: KafkaAddress, topic: str, run_id: str, numbers: Mapping[int, int]) -> Published:
    low = {place[1]: span.low for place, span in log_spans(address, [(topic, one) for one in numbers]).items()}
    records = [(told, record) for record in catch_up(address, topic) if (told := origin(record.headers)).run == run_id]
    first, last = dict[int, tuple[int, int]](), dict[int, int]()
    for told, record in records:
        first.setdefault(record.partition, (told.number, record.ts))
        last[record.partition] = told.number
    never = int(np.iinfo(np.int64).max)
    since, unsent = dict[int, int](), dict[int, int]()
    for partition, number in numbers.items():
        begins, ts = first.get(partition, (number + 1, never))
        if low[partition] and begins > 1:
            since[partition] = ts
        if last.get(partition, 0) < number and since.get(partition) != never:
            unsent[partition] = last.get(partition, 0) + 1
    return Published(records, since, unsent)


def compared_bodies(
    found: Published, items: Iterable[Written], framing: Framing, partitions: int, reached_ms: int
) -> tuple[Digest, Digest, str | None]:
    """Digest of the topic, digest of the replay, and where they part.

    items       decisions of the replay
    partitions  of the topic
    """
    theirs = bodies_of(_kept(items, found.since, partitions, reached_ms))
    try:
        sent = [
            framing.split(record.value)[1]
            for told, record in found.records
            if told.noun == DECISION and _inside(record.ts, found.since.get(record.partition, -1), reached_ms)
        ]
        mine = placed(sent)
    except (FrameError, DigestError) as error:
        return Digest(0, ""), digest_of(theirs), f"the topic cannot be read: {error}"
    return digest_of(mine), digest_of(theirs), _parted(mine, theirs, found.unsent)


def _inside(ts: int, since_ms: int, reached_ms: int) -> bool:
    """Of the first moment that is left, some records may be gone."""
    return since_ms < ts <= reached_ms


def _kept(items: Iterable[Written], since: Mapping[int, int], partitions: int, reached_ms: int) -> Iterator[Written]:
    """The rows that were known by then and are not older than what is left of their partition."""
    for item in items:
        times = MESSAGES[item.noun].times(item.lane, item.rows)
        since_ms = since.get(partition_of(item.lane.token, partitions), -1)
        inside = np.asarray((times > since_ms) & (times <= reached_ms), dtype=np.bool_)
        yield item._replace(rows=item.rows.take(inside))


def _parted(mine: list[Body], theirs: list[Body], unsent: Mapping[int, int]) -> str | None:
    apart = first_apart(mine, theirs)
    if apart is None:
        return None
    left, right = apart
    if left is None and right is not None:
        why = "; the relay has not sent everything: `lotus drain` does" if unsent else ""
        return f"{_name(right)}: only in the replay{why}"
    assert left is not None, "one of them is there"
    if right is None:
        again = any(left[0] == place for place, _ in theirs)
        return f"{_name(left)}: {'twice' if again else 'only'} on the topic"
    return f"{_name(left)}: {_field(left[1], right[1])}"


def _name(body: Body) -> str:
    token, venue, timeframe, ts, (kind, *_) = body[0]
    moment = datetime.fromtimestamp(ts / 1000, UTC)
    return f"{token} {venue} {timeframe} {moment:%Y-%m-%d %H:%M:%S} {OrderKind(kind).name.lower()}"


def _field(left: bytes, right: bytes) -> str:
    """The first field in which two bodies of one place differ."""
    rows: Any = codec_of(DECISION).decode([left, right]).rows
    for name in rows.layout():
        mine, theirs = getattr(rows, name).tolist()
        if repr(mine) != repr(theirs):
            return f"{name} is {mine} on the topic, {theirs} in the replay"
    return "other bytes"
