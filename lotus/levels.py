"""Support and resistance levels from the closes of a series, kept up to date close by close.

    close -> window of the last 9,999 -> swings by price -> clusters --+
                     |                                                 +-- base set -- bonus --+
                     +---------------> ATH, ATL -----------------------+                       |
                                          +--> retracements, extensions -----------------------+--> the strongest 12

Rules:
- a set is built from the closes up to and including its bar and is used from the next bar on: read the levels of the
  state before pushing the bar's close (4.6);
- too few closes or swings: no new set, the one in force stays;
- the arithmetic is that of building every set from scratch, to the last bit (tests/plain/levels.py is the judge);
- prices scaled by a power of two scale the levels exactly.

Source: uptrend-engine.md 4, 5.2 and 8; the way to count: design/engine-speed.md 9.
"""

import numpy as np

from lotus.clusters import cluster_gains, cluster_loses, sweep
from lotus.columns import F64, I8, I64
from lotus.compiled import compiled, lean
from lotus.levels_state import (
    CLUSTERS,
    COUNT,
    HIGHS,
    LOWS,
    NO_BAR,
    NO_SOURCE,
    OUTDATED,
    SEEN,
    VERSION,
    LevelsConfig,
    LevelSource,
    LevelsParams,
    LevelsState,
    copy_levels,
    fresh_levels,
    levels_params,
)
from lotus.swings import (
    NO_SWING,
    PEAKS,
    TROUGHS,
    enqueue,
    extreme,
    forget,
    last_close,
    learn,
    swing_at,
    turn,
)

__all__ = [
    "COUNT",
    "NO_BAR",
    "VERSION",
    "LevelSource",
    "LevelsConfig",
    "LevelsParams",
    "LevelsState",
    "copy_levels",
    "fresh_levels",
    "level_set",
    "levels_params",
    "levels_push",
    "nearest_level",
    "sr_boost",
]


@compiled
def levels_push(params: LevelsParams, state: LevelsState, bar_index: int, close: float, rebuild: bool) -> None:
    """Add the close of the engine bar `bar_index`, in place; with `rebuild`, replace the set in force.

    bar_index  rises by one per call
    close      quote currency, > 0

    One body on purpose: every compiled call that passes the whole state on costs 100 ns of reference counts.
    """
    size, seen = state.closes.size, state.meta[SEEN]
    slot = seen % size
    if seen >= size:  # the oldest close leaves, and with it the swing whose first neighbour it is
        middle = turn(slot + params.swing_reach, size)
        kind = swing_at(params.swing_reach, params.prominence, state.closes, middle)
        if kind != NO_SWING:
            place = forget(state, state.closes[middle], kind)
            cluster_loses(state.members, state.known, state.meta[CLUSTERS], place)
            state.meta[OUTDATED] = 1
    new_peak = enqueue(state, PEAKS, slot, close)
    new_trough = enqueue(state, TROUGHS, slot, close)
    if new_peak or new_trough:
        state.meta[OUTDATED] = 1
    state.closes[slot] = close
    state.meta[SEEN] = seen + 1
    if seen >= 2 * params.swing_reach:  # the last neighbour has come: a swing or not
        middle = turn(slot - params.swing_reach, size)
        kind = swing_at(params.swing_reach, params.prominence, state.closes, middle)
        if kind != NO_SWING:
            place = learn(state, state.closes[middle], kind)
            cluster_gains(state.members, state.known, state.meta[CLUSTERS], place)
            state.meta[OUTDATED] = 1
    if not rebuild or state.meta[SEEN] < params.min_closes:
        return
    if state.meta[HIGHS] < params.min_swings and state.meta[LOWS] < params.min_swings:
        return
    if state.meta[OUTDATED] == 1:
        _build(params, state, bar_index)
        state.meta[OUTDATED] = 0
    state.meta[VERSION] = bar_index


def level_set(
    state: LevelsState, confident_strength: float = LevelsConfig.confident_strength
) -> list[tuple[float, float, LevelSource, float]]:
    """Price, strength, source and confidence (0..1) of the levels in force, price descending (4.5)."""
    return [
        (price, strength, LevelSource(source), min(1.0, strength / confident_strength))
        for price, strength, source in zip(
            state.price[: state.meta[COUNT]].tolist(),
            state.strength[: state.meta[COUNT]].tolist(),
            state.source[: state.meta[COUNT]].tolist(),
            strict=True,
        )
    ]


@compiled
def nearest_level(state: LevelsState, price: float, bar_index: int, min_age_bars: int) -> float:
    """Price of the level in force closest to `price`, the lower one of two; NaN if there is none (8).

    Levels that stand on an extreme younger than `min_age_bars` at `bar_index` are ignored.
    """
    nearest = np.nan
    distance = np.inf
    for k in range(state.meta[COUNT]):
        if state.born[k] != NO_BAR and bar_index - state.born[k] < min_age_bars:
            continue
        if abs(state.price[k] - price) <= distance:  # prices descend: of two equals the lower one comes last
            nearest = state.price[k]
            distance = abs(nearest - price)
    return nearest


