"""EDX, the decay of a trend while its state is S3: four components over three windows (uptrend-engine.md 5.4).

    S3 begins                                                     now = bar k, k' = min(k, 500)
    0 |-----------------------------------------------------------|
        W1 |------------------------------------------------------|  last k' bars
                          W2 |------------------------------------|  last 2k'/3 bars, from k = 15
                                             W3 |-----------------|  last k'/3 bars, from k = 30

    slow    slopes of EMA250 and EMA333, of RSI and of ADX         weight 0.30
    struct  share of zigzag pivots that did not rise               weight 0.25
    part    slope of the VWAP anchored at the window's start       weight 0.20
    comp    the slow EMAs drawing together                         weight 0.10

1. Higher means more decay, 0.5 is neutral; the weights sum to 0.85 on purpose.
2. Every window is judged on its own bars alone, as if the history began with it; nothing is recomputed for that: an
   EMA seeded at s follows from the running one, E_i = G_i + (1-a)^(i-s) * (c_s - G_s); ADX and AVWAP have a lane per
   possible start (`edx_lanes.py`); the zigzag joins the chain of the longest window (`zigzag.py`).
3. The state is a function of the bars since S3 began, and of nothing else.
4. Windows that begin in one flat stretch of prices have equal EMAs, so their components tie exactly (`seed_bar`).
5. EDX is the left-to-right sum of its terms; the clip is one of them.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lotus.columns import F64, I64
from lotus.compiled import compiled, lean
from lotus.indicators.formulas import clip, logistic, ls_slope
from lotus.kernel import number
from lotus.trend.edx_lanes import LANE_ROWS, advance_lanes, lane_adx_slope, lane_vwap_slope
from lotus.trend.edx_segment import (
    EMA_LONG,
    EMA_MIDDLE,
    EMA_SHORT,
    RING_ROWS,
    RSI,
    gap_slope,
    record_bar,
    ring_slope,
    seed_bar,
    seeded_slope,
    segment_at,
)
from lotus.trend.zigzag import (
    CHAIN_ROWS,
    MARKS,
    START,
    ZigzagConfig,
    ZigzagParams,
    chain_length,
    zigzag_params,
    zigzag_struct,
)

COMPONENTS = ("slow", "struct", "part", "comp")
COMP = len(COMPONENTS) - 1
WINDOWS = 3
OUT = len(COMPONENTS) * (1 + WINDOWS)
SPANS = 3


class EdxState(NamedTuple):
    """What EDX keeps between bars; about 80 kB, however long S3 lasts.

    rings   float64[RING_ROWS, 2^m], the bars of the segment
    lanes   float64[LANE_ROWS, 2^m], ADX and AVWAP per start, `slope_bars` - 1 bars behind
    chain   int64[CHAIN_ROWS, ...], turns of the longest window
    marks   int64[MARKS], where the chain stands
    floor   float64[1], lowest close since S3 began
    """

    rings: F64
    lanes: F64
    chain: I64
    marks: I64
    floor: F64


class Spans(NamedTuple):
    """The lengths of `EdxConfig`, in bars."""

    min_bars: int
    max_bars: int
    slope_bars: int
    period_bars: int
    comp_min_bars: int


class Scales(NamedTuple):
    """The scales of `EdxConfig`."""

    neutral: float
    ema_gain: float
    rsi_scale: float
    adx_scale: float
    part_gain: float
    comp_gain: float


class EdxParams(NamedTuple):
    """The configuration as the compiled loops read it.

    seed_left   float64[1 + SPANS, max_bars + 1], share of its seed that ATR and each EMA still carry after j bars
    fade_slope  float64[SPANS], least-squares slope of the first `slope_bars` shares of each EMA
    """

    spans: Spans
    scales: Scales
    weights: tuple[float, float, float, float]
    blend_two: tuple[float, float]
    blend_three: tuple[float, float, float]
    zigzag: ZigzagParams
    seed_left: F64
    fade_slope: F64


@dataclass(frozen=True)
class EdxConfig:
    """Constants of EDX.

    min_bars       bars in S3 before EDX says anything, and bars a window needs
    period_bars    of ATR, RSI and ADX; the RSI that is passed in must have the same
    weights        slow, struct, part, comp
    blend_two      window 1 and 2, when the later one decays more
    blend_three    window 1, 2 and 3, when each later one decays more
    """

    min_bars: int = number(10, "uptrend-engine.md 10", "bars")
    max_bars: int = number(500, "uptrend-engine.md 10", "bars")
    slope_bars: int = number(10, "uptrend-engine.md 10", "bars")
    period_bars: int = number(14, "uptrend-engine.md 10", "bars")
    ema_spans_bars: tuple[int, int, int] = number((144, 250, 333), "uptrend-engine.md 10", "bars")
    neutral: float = number(0.5, "uptrend-engine.md 5.4", "0..1")
    weights: tuple[float, float, float, float] = number((0.30, 0.25, 0.20, 0.10), "uptrend-engine.md 5.4")
    ema_gain: float = number(1000.0, "uptrend-engine.md 5.4", "bars per share")
    rsi_scale: float = number(5.0, "uptrend-engine.md 5.4", "points per bar")
    adx_scale: float = number(2.0, "uptrend-engine.md 5.4", "points per bar")
    part_gain: float = number(1000.0, "uptrend-engine.md 5.4", "bars per share")
    comp_gain: float = number(100.0, "uptrend-engine.md 5.4", "bars per share")
    comp_min_bars: int = number(144, "uptrend-engine.md 5.4", "bars")
    blend_two: tuple[float, float] = number((0.3, 0.7), "uptrend-engine.md 5.4")
    blend_three: tuple[float, float, float] = number((0.2, 0.3, 0.5), "uptrend-engine.md 5.4")
    zigzag: ZigzagConfig = ZigzagConfig()

    def __post_init__(self) -> None:
        """A slope needs three values and fits into the smallest window; scales are divisors."""
        if not 3 <= self.slope_bars <= self.min_bars <= self.max_bars:
            raise ValueError(f"3 <= slope_bars <= min_bars <= max_bars must hold: {self}")
        if self.period_bars < 1 or self.max_bars < self.period_bars + self.slope_bars:
            raise ValueError(f"max_bars must hold period_bars and slope_bars: {self}")
        if self.comp_min_bars < self.slope_bars or len(self.ema_spans_bars) != SPANS:
            raise ValueError(f"comp needs slope_bars bars and {SPANS} spans: {self}")
        if list(self.ema_spans_bars) != sorted(set(self.ema_spans_bars)) or self.ema_spans_bars[0] < 1:
            raise ValueError(f"ema_spans_bars must be ascending and positive: {self.ema_spans_bars}")
        if min(self.weights) < 0.0 or not 0.0 <= self.neutral <= 1.0:
            raise ValueError(f"weights must not be negative, neutral lies in 0..1: {self}")
        if min(self.ema_gain, self.rsi_scale, self.adx_scale, self.part_gain, self.comp_gain) <= 0.0:
            raise ValueError(f"gains and scales must be positive: {self}")


def fresh_edx(config: EdxConfig) -> EdxState:
    """The state before the first S3 bar."""
    width = 1 << config.max_bars.bit_length()
    chain = np.zeros((CHAIN_ROWS, chain_length(config.max_bars, config.zigzag)), dtype=np.int64)
    lanes = np.zeros((LANE_ROWS, width))
    return EdxState(np.zeros((RING_ROWS, width)), lanes, chain, np.zeros(MARKS, dtype=np.int64), np.zeros(1))


def copy_edx(state: EdxState) -> EdxState:
    """A state that `edx_bar` may change without changing this one."""
    rings, lanes, chain, marks, floor = state
    return EdxState(rings.copy(), lanes.copy(), chain.copy(), marks.copy(), floor.copy())


@lru_cache(maxsize=32)
def edx_params(config: EdxConfig) -> EdxParams:
    """The configuration for the compiled loops; the same object for equal configurations."""
    kept = [(config.period_bars - 1) / config.period_bars]
    kept += [1.0 - 2.0 / (span + 1) for span in config.ema_spans_bars]
    seed_left = np.array([[share**j for j in range(config.max_bars + 1)] for share in kept])
    fade_slope = np.array([ls_slope(row[: config.slope_bars], config.slope_bars) for row in seed_left[1:]])
    seed_left.flags.writeable = fade_slope.flags.writeable = False
    return EdxParams(
        Spans(config.min_bars, config.max_bars, config.slope_bars, config.period_bars, config.comp_min_bars),
        Scales(
            config.neutral,
            config.ema_gain,
            config.rsi_scale,
            config.adx_scale,
            config.part_gain,
            config.comp_gain,
        ),
        config.weights,
        config.blend_two,
        config.blend_three,
        zigzag_params(config.zigzag, config.neutral),
        seed_left,
        fade_slope,
    )


def edx_terms(config: EdxConfig, slow: float, struct: float, part: float, comp: float) -> list[tuple[str, float]]:
    """The terms whose left-to-right sum is EDX to the bit; one neutral term while the components are absent (NaN)."""
    if np.isnan(slow):
        return [("neutral", config.neutral)]
    values = (slow, struct, part, comp)
    terms = [(name, weight * x) for name, weight, x in zip(COMPONENTS, config.weights, values, strict=True)]
    total = 0.0
    for _, term in terms:
        total += term
    return [*terms, ("clip", min(max(total, 0.0), 1.0) - total)]


@compiled
def edx_bar(
    params: EdxParams,
    state: EdxState,
    k: int,
    high: float,
    low: float,
    close: float,
    volume_base: float,
    ema144: float,
    ema250: float,
    ema333: float,
    atr: float,
    rsi: float,
    out: F64,
) -> float:
    """EDX of bar k of S3, changing the state in place; must be called for every S3 bar in order.

    k          bars since the transition, 0 on that bar, which forgets everything before it
    ema*, rsi  values of the whole history at this bar; EMAs in the order of `ema_spans_bars`
    atr        not read: the ATR of EDX begins with its segment (5.4)
    out        float64[OUT]: per component the combined value and windows 1..3; NaN where a window is absent and
               on the first `min_bars` bars, where EDX is neutral
    returns    0..1
    source     uptrend-engine.md 5.4
    """
    spans, rings = params.spans, state.rings
    here = k & (rings.shape[1] - 1)
    record_bar(rings, k, high, low, close, volume_base, spans.period_bars)
    rings[EMA_SHORT, here] = ema144
    rings[EMA_MIDDLE, here] = ema250
    rings[EMA_LONG, here] = ema333
    rings[RSI, here] = rsi
    out[:] = np.nan
    if k == 0:
        state.floor[0] = close
        state.marks[START] = -1
        return params.scales.neutral
    state.floor[0] = min(state.floor[0], close)
    lagging = k - spans.slope_bars + 1
    if lagging > 0:
        advance_lanes(state.lanes, rings, lagging, spans.period_bars)
    if k < spans.min_bars:
        return params.scales.neutral
    _windows(params, state, k, out)
    total = 0.0
    for i in range(COMP + 1):
        first = (1 + WINDOWS) * i
        out[first] = combine_windows(
            params.blend_two, params.blend_three, out[first + 1], out[first + 2], out[first + 3]
        )
        total += params.weights[i] * out[first]
    return total + (clip(total, 0.0, 1.0) - total)


@compiled
def _windows(params: EdxParams, state: EdxState, k: int, out: F64) -> None:
    """Write the four components of every window that exists."""
    rings, lanes, spans, scales = state.rings, state.lanes, params.spans, params.scales
    bars, period = spans.slope_bars, spans.period_bars
    seed_left, fade_slope = params.seed_left, params.fade_slope
    segment = segment_at(rings, seed_left[0], spans.max_bars, period, state.floor[0], k)
    if k <= period:
        state.marks[START] = -1  # each bar still moves the ATR that fills the whole segment
    middle = ring_slope(rings, EMA_MIDDLE, k, bars)
    long = ring_slope(rings, EMA_LONG, k, bars)
    momentum = logistic(ring_slope(rings, RSI, k, bars) / scales.rsi_scale)
    whole = min(k, spans.max_bars)
    for window in range(WINDOWS):
        count = (WINDOWS - window) * whole // WINDOWS
        if count < spans.min_bars:
            return
        start = k - count + 1
        seeded = seed_bar(segment, start)
        stands_still = seed_bar(segment, k) <= start
        slope = 0.0
        if not stands_still:
            slope += 0.5 * seeded_slope(rings, EMA_MIDDLE, seed_left[2], fade_slope[1], middle, seeded, k, bars)
            slope += 0.5 * seeded_slope(rings, EMA_LONG, seed_left[3], fade_slope[2], long, seeded, k, bars)
        trend = scales.neutral
        if count >= period + 2:
            trend = logistic(lane_adx_slope(lanes, rings, start, k, bars, period) / scales.adx_scale)
        own_momentum = momentum if count >= period + bars else scales.neutral
        out[1 + window] = 1.0 - (logistic(scales.ema_gain * slope) + own_momentum + trend) / 3.0
        out[5 + window] = zigzag_struct(segment, params.zigzag, state.chain, state.marks, window == 0, start, k)
        out[9 + window] = logistic(-scales.part_gain * lane_vwap_slope(lanes, rings, start, k, bars))
        out[13 + window] = scales.neutral
        if count >= spans.comp_min_bars and not stands_still:
            out[13 + window] = logistic(-scales.comp_gain * gap_slope(rings, seed_left, seeded, k, bars))


@lean
def combine_windows(
    blend_two: tuple[float, float], blend_three: tuple[float, float, float], s1: float, s2: float, s3: float
) -> float:
    """One number for the windows of a component: later windows count more when they decay more (5.4)."""
    if np.isnan(s2):
        return s1
    if s3 > s2 > s1:
        return blend_three[0] * s1 + blend_three[1] * s2 + blend_three[2] * s3
    if s2 > s1:
        return blend_two[0] * s1 + blend_two[1] * s2
    return (s1 + s2) / 2.0
