"""The bars since S3 began, and the ATR that EDX computes on them alone (uptrend-engine.md 3.3, 5.4).

    bar 0            first       first + period                   last = k
     |-- forgotten --|-- seed ------|-- Wilder from the seed -------|        the segment: at most max_bars + 1 bars

Bars are counted from the bar on which the state became S3. While the segment begins there, its ATR is its own
recurrence, bit for bit. Once it slides, each bar of it has another seed; because Wilder's smoothing is linear, the
list seeded at `first` is the list seeded at bar 0 plus (13/14)^j times the error of the seed.
"""

from typing import NamedTuple

from lotus.columns import F64
from lotus.compiled import compiled, lean
from lotus.indicators.formulas import ls_spread

# Rows of the ring of bars; bar i lies in column i & mask.
HIGH, LOW, CLOSE, VOLUME, EMA_SHORT, EMA_MIDDLE, EMA_LONG, RSI, TRUE_RANGE, PLUS, MINUS, ATR, ATR_SHARE, FLAT_SINCE = (
    range(14)
)
RING_ROWS = 14

# Prefix sums of ATR / close are trusted to this share of the whole sum; 100,000 roundings reach 2e-11.
PREFIX_TRUST = 1e-9


class Segment(NamedTuple):
    """The segment of one bar.

    rings      float64[RING_ROWS, 2^m], the bars
    decay      float64[max_bars + 1], share of a seed that is left after j bars
    mask       2^m - 1
    first      its first bar
    period     bars of the ATR
    seed       ATR of its first `period` bars
    error      what the seed differs by from the ATR seeded at bar 0
    close_min  lowest close since bar 0
    """

    rings: F64
    decay: F64
    mask: int
    first: int
    period: int
    seed: float
    error: float
    close_min: float


@compiled
def segment_at(rings: F64, decay: F64, max_bars: int, period: int, close_min: float, k: int) -> Segment:
    """The segment that ends with bar k >= 1: its last min(k, max_bars) + 1 bars."""
    mask = rings.shape[1] - 1
    first = max(k - max_bars, 0)
    available = min(period, k - first)
    seed = 0.0
    for i in range(first + 1, first + available + 1):
        seed += rings[TRUE_RANGE, i & mask]
    seed /= available
    error = 0.0
    if first > 0:
        error = seed - rings[ATR, (first + period) & mask]
    return Segment(rings, decay, mask, first, period, seed, error, close_min)


@lean
def segment_atr(segment: Segment, bar: int) -> float:
    """ATR of a bar of the segment, front-filled with the seed."""
    age = bar - segment.first - segment.period
    if age < 0:
        return segment.seed
    atr: float = segment.rings[ATR, bar & segment.mask] + segment.decay[age] * segment.error
    return atr


@compiled
def record_bar(rings: F64, k: int, high: float, low: float, close: float, volume_base: float, period: int) -> None:
    """Write bar k with its true range, directional movement and the ATR seeded at bar 0."""
    mask = rings.shape[1] - 1
    here = k & mask
    rings[HIGH, here] = high
    rings[LOW, here] = low
    rings[CLOSE, here] = close
    rings[VOLUME, here] = volume_base
    rings[FLAT_SINCE, here] = k
    if k == 0:
        return
    before = (k - 1) & mask
    past = rings[CLOSE, before]
    if close == past:
        rings[FLAT_SINCE, here] = rings[FLAT_SINCE, before]
    true_range = max(high - low, abs(high - past), abs(past - low))
    up = high - rings[HIGH, before]
    down = rings[LOW, before] - low
    rings[TRUE_RANGE, here] = true_range
    rings[PLUS, here] = up if up > down and up > 0.0 else 0.0
    rings[MINUS, here] = down if down > up and down > 0.0 else 0.0
    if k > period:
        rings[ATR, here] = ((period - 1.0) * rings[ATR, before] + true_range) / period
        rings[ATR_SHARE, here] = rings[ATR_SHARE, before] + rings[ATR, here] / close
    elif k == period:
        _seed_atr(rings, period)


