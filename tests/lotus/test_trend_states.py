"""The state machine and the flags on given averages: uptrend-engine.md 6 and 13.6."""

import numpy as np
import pytest

from lotus.columns import F64
from lotus.records import ExitReason, State
from lotus.trend.config import TrendConfig
from lotus.trend.gates import buy_anchor, buy_flags, exit_flags, trim_flag
from lotus.trend.params import trend_params
from lotus.trend.row import (
    DX_BUY,
    EMA_60,
    EMA_333,
    EMERGENCY_EXIT,
    EXIT_POSITION,
    FLOATS,
    RECLAIMED_EMA333,
    S1_BUY,
    SIGNS,
    TRIM,
)
from lotus.trend.states import TRANSITIONS, When, next_state

NONE = -1
GATES = trend_params(TrendConfig()).gates
BARS = {
    1: (90, 91, 92, 95, 100, 105, 110),
    2: (96, 96, 95.5, 95, 99, 104, 109),
    3: (100, 97, 96.5, 95.5, 99, 103.5, 108.5),
    4: (109, 102, 100, 98, 100, 103, 108),
    5: (107.5, 103, 101, 99, 100, 103, 107.8),
    6: (112, 106, 104, 101, 101.5, 103, 107.9),
    7: (120, 116, 114, 110, 108.5, 108.2, 108.1),
    8: (108.0, 112, 112.5, 111, 109, 108.5, 108.3),
    9: (108.4, 111, 111.5, 110.5, 109, 108.6, 108.3),
    10: (100, 104, 105, 107, 107.9, 108.05, 108.2),
}


def row_of(**operands: float) -> F64:
    row = np.full(len(FLOATS), np.nan)
    for name, value in operands.items():
        row[FLOATS.index(name)] = value
    return row


def bar(number: int, price: float | None = None) -> F64:
    names = ("price", "ema_20", "ema_30", "ema_60", "ema_144", "ema_250", "ema_333")
    row = row_of(**dict(zip(names, BARS[number], strict=True)))
    if price is not None:
        row[FLOATS.index("price")] = price
    return row


def test_the_ten_bars_walk_through_all_states() -> None:
    state, emergency = NONE, False
    walked, raised = [], []
    for number in BARS:
        signs = np.zeros(len(SIGNS), dtype=np.int8)
        before = state
        state, reason = next_state(before, bar(number))
        exit_flags(state, before, reason, emergency, bar(number), signs)
        emergency = bool(signs[EMERGENCY_EXIT])
        walked.append(State(state).name)
        raised.append(tuple(bool(signs[flag]) for flag in (EMERGENCY_EXIT, RECLAIMED_EMA333, EXIT_POSITION)))
    assert walked == ["S0", "S1", "S1", "S2", "S1", "S2", "S3", "S3", "S3", "S0"]
    assert raised[:7] == [(False, False, False)] * 7
    assert raised[7:] == [(True, False, False), (False, True, False), (True, False, True)]
    assert reason == ExitReason.ALL_EMAS_BELOW_333


@pytest.mark.parametrize(
    ("before", "row", "after", "reason"),
    [
        (State.S1, bar(1, 90), State.S0, ExitReason.S1_TO_S0_BEARISH_ORDER),
        (State.S1, bar(1, 111), State.S0, ExitReason.S1_TO_S0_BEARISH_ORDER),
        (NONE, bar(7), State.S4, NONE),
        (State.S4, bar(7), State.S4, NONE),
        (State.S4, bar(1), State.S0, NONE),
        (State.S0, bar(1), State.S0, NONE),
        (State.S1, bar(3, 108.5), State.S1, NONE),
        (State.S2, bar(6, 107.9), State.S2, NONE),
        (State.S2, bar(1), State.S1, NONE),
        (State.S3, bar(7, 1.0), State.S3, NONE),
        (State.S0, bar(7), State.S1, NONE),
    ],
)
def test_single_steps(before: int, row: F64, after: State, reason: int) -> None:
    assert next_state(int(before), row) == (after, reason)


def test_the_table_enters_each_state_only_from_where_the_spec_allows() -> None:
    entered_from: dict[State, set[State | None]] = {}
    for rule in TRANSITIONS:
        entered_from.setdefault(rule.after, set()).add(rule.before)
    assert entered_from == {
        State.S0: {None, State.S4, State.S1, State.S3},
        State.S4: {None},
        State.S1: {State.S0, State.S2},
        State.S2: {State.S1},
        State.S3: {State.S2},
    }
    assert {rule.before for rule in TRANSITIONS if rule.reason is not None} == {State.S1, State.S3}
    assert {rule.when for rule in TRANSITIONS} == set(When)


