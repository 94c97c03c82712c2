"""Trades and heartbeats of one (venue, token) become 1-minute bars (market-data.md 4, 5; replay.md 2, 3).

                  read before?  duplicate?  future?  too late?
    tick ------------>|------------>|---------->|-------->|---> minute m, by the watermark W:
                   nothing       reject      reject    reject
                                                                OPEN     W < m + 60 s + grace      counted
    heartbeat ------> W = the latest clock                      CLOSED   W < m + 60 s + late       a revision
                      closes and seals minutes                  SEALED   afterwards                too late

Rules
- Only heartbeats move W. A minute is emitted once, when W reaches its end plus the grace, and only if it has a tick;
  `lotus/grid.py` decides the missing ones. Before the first heartbeat nothing is late and nothing is future.
- Ticks of a minute are ordered by (ts, seq, trade_id), so any order of arrival gives the same bar. Sums are exact:
  128-bit integers, converted to double once, correctly rounded.
- A duplicate is the same (ts, trade_id); the smallest seq stays. A row read again is the same (ts, trade_id, seq): it
  is not a duplicate, it changes nothing and is not reported.
- The journal holds every row of the last `dedupe_ms` of the watermark. An older row with a seq from before the journal
  counts as read again.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lotus import minute as building
from lotus.columns import I8, I64, Flags
from lotus.compiled import compiled
from lotus.journal import (
    BARS,
    BEFORE_ALL,
    COUNT,
    CURSOR_WIDTH,
    FATE,
    FORGOTTEN,
    HEAD,
    LIVE,
    NONE,
    OPENED,
    PRICE,
    READ,
    REJECTS,
    REVISIONS,
    SEEN,
    SEQ,
    SIZE,
    TAIL,
    TICK_WIDTH,
    TS,
    WATERMARK,
    append,
    doubled,
    forget,
    indexed,
    is_newest,
    rolled,
    twin,
    unrolled,
)
from lotus.kernel import NEVER_MS, Chunk, number
from lotus.minute import CLOSED, KNOWN, MINUTE, MINUTE_WIDTH, PUBLISHED, REV, TRADES, add, clear, copy
from lotus.readonly import readonly
from lotus.records import BarRevisions, Bars, Rejects, Ticks
from lotus.timeframe import MINUTE_MS


class Fate(IntEnum):
    """What became of a tick; all but the first are reasons of a reject, by their lower-case names."""

    ACCEPTED = 0
    DUPLICATE = 1
    FUTURE = 2
    TOO_LATE = 3
    NOT_POSITIVE = 4
    TOO_LARGE = 5


ACCEPTED, DUPLICATE, FUTURE, TOO_LATE, NOT_POSITIVE, TOO_LARGE = (int(fate) for fate in Fate)
REASONS = np.array([fate.name.lower() for fate in Fate], np.object_)
VALUE_MAX_E16 = 2.0**100  # a trade of 1e14 quote; 2**27 of them in a minute still fit into 128 bits


@dataclass(frozen=True, slots=True)
class BarState:
    """What lives between batches.

    watermark_ms   latest heartbeat, ms UTC; -1 before the first
    forgotten_seq  largest seq that has left the journal
    journal        int64[rows, 8], the ticks read during the last `dedupe_ms`
    minutes        int64[k, 21], the minutes that are not sealed, oldest first
    """

    watermark_ms: int
    forgotten_seq: int
    journal: I64
    minutes: I64


@dataclass(frozen=True, slots=True)
class BarOutputs:
    """Bars of revision 0 with the time up to which all minutes are closed; corrections; refused ticks."""

    bars: Chunk[Bars]
    revisions: BarRevisions
    rejects: Rejects


@dataclass(frozen=True)
class BarConfig:
    """When a minute closes and what a tick may be; all in milliseconds of event time, after the minute's end."""

    grace_ms: int = number(5_000, "market-data.md 5.2", "ms")
    late_ms: int = number(75_000, "market-data.md 5.2, TICK_BUFFER_SEC", "ms")
    future_ms: int = number(5_000, "market-data.md 4", "ms")
    dedupe_ms: int = number(180_000, "market-data.md 4", "ms")

    def __post_init__(self) -> None:
        """Check that a minute is closed before it is sealed and remembered longer than both."""
        if not 0 <= self.grace_ms <= self.late_ms:
            raise ValueError(f"grace_ms must lie in 0..late_ms, got {self.grace_ms} and {self.late_ms}")
        if self.future_ms < 0:
            raise ValueError(f"future_ms must not be negative, got {self.future_ms}")
        if self.dedupe_ms < MINUTE_MS + self.late_ms:
            raise ValueError(f"dedupe_ms must cover a minute and late_ms, got {self.dedupe_ms}")


