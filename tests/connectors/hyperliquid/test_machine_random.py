"""Whatever happens in whatever order: one socket at most, bounded waits, nothing waited for without a limit."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.clock import SourceClock
from connectors.hyperliquid import actions
from connectors.hyperliquid.counters import IngestCounters
from connectors.hyperliquid.machine import Machine, Phase
from connectors.hyperliquid.settings import HyperliquidSettings
from lotus.intake import Link
from tests.connectors.hyperliquid.stand_ins import Counting
from tests.connectors.hyperliquid.wire import GREETING, PONG, T0, already, answer, refusal, trade, trades

COINS = ("BTC", "ETH", "SOL")
SETTINGS = HyperliquidSettings(symbols=COINS)
TEXTS = (*map(answer, COINS), already("BTC"), refusal("ETH"), PONG, GREETING, "{", '{"channel":"trades","data":[7]}')

_events = st.one_of(
    st.tuples(st.just("pass"), st.sampled_from([1, 400, 1_000, 9_999, 10_000, 20_000, 30_000, 60_000, 120_000, 10**7])),
    st.tuples(st.sampled_from(["opened", "closed"]), st.integers(0, 1)),
    st.tuples(st.just("text"), st.sampled_from(TEXTS)),
    st.tuples(st.just("trade"), st.integers(-200_000, 6_000)),
    st.tuples(st.sampled_from(["names", "unfilled", "stop", "start"]), st.just(0)),
)


class Watched:
    """A machine whose every wish is checked against what was wished before."""

    def __init__(self, chances: Any) -> None:
        self.counters = IngestCounters()
        self.machine = Machine(SETTINGS, SourceClock(T0, 0), Counting(), lambda: chances.draw(_chance), self.counters)
        self.now = 0
        self.opened = 0
        self.sockets: set[int] = set()
        self.beats: list[int] = []
        self.links: list[Link] = []
        self.seqs: list[int] = []
        self.fills: list[actions.Fill] = []

    def happen(self, kind: str, detail: Any) -> None:
        machine, now = self.machine, self.now
        match kind:
            case "pass":
                self._pass(detail)
            case "opened":
                self._do(machine.opened(self.opened - detail, now))
            case "closed":
                gone = self.opened - detail
                self.sockets.discard(gone)
                self._do(machine.closed(gone, "reset", now))
            case "text":
                self._do(machine.received(self.opened, detail, now))
            case "trade":
                self._do(machine.received(self.opened, trades(trade(T0 + now + detail, now % 7)), now))
            case "names":
                machine.names(COINS)
            case "unfilled" if self.fills:
                machine.unfilled(self.fills[-1].first_ms, self.fills[-1].last_ms, now)
            case "stop":
                self._do(machine.stop(now))
            case "start" if machine.phase is Phase.IDLE:
                self._do(machine.start(COINS, now))

    def _pass(self, ms: int) -> None:
        """The shell calls at every deadline, or, when it was asleep, only at the end."""
        end = self.now + ms
        while ms <= 120_000 and self.machine.due_ms < end:
            self.now = max(self.machine.due_ms, self.now + 1)
            self._do(self.machine.tick(self.now))
        self.now = max(self.now, end)
        self._do(self.machine.tick(self.now))

    def _do(self, todo: list[actions.Action]) -> None:
        for action in todo:
            match action:
                case actions.OpenSocket(socket):
                    assert not self.sockets, "a second socket is opened"
                    self.sockets.add(socket)
                    self.opened = socket
                case actions.CloseSocket(socket):
                    self.sockets.discard(socket)
                case actions.Send(socket, _):
                    assert socket in self.sockets, "sent on a socket that is not there"
                case actions.PublishBeat(ts):
                    self.beats.append(ts)
                case actions.PublishConnection(_, state, _):
                    self.links.append(state)
                case actions.PublishTrades(_, rows):
                    self.seqs += rows.seq.tolist()
                case actions.Fill():
                    self.fills.append(action)
        self._check()

    def _check(self) -> None:
        machine = self.machine
        assert machine.due_ms <= self.now + SETTINGS.beat_every_ms
        if machine.phase in (Phase.CONNECTING, Phase.SUBSCRIBING, Phase.BACKOFF, Phase.STALE, Phase.LIVE):
            assert machine.limit_ms <= self.now + SETTINGS.stale_warn_ms, "waits without a limit"
        if machine.phase is Phase.BACKOFF:
            assert machine.limit_ms - self.now <= SETTINGS.backoff_limit_ms * SETTINGS.jitter_high
            assert not self.sockets
        assert (machine.phase in (Phase.LIVE, Phase.STALE)) == (self.links[-1:] == [Link.UP])
        assert self.beats == sorted(set(self.beats)), "heartbeats step back or repeat"
        assert self.seqs == sorted(set(self.seqs))
        assert all(before is not after for before, after in zip(self.links, self.links[1:], strict=False))


_chance = st.floats(0, 1)


@settings(max_examples=300, deadline=None)
@given(st.data(), st.lists(_events, max_size=40))
def test_no_order_of_events_breaks_the_machine(chances: Any, events: list[tuple[str, Any]]) -> None:
    watched = Watched(chances)
    watched.happen("start", 0)
    for kind, detail in events:
        watched.happen(kind, detail)


@settings(max_examples=50, deadline=None)
@given(st.data(), st.lists(_events, max_size=25))
def test_whatever_happened_a_venue_that_answers_is_live_again_within_two_minutes(
    chances: Any, events: list[tuple[str, Any]]
) -> None:
    watched = Watched(chances)
    for kind, detail in [("start", 0), *events, ("start", 0), ("names", 0)]:
        watched.happen(kind, detail)
    give_up = watched.now + 120_000
    while watched.machine.phase is not Phase.LIVE:
        assert watched.now < give_up
        watched.happen("pass", 100)
        if watched.machine.phase is Phase.CONNECTING:
            watched.happen("opened", 0)
        elif watched.machine.phase in (Phase.SUBSCRIBING, Phase.STALE):
            for coin in COINS:
                watched.happen("text", answer(coin))
            watched.happen("trade", 0)
