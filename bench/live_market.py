"""A market that is traded live for a bench: 300 tokens, 600 trades a second of wall clock, minutes that pass faster.

    wall clock    0        100 ms     200 ms            990 ms    1 s          (one close a second)
    event time    :05      :11        :17       ...     :59       :05
                  beat,    trades     beat                        beat, which closes the next minute
                  closes   ......     trades

Between two closes event time runs faster than the clock, so that hundreds of minutes close in a few minutes of wall
clock; trades per second of wall clock are those of the promise. Ten heartbeats come between two closes instead of
sixty, which is more of them per second than a real ingester sends. Every record is sent at once (linger 0).
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from connectors.avro.framing import SingleObject
from connectors.kafka.broker import EmbeddedKafka
from connectors.kafka.cluster import KafkaAddress
from connectors.kafka.intake import IntakeWriter
from connectors.live import LiveConfig
from connectors.market_files import write_buckets, write_history
from connectors.postgres.connection import connect
from connectors.postgres.migrate import migrate
from connectors.postgres.server import EmbeddedPostgres
from lotus.columns import F64
from lotus.feed import BucketTag, Slice
from lotus.intake import Levels, Trades
from lotus.kernel import Chunk, Series
from lotus.records import BarKind, Bars, Side
from lotus.rollup import Raw
from lotus.timeframe import MINUTE_MS, Timeframe
from tests.live.deployment import Deployment

VENUE, SOURCE = "bench", "bench"
MAJORS = ("BTC", "ETH", "SOL", "BNB", "HYPE")
BUCKETS = ("big", "mid", "micro")
WARM = (Timeframe.M1, Timeframe.M15, Timeframe.H1)
START_MS = 1_735_689_600_000  # 2025-01-01
GRACE_MS = 5_000  # the beat this long after a minute closes it
BEATS = 10  # between two closes
SLOTS = 10  # of trades between two beats
BEAT_MS = 6_000  # of event time between two of them
DAY = Timeframe.D1.ms
E8 = 100_000_000
SIGMA = 0.0008  # of a minute
SEED = 17
WARM_UP_SECONDS = 900.0
SETTLE_SECONDS, SETTLED_CLOSES, SETTLED_SECONDS, MOST_SETTLE_SECONDS = 2.0, 3, 1.0, 120.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How large the bench is.

    closes         minutes that are measured
    close_seconds  wall clock between two closes
    history_bars   warm-up bars of each traded timeframe: with fewer than 333 the engines have no state to work on
    """

    tokens: int = 300
    ticks_per_second: int = 600
    closes: int = 300
    close_seconds: float = 1.0
    history_bars: int = 360
    partitions: int = 8

    @property
    def names(self) -> tuple[str, ...]:
        """The majors, then numbered tokens."""
        return MAJORS[: self.tokens] + tuple(f"T{number:03d}" for number in range(len(MAJORS), self.tokens))


@dataclass(frozen=True, slots=True)
class Servers:
    """A broker and a Postgres of this bench alone."""

    folder: Path
    kafka: EmbeddedKafka
    postgres: EmbeddedPostgres

    @property
    def address(self) -> KafkaAddress:
        """The broker."""
        return KafkaAddress(self.kafka.brokers)


@contextmanager
def servers(folder: Path) -> Iterator[Servers]:
    """Both servers, ended with the block."""
    with EmbeddedKafka(folder / "kafka") as kafka, EmbeddedPostgres(folder / "postgres") as postgres:
        yield Servers(folder, kafka, postgres)


