"""Members' bars become the bar of their chained equal-weight index (posture.md 6.4, replay.md 5).

    member A   R  R  R  S  G  R        r_X = mean over members of ln(X_i(t) / close_i(t-1)), X = open, high, low, close
    member B   .  R  R  R  R  R        X_index(t) = I(t-1) * exp(r_X),   I(t) = close of the index,   I(0) = 100
    member C   R  R  S  R  R  R
    index      .  x  x  x  .  x        (minimum 2)

Rules
- A member counts at t if the roster of that time names it and it has a record, real or synthetic, at t-1 and at t. The
  bar is real if at least `minimum` of the members that count are real at t; otherwise nothing is emitted and the level
  is held.
- Tokens meet by event time: a bucket is formed when every token that the roster ever names has passed its end. Means
  and sums run over the members in the order of their names. So neither arrival nor batches leave a trace. A series'
  history therefore has to be in its first chunk.
- The index is history where every member that counts is. `lotus/grid.py` runs behind it.
"""

from dataclasses import dataclass
from itertools import accumulate
from math import exp, log

import numpy as np

from lotus.columns import ABSENT, F64, I8, I64, Flags
from lotus.compiled import compiled
from lotus.kernel import NEVER_MS, Chunk, number, once
from lotus.readonly import readonly
from lotus.records import BarKind, Bars
from lotus.rollup import fresh
from lotus.timeframe import Timeframe

BASE_LEVEL = 100.0
REAL, GAP = int(BarKind.REAL), int(BarKind.GAP)

# Columns of the index, as the loop writes them.
OPEN, HIGH, LOW, CLOSE, VOLUME = range(5)
TS, PRESENT, NAMED, ESTIMATED, HISTORY = range(5)


@dataclass(frozen=True)
class Roster:
    """The members for buckets that begin at or after `since_ms`, until the next roster."""

    since_ms: int
    tokens: tuple[str, ...]


@dataclass(frozen=True)
class BasketConfig:
    """An index: its name, its timeframe, how many members it needs, who they are at what time (oldest first)."""

    name: str
    timeframe: Timeframe
    minimum: int = number(5, "posture.md 6.4", "members")
    roster: tuple[Roster, ...] = ()

    def __post_init__(self) -> None:
        """Check that a bar needs a member and that the rosters follow each other."""
        if self.minimum < 1:
            raise ValueError(f"minimum must be at least 1, got {self.minimum}")
        since = [entry.since_ms for entry in self.roster]
        if not since or since != sorted(set(since)):
            raise ValueError(f"roster must hold ascending since_ms, got {since}")


@dataclass(frozen=True, slots=True)
class BasketState:
    """What lives between batches; arrays are one entry per token, in the order of the names.

    level          close of the last index bar
    watermark_ms   int64[m], up to where each token is complete
    last_ms        int64[m], end of each token's series
    close          float64[m], close of the last record used, NaN if that is a gap or there is none
    used_ts        int64[m], start of that record
    waiting        records that some other token has not passed yet
    """

    level: float
    watermark_ms: I64
    last_ms: I64
    close: F64
    used_ts: I64
    waiting: tuple[Bars, ...]


@dataclass(frozen=True, slots=True)
class Membership:
    """The rosters as arrays: all tokens by name, since int64[r], is_member bool[r, m]."""

    tokens: tuple[str, ...]
    since_ms: I64
    is_member: Flags


