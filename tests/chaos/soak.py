"""C50: a deployment that lives on while everything around it fails; then it heals, drains, and equals its replay.

    storm   processes killed and paused, Postgres and the broker ended every few seconds   a third of each hour
    calm    nothing: memory is watched in processes that have been there for a while       the rest of it; a run of
                                                                                           less than an hour has none

The market is fed as time goes by: an hour of it in a shorter run, a minute a minute in one that lasts longer. What ends
is started again, as a supervisor does it. The slope of memory is that of least squares, of all lives together, each
with a level of its own.
"""

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from connectors.archive_files import Archived
from connectors.kafka.broker import EmbeddedKafka
from connectors.kafka.cluster import KafkaAddress
from connectors.postgres.server import EmbeddedPostgres
from tests.chaos.limits import resident_bytes
from tests.chaos.live_kills import again
from tests.chaos.outcome import Outcome, Tally
from tests.chaos.servers_down import POSTGRES_FAULTS, back
from tests.chaos.stand import CRASHES_SHOW, Market, Stand
from tests.connectors.memory_log import MemoryLog
from tests.live.deployment import Deployment, Mode
from tests.live.recorded import recorded

MINUTES = 1440  # of a full run
SHARES = 2
STORM_SHARE = 1 / 3
LULL_SECONDS = (5.0, 40.0)  # between two faults
BROKER_PAUSE_SECONDS = (5.0, 45.0)
PROCESS_PAUSE_SECONDS = (1.0, 20.0)
LOOK_SECONDS = 2.0
SETTLED_SECONDS = 300.0  # a younger process is still filling its buffers
HOUR_SECONDS = 3600.0
JUDGED_MINUTES = 60  # of a shorter run the slope is told and proves nothing
MOST_MB_AN_HOUR = 0.5
BUGS = {1, 2, 77}  # exit codes that no fault explains: a bug, refused, fenced though nobody took over
DRAIN_SECONDS = 900.0


@dataclass
class Tap:
    """What a log has that was not poured yet, up to a time: see `Deployment.pour`."""

    log: MemoryLog
    until_ms: float = 0.0
    position: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """From the beginning."""
        self.position = [0] * self.partitions

    @property
    def partitions(self) -> int:
        """Those of the log."""
        return self.log.partitions

    def messages(self, partition: int) -> Iterator[Archived]:
        """Those before the first one that is not due yet; stragglers go with those that they came with."""
        for message in self.log.messages(partition, self.position[partition]):
            if message.ts >= self.until_ms:
                return
            self.position[partition] += 1
            yield message


@dataclass
class Memory:
    """Memory of the processes: samples by life, of which the first minutes do not count."""

    born: dict[int, float] = field(default_factory=dict)
    samples: dict[int, list[tuple[float, int]]] = field(default_factory=dict)
    most: int = 0

    def look(self, deployment: Deployment) -> None:
        """Another sample of each process."""
        now = time.monotonic()
        for process in deployment.processes.values():
            found, pid = resident_bytes(process), process.popen.pid
            self.most = max(self.most, found)
            if found and now - self.born.setdefault(pid, now) >= SETTLED_SECONDS:
                self.samples.setdefault(pid, []).append((now, found))

    def slope(self) -> float:
        """MB an hour; NaN if no process was old enough."""
        return slope(list(self.samples.values())) * HOUR_SECONDS / 2**20


def slope(lives: Sequence[Sequence[tuple[float, float]]]) -> float:
    """Least squares with one slope for all lives and a level for each; NaN without two moments in one of them."""
    together = spread = 0.0
    for life in lives:
        middle = sum(at for at, _ in life) / len(life)
        level = sum(value for _, value in life) / len(life)
        together += sum((at - middle) * (value - level) for at, value in life)
        spread += sum((at - middle) ** 2 for at, _ in life)
    return together / spread if spread else math.nan


