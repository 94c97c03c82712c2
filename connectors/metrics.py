"""What a live process counts, for Prometheus: one object per kind of process, plain methods, a registry of its own.

    metrics = FlowMetrics(Build("trend", "0/2", run_id, code_revision(), settings.digest()))
    with OpsPage(metrics.registry, metrics.health, ops_address(os.environ)) as page: ...   # connectors/ops_page.py
    metrics.rows_written("trend", 300)

Totals count from the start of the process. Event times are exported as timestamps, so that their age is Prometheus's
subtraction and a stopped process grows old. Which flow and share a series belongs to are labels of the scrape
(deploy/prometheus), and stand in `lotus_build_info`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from connectors.health import Health

COMMIT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
EPOCH_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
LABELS_KEPT = 200  # values of a label that come from the input; the rest are counted together
OTHER = "other"
DISTRIBUTION = "lotus"


@dataclass(frozen=True, slots=True)
class Build:
    """What runs: the flow (or `ingest`, `feed`, `dominance`), its share "0/2", and the identity of its run."""

    flow: str
    share: str = "0/1"
    run: str = ""
    code: str = ""
    config: str = ""


class Bounded:
    """Keeps a label from growing without end when its values come from outside."""

    def __init__(self, limit: int = LABELS_KEPT) -> None:
        """At most `limit` values are told apart."""
        self._seen: set[str] = set()
        self._limit = limit

    def __call__(self, value: str) -> str:
        """The value, or `other` for one too many."""
        if value not in self._seen:
            if len(self._seen) >= self._limit:
                return OTHER
            self._seen.add(value)
        return value


class _ProcessMetrics:
    """What every live process tells: what it is, its health, its memory and processor time."""

    def __init__(self, build: Build, health: Health, clock: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        self.health = health
        self._clock = clock
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        labels = {"flow": build.flow, "share": build.share, "run": build.run, "config": build.config}
        self._gauge("build_info", "What runs here; always 1.", (*labels, "code", "version")).labels(
            **labels, code=build.code, version=_version()
        ).set(1)
        self._gauge("healthy", "1 while /healthz answers 200.").set_function(lambda: float(health.verdict().healthy))

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(f"lotus_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(f"lotus_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"lotus_{name}", text, buckets=buckets, registry=self.registry)


class FlowMetrics(_ProcessMetrics):
    """One flow's process. Methods may be called from any thread."""

    def __init__(self, build: Build, health: Health | None = None, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives seconds since 1970; it only stamps the last epoch."""
        super().__init__(build, health or Health(needs_lease=True), clock)
        counter, gauge, histogram = self._counter, self._gauge, self._histogram
        partition = ("topic", "partition")
        self._written = counter("rows_written_total", "Rows committed to Postgres, by noun.", ("noun",))
        self._verified = counter("rows_verified_total", "Rows found written with the same content.", ("noun",))
        self._messages = counter("input_messages_total", "Messages read.", partition)
        self._dead = counter("dead_letters_total", "Input records refused, by reason.", ("reason",))
        self._late = counter("late_ticks_total", "Ticks behind the watermark that still revised their bar.")
        self._too_late = counter("too_late_ticks_total", "Ticks too late to revise any bar.")
        self._duplicates = counter("duplicate_ticks_total", "Ticks seen before.")
        self._gaps = counter("gap_minutes_total", "Minutes without a tick that became gap records.")
        self._revisions = counter("bar_revisions_total", "Bars corrected after they were published.")
        self._mended = counter("bar_candles_total", "Minutes that the stream missed, as the venue's candles have them.")
        self._lag = gauge("consumer_lag_messages", "Messages between the position and the end of the log.", partition)
        self._waiting = gauge(
            "consumer_waiting_messages", "Messages at hand that wait for other partitions.", partition
        )
        self._paused = gauge("consumer_paused", "1 while the client fetches no more of a partition.", partition)
        self._outage = gauge("broker_outage_seconds", "How long no broker has answered.")
        self._spent = counter("epochs_over_budget_total", "Epochs that read as much as one may.")
        self._watermark = gauge(
            "watermark_timestamp_seconds", "Event time up to which a partition is complete.", partition
        )
        self._epoch = histogram("epoch_seconds", "Time from one epoch's end to the next.", EPOCH_BUCKETS)
        self._last_epoch = gauge("last_epoch_timestamp_seconds", "When the last epoch ended.")
        self._commit = histogram("commit_seconds", "Time of one transaction in Postgres.", COMMIT_BUCKETS)
        self._outbox = gauge("outbox_rows", "Committed rows that wait for the relay.")
        self._published = counter("relay_published_total", "Messages committed to Kafka by the relay.", ("topic",))
        self._relay = histogram("relay_transaction_seconds", "Time of one Kafka transaction.", COMMIT_BUCKETS)
        self._lease_token = gauge("lease_token", "Number of the lease this process holds or held.")
        self._lease_held = gauge("lease_held", "1 while this process holds its lease.")
        self._restarts = counter("restarts_total", "Starts of this share in this run before the present one.")
        self._reason = Bounded()

    def rows_written(self, noun: str, rows: int) -> None:
        """Rows committed now."""
        self._written.labels(noun).inc(rows)

    def rows_verified(self, noun: str, rows: int) -> None:
        """Rows that were there already with the same content."""
        self._verified.labels(noun).inc(rows)

    def input_messages(self, topic: str, partition: int, messages: int) -> None:
        """Messages read from a partition."""
        self._messages.labels(topic, str(partition)).inc(messages)

    def dead_letters(self, reason: str, rows: int) -> None:
        """Input records refused for a reason (its code, docs/bad-input.md)."""
        self._dead.labels(self._reason(reason)).inc(rows)

    def late_ticks(self, ticks: int) -> None:
        """Ticks behind the watermark that still count."""
        self._late.inc(ticks)

    def too_late_ticks(self, ticks: int) -> None:
        """Ticks that came too late for any bar."""
        self._too_late.inc(ticks)

    def duplicate_ticks(self, ticks: int) -> None:
        """Ticks seen before."""
        self._duplicates.inc(ticks)

    def gap_minutes(self, minutes: int) -> None:
        """Minutes that became gap records."""
        self._gaps.inc(minutes)

    def bar_revisions(self, bars: int) -> None:
        """Bars corrected after they were published."""
        self._revisions.inc(bars)

    def bar_candles(self, minutes: int) -> None:
        """Minutes that the venue's candles mended."""
        self._mended.inc(minutes)

    def lag(self, topic: str, partition: int, messages: int) -> None:
        """How many messages of a partition are not read yet."""
        self._lag.labels(topic, str(partition)).set(messages)

    def held_back(self, topic: str, partition: int, *, waiting: int, paused: bool) -> None:
        """Messages of a partition that are at hand and wait for others, and whether more is fetched."""
        self._waiting.labels(topic, str(partition)).set(waiting)
        self._paused.labels(topic, str(partition)).set(float(paused))

    def outage(self, seconds: float) -> None:
        """No broker has answered for so long; 0: one does."""
        self._outage.set(seconds)

    def over_budget(self, epochs: int) -> None:
        """Epochs that ended with nothing more to read because of their budget."""
        self._spent.inc(epochs)

    def watermark(self, topic: str, partition: int, watermark_ms: int) -> None:
        """Event time (ms UTC) up to which a partition is complete."""
        self._watermark.labels(topic, str(partition)).set(watermark_ms / 1000)

    def epoch(self, seconds: float) -> None:
        """An epoch ended, `seconds` after the one before it: the process is alive."""
        self._epoch.observe(seconds)
        self._last_epoch.set(self._clock())
        self.health.alive()

    def commit(self, seconds: float) -> None:
        """A transaction in Postgres took this long."""
        self._commit.observe(seconds)

    def outbox(self, rows: int) -> None:
        """Rows that wait for the relay now."""
        self._outbox.set(rows)

    def published(self, topic: str, messages: int) -> None:
        """Messages that a Kafka transaction made visible."""
        self._published.labels(topic).inc(messages)

    def relay_transaction(self, seconds: float) -> None:
        """A Kafka transaction took this long."""
        self._relay.observe(seconds)

    def lease(self, token: int, *, held: bool) -> None:
        """The lease was taken, renewed or lost."""
        self._lease_token.set(token)
        self._lease_held.set(float(held))
        self.health.lease(held=held)

    def restarts(self, times: int) -> None:
        """How often this share was started before, as the database counts; said once, after the lease is taken."""
        self._restarts.inc(times)


class IngestMetrics(_ProcessMetrics):
    """A process that writes the input log: ingester, feeder or dominance sampler."""

    def __init__(self, build: Build, health: Health | None = None, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives seconds since 1970; it only stamps the last heartbeat."""
        super().__init__(build, health or Health(needs_lease=False), clock)
        counter, gauge = self._counter, self._gauge
        self._records = counter("ingest_records_total", "Records handed to the input log, by noun.", ("noun",))
        self._rejected = counter("ingest_rejected_total", "Venue messages refused, by reason.", ("reason",))
        self._reconnects = counter("ingest_reconnects_total", "Connections to the venue lost and made again.")
        self._connected = gauge("ingest_connected", "1 while the venue's connection is up.")
        self._lag = gauge("ingest_lag_seconds", "Heartbeat minus the newest tick of a token, event time.", ("token",))
        self._stale = gauge("ingest_stale", "1 while a series got no new value for too long.", ("series",))
        self._heartbeat = gauge("ingest_heartbeat_timestamp_seconds", "Event time of the last heartbeat written.")
        self._delivery = self._histogram(
            "ingest_delivery_seconds", "Time until a heartbeat is acknowledged.", COMMIT_BUCKETS
        )
        self._reason, self._token = Bounded(), Bounded(limit=2000)

    def records(self, noun: str, records: int) -> None:
        """Records that are on their way; one that is not acknowledged ends the process."""
        self._records.labels(noun).inc(records)

    def rejected(self, reason: str, messages: int = 1) -> None:
        """Messages of the venue that were refused, by the reason's code."""
        self._rejected.labels(self._reason(reason)).inc(messages)

    def reconnects(self, times: int = 1) -> None:
        """The venue's connection was lost and made again."""
        self._reconnects.inc(times)

    def connected(self, *, up: bool) -> None:
        """Whether the venue's connection is up."""
        self._connected.set(float(up))

    def ingest_lag(self, token: str, seconds: float) -> None:
        """How far the newest tick of a token lies behind the heartbeat (market-data.md 14)."""
        self._lag.labels(self._token(token)).set(seconds)

    def stale(self, series: str, *, stale: bool) -> None:
        """Whether a sampled series, such as a dominance, is too old."""
        self._stale.labels(series).set(float(stale))

    def heartbeat(self, event_ms: int) -> None:
        """A heartbeat was written to every partition: the process is alive."""
        self._heartbeat.set(event_ms / 1000)
        self.health.alive()

    def delivery(self, seconds: float) -> None:
        """A heartbeat was acknowledged this long after it was written."""
        self._delivery.observe(seconds)


def _version() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
