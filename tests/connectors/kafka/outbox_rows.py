"""An outbox with rows of which a test knows everything."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence

from psycopg import Cursor

from connectors.postgres.connection import Connection
from tests.kafka_reader import Expected, Place

RUN = "run"
WRITER = "0/1"
FIRST_MS = 1_700_000_000_000
_COLUMNS = "run_id, writer, topic, partition, noun, key, seq, number, ts, value"
_TARGET = """
    insert into target (run_id, topic, partition, number, watermark_ms) values (%s, %s, %s, %s, -1)
    on conflict (run_id, topic, partition) do update set number = excluded.number
"""


class Outbox:
    """Adds rows as the writer of decisions does: seq dense per writer, number dense per topic partition."""

    def __init__(self, connection: Connection, places: Sequence[Place], *, run: str = RUN) -> None:
        """`places`: where the rows go, in an order of no meaning."""
        self._connection = connection
        self._places = tuple(places)
        self._run = run
        self._chance = random.Random(len(places))
        self._numbers: Counter[Place] = Counter()
        self._seqs: Counter[str] = Counter()
        self.expected: dict[Place, list[Expected]] = {place: [] for place in places}

    def add(
        self, count: int, *, writer: str = WRITER, value_bytes: int = 40, places: Iterable[Place] | None = None
    ) -> int:
        """Commit rows in one transaction; returns seq of the last one."""
        into = tuple(places or self._places)
        with self._connection.transaction(), self._connection.cursor() as cursor:
            self._copy(cursor, count, writer, value_bytes, into)
            cursor.executemany(_TARGET, [(self._run, *place, number) for place, number in self._numbers.items()])
        return self._seqs[writer]

    def _copy(
        self, cursor: Cursor[tuple[object, ...]], count: int, writer: str, value_bytes: int, into: Sequence[Place]
    ) -> None:
        with cursor.copy(f"copy outbox ({_COLUMNS}) from stdin") as copy:
            for _ in range(count):
                place = self._chance.choice(into)
                self._seqs[writer] += 1
                self._numbers[place] += 1
                seq, number = self._seqs[writer], self._numbers[place]
                key, value = b"K%d" % (seq % 7), (b"%d" % seq).ljust(value_bytes, b".")
                one = Expected(key, value, FIRST_MS + seq * 10, "bar", writer, seq)
                self.expected[place].append(one)
                copy.write_row((self._run, writer, *place, one.noun, key, seq, number, one.ts, value))
