"""A minute under construction: extremes by (ts, seq, trade_id) and exact sums (market-data.md 5.3, replay.md 2).

    tick (price, size in 1e-8) --> minute (one row of integers) --> Bars, BarRevisions (doubles, rounded once)

The sums are 128-bit integers in two halves, high before low: price times size has up to 126 bits. The order in which
ticks are added leaves no trace, and a double is the correctly rounded value of the exact sum.
"""

from functools import lru_cache

import numpy as np

from lotus.columns import F64, I64
from lotus.compiled import compiled
from lotus.journal import ID, PRICE, SEQ, SIDE, SIZE, TS
from lotus.records import BarKind, BarRevisions, Bars, Side

E8 = 10**8  # units of a price or a size in one
E16 = E8 * E8  # units of a price times a size in one
LOW_HALF = 2**64 - 1

# Columns of a minute.
MINUTE, REV, KNOWN, CLOSED, TRADES = range(5)
OPEN_TS, OPEN_SEQ, OPEN_ID, OPEN, CLOSE_TS, CLOSE_SEQ, CLOSE_ID, CLOSE = range(5, 13)
HIGH, LOW, VALUE_HI, VALUE_LO, BASE_HI, BASE_LO, BUY_HI, BUY_LO = range(13, 21)
MINUTE_WIDTH = 21
PUBLISHED = (TRADES, OPEN, HIGH, LOW, CLOSE, VALUE_HI, VALUE_LO, BASE_HI, BASE_LO, BUY_HI, BUY_LO)
_MEASURED = ("open", "high", "low", "close", "volume", "volume_base", "buy_volume")

SIDE_BUY = int(Side.BUY)


@compiled
def add(minutes: I64, k: int, ring: I64, place: int) -> None:
    """Add the tick in row `place` of the ring to minute `k`, in place; without trades a minute may hold anything."""
    price, size = ring[place, PRICE], ring[place, SIZE]
    ts, seq, trade_id = ring[place, TS], ring[place, SEQ], ring[place, ID]
    if minutes[k, TRADES] == 0:
        minutes[k, HIGH], minutes[k, LOW] = price, price
        for field in range(VALUE_HI, MINUTE_WIDTH):
            minutes[k, field] = 0
        _mark(minutes, k, OPEN_TS, ts, seq, trade_id, price)
        _mark(minutes, k, CLOSE_TS, ts, seq, trade_id, price)
    minutes[k, TRADES] += 1
    minutes[k, HIGH] = max(minutes[k, HIGH], price)
    minutes[k, LOW] = min(minutes[k, LOW], price)
    if _order(minutes, k, OPEN_TS, ts, seq, trade_id) < 0:
        _mark(minutes, k, OPEN_TS, ts, seq, trade_id, price)
    if _order(minutes, k, CLOSE_TS, ts, seq, trade_id) > 0:
        _mark(minutes, k, CLOSE_TS, ts, seq, trade_id, price)
    high, low = product(price, size)
    _accumulate(minutes, k, VALUE_HI, high, low)
    _accumulate(minutes, k, BASE_HI, np.uint64(0), np.uint64(size))
    if ring[place, SIDE] == SIDE_BUY:
        _accumulate(minutes, k, BUY_HI, high, low)


@compiled
def clear(minutes: I64, k: int, start: int) -> None:
    """Make row `k` the minute that begins at `start`, without trades."""
    for field in range(MINUTE_WIDTH):
        minutes[k, field] = 0
    minutes[k, MINUTE] = start


@compiled
def copy(source: I64, k: int, target: I64, to: int) -> None:
    """Copy minute `k` of one table to row `to` of another; a loop, because a slice costs ten times an `add`."""
    for field in range(MINUTE_WIDTH):
        target[to, field] = source[k, field]


@compiled
def _order(minutes: I64, k: int, at: int, ts: int, seq: int, trade_id: int) -> int:
    """-1 if the tick comes before the one marked at `at`, 1 if after, 0 if it is the same."""
    if ts != minutes[k, at]:
        return 1 if ts > minutes[k, at] else -1
    if seq != minutes[k, at + 1]:
        return 1 if seq > minutes[k, at + 1] else -1
    if trade_id != minutes[k, at + 2]:
        return 1 if trade_id > minutes[k, at + 2] else -1
    return 0


@compiled
def _mark(minutes: I64, k: int, at: int, ts: int, seq: int, trade_id: int, price: int) -> None:
    minutes[k, at], minutes[k, at + 1], minutes[k, at + 2], minutes[k, at + 3] = ts, seq, trade_id, price


@compiled
def product(left: int, right: int) -> tuple[np.uint64, np.uint64]:
    """High and low half of the 128-bit product of two integers that are not negative, by schoolbook halves."""
    half, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    left_high, left_low = np.uint64(left) >> half, np.uint64(left) & mask
    right_high, right_low = np.uint64(right) >> half, np.uint64(right) & mask
    low, middle, cross = left_low * right_low, left_high * right_low, left_low * right_high
    carry = (low >> half) + (middle & mask) + (cross & mask)
    high = left_high * right_high + (middle >> half) + (cross >> half) + (carry >> half)
    return high, np.uint64(left) * np.uint64(right)


@compiled
def _accumulate(minutes: I64, k: int, at_high: int, high: np.uint64, low: np.uint64) -> None:
    total = np.uint64(minutes[k, at_high + 1]) + low
    minutes[k, at_high] += np.int64(high) + (1 if total < low else 0)
    minutes[k, at_high + 1] = np.int64(total)


def bars(minutes: I64) -> Bars:
    """Real bars of revision 0, one per row of int64[n, 21]."""
    rows = len(minutes)
    if not rows:
        return _no_bars()
    no = np.zeros(rows, np.bool_)
    return Bars(
        ts=minutes[:, MINUTE].copy(),
        kind=np.full(rows, BarKind.REAL, np.int8),
        **_measured(minutes),
        volume_est=no,
        trades=minutes[:, TRADES].copy(),
        bars_used=np.ones(rows, np.int64),
        coverage=np.ones(rows),
        gap_return=no,
        history=no,
    )


def revisions(minutes: I64) -> BarRevisions:
    """Corrected bars, one per row of int64[n, 21]."""
    if not len(minutes):
        return _no_revisions()
    return BarRevisions(
        ts=minutes[:, MINUTE].copy(),
        rev=minutes[:, REV].copy(),
        known_ts=minutes[:, KNOWN].copy(),
        **_measured(minutes),
        trades=minutes[:, TRADES].copy(),
    )


@lru_cache
def _no_bars() -> Bars:
    return Bars.empty()


@lru_cache
def _no_revisions() -> BarRevisions:
    return BarRevisions.empty()


def _measured(minutes: I64) -> dict[str, F64]:
    """Prices and sums in quote and base units; dividing Python integers rounds correctly whatever their size."""
    columns = minutes.T.tolist()
    prices = [[value / E8 for value in columns[at]] for at in (OPEN, HIGH, LOW, CLOSE)]
    sums = [
        [((high << 64) | (low & LOW_HALF)) / unit for high, low in zip(columns[at], columns[at + 1], strict=True)]
        for at, unit in ((VALUE_HI, E16), (BASE_HI, E8), (BUY_HI, E16))
    ]
    return dict(zip(_MEASURED, np.array(prices + sums), strict=True))
