"""A small live run: batches of items as a flow would make them, where they go, and what must come of them."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from connectors.avro.framing import SingleObject
from connectors.postgres import read
from connectors.postgres.connection import Connection
from connectors.postgres.live_writer import LiveSnapshot, LiveWriter
from connectors.postgres.units import Target
from lotus.columns import Columns
from lotus.lane import Lane
from lotus.written import Written
from schemas.partition import partition_of
from tests.connectors.sample_rows import FIRST_MS, LANES, STEP_MS, sample

RUN = "live"
PARTITIONS = 5
TOPICS = {
    "bar": "md.bars.v1",
    "bar_history": "md.bars.v1",
    "trend": "md.trend.v1",
    "state_change": "md.states.v1",
    "fill": "pm.fills.v1",
}
PROMISING = ("bar", "trend")
FRAMING = SingleObject()


@dataclass(frozen=True)
class Sharing:
    """Where the rows of these tests go: by token, as everywhere."""

    partitions: int = PARTITIONS
    unpublished: frozenset[str] = field(default=frozenset())

    def target(self, noun: str, lane: Lane) -> Target | None:
        """The topic of the noun."""
        if noun in self.unpublished:
            return None
        return Target(TOPICS[noun], partition_of(lane.token, self.partitions))

    def promise(self, noun: str, lane: Lane) -> Target | None:
        """Bars and trend records say how far they are complete."""
        return self.target(noun, lane) if noun in PROMISING else None

    def feeders(self, target: Target) -> int:
        """All lanes of the partition."""
        return sum(partition_of(lane.token, self.partitions) == target.partition for lane in LANES)

    def targets(self, *partitions: int) -> list[Target]:
        """The units of a share."""
        return [Target(topic, partition) for topic in set(TOPICS.values()) for partition in partitions]


ROUTING = Sharing()
ALL = ROUTING.targets(*range(PARTITIONS))


def batches(count: int, rows: int = 3, tokens: Iterable[str] = ("BTC", "HYPE")) -> list[list[Written]]:
    """`count` batches over all lanes; the first one has warm-up rows too."""
    chosen = set(tokens)
    return [[item for item in _batch(number, rows) if item.lane.token in chosen] for number in range(count)]


def _batch(number: int, rows: int) -> Iterator[Written]:
    first = number * rows
    known_ms = FIRST_MS + (first + rows) * STEP_MS
    for lane in LANES:
        if number == 0:
            yield Written("bar_history", lane, _rows("bar_history", 0, 5))
        yield Written("bar", lane, _rows("bar", first, rows), known_ms)
        yield Written("trend", lane, _rows("trend", first, rows), known_ms)
        if number % 2:
            yield Written("state_change", lane, _rows("state_change", first, 1))
        yield Written("fill", lane, _rows("fill", first, rows))


@cache
def _rows(noun: str, first: int, count: int) -> Columns:
    """Rows that do not depend on the batches they are made in."""
    return type(sample(noun, 0)).concat([sample(noun, 1, 0, first + at) for at in range(count)])


def opened(dsn: str, targets: Iterable[Target] = ALL, run_id: str = RUN, **options: Any) -> LiveWriter:
    """A writer of the whole run, unless told otherwise."""
    given: dict[str, Any] = {"writer": "0/1", "resume": None, "routing": ROUTING, "framing": FRAMING, **options}
    return LiveWriter(dsn, run_id, targets, **given)


def live(dsn: str, items: list[list[Written]], run_id: str = RUN, **options: Any) -> LiveSnapshot:
    """An uninterrupted run; every batch is an epoch."""
    writer = opened(dsn, run_id=run_id, **options)
    try:
        snapshot = writer.snapshot()
        for batch in items:
            writer.write(batch)
            snapshot = writer.snapshot()
        return snapshot
    finally:
        writer.close()


def written(connection: Connection, run_id: str = RUN) -> dict[str, Any]:
    """Everything that must be equal to an uninterrupted run's: tables, messages in their order, watermarks."""
    return {
        **read.table_hashes(connection, run_id),
        "outbox": hashlib.sha256(repr(messages(connection, run_id)).encode()).hexdigest(),
        "target": connection.execute(
            "select topic, partition, number, watermark_ms from target where run_id = %s order by 1, 2", [run_id]
        ).fetchall(),
    }


def messages(connection: Connection, run_id: str = RUN, noun: str = "%") -> list[tuple[Any, ...]]:
    """Messages in the order of their partitions."""
    return connection.execute(
        """
        select topic, partition, number, noun, key, ts, value from outbox where run_id = %s and noun like %s
        order by topic, partition, number
        """,
        [run_id, noun],
    ).fetchall()


def without_watermarks(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Topic, partition, noun, key, ts, value: numbers shift where watermarks fall elsewhere."""
    return [(*row[:2], *row[3:]) for row in rows if row[3] != "watermark"]


def holes(connection: Connection, run_id: str = RUN) -> int:
    """Partitions whose numbers, and writers whose seqs, are not 1, 2, 3 ..."""
    row = connection.execute(
        """
        select count(*) from (
            select 1 from outbox where run_id = %(run)s group by topic, partition
            having min(number) <> 1 or max(number) <> count(*) or count(distinct number) <> count(*)
            union all
            select 1 from outbox where run_id = %(run)s group by writer
            having min(seq) <> 1 or max(seq) <> count(*)
        ) holes
        """,
        {"run": run_id},
    ).fetchone()
    assert row is not None
    return int(str(row[0]))
