"""The outbox as the relay sees it: rows to be published, how far they are, and those that nobody needs any more.

    seq   1 ................ published.upto ...... done ............ last
          | kept: the newest of each partition    | in the topics,  | to be
          | and whatever else is asked for        | not marked yet  | published

Rows and their numbers are written by the writer's transaction (connectors/postgres); here they are read and, once the
topics confirm them, removed. The row with a writer's highest seq is never removed: the next one follows it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import LiteralString, NamedTuple

from psycopg import IsolationLevel

from connectors.kafka.records import Origin, Outgoing, TopicPartition
from connectors.postgres.connection import Connection

_CELLS: LiteralString = "writer, seq, topic, partition, number, noun, key, ts, value"
_AFTER: LiteralString = f"""
    select {_CELLS} from outbox where run_id = %s and writer = %s and seq > %s order by seq limit %s
"""  # noqa: S608 (the names are ours)
_HELD: LiteralString = """
    with held as (
        select * from unnest(%(topics)s::text[], %(partitions)s::int4[], %(numbers)s::int8[])
            as held (topic, partition, held)
    ), unmarked as (
        select outbox.*, held from outbox left join published using (run_id, writer) join held using (topic, partition)
        where run_id = %(run)s and writer = any(%(writers)s) and seq > coalesce(upto, 0)
    )
"""
_WAITING: LiteralString = f"""
    {_HELD} select topic, partition, count(*), min(number), max(number), (array_agg(ts order by number))[1]
    from unmarked where number > held group by topic, partition
"""  # noqa: S608 (the same)
_LEFT: LiteralString = f"{_HELD} select {_CELLS} from unmarked where number > held order by topic, partition, number"  # noqa: S608
_SPAN: LiteralString = f"""
    {_HELD} select min(seq) filter (where number > held), max(seq) filter (where number <= held), (
        select min(seq) from outbox left join published using (run_id, writer) left join held using (topic, partition)
        where run_id = %(run)s and writer = any(%(writers)s) and seq > coalesce(upto, 0) and held is null
    ) from unmarked
"""  # noqa: S608 (the same)
_TARGETS: LiteralString = "select topic, partition, number from target where run_id = %s"
_NEWEST_MARKED: LiteralString = """
    select distinct on (topic, partition) topic, partition, number, ts from outbox join published using (run_id, writer)
    where run_id = %s and seq <= upto order by topic, partition, number desc
"""
_MARK: LiteralString = """
    insert into published (run_id, writer, upto) values (%s, %s, %s)
    on conflict (run_id, writer) do update set upto = greatest(published.upto, excluded.upto)
"""
_PRUNE: LiteralString = """
    delete from outbox using published,
        unnest(%(topics)s::text[], %(partitions)s::int4[], %(numbers)s::int8[]) as held (topic, partition, held)
    where outbox.run_id = %(run)s and published.run_id = outbox.run_id and published.writer = outbox.writer
    and outbox.seq < published.upto and outbox.topic = held.topic and outbox.partition = held.partition
    and outbox.number <= held - %(keep)s