def step(
    config: BasketConfig, state: BasketState | None, arrivals: tuple[tuple[str, Chunk[Bars]], ...]
) -> tuple[BasketState, Chunk[Bars]]:
    """Advance by grid records of members, history included; tokens that no roster names are ignored.

    A token may be absent from a batch; until its first chunk nothing is formed. The watermark of the index is the
    smallest of the tokens', its end the latest of theirs.
    """
    members = _membership(config)
    state = state or _nothing(len(members.tokens))
    state = _received(state, members.tokens, config.timeframe.ms, arrivals)
    complete_ms = int(state.watermark_ms.min())
    ready = tuple(_complete(rows, complete_ms - config.timeframe.ms) for rows in state.waiting)
    last_ms = int(state.last_ms.max())
    if not any(ready):
        return state, Chunk(Bars.empty(), complete_ms, last_ms)
    level, close, used_ts, bars = _formed(config, members, state, ready)
    waiting = tuple(_after(rows, count) for rows, count in zip(state.waiting, ready, strict=True))
    following = BasketState(level, state.watermark_ms, state.last_ms, close, used_ts, waiting)
    return following, Chunk(bars, complete_ms, last_ms)


@once
def _membership(config: BasketConfig) -> Membership:
    tokens = tuple(sorted({token for entry in config.roster for token in entry.tokens}))
    is_member = np.array([[token in entry.tokens for token in tokens] for entry in config.roster], np.bool_)
    return Membership(tokens, np.array([entry.since_ms for entry in config.roster], np.int64), is_member)


def _nothing(count: int) -> BasketState:
    unknown = np.full(count, -1, np.int64)
    return BasketState(
        level=BASE_LEVEL,
        watermark_ms=unknown,
        last_ms=np.full(count, NEVER_MS, np.int64),
        close=np.full(count, np.nan),
        used_ts=unknown,
        waiting=(Bars.empty(),) * count,
    )


def _received(
    state: BasketState, tokens: tuple[str, ...], span_ms: int, arrivals: tuple[tuple[str, Chunk[Bars]], ...]
) -> BasketState:
    """The state with new records queued.

    One that is not after the last of its token, or that its token's watermark has passed, was seen before.
    """
    at = {token: i for i, token in enumerate(tokens)}
    watermark_ms, last_ms, waiting = state.watermark_ms.copy(), state.last_ms.copy(), list(state.waiting)
    for token, chunk in arrivals:
        i = at.get(token, -1)
        if i < 0:
            continue
        newest = int(waiting[i].ts[-1]) if len(waiting[i]) else int(state.used_ts[i])
        rows = fresh(chunk.rows, max(newest, int(watermark_ms[i]) - span_ms))
        if len(rows):
            waiting[i] = Bars.concat([waiting[i], rows]) if len(waiting[i]) else rows
        watermark_ms[i] = max(watermark_ms[i], chunk.watermark_ms)
        last_ms[i] = chunk.last_ms
    return BasketState(state.level, watermark_ms, last_ms, state.close, state.used_ts, tuple(waiting))


def _complete(rows: Bars, begin_ms: int) -> int:
    """Number of records that begin at or before a time."""
    return int(np.searchsorted(rows.ts, begin_ms, side="right")) if len(rows) else 0


def _before(rows: Bars, count: int) -> Bars:
    return rows if count == len(rows) else rows.take(slice(0, count))


def _after(rows: Bars, count: int) -> Bars:
    return Bars.empty() if count == len(rows) else rows.take(slice(count, None))


def _formed(
    config: BasketConfig, members: Membership, state: BasketState, ready: tuple[int, ...]
) -> tuple[float, F64, I64, Bars]:
    """Use the ready records of all members: level, each member's last close and time, the index bars."""
    offsets = np.array([0, *accumulate(ready)], np.int64)
    rows = Bars.concat([_before(part, count) for part, count in zip(state.waiting, ready, strict=True) if count])
    close, used_ts = state.close.copy(), state.used_ts.copy()
    buckets = int(rows.ts.max() - rows.ts.min()) // config.timeframe.ms + 1
    prices = np.empty((min(buckets, len(rows)), 5))
    facts = np.empty((len(prices), 5), np.int64)
    count, level = _chain(
        offsets, readonly(rows.ts), readonly(rows.kind), readonly(rows.open), readonly(rows.high), readonly(rows.low),
        readonly(rows.close), readonly(rows.volume), readonly(rows.volume_est), readonly(rows.history),
        readonly(members.since_ms), readonly(members.is_member), config.timeframe.ms, config.minimum,
        state.level, close, used_ts, prices, facts,
    )  # fmt: skip
    return level, close, used_ts, _bars(prices[:count], facts[:count])


