"""A machine on a bench: time passes when the test says so, everything it wants is kept."""

from collections.abc import Iterable
from typing import Any

from connectors.clock import SourceClock
from connectors.hyperliquid import actions
from connectors.hyperliquid.counters import IngestCounters
from connectors.hyperliquid.machine import PING, Machine, Phase
from connectors.hyperliquid.settings import HyperliquidSettings
from tests.connectors.hyperliquid.stand_ins import Counting
from tests.connectors.hyperliquid.wire import PONG, T0, answer

COINS = ("BTC", "ETH")
START = 1_000  # monotonic ms
SECOND, MINUTE = 1_000, 60_000


class Bench:
    """A machine and everything it ever wanted done."""

    def __init__(self, *, chance: float = 0.5, covered_until_ms: int | None = None, **settings: Any) -> None:
        self.settings = HyperliquidSettings(symbols=COINS, **settings)
        self.counters = IngestCounters()
        clock = SourceClock(T0, START)
        self.machine = Machine(self.settings, clock, Counting(), lambda: chance, self.counters, covered_until_ms)
        self.done: list[actions.Action] = []
        self.now = START

    def do(self, todo: Iterable[actions.Action]) -> list[actions.Action]:
        found = list(todo)
        self.done += found
        return found

    def of(self, kind: type) -> list[Any]:
        return [action for action in self.done if isinstance(action, kind)]

    @property
    def socket(self) -> int:
        return self.of(actions.OpenSocket)[-1].socket if self.of(actions.OpenSocket) else 0

    def start(self) -> "Bench":
        self.do(self.machine.start(COINS, self.now))
        return self

    def open(self) -> "Bench":
        self.do(self.machine.opened(self.socket, self.now))
        return self

    def hear(self, *texts: str) -> list[actions.Action]:
        return [action for text in texts for action in self.do(self.machine.received(self.socket, text, self.now))]

    def live(self) -> "Bench":
        self.start().open().hear(*map(answer, COINS))
        assert self.machine.phase is Phase.LIVE
        return self

    def close(self) -> list[actions.Action]:
        return self.do(self.machine.closed(self.socket, "reset", self.now))

    def after(self, ms: int, *, pongs: bool = True) -> list[actions.Action]:
        """Let time pass in steps of the machine's own deadlines, with or without answers to its pings."""
        found, end = [], self.now + ms
        while self.now < end:
            self.now = min(end, max(self.machine.due_ms, self.now + 1))
            todo = self.do(self.machine.tick(self.now))
            found += todo
            if pongs and any(isinstance(action, actions.Send) and action.text == PING for action in todo):
                found += self.hear(PONG)
        return found

    def phase(self) -> Phase:
        return self.machine.phase

    def clock(self) -> int:
        return T0 + self.now - START
