"""A stage on which positions are played: bars written by hand, outputs read by name."""

import math
from dataclasses import fields
from decimal import Decimal
from typing import Any

import numpy as np

from lotus.columns import Columns, Kind, declared
from lotus.kernel import Chunk
from lotus.lane import Lane
from lotus.modes import ModeBands
from lotus.paper import PaperConfig
from lotus.position.attempt import Blocks
from lotus.position.config import PositionConfig
from lotus.position.kernel import Account, AccountState, Arrival, LaneOutputs, step
from lotus.records import Executions, OrderKind, Postures, State, Trend
from lotus.scene import Scenes
from lotus.timeframe import Timeframe

LANE = Lane("TOK", "paper", Timeframe.H1)
FREE = PaperConfig(fee_bps=Decimal(0), slippage_bps=Decimal(0))
DEFAULT = PositionConfig()
START_MS = 1_704_067_200_000
FLAGS = ("s1_buy", "s2_buy", "dx_buy", "trim", "emergency_exit", "reclaimed_ema333", "exit_position")
BANDS = ModeBands()
Bar = dict[str, Any]


def rows_of(noun: type[Columns], rows: list[Bar]) -> Any:
    """Columns from rows by name; what a row does not name is absent."""
    absent = {Kind.FLOAT: math.nan, Kind.TIME: -1, Kind.INT: -1, Kind.ENUM: -1, Kind.FLAG: False}
    columns = []
    for item in fields(noun):
        kind = declared(item).kind
        cells = [row.get(item.name, absent.get(kind)) for row in rows]
        column = np.empty(len(cells), dtype=kind.dtype)
        column[:] = cells
        columns.append(column)
    return noun(*columns)


class Stage:
    """A script of bars, one per timeframe step; states follow each other."""

    def __init__(self, lane: Lane = LANE) -> None:
        """An empty script."""
        self.lane = lane
        self.rows: list[Bar] = []

    def bar(
        self,
        state: State | None,
        price: float,
        flags: str = "",
        *,
        index: int | None = None,
        atr: float = 1.0,
        level: float = math.nan,
        a: float = 0.5,
        e: float = 0.5,
        history: bool = False,
        emas: tuple[float, float] = (math.nan, math.nan),
        margins: tuple[float, ...] | None = None,
    ) -> "Stage":
        """Add a bar.

        flags    names separated by blanks
        index    bar_index and place in time; default: the next one
        emas     EMA333 and EMA144
        margins  zone, slope, tsb, dx; given only where the zone is open
        """
        named = flags.split()
        assert set(named) <= set(FLAGS), named
        place = index if index is not None else (self.rows[-1]["bar_index"] + 1 if self.rows else 0)
        row: Bar = {f"flag_{name}": name in named for name in FLAGS}
        row |= {
            "ts": START_MS + place * self.lane.timeframe.ms,
            "bar_index": place,
            "state": -1 if state is None else state,
            "prev_state": self.rows[-1]["state"] if self.rows else -1,
            "price": price,
            "atr": atr,
            "nearest_level": level,
            "ema_333": emas[0],
            "ema_144": emas[1],
            "zone_ok": margins is not None,
            "history": history,
            "a": a,
            "e": e,
            "mode_a": BANDS.mode_of(a),
            "mode_e": BANDS.mode_of(e),
            "sentence": f"A {a}, E {e}",
        }
        for name, margin in zip(("zone", "slope", "tsb", "dx"), margins or (), strict=False):
            row[f"margin_{name}"] = margin
        self.rows.append(row)
        return self

    def scenes(self, start: int = 0, end: int | None = None) -> Scenes:
        """The bars as scenes."""
        rows = self.rows[start:end]
        return Scenes(rows_of(Trend, rows), rows_of(Postures, rows))

    def known_ms(self, place: int) -> int:
        """When a bar of the script is known."""
        return int(self.rows[place]["ts"]) + self.lane.timeframe.ms

    def play(
        self, config: PositionConfig = DEFAULT, paper: PaperConfig | None = FREE
    ) -> tuple[AccountState, LaneOutputs]:
        """All bars in one batch."""
        account = Account((self.lane,), config, paper)
        chunk = Chunk(self.scenes(), self.known_ms(-1))
        state, outputs = step(account, None, ((self.lane, chunk),))
        return state, outputs.lanes[0]


class Live:
    """The same script one bar at a time, with a venue that answers when told to."""

    def __init__(self, config: PositionConfig = DEFAULT, lane: Lane = LANE) -> None:
        """Nothing has happened yet."""
        self.account = Account((lane,), config, None)
        self.stage = Stage(lane)
        self.state: AccountState | None = None
        self.outputs: list[LaneOutputs] = []
        self.arrivals: list[tuple[Arrival, ...]] = []

    def bar(self, *args: Any, **named: Any) -> LaneOutputs:
        """The next bar; everything reported before it is known."""
        self.stage.bar(*args, **named)
        place = len(self.stage.rows) - 1
        known = self.stage.known_ms(place)
        return self.arrive(Chunk(self.stage.scenes(place), known), Chunk(Executions.empty(), known))

    def report(
        self, kind: OrderKind, fill_id: str, qty: str, usd: str, *, done: bool = True, order: int = -1, at_ms: int = 1
    ) -> LaneOutputs:
        """The venue reports about the order of a bar (default: the last), `at_ms` after that the last bar was known."""
        known = self.stage.known_ms(-1) + at_ms
        price = Decimal(usd) / Decimal(qty) if Decimal(qty) else Decimal(0)
        row = {
            "ts": known,
            "kind": kind,
            "order_ts": self.stage.rows[order]["ts"],
            "fill_id": fill_id,
            "usd": Decimal(usd),
            "qty": Decimal(qty),
            "price": price,
            "fee": Decimal(0),
            "done": done,
        }
        return self.arrive(Chunk(Scenes.empty(), known), Chunk(rows_of(Executions, [row]), known))

    def arrive(self, scenes: Chunk[Scenes], executions: Chunk[Executions]) -> LaneOutputs:
        """Bars and reports come in."""
        lane = self.account.lanes[0]
        self.arrivals.append(((lane, scenes), (lane, executions)))
        self.state, outputs = step(self.account, self.state, self.arrivals[-1])
        self.outputs.append(outputs.lanes[0])
        return outputs.lanes[0]

    @property
    def record(self) -> Any:
        """The position record."""
        assert self.state is not None
        return self.state.lanes[0].record

    @property
    def blocks(self) -> Blocks:
        """Blocks in force."""
        assert self.state is not None
        return self.state.blocks[0]


def fills(outputs: LaneOutputs) -> list[tuple[str, float, float]]:
    """Kind, USD and quantity of every fill."""
    rows = outputs.fills
    return [
        (OrderKind(int(kind)).name, round(float(usd), 4), round(float(qty), 6))
        for kind, usd, qty in zip(rows.kind, rows.usd, rows.qty, strict=True)
    ]


def refusals(outputs: LaneOutputs) -> list[tuple[str, str]]:
    """Kind and gate of every refusal."""
    rows = outputs.refusals
    return [(OrderKind(int(kind)).name, str(gate)) for kind, gate in zip(rows.kind, rows.gate, strict=True)]


def opening(stage: Stage | None = None, price: float = 1.0) -> Stage:
    """S0, then the first bar of an attempt."""
    return (stage or Stage()).bar(State.S0, price).bar(State.S1, price)
