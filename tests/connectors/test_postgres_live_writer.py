"""The live writer: tables and messages are those of an uninterrupted run, and a message follows what it tells of."""

from dataclasses import replace
from typing import Any, LiteralString

import numpy as np
import psycopg
import pytest

from connectors.avro.codec import codec_of
from connectors.avro.framing import Confluent
from connectors.messages import MESSAGES
from connectors.postgres import live_writer, read, units
from connectors.postgres.connection import Connection, connect
from connectors.postgres.live_writer import ForeignTargetError, StoreEmptyError, WeakDurabilityError
from connectors.postgres.outbox import MessageTooLargeError
from connectors.postgres.streams import Count, DatabaseBehindError, NondeterministicReplayError
from connectors.postgres.units import LeaseLostError
from lotus.lane import Lane
from lotus.records import Bars, Fills
from lotus.timeframe import Timeframe
from lotus.written import Written
from tests.connectors.live_rows import (
    FRAMING,
    ROUTING,
    RUN,
    TOPICS,
    batches,
    holes,
    live,
    messages,
    opened,
    without_watermarks,
    written,
)
from tests.connectors.sample_rows import FIRST_MS, LANES, sample

BATCHES = batches(8)
ROWS = 3
PER_NOUN = len(BATCHES) * ROWS * len(LANES)
BTC, HYPE = 3, 0  # the partitions of the two tokens


def changed(item: Written, row: int) -> Written:
    assert isinstance(item.rows, Bars)
    close = item.rows.close.copy()
    close[row] = 42.0
    return item._replace(rows=replace(item.rows, close=close))


def test_tables_and_messages_hold_every_row(database: str, connection: Connection) -> None:
    live(database, BATCHES)
    counts = read.counts(connection, RUN)
    assert {noun: n for noun, n in counts.items() if n} == dict.fromkeys(("bar", "trend", "fill"), PER_NOUN)
    assert len(messages(connection, noun="bar")) == len(messages(connection, noun="fill")) == PER_NOUN
    assert len(messages(connection, noun="bar_history")) == 5 * len(LANES)
    assert len(messages(connection, noun="state_change")) == len(BATCHES) // 2 * len(LANES)
    assert holes(connection) == 0


def test_a_message_is_framing_and_the_body_that_the_codec_makes(database: str, connection: Connection) -> None:
    live(database, BATCHES[:1])
    for noun in ("bar", "bar_history", "trend", "fill"):
        codec = codec_of(noun)
        expected = []
        for item in BATCHES[0]:
            if item.noun == noun:
                bodies = codec.encode(item.lane, item.rows)
                times = MESSAGES[noun].times(item.lane, item.rows)
                expected += [(item.lane.token.encode(), int(ts), body) for ts, body in zip(times, bodies, strict=True)]
        found = messages(connection, noun=noun)
        assert {row[0] for row in found} == {TOPICS[noun]}
        framing = FRAMING.prefix(codec.contract)
        assert all(bytes(row[6]).startswith(framing) for row in found)
        assert sorted((bytes(row[4]), row[5], bytes(row[6])[len(framing) :]) for row in found) == sorted(expected)


def test_the_framing_is_what_the_deployment_chose(database: str, connection: Connection) -> None:
    framing = Confluent({"bar": 7, "trend": 8, "fill": 9, "watermark": 10})
    live(database, batches(1), framing=framing)
    assert {bytes(row[6])[:5] for row in messages(connection, noun="bar")} == {b"\x00\x00\x00\x00\x07"}


def test_messages_of_a_partition_keep_the_order_of_the_items(database: str, connection: Connection) -> None:
    live(database, batches(1))
    nouns = [row[3] for row in messages(connection) if row[:2] == ("md.bars.v1", HYPE)]
    lane = ["bar_history"] * 5 + ["bar"] * ROWS
    assert nouns == lane + lane + ["watermark"]


