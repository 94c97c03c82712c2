"""Candles of a venue mend the minutes that its stream missed (market-data.md 5.3, 9).

    minutes with ticks   --#--#--#-----#--#-->       #: real          a candle of the minute is
    connection records   ---------D====U----->       D: down, U: up     real, covered    refused
    candles              ------------------c->                          real, down       written down
                                                                        not real         written down

Rules
- A candle is judged at the first close after it was read and after its minute is over: at E + grace, where E is the
  end of a minute. What was read before that, and nothing else, counts: late ticks and connection records too.
- A minute is covered if no connection record says that a source of the series was down in it.
- A mended minute is written down beside the bar. It never re-enters the river: features saw what they saw.
- A candle says less than the one before it only if it is another one: the same content again is a duplicate. A record
  read again, at its own place in the log, changes nothing and is not reported.
"""

from dataclasses import dataclass, field, replace
from enum import IntEnum
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from lotus.bar import BarConfig, BarOutputs
from lotus.columns import F64, I8, I64, Columns, Flags, Kind, Objects, column
from lotus.intake import Link, ReadCandles, ReadConnections
from lotus.kernel import number
from lotus.minute import E8
from lotus.records import Rejects
from lotus.timeframe import MINUTE_MS

NOTHING_MS = -1


class Replaced(IntEnum):
    """What a candle of the venue stands in for (market-data.md 9)."""

    MISSING = 0  # no tick of the minute was read: a synthetic bar or none
    UNCOVERED = 1  # ticks were read, but the connection was down in a part of it


class Verdict(IntEnum):
    """What becomes of a candle; all but the first are reasons of a refusal, by their lower-case names."""

    ACCEPTED = 0
    MINUTE_COVERED = 1
    DUPLICATE = 2
    TOO_OLD = 3
    FUTURE = 4


@dataclass(frozen=True, slots=True)
class BarCandles(Columns):
    """A minute as the venue's candle has it, where the stream missed it; append-only, the newest of a minute stands.

    Feature flows never read it (market-data.md 9).
    """

    ts: I64 = column(Kind.TIME, "start of the minute")
    sequence: I64 = column(Kind.INT, "number of the candle of this minute, from 0")
    known_ts: I64 = column(Kind.TIME, "watermark at which it was taken: its event time")
    open: F64 = column(Kind.FLOAT, "first price", "quote")
    high: F64 = column(Kind.FLOAT, "highest price", "quote")
    low: F64 = column(Kind.FLOAT, "lowest price", "quote")
    close: F64 = column(Kind.FLOAT, "last price", "quote")
    volume: F64 = column(Kind.FLOAT, "traded value: volume_base * (high + low + close) / 3", "quote")
    volume_base: F64 = column(Kind.FLOAT, "traded amount", "base")
    volume_est: Flags = column(Kind.FLAG, "volume is estimated: always")
    trades: I64 = column(Kind.INT, "number of trades")
    replaces: I8 = column(Kind.ENUM, "what it stands in for", enum=Replaced)
    source: Objects = column(Kind.TEXT, "where it comes from")


@dataclass(frozen=True, slots=True)
class Patches:
    """What the input log says about the minutes of one series.

    candles, connections  in the order of the log
    watermark_ms          end of the last minute that W has closed: what was read before that is here; -1: none
    """

    candles: ReadCandles = field(default_factory=ReadCandles.empty)
    connections: ReadConnections = field(default_factory=ReadConnections.empty)
    watermark_ms: int = NOTHING_MS


class Taken(NamedTuple):
    """The last candle taken of a minute: its number, from 0, and a hash of its content."""

    sequence: int
    content: int


