"""The ingester's process: sockets, REST calls and clocks around `connectors.hyperliquid.machine`.

Everything happens in one loop: what sockets, timers and REST calls report is queued, the machine says what to do, the
loop does it. So records are published in one order by one thread, and heartbeats go on whatever else is waited for.
"""

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from connectors.clock import SourceClock, monotonic_ms, wall_ms
from connectors.hyperliquid import actions
from connectors.hyperliquid.candles import InfoClient, VenueError, minutes, names_listed
from connectors.hyperliquid.counters import IngestCounters
from connectors.hyperliquid.frames import Fault
from connectors.hyperliquid.machine import Machine
from connectors.hyperliquid.publisher import Numbering, Publisher
from connectors.hyperliquid.settings import HyperliquidSettings
from lotus.intake import Candles

log = structlog.get_logger()
Report = Callable[[int], list[actions.Action]]  # what happened, told to the machine at a monotonic time
DeadLetters = Callable[[Fault], None]

STOP_POLL_S = 0.1
CLOSE_LIMIT_S = 1.0
QUEUED_REPORTS = 10_000
DATE_HEADER_MS = 2_000  # what the clock of a Date header is unsure of


class IngestError(RuntimeError):
    """The ingester cannot go on; the message says why and what to do."""


def log_dead(fault: Fault) -> None:
    """Where nobody else takes dead letters they are logged."""
    log.warning("dead_letter", reason=fault.reason, text=fault.text)


def run_ingest(
    settings: HyperliquidSettings,
    publisher: Publisher,
    stop: Callable[[], bool],
    *,
    numbering: Numbering,
    covered_until_ms: int | None = None,
    counters: IngestCounters | None = None,
    dead: DeadLetters = log_dead,
) -> None:
    """Publish what the venue sends until `stop()`; then a record that the connection is down, and a flush.

    numbering         of arrivals; `SeqClock(wall_ms, last)`
    covered_until_ms  clock of this source's last heartbeat in the log: candles are fetched from there on
    counters          what is counted, for whoever shows it
    dead              takes trades and frames that are published as nothing
    raises            IngestError; whatever the publisher raises
    """
    clock = SourceClock(wall_ms(), monotonic_ms())
    counters = counters or IngestCounters()
    machine = Machine(settings, clock, numbering, random.random, counters, covered_until_ms)
    asyncio.run(_Ingester(settings, publisher, stop, machine, counters, dead).run())


