"""Who may read next, of what is at hand."""

from typing import cast

from confluent_kafka import Message

from connectors.kafka.lookahead import Lookahead
from connectors.kafka.records import TopicPartition

LOG, DERIVED = ("md.ticks.v1", 0), ("md.drivers.v1", 0)
MINUTE_MS = 60_000
AHEAD_MS = 2 * MINUTE_MS


class At:
    """A message as far as it is looked at."""

    def __init__(self, ts_ms: int) -> None:
        self._ts_ms = ts_ms

    def timestamp(self) -> tuple[int, int]:
        return 1, self._ts_ms

    def __len__(self) -> int:
        return 10


def holding(place: TopicPartition, *times: int) -> Lookahead:
    lookahead = Lookahead(AHEAD_MS)
    lookahead.put(place, cast(list[Message], [At(ts_ms) for ts_ms in times]))
    return lookahead


def test_a_log_waits_for_a_topic_that_is_too_far_behind() -> None:
    lookahead = holding(LOG, *range(0, 10 * MINUTE_MS, 1_000))
    reached = {LOG: 3 * MINUTE_MS, DERIVED: 0}
    assert not lookahead.may_read(reached)
    assert lookahead.take(5_000, reached) == {}


def test_nobody_reads_behind_the_horizon() -> None:
    lookahead = holding(LOG, *range(0, 10 * MINUTE_MS, 1_000))
    (taken,) = lookahead.take(5_000, {LOG: 1, DERIVED: 0}).values()
    assert len(taken) == 1 + AHEAD_MS // 1_000


def test_a_gap_in_the_log_is_crossed_although_a_topic_behind_it_waits_for_what_it_brings_about() -> None:
    lookahead = holding(LOG, 9 * MINUTE_MS, 9 * MINUTE_MS + 1_000)
    reached = {LOG: MINUTE_MS + 5_000, DERIVED: MINUTE_MS}  # the topic cannot move before the log has
    assert lookahead.may_read(reached)
    (taken,) = lookahead.take(5_000, reached).values()
    assert len(taken) == 1
    assert lookahead.take(5_000, {**reached, LOG: 9 * MINUTE_MS}) == {}
