"""Try configurations and consumers without a server: messages in, rows out, crashes wherever you like.

    play = Rehearsal(tokens=("BTC", "ETH"), timeframes=("1m",))
    play.trade("BTC", "2026-01-01T00:00:03", price="88900", size="0.01")
    play.clock("2026-01-01T00:02:00")
    play.rows("bar")                                   # as the table has them
    play.rows("decision", crashes=(3, 10))             # the same, whatever is killed on the way
    play.messages("md.bars.v1")                        # as a consumer decodes them

Every message is encoded, decoded and run through the dataflow `fused`, as a live process does it; only broker and
database are lists. Time is what the messages say: nothing here reads a clock or sleeps.
"""

import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir

from connectors.avro.codec import codec_of
from connectors.avro.framing import SingleObject
from connectors.kafka.inlet import Inlet, parts_of
from connectors.live import LiveConfig, Share
from connectors.routing import Routing
from connectors.universe import plan_of
from flows import fused
from flows.engine import run_flow
from flows.wiring import Inlets
from lotus.columns import ABSENT, Columns
from lotus.config import Config
from lotus.feed import Slice
from lotus.intake import Action, Commands, Heartbeats, Levels, Trades
from lotus.plan import Plan
from lotus.records import Side
from lotus.timeframe import MINUTE_MS, Timeframe
from lotus.written import Written
from schemas.partition import partition_of

E8 = 100_000_000
SECOND_MS = 1_000
BATCH = 50  # messages that are read at once; changes no row
Row = dict[str, Any]
Moment = str | int | datetime


class RehearsedCrashError(RuntimeError):
    """What a rehearsed crash looks like."""


