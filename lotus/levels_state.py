"""What the support and resistance levels are made of: their constants and their state.

Source: uptrend-engine.md 4 and 10.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lotus.columns import F64, I8, I64
from lotus.kernel import number

I16 = NDArray[np.int16]
I32 = NDArray[np.int32]

NO_BAR: Final = -1
NO_SOURCE: Final = -1

WINDOW_MAX: Final = 2**15 - 1  # the queues hold slots as int16
CLUSTERS_HELD: Final = 256  # a price range of 1.06**256 = 3,000,000; clusters above it are swept every time

# Places in `LevelsState.meta`; COUNT and VERSION are for readers.
COUNT: Final = 0  # levels in force
VERSION: Final = 1  # bar_index of the last close in the set, NO_BAR before the first set
OUTDATED: Final = 2  # 1 if swings or extremes changed since the set was built
SEEN: Final = 3  # closes ever pushed
HIGHS: Final = 4  # swing highs in the window
LOWS: Final = 5  # swing lows in the window
CLUSTERS: Final = 6  # clusters held
FRONT: Final = 7  # and 8: place of the front in the queue of peaks, of troughs
LENGTH: Final = 9  # and 10: length of the queue of peaks, of troughs
_META_SIZE: Final = 11


class LevelSource(IntEnum):
    """Where a level comes from (uptrend-engine.md 4.5)."""

    CLUSTER = 0
    ATH = 1
    ATL = 2
    RETRACEMENT = 3
    EXTENSION = 4


class LevelsState(NamedTuple):
    """Levels in force, price descending (of equal prices the stronger first), and what the next set needs.

    price     float64[levels_kept], quote currency; NaN beyond the count
    strength  float64[levels_kept], touches and points, whole numbers
    source    int8[levels_kept], LevelSource; NO_SOURCE beyond the count
    born      int64[levels_kept], bar_index of the extreme behind ATH, ATL and the 0 and 1 retracements, else NO_BAR
    meta      int64[11], see the names above
    closes    float64[window_closes], ring: close number s (from 0) stands in slot s % window_closes
    swings    float64[most possible], closes of the swings in the window, ascending; beyond their number: leftovers
    queues    int16[2, window_closes], rings of slots: row 0 the peaks, whose closes never rise (the front is the
              highest close), row 1 the troughs, whose closes never fall (the front is the lowest close)
    means     float64[most possible], mean of the members of its cluster up to each swing, as far as `known`
    members   int32[CLUSTERS_HELD], swings of each cluster; in the order of prices one begins where the other ends
    known     int32[CLUSTERS_HELD], how many means of the cluster are right, from its first member on

    One flat record on purpose: a nested one costs the compiled loops 10 ns per array and call for reference counts.
    """

    price: F64
    strength: F64
    source: I8
    born: I64
    meta: I64
    closes: F64
    swings: F64
    queues: I16
    means: F64
    members: I32
    known: I32


@dataclass(frozen=True)
class LevelsConfig:
    """Constants of the levels (uptrend-engine.md 4 and 10). Shares are fractions, strengths are touches.

    window_closes >= min_closes > 2 * swing_reach; shares lie in (0, 1), bonus_near < bonus_far; retracements lie in
    [0, 1]; extensions are above 1.
    """

    window_closes: int = number(9_999, "uptrend-engine.md 4", "closes")
    min_closes: int = number(50, "uptrend-engine.md 4", "closes")
    swing_reach: int = number(2, "uptrend-engine.md 4.1", "closes")
    prominence: float = number(0.005, "uptrend-engine.md 4.1", "fraction of price")
    min_swings: int = number(3, "uptrend-engine.md 4.1", "highs or lows")
    tolerance: float = number(0.06, "uptrend-engine.md 4.2", "fraction of the centre")
    clusters_kept: int = number(9, "uptrend-engine.md 4.2", "clusters")
    extreme_strength: int = number(10, "uptrend-engine.md 4.3", "touches")
    fib_strength: int = number(15, "uptrend-engine.md 4.4", "touches")
    retracements: tuple[float, ...] = number(
        (0.0, 0.236, 0.382, 0.5, 0.618, 0.786, 1.0), "uptrend-engine.md 4.4", "fraction of the range below ATH"
    )
    extensions: tuple[float, ...] = number(
        (1.272, 1.618, 2.0, 2.618, 3.0, 4.236), "uptrend-engine.md 4.4", "fraction of the range above ATL"
    )
    bonus_near: float = number(0.03, "uptrend-engine.md 4.4", "fraction of price, full bonus below it")
    bonus_far: float = number(0.07, "uptrend-engine.md 4.4", "fraction of price, half bonus below it")
    bonus_far_share: float = number(0.5, "uptrend-engine.md 4.4", "fraction of strength, rounded down")
    levels_kept: int = number(12, "uptrend-engine.md 4.5", "levels")
    confident_strength: int = number(20, "uptrend-engine.md 4.5", "touches of confidence 1")

    def __post_init__(self) -> None:
        """Refuse what the formulas cannot mean."""
        for name in ("swing_reach", "min_swings", "clusters_kept", "levels_kept", "confident_strength"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 2 * self.swing_reach < self.min_closes <= self.window_closes <= WINDOW_MAX:
            raise ValueError(
                "need 2 * swing_reach < min_closes <= window_closes <= "
                f"{WINDOW_MAX}, got {self.swing_reach}, {self.min_closes}, {self.window_closes}"
            )
        for name in ("prominence", "tolerance", "bonus_near", "bonus_far", "bonus_far_share"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be a fraction between 0 and 1, got {getattr(self, name)}")
        if self.bonus_near >= self.bonus_far:
            raise ValueError(f"bonus_near {self.bonus_near} must be below bonus_far {self.bonus_far}")
        if self.extreme_strength < 0 or self.fib_strength < 0:
            raise ValueError("strengths must not be negative")
        if not self.retracements or not all(0.0 <= ratio <= 1.0 for ratio in self.retracements):
            raise ValueError(f"retracements must lie in [0, 1], got {self.retracements}")
        if not self.extensions or not all(ratio > 1.0 for ratio in self.extensions):
            raise ValueError(f"extensions must lie above 1, got {self.extensions}")


class LevelsParams(NamedTuple):
    """What the compiled loops read of a LevelsConfig; the sizes of the arrays carry the rest."""

    min_closes: int
    swing_reach: int
    prominence: float
    min_swings: int
    tolerance: float
    clusters_kept: int
    extreme_strength: float
    fib_strength: float
    retracements: tuple[float, ...]
    extensions: tuple[float, ...]
    bonus_near: float
    bonus_far: float
    bonus_far_share: float


@lru_cache(maxsize=64)
def levels_params(config: LevelsConfig) -> LevelsParams:
    """The numbers of a configuration as compiled loops want them."""
    return LevelsParams(
        min_closes=config.min_closes,
        swing_reach=config.swing_reach,
        prominence=config.prominence,
        min_swings=config.min_swings,
        tolerance=config.tolerance,
        clusters_kept=config.clusters_kept,
        extreme_strength=float(config.extreme_strength),
        fib_strength=float(config.fib_strength),
        retracements=tuple(float(ratio) for ratio in config.retracements),
        extensions=tuple(float(ratio) for ratio in config.extensions),
        bonus_near=config.bonus_near,
        bonus_far=config.bonus_far,
        bonus_far_share=config.bonus_far_share,
    )


def fresh_levels(config: LevelsConfig) -> LevelsState:
    """No closes seen, no levels."""
    kept, window = config.levels_kept, config.window_closes
    meta = np.zeros(_META_SIZE, dtype=np.int64)
    meta[VERSION] = NO_BAR
    swings_max = 2 * (window // (config.swing_reach + 1) + 1)  # two highs, or two lows, are > reach closes apart
    return LevelsState(
        price=np.full(kept, np.nan),
        strength=np.zeros(kept),
        source=np.full(kept, NO_SOURCE, dtype=np.int8),
        born=np.full(kept, NO_BAR, dtype=np.int64),
        meta=meta,
        closes=np.zeros(window),
        swings=np.zeros(swings_max),
        queues=np.zeros((2, window), dtype=np.int16),
        means=np.zeros(swings_max),
        members=np.zeros(CLUSTERS_HELD, dtype=np.int32),
        known=np.zeros(CLUSTERS_HELD, dtype=np.int32),
    )


def copy_levels(state: LevelsState) -> LevelsState:
    """The same state in memory of its own."""
    return LevelsState(
        state.price.copy(),
        state.strength.copy(),
        state.source.copy(),
        state.born.copy(),
        state.meta.copy(),
        state.closes.copy(),
        state.swings.copy(),
        state.queues.copy(),
        state.means.copy(),
        state.members.copy(),
        state.known.copy(),
    )
