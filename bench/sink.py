"""Exactly-once sink against a raw binary COPY of the same bytes into the same table: `python -m bench.sink`.

Both move the same batches, one transaction each. The sink encodes the columns, hashes every row, checks the lease and
writes the marks as well; the raw COPY gets finished bytes. Prints one JSON line per noun.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from psycopg import sql

from connectors.nouns import LANE_COLUMNS, NOUNS, RUN_COLUMN
from connectors.postgres.connection import Connection, connect
from connectors.postgres.copy_rows import HEADER, TRAILER, RowEncoder, constant_fields
from connectors.postgres.migrate import migrate
from connectors.postgres.row_bytes import CHAIN_START
from connectors.postgres.server import EmbeddedPostgres
from connectors.postgres.streams import copy_statement
from connectors.postgres.writer import Item, ReplayWriter
from lotus.columns import Column, Columns, Kind
from lotus.lane import Lane
from lotus.timeframe import Timeframe

RUN = "bench"
NOUNS_MEASURED = ("bar", "trend", "posture")
ROWS_PER_LANE = 1_250
LANES = tuple(Lane(f"TOKEN{at:02}", "binance", Timeframe.M1) for at in range(8))  # 8 lanes: 10,000 rows a batch
BATCHES = 12
REPEATS = 9
REACH = 0.9
_TERMS = json.dumps({"terms": [["base", 0.5], ["dom:BTC up", 0.1], ["idx:ALT s3", -0.05], ["clamp", 0.0]] * 2})


class Took(NamedTuple):
    """Seconds of wall clock and of this process's CPU."""

    wall: float
    cpu: float


def main() -> None:
    """Measure every noun on a server of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="lotus-bench-") as folder,
        EmbeddedPostgres(Path(folder)) as server,
        connect(server.ensure_database("bench")) as connection,
    ):
        migrate(connection)
        for noun in NOUNS_MEASURED:
            print(json.dumps(measured(server.dsn("bench"), connection, noun)))


def measured(dsn: str, connection: Connection, noun: str) -> dict[str, Any]:
    """Both ways in turns, each into an empty table."""
    batches = list(made_batches(noun))
    finished = [encoded(noun, batch) for batch in batches]
    raw: list[Took] = []
    sink: list[Took] = []
    for _ in range(REPEATS + 1):
        with connect(dsn) as fresh:  # both begin with a backend that has touched nothing
            raw.append(timed(connection, noun, lambda: copy_raw(fresh, noun, finished)))
        connection.execute("truncate mark, writer_unit")
        with closing(ReplayWriter(dsn, RUN)) as writer:
            sink.append(timed(connection, noun, lambda: write_sink(writer, batches)))
    raw, sink = raw[1:], sink[1:]  # the first turn warms the compiled loop and the server's buffers
    rows = BATCHES * len(LANES) * ROWS_PER_LANE
    best_raw, best_sink = (min(took.wall for took in times) for times in (raw, sink))  # noise only ever adds
    encode = timed(connection, noun, lambda: encode_only(noun, batches))
    return {
        "id": f"sink.{noun}",
        "figure": round(best_raw / best_sink, 3),
        "bar": f">= {REACH}",
        "rows_per_batch": len(LANES) * ROWS_PER_LANE,
        "bytes_per_row": round(sum(len(part) for parts in finished for part in parts) / rows),
        "sink_rows_per_s": round(rows / best_sink),
        "raw_copy_rows_per_s": round(rows / best_raw),
        "sink_client_us_per_row": round(median(took.cpu for took in sink) / rows * 1e6, 3),
        "raw_client_us_per_row": round(median(took.cpu for took in raw) / rows * 1e6, 3),
        "encode_us_per_row": round(encode.cpu / rows * 1e6, 3),
    }


def timed(connection: Connection, noun: str, work: Callable[[], object]) -> Took:
    """Run on empty tables."""
    connection.execute(sql.SQL("truncate {}").format(sql.Identifier(noun)))
    connection.execute("checkpoint")
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Took(time.perf_counter() - wall, time.process_time() - cpu)


def copy_raw(connection: Connection, noun: str, batches: list[list[bytes]]) -> None:
    """The baseline: finished bytes, one COPY and commit per batch."""
    statement = copy_statement(noun, (RUN_COLUMN, *LANE_COLUMNS, *NOUNS[noun].layout()))
    for parts in batches:
        with connection.transaction(), connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(HEADER)
            for part in parts:
                copy.write(part)
            copy.write(TRAILER)


def write_sink(writer: ReplayWriter, batches: list[list[Item]]) -> None:
    """The sink, from the first row to the last commit."""
    for batch in batches:
        writer.write(batch)
        writer.flush()
    writer.finish()


def encoded(noun: str, batch: list[Item]) -> list[bytes]:
    """The bytes of a batch."""
    entry = NOUNS[noun]
    encoder = RowEncoder(noun, entry.layout(), entry.order)
    parts: list[bytes] = []
    for _, lane, rows, *_ in batch:
        prefix = constant_fields(len(entry.layout()), [RUN, *lane])
        encoder.encode(prefix, rows, int(CHAIN_START), lambda block: parts.append(bytes(block)))
    return parts


def encode_only(noun: str, batches: list[list[Item]]) -> None:
    """The encoder without a server."""
    entry = NOUNS[noun]
    encoder = RowEncoder(noun, entry.layout(), entry.order)
    for batch in batches:
        for _, lane, rows, *_ in batch:
            encoder.encode(constant_fields(len(entry.layout()), [RUN, *lane]), rows, int(CHAIN_START), len)


def made_batches(noun: str) -> Iterator[list[Item]]:
    """Rows as a replay has them: absent cells in long stretches, as states make them."""
    random = np.random.default_rng(7)
    for batch in range(BATCHES):
        yield [(noun, lane, made_rows(NOUNS[noun].rows, batch * ROWS_PER_LANE, random)) for lane in LANES]


def made_rows(rows: type[Columns], first: int, random: np.random.Generator) -> Columns:
    """One lane's rows of a batch."""
    return rows(*(made_cells(name, column, first, random) for name, column in rows.layout().items()))


def made_cells(name: str, column: Column, first: int, random: np.random.Generator) -> Any:
    """Cells of one column."""
    count = ROWS_PER_LANE
    if name == "ts":
        return 1_700_000_000_000 + (first + np.arange(count)) * 60_000
    cells = {
        Kind.FLOAT: random.normal(100.0, 1.0, count),
        Kind.FLAG: random.random(count) < 0.1,
        Kind.ENUM: np.zeros(count, dtype=np.int8),
        Kind.MONEY: np.array([Decimal("12.50000000")] * count, dtype=np.object_),
        Kind.JSON: np.array([_TERMS] * count, dtype=np.object_),
        Kind.TEXT: np.array(["A fell 0.10: BTC left S3"] * count, dtype=np.object_),
    }.get(column.kind, random.integers(0, 1000, count))
    if column.kind is Kind.FLOAT and column.nullable:
        cells[np.repeat(random.random(count // 50 + 1) < 0.5, 50)[:count]] = np.nan
    return cells


if __name__ == "__main__":
    main()
