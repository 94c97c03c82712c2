"""Which bars matter: most are uninteresting, and only the marked ones are looked at one by one.

    columns ---vectorised---> one word of marks per bar ---> rows with a mark
                      |-----> rows with an open entry zone, counted in bulk between them

A bar without a mark cannot change a position that is not on the alert (see `desk.py`).
"""

from collections.abc import Callable
from enum import IntFlag
from typing import NamedTuple

import numpy as np

from lotus.columns import F64, I64, Flags
from lotus.records import State, Trend
from lotus.scene import Scenes

WORDS = np.int16


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
    in_s3 = trend.state == State.S3
    alarm = trend.flag_emergency_exit & in_s3
    turns = alarm.copy()
    if len(alarm):
        turns[0] ^= alarm_before
        turns[1:] ^= alarm[:-1]
    words = np.zeros(len(trend), dtype=WORDS)
    for mark, raised in (
        (Mark.TRIM, trend.flag_trim),
        (Mark.S1_BUY, trend.flag_s1_buy),
        (Mark.S2_BUY, trend.flag_s2_buy),
        (Mark.DX_BUY, trend.flag_dx_buy),
        (Mark.RECLAIMED, trend.flag_reclaimed_ema333),
        (Mark.EXIT, trend.flag_exit_position),
        (Mark.ALARM_TURNS, turns),
        (Mark.STATE_TURNS, trend.state != trend.prev_state),
    ):
        words |= raised * WORDS(mark)
    rows = [*np.flatnonzero(words).tolist(), len(trend)]
    words |= trend.history * WORDS(Mark.HISTORY)
    zones = np.flatnonzero(_zone_open(trend, in_s3))
    worst = _smallest_margin(trend, zones, in_s3).tolist()
    ends_in_alarm = bool(alarm[-1]) if len(alarm) else alarm_before
    return Marks(words.tolist(), rows, [*zones.tolist(), len(trend)], worst, ends_in_alarm)


def _zone_open(trend: Trend, in_s3: Flags) -> Flags:
    between = (trend.ema_333 < trend.price) & (trend.price < trend.ema_144)
    in_entry = (trend.state == State.S1) | (trend.state == State.S2)
    return np.asarray((in_entry & trend.zone_ok) | (in_s3 & between))


def _smallest_margin(trend: Trend, rows: I64, in_s3: Flags) -> F64:
    least = np.minimum(trend.margin_zone[rows], np.minimum(trend.margin_slope[rows], trend.margin_tsb[rows]))
    least = np.where(in_s3[rows], np.minimum(least, trend.margin_dx[rows]), least)
    return np.where(np.isnan(least), -np.inf, least)


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
