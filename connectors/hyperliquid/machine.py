"""The ingester as a state machine without a socket or a clock: what happened goes in, what to do comes out.

    IDLE --start--> CONNECTING --opened--> SUBSCRIBING --answered--> LIVE <--data-- STALE
                     ^    |                     |                     | --silence--> |
                     |    +--- closed, overdue -+---- closed, mute ---+--------------+
                     |                          v
                     +---------- waited ---- BACKOFF ---exhausted---> IDLE

Rules
- `TABLE` is all there is: what it does not list changes nothing. A limit that passes is `OVERDUE` in every phase; how
  long it is stands in `_limit_ms`. Stopping leads to IDLE from everywhere.
- Sockets are numbered; what a former socket says is not heard. There is never more than one.
- Time is an input: monotonic ms. Heartbeats come from `SourceClock`, in every phase, and before whatever came with the
  same call, because trades are judged by the latest heartbeat.
- A connection is down since it last showed life, not since that was noticed: minutes from then on are not covered. They
  are asked for again once the connection is up and each of them is over (market-data.md 9.1, 9.3).
"""

import json
from collections.abc import Callable, Iterable
from enum import StrEnum

from connectors.clock import SourceClock
from connectors.hyperliquid.actions import (
    Action,
    CheckNames,
    CloseSocket,
    Fill,
    GaveUp,
    Moved,
    OpenSocket,
    PublishBeat,
    PublishConnection,
    PublishTrades,
    Rejected,
    Send,
)
from connectors.hyperliquid.counters import IngestCounters
from connectors.hyperliquid.frames import Fault, Frame, Outcome, parse
from connectors.hyperliquid.outages import Outages
from connectors.hyperliquid.publisher import Numbering
from connectors.hyperliquid.settings import HyperliquidSettings
from connectors.hyperliquid.ticks import TickDesk
from lotus.intake import Link

PING = '{"method":"ping"}'
NEVER = 2**62
DOUBLINGS = 30  # of the wait: far beyond its limit


class Phase(StrEnum):
    """Where the ingester stands (market-data.md 3)."""

    IDLE = "idle"
    CONNECTING = "connecting"
    SUBSCRIBING = "subscribing"
    LIVE = "live"
    STALE = "stale"
    BACKOFF = "backoff"


class Signal(StrEnum):
    """What can move it."""

    START = "start"
    OPENED = "opened"
    ANSWERED = "answered"  # every subscription
    DATA = "data"
    CLOSED = "closed"
    MUTE = "mute"  # a pong is missing
    OVERDUE = "overdue"  # the limit of the phase has passed
    EXHAUSTED = "exhausted"  # too many attempts
    STOP = "stop"


_CONNECTED = (Phase.SUBSCRIBING, Phase.LIVE, Phase.STALE)

TABLE: dict[tuple[Phase, Signal], Phase] = {
    (Phase.IDLE, Signal.START): Phase.CONNECTING,
    (Phase.CONNECTING, Signal.OPENED): Phase.SUBSCRIBING,
    (Phase.CONNECTING, Signal.CLOSED): Phase.BACKOFF,
    (Phase.CONNECTING, Signal.OVERDUE): Phase.BACKOFF,
    (Phase.SUBSCRIBING, Signal.ANSWERED): Phase.LIVE,
    (Phase.SUBSCRIBING, Signal.OVERDUE): Phase.BACKOFF,
    (Phase.LIVE, Signal.DATA): Phase.LIVE,
    (Phase.LIVE, Signal.OVERDUE): Phase.STALE,
    (Phase.STALE, Signal.DATA): Phase.LIVE,
    (Phase.STALE, Signal.OVERDUE): Phase.BACKOFF,
    (Phase.BACKOFF, Signal.OVERDUE): Phase.CONNECTING,
    (Phase.BACKOFF, Signal.EXHAUSTED): Phase.IDLE,
    **{(phase, signal): Phase.BACKOFF for phase in _CONNECTED for signal in (Signal.CLOSED, Signal.MUTE)},
    **{(phase, Signal.STOP): Phase.IDLE for phase in Phase},
}