@dataclass(frozen=True, slots=True)
class Covering:
    """Which minutes were covered.

    down       sources that are down, and since when, ms UTC
    uncovered  [first minute, end) of what is over, in minutes since the epoch; disjoint, oldest first
    """

    down: tuple[tuple[str, int], ...] = ()
    uncovered: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class MendState:
    """What lives between batches.

    bars_ms, log_ms  how far minutes and patches are complete
    candle, link     place in the log of the last candle and connection record read
    first, real      bit i of `real`: minute number first + i has ticks; first is -1 before the first of them
    late             (read at, minute): minutes that only late ticks made real, not yet judged by
    candles, links   records whose time has not come
    taken            by minute number
    """

    bars_ms: int = NOTHING_MS
    log_ms: int = NOTHING_MS
    candle: int = -1
    link: int = -1
    first: int = -1
    real: int = 0
    late: tuple[tuple[int, int], ...] = ()
    candles: ReadCandles = field(default_factory=ReadCandles.empty)
    links: ReadConnections = field(default_factory=ReadConnections.empty)
    covering: Covering = Covering()
    taken: dict[int, Taken] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MendOutputs:
    """Mended minutes and refused candles, in the order in which they were judged."""

    candles: BarCandles
    rejects: Rejects


@dataclass(frozen=True)
class MendConfig:
    """How far back a minute may be mended, and what the rows are called."""

    bar: BarConfig = BarConfig()
    reach_minutes: int = number(5_000, "market-data.md 2.4", "minutes")
    source: str = number("hl_candle", "market-data.md 9")

    def __post_init__(self) -> None:
        """Check that any minute can be mended."""
        if self.reach_minutes < 1:
            raise ValueError(f"reach_minutes must be at least 1, got {self.reach_minutes}")


def step(
    config: MendConfig, state: MendState | None, arrivals: tuple[BarOutputs | Patches, ...]
) -> tuple[MendState, MendOutputs]:
    """Judge every candle whose time has come; arrivals in any interleaving, each kind in its own order."""
    state = state or MendState()
    for arrival in arrivals:
        state = _patched(state, arrival) if isinstance(arrival, Patches) else _grown(state, arrival)
    edge_ms = min(state.bars_ms, state.log_ms)
    if edge_ms < 0 or not (len(state.candles) or len(state.links) or state.late):
        return _pruned(config, state, edge_ms), _nothing()
    due_ms = _due_ms(config, state.candles)
    ready = np.flatnonzero(due_ms <= edge_ms)
    ready = ready[np.argsort(due_ms[ready], kind="stable")]
    bench = _Bench(config, state)
    for row in ready.tolist():
        bench.advance(int(due_ms[row]))
        bench.judge(row, int(due_ms[row]))
    bench.advance(edge_ms)
    following = replace(bench.state(), candles=state.candles.take(due_ms > edge_ms))
    return _pruned(config, following, edge_ms), bench.outputs(ready)


def _patched(state: MendState, patches: Patches) -> MendState:
    """Take in what is new of the log."""
    state = replace(state, log_ms=max(state.log_ms, patches.watermark_ms))
    if not (len(patches.candles) or len(patches.connections)):
        return state
    candles = patches.candles.take(patches.candles.position > state.candle)
    links = patches.connections.take(patches.connections.position > state.link)
    if len(candles):
        joined = ReadCandles.concat([state.candles, candles])
        state = replace(state, candles=joined, candle=int(candles.position[-1]))
    if len(links):
        joined_links = ReadConnections.concat([state.links, links])
        state = replace(state, links=joined_links, link=int(links.position[-1]))
    return state