def deployed(where: Servers, name: str, scale: Scale) -> Deployment:
    """A deployment of its own: database, topics, warm-up files; no process yet."""
    folder = where.folder / name
    folder.mkdir()
    warm_up = Slice(raw=tuple((Series(VENUE, token), _warm(number, scale)) for number, token in enumerate(scale.names)))
    tags = [
        BucketTag(token, START_MS - 400 * DAY, BUCKETS[number % len(BUCKETS)], float(1 + number))
        for number, token in enumerate(scale.names)
        if token not in MAJORS
    ]
    live = LiveConfig(
        run=name,
        topic_prefix=f"{name}.",
        partitions=scale.partitions,
        venue=VENUE,
        tokens=scale.names,
        sources=(SOURCE,),
        history=tuple(f"{file.venue}:{file.timeframe}={file.path}" for file in write_history(warm_up, folder)),
        buckets=str(write_buckets(tags, folder / "buckets.parquet")),
        dominance_every_ms=600_000,
        recorded_time=True,
    )
    dsn = where.postgres.ensure_database(name)
    with connect(dsn) as connection:
        migrate(connection)
    deployment = Deployment(where.address, dsn, folder, live)
    deployment.create()
    return deployment


def _warm(number: int, scale: Scale) -> Raw:
    """Bars before the start, a random walk that ends where the token's trades begin."""
    history = tuple((one, _walk(number, one, scale.history_bars)) for one in WARM if scale.history_bars)
    return Raw(Chunk(Bars.empty(), -1), history)


def _walk(number: int, timeframe: Timeframe, count: int) -> Bars:
    rng = np.random.default_rng([SEED, number, timeframe.rank])
    sigma = SIGMA * np.sqrt(timeframe.ms / MINUTE_MS)
    moves = rng.normal(rng.normal(0.0, sigma / 10), sigma, count)
    ends = np.add.accumulate(moves)
    close = first_price(number) * np.exp(ends - ends[-1])
    open_ = close * np.exp(-moves)
    wick = 1.0 + np.abs(rng.normal(0.0, sigma / 2, (2, count)))
    none = np.zeros(count, np.bool_)
    return Bars(
        ts=START_MS - np.arange(count, 0, -1, dtype=np.int64) * timeframe.ms,
        kind=np.full(count, BarKind.REAL, np.int8),
        open=open_,
        high=np.maximum(open_, close) * wick[0],
        low=np.minimum(open_, close) / wick[1],
        close=close,
        volume=np.full(count, np.nan),
        volume_base=rng.lognormal(6.0, 0.8, count) / close,
        volume_est=~none,
        trades=np.full(count, -1, np.int64),
        buy_volume=np.full(count, np.nan),
        bars_used=np.ones(count, np.int64),
        coverage=np.ones(count),
        gap_return=none,
        history=~none,
    )


def first_price(number: int) -> float:
    """Where a token's trades begin."""
    return float(np.exp(np.random.default_rng([SEED, number]).normal(1.0, 2.0)))


