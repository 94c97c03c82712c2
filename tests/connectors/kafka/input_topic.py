"""An input log on a real broker, and what a source makes of it."""

import time
from typing import Any

from confluent_kafka import Producer
from confluent_kafka import TopicPartition as Position
from confluent_kafka.admin import AdminClient

from connectors.kafka.cluster import KafkaAddress, TopicSpec, ensure_topics
from connectors.kafka.input_log import InputConfig, InputReader
from connectors.kafka.resuming import SourceState
from connectors.kafka.source import PARTITION, KafkaSource, SharePartition, SourceConfig
from lotus.feed import Slice
from lotus.kernel import Series
from tests.connectors.kafka.log_rows import BEGIN_MS, SOURCE, beat, in_partitions, tick

TOTAL = 2
TOKENS = ("BTC", "ETH", "SOL", "HYPE")
PATIENCE_SECONDS = 20.0
Seen = dict[str, list[int]]  # seq of the ticks of each token, in order


class Log:
    """An input log on the broker, and what was written there."""

    def __init__(self, address: KafkaAddress, topic: str, total: int = TOTAL) -> None:
        self.address, self.topic, self.total = address, topic, total
        self.seconds, self.ticks = 0, 0
        self.make()

    def make(self) -> None:
        ensure_topics(self.address, [TopicSpec(self.topic, self.total, {"retention.ms": "-1"})])

    def remake(self) -> None:
        admin = AdminClient(self.address.client())
        admin.delete_topics([self.topic])[self.topic].result(PATIENCE_SECONDS)
        give_up = time.monotonic() + PATIENCE_SECONDS
        while self.topic in admin.list_topics(timeout=5).topics:
            assert time.monotonic() < give_up
            time.sleep(0.05)
        self.make()

    def cut(self, partition: int, offset: int) -> None:
        """Delete what lies before an offset."""
        admin, position = AdminClient(self.address.client()), Position(self.topic, partition, offset)
        admin.delete_records([position])[position].result(PATIENCE_SECONDS)

    def write(self, seconds: int) -> None:
        """A tick of each token and a heartbeat per second."""
        sequence: list[tuple[str | None, bytes]] = []
        for _ in range(seconds):
            ts = BEGIN_MS + self.seconds * 1000
            for token in TOKENS:
                self.ticks += 1
                sequence.append((token, tick(token, ts, seq=self.ticks, trade_id=self.ticks)))
            sequence.append((None, beat(ts)))
            self.seconds += 1
        self.append(in_partitions(self.total, sequence))

    def append(self, logs: dict[int, list[bytes]]) -> None:
        producer = Producer(self.address.client(**{"enable.idempotence": True, "linger.ms": 5}))
        for partition, values in logs.items():
            for value in values:
                producer.produce(self.topic, value, partition=partition, timestamp=BEGIN_MS + self.seconds * 1000)
        assert producer.flush(PATIENCE_SECONDS) == 0

    def source(self, config: SourceConfig | None = None, **given: Any) -> KafkaSource:
        series = tuple(Series("hl", token) for token in TOKENS)
        inlet = InputReader(InputConfig(self.topic, self.total, (SOURCE,), series=series))
        return KafkaSource(self.address, [inlet], config, **given)

    def open(
        self, resume: SourceState | None = None, config: SourceConfig | None = None, **given: Any
    ) -> SharePartition:
        return self.source(config, **given).build_part("slices", PARTITION, resume)


def ticks_in(piece: Slice, seen: Seen) -> int:
    found = 0
    for series, chunk in piece.ticks:
        seqs = chunk.rows.seq[~chunk.rows.heartbeat].tolist()
        seen.setdefault(series.token, []).extend(seqs)
        found += len(seqs)
    return found


def read_ticks(part: SharePartition, count: int, *, epochs: bool = True) -> Seen:
    """Read until so many ticks have come; not one more may come."""
    seen: Seen = {}
    found, give_up, quiet = 0, time.monotonic() + PATIENCE_SECONDS, 0
    while quiet < 5:
        assert time.monotonic() < give_up, f"only {found} of {count} ticks came"
        pieces = part.next_batch()
        found += sum(ticks_in(piece, seen) for piece in pieces)
        quiet = quiet + 1 if found >= count and not pieces else 0
        if epochs:
            part.snapshot()
    assert found == count
    return seen


def everything(count: int) -> Seen:
    """What `Log.write` wrote of ticks 1 .. count."""
    return {token: list(range(1 + place, count + 1, len(TOKENS))) for place, token in enumerate(TOKENS)}


def until_raises(part: SharePartition, error: type[BaseException]) -> str:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up:
        try:
            part.next_batch()
            part.snapshot()
        except error as told:
            return str(told)
    raise AssertionError(f"no {error.__name__} came")
