"""Feeds and sinks in memory, and the feed as the engine's source."""

import pytest

from connectors.memory import CallSink, ListFeed
from connectors.simulator import Market, Simulator
from connectors.slices import FeedSource
from lotus.lane import Lane
from lotus.timeframe import Timeframe
from lotus.written import Written
from tests.connectors.sample_rows import sample

FEED = Simulator(Market(tokens=1, days=4, seed=1))
PIECES = list(FEED.slices())
LISTED = ListFeed(FEED.manifest, PIECES)


def test_a_list_is_a_feed_that_can_be_asked_from_any_position() -> None:
    assert list(LISTED.slices()) == PIECES
    assert list(LISTED.slices(3)) == PIECES[3:]


def test_a_source_hands_out_one_slice_at_a_time_and_tells_how_far_it_is() -> None:
    told: list[tuple[int, int]] = []
    (part,) = FeedSource(LISTED).list_parts()
    partition = FeedSource(LISTED, lambda done, of: told.append((done, of))).build_part("slices", part, None)
    seen = [partition.next_batch() for _ in PIECES]
    assert [piece for batch in seen for piece in batch] == PIECES
    with pytest.raises(StopIteration):
        partition.next_batch()
    assert told == [(number, 4) for number in range(5)]


def test_a_source_resumes_behind_the_last_slice_of_its_snapshot() -> None:
    source = FeedSource(LISTED)
    partition = source.build_part("slices", "tape", None)
    partition.next_batch()
    position = partition.snapshot()
    partition.next_batch()
    assert source.build_part("slices", "tape", position).next_batch() == PIECES[1:2]


def test_a_call_sink_hands_on_every_batch_in_order() -> None:
    taken: list[Written] = []
    sink = CallSink(taken.extend)
    (part,) = sink.list_parts()
    partition = sink.build_part("out", part, None)
    items = [Written("bar", Lane("BTC", "v", Timeframe.M1), sample("bar", count)) for count in (1, 2)]
    partition.write_batch(items[:1])
    partition.write_batch(items[1:])
    assert taken == items
    assert sink.part_fn("any") == 0
