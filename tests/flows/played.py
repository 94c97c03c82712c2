"""The input log of a small market, minute by minute, with somebody who speaks up in between: a venue, an operator."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from connectors.archive_files import Archived
from connectors.feeder import Pace, feed
from connectors.kafka.inlet import Part
from connectors.kafka.input_log import InputConfig, InputReader
from connectors.log_feed import LogFeed
from connectors.moments import Recorded
from connectors.tape import Tape
from lotus import river
from lotus.columns import Columns
from lotus.config import Config
from lotus.feed import Feed, Manifest, Slice
from lotus.plan import Plan
from lotus.timeframe import MINUTE_MS
from lotus.written import Written
from tests.connectors.memory_log import MemoryLog
from tests.connectors.tick_files import TIMEFRAMES, recording
from tests.flows.rows import Tables, tables

PARTITIONS = 2
TOKENS = ("BTC", "HYPE", "BNB")
SPAN_MS = 60 * MINUTE_MS
TOPIC = "md.ticks.v1"
Speech = Callable[[MemoryLog], None]
Hearing = Callable[[list[Written]], Sequence[Speech]]


@dataclass(frozen=True)
class Scene:
    """A recorded market as messages.

    minutes  messages of each partition that stand before the first heartbeat of the next minute
    clocks   last heartbeat of each minute
    """

    manifest: Manifest
    opening: Slice
    source: str
    minutes: list[list[list[Archived]]]
    clocks: list[int]

    @classmethod
    def of(cls, folder: Path, hours: int) -> "Scene":
        """Record some hours."""
        tape = Tape(replace(recording(folder, hours).inputs, tokens=TOKENS))
        market = Recorded(tape)
        log = MemoryLog(PARTITIONS, market.source)
        feed(market, log, Pace(None))
        minutes: list[list[list[Archived]]] = []
        clocks: list[int] = []
        for partition in range(PARTITIONS):
            for message in log.messages(partition):
                beats = dict(message.headers)["noun"] == b"heartbeat"
                if beats and partition == 0 and (not clocks or minute_of(message.ts) > minute_of(clocks[-1])):
                    clocks.append(message.ts)
                    minutes.append([[] for _ in range(PARTITIONS)])
        starts = [minute_of(clock) for clock in clocks]
        for partition in range(PARTITIONS):
            number = 0
            for message in log.messages(partition):
                if dict(message.headers)["noun"] == b"heartbeat":
                    number = int(np.searchsorted(starts, message.ts, side="right")) - 1
                    clocks[number] = max(clocks[number], message.ts)
                minutes[max(number, 0)][partition].append(message)
        manifest = replace(tape.manifest, logged=True)
        return cls(manifest, Slice(raw=next(tape.slices()).raw), market.source, minutes, clocks)

    def plan(self, *, at_venue: bool = False) -> Plan:
        """All tokens on all timeframes."""
        return Plan(Config(), self.manifest, TIMEFRAMES, None, at_venue)

    def reader(self, plan: Plan) -> InputReader:
        """Reads what a fused flow reads."""
        config = InputConfig(
            TOPIC,
            PARTITIONS,
            (self.source,),
            series=tuple(sorted(plan.instruments)),
            assets=tuple(sorted({lane.token for lane in plan.dominance})),
            lanes=tuple(plan.traded) if plan.at_venue else (),
            tokens=plan.traded_tokens,
        )
        return InputReader(config)

    def again(self, log: MemoryLog, plan: Plan, span_ms: int) -> LogFeed:
        """A replay of a log."""
        return LogFeed(log, lambda: self.reader(plan), self.manifest, span_ms, self.opening)


@dataclass
class Played:
    """A life of the river on a scene.

    script  what is said at the beginning of a minute, by its number
    silent  minutes in which no trade gets through
    hears   what is said to what was written: it stands in the log at the end of the minute. None: nobody listens
    """

    scene: Scene
    plan: Plan
    script: Mapping[int, Speech] = field(default_factory=dict)
    silent: frozenset[int] = frozenset()
    hears: Hearing | None = None
    _log: MemoryLog = field(init=False, default_factory=lambda: MemoryLog(PARTITIONS))
    _promises: dict[tuple[str, str], int] = field(init=False, default_factory=dict)
    manifest: Manifest = field(init=False)

    def __post_init__(self) -> None:
        self.manifest = self.scene.manifest
        self._log.source = self.scene.source

    @property
    def log(self) -> MemoryLog:
        """The log of the whole life."""
        assert self.rows, "living writes the log"
        return self._log

    @property
    def promises(self) -> dict[tuple[str, str], int]:
        """Watermark of each noun and lane at the end of the life."""
        assert self.rows, "living gives the promises"
        return self._promises

    @cached_property
    def rows(self) -> Tables:
        """Everything written."""
        written: list[Written] = []
        feed_: Feed = self
        if self.hears is None:
            for number in range(len(self.scene.minutes)):
                self._live(number)
            feed_ = self.scene.again(self._log, self.plan, SPAN_MS)
        for items in river.run(self.plan, feed_):
            written += items
            for item in [one for one in items if one.watermark_ms >= 0]:
                self._promises[item.noun, str(item.lane)] = item.watermark_ms
            for speech in self.hears(items) if self.hears else ():
                speech(self._log)
        return tables(written)

    def slices(self, position: int = 0) -> Iterator[Slice]:
        """One slice a minute; see `lotus.feed.Feed`."""
        assert position == 0, "a life is lived once"
        reader, read = self.scene.reader(self.plan), [0] * PARTITIONS
        for number in range(len(self.scene.minutes)):
            self._live(number)
            parts = [self._unread(partition, read) for partition in range(PARTITIONS)]
            piece = reader.read([part for part in parts if part.offsets])
            yield piece if number else replace(piece, raw=self.scene.opening.raw)

    def _live(self, number: int) -> None:
        """Write a minute: its first heartbeat, what is said then, the rest."""
        minute = self.scene.minutes[number]
        for partition, messages in enumerate(minute):
            self._append(partition, messages[:1])
        if number in self.script:
            self.script[number](self._log)
        for partition, messages in enumerate(minute):
            self._append(partition, [one for one in messages[1:] if self._gets_through(number, one)])

    def _gets_through(self, number: int, message: Archived) -> bool:
        return number not in self.silent or dict(message.headers)["noun"] != b"tick"

    def _append(self, partition: int, messages: Sequence[Archived]) -> None:
        kept = self._log.kept[partition]
        kept += [message._replace(offset=len(kept) + place) for place, message in enumerate(messages)]

    def _unread(self, partition: int, read: list[int]) -> Part:
        fresh = self._log.kept[partition][read[partition] :]
        read[partition] += len(fresh)
        return Part(partition, [message.offset for message in fresh], [message.value for message in fresh])


def minute_of(ts_ms: int) -> int:
    """Start of the minute."""
    return ts_ms // MINUTE_MS * MINUTE_MS


def says(noun: str, lane: tuple[str, str, str], rows: Columns) -> Speech:
    """Rows of one token."""
    return lambda log: log.write(noun, lane, rows)


def columns(noun: type[Columns], **cells: Sequence[Any]) -> Any:
    """Rows by column."""
    made = {}
    for name, column in noun.layout().items():
        made[name] = np.empty(len(cells[name]), column.kind.dtype)
        made[name][:] = cells[name]
    return noun(**made)
