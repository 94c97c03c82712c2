"""The engine bar by bar, compiled: indicators, state, scores, flags, then the levels of the next bar.

bar --> indicators --> state --> EDX, VO_z, DX, OX --> flags --> record
              levels in force ----------------------------^
              levels <-- waiting closes <-- close, after the record is made (4.6)

Closes wait until the levels are built anew: between two builds nothing reads what they change.
"""

from typing import NamedTuple

import numpy as np

from lotus.columns import ABSENT, F64, I8, I64, Flags
from lotus.compiled import compiled, lean
from lotus.indicators.volume_z import (
    VolumeZState,
    copy_volume_z,
    fresh_volume_z,
    volume_push,
    volume_z,
)
from lotus.levels import VERSION, LevelsState, copy_levels, fresh_levels, levels_push, nearest_level, sr_boost
from lotus.records import State
from lotus.trend.config import TrendConfig
from lotus.trend.edx import EdxParams, EdxState, copy_edx, edx_bar, fresh_edx
from lotus.trend.formulas import (
    TERMS_MAX,
    discount_terms,
    overextension_terms,
    position_boost,
    strength_terms,
    threshold_terms,
)
from lotus.trend.gates import buy_anchor, buy_flags, exit_flags, trim_flag
from lotus.trend.params import DiscountParams, GateParams, ThresholdParams, TrendParams
from lotus.trend.readings import fresh_board, read_bar
from lotus.trend.row import (
    ATR,
    BAR_INDEX,
    BOOST,
    CODES,
    DX_POSITION_BOOST,
    DX_SUPPRESSION,
    DX_THRESHOLD,
    EDX_END,
    EDX_FIRST,
    EMA_144,
    EMA_250,
    EMA_333,
    EMERGENCY_EXIT,
    EXIT_REASON,
    FLOATS,
    LEVELS_VERSION,
    NEAREST_LEVEL,
    PREV_STATE,
    PRICE,
    RSI,
    S3_START_INDEX,
    SCORE_DX,
    SCORE_EDX,
    SCORE_OX,
    SCORE_TS,
    SIGNS,
    STATE,
    VO_Z,
    Record,
)
from lotus.trend.states import TRANSITIONS, next_state

HIGH, LOW, CLOSE, VOLUME, VOLUME_BASE = range(5)

SEEN, LAST_STATE, S3_START, EMERGENCY, WAITING = range(5)
WAITING_ROOM = 64  # an hour of minutes: the longest time between two builds of an unbroken series
_S2, _S3 = int(State.S2), int(State.S3)
_BEFORE_S3 = frozenset({_S3, *(int(rule.before) for rule in TRANSITIONS if rule.after is State.S3 and rule.before)})


class Memory(NamedTuple):
    """What the engine carries from bar to bar.

    marks    int64[5]: engine bars seen; code of the last state, -1 none; bar_index on which S3 began, -1 none;
             1 if the last record had emergency_exit; how many closes wait
    board    float64[rows, 2 * width], the last values of the indicators
    waiting  float64[WAITING_ROOM], the latest closes, which the levels do not have yet
    """

    marks: I64
    board: F64
    waiting: F64
    volume: VolumeZState
    edx: EdxState
    levels: LevelsState


def fresh_memory(config: TrendConfig) -> Memory:
    """No bar seen yet."""
    return Memory(
        np.array([0, ABSENT, ABSENT, 0, 0], dtype=np.int64),
        fresh_board(config),
        np.zeros(WAITING_ROOM),
        fresh_volume_z(config.volume),
        fresh_edx(config.edx),
        fresh_levels(config.levels),
    )


def copy_memory(memory: Memory, rebuild: Flags) -> Memory:
    """A copy that can take in the bars of `rebuild` (see `advance`); it shares what they will not change.

    The levels change when closes stop waiting, EDX while the state is S3, which only certain states come before.
    """
    settles = bool(rebuild.any()) or memory.marks[WAITING] + len(rebuild) > WAITING_ROOM
    decays = len(rebuild) > 1 or int(memory.marks[LAST_STATE]) in _BEFORE_S3
    return Memory(
        memory.marks.copy(),
        memory.board.copy(),
        memory.waiting.copy(),
        copy_volume_z(memory.volume),
        copy_edx(memory.edx) if decays else memory.edx,
        copy_levels(memory.levels) if settles else memory.levels,
    )


