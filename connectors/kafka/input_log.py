"""Messages of the input log become slices: what an ingester wrote is what every stage reads (market-data.md 3-5).

    partition   hb hb t t s hb t x hb ...        x: refused, a dead letter of its partition
                    |  | |     |
    ticks       per series, each behind the clock it was read at      (tick_batches.py)
    reports     samples per asset and executions per lane, complete up to the last minute that W has closed (reports.py)
    patches     candles and connection records per series, commands per token, with W when they were read (entries.py)

Rules
- Every message is accepted or refused with a reason, and counted. One thing stops the flow instead: a message in a
  partition that is not its token's.
- What comes out is a function of each partition's messages: cutting them into batches changes no bit of any kernel's
  output, nor does the order in which partitions take turns.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from connectors.avro.framing import Framing, SingleObject
from connectors.checks import bar_faults, outside_of_time
from connectors.kafka.batch import Batch, Found, Times, refused
from connectors.kafka.entries import Entries
from connectors.kafka.envelopes import Envelopes
from connectors.kafka.inlet import Mark, Part
from connectors.kafka.letters import Letters, Refusal, as_bytes
from connectors.kafka.log_clock import NOTHING_MS, LogClock
from connectors.kafka.reports import PartitionReports, ReportRules, Reports
from connectors.kafka.stops import ForeignPartitionError
from connectors.kafka.tick_reader import TickReader
from connectors.messages import MESSAGES
from lotus.bar import BarConfig
from lotus.feed import Slice
from lotus.intake import Candles, Connections, Heartbeats
from lotus.kernel import Series
from lotus.lane import Lane
from lotus.minute import E8
from lotus.timeframe import MINUTE_MS
from schemas.partition import partition_of

TICK, HEARTBEAT, CONNECTION, CANDLE = "tick", "heartbeat", "connection", "candle"
SAMPLE, EXECUTION, COMMAND = "sample", "execution", "command"
NOUNS = frozenset((TICK, HEARTBEAT, CONNECTION, CANDLE, SAMPLE, EXECUTION, COMMAND))
_CLOCK = frozenset((HEARTBEAT, CONNECTION))


@dataclass(frozen=True)
class InputConfig:
    """What a flow reads of the input log.

    topic          full name
    total          partitions of the topic; `partitions` are those that are read, default all
    sources        whose heartbeats make the clock
    series         known instruments; assets: those with dominance samples; lanes: those whose orders a venue executes
    tokens         that obey commands; default those of the series and lanes
    nouns          what this flow reads besides heartbeats and connections; other messages are counted as unread
    sample_lag_ms  how much later than a trade a dominance sample may come, at most an hour (exactly-once.md 2)
    """

    topic: str
    total: int
    sources: tuple[str, ...]
    partitions: tuple[int, ...] = ()
    series: tuple[Series, ...] = ()
    assets: tuple[str, ...] = ()
    lanes: tuple[Lane, ...] = ()
    tokens: tuple[str, ...] = ()
    nouns: frozenset[str] = NOUNS
    bar: BarConfig = BarConfig()
    sample_lag_ms: int = 0

    def __post_init__(self) -> None:
        """Refuse what could never be read."""
        if not self.sources or len(set(self.sources)) < len(self.sources):
            raise ValueError(f"{self.topic}: name at least one source of heartbeats, each once; got {self.sources}")
        if self.total < 1 or not all(0 <= partition < self.total for partition in self.partitions):
            raise ValueError(f"{self.topic}: partitions {self.partitions} are not all below {self.total}")
        if not 0 <= self.sample_lag_ms <= 60 * MINUTE_MS:
            raise ValueError(f"sample_lag_ms must lie within an hour, got {self.sample_lag_ms}")
        if unknown := self.nouns - NOUNS:
            raise ValueError(f"{self.topic} carries no {', '.join(sorted(unknown))}")

    @property
    def obedient(self) -> tuple[str, ...]:
        """Tokens that obey commands."""
        named = {one.token for one in self.series} | {lane.token for lane in self.lanes}
        return self.tokens or tuple(sorted(named))


@dataclass(frozen=True, slots=True)
class PartitionState:
    """What the reader knows of a partition: its clock, and reports that wait for it."""

    clock: LogClock
    reports: PartitionReports


@dataclass
class Counts:
    """Messages since the start of the process: read = accepted + dead + unread."""

    read: int = 0
    accepted: int = 0
    dead: int = 0
    unread: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


class InputReader:
    """Reads the input log; see `connectors.kafka.inlet.Inlet`."""

    with_headers = False

    def __init__(self, config: InputConfig, framing: Framing | None = None) -> None:
        """Start before the first message; `resume` goes on from marks."""
        self.topic, self.total = config.topic, config.total
        self.partitions = config.partitions or tuple(range(config.total))
        self.counts = Counts()
        self._config = config
        self._envelopes = Envelopes(framing or SingleObject())
        self._nouns = config.nouns | _CLOCK
        self._known = {(one.token, one.venue) for one in config.series}
        self._sources = {name: number for number, name in enumerate(config.sources)}
        self._home: dict[str, int] = {}
        bar = config.bar
        series_of = self._shared([one.token for one in config.series])
        self._ticks = TickReader(config.series, series_of, bar.grace_ms)
        tokens = config.obedient
        self._tokens = frozenset(tokens)
        self._entries = Entries(config.series, series_of, tokens, self._shared(tokens), bar.grace_ms)
        rules = ReportRules(bar.grace_ms, bar.future_ms, config.sample_lag_ms, config.assets, config.lanes)
        self._reports = Reports(rules, self._shared(config.assets), self._shared([one.token for one in config.lanes]))
        self._offsets: dict[int, int] = {}
        self._clocks = {partition: LogClock.of(len(config.sources)) for partition in self.partitions}
        self._waiting = {partition: PartitionReports() for partition in self.partitions}

    def resume(self, marks: Mapping[int, Mark]) -> None:
        """Go on from marks."""
        for partition, mark in marks.items():
            assert isinstance(mark.state, PartitionState), f"the mark of {self.topic}/{partition} is of another reader"
            self._offsets[partition] = mark.offset
            self._clocks[partition], self._waiting[partition] = mark.state.clock, mark.state.reports

    def marks(self) -> dict[int, Mark]:
        """Where to go on: behind the last message of each partition."""
        return {
            partition: Mark(offset, PartitionState(self._clocks[partition], self._waiting[partition]))
            for partition, offset in self._offsets.items()
        }

    def reached_ms(self, partition: int) -> int:
        """W of a partition."""
        return self._clocks[partition].watermark_ms

    def read(self, parts: Iterable[Part]) -> Slice:
        """Take in messages.

        raises  ForeignPartitionError for a message in a partition that is not its token's
        """
        batch = Batch.of(parts)
        if not len(batch):
            return Slice(watermark_ms=self._reached_ms())
        letters = Letters(self.topic)
        found, unread = self._decoded(batch, letters)
        times = self._timed(batch, found, letters)
        reports = self._reports.read(batch, found, times, self._waiting, letters)
        for noun, check in ((CANDLE, self._candles), (COMMAND, self._commands)):
            if noun in found:
                found[noun] = check(batch, found[noun], letters)
        candles, links, commands = found.get(CANDLE), found.get(CONNECTION), found.get(COMMAND)
        piece = Slice(
            ticks=self._ticks.read(batch, found.get(TICK), times, letters) if TICK in self._nouns else (),
            samples=reports.samples,
            executions=reports.executions,
            patches=self._entries.patches(batch, candles, links, times) if CANDLE in self._nouns else (),
            commands=self._entries.commands(batch, commands, times) if COMMAND in self._nouns else (),
        )
        self._clocks |= times.clocks
        self._waiting |= reports.waiting
        ends = [*list(batch.starts.values())[1:], len(batch)]
        self._offsets |= {
            partition: int(batch.offsets[end - 1]) + 1 for partition, end in zip(batch.starts, ends, strict=True)
        }
        self._count(len(batch), unread, letters)
        return replace(piece, refused=letters.by_partition(), watermark_ms=self._reached_ms())

    def _reached_ms(self) -> int:
        return min(clock.watermark_ms for clock in self._clocks.values())

    def _count(self, read: int, unread: int, letters: Letters) -> None:
        counts, dead = self.counts, len(letters)
        counts.read, counts.unread, counts.dead = counts.read + read, counts.unread + unread, counts.dead + dead
        counts.accepted += read - unread - dead
        counts.reasons += letters.reasons

    def _shared(self, tokens: Iterable[str]) -> dict[int, list[int]]:
        """Numbers of the tokens that live in each partition."""
        shared: dict[int, list[int]] = {partition: [] for partition in range(self.total)}
        for number, token in enumerate(tokens):
            shared[self._home_of(token)].append(number)
        return shared

    def _home_of(self, token: str) -> int:
        home = self._home.get(token)
        if home is None:
            home = partition_of(token, self.total)
            if len(self._home) < 100_000:
                self._home[token] = home
        return home

    def _decoded(self, batch: Batch, letters: Letters) -> tuple[dict[str, Found], int]:
        """Rows of every noun that is read, and how many messages are not."""
        found: dict[str, list[Found]] = {}
        unread = 0
        for enveloped in self._envelopes.by_contract(batch.values):
            contract, positions = enveloped.contract, enveloped.positions
            noun = contract.name if contract else ""  # on the input log a schema has one noun
            if noun not in NOUNS:
                for at in positions.tolist():
                    self._refuse_value(batch, at, noun, "", letters)
            elif noun not in self._nouns:
                unread += len(positions)
            else:
                decoded = enveloped.decoded(noun)
                for number, fault in decoded.faults:
                    self._refuse_value(batch, int(positions[number]), noun, fault, letters)
                found.setdefault(noun, []).append(Found.of(decoded, positions))
        joined = {noun: Found.joined(parts) for noun, parts in found.items()}
        for noun, rows in joined.items():
            if MESSAGES[noun].key:
                self._at_home(batch, rows)
        return joined, unread

    def _refuse_value(self, batch: Batch, at: int, noun: str, fault: str, letters: Letters) -> None:
        value = batch.values[at]
        if value is None:
            reason = Refusal.TOMBSTONE
        elif not noun:
            reason = Refusal.SCHEMA_UNKNOWN
        else:
            reason = Refusal.UNDECODABLE if fault else Refusal.NOUN_UNKNOWN
        known = {name: word for name, word in (("noun", noun), ("fault", fault)) if word} | as_bytes(value)
        letters.add(int(batch.partitions[at]), int(batch.offsets[at]), reason, known)

    def _at_home(self, batch: Batch, found: Found) -> None:
        """Stop at a message in a foreign partition: its writer counts other partitions than we do."""
        homes = np.array([self._home_of(token) for token, _, _ in found.lanes], np.int64)
        if not len(homes):
            return
        partitions = batch.partitions[found.at]
        strange = np.flatnonzero(homes[found.lane] != partitions)
        if len(strange):
            row = int(strange[0])
            token = found.lanes[found.lane[row]][0]
            raise ForeignPartitionError(
                f"{self.topic}/{partitions[row]}, offset {batch.offsets[found.at[row]]}: '{token[:60]}' belongs to "
                f"partition {self._home_of(token)} of {self.total}. Whoever wrote it has another number of partitions "
                "or another way to choose one: stop that writer; then start this deployment on new topics (another "
                "prefix), fed from the archive"
            )

    def _timed(self, batch: Batch, found: dict[str, Found], letters: Letters) -> Times:
        """Move the clocks by heartbeats and connection records, in the order of each partition."""
        times = Times(batch, self._clocks)
        moves: list[tuple[int, int, int, int]] = []  # position, source, heartbeat or -1, link or -1
        for noun in (HEARTBEAT, CONNECTION):
            if noun in found:
                found[noun] = kept = self._of_sources(batch, found[noun], noun, letters)
                rows = kept.rows
                assert isinstance(rows, Heartbeats | Connections)
                sources = [self._sources[name] for name in rows.source.tolist()]
                beats = rows.ts.tolist() if noun == HEARTBEAT else [NOTHING_MS] * len(rows)
                links = rows.state.tolist() if isinstance(rows, Connections) else [NOTHING_MS] * len(rows)
                moves += zip(kept.at.tolist(), sources, beats, links, strict=True)
        moves.sort()
        for position, source, ts_ms, link in moves:
            clock = times.clocks[int(batch.partitions[position])]
            times.move(position, clock.linked(source, link) if link >= 0 else clock.beaten(source, ts_ms))
        return times

    def _of_sources(self, batch: Batch, found: Found, noun: str, letters: Letters) -> Found:
        """Records of declared sources with times that make sense; the others are refused."""
        rows = found.rows
        assert isinstance(rows, Heartbeats | Connections)
        strange = np.array([name not in self._sources for name in rows.source.tolist()], np.bool_)
        checks = ((Refusal.SOURCE_UNKNOWN, strange), (Refusal.TIME_OUT_OF_RANGE, outside_of_time(rows.ts)))
        return refused(batch, found, noun, checks, letters)

    def _candles(self, batch: Batch, found: Found, letters: Letters) -> Found:
        """Candles of known instruments that make sense."""
        rows = found.rows
        assert isinstance(rows, Candles)
        known = np.array([(token, venue) in self._known for token, venue, _ in found.lanes], np.bool_)
        values = {name: getattr(rows, f"{name}_e8") / E8 for name in ("open", "high", "low", "close")}
        checks = (
            (Refusal.SERIES_UNKNOWN, ~known[found.lane]),
            (Refusal.TIME_OUT_OF_RANGE, outside_of_time(rows.ts)),
            (Refusal.TIME_NOT_ON_GRID, rows.ts % MINUTE_MS != 0),
            *bar_faults({**values, "volume": rows.size_e8 / E8}),
        )
        return refused(batch, found, CANDLE, checks, letters)

    def _commands(self, batch: Batch, found: Found, letters: Letters) -> Found:
        """Commands for tokens that obey."""
        known = np.array([token in self._tokens for token, _, _ in found.lanes], np.bool_)
        return refused(batch, found, COMMAND, ((Refusal.TOKEN_UNKNOWN, ~known[found.lane]),), letters)