"""

Numbers = Mapping[TopicPartition, int]


class Pending(NamedTuple):
    """A row of the outbox: a record that is to be published, and its place in the two orders."""

    seq: int
    number: int
    record: Outgoing

    @property
    def place(self) -> TopicPartition:
        """Where it goes."""
        return self.record.topic, self.record.partition


class Waiting(NamedTuple):
    """Rows of one topic partition that are not in the topic: how many, their numbers, event time of the first."""

    rows: int
    first: int
    last: int
    ts: int


class Marked(NamedTuple):
    """The newest row of a topic partition that some writer of the run has marked as published."""

    number: int
    ts: int


class Span(NamedTuple):
    """Rows of a writer that are not marked: the first seq not in the topics, the last one in them, the first one that
    goes to a partition that is not asked about; None where there is none.
    """

    first: int | None
    last: int | None
    foreign: int | None


class Backlog:
    """The outbox of one writer of a run, on a connection of its own."""

    def __init__(self, connection: Connection, run_id: str, writer: str, earlier: Sequence[str] = ()) -> None:
        """`earlier`: writers that had the same partitions before and may have left rows."""
        self._connection = connection
        self._run_id = run_id
        self._writer = writer
        self._earlier = [name for name in earlier if name != writer]

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything asked inside is as of one moment: the writer goes on committing."""
        self._connection.isolation_level = IsolationLevel.REPEATABLE_READ
        try:
            with self._connection.transaction():
                yield
        finally:
            self._connection.isolation_level = None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def after(self, done: int, limit: int) -> list[Pending]:
        """The next rows behind `done`, in their order."""
        with self._connection.cursor(binary=True) as cursor:
            cursor.execute(_AFTER, [self._run_id, self._writer, done, limit], prepare=True)
            return [self._pending(*row) for row in cursor.fetchall()]  # type: ignore[arg-type] # columns have types

    def left(self, held: Numbers) -> list[Pending]:
        """Rows of earlier writers that the topics do not hold, by topic, partition and number."""
        if not self._earlier:
            return []
        rows = self._connection.execute(_LEFT, self._sent(held, self._earlier)).fetchall()
        return [self._pending(*row) for row in rows]  # type: ignore[arg-type] # columns have types

    def waiting(self, held: Numbers) -> dict[TopicPartition, Waiting]:
        """What the topics do not hold of ours and of earlier writers."""
        rows = self._connection.execute(_WAITING, self._sent(held, [self._writer, *self._earlier])).fetchall()
        return {(topic, partition): Waiting(*rest) for topic, partition, *rest in rows}  # type: ignore[misc,arg-type]

    def span(self, held: Numbers) -> Span:
        """How far the topics are with our rows that are not marked."""
        row = self._connection.execute(_SPAN, self._sent(held, [self._writer])).fetchone()
        assert row is not None
        return Span(*row)  # type: ignore[arg-type] # columns have types

    def upto(self) -> int:
        """What is marked as published; the topics may be further."""
        return self._number("select coalesce(max(upto), 0) from published where run_id = %s and writer = %s")

    def targets(self) -> dict[TopicPartition, int]:
        """The last number given out in each topic partition, whoever of the run writes it."""
        rows = self._connection.execute(_TARGETS, [self._run_id]).fetchall()
        return {(topic, partition): number for topic, partition, number in rows}  # type: ignore[misc]

    def newest_marked(self) -> dict[TopicPartition, Marked]:
        """Of each topic partition the newest row that is marked as published, whoever of the run wrote it."""
        rows = self._connection.execute(_NEWEST_MARKED, [self._run_id]).fetchall()
        return {(topic, partition): Marked(*rest) for topic, partition, *rest in rows}  # type: ignore[misc,arg-type]

    def mark(self, upto: int) -> None:
        """Remember how far the topics are. A mark never falls."""
        self._connection.execute(_MARK, [self._run_id, self._writer, upto])

    def prune(self, held: Numbers, keep: int) -> int:
        """Remove marked rows, of whichever writer, that the topics confirm; returns how many.

        held  number of the last committed record of each topic partition
        keep  rows of each topic partition that stay, at least 1
        """
        return self._connection.execute(_PRUNE, {**self._sent(held, []), "keep": max(1, keep)}).rowcount

    def _sent(self, held: Numbers, writers: Sequence[str]) -> dict[str, object]:
        return {
            "topics": [topic for topic, _ in held],
            "partitions": [partition for _, partition in held],
            "numbers": list(held.values()),
            "run": self._run_id,
            "writers": list(writers),
        }

    def _number(self, query: LiteralString) -> int:
        row = self._connection.execute(query, [self._run_id, self._writer]).fetchone()
        assert row is not None
        assert isinstance(row[0], int)
        return row[0]

    def _pending(
        self,
        writer: str,
        seq: int,
        topic: str,
        partition: int,
        number: int,
        noun: str,
        key: bytes,
        ts: int,
        value: bytes,
    ) -> Pending:
        headers = Origin(noun, self._run_id, writer, seq, number).headers()
        return Pending(seq, number, Outgoing(topic, partition, key, value, ts, headers))
