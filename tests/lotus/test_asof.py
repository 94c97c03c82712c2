"""Two streams meet by event time, whatever order they arrive in."""

import pickle
from itertools import pairwise, permutations
from typing import Any

import numpy as np
import pytest

from lotus import asof
from lotus.asof import AsOf, Meeting, Merge, Merged, Met, Stream
from lotus.kernel import Chunk
from tests.conformance.cases.asof import (
    JOIN,
    LANES,
    MERGE,
    Marks,
    arrivals,
    interleaved,
    join_atoms,
    joined,
    lanes,
    merge_atoms,
    stream_atoms,
    times,
)
from tests.conformance.laws import Rows, collect, digest, rows_digest

ONE_LANE = AsOf(Stream("left", Marks, times), Stream("right", Marks, times), lanes, 1)


def marks(*ts: int, lane: int = 0) -> Marks:
    n = len(ts)
    return Marks(np.array(ts, dtype=np.int64), np.full(n, lane), np.array(ts, dtype=np.int64) * 10)


def in_force(met: Met[Marks, Marks]) -> list[tuple[int, int]]:
    """(left time, right time or -1) per released row."""
    found = met.row[:, 0]
    right_ts = Marks.concat(met.right).ts
    right = [int(right_ts[j]) if j >= 0 else -1 for j in found]
    return list(zip(met.left.rows.ts.tolist(), right, strict=True))


def test_a_left_row_waits_until_the_right_has_passed_its_time() -> None:
    state, met = asof.step(ONE_LANE, None, (("left", Chunk(marks(10, 20, 30), 30)),))
    assert in_force(met) == []
    state, met = asof.step(ONE_LANE, state, (("right", Chunk(marks(5, 15), 20)),))
    assert in_force(met) == [(10, 5), (20, 15)]
    assert met.left.watermark_ms == 29
    _, met = asof.step(ONE_LANE, state, (("right", Chunk(marks(25), 30)),))
    assert in_force(met) == [(30, 25)]


def test_a_right_row_at_the_left_rows_own_time_counts_as_known() -> None:
    _, met = asof.step(ONE_LANE, None, (("right", Chunk(marks(10, 20), 20)), ("left", Chunk(marks(9, 10, 19, 20), 20))))
    assert in_force(met) == [(9, -1), (10, 10), (19, 10), (20, 20)]


def test_rows_of_one_instant_are_all_seen_once_the_watermark_reaches_it() -> None:
    together = Marks(np.array([20, 20]), np.array([0, 1]), np.array([1, 2]))
    two = AsOf(Stream("left", Marks, times), Stream("right", Marks, times), lanes, 2)
    state, met = asof.step(two, None, (("left", Chunk(marks(20), 20)), ("right", Chunk(together, 19))))
    assert len(met.left) == 0
    _, met = asof.step(two, state, (("right", Chunk(Marks.empty(), 20)),))
    assert Marks.concat(met.right).number[met.row[0]].tolist() == [1, 2]


def test_a_left_row_is_named_by_its_start_and_known_at_its_end() -> None:
    bars = AsOf(Stream("left", Marks, times, 60), Stream("right", Marks, times), lanes, 1)
    _, met = asof.step(bars, None, (("left", Chunk(marks(0), 60)), ("right", Chunk(marks(30, 60), 60))))
    assert in_force(met) == [(0, 60)]
    assert met.known.tolist() == [60]


def test_without_lanes_nothing_waits() -> None:
    nobody = AsOf(Stream("left", Marks, times), Stream("right", Marks, times), lanes, 0)
    _, met = asof.step(nobody, None, (("left", Chunk(marks(10, 20), 20)),))
    assert met.left.rows.ts.tolist() == [10, 20]
    assert met.left.watermark_ms == 20


def kept(state: Meeting[Marks, Marks]) -> list[int]:
    assert state.right.rows is not None
    ts: list[int] = state.right.rows.ts.tolist()
    return ts


def test_dead_rows_of_the_right_are_dropped() -> None:
    state, _ = asof.step(
        ONE_LANE, None, (("left", Chunk(marks(100), 100)), ("right", Chunk(marks(*range(1, 99)), 100)))
    )
    assert kept(state) == [98]
    state, _ = asof.step(ONE_LANE, state, (("right", Chunk(marks(101, 102), 102)),))
    assert kept(state) == [98, 101, 102]
    state, _ = asof.step(ONE_LANE, state, (("left", Chunk(Marks.empty(), 102)),))
    assert kept(state) == [102]