class Limits(NamedTuple):
    """The same for the loop: distances from a minute's start, or from the watermark."""

    close_ms: int
    seal_ms: int
    future_ms: int
    keep_ms: int


@lru_cache
def _limits(config: BarConfig) -> Limits:
    return Limits(
        close_ms=MINUTE_MS + config.grace_ms,
        seal_ms=MINUTE_MS + config.late_ms,
        future_ms=config.future_ms,
        keep_ms=config.dedupe_ms + config.future_ms,
    )


def step(config: BarConfig, state: BarState | None, chunk: Chunk[Ticks]) -> tuple[BarState, BarOutputs]:
    """Advance by ticks and heartbeats in the order of arrival.

    The clock is in the heartbeats, so the chunk's own watermark is not read. The watermark of the bars is the end of
    the last minute that W has closed, -1 before the first heartbeat.
    """
    state = state or BarState(
        -1, BEFORE_ALL, np.empty((0, TICK_WIDTH), np.int64), np.empty((0, MINUTE_WIDTH), np.int64)
    )
    ticks = chunk.rows
    cursor = np.zeros(CURSOR_WIDTH, np.int64)
    cursor[WATERMARK], cursor[FORGOTTEN] = state.watermark_ms, state.forgotten_seq
    journal, minutes, bars, revisions, rejects = _read(
        readonly(ticks.ts), readonly(ticks.heartbeat), readonly(ticks.price_e8), readonly(ticks.size_e8),
        readonly(ticks.side), readonly(ticks.seq), readonly(ticks.trade_id),
        readonly(state.journal), readonly(state.minutes), cursor, *_limits(config),
    )  # fmt: skip
    watermark_ms = int(cursor[WATERMARK])
    following = BarState(watermark_ms, int(cursor[FORGOTTEN]), journal, minutes)
    closed_ms = (watermark_ms - config.grace_ms) // MINUTE_MS * MINUTE_MS
    last_ms = chunk.last_ms if chunk.last_ms >= NEVER_MS else (chunk.last_ms // MINUTE_MS + 1) * MINUTE_MS
    return following, BarOutputs(
        bars=Chunk(building.bars(bars), max(closed_ms, -1), last_ms),
        revisions=building.revisions(revisions),
        rejects=_rejects(rejects),
    )


def _rejects(rows: I64) -> Rejects:
    if not len(rows):
        return Rejects.empty()
    return Rejects(position=rows[:, 0].copy(), ts=rows[:, 1].copy(), reason=REASONS[rows[:, 2]])


@compiled
def _read(
    ts: I64, heartbeat: Flags, price: I64, size: I64, side: I8, seq: I64, trade_id: I64,
    journal: I64, minutes_before: I64, at: I64, close_ms: int, seal_ms: int, future_ms: int, keep_ms: int,
) -> tuple[I64, I64, I64, I64, I64]:  # fmt: skip
    """Read all rows; `at` is where the loop stands, updated in place. The limits come one by one: that is quicker."""
    limits = Limits(close_ms, seal_ms, future_ms, keep_ms)
    room, corrections = _bounds(ts, heartbeat, at[WATERMARK], limits)
    minutes = np.empty((len(minutes_before) + room, MINUTE_WIDTH), np.int64)
    minutes[: len(minutes_before)] = minutes_before
    at[COUNT] = len(minutes_before)
    while at[OPENED] < at[COUNT] and minutes[at[OPENED], CLOSED] == 1:
        at[OPENED] += 1
    ring = unrolled(journal, at)
    bars = np.empty((len(minutes), MINUTE_WIDTH), np.int64)
    revisions = np.empty((corrections, MINUTE_WIDTH), np.int64)
    rejects = np.empty((len(ts), 3), np.int64)
    slots = np.empty(0, np.int64)
    i = -1
    while True:
        i = _usual(i + 1, ts, heartbeat, price, size, side, seq, trade_id, ring, minutes, at, limits)
        if i == len(ts):
            break
        if heartbeat[i]:
            if ts[i] > at[WATERMARK]:
                _beat(ts[i], ring, minutes, bars, at, limits)
            continue
        if seq[i] <= at[FORGOTTEN]:
            continue
        other = NONE
        if not is_newest(ts[i], trade_id[i], at):
            slots = indexed(slots, ring, at)
            other = twin(slots, ring, at, ts[i], trade_id[i], seq[i])
            if other == SEEN:
                continue
        if at[TAIL] - at[HEAD] == len(ring):
            ring = doubled(ring, at)
        place = append(ring, ts[i], trade_id[i], seq[i], price[i], size[i], side[i], at)
        ring[place, FATE] = _fate(ring, place, other, at[WATERMARK], limits)
        if ring[place, FATE] != ACCEPTED:
            _reject(ring, place, rejects, at)
        elif other == NONE:
            _count(ring, place, minutes, revisions, at, limits)
        else:
            _swap(ring, place, other & (len(ring) - 1), minutes, revisions, rejects, at)
    alive = minutes[at[LIVE] : at[COUNT]].copy()
    return rolled(ring, at), alive, bars[: at[BARS]], revisions[: at[REVISIONS]], rejects[: at[REJECTS]]


@compiled
def _usual(
    start: int, ts: I64, heartbeat: Flags, price: I64, size: I64, side: I8, seq: I64, trade_id: I64,
    ring: I64, minutes: I64, at: I64, limits: Limits,
) -> int:  # fmt: skip
    """Read rows while they are usual; returns the first that is not.

    Usual is a heartbeat that neither closes nor seals, and the newest tick, of the latest minute, as long as the ring
    has room. `_read` would do the same with them in three times the time.
    """
    minute, due = np.int64(BEFORE_ALL), np.int64(BEFORE_ALL)
    if at[WATERMARK] >= 0 and at[COUNT] > at[OPENED]:
        minute = minutes[at[COUNT] - 1, MINUTE]
        due = minutes[at[OPENED], MINUTE] + limits.close_ms
        if at[LIVE] < at[OPENED]:
            due = min(due, minutes[at[LIVE], MINUTE] + limits.seal_ms)
    for i in range(start, len(ts)):
        if heartbeat[i]:
            if ts[i] >= due:
                return i
            at[WATERMARK] = max(at[WATERMARK], ts[i])
            forget(ring, at[WATERMARK] - limits.keep_ms, at)
            continue
        if not minute <= ts[i] < minute + MINUTE_MS or ts[i] > at[WATERMARK] + limits.future_ms:
            return i
        if seq[i] <= at[FORGOTTEN] or at[TAIL] - at[HEAD] == len(ring):
            return i
        if price[i] <= 0 or size[i] <= 0 or float(price[i]) * float(size[i]) > VALUE_MAX_E16:
            return i
        if not is_newest(ts[i], trade_id[i], at):
            return i
        place = append(ring, ts[i], trade_id[i], seq[i], price[i], size[i], side[i], at)
        ring[place, FATE] = ACCEPTED
        add(minutes, at[COUNT] - 1, ring, place)
    return len(ts)


@compiled
def _bounds(ts: I64, heartbeat: Flags, watermark: int, limits: Limits) -> tuple[int, int]:
    """How many minutes these rows may open and how many revisions they may cause, at most."""
    minutes, corrections, minute = 0, 0, np.int64(BEFORE_ALL)
    for i in range(len(ts)):
        if heartbeat[i]:
            watermark = max(watermark, ts[i])
            continue
        if not minute <= ts[i] < minute + MINUTE_MS:
            minute = ts[i] // MINUTE_MS * MINUTE_MS
            minutes += 1
        if watermark >= minute + limits.close_ms:
            corrections += 1
    return minutes, corrections


@compiled
def _beat(clock: int, ring: I64, minutes: I64, bars: I64, at: I64, limits: Limits) -> None:
    """Move the watermark: close and seal minutes, forget ticks that are too old to matter."""
    if at[WATERMARK] < 0:
        for t in range(at[HEAD], at[TAIL]):
            ring[t & (len(ring) - 1), READ] = clock  # read before any clock: remembered from the first one on
    at[WATERMARK] = clock
    while at[OPENED] < at[COUNT] and minutes[at[OPENED], MINUTE] + limits.close_ms <= clock:
        minutes[at[OPENED], CLOSED] = 1
        copy(minutes, at[OPENED], bars, at[BARS])
        at[BARS] += 1
        at[OPENED] += 1
    while at[LIVE] < at[OPENED] and minutes[at[LIVE], MINUTE] + limits.seal_ms <= clock:
        at[LIVE] += 1
    forget(ring, clock - limits.keep_ms, at)


@compiled
def _fate(ring: I64, place: int, other: int, watermark: int, limits: Limits) -> int:
    """Accepted or not; of two twins the smaller seq, as long as their minute can still change."""
    ts = ring[place, TS]
    sealed = ts // MINUTE_MS * MINUTE_MS + limits.seal_ms <= watermark
    if ring[place, PRICE] <= 0 or ring[place, SIZE] <= 0:
        return NOT_POSITIVE
    if float(ring[place, PRICE]) * float(ring[place, SIZE]) > VALUE_MAX_E16:
        return TOO_LARGE
    if other != NONE:
        earlier = ring[place, SEQ] < ring[other & (len(ring) - 1), SEQ]
        return ACCEPTED if earlier and not sealed else DUPLICATE
    if watermark >= 0 and ts > watermark + limits.future_ms:
        return FUTURE
    return TOO_LATE if sealed else ACCEPTED


@compiled
def _reject(ring: I64, place: int, rejects: I64, at: I64) -> None:
    k = at[REJECTS]
    rejects[k, 0], rejects[k, 1], rejects[k, 2] = ring[place, SEQ], ring[place, TS], ring[place, FATE]
    at[REJECTS] += 1


@compiled
def _count(ring: I64, place: int, minutes: I64, revisions: I64, at: I64, limits: Limits) -> None:
    """Add an accepted tick to its minute; a closed minute is corrected."""
    start = ring[place, TS] // MINUTE_MS * MINUTE_MS
    k = _find(minutes, at, start)
    if k == at[COUNT] or minutes[k, MINUTE] != start:
        for later in range(at[COUNT], k, -1):
            copy(minutes, later - 1, minutes, later)
        clear(minutes, k, start)
        at[COUNT] += 1
        if at[WATERMARK] >= start + limits.close_ms:
            minutes[k, CLOSED] = 1
            at[OPENED] += 1
    add(minutes, k, ring, place)
    _correct(minutes, k, revisions, at)


@compiled
def _find(minutes: I64, at: I64, start: int) -> int:
    """Position of the minute among those that are not sealed, or the one where it belongs."""
    k = int(at[COUNT])
    while k > at[LIVE] and minutes[k - 1, MINUTE] >= start:
        k -= 1
    return k


@compiled
def _correct(minutes: I64, k: int, revisions: I64, at: I64) -> None:
    if minutes[k, CLOSED] == 1:
        minutes[k, REV] += 1
        minutes[k, KNOWN] = at[WATERMARK]
        copy(minutes, k, revisions, at[REVISIONS])
        at[REVISIONS] += 1


@compiled
def _swap(ring: I64, place: int, other: int, minutes: I64, revisions: I64, rejects: I64, at: I64) -> None:
    """A twin with a smaller seq came later: it stays, the other one is the duplicate, the minute is summed anew."""
    ring[other, FATE] = DUPLICATE
    _reject(ring, other, rejects, at)
    start = ring[place, TS] // MINUTE_MS * MINUTE_MS
    k = _find(minutes, at, start)
    before = minutes[k].copy()
    minutes[k, TRADES] = 0
    for t in range(at[HEAD], at[TAIL]):
        row = t & (len(ring) - 1)
        if ring[row, FATE] == ACCEPTED and start <= ring[row, TS] < start + MINUTE_MS:
            add(minutes, k, ring, row)
    for field in PUBLISHED:
        if before[field] != minutes[k, field]:
            _correct(minutes, k, revisions, at)
            break
