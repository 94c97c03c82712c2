"""The writer: whatever happens, the tables equal those of an uninterrupted run."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSource, run_main

from connectors.cells import RowRefusedError
from connectors.postgres import read, run
from connectors.postgres.connection import Connection
from connectors.postgres.marks import NO_COMMIT, read_journal
from connectors.postgres.sink import ReplaySink
from connectors.postgres.streams import Count, DatabaseBehindError, NondeterministicReplayError
from connectors.postgres.writer import Item, ReplayWriter, Snapshot
from lotus.records import Bars, Decisions
from tests.connectors.sample_rows import LANES, sample, stream_items

ROWS = 60
BATCH = 20
ITEMS: list[Item] = list(stream_items(ROWS, BATCH))
WRITTEN = ("bar", "trend", "posture", "fill")


def replay(
    dsn: str, items: Iterable[Item] = ITEMS, run_id: str = "run", **options: Any
) -> tuple[Snapshot, Mapping[str, Count]]:
    """An uninterrupted run; every item is an epoch."""
    writer = ReplayWriter(dsn, run_id, **options)
    try:
        snapshot = None
        for item in items:
            writer.write([item])
            snapshot = writer.snapshot()
        counts = writer.finish()
        assert snapshot is not None
        return snapshot, counts
    finally:
        writer.close()


def crash(writer: ReplayWriter) -> None:
    """What SIGKILL leaves of a writer: a connection that ends in the middle of whatever it was doing."""
    writer._connection.close()


def changed(item: Item, row: int) -> Item:
    noun, lane, rows, *_ = item
    assert isinstance(rows, Bars)
    close = rows.close.copy()
    close[row] = 42.0
    return noun, lane, replace(rows, close=close)


def test_a_run_is_written_whole(database: str, connection: Connection) -> None:
    _, counts = replay(database)
    per_noun = ROWS * len(LANES)
    assert counts["bar"] == Count(inserted=per_noun)
    assert {noun: n for noun, n in read.counts(connection, "run").items() if n} == dict.fromkeys(WRITTEN, per_noun)


def test_the_same_replay_again_inserts_nothing_and_verifies_all(database: str, connection: Connection) -> None:
    replay(database)
    before = read.table_hashes(connection, "run")
    versions = connection.execute("select xmin, ctid from bar order by ctid").fetchall()
    _, counts = replay(database)
    assert [counts[noun] for noun in WRITTEN] == [Count(verified=ROWS * len(LANES))] * len(WRITTEN)
    assert read.table_hashes(connection, "run") == before
    assert connection.execute("select xmin, ctid from bar order by ctid").fetchall() == versions


def test_a_complete_run_can_be_verified_again_after_its_journal_was_cut(database: str, connection: Connection) -> None:
    replay(database)
    run.complete(connection, "run")
    assert connection.execute("select count(*) <= 2 * 16 from mark").fetchone() == (True,)
    _, counts = replay(database)
    assert counts["bar"] == Count(verified=ROWS * len(LANES))


def test_batches_and_epochs_change_no_byte(database: str, connection: Connection) -> None:
    replay(database)
    for at, batch_rows in enumerate((1, 7, ROWS)):
        replay(database, stream_items(ROWS, batch_rows), run_id=f"other{at}")
        assert read.table_hashes(connection, f"other{at}") == read.table_hashes(connection, "run")
    _, counts = replay(database, stream_items(ROWS, 7))
    assert counts["trend"] == Count(verified=ROWS * len(LANES))


@pytest.mark.parametrize("crash_at", range(0, len(ITEMS), 5))
@pytest.mark.parametrize("epoch_items", [1, 4])
def test_a_crash_anywhere_and_a_resume_give_the_same_tables(
    database: str, connection: Connection, crash_at: int, epoch_items: int
) -> None:
    """The store is one epoch behind the database, as after a kill between the commit and the end of the epoch."""
    replay(database, run_id="whole")
    stored: tuple[int, Snapshot | None] = (0, None)
    writer = ReplayWriter(database, "run")
    for at, item in enumerate(ITEMS[:crash_at]):
        writer.write([item])
        if (at + 1) % epoch_items == 0:
            position = at + 1 - epoch_items
            earlier = stored
            stored = (at + 1, writer.snapshot())
            behind = (position, earlier[1]) if earlier[0] == position else earlier
    crash(writer)
    if crash_at > epoch_items:
        stored = behind
    resumed = ReplayWriter(database, "run", resume=stored[1])
    for item in ITEMS[stored[0] :]:
        resumed.write([item])
    counts = resumed.finish()
    resumed.close()
    assert read.table_hashes(connection, "run") == read.table_hashes(connection, "whole")
    left = sum(len(rows) for _, _, rows, *_ in ITEMS[stored[0] :])
    assert sum(count.inserted + count.verified for count in counts.values()) == left


def test_a_second_crash_while_verifying_loses_nothing(database: str, connection: Connection) -> None:
    """Resumed far behind the tables, moved only a part of the streams, stored that, crashed again."""
    replay(database, run_id="whole")
    first = ReplayWriter(database, "run")
    first.write(ITEMS[:8])
    early = first.snapshot()
    first.write(ITEMS[8:40])
    first.snapshot()
    crash(first)
    second = ReplayWriter(database, "run", resume=early)
    second.write(ITEMS[8:11])
    stored = second.snapshot()
    assert sum(count.inserted for count in second.counts.values()) == 0
    crash(second)
    third = ReplayWriter(database, "run", resume=stored)
    third.write(ITEMS[11:])
    third.finish()
    third.close()
    assert read.table_hashes(connection, "run") == read.table_hashes(connection, "whole")


@pytest.mark.parametrize("row", [0, BATCH - 1])
def test_changed_content_stops_at_the_first_commit_it_reaches(database: str, connection: Connection, row: int) -> None:
    replay(database)
    before = read.table_hashes(connection, "run")
    writer = ReplayWriter(database, "run")
    writer.write([changed(ITEMS[0], row)])
    told = "bar of BTC binance 1m differs from what is written, at or before row 20"
    with pytest.raises(NondeterministicReplayError, match=told):
        writer.flush()
    writer.close()
    assert read.table_hashes(connection, "run") == before


def test_changed_content_is_found_in_a_complete_run_too(database: str, connection: Connection) -> None:
    replay(database)
    run.complete(connection, "run")
    writer = ReplayWriter(database, "run")
    writer.write([changed(ITEMS[0], 3)])
    with pytest.raises(NondeterministicReplayError, match="at or before row 20"):
        writer.flush()
    writer.close()


def test_a_run_that_ends_earlier_than_before_is_another_run(database: str) -> None:
    replay(database)
    writer = ReplayWriter(database, "run")
    writer.write(ITEMS[:-1])
    with pytest.raises(NondeterministicReplayError, match="has 60 rows in the database, this run made only 40"):
        writer.finish()
    writer.close()


def test_a_database_older_than_the_recovery_store_is_refused(database: str) -> None:
    snapshot, _ = replay(database)
    later = snapshot._replace(commit_number=snapshot.commit_number + 1)
    with pytest.raises(DatabaseBehindError, match="database older than recovery store"):
        ReplayWriter(database, "run", resume=later)
    with pytest.raises(DatabaseBehindError, match="the marks differ"):
        ReplayWriter(database, "run", resume=snapshot._replace(digest_sum=1))
    with pytest.raises(DatabaseBehindError, match="belongs to run run, not to other"):
        ReplayWriter(database, "other", resume=snapshot)


def test_many_rows_are_committed_before_the_epoch_ends(database: str, connection: Connection) -> None:
    writer = ReplayWriter(database, "run", commit_rows=BATCH * 4)
    writer.write(ITEMS[:3])
    assert read.counts(connection, "run")["bar"] == 0
    writer.write(ITEMS[3:9])
    assert read.counts(connection, "run")["bar"] == BATCH * 3
    writer.close()


def test_what_was_not_flushed_is_not_written(database: str, connection: Connection) -> None:
    writer = ReplayWriter(database, "run")
    writer.write(ITEMS[:4])
    writer.close()
    assert sum(read.counts(connection, "run").values()) == 0


def test_a_failed_commit_writes_nothing_of_any_noun(database: str, connection: Connection) -> None:
    """Two decisions of one bar and kind are a bug; the bars of the same commit are not written either."""
    writer = ReplayWriter(database, "run")
    twice = sample("decision", 2)
    assert isinstance(twice, Decisions)
    twice = replace(twice, ts=twice.ts[:1].repeat(2), kind=np.zeros(2, dtype=np.int8))
    writer.write([ITEMS[0], ("decision", LANES[0], twice)])
    with pytest.raises(psycopg.errors.UniqueViolation):
        writer.flush()
    writer.close()
    assert sum(read.counts(connection, "run").values()) == 0
    assert read_journal(connection, "run", NO_COMMIT).last_commit == NO_COMMIT


def test_rows_of_one_stream_never_go_back_in_time(database: str) -> None:
    writer = ReplayWriter(database, "run")
    writer.write(ITEMS[:1])
    writer.write([("bar", LANES[0], sample("bar", 1))])
    with pytest.raises(RowRefusedError, match="is before the row before it"):
        writer.flush()
    writer.close()


def test_dead_letters_are_marked_like_everything_else(database: str, connection: Connection) -> None:
    item: Item = ("dead_letter", ("", "binance", ""), sample("dead_letter", 30))
    replay(database, [item])
    _, counts = replay(database, [item])
    assert counts["dead_letter"] == Count(verified=30)
    assert read.counts(connection, "run")["dead_letter"] == 30


def bytewax_replay(dsn: str, store: Path, items: list[Any]) -> ReplaySink:
    flow = Dataflow("replay")
    sink = ReplaySink(dsn, "run")
    op.output("postgres", op.input("items", flow, TestingSource(items, 4)), sink)
    recovery = RecoveryConfig(store)
    run_main(flow, epoch_interval=timedelta(0), recovery_config=recovery)
    return sink


@pytest.mark.parametrize("crash_at", [3, 17, 40, 48])
def test_bytewax_crashes_and_resumes_to_the_same_tables(
    database: str, connection: Connection, tmp_path: Path, crash_at: int
) -> None:
    replay(database, run_id="whole")
    init_db_dir(tmp_path, 1)
    items: list[Any] = [("key", item) for item in ITEMS]
    items.insert(crash_at, TestingSource.ABORT())  # aborts once
    crash(bytewax_replay(database, tmp_path, items).writer)
    sink = bytewax_replay(database, tmp_path, items)
    sink.writer.finish()
    sink.writer.close()
    assert read.table_hashes(connection, "run") == read.table_hashes(connection, "whole")
