"""The live sink inside the engine: crashes and resumes end where an uninterrupted run ends."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSource, run_main

from connectors.postgres.connection import Connection
from connectors.postgres.live_sink import LiveSink
from connectors.postgres.live_writer import LiveWriter
from connectors.postgres.streams import NondeterministicReplayError
from tests.connectors.live_rows import ALL, FRAMING, ROUTING, RUN, batches, holes, live, written

BATCHES = batches(12, rows=2)
ITEMS: list[Any] = [("key", item) for batch in BATCHES for item in batch]
BATCH = len(BATCHES[1])


def flowed(dsn: str, store: Path, items: list[Any], **options: Any) -> LiveSink:
    """The dataflow until it ends or aborts; every batch is an epoch."""
    flow = Dataflow("live")
    sink = LiveSink(dsn, RUN, ALL, ROUTING, FRAMING, writer="0/1", **options)
    op.output("postgres", op.input("items", flow, TestingSource(items, BATCH)), sink)
    try:
        run_main(flow, epoch_interval=timedelta(0), recovery_config=RecoveryConfig(store))
    except BaseException:
        sink.close()
        raise
    return sink


@pytest.mark.parametrize("crash_at", [2, 40, 90])
def test_crashes_and_resumes_end_where_an_uninterrupted_run_ends(
    database: str, connection: Connection, tmp_path: Path, crash_at: int
) -> None:
    live(database, [[item for _, item in ITEMS[at : at + BATCH]] for at in range(0, len(ITEMS), BATCH)], "whole")
    init_db_dir(tmp_path, 1)
    items = ITEMS.copy()
    items.insert(crash_at, TestingSource.ABORT())  # aborts once
    flowed(database, tmp_path, items).writer._connection.close()
    flowed(database, tmp_path, items).close()
    found, whole = written(connection), written(connection, "whole")
    for cut in ("outbox", "target"):  # an abort cuts a batch in two: watermarks may fall elsewhere
        found.pop(cut)
        whole.pop(cut)
    assert found == whole
    assert holes(connection) == 0


def test_the_relay_is_told_after_each_commit_with_messages(database: str, tmp_path: Path) -> None:
    init_db_dir(tmp_path, 1)
    opened: list[LiveWriter] = []
    told: list[int] = []
    sink = flowed(database, tmp_path, ITEMS, opened=opened.append, committed=told.append)
    assert opened == [sink.writer]
    assert told == sorted(set(told))
    assert told[-1] == sink.writer.seq > 0
    assert len(told) == -(-len(ITEMS) // BATCH)
    sink.close()
    again: list[int] = []
    flowed(database, tmp_path, ITEMS, committed=again.append).close()
    assert again == []


def test_an_error_of_the_writer_is_told_and_nothing_else(database: str, tmp_path: Path) -> None:
    """Closing after an error must not raise a second one, which would abort the process."""
    live(database, BATCHES)
    init_db_dir(tmp_path, 1)
    other: list[Any] = [("key", item) for batch in batches(12, rows=1) for item in batch]
    with pytest.raises(Exception) as told:  # noqa: PT011 - the engine wraps it
        flowed(database, tmp_path, other, rebuild=True)
    assert isinstance(told.value.__cause__ or told.value, NondeterministicReplayError)