class Machine:
    """Keeps one connection with all coins; every method returns what is to be done, in order."""

    def __init__(
        self,
        settings: HyperliquidSettings,
        clock: SourceClock,
        numbering: Numbering,
        chance: Callable[[], float],
        counters: IngestCounters,
        covered_until_ms: int | None = None,
    ) -> None:
        """At rest.

        chance            uniform numbers in 0..1, for the waits
        covered_until_ms  clock of this source's last heartbeat in the log, if there was a life before this one
        """
        self.phase = Phase.IDLE
        self.tokens: tuple[str, ...] = ()
        self._wanted: tuple[str, ...] = ()
        self._settings = settings
        self._clock = clock
        self._chance = chance
        self._counters = counters
        self._desk = TickDesk(settings, counters, numbering)
        self._outages = Outages(settings, counters, covered_until_ms)
        self._link: Link | None = None
        self._socket = 0
        self._pending: list[str] = []
        self._beat_ms = -1
        self._limit, self._ping, self._pong, self._settled = NEVER, NEVER, NEVER, NEVER
        self._alive_ms = 0
        self._data_ms = 0
        self._todo: list[Action] = []

    @property
    def limit_ms(self) -> int:
        """Monotonic time at which the present phase is overdue."""
        return self._limit

    @property
    def due_ms(self) -> int:
        """Monotonic time at which `tick` is to be called at the latest."""
        beat = self._clock.start_ms + self._beat_ms + self._settings.beat_every_ms - self._clock.wall_ms
        return min(self._limit, self._ping, self._pong, self._settled, beat)

    def start(self, tokens: tuple[str, ...], now_ms: int) -> list[Action]:
        """Begin with these coins: those that the venue lists."""
        self.tokens = self._wanted = tokens
        self._beat(now_ms)
        self._outages.lost(self._clock.at(now_ms))
        self._tell(Link.DOWN, now_ms)
        return self._done(Signal.START, now_ms)

    def names(self, tokens: tuple[str, ...]) -> None:
        """The coins that the venue lists now; they count from the next connection on."""
        self._wanted = tokens or self._wanted

    def opened(self, socket: int, now_ms: int) -> list[Action]:
        """The socket is open."""
        self._beat(now_ms)
        if socket != self._socket or self.phase is not Phase.CONNECTING:
            self._todo.append(CloseSocket(socket))
            return self._taken()
        self._alive_ms = self._data_ms = now_ms
        return self._done(Signal.OPENED, now_ms)

    def received(self, socket: int, text: str | bytes, now_ms: int) -> list[Action]:
        """A frame came."""
        self._beat(now_ms)
        if socket != self._socket or self.phase not in _CONNECTED:
            return self._taken()
        self._alive_ms = now_ms
        frame = parse(text)
        self._counters.frames[frame.outcome] += 1
        self._reject(frame.faults)
        match frame.outcome:
            case Outcome.PONG:
                self._pong = NEVER
            case Outcome.SUBSCRIBED | Outcome.REFUSED:
                self._answer(frame, now_ms)
            case Outcome.TRADES:
                self._trades(frame, now_ms)
        return self._taken()

    def closed(self, socket: int, why: str, now_ms: int) -> list[Action]:
        """The socket is closed, or could not be opened."""
        self._beat(now_ms)
        return self._done(Signal.CLOSED, now_ms, why) if socket == self._socket else self._taken()

    def tick(self, now_ms: int) -> list[Action]:
        """Time has passed."""
        self._beat(now_ms)
        if now_ms >= self._settled:
            self._counters.attempt, self._settled = 0, NEVER
        if now_ms >= self._pong:
            self._move(Signal.MUTE, now_ms)
        if now_ms >= self._limit:
            self._move(Signal.OVERDUE, now_ms)
        if now_ms >= self._ping:
            self._ping = now_ms + self._settings.ping_every_ms
            self._pong = min(self._pong, now_ms + self._settings.pong_limit_ms)
            self._todo.append(Send(self._socket, PING))
        if self._link is Link.UP:
            gap = self._outages.due(self._clock.at(now_ms))
            if gap is not None:
                self._todo.append(Fill(self.tokens, *gap))
        return self._taken()

    def unfilled(self, first_ms: int, last_ms: int, now_ms: int) -> None:
        """Candles of these minutes could not be fetched: they are asked for again later."""
        self._counters.fills_failed += 1
        self._outages.unfilled(first_ms, last_ms, self._clock.at(now_ms))

    def stop(self, now_ms: int) -> list[Action]:
        """End cleanly."""
        self._beat(now_ms)
        return self._done(Signal.STOP, now_ms)

    def _done(self, signal: Signal, now_ms: int, why: str = "") -> list[Action]:
        self._move(signal, now_ms, why)
        return self._taken()

    def _taken(self) -> list[Action]:
        todo, self._todo = self._todo, []
        return todo

    def _move(self, signal: Signal, now_ms: int, why: str = "") -> None:
        """One step of the table: leave the phase, enter the next one, set its limit."""
        before, after = self.phase, TABLE.get((self.phase, signal))
        if after is None:
            return
        self.phase = after
        if after is not before:
            self._todo.append(Moved(before, after, why or signal))
            self._enter(before, signal, now_ms)
        self._limit = self._limit_ms(now_ms) if self.phase is after else self._limit

    def _enter(self, before: Phase, signal: Signal, now_ms: int) -> None:
        match self.phase:
            case Phase.CONNECTING:
                self._counters.reconnects += self._socket > 0
                self._socket += 1
                self._todo.append(OpenSocket(self._socket))
            case Phase.SUBSCRIBING:
                self._ping = now_ms + self._settings.ping_every_ms
                self.tokens = self._wanted
                self._pending = list(self.tokens)
                self._todo += [Send(self._socket, _subscription(token)) for token in self.tokens]
            case Phase.LIVE:
                self._settled = now_ms + self._settings.settled_ms
                self._outages.mended(self._clock.at(now_ms))
                self._tell(Link.UP, now_ms)
            case Phase.BACKOFF:
                self._leave(now_ms, before, silent=before is Phase.STALE)
                self._counters.attempt += 1
                if before is Phase.SUBSCRIBING:
                    self._todo.append(CheckNames())
                if 0 < self._settings.max_retries < self._counters.attempt:
                    self._todo.append(GaveUp(self._counters.attempt))
                    self._move(Signal.EXHAUSTED, now_ms)
            case Phase.IDLE:
                self._leave(now_ms, before, silent=False)
        self._counters.ingest_stale = self.phase is Phase.STALE

    def _leave(self, now_ms: int, before: Phase, *, silent: bool) -> None:
        """Whatever is open is closed; it is down since it last showed life."""
        if before in (*_CONNECTED, Phase.CONNECTING):
            self._todo.append(CloseSocket(self._socket))
        if before in _CONNECTED:
            since_ms = self._data_ms if silent else self._alive_ms
            self._outages.lost(self._clock.at(since_ms))
        self._ping = self._pong = self._settled = NEVER
        self._pending = []
        self._tell(Link.DOWN, now_ms)

    def _limit_ms(self, now_ms: int) -> int:
        settings = self._settings
        match self.phase:
            case Phase.IDLE:
                return NEVER
            case Phase.CONNECTING:
                return now_ms + settings.connect_limit_ms
            case Phase.SUBSCRIBING:
                return now_ms + settings.subscribe_limit_ms
            case Phase.LIVE:
                return self._data_ms + settings.stale_warn_ms
            case Phase.STALE:
                return now_ms + settings.stale_close_ms
            case Phase.BACKOFF:
                return now_ms + self._wait_ms()

    def _wait_ms(self) -> int:
        settings = self._settings
        doublings = min(self._counters.attempt - 1, DOUBLINGS)
        wait = min(settings.backoff_base_ms << doublings, settings.backoff_limit_ms)
        factor = settings.jitter_low + (settings.jitter_high - settings.jitter_low) * self._chance()
        return round(wait * factor)

    def _beat(self, now_ms: int) -> None:
        clock_ms = self._clock.at(now_ms)
        if clock_ms - self._beat_ms >= self._settings.beat_every_ms:
            self._beat_ms = self._counters.clock_ms = clock_ms
            self._todo.append(PublishBeat(clock_ms))

    def _tell(self, link: Link, now_ms: int) -> None:
        """A connection record, where it says something new. A connection is down since its outage began."""
        if link is self._link:
            return
        self._link = link
        self._counters.connected = link is Link.UP
        since_ms = self._outages.since_ms if link is Link.DOWN else None
        ts = self._clock.at(now_ms) if since_ms is None else since_ms
        self._todo.append(PublishConnection(ts, link, self._wanted))

    def _answer(self, frame: Frame, now_ms: int) -> None:
        """An answer to a subscription; one that names no coin answers the first that has none yet."""
        token = frame.token
        if frame.outcome is Outcome.REFUSED:
            self._reject([Fault("refused_by_venue", frame.text)])
            if token not in self._pending:
                return
            self.tokens = self._wanted = tuple(one for one in self.tokens if one != token)
            self._counters.unknown_tokens = tuple(sorted({*self._counters.unknown_tokens, str(token)}))
        elif token is None and self._pending:
            token = self._pending[0]
        if token in self._pending:
            self._pending.remove(token)
        if not self.tokens:
            self._move(Signal.CLOSED, now_ms, "no coin left")
        elif not self._pending:
            self._move(Signal.ANSWERED, now_ms)

    def _reject(self, faults: Iterable[Fault]) -> None:
        for fault in faults:
            self._counters.rejected[fault.reason] += 1
            self._todo.append(Rejected(fault.reason, fault.text))

    def _trades(self, frame: Frame, now_ms: int) -> None:
        rows, faults = self._desk.take(frame.trades, self.tokens, self._beat_ms)
        self._todo += [PublishTrades(token, trades) for token, trades in rows]
        self._reject(faults)
        self._data_ms = now_ms
        self._move(Signal.DATA, now_ms)


def _subscription(token: str) -> str:
    request = {"method": "subscribe", "subscription": {"type": "trades", "coin": token}}
    return json.dumps(request, separators=(",", ":"))