def test_reclaiming_needs_an_emergency_in_the_same_s3() -> None:
    signs = np.zeros(len(SIGNS), dtype=np.int8)
    exit_flags(State.S3, State.S3, NONE, False, bar(9), signs)
    assert not signs[RECLAIMED_EMA333]
    exit_flags(State.S3, State.S2, NONE, True, bar(9), signs)
    assert not signs[RECLAIMED_EMA333]
    exit_flags(State.S3, State.S3, NONE, True, bar(9, 108.3), signs)
    assert signs[RECLAIMED_EMA333]
    assert not signs[EMERGENCY_EXIT]


@pytest.mark.parametrize(
    ("state", "before", "anchor"),
    [
        (State.S0, State.S0, NONE),
        (State.S4, State.S4, NONE),
        (State.S1, State.S0, EMA_60),
        (State.S1, State.S1, EMA_60),
        (State.S1, State.S2, NONE),
        (State.S2, State.S1, NONE),
        (State.S2, State.S2, EMA_333),
        (State.S3, State.S2, EMA_333),
        (State.S3, State.S3, EMA_333),
    ],
)
def test_a_flip_bar_buys_nothing(state: State, before: State, anchor: int) -> None:
    assert buy_anchor(state, before) == anchor


@pytest.mark.parametrize(
    ("state", "before", "trims"),
    [(State.S2, State.S1, 0), (State.S2, State.S2, 1), (State.S3, State.S2, 1), (State.S1, State.S1, 0)],
)
def test_trims_are_judged_in_a_settled_s2_and_in_s3(state: State, before: State, trims: int) -> None:
    signs = np.zeros(len(SIGNS), dtype=np.int8)
    trim_flag(GATES, state, before, 99.0, row_of(price=100, atr=1.0, score_ox=0.65), signs)
    assert signs[TRIM] == trims


def test_a_trim_needs_a_level_within_one_atr_on_either_side() -> None:
    for nearest, trims in ((101.0, 1), (99.0, 1), (101.0001, 0), (np.nan, 0)):
        signs = np.zeros(len(SIGNS), dtype=np.int8)
        trim_flag(GATES, State.S3, State.S3, nearest, row_of(price=100, atr=1.0, score_ox=0.9), signs)
        assert signs[TRIM] == trims


@pytest.mark.parametrize(
    ("change", "bought"),
    [
        ({}, 1),
        ({"price": 99.0}, 1),
        ({"price": 101.01}, 0),
        ({"slope_60": 0.0, "slope_144": 0.0}, 1),
        ({"slope_60": 0.0, "slope_144": -1e-9}, 0),
        ({"slope_60": 1e-9, "slope_144": -1.0}, 1),
        ({"boost": 0.0999}, 0),
    ],
)
def test_s1_buys_near_ema60_on_either_side_of_it(change: dict[str, float], bought: int) -> None:
    given = {"price": 100.5, "ema_60": 100.0, "atr": 1.0, "slope_60": 1e-4, "slope_144": -1e-4}
    row = row_of(**{**given, "score_ts": 0.5, "boost": 0.1, **change})
    signs = np.zeros(len(SIGNS), dtype=np.int8)
    buy_flags(GATES, State.S1, row, signs)
    assert signs[S1_BUY] == bought


@pytest.mark.parametrize(
    ("change", "emergency", "bought"),
    [
        ({}, 0, 1),
        ({"price": 92.0}, 0, 0),
        ({"price": 100.0}, 0, 0),
        ({"score_dx": 0.5999}, 0, 0),
        ({}, 1, 0),
        ({"ema_144": 91.0}, 0, 0),
    ],
)
def test_dx_buys_strictly_inside_the_hall(change: dict[str, float], emergency: int, bought: int) -> None:
    given = {"price": 95, "ema_144": 100, "ema_333": 92, "atr": 2, "slope_250": 1e-4, "slope_333": 1e-4}
    row = row_of(**{**given, "score_dx": 0.6, "dx_threshold": 0.6, "score_ts": 0.6, "boost": 0.0, **change})
    signs = np.zeros(len(SIGNS), dtype=np.int8)
    signs[EMERGENCY_EXIT] = emergency
    buy_flags(GATES, State.S3, row, signs)
    assert signs[DX_BUY] == bought
