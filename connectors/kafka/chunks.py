"""Records of a derived topic become chunks: what one flow wrote, as another one reads it.

    partition   r1 r2 r3 W(12:01) r4 W(12:02) r5      one writer; each record carries its number, 1, 2, 3 ...
                ------------------------------^       a lane gets its rows and W, a lane without rows gets W alone
                                  the mark            r5 is held until the next W; a restart reads it again

Rows may be ahead of W (lotus/kernel.py), and rows of one instant stand before one W, because a writer puts them into
one transaction. Warm-up rows come first, the others by time, whatever the order of their nouns was.

Numbers are dense per run and partition: a hole is a lost record, a step back a doubled one. Both stop the flow, and so
does a record that cannot be read: Lotus wrote it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from connectors.avro.contract import Contract
from connectors.avro.framing import Framing, SingleObject
from connectors.kafka.envelopes import Envelopes
from connectors.kafka.inlet import Mark, Part
from connectors.kafka.records import Headers, Origin, origin
from connectors.kafka.stops import BrokenRecordError, ForeignPartitionError, HoleError
from connectors.messages import MESSAGES
from lotus.columns import I64, Columns
from lotus.feed import Slice
from lotus.intake import Watermarks
from lotus.kernel import Chunk
from lotus.lane import Lane
from lotus.records import Bars, Board, Postures, Trend
from lotus.timeframe import Timeframe
from schemas.partition import partition_of

WATERMARK = "watermark"
NOTHING_MS = -1
Times = Callable[[Any], I64]


@dataclass(frozen=True, slots=True)
class Kind:
    """What is read of a topic.

    rows     the record
    nouns    that carry it
    times    by which the rows of a lane are put in order
    part     field of a slice
    """

    rows: type[Columns]
    nouns: frozenset[str]
    times: Times
    part: str


def _starts(rows: Bars | Trend | Postures) -> I64:
    return rows.ts


def _known(rows: Board) -> I64:
    return rows.known_ts


BARS = Kind(Bars, frozenset(("bar_history", "gap", "bar")), _starts, "bars")
TREND = Kind(Trend, frozenset(("trend_history", "trend")), _starts, "trend")
POSTURES = Kind(Postures, frozenset(("posture",)), _starts, "postures")
BOARD = Kind(Board, frozenset(("board",)), _known, "board")
BOARD_LANE = Lane("board", "", Timeframe.M1)
KINDS: dict[str, Kind] = {
    "md.bars.v1": BARS,
    "md.trend.v1": TREND,
    "pm.posture.v1": POSTURES,
    "md.drivers.v1": BOARD,
}


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a partition was left: number and time of the last watermark."""

    number: int = 0
    watermark_ms: int = NOTHING_MS


class Held(NamedTuple):
    """A record that waits for its watermark."""

    noun: str
    offset: int
    value: bytes


@dataclass
class _Partition:
    """One partition on its way.

    mark     offset behind the last watermark, -1 before the first; `progress` goes with it
    number   of the last record
    held     records behind the last watermark
    """

    lanes: tuple[Lane, ...]
    progress: Progress = field(default_factory=Progress)
    mark: int = -1
    number: int = 0
    held: list[Held] = field(default_factory=list)


@dataclass(frozen=True)
class ChunkConfig:
    """What a flow reads of a derived topic.

    topic       full name
    kind        one of KINDS
    total       partitions of the topic; `partitions` are those that are read, default all
    run         whose records; those of other runs are passed over
    lanes       that are read; rows of others are passed over. Not needed for the board
    from_start  the log begins with number 1; False: an operator allowed a later start
    """

    topic: str
    kind: Kind
    total: int
    run: str
    partitions: tuple[int, ...] = ()
    lanes: tuple[Lane, ...] = ()
    from_start: bool = True


