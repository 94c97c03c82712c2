"""A process that writes the input log: its writer, its metrics, its logs."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from connectors.avro.framing import Framing
from connectors.hyperliquid.counters import IngestCounters
from connectors.kafka.cluster import KafkaAddress
from connectors.kafka.intake import BATCH_MS, IntakeWriter
from connectors.live import LiveConfig
from connectors.logs import set_up_logs
from connectors.metrics import Build, IngestMetrics
from connectors.ops_address import ops_address
from connectors.ops_page import OpsPage
from connectors.revision import code_revision
from connectors.topics import topics
from flows.wiring import INPUT_LOG
from lotus.columns import Columns
from lotus.intake import Link

LaneText = tuple[str, str, str]
TRADES = "trades"  # the series of an ingester, as a whole


class Counted:
    """An `IntakeWriter` whose records are counted."""

    def __init__(self, intake: IntakeWriter, metrics: IngestMetrics) -> None:
        """Everything goes to `intake`."""
        self._intake, self._metrics = intake, metrics
        self.counters = IngestCounters()
        self._rejected: dict[str, int] = {}
        self._reconnects = 0

    def write(self, noun: str, lane: LaneText, rows: Columns) -> None:
        """Rows of one lane."""
        self._intake.write(noun, lane, rows)
        self._metrics.records(noun, len(rows))

    def beat(self, ts: int) -> None:
        """The source's clock; time to tell how it goes."""
        self._intake.beat(ts)
        self._metrics.heartbeat(ts)
        self._told()

    def connection(self, ts: int, state: Link, tokens: Sequence[str] = ()) -> None:
        """The source's connection changed."""
        self._intake.connection(ts, state, tokens)
        self._metrics.connected(up=state is Link.UP)

    def looked(self, stale: Mapping[str, bool]) -> None:
        """A process without a clock of its own is alive; of each of its series, whether it gets no new values."""
        for series, silent in stale.items():
            self._metrics.stale(series, stale=silent)
        self._metrics.health.alive()

    def flush(self) -> None:
        """Wait until the broker has everything."""
        self._intake.flush()

    def _told(self) -> None:
        """What an ingester has counted since the last heartbeat."""
        counters, metrics = self.counters, self._metrics
        metrics.stale(TRADES, stale=counters.ingest_stale)
        for token, seconds in counters.ingest_lag_s().items():
            metrics.ingest_lag(token, seconds)
        for reason, count in counters.rejected.items():
            metrics.rejected(reason, count - self._rejected.get(reason, 0))
            self._rejected[reason] = count
        metrics.reconnects(counters.reconnects - self._reconnects)
        self._reconnects = counters.reconnects


@contextmanager
def input_log(
    name: str,
    live: LiveConfig,
    address: KafkaAddress,
    framing: Framing,
    source: str,
    *,
    linger_ms: int = BATCH_MS,
) -> Iterator[Counted]:
    """The input log of a deployment, for a process that writes it under the name of a source; flushed at the end."""
    set_up_logs(flow=name, run=live.run)
    metrics = IngestMetrics(Build(name, run=live.run, code=code_revision()))
    log = topics()[INPUT_LOG].full_name(live.topic_prefix)
    page = OpsPage(metrics.registry, metrics.health, ops_address(os.environ))
    where = (address, log, live.partitions, framing, source)
    with page, IntakeWriter(*where, linger_ms=linger_ms, delivered=metrics.delivery) as intake:
        yield Counted(intake, metrics)
