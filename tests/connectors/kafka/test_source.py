"""The source against a real broker: what it resumes, what it refuses, what it waits for."""

import itertools
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, run_main
from confluent_kafka import KafkaError, Producer

from connectors.kafka.broker import EmbeddedKafka
from connectors.kafka.catch_up import catch_up
from connectors.kafka.cluster import KafkaAddress
from connectors.kafka.gauges import SourceGauges
from connectors.kafka.source import SourceConfig
from connectors.kafka.stops import (
    OutageError,
)
from lotus.feed import Slice
from schemas.partition import partition_of
from tests.connectors.kafka.input_topic import (
    PATIENCE_SECONDS,
    TOKENS,
    TOTAL,
    Log,
    Seen,
    everything,
    read_ticks,
    ticks_in,
    until_raises,
)
from tests.connectors.kafka.log_rows import BEGIN_MS, tick


def test_every_tick_comes_once_and_in_order_whatever_the_batches(log: Log) -> None:
    log.write(90)
    for batch in (7, 100, 5_000):
        part = log.open(config=SourceConfig(batch_messages=batch))
        assert read_ticks(part, log.ticks) == everything(log.ticks)
        part.close()


def test_a_resumed_source_goes_on_behind_its_last_snapshot(log: Log) -> None:
    log.write(100)
    state, seen = None, Seen()
    lives = 0
    while sum(map(len, seen.values())) < log.ticks:
        lives += 1
        part = log.open(state, SourceConfig(batch_messages=60))
        give_up, kept = time.monotonic() + PATIENCE_SECONDS, 0
        while not kept:
            assert time.monotonic() < give_up
            kept = sum(ticks_in(piece, seen) for piece in part.next_batch())
        state = part.snapshot()
        part.next_batch()  # read after the snapshot: the next life reads it again
        part.close()
    assert lives > 3
    assert seen == everything(log.ticks)


def test_a_stopped_source_ends_with_nothing_to_read_again(log: Log) -> None:
    log.write(50)
    stopped: list[bool] = []
    part = log.open(stop=lambda: bool(stopped), config=SourceConfig(batch_messages=50))
    seen: Seen = {}
    while not seen:
        for piece in part.next_batch():
            ticks_in(piece, seen)
    stopped.append(True)
    with pytest.raises(StopIteration):
        part.next_batch()
    state = part.snapshot()
    part.close()
    rest = read_ticks(log.open(state), log.ticks - sum(map(len, seen.values())))
    assert {token: seen.get(token, []) + rest.get(token, []) for token in TOKENS} == everything(log.ticks)


def test_the_engine_resumes_a_stopped_source_where_it_was(log: Log, tmp_path: Path) -> None:
    """C11: the epoch in which the source ends is snapshotted, so nothing is read twice and nothing is left out."""
    init_db_dir(tmp_path, 1)
    log.write(100)
    lives: list[Seen] = []
    while sum(len(seqs) for seen in lives for seqs in seen.values()) < log.ticks:
        seen: Seen = {}
        calls, patience = itertools.count(), time.monotonic() + PATIENCE_SECONDS

        def stop(seen: Seen = seen, calls: Iterator[int] = calls, patience: float = patience) -> bool:
            assert time.monotonic() < patience
            return bool(seen) and next(calls) > 2

        source = log.source(SourceConfig(batch_messages=40), stop=stop)
        flow = Dataflow("drained")
        slices = op.input("slices", flow, source)
        op.output("out", op.map("kept", slices, partial(ticks_in, seen=seen)), TestingSink([]))
        run_main(flow, epoch_interval=timedelta(milliseconds=20), recovery_config=RecoveryConfig(tmp_path))
        lives.append(seen)
    assert len(lives) > 2
    assert {token: [seq for seen in lives for seq in seen.get(token, [])] for token in TOKENS} == everything(log.ticks)


def test_warm_up_comes_first_and_only_when_a_run_begins(log: Log) -> None:
    log.write(2)
    warm_up = Slice(watermark_ms=1)
    part = log.open(first=warm_up)
    assert part.next_batch() == [warm_up]
    state = part.snapshot()
    again = log.open(state, first=warm_up)
    assert read_ticks(again, log.ticks) == everything(log.ticks)


def test_what_watches_the_process_is_asked_with_every_batch(log: Log) -> None:
    def failed() -> None:
        raise RuntimeError("the relay is dead")

    with pytest.raises(RuntimeError, match="the relay is dead"):
        log.open(check=failed).next_batch()