def test_the_same_items_again_insert_nothing_and_publish_nothing(database: str, connection: Connection) -> None:
    live(database, BATCHES)
    before = written(connection)
    versions = connection.execute("select xmin, ctid from outbox order by ctid").fetchall()
    again = opened(database, rebuild=True)
    for batch in BATCHES:
        again.write(batch)
    assert [again.counts[noun] for noun in ("bar", "trend", "fill")] == [Count(verified=PER_NOUN)] * 3
    again.close()
    assert written(connection) == before
    assert connection.execute("select xmin, ctid from outbox order by ctid").fetchall() == versions


@pytest.mark.parametrize("row", [0, ROWS - 1])
def test_changed_content_stops_and_overwrites_nothing(database: str, connection: Connection, row: int) -> None:
    live(database, BATCHES)
    before = written(connection)
    again = opened(database, rebuild=True)
    wrong = [changed(item, row) if item.noun == "bar" else item for item in BATCHES[0]]
    with pytest.raises(NondeterministicReplayError, match=r"bar of BTC binance 1m differs .* at or before row 3"):
        again.write(wrong)
    again.close()
    assert written(connection) == before


def test_changed_content_of_a_noun_without_a_table_stops_too(database: str) -> None:
    live(database, BATCHES)
    again = opened(database, rebuild=True)
    wrong = [changed(item, 1) if item.noun == "bar_history" else item for item in BATCHES[0]]
    with pytest.raises(NondeterministicReplayError, match="bar_history of BTC"):
        again.write(wrong)
    again.close()


@pytest.mark.parametrize("resumed_from", range(0, len(BATCHES), 3))
def test_a_resume_from_any_snapshot_continues_where_the_run_was(
    database: str, connection: Connection, resumed_from: int
) -> None:
    """The store is behind the database: what it forgot is verified, what is new follows without a hole."""
    live(database, BATCHES, run_id="whole")
    writer = opened(database)
    snapshots = [writer.snapshot()]
    for batch in BATCHES[:6]:
        writer.write(batch)
        snapshots.append(writer.snapshot())
    writer._connection.close()
    place = min(resumed_from, 6)
    resumed = opened(database, resume=snapshots[place])
    for batch in BATCHES[place:]:
        resumed.write(batch)
    verified = sum(count.verified for count in resumed.counts.values())
    resumed.close()
    assert written(connection) == written(connection, "whole")
    assert holes(connection) == 0
    assert verified == sum(len(item.rows) for batch in BATCHES[place:6] for item in batch)


def test_other_batches_give_the_same_messages(database: str, connection: Connection) -> None:
    live(database, BATCHES)
    live(database, [[item for batch in BATCHES[at : at + 4] for item in batch] for at in (0, 4)], run_id="coarse")
    live(database, [[item] for batch in BATCHES for item in batch], run_id="fine")
    expected = without_watermarks(messages(connection))
    for run_id in ("coarse", "fine"):
        assert read.table_hashes(connection, run_id) == read.table_hashes(connection, RUN)
        assert sorted(without_watermarks(messages(connection, run_id))) == sorted(expected)
        assert holes(connection, run_id) == 0


def test_large_batches_are_cut_and_lose_nothing(database: str, connection: Connection) -> None:
    rows = sample("bar", 5000)
    items = [Written("bar", lane, rows) for lane in LANES]
    live(database, [items])
    found = messages(connection, noun="bar")
    assert len(found) == 5000 * len(LANES)
    assert holes(connection) == 0
    codec = codec_of("bar")
    lead = FRAMING.prefix(codec.contract)
    lane = LANES[0]
    expected = [lead + body for body in codec.encode(lane, rows)]
    start = next(at for at, row in enumerate(found) if row[1] == BTC)
    assert [bytes(row[6]) for row in found[start : start + 5000]] == expected