def test_pairs_with_the_same_right_keep_the_same_rows_also_after_a_store() -> None:
    right, following = Chunk(marks(5, 15), 20), Chunk(marks(25), 30)
    pairs = [asof.step(ONE_LANE, None, (("left", Chunk(marks(20), 20)), ("right", right)))[0] for _ in range(2)]
    assert pairs[0].right.rows is pairs[1].right.rows is not None
    pairs[1] = pickle.loads(pickle.dumps(pairs[1]))
    pairs = [asof.step(ONE_LANE, pair, (("left", Chunk(marks(30), 30)), ("right", following)))[0] for pair in pairs]
    assert pairs[0].right.rows is pairs[1].right.rows
    assert kept(pairs[0]) == [25]


def test_a_row_behind_the_promise_of_its_stream_trips() -> None:
    state, _ = asof.step(ONE_LANE, None, (("left", Chunk(marks(10), 50)),))
    with pytest.raises(AssertionError, match="came after the promise 50"):
        asof.step(ONE_LANE, state, (("left", Chunk(marks(40), 60)),))


def test_an_arrival_of_no_side_trips() -> None:
    with pytest.raises(AssertionError, match="no side"):
        asof.step(ONE_LANE, None, (("middle", Chunk(marks(10), 50)),))
    with pytest.raises(AssertionError, match="no stream middle"):
        asof.merge(MERGE, None, (("middle", Chunk(marks(10), 50)),))


def test_sides_need_two_names() -> None:
    with pytest.raises(ValueError, match="two names"):
        AsOf(Stream("left", Marks, times), Stream("left", Marks, times), lanes, 1)
    with pytest.raises(ValueError, match="different names"):
        Merge((Stream("a", Marks, times), Stream("a", Marks, times)))


def test_every_interleaving_and_chunking_gives_one_digest() -> None:
    left = stream_atoms(np.random.default_rng(1), "left", 600, 1)
    right = stream_atoms(np.random.default_rng(2), "right", 600, LANES)
    digests = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        batches = interleaved(rng, [left, right])
        edges = sorted({0, len(batches), *rng.integers(0, len(batches), int(rng.integers(0, 30))).tolist()})
        state: Any = None
        rows: Rows = {}
        for start, end in pairwise(edges):
            state, outputs = joined(JOIN, state, arrivals(batches[start:end]))
            collect(outputs, rows)
        digests.add(digest(rows_digest(rows)))
    assert len(digests) == 1


def test_the_join_agrees_with_a_search_row_by_row() -> None:
    batches = join_atoms(np.random.default_rng(3))
    _, met = asof.step(JOIN, None, arrivals(batches))
    assert len(met.left) > 10
    right = Marks.concat(met.right)
    for i, known_ms in enumerate(met.known):
        for lane in range(LANES):
            candidates = np.flatnonzero((right.ts <= known_ms) & (right.lane == lane))
            assert met.row[i, lane] == (candidates[-1] if len(candidates) else -1)


def released(merged: Merged[Marks]) -> list[tuple[int, int]]:
    """(time, stream) per released row."""
    return list(zip(merged.chunk.rows.ts.tolist(), merged.origins.stream.tolist(), strict=True))


def test_a_merge_orders_by_known_time_and_then_by_stream() -> None:
    pair = Merge((Stream("bars", Marks, times, 60), Stream("rows", Marks, times)))
    feed = (("rows", Chunk(marks(30, 60, 61), 90)), ("bars", Chunk(marks(0, 60), 120)))
    for order in permutations(feed):
        state, merged = asof.merge(pair, None, order)
        assert released(merged) == [(30, 1), (0, 0), (60, 1), (61, 1)]
        assert merged.chunk.watermark_ms == 90
    _, merged = asof.merge(pair, state, (("rows", Chunk(Marks.empty(), 120)),))
    assert released(merged) == [(60, 0)]


def test_a_merge_waits_for_the_slowest_stream() -> None:
    state, merged = asof.merge(MERGE, None, (("fast", Chunk(marks(1, 2, 3), 10)), ("odd", Chunk(marks(1), 10))))
    assert released(merged) == []
    _, merged = asof.merge(MERGE, state, (("slow", Chunk(Marks.empty(), 8)),))
    assert released(merged) == [(1, 1), (2, 1), (3, 1), (1, 2)]


def test_a_merge_agrees_with_a_sort() -> None:
    everything = arrivals(merge_atoms(np.random.default_rng(4)))
    _, merged = asof.merge(MERGE, None, everything)
    rank = {stream.name: (k, stream.lag_ms) for k, stream in enumerate(MERGE.streams)}
    expected = sorted((int(ts) + rank[name][1], rank[name][0]) for name, chunk in everything for ts in chunk.rows.ts)
    lags = np.array([stream.lag_ms for stream in MERGE.streams])
    found = zip(
        (merged.chunk.rows.ts + lags[merged.origins.stream]).tolist(), merged.origins.stream.tolist(), strict=True
    )
    assert list(found) == expected