@compiled
def sr_boost(state: LevelsState, anchor: float, atr: float, boost_max: float, norm: float, halo_atr: float) -> float:
    """What the levels in force around `anchor` add to the trend strength, in [0, boost_max] (5.2).

    norm      strength that gives the full boost at no distance
    halo_atr  distance at which the boost has faded to 0, in atr
    """
    if not atr > 0.0:
        return 0.0
    halo = halo_atr * atr
    boost = 0.0
    for k in range(state.meta[COUNT]):
        distance = abs(state.price[k] - anchor)
        if distance <= halo:
            boost = max(boost, boost_max * (state.strength[k] / norm) * (1.0 - distance / halo))
    return min(boost_max, boost)


@compiled
def _build(params: LevelsParams, state: LevelsState, bar_index: int) -> None:
    """Replace the set in force (4.2 to 4.5)."""
    most = params.clusters_kept + 2 + len(params.retracements) + len(params.extensions)
    price, strength = np.empty(most), np.empty(most)
    source, born = np.empty(most, np.int8), np.full(most, NO_BAR)
    swings = state.meta[HIGHS] + state.meta[LOWS]
    state.meta[CLUSTERS], clusters = sweep(
        state.members,
        state.known,
        state.meta[CLUSTERS],
        state.swings[:swings],
        state.means[:swings],
        params.tolerance,
        params.clusters_kept,
        price,
        strength,
    )
    source[:clusters] = LevelSource.CLUSTER
    base = clusters
    for side, extreme_source in ((PEAKS, LevelSource.ATH), (TROUGHS, LevelSource.ATL)):
        price[base], age = extreme(state, side)
        strength[base], source[base], born[base] = params.extreme_strength, extreme_source, bar_index - age
        base += 1
    found = _fibonacci(params, price, strength, source, born, base, last_close(state))
    state.meta[COUNT] = _select(
        price, strength, source, born, found, state.price, state.strength, state.source, state.born
    )


@compiled
def _fibonacci(params: LevelsParams, price: F64, strength: F64, source: I8, born: I64, base: int, latest: float) -> int:
    """Put the Fibonacci levels (4.4) behind the base set, which ends with ATH and ATL; returns the number of all."""
    ath, atl = price[base - 2], price[base - 1]
    found = base
    for ratio in params.retracements:
        price[found], source[found] = ath - ratio * (ath - atl), LevelSource.RETRACEMENT
        if ratio == 0.0:
            born[found] = born[base - 2]
        elif ratio == 1.0:
            born[found] = born[base - 1]
        found += 1
    for ratio in params.extensions:
        price[found], source[found] = atl + ratio * (ath - atl), LevelSource.EXTENSION
        if price[found] > latest:
            found += 1
    for k in range(base, found):
        strength[k] = params.fib_strength + _bonus(params, price, strength, base, price[k])
    return found


@lean
def _bonus(params: LevelsParams, price: F64, strength: F64, base: int, level: float) -> float:
    """Strength that the nearest of the first `base` levels, the first of equally near ones, lends to `level` (4.4)."""
    nearest = 0
    distance = np.inf
    for k in range(base):
        if abs(price[k] - level) < distance:
            nearest = k
            distance = abs(price[k] - level)
    share = distance / level
    if share < params.bonus_near:
        return float(strength[nearest])
    if share < params.bonus_far:
        return float(np.floor(params.bonus_far_share * strength[nearest]))
    return 0.0


@compiled
def _select(
    price: F64,
    strength: F64,
    source: I8,
    born: I64,
    found: int,
    best_price: F64,
    best_strength: F64,
    best_source: I8,
    best_born: I64,
) -> int:
    """Copy the strongest, price descending; equal prices keep their rank (4.5). Returns how many."""
    chosen = np.empty(found, np.int64)
    for k in range(found):
        place = k
        while place > 0 and _weaker(price, strength, chosen[place - 1], k):
            chosen[place] = chosen[place - 1]
            place -= 1
        chosen[place] = k
    held = min(found, best_price.size)
    for k in range(1, held):
        level = chosen[k]
        place = k
        while place > 0 and price[chosen[place - 1]] < price[level]:
            chosen[place] = chosen[place - 1]
            place -= 1
        chosen[place] = level
    for k in range(held):
        best_price[k], best_strength[k] = price[chosen[k]], strength[chosen[k]]
        best_source[k], best_born[k] = source[chosen[k]], born[chosen[k]]
    for k in range(held, best_price.size):
        best_price[k], best_strength[k], best_source[k], best_born[k] = np.nan, 0.0, NO_SOURCE, NO_BAR
    return held


@lean
def _weaker(price: F64, strength: F64, one: int, other: int) -> bool:
    """Whether a level has less strength than another, or as much and a higher price."""
    if strength[one] == strength[other]:
        return bool(price[one] > price[other])
    return bool(strength[one] < strength[other])
