"""Volume z-score VO_z: how unusual the latest volume is, on a log scale (uptrend-engine.md 3.6).

    u = ln(1 + volume), winsorised by its own last 1,000 bars
    m = a * u + (1-a) * m        s = (1-a) * (s + a * (u - m before) * (u - m after))

The recursion restarts at the window's first bar, so over n bars it is a weighted mean and variance with fixed weights:

    w = a * (1-a)^age, the seed (1-a)^(n-1)        m = sum(w * u)        s = (1-a) * sum(w * (u - m)^2)

That sum is evaluated only where VO_z is read. What is carried per bar is the ring of u and its two tails: the
smallest and the largest values, in which the two bounds stand. A tail that has lost too many is read off the ring.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, log1p, sqrt
from typing import NamedTuple

import numpy as np

from lotus.columns import F64, I64
from lotus.compiled import lean
from lotus.indicators.board import remember
from lotus.indicators.ema import ema_alpha
from lotus.indicators.formulas import clip
from lotus.kernel import number

SECTIONS = 8
SPARE_PLACES = 24  # of a tail, so that it seldom runs short


@dataclass(frozen=True)
class VolumeZConfig:
    """Constants of VO_z (uptrend-engine.md 3.6)."""

    window_bars: int = number(1_000, "uptrend-engine.md 3.6", "bars")
    winsor_min_bars: int = number(10, "uptrend-engine.md 3.6", "bars")
    winsor_low_share: float = number(0.02, "uptrend-engine.md 3.6", "share of the sorted values")
    winsor_high_share: float = number(0.98, "uptrend-engine.md 3.6", "share of the sorted values")
    span_bars: int = number(64, "uptrend-engine.md 3.6", "bars; a = 2/65")
    variance_min: float = number(1e-12, "uptrend-engine.md 3.6")
    z_min: float = number(-4.0, "uptrend-engine.md 3.6", "sigma")
    z_max: float = number(6.0, "uptrend-engine.md 3.6", "sigma")

    def __post_init__(self) -> None:
        """Check that the window and the bounds make sense."""
        if self.window_bars < 2 or self.span_bars < 1:
            raise ValueError("volume z-score: window_bars must be at least 2 and span_bars at least 1")
        if not 0.0 <= self.winsor_low_share < self.winsor_high_share <= 1.0:
            raise ValueError("volume z-score: 0 <= winsor_low_share < winsor_high_share <= 1")
        if self.variance_min <= 0.0 or self.z_min >= self.z_max:
            raise ValueError("volume z-score: variance_min must be above 0 and z_min below z_max")


class VolumeZParams(NamedTuple):
    """`VolumeZConfig` for compiled code."""

    weights: F64  # float64[window], of ages window-1 .. 0
    alpha: float
    winsor_min_bars: int
    winsor_low_share: float
    winsor_high_share: float
    variance_min: float
    z_min: float
    z_max: float


@lru_cache
def volume_z_params(config: VolumeZConfig) -> VolumeZParams:
    """The constants and the table of weights."""
    alpha = ema_alpha(config.span_bars)
    weights = [alpha * (1.0 - alpha) ** age for age in range(config.window_bars - 1, -1, -1)]
    return VolumeZParams(
        np.array(weights),
        alpha,
        config.winsor_min_bars,
        config.winsor_low_share,
        config.winsor_high_share,
        config.variance_min,
        config.z_min,
        config.z_max,
    )


class VolumeZState(NamedTuple):
    """The last values of u, and the smallest of them twice: of u and of -u.

    recent   float64[1, 2 * window], doubled ring in the order of time
    tails    float64[2, room], ascending: the smallest u, the smallest -u
    held     int64[2], how many values each tail holds; all of the window's values below its last one are in it
    """

    recent: F64
    tails: F64
    held: I64


def fresh_volume_z(config: VolumeZConfig) -> VolumeZState:
    """No bar seen yet."""
    deepest = ceil(max(config.winsor_low_share, 1.0 - config.winsor_high_share) * config.window_bars) + 1
    room = min(2 * deepest + SPARE_PLACES, config.window_bars)
    return VolumeZState(np.zeros((1, 2 * config.window_bars)), np.zeros((2, room)), np.zeros(2, dtype=np.int64))


def copy_volume_z(state: VolumeZState) -> VolumeZState:
    """A copy that shares nothing."""
    return VolumeZState(state.recent.copy(), state.tails.copy(), state.held.copy())


@lean
def volume_push(state: VolumeZState, index: int, volume: float) -> None:
    """Take in the quote volume of bar `index`; negative and absent volumes count as 0."""
    value = log1p(volume) if volume > 0.0 else 0.0
    window = state.recent.shape[1] // 2
    place = index % window
    leaving = state.recent[0, place]
    remember(state.recent, 0, place + window, value)
    for side in range(2):
        sign = 1.0 - 2.0 * side
        if index >= window:
            _drop(state.tails, state.held, side, sign * leaving)
        complete = state.held[side] == min(index, window - 1)
        _admit(state.tails, state.held, side, complete, sign * value)


@lean
def _drop(tails: F64, held: I64, side: int, value: float) -> None:
    """Take a value that left the window out of a tail, if it is in it."""
    last = held[side] - 1
    if last < 0 or value > tails[side, last]:
        return
    place = last
    while tails[side, place] != value:
        place -= 1
    for i in range(place, last):
        tails[side, i] = tails[side, i + 1]
    held[side] = last


@lean
def _admit(tails: F64, held: I64, side: int, complete: bool, value: float) -> None:
    """Put a value of the window into a tail, if it belongs there.

    complete   the tail holds every other value of the window: while it has room, any value belongs to it
    """
    count, room = held[side], tails.shape[1]
    if not (complete and count < room) and (count == 0 or value >= tails[side, count - 1]):
        return
    place = min(count, room - 1)
    while place > 0 and tails[side, place - 1] > value:
        tails[side, place] = tails[side, place - 1]
        place -= 1
    tails[side, place] = value
    held[side] = min(count + 1, room)


@lean
def volume_z(params: VolumeZParams, state: VolumeZState, index: int, scratch: F64) -> float:
    """VO_z of bar `index`, which was pushed before.

    scratch  float64[2, at least window / SECTIONS], overwritten
    returns  sigma, z_min..z_max; exactly 0 for a constant series
    source   uptrend-engine.md 3.6
    """
    window = state.recent.shape[1] // 2
    count = min(index + 1, window)
    end = index % window + window + 1
    lower, upper = winsor_bounds(params, state, count, end)
    first = clip(state.recent[0, end - count], lower, upper)
    last = clip(state.recent[0, end - 1], lower, upper)
    # distances are taken from the last value, so that a constant series gives exact zeros
    weights, values = params.weights[window - count :], state.recent[0, end - count : end]
    mean, square = _weighted(weights, values, lower, upper, last, scratch)
    seed_more = weights[0] / params.alpha - weights[0]  # the table weighs the seed like a later value
    mean += seed_more * (first - last)
    square += seed_more * (first - last) * (first - last)
    variance = (1.0 - params.alpha) * (square - mean * mean)
    return clip((0.0 - mean) / sqrt(max(variance, params.variance_min)), params.z_min, params.z_max)


@lean
def winsor_bounds(params: VolumeZParams, state: VolumeZState, count: int, end: int) -> tuple[float, float]:
    """The two bound elements among the `count` values before place `end`; no bounds if there are too few values."""
    if count < params.winsor_min_bars:
        return -np.inf, np.inf
    low = max(0, int(params.winsor_low_share * count) - 1)
    high = count - 1 - min(count - 1, int(params.winsor_high_share * count))
    if low >= state.held[0]:
        _gather(state, 0, end - count, end)
    if high >= state.held[1]:
        _gather(state, 1, end - count, end)
    return state.tails[0, low], -state.tails[1, high]


@lean
def _gather(state: VolumeZState, side: int, start: int, end: int) -> None:
    """Read a tail off the ring anew."""
    sign = 1.0 - 2.0 * side
    state.held[side] = 0
    for i in range(start, end):
        _admit(state.tails, state.held, side, state.held[side] == i - start, sign * state.recent[0, i])


@lean
def _weighted(
    weights: F64, values: F64, lower: float, upper: float, origin: float, scratch: F64
) -> tuple[float, float]:
    """Weighted sums of the limited values' distances from `origin`, and of their squares.

    The series is cut into `SECTIONS` equal ones that are added place by place, side by side in the processor.
    """
    first, second = scratch[0], scratch[1]
    length = len(values) // SECTIONS
    for i in range(length):
        mean, square = 0.0, 0.0
        for k in range(SECTIONS):
            distance = min(max(values[k * length + i], lower), upper) - origin
            weighted = weights[k * length + i] * distance
            mean += weighted
            square += weighted * distance
        first[i] = mean
        second[i] = square
    mean, square = _fold(first, length), _fold(second, length)
    for i in range(length * SECTIONS, len(values)):
        distance = min(max(values[i], lower), upper) - origin
        mean += weights[i] * distance
        square += weights[i] * distance * distance
    return mean, square


@lean
def _fold(values: F64, count: int) -> float:
    """Sum of the first `count` values, as four sums side by side."""
    a = b = c = d = 0.0
    fours = count // 4 * 4
    for i in range(0, fours, 4):
        a += values[i]
        b += values[i + 1]
        c += values[i + 2]
        d += values[i + 3]
    for i in range(fours, count):
        a += values[i]
    return a + b + (c + d)
