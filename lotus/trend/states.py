"""The state machine of a trend, as one table (uptrend-engine.md 6).

                 BEAR                FAST_UP, p > E60          p > E333              BULL
    none --+-----------> S0 downtrend ----------> S1 turn ----------> S2 above 333 ---------> S3 uptrend
           |             ^ ^  ^                    |   ^                  |                     |
           +--> S4 ------+ |  +------- BEAR -------+   +---- p < E333 ----+                     |
                  BEAR     +------------------------------ ALL_BELOW ---------------------------+

Rules: the rules of a state are tried from top to bottom, the first that holds decides, at most one change per bar;
without a match the state stays. S2 never falls straight to S0; S3 comes only from S2; S4 is never re-entered; S5 is
reserved and never entered. A state that was lost bootstraps again. Both ways into S0 from a cycle demand a full exit.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from lotus.columns import ABSENT, F64
from lotus.compiled import lean
from lotus.records import ExitReason, State
from lotus.trend.row import EMA_20, EMA_30, EMA_60, EMA_144, EMA_250, EMA_333, PRICE


class When(IntEnum):
    """Predicates on the price p and the EMAs of a bar (uptrend-engine.md 6.1); E20 versus E30 never matters."""

    ALWAYS = 0
    BEAR = 1  # E20 < E60 and E30 < E60 and E60 < E144 < E250 < E333
    BULL = 2  # E20 > E60 and E30 > E60 and E60 > E144 > E250 > E333
    ALL_BELOW = 3  # E20, E30, E60, E144 and E250 are each below E333
    TURN = 4  # E20 > E60 and E30 > E60 (FAST_UP) and p > E60
    ABOVE_333 = 5  # p > E333
    BELOW_333 = 6  # p < E333


class Rule(NamedTuple):
    """One line of the table: in state `before` (None: no state yet), if `when` holds, go to `after`."""

    before: State | None
    when: When
    after: State
    reason: ExitReason | None = None


TRANSITIONS = (
    Rule(None, When.BEAR, State.S0),
    Rule(None, When.ALWAYS, State.S4),
    Rule(State.S4, When.BEAR, State.S0),
    Rule(State.S0, When.TURN, State.S1),
    Rule(State.S1, When.BEAR, State.S0, ExitReason.S1_TO_S0_BEARISH_ORDER),
    Rule(State.S1, When.ABOVE_333, State.S2),
    Rule(State.S2, When.BELOW_333, State.S1),
    Rule(State.S2, When.BULL, State.S3),
    Rule(State.S3, When.ALL_BELOW, State.S0, ExitReason.ALL_EMAS_BELOW_333),
)

_RULES = np.array(
    [
        [ABSENT if cell is None else int(cell) for cell in (rule.before, rule.when, rule.after, rule.reason)]
        for rule in TRANSITIONS
    ],
    dtype=np.int8,
)


@lean
def next_state(before: int, row: F64) -> tuple[int, int]:
    """State after a bar and the exit reason, both as codes; -1: none.

    before   code of the state after the bar before, -1 if there was none
    row      float64[len(FLOATS)], the bar's record: price and EMAs are read, quote
    source   uptrend-engine.md 6.3
    """
    for k in range(len(_RULES)):
        if _RULES[k, 0] == before and holds(_RULES[k, 1], row):
            return int(_RULES[k, 2]), int(_RULES[k, 3])
    return before, ABSENT


@lean
def holds(when: int, row: F64) -> bool:
    """Whether a predicate of `When` is true of a bar."""
    p, e20, e30, e60 = row[PRICE], row[EMA_20], row[EMA_30], row[EMA_60]
    e144, e250, e333 = row[EMA_144], row[EMA_250], row[EMA_333]
    if when == _BEAR:
        return bool(max(e20, e30) < e60 < e144 < e250 < e333)
    if when == _BULL:
        return bool(min(e20, e30) > e60 > e144 > e250 > e333)
    if when == _ALL_BELOW:
        return bool(max(e20, e30, e60, e144, e250) < e333)
    if when == _TURN:
        return bool(min(e20, e30) > e60 and p > e60)
    if when == _ABOVE_333:
        return bool(p > e333)
    if when == _BELOW_333:
        return bool(p < e333)
    return True


_BEAR, _BULL, _ALL_BELOW = int(When.BEAR), int(When.BULL), int(When.ALL_BELOW)
_TURN, _ABOVE_333, _BELOW_333 = int(When.TURN), int(When.ABOVE_333), int(When.BELOW_333)
