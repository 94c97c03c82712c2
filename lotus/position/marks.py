"""Which bars matter: most are uninteresting, and only the marked ones are looked at one by one.

    columns ---vectorised---> one word of marks per bar ---> rows with a mark
                      |-----> rows with an open entry zone, counted in bulk between them

A bar without a mark cannot change a position that is not on the alert (see `desk.py`).
"""

from collections.abc import Callable
from enum import IntFlag
from typing import NamedTuple

import numpy as np

from lotus.columns import F64, I8, I64, Flags
from lotus.compiled import compiled, lean
from lotus.records import State, Trend
from lotus.scene import Scenes


class Mark(IntFlag):
    """Why a bar is looked at."""

    TRIM = 1
    S1_BUY = 2
    S2_BUY = 4
    DX_BUY = 8
    RECLAIMED = 16
    EXIT = 32
    ALARM_TURNS = 64  # the emergency flag in S3 turned on or off
    STATE_TURNS = 128
    HISTORY = 256  # warm-up: drives state, is never written down


ONLY_TRIM = int(Mark.TRIM)
TRADES = int(Mark.TRIM | Mark.S1_BUY | Mark.S2_BUY | Mark.DX_BUY | Mark.RECLAIMED | Mark.EXIT)  # may ask for an order
HISTORY = int(Mark.HISTORY)
TURN_OF_STATE = int(Mark.STATE_TURNS)


class Marks(NamedTuple):
    """Marks of a batch.

    words   marks of every bar
    rows    rows with a mark beside HISTORY, ascending; the last entry is the number of bars
    zones   rows on which the entry zone of S1, S2 or S3 is open, ascending; the last entry is the number of bars
    worst   smallest gate margin on each of `zones`
    alarm   emergency in S3 on the last bar
    """

    words: list[int]
    rows: list[int]
    zones: list[int]
    worst: list[float]
    alarm: bool


def marks_of(trend: Trend, alarm_before: bool) -> Marks:
    """Marks of every bar.

    alarm_before  emergency in S3 on the bar before the first
    """
    words, rows, zones, worst, alarm = _marked(
        trend.state, trend.prev_state, trend.flag_trim, trend.flag_s1_buy, trend.flag_s2_buy, trend.flag_dx_buy,
        trend.flag_reclaimed_ema333, trend.flag_exit_position, trend.flag_emergency_exit, trend.history,
        trend.zone_ok, trend.ema_333, trend.price, trend.ema_144,
        trend.margin_zone, trend.margin_slope, trend.margin_tsb, trend.margin_dx, alarm_before,
    )  # fmt: skip
    count = len(trend)
    return Marks(words.tolist(), [*rows.tolist(), count], [*zones.tolist(), count], worst.tolist(), alarm)


_S1, _S2, _S3 = int(State.S1), int(State.S2), int(State.S3)
_BITS = tuple(int(mark) for mark in Mark)


@compiled
def _marked(
    state: I8, prev_state: I8, trim: Flags, s1_buy: Flags, s2_buy: Flags, dx_buy: Flags,
    reclaimed: Flags, exit_position: Flags, emergency_exit: Flags, history: Flags,
    zone_ok: Flags, ema_333: F64, price: F64, ema_144: F64,
    margin_zone: F64, margin_slope: F64, margin_tsb: F64, margin_dx: F64, alarm: bool,
) -> tuple[I64, I64, I64, F64, bool]:  # fmt: skip
    n = len(state)
    words, rows, zones, worst = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n)
    marked = opened = 0
    trims, s1, s2, dx, reclaims, exits, alarm_turns, state_turns, warm_up = _BITS
    for i in range(n):
        in_s3 = state[i] == _S3
        before, alarm = alarm, bool(emergency_exit[i] and in_s3)
        word = trim[i] * trims | s1_buy[i] * s1 | s2_buy[i] * s2 | dx_buy[i] * dx
        word |= reclaimed[i] * reclaims | exit_position[i] * exits
        word |= (alarm != before) * alarm_turns | (state[i] != prev_state[i]) * state_turns
        if word != 0:
            rows[marked] = i
            marked += 1
        words[i] = word | history[i] * warm_up
        between = ema_333[i] < price[i] < ema_144[i]
        if between if in_s3 else zone_ok[i] and (state[i] == _S1 or state[i] == _S2):
            zones[opened] = i
            worst[opened] = _smallest(
                margin_zone[i], margin_slope[i], margin_tsb[i], margin_dx[i] if in_s3 else margin_tsb[i]
            )
            opened += 1
    return words, rows[:marked], zones[:opened], worst[:opened], alarm


@lean
def _smallest(zone: float, slope: float, tsb: float, dx: float) -> float:
    """The smallest of the margins; -inf if one is absent."""
    if np.isnan(zone) or np.isnan(slope) or np.isnan(tsb) or np.isnan(dx):
        return -np.inf
    return min(zone, slope, tsb, dx)


class Bar(NamedTuple):
    """One bar as the position sees it: engine record and posture."""

    ts: int
    bar_index: int
    state: int
    prev_state: int
    price: float
    atr: float
    ema_333: float
    s1_buy: bool
    s2_buy: bool
    dx_buy: bool
    trim: bool
    emergency_exit: bool
    reclaimed: bool
    exit_position: bool
    nearest_level: float
    a: float
    e: float
    mode_a: int
    mode_e: int


class Window:
    """The columns of a batch, read one bar at a time."""

    def __init__(self, scenes: Scenes) -> None:
        """Bind the columns."""
        trend, posture = scenes.trend, scenes.posture
        self.ts: Callable[[int], int] = trend.ts.item
        self.state: Callable[[int], int] = trend.state.item
        self._sentence = posture.sentence
        self._cells = tuple(
            column.item
            for column in (
                trend.ts,
                trend.bar_index,
                trend.state,
                trend.prev_state,
                trend.price,
                trend.atr,
                trend.ema_333,
                trend.flag_s1_buy,
                trend.flag_s2_buy,
                trend.flag_dx_buy,
                trend.flag_trim,
                trend.flag_emergency_exit,
                trend.flag_reclaimed_ema333,
                trend.flag_exit_position,
                trend.nearest_level,
                posture.a,
                posture.e,
                posture.mode_a,
                posture.mode_e,
            )
        )
        self._margins = tuple(
            column.item for column in (trend.margin_zone, trend.margin_slope, trend.margin_tsb, trend.margin_dx)
        )

    def bar(self, row: int) -> Bar:
        """One bar."""
        return Bar._make([cell(row) for cell in self._cells])

    def margins(self, row: int, count: int) -> tuple[float, ...]:
        """The first `count` gate margins: zone, slope, tsb, dx."""
        return tuple([margin(row) for margin in self._margins[:count]])

    def sentence(self, row: int) -> str:
        """The sentence of the posture."""
        return str(self._sentence[row])
