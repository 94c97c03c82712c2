"""Flags: which gates a bar is put to and by how much it passes or fails them (uptrend-engine.md 7).

    S1, before S0 or S1   s1_buy    zone around EMA60     slopes 60, 144     TS + boost
    S2, before S2         s2_buy    zone around EMA333    slopes 250, 333    TS + boost    trim
    S3                    dx_buy    EMA333 < p < EMA144   slopes 250, 333    TS + boost    trim    DX, no emergency

A margin is value minus threshold; a gate passes from 0 on, except the open DX zone, which needs more than 0. Flags
are written into the record's bytes, int8[len(SIGNS)]; states and reasons are codes, -1: none.
"""

from lotus.columns import ABSENT, F64, I8
from lotus.compiled import lean
from lotus.records import State
from lotus.trend.params import BuyParams, GateParams
from lotus.trend.row import (
    ATR,
    BOOST,
    BUY,
    DX_BUY,
    DX_THRESHOLD,
    EMA_60,
    EMA_144,
    EMA_333,
    EMERGENCY_EXIT,
    EXIT_POSITION,
    MARGIN_DX,
    MARGIN_LEVEL,
    MARGIN_OX,
    MARGIN_SLOPE,
    MARGIN_TSB,
    MARGIN_ZONE,
    PRICE,
    RECLAIMED_EMA333,
    S1_BUY,
    S2_BUY,
    SCORE_DX,
    SCORE_OX,
    SCORE_TS,
    SLOPE_60,
    SLOPE_144,
    SLOPE_250,
    SLOPE_333,
    SLOPE_OK,
    TRIM,
    TSB,
    ZONE_OK,
)

_S0, _S1, _S2, _S3 = int(State.S0), int(State.S1), int(State.S2), int(State.S3)


@lean
def exit_flags(state: int, before: int, reason: int, was_emergency: bool, row: F64, signs: I8) -> None:
    """Raise emergency_exit, reclaimed_ema333 and exit_position.

    was_emergency   the bar before had emergency_exit
    """
    left = reason != ABSENT
    below = row[PRICE] < row[EMA_333]
    signs[EXIT_POSITION] = left
    signs[EMERGENCY_EXIT] = left or (state == _S3 and below)
    signs[RECLAIMED_EMA333] = state == _S3 and before == _S3 and was_emergency and not below


@lean
def trim_flag(params: GateParams, state: int, before: int, nearest: float, row: F64, signs: I8) -> None:
    """Raise trim: overextended within a halo of a level.

    nearest   the level closest to the price, quote; NaN without levels
    """
    if state == _S3 or (state == _S2 and before == _S2):
        row[MARGIN_OX] = row[SCORE_OX] - params.ox_trim
        row[MARGIN_LEVEL] = params.trim_halo * row[ATR] - abs(nearest - row[PRICE])
        signs[TRIM] = row[MARGIN_OX] >= 0.0 and row[MARGIN_LEVEL] >= 0.0


@lean
def buy_anchor(state: int, before: int) -> int:
    """Place in the record of the EMA around which the state buys; -1: no buy gate is evaluated."""
    if state == _S1 and before in (_S0, _S1):
        return EMA_60
    if state == _S3 or (state == _S2 and before == _S2):
        return EMA_333
    return ABSENT


@lean
def buy_flags(params: GateParams, state: int, row: F64, signs: I8) -> None:
    """Raise the buy flag of a state with a buy gate, once the boost is known and the exit flags are set."""
    p = row[PRICE]
    if state == _S1:
        row[MARGIN_ZONE] = params.s1_halo * row[ATR] - abs(p - row[EMA_60])
        signs[ZONE_OK] = row[MARGIN_ZONE] >= 0.0
        signs[S1_BUY] = _moves(params.s1, row[SLOPE_60], row[SLOPE_144], row, signs) and signs[ZONE_OK] == 1
    elif state == _S2:
        row[MARGIN_ZONE] = params.s2_halo * row[ATR] - abs(p - row[EMA_333])
        signs[ZONE_OK] = row[MARGIN_ZONE] >= 0.0
        signs[S2_BUY] = _moves(params.s2, row[SLOPE_250], row[SLOPE_333], row, signs) and signs[ZONE_OK] == 1
    else:
        row[MARGIN_ZONE] = min(p - row[EMA_333], row[EMA_144] - p)
        signs[ZONE_OK] = row[MARGIN_ZONE] > 0.0
        row[MARGIN_DX] = row[SCORE_DX] - row[DX_THRESHOLD]
        moves = _moves(params.s3, row[SLOPE_250], row[SLOPE_333], row, signs)
        cheap = signs[ZONE_OK] == 1 and row[MARGIN_DX] >= 0.0
        signs[DX_BUY] = moves and cheap and signs[EMERGENCY_EXIT] == 0
    signs[BUY] = signs[S1_BUY] | signs[S2_BUY] | signs[DX_BUY]


@lean
def _moves(gate: BuyParams, fast: float, slow: float, row: F64, signs: I8) -> bool:
    """Whether the slopes and TS + boost pass."""
    row[TSB] = row[SCORE_TS] + row[BOOST]
    row[MARGIN_TSB] = row[TSB] - gate.ts_threshold
    row[MARGIN_SLOPE] = max(fast - gate.slope_fast_min, slow - gate.slope_slow_min)
    moving = fast > gate.slope_fast_min or slow >= gate.slope_slow_min
    signs[SLOPE_OK] = moving
    return moving and row[MARGIN_TSB] >= 0.0
