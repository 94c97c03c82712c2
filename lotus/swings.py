"""The last closes of a series, their swings in price order and their extremes, kept up to date close by close.

      leaves                                                        comes
        o  o+1 [o+2]        ... closes in the window ...        [t-2] t-1  t
                 |                                                |
                 a swing here ends with its first neighbour       close t decides whether this is one

Rules:
- a swing needs all its neighbours in the window, so it is decided `swing_reach` closes late and goes as many early;
- swings are told apart by nothing but their price, so equal prices may stand in any order;
- the highest and the lowest close stand in front of two monotone queues; of equal ones the earliest is in front.

Source: uptrend-engine.md 4.1 and 4.3; the way to count: design/engine-speed.md 9.
"""

from typing import Final

import numpy as np

from lotus.columns import F64
from lotus.compiled import lean
from lotus.levels_state import FRONT, HIGHS, LENGTH, LOWS, SEEN, LevelsState

PEAKS: Final = 0
TROUGHS: Final = 1

SWING_HIGH: Final = 1
SWING_LOW: Final = -1
NO_SWING: Final = 0


@lean
def swing_at(reach: int, prominence: float, closes: F64, slot: int) -> int:
    """What the close in `slot` is among its neighbours: SWING_HIGH, SWING_LOW or NO_SWING (4.1)."""
    close = closes[slot]
    floor, ceiling = np.inf, -np.inf
    for distance in range(1, reach + 1):
        before = closes[turn(slot - distance, closes.size)]
        after = closes[turn(slot + distance, closes.size)]
        floor = min(floor, before, after)
        ceiling = max(ceiling, before, after)
    if close > ceiling and (close - floor) / close >= prominence:
        return SWING_HIGH
    if close < floor and (ceiling - close) / close >= prominence:
        return SWING_LOW
    return NO_SWING


@lean
def enqueue(state: LevelsState, side: int, slot: int, close: float) -> bool:
    """Enter a close that is about to be written to `slot` into the queue of one side.

    returns  whether the front of the queue is another close than before
    """
    size = state.closes.size
    front, length = state.meta[FRONT + side], state.meta[LENGTH + side]
    expired = length > 0 and state.queues[side, front] == slot
    if expired:
        front = turn(front + 1, size)
        length -= 1
    while length > 0:
        last = state.closes[state.queues[side, turn(front + length - 1, size)]]
        if (last >= close) if side == PEAKS else (last <= close):
            break
        length -= 1
    state.queues[side, turn(front + length, size)] = slot
    state.meta[FRONT + side], state.meta[LENGTH + side] = front, length + 1
    return bool(expired or length == 0)


@lean
def learn(state: LevelsState, price: float, kind: int) -> int:
    """Enter a swing; returns its place in the order of prices."""
    size = state.meta[HIGHS] + state.meta[LOWS]
    place = _place(state.swings, size, price)
    _open(state.swings[place : size + 1])
    _open(state.means[place : size + 1])
    state.swings[place] = price
    state.meta[HIGHS if kind == SWING_HIGH else LOWS] += 1
    return place


@lean
def forget(state: LevelsState, price: float, kind: int) -> int:
    """Remove a swing; returns the place it had in the order of prices."""
    size = state.meta[HIGHS] + state.meta[LOWS]
    place = _place(state.swings, size, price)
    _close(state.swings[place:size])
    _close(state.means[place:size])
    state.meta[HIGHS if kind == SWING_HIGH else LOWS] -= 1
    return place


@lean
def last_close(state: LevelsState) -> float:
    """The close pushed last."""
    return float(state.closes[(state.meta[SEEN] - 1) % state.closes.size])


@lean
def extreme(state: LevelsState, side: int) -> tuple[float, int]:
    """The highest (PEAKS) or lowest (TROUGHS) close and its age in bars; of equal ones the oldest."""
    slot = state.queues[side, state.meta[FRONT + side]]
    newest = (state.meta[SEEN] - 1) % state.closes.size
    return float(state.closes[slot]), turn(newest - slot, state.closes.size)


@lean
def turn(slot: int, size: int) -> int:
    """The slot of a ring for a number less than one turn outside of it."""
    if slot >= size:
        return slot - size
    if slot < 0:
        return slot + size
    return slot


@lean
def _place(swings: F64, size: int, price: float) -> int:
    """Number of swings below `price`."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        if swings[middle] < price:
            low = middle + 1
        else:
            high = middle
    return low


@lean
def _open(tail: F64) -> None:
    """Move everything up by one place; the loop runs over a view so that it compiles to one block move."""
    for k in range(tail.size - 1, 0, -1):
        tail[k] = tail[k - 1]


@lean
def _close(tail: F64) -> None:
    """Move everything down by one place, over the first."""
    for k in range(tail.size - 1):
        tail[k] = tail[k + 1]
