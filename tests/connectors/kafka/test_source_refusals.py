"""What a source refuses: offsets that are gone, topics that are others, partitions that are foreign (C23, C24, C28)."""

import time
from dataclasses import replace

import pytest
from confluent_kafka import TopicPartition as Position
from confluent_kafka.admin import AdminClient, NewPartitions

from connectors.kafka.gauges import SourceGauges
from connectors.kafka.inlet import Mark
from connectors.kafka.resuming import SourceState
from connectors.kafka.source import SourceConfig
from connectors.kafka.stops import ForeignPartitionError, MissingOffsetError, StaleStoreError, TopicChangedError
from schemas.partition import partition_of
from tests.connectors.kafka.input_topic import (
    PATIENCE_SECONDS,
    TOKENS,
    TOTAL,
    Log,
    everything,
    read_ticks,
    until_raises,
)
from tests.connectors.kafka.log_rows import BEGIN_MS, tick

# ------------------------------------------------------------------------------------------------- offsets (C23)


def snapshot_after(log: Log, seconds: int) -> SourceState:
    log.write(seconds)
    part = log.open()
    read_ticks(part, log.ticks)
    state = part.snapshot()
    part.close()
    return state


def test_an_offset_that_is_gone_stops_the_start_and_names_the_gap(log: Log) -> None:
    state = snapshot_after(log, 20)
    next_offset = state.topics[log.topic].marks[1].offset
    log.write(20)
    log.cut(1, next_offset + 7)
    with pytest.raises(MissingOffsetError, match=f"offsets {next_offset} to {next_offset + 6} are gone"):
        log.open(state)


def test_an_offset_beyond_the_end_stops_the_start(log: Log) -> None:
    state = snapshot_after(log, 5)
    topic = state.topics[log.topic]
    end = topic.marks[0].offset
    later = replace(topic, marks={**topic.marks, 0: Mark(end + 3, topic.marks[0].state)})
    with pytest.raises(MissingOffsetError, match=f"offsets {end} to {end + 2} were read before"):
        log.open(replace(state, topics={log.topic: later}))


def test_an_offset_that_goes_while_reading_stops_the_flow(log: Log) -> None:
    log.write(600)
    part = log.open(config=SourceConfig(batch_messages=10))
    part._consumer.seek(Position(log.topic, 0, 10**9))  # what a log that is cut under the reader comes to
    assert f"{log.topic}/0" in until_raises(part, MissingOffsetError)


def test_a_log_without_its_beginning_is_no_place_to_begin(log: Log) -> None:
    log.write(20)
    log.cut(0, 5)
    with pytest.raises(MissingOffsetError, match=r"begins at offset 5: offsets 0 to 4 are gone.*archive"):
        log.open()
    allowed = log.open(config=SourceConfig(from_earliest=True))
    assert allowed.snapshot().topics[log.topic].marks[0].offset == 5


# -------------------------------------------------------------------------------------- other topics (C24, C28)


def test_a_topic_that_was_made_again_is_refused_at_the_start(log: Log) -> None:
    state = snapshot_after(log, 5)
    log.remake()
    log.write(10)
    with pytest.raises(TopicChangedError, match="was made again"):
        log.open(state)


def test_a_topic_that_is_made_again_stops_a_running_flow(log: Log) -> None:
    log.write(5)
    part = log.open(config=SourceConfig(watch_seconds=0.1))
    read_ticks(part, log.ticks)
    log.remake()
    log.write(10)
    assert until_raises(part, TopicChangedError)


def test_another_cluster_another_share_and_another_count_are_refused(log: Log) -> None:
    state = snapshot_after(log, 5)
    topic = state.topics[log.topic]
    with pytest.raises(StaleStoreError, match="was written on cluster elsewhere"):
        log.open(replace(state, cluster_id="elsewhere"))
    other_share = replace(topic, marks={0: topic.marks[0]})
    with pytest.raises(StaleStoreError, match="rescale"):
        log.open(replace(state, topics={log.topic: other_share}))
    with pytest.raises(StaleStoreError, match="was made for 1 partitions"):
        log.open(replace(state, topics={log.topic: replace(topic, total=1)}))
    with pytest.raises(StaleStoreError, match="reads"):
        log.open(replace(state, topics={"another": topic}))
    log.total = 4
    with pytest.raises(TopicChangedError, match="has 2 partitions, the configuration says 4"):
        log.open()


def test_partitions_that_somebody_adds_change_nothing_and_raise_an_alarm(log: Log) -> None:
    gauges = SourceGauges()
    log.write(10)
    part = log.open(config=SourceConfig(watch_seconds=0.1), gauges=gauges)
    before = read_ticks(part, log.ticks)
    admin = AdminClient(log.address.client())
    admin.create_partitions([NewPartitions(log.topic, 8)])[log.topic].result(PATIENCE_SECONDS)
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not gauges.alarms:
        assert time.monotonic() < give_up
        part.next_batch()
    written = log.ticks
    log.write(10)
    after = read_ticks(part, log.ticks - written)
    assert {token: before[token] + after[token] for token in TOKENS} == everything(log.ticks)
    assert len(gauges.alarms) == 1
    assert "has 8 partitions by now, the deployment uses 2" in gauges.alarms[0]
    resumed = log.open(part.snapshot())
    written = log.ticks
    log.write(1)
    assert sum(map(len, read_ticks(resumed, log.ticks - written).values())) == len(TOKENS)
    log.append({5: [tick("BTC", BEGIN_MS)]})
    assert "/5 holds messages" in until_raises(part, ForeignPartitionError)


def test_a_message_in_a_foreign_partition_stops_the_flow(log: Log) -> None:
    log.append({1 - partition_of("BTC", TOTAL): [tick("BTC", BEGIN_MS)]})
    assert "'BTC' belongs to partition" in until_raises(log.open(), ForeignPartitionError)
