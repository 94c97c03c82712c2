"""Bugs on purpose (reliability.md 3), small ones, each in place of one line: `run` of a live writer that has it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import psycopg

from connectors import failpoints
from connectors.kafka.cluster import KafkaAddress
from connectors.kafka.consumer import reading
from connectors.kafka.input_log import InputReader
from connectors.postgres import units
from connectors.postgres.connection import Connection
from connectors.postgres.live_writer import LiveWriter
from connectors.postgres.units import Units
from lotus.feed import Slice
from lotus.kernel import Chunk
from lotus.records import Bars
from tests.conformance.cases.rollup import minutes
from tests.conformance.laws import Case
from tests.connectors import killed_live
from tests.connectors.killed_live import BATCHES, KEPT_SNAPSHOTS, Stored
from tests.connectors.live_rows import opened

ROWS = 200
SOURCE = "connectors.kafka.source"
_check = units.check


class Naive(LiveWriter):
    """Inserts what comes: knows no marks."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """As if nothing had been written."""
        super().__init__(*arguments, **{**options, "resume": None, "rebuild": True})
        self._streams.ahead = {}


def naive_insert(dsn: str, store: Path, fail: str = "", pause_seconds: float = 0.0) -> None:
    """Goes on where the store says, and trusts that its rows are new."""
    with patch("tests.connectors.live_rows.LiveWriter", Naive):
        killed_live.run(dsn, store, fail, pause_seconds)


def store_before_data(dsn: str, store: Path, fail: str = "", pause_seconds: float = 0.0) -> None:
    """The offset is committed, then the data."""
    _stored_otherwise(dsn, store, fail, early=True, further=0)


def one_too_far(dsn: str, store: Path, fail: str = "", pause_seconds: float = 0.0) -> None:
    """The snapshot says one batch more than was written."""
    _stored_otherwise(dsn, store, fail, early=False, further=1)


def _stored_otherwise(dsn: str, store: Path, fail: str, *, early: bool, further: int) -> None:
    failpoints.arm(fail)
    done, snapshot = killed_live.stored(store)
    writer = opened(dsn, resume=snapshot, kept_snapshots=KEPT_SNAPSHOTS)
    for number in range(done, len(BATCHES)):
        if early:
            _keep(store, (number + 1, snapshot))
        writer.write(BATCHES[number])
        snapshot = writer.snapshot()
        _keep(store, (number + 1 + further, snapshot))
    writer.close()


def _keep(store: Path, state: Stored) -> None:
    killed_live._store(store, state)


@contextmanager
def takeover_ends_nobody() -> Iterator[None]:
    """The token is raised, the backend of the one before lives on."""

    def acquire(connection: Connection, environment: str, run_id: str, targets: Any = (), **options: Any) -> Units:
        wanted = Units(environment, run_id, tuple(sorted(set(targets))), 0)
        units._enter(connection, wanted)
        raised = None
        while raised is None:
            holders = units._holders(connection, wanted)
            raised = units._raise_token(connection, wanted, holders, options["writer"], None)
        return raised

    with patch.object(units, "acquire", acquire):
        yield


@contextmanager
def no_lease() -> Iterator[None]:
    """Nobody asks whose units these are."""
    with takeover_ends_nobody(), patch.object(units, "check", lambda *_: None):
        yield


@contextmanager
def lease_read_outside() -> Iterator[None]:
    """The token is read before the transaction begins."""

    @contextmanager
    def fenced(_dsn: str, connection: Connection, held: Units) -> Iterator[None]:
        _check(connection, held)
        yield

    with patch.object(units, "check", lambda *_: None), patch.object(units, "fenced", fenced):
        yield


def zombie_without_lease(dsn: str, store: Path, fail: str = "", pause_seconds: float = 0.0) -> None:
    """Writes whatever happens."""
    with no_lease():
        killed_live.run(dsn, store, fail, pause_seconds)


def zombie_that_read_its_lease_before(dsn: str, store: Path, fail: str = "", pause_seconds: float = 0.0) -> None:
    """Checks, begins, writes."""
    with lease_read_outside():
        killed_live.run(dsn, store, fail, pause_seconds)


@contextmanager
def swallowed() -> Iterator[None]:
    """An error of the database is written to a log that nobody reads."""
    write = LiveWriter.write

    def silent(writer: LiveWriter, items: Any) -> None:
        try:
            write(writer, items)
        except psycopg.Error as error:
            sys.stderr.write(f"{error}\n")

    with patch.object(LiveWriter, "write", silent):
        yield


def _summed(_config: None, state: float | None, batch: Chunk[Bars]) -> tuple[float, Chunk[Bars]]:
    """Every row tells the sum so far, added up anew within each batch: its bits depend on where the batch began."""
    rows = batch.rows
    sums = np.array([(state or 0.0) + float(np.sum(rows.close[: at + 1])) for at in range(len(rows))])
    return (float(sums[-1]) if len(rows) else state or 0.0), Chunk(replace(rows, close=sums), batch.watermark_ms)


def _rows(rng: np.random.Generator) -> list[Chunk[Bars]]:
    rows = minutes(rng, np.arange(ROWS))
    return [Chunk(rows.take(slice(at, at + 1)), int(rows.ts[at])) for at in range(ROWS)]


SUMMED_IN_ANY_ORDER = Case("sum", _summed, None, _rows)


@contextmanager
def dropped_letters() -> Iterator[None]:
    """What is refused is thrown away."""
    read = InputReader.read

    def lossy(reader: InputReader, parts: Any) -> Slice:
        return replace(read(reader, parts), refused=())

    with patch.object(InputReader, "read", lossy):
        yield


@contextmanager
def offset_reset() -> Iterator[None]:
    """`auto.offset.reset=earliest`, and nobody looks whether the log still holds the offset."""

    def lenient(address: KafkaAddress, **extra: Any) -> dict[str, Any]:
        return reading(address, **{**extra, "auto.offset.reset": "earliest"})

    with patch(f"{SOURCE}.check_offsets", lambda *_: None), patch(f"{SOURCE}.reading", lenient):
        yield