def test_an_epoch_has_a_budget(log: Log) -> None:
    log.write(100)
    gauges = SourceGauges()
    part = log.open(config=SourceConfig(batch_messages=100, epoch_messages=150), gauges=gauges)
    give_up, found = time.monotonic() + PATIENCE_SECONDS, 0
    while sum(standing.messages for standing in gauges.partitions.values()) < 150:
        assert time.monotonic() < give_up
        found += sum(ticks_in(piece, {}) for piece in part.next_batch())
    assert [part.next_batch() for _ in range(5)] == [[]] * 5
    read = sum(standing.messages for standing in gauges.partitions.values())
    assert read <= 250
    part.snapshot()
    assert gauges.budget_spent == 1
    read_ticks(part, log.ticks - found)
    spent = gauges.partitions[log.topic, 0]
    assert (spent.lag, spent.waiting, spent.reached_ms) == (0, 0, BEGIN_MS + 99_000)


# ------------------------------------------------------------------------------------------ transactions (C27)


def test_no_tick_of_an_aborted_transaction_is_ever_used(log: Log) -> None:
    producer = Producer(log.address.client(**{"transactional.id": f"{log.topic}-upstream"}))
    producer.init_transactions(PATIENCE_SECONDS)
    kept: Seen = {}
    for number in range(60):
        producer.begin_transaction()
        token = TOKENS[number % len(TOKENS)]
        for row in range(5):
            seq = number * 5 + row + 1
            value = tick(token, BEGIN_MS, seq=seq, trade_id=seq)
            producer.produce(log.topic, value, partition=partition_of(token, TOTAL))
        if number % 3 == 1:
            producer.flush()  # the records are in the log before they are aborted
            producer.abort_transaction(PATIENCE_SECONDS)
        else:
            producer.commit_transaction(PATIENCE_SECONDS)
            kept.setdefault(token, []).extend(range(number * 5 + 1, number * 5 + 6))
    part = log.open()
    assert read_ticks(part, 200) == kept
    assert sum(standing.offset for standing in part.gauges.partitions.values()) > 300  # they were there
    assert sum(1 for _ in catch_up(log.address, log.topic)) == 200
    resumed = log.open(part.snapshot())
    log.write(1)
    assert sum(map(len, read_ticks(resumed, len(TOKENS)).values())) == len(TOKENS)


# --------------------------------------------------------------------------------------------------- catching up


def test_catching_up_gives_the_whole_log_and_ends(log: Log) -> None:
    log.write(50)
    found = list(catch_up(log.address, log.topic))
    for partition in range(TOTAL):
        offsets = [record.offset for record in found if record.partition == partition]
        assert offsets == list(range(len(offsets)))
    assert len(found) == log.ticks + 50 * TOTAL
    assert {record.partition for record in catch_up(log.address, log.topic, only=[1])} == {1}
    assert next(catch_up(log.address, log.topic, only=[0], start={0: 40})).offset == 40
    assert list(catch_up(log.address, log.topic, start=dict.fromkeys(range(TOTAL), 10**6))) == []


# -------------------------------------------------------------------------------------------------------- outages


def test_an_outage_is_waited_for_and_nothing_is_lost(own_broker: EmbeddedKafka) -> None:
    log = Log(KafkaAddress(own_broker.brokers), "md.ticks.v1")
    log.write(20)
    part = log.open(config=SourceConfig(watch_seconds=0.2))
    before = read_ticks(part, log.ticks)
    own_broker.kill()
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not part._outage.seconds:
        assert time.monotonic() < give_up
        assert part.next_batch() == []
    own_broker.start()
    written = log.ticks
    log.write(20)
    after = read_ticks(part, log.ticks - written)
    assert {token: before[token] + after[token] for token in TOKENS} == everything(log.ticks)
    assert part._outage.seconds == 0
    short = log.open(part.snapshot(), SourceConfig(outage_seconds=0.2))
    own_broker.kill()
    assert "no broker answered" in until_raises(short, OutageError)


def test_errors_that_waiting_does_not_cure_end_the_flow(log: Log) -> None:
    from connectors.kafka.outage import Outage
    from connectors.kafka.stops import LogError

    outage = Outage()
    outage.meet(KafkaError(KafkaError._TRANSPORT), "here")
    for code in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError._FATAL, KafkaError._BAD_MSG):
        with pytest.raises(LogError):
            outage.meet(KafkaError(code), "here")