@dataclass
class Feeder:
    """Writes the market into the input log, at its pace.

    beaten      wall clock (perf_counter) just before the heartbeat that closes each minute was produced, by its end
    settled_ms  end of the last minute that was closed before the start
    """

    deployment: Deployment
    scale: Scale
    beaten: dict[int, float] = field(default_factory=dict)
    settled_ms: int = START_MS

    def __post_init__(self) -> None:
        """Prices begin where the warm-up ends."""
        self._names = self.scale.names
        self._prices: F64 = np.array([first_price(number) for number in range(len(self._names))])
        self._rng = np.random.default_rng([SEED, 1])
        self._stop = threading.Event()
        self._failed: list[BaseException] = []
        self._thread: threading.Thread | None = None
        self._traded, self._minute = 0, 0
        live = self.deployment.live
        self._intake = IntakeWriter(
            self.deployment.address, self.deployment.input_log, live.partitions, SingleObject(), SOURCE, linger_ms=0
        )

    def open(self) -> int:
        """Close the first minute at once, for the flows to warm up on; returns its end."""
        self._intake.beat(START_MS)
        for name, level in (("dom:BTC", 50.0), ("dom:USDT", 5.0)):
            self._sample(name, level, START_MS)
        for number in range(len(self._names)):
            self._trade(number, START_MS + 1_000)
        return self.close_one()

    def close_one(self) -> int:
        """Close one minute, before the start; returns its end."""
        self._close()
        self._intake.flush()
        return self.end_ms

    def start(self) -> None:
        """Begin to close minutes, in a thread of its own."""
        self.settled_ms = self.end_ms
        self._thread = threading.Thread(target=self._guarded, name="feeder", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it; raises what it raised."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        for error in self._failed:
            raise error

    def close(self) -> None:
        """Stop, and disconnect."""
        try:
            self.stop()
            self._intake.flush()
        finally:
            self._intake.close()

    def alive(self) -> bool:
        """Whether it still feeds."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def end_ms(self) -> int:
        """End of the last minute that was closed."""
        return START_MS + self._minute * MINUTE_MS

    def _guarded(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self._failed.append(error)

    def _run(self) -> None:
        slot_seconds = self.scale.close_seconds / (BEATS * SLOTS)
        per_slot = self.scale.ticks_per_second * slot_seconds
        due, owed, slot = time.perf_counter(), 0.0, 0
        while not self._stop.is_set():
            beat, slot_of_beat = divmod(slot % (BEATS * SLOTS), SLOTS)
            clock_ms = self.end_ms + GRACE_MS + beat * BEAT_MS
            if slot_of_beat == 0 and beat:
                self._intake.beat(clock_ms)
            owed += per_slot
            while owed >= 1.0:
                self._traded += 1
                owed -= 1.0
                self._trade(self._traded % len(self._names), clock_ms + slot_of_beat * (BEAT_MS // SLOTS // 2))
            slot += 1
            due += slot_seconds
            self._stop.wait(max(0.0, due - time.perf_counter()))
            if slot % (BEATS * SLOTS) == 0:
                self._close()

    def _close(self) -> None:
        self._minute += 1
        self.beaten[self.end_ms] = time.perf_counter()
        self._intake.beat(self.end_ms + GRACE_MS)
        if self._minute % 10 == 0:
            self._sample("dom:BTC", 50.0 + self._rng.normal(), self.end_ms + GRACE_MS)
            self._sample("dom:USDT", 5.0 + self._rng.normal(0.0, 0.1), self.end_ms + GRACE_MS)

    def _sample(self, name: str, level: float, ts_ms: int) -> None:
        source = np.array([SOURCE], np.object_)
        self._intake.write("sample", (name, "", ""), Levels(np.array([ts_ms]), np.array([level]), source))

    def _trade(self, number: int, ts_ms: int) -> None:
        self._prices[number] *= np.exp(self._rng.normal(0.0, SIGMA))
        row = Trades(
            ts=np.array([ts_ms]),
            price_e8=np.array([max(1, round(float(self._prices[number]) * E8))]),
            size_e8=np.array([max(1, round(10.0 / float(self._prices[number]) * E8))]),
            side=np.array([Side.BUY if self._traded % 2 else Side.SELL], np.int8),
            seq=np.array([ts_ms << 20 | self._traded % (1 << 20)]),
            trade_id=np.array([self._traded]),
        )
        self._intake.write("tick", (self._names[number], VENUE, ""), row)


@contextmanager
def fed(deployment: Deployment, scale: Scale, started: Callable[[], object]) -> Iterator[Feeder]:
    """Open the market, let the flows that `started` starts work off the warm-up, then feed."""
    feeder = Feeder(deployment, scale)
    try:
        first_ms = feeder.open()
        started()
        deployment.wait(first_ms, WARM_UP_SECONDS)
        _settle(deployment, feeder)
        feeder.start()
        yield feeder
    finally:
        feeder.close()


def _settle(deployment: Deployment, feeder: Feeder) -> None:
    """Close single minutes until they are promised soon: the first epochs keep all of the warm-up."""
    give_up = time.monotonic() + MOST_SETTLE_SECONDS
    quick = 0
    while quick < SETTLED_CLOSES and time.monotonic() < give_up:
        time.sleep(SETTLE_SECONDS)
        began = time.perf_counter()
        deployment.wait(feeder.close_one(), WARM_UP_SECONDS)
        quick = quick + 1 if time.perf_counter() - began < SETTLED_SECONDS else 0
