"""Prices that lie together: clusters of the swings of a series, swept again only behind the first change in each.

    swings, ascending     a a a a | b b b | c c c c | d ...
    one comes into b      a a a a | b B b | c c c c | d ...       known: a 4 of 4, b 1 of 3, c 4 of 4
    the next sweep          skips     from B  skips               unless b ends elsewhere now: then c from its start

Rules:
- ascending prices can only join the last cluster, so the running mean at a member depends on nothing but the prices
  from the first member up to it: continuing from a known mean gives the bits that sweeping everything would give;
- what is known of a cluster holds only if the sweep arrives exactly at its first price.

Source: uptrend-engine.md 4.2; the way to count: design/engine-speed.md 9.
"""

import numpy as np

from lotus.columns import F64
from lotus.compiled import compiled, lean
from lotus.levels_state import I32


@lean
def cluster_loses(members: I32, known: I32, held: int, place: int) -> None:
    """The swing that stood at `place` in the order of prices went."""
    start = 0
    for k in range(held):
        if place < start + members[k]:
            members[k] -= 1
            known[k] = min(known[k], place - start)
            return
        start += members[k]


@lean
def cluster_gains(members: I32, known: I32, held: int, place: int) -> None:
    """A swing came at `place` in the order of prices; between two clusters it counts to the lower one for now."""
    start = 0
    for k in range(held):
        if place <= start + members[k]:
            members[k] += 1
            known[k] = min(known[k], place - start)
            return
        start += members[k]


@compiled
def sweep(
    members: I32,
    known: I32,
    held: int,
    swings: F64,
    means: F64,
    tolerance: float,
    kept: int,
    price: F64,
    strength: F64,
) -> tuple[int, int]:
    """Bring the clusters up to date and put the strongest of them in front of `price` and `strength`.

    members, known   int32[most], of the `held` first clusters: size, and how many of its `means` are right
    swings, means    float64[n], prices ascending, and the mean of the members of its cluster up to each
    price, strength  float64[>= kept], centre and member count; strength descending, then price ascending
    returns          clusters held now, clusters put in front (at most `kept`)
    """
    fresh_members = np.empty(members.size, np.int32)
    old = old_start = start = found = ranked = 0
    while start < swings.size:
        while old < held and (old_start < start or members[old] == 0):
            old_start += members[old]
            old += 1
        right = known[old] if old < held and old_start == start else 0
        count = _grow(swings, means, start, right, tolerance)
        if found < members.size:
            fresh_members[found] = count
            found += 1
        place = ranked
        while place > 0 and strength[place - 1] < count:  # centres ascend: an equally strong one stays in front
            place -= 1
        if place < kept:
            ranked = min(ranked + 1, kept)
            for k in range(ranked - 1, place, -1):
                price[k], strength[k] = price[k - 1], strength[k - 1]
            price[place], strength[place] = means[start + count - 1], count
        start += count
    for k in range(found):
        members[k] = known[k] = fresh_members[k]
    return found, ranked


@lean
def _grow(swings: F64, means: F64, start: int, right: int, tolerance: float) -> int:
    """Let prices join the cluster that begins at `start`, whose first `right` means are right; returns its size."""
    count = right
    if count == 0:
        means[start] = swings[start]
        count = 1
    centre = means[start + count - 1]
    while start + count < swings.size and abs(swings[start + count] - centre) / centre <= tolerance:
        centre = (centre * count + swings[start + count]) / (count + 1)
        means[start + count] = centre
        count += 1
    return count