@compiled
def _chain(
    offsets: I64, ts: I64, kind: I8, open_: F64, high: F64, low: F64, close: F64, volume: F64, estimated: Flags,
    history: Flags, since: I64, is_member: Flags, span_ms: int, minimum: int, level: float,
    last_close: F64, used_ts: I64, prices: F64, facts: I64,
) -> tuple[int, float]:  # fmt: skip
    """Walk through the buckets in order of time; member i owns the rows offsets[i] .. offsets[i + 1] - 1."""
    cursor, count, epoch = offsets[:-1].copy(), 0, -1
    t = _earliest(offsets, cursor, ts)
    while t < NEVER_MS:
        while epoch + 1 < len(since) and since[epoch + 1] <= t:
            epoch += 1
        r_open, r_high, r_low, r_close, traded = 0.0, 0.0, 0.0, 0.0, 0.0
        counted, real, any_estimated, all_history = 0, 0, False, True
        for i in range(len(cursor)):
            k = cursor[i]
            if k == offsets[i + 1] or ts[k] != t:
                continue
            cursor[i] += 1
            before, is_next = last_close[i], used_ts[i] == t - span_ms
            used_ts[i], last_close[i] = t, np.nan if kind[k] == GAP else close[k]
            if epoch < 0 or not is_member[epoch, i] or not is_next or np.isnan(before) or kind[k] == GAP:
                continue
            r_open += log(open_[k] / before)
            r_high += log(high[k] / before)
            r_low += log(low[k] / before)
            r_close += log(close[k] / before)
            traded += volume[k]
            counted += 1
            real += kind[k] == REAL
            any_estimated |= estimated[k]
            all_history &= history[k]
        if real >= minimum:
            prices[count, OPEN], prices[count, HIGH] = level * exp(r_open / counted), level * exp(r_high / counted)
            prices[count, LOW], prices[count, CLOSE] = level * exp(r_low / counted), level * exp(r_close / counted)
            prices[count, VOLUME] = traded
            facts[count, TS], facts[count, PRESENT], facts[count, NAMED] = t, real, is_member[epoch].sum()
            facts[count, ESTIMATED], facts[count, HISTORY] = any_estimated, all_history
            level = prices[count, CLOSE]
            count += 1
        t = _earliest(offsets, cursor, ts)
    return count, level


@compiled
def _earliest(offsets: I64, cursor: I64, ts: I64) -> int:
    """Start of the next bucket in which any member has a record; NEVER_MS if there is none."""
    t = NEVER_MS
    for i in range(len(cursor)):
        if cursor[i] < offsets[i + 1]:
            t = min(t, ts[cursor[i]])
    return t


def _bars(prices: F64, facts: I64) -> Bars:
    """Index bars: `volume` serves as `volume_base` too; coverage is the share of the roster that is real."""
    count = len(prices)
    return Bars(
        ts=facts[:, TS].copy(),
        kind=np.full(count, BarKind.REAL, np.int8),
        open=prices[:, OPEN].copy(),
        high=prices[:, HIGH].copy(),
        low=prices[:, LOW].copy(),
        close=prices[:, CLOSE].copy(),
        volume=prices[:, VOLUME].copy(),
        volume_base=prices[:, VOLUME].copy(),
        volume_est=facts[:, ESTIMATED] > 0,
        trades=np.full(count, ABSENT, np.int64),
        buy_volume=np.full(count, np.nan),
        bars_used=facts[:, PRESENT].copy(),
        coverage=facts[:, PRESENT] / facts[:, NAMED],
        gap_return=np.zeros(count, np.bool_),
        history=facts[:, HISTORY] > 0,
    )