class Soak:
    """A deployment with servers of its own, and what is done to it."""

    def __init__(
        self, deployment: Deployment, server: EmbeddedPostgres, broker: EmbeddedKafka, chance: random.Random
    ) -> None:
        """Nothing has failed yet."""
        self._deployment, self._server, self._broker, self._chance = deployment, server, broker, chance
        self.memory, self.faults, self.restarts, self.bugs = Memory(), 0, 0, list[str]()
        self.next_fault = time.monotonic()
        self._coming: list[Callable[[], None]] = []
        self._kinds: tuple[Callable[[], None], ...] = (
            self._kill,
            self._pause,
            self._postgres,
            self._broker_killed,
            self._broker_paused,
        )

    def fail(self) -> None:
        """Any of the faults, each kind before one comes again; the servers are back when it returns."""
        if not self._coming:
            self._coming = self._chance.sample(self._kinds, len(self._kinds))
        self._coming.pop()()
        self.faults += 1
        self.next_fault = time.monotonic() + self._chance.uniform(*LULL_SECONDS)

    def supervise(self) -> None:
        """Start again what has ended; look at the memory of the others."""
        for process in list(self._deployment.processes.values()):
            if not process.running:
                if process.popen.returncode in BUGS:
                    self.bugs.append(f"{process.name} ended with {process.popen.returncode}: {process.said()[-500:]}")
                again(self._deployment, process)
                self.restarts += 1
        self.memory.look(self._deployment)

    def _kill(self) -> None:
        self._deployment.processes[self._anyone()].kill()

    def _pause(self) -> None:
        process = self._deployment.processes[self._anyone()]
        if process.running:
            process.pause()
            time.sleep(self._chance.uniform(*PROCESS_PAUSE_SECONDS))
            process.resume()

    def _postgres(self) -> None:
        self._chance.choice(POSTGRES_FAULTS)(self._server)
        time.sleep(self._chance.uniform(0.5, LOOK_SECONDS))
        back(self._server)

    def _broker_killed(self) -> None:
        self._broker.kill()
        time.sleep(self._chance.uniform(0.0, LOOK_SECONDS))
        self._broker.start()

    def _broker_paused(self) -> None:
        self._broker.pause()
        time.sleep(self._chance.uniform(*BROKER_PAUSE_SECONDS))
        self._broker.resume()

    def _anyone(self) -> str:
        return self._chance.choice(sorted(self._deployment.processes))


def soak(stand: Stand, seed: int, n: int) -> Outcome:
    """C50: `n` minutes."""
    hours = math.ceil(n / 60)
    market = stand.market(recorded(stand.place("soak"), hours)) if hours > 1 else stand.hour
    tally = Tally(n=n)
    server = EmbeddedPostgres(stand.place("postgres"), settings=CRASHES_SHOW)
    with EmbeddedKafka(stand.place("kafka")).start() as broker:
        try:
            with (
                server,
                stand.deployment(
                    stand.database(server), KafkaAddress(broker.brokers), recording=market.recording
                ) as deployment,
            ):
                soaked = Soak(deployment, server, broker, random.Random(f"C50/{seed}/{n}"))
                _lived(soaked, deployment, market, 60.0 * n)
                tally.failures += [*soaked.bugs, *stand.finished(deployment, market=market)]
        finally:
            server.start().stop()
    found = soaked.memory.slope()
    steady = n < JUDGED_MINUTES or found <= MOST_MB_AN_HOUR
    told = "no process lived long enough for a slope" if math.isnan(found) else f"RSS slope {found:.2f} MB/h"
    return tally.outcome(
        "C50",
        seed,
        landed=soaked.faults,
        figure=f"{n} minutes, {soaked.faults} faults, {soaked.restarts} restarts; {told}, "
        f"at most {soaked.memory.most / 2**20:.0f} MB",
        bar=f"equal to the replay; RSS slope <= {MOST_MB_AN_HOUR} MB/h",
        bar_met=soaked.faults > 0 and steady,
    )


def _lived(soaked: Soak, deployment: Deployment, market: Market, seconds: float) -> None:
    """All of the soak: the market as time goes by, storms and calms, the rest of the market, the drain."""
    recording, tap = market.recording, Tap(market.recording.log)
    deployment.start(Mode.HOT, SHARES)
    storm_seconds = HOUR_SECONDS * (STORM_SHARE if seconds >= HOUR_SECONDS else 1)
    began = time.monotonic()
    while (now := time.monotonic()) - began < seconds:
        share = (now - began) / seconds
        tap.until_ms = recording.begin_ms + share * (recording.end_ms - recording.begin_ms)
        deployment.pour(tap)
        if (now - began) % HOUR_SECONDS < storm_seconds and now >= soaked.next_fault:
            soaked.fail()
        soaked.supervise()
        time.sleep(LOOK_SECONDS)
    tap.until_ms = math.inf
    deployment.pour(tap)
    give_up = time.monotonic() + DRAIN_SECONDS
    while deployment.reached_ms() < recording.end_ms:
        soaked.supervise()
        assert time.monotonic() < give_up, f"it stands at {deployment.reached_ms()}: {soaked.restarts} restarts"
        time.sleep(LOOK_SECONDS)