@compiled
def advance(params: TrendParams, memory: Memory, bars: F64, rebuild: Flags, record: Record) -> None:
    """Run the engine over its next bars.

    memory   carried, changed in place
    bars     float64[5, n], rows HIGH .. VOLUME_BASE, engine bars only (real, close > 0), oldest first
    rebuild  bool[n], the levels of the next bar are built at this one (4.6)
    record   room for n records, written
    """
    marks, levels, gates = memory.marks, memory.levels, params.gates
    row = np.empty(len(FLOATS))
    signs = np.empty(len(SIGNS), dtype=np.int8)
    terms = np.empty(TERMS_MAX)
    scratch = np.empty((2, memory.volume.recent.shape[1]))
    for j in range(len(rebuild)):
        index, close = marks[SEEN], bars[CLOSE, j]
        _clear(row, signs)
        read_bar(params.readings, memory.board, index, bars[HIGH, j], bars[LOW, j], close, row)
        volume_push(memory.volume, index, bars[VOLUME, j])
        row[SCORE_TS] = strength_terms(params.strength, row, terms)
        row[NEAREST_LEVEL] = nearest_level(levels, close, index, gates.extreme_min_age)
        if index + 1 >= params.min_bars:
            state, before = _change_state(marks, row, signs)
            if state == _S3:
                k = index - marks[S3_START]
                row[SCORE_EDX] = _decay(params.edx, memory.edx, k, bars, j, row)
                row[VO_Z] = volume_z(params.volume, memory.volume, index, scratch)
                _score_discount(params.dx, params.threshold, row, terms)
            if state in (_S2, _S3):
                row[SCORE_OX] = overextension_terms(params.ox, row, state == _S3, terms)
            _judge(gates, levels, index, state, before, row, signs)
        _write(record, j, index, marks[S3_START], levels.meta[VERSION], row, signs)
        if rebuild[j] or marks[WAITING] == WAITING_ROOM:
            for k in range(marks[WAITING]):
                levels_push(params.levels, levels, index - marks[WAITING] + k, memory.waiting[k], False)
            marks[WAITING] = 0
            levels_push(params.levels, levels, index, close, rebuild[j])
        else:
            memory.waiting[marks[WAITING]] = close
            marks[WAITING] += 1
        marks[SEEN] = index + 1


@lean
def _clear(row: F64, signs: I8) -> None:
    """Nothing known, no flag raised."""
    for k in range(len(FLOATS)):
        row[k] = np.nan
    for k in range(len(SIGNS)):
        signs[k] = ABSENT if k < len(CODES) else 0


@lean
def _change_state(marks: I64, row: F64, signs: I8) -> tuple[int, int]:
    """Follow the transition table, raise the flags that belong to it; states after this bar and the bar before."""
    before = marks[LAST_STATE]
    state, reason = next_state(before, row)
    if state != _S3:
        marks[S3_START] = ABSENT
    elif before != _S3:
        marks[S3_START] = marks[SEEN]
    exit_flags(state, before, reason, marks[EMERGENCY] == 1, row, signs)
    marks[LAST_STATE] = state
    marks[EMERGENCY] = signs[EMERGENCY_EXIT]
    signs[STATE], signs[PREV_STATE], signs[EXIT_REASON] = state, before, reason
    return state, before


@lean
def _decay(params: EdxParams, state: EdxState, k: int, bars: F64, j: int, row: F64) -> float:
    """EDX on bar number k of an S3, its components and windows written into the record."""
    high, low, close, amount = bars[HIGH, j], bars[LOW, j], bars[CLOSE, j], bars[VOLUME_BASE, j]
    e144, e250, e333, atr, rsi = row[EMA_144], row[EMA_250], row[EMA_333], row[ATR], row[RSI]
    out = row[EDX_FIRST:EDX_END]
    return edx_bar(params, state, k, high, low, close, amount, e144, e250, e333, atr, rsi, out)


@lean
def _score_discount(params: DiscountParams, threshold: ThresholdParams, row: F64, terms: F64) -> None:
    row[SCORE_DX] = discount_terms(params, row, terms)
    row[DX_THRESHOLD] = threshold_terms(threshold, row, terms)
    row[DX_SUPPRESSION] = terms[1]
    row[DX_POSITION_BOOST] = position_boost(threshold, row)


@lean
def _judge(gates: GateParams, levels: LevelsState, index: int, state: int, before: int, row: F64, signs: I8) -> None:
    """Put the bar to the gates of its state, with the levels in force."""
    trim_flag(gates, state, before, nearest_level(levels, row[PRICE], index, 0), row, signs)
    anchor = buy_anchor(state, before)
    if anchor != ABSENT:
        norm, halo = gates.strength_norm, gates.boost_halo
        row[BOOST] = sr_boost(levels, row[anchor], row[ATR], gates.boost_max, norm, halo)
        buy_flags(gates, state, row, signs)


@lean
def _write(record: Record, j: int, index: int, s3_start: int, version: int, row: F64, signs: I8) -> None:
    for k in range(len(FLOATS)):
        record.floats[k, j] = row[k]
    for k in range(len(SIGNS)):
        record.signs[k, j] = signs[k]
    record.counts[BAR_INDEX, j] = index
    record.counts[S3_START_INDEX, j] = s3_start
    record.counts[LEVELS_VERSION, j] = version
