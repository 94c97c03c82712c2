"""What a live flow tells Prometheus: glue between the pieces of a process and its metrics (market-data.md 14)."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence

import structlog

from connectors.kafka.gauges import SourceGauges
from connectors.metrics import FlowMetrics
from connectors.postgres.live_writer import LiveWriter
from connectors.postgres.streams import Count
from lotus.bar import Fate
from lotus.records import DeadLetters
from lotus.written import Written

log = structlog.get_logger()

GAP, REVISION, CANDLE = "gap", "bar_revision", "bar_candle"
_TOO_LATE, _DUPLICATE = Fate.TOO_LATE.name.lower(), Fate.DUPLICATE.name.lower()


class Watching:
    """Keeps the metrics of one process up to date; every method is cheap."""

    def __init__(self, metrics: FlowMetrics, gauges: SourceGauges) -> None:
        """`gauges` are those of the process's source."""
        self._metrics, self._gauges = metrics, gauges
        self._writer: LiveWriter | None = None
        self._counts: Mapping[str, Count] = {}
        self._messages: Counter[tuple[str, int]] = Counter()
        self._epochs, self._epoch_ended, self._spent, self._alarms = 0, time.monotonic(), 0, 0

    def opened(self, writer: LiveWriter) -> None:
        """The units are held."""
        self._writer = writer
        self._metrics.lease(writer.units.token, held=True)
        self._metrics.restarts(writer.units.token - 1)

    def closed(self) -> None:
        """The units are given back."""
        if self._writer is not None:
            self._metrics.lease(self._writer.units.token, held=False)

    def wrote(self, items: Sequence[Written], seconds: float) -> None:
        """A batch was committed."""
        metrics = self._metrics
        metrics.commit(seconds)
        for item in items:
            if item.noun == GAP:
                metrics.gap_minutes(len(item.rows))
            elif item.noun == REVISION and len(item.rows):
                metrics.bar_revisions(len(item.rows))
                metrics.late_ticks(len(item.rows))
            elif item.noun == CANDLE:
                metrics.bar_candles(len(item.rows))
            elif isinstance(item.rows, DeadLetters):
                for reason, rows in Counter(item.rows.reason.tolist()).items():
                    self._refused(str(reason), rows)

    def batch(self) -> None:
        """Called for every batch of the source; works only when an epoch has ended."""
        if self._gauges.epochs == self._epochs:
            return
        now = time.monotonic()
        self._metrics.epoch(now - self._epoch_ended)
        self._epochs, self._epoch_ended = self._gauges.epochs, now
        self._metrics.outage(self._gauges.outage_seconds)
        self._metrics.over_budget(self._gauges.budget_spent - self._spent)
        self._spent = self._gauges.budget_spent
        for (topic, partition), standing in self._gauges.partitions.items():
            self._metrics.lag(topic, partition, standing.lag)
            self._metrics.held_back(topic, partition, waiting=standing.waiting, paused=standing.paused)
            if standing.reached_ms >= 0:
                self._metrics.watermark(topic, partition, standing.reached_ms)
            fresh = standing.messages - self._messages[topic, partition]
            if fresh:
                self._metrics.input_messages(topic, partition, fresh)
                self._messages[topic, partition] = standing.messages
        self._rows()
        for alarm in self._gauges.alarms[self._alarms :]:
            log.error("source_alarm", what=alarm)
        self._alarms = len(self._gauges.alarms)

    def published(self, messages: Mapping[str, int], seconds: float) -> None:
        """The relay has published a transaction; called in its thread."""
        self._metrics.relay_transaction(seconds)
        for topic, count in messages.items():
            self._metrics.published(topic, count)

    def sent(self, done: int) -> None:
        """The relay has published up to this seq."""
        if self._writer is not None:
            self._metrics.outbox(max(0, self._writer.seq - done))

    def _refused(self, reason: str, rows: int) -> None:
        self._metrics.dead_letters(reason, rows)
        if reason == _TOO_LATE:
            self._metrics.too_late_ticks(rows)
        elif reason == _DUPLICATE:
            self._metrics.duplicate_ticks(rows)

    def _rows(self) -> None:
        """Rows since the epoch before."""
        if self._writer is None:
            return
        before, self._counts = self._counts, dict(self._writer.counts)
        for noun, count in self._counts.items():
            known = before.get(noun, Count())
            if count.inserted > known.inserted:
                self._metrics.rows_written(noun, count.inserted - known.inserted)
            if count.verified > known.verified:
                self._metrics.rows_verified(noun, count.verified - known.verified)