class Rehearsal:
    """A deployment in memory. Inputs first, questions later; a question runs everything from the beginning."""

    def __init__(
        self,
        tokens: Sequence[str] = ("BTC",),
        timeframes: Sequence[str] = ("1m",),
        config: Config | None = None,
        live: LiveConfig | None = None,
    ) -> None:
        """`live` says more about the deployment; its tokens and timeframes are those named here."""
        self._config = config or Config()
        self._live = replace(
            live or LiveConfig(dominance=(), partitions=2),
            tokens=tuple(tokens),
            timeframes=tuple(map(Timeframe, timeframes)),
        )
        self._log: list[tuple[int, int, bytes]] = []
        self._ends = [0] * self._live.partitions
        self._clock_ms, self._seq = -1, 0
        self._start_ms: int | None = None
        self._lanes = {token: (token, self._live.venue, "") for token in tokens}

    def clock(self, until: Moment) -> None:
        """Let time pass: a heartbeat every second up to this time, the first one at it if there was none yet."""
        until_ms = _ms(until)
        first_ms = until_ms if self._clock_ms < 0 else self._clock_ms + SECOND_MS
        for ts in range(first_ms, until_ms + 1, SECOND_MS):
            row = Heartbeats(np.array([ts]), _texts(self._live.sources[0]))
            for partition in range(self._live.partitions):
                self._put("heartbeat", ("", "", ""), row, partition)
            self._clock_ms = ts
        if self._start_ms is None:
            self._start_ms = first_ms // MINUTE_MS * MINUTE_MS

    def trade(
        self, token: str, at: Moment, *, price: str, size: str, side: str = "buy", trade_id: int | None = None
    ) -> None:
        """A trade of the venue; the clock is moved up to its second first."""
        ts = _ms(at)
        if self._clock_ms < ts // SECOND_MS * SECOND_MS:
            self.clock(ts // SECOND_MS * SECOND_MS)
        self._seq += 1
        row = Trades(
            np.array([ts]),
            np.array([_e8(price)]),
            np.array([_e8(size)]),
            np.array([Side[side.upper()]], np.int8),
            np.array([self._seq]),
            np.array([self._seq if trade_id is None else trade_id]),
        )
        self._put("tick", self._lanes[token], row)

    def dominance(self, asset: str, at: Moment, level: float) -> None:
        """A dominance sample of `dom:BTC` or `dom:USDT`, which the deployment has to name."""
        self._put("sample", (asset, "", ""), Levels(np.array([_ms(at)]), np.array([level]), _texts("rehearsal")))

    def command(self, token: str, action: Action, command_id: str = "") -> None:
        """What an operator wants, read now."""
        self._seq += 1
        named = _texts(command_id or f"command-{self._seq}")
        row = Commands(np.array([max(self._clock_ms, 1)]), np.array([action], np.int8), named, _texts("rehearsal"))
        self._put("command", (token, "", ""), row)

    def message(self, partition: int, value: bytes) -> None:
        """Any bytes, to see what becomes of them."""
        self._log.append((partition, self._ends[partition], value))
        self._ends[partition] += 1

    def rows(self, noun: str, crashes: Collection[int] = ()) -> list[Row]:
        """Rows of a table, in the order in which they came about.

        crashes  after how many batches of the input the process dies, each time to go on from its last snapshot
        """
        return self.tables(crashes).get(noun, [])

    def tables(self, crashes: Collection[int] = ()) -> dict[str, list[Row]]:
        """Rows of all nouns."""
        found: dict[str, list[Row]] = {}
        for item in self.run(crashes):
            found.setdefault(item.noun, []).extend(_rows(item))
        return found

    def messages(self, topic: str, crashes: Collection[int] = ()) -> list[Row]:
        """What a consumer of a topic reads, watermarks aside: the decoded body, with its noun and partition."""
        routing = Routing(self.plan(), fused.FLOW_ID, Share(), self._live.partitions)
        found = []
        for item in self.run(crashes):
            target = routing.target(item.noun, item.lane)
            if target is None or target.topic != topic:
                continue
            bodies = list(
                codec_of(item.noun).encode((item.lane.token, item.lane.venue, item.lane.timeframe), item.rows)
            )
            decoded = codec_of(item.noun).decode(bodies)
            told = {"noun": item.noun, "partition": target.partition}
            found += [told | row for row in _rows(item._replace(rows=decoded.rows))]
        return found

    def plan(self) -> Plan:
        """What is run."""
        return plan_of(self._config, self._live, self._start_ms or 0)

    def run(self, crashes: Collection[int] = ()) -> list[Written]:
        """Everything that is written and published, by the process and by those that took its place."""
        plan, kept = self.plan(), _Kept()
        left = sorted(crashes)
        with tempfile.TemporaryDirectory() as folder:
            init_db_dir(Path(folder), 1)
            while True:
                (inlet,) = Inlets(self._live, plan, Share(), SingleObject()).of(fused.FLOW_ID)
                source = _Memory(self._log, inlet, left.pop(0) if left else None)
                try:
                    run_flow(fused.build(plan, source, kept), timedelta(0), RecoveryConfig(Path(folder)))
                except RehearsedCrashError:
                    continue
                return kept.items

    def _put(self, noun: str, lane: tuple[str, str, str], row: Columns, partition: int | None = None) -> None:
        codec = codec_of(noun)
        (body,) = codec.encode(lane, row)
        place = partition_of(lane[0], self._live.partitions) if partition is None else partition
        self.message(place, SingleObject().prefix(codec.contract) + body)


class _Memory(FixedPartitionedSource[Slice, tuple[int, Any]]):
    """The log as a source that may die."""

    def __init__(self, log: Sequence[tuple[int, int, bytes]], inlet: Inlet, dies_after: int | None) -> None:
        self._given = (log, inlet, dies_after)

    def list_parts(self) -> list[str]:
        """One partition."""
        return ["memory"]

    def build_part(self, step_id: str, for_part: str, resume_state: tuple[int, Any] | None) -> "_MemoryPart":
        """Go on behind the snapshot."""
        del step_id, for_part
        return _MemoryPart(*self._given, resume_state)


class _MemoryPart(StatefulSourcePartition[Slice, tuple[int, Any]]):
    def __init__(
        self,
        log: Sequence[tuple[int, int, bytes]],
        inlet: Inlet,
        dies_after: int | None,
        resume: tuple[int, Any] | None,
    ) -> None:
        self._log, self._inlet, self._dies_after = log, inlet, dies_after
        self._next, marks = resume or (0, {})
        self._inlet.resume(marks)

    def next_batch(self) -> list[Slice]:
        """The next few messages."""
        if self._dies_after is not None and self._next >= self._dies_after * BATCH:
            raise RehearsedCrashError
        messages = self._log[self._next : self._next + BATCH]
        if not messages:
            raise StopIteration
        self._next += len(messages)
        return [self._inlet.read(parts_of(messages))]

    def snapshot(self) -> tuple[int, Any]:
        """How far the log is read, and what the reader knows there."""
        return self._next, dict(self._inlet.marks())


class _Kept(FixedPartitionedSink[Written, int]):
    """Rows in a list; a crash takes back what came after the snapshot, as a transaction does."""

    def __init__(self) -> None:
        self.items: list[Written] = []

    def list_parts(self) -> list[str]:
        """One partition."""
        return ["memory"]

    def part_fn(self, item_key: str) -> int:
        """All rows belong to it."""
        del item_key
        return 0

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> "_KeptPart":
        """Forget what came after the snapshot."""
        del step_id, for_part
        del self.items[resume_state or 0 :]
        return _KeptPart(self.items)


class _KeptPart(StatefulSinkPartition[Written, int]):
    def __init__(self, items: list[Written]) -> None:
        self._items = items

    def write_batch(self, values: list[Written]) -> None:
        """Take rows."""
        self._items += [item for item in values if len(item.rows)]

    def snapshot(self) -> int:
        """How many there are."""
        return len(self._items)


def _rows(item: Written) -> Iterator[Row]:
    """Rows as plain values: enums by name, absent values as None."""
    lane: Row = {"token": item.lane.token, "venue": item.lane.venue, "timeframe": str(item.lane.timeframe)}
    for number in range(len(item.rows)):
        row = dict(lane)
        for name, column in item.rows.layout().items():
            value = getattr(item.rows, name)[number]
            value = value.item() if isinstance(value, np.generic) else value
            if value is None or (isinstance(value, float) and isnan(value)) or (column.nullable and value == ABSENT):
                row[name] = None
            else:
                row[name] = column.enum(value).name.lower() if column.enum else value
        yield row


def _texts(text: str) -> Any:
    found = np.empty(1, dtype=np.object_)
    found[0] = text
    return found


def _e8(text: str) -> int:
    """Exact units of 1e-8; raises ValueError for a finer number."""
    scaled = Decimal(text) * E8
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{text} is finer than 1e-8")
    return int(scaled)


def _ms(moment: Moment) -> int:
    if isinstance(moment, int):
        return moment
    when = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