@compiled
def _seed_atr(rings: F64, period: int) -> None:
    seed = 0.0
    for i in range(1, period + 1):
        seed += rings[TRUE_RANGE, i]
    seed /= period
    share = 0.0
    for i in range(period + 1):
        share += seed / rings[CLOSE, i]
        rings[ATR, i] = seed
        rings[ATR_SHARE, i] = share


@compiled
def is_calm(segment: Segment, start: int, k: int, below: float) -> bool:
    """Whether the mean of ATR / close over bars start..k is under `below` (5.5).

    Decided from prefix sums and a bound of what they leave out; only a close call is summed in full.
    """
    settled = segment.first + segment.period
    if k >= settled:
        rings, mask = segment.rings, segment.mask
        total = 0.0
        i = start
        while i < settled:
            total += segment.seed / rings[CLOSE, i & mask]
            i += 1
        whole = rings[ATR_SHARE, k & mask]
        total += whole - rings[ATR_SHARE, (i - 1) & mask]
        unseen = abs(segment.error) * segment.decay[i - settled] * segment.period / segment.close_min
        gap: float = total - (k - start + 1) * below
        if abs(gap) > unseen + PREFIX_TRUST * whole:
            return gap < 0.0
    return _mean_share(segment, start, k) < below


@compiled
def _mean_share(segment: Segment, start: int, k: int) -> float:
    total = 0.0
    for i in range(start, k + 1):
        total += segment_atr(segment, i) / segment.rings[CLOSE, i & segment.mask]
    return total / (k - start + 1)


@compiled
def ring_slope(rings: F64, row: int, k: int, count: int) -> float:
    """Least-squares slope of the last `count` values of a row (uptrend-engine.md 3.2)."""
    mask = rings.shape[1] - 1
    half = 0.5 * (count - 1)
    first = k - count + 1
    total: float = 0.0
    for i in range(count // 2):
        total += (half - i) * (rings[row, (k - i) & mask] - rings[row, (first + i) & mask])
    return total / ls_spread(count)


@lean
def seed_bar(segment: Segment, start: int) -> int:
    """First bar of the segment from which on all closes up to `start` are equal.

    An EMA keeps its seed while prices stand still, so windows that begin in one flat stretch share their EMAs; seeded
    at the same bar they are equal to the bit, and a tie between windows stays a tie.
    """
    return max(int(segment.rings[FLAT_SINCE, start & segment.mask]), segment.first)


@lean
def seeded_slope(
    rings: F64, row: int, left: F64, fade_slope: float, running: float, seeded: int, k: int, count: int
) -> float:
    """Normalised slope at bar k of an EMA that the close of bar `seeded` seeds (uptrend-engine.md 3.2).

    row         the running EMA
    left        float64[n], share of its seed that the EMA still carries after j bars
    fade_slope  least-squares slope of the first `count` shares
    running     slope of the running EMA, quote per bar
    """
    mask = rings.shape[1] - 1
    seed = rings[CLOSE, seeded & mask] - rings[row, seeded & mask]
    now: float = rings[row, k & mask] + seed * left[k - seeded]
    tilt: float = running + seed * left[k - seeded + 1 - count] * fade_slope
    return tilt / now


@compiled
def gap_slope(rings: F64, seed_left: F64, seeded: int, k: int, count: int) -> float:
    """Mean slope of (short - long) / long and (middle - long) / long, all three EMAs seeded by one close.

    seeded      bar of that close
    seed_left   float64[4, n], share of its seed that ATR and each EMA still carry after j bars
    """
    mask = rings.shape[1] - 1
    price = rings[CLOSE, seeded & mask]
    short = price - rings[EMA_SHORT, seeded & mask]
    middle = price - rings[EMA_MIDDLE, seeded & mask]
    long = price - rings[EMA_LONG, seeded & mask]
    half = 0.5 * (count - 1)
    first = k - count + 1
    origin = 0.0
    total: float = 0.0
    for i in range(count):
        here, age = (first + i) & mask, first + i - seeded
        upper = rings[EMA_SHORT, here] + short * seed_left[1, age]
        upper += rings[EMA_MIDDLE, here] + middle * seed_left[2, age]
        ratio = upper / (rings[EMA_LONG, here] + long * seed_left[3, age])
        if i == 0:
            origin = ratio
        total += (i - half) * (ratio - origin)
    slope: float = 0.5 * total / ls_spread(count)
    return slope