def test_a_watermark_follows_its_rows_and_waits_for_every_feeder(database: str, connection: Connection) -> None:
    """Two lanes feed a partition: the lower promise counts, once both have spoken, and only if it rises."""
    minute, hour = LANES[:2]
    writer = opened(database)

    def told(*promises: tuple[Lane, int]) -> list[int]:
        writer.write([Written("bar", lane, Bars.empty(), ms) for lane, ms in promises])
        rows = messages(connection, noun="watermark")
        assert all(row[4] == b"" and row[:2] == ("md.bars.v1", BTC) for row in rows)
        return [row[5] for row in rows]

    assert told((minute, 100)) == []
    assert told((hour, 40)) == [40]
    assert told((minute, 200)) == [40]
    assert told((hour, 30)) == [40]
    assert told((hour, 150), (minute, 160)) == [40, 150]
    writer.write([Written("bar", minute, sample("bar", 2), FIRST_MS), Written("bar", hour, Bars.empty(), FIRST_MS)])
    last = [row[3] for row in messages(connection) if row[:2] == ("md.bars.v1", BTC)][-3:]
    assert last == ["bar", "bar", "watermark"]
    writer.close()


def test_promises_survive_in_the_snapshot_and_are_not_repeated(database: str, connection: Connection) -> None:
    minute, hour = LANES[:2]
    writer = opened(database)
    writer.write([Written("bar", minute, Bars.empty(), 100)])
    first = writer.snapshot()
    writer.write([Written("bar", hour, Bars.empty(), 50)])
    writer.close()
    resumed = opened(database, resume=first)
    resumed.write([Written("bar", hour, Bars.empty(), 50)])
    assert [row[5] for row in messages(connection)] == [50]
    resumed.write([Written("bar", hour, Bars.empty(), 70)])
    assert [row[5] for row in messages(connection)] == [50, 70]
    resumed.close()


def test_marks_that_nobody_needs_are_removed_and_old_snapshots_still_resume(
    database: str, connection: Connection
) -> None:
    many = batches(30, rows=1)
    live(database, many, run_id="whole")
    writer = opened(database, kept_snapshots=4)
    snapshots = [writer.snapshot()]
    for batch in many[:25]:
        writer.write(batch)
        snapshots.append(writer.snapshot())
    row = connection.execute(
        "select count(*), count(distinct (noun, token, timeframe)) from mark where run_id = 'live'"
    )
    entries, streams = row.fetchone() or (0, 0)
    assert int(str(entries)) < 7 * int(str(streams))
    writer._connection.close()
    with pytest.raises(DatabaseBehindError, match="does not have the marks"):
        opened(database, resume=snapshots[10])
    resumed = opened(database, resume=snapshots[-5])
    for batch in many[21:]:
        resumed.write(batch)
    resumed.close()
    assert written(connection) == written(connection, "whole")


def test_pruning_keeps_what_tells_how_long_a_table_is(database: str, connection: Connection) -> None:
    """Resumed far behind, a stream's newest entries are lower than its table; their like may go, the highest stays."""
    many = batches(12, rows=1)
    writer = opened(database)
    early = writer.snapshot()
    for batch in many:
        writer.write(batch)
    writer._connection.close()
    resumed = opened(database, resume=early, kept_snapshots=1)
    for batch in many[:6]:
        resumed.write(batch)
        last = resumed.snapshot()
    resumed._connection.close()
    third = opened(database, resume=last)
    for batch in many[6:]:
        third.write(batch)
    assert sum(count.inserted for count in third.counts.values()) == 0
    third.close()


def test_an_emptied_store_is_refused_unless_a_rebuild_is_asked_for(database: str, connection: Connection) -> None:
    live(database, BATCHES)
    with pytest.raises(StoreEmptyError, match=r"no state of md.bars.v1 \[0\] of run live .* --rebuild"):
        opened(database)
    opened(database, rebuild=True).close()


def test_a_crash_before_the_first_snapshot_needs_nobody(database: str, connection: Connection) -> None:
    writer = opened(database)
    writer.write(BATCHES[0])
    writer._connection.close()
    live(database, BATCHES)
    assert read.counts(connection, RUN)["bar"] == PER_NOUN


