"""What a flow tells Prometheus follows from what it read, wrote and sent."""

import numpy as np
from prometheus_client import generate_latest

from connectors.kafka.gauges import SourceGauges, Standing
from connectors.metrics import Build, FlowMetrics
from flows.watching import Watching
from lotus.lane import Lane
from lotus.records import BarRevisions, DeadLetters
from lotus.timeframe import Timeframe
from lotus.written import Written
from tests.connectors.sample_rows import sample

LANE = Lane("BTC", "v", Timeframe.M1)


def watching() -> tuple[Watching, SourceGauges, FlowMetrics]:
    metrics, gauges = FlowMetrics(Build("bars")), SourceGauges()
    return Watching(metrics, gauges), gauges, metrics


def told(metrics: FlowMetrics) -> str:
    return generate_latest(metrics.registry).decode()


def letters(*reasons: str) -> DeadLetters:
    texts = np.array(reasons, dtype=np.object_)
    return DeadLetters(texts, np.arange(len(reasons)), texts, texts)


def test_refused_ticks_are_counted_by_reason() -> None:
    watch, _, metrics = watching()
    watch.wrote([Written("dead_letter", LANE, letters("duplicate", "duplicate", "too_late", "tombstone"))], 0.01)
    text = told(metrics)
    assert 'lotus_dead_letters_total{reason="duplicate"} 2.0' in text
    assert "lotus_duplicate_ticks_total 2.0" in text
    assert "lotus_too_late_ticks_total 1.0" in text
    assert "lotus_commit_seconds_count 1.0" in text


def test_corrected_bars_and_gaps_are_counted() -> None:
    watch, _, metrics = watching()
    revisions = sample("bar_revision", 3)
    assert isinstance(revisions, BarRevisions)
    watch.wrote([Written("bar_revision", LANE, revisions), Written("gap", LANE, sample("bar", 4))], 0.01)
    assert "lotus_bar_revisions_total 3.0" in told(metrics)
    assert "lotus_gap_minutes_total 4.0" in told(metrics)


def test_an_epoch_brings_lag_and_watermarks_up_to_date_and_says_that_the_process_lives() -> None:
    watch, gauges, metrics = watching()
    gauges.partitions = {("md.ticks.v1", 3): Standing(messages=10, offset=10, reached_ms=60_000, lag=7)}
    watch.batch()
    assert "lotus_consumer_lag_messages{" not in told(metrics), "nothing is told within an epoch"
    gauges.epochs = 1
    watch.batch()
    gauges.partitions["md.ticks.v1", 3].messages = 25
    gauges.epochs = 2
    watch.batch()
    text = told(metrics)
    assert 'lotus_consumer_lag_messages{partition="3",topic="md.ticks.v1"} 7.0' in text
    assert 'lotus_watermark_timestamp_seconds{partition="3",topic="md.ticks.v1"} 60.0' in text
    assert 'lotus_input_messages_total{partition="3",topic="md.ticks.v1"} 25.0' in text
    assert "lotus_epoch_seconds_count 2.0" in text
