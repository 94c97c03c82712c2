"""The ticks read lately, in the order of arrival, and the search for a twin among them (market-data.md 4).

    ring   int64[2**k, 8], tick number t stands in row t & (2**k - 1); ticks HEAD .. TAIL - 1 are remembered
    slots  int64[2**j], hash table of tick numbers by (ts, trade_id), linear probing, -1 is free

The table exists only within a batch and only if a tick comes out of order: a tick with the newest (ts, trade_id) so far
cannot have a twin. So ordered streams never hash, and the table is never part of a state.
"""

import numpy as np

from lotus.columns import I64
from lotus.compiled import compiled

# Columns of a tick.
TS, ID, SEQ, PRICE, SIZE, SIDE, READ, FATE = range(8)
TICK_WIDTH = 8
ACCEPTED = 0  # the only fate that has a name here; the others are reasons of a reject

# Where a batch stands, kept in one int64 vector: times, then positions.
WATERMARK, FORGOTTEN, NEWEST_TS, NEWEST_ID = range(4)
HEAD, TAIL, HASHED, USED = range(4, 8)
LIVE, OPENED, COUNT, BARS, REVISIONS, REJECTS = range(8, 14)
CURSOR_WIDTH = 14

NONE, SEEN = -1, -2  # no twin; the very row was read before
BEFORE_ALL = -(2**63)


@compiled
def unrolled(journal: I64, at: I64) -> I64:
    """The remembered ticks int64[n, 8] in a new ring; sets TAIL and the newest (ts, trade_id)."""
    size = 64
    while size < 2 * len(journal):
        size *= 2
    ring = np.empty((size, TICK_WIDTH), np.int64)
    ring[: len(journal)] = journal
    at[TAIL] = len(journal)
    at[NEWEST_TS], at[NEWEST_ID] = BEFORE_ALL, BEFORE_ALL
    for t in range(len(journal)):
        is_newest(journal[t, TS], journal[t, ID], at)
    return ring


@compiled
def rolled(ring: I64, at: I64) -> I64:
    """The remembered ticks of a ring, int64[n, 8]."""
    count, first = at[TAIL] - at[HEAD], at[HEAD] & (len(ring) - 1)
    straight = min(count, len(ring) - first)  # the others stand at the beginning of the ring
    journal = np.empty((count, TICK_WIDTH), np.int64)
    journal[:straight] = ring[first : first + straight]
    journal[straight:] = ring[: count - straight]
    return journal


@compiled
def doubled(ring: I64, at: I64) -> I64:
    """A ring of twice the length with the same ticks."""
    larger = np.empty((2 * len(ring), TICK_WIDTH), np.int64)
    for t in range(at[HEAD], at[TAIL]):
        larger[t & (len(larger) - 1)] = ring[t & (len(ring) - 1)]
    return larger


@compiled
def append(ring: I64, ts: int, trade_id: int, seq: int, price: int, size: int, side: int, at: I64) -> int:
    """Write a tick into a ring that has room; returns its row. Its fate is still open."""
    place = int(at[TAIL]) & (len(ring) - 1)
    ring[place, TS], ring[place, ID], ring[place, SEQ] = ts, trade_id, seq
    ring[place, PRICE], ring[place, SIZE], ring[place, SIDE] = price, size, side
    ring[place, READ] = at[WATERMARK]
    at[TAIL] += 1
    return place


@compiled
def is_newest(ts: int, trade_id: int, at: I64) -> bool:
    """Whether (ts, trade_id) is larger than all before; if so it is remembered as the newest."""
    if ts < at[NEWEST_TS] or (ts == at[NEWEST_TS] and trade_id <= at[NEWEST_ID]):
        return False
    at[NEWEST_TS], at[NEWEST_ID] = ts, trade_id
    return True


@compiled
def forget(ring: I64, before_ms: int, at: I64) -> None:
    """Drop the ticks read at or before a watermark; their seq is all that stays."""
    while at[HEAD] < at[TAIL] and ring[at[HEAD] & (len(ring) - 1), READ] <= before_ms:
        at[FORGOTTEN] = max(at[FORGOTTEN], ring[at[HEAD] & (len(ring) - 1), SEQ])
        at[HEAD] += 1


@compiled
def indexed(slots: I64, ring: I64, at: I64) -> I64:
    """The hash table with all remembered ticks in it; HASHED is where the last call stopped.

    Forgotten ticks stay in their slots until the table is half full; then it is built anew: constant time per tick.
    """
    at[HASHED] = max(at[HASHED], at[HEAD])
    if len(slots) == 0 or 2 * (at[USED] + at[TAIL] - at[HASHED]) > len(slots):
        size = 64
        while size < 4 * (at[TAIL] - at[HEAD]):
            size *= 2
        slots = np.full(size, NONE, np.int64)
        at[HASHED], at[USED] = at[HEAD], 0
    for t in range(at[HASHED], at[TAIL]):
        place = t & (len(ring) - 1)
        slot = _slot(ring[place, TS], ring[place, ID], len(slots))
        while slots[slot] != NONE:
            slot = (slot + 1) & (len(slots) - 1)
        slots[slot] = t
    at[USED] += at[TAIL] - at[HASHED]
    at[HASHED] = at[TAIL]
    return slots


@compiled
def twin(slots: I64, ring: I64, at: I64, ts: int, trade_id: int, seq: int) -> int:
    """Number of the accepted tick with this (ts, trade_id); NONE; or SEEN if this very row was read before."""
    found = NONE
    slot = _slot(ts, trade_id, len(slots))
    while slots[slot] != NONE:
        t = int(slots[slot])
        place = t & (len(ring) - 1)
        if t >= at[HEAD] and ring[place, TS] == ts and ring[place, ID] == trade_id:
            if ring[place, SEQ] == seq:
                return SEEN
            if ring[place, FATE] == ACCEPTED:
                found = t
        slot = (slot + 1) & (len(slots) - 1)
    return found


@compiled
def _slot(ts: int, trade_id: int, size: int) -> np.int64:
    mixed = np.uint64(ts) * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(trade_id) * np.uint64(0xC2B2AE3D27D4EB4F)
    return np.int64((mixed ^ (mixed >> np.uint64(29))) & np.uint64(size - 1))