class ChunkReader:
    """Reads a derived topic; see `connectors.kafka.inlet.Inlet`."""

    with_headers = True

    def __init__(self, config: ChunkConfig, framing: Framing | None = None) -> None:
        """Start before the first record; `resume` goes on from marks."""
        self.topic, self.total = config.topic, config.total
        self.partitions = config.partitions or tuple(range(config.total))
        self.passed_over = 0
        self._config = config
        self._envelopes = Envelopes(framing or SingleObject())
        lanes = (BOARD_LANE,) if config.kind is BOARD else config.lanes
        self._all = {partition: _Partition(self._living_in(lanes, partition)) for partition in self.partitions}

    def resume(self, marks: Mapping[int, Mark]) -> None:
        """Go on from marks."""
        for partition, mark in marks.items():
            assert isinstance(mark.state, Progress), f"the mark of {self.topic}/{partition} is of another reader"
            state = self._all[partition]
            state.mark, state.progress, state.number = mark.offset, mark.state, mark.state.number

    def marks(self) -> dict[int, Mark]:
        """Where to go on: behind the last watermark of each partition."""
        return {
            partition: Mark(state.mark, state.progress) for partition, state in self._all.items() if state.mark >= 0
        }

    def reached_ms(self, partition: int) -> int | None:
        """Time of the last watermark; None for a partition of which no lane is read."""
        state = self._all[partition]
        return state.progress.watermark_ms if state.lanes else None

    def held(self, partition: int) -> int:
        """Records that wait for a watermark."""
        return len(self._all[partition].held)

    def read(self, parts: Iterable[Part]) -> Slice:
        """Take in records with their headers.

        raises  HoleError, BrokenRecordError, ForeignPartitionError
        """
        found: list[tuple[Lane, Chunk[Any]]] = []
        for part in parts:
            found += self._read(part)
        if self._config.kind is BOARD:
            return Slice(board=tuple(chunk for _, chunk in found))
        watermark_ms = max((chunk.watermark_ms for _, chunk in found), default=NOTHING_MS)
        given: dict[str, Any] = {self._config.kind.part: tuple(found), "watermark_ms": watermark_ms}
        return Slice(**given)

    def _living_in(self, lanes: Iterable[Lane], partition: int) -> tuple[Lane, ...]:
        if self._config.kind is BOARD:
            return tuple(lanes)
        return tuple(lane for lane in lanes if partition_of(lane.token, self.total) == partition)

    def _read(self, part: Part) -> list[tuple[Lane, Chunk[Any]]]:
        state = self._all[part.partition]
        nouns = self._config.kind.nouns
        last, watermark = 0, Held("", -1, b"")
        for offset, value, headers in zip(part.offsets, part.values, part.headers, strict=True):
            where = f"{self.topic}/{part.partition}, offset {offset}"
            told = self._origin(where, headers)
            if told.run != self._config.run:
                self.passed_over += 1
                continue
            self._counted(where, state, told)
            if value is None:
                raise _broken(where, "it has no value")
            if told.noun in nouns:
                state.held.append(Held(told.noun, offset, value))
            elif told.noun == WATERMARK:
                last, watermark = len(state.held), Held(WATERMARK, offset, value)
                state.progress = Progress(state.number, state.progress.watermark_ms)
                state.mark = offset + 1
            else:
                self.passed_over += 1
        if not watermark.noun:
            return []
        due, state.held = state.held[:last], state.held[last:]
        watermarks = self._rows(part.partition, WATERMARK, [watermark]).rows
        assert isinstance(watermarks, Watermarks)
        reached_ms = int(watermarks.ts[0])
        if reached_ms < state.progress.watermark_ms:
            raise HoleError(
                f"{self.topic}/{part.partition}, offset {watermark.offset}: the watermark goes back from "
                f"{state.progress.watermark_ms} to {reached_ms}; {_CURE}"
            )
        state.progress = Progress(state.progress.number, reached_ms)
        return self._chunks(part.partition, state.lanes, due, reached_ms)

    def _origin(self, where: str, headers: Headers | None) -> Origin:
        try:
            return origin(headers)
        except (ValueError, UnicodeDecodeError) as error:
            raise _broken(where, str(error)) from error

    def _counted(self, where: str, state: _Partition, told: Origin) -> None:
        """Each number follows the one before it."""
        first_at_all = state.number == 0 and not self._config.from_start
        if told.number != state.number + 1 and not first_at_all:
            what = "doubled" if told.number <= state.number else "lost"
            raise HoleError(
                f"{where}: record {told.number} of run {told.run} follows record {state.number}, so records were "
                f"{what}; {_CURE}"
            )
        state.number = told.number

    def _chunks(
        self, partition: int, lanes: tuple[Lane, ...], due: Sequence[Held], reached_ms: int
    ) -> list[tuple[Lane, Chunk[Any]]]:
        """Rows of every lane that is read, and the watermark."""
        kind = self._config.kind
        parts: dict[Lane, list[Columns]] = {lane: [] for lane in lanes}
        for noun in sorted({record.noun for record in due}):
            decoded = self._rows(partition, noun, [record for record in due if record.noun == noun])
            for lane, rows in decoded.by_lane():
                self._at_home(partition, lane)
                if lane in parts:
                    parts[lane].append(rows)
                else:
                    self.passed_over += len(rows)
        return [(lane, Chunk(self._in_order(kind, found), reached_ms)) for lane, found in parts.items()]

    @staticmethod
    def _in_order(kind: Kind, parts: list[Columns]) -> Columns:
        """Warm-up rows, then the others; both by time, rows of one time as they came."""
        rows = kind.rows.concat(parts)
        if len(parts) < 2:
            return rows
        warm_up = getattr(rows, "history", np.zeros(len(rows), np.bool_))
        return rows.take(np.lexsort((kind.times(rows), ~warm_up)))

    def _at_home(self, partition: int, lane: Lane) -> None:
        if self._config.kind is not BOARD and partition_of(lane.token, self.total) != partition:
            raise ForeignPartitionError(
                f"{self.topic}/{partition} holds records of {lane}, which belong to partition "
                f"{partition_of(lane.token, self.total)} of {self.total}; {_CURE}"
            )

    def _rows(self, partition: int, noun: str, records: Sequence[Held]) -> "_Rows":
        """Decode records of one noun, whatever version each was written in."""
        values = [record.value for record in records]
        rows: list[tuple[int, Columns, list[Lane], I64]] = []
        for enveloped in self._envelopes.by_contract(values):
            contract, positions = enveloped.contract, enveloped.positions.tolist()
            where = f"{self.topic}/{partition}, offset {records[positions[0]].offset}"
            if contract is None or contract.name != MESSAGES[noun].schema:
                raise _broken(where, f"its header says {noun}, its value is {_named(contract)}")
            decoded = enveloped.decoded(noun)
            if decoded.faults:
                number, fault = decoded.faults[0]
                raise _broken(f"{self.topic}/{partition}, offset {records[positions[number]].offset}", fault)
            lanes = [] if noun == WATERMARK else [_lane(where, lane) for lane in decoded.lanes]
            rows.append((positions[0], decoded.rows, lanes, decoded.lane))
        return _Rows.of(sorted(rows, key=lambda part: part[0]))


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of a noun; `lane` counts through `lanes`."""

    rows: Columns
    lanes: list[Lane]
    lane: I64

    @classmethod
    def of(cls, parts: Sequence[tuple[int, Columns, list[Lane], I64]]) -> "_Rows":
        """Versions one after the other: a writer does not go back to an older one."""
        lanes = list(dict.fromkeys(lane for _, _, named, _ in parts for lane in named))
        numbers = {lane: number for number, lane in enumerate(lanes)}
        codes = [np.array([numbers[lane] for lane in named], np.int64)[lane] for _, _, named, lane in parts if named]
        rows = type(parts[0][1]).concat([part for _, part, _, _ in parts])
        return cls(rows, lanes, np.concatenate(codes) if codes else np.empty(0, np.int64))

    def by_lane(self) -> Iterator[tuple[Lane, Columns]]:
        """The rows of each lane, in their order."""
        order = np.argsort(self.lane, kind="stable")
        rows, ends = self.rows.take(order), np.cumsum(np.bincount(self.lane, minlength=len(self.lanes))).tolist()
        for lane, start, end in zip(self.lanes, [0, *ends], ends, strict=False):
            yield lane, rows.take(slice(start, end))


_CURE = (
    "do not go on: somebody else writes there, or records were deleted. Restore the topic, or give the deployment new "
    "topics (another prefix) and rebuild them from the input log"
)


def _broken(where: str, why: str) -> BrokenRecordError:
    return BrokenRecordError(f"{where}: {why}; {_CURE}")


def _named(contract: Contract | None) -> str:
    return "of no known schema" if contract is None else f"of schema {contract}"


def _lane(where: str, text: tuple[str, str, str]) -> Lane:
    token, venue, timeframe = text
    if timeframe not in set(Timeframe):
        raise _broken(where, f"'{timeframe[:20]}' is no timeframe")
    return Lane(token, venue, Timeframe(timeframe))
