"""Ticks of the input log to 1m bars, against `consume()` of the same messages: `python -m bench.kafka_ticks [SECONDS]`.

    broker --> queue of the client, full before the clock runs --> consume            (the baseline)
                                                               --> consume, InputReader, bar.step

Both take everything from a full queue, in batches as the source of a live flow takes them, and both find the same
messages there. CPU seconds of the process, the client's threads included; the median of several rounds that take turns.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from bench.measure import digest_of, report
from connectors.avro.framing import SingleObject
from connectors.collector import collect_rarely
from connectors.kafka.broker import EmbeddedKafka
from connectors.kafka.cluster import KafkaAddress, TopicSpec, ensure_topics
from connectors.kafka.consumer import reading
from connectors.kafka.input_log import TICK, InputConfig, InputReader
from connectors.kafka.intake import IntakeWriter
from connectors.kafka.source import SourceConfig, by_place, part_of
from connectors.kernel_cache import use_kernel_cache
from lotus import bar
from lotus.bar import BarState
from lotus.columns import F64
from lotus.intake import Trades
from lotus.kernel import Series
from lotus.records import Bars

SOURCE, VENUE = "bench", "bench"
PARTITIONS = 8
SERIES = (20, 300)  # the tokens of a log; each has a topic of its own
TICKS_PER_SECOND = 600
SECONDS = 1_000  # of event time: 600,000 ticks
ROUNDS = 5
START_MS = 1_735_689_600_000
BATCH = SourceConfig().batch_messages
CALM_SECONDS, QUIET_CPU = 0.3, 0.02  # the client's queue is full when it does next to nothing for so long
E8 = 100_000_000


def main(arguments: Sequence[str] = ()) -> None:
    """Write the messages of each log once, then take them both ways in turns."""
    use_kernel_cache()
    seconds = int(arguments[0]) if arguments else SECONDS
    with tempfile.TemporaryDirectory(prefix="lotus-bench-") as folder, EmbeddedKafka(Path(folder)) as kafka:
        address = KafkaAddress(kafka.brokers)
        collect_rarely()  # as a live flow does
        for series in SERIES:
            compare(address, series, seconds)


def compare(address: KafkaAddress, series: int, seconds: int) -> None:
    """One log, read by `consume` alone and all the way to bars."""
    topic = f"ticks_of_{series}"
    ensure_topics(address, [TopicSpec(topic, PARTITIONS, {"retention.ms": "-1"})])
    write(address, topic, series, seconds)
    ticks = seconds * TICKS_PER_SECOND
    messages = ticks + (seconds + 1) * PARTITIONS
    raw: list[float] = []
    ours: list[float] = []
    for _ in range(ROUNDS + 1):
        raw.append(drained(address, topic, messages, len))
        river = River(topic, series)
        ours.append(drained(address, topic, messages, river.take))
    fetched, built = median(raw[1:]), median(ours[1:])  # the first round compiles
    report(
        "kafka_ticks",
        series=series,
        ticks=ticks,
        messages=messages,
        ticks_per_cpu_second=round(ticks / built),
        consume_ticks_per_cpu_second=round(ticks / fetched),
        of_consume=fetched / built,
        behind_consume_ticks_per_cpu_second=round(ticks / (built - fetched)),
        bars=river.bars,
        output=river.digest(),
    )


class River:
    """Messages become bars."""

    def __init__(self, topic: str, tokens: int) -> None:
        """Nothing was read."""
        series = tuple(Series(VENUE, token) for token in names(tokens))
        self._reader = InputReader(
            InputConfig(topic, PARTITIONS, (SOURCE,), series=series, nouns=frozenset({TICK})), SingleObject()
        )
        self._config = bar.BarConfig()
        self._states: dict[Series, BarState | None] = {}
        self._found: dict[Series, list[Bars]] = {}
        self.bars = 0

    def take(self, messages: list[Message]) -> None:
        """One batch."""
        parts = [part_of(partition, mine, with_headers=False) for (_, partition), mine in by_place(messages).items()]
        for series, chunk in self._reader.read(parts).ticks:
            self._states[series], out = bar.step(self._config, self._states.get(series), chunk)
            if len(out.bars.rows):
                self._found.setdefault(series, []).append(out.bars.rows)
                self.bars += len(out.bars.rows)

    def digest(self) -> str:
        """Hash of every cell of every bar."""
        together = {series: Bars.concat(rows) for series, rows in sorted(self._found.items())}
        return digest_of(
            *((series, [getattr(rows, name).tolist() for name in rows.layout()]) for series, rows in together.items())
        )


def drained(address: KafkaAddress, topic: str, messages: int, take: Callable[[list[Message]], object]) -> float:
    """CPU seconds until all messages of a full queue are taken; a queue that was not full does not count."""
    while True:
        consumer = Consumer(
            reading(
                address,
                log_level=0,
                **{
                    "queued.min.messages": 10_000_000,
                    "queued.max.messages.kbytes": 2_000_000,
                    "fetch.max.bytes": 2**29,
                },
            )
        )
        try:
            consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(PARTITIONS)])
            _filled()
            began, left = time.process_time(), messages
            while left and (batch := consumer.consume(BATCH, 0)):
                take(batch)
                left -= len(batch)
            if not left:
                return time.process_time() - began
        finally:
            consumer.close()


def _filled() -> None:
    """Return when the client's threads have nothing to do any more."""
    time.sleep(2 * CALM_SECONDS)
    while True:
        before = time.process_time()
        time.sleep(CALM_SECONDS)
        if time.process_time() - before < QUIET_CPU * CALM_SECONDS:
            return


def names(count: int) -> tuple[str, ...]:
    """The tokens."""
    return tuple(f"T{number:03}" for number in range(count))


def write(address: KafkaAddress, topic: str, tokens: int, seconds: int) -> None:
    """Trades of all tokens behind a heartbeat for each second, as an ingester writes them."""
    rng = np.random.default_rng(5)
    each = TICKS_PER_SECOND // tokens
    with IntakeWriter(address, topic, PARTITIONS, SingleObject(), SOURCE) as intake:
        for second in range(seconds):
            clock_ms = START_MS + second * 1_000
            intake.beat(clock_ms)
            for number, token in enumerate(names(tokens)):
                intake.write("tick", (token, VENUE, ""), _trades(rng.random((2, each)), number, clock_ms))
        intake.beat(START_MS + seconds * 1_000)


def _trades(dice: F64, number: int, clock_ms: int) -> Trades:
    count = dice.shape[1]
    ts = clock_ms + np.arange(count, dtype=np.int64) * (1_000 // count)
    return Trades(
        ts=ts,
        price_e8=((100 + number + dice[0]) * E8).astype(np.int64),
        size_e8=((1 + dice[1]) * E8).astype(np.int64),
        side=np.zeros(count, np.int8),
        seq=ts << 12 | number,
        trade_id=ts << 12 | number,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
