"""What a flow tells Prometheus follows from what it read, wrote and sent."""

import re
from pathlib import Path
from unittest.mock import create_autospec

import numpy as np
import pytest
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from connectors.kafka.gauges import SourceGauges, Standing
from connectors.kafka.intake import IntakeWriter
from connectors.metrics import Build, FlowMetrics, IngestMetrics
from flows.feeding import Counted
from flows.watching import Watching
from lotus.lane import Lane
from lotus.records import BarRevisions, DeadLetters
from lotus.timeframe import Timeframe
from lotus.written import Written
from tests.connectors.sample_rows import sample

LANE = Lane("BTC", "v", Timeframe.M1)
ROOT = Path(__file__).parents[2]


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


def test_mended_minutes_are_counted() -> None:
    watch, _, metrics = watching()
    watch.wrote([Written("bar_candle", LANE, sample("bar_candle", 2))], 0.01)
    assert "lotus_bar_candles_total 2.0" in told(metrics)


def test_what_the_relay_publishes_is_counted_by_topic_and_timed() -> None:
    watch, _, metrics = watching()
    watch.published({"md.bars.v1": 3, "pm.fills.v1": 1}, 0.02)
    watch.published({"md.bars.v1": 2}, 0.01)
    text = told(metrics)
    assert 'lotus_relay_published_total{topic="md.bars.v1"} 5.0' in text
    assert 'lotus_relay_published_total{topic="pm.fills.v1"} 1.0' in text
    assert "lotus_relay_transaction_seconds_count 2.0" in text


def test_an_ingester_whose_venue_says_nothing_is_stale() -> None:
    metrics = IngestMetrics(Build("ingest"))
    counted = Counted(create_autospec(IntakeWriter, instance=True), metrics)
    counted.beat(1_000)
    assert 'lotus_ingest_stale{series="trades"} 0.0' in generate_latest(metrics.registry).decode()
    counted.counters.ingest_stale = True
    counted.beat(2_000)
    assert 'lotus_ingest_stale{series="trades"} 1.0' in generate_latest(metrics.registry).decode()


@pytest.mark.parametrize("kind", [FlowMetrics, IngestMetrics])
def test_nothing_is_exposed_that_nobody_tells(kind: type) -> None:
    sources = [path.read_text() for folder in ("flows", "connectors") for path in (ROOT / folder).rglob("*.py")]
    told = {name for source in sources for name in re.findall(r"metrics\.(\w+)", source)}
    assert not {name for name in vars(kind) if not name.startswith("_")} - told


def test_an_epoch_brings_lag_and_watermarks_up_to_date_and_says_that_the_process_lives() -> None:
    watch, gauges, metrics = watching()
    gauges.partitions = {
        ("md.ticks.v1", 3): Standing(messages=10, offset=10, reached_ms=60_000, lag=7, waiting=4, paused=True)
    }
    gauges.outage_seconds = 2.5
    watch.batch()
    assert "lotus_consumer_lag_messages{" not in told(metrics), "nothing is told within an epoch"
    gauges.epochs = 1
    watch.batch()
    gauges.partitions["md.ticks.v1", 3].messages = 25
    gauges.epochs, gauges.budget_spent = 2, 1
    watch.batch()
    text = told(metrics)
    assert 'lotus_consumer_lag_messages{partition="3",topic="md.ticks.v1"} 7.0' in text
    assert 'lotus_watermark_timestamp_seconds{partition="3",topic="md.ticks.v1"} 60.0' in text
    assert 'lotus_input_messages_total{partition="3",topic="md.ticks.v1"} 25.0' in text
    assert 'lotus_consumer_waiting_messages{partition="3",topic="md.ticks.v1"} 4.0' in text
    assert 'lotus_consumer_paused{partition="3",topic="md.ticks.v1"} 1.0' in text
    assert "lotus_broker_outage_seconds 2.5" in text
    assert "lotus_epochs_over_budget_total 1.0" in text
    assert "lotus_epoch_seconds_count 2.0" in text


def test_a_sampler_without_a_clock_is_well_and_says_which_series_are_stale() -> None:
    metrics = IngestMetrics(Build("dominance"))
    counted = Counted(create_autospec(IntakeWriter, instance=True), metrics)
    assert not metrics.health.verdict().healthy
    counted.looked({"dom:BTC": False, "dom:USDT": True})
    assert metrics.health.verdict().healthy
    text = generate_latest(metrics.registry).decode()
    assert 'lotus_ingest_stale{series="dom:BTC"} 0.0' in text
    assert 'lotus_ingest_stale{series="dom:USDT"} 1.0' in text


def test_what_a_source_finds_alarming_is_logged_once() -> None:
    watch, gauges, _ = watching()
    gauges.alarms.append("topic md.ticks.v1 has 8 partitions by now")
    with capture_logs() as logs:
        for gauges.epochs in (1, 2):
            watch.batch()
    assert [(entry["log_level"], entry["what"]) for entry in logs] == [("error", gauges.alarms[0])]
