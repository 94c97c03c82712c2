"""Which driver flags are active at each bar of a token (posture.md 6.2, replay.md 5).

    slots of the board --> the token's 15 cells (driver, horizon), by the bucket of that time --> bits of active flags

A cell without a slot, without a record, without an engine state or with a stale record has no active flag.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lotus.columns import F64, I8, I64, Flags
from lotus.compiled import compiled
from lotus.posture.board import Slot
from lotus.posture.config import Horizons
from lotus.posture.drivers import CELLS
from lotus.posture.flags import FLAGS, Flag
from lotus.records import Board

WARM_UP = -1
NO_SLOT = -1
N_CELLS = len(CELLS)
N_FLAGS = len(FLAGS)
BUY, TRIM, EMERGENCY = (int(flag) for flag in (Flag.BUY, Flag.TRIM, Flag.EMERGENCY))

Buckets = tuple[tuple[int, str | None], ...]


@dataclass(frozen=True)
class Cells:
    """Where a token finds its drivers.

    since_ms  int64[k], times at which its bucket changes, ms UTC ascending
    slot      int64[k + 1, 15], slot of each cell before the first change and after each; NO_SLOT: no series
    limit_ms  int64[15], age at which a record of the cell is still fresh
    """

    since_ms: I64
    slot: I64
    limit_ms: I64

    def bucket_rows(self, known_ms: I64) -> I64:
        """Row of `slot` that holds at each time; a change holds from its own time on."""
        return np.searchsorted(self.since_ms, known_ms, side="right").astype(np.int64)


@lru_cache(maxsize=4096)
def cells_of(slots: tuple[Slot, ...], buckets: Buckets, horizons: Horizons, staleness_bars: int) -> Cells:
    """The cells of a token with a bucket schedule (since, ms UTC ascending; bucket or None)."""
    places = {(slot.series, slot.timeframe): number for number, slot in enumerate(slots)}
    slot = [
        [places.get((driver.series(bucket) or "", horizons.of(horizon)), NO_SLOT) for driver, horizon in CELLS]
        for bucket in (None, *(bucket for _, bucket in buckets))
    ]
    limits = [staleness_bars * horizons.of(horizon).ms for _, horizon in CELLS]
    return Cells(
        np.array([since_ms for since_ms, _ in buckets], dtype=np.int64),
        np.array(slot, dtype=np.int64),
        np.array(limits, dtype=np.int64),
    )


@dataclass(frozen=True, slots=True)
class View:
    """What each bar sees.

    active  int64[n], active flags as bits (flags.py); WARM_UP: a row of history
    stale   int64[n], a bit for each cell whose latest record is too old
    source  int64[n, 15], row of the board behind each cell
    turned  flags, stale cells or strength differ from the row before; true for the first row
    fresh   turned, or an active flag has another source bar
    """

    active: I64
    stale: I64
    source: I64
    turned: Flags
    fresh: Flags


def view(
    cells: Cells, known_ms: I64, history: Flags, board: Sequence[Board], row: I64, strength: tuple[F64, F64]
) -> View:
    """What each bar sees of the board.

    known_ms  int64[n], close of each bar
    board     parts of the board that `row` counts through
    row       int64[n, slots], row of the board in force for each slot, -1: none
    strength  s_entry and s_exit, float64[n] each
    """
    board_known_ms = np.concatenate([part.known_ts for part in board])
    flags = np.concatenate([_flag_bits(part) for part in board])
    bucket_rows = cells.bucket_rows(known_ms)
    return View(
        *_view(known_ms, history, row, bucket_rows, cells.slot, cells.limit_ms, board_known_ms, flags, *strength)
    )


def _flag_bits(board: Board) -> I8:
    buy, trim, emergency = (flag.view(np.int8) for flag in (board.buy, board.trim, board.emergency))
    return (buy << BUY | trim << TRIM | emergency << EMERGENCY) * board.has_state


@compiled
def _view(
    known_ms: I64,
    history: Flags,
    row: I64,
    bucket_row: I64,
    slot: I64,
    limit_ms: I64,
    board_known_ms: I64,
    flags: I8,
    s_entry: F64,
    s_exit: F64,
) -> tuple[I64, I64, I64, Flags, Flags]:
    n = len(known_ms)
    active, stale = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    source = np.full((n, N_CELLS), -1, dtype=np.int64)
    turned, fresh = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    for i in range(n):
        moved = i == 0
        if history[i]:
            active[i] = WARM_UP
        else:
            for cell in range(N_CELLS):
                lane = slot[bucket_row[i], cell]
                if lane == NO_SLOT or row[i, lane] < 0:
                    continue
                j = row[i, lane]
                source[i, cell] = j
                if known_ms[i] - board_known_ms[j] > limit_ms[cell]:
                    stale[i] |= 1 << cell
                elif flags[j] != 0:
                    active[i] |= np.int64(flags[j]) << (N_FLAGS * cell)
                    moved |= i > 0 and source[i - 1, cell] != j
        learned = i > 0 and (s_entry[i] != s_entry[i - 1] or s_exit[i] != s_exit[i - 1])
        turned[i] = i == 0 or learned or active[i] != active[i - 1] or stale[i] != stale[i - 1]
        fresh[i] = moved or turned[i]
    return active, stale, source, turned, fresh