def _grown(state: MendState, minutes: BarOutputs) -> MendState:
    """Take in minutes with ticks; what late ticks made of a minute counts from when they were read."""
    bars, revisions = minutes.bars, minutes.revisions
    state = _marked(replace(state, bars_ms=max(state.bars_ms, bars.watermark_ms)), bars.rows.ts // MINUTE_MS)
    if not len(revisions):
        return state
    late = {minute: known_ms for known_ms, minute in state.late}
    for known_ms, ts in zip(revisions.known_ts.tolist(), revisions.ts.tolist(), strict=True):
        minute = ts // MINUTE_MS
        if not _is_real(state, minute):
            late[minute] = min(known_ms, late.get(minute, known_ms))
    return replace(state, late=tuple(sorted((known_ms, minute) for minute, known_ms in late.items())))


def _marked(state: MendState, minutes: I64) -> MendState:
    """Minutes that are real; ascending."""
    if not len(minutes):
        return state
    first = int(minutes[0]) if state.first < 0 else min(state.first, int(minutes[0]))
    bits = np.zeros(int(minutes[-1]) - first + 1, np.uint8)
    bits[minutes - first] = 1
    found = int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little")
    before = state.real << (state.first - first) if state.real else 0
    return replace(state, first=first, real=before | found)


def _is_real(state: MendState, minute: int) -> bool:
    return minute >= state.first >= 0 and bool(state.real >> (minute - state.first) & 1)


def _due_ms(config: MendConfig, candles: ReadCandles) -> I64:
    """The end of the minute at whose close each candle is judged; of a minute that had not begun, the next close."""
    closes_ms: I64 = (candles.read_ts - config.bar.grace_ms) // MINUTE_MS * MINUTE_MS + MINUTE_MS
    early = candles.ts > candles.read_ts + config.bar.future_ms
    due_ms: I64 = np.where(early, closes_ms, np.maximum(candles.ts + MINUTE_MS, closes_ms))
    return due_ms


def _pruned(config: MendConfig, state: MendState, edge_ms: int) -> MendState:
    """Forget minutes that no candle can mend any more."""
    oldest = edge_ms // MINUTE_MS - config.reach_minutes
    if edge_ms < 0:
        return state
    if 0 <= state.first < oldest:
        state = replace(state, first=oldest, real=state.real >> (oldest - state.first))
    if state.covering.uncovered and state.covering.uncovered[0][1] <= oldest:
        left = tuple(span for span in state.covering.uncovered if span[1] > oldest)
        state = replace(state, covering=replace(state.covering, uncovered=left))
    if state.taken and min(state.taken) < oldest:
        state = replace(state, taken={minute: one for minute, one in state.taken.items() if minute >= oldest})
    return state


def _nothing() -> MendOutputs:
    return MendOutputs(BarCandles.empty(), Rejects.empty())


class _Bench:
    """The working copy of a step that has something to judge."""

    def __init__(self, config: MendConfig, state: MendState) -> None:
        self._config, self._state = config, state
        self._links, self._candles = state.links, state.candles
        self._links_ms = (self._links.read_ts - config.bar.grace_ms) // MINUTE_MS * MINUTE_MS + MINUTE_MS
        self._heard = 0
        self._taken = dict(state.taken)
        self._verdicts: list[Verdict] = []
        self._accepted: list[tuple[int, int, int, Replaced]] = []  # row, sequence, event time, what for

    def state(self) -> MendState:
        """The state without the candles."""
        return replace(self._state, links=self._links.take(slice(self._heard, None)), taken=self._taken)

    def advance(self, edge_ms: int) -> None:
        """Hear of all that was read before the minute that ends at `edge_ms` was closed."""
        state = self._state
        due = [minute for read_ms, minute in state.late if read_ms < edge_ms + self._config.bar.grace_ms]
        if due:
            state = replace(state, late=state.late[len(due) :])
            state = _marked(state, np.array(sorted(due), np.int64))
        heard = int(np.searchsorted(self._links_ms, edge_ms, side="right"))
        if heard > self._heard:
            rows = self._links.take(slice(self._heard, heard))
            state, self._heard = replace(state, covering=_covered(state.covering, rows)), heard
        self._state = state

    def judge(self, row: int, edge_ms: int) -> None:
        """Accept or refuse one candle."""
        candles = self._candles
        ts, read_ms = int(candles.ts[row]), int(candles.read_ts[row])
        minute = ts // MINUTE_MS
        real = _is_real(self._state, minute)
        content = _content(candles, row)
        before = self._taken.get(minute)
        if ts > read_ms + self._config.bar.future_ms:
            verdict = Verdict.FUTURE
        elif minute < edge_ms // MINUTE_MS - self._config.reach_minutes:
            verdict = Verdict.TOO_OLD
        elif real and not _is_down(self._state.covering, minute):
            verdict = Verdict.MINUTE_COVERED
        elif before is not None and before.content == content:
            verdict = Verdict.DUPLICATE
        else:
            verdict = Verdict.ACCEPTED
            sequence = before.sequence + 1 if before is not None else 0
            self._taken[minute] = Taken(sequence, content)
            replaced = Replaced.UNCOVERED if real else Replaced.MISSING
            self._accepted.append((row, sequence, edge_ms + self._config.bar.grace_ms, replaced))
        self._verdicts.append(verdict)

    def outputs(self, judged: I64) -> MendOutputs:
        """Rows of all that was judged, in this order."""
        refused = np.array([verdict is not Verdict.ACCEPTED for verdict in self._verdicts], np.bool_)
        rejects = self._candles.take(judged[refused])
        reasons = [verdict.name.lower() for verdict in self._verdicts if verdict is not Verdict.ACCEPTED]
        return MendOutputs(self._mended(), Rejects(rejects.position, rejects.ts, np.array(reasons, np.object_)))

    def _mended(self) -> BarCandles:
        if not self._accepted:
            return BarCandles.empty()
        rows, sequences, known_ms, replaced = (
            np.array(values, np.int64) for values in zip(*self._accepted, strict=True)
        )
        candles = self._candles.take(rows)
        high, low, close = (_doubles(column) for column in (candles.high_e8, candles.low_e8, candles.close_e8))
        base = _doubles(candles.size_e8)
        return BarCandles(
            ts=candles.ts,
            sequence=sequences,
            known_ts=known_ms,
            open=_doubles(candles.open_e8),
            high=high,
            low=low,
            close=close,
            volume=base * (high + low + close) / 3,
            volume_base=base,
            volume_est=np.ones(len(rows), np.bool_),
            trades=candles.trades,
            replaces=replaced.astype(np.int8),
            source=np.array([self._config.source] * len(rows), np.object_),
        )


def _doubles(exact_e8: I64) -> F64:
    """Integers in units of 1e-8 as doubles; dividing Python integers rounds correctly whatever their size."""
    return np.array([value / E8 for value in exact_e8.tolist()], np.float64)


def _covered(covering: Covering, links: ReadConnections) -> Covering:
    """Hear connection records. A source that is released is not down any more: nobody waits for it."""
    down, uncovered = dict(covering.down), list(covering.uncovered)
    for ts, source, state in zip(links.ts.tolist(), links.source.tolist(), links.state.tolist(), strict=True):
        if state == Link.DOWN:
            down[source] = min(ts, down.get(source, ts))
        elif source in down:
            since_ms = down.pop(source)
            if ts > since_ms:
                uncovered.append((since_ms // MINUTE_MS, -(-ts // MINUTE_MS)))
    return Covering(tuple(sorted(down.items())), _disjoint(uncovered))


def _disjoint(spans: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    joined: list[tuple[int, int]] = []
    for first, end in sorted(spans):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((first, end))
    return tuple(joined)


def _is_down(covering: Covering, minute: int) -> bool:
    """Whether any source was down in a part of the minute."""
    end_ms = (minute + 1) * MINUTE_MS
    if any(since_ms < end_ms for _, since_ms in covering.down):
        return True
    return any(first <= minute < end for first, end in covering.uncovered)


def _content(candles: ReadCandles, row: int) -> int:
    """A hash of what a candle says about its minute."""
    said = (
        candles.open_e8[row], candles.high_e8[row], candles.low_e8[row], candles.close_e8[row],
        candles.size_e8[row], candles.trades[row],
    )  # fmt: skip
    return int.from_bytes(blake2b(np.array(said, np.int64).tobytes(), digest_size=8).digest(), "little")
