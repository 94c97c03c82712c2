"""ADX and AVWAP of every window that may still be asked for (uptrend-engine.md 3.5, 3.8, 5.4).

    start   1  2  3  4  5 ...                   one lane per possible first bar of a window;
            |  |  |  |  |       <- bar k - 9    a bar updates all lanes at once,
            v  v  v  v  v                       and the last 9 bars are replayed only for the lanes that are read

Windows begin anywhere in the segment, and neither indicator can be moved from one start to another. The lanes lag by
`slope_bars` - 1 bars, so that a reader walks through exactly the values whose slope it wants. Sums run from left to
right from the first bar of the window, as the definition does. ADX asks no lane for its true range: where all true
ranges are zero, a bar whose close lies between low and high has no directional movement either.
"""

from lotus.columns import F64
from lotus.compiled import compiled, lean
from lotus.indicators.formulas import ls_spread
from lotus.trend.edx_segment import CLOSE, MINUS, PLUS, VOLUME

# Rows of the lanes; the lane of start s lies in column (s - 1) & mask.
RISING, FALLING, ADX, VALUE, TRADED = range(5)
LANE_ROWS = 5


@compiled
def advance_lanes(lanes: F64, rings: F64, d: int, period: int) -> None:
    """Bar d >= 1 enters every lane that began before it; the lane of start d begins."""
    mask = rings.shape[1] - 1
    width = lanes.shape[1]
    here = d & mask
    _add_all(
        lanes[VALUE],
        lanes[TRADED],
        min(d - 1, width),
        rings[CLOSE, here] * rings[VOLUME, here],
        rings[VOLUME, here],
    )
    lanes[VALUE, (d - 1) & mask] = rings[CLOSE, here] * rings[VOLUME, here]
    lanes[TRADED, (d - 1) & mask] = rings[VOLUME, here]
    if d <= period:
        return
    grown = min(d - period - 1, width)
    _smooth_all(lanes[RISING], lanes[FALLING], lanes[ADX], grown, rings[PLUS, here], rings[MINUS, here], period)
    start = d - period
    slot = (start - 1) & mask
    lanes[RISING, slot], lanes[FALLING, slot] = _seeds(rings, start, period)
    lanes[ADX, slot] = direction(lanes[RISING, slot], lanes[FALLING, slot])


@compiled
def _add_all(value: F64, traded: F64, count: int, value_now: float, traded_now: float) -> None:
    for i in range(count):
        value[i] += value_now
        traded[i] += traded_now


@compiled
def _smooth_all(rising: F64, falling: F64, adx: F64, count: int, plus: float, minus: float, period: int) -> None:
    keep = (period - 1.0) / period
    fresh = 1.0 / period
    for i in range(count):
        up = keep * rising[i] + fresh * plus
        down = keep * falling[i] + fresh * minus
        rising[i] = up
        falling[i] = down
        moved = up + down
        adx[i] = keep * adx[i] + fresh * (100.0 * abs(up - down) / moved if moved > 0.0 else 0.0)


@lean
def direction(rising: float, falling: float) -> float:
    """DXI: how one-sided the smoothed movements are, 0..100; 0 without any (uptrend-engine.md 3.5)."""
    moved = rising + falling
    return 100.0 * abs(rising - falling) / moved if moved > 0.0 else 0.0


@compiled
def _seeds(rings: F64, start: int, period: int) -> tuple[float, float]:
    mask = rings.shape[1] - 1
    rising = 0.0
    falling = 0.0
    for i in range(start + 1, start + period + 1):
        rising += rings[PLUS, i & mask]
        falling += rings[MINUS, i & mask]
    return rising / period, falling / period


@compiled
def lane_adx_slope(lanes: F64, rings: F64, start: int, k: int, count: int, period: int) -> float:
    """Least-squares slope of the last `count` ADX values of the window start..k, which has period + 2 bars or more.

    Bars before the first ADX of the window carry that first value (front fill).
    """
    mask = rings.shape[1] - 1
    d = k - count + 1
    first = max(d, start + period)
    if first == d:
        slot = (start - 1) & mask
        rising, falling, adx = lanes[RISING, slot], lanes[FALLING, slot], lanes[ADX, slot]
    else:
        rising, falling = _seeds(rings, start, period)
        adx = direction(rising, falling)
    keep = (period - 1.0) / period
    fresh = 1.0 / period
    half = 0.5 * (count - 1)
    origin = adx
    total = 0.0
    for i in range(first + 1, k + 1):
        rising = keep * rising + fresh * rings[PLUS, i & mask]
        falling = keep * falling + fresh * rings[MINUS, i & mask]
        adx = keep * adx + fresh * direction(rising, falling)
        total += (i - d - half) * (adx - origin)
    return total / ls_spread(count)


@compiled
def lane_vwap_slope(lanes: F64, rings: F64, start: int, k: int, count: int) -> float:
    """Slope of the last `count` AVWAP values of the window start..k, as a share of the last one per bar.

    Before the first volume of the window AVWAP is its first close; a bar without volume keeps the value (3.8).
    """
    mask = rings.shape[1] - 1
    d = k - count + 1
    value = lanes[VALUE, (start - 1) & mask]
    traded = lanes[TRADED, (start - 1) & mask]
    untraded = rings[CLOSE, start & mask]
    vwap = value / traded if traded > 0.0 else untraded
    half = 0.5 * (count - 1)
    origin = vwap
    total = 0.0
    for i in range(d + 1, k + 1):
        value += rings[CLOSE, i & mask] * rings[VOLUME, i & mask]
        traded += rings[VOLUME, i & mask]
        vwap = value / traded if traded > 0.0 else untraded
        total += (i - d - half) * (vwap - origin)
    slope: float = total / ls_spread(count) / vwap
    return slope