class _Ingester:
    """Does what the machine says."""

    def __init__(
        self,
        settings: HyperliquidSettings,
        publisher: Publisher,
        stop: Callable[[], bool],
        machine: Machine,
        counters: IngestCounters,
        dead: DeadLetters,
    ) -> None:
        self._settings = settings
        self._publisher = publisher
        self._stop = stop
        self._machine = machine
        self._counters = counters
        self._dead = dead
        self._ended = threading.Event()
        self._info = InfoClient(settings, self._sleep)
        self._reports: asyncio.Queue[Report] = asyncio.Queue(QUEUED_REPORTS)
        self._sockets: dict[int, ClientConnection] = {}
        self._opening: asyncio.Task[None] | None = None
        self._asking: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until somebody stops us or something breaks."""
        try:
            self._ask(self._learn_names(first=True))
            while not self._stop():
                await self._turn()
            await self._do(self._machine.stop(monotonic_ms()))
            self._publisher.flush()
        finally:
            self._ended.set()
            tasks = [*self._asking, *filter(None, [self._opening])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._info.close()

    async def _turn(self) -> None:
        """Wait for a report or the next deadline, and do what follows; what was received comes before the clock."""
        wait_s = min(max(self._machine.due_ms - monotonic_ms(), 0) / 1_000, STOP_POLL_S)
        try:
            report = await asyncio.wait_for(self._reports.get(), wait_s)
        except TimeoutError:
            report = self._machine.tick
        await self._do(report(monotonic_ms()))
        while not self._reports.empty():
            await self._do(self._reports.get_nowait()(monotonic_ms()))
        await self._do(self._machine.tick(monotonic_ms()))
        for task in [task for task in self._asking if task.done()]:
            self._asking.remove(task)
            task.result()
        if self._opening is not None and self._opening.done() and not self._opening.cancelled():
            self._opening.result()  # raises what was no broken connection

    async def _do(self, todo: list[actions.Action]) -> None:
        venue = self._settings.venue
        for action in todo:
            match action:
                case actions.PublishTrades(token, rows):
                    self._publisher.write("tick", (token, venue, ""), rows)
                case actions.PublishBeat(ts):
                    self._publisher.beat(ts)
                case actions.PublishConnection(ts, state, tokens):
                    self._publisher.connection(ts, state, tokens)
                case actions.Rejected(reason, text):
                    self._dead(Fault(reason, text))
                case actions.OpenSocket(socket):
                    self._opening = asyncio.create_task(self._listen(socket, self._opening))
                case actions.Send(socket, text):
                    await self._send(socket, text)
                case actions.CloseSocket():
                    if self._opening is not None:
                        self._opening.cancel()
                case actions.Fill():
                    self._ask(self._fill(action))
                case actions.CheckNames():
                    self._ask(self._learn_names(first=False))
                case actions.Moved(before, after, why):
                    tell = log.warning if after in {"stale", "backoff"} else log.info
                    tell("ingest_stale" if after == "stale" else "ingest", before=before, after=after, why=why)
                case actions.GaveUp(attempts):
                    raise IngestError(f"no connection to {self._settings.ws_url} in {attempts} attempts: is it right?")

    async def _listen(self, number: int, former: "asyncio.Task[None] | None") -> None:
        """One socket from its opening to its end; the former one is gone before."""
        if former is not None:
            await asyncio.wait([former])
        why = "closed by the venue"
        try:
            # The machine has its own limits and pings: those of the protocol do not replace them.
            async with connect(
                self._settings.ws_url, open_timeout=None, ping_interval=None, close_timeout=CLOSE_LIMIT_S
            ) as socket:
                self._sockets[number] = socket
                await self._reports.put(lambda now_ms: self._machine.opened(number, now_ms))
                async for text in socket:
                    await self._reports.put(_received(self._machine, number, text))
        except (OSError, EOFError, WebSocketException) as error:
            why = f"{type(error).__name__} {error}".strip()
        finally:
            self._sockets.pop(number, None)
        await self._reports.put(lambda now_ms: self._machine.closed(number, why, now_ms))

    async def _send(self, number: int, text: str) -> None:
        """Send where the socket is still open; if it is not, the listener reports that."""
        try:
            if number in self._sockets:
                await self._sockets[number].send(text)
        except ConnectionClosed:
            log.debug("not_sent", socket=number)

    def _ask(self, question: Coroutine[Any, Any, None]) -> None:
        self._asking.add(asyncio.create_task(question))

    async def _learn_names(self, *, first: bool) -> None:
        """Which of the wanted coins the venue lists; without an answer at the start, all are tried."""
        wanted = self._settings.symbols
        try:
            known, unknown = await asyncio.to_thread(names_listed, self._info, wanted)
        except VenueError as error:
            log.warning("names_unchecked", why=str(error))
            known, unknown = (wanted if first else ()), self._counters.unknown_tokens
        else:
            self._check_clock(first)
            if not known:
                raise IngestError(f"the venue lists none of {', '.join(wanted)}: names are case-sensitive")
        if unknown:
            log.error("unknown_tokens", tokens=unknown)
        self._counters.unknown_tokens = unknown
        if first:
            await self._reports.put(lambda now_ms: self._machine.start(known, now_ms))
        else:
            self._machine.names(known)

    def _check_clock(self, first: bool) -> None:
        """A wall clock that is wrong at the start stays wrong: trades would be refused or come too late."""
        offset = self._info.clock_offset_ms
        if first and offset is not None and abs(offset) > self._settings.future_ms + DATE_HEADER_MS:
            raise IngestError(f"this machine's clock is {offset / 1_000:+.0f} s off the venue's: set it (NTP)")

    async def _fill(self, wanted: actions.Fill) -> None:
        """Candles for the minutes of an outage; what cannot be had is asked for again later."""
        for token in wanted.tokens:
            try:
                rows, faults = await asyncio.to_thread(minutes, self._info, token, wanted.first_ms, wanted.last_ms)
            except VenueError as error:
                log.warning("fill_failed", token=token, why=str(error))
                self._machine.unfilled(wanted.first_ms, wanted.last_ms, monotonic_ms())
                return
            self._publish(token, rows, faults)

    def _publish(self, token: str, rows: Candles, faults: list[Fault]) -> None:
        for fault in faults:
            self._counters.rejected[fault.reason] += 1
            self._dead(fault)
        if len(rows):
            self._publisher.write("candle", (token, self._settings.venue, ""), rows)
        self._counters.fills += len(rows)

    def _sleep(self, seconds: float) -> None:
        if self._ended.wait(seconds):
            raise VenueError("the ingester ends")


def _received(machine: Machine, number: int, text: str | bytes) -> Report:
    return lambda now_ms: machine.received(number, text, now_ms)