def test_a_database_older_than_the_store_is_refused(database: str, connection: Connection) -> None:
    snapshot = live(database, BATCHES)
    connection.execute("delete from mark where commit_number = (select max(commit_number) from mark)")
    with pytest.raises(
        DatabaseBehindError, match=r"database older than recovery store: md\.bars\.v1 \[0\] of run live"
    ):
        opened(database, resume=snapshot)
    with pytest.raises(DatabaseBehindError, match="belongs to run live, not to other"):
        opened(database, run_id="other", resume=snapshot)


def test_a_row_of_a_foreign_partition_stops_the_writer(database: str, connection: Connection) -> None:
    writer = opened(database, ROUTING.targets(HYPE), writer="0/2")
    with pytest.raises(ForeignTargetError, match=r"bar_history of BTC .* belongs to md.bars.v1 \[3\]"):
        writer.write(BATCHES[0])
    writer.close()
    assert messages(connection) == []


def test_a_message_that_no_topic_takes_is_refused_before_anything_is_written(
    database: str, connection: Connection
) -> None:
    writer = opened(database, max_value_bytes=100)
    with pytest.raises(MessageTooLargeError, match=r"of BTC binance 1m, row 0 .ts 17.* message of \d+ bytes"):
        writer.write(BATCHES[0])
    writer.close()
    assert messages(connection) == []
    assert sum(read.counts(connection, RUN).values()) == 0


def test_a_failed_commit_writes_neither_rows_nor_messages_nor_numbers(database: str, connection: Connection) -> None:
    writer = opened(database)
    writer.write(BATCHES[0])
    before = written(connection)
    rows = sample("fill", 2, first_row=500)
    assert isinstance(rows, Fills)
    twice = replace(rows, ts=rows.ts[:1].repeat(2), kind=np.zeros(2, dtype=np.int8), sequence=np.zeros(2, np.int64))
    with pytest.raises(psycopg.errors.UniqueViolation):
        writer.write([*BATCHES[1], Written("fill", Lane("BTC", "other", Timeframe.M1), twice)])
    writer.close()
    assert written(connection) == before


def test_a_session_that_may_lose_commits_is_refused(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_writer, "connect", lambda dsn, **options: connect(dsn, synchronous_commit="off"))
    with pytest.raises(WeakDurabilityError, match="synchronous_commit is off"):
        opened(database)


def test_numbers_go_on_after_sent_messages_were_removed(database: str, connection: Connection) -> None:
    snapshot = live(database, BATCHES[:4])
    connection.execute("insert into published select run_id, writer, max(seq) from outbox group by run_id, writer")
    connection.execute("delete from outbox")
    numbers = dict(_query(connection, "select (topic, partition)::text, number from target"))
    writer = opened(database, resume=snapshot)
    writer.write(BATCHES[4])
    writer.close()
    gap = _query(connection, "select min(seq) - max(upto) from outbox, published")
    first = dict(_query(connection, "select (topic, partition)::text, min(number) from outbox group by 1"))
    assert gap == [(1,)]
    assert first == {target: numbers[target] + 1 for target in first}


def _query(connection: Connection, query: LiteralString) -> list[Any]:
    return connection.execute(query).fetchall()


def test_it_is_the_check_inside_the_transaction_that_stops_a_fenced_writer(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a negative control: the same writer without the check writes."""
    writer = opened(database)
    connection.execute("update writer_unit set token = token + 1 where topic = 'pm.fills.v1'")
    with pytest.raises(LeaseLostError, match=r"pm.fills.v1 \[0\] of run live .live. was taken over"):
        writer.write(BATCHES[0])
    assert messages(connection) == []
    monkeypatch.setattr(units, "check", lambda *_: None)
    writer.write(BATCHES[0])
    assert messages(connection) != []
    writer.close()


def test_a_writer_that_knows_no_marks_doubles_what_has_no_table(database: str, connection: Connection) -> None:
    """Negative control: it is the marks that keep messages from being published again."""
    live(database, BATCHES[:1])
    again = opened(database, rebuild=True)
    again._streams.ahead = {}
    again.write([item for item in BATCHES[0] if item.noun == "bar_history"])
    again.close()
    assert len(messages(connection, noun="bar_history")) == 2 * 5 * len(LANES)
